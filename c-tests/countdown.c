/* See countdown.h. */
#include "countdown.h"

#include <fcntl.h>
#include <malloc.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "fault_calls.h"

#define NUMBERS 200
#define LEN_MAX 9000

/* What became of the append of a number. */
enum fate { NEVER = 0, REFUSED, UNKNOWN, ACCEPTED, ACKNOWLEDGED };

/* What a child leaves for its parent, also when it dies. */
struct told {
    uint64_t calls, hits;
    enum fate fates[NUMBERS];
    uint64_t seqs[NUMBERS];
    int closed; /* 1: by twal_close() with TWAL_OK */
    int opened;
    int failures; /* calls that failed */
};
static struct told *told;

struct fault {
    t_fault_kind kind;
    int how;
    bool on;
    const char *name;
};

static const struct fault faults[] = {
    { T_FAULT_WRITE, EIO, false, "write EIO" },
    { T_FAULT_WRITE, EIO, true, "write EIO from then on" },
    { T_FAULT_WRITE, ENOSPC, true, "write ENOSPC from then on" },
    { T_FAULT_WRITE, EINTR, false, "write EINTR" },
    { T_FAULT_WRITE, EAGAIN, false, "write EAGAIN" },
    { T_FAULT_WRITE, T_FAULT_SHORT, false, "write short" },
    { T_FAULT_WRITE, T_FAULT_NOTHING, false, "write of nothing" },
    { T_FAULT_FLUSH, EIO, false, "flush EIO" },
    { T_FAULT_FLUSH, ENOSPC, true, "flush ENOSPC from then on" },
    { T_FAULT_FLUSH, EINTR, false, "flush EINTR" },
    { T_FAULT_ALLOCATE, ENOSPC, false, "allocate ENOSPC" },
    { T_FAULT_ALLOCATE, ENOSPC, true, "allocate ENOSPC from then on" },
    { T_FAULT_ALLOCATE, EIO, false, "allocate EIO" },
    { T_FAULT_ALLOCATE, EINTR, false, "allocate EINTR" },
    { T_FAULT_RENAME, EIO, false, "rename EIO" },
    { T_FAULT_RENAME, ENOSPC, true, "rename ENOSPC from then on" },
    { T_FAULT_REMOVE, EIO, false, "remove EIO" },
    { T_FAULT_OPEN, EMFILE, false, "open EMFILE" },
    { T_FAULT_OPEN, ENFILE, true, "open ENFILE from then on" },
    { T_FAULT_OPEN, EIO, false, "open EIO" },
    { T_FAULT_OPEN, EACCES, false, "open EACCES" },
    { T_FAULT_OPEN, ENOSPC, true, "open ENOSPC from then on" },
    { T_FAULT_OPEN, EINTR, false, "open EINTR" },
    { T_FAULT_READ, EIO, false, "read EIO" },
    { T_FAULT_READ, EIO, true, "read EIO from then on" },
    { T_FAULT_READ, EINTR, false, "read EINTR" },
    { T_FAULT_READ, T_FAULT_SHORT, false, "read short" },
    { T_FAULT_LIST, EIO, false, "list EIO" },
    { T_FAULT_STAT, EIO, false, "stat EIO" },
    { T_FAULT_STAT, ENOMEM, true, "stat ENOMEM from then on" },
    { T_FAULT_LOCK, EINTR, false, "lock EINTR" },
    { T_FAULT_LOCK, ENOLCK, false, "lock ENOLCK" },
    { T_FAULT_LOCK, EAGAIN, false, "lock EAGAIN" },
    { T_FAULT_MMAP, ENOMEM, false, "mmap ENOMEM" },
    { T_FAULT_MMAP, ENOMEM, true, "mmap ENOMEM from then on" },
    { T_FAULT_MEMORY, ENOMEM, false, "memory ENOMEM" },
    { T_FAULT_THREAD, EAGAIN, false, "thread EAGAIN" },
    { T_FAULT_THREAD, EAGAIN, true, "thread EAGAIN from then on" },
    { T_FAULT_EVENTFD, EMFILE, false, "eventfd EMFILE" },
    { T_FAULT_RING, EPERM, false, "ring EPERM" },
    { T_FAULT_RING, ENOMEM, true, "ring ENOMEM from then on" },
    { T_FAULT_ENTER, EINTR, false, "enter EINTR" },
    { T_FAULT_ENTER, EAGAIN, false, "enter EAGAIN" },
    { T_FAULT_ENTER, EBUSY, false, "enter EBUSY" },
    { T_FAULT_ENTER, ENOMEM, false, "enter ENOMEM" },
    { T_FAULT_ENTER, EPERM, true, "enter EPERM from then on" },
    { T_FAULT_RANDOM, EIO, false, "random EIO" },
    { T_FAULT_RANDOM, EINTR, false, "random EINTR" },
    { T_FAULT_IOCTL, EIO, true, "ioctl EIO from then on" },
    { T_FAULT_SEEK, EIO, false, "seek EIO" },
};

