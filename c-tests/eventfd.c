/*
 * Goal: an eventfd becomes readable whenever the durable mark has risen, when the
 * log is poisoned and when it is closed, and not otherwise; no rise is missed by
 * who reads first and asks then; up to 16 a log, each the caller's to close.
 */
#include "helpers.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#define FDS 16

static int new_fd(twal_log *log)
{
    int fd = -7;
    t_ok(twal_eventfd(log, &fd));
    t_check(fd >= 0);
    return fd;
}

/* Reads it; whether there was something. */
static bool drain(int fd)
{
    uint64_t count = 0;
    ssize_t got = read(fd, &count, sizeof count);
    if (got == sizeof count)
        return true;
    t_check(got == -1 && errno == EAGAIN);
    return false;
}

static void it_tells_rises_and_nothing_else(void)
{
    bool known[100];
    for (int other = 0; other < 100; other++)
        known[other] = fcntl(other, F_GETFD) >= 0;
    twal_log *log = t_open_quiet("rises");
    int fd = new_fd(log);
    t_check(fcntl(fd, F_GETFL) & O_NONBLOCK);
    /* Neither this one nor the log's own is inherited. */
    for (int other = 3; other < 100; other++) {
        int flags = fcntl(other, F_GETFD);
        t_check(known[other] || flags < 0 || (flags & FD_CLOEXEC));
    }
    t_check(!drain(fd));
    for (uint64_t round = 1; round <= 20; round++) {
        for (uint64_t n = 1; n <= 3; n++)
            t_append(log, 100, 1, 3 * (round - 1) + n, 0);
        t_check(!t_readable(fd, 1));
        t_ok(twal_sync(log, 0));
        t_check(t_readable(fd, T_PATIENCE_MS));
        t_check(drain(fd));
        t_equal(twal_durable_seq(log), 3 * round);
        /* A mark behind the flush raises nothing. */
        t_check(!t_readable(fd, 1));
    }
    t_check(!drain(fd));
    t_close(log);
    t_check(drain(fd));
    t_check(!drain(fd));
    close(fd);
}

static void several_and_not_more(void)
{
    twal_log *log = t_open_quiet("several");
    int fds[FDS], untouched = -7;
    for (int n = 0; n < FDS; n++)
        fds[n] = new_fd(log);
    t_code(twal_eventfd(log, &untouched), TWAL_E_BUSY);
    t_equal(untouched, -7);
    t_append(log, 100, 1, 1, TWAL_APPEND_SYNC);
    for (int n = 0; n < FDS; n++)
        t_check(drain(fds[n]));
    /* The caller closes some; others get their numbers, and nothing of the log's. */
    int others[FDS];
    for (int n = 0; n < FDS; n += 2) {
        int number = fds[n];
        close(number);
        others[n] = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
        t_equal(others[n], number);
    }
    t_code(twal_eventfd(log, &untouched), TWAL_E_BUSY);
    t_append(log, 100, 1, 2, TWAL_APPEND_SYNC);
    t_close(log);
    for (int n = 0; n < FDS; n++) {
        t_check(n % 2 ? drain(fds[n]) : !drain(others[n]));
        close(fds[n]);
    }
}

/* Waits for an edge on each of these, by their bits, and for no other. */
static void expect_edges(int epoll, unsigned wanted)
{
    struct epoll_event event;
    for (unsigned seen = 0; seen != wanted;) {
        int ready;
        /* A process that is stopped and goes on is told that it was interrupted. */
        while ((ready = epoll_wait(epoll, &event, 1, T_PATIENCE_MS)) < 0)
            t_equal(errno, EINTR);
        t_equal(ready, 1);
        t_check((wanted & ~seen) & event.data.u32);
        seen |= event.data.u32;
    }
    t_equal(epoll_wait(epoll, &event, 1, 0), 0);
}

