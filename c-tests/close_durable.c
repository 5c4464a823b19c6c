/*
 * Goal: twal_close() makes everything accepted durable and returns only then:
 * the next open finds all of it, witnessed, and a clean end; and it gives back
 * what it took: descriptors and threads.
 */
#include "helpers.h"

int main(void)
{
    t_begin();
    static const uint32_t modes[] = { TWAL_SYNC, TWAL_GROUP, TWAL_ASYNC };
    const char *dir = t_path("log");
    uint64_t last = 0;
    size_t fds = 0, threads = 0;

    for (int round = 0; round < 12; round++) {
        twal_options options = t_options_quiet();
        options.durability = modes[round % 3];
        options.segment_size = 256 * T_KIB;
        twal_log *log = t_open(dir, &options);
        if (round > 0) {
            twal_recovery report = t_recovery(log);
            t_equal(report.last_seq, last);
            t_equal(report.witnessed_seq, last);
            t_equal(report.tail, TWAL_TAIL_CLEAN);
            t_equal(report.bytes_cut, 0);
        }
        for (int n = 0; n < 60; n++)
            t_equal(t_append(log, 3000, 1, last + 1, 0), last + 1), last++;
        t_close(log);
        t_expect_log(dir, 1, last, 3000);
        if (round == 2) {
            fds = t_count_entries("/proc/self/fd");
            threads = t_count_entries("/proc/self/task");
        } else if (round > 2) {
            t_equal(t_count_entries("/proc/self/fd"), fds);
            t_await(t_count_entries("/proc/self/task") <= threads, T_PATIENCE_MS);
        }
    }
    return t_end();
}
