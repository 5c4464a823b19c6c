/* One thread, many clients, every request durable before it is answered.
 *
 *   epoll DIR [CLIENTS [REQUESTS]]
 *
 * A server that waits for nothing but epoll: each request becomes a record,
 * appended without waiting for the device and without waiting for room; once a
 * turn of the loop it asks for what was appended to become durable; and the
 * eventfd of the log says when it is.  Requests that come while the device is
 * busy share the next flush.
 *
 * A client has one request under way and is not read from meanwhile.  If the log
 * has no room for it, the request is held, its client still not read from, and
 * offered again when something has become durable: a fast client waits, the
 * server never does.  A client that leaves or sends what is no request is
 * dropped; nobody else notices.
 *
 * The clients are sockets of a second thread here: each sends a request, waits
 * for the answer, which is the record's number, and sends the next. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <twal.h>

enum { CLIENTS_MAX = 1000, REQUEST_LEN = 100, EVENTS = 64 };
/* Room comes back when records become durable, which the eventfd tells; and when
 * the next segment's file is ready, which nothing tells. */
enum { RETRY_MS = 5 };
/* What the process has open beside its clients: the log's files and this and that. */
enum { OTHER_FDS = 64 };

static int clients = 100, requests = 50;
static int client_ends[CLIENTS_MAX];

static void check(int ok, const char *what)
{
    if (!ok) {
        fprintf(stderr, "epoll: %s: %s\n", what, strerror(errno));
        exit(1);
    }
}

static void check_twal(int code, const char *what)
{
    twal_error why = TWAL_ERROR_INIT;
    if (code >= 0)
        return;
    twal_last_error(&why);
    fprintf(stderr, "epoll: %s: %s: %s\n", what, twal_strerror(code), why.text);
    exit(1);
}

/* ---- the server ---- */

/* The server's side of a client; fd is -1 once it is gone.  A record of its may
 * still be under way then: its number stays in the queue, and nobody is answered. */
static struct {
    int fd;
    char request[REQUEST_LEN];
} server_ends[CLIENTS_MAX];

/* Clients in the order in which they came; each is in one queue at most once. */
struct queue {
    int clients[CLIENTS_MAX];
    uint64_t seqs[CLIENTS_MAX];
    int first, count;
};

/* Appended: first in, first durable.  Held: the log had no room. */
static struct queue appended, held;
static int answered, dropped, clients_left;

static void push(struct queue *queue, int client, uint64_t seq)
{
    int last = (queue->first + queue->count++) % CLIENTS_MAX;
    queue->clients[last] = client;
    queue->seqs[last] = seq;
}

static int pop(struct queue *queue)
{
    int client = queue->clients[queue->first];
    queue->first = (queue->first + 1) % CLIENTS_MAX;
    queue->count--;
    return client;
}

/* Ends this client only. */
static void drop(int client)
{
    close(server_ends[client].fd); /* which takes it out of the epoll, too */
    server_ends[client].fd = -1;
    clients_left--;
}

/* Wants the next request of this client, and one wake-up for it. */
static void read_from(int poll, int client, int how)
{
    struct epoll_event event = { .events = EPOLLIN | EPOLLONESHOT };
    event.data.fd = client;
    check(epoll_ctl(poll, how, server_ends[client].fd, &event) == 0, "epoll_ctl");
}

/* Answers whoever's record is durable. */
static void answer(int poll, uint64_t durable)
{
    while (appended.count > 0 && appended.seqs[appended.first] <= durable) {
        uint64_t seq = appended.seqs[appended.first];
        int client = pop(&appended);
        ssize_t sent = send(server_ends[client].fd, &seq, sizeof seq, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent == sizeof seq) {
            answered++;
            read_from(poll, client, EPOLL_CTL_MOD);
        } else {
            /* It left, or takes no answers. */
            dropped++;
            drop(client);
        }
    }
}

/* Appends the client's request; it is answered when it is durable.  0: there is no room. */
static int append(twal_log *log, int client)
{
    twal_entry entry = TWAL_ENTRY_INIT;
    uint64_t seq;
    entry.data = server_ends[client].request;
    entry.len = REQUEST_LEN;
    entry.stream = TWAL_STREAM(0, client);
    entry.flags = TWAL_APPEND_NO_SYNC | TWAL_APPEND_NO_WAIT;
    int code = twal_append_entry(log, &entry, &seq);
    if (code == TWAL_E_AGAIN)
        return 0;
    check_twal(code, "append");
    push(&appended, client, seq);
    return 1;
}

/* Appends what was held, as far as there is room. */
static void retry(twal_log *log)
{
    while (held.count > 0 && append(log, held.clients[held.first]))
        pop(&held);
}

