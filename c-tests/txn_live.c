/*
 * Goal: every call of the transaction layer does what it says on a log that is open, and whatever it refuses writes
 * nothing and touches nothing.
 * Method: an operation of each kind through all its states, with what is asked at each; the log's last number before
 * and after each refusal.
 *
 * t:with txn_helpers
 */
#include "txn_helpers.h"

static twal_log *log_;
static twal_txn *txn_;

/* The call is refused so, no record was written, and neither number given. */
static uint64_t seq, id;
#define UNTOUCHED UINT64_C(0x1234567812345678)
#define refused(call, code) \
    do { \
        uint64_t last_ = twal_last_seq(log_), events_ = events(); \
        seq = id = UNTOUCHED; \
        t_code(call, code); \
        t_equal(twal_last_seq(log_), last_); \
        t_equal(events(), events_); \
        t_check(seq == UNTOUCHED && id == UNTOUCHED); \
    } while (0)

/* The call writes one record, and gives its number. */
#define taken(call) \
    do { \
        uint64_t last_ = twal_last_seq(log_); \
        t_ok(call); \
        t_equal(seq, last_ + 1); \
        t_equal(twal_last_seq(log_), last_ + 1); \
        t_check(twal_durable_seq(log_) >= seq); \
    } while (0)

static uint64_t events(void)
{
    twal_txn_stats stats = t_txn_stats(txn_);
    return stats.saga_events + stats.tx_events + stats.checkpoints;
}

static twal_saga_step step_of(uint32_t index, const uint32_t *on, size_t count, const char *undo)
{
    twal_saga_step step = TWAL_SAGA_STEP_INIT;
    step.index = index;
    step.action = 200;
    step.depends_on = on;
    step.depends_on_count = count;
    step.payload = undo;
    step.payload_len = undo ? strlen(undo) : 0;
    return step;
}

static void expect_step(uint64_t saga, size_t at, uint32_t index, uint32_t level, uint32_t state, uint32_t number)
{
    twal_txn_operation operation = TWAL_TXN_OPERATION_INIT;
    twal_saga_step_info steps[8];
    t_ok(twal_saga_get(txn_, saga, &operation, steps, 8));
    t_check(at < operation.parts);
    t_equal(steps[at].index, index);
    t_equal(steps[at].action, 200);
    t_equal(steps[at].level, level);
    t_equal(steps[at].state, state);
    t_equal(steps[at].number, number);
}

/* 1 and 2, then 3 on both: two levels. */
static uint64_t saga_of_three(void)
{
    static const uint32_t both[] = { 1, 2 };
    uint64_t saga = 0;
    t_ok(twal_saga_create(txn_, NULL, &saga, &seq));
    twal_saga_step step = step_of(1, NULL, 0, "undo one");
    taken(twal_saga_add_step(txn_, saga, &step, 0, &seq));
    step = step_of(2, NULL, 0, NULL);
    taken(twal_saga_add_step(txn_, saga, &step, TWAL_APPEND_SYNC, &seq));
    step = step_of(3, both, 2, "undo three");
    taken(twal_saga_add_step(txn_, saga, &step, 0, &seq));
    return saga;
}

