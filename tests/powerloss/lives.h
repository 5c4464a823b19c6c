/*
 * What the programs share that use a log on the disk that notes everything:
 *
 *   PROGRAM write LOG MARKS SEED FIRST_LIFE CALLS [eager]
 *   PROGRAM check LOG MARKS SEED LIFE
 *
 * write: lives from the seed, until about CALLS calls were made.  Each is a
 * process that opens what lies at LOG, uses it, and closes it or ends without
 * that.  "eager" is the canary: it notes promises that were not given.
 *
 * check: every promise that MARKS notes is kept; then there is one more life,
 * and everything holds again.
 *
 * A mark is one write(), so marks stand in the order of what happened, between
 * the writes and flushes of the disk.
 */
#ifndef TWAL_POWERLOSS_LIVES_H
#define TWAL_POWERLOSS_LIVES_H

#include "helpers.h"

struct program {
    void (*live)(const char *dir, uint64_t life, uint64_t calls, bool may_end);
    void (*read_mark)(const char *line);
    void (*check)(const char *dir, uint64_t life); /* its marks are read */
};

/* main(): does what the arguments say. */
int run_program(int argc, char **argv, const struct program *program);

extern uint64_t seed;
extern bool eager;

/* Notes a line, a promise behind the call that gave it. */
__attribute__((format(printf, 1, 2))) void mark(const char *format, ...);

/* One more life, its promises behind those that were read. */
void live_once_more(const struct program *program, const char *dir, uint64_t life, uint64_t calls);

/* ---- who wrote a record ---- */

/* Of the seed, so that nothing of another run is taken for ours. */
uint64_t writer_of(uint64_t life, uint64_t thread);
uint64_t life_of(uint64_t writer);
bool is_of_this_run(uint64_t writer);

/* ---- a life ---- */

/* Opens the log with options drawn at random, which the caller may look at. */
twal_log *open_somehow(const char *dir, t_random *random, twal_options *options_out);

/* A number of bytes for a payload, at most len_max. */
uint64_t some_len(t_random *random, uint64_t len_max);

#define THREADS_MAX 4

/* Runs threads of a life, whose numbers go from 0 on, until *calls_left is used
 * up.  If it may, and the third chance of three says so, ends the process with
 * all of them inside twal; if the second, after them, without closing. */
void run_threads(void *(*use)(void *), void *const args[], uint64_t count, int64_t *calls_left, bool may_end, t_random *random);

/* ---- judging ---- */

/* The condition holds, else the judge ends with this text. */
#define say_check(expression, ...) \
    do { \
        if (!(expression)) \
            t_fail(__FILE__, __LINE__, __VA_ARGS__); \
    } while (0)

#endif
