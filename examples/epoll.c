/* One thread, many clients, every request durable before it is answered.
 *
 *   epoll DIR [CLIENTS [REQUESTS]]
 *
 * A server that waits for nothing but epoll: each request becomes a record,
 * appended without waiting; once a turn of the loop it asks for what was
 * appended to become durable; and the eventfd of the log says when it is.
 * Requests that come while the device is busy share the next flush.
 *
 * The clients are sockets of a second thread here: each sends a request, waits
 * for the answer, which is the record's number, and sends the next. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <twal.h>

enum { CLIENTS_MAX = 1000, REQUEST_LEN = 100, EVENTS = 64 };

static int clients = 100, requests = 50;
static int server_ends[CLIENTS_MAX], client_ends[CLIENTS_MAX];

static void check(int ok, const char *what)
{
    if (!ok) {
        fprintf(stderr, "epoll: %s: %s\n", what, strerror(errno));
        exit(1);
    }
}

static void check_twal(int code, const char *what)
{
    twal_error why = TWAL_ERROR_INIT;
    if (code >= 0)
        return;
    twal_last_error(&why);
    fprintf(stderr, "epoll: %s: %s: %s\n", what, twal_strerror(code), why.text);
    exit(1);
}

/* ---- the server ---- */

/* Requests that wait for their record: first in, first durable. */
static struct {
    uint64_t seq;
    int client;
} waiting[CLIENTS_MAX];
static int first_waiting, waiting_count, answered;

/* Answers whoever's record is durable. */
static void answer(uint64_t durable)
{
    while (waiting_count > 0 && waiting[first_waiting].seq <= durable) {
        uint64_t seq = waiting[first_waiting].seq;
        ssize_t sent = send(server_ends[waiting[first_waiting].client], &seq, sizeof seq, MSG_NOSIGNAL);
        check(sent == sizeof seq, "send");
        first_waiting = (first_waiting + 1) % CLIENTS_MAX;
        waiting_count--;
        answered++;
    }
}

/* Appends the client's request; it is answered when it is durable. */
static void take_request(twal_log *log, int client)
{
    char request[REQUEST_LEN];
    ssize_t got = recv(server_ends[client], request, sizeof request, MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    check(got == sizeof request, "recv");
    twal_entry entry = TWAL_ENTRY_INIT;
    entry.data = request;
    entry.len = sizeof request;
    entry.stream = TWAL_STREAM(0, client);
    entry.flags = TWAL_APPEND_NO_SYNC;
    int last = (first_waiting + waiting_count++) % CLIENTS_MAX;
    waiting[last].client = client;
    check_twal(twal_append_entry(log, &entry, &waiting[last].seq), "append");
}

static void serve(twal_log *log)
{
    struct epoll_event events[EVENTS], event = { .events = EPOLLIN };
    int durable_fd, poll = epoll_create1(EPOLL_CLOEXEC);
    check(poll >= 0, "epoll_create1");
    check_twal(twal_eventfd(log, &durable_fd), "eventfd");
    event.data.fd = -1;
    check(epoll_ctl(poll, EPOLL_CTL_ADD, durable_fd, &event) == 0, "epoll_ctl");
    for (int client = 0; client < clients; client++) {
        event.data.fd = client;
        check(epoll_ctl(poll, EPOLL_CTL_ADD, server_ends[client], &event) == 0, "epoll_ctl");
    }
    while (answered < clients * requests) {
        int count = epoll_wait(poll, events, EVENTS, -1), appended = 0;
        check(count >= 0 || errno == EINTR, "epoll_wait");
        for (int n = 0; n < count; n++) {
            if (events[n].data.fd >= 0) {
                take_request(log, events[n].data.fd);
                appended = 1;
            } else {
                uint64_t rises;
                /* Read first, ask then: what becomes durable in between makes it readable again. */
                check(read(durable_fd, &rises, sizeof rises) == sizeof rises || errno == EAGAIN, "read");
                answer(twal_durable_seq(log));
            }
        }
        /* Also when a failure of the log woke us: then this fails, and nobody gets a wrong answer. */
        if (appended || waiting_count > 0)
            check_twal(twal_sync_async(log, 0, NULL, NULL), "sync");
    }
    close(durable_fd);
    close(poll);
}

/* ---- the clients ---- */

static void *run_clients(void *arg)
{
    (void)arg;
    for (int request = 0; request < requests; request++) {
        for (int client = 0; client < clients; client++) {
            char text[REQUEST_LEN] = { 0 };
            snprintf(text, sizeof text, "request %d of client %d", request, client);
            check(send(client_ends[client], text, sizeof text, MSG_NOSIGNAL) == sizeof text, "send");
        }
        for (int client = 0; client < clients; client++) {
            uint64_t seq;
            check(recv(client_ends[client], &seq, sizeof seq, MSG_WAITALL) == sizeof seq, "recv");
        }
    }
    return NULL;
}

int main(int argc, char **argv)
{
    pthread_t thread;
    twal_log *log;
    twal_stats stats = TWAL_STATS_INIT;
    if (argc < 2 || argc > 4) {
        fprintf(stderr, "epoll DIR [CLIENTS [REQUESTS]]\n");
        return 2;
    }
    if (argc > 2)
        clients = atoi(argv[2]);
    if (argc > 3)
        requests = atoi(argv[3]);
    if (clients < 1 || clients > CLIENTS_MAX || requests < 1) {
        fprintf(stderr, "epoll: from 1 to %d clients, with at least 1 request\n", CLIENTS_MAX);
        return 2;
    }
    for (int client = 0; client < clients; client++) {
        int ends[2];
        check(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) == 0, "socketpair");
        server_ends[client] = ends[0];
        client_ends[client] = ends[1];
    }
    check_twal(twal_open(argv[1], NULL, &log), "open");
    check(pthread_create(&thread, NULL, run_clients, NULL) == 0, "pthread_create");
    serve(log);
    pthread_join(thread, NULL);
    check_twal(twal_stats_get(log, &stats), "stats");
    printf("%d requests of %d clients, each durable before its answer, with %llu flushes\n", answered, clients,
           (unsigned long long)stats.flushes);
    check_twal(twal_close(log), "close");
    for (int client = 0; client < clients; client++) {
        close(server_ends[client]);
        close(client_ends[client]);
    }
    return 0;
}
