/*
 * Goal: every option out of its range is INVAL and creates nothing; 0 is the
 * default; sizes may differ from one open to the next, but not the block size.
 */
#include "helpers.h"

#include <sys/stat.h>

static void refused(const char *why, const twal_options *options)
{
    twal_log *log = NULL;
    int code = twal_open(t_path("new"), options, &log);
    if (code != TWAL_E_INVAL || log)
        t_fail(__FILE__, __LINE__, "%s: %d (%s)", why, code, twal_strerror(code));
    if (t_exists(t_path("new")))
        t_fail(__FILE__, __LINE__, "%s: something was created", why);
}

#define REFUSED(field, value) \
    do { \
        twal_options o_ = t_options(); \
        o_.field = (value); \
        refused(#field " = " #value, &o_); \
    } while (0)

static void ranges(void)
{
    REFUSED(flags, 32);
    REFUSED(flags, (uint32_t)1 << 30);
    REFUSED(flags, (uint32_t)1 << 31);
    REFUSED(flags, UINT32_MAX);
    REFUSED(flags, TWAL_OPEN_NO_CREATE | 64);
    REFUSED(durability, 4);
    REFUSED(durability, UINT32_MAX);
    REFUSED(io_engine, 3);
    REFUSED(io_engine, UINT32_MAX);
    REFUSED(block_size, 1);
    REFUSED(block_size, 256);
    REFUSED(block_size, 513);
    REFUSED(block_size, 4095);
    REFUSED(block_size, 5000);
    REFUSED(block_size, 12288);
    REFUSED(block_size, 131072);
    REFUSED(block_size, (uint32_t)1 << 31);
    REFUSED(segment_size, 1);
    REFUSED(segment_size, 4096);
    REFUSED(segment_size, 65535);
    REFUSED(segment_size, 65537);
    REFUSED(segment_size, 64 * T_KIB + 512);
    REFUSED(segment_size, UINT64_MAX);
    REFUSED(segment_size, UINT64_MAX - 4095);
    REFUSED(record_size_max, UINT64_MAX);
    REFUSED(record_size_max, 64 * T_MIB);

    twal_options both = t_options_small();
    both.record_size_max = 64 * T_KIB; /* with header and frame around it, it does not fit */
    refused("a record as large as the segment", &both);
    both = t_options();
    both.segment_size = 96 * T_KIB;
    both.block_size = 65536;
    refused("a segment that is no multiple of its blocks", &both);
}

static void defaults(void)
{
    twal_options zero = { .struct_size = sizeof zero };
    twal_log *log = t_open(t_path("defaults"), &zero);
    twal_stats stats = t_stats(log);
    t_equal(stats.block_size, 4096);
    t_equal(stats.segment_size, 64 * T_MIB);
    t_equal(stats.ring_size, 32 * T_MIB);
    t_equal(stats.record_size_max, 16 * T_MIB);
    t_equal(t_file_size(t_active(t_path("defaults")).path), 64 * T_MIB);
    t_close(log);
    t_dir_remove(t_path("defaults"));
}

/* 0: the less of 16 MiB and what an empty segment holds; that is exact. */
static void record_size_max(void)
{
    twal_options options = t_options_small();
    twal_log *log = t_open(t_path("most"), &options);
    uint64_t most = t_stats(log).record_size_max;
    t_check(most > 32 * T_KIB && most < 64 * T_KIB);
    t_equal(t_append(log, most, 1, 1, 0), 1);
    char byte = 0;
    t_code(twal_append(log, &byte, most + 1, NULL), TWAL_E_TOOBIG);
    t_equal(t_append(log, most, 1, 2, 0), 2);
    t_close(log);
    t_expect_log(t_path("most"), 1, 2, most);

    options.record_size_max = most + 1;
    refused("a record larger than an empty segment holds", &options);
    options.record_size_max = most;
    log = t_open(t_path("most"), &options);
    t_equal(t_append(log, most, 1, 3, 0), 3);
    t_close(log);
    /* A smaller limit holds for new records, not for old ones. */
    options.record_size_max = 100;
    log = t_open(t_path("most"), &options);
    t_expect_many(log, 1, 3, most);
    t_code(twal_append(log, &byte, 101, NULL), TWAL_E_TOOBIG);
    t_equal(t_append(log, 100, 1, 4, 0), 4);
    t_close(log);
}

/* Sizes may change; old segments keep theirs. */
static void sizes_change(void)
{
    const char *dir = t_path("changes");
    twal_options options = t_options();
    static const uint64_t sizes[] = { 64 * 1024, 1 << 20, 128 * 1024, 64 * 1024, 4 << 20 };
    uint64_t last = 0;
    for (size_t n = 0; n < sizeof sizes / sizeof *sizes; n++) {
        options.segment_size = sizes[n];
        options.ring_size = sizes[n] * 2;
        options.spares = n;
        twal_log *log = t_open(dir, &options);
        t_append_many(log, 40, 1000);
        last += 40;
        t_ok(twal_roll(log));
        t_append_many(log, 1, 1000);
        last++;
        t_expect_many(log, 1, last, 1000);
        t_equal(t_file_size(t_active(dir).path), sizes[n]);
        t_close(log);
    }
    t_expect_log(dir, 1, last, 1000);
}

/* Another block size than the log's: INVAL, and the log stays as it is. */
static void block_sizes(void)
{
    static const uint32_t sizes[] = { 4096, 8192, 65536 };
    for (size_t n = 0; n < 3; n++) {
        char name[32];
        twal_log *log = NULL;
        snprintf(name, sizeof name, "block-%u", sizes[n]);
        const char *dir = t_path(name);
        twal_options options = t_options();
        options.block_size = sizes[n];
        options.segment_size = T_MIB;
        log = t_open(dir, &options);
        t_equal(t_stats(log).block_size, sizes[n]);
        t_append_many(log, 30, 1000);
        t_close(log);
        uint64_t before = t_dir_sum(dir);
        for (size_t other = 0; other < 3; other++) {
            if (other == n)
                continue;
            log = NULL;
            options.block_size = sizes[other];
            t_code(twal_open(dir, &options, &log), TWAL_E_INVAL);
            options.flags = TWAL_OPEN_READ_ONLY;
            t_code(twal_open(dir, &options, &log), TWAL_E_INVAL);
            options.flags = 0;
            t_check(!log);
        }
        t_equal(t_dir_sum(dir), before);
        options.block_size = 0;
        log = t_open(dir, &options);
        t_equal(t_stats(log).block_size, sizes[n]);
        t_expect_many(log, 1, 30, 1000);
        t_append_many(log, 1, 1000);
        t_close(log);
        t_expect_log(dir, 1, 31, 1000);
    }
}

/* 512 where the device takes it; where not, it says so and creates nothing. */
static void block_of_512(void)
{
    twal_options options = t_options();
    twal_log *log = NULL;
    options.block_size = 512;
    options.segment_size = 64 * T_KIB;
    int code = twal_open(t_path("512"), &options, &log);
    if (code != TWAL_OK) {
        t_code(code, TWAL_E_INVAL);
        t_check(!t_exists(t_path("512")));
        return;
    }
    t_append_many(log, 300, 100);
    t_close(log);
    t_expect_log(t_path("512"), 1, 300, 100);
}

/* Only the last component is created: directory 0700, files 0600, less the umask. */
static void permissions(void)
{
    struct stat about;
    twal_options options = t_options_small();
    mode_t old = umask(0);
    t_close(t_open(t_path("open-mask"), &options));
    t_check(stat(t_path("open-mask"), &about) == 0);
    t_equal(about.st_mode & 07777, 0700);
    size_t count;
    t_segment *list = t_segments(t_path("open-mask"), &count);
    for (size_t n = 0; n < count; n++) {
        t_check(stat(list[n].path, &about) == 0);
        t_equal(about.st_mode & 07777, 0600);
    }
    umask(0277);
    twal_log *log = NULL;
    if (geteuid() == 0) {
        t_ok(twal_open(t_path("tight-mask"), &options, &log));
        t_close(log);
        t_check(stat(t_path("tight-mask"), &about) == 0);
        t_equal(about.st_mode & 07777, 0500);
        t_check(stat(t_active(t_path("tight-mask")).path, &about) == 0);
        t_equal(about.st_mode & 07777, 0400);
    }
    umask(old);
}

int main(void)
{
    t_begin();
    ranges();
    defaults();
    record_size_max();
    sizes_change();
    block_sizes();
    block_of_512();
    permissions();
    return t_end();
}
