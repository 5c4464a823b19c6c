/*
 * Goal: twal_verify() reads every segment, tells each damaged spot with its
 * place, numbers and tag, goes on behind it, changes nothing, and says nothing
 * of a log that is whole.
 */
#include "crashed.h"

#define LEN 6000

typedef struct findings {
    uint64_t count, stop_after;
    twal_finding all[64];
    char files[64][300];
    char texts[64][300];
} findings;

static int note(void *context, const twal_finding *finding)
{
    findings *list = context;
    t_check(list->count < 64);
    t_equal(finding->struct_size, sizeof *finding);
    t_check(finding->text && *finding->text);
    snprintf(list->files[list->count], 300, "%s", finding->file);
    snprintf(list->texts[list->count], 300, "%s", finding->text);
    list->all[list->count++] = *finding;
    return list->count == list->stop_after;
}

static twal_verify_report verified(const char *dir, int code, findings *list)
{
    uint64_t before = t_dir_sum(dir);
    memset(list, 0, sizeof *list);
    twal_options options = t_options();
    twal_verify_report report = TWAL_VERIFY_REPORT_INIT;
    t_code(twal_verify(dir, &options, note, list, &report), code);
    t_equal(t_dir_sum(dir), before);
    t_equal(report.findings, list->count);
    return report;
}

/* 1-5 archived, 6-10, 11-15, 16-20 sealed, 21-25 active. */
static const char *original, *dir;

static void copy_log(void)
{
    t_dir_copy(original, dir);
}

static void whole(void)
{
    findings list;
    copy_log();
    twal_verify_report report = verified(dir, TWAL_OK, &list);
    t_equal(list.count, 0);
    t_equal(report.segments, 5);
    t_equal(report.records, 25);
    t_equal(report.first_seq, 6);
    t_equal(report.last_good_seq, 25);
    t_equal(report.last_seq, 25);
    t_check(report.frames > 25 && report.bytes > 25 * LEN);
    /* Neither a callback nor a report is a must. */
    t_ok(twal_verify(dir, NULL, NULL, NULL, NULL));
}

static void each_spot(void)
{
    findings list;
    for (uint64_t seq = 1; seq <= 25; seq++) {
        copy_log();
        t_frame frame = t_find_frame(dir, seq, LEN);
        t_file_flip(frame.segment.path, frame.payload + 100, 3);
        twal_verify_report report = verified(dir, TWAL_E_CORRUPT, &list);
        t_equal(list.count, 1);
        t_equal(report.damaged, 1);
        t_equal(report.records, 24);
        t_equal(report.last_seq, 25); /* the mark behind the last one says so */
        t_equal(report.last_good_seq, seq <= 5 ? 25 : seq - 1);
        const twal_finding *finding = &list.all[0];
        t_equal(finding->kind, TWAL_FINDING_RECORD);
        t_equal(finding->acknowledged, TWAL_ACKNOWLEDGED_YES);
        t_equal(finding->segment, frame.segment.index);
        t_equal(finding->offset, frame.payload - 40);
        t_equal(finding->seq, seq);
        t_equal(finding->last_seq, seq);
        t_equal(finding->has_stream, 1);
        t_check(finding->expected != finding->found);
        t_check(strstr(frame.segment.path, list.files[0]) != NULL);
    }
}

static void several(void)
{
    findings list;
    copy_log();
    for (uint64_t seq = 8; seq <= 23; seq += 5) {
        t_frame frame = t_find_frame(dir, seq, LEN);
        t_file_zero(frame.segment.path, frame.block, 64);
    }
    t_file_flip(t_segment_at(dir, 4).path, 8, 8);
    twal_verify_report report = verified(dir, TWAL_E_CORRUPT, &list);
    t_equal(report.damaged, 4);
    t_equal(report.last_good_seq, 7);
    t_equal(report.last_seq, 25);
    t_equal(list.all[0].kind, TWAL_FINDING_FRAME);
    t_equal(list.all[0].seq, 8);
    t_equal(list.all[0].last_seq, 8);
    t_equal(list.all[1].seq, 13);
    t_equal(list.all[2].kind, TWAL_FINDING_HEADER);
    t_equal(list.all[2].segment, 4);
    t_equal(list.all[3].seq, 23);
    /* Enough is enough, and damage is damage all the same. */
    memset(&list, 0, sizeof list);
    list.stop_after = 2;
    t_code(twal_verify(dir, NULL, note, &list, NULL), TWAL_E_CORRUPT);
    t_equal(list.count, 2);
}

