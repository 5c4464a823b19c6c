/* Carries a file through a log, and proves that it arrived.
 *
 *   demo write DIR INPUT [--engine auto|uring|blocking] [--threads N]
 *              [--acks FILE] [--progress]
 *   demo verify DIR INPUT [--rebuild FILE]
 *
 * INPUT ("-": standard input) is cut into chunks of 1000 to 3000 bytes, always
 * at the same places.  A chunk becomes one record: its timestamp is the chunk's
 * number, its payload the chunk's offset in the input (8 bytes, little-endian)
 * and then the chunk.
 *
 * write appends from several threads, each record durable before the next of
 * that thread.  Killed at any moment and started again, it asks the log which
 * chunks are there and appends only the others.  --acks keeps a byte for every
 * chunk in FILE, set after its append returned: what the killed process had
 * been promised.  The next start checks that the log holds every one of them.
 * --progress prints "acknowledged N of M" as it goes.
 *
 * verify rebuilds the input from the log alone and compares.
 *
 * Exit: 0 well, 1 failed, 2 wrong usage, 3 the engine asked for is not available. */
#define _POSIX_C_SOURCE 200809L
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <twal.h>

enum { CHUNK_MIN = 1000, CHUNK_MAX = 3000, OFFSET_BYTES = 8, CHUNK_TYPE = 0x0100, THREADS_MAX = 256 };

static _Noreturn void die(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fputs("demo: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    exit(1);
}

/* What the library says about the last failure on this thread. */
static _Noreturn void die_twal(const char *what, int code)
{
    twal_error why = TWAL_ERROR_INIT;
    twal_last_error(&why);
    die("%s: %s: %s", what, twal_strerror(code), why.text);
}

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* ---- the input and its chunks ---- */

struct input {
    unsigned char *bytes;
    size_t len;
    size_t *starts; /* of every chunk, and len at the end */
    size_t chunks;
};

static void read_all(struct input *input, const char *path)
{
    int fd = strcmp(path, "-") == 0 ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        die("cannot open %s: %s", path, strerror(errno));
    size_t room = 0;
    for (;;) {
        if (input->len == room) {
            room = room ? 2 * room : (size_t)1 << 20;
            input->bytes = realloc(input->bytes, room);
            if (!input->bytes)
                die("no memory for the input");
        }
        ssize_t n = read(fd, input->bytes + input->len, room - input->len);
        if (n < 0)
            die("cannot read %s: %s", path, strerror(errno));
        if (n == 0)
            break;
        input->len += (size_t)n;
    }
    if (fd != STDIN_FILENO)
        close(fd);
}

/* The lengths come from a generator with a fixed seed, so every run cuts alike. */
static void cut(struct input *input)
{
    input->starts = malloc((input->len / CHUNK_MIN + 2) * sizeof *input->starts);
    if (!input->starts)
        die("no memory for the chunks");
    uint64_t state = 20261121;
    for (size_t at = 0; at < input->len; input->chunks++) {
        input->starts[input->chunks] = at;
        state = state * 6364136223846793005u + 1442695040888963407u;
        size_t len = CHUNK_MIN + (size_t)(state >> 33) % (CHUNK_MAX - CHUNK_MIN + 1);
        at += len < input->len - at ? len : input->len - at;
    }
    input->starts[input->chunks] = input->len;
}

static struct input load(const char *path)
{
    struct input input = {0};
    read_all(&input, path);
    cut(&input);
    return input;
}

static void unload(struct input *input)
{
    free(input->bytes);
    free(input->starts);
}

static size_t chunk_len(const struct input *input, size_t chunk)
{
    return input->starts[chunk + 1] - input->starts[chunk];
}

/* ---- what the log holds ---- */

struct held {
    bool *chunks; /* by number */
    size_t count;
    uint64_t payload_bytes;
};

/* Reads every record; each must be a chunk of this input, whole, and there only once.
 * Copies the chunks to their places in `rebuilt`, if that is given. */
static struct held read_log(twal_log *log, const struct input *input, unsigned char *rebuilt)
{
    struct held held = {calloc(input->chunks + 1, 1), 0, 0};
    if (!held.chunks)
        die("no memory for the list of chunks");
    twal_iter *iter;
    int rc = twal_recover_iter(log, 0, &iter);
    if (rc != TWAL_OK)
        die_twal("cannot read the log", rc);
    twal_record record;
    while ((rc = twal_iter_next(iter, &record)) == 1) {
        const unsigned char *data = record.data;
        unsigned long long seq = record.seq;
        if (record.type != CHUNK_TYPE || record.timestamp < 0 || (uint64_t)record.timestamp >= input->chunks)
            die("record %llu is no chunk of this input", seq);
        size_t chunk = (size_t)record.timestamp;
        if (record.len != OFFSET_BYTES + chunk_len(input, chunk))
            die("record %llu, chunk %zu: %zu bytes, not %zu", seq, chunk, record.len,
                OFFSET_BYTES + chunk_len(input, chunk));
        uint64_t offset = 0;
        for (int i = 0; i < OFFSET_BYTES; i++)
            offset |= (uint64_t)data[i] << (8 * i);
        if (offset != input->starts[chunk])
            die("record %llu, chunk %zu: offset %llu, not %zu", seq, chunk, (unsigned long long)offset,
                input->starts[chunk]);
        if (held.chunks[chunk])
            die("record %llu: chunk %zu is in the log twice", seq, chunk);
        held.chunks[chunk] = true;
        held.count++;
        held.payload_bytes += record.len;
        if (rebuilt)
            memcpy(rebuilt + offset, data + OFFSET_BYTES, record.len - OFFSET_BYTES);
    }
    if (rc < 0)
        die_twal("cannot read the log", rc);
    twal_iter_close(iter);
    return held;
}

/* ---- what was acknowledged ---- */

/* One byte a chunk in a mapped file: it outlives a killed process, as the page
 * cache does, and setting a byte costs the appending thread nothing. */
static unsigned char *map_acks(const char *path, size_t chunks)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || ftruncate(fd, (off_t)(chunks + 1)) != 0)
        die("cannot make %s: %s", path, strerror(errno));
    void *acks = mmap(NULL, chunks + 1, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (acks == MAP_FAILED)
        die("cannot map %s: %s", path, strerror(errno));
    close(fd);
    return acks;
}

