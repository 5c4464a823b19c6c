/*
 * Goal: a reservation becomes exactly the record that its owner wrote, with a
 * number given at the commit; cancelled it has left no trace; it may be shorter
 * than reserved, lie about while others append, fill the ring and be waited for.
 */
#include "helpers.h"

#define HELD_MAX 64

/* What every number's record must be. */
static struct wanted {
    uint64_t writer, number;
    size_t len;
    bool continues;
} wanted[4000];
static uint64_t last;

static twal_log *log_;

static void want(uint64_t seq, uint64_t writer, uint64_t number, size_t len, bool continues)
{
    t_equal(seq, ++last);
    t_check(last < sizeof wanted / sizeof *wanted);
    wanted[last] = (struct wanted){ writer, number, len, continues };
}

static void check_one(const twal_record *record, void *arg)
{
    const struct wanted *want = &wanted[record->seq];
    uint64_t writer = 0, number = 0;
    (void)arg;
    t_equal(record->len, want->len);
    t_check(t_payload_read(record->data, record->len, &writer, &number));
    t_equal(writer, want->writer);
    t_equal(number, want->number);
    t_equal(record->flags & TWAL_RECORD_BATCH_CONTINUES, want->continues ? TWAL_RECORD_BATCH_CONTINUES : 0);
}

static void check_all(twal_log *log)
{
    t_seen seen;
    t_ok(t_read(log, 0, &seen, check_one, NULL));
    t_equal(seen.count, last);
}

static twal_reservation reserve(size_t len, uint32_t flags)
{
    twal_reservation reservation = TWAL_RESERVATION_INIT;
    twal_entry entry = TWAL_ENTRY_INIT;
    entry.len = len;
    entry.flags = flags;
    t_ok(twal_reserve(log_, &entry, &reservation));
    t_check(reservation.data && (uintptr_t)reservation.data % 8 == 0);
    t_equal(reservation.len, len);
    return reservation;
}

static uint64_t commit(twal_reservation *reservation, size_t len)
{
    uint64_t seq = 0;
    t_ok(twal_commit(log_, reservation, len, &seq));
    t_check(!reservation->data);
    return seq;
}

/* The same of one that does not wait for the next segment: told so, it is as it was. */
static uint64_t commit_again(twal_reservation *reservation, size_t len)
{
    uint64_t seq = 77, before = twal_last_seq(log_), deadline = t_now_ns() + UINT64_C(20000000000);
    int code;
    while ((code = twal_commit(log_, reservation, len, &seq)) == TWAL_E_AGAIN) {
        t_check(reservation->data && seq == 77 && twal_last_seq(log_) == before);
        t_check(t_now_ns() < deadline);
        t_pause();
    }
    t_ok(code);
    t_check(!reservation->data);
    return seq;
}

static void append(uint64_t number)
{
    want(t_append(log_, 300, 9, number, 0), 9, number, 300, false);
}

static void append_batch(uint64_t number)
{
    static unsigned char data[3][500];
    twal_entry entries[3] = { TWAL_ENTRY_INIT, TWAL_ENTRY_INIT, TWAL_ENTRY_INIT };
    uint64_t first = 0;
    for (uint64_t k = 0; k < 3; k++) {
        t_payload_fill(data[k], 500, 8, number + k);
        entries[k].data = data[k];
        entries[k].len = 500;
    }
    t_ok(twal_append_batch(log_, entries, 3, &first));
    for (uint64_t k = 0; k < 3; k++)
        want(first + k, 8, number + k, 500, k < 2);
}

/* Everything at random, reservations of all sizes lying about meanwhile. */
static void any_order(uint32_t durability, uint64_t segment_size)
{
    const char *dir = t_path("any");
    twal_options options = t_options();
    t_random random = t_random_new(durability);
    struct {
        twal_reservation reservation;
        size_t len;
        uint64_t number;
    } held[HELD_MAX];
    size_t count = 0;

    last = 0;
    options.durability = durability;
    options.segment_size = segment_size;
    options.ring_size = 4 * T_MIB;
    log_ = t_open(dir, &options);
    for (uint64_t n = 0; n < 600; n++) {
        switch (t_random_below(&random, 6)) {
        case 0:
        case 1: {
            if (count == HELD_MAX)
                break;
            size_t len = T_PAYLOAD_MIN + t_random_below(&random, t_random_below(&random, 5) ? 3000 : 40000);
            /* Shorter than reserved, by nothing, a little or most of it. */
            size_t room = len + (t_random_below(&random, 2) ? 0 : t_random_below(&random, 10000));
            uint32_t flags = t_random_below(&random, 3) ? 0 : TWAL_APPEND_NO_SYNC;
            held[count].reservation = reserve(room, flags);
            held[count].len = len;
            held[count].number = n;
            memset(held[count].reservation.data, 0xee, room);
            t_payload_fill(held[count].reservation.data, len, 7, n);
            count++;
            break;
        }
        case 2:
        case 3: {
            if (count == 0)
                break;
            size_t at = t_random_below(&random, count);
            uint64_t seq = commit(&held[at].reservation, held[at].len);
            want(seq, 7, held[at].number, held[at].len, false);
            held[at] = held[--count];
            break;
        }
        case 4:
            if (count > 0 && t_random_below(&random, 2)) {
                size_t at = t_random_below(&random, count);
                t_ok(twal_cancel(log_, &held[at].reservation));
                t_check(!held[at].reservation.data);
                held[at] = held[--count];
            } else {
                append_batch(n);
            }
            break;
        default:
            append(n);
        }
        t_equal(twal_last_seq(log_), last);
    }
    while (count > 0) {
        count--;
        uint64_t seq = commit(&held[count].reservation, held[count].len);
        want(seq, 7, held[count].number, held[count].len, false);
    }
    t_ok(twal_sync(log_, 0));
    check_all(log_);
    t_close(log_);
    log_ = t_open(dir, &options);
    check_all(log_);
    t_close(log_);
    t_dir_remove(dir);
}

