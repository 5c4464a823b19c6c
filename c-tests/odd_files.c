/*
 * Goal: in a log's directory only files are files of the log.  A symbolic link,
 * a FIFO or a directory with such a name is refused as damage, at once, and what
 * a link leads to is not touched.
 */
#include "helpers.h"

#include <sys/stat.h>
#include <unistd.h>

#define LEN 100

static const char *dir;

static void refused(void)
{
    twal_options options = t_options_small();
    twal_log *log = NULL;
    t_code(twal_open(dir, &options, &log), TWAL_E_CORRUPT);
    t_check(!log);
    t_check(strstr(t_last_error().text, "is not a file"));
}

int main(void)
{
    t_begin();
    dir = t_path("log");
    twal_options options = t_options_small();
    twal_log *log = t_open(dir, &options);
    t_append_many(log, 10, LEN);
    t_close(log);

    const char *spare = t_path("log/twal-spare-700"), *elsewhere = t_path("elsewhere");
    char *zeros = calloc(1, options.segment_size);
    t_check(zeros);
    memset(zeros, 'p', options.segment_size);
    t_file_make(elsewhere, zeros, options.segment_size);
    free(zeros);
    uint64_t precious = t_file_sum(elsewhere);

    t_check(symlink(elsewhere, spare) == 0);
    refused();
    t_equal(t_file_sum(elsewhere), precious);
    t_check(unlink(spare) == 0);
    t_check(mkfifo(spare, 0600) == 0);
    refused();
    t_check(unlink(spare) == 0);
    t_check(mkdir(spare, 0700) == 0);
    refused();
    t_check(rmdir(spare) == 0);

    /* The segment itself. */
    t_segment active = t_active(dir);
    const char *moved = t_path("moved");
    t_rename(active.path, moved);
    t_check(symlink(moved, active.path) == 0);
    uint64_t sum = t_file_sum(moved);
    refused();
    t_check(unlink(active.path) == 0);
    t_check(mkfifo(active.path, 0600) == 0);
    refused();
    /* Read-only, nothing before it can be read. */
    log = t_open_read_only(dir);
    t_seen seen;
    t_code(t_read(log, 0, &seen, NULL, NULL), TWAL_E_CORRUPT);
    t_equal(seen.count, 0);
    t_close(log);
    t_check(unlink(active.path) == 0);
    t_equal(t_file_sum(moved), sum);
    t_rename(moved, active.path);
    t_expect_log(dir, 1, 10, LEN);
    return t_end();
}
