/*
 * t:tsan no, its disk is a child without threads
 * t:valgrind no, it mounts a file system
 *
 * Goal: a write of a killed process that lands late harms nobody: whoever opens the
 * log next waits for the lock that the write keeps on its file, or is told
 * TWAL_E_LOCKED; and once it is let in, nothing lands on what it writes.
 * Method: ext4 on a loop device on a disk in user space that keeps one write back on
 * command, while it does and answers everything else, also flushes.
 */
#include "helpers.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

static int disk_main(int argc, char **argv);

static char hub[600];
static int disk_says[2];

static void be_a_disk(void *image)
{
    char *argv[] = { "disk", image, "/dev/null", hub, "1", NULL };
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    dup2(disk_says[1], 1);
    _exit(disk_main(5, argv));
}

/* The disk's next word. */
static void expect_word(const char *word)
{
    char line[16] = "";
    for (size_t n = 0; n < sizeof line - 1; n++) {
        t_check(t_readable(disk_says[0], 2 * T_PATIENCE_MS));
        t_check(read(disk_says[0], line + n, 1) == 1);
        if (line[n] == '\n') {
            line[n] = 0;
            t_check(!strcmp(line, word));
            return;
        }
    }
    t_fail(__FILE__, __LINE__, "the disk says %s", line);
}

static void tell_disk(const char *command)
{
    char path[700];
    snprintf(path, sizeof path, "%s/mark", hub);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    t_check(fd >= 0);
    t_check(write(fd, command, strlen(command)) == (ssize_t)strlen(command));
    close(fd);
}

static pid_t disk;

