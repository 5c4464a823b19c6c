/* A log that is followed, byte for byte, by another process over TCP.
 *
 *   ship rounds DIR ROUNDS   appends at full speed; the follower is killed and started again; then it is promoted
 *                            and must have every record that it acknowledged
 *   ship sync DIR COUNT      each record is durable here and at the follower before the next one is appended
 *   ship bench DIR MIB       how fast a log of MIB is copied
 *   ship follow DIR PORT     what the three of them start: the follower
 *
 * The source is DIR/source, the follower's copy DIR/follower.  On the wire: the follower says where it is (a
 * twal_ship_position); then pieces come (a twal_ship_piece, then its bytes), and positions go back: what each says is
 * durable at the follower.  Both are plain structs, sent as they are between machines of one byte order.
 *
 * What the host has to do, beside moving bytes:
 *   - a hold for the follower, so that nothing is given back or compacted that it still needs (hold_for());
 *   - to acknowledge a record, wait for it here first, then for the follower's position (append_replicated()): only what
 *     is durable at the source is shipped, so that no follower can be ahead of it;
 *   - to bound what others cost it: how long a follower may be silent before it says where it is (hello_max), and how much
 *     may arrive faster than it is written (arrived_max).
 *
 * The source here serves one follower at a time. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <twal.h>

#define MIB ((uint64_t)1 << 20)
/* A follower makes durable what has come when nothing more is there at once, or so much is. */
#define SYNC_BYTES (64 * MIB)
/* A hold costs two flushes: it is moved on now and then. */
#define HOLD_BYTES (32 * MIB)

/* No piece is longer than the largest frame, in whole blocks.  What the wire says is not believed. */
#define PIECE_MAX (2048 * MIB + MIB)

static uint32_t open_flags; /* of both sides */
static uint64_t segment_size = 16 * MIB, log_size_max = 256 * MIB;
static size_t record_len = 4000;
static unsigned seed; /* of when followers are killed; 0: the process id */

static void check(int ok, const char *what)
{
    if (!ok) {
        fprintf(stderr, "ship: %s: %s\n", what, strerror(errno));
        exit(1);
    }
}

static void check_twal(int code, const char *what)
{
    twal_error why = TWAL_ERROR_INIT;
    if (code >= 0)
        return;
    twal_last_error(&why);
    fprintf(stderr, "ship: %s: %s: %s (segment %llu, offset %llu)\n", what, twal_strerror(code), why.text,
            (unsigned long long)why.segment, (unsigned long long)why.offset);
    exit(1);
}

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static const char *below(const char *dir, const char *name)
{
    static char paths[2][4096];
    static int next;
    char *path = paths[next++ % 2];
    snprintf(path, sizeof paths[0], "%s/%s", dir, name);
    return path;
}

/* All of it, or false: the other end is gone. */
static int send_all(int fd, const void *data, size_t len)
{
    const char *at = data;
    while (len > 0) {
        ssize_t sent = send(fd, at, len, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent <= 0)
            return 0;
        at += sent;
        len -= (size_t)sent;
    }
    return 1;
}

