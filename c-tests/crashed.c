/* See crashed.h. */
#include "crashed.h"

struct make {
    const char *dir;
    uint64_t count, per_segment;
    size_t len;
    bool close;
};

static void make(void *arg)
{
    struct make *make = arg;
    twal_options options = t_options_quiet();
    options.segment_size = 256 * T_KIB;
    twal_log *log = t_open(make->dir, &options);
    for (uint64_t n = 1; n <= make->count; n++) {
        t_append_many(log, 1, make->len);
        if (make->per_segment && n % make->per_segment == 0 && n < make->count)
            t_ok(twal_roll(log));
    }
    if (make->close)
        t_close(log);
}

void t_make_crashed(const char *dir, uint64_t count, size_t len, uint64_t per_segment)
{
    struct make how = { dir, count, per_segment, len, false };
    t_crash_after(make, &how);
}

void t_make_closed(const char *dir, uint64_t count, size_t len, uint64_t per_segment)
{
    struct make how = { dir, count, per_segment, len, true };
    make(&how);
}

t_frame t_find_frame(const char *dir, uint64_t seq, size_t len)
{
    size_t count;
    t_segment *list = t_segments(dir, &count);
    t_frame frame;
    t_check(count > 0);
    frame.segment = list[0];
    for (size_t n = 0; n < count && list[n].first_seq <= seq; n++)
        frame.segment = list[n];
    frame.payload = t_file_find(frame.segment.path, len, 1, seq);
    frame.payload_end = frame.payload + len;
    /* The headers in front of the payload are shorter than a block. */
    frame.block = frame.payload / T_BLOCK * T_BLOCK;
    frame.end = (frame.payload_end + T_BLOCK - 1) / T_BLOCK * T_BLOCK;
    return frame;
}

void t_refused(const char *dir, uint32_t flags)
{
    twal_options options = t_options_quiet();
    uint64_t before = t_segments_sum(dir);
    options.flags = flags;
    for (int n = 0; n < 2; n++) {
        twal_log *log = NULL;
        t_code(twal_open(dir, &options, &log), TWAL_E_CORRUPT);
        t_check(!log);
        t_equal(t_segments_sum(dir), before);
    }
}

twal_error t_damaged_reads(const char *dir, uint64_t must_have, uint64_t may_have, size_t len)
{
    uint64_t before = t_dir_sum(dir), read = 0;
    twal_log *log = t_open_read_only(dir);
    twal_iter *iter = NULL;
    twal_record record;
    int code = twal_recover_iter(log, 0, &iter);
    if (code == TWAL_OK) {
        while ((code = twal_iter_next(iter, &record)) == 1) {
            t_equal(record.seq, read + 1);
            t_record_of_many(&record, &len);
            read++;
        }
        t_code(code, TWAL_E_CORRUPT);
    }
    t_code(code, TWAL_E_CORRUPT);
    twal_error error = t_last_error();
    for (int n = 0; iter && n < 3; n++)
        t_code(twal_iter_next(iter, &record), TWAL_E_CORRUPT);
    if (read < must_have || read > may_have)
        t_fail(__FILE__, __LINE__, "%" PRIu64 " records before the damage, not %" PRIu64 " to %" PRIu64, read,
               must_have, may_have);
    twal_iter_close(iter);
    t_close(log);
    t_equal(t_dir_sum(dir), before);
    return error;
}
