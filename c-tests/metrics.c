/*
 * Goal: the metrics' text fits where there is room for it and its NUL, and
 * says how much it needs where there is not; what it says is what the
 * statistics say.  (tests/metrics.rs has it read by Prometheus' own parser.)
 */
#include "helpers.h"

#define ROOM (16 * T_KIB)

static char text[ROOM];

static uint64_t value_of(const char *name)
{
    return t_metric(text, name);
}

int main(void)
{
    t_begin();
    twal_options options = t_options_quiet();
    twal_log *log = t_open(t_path("log"), &options);
    t_append_many(log, 10, 100);
    size_t len = 0, needed = 0;
    t_ok(twal_metrics(log, text, sizeof text, &len));
    t_check(len > 1000 && len == strlen(text) && text[len - 1] == '\n');
    t_check(!strncmp(text, "# HELP twal_", 12));
    t_equal(value_of("twal_records_total"), 10);
    t_equal(value_of("twal_record_bytes_total"), 1000);
    t_equal(value_of("twal_append_seconds_count"), 10);
    t_equal(value_of("twal_fsyncs_total"), t_stats(log).flushes);
    t_equal(value_of("twal_bytes_written_twice_total"), 0);
    t_equal(value_of("twal_durable_seq"), 10);

    /* Nothing happens meanwhile, but that time passes: as many digits for a while. */
    t_code(twal_metrics(log, NULL, 0, &needed), TWAL_E_TOOBIG);
    t_check(needed >= len && needed < len + 10);
    memset(text, 'x', sizeof text);
    t_code(twal_metrics(log, text, 100, &needed), TWAL_E_TOOBIG);
    t_check(needed >= len && text[100] == 'x');
    t_code(twal_metrics(log, text, needed, &needed), TWAL_E_TOOBIG);
    memset(text, 'x', sizeof text);
    t_ok(twal_metrics(log, text, needed + 1, &len));
    t_check(len == needed && text[len] == 0 && text[len + 1] == 'x');

    t_code(twal_metrics(NULL, text, sizeof text, &len), TWAL_E_INVAL);
    t_code(twal_metrics(log, NULL, 1, &len), TWAL_E_INVAL);
    t_code(twal_metrics(log, text, sizeof text, NULL), TWAL_E_INVAL);
    t_close(log);

    log = t_open_read_only(t_path("log"));
    t_ok(twal_metrics(log, text, sizeof text, &len));
    t_equal(value_of("twal_recoveries_total"), 1);
    t_equal(value_of("twal_durable_seq"), 10);
    t_close(log);
    return t_end();
}
