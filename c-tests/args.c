/*
 * Goal: every argument that no call accepts gives its documented code, leaves
 * out parameters untouched, gives no number, writes nothing, creates nothing.
 */
#include "helpers.h"

#include <sys/stat.h>

#define UNTOUCHED UINT64_C(0x1122334455667788)

static twal_log *const no_log = (twal_log *)(uintptr_t)0x5a5a;

static void open_is(const char *path, const twal_options *options, int code)
{
    twal_log *log = no_log;
    t_code(twal_open(path, options, &log), code);
    t_check(log == no_log);
}

static void open_paths(void)
{
    const char *missing = t_path("missing"), *file = t_path("file"), *empty = t_path("empty");
    twal_options options = t_options_small();
    twal_log *log = no_log;

    t_file_make(file, "text", 4);
    t_check(mkdir(empty, 0700) == 0);
    open_is(NULL, &options, TWAL_E_INVAL);
    open_is("", &options, TWAL_E_INVAL);
    open_is(file, &options, TWAL_E_INVAL);
    open_is(NULL, NULL, TWAL_E_INVAL);
    t_code(twal_open(missing, &options, NULL), TWAL_E_INVAL);
    t_code(twal_open(missing, NULL, NULL), TWAL_E_INVAL);
    t_check(!t_exists(missing));
    open_is(t_path("missing/log"), &options, TWAL_E_NOTFOUND);
    t_check(!t_exists(missing));

    options.flags = TWAL_OPEN_NO_CREATE;
    open_is(missing, &options, TWAL_E_NOTFOUND);
    open_is(empty, &options, TWAL_E_NOTFOUND);
    open_is(file, &options, TWAL_E_INVAL);
    options.flags = TWAL_OPEN_READ_ONLY;
    open_is(missing, &options, TWAL_E_NOTFOUND);
    open_is(empty, &options, TWAL_E_NOTFOUND);
    open_is(t_path("missing/log"), &options, TWAL_E_NOTFOUND);
    options.flags = TWAL_OPEN_READ_ONLY | TWAL_OPEN_NO_CREATE;
    open_is(empty, &options, TWAL_E_NOTFOUND);
    t_check(!t_exists(missing));
    t_check(rmdir(empty) == 0);

    /* Files of others in the directory do not make it a log, nor get in the way. */
    t_check(mkdir(empty, 0700) == 0);
    t_file_make(t_path("empty/notes.txt"), "mine", 4);
    t_file_make(t_path("empty/twalrus"), "mine", 4);
    options.flags = TWAL_OPEN_NO_CREATE;
    open_is(empty, &options, TWAL_E_NOTFOUND);
    options.flags = 0;
    t_ok(twal_open(empty, &options, &log));
    t_append_many(log, 2, 100);
    t_close(log);
    t_expect_log(empty, 1, 2, 100);
    size_t len = 0;
    char *text = t_file_read(t_path("empty/notes.txt"), &len);
    t_check(len == 4 && memcmp(text, "mine", 4) == 0);
    t_check(t_exists(t_path("empty/twalrus")));
}

