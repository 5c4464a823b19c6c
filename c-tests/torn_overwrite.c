/*
 * Goal: a last frame that nothing witnesses, and that is damaged anywhere, is a
 * torn tail: cut, reported, forgotten; what was cut never comes back.
 * Method: a crashed log; its last frame overwritten in many ways.
 */
#include "crashed.h"

#define RECORDS 8
#define LEN 9000

static const char *original, *dir;

static void copy_log(t_frame *frame)
{
    t_dir_copy(original, dir);
    *frame = t_find_frame(dir, RECORDS, LEN);
}

static void expect_cut(void)
{
    twal_options options = t_options_quiet();
    twal_log *log = t_open(dir, &options);
    t_expect_many(log, 1, RECORDS - 1, LEN);
    twal_recovery report = t_recovery(log);
    t_equal(report.last_seq, RECORDS - 1);
    /* Frame 8 said that 7 was durable; if it cannot be read, frame 7 said 6. */
    t_check(report.witnessed_seq >= RECORDS - 2);
    t_close(log);
    /* And stays cut, though its number is used by another record. */
    log = t_open(dir, &options);
    t_equal(t_recovery(log).tail, TWAL_TAIL_CLEAN);
    t_expect_many(log, 1, RECORDS - 1, LEN);
    t_equal(t_append(log, 100, 2, 1, 0), RECORDS);
    t_close(log);
    log = t_open_read_only(dir);
    t_equal(twal_last_seq(log), RECORDS);
    twal_iter *iter;
    twal_record record;
    uint64_t writer = 0, number = 0;
    t_ok(twal_recover_iter(log, RECORDS, &iter));
    t_equal(twal_iter_next(iter, &record), 1);
    t_check(t_payload_read(record.data, record.len, &writer, &number));
    t_equal(writer, 2);
    t_equal(twal_iter_next(iter, &record), 0);
    twal_iter_close(iter);
    t_close(log);
    t_dir_remove(dir);
}

int main(void)
{
    t_begin();
    t_random random = t_random_new(1);
    t_frame frame;
    unsigned char garbage[T_BLOCK];
    original = t_path("original");
    dir = t_path("log");
    t_make_crashed(original, RECORDS, LEN, 0);

    /* One bit, anywhere from the frame's first byte to its payload's last. */
    for (int n = 0; n < 60 / (int)t_thin(); n++) {
        copy_log(&frame);
        uint64_t at = frame.block + t_random_below(&random, frame.payload_end - frame.block);
        size_t len = 0;
        char *bytes = t_file_read(frame.segment.path, &len);
        char flipped = (char)(bytes[at] ^ (char)(1 << t_random_below(&random, 8)));
        t_file_write(frame.segment.path, at, &flipped, 1);
        expect_cut();
    }
    /* The bytes of the headers in front of the payload. */
    for (uint64_t at = 0;; at += t_thin()) {
        copy_log(&frame);
        if (frame.block + at >= frame.payload) {
            t_dir_remove(dir);
            break;
        }
        t_file_flip(frame.segment.path, frame.block + at, 1);
        expect_cut();
    }
    /* Sectors and blocks of garbage, of zeros, and of the frame before. */
    for (int n = 0; n < 30 / (int)t_thin(); n++) {
        copy_log(&frame);
        uint64_t unit = n % 2 ? 512 : T_BLOCK;
        uint64_t units = (frame.payload_end - frame.block) / unit;
        uint64_t at = frame.block + t_random_below(&random, units) * unit;
        for (size_t k = 0; k < sizeof garbage; k += 8) {
            uint64_t word = t_random_next(&random);
            memcpy(garbage + k, &word, 8);
        }
        if (n % 3 == 0)
            memset(garbage, 0, sizeof garbage);
        if (n % 3 == 1) {
            size_t len = 0;
            char *bytes = t_file_read(frame.segment.path, &len);
            memcpy(garbage, bytes + at - (frame.end - frame.block), sizeof garbage);
        }
        t_file_write(frame.segment.path, at, garbage, unit);
        expect_cut();
    }
    /* The whole frame: a frame that ours is not, and one of ours elsewhere. */
    copy_log(&frame);
    size_t len = 0;
    char *bytes = t_file_read(frame.segment.path, &len);
    t_file_write(frame.segment.path, frame.block, bytes + frame.block - (frame.end - frame.block),
                 frame.end - frame.block);
    expect_cut();
    return t_end();
}
