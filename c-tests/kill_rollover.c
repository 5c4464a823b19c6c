/*
 * t:timeout 300
 * t:valgrind no, it kills by the clock
 *
 * Goal: a kill in the middle of rollovers, trims and recycling loses nothing that
 * was not released, and leaves a directory that opens.
 * Method: kill_rounds.h.
 */
#include "kill_rounds.h"

int main(void)
{
    t_begin();
    static const uint32_t engines[] = { TWAL_IO_URING, TWAL_IO_BLOCKING };
    for (int n = 0; n < 2; n++) {
        if (!t_engine_works(engines[n])) {
            printf("no %s here\n", t_engine_name(engines[n]));
            continue;
        }
        t_kill_plan plan = {
            .name = "log",
            .engine = engines[n],
            .durability = TWAL_SYNC,
            .rounds = 50,
            .lives = 25,
            .threads = 3,
            .segment_size = 64 * T_KIB,
            .record_len_max = 6000,
            .batch_max = 3,
            .trim = true,
            .kill_us_max = 60000,
        };
        t_kill_rounds(&plan);
    }
    return t_end();
}
