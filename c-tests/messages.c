/*
 * Goal: messages come in order, from the open to the close, one at a time;
 * none comes after the callback was taken back, the log closed or its open
 * failed; a callback may use the log, and not close it.
 */
#include "helpers.h"

#include <stdatomic.h>

static struct {
    atomic_int calls, inside;
    atomic_bool over, blocks, blocked, acts;
    twal_log *log;
    char names[100][24];
    uint64_t segments[100];
} told;

static const twal_message_field *field(const twal_message *message, const char *key)
{
    for (uint64_t i = 0; i < message->field_count; i++)
        if (!strcmp(message->fields[i].key, key))
            return &message->fields[i];
    return NULL;
}

static void act(void)
{
    uint64_t seq = 0;
    t_ok(twal_append(told.log, "x", 1, &seq));
    t_check(twal_durable_seq(told.log) >= seq);
    t_ok(twal_sync(told.log, 0));
    t_stats(told.log);
    t_code(twal_close(told.log), TWAL_E_STATE);
}

static void on_message(void *arg, const twal_message *message)
{
    t_check(arg == &told && !atomic_load(&told.over));
    t_equal(atomic_fetch_add(&told.inside, 1), 0);
    t_check(message->struct_size >= sizeof *message && message->text[0]);
    t_check(message->level >= TWAL_MESSAGE_ERROR && message->level <= TWAL_MESSAGE_INFO);
    for (uint64_t i = 0; i < message->field_count; i++)
        t_check(message->fields[i].key[0] && field(message, message->fields[i].key) == &message->fields[i]);
    int call = atomic_load(&told.calls);
    if (call < 100) {
        snprintf(told.names[call], sizeof told.names[call], "%s", message->name);
        const twal_message_field *segment = field(message, "segment");
        told.segments[call] = segment ? segment->number : 0;
    }
    if (!strcmp(message->name, "open")) {
        t_check(field(message, "engine")->text[0] && field(message, "dir")->text[0] == '/');
        t_equal(field(message, "created")->number, 1);
        t_check(!field(message, "created")->text);
    }
    if (atomic_load(&told.acts))
        act();
    if (atomic_exchange(&told.blocks, false)) {
        atomic_store(&told.blocked, true);
        while (atomic_load(&told.blocked))
            t_pause();
    }
    atomic_fetch_add(&told.calls, 1);
    atomic_fetch_sub(&told.inside, 1);
}

static void begin(void)
{
    memset(&told, 0, sizeof told);
}

static twal_options listening(twal_options options)
{
    options.message = on_message;
    options.message_arg = &told;
    return options;
}

/* What t_roll() says comes from twal's thread, when it comes to it. */
static void roll(void)
{
    int calls = atomic_load(&told.calls);
    t_append_many(told.log, 1, 100);
    t_ok(twal_roll(told.log));
    t_await(atomic_load(&told.calls) > calls, T_PATIENCE_MS);
}

static void a_life(const char *dir)
{
    begin();
    twal_options options = listening(t_options_small());
    told.log = t_open(dir, &options);
    t_equal(atomic_load(&told.calls), 1);
    t_check(!strcmp(told.names[0], "open"));
    roll();
    roll();
    t_check(!strcmp(told.names[1], "rollover") && told.segments[1] == 2);
    t_check(!strcmp(told.names[2], "rollover") && told.segments[2] == 3);
    /* It may wait for what it does, also for what it makes happen. */
    atomic_store(&told.acts, true);
    roll();
    atomic_store(&told.acts, false);
    t_close(told.log);
    atomic_store(&told.over, true);
    int calls = atomic_load(&told.calls);
    t_equal(calls, 5);
    t_check(!strcmp(told.names[4], "close"));
}

static void *unset(void *id)
{
    atomic_store((atomic_int *)id, t_thread_id());
    t_ok(twal_message_callback(told.log, 0, NULL, NULL));
    t_check(!atomic_load(&told.blocked) && atomic_load(&told.inside) == 0);
    atomic_store(&told.over, true);
    return NULL;
}

static void taken_back(const char *dir)
{
    begin();
    twal_options options = t_options_small();
    told.log = t_open(dir, &options);
    t_ok(twal_message_callback(told.log, TWAL_MESSAGE_WARNING, on_message, &told));
    t_append_many(told.log, 1, 100);
    t_ok(twal_roll(told.log));
    t_ok(twal_message_callback(told.log, 0, on_message, &told));
    t_code(twal_message_callback(told.log, 5, on_message, &told), TWAL_E_INVAL);
    t_code(twal_message_callback(NULL, 0, NULL, NULL), TWAL_E_INVAL);
    t_equal(atomic_load(&told.calls), 0);
    roll();
    /* While a call lasts, taking it back waits; appends and rolls do not. */
    atomic_store(&told.blocks, true);
    t_append_many(told.log, 1, 100);
    t_ok(twal_roll(told.log));
    t_await(atomic_load(&told.blocked), T_PATIENCE_MS);
    atomic_int id = 0;
    pthread_t thread = t_thread(unset, &id);
    t_await(atomic_load(&id), T_PATIENCE_MS);
    t_await_asleep(atomic_load(&id));
    t_append_many(told.log, 10, 100);
    t_ok(twal_roll(told.log));
    t_check(!atomic_load(&told.over));
    atomic_store(&told.blocked, false);
    t_join(thread);
    t_append_many(told.log, 10, 100);
    t_ok(twal_roll(told.log));
    t_close(told.log);
    t_equal(atomic_load(&told.calls), 2);
}

static void an_open_that_fails(const char *dir)
{
    begin();
    twal_options options = listening(t_options_small());
    options.flags |= TWAL_OPEN_NO_CREATE;
    twal_log *log = NULL;
    t_code(twal_open(dir, &options, &log), TWAL_E_NOTFOUND);
    atomic_store(&told.over, true);
    t_equal(atomic_load(&told.calls), 1);
    t_check(!strcmp(told.names[0], "open_failed"));
    /* What is refused before there is a log to speak of is only returned. */
    options.message_level = 5;
    t_code(twal_open(dir, &options, &log), TWAL_E_INVAL);
}

int main(void)
{
    t_begin();
    a_life(t_path("life"));
    taken_back(t_path("back"));
    an_open_that_fails(t_path("none"));
    return t_end();
}
