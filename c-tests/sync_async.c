/*
 * Goal: what is registered with twal_sync_async() is called exactly once, on a
 * thread of twal's, when its number is durable or will not be; it may use the
 * log, does not hold it up, and twal_close() returns after the last of them.
 */
#include "helpers.h"

#include <stdatomic.h>

#define THREADS 4
#define EACH 500

static twal_log *shared;

struct told {
    atomic_int times;
    pid_t thread_id;
    uint64_t seq, durable;
    int code;
    twal_error error;
};

static void note(void *arg, uint64_t seq, int code)
{
    struct told *told = arg;
    told->thread_id = t_thread_id();
    told->seq = seq;
    told->code = code;
    told->durable = twal_durable_seq(shared);
    if (code)
        told->error = t_last_error();
    atomic_fetch_add(&told->times, 1);
}

static void t_told(struct told *told, uint64_t seq, int code)
{
    t_await(atomic_load(&told->times) > 0, T_PATIENCE_MS);
    t_equal(told->seq, seq);
    t_equal(told->code, code);
    t_check(told->thread_id != t_thread_id());
    if (!code)
        t_check(told->durable >= seq);
    else
        t_equal(told->error.code, code);
}

/* ---- exactly once, from many threads ---- */

static struct told tolds[THREADS][EACH];
static uint64_t seqs[THREADS][EACH];

static void *append_and_register(void *arg)
{
    uint64_t writer = (uint64_t)(uintptr_t)arg;
    for (uint64_t n = 0; n < EACH; n++) {
        seqs[writer][n] = t_append(shared, 100, writer, n, n % 7 ? TWAL_APPEND_NO_SYNC : TWAL_APPEND_SYNC);
        t_ok(twal_sync_async(shared, seqs[writer][n], note, &tolds[writer][n]));
    }
    return NULL;
}

static void once_each(uint32_t durability, bool wait)
{
    twal_options options = t_options_quiet();
    pthread_t threads[THREADS];
    char name[32];
    snprintf(name, sizeof name, "once-%u-%d", durability, wait);
    options.durability = durability;
    memset(tolds, 0, sizeof tolds);
    shared = t_open(t_path(name), &options);
    for (uintptr_t writer = 0; writer < THREADS; writer++)
        threads[writer] = t_thread(append_and_register, (void *)writer);
    for (int n = 0; n < THREADS; n++)
        t_join(threads[n]);
    for (int n = 0; wait && n < THREADS; n++)
        t_told(&tolds[n][EACH - 1], seqs[n][EACH - 1], TWAL_OK);
    t_close(shared);
    pid_t thread_id = tolds[0][0].thread_id;
    for (int n = 0; n < THREADS; n++)
        for (int k = 0; k < EACH; k++) {
            t_equal(atomic_load(&tolds[n][k].times), 1);
            t_told(&tolds[n][k], seqs[n][k], TWAL_OK);
            t_equal(tolds[n][k].thread_id, thread_id);
        }
    t_dir_remove(t_path(name));
}

/* ---- what it answers ---- */

static void durable_already(void)
{
    struct told none = { 0 }, first = { 0 }, all = { 0 };
    shared = t_open_quiet("already");
    /* Of an empty log everything is durable. */
    t_ok(twal_sync_async(shared, 0, note, &none));
    t_told(&none, 0, TWAL_OK);
    t_append_many(shared, 3, 100);
    t_ok(twal_sync(shared, 0));
    t_ok(twal_sync_async(shared, 1, note, &first));
    t_told(&first, 1, TWAL_OK);
    t_ok(twal_sync_async(shared, 0, note, &all));
    t_told(&all, 3, TWAL_OK);
    t_close(shared);
    t_equal(atomic_load(&none.times) + atomic_load(&first.times) + atomic_load(&all.times), 3);
}

static void it_asks(void)
{
    struct told told = { 0 };
    shared = t_open_quiet("asks");
    t_append_many(shared, 10, 100);
    t_equal(twal_durable_seq(shared), 0);
    t_ok(twal_sync_async(shared, 0, note, &told));
    t_told(&told, 10, TWAL_OK);
    /* Nobody is called. */
    t_append_many(shared, 10, 100);
    t_ok(twal_sync_async(shared, 15, NULL, NULL));
    t_await(twal_durable_seq(shared) >= 15, T_PATIENCE_MS);
    t_close(shared);
    t_equal(atomic_load(&told.times), 1);
}

