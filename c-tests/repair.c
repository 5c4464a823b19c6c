/*
 * Goal: a plan only describes; applied, it keeps a copy of all that changes,
 * and the log opens with exactly what lay in front of the damage, says what was
 * cut, and goes on.  Acknowledged records go only if that was said by name.
 */
#include "crashed.h"

#include <sys/stat.h>

#define LEN 6000

static const char *original, *dir, *backup;

static void copy_log(void)
{
    t_dir_remove(backup);
    t_dir_copy(original, dir);
}

static twal_repair *planned(void)
{
    uint64_t before = t_dir_sum(dir);
    twal_options options = t_options();
    twal_repair *repair;
    t_ok(twal_repair_plan(dir, &options, &repair));
    t_equal(t_dir_sum(dir), before);
    return repair;
}

static twal_repair_step step_at(const twal_repair *repair, uint64_t at)
{
    twal_repair_step step = TWAL_REPAIR_STEP_INIT;
    t_ok(twal_repair_step_get(repair, at, &step));
    return step;
}

static void no_step_at(const twal_repair *repair, uint64_t at)
{
    twal_repair_step step = TWAL_REPAIR_STEP_INIT;
    t_code(twal_repair_step_get(repair, at, &step), TWAL_E_NOTFOUND);
}

static const char *in_backup(const char *file)
{
    static char path[1200];
    snprintf(path, sizeof path, "%s/%s", backup, file);
    return path;
}

/* Applies a plan that lets go of acknowledged records, with and without the word. */
static void applied(twal_repair *repair)
{
    uint64_t before = t_dir_sum(dir);
    t_code(twal_repair_apply(repair, backup, 0), TWAL_E_STATE);
    t_equal(t_dir_sum(dir), before);
    t_ok(twal_repair_apply(repair, backup, TWAL_REPAIR_DROP_ACKNOWLEDGED));
    t_code(twal_repair_apply(repair, backup, TWAL_REPAIR_DROP_ACKNOWLEDGED), TWAL_E_STATE);
    twal_repair_close(repair);
}

/* The log holds 1..last, says what was cut, goes on, and is whole. */
static void repaired(uint64_t last, uint64_t cut_to, uint64_t segments)
{
    t_ok(twal_verify(dir, NULL, NULL, NULL, NULL));
    twal_options options = t_options_quiet();
    options.flags = TWAL_OPEN_VERIFY;
    twal_log *log = t_open(dir, &options);
    twal_recovery report = t_recovery(log);
    t_equal(report.last_seq, last);
    t_equal(report.witnessed_seq, last);
    t_equal(report.repaired_seq, last + 1);
    t_equal(report.repaired_last_seq, cut_to);
    t_equal(report.repaired_segments, segments);
    t_expect_many(log, 1, last, LEN);
    t_append_many(log, 3, LEN);
    t_close(log);
    t_expect_log(dir, 1, last + 3, LEN);
    t_ok(twal_verify(dir, NULL, NULL, NULL, NULL));
}

static void nothing_damaged(void)
{
    copy_log();
    twal_repair *repair = planned();
    no_step_at(repair, 0);
    t_code(twal_open(dir, NULL, &(twal_log *){NULL}), TWAL_E_LOCKED);
    uint64_t before = t_dir_sum(dir);
    t_ok(twal_repair_apply(repair, backup, 0));
    t_equal(t_dir_sum(dir), before);
    t_check(!t_exists(backup));
    t_code(twal_repair_apply(repair, backup, 0), TWAL_E_STATE);
    twal_repair_close(repair);
    t_expect_log(dir, 1, 25, LEN);
}

