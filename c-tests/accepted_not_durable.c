/* Goal: a reader may begin at a number that is accepted and not durable yet: it
 * waits for nothing, says 0, and delivers once the record is durable. */
#include "helpers.h"

int main(void)
{
    t_begin();
    twal_options options = t_options_quiet();
    twal_iter *iter;
    twal_record record;
    options.durability = TWAL_GROUP;
    options.segment_size = T_MIB;
    twal_log *log = t_open(t_path("log"), &options);
    t_append_many(log, 10, 100);
    t_equal(twal_durable_seq(log), 0);
    for (uint64_t from = 0; from <= 11; from++) {
        t_ok(twal_recover_iter(log, from, &iter));
        t_equal(twal_iter_next(iter, &record), 0);
        twal_iter_close(iter);
    }
    t_ok(twal_recover_iter(log, 7, &iter));
    t_equal(twal_iter_next(iter, &record), 0);
    t_ok(twal_sync(log, 0));
    for (uint64_t seq = 7; seq <= 10; seq++) {
        t_equal(twal_iter_next(iter, &record), 1);
        t_equal(record.seq, seq);
    }
    t_equal(twal_iter_next(iter, &record), 0);
    twal_iter_close(iter);
    t_close(log);
    return t_end();
}
