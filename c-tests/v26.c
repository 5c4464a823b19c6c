/*
 * Goal: files of the v2.6 layout come into a log and out of it; what is damaged is refused with its place, and leaves the
 * log as it was.  All of what they hold comes in, or nothing.
 * Method: the golden files, which a script of its own wrote, are replayed, imported and exported; another script reads the
 * export.  An importer is killed in the middle.  Then one byte of a file is turned.
 *
 * t:with txn_helpers
 */
#include "txn_helpers.h"

/* Where the golden files are, beside this one. */
static const char *golden(const char *name)
{
    static char path[4096];
    const char *slash = strrchr(__FILE__, '/');
    int here = slash ? (int)(slash - __FILE__) : 1;
    snprintf(path, sizeof(path), "%.*s/../tests/golden/v26/%s", here, slash ? __FILE__ : ".", name);
    return path;
}

typedef struct numbers {
    uint64_t count, last_old, last_new;
} numbers;

static void told(void *arg, uint64_t old_seq, uint64_t new_seq)
{
    numbers *seen = arg;
    t_check(old_seq > seen->last_old && new_seq > seen->last_new);
    *seen = (numbers){ seen->count + 1, old_seq, new_seq };
}

static void import_and_die(void *dir)
{
    twal_log *log = t_open(dir, NULL);
    twal_txn *txn = t_recover(log, NULL);
    twal_v26_report report = TWAL_V26_REPORT_INIT;
    numbers seen = { 0, 0, 0 };
    t_ok(twal_import(txn, golden("clean"), NULL, told, &seen, &report));
    t_equal(report.records, 106);
    t_equal(report.imported, 105);
    t_equal(seen.count, report.imported);
    t_equal(seen.last_old, report.last_seq);
    t_equal(seen.last_new, report.log_last_seq);
    t_equal(report.log_last_seq - report.log_first_seq + 1, report.imported + report.added);
    t_equal(report.unfinished, t_count_active(txn));
    printf("imported %" PRIu64 ", added %" PRIu64 ", unfinished %" PRIu64 "\n", report.imported, report.added,
           report.unfinished);
}

static void there_and_back(const char *dir, const char *out)
{
    twal_v26_report report = TWAL_V26_REPORT_INIT, again = TWAL_V26_REPORT_INIT;
    t_ok(twal_v26_replay(golden("clean"), NULL, &report));
    t_equal(report.records, 106);
    t_equal(report.imported, 0);
    t_crash_after(import_and_die, (void *)(uintptr_t)dir);
    twal_log *log = t_open(dir, NULL);
    twal_txn *txn = t_recover(log, NULL);
    t_equal(t_report(txn).unfinished, report.unfinished);

    /* A second time, their ids are used. */
    uint64_t last_seq = twal_last_seq(log);
    t_code(twal_import(txn, golden("clean"), NULL, NULL, NULL, NULL), TWAL_E_EXISTS);
    t_equal(twal_last_seq(log), last_seq);

    twal_v26_exported done = TWAL_V26_EXPORTED_INIT;
    twal_v26_options how = TWAL_V26_OPTIONS_INIT;
    how.file_records_max = 40;
    t_ok(twal_export(log, out, &how, &done));
    uint64_t records = last_seq - 2; /* not the import's markers */
    t_equal(done.records, records);
    t_equal(done.files, (records + 39) / 40);
    t_code(twal_export(log, out, NULL, NULL), TWAL_E_EXISTS);
    t_ok(twal_v26_replay(out, NULL, &again));
    t_equal(again.unfinished, report.unfinished);
    t_equal(again.wrong, 0);
    t_equal(again.last_seq, last_seq - 1);
    char command[9000];
    snprintf(command, sizeof(command), "test $(python3 %s %s | wc -l) = %" PRIu64, golden("read.py"), out, records);
    const char *const python[] = { "sh", "-c", "command -v python3 > /dev/null", NULL };
    const char *const read_py[] = { "sh", "-c", command, NULL };
    if (t_run(python))
        printf("skipped: read.py: there is no python3\n");
    else
        t_equal(t_run(read_py), 0);

    /* What the layout cannot hold. */
    uint64_t seq = t_append(log, 10, 0, 0, TWAL_APPEND_SYNC);
    const char *other = t_path("other");
    t_code(twal_export(log, other, NULL, NULL), TWAL_E_UNSUPPORTED);
    t_equal(t_last_error().seq, seq);
    how.flags = TWAL_V26_LEAVE_OUT;
    t_ok(twal_export(log, other, &how, &done));
    t_equal(done.program, 1);
    t_equal(done.records, records);
    t_txn_close(txn);
    t_close(log);
}

