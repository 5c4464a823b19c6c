#include "store.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

enum { BATCH_MAX = 1024, BLOCK = 4096, RECORD_HEADER = 40 };
/* A checkpoint leaves the loop to others after so many copies, and the log's memory. */
enum { COPIES_A_CALL = 256, COPIES_BYTES_MAX = 8 << 20 };

/* What the log has of an item. */
static size_t payload_len(const struct item *item)
{
    return sizeof item->key_len + item->key_len + item->value_len;
}

/* ---- the table ---- */

/* FNV-1a with a start that nobody outside knows, and its bits mixed. */
static uint64_t hash_of(const struct store *store, const char *key, size_t len)
{
    uint64_t hash = 0xcbf29ce484222325u ^ store->hash_key;
    for (size_t n = 0; n < len; n++)
        hash = (hash ^ (unsigned char)key[n]) * 0x100000001b3u;
    hash ^= hash >> 32;
    return hash * 0x9e3779b97f4a7c15u;
}

/* Where the pointer to the key's item is, or would be. */
static struct item **slot_of(const struct store *store, uint64_t hash, const char *key, size_t len)
{
    struct item **slot = &store->buckets[hash >> 32 & (store->bucket_count - 1)];
    while (*slot && ((*slot)->hash != hash || (*slot)->key_len != len || memcmp((*slot)->bytes, key, len) != 0))
        slot = &(*slot)->next;
    return slot;
}

static void grow(struct store *store)
{
    size_t count = store->bucket_count * 2;
    struct item **buckets = calloc(count, sizeof *buckets);
    if (!buckets)
        return; /* chains get longer */
    for (size_t n = 0; n < store->bucket_count; n++) {
        struct item *item = store->buckets[n];
        while (item) {
            struct item *next = item->next, **to = &buckets[item->hash >> 32 & (count - 1)];
            item->next = *to;
            *to = item;
            item = next;
        }
    }
    free(store->buckets);
    store->buckets = buckets;
    store->bucket_count = count;
}

static bool take_out(struct store *store, const struct item *key)
{
    struct item **slot = slot_of(store, key->hash, key->bytes, key->key_len), *item = *slot;
    if (!item)
        return false;
    *slot = item->next;
    store->count--;
    store->bytes -= payload_len(item);
    free(item);
    return true;
}

/* The item is the table's, or gone, when this returns.  Whether a key was taken away. */
static bool apply(struct store *store, uint32_t type, struct item *item)
{
    /* A newer record of the key may be under way: the one that is taken out knew. */
    struct item *old = *slot_of(store, item->hash, item->bytes, item->key_len);
    if (old && old->seq > item->seq)
        item->seq = old->seq;
    bool there = take_out(store, item);
    if (type == RECORD_DELETE) {
        free(item);
        return there;
    }
    if (store->count >= store->bucket_count && store->state == RESTS)
        grow(store);
    struct item **slot = &store->buckets[item->hash >> 32 & (store->bucket_count - 1)];
    item->next = *slot;
    *slot = item;
    store->count++;
    store->bytes += payload_len(item);
    return false;
}

struct item *store_item(const char *key, size_t key_len, const char *value, size_t value_len)
{
    struct item *item = malloc(sizeof *item + key_len + value_len);
    if (!item)
        return NULL;
    item->next = NULL;
    item->seq = 0;
    item->key_len = (uint32_t)key_len;
    item->value_len = (uint32_t)value_len;
    if (key_len > 0)
        memcpy(item->bytes, key, key_len);
    if (value_len > 0)
        memcpy(item->bytes + key_len, value, value_len);
    return item;
}

const struct item *store_find(const struct store *store, const char *key, size_t key_len)
{
    return *slot_of(store, hash_of(store, key, key_len), key, key_len);
}

/* ---- the log ---- */

