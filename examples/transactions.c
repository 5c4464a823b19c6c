/* An order in two steps, charged and shipped, that a crash cannot leave half done.  Run it again after a crash. */
#include <stdio.h>
#include <string.h>
#include <twal.h>

enum { CHARGE = 1, SHIP = 2 };

static int failed(const char *what)
{
    twal_error error = TWAL_ERROR_INIT;
    twal_last_error(&error);
    fprintf(stderr, "%s: %s: %s\n", what, twal_strerror(error.code), error.text);
    return 1;
}

/* Where the work is done.  A real one is asked over the network, and keeps the tokens that it has seen with what
 * it did: the same token again means "was that done?", and it answers TWAL_DONE without doing it twice. */
static int work(void *arg, const twal_txn_action *action, uint32_t *error_out)
{
    (void)arg, (void)error_out; /* with TWAL_FAILED it says why: then what was done is undone */
    const char *what = action->direction == TWAL_DIRECTION_COMPENSATE ? "undo" : "do";
    printf("order %llu: %s %s\n", (unsigned long long)action->id, what, action->step == CHARGE ? "charge" : "ship");
    return TWAL_DONE;
}

int main(int argc, char **argv)
{
    twal_log *log;
    twal_txn *txn;
    static const uint32_t charged[] = { CHARGE };
    twal_saga_step steps[2] = { TWAL_SAGA_STEP_INIT, TWAL_SAGA_STEP_INIT };
    twal_saga_spec saga = TWAL_SAGA_SPEC_INIT;
    twal_txn_action now = { .direction = TWAL_DIRECTION_EXECUTE };
    twal_txn_participants everybody = TWAL_TXN_PARTICIPANTS_INIT;
    everybody.execute = everybody.compensate = everybody.commit = everybody.abort = everybody.rollback = work;

    if (twal_open(argc > 1 ? argv[1] : "orders", NULL, &log))
        return failed("open");
    if (twal_txn_recover(log, NULL, &txn) || twal_txn_resume(txn, &everybody, NULL, NULL)) /* what the last run left */
        return failed("recover");

    steps[0].index = CHARGE;
    steps[0].payload = "refund 12 EUR"; /* what it needs to be undone */
    steps[0].payload_len = strlen(steps[0].payload);
    steps[1].index = SHIP;
    steps[1].depends_on = charged; /* not before it is paid */
    steps[1].depends_on_count = 1;
    saga.steps = steps;
    saga.step_count = 2;
    saga.flags = TWAL_SAGA_START;
    if (twal_saga_create(txn, &saga, &now.id, NULL)) /* from here on it is done, or undone, whatever happens */
        return failed("create");
    for (now.step = CHARGE; now.step <= SHIP; now.step++)
        if (twal_saga_token(txn, now.id, now.step, now.direction, now.token) || work(NULL, &now, NULL) != TWAL_DONE ||
            twal_saga_step_succeeded(txn, now.id, now.step, 0, NULL))
            return failed("step");
    if (twal_saga_completed(txn, now.id, 0, NULL) || twal_txn_close(txn))
        return failed("end");
    return twal_close(log) ? failed("close") : 0;
}