/* ---- answers ---- */

static const struct fault *now, none = { T_FAULT_KINDS, EINTR, false, "nothing" };
static uint64_t used_last, *used_last_seen; /* of the used log */

/* A success is always right; and an error, if the fault explains it. */
static bool explains(int code)
{
    if (now->how == EINTR || now->how == T_FAULT_SHORT)
        return false;
    /* A mark of the kind that AUTO would fall back from. */
    if (code == TWAL_E_UNSUPPORTED)
        return now->kind == T_FAULT_RING || now->kind == T_FAULT_ENTER || now->kind == T_FAULT_MMAP ||
               now->kind == T_FAULT_OPEN || now->kind == T_FAULT_STAT || now->kind == T_FAULT_READ ||
               now->kind == T_FAULT_WRITE;
    if (code == TWAL_E_IO)
        return true; /* the worst, which is never wrong but for what follows */
    if (code == TWAL_E_POISONED)
        return true;
    if (now->kind == T_FAULT_RANDOM)
        return code == TWAL_E_NOMEM;
    switch (now->how) {
    case ENOSPC: return code == TWAL_E_NOSPC;
    case ENOMEM:
    case EMFILE:
    case ENFILE: return code == TWAL_E_NOMEM;
    case EAGAIN: return now->kind == T_FAULT_THREAD ? code == TWAL_E_NOMEM
                                                   : code == TWAL_E_LOCKED || code == TWAL_E_BUSY;
    case EACCES:
    case EPERM: return code == TWAL_E_PERM;
    default: return false;
    }
}

static int answer_at(const char *call, int line, int code)
{
    if (code >= 0)
        return code;
    told->failures++;
    twal_error why = t_last_error();
    if (!explains(code))
        t_fail(__FILE__, line, "%s is %d (%s: %s)", call, code, twal_strerror(code), why.text);
    t_equal(why.code, code);
    return code;
}
#define answer(call) answer_at(#call, __LINE__, (call))

/* ---- the story ---- */

#define USED_WRITER 2
static uint64_t writer_now = 1, numbers; /* appends begun */
static char data[4][LEN_MAX];

static size_t len_of(uint64_t number)
{
    return T_PAYLOAD_MIN + number * 977 % 2000 + (number % 7 == 0 ? 6000 : 0);
}

/* Records numbered from `first` on, that got numbers from seq on. */
static void note(int code, uint64_t first, size_t count, uint64_t seq, bool waited)
{
    for (size_t k = 0; k < count; k++) {
        told->seqs[first + k] = seq + k;
        told->fates[first + k] = code == TWAL_OK                                       ? waited ? ACKNOWLEDGED : ACCEPTED
                                 : code == TWAL_E_IO || code == TWAL_E_POISONED ? UNKNOWN
                                                                                       : REFUSED;
    }
}

static twal_entry entry_of(uint64_t number, size_t place, uint32_t flags)
{
    twal_entry entry = TWAL_ENTRY_INIT;
    t_payload_fill(data[place], len_of(number), writer_now, number);
    entry.data = data[place];
    entry.len = len_of(number);
    entry.flags = flags;
    return entry;
}

