/*
 * Goal: the scenarios of the two transaction logs that came before, on a real log: four of a segmented log at 800
 * nodes, four of a coordinator's recovery at 600.  A node is an id that takes part: coordinator, participant, or named
 * in what a step is undone with.
 * Method: a child does the work and is killed where the scenario says crash; what it left is read back from disk.
 * Each scenario prints what it counted.
 *
 * t:with txn_helpers
 */
#include "txn_helpers.h"

#define COMMIT_NODES 40 /* participants of a two-phase commit in B11 */

static uint64_t nodes;      /* of this scenario */
static uint64_t step_nodes; /* named in a step's payload: so many that all take part */

typedef enum fate { COMPLETED, COMPENSATED, EXECUTING } fate;

static t_name node_of(uint64_t number)
{
    return t_name_of("node", number % nodes);
}

/* Saga `number` of one step: 5 records if it is completed, 3 if it is left executing. */
static void saga_of_one(twal_txn *txn, uint64_t number, fate fate)
{
    t_name undo[64];
    t_check(step_nodes <= 64);
    for (uint64_t at = 0; at < step_nodes; at++)
        undo[at] = node_of(number * step_nodes + at);
    twal_saga_spec spec = TWAL_SAGA_SPEC_INIT;
    twal_saga_step step = TWAL_SAGA_STEP_INIT;
    uint64_t id = 0;
    memcpy(spec.coordinator, node_of(number).bytes, 32);
    step.index = 1;
    step.payload = undo;
    step.payload_len = step_nodes * sizeof(undo[0]);
    t_ok(twal_saga_create(txn, &spec, &id, NULL));
    t_ok(twal_saga_add_step(txn, id, &step, 0, NULL));
    t_ok(twal_saga_start(txn, id, NULL));
    if (fate == EXECUTING)
        return;
    t_ok(twal_saga_step_succeeded(txn, id, 1, 0, NULL));
    if (fate == COMPLETED) {
        t_ok(twal_saga_completed(txn, id, 0, NULL));
        return;
    }
    t_ok(twal_saga_compensation_start(txn, id, NULL));
    t_ok(twal_saga_compensation_succeeded(txn, id, 1, 0, NULL));
    t_ok(twal_saga_compensated(txn, id, 0, NULL));
}

/* Two-phase commit `number` of `count` participants: 4 + 2 * count records if it is completed, one fewer if not. */
static void commit_of(twal_txn *txn, uint64_t number, size_t count, bool complete)
{
    twal_2pc_spec spec = TWAL_2PC_SPEC_INIT;
    uint64_t id = 0;
    memcpy(spec.coordinator, node_of(number).bytes, 32);
    t_ok(twal_2pc_create(txn, &spec, &id, NULL));
    for (uint64_t at = 0; at < count; at++)
        t_ok(twal_2pc_add_participant(txn, id, t_name_of("shard", at).bytes,
                                      node_of(799 - number * count - at).bytes, 0, NULL));
    t_ok(twal_2pc_prepare(txn, id, NULL));
    for (uint64_t at = 0; at < count; at++)
        t_ok(twal_2pc_vote(txn, id, t_name_of("shard", at).bytes, TWAL_VOTE_COMMIT, 0, NULL));
    t_ok(twal_2pc_commit_start(txn, id, NULL));
    if (complete)
        t_ok(twal_2pc_commit_complete(txn, id, 0, NULL));
}

/* ---- what is on disk ---- */

typedef struct on_disk {
    uint64_t sagas, transactions, checkpoints, completed, compensated, committed;
    uint8_t *seen; /* a bit a node */
} on_disk;

static void see_name(on_disk *found, const uint8_t *bytes)
{
    char text[33] = { 0 };
    uint64_t number;
    memcpy(text, bytes, 32);
    if (sscanf(text, "node %" SCNu64, &number) == 1 && number < nodes)
        found->seen[number] = 1;
}

