/*
 * Goal: the scenarios of the coordinator's log that came before, on a real log, at 600 nodes each: what a crash left is
 * found, with what is to be done about it, and is finished; every line of the table that says what is to be done.
 * Method: a child does the work and is killed where the scenario says crash; what it left is read back from disk.
 * Each scenario prints what it counted.
 *
 * t:with txn_helpers txn_scenarios
 */
#include "txn_scenarios.h"

#define COMMIT_NODES 40 /* participants of a two-phase commit */

typedef struct b11 {
    const char *dir;
    uint64_t sagas, sagas_done, commits, commits_done;
    bool checkpoint;
} b11;

static void coordinate(void *arg)
{
    b11 *what = arg;
    twal_options options = t_options_quiet();
    twal_txn_options manage = manual();
    twal_log *log = t_open(what->dir, &options);
    twal_txn *txn = t_recover(log, &manage);
    uint64_t number = 0;
    for (; number < what->sagas_done; number++)
        saga_of_one(txn, number, COMPLETED);
    for (uint64_t at = 0; at < what->commits_done; at++)
        commit_of(txn, at, COMMIT_NODES, true);
    if (what->checkpoint)
        t_ok(twal_txn_checkpoint(txn, NULL));
    for (; number < what->sagas; number++)
        saga_of_one(txn, number, EXECUTING);
    for (uint64_t at = what->commits_done; at < what->commits; at++)
        commit_of(txn, at, COMMIT_NODES, false);
}

static void recover_what_was_left(const char *name, b11 what)
{
    what.dir = t_path(name);
    t_crash_after(coordinate, &what);
    twal_options options = t_options_quiet();
    twal_log *log = t_open(what.dir, &options);
    twal_txn *txn = t_recover(log, NULL);
    twal_txn_report report = t_report(txn);
    uint64_t execute = t_count_action(txn, TWAL_RESUME_SAGA_EXECUTE);
    uint64_t commit = t_count_action(txn, TWAL_RESUME_TX_COMMIT);
    t_equal(execute, what.sagas - what.sagas_done);
    t_equal(commit, what.commits - what.commits_done);
    t_equal(report.unfinished, execute + commit);
    t_check(report.checkpoints >= 1);
    twal_txn_operation one = TWAL_TXN_OPERATION_INIT;
    for (uint64_t at = 0; at < report.unfinished; at++) {
        t_ok(twal_txn_unfinished_get(txn, at, &one));
        t_equal(one.parts, one.kind == TWAL_TXN_SAGA ? 1 : COMMIT_NODES);
        t_equal(one.done, one.kind == TWAL_TXN_SAGA ? 0 : COMMIT_NODES);
        t_equal(one.state, one.kind == TWAL_TXN_SAGA ? (uint32_t)TWAL_SAGA_EXECUTING : (uint32_t)TWAL_2PC_COMMITTING);
        t_check(!memcmp(one.coordinator, node_of(one.id - 1).bytes, 32));
    }
    if (what.checkpoint) /* what lies before it is not asked again */
        t_equal(report.records_replayed, 1 + 3 * execute + (3 + 2 * COMMIT_NODES) * commit);
    on_disk found = read_back(log);
    printf("%s: %" PRIu64 " saga_resume_execute, %" PRIu64 " tx_resume_commit, %" PRIu64 " corrupted, %" PRIu64
           " checkpoints, %" PRIu64 " records replayed, %" PRIu64 " nodes\n",
           name, execute, commit, report.records_corrupted, report.checkpoints, report.records_replayed,
           nodes_in(&found, nodes));
    t_equal(finish(txn), execute + commit);
    t_txn_close(txn);
    t_close(log);
    /* What was finished by resume stays so. */
    log = t_open(what.dir, &options);
    txn = t_recover(log, NULL);
    t_equal(t_report(txn).unfinished, 0);
    t_txn_close(txn);
    t_close(log);
}

static void pipeline(void *dir)
{
    twal_options options = t_options_quiet();
    twal_log *log = t_open(dir, &options);
    twal_txn *txn = t_recover(log, NULL);
    for (uint64_t number = 0; number < 15; number++)
        saga_of_one(txn, number, number < 10 ? COMPLETED : COMPENSATED);
    commit_of(txn, 15, 8, true);
}

static void b11_4(const char *dir)
{
    t_crash_after(pipeline, (void *)(uintptr_t)dir);
    twal_options options = t_options_quiet();
    twal_log *log = t_open(dir, &options);
    twal_txn *txn = t_recover(log, NULL);
    on_disk found = read_back(log);
    t_equal(found.completed, 10);
    t_equal(found.compensated, 5);
    t_equal(found.committed, 1);
    t_equal(t_report(txn).unfinished, 0);
    t_equal(t_report(txn).records_corrupted, 0);
    printf("B11.4: 10 completed, 5 compensated, 1 of 8 participants committed, 0 corrupted, %" PRIu64 " nodes\n",
           nodes_in(&found, nodes));
    t_txn_close(txn);
    t_close(log);
}

