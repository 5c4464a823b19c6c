/*
 * Goal: what is dropped of a stream is hidden at once from who asks for that, gone after a compaction, and nothing else
 * is; a compaction stops neither a writer nor readers, in this process and in another.
 * Method: streams with tombstones and purges, killed and read back; sagas and records appended by threads, while the log
 * is compacted again and again and a child reads it.
 *
 * t:with txn_helpers
 * t:leaks no, a forked child has lost the threads whose memory it inherits
 */
#include <semaphore.h>

#include "txn_helpers.h"

#define STREAMS 3
#define EACH 50
#define LEN 700
#define ROUNDS 10
#define TURNS 60 /* of the writer in a round: one that never stopped would leave behind whoever reads it all again */

static twal_options small(void)
{
    twal_options options = t_options_quiet();
    options.segment_size = 64 << 10;
    options.max_retained_segments = UINT64_MAX;
    return options;
}

static twal_txn_options keeping(void)
{
    twal_txn_options manage = TWAL_TXN_OPTIONS_INIT;
    manage.flags = TWAL_TXN_KEEP_RECORDS;
    manage.checkpoint_interval = UINT64_MAX;
    return manage;
}

static twal_compaction compact(twal_txn *txn)
{
    twal_compact_options how = TWAL_COMPACT_OPTIONS_INIT;
    twal_compaction done = TWAL_COMPACTION_INIT;
    how.flags = TWAL_COMPACT_SEAL;
    t_ok(twal_txn_compact(txn, &how, &done));
    return done;
}

/* Record number `at` of each stream has the timestamp `at`. */
static void write_streams(twal_log *log)
{
    static const char data[LEN] = "data";
    for (int64_t at = 0; at < EACH; at++)
        for (uint64_t stream = 1; stream <= STREAMS; stream++) {
            twal_entry entry = TWAL_ENTRY_INIT;
            entry.data = data;
            entry.len = LEN;
            entry.stream = stream;
            entry.timestamp = at;
            t_ok(twal_append_entry(log, &entry, NULL));
        }
}

/* How many records of each stream a reader finds. */
static void count(twal_iter *iter, uint64_t counts[STREAMS + 1])
{
    memset(counts, 0, (STREAMS + 1) * sizeof(counts[0]));
    twal_record record;
    int code;
    while ((code = twal_iter_next(iter, &record)) == 1)
        if (record.type >= 0x100)
            counts[record.stream]++;
    t_equal(code, 0);
    twal_iter_close(iter);
}

static void expect(twal_log *log, twal_txn *txn, uint64_t first, uint64_t second, uint64_t third)
{
    uint64_t counts[STREAMS + 1];
    twal_iter *iter = NULL;
    if (txn)
        t_ok(twal_txn_iter_open(txn, NULL, &iter));
    else
        t_ok(twal_iter_open(log, NULL, &iter));
    count(iter, counts);
    t_equal(counts[1], first);
    t_equal(counts[2], second);
    t_equal(counts[3], third);
}

static void drop_streams(void *dir)
{
    twal_options options = small();
    twal_txn_options manage = keeping();
    twal_log *log = t_open(dir, &options);
    twal_txn *txn = t_recover(log, &manage);
    uint64_t seq = 0;
    write_streams(log);
    t_ok(twal_tombstone(txn, 1, UINT64_MAX, "first", 5, TWAL_APPEND_SYNC, &seq));
    t_equal(seq, twal_last_seq(log));
    t_ok(twal_purge(txn, 2, 20, 7, 20, 0, NULL));
    t_ok(twal_applied(txn, 9, 4, 5, 0, NULL));
    t_ok(twal_applied(txn, 9, 4, 6, TWAL_APPEND_SYNC, NULL));
    t_equal(t_txn_stats(txn).stream_events, 4);
    expect(log, txn, 0, EACH - 20, EACH);
    expect(log, NULL, EACH, EACH, EACH);
}

static void compact_streams(void *dir)
{
    twal_options options = small();
    twal_txn_options manage = keeping();
    twal_log *log = t_open(dir, &options);
    twal_txn *txn = t_recover(log, &manage);
    expect(log, txn, 0, EACH - 20, EACH);
    expect(log, NULL, EACH, EACH, EACH);
    twal_compaction done = compact(txn);
    t_equal(done.dropped_purged, EACH + 20);
    t_equal(done.stream_events_purged, 1);
    t_equal(t_txn_stats(txn).compactions, 1);
    expect(log, NULL, 0, EACH - 20, EACH);
}

