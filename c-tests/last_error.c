/*
 * Goal: twal_last_error() tells of this thread's last failure: nothing before
 * there is one, not of other threads', not cleared by a success; the numbers
 * say where.
 */
#include "helpers.h"

static twal_log *shared;

static void *another(void *arg)
{
    (void)arg;
    twal_error error = t_last_error();
    t_equal(error.code, TWAL_OK);
    t_equal(error.text[0], 0);
    t_code(twal_recover_iter(shared, 1000, &(twal_iter *){ NULL }), TWAL_E_NOTFOUND);
    t_equal(t_last_error().code, TWAL_E_NOTFOUND);
    return NULL;
}

int main(void)
{
    t_begin();
    twal_options options = t_options_small();
    twal_log *none = NULL;
    twal_error error;

    error = t_last_error();
    t_equal(error.code, TWAL_OK);
    t_equal(error.os_errno, 0);
    t_equal(error.segment | error.offset | error.seq, 0);
    t_equal(error.text[0], 0);
    t_equal(error.struct_size, sizeof error);

    t_code(twal_open(t_path("missing/log"), &options, &none), TWAL_E_NOTFOUND);
    error = t_last_error();
    t_equal(error.os_errno, ENOENT);
    t_check(strlen(error.text) > 5);

    /* A success leaves it; other threads do not see it. */
    shared = t_open(t_path("log"), &options);
    t_append_many(shared, 3, 100);
    t_equal(t_last_error().code, TWAL_E_NOTFOUND);
    t_code(twal_append(shared, NULL, 7, NULL), TWAL_E_INVAL);
    t_join(t_thread(another, NULL));
    error = t_last_error();
    t_equal(error.code, TWAL_E_INVAL);
    t_equal(error.os_errno, 0);

    /* A failing twal_last_error() is a failure too, and touches nothing. */
    memset(&error, 0x5a, sizeof error);
    error.struct_size = 0;
    t_check(twal_last_error(&error) == TWAL_E_INVAL);
    t_equal(error.code, 0x5a5a5a5a);
    error.struct_size = sizeof error;
    t_ok(twal_last_error(&error));
    t_equal(error.code, TWAL_E_INVAL);

    /* Asking does not clear. */
    t_code(twal_trim(shared, 1000), TWAL_E_INVAL);
    t_equal(t_last_error().code, TWAL_E_INVAL);
    t_equal(t_last_error().code, TWAL_E_INVAL);

    /* It outlives the log that it was about. */
    t_code(twal_wait(shared, 1000, 0), TWAL_E_TIMEOUT);
    t_close(shared);
    t_equal(t_last_error().code, TWAL_E_TIMEOUT);
    return t_end();
}
