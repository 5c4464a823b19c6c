/*
 * Goal: the example node's store appends what was handed in together as one batch, shows it when it is durable, and its
 * checkpoint never puts an older value of a key behind a newer one that is still under way.
 *
 * t:with node_helpers
 */
#include "node_helpers.h"

#include "../examples/node/store.h"

static struct store store;
static size_t told, told_removed;

static void count(void *owner, uint32_t type, size_t removed)
{
    t_check(owner == &told);
    t_check(type == RECORD_SET || type == RECORD_DELETE);
    told++;
    told_removed += removed;
}

static void open_store(const char *dir, uint64_t checkpoint_bytes)
{
    twal_options options = t_options_quiet();
    t_ok(store_open(&store, dir, &options, checkpoint_bytes));
}

static void change(uint32_t type, const char *key, const char *value, const char *other)
{
    struct item *items[] = { store_item(key, strlen(key), value, strlen(value)),
                             other ? store_item(other, strlen(other), value, strlen(value)) : NULL };
    t_check(items[0]);
    t_ok(store_change(&store, type, items, other ? 2 : 1, &told));
}

static bool shows(const char *key, const char *value)
{
    const struct item *item = store_find(&store, key, strlen(key));
    return item && item->value_len == strlen(value) && memcmp(item->bytes + item->key_len, value, item->value_len) == 0;
}

static void nothing_shows_before_it_is_durable(const char *dir)
{
    open_store(dir, T_MIB);
    change(RECORD_SET, "a", "1", "b");
    store_apply(&store, count);
    t_check(told == 0 && !shows("a", "1") && !shows("b", "1"));
    t_ok(store_flush(&store));
    t_ok(twal_sync(store.log, 0));
    store_apply(&store, count);
    t_check(told == 1 && shows("a", "1") && shows("b", "1"));
    change(RECORD_DELETE, "a", "", "a");
    change(RECORD_DELETE, "none", "", NULL);
    t_check(shows("a", "1"));
    t_ok(twal_sync(store.log, 0));
    store_apply(&store, count);
    t_check(told == 3 && told_removed == 1 && !shows("a", "1") && store.count == 1);
    t_ok(store_close(&store));

    twal_log *log = t_open_read_only(dir);
    twal_iter *iter;
    twal_record record;
    t_ok(twal_recover_iter(log, 0, &iter));
    for (int n = 0; n < 5; n++) {
        t_equal(twal_iter_next(iter, &record), 1);
        t_equal(record.flags & TWAL_RECORD_BATCH_CONTINUES, n == 0 || n == 2 ? TWAL_RECORD_BATCH_CONTINUES : 0);
    }
    twal_iter_close(iter);
    t_close(log);
}

static void a_copy_never_comes_behind_what_is_newer(const char *dir)
{
    open_store(dir, 1);
    change(RECORD_SET, "kept", "as it is", NULL);
    change(RECORD_SET, "key", "older", NULL);
    t_ok(twal_sync(store.log, 0)); /* durable, and not in the table yet */
    t_ok(store_checkpoint(&store));
    t_check(store.state == BEGINS);
    change(RECORD_SET, "key", "newer", NULL);
    store_apply(&store, count);
    t_check(shows("key", "older"));
    while (store.state != ENDS)
        t_ok(store_checkpoint(&store));
    t_ok(twal_sync(store.log, 0));
    store_apply(&store, count);
    t_check(shows("key", "newer"));
    t_ok(store_checkpoint(&store));
    t_equal(store.checkpoints, 1);
    t_equal(twal_last_seq(store.log), 4); /* one copy, of what nobody changed */
    t_ok(store_close(&store));
    open_store(dir, T_MIB);
    t_check(store.count == 2 && shows("key", "newer") && shows("kept", "as it is"));
    t_ok(store_close(&store));
}

int main(void)
{
    t_begin();
    nothing_shows_before_it_is_durable(t_path("shows"));
    a_copy_never_comes_behind_what_is_newer(t_path("copies"));
    return t_end();
}
