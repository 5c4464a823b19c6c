/*
 * t:tsan no, the library it loads is another
 * t:valgrind no, a second copy of the library has threads and memory of its own
 *
 * Goal: the library may be loaded and unloaded at run time, again and again, also while
 * a log is open and while threads that called it live on; what was found by
 * dlsym() before goes on to work, and a log left open is closed after that.
 * Method: the shared library beside this program, loaded by its path.
 */
#include "helpers.h"

#include <dlfcn.h>
#include <stdatomic.h>

static struct {
    int (*open)(const char *, const twal_options *, twal_log **);
    int (*append)(twal_log *, const void *, size_t, uint64_t *);
    int (*close)(twal_log *);
} lib;

static void *load(const char *path)
{
    void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!handle)
        t_fail(__FILE__, __LINE__, "%s", dlerror());
    *(void **)&lib.open = dlsym(handle, "twal_open");
    *(void **)&lib.append = dlsym(handle, "twal_append");
    *(void **)&lib.close = dlsym(handle, "twal_close");
    t_check(lib.open && lib.append && lib.close);
    return handle;
}

static twal_log *shared;
static atomic_int appended, unloaded;

/* Calls the library, lives on past its unloading, and ends then. */
static void *append_and_stay(void *arg)
{
    (void)arg;
    t_check(lib.append(shared, "thread", 6, NULL) == TWAL_OK);
    t_check(lib.append(shared, NULL, 1, NULL) == TWAL_E_INVAL); /* makes a thread-local */
    atomic_store(&appended, 1);
    while (!atomic_load(&unloaded))
        t_pause();
    return NULL;
}

int main(void)
{
    t_begin();
    char path[1024];
    const char *dir = t_path("log");
    twal_options options = t_options_small();
    ssize_t len = readlink("/proc/self/exe", path, sizeof path - 1);
    t_check(len > 0);
    path[len] = 0;
    for (int n = 0; n < 3; n++) /* BUILD/c-tests/MODE/dlopen.shared */
        *strrchr(path, '/') = 0;
    strcat(path, "/libtwal.so");

    size_t tasks = t_count_entries("/proc/self/task");
    uint64_t seq = 0;
    for (int round = 0; round < 12; round++) {
        void *handle = load(path);
        t_check(lib.open(dir, &options, &shared) == TWAL_OK);
        t_check(lib.append(shared, "loaded", 6, &seq) == TWAL_OK);
        atomic_store(&appended, 0);
        atomic_store(&unloaded, 0);
        pthread_t thread = t_thread(append_and_stay, NULL);
        t_await(atomic_load(&appended), T_PATIENCE_MS);
        if (round % 2)
            t_check(lib.close(shared) == TWAL_OK);
        t_check(dlclose(handle) == 0);
        atomic_store(&unloaded, 1);
        t_join(thread);
        if (round % 2 == 0) {
            t_check(lib.append(shared, "unloaded", 8, &seq) == TWAL_OK);
            t_check(lib.close(shared) == TWAL_OK);
        }
        t_await(t_count_entries("/proc/self/task") == tasks, T_PATIENCE_MS);
    }
    t_equal(seq, 12 * 2 + 6 - 1); /* the last round closes before its last append */
    twal_log *log = t_open(dir, &options);
    t_equal(twal_last_seq(log), 12 * 2 + 6);
    t_close(log);
    return t_end();
}