static int never_asked(void *arg, const twal_txn_action *action, uint32_t *error)
{
    (void)error;
    ++*(uint64_t *)arg;
    fprintf(stderr, "asked for kind %u id %" PRIu64 "\n", action->kind, action->id);
    return TWAL_DONE;
}

/* Nobody is asked for anything. */
static void *resume_nothing(void *txn)
{
    uint64_t asked = 0;
    twal_txn_participants participants = TWAL_TXN_PARTICIPANTS_INIT;
    participants.execute = participants.compensate = participants.commit = participants.abort = participants.rollback =
        never_asked;
    participants.arg = &asked;
    t_ok(twal_txn_resume(txn, &participants, NULL, NULL));
    t_equal(asked, 0);
    return NULL;
}

typedef struct half {
    twal_log *log;
    twal_txn *txn;
    uint64_t told;
} half;

/* In the middle: what others may do beside it, and with what was imported so far on the disk, its end. */
static void told_half(void *arg, uint64_t old_seq, uint64_t new_seq)
{
    half *import = arg;
    (void)old_seq;
    if (++import->told < 50)
        return;
    t_ok(twal_sync(import->log, 0));
    t_check(twal_durable_seq(import->log) >= new_seq);
    t_code(twal_saga_create(import->txn, NULL, NULL, NULL), TWAL_E_BUSY);
    t_code(twal_2pc_create(import->txn, NULL, NULL, NULL), TWAL_E_BUSY);
    t_code(twal_txn_checkpoint(import->txn, NULL), TWAL_E_BUSY);
    t_code(twal_import(import->txn, golden("clean"), NULL, NULL, NULL, NULL), TWAL_E_BUSY);
    pthread_t thread;
    t_check(pthread_create(&thread, NULL, resume_nothing, import->txn) == 0);
    t_check(pthread_join(thread, NULL) == 0);
    t_equal(t_count_active(import->txn), 0);
    fflush(NULL);
    kill(getpid(), SIGKILL);
}

static void import_half(void *dir)
{
    half import = { t_open(dir, NULL), NULL, 0 };
    import.txn = t_recover(import.log, NULL);
    (void)twal_import(import.txn, golden("clean"), NULL, told_half, &import, NULL);
    t_fail(__FILE__, __LINE__, "it came to its end");
}

/* An importer is killed: nothing of the files is there, nobody is asked for anything, and they are imported again. */
static void killed(const char *dir, const char *out)
{
    twal_v26_report report = TWAL_V26_REPORT_INIT, again = TWAL_V26_REPORT_INIT;
    twal_v26_exported done = TWAL_V26_EXPORTED_INIT;
    t_crash_after(import_half, (void *)(uintptr_t)dir);
    twal_log *log = t_open(dir, NULL);
    t_check(twal_last_seq(log) > 100);
    twal_txn *txn = t_recover(log, NULL);
    t_equal(t_report(txn).unfinished, 0);
    resume_nothing(txn);
    t_ok(twal_import(txn, golden("clean"), NULL, NULL, NULL, &report));
    t_equal(report.imported, 105);
    t_equal(t_count_active(txn), report.unfinished);
    t_ok(twal_export(log, out, NULL, &done));
    t_ok(twal_v26_replay(out, NULL, &again));
    t_check(again.wrong == 0 && again.unfinished == report.unfinished && done.headless == 0);
    t_txn_close(txn);
    t_close(log);
}

