/*
 * Goal: a decision is durable when its call returns, in every mode, whatever waits beside it.
 * Method: logs that write nothing by themselves for a minute (GROUP with a delay of 60 s; ASYNC flushed once an hour).
 * Each decision is durable on return; and a process killed right after twal_2pc_commit_start() returned resumes commit,
 * in either mode, while votes that nobody waited for are gone with it.
 *
 * t:with txn_helpers
 */
#include "txn_helpers.h"

static twal_options lazy(uint32_t durability)
{
    twal_options options = t_options_quiet();
    options.durability = durability;
    options.batch_delay_us = 60 * 1000000;
    options.batch_records = 1000000;
    options.flush_interval_ms = 3600 * 1000;
    return options;
}

/* The decision is durable though the record before it, which is none, was not. */
#define decided(call) \
    do { \
        uint64_t seq_ = 0; \
        t_ok(call); \
        t_check(seq_ > 0 && twal_durable_seq(log) >= seq_); \
    } while (0)
#define waiting(call) \
    do { \
        uint64_t seq_ = 0; \
        t_ok(call); \
        t_check(seq_ > 0 && twal_durable_seq(log) < seq_); \
    } while (0)

static void every_decision(uint32_t durability)
{
    const char *dir = t_path(durability == TWAL_GROUP ? "group" : "async");
    twal_options options = lazy(durability);
    twal_log *log = t_open(dir, &options);
    twal_txn *txn = t_recover(log, NULL);
    t_name me = t_name_of("me", 1), shard = t_name_of("shard", 1);
    twal_saga_step step = TWAL_SAGA_STEP_INIT;
    uint64_t id = 0;
    step.index = 1;

    decided(twal_saga_create(txn, NULL, &id, &seq_));
    waiting(twal_saga_add_step(txn, id, &step, 0, &seq_));
    decided(twal_saga_start(txn, id, &seq_));
    waiting(twal_saga_step_succeeded(txn, id, 1, TWAL_APPEND_NO_SYNC, &seq_));
    decided(twal_saga_compensation_start(txn, id, &seq_));
    waiting(twal_saga_compensation_failed(txn, id, 1, 1, 0, &seq_));
    decided(twal_saga_compensation_succeeded(txn, id, 1, TWAL_APPEND_SYNC, &seq_)); /* because it was asked for */
    waiting(twal_saga_compensated(txn, id, 0, &seq_));

    decided(twal_2pc_create(txn, NULL, &id, &seq_));
    waiting(twal_2pc_add_participant(txn, id, shard.bytes, me.bytes, 0, &seq_));
    decided(twal_2pc_prepare(txn, id, &seq_));
    waiting(twal_2pc_vote(txn, id, shard.bytes, TWAL_VOTE_COMMIT, 0, &seq_));
    decided(twal_2pc_commit_start(txn, id, &seq_));
    waiting(twal_2pc_commit_complete(txn, id, 0, &seq_));
    decided(twal_2pc_rollback_start(txn, id, &seq_));
    waiting(twal_2pc_rollback_complete(txn, id, 0, &seq_));
    decided(twal_2pc_create(txn, NULL, &id, &seq_));
    decided(twal_2pc_abort_start(txn, id, &seq_));
    waiting(twal_2pc_abort_complete(txn, id, 0, &seq_));
    decided(twal_txn_checkpoint(txn, &seq_));
    t_txn_close(txn);
    t_close(log);
}

typedef struct coordinator {
    const char *dir;
    uint32_t durability;
} coordinator;

static void decide_and_die(void *arg)
{
    const coordinator *me = arg;
    twal_options options = lazy(me->durability);
    twal_log *log = t_open(me->dir, &options);
    twal_txn *txn = t_recover(log, NULL);
    uint64_t tx = t_2pc_begin(txn, t_name_of("me", 1), 1, 3), other;
    t_equal(tx, 1);
    for (uint64_t shard = 1; shard <= 3; shard++)
        t_ok(twal_2pc_vote(txn, tx, t_name_of("shard", shard).bytes, TWAL_VOTE_COMMIT, TWAL_APPEND_NO_SYNC, NULL));
    t_ok(twal_2pc_commit_start(txn, tx, NULL));
    /* Only its votes are missing, and those nobody waited for: presumed abort. */
    other = t_2pc_begin(txn, t_name_of("me", 1), 1, 2);
    for (uint64_t shard = 1; shard <= 2; shard++)
        t_ok(twal_2pc_vote(txn, other, t_name_of("shard", shard).bytes, TWAL_VOTE_COMMIT, 0, NULL));
    t_equal(t_2pc_state(txn, other), TWAL_2PC_PREPARED); /* shown, and not durable */
}

static void killed(const char *name, uint32_t durability)
{
    coordinator me = { t_path(name), durability };
    t_crash_after(decide_and_die, &me);
    twal_options options = t_options();
    twal_log *log = t_open(me.dir, &options);
    twal_txn *txn = t_recover(log, NULL);
    twal_txn_operation one = TWAL_TXN_OPERATION_INIT;
    t_equal(t_report(txn).unfinished, 2);
    t_ok(twal_txn_unfinished_get(txn, 0, &one));
    t_check(one.id == 1 && one.kind == TWAL_TXN_2PC && one.parts == 3 && one.done == 3);
    t_equal(one.action, TWAL_RESUME_TX_COMMIT);
    t_equal(one.state, TWAL_2PC_COMMITTING);
    t_ok(twal_txn_unfinished_get(txn, 1, &one));
    t_check(one.id == 2 && one.parts == 2 && one.done == 0);
    t_equal(one.action, TWAL_RESUME_TX_ABORT);
    t_equal(one.state, TWAL_2PC_PREPARING);
    t_txn_close(txn);
    t_close(log);
}

int main(void)
{
    t_begin();
    every_decision(TWAL_GROUP);
    every_decision(TWAL_ASYNC);
    killed("killed", TWAL_GROUP);
    killed("killed-async", TWAL_ASYNC);
    return t_end();
}
