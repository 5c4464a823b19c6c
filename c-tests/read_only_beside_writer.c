/*
 * Goal: a reader in another process sees what is durable, in order and whole,
 * while the log grows, rolls over and is trimmed; it misses nothing, never
 * blocks the writer and never writes.
 * Method: a child writes and says through a pipe what was acknowledged; the
 * parent reads.  What is acknowledged becomes visible at the latest with the
 * idle mark.
 */
#include "helpers.h"

#include <sys/wait.h>

#define RECORDS 600
#define LEN 1000

static int acks[2], go[2];
static const char *dir;

static void write_all(void *arg)
{
    (void)arg;
    twal_options options = t_options_small();
    char byte;
    options.max_retained_segments = 4;
    twal_log *log = t_open(dir, &options);
    for (uint64_t n = 1; n <= RECORDS; n++) {
        t_equal(t_append(log, LEN, 1, n, 0), n);
        t_check(write(acks[1], &n, sizeof n) == sizeof n);
    }
    t_check(read(go[0], &byte, 1) == 1);
    t_ok(twal_roll(log));
    t_ok(twal_trim(log, RECORDS / 2));
    uint64_t first = twal_first_seq(log);
    t_check(write(acks[1], &first, sizeof first) == sizeof first);
    t_check(read(go[0], &byte, 1) == 1);
    t_close(log);
}

static void write_refused(twal_log *log)
{
    twal_entry entry = TWAL_ENTRY_INIT;
    uint64_t seq = 77;
    t_code(twal_append(log, "x", 1, &seq), TWAL_E_READ_ONLY);
    t_code(twal_append_entry(log, &entry, &seq), TWAL_E_READ_ONLY);
    t_code(twal_append_batch(log, &entry, 1, &seq), TWAL_E_READ_ONLY);
    t_code(twal_trim(log, 1), TWAL_E_READ_ONLY);
    t_code(twal_trim(log, UINT64_MAX), TWAL_E_INVAL);
    t_code(twal_roll(log), TWAL_E_READ_ONLY);
    t_code(twal_sync(log, 0), TWAL_E_READ_ONLY);
    t_equal(seq, 77);
    /* What is wrong by itself comes first. */
    t_code(twal_append(log, NULL, 1, NULL), TWAL_E_INVAL);
    t_code(twal_append_batch(log, &entry, 0, NULL), TWAL_E_INVAL);
}

int main(void)
{
    t_begin();
    dir = t_path("log");
    t_check(pipe(acks) == 0 && pipe(go) == 0);
    pid_t writer = t_fork(write_all, NULL);
    uint64_t acknowledged = 0, seen = 0;
    size_t len = LEN;

    close(acks[1]);
    t_check(read(acks[0], &acknowledged, sizeof acknowledged) == sizeof acknowledged);
    twal_log *log = t_open_read_only(dir);
    write_refused(log);
    twal_iter *iter;
    t_ok(twal_recover_iter(log, 1, &iter));
    uint64_t deadline = t_now_ns() + UINT64_C(60) * 1000000000;
    while (seen < RECORDS) {
        twal_record record;
        int answer = twal_iter_next(iter, &record);
        if (answer == 1) {
            t_equal(record.seq, seen + 1);
            t_record_of_many(&record, &len);
            seen = record.seq;
        } else {
            t_ok(answer);
            t_check(t_now_ns() < deadline);
            t_pause();
        }
        if (acknowledged < RECORDS && seen % 7 == 0)
            t_check(read(acks[0], &acknowledged, sizeof acknowledged) == sizeof acknowledged);
    }
    while (acknowledged < RECORDS)
        t_check(read(acks[0], &acknowledged, sizeof acknowledged) == sizeof acknowledged);

    /* The writer waits now, and its end is marked: readers that come later
     * find all of it as well, and several at once. */
    twal_log *later[3];
    for (int n = 0; n < 3; n++) {
        later[n] = t_open_read_only(dir);
        t_seen all = { 0, 0, 0 };
        t_await((t_ok(t_read(later[n], 1, &all, NULL, NULL)), all.last == RECORDS), T_PATIENCE_MS);
        t_expect_many(later[n], 1, RECORDS, LEN);
    }
    /* It trims: an old reader is told, or still reads the right thing. */
    uint64_t first = 0;
    t_check(write(go[1], "g", 1) == 1);
    t_check(read(acks[0], &first, sizeof first) == sizeof first);
    t_check(first > 1);
    for (int n = 0; n < 3; n++) {
        t_seen some;
        int answer = t_read(later[n], first, &some, t_record_of_many, &len);
        t_ok(answer);
        t_equal(some.last, RECORDS);
        answer = t_read(later[n], 0, &some, t_record_of_many, &len);
        t_check(answer == TWAL_OK || answer == TWAL_E_TRIMMED);
        if (answer == TWAL_OK)
            t_equal(some.last, RECORDS);
        t_close(later[n]);
    }
    twal_log *fresh = t_open_read_only(dir);
    t_equal(twal_first_seq(fresh), first);
    t_expect_many(fresh, first, RECORDS, LEN);
    t_code(t_read(fresh, first - 1, NULL, NULL, NULL), TWAL_E_TRIMMED);
    t_close(fresh);
    t_check(write(go[1], "g", 1) == 1);
    t_wait_child_ok(writer);

    /* With no writer a reader delivers to the end, and writes nothing. */
    twal_iter_close(iter);
    t_close(log);
    uint64_t before = t_dir_sum(dir);
    for (int n = 0; n < 3; n++)
        t_expect_log(dir, first, RECORDS, LEN);
    t_equal(t_dir_sum(dir), before);
    return t_end();
}
