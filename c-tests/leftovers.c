/*
 * Goal: a frame that was cut is a leftover for ever, also when it is put back:
 * nothing of an older epoch is read as live.
 * Method: a crashed log loses its last frame's first block, opens (which cuts
 * it) and goes on; then the old block is put back where it was: behind what
 * overwrote it, if it is still free there, nothing may change.
 */
#include "crashed.h"

#define RECORDS 10
#define LEN 30000

int main(void)
{
    t_begin();
    const char *dir = t_path("log");
    twal_options options = t_options_quiet();
    t_make_crashed(dir, RECORDS, LEN, 0);
    t_frame last = t_find_frame(dir, RECORDS, LEN), before = t_find_frame(dir, RECORDS - 1, LEN);
    t_equal(last.end - last.block, 8 * T_BLOCK);
    size_t len = 0;
    char *old = t_file_read(last.segment.path, &len);

    /* Damage the frame before as well: both are torn, the last is out of chain. */
    t_file_flip(before.segment.path, before.payload, 8);
    /* Frame 10 says that 9 was durable: damage to 9 is rot. */
    t_refused(dir, 0);
    t_file_zero(last.segment.path, last.block, last.end - last.block);
    twal_log *log = t_open(dir, &options);
    t_expect_many(log, 1, RECORDS - 2, LEN);
    t_equal(t_recovery(log).tail, TWAL_TAIL_TORN);
    t_close(log);

    /* Frame 10 comes back behind marks of a higher epoch: a leftover. */
    t_file_write(last.segment.path, last.block, old + last.block, last.end - last.block);
    log = t_open(dir, &options);
    t_expect_many(log, 1, RECORDS - 2, LEN);
    t_close(log);
    t_file_write(last.segment.path, last.block, old + last.block, last.end - last.block);
    t_expect_log(dir, 1, RECORDS - 2, LEN);
    log = t_open(dir, &options);
    t_append_many(log, 3, LEN);
    t_close(log);
    t_expect_log(dir, 1, RECORDS + 1, LEN);
    return t_end();
}
