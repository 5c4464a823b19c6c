/*
 * Goal: the example node on a full disk: of requests that come at once, exactly those are there that were answered "+OK",
 * also after it was killed; the others were refused, and it goes on when there is space.
 *
 * t:with node_helpers
 * t:valgrind no, it mounts a file system
 */
#include "full_disk.h"
#include "node_helpers.h"

enum { AT_ONCE = 200, VALUE = 4000, ROUNDS = 4, KEYS_MAX = 10000 };

static char value[VALUE + 1];
static bool stored[KEYS_MAX];
static unsigned keys;

/* Many SETs in one piece; how many were refused. */
static unsigned set_many(int fd)
{
    static char text[AT_ONCE * (VALUE + 32)];
    char line[64];
    size_t len = 0;
    unsigned refused = 0;
    t_check(keys + AT_ONCE <= KEYS_MAX);
    for (unsigned n = 0; n < AT_ONCE; n++)
        len += (size_t)snprintf(text + len, sizeof text - len, "SET key-%u %s\r\n", keys + n, value);
    t_node_send(fd, text, len);
    for (unsigned n = 0; n < AT_ONCE; n++) {
        t_check(t_node_line(fd, line, sizeof line));
        stored[keys++] = strcmp(line, "+OK") == 0;
        t_check(stored[keys - 1] || strcmp(line, "-ERR the disk is full") == 0);
        refused += !stored[keys - 1];
    }
    return refused;
}

/* From this key on. */
static void expect_stored(int fd, unsigned first)
{
    char key[16], got[VALUE + 1];
    for (unsigned n = first; n < keys; n++) {
        snprintf(key, sizeof key, "key-%u", n);
        bool there = t_node_get(fd, key, got, sizeof got);
        if (there != stored[n])
            t_fail(__FILE__, __LINE__, "%s: answered %s, %s", key, stored[n] ? "+OK" : "-ERR", there ? "there" : "not there");
        t_check(!there || strcmp(got, value) == 0);
    }
}

static bool takes_more(int fd)
{
    char line[64];
    t_node_request(fd, "SET", "more", value, NULL);
    t_check(t_node_line(fd, line, sizeof line));
    return strcmp(line, "+OK") == 0;
}

int main(void)
{
    t_begin();
    const char *place = t_mount("ext4", 24 * T_MIB);
    char dir[600], filler[600];
    snprintf(dir, sizeof dir, "%s/log", place);
    snprintf(filler, sizeof filler, "%s/filler", place);
    memset(value, 'v', VALUE);
    t_node node = t_node_start(dir, 1000);
    int fd = t_node_connect(&node);
    for (int round = 0; round < ROUNDS; round++) {
        unsigned first = keys;
        set_many(fd);
        fill_disk(filler);
        /* First some of them are refused, then all. */
        for (unsigned refused = 0; refused < AT_ONCE;)
            refused = set_many(fd);
        expect_stored(fd, first);
        t_remove(filler);
        t_await(takes_more(fd), T_PATIENCE_MS);
    }
    close(fd);
    t_kill_child(node.pid);
    node = t_node_start(dir, 1000);
    fd = t_node_connect(&node);
    expect_stored(fd, 0);
    close(fd);
    t_node_stop(&node);
    return t_end();
}
