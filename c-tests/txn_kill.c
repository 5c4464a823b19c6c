/*
 * Goal: whoever dies, and whenever: every two-phase commit ends at all participants or at none, every saga completed or
 * compensated, each effect exactly once.
 * Method: three participants in processes of their own, with state files of their own (txn_participant.h), and a
 * coordinator, all killed at random.  A round is a life of the coordinator: it recovers, resumes what the last one left,
 * and runs more on two threads, until it dies at a point that the seed chose (around every call and every request) or,
 * each fourth round, by a timer, in the middle of anything.  What it is told has ended, participants forget.  After the last round nobody dies, everything is finished,
 * and the effects at the participants are held against the log; half of the lives compact theirs, and there
 * the effects must agree among themselves.
 *
 * Rounds: $TWAL_TXN_ROUNDS, else as many as fit into a check; in soak-kill 500, and for as long as told.  The canary is a crew that
 * forgets tokens: the judge must find effects that are there twice.
 *
 * t:with txn_helpers txn_participant
 * t:timeout 900
 * t:valgrind no, it kills by the clock
 */
#include "txn_participant.h"

#include <stdatomic.h>
#include <sys/wait.h>
#include <time.h>

#define SAGA_OR_COMMITS 12 /* at most, in a life */

typedef struct life {
    crew *crew;
    const char *dir;
    uint64_t number;
    bool keep, last;
} life;

static life mine;
static twal_txn *txn;

/* ---- dying ---- */

static atomic_long points_left;

/* A place where the coordinator may die. */
static void point(void)
{
    if (!mine.last && atomic_fetch_sub(&points_left, 1) == 1)
        kill(getpid(), SIGKILL);
}

#define step(call) \
    do { \
        point(); \
        t_ok(call); \
        point(); \
    } while (0)

static void choose_death(t_random *random)
{
    atomic_store(&points_left, mine.number % 4 ? 1 + (long)t_random_below(random, 220) : INT32_MAX);
    if (mine.number % 4 || mine.last)
        return;
    timer_t timer;
    struct sigevent kill_me = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGKILL };
    struct itimerspec when = { .it_value.tv_nsec = 1 + (long)t_random_below(random, 25000000) };
    t_check(!timer_create(CLOCK_MONOTONIC, &kill_me, &timer) && !timer_settime(timer, 0, &when, NULL));
}

/* ---- asking ---- */

static int ask(uint32_t kind, uint64_t id, uint32_t part, uint32_t direction, const uint8_t *token)
{
    effect wanted = { .id = id, .kind = kind, .direction = direction, .part = part };
    memcpy(wanted.token, token, 16);
    point();
    int answer = crew_ask(mine.crew, part % PARTICIPANTS, wanted);
    point();
    return answer;
}

static int ask_until_answered(uint32_t kind, uint64_t id, uint32_t part, uint32_t direction)
{
    uint8_t token[16];
    int answer;
    if (kind == TWAL_TXN_SAGA)
        t_ok(twal_saga_token(txn, id, part, direction, token));
    else
        t_ok(twal_2pc_token(txn, id, t_name_of("shard", part).bytes, direction, token));
    while ((answer = ask(kind, id, part, direction, token)) == TWAL_RETRY)
        ;
    return answer;
}

/* Lets participants forget the tokens of an operation that is shown as ended, though nobody may have waited for its last
 * event.  Who dies has not heard of it, and forgets nothing. */
static void forget(uint32_t kind, uint64_t id)
{
    effect ended = { .id = id, .kind = kind, .direction = FORGET };
    uint32_t state = 0;
    step(kind == TWAL_TXN_SAGA ? twal_saga_state_get(txn, id, &state) : twal_2pc_state_get(txn, id, &state));
    t_check(kind == TWAL_TXN_SAGA ? state == TWAL_SAGA_FINISHED
                                  : state == TWAL_2PC_FINISHED || state == TWAL_2PC_COMMITTED);
    for (size_t at = 0; at < PARTICIPANTS; at++) {
        point();
        (void)crew_ask(mine.crew, at, ended);
    }
}

