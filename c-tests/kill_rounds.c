/* See kill_rounds.h. */
#include "kill_rounds.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <time.h>

#define LIVES_MAX 32
#define THREADS_MAX 8
#define BATCH_MAX 64

/* What goes through the pipe; far below PIPE_BUF, so never torn. */
enum { OPENED = 1, APPENDED = 2, DURABLE = 3, TRIMMED = 4 };
struct message {
    uint64_t kind;
    uint64_t seq;    /* OPENED: last; APPENDED: first; DURABLE, TRIMMED: up to, below */
    uint64_t writer; /* life * THREADS_MAX + thread */
    uint64_t number; /* the writer's number of the first record */
    uint64_t count;
};

/* ---- the child ---- */

struct child {
    t_kill_plan plan; /* of this life */
    const char *dir;
    int pipe, life;
    uint64_t salt;
    twal_log *log;
};

struct child_thread {
    struct child *child;
    int thread;
};

static void tell(struct child *child, struct message message)
{
    t_check(write(child->pipe, &message, sizeof message) == sizeof message);
}

/* The same as an append of entry; another reservation lies open beside it and is
 * given up: what was written there must never be seen. */
static void reserve_and_commit(twal_log *log, const twal_entry *entry, uint64_t writer, uint64_t *seq_out)
{
    twal_reservation reservation, lost;
    twal_entry room = *entry;
    room.data = NULL;
    room.len = entry->len + 500;
    t_ok(twal_reserve(log, &room, &lost));
    t_payload_fill(lost.data, room.len, writer, UINT64_MAX);
    t_ok(twal_reserve(log, &room, &reservation));
    memcpy(reservation.data, entry->data, entry->len);
    t_ok(twal_commit(log, &reservation, entry->len, seq_out));
    t_ok(twal_cancel(log, &lost));
}

/* In parts: two, of any length. */
static void gather(twal_log *log, const twal_entry *entry, t_random *random, uint64_t *seq_out)
{
    const char *data = entry->data;
    size_t cut = t_random_below(random, entry->len + 1);
    twal_part parts[2] = { { data, cut }, { data + cut, entry->len - cut } };
    twal_entry whole = *entry;
    whole.data = NULL;
    whole.len = 0;
    t_ok(twal_append_gather(log, &whole, parts, 2, seq_out));
}

/* The mode of a mixed plan's append; SYNC if it waits for the device. */
static uint32_t draw_flags(const t_kill_plan *plan, t_random *random, uint32_t *flags)
{
    static const uint32_t some[] = { 0, 0, TWAL_APPEND_SYNC, TWAL_APPEND_NO_SYNC };
    *flags = plan->mixed ? some[t_random_below(random, 4)] : 0;
    return *flags == TWAL_APPEND_SYNC ? TWAL_SYNC : *flags == TWAL_APPEND_NO_SYNC ? TWAL_ASYNC : plan->durability;
}

/* What a program also does now and then. */
static void use_log(struct child *child, t_random *random, uint64_t seq)
{
    switch (t_random_below(random, 60)) {
    case 0: t_ok(twal_roll(child->log)); return;
    case 1: t_ok(twal_sync_async(child->log, 0, NULL, NULL)); return;
    case 2:
        t_ok(twal_sync(child->log, 0));
        tell(child, (struct message){ DURABLE, seq, 0, 0, 0 });
        return;
    case 3:
        /* Asks for nothing: comes by time, or is durable already. */
        t_ok(twal_wait(child->log, seq, -1));
        tell(child, (struct message){ DURABLE, seq, 0, 0, 0 });
        return;
    default: return;
    }
}

