/*
 * t:shared no, what differs between the libraries is linking, and a hundred rounds take their time
 * t:valgrind no, it starts itself anew, which valgrind's own program in /proc/self/exe is not
 *
 * Goal: a follower that is killed at random while its source appends at full
 * speed has, promoted, every record that it ever acknowledged, equal; and a host
 * that waits for its acknowledgement has each record on both sides.  One that
 * comes and says nothing does not keep the others out.
 * Method: the example's own source, with 100 rounds; the followers are processes
 * of their own, started from this very program, and keep less unwritten than
 * some pieces are long.  Whole segments are compared byte by byte with the source's.
 */
#define main example_main
#include "../examples/ship.c"
#undef main

#include "helpers.h"

#include <dirent.h>

/* The bytes of "twal-" and the index. */
#define INDEX_LEN 21

/* The directory's segments, sorted. */
static int segments(const char *dir, struct dirent ***names)
{
    int found = scandir(dir, names, NULL, alphasort), count = 0;
    t_check(found >= 0);
    for (int at = 0; at < found; at++) {
        if (strncmp((*names)[at]->d_name, "twal-", 5) == 0 && strchr((*names)[at]->d_name, '.') != NULL)
            (*names)[count++] = (*names)[at];
        else
            free((*names)[at]);
    }
    return count;
}

static void *content(const char *dir, const char *name, size_t *len)
{
    FILE *file = fopen(below(dir, name), "rb");
    struct stat status;
    void *data;
    t_check(file != NULL && fstat(fileno(file), &status) == 0);
    *len = (size_t)status.st_size;
    t_check((data = malloc(*len)) != NULL);
    t_check(fread(data, 1, *len, file) == *len);
    fclose(file);
    return data;
}

/* Every segment of the copy that was complete, and is still at the source, is the same bytes there. */
static void compare(const char *source, const char *copy)
{
    struct dirent **theirs, **ours;
    int their_count = segments(source, &theirs), our_count = segments(copy, &ours), compared = 0;
    /* The last two: where the promotion ended the copy, and what it began. */
    for (int at = 0; at < our_count - 2; at++) {
        for (int other = 0; other < their_count; other++) {
            if (strncmp(ours[at]->d_name, theirs[other]->d_name, INDEX_LEN) == 0) {
                size_t len, their_len;
                void *data = content(copy, ours[at]->d_name, &len);
                void *their_data = content(source, theirs[other]->d_name, &their_len);
                t_check(len == their_len && memcmp(data, their_data, len) == 0);
                free(data);
                free(their_data);
                compared++;
            }
        }
    }
    /* A source that was full when the follower ended has given back all of them. */
    t_check(compared > 0 || our_count < 3 || strncmp(ours[our_count - 3]->d_name, theirs[0]->d_name, INDEX_LEN) < 0);
    while (their_count > 0)
        free(theirs[--their_count]);
    while (our_count > 0)
        free(ours[--our_count]);
    free(theirs);
    free(ours);
}

static void example(const char *what, const char *name, const char *number)
{
    char flags[16];
    char *arguments[] = { "ship", (char *)(uintptr_t)what, (char *)(uintptr_t)t_path(name), (char *)(uintptr_t)number,
                          flags, NULL };
    snprintf(flags, sizeof flags, "%u", t_options().flags);
    t_equal(example_main(5, arguments), 0);
}

/* The source ends this connection; it may do so before what was sent has come. */
static void expect_end(int fd)
{
    const struct timeval patience = { .tv_sec = T_PATIENCE_MS / 1000 };
    char byte;
    t_check(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) == 0);
    ssize_t got;
    do {
        got = recv(fd, &byte, 1, 0); /* with a time set, any signal ends it, handled or not */
    } while (got < 0 && errno == EINTR);
    if (got != 0 && (got > 0 || errno != ECONNRESET))
        t_fail(__FILE__, __LINE__, "recv gave %zd: %s", got, got < 0 ? strerror(errno) : "a byte");
    close(fd);
}

/* Both connections wait at once: only who lets the first one go gets to the second. */
static void silent(const char *dir)
{
    const struct timeval usual = hello_max;
    unsigned char *data = malloc(record_len);
    t_check(data && mkdir(dir, 0700) == 0);
    hello_max = (struct timeval) { .tv_usec = 50000 };
    start_source(dir, TWAL_SYNC);
    int says_nothing = connect_to(listener_port), says_little = connect_to(listener_port);
    send(says_little, "x", 1, MSG_NOSIGNAL);
    expect_end(says_nothing);
    expect_end(says_little);
    hello_max = usual;
    pid_t follower = start_follower(dir);
    fill(data, record_len, 1);
    t_equal(append_replicated(shipped, data, record_len), 1);
    stop_source();
    end_follower(follower, 0);
    free(data);
}

/* Only the hello has a time: a follower that has everything is silent for as long as nothing comes. */
static void may_be_silent_later(void)
{
    twal_ship_position sent = TWAL_SHIP_POSITION_INIT, came;
    struct timeval left = { .tv_sec = 1 };
    socklen_t len = sizeof left;
    int ends[2];
    t_check(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
    sent.last_seq = 7;
    t_equal(send(ends[0], &sent, sizeof sent, 0), sizeof sent);
    t_check(receive_hello(ends[1], &came));
    t_equal(came.last_seq, 7);
    t_check(getsockopt(ends[1], SOL_SOCKET, SO_RCVTIMEO, &left, &len) == 0);
    t_check(left.tv_sec == 0 && left.tv_usec == 0);
    close(ends[0]);
    close(ends[1]);
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "follow") == 0) {
        arrived_max = 64 * T_KIB;
        return example_main(argc, argv);
    }
    t_begin();
    /* Many segments, and files that are used again. */
    segment_size = T_MIB;
    log_size_max = 32 * T_MIB;
    seed = (unsigned)t_seed();
    example("rounds", "killed", "100");
    char dir[4096], source[sizeof dir + 16], copy[sizeof dir + 16];
    snprintf(dir, sizeof dir, "%s", t_path("killed"));
    snprintf(source, sizeof source, "%s/source", dir);
    snprintf(copy, sizeof copy, "%s/follower", dir);
    compare(source, copy);
    example("sync", "replicated", "200");
    silent(t_path("silent"));
    may_be_silent_later();
    return t_end();
}
