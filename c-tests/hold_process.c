/*
 * Goal: a process that only reads sets its hold beside the live writer, as durable as the writer's own, and from
 * then on the writer releases nothing of it; what is gone by then is refused.
 * Method: the child holds and moves on while the parent trims all that it may, at full speed; whatever the child
 * holds it can read.
 */
#include "helpers.h"

#include <sys/mman.h>

#define LEN 3000
#define MOVES 15

static const char *dir;
static volatile int *over;

static void follow(void *arg)
{
    (void)arg;
    twal_log *log = t_open_read_only(dir);
    t_ok(twal_hold_set(log, "follower", 0));
    twal_iter *iter = NULL;
    twal_record record;
    uint64_t at = 0;
    for (int n = 0; n < MOVES; n++) {
        twal_hold hold = TWAL_HOLD_INIT;
        size_t count = 0;
        t_ok(twal_holds(log, &hold, 1, &count));
        t_check(count == 2 && !strcmp(hold.name, "follower"));
        t_check(hold.seq >= at);
        at = hold.seq;
        /* From where it holds, whatever was trimmed meanwhile: with a handle that knows the log as it is. */
        twal_log *now = t_open_read_only(dir);
        t_check(twal_first_seq(now) <= at);
        t_ok(twal_recover_iter(now, at, &iter));
        t_await(twal_iter_next(iter, &record) == 1, 3 * T_PATIENCE_MS);
        t_equal(record.seq, at);
        t_record_of_many(&record, &(size_t){ LEN });
        for (int ahead = 0; ahead < 40; ahead++)
            t_await(twal_iter_next(iter, &record) == 1, 3 * T_PATIENCE_MS);
        twal_iter_close(iter);
        t_ok(twal_hold_set(now, "follower", record.seq));
        t_close(now);
    }
    t_code(twal_hold_reset(log), TWAL_E_READ_ONLY);
    t_ok(twal_hold_drop(log, "follower"));
    t_close(log);
    *over = 1;
}

int main(void)
{
    t_begin();
    dir = t_path("log");
    over = mmap(NULL, sizeof *over, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    t_check(over != MAP_FAILED);
    t_waiting child = t_fork_early(follow, NULL);
    twal_options options = t_options_small();
    options.max_retained_segments = 1;
    twal_log *log = t_open(dir, &options);
    t_append_many(log, 10, LEN);
    twal_log *reader = t_open_read_only(dir);
    t_code(twal_hold_set(reader, "follower", 1), TWAL_E_STATE);
    t_close(reader);
    t_ok(twal_hold_set(log, "mine", 0));
    pid_t pid = t_go(&child);
    uint64_t trims = 0;
    while (!*over) {
        t_append_many(log, 5, LEN);
        uint64_t next = twal_last_seq(log) + 1;
        t_ok(twal_hold_set(log, "mine", next));
        t_ok(twal_trim(log, next));
        trims++;
    }
    t_wait_child_ok(pid);
    t_ok(twal_trim(log, twal_last_seq(log) + 1));
    printf("%" PRIu64 " trims beside %d holds, from %" PRIu64 " on\n", trims, MOVES, twal_first_seq(log));
    t_check(twal_first_seq(log) > MOVES);
    t_close(log);
    return t_end();
}