static void *append_for_ever(void *arg)
{
    struct child_thread *me = arg;
    struct child *child = me->child;
    const t_kill_plan *plan = &child->plan;
    uint64_t writer = (uint64_t)child->life * THREADS_MAX + (uint64_t)me->thread, number = 0;
    t_random random = t_random_new((child->salt + 1) * 1000 + writer);
    twal_entry entries[BATCH_MAX];
    char *data = malloc(plan->batch_max * plan->record_len_max);
    t_check(data);

    for (;;) {
        uint64_t first = 0;
        size_t count = plan->batch_max > 1 && t_random_below(&random, 2)
                           ? 1 + t_random_below(&random, plan->batch_max)
                           : 1;
        uint32_t flags = 0, durability = draw_flags(plan, &random, &flags);
        for (size_t k = 0; k < count; k++) {
            size_t len = T_PAYLOAD_MIN + t_random_below(&random, plan->record_len_max - T_PAYLOAD_MIN + 1);
            char *place = data + k * plan->record_len_max;
            t_payload_fill(place, len, writer, number + k);
            entries[k] = (twal_entry)TWAL_ENTRY_INIT;
            entries[k].data = place;
            entries[k].len = len;
            entries[k].stream = TWAL_STREAM(count, k);
            entries[k].type = 0x0100 + (uint32_t)me->thread;
            entries[k].flags = flags;
        }
        uint64_t way = plan->mixed ? t_random_below(&random, 3) : plan->reserve;
        if (count == 1 && way == 1)
            reserve_and_commit(child->log, entries, writer, &first);
        else if (count == 1 && way == 2)
            gather(child->log, entries, &random, &first);
        else if (count == 1)
            t_ok(twal_append_entry(child->log, entries, &first));
        else
            t_ok(twal_append_batch(child->log, entries, count, &first));
        if (durability == TWAL_SYNC)
            tell(child, (struct message){ APPENDED, first, writer, number, count });
        else if (number % 16 == 0)
            tell(child, (struct message){ DURABLE, twal_durable_seq(child->log), 0, 0, 0 });
        number += count;
        if (plan->mixed)
            use_log(child, &random, first);
        if (plan->trim && me->thread == 0 && number % 40 == 0) {
            uint64_t from = twal_first_seq(child->log), below = from + (twal_last_seq(child->log) - from) / 2;
            tell(child, (struct message){ TRIMMED, below, 0, 0, 0 });
            t_ok(twal_trim(child->log, below));
        }
    }
    return NULL;
}

static twal_options plan_options(const t_kill_plan *plan)
{
    twal_options options = TWAL_OPTIONS_INIT;
    options.io_engine = plan->engine;
    options.durability = plan->durability;
    options.segment_size = plan->segment_size;
    options.max_retained_segments = 2;
    options.flush_interval_ms = 3;
    options.flags = plan->open_flags;
    return options;
}

/* Refusals of an open, each after two seconds.  (A time would also pass while this process is stopped.) */
#define REFUSALS_MAX 30

/*
 * For writing.  A write in flight keeps the lock of the killed writer's files;
 * after two seconds an open says so, and has to be asked again.
 */
static twal_log *open_to_write(const t_kill_plan *plan, const char *dir, uint64_t *refused)
{
    twal_options options = plan_options(plan);
    twal_log *log = NULL;
    int code, left = REFUSALS_MAX;
    while ((code = twal_open(dir, &options, &log)) == TWAL_E_LOCKED && left-- > 0)
        ++*refused;
    t_ok(code);
    return log;
}

static void live(void *arg)
{
    struct child *child = arg;
    uint64_t refused = 0;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    struct child_thread threads[THREADS_MAX];
    child->log = open_to_write(&child->plan, child->dir, &refused);
    tell(child, (struct message){ OPENED, twal_last_seq(child->log), 0, 0, 0 });
    for (int n = 0; n < child->plan.threads; n++) {
        threads[n] = (struct child_thread){ child, n };
        t_thread(append_for_ever, &threads[n]);
    }
    for (;;)
        pause();
}

/* ---- the parent ---- */

struct acknowledged {
    uint64_t seq, writer, number, count;
};

struct parent {
    const t_kill_plan *plan;
    uint64_t last_reported;  /* by any open: is there for ever */
    uint64_t durable;        /* as durable_seq said: all of it is there */
    uint64_t trimmed_below;  /* nothing from here on was ever released */
    struct acknowledged *acks;
    size_t acks_count, acks_room;
    size_t opened;           /* lives that got past the open */
    uint64_t refused;        /* opens that were told to wait for the killed writer */
    size_t taken_over;       /* rounds in which an opener waited while the writer lived */
};

