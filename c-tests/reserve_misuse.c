/*
 * Goal: whatever is done wrong with a reservation is a code, never damage: wrong
 * arguments, ending it twice, through a copy, on another log; on a poisoned log;
 * and after twal_close(), which leaves the memory of those that are left until
 * each of them was ended.  What is written behind twal_commit() is damage to
 * that record, which nobody takes for a whole one.
 */
#include "helpers.h"

#include <sched.h>
#include <stdatomic.h>

#define LEN 5000

static twal_reservation reserve(twal_log *log)
{
    twal_reservation reservation = TWAL_RESERVATION_INIT;
    twal_entry entry = TWAL_ENTRY_INIT;
    entry.len = LEN;
    t_ok(twal_reserve(log, &entry, &reservation));
    t_payload_fill(reservation.data, LEN, 1, twal_last_seq(log) + 1);
    return reservation;
}

static twal_log *quiet_log(const char *name)
{
    twal_options options = t_options_quiet();
    return t_open(t_path(name), &options);
}

static void wrong_arguments(void)
{
    twal_log *log = quiet_log("arguments");
    twal_entry good = TWAL_ENTRY_INIT, bad;
    twal_reservation untouched, reservation;
    uint64_t seq = 77, before = t_segments_sum(t_path("arguments"));

    good.len = LEN;
    memset(&untouched, 0x5a, sizeof untouched);
    reservation = untouched;
    t_code(twal_reserve(NULL, &good, &reservation), TWAL_E_INVAL);
    t_code(twal_reserve(log, NULL, &reservation), TWAL_E_INVAL);
    t_code(twal_reserve(log, &good, NULL), TWAL_E_INVAL);
    bad = good;
    bad.data = "x";
    t_code(twal_reserve(log, &bad, &reservation), TWAL_E_INVAL);
    bad = good;
    bad.type = 0xFF;
    t_code(twal_reserve(log, &bad, &reservation), TWAL_E_INVAL);
    bad = good;
    bad.flags = 16;
    t_code(twal_reserve(log, &bad, &reservation), TWAL_E_INVAL);
    bad = good;
    bad.reserved[0] = 1;
    t_code(twal_reserve(log, &bad, &reservation), TWAL_E_INVAL);
    bad = good;
    bad.len = t_stats(log).record_size_max + 1;
    t_code(twal_reserve(log, &bad, &reservation), TWAL_E_TOOBIG);
    bad.len = SIZE_MAX;
    t_code(twal_reserve(log, &bad, &reservation), TWAL_E_TOOBIG);
    t_check(memcmp(&reservation, &untouched, sizeof untouched) == 0);

    /* A struct with anything in it. */
    t_code(twal_commit(log, &untouched, 1, &seq), TWAL_E_INVAL);
    t_code(twal_cancel(log, &untouched), TWAL_E_INVAL);
    t_check(memcmp(&reservation, &untouched, sizeof untouched) == 0);
    twal_reservation none = TWAL_RESERVATION_INIT;
    t_code(twal_commit(log, &none, 0, &seq), TWAL_E_STATE);
    t_code(twal_cancel(log, &none), TWAL_E_STATE);

    reservation = reserve(log);
    t_code(twal_commit(NULL, &reservation, 1, &seq), TWAL_E_INVAL);
    t_code(twal_commit(log, NULL, 1, &seq), TWAL_E_INVAL);
    t_code(twal_commit(log, &reservation, LEN + 1, &seq), TWAL_E_INVAL);
    t_code(twal_commit(log, &reservation, SIZE_MAX, &seq), TWAL_E_INVAL);
    /* What the struct says of the length is not believed. */
    twal_reservation longer = reservation;
    longer.len = SIZE_MAX;
    memset(&longer.internal[2], 0xff, sizeof longer.internal - 16);
    t_code(twal_commit(log, &longer, LEN + 1, &seq), TWAL_E_INVAL);
    t_code(twal_cancel(NULL, &reservation), TWAL_E_INVAL);
    t_code(twal_cancel(log, NULL), TWAL_E_INVAL);
    t_equal(seq, 77);
    t_equal(twal_last_seq(log), 0);
    t_equal(t_segments_sum(t_path("arguments")), before);
    /* After all that it is as it was. */
    t_ok(twal_commit(log, &reservation, LEN, &seq));
    t_equal(seq, 1);
    t_expect_many(log, 1, 1, LEN);
    t_close(log);
    log = t_open_read_only(t_path("arguments"));
    t_code(twal_reserve(log, &good, &reservation), TWAL_E_READ_ONLY);
    t_code(twal_commit(log, &none, 0, &seq), TWAL_E_STATE);
    t_close(log);
}

