#include "resp.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Nothing here remembers how far it came: a request that is not whole is parsed
 * anew with the next bytes.  It has few arguments, and their bytes are not
 * looked at, so that costs less than the call that received them. */

/* The number in a line like "*3\r\n", behind its first byte. */
static enum parsed number_line(const char *data, size_t len, size_t *at, long *value_out)
{
    const size_t longest = 16;
    long value = 0;
    int negative = 0, digits = 0;
    for (size_t n = *at + 1; n < len && n < *at + longest; n++) {
        if (data[n] == '\r') {
            if (n + 1 == len)
                return PARSED_INCOMPLETE;
            if (digits == 0 || data[n + 1] != '\n')
                return PARSED_ERROR;
            *at = n + 2;
            *value_out = negative ? -value : value;
            return PARSED_REQUEST;
        }
        if (data[n] == '-' && n == *at + 1) {
            negative = 1;
        } else if (data[n] >= '0' && data[n] <= '9') {
            value = value * 10 + (data[n] - '0');
            digits++;
        } else {
            return PARSED_ERROR;
        }
    }
    return len >= *at + longest ? PARSED_ERROR : PARSED_INCOMPLETE;
}

static enum parsed wrong(struct request *request, const char *error)
{
    request->error = error;
    return PARSED_ERROR;
}

static enum parsed parse_array(const char *data, size_t len, struct request *request)
{
    size_t at = 0;
    long count, size;
    enum parsed parsed = number_line(data, len, &at, &count);
    if (parsed == PARSED_INCOMPLETE)
        return parsed;
    if (parsed == PARSED_ERROR || count > ARGS_MAX)
        return wrong(request, "-ERR Protocol error: invalid multibulk length");
    for (long n = 0; n < count; n++) {
        if (at == len)
            return PARSED_INCOMPLETE;
        if (data[at] != '$')
            return wrong(request, "-ERR Protocol error: expected '$'");
        parsed = number_line(data, len, &at, &size);
        if (parsed == PARSED_INCOMPLETE)
            return parsed;
        if (parsed == PARSED_ERROR || size < 0 || size > REQUEST_MAX || at + (size_t)size + 2 > REQUEST_MAX)
            return wrong(request, "-ERR Protocol error: invalid bulk length");
        if (len - at < (size_t)size + 2)
            return PARSED_INCOMPLETE;
        if (memcmp(data + at + size, "\r\n", 2) != 0)
            return wrong(request, "-ERR Protocol error: a string is longer than it said");
        request->args[request->argc++] = (struct arg) { data + at, (size_t)size };
        at += (size_t)size + 2;
    }
    request->used = at;
    return PARSED_REQUEST;
}

static enum parsed parse_line(const char *data, size_t len, struct request *request)
{
    const char *end = memchr(data, '\n', len < INLINE_MAX ? len : INLINE_MAX);
    if (!end)
        return len < INLINE_MAX ? PARSED_INCOMPLETE : wrong(request, "-ERR Protocol error: too big inline request");
    for (const char *at = data; at < end;) {
        size_t blanks = strspn(at, " \t\r"), word;
        if (at + blanks >= end)
            break;
        at += blanks;
        for (word = 0; at + word < end && !memchr(" \t\r", at[word], 3); word++)
            ;
        if (request->argc == ARGS_MAX)
            return wrong(request, "-ERR Protocol error: too many words");
        request->args[request->argc++] = (struct arg) { at, word };
        at += word;
    }
    request->used = (size_t)(end - data) + 1;
    return PARSED_REQUEST;
}

enum parsed resp_parse(const char *data, size_t len, struct request *request)
{
    request->argc = 0;
    request->used = 0;
    request->error = NULL;
    if (len == 0)
        return PARSED_INCOMPLETE;
    return data[0] == '*' ? parse_array(data, len, request) : parse_line(data, len, request);
}

size_t buffer_len(const struct buffer *buffer)
{
    return buffer->end - buffer->begin;
}

char *buffer_room(struct buffer *buffer, size_t len)
{
    if (buffer->size - buffer->end >= len)
        return buffer->data + buffer->end;
    size_t held = buffer_len(buffer);
    if (held > 0)
        memmove(buffer->data, buffer->data + buffer->begin, held);
    buffer->begin = 0;
    buffer->end = held;
    if (buffer->size - held < len) {
        size_t size = buffer->size ? buffer->size : 1024;
        while (size - held < len)
            size *= 2;
        buffer->data = realloc(buffer->data, size);
        buffer->size = size;
        if (!buffer->data) {
            perror("node");
            abort();
        }
    }
    return buffer->data + held;
}

void buffer_add(struct buffer *buffer, const void *data, size_t len)
{
    if (len > 0) {
        memcpy(buffer_room(buffer, len), data, len);
        buffer->end += len;
    }
}

void buffer_take(struct buffer *buffer, size_t len)
{
    buffer->begin += len;
    if (buffer->begin == buffer->end)
        buffer->begin = buffer->end = 0;
}

void buffer_free(struct buffer *buffer)
{
    free(buffer->data);
    *buffer = (struct buffer) { 0 };
}

void resp_line(struct buffer *out, const char *line)
{
    buffer_add(out, line, strlen(line));
    buffer_add(out, "\r\n", 2);
}

static void headed(struct buffer *out, char head, unsigned long long value)
{
    char line[32];
    int len = snprintf(line, sizeof line, "%c%llu\r\n", head, value);
    buffer_add(out, line, (size_t)len);
}

void resp_integer(struct buffer *out, unsigned long long value)
{
    headed(out, ':', value);
}

void resp_string(struct buffer *out, const void *data, size_t len)
{
    headed(out, '$', len);
    buffer_add(out, data, len);
    buffer_add(out, "\r\n", 2);
}

void resp_array(struct buffer *out, unsigned long long count)
{
    headed(out, '*', count);
}