/* What is refused by a rule of the first column must leave the log as it is. */
static void appends(twal_log *log, uint64_t record_size_max)
{
    static const char data[64];
    uint64_t seq = UNTOUCHED;
    twal_entry good = TWAL_ENTRY_INIT;
    good.data = data;
    good.len = sizeof data;

    t_code(twal_append(NULL, data, 1, &seq), TWAL_E_INVAL);
    t_code(twal_append(NULL, NULL, 0, NULL), TWAL_E_INVAL);
    t_code(twal_append(log, NULL, 1, &seq), TWAL_E_INVAL);
    t_code(twal_append(log, NULL, SIZE_MAX, &seq), TWAL_E_INVAL);
    /* Nobody reads so far: the length is refused before a byte is looked at. */
    t_code(twal_append(log, data, record_size_max + 1, &seq), TWAL_E_TOOBIG);
    t_code(twal_append(log, data, SIZE_MAX, &seq), TWAL_E_TOOBIG);
    t_code(twal_append(log, data, SIZE_MAX - 40, &seq), TWAL_E_TOOBIG);
    t_code(twal_append(log, data, (size_t)1 << 63, &seq), TWAL_E_TOOBIG);

    t_code(twal_append_entry(NULL, &good, &seq), TWAL_E_INVAL);
    t_code(twal_append_entry(log, NULL, &seq), TWAL_E_INVAL);
    t_code(twal_append_entry(NULL, NULL, NULL), TWAL_E_INVAL);
    t_code(twal_append_batch(NULL, &good, 1, &seq), TWAL_E_INVAL);
    t_code(twal_append_batch(log, NULL, 1, &seq), TWAL_E_INVAL);
    t_code(twal_append_batch(log, NULL, 0, &seq), TWAL_E_INVAL);
    t_code(twal_append_batch(log, &good, 0, &seq), TWAL_E_INVAL);

    static const struct {
        twal_entry entry;
        int code;
        const char *why;
    } bad[] = {
#define E(len, type, flags, r0, r1) { data, len, 0, 0, type, flags, { r0, r1 } }
        { { NULL, 1, 0, 0, 0, 0, { 0, 0 } }, TWAL_E_INVAL, "no data" },
        { { NULL, SIZE_MAX, 0, 0, 0, 0, { 0, 0 } }, TWAL_E_INVAL, "no data, absurd length" },
        { E(1, 1, 0, 0, 0), TWAL_E_INVAL, "type of twal" },
        { E(1, 0x00FF, 0, 0, 0), TWAL_E_INVAL, "type of twal" },
        { E(1, 0x10000, 0, 0, 0), TWAL_E_INVAL, "type too wide" },
        { E(1, 0x10100, 0, 0, 0), TWAL_E_INVAL, "type too wide, low half good" },
        { E(1, UINT32_MAX, 0, 0, 0), TWAL_E_INVAL, "type too wide" },
        { E(1, 0, TWAL_APPEND_SYNC | TWAL_APPEND_NO_SYNC, 0, 0), TWAL_E_INVAL, "both" },
        { E(1, 0, 16, 0, 0), TWAL_E_INVAL, "unknown flag" },
        { E(1, 0, (uint32_t)1 << 30, 0, 0), TWAL_E_INVAL, "unknown flag" },
        { E(1, 0, (uint32_t)1 << 31, 0, 0), TWAL_E_INVAL, "unknown flag" },
        { E(1, 0, UINT32_MAX, 0, 0), TWAL_E_INVAL, "unknown flags" },
        { E(1, 0, 0, 1, 0), TWAL_E_INVAL, "reserved" },
        { E(1, 0, 0, 0, 1), TWAL_E_INVAL, "reserved" },
        { E(1, 0, 0, 0, UINT64_C(1) << 63), TWAL_E_INVAL, "reserved" },
        { E(SIZE_MAX, 0, 0, 0, 0), TWAL_E_TOOBIG, "absurd length" },
        { E(SIZE_MAX, 1, 0, 0, 0), TWAL_E_INVAL, "INVAL before TOOBIG" },
#undef E
    };
    for (size_t n = 0; n < sizeof bad / sizeof *bad; n++) {
        int code = twal_append_entry(log, &bad[n].entry, &seq);
        if (code != bad[n].code)
            t_fail(__FILE__, __LINE__, "entry with %s: %d", bad[n].why, code);
        t_equal(t_last_error().code, code);
        t_equal(seq, UNTOUCHED);
        /* In a batch: wherever it stands, nothing of the batch is taken. */
        for (int place = 0; place < 3; place++) {
            twal_entry batch[3] = { good, good, good };
            for (int k = 0; k < 3; k++)
                batch[k].flags = bad[n].entry.flags;
            batch[place] = bad[n].entry;
            code = twal_append_batch(log, batch, 3, &seq);
            if (code != bad[n].code)
                t_fail(__FILE__, __LINE__, "batch with %s at %d: %d", bad[n].why, place, code);
            t_equal(t_last_error().code, code);
        }
    }
    /* The sum of a batch must not wrap around. */
    twal_entry batch[3] = { good, good, good };
    batch[0].len = batch[1].len = batch[2].len = SIZE_MAX / 2 + 1;
    t_code(twal_append_batch(log, batch, 3, &seq), TWAL_E_TOOBIG);
    t_code(twal_append_batch(log, batch, 2, &seq), TWAL_E_TOOBIG);
    batch[0].len = batch[1].len = record_size_max / 2 + 1;
    t_code(twal_append_batch(log, batch, 2, &seq), TWAL_E_TOOBIG);
    /* Differing flags. */
    batch[0] = batch[1] = batch[2] = good;
    batch[1].flags = TWAL_APPEND_SYNC;
    t_code(twal_append_batch(log, batch, 3, &seq), TWAL_E_INVAL);
    batch[1].flags = TWAL_APPEND_NO_WAIT;
    t_code(twal_append_batch(log, batch, 3, &seq), TWAL_E_INVAL);
    t_equal(seq, UNTOUCHED);
}