static void frames(void)
{
    for (uint64_t seq = 1; seq <= 25; seq += 4) {
        copy_log();
        t_frame frame = t_find_frame(dir, seq, LEN);
        t_file_flip(frame.segment.path, frame.payload + 9, 1);
        uint64_t later = 5 - frame.segment.index;
        uint64_t sum = t_file_sum(frame.segment.path);

        twal_repair *repair = planned();
        twal_repair_step cut = step_at(repair, 0);
        t_equal(cut.kind, TWAL_REPAIR_CUT);
        t_equal(cut.segment, frame.segment.index);
        t_equal(cut.offset, frame.block);
        t_equal(cut.first_seq, seq);
        t_equal(cut.acknowledged, TWAL_ACKNOWLEDGED_YES);
        for (uint64_t i = 1; i <= later; i++) {
            twal_repair_step drop = step_at(repair, i);
            t_equal(drop.kind, TWAL_REPAIR_DROP);
            t_equal(drop.segment, frame.segment.index + i);
        }
        no_step_at(repair, later + 1);
        applied(repair);
        t_equal(t_file_sum(in_backup(cut.file)), sum);
        t_equal(t_count_state(dir, "sealed"), frame.segment.index - 1);
        /* Also of the last one: the frame's header still says its number. */
        repaired(seq - 1, 25, later);
    }
}

static void whole_segments(void)
{
    for (uint64_t index = 1; index <= 5; index++) {
        copy_log();
        t_file_flip(t_segment_at(dir, index).path, 8, 8);
        twal_repair *repair = planned();
        t_equal(step_at(repair, 0).kind, TWAL_REPAIR_DROP);
        t_equal(step_at(repair, 5 - index + 1).kind, TWAL_REPAIR_BEGIN);
        t_equal(step_at(repair, 5 - index + 1).segment, index);
        no_step_at(repair, 5 - index + 2);
        applied(repair);
        /* Of a segment without a header nothing is known but where the next one begins. */
        uint64_t last = (index - 1) * 5;
        repaired(last, index == 5 ? 0 : 25, 5 - index + 1);

        copy_log();
        t_remove(t_segment_at(dir, index).path);
        applied(planned());
        t_equal(t_count_state(dir, "active"), 1);
        twal_log *log = t_open_read_only(dir);
        t_equal(twal_last_seq(log), last);
        t_close(log);
    }
}

/* The newest archived segment: nobody reads it, but without its header and seal no log opens. */
static void archived_segment(void)
{
    const char *whole = t_path("archived");
    t_make_closed(whole, 25, LEN, 5);
    twal_options options = t_options_quiet();
    twal_log *log = t_open(whole, &options);
    t_ok(twal_trim(log, 11));
    t_close(log);
    t_equal(t_count_state(whole, "archived"), 2);
    const char *many = original;
    original = whole;
    for (int damage = 1; damage <= 3; damage++) {
        copy_log();
        t_segment segment = t_segment_at(dir, 2);
        t_frame last = t_find_frame(dir, 10, LEN);
        t_check(!strcmp(segment.state, "archived") && last.segment.index == 2);
        uint64_t sum = t_file_sum(segment.path);
        if (damage & 1)
            t_file_zero(segment.path, 0, T_BLOCK);
        if (damage & 2)
            t_file_flip(segment.path, last.end + 90, 8); /* the seal lies behind the last frame */
        uint64_t damaged = t_file_sum(segment.path);
        t_refused(dir, 0);

        twal_repair *repair = planned();
        twal_repair_step step = step_at(repair, 0);
        t_equal(step.kind, TWAL_REPAIR_RESTORE);
        t_equal(step.segment, 2);
        t_equal(step.offset, damage & 1 ? 0 : last.end);
        t_equal(step.acknowledged, TWAL_ACKNOWLEDGED_NO);
        t_check(step.last_seq < step.first_seq);
        no_step_at(repair, 1);
        /* Nothing goes, so no word is needed. */
        t_ok(twal_repair_apply(repair, backup, 0));
        twal_repair_close(repair);
        t_equal(t_file_sum(in_backup(step.file)), damaged);
        if (damage == 2)
            t_equal(t_file_sum(segment.path), sum); /* bit for bit */
        t_ok(twal_verify(dir, NULL, NULL, NULL, NULL));
        options.flags = TWAL_OPEN_VERIFY;
        log = t_open(dir, &options);
        t_equal(twal_first_seq(log), 11);
        t_equal(t_recovery(log).repaired_seq, 0);
        t_expect_many(log, 11, 25, LEN);
        t_append_many(log, 3, LEN);
        t_close(log);
        t_expect_log(dir, 11, 28, LEN);
    }

    /* Behind it a frame is damaged too: one plan for both. */
    copy_log();
    t_file_flip(t_segment_at(dir, 2).path, 8, 8);
    t_frame frame = t_find_frame(dir, 18, LEN);
    t_file_flip(frame.segment.path, frame.payload, 1);
    twal_repair *repair = planned();
    t_equal(step_at(repair, 0).kind, TWAL_REPAIR_RESTORE);
    t_equal(step_at(repair, 1).kind, TWAL_REPAIR_CUT);
    t_equal(step_at(repair, 2).kind, TWAL_REPAIR_DROP);
    no_step_at(repair, 3);
    applied(repair);
    t_ok(twal_verify(dir, NULL, NULL, NULL, NULL));
    t_expect_log(dir, 11, 17, LEN);

    /* What is left does not say what it was: as a whole, or the next header is damaged too. */
    for (int gone = 0; gone < 2; gone++) {
        copy_log();
        t_segment segment = t_segment_at(dir, 2);
        t_file_zero(segment.path, 0, gone ? T_BLOCK : t_find_frame(dir, 10, LEN).end + T_BLOCK);
        if (gone)
            t_file_flip(t_segment_at(dir, 3).path, 8, 8);
        uint64_t before = t_dir_sum(dir);
        options = t_options();
        repair = NULL;
        t_code(twal_repair_plan(dir, &options, &repair), TWAL_E_UNSUPPORTED);
        t_check(!repair);
        t_equal(t_dir_sum(dir), before);
    }
    original = many;
}