/* The number and the promise are given at the commit. */
static void the_commit_counts(void)
{
    twal_options options = t_options_quiet();
    twal_entry entry = TWAL_ENTRY_INIT;
    twal_reservation reservation = TWAL_RESERVATION_INIT;
    twal_iter *iter;
    twal_record record;
    const char *dir = t_path("counts");

    log_ = t_open(dir, &options);
    uint64_t before = t_segments_sum(dir);
    twal_reservation first = reserve(5000, 0), second = reserve(5000, 0), third = reserve(5000, 0);
    t_equal(twal_last_seq(log_), 0);
    t_equal(commit(&third, 10), 1);
    t_equal(twal_durable_seq(log_), 1);
    t_equal(t_append(log_, 100, 1, 1, 0), 2);
    t_equal(commit(&first, 5000), 3);
    t_equal(twal_durable_seq(log_), 3);
    t_ok(twal_cancel(log_, &second));
    t_equal(t_append(log_, 100, 1, 1, 0), 4);
    t_check(t_segments_sum(dir) != before);

    /* Nothing but a reservation, cancelled: nothing is written. */
    before = t_segments_sum(dir);
    for (int n = 0; n < 2000; n++) {
        twal_reservation none = reserve(5000, 0);
        t_ok(twal_cancel(log_, &none));
    }
    t_equal(t_segments_sum(dir), before);
    t_equal(twal_last_seq(log_), 4);

    /* What the entry says, and an empty record. */
    entry.stream = TWAL_STREAM(3, 4);
    entry.timestamp = -5;
    entry.type = 0x0234;
    entry.flags = TWAL_APPEND_REQUIRED | TWAL_APPEND_NO_SYNC;
    t_ok(twal_reserve(log_, &entry, &reservation));
    t_check(reservation.data);
    t_equal(commit(&reservation, 0), 5);
    t_ok(twal_sync(log_, 0));
    t_ok(twal_recover_iter(log_, 5, &iter));
    t_equal(twal_iter_next(iter, &record), 1);
    t_check(record.len == 0 && record.stream == TWAL_STREAM(3, 4) && record.timestamp == -5 &&
            record.type == 0x0234 && record.flags == TWAL_RECORD_REQUIRED);
    twal_iter_close(iter);
    twal_stats stats = t_stats(log_);
    t_equal(stats.records, 5);
    t_equal(stats.record_bytes, 10 + 100 + 5000 + 100 + 0);
    t_close(log_);
}

/* ---- the ring, full of reservations ---- */

static void *append_one(void *arg)
{
    *(uint64_t *)arg = t_append(log_, 20000, 1, 1, 0);
    return NULL;
}

