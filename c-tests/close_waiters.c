/*
 * Goal: whoever waits inside a call when twal_close() begins is let out, before
 * the handle goes: with TWAL_E_CLOSED, or with TWAL_OK if the record was durable
 * by then.
 * Method: threads wait for records of GROUP that only the close makes durable,
 * for numbers that nobody gives, and for room that a reservation takes up; close
 * comes when all of them sleep.  What sleeps on a device, a sync and an append in
 * SYNC, is in ring_stalled.c.
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

/* ---- for room ---- */

#define RING (128 * T_KIB)
#define LARGE (80 * T_KIB) /* two of them are more than the ring */

static void *wait_for_room(void *arg)
{
    static char data[LARGE];
    struct waiter *waiter = arg;
    twal_entry entry = TWAL_ENTRY_INIT;
    twal_reservation reservation;
    entry.len = LARGE;
    entry.flags = waiter->place % 2 ? TWAL_APPEND_SYNC : 0;
    atomic_store(&thread_ids[waiter->place], t_thread_id());
    if (waiter->place == 2) {
        waiter->answer = twal_reserve(shared, &entry, &reservation);
    } else {
        entry.data = data;
        waiter->answer = waiter->place < 2 ? twal_append_entry(shared, &entry, NULL)
                                           : twal_append_batch(shared, &entry, 1, NULL);
    }
    waiter->error = t_last_error();
    return NULL;
}

static void without_room(void)
{
    const char *dir = t_path("room");
    twal_options options = t_options_quiet();
    twal_entry entry = TWAL_ENTRY_INIT;
    twal_reservation held;
    struct waiter waiters[4];
    pthread_t threads[4];

    options.ring_size = RING;
    options.segment_size = T_MIB;
    shared = t_open(dir, &options);
    t_append_many(shared, 5, 100);
    entry.len = LARGE;
    t_ok(twal_reserve(shared, &entry, &held));
    for (int n = 0; n < 4; n++) {
        atomic_store(&thread_ids[n], 0);
        waiters[n] = (struct waiter){ .place = n, .answer = 1 };
        threads[n] = t_thread(wait_for_room, &waiters[n]);
    }
    for (int n = 0; n < 4; n++) {
        t_await(atomic_load(&thread_ids[n]) != 0, T_PATIENCE_MS);
        t_await_asleep(atomic_load(&thread_ids[n]));
    }
    t_equal(twal_last_seq(shared), 5);
    t_close(shared);
    for (int n = 0; n < 4; n++) {
        t_join(threads[n]);
        t_equal(waiters[n].answer, TWAL_E_CLOSED);
        t_equal(waiters[n].error.code, TWAL_E_CLOSED);
    }
    t_code(twal_cancel(shared, &held), TWAL_E_CLOSED);
    t_expect_log(dir, 1, 5, 100);
}

int main(void)
{
    t_begin();
    without_room();
    for (int round = 0; round < 8; round++)
        one_round(round);
    return t_end();
}