static void failure_is_told(void)
{
    struct told lost[3] = { { 0 } }, late = { 0 };
    shared = t_open_quiet("failure");
    uint64_t marks = t_stats(shared).marks;
    t_append_many(shared, 2, 100);
    t_ok(twal_sync(shared, 0));
    /* The mark that follows a flush must not be what fails. */
    t_await(t_stats(shared).marks > marks, T_PATIENCE_MS);
    t_append_many(shared, 3, 100);
    t_fail_writes(true);
    /* The first asks for all, and fails; the others come before that or after. */
    bool taken[3];
    for (int n = 2; n >= 0; n--) {
        int code = twal_sync_async(shared, 3 + (uint64_t)n, note, &lost[n]);
        taken[n] = code == TWAL_OK;
        t_check(taken[n] || (n < 2 && code == TWAL_E_POISONED));
    }
    for (int n = 0; n < 3; n++) {
        if (!taken[n])
            continue;
        t_told(&lost[n], 3 + (uint64_t)n, TWAL_E_IO);
        t_equal(lost[n].error.seq, 3 + (uint64_t)n);
        t_check(lost[n].error.os_errno == EFBIG && lost[n].error.text[0]);
    }
    t_equal(twal_durable_seq(shared), 2);
    t_code(twal_sync_async(shared, 3, note, &late), TWAL_E_POISONED);
    t_code(twal_sync_async(shared, 0, NULL, NULL), TWAL_E_POISONED);
    /* As twal_sync() does, whatever was durable before. */
    t_code(twal_sync_async(shared, 2, note, &late), TWAL_E_POISONED);
    t_check(twal_close(shared) < 0);
    t_fail_writes(false);
    t_equal(atomic_load(&late.times), 0);
    for (int n = 0; n < 3; n++)
        t_equal(atomic_load(&lost[n].times), taken[n]);
}

/* ---- slow ones, and the close ---- */

static atomic_int hold, held;

static void be_slow(void *arg, uint64_t seq, int code)
{
    atomic_store(&held, 1);
    t_await(!atomic_load(&hold), T_PATIENCE_MS);
    note(arg, seq, code);
}

static atomic_int close_answer;

static void *close_it(void *arg)
{
    (void)arg;
    atomic_store(&close_answer, twal_close(shared));
    return NULL;
}

static void a_slow_one_holds_up_nothing_but_close(void)
{
    enum { MORE = 50 };
    static struct told slow, more[MORE];
    shared = t_open_quiet("slow");
    atomic_store(&hold, 1);
    t_append(shared, 100, 1, 1, 0);
    t_ok(twal_sync_async(shared, 1, be_slow, &slow));
    t_await(atomic_load(&held), T_PATIENCE_MS);
    for (uint64_t n = 2; n <= MORE + 1; n++) {
        t_equal(t_append(shared, 100, 1, n, TWAL_APPEND_SYNC), n);
        t_ok(twal_sync_async(shared, n, note, &more[n - 2]));
    }
    t_equal(twal_durable_seq(shared), MORE + 1);
    /* Nothing else is called meanwhile. */
    t_equal(atomic_load(&more[0].times), 0);
    atomic_store(&close_answer, 1);
    pthread_t closer = t_thread(close_it, NULL);
    for (int n = 0; n < 20; n++) {
        t_pause();
        t_equal(atomic_load(&close_answer), 1);
    }
    atomic_store(&hold, 0);
    t_join(closer);
    t_equal(atomic_load(&close_answer), TWAL_OK);
    t_equal(atomic_load(&slow.times), 1);
    for (int n = 0; n < MORE; n++) {
        t_equal(atomic_load(&more[n].times), 1);
        t_equal(more[n].seq, (uint64_t)n + 2);
        t_equal(more[n].code, TWAL_OK);
    }
}

/* ---- calls from within ---- */

static struct {
    atomic_int links, done;
    uint64_t last;
    int close_answer, other_answer;
    twal_log *other;
} chain;

