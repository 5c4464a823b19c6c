/*
 * A log with a transaction manager, compactions and holds, whose promises are
 * noted elsewhere, and the judge of what is left of it.
 *
 * As lives.h says.  Its marks:
 *
 *   ? key value                    asked for: from here on it may be so
 *   = key value                    is durable so, as asked for, or as asked for later
 *   ! key value                    an open shows it so
 *   I key id                       the operation has this id
 *   R seq thread life call         the program's record, whenever it becomes durable
 *   D seq                          everything up to seq is durable
 *   T seq                          from here on, what is below seq may be gone
 *   C seq                          a checkpoint is durable
 *   O life first last from         opened: first to last, recovered from there; everything was shown
 *
 * Keys are operations (named by their coordinator, so that an id is no more
 * than what it was said to be), what was said of streams, and holds.  An
 * operation that is not unfinished is NONE: it never was, or is over.
 */
#include "histories.h"
#include "txn_helpers.h"

#include <stdarg.h>

#define STREAMS 3      /* one a thread, the same in each life */
#define KEPT_STREAM 99 /* every other record of each thread: nobody drops these, which lie between those that go */
#define OPERATIONS 6
#define PARTS_MAX 4
#define FOUND_MAX 200
#define TYPE 0x0100

static const char *const said_of_streams[] = { "tombstone", "purge", "applied" };
enum { TOMBSTONE, PURGE, APPLIED };

typedef struct text {
    char text[40];
} text;

__attribute__((format(printf, 1, 2))) static text format(const char *format, ...)
{
    text made = { "" };
    va_list args;
    va_start(args, format);
    int len = vsnprintf(made.text, sizeof made.text, format, args);
    va_end(args);
    t_check(len > 0 && (size_t)len < sizeof made.text);
    return made;
}

static text key_of(const char *what, uint64_t thread)
{
    return format("%s:%" PRIu64, what, thread);
}

static uint64_t stream_of(uint64_t thread, uint64_t call)
{
    return call % 2 ? KEPT_STREAM : thread + 1;
}

/* Each append of a thread has a later time than all before it. */
static int64_t time_of(uint64_t life, uint64_t call)
{
    return (int64_t)(life << 24 | call);
}

/* ---- one life ---- */

struct life {
    twal_log *log;
    twal_txn *txn;
    uint64_t number, len_max;
    uint32_t durability;
    bool keep;                /* TWAL_TXN_KEEP_RECORDS */
    pthread_rwlock_t records; /* without it: none is appended between a checkpoint's T and the checkpoint */
    int64_t calls_left;
    twal_txn_operation found[FOUND_MAX];
    size_t found_count;
};

struct operation {
    text key;
    uint64_t id;
    uint32_t kind, state, parts, done, stood; /* stood: steps, when compensation was begun */
};

struct thread {
    struct life *life;
    uint64_t number, call, begun;
    t_random random;
    struct operation operations[OPERATIONS];
    uint64_t said[3], last_seq; /* of its stream: what was said last; its last record */
    struct asked {
        text key, value;
    } *asked; /* not noted as durable yet */
    size_t asked_count;
};

static bool is_durable(const struct life *life, uint32_t flags)
{
    return flags ? flags == TWAL_APPEND_SYNC : life->durability == TWAL_SYNC;
}

static uint32_t some_flags(t_random *random)
{
    static const uint32_t choices[] = { 0, 0, TWAL_APPEND_SYNC, TWAL_APPEND_NO_SYNC, TWAL_APPEND_NO_SYNC };
    return choices[t_random_below(random, 5)];
}

static void ask(const char *key, const char *value)
{
    mark("? %s %s\n", key, value);
}

/* A log is durable up to a number: with the last thing, everything that this thread did before it. */
static void all_is_durable(struct thread *thread)
{
    for (size_t n = 0; n < thread->asked_count; n++)
        mark("= %s %s\n", thread->asked[n].key.text, thread->asked[n].value.text);
    thread->asked_count = 0;
    if (thread->last_seq)
        mark("D %" PRIu64 "\n", thread->last_seq);
}

/* What was asked for was answered with TWAL_OK. */
static void is_done(struct thread *thread, text key, text value, bool durable)
{
    size_t n = 0;
    while (n < thread->asked_count && strcmp(thread->asked[n].key.text, key.text))
        n++;
    if (n == thread->asked_count) {
        thread->asked = realloc(thread->asked, ++thread->asked_count * sizeof *thread->asked);
        t_check(thread->asked);
    }
    thread->asked[n] = (struct asked){ key, value };
    if (durable || eager)
        all_is_durable(thread);
}

