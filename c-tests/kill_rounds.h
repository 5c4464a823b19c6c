/*
 * Rounds of killing a writer, for the kill_*.c tests.
 *
 * A child opens the log and appends from several threads; whatever twal
 * acknowledges as durable goes through a pipe to the parent, which outlives the
 * child.  At a random moment, from before the open to long after, the parent
 * kills the child, reads the pipe to its end, and opens the log:
 *
 * In some rounds of a mixed plan the next opener does not wait for that: it asks
 * again and again while the writer still lives, gets TWAL_E_LOCKED, and takes
 * over the moment the writer is dead.
 *
 *   every acknowledged record is there, with exactly its content;
 *   numbers have no gap, and each thread's records come in its order, with no
 *     gap and no repetition: nothing is invented;
 *   a batch is whole or not there at all;
 *   what an open reported is there at every later one.
 *
 * One directory lives through several lives; in each, the records name the life.
 */
#ifndef TWAL_C_TESTS_KILL_ROUNDS_H
#define TWAL_C_TESTS_KILL_ROUNDS_H

#include "helpers.h"

typedef struct t_kill_plan {
    const char *name;      /* of the directory */
    uint32_t engine;
    uint32_t durability;   /* in GROUP and ASYNC, durable_seq is what acknowledges */
    int rounds;
    int lives;             /* of one directory */
    int threads;           /* at most 8 */
    uint64_t segment_size;
    uint64_t record_len_max;
    size_t batch_max;      /* entries; 1: single records only */
    bool reserve;          /* single records are reserved, filled and committed */
    bool trim;             /* a thread releases the older half now and then */
    uint64_t kill_us_max;
    bool mixed;            /* each life draws engine, mode, threads and ways of its own */
    const char *place;     /* where the directories lie; NULL: in the scratch directory */
    uint32_t open_flags;
    uint64_t seconds;      /* not 0: rounds for as long, whatever `rounds` says */
} t_kill_plan;

/* Runs the rounds; skips nothing: the engine must be there. */
void t_kill_rounds(const t_kill_plan *plan);

/* The same with each engine that works here, whatever `engine` says. */
void t_kill_rounds_of_each_engine(const t_kill_plan *plan);

/* Rounds with everything mixed, below `place`: a few, or $TWAL_SOAK_SECONDS of
 * them, as "make soak-kill" has it. */
void t_kill_mixed(const char *place, uint32_t open_flags);

#endif
