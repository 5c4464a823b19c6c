/*
 * Goal: the scenarios of the segmented log that came before, on a real log, at 800 nodes each: 40 sagas; 20 logs of
 * 20 two-phase commits in batches; a compaction; all at once.
 * Method: a child does the work and is killed where the scenario says crash; what it left is read back from disk.
 * Each scenario prints what it counted.
 *
 * t:with txn_helpers txn_scenarios
 */
#include "txn_scenarios.h"

#include <sys/mman.h>

static twal_options of_fifty(void)
{
    twal_options options = t_options_quiet();
    options.segment_records_max = 50;
    options.max_retained_segments = UINT64_MAX;
    return options;
}

static void forty_sagas(void *dir)
{
    twal_options options = of_fifty();
    twal_txn_options manage = manual();
    twal_log *log = t_open(dir, &options);
    twal_txn *txn = t_recover(log, &manage);
    uint64_t before = t_stats(log).flushes;
    for (uint64_t number = 0; number < 40; number++)
        saga_of_one(txn, number, COMPLETED);
    uint64_t flushes = t_stats(log).flushes - before;
    t_equal(t_txn_stats(txn).saga_events, 200);
    t_check(flushes >= 200);
    t_equal(t_count_active(txn), 0);
    printf("A11.1: 40 sagas, 200 records, %" PRIu64 " flushes\n", flushes);
}

static void a11_1(const char *dir)
{
    t_crash_after(forty_sagas, (void *)(uintptr_t)dir);
    size_t segments;
    t_segments(dir, &segments);
    t_check(segments >= 4);
    twal_options options = of_fifty();
    twal_log *log = t_open(dir, &options);
    twal_txn *txn = t_recover(log, NULL);
    on_disk found = read_back(log);
    t_equal(found.sagas, 200);
    t_equal(found.completed, 40);
    t_equal(t_report(txn).unfinished, 0);
    t_check(t_report(txn).checkpoints == 1 && t_report(txn).records_replayed == 201);
    printf("A11.1: after the crash %zu segments, 0 active, %" PRIu64 " nodes\n", segments, nodes_in(&found, nodes));
    t_txn_close(txn);
    t_close(log);
}

/* One of the logs of A11.2: its 20 commits name 40 nodes of their own, so that all logs together name every one. */
typedef struct shard {
    const char *dir;
    uint64_t first;
} shard;

static void twenty_commits(void *arg)
{
    const shard *mine = arg;
    twal_options options = t_options_quiet();
    twal_txn_options manage = manual();
    options.durability = TWAL_GROUP;
    options.batch_records = 8;
    options.batch_delay_us = 60 * 1000000;
    twal_log *log = t_open(mine->dir, &options);
    twal_txn *txn = t_recover(log, &manage);
    uint64_t before = t_stats(log).flushes;
    for (uint64_t number = 0; number < 20; number++)
        commit_of(txn, mine->first + number, 1, true);
    uint64_t flushes = t_stats(log).flushes - before;
    t_equal(t_txn_stats(txn).tx_events, 120);
    t_check(flushes >= 15);
    t_check(twal_durable_seq(log) < twal_last_seq(log));
    t_ok(twal_sync(log, 0));
    t_equal(twal_last_seq(log) - twal_durable_seq(log), 0);
    if (mine->first == 0)
        printf("A11.2: 20 two-phase commits, 120 records, %" PRIu64 " flushes, pending 0 after a manual one\n", flushes);
}

/* What the log holds after the crash; its nodes are added to `seen`. */
static void check_shard(shard *mine, uint8_t *seen)
{
    t_crash_after(twenty_commits, mine);
    twal_options options = t_options_quiet();
    twal_log *log = t_open(mine->dir, &options);
    twal_txn *txn = t_recover(log, NULL);
    on_disk found = read_back(log);
    t_equal(found.transactions, 120);
    t_equal(found.committed, 20);
    t_equal(t_report(txn).unfinished, 0);
    for (uint64_t id = 1; id <= 20; id++)
        t_equal(t_2pc_state(txn, id), TWAL_2PC_COMMITTED);
    for (uint64_t at = 0; at < nodes; at++)
        seen[at] |= found.seen[at];
    nodes_in(&found, 40);
    t_txn_close(txn);
    t_close(log);
}

