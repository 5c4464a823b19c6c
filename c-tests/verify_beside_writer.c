/*
 * t:leaks no, a forked child has lost the threads whose memory it inherits
 *
 * Goal: twal_verify() beside threads that append, roll and trim, in this
 * process and in another, never tells of what is just being written, and still
 * tells of damage that is there.
 */
#include <stdatomic.h>

#include "helpers.h"

#define ROUNDS 25

static atomic_bool done;

static void *appends(void *arg)
{
    twal_log *log = arg;
    t_random random = t_random_new(7);
    for (uint64_t n = 1; !atomic_load(&done); n++) {
        t_append(log, T_PAYLOAD_MIN + t_random_below(&random, 3000), 2, n, n % 3 ? TWAL_APPEND_SYNC : 0);
        if (n % 40 == 0)
            t_ok(twal_roll(log));
        /* So that what is verified stays as large, however fast this is. */
        uint64_t durable = twal_durable_seq(log);
        if (n % 50 == 0 && durable > 400)
            t_ok(twal_trim(log, durable - 400));
    }
    return NULL;
}

static int told(void *context, const twal_finding *finding)
{
    uint64_t *count = context;
    fprintf(stderr, "finding: %s offset %llu seq %llu: %s\n", finding->file, (unsigned long long)finding->offset,
            (unsigned long long)finding->seq, finding->text);
    ++*count;
    return 0;
}

static void from_another_process(void *arg)
{
    uint64_t count = 0;
    for (int round = 0; round < ROUNDS; round++)
        t_ok(twal_verify(arg, NULL, told, &count, NULL));
    t_equal(count, 0);
}

int main(void)
{
    t_begin();
    const char *dir = t_path("log");
    twal_options options = t_options_small();
    options.durability = TWAL_GROUP;
    options.max_retained_segments = 3;
    t_waiting other_process = t_fork_early(from_another_process, (void *)(uintptr_t)dir);
    twal_log *log = t_open(dir, &options);
    pthread_t one = t_thread(appends, log), other = t_thread(appends, log);
    t_await(twal_durable_seq(log) > 100, T_PATIENCE_MS);

    uint64_t count = 0;
    for (int round = 0; round < ROUNDS; round++)
        t_ok(twal_verify(dir, &options, told, &count, NULL));
    t_equal(count, 0);
    t_wait_child_ok(t_go(&other_process));

    atomic_store(&done, true);
    t_join(one);
    t_join(other);
    t_ok(twal_sync(log, 0));

    /* Damage in front of where the writer is. */
    t_append(log, 5000, 3, 1, TWAL_APPEND_SYNC);
    t_append(log, 5000, 3, 2, TWAL_APPEND_SYNC);
    t_append(log, 5000, 3, 3, TWAL_APPEND_SYNC);
    t_await_renames(dir);
    size_t segments = 0;
    t_segment *all = t_segments(dir, &segments);
    uint64_t at = 0;
    for (size_t i = segments; i > 0 && !at; i--) {
        size_t len;
        const char *bytes = t_file_read(all[i - 1].path, &len);
        char wanted[5000];
        t_payload_fill(wanted, sizeof wanted, 3, 1);
        const char *found = memmem(bytes, len, wanted, sizeof wanted);
        if (found) {
            at = (uint64_t)(found - bytes);
            t_file_flip(all[i - 1].path, at + 9, 1);
        }
    }
    t_check(at);
    twal_verify_report report = TWAL_VERIFY_REPORT_INIT;
    t_code(twal_verify(dir, &options, NULL, NULL, &report), TWAL_E_CORRUPT);
    t_equal(report.damaged, 1);
    t_close(log);
    return t_end();
}
