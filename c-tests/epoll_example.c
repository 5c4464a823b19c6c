/*
 * Goal: the example for event loops works as it stands: every request of every
 * client is in the log once, in the order of its client.
 */
#define main example_main
#include "../examples/epoll.c"
#undef main

#include "helpers.h"

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

int main(void)
{
    t_begin();
    const char *dir = t_path("log");
    char *arguments[] = { "epoll", (char *)(uintptr_t)dir, "200", "20", NULL };
    t_seen seen;
    t_equal(example_main(4, arguments), 0);
    t_equal(answered, 200 * 20);
    twal_log *log = t_open_read_only(dir);
    t_ok(t_read(log, 0, &seen, check_one, NULL));
    t_equal(seen.count, 200 * 20);
    t_close(log);
    return t_end();
}
