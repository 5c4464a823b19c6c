/*
 * A log that is written while its acknowledgements are noted elsewhere, and
 * the judge of what is left of it.
 *
 * As lives.h says.  Its marks:
 *
 *   O life first last              opened: the log holds first to last
 *   A seq count writer number      acknowledged: this append is durable
 *   D seq                          everything up to seq is durable
 *   T seq                          from here on, what is below seq may be gone
 *   h seq, H seq                   the hold may be there; is there, at seq or behind it
 *
 * A mark of a promise is made after it was given, T and h before the call.
 */
#include "lives.h"

#define BATCH_MAX 6

/* ---- who wrote a record, and as which of its appends ---- */

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

static void live(const char *dir, uint64_t number, uint64_t calls, bool may_end)
{
    t_random random = { seed ^ writer_of(number, 255) };
    twal_options options;
    struct life life = { .log = open_somehow(dir, &random, &options), .number = number, .calls_left = (int64_t)calls };
    struct thread threads[THREADS_MAX];
    void *args[THREADS_MAX];
    uint64_t count = may_end ? 1 + t_random_below(&random, THREADS_MAX) : 1;
    twal_recovery found = t_recovery(life.log);

    life.durability = options.durability;
    life.len_max = t_stats(life.log).record_size_max;
    mark("O %" PRIu64 " %" PRIu64 " %" PRIu64 "\n", number, found.first_seq, found.last_seq);
    for (uint64_t n = 0; n < count; n++) {
        threads[n] = (struct thread){ &life, n };
        args[n] = &threads[n];
    }
    run_threads(use, args, count, &life.calls_left, may_end, &random);
    uint64_t last = twal_last_seq(life.log);
    t_close(life.log);
    mark("D %" PRIu64 "\n", last);
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

static void judge_record(const twal_record *record, void *arg)
{
    struct judge *judge = arg;
    uint64_t writer, number, seq = record->seq;

    say_check(t_payload_read(record->data, record->len, &writer, &number), "record %" PRIu64 " is not as it was written", seq);
    say_check(is_of_this_run(writer), "record %" PRIu64 " is of another run", seq);
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

static void check(const char *dir, uint64_t life);

static const struct program program = { live, read_mark, check };

static void check(const char *dir, uint64_t life)
{
    twal_options options = TWAL_OPTIONS_INIT;
    twal_log *log;
    uint64_t last = 0;

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

    fputs("step: a writer\n", stderr);
    live_once_more(&program, dir, life, 15);
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
    return run_program(argc, argv, &program);
}
