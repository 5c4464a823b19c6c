/*
 * Logs with a known layout, for the tests that damage files.
 *
 * One thread appends in SYNC, so each record is a frame of its own, on fresh
 * blocks; the process dies without closing, and no idle mark comes: the last
 * frame is the last thing on the disk, and nothing witnesses it.
 */
#ifndef TWAL_C_TESTS_CRASHED_H
#define TWAL_C_TESTS_CRASHED_H

#include "helpers.h"

#define T_BLOCK 4096

/* Records 1 to `count` of `len` bytes as t_append_many() makes them.  Rolls
 * after each `per_segment` records; 0: never. */
void t_make_crashed(const char *dir, uint64_t count, size_t len, uint64_t per_segment);

/* The same, but closed: the end is marked. */
void t_make_closed(const char *dir, uint64_t count, size_t len, uint64_t per_segment);

/* Where the frame with record `seq` lies: in which file, from which block, and
 * where its payload begins and ends. */
typedef struct t_frame {
    t_segment segment;
    uint64_t block, payload, payload_end, end; /* end: of its last block */
} t_frame;
t_frame t_find_frame(const char *dir, uint64_t seq, size_t len);

/* Opens for writing, which must be refused with TWAL_E_CORRUPT, change nothing
 * in the segments, and be refused again. */
void t_refused(const char *dir, uint32_t flags);

/*
 * Opens for reading, which must work; reads from the start: at least
 * 1..must_have, at most `may_have`, all of them right, and then TWAL_E_CORRUPT,
 * again and again.  Changes nothing.  Returns the last error's detail.
 */
twal_error t_damaged_reads(const char *dir, uint64_t must_have, uint64_t may_have, size_t len);

#endif
