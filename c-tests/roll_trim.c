/*
 * Goal: twal_roll() seals now; twal_trim() releases whole segments below a number
 * and no more: what it keeps is read back, what it released is TRIMMED, now and
 * after reopening; archived files stay up to max_retained_segments, the oldest
 * go first.
 * Method: ten records, roll, ten records, roll …: boundaries are known.
 */
#include "helpers.h"

#define LEN 500

static twal_log *make(const char *dir, uint64_t retained, uint64_t segments)
{
    twal_options options = t_options_small();
    options.max_retained_segments = retained;
    twal_log *log = t_open(dir, &options);
    for (uint64_t n = 0; n < segments; n++) {
        t_append_many(log, 10, LEN);
        t_ok(twal_roll(log));
        t_equal(twal_durable_seq(log), (n + 1) * 10);
        /* Sealed is what the seal says; the name may follow a little later. */
        t_await(t_count_state(dir, "sealed") == n + 1, T_PATIENCE_MS);
    }
    return log;
}

static uint64_t seen_elsewhere(const char *dir)
{
    twal_log *log = t_open_read_only(dir);
    uint64_t last = twal_last_seq(log);
    t_close(log);
    return last;
}

static void expect_both(const char *dir, twal_log *log, uint64_t first, uint64_t last)
{
    t_expect_many(log, first, last, LEN);
    if (first > 1)
        t_code(t_read(log, first - 1, NULL, NULL, NULL), TWAL_E_TRIMMED);
    /* A reader elsewhere sees the last record when a mark witnesses it. */
    t_await(seen_elsewhere(dir) == last, T_PATIENCE_MS);
    t_expect_log(dir, first, last, LEN);
}

static void steps(void)
{
    const char *dir = t_path("steps");
    twal_options options = t_options_small();
    twal_log *log = make(dir, 0, 8);
    options.max_retained_segments = 0;
    t_append_many(log, 5, LEN);

    static const struct {
        uint64_t below, first, archived;
    } trims[] = {
        { 0, 1, 0 },  { 1, 1, 0 },   { 10, 1, 0 },  { 11, 11, 1 }, { 5, 11, 1 }, { 20, 11, 1 },
        { 21, 21, 2 }, { 55, 51, 5 }, { 80, 71, 7 }, { 81, 81, 8 }, { 84, 81, 8 }, { 86, 81, 8 },
    };
    for (size_t n = 0; n < sizeof trims / sizeof *trims; n++) {
        t_ok(twal_trim(log, trims[n].below));
        t_equal(t_count_state(dir, "archived"), trims[n].archived);
        expect_both(dir, log, trims[n].first, 85);
        if (n % 3 == 2) {
            t_close(log);
            log = t_open(dir, &options);
            expect_both(dir, log, trims[n].first, 85);
        }
    }
    /* Wholly trimmed: first is one above last, numbers go on. */
    t_ok(twal_roll(log));
    t_ok(twal_trim(log, 86));
    t_equal(twal_first_seq(log), 86);
    t_equal(twal_last_seq(log), 85);
    expect_both(dir, log, 86, 85);
    t_close(log);
    log = t_open(dir, &options);
    t_equal(twal_first_seq(log), 86);
    t_equal(twal_last_seq(log), 85);
    t_equal(t_recovery(log).records, 0);
    t_append_many(log, 3, LEN);
    expect_both(dir, log, 86, 88);
    t_close(log);
}

static void retention(void)
{
    const char *dir = t_path("retention");
    twal_log *log = make(dir, 3, 12);
    t_append_many(log, 5, LEN);
    t_ok(twal_trim(log, 101));
    t_await(t_count_state(dir, "archived") <= 3, T_PATIENCE_MS);
    expect_both(dir, log, 101, 125);
    size_t count;
    t_segment *list = t_segments(dir, &count);
    t_check(!strcmp(list[0].state, "archived"));
    t_equal(list[count - 1].index, 13);
    for (size_t n = 1; n < count; n++)
        t_equal(list[n].index, list[n - 1].index + 1);
    t_close(log);
    twal_options options = t_options_small();
    options.max_retained_segments = 3;
    log = t_open(dir, &options);
    expect_both(dir, log, 101, 125);
    t_close(log);

    /* Never removed. */
    dir = t_path("for-ever");
    log = make(dir, UINT64_MAX, 12);
    t_ok(twal_trim(log, 121));
    t_equal(t_count_state(dir, "archived"), 12);
    t_close(log);
    options.max_retained_segments = UINT64_MAX;
    log = t_open(dir, &options);
    t_equal(t_count_state(dir, "archived"), 12);
    t_equal(twal_first_seq(log), 121);
    t_close(log);

    /* Even a limit of one keeps the newest archived. */
    dir = t_path("one");
    log = make(dir, 1, 6);
    t_ok(twal_trim(log, 61));
    t_await(t_count_state(dir, "archived") == 1, T_PATIENCE_MS);
    t_equal(twal_first_seq(log), 61);
    t_close(log);
    log = t_open(dir, &options);
    t_equal(twal_first_seq(log), 61);
    t_append_many(log, 1, LEN);
    t_close(log);
}

/* Rolls in a row, and of nothing, lose nothing. */
static void rolls(void)
{
    const char *dir = t_path("rolls");
    twal_options options = t_options_small_quiet();
    options.durability = TWAL_GROUP;
    twal_log *log = t_open(dir, &options);
    t_ok(twal_roll(log));
    t_ok(twal_roll(log));
    t_append_many(log, 4, LEN);
    t_ok(twal_roll(log));
    t_equal(twal_durable_seq(log), 4);
    t_ok(twal_roll(log));
    t_append_many(log, 4, LEN);
    t_ok(twal_roll(log));
    t_expect_many(log, 1, 8, LEN);
    t_close(log);
    log = t_open(dir, &options);
    t_expect_many(log, 1, 8, LEN);
    t_close(log);
}

int main(void)
{
    t_begin();
    steps();
    retention();
    rolls();
    return t_end();
}