/* A file that lacks its end: what is in front of it stays, and all of it where nothing that was written is missing. */
static void short_files(void)
{
    for (uint64_t index = 1; index <= 5; index += 2) {
        copy_log();
        t_segment segment = t_segment_at(dir, index);
        uint64_t sum = t_file_sum(segment.path), size = t_file_size(segment.path);
        t_file_truncate(segment.path, size - 1);
        uint64_t damaged = t_file_sum(segment.path);
        t_refused(dir, 0);
        t_damaged_reads(dir, index * 5, index * 5, LEN);
        twal_repair *repair = planned();
        twal_repair_step step = step_at(repair, 0);
        t_equal(step.kind, TWAL_REPAIR_FILL);
        t_equal(step.segment, index);
        t_equal(step.offset, size - 1);
        t_equal(step.acknowledged, TWAL_ACKNOWLEDGED_NO);
        no_step_at(repair, 1);
        t_ok(twal_repair_apply(repair, backup, 0));
        twal_repair_close(repair);
        t_equal(t_file_sum(segment.path), sum);
        t_check(damaged != sum && t_exists(in_backup(step.file)));
        t_ok(twal_verify(dir, NULL, NULL, NULL, NULL));
        t_expect_log(dir, 1, 25, LEN);
    }
    for (uint64_t seq = 3; seq <= 23; seq += 5) {
        copy_log();
        t_frame frame = t_find_frame(dir, seq, LEN);
        t_file_truncate(frame.segment.path, frame.payload + 5);
        t_refused(dir, 0);
        t_damaged_reads(dir, seq - 1, seq - 1, LEN);
        uint64_t later = 5 - frame.segment.index;
        twal_repair *repair = planned();
        twal_repair_step cut = step_at(repair, 0);
        t_equal(cut.kind, TWAL_REPAIR_CUT);
        t_equal(cut.segment, frame.segment.index);
        t_equal(cut.offset, frame.block);
        t_equal(cut.acknowledged, later ? TWAL_ACKNOWLEDGED_YES : TWAL_ACKNOWLEDGED_UNKNOWN);
        for (uint64_t i = 1; i <= later; i++)
            t_equal(step_at(repair, i).kind, TWAL_REPAIR_DROP);
        no_step_at(repair, later + 1);
        applied(repair);
        /* The frame's header is still there, and says its number. */
        repaired(seq - 1, later ? 25 : seq, later);
    }
}

/* A file that twal does not know: nobody knows what it holds, so it goes if that was said. */
static void odd_file(void)
{
    copy_log();
    char odd[600];
    snprintf(odd, sizeof odd, "%s/twal-odd", dir);
    t_file_make(odd, "odd", 3);
    t_refused(dir, 0);
    twal_repair *repair = planned();
    t_equal(step_at(repair, 0).kind, TWAL_REPAIR_ISOLATE);
    t_equal(step_at(repair, 0).acknowledged, TWAL_ACKNOWLEDGED_UNKNOWN);
    applied(repair);
    t_check(!t_exists(odd) && t_exists(in_backup("twal-odd")));
    t_expect_log(dir, 1, 25, LEN);
}

