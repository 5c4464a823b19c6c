/*
 * A log that is written while its acknowledgements are noted elsewhere, and
 * the judge of what is left of it.
 *
 *   log write LOG MARKS SEED FIRST_LIFE CALLS [eager]
 *   log check LOG MARKS SEED LIFE
 *
 * write: lives from the seed, until about CALLS calls were made: each opens the
 * log, uses it from several threads, and closes it or ends without that.
 * "eager" is the canary: it calls records acknowledged that are only accepted.
 *
 * check: every promise that MARKS notes is kept; then the log is used for one
 * more life, and everything holds again.
 *
 * Marks, one write() each, so that they stand in the order of what happened:
 *
 *   O life first last              opened: the log holds first to last
 *   A seq count writer number      acknowledged: this append is durable
 *   D seq                          everything up to seq is durable
 *   T seq                          from here on, what is below seq may be gone
 *   h seq, H seq                   the hold may be there; is there, at seq or behind it
 *
 * A mark of a promise is made after it was given, T and h before the call.
 */
#include "helpers.h"

#include <fcntl.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#define THREADS_MAX 4
#define BATCH_MAX 6
#define LEN_MAX (40 * T_KIB)

static uint64_t seed;
static int marks;
static bool eager;

/* ---- who wrote a record, and as which of its appends ---- */

/* Of the seed, so that nothing of another run is taken for ours. */
static uint64_t writer_of(uint64_t life, uint64_t thread)
{
    t_random random = { seed };
    return t_random_next(&random) << 32 | life << 8 | thread;
}

static uint64_t life_of(uint64_t writer)
{
    return (uint32_t)writer >> 8;
}

/* The record `index` of `count` in the writer's append number `call`. */
static uint64_t number_of(uint64_t call, uint64_t index, uint64_t count)
{
    return call << 16 | index << 8 | count;
}

static uint64_t index_of(uint64_t number)
{
    return number >> 8 & 255;
}

static uint64_t count_of(uint64_t number)
{
    return number & 255;
}

__attribute__((format(printf, 1, 2))) static void mark(const char *format, ...)
{
    char text[120];
    va_list args;
    va_start(args, format);
    int len = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    t_check(write(marks, text, (size_t)len) == len);
}

/* ---- one life ---- */

struct life {
    twal_log *log;
    uint64_t number, len_max;
    uint32_t durability;
    int64_t calls_left;
};

struct thread {
    struct life *life;
    uint64_t number;
};

static uint64_t some_len(t_random *random, uint64_t len_max)
{
    static const uint64_t limits[] = { 100, 600, 4000, 4000, 12000, LEN_MAX };
    uint64_t limit = limits[t_random_below(random, 6)];
    return T_PAYLOAD_MIN + t_random_below(random, (limit < len_max ? limit : len_max) - T_PAYLOAD_MIN);
}

