#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "clients.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "node.h"
#include "resp.h"

enum { READ_SIZE = 64 << 10 };
/* A client with so much to take, and a node with so much under way, take no more requests. */
enum { OUT_MAX = 4 << 20, CHANGES_MAX = 64 << 20 };

struct client {
    int fd;    /* -1: it is gone, and only its changes are under way */
    bool http; /* it came to the other port */
    struct buffer in;
    struct buffer out;    /* answers that may be sent */
    struct buffer held;   /* answers behind that of a change which is not durable yet */
    struct buffer places; /* of each such change: where among all that was ever held its answer belongs, a uint64_t */
    uint64_t released;    /* bytes that were held and are no more */
    size_t changes;       /* not durable yet */
    uint32_t events;      /* what epoll waits for */
    bool stalled;         /* its next request is to be tried again; it is in that list */
    bool touched;         /* it is in that list */
    bool ends;            /* no request is taken any more; it is dropped when all answers are sent */
    struct client *next_stalled, *next_touched;
};

size_t clients_max;
static size_t clients, requests;
/* Who may go on when something was applied; and who was busy in this turn. */
static struct client *stalled, *touched;

/* ---- clients ---- */

/* Looked at again at the end of the turn: to be sent to, waited for, or freed. */
static void touch(struct client *client)
{
    if (client->touched)
        return;
    client->touched = true;
    client->next_touched = touched;
    touched = client;
}

static void drop(struct client *client)
{
    if (client->fd < 0)
        return;
    close(client->fd); /* which takes it out of the epoll, too */
    client->fd = -1;
    clients--;
    buffer_free(&client->in);
    buffer_free(&client->out);
    buffer_free(&client->held);
    buffer_free(&client->places);
    touch(client);
}

static void stall(struct client *client)
{
    if (client->stalled)
        return;
    client->stalled = true;
    client->next_stalled = stalled;
    stalled = client;
}

static void send_answers(struct client *client)
{
    struct buffer *out = &client->out;
    while (out->begin < out->end) {
        ssize_t sent = send(client->fd, out->data + out->begin, out->end - out->begin, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0 && errno == EAGAIN)
            return;
        if (sent < 0) {
            drop(client);
            return;
        }
        buffer_take(out, (size_t)sent);
    }
    if (client->ends && client->changes == 0)
        drop(client);
}

static void wait_for(struct client *client, uint32_t events)
{
    if (events == client->events)
        return;
    client->events = events;
    watch_for(client->fd, events, client);
}

static size_t unsent(const struct client *client)
{
    return buffer_len(&client->out) + buffer_len(&client->held);
}

/* The end of a turn for a client. */
static void settle(struct client *client)
{
    client->touched = false;
    if (client->fd >= 0)
        send_answers(client);
    if (client->fd >= 0) {
        bool reads = !client->stalled && !client->ends && unsent(client) < OUT_MAX;
        wait_for(client, (reads ? EPOLLIN : 0) | (buffer_len(&client->out) > 0 ? EPOLLOUT : 0));
    } else if (client->changes == 0 && !client->stalled && !client->touched) {
        free(client);
    }
}

/* ---- answers: in the order of the requests ---- */

/* Where the next answer is written.  That of a change is known when the change is durable; what is behind it waits with it. */
static struct buffer *answers(struct client *client)
{
    return client->changes > 0 ? &client->held : &client->out;
}

static void await_change(struct client *client)
{
    uint64_t place = client->released + buffer_len(&client->held);
    buffer_add(&client->places, &place, sizeof place);
    client->changes++;
}

/* The first change has its answer: what is behind it, up to the next change, waits no more. */
static void release_held(struct client *client)
{
    struct buffer *held = &client->held;
    uint64_t until = client->released + buffer_len(held);
    if (client->changes > 0)
        memcpy(&until, client->places.data + client->places.begin, sizeof until);
    size_t len = (size_t)(until - client->released);
    buffer_add(&client->out, held->data + held->begin, len);
    buffer_take(held, len);
    client->released = until;
}

void client_done(void *owner, uint32_t type, size_t removed)
{
    struct client *client = owner;
    client->changes--;
    if (client->fd >= 0) {
        if (type == RECORD_DELETE)
            resp_integer(&client->out, removed);
        else
            resp_line(&client->out, "+OK");
        buffer_take(&client->places, sizeof(uint64_t));
        release_held(client);
    }
    touch(client);
}

/* ---- requests ---- */

/* LATER: the request stays where it is and is tried again. */
enum outcome { DONE, LATER };

