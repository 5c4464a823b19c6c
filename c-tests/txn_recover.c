/*
 * Goal: the scenarios of the coordinator's log that came before, on a real log, at 600 nodes each: what a crash left is
 * found, with what is to be done about it, and is finished.
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

int main(void)
{
    t_begin();
    nodes = 600;
    step_nodes = 40; /* of at least 15 sagas, or of 10 beside 10 two-phase commits */
    recover_what_was_left("B11.1", (b11){ .sagas = 20, .sagas_done = 15 });
    recover_what_was_left("B11.2", (b11){ .commits = 15, .commits_done = 10 });
    recover_what_was_left("B11.3", (b11){ .sagas = 10, .sagas_done = 8, .commits = 10, .commits_done = 7,
                                          .checkpoint = true });
    b11_4(t_path("B11.4"));
    return t_end();
}
