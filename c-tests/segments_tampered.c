/*
 * Goal: a segment missing, doubled, renamed, swapped, or of another log is
 * refused; a reader gets what is before it and then an error, never fewer
 * records without one.  Names that a crash can leave are no tampering.
 */
#include "crashed.h"

#include <sys/stat.h>

#define LEN 3000
#define EACH 4
#define SEGMENTS 6 /* 1-4, 5-8, 9-12, 13-16, 17-20, 21-24 */

static const char *original, *foreign, *dir;

static void copy_log(void)
{
    t_dir_copy(original, dir);
}

static const char *named(uint64_t index, uint64_t first_seq, const char *state)
{
    char name[128];
    snprintf(name, sizeof name, "log/twal-%016" PRIu64 "-%020" PRIu64 ".%s", index, first_seq, state);
    return t_path(name);
}

static const char *at(uint64_t index)
{
    t_segment segment = t_segment_at(dir, index);
    return named(segment.index, segment.first_seq, segment.state);
}

/* Segments below `index` are as they were. */
static void refused_from(uint64_t index)
{
    t_refused(dir, 0);
    t_refused(dir, TWAL_OPEN_VERIFY);
    t_damaged_reads(dir, (index - 1) * EACH, SEGMENTS * EACH, LEN);
}

static void deleted(void)
{
    for (uint64_t index = 1; index <= SEGMENTS; index++) {
        copy_log();
        t_remove(at(index));
        refused_from(index);
    }
    copy_log();
    t_remove(at(2));
    t_remove(at(3));
    refused_from(2);
    /* The newest ones, so that what is left looks like a shorter log. */
    copy_log();
    t_remove(at(6));
    t_remove(at(5));
    refused_from(5);
    /* The oldest, after which nothing says that it was ever there but the
     * index: 2 is not 1 and was not released. */
    copy_log();
    t_remove(at(1));
    t_remove(at(2));
    refused_from(1);
}

/* All that was not released is lost: the end of what was would pass for the log's. */
static void only_archived_left(void)
{
    copy_log();
    for (uint64_t index = 1; index < SEGMENTS; index++)
        t_rename(at(index), named(index, (index - 1) * EACH + 1, "archived"));
    t_remove(at(SEGMENTS));
    t_refused(dir, 0);
    twal_log *log = t_open_read_only(dir);
    t_equal(twal_first_seq(log), (SEGMENTS - 2) * EACH + 1);
    t_equal(t_recovery(log).tail, TWAL_TAIL_DAMAGED);
    t_equal(t_recovery(log).records, EACH);
    t_seen seen = { 0 };
    t_code(t_read(log, 0, &seen, NULL, NULL), TWAL_E_CORRUPT);
    t_equal(seen.count, EACH);
    t_close(log);
}

static void renamed(void)
{
    static const char *const states[] = { "sealed", "archived" };
    /* The newest file is always .active. */
    for (int n = 0; n < 2; n++) {
        copy_log();
        t_rename(at(6), named(6, 21, states[n]));
        refused_from(6);
    }
    /* Another number or index than the header's. */
    copy_log();
    t_rename(at(3), named(3, 10, "sealed"));
    refused_from(3);
    copy_log();
    t_rename(at(6), named(6, 22, "active"));
    refused_from(6);
    copy_log();
    t_rename(at(6), named(7, 21, "active"));
    refused_from(6);
    copy_log();
    t_rename(at(1), named(9, 1, "active"));
    refused_from(1);
    /* An active one that is not the last but one. */
    copy_log();
    t_rename(at(2), named(2, 5, "active"));
    refused_from(2);
    copy_log();
    t_rename(at(5), named(5, 17, "active"));
    t_rename(at(4), named(4, 13, "active"));
    refused_from(4);
}

/* A crash between the new name and the old one's sealing leaves two active. */
static void two_active(void)
{
    copy_log();
    t_rename(at(5), named(5, 17, "active"));
    t_expect_log(dir, 1, SEGMENTS * EACH, LEN);
    twal_options options = t_options_quiet();
    twal_log *log = t_open(dir, &options);
    t_expect_many(log, 1, SEGMENTS * EACH, LEN);
    t_append_many(log, 1, LEN);
    t_close(log);
    t_check(t_exists(named(5, 17, "sealed")));
    t_check(!t_exists(named(5, 17, "active")));
    t_expect_log(dir, 1, SEGMENTS * EACH + 1, LEN);
}

