/*
 * t:timeout 900
 * t:valgrind no, it kills by the clock
 *
 * Goal: in ASYNC, what durable_seq has said is durable survives SIGKILL, and what is
 * left of the rest has no gap.
 * Method: kill_rounds.h.
 */
#include "kill_rounds.h"

int main(void)
{
    t_begin();
    t_kill_plan plan = {
        .name = "log",
        .durability = TWAL_ASYNC,
        .rounds = 50,
        .lives = 5,
        .threads = 3,
        .segment_size = T_MIB,
        .record_len_max = 1000,
        .batch_max = 8,
        .kill_us_max = 30000,
    };
    t_kill_rounds_of_each_engine(&plan);
    return t_end();
}
