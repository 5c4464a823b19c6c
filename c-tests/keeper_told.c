/* A thread that writes its own frames tells the keeper what there is to do: a
 * spare is prepared when a quarter of the first segment is used, though
 * nothing else happens that would wake anybody. */
#include "helpers.h"

#include <dirent.h>

static bool has_spare(const char *dir)
{
    DIR *open = opendir(dir);
    t_check(open);
    bool found = false;
    for (struct dirent *entry; (entry = readdir(open)) && !found;)
        found = !strncmp(entry->d_name, "twal-spare-", 11);
    closedir(open);
    return found;
}

int main(void)
{
    t_begin();
    twal_options options = t_options();
    options.segment_size = 16 * T_MIB;
    options.idle_mark_us = UINT64_C(3600) * 1000 * 1000;
    const char *dir = t_path("log");
    twal_log *log = t_open(dir, &options);
    static char data[60000];
    for (size_t used = 0; used < options.segment_size / 4 + T_MIB; used += sizeof data)
        t_ok(twal_append(log, data, sizeof data, NULL));
    t_check(t_stats(log).frames_by_appender > 0);
    t_await(has_spare(dir), T_PATIENCE_MS);
    t_close(log);
    return t_end();
}
