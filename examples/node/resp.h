/* The Redis protocol, version 2: requests out of bytes, replies into bytes. */
#ifndef NODE_RESP_H
#define NODE_RESP_H

#include <stddef.h>

/* What one request may have.  Who sends more gets an error and is dropped. */
enum { ARGS_MAX = 1024, REQUEST_MAX = 1 << 20, INLINE_MAX = 16 << 10 };

struct arg {
    const char *data;
    size_t len;
};

struct request {
    struct arg args[ARGS_MAX]; /* they lie in the bytes that were parsed */
    int argc;                  /* 0: an empty line, nothing is asked */
    size_t used;               /* bytes of it */
    const char *error;         /* what is wrong with it */
};

enum parsed { PARSED_INCOMPLETE, PARSED_REQUEST, PARSED_ERROR };

/* The request at the begin of these bytes, an array of strings or a line of words. */
enum parsed resp_parse(const char *data, size_t len, struct request *request);

/* Bytes that grow at their end and are taken from their begin. */
struct buffer {
    char *data;
    size_t begin, end, size;
};

size_t buffer_len(const struct buffer *buffer);

/* Room for `len` bytes behind the end. */
char *buffer_room(struct buffer *buffer, size_t len);
void buffer_add(struct buffer *buffer, const void *data, size_t len);
void buffer_take(struct buffer *buffer, size_t len);
void buffer_free(struct buffer *buffer);

void resp_line(struct buffer *out, const char *line); /* "+OK", "-ERR ..." */
void resp_integer(struct buffer *out, unsigned long long value);
void resp_string(struct buffer *out, const void *data, size_t len);
void resp_array(struct buffer *out, unsigned long long count);

#endif
