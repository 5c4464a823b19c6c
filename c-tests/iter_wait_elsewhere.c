/*
 * Goal: in another process a reader waits for records and gets every one, by
 * twal_iter_wait() and by an eventfd in an event loop, over rolls, also the last
 * one behind which only the idle mark comes; the writer never notices.
 * Method: the parent reads what a child writes, faster and slower.
 */
#include "helpers.h"

#define RECORDS 1500
#define LEN 200

static const char *dir;
static int acks[2], go[2];

static void write_all(void *arg)
{
    (void)arg;
    twal_options options = t_options_small();
    uint64_t one = 1;
    char byte;
    twal_log *log = t_open(dir, &options);
    t_append_many(log, 1, LEN);
    t_check(write(acks[1], &one, sizeof one) == sizeof one);
    t_check(read(go[0], &byte, 1) == 1);
    for (uint64_t n = 2; n <= RECORDS; n++)
        t_equal(t_append(log, LEN, 1, n, n % 10 ? TWAL_APPEND_NO_SYNC : 0), n);
    t_ok(twal_sync(log, 0));
    /* Open until all was seen: nothing but the idle mark tells of the last record. */
    t_check(read(go[0], &byte, 1) == 1);
    t_close(log);
}

static void *wait_for_all(void *log)
{
    twal_iter *iter;
    twal_record record;
    size_t len = LEN;
    t_ok(twal_recover_iter(log, 0, &iter));
    for (uint64_t seq = 1; seq <= RECORDS; seq++) {
        t_equal(twal_iter_wait(iter, -1, &record), 1);
        t_equal(record.seq, seq);
        t_record_of_many(&record, &len);
    }
    t_code(twal_iter_wait(iter, 3000000, &record), TWAL_E_TIMEOUT);
    twal_iter_close(iter);
    return NULL;
}

static void *poll_for_all(void *log)
{
    twal_iter *iter;
    twal_record record;
    uint64_t seq = 0, count;
    int fd = -1, rc;
    t_ok(twal_eventfd(log, &fd));
    t_ok(twal_recover_iter(log, 0, &iter));
    for (;;) {
        while ((rc = twal_iter_next(iter, &record)) == 1)
            t_equal(record.seq, ++seq);
        t_code(rc, TWAL_OK);
        if (seq == RECORDS)
            break;
        t_check(t_readable(fd, T_PATIENCE_MS));
        t_check(read(fd, &count, sizeof count) == sizeof count);
    }
    twal_iter_close(iter);
    close(fd);
    return NULL;
}

int main(void)
{
    t_begin();
    dir = t_path("log");
    uint64_t first;
    t_check(pipe(acks) == 0 && pipe(go) == 0);
    pid_t writer = t_fork(write_all, NULL);
    t_check(read(acks[0], &first, sizeof first) == sizeof first);
    twal_log *one = t_open_read_only(dir), *two = t_open_read_only(dir);
    pthread_t waits = t_thread(wait_for_all, one), polls = t_thread(poll_for_all, two);
    t_check(write(go[1], "g", 1) == 1);
    t_join(waits);
    t_join(polls);
    t_check(write(go[1], "g", 1) == 1);
    t_wait_child_ok(writer);

    /* A close tells too; up to 16 of them. */
    int fds[17];
    uint64_t count;
    for (int n = 0; n < 15; n++)
        t_ok(twal_eventfd(two, &fds[n]));
    t_code(twal_eventfd(two, &fds[16]), TWAL_E_BUSY);
    t_close(two);
    for (int n = 0; n < 15; n++) {
        t_check(read(fds[n], &count, sizeof count) == sizeof count);
        close(fds[n]);
    }
    t_close(one);
    return t_end();
}
