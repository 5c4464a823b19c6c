/*
 * t:valgrind no, it freezes a file system by the clock
 *
 * Goal: while the device stands still, the log stays polite: appends are refused
 * or time out as their options say, waits time out, readers go on, nobody holds
 * a lock that others need; when the device moves again, everything accepted
 * becomes durable. Closing lets blocked appenders out.
 * Method: a file system of our own, frozen with FIFREEZE. A guard process thaws
 * it when this one ends, however it ends.
 */
#include "helpers.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <stdatomic.h>
#include <sys/ioctl.h>

#define RING (256 * T_KIB)
#define LEN (20 * T_KIB)

static int mount_fd;
static twal_log *shared;
static atomic_int blocked_thread;
static int guard_pipe[2];

/* Lives until the test's end of the pipe closes, then thaws. */
static void guard(void *arg)
{
    char byte;
    (void)arg;
    close(guard_pipe[1]);
    while (read(guard_pipe[0], &byte, 1) > 0)
        ;
    ioctl(mount_fd, FITHAW, 0);
}

static void freeze(void)
{
    if (ioctl(mount_fd, FIFREEZE, 0))
        t_skip("FIFREEZE: %s", strerror(errno));
}

static void thaw(void)
{
    t_check(ioctl(mount_fd, FITHAW, 0) == 0);
}

static char data[8][LEN];

static int append_one(uint64_t writer, uint64_t number, uint32_t flags)
{
    twal_entry entry = TWAL_ENTRY_INIT;
    t_payload_fill(data[writer], LEN, writer, number);
    entry.data = data[writer];
    entry.len = LEN;
    entry.flags = flags;
    return twal_append_entry(shared, &entry, NULL);
}

/* Appends until refused; how many were taken. */
static uint64_t append_until(int refusal, uint64_t writer, uint32_t flags)
{
    for (uint64_t taken = 0; taken < 1000; taken++) {
        int code = append_one(writer, taken, flags);
        if (code != TWAL_OK) {
            t_code(code, refusal);
            return taken;
        }
    }
    t_fail(__FILE__, __LINE__, "a ring of %d holds 1000 records of %d", (int)RING, (int)LEN);
}

/* Exactly one call: after a close has begun no other may begin. */
struct blocked {
    uint64_t writer;
    uint32_t flags;
    int answer;
};

static void *append_blocked(void *arg)
{
    struct blocked *me = arg;
    atomic_store(&blocked_thread, t_thread_id());
    me->answer = append_one(me->writer, 0, me->flags);
    return NULL;
}

static void *sync_blocked(void *arg)
{
    struct blocked *me = arg;
    atomic_store(&blocked_thread, t_thread_id());
    me->answer = twal_sync(shared, me->writer);
    return NULL;
}

static void *close_it(void *arg)
{
    atomic_store(&blocked_thread, t_thread_id());
    *(int *)arg = twal_close(shared);
    return NULL;
}

static pthread_t start_blocked(void *(*run)(void *), void *arg)
{
    atomic_store(&blocked_thread, 0);
    pthread_t thread = t_thread(run, arg);
    t_await(atomic_load(&blocked_thread) != 0, T_PATIENCE_MS);
    t_await_asleep(atomic_load(&blocked_thread));
    return thread;
}

static uint64_t next_of[8];

static void check_one(const twal_record *record, void *arg)
{
    uint64_t writer = 0, number = 0;
    (void)arg;
    t_check(t_payload_read(record->data, record->len, &writer, &number));
    t_check(writer < 8);
    t_equal(number, next_of[writer]++);
}

