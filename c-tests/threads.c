/*
 * Goal: appends from many threads all arrive, each once, in an order that agrees
 * with the clock: if one append returned before another began, its number is
 * smaller; and an acknowledged record is durable.
 * Method: 16 threads, each with its own counter; before an append a thread notes
 * the highest number that any thread has returned so far.
 */
#include "helpers.h"

#include <stdatomic.h>

#define THREADS 16
#define APPENDS 300

static twal_log *shared;
static atomic_uint_fast64_t highest_returned;

static void *append_all(void *arg)
{
    uint64_t writer = (uint64_t)(uintptr_t)arg, before_mine = 0;
    t_random random = t_random_new(writer);
    for (uint64_t n = 0; n < APPENDS; n++) {
        size_t len = T_PAYLOAD_MIN + t_random_below(&random, n % 50 ? 300 : 20000);
        uint64_t before = atomic_load(&highest_returned);
        uint64_t seq = t_append(shared, len, writer, n, 0);
        t_check(seq > before);
        t_check(seq > before_mine);
        t_check(twal_durable_seq(shared) >= seq);
        t_check(twal_last_seq(shared) >= seq);
        before_mine = seq;
        uint_fast64_t highest = atomic_load(&highest_returned);
        while (highest < seq && !atomic_compare_exchange_weak(&highest_returned, &highest, seq))
            ;
    }
    return NULL;
}

static uint64_t next_of[THREADS + 1];

static void count_one(const twal_record *record, void *arg)
{
    uint64_t writer = 0, number = 0;
    (void)arg;
    t_check(t_payload_read(record->data, record->len, &writer, &number));
    t_check(writer >= 1 && writer <= THREADS);
    t_equal(number, next_of[writer]);
    next_of[writer]++;
}

static void check_all(twal_log *log)
{
    t_seen seen;
    memset(next_of, 0, sizeof next_of);
    t_ok(t_read(log, 0, &seen, count_one, NULL));
    t_equal(seen.count, THREADS * APPENDS);
    for (int writer = 1; writer <= THREADS; writer++)
        t_equal(next_of[writer], APPENDS);
}

int main(void)
{
    t_begin();
    const char *dir = t_path("log");
    twal_options options = t_options();
    pthread_t threads[THREADS];

    options.segment_size = T_MIB;
    shared = t_open(dir, &options);
    for (uintptr_t writer = 1; writer <= THREADS; writer++)
        threads[writer - 1] = t_thread(append_all, (void *)writer);
    for (int n = 0; n < THREADS; n++)
        t_join(threads[n]);
    check_all(shared);
    t_close(shared);
    shared = t_open(dir, &options);
    check_all(shared);
    t_close(shared);
    return t_end();
}
