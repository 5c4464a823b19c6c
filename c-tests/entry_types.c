/* Goal: types from 0x0100 to 0xFFFF are the caller's and come back; 0 means
 * 0x0100; streams are kept in all their 64 bits. */
#include "helpers.h"

static const uint32_t types[] = { 0, 0x0100, 0x0101, 0x7FFF, 0x8000, 0xFFFE, 0xFFFF };
static const uint64_t streams[] = { 0, 1, UINT32_MAX, UINT64_C(1) << 32, UINT64_C(1) << 63, UINT64_MAX };

static void check_one(const twal_record *record, void *arg)
{
    uint32_t type = types[(record->seq - 1) / 6];
    (void)arg;
    t_equal(record->type, type ? type : 0x0100);
    t_equal(record->stream, streams[(record->seq - 1) % 6]);
    t_equal(record->len, 0);
}

int main(void)
{
    t_begin();
    twal_options options = t_options_small();
    twal_log *log = t_open(t_path("log"), &options);
    for (size_t t = 0; t < 7; t++)
        for (size_t s = 0; s < 6; s++) {
            twal_entry entry = TWAL_ENTRY_INIT;
            entry.type = types[t];
            entry.stream = streams[s];
            t_ok(twal_append_entry(log, &entry, NULL));
        }
    t_close(log);
    log = t_open(t_path("log"), &options);
    t_seen seen;
    t_ok(t_read(log, 0, &seen, check_one, NULL));
    t_equal(seen.count, 42);
    t_close(log);
    t_equal(TWAL_STREAM(1, 2), (UINT64_C(1) << 32) + 2);
    t_equal(TWAL_STREAM(UINT32_MAX, UINT32_MAX), UINT64_MAX);
    t_equal(TWAL_STREAM(UINT64_C(0x500000001), -1), UINT64_C(0x1FFFFFFFF));
    return t_end();
}