/* An acknowledged chunk that is not in the log is the one thing that must not be. */
static void check_acks(const unsigned char *acks, const struct held *held, size_t chunks)
{
    size_t acknowledged = 0, lost = 0;
    for (size_t chunk = 0; chunk < chunks; chunk++) {
        acknowledged += acks[chunk] == 1;
        lost += acks[chunk] == 1 && !held->chunks[chunk];
    }
    if (lost > 0)
        die("%zu of %zu acknowledged chunks are not in the log", lost, acknowledged);
    if (acknowledged > 0)
        printf("  acknowledged before    %zu chunks, all of them in the log (and %zu whose answer was still on its way)\n",
               acknowledged, held->count - acknowledged);
}

/* ---- write ---- */

struct work {
    twal_log *log;
    const struct input *input;
    const bool *held;
    unsigned char *acks;   /* NULL: not kept */
    atomic_size_t next;    /* the chunk that nobody has taken yet */
    atomic_size_t done;    /* acknowledged, earlier runs included */
    atomic_size_t written; /* acknowledged in this run */
    atomic_size_t bytes;   /* of these */
    size_t report_every;   /* 0: do not */
};

static void *append_chunks(void *argument)
{
    struct work *work = argument;
    const struct input *input = work->input;
    unsigned char payload[OFFSET_BYTES + CHUNK_MAX];
    for (;;) {
        size_t chunk = atomic_fetch_add(&work->next, 1);
        if (chunk >= input->chunks)
            return NULL;
        if (work->held[chunk])
            continue;
        uint64_t offset = input->starts[chunk];
        size_t len = chunk_len(input, chunk);
        for (int i = 0; i < OFFSET_BYTES; i++)
            payload[i] = (unsigned char)(offset >> (8 * i));
        memcpy(payload + OFFSET_BYTES, input->bytes + offset, len);

        twal_entry entry = TWAL_ENTRY_INIT;
        entry.data = payload;
        entry.len = OFFSET_BYTES + len;
        entry.timestamp = (int64_t)chunk;
        entry.type = CHUNK_TYPE;
        int rc = twal_append_entry(work->log, &entry, NULL);
        if (rc != TWAL_OK)
            die_twal("cannot append", rc);

        if (work->acks)
            work->acks[chunk] = 1;
        atomic_fetch_add(&work->written, 1);
        atomic_fetch_add(&work->bytes, entry.len);
        size_t done = atomic_fetch_add(&work->done, 1) + 1;
        if (work->report_every && done % work->report_every == 0) {
            printf("acknowledged %zu of %zu\n", done, input->chunks);
            fflush(stdout);
        }
    }
}

