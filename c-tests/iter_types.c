/*
 * Goal: a reader that names the types it knows leaves out what it does not know,
 * and stops with TWAL_E_TYPE where a record says that it must be known.
 * t:valgrind no, asan sees the same
 */
#include "helpers.h"

static const struct {
    uint32_t type, flags;
} given[] = { { 0x0100, TWAL_APPEND_REQUIRED }, { 0x0200, 0 }, { 0x0300, 0 }, { 0x0100, 0 }, { 0x0300, TWAL_APPEND_REQUIRED },
              { 0x0100, 0 } };

/* Records that a reader delivers that knows `count` of these types: bit n - 1 for record n; and where it stops, 0: nowhere. */
static uint64_t delivered(twal_log *log, const uint32_t *types, uint64_t count, uint32_t flags, uint64_t *stops)
{
    twal_iter_options options = TWAL_ITER_OPTIONS_INIT;
    twal_iter *iter;
    twal_record record;
    uint64_t seen = 0;
    int rc;
    options.known_types = types;
    options.known_type_count = count;
    options.flags = flags;
    t_ok(twal_iter_open(log, &options, &iter));
    while ((rc = twal_iter_next(iter, &record)) == 1) {
        t_equal(record.type, given[record.seq - 1].type);
        seen |= UINT64_C(1) << (record.seq - 1);
    }
    *stops = 0;
    if (rc != TWAL_OK) {
        t_code(rc, TWAL_E_TYPE);
        *stops = t_last_error().seq;
        t_check(t_last_error().segment == 1 && t_last_error().offset > 0);
        t_code(twal_iter_next(iter, &record), TWAL_E_TYPE);
        t_code(twal_iter_wait(iter, -1, &record), TWAL_E_TYPE);
    }
    twal_iter_close(iter);
    return seen;
}

int main(void)
{
    t_begin();
    static const uint32_t known[] = { 0x0300, 0x0100 };
    static const uint32_t flags[] = { 0, TWAL_ITER_HEADERS_ONLY, TWAL_ITER_SKIP_DAMAGED, TWAL_ITER_SNAPSHOT };
    uint64_t stops;
    twal_log *log = t_open(t_path("log"), NULL);
    for (size_t n = 0; n < sizeof given / sizeof *given; n++) {
        twal_entry entry = TWAL_ENTRY_INIT;
        entry.type = given[n].type;
        entry.flags = given[n].flags;
        entry.data = "abc";
        entry.len = 3;
        t_ok(twal_append_entry(log, &entry, NULL));
    }
    for (size_t n = 0; n < sizeof flags / sizeof *flags; n++) {
        t_equal(delivered(log, NULL, 0, flags[n], &stops), 0x3f);
        t_equal(stops, 0);
        t_equal(delivered(log, known, 2, flags[n], &stops), 0x3d);
        t_equal(stops, 0);
        t_equal(delivered(log, known, 1, flags[n], &stops), 0);
        t_equal(stops, 1);
        t_equal(delivered(log, known + 1, 1, flags[n], &stops), 0x09);
        t_equal(stops, 5);
        /* None at all is a list too. */
        t_equal(delivered(log, known, 0, flags[n], &stops), 0);
        t_equal(stops, 1);
    }
    t_close(log);
    return t_end();
}
