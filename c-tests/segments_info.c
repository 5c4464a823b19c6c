/*
 * Goal: twal_segments() tells each segment's state, numbers, sizes and who holds it back, as many as fit and how many
 * there are; and it writes no byte beyond what the caller's structs have, of whatever release they are.  Beside
 * appends it tells of one moment.
 */
#include "helpers.h"

#include <stdatomic.h>

#define LEN 6000

static void expect(const twal_segment *segment, uint64_t index, uint32_t state, uint32_t held_by, const char *hold)
{
    char path[800];
    t_equal(segment->index, index);
    t_equal(segment->state, state);
    t_equal(segment->held_by, held_by);
    t_check(!strcmp(segment->hold, hold));
    snprintf(path, sizeof path, "%s/%s", t_path("log"), segment->file);
    t_equal(segment->size, t_file_size(path));
    t_equal(segment->size, 64 * T_KIB);
    t_check(segment->room >= segment->size && segment->created_ns > 0);
    t_equal(segment->generation, 0);
}

static void of_each(const twal_log *log)
{
    twal_segment all[8] = { TWAL_SEGMENT_INIT };
    size_t count = 0;
    t_ok(twal_segments(log, all, 8, &count));
    t_equal(count, 5);
    expect(&all[0], 1, TWAL_SEGMENT_ARCHIVED, TWAL_HELD_BY_RETENTION, "");
    expect(&all[1], 2, TWAL_SEGMENT_SEALED, TWAL_HELD_BY_NOBODY, "");
    expect(&all[2], 3, TWAL_SEGMENT_SEALED, TWAL_HELD_BY_HOLD, "snapshot");
    expect(&all[3], 4, TWAL_SEGMENT_SEALED, TWAL_HELD_BY_HOLD, "snapshot");
    expect(&all[4], 5, TWAL_SEGMENT_ACTIVE, TWAL_HELD_BY_WRITER, "");
    for (size_t n = 0; n < 4; n++) {
        t_equal(all[n].first_seq, 5 * n + 1);
        t_equal(all[n].last_seq, 5 * n + 5);
    }
    t_equal(all[4].first_seq, 21);
    t_equal(all[4].last_seq, twal_last_seq(log));
    t_equal(all[5].index, 0);
}

/* Structs of an earlier or a later release: each is as large as the first one says. */
static void of_other_sizes(twal_log *log)
{
    static const size_t sizes[] = { sizeof(twal_segment), sizeof(twal_segment) + 8, 4096 };
    for (size_t n = 0; n < sizeof sizes / sizeof *sizes; n++) {
        size_t size = sizes[n], count = 0;
        unsigned char *room = malloc(3 * size); /* two fit; the third is not ours to touch */
        t_check(room);
        memset(room, 0x55, 3 * size);
        memcpy(room, &(uint64_t){ size }, 8);
        t_ok(twal_segments(log, (twal_segment *)(void *)room, 2, &count));
        t_equal(count, 5);
        for (uint64_t at = 0; at < 2; at++) {
            const twal_segment *segment = (const twal_segment *)(const void *)(room + at * size);
            t_equal(segment->struct_size, size);
            t_equal(segment->index, at + 1);
            for (size_t byte = sizeof *segment; byte < size; byte++)
                t_equal(room[at * size + byte], 0);
        }
        for (size_t byte = 2 * size; byte < 3 * size; byte++)
            t_equal(room[byte], 0x55);
        free(room);
    }
    size_t count = 7;
    twal_segment one = TWAL_SEGMENT_INIT;
    t_ok(twal_segments(log, NULL, 0, &count));
    t_equal(count, 5);
    t_code(twal_segments(log, NULL, 1, &count), TWAL_E_INVAL);
    t_code(twal_segments(log, &one, 1, NULL), TWAL_E_INVAL);
    t_code(twal_segments(NULL, &one, 1, &count), TWAL_E_INVAL);
    one.struct_size = 168;
    t_code(twal_segments(log, &one, 1, &count), TWAL_E_INVAL);
    one.struct_size = sizeof one;
    t_code(twal_segments(log, &one, SIZE_MAX / 8, &count), TWAL_E_INVAL);
    t_equal(count, 5);
}

static atomic_bool rolling;

static void *roll_on(void *log)
{
    while (atomic_load(&rolling)) {
        t_append(log, 100, 1, 1, TWAL_APPEND_NO_SYNC);
        t_ok(twal_roll(log));
        t_ok(twal_trim(log, twal_durable_seq(log)));
    }
    return NULL;
}