static void append_batch(twal_log *log, size_t count, uint32_t flags)
{
    twal_entry entries[4];
    uint64_t first = numbers, seq = 0;
    for (size_t k = 0; k < count; k++) {
        entries[k] = entry_of(numbers++, k, flags);
        entries[k].stream = TWAL_STREAM(count, k);
        told->fates[first + k] = UNKNOWN;
    }
    int code = answer(twal_append_batch(log, entries, count, &seq));
    note(code, first, count, seq, flags != TWAL_APPEND_NO_SYNC);
}

static void reserve(twal_log *log)
{
    uint64_t first = numbers++, seq = 0;
    twal_entry entry = entry_of(first, 0, 0), room = entry;
    twal_reservation reservation;
    entry.stream = room.stream = TWAL_STREAM(1, 0);
    room.data = NULL;
    if (answer(twal_reserve(log, &room, &reservation)) != TWAL_OK)
        return;
    memcpy(reservation.data, data[0], entry.len);
    told->fates[first] = UNKNOWN;
    int code = answer(twal_commit(log, &reservation, entry.len, &seq));
    note(code, first, 1, seq, true);
    if (code != TWAL_OK && reservation.data)
        answer(twal_cancel(log, &reservation));
}

static atomic_int called;

static void done(void *arg, uint64_t seq, int code)
{
    (void)arg, (void)seq;
    atomic_fetch_add(&called, 1);
    answer(code);
}

struct waiter {
    twal_log *log;
    atomic_int thread_id;
    int answer;
};

static void *wait_for(void *arg)
{
    struct waiter *waiter = arg;
    atomic_store(&waiter->thread_id, t_thread_id());
    waiter->answer = twal_wait(waiter->log, 12, -1);
    return NULL;
}

static void read_all(twal_log *log)
{
    twal_iter *iter = NULL;
    twal_record record;
    uint64_t writer, number;
    if (answer(twal_recover_iter(log, 0, &iter)) != TWAL_OK)
        return;
    int code;
    while ((code = twal_iter_next(iter, &record)) == 1)
        t_check(t_payload_read(record.data, record.len, &writer, &number));
    answer(code);
    twal_iter_close(iter);
}

static twal_options options_of(uint32_t engine)
{
    twal_options options = TWAL_OPTIONS_INIT;
    options.io_engine = engine;
    options.segment_size = 64 * T_KIB;
    options.ring_size = 256 * T_KIB;
    options.max_retained_segments = 1;
    options.flags = TWAL_OPEN_ALLOW_ANY_FS | TWAL_OPEN_ALLOW_BUFFERED;
    options.idle_mark_us = 500;
    return options;
}

static void use(twal_log *log, const char *dir, const twal_options *options)
{
    struct waiter waiter = { log, 0, 1 };
    int fd = -1, registered = 0;
    t_fault_aside(true);
    pthread_t thread = t_thread(wait_for, &waiter);
    t_fault_aside(false);
    atomic_store(&called, 0);

    if (answer(twal_eventfd(log, &fd)) != TWAL_OK)
        fd = -1;
    for (int n = 0; n < 4; n++)
        append_batch(log, 1, 0);
    registered += answer(twal_sync_async(log, 0, done, NULL)) == TWAL_OK;
    append_batch(log, 3, TWAL_APPEND_NO_SYNC);
    append_batch(log, 1, TWAL_APPEND_NO_SYNC);
    registered += answer(twal_sync_async(log, 0, done, NULL)) == TWAL_OK;
    answer(twal_sync(log, 0));
    reserve(log);
    answer(twal_roll(log));
    for (int n = 0; n < 12; n++)
        append_batch(log, 1 + (size_t)n % 3, 0);
    answer(twal_trim(log, twal_first_seq(log) + (twal_last_seq(log) + 1 - twal_first_seq(log)) / 2));
    read_all(log);
    twal_log *beside = NULL;
    twal_options look = *options;
    look.flags |= TWAL_OPEN_READ_ONLY;
    if (answer(twal_open(dir, &look, &beside)) == TWAL_OK) {
        read_all(beside);
        answer(twal_close(beside));
    }
    for (int n = 0; n < 4; n++)
        append_batch(log, 1, 0);
    /* No call may begin when the log is closed already: this one waits by now, or has come back. */
    t_fault_aside(true);
    t_await(atomic_load(&waiter.thread_id) && !t_is_running(atomic_load(&waiter.thread_id)), T_PATIENCE_MS);
    t_fault_aside(false);
    told->closed = answer(twal_close(log)) == TWAL_OK;

    t_join(thread);
    t_check(waiter.answer <= 0);
    if (waiter.answer != TWAL_E_CLOSED && waiter.answer != TWAL_OK)
        t_check(explains(waiter.answer));
    t_equal(atomic_load(&called), registered);
    if (fd >= 0) {
        t_check(told->closed == 0 || t_readable(fd, 0)); /* the close at least */
        close(fd);
    }
}

