/*
 * Goal: a manager behaves when it is not where it should be: in a forked child, after its log is closed, twice on one
 * log, on a read-only, a poisoned or a full one; and resume answers for what its functions answer.
 *
 * t:with txn_helpers
 * t:leaks no, a forked child has lost the threads whose memory it inherits
 */
#include "txn_helpers.h"

/* Every call gives this code. */
static void all_calls_give(twal_txn *txn, int code)
{
    twal_txn_operation operation = TWAL_TXN_OPERATION_INIT;
    twal_txn_stats stats = TWAL_TXN_STATS_INIT;
    twal_saga_step step = TWAL_SAGA_STEP_INIT;
    t_name name = t_name_of("shard", 1);
    uint64_t id = 77, len = 77;
    uint32_t state = 77;
    t_code(twal_saga_create(txn, NULL, &id, &id), code);
    t_code(twal_saga_add_step(txn, 1, &step, 0, &id), code);
    t_code(twal_saga_start(txn, 1, &id), code);
    t_code(twal_saga_step_succeeded(txn, 1, 1, 0, &id), code);
    t_code(twal_saga_step_failed(txn, 1, 1, 1, 0, &id), code);
    t_code(twal_saga_compensation_start(txn, 1, &id), code);
    t_code(twal_saga_compensation_succeeded(txn, 1, 1, 0, &id), code);
    t_code(twal_saga_compensation_failed(txn, 1, 1, 1, 0, &id), code);
    t_code(twal_saga_completed(txn, 1, 0, &id), code);
    t_code(twal_saga_compensated(txn, 1, 0, &id), code);
    t_code(twal_saga_aborted(txn, 1, 0, &id), code);
    t_code(twal_2pc_create(txn, NULL, &id, &id), code);
    t_code(twal_2pc_add_participant(txn, 1, name.bytes, name.bytes, 0, &id), code);
    t_code(twal_2pc_prepare(txn, 1, &id), code);
    t_code(twal_2pc_vote(txn, 1, name.bytes, TWAL_VOTE_COMMIT, 0, &id), code);
    t_code(twal_2pc_commit_start(txn, 1, &id), code);
    t_code(twal_2pc_commit_complete(txn, 1, 0, &id), code);
    t_code(twal_2pc_abort_start(txn, 1, &id), code);
    t_code(twal_2pc_expire(txn, 0, &id, &id), code);
    t_code(twal_2pc_abort_complete(txn, 1, 0, &id), code);
    t_code(twal_2pc_rollback_start(txn, 1, &id), code);
    t_code(twal_2pc_rollback_complete(txn, 1, 0, &id), code);
    t_code(twal_txn_checkpoint(txn, &id), code);
    t_code(twal_txn_next(txn, 0, 0, &operation), code);
    t_code(twal_txn_stats_get(txn, &stats), code);
    t_code(twal_saga_state_get(txn, 1, &state), code);
    t_code(twal_2pc_state_get(txn, 1, &state), code);
    t_code(twal_saga_get(txn, 1, &operation, NULL, 0), code);
    t_code(twal_2pc_get(txn, 1, &operation, NULL, 0), code);
    t_code(twal_saga_payload_get(txn, 1, 1, NULL, 0, &len), code);
    t_check(id == 77 && len == 77 && state == 77 && operation.id == 0);
    /* What is wrong in itself comes before. */
    t_code(twal_saga_start(txn, 0, NULL), TWAL_E_INVAL);
    t_code(twal_saga_completed(txn, 1, 64, NULL), TWAL_E_INVAL);
}

/* ---- resume ---- */

typedef struct program {
    twal_txn *txn;
    int answer;
    uint32_t error;
    unsigned calls;
} program;