/* What resume calls, for everything. */
static int act(void *arg, const twal_txn_action *action, uint32_t *error_out)
{
    (void)arg;
    uint64_t shard = action->step;
    if (action->kind == TWAL_TXN_2PC)
        t_check(sscanf((const char *)action->shard, "shard %" SCNu64, &shard) == 1);
    *error_out = 5;
    return ask(action->kind, action->id, (uint32_t)shard, action->direction, action->token);
}

/* ---- a life ---- */

static void run_commit(t_random *random)
{
    twal_2pc_participant participants[PARTICIPANTS];
    twal_2pc_spec spec = TWAL_2PC_SPEC_INIT;
    uint64_t id = 0;
    for (uint32_t at = 0; at < PARTICIPANTS; at++) {
        participants[at] = (twal_2pc_participant)TWAL_2PC_PARTICIPANT_INIT;
        memcpy(participants[at].shard, t_name_of("shard", at).bytes, 32);
    }
    spec.participants = participants;
    spec.participant_count = PARTICIPANTS;
    step(twal_2pc_create(txn, &spec, &id, NULL));
    step(twal_2pc_prepare(txn, id, NULL));
    bool commit = true;
    for (uint32_t at = 0; at < PARTICIPANTS; at++) {
        bool yes = ask_until_answered(TWAL_TXN_2PC, id, at, TWAL_DIRECTION_PREPARE) == TWAL_DONE;
        step(twal_2pc_vote(txn, id, t_name_of("shard", at).bytes, yes ? TWAL_VOTE_COMMIT : TWAL_VOTE_ABORT, 0, NULL));
        commit = commit && yes;
    }
    if (commit) {
        step(twal_2pc_commit_start(txn, id, NULL));
        for (uint32_t at = 0; at < PARTICIPANTS; at++)
            t_equal(ask_until_answered(TWAL_TXN_2PC, id, at, TWAL_DIRECTION_COMMIT), TWAL_DONE);
        step(twal_2pc_commit_complete(txn, id, 0, NULL));
        if (t_random_below(random, 4)) {
            forget(TWAL_TXN_2PC, id);
            return;
        }
        step(twal_2pc_rollback_start(txn, id, NULL));
        for (uint32_t at = 0; at < PARTICIPANTS; at++)
            t_equal(ask_until_answered(TWAL_TXN_2PC, id, at, TWAL_DIRECTION_ROLLBACK), TWAL_DONE);
        step(twal_2pc_rollback_complete(txn, id, 0, NULL));
    } else {
        step(twal_2pc_abort_start(txn, id, NULL));
        for (uint32_t at = 0; at < PARTICIPANTS; at++)
            t_equal(ask_until_answered(TWAL_TXN_2PC, id, at, TWAL_DIRECTION_ABORT), TWAL_DONE);
        step(twal_2pc_abort_complete(txn, id, 0, NULL));
    }
    forget(TWAL_TXN_2PC, id);
}

/* Steps 0 and 1, then 2 on both, then 3: three levels. */
static void run_saga(void)
{
    static const uint32_t both[] = { 0, 1 }, two[] = { 2 };
    twal_saga_step steps[STEPS] = { TWAL_SAGA_STEP_INIT, TWAL_SAGA_STEP_INIT, TWAL_SAGA_STEP_INIT,
                                    TWAL_SAGA_STEP_INIT };
    twal_saga_spec spec = TWAL_SAGA_SPEC_INIT;
    uint64_t id = 0;
    bool stands[STEPS] = { false };
    for (uint32_t at = 0; at < STEPS; at++)
        steps[at].index = at;
    steps[2].depends_on = both;
    steps[2].depends_on_count = 2;
    steps[3].depends_on = two;
    steps[3].depends_on_count = 1;
    spec.steps = steps;
    spec.step_count = STEPS;
    spec.flags = TWAL_SAGA_START;
    step(twal_saga_create(txn, &spec, &id, NULL));
    uint32_t at = 0;
    for (; at < STEPS; at++) {
        if (ask_until_answered(TWAL_TXN_SAGA, id, at, TWAL_DIRECTION_EXECUTE) == TWAL_FAILED)
            break;
        step(twal_saga_step_succeeded(txn, id, at, 0, NULL));
        stands[at] = true;
    }
    if (at == STEPS) {
        step(twal_saga_completed(txn, id, 0, NULL));
        forget(TWAL_TXN_SAGA, id);
        return;
    }
    step(twal_saga_step_failed(txn, id, at, 5, 0, NULL));
    step(twal_saga_compensation_start(txn, id, NULL));
    while (at-- > 0)
        if (stands[at]) {
            t_equal(ask_until_answered(TWAL_TXN_SAGA, id, at, TWAL_DIRECTION_COMPENSATE), TWAL_DONE);
            step(twal_saga_compensation_succeeded(txn, id, at, 0, NULL));
        }
    step(twal_saga_compensated(txn, id, 0, NULL));
    forget(TWAL_TXN_SAGA, id);
}

