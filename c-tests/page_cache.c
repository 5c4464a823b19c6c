/*
 * t:valgrind no, 64 MiB through an interpreter prove nothing more
 *
 * Goal: the log does not fill the page cache: after appending and reading 64 MiB
 * no page of a segment is in it.
 * Method: cachestat(2), Linux 6.5.
 */
#include "helpers.h"

#include <fcntl.h>
#include <sys/syscall.h>

struct range {
    uint64_t offset, length;
};
struct cached {
    uint64_t pages, dirty, writeback, evicted, recently_evicted;
};

static uint64_t pages_of(const char *path)
{
    struct range all = { 0, 0 };
    struct cached cached = { 0, 0, 0, 0, 0 };
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    t_check(fd >= 0);
    if (syscall(451, fd, &all, &cached, 0) != 0)
        t_skip("no cachestat here: %s", strerror(errno));
    close(fd);
    return cached.pages;
}

static void no_pages(const char *dir)
{
    size_t count;
    t_segment *list = t_segments(dir, &count);
    for (size_t n = 0; n < count; n++) {
        uint64_t pages = pages_of(list[n].path);
        if (pages)
            t_fail(__FILE__, __LINE__, "%" PRIu64 " pages of %s are in the page cache", pages, list[n].path);
    }
}

int main(void)
{
    t_begin();
    const char *dir = t_path("log");
    twal_options options = t_options();
    options.segment_size = 16 * T_MIB;
    /* That it sees anything at all. */
    char text[8192] = "text";
    t_file_make(t_path("plain"), text, sizeof text);
    t_check(pages_of(t_path("plain")) >= 1);

    twal_log *log = t_open(dir, &options);
    t_append_many(log, 64, T_MIB - 4096);
    t_await_renames(dir);
    no_pages(dir);
    t_expect_many(log, 1, 64, T_MIB - 4096);
    no_pages(dir);
    t_close(log);
    log = t_open(dir, &options);
    t_expect_many(log, 1, 64, T_MIB - 4096);
    t_close(log);
    t_expect_log(dir, 1, 64, T_MIB - 4096);
    no_pages(dir);
    return t_end();
}
