/* A table of keys and values that a log keeps.
 *
 * Every change is a record; it shows in the table when the record is durable,
 * not before.  So nobody is told of a value that a crash could take back, and
 * the table is at every moment what a recovery would make of the log.
 *
 * One thread.  No call waits for the device but store_open() and store_close(),
 * and at the end of a checkpoint the trim. */
#ifndef NODE_STORE_H
#define NODE_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <twal.h>

/* A key and its value; the record's payload is what lies from key_len on. */
struct item {
    struct item *next;
    uint64_t hash;
    uint64_t seq; /* the newest record of this key, durable or not */
    uint32_t value_len;
    uint32_t key_len; /* in this machine's byte order, as the log has it */
    char bytes[];     /* the key, the value */
};

/* Types of the records. */
enum { RECORD_SET = 0x0101, RECORD_DELETE = 0x0102 };

/* One record that was appended and is not known to be durable. */
struct change {
    struct item *item;
    void *owner; /* who is told; NULL: nobody */
    uint32_t type;
    bool last; /* of those that were handed in together */
};

struct store {
    twal_log *log;
    struct item **buckets;
    size_t bucket_count, count, bytes;
    uint64_t hash_key;
    /* Changes under way, in the log's order: a ring of a power of two. */
    struct change *changes;
    size_t changes_size, changes_first, changes_count, changes_bytes;
    uint64_t applied_seq;
    bool wants_flush;
    /* The checkpoint. */
    uint64_t checkpoint_bytes, grown, below_seq, copied_seq, checkpoints;
    size_t next_bucket;
    enum { RESTS, BEGINS, COPIES, ENDS } state;
};

/* Opens or makes the log in `dir` and reads it.  0, or a TWAL_E_*. */
int store_open(struct store *store, const char *dir, const twal_options *options, uint64_t checkpoint_bytes);
int store_close(struct store *store);

/* An item that is not in the table; NULL: no memory. */
struct item *store_item(const char *key, size_t key_len, const char *value, size_t value_len);

/* The durable value of a key; NULL: none. */
const struct item *store_find(const struct store *store, const char *key, size_t key_len);

/* Appends these changes as one batch: a crash leaves all of them or none.  The
 * items are the store's from then on.  TWAL_E_AGAIN: there is no room now, try
 * again when something has become durable, or some milliseconds later.  After
 * any error nothing was appended, and the items are still the caller's. */
int store_change(struct store *store, uint32_t type, struct item **items, size_t count, void *owner);

/* Has what was appended made durable.  Does not wait. */
int store_flush(struct store *store);

/* Applies what is durable by now.  `done` is called once for each store_change()
 * with an owner, in their order; `removed`: how many keys it took away. */
void store_apply(struct store *store, void (*done)(void *owner, uint32_t type, size_t removed));

/* Goes on with a checkpoint, or begins one if the log has grown by enough:
 * everything that only old records hold is appended again, some of it in each
 * call, and then the old records are released.  TWAL_E_AGAIN is no failure. */
int store_checkpoint(struct store *store);

#endif