static void take_request(twal_log *log, int poll, int client)
{
    /* MSG_TRUNC: the length that was sent, also of what is too long. */
    ssize_t got = recv(server_ends[client].fd, server_ends[client].request, REQUEST_LEN, MSG_DONTWAIT | MSG_TRUNC);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
        read_from(poll, client, EPOLL_CTL_MOD);
    } else if (got != REQUEST_LEN) {
        /* 0: it has left in good order.  Else it failed, or this is no request. */
        dropped += got != 0;
        drop(client);
    } else if (held.count > 0 || !append(log, client)) {
        push(&held, client, 0); /* behind those who were there before */
    }
}

/* Until no client is left. */
static void serve(twal_log *log)
{
    struct epoll_event events[EVENTS], event = { .events = EPOLLIN };
    int durable_fd, poll = epoll_create1(EPOLL_CLOEXEC);
    check(poll >= 0, "epoll_create1");
    check_twal(twal_eventfd(log, &durable_fd), "eventfd");
    event.data.fd = -1;
    check(epoll_ctl(poll, EPOLL_CTL_ADD, durable_fd, &event) == 0, "epoll_ctl");
    for (int client = 0; client < clients; client++)
        read_from(poll, client, EPOLL_CTL_ADD);
    clients_left = clients;
    while (clients_left > 0) {
        int count = epoll_wait(poll, events, EVENTS, held.count > 0 ? RETRY_MS : -1);
        check(count >= 0 || errno == EINTR, "epoll_wait");
        for (int n = 0; n < count; n++) {
            if (events[n].data.fd >= 0) {
                take_request(log, poll, events[n].data.fd);
            } else {
                uint64_t rises;
                /* Read first, ask then: what becomes durable in between makes it readable again. */
                check(read(durable_fd, &rises, sizeof rises) == sizeof rises || errno == EAGAIN, "read");
                answer(poll, twal_durable_seq(log));
            }
        }
        retry(log);
        /* Also when a failure of the log woke us: then this fails, and nobody gets a wrong answer. */
        if (appended.count > 0)
            check_twal(twal_sync_async(log, 0, NULL, NULL), "sync");
    }
    close(durable_fd);
    close(poll);
}

/* ---- the clients ---- */

static void *run_clients(void *arg)
{
    (void)arg;
    for (int request = 0; request < requests; request++) {
        for (int client = 0; client < clients; client++) {
            char text[REQUEST_LEN] = { 0 };
            snprintf(text, sizeof text, "request %d of client %d", request, client);
            check(send(client_ends[client], text, sizeof text, MSG_NOSIGNAL) == sizeof text, "send");
        }
        for (int client = 0; client < clients; client++) {
            uint64_t seq;
            check(recv(client_ends[client], &seq, sizeof seq, MSG_WAITALL) == sizeof seq, "recv");
        }
    }
    for (int client = 0; client < clients; client++)
        close(client_ends[client]);
    return NULL;
}

/* Both ends of every client are open in this process: 1,000 clients are more than
 * the usual limit of 1,024 descriptors, which may be raised up to the hard one. */
static void connect_clients(void)
{
    struct rlimit limit;
    rlim_t wanted = 2 * (rlim_t)clients + OTHER_FDS;
    check(getrlimit(RLIMIT_NOFILE, &limit) == 0, "getrlimit");
    if (limit.rlim_cur < wanted) {
        limit.rlim_cur = limit.rlim_max < wanted ? limit.rlim_max : wanted;
        check(setrlimit(RLIMIT_NOFILE, &limit) == 0, "setrlimit");
    }
    if (limit.rlim_cur < wanted) {
        fprintf(stderr, "epoll: %d clients, both ends here, need %llu file descriptors; the hard limit is %llu\n", clients,
                (unsigned long long)wanted, (unsigned long long)limit.rlim_max);
        exit(1);
    }
    for (int client = 0; client < clients; client++) {
        int ends[2];
        check(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) == 0, "socketpair");
        server_ends[client].fd = ends[0];
        client_ends[client] = ends[1];
    }
}

int main(int argc, char **argv)
{
    pthread_t thread;
    twal_log *log;
    twal_stats stats = TWAL_STATS_INIT;
    if (argc < 2 || argc > 4) {
        fprintf(stderr, "epoll DIR [CLIENTS [REQUESTS]]\n");
        return 2;
    }
    if (argc > 2)
        clients = atoi(argv[2]);
    if (argc > 3)
        requests = atoi(argv[3]);
    if (clients < 1 || clients > CLIENTS_MAX || requests < 1) {
        fprintf(stderr, "epoll: from 1 to %d clients, with at least 1 request\n", CLIENTS_MAX);
        return 2;
    }
    connect_clients();
    check_twal(twal_open(argv[1], NULL, &log), "open");
    check(pthread_create(&thread, NULL, run_clients, NULL) == 0, "pthread_create");
    serve(log);
    pthread_join(thread, NULL);
    check_twal(twal_stats_get(log, &stats), "stats");
    printf("%d requests of %d clients, each durable before its answer, with %llu flushes\n", answered, clients,
           (unsigned long long)stats.flushes);
    check_twal(twal_close(log), "close");
    return 0;
}
