/*
 * Goal: what was told to have ended stays so.  Its participants have forgotten their tokens, as the manual lets them: asked
 * again, they would do everything a second time.
 * Method: a log that writes nothing by itself for a minute, an operation ended without waiting, one question, and a kill.
 * Without a question the end is lost: so it is the question that made it durable.
 *
 * t:with txn_helpers
 */
#include "txn_helpers.h"

enum { NOTHING, STATE, ALL_OF_IT, NEXT, REFUSAL, QUESTIONS };

typedef struct life {
    const char *dir;
    uint32_t kind;
    int question;
} life;

static twal_options lazy(void)
{
    twal_options options = t_options_quiet();
    options.durability = TWAL_GROUP;
    options.batch_delay_us = 60 * 1000000;
    options.batch_records = 1000000;
    return options;
}

static void ask(twal_txn *txn, uint64_t id, const life *mine)
{
    bool saga = mine->kind == TWAL_TXN_SAGA;
    twal_txn_operation one = TWAL_TXN_OPERATION_INIT;
    switch (mine->question) {
    case STATE:
        if (saga)
            t_equal(t_saga_state(txn, id), TWAL_SAGA_FINISHED);
        else
            t_equal(t_2pc_state(txn, id), TWAL_2PC_FINISHED);
        break;
    case ALL_OF_IT:
        t_code(saga ? twal_saga_get(txn, id, &one, NULL, 0) : twal_2pc_get(txn, id, &one, NULL, 0), TWAL_E_NOTFOUND);
        break;
    case NEXT:
        t_code(twal_txn_next(txn, 0, 0, &one), TWAL_E_NOTFOUND);
        break;
    case REFUSAL:
        t_code(saga ? twal_saga_compensation_start(txn, id, NULL) : twal_2pc_abort_start(txn, id, NULL), TWAL_E_STATE);
        break;
    default:
        break;
    }
}

static void end_ask_and_die(void *arg)
{
    const life *mine = arg;
    twal_options options = lazy();
    twal_log *log = t_open(mine->dir, &options);
    twal_txn *txn = t_recover(log, NULL);
    uint64_t id, seq = 0;
    if (mine->kind == TWAL_TXN_SAGA) {
        id = t_saga_begin(txn, t_name_of("me", 1), 1);
        t_ok(twal_saga_step_succeeded(txn, id, 1, 0, NULL));
        t_ok(twal_saga_completed(txn, id, 0, &seq));
    } else {
        id = t_2pc_begin(txn, t_name_of("me", 1), 1, 2);
        t_ok(twal_2pc_abort_start(txn, id, NULL));
        t_ok(twal_2pc_abort_complete(txn, id, 0, &seq));
    }
    t_check(twal_durable_seq(log) < seq);
    ask(txn, id, mine);
    t_check((twal_durable_seq(log) >= seq) == (mine->question != NOTHING));
}

int main(void)
{
    t_begin();
    for (uint32_t kind = TWAL_TXN_SAGA; kind <= TWAL_TXN_2PC; kind++)
        for (int question = NOTHING; question < QUESTIONS; question++) {
            char name[32];
            snprintf(name, sizeof(name), "log-%" PRIu32 "-%d", kind, question);
            life mine = { .dir = t_path(name), .kind = kind, .question = question };
            t_crash_after(end_ask_and_die, &mine);
            twal_options options = t_options();
            twal_log *log = t_open(mine.dir, &options);
            twal_txn *txn = t_recover(log, NULL);
            t_equal(t_report(txn).unfinished, question == NOTHING);
            ask(txn, 1, &mine);
            t_txn_close(txn);
            t_close(log);
        }
    return t_end();
}
