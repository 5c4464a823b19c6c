/*
 * t:timeout 300
 * t:valgrind no, it kills by the clock
 *
 * Goal: a batch of many blocks is whole or not there at all after SIGKILL.
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
            .threads = 2,
            .segment_size = 4 * T_MIB,
            .record_len_max = 20000,
            .batch_max = 64,
            .trim = false,
            .kill_us_max = 50000,
        };
        t_kill_rounds(&plan);
    }
    return t_end();
}