static int recv_all(int fd, void *data, size_t len)
{
    char *at = data;
    while (len > 0) {
        ssize_t got = recv(fd, at, len, 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return 0;
        at += got;
        len -= (size_t)got;
    }
    return 1;
}

/* ---- the follower's process ---- */

static int connect_to(int port)
{
    struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    check(fd >= 0 && connect(fd, (struct sockaddr *)&to, sizeof to) == 0, "connect");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return fd;
}

/* Pieces that have come and are not written yet: the next ones are received while the disk works.  A piece is seldom
 * longer than 1 MiB, but may be as long as a record: all together are no longer than arrived_max, or there is one only. */
#define ARRIVED_MAX 32
static uint64_t arrived_max = 64 * MIB, arrived_bytes;
static struct arrived {
    twal_ship_piece piece;
    void *data;
    size_t room;
} arrived[ARRIVED_MAX];
static pthread_mutex_t arrived_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t arrived_changed = PTHREAD_COND_INITIALIZER;
static uint64_t pieces_in, pieces_out;
static int receiving, nothing_more; /* a piece has begun to come; none will */
static int wrong;                   /* what came is none, or ends within one */

static int receive_piece(int fd, struct arrived *next)
{
    if (!recv_all(fd, &next->piece, sizeof next->piece))
        return 0;
    pthread_mutex_lock(&arrived_lock);
    receiving = 1;
    pthread_mutex_unlock(&arrived_lock);
    if (next->piece.struct_size != sizeof next->piece || next->piece.len > PIECE_MAX) {
        fprintf(stderr, "ship: what has come is no piece\n");
        wrong = 1;
        return 0;
    }
    pthread_mutex_lock(&arrived_lock);
    while (pieces_in != pieces_out && arrived_bytes + next->piece.len > arrived_max)
        pthread_cond_wait(&arrived_changed, &arrived_lock);
    arrived_bytes += next->piece.len;
    pthread_mutex_unlock(&arrived_lock);
    if (next->piece.len > next->room) {
        /* Whole pages: the sink writes from where the bytes are. */
        free(next->data);
        next->room = ((size_t)next->piece.len + 4095) / 4096 * 4096;
        next->data = aligned_alloc(4096, next->room);
        check(next->data != NULL, "memory");
    }
    next->piece.data = next->data;
    wrong = !recv_all(fd, next->data, (size_t)next->piece.len);
    return !wrong;
}

static void *run_receiver(void *arg)
{
    int fd = *(int *)arg, came;
    do {
        pthread_mutex_lock(&arrived_lock);
        while (pieces_in - pieces_out == ARRIVED_MAX)
            pthread_cond_wait(&arrived_changed, &arrived_lock);
        pthread_mutex_unlock(&arrived_lock);
        came = receive_piece(fd, &arrived[pieces_in % ARRIVED_MAX]);
        pthread_mutex_lock(&arrived_lock);
        pieces_in += (uint64_t)came;
        receiving = 0;
        nothing_more = !came;
        pthread_cond_signal(&arrived_changed);
        pthread_mutex_unlock(&arrived_lock);
    } while (came);
    return NULL;
}

/* The next piece, which stays until piece_done(); NULL: there are no more. */
static const twal_ship_piece *next_piece(void)
{
    const twal_ship_piece *piece = NULL;
    pthread_mutex_lock(&arrived_lock);
    while (pieces_in == pieces_out && !nothing_more)
        pthread_cond_wait(&arrived_changed, &arrived_lock);
    if (pieces_in != pieces_out)
        piece = &arrived[pieces_out % ARRIVED_MAX].piece;
    pthread_mutex_unlock(&arrived_lock);
    return piece;
}

static int more_has_come(int fd)
{
    struct pollfd poll_fd = { .fd = fd, .events = POLLIN };
    pthread_mutex_lock(&arrived_lock);
    int more = pieces_in != pieces_out || receiving;
    pthread_mutex_unlock(&arrived_lock);
    return more || poll(&poll_fd, 1, 0) > 0;
}

static void piece_done(void)
{
    pthread_mutex_lock(&arrived_lock);
    struct arrived *done = &arrived[pieces_out % ARRIVED_MAX];
    arrived_bytes -= done->piece.len;
    /* The slots keep no more than that for later. */
    if (done->room > arrived_max / ARRIVED_MAX) {
        free(done->data);
        done->data = NULL;
        done->room = 0;
    }
    pieces_out++;
    pthread_cond_signal(&arrived_changed);
    pthread_mutex_unlock(&arrived_lock);
}

static int follow(const char *dir, int port)
{
    twal_sink_options options = TWAL_SINK_OPTIONS_INIT;
    twal_ship_position here = TWAL_SHIP_POSITION_INIT;
    const twal_ship_piece *piece;
    twal_sink *sink;
    pthread_t receiver;
    uint64_t unsynced = 0;
    options.flags = open_flags;
    options.max_retained_segments = 1;
    check_twal(twal_sink_open(dir, &options, &sink), "open the follower");
    int fd = connect_to(port);
    check_twal(twal_sink_position(sink, &here), "position");
    int there = send_all(fd, &here, sizeof here);
    check(pthread_create(&receiver, NULL, run_receiver, &fd) == 0, "thread");
    while (there && (piece = next_piece()) != NULL) {
        check_twal(twal_sink_write(sink, piece), "write a piece");
        unsynced += piece->len;
        piece_done();
        if (unsynced < SYNC_BYTES && more_has_come(fd))
            continue;
        check_twal(twal_sink_sync(sink), "sync");
        check_twal(twal_sink_position(sink, &here), "position");
        there = send_all(fd, &here, sizeof here);
        unsynced = 0;
    }
    check_twal(twal_sink_close(sink), "close the follower");
    /* A receiver that waits for the source is not waited for. */
    exit(wrong);
}

/* ---- the source's process ---- */

static twal_log *shipped;
static int listener, listener_port;
static pthread_t shipping;
static atomic_int stopping;
/* What followers have told. */
static pthread_mutex_t told_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t told_more = PTHREAD_COND_INITIALIZER;
static uint64_t acknowledged;
static int connections;
/* The oldest record that the source had at its end. */
static uint64_t source_first_seq;

/* Says why a follower is served no more: what it sends is no reason for the source to end. */
static int refuse(int code, const char *what)
{
    twal_error why = TWAL_ERROR_INIT;
    if (code >= 0)
        return 0;
    twal_last_error(&why);
    fprintf(stderr, "ship: a follower is refused: %s: %s: %s\n", what, twal_strerror(code), why.text);
    return 1;
}

/* Keeps what a follower at this position needs, and gives back what it does not; false: it is no such position. */
static int hold_for(const twal_ship_position *position)
{
    int code;
    /* What comes next is never further than behind its last record. */
    if (position->hold_seq > position->last_seq + 1 || position->last_seq > twal_durable_seq(shipped))
        return !refuse(TWAL_E_INVAL, "it would hold nothing of what it needs");
    code = twal_hold_set(shipped, "follower", position->hold_seq);
    /* It is further already: this follower begins anew, and takes what there is. */
    if (code != TWAL_E_STATE && refuse(code, "hold"))
        return 0;
    return position->hold_seq == 0 || !refuse(twal_trim(shipped, position->hold_seq), "trim");
}

static void *run_acknowledgements(void *arg)
{
    int fd = *(int *)arg;
    twal_ship_position position;
    uint64_t held = 0;
    while (recv_all(fd, &position, sizeof position) && position.struct_size == sizeof position) {
        pthread_mutex_lock(&told_lock);
        if (position.last_seq > acknowledged)
            acknowledged = position.last_seq;
        pthread_cond_broadcast(&told_more);
        pthread_mutex_unlock(&told_lock);
        if (position.hold_seq > held && (position.hold_seq - held) * record_len > HOLD_BYTES) {
            if (!hold_for(&position))
                break;
            held = position.hold_seq;
        }
    }
    shutdown(fd, SHUT_RDWR); /* whoever sends notices */
    return NULL;
}

/* Who comes says where it is within this time, or is let go: others may wait behind it. */
static struct timeval hello_max = { .tv_sec = 5 };

static int receive_hello(int fd, twal_ship_position *from)
{
    const struct timeval for_ever = { .tv_sec = 0 };
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &hello_max, sizeof hello_max);
    if (recv(fd, from, sizeof *from, MSG_WAITALL) != sizeof *from || from->struct_size != sizeof *from)
        return 0;
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &for_ever, sizeof for_ever);
    return 1;
}

