/*
 * Goal: with no writer, a reader of a crashed log flushes, then delivers to the
 * end, also what nothing witnesses; it changes no byte and no name; and what it
 * delivered is still there after the next open for writing.
 */
#include "helpers.h"

#define RECORDS 25

static void crash_here(void *dir)
{
    twal_options options = t_options_quiet();
    options.segment_size = 64 * T_KIB;
    twal_log *log = t_open(dir, &options);
    t_append_many(log, RECORDS, 500);
}

int main(void)
{
    t_begin();
    char *dir = (char *)(uintptr_t)t_path("log");
    twal_options options = t_options_small();

    t_crash_after(crash_here, dir);
    uint64_t before = t_dir_sum(dir);
    twal_log *log = t_open_read_only(dir);
    t_expect_many(log, 1, RECORDS, 500);
    twal_recovery report = t_recovery(log);
    t_equal(report.last_seq, RECORDS);
    t_equal(report.witnessed_seq, RECORDS - 1);
    t_equal(report.frames_rewritten, 0);
    t_close(log);
    t_equal(t_dir_sum(dir), before);
    log = t_open(dir, &options);
    t_expect_many(log, 1, RECORDS, 500);
    t_append_many(log, 1, 500);
    t_close(log);
    t_expect_log(dir, 1, RECORDS + 1, 500);
    return t_end();
}
