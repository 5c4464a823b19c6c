#include "node_helpers.h"

/* The example as it stands, in one piece. */
#include "../examples/node/resp.c"
#include "../examples/node/store.c"
#include "../examples/node/clients.c"
#define main node_main
#include "../examples/node/node.c"
#undef main

#include <stdarg.h>
#include <sys/prctl.h>

typedef struct start {
    const char *dir, *checkpoint_mib;
    int out;
} start;

static void run_node(void *arg)
{
    const start *start = arg;
    char *arguments[] = { "node", "--dir", (char *)(uintptr_t)start->dir, "--port", "0", "--segment-mib", "1",
                          "--checkpoint-mib", (char *)(uintptr_t)start->checkpoint_mib, "--metrics-port", "0", NULL };
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test that fails leaves no node behind */
    t_check(dup2(start->out, STDOUT_FILENO) == STDOUT_FILENO);
    t_equal(node_main(11, arguments), 0);
}

t_node t_node_start(const char *dir, unsigned checkpoint_mib)
{
    int ends[2];
    char mib[16], line[128] = "";
    size_t len = 0;
    t_node node = { 0 };
    unsigned long long keys;
    unsigned port, metrics_port;
    snprintf(mib, sizeof mib, "%u", checkpoint_mib);
    t_check(pipe(ends) == 0);
    start start = { dir, mib, ends[1] };
    node.pid = t_fork(run_node, &start);
    close(ends[1]);
    while (!memchr(line, '\n', len)) {
        ssize_t got = read(ends[0], line + len, sizeof line - 1 - len);
        t_check(got > 0);
        len += (size_t)got;
    }
    close(ends[0]);
    t_equal(sscanf(line, "node: %llu keys, listening on 127.0.0.1:%u, metrics %u", &keys, &port, &metrics_port), 3);
    node.port = (uint16_t)port;
    node.metrics_port = (uint16_t)metrics_port;
    node.keys = keys;
    return node;
}

void t_node_stop(t_node *node)
{
    t_check(kill(node->pid, SIGTERM) == 0);
    t_wait_child_ok(node->pid);
}

int t_node_connect(const t_node *node)
{
    return t_node_connect_to(node->port);
}

int t_node_connect_to(uint16_t port)
{
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(port) };
    struct timeval patience = { .tv_sec = T_PATIENCE_MS / 1000 };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), yes = 1;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    t_check(fd >= 0);
    t_check(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) == 0);
    t_check(setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience) == 0);
    t_check(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes) == 0);
    t_check(connect(fd, (struct sockaddr *)&address, sizeof address) == 0);
    return fd;
}

void t_node_send(int fd, const void *data, size_t len)
{
    t_equal(send(fd, data, len, MSG_NOSIGNAL), len);
}

void t_node_send_text(int fd, const char *text)
{
    t_node_send(fd, text, strlen(text));
}

void t_node_expect(int fd, const char *text)
{
    char got[512] = "";
    size_t len = strlen(text);
    t_check(len < sizeof got);
    ssize_t count = recv(fd, got, len, MSG_WAITALL);
    if (count != (ssize_t)len || memcmp(got, text, len) != 0)
        t_fail(__FILE__, __LINE__, "\"%s\" came, not \"%s\"", got, text);
}

void t_node_expect_end(int fd)
{
    char byte;
    ssize_t got = recv(fd, &byte, 1, 0);
    t_check(got == 0 || (got < 0 && errno == ECONNRESET));
    close(fd);
}

void t_node_request(int fd, const char *first, ...)
{
    struct buffer out = { 0 };
    unsigned long long count = 0;
    va_list args;
    va_start(args, first);
    for (const char *arg = first; arg; arg = va_arg(args, const char *))
        count++;
    va_end(args);
    resp_array(&out, count);
    va_start(args, first);
    for (const char *arg = first; arg; arg = va_arg(args, const char *))
        resp_string(&out, arg, strlen(arg));
    va_end(args);
    t_node_send(fd, out.data, out.end);
    buffer_free(&out);
}

bool t_node_line(int fd, char *line, size_t size)
{
    for (size_t len = 0; len + 1 < size; len++) {
        if (recv(fd, line + len, 1, 0) != 1)
            return false;
        if (line[len] == '\n') {
            t_check(len > 0 && line[len - 1] == '\r');
            line[len - 1] = '\0';
            return true;
        }
    }
    t_fail(__FILE__, __LINE__, "an answer without an end");
}

bool t_node_get(int fd, const char *key, char *value, size_t size)
{
    char line[64];
    t_node_request(fd, "GET", key, NULL);
    t_check(t_node_line(fd, line, sizeof line));
    if (strcmp(line, "$-1") == 0)
        return false;
    t_check(line[0] == '$');
    size_t len = (size_t)atol(line + 1);
    t_check(len < size);
    t_equal(recv(fd, value, len, MSG_WAITALL), len);
    value[len] = '\0';
    t_node_expect(fd, "\r\n");
    return true;
}