static void a_saga_that_is_completed(void)
{
    t_equal(t_saga_state(txn_, 1), TWAL_SAGA_UNKNOWN);
    uint64_t saga = saga_of_three();
    t_equal(saga, 1);
    t_equal(t_saga_state(txn_, saga), TWAL_SAGA_CREATED);
    static const uint32_t self[] = { 4 }, twice[] = { 1, 1 };
    twal_saga_step bad = step_of(1, NULL, 0, NULL);
    refused(twal_saga_add_step(txn_, saga, &bad, 0, &seq), TWAL_E_STATE); /* it is there */
    bad = step_of(4, self, 1, NULL);
    refused(twal_saga_add_step(txn_, saga, &bad, 0, &seq), TWAL_E_STATE); /* of itself */
    bad = step_of(4, twice, 2, NULL);
    refused(twal_saga_add_step(txn_, saga, &bad, 0, &seq), TWAL_E_STATE);
    refused(twal_saga_step_succeeded(txn_, saga, 1, 0, &seq), TWAL_E_STATE); /* not started */
    refused(twal_saga_compensation_start(txn_, saga, &seq), TWAL_E_STATE);
    taken(twal_saga_start(txn_, saga, &seq));
    t_equal(t_saga_state(txn_, saga), TWAL_SAGA_EXECUTING);
    refused(twal_saga_start(txn_, saga, &seq), TWAL_E_STATE);
    bad = step_of(4, NULL, 0, NULL);
    refused(twal_saga_add_step(txn_, saga, &bad, 0, &seq), TWAL_E_STATE);
    refused(twal_saga_step_succeeded(txn_, saga, 3, 0, &seq), TWAL_E_STATE); /* another level */
    refused(twal_saga_step_succeeded(txn_, saga, 9, 0, &seq), TWAL_E_STATE); /* no such step */
    taken(twal_saga_step_succeeded(txn_, saga, 2, 0, &seq));
    refused(twal_saga_step_succeeded(txn_, saga, 2, 0, &seq), TWAL_E_STATE); /* it has its outcome */
    refused(twal_saga_step_failed(txn_, saga, 2, 5, 0, &seq), TWAL_E_STATE);
    refused(twal_saga_compensation_succeeded(txn_, saga, 2, 0, &seq), TWAL_E_STATE);
    refused(twal_saga_compensation_failed(txn_, saga, 2, 1, 0, &seq), TWAL_E_STATE);
    taken(twal_saga_step_succeeded(txn_, saga, 1, 0, &seq));
    refused(twal_saga_completed(txn_, saga, 0, &seq), TWAL_E_STATE); /* 3 is not done */
    refused(twal_saga_compensated(txn_, saga, 0, &seq), TWAL_E_STATE);
    refused(twal_saga_aborted(txn_, saga, 0, &seq), TWAL_E_STATE); /* what stands must be undone */
    expect_step(saga, 1, 2, 0, TWAL_STEP_SUCCEEDED, 0);
    expect_step(saga, 2, 3, 1, TWAL_STEP_PENDING, 0);

    /* Room for fewer steps than there are: the first ones, and no more. */
    twal_txn_operation operation = TWAL_TXN_OPERATION_INIT;
    twal_saga_step_info steps[3];
    memset(steps, 0x5A, sizeof(steps));
    t_ok(twal_saga_get(txn_, saga, &operation, steps, 2));
    t_equal(operation.id, saga);
    t_equal(operation.kind, TWAL_TXN_SAGA);
    t_equal(operation.parts, 3);
    t_equal(operation.done, 2);
    t_equal(operation.action, TWAL_RESUME_SAGA_EXECUTE);
    t_equal(operation.state, TWAL_SAGA_EXECUTING);
    t_equal(operation.last_seq, twal_last_seq(log_));
    t_check(steps[0].index == 1 && steps[1].index == 2 && steps[2].index == 0x5A5A5A5A);
    t_equal(steps[0].payload_len, 8);
    t_ok(twal_saga_get(txn_, saga, &operation, NULL, 0));

    char undo[16];
    uint64_t len = 0;
    memset(undo, 'x', sizeof(undo));
    t_ok(twal_saga_payload_get(txn_, saga, 3, undo, sizeof(undo), &len));
    t_check(len == 10 && !memcmp(undo, "undo threexxxxxx", 16));
    memset(undo, 'x', sizeof(undo));
    t_ok(twal_saga_payload_get(txn_, saga, 3, undo, 4, &len));
    t_check(len == 10 && !memcmp(undo, "undoxxxx", 8));
    t_ok(twal_saga_payload_get(txn_, saga, 2, NULL, 0, &len));
    t_equal(len, 0);
    t_code(twal_saga_payload_get(txn_, saga, 4, undo, 4, &len), TWAL_E_NOTFOUND);

    taken(twal_saga_step_succeeded(txn_, saga, 3, TWAL_APPEND_SYNC, &seq));
    taken(twal_saga_completed(txn_, saga, 0, &seq));
    t_equal(t_saga_state(txn_, saga), TWAL_SAGA_FINISHED);
    refused(twal_saga_aborted(txn_, saga, 0, &seq), TWAL_E_STATE);
    t_code(twal_saga_get(txn_, saga, &operation, NULL, 0), TWAL_E_NOTFOUND);
    t_code(twal_saga_payload_get(txn_, saga, 3, undo, 4, &len), TWAL_E_NOTFOUND);
}

