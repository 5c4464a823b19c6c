/*
 * t:valgrind no, it mounts a file system
 *
 * Goal: what lies in a log's directory under a name of twal's and is none of its
 * files goes by repair: a file is copied, what is no file is moved to the backup,
 * whole; where that cannot be done nothing is changed.  What is not known to be
 * nothing goes only if that was said.
 */
#include "crashed.h"

#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define LEN 6000

static const char *original, *dir, *backup, *elsewhere;

static const char *in(const char *place, const char *file)
{
    static char paths[4][1200];
    static int next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", place, file);
    return path;
}

static void copy_log(void)
{
    t_dir_remove(backup);
    t_dir_copy(original, dir);
}

static twal_repair *planned(void)
{
    twal_options options = t_options();
    twal_repair *repair;
    t_ok(twal_repair_plan(dir, &options, &repair));
    return repair;
}

static twal_repair_step step_at(const twal_repair *repair, uint64_t at)
{
    twal_repair_step step = TWAL_REPAIR_STEP_INIT;
    t_ok(twal_repair_step_get(repair, at, &step));
    return step;
}

static uint64_t count_steps(const twal_repair *repair)
{
    uint64_t count = 0;
    twal_repair_step step = TWAL_REPAIR_STEP_INIT;
    while (twal_repair_step_get(repair, count, &step) == TWAL_OK)
        count++;
    return count;
}

static void refused(void)
{
    twal_log *log = NULL;
    t_code(twal_open(dir, NULL, &log), TWAL_E_CORRUPT);
    t_code(twal_verify(dir, NULL, NULL, NULL, NULL), TWAL_E_CORRUPT);
}

/* A directory that is not empty. */
static void make_dir(const char *name)
{
    t_check(mkdir(in(dir, name), 0700) == 0);
    t_file_make(in(in(dir, name), "inside"), "kept", 4);
}

static void is_dir_in(const char *place, const char *name)
{
    size_t len;
    char *inside = t_file_read(in(in(place, name), "inside"), &len);
    t_check(len == 4 && !memcmp(inside, "kept", 4));
}

static mode_t kind_of(const char *path)
{
    struct stat about;
    t_check(lstat(path, &about) == 0);
    return about.st_mode & S_IFMT;
}

/* Refused without the word, with nothing changed; then done. */
static void applied(twal_repair *repair)
{
    t_code(twal_repair_apply(repair, backup, 0), TWAL_E_STATE);
    t_check(!t_exists(backup));
    t_ok(twal_repair_apply(repair, backup, TWAL_REPAIR_DROP_ACKNOWLEDGED));
    twal_repair_close(repair);
    t_check(!t_exists(in(dir, "twal-repair-unfinished")));
    t_ok(twal_verify(dir, NULL, NULL, NULL, NULL));
}

static void make_no_files(void)
{
    copy_log();
    make_dir("twal-dir");
    make_dir("twal-spare-700");
    make_dir("twal-repair-unfinished");
    t_check(symlink(elsewhere, in(dir, "twal-link")) == 0);
    t_check(mkfifo(in(dir, "twal-fifo"), 0600) == 0);
    refused();
}

static void are_in(const char *place)
{
    is_dir_in(place, "twal-dir");
    is_dir_in(place, "twal-spare-700");
    is_dir_in(place, "twal-repair-unfinished");
    t_check(kind_of(in(place, "twal-link")) == S_IFLNK && kind_of(in(place, "twal-fifo")) == S_IFIFO);
}

static void no_files(void)
{
    uint64_t precious = t_file_sum(elsewhere);
    make_no_files();
    twal_repair *repair = planned();
    t_equal(count_steps(repair), 5);
    for (uint64_t n = 0; n < 5; n++) {
        twal_repair_step step = step_at(repair, n);
        t_equal(step.kind, TWAL_REPAIR_ISOLATE);
        t_equal(step.acknowledged, TWAL_ACKNOWLEDGED_UNKNOWN);
        t_equal(step.segment + step.first_seq + step.last_seq, 0);
    }
    applied(repair);
    are_in(backup);
    t_equal(t_count_spares(dir), t_count_spares(original));
    t_equal(t_file_sum(elsewhere), precious);
    t_expect_log(dir, 1, 25, LEN);
}

