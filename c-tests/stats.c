/* Goal: the statistics count what was done, and say how the log works here. */
#include "helpers.h"

int main(void)
{
    t_begin();
    const char *dir = t_path("log");
    twal_options options = t_options_quiet();
    char byte = 0;
    options.segment_size = 256 * T_KIB;
    options.ring_size = T_MIB;
    options.max_retained_segments = 1;

    twal_log *log = t_open(dir, &options);
    twal_stats at_open = t_stats(log), stats;
    t_equal(at_open.records, 0);
    t_equal(at_open.recoveries, 0);
    t_equal(at_open.poisoned, 0);
    t_equal(at_open.block_size, 4096);
    t_equal(at_open.segment_size, 256 * T_KIB);
    t_equal(at_open.ring_size, T_MIB);
    t_check(at_open.record_size_max > 200 * T_KIB && at_open.record_size_max < 256 * T_KIB);
    t_check(memchr(at_open.engine, 0, sizeof at_open.engine) && at_open.engine[0]);
    t_check(!strcmp(at_open.engine, "io_uring") || !strcmp(at_open.engine, "blocking"));
    t_check(memchr(at_open.engine_reason, 0, sizeof at_open.engine_reason) && at_open.engine_reason[0]);
    t_check(memchr(at_open.file_system, 0, sizeof at_open.file_system) && at_open.file_system[0]);

    t_append_many(log, 10, 1000);
    stats = t_stats(log);
    t_equal(stats.records, 10);
    t_equal(stats.record_bytes, 10000);
    t_equal(stats.batches, 0);
    /* One thread in SYNC: a frame each, durable each, a block each. */
    t_equal(stats.frames - at_open.frames, 10);
    t_equal(stats.frames_by_appender + stats.frames_by_writer, stats.frames);
    t_check(stats.flushes - at_open.flushes >= 10);
    t_check(stats.device_bytes - at_open.device_bytes >= 10 * 4096);
    t_equal(stats.bytes_written_twice, 0);
    t_equal(stats.ring_bytes, 0);

    twal_entry entries[5] = { TWAL_ENTRY_INIT, TWAL_ENTRY_INIT, TWAL_ENTRY_INIT, TWAL_ENTRY_INIT,
                              TWAL_ENTRY_INIT };
    t_ok(twal_append_batch(log, entries, 5, NULL));
    stats = t_stats(log);
    t_equal(stats.records, 15);
    t_equal(stats.record_bytes, 10000);
    t_equal(stats.batches, 1);
    t_equal(stats.frames - at_open.frames, 11);

    /* Refused appends are not counted as records. */
    t_code(twal_append(log, NULL, 1, NULL), TWAL_E_INVAL);
    t_code(twal_append(log, &byte, T_MIB, NULL), TWAL_E_TOOBIG);
    t_equal(t_stats(log).records, 15);

    uint64_t sealed = t_stats(log).segments_sealed;
    t_ok(twal_roll(log));
    t_append_many(log, 1, 100);
    t_ok(twal_roll(log));
    t_append_many(log, 1, 100);
    stats = t_stats(log);
    t_equal(stats.segments_sealed - sealed, 2);
    t_check(stats.segments_created >= 3);
    t_ok(twal_trim(log, 17));
    t_equal(t_stats(log).segments_archived, 2);
    t_await((stats = t_stats(log), stats.segments_removed + stats.segments_recycled >= 1), T_PATIENCE_MS);
    t_close(log);

    log = t_open(dir, &options);
    stats = t_stats(log);
    t_equal(stats.records, 0);
    t_equal(stats.recoveries, 1);
    t_close(log);

    /* A reader has statistics too. */
    log = t_open_read_only(dir);
    stats = t_stats(log);
    t_equal(stats.records, 0);
    t_equal(stats.device_bytes, 0);
    t_equal(stats.block_size, 4096);
    t_close(log);
    return t_end();
}
