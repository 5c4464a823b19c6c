#include "full_disk.h"

#include <fcntl.h>

#define LEN 8000

void fill_disk(const char *filler)
{
    static const char junk[65536] = "junk";
    int fd = open(filler, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    t_check(fd >= 0);
    for (size_t piece = sizeof junk; piece >= 512; piece /= 2)
        while (write(fd, junk, piece) > 0)
            ;
    t_equal(errno, ENOSPC);
    fsync(fd);
    close(fd);
}

/* Appends until it is refused; returns the last number. */
static uint64_t append_until_full(twal_log *log)
{
    static char data[LEN];
    uint64_t last = twal_last_seq(log);
    for (;;) {
        uint64_t seq = UINT64_MAX;
        t_payload_fill(data, LEN, 1, last + 1);
        int code = twal_append(log, data, LEN, &seq);
        if (code == TWAL_OK) {
            t_equal(seq, ++last);
            t_check(last < 10000);
            continue;
        }
        t_code(code, TWAL_E_NOSPC);
        t_equal(t_last_error().os_errno, ENOSPC);
        t_equal(seq, UINT64_MAX);
        t_equal(twal_last_seq(log), last);
        t_equal(twal_durable_seq(log), last);
        return last;
    }
}

static bool append_works(twal_log *log)
{
    static char data[LEN];
    t_payload_fill(data, LEN, 1, twal_last_seq(log) + 1);
    int code = twal_append(log, data, LEN, NULL);
    if (code != TWAL_OK)
        t_code(code, TWAL_E_NOSPC);
    return code == TWAL_OK;
}

int full_disk(const char *file_system, uint64_t size)
{
    t_begin();
    const char *place = t_mount(file_system, size);
    char dir[600], other[600], filler[600];
    snprintf(dir, sizeof dir, "%s/log", place);
    snprintf(other, sizeof other, "%s/other", place);
    snprintf(filler, sizeof filler, "%s/filler", place);
    twal_options options = t_options();
    twal_log *log;

    options.segment_size = 512 * T_KIB;
    options.max_retained_segments = 1;
    log = t_open(dir, &options);
    t_append_many(log, 150, LEN);
    fill_disk(filler);
    uint64_t last = append_until_full(log);
    t_check(last >= 150);
    for (int n = 0; n < 5; n++)
        t_equal(append_until_full(log), last);
    twal_stats stats = t_stats(log);
    t_equal(stats.poisoned, 0);
    t_check(stats.refused_nospace >= 6);
    /* Reading, waiting, syncing go on. */
    t_expect_many(log, 1, last, LEN);
    t_ok(twal_sync(log, 0));
    t_ok(twal_wait(log, last, 0));
    t_close(log);

    /* A new log has no room; the old one opens, also for reading. */
    fill_disk(filler);
    log = NULL;
    t_code(twal_open(other, &options, &log), TWAL_E_NOSPC);
    t_check(!log);
    t_expect_log(dir, 1, last, LEN);
    log = t_open(dir, &options);
    t_expect_many(log, 1, last, LEN);
    t_equal(append_until_full(log), twal_last_seq(log));
    last = twal_last_seq(log);

    /* Trimming works, and gives room. */
    t_ok(twal_trim(log, last));
    uint64_t first = twal_first_seq(log);
    t_check(first > 1);
    t_await(append_works(log), T_PATIENCE_MS);
    t_check(twal_last_seq(log) == last + 1);
    last = append_until_full(log);
    t_expect_many(log, first, last, LEN);

    /* So does somebody else's deleting. */
    t_remove(filler);
    t_await(append_works(log), T_PATIENCE_MS);
    for (int n = 0; n < 100; n++)
        t_await(append_works(log), T_PATIENCE_MS);
    t_equal(twal_last_seq(log), last + 101);
    t_equal(t_stats(log).poisoned, 0);
    t_expect_many(log, first, last + 101, LEN);
    t_close(log);
    t_expect_log(dir, first, last + 101, LEN);
    return t_end();
}
