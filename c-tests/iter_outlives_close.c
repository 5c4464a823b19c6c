/*
 * Goal: a reader may be closed before or after its log; of a closed log it says
 * TWAL_E_CLOSED; the last record's data stays readable until the reader's next
 * call.
 */
#include "helpers.h"

#define READERS 4
#define LEN 5000

int main(void)
{
    t_begin();
    const char *dir = t_path("log");
    twal_options options = t_options_small();
    twal_iter *iters[READERS], *untouched;
    twal_record records[READERS], record;
    uint64_t writer = 0, number = 0;

    twal_log *log = t_open(dir, &options);
    t_append_many(log, 40, LEN);
    /* At the start, in the middle, at the end, and one never moved. */
    for (int n = 0; n < READERS; n++) {
        t_ok(twal_recover_iter(log, 1 + (uint64_t)n * 13, &iters[n]));
        t_equal(twal_iter_next(iters[n], &records[n]), 1);
    }
    t_equal(twal_iter_next(iters[READERS - 1], &record), 0);
    t_ok(twal_recover_iter(log, 0, &untouched));
    t_close(log);

    for (int n = 0; n < READERS - 1; n++) {
        t_check(t_payload_read(records[n].data, records[n].len, &writer, &number));
        t_equal(number, records[n].seq);
    }
    for (int n = 0; n < READERS; n++) {
        memset(&record, 0x5a, sizeof record);
        t_code(twal_iter_next(iters[n], &record), TWAL_E_CLOSED);
        t_equal(record.seq, UINT64_C(0x5a5a5a5a5a5a5a5a));
        t_code(twal_iter_next(iters[n], NULL), TWAL_E_INVAL);
        t_code(twal_iter_next(iters[n], &record), TWAL_E_CLOSED);
    }
    t_code(twal_iter_next(untouched, &record), TWAL_E_CLOSED);

    /* They hold nothing that the next writer needs, and are not its readers. */
    log = t_open(dir, &options);
    t_append_many(log, 5, LEN);
    t_code(twal_iter_next(untouched, &record), TWAL_E_CLOSED);
    for (int n = 0; n < READERS; n++)
        twal_iter_close(iters[n]);
    t_expect_many(log, 1, 45, LEN);
    t_close(log);
    twal_iter_close(untouched);

    /* The same with a log that was open for reading. */
    log = t_open_read_only(dir);
    t_ok(twal_recover_iter(log, 0, &untouched));
    t_equal(twal_iter_next(untouched, &record), 1);
    t_close(log);
    t_check(t_payload_read(record.data, record.len, &writer, &number));
    t_code(twal_iter_next(untouched, &record), TWAL_E_CLOSED);
    twal_iter_close(untouched);
    return t_end();
}
