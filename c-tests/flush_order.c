/*
 * t:asan no, it has system calls of its own
 * t:tsan no, it has system calls of its own
 * t:valgrind no, it has a malloc() of its own
 * t:with fault_calls
 *
 * Goal: what a call promises is flushed when it returns, by the system calls
 * that were really made: each frame and header is written durably or flushed behind
 * its write, each change of a name by a flush of its directory, the new log's
 * own name by one of its parent.
 * Method: what is in fault_calls.h tells of each; a file or directory is dirty
 * from a write or a change on until a flush of it.
 */
#include "fault_calls.h"
#include "helpers.h"

#include <errno.h>
#include <pthread.h>
#include <sys/prctl.h>
#include <sys/stat.h>

enum { FILES = 256 };
static struct file {
    dev_t device;
    ino_t number;
    unsigned dirty;
    unsigned by_keeper; /* changes of names that no call waits for: a segment that was rolled off gets its new name later */
} files[FILES];
static uint64_t frames, durable_frames, flushes, names;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static struct file *file_of(const struct stat *about)
{
    for (int n = 0; n < FILES; n++) {
        if (!files[n].number) {
            files[n].device = about->st_dev;
            files[n].number = about->st_ino;
        }
        if (files[n].number == about->st_ino && files[n].device == about->st_dev)
            return &files[n];
    }
    t_fail(__FILE__, __LINE__, "too many files");
}

static void watch(t_call_seen what, int fd, const void *data, uint64_t len)
{
    struct stat about;
    if (fstat(fd, &about) != 0)
        return;
    pthread_mutex_lock(&lock);
    struct file *it = file_of(&about);
    char thread[16] = "";
    prctl(PR_GET_NAME, thread);
    /* Zeros and copies of what is durable elsewhere promise nothing. */
    bool ours = data && len >= 8 && (!memcmp(data, "TWAF", 4) || !memcmp(data, "TWALv3.0", 8));
    if (what == T_SEEN_FLUSH) {
        it->dirty = it->by_keeper = 0;
        flushes++;
    } else if (what == T_SEEN_NAMES) {
        ++*(strcmp(thread, "twal-keeper") ? &it->dirty : &it->by_keeper);
        names++;
    } else if (ours) {
        frames++;
        it->dirty += what == T_SEEN_WRITE;
        durable_frames += what == T_SEEN_DURABLE_WRITE;
    }
    pthread_mutex_unlock(&lock);
}

/* What of this file or directory is not flushed; false: it has another name by now. */
static bool add_dirty(const char *path, unsigned *sum)
{
    struct stat about;
    if (stat(path, &about) != 0) {
        t_check(errno == ENOENT);
        return false;
    }
    pthread_mutex_lock(&lock);
    *sum += file_of(&about)->dirty;
    pthread_mutex_unlock(&lock);
    return true;
}

static unsigned dirty_now(const char *path)
{
    unsigned sum = 0;
    t_check(add_dirty(path, &sum));
    return sum;
}

static unsigned dirty_segments(const char *dir)
{
    for (;;) {
        size_t count, n = 0;
        unsigned sum = 0;
        t_segment *list = t_segments(dir, &count);
        while (n < count && add_dirty(list[n].path, &sum))
            n++;
        if (n == count)
            return sum;
    }
}

static unsigned left_by_keeper(const char *dir)
{
    struct stat about;
    t_check(stat(dir, &about) == 0);
    pthread_mutex_lock(&lock);
    unsigned left = file_of(&about)->by_keeper;
    pthread_mutex_unlock(&lock);
    return left;
}

static void story(uint32_t engine, const char *name)
{
    twal_options options = t_options();
    options.io_engine = engine;
    options.segment_size = 256 * T_KIB;
    options.max_retained_segments = 1;
    options.idle_mark_us = UINT64_C(3600) * 1000 * 1000;
    const char *parent = t_path(name);
    t_check(mkdir(parent, 0700) == 0);
    char dir[4096];
    snprintf(dir, sizeof dir, "%s/log", parent);
    twal_log *log;
    int opened = twal_open(dir, &options, &log);
    if (opened == TWAL_E_UNSUPPORTED) {
        printf("skipped: no %s here\n", t_engine_name(engine));
        return;
    }
    t_ok(opened);
    t_equal(dirty_now(parent), 0);
    t_equal(dirty_now(dir), 0);
    t_equal(dirty_segments(dir), 0);
    static char data[3000];
    uint64_t seq;
    for (int round = 0; round < 6; round++) {
        for (int n = 0; n < 20; n++) {
            t_ok(twal_append(log, data, sizeof data, &seq));
            t_equal(dirty_segments(dir), 0);
        }
        for (int n = 0; n < 200; n++) {
            twal_entry entry = { .data = data, .len = sizeof data, .flags = TWAL_APPEND_NO_SYNC };
            t_ok(twal_append_entry(log, &entry, &seq));
        }
        t_ok(twal_sync(log, seq));
        t_equal(dirty_segments(dir), 0);
        t_ok(twal_roll(log));
        t_equal(dirty_now(dir), 0);
        t_equal(dirty_segments(dir), 0);
        t_ok(twal_trim(log, seq - 10));
        t_equal(dirty_now(dir), 0);
    }
    t_close(log);
    t_equal(dirty_now(dir), 0);
    t_equal(left_by_keeper(dir), 0);
    t_equal(dirty_segments(dir), 0);
    printf("%s: %" PRIu64 " frames, %" PRIu64 " of them durable by themselves, %" PRIu64 " flushes, %" PRIu64 " changes of names\n",
           t_engine_name(engine), frames, durable_frames, flushes, names);
    t_check(frames > 120 && flushes > 6 && names > 12);
    frames = durable_frames = flushes = names = 0;
}

int main(void)
{
    t_begin();
    t_watch = watch;
    story(TWAL_IO_BLOCKING, "blocking");
    story(TWAL_IO_URING, "io_uring");
    return t_end();
}
