/*
 * t:timeout 900
 * t:valgrind no, it kills by the clock
 *
 * Goal: no mix of modes, engines, threads and ways to append loses anything
 * acknowledged when the process is killed, on btrfs.
 * Method: kill_rounds.h.
 */
#include "kill_rounds.h"

int main(void)
{
    t_begin();
    t_kill_mixed(t_mount("btrfs", 256 * T_MIB), 0);
    return t_end();
}
