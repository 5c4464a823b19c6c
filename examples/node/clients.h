/* Those who are connected: what they ask, and what they are answered. */
#ifndef NODE_CLIENTS_H
#define NODE_CLIENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* More are turned away. */
extern size_t clients_max;

/* Somebody came, to the port of requests or to that of metrics. */
void client_come(int fd, bool http);

/* What epoll tells of a client. */
void client_event(void *client, uint32_t events);

/* A client's change is durable: for store_apply(). */
void client_done(void *client, uint32_t type, size_t removed);

/* Everybody who could not go on tries again; whether anybody still cannot. */
void clients_retry(void);
bool clients_stalled(void);

/* The end of a turn: answers are sent, who is gone is forgotten. */
void clients_settle(void);

#endif
