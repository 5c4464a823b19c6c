/* An order in two steps, charged and shipped, that a crash cannot leave half done.  Run it again after a crash. */
#include <stdio.h>
#include <stdlib.h>
#include <twal.h>

enum { CHARGE = 1, SHIP = 2 };

static void must(int code)
{
    twal_error error = TWAL_ERROR_INIT;
    if (code == TWAL_OK)
        return;
    twal_last_error(&error);
    fprintf(stderr, "%s: %s\n", twal_strerror(code), error.text);
    exit(1);
}

/* Where the work is done.  A real one is asked over the network, and keeps the tokens that it has seen with what it did:
 * the same token again means "was that done?", and it answers TWAL_DONE without doing it twice. */
static int execute(void *arg, const twal_txn_action *action, uint32_t *error_out)
{
    (void)arg, (void)error_out; /* with TWAL_FAILED, why: then what was done is undone */
    printf("order %llu: %s\n", (unsigned long long)action->id, action->action == CHARGE ? "charge" : "ship");
    return TWAL_DONE;
}

static int undo(void *arg, const twal_txn_action *action, uint32_t *error_out)
{
    (void)arg, (void)error_out;
    printf("order %llu: undo with %.*s\n", (unsigned long long)action->id, (int)action->payload_len,
           (const char *)action->payload);
    return TWAL_DONE;
}

int main(int argc, char **argv)
{
    static const char refund[] = "refund 12 EUR";
    static const uint32_t charged[] = { CHARGE };
    twal_log *log;
    twal_txn *txn;
    twal_saga_step steps[2] = { TWAL_SAGA_STEP_INIT, TWAL_SAGA_STEP_INIT };
    twal_saga_spec saga = TWAL_SAGA_SPEC_INIT;
    twal_txn_resumed resumed = TWAL_TXN_RESUMED_INIT;
    twal_txn_participants participants = TWAL_TXN_PARTICIPANTS_INIT;
    participants.execute = execute;
    participants.compensate = participants.commit = participants.abort = participants.rollback = undo; /* sagas only */
    must(twal_open(argc > 1 ? argv[1] : "orders", NULL, &log));
    must(twal_txn_recover(log, NULL, &txn)); /* what the last run has left is there again */
    steps[0].index = steps[0].action = CHARGE;
    steps[0].payload = refund, steps[0].payload_len = sizeof(refund) - 1;
    steps[1].index = steps[1].action = SHIP;
    steps[1].depends_on = charged, steps[1].depends_on_count = 1; /* not before it is paid */
    saga.steps = steps, saga.step_count = 2, saga.flags = TWAL_SAGA_START;
    must(twal_saga_create(txn, &saga, NULL, NULL)); /* from here on it is done, or undone, whatever happens */
    must(twal_txn_resume(txn, &participants, NULL, &resumed));
    printf("orders finished: %llu\n", (unsigned long long)resumed.finished);
    twal_txn_close(txn);
    must(twal_close(log));
    return 0;
}
