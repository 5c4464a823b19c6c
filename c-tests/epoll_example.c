/*
 * Goal: the example for event loops works as it stands: every request of every
 * client is in the log once, in the order of its client; also when the log has
 * no room now and then, with 1,000 clients, and beside clients that leave in the
 * middle or send what is no request, which end nobody but themselves.
 * Method: the example's own source, its appends refused as the log refuses them
 * when there is no room, every third and then a row of them.
 */
#include <twal.h>

static int refused, offered_count;
static int append_or_refuse(twal_log *log, const twal_entry *entry, uint64_t *seq_out);
#define twal_append_entry append_or_refuse
#define main example_main
#include "../examples/epoll.c"
#undef main
#undef twal_append_entry

#include "helpers.h"

static int refuses;

/* Nothing but TWAL_APPEND_NO_WAIT may be refused: any other append would block the only thread here. */
static int append_or_refuse(twal_log *log, const twal_entry *entry, uint64_t *seq_out)
{
    t_check((entry->flags & TWAL_APPEND_NO_WAIT) != 0);
    if (refuses && (++offered_count % 3 == 0 || offered_count % 500 < 20)) {
        refused++;
        return TWAL_E_AGAIN;
    }
    return twal_append_entry(log, entry, seq_out);
}

static int next_of[CLIENTS_MAX];

static void check_one(const twal_record *record, void *arg)
{
    char text[REQUEST_LEN] = { 0 };
    uint64_t client = record->stream;
    (void)arg;
    t_check(client < (uint64_t)clients);
    snprintf(text, sizeof text, "request %d of client %d", next_of[client]++, (int)client);
    t_check(record->len == sizeof text && memcmp(record->data, text, sizeof text) == 0);
}

static void expect(const char *dir, int count)
{
    t_seen seen;
    twal_log *log = t_open_read_only(dir);
    memset(next_of, 0, sizeof next_of);
    t_ok(t_read(log, 0, &seen, check_one, NULL));
    t_equal(seen.count, count);
    t_close(log);
}

static void whole_example(const char *name, const char *client_count, const char *request_count)
{
    const char *dir = t_path(name);
    char *arguments[] = { "epoll", (char *)(uintptr_t)dir, (char *)(uintptr_t)client_count,
                          (char *)(uintptr_t)request_count, NULL };
    int count = atoi(client_count) * atoi(request_count);
    answered = dropped = 0;
    t_equal(example_main(4, arguments), 0);
    t_equal(answered, count);
    t_equal(dropped, 0);
    expect(dir, count);
}

static void send_request(int client, int request, size_t len)
{
    char text[2 * REQUEST_LEN] = { 0 };
    snprintf(text, sizeof text, "request %d of client %d", request, client);
    t_equal(send(client_ends[client], text, len, MSG_NOSIGNAL), len);
}

/* Clients 0 to 3 behave badly; then 4 has its requests answered nevertheless. */
static void *run_bad_clients(void *arg)
{
    uint64_t seq;
    (void)arg;
    send_request(0, 0, 7); /* too short */
    send_request(1, 0, 2 * REQUEST_LEN); /* too long, and begins like a request */
    send_request(2, 0, REQUEST_LEN); /* leaves before its answer */
    close(client_ends[2]);
    close(client_ends[3]); /* leaves without a word */
    for (int request = 0; request < 10; request++) {
        send_request(4, request, REQUEST_LEN);
        t_equal(recv(client_ends[4], &seq, sizeof seq, MSG_WAITALL), sizeof seq);
    }
    /* They were dropped, not left waiting. */
    t_equal(recv(client_ends[0], &seq, sizeof seq, MSG_WAITALL), 0);
    t_equal(recv(client_ends[1], &seq, sizeof seq, MSG_WAITALL), 0);
    for (int client = 0; client < clients; client++)
        if (client != 2 && client != 3)
            close(client_ends[client]);
    return NULL;
}

static void bad_clients(void)
{
    const char *dir = t_path("bad");
    twal_log *log;
    answered = dropped = 0;
    clients = 5;
    connect_clients();
    t_ok(twal_open(dir, NULL, &log));
    pthread_t thread = t_thread(run_bad_clients, NULL);
    serve(log);
    t_join(thread);
    t_close(log);
    t_check(answered == 10 || answered == 11); /* client 2's answer may have been on its way */
    t_equal(dropped, 3); /* nobody read that answer: client 2 broke off in either case */
    expect(dir, 11);
}

int main(void)
{
    t_begin();
    whole_example("log", "200", "20");
    bad_clients();
    refuses = 1;
    whole_example("refused", "50", "40");
    t_check(refused > 500);
    refuses = 0;
    struct rlimit limit;
    t_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    if (limit.rlim_max >= 2 * CLIENTS_MAX + OTHER_FDS) {
        limit.rlim_cur = 1024;
        t_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
        whole_example("many", "1000", "2");
    } else {
        printf("1,000 clients skipped: at most %llu descriptors\n", (unsigned long long)limit.rlim_max);
    }
    return t_end();
}
