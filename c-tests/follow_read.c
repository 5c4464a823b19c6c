/*
 * Goal: a follower's copy is read beside its sink in another process, which is killed at random: a reader gets the
 * source's records, in order, each once; all that the sink has said is durable, and nothing that a sink that comes
 * back does not have.  Promoted, the copy goes on to be read as the log that it is.
 * Method: the source appends and gives nothing back; one child after the other ships to the copy; the same reader
 * stays through all of them, by waiting and by eventfd, and in each round another one begins anew.
 */
#include "helpers.h"

#include <poll.h>
#include <sys/mman.h>

#define LEN 1500
#define ROUNDS 8

static const char *dir, *copy;

/* The last number that a sink has said is durable. */
static _Atomic uint64_t *told;

/* Ships until it is killed. */
static void follow(void *arg)
{
    t_random random = t_random_new((uintptr_t)arg);
    twal_log *log = t_open_read_only(dir);
    twal_sink *sink = t_sink_open(copy);
    twal_ship_position from = t_sink_position(sink);
    twal_ship_piece piece = TWAL_SHIP_PIECE_INIT;
    twal_source *source;
    t_ok(twal_source_open(log, &from, &source));
    for (;;) {
        int more = twal_source_next(source, 1000000, &piece);
        t_check(more >= 0);
        if (more == 1)
            t_ok(twal_sink_write(sink, &piece));
        if (more == 0 || t_random_below(&random, 3) == 0) {
            t_ok(twal_sink_sync(sink));
            *told = t_sink_position(sink).last_seq;
        }
    }
}

/* What iter has by now is the source's, in order; the last number. */
static uint64_t read_on(twal_iter *iter, uint64_t last)
{
    twal_record record;
    int more;
    while ((more = twal_iter_next(iter, &record)) == 1) {
        t_equal(record.seq, last + 1);
        t_record_of_many(&record, &(size_t){ LEN });
        last = record.seq;
    }
    t_equal(more, 0);
    return last;
}

static twal_log *open_copy(void)
{
    twal_options options = t_options();
    twal_log *log = NULL;
    options.flags |= TWAL_OPEN_READ_ONLY;
    /* Until something has come. */
    t_await(twal_open(copy, &options, &log) == TWAL_OK, T_PATIENCE_MS);
    return log;
}

int main(void)
{
    t_begin();
    dir = t_path("log");
    copy = t_path("copy");
    told = mmap(NULL, sizeof *told, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    t_check(told != MAP_FAILED);
    t_waiting children[ROUNDS];
    const unsigned rounds = t_thin() > 1 ? 2 : ROUNDS;
    for (uintptr_t round = 0; round < rounds; round++)
        children[round] = t_fork_early(follow, (void *)(round + 1));
    twal_options options = t_options_small();
    twal_log *log = t_open(dir, &options), *reader = NULL;
    twal_iter *iter = NULL;
    uint64_t last = 0;
    struct pollfd event = { .fd = -1, .events = POLLIN };
    t_random random = t_random_new(0);
    for (unsigned round = 0; round < rounds; round++) {
        uint64_t goal = last + 30 + t_random_below(&random, 60);
        pid_t child = t_go(&children[round]);
        while (twal_last_seq(log) < goal + 5)
            t_append_many(log, 1, LEN);
        if (reader == NULL) {
            reader = open_copy();
            t_ok(twal_recover_iter(reader, 0, &iter));
            t_ok(twal_eventfd(reader, &event.fd));
            t_code(twal_hold_set(reader, "mine", 0), TWAL_E_STATE);
        }
        while ((last = read_on(iter, last)) < goal) {
            uint64_t count;
            t_append_many(log, t_random_below(&random, 4), LEN);
            t_check(poll(&event, 1, T_PATIENCE_MS) == 1);
            t_check(read(event.fd, &count, sizeof count) == sizeof count);
        }
        twal_log *another = open_copy();
        t_kill_child(child);

        /* All that was told is there for whoever is here, and for who comes; what they got stays. */
        uint64_t durable = *told;
        t_await((last = read_on(iter, last)) >= durable, T_PATIENCE_MS);
        t_seen seen;
        t_equal(t_read(another, 0, &seen, t_record_of_many, &(size_t){ LEN }), 0);
        t_check(seen.first == 1 && seen.last >= durable);
        t_close(another);
        twal_sink *sink = t_sink_open(copy);
        uint64_t found = t_sink_position(sink).last_seq;
        t_check(found >= last && found >= seen.last && found >= durable);
        t_ok(twal_sink_close(sink));
        t_await((last = read_on(iter, last)) >= found, T_PATIENCE_MS);
        t_equal(last, found);
        t_equal(twal_durable_seq(reader), found);
    }
    t_close(log);

    /* Promoted, and written on: the same reader goes on. */
    options = t_options_small();
    t_code(twal_open(copy, &options, &log), TWAL_E_STATE);
    twal_sink *sink = t_sink_open(copy);
    t_ok(twal_sink_promote(sink));
    t_ok(twal_sink_close(sink));
    log = t_open(copy, &options);
    t_append_many(log, 100, LEN);
    uint64_t end = twal_last_seq(log);
    t_equal(end, last + 100);
    while (last < end) {
        twal_record record;
        t_equal(twal_iter_wait(iter, (int64_t)T_PATIENCE_MS * 1000000, &record), 1);
        t_equal(record.seq, last + 1);
        t_record_of_many(&record, &(size_t){ LEN });
        last++;
    }
    t_close(log);
    twal_iter_close(iter);
    close(event.fd);
    t_close(reader);
    return t_end();
}
