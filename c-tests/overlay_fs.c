/*
 * t:valgrind no, it mounts a file system
 *
 * Goal: an overlay as containers have it keeps the promise and works; one
 * mounted volatile does not, and is refused by that name, with nothing created,
 * unless ALLOW_ANY_FS says so.
 */
#include "helpers.h"

#include <sys/mount.h>
#include <sys/stat.h>

/* Mounts an overlay over fresh directories; skips the test if that cannot be. */
static const char *overlay(const char *name, const char *more)
{
    char options[2048], part[4][32];
    const char *path[4];
    static const char *const parts[4] = {"lower", "upper", "work", "merged"};
    for (size_t i = 0; i < 4; i++) {
        snprintf(part[i], sizeof part[i], "%s-%s", name, parts[i]);
        path[i] = t_path(part[i]);
        t_check(mkdir(path[i], 0700) == 0);
    }
    snprintf(options, sizeof options, "lowerdir=%s,upperdir=%s,workdir=%s%s", path[0], path[1], path[2], more);
    if (mount("overlay", path[3], "overlay", 0, options))
        t_skip("no overlay (%s) over this file system: %s", more, strerror(errno));
    return path[3];
}

static const char *below(const char *place)
{
    static char dir[1024];
    snprintf(dir, sizeof dir, "%s/log", place);
    return dir;
}

static void works(const char *dir, const twal_options *options)
{
    twal_log *log = t_open(dir, options);
    t_check(!strcmp(t_stats(log).file_system, "overlay"));
    t_append_many(log, 30, 1000);
    t_ok(twal_roll(log));
    t_append_many(log, 30, 1000);
    t_close(log);
    log = t_open(dir, options);
    t_expect_many(log, 1, 60, 1000);
    t_close(log);
}

int main(void)
{
    t_begin();
    if (geteuid() != 0)
        t_skip("mounting a file system needs root");
    t_private_mounts();
    twal_options options = t_options_small();

    const char *ordinary = overlay("ordinary", "");
    works(below(ordinary), &options);
    t_check(umount(ordinary) == 0);

    const char *lazy = overlay("volatile", ",volatile");
    twal_log *log = NULL;
    for (uint32_t flags = 0; flags <= TWAL_OPEN_ALLOW_BUFFERED; flags += TWAL_OPEN_ALLOW_BUFFERED) {
        options.flags = flags;
        t_code(twal_open(below(lazy), &options, &log), TWAL_E_UNSUPPORTED);
        t_check(strstr(t_last_error().text, "volatile") != NULL);
        t_check(!t_exists(below(lazy)) && !log);
    }
    options.flags = TWAL_OPEN_ALLOW_ANY_FS;
    works(below(lazy), &options);
    /* Verify and repair are no way around it. */
    twal_repair *repair = NULL;
    t_code(twal_verify(below(lazy), NULL, NULL, NULL, NULL), TWAL_E_UNSUPPORTED);
    t_code(twal_repair_plan(below(lazy), NULL, &repair), TWAL_E_UNSUPPORTED);
    t_ok(twal_verify(below(lazy), &options, NULL, NULL, NULL));
    t_check(umount(lazy) == 0);
    return t_end();
}
