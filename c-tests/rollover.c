/*
 * Goal: a full segment is sealed and the next begins: names and states on disk
 * are as documented, numbers in the names are those in the files, files keep
 * their size; records count against segment_records_max, marks do not; and all
 * of it is read back over every boundary, twice reopened.
 */
#include "helpers.h"

/* Index 1, 2, 3 …, first numbers that rise, all sealed but the newest. */
static size_t check_names(const char *dir, uint64_t segment_size, uint64_t last_seq)
{
    size_t count;
    t_segment *list = t_segments(dir, &count);
    t_check(count > 0);
    t_equal(list[0].first_seq, 1);
    for (size_t n = 0; n < count; n++) {
        t_equal(list[n].index, n + 1);
        t_equal(t_file_size(list[n].path), segment_size);
        t_check(!strcmp(list[n].state, n + 1 < count ? "sealed" : "active"));
        if (n > 0)
            t_check(list[n].first_seq > list[n - 1].first_seq);
    }
    t_check(list[count - 1].first_seq <= last_seq + 1);
    /* Each file has the records from its own first number to the next one's. */
    for (size_t n = 0; n < count; n++) {
        uint64_t end = n + 1 < count ? list[n + 1].first_seq : last_seq + 1;
        for (uint64_t seq = list[n].first_seq; seq < end; seq++)
            t_file_find(list[n].path, 1000, 1, seq);
    }
    return count;
}

static void by_size(void)
{
    const char *dir = t_path("size");
    twal_options options = t_options_small();
    twal_log *log = t_open(dir, &options);
    t_append_many(log, 100, 1000);
    t_expect_many(log, 1, 100, 1000);
    t_check(t_stats(log).segments_sealed >= 6);
    t_close(log);
    size_t count = check_names(dir, 64 * T_KIB, 100);
    t_check(count >= 7);
    for (int round = 0; round < 2; round++) {
        log = t_open(dir, &options);
        t_equal(t_recovery(log).segments, count);
        t_expect_many(log, 1, 100 + 30 * (uint64_t)round, 1000);
        t_append_many(log, 30, 1000);
        t_expect_many(log, 1, 130 + 30 * (uint64_t)round, 1000);
        t_close(log);
        count = check_names(dir, 64 * T_KIB, 130 + 30 * (uint64_t)round);
    }
    t_expect_log(dir, 1, 160, 1000);
}

static void by_count(void)
{
    const char *dir = t_path("count");
    twal_options options = t_options();
    options.segment_records_max = 10;
    options.segment_size = T_MIB;
    options.idle_mark_us = 1; /* marks take no number and do not count */
    twal_log *log = t_open(dir, &options);
    t_append_many(log, 95, 1000);
    t_close(log);
    log = t_open(dir, &options);
    t_expect_many(log, 1, 95, 1000);
    t_close(log);
    size_t count;
    t_segment *list = t_segments(dir, &count);
    t_equal(count, 10);
    for (size_t n = 0; n < count; n++)
        t_equal(list[n].first_seq, n * 10 + 1);
    check_names(dir, T_MIB, 95);
}

/* Nothing that nobody released is ever archived, however many segments. */
static void nothing_released(void)
{
    const char *dir = t_path("kept");
    twal_options options = t_options_small();
    options.max_retained_segments = 1;
    options.segment_records_max = 2;
    twal_log *log = t_open(dir, &options);
    t_append_many(log, 199, 1000);
    t_close(log);
    log = t_open(dir, &options);
    t_expect_many(log, 1, 199, 1000);
    t_close(log);
    t_equal(check_names(dir, 64 * T_KIB, 199), 100);
}

int main(void)
{
    t_begin();
    by_size();
    by_count();
    nothing_released();
    return t_end();
}
