/*
 * t:timeout 900
 * t:valgrind no, it kills by the clock
 *
 * Goal: nothing acknowledged is lost by SIGKILL, with the io_uring engine, whose
 * writes outlive the process that issued them.
 * Method: kill_rounds.h.
 */
#include "kill_rounds.h"

int main(void)
{
    t_begin();
    if (!t_engine_works(TWAL_IO_URING))
        t_skip("no %s here", t_engine_name(TWAL_IO_URING));
    t_kill_plan plan = {
        .name = "log",
        .engine = TWAL_IO_URING,
        .durability = TWAL_SYNC,
        .rounds = 60,
        .lives = 12,
        .threads = 4,
        .segment_size = T_MIB,
        .record_len_max = 3000,
        .batch_max = 4,
        .kill_us_max = 60000,
    };
    t_kill_rounds(&plan);
    return t_end();
}