static void print_recovery(twal_log *log)
{
    twal_recovery found = TWAL_RECOVERY_INIT;
    int rc = twal_recovery_get(log, &found);
    if (rc != TWAL_OK)
        die_twal("cannot get the recovery report", rc);
    if (found.created) {
        printf("  opened                 a new log, in %.2f ms\n", (double)found.duration_us / 1e3);
        return;
    }
    static const char *const tails[] = {"?", "clean", "torn (cut off)", "damaged"};
    printf("  recovered              %llu records in %llu segments, in %.2f ms; tail %s, %llu bytes cut\n",
           (unsigned long long)found.records, (unsigned long long)found.segments, (double)found.duration_us / 1e3,
           tails[found.tail <= TWAL_TAIL_DAMAGED ? found.tail : 0], (unsigned long long)found.bytes_cut);
}

static void print_stats(twal_log *log, const struct work *work, unsigned threads, double took)
{
    twal_stats stats = TWAL_STATS_INIT;
    int rc = twal_stats_get(log, &stats);
    if (rc != TWAL_OK)
        die_twal("cannot get the stats", rc);
    double records = (double)atomic_load(&work->written);
    printf("  engine                 %s (%s)\n", stats.engine, stats.engine_reason);
    printf("  written                %.0f records by %u threads in %.2f s: %.0f records/s, %.1f MB/s, all durable\n",
           records, threads, took, records / took, (double)atomic_load(&work->bytes) / took / 1e6);
    printf("  flushes                %llu: %.2f records each; %llu segments sealed\n", (unsigned long long)stats.flushes,
           stats.flushes ? records / (double)stats.flushes : 0.0, (unsigned long long)stats.segments_sealed);
}

/* The commonest reason for a refused engine is a policy, which text names: exit 3 lets a script go on without it. */
static twal_log *open_log(const char *dir, twal_options *options)
{
    twal_log *log;
    int rc = twal_open(dir, options, &log);
    if (rc == TWAL_OK)
        return log;
    if (rc == TWAL_E_UNSUPPORTED && options->io_engine != TWAL_IO_AUTO) {
        twal_error why = TWAL_ERROR_INIT;
        twal_last_error(&why);
        fprintf(stderr, "demo: not available: %s\n", why.text);
        exit(3);
    }
    die_twal("cannot open the log", rc);
}

static int write_log(const char *dir, const char *path, uint32_t engine, unsigned threads, const char *acks_path,
                     bool progress)
{
    struct input input = load(path);
    twal_options options = TWAL_OPTIONS_INIT;
    options.io_engine = engine;
    options.segment_size = 16u << 20; /* small, so that the demo meets several */
    twal_log *log = open_log(dir, &options);
    print_recovery(log);

    struct held held = read_log(log, &input, NULL);
    struct work work = {.log = log, .input = &input, .held = held.chunks, .done = held.count};
    if (acks_path) {
        work.acks = map_acks(acks_path, input.chunks);
        check_acks(work.acks, &held, input.chunks);
    }
    if (held.count > 0)
        printf("  to do                  %zu of %zu chunks\n", input.chunks - held.count, input.chunks);
    if (progress)
        work.report_every = input.chunks / 64 + 1;
    fflush(stdout);

    pthread_t ids[THREADS_MAX];
    double start = now_s();
    for (unsigned i = 0; i < threads; i++)
        if (pthread_create(&ids[i], NULL, append_chunks, &work) != 0)
            die("cannot start a thread");
    for (unsigned i = 0; i < threads; i++)
        pthread_join(ids[i], NULL);
    print_stats(log, &work, threads, now_s() - start);

    int rc = twal_close(log);
    if (rc != TWAL_OK)
        die_twal("cannot close the log", rc);
    if (work.acks)
        munmap(work.acks, input.chunks + 1);
    free(held.chunks);
    unload(&input);
    return 0;
}

