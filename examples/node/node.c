/* A key-value node that speaks the Redis protocol, and whose every answer is durable.
 *
 *   node --dir DIR [--port N] [--metrics-port N] [--checkpoint-mib N] [--segment-mib N]
 *   redis-cli -p 7379 set colour blue
 *   redis-benchmark -p 7379 -t set,get -c 50
 *
 * Knows PING, ECHO, SET, GET, DEL, MSET, DBSIZE, INFO, QUIT, and what clients ask
 * before they begin.  With --metrics-port Prometheus finds there, at GET /metrics,
 * what the log counts.  Listens on 127.0.0.1 only.
 *
 * One thread, one epoll.  Changes go into the log without waiting; once a turn
 * of the loop the log is asked to make durable what came in it, and its eventfd
 * says when that is done.  What comes meanwhile shares the next flush.
 *
 * What a client may rely on:
 *
 *   - SET, DEL and MSET are answered when they are durable.
 *   - Answers come in the order of the requests, errors too: one that counts them
 *     knows what each belongs to.
 *   - One that sends no more (shutdown) still gets its answers, then the end.
 *   - MSET is one batch: a crash leaves all of it or nothing.
 *   - GET gives the last durable value: none that a crash could take back.  A
 *     client's GET comes after its own SETs, also if it did not wait for them.
 *
 * A client that sends faster than the log can take, or takes no answers, is not
 * read from meanwhile; one that sends what is no request gets an error and is
 * dropped.  Neither costs anybody else anything.
 *
 * The files: this one is the loop; clients.c what is asked and answered; resp.c the
 * protocol; store.c the log and the table. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "clients.h"
#include "node.h"

enum { EVENTS = 256, ACCEPTED_A_TURN = 64 };
/* Room in the log comes back with the eventfd, or when a segment's file is ready, which nothing tells. */
enum { RETRY_MS = 5 };

struct store store;
int poll_fd;
static int listen_fd, metrics_fd = -1, durable_fd, signal_fd;
/* What stands for these in the events. */
static char listens, listens_http, tells_durable, tells_signal;

void fail(const char *what)
{
    fprintf(stderr, "node: %s: %s\n", what, strerror(errno));
    exit(1);
}

/* The log goes on after none of these: a new start finds out what is durable. */
void fail_twal(const char *what, int code)
{
    twal_error why = TWAL_ERROR_INIT;
    twal_last_error(&why);
    fprintf(stderr, "node: %s: %s: %s\n", what, twal_strerror(code), why.text);
    exit(1);
}

/* ---- the loop ---- */

void watch(int fd, void *what)
{
    struct epoll_event event = { .events = EPOLLIN, .data.ptr = what };
    if (epoll_ctl(poll_fd, EPOLL_CTL_ADD, fd, &event) != 0)
        fail("epoll_ctl");
}

void watch_for(int fd, uint32_t events, void *what)
{
    struct epoll_event event = { .events = events, .data.ptr = what };
    if (epoll_ctl(poll_fd, EPOLL_CTL_MOD, fd, &event) != 0)
        fail("epoll_ctl");
}

static void take_clients(int from_fd, bool http)
{
    for (int n = 0; n < ACCEPTED_A_TURN; n++) {
        int fd = accept4(from_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd < 0)
            return; /* none is there any more, or it left again */
        client_come(fd, http);
    }
}

static void take_event(const struct epoll_event *event, bool *stops)
{
    void *what = event->data.ptr;
    uint64_t rises;
    if (what == &listens) {
        take_clients(listen_fd, false);
    } else if (what == &listens_http) {
        take_clients(metrics_fd, true);
    } else if (what == &tells_durable) {
        /* Read first, ask then: what becomes durable in between makes it readable again. */
        if (read(durable_fd, &rises, sizeof rises) < 0 && errno != EAGAIN)
            fail("eventfd");
    } else if (what == &tells_signal) {
        *stops = true;
    } else {
        client_event(what, event->events);
    }
}

