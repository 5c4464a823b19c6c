/*
 * Goal: the histograms agree with the counters and with themselves, bucket by
 * bucket; what waits is measured, and what does not is not; the queue's depth
 * and the device's busy time are what they say.
 */
#include "helpers.h"

#define BUCKETS (sizeof((twal_histogram *)0)->buckets / 8)

static twal_histogram histogram(const twal_log *log, uint32_t kind)
{
    twal_histogram h = TWAL_HISTOGRAM_INIT;
    t_ok(twal_histogram_get(log, kind, &h));
    uint64_t count = 0, least = 0, most = 0;
    for (size_t i = 0; i < BUCKETS; i++) {
        count += h.buckets[i];
        least += h.buckets[i] * (i == 0 ? 0 : twal_histogram_bound(i - 1) + 1);
        most += h.buckets[i] ? h.buckets[i] * (twal_histogram_bound(i) < h.max ? twal_histogram_bound(i) : h.max) : 0;
        /* The highest number lies in the last bucket that has any. */
        if (h.max > twal_histogram_bound(i))
            continue;
        if (i == 0 || h.max > twal_histogram_bound(i - 1))
            t_check(count == 0 || h.buckets[i] > 0);
        else
            t_equal(h.buckets[i], 0);
    }
    t_equal(h.count, count);
    t_check(least <= h.sum && h.sum <= most);
    return h;
}

static void bounds(void)
{
    for (size_t i = 0; i < BUCKETS - 1; i++) {
        uint64_t bound = i < 4 ? i + 1 : (uint64_t)(5 + i % 4) << (i / 4 - 1);
        t_equal(twal_histogram_bound(i), bound);
        t_check(i == 0 || bound > twal_histogram_bound(i - 1));
    }
    t_check(twal_histogram_bound(BUCKETS - 1) == UINT64_MAX);
    t_check(twal_histogram_bound(BUCKETS) == UINT64_MAX && twal_histogram_bound(SIZE_MAX) == UINT64_MAX);
}

static void check_all(const twal_log *log, uint64_t appends_that_waited)
{
    twal_stats stats = t_stats(log);
    uint64_t frames = stats.frames_by_appender + stats.frames_by_writer;
    t_equal(histogram(log, TWAL_HISTOGRAM_APPEND).count, appends_that_waited);
    t_equal(histogram(log, TWAL_HISTOGRAM_QUEUE_WAIT).count, frames);
    t_equal(histogram(log, TWAL_HISTOGRAM_WRITE).count, frames);
    t_equal(histogram(log, TWAL_HISTOGRAM_FLUSH).count, stats.flushes);
    twal_histogram records = histogram(log, TWAL_HISTOGRAM_FRAME_RECORDS);
    t_equal(records.count, frames);
    t_equal(records.sum, stats.records);
    twal_histogram bytes = histogram(log, TWAL_HISTOGRAM_FRAME_BYTES);
    t_equal(bytes.count, frames);
    /* Beside these there are only seals and marks, of a block each. */
    t_equal(bytes.sum + (stats.frames - frames + stats.marks) * 4096, stats.device_bytes);
    t_check(stats.device_busy_ns <= stats.elapsed_ns);
    t_equal(stats.queue_records, 0);
    t_equal(stats.queue_bytes, 0);
    t_equal(stats.frames_in_flight, 0);
}

int main(void)
{
    t_begin();
    bounds();
    twal_options options = t_options_quiet();
    twal_log *log = t_open(t_path("log"), &options);
    check_all(log, 0);
    t_append_many(log, 50, 1000);
    check_all(log, 50);
    t_equal(histogram(log, TWAL_HISTOGRAM_FRAME_RECORDS).max, 1);
    t_equal(histogram(log, TWAL_HISTOGRAM_FRAME_BYTES).max, 4096);
    t_equal(histogram(log, TWAL_HISTOGRAM_FRAME_BYTES).buckets[43], 50);
    t_equal(twal_histogram_bound(43), 4096);
    t_equal(t_stats(log).durable_waits, 50);
    /* One thread, every write durable, one after the other: all that the device did was that. */
    t_equal(t_stats(log).device_busy_ns, histogram(log, TWAL_HISTOGRAM_FLUSH).sum);
    t_check(histogram(log, TWAL_HISTOGRAM_APPEND).sum >= histogram(log, TWAL_HISTOGRAM_WRITE).sum);

    /* What does not wait is not measured; it is written soon, and stays in the queue until it is flushed. */
    uint64_t flushes = t_stats(log).flushes;
    for (int i = 0; i < 20; i++)
        t_append(log, 1000, 1, 51 + (uint64_t)i, TWAL_APPEND_NO_SYNC);
    t_equal(t_stats(log).queue_records, 20);
    t_check(t_stats(log).queue_bytes >= 20 * 1000);
    t_await(t_stats(log).ring_bytes == 0, T_PATIENCE_MS);
    t_equal(t_stats(log).flushes, flushes);
    t_equal(t_stats(log).queue_records, 20);
    t_check(t_stats(log).queue_bytes >= 20 * 1000);
    t_ok(twal_sync(log, 0));
    t_check(t_stats(log).flushes > flushes);
    check_all(log, 50);
    t_equal(t_stats(log).durable_waits, 51);
    /* Nothing to wait for. */
    t_ok(twal_sync(log, 0));
    t_ok(twal_wait(log, 0, -1));
    t_equal(t_stats(log).durable_waits, 51);

    /* A seal is a flush, and no frame of records. */
    t_ok(twal_roll(log));
    t_append_many(log, 1, 100);
    check_all(log, 51);

    twal_histogram untouched;
    memset(&untouched, 7, sizeof untouched);
    untouched.struct_size = sizeof untouched;
    t_code(twal_histogram_get(NULL, 1, &untouched), TWAL_E_INVAL);
    t_code(twal_histogram_get(log, 0, &untouched), TWAL_E_INVAL);
    t_code(twal_histogram_get(log, 7, &untouched), TWAL_E_INVAL);
    t_code(twal_histogram_get(log, 1, NULL), TWAL_E_INVAL);
    t_equal(untouched.buckets[0], 0x0707070707070707);
    untouched.struct_size = 8;
    t_code(twal_histogram_get(log, 1, &untouched), TWAL_E_INVAL);
    t_close(log);

    log = t_open_read_only(t_path("log"));
    check_all(log, 0);
    t_equal(histogram(log, TWAL_HISTOGRAM_FLUSH).count, 0);
    t_close(log);
    return t_end();
}
