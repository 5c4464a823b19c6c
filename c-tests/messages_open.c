/*
 * t:asan no, it has system calls of its own
 * t:tsan no, it has system calls of its own
 * t:valgrind no, it has a malloc() of its own
 * t:with fault_calls
 *
 * Goal: an open that fails for want of any one of the log's threads tells that
 * it failed, and neither that the log is open nor that it is closed; one that
 * succeeds has told that it is open when it returns.
 */
#include "helpers.h"

#include "fault_calls.h"

#include <errno.h>
#include <stdatomic.h>

static struct {
    atomic_int open, failed, closed;
} told;

static void on_message(void *arg, const twal_message *message)
{
    t_check(arg == &told);
    atomic_fetch_add(&told.open, !strcmp(message->name, "open"));
    atomic_fetch_add(&told.failed, !strcmp(message->name, "open_failed"));
    atomic_fetch_add(&told.closed, !strcmp(message->name, "close"));
}

int main(void)
{
    t_begin();
    twal_options options = t_options();
    options.message = on_message;
    options.message_arg = &told;
    const char *dir = t_path("log");
    int failures = 0;
    for (uint64_t k = 1;; k++) {
        atomic_store(&told.open, 0);
        atomic_store(&told.failed, 0);
        atomic_store(&told.closed, 0);
        twal_log *log = NULL;
        t_fault_arm(T_FAULT_THREAD, k, EAGAIN, false);
        int code = twal_open(dir, &options, &log);
        bool hit = t_fault_hits() > 0;
        t_fault_disarm();
        if (!code) {
            t_equal(atomic_load(&told.open), 1);
            t_equal(atomic_load(&told.failed), 0);
            t_equal(atomic_load(&told.closed), 0);
            t_close(log);
            t_equal(atomic_load(&told.closed), 1);
        } else {
            t_code(code, TWAL_E_NOMEM);
            t_equal(atomic_load(&told.open), 0);
            t_equal(atomic_load(&told.failed), 1);
            t_equal(atomic_load(&told.closed), 0);
            failures++;
        }
        if (!hit)
            break;
    }
    /* The writer's, the keeper's, and the one that calls. */
    t_check(failures >= 3);
    return t_end();
}
