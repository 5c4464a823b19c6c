/*
 * Goal: a log whose last write never arrived, or only its beginning, opens by
 * itself and goes on; a file that is shorter than it must be is damage.
 * Method: a crashed log whose last frame has several blocks; from each of its
 * blocks on, the file is made to hold zeros, as if nothing had been written.
 */
#include "crashed.h"

#define RECORDS 12
#define LEN 14000

static void expect_torn(const char *dir, uint64_t last, bool torn)
{
    twal_log *log = t_open_read_only(dir);
    t_expect_many(log, 1, last, LEN);
    t_equal(t_recovery(log).tail, torn ? TWAL_TAIL_TORN : TWAL_TAIL_CLEAN);
    t_close(log);

    twal_options options = t_options_quiet();
    log = t_open(dir, &options);
    twal_recovery report = t_recovery(log);
    t_equal(report.tail, torn ? TWAL_TAIL_TORN : TWAL_TAIL_CLEAN);
    t_equal(report.last_seq, last);
    t_equal(report.records, last);
    t_equal(report.created, 0);
    if (torn)
        t_check(report.bytes_cut > 0);
    t_expect_many(log, 1, last, LEN);
    /* Numbers go on behind what is there; the cut one is given again. */
    t_append_many(log, 2, LEN);
    t_close(log);
    t_expect_log(dir, 1, last + 2, LEN);
    log = t_open(dir, &options);
    t_equal(t_recovery(log).tail, TWAL_TAIL_CLEAN);
    t_expect_many(log, 1, last + 2, LEN);
    t_close(log);
}

int main(void)
{
    t_begin();
    const char *original = t_path("original"), *dir = t_path("log");
    t_make_crashed(original, RECORDS, LEN, 0);
    t_frame last = t_find_frame(original, RECORDS, LEN);
    t_equal(last.end - last.block, 4 * T_BLOCK);
    uint64_t size = t_file_size(last.segment.path);

    /* Whole: nothing is missing. */
    t_dir_copy(original, dir);
    expect_torn(dir, RECORDS, false);
    t_dir_remove(dir);

    for (uint64_t from = last.block; from < last.end; from += T_BLOCK) {
        t_dir_copy(original, dir);
        t_frame frame = t_find_frame(dir, RECORDS, LEN);
        t_file_zero(frame.segment.path, from, size - from);
        /* From its first block on, there is no header: simply the end. */
        expect_torn(dir, RECORDS - 1, from > last.block);
        t_dir_remove(dir);
    }
    /* A cut between sectors of a block is no other. */
    for (uint64_t from = last.block + 512; from < last.payload_end; from += 512) {
        t_dir_copy(original, dir);
        t_frame frame = t_find_frame(dir, RECORDS, LEN);
        t_file_zero(frame.segment.path, from, size - from);
        expect_torn(dir, RECORDS - 1, true);
        t_dir_remove(dir);
    }
    /* Over a rollover: all that the new segment held is gone, not its header. */
    const char *two = t_path("two");
    t_make_crashed(two, 7, LEN, 6);
    t_frame only = t_find_frame(two, 7, LEN);
    t_equal(only.segment.index, 2);
    t_file_zero(only.segment.path, only.block, t_file_size(only.segment.path) - only.block);
    expect_torn(two, 6, false);

    /* Shorter than its size: a file system that lost a part of a file that was
     * once flushed at full size.  Refused; readers get what is before. */
    static const uint64_t keeps[] = { 0, 1, 4095, 4096, 8192 };
    for (size_t n = 0; n < sizeof keeps / sizeof *keeps; n++) {
        t_dir_copy(original, dir);
        t_file_truncate(t_active(dir).path, keeps[n]);
        t_refused(dir, 0);
        t_damaged_reads(dir, 0, RECORDS, LEN);
        t_dir_remove(dir);
    }
    t_dir_copy(original, dir);
    t_file_truncate(t_active(dir).path, last.block + 2 * T_BLOCK);
    t_refused(dir, 0);
    t_damaged_reads(dir, 0, RECORDS - 1, LEN);
    t_dir_remove(dir);
    return t_end();
}
