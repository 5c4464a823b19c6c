/*
 * System calls of this process that fail on command: the k-th of a kind, or the
 * k-th and all after it, whichever thread makes it, twal's own included.
 *
 * A program linked with this has its own pwritev2(), fsync(), mmap() and so on,
 * which stand before the C library's for the library under test too, shared or
 * static.  A write or flush that goes through io_uring is spoiled in the ring: the
 * kernel gets an entry that it must fail, and the answer is changed into the
 * error asked for; so what is linked behind it is cancelled, as ever.
 *
 * Nothing is counted but on command, and nothing that the test itself does
 * between t_fault_aside(true) and t_fault_aside(false) on the same thread.
 */
#ifndef TWAL_C_TESTS_FAULT_CALLS_H
#define TWAL_C_TESTS_FAULT_CALLS_H

#include <stdbool.h>
#include <stdint.h>

typedef enum t_fault_kind {
    T_FAULT_WRITE,
    T_FAULT_FLUSH,
    T_FAULT_ALLOCATE, /* fallocate, ftruncate */
    T_FAULT_RENAME,
    T_FAULT_REMOVE,
    T_FAULT_OPEN,
    T_FAULT_READ,
    T_FAULT_LIST,     /* a directory's next names */
    T_FAULT_STAT,     /* statx, fstat, fstatat, fstatfs */
    T_FAULT_LOCK,     /* flock, and fcntl for locks */
    T_FAULT_MMAP,
    T_FAULT_MEMORY,   /* malloc and its like, from 16 KiB on */
    T_FAULT_THREAD,
    T_FAULT_EVENTFD,  /* and a duplicate of a descriptor */
    T_FAULT_RING,     /* io_uring_setup, io_uring_register */
    T_FAULT_ENTER,    /* io_uring_enter */
    T_FAULT_RANDOM,
    T_FAULT_IOCTL,
    T_FAULT_SEEK,
    T_FAULT_KINDS
} t_fault_kind;

/* Instead of an errno. */
enum { T_FAULT_SHORT = 10001, /* moves half, in whole blocks */
       T_FAULT_NOTHING = 10002 /* moves nothing, and calls it a success */ };

/* From now on the k-th call of that kind (1 is the next) fails with `how`; with
 * `on`, all after it too.  k 0: only counts. */
void t_fault_arm(t_fault_kind kind, uint64_t k, int how, bool on);
void t_fault_disarm(void);

/* Calls that the armed fault could have hit, and those that it did. */
uint64_t t_fault_calls(void);
uint64_t t_fault_hits(void);

void t_fault_aside(bool aside);

/* What is told, if something is set here before the first call: writes that came back, durable by themselves or not;
 * flushes; names that changed in a directory; a thread that is about to be started.  From any thread. */
typedef enum t_call_seen {
    T_SEEN_WRITE,
    T_SEEN_DURABLE_WRITE,
    T_SEEN_FLUSH,
    T_SEEN_NAMES,
    T_SEEN_THREAD
} t_call_seen;
extern void (*t_watch)(t_call_seen what, int fd, const void *data, uint64_t len);

#endif
