/* See helpers.h. */
#include "helpers.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdarg.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

static char scratch[400];
static pid_t test_pid; /* the process that called t_begin(), not its children */
static uint64_t seed;
static const char *mounted;

/* Memory that helpers hand out and nobody gives back: kept here so that a leak
 * checker sees only what twal leaks. */
static struct kept {
    struct kept *next;
} *kept;
static pthread_mutex_t kept_lock = PTHREAD_MUTEX_INITIALIZER;

void *t_keep(size_t size)
{
    struct kept *block = calloc(1, sizeof *block + size);
    if (!block)
        t_fail(__FILE__, __LINE__, "no memory for %zu bytes", size);
    pthread_mutex_lock(&kept_lock);
    block->next = kept;
    kept = block;
    pthread_mutex_unlock(&kept_lock);
    return block + 1;
}

static void free_kept(void)
{
    while (kept) {
        struct kept *next = kept->next;
        free(kept);
        kept = next;
    }
}

/* ---- begin and end ---- */

static void make_dirs(const char *path)
{
    char part[sizeof scratch];
    snprintf(part, sizeof part, "%s", path);
    for (char *slash = part + 1; (slash = strchr(slash, '/')); slash++) {
        *slash = 0;
        if (mkdir(part, 0755) && errno != EEXIST)
            t_fail(__FILE__, __LINE__, "mkdir %s: %s", part, strerror(errno));
        *slash = '/';
    }
    if (mkdir(part, 0755) && errno != EEXIST)
        t_fail(__FILE__, __LINE__, "mkdir %s: %s", part, strerror(errno));
}

