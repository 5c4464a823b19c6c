/*
 * Goal: a log that is trimmed as it grows stays bounded on disk, uses its files
 * again, and never shows a record of a file's earlier life; a reader that stands
 * in a segment when it goes gets the right record, or TRIMMED, never another.
 */
#include "helpers.h"

#define LEN 900
#define ROUNDS 60

int main(void)
{
    t_begin();
    const char *dir = t_path("log");
    twal_options options = t_options_small();
    size_t len = LEN, count = 0;
    twal_iter *slow = NULL;
    uint64_t slow_at = 0, recycled = 0, trimmed_readers = 0;

    options.max_retained_segments = 1;
    options.spares = 2;
    twal_log *log = t_open(dir, &options);
    for (int round = 0; round < ROUNDS; round++) {
        uint64_t start = twal_last_seq(log) + 1;
        t_append_many(log, 30, LEN);
        if (!slow) {
            t_ok(twal_recover_iter(log, twal_first_seq(log), &slow));
            slow_at = twal_first_seq(log);
        }
        t_ok(twal_trim(log, start));
        t_check(twal_first_seq(log) <= start);
        t_expect_many(log, twal_first_seq(log), start + 29, LEN);
        for (int n = 0; slow && n < 20; n++) {
            twal_record record;
            int answer = twal_iter_next(slow, &record);
            if (answer == 1) {
                t_equal(record.seq, slow_at++);
                t_record_of_many(&record, &len);
                continue;
            }
            if (answer == 0)
                break;
            t_code(answer, TWAL_E_TRIMMED);
            trimmed_readers++;
            t_code(twal_iter_next(slow, &record), TWAL_E_TRIMMED);
            twal_iter_close(slow);
            slow = NULL;
        }
        /* 30 records are 3 segments; around them the retained, the spares. */
        t_await((t_segments(dir, &count), count + t_count_spares(dir)) <= 14, T_PATIENCE_MS);
        if (round % 10 == 9) {
            recycled += t_stats(log).segments_recycled;
            uint64_t first = twal_first_seq(log), last = twal_last_seq(log);
            twal_iter_close(slow);
            slow = NULL;
            t_close(log);
            t_expect_log(dir, first, last, LEN);
            log = t_open(dir, &options);
            t_expect_many(log, first, last, LEN);
        }
    }
    twal_iter_close(slow);
    /* With nobody reading, nothing stands in the way of using files again. */
    for (int round = 0; round < ROUNDS / 2; round++) {
        uint64_t start = twal_last_seq(log) + 1;
        t_append_many(log, 30, LEN);
        t_ok(twal_trim(log, start));
    }
    recycled += t_stats(log).segments_recycled;
    printf("%" PRIu64 " files used again, %" PRIu64 " readers overtaken\n", recycled, trimmed_readers);
    t_check(recycled > 0);
    t_expect_many(log, twal_first_seq(log), twal_last_seq(log), LEN);
    t_close(log);
    return t_end();
}
