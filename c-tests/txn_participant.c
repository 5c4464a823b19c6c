#include "txn_participant.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

static uint64_t mix(uint64_t value)
{
    value = (value ^ (value >> 31)) * UINT64_C(0x9E3779B97F4A7C15);
    return value ^ (value >> 29);
}

bool part_fails(uint32_t kind, uint64_t id, uint32_t part)
{
    return mix(t_seed() ^ mix(id * 16 + part * 2 + (kind == TWAL_TXN_2PC))) % 7 == 0;
}

static uint32_t sum_of(const effect *effect)
{
    uint64_t sum = effect->id * 31 + effect->kind * 7 + effect->direction * 5 + effect->part;
    for (size_t at = 0; at < 16; at++)
        sum = mix(sum + effect->token[at]);
    return (uint32_t)sum;
}

effect *effects_of(const char *state, size_t *count_out)
{
    size_t len = 0;
    *count_out = 0;
    if (!t_exists(state))
        return NULL;
    effect *effects = (effect *)(void *)t_file_read(state, &len);
    t_equal(len % sizeof(effect), 0);
    *count_out = len / sizeof(effect);
    for (size_t at = 0; at < *count_out; at++)
        t_equal(effects[at].sum, sum_of(&effects[at]));
    return effects;
}

/* ---- in the participant's process ---- */

typedef struct memory {
    effect *effects;
    size_t count, room;
} memory;

static const effect *find(const memory *memory, const effect *wanted)
{
    for (size_t at = 0; at < memory->count; at++)
        if (!memcmp(memory->effects[at].token, wanted->token, 16))
            return &memory->effects[at];
    return NULL;
}

/* As soon as it is in the state file: what was done is there, and so is what was forgotten. */
static void remember(memory *memory, const effect *effect)
{
    if (effect->direction == FORGET) {
        size_t kept = 0;
        for (size_t at = 0; at < memory->count; at++)
            if (memory->effects[at].id != effect->id || memory->effects[at].kind != effect->kind)
                memory->effects[kept++] = memory->effects[at];
        memory->count = kept;
        return;
    }
    if (memory->count == memory->room) {
        memory->room = memory->room * 2 + 64;
        memory->effects = realloc(memory->effects, memory->room * sizeof(*effect));
        t_check(memory->effects);
    }
    memory->effects[memory->count++] = *effect;
}

static void die(void)
{
    kill(getpid(), SIGKILL);
}

/* Does it, once for each token; what it answers. */
static int carry_out(memory *memory, int state, effect wanted, bool forgets)
{
    if (!forgets && wanted.direction != FORGET && find(memory, &wanted))
        return TWAL_DONE;
    bool may_fail = wanted.direction == TWAL_DIRECTION_EXECUTE || wanted.direction == TWAL_DIRECTION_PREPARE;
    if (may_fail && part_fails(wanted.kind, wanted.id, wanted.part))
        return TWAL_FAILED;
    wanted.sum = sum_of(&wanted);
    t_check(write(state, &wanted, sizeof(wanted)) == sizeof(wanted));
    remember(memory, &wanted);
    return TWAL_DONE;
}

static void serve(const crew *crew, size_t me)
{
    t_random random = t_random_new(1000 + crew->births);
    memory memory = { .count = 0 };
    memory.effects = NULL;
    effect *before = effects_of(crew->states[me], &memory.count);
    size_t count = memory.count;
    memory.count = 0;
    for (size_t at = 0; at < count; at++)
        remember(&memory, &before[at]);
    int state = open(crew->states[me], O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    t_check(state >= 0);
    for (;;) {
        int asked = accept(crew->sockets[me], NULL, NULL);
        t_check(asked >= 0);
        effect wanted;
        if (recv(asked, &wanted, sizeof(wanted), MSG_WAITALL) == sizeof(wanted)) {
            uint64_t fate = crew->calm ? 99 : t_random_below(&random, 60);
            if (fate == 0)
                die(); /* nothing is done */
            int answer = carry_out(&memory, state, wanted, crew->forgets);
            if (fate == 1)
                die(); /* it is done, and nobody knows */
            (void)send(asked, &answer, sizeof(answer), MSG_NOSIGNAL);
        }
        close(asked);
    }
}

static void start(crew *crew, size_t at)
{
    pid_t parent = getpid();
    crew->births++;
    fflush(NULL);
    pid_t child = fork();
    t_check(child >= 0);
    if (child == 0) {
        /* Not left over when the test itself is killed. */
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() == parent)
            serve(crew, at);
        _exit(0);
    }
    crew->pids[at] = child;
}

/* ---- in the parent ---- */

static struct sockaddr_un address_of(const crew *crew, size_t at, socklen_t *len_out)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    /* Abstract: of this test's scratch directory, and gone with its sockets. */
    int len = snprintf(address.sun_path + 1, sizeof(address.sun_path) - 1, "twal%" PRIx64 "-%d-%zu",
                       mix((uint64_t)(uintptr_t)crew->states[at] ^ t_seed()), crew->sockets[at], at);
    *len_out = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)len);
    return address;
}

void crew_start(crew *crew, const char *name, bool forgets)
{
    memset(crew, 0, sizeof(*crew));
    crew->forgets = forgets;
    for (size_t at = 0; at < PARTICIPANTS; at++) {
        char state[64];
        snprintf(state, sizeof(state), "%s-state-%zu", name, at);
        crew->states[at] = t_path(state);
        crew->sockets[at] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        socklen_t len;
        struct sockaddr_un address = address_of(crew, at, &len);
        t_check(crew->sockets[at] >= 0 && !bind(crew->sockets[at], (struct sockaddr *)&address, len));
        t_check(!listen(crew->sockets[at], 64));
        start(crew, at);
    }
}

bool crew_restart(crew *crew, pid_t child)
{
    for (size_t at = 0; at < PARTICIPANTS; at++)
        if (crew->pids[at] == child) {
            start(crew, at);
            return true;
        }
    return false;
}

void crew_end(crew *crew)
{
    for (size_t at = 0; at < PARTICIPANTS; at++) {
        t_kill_child(crew->pids[at]);
        close(crew->sockets[at]);
    }
}

/* ---- in the coordinator ---- */

int crew_ask(const crew *crew, size_t at, effect effect)
{
    int answer = TWAL_RETRY, link = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    socklen_t len;
    struct sockaddr_un address = address_of(crew, at, &len);
    t_check(link >= 0);
    if (!connect(link, (struct sockaddr *)&address, len) &&
        send(link, &effect, sizeof(effect), MSG_NOSIGNAL) == sizeof(effect))
        if (recv(link, &answer, sizeof(answer), MSG_WAITALL) != sizeof(answer))
            answer = TWAL_RETRY;
    close(link);
    return answer;
}
