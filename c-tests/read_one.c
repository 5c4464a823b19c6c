/*
 * Goal: any record can be read by its number, from the first to the last durable
 * one, beside a writer and after it; a short buffer gets a part and the length;
 * what is not there is told for what it is.
 * t:valgrind no, it reads some hundred times, which asan sees too
 */
#include "crashed.h"

#define RECORDS 400

static size_t len_of(uint64_t seq)
{
    return T_PAYLOAD_MIN + seq * 37 % 3000;
}

static void expect_record(twal_log *log, uint64_t seq)
{
    static char buf[4096];
    twal_record record;
    uint64_t writer, number;
    memset(buf, 0x5a, sizeof buf);
    t_ok(twal_read(log, seq, buf, sizeof buf, &record));
    t_check(record.seq == seq && record.data == buf && record.len == len_of(seq));
    t_check(t_payload_read(buf, record.len, &writer, &number));
    t_check(writer == 1 && number == seq);
    t_equal((unsigned char)buf[record.len], 0x5a);
}

static void all_and_none(twal_log *log, uint64_t first, uint64_t last)
{
    char buf[64], whole[4096];
    twal_record record = { .seq = 77 };
    for (uint64_t seq = first; seq <= last; seq += 1 + seq % 3)
        expect_record(log, seq);
    expect_record(log, last);
    t_code(twal_read(log, 0, buf, sizeof buf, &record), TWAL_E_NOTFOUND);
    t_code(twal_read(log, last + 1, buf, sizeof buf, &record), TWAL_E_NOTFOUND);
    t_code(twal_read(log, UINT64_MAX, buf, sizeof buf, &record), TWAL_E_NOTFOUND);
    for (uint64_t seq = 1; seq < first; seq += 7) {
        t_code(twal_read(log, seq, buf, sizeof buf, &record), TWAL_E_TRIMMED);
        t_equal(t_last_error().seq, first);
    }
    t_equal(record.seq, 77);
    /* A part, and nothing but the length. */
    t_ok(twal_read(log, last, whole, sizeof whole, &record));
    memset(buf, 0x5a, sizeof buf);
    t_ok(twal_read(log, last, buf, 20, &record));
    t_equal(record.len, len_of(last));
    t_check(memcmp(buf, whole, 20) == 0 && buf[20] == 0x5a);
    t_ok(twal_read(log, last, NULL, 0, &record));
    t_equal(record.len, len_of(last));
    t_code(twal_read(log, last, NULL, 1, &record), TWAL_E_INVAL);
    t_code(twal_read(log, last, buf, sizeof buf, NULL), TWAL_E_INVAL);
    t_code(twal_read(NULL, last, buf, sizeof buf, &record), TWAL_E_INVAL);
}

int main(void)
{
    t_begin();
    const char *dir = t_path("log");
    twal_options options = t_options_small();
    options.segment_size = 256 * T_KIB;
    twal_log *log = t_open(dir, &options);
    for (uint64_t seq = 1; seq <= RECORDS; seq++) {
        t_append(log, len_of(seq), 1, seq, seq % 8 ? TWAL_APPEND_NO_SYNC : 0);
        if (seq % 40 == 0)
            expect_record(log, seq);
    }
    t_ok(twal_sync(log, 0));
    all_and_none(log, 1, RECORDS);
    t_ok(twal_trim(log, RECORDS / 2));
    uint64_t first = twal_first_seq(log);
    t_check(first > 1);
    all_and_none(log, first, RECORDS);
    t_close(log);
    log = t_open_read_only(dir);
    all_and_none(log, first, RECORDS);
    t_close(log);

    /* Damage is told where it is, and nowhere else. */
    dir = t_path("damaged");
    t_make_closed(dir, 40, 6000, 15);
    t_frame frame = t_find_frame(dir, 20, 6000);
    t_file_flip(frame.segment.path, frame.payload + 100, 1);
    log = t_open_read_only(dir);
    char buf[6000];
    twal_record record;
    size_t len = 6000;
    for (uint64_t seq = 1; seq <= 40; seq++) {
        if (seq == 20) {
            t_code(twal_read(log, seq, buf, sizeof buf, &record), TWAL_E_CORRUPT);
            t_equal(t_last_error().segment, frame.segment.index);
            t_equal(t_last_error().offset, frame.block);
        } else {
            t_ok(twal_read(log, seq, buf, sizeof buf, &record));
            t_record_of_many(&record, &len);
        }
    }
    t_close(log);
    return t_end();
}