static void append(struct life *life, t_random *random, uint64_t writer, uint64_t call, uint64_t count)
{
    static const uint32_t choices[] = { 0, 0, TWAL_APPEND_SYNC, TWAL_APPEND_NO_SYNC };
    uint32_t flags = choices[t_random_below(random, 4)];
    bool durable = flags ? flags == TWAL_APPEND_SYNC : life->durability == TWAL_SYNC;
    twal_entry entries[BATCH_MAX];
    uint64_t first = 0;

    for (uint64_t index = 0; index < count; index++) {
        uint64_t number = number_of(call, index, count);
        size_t len = some_len(random, life->len_max / count);
        void *data = malloc(len);
        t_check(data);
        t_payload_fill(data, len, writer, number);
        entries[index] = (twal_entry){ .data = data, .len = len, .stream = writer, .flags = flags,
                                       .timestamp = (int64_t)number };
    }
    if (count == 1)
        t_ok(twal_append_entry(life->log, entries, &first));
    else
        t_ok(twal_append_batch(life->log, entries, count, &first));
    if (durable || eager)
        mark("A %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 "\n", first, count, writer, number_of(call, 0, count));
    for (uint64_t index = 0; index < count; index++)
        free((void *)(uintptr_t)entries[index].data);
}

static void trim(twal_log *log, t_random *random)
{
    uint64_t below = twal_durable_seq(log) + 1, back = t_random_below(random, 100);
    below = below > back ? below - back : 1;
    mark("T %" PRIu64 "\n", below);
    t_ok(twal_trim(log, below));
}

/* One thread's: a hold moves forward alone. */
static void hold(twal_log *log, t_random *random)
{
    uint64_t seq = twal_durable_seq(log) + 1, back = t_random_below(random, 100);
    seq = seq > back ? seq - back : 1;
    mark("h %" PRIu64 "\n", seq);
    int code = twal_hold_set(log, "power", seq);
    if (code == TWAL_OK)
        mark("H %" PRIu64 "\n", seq);
    else
        t_check(code == TWAL_E_STATE || code == TWAL_E_TRIMMED);
}

static void *use(void *arg)
{
    struct thread *thread = arg;
    struct life *life = thread->life;
    uint64_t writer = writer_of(life->number, thread->number), call = 0, last;
    t_random random = { seed ^ writer };

    while (__atomic_sub_fetch(&life->calls_left, 1, __ATOMIC_RELAXED) >= 0) {
        uint64_t chance = t_random_below(&random, 100);
        if (chance < 70) {
            append(life, &random, writer, call++, 1);
        } else if (chance < 82) {
            append(life, &random, writer, call++, 2 + t_random_below(&random, BATCH_MAX - 1));
        } else if (chance < 86) {
            last = twal_last_seq(life->log);
            t_ok(twal_sync(life->log, last));
            mark("D %" PRIu64 "\n", last);
        } else if (chance < 90) {
            mark("D %" PRIu64 "\n", twal_durable_seq(life->log));
        } else if (chance < 92) {
            last = twal_last_seq(life->log);
            t_ok(twal_roll(life->log));
            mark("D %" PRIu64 "\n", last);
        } else if (chance < 94 && thread->number == 0) {
            hold(life->log, &random);
        } else if (chance < 96) {
            trim(life->log, &random);
        } else {
            usleep((useconds_t)t_random_below(&random, 4000));
        }
    }
    return NULL;
}

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

/* Opens, uses, and closes.  If it may: from several threads, and ends the
 * process without closing, with calls under way. */
static void live(const char *dir, uint64_t number, uint64_t calls, bool may_end)
{
    t_random random = { seed ^ writer_of(number, 255) };
    twal_options options = some_options(&random, dir);
    twal_recovery found;
    struct life life = { .number = number, .durability = options.durability, .calls_left = (int64_t)calls };
    struct thread threads[THREADS_MAX];
    pthread_t running[THREADS_MAX];
    uint64_t count = may_end ? 1 + t_random_below(&random, THREADS_MAX) : 1, end = t_random_below(&random, 3);

    if (twal_open(dir, &options, &life.log) == TWAL_E_UNSUPPORTED) { /* no io_uring, or no blocks of 512 bytes */
        options.io_engine = TWAL_IO_AUTO;
        options.block_size = 0;
    }
    if (!life.log)
        life.log = t_open(dir, &options);
    found = t_recovery(life.log);
    life.len_max = t_stats(life.log).record_size_max;
    mark("O %" PRIu64 " %" PRIu64 " %" PRIu64 "\n", number, found.first_seq, found.last_seq);

    if (may_end && end == 1)
        life.calls_left += 1000000;
    for (uint64_t n = 0; n < count; n++) {
        threads[n] = (struct thread){ &life, n };
        running[n] = t_thread(use, &threads[n]);
    }
    if (may_end && end == 1) { /* with all threads inside twal */
        while (__atomic_load_n(&life.calls_left, __ATOMIC_RELAXED) > 1000000)
            usleep(100);
        kill(getpid(), SIGKILL);
    }
    for (uint64_t n = 0; n < count; n++)
        pthread_join(running[n], NULL); /* whoever started this program has the patience */
    if (may_end && end == 2)
        _exit(0);
    uint64_t last = twal_last_seq(life.log);
    t_close(life.log);
    mark("D %" PRIu64 "\n", last);
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

static void be_written(const char *dir, uint64_t life, int64_t calls)
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
            live(dir, life, some, true);
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

#define LIVES_MAX 100000

/* What the marks say. */
static struct {
    uint64_t durable, trimmed, first; /* up to; below; the highest first ever reported */
    uint64_t held, hold_asked;        /* the hold is there from here on; at most here */
    struct acknowledged {
        uint64_t writer, number;
    } *acknowledged; /* by seq */
    size_t room;
    struct {
        bool opened;
        uint64_t last;
    } lives[LIVES_MAX];
    bool opened;
} promised;

static void promise(uint64_t seq, uint64_t writer, uint64_t number)
{
    if (seq >= promised.room) {
        size_t room = (seq + 1) * 2;
        promised.acknowledged = realloc(promised.acknowledged, room * sizeof *promised.acknowledged);
        t_check(promised.acknowledged);
        memset(promised.acknowledged + promised.room, 0, (room - promised.room) * sizeof *promised.acknowledged);
        promised.room = room;
    }
    promised.acknowledged[seq] = (struct acknowledged){ writer, number };
}

static void raise_to(uint64_t *what, uint64_t value)
{
    if (value > *what)
        *what = value;
}

static void read_mark(const char *line)
{
    uint64_t a, b, c, d;
    if (sscanf(line, "O %" SCNu64 " %" SCNu64 " %" SCNu64, &a, &b, &c) == 3) {
        t_check(a < LIVES_MAX);
        promised.lives[a].opened = promised.opened = true;
        promised.lives[a].last = c;
        raise_to(&promised.first, b);
        raise_to(&promised.durable, c);
    } else if (sscanf(line, "A %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64, &a, &b, &c, &d) == 4) {
        for (uint64_t index = 0; index < b; index++)
            promise(a + index, c, d + (index << 8));
        raise_to(&promised.durable, a + b - 1);
    } else if (sscanf(line, "D %" SCNu64, &a) == 1) {
        raise_to(&promised.durable, a);
    } else if (sscanf(line, "h %" SCNu64, &a) == 1) {
        raise_to(&promised.hold_asked, a);
    } else if (sscanf(line, "H %" SCNu64, &a) == 1) {
        raise_to(&promised.held, a);
    } else {
        t_check(sscanf(line, "T %" SCNu64, &a) == 1);
        raise_to(&promised.trimmed, a);
    }
}

static void read_marks(int fd)
{
    char line[200];
    t_check(fd >= 0 && lseek(fd, 0, SEEK_SET) == 0);
    FILE *file = fdopen(fd, "r");
    t_check(file);
    while (fgets(line, sizeof line, file))
        read_mark(line);
    fclose(file);
}

/* Follows the records of a log in their order. */
struct judge {
    uint64_t life, writer, number; /* of the record before */
    uint64_t floor, ceiling;       /* this life's numbers: above, up to */
    uint64_t *next;                /* by thread of this life: its next call */
    uint64_t first_seq;
};

/* A life's records lie between what it found and what the next one found. */
static void begin_life(struct judge *judge, uint64_t life)
{
    t_check(life < LIVES_MAX);
    judge->life = life;
    memset(judge->next, 0, 256 * sizeof *judge->next);
    judge->floor = 0;
    judge->ceiling = UINT64_MAX;
    for (uint64_t n = 0; n < LIVES_MAX; n++) {
        if (promised.lives[n].opened && n <= life)
            raise_to(&judge->floor, promised.lives[n].last);
        else if (promised.lives[n].opened && promised.lives[n].last < judge->ceiling)
            judge->ceiling = promised.lives[n].last;
    }
}

#define say_check(expression, ...) \
    do { \
        if (!(expression)) \
            t_fail(__FILE__, __LINE__, __VA_ARGS__); \
    } while (0)

static void judge_record(const twal_record *record, void *arg)
{
    struct judge *judge = arg;
    uint64_t writer, number, seq = record->seq;

    say_check(t_payload_read(record->data, record->len, &writer, &number), "record %" PRIu64 " is not as it was written", seq);
    say_check(writer >> 32 == writer_of(0, 0) >> 32, "record %" PRIu64 " is of another run", seq);
    say_check(record->stream == writer && record->timestamp == (int64_t)number,
              "record %" PRIu64 " has another stream or time than it was written with", seq);

    bool inside = judge->writer && index_of(judge->number) + 1 < count_of(judge->number);
    if (inside)
        say_check(writer == judge->writer && number == judge->number + 256, "record %" PRIu64 " is not the next of its batch", seq);
    else
        say_check(index_of(number) == 0, "record %" PRIu64 " is of a batch that does not begin", seq);
    bool more = index_of(number) + 1 < count_of(number);
    say_check(more == !!(record->flags & TWAL_RECORD_BATCH_CONTINUES), "record %" PRIu64 " says where its batch ends wrongly", seq);

    uint64_t life = life_of(writer);
    say_check(life >= judge->life, "record %" PRIu64 " is of life %" PRIu64 ", behind life %" PRIu64, seq, life, judge->life);
    if (life > judge->life || !judge->writer)
        begin_life(judge, life);
    say_check(seq > judge->floor && seq <= judge->ceiling,
              "record %" PRIu64 " of life %" PRIu64 " does not lie in %" PRIu64 " to %" PRIu64, seq, life, judge->floor + 1, judge->ceiling);

    /* Where the log was trimmed, the first that is seen of a thread may be any of its calls. */
    uint64_t *next = &judge->next[writer & 255], call = number >> 16;
    if (!inside) {
        bool beheaded = *next == 0 && judge->first_seq > judge->floor + 1;
        say_check(call == *next || beheaded, "record %" PRIu64 " is append %" PRIu64 " of its thread, not %" PRIu64, seq, call, *next);
        *next = call + 1;
    }
    if (seq < promised.room && promised.acknowledged[seq].writer)
        say_check(promised.acknowledged[seq].writer == writer && promised.acknowledged[seq].number == number,
                  "record %" PRIu64 " is another one than the one that was acknowledged", seq);
    judge->writer = writer;
    judge->number = number;
}

/* The hold is where it was put, and keeps what it says. */
static void judge_hold(const twal_log *log)
{
    twal_hold hold = TWAL_HOLD_INIT;
    size_t count;
    t_ok(twal_holds(log, &hold, 1, &count));
    say_check(count || !promised.held, "LOST: the hold is not there");
    if (!count)
        return;
    say_check(hold.seq >= promised.held && hold.seq <= promised.hold_asked,
              "the hold is at %" PRIu64 ", and was put at %" PRIu64 " to %" PRIu64, hold.seq, promised.held, promised.hold_asked);
    say_check(twal_first_seq(log) <= hold.seq, "LOST: the log begins at %" PRIu64 ", and is held from %" PRIu64 " on",
              twal_first_seq(log), hold.seq);
}

/* Everything that was promised is there; the last number. */
static uint64_t judge_log(twal_log *log)
{
    uint64_t next[256];
    struct judge judge = { .next = next, .first_seq = twal_first_seq(log) };
    t_seen seen = { 0, 0, 0 };
    uint64_t last = twal_last_seq(log);

    say_check(t_recovery(log).tail != TWAL_TAIL_DAMAGED, "the log is called damaged");
    say_check(last >= promised.durable, "LOST: records up to %" PRIu64 " were acknowledged, the log ends at %" PRIu64, promised.durable, last);
    say_check(judge.first_seq <= promised.trimmed || judge.first_seq == 1,
              "the log begins at %" PRIu64 ", and only what is below %" PRIu64 " was released", judge.first_seq, promised.trimmed);
    say_check(judge.first_seq >= promised.first, "the log begins at %" PRIu64 ", and was opened with %" PRIu64,
              judge.first_seq, promised.first);
    judge_hold(log);
    t_ok(t_read(log, 0, &seen, judge_record, &judge));
    say_check(seen.count == last + 1 - judge.first_seq && (!seen.count || seen.first == judge.first_seq),
              "%" PRIu64 " records are there from %" PRIu64 " on, not %" PRIu64 " to %" PRIu64, seen.count, seen.first, judge.first_seq, last);
    say_check(!judge.writer || index_of(judge.number) + 1 == count_of(judge.number), "the log ends inside a batch");
    return last;
}

static void check(const char *dir, const char *marks_path, uint64_t life)
{
    twal_options options = TWAL_OPTIONS_INIT;
    twal_log *log;
    uint64_t last = 0;

    read_marks(open(marks_path, O_RDONLY | O_CLOEXEC));

    fputs("step: a reader, before anything is changed\n", stderr); /* shown if it is the last one */
    options.flags = TWAL_OPEN_READ_ONLY;
    int code = twal_open(dir, &options, &log);
    if (code == TWAL_E_NOTFOUND) {
        say_check(!promised.opened, "LOST: the log is not there");
        puts("none");
    } else {
        t_code_at(__FILE__, __LINE__, "a reader's open", code, TWAL_OK);
        puts(t_recovery(log).tail == TWAL_TAIL_TORN ? "torn" : "clean"); /* powerloss.py counts them */
        last = judge_log(log);
        t_close(log);
    }

    /* One more life, its promises behind the others. */
    fputs("step: a writer\n", stderr);
    marks = memfd_create("marks", MFD_CLOEXEC);
    live(dir, life, 15, false);
    read_marks(marks);
    say_check(promised.lives[life].last == last, "a reader found records up to %" PRIu64 ", the writer up to %" PRIu64, last,
              promised.lives[life].last);

    fputs("step: a reader, behind the writer\n", stderr);
    log = t_open_read_only(dir);
    judge_log(log);
    t_close(log);

    fputs("step: another writer\n", stderr);
    options.flags = TWAL_OPEN_VERIFY;
    log = t_open(dir, &options);
    judge_log(log);
    t_close(log);
}

int main(int argc, char **argv)
{
    if (argc < 6)
        return 2;
    setvbuf(stdout, NULL, _IOLBF, 0);
    seed = strtoull(argv[4], NULL, 0);
    uint64_t life = strtoull(argv[5], NULL, 0);
    if (!strcmp(argv[1], "check")) {
        check(argv[2], argv[3], life);
    } else {
        eager = argc > 7 && !strcmp(argv[7], "eager");
        marks = open(argv[3], O_WRONLY | O_CLOEXEC);
        t_check(argc > 6 && marks >= 0);
        be_written(argv[2], life, strtoll(argv[6], NULL, 0));
    }
    return 0;
}