static void hostile(const char *dir, const char *copy)
{
    t_dir_copy(golden("clean"), copy);
    char file[4096];
    snprintf(file, sizeof(file), "%s/wal_segment_003.wal", copy);
    t_file_flip(file, 44 + 29, 1); /* the first payload */
    twal_log *log = t_open(dir, NULL);
    twal_txn *txn = t_recover(log, NULL);
    uint64_t last_seq = twal_last_seq(log);
    twal_v26_report report = TWAL_V26_REPORT_INIT;
    twal_v26_options how = TWAL_V26_OPTIONS_INIT;
    t_code(twal_v26_replay(copy, NULL, &report), TWAL_E_CORRUPT);
    t_check(t_last_error().segment == 3 && t_last_error().offset == 44);
    t_code(twal_import(txn, copy, NULL, told, NULL, NULL), TWAL_E_CORRUPT);
    t_check(t_last_error().segment == 3 && t_last_error().offset == 44);
    t_equal(twal_last_seq(log), last_seq);
    how.flags = TWAL_V26_SKIP_DAMAGED;
    t_ok(twal_v26_replay(copy, &how, &report));
    t_equal(report.damaged, 1);
    how.flags = TWAL_V26_LEAVE_OUT;
    t_code(twal_v26_replay(copy, &how, &report), TWAL_E_INVAL);
    t_code(twal_v26_replay(t_path("nothing"), NULL, &report), TWAL_E_NOTFOUND);
    t_code(twal_v26_replay(NULL, NULL, &report), TWAL_E_INVAL);
    t_code(twal_v26_replay(copy, NULL, NULL), TWAL_E_INVAL);
    t_code(twal_import(NULL, copy, NULL, NULL, NULL, NULL), TWAL_E_INVAL);
    t_code(twal_export(NULL, copy, NULL, NULL), TWAL_E_INVAL);
    t_txn_close(txn);
    t_close(log);
}

/* Where the first record is that is not legal, read off the lines beside the files. */
static void illegal(void)
{
    twal_v26_report report = TWAL_V26_REPORT_INIT;
    t_ok(twal_v26_replay(golden("illegal"), NULL, &report));
    t_equal(report.wrong, 6);
    t_check(report.wrong_file == 1 && report.wrong_offset == 459 && report.wrong_seq == 10);
    t_ok(twal_v26_replay(golden("clean"), NULL, &report));
    t_check(report.wrong == 0 && report.wrong_file == 0 && report.wrong_offset == 0 && report.wrong_seq == 0);
}

/* A and B begin in one segment, and B ends in the next: compacted, only its end is there. */
static void after_a_compaction(const char *dir, const char *out)
{
    twal_txn_options manage = TWAL_TXN_OPTIONS_INIT;
    manage.flags = TWAL_TXN_KEEP_RECORDS;
    twal_log *log = t_open(dir, NULL);
    twal_txn *txn = t_recover(log, &manage);
    uint64_t first, second, end;
    twal_v26_exported done = TWAL_V26_EXPORTED_INIT;
    twal_v26_report report = TWAL_V26_REPORT_INIT;
    twal_v26_options how = TWAL_V26_OPTIONS_INIT;
    t_ok(twal_saga_create(txn, NULL, &first, NULL));
    t_ok(twal_saga_create(txn, NULL, &second, NULL));
    t_ok(twal_saga_start(txn, second, NULL));
    t_ok(twal_roll(log));
    t_ok(twal_saga_completed(txn, second, 0, &end));
    t_ok(twal_txn_compact(txn, NULL, NULL));
    t_code(twal_export(log, out, NULL, NULL), TWAL_E_UNSUPPORTED);
    t_equal(t_last_error().seq, end);
    how.flags = TWAL_V26_LEAVE_OUT;
    t_ok(twal_export(log, out, &how, &done));
    t_check(done.headless == 1 && done.headless_operations == 1);
    t_ok(twal_v26_replay(out, NULL, &report));
    t_check(report.wrong == 0 && report.isolated == 0);
    t_equal(report.unfinished, 1);
    t_txn_close(txn);
    t_close(log);
}

int main(void)
{
    t_begin();
    illegal();
    after_a_compaction(t_path("compacted"), t_path("exported"));
    there_and_back(t_path("log"), t_path("out"));
    killed(t_path("killed"), t_path("whole"));
    hostile(t_path("another"), t_path("copy"));
    return t_end();
}
