#include "txn_helpers.h"

t_name t_name_of(const char *kind, uint64_t number)
{
    t_name name;
    char text[64];
    int len = snprintf(text, sizeof(text), "%s %" PRIu64, kind, number);
    memset(name.bytes, 0, sizeof(name.bytes));
    t_check(len > 0 && (size_t)len < sizeof(name.bytes));
    memcpy(name.bytes, text, (size_t)len);
    return name;
}

twal_txn *t_recover(twal_log *log, const twal_txn_options *options)
{
    twal_txn *txn = NULL;
    t_ok(twal_txn_recover(log, options, &txn));
    t_check(txn);
    t_equal(t_report(txn).records_corrupted, 0);
    return txn;
}

void t_txn_close(twal_txn *txn)
{
    t_ok(twal_txn_close(txn));
}

twal_txn *t_recover_again(twal_txn *txn, twal_log *log)
{
    t_txn_close(txn);
    return t_recover(log, NULL);
}

twal_txn_report t_report(const twal_txn *txn)
{
    twal_txn_report report = TWAL_TXN_REPORT_INIT;
    t_ok(twal_txn_report_get(txn, &report));
    return report;
}

twal_txn_stats t_txn_stats(const twal_txn *txn)
{
    twal_txn_stats stats = TWAL_TXN_STATS_INIT;
    t_ok(twal_txn_stats_get(txn, &stats));
    return stats;
}

size_t t_count_action(const twal_txn *txn, uint32_t action)
{
    uint64_t unfinished = t_report(txn).unfinished;
    twal_txn_operation one = TWAL_TXN_OPERATION_INIT;
    size_t count = 0;
    for (uint64_t at = 0; at < unfinished; at++) {
        t_ok(twal_txn_unfinished_get(txn, at, &one));
        count += one.action == action;
    }
    t_code(twal_txn_unfinished_get(txn, unfinished, &one), TWAL_E_NOTFOUND);
    return count;
}

size_t t_count_active(const twal_txn *txn)
{
    twal_txn_operation one = TWAL_TXN_OPERATION_INIT, before = TWAL_TXN_OPERATION_INIT;
    size_t count = 0;
    int code;
    while ((code = twal_txn_next(txn, one.kind, one.id, &one)) == TWAL_OK) {
        t_check(one.kind > before.kind || (one.kind == before.kind && one.id > before.id));
        before = one;
        count++;
    }
    t_equal(code, TWAL_E_NOTFOUND);
    return count;
}

uint32_t t_saga_state(const twal_txn *txn, uint64_t id)
{
    uint32_t state = UINT32_MAX;
    t_ok(twal_saga_state_get(txn, id, &state));
    return state;
}

uint32_t t_2pc_state(const twal_txn *txn, uint64_t id)
{
    uint32_t state = UINT32_MAX;
    t_ok(twal_2pc_state_get(txn, id, &state));
    return state;
}

uint64_t t_saga_begin(twal_txn *txn, t_name coordinator, uint32_t count)
{
    twal_saga_step steps[16];
    uint32_t before[16];
    t_check(count <= 16);
    for (uint32_t at = 0; at < count; at++) {
        before[at] = at;
        steps[at] = (twal_saga_step)TWAL_SAGA_STEP_INIT;
        steps[at].index = at + 1;
        steps[at].action = (uint8_t)(at + 1);
        steps[at].depends_on = &before[at];
        steps[at].depends_on_count = at > 0;
    }
    twal_saga_spec spec = TWAL_SAGA_SPEC_INIT;
    spec.flags = TWAL_SAGA_START;
    spec.steps = steps;
    spec.step_count = count;
    memcpy(spec.coordinator, coordinator.bytes, sizeof(spec.coordinator));
    uint64_t id = 0;
    t_ok(twal_saga_create(txn, &spec, &id, NULL));
    return id;
}

uint64_t t_2pc_begin(twal_txn *txn, t_name coordinator, uint64_t first, size_t count)
{
    twal_2pc_participant participants[64];
    t_check(count <= 64);
    for (size_t at = 0; at < count; at++) {
        participants[at] = (twal_2pc_participant)TWAL_2PC_PARTICIPANT_INIT;
        memcpy(participants[at].shard, t_name_of("shard", first + at).bytes, 32);
        memcpy(participants[at].node, t_name_of("node", first + at).bytes, 32);
    }
    twal_2pc_spec spec = TWAL_2PC_SPEC_INIT;
    spec.participants = participants;
    spec.participant_count = count;
    memcpy(spec.coordinator, coordinator.bytes, sizeof(spec.coordinator));
    uint64_t id = 0;
    t_ok(twal_2pc_create(txn, &spec, &id, NULL));
    t_ok(twal_2pc_prepare(txn, id, NULL));
    return id;
}