static bool is(const struct arg *arg, const char *word)
{
    return arg->len == strlen(word) && strncasecmp(arg->data, word, arg->len) == 0;
}

static enum outcome answer(struct client *client, const char *line)
{
    resp_line(answers(client), line);
    return DONE;
}

/* SET, MSET: pairs of key and value; DEL: keys. */
static enum outcome change(struct client *client, uint32_t type, const struct arg *args, size_t count)
{
    static struct item *items[ARGS_MAX];
    size_t step = type == RECORD_SET ? 2 : 1, made = 0;
    int code = TWAL_E_AGAIN;
    if (store.changes_bytes > CHANGES_MAX)
        return LATER;
    for (; made < count; made++) {
        const struct arg *key = &args[made * step], *value = type == RECORD_SET ? key + 1 : NULL;
        items[made] = store_item(key->data, key->len, value ? value->data : NULL, value ? value->len : 0);
        if (!items[made])
            break;
    }
    if (made == count)
        code = store_change(&store, type, items, count, client);
    if (code == TWAL_OK) {
        await_change(client);
        return DONE;
    }
    while (made > 0)
        free(items[--made]);
    switch (code) {
    case TWAL_E_AGAIN:
        return LATER;
    case TWAL_E_TOOBIG:
        return answer(client, "-ERR too much for one request");
    case TWAL_E_NOSPC:
        return answer(client, "-ERR the disk is full");
    default:
        fail_twal("append", code);
        return DONE;
    }
}

static enum outcome tell_info(struct client *client)
{
    char text[1024];
    twal_stats stats = TWAL_STATS_INIT;
    twal_stats_get(store.log, &stats);
    int len = snprintf(text, sizeof text,
                       "# Server\r\nserver:twal example node\r\nprocess_id:%d\r\n"
                       "# Clients\r\nconnected_clients:%zu\r\n"
                       "# Stats\r\ntotal_commands_processed:%zu\r\nchanges_under_way:%zu\r\n"
                       "# Log\r\nfirst_seq:%llu\r\nlast_seq:%llu\r\ndurable_seq:%llu\r\nflushes:%llu\r\n"
                       "checkpoints:%llu\r\nengine:%s\r\n"
                       "# Keyspace\r\ndb0:keys=%zu,expires=0,avg_ttl=0\r\n",
                       (int)getpid(), clients, requests, store.changes_count,
                       (unsigned long long)twal_first_seq(store.log), (unsigned long long)twal_last_seq(store.log),
                       (unsigned long long)twal_durable_seq(store.log), (unsigned long long)stats.flushes,
                       (unsigned long long)store.checkpoints, stats.engine, store.count);
    resp_string(answers(client), text, (size_t)len);
    return DONE;
}

static enum outcome read_or_tell(struct client *client, const struct arg *args, int argc)
{
    struct buffer *out = answers(client);
    if (is(args, "get") && argc == 2) {
        const struct item *item = store_find(&store, args[1].data, args[1].len);
        if (item)
            resp_string(out, item->bytes + item->key_len, item->value_len);
        else
            resp_line(out, "$-1");
    } else if (is(args, "ping") && argc <= 2) {
        if (argc == 1)
            return answer(client, "+PONG");
        resp_string(out, args[1].data, args[1].len);
    } else if (is(args, "echo") && argc == 2) {
        resp_string(out, args[1].data, args[1].len);
    } else if (is(args, "dbsize") && argc == 1) {
        resp_integer(out, store.count);
    } else if (is(args, "info")) {
        return tell_info(client);
    } else if (is(args, "command")) {
        resp_array(out, 0);
    } else if (is(args, "config") && argc == 3 && is(&args[1], "get")) {
        resp_array(out, 2); /* every setting is there, and empty */
        resp_string(out, args[2].data, args[2].len);
        resp_string(out, "", 0);
    } else if (is(args, "quit")) {
        client->ends = true;
        return answer(client, "+OK");
    } else {
        return answer(client, "-ERR unknown command, or wrong number of arguments");
    }
    return DONE;
}

static enum outcome execute(struct client *client, const struct request *request)
{
    const struct arg *args = request->args;
    int argc = request->argc;
    if (argc == 0)
        return DONE;
    if (is(args, "set") && argc == 3)
        return change(client, RECORD_SET, args + 1, 1);
    if (is(args, "mset") && argc >= 3 && argc % 2 == 1)
        return change(client, RECORD_SET, args + 1, (size_t)argc / 2);
    if (is(args, "del") && argc >= 2)
        return change(client, RECORD_DELETE, args + 1, (size_t)argc - 1);
    /* A look at the table waits for the client's own changes, which show when they are durable: it reads what it wrote. */
    bool looks = is(args, "get") || is(args, "dbsize") || is(args, "info");
    return looks && client->changes > 0 ? LATER : read_or_tell(client, args, argc);
}

