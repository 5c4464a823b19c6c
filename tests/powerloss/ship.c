/*
 * A log and a follower's copy of it on the same disk, whose promises are noted
 * elsewhere, and the judge of what is left of both.
 *
 * As lives.h says, with LOG the log's directory and LOG.copyN the N-th
 * follower's.  Its marks:
 *
 *   R seq life call                the record, whenever it becomes durable
 *   D seq                          the log is durable up to seq
 *   T seq                          from here on, what is below seq may be gone
 *   O life first last              the log is opened: first to last
 *   P copy index offset seq        the copy's position: all in front of it is durable
 *   p copy                         from here on the copy may be promoted
 *   L copy                         the copy is a log
 */
#include "lives.h"

#define COPIES_MAX 8 /* the disk is small */

struct life {
    twal_log *log;
    const char *dir;
    uint64_t number, len_max, copy;
    uint32_t durability;
    int64_t calls_left;
};

static const char *copy_path(const char *dir, uint64_t copy)
{
    static __thread char path[600];
    snprintf(path, sizeof path, "%s.copy%" PRIu64, dir, copy);
    return path;
}

/* ---- the writer ---- */

static void append(struct life *life, t_random *random, uint64_t call)
{
    static const uint32_t choices[] = { 0, 0, TWAL_APPEND_SYNC, TWAL_APPEND_NO_SYNC };
    uint32_t flags = choices[t_random_below(random, 4)];
    size_t len = some_len(random, life->len_max);
    void *data = malloc(len);
    uint64_t seq;
    t_check(data);
    t_payload_fill(data, len, writer_of(life->number, 0), call);
    twal_entry entry = { .data = data, .len = len, .stream = life->number, .flags = flags, .timestamp = (int64_t)call };
    t_ok(twal_append_entry(life->log, &entry, &seq));
    mark("R %" PRIu64 " %" PRIu64 " %" PRIu64 "\n", seq, life->number, call);
    if (flags ? flags == TWAL_APPEND_SYNC : life->durability == TWAL_SYNC)
        mark("D %" PRIu64 "\n", seq);
    free(data);
}

static void write_log(struct life *life)
{
    t_random random = { seed ^ writer_of(life->number, 0) };
    uint64_t call = 0;
    while (__atomic_sub_fetch(&life->calls_left, 1, __ATOMIC_RELAXED) >= 0) {
        uint64_t chance = t_random_below(&random, 100), last = twal_last_seq(life->log), back = t_random_below(&random, 50);
        if (chance < 86) {
            append(life, &random, call++);
        } else if (chance < 90) {
            t_ok(twal_roll(life->log));
            mark("D %" PRIu64 "\n", last);
        } else if (chance < 95) {
            mark("T %" PRIu64 "\n", last + 1 > back ? last + 1 - back : 1);
            t_ok(twal_trim(life->log, last + 1 > back ? last + 1 - back : 1));
        } else {
            usleep((useconds_t)t_random_below(&random, 4000));
        }
    }
}

/* ---- the follower ---- */

static twal_sink *open_sink(const char *path, t_random *random)
{
    twal_sink_options options = TWAL_SINK_OPTIONS_INIT;
    twal_sink *sink;
    options.io_engine = t_random_below(random, 2) ? TWAL_IO_AUTO : TWAL_IO_BLOCKING;
    t_ok(twal_sink_open(path, &options, &sink));
    return sink;
}

static twal_ship_position position_of(twal_sink *sink)
{
    twal_ship_position position = TWAL_SHIP_POSITION_INIT;
    t_ok(twal_sink_position(sink, &position));
    return position;
}

/* A copy's sink.  The source keeps everything for one that has nothing yet. */
static twal_sink *open_copy(const struct life *life, t_random *random)
{
    twal_sink *sink = open_sink(copy_path(life->dir, life->copy), random);
    if (position_of(sink).index == 0) {
        int code = twal_hold_drop(life->log, "copy");
        t_check(code == TWAL_OK || code == TWAL_E_NOTFOUND);
        t_ok(twal_hold_set(life->log, "copy", 0));
    }
    return sink;
}