/* However fast it rolls: numbers without a gap, and the newest one is being written, from here and from elsewhere. */
static void of_one_moment(const char *dir)
{
    twal_options options = t_options_small();
    twal_log *log = t_open(dir, &options);
    t_append_many(log, 1, 10);
    twal_log *reader = t_open_read_only(dir);
    atomic_store(&rolling, true);
    pthread_t thread = t_thread(roll_on, log);
    for (int n = 0; n < 300 / (int)t_thin(); n++) {
        twal_segment all[80] = { TWAL_SEGMENT_INIT };
        size_t count = 0;
        t_ok(twal_segments(n % 2 ? reader : log, all, 80, &count));
        t_check(count >= 1 && count <= 80);
        for (size_t at = 0; at < count; at++) {
            t_check((all[at].state == TWAL_SEGMENT_ACTIVE) == (all[at].held_by == TWAL_HELD_BY_WRITER));
            t_check(at == 0 || all[at].index > all[at - 1].index);
        }
        t_equal(all[count - 1].state, TWAL_SEGMENT_ACTIVE);
    }
    atomic_store(&rolling, false);
    t_join(thread);
    t_close(reader);
    t_close(log);
}

int main(void)
{
    t_begin();
    of_one_moment(t_path("rolling"));
    twal_options options = t_options_small_quiet();
    twal_log *log = t_open(t_path("log"), &options);
    for (int n = 0; n < 3; n++) {
        t_append_many(log, 5, LEN);
        t_ok(twal_roll(log));
    }
    t_append_many(log, 5, LEN);
    t_ok(twal_hold_set(log, "snapshot", 12)); /* ends the fourth segment */
    t_ok(twal_hold_set(log, "follower", 18));
    t_append_many(log, 2, LEN);
    t_ok(twal_trim(log, 8));
    of_each(log);
    twal_log *reader = t_open_read_only(t_path("log"));
    of_each(reader);
    t_close(reader);
    of_other_sizes(log);

    /* Who reads what nothing else holds. */
    twal_iter_options snapshot = TWAL_ITER_OPTIONS_INIT;
    snapshot.flags = TWAL_ITER_SNAPSHOT;
    twal_segment held[8] = { TWAL_SEGMENT_INIT };
    size_t held_count;
    twal_iter *reading = NULL;
    t_ok(twal_iter_open(log, &snapshot, &reading));
    t_ok(twal_segments(log, held, 8, &held_count));
    t_equal(held[1].held_by, TWAL_HELD_BY_READER);
    t_equal(held[2].held_by, TWAL_HELD_BY_HOLD);
    twal_iter_close(reading);
    of_each(log);

    /* Released beyond what is kept, while somebody reads it. */
    t_close(log);
    options.max_retained_segments = 1;
    log = t_open(t_path("log"), &options);
    twal_iter *iter = NULL;
    twal_record record;
    twal_segment first = TWAL_SEGMENT_INIT;
    size_t count;
    t_ok(twal_recover_iter(log, 6, &iter));
    t_equal(twal_iter_next(iter, &record), 1);
    t_close(log);
    options.max_retained_segments = 64;
    log = t_open(t_path("log"), &options);
    t_ok(twal_trim(log, 11));
    t_ok(twal_hold_drop(log, "snapshot"));
    t_ok(twal_trim(log, 16));
    options.max_retained_segments = 1;
    options.flags = TWAL_OPEN_READ_ONLY;
    reader = t_open(t_path("log"), &options);
    twal_segment all[8] = { TWAL_SEGMENT_INIT };
    t_ok(twal_segments(reader, all, 8, &count));
    t_equal(all[0].held_by, TWAL_HELD_BY_NOBODY);
    t_equal(all[1].held_by, TWAL_HELD_BY_READER);
    t_equal(all[2].held_by, TWAL_HELD_BY_RETENTION);
    t_equal(all[3].held_by, TWAL_HELD_BY_HOLD);
    twal_iter_close(iter);
    t_ok(twal_segments(reader, all, 8, &count));
    t_equal(all[1].held_by, TWAL_HELD_BY_NOBODY);
    t_ok(twal_segments(reader, &first, 1, &count));
    t_equal(first.index, 1);
    t_close(reader);
    t_close(log);
    return t_end();
}
