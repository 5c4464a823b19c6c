/*
 * Goal: what was accepted without a wait becomes durable without any call: in
 * GROUP after batch_records or batch_delay_us, in ASYNC and for NO_SYNC records
 * of a SYNC log after flush_interval_ms; and GROUP does not flush before.
 * Method: one limit in reach, the others an hour away; twal_durable_seq() looks.
 */
#include "helpers.h"

#define ROUNDS 10
#define DELAY_MS 200

static void by_time(const char *name, uint32_t durability, uint32_t flags, bool flush_interval)
{
    twal_options options = t_options_quiet();
    options.durability = durability;
    options.segment_size = 4 * T_MIB;
    if (flush_interval)
        options.flush_interval_ms = DELAY_MS;
    else
        options.batch_delay_us = DELAY_MS * 1000;
    twal_log *log = t_open(t_path(name), &options);
    for (uint64_t n = 1; n <= ROUNDS; n++) {
        uint64_t began = t_now_ns();
        t_equal(t_append(log, 100, 1, n, flags), n);
        uint64_t durable = twal_durable_seq(log);
        if (durability == TWAL_GROUP && t_now_ns() - began < DELAY_MS * 1000000 / 2)
            t_equal(durable, n - 1);
        t_await(twal_durable_seq(log) >= n, DELAY_MS + 5000);
        t_ok(twal_wait(log, n, 0));
    }
    /* Waited for, it comes as well. */
    t_equal(t_append(log, 100, 1, ROUNDS + 1, flags), ROUNDS + 1);
    t_ok(twal_wait(log, ROUNDS + 1, INT64_C(10) * 1000 * 1000 * 1000));
    t_close(log);
    t_expect_log(t_path(name), 1, ROUNDS + 1, 100);
}

static void by_count(void)
{
    twal_options options = t_options_quiet();
    options.durability = TWAL_GROUP;
    options.batch_records = 10;
    options.segment_size = 4 * T_MIB;
    twal_log *log = t_open(t_path("count"), &options);
    for (int round = 0; round < ROUNDS; round++) {
        uint64_t base = twal_last_seq(log);
        t_append_many(log, 9, 100);
        t_equal(twal_durable_seq(log), base);
        t_append_many(log, 1, 100);
        t_await(twal_durable_seq(log) == base + 10, T_PATIENCE_MS);
    }
    t_close(log);
}

/* More than half of a ring of GROUP is written without waiting for its time. */
static void by_room(void)
{
    twal_options options = t_options_quiet();
    options.durability = TWAL_GROUP;
    options.ring_size = 256 * T_KIB;
    options.segment_size = 16 * T_MIB;
    twal_log *log = t_open(t_path("room"), &options);
    t_append_many(log, 1000, 4000);
    t_equal(twal_last_seq(log), 1000);
    t_close(log);
    t_expect_log(t_path("room"), 1, 1000, 4000);
}

int main(void)
{
    t_begin();
    by_time("group", TWAL_GROUP, 0, false);
    by_time("group-no-sync", TWAL_GROUP, TWAL_APPEND_NO_SYNC, false);
    by_time("async", TWAL_ASYNC, 0, true);
    by_time("sync-no-sync", TWAL_SYNC, TWAL_APPEND_NO_SYNC, true);
    by_count();
    by_room();
    return t_end();
}
