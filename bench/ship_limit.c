/* What bounds shipping over loopback, without a log: the same bytes in the two ways that they have to go.
 *
 *   ship_limit disk DIR MIB       a file is read and written to another one, with O_DIRECT, 1 MiB a write, flushed at the end:
 *                                 what a follower on the same device takes
 *   ship_limit loopback DIR MIB   a process sends them to another one, 1 MiB a call
 *
 * Prints MB/s.  Reading and writing each have a thread, and a ring of pieces between them. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PIECE ((size_t)1 << 20)
/* As a source reads: this many pieces at once. */
#define READ_PIECES 2
#define RING 32

static char *ring;
static int from, to;
static uint64_t count, pieces_read, pieces_written;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;

static void check(int ok, const char *what)
{
    if (!ok) {
        perror(what);
        exit(1);
    }
}

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static int open_file(const char *dir, const char *name)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_DIRECT, 0600);
    check(fd >= 0 && unlink(path) == 0, path);
    check(posix_fallocate(fd, 0, (off_t)(count * PIECE)) == 0 && fsync(fd) == 0, "allocate");
    return fd;
}

static void *run_reader(void *arg)
{
    for (uint64_t at = 0; at < count; at += READ_PIECES) {
        pthread_mutex_lock(&lock);
        while (at + READ_PIECES - pieces_written > RING)
            pthread_cond_wait(&changed, &lock);
        pthread_mutex_unlock(&lock);
        ssize_t len = pread(from, ring + at % RING * PIECE, READ_PIECES * PIECE, (off_t)(at * PIECE));
        check(len == (ssize_t)(READ_PIECES * PIECE), "read");
        pthread_mutex_lock(&lock);
        pieces_read = at + READ_PIECES;
        pthread_cond_signal(&changed);
        pthread_mutex_unlock(&lock);
    }
    return arg;
}

static double disk(const char *dir)
{
    pthread_t reader;
    from = open_file(dir, "ship-limit-from");
    to = open_file(dir, "ship-limit-to");
    for (uint64_t at = 0; at < count; at++)
        check(pwrite(from, ring, PIECE, (off_t)(at * PIECE)) == (ssize_t)PIECE, "write");
    check(fdatasync(from) == 0, "flush");
    double began = now();
    check(pthread_create(&reader, NULL, run_reader, NULL) == 0, "thread");
    while (pieces_written < count) {
        pthread_mutex_lock(&lock);
        while (pieces_read == pieces_written)
            pthread_cond_wait(&changed, &lock);
        pthread_mutex_unlock(&lock);
        const char *piece = ring + pieces_written % RING * PIECE;
        check(pwrite(to, piece, PIECE, (off_t)(pieces_written * PIECE)) == (ssize_t)PIECE, "write");
        pthread_mutex_lock(&lock);
        pieces_written++;
        pthread_cond_signal(&changed);
        pthread_mutex_unlock(&lock);
    }
    check(fdatasync(to) == 0, "flush");
    double took = now() - began;
    pthread_join(reader, NULL);
    return took;
}

static double loopback(void)
{
    struct sockaddr_in at = { .sin_family = AF_INET };
    socklen_t len = sizeof at;
    uint64_t left = count * PIECE;
    int status, listener = socket(AF_INET, SOCK_STREAM, 0);
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    check(listener >= 0 && bind(listener, (struct sockaddr *)&at, sizeof at) == 0 && listen(listener, 1) == 0
              && getsockname(listener, (struct sockaddr *)&at, &len) == 0, "listen");
    double began = now();
    pid_t child = fork();
    check(child >= 0, "fork");
    int fd = child == 0 ? socket(AF_INET, SOCK_STREAM, 0) : accept(listener, NULL, NULL);
    if (child == 0)
        check(connect(fd, (struct sockaddr *)&at, sizeof at) == 0, "connect");
    while (left > 0) {
        size_t most = left < PIECE ? (size_t)left : PIECE;
        ssize_t done = child == 0 ? recv(fd, ring, most, 0) : send(fd, ring, most, 0);
        check(done > 0, "send or receive");
        left -= (uint64_t)done;
    }
    if (child == 0)
        _exit(0);
    check(waitpid(child, &status, 0) == child && status == 0, "receive");
    return now() - began;
}

int main(int argc, char **argv)
{
    count = argc == 4 ? strtoull(argv[3], NULL, 10) / READ_PIECES * READ_PIECES : 0;
    if (count == 0 || (strcmp(argv[1], "disk") != 0 && strcmp(argv[1], "loopback") != 0)) {
        fprintf(stderr, "usage: ship_limit disk|loopback DIR MIB\n");
        return 2;
    }
    check((ring = aligned_alloc(4096, RING * PIECE)) != NULL, "memory");
    memset(ring, 1, RING * PIECE);
    double took = strcmp(argv[1], "disk") == 0 ? disk(argv[2]) : loopback();
    printf("%.0f\n", (double)(count * PIECE) / 1e6 / took);
    return 0;
}
