/*
 * Goal: a log with a limit on its size refuses what would go beyond it with TWAL_E_NOSPC: nothing written, no number
 * used, no poison; it closes and opens in the room it has; a trim ends it.  With the other policy it grows, and
 * whoever asked for it is told, on a thread of twal's, where it may trim.
 */
#include "helpers.h"

#include <stdatomic.h>

#define LEN 8000
#define LIMIT (6 * 64 * T_KIB)

static uint64_t taken(const char *dir)
{
    size_t count;
    t_segments(dir, &count);
    return (count + t_count_spares(dir)) * 64 * T_KIB;
}

/* Appends until it is refused; returns the last number. */
static uint64_t append_until_refused(twal_log *log)
{
    static char data[LEN];
    uint64_t last = twal_last_seq(log);
    for (;;) {
        uint64_t seq = UINT64_MAX;
        t_payload_fill(data, LEN, 1, last + 1);
        int code = twal_append(log, data, LEN, &seq);
        if (code != TWAL_OK) {
            t_code(code, TWAL_E_NOSPC);
            t_equal(t_last_error().os_errno, 0);
            t_check(seq == UINT64_MAX && twal_last_seq(log) == last && twal_durable_seq(log) == last);
            return last;
        }
        t_equal(seq, ++last);
        t_check(last < 1000);
    }
}

static void refuses(const char *dir)
{
    twal_options options = t_options_small();
    options.max_retained_segments = 1;
    options.log_size_max = 3 * 64 * T_KIB - 1;
    twal_log *log = NULL;
    t_code(twal_open(dir, &options, &log), TWAL_E_INVAL);
    options.log_size_max = LIMIT;
    options.log_size_policy = 2;
    t_code(twal_open(dir, &options, &log), TWAL_E_INVAL);
    options.log_size_policy = TWAL_SIZE_REFUSE;
    log = t_open(dir, &options);
    uint64_t last = append_until_refused(log);
    for (int n = 0; n < 3; n++)
        t_equal(append_until_refused(log), last);
    t_equal(taken(dir), LIMIT);
    t_check(t_stats(log).refused_nospace >= 4 && t_stats(log).poisoned == 0);
    twal_entry entry = TWAL_ENTRY_INIT;
    static char data[LEN];
    entry.data = data;
    entry.len = LEN;
    entry.flags = TWAL_APPEND_NO_WAIT;
    t_code(twal_append_entry(log, &entry, NULL), TWAL_E_NOSPC);
    t_ok(twal_sync(log, 0));
    t_close(log);
    t_expect_log(dir, 1, last, LEN);
    log = t_open(dir, &options);
    t_equal(append_until_refused(log), twal_last_seq(log));
    t_equal(taken(dir), LIMIT);
    last = twal_last_seq(log);

    t_ok(twal_trim(log, last));
    uint64_t first = twal_first_seq(log);
    t_check(first > 1);
    uint64_t next = append_until_refused(log);
    t_check(next > last);
    t_check(taken(dir) <= LIMIT);
    t_expect_many(log, first, next, LEN);
    t_equal(t_stats(log).poisoned, 0);
    t_close(log);
}

static struct {
    twal_log *log;
    atomic_ulong calls;
    atomic_ulong size;
    atomic_bool trims;
    _Atomic int trimmed;
    _Atomic int closed;
} told;

static void hint(void *arg, uint64_t size, uint64_t size_max)
{
    t_check(arg == &told);
    t_equal(size_max, LIMIT);
    t_check(size > size_max);
    atomic_store(&told.size, size);
    if (atomic_exchange(&told.trims, false)) {
        atomic_store(&told.trimmed, twal_trim(told.log, twal_durable_seq(told.log)));
        atomic_store(&told.closed, twal_close(told.log));
    }
    atomic_fetch_add(&told.calls, 1);
}

static void hints(const char *dir)
{
    twal_options options = t_options_small();
    options.max_retained_segments = 1;
    options.log_size_max = LIMIT;
    options.log_size_policy = TWAL_SIZE_HINT;
    told.log = t_open(dir, &options);
    t_code(twal_size_hint(NULL, hint, &told), TWAL_E_INVAL);
    t_ok(twal_size_hint(told.log, hint, &told));
    t_append_many(told.log, 100, LEN);
    t_await(atomic_load(&told.calls) > 0, T_PATIENCE_MS);
    t_check(taken(dir) > LIMIT);
    /* It may trim there, and may not close.  A call that began before this line does neither. */
    atomic_store(&told.trims, true);
    while (atomic_load(&told.closed) == TWAL_OK)
        t_append_many(told.log, 5, LEN);
    t_equal(atomic_load(&told.trimmed), TWAL_OK);
    t_equal(atomic_load(&told.closed), TWAL_E_STATE);
    t_check(twal_first_seq(told.log) > 1);
    t_ok(twal_size_hint(told.log, NULL, NULL));
    t_equal(t_stats(told.log).refused_nospace, 0);
    t_expect_many(told.log, twal_first_seq(told.log), twal_last_seq(told.log), LEN);
    t_close(told.log);
}

int main(void)
{
    t_begin();
    refuses(t_path("refuses"));
    hints(t_path("hints"));
    return t_end();
}
