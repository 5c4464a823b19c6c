/*
 * t:leaks no, a forked child has lost the threads whose memory it inherits
 *
 * Goal: a forked child gets TWAL_E_FORKED from every call on its parent's log,
 * except the two closes, which free and touch neither disk nor lock; the parent
 * goes on undisturbed; the child may open logs of its own; and a child that
 * lives on with the parent's descriptors does not keep the log locked, nor does
 * one that has closed its copy when the parent is killed.
 */
#include "helpers.h"

#include <signal.h>
#include <unistd.h>

static twal_log *parents;
static twal_iter *iter, *fresh_iter;
static const char *dir;
static twal_reservation held; /* by the parent */

static void never_called(void *arg, uint64_t seq, int code)
{
    (void)arg;
    t_fail(__FILE__, __LINE__, "called for %" PRIu64 " with %d", seq, code);
}

static void call_everything(void *arg)
{
    twal_entry entry = TWAL_ENTRY_INIT;
    twal_record record;
    twal_stats stats = TWAL_STATS_INIT;
    twal_recovery report = TWAL_RECOVERY_INIT;
    twal_iter *another = NULL;
    uint64_t seq = 77;
    int fd = -7;
    (void)arg;

    t_code(twal_append(parents, "x", 1, &seq), TWAL_E_FORKED);
    t_code(twal_append_entry(parents, &entry, &seq), TWAL_E_FORKED);
    t_code(twal_append_batch(parents, &entry, 1, &seq), TWAL_E_FORKED);
    t_code(twal_append_gather(parents, &entry, NULL, 0, &seq), TWAL_E_FORKED);
    twal_reservation reservation = TWAL_RESERVATION_INIT, copy = held;
    t_code(twal_reserve(parents, &entry, &reservation), TWAL_E_FORKED);
    t_check(!reservation.data);
    t_code(twal_commit(parents, &copy, 10, &seq), TWAL_E_FORKED);
    t_code(twal_cancel(parents, &copy), TWAL_E_FORKED);
    t_check(copy.data == held.data);
    t_code(twal_commit(parents, &copy, T_PAYLOAD_MIN + 1, &seq), TWAL_E_INVAL);
    t_code(twal_sync(parents, 0), TWAL_E_FORKED);
    t_code(twal_eventfd(parents, &fd), TWAL_E_FORKED);
    t_code(twal_sync_async(parents, 0, NULL, NULL), TWAL_E_FORKED);
    t_code(twal_sync_async(parents, 0, never_called, NULL), TWAL_E_FORKED);
    t_code(twal_wait(parents, 1, 0), TWAL_E_FORKED);
    t_code(twal_wait(parents, 1, -1), TWAL_E_FORKED);
    t_code(twal_trim(parents, 1), TWAL_E_FORKED);
    t_code(twal_trim(parents, UINT64_MAX), TWAL_E_INVAL);
    t_code(twal_roll(parents), TWAL_E_FORKED);
    t_code(twal_recover_iter(parents, 0, &another), TWAL_E_FORKED);
    t_code(twal_iter_next(iter, &record), TWAL_E_FORKED);
    t_code(twal_iter_next(fresh_iter, &record), TWAL_E_FORKED);
    t_code(twal_stats_get(parents, &stats), TWAL_E_FORKED);
    t_code(twal_recovery_get(parents, &report), TWAL_E_FORKED);
    t_equal(twal_first_seq(parents), 0);
    t_equal(twal_last_seq(parents), 0);
    t_equal(twal_durable_seq(parents), 0);
    t_equal(seq, 77);
    t_equal(fd, -7);
    t_check(!another);
    /* What is wrong by itself comes first. */
    char big = 0;
    t_code(twal_append(parents, NULL, 1, NULL), TWAL_E_INVAL);
    t_code(twal_append(parents, &big, SIZE_MAX, NULL), TWAL_E_TOOBIG);
    t_code(twal_recover_iter(parents, 0, NULL), TWAL_E_INVAL);
    t_code(twal_iter_next(iter, NULL), TWAL_E_INVAL);
}

