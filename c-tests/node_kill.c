/*
 * Goal: what the example node answered, and what it let anybody read, is there after it was killed; of an MSET all is
 * there or nothing; also while it makes checkpoints.
 * Method: a client remembers what was answered to each of its requests, in the order of its requests, and what a reader
 * saw of its keys.  Beside it redis-benchmark loads the node, where that is installed.  After a number of answers that the
 * seed chose the node is killed; what its sockets still hold counts as answered.  The next node must have each key as it
 * was at the last answer, or as one of the requests since would make it.
 *
 * Rounds: $TWAL_NODE_ROUNDS, else 12.
 *
 * t:with node_helpers
 * t:valgrind no, it kills in the middle of a load
 */
#include "node_helpers.h"

#include <fcntl.h>
#include <sys/wait.h>

enum { CLIENTS = 6, KEYS = 60, GROUP = 4, UNDER_WAY = 40, KEPT = 4096 };

/* A key's possible states, the one that is sure first.  A state is the number of the request that made it. */
typedef struct key {
    uint64_t requests[KEPT];
    bool gone[KEPT]; /* DEL made it; also before any request */
    size_t first, count;
} key;

/* The last key of a client is a group of GROUP, which MSET alone changes. */
typedef struct client {
    int fd;
    key keys[KEYS + 1];
    size_t asked_key[UNDER_WAY]; /* of requests without an answer, in order */
    uint64_t asked[UNDER_WAY];
    size_t first, count;
} client;

static client clients_of_ours[CLIENTS];
static t_random chance;
static uint64_t request_number, answers;
static size_t checkpoints_seen;

static void name_key(char *name, size_t size, size_t owner, size_t number, size_t part)
{
    snprintf(name, size, number == KEYS ? "group %zu %zu %zu" : "key %zu %zu", owner, number, part);
}

static void name_value(char *value, size_t size, uint64_t request)
{
    /* Long enough that the log grows. */
    snprintf(value, size, "%" PRIu64 " %0*d", request, (int)(request % 500), 7);
}

static void may_become(key *key, uint64_t request, bool gone)
{
    t_check(key->first + key->count < KEPT);
    key->requests[key->first + key->count] = request;
    key->gone[key->first + key->count] = gone;
    key->count++;
}

/* From now on it is never older than this request made it. */
static void is_sure(key *key, uint64_t request)
{
    while (key->count > 1 && key->requests[key->first] < request) {
        key->first++;
        key->count--;
    }
    if (key->first > KEPT / 2) {
        memmove(key->requests, key->requests + key->first, key->count * sizeof *key->requests);
        memmove(key->gone, key->gone + key->first, key->count * sizeof *key->gone);
        key->first = 0;
    }
}

/* What was seen of it is possible; which request made it. */
static uint64_t check_state(key *key, const char *name, bool there, const char *value)
{
    uint64_t request = there ? strtoull(value, NULL, 10) : 0;
    for (size_t n = key->first; n < key->first + key->count; n++)
        if (there ? !key->gone[n] && key->requests[n] == request : key->gone[n])
            return key->requests[n];
    t_fail(__FILE__, __LINE__, "%s is %s, and should be from request %" PRIu64 "%s or one of %zu behind it", name,
           there ? value : "not there", key->requests[key->first], key->gone[key->first] ? " (DEL)" : "", key->count - 1);
}

static void ask(size_t owner)
{
    client *client = &clients_of_ours[owner];
    size_t number = t_random_below(&chance, KEYS + 1), slot = (client->first + client->count) % UNDER_WAY;
    uint64_t request = ++request_number;
    char names[GROUP][32], value[600];
    bool del = number < KEYS && t_random_below(&chance, 5) == 0;
    for (size_t part = 0; part < GROUP; part++)
        name_key(names[part], sizeof names[part], owner, number, part);
    name_value(value, sizeof value, request);
    may_become(&client->keys[number], request, del);
    client->asked_key[slot] = number;
    client->asked[slot] = request;
    client->count++;
    if (number == KEYS)
        t_node_request(client->fd, "MSET", names[0], value, names[1], value, names[2], value, names[3], value, NULL);
    else if (del)
        t_node_request(client->fd, "DEL", names[0], NULL);
    else
        t_node_request(client->fd, "SET", names[0], value, NULL);
}

/* false: the node is gone. */
static bool take_answer(client *client)
{
    char line[64];
    if (!t_node_line(client->fd, line, sizeof line))
        return false;
    t_check(strcmp(line, "+OK") == 0 || line[0] == ':');
    is_sure(&client->keys[client->asked_key[client->first]], client->asked[client->first]);
    client->first = (client->first + 1) % UNDER_WAY;
    client->count--;
    answers++;
    return true;
}

static void look(int reader, size_t owner, size_t number)
{
    key *key = &clients_of_ours[owner].keys[number];
    char name[32], value[600];
    name_key(name, sizeof name, owner, number, 0);
    bool there = t_node_get(reader, name, value, sizeof value);
    is_sure(key, check_state(key, name, there, value));
}

