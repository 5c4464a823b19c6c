/*
 * Goal: a program that keeps every segment elsewhere gets each of them once, sealed, in order and without a gap;
 * none goes before it was acknowledged, also over a kill; and the copies are the log.
 */
#include "helpers.h"

#include <sys/stat.h>

#define LEN 6000

static char dir[600], archive[600];

static void copy_next(twal_log *log, uint64_t after, uint64_t want_index)
{
    twal_segment segment = TWAL_SEGMENT_INIT;
    char from[800], to[800];
    t_ok(twal_archive_next(log, after, &segment));
    t_equal(segment.index, want_index);
    t_equal(segment.state, TWAL_SEGMENT_SEALED);
    t_equal(segment.held_by, TWAL_HELD_BY_HOLD);
    t_check(!strcmp(segment.hold, "archive"));
    snprintf(from, sizeof from, "%s/%s", dir, segment.file);
    snprintf(to, sizeof to, "%s/%s", archive, segment.file);
    t_file_copy(from, to);
}

/* Segments 1 and 2 copied, 1 acknowledged, 3 to be copied; then dies. */
static void begin(void *arg)
{
    (void)arg;
    twal_options options = t_options_small_quiet();
    twal_segment segment = TWAL_SEGMENT_INIT;
    options.max_retained_segments = 1;
    twal_log *log = t_open(dir, &options);
    t_code(twal_archive_next(log, 0, &segment), TWAL_E_STATE);
    t_code(twal_archive_done(log, 1), TWAL_E_STATE);
    t_append_many(log, 3, LEN);
    t_ok(twal_hold_set(log, "archive", 0)); /* ends the first segment */
    t_append_many(log, 5, LEN);
    t_ok(twal_roll(log));
    t_append_many(log, 5, LEN);
    t_ok(twal_roll(log));
    copy_next(log, 0, 1);
    copy_next(log, 1, 2);
    copy_next(log, 0, 1);
    t_code(twal_archive_next(log, 3, &segment), TWAL_E_NOTFOUND);
    t_ok(twal_trim(log, twal_last_seq(log) + 1));
    t_equal(twal_first_seq(log), 1);
    t_code(twal_archive_done(log, 4), TWAL_E_STATE);
    t_code(twal_archive_done(log, 5), TWAL_E_NOTFOUND);
    t_ok(twal_archive_done(log, 1));
    t_ok(twal_archive_done(log, 1));
    t_equal(twal_first_seq(log), 4);
}

int main(void)
{
    t_begin();
    snprintf(dir, sizeof dir, "%s", t_path("log"));
    snprintf(archive, sizeof archive, "%s", t_path("archive"));
    t_check(mkdir(archive, 0700) == 0);
    t_crash_after(begin, NULL);

    twal_options options = t_options_small_quiet();
    twal_segment segment = TWAL_SEGMENT_INIT;
    twal_log *log = t_open(dir, &options);
    t_ok(twal_trim(log, twal_last_seq(log) + 1));
    t_equal(twal_first_seq(log), 4);
    copy_next(log, 0, 2);
    copy_next(log, 2, 3);
    t_ok(twal_archive_done(log, 3));
    t_code(twal_archive_next(log, 0, &segment), TWAL_E_NOTFOUND);
    t_ok(twal_trim(log, twal_last_seq(log) + 1));
    t_equal(twal_first_seq(log), 14);
    t_append_many(log, 4, LEN);
    t_close(log);

    /* With the active one beside them, the copies are the whole log. */
    t_segment active = t_active(dir);
    char to[800];
    snprintf(to, sizeof to, "%s/%s", archive, strrchr(active.path, '/') + 1);
    t_file_copy(active.path, to);
    log = t_open_read_only(archive);
    t_expect_many(log, 1, 17, LEN);
    t_close(log);
    return t_end();
}
