/* See fault_calls.h. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "fault_calls.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <unistd.h>

#define BLOCK 4096
#define MEMORY_MIN (16 << 10)

static atomic_int armed = -1;
static atomic_uint_fast64_t calls, hits;
static uint64_t hit_at;
static int hit_how;
static bool hit_on;
static _Thread_local int aside;

void t_fault_arm(t_fault_kind kind, uint64_t k, int how, bool on)
{
    atomic_store(&calls, 0);
    atomic_store(&hits, 0);
    hit_at = k;
    hit_how = how;
    hit_on = on;
    atomic_store(&armed, (int)kind);
}

void t_fault_disarm(void)
{
    atomic_store(&armed, -1);
}

uint64_t t_fault_calls(void)
{
    return atomic_load(&calls);
}

uint64_t t_fault_hits(void)
{
    return atomic_load(&hits);
}

void t_fault_aside(bool yes)
{
    aside = yes;
}

/* 0: goes on; else how this call is to fail.  `len`: what could be moved. */
static int fault(t_fault_kind kind, size_t len)
{
    if (atomic_load(&armed) != (int)kind || aside)
        return 0;
    if (hit_how == T_FAULT_SHORT && len <= BLOCK)
        return 0;
    uint64_t count = atomic_fetch_add(&calls, 1) + 1;
    if (hit_at == 0 || (hit_on ? count < hit_at : count != hit_at))
        return 0;
    atomic_fetch_add(&hits, 1);
    return hit_how;
}

void (*t_watch)(t_call_seen what, int fd, const void *data, uint64_t len);

static void seen(t_call_seen what, int fd, const void *data, uint64_t len)
{
    int kept = errno;
    if (t_watch)
        t_watch(what, fd, data, len);
    errno = kept;
}

static int flushed(int fd, int result)
{
    if (result == 0)
        seen(T_SEEN_FLUSH, fd, NULL, 0);
    return result;
}

static int named(int dir, int result)
{
    if (result == 0)
        seen(T_SEEN_NAMES, dir, NULL, 0);
    return result;
}

static ssize_t written(int fd, const void *data, ssize_t result, bool durable)
{
    if (result > 0)
        seen(durable ? T_SEEN_DURABLE_WRITE : T_SEEN_WRITE, fd, data, (uint64_t)result);
    return result;
}

static size_t half(size_t len)
{
    return len / 2 / BLOCK * BLOCK > 0 ? len / 2 / BLOCK * BLOCK : BLOCK;
}