/* A commit has one coordinator and one participant: 20 of them name 40 nodes, and 20 logs all 800. */
static void a11_2(void)
{
    on_disk all = { .seen = calloc(nodes, 1) };
    t_check(all.seen);
    for (uint64_t at = 0; at < nodes / 40; at++) {
        char name[32];
        snprintf(name, sizeof(name), "A11.2-%" PRIu64, at);
        shard mine = { t_path(name), at * 20 };
        check_shard(&mine, all.seen);
    }
    printf("A11.2: after the crash of each of 20 such logs all committed, %" PRIu64 " nodes in 20 times 120 records\n",
           nodes_in(&all, nodes));
}

static void thirty_and_ten(void *dir)
{
    twal_options options = of_fifty();
    twal_txn_options manage = manual();
    twal_log *log = t_open(dir, &options);
    twal_txn *txn = t_recover(log, &manage);
    for (uint64_t number = 0; number < 40; number++)
        saga_of_one(txn, number, number % 4 == 3 ? EXECUTING : COMPLETED);
    t_equal(t_txn_stats(txn).saga_events, 180);
    t_ok(twal_sync(log, 0));
}

static twal_compaction compact(twal_txn *txn)
{
    twal_compact_options how = TWAL_COMPACT_OPTIONS_INIT;
    twal_compaction done = TWAL_COMPACTION_INIT;
    how.flags = TWAL_COMPACT_SEAL;
    t_ok(twal_txn_compact(txn, &how, &done));
    t_equal(done.records_purged, done.events_purged + done.checkpoints_purged);
    return done;
}

static void compact_it(void *dir)
{
    twal_options options = of_fifty();
    twal_txn_options manage = manual();
    manage.flags |= TWAL_TXN_KEEP_RECORDS;
    twal_log *log = t_open(dir, &options);
    twal_txn *txn = t_recover(log, &manage);
    twal_compaction done = compact(txn);
    t_equal(done.events_purged, 150);
    t_equal(done.events_kept, 30);
    t_equal(t_count_active(txn), 10);
    t_check(done.bytes_saved * 100 >= done.bytes_before * 75);
    twal_stats stats = t_stats(log);
    t_equal(stats.records_purged, done.records_purged);
    t_equal(stats.compaction_bytes_saved, done.bytes_saved);
    t_equal(stats.segments_compacted, done.segments_compacted);
    t_equal(stats.compactions, 1);
    printf("A11.3: compaction purges %" PRIu64 ", keeps %" PRIu64 ", saves %" PRIu64 " of %" PRIu64 " bytes\n",
           done.events_purged, done.events_kept, done.bytes_saved, done.bytes_before);
}

static void a11_3(const char *dir)
{
    t_crash_after(thirty_and_ten, (void *)(uintptr_t)dir);
    twal_options options = of_fifty();
    twal_log *log = t_open(dir, &options);
    twal_txn *txn = t_recover(log, NULL);
    on_disk found = read_back(log);
    t_equal(found.sagas, 180);
    t_equal(found.completed, 30);
    t_equal(t_count_action(txn, TWAL_RESUME_SAGA_EXECUTE), 10);
    printf("A11.3: 30 finished, 10 active after the crash, %" PRIu64 " nodes\n", nodes_in(&found, nodes));
    t_txn_close(txn);
    t_close(log);

    /* Compacted, and killed at once. */
    t_crash_after(compact_it, (void *)(uintptr_t)dir);
    log = t_open(dir, &options);
    txn = t_recover(log, NULL);
    t_equal(t_count_action(txn, TWAL_RESUME_SAGA_EXECUTE), 10);
    found = read_back_compacted(log);
    free(found.seen);
    t_equal(found.sagas, 30);
    t_equal(found.completed, 0);
    for (uint64_t id = 1; id <= 40; id++)
        t_equal(t_saga_state(txn, id), id % 4 == 0 ? (uint32_t)TWAL_SAGA_EXECUTING : (uint32_t)TWAL_SAGA_FINISHED);
    printf("A11.3: after that crash, too, 10 are active\n");
    t_equal(finish(txn), 10);
    t_txn_close(txn);
    t_close(log);
}