/* Where the whole history is not needed for the verdict: beside the other thread, and what compacts by itself. */
static void compact(void)
{
    twal_compact_options how = TWAL_COMPACT_OPTIONS_INIT;
    how.flags = TWAL_COMPACT_SEAL;
    step(twal_txn_compact(txn, &how, NULL));
}

static void *run_some(void *arg)
{
    t_random random = t_random_new(*(uint64_t *)arg);
    for (int count = 0; count < SAGA_OR_COMMITS / 2; count++) {
        if (!mine.keep && !t_random_below(&random, 8))
            compact();
        if (t_random_below(&random, 2))
            run_saga();
        else
            run_commit(&random);
    }
    return NULL;
}

/* What was created and never prepared asks for nothing: this program gives it up. */
static void give_up_what_was_not_begun(void)
{
    twal_txn_operation one = TWAL_TXN_OPERATION_INIT;
    while (twal_txn_next(txn, one.kind, one.id, &one) == TWAL_OK)
        if (one.action == TWAL_RESUME_NONE) {
            t_check(one.kind == TWAL_TXN_2PC && one.state == TWAL_2PC_CREATED);
            step(twal_2pc_abort_start(txn, one.id, NULL));
        }
}

static void live(void *arg)
{
    mine = *(life *)arg;
    t_random random = t_random_new(2 * mine.number);
    twal_options options = t_options();
    twal_txn_options manage = TWAL_TXN_OPTIONS_INIT;
    options.segment_size = mine.keep ? T_MIB : 64 * T_KIB;
    options.ring_size = T_MIB;
    options.max_retained_segments = mine.keep ? UINT64_MAX : 1;
    static const uint32_t modes[] = { TWAL_SYNC, TWAL_GROUP, TWAL_ASYNC };
    options.durability = modes[t_random_below(&random, 3)];
    manage.checkpoint_interval = 30;
    manage.flags = mine.keep ? TWAL_TXN_KEEP_RECORDS : TWAL_TXN_COMPACT;
    manage.compact_records = mine.keep ? 0 : 20; /* any number asks for compaction */
    choose_death(&random);

    point();
    twal_log *log = t_open(mine.dir, &options);
    point();
    txn = t_recover(log, &manage);
    point();
    give_up_what_was_not_begun();
    twal_txn_participants participants = TWAL_TXN_PARTICIPANTS_INIT;
    twal_txn_resume_options how = TWAL_TXN_RESUME_OPTIONS_INIT;
    twal_txn_resumed resumed = TWAL_TXN_RESUMED_INIT;
    participants.execute = participants.compensate = act;
    participants.commit = participants.abort = participants.rollback = act;
    how.retry_delay_us = 100;
    how.attempts_max = 1000; /* a participant that died is back soon */
    step(twal_txn_resume(txn, &participants, &how, &resumed));
    t_equal(resumed.left, 0);
    if (!mine.last) {
        uint64_t salts[] = { 2 * mine.number + 1, UINT64_MAX - mine.number };
        pthread_t other = t_thread(run_some, &salts[1]);
        run_some(&salts[0]);
        t_join(other);
        kill(getpid(), SIGKILL);
    }
    t_equal(t_count_active(txn), 0);
    t_txn_close(txn);
    t_close(log);
}

