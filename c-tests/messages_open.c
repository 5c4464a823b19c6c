/*
 * t:asan no, it has system calls of its own
 * t:tsan no, it has system calls of its own
 * t:valgrind no, it has a malloc() of its own
 * t:with fault_calls
 *
 * Goal: an open that fails for want of any one of the log's threads tells that
 * it failed, and neither that the log is open nor that it is closed; one that
 * succeeds has told that it is open when it returns; and one that verifies does
 * it with the threads that it gets.
 */
#include "helpers.h"

#include "fault_calls.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
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

/* twal's threads begin with every signal blocked: handlers are the program's, and run on its threads. */
static void watch(t_call_seen what, int fd, const void *data, uint64_t len)
{
    sigset_t blocked;
    (void)fd, (void)data, (void)len;
    if (what != T_SEEN_THREAD)
        return;
    t_check(pthread_sigmask(SIG_SETMASK, NULL, &blocked) == 0);
    for (int number = 1; number < 32; number++)
        t_check(number == SIGKILL || number == SIGSTOP || sigismember(&blocked, number) == 1);
}

/* Opens until no thread is refused any more; how often it failed. */
static int open_without(const char *dir, uint32_t flags)
{
    twal_options options = t_options_small();
    options.flags |= flags;
    options.message = on_message;
    options.message_arg = &told;
    int failures = 0, refused = -1;
    bool hit;
    do {
        atomic_store(&told.open, 0);
        atomic_store(&told.failed, 0);
        atomic_store(&told.closed, 0);
        twal_log *log = NULL;
        t_fault_arm(T_FAULT_THREAD, (uint64_t)++refused + 1, EAGAIN, false);
        int code = twal_open(dir, &options, &log);
        hit = t_fault_hits() > 0;
        t_fault_disarm();
        if (!code) {
            t_equal(atomic_load(&told.open), 1);
            t_equal(atomic_load(&told.failed), 0);
            t_equal(atomic_load(&told.closed), 0);
            t_append_many(log, 20, 8000);
            t_close(log);
            t_equal(atomic_load(&told.closed), 1);
        } else {
            t_code(code, TWAL_E_NOMEM);
            t_equal(atomic_load(&told.open), 0);
            t_equal(atomic_load(&told.failed), 1);
            t_equal(atomic_load(&told.closed), 0);
            failures++;
        }
    } while (hit);
    printf("of %d refused threads the open could do without %d\n", refused, refused - failures);
    return failures;
}

int main(void)
{
    t_begin();
    t_watch = watch;
    const char *dir = t_path("log");
    /* The writer's, the keeper's, and the one that calls. */
    t_equal(open_without(dir, 0), 3);
    /* Those that help to verify are no must. */
    t_equal(open_without(dir, TWAL_OPEN_VERIFY), 3);
    return t_end();
}
