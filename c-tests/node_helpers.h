/*
 * What the tests of the example node share: the node in a child, and a client that knows its protocol.
 */
#ifndef TWAL_C_TESTS_NODE_HELPERS_H
#define TWAL_C_TESTS_NODE_HELPERS_H

#include "helpers.h"

#include <sys/socket.h>

typedef struct t_node {
    pid_t pid;
    uint16_t port, metrics_port;
    uint64_t keys; /* as it says at its start */
} t_node;

/* The node on this directory, with segments of 1 MiB and a checkpoint about every so many. */
t_node t_node_start(const char *dir, unsigned checkpoint_mib);

/* SIGTERM, and it must end well. */
void t_node_stop(t_node *node);

/* A connection whose reads and writes may take T_PATIENCE_MS. */
int t_node_connect(const t_node *node);
int t_node_connect_to(uint16_t port);

void t_node_send(int fd, const void *data, size_t len);
void t_node_send_text(int fd, const char *text);

/* The next bytes that come are these. */
void t_node_expect(int fd, const char *text);

/* Nothing more comes: the node has closed the connection. */
void t_node_expect_end(int fd);

/* A request of these arguments, up to NULL. */
void t_node_request(int fd, const char *first, ...) __attribute__((sentinel));

/* One line of an answer, without its end; false: the connection is gone. */
bool t_node_line(int fd, char *line, size_t size);

/* The answer to GET: false: there is no such key. */
bool t_node_get(int fd, const char *key, char *value, size_t size);

#endif
