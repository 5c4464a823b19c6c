/*
 * t:leaks no, a forked child has lost the threads whose memory it inherits
 *
 * Goal: what source and sink refuse, they refuse before they do anything; a forked
 * child gets TWAL_E_FORKED from every call but the closes, which free and touch
 * neither disk nor lock, and the parent goes on undisturbed.
 */
#include "helpers.h"

static twal_log *parents;
static twal_source *parents_source;
static twal_sink *parents_sink;

static void call_everything(void *arg)
{
    twal_ship_position position = TWAL_SHIP_POSITION_INIT;
    twal_ship_piece piece = TWAL_SHIP_PIECE_INIT;
    twal_source *source;
    (void)arg;
    t_code(twal_source_open(parents, NULL, &source), TWAL_E_FORKED);
    t_code(twal_source_next(parents_source, 0, &piece), TWAL_E_FORKED);
    t_code(twal_sink_write(parents_sink, &piece), TWAL_E_FORKED);
    t_code(twal_sink_sync(parents_sink), TWAL_E_FORKED);
    t_code(twal_sink_position(parents_sink, &position), TWAL_E_FORKED);
    t_code(twal_sink_promote(parents_sink), TWAL_E_FORKED);
    twal_source_close(parents_source);
    t_ok(twal_sink_close(parents_sink));
}

int main(void)
{
    t_begin();
    twal_options options = t_options_small();
    twal_ship_position position = TWAL_SHIP_POSITION_INIT, small = { 0 };
    twal_ship_piece piece = TWAL_SHIP_PIECE_INIT, none = { 0 };
    twal_sink_options sink_options = TWAL_SINK_OPTIONS_INIT;
    twal_source *source = NULL;
    twal_sink *sink = NULL;
    parents = t_open(t_path("args"), &options);
    t_append_many(parents, 3, 100);
    parents_sink = t_sink_open(t_path("args-copy"));
    t_ok(twal_source_open(parents, NULL, &parents_source));

    t_code(twal_source_open(NULL, NULL, &source), TWAL_E_INVAL);
    t_code(twal_source_open(parents, NULL, NULL), TWAL_E_INVAL);
    t_code(twal_source_open(parents, &small, &source), TWAL_E_INVAL);
    position.complete = 2;
    t_code(twal_source_open(parents, &position, &source), TWAL_E_INVAL);
    t_code(twal_source_next(NULL, 0, &piece), TWAL_E_INVAL);
    t_code(twal_source_next(parents_source, 0, NULL), TWAL_E_INVAL);
    t_code(twal_source_next(parents_source, 0, &none), TWAL_E_INVAL);
    twal_source_close(NULL);
    t_code(twal_sink_open(NULL, NULL, &sink), TWAL_E_INVAL);
    t_code(twal_sink_open("", NULL, &sink), TWAL_E_INVAL);
    t_code(twal_sink_open(t_path("args-copy"), NULL, NULL), TWAL_E_INVAL);
    sink_options.flags = TWAL_OPEN_READ_ONLY;
    t_code(twal_sink_open(t_path("no"), &sink_options, &sink), TWAL_E_INVAL);
    sink_options.struct_size = 0;
    t_code(twal_sink_open(t_path("no"), &sink_options, &sink), TWAL_E_INVAL);
    t_check(!t_exists(t_path("no")));
    t_code(twal_sink_write(NULL, &piece), TWAL_E_INVAL);
    t_code(twal_sink_write(parents_sink, NULL), TWAL_E_INVAL);
    t_code(twal_sink_write(parents_sink, &none), TWAL_E_INVAL);
    t_code(twal_sink_sync(NULL), TWAL_E_INVAL);
    t_code(twal_sink_position(NULL, &position), TWAL_E_INVAL);
    t_code(twal_sink_position(parents_sink, &small), TWAL_E_INVAL);
    t_code(twal_sink_promote(NULL), TWAL_E_INVAL);
    t_ok(twal_sink_close(NULL));
    t_check(source == NULL && sink == NULL);

    t_wait_child_ok(t_fork(call_everything, NULL));
    /* The parent's go on undisturbed. */
    t_equal(twal_source_next(parents_source, 0, &piece), 1);
    t_ok(twal_sink_write(parents_sink, &piece));
    piece.len = 8;
    piece.data = NULL;
    t_code(twal_sink_write(parents_sink, &piece), TWAL_E_INVAL);
    t_code(twal_sink_open(t_path("args-copy"), NULL, &sink), TWAL_E_LOCKED);
    twal_source_close(parents_source);
    t_ok(twal_sink_close(parents_sink));
    t_close(parents);
    return t_end();
}
