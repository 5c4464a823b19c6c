/*
 * What the C tests share: checks, scratch directories, seeded chance, payloads
 * that give away where they came from, children, and files of a log seen from
 * outside.
 *
 * A test is a program: exit status 0 is passed, 1 failed, 77 skipped.  It knows
 * twal by its header and by what the documentation promises, and nothing about
 * the inside: where a frame lies in a file is found by looking for its payload.
 *
 * Every helper that can fail ends the test, so tests read as a story.
 */
#ifndef TWAL_C_TESTS_HELPERS_H
#define TWAL_C_TESTS_HELPERS_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

#include <twal.h>

#define T_KIB ((uint64_t)1 << 10)
#define T_MIB ((uint64_t)1 << 20)

/* Longest time that anything without a promised time may take. */
#define T_PATIENCE_MS 60000

/* ---- begin and end ---- */

/* First call of every test: scratch directory, seed, output line by line. */
void t_begin(void);

/* Last call: removes the scratch directory; the value is main's. */
int t_end(void);

/* Ends the test as skipped, with the reason. */
_Noreturn void t_skip(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Ends the test (or the child) as failed; leaves the scratch directory. */
_Noreturn void t_fail(const char *file, int line, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Memory that is freed at the end of the test. */
void *t_keep(size_t size);

/* ---- checks ---- */

/* True, else the test fails and shows the expression and twal's last error. */
#define t_check(expression) \
    do { \
        if (!(expression)) \
            t_fail(__FILE__, __LINE__, "%s", #expression); \
    } while (0)

/* Two numbers are the same; both are shown if not. */
#define t_equal(got, want) \
    t_equal_at(__FILE__, __LINE__, #got, (uint64_t)(got), #want, (uint64_t)(want))
void t_equal_at(const char *file, int line, const char *got_text, uint64_t got,
                const char *want_text, uint64_t want);

/* The call returns TWAL_OK. */
#define t_ok(call) t_code_at(__FILE__, __LINE__, #call, (call), TWAL_OK)

/* The call returns this code, and twal_last_error() has the same one. */
#define t_code(call, code) t_code_at(__FILE__, __LINE__, #call, (call), (code))
void t_code_at(const char *file, int line, const char *call, int got, int want);

/* The condition becomes true within ms.  Looks every millisecond. */
#define t_await(condition, ms) \
    do { \
        uint64_t t_deadline_ = t_now_ns() + (uint64_t)(ms) * 1000000; \
        while (!(condition)) { \
            if (t_now_ns() > t_deadline_) \
                t_fail(__FILE__, __LINE__, "not within %d ms: %s", (int)(ms), #condition); \
            t_pause(); \
        } \
    } while (0)

uint64_t t_now_ns(void); /* monotonic */
void t_pause(void);      /* a millisecond, inside t_await and its like */

/* Of how many rounds one is enough: 5 under valgrind, which looks at what is touched and not at chance; else 1. */
unsigned t_thin(void);

/* ---- chance ---- */

/* The run's seed: $TWAL_SEED, else of the clock.  Printed by t_begin(). */
uint64_t t_seed(void);

typedef struct t_random {
    uint64_t state;
} t_random;

t_random t_random_new(uint64_t salt); /* the seed's own stream number salt */
uint64_t t_random_next(t_random *random);
uint64_t t_random_below(t_random *random, uint64_t limit);
uint64_t t_mix(uint64_t x); /* another number for each, with no pattern in it */

/* ---- payloads ---- */

/*
 * A payload names its writer, its number with that writer and its length, and
 * the rest follows from these: whoever reads it can tell whether it is whole,
 * and whose it is.  A shorter one than T_PAYLOAD_MIN cannot say so much.
 */
#define T_PAYLOAD_MIN 32

void t_payload_head(uint64_t head[4], size_t len, uint64_t writer, uint64_t number); /* its first bytes */
void t_payload_fill(void *data, size_t len, uint64_t writer, uint64_t number);

/* Whole and of anyone: true, and whose it is. */
bool t_payload_read(const void *data, size_t len, uint64_t *writer, uint64_t *number);

/* ---- logs ---- */

/* A path in the scratch directory; valid until the test ends. */
const char *t_path(const char *name);

/* All defaults, but the engine that $TWAL_TEST_ENGINE names (uring, blocking). */
twal_options t_options(void);

/* The same with 64 KiB segments: rolls over soon. */
twal_options t_options_small(void);

/* Nothing is written but what the test asks for: no idle marks, no flush by
 * time in the next hour.  Segments of 1 MiB. */
twal_options t_options_quiet(void);

/* Quiet, with 64 KiB segments: what a segment holds is known, for no mark takes
 * a block of it, however slow the test is. */
twal_options t_options_small_quiet(void);

twal_log *t_open(const char *dir, const twal_options *options);

/* A quiet log of GROUP in the scratch directory: nothing becomes durable but what is asked for. */
twal_log *t_open_quiet(const char *name);
twal_log *t_open_read_only(const char *dir);

/* A follower's copy in this directory, and where it is durable to. */
twal_sink *t_sink_open(const char *dir);
twal_ship_position t_sink_position(twal_sink *sink);
void t_close(twal_log *log);

/* Appends the payload (writer, number) as an entry with these flags. */
uint64_t t_append(twal_log *log, size_t len, uint64_t writer, uint64_t number, uint32_t flags);

/* Appends count records of writer 1, numbered as their seq will be. */
void t_append_many(twal_log *log, uint64_t count, size_t len);

twal_error t_last_error(void);
twal_stats t_stats(const twal_log *log);

/* The whole number behind the name in the metrics' text, on a line of its own that is not the first. */
uint64_t t_metric(const char *text, const char *name);

twal_recovery t_recovery(const twal_log *log);

typedef void t_record_fn(const twal_record *record, void *arg);

/*
 * Reads from a number (0: the oldest) to the end or to an error, and returns
 * what the reader answered last: 0 or the error.  Numbers must follow each
 * other without a gap, whatever came.
 */
typedef struct t_seen {
    uint64_t count, first, last;
} t_seen;
int t_read(twal_log *log, uint64_t from_seq, t_seen *seen, t_record_fn *fn, void *arg);

/* All records from `first` to `last` are there, then the end: exactly as
 * t_append_many() made them. */
void t_expect_many(twal_log *log, uint64_t first, uint64_t last, size_t len);

/* The same through an open of its own, for a log that is closed. */
void t_expect_log(const char *dir, uint64_t first, uint64_t last, size_t len);

/* A record is the one that t_append_many() makes. */
void t_record_of_many(const twal_record *record, void *len);

/* ---- threads and children ---- */

pthread_t t_thread(void *(*run)(void *), void *arg);
void t_join(pthread_t thread); /* fails after T_PATIENCE_MS */
pid_t t_thread_id(void);

/* Returns when that thread of this process sleeps in the kernel, in five looks
 * in a row: it waits for something. */
void t_await_asleep(pid_t thread_id);

/* Neither asleep nor gone. */
bool t_is_running(pid_t thread_id);

/* A child that runs fn(arg) and exits with 0; inside it, checks exit with 1. */
pid_t t_fork(void (*fn)(void *), void *arg);

/* As t_fork(), but fn begins when told by t_go(): for a child that uses memory while this process has threads.  What
 * one of them holds at a fork is held in the child for ever, and only a C library's own allocator makes sure that this is
 * no lock of its heap; AddressSanitizer's does not. */
typedef struct t_waiting {
    pid_t pid;
    int go;
} t_waiting;
t_waiting t_fork_early(void (*fn)(void *), void *arg);
pid_t t_go(t_waiting *child);

/* Waits for a child's end; fails (and kills it) after ms.  The wait status. */
int t_wait_child(pid_t child, int ms);

/* Waits for a child that must exit with 0. */
void t_wait_child_ok(pid_t child);

/* Kills a child with SIGKILL and collects it. */
void t_kill_child(pid_t child);

/* fn(arg) in a child that then kills itself with SIGKILL: a log left as a
 * crash of the process leaves it. */
void t_crash_after(void (*fn)(void *), void *arg);

/* Runs a program to its end; its exit status, or -1 if it could not start. */
int t_run(const char *const argv[]);

/* Whether this engine can be had here: by opening a log with it. */
bool t_engine_works(uint32_t engine);
const char *t_engine_name(uint32_t engine);

/* ---- files of a log: files.c ---- */

typedef struct t_segment {
    uint64_t index, first_seq;
    char state[16]; /* active, sealed, archived */
    char path[512];
} t_segment;

/* The segments of a directory by index; count_out may be NULL.  Freed at the
 * end of the test.  Fails on a twal-* file with a name of no known form. */
t_segment *t_segments(const char *dir, size_t *count_out);
t_segment t_segment_at(const char *dir, uint64_t index);
t_segment t_active(const char *dir); /* the newest, which must be active */
size_t t_count_state(const char *dir, const char *state);
size_t t_count_spares(const char *dir);

/* Returns when what was rolled off has its new name, which the keeper gives it
 * some time after: one segment is named active. */
void t_await_renames(const char *dir);

/* Whatever is in a directory; of /proc/self/fd and /proc/self/task, to see what is left behind. */
size_t t_count_entries(const char *dir);

bool t_exists(const char *path);
uint64_t t_file_size(const char *path);
char *t_file_read(const char *path, size_t *len_out); /* freed at the end */
void t_file_write(const char *path, uint64_t offset, const void *data, size_t len);
void t_file_make(const char *path, const void *data, size_t len);
void t_file_flip(const char *path, uint64_t offset, size_t len); /* every bit */
void t_file_zero(const char *path, uint64_t offset, size_t len);
void t_file_truncate(const char *path, uint64_t len);
void t_file_copy(const char *from, const char *to);
void t_rename(const char *from, const char *to);
void t_remove(const char *path);
void t_dir_copy(const char *from, const char *to); /* files of one level, in place of what was there */
void t_dir_remove(const char *dir);

/* Of names, sizes and contents: all files, or only the segments. */
uint64_t t_dir_sum(const char *dir);
uint64_t t_segments_sum(const char *dir);
uint64_t t_file_sum(const char *path);

/* Where in a file the payload (writer, number) starts; fails if nowhere. */
uint64_t t_file_find(const char *path, size_t len, uint64_t writer, uint64_t number);

/* Where the last block that is not all zero starts. */
uint64_t t_file_last_block(const char *path, uint64_t block_size);

/* ---- faults and descriptors ---- */

/* From here on every write of this process to a file behind its first block
 * fails (EFBIG, which to a log is a failed write); false: no longer. */
void t_fail_writes(bool fail);

/* Whether the descriptor can be read now, or within ms. */
bool t_readable(int fd, int ms);

/* ---- a file system of our own ---- */

/* From here on what this process and its children mount is seen by them only, and
 * gone with them.  Skips the test where that cannot be done. */
void t_private_mounts(void);

/* Mounts a new file system (ext4, xfs, btrfs) of that size in the scratch
 * directory, seen by this process and its children only, and gone with them.
 * Skips the test where that cannot be done. */
const char *t_mount(const char *file_system, uint64_t size);

#endif