static void see(const twal_record *record, void *arg)
{
    on_disk *found = arg;
    const uint8_t *data = record->data;
    t_check(record->flags & TWAL_RECORD_REQUIRED);
    found->sagas += record->type <= 0x0B;
    found->transactions += record->type >= 0x10 && record->type <= 0x19;
    found->checkpoints += record->type == 0xF0;
    found->completed += record->type == 0x09;
    found->compensated += record->type == 0x0A;
    found->committed += record->type == 0x15;
    if (record->type == 0x01 || record->type == 0x10)
        see_name(found, data + 8);
    if (record->type == 0x11)
        see_name(found, data + 40);
    if (record->type == 0x02)
        for (size_t at = 17; at + 32 <= record->len; at += 32)
            see_name(found, data + at);
}

static on_disk read_back(twal_log *log)
{
    on_disk found = { .seen = calloc(nodes, 1) };
    t_seen seen;
    t_check(found.seen);
    t_equal(t_read(log, 0, &seen, see, &found), 0);
    t_equal(found.sagas + found.transactions + found.checkpoints, seen.count);
    return found;
}

/* All of them, or of A11.2 as many as 20 two-phase commits of 6 records can name. */
static uint64_t nodes_in(on_disk *found, uint64_t want)
{
    uint64_t count = 0;
    for (uint64_t at = 0; at < nodes; at++)
        count += found->seen[at];
    free(found->seen);
    t_equal(count, want);
    return count;
}

/* Checkpoints by call only, and all of the log is read back. */
static twal_txn_options manual(void)
{
    twal_txn_options options = TWAL_TXN_OPTIONS_INIT;
    options.checkpoint_interval = UINT64_MAX;
    options.flags = TWAL_TXN_KEEP_RECORDS;
    return options;
}

/* ---- resume, for what is left ---- */

static int do_it(void *arg, const twal_txn_action *action, uint32_t *error_out)
{
    (void)arg, (void)error_out;
    t_check(action->struct_size >= sizeof(*action) && action->attempt == 1);
    return TWAL_DONE;
}

static uint64_t finish(twal_txn *txn)
{
    twal_txn_participants participants = TWAL_TXN_PARTICIPANTS_INIT;
    twal_txn_resumed resumed = TWAL_TXN_RESUMED_INIT;
    participants.execute = participants.compensate = do_it;
    participants.commit = participants.abort = participants.rollback = do_it;
    t_ok(twal_txn_resume(txn, &participants, NULL, &resumed));
    t_equal(resumed.left, 0);
    t_equal(t_count_active(txn), 0);
    return resumed.finished;
}

/* ---- the segmented log, 800 nodes ---- */

static twal_options of_fifty(void)
{
    twal_options options = t_options_quiet();
    options.segment_records_max = 50;
    options.max_retained_segments = UINT64_MAX;
    return options;
}

static void forty_sagas(void *dir)
{
    twal_options options = of_fifty();
    twal_txn_options manage = manual();
    twal_log *log = t_open(dir, &options);
    twal_txn *txn = t_recover(log, &manage);
    uint64_t before = t_stats(log).flushes;
    for (uint64_t number = 0; number < 40; number++)
        saga_of_one(txn, number, COMPLETED);
    uint64_t flushes = t_stats(log).flushes - before;
    t_equal(t_txn_stats(txn).saga_events, 200);
    t_check(flushes >= 200);
    t_equal(t_count_active(txn), 0);
    printf("A11.1: 40 sagas, 200 records, %" PRIu64 " flushes\n", flushes);
}

static void a11_1(const char *dir)
{
    t_crash_after(forty_sagas, (void *)(uintptr_t)dir);
    size_t segments;
    t_segments(dir, &segments);
    t_check(segments >= 4);
    twal_options options = of_fifty();
    twal_log *log = t_open(dir, &options);
    twal_txn *txn = t_recover(log, NULL);
    on_disk found = read_back(log);
    t_equal(found.sagas, 200);
    t_equal(found.completed, 40);
    t_equal(t_report(txn).unfinished, 0);
    t_check(t_report(txn).checkpoints == 1 && t_report(txn).records_replayed == 201);
    printf("A11.1: after the crash %zu segments, 0 active, %" PRIu64 " nodes\n", segments, nodes_in(&found, nodes));
    t_txn_close(txn);
    t_close(log);
}