static void a_saga_that_is_compensated(void)
{
    uint64_t saga = saga_of_three();
    taken(twal_saga_start(txn_, saga, &seq));
    taken(twal_saga_step_succeeded(txn_, saga, 1, 0, &seq));
    taken(twal_saga_step_succeeded(txn_, saga, 2, 0, &seq));
    taken(twal_saga_step_failed(txn_, saga, 3, 71, 0, &seq));
    t_equal(t_saga_state(txn_, saga), TWAL_SAGA_FAILED);
    expect_step(saga, 2, 3, 1, TWAL_STEP_FAILED, 71);
    refused(twal_saga_compensation_succeeded(txn_, saga, 1, 0, &seq), TWAL_E_STATE); /* not begun */
    taken(twal_saga_compensation_start(txn_, saga, &seq));
    t_equal(t_saga_state(txn_, saga), TWAL_SAGA_COMPENSATING);
    refused(twal_saga_compensation_succeeded(txn_, saga, 3, 0, &seq), TWAL_E_STATE); /* it was not done */
    taken(twal_saga_compensation_failed(txn_, saga, 1, 3, 0, &seq));
    expect_step(saga, 0, 1, 0, TWAL_STEP_COMPENSATION_FAILED, 3);
    taken(twal_saga_compensation_succeeded(txn_, saga, 1, 0, &seq));
    expect_step(saga, 0, 1, 0, TWAL_STEP_COMPENSATED, 0);
    refused(twal_saga_compensated(txn_, saga, 0, &seq), TWAL_E_STATE); /* 2 stands */
    taken(twal_saga_compensation_succeeded(txn_, saga, 2, 0, &seq));
    taken(twal_saga_compensated(txn_, saga, 0, &seq));
    t_equal(t_saga_state(txn_, saga), TWAL_SAGA_FINISHED);
}

static void a_saga_in_one_call(void)
{
    static const uint32_t first[] = { 10 };
    twal_saga_step steps[] = { step_of(10, NULL, 0, "a"), step_of(20, first, 1, "bc") };
    twal_saga_spec spec = TWAL_SAGA_SPEC_INIT;
    t_name me = t_name_of("me", 1);
    spec.id = 50;
    spec.steps = steps;
    spec.step_count = 2;
    spec.flags = TWAL_SAGA_START;
    memcpy(spec.coordinator, me.bytes, 32);
    uint64_t last = twal_last_seq(log_);
    t_ok(twal_saga_create(txn_, &spec, &id, &seq));
    t_equal(id, 50);
    t_equal(seq, last + 1);
    t_equal(twal_last_seq(log_), last + 4); /* created, two steps, execute_start */
    t_equal(t_saga_state(txn_, 50), TWAL_SAGA_EXECUTING);
    expect_step(50, 1, 20, 1, TWAL_STEP_PENDING, 0);
    twal_txn_operation operation = TWAL_TXN_OPERATION_INIT;
    t_ok(twal_saga_get(txn_, 50, &operation, NULL, 0));
    t_check(!memcmp(operation.coordinator, me.bytes, 32));

    refused(twal_saga_create(txn_, &spec, &id, &seq), TWAL_E_STATE); /* the id is taken */
    spec.id = 49;
    refused(twal_saga_create(txn_, &spec, &id, &seq), TWAL_E_STATE); /* and this is below it */
    spec.id = 0;
    steps[1].index = 10;
    refused(twal_saga_create(txn_, &spec, &id, &seq), TWAL_E_STATE);
    steps[1].index = 20;
    static const uint32_t second[] = { 20 }, nobody[] = { 30 };
    steps[0].depends_on = second;
    steps[0].depends_on_count = 1;
    refused(twal_saga_create(txn_, &spec, &id, &seq), TWAL_E_STATE); /* a circle */
    steps[1].depends_on_count = 0;
    refused(twal_saga_create(txn_, &spec, &id, &seq), TWAL_E_STATE); /* on a later one */
    steps[0].depends_on_count = 0;
    steps[1].depends_on = nobody;
    steps[1].depends_on_count = 1;
    refused(twal_saga_create(txn_, &spec, &id, &seq), TWAL_E_STATE); /* on none that is there */
    steps[1].depends_on = first;
    steps[1].action = 256;
    refused(twal_saga_create(txn_, &spec, &id, &seq), TWAL_E_INVAL);
    steps[1].action = 200;
    steps[1].reserved[1] = 1;
    refused(twal_saga_create(txn_, &spec, &id, &seq), TWAL_E_INVAL);
    steps[1].reserved[1] = 0;
    steps[1].payload = NULL;
    refused(twal_saga_create(txn_, &spec, &id, &seq), TWAL_E_INVAL);
    steps[1].payload = "bc";
    steps[1].payload_len = 65537;
    refused(twal_saga_create(txn_, &spec, &id, &seq), TWAL_E_TOOBIG);
    steps[1].payload_len = 2;
    steps[1].depends_on = NULL;
    refused(twal_saga_create(txn_, &spec, &id, &seq), TWAL_E_INVAL);
    steps[1].depends_on = first;
    steps[1].depends_on_count = 16385;
    refused(twal_saga_create(txn_, &spec, &id, &seq), TWAL_E_TOOBIG);
    steps[1].depends_on_count = 1;
    spec.step_count = 1025;
    refused(twal_saga_create(txn_, &spec, &id, &seq), TWAL_E_TOOBIG);
    spec.step_count = 2;
    spec.flags = 2;
    refused(twal_saga_create(txn_, &spec, &id, &seq), TWAL_E_INVAL);
    spec.flags = 0;
    spec.reserved = 1;
    refused(twal_saga_create(txn_, &spec, &id, &seq), TWAL_E_INVAL);
    spec.reserved = 0;
    spec.struct_size = 64;
    refused(twal_saga_create(txn_, &spec, &id, &seq), TWAL_E_INVAL);
    spec.struct_size = sizeof(spec);
    spec.steps = NULL;
    refused(twal_saga_create(txn_, &spec, &id, &seq), TWAL_E_INVAL);
    struct {
        twal_saga_spec spec;
        uint64_t later;
    } longer = { TWAL_SAGA_SPEC_INIT, 1 };
    longer.spec.struct_size = sizeof(longer);
    refused(twal_saga_create(txn_, &longer.spec, &id, &seq), TWAL_E_UNSUPPORTED);
    longer.later = 0;
    t_ok(twal_saga_create(txn_, &longer.spec, &id, NULL));
    t_equal(id, 51);
    taken(twal_saga_aborted(txn_, 51, 0, &seq)); /* nothing was done in it */
    t_ok(twal_saga_step_succeeded(txn_, 50, 10, TWAL_APPEND_NO_SYNC, NULL));
    t_ok(twal_saga_step_succeeded(txn_, 50, 20, TWAL_APPEND_NO_SYNC, NULL));
    t_ok(twal_saga_completed(txn_, 50, TWAL_APPEND_SYNC, NULL));
}