/* What an interrupted repair leaves is refused, and repaired again. */
static void interrupted(void)
{
    copy_log();
    char sign[600];
    snprintf(sign, sizeof sign, "%s/twal-repair-unfinished", dir);
    t_file_make(sign, "", 0);
    t_refused(dir, 0);
    twal_repair *repair = planned();
    t_ok(twal_repair_apply(repair, backup, 0));
    twal_repair_close(repair);
    t_check(!t_exists(sign));
    t_expect_log(dir, 1, 25, LEN);
}

/* Not into the log's own directory, by whatever name, made or yet to be made. */
static void copies_go_elsewhere(twal_repair *repair)
{
    char names[5][1200];
    const char *deep = t_path("log/sub"), *link = t_path("link");
    t_check(mkdir(deep, 0700) == 0 && symlink(deep, link) == 0);
    snprintf(names[0], sizeof *names, "%s/backup", dir);
    snprintf(names[1], sizeof *names, "%s/twal-backup", dir);
    snprintf(names[2], sizeof *names, "%s", deep);
    snprintf(names[3], sizeof *names, "%s/../sub/backup", deep);
    snprintf(names[4], sizeof *names, "%s/backup", link);
    for (int n = 0; n < 5; n++) {
        bool there = t_exists(names[n]);
        t_code(twal_repair_apply(repair, names[n], TWAL_REPAIR_DROP_ACKNOWLEDGED), TWAL_E_INVAL);
        t_check(strstr(t_last_error().text, "the log's own"));
        t_equal(t_exists(names[n]), there);
    }
    t_check(rmdir(deep) == 0);
    t_remove(link);
}

static void refusals(void)
{
    copy_log();
    twal_repair *repair = NULL;
    t_code(twal_repair_plan(NULL, NULL, &repair), TWAL_E_INVAL);
    t_code(twal_repair_plan(dir, NULL, NULL), TWAL_E_INVAL);
    t_code(twal_repair_plan(t_path("nowhere"), NULL, &repair), TWAL_E_NOTFOUND);
    twal_options options = t_options_quiet();
    twal_log *log = t_open(dir, &options);
    t_code(twal_repair_plan(dir, NULL, &repair), TWAL_E_LOCKED);
    t_check(repair == NULL);
    t_close(log);
    t_frame frame = t_find_frame(dir, 8, LEN);
    t_file_flip(frame.segment.path, frame.payload, 1);
    repair = planned();
    uint64_t before = t_dir_sum(dir);
    t_code(twal_repair_apply(repair, NULL, 1), TWAL_E_INVAL);
    t_code(twal_repair_apply(repair, "", 1), TWAL_E_INVAL);
    t_code(twal_repair_apply(repair, backup, 2), TWAL_E_INVAL);
    t_code(twal_repair_apply(repair, dir, TWAL_REPAIR_DROP_ACKNOWLEDGED), TWAL_E_INVAL);
    t_code(twal_repair_apply(repair, t_path("no/such/place"), TWAL_REPAIR_DROP_ACKNOWLEDGED), TWAL_E_NOTFOUND);
    copies_go_elsewhere(repair);
    twal_repair_step step = TWAL_REPAIR_STEP_INIT;
    step.struct_size = 7;
    t_code(twal_repair_step_get(repair, 0, &step), TWAL_E_INVAL);
    t_equal(t_dir_sum(dir), before);
    twal_repair_close(repair);
    twal_repair_close(NULL);
}

int main(void)
{
    t_begin();
    original = t_path("many");
    dir = t_path("log");
    backup = t_path("backup");
    t_make_closed(original, 25, LEN, 5); /* 1-5, 6-10, 11-15, 16-20, 21-25 */
    nothing_damaged();
    frames();
    whole_segments();
    archived_segment();
    short_files();
    odd_file();
    interrupted();
    refusals();
    return t_end();
}
