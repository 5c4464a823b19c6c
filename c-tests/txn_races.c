/*
 * Goal: coordinators that work on one operation at the same time, or begin operations at the same time: each event is
 * taken once, whoever comes second is refused, and no id is given twice.
 * Method: as many threads as coordinators tell all events of the same operations, in the same order, and count what was
 * taken; a new open finds what they were told.
 *
 * t:with txn_helpers
 * t:valgrind no, there is one thread at a time there
 */
#include "txn_helpers.h"

#include <stdatomic.h>

#define COORDINATORS 6
#define ROUNDS 12
#define CREATED 20 /* by each */

static twal_txn *txn;
static pthread_barrier_t together;
static uint64_t ids[ROUNDS], created[COORDINATORS * CREATED];
static atomic_uint taken[ROUNDS][16];

/* Taken, or refused because it is not legal now. */
static void try(int code, size_t round, size_t event)
{
    t_check(code == TWAL_OK || code == TWAL_E_STATE);
    atomic_fetch_add(&taken[round][event], code == TWAL_OK);
}

enum { PREPARE, VOTE_1, VOTE_2, COMMIT, ABORT, COMMITTED, ABORTED };

static void *coordinate(void *arg)
{
    bool commits = *(uint64_t *)arg % 2;
    t_name one = t_name_of("shard", 1), two = t_name_of("shard", 2);
    for (size_t round = 0; round < ROUNDS; round++) {
        uint64_t id = ids[round];
        pthread_barrier_wait(&together);
        try(twal_2pc_prepare(txn, id, NULL), round, PREPARE);
        try(twal_2pc_vote(txn, id, one.bytes, TWAL_VOTE_COMMIT, 0, NULL), round, VOTE_1);
        try(twal_2pc_vote(txn, id, two.bytes, TWAL_VOTE_COMMIT, TWAL_APPEND_NO_SYNC, NULL), round, VOTE_2);
        if (commits)
            try(twal_2pc_commit_start(txn, id, NULL), round, COMMIT);
        else
            try(twal_2pc_abort_start(txn, id, NULL), round, ABORT);
        /* Whoever lost knows who won. */
        uint32_t state = t_2pc_state(txn, id);
        t_check(state >= TWAL_2PC_COMMITTING && state != TWAL_2PC_ROLLING_BACK);
        try(twal_2pc_commit_complete(txn, id, 0, NULL), round, COMMITTED);
        try(twal_2pc_abort_complete(txn, id, 0, NULL), round, ABORTED);
    }
    return NULL;
}

enum { ONE, TWO, THREE_FAILED, BEGUN, UNDONE, COMPENSATED, EARLY };

static void *run_saga(void *arg)
{
    (void)arg;
    for (size_t round = 0; round < ROUNDS; round++) {
        uint64_t id = ids[round];
        pthread_barrier_wait(&together);
        try(twal_saga_completed(txn, id, 0, NULL), round, EARLY);
        try(twal_saga_step_succeeded(txn, id, 1, 0, NULL), round, ONE);
        try(twal_saga_step_succeeded(txn, id, 2, TWAL_APPEND_NO_SYNC, NULL), round, TWO);
        try(twal_saga_step_failed(txn, id, 3, 9, 0, NULL), round, THREE_FAILED);
        try(twal_saga_compensation_start(txn, id, NULL), round, BEGUN);
        try(twal_saga_compensation_succeeded(txn, id, 2, 0, NULL), round, UNDONE);
        try(twal_saga_compensation_succeeded(txn, id, 1, 0, NULL), round, UNDONE);
        try(twal_saga_compensated(txn, id, 0, NULL), round, COMPENSATED);
    }
    return NULL;
}

