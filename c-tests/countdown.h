/*
 * Every system call that a log makes fails once, and from some moment on, in each way
 * that it can: the k-th of a kind, for every k until a run passes untouched.
 *
 * The story of a run, in a child of its own: open, append in every way, wait,
 * register, roll, trim, read, read beside, close.  The fault goes off somewhere in
 * it.  Then, whatever it was:
 *
 *   the child lives, and ends: nothing hangs, panics or aborts;
 *   each answer is of a class that the fault explains; what a retry overcomes (EINTR,
 *     a short write or read) is not seen at all;
 *   who waited is answered, and each registration once;
 *   descriptors, threads and memory are as before the open;
 *   without the fault the log opens, holds what was acknowledged and nothing that was
 *     refused, whole and without a gap, and takes more.
 */
#ifndef TWAL_C_TESTS_COUNTDOWN_H
#define TWAL_C_TESTS_COUNTDOWN_H

#include "helpers.h"

/* The whole test: its main() returns it. */
int t_countdown(uint32_t engine, char **argv);

#endif