static void twenty_commits(void *dir)
{
    twal_options options = t_options_quiet();
    twal_txn_options manage = manual();
    options.durability = TWAL_GROUP;
    options.batch_records = 8;
    options.batch_delay_us = 60 * 1000000;
    twal_log *log = t_open(dir, &options);
    twal_txn *txn = t_recover(log, &manage);
    uint64_t before = t_stats(log).flushes;
    for (uint64_t number = 0; number < 20; number++)
        commit_of(txn, number, 1, true);
    uint64_t flushes = t_stats(log).flushes - before;
    t_equal(t_txn_stats(txn).tx_events, 120);
    t_check(flushes >= 15);
    t_check(twal_durable_seq(log) < twal_last_seq(log));
    t_ok(twal_sync(log, 0));
    t_equal(twal_last_seq(log) - twal_durable_seq(log), 0);
    printf("A11.2: 20 two-phase commits, 120 records, %" PRIu64 " flushes, pending 0 after a manual one\n", flushes);
}

static void a11_2(const char *dir)
{
    t_crash_after(twenty_commits, (void *)(uintptr_t)dir);
    twal_options options = t_options_quiet();
    twal_log *log = t_open(dir, &options);
    twal_txn *txn = t_recover(log, NULL);
    on_disk found = read_back(log);
    t_equal(found.transactions, 120);
    t_equal(found.committed, 20);
    t_equal(t_report(txn).unfinished, 0);
    for (uint64_t id = 1; id <= 20; id++)
        t_equal(t_2pc_state(txn, id), TWAL_2PC_COMMITTED);
    printf("A11.2: after the crash all committed, %" PRIu64 " nodes in 120 records\n", nodes_in(&found, 40));
    t_txn_close(txn);
    t_close(log);
}

static void thirty_and_ten(void *dir)
{
    twal_options options = of_fifty();
    twal_txn_options manage = manual();
    twal_log *log = t_open(dir, &options);
    twal_txn *txn = t_recover(log, &manage);
    for (uint64_t number = 0; number < 40; number++)
        saga_of_one(txn, number, number % 4 == 3 ? EXECUTING : COMPLETED);
    t_equal(t_txn_stats(txn).saga_events, 180);
    t_ok(twal_sync(log, 0));
}

static void compact_it(void *dir)
{
    twal_options options = of_fifty();
    twal_txn_options manage = manual();
    manage.flags |= TWAL_TXN_KEEP_RECORDS;
    twal_log *log = t_open(dir, &options);
    twal_txn *txn = t_recover(log, &manage);
    twal_compact_options how = TWAL_COMPACT_OPTIONS_INIT;
    twal_compaction done = TWAL_COMPACTION_INIT;
    how.flags = TWAL_COMPACT_SEAL;
    t_ok(twal_txn_compact(txn, &how, &done));
    t_equal(done.events_purged, 150);
    t_equal(done.events_kept, 30);
    t_equal(done.records_purged, done.events_purged + done.checkpoints_purged);
    t_equal(t_count_active(txn), 10);
    t_check(done.bytes_saved * 100 >= done.bytes_before * 75);
    twal_stats stats = t_stats(log);
    t_equal(stats.records_purged, done.records_purged);
    t_equal(stats.compaction_bytes_saved, done.bytes_saved);
    t_equal(stats.segments_compacted, done.segments_compacted);
    t_equal(stats.compactions, 1);
    printf("A11.3: compaction purges %" PRIu64 ", keeps %" PRIu64 ", saves %" PRIu64 " of %" PRIu64 " bytes\n",
           done.events_purged, done.events_kept, done.bytes_saved, done.bytes_before);
}

