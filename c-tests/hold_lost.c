/*
 * Goal: where the holds are damaged or were lost, nothing at all is released: trimming, setting and asking say so,
 * so do opening and verifying; everything else goes on; and only twal_hold_reset() ends it.
 */
#include "helpers.h"

#define LEN 8000

static char dir[600], file[620];

static int note(void *context, const twal_finding *finding)
{
    t_equal(finding->kind, TWAL_FINDING_HOLDS);
    t_check(!strcmp(finding->file, "twal-holds"));
    ++*(int *)context;
    return 0;
}

static void nothing_goes(void)
{
    int findings = 0;
    size_t count = 7;
    twal_hold hold = TWAL_HOLD_INIT;
    twal_segment segments[9] = { TWAL_SEGMENT_INIT };
    twal_options options = t_options_small_quiet();
    t_code(twal_verify(dir, &options, note, &findings, NULL), TWAL_E_CORRUPT);
    t_equal(findings, 1);

    twal_log *log = t_open(dir, &options);
    uint64_t last = twal_last_seq(log);
    t_equal(t_recovery(log).holds_damaged, 1);
    t_code(twal_trim(log, last + 1), TWAL_E_CORRUPT);
    t_code(twal_hold_set(log, "snapshot", last), TWAL_E_CORRUPT);
    t_code(twal_hold_drop(log, "snapshot"), TWAL_E_CORRUPT);
    t_code(twal_holds(log, &hold, 1, &count), TWAL_E_CORRUPT);
    t_code(twal_archive_next(log, 0, segments), TWAL_E_CORRUPT);
    t_check(strstr(t_last_error().text, "holds"));
    t_equal(count, 7);
    t_ok(twal_segments(log, segments, 9, &count));
    t_equal(segments[0].held_by, TWAL_HELD_BY_UNREADABLE);
    t_append_many(log, 1, LEN);
    t_expect_many(log, 1, last + 1, LEN);

    t_ok(twal_hold_reset(log));
    t_equal(twal_first_seq(log), 1);
    t_ok(twal_holds(log, &hold, 1, &count));
    t_equal(count, 0);
    t_ok(twal_hold_set(log, "snapshot", 6));
    t_ok(twal_trim(log, last + 1));
    t_equal(twal_first_seq(log), 6);
    t_close(log);
    t_ok(twal_verify(dir, &options, note, &findings, NULL));
    t_dir_remove(dir);
}

static void make(void)
{
    twal_options options = t_options_small_quiet();
    twal_log *log = t_open(dir, &options);
    for (int n = 0; n < 3; n++) {
        t_append_many(log, 5, LEN);
        t_ok(twal_roll(log));
    }
    t_ok(twal_hold_set(log, "snapshot", 3));
    t_close(log);
}

int main(void)
{
    t_begin();
    snprintf(dir, sizeof dir, "%s", t_path("log"));
    snprintf(file, sizeof file, "%s/twal-holds", dir);
    make();
    t_remove(file);
    nothing_goes();
    make();
    t_file_flip(file, 66, 1);
    nothing_goes();
    make();
    t_file_truncate(file, 0);
    nothing_goes();
    /* Of another log. */
    make();
    t_file_copy(file, t_path("other"));
    t_dir_remove(dir);
    make();
    t_remove(file);
    t_file_copy(t_path("other"), file);
    nothing_goes();
    return t_end();
}
