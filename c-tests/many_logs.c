/*
 * t:timeout 900
 * t:tsan no, it counts memory
 * t:valgrind no, it counts threads
 * t:asan no, it counts memory
 *
 * Goal: 800 logs in one process: each opens, takes records and closes; what each
 * costs in descriptors, threads, memory and disk is bounded, and given back. And a
 * new log of the default size writes a few MiB at open, not all of its segment.
 */
#include "helpers.h"

#include <sys/resource.h>
#include <sys/stat.h>

#define LOGS 800
#define SEGMENT (64 * T_KIB)

/* The most that a log may cost. */
#define DESCRIPTORS_MAX 10 /* directory, segments, spare, kept room, rings */
#define THREADS_MAX 2
#define WRITTEN_MAX (5 * T_MIB)

static uint64_t status_of(const char *file, const char *word)
{
    char line[256];
    uint64_t value = UINT64_MAX;
    FILE *from = fopen(file, "re");
    t_check(from);
    while (fgets(line, sizeof line, from))
        if (!strncmp(line, word, strlen(word)))
            value = strtoull(line + strlen(word), NULL, 10);
    fclose(from);
    return value;
}

static uint64_t blocks_of(const char *dir)
{
    size_t count;
    uint64_t bytes = 0;
    struct stat about;
    t_segment *list = t_segments(dir, &count);
    for (size_t n = 0; n < count; n++) {
        t_check(stat(list[n].path, &about) == 0);
        bytes += (uint64_t)about.st_blocks * 512;
    }
    return bytes;
}

/* What the open waits for; the keeper goes on with it on its own thread. */
static void one_of_default_size(void)
{
    uint64_t before = status_of("/proc/thread-self/io", "write_bytes:");
    if (before == UINT64_MAX) {
        printf("no write_bytes in /proc/thread-self/io\n");
        return;
    }
    twal_options options = t_options();
    twal_log *log = t_open(t_path("default"), &options);
    uint64_t written = status_of("/proc/thread-self/io", "write_bytes:") - before;
    printf("a new log of the default size writes %" PRIu64 " KiB at open\n", written / 1024);
    t_check(written <= WRITTEN_MAX);
    t_close(log);
    t_dir_remove(t_path("default"));
}

int main(void)
{
    t_begin();
    static twal_log *logs[LOGS];
    static char names[LOGS][16];
    struct rlimit limit;
    t_check(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    limit.rlim_cur = limit.rlim_max;
    t_check(setrlimit(RLIMIT_NOFILE, &limit) == 0);
    if (limit.rlim_cur < (DESCRIPTORS_MAX + 1) * LOGS)
        t_skip("only %llu descriptors", (unsigned long long)limit.rlim_cur);

    one_of_default_size();
    size_t descriptors = t_count_entries("/proc/self/fd"), threads = t_count_entries("/proc/self/task");
    uint64_t rss = status_of("/proc/self/status", "VmRSS:"), began = t_now_ns();
    twal_options options = t_options();
    options.segment_size = SEGMENT;
    for (int n = 0; n < LOGS; n++) {
        snprintf(names[n], sizeof names[n], "log-%d", n);
        logs[n] = t_open(t_path(names[n]), &options);
        t_append_many(logs[n], 1, 1000);
    }
    printf("opened in %.1f s\n", (double)(t_now_ns() - began) / 1e9);
    for (int n = LOGS; n-- > 0;)
        t_append_many(logs[n], 2, 1000);
    size_t now_descriptors = t_count_entries("/proc/self/fd") - descriptors;
    size_t now_threads = t_count_entries("/proc/self/task") - threads;
    uint64_t now_rss = status_of("/proc/self/status", "VmRSS:") - rss;
    printf("%d logs: %zu descriptors, %zu threads, %" PRIu64 " KiB resident\n", LOGS, now_descriptors,
           now_threads, now_rss);
    t_check(now_descriptors <= DESCRIPTORS_MAX * LOGS);
    t_check(now_threads <= THREADS_MAX * LOGS);
    /* The rings are reserved, 32 MiB each, and touched as used. */
    t_check(now_rss <= 1024 * LOGS);
    for (int n = 0; n < LOGS; n += 100)
        t_check(blocks_of(t_path(names[n])) <= 2 * SEGMENT);
    for (int n = 0; n < LOGS; n++)
        t_close(logs[n]);
    t_equal(t_count_entries("/proc/self/fd"), descriptors);
    t_await(t_count_entries("/proc/self/task") == threads, T_PATIENCE_MS);
    for (int n = 0; n < LOGS; n += 50)
        t_expect_log(t_path(names[n]), 1, 3, 1000);
    return t_end();
}
