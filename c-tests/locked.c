/*
 * t:leaks no, a forked child has lost the threads whose memory it inherits
 *
 * Goal: one writer a log: a second open for writing is TWAL_E_LOCKED, from the
 * same process and from another, by any spelling of the path; readers get in;
 * a close or the holder's death lets the next one in.
 */
#include "helpers.h"

static void expect_locked(void *dir)
{
    twal_options options = t_options_small();
    twal_log *log = (twal_log *)(uintptr_t)0x5a5a;
    t_code(twal_open(dir, &options, &log), TWAL_E_LOCKED);
    t_check(log == (twal_log *)(uintptr_t)0x5a5a);
}

static int pipe_ends[2];

static void hold(void *dir)
{
    twal_options options = t_options_small();
    twal_log *log = t_open(dir, &options);
    t_append_many(log, 3, 100);
    t_check(write(pipe_ends[1], "o", 1) == 1);
    for (;;)
        t_append(log, 100, 2, 0, 0);
}

static void read_beside(void *dir)
{
    twal_log *log = t_open_read_only(dir);
    t_check(twal_last_seq(log) >= 1);
    t_close(log);
}

int main(void)
{
    t_begin();
    char *dir = (char *)(uintptr_t)t_path("log");
    twal_options options = t_options_quiet();
    char buffer[1024], byte;

    twal_log *log = t_open(dir, &options);
    t_append_many(log, 3, 100);
    uint64_t before = t_segments_sum(dir);
    expect_locked(dir);
    snprintf(buffer, sizeof buffer, "%s/../log/.", dir);
    expect_locked(buffer);
    t_check(symlink(dir, t_path("link")) == 0);
    expect_locked((char *)(uintptr_t)t_path("link"));
    t_wait_child_ok(t_fork(expect_locked, dir));
    /* Refused opens left the log alone. */
    t_equal(t_segments_sum(dir), before);
    t_wait_child_ok(t_fork(read_beside, dir));
    read_beside(dir);
    t_equal(t_append(log, 100, 1, 4, 0), 4);
    t_close(log);

    /* Free again, for both. */
    log = t_open(dir, &options);
    t_close(log);

    /* A reader's lock is no writer's lock. */
    twal_log *reader = t_open_read_only(dir);
    log = t_open(dir, &options);
    t_expect_many(log, 1, 4, 100);
    t_close(log);
    t_close(reader);

    /* A killed holder with writes in flight. */
    for (int round = 0; round < 10; round++) {
        t_check(pipe(pipe_ends) == 0);
        char *other = (char *)(uintptr_t)t_path("killed");
        pid_t child = t_fork(hold, other);
        close(pipe_ends[1]);
        t_check(read(pipe_ends[0], &byte, 1) == 1);
        expect_locked(other);
        t_kill_child(child);
        log = t_open(other, &options);
        t_check(twal_last_seq(log) >= 3);
        t_ok(t_read(log, 0, NULL, NULL, NULL));
        t_close(log);
        t_dir_remove(other);
        close(pipe_ends[0]);
    }
    return t_end();
}
