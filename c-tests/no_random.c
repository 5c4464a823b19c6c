/*
 * t:valgrind no, it forbids system calls that valgrind makes too
 * t:tsan no, it forbids system calls
 *
 * Goal: where the kernel gives no random bytes, as in a sandbox without /dev, what
 * needs some says so, nothing panics, and the log goes on.
 * Method: a child that opens a log, leaves for an empty root, and may not call
 * getrandom() any more; each call in a thread of its own, as random state may be
 * kept by thread.
 */
#include "helpers.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

static twal_log *log_;

static bool forbid_random(void)
{
    struct sock_filter rules[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getrandom, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = { sizeof rules / sizeof *rules, rules };
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program) == 0;
}

static int count_streams(void)
{
    size_t count;
    twal_stream_count counts[4] = { TWAL_STREAM_COUNT_INIT };
    return twal_streams(log_, 0, counts, 4, &count);
}

static int read_all(void)
{
    t_seen seen;
    return t_read(log_, 0, &seen, NULL, NULL);
}

static int read_one(void)
{
    twal_record record;
    char data[100];
    return twal_read(log_, 1, data, sizeof data, &record);
}

static int list_segments(void)
{
    size_t count;
    return twal_segments(log_, NULL, 0, &count);
}

static int append(void) { return twal_append(log_, "more", 4, NULL); }
static int roll(void) { return twal_roll(log_); }
static int trim(void) { return twal_trim(log_, 3); }
static int hold(void) { return twal_hold_set(log_, "mine", 3); }
static int open_new(void)
{
    twal_log *log = NULL;
    twal_options options = t_options_small();
    int code = twal_open("new", &options, &log);
    return code == TWAL_OK ? twal_close(log) : code;
}

static struct call {
    const char *name;
    int (*call)(void);
    bool may_lack; /* random bytes */
    int code;
} calls[] = {
    { "streams", count_streams, false, 0 },   { "iter", read_all, false, 0 },
    { "read", read_one, false, 0 },           { "segments", list_segments, false, 0 },
    { "append", append, false, 0 },           { "hold_set", hold, true, 0 },
    { "roll", roll, true, 0 },                { "trim", trim, true, 0 },
    { "open", open_new, true, 0 },            { "append again", append, false, 0 },
};

static void *make(void *arg)
{
    struct call *call = arg;
    call->code = call->call();
    return NULL;
}

static void in_sandbox(void *dir)
{
    twal_options options = t_options_small();
    log_ = t_open(dir, &options);
    t_append_many(log_, 10, 500);
    if (chroot(t_path("empty")) != 0 || chdir("/") != 0 || !forbid_random())
        _exit(77);
    for (size_t n = 0; n < sizeof calls / sizeof *calls; n++) {
        struct call *call = &calls[n];
        t_join(t_thread(make, call));
        if (call->code != TWAL_OK && !(call->may_lack && call->code == TWAL_E_NOMEM))
            t_fail(__FILE__, __LINE__, "%s: %d", call->name, call->code);
    }
    t_equal(t_stats(log_).poisoned, 0);
    t_close(log_);
}

int main(void)
{
    t_begin();
    t_check(mkdir(t_path("empty"), 0755) == 0);
    pid_t child = t_fork(in_sandbox, (void *)(uintptr_t)t_path("log"));
    int status;
    t_check(waitpid(child, &status, 0) == child && WIFEXITED(status));
    if (WEXITSTATUS(status) == 77)
        t_skip("no chroot or no seccomp filter here");
    t_equal(WEXITSTATUS(status), 0);
    twal_log *log = t_open(t_path("log"), &(twal_options)TWAL_OPTIONS_INIT);
    t_check(twal_last_seq(log) >= 12);
    t_close(log);
    return t_end();
}