static void a_commit_that_is_rolled_back(void)
{
    t_name me = t_name_of("me", 2), a = t_name_of("shard", 1), b = t_name_of("shard", 2), node = t_name_of("node", 1);
    twal_txn_operation operation = TWAL_TXN_OPERATION_INIT;
    twal_2pc_participant participants[2];
    uint64_t tx = 0;
    t_equal(t_2pc_state(txn_, 1), TWAL_2PC_UNKNOWN);
    twal_2pc_spec spec = TWAL_2PC_SPEC_INIT;
    memcpy(spec.coordinator, me.bytes, 32);
    taken(twal_2pc_create(txn_, &spec, &tx, &seq));
    t_equal(tx, 1);
    t_equal(t_2pc_state(txn_, tx), TWAL_2PC_CREATED);
    refused(twal_2pc_prepare(txn_, tx, &seq), TWAL_E_STATE); /* nobody takes part */
    taken(twal_2pc_add_participant(txn_, tx, a.bytes, node.bytes, 0, &seq));
    refused(twal_2pc_add_participant(txn_, tx, a.bytes, node.bytes, 0, &seq), TWAL_E_STATE);
    taken(twal_2pc_add_participant(txn_, tx, b.bytes, node.bytes, TWAL_APPEND_SYNC, &seq));
    refused(twal_2pc_vote(txn_, tx, a.bytes, TWAL_VOTE_COMMIT, 0, &seq), TWAL_E_STATE); /* nobody asked */
    refused(twal_2pc_commit_start(txn_, tx, &seq), TWAL_E_STATE);
    taken(twal_2pc_prepare(txn_, tx, &seq));
    t_equal(t_2pc_state(txn_, tx), TWAL_2PC_PREPARING);
    refused(twal_2pc_add_participant(txn_, tx, me.bytes, node.bytes, 0, &seq), TWAL_E_STATE);
    taken(twal_2pc_vote(txn_, tx, b.bytes, TWAL_VOTE_COMMIT, 0, &seq));
    refused(twal_2pc_vote(txn_, tx, b.bytes, TWAL_VOTE_ABORT, 0, &seq), TWAL_E_STATE);  /* it has voted */
    refused(twal_2pc_vote(txn_, tx, me.bytes, TWAL_VOTE_ABORT, 0, &seq), TWAL_E_STATE); /* not a participant */
    refused(twal_2pc_commit_start(txn_, tx, &seq), TWAL_E_STATE);                       /* a vote is missing */
    t_ok(twal_2pc_get(txn_, tx, &operation, participants, 2));
    t_equal(operation.kind, TWAL_TXN_2PC);
    t_equal(operation.parts, 2);
    t_equal(operation.done, 1);
    t_equal(operation.action, TWAL_RESUME_TX_ABORT);
    t_check(!memcmp(operation.coordinator, me.bytes, 32));
    t_check(!memcmp(participants[0].shard, a.bytes, 32) && !memcmp(participants[1].shard, b.bytes, 32));
    t_check(!memcmp(participants[1].node, node.bytes, 32));
    t_check(participants[0].vote == TWAL_VOTE_NONE && participants[1].vote == TWAL_VOTE_COMMIT);
    taken(twal_2pc_vote(txn_, tx, a.bytes, TWAL_VOTE_COMMIT, 0, &seq));
    t_equal(t_2pc_state(txn_, tx), TWAL_2PC_PREPARED);
    refused(twal_2pc_commit_complete(txn_, tx, 0, &seq), TWAL_E_STATE);
    taken(twal_2pc_commit_start(txn_, tx, &seq));
    t_equal(t_2pc_state(txn_, tx), TWAL_2PC_COMMITTING);
    refused(twal_2pc_abort_start(txn_, tx, &seq), TWAL_E_STATE);
    refused(twal_2pc_abort_complete(txn_, tx, 0, &seq), TWAL_E_STATE);
    refused(twal_2pc_rollback_complete(txn_, tx, 0, &seq), TWAL_E_STATE);
    taken(twal_2pc_commit_complete(txn_, tx, 0, &seq));
    t_equal(t_2pc_state(txn_, tx), TWAL_2PC_COMMITTED);
    t_ok(twal_2pc_get(txn_, tx, &operation, participants, 1));
    t_check(operation.parts == 2 && operation.state == TWAL_2PC_COMMITTED && operation.action == TWAL_RESUME_NONE);
    for (int at = 0; at < 3; at++) {
        taken(twal_2pc_rollback_start(txn_, tx, &seq));
        t_equal(t_2pc_state(txn_, tx), TWAL_2PC_ROLLING_BACK);
    }
    refused(twal_2pc_rollback_start(txn_, tx, &seq), TWAL_E_TOOBIG); /* the fourth */
    taken(twal_2pc_rollback_complete(txn_, tx, 0, &seq));
    t_equal(t_2pc_state(txn_, tx), TWAL_2PC_FINISHED);
    t_code(twal_2pc_get(txn_, tx, &operation, NULL, 0), TWAL_E_NOTFOUND);
}

