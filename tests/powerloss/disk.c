/*
 * A disk that writes down what is done to it: a FUSE server that exports one
 * file, "disk", for a loop device.
 *
 *   disk IMAGE JOURNAL MOUNTPOINT SEED
 *
 * IMAGE is the disk's content and is changed.  JOURNAL receives an entry for
 * everything that came, in the order in which it came:
 *
 *   W  a write has come      D  it was answered    (Z: a write of zeros)
 *   F  a flush has come      E  it was answered
 *   M  text that was written to the second file, "mark"
 *
 * So a flush covers exactly the writes whose D is before its F, from its E on.
 * Some answers are held back for a moment, seeded, while others pass: a write
 * that is in flight beside a flush is not covered by it.
 *
 * "mark" also takes commands: after "hold TEXT" a write that contains TEXT is kept
 * back, not yet done and not answered, and standard output says "held"; "go" does
 * and answers what was kept back, over whatever was written there meanwhile.
 *
 * It ends when it is unmounted.  If it dies its file answers with errors, and
 * nobody hangs: it never touches what is mounted on top of it.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fuse.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { ROOT = 1, DISK = 2, MARK = 3 };

#define WRITE_MAX (1u << 20)
#define HELD_MAX 1024
#define HOLD_MAX_NS 1500000

struct entry { /* of the journal; powerloss.py reads it */
    uint32_t kind, id;
    uint64_t offset, len; /* W and M: len bytes of data follow */
};

static struct held {
    uint64_t unique, due_ns, offset, len;
    uint32_t id, done_as, wrote;
} held[HELD_MAX];
static size_t held_count;

/* ---- writes that are kept back on command ---- */

#define KEPT_MAX 16
static struct kept {
    uint64_t unique, offset;
    uint32_t len;
    char *data;
} kept[KEPT_MAX];
static size_t kept_count;
static char hold_text[64]; /* "": nothing is kept back */

static int device, journal;
static char *image;
static uint64_t size, chance;
static uint32_t last_id;

static void die(const char *what)
{
    fprintf(stderr, "disk: %s: %s\n", what, strerror(errno));
    exit(1);
}

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static uint64_t below(uint64_t limit) /* splitmix64 */
{
    uint64_t x = chance += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return (x ^ x >> 31) % limit;
}

static void record(char kind, uint32_t id, uint64_t offset, uint64_t len, const void *data)
{
    struct entry entry = { (uint32_t)kind, id, offset, len };
    struct iovec parts[] = { { &entry, sizeof entry }, { (void *)(uintptr_t)data, data ? len : 0 } };
    if (writev(journal, parts, 2) != (ssize_t)(parts[0].iov_len + parts[1].iov_len))
        die("the journal");
}

/* A request that was interrupted is not waited for: ENOENT. */
static void answer(uint64_t unique, int error, const void *data, size_t len)
{
    struct fuse_out_header head = { (uint32_t)(sizeof head + len), error, unique };
    struct iovec parts[] = { { &head, sizeof head }, { (void *)(uintptr_t)data, len } };
    if (writev(device, parts, 2) < 0 && errno != ENOENT && errno != ENODEV)
        die("answer");
}

/* ---- answers that are held back ---- */

static void let_go(size_t n)
{
    struct fuse_write_out out = { held[n].wrote, 0 };
    record((char)held[n].done_as, held[n].id, 0, 0, NULL);
    answer(held[n].unique, 0, &out, held[n].wrote ? sizeof out : 0);
    held[n] = held[--held_count];
}

static void let_go_due(void)
{
    uint64_t now = now_ns();
    for (size_t n = held_count; n-- > 0;)
        if (held[n].due_ns <= now)
            let_go(n);
}

static int64_t next_due_ns(void) /* from now; < 0: nothing is held */
{
    uint64_t now = now_ns(), first = UINT64_MAX;
    for (size_t n = 0; n < held_count; n++)
        first = held[n].due_ns < first ? held[n].due_ns : first;
    return first == UINT64_MAX ? -1 : first <= now ? 0 : (int64_t)(first - now);
}