static void streams(const char *dir)
{
    t_crash_after(drop_streams, (void *)(uintptr_t)dir);
    t_crash_after(compact_streams, (void *)(uintptr_t)dir);
    twal_options options = small();
    twal_txn_options manage = keeping();
    twal_log *log = t_open(dir, &options);
    twal_txn *txn = t_recover(log, &manage);
    expect(log, NULL, 0, EACH - 20, EACH);
    twal_tombstone_info tombstone = TWAL_TOMBSTONE_INFO_INIT;
    twal_purge_info purge = TWAL_PURGE_INFO_INIT;
    twal_applied_info applied = TWAL_APPLIED_INFO_INIT;
    t_ok(twal_tombstone_get(txn, 0, &tombstone));
    t_check(tombstone.stream == 1 && tombstone.name_len == 5 && !strcmp((char *)tombstone.name, "first"));
    t_code(twal_tombstone_get(txn, 2, &tombstone), TWAL_E_NOTFOUND);
    t_ok(twal_purge_get(txn, 2, &purge));
    t_check(purge.before == 20 && purge.tag == 7 && purge.purged == 20);
    t_code(twal_purge_get(txn, 1, &purge), TWAL_E_NOTFOUND);
    t_ok(twal_applied_get(txn, 9, &applied));
    t_check(applied.epoch == 4 && applied.position == 6);
    t_code(twal_applied_get(txn, 1, &applied), TWAL_E_NOTFOUND);
    /* Used again, a stream begins anew. */
    write_streams(log);
    expect(log, txn, EACH, EACH - 20 + EACH, 2 * EACH);
    t_txn_close(txn);
    t_close(log);
}

/* A later purge of an earlier time drops what came in between, and the first one still what it dropped. */
static void a_second_purge(const char *dir)
{
    twal_txn_options manage = keeping();
    twal_log *log = t_open(dir, NULL);
    twal_txn *txn = t_recover(log, &manage);
    twal_purge_info purge = TWAL_PURGE_INFO_INIT;
    write_streams(log);
    t_ok(twal_purge(txn, 2, 40, 1, 40, 0, NULL));
    write_streams(log);
    expect(log, txn, 2 * EACH, 2 * EACH - 40, 2 * EACH);
    t_ok(twal_purge(txn, 2, 20, 2, 20, TWAL_APPEND_SYNC, NULL));
    expect(log, txn, 2 * EACH, 2 * EACH - 60, 2 * EACH);
    t_ok(twal_purge_get(txn, 2, &purge));
    t_check(purge.before == 20 && purge.tag == 2);
    twal_compaction done = compact(txn);
    t_check(done.dropped_purged == 60 && done.stream_events_purged == 0);
    expect(log, NULL, 2 * EACH, 2 * EACH - 60, 2 * EACH);
    for (int64_t before = 19; before > 20 - 64 + 1; before--)
        t_ok(twal_purge(txn, 2, before, 3, 0, 0, NULL));
    t_code(twal_purge(txn, 2, -1000, 3, 0, 0, NULL), TWAL_E_TOOBIG);
    t_txn_close(txn);
    t_close(log);
}

/* All of them, also of the lowest and the highest stream that there can be, and no end that is a beginning. */
static void every_tombstone(const char *dir)
{
    static const uint64_t streams[] = { 0, 7, UINT64_MAX - 1, UINT64_MAX };
    twal_log *log = t_open(dir, NULL);
    twal_txn *txn = t_recover(log, NULL);
    twal_tombstone_info one = TWAL_TOMBSTONE_INFO_INIT;
    size_t found = 0;
    for (size_t at = 0; at < 4; at++)
        t_ok(twal_tombstone(txn, streams[3 - at], 1 + at, NULL, 0, 0, NULL));
    /* As the header's example. */
    int code = twal_tombstone_get(txn, 0, &one);
    while (code == TWAL_OK) {
        t_check(found < 4 && one.stream == streams[found] && one.below_seq == 4 - found);
        found++;
        if (one.stream == UINT64_MAX)
            break;
        code = twal_tombstone_get(txn, one.stream + 1, &one);
    }
    t_equal(code, TWAL_OK);
    t_equal(found, 4);
    t_txn_close(txn);
    t_close(log);
}