static void a_commit_that_is_refused(void)
{
    uint64_t tx = t_2pc_begin(txn_, t_name_of("me", 3), 1, 3);
    taken(twal_2pc_vote(txn_, tx, t_name_of("shard", 2).bytes, TWAL_VOTE_ABORT, 0, &seq));
    t_equal(t_2pc_state(txn_, tx), TWAL_2PC_REFUSED);
    refused(twal_2pc_commit_start(txn_, tx, &seq), TWAL_E_STATE);
    taken(twal_2pc_abort_start(txn_, tx, &seq));
    t_equal(t_2pc_state(txn_, tx), TWAL_2PC_ABORTING);
    taken(twal_2pc_abort_complete(txn_, tx, 0, &seq));
    t_equal(t_2pc_state(txn_, tx), TWAL_2PC_FINISHED);

    twal_2pc_participant participants[65];
    twal_2pc_spec spec = TWAL_2PC_SPEC_INIT;
    for (size_t at = 0; at < 65; at++) {
        participants[at] = (twal_2pc_participant)TWAL_2PC_PARTICIPANT_INIT;
        memcpy(participants[at].shard, t_name_of("shard", at).bytes, 32);
    }
    spec.participants = participants;
    spec.participant_count = 65;
    refused(twal_2pc_create(txn_, &spec, &id, &seq), TWAL_E_TOOBIG);
    spec.participant_count = 64;
    participants[63].vote = TWAL_VOTE_COMMIT;
    refused(twal_2pc_create(txn_, &spec, &id, &seq), TWAL_E_INVAL);
    participants[63].vote = 0;
    participants[63].reserved[2] = 1;
    refused(twal_2pc_create(txn_, &spec, &id, &seq), TWAL_E_INVAL);
    participants[63].reserved[2] = 0;
    memcpy(participants[63].shard, participants[0].shard, 32);
    refused(twal_2pc_create(txn_, &spec, &id, &seq), TWAL_E_STATE);
    spec.participants = NULL;
    refused(twal_2pc_create(txn_, &spec, &id, &seq), TWAL_E_INVAL);
    spec.struct_size = 0;
    refused(twal_2pc_create(txn_, &spec, &id, &seq), TWAL_E_INVAL);
    spec = (twal_2pc_spec)TWAL_2PC_SPEC_INIT;
    spec.participants = participants;
    spec.participant_count = 63;
    t_ok(twal_2pc_create(txn_, &spec, &tx, NULL));
    t_name one = t_name_of("another", 1), two = t_name_of("another", 2);
    taken(twal_2pc_add_participant(txn_, tx, one.bytes, one.bytes, 0, &seq));
    refused(twal_2pc_add_participant(txn_, tx, two.bytes, one.bytes, 0, &seq), TWAL_E_TOOBIG);
    taken(twal_2pc_abort_start(txn_, tx, &seq));
    taken(twal_2pc_abort_complete(txn_, tx, 0, &seq));
}

