/*
 * Goal: behind the end of a segment whose file was used before, the old records
 * are still on the disk, whole; a crash right there must not bring one back.
 * Method: a log that uses its files again is killed with segments filled to
 * every height, and reopened.
 */
#include "helpers.h"

#define LEN 900

static const char *dir;
static int round_number;

static void live(void *arg)
{
    (void)arg;
    twal_options options = t_options_small();
    options.max_retained_segments = 1;
    twal_log *log = t_open(dir, &options);
    uint64_t goal = twal_last_seq(log) + 70 + (uint64_t)round_number % 14;
    while (twal_last_seq(log) < goal) {
        t_append_many(log, 5, LEN);
        t_ok(twal_trim(log, twal_last_seq(log)));
    }
}

int main(void)
{
    t_begin();
    dir = t_path("log");
    uint64_t last = 0;
    for (round_number = 0; round_number < 20 / (int)t_thin(); round_number++) {
        t_crash_after(live, NULL);
        twal_options options = t_options_small();
        twal_log *log = NULL;
        if (round_number % 2)
            options.flags = TWAL_OPEN_READ_ONLY;
        log = t_open(dir, &options);
        t_check(twal_last_seq(log) >= last + 70);
        last = twal_last_seq(log);
        t_expect_many(log, twal_first_seq(log), last, LEN);
        t_close(log);
    }
    return t_end();
}
