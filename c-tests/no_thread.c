/*
 * t:valgrind no, it knows no io_uring
 *
 * Goal: a process that may have no more threads goes on with the log that it has
 * open: where the kernel can start none of its own for io_uring, and answers
 * ECANCELED, nothing has failed, and nothing is lost.
 *
 * Method: a thread that was there before, which has not flushed anything so far.
 */
#include "helpers.h"

#include <linux/capability.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define ROUNDS 5

static const char *dir;

static void *nothing(void *arg)
{
    return arg;
}

/* Root may have as many threads as it likes, by its number and by these. */
static bool limited(void)
{
    struct __user_cap_header_struct whose = { _LINUX_CAPABILITY_VERSION_3, 0 };
    struct __user_cap_data_struct may[2];
    pthread_t thread;
    if (syscall(SYS_capget, &whose, may))
        return false;
    may[0].effective &= ~(1u << CAP_SYS_RESOURCE | 1u << CAP_SYS_ADMIN);
    may[0].permitted = may[0].effective;
    if (syscall(SYS_capset, &whose, may))
        return false;
    if (pthread_create(&thread, NULL, nothing, NULL))
        return true;
    t_join(thread);
    return false;
}

struct meeting {
    twal_log *log;
    pthread_barrier_t began, limit;
};

static void *flush_much(void *arg)
{
    struct meeting *meeting = arg;
    pthread_barrier_wait(&meeting->began);
    pthread_barrier_wait(&meeting->limit);
    if (!limited()) {
        printf("threads cannot be limited here\n");
        return NULL;
    }
    for (uint64_t n = 1; n <= ROUNDS; n++) {
        t_append_many(meeting->log, 1, 3000);
        t_ok(twal_hold_set(meeting->log, "here", n));
        t_ok(twal_roll(meeting->log));
    }
    return meeting;
}

static void without_threads(void *arg)
{
    (void)arg;
    twal_options options = t_options_small();
    options.io_engine = TWAL_IO_URING;
    struct meeting meeting = { .log = t_open(dir, &options) };
    t_check(!pthread_barrier_init(&meeting.began, NULL, 2) && !pthread_barrier_init(&meeting.limit, NULL, 2));
    pthread_t thread = t_thread(flush_much, &meeting);
    pthread_barrier_wait(&meeting.began);
    const struct rlimit one = { 1, 1 };
    if (geteuid() == 0)
        t_check(setresuid(65534, 0, 0) == 0);
    t_check(setrlimit(RLIMIT_NPROC, &one) == 0);
    pthread_barrier_wait(&meeting.limit);
    void *done = NULL;
    t_check(pthread_join(thread, &done) == 0);
    if (done)
        t_equal(twal_last_seq(meeting.log), ROUNDS);
    t_close(meeting.log);
    if (!done)
        _exit(77);
}

int main(void)
{
    t_begin();
    if (!t_engine_works(TWAL_IO_URING))
        t_skip("no io_uring here");
    dir = t_path("log");
    int status = t_wait_child(t_fork(without_threads, NULL), T_PATIENCE_MS);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
        t_skip("threads cannot be limited here");
    t_equal((uint64_t)status, 0);
    t_expect_log(dir, 1, ROUNDS, 3000);
    return t_end();
}