static void others(twal_log *log)
{
    twal_iter *const no_iter = (twal_iter *)(uintptr_t)0x5a5a;
    twal_iter *iter = no_iter;
    twal_record record, untouched;
    twal_stats stats = TWAL_STATS_INIT;
    twal_recovery report = TWAL_RECOVERY_INIT;
    uint64_t last = twal_last_seq(log);

    t_code(twal_sync(NULL, 0), TWAL_E_INVAL);
    t_code(twal_sync(log, last + 1), TWAL_E_INVAL);
    t_code(twal_sync(log, UINT64_MAX), TWAL_E_INVAL);
    t_code(twal_wait(NULL, 1, 0), TWAL_E_INVAL);
    t_code(twal_wait(NULL, 1, -1), TWAL_E_INVAL);
    t_code(twal_wait(log, last + 1, 0), TWAL_E_TIMEOUT);
    t_ok(twal_wait(log, last, INT64_MIN));
    t_ok(twal_wait(log, last, INT64_MAX));
    t_code(twal_trim(NULL, 1), TWAL_E_INVAL);
    t_code(twal_trim(log, last + 2), TWAL_E_INVAL);
    t_code(twal_trim(log, UINT64_MAX), TWAL_E_INVAL);
    t_ok(twal_trim(log, 0));
    t_ok(twal_trim(log, 1));
    t_code(twal_roll(NULL), TWAL_E_INVAL);

    t_code(twal_recover_iter(NULL, 0, &iter), TWAL_E_INVAL);
    t_code(twal_recover_iter(log, 0, NULL), TWAL_E_INVAL);
    t_code(twal_recover_iter(log, last + 2, &iter), TWAL_E_NOTFOUND);
    t_code(twal_recover_iter(log, UINT64_MAX, &iter), TWAL_E_NOTFOUND);
    t_code(twal_recover_iter(log, UINT64_MAX, NULL), TWAL_E_INVAL);
    t_check(iter == no_iter);

    memset(&record, 0x5a, sizeof record);
    untouched = record;
    t_code(twal_iter_next(NULL, &record), TWAL_E_INVAL);
    t_ok(twal_recover_iter(log, last, &iter));
    t_code(twal_iter_next(iter, NULL), TWAL_E_INVAL);
    t_check(memcmp(&record, &untouched, sizeof record) == 0);
    /* That was no reading error: the reader goes on. */
    t_equal(twal_iter_next(iter, &record), 1);
    t_equal(record.seq, last);
    memset(&record, 0x5a, sizeof record);
    t_equal(twal_iter_next(iter, &record), 0);
    t_check(memcmp(&record, &untouched, sizeof record) == 0);
    twal_iter_close(iter);
    twal_iter_close(NULL);

    t_equal(twal_first_seq(NULL), 0);
    t_equal(t_last_error().code, TWAL_E_INVAL);
    t_equal(twal_last_seq(NULL), 0);
    t_equal(twal_durable_seq(NULL), 0);
    t_code(twal_stats_get(NULL, &stats), TWAL_E_INVAL);
    t_code(twal_stats_get(log, NULL), TWAL_E_INVAL);
    t_code(twal_recovery_get(NULL, &report), TWAL_E_INVAL);
    t_code(twal_recovery_get(log, NULL), TWAL_E_INVAL);
    t_code(twal_last_error(NULL), TWAL_E_INVAL);
    t_ok(twal_close(NULL));
}

int main(void)
{
    t_begin();
    const char *dir = t_path("log");
    twal_options options = t_options_quiet();

    open_paths();
    options.segment_size = T_MIB;
    twal_log *log = t_open(dir, &options);
    t_append_many(log, 5, 100);
    uint64_t before = t_segments_sum(dir);
    appends(log, t_stats(log).record_size_max);
    others(log);
    t_equal(twal_last_seq(log), 5);
    t_equal(twal_durable_seq(log), 5);
    t_equal(t_segments_sum(dir), before);
    /* No number was used. */
    t_equal(t_append(log, 100, 1, 6, 0), 6);
    t_expect_many(log, 1, 6, 100);
    t_close(log);
    t_expect_log(dir, 1, 6, 100);
    return t_end();
}
