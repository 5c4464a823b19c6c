/* The header, first and alone, twice: compiled by run.sh in every C standard. */
#include <twal.h>
#include <twal.h>

static int uses(void)
{
    twal_options options = TWAL_OPTIONS_INIT;
    twal_entry entry = TWAL_ENTRY_INIT;
    twal_reservation reservation = TWAL_RESERVATION_INIT;
    twal_error error = TWAL_ERROR_INIT;
    twal_stats stats = TWAL_STATS_INIT;
    twal_recovery report = TWAL_RECOVERY_INIT;
    twal_log *log = NULL;
    options.flags = TWAL_OPEN_NO_CREATE;
    entry.stream = TWAL_STREAM(1, 2);
    entry.timestamp = TWAL_TIMESTAMP_LOGICAL;
    if (twal_open("log", &options, &log) != TWAL_OK)
        return twal_last_error(&error);
    if (twal_append_entry(log, &entry, NULL) != TWAL_OK)
        return TWAL_E_IO;
    if (twal_reserve(log, &entry, &reservation) != TWAL_OK)
        return twal_cancel(log, &reservation);
    return twal_stats_get(log, &stats) + twal_recovery_get(log, &report) + TWAL_VERSION_NUMBER;
}

int main(void)
{
    return uses();
}
