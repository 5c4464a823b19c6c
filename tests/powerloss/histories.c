#include "histories.h"

#define VALUE_MAX 32

static struct history {
    char key[40];
    bool found;                     /* shown by the open that is being read */
    size_t kept, count;             /* values[kept] is durable, those behind it were asked for */
    char (*values)[VALUE_MAX];
} *histories;
static size_t histories_count;

static void put(struct history *history, const char *value)
{
    history->values = realloc(history->values, (history->count + 1) * sizeof *history->values);
    t_check(history->values && strlen(value) < VALUE_MAX);
    strcpy(history->values[history->count++], value);
}

static struct history *history_of(const char *key)
{
    for (size_t n = histories_count; n-- > 0;) /* what is young is asked for most */
        if (!strcmp(histories[n].key, key))
            return &histories[n];
    histories = realloc(histories, (histories_count + 1) * sizeof *histories);
    t_check(histories && strlen(key) < sizeof histories->key);
    struct history *history = &histories[histories_count++];
    *history = (struct history){ .count = 0 };
    strcpy(history->key, key);
    put(history, NONE);
    return history;
}

void history_asked(const char *key, const char *value)
{
    put(history_of(key), value);
}

/* Where it stands in what is possible, the last time; count: nowhere. */
static size_t place_of(const struct history *history, const char *value)
{
    for (size_t n = history->count; n-- > history->kept;)
        if (!strcmp(history->values[n], value))
            return n;
    return history->count;
}

void history_kept(const char *key, const char *value)
{
    struct history *history = history_of(key);
    size_t place = place_of(history, value);
    say_check(place < history->count, "the marks promise that %s is %s, for which nobody asked", key, value);
    history->kept = place;
}

static void judge(const struct history *history, const char *value)
{
    say_check(place_of(history, value) < history->count, "LOST: %s is %s, and was durable as %s; asked for since: %zu, the last %s",
              history->key, value, history->values[history->kept], history->count - 1 - history->kept,
              history->values[history->count - 1]);
}

void history_judge(const char *key, const char *value)
{
    judge(history_of(key), value);
}

static void find(struct history *history, const char *value)
{
    judge(history, value);
    history->kept = history->count = 0;
    put(history, value);
}

void history_found(const char *key, const char *value)
{
    struct history *history = history_of(key);
    find(history, value);
    history->found = true;
}

void histories_are_found(void)
{
    for (size_t n = 0; n < histories_count; n++) {
        if (!histories[n].found)
            find(&histories[n], NONE);
        histories[n].found = false;
    }
}

uint64_t history_least(const char *key)
{
    const struct history *history = history_of(key);
    return strtoull(history->values[history->kept], NULL, 10);
}

uint64_t history_most(const char *key)
{
    const struct history *history = history_of(key);
    return strtoull(history->values[history->count - 1], NULL, 10);
}
