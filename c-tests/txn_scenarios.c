#include "txn_scenarios.h"

uint64_t nodes, step_nodes;

t_name node_of(uint64_t number)
{
    return t_name_of("node", number % nodes);
}

uint64_t begin_saga(twal_txn *txn, uint64_t number)
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
    return id;
}

void end_saga(twal_txn *txn, uint64_t id, fate fate)
{
    t_ok(twal_saga_step_succeeded(txn, id, 1, 0, NULL));
    if (fate == COMPLETED) {
        t_ok(twal_saga_completed(txn, id, 0, NULL));
        return;
    }
    t_ok(twal_saga_compensation_start(txn, id, NULL));
    t_ok(twal_saga_compensation_succeeded(txn, id, 1, 0, NULL));
    t_ok(twal_saga_compensated(txn, id, 0, NULL));
}

void saga_of_one(twal_txn *txn, uint64_t number, fate fate)
{
    uint64_t id = begin_saga(txn, number);
    if (fate != EXECUTING)
        end_saga(txn, id, fate);
}

void commit_of(twal_txn *txn, uint64_t number, size_t count, bool complete)
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

on_disk read_back(twal_log *log)
{
    on_disk found = { .seen = calloc(nodes, 1) };
    t_seen seen;
    t_check(found.seen);
    t_equal(t_read(log, 0, &seen, see, &found), 0);
    t_equal(found.sagas + found.transactions + found.checkpoints, seen.count);
    return found;
}

on_disk read_back_compacted(twal_log *log)
{
    on_disk found = { .seen = calloc(nodes, 1) };
    t_check(found.seen);
    twal_iter *iter = NULL;
    twal_record record;
    int code;
    t_ok(twal_iter_open(log, NULL, &iter));
    while ((code = twal_iter_next(iter, &record)) == 1)
        see(&record, &found);
    t_equal(code, 0);
    twal_iter_close(iter);
    return found;
}

uint64_t nodes_in(on_disk *found, uint64_t want)
{
    uint64_t count = 0;
    for (uint64_t at = 0; at < nodes; at++)
        count += found->seen[at];
    free(found->seen);
    t_equal(count, want);
    return count;
}

twal_txn_options manual(void)
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

uint64_t finish(twal_txn *txn)
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