static void append(struct thread *thread)
{
    struct life *life = thread->life;
    uint64_t writer = writer_of(life->number, thread->number), call = thread->call++, seq;
    uint32_t flags = some_flags(&thread->random);
    size_t len = some_len(&thread->random, life->len_max);
    void *data = malloc(len);
    t_check(data);
    t_payload_fill(data, len, writer, call);
    twal_entry entry = { .data = data, .len = len, .stream = stream_of(thread->number, call), .flags = flags,
                         .type = TYPE, .timestamp = time_of(life->number, call) };
    pthread_rwlock_rdlock(&life->records);
    t_ok(twal_append_entry(life->log, &entry, &seq));
    mark("R %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 "\n", seq, thread->number, life->number, call);
    pthread_rwlock_unlock(&life->records);
    thread->last_seq = seq;
    if (is_durable(life, flags) || eager)
        all_is_durable(thread);
    free(data);
}

/* ---- operations ---- */

/* What recovery tells of one in this state. */
static text value_of(uint32_t kind, uint32_t state, uint64_t done)
{
    bool counts = kind == TWAL_TXN_SAGA ? state == TWAL_SAGA_EXECUTING || state == TWAL_SAGA_COMPENSATING
                                        : state == TWAL_2PC_PREPARING;
    return counts ? format("%" PRIu32 "/%" PRIu64, state, done) : format("%" PRIu32, state);
}

/* The call brings the operation into a state; 0: it is over. */
#define go_to(thread, operation, to, how_far, durable, call) \
    do { \
        text value_ = (to) ? value_of((operation)->kind, (to), (how_far)) : format(NONE); \
        uint32_t done_ = (how_far); \
        ask((operation)->key.text, value_.text); \
        t_ok(call); \
        is_done((thread), (operation)->key, value_, (durable)); \
        (operation)->state = (to); \
        (operation)->done = done_; \
    } while (0)

static void move_saga(struct thread *thread, struct operation *saga)
{
    twal_txn *txn = thread->life->txn;
    uint64_t id = saga->id, chance = t_random_below(&thread->random, 100);
    uint32_t flags = some_flags(&thread->random);
    bool durable = is_durable(thread->life, flags);

    if (saga->state == TWAL_SAGA_CREATED && chance < 80) {
        go_to(thread, saga, TWAL_SAGA_EXECUTING, 0, true, twal_saga_start(txn, id, NULL));
    } else if (saga->state == TWAL_SAGA_CREATED) {
        go_to(thread, saga, 0, 0, durable, twal_saga_aborted(txn, id, flags, NULL));
    } else if (saga->state == TWAL_SAGA_EXECUTING && saga->done > 0 && chance < 15) {
        saga->stood = saga->done;
        go_to(thread, saga, TWAL_SAGA_COMPENSATING, 0, true, twal_saga_compensation_start(txn, id, NULL));
    } else if (saga->state == TWAL_SAGA_EXECUTING && saga->done == saga->parts) {
        go_to(thread, saga, 0, 0, durable, twal_saga_completed(txn, id, flags, NULL));
    } else if (saga->state == TWAL_SAGA_EXECUTING && saga->done > 0 && chance < 30) {
        saga->stood = saga->done;
        go_to(thread, saga, TWAL_SAGA_FAILED, 0, durable, twal_saga_step_failed(txn, id, saga->done + 1, 7, flags, NULL));
    } else if (saga->state == TWAL_SAGA_EXECUTING) {
        go_to(thread, saga, TWAL_SAGA_EXECUTING, saga->done + 1, durable,
              twal_saga_step_succeeded(txn, id, saga->done + 1, flags, NULL));
    } else if (saga->state == TWAL_SAGA_FAILED) {
        go_to(thread, saga, TWAL_SAGA_COMPENSATING, 0, true, twal_saga_compensation_start(txn, id, NULL));
    } else if (saga->done < saga->stood) {
        go_to(thread, saga, TWAL_SAGA_COMPENSATING, saga->done + 1, durable,
              twal_saga_compensation_succeeded(txn, id, saga->stood - saga->done, flags, NULL));
    } else {
        go_to(thread, saga, 0, 0, durable, twal_saga_compensated(txn, id, flags, NULL));
    }
}

static void move_2pc(struct thread *thread, struct operation *tx)
{
    twal_txn *txn = thread->life->txn;
    uint64_t id = tx->id, chance = t_random_below(&thread->random, 100);
    uint32_t flags = some_flags(&thread->random);
    bool durable = is_durable(thread->life, flags);
    t_name shard = t_name_of("shard", tx->done);

    if (tx->state < TWAL_2PC_COMMITTING && (chance < 10 || tx->state == TWAL_2PC_REFUSED)) {
        go_to(thread, tx, TWAL_2PC_ABORTING, 0, true, twal_2pc_abort_start(txn, id, NULL));
    } else if (tx->state == TWAL_2PC_CREATED) {
        go_to(thread, tx, TWAL_2PC_PREPARING, 0, true, twal_2pc_prepare(txn, id, NULL));
    } else if (tx->state == TWAL_2PC_PREPARING && chance < 20) {
        go_to(thread, tx, TWAL_2PC_REFUSED, 0, durable, twal_2pc_vote(txn, id, shard.bytes, TWAL_VOTE_ABORT, flags, NULL));
    } else if (tx->state == TWAL_2PC_PREPARING) {
        uint32_t to = tx->done + 1 == tx->parts ? TWAL_2PC_PREPARED : TWAL_2PC_PREPARING;
        go_to(thread, tx, to, tx->done + 1, durable, twal_2pc_vote(txn, id, shard.bytes, TWAL_VOTE_COMMIT, flags, NULL));
    } else if (tx->state == TWAL_2PC_PREPARED) {
        go_to(thread, tx, TWAL_2PC_COMMITTING, 0, true, twal_2pc_commit_start(txn, id, NULL));
    } else if (tx->state == TWAL_2PC_COMMITTING && chance < 30) {
        go_to(thread, tx, TWAL_2PC_ROLLING_BACK, 0, true, twal_2pc_rollback_start(txn, id, NULL));
    } else if (tx->state == TWAL_2PC_COMMITTING) {
        go_to(thread, tx, 0, 0, durable, twal_2pc_commit_complete(txn, id, flags, NULL));
    } else if (tx->state == TWAL_2PC_ABORTING) {
        go_to(thread, tx, 0, 0, durable, twal_2pc_abort_complete(txn, id, flags, NULL));
    } else {
        go_to(thread, tx, 0, 0, durable, twal_2pc_rollback_complete(txn, id, flags, NULL));
    }
}

/* Told that it has ended, it has. */
static void ask_state(struct thread *thread, const struct operation *over)
{
    uint32_t state = over->kind == TWAL_TXN_SAGA ? t_saga_state(thread->life->txn, over->id) : t_2pc_state(thread->life->txn, over->id);
    t_check(over->kind == TWAL_TXN_SAGA ? state == TWAL_SAGA_FINISHED : state == TWAL_2PC_FINISHED || state == TWAL_2PC_COMMITTED);
    mark("= %s " NONE "\n", over->key.text);
}

static void begin_saga(struct thread *thread, struct operation *saga)
{
    twal_saga_step steps[PARTS_MAX];
    uint32_t before[PARTS_MAX];
    static const char payload[3000];
    twal_saga_spec spec = TWAL_SAGA_SPEC_INIT;

    saga->state = t_random_below(&thread->random, 3) ? TWAL_SAGA_EXECUTING : TWAL_SAGA_CREATED;
    for (uint32_t at = 0; at < saga->parts; at++) {
        before[at] = at;
        steps[at] = (twal_saga_step)TWAL_SAGA_STEP_INIT;
        steps[at].index = at + 1;
        steps[at].depends_on = &before[at];
        steps[at].depends_on_count = at > 0;
        steps[at].payload = payload;
        steps[at].payload_len = t_random_below(&thread->random, sizeof payload);
    }
    spec.steps = steps;
    spec.step_count = saga->parts;
    spec.flags = saga->state == TWAL_SAGA_EXECUTING ? TWAL_SAGA_START : 0;
    memcpy(spec.coordinator, saga->key.text, sizeof spec.coordinator);
    go_to(thread, saga, saga->state, 0, true, twal_saga_create(thread->life->txn, &spec, &saga->id, NULL));
}

static void begin_2pc(struct thread *thread, struct operation *tx)
{
    twal_2pc_participant participants[PARTS_MAX];
    twal_2pc_spec spec = TWAL_2PC_SPEC_INIT;
    for (uint32_t at = 0; at < tx->parts; at++) {
        participants[at] = (twal_2pc_participant)TWAL_2PC_PARTICIPANT_INIT;
        memcpy(participants[at].shard, t_name_of("shard", at).bytes, 32);
    }
    spec.participants = participants;
    spec.participant_count = tx->parts;
    memcpy(spec.coordinator, tx->key.text, sizeof spec.coordinator);
    go_to(thread, tx, TWAL_2PC_CREATED, 0, true, twal_2pc_create(thread->life->txn, &spec, &tx->id, NULL));
}

static void begin_or_move(struct thread *thread)
{
    struct operation *one = &thread->operations[t_random_below(&thread->random, OPERATIONS)];
    if (one->state == 0) {
        uint64_t number = thread->life->number << 24 | thread->number << 16 | thread->begun++;
        *one = (struct operation){ .kind = t_random_below(&thread->random, 2) ? TWAL_TXN_SAGA : TWAL_TXN_2PC,
                                   .parts = 1 + (uint32_t)t_random_below(&thread->random, PARTS_MAX) };
        one->key = key_of(one->kind == TWAL_TXN_SAGA ? "saga" : "2pc", number);
        if (one->kind == TWAL_TXN_SAGA)
            begin_saga(thread, one);
        else
            begin_2pc(thread, one);
        mark("I %s %" PRIu64 "\n", one->key.text, one->id);
    } else if (one->kind == TWAL_TXN_SAGA) {
        move_saga(thread, one);
    } else {
        move_2pc(thread, one);
    }
    if (one->state == 0 && t_random_below(&thread->random, 2) == 0) /* at once, before something else makes its end durable */
        ask_state(thread, one);
}

/* ---- what recovery found is finished ---- */

/* A participant: who is told a decision knows that it is in the log. */
static int told(void *arg, const twal_txn_action *action, uint32_t *error_out)
{
    struct life *life = arg;
    const char *key = (const char *)action->coordinator;
    (void)error_out;
    for (size_t n = 0; n < life->found_count; n++) {
        const twal_txn_operation *one = &life->found[n];
        if (one->kind != action->kind || one->id != action->id)
            continue;
        if (action->direction == TWAL_DIRECTION_COMMIT)
            mark("= %s %d\n", key, TWAL_2PC_COMMITTING);
        else if (action->direction == TWAL_DIRECTION_ABORT)
            mark("= %s %d\n", key, TWAL_2PC_ABORTING);
        else if (action->direction == TWAL_DIRECTION_COMPENSATE && one->state == TWAL_SAGA_FAILED)
            mark("= %s %d/0\n", key, TWAL_SAGA_COMPENSATING);
    }
    return TWAL_DONE;
}

/* What a resume brings it to, one after the other. */
static void ask_for_end(const twal_txn_operation *one)
{
    const char *key = (const char *)one->coordinator;
    uint64_t done = one->state == TWAL_SAGA_FAILED ? 0 : one->done + 1;
    if (one->action == TWAL_RESUME_SAGA_EXECUTE || one->action == TWAL_RESUME_SAGA_COMPENSATE) {
        uint32_t state = one->action == TWAL_RESUME_SAGA_EXECUTE ? TWAL_SAGA_EXECUTING : TWAL_SAGA_COMPENSATING;
        for (; done <= one->parts; done++)
            ask(key, value_of(one->kind, state, done).text);
    } else if (one->action == TWAL_RESUME_TX_COMMIT) {
        ask(key, format("%d", TWAL_2PC_COMMITTING).text);
    } else if (one->action == TWAL_RESUME_TX_ABORT) {
        ask(key, format("%d", TWAL_2PC_ABORTING).text);
    }
    ask(key, NONE);
}

static void resume(struct life *life, t_random *random)
{
    twal_txn_participants participants = TWAL_TXN_PARTICIPANTS_INIT;
    twal_txn_resume_options options = TWAL_TXN_RESUME_OPTIONS_INIT;
    participants.arg = life;
    participants.execute = participants.compensate = participants.commit = participants.abort = participants.rollback = told;
    options.threads = 1 + (uint32_t)t_random_below(random, 3);

    for (size_t n = 0; n < life->found_count; n++)
        if (life->found[n].action != TWAL_RESUME_NONE)
            ask_for_end(&life->found[n]);
    t_ok(twal_txn_resume(life->txn, &participants, &options, NULL));
    for (size_t n = 0; n < life->found_count; n++)
        if (life->found[n].action != TWAL_RESUME_NONE)
            mark("= %s " NONE "\n", (const char *)life->found[n].coordinator);
}

/* The thread goes on with what was never begun, and with transactions if none of them is resumed. */
static void adopt(struct thread *thread, bool resumed)
{
    const struct life *life = thread->life;
    for (size_t n = 0, at = 0; n < life->found_count && at < OPERATIONS; n++) {
        const twal_txn_operation *one = &life->found[n];
        if (one->action == TWAL_RESUME_NONE || (!resumed && one->kind == TWAL_TXN_2PC))
            thread->operations[at++] = (struct operation){ .key = format("%s", (const char *)one->coordinator), .id = one->id,
                .kind = one->kind, .state = one->state, .parts = (uint32_t)one->parts, .done = (uint32_t)one->done };
    }
}

/* ---- streams, holds, checkpoints ---- */

/* Something further than what was said of it last. */
static void say_of_stream(struct thread *thread)
{
    struct life *life = thread->life;
    uint64_t what = t_random_below(&thread->random, 3), back = t_random_below(&thread->random, 30), stream = thread->number + 1;
    uint32_t flags = some_flags(&thread->random);
    uint64_t value = what == TOMBSTONE ? twal_last_seq(life->log)
                     : what == PURGE   ? (uint64_t)time_of(life->number, thread->call)
                                       : thread->said[what] + 1 + back;
    value = value > back ? value - back : 0;
    if (value <= thread->said[what])
        return;
    text key = key_of(said_of_streams[what], thread->number), said = format("%" PRIu64, value);
    ask(key.text, said.text);
    if (what == TOMBSTONE)
        t_ok(twal_tombstone(life->txn, stream, value, "power", 5, flags, NULL));
    else if (what == PURGE)
        t_ok(twal_purge(life->txn, stream, (int64_t)value, 1, 0, flags, NULL));
    else
        t_ok(twal_applied(life->txn, stream, 1, value, flags, NULL));
    thread->said[what] = value;
    is_done(thread, key, said, is_durable(life, flags));
}

static uint64_t held_at(const twal_log *log, const char *name)
{
    twal_hold holds[THREADS_MAX] = { TWAL_HOLD_INIT };
    size_t count;
    t_ok(twal_holds(log, holds, THREADS_MAX, &count));
    while (count-- > 0)
        if (!strcmp(holds[count].name, name))
            return holds[count].seq;
    return 0;
}

/* Each thread has one: it moves forward, or is dropped. */
static void hold(struct thread *thread)
{
    twal_log *log = thread->life->log;
    text key = key_of("hold", thread->number), value;
    uint64_t seq = twal_durable_seq(log) + 1, back = t_random_below(&thread->random, 300);
    bool drop = t_random_below(&thread->random, 5) == 0;
    seq = seq > back ? seq - back : 1;
    if (!drop && seq <= held_at(log, key.text))
        return; /* refused, and a mark that it was asked for would let it go back */
    value = drop ? format(NONE) : format("%" PRIu64, seq);
    ask(key.text, value.text);
    int code = drop ? twal_hold_drop(log, key.text) : twal_hold_set(log, key.text, seq);
    if (code == TWAL_OK)
        mark("= %s %s\n", key.text, value.text);
    else
        t_check(code == (drop ? TWAL_E_NOTFOUND : TWAL_E_TRIMMED));
}

/* A checkpoint, of its own or a compaction's. */
static void checkpoint(struct thread *thread, bool compact)
{
    struct life *life = thread->life;
    twal_compact_options options = TWAL_COMPACT_OPTIONS_INIT;
    twal_compaction done = TWAL_COMPACTION_INIT;
    uint64_t seq;
    if (!life->keep) {
        pthread_rwlock_wrlock(&life->records);
        mark("T %" PRIu64 "\n", twal_last_seq(life->log) + 1);
    }
    if (compact) {
        t_ok(twal_txn_compact(life->txn, &options, &done));
        seq = done.checkpoint_seq;
    } else {
        t_ok(twal_txn_checkpoint(life->txn, &seq));
        all_is_durable(thread);
    }
    mark("C %" PRIu64 "\n", seq);
    if (!life->keep)
        pthread_rwlock_unlock(&life->records);
}

static void trim(struct thread *thread)
{
    twal_log *log = thread->life->log;
    uint64_t below = twal_durable_seq(log) + 1, back = t_random_below(&thread->random, 200);
    below = below > back ? below - back : 1;
    mark("T %" PRIu64 "\n", below);
    t_ok(twal_trim(log, below));
}

static void *use(void *arg)
{
    struct thread *thread = arg;
    struct life *life = thread->life;

    while (__atomic_sub_fetch(&life->calls_left, 1, __ATOMIC_RELAXED) >= 0) {
        uint64_t chance = t_random_below(&thread->random, 100);
        if (chance < 30) {
            append(thread);
        } else if (chance < 78) {
            /* Between what a checkpoint is said to release and the checkpoint nothing may get a number. */
            pthread_rwlock_rdlock(&life->records);
            if (chance < 72)
                begin_or_move(thread);
            else
                say_of_stream(thread);
            pthread_rwlock_unlock(&life->records);
        } else if (chance < 82) {
            checkpoint(thread, false);
        } else if (chance < 85) {
            checkpoint(thread, true);
        } else if (chance < 88) {
            t_ok(twal_roll(life->log));
            all_is_durable(thread);
        } else if (chance < 90) {
            t_ok(twal_sync(life->log, twal_last_seq(life->log)));
            all_is_durable(thread);
        } else if (chance < 94) {
            hold(thread);
        } else if (chance < 96) {
            trim(thread);
        } else {
            usleep((useconds_t)t_random_below(&thread->random, 4000));
        }
    }
    return NULL;
}

/* ---- opening: what there is ---- */

typedef void show_fn(const char *key, const char *value);

static void show_holds(const twal_log *log, show_fn *show)
{
    twal_hold holds[THREADS_MAX] = { TWAL_HOLD_INIT };
    size_t count;
    t_ok(twal_holds(log, holds, THREADS_MAX, &count));
    t_check(count <= THREADS_MAX);
    for (size_t n = 0; n < count; n++) {
        show(holds[n].name, format("%" PRIu64, holds[n].seq).text);
        say_check(twal_first_seq(log) <= holds[n].seq, "LOST: the log begins at %" PRIu64 ", and is held from %" PRIu64 " on",
                  twal_first_seq(log), holds[n].seq);
    }
}

/* What was said last of a thread's stream; 0: nothing. */
static uint64_t said_of(const twal_txn *txn, int what, uint64_t thread)
{
    twal_tombstone_info tombstone = TWAL_TOMBSTONE_INFO_INIT;
    twal_purge_info purge = TWAL_PURGE_INFO_INIT;
    twal_applied_info applied = TWAL_APPLIED_INFO_INIT;
    uint64_t stream = thread + 1;
    int code = what == TOMBSTONE ? twal_tombstone_get(txn, stream, &tombstone)
               : what == PURGE   ? twal_purge_get(txn, stream, &purge)
                                 : twal_applied_get(txn, stream, &applied);
    if (code == TWAL_E_NOTFOUND || (what == TOMBSTONE && code == TWAL_OK && tombstone.stream != stream))
        return 0;
    t_ok(code);
    return what == TOMBSTONE ? tombstone.below_seq : what == PURGE ? (uint64_t)purge.before : applied.position;
}

static void show_in_mark(const char *key, const char *value)
{
    mark("! %s %s\n", key, value);
}

static void show_all(struct life *life)
{
    twal_txn_report report = t_report(life->txn);
    t_check(report.unfinished <= FOUND_MAX);
    for (; life->found_count < report.unfinished; life->found_count++) {
        twal_txn_operation *one = &life->found[life->found_count];
        *one = (twal_txn_operation)TWAL_TXN_OPERATION_INIT;
        t_ok(twal_txn_unfinished_get(life->txn, life->found_count, one));
        show_in_mark((const char *)one->coordinator, value_of(one->kind, one->state, one->done).text);
        mark("I %s %" PRIu64 "\n", (const char *)one->coordinator, one->id);
    }
    for (uint64_t thread = 0; thread < STREAMS; thread++)
        for (int what = TOMBSTONE; what <= APPLIED; what++) {
            uint64_t said = said_of(life->txn, what, thread);
            if (said)
                show_in_mark(key_of(said_of_streams[what], thread).text, format("%" PRIu64, said).text);
        }
    show_holds(life->log, show_in_mark);
    twal_recovery found = t_recovery(life->log);
    mark("O %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 "\n", life->number, found.first_seq, found.last_seq, report.from_seq);
}

static void live(const char *dir, uint64_t number, uint64_t calls, bool may_end)
{
    t_random random = { seed ^ writer_of(number, 255) };
    twal_options options;
    twal_txn_options txn_options = TWAL_TXN_OPTIONS_INIT;
    struct life life = { .log = open_somehow(dir, &random, &options), .number = number, .keep = seed & 1,
                         .durability = options.durability, .records = PTHREAD_RWLOCK_INITIALIZER };
    static struct thread threads[STREAMS];
    void *args[STREAMS];
    uint64_t count = may_end ? 1 + t_random_below(&random, STREAMS) : 1;
    bool resumed = t_random_below(&random, 2);

    life.len_max = t_stats(life.log).record_size_max;
    life.calls_left = (int64_t)calls;
    txn_options.checkpoint_interval = life.keep ? 5 + t_random_below(&random, 60) : UINT64_MAX;
    txn_options.compact_records = 50;
    if (life.keep)
        txn_options.flags = TWAL_TXN_KEEP_RECORDS | (t_random_below(&random, 2) ? TWAL_TXN_COMPACT : 0);
    life.txn = t_recover(life.log, &txn_options);
    show_all(&life);

    for (uint64_t n = 0; n < count; n++) {
        threads[n] = (struct thread){ .life = &life, .number = n, .random = { seed ^ writer_of(number, n) } };
        for (int what = TOMBSTONE; what <= APPLIED; what++)
            threads[n].said[what] = said_of(life.txn, what, n);
        args[n] = &threads[n];
    }
    if (resumed)
        resume(&life, &random);
    adopt(&threads[0], resumed);
    run_threads(use, args, count, &life.calls_left, may_end, &random);
    t_txn_close(life.txn);
    t_close(life.log);
    for (uint64_t n = 0; n < count; n++)
        all_is_durable(&threads[n]);
}

/* ---- judging ---- */

static struct {
    uint64_t durable, trimmed, first, checkpoint;
    struct written {
        uint64_t thread, life, call;
        bool known, seen;
    } *records; /* by seq */
    size_t room;
    struct id {
        text key;
        uint64_t id;
    } *ids;
    size_t ids_count, ids_before; /* those of earlier lives come first */
    bool opened;
} promised;

static void raise_to(uint64_t *what, uint64_t value)
{
    if (value > *what)
        *what = value;
}

static void is_written(uint64_t seq, uint64_t thread, uint64_t life, uint64_t call)
{
    if (seq >= promised.room) {
        size_t room = (seq + 1) * 2;
        promised.records = realloc(promised.records, room * sizeof *promised.records);
        t_check(promised.records);
        memset(promised.records + promised.room, 0, (room - promised.room) * sizeof *promised.records);
        promised.room = room;
    }
    promised.records[seq] = (struct written){ thread, life, call, true, false };
}

/* An operation keeps its id, and nothing else gets it, or a lower one than earlier lives gave away. */
static void has_id(const char *key, uint64_t id)
{
    for (size_t n = 0; n < promised.ids_count; n++)
        if (!strcmp(promised.ids[n].key.text, key)) {
            say_check(promised.ids[n].id == id, "%s had the id %" PRIu64 ", and has %" PRIu64, key, promised.ids[n].id, id);
            return;
        }
    for (size_t n = 0; n < promised.ids_count; n++) {
        const struct id *one = &promised.ids[n];
        if (one->key.text[0] == key[0])
            say_check(n < promised.ids_before ? one->id < id : one->id != id,
                      "%s has the id %" PRIu64 ", and %s has %" PRIu64 " from before", key, id, one->key.text, one->id);
    }
    promised.ids = realloc(promised.ids, (promised.ids_count + 1) * sizeof *promised.ids);
    t_check(promised.ids);
    promised.ids[promised.ids_count++] = (struct id){ format("%s", key), id };
}

static void is_opened(uint64_t first, uint64_t last, uint64_t from)
{
    say_check(last >= promised.durable, "LOST: records up to %" PRIu64 " were durable, the log ends at %" PRIu64, promised.durable, last);
    say_check(from >= promised.checkpoint, "LOST: the checkpoint %" PRIu64 " was durable, recovery begins at %" PRIu64,
              promised.checkpoint, from);
    histories_are_found();
    promised.opened = true;
    promised.ids_before = promised.ids_count;
    raise_to(&promised.first, first);
    raise_to(&promised.durable, last);
    for (size_t seq = last + 1; seq < promised.room; seq++)
        promised.records[seq].known = false;
}

static void read_mark(const char *line)
{
    uint64_t a, b, c, d;
    char key[40], value[40];
    if (sscanf(line, "? %39s %39s", key, value) == 2) {
        history_asked(key, value);
    } else if (sscanf(line, "= %39s %39s", key, value) == 2) {
        history_kept(key, value);
    } else if (sscanf(line, "! %39s %39s", key, value) == 2) {
        history_found(key, value);
    } else if (sscanf(line, "I %39s %" SCNu64, key, &a) == 2) {
        has_id(key, a);
    } else if (sscanf(line, "R %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64, &a, &b, &c, &d) == 4) {
        is_written(a, b, c, d);
    } else if (sscanf(line, "O %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64, &a, &b, &c, &d) == 4) {
        is_opened(b, c, d);
    } else if (sscanf(line, "D %" SCNu64, &a) == 1) {
        raise_to(&promised.durable, a);
    } else if (sscanf(line, "C %" SCNu64, &a) == 1) {
        raise_to(&promised.durable, a);
        raise_to(&promised.checkpoint, a);
    } else {
        t_check(sscanf(line, "T %" SCNu64, &a) == 1);
        raise_to(&promised.trimmed, a);
    }
}

/* A record that a tombstone or a purge drops, one that is asked for or one that is durable. */
static bool is_dropped(uint64_t seq, uint64_t thread, uint64_t time, uint64_t (*which)(const char *))
{
    if (stream_of(thread, time) == KEPT_STREAM)
        return false;
    return seq < which(key_of("tombstone", thread).text) || time < which(key_of("purge", thread).text);
}

/* Reads what an iterator gives: each of the program's records is the one that was written there.  The number of records. */
static uint64_t judge_records(twal_iter *iter, bool dropped_are_hidden)
{
    twal_record record;
    uint64_t count = 0, before = 0, writer, call;
    int more;
    for (; (more = twal_iter_next(iter, &record)) == 1; count++) {
        uint64_t seq = record.seq, time = (uint64_t)record.timestamp;
        say_check(seq > before, "record %" PRIu64 " comes behind %" PRIu64, seq, before);
        before = seq;
        if (record.type < TYPE)
            continue; /* the manager's */
        say_check(t_payload_read(record.data, record.len, &writer, &call), "record %" PRIu64 " is not as it was written", seq);
        say_check(is_of_this_run(writer), "record %" PRIu64 " is of another run", seq);
        uint64_t thread = writer & 255;
        say_check(record.stream == stream_of(thread, call) && time_of(life_of(writer), call) == record.timestamp,
                  "record %" PRIu64 " has another stream or time than it was written with", seq);
        say_check(!dropped_are_hidden || !is_dropped(seq, thread, time, history_least),
                  "record %" PRIu64 " is there again, which was dropped", seq);
        if (seq >= promised.room || !promised.records[seq].known)
            continue;
        struct written *written = &promised.records[seq];
        say_check(written->thread == thread && written->life == life_of(writer) && written->call == call,
                  "record %" PRIu64 " is another one than was written there", seq);
        written->seen = true;
    }
    t_equal(more, 0);
    twal_iter_close(iter);
    return count;
}

static void judge_log(twal_log *log)
{
    uint64_t first = twal_first_seq(log), last = twal_last_seq(log);
    twal_iter *iter;

    say_check(t_recovery(log).tail != TWAL_TAIL_DAMAGED, "the log is called damaged");
    say_check(last >= promised.durable, "LOST: records up to %" PRIu64 " were durable, the log ends at %" PRIu64, promised.durable, last);
    say_check(first <= promised.trimmed || first == 1,
              "LOST: the log begins at %" PRIu64 ", and only what is below %" PRIu64 " was released", first, promised.trimmed);
    say_check(first >= promised.first, "the log begins at %" PRIu64 ", and was opened with %" PRIu64, first, promised.first);
    for (size_t seq = 0; seq < promised.room; seq++)
        promised.records[seq].seen = false;
    t_ok(twal_recover_iter(log, 0, &iter));
    judge_records(iter, false);
    for (uint64_t seq = first; seq <= promised.durable && seq < promised.room; seq++) {
        const struct written *written = &promised.records[seq];
        say_check(!written->known || written->seen ||
                      is_dropped(seq, written->thread, (uint64_t)time_of(written->life, written->call), history_most),
                  "LOST: record %" PRIu64 " is not there, and nobody dropped it", seq);
    }
    show_holds(log, history_judge);
}

static void expect_whole(const char *dir)
{
    twal_verify_report report = TWAL_VERIFY_REPORT_INIT;
    t_ok(twal_verify(dir, NULL, NULL, NULL, &report));
}

static void check(const char *dir, uint64_t life);

static const struct program program = { live, read_mark, check };

static void check(const char *dir, uint64_t life)
{
    twal_options options = TWAL_OPTIONS_INIT;
    twal_log *log;
    twal_txn *txn;
    twal_iter *iter;

    fputs("step: a reader, before anything is changed\n", stderr); /* shown if it is the last one */
    options.flags = TWAL_OPEN_READ_ONLY;
    int code = twal_open(dir, &options, &log);
    if (code == TWAL_E_NOTFOUND) {
        say_check(!promised.opened, "LOST: the log is not there");
        puts("none");
    } else {
        t_code_at(__FILE__, __LINE__, "a reader's open", code, TWAL_OK);
        puts(t_recovery(log).tail == TWAL_TAIL_TORN ? "torn" : "clean"); /* powerloss.py counts them */
        judge_log(log);
        t_close(log);
        expect_whole(dir);
    }

    fputs("step: a coordinator\n", stderr);
    live_once_more(&program, dir, life, 25);

    fputs("step: a reader, behind the coordinator\n", stderr);
    log = t_open_read_only(dir);
    judge_log(log);
    t_close(log);
    expect_whole(dir);

    fputs("step: another coordinator\n", stderr);
    live_once_more(&program, dir, life + 1, 0);
    log = t_open(dir, NULL);
    judge_log(log);
    txn = t_recover(log, NULL);
    t_ok(twal_txn_iter_open(txn, NULL, &iter));
    judge_records(iter, true);
    t_txn_close(txn);
    t_close(log);
}

int main(int argc, char **argv)
{
    return run_program(argc, argv, &program);
}
