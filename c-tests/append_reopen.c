/*
 * Goal: what was appended comes back, the same and in order, from the open log,
 * after a reopen, and after several; and numbers go on where they ended.
 * Method: records of many lengths around the block's edges, with streams, types
 * and timestamps that follow from their number.
 */
#include "helpers.h"

static const size_t lengths[] = { 0, 1, 7, 8, 9, 31, 32, 33, 100, 127, 128, 511, 512, 513, 3900, 3927,
                                  3928, 3929, 4055, 4056, 4057, 4095, 4096, 4097, 8191, 8192, 8193,
                                  65535, 65536, 65537, 1048575, 1048576, 1048577 };
#define LENGTHS (sizeof lengths / sizeof *lengths)

static size_t length_of(uint64_t seq)
{
    return lengths[(seq - 1) % LENGTHS];
}

static void append_one(twal_log *log, uint64_t seq)
{
    twal_entry entry = TWAL_ENTRY_INIT;
    uint64_t got = 0;
    void *data = malloc(length_of(seq) + 1);
    t_check(data);
    t_payload_fill(data, length_of(seq), 7, seq);
    entry.data = data;
    entry.len = length_of(seq);
    entry.stream = TWAL_STREAM(seq, seq * 3);
    entry.timestamp = (int64_t)(seq * 1000);
    entry.type = 0x0100 + (uint32_t)(seq * 977 % 0xFE00);
    entry.flags = seq % 2 ? TWAL_APPEND_REQUIRED : 0;
    t_ok(twal_append_entry(log, &entry, &got));
    t_equal(got, seq);
    free(data);
}

static void check_one(const twal_record *record, void *arg)
{
    uint64_t seq = record->seq;
    size_t len = length_of(seq);
    void *want = malloc(len + 1);
    (void)arg;
    t_check(want);
    t_payload_fill(want, len, 7, seq);
    t_equal(record->len, len);
    t_check(memcmp(record->data, want, len) == 0);
    t_equal(record->stream, TWAL_STREAM(seq, seq * 3));
    t_equal(record->timestamp, seq * 1000);
    t_equal(record->type, 0x0100 + seq * 977 % 0xFE00);
    t_equal(record->flags, seq % 2 ? TWAL_RECORD_REQUIRED : 0);
    t_equal(record->reserved[0] | record->reserved[1], 0);
    free(want);
}

static void check_all(twal_log *log, uint64_t last)
{
    t_seen seen;
    t_equal(twal_first_seq(log), 1);
    t_equal(twal_last_seq(log), last);
    t_equal(twal_durable_seq(log), last);
    t_ok(t_read(log, 0, &seen, check_one, NULL));
    t_equal(seen.count, last);
    t_ok(t_read(log, 1, &seen, check_one, NULL));
    t_equal(seen.count, last);
}

int main(void)
{
    t_begin();
    const char *dir = t_path("log");
    twal_options options = t_options();
    uint64_t last = 0;

    twal_log *log = t_open(dir, &options);
    t_equal(twal_first_seq(log), 1);
    t_equal(twal_last_seq(log), 0);
    t_equal(twal_durable_seq(log), 0);
    for (int round = 0; round < (t_thin() > 1 ? 2 : 4); round++) {
        for (size_t n = 0; n < LENGTHS; n++)
            append_one(log, ++last);
        check_all(log, last);
        t_close(log);
        log = t_open_read_only(dir);
        check_all(log, last);
        t_close(log);
        log = t_open(dir, &options);
        check_all(log, last);
    }
    /* An open and a close that append nothing change nothing either. */
    for (int round = 0; round < 5; round++) {
        t_close(log);
        log = t_open(dir, &options);
    }
    check_all(log, last);
    t_close(log);

    /* All defaults, by NULL; and twal_append()'s own type, stream and clock. */
    uint64_t seq = 0;
    log = t_open(t_path("defaults"), NULL);
    t_ok(twal_append(log, "hello", 5, &seq));
    t_equal(seq, 1);
    t_ok(twal_append(log, NULL, 0, NULL));
    t_ok(twal_append(log, "x", 0, &seq));
    t_equal(seq, 3);
    twal_iter *iter;
    twal_record record;
    t_ok(twal_recover_iter(log, 0, &iter));
    t_equal(twal_iter_next(iter, &record), 1);
    t_check(record.len == 5 && memcmp(record.data, "hello", 5) == 0);
    t_equal(record.type, 0x0100);
    t_equal(record.stream, 0);
    for (int n = 0; n < 2; n++) {
        t_equal(twal_iter_next(iter, &record), 1);
        t_equal(record.len, 0);
        t_check(record.data);
    }
    t_equal(twal_iter_next(iter, &record), 0);
    twal_iter_close(iter);
    t_close(log);
    return t_end();
}