/* Room for `count` more changes under way. */
static bool reserve_changes(struct store *store, size_t count)
{
    size_t size = store->changes_size ? store->changes_size : 1024;
    while (size - store->changes_count < count)
        size *= 2;
    if (size == store->changes_size)
        return true;
    struct change *changes = malloc(size * sizeof *changes);
    if (!changes)
        return false;
    for (size_t n = 0; n < store->changes_count; n++)
        changes[n] = store->changes[(store->changes_first + n) & (store->changes_size - 1)];
    free(store->changes);
    store->changes = changes;
    store->changes_size = size;
    store->changes_first = 0;
    return true;
}

int store_change(struct store *store, uint32_t type, struct item **items, size_t count, void *owner)
{
    static twal_entry entries[BATCH_MAX];
    uint64_t seq;
    if (count > BATCH_MAX)
        return TWAL_E_TOOBIG;
    if (!reserve_changes(store, count))
        return TWAL_E_AGAIN;
    for (size_t n = 0; n < count; n++) {
        entries[n] = (twal_entry)TWAL_ENTRY_INIT;
        entries[n].data = (const char *)items[n] + offsetof(struct item, key_len);
        entries[n].len = payload_len(items[n]);
        entries[n].type = type;
        entries[n].flags = TWAL_APPEND_NO_SYNC | TWAL_APPEND_NO_WAIT;
    }
    int code = twal_append_batch(store->log, entries, count, &seq);
    if (code != TWAL_OK)
        return code;
    for (size_t n = 0; n < count; n++) {
        struct item *item = items[n];
        item->hash = hash_of(store, item->bytes, item->key_len);
        item->seq = seq + n;
        struct item *present = *slot_of(store, item->hash, item->bytes, item->key_len);
        if (present)
            present->seq = item->seq;
        store->changes[(store->changes_first + store->changes_count++) & (store->changes_size - 1)] =
            (struct change) { item, owner, type, n + 1 == count };
        store->changes_bytes += payload_len(item);
        store->grown += RECORD_HEADER + payload_len(item);
    }
    store->wants_flush = true;
    return TWAL_OK;
}

int store_flush(struct store *store)
{
    if (!store->wants_flush)
        return TWAL_OK;
    store->wants_flush = false;
    store->grown += BLOCK / 2; /* a frame's last block is half empty, more or less */
    return twal_sync_async(store->log, 0, NULL, NULL);
}

void store_apply(struct store *store, void (*done)(void *owner, uint32_t type, size_t removed))
{
    uint64_t durable = twal_durable_seq(store->log); /* the end of a batch, always */
    size_t removed = 0;
    while (store->applied_seq < durable && store->changes_count > 0) {
        struct change change = store->changes[store->changes_first];
        store->changes_first = (store->changes_first + 1) & (store->changes_size - 1);
        store->changes_count--;
        store->changes_bytes -= payload_len(change.item);
        store->applied_seq++;
        removed += apply(store, change.type, change.item);
        if (change.last) {
            if (change.owner)
                done(change.owner, change.type, removed);
            removed = 0;
        }
    }
}

/* ---- the checkpoint ---- */

/* A change of a key that was not in the table yet when it came could not be noted there. */
static void note_changes(struct store *store)
{
    for (size_t n = 0; n < store->changes_count; n++) {
        const struct item *item = store->changes[(store->changes_first + n) & (store->changes_size - 1)].item;
        struct item *present = *slot_of(store, item->hash, item->bytes, item->key_len);
        if (present)
            present->seq = item->seq;
    }
}

/* It needs no file of its own and nothing that a crash must find whole:
 *
 *   1. Everything below the next number, C, is waited for.
 *   2. Each item whose newest record is older than C is appended as it is.  An
 *      item with a newer record, durable or not, needs none: that one stays.
 *   3. When the copies are durable, every key that there is has a record from C
 *      on, and what is below is released.
 *
 * A crash before 3 leaves records that say the same twice. */
