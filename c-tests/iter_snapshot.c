/*
 * Goal: what a snapshot reader will read stays while it reads, whatever is
 * trimmed, removed and used again meanwhile, here and in another process; every
 * other reader is told where the log begins now, and none begins later in silence.
 */
#include "helpers.h"

#define RECORDS 300
#define LEN 900

static const char *dir;
static int done[2];

/* Reads a snapshot from 1 to last. */
static void expect_all(twal_iter *iter, uint64_t last)
{
    twal_record record;
    size_t len = LEN;
    for (uint64_t seq = 1; seq <= last; seq++) {
        t_equal(twal_iter_next(iter, &record), 1);
        t_equal(record.seq, seq);
        t_record_of_many(&record, &len);
    }
    t_equal(twal_iter_next(iter, &record), 0);
    t_equal(twal_iter_wait(iter, -1, &record), 0);
}

static twal_iter *snapshot(twal_log *log, uint64_t until)
{
    twal_iter_options options = TWAL_ITER_OPTIONS_INIT;
    twal_iter *iter;
    options.flags = TWAL_ITER_SNAPSHOT;
    options.until_seq = until;
    t_ok(twal_iter_open(log, &options, &iter));
    return iter;
}

/* In another process: begins, says so, waits until all is gone. */
static void read_elsewhere(void *arg)
{
    int *begun = arg;
    char byte;
    twal_log *log = t_open_read_only(dir);
    twal_iter *iter = snapshot(log, 0), *plain;
    twal_record record;
    t_ok(twal_recover_iter(log, 0, &plain));
    t_check(write(begun[1], "b", 1) == 1);
    t_check(read(done[0], &byte, 1) == 1);
    uint64_t last = twal_last_seq(log);
    t_check(last >= RECORDS - 1);
    expect_all(iter, last);
    int rc;
    while ((rc = twal_iter_next(plain, &record)) == 1)
        ;
    t_code(rc, TWAL_E_TRIMMED);
    t_check(t_last_error().seq > RECORDS);
    twal_iter_close(iter);
    twal_iter_close(plain);
    t_close(log);
}

int main(void)
{
    t_begin();
    int begun[2];
    char byte;
    dir = t_path("log");
    t_check(pipe(begun) == 0 && pipe(done) == 0);
    t_waiting child = t_fork_early(read_elsewhere, begun);
    twal_options options = t_options_small();
    options.max_retained_segments = 1;
    twal_log *log = t_open(dir, &options);
    t_append_many(log, RECORDS, LEN);
    t_go(&child);
    t_check(read(begun[0], &byte, 1) == 1);

    twal_iter *all = snapshot(log, 0), *some = snapshot(log, 100), *plain;
    twal_record record;
    t_ok(twal_recover_iter(log, 0, &plain));
    t_equal(twal_iter_next(plain, &record), 1);
    for (int n = 0; n < 12; n++) {
        t_ok(twal_roll(log));
        t_ok(twal_trim(log, twal_last_seq(log)));
        t_append_many(log, 70, LEN);
    }
    uint64_t first = twal_first_seq(log);
    t_check(first > RECORDS);
    t_check(t_segments(dir, NULL)[0].first_seq > RECORDS);
    t_check(write(done[1], "d", 1) == 1);

    expect_all(all, RECORDS);
    expect_all(some, 100);
    int rc;
    uint64_t seen = 1;
    while ((rc = twal_iter_next(plain, &record)) == 1)
        t_equal(record.seq, ++seen);
    t_code(rc, TWAL_E_TRIMMED);
    t_equal(t_last_error().seq, first);
    twal_iter *none = NULL;
    t_code(twal_recover_iter(log, 1, &none), TWAL_E_TRIMMED);
    t_equal(t_last_error().seq, first);
    twal_iter_options of_first = TWAL_ITER_OPTIONS_INIT;
    of_first.from_segment = 1;
    t_code(twal_iter_open(log, &of_first, &none), TWAL_E_TRIMMED);
    t_equal(t_last_error().seq, first);
    t_check(!none);
    twal_iter_close(all);
    twal_iter_close(some);
    twal_iter_close(plain);
    t_wait_child_ok(child.pid);
    t_close(log);
    return t_end();
}
