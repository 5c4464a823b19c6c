/*
 * Goal: in the writer's process a reader waits for records and gets every one, in
 * order, when it is durable and not before; its wait ends at its time, when the
 * log is closed, when it is poisoned, and where its bound is reached.
 */
#include "helpers.h"

#include <stdatomic.h>

#define LEN 100
#define EACH 1500
#define READERS 3

static twal_log *log_;
static _Atomic pid_t waits;

static void *follow(void *arg)
{
    twal_iter *iter;
    twal_iter_options options = TWAL_ITER_OPTIONS_INIT;
    size_t len = LEN;
    options.until_seq = (uintptr_t)arg;
    t_ok(twal_iter_open(log_, &options, &iter));
    twal_record record;
    int rc;
    uint64_t seq = 0;
    while ((rc = twal_iter_wait(iter, -1, &record)) == 1) {
        t_equal(record.seq, ++seq);
        t_record_of_many(&record, &len);
        t_check(twal_durable_seq(log_) >= seq);
    }
    t_code(rc, TWAL_OK);
    t_equal(seq, options.until_seq);
    twal_iter_close(iter);
    return NULL;
}

static void readers_follow(uint32_t durability)
{
    twal_options options = t_options_small();
    char name[32];
    pthread_t readers[READERS];
    snprintf(name, sizeof name, "follow-%u", durability);
    options.durability = durability;
    log_ = t_open(t_path(name), &options);
    for (int n = 0; n < READERS; n++)
        readers[n] = t_thread(follow, (void *)(uintptr_t)(EACH - 3 * n));
    for (uint64_t n = 1; n <= EACH; n++)
        t_append(log_, LEN, 1, n, n % 20 ? TWAL_APPEND_NO_SYNC : 0);
    t_ok(twal_sync(log_, 0));
    for (int n = 0; n < READERS; n++)
        t_join(readers[n]);
    t_close(log_);
}

/* Accepted is not durable. */
static void it_waits_for_durability(void)
{
    twal_log *log = t_open_quiet("durable");
    twal_iter *iter;
    twal_record record = { .seq = 77 };
    t_ok(twal_recover_iter(log, 0, &iter));
    t_append(log, LEN, 1, 1, 0);
    uint64_t before = t_now_ns();
    t_code(twal_iter_wait(iter, 0, &record), TWAL_E_TIMEOUT);
    t_code(twal_iter_wait(iter, 3000000, &record), TWAL_E_TIMEOUT);
    t_check(t_now_ns() - before >= 3000000);
    t_equal(record.seq, 77);
    t_ok(twal_sync(log, 0));
    t_equal(twal_iter_wait(iter, 0, &record), 1);
    t_equal(record.seq, 1);
    t_code(twal_iter_wait(NULL, 0, &record), TWAL_E_INVAL);
    t_code(twal_iter_wait(iter, 0, NULL), TWAL_E_INVAL);
    twal_iter_close(iter);
    t_close(log);
}

/* Waits for ever; what ends it. */
static void *wait_for_ever(void *arg)
{
    twal_iter *iter = arg;
    twal_record record;
    atomic_store(&waits, t_thread_id());
    int rc = twal_iter_wait(iter, -1, &record);
    return (void *)(intptr_t)rc;
}

static int ended(pthread_t thread)
{
    void *rc;
    t_check(pthread_join(thread, &rc) == 0);
    return (int)(intptr_t)rc;
}

static pthread_t waiter(twal_iter *iter)
{
    atomic_store(&waits, 0);
    pthread_t thread = t_thread(wait_for_ever, iter);
    t_await(atomic_load(&waits) != 0, T_PATIENCE_MS);
    t_await_asleep(atomic_load(&waits));
    return thread;
}

static void a_close_ends_the_wait(bool read_only)
{
    twal_log *log = t_open_quiet("close");
    t_append(log, LEN, 1, 1, TWAL_APPEND_SYNC);
    if (read_only) {
        t_close(log);
        log = t_open_read_only(t_path("close"));
    }
    twal_iter *iter;
    t_ok(twal_recover_iter(log, 2, &iter));
    pthread_t thread = read_only ? t_thread(wait_for_ever, iter) : waiter(iter);
    t_close(log);
    t_equal((uint64_t)ended(thread), (uint64_t)TWAL_E_CLOSED);
    twal_iter_close(iter);
    t_dir_remove(t_path("close"));
}

/* What was durable before is delivered first. */
static void poison_ends_the_wait(void)
{
    twal_log *log = t_open_quiet("poison");
    twal_iter *iter;
    twal_record record;
    uint64_t marks = t_stats(log).marks;
    t_append(log, LEN, 1, 1, TWAL_APPEND_SYNC);
    t_await(t_stats(log).marks > marks, T_PATIENCE_MS);
    t_ok(twal_recover_iter(log, 2, &iter));
    pthread_t thread = waiter(iter);
    t_fail_writes(true);
    twal_entry entry = TWAL_ENTRY_INIT;
    entry.flags = TWAL_APPEND_SYNC;
    t_code(twal_append_entry(log, &entry, NULL), TWAL_E_IO);
    int rc = ended(thread);
    t_check(rc == TWAL_E_IO || rc == TWAL_E_POISONED);
    twal_iter_close(iter);
    t_ok(twal_recover_iter(log, 1, &iter));
    t_equal(twal_iter_wait(iter, -1, &record), 1);
    t_code(twal_iter_wait(iter, -1, &record), TWAL_E_POISONED);
    t_equal(twal_iter_next(iter, &record), 0);
    twal_iter_close(iter);
    t_check(twal_close(log) < 0);
    t_fail_writes(false);
}

int main(void)
{
    t_begin();
    it_waits_for_durability();
    readers_follow(TWAL_SYNC);
    readers_follow(TWAL_ASYNC);
    a_close_ends_the_wait(false);
    a_close_ends_the_wait(true);
    poison_ends_the_wait();
    return t_end();
}
