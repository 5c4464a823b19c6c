/*
 * Goal: a record from parts is the record that the parts make in a row: byte for
 * byte, with its type, stream, timestamp and flags; with no part, empty parts, a
 * thousand, and up to the limit; beside other appends, and over a new open.
 */
#include "helpers.h"

#include <sys/uio.h>

#define PARTS_MAX 1000
#define LEN_MAX (200 * T_KIB)

static char whole[LEN_MAX];

struct wanted {
    uint64_t seq, stream;
    int64_t timestamp;
    uint32_t type, flags;
    size_t len;
    char *data;
};

static struct wanted wanted[400];
static size_t wanted_count;

/* Cuts the first len bytes of `whole` into count parts; about half are empty. */
static void cut(twal_part *parts, size_t count, size_t len, t_random *random)
{
    size_t at = 0;
    for (size_t n = 0; n < count; n++) {
        size_t left = len - at;
        size_t take = n + 1 == count ? left : t_random_below(random, 2) ? 0 : t_random_below(random, left / 2 + 1);
        parts[n].data = take || t_random_below(random, 2) ? whole + at : NULL;
        parts[n].len = take;
        at += take;
    }
}

static void append_one(twal_log *log, size_t count, size_t len, t_random *random)
{
    static twal_part parts[PARTS_MAX];
    struct wanted *want = &wanted[wanted_count++];
    twal_entry entry = TWAL_ENTRY_INIT;
    for (size_t n = 0; n < len; n++)
        whole[n] = (char)t_random_next(random);
    cut(parts, count, len, random);
    entry.stream = want->stream = t_random_next(random);
    entry.timestamp = want->timestamp = (int64_t)(t_random_next(random) >> 2);
    entry.type = want->type = 0x0100 + (uint32_t)t_random_below(random, 0x1000);
    entry.flags = (count % 2 ? TWAL_APPEND_REQUIRED : 0) | (count % 3 ? TWAL_APPEND_NO_SYNC : TWAL_APPEND_SYNC);
    want->flags = count % 2 ? TWAL_RECORD_REQUIRED : 0;
    want->len = len;
    want->data = malloc(len + 1);
    t_check(want->data);
    memcpy(want->data, whole, len);
    t_ok(twal_append_gather(log, &entry, count ? parts : NULL, count, &want->seq));
    t_equal(want->seq, wanted_count);
    if (entry.flags & TWAL_APPEND_SYNC)
        t_check(twal_durable_seq(log) >= want->seq);
    /* It was copied. */
    memset(whole, 0x5a, len);
}

/* A plain append between them. */
static void append_plain(twal_log *log)
{
    struct wanted *want = &wanted[wanted_count++];
    *want = (struct wanted){ wanted_count, 0, 0, 0x0100, 0, 5, malloc(6) };
    t_check(want->data);
    memcpy(want->data, "plain", 5);
    t_ok(twal_append(log, "plain", 5, NULL));
}

static void check_one(const twal_record *record, void *arg)
{
    const struct wanted *want = &wanted[record->seq - 1];
    (void)arg;
    t_equal(record->len, want->len);
    t_check(memcmp(record->data, want->data, want->len) == 0);
    t_equal(record->stream, want->stream);
    t_equal(record->type, want->type);
    t_equal(record->flags, want->flags);
    if (want->stream)
        t_equal(record->timestamp, want->timestamp);
}

static void check_all(twal_log *log)
{
    t_seen seen;
    t_ok(t_read(log, 0, &seen, check_one, NULL));
    t_equal(seen.count, wanted_count);
}

static void bytes_are_equal(void)
{
    static const size_t counts[] = { 0, 1, 2, 3, 4, 7, 16, 100, PARTS_MAX };
    static const size_t lens[] = { 0, 1, 7, 8, 9, 100, 4096, 5000, LEN_MAX };
    const char *dir = t_path("bytes");
    twal_options options = t_options();
    t_random random = t_random_new(1);
    options.segment_size = T_MIB;
    twal_log *log = t_open(dir, &options);
    for (size_t c = 0; c < sizeof counts / sizeof *counts; c++) {
        for (size_t l = 0; l < sizeof lens / sizeof *lens; l++)
            append_one(log, counts[c], counts[c] ? lens[l] : 0, &random);
        append_plain(log);
    }
    t_ok(twal_sync(log, 0));
    check_all(log);
    t_close(log);
    log = t_open(dir, &options);
    check_all(log);
    t_close(log);
    for (size_t n = 0; n < wanted_count; n++)
        free(wanted[n].data);
}