/* After a start: everything is as it may be, and that is how it is from now on. */
static void check_all(int fd)
{
    for (size_t owner = 0; owner < CLIENTS; owner++) {
        for (size_t number = 0; number <= KEYS; number++) {
            key *key = &clients_of_ours[owner].keys[number];
            char name[32], value[600], other[600];
            name_key(name, sizeof name, owner, number, 0);
            bool there = t_node_get(fd, name, value, sizeof value);
            uint64_t request = check_state(key, name, there, value);
            key->first = 0;
            key->count = 0;
            may_become(key, request, !there);
            for (size_t part = 1; number == KEYS && part < GROUP; part++) {
                name_key(name, sizeof name, owner, number, part);
                bool other_there = t_node_get(fd, name, other, sizeof other);
                if (other_there != there || (there && strcmp(value, other) != 0))
                    t_fail(__FILE__, __LINE__, "half of an MSET: %s", name);
            }
        }
    }
}

static pid_t start_benchmark(const t_node *node)
{
    char port[16];
    snprintf(port, sizeof port, "%u", node->port);
    const char *const argv[] = { "redis-benchmark", "-p", port, "-t", "set,mset", "-r", "2000", "-c", "10", "-d", "200", "-n",
                                 "100000000", "-q", NULL };
    pid_t child = fork();
    t_check(child >= 0);
    if (child == 0) {
        int null = open("/dev/null", O_RDWR);
        dup2(null, STDOUT_FILENO);
        dup2(null, STDERR_FILENO);
        execvp(argv[0], (char *const *)(uintptr_t)argv);
        _exit(127);
    }
    return child;
}

static void play(t_node *node, bool benchmark)
{
    uint64_t until = answers + 100 + t_random_below(&chance, 3000);
    int reader = t_node_connect(node);
    check_all(reader);
    for (size_t n = 0; n < CLIENTS; n++) {
        clients_of_ours[n].fd = t_node_connect(node);
        clients_of_ours[n].first = clients_of_ours[n].count = 0;
    }
    pid_t load = benchmark ? start_benchmark(node) : -1;
    while (answers < until) {
        size_t owner = t_random_below(&chance, CLIENTS);
        client *client = &clients_of_ours[owner];
        if (t_random_below(&chance, 20) == 0)
            look(reader, owner, t_random_below(&chance, KEYS + 1));
        else if (client->count < UNDER_WAY && t_random_below(&chance, 2))
            for (size_t n = t_random_below(&chance, UNDER_WAY - client->count) + 1; n > 0; n--)
                ask(owner);
        else
            for (size_t n = t_random_below(&chance, client->count + 1); n > 0; n--)
                t_check(take_answer(client));
    }
    char line[128];
    t_node_request(reader, "INFO", NULL);
    do
        t_check(t_node_line(reader, line, sizeof line));
    while (strncmp(line, "checkpoints:", 12) != 0);
    checkpoints_seen += (size_t)atol(line + 12);
    t_kill_child(node->pid);
    if (load > 0)
        t_kill_child(load);
    for (size_t n = 0; n < CLIENTS; n++) {
        while (clients_of_ours[n].count > 0 && take_answer(&clients_of_ours[n]))
            ;
        close(clients_of_ours[n].fd);
    }
    close(reader);
}

int main(void)
{
    t_begin();
    const char *rounds = getenv("TWAL_NODE_ROUNDS"), *dir = t_path("log");
    const char *const ask_version[] = { "redis-benchmark", "--version", NULL };
    bool benchmark = t_run(ask_version) == 0;
    if (!benchmark)
        printf("load by redis-benchmark skipped: it is not installed\n");
    chance = t_random_new(1);
    for (size_t n = 0; n < CLIENTS; n++)
        for (size_t number = 0; number <= KEYS; number++)
            may_become(&clients_of_ours[n].keys[number], 0, true);
    for (int left = rounds ? atoi(rounds) : 12; left > 0; left--) {
        t_node node = t_node_start(dir, 2);
        play(&node, benchmark);
    }
    t_node node = t_node_start(dir, 2);
    int fd = t_node_connect(&node);
    check_all(fd);
    close(fd);
    if (benchmark) {
        char port[16];
        snprintf(port, sizeof port, "%u", node.port);
        const char *const cli[] = { "redis-cli", "-e", "-p", port, "SET", "by", "redis-cli", NULL };
        const char *const all[] = { "redis-benchmark", "-p", port, "-t", "ping,set,get,mset", "-n", "2000", "-c", "50", "-q",
                                    NULL };
        t_equal(t_run(cli), 0);
        t_equal(t_run(all), 0);
    }
    t_node_stop(&node);
    printf("%" PRIu64 " requests answered, %zu checkpoints before the kills\n", answers, checkpoints_seen);
    if (benchmark)
        t_check(checkpoints_seen > 0);
    return t_end();
}