static int answer_so(void *arg, const twal_txn_action *action, uint32_t *error_out)
{
    program *it = arg;
    uint32_t state = 0;
    it->calls++;
    t_equal(action->attempt, it->calls);
    /* It may ask, and must not close. */
    if (action->kind == TWAL_TXN_SAGA)
        t_ok(twal_saga_state_get(it->txn, action->id, &state));
    else
        t_ok(twal_2pc_state_get(it->txn, action->id, &state));
    t_check(state == TWAL_SAGA_EXECUTING || state == TWAL_SAGA_COMPENSATING || state == TWAL_2PC_COMMITTING);
    t_code(twal_txn_close(it->txn), TWAL_E_STATE);
    twal_txn_participants none = TWAL_TXN_PARTICIPANTS_INIT;
    none.execute = none.compensate = none.commit = none.abort = none.rollback = answer_so;
    t_code(twal_txn_resume(it->txn, &none, NULL, NULL), TWAL_E_BUSY);
    *error_out = it->error;
    return it->answer;
}

static twal_txn_resumed resume(program *it)
{
    twal_txn_participants all = TWAL_TXN_PARTICIPANTS_INIT;
    twal_txn_resume_options once = TWAL_TXN_RESUME_OPTIONS_INIT;
    twal_txn_resumed resumed = TWAL_TXN_RESUMED_INIT;
    all.arg = it;
    all.execute = all.compensate = all.commit = all.abort = all.rollback = answer_so;
    once.threads = 1;
    once.attempts_max = 3;
    once.retry_delay_us = 1;
    it->calls = 0;
    t_ok(twal_txn_resume(it->txn, &all, &once, &resumed));
    t_equal(resumed.calls, it->calls);
    return resumed;
}

static void resume_answers(void)
{
    twal_options options = t_options();
    twal_log *log = t_open(t_path("resume"), &options);
    program it = { .txn = t_recover(log, NULL) };
    twal_txn_operation left = TWAL_TXN_OPERATION_INIT;
    twal_error why = TWAL_ERROR_INIT;
    uint64_t saga = t_saga_begin(it.txn, t_name_of("me", 1), 1);

    it.answer = TWAL_RETRY;
    twal_txn_resumed resumed = resume(&it); /* whoever has begun it goes on with it */
    t_check(resumed.calls == 0 && resumed.left == 0 && resumed.finished == 0);
    it.txn = t_recover_again(it.txn, log);
    resumed = resume(&it);
    t_check(resumed.calls == 3 && resumed.retries == 2 && resumed.left == 1 && resumed.finished == 0);
    t_ok(twal_txn_left_get(it.txn, 0, &left, &why));
    t_check(left.id == saga && left.kind == TWAL_TXN_SAGA && left.action == TWAL_RESUME_SAGA_EXECUTE);
    t_equal(why.code, TWAL_E_TIMEOUT);
    t_code(twal_txn_left_get(it.txn, 1, &left, &why), TWAL_E_NOTFOUND);
    it.answer = 1234; /* no answer at all is none */
    t_equal(resume(&it).left, 1);
    t_equal(t_saga_state(it.txn, saga), TWAL_SAGA_EXECUTING);
    it.answer = TWAL_FAILED; /* of its only step: nothing to undo */
    it.error = 71;
    resumed = resume(&it);
    t_check(resumed.finished == 1 && resumed.left == 0 && resumed.calls == 1);
    t_equal(t_saga_state(it.txn, saga), TWAL_SAGA_FINISHED);
    t_code(twal_txn_left_get(it.txn, 0, &left, NULL), TWAL_E_NOTFOUND);

    uint64_t tx = t_2pc_begin(it.txn, t_name_of("me", 1), 1, 1);
    t_ok(twal_2pc_vote(it.txn, tx, t_name_of("shard", 1).bytes, TWAL_VOTE_COMMIT, 0, NULL));
    it.txn = t_recover_again(it.txn, log);
    resumed = resume(&it); /* a promise cannot fail: it is left, committing */
    t_check(resumed.finished == 0 && resumed.left == 1);
    t_ok(twal_txn_left_get(it.txn, 0, &left, &why));
    t_check(left.state == TWAL_2PC_COMMITTING && why.code == TWAL_E_STATE && strstr(why.text, "71"));
    it.answer = TWAL_DONE;
    resumed = resume(&it);
    t_check(resumed.finished == 1 && resumed.left == 0);
    t_equal(t_2pc_state(it.txn, tx), TWAL_2PC_COMMITTED);

    twal_txn_participants all = TWAL_TXN_PARTICIPANTS_INIT;
    twal_txn_resume_options how = TWAL_TXN_RESUME_OPTIONS_INIT;
    twal_txn_resumed bad = { .struct_size = 4 };
    all.execute = all.compensate = all.commit = all.abort = answer_so;
    t_code(twal_txn_resume(it.txn, &all, NULL, NULL), TWAL_E_INVAL);
    all.rollback = answer_so;
    how.threads = 257;
    t_code(twal_txn_resume(it.txn, &all, &how, NULL), TWAL_E_INVAL);
    t_code(twal_txn_resume(it.txn, &all, NULL, &bad), TWAL_E_INVAL);
    t_code(twal_txn_resume(it.txn, NULL, NULL, NULL), TWAL_E_INVAL);
    t_code(twal_txn_resume(NULL, &all, NULL, NULL), TWAL_E_INVAL);
    t_txn_close(it.txn);
    t_close(log);
}