/* A spare alone: what nobody looked at until a log was opened. */
static void spare_only(void)
{
    copy_log();
    t_check(symlink(elsewhere, in(dir, "twal-spare-9")) == 0);
    refused();
    twal_repair *repair = planned();
    t_check(!strcmp(step_at(repair, 0).file, "twal-spare-9"));
    t_equal(count_steps(repair), 1);
    applied(repair);
    t_expect_log(dir, 1, 25, LEN);
}

/* Nothing can be moved to another file system: then nothing is. */
static void elsewhere_nothing_is_done(void)
{
    char other[64];
    struct stat here, there;
    snprintf(other, sizeof other, "/dev/shm/twal-c-test.%d", (int)getpid());
    if (stat("/dev/shm", &there) || stat(original, &here) || here.st_dev == there.st_dev
        || access("/dev/shm", W_OK)) {
        printf("no second file system in /dev/shm\n");
        return;
    }
    make_no_files();
    char seal[128];
    snprintf(seal, sizeof seal, "twal-%016d-%020d.active", 5, 21);
    t_remove(in(dir, seal));
    make_dir(seal);
    twal_options options = t_options();
    options.flags = TWAL_OPEN_ALLOW_ANY_FS | TWAL_OPEN_ALLOW_BUFFERED;
    twal_repair *repair;
    t_ok(twal_repair_plan(dir, &options, &repair));
    size_t spares = t_count_spares(dir);
    t_code(twal_repair_apply(repair, other, TWAL_REPAIR_DROP_ACKNOWLEDGED), TWAL_E_UNSUPPORTED);
    t_check(strstr(t_last_error().text, "is not a file"));
    twal_repair_close(repair);
    t_dir_remove(other);
    are_in(dir);
    is_dir_in(dir, seal);
    t_equal(t_count_spares(dir), spares);
    for (uint64_t index = 1; index <= 4; index++) {
        const char *path = t_segment_at(original, index).path;
        t_equal(t_file_sum(in(dir, strrchr(path, '/') + 1)), t_file_sum(path));
    }

    /* And where it can be, all of it. */
    repair = planned();
    t_equal(count_steps(repair), 7); /* the five, the segment, and a new one */
    applied(repair);
    are_in(backup);
    is_dir_in(backup, seal);
    t_expect_log(dir, 1, 20, LEN);
}

/* What cannot be moved at all, a mount point, is met behind others that can: they are put back. */
static void one_of_them_stays(void)
{
    if (geteuid() != 0) {
        printf("no mount point without root\n");
        return;
    }
    t_private_mounts();
    make_no_files();
    t_check(mkdir(in(dir, "twal-z"), 0700) == 0);
    t_check(mount(dir, in(dir, "twal-z"), NULL, MS_BIND, NULL) == 0);
    twal_repair *repair = planned();
    t_equal(count_steps(repair), 6);
    t_code(twal_repair_apply(repair, backup, TWAL_REPAIR_DROP_ACKNOWLEDGED), TWAL_E_UNSUPPORTED);
    twal_repair_close(repair);
    t_check(umount2(in(dir, "twal-z"), MNT_DETACH) == 0);
    are_in(dir);
    t_dir_remove(backup);
    repair = planned();
    applied(repair);
    are_in(backup);
    t_expect_log(dir, 1, 25, LEN);
}