static void serve(void)
{
    struct epoll_event events[EVENTS];
    bool stops = false;
    int timeout_ms = -1;
    while (!stops) {
        int count = epoll_wait(poll_fd, events, EVENTS, timeout_ms);
        if (count < 0 && errno != EINTR)
            fail("epoll_wait");
        for (int n = 0; n < count; n++)
            take_event(&events[n], &stops);
        /* What came in this turn goes to the device while the rest of it is done. */
        int code = store_flush(&store);
        if (code != TWAL_OK)
            fail_twal("flush", code);
        store_apply(&store, client_done);
        clients_retry();
        code = store_checkpoint(&store);
        if (code != TWAL_OK && code != TWAL_E_AGAIN && code != TWAL_E_NOSPC)
            fail_twal("checkpoint", code);
        timeout_ms = store.state == COPIES && code == TWAL_OK ? 0 : clients_stalled() || store.state != RESTS ? RETRY_MS : -1;
        if ((code = store_flush(&store)) != TWAL_OK)
            fail_twal("flush", code);
        clients_settle();
    }
}

/* Listens on *port, or if that is 0 on a free one, which it becomes. */
static int listen_on(unsigned long *port)
{
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons((uint16_t)*port) };
    socklen_t len = sizeof address;
    int yes = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes) != 0 ||
        bind(fd, (struct sockaddr *)&address, sizeof address) != 0 || listen(fd, 511) != 0 ||
        getsockname(fd, (struct sockaddr *)&address, &len) != 0)
        fail("listen");
    *port = ntohs(address.sin_port);
    return fd;
}

/* As many clients as there may be descriptors, but for those of the log and of our own. */
static void count_descriptors(void)
{
    const rlim_t others = 64;
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        fail("getrlimit");
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur <= others)
        fail("setrlimit");
    clients_max = limit.rlim_cur - others;
}

static int usage(void)
{
    fprintf(stderr, "node --dir DIR [--port N] [--metrics-port N] [--checkpoint-mib N] [--segment-mib N]\n");
    return 2;
}

int main(int argc, char **argv)
{
    const char *dir = NULL;
    unsigned long port = 7379, metrics_port = 0, checkpoint_mib = 256, segment_mib = 0;
    bool metrics = false;
    twal_options options = TWAL_OPTIONS_INIT;
    sigset_t signals;
    for (int n = 1; n < argc; n += 2) {
        char *end = NULL;
        if (n + 1 == argc)
            return usage();
        unsigned long value = strtoul(argv[n + 1], &end, 10);
        bool is_number = end != argv[n + 1] && *end == '\0' && value < 1 << 20;
        if (strcmp(argv[n], "--dir") == 0)
            dir = argv[n + 1];
        else if (strcmp(argv[n], "--port") == 0 && is_number && value < 1 << 16)
            port = value;
        else if (strcmp(argv[n], "--metrics-port") == 0 && is_number && value < 1 << 16)
            metrics = true, metrics_port = value;
        else if (strcmp(argv[n], "--checkpoint-mib") == 0 && is_number && value > 0)
            checkpoint_mib = value;
        else if (strcmp(argv[n], "--segment-mib") == 0 && is_number)
            segment_mib = value;
        else
            return usage();
    }
    if (!dir)
        return usage();
    count_descriptors();
    options.segment_size = (uint64_t)segment_mib << 20;
    options.max_retained_segments = 1; /* what a checkpoint released nobody wants again */
    int code = store_open(&store, dir, &options, (uint64_t)checkpoint_mib << 20);
    if (code != TWAL_OK)
        fail_twal(dir, code);
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigprocmask(SIG_BLOCK, &signals, NULL);
    poll_fd = epoll_create1(EPOLL_CLOEXEC);
    signal_fd = signalfd(-1, &signals, SFD_CLOEXEC);
    if (poll_fd < 0 || signal_fd < 0)
        fail("epoll");
    if ((code = twal_eventfd(store.log, &durable_fd)) != TWAL_OK)
        fail_twal("eventfd", code);
    listen_fd = listen_on(&port);
    watch(listen_fd, &listens);
    if (metrics) {
        metrics_fd = listen_on(&metrics_port);
        watch(metrics_fd, &listens_http);
    }
    printf("node: %zu keys, listening on 127.0.0.1:%lu, metrics %lu\n", store.count, port, metrics_port);
    fflush(stdout);
    watch(durable_fd, &tells_durable);
    watch(signal_fd, &tells_signal);
    serve();
    /* What is under way becomes durable; nobody is told any more. */
    if ((code = store_close(&store)) != TWAL_OK)
        fail_twal("close", code);
    return 0;
}
