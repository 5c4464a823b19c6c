/*
 * Goal: a follower's files are the source's to the byte; it takes the very next
 * piece of its own log and nothing else; its position survives; it is no log
 * before it is promoted, and one that is written on afterwards.
 * Method: both sides in one process; whole files are compared.
 */
#include "helpers.h"

/* Everything durable, from where the sink is; the number of pieces. */
static int ship(twal_log *log, twal_sink *sink)
{
    twal_ship_position from = t_sink_position(sink);
    twal_ship_piece piece = TWAL_SHIP_PIECE_INIT;
    twal_source *source;
    int more, count = 0;
    t_ok(twal_source_open(log, &from, &source));
    while ((more = twal_source_next(source, 0, &piece)) == 1) {
        /* At an address that no device likes. */
        char *odd = malloc(piece.len + 1);
        memcpy(odd + 1, piece.data, piece.len);
        piece.data = odd + 1;
        t_ok(twal_sink_write(sink, &piece));
        free(odd);
        count++;
    }
    t_equal(more, 0);
    t_ok(twal_sink_sync(sink));
    twal_source_close(source);
    return count;
}

/* Each file of the copy is the source's; of the newest, what the position says. */
static void expect_same(const char *dir, const char *copy, const twal_ship_position *position)
{
    size_t count;
    t_await_renames(dir);
    t_segment *segments = t_segments(copy, &count);
    t_check(count > 0);
    for (size_t i = 0; i < count; i++) {
        size_t len, copied;
        char *original = t_file_read(t_segment_at(dir, segments[i].index).path, &len);
        char *bytes = t_file_read(segments[i].path, &copied);
        t_equal(len, copied);
        if (segments[i].index == position->index)
            len = position->offset;
        t_check(memcmp(original, bytes, len) == 0);
    }
    t_equal(segments[count - 1].index, position->index);
}

/* Segments of all kinds: full, early, released, and files that had a life before. */
static twal_log *varied(const char *dir)
{
    twal_options options = t_options_small();
    options.max_retained_segments = 1;
    twal_log *log = t_open(dir, &options);
    t_append_many(log, 300, 1000);
    t_ok(twal_trim(log, 300));
    t_append_many(log, 200, 1000);
    t_ok(twal_roll(log));
    t_append_many(log, 2, 30000);
    t_ok(twal_roll(log));
    t_append_many(log, 20, 100);
    t_check(t_stats(log).segments_recycled > 0);
    t_await_renames(dir);
    return log;
}

static void same_files(void)
{
    const char *dir = t_path("source"), *copy = t_path("copy");
    twal_log *log = varied(dir);
    twal_sink *sink = t_sink_open(copy);
    t_equal(t_sink_position(sink).index, 0);
    t_check(ship(log, sink) > 5);
    twal_ship_position here = t_sink_position(sink);
    expect_same(dir, copy, &here);
    t_equal(here.last_seq, twal_durable_seq(log));

    /* Closed and opened it is where it was. */
    t_ok(twal_sink_close(sink));
    sink = t_sink_open(copy);
    twal_ship_position again = t_sink_position(sink);
    t_check(memcmp(&here, &again, sizeof here) == 0);

    /* A follower's directory is nobody's log to be written; what it has can be read and checked all the same. */
    twal_options options = t_options();
    twal_verify_report read = TWAL_VERIFY_REPORT_INIT;
    t_ok(twal_verify(copy, &options, NULL, NULL, &read));
    t_check(read.segments >= 2 && read.last_good_seq == here.last_seq);
    twal_log *follower;
    options.flags |= TWAL_OPEN_READ_ONLY;
    t_ok(twal_open(copy, &options, &follower));
    t_equal(twal_durable_seq(follower), here.last_seq);
    t_close(follower);

    /* From a reader's handle, with the writer gone, all of it. */
    uint64_t last = twal_last_seq(log);
    t_close(log);
    log = t_open_read_only(dir);
    ship(log, sink);
    here = t_sink_position(sink);
    expect_same(dir, copy, &here);
    t_equal(here.last_seq, last);
    t_close(log);

    /* Promoted it is a log, and the old one's pieces are foreign to a follower of it. */
    t_ok(twal_sink_promote(sink));
    t_code(twal_sink_sync(sink), TWAL_E_STATE);
    t_ok(twal_sink_close(sink));
    options = t_options();
    t_ok(twal_verify(copy, &options, NULL, NULL, NULL));
    t_code(twal_sink_open(copy, NULL, &sink), TWAL_E_STATE);
    log = t_open(copy, &options);
    t_equal(twal_last_seq(log), last);
    t_append_many(log, 50, 1000);
    twal_sink *fresh = t_sink_open(t_path("fresh"));
    ship(log, fresh);
    here = t_sink_position(fresh);
    expect_same(copy, t_path("fresh"), &here);
    t_close(log);
    log = t_open_read_only(dir);
    twal_source *source;
    t_code(twal_source_open(log, &here, &source), TWAL_E_STATE);
    t_check(strstr(t_last_error().text, "history") != NULL);
    t_close(log);
    t_ok(twal_sink_close(fresh));
}

