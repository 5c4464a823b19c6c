/*
 * Participants in processes of their own, and what a coordinator asks of them.
 *
 * Each keeps a state file: one entry an effect, written with one write(), so that an effect is there with its token or
 * not at all.  It forgets the tokens of an operation that it is told has ended.  It dies at random, before and after what it does, and is started anew by whoever waits for children; the
 * socket that it listens at is its parent's, so who asks meanwhile waits.  What it answers to a new request (a vote, a
 * step that fails) follows from the seed and the request: the same before and after any crash.
 */
#ifndef TWAL_C_TESTS_TXN_PARTICIPANT_H
#define TWAL_C_TESTS_TXN_PARTICIPANT_H

#include "txn_helpers.h"

#define PARTICIPANTS 3
#define STEPS 4
/* Asked for instead of a twal_direction: the operation has ended, its tokens can be forgotten. */
#define FORGET 7

/* An effect, as it is asked for and as it stands in the state file. */
typedef struct effect {
    uint8_t token[16];
    uint64_t id;
    uint32_t kind, direction;
    uint32_t part; /* step or shard */
    uint32_t sum;  /* of the others: a torn entry is found */
} effect;

typedef struct crew {
    int sockets[PARTICIPANTS];
    pid_t pids[PARTICIPANTS];
    const char *states[PARTICIPANTS];
    uint64_t births, forgets, calm; /* forgets: they do not remember tokens; calm: they do not die */
} crew;

/* Makes the sockets, in this process, and starts everybody. */
void crew_start(crew *crew, const char *name, bool forgets);

/* Starts anew who was killed; true if this child was one of them. */
bool crew_restart(crew *crew, pid_t child);

/* Ends everybody. */
void crew_end(crew *crew);

/* The answer of participant `at`: one of twal_outcome; TWAL_RETRY if it died. */
int crew_ask(const crew *crew, size_t at, effect effect);

/* Whether this part is going to vote abort, or to fail. */
bool part_fails(uint32_t kind, uint64_t id, uint32_t part);

/* Every effect in a state file; freed by the caller. */
effect *effects_of(const char *state, size_t *count_out);

#endif
