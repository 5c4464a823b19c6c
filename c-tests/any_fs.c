/*
 * Goal: a file system that cannot keep the promise (tmpfs) is UNSUPPORTED, and
 * nothing is created there, unless ALLOW_ANY_FS says so; then it works.
 */
#include "helpers.h"

#include <sys/vfs.h>

int main(void)
{
    t_begin();
    struct statfs about;
    char dir[64];
    twal_options options = t_options_small();
    twal_log *log = NULL;

    if (statfs("/dev/shm", &about) || (uint32_t)about.f_type != 0x01021994 || access("/dev/shm", W_OK))
        t_skip("no tmpfs to write to in /dev/shm");
    snprintf(dir, sizeof dir, "/dev/shm/twal-c-test.%d", (int)getpid());
    t_code(twal_open(dir, &options, &log), TWAL_E_UNSUPPORTED);
    t_check(!t_exists(dir));
    options.flags = TWAL_OPEN_ALLOW_BUFFERED;
    t_code(twal_open(dir, &options, &log), TWAL_E_UNSUPPORTED);
    t_check(!t_exists(dir));
    t_check(!log);

    options.flags = TWAL_OPEN_ALLOW_ANY_FS | TWAL_OPEN_ALLOW_BUFFERED;
    log = t_open(dir, &options);
    t_check(!strcmp(t_stats(log).file_system, "tmpfs"));
    t_append_many(log, 50, 1000);
    t_expect_many(log, 1, 50, 1000);
    t_close(log);
    log = t_open(dir, &options);
    t_expect_many(log, 1, 50, 1000);
    t_close(log);
    t_dir_remove(dir);
    return t_end();
}