/* Of each call, with everything else right. */
/* How long they waited, tests/txn_log/live.rs says, whose clock stands still. */
static void a_commit_whose_votes_are_overdue(void)
{
    uint64_t tx = t_2pc_begin(txn_, t_name_of("me", 4), 1, 2);
    taken(twal_2pc_vote(txn_, tx, t_name_of("shard", 1).bytes, TWAL_VOTE_COMMIT, 0, &seq));
    refused(twal_2pc_expire(txn_, UINT64_MAX, &id, &seq), TWAL_E_NOTFOUND);
    taken(twal_2pc_expire(txn_, 0, &id, &seq));
    t_equal(id, tx);
    t_equal(t_2pc_state(txn_, tx), TWAL_2PC_ABORTING);
    refused(twal_2pc_vote(txn_, tx, t_name_of("shard", 2).bytes, TWAL_VOTE_COMMIT, 0, &seq), TWAL_E_STATE);
    refused(twal_2pc_expire(txn_, 0, &id, &seq), TWAL_E_NOTFOUND);
    refused(twal_2pc_expire(NULL, 0, &id, &seq), TWAL_E_INVAL);
    taken(twal_2pc_abort_complete(txn_, tx, 0, &seq));
    t_2pc_begin(txn_, t_name_of("me", 4), 1, 2);
    t_ok(twal_2pc_expire(txn_, 0, NULL, NULL));
    taken(twal_2pc_abort_complete(txn_, tx + 1, 0, &seq));
}

