/*
 * Goal: what each flag of an entry promises, in every mode, for single records
 * and for batches: SYNC returns durable, NO_SYNC without waiting, NO_WAIT still
 * waits for durability, REQUIRED is kept for the reader.
 */
#include "helpers.h"

static uint64_t expected; /* the number that the next record gets */

static void one(twal_log *log, uint32_t durability, uint32_t flags, bool batch)
{
    char data[4][64];
    twal_entry entries[4];
    uint64_t first = 0, before = twal_durable_seq(log);
    size_t count = batch ? 4 : 1;

    for (size_t n = 0; n < count; n++) {
        entries[n] = (twal_entry)TWAL_ENTRY_INIT;
        t_payload_fill(data[n], sizeof data[n], 9, expected + n);
        entries[n].data = data[n];
        entries[n].len = sizeof data[n];
        entries[n].flags = flags;
        entries[n].stream = flags | (batch ? 16 : 0) | (n + 1 == count ? 32 : 0);
    }
    if (batch)
        t_ok(twal_append_batch(log, entries, count, &first));
    else
        t_ok(twal_append_entry(log, entries, &first));
    t_equal(first, expected);
    expected += count;
    t_equal(twal_last_seq(log), expected - 1);

    bool waits = flags & TWAL_APPEND_SYNC || (durability == TWAL_SYNC && !(flags & TWAL_APPEND_NO_SYNC));
    if (waits)
        t_equal(twal_durable_seq(log), expected - 1);
    else if (durability == TWAL_GROUP)
        t_equal(twal_durable_seq(log), before);
}

static void check_one(const twal_record *record, void *arg)
{
    uint64_t writer = 0, number = 0, flags = 0;
    (void)arg;
    t_check(t_payload_read(record->data, record->len, &writer, &number));
    t_equal(number, record->seq);
    if (record->stream & TWAL_APPEND_REQUIRED)
        flags |= TWAL_RECORD_REQUIRED;
    if (record->stream & 16 && !(record->stream & 32))
        flags |= TWAL_RECORD_BATCH_CONTINUES;
    t_equal(record->flags, flags);
}

int main(void)
{
    t_begin();
    static const uint32_t modes[] = { TWAL_SYNC, TWAL_GROUP, TWAL_ASYNC };
    for (int m = 0; m < 3; m++) {
        char name[16];
        snprintf(name, sizeof name, "mode-%u", modes[m]);
        twal_options options = t_options_quiet();
        options.durability = modes[m];
        options.segment_size = 4 * T_MIB;
        twal_log *log = t_open(t_path(name), &options);
        expected = 1;
        for (uint32_t flags = 0; flags < 16; flags++) {
            if ((flags & 3) == 3)
                continue;
            one(log, modes[m], flags, false);
            one(log, modes[m], flags, true);
        }
        t_ok(twal_sync(log, 0));
        t_seen seen;
        t_ok(t_read(log, 0, &seen, check_one, NULL));
        t_equal(seen.count, expected - 1);
        t_close(log);
        log = t_open_read_only(t_path(name));
        t_ok(t_read(log, 0, &seen, check_one, NULL));
        t_equal(seen.count, expected - 1);
        t_close(log);
    }
    return t_end();
}
