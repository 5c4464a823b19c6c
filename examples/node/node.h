/* What there is one of. */
#ifndef NODE_NODE_H
#define NODE_NODE_H

#include <stdint.h>

#include "store.h"

extern struct store store;
extern int poll_fd;

/* Tells epoll of a descriptor; `what` is what it says of it. */
void watch(int fd, void *what);

/* Has epoll tell of other things than before. */
void watch_for(int fd, uint32_t events, void *what);

/* Both end the program: no answer is better than a wrong one. */
void fail(const char *what);
void fail_twal(const char *what, int code);

#endif