static void refusals(const char *dir)
{
    twal_log *log = t_open(dir, NULL);
    twal_txn *txn = t_recover(log, NULL);
    twal_compact_options how = TWAL_COMPACT_OPTIONS_INIT;
    twal_iter *iter = NULL;
    char name[256] = { 0 };
    t_code(twal_txn_compact(NULL, NULL, NULL), TWAL_E_INVAL);
    how.flags = 2;
    t_code(twal_txn_compact(txn, &how, NULL), TWAL_E_INVAL);
    how.flags = 0;
    how.struct_size = 8;
    t_code(twal_txn_compact(txn, &how, NULL), TWAL_E_INVAL);
    t_code(twal_tombstone(NULL, 1, 1, NULL, 0, 0, NULL), TWAL_E_INVAL);
    t_code(twal_tombstone(txn, 1, 1, NULL, 1, 0, NULL), TWAL_E_INVAL);
    t_code(twal_tombstone(txn, 1, 1, name, 256, 0, NULL), TWAL_E_TOOBIG);
    t_code(twal_purge(txn, 1, 1, 0, 0, TWAL_APPEND_SYNC | TWAL_APPEND_NO_SYNC, NULL), TWAL_E_INVAL);
    t_code(twal_applied(txn, 1, 1, 1, 64, NULL), TWAL_E_INVAL);
    t_code(twal_txn_iter_open(txn, NULL, NULL), TWAL_E_INVAL);
    t_code(twal_txn_iter_open(NULL, NULL, &iter), TWAL_E_INVAL);
    t_ok(twal_txn_compact(txn, NULL, NULL));
    t_close(log);
    t_code(twal_txn_compact(txn, NULL, NULL), TWAL_E_CLOSED);
    t_code(twal_tombstone(txn, 1, 1, NULL, 0, 0, NULL), TWAL_E_CLOSED);
    t_txn_close(txn);
}

/* ---- beside others ---- */

typedef struct writer {
    twal_log *log;
    twal_txn *txn;
    sem_t turns;
    uint64_t appended, sagas;
} writer;

static void *write_on(void *arg)
{
    writer *mine = arg;
    static const char data[LEN] = "kept";
    for (int turn = 0; turn < ROUNDS * TURNS; turn++) {
        t_check(sem_wait(&mine->turns) == 0);
        twal_entry entry = TWAL_ENTRY_INIT;
        entry.data = data;
        entry.len = LEN;
        entry.stream = 3;
        t_ok(twal_append_entry(mine->log, &entry, NULL));
        mine->appended++;
        uint64_t id = t_saga_begin(mine->txn, t_name_of("node", 1), 1);
        t_ok(twal_saga_step_succeeded(mine->txn, id, 1, 0, NULL));
        t_ok(twal_saga_completed(mine->txn, id, 0, NULL));
        mine->sagas++;
    }
    return NULL;
}

/* Whoever reads from the beginning finds every record of stream 3 that it found before, and more. */
static void read_on(void *dir)
{
    uint64_t before = 0, counts[STREAMS + 1];
    for (int round = 0; round < ROUNDS; round++) {
        twal_log *log = t_open_read_only(dir);
        twal_iter *iter = NULL;
        t_ok(twal_iter_open(log, NULL, &iter));
        count(iter, counts);
        t_check(counts[3] >= before);
        before = counts[3];
        t_close(log);
    }
}

static void beside_writers_and_readers(const char *dir)
{
    t_waiting reader = t_fork_early(read_on, (void *)(uintptr_t)dir);
    twal_options options = small();
    twal_txn_options manage = keeping();
    twal_log *log = t_open(dir, &options);
    twal_txn *txn = t_recover(log, &manage);
    writer writer = { .log = log, .txn = txn };
    t_check(sem_init(&writer.turns, 0, 0) == 0);
    uint64_t left = t_saga_begin(txn, t_name_of("node", 2), 1), purged = 0;
    t_ok(twal_sync(log, 0));
    pid_t child = t_go(&reader);
    pthread_t thread = t_thread(write_on, &writer);
    for (int round = 0; round < ROUNDS; round++) {
        for (int turn = 0; turn < TURNS; turn++)
            t_check(sem_post(&writer.turns) == 0);
        purged += compact(txn).events_purged;
    }
    t_join(thread);
    t_wait_child_ok(child);
    purged += compact(txn).events_purged;
    t_equal(purged, writer.sagas * 5);
    t_equal(t_count_active(txn), 1);
    expect(log, NULL, 0, 0, writer.appended);
    t_txn_close(txn);
    t_close(log);
    log = t_open(dir, &options);
    txn = t_recover(log, &manage);
    t_equal(t_count_active(txn), 1);
    t_equal(t_saga_state(txn, left), TWAL_SAGA_EXECUTING);
    expect(log, NULL, 0, 0, writer.appended);
    t_txn_close(txn);
    t_close(log);
}

int main(void)
{
    t_begin();
    streams(t_path("streams"));
    a_second_purge(t_path("purges"));
    every_tombstone(t_path("tombstones"));
    refusals(t_path("refusals"));
    beside_writers_and_readers(t_path("beside"));
    return t_end();
}
