/*
 * Goal: the example of docs/TRANSACTIONS.md works as it stands: a new order is finished, and so is one that a crash left.
 */
#define main example_main
#include "../examples/transactions.c"
#undef main

#include "helpers.h"

static void crash_with_an_order(void *dir)
{
    twal_log *log = t_open(dir, NULL);
    twal_txn *txn;
    twal_saga_step step = TWAL_SAGA_STEP_INIT;
    twal_saga_spec saga = TWAL_SAGA_SPEC_INIT;
    step.index = SHIP;
    saga.steps = &step;
    saga.step_count = 1;
    saga.flags = TWAL_SAGA_START;
    t_ok(twal_txn_recover(log, NULL, &txn));
    t_ok(twal_saga_create(txn, &saga, NULL, NULL));
}

int main(void)
{
    t_begin();
    const char *dir = t_path("orders");
    char *arguments[] = { "transactions", (char *)(uintptr_t)dir, NULL };
    t_equal(example_main(2, arguments), 0);
    t_crash_after(crash_with_an_order, arguments[1]);
    t_equal(example_main(2, arguments), 0);
    twal_log *log = t_open(dir, NULL);
    twal_txn *txn;
    uint32_t state = 0;
    t_ok(twal_txn_recover(log, NULL, &txn));
    for (uint64_t order = 1; order <= 3; order++) {
        t_ok(twal_saga_state_get(txn, order, &state));
        t_equal(state, TWAL_SAGA_FINISHED);
    }
    t_ok(twal_txn_close(txn));
    t_close(log);
    return t_end();
}