/* What the child of A11.4 tells its parent. */
typedef struct all_at_once {
    const char *dir;
    uint64_t purged; /* by the compaction beside the others */
    uint8_t seen[800];
    twal_txn_stats stats;
    twal_compaction compaction;
    uint64_t last_seq;
    char metrics[64 << 10];
} all_at_once;

/* The metrics count what was done, whoever reads them. */
static void metrics_count(const char *text, const all_at_once *told)
{
    t_equal(t_metric(text, "twal_saga_events_total"), 30 * 5 + 5 * 7);
    t_equal(t_metric(text, "twal_tx_events_total"), 20);
    t_equal(t_metric(text, "twal_records_total"), told->last_seq);
    t_equal(t_metric(text, "twal_checkpoints_total"), told->stats.checkpoints);
    t_equal(t_metric(text, "twal_compactions_total"), 1);
    t_equal(t_metric(text, "twal_records_purged_total"), told->compaction.records_purged);
    t_equal(t_metric(text, "twal_compaction_bytes_saved_total"), told->compaction.bytes_saved);
    t_equal(t_metric(text, "twal_recoveries_total"), 0); /* the log was new */
    t_equal(t_metric(text, "twal_corrupted_records_total"), 0);
    /* Each event of the sagas that went one after the other was waited for by itself. */
    t_check(t_metric(text, "twal_fsyncs_total") >= 20 * 5);
    t_check(t_metric(text, "twal_segments_created_total") >= told->last_seq / 50);
}

/* The same of what Prometheus' own parser makes of the text; tests/metrics.py says how it tells. */
static void metrics_parse(const all_at_once *told)
{
    const char *text = t_path("metrics"), *read = t_path("metrics.read");
    char command[9000];
    t_file_make(text, told->metrics, strlen(told->metrics));
    const char *slash = strrchr(__FILE__, '/');
    snprintf(command, sizeof(command), "command -v python3 > /dev/null || exit 77; python3 %.*s/../tests/metrics.py < %s > %s",
             slash ? (int)(slash - __FILE__) : 1, slash ? __FILE__ : ".", text, read);
    const char *const parse[] = { "sh", "-c", command, NULL };
    int status = t_run(parse);
    if (status == 77) {
        printf("A11.4: skipped: there is no python3 with prometheus-client to parse the metrics with\n");
        return;
    }
    t_equal(status, 0);
    size_t len;
    const char *bytes = t_file_read(read, &len);
    char *parsed = calloc(len + 2, 1);
    t_check(parsed);
    parsed[0] = '\n';
    memcpy(parsed + 1, bytes, len);
    metrics_count(parsed, told);
    free(parsed);
    printf("A11.4: Prometheus' parser reads the same counts\n");
}

typedef struct share {
    twal_txn *txn;
    pthread_barrier_t *begun;
    uint64_t first, count;
    fate fate;
} share;

static void *sagas_of(void *arg)
{
    share *mine = arg;
    uint64_t ids[5];
    t_check(mine->count <= 5);
    for (uint64_t at = 0; at < mine->count; at++)
        ids[at] = begin_saga(mine->txn, mine->first + at);
    pthread_barrier_wait(mine->begun);
    pthread_barrier_wait(mine->begun);
    for (uint64_t at = 0; at < mine->count; at++)
        end_saga(mine->txn, ids[at], mine->fate);
    return NULL;
}

