/*
 * What the tests of transactions share.
 */
#ifndef TWAL_C_TESTS_TXN_HELPERS_H
#define TWAL_C_TESTS_TXN_HELPERS_H

#include "helpers.h"

/* 32 bytes for a coordinator, a shard or a node. */
typedef struct t_name {
    uint8_t bytes[32];
} t_name;
t_name t_name_of(const char *kind, uint64_t number);

/* A manager with these options, NULL for none; what it found must be whole. */
twal_txn *t_recover(twal_log *log, const twal_txn_options *options);
void t_txn_close(twal_txn *txn);

/* Closes it and recovers: what was begun with it is now found, and can be resumed. */
twal_txn *t_recover_again(twal_txn *txn, twal_log *log);

twal_txn_report t_report(const twal_txn *txn);
twal_txn_stats t_txn_stats(const twal_txn *txn);

/* How many of the unfinished operations that recovery found have this action. */
size_t t_count_action(const twal_txn *txn, uint32_t action);

/* How many operations are not finished now, and twal_txn_next() tells them in order. */
size_t t_count_active(const twal_txn *txn);

uint32_t t_saga_state(const twal_txn *txn, uint64_t id);
uint32_t t_2pc_state(const twal_txn *txn, uint64_t id);

/* A started saga of that many steps, one after the other, with this coordinator. */
uint64_t t_saga_begin(twal_txn *txn, t_name coordinator, uint32_t steps);

/* A two-phase commit of participants "shard" first to first + count - 1, prepared; their nodes are "node". */
uint64_t t_2pc_begin(twal_txn *txn, t_name coordinator, uint64_t first, size_t count);

#endif
