/*
 * t:valgrind no, its system calls are not the program's
 *
 * Goal: a thread that appends alone with TWAL_SYNC makes one system call for it,
 * the durable write, with both engines.
 * Method: the parent traces the child's first thread, by ptrace(2), and counts
 * its system calls between two that the child makes on purpose.  Now and then
 * an append has to wake one of twal's threads: one in ten may take another call.
 */
#include "helpers.h"

#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>

enum { WARM_UP = 50, APPENDS = 200 };

/* What twal never calls. */
static void between(void)
{
    syscall(SYS_getpriority, 0, 0);
}

static void append(const char *dir, uint32_t engine)
{
    twal_options options = t_options();
    options.io_engine = engine;
    options.idle_mark_us = UINT64_C(3600) * 1000 * 1000; /* no mark to wait for, however slow this is */
    twal_log *log;
    int opened = twal_open(dir, &options, &log);
    if (opened == TWAL_E_UNSUPPORTED)
        _exit(77);
    t_ok(opened);
    for (int n = 0; n < WARM_UP; n++)
        t_ok(twal_append(log, "record", 6, NULL));
    between();
    for (int n = 0; n < APPENDS; n++) {
        t_ok(twal_append(log, "record", 6, NULL));
        between();
    }
    t_close(log);
    _exit(0);
}

/* Lets the child run to its next system call, or away from one; false: it is gone. */
static bool step(pid_t child, int *status_out)
{
    int deliver = 0;
    for (;;) {
        if (ptrace(PTRACE_SYSCALL, child, NULL, (void *)(intptr_t)deliver) != 0)
            t_fail(__FILE__, __LINE__, "PTRACE_SYSCALL: %s", strerror(errno));
        if (waitpid(child, status_out, 0) != child)
            t_fail(__FILE__, __LINE__, "waitpid: %s", strerror(errno));
        if (!WIFSTOPPED(*status_out))
            return false;
        if (WSTOPSIG(*status_out) == (SIGTRAP | 0x80))
            return true;
        deliver = WSTOPSIG(*status_out);
    }
}

static void traced(const char *dir, uint32_t engine, const char *name)
{
    fflush(stdout);
    pid_t child = fork();
    t_check(child >= 0);
    if (child == 0) {
        if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0)
            _exit(78);
        raise(SIGSTOP);
        append(dir, engine);
    }
    int status;
    t_check(waitpid(child, &status, 0) == child);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 78)
        t_skip("no ptrace here");
    t_check(WIFSTOPPED(status));
    if (ptrace(PTRACE_SETOPTIONS, child, NULL, (void *)(PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL)) != 0)
        t_skip("no ptrace here: %s", strerror(errno));

    int marks = 0, calls = 0, one = 0, most = 0;
    long most_nr = 0, last_nr = 0;
    while (step(child, &status)) {
        struct __ptrace_syscall_info info;
        memset(&info, 0, sizeof info);
        if (ptrace(PTRACE_GET_SYSCALL_INFO, child, (void *)sizeof info, &info) <= 0)
            t_skip("no PTRACE_GET_SYSCALL_INFO here: %s", strerror(errno));
        if (info.op != PTRACE_SYSCALL_INFO_ENTRY)
            continue;
        if (info.entry.nr != SYS_getpriority) {
            /* And it makes itself durable: nothing else comes before the append returns. */
            if (info.entry.nr == SYS_pwritev2 && marks > 0 && marks <= APPENDS)
                t_check(info.entry.args[5] & RWF_DSYNC);
            calls++;
            last_nr = (long)info.entry.nr;
            continue;
        }
        if (marks++ > 0) {
            one += calls == 1;
            if (calls > most) {
                most = calls;
                most_nr = last_nr;
            }
        }
        calls = 0;
    }
    if (WIFEXITED(status) && WEXITSTATUS(status) == 77) {
        printf("skipped: %s is not to be had here\n", name);
        return;
    }
    t_check(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    t_equal(marks, APPENDS + 1);
    printf("%s: one call in %d of %d appends, at most %d (the last of them number %ld)\n", name, one, APPENDS, most, most_nr);
    t_check(one >= APPENDS * 9 / 10);
}

int main(void)
{
    t_begin();
    traced(t_path("blocking"), TWAL_IO_BLOCKING, "blocking");
    traced(t_path("uring"), TWAL_IO_URING, "io_uring");
    return t_end();
}
