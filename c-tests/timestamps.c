/*
 * Goal: a caller's timestamp is kept as given, in any order; the logical clock
 * never goes back, over restarts, kills and rollovers, and no caller's timestamp
 * moves it.
 */
#include "helpers.h"

static const int64_t given[] = { 5, -1, 0, INT64_MAX, INT64_MIN + 1, 1, INT64_MAX - 1, -5, 1700000000 };
#define GIVEN (sizeof given / sizeof *given)

static uint64_t add(twal_log *log, int64_t timestamp, uint32_t type)
{
    twal_entry entry = TWAL_ENTRY_INIT;
    uint64_t seq = 0;
    entry.timestamp = timestamp;
    entry.type = type;
    t_ok(twal_append_entry(log, &entry, &seq));
    return seq;
}

/* Of type 0x1000 + n: given[n]; of 0x0100: logical. */
static void add_some(twal_log *log)
{
    for (uint32_t n = 0; n < GIVEN; n++) {
        add(log, TWAL_TIMESTAMP_LOGICAL, 0);
        add(log, given[n], 0x1000 + n);
        t_ok(twal_append(log, NULL, 0, NULL));
    }
}

struct clock_seen {
    int64_t last;
    uint64_t count;
};

static void check_one(const twal_record *record, void *arg)
{
    struct clock_seen *seen = arg;
    if (record->type >= 0x1000) {
        t_equal(record->timestamp, given[record->type - 0x1000]);
        return;
    }
    t_check(record->timestamp != TWAL_TIMESTAMP_LOGICAL);
    if (seen->count++)
        t_check(record->timestamp >= seen->last);
    /* Not dragged to the end of time by INT64_MAX. */
    t_check(record->timestamp < INT64_MAX / 2);
    seen->last = record->timestamp;
}

static void live(void *dir)
{
    twal_options options = t_options_small();
    add_some(t_open(dir, &options));
}

int main(void)
{
    t_begin();
    char *dir = (char *)(uintptr_t)t_path("log");
    twal_options options = t_options_small();
    for (int round = 0; round < 6; round++) {
        if (round % 2) {
            t_crash_after(live, dir);
            continue;
        }
        twal_log *log = t_open(dir, &options);
        add_some(log);
        t_close(log);
    }
    twal_log *log = t_open_read_only(dir);
    struct clock_seen clock = { 0, 0 };
    t_ok(t_read(log, 0, NULL, check_one, &clock));
    t_equal(clock.count, 6 * 2 * GIVEN);
    t_close(log);

    /* The clock goes on also where its last stamps were trimmed away. */
    int64_t last = clock.last;
    log = t_open(dir, &options);
    t_ok(twal_roll(log));
    t_ok(twal_trim(log, twal_last_seq(log) + 1));
    t_close(log);
    log = t_open(dir, &options);
    uint64_t seq = add(log, TWAL_TIMESTAMP_LOGICAL, 0);
    twal_iter *iter;
    twal_record record;
    t_ok(twal_recover_iter(log, seq, &iter));
    t_equal(twal_iter_next(iter, &record), 1);
    t_check(record.timestamp >= last);
    twal_iter_close(iter);
    t_close(log);
    return t_end();
}
