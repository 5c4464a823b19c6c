/*
 * Goal: a thread that is cancelled inside a twal call finishes the call first:
 * the process lives, the log goes on, and what the call did is done, no more and
 * no less.
 * Method: threads append and sync in a loop with no cancellation point of their
 * own but one behind each call; each is cancelled at a random moment.  One that
 * is cancelled already reads it all.
 */
#include "helpers.h"

#include <pthread.h>

#define ROUNDS 60
#define LEN 40

static twal_log *log_;
static uint64_t appended;

static void *append(void *arg)
{
    int how = (int)(intptr_t)arg;
    for (;;) {
        uint64_t seq = 0, next = __atomic_load_n(&appended, __ATOMIC_RELAXED) + 1;
        char data[LEN];
        twal_entry entry = TWAL_ENTRY_INIT;
        t_payload_fill(data, LEN, 1, next);
        entry.data = data;
        entry.len = LEN;
        entry.flags = how == 0 ? TWAL_APPEND_SYNC : TWAL_APPEND_NO_SYNC;
        t_ok(twal_append_entry(log_, &entry, &seq));
        if (how == 1)
            t_ok(twal_sync(log_, seq));
        if (how == 2)
            t_ok(twal_roll(log_));
        t_equal(seq, next);
        /* Whoever is cancelled in front of this has left a call in the middle. */
        __atomic_store_n(&appended, seq, __ATOMIC_RELEASE);
        pthread_testcancel();
    }
    return NULL;
}

/* Reads all, cancelled from before the first call on; the segments are many. */
static void *read_all(void *arg)
{
    uint64_t *count = arg;
    twal_iter *iter = NULL;
    twal_record record;
    t_check(pthread_cancel(pthread_self()) == 0);
    t_ok(twal_recover_iter(log_, 0, &iter));
    while (twal_iter_next(iter, &record) == 1)
        *count += 1;
    twal_iter_close(iter);
    /* The last of it: who is cancelled in front of this has left a call in the middle. */
    *count += 1;
    pthread_testcancel();
    return NULL;
}

int main(void)
{
    t_begin();
    twal_options options = t_options_small();
    t_random random = t_random_new(1);
    log_ = t_open(t_path("log"), &options);
    for (int round = 0; round < ROUNDS; round++) {
        uint64_t before = __atomic_load_n(&appended, __ATOMIC_ACQUIRE);
        uint64_t wanted = before + 1 + t_random_below(&random, 20);
        pthread_t thread;
        t_check(pthread_create(&thread, NULL, append, (void *)(intptr_t)(round % 3)) == 0);
        t_await(__atomic_load_n(&appended, __ATOMIC_ACQUIRE) >= wanted, T_PATIENCE_MS);
        t_check(pthread_cancel(thread) == 0);
        void *result = NULL;
        t_check(pthread_join(thread, &result) == 0);
        t_check(result == PTHREAD_CANCELED);
    }
    uint64_t last = twal_last_seq(log_);
    t_equal(last, appended);
    t_append_many(log_, 1, LEN);
    t_equal(twal_durable_seq(log_), last + 1);
    t_expect_many(log_, 1, last + 1, LEN);
    uint64_t count = 0;
    pthread_t reader;
    void *result = NULL;
    t_check(pthread_create(&reader, NULL, read_all, &count) == 0);
    t_check(pthread_join(reader, &result) == 0);
    t_check(result == PTHREAD_CANCELED);
    t_equal(count, last + 2);
    t_close(log_);
    t_expect_log(t_path("log"), 1, last + 1, LEN);
    return t_end();
}
