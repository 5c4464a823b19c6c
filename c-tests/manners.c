/*
 * t:valgrind no, it has threads and descriptors of its own
 *
 * Goal: the library is a quiet guest: a log has two threads of its own, which block
 * all signals and end with it, it installs no handler, its descriptors are close-on-exec, it prints nothing, and a signal
 * does not end a wait.
 */
#include "helpers.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <stdatomic.h>

static atomic_int handled_on;
static atomic_int handled;

static void handle(int number)
{
    (void)number;
    atomic_store(&handled_on, (int)t_thread_id());
    atomic_fetch_add(&handled, 1);
}

static void note_handlers(struct sigaction *actions)
{
    memset(actions, 0, 65 * sizeof *actions);
    for (int number = 1; number <= 64; number++)
        sigaction(number, NULL, &actions[number]);
}

static void same_handlers(const struct sigaction *before)
{
    struct sigaction after[65];
    note_handlers(after);
    for (int number = 1; number <= 64; number++)
        t_check(after[number].sa_handler == before[number].sa_handler);
}

/* Signals 1 to 31 that can be blocked at all. */
#define ALL_SIGNALS (UINT64_C(0x7fffffff) & ~(UINT64_C(1) << (SIGKILL - 1)) & ~(UINT64_C(1) << (SIGSTOP - 1)))

/* How many threads the library has, by their names; all threads but this one block all signals. */
static size_t check_threads(pid_t mine)
{
    DIR *tasks = opendir("/proc/self/task");
    struct dirent *task;
    size_t count = 0;
    t_check(tasks);
    while ((task = readdir(tasks))) {
        char path[320], line[256];
        bool ours = false;
        if (task->d_name[0] == '.' || atoi(task->d_name) == mine)
            continue;
        snprintf(path, sizeof path, "/proc/self/task/%s/status", task->d_name);
        FILE *file = fopen(path, "re");
        if (!file)
            continue;
        while (fgets(line, sizeof line, file)) {
            ours |= !strncmp(line, "Name:\ttwal-", 11);
            if (!strncmp(line, "SigBlk:", 7)) {
                uint64_t blocked = strtoull(line + 7, NULL, 16);
                t_equal(blocked & ALL_SIGNALS, ALL_SIGNALS);
            }
        }
        count += ours;
        fclose(file);
    }
    closedir(tasks);
    return count;
}

static void check_descriptors(const bool *known)
{
    int found = 0;
    for (int fd = 0; fd < 1024; fd++) {
        int flags = fcntl(fd, F_GETFD);
        if (flags < 0 || known[fd])
            continue;
        t_check(flags & FD_CLOEXEC);
        found++;
    }
    t_check(found > 0);
}

static twal_log *shared;

static void *wait_long(void *arg)
{
    *(int *)arg = twal_wait(shared, 1, INT64_C(500) * 1000000);
    return NULL;
}

int main(void)
{
    t_begin();
    bool known[1024];
    struct sigaction before[65], action = { .sa_handler = handle };
    const char *dir = t_path("log"), *said = t_path("said");

    sigaction(SIGUSR1, &action, NULL);
    sigaction(SIGPROF, &action, NULL);
    note_handlers(before);
    for (int fd = 0; fd < 1024; fd++)
        known[fd] = fcntl(fd, F_GETFD) >= 0;

    /* What would be printed goes to a file. */
    fflush(NULL);
    int out = dup(1), err = dup(2), file = open(said, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    known[out] = known[err] = known[file] = true;
    dup2(file, 1);
    dup2(file, 2);
    twal_options options = t_options_small();
    options.max_retained_segments = 1;
    twal_log *log = NULL;
    t_ok(twal_open(dir, &options, &log));
    t_append_many(log, 100, 1000);
    t_ok(twal_trim(log, 50));
    t_check(twal_append(log, NULL, 1, NULL) < 0);
    twal_iter *iter;
    twal_record record;
    t_ok(twal_recover_iter(log, 0, &iter));
    t_equal(twal_iter_next(iter, &record), 1);
    fflush(NULL);
    struct stat about;
    t_check(fstat(file, &about) == 0);
    off_t printed = about.st_size;
    dup2(out, 1);
    dup2(err, 2);
    t_equal(printed, 0);

    check_descriptors(known);
    same_handlers(before);
    /* A thread has its name a moment after it began, and is listed a moment after it was joined. */
    t_await(check_threads(t_thread_id()) == 2, T_PATIENCE_MS);
    twal_log *second = t_open(t_path("second"), &options);
    t_await(check_threads(t_thread_id()) == 4, T_PATIENCE_MS);
    t_close(second);
    t_await(check_threads(t_thread_id()) == 2, T_PATIENCE_MS);
    for (int n = 1; n <= 50; n++) {
        kill(getpid(), n % 2 ? SIGUSR1 : SIGPROF);
        t_await(atomic_load(&handled) == n, T_PATIENCE_MS);
        t_equal(atomic_load(&handled_on), t_thread_id());
        t_append_many(log, 1, 100);
    }
    t_equal(check_threads(t_thread_id()), 2);
    twal_iter_close(iter);
    t_close(log);
    t_await(check_threads(t_thread_id()) == 0, T_PATIENCE_MS);
    same_handlers(before);

    /* Signals in the middle of a wait and of appends. */
    options = t_options_quiet();
    options.durability = TWAL_GROUP;
    shared = t_open(t_path("group"), &options);
    t_append_many(shared, 1, 100);
    int answer = 1;
    uint64_t began = t_now_ns();
    pthread_t waiter = t_thread(wait_long, &answer);
    for (int n = 0; n < 20; n++) {
        pthread_kill(waiter, SIGUSR1);
        t_pause();
    }
    t_join(waiter);
    t_equal(answer, TWAL_E_TIMEOUT);
    t_check(t_now_ns() - began >= UINT64_C(490) * 1000000);
    t_close(shared);
    return t_end();
}