/* ---- every line of the table ---- */

/* How each one is left, in the order of ids; two steps, two participants. */
enum { OVERDUE = 1, CREATED, PREPARING, REFUSED, ABORTING, PREPARED, COMMITTING, ROLLING_BACK, COMMITTED, TX_END };
enum { SAGA_CREATED = 1, SAGA_BEGUN, SAGA_HALF, SAGA_FAILED, SAGA_COMPENSATING, SAGA_DONE, SAGA_END };

static const uint32_t tx_action[] = { [OVERDUE] = TWAL_RESUME_TX_ABORT,        [CREATED] = TWAL_RESUME_NONE,
                                      [PREPARING] = TWAL_RESUME_TX_ABORT,      [REFUSED] = TWAL_RESUME_TX_ABORT,
                                      [ABORTING] = TWAL_RESUME_TX_ABORT,       [PREPARED] = TWAL_RESUME_TX_COMMIT,
                                      [COMMITTING] = TWAL_RESUME_TX_COMMIT,    [ROLLING_BACK] = TWAL_RESUME_TX_ROLLBACK };
static const uint32_t saga_action[] = { [SAGA_CREATED] = TWAL_RESUME_NONE,
                                        [SAGA_BEGUN] = TWAL_RESUME_SAGA_EXECUTE,
                                        [SAGA_HALF] = TWAL_RESUME_SAGA_EXECUTE,
                                        [SAGA_FAILED] = TWAL_RESUME_SAGA_COMPENSATE,
                                        [SAGA_COMPENSATING] = TWAL_RESUME_SAGA_COMPENSATE };
static const uint32_t tx_voted[] = { [OVERDUE] = 1,  [PREPARING] = 1,  [REFUSED] = 2,     [ABORTING] = 1,
                                     [PREPARED] = 2, [COMMITTING] = 2, [ROLLING_BACK] = 2 };

static void leave_commits(twal_txn *txn)
{
    t_name a = t_name_of("shard", 1), b = t_name_of("shard", 2);
    uint64_t id = 0, overdue = 0;
    for (uint64_t want = OVERDUE; want < TX_END; want++) {
        if (want == CREATED) {
            t_ok(twal_2pc_create(txn, NULL, &id, NULL));
            t_equal(id, want);
            continue;
        }
        id = t_2pc_begin(txn, a, 1, 2);
        t_equal(id, want);
        t_ok(twal_2pc_vote(txn, id, a.bytes, TWAL_VOTE_COMMIT, 0, NULL));
        if (want == OVERDUE) {
            t_ok(twal_2pc_expire(txn, 0, &overdue, NULL));
            t_equal(overdue, id);
        }
        if (want == REFUSED)
            t_ok(twal_2pc_vote(txn, id, b.bytes, TWAL_VOTE_ABORT, 0, NULL));
        if (want >= PREPARED)
            t_ok(twal_2pc_vote(txn, id, b.bytes, TWAL_VOTE_COMMIT, 0, NULL));
        if (want == ABORTING)
            t_ok(twal_2pc_abort_start(txn, id, NULL));
        if (want >= COMMITTING)
            t_ok(twal_2pc_commit_start(txn, id, NULL));
        if (want >= ROLLING_BACK)
            t_ok(twal_2pc_commit_complete(txn, id, 0, NULL));
        if (want == ROLLING_BACK)
            t_ok(twal_2pc_rollback_start(txn, id, NULL));
    }
}

static void leave_sagas(twal_txn *txn)
{
    uint64_t id = 0;
    t_ok(twal_saga_create(txn, NULL, &id, NULL));
    t_equal(id, SAGA_CREATED);
    for (uint64_t want = SAGA_BEGUN; want < SAGA_END; want++) {
        id = t_saga_begin(txn, t_name_of("me", 1), 2);
        t_equal(id, want);
        if (want >= SAGA_HALF)
            t_ok(twal_saga_step_succeeded(txn, id, 1, 0, NULL));
        if (want == SAGA_FAILED)
            t_ok(twal_saga_step_failed(txn, id, 2, 5, 0, NULL));
        if (want == SAGA_COMPENSATING)
            t_ok(twal_saga_compensation_start(txn, id, NULL));
        if (want == SAGA_DONE) {
            t_ok(twal_saga_step_succeeded(txn, id, 2, 0, NULL));
            t_ok(twal_saga_completed(txn, id, 0, NULL));
        }
    }
}

static void leave_one_of_each(void *dir)
{
    twal_options options = t_options_quiet();
    twal_log *log = t_open(dir, &options);
    twal_txn *txn = t_recover(log, NULL);
    leave_commits(txn);
    leave_sagas(txn);
}

/* What was asked of the participants of each: a bit for each direction and step or shard. */
static uint32_t asked[3][TX_END];

