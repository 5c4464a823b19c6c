/*
 * Goal: a reader of headers delivers the same headers as any other, reads no
 * payload unless it is asked, gives the right one then, and tells a damaged
 * one apart from a damaged header.
 */
#include "crashed.h"

#define RECORDS 60
#define LEN 30000

static twal_iter *open_heads(twal_log *log)
{
    twal_iter_options options = TWAL_ITER_OPTIONS_INIT;
    twal_iter *iter;
    options.flags = TWAL_ITER_HEADERS_ONLY;
    t_ok(twal_iter_open(log, &options, &iter));
    return iter;
}

static void the_same_headers(const char *dir)
{
    twal_log *log = t_open_read_only(dir);
    twal_iter *heads = open_heads(log), *plain;
    twal_record head, record;
    const void *data = NULL;
    size_t len = 7;
    t_ok(twal_recover_iter(log, 0, &plain));
    t_code(twal_iter_payload(heads, &data, &len), TWAL_E_STATE);
    for (uint64_t seq = 1; seq <= RECORDS; seq++) {
        t_equal(twal_iter_next(heads, &head), 1);
        t_equal(twal_iter_next(plain, &record), 1);
        t_equal(head.seq, seq);
        t_check(!head.data && head.len == record.len);
        t_check(head.type == record.type && head.stream == record.stream && head.timestamp == record.timestamp &&
                head.flags == record.flags);
        if (seq % 3 == 0)
            continue;
        for (int n = 0; n < 2; n++) {
            t_ok(twal_iter_payload(heads, &data, &len));
            t_check(data && ((uintptr_t)data & 7) == 0);
            t_equal(len, record.len);
            t_check(memcmp(data, record.data, len) == 0);
            t_ok(twal_iter_payload(plain, &data, &len));
            t_check(data == record.data && len == record.len);
        }
    }
    t_equal(twal_iter_next(heads, &head), 0);
    data = NULL;
    t_code(twal_iter_payload(heads, &data, &len), TWAL_E_STATE);
    t_code(twal_iter_payload(heads, NULL, &len), TWAL_E_INVAL);
    t_code(twal_iter_payload(heads, &data, NULL), TWAL_E_INVAL);
    t_code(twal_iter_payload(NULL, &data, &len), TWAL_E_INVAL);
    t_check(!data);
    twal_iter_close(heads);
    twal_iter_close(plain);
    t_close(log);
}

/* Bytes that this process has read from devices so far; direct reads are among them. */
static uint64_t bytes_read(void)
{
    FILE *io = fopen("/proc/self/io", "r");
    char line[128];
    unsigned long long bytes = 0;
    if (!io)
        t_skip("there is no /proc/self/io");
    while (fgets(line, sizeof line, io))
        if (sscanf(line, "rchar: %llu", &bytes) == 1)
            break;
    fclose(io);
    return bytes;
}

static void payloads_are_not_read(const char *dir)
{
    twal_log *log = t_open(dir, NULL);
    t_append_many(log, RECORDS, LEN);
    twal_iter *iter = open_heads(log);
    twal_record record;
    uint64_t before = bytes_read(), count = 0;
    while (twal_iter_next(iter, &record) == 1)
        count++;
    t_equal(count, RECORDS);
    /* Of 30,000 bytes each, one block or two. */
    before = bytes_read() - before;
    printf("%" PRIu64 " bytes were read\n", before);
    t_check(before < RECORDS * 2 * 4096 + 200000);
    twal_iter_close(iter);
    t_close(log);
}

static void damage(const char *dir)
{
    uint64_t seq = 20;
    t_frame frame = t_find_frame(dir, seq, LEN);
    t_file_flip(frame.segment.path, frame.payload + 15000, 1);
    twal_log *log = t_open_read_only(dir);
    twal_iter *iter = open_heads(log);
    twal_record record;
    const void *data;
    size_t len;
    for (uint64_t n = 1; n <= RECORDS; n++) {
        t_equal(twal_iter_next(iter, &record), 1);
        t_equal(record.seq, n);
        if (n == seq) {
            t_code(twal_iter_payload(iter, &data, &len), TWAL_E_CORRUPT);
            t_equal(t_last_error().seq, seq);
            t_equal(t_last_error().segment, frame.segment.index);
        } else {
            t_ok(twal_iter_payload(iter, &data, &len));
        }
    }
    twal_iter_close(iter);
    t_close(log);
    t_file_flip(frame.segment.path, frame.payload + 15000, 1);
    t_file_flip(frame.segment.path, frame.payload - 10, 1);
    log = t_open_read_only(dir);
    iter = open_heads(log);
    for (uint64_t n = 1; n < seq; n++)
        t_equal(twal_iter_next(iter, &record), 1);
    for (int n = 0; n < 3; n++)
        t_code(twal_iter_next(iter, &record), TWAL_E_CORRUPT);
    twal_iter_close(iter);
    t_close(log);
}

int main(void)
{
    t_begin();
    const char *dir = t_path("log");
    t_make_closed(dir, RECORDS, LEN, 25);
    the_same_headers(dir);
    payloads_are_not_read(t_path("large"));
    damage(dir);
    return t_end();
}