/* ---- the judge ---- */

typedef struct verdict {
    uint64_t commits, aborts, rollbacks, completed, compensated, effects, wrong;
} verdict;

#define IDS 65536

/* How often each thing was done, and which of twal's records there are of it. */
static uint8_t done[3][IDS][7][STEPS];
static bool logged[3][IDS][0x20];
static uint64_t highest[3];

static void note_record(const twal_record *record, void *arg)
{
    (void)arg;
    if (record->type >= 0x20)
        return;
    uint64_t id;
    uint32_t kind = record->type < 0x10 ? TWAL_TXN_SAGA : TWAL_TXN_2PC;
    memcpy(&id, record->data, 8);
    t_check(id < IDS);
    logged[kind][id][record->type] = true;
    highest[kind] = id > highest[kind] ? id : highest[kind];
}

/* So often at every one of the first `parts`. */
static bool at_all(uint32_t kind, uint64_t id, uint32_t direction, uint32_t parts, uint8_t times)
{
    for (uint32_t part = 0; part < parts; part++)
        if (done[kind][id][direction][part] != times)
            return false;
    return true;
}

static bool commit_is_right(uint64_t id, bool committed, bool rolled_back)
{
    const uint32_t kind = TWAL_TXN_2PC, count = PARTICIPANTS;
    for (uint32_t part = 0; part < count; part++) {
        if (committed && part_fails(kind, id, part))
            return false;
        if (done[kind][id][TWAL_DIRECTION_PREPARE][part] > 1)
            return false;
    }
    return at_all(kind, id, TWAL_DIRECTION_COMMIT, count, committed) &&
           at_all(kind, id, TWAL_DIRECTION_ABORT, count, !committed) &&
           at_all(kind, id, TWAL_DIRECTION_ROLLBACK, count, rolled_back) &&
           (!committed || at_all(kind, id, TWAL_DIRECTION_PREPARE, count, 1));
}

static bool saga_is_right(uint64_t id, bool completed)
{
    const uint32_t kind = TWAL_TXN_SAGA;
    if (completed)
        return at_all(kind, id, TWAL_DIRECTION_EXECUTE, STEPS, 1) &&
               at_all(kind, id, TWAL_DIRECTION_COMPENSATE, STEPS, 0);
    for (uint32_t part = 0; part < STEPS; part++) {
        uint8_t times = done[kind][id][TWAL_DIRECTION_EXECUTE][part];
        if (times > 1 || done[kind][id][TWAL_DIRECTION_COMPENSATE][part] != times)
            return false;
    }
    return true;
}

static void note_effects(const crew *crew, verdict *verdict)
{
    memset(done, 0, sizeof(done));
    for (size_t at = 0; at < PARTICIPANTS; at++) {
        size_t count;
        effect *effects = effects_of(crew->states[at], &count);
        for (size_t one = 0; one < count; one++) {
            effect *it = &effects[one];
            if (it->direction == FORGET)
                continue;
            t_check(it->kind <= 2 && it->id < IDS && it->direction <= 6 && it->part < STEPS);
            highest[it->kind] = it->id > highest[it->kind] ? it->id : highest[it->kind];
            done[it->kind][it->id][it->direction][it->part]++;
            verdict->effects++;
        }
    }
}

