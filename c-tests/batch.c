/*
 * Goal: a batch gets numbers that follow each other, its records say that they
 * belong together, and nobody's records come between, also with other threads
 * appending; durable_seq is always the end of a batch.
 */
#include "helpers.h"

#include <stdatomic.h>

#define THREADS 6
#define BATCHES 60
#define SIZE_MAX_OF_BATCH 40

static twal_log *shared;
static atomic_int running;

/* Record k of a batch of `size`: stream says both, so that a reader can check. */
static uint64_t append_batch(twal_log *log, uint64_t writer, uint64_t *number, size_t size)
{
    twal_entry entries[SIZE_MAX_OF_BATCH];
    unsigned char data[SIZE_MAX_OF_BATCH][256];
    uint64_t first = 0;
    for (size_t k = 0; k < size; k++) {
        entries[k] = (twal_entry)TWAL_ENTRY_INIT;
        entries[k].len = T_PAYLOAD_MIN + (writer * 31 + k * 7) % 200;
        t_payload_fill(data[k], entries[k].len, writer, *number);
        entries[k].data = data[k];
        entries[k].stream = TWAL_STREAM(size, k);
        entries[k].type = 0x0200 + (uint32_t)k;
        ++*number;
    }
    t_ok(twal_append_batch(log, entries, size, &first));
    return first;
}

static void *append_all(void *arg)
{
    uint64_t writer = (uint64_t)(uintptr_t)arg, number = 0;
    t_random random = t_random_new(writer);
    for (int n = 0; n < BATCHES; n++) {
        size_t size = 1 + t_random_below(&random, SIZE_MAX_OF_BATCH);
        uint64_t first = append_batch(shared, writer, &number, size);
        t_check(twal_durable_seq(shared) >= first + size - 1);
    }
    atomic_fetch_sub(&running, 1);
    return NULL;
}

struct reading {
    uint64_t next_of[THREADS + 1];
    uint64_t left, size, position, writer; /* of the batch we are in */
    uint64_t seq, last_end;                /* last record, last end of a batch */
};

static void check_one(const twal_record *record, void *arg)
{
    struct reading *at = arg;
    uint64_t writer = 0, number = 0;
    uint64_t size = record->stream >> 32, position = record->stream & 0xFFFFFFFF;

    t_check(t_payload_read(record->data, record->len, &writer, &number));
    t_check(writer <= THREADS);
    t_equal(number, at->next_of[writer]++);
    if (at->left == 0) {
        t_equal(position, 0);
        at->left = at->size = size;
        at->writer = writer;
        at->position = 0;
    }
    t_equal(writer, at->writer);
    t_equal(size, at->size);
    t_equal(position, at->position++);
    t_equal(record->type, 0x0200 + position);
    at->left--;
    t_equal(record->flags, at->left ? TWAL_RECORD_BATCH_CONTINUES : 0);
    at->seq = record->seq;
    if (at->left == 0)
        at->last_end = record->seq;
}

static void check_all(twal_log *log)
{
    struct reading at = { .left = 0 };
    t_ok(t_read(log, 0, NULL, check_one, &at));
    t_equal(at.left, 0);
    t_equal(at.seq, twal_last_seq(log));
}

int main(void)
{
    t_begin();
    const char *dir = t_path("log");
    twal_options options = t_options();
    pthread_t threads[THREADS];

    options.segment_size = T_MIB;
    shared = t_open(dir, &options);
    atomic_store(&running, THREADS);
    for (uintptr_t writer = 1; writer <= THREADS; writer++)
        threads[writer - 1] = t_thread(append_all, (void *)writer);
    /* A reader beside them: whenever it reaches the end, a batch is whole, and
     * what it had seen of durable_seq by then is the end of one. */
    struct reading at = { .left = 0 };
    twal_iter *iter;
    twal_record record;
    uint64_t durable_seen = 0;
    t_ok(twal_recover_iter(shared, 1, &iter));
    for (bool more = true; more;) {
        more = atomic_load(&running) > 0;
        uint64_t durable = twal_durable_seq(shared);
        t_check(durable >= durable_seen);
        durable_seen = durable;
        int answer;
        while ((answer = twal_iter_next(iter, &record)) == 1) {
            check_one(&record, &at);
            if (record.seq == durable)
                t_equal(at.left, 0);
        }
        t_ok(answer);
        t_equal(at.left, 0);
        t_check(at.seq >= durable);
    }
    twal_iter_close(iter);
    for (int n = 0; n < THREADS; n++)
        t_join(threads[n]);
    check_all(shared);
    t_close(shared);

    shared = t_open(dir, &options);
    check_all(shared);

    /* A batch of one is a record like any other. */
    uint64_t number = at.next_of[1], last = twal_last_seq(shared);
    t_equal(append_batch(shared, 1, &number, 1), last + 1);
    /* first_seq_out may be NULL; empty records are allowed in a batch. */
    twal_entry three[3] = { TWAL_ENTRY_INIT, TWAL_ENTRY_INIT, TWAL_ENTRY_INIT };
    t_ok(twal_append_batch(shared, three, 3, NULL));
    t_equal(twal_last_seq(shared), last + 4);
    t_close(shared);
    return t_end();
}
