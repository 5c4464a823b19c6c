/*
 * Goal: nothing but the timestamps depends on the time of day, and these do not go
 * back: with a clock that is set back by years, set forward, and set while the log is
 * open, everything becomes durable in time, waits end, and the log opens again.
 * Method: a clock_gettime() of the program's own, which stands before the C library's
 * for the library too.
 */
#include "helpers.h"

#include <stdatomic.h>
#include <sys/syscall.h>
#include <time.h>

static atomic_long set_by_s;
static atomic_int asked;

int clock_gettime(clockid_t which, struct timespec *now)
{
    long result = syscall(SYS_clock_gettime, which, now);
    if (which == CLOCK_REALTIME) {
        now->tv_sec += atomic_load(&set_by_s);
        atomic_fetch_add(&asked, 1);
    }
    return (int)result;
}

static int64_t last_timestamp = INT64_MIN;
static uint64_t last_seq;

static void not_back(const twal_record *record, void *arg)
{
    (void)arg;
    t_check(record->seq <= last_seq || record->timestamp >= last_timestamp);
    if (record->seq > last_seq) {
        last_seq = record->seq;
        last_timestamp = record->timestamp;
    }
}

int main(void)
{
    t_begin();
    static const long years[] = { 0, -40, 30, -10, 200, 0 };
    static const uint32_t modes[] = { TWAL_SYNC, TWAL_GROUP, TWAL_ASYNC };
    const char *dir = t_path("log");
    uint64_t count = 0;
    for (size_t n = 0; n < sizeof years / sizeof *years; n++) {
        twal_options options = t_options_small();
        options.durability = modes[n % 3];
        options.flush_interval_ms = 20;
        atomic_store(&set_by_s, years[n] * 31556952);
        twal_log *log = t_open(dir, &options);
        for (int k = 0; k < 30; k++) {
            /* Also in the middle of everything. */
            atomic_store(&set_by_s, (years[n] + (k % 3 - 1)) * 31556952);
            t_append_many(log, 1, 500);
            count++;
            if (k % 10 == 9) {
                t_ok(twal_wait(log, count, INT64_C(20000000000))); /* by time, without a call */
                t_code(twal_wait(log, count + 1, 1000000), TWAL_E_TIMEOUT);
                t_ok(twal_roll(log));
            }
        }
        t_ok(t_read(log, 0, NULL, not_back, NULL));
        t_close(log);
    }
    t_check(atomic_load(&asked) > 0); /* else this tested nothing */
    t_expect_log(dir, 1, count, 500);
    t_equal(last_seq, count);
    return t_end();
}
