/*
 * Goal: the example node does what it says: answers in the order of each client's requests, however they are cut into
 * pieces, refusals among them; who sends no more is answered first; what is no request, or too much, ends nobody but its
 * sender; a checkpoint releases what is old, and what was set is there after a restart.
 *
 * t:with node_helpers
 */
#include "node_helpers.h"

static void answers_in_order(const t_node *node)
{
    int fd = t_node_connect(node);
    /* All at once: reads come behind this client's own writes. */
    t_node_send_text(fd, "PING\r\nSET a 1\r\nGET a\r\nset a 2\r\nDEL a b\r\nGET a\r\n"
                         "*5\r\n$4\r\nMSET\r\n$1\r\nx\r\n$0\r\n\r\n$1\r\ny\r\n$2\r\n\r\n\r\nGET y\r\nDBSIZE\r\n");
    t_node_expect(fd, "+PONG\r\n+OK\r\n$1\r\n1\r\n+OK\r\n:1\r\n$-1\r\n+OK\r\n$2\r\n\r\n\r\n:2\r\n");
    /* Byte by byte. */
    const char *text = "*3\r\n$3\r\nSET\r\n$4\r\nslow\r\n$6\r\na\r\nb\r\n\r\nGET slow\r\n";
    for (const char *at = text; *at; at++)
        t_node_send(fd, at, 1);
    t_node_expect(fd, "+OK\r\n$6\r\na\r\nb\r\n\r\n");
    t_node_send_text(fd, "\r\n*0\r\nCONFIG GET save\r\nCOMMAND DOCS\r\nDEL x y slow x\r\nDBSIZE\r\nQUIT\r\nPING\r\n");
    t_node_expect(fd, "*2\r\n$4\r\nsave\r\n$0\r\n\r\n*0\r\n:3\r\n:0\r\n+OK\r\n");
    t_node_expect_end(fd);
}

/* What is refused at once is answered behind what became durable later. */
static void refusals_in_order(const t_node *node)
{
    enum { LARGE = 1045000, ROUNDS = 20 }; /* more than a segment has room for */
    static const char begin[] = "SET a 1\r\nDEL a\r\n*3\r\n$3\r\nSET\r\n$1\r\nb\r\n$1045000\r\n",
                      end[] = "\r\nSET c 1\r\nPING\r\nDEL b c\r\nNOSUCH\r\n*y\r\n";
    const size_t large_at = sizeof begin - 1, end_at = large_at + LARGE;
    char *text = malloc(end_at + sizeof end);
    t_check(text);
    memcpy(text, begin, large_at);
    memset(text + large_at, 'v', LARGE);
    memcpy(text + end_at, end, sizeof end);
    for (unsigned round = 0; round < ROUNDS / t_thin(); round++) {
        int fd = t_node_connect(node);
        t_node_send(fd, text, end_at + sizeof end - 1);
        t_node_expect(fd, "+OK\r\n:1\r\n-ERR too much for one request\r\n+OK\r\n+PONG\r\n:1\r\n"
                          "-ERR unknown command, or wrong number of arguments\r\n"
                          "-ERR Protocol error: invalid multibulk length\r\n");
        t_node_expect_end(fd);
    }
    free(text);
}

