/*
 * Goal: on a full disk an event is refused with TWAL_E_NOSPC, uses no id and changes no state; what is there can be
 * asked; and it goes on when there is space, without a new open.  What was told before is there after a crash.
 *
 * t:with txn_helpers
 * t:valgrind no, it mounts a file system
 */
#include "full_disk.h"
#include "txn_helpers.h"

static char dir[600], filler[600];

static void until_full(void *arg)
{
    (void)arg;
    twal_options options = t_options();
    twal_txn_options manage = TWAL_TXN_OPTIONS_INIT;
    options.segment_size = 256 * T_KIB;
    manage.checkpoint_interval = UINT64_MAX;
    twal_log *log = t_open(dir, &options);
    twal_txn *txn = t_recover(log, &manage);
    uint64_t saga = t_saga_begin(txn, t_name_of("me", 1), 2), id = 0, created = 0;
    t_ok(twal_saga_step_succeeded(txn, saga, 1, 0, NULL));
    uint64_t tx = t_2pc_begin(txn, t_name_of("me", 1), 1, 1);
    fill_disk(filler);
    int code;
    while ((code = twal_saga_create(txn, NULL, &id, NULL)) == TWAL_OK)
        t_equal(id, saga + ++created);
    t_equal(code, TWAL_E_NOSPC);
    uint64_t last_seq = twal_last_seq(log), seq = 7;
    id = 7;
    for (int at = 0; at < 3; at++) {
        t_code(twal_saga_create(txn, NULL, &id, &seq), TWAL_E_NOSPC);
        t_code(twal_saga_step_succeeded(txn, saga, 2, 0, &seq), TWAL_E_NOSPC);
        t_code(twal_2pc_vote(txn, tx, t_name_of("shard", 1).bytes, TWAL_VOTE_COMMIT, 0, &seq), TWAL_E_NOSPC);
        t_code(twal_2pc_abort_start(txn, tx, &seq), TWAL_E_NOSPC);
    }
    t_check(id == 7 && seq == 7 && twal_last_seq(log) == last_seq);
    t_equal(t_saga_state(txn, saga), TWAL_SAGA_EXECUTING);
    t_equal(t_2pc_state(txn, tx), TWAL_2PC_PREPARING);
    t_equal(t_saga_state(txn, saga + created + 1), TWAL_SAGA_UNKNOWN);
    t_equal(t_count_active(txn), created + 2);

    t_remove(filler);
    t_await((code = twal_saga_step_succeeded(txn, saga, 2, 0, NULL)) != TWAL_E_NOSPC, T_PATIENCE_MS);
    t_equal(code, TWAL_OK);
    t_ok(twal_saga_completed(txn, saga, 0, NULL));
    t_ok(twal_saga_create(txn, NULL, &id, NULL));
    t_equal(id, saga + created + 1);
    printf("%" PRIu64 " sagas until the disk was full\n", created);
}

int main(void)
{
    t_begin();
    const char *place = t_mount("ext4", 48 * T_MIB);
    snprintf(dir, sizeof dir, "%s/log", place);
    snprintf(filler, sizeof filler, "%s/filler", place);
    t_crash_after(until_full, NULL);
    twal_log *log = t_open(dir, NULL);
    twal_txn *txn = t_recover(log, NULL);
    t_equal(t_saga_state(txn, 1), TWAL_SAGA_FINISHED);
    t_equal(t_count_action(txn, TWAL_RESUME_TX_ABORT), 1);
    t_equal(t_count_action(txn, TWAL_RESUME_NONE), t_txn_stats(txn).active_sagas);
    t_txn_close(txn);
    t_close(log);
    return t_end();
}