/* With all of the log it says how each operation ended; else the effects must agree among themselves. */
static verdict judge(const crew *crew, const char *dir, bool keep)
{
    verdict verdict = { 0 };
    memset(highest, 0, sizeof(highest));
    memset(logged, 0, sizeof(logged));
    note_effects(crew, &verdict);
    if (keep) {
        twal_log *log = t_open_read_only(dir);
        t_seen seen;
        t_equal(t_read(log, 0, &seen, note_record, NULL), 0);
        t_close(log);
    }
    for (uint64_t id = 1; id <= highest[TWAL_TXN_2PC]; id++) {
        bool committed = keep ? logged[TWAL_TXN_2PC][id][0x14] : done[TWAL_TXN_2PC][id][TWAL_DIRECTION_COMMIT][0];
        bool rolled_back = keep ? logged[TWAL_TXN_2PC][id][0x18] : done[TWAL_TXN_2PC][id][TWAL_DIRECTION_ROLLBACK][0];
        verdict.commits += committed && !rolled_back;
        verdict.rollbacks += rolled_back;
        verdict.aborts += !committed;
        verdict.wrong += !commit_is_right(id, committed, rolled_back);
    }
    for (uint64_t id = 1; id <= highest[TWAL_TXN_SAGA]; id++) {
        bool completed = keep ? logged[TWAL_TXN_SAGA][id][0x09]
                              : at_all(TWAL_TXN_SAGA, id, TWAL_DIRECTION_EXECUTE, STEPS, 1);
        if (keep) /* one of the two ends, not both */
            verdict.wrong += logged[TWAL_TXN_SAGA][id][0x09] == logged[TWAL_TXN_SAGA][id][0x0A];
        verdict.completed += completed;
        verdict.compensated += !completed;
        verdict.wrong += !saga_is_right(id, completed);
    }
    return verdict;
}

/* ---- rounds ---- */

/* Waits for the coordinator's end, and brings participants back meanwhile. */
static void live_through(crew *crew, life *life)
{
    pid_t coordinator = t_fork(live, life), ended;
    int status;
    do {
        ended = waitpid(-1, &status, 0);
        t_check(ended > 0);
        bool killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
        bool finished = WIFEXITED(status) && WEXITSTATUS(status) == 0;
        if (ended == coordinator)
            t_check(life->last ? finished : killed);
        else
            t_check(killed && crew_restart(crew, ended));
    } while (ended != coordinator);
}

static verdict play(const char *name, uint64_t rounds, uint64_t until_ns, bool keep, bool forgets)
{
    static uint64_t lives;
    crew crew;
    char dir[32];
    uint64_t round = 0;
    snprintf(dir, sizeof(dir), "%s-log", name);
    crew_start(&crew, name, forgets);
    life life = { .crew = &crew, .dir = t_path(dir), .keep = keep };
    for (; round < rounds || t_now_ns() < until_ns; round++) {
        life.number = ++lives;
        live_through(&crew, &life);
    }
    life.number = ++lives;
    life.last = true;
    live_through(&crew, &life);
    verdict verdict = judge(&crew, life.dir, keep);
    printf("%s: %" PRIu64 " coordinators killed, %" PRIu64 " participants; %" PRIu64 " committed, %" PRIu64
           " aborted, %" PRIu64 " rolled back, %" PRIu64 " sagas completed, %" PRIu64 " compensated, %" PRIu64
           " effects, %" PRIu64 " operations wrong\n",
           name, round, crew.births - PARTICIPANTS, verdict.commits, verdict.aborts, verdict.rollbacks,
           verdict.completed, verdict.compensated, verdict.effects, verdict.wrong);
    crew_end(&crew);
    return verdict;
}

int main(void)
{
    t_begin();
    const char *asked = getenv("TWAL_TXN_ROUNDS"), *soak = getenv("TWAL_SOAK_SECONDS");
    uint64_t rounds = asked ? strtoull(asked, NULL, 10) : 60;
    uint64_t half_ns = soak ? strtoull(soak, NULL, 10) * 500000000 : 0;
    verdict kept = play("kept", rounds / 2, t_now_ns() + half_ns, true, false);
    verdict released = play("released", rounds - rounds / 2, t_now_ns() + half_ns, false, false);
    t_equal(kept.wrong, 0);
    t_equal(released.wrong, 0);
    /* Everything that can happen did. */
    t_check(kept.commits && kept.aborts && kept.completed && kept.compensated);
    t_check(released.commits && released.aborts && released.completed && released.compensated);
    verdict canary = play("canary", 30, 0, true, true);
    t_check(canary.wrong > 0);
    return t_end();
}
