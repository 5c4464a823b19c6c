/*
 * Goal: resume runs the steps of a level at once and one level after the other; undoes from the highest level down, a level
 * at once; and asks for each action under one token, whatever dies between any two of its calls.
 * Method: a saga of three levels whose last step fails, so that everything is done and undone.  What is carried out stays
 * until all of its level are in flight.  Then the same in children that are killed before and after each effect; the
 * participants are memory that the children share, and remember tokens.
 *
 * t:with txn_helpers
 * t:valgrind no, dozens of processes that each open a log
 * t:asan no, dozens of processes that each open a log
 */
#include "txn_helpers.h"

#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define STEPS 6

/* Steps 1, 2, 3; then 4 on 1, and 5 on 2 and 3; then 6 on both, which fails. */
static const uint32_t level_of[STEPS + 1] = { 0, 0, 0, 0, 1, 1, 2 };
static const uint32_t in_level[] = { 3, 2, 1 };

/* In shared memory. */
typedef struct world {
    const char *dir;
    bool meet;          /* wait for the others of the level */
    atomic_long points; /* left until death; never if negative */
    atomic_uint in_flight[3][3], done[3][STEPS + 1];
    uint8_t token[3][STEPS + 1][16];
    bool known[3][STEPS + 1];
    atomic_uint repeats;
} world;

static world *it;

static void point(void)
{
    if (atomic_load(&it->points) >= 0 && atomic_fetch_sub(&it->points, 1) == 0)
        kill(getpid(), SIGKILL);
}

static uint32_t stands(uint32_t level)
{
    uint32_t count = 0;
    for (uint32_t step = 1; step <= STEPS; step++)
        count += level_of[step] == level && it->done[TWAL_DIRECTION_EXECUTE][step] &&
                 !it->done[TWAL_DIRECTION_COMPENSATE][step];
    return count;
}

static int act(const twal_txn_action *action, uint32_t *error_out)
{
    uint32_t step = action->step, direction = action->direction, level = level_of[step];
    uint8_t *token = it->token[direction][step];
    point();
    if (direction == TWAL_DIRECTION_EXECUTE)
        for (uint32_t lower = 0; lower < level; lower++)
            t_equal(stands(lower), in_level[lower]);
    else
        for (uint32_t higher = level + 1; higher < 3; higher++)
            t_equal(stands(higher), 0);
    if (it->meet) {
        atomic_fetch_add(&it->in_flight[direction][level], 1);
        t_await(atomic_load(&it->in_flight[direction][level]) == in_level[level], T_PATIENCE_MS);
    }
    /* The token and the effect in one: a child dies before or after it. */
    bool again = it->known[direction][step];
    t_check(!again || !memcmp(token, action->token, 16));
    memcpy(token, action->token, 16);
    it->known[direction][step] = true;
    it->repeats += again;
    it->done[direction][step] += !again && step != 6;
    point();
    *error_out = 66;
    return step == 6 ? TWAL_FAILED : TWAL_DONE;
}

static int execute(void *arg, const twal_txn_action *action, uint32_t *error_out)
{
    (void)arg;
    t_equal(action->direction, TWAL_DIRECTION_EXECUTE);
    return act(action, error_out);
}

static int compensate(void *arg, const twal_txn_action *action, uint32_t *error_out)
{
    (void)arg;
    t_equal(action->direction, TWAL_DIRECTION_COMPENSATE);
    t_check(action->payload_len == 4 && !memcmp(action->payload, &action->step, 4));
    return act(action, error_out);
}

static int never(void *arg, const twal_txn_action *action, uint32_t *error_out)
{
    (void)arg, (void)action, (void)error_out;
    t_check(!"there is no two-phase commit");
    return TWAL_RETRY;
}

static uint64_t begin(twal_txn *txn)
{
    static const uint32_t on[] = { 1, 2, 3, 4, 5 };
    twal_saga_spec spec = TWAL_SAGA_SPEC_INIT;
    twal_saga_step steps[STEPS];
    uint32_t undo[STEPS];
    uint64_t id = 0;
    for (uint32_t at = 0; at < STEPS; at++) {
        undo[at] = at + 1;
        steps[at] = (twal_saga_step)TWAL_SAGA_STEP_INIT;
        steps[at].index = at + 1;
        steps[at].payload = &undo[at];
        steps[at].payload_len = 4;
    }
    steps[3].depends_on = &on[0], steps[3].depends_on_count = 1;
    steps[4].depends_on = &on[1], steps[4].depends_on_count = 2;
    steps[5].depends_on = &on[3], steps[5].depends_on_count = 2;
    spec.steps = steps;
    spec.step_count = STEPS;
    spec.flags = TWAL_SAGA_START;
    t_ok(twal_saga_create(txn, &spec, &id, NULL));
    return id;
}