static void what_is_not_there_is_refused(void)
{
    t_name shard = t_name_of("shard", 1);
    twal_saga_step step = step_of(1, NULL, 0, NULL);
    uint64_t saga = saga_of_three(), tx = t_2pc_begin(txn_, shard, 1, 1);
    uint32_t flags;
#define of_event(call, ...) \
    do { \
        refused(call(NULL, saga, __VA_ARGS__), TWAL_E_INVAL); \
        refused(call(txn_, 0, __VA_ARGS__), TWAL_E_INVAL); \
        refused(call(txn_, 1000, __VA_ARGS__), TWAL_E_STATE); \
    } while (0)
#define of_flags(call, ...) \
    do { \
        flags = 0; \
        of_event(call, __VA_ARGS__); \
        flags = TWAL_APPEND_SYNC | TWAL_APPEND_NO_SYNC; \
        refused(call(txn_, saga, __VA_ARGS__), TWAL_E_INVAL); \
        flags = TWAL_APPEND_NO_WAIT; \
        refused(call(txn_, saga, __VA_ARGS__), TWAL_E_INVAL); \
        flags = UINT32_C(1) << 31; \
        refused(call(txn_, saga, __VA_ARGS__), TWAL_E_INVAL); \
    } while (0)
    of_flags(twal_saga_add_step, &step, flags, &seq);
    of_event(twal_saga_start, &seq);
    of_flags(twal_saga_step_succeeded, 1, flags, &seq);
    of_flags(twal_saga_step_failed, 1, 1, flags, &seq);
    of_event(twal_saga_compensation_start, &seq);
    of_flags(twal_saga_compensation_succeeded, 1, flags, &seq);
    of_flags(twal_saga_compensation_failed, 1, 1, flags, &seq);
    of_flags(twal_saga_completed, flags, &seq);
    of_flags(twal_saga_compensated, flags, &seq);
    of_flags(twal_saga_aborted, flags, &seq);
    of_flags(twal_2pc_add_participant, shard.bytes, shard.bytes, flags, &seq);
    of_event(twal_2pc_prepare, &seq);
    of_flags(twal_2pc_vote, shard.bytes, TWAL_VOTE_COMMIT, flags, &seq);
    of_event(twal_2pc_commit_start, &seq);
    of_flags(twal_2pc_commit_complete, flags, &seq);
    of_event(twal_2pc_abort_start, &seq);
    of_flags(twal_2pc_abort_complete, flags, &seq);
    of_event(twal_2pc_rollback_start, &seq);
    of_flags(twal_2pc_rollback_complete, flags, &seq);
    refused(twal_saga_add_step(txn_, saga, NULL, 0, &seq), TWAL_E_INVAL);
    refused(twal_2pc_add_participant(txn_, tx, NULL, shard.bytes, 0, &seq), TWAL_E_INVAL);
    refused(twal_2pc_add_participant(txn_, tx, shard.bytes, NULL, 0, &seq), TWAL_E_INVAL);
    refused(twal_2pc_vote(txn_, tx, NULL, TWAL_VOTE_COMMIT, 0, &seq), TWAL_E_INVAL);
    refused(twal_2pc_vote(txn_, tx, shard.bytes, TWAL_VOTE_NONE, 0, &seq), TWAL_E_INVAL);
    refused(twal_2pc_vote(txn_, tx, shard.bytes, 3, 0, &seq), TWAL_E_INVAL);
    refused(twal_saga_create(NULL, NULL, &id, &seq), TWAL_E_INVAL);
    refused(twal_2pc_create(NULL, NULL, &id, &seq), TWAL_E_INVAL);
    refused(twal_txn_checkpoint(NULL, &seq), TWAL_E_INVAL);

    twal_txn_operation operation = TWAL_TXN_OPERATION_INIT, sizeless = { .struct_size = 8 };
    twal_txn_report report = { .struct_size = 0 };
    twal_txn_stats stats = { .struct_size = sizeof(stats) + 1 };
    uint64_t len = 7;
    uint32_t state = 7;
    uint8_t token[16] = { 7 };
    t_code(twal_txn_report_get(NULL, &report), TWAL_E_INVAL);
    t_code(twal_txn_report_get(txn_, NULL), TWAL_E_INVAL);
    t_code(twal_txn_report_get(txn_, &report), TWAL_E_INVAL);
    t_code(twal_txn_stats_get(txn_, NULL), TWAL_E_INVAL);
    t_code(twal_txn_stats_get(txn_, &stats), TWAL_E_INVAL);
    t_code(twal_txn_unfinished_get(NULL, 0, &operation), TWAL_E_INVAL);
    t_code(twal_txn_unfinished_get(txn_, 0, &sizeless), TWAL_E_INVAL);
    t_code(twal_txn_unfinished_get(txn_, 0, &operation), TWAL_E_NOTFOUND);
    t_code(twal_txn_next(txn_, 3, 0, &operation), TWAL_E_INVAL);
    t_code(twal_txn_next(txn_, 0, 1, &operation), TWAL_E_INVAL);
    t_code(twal_txn_next(txn_, 0, 0, &sizeless), TWAL_E_INVAL);
    t_code(twal_txn_next(NULL, 0, 0, &operation), TWAL_E_INVAL);
    t_code(twal_txn_left_get(txn_, 0, &sizeless, NULL), TWAL_E_INVAL);
    t_code(twal_txn_left_get(txn_, 0, &operation, NULL), TWAL_E_NOTFOUND);
    t_code(twal_saga_state_get(txn_, saga, NULL), TWAL_E_INVAL);
    t_code(twal_saga_state_get(NULL, saga, &state), TWAL_E_INVAL);
    t_code(twal_2pc_state_get(txn_, tx, NULL), TWAL_E_INVAL);
    t_code(twal_2pc_state_get(NULL, tx, &state), TWAL_E_INVAL);
    t_code(twal_saga_get(txn_, saga, NULL, NULL, 0), TWAL_E_INVAL);
    t_code(twal_saga_get(txn_, saga, &sizeless, NULL, 0), TWAL_E_INVAL);
    t_code(twal_saga_get(txn_, saga, &operation, NULL, 1), TWAL_E_INVAL);
    t_code(twal_saga_get(txn_, 1000, &operation, NULL, 0), TWAL_E_NOTFOUND);
    t_code(twal_2pc_get(txn_, tx, &operation, NULL, 1), TWAL_E_INVAL);
    t_code(twal_2pc_get(txn_, tx, &sizeless, NULL, 0), TWAL_E_INVAL);
    t_code(twal_2pc_get(txn_, 1000, &operation, NULL, 0), TWAL_E_NOTFOUND);
    t_code(twal_saga_payload_get(txn_, saga, 1, NULL, 1, &len), TWAL_E_INVAL);
    t_code(twal_saga_payload_get(txn_, saga, 1, NULL, 0, NULL), TWAL_E_INVAL);
    t_code(twal_saga_token(txn_, saga, 1, TWAL_DIRECTION_COMMIT, token), TWAL_E_INVAL);
    t_code(twal_saga_token(txn_, saga, 1, 0, token), TWAL_E_INVAL);
    t_code(twal_saga_token(txn_, 0, 1, TWAL_DIRECTION_EXECUTE, token), TWAL_E_INVAL);
    t_code(twal_saga_token(txn_, saga, 1, TWAL_DIRECTION_EXECUTE, NULL), TWAL_E_INVAL);
    t_code(twal_2pc_token(txn_, tx, shard.bytes, TWAL_DIRECTION_EXECUTE, token), TWAL_E_INVAL);
    t_code(twal_2pc_token(txn_, tx, shard.bytes, 7, token), TWAL_E_INVAL);
    t_code(twal_2pc_token(txn_, tx, NULL, TWAL_DIRECTION_COMMIT, token), TWAL_E_INVAL);
    t_code(twal_2pc_token(txn_, 0, shard.bytes, TWAL_DIRECTION_COMMIT, token), TWAL_E_INVAL);
    t_check(len == 7 && state == 7 && token[0] == 7 && operation.id == 0);

    twal_txn *none = NULL;
    twal_txn_options options = TWAL_TXN_OPTIONS_INIT;
    t_code(twal_txn_recover(NULL, NULL, &none), TWAL_E_INVAL);
    t_code(twal_txn_recover(log_, NULL, NULL), TWAL_E_INVAL);
    options.flags = 4;
    t_code(twal_txn_recover(log_, &options, &none), TWAL_E_INVAL);
    options.flags = 0;
    options.compact_percent = 101;
    t_code(twal_txn_recover(log_, &options, &none), TWAL_E_INVAL);
    options.compact_percent = 0;
    options.struct_size = 24;
    t_code(twal_txn_recover(log_, &options, &none), TWAL_E_INVAL);
    t_code(twal_txn_recover(log_, NULL, &none), TWAL_E_BUSY);
    t_check(!none);
    t_ok(twal_txn_close(NULL));

    taken(twal_saga_aborted(txn_, saga, 0, &seq));
    taken(twal_2pc_abort_start(txn_, tx, &seq));
    taken(twal_2pc_abort_complete(txn_, tx, 0, &seq));
}

