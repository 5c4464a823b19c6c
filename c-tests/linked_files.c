/*
 * Goal: twal overwrites a file only if no other name leads to it.  A backup
 * made of hard links stays as it was, whatever is trimmed and used again; a
 * spare's name for what is also a segment (a rename that a crash left half
 * done) is taken away, and the segment is whole.  And a file that is used again
 * gets a new salt each time.
 */
#include "helpers.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#define LEN 900
#define ROUNDS 25

static void link_file(const char *from, const char *to)
{
    if (link(from, to) != 0 && errno != EEXIST)
        t_fail(__FILE__, __LINE__, "link: %s", strerror(errno));
}

static void a_backup_of_links(void)
{
    const char *dir = t_path("log"), *backup = t_path("backup");
    twal_options options = t_options_small();
    options.max_retained_segments = 1;
    options.spares = 2;
    twal_log *log = t_open(dir, &options);
    t_append_many(log, 400, LEN);
    t_await_renames(dir);
    t_check(mkdir(backup, 0700) == 0);
    size_t count = 0;
    t_segment *segments = t_segments(dir, &count);
    t_check(count >= 4);
    for (size_t n = 0; n + 1 < count; n++) {
        char to[600];
        snprintf(to, sizeof to, "%s/%s", backup, strrchr(segments[n].path, '/') + 1);
        link_file(segments[n].path, to);
    }
    uint64_t sum = t_dir_sum(backup);
    for (int round = 0; round < ROUNDS; round++) {
        uint64_t start = twal_last_seq(log) + 1;
        t_append_many(log, 60, LEN);
        t_ok(twal_trim(log, start));
        t_equal(t_dir_sum(backup), sum);
    }
    /* What nobody linked was used again. */
    t_check(t_stats(log).segments_recycled > 0);
    t_close(log);
    t_equal(t_dir_sum(backup), sum);
}

static void half_a_rename(void)
{
    const char *dir = t_path("half");
    twal_options options = t_options_small();
    twal_log *log = t_open(dir, &options);
    t_append_many(log, 200, LEN);
    t_close(log);
    t_segment newest = t_active(dir), older = t_segment_at(dir, 1);
    char as_spare[2][600];
    snprintf(as_spare[0], sizeof as_spare[0], "%s/twal-spare-900", dir);
    snprintf(as_spare[1], sizeof as_spare[1], "%s/twal-spare-901", dir);
    link_file(newest.path, as_spare[0]);
    link_file(older.path, as_spare[1]);
    options.spares = 4;
    log = t_open(dir, &options);
    t_check(!t_exists(as_spare[0]) && !t_exists(as_spare[1]));
    t_append_many(log, 400, LEN);
    t_close(log);
    t_expect_log(dir, 1, 600, LEN);
}

/* docs/FORMAT.md: the salt is the 16 bytes at 112 of the segment header. */
static void a_salt_for_each_life(void)
{
    enum { LIVES_MAX = 400 };
    static struct { ino_t inode; char salt[16]; } seen[LIVES_MAX];
    const char *dir = t_path("salt");
    twal_options options = t_options_small();
    options.max_retained_segments = 1;
    size_t lives = 0, again = 0;
    uint64_t newest = 0;
    twal_log *log = t_open(dir, &options);
    while (lives < 40) {
        t_append_many(log, 10, LEN);
        t_ok(twal_roll(log));
        t_ok(twal_trim(log, twal_last_seq(log) + 1));
        t_segment active = t_active(dir);
        t_check(active.index > newest);
        newest = active.index;
        struct stat about;
        t_check(stat(active.path, &about) == 0);
        size_t len = 0;
        char *bytes = t_file_read(active.path, &len);
        for (size_t n = 0; n < lives; n++) {
            t_check(memcmp(seen[n].salt, bytes + 112, 16) != 0);
            again += seen[n].inode == about.st_ino;
        }
        seen[lives].inode = about.st_ino;
        memcpy(seen[lives++].salt, bytes + 112, 16);
    }
    t_check(again > 0);
    t_close(log);
}

int main(void)
{
    t_begin();
    a_backup_of_links();
    half_a_rename();
    a_salt_for_each_life();
    return t_end();
}