static void hear(struct parent *parent, const struct message *message)
{
    if (message->kind == OPENED) {
        /* An open never reports less than an earlier one, or than was promised. */
        t_check(message->seq >= parent->last_reported);
        t_check(message->seq >= parent->durable);
        parent->last_reported = message->seq;
        parent->opened++;
    } else if (message->kind == DURABLE) {
        if (message->seq > parent->durable)
            parent->durable = message->seq;
    } else if (message->kind == TRIMMED) {
        if (message->seq > parent->trimmed_below)
            parent->trimmed_below = message->seq;
    } else {
        if (parent->acks_count == parent->acks_room) {
            parent->acks_room = parent->acks_room ? 2 * parent->acks_room : 1024;
            parent->acks = realloc(parent->acks, parent->acks_room * sizeof *parent->acks);
            t_check(parent->acks);
        }
        parent->acks[parent->acks_count++] =
            (struct acknowledged){ message->seq, message->writer, message->number, message->count };
        if (message->seq + message->count - 1 > parent->durable)
            parent->durable = message->seq + message->count - 1;
    }
}

struct found {
    struct parent *parent;
    uint64_t first, count, room;
    struct {
        uint64_t writer, number;
    } *records;
    uint64_t next_of[LIVES_MAX * THREADS_MAX];
    bool any_of[LIVES_MAX * THREADS_MAX];
    uint64_t batch_left, batch_size, batch_writer;
    int life; /* of the last record: lives do not mix */
};

static void check_record(const twal_record *record, void *arg)
{
    struct found *found = arg;
    uint64_t writer = 0, number = 0;
    uint64_t size = record->stream >> 32, position = record->stream & UINT32_MAX;

    t_check(t_payload_read(record->data, record->len, &writer, &number));
    t_check(writer < LIVES_MAX * THREADS_MAX);
    t_equal(record->type, 0x0100 + writer % THREADS_MAX);
    t_check((int)(writer / THREADS_MAX) >= found->life);
    found->life = (int)(writer / THREADS_MAX);

    /* A writer's numbers follow each other, from 0 where nothing was trimmed. */
    if (found->any_of[writer] || found->parent->trimmed_below == 0)
        t_equal(number, found->next_of[writer]);
    found->any_of[writer] = true;
    found->next_of[writer] = number + 1;

    if (found->batch_left == 0) {
        t_equal(position, 0);
        found->batch_left = found->batch_size = size;
        found->batch_writer = writer;
    }
    t_equal(writer, found->batch_writer);
    t_equal(size, found->batch_size);
    t_equal(position, size - found->batch_left);
    found->batch_left--;
    t_equal(record->flags, found->batch_left ? TWAL_RECORD_BATCH_CONTINUES : 0);

    if (found->count == 0)
        found->first = record->seq;
    if (found->count == found->room) {
        found->room = found->room ? 2 * found->room : 4096;
        found->records = realloc(found->records, found->room * sizeof *found->records);
        t_check(found->records);
    }
    found->records[found->count].writer = writer;
    found->records[found->count++].number = number;
}

static void check_log(struct parent *parent, twal_log *log)
{
    static struct found found;
    t_seen seen;
    memset(&found, 0, sizeof found);
    found.parent = parent;

    uint64_t first = twal_first_seq(log), last = twal_last_seq(log);
    t_check(last >= parent->durable);
    t_check(last >= parent->last_reported);
    t_equal(twal_durable_seq(log), last);
    /* Trimming keeps what it was told to keep. */
    t_check(first == 1 || first <= parent->trimmed_below);
    t_ok(t_read(log, 0, &seen, check_record, &found));
    t_equal(seen.count, last + 1 - first);
    t_equal(found.batch_left, 0);
    if (seen.count)
        t_equal(found.first, first);

    for (size_t n = 0; n < parent->acks_count; n++) {
        const struct acknowledged *ack = &parent->acks[n];
        for (uint64_t k = 0; k < ack->count; k++) {
            uint64_t seq = ack->seq + k;
            if (seq < first)
                continue;
            t_check(seq <= last);
            t_equal(found.records[seq - first].writer, ack->writer);
            t_equal(found.records[seq - first].number, ack->number + k);
        }
    }
    parent->last_reported = last;
    free(found.records);
}