/* Anything behind anything, in one piece, as a model of the table answers it. */
static void any_order(const t_node *node)
{
    enum { ROUNDS = 20, REQUESTS = 400, KEYS = 5 };
    static char asked[REQUESTS * 40], expected[REQUESTS * 64], got[sizeof expected];
    bool there[KEYS] = { false };
    unsigned values[KEYS] = { 0 };
    t_random random = t_random_new(2);
    int fd = t_node_connect(node);
    for (unsigned round = 0; round < ROUNDS / t_thin(); round++) {
        size_t asked_len = 0, len = 0;
        for (unsigned n = 0; n < REQUESTS; n++) {
            unsigned key = (unsigned)t_random_below(&random, KEYS), value = round * REQUESTS + n;
            char *ask = asked + asked_len, *expect = expected + len;
            switch (t_random_below(&random, n % 100 == 0 ? 6 : 5)) {
            case 0:
                asked_len += (size_t)sprintf(ask, "SET any-%u %u\r\n", key, value);
                len += (size_t)sprintf(expect, "+OK\r\n");
                there[key] = true;
                values[key] = value;
                break;
            case 1:
                asked_len += (size_t)sprintf(ask, "DEL any-%u\r\n", key);
                len += (size_t)sprintf(expect, ":%d\r\n", there[key]);
                there[key] = false;
                break;
            case 2:
                asked_len += (size_t)sprintf(ask, "PING\r\n");
                len += (size_t)sprintf(expect, "+PONG\r\n");
                break;
            case 3:
                asked_len += (size_t)sprintf(ask, "ECHO %05u\r\n", value);
                len += (size_t)sprintf(expect, "$5\r\n%05u\r\n", value);
                break;
            case 4:
                asked_len += (size_t)sprintf(ask, "NOSUCH\r\n");
                len += (size_t)sprintf(expect, "-ERR unknown command, or wrong number of arguments\r\n");
                break;
            default:
                asked_len += (size_t)sprintf(ask, "GET any-%u\r\n", key);
                if (there[key])
                    len += (size_t)sprintf(expect, "$%d\r\n%u\r\n", snprintf(NULL, 0, "%u", values[key]), values[key]);
                else
                    len += (size_t)sprintf(expect, "$-1\r\n");
            }
        }
        t_node_send(fd, asked, asked_len);
        t_equal(recv(fd, got, len, MSG_WAITALL), len);
        t_check(memcmp(got, expected, len) == 0);
    }
    t_node_request(fd, "DEL", "any-0", "any-1", "any-2", "any-3", "any-4", NULL);
    t_check(t_node_line(fd, got, sizeof got));
    close(fd);
}

/* Who sends no more gets every answer, then the end: also if it takes them late, or its last request is not whole. */
static void sends_no_more(const t_node *node)
{
    enum { ROUNDS = 20, REQUESTS = 2000, VALUE = 200000, ASKED = 60 };
    for (unsigned round = 0; round < ROUNDS / t_thin(); round++) {
        int fd = t_node_connect(node);
        t_node_send_text(fd, "SET half 1\r\nGET half\r\nDEL half\r\n");
        if (round % 2)
            t_node_send_text(fd, "GET ha");
        t_check(shutdown(fd, SHUT_WR) == 0);
        t_node_expect(fd, "+OK\r\n$1\r\n1\r\n:1\r\n");
        t_node_expect_end(fd);
    }
    int fd = t_node_connect(node);
    for (int n = 0; n < REQUESTS; n++)
        t_node_request(fd, "SET", "half", "2", NULL);
    t_check(shutdown(fd, SHUT_WR) == 0);
    for (int n = 0; n < REQUESTS; n++)
        t_node_expect(fd, "+OK\r\n");
    t_node_expect_end(fd);

    char *value = malloc(VALUE + 1);
    t_check(value);
    memset(value, 'v', VALUE);
    value[VALUE] = '\0';
    fd = t_node_connect(node);
    t_node_request(fd, "SET", "half", value, NULL);
    for (int n = 0; n < ASKED; n++)
        t_node_request(fd, "GET", "half", NULL);
    t_node_request(fd, "DEL", "half", NULL);
    t_check(shutdown(fd, SHUT_WR) == 0);
    t_node_expect(fd, "+OK\r\n");
    for (int n = 0; n < ASKED; n++) {
        t_node_expect(fd, "$200000\r\n");
        t_equal(recv(fd, value, VALUE, MSG_WAITALL), VALUE);
        t_node_expect(fd, "\r\n");
    }
    t_node_expect(fd, ":1\r\n");
    t_node_expect_end(fd);
    free(value);
}

