#include "lives.h"

#include <fcntl.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#define LEN_MAX (40 * T_KIB)

uint64_t seed;
bool eager;
static int marks;

void mark(const char *format, ...)
{
    char text[200];
    va_list args;
    va_start(args, format);
    int len = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    t_check(len > 0 && (size_t)len < sizeof text && write(marks, text, (size_t)len) == len);
}

uint64_t writer_of(uint64_t life, uint64_t thread)
{
    t_random random = { seed };
    return t_random_next(&random) << 32 | life << 8 | thread;
}

uint64_t life_of(uint64_t writer)
{
    return (uint32_t)writer >> 8;
}

bool is_of_this_run(uint64_t writer)
{
    return writer >> 32 == writer_of(0, 0) >> 32;
}

/* ---- a life ---- */

static twal_options some_options(t_random *random, const char *dir)
{
    static const uint32_t engines[] = { TWAL_IO_AUTO, TWAL_IO_URING, TWAL_IO_BLOCKING };
    twal_options options = TWAL_OPTIONS_INIT;
    options.durability = 1 + (uint32_t)t_random_below(random, 3);
    options.io_engine = engines[t_random_below(random, 3)];
    options.block_size = t_random_below(random, 4) || t_exists(dir) ? 0 : 512;
    options.segment_size = 64 * T_KIB << t_random_below(random, 3);
    options.batch_records = 1 + t_random_below(random, 20);
    options.batch_delay_us = 1 + t_random_below(random, 3000);
    options.flush_interval_ms = 1 + t_random_below(random, 30);
    options.idle_mark_us = t_random_below(random, 2) ? 500 : 10000;
    options.max_retained_segments = 1 + t_random_below(random, 3);
    options.spares = 1 + t_random_below(random, 2);
    options.flags = t_random_below(random, 3) ? 0 : TWAL_OPEN_VERIFY;
    return options;
}

twal_log *open_somehow(const char *dir, t_random *random, twal_options *options_out)
{
    twal_options options = some_options(random, dir);
    twal_log *log = NULL;
    if (twal_open(dir, &options, &log) == TWAL_E_UNSUPPORTED) { /* no io_uring, or no blocks of 512 bytes */
        options.io_engine = TWAL_IO_AUTO;
        options.block_size = 0;
    }
    *options_out = options;
    return log ? log : t_open(dir, &options);
}

uint64_t some_len(t_random *random, uint64_t len_max)
{
    static const uint64_t limits[] = { 100, 600, 4000, 4000, 12000, LEN_MAX };
    uint64_t limit = limits[t_random_below(random, 6)];
    return T_PAYLOAD_MIN + t_random_below(random, (limit < len_max ? limit : len_max) - T_PAYLOAD_MIN);
}

void run_threads(void *(*use)(void *), void *const args[], uint64_t count, int64_t *calls_left, bool may_end, t_random *random)
{
    pthread_t running[THREADS_MAX];
    uint64_t end = t_random_below(random, 3);

    t_check(count <= THREADS_MAX);
    if (may_end && end == 1)
        *calls_left += 1000000;
    for (uint64_t n = 0; n < count; n++)
        running[n] = t_thread(use, args[n]);
    if (may_end && end == 1) { /* with all threads inside twal */
        while (__atomic_load_n(calls_left, __ATOMIC_RELAXED) > 1000000)
            usleep(100);
        kill(getpid(), SIGKILL);
    }
    for (uint64_t n = 0; n < count; n++)
        pthread_join(running[n], NULL); /* whoever started this program has the patience */
    if (may_end && end == 2)
        _exit(0);
}

/* ---- write ---- */

/* Names come and go on the same file system, so that its journal has more in
 * it than the log's, and is written at other times. */
_Noreturn static void be_a_neighbour(const char *dir)
{
    char from[600], to[600], data[5000] = "neighbour";
    t_random random = { seed };
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (uint64_t n = 0;; n++) {
        snprintf(from, sizeof from, "%s.new", dir);
        snprintf(to, sizeof to, "%s.old%" PRIu64, dir, n % 7);
        int fd = open(from, O_WRONLY | O_CREAT | O_TRUNC, 0600);
        t_check(fd >= 0 && write(fd, data, sizeof data) == (ssize_t)sizeof data);
        if (t_random_below(&random, 20) == 0)
            t_check(fsync(fd) == 0);
        close(fd);
        t_check(t_random_below(&random, 2) ? rename(from, to) == 0 : unlink(from) == 0);
        usleep((useconds_t)t_random_below(&random, 20000));
    }
}

static void be_written(const struct program *program, const char *dir, uint64_t life, int64_t calls)
{
    t_random random = { seed ^ writer_of(life, 254) };
    pid_t neighbour = fork();
    if (neighbour == 0)
        be_a_neighbour(dir);
    for (; calls > 0; life++) {
        uint64_t some = 10 + t_random_below(&random, (uint64_t)calls);
        int status;
        pid_t child = fork();
        t_check(child >= 0);
        if (child == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            program->live(dir, life, some, true);
            _exit(0);
        }
        t_check(waitpid(child, &status, 0) == child);
        t_check(WIFEXITED(status) ? WEXITSTATUS(status) == 0 : WTERMSIG(status) == SIGKILL);
        calls -= (int64_t)some;
    }
    kill(neighbour, SIGKILL);
    waitpid(neighbour, NULL, 0);
    printf("%" PRIu64 "\n", life); /* the next one's number */
}

/* ---- check ---- */

static void read_marks(const struct program *program, int fd)
{
    char line[200];
    t_check(fd >= 0 && lseek(fd, 0, SEEK_SET) == 0);
    FILE *file = fdopen(fd, "r");
    t_check(file);
    while (fgets(line, sizeof line, file))
        program->read_mark(line);
    fclose(file);
}

void live_once_more(const struct program *program, const char *dir, uint64_t life, uint64_t calls)
{
    marks = memfd_create("marks", MFD_CLOEXEC);
    program->live(dir, life, calls, false);
    read_marks(program, marks);
}

int run_program(int argc, char **argv, const struct program *program)
{
    if (argc < 6)
        return 2;
    setvbuf(stdout, NULL, _IOLBF, 0);
    seed = strtoull(argv[4], NULL, 0);
    uint64_t life = strtoull(argv[5], NULL, 0);
    if (!strcmp(argv[1], "check")) {
        read_marks(program, open(argv[3], O_RDONLY | O_CLOEXEC));
        program->check(argv[2], life);
    } else {
        eager = argc > 7 && !strcmp(argv[7], "eager");
        marks = open(argv[3], O_WRONLY | O_CLOEXEC);
        t_check(argc > 6 && marks >= 0);
        be_written(program, argv[2], life, strtoll(argv[6], NULL, 0));
    }
    return 0;
}