/* An ext4 on that disk, mounted; its path. */
static const char *mount_slow_disk(void)
{
    char *image = (char *)(uintptr_t)t_path("slow-image"), file[700], device[64] = "";
    const char *place = t_path("slow");
    snprintf(hub, sizeof hub, "%s", t_path("hub"));
    if (geteuid() != 0 || access("/dev/fuse", R_OK | W_OK))
        t_skip("a disk in user space needs root and /dev/fuse");
    int fd = open(image, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    t_check(fd >= 0 && ftruncate(fd, 64 << 20) == 0);
    close(fd);
    if (t_run((const char *const[]){ "mkfs.ext4", "-q", "-F", image, NULL }) != 0)
        t_skip("no mkfs.ext4");
    t_private_mounts();
    t_check(mkdir(hub, 0700) == 0 && mkdir(place, 0700) == 0 && pipe(disk_says) == 0);
    disk = t_fork(be_a_disk, image);
    close(disk_says[1]);
    if (!t_readable(disk_says[0], T_PATIENCE_MS) || waitpid(disk, NULL, WNOHANG) == disk)
        t_skip("no FUSE here");
    expect_word("ready");
    snprintf(file, sizeof file, "losetup --direct-io=on --show -f %s/disk", hub);
    FILE *said = popen(file, "r");
    t_check(said);
    if (!fgets(device, sizeof device, said) || pclose(said) != 0)
        t_skip("no loop devices here");
    device[strcspn(device, "\n")] = 0;
    int mounted = t_run((const char *const[]){ "mount", device, place, NULL });
    /* It goes with its last user. */
    t_run((const char *const[]){ "losetup", "-d", device, NULL });
    t_equal(mounted, 0);
    return place;
}

/* ---- the writer that is killed ---- */

#define LATE "this write lands late"
#define LEN 3000

struct writer {
    char dir[700];
    uint32_t engine;
    int go[2], ready[2];
};

static twal_options options_of(uint32_t engine)
{
    twal_options options = t_options_quiet();
    options.io_engine = engine;
    return options;
}

static void write_late(void *arg)
{
    struct writer *writer = arg;
    twal_options options = options_of(writer->engine);
    char byte, *late = calloc(1, 20 * LEN);
    t_check(late);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    twal_log *log = t_open(writer->dir, &options);
    t_append_many(log, 20, LEN);
    t_check(write(writer->ready[1], "r", 1) == 1);
    t_check(read(writer->go[0], &byte, 1) == 1);
    memcpy(late + 100, LATE, sizeof LATE);
    t_ok(twal_append(log, late, 20 * LEN, NULL));
    t_fail(__FILE__, __LINE__, "the write came back");
}

static bool late_seen;

/* 1 to 20, perhaps the late one, and what came after it, as t_append_many() numbers them. */
static void check_record(const twal_record *record, void *arg)
{
    (void)arg;
    uint64_t writer, number;
    if (record->seq == 21 && record->len == 20 * LEN) {
        t_check(!memcmp((const char *)record->data + 100, LATE, sizeof LATE));
        late_seen = true;
        return;
    }
    t_check(t_payload_read(record->data, record->len, &writer, &number));
    t_equal(number, record->seq);
}

static void check(twal_log *log, uint64_t last)
{
    t_seen seen;
    late_seen = false;
    t_ok(t_read(log, 0, &seen, check_record, NULL));
    t_equal(seen.first, 1);
    t_equal(seen.last, last);
}

static twal_log *opened;
static atomic_int opener_id;

static void *open_patiently(void *arg)
{
    const struct writer *writer = arg;
    twal_options options = options_of(writer->engine);
    int code, left = 30;
    atomic_store(&opener_id, t_thread_id());
    while ((code = twal_open(writer->dir, &options, &opened)) == TWAL_E_LOCKED && left-- > 0)
        ;
    t_ok(code);
    return NULL;
}

/* Whether this process has the directory open. */
static bool is_open(const char *dir)
{
    char wanted[PATH_MAX], path[320], there[PATH_MAX];
    t_check(realpath(dir, wanted));
    DIR *descriptors = opendir("/proc/self/fd");
    struct dirent *entry;
    bool found = false;
    t_check(descriptors);
    while (!found && (entry = readdir(descriptors))) {
        snprintf(path, sizeof path, "/proc/self/fd/%s", entry->d_name);
        ssize_t len = readlink(path, there, sizeof there - 1);
        if (len > 0) {
            there[len] = 0;
            found = !strcmp(there, wanted);
        }
    }
    closedir(descriptors);
    return found;
}

static void one_round(const char *place, uint32_t engine, int round)
{
    struct writer writer = { .engine = engine };
    twal_options options = options_of(engine);
    twal_log *log = NULL;
    char byte;
    snprintf(writer.dir, sizeof writer.dir, "%s/log-%s-%d", place, t_engine_name(engine), round);
    t_check(pipe(writer.go) == 0 && pipe(writer.ready) == 0);
    pid_t pid = t_fork(write_late, &writer);
    t_check(read(writer.ready[0], &byte, 1) == 1);
    tell_disk("hold " LATE);
    t_check(write(writer.go[1], "g", 1) == 1);
    expect_word("held");
    kill(pid, SIGKILL);
    /* io_uring's write outlives the process; a process inside pwritev2() cannot die yet. */
    if (engine == TWAL_IO_URING)
        t_check((t_wait_child(pid, T_PATIENCE_MS) & 0x7f) == SIGKILL);

    if (round == 0) {
        t_code(twal_open(writer.dir, &options, &log), TWAL_E_LOCKED);
        tell_disk("go");
    }
    atomic_store(&opener_id, 0);
    pthread_t opener = t_thread(open_patiently, &writer);
    if (round != 0) {
        /* It lands while the open waits for it: an open that has begun cannot get any further. */
        t_await(atomic_load(&opener_id) && is_open(writer.dir), T_PATIENCE_MS);
        t_await_asleep(atomic_load(&opener_id));
        tell_disk("go");
    }
    t_join(opener);
    log = opened;
    if (engine != TWAL_IO_URING)
        t_check((t_wait_child(pid, T_PATIENCE_MS) & 0x7f) == SIGKILL);
    uint64_t last = twal_last_seq(log);
    t_check(last == 20 || last == 21);
    check(log, last);
    bool was_there = late_seen;
    t_equal(was_there, last == 21);
    t_append_many(log, 30, LEN);
    check(log, last + 30);
    t_close(log);
    log = t_open(writer.dir, &options);
    check(log, last + 30);
    t_equal(late_seen, was_there);
    t_append_many(log, 5, LEN);
    t_close(log);
    printf("%s, round %d: the late write %s\n", t_engine_name(engine), round, was_there ? "counts" : "was cut");
    for (int n = 0; n < 2; n++) {
        close(writer.go[n]);
        close(writer.ready[n]);
    }
}

int main(void)
{
    t_begin();
    static const uint32_t engines[] = { TWAL_IO_URING, TWAL_IO_BLOCKING };
    const char *place = mount_slow_disk();
    for (int n = 0; n < 2; n++)
        for (int round = 0; round < 2; round++) {
            if (n == 0 && !t_engine_works(engines[n]))
                printf("no %s here\n", t_engine_name(engines[n]));
            else
                one_round(place, engines[n], round);
        }
    /* The file system before the disk under it. */
    t_check(umount2(place, 0) == 0 || umount2(place, MNT_DETACH) == 0);
    t_await(umount2(hub, 0) == 0, T_PATIENCE_MS);
    t_wait_child(disk, T_PATIENCE_MS);
    return t_end();
}

#define main disk_main
#include "../tests/powerloss/disk.c"