/* Wrote: what a write is told, 0 for anything else. */
static void answer_later(uint64_t unique, char done_as, uint64_t offset, uint64_t len, uint32_t wrote)
{
    uint64_t hold = below(4) ? 0 : below(HOLD_MAX_NS);
    held[held_count++] = (struct held){ unique, now_ns() + hold, offset, len, last_id, (uint32_t)done_as, wrote };
    if (!hold || held_count == HELD_MAX)
        let_go(held_count - 1);
}

/* Two writes to one place are never in flight at once, so that the order of
 * the journal is the order on the disk. */
static void let_go_overlapping(uint64_t offset, uint64_t len)
{
    for (size_t n = held_count; n-- > 0;)
        if (held[n].done_as == 'D' && held[n].offset < offset + len && offset < held[n].offset + held[n].len)
            let_go(n);
}

/* ---- requests ---- */

static struct fuse_attr attr_of(uint64_t node)
{
    struct fuse_attr attr = { .ino = node, .mode = S_IFREG | 0600, .nlink = 1, .blksize = 4096 };
    if (node == ROOT)
        attr.mode = S_IFDIR | 0700;
    else if (node == DISK)
        attr.size = size;
    return attr;
}

static void lookup(uint64_t unique, const char *name)
{
    struct fuse_entry_out out = { .entry_valid = 3600, .attr_valid = 3600 };
    out.nodeid = !strcmp(name, "disk") ? DISK : !strcmp(name, "mark") ? MARK : 0;
    out.attr = attr_of(out.nodeid);
    if (out.nodeid)
        answer(unique, 0, &out, sizeof out);
    else
        answer(unique, -ENOENT, NULL, 0);
}

static void get_attr(uint64_t unique, uint64_t node)
{
    struct fuse_attr_out out = { .attr_valid = 3600, .attr = attr_of(node) };
    answer(unique, 0, &out, sizeof out);
}

static void begin(uint64_t unique, const struct fuse_init_in *in)
{
    struct fuse_init_out out = {
        .major = FUSE_KERNEL_VERSION,
        .minor = FUSE_KERNEL_MINOR_VERSION,
        .max_readahead = in->max_readahead,
        .flags = in->flags & (FUSE_ASYNC_READ | FUSE_BIG_WRITES | FUSE_ASYNC_DIO | FUSE_MAX_PAGES),
        .max_background = 256,
        .congestion_threshold = 200,
        .max_write = WRITE_MAX,
        .max_pages = WRITE_MAX / 4096,
        .time_gran = 1,
    };
    answer(unique, 0, &out, sizeof out);
}

static bool keep_back(uint64_t unique, const struct fuse_write_in *in, const char *data)
{
    if (!hold_text[0] || kept_count == KEPT_MAX || !memmem(data, in->size, hold_text, strlen(hold_text)))
        return false;
    struct kept *one = &kept[kept_count++];
    *one = (struct kept){ unique, in->offset, in->size, malloc(in->size) };
    if (!one->data)
        die("no memory");
    memcpy(one->data, data, in->size);
    puts("held");
    fflush(stdout);
    return true;
}

static void go(void)
{
    hold_text[0] = 0;
    while (kept_count > 0) {
        struct kept *one = &kept[--kept_count];
        struct fuse_write_out out = { one->len, 0 };
        record('W', ++last_id, one->offset, one->len, one->data);
        memcpy(image + one->offset, one->data, one->len);
        free(one->data);
        record('D', last_id, 0, 0, NULL);
        answer(one->unique, 0, &out, sizeof out);
    }
}

static void write_to(uint64_t unique, uint64_t node, const struct fuse_write_in *in)
{
    const char *data = (const char *)(in + 1);
    struct fuse_write_out out = { in->size, 0 };
    if (node == MARK) {
        record('M', ++last_id, 0, in->size, data);
        if (in->size > 5 && !memcmp(data, "hold ", 5))
            snprintf(hold_text, sizeof hold_text, "%.*s", (int)in->size - 5, data + 5);
        else if (in->size == 2 && !memcmp(data, "go", 2))
            go();
        answer(unique, 0, &out, sizeof out);
    } else if (in->offset > size || in->size > size - in->offset) {
        answer(unique, -EIO, NULL, 0);
    } else if (!keep_back(unique, in, data)) {
        let_go_overlapping(in->offset, in->size);
        record('W', ++last_id, in->offset, in->size, data);
        memcpy(image + in->offset, data, in->size);
        answer_later(unique, 'D', in->offset, in->size, in->size);
    }
}

