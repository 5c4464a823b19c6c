/*
 * Goal: whoever waits inside a call when twal_close() begins is let out, before
 * the handle goes: with TWAL_E_CLOSED, or with TWAL_OK if the record was durable
 * by then.
 * Method: threads wait for records of GROUP that only the close makes durable,
 * and for numbers that nobody gives; close comes when all of them sleep.
 */
#include "helpers.h"

#include <stdatomic.h>

#define WAITERS 12

static twal_log *shared;
static atomic_int thread_ids[WAITERS];

struct waiter {
    int place;
    uint64_t seq;
    int64_t timeout_ns;
    int answer;
    twal_error error;
};

static void *wait_for_it(void *arg)
{
    struct waiter *waiter = arg;
    atomic_store(&thread_ids[waiter->place], t_thread_id());
    waiter->answer = twal_wait(shared, waiter->seq, waiter->timeout_ns);
    if (waiter->answer)
        waiter->error = t_last_error();
    return NULL;
}

static void one_round(int round)
{
    char name[32];
    snprintf(name, sizeof name, "log-%d", round);
    const char *dir = t_path(name);
    twal_options options = t_options_quiet();
    struct waiter waiters[WAITERS];
    pthread_t threads[WAITERS];

    options.durability = round % 2 ? TWAL_GROUP : TWAL_ASYNC;
    options.segment_size = T_MIB;
    shared = t_open(dir, &options);
    t_append_many(shared, 10, 100);
    for (int n = 0; n < WAITERS; n++) {
        atomic_store(&thread_ids[n], 0);
        waiters[n] = (struct waiter){ .place = n, .seq = (uint64_t)n * 2 + 1, .answer = 1 };
        waiters[n].timeout_ns = n % 3 ? -1 : INT64_C(3600) * 1000 * 1000 * 1000;
        threads[n] = t_thread(wait_for_it, &waiters[n]);
    }
    for (int n = 0; n < WAITERS; n++) {
        t_await(atomic_load(&thread_ids[n]) != 0, T_PATIENCE_MS);
        t_await_asleep(atomic_load(&thread_ids[n]));
    }
    t_close(shared);
    for (int n = 0; n < WAITERS; n++) {
        t_join(threads[n]);
        t_check(waiters[n].answer == TWAL_E_CLOSED || (waiters[n].answer == TWAL_OK && waiters[n].seq <= 10));
        if (waiters[n].answer)
            t_equal(waiters[n].error.code, TWAL_E_CLOSED);
    }
    t_expect_log(dir, 1, 10, 100);
}

int main(void)
{
    t_begin();
    for (int round = 0; round < 8; round++)
        one_round(round);
    return t_end();
}