/* What ends its sender, and what is only refused. */
static void hostile(const t_node *node)
{
    static const char *const ending[] = {
        "*2000000000\r\n", "*99999999999999999999\r\n", "*1025\r\n", "*x\r\n", "*1\r\nPING\r\n", "*1\r\n$-1\r\n",
        "*1\r\n$2000000000\r\n", "*1\r\n$1048577\r\n", "*1\r\n$4\r\nPINGxx", "*2\r\n$3\r\nGET\r\n:1\r\n",
        "*1\n$4\nPING\n", "*\r\n", "*1\r\n$\r\n", "SET a 1\r\n*y\r\n",
    };
    int other = t_node_connect(node);
    for (size_t n = 0; n < sizeof ending / sizeof *ending; n++) {
        char line[128];
        int fd = t_node_connect(node);
        t_node_send_text(fd, ending[n]);
        t_check(t_node_line(fd, line, sizeof line));
        if (strncmp(ending[n], "SET", 3) == 0) {
            /* The error is answered in its turn. */
            t_check(strcmp(line, "+OK") == 0);
            t_check(t_node_line(fd, line, sizeof line));
        }
        t_check(strncmp(line, "-ERR Protocol error", 19) == 0);
        t_node_expect_end(fd);
        t_node_request(other, "PING", NULL);
        t_node_expect(other, "+PONG\r\n");
    }
    /* A line without an end. */
    static char much[64 << 10];
    memset(much, 'x', sizeof much);
    int fd = t_node_connect(node);
    t_node_send(fd, much, sizeof much);
    t_node_expect(fd, "-ERR Protocol error: too big inline request\r\n");
    t_node_expect_end(fd);
    /* Bytes of any kind: an answer or none, and the node goes on. */
    t_random random = t_random_new(1);
    for (unsigned round = 0; round < 200 / t_thin(); round++) {
        char bytes[300];
        static const char often[] = "*$\r\n0123-: SETGDLM";
        size_t len = 1 + t_random_below(&random, sizeof bytes - 1);
        for (size_t n = 0; n < len; n++)
            bytes[n] = t_random_below(&random, 4) ? often[t_random_below(&random, sizeof often - 1)]
                                                  : (char)t_random_below(&random, 256);
        fd = t_node_connect(node);
        t_node_send(fd, bytes, len);
        if (t_random_below(&random, 2))
            shutdown(fd, SHUT_WR);
        close(fd);
    }
    t_node_send_text(other, "NOSUCH\r\nSET a\r\nMSET a 1 b\r\nGET\r\n");
    for (int n = 0; n < 4; n++)
        t_node_expect(other, "-ERR unknown command, or wrong number of arguments\r\n");
    close(other);
}

/* Somebody asks for much, takes nothing, and is not read from meanwhile; others go on. */
static void takes_no_answers(const t_node *node)
{
    enum { VALUE = 100000, ASKED = 3000 };
    char *value = malloc(VALUE + 1), *got = malloc(VALUE + 1);
    int greedy = t_node_connect(node), other = t_node_connect(node);
    t_check(value && got);
    memset(value, 'v', VALUE);
    value[VALUE] = '\0';
    t_node_request(greedy, "SET", "large", value, NULL);
    t_node_expect(greedy, "+OK\r\n");
    for (int n = 0; n < ASKED; n++)
        t_node_request(greedy, "GET", "large", NULL);
    for (int n = 0; n < 100; n++) {
        t_node_request(other, "SET", "other", "1", NULL);
        t_node_expect(other, "+OK\r\n");
    }
    for (int n = 0; n < ASKED; n++) {
        t_node_expect(greedy, "$100000\r\n");
        t_equal(recv(greedy, got, VALUE, MSG_WAITALL), VALUE);
        t_check(memcmp(got, value, VALUE) == 0);
        t_node_expect(greedy, "\r\n");
    }
    t_node_request(other, "DEL", "large", "other", "a", NULL);
    t_node_expect(other, ":3\r\n");
    close(greedy);
    close(other);
    free(value);
    free(got);
}

static uint64_t info(int fd, const char *name)
{
    char line[128];
    uint64_t value = UINT64_MAX;
    t_node_request(fd, "INFO", NULL);
    t_check(t_node_line(fd, line, sizeof line));
    for (long left = atol(line + 1); left > 0; left -= (long)strlen(line) + 2) {
        t_check(t_node_line(fd, line, sizeof line));
        if (strncmp(line, name, strlen(name)) == 0 && line[strlen(name)] == ':')
            value = strtoull(line + strlen(name) + 1, NULL, 10);
    }
    t_node_expect(fd, "\r\n");
    t_check(value != UINT64_MAX);
    return value;
}

/* Of a node that has ended: one that runs renames and removes segments meanwhile. */
static uint64_t bytes_kept(const char *dir)
{
    size_t count;
    uint64_t kept = 0;
    t_segment *segments = t_segments(dir, &count);
    for (size_t n = 0; n < count; n++)
        kept += strcmp(segments[n].state, "archived") != 0 ? t_file_size(segments[n].path) : 0;
    return kept;
}