static void sleep_us(uint64_t us)
{
    struct timespec time = { (time_t)(us / 1000000), (long)(us % 1000000) * 1000 };
    nanosleep(&time, NULL);
}

/*
 * Read-only.  A write in flight outlives its process and keeps the writer's lock
 * a little longer; until then a reader may show only what is witnessed, and has
 * to be asked again.
 */
static twal_log *open_to_look(struct parent *parent, const char *dir)
{
    twal_options options = plan_options(parent->plan);
    uint64_t deadline = t_now_ns() + UINT64_C(5) * 1000000000;
    options.flags |= TWAL_OPEN_READ_ONLY;
    for (;;) {
        twal_log *log = NULL;
        int code = twal_open(dir, &options, &log);
        if (code == TWAL_E_NOTFOUND) {
            t_equal(parent->durable, 0);
            t_equal(parent->last_reported, 0);
            return NULL;
        }
        t_ok(code);
        uint64_t last = twal_last_seq(log);
        if ((last >= parent->durable && last >= parent->last_reported) || t_now_ns() > deadline)
            return log;
        t_close(log);
        t_pause();
    }
}

struct killer {
    pid_t pid;
    uint64_t after_us;
};

static void *kill_it(void *arg)
{
    struct killer *killer = arg;
    sleep_us(killer->after_us);
    kill(killer->pid, SIGKILL);
    return NULL;
}

static void one_life(struct parent *parent, const char *dir, int life, t_random *random)
{
    const t_kill_plan *plan = parent->plan;
    struct message message;
    int ends[2];
    ssize_t got;

    t_check(pipe(ends) == 0);
    fcntl(ends[1], F_SETPIPE_SZ, 1 << 20);
    struct child child = { *plan, dir, ends[1], life, t_random_next(random) % 1000000, NULL };
    pid_t pid = t_fork(live, &child);
    close(ends[1]);
    /* The pipe may fill up; the child then waits, which is as good a moment. */
    struct killer killer = { pid, t_random_below(random, plan->kill_us_max) };
    twal_log *log = NULL;
    if (plan->mixed && life % 4 == 3) {
        t_check(t_readable(ends[0], 2 * T_PATIENCE_MS)); /* it is past the open */
        pthread_t thread = t_thread(kill_it, &killer);
        log = open_to_write(plan, dir, &parent->refused);
        t_join(thread);
        parent->taken_over++;
    } else {
        kill_it(&killer);
    }
    while ((got = read(ends[0], &message, sizeof message)) == sizeof message)
        hear(parent, &message);
    t_equal(got, 0);
    close(ends[0]);
    int status = t_wait_child(pid, T_PATIENCE_MS);
    /* A check that failed in the child is a failure. */
    t_check((status & 0x7f) == SIGKILL);

    if (!log && t_random_below(random, 2)) {
        log = open_to_look(parent, dir);
        if (!log)
            return; /* killed before there was a log: the next one makes it */
    } else if (!log) {
        log = open_to_write(plan, dir, &parent->refused);
    }
    check_log(parent, log);
    t_close(log);
}

/* What a mixed plan's next life is like. */
static void draw_life(t_kill_plan *life, t_random *random)
{
    static const uint32_t modes[] = { TWAL_SYNC, TWAL_GROUP, TWAL_ASYNC };
    static const uint64_t sizes[] = { 64 * T_KIB, 128 * T_KIB, T_MIB };
    static const uint32_t engines[] = { TWAL_IO_URING, TWAL_IO_BLOCKING };
    static int works = -1;
    if (works < 0)
        works = t_engine_works(TWAL_IO_URING);
    life->engine = engines[works ? t_random_below(random, 2) : 1];
    life->durability = modes[t_random_below(random, 3)];
    life->threads = 1 + (int)t_random_below(random, THREADS_MAX);
    life->segment_size = sizes[t_random_below(random, 3)];
    /* A batch fits in the smallest segment. */
    life->batch_max = 1 + t_random_below(random, 8);
    life->record_len_max = T_PAYLOAD_MIN + t_random_below(random, 5000);
    life->trim = t_random_below(random, 2);
    life->kill_us_max = 5000 + t_random_below(random, 50000);
}