void t_begin(void)
{
    const char *given = getenv("TWAL_SEED");
    const char *base = getenv("TWAL_TEST_DIR");
    struct timespec now;

    setvbuf(stdout, NULL, _IOLBF, 0);
    clock_gettime(CLOCK_REALTIME, &now);
    seed = given ? strtoull(given, NULL, 0) : (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
    printf("TWAL_SEED=%" PRIu64 "\n", seed);

    test_pid = getpid();
    snprintf(scratch, sizeof scratch, "%s/%s.%d", base && *base ? base : "build/c-tests-data",
             program_invocation_short_name, (int)test_pid);
    make_dirs(scratch);
    char *absolute = realpath(scratch, NULL);
    t_check(absolute && strlen(absolute) < sizeof scratch);
    snprintf(scratch, sizeof scratch, "%s", absolute);
    free(absolute);
}

static void unmount(void)
{
    if (mounted)
        umount2(mounted, MNT_DETACH);
    mounted = NULL;
}

int t_end(void)
{
    unmount();
    t_dir_remove(scratch);
    free_kept();
    return 0;
}

void t_skip(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    printf("skipped: ");
    vprintf(format, args);
    printf("\n");
    va_end(args);
    unmount();
    t_dir_remove(scratch);
    fflush(NULL);
    _exit(77);
}

void t_fail(const char *file, int line, const char *format, ...)
{
    va_list args;
    twal_error error = TWAL_ERROR_INIT;

    flockfile(stderr);
    fprintf(stderr, "%s:%d: failed: ", file, line);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fprintf(stderr, "\n");
    if (!twal_last_error(&error) && error.code)
        fprintf(stderr,
                "  twal's last error on this thread: %d (%s), errno %d, segment %" PRIu64
                ", offset %" PRIu64 ", seq %" PRIu64 ": %s\n",
                error.code, twal_strerror(error.code), error.os_errno, error.segment, error.offset,
                error.seq, error.text);
    if (getpid() == test_pid)
        fprintf(stderr, "  TWAL_SEED=%" PRIu64 ", files left in %s\n", seed, scratch);
    funlockfile(stderr);
    fflush(NULL);
    _exit(1);
}

/* ---- checks ---- */

void t_equal_at(const char *file, int line, const char *got_text, uint64_t got,
                const char *want_text, uint64_t want)
{
    if (got != want)
        t_fail(file, line, "%s is %" PRIu64 " (%" PRId64 "), %s is %" PRIu64, got_text, got,
               (int64_t)got, want_text, want);
}

void t_code_at(const char *file, int line, const char *call, int got, int want)
{
    if (got != want)
        t_fail(file, line, "%s is %d (%s), not %d (%s)", call, got, twal_strerror(got), want,
               twal_strerror(want));
    if (want < 0) {
        twal_error error = TWAL_ERROR_INIT;
        if (twal_last_error(&error) != TWAL_OK || error.code != want)
            t_fail(file, line, "%s is %d, but twal_last_error() says %d", call, want, error.code);
        if (!memchr(error.text, 0, sizeof error.text) || !error.text[0])
            t_fail(file, line, "%s is %d, and twal_last_error() has no text", call, want);
    }
}

uint64_t t_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

void t_pause(void)
{
    struct timespec millisecond = { 0, 1000000 };
    nanosleep(&millisecond, NULL);
}

unsigned t_thin(void)
{
    return getenv("TWAL_TEST_THIN") != NULL ? 5 : 1;
}

/* ---- chance: splitmix64 ---- */

uint64_t t_mix(uint64_t x)
{
    x ^= x >> 30;
    x *= UINT64_C(0xbf58476d1ce4e5b9);
    x ^= x >> 27;
    x *= UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

uint64_t t_seed(void)
{
    return seed;
}

t_random t_random_new(uint64_t salt)
{
    return (t_random){ t_mix(seed ^ t_mix(salt + 1)) };
}

uint64_t t_random_next(t_random *random)
{
    random->state += UINT64_C(0x9e3779b97f4a7c15);
    return t_mix(random->state);
}

uint64_t t_random_below(t_random *random, uint64_t limit)
{
    return t_random_next(random) % limit;
}

/* ---- payloads: three numbers, their sum, then what follows from them ---- */

void t_payload_head(uint64_t head[4], size_t len, uint64_t writer, uint64_t number)
{
    head[0] = writer;
    head[1] = number;
    head[2] = len;
    head[3] = t_mix(writer ^ t_mix(number ^ t_mix(len)));
}

void t_payload_fill(void *data, size_t len, uint64_t writer, uint64_t number)
{
    unsigned char *bytes = data;
    uint64_t head[4];
    t_payload_head(head, len, writer, number);
    memcpy(bytes, head, len < sizeof head ? len : sizeof head);
    t_random stream = { head[3] };
    for (size_t at = sizeof head; at < len; at += 8) {
        uint64_t word = t_random_next(&stream);
        memcpy(bytes + at, &word, len - at < 8 ? len - at : 8);
    }
}

bool t_payload_read(const void *data, size_t len, uint64_t *writer, uint64_t *number)
{
    const unsigned char *bytes = data;
    uint64_t found[4], head[4];
    if (len < sizeof found)
        return false;
    memcpy(found, bytes, sizeof found);
    t_payload_head(head, len, found[0], found[1]);
    if (memcmp(found, head, sizeof head) != 0)
        return false;
    t_random stream = { head[3] };
    for (size_t at = sizeof head; at < len; at += 8) {
        uint64_t word = t_random_next(&stream);
        if (memcmp(bytes + at, &word, len - at < 8 ? len - at : 8) != 0)
            return false;
    }
    *writer = found[0];
    *number = found[1];
    return true;
}

/* ---- logs ---- */

const char *t_path(const char *name)
{
    size_t size = strlen(scratch) + strlen(name) + 2;
    char *path = t_keep(size);
    snprintf(path, size, "%s/%s", scratch, name);
    return path;
}

twal_options t_options(void)
{
    twal_options options = TWAL_OPTIONS_INIT;
    const char *engine = getenv("TWAL_TEST_ENGINE");
    if (engine && !strcmp(engine, "uring"))
        options.io_engine = TWAL_IO_URING;
    else if (engine && !strcmp(engine, "blocking"))
        options.io_engine = TWAL_IO_BLOCKING;
    return options;
}

twal_options t_options_small(void)
{
    twal_options options = t_options();
    options.segment_size = 64 * T_KIB;
    return options;
}

twal_options t_options_quiet(void)
{
    twal_options options = t_options();
    options.segment_size = T_MIB;
    options.idle_mark_us = UINT64_C(3600) * 1000 * 1000;
    options.batch_delay_us = UINT64_C(3600) * 1000 * 1000;
    options.batch_records = 1000000;
    options.flush_interval_ms = 3600 * 1000;
    return options;
}

twal_options t_options_small_quiet(void)
{
    twal_options options = t_options_quiet();
    options.segment_size = 64 * T_KIB;
    return options;
}

twal_log *t_open(const char *dir, const twal_options *options)
{
    twal_log *log = NULL;
    t_ok(twal_open(dir, options, &log));
    t_check(log);
    return log;
}

twal_log *t_open_quiet(const char *name)
{
    twal_options options = t_options_quiet();
    options.durability = TWAL_GROUP;
    return t_open(t_path(name), &options);
}

twal_log *t_open_read_only(const char *dir)
{
    twal_options options = t_options();
    options.flags = TWAL_OPEN_READ_ONLY;
    return t_open(dir, &options);
}

twal_sink *t_sink_open(const char *dir)
{
    twal_options log_options = t_options();
    twal_sink_options options = TWAL_SINK_OPTIONS_INIT;
    twal_sink *sink;
    options.flags = log_options.flags;
    options.io_engine = log_options.io_engine;
    t_ok(twal_sink_open(dir, &options, &sink));
    return sink;
}

twal_ship_position t_sink_position(twal_sink *sink)
{
    twal_ship_position position = TWAL_SHIP_POSITION_INIT;
    t_ok(twal_sink_position(sink, &position));
    return position;
}

void t_close(twal_log *log)
{
    t_ok(twal_close(log));
}

uint64_t t_append(twal_log *log, size_t len, uint64_t writer, uint64_t number, uint32_t flags)
{
    twal_entry entry = TWAL_ENTRY_INIT;
    uint64_t seq = 0;
    void *data = malloc(len + 1);
    t_check(data);
    t_payload_fill(data, len, writer, number);
    entry.data = data;
    entry.len = len;
    entry.flags = flags;
    t_ok(twal_append_entry(log, &entry, &seq));
    free(data);
    return seq;
}

void t_append_many(twal_log *log, uint64_t count, size_t len)
{
    for (uint64_t n = 0; n < count; n++) {
        uint64_t next = twal_last_seq(log) + 1;
        t_equal(t_append(log, len, 1, next, 0), next);
    }
}

twal_error t_last_error(void)
{
    twal_error error = TWAL_ERROR_INIT;
    t_ok(twal_last_error(&error));
    return error;
}

twal_stats t_stats(const twal_log *log)
{
    twal_stats stats = TWAL_STATS_INIT;
    t_ok(twal_stats_get(log, &stats));
    return stats;
}

uint64_t t_metric(const char *text, const char *name)
{
    char begin[100];
    snprintf(begin, sizeof(begin), "\n%s ", name);
    const char *line = strstr(text, begin);
    if (!line)
        t_fail(__FILE__, __LINE__, "no metric %s", name);
    return strtoull(line + strlen(begin), NULL, 10);
}

twal_recovery t_recovery(const twal_log *log)
{
    twal_recovery report = TWAL_RECOVERY_INIT;
    t_ok(twal_recovery_get(log, &report));
    return report;
}

int t_read(twal_log *log, uint64_t from_seq, t_seen *seen, t_record_fn *fn, void *arg)
{
    twal_iter *iter = NULL;
    twal_record record;
    t_seen counted = { 0, 0, 0 };
    int answer = twal_recover_iter(log, from_seq, &iter);

    while (answer == TWAL_OK && (answer = twal_iter_next(iter, &record)) == 1) {
        if (counted.count == 0)
            counted.first = record.seq;
        else
            t_equal(record.seq, counted.last + 1);
        t_check(record.data);
        t_equal((uintptr_t)record.data % 8, 0);
        counted.last = record.seq;
        counted.count++;
        if (fn)
            fn(&record, arg);
        answer = TWAL_OK;
    }
    if (counted.count && from_seq)
        t_equal(counted.first, from_seq);
    if (seen)
        *seen = counted;
    twal_iter_close(iter);
    return answer;
}

void t_record_of_many(const twal_record *record, void *len)
{
    uint64_t writer = 0, number = 0;
    t_equal(record->len, *(size_t *)len);
    t_check(t_payload_read(record->data, record->len, &writer, &number));
    t_equal(writer, 1);
    t_equal(number, record->seq);
    t_equal(record->type, 0x0100);
    t_equal(record->stream, 0);
    t_equal(record->flags, 0);
}

void t_expect_many(twal_log *log, uint64_t first, uint64_t last, size_t len)
{
    t_seen seen;
    t_equal(twal_first_seq(log), first);
    t_equal(twal_last_seq(log), last);
    t_ok(t_read(log, 0, &seen, t_record_of_many, &len));
    t_equal(seen.count, last + 1 - first);
    if (seen.count) {
        t_equal(seen.first, first);
        t_equal(seen.last, last);
    }
}

void t_expect_log(const char *dir, uint64_t first, uint64_t last, size_t len)
{
    twal_log *log = t_open_read_only(dir);
    t_expect_many(log, first, last, len);
    t_close(log);
}

/* ---- threads and children ---- */

pthread_t t_thread(void *(*run)(void *), void *arg)
{
    pthread_t thread;
    int failed = pthread_create(&thread, NULL, run, arg);
    t_equal(failed, 0);
    return thread;
}

void t_join(pthread_t thread)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += T_PATIENCE_MS / 1000;
    int failed = pthread_timedjoin_np(thread, NULL, &until);
    if (failed)
        t_fail(__FILE__, __LINE__, "a thread did not end: %s", strerror(failed));
}

pid_t t_thread_id(void)
{
    return (pid_t)syscall(SYS_gettid);
}

static char thread_state(pid_t thread_id)
{
    char path[64], line[512];
    snprintf(path, sizeof path, "/proc/self/task/%d/stat", (int)thread_id);
    FILE *file = fopen(path, "re");
    if (!file)
        return 0;
    size_t len = fread(line, 1, sizeof line - 1, file);
    fclose(file);
    line[len] = 0;
    char *name_end = strrchr(line, ')');
    return name_end && name_end[1] ? name_end[2] : 0;
}

bool t_is_running(pid_t thread_id)
{
    return thread_state(thread_id) == 'R';
}

void t_await_asleep(pid_t thread_id)
{
    int asleep = 0;
    uint64_t deadline = t_now_ns() + (uint64_t)T_PATIENCE_MS * 1000000;
    while (asleep < 5) {
        char state = thread_state(thread_id);
        asleep = state == 'S' || state == 'D' ? asleep + 1 : 0;
        if (t_now_ns() > deadline)
            t_fail(__FILE__, __LINE__, "thread %d never waits", (int)thread_id);
        t_pause();
    }
}

pid_t t_fork(void (*fn)(void *), void *arg)
{
    fflush(NULL);
    pid_t child = fork();
    t_check(child >= 0);
    if (child == 0) {
        fn(arg);
        fflush(NULL);
        _exit(0);
    }
    return child;
}

struct early {
    void (*fn)(void *);
    void *arg;
    int told, go;
};

static void begin_when_told(void *arg)
{
    struct early *early = arg;
    char byte;
    close(early->go);
    t_check(read(early->told, &byte, 1) == 1);
    early->fn(early->arg);
}

t_waiting t_fork_early(void (*fn)(void *), void *arg)
{
    int ends[2];
    t_check(pipe2(ends, O_CLOEXEC) == 0);
    struct early early = { fn, arg, ends[0], ends[1] };
    t_waiting child = { t_fork(begin_when_told, &early), ends[1] };
    close(ends[0]);
    return child;
}

pid_t t_go(t_waiting *child)
{
    t_check(write(child->go, "", 1) == 1);
    close(child->go);
    return child->pid;
}

int t_wait_child(pid_t child, int ms)
{
    int status = 0;
    uint64_t deadline = t_now_ns() + (uint64_t)ms * 1000000;
    pid_t ended;
    while ((ended = waitpid(child, &status, WNOHANG)) == 0) {
        if (t_now_ns() > deadline) {
            kill(child, SIGKILL);
            waitpid(child, &status, 0);
            t_fail(__FILE__, __LINE__, "the child did not end within %d ms", ms);
        }
        t_pause();
    }
    t_check(ended == child);
    return status;
}

void t_wait_child_ok(pid_t child)
{
    int status = t_wait_child(child, T_PATIENCE_MS);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        t_fail(__FILE__, __LINE__, "the child failed: %s %d",
               WIFEXITED(status) ? "exit" : "signal",
               WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
}

void t_kill_child(pid_t child)
{
    kill(child, SIGKILL);
    t_wait_child(child, T_PATIENCE_MS);
}

struct crash {
    void (*fn)(void *);
    void *arg;
};

static void crash(void *arg)
{
    struct crash *crash = arg;
    crash->fn(crash->arg);
    fflush(NULL);
    kill(getpid(), SIGKILL);
}

void t_crash_after(void (*fn)(void *), void *arg)
{
    struct crash both = { fn, arg };
    int status = t_wait_child(t_fork(crash, &both), 3 * T_PATIENCE_MS);
    if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
        t_fail(__FILE__, __LINE__, "the child failed before it was killed");
}

int t_run(const char *const argv[])
{
    fflush(NULL);
    pid_t child = fork();
    t_check(child >= 0);
    if (child == 0) {
        int null = open("/dev/null", O_RDWR);
        dup2(null, 0);
        dup2(2, 1);
        execvp(argv[0], (char *const *)(uintptr_t)argv);
        _exit(127);
    }
    int status = t_wait_child(child, 3 * T_PATIENCE_MS);
    return WIFEXITED(status) && WEXITSTATUS(status) != 127 ? WEXITSTATUS(status) : -1;
}

bool t_engine_works(uint32_t engine)
{
    twal_options options = TWAL_OPTIONS_INIT;
    twal_log *log = NULL;
    const char *dir = t_path("engine-probe");
    options.io_engine = engine;
    options.segment_size = 64 * T_KIB;
    int code = twal_open(dir, &options, &log);
    if (code == TWAL_E_UNSUPPORTED)
        return false;
    t_ok(code);
    t_close(log);
    t_dir_remove(dir);
    return true;
}

const char *t_engine_name(uint32_t engine)
{
    return engine == TWAL_IO_URING ? "io_uring" : engine == TWAL_IO_BLOCKING ? "blocking" : "auto";
}

/* ---- faults and descriptors ---- */

void t_fail_writes(bool fail)
{
    static rlim_t before;
    struct rlimit limit;
    t_check(getrlimit(RLIMIT_FSIZE, &limit) == 0);
    if (fail) {
        signal(SIGXFSZ, SIG_IGN);
        before = limit.rlim_cur;
    }
    limit.rlim_cur = fail ? 4096 : before;
    t_check(setrlimit(RLIMIT_FSIZE, &limit) == 0);
}

bool t_readable(int fd, int ms)
{
    struct pollfd one = { fd, POLLIN, 0 };
    int ready = poll(&one, 1, ms);
    t_check(ready >= 0);
    return ready == 1 && (one.revents & POLLIN);
}

/* ---- a file system of our own ---- */

void t_private_mounts(void)
{
    if (unshare(CLONE_NEWNS) || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL))
        t_skip("no mount namespace: %s", strerror(errno));
}

const char *t_mount(const char *file_system, uint64_t size)
{
    char command[64];
    snprintf(command, sizeof command, "mkfs.%s", file_system);
    const char *image = t_path("image"), *place = t_path("mount");
    /* No blocks kept for root, who runs this. */
    bool ext4 = !strcmp(file_system, "ext4");
    const char *const make_ext4[] = { command, "-q", "-F", "-m", "0", image, NULL };
    const char *const make_other[] = { command, "-q", "-f", image, NULL };
    const char *const attach[] = { "mount", "-o", "loop", image, place, NULL };

    if (geteuid() != 0)
        t_skip("mounting a file system needs root");
    t_private_mounts();
    int fd = open(image, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    t_check(fd >= 0);
    t_check(ftruncate(fd, (off_t)size) == 0);
    close(fd);
    t_check(mkdir(place, 0700) == 0);
    if (t_run(ext4 ? make_ext4 : make_other) != 0)
        t_skip("%s failed or is missing", command);
    if (t_run(attach) != 0)
        t_skip("no loop devices here");
    mounted = place;
    return place;
}