/* ---- forks ---- */

static twal_log *log_;
static twal_txn *txn_;

static void in_a_child(void *arg)
{
    twal_txn_report report = TWAL_TXN_REPORT_INIT;
    twal_txn *other = NULL;
    (void)arg;
    all_calls_give(txn_, TWAL_E_FORKED);
    t_code(twal_txn_report_get(txn_, &report), TWAL_E_FORKED);
    t_code(twal_txn_recover(log_, NULL, &other), TWAL_E_FORKED);
    t_ok(twal_txn_close(txn_));
    t_ok(twal_close(log_));
}

static void log_first_in_a_child(void *arg)
{
    (void)arg;
    t_ok(twal_close(log_));
    t_code(twal_saga_start(txn_, 1, NULL), TWAL_E_FORKED);
    t_ok(twal_txn_close(txn_));
}

static void forks_and_closes(void)
{
    twal_options options = t_options_quiet(); /* no mark between two looks at its files */
    const char *dir = t_path("forked");
    twal_txn *second = NULL;
    log_ = t_open(dir, &options);
    txn_ = t_recover(log_, NULL);
    uint64_t saga = t_saga_begin(txn_, t_name_of("me", 1), 2);
    uint64_t sum = t_segments_sum(dir);
    t_wait_child_ok(t_fork(in_a_child, NULL));
    t_wait_child_ok(t_fork(log_first_in_a_child, NULL));
    t_equal(t_segments_sum(dir), sum);

    /* One manager a log; the next one sees what the last one left. */
    t_code(twal_txn_recover(log_, NULL, &second), TWAL_E_BUSY);
    t_ok(twal_saga_step_succeeded(txn_, saga, 1, TWAL_APPEND_NO_SYNC, NULL));
    t_txn_close(txn_);
    txn_ = t_recover(log_, NULL);
    twal_txn_operation one = TWAL_TXN_OPERATION_INIT;
    t_ok(twal_txn_unfinished_get(txn_, 0, &one));
    t_check(one.id == saga && one.done == 1);

    /* The log may go first. */
    t_close(log_);
    all_calls_give(txn_, TWAL_E_CLOSED);
    t_equal(t_report(txn_).unfinished, 1); /* what was found is known */
    t_txn_close(txn_);

    log_ = t_open_read_only(dir);
    t_code(twal_txn_recover(log_, NULL, &second), TWAL_E_READ_ONLY);
    t_check(!second);
    t_close(log_);
}

/* ---- failures ---- */

