/*
 * t:timeout 900
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
    t_kill_plan plan = {
        .name = "log",
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
    t_kill_rounds_of_each_engine(&plan);
    return t_end();
}