static void copied(void)
{
    static const char *const states[] = { "sealed", "active", "archived" };
    for (int n = 0; n < 3; n++) {
        /* Under a further index, and under one that is taken. */
        copy_log();
        t_file_copy(at(2), named(7, 25, states[n]));
        refused_from(6);
        copy_log();
        /* (A name that says "archived" says that all before it was released.) */
        bool released = !strcmp(states[n], "archived");
        t_file_copy(at(2), named(2, 6, states[n]));
        refused_from(released ? 1 : 2);
        copy_log();
        t_file_copy(at(3), named(3, 10, states[n]));
        refused_from(released ? 1 : 3);
    }
    copy_log();
    t_file_copy(at(6), named(7, 21, "active"));
    refused_from(6);
    copy_log();
    t_file_copy(at(6), named(7, 25, "active"));
    refused_from(6);
    /* The same one twice, in two states. */
    copy_log();
    t_file_copy(at(6), named(6, 21, "sealed"));
    refused_from(6);
    copy_log();
    t_file_copy(at(3), named(3, 9, "active"));
    refused_from(3);
    /* And the active one under another number: damage, not somebody else's log. */
    copy_log();
    t_file_copy(at(6), named(6, 22, "active"));
    refused_from(6);
    /* One over the other. */
    copy_log();
    t_file_copy(at(2), at(3));
    refused_from(3);
    copy_log();
    t_file_copy(at(5), at(6));
    refused_from(6);
}

static void swap(uint64_t a, uint64_t b)
{
    copy_log();
    const char *between = t_path("between");
    const char *first = at(a), *second = at(b);
    t_rename(first, between);
    t_rename(second, first);
    t_rename(between, second);
    refused_from(a < b ? a : b);
}

/* Another log's file, of the same index, first number, records and sizes. */
static void of_another_log(void)
{
    for (uint64_t index = 1; index <= SEGMENTS; index++) {
        copy_log();
        t_file_copy(t_segment_at(foreign, index).path, at(index));
        refused_from(index);
    }
    /* Which log it is, most headers say. */
    copy_log();
    for (uint64_t index = 5; index <= SEGMENTS; index++)
        t_file_copy(t_segment_at(foreign, index).path, at(index));
    refused_from(5);
    copy_log();
    for (uint64_t index = 3; index <= SEGMENTS; index++)
        t_file_copy(t_segment_at(foreign, index).path, at(index));
    refused_from(1);
    copy_log();
    t_file_copy(t_segment_at(foreign, 1).path, named(7, 25, "active"));
    refused_from(6);
}

/* A file that was never a segment. */
static void of_nothing(void)
{
    static const char junk[70000] = "junk";
    copy_log();
    t_file_make(at(3), junk, sizeof junk);
    refused_from(3);
    copy_log();
    t_file_make(at(3), NULL, 0);
    refused_from(3);
    copy_log();
    t_file_zero(at(6), 0, t_file_size(at(6)));
    refused_from(6);
    copy_log();
    t_remove(at(3));
    t_check(mkdir(named(3, 9, "sealed"), 0700) == 0);
    twal_options options = t_options_quiet();
    twal_log *log = NULL;
    t_check(twal_open(dir, &options, &log) < 0);
    t_check(!log);
}

/* Files that are not named twal-* are nobody's business. */
static void left_alone(void)
{
    copy_log();
    t_file_make(t_path("log/README"), "mine", 4);
    t_file_make(t_path("log/0000000000000003.sealed"), "mine", 4);
    t_file_make(t_path("log/TWAL-x.active"), "mine", 4);
    t_check(mkdir(t_path("log/sub"), 0700) == 0);
    twal_options options = t_options_quiet();
    twal_log *log = t_open(dir, &options);
    t_expect_many(log, 1, SEGMENTS * EACH, LEN);
    t_append_many(log, 1, LEN);
    t_close(log);
    t_equal(t_file_size(t_path("log/README")), 4);
    t_equal(t_file_size(t_path("log/0000000000000003.sealed")), 4);
    t_equal(t_file_size(t_path("log/TWAL-x.active")), 4);
    t_check(t_exists(t_path("log/sub")));
}

int main(void)
{
    t_begin();
    original = t_path("original");
    foreign = t_path("foreign");
    dir = t_path("log");
    t_make_closed(original, SEGMENTS * EACH, LEN, EACH);
    t_make_closed(foreign, SEGMENTS * EACH, LEN, EACH);
    deleted();
    only_archived_left();
    renamed();
    two_active();
    copied();
    swap(2, 3);
    swap(1, 4);
    swap(5, 6);
    of_another_log();
    of_nothing();
    left_alone();
    return t_end();
}
