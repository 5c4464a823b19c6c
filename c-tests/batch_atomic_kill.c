/*
 * t:timeout 900
 * t:valgrind no, it kills by the clock
 *
 * Goal: a batch of many blocks is whole or not there at all after SIGKILL.
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
        .lives = 5,
        .threads = 2,
        .segment_size = 4 * T_MIB,
        .record_len_max = 20000,
        .batch_max = 64,
        .kill_us_max = 50000,
    };
    t_kill_rounds_of_each_engine(&plan);
    return t_end();
}