static void a11_3(const char *dir)
{
    t_crash_after(thirty_and_ten, (void *)(uintptr_t)dir);
    twal_options options = of_fifty();
    twal_log *log = t_open(dir, &options);
    twal_txn *txn = t_recover(log, NULL);
    on_disk found = read_back(log);
    t_equal(found.sagas, 180);
    t_equal(found.completed, 30);
    t_equal(t_count_action(txn, TWAL_RESUME_SAGA_EXECUTE), 10);
    printf("A11.3: 30 finished, 10 active after the crash, %" PRIu64 " nodes\n", nodes_in(&found, nodes));
    t_txn_close(txn);
    t_close(log);

    /* Compacted, and killed at once. */
    t_crash_after(compact_it, (void *)(uintptr_t)dir);
    log = t_open(dir, &options);
    txn = t_recover(log, NULL);
    t_equal(t_count_action(txn, TWAL_RESUME_SAGA_EXECUTE), 10);
    found = (on_disk){ .seen = calloc(nodes, 1) };
    t_check(found.seen);
    twal_iter *iter = NULL;
    twal_record record;
    int code;
    t_ok(twal_iter_open(log, NULL, &iter));
    while ((code = twal_iter_next(iter, &record)) == 1)
        see(&record, &found);
    t_equal(code, 0);
    twal_iter_close(iter);
    free(found.seen);
    t_equal(found.sagas, 30);
    t_equal(found.completed, 0);
    for (uint64_t id = 1; id <= 40; id++)
        t_equal(t_saga_state(txn, id), id % 4 == 0 ? (uint32_t)TWAL_SAGA_EXECUTING : (uint32_t)TWAL_SAGA_FINISHED);
    printf("A11.3: after that crash, too, 10 are active\n");
    t_equal(finish(txn), 10);
    t_txn_close(txn);
    t_close(log);
}

typedef struct share {
    twal_txn *txn;
    uint64_t first, count;
    fate fate;
} share;

static void *sagas_of(void *arg)
{
    share *mine = arg;
    for (uint64_t at = 0; at < mine->count; at++)
        saga_of_one(mine->txn, mine->first + at, mine->fate);
    return NULL;
}

static void all_at_once(void *dir)
{
    twal_options options = of_fifty();
    twal_txn_options manage = manual();
    twal_log *log = t_open(dir, &options);
    twal_txn *txn = t_recover(log, &manage);
    share shares[] = { { txn, 0, 15, COMPLETED }, { txn, 15, 5, COMPLETED }, { txn, 20, 5, COMPLETED },
                       { txn, 25, 5, COMPENSATED } };
    pthread_t threads[4];
    for (size_t at = 0; at < 4; at++)
        threads[at] = t_thread(sagas_of, &shares[at]);
    t_ok(twal_txn_checkpoint(txn, NULL));
    share sequential = { txn, 30, 5, COMPLETED };
    sagas_of(&sequential);
    commit_of(txn, 35, 8, true);
    for (size_t at = 0; at < 4; at++)
        t_join(threads[at]);
    twal_txn_stats stats = t_txn_stats(txn);
    t_equal(stats.saga_events, 30 * 5 + 5 * 7);
    t_equal(stats.tx_events, 20);
    t_equal(stats.checkpoints, 2);
    t_equal(stats.active_sagas + stats.active_txs, 0);
}

static void a11_4(const char *dir)
{
    t_crash_after(all_at_once, (void *)(uintptr_t)dir);
    twal_options options = of_fifty();
    twal_log *log = t_open(dir, &options);
    twal_txn *txn = t_recover(log, NULL);
    on_disk found = read_back(log);
    t_equal(t_report(txn).unfinished, 0);
    t_equal(found.completed, 30);
    t_equal(found.compensated, 5);
    t_equal(found.committed, 1);
    t_equal(found.checkpoints, 2);
    printf("A11.4: 15 + 10 + 5 completed, 5 compensated, 1 of 8 participants committed, 1 checkpoint by call, "
           "%" PRIu64 " nodes\n",
           nodes_in(&found, nodes));
    printf("A11.4: skipped: compaction, metrics and locks have no calls in this library\n");
    t_txn_close(txn);
    t_close(log);
}

/* ---- the coordinator's recovery, 600 nodes ---- */

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
    nodes = 800;
    step_nodes = 23; /* of at least 35 sagas */
    a11_1(t_path("A11.1"));
    a11_2(t_path("A11.2"));
    a11_3(t_path("A11.3"));
    a11_4(t_path("A11.4"));
    nodes = 600;
    step_nodes = 40; /* of at least 15 sagas, or of 10 beside 10 two-phase commits */
    recover_what_was_left("B11.1", (b11){ .sagas = 20, .sagas_done = 15 });
    recover_what_was_left("B11.2", (b11){ .commits = 15, .commits_done = 10 });
    recover_what_was_left("B11.3", (b11){ .sagas = 10, .sagas_done = 8, .commits = 10, .commits_done = 7,
                                          .checkpoint = true });
    b11_4(t_path("B11.4"));
    return t_end();
}
