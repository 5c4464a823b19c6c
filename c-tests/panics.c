/*
 * Goal: a bug that makes twal panic, in a call or on a thread of its own, is a
 * code and words that say where; nothing is printed.
 * Method: the clock fails, which Rust's library takes for impossible.
 * t:asan no, it has a clock_gettime() of its own
 * t:tsan no, it has a clock_gettime() of its own
 * t:leaks no, a panic may leave what its thread had in its hands
 */
#include "helpers.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>

enum { NOBODY, CALLERS, WRITER };
static atomic_int failing;
static _Thread_local long left; /* this thread's reading that fails, from now on; 0: none */

int clock_gettime(clockid_t id, struct timespec *now)
{
    int whose = atomic_load(&failing);
    char name[16] = "";
    if (whose == WRITER)
        prctl(PR_GET_NAME, name);
    bool mine = left > 0 && --left == 0;
    if (mine || whose == CALLERS || (whose == WRITER && strcmp(name, "twal-writer") == 0)) {
        errno = EINVAL;
        return -1;
    }
    return (int)syscall(SYS_clock_gettime, id, now);
}

/* What goes to stderr goes to a file instead. */
static int printed, before;

static void catch_stderr(void)
{
    printed = open(t_path("stderr"), O_RDWR | O_CREAT | O_TRUNC, 0600);
    before = dup(STDERR_FILENO);
    t_check(printed >= 0 && before >= 0 && dup2(printed, STDERR_FILENO) >= 0);
}

static off_t bytes_printed(void)
{
    struct stat found;
    t_check(dup2(before, STDERR_FILENO) >= 0 && fstat(printed, &found) == 0);
    close(before);
    close(printed);
    return found.st_size;
}

static void in_a_call(void)
{
    twal_options options = t_options();
    twal_log *log = NULL;
    catch_stderr();
    atomic_store(&failing, CALLERS);
    int code = twal_open(t_path("call"), &options, &log);
    atomic_store(&failing, NOBODY);
    t_equal(bytes_printed(), 0);
    t_equal(code, TWAL_E_PANIC);
    t_equal(t_last_error().code, TWAL_E_PANIC);
    t_check(strstr(t_last_error().text, "a bug in twal: ") && strstr(t_last_error().text, ".rs:"));
    t_check(!log);
    t_close(t_open(t_path("call"), &options));
}

static void on_a_thread(void)
{
    twal_options options = t_options();
    options.durability = TWAL_GROUP; /* the writer has something to do a millisecond after each append */
    twal_log *log = t_open(t_path("thread"), &options);
    t_append_many(log, 3, 100);
    catch_stderr();
    atomic_store(&failing, WRITER);
    int code;
    uint64_t deadline = t_now_ns() + T_PATIENCE_MS * UINT64_C(1000000);
    while ((code = twal_append(log, "x", 1, NULL)) == TWAL_OK && t_now_ns() < deadline)
        t_pause();
    off_t size = bytes_printed();
    t_equal(size, 0);
    t_equal(code, TWAL_E_POISONED);
    const char *said = strstr(t_last_error().text, "a thread of the log panicked: ");
    t_check(said && strstr(said, ".rs:")); /* where; in front of what it said, of which the end may be cut off */
    atomic_store(&failing, NOBODY);
    t_check(twal_close(log) < 0);
    t_close(t_open(t_path("thread"), &options));
}

/* Whatever reading of an append fails: nobody waits for the frame that it leaves half written. */
static void in_an_append(void)
{
    twal_options options = t_options();
    int code;
    for (long reading = 1, reached = 1; reached; reading++) {
        twal_log *log = t_open(t_path("append"), &options);
        catch_stderr();
        left = reading;
        code = twal_append(log, "x", 1, NULL);
        reached = left == 0;
        left = 0;
        t_equal(bytes_printed(), 0);
        t_equal(code, reached ? TWAL_E_PANIC : TWAL_OK);
        if (reached) {
            t_equal(twal_append(log, "y", 1, NULL), TWAL_E_POISONED);
            t_equal(twal_wait(log, twal_last_seq(log) + 1, -1), TWAL_E_POISONED);
            t_check(twal_close(log) < 0);
        } else {
            t_check(reading > 2);
            t_close(log);
        }
    }
}

int main(void)
{
    t_begin();
    in_a_call();
    in_an_append();
    on_a_thread();
    return t_end();
}