static void call_and_close(void *arg)
{
    uint64_t before = t_segments_sum(dir);
    call_everything(arg);
    twal_iter_close(iter);
    t_close(parents);
    twal_iter_close(fresh_iter);
    /* The log is still its parent's. */
    twal_options options = t_options_small();
    twal_log *log = NULL;
    t_code(twal_open(dir, &options, &log), TWAL_E_LOCKED);
    t_equal(t_segments_sum(dir), before);
    /* Logs of its own work. */
    const char *own = t_path("childs-own");
    log = t_open(own, &options);
    t_append_many(log, 20, 1000);
    t_expect_many(log, 1, 20, 1000);
    t_close(log);
    t_dir_remove(own);
}

static int go[2];

static void outlive(void *arg)
{
    char byte;
    (void)arg;
    t_check(read(go[0], &byte, 1) == 1);
    call_everything(NULL);
    t_close(parents);
    twal_iter_close(iter);
    twal_iter_close(fresh_iter);
}

/* A log's owner, killed while a child that closed its copy lives on. */
static int told[2];

static void own_and_die(void *arg)
{
    (void)arg;
    size_t before = t_count_entries("/proc/self/fd");
    twal_options options = t_options_quiet();
    twal_log *log = t_open(t_path("killed"), &options);
    twal_iter *reader = NULL;
    twal_record record;
    t_append_many(log, 5, 100);
    t_ok(twal_recover_iter(log, 1, &reader));
    t_equal(twal_iter_next(reader, &record), 1);
    if (fork() == 0) {
        /* In either order. */
        t_close(log);
        twal_iter_close(reader);
        t_equal(t_count_entries("/proc/self/fd"), before);
        t_check(write(told[1], "c", 1) == 1);
        char byte;
        _exit(read(go[0], &byte, 1) == 1 ? 0 : 1);
    }
    for (;;)
        pause();
}

static void killed_owner(void)
{
    char byte;
    t_check(pipe(told) == 0);
    pid_t owner = t_fork(own_and_die, NULL);
    t_check(read(told[0], &byte, 1) == 1);
    t_kill_child(owner);
    t_expect_log(t_path("killed"), 1, 5, 100);
    twal_options options = t_options_quiet();
    twal_log *log = t_open(t_path("killed"), &options);
    t_append_many(log, 5, 100);
    t_close(log);
    t_check(write(go[1], "g", 1) == 1);
}

int main(void)
{
    t_begin();
    dir = t_path("log");
    twal_options options = t_options_quiet();
    twal_record record;
    options.segment_size = T_MIB;

    t_check(pipe(go) == 0);
    killed_owner();
    parents = t_open(dir, &options);
    t_append_many(parents, 30, 1000);
    t_ok(twal_recover_iter(parents, 1, &iter));
    t_equal(twal_iter_next(iter, &record), 1);
    t_ok(twal_recover_iter(parents, 5, &fresh_iter));
    twal_entry entry = TWAL_ENTRY_INIT;
    entry.len = T_PAYLOAD_MIN;
    t_ok(twal_reserve(parents, &entry, &held));

    t_wait_child_ok(t_fork(call_everything, NULL));
    t_wait_child_ok(t_fork(call_and_close, NULL));

    /* The parent's own log and readers are as they were. */
    t_equal(twal_iter_next(iter, &record), 1);
    t_equal(record.seq, 2);
    t_append_many(parents, 30, 1000);
    t_expect_many(parents, 1, 60, 1000);

    /* A child that keeps the descriptors does not keep the locks. */
    pid_t child = t_fork(outlive, NULL);
    t_close(parents);
    t_code(twal_cancel(parents, &held), TWAL_E_CLOSED);
    twal_log *log = t_open(dir, &options);
    t_expect_many(log, 1, 60, 1000);
    t_append_many(log, 10, 1000);
    t_check(write(go[1], "g", 1) == 1);
    t_wait_child_ok(child);
    t_append_many(log, 10, 1000);
    t_expect_many(log, 1, 80, 1000);
    t_close(log);
    twal_iter_close(iter);
    twal_iter_close(fresh_iter);
    t_expect_log(dir, 1, 80, 1000);
    return t_end();
}