/* The C library's own. */
static void *next(const char *name)
{
    return dlsym(RTLD_NEXT, name);
}
#define NEXT(type, name, ...) \
    static type (*real)(__VA_ARGS__); \
    if (!real) \
        *(void **)&real = next(#name)

/* Most calls: an error, or what the C library says. */
#define FAIL_OR(kind, failed, call) \
    do { \
        int how_ = fault(kind, 0); \
        if (how_) { \
            errno = how_; \
            return failed; \
        } \
        return call; \
    } while (0)

/* ---- moving bytes ---- */

ssize_t pwrite(int fd, const void *data, size_t len, off_t offset)
{
    NEXT(ssize_t, pwrite, int, const void *, size_t, off_t);
    int how = fault(T_FAULT_WRITE, len);
    if (how == T_FAULT_SHORT)
        return real(fd, data, half(len), offset);
    if (how == T_FAULT_NOTHING)
        return 0;
    if (how) {
        errno = how;
        return -1;
    }
    return written(fd, data, real(fd, data, len, offset), false);
}

ssize_t pwritev2(int fd, const struct iovec *parts, int count, off_t offset, int flags)
{
    NEXT(ssize_t, pwritev2, int, const struct iovec *, int, off_t, int);
    int how = fault(T_FAULT_WRITE, count == 1 ? parts->iov_len : 0);
    if (how == T_FAULT_SHORT) {
        struct iovec some = { parts->iov_base, half(parts->iov_len) };
        return real(fd, &some, 1, offset, flags);
    }
    if (how == T_FAULT_NOTHING)
        return 0;
    if (how) {
        errno = how;
        return -1;
    }
    return written(fd, parts->iov_base, real(fd, parts, count, offset, flags), flags & RWF_DSYNC);
}

ssize_t pread(int fd, void *data, size_t len, off_t offset)
{
    NEXT(ssize_t, pread, int, void *, size_t, off_t);
    int how = fault(T_FAULT_READ, len);
    if (how == T_FAULT_SHORT)
        return real(fd, data, half(len), offset);
    if (how) {
        errno = how;
        return -1;
    }
    return real(fd, data, len, offset);
}

int fsync(int fd)
{
    NEXT(int, fsync, int);
    FAIL_OR(T_FAULT_FLUSH, -1, flushed(fd, real(fd)));
}

int fdatasync(int fd)
{
    NEXT(int, fdatasync, int);
    FAIL_OR(T_FAULT_FLUSH, -1, flushed(fd, real(fd)));
}

int fallocate(int fd, int mode, off_t offset, off_t len)
{
    NEXT(int, fallocate, int, int, off_t, off_t);
    FAIL_OR(T_FAULT_ALLOCATE, -1, real(fd, mode, offset, len));
}

int ftruncate(int fd, off_t len)
{
    NEXT(int, ftruncate, int, off_t);
    FAIL_OR(T_FAULT_ALLOCATE, -1, real(fd, len));
}

off_t lseek(int fd, off_t offset, int whence)
{
    NEXT(off_t, lseek, int, off_t, int);
    FAIL_OR(T_FAULT_SEEK, -1, real(fd, offset, whence));
}

off64_t lseek64(int fd, off64_t offset, int whence)
{
    NEXT(off64_t, lseek64, int, off64_t, int);
    FAIL_OR(T_FAULT_SEEK, -1, real(fd, offset, whence));
}

/* ---- names ---- */

#define MODE_OF(last, flags) \
    mode_t mode = 0; \
    if ((flags) & (O_CREAT | O_TMPFILE)) { \
        va_list args; \
        va_start(args, last); \
        mode = va_arg(args, mode_t); \
        va_end(args); \
    }

int open(const char *path, int flags, ...)
{
    NEXT(int, open, const char *, int, ...);
    MODE_OF(flags, flags);
    FAIL_OR(T_FAULT_OPEN, -1, real(path, flags, mode));
}

int open64(const char *path, int flags, ...)
{
    NEXT(int, open64, const char *, int, ...);
    MODE_OF(flags, flags);
    FAIL_OR(T_FAULT_OPEN, -1, real(path, flags, mode));
}

int openat(int dir, const char *path, int flags, ...)
{
    NEXT(int, openat, int, const char *, int, ...);
    MODE_OF(flags, flags);
    FAIL_OR(T_FAULT_OPEN, -1, real(dir, path, flags, mode));
}

int mkdirat(int dir, const char *path, mode_t mode)
{
    NEXT(int, mkdirat, int, const char *, mode_t);
    FAIL_OR(T_FAULT_RENAME, -1, named(dir, real(dir, path, mode)));
}

int renameat(int from_dir, const char *from, int to_dir, const char *to)
{
    NEXT(int, renameat, int, const char *, int, const char *);
    FAIL_OR(T_FAULT_RENAME, -1, named(to_dir, real(from_dir, from, to_dir, to)));
}

int renameat2(int from_dir, const char *from, int to_dir, const char *to, unsigned flags)
{
    NEXT(int, renameat2, int, const char *, int, const char *, unsigned);
    FAIL_OR(T_FAULT_RENAME, -1, named(to_dir, real(from_dir, from, to_dir, to, flags)));
}

int unlinkat(int dir, const char *path, int flags)
{
    NEXT(int, unlinkat, int, const char *, int);
    FAIL_OR(T_FAULT_REMOVE, -1, real(dir, path, flags));
}

int statx(int dir, const char *restrict path, int flags, unsigned mask, struct statx *restrict about)
{
    NEXT(int, statx, int, const char *, int, unsigned, struct statx *);
    FAIL_OR(T_FAULT_STAT, -1, real(dir, path, flags, mask, about));
}

int fstat(int fd, struct stat *about)
{
    NEXT(int, fstat, int, struct stat *);
    FAIL_OR(T_FAULT_STAT, -1, real(fd, about));
}

int fstat64(int fd, struct stat64 *about)
{
    NEXT(int, fstat64, int, struct stat64 *);
    FAIL_OR(T_FAULT_STAT, -1, real(fd, about));
}

int fstatat(int dir, const char *restrict path, struct stat *restrict about, int flags)
{
    NEXT(int, fstatat, int, const char *, struct stat *, int);
    FAIL_OR(T_FAULT_STAT, -1, real(dir, path, about, flags));
}

int fstatfs64(int fd, struct statfs64 *about)
{
    NEXT(int, fstatfs64, int, struct statfs64 *);
    FAIL_OR(T_FAULT_STAT, -1, real(fd, about));
}

int flock(int fd, int operation)
{
    NEXT(int, flock, int, int);
    FAIL_OR(T_FAULT_LOCK, -1, real(fd, operation));
}

int fcntl(int fd, int command, ...)
{
    NEXT(int, fcntl, int, int, ...);
    va_list args;
    va_start(args, command);
    void *argument = va_arg(args, void *);
    va_end(args);
    if (command == F_GETFD || command == F_SETFD || command == F_GETFL || command == F_SETFL)
        return real(fd, command, argument);
    FAIL_OR(command == F_DUPFD || command == F_DUPFD_CLOEXEC ? T_FAULT_EVENTFD : T_FAULT_LOCK, -1,
            real(fd, command, argument));
}

int ioctl(int fd, unsigned long request, ...)
{
    NEXT(int, ioctl, int, unsigned long, ...);
    va_list args;
    va_start(args, request);
    void *argument = va_arg(args, void *);
    va_end(args);
    FAIL_OR(T_FAULT_IOCTL, -1, real(fd, request, argument));
}

/* ---- the machine's ---- */

int eventfd(unsigned first, int flags)
{
    NEXT(int, eventfd, unsigned, int);
    FAIL_OR(T_FAULT_EVENTFD, -1, real(first, flags));
}

ssize_t getrandom(void *data, size_t len, unsigned flags)
{
    NEXT(ssize_t, getrandom, void *, size_t, unsigned);
    FAIL_OR(T_FAULT_RANDOM, -1, real(data, len, flags));
}

int pthread_create(pthread_t *restrict thread, const pthread_attr_t *restrict attributes, void *(*run)(void *),
                   void *restrict arg)
{
    NEXT(int, pthread_create, pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
    int how = fault(T_FAULT_THREAD, 0);
    seen(T_SEEN_THREAD, -1, NULL, 0);
    return how ? how : real(thread, attributes, run, arg);
}

/* Not through dlsym(), which allocates. */
void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t), *__libc_memalign(size_t, size_t),
    *__libc_realloc(void *, size_t);

static bool no_memory(size_t len)
{
    if (len < MEMORY_MIN || !fault(T_FAULT_MEMORY, 0))
        return false;
    errno = ENOMEM;
    return true;
}

void *malloc(size_t len)
{
    return no_memory(len) ? NULL : __libc_malloc(len);
}

void *calloc(size_t count, size_t len)
{
    return no_memory(len > 0 && count > SIZE_MAX / len ? 0 : count * len) ? NULL : __libc_calloc(count, len);
}

void *realloc(void *old, size_t len)
{
    return no_memory(len) ? NULL : __libc_realloc(old, len);
}

int posix_memalign(void **out, size_t align, size_t len)
{
    void *got = no_memory(len) ? NULL : __libc_memalign(align, len);
    if (!got)
        return ENOMEM;
    *out = got;
    return 0;
}

/* ---- io_uring ---- */

#define RINGS 16
static struct ring {
    int fd;
    struct io_uring_params params;
    char *sq, *cq;
    struct io_uring_sqe *entries;
} rings[RINGS];

static struct ring *ring_of(int fd)
{
    for (int n = 0; n < RINGS; n++)
        if (rings[n].fd == fd && fd > 0)
            return &rings[n];
    return NULL;
}

static void note_ring(int fd, const struct io_uring_params *params)
{
    static int last;
    struct ring *ring = ring_of(fd); /* a number that is used again */
    if (!ring)
        ring = &rings[last++ % RINGS];
    *ring = (struct ring){ .fd = fd, .params = *params };
}

static void *mapped(int fd, off_t offset, void *at)
{
    struct ring *ring = at == MAP_FAILED ? NULL : ring_of(fd);
    if (ring && offset == (off_t)IORING_OFF_SQES)
        ring->entries = at;
    else if (ring && offset == (off_t)IORING_OFF_CQ_RING)
        ring->cq = at;
    else if (ring && offset == (off_t)IORING_OFF_SQ_RING) {
        ring->sq = at;
        if (ring->params.features & IORING_FEAT_SINGLE_MMAP)
            ring->cq = at;
    }
    return at;
}

void *mmap(void *at, size_t len, int protection, int flags, int fd, off_t offset)
{
    NEXT(void *, mmap, void *, size_t, int, int, int, off_t);
    FAIL_OR(T_FAULT_MMAP, MAP_FAILED, mapped(fd, offset, real(at, len, protection, flags, fd, offset)));
}

void *mmap64(void *at, size_t len, int protection, int flags, int fd, off64_t offset)
{
    NEXT(void *, mmap64, void *, size_t, int, int, int, off64_t);
    FAIL_OR(T_FAULT_MMAP, MAP_FAILED, mapped(fd, offset, real(at, len, protection, flags, fd, offset)));
}

static unsigned *word(char *base, unsigned offset)
{
    return (unsigned *)(void *)(base + offset);
}

struct spoiled {
    uint64_t user_data;
    int how;
};

/* Spoils what is about to be submitted; how many. */
static size_t spoil(struct ring *ring, unsigned count, struct spoiled *spoiled)
{
    unsigned mask = *word(ring->sq, ring->params.sq_off.ring_mask);
    unsigned head = *word(ring->sq, ring->params.sq_off.head);
    size_t found = 0;
    for (unsigned n = 0; n < count && n < 8; n++) {
        unsigned index = word(ring->sq, ring->params.sq_off.array)[(head + n) & mask];
        struct io_uring_sqe *entry = &ring->entries[index];
        int how = entry->opcode == IORING_OP_WRITE   ? fault(T_FAULT_WRITE, entry->len)
                  : entry->opcode == IORING_OP_FSYNC ? fault(T_FAULT_FLUSH, 0)
                                                     : 0;
        if (how == T_FAULT_SHORT) {
            entry->len = (unsigned)half(entry->len);
        } else if (how) {
            entry->fd = -1; /* the kernel says EBADF */
            spoiled[found++] = (struct spoiled){ entry->user_data, how };
        }
    }
    return found;
}

/* Tells what was submitted; a write is durable with the flag, or with a flush linked behind it. */
static void tell(struct ring *ring, unsigned head, unsigned count)
{
    unsigned mask = *word(ring->sq, ring->params.sq_off.ring_mask);
    for (unsigned n = 0; n < count && n < 8; n++) {
        const struct io_uring_sqe *entry = &ring->entries[word(ring->sq, ring->params.sq_off.array)[(head + n) & mask]];
        if (entry->opcode == IORING_OP_FSYNC)
            seen(T_SEEN_FLUSH, entry->fd, NULL, 0);
        else if (entry->opcode == IORING_OP_WRITE)
            seen(entry->rw_flags & RWF_DSYNC ? T_SEEN_DURABLE_WRITE : T_SEEN_WRITE, entry->fd,
                 (const void *)(uintptr_t)entry->addr, entry->len);
    }
}

static void change_answers(struct ring *ring, const struct spoiled *spoiled, size_t count)
{
    unsigned mask = *word(ring->cq, ring->params.cq_off.ring_mask);
    unsigned head = *word(ring->cq, ring->params.cq_off.head);
    unsigned tail = __atomic_load_n(word(ring->cq, ring->params.cq_off.tail), __ATOMIC_ACQUIRE);
    struct io_uring_cqe *answers = (void *)(ring->cq + ring->params.cq_off.cqes);
    for (; head != tail; head++)
        for (size_t n = 0; n < count; n++) {
            struct io_uring_cqe *answer = &answers[head & mask];
            if (answer->user_data == spoiled[n].user_data && answer->res == -EBADF)
                answer->res = spoiled[n].how == T_FAULT_NOTHING ? 0 : -spoiled[n].how;
        }
}

long syscall(long number, ...)
{
    NEXT(long, syscall, long, ...);
    long a[6];
    va_list args;
    va_start(args, number);
    for (int n = 0; n < 6; n++)
        a[n] = va_arg(args, long);
    va_end(args);
    int how = number == SYS_io_uring_setup || number == SYS_io_uring_register ? fault(T_FAULT_RING, 0)
              : number == SYS_io_uring_enter                                   ? fault(T_FAULT_ENTER, 0)
              : number == SYS_getrandom                                        ? fault(T_FAULT_RANDOM, 0)
              : number == SYS_getdents64                                       ? fault(T_FAULT_LIST, 0)
              : number == SYS_statx                                            ? fault(T_FAULT_STAT, 0)
                                                                               : 0;
    if (how) {
        errno = how;
        return -1;
    }
    struct spoiled spoiled[8];
    size_t count = 0;
    struct ring *ring = number == SYS_io_uring_enter ? ring_of((int)a[0]) : NULL;
    if (ring && ring->sq && ring->entries)
        count = spoil(ring, (unsigned)a[1], spoiled);
    unsigned head = ring && ring->sq ? *word(ring->sq, ring->params.sq_off.head) : 0;
    long result = real(number, a[0], a[1], a[2], a[3], a[4], a[5]);
    if (ring && ring->sq && ring->entries && result > 0)
        tell(ring, head, (unsigned)result);
    if (number == SYS_io_uring_setup && result >= 0)
        note_ring((int)result, (struct io_uring_params *)a[1]);
    if (count > 0) {
        int kept = errno;
        change_answers(ring, spoiled, count);
        errno = kept;
    }
    return result;
}