static void *create(void *arg)
{
    uint64_t first = *(uint64_t *)arg * CREATED;
    pthread_barrier_wait(&together);
    for (size_t at = 0; at < CREATED; at++) {
        t_ok(twal_saga_create(txn, NULL, &created[first + at], NULL));
        /* The same new id, brought by all: one of them gets it. */
        twal_2pc_spec spec = TWAL_2PC_SPEC_INIT;
        spec.id = 1000 + at;
        int code = twal_2pc_create(txn, &spec, NULL, NULL);
        t_check(code == TWAL_OK || code == TWAL_E_STATE);
        atomic_fetch_add(&taken[0][0], code == TWAL_OK);
    }
    return NULL;
}

static void at_once(void *(*run)(void *))
{
    pthread_t threads[COORDINATORS];
    uint64_t numbers[COORDINATORS];
    memset(taken, 0, sizeof(taken));
    for (uint64_t at = 0; at < COORDINATORS; at++) {
        numbers[at] = at;
        threads[at] = t_thread(run, &numbers[at]);
    }
    for (size_t at = 0; at < COORDINATORS; at++)
        t_join(threads[at]);
}

static int by_number(const void *one, const void *other)
{
    const uint64_t *a = one, *b = other;
    return (*a > *b) - (*a < *b);
}

int main(void)
{
    t_begin();
    twal_options options = t_options();
    const char *dir = t_path("log");
    twal_log *log = t_open(dir, &options);
    txn = t_recover(log, NULL);
    t_check(pthread_barrier_init(&together, NULL, COORDINATORS) == 0);

    uint32_t committed = 0, aborted = 0;
    t_name shards[2] = { t_name_of("shard", 1), t_name_of("shard", 2) };
    for (size_t round = 0; round < ROUNDS; round++) {
        t_ok(twal_2pc_create(txn, NULL, &ids[round], NULL));
        for (size_t at = 0; at < 2; at++)
            t_ok(twal_2pc_add_participant(txn, ids[round], shards[at].bytes, shards[at].bytes, 0, NULL));
    }
    uint64_t before = t_txn_stats(txn).tx_events, events = 0;
    at_once(coordinate);
    for (size_t round = 0; round < ROUNDS; round++) {
        /* Whoever decides first has voted, or was refused because another had. */
        t_equal(taken[round][COMMIT] + taken[round][ABORT], 1);
        t_equal(taken[round][COMMIT], taken[round][COMMITTED]);
        t_equal(taken[round][ABORT], taken[round][ABORTED]);
        for (size_t event = PREPARE; event <= VOTE_2; event++)
            t_equal(taken[round][event], 1);
        committed += taken[round][COMMIT];
        aborted += taken[round][ABORT];
        for (size_t event = 0; event < 16; event++)
            events += taken[round][event];
    }
    t_equal(t_txn_stats(txn).tx_events - before, events); /* what was refused wrote nothing */
    printf("%" PRIu32 " committed, %" PRIu32 " aborted\n", committed, aborted);

    for (size_t round = 0; round < ROUNDS; round++)
        ids[round] = t_saga_begin(txn, t_name_of("me", 1), 3);
    at_once(run_saga);
    for (size_t round = 0; round < ROUNDS; round++) {
        for (size_t event = ONE; event <= BEGUN; event++)
            t_equal(taken[round][event], 1);
        t_equal(taken[round][UNDONE], 2);
        t_equal(taken[round][COMPENSATED], 1);
        t_equal(taken[round][EARLY], 0);
    }

    at_once(create);
    t_equal(taken[0][0], CREATED);
    qsort(created, COORDINATORS * CREATED, sizeof(created[0]), by_number);
    for (size_t at = 1; at < COORDINATORS * CREATED; at++)
        t_equal(created[at], created[at - 1] + 1);

    size_t active = t_count_active(txn);
    t_txn_close(txn);
    t_close(log);
    log = t_open(dir, &options);
    txn = t_recover(log, NULL);
    t_equal(t_report(txn).unfinished, active);
    t_txn_close(txn);
    t_close(log);
    return t_end();
}