/* An array for writev(2) is an array of parts. */
static void iovecs_are_parts(void)
{
    struct iovec iov[2] = { { "ab", 2 }, { "cde", 3 } };
    twal_entry entry = TWAL_ENTRY_INIT;
    twal_options options = t_options();
    twal_log *log = t_open(t_path("iovec"), &options);
    twal_iter *iter;
    twal_record record;
    t_ok(twal_append_gather(log, &entry, (const twal_part *)(const void *)iov, 2, NULL));
    t_ok(twal_recover_iter(log, 1, &iter));
    t_equal(twal_iter_next(iter, &record), 1);
    t_check(record.len == 5 && memcmp(record.data, "abcde", 5) == 0);
    twal_iter_close(iter);
    t_close(log);
}

static void limits_and_wrong_arguments(void)
{
    static char data[64 * T_KIB];
    twal_options options = t_options_quiet();
    const char *dir = t_path("arguments");
    uint64_t seq = 77;
    options.record_size_max = sizeof data;
    twal_log *log = t_open(dir, &options);
    twal_entry good = TWAL_ENTRY_INIT, bad;
    twal_part parts[3] = { { data, sizeof data - 10 }, { NULL, 0 }, { data, 10 } };

    t_append_many(log, 2, 100);
    uint64_t before = t_segments_sum(dir);
    t_code(twal_append_gather(NULL, &good, parts, 3, &seq), TWAL_E_INVAL);
    t_code(twal_append_gather(log, NULL, parts, 3, &seq), TWAL_E_INVAL);
    t_code(twal_append_gather(log, &good, NULL, 1, &seq), TWAL_E_INVAL);
    t_code(twal_append_gather(log, &good, parts, SIZE_MAX, &seq), TWAL_E_TOOBIG);
    bad = good;
    bad.data = data;
    t_code(twal_append_gather(log, &bad, parts, 3, &seq), TWAL_E_INVAL);
    bad.len = 1;
    t_code(twal_append_gather(log, &bad, parts, 3, &seq), TWAL_E_INVAL);
    bad = good;
    bad.type = 0xFF;
    t_code(twal_append_gather(log, &bad, parts, 3, &seq), TWAL_E_INVAL);
    bad = good;
    bad.flags = TWAL_APPEND_SYNC | TWAL_APPEND_NO_SYNC;
    t_code(twal_append_gather(log, &bad, parts, 3, &seq), TWAL_E_INVAL);
    bad = good;
    bad.reserved[1] = 1;
    t_code(twal_append_gather(log, &bad, parts, 3, &seq), TWAL_E_INVAL);
    for (int n = 0; n < 3; n++) {
        twal_part wrong[3] = { parts[0], parts[1], parts[2] };
        wrong[n] = (twal_part){ NULL, 1 };
        t_code(twal_append_gather(log, &good, wrong, 3, &seq), TWAL_E_INVAL);
    }
    /* One byte too many, wherever it is; and sums that must not wrap around. */
    parts[1] = (twal_part){ data, 1 };
    t_code(twal_append_gather(log, &good, parts, 3, &seq), TWAL_E_TOOBIG);
    parts[1].len = SIZE_MAX - sizeof data + 1;
    t_code(twal_append_gather(log, &good, parts, 3, &seq), TWAL_E_TOOBIG);
    parts[0].len = parts[2].len = SIZE_MAX;
    t_code(twal_append_gather(log, &good, parts, 3, &seq), TWAL_E_TOOBIG);
    t_equal(seq, 77);
    t_equal(twal_last_seq(log), 2);
    t_equal(t_segments_sum(dir), before);
    /* Exactly the limit. */
    parts[0] = (twal_part){ data, sizeof data - 10 };
    parts[1] = (twal_part){ NULL, 0 };
    parts[2] = (twal_part){ data, 10 };
    t_ok(twal_append_gather(log, &good, parts, 3, &seq));
    t_equal(seq, 3);
    t_close(log);
    log = t_open_read_only(dir);
    t_code(twal_append_gather(log, &good, NULL, 0, NULL), TWAL_E_READ_ONLY);
    t_close(log);
}

int main(void)
{
    t_begin();
    bytes_are_equal();
    iovecs_are_parts();
    limits_and_wrong_arguments();
    return t_end();
}
