/*
 * t:timeout 900
 * t:tsan no, it reserves terabytes
 * t:valgrind no, it has limits of its own on memory
 * t:asan no, it reserves terabytes
 *
 * Goal: whatever is the step at which a process runs out of descriptors or of
 * address space, the call that needed them says TWAL_E_NOMEM; nothing aborts or
 * hangs, what was acknowledged stays, and with the limit gone all is well.
 * Method: a child for each limit, from "nothing more" until nothing is refused.
 */
#include "helpers.h"

#include <sys/mman.h>
#include <sys/resource.h>

#define LEN 1000

static struct {
    uint64_t last; /* acknowledged */
    bool refused;
} *told;

static uint32_t engine;
static int resource;

static bool allowed(int code)
{
    if (code == TWAL_E_NOMEM || code == TWAL_E_UNSUPPORTED)
        told->refused = true;
    /* Without memory for its rings, the engine asked for is not available. */
    return code >= 0 || code == TWAL_E_NOMEM ||
           (code == TWAL_E_UNSUPPORTED && engine == TWAL_IO_URING && resource == RLIMIT_AS);
}
#define try(call) t_check(allowed(call))

static void use(const char *dir)
{
    twal_options options = t_options_small();
    options.io_engine = engine;
    options.ring_size = 256 * T_KIB;
    twal_log *log = NULL, *beside = NULL;
    int code = twal_open(dir, &options, &log), fd = -1;
    try(code);
    if (code != TWAL_OK)
        return;
    told->last = twal_last_seq(log);
    try(twal_eventfd(log, &fd));
    try(twal_sync_async(log, 0, NULL, NULL));
    for (int n = 0; n < 60; n++) {
        static char data[LEN];
        uint64_t seq = 0;
        t_payload_fill(data, LEN, 1, told->last + 1);
        code = twal_append(log, data, LEN, &seq);
        try(code);
        if (code == TWAL_OK)
            t_equal(seq, ++told->last);
    }
    options.flags = TWAL_OPEN_READ_ONLY;
    twal_log *logs[] = { log, NULL };
    code = twal_open(dir, &options, &beside);
    try(code);
    if (code == TWAL_OK)
        logs[1] = beside;
    for (int n = 0; n < 2 && logs[n]; n++) {
        twal_iter *iter = NULL;
        twal_record record;
        code = twal_recover_iter(logs[n], 0, &iter);
        try(code);
        if (code != TWAL_OK)
            continue;
        while ((code = twal_iter_next(iter, &record)) == 1)
            t_record_of_many(&record, &(size_t){ LEN });
        try(code);
        twal_iter_close(iter);
    }
    if (beside)
        t_ok(twal_close(beside));
    if (fd >= 0)
        close(fd);
    t_ok(twal_close(log));
}

static uint64_t more;

static uint64_t in_use(void)
{
    if (resource == RLIMIT_NOFILE) {
        /* The lowest number that is free is what the next one gets. */
        int fd = dup(0);
        t_check(fd >= 0);
        close(fd);
        return (uint64_t)fd;
    }
    unsigned long long pages = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    t_check(file && fscanf(file, "%llu", &pages) == 1);
    fclose(file);
    return pages * 4096;
}

static void use_limited(void *dir)
{
    struct rlimit before, limit;
    t_check(getrlimit(resource, &before) == 0);
    limit = before;
    limit.rlim_cur = in_use() + more;
    t_check(setrlimit(resource, &limit) == 0);
    use(dir);
    t_check(setrlimit(resource, &before) == 0);
}

static void count_up(int what, const char *name, uint64_t from, uint64_t step)
{
    const char *dir = t_path("log");
    unsigned refused = 0, runs = 0;
    resource = what;
    for (more = from;; more += step) {
        memset(told, 0, sizeof *told);
        t_wait_child_ok(t_fork(use_limited, (void *)(uintptr_t)dir));
        twal_log *log = t_open(dir, &(twal_options)TWAL_OPTIONS_INIT);
        t_check(twal_last_seq(log) >= told->last);
        t_expect_many(log, 1, twal_last_seq(log), LEN);
        t_close(log);
        runs++;
        if (!told->refused)
            break;
        refused++;
        t_dir_remove(dir);
    }
    t_dir_remove(dir);
    printf("%s, %s: %u of %u runs refused something\n", t_engine_name(engine), name, refused, runs);
    t_check(refused > 0);
}

int main(void)
{
    t_begin();
    static const uint32_t engines[] = { TWAL_IO_URING, TWAL_IO_BLOCKING };
    told = mmap(NULL, sizeof *told, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    t_check(told != MAP_FAILED);
    for (int n = 0; n < 2; n++) {
        engine = engines[n];
        if (!t_engine_works(engine)) {
            printf("no %s here\n", t_engine_name(engine));
            continue;
        }
        count_up(RLIMIT_NOFILE, "descriptors", 0, 1);
        count_up(RLIMIT_AS, "address space", 0, 20 * T_KIB);
    }
    return t_end();
}
