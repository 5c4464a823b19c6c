/*
 * Goal: what a hold keeps, no trim takes, over restarts too; what was trimmed goes when the hold moves on; and
 * what cannot be held is refused, each with its own error.
 */
#include "helpers.h"

#define LEN 8000
#define EACH 5 /* records of a segment */

/* Whole segments from 1 on, so that record 5n + 1 begins segment n + 1. */
static void fill(twal_log *log, int segments)
{
    for (int n = 0; n < segments; n++) {
        t_append_many(log, EACH, LEN);
        t_ok(twal_roll(log));
    }
}

static void expect_holds(twal_log *log, const char *names, const uint64_t *seqs)
{
    twal_hold holds[64] = { TWAL_HOLD_INIT };
    size_t count = 0;
    char found[256] = "";
    t_ok(twal_holds(log, holds, 64, &count));
    for (size_t n = 0; n < count; n++) {
        t_equal(holds[n].struct_size, sizeof *holds);
        t_equal(holds[n].seq, seqs[n]);
        strcat(strcat(found, holds[n].name), " ");
    }
    t_check(!strcmp(found, names));
    t_equal(t_recovery(log).holds_damaged, 0);
}

static void refused(twal_log *log)
{
    uint64_t last = twal_last_seq(log);
    t_code(twal_hold_set(NULL, "a", 1), TWAL_E_INVAL);
    t_code(twal_hold_set(log, NULL, 1), TWAL_E_INVAL);
    t_code(twal_hold_set(log, "", 1), TWAL_E_INVAL);
    t_code(twal_hold_set(log, "two words", 1), TWAL_E_INVAL);
    t_code(twal_hold_set(log, "a-name-of-forty-characters-is-one-too-lo", 1), TWAL_E_INVAL);
    t_code(twal_hold_set(log, "a", last + 2), TWAL_E_INVAL);
    t_code(twal_hold_drop(log, "a"), TWAL_E_NOTFOUND);
    t_code(twal_holds(log, NULL, 1, &(size_t){ 0 }), TWAL_E_INVAL);
    t_code(twal_holds(log, NULL, 0, NULL), TWAL_E_INVAL);
    t_ok(twal_hold_reset(log)); /* there is nothing to be reset */
    t_check(!t_exists(t_path("log/twal-holds")));
}

int main(void)
{
    t_begin();
    const char *dir = t_path("log");
    twal_options options = t_options_small_quiet();
    options.max_retained_segments = 1;
    twal_log *log = t_open(dir, &options);
    fill(log, 6);
    refused(log);
    t_ok(twal_hold_set(log, "snapshot", 13));
    t_ok(twal_hold_set(log, "follower", 8));
    expect_holds(log, "follower snapshot ", (uint64_t[]){ 8, 13 });
    t_ok(twal_trim(log, 31));
    t_expect_many(log, 6, 30, LEN);
    t_code(twal_hold_set(log, "follower", 7), TWAL_E_STATE);
    t_equal(t_last_error().seq, 8);
    t_code(twal_hold_set(log, "late", 5), TWAL_E_TRIMMED);
    t_equal(t_last_error().seq, 6);
    t_ok(twal_hold_set(log, "follower", 16));
    t_expect_many(log, 11, 30, LEN);
    t_close(log);

    log = t_open(dir, &options);
    t_equal(t_recovery(log).holds, 2);
    expect_holds(log, "follower snapshot ", (uint64_t[]){ 16, 13 });
    t_ok(twal_trim(log, 31));
    t_expect_many(log, 11, 30, LEN);
    t_ok(twal_hold_drop(log, "snapshot"));
    t_expect_many(log, 16, 30, LEN);
    t_ok(twal_hold_drop(log, "follower"));
    t_expect_many(log, 31, 30, LEN);
    t_ok(twal_hold_set(log, "oldest", 0));
    expect_holds(log, "oldest ", (uint64_t[]){ 31 });
    t_append_many(log, 3, LEN);
    t_close(log);
    t_expect_log(dir, 31, 33, LEN);
    return t_end();
}