/* Whoever waits for edges and never reads: every rise is one, on each eventfd of that log and on no other's. */
static void every_rise_is_an_edge(void)
{
    twal_log *log = t_open_quiet("edges"), *other = t_open_quiet("edges-other");
    int fds[3], epoll = epoll_create1(EPOLL_CLOEXEC);
    t_check(epoll >= 0);
    for (int n = 0; n < 3; n++) {
        struct epoll_event event = { .events = EPOLLIN | EPOLLET, .data.u32 = 1U << n };
        fds[n] = new_fd(n < 2 ? log : other);
        t_check(epoll_ctl(epoll, EPOLL_CTL_ADD, fds[n], &event) == 0);
    }
    for (uint64_t n = 1; n <= 20; n++) {
        t_append(log, 100, 1, n, TWAL_APPEND_SYNC);
        expect_edges(epoll, 1 | 2);
    }
    t_close(other);
    expect_edges(epoll, 4);
    t_close(log);
    expect_edges(epoll, 1 | 2);
    close(epoll);
    for (int n = 0; n < 3; n++)
        close(fds[n]);
}

/* A failed write: told once, and then no more until the close. */
static void it_tells_poison(void)
{
    twal_log *log = t_open_quiet("poison");
    int fd = new_fd(log), late = -7;
    uint64_t marks = t_stats(log).marks;
    t_append(log, 100, 1, 1, TWAL_APPEND_SYNC);
    t_check(drain(fd));
    /* The mark that follows a flush must not be what fails. */
    t_await(t_stats(log).marks > marks, T_PATIENCE_MS);
    t_fail_writes(true);
    twal_entry entry = TWAL_ENTRY_INIT;
    entry.flags = TWAL_APPEND_SYNC;
    t_code(twal_append_entry(log, &entry, NULL), TWAL_E_IO);
    t_check(t_readable(fd, T_PATIENCE_MS));
    t_check(drain(fd));
    t_code(twal_append_entry(log, &entry, NULL), TWAL_E_POISONED);
    t_check(!t_readable(fd, 5));
    t_equal(twal_durable_seq(log), 1);
    t_code(twal_eventfd(log, &late), TWAL_E_POISONED);
    t_equal(late, -7);
    t_check(twal_close(log) < 0);
    t_fail_writes(false);
    t_check(drain(fd));
    close(fd);
}

/* ---- nothing is missed ---- */

#define THREADS 4
#define EACH 400

static twal_log *shared;

static void *append_each(void *arg)
{
    uint64_t writer = (uint64_t)(uintptr_t)arg;
    for (uint64_t n = 0; n < EACH; n++)
        t_append(shared, 100, writer, n, n % 3 ? TWAL_APPEND_SYNC : TWAL_APPEND_NO_SYNC);
    t_ok(twal_sync(shared, 0));
    return NULL;
}

static void a_loop_misses_nothing(uint32_t durability)
{
    twal_options options = t_options_quiet();
    pthread_t threads[THREADS];
    char name[32];
    snprintf(name, sizeof name, "loop-%u", durability);
    options.durability = durability;
    options.segment_size = 16 * T_MIB;
    shared = t_open(t_path(name), &options);
    int fd = new_fd(shared);
    for (uintptr_t writer = 0; writer < THREADS; writer++)
        threads[writer] = t_thread(append_each, (void *)writer);
    while (twal_durable_seq(shared) < THREADS * EACH) {
        t_check(t_readable(fd, T_PATIENCE_MS));
        drain(fd);
    }
    for (int n = 0; n < THREADS; n++)
        t_join(threads[n]);
    t_close(shared);
    close(fd);
}

static void wrong_arguments(void)
{
    twal_log *log = t_open_quiet("arguments");
    int fd = -7;
    t_code(twal_eventfd(NULL, &fd), TWAL_E_INVAL);
    t_code(twal_eventfd(log, NULL), TWAL_E_INVAL);
    t_code(twal_eventfd(NULL, NULL), TWAL_E_INVAL);
    t_close(log);
    log = t_open_read_only(t_path("arguments"));
    t_code(twal_eventfd(log, NULL), TWAL_E_INVAL);
    t_equal(fd, -7);
    t_close(log);
}

int main(void)
{
    t_begin();
    it_tells_rises_and_nothing_else();
    several_and_not_more();
    every_rise_is_an_edge();
    it_tells_poison();
    a_loop_misses_nothing(TWAL_SYNC);
    a_loop_misses_nothing(TWAL_ASYNC);
    wrong_arguments();
    return t_end();
}