static void poisoned(void)
{
    twal_options options = t_options_quiet(); /* no mark of its own fails first */
    const char *dir = t_path("poisoned");
    twal_log *log = t_open(dir, &options);
    twal_txn *txn = t_recover(log, NULL);
    uint64_t saga = t_saga_begin(txn, t_name_of("me", 1), 2), seq = 7;
    t_fail_writes(true);
    /* Its own write fails; but if the log's thread was faster, the log is poisoned before the call waits. */
    int code = twal_saga_step_succeeded(txn, saga, 1, TWAL_APPEND_SYNC, &seq);
    t_check(code == TWAL_E_IO || code == TWAL_E_POISONED);
    t_equal(seq, 7);
    t_fail_writes(false);
    all_calls_give(txn, TWAL_E_POISONED);
    t_txn_close(txn);
    t_check(twal_close(log) != TWAL_OK);
    /* A new open knows. */
    log = t_open(dir, &options);
    txn = t_recover(log, NULL);
    t_equal(t_count_action(txn, TWAL_RESUME_SAGA_EXECUTE), 1);
    t_txn_close(txn);
    t_close(log);
}

/* A table that is full takes nothing new, and ends what it has. */
static void full(void)
{
    twal_options options = t_options();
    options.record_size_max = 2000;
    twal_log *log = t_open(t_path("full"), &options);
    twal_txn *txn = t_recover(log, NULL);
    uint64_t first = t_saga_begin(txn, t_name_of("me", 1), 1), id, last_seq;
    int code;
    while ((code = twal_saga_create(txn, NULL, &id, NULL)) == TWAL_OK)
        ;
    t_equal(code, TWAL_E_AGAIN);
    last_seq = twal_last_seq(log);
    t_code(twal_2pc_create(txn, NULL, &id, NULL), TWAL_E_AGAIN);
    t_equal(twal_last_seq(log), last_seq);
    t_ok(twal_txn_checkpoint(txn, NULL));
    t_ok(twal_saga_step_succeeded(txn, first, 1, 0, NULL));
    t_ok(twal_saga_completed(txn, first, 0, NULL));
    t_ok(twal_saga_create(txn, NULL, &id, NULL));
    t_txn_close(txn);
    t_close(log);
    options.record_size_max = 16; /* no checkpoint fits */
    txn = NULL;
    log = t_open(t_path("tiny"), &options);
    t_code(twal_txn_recover(log, NULL, &txn), TWAL_E_INVAL);
    t_check(!txn);
    t_close(log);
}

/* The program's own records: kept where the manager is told to. */
static void own_records(bool keep)
{
    twal_options options = t_options_small();
    twal_txn_options manage = TWAL_TXN_OPTIONS_INIT;
    manage.flags = keep ? TWAL_TXN_KEEP_RECORDS : 0;
    manage.stream = 9;
    twal_log *log = t_open(t_path(keep ? "kept" : "released"), &options);
    t_append_many(log, 10, 100);
    twal_txn *txn = t_recover(log, &manage);
    for (int at = 0; at < 40; at++) {
        uint64_t saga = t_saga_begin(txn, t_name_of("me", 1), 1);
        t_ok(twal_saga_aborted(txn, saga, 0, NULL));
    }
    t_ok(twal_roll(log));
    t_ok(twal_txn_checkpoint(txn, NULL));
    t_ok(twal_roll(log));
    t_ok(twal_txn_checkpoint(txn, NULL));
    t_check(keep ? twal_first_seq(log) == 1 : twal_first_seq(log) > 10);
    uint64_t held = twal_first_seq(log), needed = t_txn_stats(txn).checkpoint_seq;
    t_ok(twal_trim(log, twal_last_seq(log) + 1)); /* never what the manager needs */
    t_check(twal_first_seq(log) >= held && twal_first_seq(log) <= needed);
    t_txn_close(txn);
    t_close(log);
}

int main(void)
{
    t_begin();
    resume_answers();
    forks_and_closes();
    poisoned();
    full();
    own_records(true);
    own_records(false);
    return t_end();
}
