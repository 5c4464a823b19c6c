/*
 * t:leaks no, a forked child has lost the threads whose memory it inherits
 * t:tsan no, its threads only wait for a lock
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

static void *expect_locked_thread(void *dir)
{
    expect_locked(dir);
    return NULL;
}

/* All at once: each waits until the lock cannot be a killed process' any more. */
static void expect_all_locked(char *const *dirs, int count)
{
    pthread_t threads[16];
    t_check(count <= 16);
    for (int n = 0; n < count; n++)
        threads[n] = t_thread(expect_locked_thread, dirs[n]);
    for (int n = 0; n < count; n++)
        t_join(threads[n]);
}

struct holder {
    char dir[600];
    int told[2], go[2];
    pid_t child;
};

static void tell(int fd)
{
    t_check(write(fd, "o", 1) == 1);
}

static void await(int fd)
{
    char byte;
    t_check(read(fd, &byte, 1) == 1);
}

static void hold(void *arg)
{
    struct holder *holder = arg;
    twal_options options = t_options_small();
    twal_log *log = t_open(holder->dir, &options);
    t_append_many(log, 3, 100);
    tell(holder->told[1]);
    await(holder->go[0]);
    for (uint64_t n = 0;; n++) {
        t_append(log, 100, 2, 0, 0);
        if (n == 3)
            tell(holder->told[1]);
    }
}

static void read_beside(void *dir)
{
    twal_log *log = t_open_read_only(dir);
    t_check(twal_last_seq(log) >= 1);
    t_close(log);
}

/* Killed holders with writes in flight. */
static void killed_holders(void)
{
    enum { HOLDERS = 10 };
    static struct holder holders[HOLDERS];
    char *dirs[HOLDERS];
    twal_options options = t_options_quiet();
    for (int n = 0; n < HOLDERS; n++) {
        struct holder *holder = &holders[n];
        snprintf(holder->dir, sizeof holder->dir, "%s%d", t_path("killed"), n);
        dirs[n] = holder->dir;
        t_check(pipe(holder->told) == 0 && pipe(holder->go) == 0);
        holder->child = t_fork(hold, holder);
        close(holder->told[1]);
        await(holder->told[0]);
    }
    expect_all_locked(dirs, HOLDERS);
    for (int n = 0; n < HOLDERS; n++) {
        tell(holders[n].go[1]);
        await(holders[n].told[0]);
        t_kill_child(holders[n].child);
        twal_log *log = t_open(dirs[n], &options);
        t_check(twal_last_seq(log) >= 3);
        t_ok(t_read(log, 0, NULL, NULL, NULL));
        t_close(log);
        t_dir_remove(dirs[n]);
    }
}

int main(void)
{
    t_begin();
    killed_holders();
    char *dir = (char *)(uintptr_t)t_path("log"), *link = (char *)(uintptr_t)t_path("link");
    twal_options options = t_options_quiet();
    char dotted[1024];

    twal_log *log = t_open(dir, &options);
    t_append_many(log, 3, 100);
    uint64_t before = t_segments_sum(dir);
    snprintf(dotted, sizeof dotted, "%s/../log/.", dir);
    t_check(symlink(dir, link) == 0);
    pid_t other = t_fork(expect_locked, dir);
    expect_all_locked((char *[]){ dir, dotted, link }, 3);
    t_wait_child_ok(other);
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
    return t_end();
}
