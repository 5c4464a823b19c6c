/*
 * t:timeout 1800
 * t:asan no, it has system calls of its own
 * t:tsan no, it has system calls of its own
 * t:valgrind no, it has a malloc() of its own
 * t:with countdown fault_calls
 *
 * Goal: what countdown.h says, with the blocking engine.
 */
#include "countdown.h"

int main(int argc, char **argv)
{
    (void)argc;
    return t_countdown(TWAL_IO_BLOCKING, argv);
}