static void seals_names_and_sizes(void)
{
    findings list;
    copy_log();
    t_segment segment = t_segment_at(dir, 3);
    t_file_flip(segment.path, t_file_last_block(segment.path, T_BLOCK), 64);
    verified(dir, TWAL_E_CORRUPT, &list);
    t_equal(list.count, 1);
    t_equal(list.all[0].kind, TWAL_FINDING_SEAL);
    t_equal(list.all[0].segment, 3);

    copy_log();
    t_remove(t_segment_at(dir, 3).path);
    verified(dir, TWAL_E_CORRUPT, &list);
    t_equal(list.count, 1);
    t_equal(list.all[0].kind, TWAL_FINDING_NAME);

    copy_log();
    char odd[600];
    snprintf(odd, sizeof odd, "%s/twal-odd", dir);
    t_file_make(odd, "odd", 3);
    verified(dir, TWAL_E_CORRUPT, &list);
    t_equal(list.count, 1);
    t_equal(list.all[0].kind, TWAL_FINDING_NAME);
    t_check(strcmp(list.files[0], "twal-odd") == 0);

    copy_log();
    t_file_truncate(t_segment_at(dir, 2).path, t_file_size(t_segment_at(dir, 2).path) - T_BLOCK);
    verified(dir, TWAL_E_CORRUPT, &list);
    t_equal(list.all[0].kind, TWAL_FINDING_HEADER);
    t_equal(list.all[0].segment, 2);
}

/* A torn end is told, and is no damage: opening cuts it off. */
static void torn(void)
{
    findings list;
    const char *crashed = t_path("crashed");
    t_make_crashed(crashed, 6, LEN, 0);
    t_frame frame = t_find_frame(crashed, 6, LEN);
    t_file_zero(frame.segment.path, frame.payload + 5000, 500);
    twal_verify_report report = verified(crashed, TWAL_OK, &list);
    t_equal(report.findings, 1);
    t_equal(report.damaged, 0);
    t_equal(report.last_good_seq, 5);
    t_equal(list.all[0].kind, TWAL_FINDING_TORN);
    t_equal(list.all[0].acknowledged, TWAL_ACKNOWLEDGED_NO);
    t_equal(list.all[0].offset, frame.block);
    twal_options options = t_options_quiet();
    twal_log *log = t_open(crashed, &options);
    t_expect_many(log, 1, 5, LEN);
    t_close(log);
    verified(crashed, TWAL_OK, &list);
    t_equal(list.count, 0);
}

static void refusals(void)
{
    t_code(twal_verify(NULL, NULL, NULL, NULL, NULL), TWAL_E_INVAL);
    t_code(twal_verify("", NULL, NULL, NULL, NULL), TWAL_E_INVAL);
    t_code(twal_verify(t_path("nowhere"), NULL, NULL, NULL, NULL), TWAL_E_NOTFOUND);
    t_check(!t_exists(t_path("nowhere")));
    twal_verify_report report = TWAL_VERIFY_REPORT_INIT;
    report.struct_size = 8;
    t_code(twal_verify(dir, NULL, NULL, NULL, &report), TWAL_E_INVAL);
}

int main(void)
{
    t_begin();
    original = t_path("original");
    dir = t_path("log");
    t_make_closed(original, 25, LEN, 5);
    twal_options options = t_options_quiet();
    twal_log *log = t_open(original, &options);
    t_ok(twal_trim(log, 6));
    t_close(log);
    whole();
    each_spot();
    several();
    seals_names_and_sizes();
    torn();
    refusals();
    return t_end();
}
