/*
 * Goal: where a reader may begin: 0 the oldest, any number that is there, the
 * one after the last (nothing yet, then what comes), not beyond (NOTFOUND), not
 * below the first (TRIMMED).
 */
#include "helpers.h"

#define LEN 700

static void reads_from(twal_log *log, uint64_t from, uint64_t last)
{
    t_seen seen;
    size_t len = LEN;
    t_ok(t_read(log, from, &seen, t_record_of_many, &len));
    t_equal(seen.count, last + 1 - from);
}

static void every_start(twal_log *log, uint64_t first, uint64_t last)
{
    twal_iter *iter = NULL;
    for (uint64_t from = first; from <= last + 1; from++)
        reads_from(log, from, last);
    for (uint64_t from = 1; from < first; from++)
        t_code(twal_recover_iter(log, from, &iter), TWAL_E_TRIMMED);
    t_code(twal_recover_iter(log, last + 2, &iter), TWAL_E_NOTFOUND);
    t_code(twal_recover_iter(log, last + 1000, &iter), TWAL_E_NOTFOUND);
    t_code(twal_recover_iter(log, UINT64_MAX, &iter), TWAL_E_NOTFOUND);
    t_check(!iter);
}

int main(void)
{
    t_begin();
    const char *dir = t_path("log");
    twal_options options = t_options_small();
    twal_log *log = t_open(dir, &options);
    twal_iter *begin, *one, *tail, *iter = NULL;
    twal_record record;

    /* An empty log. */
    t_ok(twal_recover_iter(log, 0, &begin));
    t_ok(twal_recover_iter(log, 1, &one));
    t_code(twal_recover_iter(log, 2, &iter), TWAL_E_NOTFOUND);
    for (int n = 0; n < 3; n++) {
        t_equal(twal_iter_next(begin, &record), 0);
        t_equal(twal_iter_next(one, &record), 0);
    }
    t_append_many(log, 1, LEN);
    t_equal(twal_iter_next(begin, &record), 1);
    t_equal(record.seq, 1);
    t_equal(twal_iter_next(one, &record), 1);
    t_equal(record.seq, 1);
    twal_iter_close(begin);
    twal_iter_close(one);

    /* Over several segments; the end is not final. */
    t_append_many(log, 69, LEN);
    every_start(log, 1, 70);
    t_ok(twal_recover_iter(log, 71, &tail));
    t_ok(twal_recover_iter(log, 69, &one));
    t_equal(twal_iter_next(tail, &record), 0);
    for (uint64_t seq = 69; seq <= 70; seq++) {
        t_equal(twal_iter_next(one, &record), 1);
        t_equal(record.seq, seq);
    }
    for (uint64_t seq = 71; seq <= 100; seq++) {
        t_equal(twal_iter_next(tail, &record), 0);
        t_equal(twal_iter_next(one, &record), 0);
        t_append_many(log, 1, LEN);
        t_equal(twal_iter_next(tail, &record), 1);
        t_equal(record.seq, seq);
        t_equal(twal_iter_next(one, &record), 1);
        t_equal(record.seq, seq);
    }
    twal_iter_close(tail);
    twal_iter_close(one);

    /* After a trim, in the open log and in the next open. */
    t_ok(twal_roll(log));
    t_append_many(log, 20, LEN);
    t_ok(twal_trim(log, 60));
    uint64_t first = twal_first_seq(log);
    t_check(first > 1 && first <= 60);
    every_start(log, first, 120);
    t_close(log);
    log = t_open(dir, &options);
    t_equal(twal_first_seq(log), first);
    every_start(log, first, 120);
    t_close(log);
    log = t_open_read_only(dir);
    every_start(log, first, 120);
    t_close(log);

    /* From within a batch. */
    log = t_open(t_path("batches"), &options);
    for (uint64_t n = 0; n < 6; n++) {
        twal_entry entries[5];
        char data[5][LEN];
        for (uint64_t k = 0; k < 5; k++) {
            entries[k] = (twal_entry)TWAL_ENTRY_INIT;
            t_payload_fill(data[k], LEN, 1, n * 5 + k + 1);
            entries[k].data = data[k];
            entries[k].len = LEN;
        }
        t_ok(twal_append_batch(log, entries, 5, NULL));
    }
    for (uint64_t from = 1; from <= 31; from++) {
        t_seen seen;
        t_ok(t_read(log, from, &seen, NULL, NULL));
        t_equal(seen.count, 31 - from);
    }
    t_close(log);
    return t_end();
}
