/*
 * Goal: checkpoints by interval, which nobody asks for, give the log's space back: a log that works for long stays as
 * small as what is not finished; and what is not finished keeps what it needs.  With a limit on its size, it is never
 * full of what is finished; full of what one saga holds, that saga can be ended, also after a new open, and all is well.
 * Method: sagas that fill many times as many segments as may stay; one that is not finished meanwhile; the files are counted.
 *
 * t:with txn_helpers
 * t:valgrind no, it is about files
 * t:asan no, it is about files
 */
#include "txn_helpers.h"

#define SAGAS 150
#define FILES_MAX 6 /* active, archived, spares, and what the interval leaves behind the checkpoint */

static twal_txn *txn;

static void run_sagas(void)
{
    static char undo[12000];
    twal_saga_step step = TWAL_SAGA_STEP_INIT;
    twal_saga_spec spec = TWAL_SAGA_SPEC_INIT;
    step.index = 1;
    step.payload = undo;
    step.payload_len = sizeof(undo);
    spec.steps = &step;
    spec.step_count = 1;
    spec.flags = TWAL_SAGA_START;
    for (int at = 0; at < SAGAS; at++) {
        uint64_t id = 0;
        t_ok(twal_saga_create(txn, &spec, &id, NULL));
        t_ok(twal_saga_step_succeeded(txn, id, 1, TWAL_APPEND_NO_SYNC, NULL));
        t_ok(twal_saga_completed(txn, id, TWAL_APPEND_NO_SYNC, NULL));
    }
}

static size_t files(const char *dir)
{
    size_t segments;
    t_segments(dir, &segments);
    return segments + t_count_spares(dir);
}

static const twal_saga_spec any = TWAL_SAGA_SPEC_INIT;

/* Sagas begun and ended until one is refused, or so many. */
static int fill(const char *dir, size_t files_max, int most)
{
    for (int at = 0; at < most; at++) {
        uint64_t id = 0;
        int code = twal_saga_create(txn, &any, &id, NULL);
        if (code != TWAL_OK) {
            t_code(code, TWAL_E_NOSPC);
            return at;
        }
        t_ok(twal_saga_aborted(txn, id, 0, NULL));
        t_check(files(dir) <= files_max);
    }
    return most;
}

static void limited(const char *dir)
{
    enum { LIMIT = 4, MANY = 200 };
    twal_options options = t_options_small_quiet();
    twal_txn_options manage = TWAL_TXN_OPTIONS_INIT;
    options.log_size_max = LIMIT * options.segment_size;
    manage.checkpoint_interval = UINT64_MAX;
    twal_log *log = t_open(dir, &options);
    txn = t_recover(log, &manage);
    t_equal(fill(dir, LIMIT + 1, MANY), MANY);
    t_check(t_txn_stats(txn).checkpoints > 1);

    uint64_t oldest = t_saga_begin(txn, t_name_of("me", 1), 1), begun = twal_last_seq(log);
    int sagas = fill(dir, LIMIT + 1, MANY);
    t_check(sagas < MANY);
    for (int round = 0; round < 2; round++) {
        t_equal(fill(dir, LIMIT + 1, MANY), 0);
        t_ok(twal_txn_checkpoint(txn, NULL));
        t_ok(twal_txn_checkpoint(txn, NULL));
        t_check(twal_first_seq(log) <= begun);
        t_txn_close(txn);
        t_close(log);
        log = t_open(dir, &options);
        txn = t_recover(log, &manage);
    }
    t_equal(fill(dir, LIMIT + 1, MANY), 0);
    t_ok(twal_saga_aborted(txn, oldest, 0, NULL));
    t_ok(twal_txn_checkpoint(txn, NULL));
    t_check(twal_first_seq(log) > begun);
    t_equal(fill(dir, LIMIT + 1, MANY), MANY);

    t_saga_begin(txn, t_name_of("me", 1), 1);
    t_check(fill(dir, LIMIT + 1, MANY) < MANY);
    t_ok(twal_txn_compact(txn, NULL, NULL));
    t_check(fill(dir, SIZE_MAX, MANY) > 0); /* the files are smaller now */
    t_txn_close(txn);
    t_close(log);
    printf("%d sagas fill %d segments behind one that is not finished\n", sagas, LIMIT);
}

int main(void)
{
    t_begin();
    limited(t_path("limited"));
    twal_options options = t_options_small();
    twal_txn_options manage = TWAL_TXN_OPTIONS_INIT;
    options.max_retained_segments = 1;
    manage.checkpoint_interval = 25;
    const char *dir = t_path("log");
    twal_log *log = t_open(dir, &options);
    txn = t_recover(log, &manage);

    run_sagas();
    uint64_t sealed = t_stats(log).segments_sealed;
    t_check(sealed > 3 * FILES_MAX && t_txn_stats(txn).checkpoints >= SAGAS * 5 / 26);
    t_check(twal_first_seq(log) > twal_last_seq(log) - 100);
    t_await(files(dir) <= FILES_MAX, T_PATIENCE_MS);

    uint64_t left = t_saga_begin(txn, t_name_of("me", 1), 1), needed = twal_last_seq(log);
    run_sagas();
    t_check(twal_first_seq(log) <= needed);
    t_check(files(dir) > 3 * FILES_MAX);
    printf("%" PRIu64 " segments filled; %zu files with a saga that is not finished\n", t_stats(log).segments_sealed,
           files(dir));
    t_txn_close(txn);
    t_close(log);

    log = t_open(dir, &options);
    txn = t_recover(log, &manage);
    t_equal(t_saga_state(txn, left), TWAL_SAGA_EXECUTING);
    t_ok(twal_saga_aborted(txn, left, 0, NULL));
    run_sagas();
    t_check(twal_first_seq(log) > twal_last_seq(log) - 100);
    t_await(files(dir) <= FILES_MAX, T_PATIENCE_MS);
    printf("%zu files when it is\n", files(dir));
    t_txn_close(txn);
    t_close(log);
    return t_end();
}
