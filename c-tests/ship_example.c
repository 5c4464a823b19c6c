/*
 * t:timeout 120
 * t:shared no, what differs between the libraries is linking, and a hundred rounds take their time
 * t:valgrind no, it starts itself anew, which valgrind's own program in /proc/self/exe is not
 *
 * Goal: a follower that is killed at random while its source appends at full
 * speed has, promoted, every record that it ever acknowledged, equal; and a host
 * that waits for its acknowledgement has each record on both sides.
 * Method: the example's own source, with 100 rounds; the followers are processes
 * of their own, started from this very program.
 */
#define main example_main
#include "../examples/ship.c"
#undef main

#include "helpers.h"

static void example(const char *what, const char *name, const char *number)
{
    char flags[16];
    char *arguments[] = { "ship", (char *)(uintptr_t)what, (char *)(uintptr_t)t_path(name), (char *)(uintptr_t)number,
                          flags, NULL };
    snprintf(flags, sizeof flags, "%u", t_options().flags);
    t_equal(example_main(5, arguments), 0);
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "follow") == 0)
        return example_main(argc, argv);
    t_begin();
    /* Many segments, and files that are used again. */
    segment_size = T_MIB;
    log_size_max = 32 * T_MIB;
    seed = (unsigned)t_seed();
    example("rounds", "killed", "100");
    example("sync", "replicated", "200");
    return t_end();
}