/* Notes the position, and lets go at the source what is in front of it. */
static void note_position(struct life *life, twal_sink *sink)
{
    twal_ship_position here = position_of(sink);
    if (!here.index)
        return;
    mark("P %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 "\n", life->copy, here.index, here.offset, here.last_seq);
    int code = twal_hold_set(life->log, "copy", here.hold_seq);
    /* A copy begins with what was released last, in front of everything that can be held; what is held keeps that, too. */
    t_check(code == TWAL_OK || (code == TWAL_E_STATE && here.hold_seq < twal_first_seq(life->log)));
}

/* The follower becomes a log; the next one begins with nothing. */
static twal_sink *promote(struct life *life, twal_sink *sink, t_random *random)
{
    mark("p %" PRIu64 "\n", life->copy);
    t_ok(twal_sink_promote(sink));
    mark("L %" PRIu64 "\n", life->copy);
    t_ok(twal_sink_close(sink));
    life->copy++;
    return open_copy(life, random);
}

static void follow(struct life *life)
{
    t_random random = { seed ^ writer_of(life->number, 1) };
    twal_sink *sink = open_copy(life, &random);
    twal_ship_piece piece = TWAL_SHIP_PIECE_INIT;

    while (__atomic_load_n(&life->calls_left, __ATOMIC_RELAXED) > 0) {
        twal_ship_position from = position_of(sink);
        twal_source *source;
        uint64_t pieces = 1 + t_random_below(&random, 30);
        int more = 0;
        t_ok(twal_source_open(life->log, &from, &source));
        for (; pieces > 0 && (more = twal_source_next(source, 2000000, &piece)) == 1; pieces--) {
            t_ok(twal_sink_write(sink, &piece));
            if (eager) {
                from = position_of(sink);
                mark("P %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 "\n", life->copy, from.index, from.offset, piece.last_seq);
            }
            if (t_random_below(&random, 3) == 0) {
                t_ok(twal_sink_sync(sink));
                note_position(life, sink);
            }
        }
        t_check(more >= 0);
        twal_source_close(source);
        t_ok(twal_sink_sync(sink)); /* its position is where the next source begins */
        uint64_t chance = t_random_below(&random, 12);
        if (chance == 0 && position_of(sink).index && life->copy < COPIES_MAX) {
            sink = promote(life, sink, &random);
        } else if (chance < 6) {
            t_ok(twal_sink_close(sink));
            sink = open_copy(life, &random);
            note_position(life, sink);
        }
    }
    t_ok(twal_sink_close(sink));
}


/* ---- one life ---- */

struct role {
    struct life *life;
    void (*play)(struct life *life);
};

static void *use(void *arg)
{
    const struct role *role = arg;
    role->play(role->life);
    return NULL;
}

static bool is_follower(const char *path)
{
    char sink[700];
    snprintf(sink, sizeof sink, "%s/twal-sink", path);
    return t_exists(sink);
}

/* The youngest copy, or the one behind it if that one is a log. */
static uint64_t newest_copy(const char *dir)
{
    uint64_t copy = 1;
    while (t_exists(copy_path(dir, copy + 1)))
        copy++;
    const char *path = copy_path(dir, copy);
    bool is_log = t_exists(path) && t_count_entries(path) > 0 && !is_follower(path);
    return is_log ? copy + 1 : copy;
}

static void live(const char *dir, uint64_t number, uint64_t calls, bool may_end)
{
    t_random random = { seed ^ writer_of(number, 255) };
    twal_options options;
    struct life life = { .log = open_somehow(dir, &random, &options), .dir = dir, .number = number, .copy = newest_copy(dir),
                         .durability = options.durability, .calls_left = (int64_t)calls };
    twal_recovery found = t_recovery(life.log);
    struct role roles[] = { { &life, write_log }, { &life, follow } };
    void *args[] = { &roles[0], &roles[1] };

    life.len_max = t_stats(life.log).record_size_max;
    mark("O %" PRIu64 " %" PRIu64 " %" PRIu64 "\n", number, found.first_seq, found.last_seq);
    run_threads(use, args, 2, &life.calls_left, may_end, &random);
    uint64_t last = twal_last_seq(life.log);
    t_close(life.log);
    mark("D %" PRIu64 "\n", last);
}

/* ---- judging ---- */

static struct {
    uint64_t durable, trimmed;
    struct written {
        uint64_t life, call;
        bool known;
    } *records; /* by seq */
    size_t room;
    struct copy {
        uint64_t index, offset, seq; /* a position that was told */
        bool may_be_log, is_log;
    } copies[COPIES_MAX + 1]; /* the first is number 1 */
    bool opened;
} promised;

static void raise_to(uint64_t *what, uint64_t value)
{
    if (value > *what)
        *what = value;
}

static void is_written(uint64_t seq, uint64_t life, uint64_t call)
{
    if (seq >= promised.room) {
        size_t room = (seq + 1) * 2;
        promised.records = realloc(promised.records, room * sizeof *promised.records);
        t_check(promised.records);
        memset(promised.records + promised.room, 0, (room - promised.room) * sizeof *promised.records);
        promised.room = room;
    }
    promised.records[seq] = (struct written){ life, call, true };
}

static void is_at(struct copy *copy, uint64_t index, uint64_t offset, uint64_t seq)
{
    say_check(index > copy->index || (index == copy->index && offset >= copy->offset), "LOST: the position of a copy goes back");
    copy->index = index;
    copy->offset = offset;
    raise_to(&copy->seq, seq);
    raise_to(&promised.durable, seq); /* nothing is shipped that is not durable */
}

static void is_opened(uint64_t last)
{
    say_check(last >= promised.durable, "LOST: records up to %" PRIu64 " were durable, the log ends at %" PRIu64, promised.durable, last);
    promised.opened = true;
    promised.durable = last;
    for (size_t seq = last + 1; seq < promised.room; seq++)
        promised.records[seq].known = false;
}

static void read_mark(const char *line)
{
    uint64_t a, b, c, d;
    if (sscanf(line, "R %" SCNu64 " %" SCNu64 " %" SCNu64, &a, &b, &c) == 3) {
        is_written(a, b, c);
    } else if (sscanf(line, "P %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64, &a, &b, &c, &d) == 4) {
        t_check(a <= COPIES_MAX);
        is_at(&promised.copies[a], b, c, d);
    } else if (sscanf(line, "O %" SCNu64 " %" SCNu64 " %" SCNu64, &a, &b, &c) == 3) {
        is_opened(c);
    } else if (sscanf(line, "p %" SCNu64, &a) == 1) {
        promised.copies[a].may_be_log = true;
    } else if (sscanf(line, "L %" SCNu64, &a) == 1) {
        promised.copies[a].is_log = true;
    } else if (sscanf(line, "D %" SCNu64, &a) == 1) {
        raise_to(&promised.durable, a);
    } else {
        t_check(sscanf(line, "T %" SCNu64, &a) == 1);
        raise_to(&promised.trimmed, a);
    }
}

static void judge_record(const twal_record *record, void *arg)
{
    uint64_t writer, call, seq = record->seq;
    (void)arg;
    say_check(t_payload_read(record->data, record->len, &writer, &call), "record %" PRIu64 " is not as it was written", seq);
    say_check(is_of_this_run(writer) && record->stream == life_of(writer) && record->timestamp == (int64_t)call,
              "record %" PRIu64 " is another run's, or has another stream or time", seq);
    if (seq < promised.room && promised.records[seq].known)
        say_check(promised.records[seq].life == life_of(writer) && promised.records[seq].call == call,
                  "record %" PRIu64 " is another one than was written there", seq);
}

/* Without a gap, up to its last number, which is at least this. */
static void judge_log(twal_log *log, const char *whose, uint64_t durable)
{
    t_seen seen = { 0, 0, 0 };
    uint64_t first = twal_first_seq(log), last = twal_last_seq(log);
    say_check(t_recovery(log).tail != TWAL_TAIL_DAMAGED, "the %s is called damaged", whose);
    say_check(last >= durable, "LOST: the %s was durable up to %" PRIu64 ", and ends at %" PRIu64, whose, durable, last);
    say_check(first <= promised.trimmed || first == 1,
              "LOST: the %s begins at %" PRIu64 ", and only what is below %" PRIu64 " was released", whose, first, promised.trimmed);
    t_ok(t_read(log, 0, &seen, judge_record, NULL));
    say_check(seen.count == last + 1 - first && (!seen.count || seen.first == first),
              "LOST: the %s has %" PRIu64 " records from %" PRIu64 " on, not %" PRIu64 " to %" PRIu64, whose, seen.count, seen.first,
              first, last);
}

static void expect_whole(const char *dir)
{
    twal_verify_report report = TWAL_VERIFY_REPORT_INIT;
    t_ok(twal_verify(dir, NULL, NULL, NULL, &report));
}

/* A copy as a cut left it: read only, and as the follower or the log that it is. */
static void judge_copy(const char *path, const struct copy *copy)
{
    twal_options options = TWAL_OPTIONS_INIT;
    twal_log *log;
    options.flags = TWAL_OPEN_READ_ONLY;
    int code = twal_open(path, &options, &log);
    if (code == TWAL_E_NOTFOUND) {
        say_check(!copy->index && !copy->is_log, "LOST: a copy is not there");
        return;
    }
    t_code_at(__FILE__, __LINE__, "a reader's open of a copy", code, TWAL_OK);
    say_check(is_follower(path) ? !copy->is_log : copy->may_be_log,
              is_follower(path) ? "LOST: a promoted copy is a follower's" : "a copy is a log, and nobody promoted it");
    judge_log(log, "copy", copy->seq);
    t_close(log);
    expect_whole(path);
    if (!is_follower(path)) { /* it is used on */
        options.flags = TWAL_OPEN_VERIFY;
        log = t_open(path, &options);
        judge_log(log, "promoted copy", copy->seq);
        t_append(log, 100, writer_of(0, 7), 0, TWAL_APPEND_SYNC);
        t_close(log);
    }
}

/* The follower goes on where it was, gets everything, and becomes a log. */
static void judge_follower(const char *dir, const char *path, const struct copy *copy)
{
    t_random random = { seed };
    twal_log *log = t_open_read_only(dir);
    twal_sink *sink = open_sink(path, &random);
    twal_ship_position here = position_of(sink);
    twal_ship_piece piece = TWAL_SHIP_PIECE_INIT;
    twal_source *source;
    int more = 0;

    say_check(here.index > copy->index || (here.index == copy->index && here.offset >= copy->offset),
              "LOST: a copy was at segment %" PRIu64 " offset %" PRIu64 ", and is at %" PRIu64 " offset %" PRIu64, copy->index,
              copy->offset, here.index, here.offset);
    say_check(here.last_seq >= copy->seq, "LOST: a copy was at record %" PRIu64 ", and is at %" PRIu64, copy->seq, here.last_seq);
    t_ok(twal_source_open(log, &here, &source)); /* the hold has kept what comes next */
    while ((more = twal_source_next(source, 0, &piece)) == 1)
        t_ok(twal_sink_write(sink, &piece));
    t_equal(more, 0);
    twal_source_close(source);
    t_ok(twal_sink_sync(sink));
    t_equal(position_of(sink).last_seq, twal_last_seq(log));
    t_close(log);
    t_ok(twal_sink_promote(sink));
    t_ok(twal_sink_close(sink));

    twal_options options = TWAL_OPTIONS_INIT;
    options.flags = TWAL_OPEN_VERIFY;
    log = t_open(path, &options);
    judge_log(log, "promoted copy", promised.durable);
    t_close(log);
    expect_whole(path);
}

static void check(const char *dir, uint64_t life);

static const struct program program = { live, read_mark, check };

static void check(const char *dir, uint64_t life)
{
    twal_options options = TWAL_OPTIONS_INIT;
    twal_log *log;

    fputs("step: a reader of the log\n", stderr); /* shown if it is the last one */
    options.flags = TWAL_OPEN_READ_ONLY;
    int code = twal_open(dir, &options, &log);
    if (code == TWAL_E_NOTFOUND) {
        say_check(!promised.opened, "LOST: the log is not there");
        puts("none");
    } else {
        t_code_at(__FILE__, __LINE__, "a reader's open", code, TWAL_OK);
        puts(t_recovery(log).tail == TWAL_TAIL_TORN ? "torn" : "clean"); /* powerloss.py counts them */
        judge_log(log, "log", promised.durable);
        t_close(log);
        expect_whole(dir);
    }
    fputs("step: the copies\n", stderr);
    for (uint64_t copy = 1; copy <= COPIES_MAX; copy++)
        judge_copy(copy_path(dir, copy), &promised.copies[copy]);

    fputs("step: a writer and a follower\n", stderr);
    live_once_more(&program, dir, life, 15);

    fputs("step: the follower, promoted\n", stderr);
    for (uint64_t copy = 1; copy <= COPIES_MAX; copy++)
        if (is_follower(copy_path(dir, copy)))
            judge_follower(dir, copy_path(dir, copy), &promised.copies[copy]);
}

int main(int argc, char **argv)
{
    return run_program(argc, argv, &program);
}