static void ended_twice(void)
{
    twal_log *log = quiet_log("twice");
    uint64_t seq = 77;
    for (int way = 0; way < 4; way++) {
        twal_reservation reservation = reserve(log), copy = reservation;
        if (way & 1)
            t_ok(twal_cancel(log, &reservation));
        else
            t_ok(twal_commit(log, &reservation, LEN, NULL));
        uint64_t last = twal_last_seq(log);
        for (int n = 0; n < 2; n++) {
            twal_reservation *again = n ? &copy : &reservation;
            if (way & 2)
                t_code(twal_cancel(log, again), TWAL_E_STATE);
            else
                t_code(twal_commit(log, again, LEN, &seq), TWAL_E_STATE);
        }
        t_equal(twal_last_seq(log), last);
    }
    t_equal(seq, 77);
    t_expect_many(log, 1, 2, LEN);
    t_close(log);
}

static void another_log(void)
{
    twal_log *log = quiet_log("one"), *other = quiet_log("other");
    twal_reservation reservation = reserve(log), theirs = reserve(other);
    t_code(twal_commit(other, &reservation, LEN, NULL), TWAL_E_INVAL);
    t_code(twal_cancel(other, &reservation), TWAL_E_INVAL);
    t_check(reservation.data);
    t_ok(twal_commit(log, &reservation, LEN, NULL));
    t_ok(twal_cancel(other, &theirs));
    t_equal(twal_last_seq(other), 0);
    t_close(log);
    t_close(other);
}

static void poisoned(void)
{
    twal_log *log = quiet_log("poison");
    twal_reservation first = reserve(log), second = reserve(log), third = reserve(log);
    t_fail_writes(true);
    t_code(twal_commit(log, &first, LEN, NULL), TWAL_E_IO);
    t_check(!first.data);
    t_code(twal_commit(log, &second, LEN, NULL), TWAL_E_POISONED);
    t_check(!second.data);
    t_ok(twal_cancel(log, &third));
    twal_entry entry = TWAL_ENTRY_INIT;
    entry.len = LEN;
    t_code(twal_reserve(log, &entry, &third), TWAL_E_POISONED);
    t_check(twal_close(log) < 0);
    t_fail_writes(false);
}

/* ---- and the close ---- */

static void closed_with_some_left(int left)
{
    char name[32];
    snprintf(name, sizeof name, "closed-%d", left);
    twal_log *log = quiet_log(name);
    twal_reservation held[8];
    uint64_t seq = 77;
    t_append_many(log, 3, LEN);
    for (int n = 0; n < left; n++)
        held[n] = reserve(log);
    t_close(log);
    /* The log is given back; what is left is memory. */
    t_expect_log(t_path(name), 1, 3, LEN);
    for (int n = 0; n < left; n++)
        memset(held[n].data, 0x77, LEN);
    for (int n = left - 1; n >= 0; n--) {
        memset(held[n].data, 0x78, LEN);
        t_code(twal_commit(log, &held[n], LEN + 1, &seq), TWAL_E_INVAL);
        if (n % 2)
            t_code(twal_commit(log, &held[n], LEN, &seq), TWAL_E_CLOSED);
        else
            t_code(twal_cancel(log, &held[n]), TWAL_E_CLOSED);
        t_check(!held[n].data);
    }
    t_equal(seq, 77);
    /* Of a log that is gone altogether: told without looking at it. */
    if (left)
        t_code(twal_cancel(log, &held[0]), TWAL_E_STATE);
    t_expect_log(t_path(name), 1, 3, LEN);
}

#define THREADS 4

static twal_log *shared;
static atomic_int refused;

static void *fill_and_commit(void *arg)
{
    twal_reservation *reservation = arg;
    memset(reservation->data, 0x33, LEN);
    int code = twal_commit(shared, reservation, LEN, NULL);
    t_check(!reservation->data);
    if (code) {
        t_code(code, TWAL_E_CLOSED);
        atomic_fetch_add(&refused, 1);
    }
    return NULL;
}

/* The close comes while threads write to what they reserved, and commit it: before, beside and after it. */
static void closed_under_writers(int round)
{
    char name[32];
    snprintf(name, sizeof name, "under-%d", round);
    twal_reservation held[THREADS];
    pthread_t threads[THREADS];
    shared = quiet_log(name);
    atomic_store(&refused, 0);
    for (int n = 0; n < THREADS; n++)
        held[n] = reserve(shared);
    for (int n = 0; n < THREADS; n++)
        threads[n] = t_thread(fill_and_commit, &held[n]);
    for (int n = 0; n < round % 4; n++)
        sched_yield();
    t_close(shared);
    for (int n = 0; n < THREADS; n++)
        t_join(threads[n]);
    twal_log *log = t_open_read_only(t_path(name));
    t_equal(twal_last_seq(log), (uint64_t)(THREADS - atomic_load(&refused)));
    t_close(log);
    t_dir_remove(t_path(name));
}

/* Copies of one reservation, ended by several threads at once: one of them does, the others are told. */
static twal_reservation copied;
static pthread_barrier_t all_there;
static atomic_int ended, told;

static void *end_a_copy(void *arg)
{
    twal_reservation copy = copied;
    pthread_barrier_wait(&all_there);
    int code = arg ? twal_cancel(shared, &copy) : twal_commit(shared, &copy, LEN, NULL);
    if (code == TWAL_OK) {
        atomic_fetch_add(&ended, 1);
    } else {
        t_code(code, TWAL_E_STATE);
        atomic_fetch_add(&told, 1);
    }
    return NULL;
}