static void serve(int fd)
{
    twal_ship_position from;
    twal_ship_piece piece = TWAL_SHIP_PIECE_INIT;
    twal_source *source;
    pthread_t acknowledgements;
    int code = 0, on = 1;
    if (!receive_hello(fd, &from))
        return;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    /* This first: it compares what the follower has with what is here.  Until then the hold stays where it was. */
    if (refuse(twal_source_open(shipped, &from, &source), "open the source"))
        return;
    if (!hold_for(&from)) {
        twal_source_close(source);
        return;
    }
    check(pthread_create(&acknowledgements, NULL, run_acknowledgements, &fd) == 0, "thread");
    pthread_mutex_lock(&told_lock);
    connections++;
    pthread_mutex_unlock(&told_lock);
    while (!stopping && (code = twal_source_next(source, 20 * 1000000, &piece)) >= 0) {
        char gone;
        if (code == 0 && recv(fd, &gone, 1, MSG_PEEK | MSG_DONTWAIT) == 0)
            break;
        if (code == 1) {
            const void *data = piece.data;
            /* An address is nobody else's business. */
            piece.data = NULL;
            if (!(send_all(fd, &piece, sizeof piece) && send_all(fd, data, (size_t)piece.len)))
                break;
        }
    }
    if (!stopping)
        refuse(code, "next piece");
    shutdown(fd, SHUT_RDWR);
    pthread_join(acknowledgements, NULL);
    twal_source_close(source);
}

