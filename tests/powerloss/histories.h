/*
 * Things that have a value which changes, by what was noted of them: what each
 * may be after a power cut.  A thing is a key, its value a text; "none" is that
 * of a thing that is not there, at first or any more.
 */
#ifndef TWAL_POWERLOSS_HISTORIES_H
#define TWAL_POWERLOSS_HISTORIES_H

#include "lives.h"

#define NONE "none"

/* From here on it may be this. */
void history_asked(const char *key, const char *value);

/* It is this, which was asked for, or what was asked for later. */
void history_kept(const char *key, const char *value);

/* An open shows it so: that must be possible, and is so from here on. */
void history_found(const char *key, const char *value);

/* An open has shown everything: what was not among it since the last one is not there. */
void histories_are_found(void);

/* Fails if it cannot be this now. */
void history_judge(const char *key, const char *value);

/* Of values that are rising numbers, NONE is 0: what it is at least, and at most. */
uint64_t history_least(const char *key);
uint64_t history_most(const char *key);

#endif
