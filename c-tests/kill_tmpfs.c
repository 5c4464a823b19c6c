/*
 * t:timeout 900
 * t:valgrind no, it kills by the clock
 *
 * Goal: no mix of modes, engines, threads and ways to append loses anything
 * acknowledged when the process is killed, on tmpfs as far as it goes: what the
 * kernel has survives, and no device is asked.
 * Method: kill_rounds.h.
 */
#include "kill_rounds.h"

#include <sys/stat.h>
#include <sys/vfs.h>

int main(void)
{
    t_begin();
    struct statfs about;
    char place[64];
    if (statfs("/dev/shm", &about) || (uint32_t)about.f_type != 0x01021994 || access("/dev/shm", W_OK))
        t_skip("no tmpfs to write to in /dev/shm");
    snprintf(place, sizeof place, "/dev/shm/twal-c-test.%d", (int)getpid());
    t_check(mkdir(place, 0700) == 0);
    t_kill_mixed(place, TWAL_OPEN_ALLOW_ANY_FS | TWAL_OPEN_ALLOW_BUFFERED);
    t_dir_remove(place);
    return t_end();
}
