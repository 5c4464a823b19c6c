/*
 * Goal: a reader begins at a number or at a segment, ends at a number or after so
 * many records, and leaves out other streams and types; pages put together are
 * the whole log; what cannot be is refused.
 * t:valgrind no, it reads some hundred times, which asan sees too
 */
#include "helpers.h"

#define RECORDS 200
#define LEN 900
#define STREAMS 3
#define TYPES 4

static uint64_t stream_of(uint64_t seq)
{
    return TWAL_STREAM(7, seq % STREAMS);
}

static uint32_t type_of(uint64_t seq)
{
    return 0x0100 + (uint32_t)(seq / 5 % TYPES);
}

static twal_log *make(void)
{
    twal_options options = t_options_small();
    twal_log *log = t_open(t_path("log"), &options);
    for (uint64_t seq = 1; seq <= RECORDS; seq++) {
        char data[LEN];
        twal_entry entry = TWAL_ENTRY_INIT;
        t_payload_fill(data, LEN, 1, seq);
        entry.data = data;
        entry.len = LEN;
        entry.stream = stream_of(seq);
        entry.type = type_of(seq);
        t_ok(twal_append_entry(log, &entry, NULL));
    }
    return log;
}

static bool is_one_of(uint64_t what, const uint64_t *streams, const uint32_t *types, uint64_t count)
{
    for (uint64_t n = 0; n < count; n++)
        if (streams ? streams[n] == what : types[n] == what)
            return true;
    return false;
}

/* Reads as the options say: exactly what they say, between first and last; the next number to go on with. */
static uint64_t expect(twal_log *log, const twal_iter_options *options, uint64_t first, uint64_t last)
{
    twal_iter *iter;
    twal_record record;
    uint64_t seq = first, count = 0, writer, number;
    t_ok(twal_iter_open(log, options, &iter));
    t_equal(twal_iter_next_seq(iter), first);
    for (; seq <= last && (options->limit == 0 || count < options->limit); seq++) {
        if ((options->streams && !is_one_of(stream_of(seq), options->streams, NULL, options->stream_count)) ||
            (options->types && !is_one_of(type_of(seq), NULL, options->types, options->type_count)))
            continue;
        t_equal(twal_iter_next(iter, &record), 1);
        t_equal(record.seq, seq);
        t_equal(record.stream, stream_of(seq));
        t_equal(record.type, type_of(seq));
        t_check(t_payload_read(record.data, record.len, &writer, &number) && number == seq);
        t_equal(twal_iter_next_seq(iter), seq + 1);
        count++;
    }
    for (int n = 0; n < 3; n++)
        t_equal(twal_iter_next(iter, &record), 0);
    if (options->limit == 0 && options->until_seq == 0)
        t_code(twal_iter_wait(iter, 0, &record), TWAL_E_TIMEOUT);
    else if ((options->limit && options->limit == count) || (options->until_seq && options->until_seq <= RECORDS))
        t_equal(twal_iter_wait(iter, -1, &record), 0); /* final: nothing to wait for */
    seq = twal_iter_next_seq(iter);
    twal_iter_close(iter);
    return seq;
}

static void every_way(twal_log *log)
{
    static const uint64_t streams[] = { TWAL_STREAM(7, 2), TWAL_STREAM(7, 0), TWAL_STREAM(8, 0) };
    static const uint32_t types[] = { 0x0103, 0x0101, 0x9999 };
    for (uint64_t from = 1; from <= RECORDS + 1; from += 50)
        for (uint64_t until = 0; until <= RECORDS + 9; until += until < from ? 71 : 97)
            for (uint64_t limit = 0; limit <= 40; limit += 20)
                for (int filter = 0; filter < 4; filter++) {
                    twal_iter_options options = TWAL_ITER_OPTIONS_INIT;
                    options.from_seq = from;
                    options.until_seq = until;
                    options.limit = limit;
                    options.streams = filter & 1 ? streams : NULL;
                    options.stream_count = filter & 1 ? 3 : 0;
                    options.types = filter & 2 ? types : NULL;
                    options.type_count = filter & 2 ? 3 : 0;
                    expect(log, &options, from, until && until < RECORDS ? until : RECORDS);
                }
}

static void pages(twal_log *log)
{
    static const uint64_t streams[] = { TWAL_STREAM(7, 1) };
    twal_iter_options options = TWAL_ITER_OPTIONS_INIT;
    options.limit = 7;
    options.streams = streams;
    options.stream_count = 1;
    uint64_t before = 0, next = 1;
    while (next != before) {
        before = next;
        options.from_seq = next;
        next = expect(log, &options, next, RECORDS);
    }
    t_equal(next, RECORDS + 1);
}

static void segments(twal_log *log)
{
    size_t count;
    t_segment *all = t_segments(t_path("log"), &count);
    twal_iter *iter = NULL;
    twal_iter_options options = TWAL_ITER_OPTIONS_INIT;
    t_check(count > 3);
    for (size_t n = 0; n < count; n++) {
        options.from_segment = all[n].index;
        expect(log, &options, all[n].first_seq, RECORDS);
    }
    options.from_segment = all[count - 1].index + 1;
    t_code(twal_iter_open(log, &options, &iter), TWAL_E_NOTFOUND);
    options.from_segment = 1;
    options.from_seq = 1;
    t_code(twal_iter_open(log, &options, &iter), TWAL_E_INVAL);
    t_check(!iter);
}

static void refused(twal_log *log)
{
    static const uint32_t none[] = { 0x10000 }, own[] = { 0x0010 };
    twal_iter_options options = TWAL_ITER_OPTIONS_INIT, plain = TWAL_ITER_OPTIONS_INIT;
    twal_iter *iter = NULL;
    options.stream_count = 1;
    t_code(twal_iter_open(log, &options, &iter), TWAL_E_INVAL);
    options = plain;
    options.types = none;
    options.type_count = 1;
    t_code(twal_iter_open(log, &options, &iter), TWAL_E_INVAL);
    options = plain;
    options.known_types = own;
    options.known_type_count = 1;
    t_code(twal_iter_open(log, &options, &iter), TWAL_E_INVAL);
    options = plain;
    options.flags = 16;
    t_code(twal_iter_open(log, &options, &iter), TWAL_E_INVAL);
    options.flags = TWAL_ITER_SKIP_DAMAGED | TWAL_ITER_HEADERS_ONLY;
    t_code(twal_iter_open(log, &options, &iter), TWAL_E_INVAL);
    options.flags = TWAL_ITER_SKIP_DAMAGED | TWAL_ITER_SNAPSHOT;
    t_code(twal_iter_open(log, &options, &iter), TWAL_E_INVAL);
    t_check(!iter);
}

int main(void)
{
    t_begin();
    twal_log *log = make();
    every_way(log);
    pages(log);
    segments(log);
    refused(log);
    t_close(log);
    log = t_open_read_only(t_path("log"));
    every_way(log);
    segments(log);
    t_close(log);
    return t_end();
}