/* ---- what it left ---- */

struct left {
    uint64_t last_number, batch_left;
    bool any;
};

static void check_record(const twal_record *record, void *arg)
{
    struct left *left = arg;
    uint64_t writer = 0, number = 0;
    uint64_t size = record->stream >> 32, position = record->stream & UINT32_MAX;
    t_check(t_payload_read(record->data, record->len, &writer, &number));
    if (writer == USED_WRITER && !left->any)
        return; /* of before; the numbers have no gap, so all are there */
    t_equal(writer, 1);
    t_check(number < NUMBERS);
    t_check(!left->any || number > left->last_number);
    t_check(told->fates[number] >= UNKNOWN);
    if (told->fates[number] != UNKNOWN)
        t_equal(told->seqs[number], record->seq);
    t_equal(record->len, len_of(number));
    t_equal(position, left->batch_left ? size - left->batch_left : 0);
    left->batch_left = size - position - 1;
    left->last_number = number;
    left->any = true;
}

static void check_left(const char *dir, const twal_options *options)
{
    struct left left = { 0 };
    twal_log *log = t_open(dir, options);
    uint64_t first = twal_first_seq(log), last = twal_last_seq(log);
    t_seen seen;
    t_ok(t_read(log, 0, &seen, check_record, &left));
    t_equal(seen.count, last + 1 - first);
    t_check(last >= used_last);
    t_equal(left.batch_left, 0);
    for (uint64_t number = 0; number < numbers; number++) {
        bool must = told->fates[number] == ACKNOWLEDGED || (told->fates[number] == ACCEPTED && told->closed);
        t_check(!must || told->seqs[number] <= last);
    }
    uint64_t seq = 0;
    t_ok(twal_append(log, "more", 4, &seq));
    t_equal(seq, last + 1);
    t_close(log);
}

/* ---- a run ---- */

static size_t memory(void)
{
    struct mallinfo2 info = mallinfo2();
    return info.uordblks + info.hblkhd;
}

struct run {
    const struct fault *fault;
    uint64_t k;
    uint32_t engine;
    const char *dir;
};

static void run_story(const struct run *run)
{
    twal_options options = options_of(run->engine);
    twal_log *log = NULL;
    int code = answer(twal_open(run->dir, &options, &log));
    told->opened = code == TWAL_OK;
    if (told->opened)
        use(log, run->dir, &options);
}

static void one_run(void *arg)
{
    const struct run *run = arg;
    size_t descriptors = t_count_entries("/proc/self/fd"), bytes = memory();
    now = run->fault;
    t_fault_arm(run->fault->kind, run->k, run->fault->how, run->fault->on);
    run_story(run);
    t_fault_disarm();
    told->calls = t_fault_calls();
    told->hits = t_fault_hits();
    t_equal(t_count_entries("/proc/self/fd"), descriptors);
    /* A thread that was joined may be seen for a moment. */
    t_await(t_count_entries("/proc/self/task") == 3, T_PATIENCE_MS);
    size_t after = memory();
    if (after > bytes + 4096)
        t_fail(__FILE__, __LINE__, "%zu bytes were not given back", after - bytes);
    twal_options options = options_of(run->engine);
    check_left(run->dir, &options);
}