/* The same keys again and again: the log does not grow with what was written, and nothing is lost with what is released. */
static void checkpoints(t_node *node, const char *dir)
{
    enum { KEYS = 500, ROUNDS = 30, VALUE = 1000, PIPELINE = 50 };
    char key[32], value[VALUE + 1], got[VALUE + 1];
    int fd = t_node_connect(node);
    t_node_request(fd, "SET", "rare", "never again", NULL);
    t_node_expect(fd, "+OK\r\n");
    for (int round = 0; round < ROUNDS; round++) {
        for (int n = 0; n < KEYS; n++) {
            snprintf(key, sizeof key, "key %d", n);
            memset(value, 'a' + round % 26, VALUE);
            snprintf(value + VALUE - 20, 21, "%20d", round * KEYS + n);
            t_node_request(fd, "SET", key, value, NULL);
            if (n % PIPELINE == PIPELINE - 1)
                for (int answer = 0; answer < PIPELINE; answer++)
                    t_node_expect(fd, "+OK\r\n");
        }
    }
    t_await(info(fd, "checkpoints") >= 3, T_PATIENCE_MS);
    t_check(info(fd, "first_seq") > 1);
    for (int start = 0; start < 2; start++) {
        /* The node itself appends copies while a checkpoint is under way; then it rests. */
        t_await(info(fd, "durable_seq") == info(fd, "last_seq"), T_PATIENCE_MS);
        for (int n = 0; n < KEYS; n++) {
            snprintf(key, sizeof key, "key %d", n);
            t_check(t_node_get(fd, key, got, sizeof got));
            t_equal(strtoull(got + VALUE - 20, NULL, 10), (ROUNDS - 1) * KEYS + n);
        }
        t_check(t_node_get(fd, "rare", got, sizeof got) && strcmp(got, "never again") == 0);
        t_node_request(fd, "DBSIZE", NULL);
        t_node_expect(fd, ":501\r\n");
        if (start == 0) {
            close(fd);
            t_node_stop(node);
            t_check(bytes_kept(dir) < (uint64_t)KEYS * ROUNDS * VALUE / 2);
            *node = t_node_start(dir, 2);
            t_equal(node->keys, KEYS + 1);
            fd = t_node_connect(node);
        }
    }
    close(fd);
}

/* What Prometheus would fetch; in pieces, by hand, without the body; and what is no such request. */
static void metrics(const t_node *node)
{
    static char text[64 << 10];
    static const struct {
        const char *first, *rest;
        bool found, body;
    } asked[] = {
        { "GET /metrics HTTP/1.1\r\nHo", "st: here\r\n\r\n", true, true },
        { "GET /metrics?name=x HTTP/1.1\r\n\r\n", "", true, true },
        { "GET /metrics HTTP/1.0\n", "\n", true, true },
        { "HEAD /metrics HTTP/1.1\r\n\r", "\n", true, false },
        { "HEAD / HTTP/1.1\r\n\r\n", "", false, false },
        { "GET / HTTP/1.1\r\n\r\n", "", false, false },
        { "GET /metricsx HTTP/1.1\r\n\r\n", "", false, false },
        { "POST /metrics HTTP/1.1\r\n\r\n", "", false, false },
        { "\r\n\r\n", "", false, false },
    };
    for (size_t n = 0; n < 2 * (sizeof asked / sizeof *asked); n++) {
        int fd = t_node_connect_to(node->metrics_port), at = (int)n / 2;
        size_t len = 0;
        ssize_t got;
        t_node_send_text(fd, asked[at].first);
        t_node_send_text(fd, asked[at].rest);
        if (n % 2)
            t_check(shutdown(fd, SHUT_WR) == 0);
        while ((got = recv(fd, text + len, sizeof text - 1 - len, 0)) > 0)
            len += (size_t)got;
        t_equal(got, 0);
        text[len] = '\0';
        close(fd);
        t_check(strncmp(text, asked[at].found ? "HTTP/1.1 200 " : "HTTP/1.1 404 ", 13) == 0);
        const char *body = strstr(text, "\r\n\r\n"), *said = strstr(text, "Content-Length: ");
        t_check(body && said);
        size_t body_len = (size_t)strtoull(said + 16, NULL, 10);
        t_equal(strlen(body + 4), asked[at].body ? body_len : 0);
        t_check(asked[at].found == (body_len > 0));
        t_check(!asked[at].body || strstr(body, "# TYPE twal_"));
    }
}

int main(void)
{
    t_begin();
    const char *dir = t_path("log");
    t_node node = t_node_start(dir, 2);
    answers_in_order(&node);
    refusals_in_order(&node);
    any_order(&node);
    sends_no_more(&node);
    hostile(&node);
    metrics(&node);
    takes_no_answers(&node);
    checkpoints(&node, dir);
    t_node_stop(&node);
    return t_end();
}
