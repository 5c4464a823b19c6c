/*
 * Goal: what programs outside are built against: names, numbers, sizes, offsets
 * and function types, as the documentation fixes them.  Written out here on its
 * own: if the header moves, this file must not move with it.
 */
#include "helpers.h"

#include <sys/uio.h>

#define SIZE(type, size) _Static_assert(sizeof(type) == (size), #type)
#define FIELD(type, field, offset, field_type) \
    _Static_assert(offsetof(type, field) == (offset), #type "." #field); \
    _Static_assert(_Generic(((type *)0)->field, field_type: 1, default: 0), #type "." #field " type")
#define ARRAY(type, field, offset, size) \
    _Static_assert(offsetof(type, field) == (offset) && sizeof(((type *)0)->field) == (size), #type "." #field)
#define VALUE(name, value) _Static_assert((name) == (value), #name)
#define CALL(name, type) _Static_assert(_Generic(&name, type: 1, default: 0), #name)

SIZE(twal_entry, 56);
FIELD(twal_entry, data, 0, const void *);
FIELD(twal_entry, len, 8, size_t);
FIELD(twal_entry, stream, 16, uint64_t);
FIELD(twal_entry, timestamp, 24, int64_t);
FIELD(twal_entry, type, 32, uint32_t);
FIELD(twal_entry, flags, 36, uint32_t);
_Static_assert(offsetof(twal_entry, reserved) == 40, "twal_entry.reserved");

SIZE(twal_part, 16);
FIELD(twal_part, data, 0, const void *);
FIELD(twal_part, len, 8, size_t);
_Static_assert(sizeof(twal_part) == sizeof(struct iovec) && offsetof(struct iovec, iov_len) == 8, "struct iovec");

SIZE(twal_reservation, 64);
FIELD(twal_reservation, data, 0, void *);
FIELD(twal_reservation, len, 8, size_t);
_Static_assert(offsetof(twal_reservation, internal) == 16, "twal_reservation.internal");

SIZE(twal_record, 64);
FIELD(twal_record, seq, 0, uint64_t);
FIELD(twal_record, stream, 8, uint64_t);
FIELD(twal_record, timestamp, 16, int64_t);
FIELD(twal_record, type, 24, uint32_t);
FIELD(twal_record, flags, 28, uint32_t);
FIELD(twal_record, data, 32, const void *);
FIELD(twal_record, len, 40, size_t);
_Static_assert(offsetof(twal_record, reserved) == 48, "twal_record.reserved");

/* May grow at the end; never below, and no field moves. */
_Static_assert(sizeof(twal_options) >= 112 && sizeof(twal_options) % 8 == 0, "twal_options");
FIELD(twal_options, struct_size, 0, uint64_t);
FIELD(twal_options, flags, 8, uint32_t);
FIELD(twal_options, durability, 12, uint32_t);
FIELD(twal_options, io_engine, 16, uint32_t);
FIELD(twal_options, block_size, 20, uint32_t);
FIELD(twal_options, segment_size, 24, uint64_t);
FIELD(twal_options, segment_records_max, 32, uint64_t);
FIELD(twal_options, ring_size, 40, uint64_t);
FIELD(twal_options, record_size_max, 48, uint64_t);
FIELD(twal_options, batch_records, 56, uint64_t);
FIELD(twal_options, batch_delay_us, 64, uint64_t);
FIELD(twal_options, flush_interval_ms, 72, uint64_t);
FIELD(twal_options, max_retained_segments, 80, uint64_t);
FIELD(twal_options, idle_mark_us, 88, uint64_t);
FIELD(twal_options, append_timeout_us, 96, uint64_t);
FIELD(twal_options, spares, 104, uint64_t);
FIELD(twal_options, log_size_max, 112, uint64_t);
FIELD(twal_options, log_size_policy, 120, uint64_t);
FIELD(twal_options, message, 128, void (*)(void *, const twal_message *));
FIELD(twal_options, message_arg, 136, void *);
FIELD(twal_options, message_level, 144, uint64_t);
FIELD(twal_message, struct_size, 0, uint64_t);
FIELD(twal_message, level, 8, uint32_t);
FIELD(twal_message, code, 12, int32_t);
FIELD(twal_message, name, 16, const char *);
FIELD(twal_message, text, 24, const char *);
FIELD(twal_message, fields, 32, const twal_message_field *);
FIELD(twal_message, field_count, 40, uint64_t);
_Static_assert(sizeof(twal_message_field) == 24, "twal_message_field");
FIELD(twal_message_field, key, 0, const char *);
FIELD(twal_message_field, text, 8, const char *);
FIELD(twal_message_field, number, 16, uint64_t);
VALUE(TWAL_MESSAGE_ERROR, 1);
VALUE(TWAL_MESSAGE_WARNING, 2);
VALUE(TWAL_MESSAGE_INFO, 3);
VALUE(TWAL_MESSAGE_DEBUG, 4);

_Static_assert(sizeof(twal_error) >= 296 && sizeof(twal_error) % 8 == 0, "twal_error");
FIELD(twal_error, struct_size, 0, uint64_t);
FIELD(twal_error, code, 8, int32_t);
FIELD(twal_error, os_errno, 12, int32_t);
FIELD(twal_error, segment, 16, uint64_t);
FIELD(twal_error, offset, 24, uint64_t);
FIELD(twal_error, seq, 32, uint64_t);
_Static_assert(offsetof(twal_error, text) == 40 && sizeof(((twal_error *)0)->text) == 256, "text");
FIELD(twal_stats, struct_size, 0, uint64_t);
FIELD(twal_stats, compactions, 536, uint64_t);
FIELD(twal_stats, compaction_bytes_saved, 560, uint64_t);
FIELD(twal_stats, queue_records, 568, uint64_t);
FIELD(twal_stats, device_busy_ns, 592, uint64_t);
FIELD(twal_stats, elapsed_ns, 600, uint64_t);
FIELD(twal_stats, durable_waits, 608, uint64_t);
FIELD(twal_stats, saga_events, 648, uint64_t);
FIELD(twal_stats, checkpoints_failed, 680, uint64_t);
_Static_assert(sizeof(twal_histogram) >= 2048 && sizeof(twal_histogram) % 8 == 0, "twal_histogram");
FIELD(twal_histogram, struct_size, 0, uint64_t);
FIELD(twal_histogram, count, 8, uint64_t);
FIELD(twal_histogram, sum, 16, uint64_t);
FIELD(twal_histogram, max, 24, uint64_t);
_Static_assert(offsetof(twal_histogram, buckets) == 32, "buckets");
_Static_assert(sizeof(((twal_histogram *)0)->buckets) == 252 * 8, "252 buckets");
VALUE(TWAL_HISTOGRAM_QUEUE_WAIT, 1);
VALUE(TWAL_HISTOGRAM_WRITE, 2);
VALUE(TWAL_HISTOGRAM_FLUSH, 3);
VALUE(TWAL_HISTOGRAM_APPEND, 4);
VALUE(TWAL_HISTOGRAM_FRAME_RECORDS, 5);
VALUE(TWAL_HISTOGRAM_FRAME_BYTES, 6);
FIELD(twal_recovery, struct_size, 0, uint64_t);
FIELD(twal_recovery, holds, 128, uint64_t);
FIELD(twal_recovery, holds_damaged, 136, uint64_t);

_Static_assert(sizeof(twal_hold) >= 56 && sizeof(twal_hold) % 8 == 0, "twal_hold");
FIELD(twal_hold, struct_size, 0, uint64_t);
FIELD(twal_hold, seq, 8, uint64_t);
_Static_assert(offsetof(twal_hold, name) == 16 && sizeof(((twal_hold *)0)->name) == 40, "name");

_Static_assert(sizeof(twal_ship_position) >= 112 && sizeof(twal_ship_position) % 8 == 0, "twal_ship_position");
FIELD(twal_ship_position, struct_size, 0, uint64_t);
FIELD(twal_ship_position, index, 8, uint64_t);
FIELD(twal_ship_position, generation, 16, uint64_t);
FIELD(twal_ship_position, offset, 24, uint64_t);
FIELD(twal_ship_position, identity, 32, uint64_t);
FIELD(twal_ship_position, last_seq, 40, uint64_t);
FIELD(twal_ship_position, hold_seq, 48, uint64_t);
FIELD(twal_ship_position, complete, 56, uint64_t);
_Static_assert(offsetof(twal_ship_position, log_id) == 64 && offsetof(twal_ship_position, salt) == 96, "ids");

_Static_assert(sizeof(twal_ship_piece) >= 136 && sizeof(twal_ship_piece) % 8 == 0, "twal_ship_piece");
FIELD(twal_ship_piece, struct_size, 0, uint64_t);
FIELD(twal_ship_piece, index, 8, uint64_t);
FIELD(twal_ship_piece, offset, 24, uint64_t);
FIELD(twal_ship_piece, zeros, 32, uint64_t);
FIELD(twal_ship_piece, last_seq, 48, uint64_t);
FIELD(twal_ship_piece, crc, 64, uint64_t);
FIELD(twal_ship_piece, data, 72, const void *);
FIELD(twal_ship_piece, len, 80, uint64_t);
_Static_assert(offsetof(twal_ship_piece, log_id) == 88 && offsetof(twal_ship_piece, salt) == 120, "ids");

_Static_assert(sizeof(twal_sink_options) >= 24 && sizeof(twal_sink_options) % 8 == 0, "twal_sink_options");
FIELD(twal_sink_options, struct_size, 0, uint64_t);
FIELD(twal_sink_options, flags, 8, uint32_t);
FIELD(twal_sink_options, io_engine, 12, uint32_t);
FIELD(twal_sink_options, max_retained_segments, 16, uint64_t);

_Static_assert(sizeof(twal_segment) >= 176 && sizeof(twal_segment) % 8 == 0, "twal_segment");
FIELD(twal_segment, struct_size, 0, uint64_t);
FIELD(twal_segment, index, 8, uint64_t);
FIELD(twal_segment, first_seq, 16, uint64_t);
FIELD(twal_segment, last_seq, 24, uint64_t);
FIELD(twal_segment, size, 32, uint64_t);
FIELD(twal_segment, room, 40, uint64_t);
FIELD(twal_segment, created_ns, 48, int64_t);
FIELD(twal_segment, generation, 56, uint64_t);
FIELD(twal_segment, state, 64, uint32_t);
FIELD(twal_segment, held_by, 68, uint32_t);
_Static_assert(offsetof(twal_segment, hold) == 72 && sizeof(((twal_segment *)0)->hold) == 40, "hold");
_Static_assert(offsetof(twal_segment, file) == 112 && sizeof(((twal_segment *)0)->file) == 64, "file");

_Static_assert(sizeof(twal_stream_count) >= 48 && sizeof(twal_stream_count) % 8 == 0, "twal_stream_count");
FIELD(twal_stream_count, struct_size, 0, uint64_t);
FIELD(twal_stream_count, stream, 8, uint64_t);
FIELD(twal_stream_count, records, 16, uint64_t);
FIELD(twal_stream_count, bytes, 24, uint64_t);
FIELD(twal_stream_count, first_seq, 32, uint64_t);
FIELD(twal_stream_count, last_seq, 40, uint64_t);

VALUE(TWAL_SYNC, 1);
VALUE(TWAL_GROUP, 2);
VALUE(TWAL_ASYNC, 3);
VALUE(TWAL_IO_AUTO, 0);
VALUE(TWAL_IO_URING, 1);
VALUE(TWAL_IO_BLOCKING, 2);
VALUE(TWAL_OPEN_READ_ONLY, 1);
VALUE(TWAL_OPEN_NO_CREATE, 2);
VALUE(TWAL_OPEN_ALLOW_ANY_FS, 4);
VALUE(TWAL_OPEN_ALLOW_BUFFERED, 8);
VALUE(TWAL_OPEN_VERIFY, 16);
VALUE(TWAL_SIZE_REFUSE, 0);
VALUE(TWAL_SIZE_HINT, 1);
VALUE(TWAL_SEGMENT_ACTIVE, 1);
VALUE(TWAL_SEGMENT_SEALED, 2);
VALUE(TWAL_SEGMENT_ARCHIVED, 3);
VALUE(TWAL_HELD_BY_NOBODY, 0);
VALUE(TWAL_HELD_BY_WRITER, 1);
VALUE(TWAL_HELD_BY_HOLD, 2);
VALUE(TWAL_HELD_BY_TRANSACTIONS, 3);
VALUE(TWAL_HELD_BY_READER, 4);
VALUE(TWAL_HELD_BY_RETENTION, 5);
VALUE(TWAL_HELD_BY_UNREADABLE, 6);
VALUE(TWAL_APPEND_SYNC, 1);
VALUE(TWAL_APPEND_NO_SYNC, 2);
VALUE(TWAL_APPEND_NO_WAIT, 4);
VALUE(TWAL_APPEND_REQUIRED, 8);
VALUE(TWAL_RECORD_REQUIRED, 1);
VALUE(TWAL_RECORD_BATCH_CONTINUES, 2);
VALUE(TWAL_TIMESTAMP_LOGICAL, INT64_MIN);

VALUE(TWAL_OK, 0);
VALUE(TWAL_E_INVAL, -101);
VALUE(TWAL_E_TOOBIG, -102);
VALUE(TWAL_E_FORKED, -103);
VALUE(TWAL_E_CLOSED, -104);
VALUE(TWAL_E_AGAIN, -201);
VALUE(TWAL_E_TIMEOUT, -202);
VALUE(TWAL_E_LOCKED, -203);
VALUE(TWAL_E_READ_ONLY, -204);
VALUE(TWAL_E_POISONED, -205);
VALUE(TWAL_E_TRIMMED, -206);
VALUE(TWAL_E_NOTFOUND, -207);
VALUE(TWAL_E_EXISTS, -208);
VALUE(TWAL_E_STATE, -209);
VALUE(TWAL_E_BUSY, -210);
VALUE(TWAL_E_NOMEM, -301);
VALUE(TWAL_E_IO, -302);
VALUE(TWAL_E_NOSPC, -303);
VALUE(TWAL_E_UNSUPPORTED, -304);
VALUE(TWAL_E_PERM, -305);
VALUE(TWAL_E_CORRUPT, -401);
VALUE(TWAL_E_VERSION, -402);
VALUE(TWAL_E_KEY, -403);
VALUE(TWAL_E_TYPE, -404);
VALUE(TWAL_E_PANIC, -501);

CALL(twal_open, int (*)(const char *, const twal_options *, twal_log **));
CALL(twal_close, int (*)(twal_log *));
CALL(twal_append, int (*)(twal_log *, const void *, size_t, uint64_t *));
CALL(twal_append_entry, int (*)(twal_log *, const twal_entry *, uint64_t *));
CALL(twal_append_batch, int (*)(twal_log *, const twal_entry *, size_t, uint64_t *));
CALL(twal_append_gather, int (*)(twal_log *, const twal_entry *, const twal_part *, size_t, uint64_t *));
CALL(twal_reserve, int (*)(twal_log *, const twal_entry *, twal_reservation *));
CALL(twal_commit, int (*)(twal_log *, twal_reservation *, size_t, uint64_t *));
CALL(twal_cancel, int (*)(twal_log *, twal_reservation *));
CALL(twal_sync, int (*)(twal_log *, uint64_t));
CALL(twal_wait, int (*)(twal_log *, uint64_t, int64_t));
CALL(twal_eventfd, int (*)(twal_log *, int *));
CALL(twal_sync_async, int (*)(twal_log *, uint64_t, void (*)(void *, uint64_t, int), void *));
CALL(twal_first_seq, uint64_t (*)(const twal_log *));
CALL(twal_last_seq, uint64_t (*)(const twal_log *));
CALL(twal_durable_seq, uint64_t (*)(const twal_log *));
CALL(twal_trim, int (*)(twal_log *, uint64_t));
CALL(twal_roll, int (*)(twal_log *));
CALL(twal_hold_set, int (*)(twal_log *, const char *, uint64_t));
CALL(twal_hold_drop, int (*)(twal_log *, const char *));
CALL(twal_hold_reset, int (*)(twal_log *));
CALL(twal_holds, int (*)(const twal_log *, twal_hold *, size_t, size_t *));
CALL(twal_archive_next, int (*)(const twal_log *, uint64_t, twal_segment *));
CALL(twal_archive_done, int (*)(twal_log *, uint64_t));
CALL(twal_source_open, int (*)(twal_log *, const twal_ship_position *, twal_source **));
CALL(twal_source_next, int (*)(twal_source *, int64_t, twal_ship_piece *));
CALL(twal_source_close, void (*)(twal_source *));
CALL(twal_sink_open, int (*)(const char *, const twal_sink_options *, twal_sink **));
CALL(twal_sink_write, int (*)(twal_sink *, const twal_ship_piece *));
CALL(twal_sink_sync, int (*)(twal_sink *));
CALL(twal_sink_position, int (*)(twal_sink *, twal_ship_position *));
CALL(twal_sink_promote, int (*)(twal_sink *));
CALL(twal_sink_close, int (*)(twal_sink *));
CALL(twal_segments, int (*)(const twal_log *, twal_segment *, size_t, size_t *));
CALL(twal_size_hint, int (*)(twal_log *, void (*)(void *, uint64_t, uint64_t), void *));
CALL(twal_streams, int (*)(const twal_log *, uint64_t, twal_stream_count *, size_t, size_t *));
CALL(twal_recover_iter, int (*)(twal_log *, uint64_t, twal_iter **));
CALL(twal_iter_next, int (*)(twal_iter *, twal_record *));
CALL(twal_iter_close, void (*)(twal_iter *));
CALL(twal_iter_wait, int (*)(twal_iter *, int64_t, twal_record *));
CALL(twal_iter_payload, int (*)(twal_iter *, const void **, size_t *));
CALL(twal_iter_next_seq, uint64_t (*)(const twal_iter *));
CALL(twal_read, int (*)(twal_log *, uint64_t, void *, size_t, twal_record *));

/* May grow at the end. */
_Static_assert(sizeof(twal_iter_options) >= 96 && sizeof(twal_iter_options) % 8 == 0, "twal_iter_options");
FIELD(twal_iter_options, struct_size, 0, uint64_t);
FIELD(twal_iter_options, from_seq, 8, uint64_t);
FIELD(twal_iter_options, flags, 16, uint32_t);
FIELD(twal_iter_options, until_seq, 24, uint64_t);
FIELD(twal_iter_options, from_segment, 32, uint64_t);
FIELD(twal_iter_options, limit, 40, uint64_t);
FIELD(twal_iter_options, streams, 48, const uint64_t *);
FIELD(twal_iter_options, stream_count, 56, uint64_t);
FIELD(twal_iter_options, types, 64, const uint32_t *);
FIELD(twal_iter_options, type_count, 72, uint64_t);
FIELD(twal_iter_options, known_types, 80, const uint32_t *);
FIELD(twal_iter_options, known_type_count, 88, uint64_t);
VALUE(TWAL_ITER_SKIP_DAMAGED, 1);
VALUE(TWAL_ITER_HEADERS_ONLY, 2);
VALUE(TWAL_ITER_SNAPSHOT, 4);
VALUE(TWAL_ITER_MAP_SEALED, 8);
CALL(twal_strerror, const char *(*)(int));
CALL(twal_last_error, int (*)(twal_error *));
CALL(twal_recovery_get, int (*)(const twal_log *, twal_recovery *));
CALL(twal_stats_get, int (*)(const twal_log *, twal_stats *));
CALL(twal_histogram_get, int (*)(const twal_log *, uint32_t, twal_histogram *));
CALL(twal_histogram_bound, uint64_t (*)(size_t));
CALL(twal_metrics, int (*)(const twal_log *, char *, size_t, size_t *));
CALL(twal_message_callback, int (*)(twal_log *, uint32_t, void (*)(void *, const twal_message *), void *));
CALL(twal_version_string, const char *(*)(void));

_Static_assert(sizeof(twal_txn_options) >= 40 && sizeof(twal_txn_options) % 8 == 0, "twal_txn_options");
FIELD(twal_txn_options, struct_size, 0, uint64_t);
FIELD(twal_txn_options, stream, 8, uint64_t);
FIELD(twal_txn_options, checkpoint_interval, 16, uint64_t);
FIELD(twal_txn_options, flags, 24, uint32_t);
FIELD(twal_txn_options, compact_percent, 28, uint32_t);
FIELD(twal_txn_options, compact_records, 32, uint64_t);

_Static_assert(sizeof(twal_txn_operation) >= 88 && sizeof(twal_txn_operation) % 8 == 0, "twal_txn_operation");
FIELD(twal_txn_operation, struct_size, 0, uint64_t);
FIELD(twal_txn_operation, id, 8, uint64_t);
FIELD(twal_txn_operation, last_seq, 16, uint64_t);
FIELD(twal_txn_operation, parts, 24, uint64_t);
FIELD(twal_txn_operation, done, 32, uint64_t);
ARRAY(twal_txn_operation, coordinator, 40, 32);
FIELD(twal_txn_operation, kind, 72, uint32_t);
FIELD(twal_txn_operation, action, 76, uint32_t);
FIELD(twal_txn_operation, state, 80, uint32_t);
FIELD(twal_txn_operation, reserved, 84, uint32_t);

_Static_assert(sizeof(twal_txn_report) >= 48 && sizeof(twal_txn_report) % 8 == 0, "twal_txn_report");
FIELD(twal_txn_report, struct_size, 0, uint64_t);
FIELD(twal_txn_report, from_seq, 8, uint64_t);
FIELD(twal_txn_report, records_replayed, 16, uint64_t);
FIELD(twal_txn_report, records_corrupted, 24, uint64_t);
FIELD(twal_txn_report, checkpoints, 32, uint64_t);
FIELD(twal_txn_report, unfinished, 40, uint64_t);

_Static_assert(sizeof(twal_txn_stats) >= 104 && sizeof(twal_txn_stats) % 8 == 0, "twal_txn_stats");
_Static_assert(sizeof(twal_compact_options) == 24 && sizeof(twal_compaction) == 104, "twal_compaction");
_Static_assert(sizeof(twal_tombstone_info) == 288 && sizeof(twal_purge_info) == 32 && sizeof(twal_applied_info) == 24,
               "twal_tombstone_info");
FIELD(twal_compact_options, saving_min, 8, uint64_t);
FIELD(twal_compact_options, flags, 16, uint32_t);
FIELD(twal_compaction, records_purged, 32, uint64_t);
FIELD(twal_compaction, bytes_saved, 96, uint64_t);
FIELD(twal_tombstone_info, below_seq, 16, uint64_t);
FIELD(twal_purge_info, before, 8, int64_t);
FIELD(twal_applied_info, position, 16, uint64_t);
_Static_assert(sizeof(twal_v26_options) == 40 && sizeof(twal_v26_report) == 160 && sizeof(twal_v26_exported) == 96,
               "twal_v26_report");
FIELD(twal_v26_options, flags, 32, uint32_t);
FIELD(twal_v26_report, log_last_seq, 128, uint64_t);
FIELD(twal_v26_report, wrong_seq, 152, uint64_t);
FIELD(twal_v26_exported, headless_operations, 72, uint64_t);
FIELD(twal_v26_exported, high_operations, 88, uint64_t);
FIELD(twal_txn_stats, struct_size, 0, uint64_t);
FIELD(twal_txn_stats, saga_events, 8, uint64_t);
FIELD(twal_txn_stats, tx_events, 16, uint64_t);
FIELD(twal_txn_stats, checkpoints, 24, uint64_t);
FIELD(twal_txn_stats, checkpoints_failed, 32, uint64_t);
FIELD(twal_txn_stats, checkpoint_seq, 40, uint64_t);
FIELD(twal_txn_stats, active_sagas, 48, uint64_t);
FIELD(twal_txn_stats, active_txs, 56, uint64_t);
FIELD(twal_txn_stats, state_bytes, 64, uint64_t);
FIELD(twal_txn_stats, stream_events, 72, uint64_t);
FIELD(twal_txn_stats, compactions, 80, uint64_t);
FIELD(twal_txn_stats, compactions_failed, 88, uint64_t);
FIELD(twal_txn_stats, recoveries, 96, uint64_t);

SIZE(twal_saga_step, 56);
FIELD(twal_saga_step, depends_on, 0, const uint32_t *);
FIELD(twal_saga_step, depends_on_count, 8, size_t);
FIELD(twal_saga_step, payload, 16, const void *);
FIELD(twal_saga_step, payload_len, 24, size_t);
FIELD(twal_saga_step, index, 32, uint32_t);
FIELD(twal_saga_step, action, 36, uint32_t);
ARRAY(twal_saga_step, reserved, 40, 16);

_Static_assert(sizeof(twal_saga_spec) >= 72 && sizeof(twal_saga_spec) % 8 == 0, "twal_saga_spec");
FIELD(twal_saga_spec, struct_size, 0, uint64_t);
FIELD(twal_saga_spec, id, 8, uint64_t);
FIELD(twal_saga_spec, steps, 16, const twal_saga_step *);
FIELD(twal_saga_spec, step_count, 24, size_t);
ARRAY(twal_saga_spec, coordinator, 32, 32);
FIELD(twal_saga_spec, flags, 64, uint32_t);
FIELD(twal_saga_spec, reserved, 68, uint32_t);

SIZE(twal_saga_step_info, 40);
FIELD(twal_saga_step_info, index, 0, uint32_t);
FIELD(twal_saga_step_info, action, 4, uint32_t);
FIELD(twal_saga_step_info, level, 8, uint32_t);
FIELD(twal_saga_step_info, state, 12, uint32_t);
FIELD(twal_saga_step_info, number, 16, uint32_t);
FIELD(twal_saga_step_info, payload_len, 20, uint32_t);
ARRAY(twal_saga_step_info, reserved, 24, 16);

SIZE(twal_2pc_participant, 80);
ARRAY(twal_2pc_participant, shard, 0, 32);
ARRAY(twal_2pc_participant, node, 32, 32);
FIELD(twal_2pc_participant, vote, 64, uint32_t);
ARRAY(twal_2pc_participant, reserved, 68, 12);

_Static_assert(sizeof(twal_2pc_spec) >= 64 && sizeof(twal_2pc_spec) % 8 == 0, "twal_2pc_spec");
FIELD(twal_2pc_spec, struct_size, 0, uint64_t);
FIELD(twal_2pc_spec, id, 8, uint64_t);
FIELD(twal_2pc_spec, participants, 16, const twal_2pc_participant *);
FIELD(twal_2pc_spec, participant_count, 24, size_t);
ARRAY(twal_2pc_spec, coordinator, 32, 32);

_Static_assert(sizeof(twal_txn_action) >= 160 && sizeof(twal_txn_action) % 8 == 0, "twal_txn_action");
FIELD(twal_txn_action, struct_size, 0, uint64_t);
FIELD(twal_txn_action, id, 8, uint64_t);
ARRAY(twal_txn_action, token, 16, 16);
ARRAY(twal_txn_action, coordinator, 32, 32);
FIELD(twal_txn_action, kind, 64, uint32_t);
FIELD(twal_txn_action, direction, 68, uint32_t);
FIELD(twal_txn_action, attempt, 72, uint32_t);
FIELD(twal_txn_action, step, 76, uint32_t);
FIELD(twal_txn_action, action, 80, uint32_t);
FIELD(twal_txn_action, payload_len, 84, uint32_t);
FIELD(twal_txn_action, payload, 88, const void *);
ARRAY(twal_txn_action, shard, 96, 32);
ARRAY(twal_txn_action, node, 128, 32);

_Static_assert(sizeof(twal_txn_participants) >= 56 && sizeof(twal_txn_participants) % 8 == 0, "twal_txn_participants");
FIELD(twal_txn_participants, struct_size, 0, uint64_t);
FIELD(twal_txn_participants, arg, 8, void *);
FIELD(twal_txn_participants, execute, 16, twal_txn_act);
FIELD(twal_txn_participants, compensate, 24, twal_txn_act);
FIELD(twal_txn_participants, commit, 32, twal_txn_act);
FIELD(twal_txn_participants, abort, 40, twal_txn_act);
FIELD(twal_txn_participants, rollback, 48, twal_txn_act);

_Static_assert(sizeof(twal_txn_resume_options) >= 32 && sizeof(twal_txn_resume_options) % 8 == 0,
               "twal_txn_resume_options");
FIELD(twal_txn_resume_options, struct_size, 0, uint64_t);
FIELD(twal_txn_resume_options, retry_delay_us, 8, uint64_t);
FIELD(twal_txn_resume_options, retry_delay_max_us, 16, uint64_t);
FIELD(twal_txn_resume_options, attempts_max, 24, uint32_t);
FIELD(twal_txn_resume_options, threads, 28, uint32_t);

_Static_assert(sizeof(twal_txn_resumed) >= 40 && sizeof(twal_txn_resumed) % 8 == 0, "twal_txn_resumed");
FIELD(twal_txn_resumed, struct_size, 0, uint64_t);
FIELD(twal_txn_resumed, finished, 8, uint64_t);
FIELD(twal_txn_resumed, calls, 16, uint64_t);
FIELD(twal_txn_resumed, retries, 24, uint64_t);
FIELD(twal_txn_resumed, left, 32, uint64_t);

VALUE(TWAL_TXN_KEEP_RECORDS, 1);
VALUE(TWAL_TXN_SAGA, 1);
VALUE(TWAL_TXN_2PC, 2);
VALUE(TWAL_RESUME_NONE, 0);
VALUE(TWAL_RESUME_SAGA_EXECUTE, 1);
VALUE(TWAL_RESUME_SAGA_COMPENSATE, 2);
VALUE(TWAL_RESUME_TX_COMMIT, 3);
VALUE(TWAL_RESUME_TX_ABORT, 4);
VALUE(TWAL_RESUME_TX_ROLLBACK, 5);
VALUE(TWAL_SAGA_UNKNOWN, 0);
VALUE(TWAL_SAGA_CREATED, 1);
VALUE(TWAL_SAGA_EXECUTING, 2);
VALUE(TWAL_SAGA_FAILED, 3);
VALUE(TWAL_SAGA_COMPENSATING, 4);
VALUE(TWAL_SAGA_FINISHED, 5);
VALUE(TWAL_2PC_UNKNOWN, 0);
VALUE(TWAL_2PC_CREATED, 1);
VALUE(TWAL_2PC_PREPARING, 2);
VALUE(TWAL_2PC_PREPARED, 3);
VALUE(TWAL_2PC_REFUSED, 4);
VALUE(TWAL_2PC_COMMITTING, 5);
VALUE(TWAL_2PC_COMMITTED, 6);
VALUE(TWAL_2PC_ABORTING, 7);
VALUE(TWAL_2PC_ROLLING_BACK, 8);
VALUE(TWAL_2PC_FINISHED, 9);
VALUE(TWAL_SAGA_START, 1);
VALUE(TWAL_STEP_PENDING, 1);
VALUE(TWAL_STEP_SUCCEEDED, 2);
VALUE(TWAL_STEP_FAILED, 3);
VALUE(TWAL_STEP_COMPENSATION_FAILED, 4);
VALUE(TWAL_STEP_COMPENSATED, 5);
VALUE(TWAL_VOTE_NONE, 0);
VALUE(TWAL_VOTE_COMMIT, 1);
VALUE(TWAL_VOTE_ABORT, 2);
VALUE(TWAL_DIRECTION_EXECUTE, 1);
VALUE(TWAL_DIRECTION_COMPENSATE, 2);
VALUE(TWAL_DIRECTION_PREPARE, 3);
VALUE(TWAL_DIRECTION_COMMIT, 4);
VALUE(TWAL_DIRECTION_ABORT, 5);
VALUE(TWAL_DIRECTION_ROLLBACK, 6);
VALUE(TWAL_DONE, 0);
VALUE(TWAL_FAILED, 1);
VALUE(TWAL_RETRY, 2);

CALL(twal_txn_compact, int (*)(twal_txn *, const twal_compact_options *, twal_compaction *));
CALL(twal_tombstone, int (*)(twal_txn *, uint64_t, uint64_t, const void *, size_t, uint32_t, uint64_t *));
CALL(twal_purge, int (*)(twal_txn *, uint64_t, int64_t, uint8_t, uint64_t, uint32_t, uint64_t *));
CALL(twal_applied, int (*)(twal_txn *, uint64_t, uint64_t, uint64_t, uint32_t, uint64_t *));
CALL(twal_tombstone_get, int (*)(const twal_txn *, uint64_t, twal_tombstone_info *));
CALL(twal_purge_get, int (*)(const twal_txn *, uint64_t, twal_purge_info *));
CALL(twal_applied_get, int (*)(const twal_txn *, uint64_t, twal_applied_info *));
CALL(twal_txn_iter_open, int (*)(twal_txn *, const twal_iter_options *, twal_iter **));
CALL(twal_v26_replay, int (*)(const char *, const twal_v26_options *, twal_v26_report *));
CALL(twal_import, int (*)(twal_txn *, const char *, const twal_v26_options *, twal_v26_told, void *, twal_v26_report *));
CALL(twal_export, int (*)(twal_log *, const char *, const twal_v26_options *, twal_v26_exported *));
CALL(twal_txn_recover, int (*)(twal_log *, const twal_txn_options *, twal_txn **));
CALL(twal_txn_close, int (*)(twal_txn *));
CALL(twal_txn_checkpoint, int (*)(twal_txn *, uint64_t *));
CALL(twal_txn_report_get, int (*)(const twal_txn *, twal_txn_report *));
CALL(twal_txn_unfinished_get, int (*)(const twal_txn *, uint64_t, twal_txn_operation *));
CALL(twal_txn_next, int (*)(const twal_txn *, uint32_t, uint64_t, twal_txn_operation *));
CALL(twal_txn_stats_get, int (*)(const twal_txn *, twal_txn_stats *));
CALL(twal_saga_create, int (*)(twal_txn *, const twal_saga_spec *, uint64_t *, uint64_t *));
CALL(twal_saga_add_step, int (*)(twal_txn *, uint64_t, const twal_saga_step *, uint32_t, uint64_t *));
CALL(twal_saga_start, int (*)(twal_txn *, uint64_t, uint64_t *));
CALL(twal_saga_step_succeeded, int (*)(twal_txn *, uint64_t, uint32_t, uint32_t, uint64_t *));
CALL(twal_saga_step_failed, int (*)(twal_txn *, uint64_t, uint32_t, uint32_t, uint32_t, uint64_t *));
CALL(twal_saga_compensation_start, int (*)(twal_txn *, uint64_t, uint64_t *));
CALL(twal_saga_compensation_succeeded, int (*)(twal_txn *, uint64_t, uint32_t, uint32_t, uint64_t *));
CALL(twal_saga_compensation_failed, int (*)(twal_txn *, uint64_t, uint32_t, uint32_t, uint32_t, uint64_t *));
CALL(twal_saga_completed, int (*)(twal_txn *, uint64_t, uint32_t, uint64_t *));
CALL(twal_saga_compensated, int (*)(twal_txn *, uint64_t, uint32_t, uint64_t *));
CALL(twal_saga_aborted, int (*)(twal_txn *, uint64_t, uint32_t, uint64_t *));
CALL(twal_saga_state_get, int (*)(const twal_txn *, uint64_t, uint32_t *));
CALL(twal_saga_get, int (*)(const twal_txn *, uint64_t, twal_txn_operation *, twal_saga_step_info *, size_t));
CALL(twal_saga_payload_get, int (*)(const twal_txn *, uint64_t, uint32_t, void *, size_t, uint64_t *));
CALL(twal_saga_token, int (*)(const twal_txn *, uint64_t, uint32_t, uint32_t, uint8_t *));
CALL(twal_2pc_create, int (*)(twal_txn *, const twal_2pc_spec *, uint64_t *, uint64_t *));
CALL(twal_2pc_add_participant, int (*)(twal_txn *, uint64_t, const uint8_t *, const uint8_t *, uint32_t, uint64_t *));
CALL(twal_2pc_prepare, int (*)(twal_txn *, uint64_t, uint64_t *));
CALL(twal_2pc_vote, int (*)(twal_txn *, uint64_t, const uint8_t *, uint32_t, uint32_t, uint64_t *));
CALL(twal_2pc_commit_start, int (*)(twal_txn *, uint64_t, uint64_t *));
CALL(twal_2pc_commit_complete, int (*)(twal_txn *, uint64_t, uint32_t, uint64_t *));
CALL(twal_2pc_abort_start, int (*)(twal_txn *, uint64_t, uint64_t *));
CALL(twal_2pc_expire, int (*)(twal_txn *, uint64_t, uint64_t *, uint64_t *));
CALL(twal_2pc_abort_complete, int (*)(twal_txn *, uint64_t, uint32_t, uint64_t *));
CALL(twal_2pc_rollback_start, int (*)(twal_txn *, uint64_t, uint64_t *));
CALL(twal_2pc_rollback_complete, int (*)(twal_txn *, uint64_t, uint32_t, uint64_t *));
CALL(twal_2pc_state_get, int (*)(const twal_txn *, uint64_t, uint32_t *));
CALL(twal_2pc_get, int (*)(const twal_txn *, uint64_t, twal_txn_operation *, twal_2pc_participant *, size_t));
CALL(twal_2pc_token, int (*)(const twal_txn *, uint64_t, const uint8_t *, uint32_t, uint8_t *));
CALL(twal_txn_resume, int (*)(twal_txn *, const twal_txn_participants *, const twal_txn_resume_options *,
                               twal_txn_resumed *));
CALL(twal_txn_left_get, int (*)(const twal_txn *, uint64_t, twal_txn_operation *, twal_error *));

int main(void)
{
    t_begin();
    /* What each _INIT starts from. */
    twal_options options = TWAL_OPTIONS_INIT, zero_options = { .struct_size = sizeof zero_options };
    twal_entry entry = TWAL_ENTRY_INIT, zero_entry = { .timestamp = TWAL_TIMESTAMP_LOGICAL };
    twal_reservation reservation = TWAL_RESERVATION_INIT, zero_reservation = { .len = 0 };
    twal_error error = TWAL_ERROR_INIT;
    twal_stats stats = TWAL_STATS_INIT;
    twal_recovery report = TWAL_RECOVERY_INIT;
    t_check(memcmp(&options, &zero_options, sizeof options) == 0);
    t_check(memcmp(&entry, &zero_entry, sizeof entry) == 0);
    t_check(memcmp(&reservation, &zero_reservation, sizeof reservation) == 0);
    t_equal(error.struct_size, sizeof error);
    t_equal(stats.struct_size, sizeof stats);
    t_equal(report.struct_size, sizeof report);
    return t_end();
}
