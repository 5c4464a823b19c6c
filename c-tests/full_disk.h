/*
 * A full disk is TWAL_E_NOSPC, not poison: nothing is written, no number is used;
 * what was acknowledged stays; opening, closing, reading and trimming work on the
 * full disk; and it goes away when there is space, without a new open.
 * Method: a file system of our own, filled up by another file.
 */
#ifndef FULL_DISK_H
#define FULL_DISK_H

#include "helpers.h"

int full_disk(const char *file_system, uint64_t size);

/* Takes all the space there is, with this file. */
void fill_disk(const char *filler);

#endif
