/*
 * What the scenarios of transactions share: operations that name as many nodes as they are asked to, and what of them is
 * on disk.  A node is an id that takes part: coordinator, participant, or named in what a step is undone with.
 */
#ifndef TWAL_C_TESTS_TXN_SCENARIOS_H
#define TWAL_C_TESTS_TXN_SCENARIOS_H

#include "txn_helpers.h"

extern uint64_t nodes;      /* of this scenario */
extern uint64_t step_nodes; /* named in a step's payload: so many that all take part */

typedef enum fate { COMPLETED, COMPENSATED, EXECUTING } fate;

t_name node_of(uint64_t number);

/* Saga `number` of one step: 5 records if it is completed, 7 if compensated, 3 if it is left executing. */
void saga_of_one(twal_txn *txn, uint64_t number, fate fate);

/* Its first 3 records, and the others. */
uint64_t begin_saga(twal_txn *txn, uint64_t number);
void end_saga(twal_txn *txn, uint64_t id, fate fate);

/* Two-phase commit `number` of `count` participants: 4 + 2 * count records if it is completed, one fewer if not. */
void commit_of(twal_txn *txn, uint64_t number, size_t count, bool complete);

/* Checkpoints by call only, and all of the log stays. */
twal_txn_options manual(void);

/* Resumes what is left, of which every action is done at once.  How many operations that finished. */
uint64_t finish(twal_txn *txn);

typedef struct on_disk {
    uint64_t sagas, transactions, checkpoints, completed, compensated, committed;
    uint8_t *seen; /* a bit a node */
} on_disk;

on_disk read_back(twal_log *log);
on_disk read_back_compacted(twal_log *log); /* numbers may be missing */

/* How many nodes were seen, which must be `want`: all, or as many as such operations can name.  Frees them. */
uint64_t nodes_in(on_disk *found, uint64_t want);

#endif
