/*
 * Goal: twal_streams() counts what the log holds of each stream, the busiest first, 1000 at most; from any number on.
 */
#include "helpers.h"

static void append(twal_log *log, uint64_t stream, size_t len)
{
    static const char data[64] = "data";
    twal_entry entry = TWAL_ENTRY_INIT;
    entry.data = data;
    entry.len = len;
    entry.stream = stream;
    entry.flags = TWAL_APPEND_NO_SYNC;
    t_ok(twal_append_entry(log, &entry, NULL));
}

static void expect(const twal_stream_count *found, uint64_t stream, uint64_t records, uint64_t bytes, uint64_t first,
                   uint64_t last)
{
    t_equal(found->struct_size, sizeof *found);
    t_equal(found->stream, stream);
    t_equal(found->records, records);
    t_equal(found->bytes, bytes);
    t_equal(found->first_seq, first);
    t_equal(found->last_seq, last);
}

int main(void)
{
    t_begin();
    static twal_stream_count counts[1001];
    size_t count = 7;
    twal_options options = t_options_small();
    twal_log *log = t_open(t_path("log"), &options);
    counts->struct_size = sizeof *counts;
    t_ok(twal_streams(log, 0, counts, 1001, &count));
    t_equal(count, 0);
    /* Stream 7 has 30 records, 8 has 20, 9 has 10. */
    for (int n = 0; n < 10; n++) {
        for (int stream = 7; stream <= 9; stream++)
            for (int each = stream; each <= 9; each++)
                append(log, (uint64_t)stream, (size_t)stream);
    }
    t_ok(twal_sync(log, 0));
    t_ok(twal_streams(log, 0, counts, 2, &count));
    t_equal(count, 3);
    expect(&counts[0], 7, 30, 210, 1, 57);
    expect(&counts[1], 8, 20, 160, 4, 59);
    t_equal(counts[2].struct_size, 0);
    t_ok(twal_streams(log, 55, counts, 1001, &count));
    t_equal(count, 3);
    expect(&counts[0], 7, 3, 21, 55, 57);
    expect(&counts[2], 9, 1, 9, 60, 60);

    for (uint64_t stream = 100; stream < 1300; stream++)
        append(log, stream, 1);
    t_ok(twal_sync(log, 0));
    t_ok(twal_streams(log, 0, counts, 1001, &count));
    t_equal(count, 1000);
    expect(&counts[0], 7, 30, 210, 1, 57);
    for (uint64_t n = 3; n < 1000; n++)
        t_equal(counts[n].stream, 97 + n); /* of equal ones the lower */
    t_code(twal_streams(log, twal_last_seq(log) + 2, counts, 1, &count), TWAL_E_NOTFOUND);
    t_ok(twal_roll(log));
    t_ok(twal_trim(log, twal_last_seq(log)));
    t_code(twal_streams(log, 1, counts, 1, &count), twal_first_seq(log) > 1 ? TWAL_E_TRIMMED : TWAL_OK);
    t_check(twal_first_seq(log) > 1);
    t_close(log);
    return t_end();
}