static void prepare(const char *dir, bool fresh)
{
    t_dir_remove(dir);
    if (!fresh)
        t_dir_copy(t_path("used"), dir);
    used_last = fresh ? 0 : *used_last_seen;
    memset(told, 0, sizeof *told);
    numbers = 0;
}

#define FAILED_MAX 20
static unsigned failed;

/* Runs of one fault, until one passes untouched; the faults that went off. */
static uint64_t count_down(const struct fault *fault, uint32_t engine, bool fresh)
{
    const char *dir = t_path("log");
    uint64_t hits = 0;
    for (uint64_t k = 1;; k++) {
        struct run run = { fault, k, engine, dir };
        prepare(dir, fresh);
        int status = t_wait_child(t_fork(one_run, &run), 3 * T_PATIENCE_MS);
        if (status != 0) {
            printf("FAILED: %s at call %" PRIu64 " of %s log, %s: wait status %x\n", fault->name, k,
                   fresh ? "a new" : "a used", t_engine_name(engine), (unsigned)status);
            t_check(++failed < FAILED_MAX);
            hits++;
            continue; /* the others are told too */
        }
        if (told->hits == 0)
            return hits;
        hits++;
        t_check(told->opened || told->failures > 0);
    }
}

/* A log that has something of everything: sealed, archived and spare files, a crash. */
static void make_used(void *arg)
{
    twal_options options = options_of(*(uint32_t *)arg);
    twal_log *log = t_open(t_path("used"), &options);
    now = &none;
    writer_now = USED_WRITER;
    for (int n = 0; n < 30; n++)
        append_batch(log, 1 + (size_t)n % 3, 0);
    t_ok(twal_trim(log, 20));
    *used_last_seen = twal_last_seq(log);
}

/* So that all memory in use can be seen: one arena, no caches of freed pieces. */
static void begin_again(char **argv)
{
    if (getenv("TWAL_COUNTDOWN"))
        return;
    setenv("TWAL_COUNTDOWN", "1", 1);
    setenv("GLIBC_TUNABLES", "glibc.malloc.tcache_count=0:glibc.malloc.arena_max=1", 1);
    execv("/proc/self/exe", argv);
}

int t_countdown(uint32_t engine, char **argv)
{
    struct statfs about;
    begin_again(argv);
    /* What is tested is what fails, not what lasts: on a tmpfs, if there is one. */
    if (!statfs("/dev/shm", &about) && (uint32_t)about.f_type == 0x01021994 && !access("/dev/shm", W_OK))
        setenv("TWAL_TEST_DIR", "/dev/shm", 1);
    t_begin();
    told = mmap(NULL, sizeof *told + sizeof *used_last_seen, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    t_check(told != MAP_FAILED);
    used_last_seen = (void *)(told + 1);
    twal_options options = options_of(engine);
    twal_log *log;
    if (twal_open(t_path("try"), &options, &log) != TWAL_OK)
        t_skip("no %s here", t_engine_name(engine));
    t_close(log);
    t_crash_after(make_used, &engine);

    /* One story without a fault, so that what is made once and kept is there. */
    struct run first = { &none, 0, engine, t_path("log") };
    now = &none;
    prepare(first.dir, true);
    run_story(&first);
    t_check(told->opened && told->closed && told->failures == 0);

    uint64_t hits = 0, all = 0;
    const char *only = getenv("TWAL_FAULTS"); /* a part of the name */
    for (size_t n = 0; n < sizeof faults / sizeof *faults; n++)
        for (int fresh = 0; fresh < 2 && (!only || strstr(faults[n].name, only)); fresh++) {
            uint64_t began = t_now_ns();
            hits = count_down(&faults[n], engine, fresh);
            printf("%s, %s log: %" PRIu64 " (%.1f s)\n", faults[n].name, fresh ? "a new" : "a used", hits,
                   (double)(t_now_ns() - began) / 1e9);
            all += hits;
        }
    t_equal(failed, 0);
    printf("%s: %" PRIu64 " faults, each survived\n", t_engine_name(engine), all);
    return t_end();
}