static void resume(twal_txn *txn, uint32_t threads)
{
    twal_txn_participants all = TWAL_TXN_PARTICIPANTS_INIT;
    twal_txn_resume_options how = TWAL_TXN_RESUME_OPTIONS_INIT;
    twal_txn_resumed resumed = TWAL_TXN_RESUMED_INIT;
    all.execute = execute;
    all.compensate = compensate;
    all.commit = all.abort = all.rollback = never;
    how.threads = threads;
    t_ok(twal_txn_resume(txn, &all, &how, &resumed));
    t_equal(resumed.left, 0);
}

/* Everything but the last step was done once, and undone once. */
static void check_effects(twal_txn *txn, uint64_t id)
{
    uint8_t token[16];
    t_equal(t_saga_state(txn, id), TWAL_SAGA_FINISHED);
    for (uint32_t step = 1; step <= STEPS; step++)
        for (uint32_t direction = TWAL_DIRECTION_EXECUTE; direction <= TWAL_DIRECTION_COMPENSATE; direction++) {
            t_equal(it->done[direction][step], step != 6);
            t_equal(it->known[direction][step], step != 6 || direction == TWAL_DIRECTION_EXECUTE);
            t_ok(twal_saga_token(txn, id, step, direction, token));
            t_check(!it->known[direction][step] || !memcmp(token, it->token[direction][step], 16));
        }
}

static void levels_at_once(void)
{
    twal_options options = t_options();
    twal_log *log = t_open(it->dir, &options);
    twal_txn *txn = t_recover(log, NULL);
    uint64_t id = begin(txn);
    txn = t_recover_again(txn, log);
    it->points = -1;
    it->meet = true;
    resume(txn, 3);
    check_effects(txn, id);
    t_equal(it->repeats, 0);
    t_txn_close(txn);
    t_close(log);
}

/* GROUP with a delay of 60 s: what is no decision is lost with the child. */
static twal_options lazy(void)
{
    twal_options options = t_options_quiet();
    options.durability = TWAL_GROUP;
    options.batch_delay_us = 60 * 1000000;
    options.batch_records = 1000000;
    return options;
}

static void live(void *arg)
{
    (void)arg;
    twal_options options = lazy();
    twal_log *log = t_open(it->dir, &options);
    twal_txn *txn = t_recover(log, NULL);
    if (t_report(txn).unfinished == 0) {
        begin(txn);
        txn = t_recover_again(txn, log);
    }
    resume(txn, 1);
}

static void killed_between_calls(void)
{
    uint32_t repeats = 0;
    long point = 0;
    for (bool died = true; died; point++) {
        const char *dir = it->dir;
        memset(it, 0, sizeof(*it));
        it->dir = dir;
        it->points = point;
        t_dir_remove(dir);
        t_crash_after(live, NULL);
        died = it->points < 0;
        twal_options options = lazy();
        twal_log *log = t_open(dir, &options);
        twal_txn *txn = t_recover(log, NULL);
        it->points = -1;
        /* Completed and not durable: it is asked for again, and finished. */
        resume(txn, 1);
        check_effects(txn, 1);
        repeats += it->repeats;
        t_txn_close(txn);
        t_close(log);
    }
    printf("killed at %ld points, %" PRIu32 " actions asked for again\n", point - 1, repeats);
    t_equal(point - 1, 2 * (STEPS + STEPS - 1));
    t_check(repeats >= point / 2);
}

int main(void)
{
    t_begin();
    it = mmap(NULL, sizeof(*it), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    t_check(it != MAP_FAILED);
    it->dir = t_path("levels");
    levels_at_once();
    it->dir = t_path("killed");
    t_check(mkdir(it->dir, 0700) == 0);
    killed_between_calls();
    return t_end();
}