static int note(void *arg, const twal_txn_action *action, uint32_t *error_out)
{
    (void)arg, (void)error_out;
    t_name b = t_name_of("shard", 2);
    bool second = action->kind == TWAL_TXN_SAGA ? action->step == 2 : !memcmp(action->shard, b.bytes, 32);
    uint32_t bit = 1u << (2 * action->direction + second);
    t_check(action->id < TX_END && !(asked[action->kind][action->id] & bit));
    asked[action->kind][action->id] |= bit;
    return TWAL_DONE;
}

static uint32_t both(uint32_t direction)
{
    return 3u << (2 * direction);
}

/* The report's numbers of one, and that they are those of its own, asked for by id. */
static void expect_numbers(twal_txn *txn, const twal_txn_operation *one)
{
    bool saga = one->kind == TWAL_TXN_SAGA;
    twal_txn_operation now = TWAL_TXN_OPERATION_INIT;
    t_equal(one->parts, one->id == (saga ? (uint64_t)SAGA_CREATED : (uint64_t)CREATED) ? 0 : 2);
    t_equal(one->done, saga ? one->id == SAGA_HALF : tx_voted[one->id]);
    t_ok(saga ? twal_saga_get(txn, one->id, &now, NULL, 0) : twal_2pc_get(txn, one->id, &now, NULL, 0));
    t_check(now.last_seq == one->last_seq && now.state == one->state);
    t_check(!memcmp(now.coordinator, one->coordinator, 32));
}

static void every_line_of_the_table(const char *dir)
{
    t_crash_after(leave_one_of_each, (void *)(uintptr_t)dir);
    twal_options options = t_options_quiet();
    twal_log *log = t_open(dir, &options);
    twal_txn *txn = t_recover(log, NULL);
    t_equal(t_report(txn).unfinished, SAGA_DONE - 1 + COMMITTED - 1);
    for (uint64_t at = 0; at < t_report(txn).unfinished; at++) {
        twal_txn_operation one = TWAL_TXN_OPERATION_INIT;
        t_ok(twal_txn_unfinished_get(txn, at, &one));
        t_equal(one.id, at < SAGA_DONE - 1 ? at + 1 : at + 2 - SAGA_DONE);
        t_equal(one.action, one.kind == TWAL_TXN_SAGA ? saga_action[one.id] : tx_action[one.id]);
        expect_numbers(txn, &one);
    }
    twal_txn_participants participants = TWAL_TXN_PARTICIPANTS_INIT;
    twal_txn_resume_options how = TWAL_TXN_RESUME_OPTIONS_INIT;
    twal_txn_resumed resumed = TWAL_TXN_RESUMED_INIT;
    participants.execute = participants.compensate = note;
    participants.commit = participants.abort = participants.rollback = note;
    how.threads = 1;
    t_ok(twal_txn_resume(txn, &participants, &how, &resumed));
    t_check(resumed.left == 2); /* those that were only created */
    for (uint64_t id = 1; id < TX_END; id++) {
        uint32_t direction = tx_action[id < COMMITTED ? id : CREATED];
        uint32_t want = direction == TWAL_RESUME_TX_ABORT    ? both(TWAL_DIRECTION_ABORT)
                        : direction == TWAL_RESUME_TX_COMMIT ? both(TWAL_DIRECTION_COMMIT)
                        : id == ROLLING_BACK                 ? both(TWAL_DIRECTION_ROLLBACK)
                                                             : 0;
        t_equal(asked[TWAL_TXN_2PC][id], want);
    }
    uint32_t execute = 1u << (2 * TWAL_DIRECTION_EXECUTE), compensate = 1u << (2 * TWAL_DIRECTION_COMPENSATE);
    t_equal(asked[TWAL_TXN_SAGA][SAGA_CREATED], 0);
    t_equal(asked[TWAL_TXN_SAGA][SAGA_BEGUN], execute | execute << 1);
    t_equal(asked[TWAL_TXN_SAGA][SAGA_HALF], execute << 1); /* what succeeded is not repeated */
    t_equal(asked[TWAL_TXN_SAGA][SAGA_FAILED], compensate);
    t_equal(asked[TWAL_TXN_SAGA][SAGA_COMPENSATING], compensate);
    t_equal(asked[TWAL_TXN_SAGA][SAGA_DONE], 0);
    t_txn_close(txn);
    t_close(log);
}

int main(void)
{
    t_begin();
    every_line_of_the_table(t_path("table"));
    nodes = 600;
    step_nodes = 40; /* of at least 15 sagas, or of 10 beside 10 two-phase commits */
    recover_what_was_left("B11.1", (b11){ .sagas = 20, .sagas_done = 15 });
    recover_what_was_left("B11.2", (b11){ .commits = 15, .commits_done = 10 });
    recover_what_was_left("B11.3", (b11){ .sagas = 10, .sagas_done = 8, .commits = 10, .commits_done = 7,
                                          .checkpoint = true });
    b11_4(t_path("B11.4"));
    return t_end();
}