/* What is no file in the place of each segment. */
static void segments(void)
{
    for (uint64_t index = 1; index <= 5; index += 2)
        for (int kind = 0; kind < 3; kind++) {
            copy_log();
            t_segment segment = t_segment_at(dir, index);
            const char *name = strrchr(segment.path, '/') + 1;
            const char *moved = t_path("moved");
            t_rename(segment.path, moved);
            if (kind == 0)
                make_dir(name);
            else
                t_check((kind == 1 ? symlink(moved, segment.path) : mkfifo(segment.path, 0600)) == 0);
            uint64_t sum = t_file_sum(moved);
            refused();
            twal_repair *repair = planned();
            twal_repair_step drop = step_at(repair, 0);
            t_equal(drop.kind, TWAL_REPAIR_DROP);
            t_equal(drop.segment, index);
            t_equal(drop.acknowledged, TWAL_ACKNOWLEDGED_YES);
            applied(repair);
            t_check(kind_of(in(backup, name)) == (kind == 0 ? S_IFDIR : kind == 1 ? S_IFLNK : S_IFIFO));
            t_equal(t_file_sum(moved), sum);
            t_remove(moved);
            uint64_t last = (index - 1) * 5;
            twal_options options = t_options_quiet();
            twal_log *log = t_open(dir, &options);
            t_equal(twal_last_seq(log), last);
            t_append_many(log, 3, LEN);
            t_close(log);
            t_expect_log(dir, 1, last + 3, LEN);
        }
}

/* Beside the segment itself it takes nothing with it. */
static void doubled(void)
{
    const char *states[] = { "archived", "active" };
    for (int n = 0; n < 2; n++) {
        copy_log();
        char name[128];
        snprintf(name, sizeof name, "twal-%016d-%020d.%s", 3, 11, states[n]);
        make_dir(name);
        twal_repair *repair = planned();
        t_equal(step_at(repair, 0).kind, TWAL_REPAIR_ISOLATE);
        t_equal(count_steps(repair), 1);
        applied(repair);
        is_dir_in(backup, name);
        t_expect_log(dir, 1, 25, LEN);
    }
}

/* In the place of a segment that was released long ago: nobody reads it, and a trim cannot remove it.  The log is not
 * poisoned by that, and loses nothing when it is repaired. */
static void elder(void)
{
    const char *whole = t_path("archived");
    t_make_closed(whole, 25, LEN, 5);
    twal_options options = t_options_quiet();
    twal_log *log = t_open(whole, &options);
    t_ok(twal_trim(log, 16));
    t_close(log);
    t_equal(t_count_state(whole, "archived"), 3);
    const char *many = original;
    original = whole;
    copy_log();
    t_segment segment = t_segment_at(dir, 1);
    t_remove(segment.path);
    make_dir(strrchr(segment.path, '/') + 1);
    t_code(twal_verify(dir, NULL, NULL, NULL, NULL), TWAL_E_CORRUPT);
    options.max_retained_segments = 1;
    log = t_open(dir, &options);
    t_expect_many(log, 16, 25, LEN);
    t_code(twal_trim(log, 16), TWAL_E_CORRUPT);
    t_append_many(log, 1, LEN);
    t_code(twal_trim(log, 16), TWAL_E_CORRUPT);
    t_close(log);
    twal_repair *repair = planned();
    t_equal(step_at(repair, 0).kind, TWAL_REPAIR_ISOLATE);
    t_equal(count_steps(repair), 1);
    applied(repair);
    is_dir_in(backup, strrchr(segment.path, '/') + 1);
    log = t_open(dir, &options);
    t_ok(twal_trim(log, 16));
    t_expect_many(log, 16, 26, LEN);
    t_close(log);
    t_equal(t_count_state(dir, "archived"), 1);
    original = many;
}

