/*
 * Goal: a reader with TWAL_ITER_SKIP_DAMAGED passes over what is damaged,
 * delivers the rest, no batch in part, and counts every gap; without it damage
 * ends the reader, as ever.
 */
#include "crashed.h"

#define LEN 6000

static const char *original, *dir;

static void copy_log(void)
{
    t_dir_copy(original, dir);
}

static twal_skipped skipped_of(twal_iter *iter)
{
    twal_skipped skipped = TWAL_SKIPPED_INIT;
    t_ok(twal_iter_skipped(iter, &skipped));
    return skipped;
}

/* Everything from `from` to `last` but from..to of each pair, and the counts say so. */
static void expect_all_but(twal_log *log, uint64_t from, uint64_t last, const uint64_t (*gaps)[2], size_t count)
{
    twal_iter_options options = TWAL_ITER_OPTIONS_INIT;
    options.from_seq = from;
    options.flags = TWAL_ITER_SKIP_DAMAGED;
    twal_iter *iter;
    t_ok(twal_iter_open(log, &options, &iter));
    t_equal(skipped_of(iter).spots, 0);
    uint64_t next = from, missing = 0;
    size_t len = LEN, gap = 0;
    twal_record record;
    int rc;
    while ((rc = twal_iter_next(iter, &record)) == 1) {
        if (gap < count && next == gaps[gap][0]) {
            next = gaps[gap][1] + 1;
            missing += gaps[gap][1] - gaps[gap][0] + 1;
            gap++;
            twal_skipped skipped = skipped_of(iter);
            t_equal(skipped.spots, gap);
            t_equal(skipped.records, missing);
            t_equal(skipped.first_seq, gaps[gap - 1][0]);
            t_equal(skipped.last_seq, gaps[gap - 1][1]);
            t_check(skipped.segment > 0);
        }
        t_equal(record.seq, next);
        t_record_of_many(&record, &len);
        next++;
    }
    t_code(rc, TWAL_OK);
    t_equal(gap, count);
    t_equal(next, last + 1);
    twal_iter_close(iter);
}

static void both_ways(const uint64_t (*gaps)[2], size_t count, bool writer)
{
    twal_log *log = t_open_read_only(dir);
    expect_all_but(log, 1, 25, gaps, count);
    size_t len = LEN;
    t_seen seen;
    t_code(t_read(log, 0, &seen, t_record_of_many, &len), TWAL_E_CORRUPT);
    t_equal(seen.count, gaps[0][0] - 1);
    t_close(log);
    if (!writer) {
        t_refused(dir, 0);
        return;
    }
    twal_options options = t_options_quiet();
    log = t_open(dir, &options);
    expect_all_but(log, 1, 25, gaps, count);
    t_check(t_stats(log).corrupted_records >= count);
    t_close(log);
}

static void damage(uint64_t seq)
{
    t_frame frame = t_find_frame(dir, seq, LEN);
    t_file_flip(frame.segment.path, frame.payload + 77, 1);
}

static void a_batch_goes_whole(void)
{
    const char *batches = t_path("batches");
    twal_options options = t_options_quiet();
    twal_log *log = t_open(batches, &options);
    char payload[5][500];
    twal_entry entries[5];
    for (uint64_t batch = 0; batch < 4; batch++) {
        for (uint64_t i = 0; i < 5; i++) {
            entries[i] = (twal_entry)TWAL_ENTRY_INIT;
            t_payload_fill(payload[i], sizeof payload[i], 9, batch * 5 + i + 1);
            entries[i].data = payload[i];
            entries[i].len = sizeof payload[i];
        }
        t_ok(twal_append_batch(log, entries, 5, NULL));
        t_ok(twal_roll(log));
    }
    t_close(log);
    /* The third record of the second batch. */
    char *path = t_segment_at(batches, 2).path;
    char file[512];
    snprintf(file, sizeof file, "%s", path);
    t_file_flip(file, t_file_find(file, 500, 9, 8) + 5, 1);

    log = t_open(batches, &options);
    twal_iter_options how = TWAL_ITER_OPTIONS_INIT;
    how.flags = TWAL_ITER_SKIP_DAMAGED;
    twal_iter *iter;
    t_ok(twal_iter_open(log, &how, &iter));
    static const uint64_t wanted[] = {1, 2, 3, 4, 5, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20};
    twal_record record;
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
        t_equal(twal_iter_next(iter, &record), 1);
        t_equal(record.seq, wanted[i]);
    }
    t_equal(twal_iter_next(iter, &record), 0);
    t_equal(skipped_of(iter).records, 5);
    twal_iter_close(iter);
    t_close(log);
}

static void arguments(void)
{
    copy_log();
    twal_log *log = t_open_read_only(dir);
    twal_iter *iter = NULL;
    twal_iter_options options = TWAL_ITER_OPTIONS_INIT;
    t_code(twal_iter_open(NULL, &options, &iter), TWAL_E_INVAL);
    t_code(twal_iter_open(log, &options, NULL), TWAL_E_INVAL);
    options.flags = 16;
    t_code(twal_iter_open(log, &options, &iter), TWAL_E_INVAL);
    options.flags = 0;
    options.reserved = 1;
    t_code(twal_iter_open(log, &options, &iter), TWAL_E_INVAL);
    options.reserved = 0;
    options.struct_size = 16;
    t_code(twal_iter_open(log, &options, &iter), TWAL_E_INVAL);
    options.struct_size = sizeof options;
    options.from_seq = 99;
    t_code(twal_iter_open(log, &options, &iter), TWAL_E_NOTFOUND);
    t_check(iter == NULL);
    t_ok(twal_iter_open(log, NULL, &iter));
    t_equal(skipped_of(iter).spots, 0);
    twal_skipped skipped = TWAL_SKIPPED_INIT;
    skipped.struct_size = 1;
    t_code(twal_iter_skipped(iter, &skipped), TWAL_E_INVAL);
    t_code(twal_iter_skipped(NULL, &skipped), TWAL_E_INVAL);
    t_code(twal_iter_skipped(iter, NULL), TWAL_E_INVAL);
    twal_iter_close(iter);
    t_close(log);
}

int main(void)
{
    t_begin();
    original = t_path("many");
    dir = t_path("log");
    t_make_closed(original, 25, LEN, 5); /* 1-5, 6-10, 11-15, 16-20, 21-25 */

    copy_log();
    damage(8);
    both_ways((const uint64_t[][2]){{8, 8}}, 1, true);

    copy_log();
    damage(7);
    damage(8);
    damage(10);
    damage(12);
    damage(18);
    both_ways((const uint64_t[][2]){{7, 8}, {10, 10}, {12, 12}, {18, 18}}, 4, true);

    /* In the newest segment, up to what the mark behind it witnesses. */
    copy_log();
    damage(23);
    both_ways((const uint64_t[][2]){{23, 23}}, 1, false);

    /* A whole segment: its header. */
    copy_log();
    t_file_flip(t_segment_at(dir, 3).path, 8, 8);
    both_ways((const uint64_t[][2]){{11, 15}}, 1, false);

    a_batch_goes_whole();
    arguments();
    return t_end();
}