int store_checkpoint(struct store *store)
{
    int code = TWAL_OK;
    switch (store->state) {
    case RESTS:
        if (store->grown < store->checkpoint_bytes + store->bytes)
            break;
        store->below_seq = twal_last_seq(store->log) + 1;
        store->state = BEGINS;
        break;
    case BEGINS:
        if (store->applied_seq + 1 < store->below_seq)
            break;
        note_changes(store);
        store->grown = 0;
        store->next_bucket = 0;
        store->state = COPIES;
        break;
    case COPIES:
        if (store->changes_bytes > COPIES_BYTES_MAX)
            return TWAL_E_AGAIN;
        for (int copies = 0; copies < COPIES_A_CALL && code == TWAL_OK && store->next_bucket < store->bucket_count;) {
            for (struct item *item = store->buckets[store->next_bucket]; item && code == TWAL_OK; item = item->next) {
                if (item->seq >= store->below_seq)
                    continue;
                struct item *copy =
                    store_item(item->bytes, item->key_len, item->bytes + item->key_len, item->value_len);
                code = copy ? store_change(store, RECORD_SET, &copy, 1, NULL) : TWAL_E_AGAIN;
                if (code != TWAL_OK)
                    free(copy);
                copies++;
            }
            /* Without room the bucket is gone through again: what was copied is newer by then. */
            if (code == TWAL_OK)
                store->next_bucket++;
        }
        if (code == TWAL_OK && store->next_bucket == store->bucket_count)
            store->state = ENDS;
        store->copied_seq = twal_last_seq(store->log);
        break;
    case ENDS:
        if (store->applied_seq < store->copied_seq)
            break;
        code = twal_trim(store->log, store->below_seq);
        store->checkpoints++;
        store->state = RESTS;
        break;
    }
    return code;
}

/* ---- opening ---- */

static int read_log(struct store *store)
{
    twal_iter *iter;
    twal_record record;
    int code = twal_recover_iter(store->log, 0, &iter);
    if (code != TWAL_OK)
        return code;
    while ((code = twal_iter_next(iter, &record)) == 1) {
        uint32_t key_len;
        if ((record.type != RECORD_SET && record.type != RECORD_DELETE) || record.len < sizeof key_len) {
            code = TWAL_E_VERSION; /* no log of ours */
            break;
        }
        memcpy(&key_len, record.data, sizeof key_len);
        const char *key = (const char *)record.data + sizeof key_len;
        if (key_len > record.len - sizeof key_len) {
            code = TWAL_E_VERSION;
            break;
        }
        struct item *item = store_item(key, key_len, key + key_len, record.len - sizeof key_len - key_len);
        if (!item) {
            code = TWAL_E_NOMEM;
            break;
        }
        item->hash = hash_of(store, item->bytes, item->key_len);
        item->seq = record.seq;
        apply(store, record.type, item);
        store->applied_seq = record.seq;
        store->grown += RECORD_HEADER + record.len;
    }
    twal_iter_close(iter);
    return code;
}

int store_open(struct store *store, const char *dir, const twal_options *options, uint64_t checkpoint_bytes)
{
    *store = (struct store) { .bucket_count = 1 << 16, .checkpoint_bytes = checkpoint_bytes };
    if (getrandom(&store->hash_key, sizeof store->hash_key, 0) != sizeof store->hash_key)
        return TWAL_E_NOMEM;
    store->buckets = calloc(store->bucket_count, sizeof *store->buckets);
    int code = store->buckets ? twal_open(dir, options, &store->log) : TWAL_E_NOMEM;
    if (code == TWAL_OK)
        code = read_log(store);
    if (code != TWAL_OK)
        return code;
    store->applied_seq = twal_last_seq(store->log);
    return TWAL_OK;
}

int store_close(struct store *store)
{
    int code = twal_close(store->log);
    for (size_t n = 0; n < store->changes_count; n++)
        free(store->changes[(store->changes_first + n) & (store->changes_size - 1)].item);
    for (size_t n = 0; store->buckets && n < store->bucket_count; n++) {
        for (struct item *item = store->buckets[n], *next; item; item = next) {
            next = item->next;
            free(item);
        }
    }
    free(store->changes);
    free(store->buckets);
    *store = (struct store) { 0 };
    return code;
}
