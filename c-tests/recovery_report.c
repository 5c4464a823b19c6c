/*
 * Goal: the report of an open says what was found: made new, how many records
 * from where to where, what the log itself proves, how it ended and where.
 */
#include "crashed.h"

#define LEN 5000

static twal_recovery report_of(const char *dir, bool read_only)
{
    twal_options options = t_options_quiet();
    options.flags = read_only ? TWAL_OPEN_READ_ONLY : 0;
    twal_log *log = t_open(dir, &options);
    twal_recovery report = t_recovery(log);
    t_equal(report.first_seq, twal_first_seq(log));
    t_equal(report.last_seq, twal_last_seq(log));
    /* It is of the open: what comes later does not change it. */
    if (!read_only) {
        t_append_many(log, 1, LEN);
        twal_recovery later = t_recovery(log);
        t_check(memcmp(&report, &later, sizeof report) == 0);
    }
    t_close(log);
    return report;
}

int main(void)
{
    t_begin();
    const char *fresh = t_path("fresh"), *crashed = t_path("crashed"), *rolled = t_path("rolled");

    twal_recovery report = report_of(fresh, false);
    t_equal(report.created, 1);
    t_equal(report.first_seq, 1);
    t_equal(report.last_seq, 0);
    t_equal(report.records, 0);
    t_equal(report.witnessed_seq, 0);
    t_equal(report.segments, 1);
    t_equal(report.tail, TWAL_TAIL_CLEAN);
    for (int n = 0; n < 2; n++) {
        report = report_of(fresh, n == 0);
        t_equal(report.created, 0);
        t_equal(report.last_seq, 1);
        t_equal(report.records, 1);
        t_equal(report.witnessed_seq, 1);
        t_equal(report.bytes_cut, 0);
        t_equal(report.tail, TWAL_TAIL_CLEAN);
        t_equal(report.end_segment, 1);
        t_equal(report.end_offset % T_BLOCK, 0);
        t_check(report.end_offset >= 2 * T_BLOCK);
    }

    /* Crashed: the last frame is whole, and nothing says that it was durable. */
    t_make_crashed(crashed, 6, LEN, 0);
    t_frame last = t_find_frame(crashed, 6, LEN);
    report = report_of(crashed, true);
    t_equal(report.last_seq, 6);
    t_equal(report.witnessed_seq, 5);
    t_equal(report.end_segment, 1);
    t_equal(report.end_offset, last.end);
    report = report_of(crashed, false);
    t_equal(report.last_seq, 6);
    t_equal(report.records, 6);
    t_equal(report.witnessed_seq, 5);
    t_check(report.frames_rewritten >= 1);
    t_equal(report.tail, TWAL_TAIL_CLEAN);
    t_equal(report.end_segment, 1);
    t_equal(report.end_offset, last.end);
    report = report_of(crashed, false);
    t_equal(report.last_seq, 7);
    t_equal(report.witnessed_seq, 7);

    /* Several segments, some of them released. */
    t_make_closed(rolled, 25, LEN, 5);
    t_equal(report_of(rolled, true).segments, 5);
    t_equal(report_of(rolled, true).end_segment, 5);
    twal_options options = t_options_quiet();
    twal_log *log = t_open(rolled, &options);
    t_ok(twal_trim(log, 13));
    t_close(log);
    report = report_of(rolled, true);
    t_equal(report.first_seq, 11);
    t_equal(report.last_seq, 25);
    t_equal(report.records, 15);
    t_equal(report.segments, 3);
    return t_end();
}
