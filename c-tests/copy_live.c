/*
 * t:valgrind no, it races a writer
 *
 * Goal: a directory that is copied file by file while it is written yields a log or an
 * error, never wrong bytes.
 *
 * What can be promised of such a copy, and what cannot.  Files are copied one after the
 * other, each while it may be written, renamed, begun or removed: the copy is no moment
 * of the log.  So it may miss a segment, have one under an old name, or a newest one
 * that is older than a sealed one.  Promised is:
 *   every record that a copy yields has the bytes it was appended with, from the first
 *     on without a gap;
 *   if the open for writing succeeds, everything that was durable when the copy began
 *     and not trimmed since is there: a copy that lacks some of it is refused
 *     (TWAL_E_CORRUPT) or opens for reading only, and there the reader ends with
 *     TWAL_E_CORRUPT and not with 0 below it.
 * The exception is promise 4's: a last file that was copied before anything behind its
 * acknowledged frames witnessed them; a copy's newest file is read after the copy began,
 * so what was durable by then is in it, whole.  A copy of use is made of a closed log,
 * or of a snapshot of the file system.
 */
#include "helpers.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>

#define COPIES 25
#define LEN 3000

static struct {
    atomic_ulong durable;
    atomic_ulong allowed; /* the writer goes on up to here */
    atomic_bool stop;
} *shared;

static void write_on(void *dir)
{
    twal_options options = t_options_small();
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    twal_log *log = t_open(dir, &options);
    while (!atomic_load(&shared->stop)) {
        if (atomic_load(&shared->durable) >= atomic_load(&shared->allowed)) {
            t_pause();
            continue;
        }
        t_append_many(log, 1, LEN);
        atomic_store(&shared->durable, twal_durable_seq(log));
    }
    t_close(log);
}

/* File by file, as cp -a; a file that goes or gets another name meanwhile is left out. */
static void copy(const char *from, const char *to)
{
    struct dirent **names = NULL;
    char source[1100], target[1100];
    static char piece[1 << 16];
    int count = scandir(from, &names, NULL, alphasort);
    t_check(count >= 0 && mkdir(to, 0700) == 0);
    for (int n = 0; n < count; n++) {
        snprintf(source, sizeof source, "%s/%s", from, names[n]->d_name);
        snprintf(target, sizeof target, "%s/%s", to, names[n]->d_name);
        int in = names[n]->d_name[0] == '.' ? -1 : open(source, O_RDONLY | O_CLOEXEC);
        free(names[n]);
        if (in < 0)
            continue;
        int out = open(target, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        ssize_t got;
        t_check(out >= 0);
        while ((got = read(in, piece, sizeof piece)) > 0)
            t_check(write(out, piece, (size_t)got) == got);
        t_check(got == 0);
        close(in);
        close(out);
    }
    free(names);
}

/* The last number that it yields, and how it ended. */
static uint64_t read_copy(twal_log *log, int *ended)
{
    t_seen seen;
    *ended = t_read(log, 0, &seen, t_record_of_many, &(size_t){ LEN });
    t_check(*ended == 0 || *ended == TWAL_E_CORRUPT);
    t_check(seen.count == 0 || seen.first == 1);
    return seen.count;
}

int main(void)
{
    t_begin();
    char *dir = (char *)(uintptr_t)t_path("log");
    const char *to = t_path("copy");
    int opened = 0, refused = 0, ended;
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    t_check(shared != MAP_FAILED);
    atomic_store(&shared->allowed, 10);
    pid_t writer = t_fork(write_on, dir);
    for (int n = 0; n < COPIES; n++) {
        /* It stands where it was left, and writes on during the copy. */
        uint64_t durable = atomic_load(&shared->allowed);
        t_await(atomic_load(&shared->durable) == durable, 3 * T_PATIENCE_MS);
        atomic_store(&shared->allowed, durable + 40);
        copy(dir, to);
        twal_options options = t_options_small();
        twal_log *log = NULL;
        options.flags = TWAL_OPEN_READ_ONLY;
        int code = twal_open(to, &options, &log);
        if (code == TWAL_OK) {
            uint64_t last = read_copy(log, &ended);
            t_check(ended != 0 || last >= durable);
            t_close(log);
        } else {
            t_code(code, TWAL_E_CORRUPT);
        }
        options.flags = TWAL_OPEN_NO_CREATE;
        code = twal_open(to, &options, &log);
        if (code == TWAL_OK) {
            uint64_t last = read_copy(log, &ended);
            t_check(ended != 0 || last >= durable);
            /* Deeper damage is the reader's to meet; it is never a shorter log. */
            t_equal(ended == 0 ? last : twal_last_seq(log), twal_last_seq(log));
            t_check(twal_last_seq(log) >= durable);
            t_append(log, 100, 9, 9, 0);
            t_close(log);
            opened++;
        } else {
            t_code(code, TWAL_E_CORRUPT);
            refused++;
        }
        t_dir_remove(to);
    }
    atomic_store(&shared->stop, true);
    t_wait_child_ok(writer);
    printf("%d copies opened, %d were refused\n", opened, refused);
    return t_end();
}
