/*
 * Goal: whoever closes a manager, or its log, ends the resume that runs, and does not wait for its next try; nor is anybody
 * asked again.
 * Method: participants that never have an answer, asked for ever.  With an hour from one try to the next, the manager is
 * closed, and then the log in front of it.  With no time between tries, the log is.
 *
 * t:with txn_helpers
 */
#include "txn_helpers.h"

#include <stdatomic.h>

#define HOUR_US (UINT64_C(3600) * 1000000)

typedef struct resuming {
    twal_txn *txn;
    uint64_t delay_us;
    int code;
    atomic_uint asked;
} resuming;

static int never(void *arg, const twal_txn_action *action, uint32_t *error_out)
{
    resuming *it = arg;
    (void)action, (void)error_out;
    atomic_fetch_add(&it->asked, 1);
    return TWAL_RETRY;
}

static void *resume(void *arg)
{
    resuming *it = arg;
    twal_txn_participants all = TWAL_TXN_PARTICIPANTS_INIT;
    twal_txn_resume_options how = TWAL_TXN_RESUME_OPTIONS_INIT;
    twal_txn_resumed untouched = TWAL_TXN_RESUMED_INIT;
    all.arg = it;
    all.execute = all.compensate = all.commit = all.abort = all.rollback = never;
    how.attempts_max = UINT32_MAX;
    how.retry_delay_us = how.retry_delay_max_us = it->delay_us;
    untouched.calls = 77;
    it->code = twal_txn_resume(it->txn, &all, &how, &untouched);
    t_equal(untouched.calls, 77);
    return NULL;
}

static void end(const char *name, uint64_t delay_us, bool close_log_first)
{
    twal_options options = t_options();
    twal_log *log = t_open(t_path(name), &options);
    twal_txn *txn = t_recover(log, NULL);
    uint64_t saga = t_saga_begin(txn, t_name_of("me", 1), 1);
    resuming it = { .txn = t_recover_again(txn, log), .delay_us = delay_us };
    pthread_t thread = t_thread(resume, &it);
    t_await(atomic_load(&it.asked) >= 1, T_PATIENCE_MS);
    if (close_log_first)
        t_close(log);
    if (close_log_first) /* that ends it: nobody waits for the manager's close */
        t_join(thread);
    t_ok(twal_txn_close(it.txn));
    if (!close_log_first)
        t_join(thread);
    if (delay_us == HOUR_US)
        t_equal(atomic_load(&it.asked), 1);
    t_equal(it.code, TWAL_E_CLOSED);
    if (!close_log_first)
        t_close(log);
    /* What was not done is there. */
    log = t_open(t_path(name), &options);
    txn = t_recover(log, NULL);
    t_equal(t_saga_state(txn, saga), TWAL_SAGA_EXECUTING);
    t_txn_close(txn);
    t_close(log);
}

int main(void)
{
    t_begin();
    end("manager", HOUR_US, false);
    end("both", HOUR_US, true);
    end("log", 1, true);
    return t_end();
}
