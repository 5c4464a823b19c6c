/*
 * Goal: struct_size means what it says.  0, below the first release's, no
 * multiple of 8 or above 4096: INVAL.  Longer: good if the tail is zero, else
 * UNSUPPORTED.  The library reads and writes no byte beyond it.
 * Method: structs end where a page ends, and the next page cannot be touched.
 */
#include "helpers.h"

#include <sys/mman.h>

static unsigned char *page_end; /* what lies before it is ours, behind it nobody's */

static void *at_end(size_t size)
{
    memset(page_end - 8192, 0, 8192);
    return page_end - size;
}

static int open_with(const twal_options *options)
{
    twal_log *log = NULL;
    int code = twal_open(t_path("log"), options, &log);
    if (code == TWAL_OK)
        t_close(log);
    else
        t_check(log == NULL);
    return code;
}

static void options_sizes(void)
{
    static const uint64_t bad[] = { 0, 1, 7, 8, 16, 64, 104, 111, sizeof(twal_options) - 1,
                                    sizeof(twal_options) + 1, sizeof(twal_options) + 4, 4095, 4097, 4104,
                                    UINT32_MAX, UINT64_MAX, UINT64_MAX - 7 };
    for (size_t n = 0; n < sizeof bad / sizeof *bad; n++) {
        /* No more than the size itself can be counted on to be there. */
        uint64_t *size = at_end(bad[n] < sizeof(twal_options) || bad[n] > 8192 ? 8 : (bad[n] + 7) / 8 * 8);
        *size = bad[n];
        t_code(open_with((twal_options *)(void *)size), TWAL_E_INVAL);
        t_check(!t_exists(t_path("log")));
    }
    /* Every byte of a tail must be 0. */
    for (size_t size = sizeof(twal_options) + 8; size <= 4096; size += size < 256 ? 8 : 960) {
        if (size % 8)
            size = 4096;
        for (size_t at = sizeof(twal_options); at < size; at += size > 256 ? 509 : 1) {
            twal_options *longer = at_end(size);
            longer->struct_size = size;
            ((unsigned char *)longer)[at] = 0x80;
            t_code(open_with(longer), TWAL_E_UNSUPPORTED);
        }
        twal_options *last = at_end(size);
        last->struct_size = size;
        ((unsigned char *)last)[size - 1] = 1;
        t_code(open_with(last), TWAL_E_UNSUPPORTED);
        t_check(!t_exists(t_path("log")));
    }
    static const size_t good[] = { 112, 120, sizeof(twal_options), sizeof(twal_options) + 8, 1024, 4096 };
    for (size_t n = 0; n < sizeof good / sizeof *good; n++) {
        twal_options *options = at_end(good[n]);
        options->struct_size = good[n];
        options->segment_size = 64 * T_KIB;
        t_ok(open_with(options));
    }
}

typedef int get_fn(twal_log *log, void *out);

static int get_error(twal_log *log, void *out)
{
    (void)log;
    return twal_last_error(out);
}

static int get_stats(twal_log *log, void *out)
{
    return twal_stats_get(log, out);
}

static int get_recovery(twal_log *log, void *out)
{
    return twal_recovery_get(log, out);
}

/* `first` bytes in the first release that had it, `size` now. */
static void out_sizes(twal_log *log, get_fn *get, size_t first, size_t size)
{
    const uint64_t bad[] = { 0, 1, 8, first - 8, first - 4, size + 4, 4097, 4104, UINT64_MAX };
    for (size_t n = 0; n < sizeof bad / sizeof *bad; n++) {
        uint64_t *out = at_end(bad[n] < first || bad[n] > 8192 ? 8 : (bad[n] + 7) / 8 * 8);
        *out = bad[n];
        t_code(get(log, out), TWAL_E_INVAL);
        t_equal(*out, bad[n]);
    }
    const size_t good[] = { first, size, size + 8, 4096 };
    for (size_t n = 0; n < sizeof good / sizeof *good; n++) {
        unsigned char *out = at_end(good[n]);
        memcpy(out, &good[n], 8);
        t_ok(get(log, out));
        /* The size stays the caller's; the tail that is not known becomes 0. */
        t_check(memcmp(out, &good[n], 8) == 0);
        for (size_t at = size; at < good[n]; at++)
            t_equal(out[at], 0);
        t_equal(*(page_end - 8192), 0);
    }
}

int main(void)
{
    t_begin();
    size_t page = (size_t)sysconf(_SC_PAGESIZE), room = 8192 > page ? 8192 : page;
    unsigned char *pages = mmap(NULL, room + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    t_check(pages != MAP_FAILED);
    t_check(mprotect(pages + room, page, PROT_NONE) == 0);
    page_end = pages + room;

    options_sizes();
    twal_options options = t_options_small();
    twal_log *log = t_open(t_path("log"), &options);
    out_sizes(log, get_error, sizeof(twal_error), sizeof(twal_error));
    out_sizes(log, get_stats, 536, sizeof(twal_stats));
    out_sizes(log, get_recovery, 96, sizeof(twal_recovery));
    t_close(log);
    munmap(pages, room + page);
    return t_end();
}