/* ---- verify ---- */

static int verify_log(const char *dir, const char *path, const char *rebuild_path)
{
    struct input input = load(path);
    twal_options options = TWAL_OPTIONS_INIT;
    options.flags = TWAL_OPEN_READ_ONLY;
    twal_log *log = open_log(dir, &options);
    print_recovery(log);
    unsigned char *rebuilt = calloc(input.len + 1, 1);
    if (!rebuilt)
        die("no memory to rebuild the input");
    double start = now_s();
    struct held held = read_log(log, &input, rebuilt);
    double took = now_s() - start;

    if (held.count != input.chunks)
        die("%zu of %zu chunks are missing", input.chunks - held.count, input.chunks);
    if (memcmp(rebuilt, input.bytes, input.len) != 0)
        die("what the log gives back is not the input");
    printf("  read back              %zu records, %.1f MB, no holes, none twice, in %.3f s: %.0f records/s\n", held.count,
           (double)held.payload_bytes / 1e6, took, (double)held.count / took);
    printf("  compared               %zu bytes rebuilt from the log are the input's, byte for byte\n", input.len);
    if (rebuild_path) {
        FILE *file = fopen(rebuild_path, "wb");
        if (!file || fwrite(rebuilt, 1, input.len, file) != input.len || fclose(file) != 0)
            die("cannot write %s: %s", rebuild_path, strerror(errno));
    }

    int rc = twal_close(log);
    if (rc != TWAL_OK)
        die_twal("cannot close the log", rc);
    free(rebuilt);
    free(held.chunks);
    unload(&input);
    return 0;
}

/* ---- the command line ---- */

static _Noreturn void usage(void)
{
    fputs("usage: demo write DIR INPUT [--engine auto|uring|blocking] [--threads N] [--acks FILE] [--progress]\n"
          "       demo verify DIR INPUT [--rebuild FILE]\n",
          stderr);
    exit(2);
}

static uint32_t engine_of(const char *name)
{
    if (strcmp(name, "auto") == 0)
        return TWAL_IO_AUTO;
    if (strcmp(name, "uring") == 0)
        return TWAL_IO_URING;
    if (strcmp(name, "blocking") == 0)
        return TWAL_IO_BLOCKING;
    usage();
}

int main(int argc, char **argv)
{
    if (argc < 4)
        usage();
    bool writing = strcmp(argv[1], "write") == 0;
    if (!writing && strcmp(argv[1], "verify") != 0)
        usage();
    uint32_t engine = TWAL_IO_AUTO;
    unsigned long threads = 4;
    const char *acks = NULL, *rebuild = NULL;
    bool progress = false;
    for (int i = 4; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : NULL;
        if (writing && strcmp(argv[i], "--progress") == 0) {
            progress = true;
            continue;
        }
        if (!value)
            usage();
        if (writing && strcmp(argv[i], "--engine") == 0)
            engine = engine_of(value);
        else if (writing && strcmp(argv[i], "--threads") == 0)
            threads = strtoul(value, NULL, 10);
        else if (writing && strcmp(argv[i], "--acks") == 0)
            acks = value;
        else if (!writing && strcmp(argv[i], "--rebuild") == 0)
            rebuild = value;
        else
            usage();
        i++;
    }
    if (threads < 1 || threads > THREADS_MAX)
        usage();
    if (writing)
        return write_log(argv[2], argv[3], engine, (unsigned)threads, acks, progress);
    return verify_log(argv[2], argv[3], rebuild);
}