/* Carries out what the client has sent, as far as that can be done now. */
static void go_on(struct client *client)
{
    static struct request request;
    struct buffer *in = &client->in;
    touch(client);
    while (client->fd >= 0 && !client->ends && !client->stalled && unsent(client) < OUT_MAX) {
        enum outcome outcome = DONE;
        enum parsed parsed = resp_parse(in->data + in->begin, buffer_len(in), &request);
        if (parsed == PARSED_INCOMPLETE)
            return;
        if (parsed == PARSED_REQUEST) {
            outcome = execute(client, &request);
        } else {
            answer(client, request.error);
            client->ends = true;
        }
        if (outcome == LATER) {
            stall(client);
        } else {
            requests++;
            buffer_take(in, request.used);
        }
    }
    if (client->fd >= 0 && !client->stalled && !client->ends && buffer_len(in) > 0)
        stall(client); /* it has much to take first */
}

/* Whether this head's first line asks for the metrics, whatever its query. */
static bool asks_metrics(const char *head, const char *method)
{
    static const char path[] = " /metrics";
    size_t len = strlen(method);
    return strncmp(head, method, len) == 0 && strncmp(head + len, path, sizeof path - 1) == 0 &&
           memchr(" ?", head[len + sizeof path - 1], 2);
}

/* One request a connection, whose head is not looked at but for its first words. */
static void go_on_http(struct client *client)
{
    static char text[64 << 10];
    struct buffer *in = &client->in;
    const char *asked = in->data + in->begin, *status = "404 Not Found";
    char head[160];
    size_t len = 0;
    if (buffer_len(in) > INLINE_MAX) {
        drop(client);
        return;
    }
    /* An empty line ends it, also for those who leave out the CR. */
    if (client->ends || !(memmem(asked, buffer_len(in), "\n\r\n", 3) || memmem(asked, buffer_len(in), "\n\n", 2)))
        return;
    bool head_only = asks_metrics(asked, "HEAD");
    if (head_only || asks_metrics(asked, "GET")) {
        int code = twal_metrics(store.log, text, sizeof text, &len);
        status = code == TWAL_OK ? "200 OK" : "500 Internal Server Error";
        len = code == TWAL_OK ? len : 0;
    }
    int head_len = snprintf(head, sizeof head,
                            "HTTP/1.1 %s\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: %zu\r\n"
                            "Connection: close\r\n\r\n",
                            status, len);
    buffer_add(&client->out, head, (size_t)head_len);
    buffer_add(&client->out, text, head_only ? 0 : len);
    client->ends = true;
    touch(client);
}

static void read_from(struct client *client)
{
    char *room = buffer_room(&client->in, READ_SIZE);
    ssize_t got = recv(client->fd, room, READ_SIZE, MSG_DONTWAIT);
    if (got > 0) {
        client->in.end += (size_t)got;
        if (client->http)
            go_on_http(client);
        else
            go_on(client);
    } else if (got == 0) {
        /* It sends no more.  Nobody is read from while a whole request is left, so only answers are owed. */
        client->ends = true;
    } else if (errno != EAGAIN && errno != EINTR) {
        drop(client);
    }
}

void clients_retry(void)
{
    struct client *client = stalled;
    stalled = NULL;
    while (client) {
        struct client *next = client->next_stalled;
        client->stalled = false;
        if (client->fd >= 0)
            go_on(client);
        else
            touch(client);
        client = next;
    }
}

bool clients_stalled(void)
{
    return stalled != NULL;
}

void clients_settle(void)
{
    struct client *client = touched;
    touched = NULL;
    while (client) {
        struct client *next = client->next_touched;
        settle(client);
        client = next;
    }
}

void client_come(int fd, bool http)
{
    struct client *client = clients < clients_max ? calloc(1, sizeof *client) : NULL;
    int yes = 1;
    if (!client) {
        close(fd);
        return;
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    client->fd = fd;
    client->http = http;
    client->events = EPOLLIN;
    clients++;
    watch(fd, client);
}

void client_event(void *who, uint32_t events)
{
    struct client *client = who;
    if (events & (EPOLLERR | EPOLLHUP))
        drop(client);
    if (client->fd >= 0 && events & EPOLLIN)
        read_from(client);
    if (client->fd >= 0)
        touch(client);
}
