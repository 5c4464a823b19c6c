/*
 * Goal: a reader that maps complete segments delivers the same records, leaves
 * little of them in the page cache, tells damage as any other does, and gets
 * an error, not a signal, where a file is shorter than it was.
 * t:valgrind no, it does not know MADV_POPULATE_READ
 */
#include "crashed.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define RECORDS 240
#define LEN 30000

static twal_iter *open_mapped(twal_log *log)
{
    twal_iter_options options = TWAL_ITER_OPTIONS_INIT;
    twal_iter *iter;
    options.flags = TWAL_ITER_MAP_SEALED;
    t_ok(twal_iter_open(log, &options, &iter));
    return iter;
}

/* Pages of a file that are in the page cache. */
static size_t cached_pages(const char *path)
{
    int fd = open(path, O_RDONLY);
    size_t len = t_file_size(path), pages = (len + 4095) / 4096, count = 0;
    unsigned char *in = calloc(pages, 1);
    void *map = mmap(NULL, len, PROT_READ, MAP_SHARED, fd, 0);
    t_check(fd >= 0 && in && map != MAP_FAILED);
    t_check(mincore(map, len, in) == 0);
    for (size_t n = 0; n < pages; n++)
        count += in[n] & 1;
    munmap(map, len);
    free(in);
    close(fd);
    return count;
}

static int maps_of_segments(void)
{
    FILE *maps = fopen("/proc/self/maps", "r");
    char line[1024];
    int count = 0;
    t_check(maps);
    while (fgets(line, sizeof line, maps))
        count += strstr(line, ".sealed") != NULL;
    fclose(maps);
    return count;
}

static bool the_same_records(const char *dir)
{
    twal_log *log = t_open_read_only(dir);
    twal_iter *iter = open_mapped(log);
    twal_record record;
    size_t len = LEN;
    bool mapped = false;
    for (uint64_t seq = 1; seq <= RECORDS; seq++) {
        t_equal(twal_iter_next(iter, &record), 1);
        t_equal(record.seq, seq);
        t_check(((uintptr_t)record.data & 7) == 0);
        t_record_of_many(&record, &len);
        mapped |= maps_of_segments() == 1;
    }
    t_equal(twal_iter_next(iter, &record), 0);
    twal_iter_close(iter);
    t_equal((uint64_t)maps_of_segments(), 0);
    t_close(log);
    return mapped;
}

int main(void)
{
    t_begin();
    const char *dir = t_path("log");
    twal_record record;
    twal_options options = t_options();
    options.segment_size = 8 * T_MIB;
    twal_log *log = t_open(dir, &options);
    t_append_many(log, 200, LEN);
    t_ok(twal_roll(log));
    t_append_many(log, RECORDS - 200, LEN);
    t_close(log);
    if (!the_same_records(dir))
        t_skip("this kernel cannot populate a mapping");
    t_segment sealed = t_segment_at(dir, 1);
    t_check(strcmp(sealed.state, "sealed") == 0);
    t_equal(cached_pages(sealed.path), 0);

    /* Damage, as any reader tells it. */
    t_frame frame = t_find_frame(dir, 100, LEN);
    t_file_flip(frame.segment.path, frame.payload + 9, 1);
    log = t_open_read_only(dir);
    twal_iter *iter = open_mapped(log);
    for (uint64_t seq = 1; seq < 100; seq++)
        t_equal(twal_iter_next(iter, &record), 1);
    t_code(twal_iter_next(iter, &record), TWAL_E_CORRUPT);
    t_equal(t_last_error().offset, frame.block);
    twal_iter_close(iter);
    t_close(log);
    t_file_flip(frame.segment.path, frame.payload + 9, 1);

    /* Somebody shortens the file while it is read. */
    log = t_open_read_only(dir);
    iter = open_mapped(log);
    t_equal(twal_iter_next(iter, &record), 1);
    t_file_truncate(sealed.path, 2 * T_MIB);
    int rc;
    uint64_t seen = 1;
    while (seen < 30 && (rc = twal_iter_next(iter, &record)) == 1)
        seen++;
    while ((rc = twal_iter_next(iter, &record)) == 1)
        seen++;
    t_check(rc == TWAL_E_CORRUPT || rc == TWAL_E_IO);
    t_check(seen >= 20 && seen < 100);
    twal_iter_close(iter);
    t_close(log);
    return t_end();
}
