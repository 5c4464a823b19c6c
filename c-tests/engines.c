/*
 * t:valgrind no, it does not know io_uring
 *
 * Goal: an engine asked for by name is the one in use, or UNSUPPORTED; only AUTO
 * falls back, and says why.  A log written with one engine is read with another.
 * Method: a child under a seccomp filter that forbids io_uring, hides it, or has it
 * say what older kernels say when no memory may be locked; and one that may lock none.
 */
#include "helpers.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>

static const char *dir;
static bool uring;
static char auto_reason[sizeof((twal_stats *)0)->engine_reason];

/* What the kernel says, and the word for it that has to be in the reason. */
struct refusal {
    int answer;
    const char *word;
};

static void forbid_io_uring(int answer)
{
    struct sock_filter rules[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, SYS_io_uring_setup, 0, 2),
        BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, SYS_io_uring_register, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (unsigned)answer),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = { sizeof rules / sizeof *rules, rules };
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
        _exit(77);
    t_check(syscall(SYS_io_uring_setup, 1, NULL) == -1 && errno == answer);
}

/* No memory may be locked, which older kernels count io_uring's rings as: has it
 * or has it not, a log opens. */
static void without_memlock(void *arg)
{
    const struct rlimit none = { 0, 0 };
    twal_options options = TWAL_OPTIONS_INIT;
    twal_log *log = NULL;
    uint64_t *last = arg;
    t_check(setrlimit(RLIMIT_MEMLOCK, &none) == 0);
    options.segment_size = 64 * T_KIB;
    options.io_engine = TWAL_IO_URING;
    int code = uring ? twal_open(dir, &options, &log) : TWAL_E_UNSUPPORTED;
    if (code == TWAL_OK) {
        t_check(!strcmp(t_stats(log).engine, "io_uring"));
        t_close(log);
    } else if (uring) {
        t_code(code, TWAL_E_UNSUPPORTED);
        t_check(strstr(t_last_error().text, "RLIMIT_MEMLOCK"));
    }
    options.io_engine = TWAL_IO_AUTO;
    log = t_open(dir, &options);
    printf("without memlock: %s: %s\n", t_stats(log).engine, t_stats(log).engine_reason);
    /* What can be had by name is what AUTO had before; else it says why not. */
    if (code == TWAL_OK || !uring) {
        t_check(!strcmp(t_stats(log).engine_reason, auto_reason));
    } else {
        t_check(!strcmp(t_stats(log).engine, "blocking"));
        t_check(strstr(t_stats(log).engine_reason, "RLIMIT_MEMLOCK"));
    }
    t_expect_many(log, 1, *last, 1000);
    t_append_many(log, 20, 1000);
    t_close(log);
}

static void forbidden(void *arg)
{
    twal_options options = TWAL_OPTIONS_INIT;
    twal_log *log = NULL;
    const struct refusal *refusal = arg;
    forbid_io_uring(refusal->answer);
    options.segment_size = 64 * T_KIB;
    options.io_engine = TWAL_IO_URING;
    t_code(twal_open(dir, &options, &log), TWAL_E_UNSUPPORTED);
    t_check(!log);
    /* It names the policy, not only the fact. */
    t_check(!uring || strstr(t_last_error().text, refusal->word));
    t_code(twal_open(t_path("new"), &options, &log), TWAL_E_UNSUPPORTED);
    options.flags = TWAL_OPEN_NO_CREATE;
    options.io_engine = TWAL_IO_BLOCKING;
    t_code(twal_open(t_path("new"), &options, &log), TWAL_E_NOTFOUND);
    options.flags = 0;
    options.io_engine = TWAL_IO_AUTO;
    log = t_open(dir, &options);
    twal_stats stats = t_stats(log);
    t_check(!strcmp(stats.engine, "blocking"));
    printf("under the filter: %s: %s\n", stats.engine, stats.engine_reason);
    /* It says why not io_uring, also where it would not have been the first choice. */
    t_check(!uring || strstr(stats.engine_reason, refusal->word));
    t_append_many(log, 20, 1000);
    t_close(log);
}

int main(void)
{
    t_begin();
    dir = t_path("log");
    static const uint32_t order[] = { TWAL_IO_BLOCKING, TWAL_IO_URING, TWAL_IO_AUTO, TWAL_IO_BLOCKING,
                                      TWAL_IO_URING };
    uring = t_engine_works(TWAL_IO_URING);
    uint64_t last = 0;

    for (size_t n = 0; n < sizeof order / sizeof *order; n++) {
        twal_options options = TWAL_OPTIONS_INIT;
        options.segment_size = 64 * T_KIB;
        options.io_engine = order[n];
        if (order[n] == TWAL_IO_URING && !uring) {
            printf("no io_uring here\n");
            continue;
        }
        twal_log *log = t_open(dir, &options);
        twal_stats stats = t_stats(log);
        printf("%s: %s: %s\n", t_engine_name(order[n]), stats.engine, stats.engine_reason);
        if (order[n] == TWAL_IO_AUTO)
            memcpy(auto_reason, stats.engine_reason, sizeof auto_reason);
        else
            t_check(!strcmp(stats.engine, t_engine_name(order[n])));
        t_expect_many(log, 1, last, 1000);
        t_append_many(log, 30, 1000);
        last += 30;
        t_expect_many(log, 1, last, 1000);
        t_close(log);
        options.flags = TWAL_OPEN_READ_ONLY;
        log = t_open(dir, &options);
        t_expect_many(log, 1, last, 1000);
        t_close(log);
    }

    struct refusal refusals[] = { { EPERM, "seccomp" }, { ENOSYS, "seccomp" }, { ENOMEM, "RLIMIT_MEMLOCK" } };
    for (int n = 0; n < 3; n++) {
        int status = t_wait_child(t_fork(forbidden, &refusals[n]), T_PATIENCE_MS);
        if (status == 77 << 8) {
            printf("no seccomp filter here\n");
            break;
        }
        t_equal(status, 0);
        last += 20;
        t_expect_log(dir, 1, last, 1000);
    }
    t_wait_child_ok(t_fork(without_memlock, &last));
    t_expect_log(dir, 1, last + 20, 1000);
    return t_end();
}
