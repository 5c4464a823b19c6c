/*
 * Goal: on a full disk a hold can be moved on: that is what gives room back.
 *
 * t:valgrind no, it mounts a file system
 */
#include "full_disk.h"
#include "helpers.h"

#define LEN 8000

int main(void)
{
    t_begin();
    const char *place = t_mount("ext4", 48 * T_MIB);
    char dir[600], filler[600];
    snprintf(dir, sizeof dir, "%s/log", place);
    snprintf(filler, sizeof filler, "%s/filler", place);
    twal_options options = t_options();
    options.segment_size = 256 * T_KIB;
    options.max_retained_segments = 1;
    twal_log *log = t_open(dir, &options);
    t_append_many(log, 100, LEN);
    t_ok(twal_hold_set(log, "snapshot", 0));
    t_append_many(log, 50, LEN);
    fill_disk(filler);
    static char data[LEN];
    int code = TWAL_OK;
    do
        t_payload_fill(data, LEN, 1, twal_last_seq(log) + 1);
    while ((code = twal_append(log, data, LEN, NULL)) == TWAL_OK);
    t_code(code, TWAL_E_NOSPC);
    fill_disk(filler);
    uint64_t last = twal_last_seq(log);
    t_ok(twal_trim(log, last + 1));
    t_equal(twal_first_seq(log), 1);
    for (uint64_t seq = 10; seq <= 100; seq += 10)
        t_ok(twal_hold_set(log, "snapshot", seq));
    t_ok(twal_hold_set(log, "snapshot", last + 1));
    uint64_t first = twal_first_seq(log);
    t_check(first > 100);
    t_await((code = twal_append(log, data, LEN, NULL)) != TWAL_E_NOSPC, T_PATIENCE_MS);
    t_equal(code, TWAL_OK);
    t_equal(t_stats(log).poisoned, 0);
    t_close(log);
    return t_end();
}