/* With ASan a round takes three times as long, and the same test makes all of its rounds without. */
#ifdef __SANITIZE_ADDRESS__
enum { ONE_ROUND_OF = 3 };
#else
enum { ONE_ROUND_OF = 1 };
#endif

void t_kill_rounds(const t_kill_plan *plan)
{
    t_kill_plan now = *plan;
    struct parent parent = { .plan = &now };
    t_random random = t_random_new(plan->engine * 100 + plan->durability);
    char name[64], dir[700];
    size_t acknowledged = 0, opened = 0, taken_over = 0;
    uint64_t refused = 0, began = t_now_ns(), ends = began + plan->seconds * 1000000000;
    int round = 0, rounds = plan->rounds / ONE_ROUND_OF;
    /* On a busy machine an open takes longer: after a life that did not get past it, the next may have more time. */
    unsigned stretch = 1;

    t_check(plan->lives <= LIVES_MAX && plan->threads <= THREADS_MAX && plan->batch_max <= BATCH_MAX);
    snprintf(name, sizeof name, "%s-%s", plan->name, plan->mixed ? "mixed" : t_engine_name(plan->engine));
    snprintf(dir, sizeof dir, "%s%s%s", plan->place ? plan->place : t_path(name), plan->place ? "/" : "",
             plan->place ? name : "");
    for (; plan->seconds ? t_now_ns() < ends : round < rounds; round++) {
        int life = round % plan->lives;
        if (life == 0) {
            acknowledged += parent.acks_count;
            opened += parent.opened;
            taken_over += parent.taken_over;
            refused += parent.refused;
            t_dir_remove(dir);
            free(parent.acks);
            parent = (struct parent){ .plan = &now };
        }
        size_t before = parent.opened;
        if (plan->mixed)
            draw_life(&now, &random);
        now.kill_us_max = (plan->mixed ? now.kill_us_max : plan->kill_us_max) * stretch;
        one_life(&parent, dir, life, &random);
        if (parent.opened == before)
            stretch = stretch < 32 ? 2 * stretch : stretch;
        else if (stretch > 1)
            stretch--;
    }
    acknowledged += parent.acks_count;
    opened += parent.opened;
    taken_over += parent.taken_over;
    refused += parent.refused;
    printf("%s: %d rounds, %.1f a second, %zu past the open, %zu acknowledgements held, "
           "%zu taken over, %" PRIu64 " opens refused at first\n",
           name, round, round * 1e9 / (double)(t_now_ns() - began), opened, acknowledged, taken_over, refused);
    free(parent.acks);
    t_dir_remove(dir);
    /* Else these rounds have not tested what they are for. */
    t_check(opened >= (size_t)round / 3);
    t_check(!plan->mixed || taken_over >= (size_t)round / 4);
}

void t_kill_rounds_of_each_engine(const t_kill_plan *plan)
{
    static const uint32_t engines[] = { TWAL_IO_URING, TWAL_IO_BLOCKING };
    for (int n = 0; n < 2; n++) {
        if (!t_engine_works(engines[n])) {
            printf("no %s here\n", t_engine_name(engines[n]));
            continue;
        }
        t_kill_plan of_one = *plan;
        of_one.engine = engines[n];
        t_kill_rounds(&of_one);
    }
}

void t_kill_mixed(const char *place, uint32_t open_flags)
{
    const char *seconds = getenv("TWAL_SOAK_SECONDS");
    t_kill_plan plan = {
        .name = "kill",
        .rounds = 40,
        .lives = 20,
        .mixed = true,
        .place = place,
        .open_flags = open_flags,
        .seconds = seconds ? strtoull(seconds, NULL, 0) : 0,
    };
    t_kill_rounds(&plan);
}