static void *run_shipping(void *arg)
{
    int fd;
    (void)arg;
    while ((fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
        serve(fd);
        close(fd);
    }
    return NULL;
}

static void start_source(const char *dir, uint32_t durability)
{
    struct sockaddr_in at = { .sin_family = AF_INET };
    socklen_t len = sizeof at;
    twal_options options = TWAL_OPTIONS_INIT;
    options.flags = open_flags;
    options.durability = durability;
    options.segment_size = segment_size;
    options.log_size_max = log_size_max;
    options.max_retained_segments = 1;
    check_twal(twal_open(below(dir, "source"), &options, &shipped), "open the source's log");
    /* From the first record on: what a follower needs is there when it comes. */
    check_twal(twal_hold_set(shipped, "follower", 0), "hold");
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    check(listener >= 0 && bind(listener, (struct sockaddr *)&at, sizeof at) == 0 && listen(listener, 8) == 0
              && getsockname(listener, (struct sockaddr *)&at, &len) == 0, "listen");
    listener_port = ntohs(at.sin_port);
    stopping = 0;
    acknowledged = 0;
    connections = 0;
    check(pthread_create(&shipping, NULL, run_shipping, NULL) == 0, "thread");
}

static void stop_source(void)
{
    stopping = 1;
    shutdown(listener, SHUT_RDWR);
    pthread_join(shipping, NULL);
    close(listener);
    source_first_seq = twal_first_seq(shipped);
    check_twal(twal_close(shipped), "close the source's log");
}

/* The follower in a process of its own: this very program. */
static pid_t start_follower(const char *dir)
{
    char port[16], flags[16];
    const char *copy = below(dir, "follower");
    snprintf(port, sizeof port, "%d", listener_port);
    snprintf(flags, sizeof flags, "%u", open_flags);
    pid_t child = fork();
    check(child >= 0, "fork");
    if (child == 0) {
        execl("/proc/self/exe", "ship", "follow", copy, port, flags, (char *)NULL);
        _exit(127);
    }
    return child;
}

static void end_follower(pid_t child, int kill_it)
{
    int status;
    if (kill_it)
        kill(child, SIGKILL);
    check(waitpid(child, &status, 0) == child, "waitpid");
    if (!(kill_it && WIFSIGNALED(status)) && !(WIFEXITED(status) && WEXITSTATUS(status) == 0)) {
        fprintf(stderr, "ship: the follower ended with status %#x\n", (unsigned)status);
        exit(1);
    }
}

/* Until the follower has this record durably, or the time is over. */
static int wait_acknowledged(uint64_t seq, double seconds)
{
    struct timespec until;
    int there;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += (time_t)seconds + 1;
    pthread_mutex_lock(&told_lock);
    while (acknowledged < seq && pthread_cond_timedwait(&told_more, &told_lock, &until) == 0) {
    }
    there = acknowledged >= seq;
    pthread_mutex_unlock(&told_lock);
    return there;
}

/* A record's bytes follow from its number: one thread appends, so it knows the number before. */
static void fill(unsigned char *data, size_t len, uint64_t seq)
{
    memset(data, (int)(seq % 251), len);
    memcpy(data, &seq, sizeof seq);
}

/* Replicated in the strict sense: durable here, because it is appended with TWAL_APPEND_SYNC; then durable there. */
static uint64_t append_replicated(twal_log *log, const void *data, size_t len)
{
    twal_entry entry = TWAL_ENTRY_INIT;
    uint64_t seq;
    entry.data = data;
    entry.len = len;
    entry.flags = TWAL_APPEND_SYNC;
    check_twal(twal_append_entry(log, &entry, &seq), "append");
    /* What to do when the follower does not answer in time is the host's decision; here it is an error. */
    check(wait_acknowledged(seq, 60), "the follower does not acknowledge");
    return seq;
}

static void *run_appender(void *arg)
{
    unsigned char *data = malloc(record_len);
    uint64_t *appended = arg;
    check(data != NULL, "memory");
    while (!stopping) {
        fill(data, record_len, *appended + 1);
        int code = twal_append(shipped, data, record_len, appended);
        if (code == TWAL_E_NOSPC)
            usleep(1000); /* the log is as large as it may be: the follower is behind */
        else
            check_twal(code, "append");
    }
    free(data);
    return NULL;
}

static int no_finding(void *arg, const twal_finding *finding)
{
    (void)arg;
    fprintf(stderr, "ship: %s: %s\n", finding->file, finding->text);
    exit(1);
}

/* The copy becomes a log, and has everything up to `last`. */
static uint64_t promote_and_check(const char *dir, uint64_t last)
{
    const char *copy = below(dir, "follower");
    twal_sink_options sink_options = TWAL_SINK_OPTIONS_INIT;
    twal_options options = TWAL_OPTIONS_INIT;
    twal_record record;
    unsigned char *expected = malloc(record_len);
    twal_sink *sink;
    twal_log *log;
    twal_iter *iter;
    int code;
    sink_options.flags = options.flags = open_flags;
    check(expected != NULL, "memory");
    check_twal(twal_sink_open(copy, &sink_options, &sink), "open the follower");
    check_twal(twal_sink_promote(sink), "promote");
    check_twal(twal_sink_close(sink), "close the follower");
    check_twal(twal_verify(copy, &options, no_finding, NULL, NULL), "verify");
    check_twal(twal_open(copy, &options, &log), "open the promoted log");
    uint64_t seq = twal_first_seq(log);
    /* It gives back what the source has given back, and no more. */
    if (seq > source_first_seq) {
        fprintf(stderr, "ship: the copy begins with record %llu, the source with %llu\n", (unsigned long long)seq,
                (unsigned long long)source_first_seq);
        exit(1);
    }
    check_twal(twal_recover_iter(log, 0, &iter), "read");
    while ((code = twal_iter_next(iter, &record)) == 1) {
        fill(expected, record_len, seq);
        if (record.seq != seq || record.len != record_len || memcmp(record.data, expected, record_len) != 0) {
            fprintf(stderr, "ship: record %llu is not the one that was appended\n", (unsigned long long)seq);
            exit(1);
        }
        seq++;
    }
    check_twal(code, "read");
    twal_iter_close(iter);
    if (seq - 1 < last) {
        fprintf(stderr, "ship: %llu was acknowledged, %llu is the last that is there\n", (unsigned long long)last,
                (unsigned long long)(seq - 1));
        exit(1);
    }
    fill(expected, record_len, seq);
    check_twal(twal_append(log, expected, record_len, NULL), "append to the promoted log");
    check_twal(twal_close(log), "close the promoted log");
    free(expected);
    return seq - 1;
}

static int rounds(const char *dir, int count)
{
    pthread_t appender;
    uint64_t appended = 0, told = 0, last;
    int went_on = 0, served;
    if (seed == 0)
        seed = (unsigned)getpid();
    printf("seed %u\n", seed);
    start_source(dir, TWAL_GROUP);
    check(pthread_create(&appender, NULL, run_appender, &appended) == 0, "thread");
    for (int round = 0; round < count; round++) {
        pid_t child = start_follower(dir);
        /* Every fourth one lives until it has something new, so that there is always more to lose. */
        if (round % 4 == 0)
            check(wait_acknowledged(told + 1, 60), "the follower does not go on");
        usleep((useconds_t)rand_r(&seed) % 50000);
        end_follower(child, 1);
        pthread_mutex_lock(&told_lock);
        went_on += acknowledged > told;
        told = acknowledged;
        pthread_mutex_unlock(&told_lock);
    }
    stopping = 1;
    pthread_join(appender, NULL);
    stop_source();
    served = connections;
    last = promote_and_check(dir, told);
    printf("%d rounds, %d of %d connections acknowledged more; %llu appended, %llu acknowledged, %llu promoted\n", count,
           went_on, served, (unsigned long long)appended, (unsigned long long)told, (unsigned long long)last);
    return went_on < count / 4;
}

static int synchronous(const char *dir, int count)
{
    unsigned char *data = malloc(record_len);
    check(data != NULL, "memory");
    start_source(dir, TWAL_SYNC);
    pid_t child = start_follower(dir);
    double began = now();
    for (int at = 1; at <= count; at++) {
        fill(data, record_len, (uint64_t)at);
        append_replicated(shipped, data, record_len);
    }
    double took = now() - began;
    stop_source();
    end_follower(child, 0);
    promote_and_check(dir, (uint64_t)count);
    printf("%d records, each durable on both sides: %.0f us each\n", count, took / count * 1e6);
    free(data);
    return 0;
}

/* Bytes that this process has had written. */
static unsigned long long written(void)
{
    char line[128];
    unsigned long long bytes = 0;
    FILE *file = fopen("/proc/self/io", "r");
    check(file != NULL, "/proc/self/io");
    while (fgets(line, sizeof line, file) != NULL)
        if (sscanf(line, "write_bytes: %llu", &bytes) == 1)
            break;
    fclose(file);
    return bytes;
}

/* Until the log, which prepares its next segment's file beside the appends, leaves the device alone. */
static void settle(void)
{
    unsigned long long before;
    do {
        before = written();
        usleep(200000);
    } while (written() != before);
}

static int bench(const char *dir, uint64_t mib)
{
    unsigned char *data;
    uint64_t count, last = 0;
    double began, appended, shipped_in;
    segment_size = 256 * MIB;
    log_size_max = 0;
    record_len = 1 << 20;
    count = mib * MIB / record_len;
    check((data = malloc(record_len)) != NULL, "memory");
    start_source(dir, TWAL_ASYNC);
    began = now();
    while (last < count) {
        fill(data, record_len, last + 1);
        check_twal(twal_append(shipped, data, record_len, &last), "append");
    }
    check_twal(twal_sync(shipped, 0), "sync");
    appended = now() - began;
    settle();
    began = now();
    pid_t child = start_follower(dir);
    check(wait_acknowledged(last, 600), "the follower does not acknowledge");
    shipped_in = now() - began;
    stop_source();
    end_follower(child, 0);
    printf("%llu MiB: appended at %.0f MB/s, shipped, checked and durable at the follower at %.0f MB/s\n",
           (unsigned long long)mib, (double)(mib * MIB) / 1e6 / appended, (double)(mib * MIB) / 1e6 / shipped_in);
    free(data);
    return 0;
}

int main(int argc, char **argv)
{
    int number = argc > 3 ? atoi(argv[3]) : 0;
    if (argc > 4)
        open_flags = (uint32_t)strtoul(argv[4], NULL, 10);
    if (argc > 3 && strcmp(argv[1], "follow") == 0)
        return follow(argv[2], number);
    if (argc > 3 && number > 0) {
        check(mkdir(argv[2], 0700) == 0 || errno == EEXIST, argv[2]);
        if (strcmp(argv[1], "rounds") == 0)
            return rounds(argv[2], number);
        if (strcmp(argv[1], "sync") == 0)
            return synchronous(argv[2], number);
        if (strcmp(argv[1], "bench") == 0)
            return bench(argv[2], (uint64_t)number);
    }
    fprintf(stderr, "usage: ship rounds|sync|bench DIR NUMBER [TWAL_OPEN_FLAGS]\n");
    return 2;
}