static void only_the_next(void)
{
    const char *dir = t_path("one"), *other = t_path("other");
    twal_options options = t_options_small();
    twal_log *log = t_open(dir, &options), *foreign = t_open(other, &options);
    t_append_many(log, 200, 1000);
    t_append_many(foreign, 200, 1000);
    twal_sink *sink = t_sink_open(t_path("follower"));
    twal_source *source, *from_foreign;
    twal_ship_piece piece = TWAL_SHIP_PIECE_INIT, wrong;
    t_ok(twal_source_open(log, NULL, &source));
    t_ok(twal_source_open(foreign, NULL, &from_foreign));
    t_equal(twal_source_next(source, 0, &piece), 1);
    t_ok(twal_sink_write(sink, &piece));
    t_code(twal_sink_write(sink, &piece), TWAL_E_EXISTS);
    t_equal(twal_source_next(from_foreign, 0, &piece), 1);
    t_code(twal_sink_write(sink, &piece), TWAL_E_STATE);
    t_check(strstr(t_last_error().text, "log") != NULL);
    int count = 0;
    uint64_t sum = t_dir_sum(t_path("follower"));
    while (twal_source_next(source, 0, &piece) == 1) {
        for (int field = 0; field < 6; field++) {
            wrong = piece;
            if (field == 0)
                wrong.offset += 4096;
            if (field == 1)
                wrong.crc ^= 1;
            if (field == 2)
                wrong.salt[0] ^= 1;
            if (field == 3)
                wrong.last_seq++;
            if (field == 4)
                wrong.len /= 2;
            if (field == 5)
                wrong.index++;
            if (field == 4 && piece.len == 0)
                continue;
            int code = twal_sink_write(sink, &wrong);
            t_check(code == TWAL_E_CORRUPT || code == TWAL_E_NOTFOUND || code == TWAL_E_STATE);
        }
        t_equal(t_dir_sum(t_path("follower")), sum);
        t_ok(twal_sink_write(sink, &piece));
        sum = t_dir_sum(t_path("follower"));
        count++;
    }
    t_check(count > 6);

    /* A second one that begins in the middle. */
    twal_sink *late = t_sink_open(t_path("late"));
    twal_source_close(source);
    twal_ship_position here = t_sink_position(sink);
    t_append_many(log, 5, 100);
    t_ok(twal_sink_sync(sink));
    here = t_sink_position(sink);
    t_ok(twal_source_open(log, &here, &source));
    t_equal(twal_source_next(source, 0, &piece), 1);
    t_code(twal_sink_write(late, &piece), TWAL_E_NOTFOUND);
    t_code(twal_sink_promote(late), TWAL_E_STATE);
    twal_source_close(from_foreign);
    t_close(log);
    t_code(twal_source_next(source, 0, &piece), TWAL_E_CLOSED);
    twal_source_close(source);
    t_close(foreign);
    t_ok(twal_sink_close(sink));
    t_ok(twal_sink_close(late));
}

/* A source that waits is woken by a record, and by a close. */
static void *append_soon(void *log)
{
    t_pause();
    t_append_many(log, 1, 100);
    return NULL;
}

static void *close_soon(void *log)
{
    t_pause();
    t_close(log);
    return NULL;
}

static void waits(void)
{
    twal_options options = t_options_small();
    twal_log *log = t_open(t_path("waits"), &options);
    twal_source *source;
    twal_ship_piece piece = TWAL_SHIP_PIECE_INIT;
    int fd;
    t_ok(twal_source_open(log, NULL, &source));
    t_ok(twal_eventfd(log, &fd));
    while (twal_source_next(source, 0, &piece) == 1) {
    }
    pthread_t thread = t_thread(append_soon, log);
    while (piece.last_seq == 0)
        t_equal(twal_source_next(source, -1, &piece), 1);
    t_equal(piece.last_seq, 1);
    t_join(thread);
    t_check(t_readable(fd, T_PATIENCE_MS)); /* and an event loop would have known */
    close(fd);
    thread = t_thread(close_soon, log);
    int code;
    while ((code = twal_source_next(source, -1, &piece)) == 1) {
    }
    t_equal(code, TWAL_E_CLOSED);
    t_join(thread);
    twal_source_close(source);
}

int main(void)
{
    t_begin();
    same_files();
    only_the_next();
    waits();
    return t_end();
}