static void expect_first(twal_log *log)
{
    twal_iter *iter;
    twal_record record;
    t_ok(twal_recover_iter(log, 1, &iter));
    t_equal(twal_iter_next(iter, &record), 1);
    t_equal(record.seq, 1);
    twal_iter_close(iter);
}

static void next_link(void *arg, uint64_t seq, int code)
{
    (void)arg;
    t_equal(code, TWAL_OK);
    t_check(seq >= chain.last);
    if (atomic_fetch_add(&chain.links, 1) < 100) {
        /* One that waits for its own record, one that does not. */
        uint64_t own = t_append(shared, 100, 2, seq, TWAL_APPEND_SYNC);
        t_check(twal_durable_seq(shared) >= own);
        chain.last = t_append(shared, 100, 3, seq, TWAL_APPEND_NO_SYNC);
        t_ok(twal_sync_async(shared, chain.last, next_link, NULL));
        return;
    }
    t_ok(twal_roll(shared));
    expect_first(shared);
    chain.close_answer = twal_close(shared);
    chain.other_answer = twal_close(chain.other);
    atomic_store(&chain.done, 1);
}

static void calls_from_within(void)
{
    shared = t_open_quiet("within");
    chain.other = t_open_quiet("other");
    t_append(chain.other, 100, 1, 1, 0);
    t_append(shared, 100, 1, 1, 0);
    t_ok(twal_sync_async(shared, 0, next_link, NULL));
    t_await(atomic_load(&chain.done), T_PATIENCE_MS);
    t_equal(chain.close_answer, TWAL_E_STATE);
    t_equal(chain.other_answer, TWAL_OK);
    /* The log is open. */
    uint64_t last = twal_last_seq(shared);
    t_equal(last, 201);
    t_equal(t_append(shared, 100, 1, 2, TWAL_APPEND_SYNC), last + 1);
    t_close(shared);
}

/* Once the close has begun, what is called is told so by every other function. */
static void call_late(void *arg, uint64_t seq, int code)
{
    be_slow(arg, seq, code);
    t_await(twal_append(shared, "x", 1, NULL) != TWAL_OK, T_PATIENCE_MS);
    t_code(twal_append(shared, "x", 1, NULL), TWAL_E_CLOSED);
    t_code(twal_sync_async(shared, 0, note, NULL), TWAL_E_CLOSED);
    t_code(twal_close(shared), TWAL_E_STATE);
    atomic_fetch_add(&((struct told *)arg)->times, 1);
}

static void calls_from_within_a_close(void)
{
    static struct told told;
    shared = t_open_quiet("late");
    atomic_store(&hold, 1);
    atomic_store(&held, 0);
    t_append(shared, 100, 1, 1, 0);
    t_ok(twal_sync_async(shared, 1, call_late, &told));
    t_await(atomic_load(&held), T_PATIENCE_MS);
    pthread_t closer = t_thread(close_it, NULL);
    atomic_store(&hold, 0);
    t_join(closer);
    t_equal(atomic_load(&close_answer), TWAL_OK);
    t_equal(atomic_load(&told.times), 2);
}

static void wrong_arguments(void)
{
    static struct told told;
    shared = t_open_quiet("arguments");
    t_code(twal_sync_async(NULL, 0, note, &told), TWAL_E_INVAL);
    t_code(twal_sync_async(shared, 1, note, &told), TWAL_E_INVAL);
    t_code(twal_sync_async(shared, UINT64_MAX, NULL, NULL), TWAL_E_INVAL);
    t_close(shared);
    shared = t_open_read_only(t_path("arguments"));
    t_code(twal_sync_async(shared, 1, note, &told), TWAL_E_INVAL);
    t_code(twal_sync_async(shared, 0, note, &told), TWAL_E_READ_ONLY);
    t_close(shared);
    t_equal(atomic_load(&told.times), 0);
}

int main(void)
{
    t_begin();
    for (uint32_t mode = TWAL_SYNC; mode <= TWAL_ASYNC; mode++) {
        once_each(mode, true);
        once_each(mode, false);
    }
    durable_already();
    it_asks();
    failure_is_told();
    a_slow_one_holds_up_nothing_but_close();
    calls_from_within();
    calls_from_within_a_close();
    wrong_arguments();
    return t_end();
}