/* 15 sagas are completed; then 15 others end on three threads, beside a checkpoint and a compaction. */
static void do_all_at_once(void *arg)
{
    all_at_once *told = arg;
    twal_options options = of_fifty();
    twal_txn_options manage = manual();
    twal_log *log = t_open(told->dir, &options);
    twal_txn *txn = t_recover(log, &manage);
    for (uint64_t number = 0; number < 15; number++)
        saga_of_one(txn, number, COMPLETED);
    pthread_barrier_t begun;
    t_check(pthread_barrier_init(&begun, NULL, 4) == 0);
    share shares[] = { { txn, &begun, 15, 5, COMPLETED },
                       { txn, &begun, 20, 5, COMPLETED },
                       { txn, &begun, 25, 5, COMPENSATED } };
    pthread_t threads[3];
    for (size_t at = 0; at < 3; at++)
        threads[at] = t_thread(sagas_of, &shares[at]);
    pthread_barrier_wait(&begun);
    /* Before the compaction takes it away, what is on disk is read for the nodes that it names. */
    on_disk found = read_back(log);
    t_equal(found.sagas, 15 * 5 + 15 * 3);
    memcpy(told->seen, found.seen, nodes);
    free(found.seen);
    pthread_barrier_wait(&begun);
    t_ok(twal_txn_checkpoint(txn, NULL));
    told->compaction = compact(txn);
    told->purged = told->compaction.events_purged;
    t_check(told->purged >= 15 * 5);
    for (uint64_t number = 30; number < 35; number++)
        saga_of_one(txn, number, COMPLETED);
    commit_of(txn, 35, 8, true);
    for (size_t at = 0; at < 3; at++)
        t_join(threads[at]);
    twal_txn_stats stats = t_txn_stats(txn);
    t_equal(stats.saga_events, 30 * 5 + 5 * 7);
    t_equal(stats.tx_events, 20);
    t_check(stats.checkpoints >= 3);
    t_equal(stats.compactions, 1);
    t_equal(stats.active_sagas + stats.active_txs, 0);
    told->stats = stats;
    told->last_seq = twal_last_seq(log);
    size_t len;
    t_ok(twal_metrics(log, told->metrics, sizeof(told->metrics), &len));
}

static void a11_4(const char *dir)
{
    all_at_once *told = mmap(NULL, sizeof(*told), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    t_check(told != MAP_FAILED);
    told->dir = dir;
    t_crash_after(do_all_at_once, told);
    twal_options options = of_fifty();
    twal_txn_options manage = manual();
    twal_log *log = t_open(dir, &options);
    twal_txn *txn = t_recover(log, &manage);
    on_disk found = read_back_compacted(log);
    t_equal(t_report(txn).unfinished, 0);
    t_equal(told->purged + found.sagas + found.transactions, 30 * 5 + 5 * 7 + 20);
    t_check(found.completed >= 5 && found.completed <= 15);
    t_check(found.compensated <= 5);
    t_equal(found.committed, 1);
    for (uint64_t id = 1; id <= 35; id++)
        t_equal(t_saga_state(txn, id), TWAL_SAGA_FINISHED);
    t_equal(t_2pc_state(txn, 1), TWAL_2PC_COMMITTED);
    for (uint64_t at = 0; at < nodes; at++)
        found.seen[at] |= told->seen[at];
    printf("A11.4: 15 + 10 + 5 completed, 5 compensated, 1 of 8 participants committed, %" PRIu64
           " nodes; a compaction beside them purged %" PRIu64 " of 205\n",
           nodes_in(&found, nodes), told->purged);
    twal_compaction rest = compact(txn);
    t_equal(told->purged + rest.events_purged, 30 * 5 + 5 * 7 + 20);
    t_equal(rest.events_kept, 0);
    metrics_count(told->metrics, told);
    metrics_parse(told);
    size_t len;
    t_ok(twal_metrics(log, told->metrics, sizeof(told->metrics), &len));
    t_equal(t_metric(told->metrics, "twal_recoveries_total"), 1);
    printf("A11.4: skipped: locks have no calls in this library\n");
    t_txn_close(txn);
    t_close(log);
    t_check(munmap(told, sizeof(*told)) == 0);
}

int main(void)
{
    t_begin();
    nodes = 800;
    step_nodes = 23; /* of at least 35 sagas */
    a11_1(t_path("A11.1"));
    a11_2();
    a11_3(t_path("A11.3"));
    a11_4(t_path("A11.4"));
    return t_end();
}
