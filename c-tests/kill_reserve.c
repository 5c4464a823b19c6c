/*
 * t:timeout 900
 * t:valgrind no, it kills by the clock
 *
 * Goal: what was reserved and committed survives SIGKILL as an append does, and
 * what was reserved and not committed never appears.
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
        .threads = 4,
        .segment_size = T_MIB,
        .record_len_max = 9000,
        .batch_max = 4,
        .reserve = true,
        .kill_us_max = 30000,
    };
    t_kill_rounds_of_each_engine(&plan);
    return t_end();
}