static void the_ring_is_full(void)
{
    enum { RING = 256 * 1024, LEN = 30000 };
    twal_options options = t_options_quiet();
    twal_entry entry = TWAL_ENTRY_INIT, append_entry = TWAL_ENTRY_INIT;
    twal_reservation held[16], none = TWAL_RESERVATION_INIT;
    static char data[20000];
    size_t count = 0;
    uint64_t seq = 77;

    options.ring_size = RING;
    options.append_timeout_us = 20000;
    log_ = t_open(t_path("full"), &options);
    entry.len = LEN;
    entry.flags = TWAL_APPEND_NO_WAIT;
    while (twal_reserve(log_, &entry, &held[count]) == TWAL_OK)
        t_check(++count < 16);
    t_equal(t_last_error().code, TWAL_E_AGAIN);
    t_equal(count, RING / 32768);
    entry.flags = 0;
    t_code(twal_reserve(log_, &entry, &none), TWAL_E_TIMEOUT);
    t_check(!none.data);
    append_entry.data = data;
    append_entry.len = sizeof data;
    t_code(twal_append_entry(log_, &append_entry, &seq), TWAL_E_TIMEOUT);
    append_entry.flags = TWAL_APPEND_NO_WAIT;
    t_code(twal_append_entry(log_, &append_entry, &seq), TWAL_E_AGAIN);
    t_equal(seq, 77);
    t_equal(twal_last_seq(log_), 0);
    /* Any that comes back is room, and those that stay are in nobody's way. */
    t_ok(twal_cancel(log_, &held[1]));
    for (uint64_t n = 1; n <= 300; n++) {
        append_entry.flags = 0;
        t_await(twal_append_entry(log_, &append_entry, &seq) == TWAL_OK, T_PATIENCE_MS);
        t_equal(seq, n);
    }
    t_equal(commit_again(&held[0], LEN), 301);
    for (size_t n = 2; n < count; n++)
        t_equal(commit_again(&held[n], LEN), 300 + n);
    t_close(log_);

    /* Who waits for room gets it from a commit, and from a cancel. */
    options.append_timeout_us = 0;
    for (int cancel = 0; cancel < 2; cancel++) {
        log_ = t_open(t_path("full"), &options);
        uint64_t next = twal_last_seq(log_) + 1, got = 0;
        entry.flags = TWAL_APPEND_NO_WAIT;
        for (count = 0; twal_reserve(log_, &entry, &held[count]) == TWAL_OK; count++)
            t_check(count < 16);
        t_equal(count, RING / 32768);
        pthread_t thread = t_thread(append_one, &got);
        for (int n = 0; n < 10; n++)
            t_pause();
        t_equal(twal_last_seq(log_), next - 1);
        if (cancel) {
            t_ok(twal_cancel(log_, &held[0]));
            t_join(thread);
            t_equal(got, next);
        } else {
            t_equal(commit_again(&held[0], LEN), next);
            t_join(thread);
            t_equal(got, next + 1);
        }
        for (size_t n = 1; n < count; n++)
            t_ok(twal_cancel(log_, &held[n]));
        t_close(log_);
    }

    /* Larger than the ring: a buffer of its own, one at a time. */
    options.ring_size = 16 * T_KIB;
    options.segment_size = 4 * T_MIB;
    log_ = t_open(t_path("big"), &options);
    entry.len = T_MIB;
    t_ok(twal_reserve(log_, &entry, &held[0]));
    t_code(twal_reserve(log_, &entry, &held[1]), TWAL_E_AGAIN);
    t_payload_fill(held[0].data, T_MIB, 1, 2);
    t_equal(t_append(log_, 100, 1, 1, 0), 1);
    t_equal(commit_again(&held[0], T_MIB), 2);
    t_ok(twal_reserve(log_, &entry, &held[1]));
    t_ok(twal_cancel(log_, &held[1]));
    t_ok(twal_reserve(log_, &entry, &held[1]));
    t_payload_fill(held[1].data, 5000, 1, 3);
    t_equal(commit_again(&held[1], 5000), 3);
    last = 0;
    want(1, 1, 1, 100, false);
    want(2, 1, 2, T_MIB, false);
    want(3, 1, 3, 5000, false);
    check_all(log_);
    t_close(log_);
}

/* ---- many threads ---- */

#define THREADS 6
#define EACH 150

static uint64_t seqs[THREADS][EACH];

static void *fill_and_commit(void *arg)
{
    uint64_t writer = (uint64_t)(uintptr_t)arg;
    t_random random = t_random_new(100 + writer);
    twal_reservation reservations[3];
    for (uint64_t n = 0; n < EACH; n += 3) {
        size_t len = 2000 + writer * 100;
        for (int k = 0; k < 3; k++)
            reservations[k] = reserve(len + t_random_below(&random, 3000), (uint32_t)(k == 1 ? TWAL_APPEND_NO_SYNC : 0));
        for (uint64_t k = 3; k-- > 0;) {
            twal_reservation none = reserve(1000, 0);
            t_payload_fill(reservations[k].data, len, writer, n + k);
            seqs[writer][n + k] = commit(&reservations[k], len);
            t_ok(twal_cancel(log_, &none));
        }
    }
    return NULL;
}

static void many_threads(uint32_t durability)
{
    twal_options options = t_options();
    pthread_t threads[THREADS];
    options.durability = durability;
    options.segment_size = T_MIB;
    /* Room for what all of them hold at once; less, and they may wait for each other for ever. */
    options.ring_size = THREADS * 4 * 12 * T_KIB;
    log_ = t_open(t_path("threads"), &options);
    for (uintptr_t n = 0; n < THREADS; n++)
        threads[n] = t_thread(fill_and_commit, (void *)n);
    for (int n = 0; n < THREADS; n++)
        t_join(threads[n]);
    memset(wanted, 0, sizeof wanted);
    for (uint64_t n = 0; n < THREADS; n++)
        for (uint64_t k = 0; k < EACH; k++)
            wanted[seqs[n][k]] = (struct wanted){ n, k, 2000 + n * 100, false };
    last = THREADS * EACH;
    t_ok(twal_sync(log_, 0));
    check_all(log_);
    t_close(log_);
    t_dir_remove(t_path("threads"));
}

int main(void)
{
    t_begin();
    for (uint32_t mode = TWAL_SYNC; mode <= TWAL_ASYNC; mode++) {
        any_order(mode, 64 * T_MIB);
        any_order(mode, 256 * T_KIB);
        many_threads(mode);
    }
    the_commit_counts();
    the_ring_is_full();
    return t_end();
}
