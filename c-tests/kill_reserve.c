/*
 * t:timeout 300
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
            .lives = 5,
            .threads = 4,
            .segment_size = T_MIB,
            .record_len_max = 9000,
            .batch_max = 4,
            .reserve = true,
            .trim = false,
            .kill_us_max = 30000,
        };
        t_kill_rounds(&plan);
    }
    return t_end();
}