static void read_from(uint64_t unique, uint64_t node, const struct fuse_read_in *in)
{
    uint64_t end = node == DISK ? size : 0, offset = in->offset < end ? in->offset : end;
    answer(unique, 0, image + offset, end - offset < in->size ? end - offset : in->size);
}

/* What was discarded reads as zeros: a write of zeros. */
static void allocate(uint64_t unique, uint64_t node, const struct fuse_fallocate_in *in)
{
    bool zeros = in->mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE);
    if (node != DISK || !zeros || in->offset > size || in->length > size - in->offset) {
        answer(unique, -EOPNOTSUPP, NULL, 0);
        return;
    }
    let_go_overlapping(in->offset, in->length);
    record('Z', ++last_id, in->offset, in->length, NULL);
    if (madvise(image + in->offset, in->length, MADV_REMOVE))
        memset(image + in->offset, 0, in->length);
    answer_later(unique, 'D', in->offset, in->length, 0);
}

static void serve(const char *request)
{
    const struct fuse_in_header *head = (const void *)request;
    const void *in = head + 1;
    struct fuse_open_out opened = { .open_flags = FOPEN_DIRECT_IO | FOPEN_PARALLEL_DIRECT_WRITES };

    switch (head->opcode) {
    case FUSE_FORGET:
    case FUSE_BATCH_FORGET:
    case FUSE_INTERRUPT: return; /* these have no answer */
    case FUSE_INIT: begin(head->unique, in); return;
    case FUSE_LOOKUP: lookup(head->unique, in); return;
    case FUSE_GETATTR:
    case FUSE_SETATTR: get_attr(head->unique, head->nodeid); return;
    case FUSE_OPEN: answer(head->unique, 0, &opened, sizeof opened); return;
    case FUSE_WRITE: write_to(head->unique, head->nodeid, in); return;
    case FUSE_READ: read_from(head->unique, head->nodeid, in); return;
    case FUSE_FALLOCATE: allocate(head->unique, head->nodeid, in); return;
    case FUSE_FSYNC:
        record('F', ++last_id, 0, 0, NULL);
        answer_later(head->unique, 'E', 0, 0, 0);
        return;
    case FUSE_FLUSH: /* of a closed descriptor: promises nothing */
    case FUSE_RELEASE:
    case FUSE_DESTROY: answer(head->unique, 0, NULL, 0); return;
    default: answer(head->unique, -ENOSYS, NULL, 0);
    }
}

int main(int argc, char **argv)
{
    static char request[WRITE_MAX + 65536] __attribute__((aligned(8)));
    char options[100];
    struct stat about;

    if (argc != 5)
        return 2;
    signal(SIGPIPE, SIG_IGN);
    chance = strtoull(argv[4], NULL, 0);
    int file = open(argv[1], O_RDWR | O_CLOEXEC);
    journal = open(argv[2], O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (file < 0 || journal < 0 || fstat(file, &about))
        die("image or journal");
    size = (uint64_t)about.st_size;
    image = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    device = open("/dev/fuse", O_RDWR | O_CLOEXEC | O_NONBLOCK);
    if (image == MAP_FAILED || device < 0)
        die("mmap or /dev/fuse");
    snprintf(options, sizeof options, "fd=%d,rootmode=40000,user_id=0,group_id=0", device);
    if (mount("powerloss", argv[3], "fuse", MS_NOSUID | MS_NODEV | MS_NOATIME, options))
        die("mount");
    puts("ready");
    fflush(stdout);

    for (;;) {
        int64_t due = next_due_ns();
        struct timespec wait = { due / 1000000000, due % 1000000000 };
        struct pollfd poll = { device, POLLIN, 0 };
        if (ppoll(&poll, 1, due < 0 ? NULL : &wait, NULL) < 0 && errno != EINTR)
            die("poll");
        ssize_t got = read(device, request, sizeof request);
        if (got >= (ssize_t)sizeof(struct fuse_in_header))
            serve(request);
        else if (errno == ENODEV) /* unmounted */
            return 0;
        else if (errno != EAGAIN && errno != EINTR && errno != ENOENT)
            die("read");
        let_go_due();
    }
}