static void ended_by_several_at_once(void)
{
    pthread_t threads[3];
    shared = quiet_log("at-once");
    t_check(pthread_barrier_init(&all_there, NULL, 3) == 0);
    for (int round = 1; round <= 40; round++) {
        copied = reserve(shared);
        for (int n = 0; n < 3; n++)
            threads[n] = t_thread(end_a_copy, n ? NULL : &copied);
        for (int n = 0; n < 3; n++)
            t_join(threads[n]);
        t_equal(atomic_load(&ended), round);
        t_equal(atomic_load(&told), 2 * round);
    }
    pthread_barrier_destroy(&all_there);
    t_close(shared);
}

/* A ring full of reservations, and threads that wait for room in it: the close ends their wait. */
static void *wait_for_room(void *arg)
{
    static char data[LEN];
    twal_entry entry = TWAL_ENTRY_INIT;
    twal_reservation reservation = TWAL_RESERVATION_INIT;
    entry.len = LEN;
    if (arg) {
        t_code(twal_reserve(shared, &entry, &reservation), TWAL_E_CLOSED);
    } else {
        entry.data = data;
        t_code(twal_append_entry(shared, &entry, NULL), TWAL_E_CLOSED);
    }
    t_check(!reservation.data);
    return NULL;
}

static void closed_while_others_wait_for_room(void)
{
    twal_options options = t_options_quiet();
    twal_entry entry = TWAL_ENTRY_INIT;
    twal_reservation held[64];
    pthread_t threads[4];
    size_t count = 0;
    options.ring_size = 128 * T_KIB;
    shared = t_open(t_path("room"), &options);
    entry.len = LEN;
    entry.flags = TWAL_APPEND_NO_WAIT;
    while (twal_reserve(shared, &entry, &held[count]) == TWAL_OK)
        t_check(++count < 64);
    t_equal(t_last_error().code, TWAL_E_AGAIN);
    for (int n = 0; n < 4; n++)
        threads[n] = t_thread(wait_for_room, n % 2 ? held : NULL);
    t_await(t_stats(shared).ring_waits >= 4, T_PATIENCE_MS);
    t_close(shared);
    for (int n = 0; n < 4; n++)
        t_join(threads[n]);
    for (size_t n = 0; n < count; n++)
        t_code(twal_cancel(shared, &held[n]), TWAL_E_CLOSED);
}

/* Its frame is whole, because it is composed later: only the record's own checksum tells. */
static void written_after_commit(void)
{
    const char *dir = t_path("late"), *backup = t_path("late-backup");
    twal_options options = t_options_quiet();
    options.durability = TWAL_GROUP;
    options.batch_records = 1000;
    options.batch_delay_us = 60000000;
    twal_log *log = t_open(dir, &options);
    t_append_many(log, 1, LEN);
    twal_reservation reservation = reserve(log);
    unsigned char *late = reservation.data;
    t_ok(twal_commit(log, &reservation, LEN, NULL));
    late[LEN / 2] ^= 1;
    t_ok(twal_sync(log, 0));
    t_append_many(log, 1, LEN);
    t_close(log);

    log = t_open(dir, &options);
    twal_iter *iter;
    twal_record record;
    t_ok(twal_recover_iter(log, 0, &iter));
    t_equal(twal_iter_next(iter, &record), 1);
    t_code(twal_iter_next(iter, &record), TWAL_E_CORRUPT);
    t_equal(t_last_error().seq, 2);
    twal_iter_close(iter);
    t_close(log);
    t_code(twal_verify(dir, NULL, NULL, NULL, NULL), TWAL_E_CORRUPT);
    options.flags = TWAL_OPEN_VERIFY;
    t_code(twal_open(dir, &options, &log), TWAL_E_CORRUPT);
    t_equal(t_last_error().segment, 1);
    t_check(t_last_error().offset > 0);

    twal_repair *repair;
    twal_repair_step step = TWAL_REPAIR_STEP_INIT;
    t_ok(twal_repair_plan(dir, NULL, &repair));
    t_ok(twal_repair_step_get(repair, 0, &step));
    t_equal(step.kind, TWAL_REPAIR_CUT);
    t_equal(step.first_seq, 2);
    t_equal(step.acknowledged, TWAL_ACKNOWLEDGED_YES);
    t_code(twal_repair_apply(repair, backup, 0), TWAL_E_STATE);
    t_ok(twal_repair_apply(repair, backup, TWAL_REPAIR_DROP_ACKNOWLEDGED));
    twal_repair_close(repair);
    t_ok(twal_verify(dir, NULL, NULL, NULL, NULL));
    t_close(t_open(dir, &options));
    t_expect_log(dir, 1, 1, LEN);
}

int main(void)
{
    t_begin();
    wrong_arguments();
    written_after_commit();
    ended_twice();
    another_log();
    poisoned();
    ended_by_several_at_once();
    closed_while_others_wait_for_room();
    for (int left = 0; left <= 5; left++)
        closed_with_some_left(left);
    for (int round = 0; round < 40; round++)
        closed_under_writers(round);
    return t_end();
}
