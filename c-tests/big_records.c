/*
 * Goal: records up to record_size_max, also larger than the ring, than a frame's
 * usual cap and than what is left of a segment, go in and come back; one byte
 * more is TWAL_E_TOOBIG and takes no number.
 */
#include "helpers.h"

#include <stdatomic.h>

static uint64_t sizes[64];
static size_t sizes_count;

static void check_one(const twal_record *record, void *arg)
{
    uint64_t writer = 0, number = 0;
    (void)arg;
    t_equal(record->len, sizes[record->seq - 1]);
    t_check(t_payload_read(record->data, record->len, &writer, &number));
    t_equal(number, record->seq);
}

static void append_size(twal_log *log, uint64_t size)
{
    t_check(sizes_count < 64);
    sizes[sizes_count++] = size;
    t_equal(t_append(log, size, 1, sizes_count, 0), sizes_count);
}

static void check_all(const char *dir)
{
    t_seen seen;
    twal_log *log = t_open_read_only(dir);
    t_ok(t_read(log, 0, &seen, check_one, NULL));
    t_equal(seen.count, sizes_count);
    t_close(log);
}

static void up_to_16_mib(void)
{
    const char *dir = t_path("defaults");
    twal_options options = t_options();
    twal_log *log = t_open(dir, &options);
    char byte = 0;
    sizes_count = 0;
    append_size(log, T_MIB - 4096);
    append_size(log, T_MIB);
    append_size(log, T_MIB + 1);
    append_size(log, 16 * T_MIB);
    append_size(log, 16 * T_MIB - 1);
    append_size(log, T_PAYLOAD_MIN);
    append_size(log, 16 * T_MIB);
    append_size(log, 16 * T_MIB); /* the segment of 64 MiB is full: the next one */
    append_size(log, 5 * T_MIB);
    t_code(twal_append(log, &byte, 16 * T_MIB + 1, NULL), TWAL_E_TOOBIG);
    t_equal(twal_last_seq(log), sizes_count);
    append_size(log, 100);
    t_close(log);
    check_all(dir);
    t_dir_remove(dir);
}

/* More than the default limit, through a ring that could never hold it. */
static void through_a_small_ring(void)
{
    const char *dir = t_path("small-ring");
    twal_options options = t_options();
    options.ring_size = 128 * T_KIB;
    options.record_size_max = 20 * T_MIB;
    options.segment_size = 32 * T_MIB;
    twal_log *log = t_open(dir, &options);
    sizes_count = 0;
    append_size(log, 100);
    append_size(log, 127 * T_KIB);
    append_size(log, 128 * T_KIB);
    append_size(log, 129 * T_KIB);
    append_size(log, T_MIB);
    append_size(log, 20 * T_MIB);
    append_size(log, 100);
    append_size(log, 13 * T_MIB);

    /* A batch in sum larger than the ring, and one larger than the limit. */
    static char data[1 << 20];
    twal_entry entries[21];
    for (int n = 0; n < 21; n++) {
        entries[n] = (twal_entry)TWAL_ENTRY_INIT;
        entries[n].data = data;
        entries[n].len = T_MIB;
    }
    uint64_t first = 0;
    t_code(twal_append_batch(log, entries, 21, &first), TWAL_E_TOOBIG);
    t_equal(first, 0);
    t_equal(twal_last_seq(log), sizes_count);
    t_close(log);
    check_all(dir);
    log = t_open(dir, &options);
    t_ok(twal_append_batch(log, entries, 20, &first));
    t_equal(first, sizes_count + 1);
    t_close(log);
    log = t_open_read_only(dir);
    t_seen seen;
    t_ok(t_read(log, first, &seen, NULL, NULL));
    t_equal(seen.count, 20);
    t_close(log);
    t_dir_remove(dir);
}

/* Large and small from several threads, in a small ring. */
static twal_log *shared;

static void *mixed(void *arg)
{
    uint64_t writer = (uint64_t)(uintptr_t)arg;
    t_random random = t_random_new(writer);
    for (uint64_t n = 0; n < 25; n++)
        t_append(shared, T_PAYLOAD_MIN + t_random_below(&random, n % 4 ? 2000 : 700000), writer, n,
                 n % 3 ? 0 : TWAL_APPEND_NO_SYNC);
    return NULL;
}

static uint64_t next_of[5];

static void check_mixed(const twal_record *record, void *arg)
{
    uint64_t writer = 0, number = 0;
    (void)arg;
    t_check(t_payload_read(record->data, record->len, &writer, &number));
    t_check(writer >= 1 && writer <= 4);
    t_equal(number, next_of[writer]++);
}

static void among_threads(void)
{
    const char *dir = t_path("threads");
    twal_options options = t_options();
    pthread_t threads[4];
    options.ring_size = 256 * T_KIB;
    options.segment_size = 2 * T_MIB;
    shared = t_open(dir, &options);
    for (uintptr_t n = 0; n < 4; n++)
        threads[n] = t_thread(mixed, (void *)(n + 1));
    for (int n = 0; n < 4; n++)
        t_join(threads[n]);
    t_close(shared);
    shared = t_open_read_only(dir);
    t_seen seen;
    t_ok(t_read(shared, 0, &seen, check_mixed, NULL));
    t_equal(seen.count, 100);
    t_close(shared);
}

int main(void)
{
    t_begin();
    up_to_16_mib();
    through_a_small_ring();
    among_threads();
    return t_end();
}
