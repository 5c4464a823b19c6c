/*
 * Goal: an append returns when its mode says, or what its flag says instead;
 * durable_seq rises when promised and not before; close makes everything
 * durable in every mode.
 * Method: intervals of an hour, so that only what the test does can make
 * anything durable.
 */
#include "helpers.h"

static twal_log *open_mode(const char *name, uint32_t durability)
{
    twal_options options = t_options_quiet();
    options.durability = durability;
    options.segment_size = 4 * T_MIB;
    return t_open(t_path(name), &options);
}

static void sync_mode(uint32_t durability)
{
    const char *name = durability ? "sync" : "default";
    twal_log *log = open_mode(name, durability);
    for (uint64_t n = 1; n <= 20; n++) {
        t_equal(t_append(log, 100, 1, n, 0), n);
        t_check(twal_durable_seq(log) >= n);
        t_ok(twal_wait(log, n, 0));
    }
    t_equal(t_append(log, 100, 1, 21, TWAL_APPEND_SYNC), 21);
    t_equal(twal_durable_seq(log), 21);
    /* An override the other way: accepted, not durable until somebody asks. */
    t_equal(t_append(log, 100, 1, 22, TWAL_APPEND_NO_SYNC), 22);
    t_equal(twal_last_seq(log), 22);
    t_ok(twal_sync(log, 22));
    t_equal(twal_durable_seq(log), 22);
    /* One that waits takes with it what came before it: a prefix is durable. */
    t_equal(t_append(log, 100, 1, 23, TWAL_APPEND_NO_SYNC), 23);
    t_equal(t_append(log, 100, 1, 24, 0), 24);
    t_equal(twal_durable_seq(log), 24);
    t_equal(t_append(log, 100, 1, 25, TWAL_APPEND_NO_SYNC), 25);
    t_close(log);
    t_expect_log(t_path(name), 1, 25, 100);
}

static void background_mode(uint32_t durability, const char *name)
{
    twal_log *log = open_mode(name, durability);
    for (uint64_t n = 1; n <= 100; n++)
        t_equal(t_append(log, 100, 1, n, 0), n);
    t_equal(twal_last_seq(log), 100);
    t_equal(twal_durable_seq(log), 0);
    /* Waiting starts no flush: it only looks. */
    t_code(twal_wait(log, 1, 0), TWAL_E_TIMEOUT);
    t_code(twal_wait(log, 100, 30 * 1000 * 1000), TWAL_E_TIMEOUT);
    t_equal(twal_durable_seq(log), 0);
    /* A reader delivers what is durable: nothing yet. */
    t_seen seen;
    t_ok(t_read(log, 0, &seen, NULL, NULL));
    t_equal(seen.count, 0);
    /* Up to a number, and then all. */
    t_ok(twal_sync(log, 50));
    t_check(twal_durable_seq(log) >= 50);
    t_ok(twal_wait(log, 50, 0));
    t_ok(twal_sync(log, 0));
    t_equal(twal_durable_seq(log), 100);
    t_ok(twal_wait(log, 100, -1));
    /* A flag asks for more. */
    t_equal(t_append(log, 100, 1, 101, 0), 101);
    t_equal(t_append(log, 100, 1, 102, TWAL_APPEND_SYNC), 102);
    t_equal(twal_durable_seq(log), 102);
    /* A flag that says what the mode says anyway. */
    t_equal(t_append(log, 100, 1, 103, TWAL_APPEND_NO_SYNC), 103);
    t_equal(twal_durable_seq(log), 102);
    /* Nothing to do is fine. */
    t_ok(twal_sync(log, 1));
    t_equal(twal_durable_seq(log), 102);
    t_code(twal_sync(log, 104), TWAL_E_INVAL);
    t_code(twal_sync(log, UINT64_MAX), TWAL_E_INVAL);
    t_close(log);
    t_expect_log(t_path(name), 1, 103, 100);
}

/* GROUP writes nothing to the device before something is due. */
static void group_writes_late(void)
{
    twal_log *log = open_mode("late", TWAL_GROUP);
    t_append_many(log, 1, 100);
    uint64_t marks = t_stats(log).marks;
    t_ok(twal_sync(log, 0));
    /* Right after a flush comes a mark, and with it the quiet. */
    t_await(t_stats(log).marks > marks, T_PATIENCE_MS);
    t_segment active = t_active(t_path("late"));
    uint64_t before = t_file_sum(active.path);
    for (uint64_t n = 2; n <= 40; n++)
        t_equal(t_append(log, 100, 1, n, 0), n);
    t_code(twal_wait(log, 40, 50 * 1000 * 1000), TWAL_E_TIMEOUT);
    t_equal(t_file_sum(active.path), before);
    t_check(t_stats(log).ring_bytes >= 39 * 100);
    t_ok(twal_sync(log, 0));
    t_equal(t_stats(log).ring_bytes, 0);
    t_check(t_file_sum(active.path) != before);
    t_close(log);
}

/* GROUP's many appends share few flushes. */
static void group_shares_flushes(void)
{
    twal_log *log = open_mode("shares", TWAL_GROUP);
    uint64_t before = t_stats(log).flushes;
    t_append_many(log, 2000, 100);
    t_ok(twal_sync(log, 0));
    t_check(t_stats(log).flushes - before < 50);
    t_close(log);
}

int main(void)
{
    t_begin();
    sync_mode(TWAL_SYNC);
    sync_mode(0);
    background_mode(TWAL_GROUP, "group");
    background_mode(TWAL_ASYNC, "async");
    group_writes_late();
    group_shares_flushes();
    return t_end();
}
