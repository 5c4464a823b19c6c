/*
 * Goal: with no room in the ring, NO_WAIT is TWAL_E_AGAIN, append_timeout_us is
 * TWAL_E_TIMEOUT, and else the append waits; a refused append takes no number
 * and leaves no trace.
 * Method: records of more than half a ring: the second has no room until the
 * first is on its way; tried until the refusal was seen.
 */
#include "helpers.h"

#define RING (128 * T_KIB)
#define LEN (96 * T_KIB)

static const char *dir;

static void until_refused(const char *name, uint32_t flags, uint64_t timeout_us, int refusal)
{
    twal_options options = t_options_quiet();
    static char data[LEN];
    uint64_t refused = 0, deadline = t_now_ns() + UINT64_C(20) * 1000000000;

    dir = t_path(name);
    options.durability = TWAL_ASYNC;
    options.ring_size = RING;
    options.segment_size = 16 * T_MIB;
    options.append_timeout_us = timeout_us;
    twal_log *log = t_open(dir, &options);
    uint64_t last = 0;
    while (refused < 5) {
        uint64_t seq = UINT64_MAX;
        twal_entry entry = TWAL_ENTRY_INIT;
        t_payload_fill(data, LEN, 1, last + 1);
        entry.data = data;
        entry.len = LEN;
        entry.flags = flags;
        int code = twal_append_entry(log, &entry, &seq);
        if (code == TWAL_OK) {
            last++;
            t_equal(seq, last);
        } else {
            t_code(code, refusal);
            t_equal(seq, UINT64_MAX);
            refused++;
        }
        t_equal(twal_last_seq(log), last);
        if (t_now_ns() > deadline || last > 3000)
            t_skip("the device takes more than one thread can fill: no refusal in %" PRIu64 " appends", last);
    }
    twal_stats stats = t_stats(log);
    t_equal(refusal == TWAL_E_AGAIN ? stats.refused_again : stats.refused_timeout, refused);
    t_equal(stats.records, last);
    /* Without a limit it waits, and gets in. */
    t_close(log);
    options.append_timeout_us = 0;
    log = t_open(dir, &options);
    t_expect_many(log, 1, last, LEN);
    t_append_many(log, 20, LEN);
    t_check(t_stats(log).ring_size >= RING);
    t_close(log);
    t_expect_log(dir, 1, last + 20, LEN);
    t_dir_remove(dir);
}

int main(void)
{
    t_begin();
    until_refused("again", TWAL_APPEND_NO_WAIT, 0, TWAL_E_AGAIN);
    until_refused("timeout", 0, 1, TWAL_E_TIMEOUT);
    /* NO_WAIT comes before a time that would be waited. */
    until_refused("both", TWAL_APPEND_NO_WAIT, UINT64_C(3600) * 1000 * 1000, TWAL_E_AGAIN);
    return t_end();
}
