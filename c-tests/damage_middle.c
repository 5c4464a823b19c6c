/*
 * Goal: damage to data that a later frame or mark witnesses is never a torn tail.
 * In the last segment, in headers and in seals it refuses an open for writing;
 * deeper down the reader that meets it gets TWAL_E_CORRUPT, as does an open with
 * VERIFY; a read-only open yields everything before it, and never ends without
 * an error.
 */
#include "crashed.h"

#define LEN 6000

static const char *original, *dir;

static void copy_log(void)
{
    t_dir_copy(original, dir);
}

static void expect_place(const twal_error *error, const t_frame *frame)
{
    t_equal(error->segment, frame->segment.index);
    t_check(error->offset >= frame->block && error->offset < frame->end);
}

/* Frame `seq` of the last segment is damaged: rot. */
static void last_segment(uint64_t seq, uint64_t at)
{
    copy_log();
    t_frame frame = t_find_frame(dir, seq, LEN);
    if (at >= frame.payload_end - frame.block)
        at = frame.payload_end - frame.block - 1;
    t_file_flip(frame.segment.path, frame.block + at, 1);
    t_refused(dir, 0);
    t_refused(dir, TWAL_OPEN_VERIFY);
    twal_log *log = t_open_read_only(dir);
    t_equal(t_recovery(log).tail, TWAL_TAIL_DAMAGED);
    t_close(log);
    twal_error error = t_damaged_reads(dir, seq - 1, seq - 1, LEN);
    expect_place(&error, &frame);
}

static void in_the_last_segment(void)
{
    t_random random = t_random_new(1);
    dir = t_path("log");
    /* Crashed: the last frame witnesses all but itself. */
    original = t_path("crashed");
    t_make_crashed(original, 10, LEN, 0);
    for (uint64_t seq = 1; seq <= 9; seq++) {
        last_segment(seq, 0);
        last_segment(seq, 4096);
        last_segment(seq, t_random_below(&random, LEN));
    }
    /* Closed: a mark witnesses the last one too. */
    original = t_path("closed");
    t_make_closed(original, 10, LEN, 0);
    for (uint64_t seq = 1; seq <= 10; seq++) {
        last_segment(seq, 0);
        last_segment(seq, t_random_below(&random, LEN));
    }
    /* Several spots, and a run of zeros over several frames. */
    copy_log();
    t_frame from = t_find_frame(dir, 4, LEN), to = t_find_frame(dir, 7, LEN);
    t_file_zero(from.segment.path, from.block, to.end - from.block);
    t_refused(dir, 0);
    t_damaged_reads(dir, 3, 3, LEN);
    /* A frame where another should be: a write that went astray. */
    copy_log();
    from = t_find_frame(dir, 4, LEN);
    size_t len = 0;
    char *bytes = t_file_read(from.segment.path, &len);
    t_file_write(from.segment.path, from.end, bytes + from.block, from.end - from.block);
    t_refused(dir, 0);
    t_damaged_reads(dir, 4, 4, LEN);
    /* The segment's header. */
    for (uint64_t at = 0; at < 128; at += 4 * t_thin()) {
        copy_log();
        t_file_flip(t_active(dir).path, at, 1);
        t_refused(dir, 0);
        t_damaged_reads(dir, 0, 0, LEN);
    }
}

static void deeper(void)
{
    original = t_path("many");
    t_make_closed(original, 25, LEN, 5); /* 1-5, 6-10, 11-15, 16-20, 21-25 */
    t_equal(t_segment_at(original, 3).first_seq, 11);
    twal_options options = t_options_quiet();

    for (uint64_t seq = 6; seq <= 20; seq += 2) {
        copy_log();
        t_frame frame = t_find_frame(dir, seq, LEN);
        t_file_flip(frame.segment.path, frame.payload + 100, 3);
        t_refused(dir, TWAL_OPEN_VERIFY);
        twal_error error = t_damaged_reads(dir, seq - 1, seq - 1, LEN);
        expect_place(&error, &frame);

        /* An open does not read that deep; the reader does, and from behind the
         * damaged segment all is well. */
        twal_log *log = t_open(dir, &options);
        size_t len = LEN;
        t_seen seen;
        t_code(t_read(log, 0, &seen, t_record_of_many, &len), TWAL_E_CORRUPT);
        t_equal(seen.count, seq - 1);
        t_check(t_stats(log).corrupted_records >= 1);
        t_append_many(log, 1, LEN);
        uint64_t behind = frame.segment.first_seq + 5;
        t_ok(t_read(log, behind, &seen, t_record_of_many, &len));
        t_equal(seen.last, 26);
        t_close(log);
    }
    /* Headers and seals of every segment are read at every open. */
    for (uint64_t index = 1; index <= 5; index++) {
        copy_log();
        t_segment segment = t_segment_at(dir, index);
        t_file_flip(segment.path, 8, 8);
        t_refused(dir, 0);
        t_damaged_reads(dir, segment.first_seq - 1, segment.first_seq - 1, LEN);
        if (index == 5)
            continue;
        copy_log();
        t_file_flip(segment.path, t_file_last_block(segment.path, T_BLOCK), 64);
        t_refused(dir, 0);
        t_damaged_reads(dir, segment.first_seq - 1, segment.first_seq + 4, LEN);
    }
    /* In any segment but the newest a torn end is rot too. */
    copy_log();
    t_frame frame = t_find_frame(dir, 15, LEN);
    t_file_zero(frame.segment.path, frame.block, t_file_size(frame.segment.path) - frame.block);
    t_refused(dir, 0);
    t_damaged_reads(dir, 14, 14, LEN);
    /* A shorter file, anywhere. */
    copy_log();
    t_file_truncate(t_segment_at(dir, 2).path, t_file_size(t_segment_at(dir, 2).path) - T_BLOCK);
    t_refused(dir, 0);
    t_damaged_reads(dir, 5, 10, LEN);
}

int main(void)
{
    t_begin();
    in_the_last_segment();
    deeper();
    return t_end();
}
