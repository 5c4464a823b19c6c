/*
 * t:valgrind no, it mounts a file system
 *
 * Goal: errors of the kernel's own: a limit on the size of files, which makes a write
 * short and the next one fail, wherever it lies in a segment; and a file system that is
 * mounted read-only. Nothing acknowledged is lost, and the class is right.
 */
#include "helpers.h"

#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>

#define SEGMENT (128 * T_KIB)
#define LEN 9000

static uint64_t *acknowledged;
static const char *dir;
static rlim_t most;

static void append_up_to_limit(void *arg)
{
    twal_options options = t_options_quiet();
    struct rlimit limit;
    static char data[LEN];
    int code;
    options.io_engine = *(uint32_t *)arg;
    options.segment_size = SEGMENT;
    signal(SIGXFSZ, SIG_IGN);
    twal_log *log = t_open(dir, &options);
    t_append_many(log, 2, LEN);
    *acknowledged = 2;
    t_check(getrlimit(RLIMIT_FSIZE, &limit) == 0);
    limit.rlim_cur = most;
    t_check(setrlimit(RLIMIT_FSIZE, &limit) == 0);
    for (;;) {
        t_payload_fill(data, LEN, 1, *acknowledged + 1);
        uint64_t seq = UINT64_MAX;
        code = twal_append(log, data, LEN, &seq);
        if (code != TWAL_OK)
            break;
        t_equal(seq, ++*acknowledged);
        t_check(*acknowledged < 100);
    }
    twal_error why = t_last_error();
    t_equal(why.code, code);
    /* A write into prepared space that fails is a failed write; a file that cannot be prepared is a full disk. */
    t_check(code == TWAL_E_IO || code == TWAL_E_NOSPC);
    t_equal(t_stats(log).poisoned, code == TWAL_E_IO);
    if (code == TWAL_E_IO)
        t_code(twal_append(log, "x", 1, NULL), TWAL_E_POISONED);
    t_seen seen; /* reads go on */
    t_ok(t_read(log, 0, &seen, t_record_of_many, &(size_t){ LEN }));
    t_equal(seen.last, *acknowledged);
    code = twal_close(log);
    t_check(code == TWAL_OK || code == TWAL_E_IO || code == TWAL_E_POISONED);
}

static void file_size_limit(uint32_t engine)
{
    unsigned poisoned = 0;
    twal_options options = t_options_quiet();
    options.io_engine = engine;
    for (most = 20480; most < SEGMENT; most += 4096) {
        *acknowledged = 0;
        t_wait_child_ok(t_fork(append_up_to_limit, &engine));
        twal_log *log = t_open(dir, &options);
        uint64_t last = twal_last_seq(log);
        t_check(last >= *acknowledged && last <= *acknowledged + 1);
        t_expect_many(log, 1, last, LEN);
        t_append_many(log, 3, LEN);
        t_close(log);
        t_expect_log(dir, 1, last + 3, LEN);
        t_dir_remove(dir);
        poisoned++;
    }
    printf("%s: %u limits\n", t_engine_name(engine), poisoned);
}

static void read_only_mount(void)
{
    const char *place = t_mount("ext4", 64 * T_MIB);
    char there[700], other[700];
    twal_options options = t_options_small();
    twal_log *log = NULL;
    snprintf(there, sizeof there, "%s/log", place);
    snprintf(other, sizeof other, "%s/other", place);
    log = t_open(there, &options);
    t_append_many(log, 40, 1000);
    t_close(log);
    t_check(mount(NULL, place, NULL, MS_REMOUNT | MS_RDONLY, NULL) == 0);
    uint64_t before = t_dir_sum(there);
    t_code(twal_open(there, &options, &log), TWAL_E_PERM);
    t_code(twal_open(other, &options, &log), TWAL_E_PERM);
    t_check(!t_exists(other));
    t_expect_log(there, 1, 40, 1000);
    t_equal(t_dir_sum(there), before);
    t_check(mount(NULL, place, NULL, MS_REMOUNT, NULL) == 0);
    log = t_open(there, &options);
    t_append_many(log, 5, 1000);
    t_close(log);
    t_expect_log(there, 1, 45, 1000);
}

int main(void)
{
    t_begin();
    dir = t_path("log");
    acknowledged = mmap(NULL, sizeof *acknowledged, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    t_check(acknowledged != MAP_FAILED);
    if (t_engine_works(TWAL_IO_URING))
        file_size_limit(TWAL_IO_URING);
    file_size_limit(TWAL_IO_BLOCKING);
    read_only_mount();
    return t_end();
}