/* Records under a name that no log has: what goes is said. */
static void renamed(void)
{
    copy_log();
    t_segment second = t_segment_at(dir, 2), last = t_active(dir);
    const char *copy = in(dir, "twal-2.bak");
    t_file_copy(second.path, copy);
    t_file_copy(last.path, in(dir, "twal-5.bak"));
    uint64_t sum = t_file_sum(copy);
    twal_repair *repair = planned();
    t_equal(count_steps(repair), 2);
    for (uint64_t n = 0; n < 2; n++) {
        twal_repair_step step = step_at(repair, n);
        t_equal(step.kind, TWAL_REPAIR_ISOLATE);
        t_equal(step.segment, n ? 5 : 2);
        t_equal(step.first_seq, n ? 21 : 6);
        t_equal(step.last_seq, n ? 25 : 10);
        t_equal(step.acknowledged, TWAL_ACKNOWLEDGED_YES);
    }
    applied(repair);
    t_equal(t_file_sum(in(backup, "twal-2.bak")), sum);
    t_expect_log(dir, 1, 25, LEN);

    /* Another log's, one without a frame, and one whose header is damaged: nobody knows. */
    copy_log();
    const char *other = t_path("other");
    t_make_closed(other, 3, LEN, 0);
    t_file_copy(t_active(other).path, in(dir, "twal-a"));
    t_file_copy(second.path, in(dir, "twal-b"));
    t_file_flip(in(dir, "twal-b"), 8, 8);
    t_file_make(in(dir, "twal-c"), "", 0);
    t_file_copy(second.path, in(dir, "twal-d"));
    t_file_zero(in(dir, "twal-d"), T_BLOCK, t_file_size(second.path) - T_BLOCK);
    repair = planned();
    t_equal(count_steps(repair), 4);
    for (uint64_t n = 0; n < 4; n++) {
        twal_repair_step step = step_at(repair, n);
        t_equal(step.acknowledged, TWAL_ACKNOWLEDGED_UNKNOWN);
        t_equal(step.segment, n == 3 ? 2 : 0);
        t_equal(step.first_seq, n == 3 ? 6 : 0);
        t_equal(step.last_seq, n == 3 ? 5 : 0);
    }
    applied(repair);
    t_expect_log(dir, 1, 25, LEN);
}

/* A file that is nearly all hole: its copy takes as little room. */
static void sparse(void)
{
    const off_t size = (off_t)3 << 30, middle = ((off_t)1 << 30) + 12345;
    copy_log();
    const char *path = in(dir, "twal-sparse");
    t_file_make(path, "", 0);
    if (truncate(path, size + 5)) {
        printf("no file of 3 GiB here\n");
        return;
    }
    t_file_write(path, 0, "begin", 5);
    t_file_write(path, (uint64_t)middle, "middle", 6);
    t_file_write(path, (uint64_t)size, "end", 3);
    applied(planned());
    t_expect_log(dir, 1, 25, LEN);
    path = in(backup, "twal-sparse");
    struct stat about;
    t_check(stat(path, &about) == 0);
    t_check(about.st_size >= size + 5 && about.st_size <= size + 65536);
    t_check(about.st_blocks <= 64 << 10); /* 32 MiB */
    char found[32] = { 0 };
    int fd = open(path, O_RDONLY);
    t_check(fd >= 0);
    t_check(pread(fd, found, 5, 0) == 5 && !memcmp(found, "begin", 5));
    t_check(pread(fd, found, 8, middle - 1) == 8 && !memcmp(found, "\0middle", 8));
    t_check(pread(fd, found, 5, size) == 5 && !memcmp(found, "end\0", 5));
    close(fd);
}

/* A file system that cannot swap two names: said so, and nothing is changed. */
static void without_swap(void *arg)
{
    (void)arg;
    struct sock_filter rules[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_renameat2, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[4])),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, RENAME_EXCHANGE, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EINVAL),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = { sizeof rules / sizeof *rules, rules };
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program)) {
        printf("no seccomp filter here\n");
        return;
    }
    twal_repair *repair = planned();
    t_code(twal_repair_apply(repair, backup, TWAL_REPAIR_DROP_ACKNOWLEDGED), TWAL_E_UNSUPPORTED);
    t_check(strstr(t_last_error().text, "cannot swap two names"));
    twal_repair_close(repair);
    are_in(dir);
    refused();
}

static void no_swap(void)
{
    make_no_files();
    t_wait_child_ok(t_fork(without_swap, NULL));
    are_in(dir);
    t_dir_remove(backup);
    applied(planned());
    are_in(backup);
    t_expect_log(dir, 1, 25, LEN);
}

int main(void)
{
    t_begin();
    original = t_path("many");
    dir = t_path("log");
    backup = t_path("backup");
    elsewhere = t_path("elsewhere");
    t_file_make(elsewhere, "precious", 8);
    t_make_closed(original, 25, LEN, 5); /* 1-5, 6-10, 11-15, 16-20, 21-25 */
    no_files();
    spare_only();
    elsewhere_nothing_is_done();
    one_of_them_stays();
    segments();
    doubled();
    elder();
    renamed();
    sparse();
    no_swap();
    return t_end();
}