static void tokens_name_actions(void)
{
    t_name a = t_name_of("shard", 1), b = t_name_of("shard", 2);
    uint8_t tokens[12][16];
    size_t count = 0;
    for (uint32_t direction = TWAL_DIRECTION_EXECUTE; direction <= TWAL_DIRECTION_COMPENSATE; direction++) {
        t_ok(twal_saga_token(txn_, 1, 1, direction, tokens[count++]));
        t_ok(twal_saga_token(txn_, 1, 2, direction, tokens[count++]));
    }
    for (uint32_t direction = TWAL_DIRECTION_PREPARE; direction <= TWAL_DIRECTION_ROLLBACK; direction++) {
        t_ok(twal_2pc_token(txn_, 1, a.bytes, direction, tokens[count++]));
        t_ok(twal_2pc_token(txn_, 1, b.bytes, direction, tokens[count++]));
    }
    t_equal(count, 12);
    for (size_t one = 0; one < count; one++)
        for (size_t other = 0; other < one; other++)
            t_check(memcmp(tokens[one], tokens[other], 16));
    uint8_t again[16];
    t_ok(twal_2pc_token(txn_, 1, b.bytes, TWAL_DIRECTION_ROLLBACK, again));
    t_check(!memcmp(again, tokens[11], 16));
}

int main(void)
{
    t_begin();
    twal_options options = t_options();
    log_ = t_open(t_path("log"), &options);
    twal_txn_options manage = TWAL_TXN_OPTIONS_INIT;
    manage.checkpoint_interval = UINT64_MAX; /* else a number is the checkpoint's */
    txn_ = t_recover(log_, &manage);
    twal_txn_report report = t_report(txn_);
    t_check(report.unfinished == 0 && report.records_replayed == 0 && report.checkpoints == 0);
    t_equal(t_txn_stats(txn_).checkpoints, 1);

    a_saga_that_is_completed();
    a_saga_that_is_compensated();
    a_saga_in_one_call();
    a_commit_that_is_rolled_back();
    a_commit_that_is_refused();
    a_commit_whose_votes_are_overdue();
    what_is_not_there_is_refused();
    tokens_name_actions();

    uint64_t first = t_saga_begin(txn_, t_name_of("me", 1), 2), tx = t_2pc_begin(txn_, t_name_of("me", 1), 1, 2);
    t_equal(t_count_active(txn_), 2);
    twal_txn_stats stats = t_txn_stats(txn_);
    t_check(stats.active_sagas == 1 && stats.active_txs == 1);
    taken(twal_txn_checkpoint(txn_, &seq));
    stats = t_txn_stats(txn_);
    t_equal(stats.checkpoint_seq, seq);
    t_equal(stats.checkpoints, 2);
    /* Each record that the manager wrote is counted once. */
    t_equal(stats.saga_events + stats.tx_events + stats.checkpoints, twal_last_seq(log_));
    t_equal(t_saga_state(txn_, first), TWAL_SAGA_EXECUTING);
    t_equal(t_2pc_state(txn_, tx), TWAL_2PC_PREPARING);
    t_equal(stats.recoveries, 1);
    t_txn_close(txn_);
    txn_ = t_recover(log_, NULL);
    stats = t_txn_stats(txn_);
    t_equal(stats.recoveries, 2);
    t_equal(stats.saga_events, 0);
    t_txn_close(txn_);
    t_close(log_);
    return t_end();
}