int main(void)
{
    t_begin();
    const char *place = t_mount("ext4", 96 * T_MIB);
    char dir[600];
    snprintf(dir, sizeof dir, "%s/log", place);
    t_check(pipe(guard_pipe) == 0);
    mount_fd = open(place, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    t_check(mount_fd >= 0);
    pid_t guard_child = t_fork(guard, NULL);
    close(guard_pipe[0]);
    fcntl(guard_pipe[1], F_SETFD, FD_CLOEXEC);

    twal_options options = t_options();
    options.ring_size = RING;
    options.segment_size = 16 * T_MIB;
    options.append_timeout_us = 200 * 1000;
    options.durability = TWAL_ASYNC;
    shared = t_open(dir, &options);
    for (uint64_t n = 0; n < 10; n++)
        t_ok(append_one(0, n, TWAL_APPEND_SYNC));

    freeze();
    uint64_t eager = append_until(TWAL_E_AGAIN, 1, TWAL_APPEND_NO_WAIT);
    t_check(eager >= RING / LEN / 2);
    t_equal(twal_last_seq(shared), 10 + eager);
    uint64_t began = t_now_ns();
    uint64_t patient = append_until(TWAL_E_TIMEOUT, 2, 0);
    t_check(t_now_ns() - began >= UINT64_C(180) * 1000000);
    uint64_t last = twal_last_seq(shared);
    t_equal(last, 10 + eager + patient);
    t_code(twal_wait(shared, last, 50 * 1000000), TWAL_E_TIMEOUT);
    /* A reader goes on. */
    memset(next_of, 0, sizeof next_of);
    t_ok(t_read(shared, 0, NULL, check_one, NULL));
    t_equal(next_of[0], 10);
    t_check(t_stats(shared).ring_bytes > 0);
    thaw();
    t_ok(twal_wait(shared, last, INT64_C(10) * 1000000000));
    t_equal(twal_durable_seq(shared), last);

    /* Appenders that wait without limit, one for its record to be durable and
     * two for room, two syncs, and a close beside them. */
    t_close(shared);
    options.append_timeout_us = 0;
    shared = t_open(dir, &options);
    struct blocked waiting[3] = { { 3, TWAL_APPEND_SYNC, 1 }, { 4, 0, 1 }, { 5, TWAL_APPEND_SYNC, 1 } };
    struct blocked syncing[2] = { { 0, 0, 1 }, { 0, 0, 1 } };
    pthread_t threads[3], syncs[2], closer;
    int closed = 1;
    freeze();
    threads[0] = start_blocked(append_blocked, &waiting[0]);
    uint64_t filled = append_until(TWAL_E_AGAIN, 6, TWAL_APPEND_NO_WAIT);
    threads[1] = start_blocked(append_blocked, &waiting[1]);
    threads[2] = start_blocked(append_blocked, &waiting[2]);
    /* One for everything, one for the first record that is not durable. */
    syncing[1].writer = twal_durable_seq(shared) + 1;
    for (int n = 0; n < 2; n++)
        syncs[n] = start_blocked(sync_blocked, &syncing[n]);
    closer = start_blocked(close_it, &closed);
    thaw();
    t_join(closer);
    t_ok(closed);
    for (int n = 0; n < 3; n++)
        t_join(threads[n]);
    /* What they waited for, the close has made durable. */
    for (int n = 0; n < 2; n++) {
        t_join(syncs[n]);
        t_check(syncing[n].answer == TWAL_OK || syncing[n].answer == TWAL_E_CLOSED);
    }
    /* The first had its number before the close began; the others had none. */
    t_check(waiting[0].answer == TWAL_OK || waiting[0].answer == TWAL_E_CLOSED);
    t_equal(waiting[1].answer, TWAL_E_CLOSED);
    t_equal(waiting[2].answer, TWAL_E_CLOSED);

    memset(next_of, 0, sizeof next_of);
    shared = t_open(dir, &options);
    t_ok(t_read(shared, 0, NULL, check_one, NULL));
    t_equal(next_of[0], 10);
    t_equal(next_of[1], eager);
    t_equal(next_of[2], patient);
    t_equal(next_of[3], 1);
    t_equal(next_of[4], 0);
    t_equal(next_of[5], 0);
    t_equal(next_of[6], filled);
    t_close(shared);
    close(guard_pipe[1]);
    t_wait_child_ok(guard_child);
    close(mount_fd);
    return t_end();
}
