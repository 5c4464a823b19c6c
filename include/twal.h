/*
 * twal: a write-ahead log for Linux storage nodes.
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * Generated from src/ffi by "make header".  Do not edit.
 *
 * Records from many threads go to disk with O_DIRECT in group-committed
 * frames.  What was acknowledged as durable survives the death of the process,
 * of the kernel and of the power supply, on a device that honours flushes and
 * a file system that journals or copies on write; after any crash the log
 * gives back exactly that, or says what it cannot.
 *
 * Caveats first
 *
 *   fork     A log belongs to the process that opened it.  In a fork()ed child
 *            every call on it returns TWAL_E_FORKED (a number: 0), except
 *            twal_close(), twal_iter_close(), twal_txn_close(),
 *            twal_source_close() and twal_sink_close(), which free it there
 *            and do nothing on disk.  The child may open logs of its own.  It
 *            has the parent's lock, too: should the parent die, nobody opens
 *            the log for writing until the child frees it, execs or exits.
 *   signals  No function is async-signal-safe, except twal_strerror(),
 *            twal_histogram_bound() and the twal_version_*() ones.  twal
 *            installs no handlers, its threads block all signals, and a
 *            signal does not end a wait.
 *   threads  Do not cancel (pthread_cancel) or longjmp() out of a thread that
 *            is inside twal.  A thread that calls twal needs 48 KiB of stack,
 *            beside what the program's own callbacks take.
 *   close    twal_close() lets out who waits inside other calls
 *            (TWAL_E_CLOSED), and frees the handle: no call may begin on it
 *            afterwards, but those that end reservations.  A program that ends without it loses nothing that
 *            was acknowledged as durable.
 *   failure  After a failed write or flush the log is poisoned: every later
 *            append is refused, reads go on.  TWAL_E_IO and TWAL_E_POISONED
 *            from an append (and TWAL_E_PANIC, a bug) mean that its fate is
 *            unknown until the next open.  After any other error nothing was
 *            written.
 *   growth   Nothing is ever removed that the program did not release with
 *            twal_trim(), or let a transaction manager release: its
 *            checkpoints do, unless it has TWAL_TXN_KEEP_RECORDS.  A
 *            compaction takes what is finished or dropped out of segments.
 *   one      One writer a log; others get TWAL_E_LOCKED.  Any number of
 *            read-only opens.
 *   memory   Structs that start with struct_size may grow in later releases:
 *            start from their _INIT macro.  twal_entry, twal_part,
 *            twal_reservation, twal_record, twal_message_field,
 *            twal_saga_step, twal_saga_step_info and twal_2pc_participant
 *            never change.
 *
 * The map
 *
 *   open and close       twal_open  twal_close
 *   append               twal_append  twal_append_entry  twal_append_batch
 *                        twal_append_gather
 *   append in place      twal_reserve  twal_commit  twal_cancel
 *   durability           twal_sync  twal_wait  twal_durable_seq
 *   for event loops      twal_eventfd  twal_sync_async
 *   what is there        twal_first_seq  twal_last_seq
 *   read                 twal_recover_iter  twal_iter_next  twal_iter_close
 *                        twal_iter_open  twal_iter_wait  twal_iter_payload
 *                        twal_iter_next_seq  twal_iter_skipped  twal_read
 *   release              twal_trim  twal_roll
 *   keep                 twal_hold_set  twal_hold_drop  twal_hold_reset
 *                        twal_holds  twal_archive_next  twal_archive_done
 *   look                 twal_segments  twal_streams  twal_size_hint
 *   what happened        twal_recovery_get  twal_stats_get
 *                        twal_histogram_get  twal_histogram_bound
 *                        twal_metrics  twal_message_callback
 *   what is damaged      twal_verify
 *   repair               twal_repair_plan  twal_repair_step_get
 *                        twal_repair_apply  twal_repair_close
 *   ship                 twal_source_open  twal_source_next
 *                        twal_source_close
 *   follow               twal_sink_open  twal_sink_write  twal_sink_sync
 *                        twal_sink_position  twal_sink_promote
 *                        twal_sink_close
 *   transactions         twal_txn_recover  twal_txn_report_get
 *                        twal_txn_unfinished_get  twal_txn_resume
 *                        twal_txn_left_get  twal_txn_checkpoint
 *                        twal_txn_next  twal_txn_stats_get  twal_txn_close
 *                        twal_txn_compact
 *   streams              twal_tombstone  twal_purge  twal_applied
 *                        twal_tombstone_get  twal_purge_get
 *                        twal_applied_get  twal_txn_iter_open
 *   sagas                twal_saga_create  twal_saga_add_step
 *                        twal_saga_start  twal_saga_step_succeeded
 *                        twal_saga_step_failed  twal_saga_compensation_start
 *                        twal_saga_compensation_succeeded
 *                        twal_saga_compensation_failed  twal_saga_completed
 *                        twal_saga_compensated  twal_saga_aborted
 *                        twal_saga_state_get  twal_saga_get
 *                        twal_saga_payload_get  twal_saga_token
 *   two-phase commits    twal_2pc_create  twal_2pc_add_participant
 *                        twal_2pc_prepare  twal_2pc_vote
 *                        twal_2pc_commit_start  twal_2pc_commit_complete
 *                        twal_2pc_abort_start  twal_2pc_expire
 *                        twal_2pc_abort_complete
 *                        twal_2pc_rollback_start  twal_2pc_rollback_complete
 *                        twal_2pc_state_get  twal_2pc_get  twal_2pc_token
 *   v2.6 files           twal_v26_replay  twal_import  twal_export
 *   errors               twal_strerror  twal_last_error
 *   version              twal_version_number  twal_version_string
 *
 * The rules
 *
 *   Functions that can fail return an int: TWAL_OK is 0, a failure is one of
 *   the negative TWAL_E_ numbers of twal_code, and twal_last_error() tells
 *   more on the same thread.  (twal_iter_next(),
 *   twal_iter_wait() and twal_source_next() also return 1.)  Out
 *   parameters come last, end in _out, and are untouched on failure.  A
 *   pointer that goes in is read during the call only.  A handle is not const
 *   where the call changes the log.  Sequence numbers start at 1.
 *
 * An example
 *
 *   #include <stdio.h>
 *   #include <twal.h>
 *
 *   static int failed(const char *what)
 *   {
 *       twal_error error = TWAL_ERROR_INIT;
 *       twal_last_error(&error);
 *       fprintf(stderr, "%s: %s: %s\n", what, twal_strerror(error.code),
 *               error.text);
 *       return 1;
 *   }
 *
 *   int main(void)
 *   {
 *       twal_log *log;
 *       twal_iter *iter;
 *       twal_record record;
 *       uint64_t seq;
 *       int found;
 *
 *       if (twal_open("log", NULL, &log))
 *           return failed("open");
 *       if (twal_append(log, "hello", 5, &seq))
 *           return failed("append");
 *       printf("record %llu is durable\n", (unsigned long long)seq);
 *
 *       if (twal_recover_iter(log, 0, &iter))
 *           return failed("read");
 *       while ((found = twal_iter_next(iter, &record)) == 1)
 *           printf("%llu: %zu bytes\n", (unsigned long long)record.seq,
 *                  record.len);
 *       if (found < 0)
 *           return failed("read");
 *       twal_iter_close(iter);
 *       return twal_close(log) ? failed("close") : 0;
 *   }
 *
 *   cc example.c $(pkg-config --cflags --libs twal)
 */

#ifndef TWAL_H
#define TWAL_H

#include <stddef.h>
#include <stdint.h>
#if !defined(__linux__) || !defined(__LP64__)
#error "twal is for 64-bit Linux"
#endif

/* The version of this header; twal_version_number() is the library's. */
#define TWAL_VERSION_MAJOR 0
#define TWAL_VERSION_MINOR 1
#define TWAL_VERSION_PATCH 0
#define TWAL_VERSION_STRING "0.1.0"
#define TWAL_VERSION_NUMBER \
    (TWAL_VERSION_MAJOR * 1000000 + TWAL_VERSION_MINOR * 1000 + \
     TWAL_VERSION_PATCH)

/*
 * Define TWAL_CHECK_RESULTS before including this header, and the compiler
 * warns where the result of a call that must not be ignored is ignored.
 */
#if defined(TWAL_CHECK_RESULTS) && defined(__GNUC__)
#define TWAL_CHECK __attribute__((__warn_unused_result__))
#else
#define TWAL_CHECK
#endif

/* A type that is cast to without a warning in C++ too. */
#ifdef __cplusplus
#define TWAL_CAST_(type, value) static_cast<type>(value)
#else
#define TWAL_CAST_(type, value) ((type)(value))
#endif

/* A stream of two halves: a tenant (32 bits) and a shard of it (32 bits). */
#define TWAL_STREAM(tenant32, shard32) \
    ((TWAL_CAST_(uint64_t, TWAL_CAST_(uint32_t, (tenant32))) << 32) | \
     TWAL_CAST_(uint64_t, TWAL_CAST_(uint32_t, (shard32))))

/* entry.timestamp: a logical clock that never goes back, also over restarts. */
#define TWAL_TIMESTAMP_LOGICAL INT64_MIN

/* What a variable of each struct starts from. */
#define TWAL_OPTIONS_INIT \
    { sizeof(twal_options), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, \
      NULL, NULL, 0 }
#define TWAL_ENTRY_INIT \
    { NULL, 0, 0, TWAL_TIMESTAMP_LOGICAL, 0, 0, { 0, 0 } }
#define TWAL_RESERVATION_INIT \
    { NULL, 0, { 0, 0, 0, 0, 0, 0 } }
#define TWAL_ERROR_INIT \
    { sizeof(twal_error), 0, 0, 0, 0, 0, { 0 } }
#define TWAL_STATS_INIT \
    { sizeof(twal_stats), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, \
      0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, { 0 }, { 0 }, { 0 }, 0, 0, 0, 0, \
      0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 }
#define TWAL_HISTOGRAM_INIT \
    { sizeof(twal_histogram), 0, 0, 0, { 0 } }
#define TWAL_RECOVERY_INIT \
    { sizeof(twal_recovery), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, \
      0 }
#define TWAL_HOLD_INIT \
    { sizeof(twal_hold), 0, { 0 } }
#define TWAL_SEGMENT_INIT \
    { sizeof(twal_segment), 0, 0, 0, 0, 0, 0, 0, 0, 0, { 0 }, { 0 } }
#define TWAL_STREAM_COUNT_INIT \
    { sizeof(twal_stream_count), 0, 0, 0, 0, 0 }
#define TWAL_ITER_OPTIONS_INIT \
    { sizeof(twal_iter_options), 0, 0, 0, 0, 0, 0, NULL, 0, NULL, 0, NULL, 0 }
#define TWAL_SKIPPED_INIT \
    { sizeof(twal_skipped), 0, 0, 0, 0, 0, 0 }
#define TWAL_REPAIR_STEP_INIT \
    { sizeof(twal_repair_step), 0, 0, 0, 0, 0, 0, { 0 } }
#define TWAL_SHIP_POSITION_INIT \
    { sizeof(twal_ship_position), 0, 0, 0, 0, 0, 0, 0, { 0 }, { 0 }, { 0 } }
#define TWAL_SHIP_PIECE_INIT \
    { sizeof(twal_ship_piece), 0, 0, 0, 0, 0, 0, 0, 0, NULL, 0, { 0 }, { 0 }, \
      { 0 } }
#define TWAL_SINK_OPTIONS_INIT \
    { sizeof(twal_sink_options), 0, 0, 0 }
#define TWAL_TXN_OPTIONS_INIT \
    { sizeof(twal_txn_options), 0, 0, 0, 0, 0 }
#define TWAL_TXN_OPERATION_INIT \
    { sizeof(twal_txn_operation), 0, 0, 0, 0, { 0 }, 0, 0, 0, 0 }
#define TWAL_TXN_REPORT_INIT \
    { sizeof(twal_txn_report), 0, 0, 0, 0, 0 }
#define TWAL_TXN_STATS_INIT \
    { sizeof(twal_txn_stats), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 }
#define TWAL_COMPACT_OPTIONS_INIT \
    { sizeof(twal_compact_options), 0, 0, 0 }
#define TWAL_COMPACTION_INIT \
    { sizeof(twal_compaction), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 }
#define TWAL_TOMBSTONE_INFO_INIT \
    { sizeof(twal_tombstone_info), 0, 0, 0, { 0 } }
#define TWAL_PURGE_INFO_INIT \
    { sizeof(twal_purge_info), 0, 0, 0 }
#define TWAL_APPLIED_INFO_INIT \
    { sizeof(twal_applied_info), 0, 0 }
#define TWAL_V26_OPTIONS_INIT \
    { sizeof(twal_v26_options), 0, 0, 0, 0, 0 }
#define TWAL_V26_REPORT_INIT \
    { sizeof(twal_v26_report), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, \
      0, 0, 0, 0, 0 }
#define TWAL_V26_EXPORTED_INIT \
    { sizeof(twal_v26_exported), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 }
#define TWAL_SAGA_STEP_INIT \
    { NULL, 0, NULL, 0, 0, 0, { 0, 0 } }
#define TWAL_SAGA_SPEC_INIT \
    { sizeof(twal_saga_spec), 0, NULL, 0, { 0 }, 0, 0 }
#define TWAL_2PC_PARTICIPANT_INIT \
    { { 0 }, { 0 }, 0, { 0, 0, 0 } }
#define TWAL_2PC_SPEC_INIT \
    { sizeof(twal_2pc_spec), 0, NULL, 0, { 0 } }
#define TWAL_TXN_PARTICIPANTS_INIT \
    { sizeof(twal_txn_participants), NULL, NULL, NULL, NULL, NULL, NULL }
#define TWAL_TXN_RESUME_OPTIONS_INIT \
    { sizeof(twal_txn_resume_options), 0, 0, 0, 0 }
#define TWAL_TXN_RESUMED_INIT \
    { sizeof(twal_txn_resumed), 0, 0, 0, 0 }
#define TWAL_VERIFY_REPORT_INIT \
    { sizeof(twal_verify_report), 0, 0, 0, 0, 0, 0, 0, 0, 0 }

/**
 * What a function returns: TWAL_OK, or one of these.
 *
 * The hundreds say who must act: -1xx the caller, -2xx nobody or later (the
 * state forbids it now), -3xx the machine's owner, -4xx whoever has a good
 * copy of the data, -5xx the makers of twal.  Numbers are never changed or
 * used again; treat one you do not know like the others of its hundred.
 *
 * If several apply, the one returned is the first of INVAL, TOOBIG, FORKED,
 * CLOSED, READ_ONLY, POISONED, then any other.
 */
typedef enum twal_code {
    /**
     * Done.
     */
    TWAL_OK = 0,
    /**
     * An argument that this call never accepts.  Nothing was done.
     */
    TWAL_E_INVAL = -101,
    /**
     * The payload is larger than options.record_size_max.
     */
    TWAL_E_TOOBIG = -102,
    /**
     * This process is a fork()ed child; the log is its parent's.
     */
    TWAL_E_FORKED = -103,
    /**
     * The log is being closed, or was closed under this reader.
     */
    TWAL_E_CLOSED = -104,
    /**
     * No room now, and TWAL_APPEND_NO_WAIT was set.
     */
    TWAL_E_AGAIN = -201,
    /**
     * The time given for waiting is over.
     */
    TWAL_E_TIMEOUT = -202,
    /**
     * Another process, or another handle here, has the log open for writing.
     */
    TWAL_E_LOCKED = -203,
    /**
     * The log was opened with TWAL_OPEN_READ_ONLY.
     */
    TWAL_E_READ_ONLY = -204,
    /**
     * An earlier write or flush failed; only closing and opening clears it.
     */
    TWAL_E_POISONED = -205,
    /**
     * What was asked for was released by a trim, or removed.
     */
    TWAL_E_TRIMMED = -206,
    /**
     * There is no such log or record.
     */
    TWAL_E_NOTFOUND = -207,
    /**
     * It exists already.
     */
    TWAL_E_EXISTS = -208,
    /**
     * Not allowed in the present state.
     */
    TWAL_E_STATE = -209,
    /**
     * Held by somebody else.
     */
    TWAL_E_BUSY = -210,
    /**
     * No memory, thread or file descriptor left.
     */
    TWAL_E_NOMEM = -301,
    /**
     * The device or the file system failed.
     */
    TWAL_E_IO = -302,
    /**
     * The device is full.
     */
    TWAL_E_NOSPC = -303,
    /**
     * This kernel, file system, device or release of twal cannot do it.
     */
    TWAL_E_UNSUPPORTED = -304,
    /**
     * The operating system refuses it to this process.
     */
    TWAL_E_PERM = -305,
    /**
     * The log is damaged where it must not be.
     */
    TWAL_E_CORRUPT = -401,
    /**
     * The log was written by a release that this one cannot read.
     */
    TWAL_E_VERSION = -402,
    /**
     * A key is missing or wrong.
     */
    TWAL_E_KEY = -403,
    /**
     * A record must not be passed over by a reader that does not know its
     * type, and this reader does not.
     */
    TWAL_E_TYPE = -404,
    /**
     * A bug in twal, caught.  The handle takes no more changes; close it.
     */
    TWAL_E_PANIC = -501,
} twal_code;

/**
 * twal_options.durability: when an append returns.
 */
typedef enum twal_durability {
    /**
     * When its record is durable.  The default.
     */
    TWAL_SYNC = 1,
    /**
     * When it is accepted; nothing goes to the device until batch_records or
     * batch_delay_us are reached, and then all of it with one flush.
     */
    TWAL_GROUP = 2,
    /**
     * When it is accepted; written in the background, flushed after
     * flush_interval_ms.  A killed process may lose what was not yet written.
     */
    TWAL_ASYNC = 3,
} twal_durability;

/**
 * twal_options.io_engine: how bytes go to the device.
 */
typedef enum twal_io_engine {
    /**
     * What suits the device and is allowed here; twal_stats tells which.
     */
    TWAL_IO_AUTO = 0,
    /**
     * io_uring; TWAL_E_UNSUPPORTED where the kernel or a policy forbids it.
     */
    TWAL_IO_URING = 1,
    /**
     * pwritev2() and fdatasync() on the thread that writes.
     */
    TWAL_IO_BLOCKING = 2,
} twal_io_engine;

/**
 * twal_options.log_size_policy: what happens when the log would grow beyond
 * log_size_max.
 */
typedef enum twal_size_policy {
    /**
     * Appends that need one more segment file are refused with TWAL_E_NOSPC,
     * and nothing else is: it goes away when space is given back.  What helps
     * to give it back, a checkpoint of transactions and events that bring an
     * operation towards its end, may take one segment more than the limit,
     * which nothing else gets into until the log is within it again.  The
     * default.
     */
    TWAL_SIZE_REFUSE = 0,
    /**
     * The log grows on; whoever twal_size_hint() named is told.
     */
    TWAL_SIZE_HINT = 1,
} twal_size_policy;

/**
 * twal_segment.state: where a segment is in its life.
 */
typedef enum twal_segment_state {
    /**
     * It is being written.
     */
    TWAL_SEGMENT_ACTIVE = 1,
    /**
     * It is complete.
     */
    TWAL_SEGMENT_SEALED = 2,
    /**
     * It was released, and cannot be read any more.
     */
    TWAL_SEGMENT_ARCHIVED = 3,
} twal_segment_state;

/**
 * twal_segment.held_by: why a segment is not on its way out.
 */
typedef enum twal_held_by {
    /**
     * Nothing holds it: the next trim or checkpoint that reaches so far takes
     * it.
     */
    TWAL_HELD_BY_NOBODY = 0,
    /**
     * It is being written.
     */
    TWAL_HELD_BY_WRITER = 1,
    /**
     * The hold whose name is in twal_segment.hold; of several the one that is
     * furthest behind.
     */
    TWAL_HELD_BY_HOLD = 2,
    /**
     * A transaction manager: operations that are not finished, or its
     * checkpoint.  Only the writer's own process knows of it.
     */
    TWAL_HELD_BY_TRANSACTIONS = 3,
    /**
     * Nothing of the above, but a reader has it open: it may leave the log, but
     * its file lives on until the reader is done with it.
     */
    TWAL_HELD_BY_READER = 4,
    /**
     * It is one of options.max_retained_segments, or the newest archived one.
     */
    TWAL_HELD_BY_RETENTION = 5,
    /**
     * The holds cannot be read: nothing is released.
     */
    TWAL_HELD_BY_UNREADABLE = 6,
} twal_held_by;

/**
 * twal_options.flags: bits.
 */
typedef enum twal_open_flags {
    /**
     * Read only: takes no writer's lock, changes nothing; implies NO_CREATE.
     */
    TWAL_OPEN_READ_ONLY = 1,
    /**
     * TWAL_E_NOTFOUND where there is no log, instead of making one.
     */
    TWAL_OPEN_NO_CREATE = 2,
    /**
     * Accept a file system that cannot keep the promise: network, 9p, FUSE,
     * tmpfs, ramfs, a volatile overlay.  Else they are TWAL_E_UNSUPPORTED.
     */
    TWAL_OPEN_ALLOW_ANY_FS = 4,
    /**
     * Accept a file system without O_DIRECT.  Else TWAL_E_UNSUPPORTED.
     */
    TWAL_OPEN_ALLOW_BUFFERED = 8,
    /**
     * Validate every byte of what can be read, in parallel, not only the
     * headers, the seals and the last segment.  Of released segments the
     * newest one's header and seal alone, as without it: what else is damaged
     * there takes nothing from the log.  twal_verify() reads and tells it.
     */
    TWAL_OPEN_VERIFY = 16,
} twal_open_flags;

/**
 * What twal_histogram_get() tells of.
 */
typedef enum twal_histogram_kind {
    /**
     * Nanoseconds that a frame waited: from its first record's acceptance
     * until its write began.
     */
    TWAL_HISTOGRAM_QUEUE_WAIT = 1,
    /**
     * Nanoseconds of a frame's write, to the device and flushed where the
     * write makes itself durable, as it does with TWAL_SYNC.
     */
    TWAL_HISTOGRAM_WRITE = 2,
    /**
     * Nanoseconds of a flush: one for each of twal_stats.flushes, writes that
     * make themselves durable included.
     */
    TWAL_HISTOGRAM_FLUSH = 3,
    /**
     * Nanoseconds of an append that waited until its records were durable,
     * from the call to its end.  Appends that do not wait are not measured: a
     * look at the clock would cost as much as they do.
     */
    TWAL_HISTOGRAM_APPEND = 4,
    /**
     * Records of a frame.
     */
    TWAL_HISTOGRAM_FRAME_RECORDS = 5,
    /**
     * Bytes of a frame, as it is on the device.
     */
    TWAL_HISTOGRAM_FRAME_BYTES = 6,
} twal_histogram_kind;

/**
 * twal_message.level: how much a message matters.
 */
typedef enum twal_message_level {
    /**
     * Something promised cannot be kept, or was lost: poison, damage, an open
     * that failed.
     */
    TWAL_MESSAGE_ERROR = 1,
    /**
     * Somebody should look at it: a torn tail was cut, a segment's file could
     * not be prepared, a repair.
     */
    TWAL_MESSAGE_WARNING = 2,
    /**
     * What a log does in the course of its life: open, rollover, release,
     * compaction, close.
     */
    TWAL_MESSAGE_INFO = 3,
    /**
     * What only twal's developers want.
     */
    TWAL_MESSAGE_DEBUG = 4,
} twal_message_level;

/**
 * twal_entry.flags: bits.
 */
typedef enum twal_append_flags {
    /**
     * Return when durable, whatever the log's durability is.
     */
    TWAL_APPEND_SYNC = 1,
    /**
     * Return when accepted, whatever the log's durability is.
     */
    TWAL_APPEND_NO_SYNC = 2,
    /**
     * Never wait for room: TWAL_E_AGAIN instead.  Durability is still waited
     * for.
     */
    TWAL_APPEND_NO_WAIT = 4,
    /**
     * A reader that does not know this record's type must stop.
     */
    TWAL_APPEND_REQUIRED = 8,
} twal_append_flags;

/**
 * twal_record.flags: bits.
 */
typedef enum twal_record_flags {
    /**
     * Stop if you do not know this record's type.
     */
    TWAL_RECORD_REQUIRED = 1,
    /**
     * The next record belongs to the same batch.
     */
    TWAL_RECORD_BATCH_CONTINUES = 2,
} twal_record_flags;

/**
 * twal_recovery.tail: how the log ended when it was opened.
 */
typedef enum twal_tail {
    /**
     * Behind the last frame was nothing of this log's.
     */
    TWAL_TAIL_CLEAN = 1,
    /**
     * A frame that nothing had acknowledged was half there; it was cut off.
     */
    TWAL_TAIL_TORN = 2,
    /**
     * Acknowledged data is damaged; only a read-only open goes on.
     */
    TWAL_TAIL_DAMAGED = 3,
} twal_tail;

/**
 * twal_iter_options.flags: bits.
 */
typedef enum twal_iter_flags {
    /**
     * Pass over what is damaged and go on behind it, instead of ending with
     * TWAL_E_CORRUPT or TWAL_E_IO; twal_iter_skipped() tells what was.
     */
    TWAL_ITER_SKIP_DAMAGED = 1,
    /**
     * Read and check headers alone: record.len is right, record.data is NULL
     * (unless the record is empty), and twal_iter_payload() reads a payload
     * when asked.  Blocks that hold nothing but payload are not read, unless a
     * compaction took records out between them.
     */
    TWAL_ITER_HEADERS_ONLY = 2,
    /**
     * Read what is durable now, up to until_seq, and no more; and keep it:
     * every segment of that is opened now, one file descriptor each, so that
     * it stays for this reader whatever is trimmed or compacted meanwhile, and
     * no record of it ever gives TWAL_E_TRIMMED.  Its room on the device comes
     * back with twal_iter_close().
     */
    TWAL_ITER_SNAPSHOT = 4,
    /**
     * Map segments that are complete instead of reading them with O_DIRECT:
     * they go through the page cache, which is asked to forget what was
     * passed.  Bytes that the device does not give are TWAL_E_IO, as ever; but
     * if somebody shortens a segment's file at that very moment, or a page
     * that was read is given up by the kernel and cannot be read again, the
     * process gets SIGBUS.  Without effect before Linux 5.14.
     */
    TWAL_ITER_MAP_SEALED = 8,
} twal_iter_flags;

/**
 * twal_finding.kind: what is wrong.
 */
typedef enum twal_finding_kind {
    /**
     * A file is missing, doubled, or named as nothing of a log's is.
     */
    TWAL_FINDING_NAME = 1,
    /**
     * A segment's header, or the file as a whole: another segment's, too
     * short.
     */
    TWAL_FINDING_HEADER = 2,
    /**
     * Where a frame should be there is none.
     */
    TWAL_FINDING_FRAME = 3,
    /**
     * A frame's body is not the one that was written.
     */
    TWAL_FINDING_BODY = 4,
    /**
     * One record of a frame; the others may be whole.
     */
    TWAL_FINDING_RECORD = 5,
    /**
     * A whole frame or segment, but not the one that belongs there.
     */
    TWAL_FINDING_CHAIN = 6,
    /**
     * A segment does not end in its seal, or the seal contradicts it.
     */
    TWAL_FINDING_SEAL = 7,
    /**
     * The device does not give the bytes, or too many forged frames claim them.
     */
    TWAL_FINDING_UNREADABLE = 8,
    /**
     * What only a later release can read; or go on writing.
     */
    TWAL_FINDING_VERSION = 9,
    /**
     * A half-written end that nobody was promised: no damage, opening cuts it
     * off.
     */
    TWAL_FINDING_TORN = 10,
    /**
     * The file of holds is damaged or missing: every record is there, and
     * nothing is released until twal_hold_reset().
     */
    TWAL_FINDING_HOLDS = 11,
    /**
     * A follower's position (twal-sink) is damaged, or one copy of it; or what
     * is there is not what it speaks of.
     */
    TWAL_FINDING_POSITION = 12,
} twal_finding_kind;

/**
 * twal_finding.acknowledged and twal_repair_action.acknowledged: whether it
 * was acknowledged as durable.
 */
typedef enum twal_acknowledged {
    /**
     * Nothing that is left says so, and nothing says the contrary.
     */
    TWAL_ACKNOWLEDGED_UNKNOWN = 0,
    /**
     * Something later on the device says that it was.
     */
    TWAL_ACKNOWLEDGED_YES = 1,
    /**
     * It never was.
     */
    TWAL_ACKNOWLEDGED_NO = 2,
} twal_acknowledged;

/**
 * twal_repair_step.kind: what is done to a file.
 */
typedef enum twal_repair_kind {
    /**
     * The segment ends at the offset; what is behind it goes.
     */
    TWAL_REPAIR_CUT = 1,
    /**
     * The segment goes.
     */
    TWAL_REPAIR_DROP = 2,
    /**
     * What is named as if it were twal's goes: no file of a log, or a segment of
     * this one under another name, and then segment and numbers are what its
     * header and frames say.  Or what is no file has the name of one.
     */
    TWAL_REPAIR_ISOLATE = 3,
    /**
     * A new, empty segment is begun.
     */
    TWAL_REPAIR_BEGIN = 4,
    /**
     * Header and seal of a released segment are written again, as they were;
     * no record goes.
     */
    TWAL_REPAIR_RESTORE = 5,
    /**
     * The file of a segment that lacks bytes at its end, but nothing that was
     * written to it, is made as long as it was; no record goes.
     */
    TWAL_REPAIR_FILL = 6,
} twal_repair_kind;

/**
 * twal_repair_apply(): bits of flags.
 */
typedef enum twal_repair_flags {
    /**
     * Let records go that were acknowledged as durable, or may have been.
     */
    TWAL_REPAIR_DROP_ACKNOWLEDGED = 1,
} twal_repair_flags;

/**
 * twal_txn_options.flags: bits.
 */
typedef enum twal_txn_flags {
    /**
     * Checkpoints release nothing.  For a log that also has records of the
     * program's own: a release takes whole segments, whatever is in them.
     * The program trims; twal_trim() never releases what the manager needs.
     */
    TWAL_TXN_KEEP_RECORDS = 1,
    /**
     * Sealed segments are compacted as twal_txn_compact() does, on a thread of
     * the manager's, behind a checkpoint, as soon as compact_percent or
     * compact_records says so.  Setting one of those asks for it, too.
     */
    TWAL_TXN_COMPACT = 2,
} twal_txn_flags;

/**
 * The two kinds of operations.  Their ids are apart.
 */
typedef enum twal_txn_kind {
    /**
     * Steps that are undone by compensation.
     */
    TWAL_TXN_SAGA = 1,
    /**
     * Two-phase commit.
     */
    TWAL_TXN_2PC = 2,
} twal_txn_kind;

/**
 * twal_txn_operation.action: what is to be done about an operation.
 */
typedef enum twal_resume {
    /**
     * Nothing: it was never begun, or is finished.
     */
    TWAL_RESUME_NONE = 0,
    /**
     * saga_resume_execute: run the steps that have no outcome.
     */
    TWAL_RESUME_SAGA_EXECUTE = 1,
    /**
     * saga_resume_compensate: undo the steps that succeeded.
     */
    TWAL_RESUME_SAGA_COMPENSATE = 2,
    /**
     * tx_resume_commit: commit at every participant.
     */
    TWAL_RESUME_TX_COMMIT = 3,
    /**
     * tx_resume_abort: abort at every participant.
     */
    TWAL_RESUME_TX_ABORT = 4,
    /**
     * tx_resume_rollback: undo the commit at every participant.
     */
    TWAL_RESUME_TX_ROLLBACK = 5,
} twal_resume;

/**
 * Where a saga is.
 */
typedef enum twal_saga_state {
    /**
     * No saga had this id yet.
     */
    TWAL_SAGA_UNKNOWN = 0,
    /**
     * Steps are added.
     */
    TWAL_SAGA_CREATED = 1,
    /**
     * Steps run.
     */
    TWAL_SAGA_EXECUTING = 2,
    /**
     * A step failed; compensation is decided, not begun.
     */
    TWAL_SAGA_FAILED = 3,
    /**
     * Steps are undone.
     */
    TWAL_SAGA_COMPENSATING = 4,
    /**
     * Completed, compensated or aborted: nothing is kept that could say which.
     */
    TWAL_SAGA_FINISHED = 5,
} twal_saga_state;

/**
 * Where a two-phase commit is.
 */
typedef enum twal_2pc_state {
    /**
     * No two-phase commit had this id yet.
     */
    TWAL_2PC_UNKNOWN = 0,
    /**
     * Participants are added.
     */
    TWAL_2PC_CREATED = 1,
    /**
     * Votes are asked for.
     */
    TWAL_2PC_PREPARING = 2,
    /**
     * Every participant voted commit; nothing is decided.
     */
    TWAL_2PC_PREPARED = 3,
    /**
     * A participant voted abort; the abort is not begun.
     */
    TWAL_2PC_REFUSED = 4,
    /**
     * Commit is decided.
     */
    TWAL_2PC_COMMITTING = 5,
    /**
     * Finished: every participant has committed; it can be rolled back.  Of
     * the last 256 that committed, or fewer where other operations need the
     * room; older ones are TWAL_2PC_FINISHED.
     */
    TWAL_2PC_COMMITTED = 6,
    /**
     * Abort is decided.
     */
    TWAL_2PC_ABORTING = 7,
    /**
     * A commit is being undone.
     */
    TWAL_2PC_ROLLING_BACK = 8,
    /**
     * Aborted, rolled back, or committed long ago: nothing is kept that could
     * say which.  A participant that asks is never answered so while it is in
     * doubt, if all were told before the end was.
     */
    TWAL_2PC_FINISHED = 9,
} twal_2pc_state;

/**
 * What is done to a saga's step or a two-phase commit's participant.
 */
typedef enum twal_direction {
    /**
     * Do a step.
     */
    TWAL_DIRECTION_EXECUTE = 1,
    /**
     * Undo a step.
     */
    TWAL_DIRECTION_COMPENSATE = 2,
    /**
     * Ask a shard for its vote.
     */
    TWAL_DIRECTION_PREPARE = 3,
    /**
     * Make a shard's part final.
     */
    TWAL_DIRECTION_COMMIT = 4,
    /**
     * Drop a shard's part.
     */
    TWAL_DIRECTION_ABORT = 5,
    /**
     * Undo a shard's part that was final.
     */
    TWAL_DIRECTION_ROLLBACK = 6,
} twal_direction;

/**
 * twal_saga_spec.flags: bits.
 */
typedef enum twal_saga_flags {
    /**
     * Its steps run from now on: no step can be added.
     */
    TWAL_SAGA_START = 1,
} twal_saga_flags;

/**
 * Where a step is.
 */
typedef enum twal_step_state {
    /**
     * No outcome yet.
     */
    TWAL_STEP_PENDING = 1,
    /**
     * Done.
     */
    TWAL_STEP_SUCCEEDED = 2,
    /**
     * Not done; number is the program's error number.
     */
    TWAL_STEP_FAILED = 3,
    /**
     * Done, and undoing it failed number times.
     */
    TWAL_STEP_COMPENSATION_FAILED = 4,
    /**
     * Done and undone.
     */
    TWAL_STEP_COMPENSATED = 5,
} twal_step_state;

/**
 * What a participant voted.
 */
typedef enum twal_vote {
    /**
     * It has not voted.
     */
    TWAL_VOTE_NONE = 0,
    /**
     * It promises to commit if it is told to.
     */
    TWAL_VOTE_COMMIT = 1,
    /**
     * It will not commit.
     */
    TWAL_VOTE_ABORT = 2,
} twal_vote;

/**
 * What a function of twal_txn_participants answers.
 */
typedef enum twal_outcome {
    /**
     * It is done, now or by an earlier call with the same token.
     */
    TWAL_DONE = 0,
    /**
     * It is not done and will not be; *error_out is the program's error
     * number, 0 if it is not set.
     */
    TWAL_FAILED = 1,
    /**
     * Nobody knows, or not yet: ask again.  So is every other answer taken.
     */
    TWAL_RETRY = 2,
} twal_outcome;

/**
 * twal_compact_options.flags: bits.
 */
typedef enum twal_compact_flags {
    /**
     * Seal the active segment first, as twal_roll() does; where
     * options.log_size_max leaves no room for another, what is sealed already
     * is compacted.
     */
    TWAL_COMPACT_SEAL = 1,
} twal_compact_flags;

/**
 * twal_v26_options.flags: bits.
 */
typedef enum twal_v26_flags {
    /**
     * Reading: payload checksums are not looked at; an original could switch
     * them off, and wrote 0.
     */
    TWAL_V26_IGNORE_CHECKSUMS = 1,
    /**
     * Reading: damage is passed over and counted, instead of refused.  If
     * there is some, operations that are not finished count as isolated, and
     * are not imported: what decided them may have been there.
     */
    TWAL_V26_SKIP_DAMAGED = 2,
    /**
     * Writing: what the layout cannot hold is left out and counted, instead of
     * refused.
     */
    TWAL_V26_LEAVE_OUT = 4,
} twal_v26_flags;

/**
 * A reader of one log.
 *
 * From twal_recover_iter() to twal_iter_close(), which may come before or
 * after twal_close().  One thread at a time; any number of readers at once,
 * none of them stops a writer.
 */
typedef struct twal_iter twal_iter;

/**
 * An open log.
 *
 * From twal_open() to twal_close().  Any thread may use it at any time,
 * together with others.
 */
typedef struct twal_log twal_log;

/**
 * A plan to make a damaged log one that opens.
 *
 * From twal_repair_plan() to twal_repair_close().  One thread at a time.
 */
typedef struct twal_repair twal_repair;

/**
 * A follower's copy of a log, open for what its source ships.
 *
 * From twal_sink_open() to twal_sink_close().  One thread at a time.
 */
typedef struct twal_sink twal_sink;

/**
 * Yields a log's durable bytes, for a follower.
 *
 * From twal_source_open() to twal_source_close(), which may come before or
 * after twal_close().  One thread at a time; any number of sources at once, none
 * of them stops a writer.
 */
typedef struct twal_source twal_source;

/**
 * Sagas and two-phase commits over an open log.
 *
 * From twal_txn_recover() to twal_txn_close(), which may come before or after
 * twal_close().  Any thread may use it at any time, together with others.
 *
 * What is told is in the log before anything is done about it; a decision
 * (created, started, prepared, commit, abort, compensation and rollback begun)
 * is durable when the call returns, in every mode of the log.  What is asked
 * shows no decision, and no end, that a crash could take back.  All else that it
 * shows (what was added, outcomes of steps, votes, what is said of streams) may
 * not be durable yet, where it was told in TWAL_GROUP or TWAL_ASYNC, with
 * TWAL_APPEND_NO_SYNC, or by a thread that still waits: a crash can take that
 * back, and twal_sync() makes it durable.
 *
 * Its checkpoints release what they make needless, WITH THE PROGRAM'S OWN
 * RECORDS in the same segments, unless TWAL_TXN_KEEP_RECORDS says not to.
 */
typedef struct twal_txn twal_txn;

/**
 * The detail of a failure.  A number that is not known is 0.
 */
typedef struct twal_error {
    /**
     * sizeof(twal_error), set by the caller.
     */
    uint64_t struct_size;
    /**
     * What the call returned: one of twal_code.
     */
    int32_t code;
    /**
     * The operating system's errno, 0 if none was involved.
     */
    int32_t os_errno;
    /**
     * Index of the segment concerned.
     */
    uint64_t segment;
    /**
     * Offset in that segment's file, bytes.
     */
    uint64_t offset;
    /**
     * Sequence number concerned.
     */
    uint64_t seq;
    /**
     * What happened, in English, for people; ends with a NUL.  Its wording
     * may change in any release.
     */
    char text[256];
} twal_error;

/**
 * A number or a text that belongs to a message.
 */
typedef struct twal_message_field {
    /**
     * What it is, such as "segment"; ends with a NUL.
     */
    const char *key;
    /**
     * The text, ended by a NUL; NULL: it is a number.
     */
    const char *text;
    /**
     * The number; 0 if it is a text.
     */
    uint64_t number;
} twal_message_field;

/**
 * What happened in a log; it and all that it points to is there during the
 * call.  Names and keys are whole; texts that are together longer than 1500
 * bytes are cut, the longest first.  Later releases may have more at its end, and further names and fields.
 */
typedef struct twal_message {
    /**
     * sizeof(twal_message) of the library.
     */
    uint64_t struct_size;
    /**
     * One of twal_message_level.
     */
    uint32_t level;
    /**
     * One of twal_code, if it is about a failure; else TWAL_OK.
     */
    int32_t code;
    /**
     * What kind of message it is, for programs: "open", "open_failed",
     * "torn_tail", "holds_damaged", "rollover", "release", "size_limit",
     * "compaction", "compaction_failed", "checkpoint_failed", "spare_failed",
     * "damage", "damage_skipped", "poison", "repair_plan", "repair",
     * "repair_failed", "messages_lost", "close".
     */
    const char *name;
    /**
     * The same for people; in English, without a line's end.
     */
    const char *text;
    /**
     * What else there is to say; keys do not come twice.
     */
    const twal_message_field *fields;
    /**
     * How many fields.
     */
    uint64_t field_count;
} twal_message;

/**
 * How a log is opened.  A field that is 0 has its default, so start from
 * TWAL_OPTIONS_INIT and set what you need.
 *
 * Sizes and times may differ from one open to the next; new segments follow
 * the new ones.
 */
typedef struct twal_options {
    /**
     * sizeof(twal_options).
     */
    uint64_t struct_size;
    /**
     * Bits of twal_open_flags.
     */
    uint32_t flags;
    /**
     * One of twal_durability.  0: TWAL_SYNC.
     */
    uint32_t durability;
    /**
     * One of twal_io_engine.
     */
    uint32_t io_engine;
    /**
     * Bytes of a block, the unit of all writes: a power of two from 512 to
     * 65536 that the device accepts.  Fixed when a log is made; another one
     * than the log's is TWAL_E_INVAL.  0: the log's own; for a new log 4096.
     */
    uint32_t block_size;
    /**
     * Bytes of a segment file, from 64 KiB to 1 TiB, a multiple of block_size
     * and at least four blocks.  0: 64 MiB.
     */
    uint64_t segment_size;
    /**
     * Records after which a segment is full.  A batch of more has a segment of
     * its own.  0: no limit by count.
     */
    uint64_t segment_records_max;
    /**
     * Bytes of records accepted and not yet written; address space, touched
     * only as used.  Rounded up to whole blocks, so at least one.  At most
     * 64 GiB.  0: 32 MiB.
     */
    uint64_t ring_size;
    /**
     * Bytes of payload of the largest record, and of the largest batch in
     * sum, at most 1 GiB.  0: 16 MiB, or what an empty segment holds if that
     * is less; more than a segment holds is TWAL_E_INVAL.
     */
    uint64_t record_size_max;
    /**
     * TWAL_GROUP: records that make a flush due.  0: 64.
     */
    uint64_t batch_records;
    /**
     * TWAL_GROUP: microseconds that make a flush due.  0: 1000.
     */
    uint64_t batch_delay_us;
    /**
     * Milliseconds after which what was accepted without a wait is durable,
     * without any call.  0: 1000.
     */
    uint64_t flush_interval_ms;
    /**
     * Archived segments kept.  0: 64; UINT64_MAX: never remove one.
     */
    uint64_t max_retained_segments;
    /**
     * Microseconds without a write after which the end of the log is marked
     * on the device, so that damage to the last record can be told from a
     * torn write.  0: 10000.
     */
    uint64_t idle_mark_us;
    /**
     * Microseconds that an append waits for room before TWAL_E_TIMEOUT.
     * 0: without limit.
     */
    uint64_t append_timeout_us;
    /**
     * Segment files prepared ahead of need, at most 1024.  0: 1.  A trim
     * keeps more of the files that it takes out, to be used again: twice as
     * many, or as many segments as were begun since the last trim, up to 8.
     */
    uint64_t spares;
    /**
     * Bytes that the log's files may take, segments (archived ones too) and
     * prepared files together; at least three segments.  Looked at where a file
     * would be made, never by an append.  At the limit fewer archived segments
     * are kept than max_retained_segments, down to one.  Transactions may take
     * one segment more to give space back (see twal_size_policy), and a
     * compaction one more while it works.  0: without limit.
     */
    uint64_t log_size_max;
    /**
     * One of twal_size_policy.
     */
    uint64_t log_size_policy;
    /**
     * What is called with messages from the begin of the open on, as
     * twal_message_callback() says.  NULL: nothing.
     */
    void (*message)(void *arg,
                    const twal_message *message);
    /**
     * Is passed on to message.
     */
    void *message_arg;
    /**
     * The highest twal_message_level that it wants.  0: TWAL_MESSAGE_INFO.
     */
    uint64_t message_level;
} twal_options;

/**
 * A record to be appended.  Start from TWAL_ENTRY_INIT.
 */
typedef struct twal_entry {
    /**
     * The payload, which twal never looks into.  NULL only if len is 0.
     */
    const void *data;
    /**
     * Bytes of payload; 0 is an empty record, which is allowed.
     */
    size_t len;
    /**
     * A tag of yours, such as TWAL_STREAM(tenant, shard).
     */
    uint64_t stream;
    /**
     * Kept as given, in any order; or TWAL_TIMESTAMP_LOGICAL for a logical
     * clock, which never goes back, also over restarts.
     */
    int64_t timestamp;
    /**
     * A type of yours, from 0x0100 to 0xFFFF.  0: 0x0100.
     */
    uint32_t type;
    /**
     * Bits of twal_append_flags.
     */
    uint32_t flags;
    /**
     * Must be 0.
     */
    uint64_t reserved[2];
} twal_entry;

/**
 * A part of a payload.  It is laid out like struct iovec, and never changes.
 */
typedef struct twal_part {
    /**
     * The bytes.  NULL only if len is 0.
     */
    const void *data;
    /**
     * How many; may be 0.
     */
    size_t len;
} twal_part;

/**
 * Room for one record, from twal_reserve() to twal_commit() or twal_cancel().
 * It may be moved; of two copies only one can be used.  It never changes.
 */
typedef struct twal_reservation {
    /**
     * Where the payload goes: 8-byte aligned, not NULL.  What is there at
     * first is not specified.  NULL when the reservation is gone.
     */
    void *data;
    /**
     * Bytes of payload there is room for.
     */
    size_t len;
    /**
     * twal's; leave them as they are.
     */
    uint64_t internal[6];
} twal_reservation;

/**
 * How a log is read.  A field that is 0 has its default, so start from
 * TWAL_ITER_OPTIONS_INIT and set what you need.
 */
typedef struct twal_iter_options {
    /**
     * sizeof(twal_iter_options).
     */
    uint64_t struct_size;
    /**
     * The first number wanted; 0: the oldest.
     */
    uint64_t from_seq;
    /**
     * Bits of twal_iter_flags.
     */
    uint32_t flags;
    /**
     * Must be 0.
     */
    uint32_t reserved;
    /**
     * The last number wanted, that one included; 0: there is none.  A batch
     * that goes on behind it is cut: its last record that is delivered has
     * TWAL_RECORD_BATCH_CONTINUES as if more followed.
     */
    uint64_t until_seq;
    /**
     * Index of the segment to begin with, instead of from_seq.
     */
    uint64_t from_segment;
    /**
     * Most records wanted; 0: all.  See twal_iter_next_seq().  It may cut a
     * batch, as until_seq does.
     */
    uint64_t limit;
    /**
     * The streams wanted; NULL: all.  Of a batch, the last record that is
     * delivered ends it.
     */
    const uint64_t *streams;
    /**
     * How many they are.
     */
    uint64_t stream_count;
    /**
     * The types wanted, twal's own (below 0x0100) too; NULL: all.
     */
    const uint32_t *types;
    /**
     * How many they are.
     */
    uint64_t type_count;
    /**
     * Types of yours that you know, from 0x0100; NULL: all.  A record of
     * another one is left out; but if it has TWAL_RECORD_REQUIRED, it stops
     * the reader with TWAL_E_TYPE, also if streams or types would leave it
     * out.
     */
    const uint32_t *known_types;
    /**
     * How many they are.
     */
    uint64_t known_type_count;
} twal_iter_options;

/**
 * What a reader with TWAL_ITER_SKIP_DAMAGED has passed over.
 */
typedef struct twal_skipped {
    /**
     * sizeof(twal_skipped), set by the caller.
     */
    uint64_t struct_size;
    /**
     * Damaged places, however long each is.
     */
    uint64_t spots;
    /**
     * Numbers that are missing because of them.
     */
    uint64_t records;
    /**
     * Index of the segment where the last place begins.
     */
    uint64_t segment;
    /**
     * Where in its file, bytes.
     */
    uint64_t offset;
    /**
     * First number missing at the last place.
     */
    uint64_t first_seq;
    /**
     * Last number missing there; below first_seq: none is, as far as is known.
     */
    uint64_t last_seq;
} twal_skipped;

/**
 * A record read back.
 */
typedef struct twal_record {
    /**
     * Its number.
     */
    uint64_t seq;
    /**
     * Its tag.
     */
    uint64_t stream;
    /**
     * The writer's timestamp, or the logical clock's.
     */
    int64_t timestamp;
    /**
     * Its type.
     */
    uint32_t type;
    /**
     * Bits of twal_record_flags; ignore those you do not know.
     */
    uint32_t flags;
    /**
     * The payload: 8-byte aligned, valid until the next call on the same
     * iterator.  NULL only from a reader with TWAL_ITER_HEADERS_ONLY.
     */
    const void *data;
    /**
     * Bytes of payload.
     */
    size_t len;
    /**
     * 0.
     */
    uint64_t reserved[2];
} twal_record;

/**
 * A hold, as twal_holds() tells of it.
 */
typedef struct twal_hold {
    /**
     * sizeof(twal_hold), set by the caller in the first of an array.
     */
    uint64_t struct_size;
    /**
     * Everything from this number on is kept.
     */
    uint64_t seq;
    /**
     * Its name; ends with a NUL.
     */
    char name[40];
} twal_hold;

/**
 * A segment, as twal_segments() tells of it.
 */
typedef struct twal_segment {
    /**
     * sizeof(twal_segment), set by the caller, in the first of an array.
     */
    uint64_t struct_size;
    /**
     * Its index, from 1.
     */
    uint64_t index;
    /**
     * The first number that it can hold.
     */
    uint64_t first_seq;
    /**
     * The last one that it holds; below first_seq: none.
     */
    uint64_t last_seq;
    /**
     * Bytes of its file.
     */
    uint64_t size;
    /**
     * Bytes of the device that the file takes.
     */
    uint64_t room;
    /**
     * When it was begun: wall clock, nanoseconds since 1970; 0: its header
     * cannot be read.
     */
    int64_t created_ns;
    /**
     * How often it was compacted.
     */
    uint64_t generation;
    /**
     * One of twal_segment_state.
     */
    uint32_t state;
    /**
     * One of twal_held_by.
     */
    uint32_t held_by;
    /**
     * The hold that holds it, if one does; ends with a NUL.
     */
    char hold[40];
    /**
     * Name of its file, without the directory; ends with a NUL.  It changes
     * when the segment is sealed and when it is archived.
     */
    char file[64];
} twal_segment;

/**
 * What a log holds of one stream, as twal_streams() tells of it.
 */
typedef struct twal_stream_count {
    /**
     * sizeof(twal_stream_count), set by the caller in the first of an array.
     */
    uint64_t struct_size;
    /**
     * Which stream.
     */
    uint64_t stream;
    /**
     * Its records.
     */
    uint64_t records;
    /**
     * Bytes of their payloads.
     */
    uint64_t bytes;
    /**
     * Number of the first.
     */
    uint64_t first_seq;
    /**
     * Number of the last.
     */
    uint64_t last_seq;
} twal_stream_count;

/**
 * What an open log has counted since it was opened, and how it works here.
 * Every field is a number of its own: taken one by one, not at one instant.
 */
typedef struct twal_stats {
    /**
     * sizeof(twal_stats), set by the caller.
     */
    uint64_t struct_size;
    /**
     * Records appended.
     */
    uint64_t records;
    /**
     * Bytes of their payloads.
     */
    uint64_t record_bytes;
    /**
     * Batches of more than one record.
     */
    uint64_t batches;
    /**
     * Frames written: what one group commit writes; and the seals of segments.
     */
    uint64_t frames;
    /**
     * Of these, with records, written by an appending thread itself.
     */
    uint64_t frames_by_appender;
    /**
     * Of these, with records, written by the log's writer thread.
     */
    uint64_t frames_by_writer;
    /**
     * Marks written: empty frames that say what is durable.
     */
    uint64_t marks;
    /**
     * Flushes of the device for records, durable writes included.
     */
    uint64_t flushes;
    /**
     * Bytes of frames, seals and marks written to the device; not those of
     * segments' headers, nor what prepares a file or rewrites one.
     */
    uint64_t device_bytes;
    /**
     * Always 0: no acknowledged block is ever written again.
     */
    uint64_t bytes_written_twice;
    /**
     * Segments made.
     */
    uint64_t segments_created;
    /**
     * Segments finished: rollovers.
     */
    uint64_t segments_sealed;
    /**
     * Segments released.
     */
    uint64_t segments_archived;
    /**
     * Segments removed.
     */
    uint64_t segments_removed;
    /**
     * Segments whose file was used again.
     */
    uint64_t segments_recycled;
    /**
     * Times the log waited for a segment to be prepared.
     */
    uint64_t spare_waits;
    /**
     * Times an append waited for room.
     */
    uint64_t ring_waits;
    /**
     * Bytes accepted and not yet written, now.
     */
    uint64_t ring_bytes;
    /**
     * Appends refused with TWAL_E_AGAIN.
     */
    uint64_t refused_again;
    /**
     * Appends refused with TWAL_E_TIMEOUT.
     */
    uint64_t refused_timeout;
    /**
     * Appends refused with TWAL_E_NOSPC.  An event of transactions that is
     * refused at options.log_size_max, and again behind the checkpoint that
     * it then writes, counts twice.
     */
    uint64_t refused_nospace;
    /**
     * Damaged records met by readers.
     */
    uint64_t corrupted_records;
    /**
     * Recoveries of what was there: 0 for a new log, else 1.
     */
    uint64_t recoveries;
    /**
     * 1 if a write or flush has failed, else 0.
     */
    uint64_t poisoned;
    /**
     * Bytes of a block.
     */
    uint64_t block_size;
    /**
     * Bytes of a new segment.
     */
    uint64_t segment_size;
    /**
     * Bytes of the ring.
     */
    uint64_t ring_size;
    /**
     * Bytes of payload of the largest record or batch.
     */
    uint64_t record_size_max;
    /**
     * The engine in use, such as "io_uring" or "blocking"; ends with a NUL.
     */
    char engine[16];
    /**
     * Why this engine and this way to make writes durable; ends with a NUL.
     */
    char engine_reason[256];
    /**
     * The file system, such as "ext4"; ends with a NUL.
     */
    char file_system[32];
    /**
     * Compactions that came to their end.
     */
    uint64_t compactions;
    /**
     * Segments that they have made smaller.
     */
    uint64_t segments_compacted;
    /**
     * Records that they have taken away.
     */
    uint64_t records_purged;
    /**
     * Bytes that the segments' files take less.
     */
    uint64_t compaction_bytes_saved;
    /**
     * Records accepted and not durable, now.
     */
    uint64_t queue_records;
    /**
     * Bytes that these take on the device, now.
     */
    uint64_t queue_bytes;
    /**
     * Frames that are being written, now.
     */
    uint64_t frames_in_flight;
    /**
     * Nanoseconds during which at least one write or flush of records was on its
     * way: of two calls, what it has risen by, divided by what elapsed_ns has,
     * is the device's share of busy time.
     */
    uint64_t device_busy_ns;
    /**
     * Nanoseconds since the log was opened.
     */
    uint64_t elapsed_ns;
    /**
     * Calls that asked for records to be durable before they return: appends that
     * wait; twal_sync() and twal_wait() where the records were not yet durable,
     * also a twal_wait() that only looks.
     */
    uint64_t durable_waits;
    /**
     * Appends refused with TWAL_E_POISONED.
     */
    uint64_t refused_poisoned;
    /**
     * Appends refused because the next segment's file could not be made for
     * another reason than room, such as TWAL_E_PERM or TWAL_E_NOMEM; or because
     * the log was closing.
     */
    uint64_t refused_other;
    /**
     * Attempts to prepare a segment's file that failed.
     */
    uint64_t spare_failures;
    /**
     * Automatic compactions that failed; each is tried again later.
     */
    uint64_t compactions_failed;
    /**
     * Events of sagas appended by the log's transaction managers.
     */
    uint64_t saga_events;
    /**
     * Events of two-phase commits.
     */
    uint64_t transaction_events;
    /**
     * Tombstones, purges and applied markers.
     */
    uint64_t stream_events;
    /**
     * Checkpoints that are durable.
     */
    uint64_t checkpoints;
    /**
     * Automatic checkpoints that failed; each is tried again later.
     */
    uint64_t checkpoints_failed;
    /**
     * Appends refused with TWAL_E_INVAL, unless the log was NULL; of a
     * reservation its beginning, not its twal_commit().
     */
    uint64_t refused_inval;
    /**
     * Appends refused with TWAL_E_TOOBIG.
     */
    uint64_t refused_toobig;
} twal_stats;

/**
 * How often which number was met since the log was opened.
 *
 * The buckets are the same for every kind, log and release, so that two
 * histograms can be added up, or taken from each other, number by number.
 * Bucket i counts the numbers above the bound of i - 1, up to its own bound,
 * which twal_histogram_bound(i) is: i + 1 for the first four, then
 * (5 + i % 4) << (i / 4 - 1), and UINT64_MAX for the last one.  That is 1, 2,
 * 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20 and so on: four buckets from one power
 * of two to the next.  0 is in the first bucket.
 */
typedef struct twal_histogram {
    /**
     * sizeof(twal_histogram), set by the caller.
     */
    uint64_t struct_size;
    /**
     * How many numbers: the sum of the buckets.
     */
    uint64_t count;
    /**
     * Their sum.
     */
    uint64_t sum;
    /**
     * The highest of them; 0 if there is none.
     */
    uint64_t max;
    /**
     * How many in each bucket.
     */
    uint64_t buckets[252];
} twal_histogram;

/**
 * What twal_open() found.
 */
typedef struct twal_recovery {
    /**
     * sizeof(twal_recovery), set by the caller.
     */
    uint64_t struct_size;
    /**
     * Oldest number that can be read; last_seq + 1 if there is none.
     */
    uint64_t first_seq;
    /**
     * Newest number.
     */
    uint64_t last_seq;
    /**
     * Records from first_seq to last_seq.
     */
    uint64_t records;
    /**
     * Highest number that the log itself proves was durable: no damage up to
     * it can pass for a torn write.
     */
    uint64_t witnessed_seq;
    /**
     * Segments that are not archived.
     */
    uint64_t segments;
    /**
     * Bytes behind the end that held something and were cut off.
     */
    uint64_t bytes_cut;
    /**
     * Frames that nothing proved durable; written again before this report.
     */
    uint64_t frames_rewritten;
    /**
     * Index of the segment where the log ends.
     */
    uint64_t end_segment;
    /**
     * Offset of the end in it, bytes.
     */
    uint64_t end_offset;
    /**
     * How long opening took, microseconds.
     */
    uint64_t duration_us;
    /**
     * 1 if twal_open() made a new log, else 0.
     */
    uint32_t created;
    /**
     * One of twal_tail.
     */
    uint32_t tail;
    /**
     * First number that twal_repair_apply() cut off; 0: it did not, or the
     * log has gone on to another segment since.  The number was given again.
     */
    uint64_t repaired_seq;
    /**
     * The last number that what was cut off still showed; below repaired_seq:
     * none.
     */
    uint64_t repaired_last_seq;
    /**
     * Segments that the repair dropped.
     */
    uint64_t repaired_segments;
    /**
     * Bytes of frames that it cut off in the segment where the log then ended.
     */
    uint64_t repaired_bytes;
    /**
     * How many holds there are.
     */
    uint64_t holds;
    /**
     * 1 if the holds are damaged, were lost or cannot be read, and so nothing
     * is released: see twal_hold_reset(); else 0.
     */
    uint64_t holds_damaged;
} twal_recovery;

/**
 * One damaged spot.  A number that is not known is 0.
 */
typedef struct twal_finding {
    /**
     * Bytes of this struct, set by twal; do not read beyond it.
     */
    uint64_t struct_size;
    /**
     * Index of the segment.
     */
    uint64_t segment;
    /**
     * Where in the file, bytes.
     */
    uint64_t offset;
    /**
     * First number concerned; of what holds no record, the next one.
     */
    uint64_t seq;
    /**
     * Last number concerned, as far as can be known; below seq: none.
     */
    uint64_t last_seq;
    /**
     * The record's tag, if has_stream is 1.
     */
    uint64_t stream;
    /**
     * What should be there: a checksum, a frame's identity, a count.
     */
    uint64_t expected;
    /**
     * What is there.
     */
    uint64_t found;
    /**
     * One of twal_finding_kind; treat one that you do not know as damage.
     */
    uint32_t kind;
    /**
     * One of twal_acknowledged.
     */
    uint32_t acknowledged;
    /**
     * 1 if stream is known: a single record, whose header holds.
     */
    uint32_t has_stream;
    /**
     * The operating system's error number, 0 if none was involved.
     */
    int32_t os_errno;
    /**
     * Name of the file, without the directory; valid during the call.
     */
    const char *file;
    /**
     * What it is, for people; valid during the call.
     */
    const char *text;
} twal_finding;

/**
 * What twal_verify() has read.
 */
typedef struct twal_verify_report {
    /**
     * sizeof(twal_verify_report), set by the caller.
     */
    uint64_t struct_size;
    /**
     * Segment files that were read, archived ones too.
     */
    uint64_t segments;
    /**
     * Frames that are whole.
     */
    uint64_t frames;
    /**
     * Records that are whole.
     */
    uint64_t records;
    /**
     * Bytes that were read.
     */
    uint64_t bytes;
    /**
     * How often found was called, or would have been.
     */
    uint64_t findings;
    /**
     * How many of these are damage; a torn end is none.
     */
    uint64_t damaged;
    /**
     * First number that is not released.
     */
    uint64_t first_seq;
    /**
     * Everything from first_seq up to here is whole; first_seq - 1 if nothing
     * is.
     */
    uint64_t last_good_seq;
    /**
     * Last number that a whole frame shows, a mark too, damage in front of it
     * or not.
     */
    uint64_t last_seq;
} twal_verify_report;

/**
 * One step of a plan.
 */
typedef struct twal_repair_step {
    /**
     * sizeof(twal_repair_step), set by the caller.
     */
    uint64_t struct_size;
    /**
     * Index of the segment; 0 if the file is none, as far as can be known.
     */
    uint64_t segment;
    /**
     * Where it is cut, or first written again, or ends now, bytes.
     */
    uint64_t offset;
    /**
     * First number that goes, or that the new segment begins with.
     */
    uint64_t first_seq;
    /**
     * Last number that goes, as far as can be known; below first_seq: none.
     */
    uint64_t last_seq;
    /**
     * One of twal_repair_kind.
     */
    uint32_t kind;
    /**
     * One of twal_acknowledged: whether some of what goes was acknowledged.
     */
    uint32_t acknowledged;
    /**
     * Name of the file, without the directory.
     */
    char file[256];
} twal_repair_step;

/**
 * A place in a log's bytes, from which shipping goes on: what twal_sink_position()
 * tells and twal_source_open() takes.
 *
 * Plain numbers: it may be sent to another process or machine of the same byte
 * order as it is.  All zeros behind struct_size: the very beginning.
 */
typedef struct twal_ship_position {
    /**
     * sizeof(twal_ship_position), set by the caller.
     */
    uint64_t struct_size;
    /**
     * Index of the segment; 0: nothing yet.
     */
    uint64_t index;
    /**
     * How often the segment had been compacted.
     */
    uint64_t generation;
    /**
     * Offset in its file, bytes.
     */
    uint64_t offset;
    /**
     * Identity of the last frame in front of it: it stands for all before.
     */
    uint64_t identity;
    /**
     * Every record up to this number is in front of it.  Of a sink's position:
     * what can be acknowledged.
     */
    uint64_t last_seq;
    /**
     * A hold at this number keeps at the source whatever is needed from here
     * on: what to give twal_hold_set().  0: everything there is.
     */
    uint64_t hold_seq;
    /**
     * 1: the segment is complete, the next byte is the next one's first.
     */
    uint64_t complete;
    /**
     * Which log.
     */
    uint8_t log_id[16];
    /**
     * Which history of it; a promotion begins a new one.
     */
    uint8_t history_id[16];
    /**
     * Salt of the segment's file.
     */
    uint8_t salt[16];
} twal_ship_position;

/**
 * Some bytes of one segment, as they are on disk: whole frames, or the header,
 * or what lies behind the seal.
 *
 * To send one, send the struct with data set to NULL, then the len bytes; who
 * receives them sets data to where they are.
 */
typedef struct twal_ship_piece {
    /**
     * sizeof(twal_ship_piece), set by the caller.
     */
    uint64_t struct_size;
    /**
     * Index of the segment.
     */
    uint64_t index;
    /**
     * How often it was compacted.
     */
    uint64_t generation;
    /**
     * Where in the segment's file the piece begins; 0: it is the header.
     */
    uint64_t offset;
    /**
     * So many bytes of it are zeros, which come first and are not in data.
     */
    uint64_t zeros;
    /**
     * Number of the segment's first record.
     */
    uint64_t first_seq;
    /**
     * With this piece a follower has every record up to this number.
     */
    uint64_t last_seq;
    /**
     * Index of the newest segment that the source has released; 0: none. It is
     * told with the records that were durable by then, a checkpoint that the
     * release goes by among them.
     */
    uint64_t archived;
    /**
     * Checksum of the numbers above, the ids and the bytes: damage on the way
     * shows.
     */
    uint64_t crc;
    /**
     * The bytes; valid until the next call on the source.
     */
    const void *data;
    /**
     * How many there are; may be 0 where there are zeros.
     */
    uint64_t len;
    /**
     * Which log.
     */
    uint8_t log_id[16];
    /**
     * Which history the log is in.
     */
    uint8_t history_id[16];
    /**
     * Salt of the segment's file.
     */
    uint8_t salt[16];
} twal_ship_piece;

/**
 * How a follower's directory is opened.  A field that is 0 has its default.
 */
typedef struct twal_sink_options {
    /**
     * sizeof(twal_sink_options).
     */
    uint64_t struct_size;
    /**
     * Of twal_open_flags, TWAL_OPEN_ALLOW_ANY_FS and
     * TWAL_OPEN_ALLOW_BUFFERED.
     */
    uint32_t flags;
    /**
     * One of twal_io_engine.
     */
    uint32_t io_engine;
    /**
     * Segments that the source has released are archived here, too, and so many
     * of them kept.  0: 64; UINT64_MAX: never remove one.
     */
    uint64_t max_retained_segments;
} twal_sink_options;

/**
 * How a manager works.  A field that is 0 has its default, so start from
 * TWAL_TXN_OPTIONS_INIT and set what you need.
 */
typedef struct twal_txn_options {
    /**
     * sizeof(twal_txn_options).
     */
    uint64_t struct_size;
    /**
     * Stream of the records that it writes.
     */
    uint64_t stream;
    /**
     * Events from one automatic checkpoint to the next: 1000; UINT64_MAX:
     * none.
     */
    uint64_t checkpoint_interval;
    /**
     * Bits of twal_txn_flags.
     */
    uint32_t flags;
    /**
     * An automatic compaction begins when about so many percent of the log's
     * records are needed no more: 50; at most 100.  Only those of operations
     * are counted: how much a tombstone or purge drops is known when segments
     * are read, so after one call twal_txn_compact(), or set compact_records.
     */
    uint32_t compact_percent;
    /**
     * Or when so many records were sealed since the last one: 10000;
     * UINT64_MAX: however many.
     */
    uint64_t compact_records;
} twal_txn_options;

/**
 * What a recovery of transactions found.
 */
typedef struct twal_txn_report {
    /**
     * sizeof(twal_txn_report), set by the caller.
     */
    uint64_t struct_size;
    /**
     * Number of the record it began with: the last checkpoint, or the log's
     * first record.
     */
    uint64_t from_seq;
    /**
     * Events replayed, checkpoints too.
     */
    uint64_t records_replayed;
    /**
     * Damaged records: always 0, for damage is an error.
     */
    uint64_t records_corrupted;
    /**
     * Checkpoints among the records replayed: at most one.
     */
    uint64_t checkpoints;
    /**
     * Operations that are not finished: twal_txn_unfinished_get() tells each.
     */
    uint64_t unfinished;
} twal_txn_report;

/**
 * An operation.
 */
typedef struct twal_txn_operation {
    /**
     * sizeof(twal_txn_operation), set by the caller.
     */
    uint64_t struct_size;
    /**
     * Its id, among those of its kind.
     */
    uint64_t id;
    /**
     * Number of its last record.
     */
    uint64_t last_seq;
    /**
     * Steps or participants.
     */
    uint64_t parts;
    /**
     * How many of them are done: steps that succeeded (in compensation: that
     * are undone), votes that came.
     */
    uint64_t done;
    /**
     * Who runs it: the program's bytes.
     */
    uint8_t coordinator[32];
    /**
     * One of twal_txn_kind.
     */
    uint32_t kind;
    /**
     * One of twal_resume.
     */
    uint32_t action;
    /**
     * One of twal_saga_state or twal_2pc_state.
     */
    uint32_t state;
    /**
     * 0.
     */
    uint32_t reserved;
} twal_txn_operation;

/**
 * What a manager has counted since twal_txn_recover(), and what it has now.
 *
 * Events count as soon as they have a number, durable or not, and operations are
 * as these leave them: a crash can take that back.
 */
typedef struct twal_txn_stats {
    /**
     * sizeof(twal_txn_stats), set by the caller.
     */
    uint64_t struct_size;
    /**
     * Events of sagas written.
     */
    uint64_t saga_events;
    /**
     * Events of two-phase commits written.
     */
    uint64_t tx_events;
    /**
     * Checkpoints that are durable.
     */
    uint64_t checkpoints;
    /**
     * Automatic checkpoints that failed; each is tried again later.
     */
    uint64_t checkpoints_failed;
    /**
     * Number of the last durable checkpoint, found or written.
     */
    uint64_t checkpoint_seq;
    /**
     * Sagas that are not finished.
     */
    uint64_t active_sagas;
    /**
     * Two-phase commits that are not finished.
     */
    uint64_t active_txs;
    /**
     * Bytes that the state of all operations takes in a checkpoint.
     */
    uint64_t state_bytes;
    /**
     * Tombstones, purges and applied markers written.
     */
    uint64_t stream_events;
    /**
     * Compactions that came to their end.
     */
    uint64_t compactions;
    /**
     * Automatic compactions that failed; each is tried again later.
     */
    uint64_t compactions_failed;
    /**
     * How often twal_txn_recover() has succeeded since the log was opened.
     */
    uint64_t recoveries;
} twal_txn_stats;

/**
 * A step of a saga, as it is added.  It never changes.
 */
typedef struct twal_saga_step {
    /**
     * Indices of the steps that must have succeeded before this one, each
     * added before it and named once; NULL if depends_on_count is 0.
     */
    const uint32_t *depends_on;
    /**
     * How many.  Steps that depend on none have level 0, others one more than
     * the highest that they depend on; the steps of a level run at once.
     */
    size_t depends_on_count;
    /**
     * What the program needs to undo it; not interpreted.  NULL if payload_len
     * is 0.
     */
    const void *payload;
    /**
     * Bytes of it, at most 65536.
     */
    size_t payload_len;
    /**
     * The program's number of the step, unique in its saga.
     */
    uint32_t index;
    /**
     * What is to be done, in the program's code: 0 to 255.
     */
    uint32_t action;
    /**
     * Must be 0.
     */
    uint64_t reserved[2];
} twal_saga_step;

/**
 * A saga, told as a whole.  Start from TWAL_SAGA_SPEC_INIT.
 */
typedef struct twal_saga_spec {
    /**
     * sizeof(twal_saga_spec).
     */
    uint64_t struct_size;
    /**
     * 0: the next one.  Else above every earlier saga's, and at most 2^63.
     */
    uint64_t id;
    /**
     * Its steps; one that depends on others comes after them.  NULL if
     * step_count is 0.
     */
    const twal_saga_step *steps;
    /**
     * How many, at most 1024.
     */
    size_t step_count;
    /**
     * Who runs it: the program's bytes.
     */
    uint8_t coordinator[32];
    /**
     * Bits of twal_saga_flags.
     */
    uint32_t flags;
    /**
     * Must be 0.
     */
    uint32_t reserved;
} twal_saga_spec;

/**
 * A step, as it is.  It never changes.
 */
typedef struct twal_saga_step_info {
    /**
     * As it was added.
     */
    uint32_t index;
    /**
     * As it was added.
     */
    uint32_t action;
    /**
     * See twal_saga_step.depends_on_count.
     */
    uint32_t level;
    /**
     * One of twal_step_state.
     */
    uint32_t state;
    /**
     * See twal_step_state; else 0.
     */
    uint32_t number;
    /**
     * Bytes of its payload: twal_saga_payload_get() has them.
     */
    uint32_t payload_len;
    /**
     * 0.
     */
    uint64_t reserved[2];
} twal_saga_step_info;

/**
 * One shard's part in a two-phase commit.  It never changes.
 */
typedef struct twal_2pc_participant {
    /**
     * Which shard: the program's bytes, unique in its two-phase commit.
     */
    uint8_t shard[32];
    /**
     * Which node has it: the program's bytes.
     */
    uint8_t node[32];
    /**
     * One of twal_vote; must be 0 where it is added.
     */
    uint32_t vote;
    /**
     * Must be 0.
     */
    uint32_t reserved[3];
} twal_2pc_participant;

/**
 * A two-phase commit, told as a whole.  Start from TWAL_2PC_SPEC_INIT.
 */
typedef struct twal_2pc_spec {
    /**
     * sizeof(twal_2pc_spec).
     */
    uint64_t struct_size;
    /**
     * 0: the next one.  Else above every earlier two-phase commit's, and at
     * most 2^63.
     */
    uint64_t id;
    /**
     * Its participants; NULL if participant_count is 0.
     */
    const twal_2pc_participant *participants;
    /**
     * How many, at most 64.
     */
    size_t participant_count;
    /**
     * Who runs it: the program's bytes.
     */
    uint8_t coordinator[32];
} twal_2pc_spec;

/**
 * One action, as a function of twal_txn_participants is asked for it.
 *
 * Valid during the call.  Later releases may put more behind it: struct_size
 * says how much there is.
 */
typedef struct twal_txn_action {
    /**
     * How long this is.
     */
    uint64_t struct_size;
    /**
     * The operation's id.
     */
    uint64_t id;
    /**
     * The action's name, the same after every crash.
     */
    uint8_t token[16];
    /**
     * Who ran the operation.
     */
    uint8_t coordinator[32];
    /**
     * One of twal_txn_kind.
     */
    uint32_t kind;
    /**
     * One of twal_direction.
     */
    uint32_t direction;
    /**
     * 1 the first time in this resume.
     */
    uint32_t attempt;
    /**
     * Sagas: index of the step.
     */
    uint32_t step;
    /**
     * Sagas: the step's action.
     */
    uint32_t action;
    /**
     * Sagas: bytes of payload.
     */
    uint32_t payload_len;
    /**
     * Sagas: what the step was given to be undone with; never NULL.
     */
    const void *payload;
    /**
     * Two-phase commits: which shard.
     */
    uint8_t shard[32];
    /**
     * Two-phase commits: which node has it.
     */
    uint8_t node[32];
} twal_txn_action;

/**
 * A function of the program's that carries out an action.
 */
typedef int (*twal_txn_act)(void *arg,
                            const twal_txn_action *action,
                            uint32_t *error_out);

/**
 * Who carries actions out.  Start from TWAL_TXN_PARTICIPANTS_INIT; no function
 * may be NULL.
 *
 * Each gets arg, the action, and where an error number goes, and answers with
 * one of twal_outcome.  Each is called by several threads at once, unless
 * twal_txn_resume_options.threads is 1.  It may call every function of twal
 * but twal_txn_resume() and twal_txn_close() of this manager.  It must not
 * throw, longjmp() or end its thread.
 */
typedef struct twal_txn_participants {
    /**
     * sizeof(twal_txn_participants).
     */
    uint64_t struct_size;
    /**
     * Is passed on; twal does not look at it.
     */
    void *arg;
    /**
     * Does a step.  TWAL_FAILED: the saga is compensated.
     */
    twal_txn_act execute;
    /**
     * Undoes a step.  TWAL_FAILED: the saga is left, compensating.
     */
    twal_txn_act compensate;
    /**
     * Makes a shard's part final, as its vote has promised.  TWAL_FAILED: the
     * two-phase commit is left, committing.
     */
    twal_txn_act commit;
    /**
     * Drops a shard's part; also of one that has none.
     */
    twal_txn_act abort;
    /**
     * Undoes a shard's part that may be final.
     */
    twal_txn_act rollback;
} twal_txn_participants;

/**
 * How operations are resumed.  A field that is 0 has its default, so start
 * from TWAL_TXN_RESUME_OPTIONS_INIT and set what you need.
 */
typedef struct twal_txn_resume_options {
    /**
     * sizeof(twal_txn_resume_options).
     */
    uint64_t struct_size;
    /**
     * Before the second try of an action, microseconds: 100,000.  It doubles
     * each time.
     */
    uint64_t retry_delay_us;
    /**
     * The longest such wait, microseconds: 10,000,000.
     */
    uint64_t retry_delay_max_us;
    /**
     * Times that one action is asked for: 10.
     */
    uint32_t attempts_max;
    /**
     * Threads that call at once, the caller among them: 4.  At most 256.
     */
    uint32_t threads;
} twal_txn_resume_options;

/**
 * What a resume came to.
 */
typedef struct twal_txn_resumed {
    /**
     * sizeof(twal_txn_resumed), set by the caller.
     */
    uint64_t struct_size;
    /**
     * Operations that it finished.
     */
    uint64_t finished;
    /**
     * Calls of the program's functions.
     */
    uint64_t calls;
    /**
     * Those among them that were not the first try.
     */
    uint64_t retries;
    /**
     * Operations that twal_txn_recover() found, or twal_import() brought, and
     * that are not finished: twal_txn_left_get() tells each.
     */
    uint64_t left;
} twal_txn_resumed;

/**
 * The tombstone of a stream.
 */
typedef struct twal_tombstone_info {
    /**
     * sizeof(twal_tombstone_info), set by the caller.
     */
    uint64_t struct_size;
    /**
     * The stream.
     */
    uint64_t stream;
    /**
     * The first number that stays, at most the tombstone's own.
     */
    uint64_t below_seq;
    /**
     * Bytes of name.
     */
    uint64_t name_len;
    /**
     * What the program calls the stream; zeros behind it.
     */
    uint8_t name[256];
} twal_tombstone_info;

/**
 * The last purge of a stream.
 */
typedef struct twal_purge_info {
    /**
     * sizeof(twal_purge_info), set by the caller.
     */
    uint64_t struct_size;
    /**
     * The first timestamp that stays.
     */
    int64_t before;
    /**
     * How many records the program said it purged.
     */
    uint64_t purged;
    /**
     * The program's tag.
     */
    uint64_t tag;
} twal_purge_info;

/**
 * The last applied marker of a stream.
 */
typedef struct twal_applied_info {
    /**
     * sizeof(twal_applied_info), set by the caller.
     */
    uint64_t struct_size;
    /**
     * The other side's epoch.
     */
    uint64_t epoch;
    /**
     * The place in it.
     */
    uint64_t position;
} twal_applied_info;

/**
 * What is compacted.  A field that is 0 has its default, so start from
 * TWAL_COMPACT_OPTIONS_INIT and set what you need.
 */
typedef struct twal_compact_options {
    /**
     * sizeof(twal_compact_options).
     */
    uint64_t struct_size;
    /**
     * Only segments whose files become smaller by so many bytes; 0: by any.
     */
    uint64_t saving_min;
    /**
     * Bits of twal_compact_flags.
     */
    uint32_t flags;
    /**
     * Must be 0.
     */
    uint32_t reserved;
} twal_compact_options;

/**
 * What a compaction did.
 */
typedef struct twal_compaction {
    /**
     * sizeof(twal_compaction), set by the caller.
     */
    uint64_t struct_size;
    /**
     * Number of the checkpoint that it went by.
     */
    uint64_t checkpoint_seq;
    /**
     * Segments that were read; the others have not changed since they were.
     */
    uint64_t segments_read;
    /**
     * Segments that became smaller.
     */
    uint64_t segments_compacted;
    /**
     * Records that went: the sum of the next four.
     */
    uint64_t records_purged;
    /**
     * Of finished operations.
     */
    uint64_t events_purged;
    /**
     * Older checkpoints.
     */
    uint64_t checkpoints_purged;
    /**
     * Tombstones, purges and applied markers that later ones replace.
     */
    uint64_t stream_events_purged;
    /**
     * The program's, which a tombstone or purge drops.
     */
    uint64_t dropped_purged;
    /**
     * Records of operations that are kept in the segments looked at.
     */
    uint64_t events_kept;
    /**
     * All records that are kept in them.
     */
    uint64_t records_kept;
    /**
     * Bytes that their files took.
     */
    uint64_t bytes_before;
    /**
     * Bytes that they take less.
     */
    uint64_t bytes_saved;
} twal_compaction;

/**
 * How files of the v2.6 layout are read and written.  A field that is 0 has
 * its default, so start from TWAL_V26_OPTIONS_INIT and set what you need.
 */
typedef struct twal_v26_options {
    /**
     * sizeof(twal_v26_options).
     */
    uint64_t struct_size;
    /**
     * Writing: the first number wanted; 0: the oldest.  If that is released
     * while it is written, the oldest that there is then.
     */
    uint64_t from_seq;
    /**
     * Writing: bytes that a file has at most: 64 MiB.  One record it always
     * has, if that alone is longer, too.
     */
    uint64_t file_size_max;
    /**
     * Writing: records that a file has at most: 100000.
     */
    uint64_t file_records_max;
    /**
     * Bits of twal_v26_flags.
     */
    uint32_t flags;
    /**
     * Must be 0.
     */
    uint32_t reserved;
} twal_v26_options;

/**
 * What files of the v2.6 layout hold, and what of it was imported.
 */
typedef struct twal_v26_report {
    /**
     * sizeof(twal_v26_report), set by the caller.
     */
    uint64_t struct_size;
    /**
     * Files read.
     */
    uint64_t files;
    /**
     * Records in them.
     */
    uint64_t records;
    /**
     * Number of the first, in the files.
     */
    uint64_t first_seq;
    /**
     * Number of the last, in the files.
     */
    uint64_t last_seq;
    /**
     * Damaged places that were passed over.
     */
    uint64_t damaged;
    /**
     * Bytes at the end of the last file that an interrupted write left.
     */
    uint64_t torn_bytes;
    /**
     * Events that are legal.
     */
    uint64_t replayed;
    /**
     * Checkpoints.
     */
    uint64_t checkpoints;
    /**
     * Records that are no event of the layout, or not legal.
     */
    uint64_t wrong;
    /**
     * Operations that contradict themselves; behind damage that was passed
     * over, also those that are not finished.
     */
    uint64_t isolated;
    /**
     * Operations that are not finished.
     */
    uint64_t unfinished;
    /**
     * Import: events written that the files hold.
     */
    uint64_t imported;
    /**
     * Import: events written that the original left out.
     */
    uint64_t added;
    /**
     * Import: records left out, of isolated operations.
     */
    uint64_t left_out;
    /**
     * Import: number of the first event in the log; 0: none.
     */
    uint64_t log_first_seq;
    /**
     * Import: number of the last event in the log.
     */
    uint64_t log_last_seq;
    /**
     * The first record that is wrong: number of its file.
     */
    uint64_t wrong_file;
    /**
     * Its offset there.
     */
    uint64_t wrong_offset;
    /**
     * Its number, in the files; all three are 0 if none is wrong.
     */
    uint64_t wrong_seq;
} twal_v26_report;

/**
 * Is told each record's number in the files and in the log, in order.
 */
typedef void (*twal_v26_told)(void *arg,
                              uint64_t old_seq,
                              uint64_t new_seq);

/**
 * What an export wrote, and what it left out because the layout cannot hold it.
 */
typedef struct twal_v26_exported {
    /**
     * sizeof(twal_v26_exported), set by the caller.
     */
    uint64_t struct_size;
    /**
     * Files.
     */
    uint64_t files;
    /**
     * Records in them.
     */
    uint64_t records;
    /**
     * Bytes in them.
     */
    uint64_t bytes;
    /**
     * Left out: records of the program's own.
     */
    uint64_t program;
    /**
     * Left out: tombstones, purges and applied markers.
     */
    uint64_t streams;
    /**
     * Written without dependencies and compensation payload: steps.
     */
    uint64_t steps;
    /**
     * Written without the tag of their stream: records.
     */
    uint64_t tags;
    /**
     * Left out: records of operations whose beginning is not in what is
     * exported: it was released, or compacted, which takes finished operations
     * away from the front.
     */
    uint64_t headless;
    /**
     * Those operations.
     */
    uint64_t headless_operations;
    /**
     * Left out: records of operations with an id above 2^63, which no file of
     * the layout may have.
     */
    uint64_t high;
    /**
     * Those operations.
     */
    uint64_t high_operations;
} twal_v26_exported;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * The version of the library that is running: 1000000 * major + 1000 * minor
 * + patch, so that later releases compare greater.
 *
 * TWAL_VERSION_NUMBER is the version of the header that was compiled against.
 * A library is good for a program if it has the same major number (below 1.0:
 * the same minor number too) and is not older.
 *
 * Blocks:  no.
 * Threads: any.
 * Signals: async-signal-safe.
 * Since:   0.1
 */
uint32_t twal_version_number(void);

/**
 * The same version as text, such as "0.1.0".
 *
 * The text is constant; never NULL, never freed.
 *
 * Blocks:  no.
 * Threads: any.
 * Signals: async-signal-safe.
 * Since:   0.1
 */
const char *twal_version_string(void);

/**
 * What a code means, in a few words of English.
 *
 * The text is constant; never NULL, never freed; "unknown code" for a number
 * that is none of twal_code.  twal_last_error() tells more about a failure.
 *
 * Blocks:  no.
 * Threads: any.
 * Signals: async-signal-safe.
 * Since:   0.1
 */
const char *twal_strerror(int code);

/**
 * Tells what the last failed twal call of this thread failed of.
 *
 * Every failure of every function is noted here, a success changes nothing:
 * ask only after a failure, on the same thread, before the next call fails.
 * What failed on one of twal's own threads is noted for each thread that
 * waited for it.  If nothing has failed on this thread yet, code is TWAL_OK
 * and the text is empty.
 *
 *   error_out  receives the detail; its struct_size must be set, as
 *              TWAL_ERROR_INIT does.  Untouched on failure.
 *
 * Returns TWAL_OK, or
 *
 *   TWAL_E_INVAL  error_out is NULL, or its struct_size is no size that a
 *                 release of twal ever had; this is then the last failure
 *
 * Blocks:  no.
 * Threads: any; each sees its own failures only.
 * Signals: not async-signal-safe.
 * Since:   0.1
 */
int twal_last_error(twal_error *error_out);

/**
 * Opens the log in a directory, or makes one.
 *
 * When this returns TWAL_OK the log is recovered: every record that was ever
 * acknowledged as durable is there, nothing behind it, and what
 * twal_recovery_get() reports will not change any more, whatever happens.
 * Only the last component of dir is created (mode 0700; files 0600; less the
 * umask).  Files not named twal-* are left alone.
 *
 * A follower's directory (twal_sink_open()) opens with TWAL_OPEN_READ_ONLY, also
 * beside its sink in another process: what is read is what its position says is
 * durable, everything up to there, and it grows with that.  When the follower is
 * promoted the handle goes on as a reader of the log that it has become.  Nothing
 * can be held there (twal_hold_set()).  Where another copy was put in its place,
 * readers get TWAL_E_STATE from then on.
 *
 *   dir      path of the directory
 *   options  how to open; NULL: all defaults
 *   log_out  receives the handle; give it back with twal_close().
 *            Untouched on failure.
 *
 * Returns TWAL_OK, or
 *
 *   TWAL_E_INVAL        dir or log_out is NULL, dir is empty or not a
 *                       directory, an option is out of its range or an
 *                       unknown flag, or block_size is not the log's
 *   TWAL_E_LOCKED       another process, or another handle of this one, has
 *                       the log open for writing; or a killed process' last
 *                       write was still in flight after 2 seconds
 *   TWAL_E_STATE        the directory is a follower's: it opens for reading only,
 *                       until twal_sink_promote() makes it a log
 *   TWAL_E_NOTFOUND     the parent directory is missing; or there is no log,
 *                       and NO_CREATE or READ_ONLY was set; or READ_ONLY, and
 *                       the follower there has nothing yet
 *   TWAL_E_PERM         the operating system refuses access
 *   TWAL_E_NOSPC        no space for a new log
 *   TWAL_E_NOMEM        no memory, thread or file descriptor left
 *   TWAL_E_IO           the device failed, or bytes could not be read
 *   TWAL_E_BUSY         read-only: a writer changes the log too fast; try again
 *   TWAL_E_UNSUPPORTED  the file system cannot keep the promise or has no
 *                       O_DIRECT (see twal_open_flags); the engine asked for
 *                       is not available; or options say something that this
 *                       release does not know
 *   TWAL_E_CORRUPT      acknowledged data is damaged; TWAL_OPEN_READ_ONLY
 *                       opens it and yields everything before the damage
 *   TWAL_E_VERSION      written by a release that this one cannot read
 *   TWAL_E_KEY          it is encrypted, and the key is missing or wrong
 *
 * After TWAL_E_INVAL nothing was created.
 *
 * Blocks:  on the device, for as long as recovery reads; up to 2 seconds for
 *          a lock, or with TWAL_OPEN_READ_ONLY for a log that changes at
 *          every look.
 * Threads: any.
 * Signals: not async-signal-safe.
 * Since:   0.1
 */
TWAL_CHECK
int twal_open(const char *dir,
              const twal_options *options,
              twal_log **log_out);

/**
 * Makes everything accepted durable, then closes the log and frees the handle.
 *
 * Always frees, whatever it returns but TWAL_E_STATE: the handle must not be
 * used again.
 * Callers that wait inside other functions get TWAL_E_CLOSED and are let out
 * first; no new call may begin on the handle once this one has.  Returns only
 * when every write ever issued has completed and the lock is given back.
 * Iterators stay valid; they answer TWAL_E_CLOSED until they are closed.
 * Reservations that are left can never be committed any more; each keeps the
 * log's memory until twal_commit() or twal_cancel() was called for it.
 *
 *   log  the log; NULL does nothing
 *
 * Returns TWAL_OK, or
 *
 *   TWAL_E_IO        a write or flush failed: the fate of what was not yet
 *                    acknowledged as durable is unknown until the next open
 *   TWAL_E_POISONED  the same, and it had failed before
 *   TWAL_E_NOMEM, TWAL_E_NOSPC
 *                    the system could not give a lock back; it goes with the
 *                    descriptor, and everything is durable
 *   TWAL_E_CLOSED    another thread is inside twal_close() for this handle
 *   TWAL_E_STATE     called by what the log itself calls (see twal_sync_async(),
 *                    twal_message_callback()): the one case in which the log
 *                    stays open
 *
 * In a fork()ed child it frees, touches neither disk nor lock, and returns
 * TWAL_OK.
 *
 * Blocks:  on the device.
 * Threads: any; exactly one, once.
 * Signals: not async-signal-safe.
 * Since:   0.1
 */
int twal_close(twal_log *log);

/**
 * Appends one record of type 0x0100 and stream 0, stamped by the logical
 * clock, as the log's durability says.
 *
 * With TWAL_SYNC the record is durable when this returns; with TWAL_GROUP and
 * TWAL_ASYNC it is accepted, and becomes durable by itself (batch_delay_us,
 * flush_interval_ms), by twal_sync(), or by what others append.  The payload
 * is copied: the buffer is yours again at once.  If one append returned
 * before another began, its number is smaller.  Numbers start at 1 and have
 * no gaps.
 *
 *   log      an open log
 *   data     the payload; NULL only if len is 0
 *   len      bytes of payload; 0 makes an empty record, which is allowed
 *   seq_out  receives the record's number; NULL if you do not need it.
 *            Untouched on failure.
 *
 * Returns TWAL_OK, or
 *
 *   TWAL_E_INVAL      log is NULL, or data is NULL and len is not 0
 *   TWAL_E_TOOBIG     len is above options.record_size_max
 *   TWAL_E_FORKED     this process is a fork()ed child
 *   TWAL_E_CLOSED     twal_close() has begun
 *   TWAL_E_READ_ONLY  the log is open for reading only
 *   TWAL_E_POISONED   an earlier write or flush failed
 *   TWAL_E_IO         this record's write or flush failed
 *   TWAL_E_NOSPC      the device is full, or the log is as large as
 *                     options.log_size_max allows; append again when there is
 *                     space
 *   TWAL_E_PERM, TWAL_E_NOMEM, TWAL_E_UNSUPPORTED
 *                     the next segment's file could not be made: no right, no
 *                     memory or file descriptor left, a filter forbids the
 *                     system call; append again later.  If it was made, and
 *                     could only not be given its name, the log is poisoned
 *                     as by TWAL_E_IO (twal_stats.poisoned)
 *   TWAL_E_TIMEOUT    no room within options.append_timeout_us
 *   TWAL_E_PANIC      a bug in twal was caught
 *
 * After TWAL_E_IO, TWAL_E_POISONED and TWAL_E_PANIC, and whatever else the log
 * is poisoned by, the record's fate is unknown until the next open: it is there
 * or it is not.  After any other error nothing was written and no number was
 * used.
 *
 * Blocks:  with TWAL_SYNC until the record is durable; else only while there
 *          is no room for it.
 * Threads: any.
 * Signals: not async-signal-safe.
 * Since:   0.1
 */
TWAL_CHECK
int twal_append(twal_log *log,
                const void *data,
                size_t len,
                uint64_t *seq_out);

/**
 * Appends one record that says its stream, timestamp, type and how to append.
 *
 * As twal_append(); entry.flags overrides the log's durability for this call.
 *
 *   log      an open log
 *   entry    the record; start from TWAL_ENTRY_INIT
 *   seq_out  receives the record's number; NULL if you do not need it.
 *            Untouched on failure.
 *
 * Returns what twal_append() returns, and
 *
 *   TWAL_E_INVAL  also: entry is NULL; type is 1 to 0x00FF, which are twal's,
 *                 or above 0xFFFF; flags has unknown bits, or both
 *                 TWAL_APPEND_SYNC and TWAL_APPEND_NO_SYNC; reserved is not 0
 *   TWAL_E_AGAIN  no room now, and TWAL_APPEND_NO_WAIT is set; nothing was
 *                 written, no number was used
 *
 * Blocks:  as twal_append(), with entry.flags: TWAL_APPEND_SYNC until the
 *          record is durable; TWAL_APPEND_NO_WAIT never for room.
 * Threads: any.
 * Signals: not async-signal-safe.
 * Since:   0.1
 */
TWAL_CHECK
int twal_append_entry(twal_log *log,
                      const twal_entry *entry,
                      uint64_t *seq_out);

/**
 * Appends several records as one: all of them or none, now and after any
 * crash, with numbers that follow each other.
 *
 * As twal_append_entry().  No reader sees a part of a batch as the log's end.
 *
 *   log            an open log
 *   entries        the records
 *   count          how many, at least 1
 *   first_seq_out  receives the first one's number, the last one's is
 *                  count - 1 above; NULL if you do not need it.  Untouched on
 *                  failure.
 *
 * Returns what twal_append_entry() returns, and
 *
 *   TWAL_E_INVAL   also: entries is NULL, count is 0, or flags is not the
 *                  same in all of them
 *   TWAL_E_TOOBIG  the payloads in sum are above options.record_size_max, or
 *                  do not fit an empty segment with the 40 bytes in front of
 *                  each
 *
 * Blocks:  as twal_append_entry().
 * Threads: any.
 * Signals: not async-signal-safe.
 * Since:   0.1
 */
TWAL_CHECK
int twal_append_batch(twal_log *log,
                      const twal_entry *entries,
                      size_t count,
                      uint64_t *first_seq_out);

/**
 * Makes every record up to a number durable.
 *
 *   log  an open log
 *   seq  the last number that must be durable when this returns; 0: all that
 *        were accepted when the call began
 *
 * Returns TWAL_OK, or
 *
 *   TWAL_E_INVAL      log is NULL, or seq is above twal_last_seq()
 *   TWAL_E_FORKED     this process is a fork()ed child
 *   TWAL_E_CLOSED     twal_close() has begun
 *   TWAL_E_READ_ONLY  the log is open for reading only
 *   TWAL_E_POISONED   an earlier write or flush failed
 *   TWAL_E_IO         the write or flush failed
 *   TWAL_E_PANIC      a bug in twal was caught
 *
 * Blocks:  on the device, unless seq is durable already.
 * Threads: any.
 * Signals: not async-signal-safe.
 * Since:   0.1
 */
TWAL_CHECK
int twal_sync(twal_log *log,
              uint64_t seq);

/**
 * Waits until every record up to a number is durable, without asking for it.
 *
 * Starts no flush of its own: what makes the records durable is the log's
 * durability, other appends, or twal_sync().
 *
 *   log         an open log
 *   seq         the number to wait for; 0: all that were accepted when the
 *               call began
 *   timeout_ns  nanoseconds; 0 looks and does not wait; below 0: for ever
 *
 * Returns TWAL_OK, also on a poisoned log if seq was durable before, or
 *
 *   TWAL_E_INVAL     log is NULL
 *   TWAL_E_FORKED    this process is a fork()ed child
 *   TWAL_E_CLOSED    twal_close() has begun
 *   TWAL_E_READ_ONLY the log is open for reading only
 *   TWAL_E_POISONED  an earlier write or flush failed
 *   TWAL_E_IO        the write or flush failed while this waited
 *   TWAL_E_TIMEOUT   not durable yet
 *   TWAL_E_PANIC     a bug in twal was caught
 *
 * Blocks:  for up to timeout_ns.
 * Threads: any.
 * Signals: not async-signal-safe; a handled signal does not end the wait.
 * Since:   0.1
 */
TWAL_CHECK
int twal_wait(twal_log *log,
              uint64_t seq,
              int64_t timeout_ns);

/**
 * The oldest number that can be read; twal_last_seq() + 1 if there is none.
 *
 *   log  an open log
 *
 * Returns the number; 0 if log is NULL, is being closed, or belongs to this
 * process' parent, as twal_last_error() then tells.
 *
 * Blocks:  no.
 * Threads: any.
 * Signals: not async-signal-safe.
 * Since:   0.1
 */
uint64_t twal_first_seq(const twal_log *log);

/**
 * The newest number that was accepted; 0 if there is none yet.
 *
 * Of a log that is open for reading only: the newest that can be read, which
 * rises when a twal_iter_next() comes to the end and looks further.
 *
 *   log  an open log
 *
 * Returns the number; 0 also if log is NULL, is being closed, or belongs to
 * this process' parent, as twal_last_error() then tells.
 *
 * Blocks:  no.
 * Threads: any.
 * Signals: not async-signal-safe.
 * Since:   0.1
 */
uint64_t twal_last_seq(const twal_log *log);

/**
 * The newest number that is durable, with all before it; 0 if there is none.
 *
 * Never falls, and is always the end of a batch.  Cheap enough to be asked in
 * a loop: one load.  Of a log that is open for reading only it is
 * twal_last_seq().
 *
 *   log  an open log; unlike with other calls, twal_close() does not wait for
 *        a thread that is in this one
 *
 * Returns the number; 0 also if log is NULL or belongs to this process'
 * parent, as twal_last_error() then tells.
 *
 * Blocks:  no.
 * Threads: any.
 * Signals: not async-signal-safe.
 * Since:   0.1
 */
uint64_t twal_durable_seq(const twal_log *log);

/**
 * Releases the records below a number: they are not needed any more.
 *
 * Whole segments only, and never past a hold: what is released is archived,
 * leaves reading, and is removed or used again once there are more than
 * options.max_retained_segments such segments.  twal_first_seq() tells how
 * far it went.  What a hold keeps is released when the hold has moved on: see
 * twal_hold_set().  Without a call like this nothing is ever removed.
 *
 * A program with transactions calls twal_txn_recover() first, each time that
 * it has opened the log: only from then on no trim releases what the manager
 * needs.  A trim before that may release it, operations that are not finished
 * too; twal_txn_recover() then finds them gone, without an error where nothing
 * is left of them, and ids and tokens begin anew.
 *
 *   log        an open log
 *   below_seq  the oldest number still needed; up to twal_last_seq() + 1
 *
 * Returns TWAL_OK, also if nothing could be released, or
 *
 *   TWAL_E_INVAL      log is NULL, or below_seq is above twal_last_seq() + 1
 *   TWAL_E_FORKED     this process is a fork()ed child
 *   TWAL_E_CLOSED     twal_close() has begun
 *   TWAL_E_READ_ONLY  the log is open for reading only
 *   TWAL_E_POISONED   an earlier write or flush failed
 *   TWAL_E_IO         the directory could not be read or flushed: the log is
 *                     poisoned; or twal-holds could not be read: it is not
 *   TWAL_E_CORRUPT    twal-holds is damaged or was lost: nothing is released,
 *                     see twal_hold_reset(); or what was to be removed is no
 *                     file: a repair takes it out
 *   TWAL_E_VERSION    it is a later release's
 *   TWAL_E_LOCKED     another process was changing it for 2 seconds
 *   TWAL_E_PERM, TWAL_E_NOSPC, TWAL_E_NOMEM
 *                     a name could not be changed; what was not released is
 *                     still there, and the call can be made again
 *   TWAL_E_PANIC      a bug in twal was caught
 *
 * Works on a full device.
 *
 * Blocks:  on the device.
 * Threads: any.
 * Signals: not async-signal-safe.
 * Since:   0.1
 */
int twal_trim(twal_log *log,
              uint64_t below_seq);

/**
 * Seals the active segment now and begins the next one.
 *
 * What was accepted before is durable and in sealed segments when this
 * returns, so that it can be archived, shipped or released.
 *
 *   log  an open log
 *
 * Returns TWAL_OK, or
 *
 *   TWAL_E_INVAL      log is NULL
 *   TWAL_E_FORKED     this process is a fork()ed child
 *   TWAL_E_CLOSED     twal_close() has begun
 *   TWAL_E_READ_ONLY  the log is open for reading only
 *   TWAL_E_POISONED   an earlier write or flush failed
 *   TWAL_E_IO         a write or flush failed
 *   TWAL_E_NOSPC      no space for the next segment
 *   TWAL_E_PERM, TWAL_E_NOMEM, TWAL_E_UNSUPPORTED
 *                     its file could not be made; nothing was changed
 *   TWAL_E_PANIC      a bug in twal was caught
 *
 * Blocks:  on the device.
 * Threads: any.
 * Signals: not async-signal-safe.
 * Since:   0.1
 */
int twal_roll(twal_log *log);

/**
 * Appends one record whose payload is several parts, one after the other.
 *
 * As twal_append_entry() with a payload put together before, without putting
 * it together: each byte is copied once, to where the device takes it from.
 *
 *   log      an open log
 *   entry    the record; start from TWAL_ENTRY_INIT.  Its data is NULL, its
 *            len is 0.
 *   parts    the parts, of which every one may be empty; NULL only if count
 *            is 0
 *   count    how many; 0 makes an empty record
 *   seq_out  receives the record's number; NULL if you do not need it.
 *            Untouched on failure.
 *
 * Returns what twal_append_entry() returns, and
 *
 *   TWAL_E_INVAL   also: entry.data is not NULL or entry.len not 0; parts is
 *                  NULL and count is not 0; a part's data is NULL and its len
 *                  is not 0
 *   TWAL_E_TOOBIG  the parts in sum are above options.record_size_max
 *
 * Blocks:  as twal_append_entry().
 * Threads: any.
 * Signals: not async-signal-safe.
 * Since:   0.1
 */
TWAL_CHECK
int twal_append_gather(twal_log *log,
                       const twal_entry *entry,
                       const twal_part *parts,
                       size_t count,
                       uint64_t *seq_out);

/**
 * Takes room for one record in the log's memory, for its payload to be written
 * there in place: read from a socket, for instance, and copied nowhere.
 *
 * No number is given, and nothing is written: twal_commit() does that, and
 * twal_cancel() gives the room back.  Made for records of a few KiB and more:
 * each one begins a frame, so single small ones are better appended.
 *
 * A reservation takes up its room in the ring (options.ring_size) until it is
 * committed or cancelled.  Where reservations leave too little, appends and
 * further reservations wait as they do for a slow device, for ever if nobody
 * else commits: a thread that holds some and waits for more should say
 * TWAL_APPEND_NO_WAIT.  There are at most 512 in a log, less the frames that
 * are being written.  One that is larger than the ring has a buffer of its
 * own, one at a time.
 *
 *   log              an open log
 *   entry            the record; start from TWAL_ENTRY_INIT.  Its data is
 *                    NULL, its len the room wanted.  Its flags hold for this
 *                    call and for twal_commit().
 *   reservation_out  receives the reservation.  Untouched on failure.
 *
 * Returns TWAL_OK, or
 *
 *   TWAL_E_INVAL      log, entry or reservation_out is NULL; entry.data is not
 *                     NULL; or what twal_append_entry() refuses in an entry
 *   TWAL_E_TOOBIG     entry.len is above options.record_size_max
 *   TWAL_E_FORKED     this process is a fork()ed child
 *   TWAL_E_CLOSED     twal_close() has begun
 *   TWAL_E_READ_ONLY  the log is open for reading only
 *   TWAL_E_POISONED   an earlier write or flush failed
 *   TWAL_E_AGAIN      no room now, and TWAL_APPEND_NO_WAIT is set
 *   TWAL_E_TIMEOUT    no room within options.append_timeout_us
 *   TWAL_E_NOMEM      no memory left
 *   TWAL_E_PANIC      a bug in twal was caught
 *
 * Blocks:  while there is no room; with TWAL_APPEND_NO_WAIT never.
 * Threads: any.  Another one may write the payload and commit it.
 * Signals: not async-signal-safe.
 * Since:   0.1
 */
TWAL_CHECK
int twal_reserve(twal_log *log,
                 const twal_entry *entry,
                 twal_reservation *reservation_out);

/**
 * Makes what was written into a reservation a record, and gives it its number.
 *
 * As twal_append_entry() with the entry given to twal_reserve() and the first
 * len bytes of the reservation's data, which are copied nowhere.  Numbers
 * follow the order of commits, not of reservations.  Nobody may write to the
 * data any more once this was called, or readers will find the record damaged.
 *
 *   log          the log it was reserved in
 *   reservation  the reservation
 *   len          bytes of payload, at most reservation.len; the rest is given
 *                up
 *   seq_out      receives the record's number; NULL if you do not need it.
 *                Untouched on failure.
 *
 * Returns TWAL_OK; or, and the reservation is as it was, to be committed again
 * or cancelled,
 *
 *   TWAL_E_INVAL     log or reservation is NULL; len is above
 *                    reservation.len; or it is of another log
 *   TWAL_E_FORKED    this process is a fork()ed child
 *   TWAL_E_AGAIN     no room on the device now, and TWAL_APPEND_NO_WAIT is set
 *   TWAL_E_TIMEOUT   no room within options.append_timeout_us
 *   TWAL_E_NOSPC     the device is full
 *   TWAL_E_PERM, TWAL_E_NOMEM, TWAL_E_UNSUPPORTED
 *                    the next segment's file could not be made
 *
 * or, and the reservation is gone,
 *
 *   TWAL_E_STATE     it was committed or cancelled before
 *   TWAL_E_CLOSED    twal_close() has begun, or has returned
 *   TWAL_E_POISONED  an earlier write or flush failed
 *   TWAL_E_IO        this record's write or flush failed
 *   TWAL_E_PANIC     a bug in twal was caught
 *
 * After TWAL_E_IO, TWAL_E_POISONED and TWAL_E_PANIC the record's fate is
 * unknown until the next open.  After any other error nothing was written and
 * no number was used.  When the reservation is gone its data is NULL, and the
 * memory is not yours any more.
 *
 * Unlike other calls this one may begin after twal_close(), for a reservation
 * that was left then.
 *
 * Blocks:  as twal_append_entry().
 * Threads: any; one at a time for each reservation.
 * Signals: not async-signal-safe.
 * Since:   0.1
 */
TWAL_CHECK
int twal_commit(twal_log *log,
                twal_reservation *reservation,
                size_t len,
                uint64_t *seq_out);

/**
 * Gives a reservation back: nothing happened, no number was used.
 *
 *   log          the log it was reserved in
 *   reservation  the reservation; its data is NULL afterwards
 *
 * Returns TWAL_OK, or
 *
 *   TWAL_E_INVAL     log or reservation is NULL, or it is of another log
 *   TWAL_E_FORKED    this process is a fork()ed child
 *   TWAL_E_CLOSED    twal_close() has begun, or has returned; the reservation
 *                    is gone all the same
 *   TWAL_E_POISONED  a bug in twal was caught before; the reservation is gone
 *                    all the same
 *   TWAL_E_STATE     it was committed or cancelled before
 *   TWAL_E_PANIC     a bug in twal was caught
 *
 * Works on a poisoned log, and may begin after twal_close(), for a
 * reservation that was left then.
 *
 * Blocks:  no.
 * Threads: any; one at a time for each reservation.
 * Signals: not async-signal-safe.
 * Since:   0.1
 */
int twal_cancel(twal_log *log,
                twal_reservation *reservation);

/**
 * Makes an eventfd(2) that tells when records have become durable.
 *
 * It becomes readable each time twal_durable_seq() has risen, once when the
 * log is poisoned, and once when it is closed; it can stand in poll, epoll,
 * io_uring and every event loop.  How far the log is, twal_durable_seq()
 * tells; read the eventfd first and ask then, so that no rise is missed.
 * (What became durable before this call has returned, it does not tell.)  It
 * is not blocking and close-on-exec.  The number that is read from it means
 * nothing.
 *
 * On a log that is open for reading only, a thread of twal's looks whether the
 * log testifies to more, as often as twal_iter_wait() does, and until the log
 * is closed or damaged, whoever closed the eventfd; the eventfd also becomes
 * readable when the log is found damaged, or was so before this call.
 *
 * Read it, wait on it, and do nothing else to it: never clear its O_NONBLOCK,
 * never write to it.  twal writes to the same open file when the mark rises.
 * If that file blocks and is full, the write never returns, and with it hang
 * appends, and twal_close().
 *
 * The eventfd is yours: give it back with close(2) whenever you like, also
 * after twal_close().  The log has another descriptor of it, so that it never
 * writes to a number that you closed; one of its 16 stays taken until the log
 * is closed.
 *
 *   log     an open log
 *   fd_out  receives the descriptor.  Untouched on failure.
 *
 * Returns TWAL_OK, or
 *
 *   TWAL_E_INVAL      log or fd_out is NULL
 *   TWAL_E_FORKED     this process is a fork()ed child
 *   TWAL_E_CLOSED     twal_close() has begun
 *   TWAL_E_POISONED   an earlier write or flush failed
 *   TWAL_E_BUSY       the log has 16 eventfds already
 *   TWAL_E_NOMEM      no memory, thread or file descriptor left
 *   TWAL_E_PANIC      a bug in twal was caught
 *
 * Blocks:  no.
 * Threads: any.
 * Signals: not async-signal-safe.
 * Since:   0.1
 */
TWAL_CHECK
int twal_eventfd(twal_log *log,
                 int *fd_out);

/**
 * Makes every record up to a number durable, without waiting for it.
 *
 * Asks for what twal_sync() asks for and returns at once.  done is called
 * exactly once for each call that returned TWAL_OK: with the number that was
 * waited for and TWAL_OK when every record up to it is durable, also if it was
 * so already; or with what poisoned the log, TWAL_E_IO as a rule, and then the
 * records' fate is unknown until the next open.  twal_close() returns after
 * the last of these calls has returned.
 *
 * done is called on a thread of twal's, never inside this function, one call
 * at a time, lower numbers first: one that takes long delays the others, and
 * the messages of twal_message_callback(), which the same thread calls, and
 * nothing else.  It may call every function of twal, and wait in it; while
 * twal_close() runs they answer TWAL_E_CLOSED.  The one thing it cannot do is
 * to close this log: twal_close() returns TWAL_E_STATE there and leaves it
 * open.  It must not throw, longjmp() or end its thread, nor wait for the
 * thread that is inside twal_close(), or for what its own thread has to do:
 * another done of this log, or a message of it.  After a failure, twal_last_error()
 * tells more inside done.
 *
 *   log   an open log
 *   seq   the last number that is to be durable; 0: all that were accepted
 *         when the call began
 *   done  what is called; NULL only asks for it, as a user of twal_eventfd()
 *         does
 *   arg   is passed on to done; twal does not look at it
 *
 * Returns TWAL_OK, or, and then done is not called,
 *
 *   TWAL_E_INVAL      log is NULL, or seq is above twal_last_seq()
 *   TWAL_E_FORKED     this process is a fork()ed child
 *   TWAL_E_CLOSED     twal_close() has begun
 *   TWAL_E_READ_ONLY  the log is open for reading only
 *   TWAL_E_POISONED   an earlier write or flush failed
 *   TWAL_E_NOMEM      no memory or thread left
 *   TWAL_E_PANIC      a bug in twal was caught
 *
 * Blocks:  no.
 * Threads: any; done is called on one of twal's, which blocks all signals.
 * Signals: not async-signal-safe.
 * Since:   0.1
 */
TWAL_CHECK
int twal_sync_async(twal_log *log,
                    uint64_t seq,
                    void (*done)(void *arg,
                                 uint64_t seq,
                                 int code),
                    void *arg);

/**
 * Says what is called with messages of a log: what happens there beside what
 * calls return.
 *
 * The log's opening has messages, too: options.message of twal_open() is
 * called from its begin on, as if this function had been called before.  It is
 * also called by twal_repair_plan() and twal_repair_apply(), of the options
 * that the plan was made with; twal_verify() has no messages.
 *
 * message is called by one thread at a time, in the order in which things
 * happened, under no lock: by the thread of twal's that makes the calls of
 * twal_sync_async(), inside twal_open() and twal_close(), inside a repair, and
 * of a log that is open for reading only inside the reader's call that met
 * what it is about.  So no append waits for it; messages that come faster than
 * it takes them are left out after the first 256, and it is told how many.
 *
 * It may call every function of twal, this one too, and wait in it, but it
 * cannot close this log (TWAL_E_STATE), nor use an iterator in whose call it
 * is.  While twal_close() runs, functions answer TWAL_E_CLOSED.  What they
 * cause is told when it has returned, never inside it.  It must not throw,
 * longjmp() or end its thread.
 *
 * The thread that calls it is also the one that calls the done of
 * twal_sync_async(): a message that takes long delays those, and those delay
 * messages.  So it must not wait for what that thread has to do: for such a
 * done of this log to be called, or for another message; nor for the thread
 * that is inside twal_open(), twal_close() or the reader's call that told it.
 *
 * When this function has returned, no call of what was set before is on its
 * way, and none comes: arg may be freed.  So hold no lock that message takes.
 * (Called by message itself, that holds as soon as that has returned.)  After
 * twal_close(), and after a twal_open() that failed, none comes either.
 *
 *   log      an open log
 *   level    the highest twal_message_level that is wanted; 0:
 *            TWAL_MESSAGE_INFO
 *   message  what is called; NULL: nothing any more
 *   arg      is passed on to message; twal does not look at it
 *
 * Returns TWAL_OK, or
 *
 *   TWAL_E_INVAL   log is NULL, or level is none of twal_message_level
 *   TWAL_E_FORKED  this process is a fork()ed child
 *   TWAL_E_CLOSED  twal_close() has begun
 *   TWAL_E_NOMEM   no memory or thread left; nothing is called then
 *   TWAL_E_PANIC   a bug in twal was caught
 *
 * Blocks:  while another thread is inside the message that was set before.
 * Threads: any; message is called on one of twal's, which blocks all signals,
 *          or where it is said above.
 * Signals: not async-signal-safe.
 * Since:   0.1
 */
TWAL_CHECK
int twal_message_callback(twal_log *log,
                          uint32_t level,
                          void (*message)(void *arg,
                                          const twal_message *message),
                          void *arg);

/**
 * Begins to read at a number.
 *
 *   log       an open log, also a poisoned or a read-only one
 *   from_seq  the first number wanted; 0: the oldest.  twal_last_seq() + 1 is
 *             allowed: nothing yet.
 *   iter_out  receives the reader; give it back with twal_iter_close().
 *             Untouched on failure.
 *
 * Returns TWAL_OK, or
 *
 *   TWAL_E_INVAL     log or iter_out is NULL
 *   TWAL_E_FORKED    this process is a fork()ed child
 *   TWAL_E_CLOSED    twal_close() has begun
 *   TWAL_E_TRIMMED   from_seq is below twal_first_seq(), which is then the
 *                    seq of twal_last_error()
 *   TWAL_E_NOTFOUND  from_seq is above twal_last_seq() + 1
 *   TWAL_E_IO        a file could not be opened or read
 *   TWAL_E_PERM      the operating system refuses to open it
 *   TWAL_E_NOMEM     no memory or file descriptor left
 *   TWAL_E_CORRUPT, TWAL_E_VERSION
 *                    the log is damaged at that place, or in front of it; or
 *                    goes on in a format of a later release
 *   TWAL_E_BUSY      a writer elsewhere is just beginning that segment; ask
 *                    again
 *   TWAL_E_PANIC     a bug in twal was caught
 *
 * Blocks:  on the device.
 * Threads: any.
 * Signals: not async-signal-safe.
 * Since:   0.1
 */
TWAL_CHECK
int twal_recover_iter(twal_log *log,
                      uint64_t from_seq,
                      twal_iter **iter_out);

/**
 * Begins to read as options say.
 *
 * With TWAL_ITER_SKIP_DAMAGED damage does not end the reader: it goes on with
 * the next frame that can be trusted, and the next segment.  What it passes
 * over are whole frames, so no batch is ever delivered in part, and the
 * numbers of the records show every gap.  A log that is damaged and open for
 * reading only is read as far as something in it says that it was durable,
 * and no further than it was when the reader met the damage.
 *
 *   log       an open log, also a poisoned or a read-only one
 *   options   how to read; NULL: all defaults, as twal_recover_iter(log, 0)
 *   iter_out  receives the reader; give it back with twal_iter_close().
 *             Untouched on failure.
 *
 * Returns what twal_recover_iter() returns, and
 *
 *   TWAL_E_INVAL        also: options.struct_size is none, flags has unknown
 *                       bits, reserved is not 0, a list is NULL and its count
 *                       is not 0, a type is none, from_seq and from_segment
 *                       are both set, or TWAL_ITER_SKIP_DAMAGED stands beside
 *                       TWAL_ITER_HEADERS_ONLY or TWAL_ITER_SNAPSHOT
 *   TWAL_E_TRIMMED      also: from_segment was released
 *   TWAL_E_NOTFOUND     also: there is no segment from_segment
 *   TWAL_E_UNSUPPORTED  options say something that this release does not know
 *
 * Blocks:  on the device.
 * Threads: any.
 * Signals: not async-signal-safe.
 * Since:   0.1
 */
TWAL_CHECK
int twal_iter_open(twal_log *log,
                   const twal_iter_options *options,
                   twal_iter **iter_out);

/**
 * Tells what a reader has passed over so far.
 *
 * All 0 if nothing was, or without TWAL_ITER_SKIP_DAMAGED.
 *
 *   iter         a reader
 *   skipped_out  receives the counts; its struct_size must be set, as
 *                TWAL_SKIPPED_INIT does.  Untouched on failure.
 *
 * Returns TWAL_OK, or
 *
 *   TWAL_E_INVAL   iter or skipped_out is NULL, or struct_size is no size
 *                  that a release of twal ever had
 *   TWAL_E_FORKED  this process is a fork()ed child
 *
 * Blocks:  no.
 * Threads: one at a time for each reader.
 * Signals: not async-signal-safe.
 * Since:   0.1
 */
int twal_iter_skipped(const twal_iter *iter,
                      twal_skipped *skipped_out);

/**
 * Reads the next record.
 *
 * Delivers what is durable at the time of the call, every byte of it checked.
 * 0 is not final: call again when there is more.  An error is final for this
 * reader, except TWAL_E_INVAL and TWAL_E_NOMEM.
 *
 *   iter        a reader
 *   record_out  receives the record; its data is valid until the next call
 *               on iter.  Untouched if the answer is not 1.
 *
 * Returns 1 with a record, 0 at the end of what is durable, or
 *
 *   TWAL_E_INVAL    iter or record_out is NULL
 *   TWAL_E_FORKED   this process is a fork()ed child
 *   TWAL_E_CLOSED   the log was closed
 *   TWAL_E_TRIMMED  what comes next was released and is gone;
 *                   twal_last_error().seq is the oldest number there is
 *   TWAL_E_STATE    the log is a follower's copy, and another one is in its place
 *   TWAL_E_IO       bytes could not be read; they may be readable later
 *   TWAL_E_PERM     the operating system refuses to open the next segment
 *   TWAL_E_CORRUPT  the log is damaged here; twal_last_error() says where
 *   TWAL_E_TYPE     the next record has TWAL_RECORD_REQUIRED, and its type is
 *                   not one of options.known_types; its number is the seq of
 *                   twal_last_error()
 *   TWAL_E_VERSION  the same of a type of twal's that this release does not
 *                   know
 *   TWAL_E_NOMEM    no memory or file descriptor left; call again when there is
 *   TWAL_E_PANIC    a bug in twal was caught
 *
 * Blocks:  on the device; never for a writer.
 * Threads: one at a time for each reader.
 * Signals: not async-signal-safe.
 * Since:   0.1
 */
TWAL_CHECK
int twal_iter_next(twal_iter *iter,
                   twal_record *record_out);

/**
 * Reads the next record, and waits for it if there is none yet.
 *
 * As twal_iter_next(), but where that says that there is no more yet, this
 * waits until there is.  In the writer's process who waits is woken when a
 * record has become durable; but one that had read everything and waits again
 * reads no sooner than 0.25 ms after it last did, so that it takes many
 * records at once: of a steady stream each is seen up to 0.25 ms late.  In
 * another process nothing tells: the reader
 * looks again after 0.7 ms, and ever less often while nothing comes, at last
 * every quarter of options.idle_mark_us (of this opening).  (Beside what a
 * crash left that nothing testifies to, which each look reads again: 4 ns for
 * each of its bytes, if that is more.)  A record is seen
 * there when the log testifies that it is durable: with the frame that
 * follows, or, when the writer is idle, with the mark that it writes after
 * idle_mark_us.
 *
 *   iter        a reader
 *   timeout_ns  nanoseconds; 0 looks and does not wait; below 0: for ever
 *   record_out  receives the record, as of twal_iter_next()
 *
 * Returns 1 with a record; 0 if none will come: options.until_seq or
 * options.limit was reached, or a snapshot's end; what twal_iter_next() returns; or
 *
 *   TWAL_E_TIMEOUT   there is none yet; call again
 *   TWAL_E_POISONED  an earlier write or flush of this log failed, and nothing
 *                    more becomes durable
 *   TWAL_E_IO        also: a write or flush failed while this waited
 *
 * Blocks:  for up to timeout_ns, and on the device; never for a writer.
 *          twal_close() of the log ends the wait: TWAL_E_CLOSED.
 * Threads: one at a time for each reader.
 * Signals: not async-signal-safe; a handled signal does not end the wait.
 * Since:   0.1
 */
TWAL_CHECK
int twal_iter_wait(twal_iter *iter,
                   int64_t timeout_ns,
                   twal_record *record_out);

/**
 * Reads the payload of the record that the reader delivered last.
 *
 * For a reader with TWAL_ITER_HEADERS_ONLY, which has read no payload: it is
 * read now, and checked.  Any other reader gives record.data once more.  A
 * payload that is damaged or cannot be read does not end a reader of headers.
 *
 *   iter      a reader whose last twal_iter_next() or twal_iter_wait()
 *             returned 1
 *   data_out  receives where the payload is: never NULL, 8-byte aligned, valid
 *             until the next call on iter
 *   len_out   receives its bytes.  Both are untouched on failure.
 *
 * Returns TWAL_OK, or
 *
 *   TWAL_E_INVAL    iter, data_out or len_out is NULL
 *   TWAL_E_FORKED   this process is a fork()ed child
 *   TWAL_E_CLOSED   the log was closed
 *   TWAL_E_STATE    the last call did not return 1
 *   TWAL_E_IO       bytes could not be read
 *   TWAL_E_CORRUPT  the payload is damaged
 *   TWAL_E_NOMEM    no memory left
 *   TWAL_E_PANIC    a bug in twal was caught
 *
 * Blocks:  on the device; never for a writer.
 * Threads: one at a time for each reader.
 * Signals: not async-signal-safe.
 * Since:   0.1
 */
TWAL_CHECK
int twal_iter_payload(twal_iter *iter,
                      const void **data_out,
                      size_t *len_out);

/**
 * Tells with which number a reader goes on.
 *
 * Everything below was delivered, left out, or is not there: who begins to
 * read from here, now or in another process, misses nothing and gets nothing
 * twice.  So a page is options.limit records, and the next one begins with
 * this number.
 *
 *   iter  a reader; NULL: the answer is 0
 *
 * Returns the number, at least 1; 0 in a fork()ed child.
 *
 * Blocks:  no.
 * Threads: one at a time for each reader.
 * Signals: not async-signal-safe.
 * Since:   0.1
 */
uint64_t twal_iter_next_seq(const twal_iter *iter);

/**
 * Ends a reader; what its last record's data pointed to is gone.
 *
 * Works before and after twal_close(), and in a fork()ed child.
 *
 *   iter  a reader; NULL does nothing
 *
 * Blocks:  until a read on the way has come back.
 * Threads: any; exactly one, once.
 * Signals: not async-signal-safe.
 * Since:   0.1
 */
void twal_iter_close(twal_iter *iter);

/**
 * Reads one record by its number.
 *
 * Every byte of it is checked.  The segment is found by the names in the
 * directory, the place in it by a few reads of some blocks: about ten reads of
 * the device, most of them 4 KiB, however many records the log has.  Who reads
 * many records in order is served better by an iterator.
 *
 *   log         an open log, also a poisoned or a read-only one
 *   seq         the record's number
 *   buf         where the payload is copied to; NULL only if size is 0
 *   size        bytes of buf.  A payload that is longer is cut: compare
 *               record_out->len, which is always the payload's true length
 *   record_out  receives the record; its data is buf.  May not be NULL.
 *               Untouched on failure, buf too.
 *
 * Returns TWAL_OK, or
 *
 *   TWAL_E_INVAL     log or record_out is NULL, or buf is and size is not 0
 *   TWAL_E_FORKED    this process is a fork()ed child
 *   TWAL_E_CLOSED    twal_close() has begun
 *   TWAL_E_TRIMMED   it was released; twal_last_error().seq is the oldest
 *                    number there is
 *   TWAL_E_STATE     the log is a follower's copy, and another one is in its
 *                    place
 *   TWAL_E_NOTFOUND  there is none with this number: it is 0, not durable yet,
 *                    or a compaction took the record out
 *   TWAL_E_IO        a file could not be opened or read
 *   TWAL_E_PERM      the operating system refuses to open it
 *   TWAL_E_NOMEM     no memory or file descriptor left
 *   TWAL_E_CORRUPT   the log is damaged at that place
 *   TWAL_E_VERSION   it is a record that this release cannot read
 *   TWAL_E_PANIC     a bug in twal was caught
 *
 * Blocks:  on the device; never for a writer.
 * Threads: any.
 * Signals: not async-signal-safe.
 * Since:   0.1
 */
TWAL_CHECK
int twal_read(twal_log *log,
              uint64_t seq,
              void *buf,
              size_t size,
              twal_record *record_out);

/**
 * Keeps every record from a number on, until this hold has moved on or was
 * dropped, whatever is trimmed, checkpointed or compacted, also over restarts.
 *
 * A hold has a name: who needs the records, or what for, such as "snapshot",
 * "follower/2", "archive".  It only moves forward.  Whole segments are
 * released, so a hold inside a segment keeps all of that segment.  What was
 * trimmed and a hold was in the way of is released without another trim: as
 * soon as the hold moves on, if that is done by the handle that is open for
 * writing; else by its next trim that reaches so far or move of a hold, or
 * before it refuses an append at log_size_max.  A writer that is opened anew has to trim again.  A
 * hold by itself releases nothing.
 *
 * A hold is durable when this returns TWAL_OK.  The first one that a log ever
 * has, its writer sets (it begins a new segment for it, whose header says that
 * the log has holds); from then on any process that has the log open may, also
 * for reading only and beside the writer.  They are in the file twal-holds.
 * While that is damaged or missing, nothing at all is released: see
 * twal_hold_reset().
 *
 *   log   an open log
 *   name  1 to 39 visible ASCII characters
 *   seq   the oldest number that is needed; 0: the oldest there is; up to
 *         twal_last_seq() + 1, as far as a handle that is open for reading
 *         only can see it by now
 *
 * Returns TWAL_OK, also if the hold was there already, or
 *
 *   TWAL_E_INVAL      log or name is NULL, name is no such name, or seq is
 *                     above twal_last_seq() + 1
 *   TWAL_E_FORKED     this process is a fork()ed child
 *   TWAL_E_CLOSED     twal_close() has begun
 *   TWAL_E_POISONED   an earlier write or flush failed
 *   TWAL_E_TRIMMED    records from seq on are gone already; the detail's seq
 *                     is the oldest that there is
 *   TWAL_E_STATE      the hold is further already, the detail's seq tells
 *                     where; or the log is open for reading only and has no
 *                     holds yet, or is a follower's copy: what is needed is
 *                     held at its source
 *   TWAL_E_BUSY       there are 64 holds already; or the log is open for
 *                     reading only, and its segments changed too fast to be
 *                     listed or are damaged
 *   TWAL_E_CORRUPT    twal-holds is damaged or was lost; or twal-holds-new is
 *                     not a file: a repair moves it away
 *   TWAL_E_VERSION    it is a later release's
 *   TWAL_E_LOCKED     another process was changing it for 2 seconds
 *   TWAL_E_NOSPC, TWAL_E_PERM, TWAL_E_NOMEM
 *                     it could not be written, or (NOSPC: then it is not set)
 *                     the first hold's segment not be made; or the hold is
 *                     set, and a name of what it let go could not be changed.
 *                     Call again
 *   TWAL_E_IO         it could not be read; or a write or flush failed, which
 *                     poisons a writer's log: the hold is set or not
 *   TWAL_E_PANIC      a bug in twal was caught
 *
 * Blocks:  on the device.
 * Threads: any.
 * Signals: not async-signal-safe.
 * Since:   0.1
 */
TWAL_CHECK
int twal_hold_set(twal_log *log,
                  const char *name,
                  uint64_t seq);

/**
 * Drops a hold: nothing is kept for it any more.
 *
 *   log   an open log
 *   name  the hold's
 *
 * Returns what twal_hold_set() returns, and
 *
 *   TWAL_E_NOTFOUND  there is no such hold
 *
 * Blocks:  on the device.
 * Threads: any.
 * Signals: not async-signal-safe.
 * Since:   0.1
 */
TWAL_CHECK
int twal_hold_drop(twal_log *log,
                   const char *name);

/**
 * Drops every hold, whatever twal-holds says: the way on where it is damaged
 * or was lost.
 *
 * Nothing is released by this.  Set anew what has to be held before the next
 * trim or checkpoint.
 *
 *   log  a log that is open for writing
 *
 * Returns TWAL_OK, or
 *
 *   TWAL_E_INVAL      log is NULL
 *   TWAL_E_FORKED     this process is a fork()ed child
 *   TWAL_E_CLOSED     twal_close() has begun
 *   TWAL_E_READ_ONLY  the log is open for reading only
 *   TWAL_E_POISONED   an earlier write or flush failed
 *   TWAL_E_CORRUPT    twal-holds, or twal-holds-new beside it, is not a file
 *                     (but a directory, say): a repair moves it away
 *   TWAL_E_LOCKED, TWAL_E_NOSPC, TWAL_E_PERM, TWAL_E_NOMEM, TWAL_E_IO,
 *   TWAL_E_PANIC      as twal_hold_set()
 *
 * Blocks:  on the device.
 * Threads: any.
 * Signals: not async-signal-safe.
 * Since:   0.1
 */
TWAL_CHECK
int twal_hold_reset(twal_log *log);

/**
 * Tells all holds, by name.
 *
 *   log        an open log
 *   holds_out  an array for capacity of them, whose first one's struct_size is
 *              set: that is the size of each; NULL only if capacity is 0.
 *              Untouched on failure.
 *   capacity   how many fit; further ones are left out
 *   count_out  receives how many there are, at most 64
 *
 * Returns TWAL_OK, or
 *
 *   TWAL_E_INVAL    log or count_out is NULL, holds_out is NULL and capacity
 *                   is not 0, or struct_size is no size that a release of
 *                   twal ever had
 *   TWAL_E_FORKED   this process is a fork()ed child
 *   TWAL_E_CLOSED   twal_close() has begun
 *   TWAL_E_CORRUPT  twal-holds is damaged or was lost: nothing is released
 *   TWAL_E_VERSION  it is a later release's
 *   TWAL_E_IO, TWAL_E_PERM, TWAL_E_NOMEM
 *                   it could not be read
 *   TWAL_E_PANIC    a bug in twal was caught
 *
 * Blocks:  on the device.
 * Threads: any.
 * Signals: not async-signal-safe.
 * Since:   0.1
 */
TWAL_CHECK
int twal_holds(const twal_log *log,
               twal_hold *holds_out,
               size_t capacity,
               size_t *count_out);

/**
 * The next segment to be archived: the oldest sealed one above an index that
 * was not acknowledged yet.
 *
 * For programs that keep every segment elsewhere.  Set a hold named "archive"
 * once, at 0.  Then, whenever it suits (after twal_roll(), by a timer), ask
 * for the next segment, copy its file, and when the copy is safe acknowledge
 * it with twal_archive_done().  Until then its file keeps its name and its
 * bytes, over restarts too.
 *
 *   log          an open log
 *   after_index  only segments above this one; 0: the oldest that was not
 *                acknowledged.  More than one can be copied at a time that
 *                way
 *   segment_out  receives the segment; its struct_size must be set.
 *                Untouched on failure.
 *
 * Returns TWAL_OK, or
 *
 *   TWAL_E_INVAL     log or segment_out is NULL, or struct_size is no size
 *                    that a release of twal ever had
 *   TWAL_E_FORKED    this process is a fork()ed child
 *   TWAL_E_CLOSED    twal_close() has begun
 *   TWAL_E_NOTFOUND  there is none now
 *   TWAL_E_STATE     there is no hold "archive"
 *   TWAL_E_BUSY      as twal_hold_set(), not for the number of holds
 *   TWAL_E_CORRUPT, TWAL_E_VERSION, TWAL_E_IO, TWAL_E_PERM, TWAL_E_NOMEM
 *                    as twal_holds()
 *   TWAL_E_PANIC     a bug in twal was caught
 *
 * Blocks:  on the device.
 * Threads: any.
 * Signals: not async-signal-safe.
 * Since:   0.1
 */
TWAL_CHECK
int twal_archive_next(const twal_log *log,
                      uint64_t after_index,
                      twal_segment *segment_out);

/**
 * Acknowledges that a segment, and every one before it, is archived elsewhere:
 * the hold "archive" moves on behind it.
 *
 *   log    an open log
 *   index  the segment's
 *
 * Returns TWAL_OK, also if it was acknowledged before; or what
 * twal_hold_set() returns, and
 *
 *   TWAL_E_STATE     there is no hold "archive", or the segment is not sealed
 *   TWAL_E_NOTFOUND  there is no such segment yet
 *   TWAL_E_TRIMMED   it is gone already
 *
 * Blocks:  on the device.
 * Threads: any.
 * Signals: not async-signal-safe.
 * Since:   0.1
 */
TWAL_CHECK
int twal_archive_done(twal_log *log,
                      uint64_t index);

/**
 * Says who is told when the log would grow beyond options.log_size_max.
 *
 * Each time that one more file would take the log beyond the limit, hint is
 * called, about when the file is made or, with TWAL_SIZE_REFUSE, refused: that
 * is the moment for a checkpoint and a trim.  It is called on the thread of
 * twal's that makes the calls of twal_sync_async(), one call at a time, under
 * no lock: it may call every function of twal, and wait in it, but not close
 * this log, and must not throw, longjmp() or end its thread.  While one call
 * is on its way, no other is put behind it.
 *
 *   log   an open log
 *   hint  what is called, with the bytes that the log's files would take and
 *         the limit; NULL: nobody is told any more, but a call that has
 *         begun goes on
 *   arg   is passed on to hint; twal does not look at it
 *
 * Returns TWAL_OK, or
 *
 *   TWAL_E_INVAL      log is NULL
 *   TWAL_E_FORKED     this process is a fork()ed child
 *   TWAL_E_CLOSED     twal_close() has begun
 *   TWAL_E_READ_ONLY  the log is open for reading only
 *   TWAL_E_NOMEM      no memory or thread left
 *   TWAL_E_PANIC      a bug in twal was caught
 *
 * Blocks:  no.
 * Threads: any; hint is called on one of twal's, which blocks all signals.
 * Signals: not async-signal-safe.
 * Since:   0.1
 */
TWAL_CHECK
int twal_size_hint(twal_log *log,
                   void (*hint)(void *arg,
                                uint64_t size,
                                uint64_t size_max),
                   void *arg);

/**
 * Tells every segment, oldest first, and what holds each of them back.
 *
 * Beside a writer it is what was there at one moment, or nearly: segments that
 * go meanwhile are left out.
 *
 *   log           an open log
 *   segments_out  an array for capacity of them, whose first one's
 *                 struct_size is set: that is the size of each; NULL only if
 *                 capacity is 0.  Untouched on failure.
 *   capacity      how many fit; further ones are left out
 *   count_out     receives how many there are
 *
 * Returns TWAL_OK, or
 *
 *   TWAL_E_INVAL   log or count_out is NULL, segments_out is NULL and
 *                  capacity is not 0, or struct_size is no size that a
 *                  release of twal ever had
 *   TWAL_E_FORKED  this process is a fork()ed child
 *   TWAL_E_CLOSED  twal_close() has begun
 *   TWAL_E_CORRUPT, TWAL_E_IO, TWAL_E_PERM, TWAL_E_NOMEM, TWAL_E_NOTFOUND
 *                  the directory or a file could not be looked at, or is gone
 *   TWAL_E_PANIC   a bug in twal was caught
 *
 * Blocks:  on the device.
 * Threads: any.
 * Signals: not async-signal-safe.
 * Since:   0.1
 */
TWAL_CHECK
int twal_segments(const twal_log *log,
                  twal_segment *segments_out,
                  size_t capacity,
                  size_t *count_out);

/**
 * Counts the records of each stream, and tells of the busiest.
 *
 * It reads the log, from a number up to what is durable now: appends pay
 * nothing for it, and records that were trimmed or compacted away are not
 * counted.  Takes memory for each stream that there is.  A program that
 * wants to know often asks from where it has come to, and adds up.
 *
 *   log         an open log
 *   from_seq    the first number that counts; 0: the oldest
 *   counts_out  an array for capacity of them, whose first one's struct_size
 *               is set: that is the size of each; NULL only if capacity is 0.
 *               The stream with the most records comes first.  Untouched on
 *               failure.
 *   capacity    how many fit; further ones are left out
 *   count_out   receives how many streams there are, at most 1000
 *
 * Returns TWAL_OK, or
 *
 *   TWAL_E_INVAL     log or count_out is NULL, counts_out is NULL and capacity
 *                    is not 0, or struct_size is no size that a release of
 *                    twal ever had
 *   TWAL_E_FORKED    this process is a fork()ed child
 *   TWAL_E_CLOSED    twal_close() has begun
 *   TWAL_E_TRIMMED   from_seq is below twal_first_seq(); or records went while
 *                    they were being counted
 *   TWAL_E_NOTFOUND  from_seq is above twal_last_seq() + 1
 *   TWAL_E_CORRUPT, TWAL_E_VERSION, TWAL_E_IO, TWAL_E_PERM
 *                    as twal_iter_next()
 *   TWAL_E_NOMEM     no memory left
 *   TWAL_E_PANIC     a bug in twal was caught
 *
 * Blocks:  on the device, for as long as reading takes.
 * Threads: any.
 * Signals: not async-signal-safe.
 * Since:   0.1
 */
TWAL_CHECK
int twal_streams(const twal_log *log,
                 uint64_t from_seq,
                 twal_stream_count *counts_out,
                 size_t capacity,
                 size_t *count_out);

/**
 * Copies out what the log has counted.
 *
 *   log        an open log
 *   stats_out  receives the numbers; its struct_size must be set, as
 *              TWAL_STATS_INIT does.  Fields that this release does not know
 *              become 0.  Untouched on failure.
 *
 * Returns TWAL_OK, or
 *
 *   TWAL_E_INVAL   log or stats_out is NULL, or struct_size is no size that a
 *                  release of twal ever had
 *   TWAL_E_FORKED  this process is a fork()ed child
 *   TWAL_E_CLOSED  twal_close() has begun
 *   TWAL_E_PANIC   a bug in twal was caught
 *
 * Blocks:  no.
 * Threads: any.
 * Signals: not async-signal-safe.
 * Since:   0.1
 */
int twal_stats_get(const twal_log *log,
                   twal_stats *stats_out);

/**
 * Copies out one of the histograms of what the log has measured.
 *
 * One at a time, so that there is room for more of them in later releases.
 * What is counted while it is copied may be in one bucket and not yet in the
 * sum; the count is always that of the buckets.
 *
 *   log            an open log; one that is open for reading only measures
 *                  nothing
 *   kind           one of twal_histogram_kind
 *   histogram_out  receives it; its struct_size must be set, as
 *                  TWAL_HISTOGRAM_INIT does.  Untouched on failure.
 *
 * Returns TWAL_OK, or
 *
 *   TWAL_E_INVAL   log or histogram_out is NULL, kind is none of
 *                  twal_histogram_kind, or struct_size is no size that a
 *                  release of twal ever had
 *   TWAL_E_FORKED  this process is a fork()ed child
 *   TWAL_E_CLOSED  twal_close() has begun
 *   TWAL_E_PANIC   a bug in twal was caught
 *
 * Blocks:  no.
 * Threads: any.
 * Signals: not async-signal-safe.
 * Since:   0.1
 */
int twal_histogram_get(const twal_log *log,
                       uint32_t kind,
                       twal_histogram *histogram_out);

/**
 * The highest number that a bucket of twal_histogram counts.
 *
 *   bucket  the bucket's index
 *
 * Returns the bound; UINT64_MAX for the last bucket, and for those that there
 * are not.
 *
 * Blocks:  no.
 * Threads: any.
 * Signals: async-signal-safe.
 * Since:   0.1
 */
uint64_t twal_histogram_bound(size_t bucket);

/**
 * Writes all that the log counts and measures as text for Prometheus.
 *
 * The text is of the exposition format 0.0.4, to be served as
 * "text/plain; version=0.0.4".  It has what twal_stats_get() and
 * twal_histogram_get() tell, in seconds and bytes, counters with names that
 * end in _total; and those of the log's transaction managers.  All names begin
 * with twal_.  It is one log's: a program that has several serves each by
 * itself.
 *
 * No buffer at all (NULL, 0) asks how much room is needed.  Numbers grow:
 * take some bytes more than that, or ask again.  24 KiB are enough for this
 * release.
 *
 *   log      an open log
 *   buffer   receives the text, ended by a NUL; NULL only if size is 0.  After
 *            a failure its bytes are not specified
 *   size     bytes of buffer
 *   len_out  receives the bytes of the text without the NUL; also with
 *            TWAL_E_TOOBIG, after which a buffer needs one more than that
 *
 * Returns TWAL_OK, or
 *
 *   TWAL_E_INVAL   log or len_out is NULL, or buffer is NULL and size is not 0
 *   TWAL_E_TOOBIG  the text and its NUL do not fit in size bytes
 *   TWAL_E_FORKED  this process is a fork()ed child
 *   TWAL_E_CLOSED  twal_close() has begun
 *   TWAL_E_PANIC   a bug in twal was caught
 *
 * Blocks:  no.
 * Threads: any.
 * Signals: not async-signal-safe.
 * Since:   0.1
 */
TWAL_CHECK
int twal_metrics(const twal_log *log,
                 char *buffer,
                 size_t size,
                 size_t *len_out);

/**
 * Copies out what twal_open() found.
 *
 *   log         an open log
 *   report_out  receives the report; its struct_size must be set, as
 *               TWAL_RECOVERY_INIT does.  Fields that this release does not
 *               know become 0.  Untouched on failure.
 *
 * Returns TWAL_OK, or
 *
 *   TWAL_E_INVAL   log or report_out is NULL, or struct_size is no size that
 *                  a release of twal ever had
 *   TWAL_E_FORKED  this process is a fork()ed child
 *   TWAL_E_CLOSED  twal_close() has begun
 *   TWAL_E_PANIC   a bug in twal was caught
 *
 * Blocks:  no.
 * Threads: any.
 * Signals: not async-signal-safe.
 * Since:   0.1
 */
int twal_recovery_get(const twal_log *log,
                      twal_recovery *report_out);

/**
 * Reads every byte of a log and tells each spot that is damaged; changes
 * nothing.
 *
 * Every segment file is read: active, sealed and archived; headers, frames,
 * records, seals, and that each continues the one before.  Goes on behind
 * damage, with the next frame that can be trusted and the next segment.  Takes
 * no writer's lock and may run beside a writer, here or elsewhere: what is
 * just being written is not told, and what is released meanwhile is passed
 * over.  Memory is the same few MiB, whatever the files hold.
 *
 * Of a follower's directory (twal_sink_open()), also beside its sink, it reads
 * all that is in front of the position, which is what was acknowledged: every
 * segment before it, and its own up to there.  What is behind it is not the
 * follower's yet, and no finding whatever it is.  The position is the one that
 * it had when this began.
 *
 * What only a later release can read is a finding too, TWAL_FINDING_VERSION: a
 * segment's header, or a record of a type of twal's own that has
 * TWAL_RECORD_REQUIRED; and so is a newest segment that this one may read but
 * not write.  The types that a program knows are options of its readers:
 * verify asks nothing of the program's own types.
 *
 * Of one frame at most 64 damaged records are told and counted, and at most 64
 * that only a later release can read.
 *
 *   dir         path of the log's or the follower's directory
 *   options     as for twal_open(); only io_engine, and the flags that accept
 *               file systems, matter here.  NULL: all defaults
 *   found       what is called with each finding, inside this call and on this
 *               thread, in the order of the files; another answer than 0 ends
 *               the reading.  It must not throw or longjmp().  NULL: none
 *   context     is passed on to found; twal does not look at it
 *   report_out  receives what was read, also with TWAL_E_CORRUPT, and with
 *               TWAL_E_PERM where that is about files; its struct_size must be
 *               set, as TWAL_VERIFY_REPORT_INIT does.  NULL if you do not need
 *               it.  Untouched on any other failure.
 *
 * Returns TWAL_OK if nothing of what was read is damaged, or
 *
 *   TWAL_E_CORRUPT      something is damaged
 *   TWAL_E_VERSION      nothing is, but there is what no reader of this release
 *                       delivers, because a later one wrote it; or what
 *                       twal_open() must not write to
 *   TWAL_E_INVAL        dir is NULL, empty or not a directory, an option is
 *                       out of its range, or a struct_size is none
 *   TWAL_E_NOTFOUND     there is no log
 *   TWAL_E_PERM         the operating system refuses access: to the directory,
 *                       or to files of which each is a finding, and nothing
 *                       else is damaged
 *   TWAL_E_IO           the directory could not be read, or an active file not
 *                       be flushed (a file that cannot be read is a finding)
 *   TWAL_E_NOMEM        no memory or file descriptor left
 *   TWAL_E_UNSUPPORTED  as for twal_open()
 *   TWAL_E_PANIC        a bug in twal was caught
 *
 * Example:
 *
 *   static int tell(void *context, const twal_finding *finding)
 *   {
 *       (void)context;
 *       printf("%s: offset %llu: %s\n", finding->file,
 *              (unsigned long long)finding->offset, finding->text);
 *       return 0;
 *   }
 *   ...
 *   int rc = twal_verify("log", NULL, tell, NULL, NULL);
 *
 * Blocks:  on the device, for as long as it takes to read the log.
 * Threads: any.
 * Signals: not async-signal-safe.
 * Since:   0.1
 */
TWAL_CHECK
int twal_verify(const char *dir,
                const twal_options *options,
                int (*found)(void *context,
                             const twal_finding *finding),
                void *context,
                twal_verify_report *report_out);

/**
 * Looks at a log and plans what it takes to make it one that opens; changes
 * nothing.
 *
 * The plan keeps everything in front of the first damage, and lets go of all
 * that is behind it, so that the log holds a prefix without a gap.  To save
 * records behind the damage, read them with TWAL_ITER_SKIP_DAMAGED first and
 * append them again afterwards.  Nothing is planned where nothing is damaged:
 * a torn end is cut off by twal_open() itself.
 *
 * A plan with no steps is also what it takes to end a repair that was
 * interrupted before its very last step: then twal_open() refuses the log
 * until that plan was applied, which drops nothing.  So apply a plan without
 * steps, too: where nothing was to be done it changes nothing.
 *
 * The newest released segment is no such damage: nobody reads it, but a log
 * needs its header and its seal to open.  They are made again, if the next
 * segment's header confirms what is made, and nothing goes.
 *
 * A segment whose file lacks its end is kept up to there, and cut; if nothing
 * that was written to it is missing, nothing goes, and nothing behind it.
 *
 * The log is locked for writing until twal_repair_close(), so that what is
 * applied is what was planned.
 *
 *   dir         path of the log's directory
 *   options     as for twal_open(); only io_engine, and the flags that accept
 *               file systems, matter here.  NULL: all defaults
 *   repair_out  receives the plan; give it back with twal_repair_close().
 *               Untouched on failure.
 *
 * Returns TWAL_OK, also if nothing is damaged, or
 *
 *   TWAL_E_INVAL        dir or repair_out is NULL, dir is empty or not a
 *                       directory, or an option is out of its range
 *   TWAL_E_LOCKED       the log is open for writing
 *   TWAL_E_STATE        the directory is a follower's: twal_sink_open()
 *                       checks it
 *   TWAL_E_NOTFOUND     there is no log
 *   TWAL_E_UNSUPPORTED  cutting would not help: nothing that can be read is
 *                       damaged, but the newest archived segment is, and what
 *                       is left does not say what its header and seal were; or
 *                       the names of archived ones are wrong; read the log
 *                       with TWAL_ITER_SKIP_DAMAGED and write it anew.  Or the
 *                       first segment, or its header, is not this log's: put
 *                       its own back.  Or as for twal_open()
 *   TWAL_E_VERSION      written by a release that this one cannot read
 *   TWAL_E_PERM         the operating system refuses access
 *   TWAL_E_IO           the directory could not be read, a file not be opened
 *                       or measured, or an active one not be flushed
 *   TWAL_E_NOMEM        no memory or file descriptor left
 *   TWAL_E_PANIC        a bug in twal was caught
 *
 * Blocks:  on the device, for as long as it takes to read the log.
 * Threads: any.
 * Signals: not async-signal-safe.
 * Since:   0.1
 */
TWAL_CHECK
int twal_repair_plan(const char *dir,
                     const twal_options *options,
                     twal_repair **repair_out);

/**
 * Tells one step of a plan.
 *
 *   repair    a plan
 *   at        which step, from 0
 *   step_out  receives the step; its struct_size must be set, as
 *             TWAL_REPAIR_STEP_INIT does.  Untouched on failure.
 *
 * Returns TWAL_OK, or
 *
 *   TWAL_E_INVAL     repair or step_out is NULL, or struct_size is no size
 *                    that a release of twal ever had
 *   TWAL_E_FORKED    this process is a fork()ed child
 *   TWAL_E_NOTFOUND  the plan has no more steps; none at all: nothing is
 *                    damaged, or an interrupted repair is only to be ended
 *
 * Blocks:  no.
 * Threads: one at a time for each plan.
 * Signals: not async-signal-safe.
 * Since:   0.1
 */
int twal_repair_step_get(const twal_repair *repair,
                         uint64_t at,
                         twal_repair_step *step_out);

/**
 * Carries a plan out.
 *
 * First a copy of every file that is changed or goes is made in the backup
 * directory, and is durable with its name; bytes that cannot be read are zeros
 * there.  What is no file (a directory, a symbolic link, a FIFO) is moved there
 * instead.  Only then the first byte is changed.  If this is interrupted, by a
 * failure or a crash, the log does not open until it was planned and repaired
 * again; nothing is lost by that.
 *
 * Afterwards the log opens, and holds exactly what was in front of the damage
 * (all that it held, if only a released segment was restored).
 * twal_recovery_get() tells what was cut, as long as the log ends in the same
 * segment.  The numbers that went are given again.  A hold that is behind the
 * new end is moved back to it by the next twal_open() for writing.
 *
 *   repair      a plan; it can be applied once
 *   backup_dir  path of a directory for the copies, not the log's and not in
 *               it; it is made if it is missing, and may hold other files,
 *               which are left alone, but no log, and no copy of one that is
 *               not a repair's: a file named copies-of-twal says that it is.
 *               The same file systems are accepted as
 *               for the log; it has to be on the log's own where something is
 *               moved.
 *   flags       bits of twal_repair_flags
 *
 * Returns TWAL_OK, also if there was nothing to do: then nothing is changed,
 * and backup_dir is not made.  Or
 *
 *   TWAL_E_INVAL        repair or backup_dir is NULL, backup_dir is empty, not
 *                       a directory, the log's own, in it, or holds a log,
 *                       also a copy of this one, or flags has unknown bits
 *   TWAL_E_FORKED       this process is a fork()ed child
 *   TWAL_E_STATE        records would go that were acknowledged, or may have
 *                       been, and TWAL_REPAIR_DROP_ACKNOWLEDGED is not set:
 *                       nothing was changed; or the plan was applied already,
 *                       with whatever result: make a new one
 *   TWAL_E_NOTFOUND     backup_dir's parent is missing
 *   TWAL_E_LOCKED       a killed process' last write is still in flight
 *   TWAL_E_NOSPC        no space for the copies, for a new segment, or for what
 *                       a file lacks
 *   TWAL_E_IO           a read, write or flush failed
 *   TWAL_E_UNSUPPORTED  something has to be moved that is no file, and
 *                       backup_dir is on another file system, it is a mount
 *                       point, or the log's file system cannot swap two
 *                       names, as has to be done where it has a segment's:
 *                       nothing was changed.  Or as for twal_open()
 *   TWAL_E_PERM, TWAL_E_NOMEM, TWAL_E_CORRUPT
 *                       a file could not be made, opened, copied or moved
 *   TWAL_E_PANIC        a bug in twal was caught
 *
 * Example:
 *
 *   twal_repair *repair;
 *   twal_repair_step step = TWAL_REPAIR_STEP_INIT;
 *   int rc = twal_repair_plan("log", NULL, &repair);
 *   for (uint64_t i = 0; rc == TWAL_OK; i++) {
 *       if (twal_repair_step_get(repair, i, &step))
 *           break;
 *       printf("%u: %s\n", step.kind, step.file);
 *   }
 *   if (rc == TWAL_OK) {
 *       rc = twal_repair_apply(repair, "log.backup",
 *                              TWAL_REPAIR_DROP_ACKNOWLEDGED);
 *       twal_repair_close(repair);
 *   }
 *
 * Blocks:  on the device.
 * Threads: one at a time for each plan.
 * Signals: not async-signal-safe.
 * Since:   0.1
 */
TWAL_CHECK
int twal_repair_apply(twal_repair *repair,
                      const char *backup_dir,
                      uint32_t flags);

/**
 * Ends a plan, applied or not, and unlocks the log.
 *
 *   repair  a plan; NULL does nothing
 *
 * Blocks:  no.
 * Threads: any; exactly one, once.
 * Signals: not async-signal-safe.
 * Since:   0.1
 */
void twal_repair_close(twal_repair *repair);

/**
 * Begins to ship a log's bytes, exactly as they are on disk.
 *
 * Works on the writer's handle, and on one that is open for reading only, in
 * another process too.  What it yields is durable at the source, whole frames,
 * and never changes any more; what a record means plays no part.  On a handle
 * that is open for reading only, what nothing testifies for yet, a killed
 * writer's last records and its newest segment's name, is flushed first.  If a
 * write or flush of that writer had failed, open the log for writing before it
 * is shipped: no flush brings back what a failed one has dropped.  A follower's
 * copy that is open for reading only ships what is durable there; when it is
 * promoted, the source is at its end (TWAL_E_STATE): another history begins.
 *
 * Without a position it begins with the newest segment that was released, or
 * the oldest there is: then a copy is a log without a gap in its names.  With
 * one it goes on there, after it has checked that the follower has what this
 * log has: the identity of the last frame stands for everything before it.
 *
 * What a follower still needs, its host has to hold: set a hold at
 * position.hold_seq (twal_hold_set()) before this call, and move it on now and
 * then to what the follower's position says.  Else a trim may take segments
 * away before they are shipped, or a compaction change one in the middle:
 * TWAL_E_TRIMMED, and the follower has to begin anew in an empty directory.
 * While the position is still in the released segment that a copy begins with,
 * hold_seq may be below a hold that was set at 0, the oldest number not
 * released: TWAL_E_STATE there, and the hold keeps all that comes behind.
 * A compaction between two segments nobody notices: without a hold the copy may
 * hold one from before it and the next from behind it, a state that the source
 * never was in.  So where the source is compacted the hold is part of what makes
 * the copy right.  A segment that is compacted after it was shipped stays as it
 * was at the follower.
 *
 *   log         an open log
 *   from        where to go on: the sink's twal_sink_position(); NULL, or one
 *               whose index is 0: the beginning
 *   source_out  receives the source; give it back with twal_source_close().
 *               Untouched on failure.
 *
 * Returns TWAL_OK, or
 *
 *   TWAL_E_INVAL        log or source_out is NULL, from->struct_size is none,
 *                       or complete is neither 0 nor 1
 *   TWAL_E_FORKED       this process is a fork()ed child
 *   TWAL_E_CLOSED       twal_close() has begun
 *   TWAL_E_TRIMMED      what comes next was released and is gone, or its
 *                       segment was compacted since; the detail's seq is the
 *                       oldest number there is
 *   TWAL_E_STATE        the position is another log's or another history's
 *                       (the text names both), or the follower has more than
 *                       this log, or something else: a repair may have cut it;
 *                       or the log is a follower's copy, and another one is in
 *                       its place
 *   TWAL_E_BUSY         a writer elsewhere is just beginning that segment, or
 *                       its segments change too fast to be listed; ask again
 *   TWAL_E_CORRUPT      the log is damaged at that place
 *   TWAL_E_IO           a file could not be opened or read
 *   TWAL_E_PERM         the operating system refuses access to a file
 *   TWAL_E_NOMEM        no memory or file descriptor left
 *   TWAL_E_UNSUPPORTED  from says something that this release does not know
 *   TWAL_E_PANIC        a bug in twal was caught
 *
 * Blocks:  on the device; reads the segment up to the position.
 * Threads: any.
 * Signals: not async-signal-safe.
 * Since:   0.1
 */
TWAL_CHECK
int twal_source_open(twal_log *log,
                     const twal_ship_position *from,
                     twal_source **source_out);

/**
 * Yields the next piece, and waits for it if there is none yet.
 *
 * A piece is usually up to 1 MiB, more where one frame is longer.  Behind a
 * segment's seal the rest of its file follows, without its blocks of zeros, so
 * that the files are the same to cmp(1).  Marks may come with the record that
 * follows them.
 *
 * In an event loop, ask twal_eventfd() of the log when there may be more, and
 * call this with timeout_ns 0 until it returns 0.  The eventfd tells of records
 * alone: what ends a segment in which nothing more is appended comes with the
 * next one.
 *
 *   source      a source
 *   timeout_ns  nanoseconds; 0 looks and does not wait; below 0: for ever
 *   piece_out   receives the piece; its struct_size must be set, as
 *               TWAL_SHIP_PIECE_INIT does.  data is valid until the next call
 *               on source.  Untouched if the answer is not 1.
 *
 * Returns 1 with a piece, 0 if there is none within the time, or
 *
 *   TWAL_E_INVAL     source or piece_out is NULL, or struct_size is no size
 *                    that a release of twal ever had
 *   TWAL_E_FORKED    this process is a fork()ed child
 *   TWAL_E_CLOSED    the log was closed
 *   TWAL_E_POISONED  everything durable was yielded, and an earlier write or
 *                    flush of the log failed
 *   TWAL_E_TRIMMED   what comes next was released and is gone; the detail's
 *                    seq is the oldest number there is
 *   TWAL_E_CORRUPT   the log is damaged here; twal_last_error() says where
 *   TWAL_E_IO        bytes could not be read; or a write or flush of the log
 *                    failed while this waited
 *   TWAL_E_PERM      the operating system refuses access to a file
 *   TWAL_E_NOMEM     no memory or file descriptor left; call again
 *   TWAL_E_PANIC     a bug in twal was caught, now or in an earlier call
 *
 * Blocks:  for up to timeout_ns, and on the device; never for a writer.
 *          twal_close() of the log ends the wait: TWAL_E_CLOSED.
 * Threads: any, one at a time.
 * Signals: not async-signal-safe.
 * Since:   0.1
 */
TWAL_CHECK
int twal_source_next(twal_source *source,
                     int64_t timeout_ns,
                     twal_ship_piece *piece_out);

/**
 * Ends a source; what its last piece's data pointed to is gone.
 *
 * Works before and after twal_close(), and in a fork()ed child.
 *
 *   source  a source; NULL does nothing
 *
 * Blocks:  until a read on the way has come back.
 * Threads: any; exactly one, once.
 * Signals: not async-signal-safe.
 * Since:   0.1
 */
void twal_source_close(twal_source *source);

/**
 * Makes a directory a follower's, or goes on with one.
 *
 * The directory holds a copy of a log, byte for byte, and the file twal-sink,
 * which says how far the copy is durable.  While that file is there, twal_open()
 * refuses to write the directory: it is a follower's.  What lies in front of its
 * position can be read (TWAL_OPEN_READ_ONLY), by any number of processes beside
 * the sink; for what lies behind it nobody vouches.
 *
 * Checked here is that no segment in front of the position is missing; the header
 * and the seal of each from the newest archived one on; and every byte of the
 * newest.  twal_verify() reads every byte of all of them, also beside the sink: let
 * it, before twal_sink_promote() at the latest.  What is behind the position is cut
 * off, and has to be shipped again.
 *
 * Only the last component of dir is created (mode 0700; files 0600; less the
 * umask).
 *
 *   dir       path of the directory; new, empty, or a follower's
 *   options   how to open; NULL: all defaults
 *   sink_out  receives the sink; give it back with twal_sink_close().
 *             Untouched on failure.
 *
 * Returns TWAL_OK, or
 *
 *   TWAL_E_INVAL        dir or sink_out is NULL, dir is empty or not a
 *                       directory, or an option is out of its range or an
 *                       unknown flag
 *   TWAL_E_LOCKED       another sink or log has the directory open, or a killed
 *                       process' last write was still in flight after 2 seconds
 *   TWAL_E_STATE        the directory holds a log that is no follower's, or a
 *                       file of holds (twal-holds)
 *   TWAL_E_NOTFOUND     the parent directory is missing
 *   TWAL_E_CORRUPT      what the position says is durable is damaged or not
 *                       there, as far as it was looked at, with the place; or
 *                       the position itself is damaged.  Ship everything anew,
 *                       to an empty directory
 *   TWAL_E_VERSION      written by a later release
 *   TWAL_E_UNSUPPORTED  as for twal_open()
 *   TWAL_E_PERM, TWAL_E_NOSPC, TWAL_E_NOMEM, TWAL_E_IO
 *                       as for twal_open()
 *   TWAL_E_PANIC        a bug in twal was caught
 *
 * Blocks:  on the device; reads the newest segment; up to 2 seconds for a lock.
 * Threads: any.
 * Signals: not async-signal-safe.
 * Since:   0.1
 */
TWAL_CHECK
int twal_sink_open(const char *dir,
                   const twal_sink_options *options,
                   twal_sink **sink_out);

/**
 * Writes a piece, if it is whole and the very next one.
 *
 * Checked before a byte is written: whose it is, that it begins where the last
 * one ended, its checksum, the header of a new segment and that it continues the
 * one before, each frame and that it continues the one before.  What is written
 * is not durable yet: twal_sink_sync() says when.
 *
 *   sink   a sink
 *   piece  as twal_source_next() gave it, data where its bytes are now: at any
 *          address; no copy is made of bytes at a multiple of 4096
 *
 * Returns TWAL_OK, or
 *
 *   TWAL_E_INVAL        sink or piece is NULL, struct_size is none, or data is
 *                       NULL and len is not 0
 *   TWAL_E_FORKED       this process is a fork()ed child
 *   TWAL_E_STATE        a piece of another log or history (the text names
 *                       both), of another file than the segment was begun
 *                       with, or the follower was promoted
 *   TWAL_E_EXISTS       the follower has these bytes already
 *   TWAL_E_NOTFOUND     bytes in front of them are missing, also where the
 *                       follower has nothing yet: the detail's segment and
 *                       offset are the piece's, its text says where the follower
 *                       is
 *   TWAL_E_CORRUPT      the bytes are not what a log has there
 *   TWAL_E_VERSION      they are a later release's
 *   TWAL_E_NOSPC        no space for the next segment; write it again later
 *   TWAL_E_PERM, TWAL_E_NOMEM
 *                       the next segment's file could not be made; likewise
 *   TWAL_E_UNSUPPORTED  the device wants larger blocks than the log's; or piece
 *                       says something that this release does not know
 *   TWAL_E_IO           a write or flush failed
 *   TWAL_E_POISONED     the same, and it had failed before
 *   TWAL_E_PANIC        a bug in twal was caught, now or in an earlier call
 *
 * After TWAL_E_IO, TWAL_E_POISONED and TWAL_E_PANIC close the sink and open it
 * again: its position says what is there.  After any other error nothing has
 * changed, and the right piece can be written.
 *
 * Blocks:  on the device.
 * Threads: any, one at a time.
 * Signals: not async-signal-safe.
 * Since:   0.1
 */
TWAL_CHECK
int twal_sink_write(twal_sink *sink,
                    const twal_ship_piece *piece);

/**
 * Makes everything written durable, and notes it in twal-sink.
 *
 * What twal_sink_position() says after this can be acknowledged to the source.
 *
 *   sink  a sink
 *
 * Returns TWAL_OK, or
 *
 *   TWAL_E_INVAL     sink is NULL
 *   TWAL_E_FORKED    this process is a fork()ed child
 *   TWAL_E_STATE     the follower was promoted
 *   TWAL_E_IO        a write or flush failed: close the sink and open it again
 *   TWAL_E_POISONED  the same, and it had failed before
 *   TWAL_E_PANIC     a bug in twal was caught, now or in an earlier call
 *
 * Blocks:  on the device.
 * Threads: any, one at a time.
 * Signals: not async-signal-safe.
 * Since:   0.1
 */
TWAL_CHECK
int twal_sink_sync(twal_sink *sink);

/**
 * Tells how far the copy is durable: where the source is to go on, and what can
 * be acknowledged.
 *
 *   sink          a sink, also one that failed
 *   position_out  receives the position; its struct_size must be set, as
 *                 TWAL_SHIP_POSITION_INIT does.  Untouched on failure.
 *
 * Returns TWAL_OK, or
 *
 *   TWAL_E_INVAL   sink or position_out is NULL, or struct_size is no size that
 *                  a release of twal ever had
 *   TWAL_E_FORKED  this process is a fork()ed child
 *   TWAL_E_PANIC   a bug in twal was caught, now or in an earlier call
 *
 * Blocks:  no.
 * Threads: any, one at a time.
 * Signals: not async-signal-safe.
 * Since:   0.1
 */
TWAL_CHECK
int twal_sink_position(twal_sink *sink,
                       twal_ship_position *position_out);

/**
 * Makes the copy a log that twal_open() opens for writing.
 *
 * Everything written is made durable and kept.  The last segment is sealed where
 * it ends, and a new one begun, with a history id of its own: from then on
 * neither side takes the other's pieces, also if the source lives on.  A new
 * follower can follow the promoted log from its beginning.  The promotion is one
 * step: after a crash the directory is a follower's, as it was, or a log's.  It
 * reads no sealed segment: whether those are still whole twal_verify() says.
 *
 * A copy of a source that had released or compacted segments has all that its
 * source went by only when its position is at the twal_durable_seq() that the
 * source had when the copy was begun. Promoted before, it is a whole log, but
 * twal_txn_recover() may not know what was released, or refuse it.
 *
 * The sink stays locked and of no more use: close it, then open the log.
 *
 *   sink  a sink
 *
 * Returns TWAL_OK, or
 *
 *   TWAL_E_INVAL     sink is NULL
 *   TWAL_E_FORKED    this process is a fork()ed child
 *   TWAL_E_STATE     the follower has nothing yet, or was promoted already
 *   TWAL_E_NOSPC, TWAL_E_PERM, TWAL_E_NOMEM
 *                    the new segment's file could not be made; the directory is
 *                    a follower's as before
 *   TWAL_E_IO        a write or flush failed: close the sink; the directory is
 *                    still a follower's if twal_sink_open() opens it
 *   TWAL_E_POISONED  the same, and it had failed before
 *   TWAL_E_PANIC     a bug in twal was caught, now or in an earlier call
 *
 * Blocks:  on the device.
 * Threads: any, one at a time.
 * Signals: not async-signal-safe.
 * Since:   0.1
 */
TWAL_CHECK
int twal_sink_promote(twal_sink *sink);

/**
 * Makes everything written durable, as twal_sink_sync(), gives the directory
 * back, and frees the handle.
 *
 * Always frees, whatever it returns.  In a fork()ed child it frees, touches
 * neither disk nor lock, and returns TWAL_OK.
 *
 *   sink  a sink; NULL does nothing
 *
 * Returns TWAL_OK, or
 *
 *   TWAL_E_IO        a write or flush failed: what the position said before is
 *                    there
 *   TWAL_E_POISONED  the same, and it had failed before
 *   TWAL_E_NOMEM     the directory's lock could not be given back; everything
 *                    is durable, and exit gives it back
 *   TWAL_E_PANIC     a bug in twal was caught, now or in an earlier call
 *
 * Blocks:  on the device.
 * Threads: any; exactly one, once.
 * Signals: not async-signal-safe.
 * Since:   0.1
 */
int twal_sink_close(twal_sink *sink);

/**
 * Reads a log's transactions from its last checkpoint on, and gives them a
 * manager.
 *
 * Every operation that was not finished is there again, as it was, with what
 * is to be done about it: twal_txn_report_get(), twal_txn_unfinished_get() and
 * twal_txn_resume().  A log that has no checkpoint yet gets one.  That releases
 * nothing; every later checkpoint, also an automatic one, releases the segments
 * in front of it that nothing unfinished needs, WITH THE PROGRAM'S OWN RECORDS
 * in them, unless options say TWAL_TXN_KEEP_RECORDS.  From now on until
 * twal_close() no trim releases what the manager needs, also when the manager
 * is closed: a program that trims recovers first.  A call that fails changes
 * nothing of what a trim may release.
 *
 *   log      a log open for writing, also a new one
 *   options  how to work; NULL: all defaults
 *   txn_out  receives the manager; give it back with twal_txn_close().
 *            Untouched on failure.
 *
 * Returns TWAL_OK, or
 *
 *   TWAL_E_INVAL        log or txn_out is NULL, options.struct_size is none,
 *                       flags has unknown bits, compact_percent is above
 *                       100, or the log's record_size_max is too small for a
 *                       checkpoint
 *   TWAL_E_UNSUPPORTED  options say something that this release does not know
 *   TWAL_E_FORKED       this process is a fork()ed child
 *   TWAL_E_CLOSED       twal_close() has begun
 *   TWAL_E_READ_ONLY    the log is open for reading only
 *   TWAL_E_POISONED     an earlier write or flush failed
 *   TWAL_E_BUSY         the log has a manager already
 *   TWAL_E_CORRUPT      the log is damaged, has events that contradict each
 *                       other, or lacks records that were compacted away
 *                       behind what is left of its checkpoints: a repair has
 *                       cut off the last one; twal_last_error() says where
 *   TWAL_E_VERSION      a record that must not be ignored, of a later release
 *   TWAL_E_NOSPC, TWAL_E_TIMEOUT
 *                       no room for the first checkpoint
 *   TWAL_E_PERM         the operating system refuses access to a file
 *   TWAL_E_NOMEM        no memory or file descriptor left
 *   TWAL_E_IO           a read, write or flush failed
 *   TWAL_E_PANIC        a bug in twal was caught
 *
 * Blocks:  on the device, for as long as it reads.
 * Threads: any.
 * Signals: not async-signal-safe.
 * Since:   0.1
 */
TWAL_CHECK
int twal_txn_recover(twal_log *log,
                     const twal_txn_options *options,
                     twal_txn **txn_out);

/**
 * Gives a manager back.
 *
 * Waits until every call inside has come back, and an automatic compaction has
 * ended, which it does at its next frame; no new call may begin on it.  A
 * resume asks for nothing more, waits for no further try, and returns
 * TWAL_E_CLOSED as soon as the program's functions that it has called have come
 * back.  Changes nothing in the log: what is not finished is there for
 * the next twal_txn_recover(), on the same open log too.
 *
 * Works before and after twal_close(); until then, a manager keeps the memory
 * of a log that was closed.  In a fork()ed child it frees, and touches
 * neither disk nor lock.
 *
 *   txn  a manager; NULL does nothing
 *
 * Returns TWAL_OK, or
 *
 *   TWAL_E_CLOSED  another thread is inside twal_txn_close() for this manager
 *   TWAL_E_STATE   called by what twal_txn_resume() calls: the one case in
 *                  which the manager stays
 *
 * Blocks:  until the calls inside have come back.
 * Threads: any; exactly one, once.
 * Signals: not async-signal-safe.
 * Since:   0.1
 */
int twal_txn_close(twal_txn *txn);

/**
 * Writes a checkpoint now.
 *
 * Everything accepted is made durable, and with it the state of every
 * operation that is not finished: the next recovery begins here.  Then the
 * segments that only hold records older than this, and than the first record
 * of every operation that is not finished, are released, THE PROGRAM'S OWN
 * RECORDS IN THEM TOO, unless the manager was made with
 * TWAL_TXN_KEEP_RECORDS.
 *
 *   txn      a manager
 *   seq_out  receives the checkpoint's number; NULL if you do not need it.
 *            Untouched on failure.
 *
 * Returns TWAL_OK, or
 *
 *   TWAL_E_INVAL     txn is NULL
 *   TWAL_E_BUSY      twal_import() runs
 *   TWAL_E_TOOBIG    the log was opened with a smaller record_size_max than
 *                    the state of all operations needs
 *   TWAL_E_FORKED    this process is a fork()ed child
 *   TWAL_E_CLOSED    twal_close() or twal_txn_close() has begun
 *   TWAL_E_POISONED  an earlier write or flush failed
 *   TWAL_E_NOSPC, TWAL_E_TIMEOUT
 *                    no room on the device; or at options.log_size_max, where
 *                    one segment more is kept for it, that is full too:
 *                    twal_txn_compact() needs no more of it, and a larger
 *                    log_size_max at the next open helps
 *   TWAL_E_PERM, TWAL_E_NOMEM, TWAL_E_UNSUPPORTED
 *                    the next segment's file could not be made, as for
 *                    twal_append()
 *   TWAL_E_IO        a write or flush failed; or a file could not be released:
 *                    the checkpoint is there if twal_last_error() has its
 *                    number
 *   TWAL_E_CORRUPT   the log's holds are damaged or lost, so nothing is
 *                    released (twal_hold_reset() is the way on); the checkpoint
 *                    is there
 *   TWAL_E_PANIC     a bug in twal was caught
 *
 * Blocks:  on the device.
 * Threads: any.
 * Signals: not async-signal-safe.
 * Since:   0.1
 */
TWAL_CHECK
int twal_txn_checkpoint(twal_txn *txn,
                        uint64_t *seq_out);

/**
 * Tells what twal_txn_recover() found.
 *
 * As it was then, whatever has happened since; also when the log is closed or
 * poisoned.
 *
 *   txn         a manager
 *   report_out  receives the report; its struct_size must be set, as
 *               TWAL_TXN_REPORT_INIT does.  Untouched on failure.
 *
 * Returns TWAL_OK, or
 *
 *   TWAL_E_INVAL   txn or report_out is NULL, or struct_size is no size that a
 *                  release of twal ever had
 *   TWAL_E_FORKED  this process is a fork()ed child
 *   TWAL_E_CLOSED  twal_txn_close() has begun
 *
 * Blocks:  no.
 * Threads: any.
 * Signals: not async-signal-safe.
 * Since:   0.1
 */
int twal_txn_report_get(const twal_txn *txn,
                        twal_txn_report *report_out);

/**
 * Tells one operation that was not finished when twal_txn_recover() found it.
 *
 * As it was then: sagas first, then two-phase commits, by id.
 *
 *   txn            a manager
 *   at             which one, from 0
 *   operation_out  receives it; its struct_size must be set, as
 *                  TWAL_TXN_OPERATION_INIT does.  Untouched on failure.
 *
 * Returns TWAL_OK, or
 *
 *   TWAL_E_INVAL     txn or operation_out is NULL, or struct_size is no size
 *                    that a release of twal ever had
 *   TWAL_E_FORKED    this process is a fork()ed child
 *   TWAL_E_CLOSED    twal_txn_close() has begun
 *   TWAL_E_NOTFOUND  there were not so many
 *
 * Blocks:  no.
 * Threads: any.
 * Signals: not async-signal-safe.
 * Since:   0.1
 */
int twal_txn_unfinished_get(const twal_txn *txn,
                            uint64_t at,
                            twal_txn_operation *operation_out);

/**
 * Tells the next operation that is not finished, as it is now.
 *
 * Goes through sagas first, then two-phase commits, by id, while others
 * change them: one that is there all the time is told exactly once.
 *
 *   txn            a manager
 *   kind, after    one of twal_txn_kind, and an id of that kind: the first one
 *                  behind it is told.  0 and 0, or TWAL_TXN_SAGA and 0: the
 *                  very first.
 *   operation_out  receives it; its struct_size must be set, as
 *                  TWAL_TXN_OPERATION_INIT does.  Untouched on failure.
 *
 * Returns TWAL_OK, or
 *
 *   TWAL_E_INVAL     txn or operation_out is NULL, struct_size is no size that
 *                    a release of twal ever had, or kind is none
 *   TWAL_E_FORKED    this process is a fork()ed child
 *   TWAL_E_CLOSED    twal_close() or twal_txn_close() has begun
 *   TWAL_E_POISONED  an earlier write or flush failed: what is in the log is
 *                    known after the next recovery
 *   TWAL_E_NOTFOUND  there is none behind it
 *   TWAL_E_IO        a write or flush failed
 *   TWAL_E_PANIC     a bug in twal was caught
 *
 * Example:
 *
 *   twal_txn_operation one = TWAL_TXN_OPERATION_INIT;
 *   while (twal_txn_next(txn, one.kind, one.id, &one) == TWAL_OK)
 *       printf("%llu\n", (unsigned long long)one.id);
 *
 * Blocks:  on the device, if a decision, or an end that is shown, is not durable.
 * Threads: any.
 * Signals: not async-signal-safe.
 * Since:   0.1
 */
int twal_txn_next(const twal_txn *txn,
                  uint32_t kind,
                  uint64_t after,
                  twal_txn_operation *operation_out);

/**
 * Tells what a manager has counted.
 *
 *   txn        a manager
 *   stats_out  receives the numbers; its struct_size must be set, as
 *              TWAL_TXN_STATS_INIT does.  Untouched on failure.
 *
 * Returns TWAL_OK, or
 *
 *   TWAL_E_INVAL     txn or stats_out is NULL, or struct_size is no size that
 *                    a release of twal ever had
 *   TWAL_E_FORKED    this process is a fork()ed child
 *   TWAL_E_CLOSED    twal_close() or twal_txn_close() has begun
 *   TWAL_E_POISONED  an earlier write or flush failed
 *   TWAL_E_PANIC     a bug in twal was caught
 *
 * Blocks:  no.
 * Threads: any.
 * Signals: not async-signal-safe.
 * Since:   0.1
 */
int twal_txn_stats_get(const twal_txn *txn,
                       twal_txn_stats *stats_out);

/**
 * Begins a saga, with its steps if they are known.
 *
 * The saga, its steps and, with TWAL_SAGA_START, its start are one batch:
 * after any crash all of it is there or nothing.  It is durable on return, in
 * every mode of the log.
 *
 *   txn      a manager
 *   spec     the saga; NULL: the next id, no steps yet, no coordinator
 *   id_out   receives its id; NULL if you do not need it.  Untouched on
 *            failure.
 *   seq_out  receives its first record's number; NULL if you do not need it.
 *            Untouched on failure.
 *
 * Returns TWAL_OK, or
 *
 *   TWAL_E_INVAL        txn is NULL; spec.struct_size is none, spec.flags has
 *                       unknown bits, a reserved field is not 0, an array is
 *                       NULL and its count is not 0, an action is above 255, or
 *                       spec.id is above 2^63
 *   TWAL_E_UNSUPPORTED  spec says something that this release does not know
 *   TWAL_E_TOOBIG       more than 1024 steps, 65536 bytes of payload in one of
 *                       them, 16384 dependencies, or more state than all
 *                       operations together may have, or the log takes in one
 *                       batch
 *   TWAL_E_STATE        spec.id is not above every earlier saga's, an index is
 *                       there twice, or a step depends on what was not added
 *                       before it
 *   TWAL_E_BUSY         twal_import() runs
 *   and what twal_saga_add_step() returns
 *
 * Blocks:  on the device: it returns when this is durable.
 * Threads: any.
 * Signals: not async-signal-safe.
 * Since:   0.1
 */
TWAL_CHECK
int twal_saga_create(twal_txn *txn,
                     const twal_saga_spec *spec,
                     uint64_t *id_out,
                     uint64_t *seq_out);

/**
 * Adds a step to a saga that is not started.
 *
 *   txn      a manager
 *   id       the saga
 *   step     the step, copied before the call returns
 *   flags    0: durable on return if the log's mode is TWAL_SYNC; or
 *            TWAL_APPEND_SYNC or TWAL_APPEND_NO_SYNC, which override it
 *   seq_out  receives the record's number; NULL if you do not need it.
 *            Untouched on failure.
 *
 * Returns TWAL_OK, or
 *
 *   TWAL_E_INVAL     txn is NULL, id is 0, step is NULL or not
 *                    aligned, its reserved is not 0, one of its arrays is NULL
 *                    and the count is not 0, its action is above 255; or flags
 *                    has unknown bits, or both
 *   TWAL_E_TOOBIG    more than 1024 steps, 65536 bytes of payload, or 16384
 *                    dependencies in the saga
 *   TWAL_E_FORKED    this process is a fork()ed child
 *   TWAL_E_CLOSED    twal_close() or twal_txn_close() has begun
 *   TWAL_E_POISONED  an earlier write or flush failed
 *   TWAL_E_STATE     not legal now: twal_last_error() tells the state and the
 *                    rule; or there is no such operation, or it is finished
 *   TWAL_E_AGAIN     all operations together have as much state as a
 *                    checkpoint may hold: something must finish first
 *   TWAL_E_NOSPC, TWAL_E_TIMEOUT, TWAL_E_PERM, TWAL_E_NOMEM,
 *   TWAL_E_UNSUPPORTED
 *                    no room, or the next segment's file could not be made, as
 *                    for twal_append()
 *   TWAL_E_IO        a write or flush failed
 *   TWAL_E_PANIC     a bug in twal was caught
 *
 * After TWAL_E_IO, TWAL_E_POISONED, TWAL_E_PANIC, and TWAL_E_CLOSED of a log
 * that another thread closes, the next twal_txn_recover() knows whether it is
 * in the log.  After any other error nothing was written.
 *
 * Blocks:  on the device, where it waits for durability, and while the log has
 *          no room.
 * Threads: any.
 * Signals: not async-signal-safe.
 * Since:   0.1
 */
TWAL_CHECK
int twal_saga_add_step(twal_txn *txn,
                       uint64_t id,
                       const twal_saga_step *step,
                       uint32_t flags,
                       uint64_t *seq_out);

/**
 * Lets the steps of a saga run.
 *
 * From here on a recovery goes on with the saga; no step can be added.
 * Durable on return, in every mode of the log.
 *
 *   txn      a manager
 *   id       the saga
 *   seq_out  receives the record's number; NULL if you do not need it.
 *            Untouched on failure.
 *
 * Returns what twal_saga_add_step() returns.
 *
 * Blocks:  on the device: it returns when this is durable.
 * Threads: any.
 * Signals: not async-signal-safe.
 * Since:   0.1
 */
TWAL_CHECK
int twal_saga_start(twal_txn *txn,
                    uint64_t id,
                    uint64_t *seq_out);

/**
 * Tells that a step is done.
 *
 * Of the steps of the lowest level that is not done, in any order.
 *
 *   txn      a manager
 *   id       the saga
 *   step     index of the step
 *   flags    0: durable on return if the log's mode is TWAL_SYNC; or
 *            TWAL_APPEND_SYNC or TWAL_APPEND_NO_SYNC, which override it
 *   seq_out  receives the record's number; NULL if you do not need it.
 *            Untouched on failure.
 *
 * Returns what twal_saga_add_step() returns.
 *
 * Blocks:  on the device, where it waits for durability, and while the log has
 *          no room.
 * Threads: any.
 * Signals: not async-signal-safe.
 * Since:   0.1
 */
TWAL_CHECK
int twal_saga_step_succeeded(twal_txn *txn,
                             uint64_t id,
                             uint32_t step,
                             uint32_t flags,
                             uint64_t *seq_out);

/**
 * Tells that a step is not done and will not be.
 *
 * From here on a recovery compensates the saga.  The log does not say which
 * steps were begun, so tell this when no other step of the saga is in flight:
 * an outcome that comes later is taken, and undone like the others; a step
 * whose outcome never comes is not undone, though it may have been done.
 *
 *   txn      a manager
 *   id       the saga
 *   step     index of the step
 *   error    the program's error number
 *   flags    0: durable on return if the log's mode is TWAL_SYNC; or
 *            TWAL_APPEND_SYNC or TWAL_APPEND_NO_SYNC, which override it
 *   seq_out  receives the record's number; NULL if you do not need it.
 *            Untouched on failure.
 *
 * Returns what twal_saga_add_step() returns.
 *
 * Blocks:  on the device, where it waits for durability, and while the log has
 *          no room.
 * Threads: any.
 * Signals: not async-signal-safe.
 * Since:   0.1
 */
TWAL_CHECK
int twal_saga_step_failed(twal_txn *txn,
                          uint64_t id,
                          uint32_t step,
                          uint32_t error,
                          uint32_t flags,
                          uint64_t *seq_out);

/**
 * Lets what was done in a saga be undone from now on.
 *
 * After a failed step, or instead of going on.  Durable on return, in every
 * mode of the log.
 *
 * The log does not say which steps were begun, so call this when no step of the
 * saga is in flight, as for twal_saga_step_failed().  An outcome that comes
 * later is taken, and undone like the others, until twal_saga_compensated() has
 * ended the saga.  A step whose outcome never comes is not undone, though it
 * may have been done: neither by the program's own compensation, which asks for
 * what stands, nor by twal_txn_resume() after a crash.
 *
 *   txn      a manager
 *   id       the saga
 *   seq_out  receives the record's number; NULL if you do not need it.
 *            Untouched on failure.
 *
 * Returns what twal_saga_add_step() returns.
 *
 * Blocks:  on the device: it returns when this is durable.
 * Threads: any.
 * Signals: not async-signal-safe.
 * Since:   0.1
 */
TWAL_CHECK
int twal_saga_compensation_start(twal_txn *txn,
                                 uint64_t id,
                                 uint64_t *seq_out);

/**
 * Tells that a step is undone.
 *
 * Of the steps of the highest level that stand, in any order.
 *
 *   txn      a manager
 *   id       the saga
 *   step     index of the step
 *   flags    0: durable on return if the log's mode is TWAL_SYNC; or
 *            TWAL_APPEND_SYNC or TWAL_APPEND_NO_SYNC, which override it
 *   seq_out  receives the record's number; NULL if you do not need it.
 *            Untouched on failure.
 *
 * Returns what twal_saga_add_step() returns.
 *
 * Blocks:  on the device, where it waits for durability, and while the log has
 *          no room.
 * Threads: any.
 * Signals: not async-signal-safe.
 * Since:   0.1
 */
TWAL_CHECK
int twal_saga_compensation_succeeded(twal_txn *txn,
                                     uint64_t id,
                                     uint32_t step,
                                     uint32_t flags,
                                     uint64_t *seq_out);

/**
 * Tells that undoing a step failed.
 *
 * It can be tried again; a saga of which a step cannot be undone ends with
 * twal_saga_aborted().
 *
 *   txn      a manager
 *   id       the saga
 *   step     index of the step
 *   retries  how often it was tried
 *   flags    0: durable on return if the log's mode is TWAL_SYNC; or
 *            TWAL_APPEND_SYNC or TWAL_APPEND_NO_SYNC, which override it
 *   seq_out  receives the record's number; NULL if you do not need it.
 *            Untouched on failure.
 *
 * Returns what twal_saga_add_step() returns.
 *
 * Blocks:  on the device, where it waits for durability, and while the log has
 *          no room.
 * Threads: any.
 * Signals: not async-signal-safe.
 * Since:   0.1
 */
TWAL_CHECK
int twal_saga_compensation_failed(twal_txn *txn,
                                  uint64_t id,
                                  uint32_t step,
                                  uint32_t retries,
                                  uint32_t flags,
                                  uint64_t *seq_out);

/**
 * Ends a saga: every step is done.
 *
 *   txn      a manager
 *   id       the saga
 *   flags    0: durable on return if the log's mode is TWAL_SYNC; or
 *            TWAL_APPEND_SYNC or TWAL_APPEND_NO_SYNC, which override it
 *   seq_out  receives the record's number; NULL if you do not need it.
 *            Untouched on failure.
 *
 * Returns what twal_saga_add_step() returns.
 *
 * Blocks:  on the device, where it waits for durability, and while the log has
 *          no room.
 * Threads: any.
 * Signals: not async-signal-safe.
 * Since:   0.1
 */
TWAL_CHECK
int twal_saga_completed(twal_txn *txn,
                        uint64_t id,
                        uint32_t flags,
                        uint64_t *seq_out);

/**
 * Ends a saga: every step that was done is undone.
 *
 *   txn      a manager
 *   id       the saga
 *   flags    0: durable on return if the log's mode is TWAL_SYNC; or
 *            TWAL_APPEND_SYNC or TWAL_APPEND_NO_SYNC, which override it
 *   seq_out  receives the record's number; NULL if you do not need it.
 *            Untouched on failure.
 *
 * Returns what twal_saga_add_step() returns.
 *
 * Blocks:  on the device, where it waits for durability, and while the log has
 *          no room.
 * Threads: any.
 * Signals: not async-signal-safe.
 * Since:   0.1
 */
TWAL_CHECK
int twal_saga_compensated(twal_txn *txn,
                          uint64_t id,
                          uint32_t flags,
                          uint64_t *seq_out);

/**
 * Ends a saga: it is given up.
 *
 * Legal when nothing that is known stands, or undoing a step has failed.
 *
 *   txn      a manager
 *   id       the saga
 *   flags    0: durable on return if the log's mode is TWAL_SYNC; or
 *            TWAL_APPEND_SYNC or TWAL_APPEND_NO_SYNC, which override it
 *   seq_out  receives the record's number; NULL if you do not need it.
 *            Untouched on failure.
 *
 * Returns what twal_saga_add_step() returns.
 *
 * Blocks:  on the device, where it waits for durability, and while the log has
 *          no room.
 * Threads: any.
 * Signals: not async-signal-safe.
 * Since:   0.1
 */
TWAL_CHECK
int twal_saga_aborted(twal_txn *txn,
                      uint64_t id,
                      uint32_t flags,
                      uint64_t *seq_out);

/**
 * Tells where a saga is.
 *
 * TWAL_SAGA_FINISHED is durable when it is told, whatever the flags were that
 * its last event was told with.  TWAL_SAGA_FAILED may not be.
 *
 *   txn        a manager
 *   id         the saga; any number
 *   state_out  receives one of twal_saga_state.  Untouched on failure.
 *
 * Returns TWAL_OK, or
 *
 *   TWAL_E_INVAL     txn or state_out is NULL
 *   TWAL_E_FORKED    this process is a fork()ed child
 *   TWAL_E_CLOSED    twal_close() or twal_txn_close() has begun
 *   TWAL_E_POISONED  an earlier write or flush failed: what is in the log is
 *                    known after the next recovery
 *   TWAL_E_IO        a write or flush failed
 *   TWAL_E_PANIC     a bug in twal was caught
 *
 * Blocks:  on the device, if a decision, or an end that is shown, is not durable.
 * Threads: any.
 * Signals: not async-signal-safe.
 * Since:   0.1
 */
TWAL_CHECK
int twal_saga_state_get(const twal_txn *txn,
                        uint64_t id,
                        uint32_t *state_out);

/**
 * Tells all of a saga that is not finished.
 *
 *   txn            a manager
 *   id             the saga
 *   operation_out  receives it; its struct_size must be set, as
 *                  TWAL_TXN_OPERATION_INIT does.  parts says how many steps
 *                  there are, also if fewer were asked for.  Untouched on
 *                  failure.
 *   steps_out      receives its first steps, in the order in which they were
 *                  added; NULL if capacity is 0.  Untouched on failure.
 *   capacity       how many steps there is room for
 *
 * Returns TWAL_OK, or
 *
 *   TWAL_E_INVAL     txn or operation_out is NULL, struct_size is no size that
 *                    a release of twal ever had, or steps_out is NULL or not
 *                    aligned and capacity is not 0
 *   TWAL_E_FORKED    this process is a fork()ed child
 *   TWAL_E_CLOSED    twal_close() or twal_txn_close() has begun
 *   TWAL_E_POISONED  an earlier write or flush failed: what is in the log is
 *                    known after the next recovery
 *   TWAL_E_NOTFOUND  there is no such saga, or it is finished
 *   TWAL_E_IO        a write or flush failed
 *   TWAL_E_PANIC     a bug in twal was caught
 *
 * Blocks:  on the device, if a decision, or an end that is shown, is not durable.
 * Threads: any.
 * Signals: not async-signal-safe.
 * Since:   0.1
 */
TWAL_CHECK
int twal_saga_get(const twal_txn *txn,
                  uint64_t id,
                  twal_txn_operation *operation_out,
                  twal_saga_step_info *steps_out,
                  size_t capacity);

/**
 * Copies what a step was given to be undone with.
 *
 *   txn       a manager
 *   id        the saga, not finished
 *   step      index of the step
 *   data_out  receives the payload's first bytes, as many as there is room
 *             for; NULL if capacity is 0.  Untouched on failure.
 *   capacity  bytes that there is room for
 *   len_out   receives how many bytes the payload has.  Untouched on failure.
 *
 * Returns TWAL_OK, or
 *
 *   TWAL_E_INVAL     txn or len_out is NULL, or data_out is NULL and capacity
 *                    is not 0
 *   TWAL_E_FORKED    this process is a fork()ed child
 *   TWAL_E_CLOSED    twal_close() or twal_txn_close() has begun
 *   TWAL_E_POISONED  an earlier write or flush failed: what is in the log is
 *                    known after the next recovery
 *   TWAL_E_NOTFOUND  there is no such saga or step, or the saga is finished
 *   TWAL_E_IO        a write or flush failed
 *   TWAL_E_PANIC     a bug in twal was caught
 *
 * Blocks:  on the device, if a decision, or an end that is shown, is not durable.
 * Threads: any.
 * Signals: not async-signal-safe.
 * Since:   0.1
 */
TWAL_CHECK
int twal_saga_payload_get(const twal_txn *txn,
                          uint64_t id,
                          uint32_t step,
                          void *data_out,
                          size_t capacity,
                          uint64_t *len_out);

/**
 * Tells the name of one action of a saga.
 *
 * The same after every crash, on every attempt, in every epoch: a participant
 * that remembers the tokens it has seen does nothing twice.  Asks nobody
 * whether there is such a saga or step.
 *
 *   txn        a manager
 *   id         the saga
 *   step       index of the step
 *   direction  TWAL_DIRECTION_EXECUTE or TWAL_DIRECTION_COMPENSATE
 *   token_out  receives 16 bytes.  Untouched on failure.
 *
 * Returns TWAL_OK, or
 *
 *   TWAL_E_INVAL   txn or token_out is NULL, id is 0, or direction is none of
 *                  these
 *   TWAL_E_FORKED  this process is a fork()ed child
 *   TWAL_E_CLOSED  twal_txn_close() has begun
 *
 * Blocks:  no.
 * Threads: any.
 * Signals: not async-signal-safe.
 * Since:   0.1
 */
int twal_saga_token(const twal_txn *txn,
                    uint64_t id,
                    uint32_t step,
                    uint32_t direction,
                    uint8_t *token_out);

/**
 * Begins a two-phase commit, with its participants if they are known.
 *
 * All of it is one batch: after any crash it is there as a whole or not at
 * all.  It is durable on return, in every mode of the log.
 *
 *   txn      a manager
 *   spec     the two-phase commit; NULL: the next id, no participants yet, no
 *            coordinator
 *   id_out   receives its id; NULL if you do not need it.  Untouched on
 *            failure.
 *   seq_out  receives its first record's number; NULL if you do not need it.
 *            Untouched on failure.
 *
 * Returns TWAL_OK, or
 *
 *   TWAL_E_INVAL        txn is NULL; spec.struct_size is none, participants is
 *                       NULL and its count is not 0, a participant's vote or
 *                       reserved is not 0, or spec.id is above 2^63
 *   TWAL_E_UNSUPPORTED  spec says something that this release does not know
 *   TWAL_E_TOOBIG       more than 64 participants, or more than the log takes
 *                       in one batch
 *   TWAL_E_STATE        spec.id is not above every earlier one, or a shard is
 *                       there twice
 *   TWAL_E_BUSY         twal_import() runs
 *   and what twal_2pc_add_participant() returns
 *
 * Blocks:  on the device: it returns when this is durable.
 * Threads: any.
 * Signals: not async-signal-safe.
 * Since:   0.1
 */
TWAL_CHECK
int twal_2pc_create(twal_txn *txn,
                    const twal_2pc_spec *spec,
                    uint64_t *id_out,
                    uint64_t *seq_out);

/**
 * Adds a participant to a two-phase commit that is not being prepared.
 *
 *   txn      a manager
 *   id       the two-phase commit
 *   shard    32 bytes that name the shard
 *   node     32 bytes that name the node that has it
 *   flags    0: durable on return if the log's mode is TWAL_SYNC; or
 *            TWAL_APPEND_SYNC or TWAL_APPEND_NO_SYNC, which override it
 *   seq_out  receives the record's number; NULL if you do not need it.
 *            Untouched on failure.
 *
 * Returns TWAL_OK, or
 *
 *   TWAL_E_INVAL     txn is NULL, id is 0, shard or node is NULL; or
 *                    flags has unknown bits, or both
 *   TWAL_E_TOOBIG    more than 64 participants
 *   TWAL_E_FORKED    this process is a fork()ed child
 *   TWAL_E_CLOSED    twal_close() or twal_txn_close() has begun
 *   TWAL_E_POISONED  an earlier write or flush failed
 *   TWAL_E_STATE     not legal now: twal_last_error() tells the state and the
 *                    rule; or there is no such operation, or it is finished
 *   TWAL_E_AGAIN     all operations together have as much state as a
 *                    checkpoint may hold: something must finish first
 *   TWAL_E_NOSPC, TWAL_E_TIMEOUT, TWAL_E_PERM, TWAL_E_NOMEM,
 *   TWAL_E_UNSUPPORTED
 *                    no room, or the next segment's file could not be made, as
 *                    for twal_append()
 *   TWAL_E_IO        a write or flush failed
 *   TWAL_E_PANIC     a bug in twal was caught
 *
 * After TWAL_E_IO, TWAL_E_POISONED, TWAL_E_PANIC, and TWAL_E_CLOSED of a log
 * that another thread closes, the next twal_txn_recover() knows whether it is
 * in the log.  After any other error nothing was written.
 *
 * Blocks:  on the device, where it waits for durability, and while the log has
 *          no room.
 * Threads: any.
 * Signals: not async-signal-safe.
 * Since:   0.1
 */
TWAL_CHECK
int twal_2pc_add_participant(twal_txn *txn,
                             uint64_t id,
                             const uint8_t *shard,
                             const uint8_t *node,
                             uint32_t flags,
                             uint64_t *seq_out);

/**
 * Lets votes be asked for from now on.
 *
 * No participant can be added.  A recovery that does not find every vote
 * aborts (presumed abort).  Durable on return, in every mode of the log.
 *
 *   txn      a manager
 *   id       the two-phase commit
 *   seq_out  receives the record's number; NULL if you do not need it.
 *            Untouched on failure.
 *
 * Returns what twal_2pc_add_participant() returns; TWAL_E_STATE also where there
 * is no participant.
 *
 * Blocks:  on the device: it returns when this is durable.
 * Threads: any.
 * Signals: not async-signal-safe.
 * Since:   0.1
 */
TWAL_CHECK
int twal_2pc_prepare(twal_txn *txn,
                     uint64_t id,
                     uint64_t *seq_out);

/**
 * Tells a participant's vote.
 *
 * With every participant's TWAL_VOTE_COMMIT in the log a recovery commits: to
 * abort then, tell no participant so before twal_2pc_abort_start() has
 * returned.
 *
 *   txn      a manager
 *   id       the two-phase commit
 *   shard    32 bytes that name the shard
 *   vote     TWAL_VOTE_COMMIT or TWAL_VOTE_ABORT
 *   flags    0: durable on return if the log's mode is TWAL_SYNC; or
 *            TWAL_APPEND_SYNC or TWAL_APPEND_NO_SYNC, which override it
 *   seq_out  receives the record's number; NULL if you do not need it.
 *            Untouched on failure.
 *
 * Returns what twal_2pc_add_participant() returns, TWAL_E_INVAL also for a
 * vote that is neither.
 *
 * Blocks:  on the device, where it waits for durability, and while the log has
 *          no room.
 * Threads: any.
 * Signals: not async-signal-safe.
 * Since:   0.1
 */
TWAL_CHECK
int twal_2pc_vote(twal_txn *txn,
                  uint64_t id,
                  const uint8_t *shard,
                  uint32_t vote,
                  uint32_t flags,
                  uint64_t *seq_out);

/**
 * Decides to commit; every participant has voted for it.
 *
 * Durable on return, in every mode of the log: tell the participants then, not
 * before.
 *
 *   txn      a manager
 *   id       the two-phase commit
 *   seq_out  receives the record's number; NULL if you do not need it.
 *            Untouched on failure.
 *
 * Returns what twal_2pc_add_participant() returns.
 *
 * Blocks:  on the device: it returns when this is durable.
 * Threads: any.
 * Signals: not async-signal-safe.
 * Since:   0.1
 */
TWAL_CHECK
int twal_2pc_commit_start(twal_txn *txn,
                          uint64_t id,
                          uint64_t *seq_out);

/**
 * Ends a two-phase commit: every participant has committed.
 *
 * It can be rolled back as long as its state is TWAL_2PC_COMMITTED.
 *
 *   txn      a manager
 *   id       the two-phase commit
 *   flags    0: durable on return if the log's mode is TWAL_SYNC; or
 *            TWAL_APPEND_SYNC or TWAL_APPEND_NO_SYNC, which override it
 *   seq_out  receives the record's number; NULL if you do not need it.
 *            Untouched on failure.
 *
 * Returns what twal_2pc_add_participant() returns.
 *
 * Blocks:  on the device, where it waits for durability, and while the log has
 *          no room.
 * Threads: any.
 * Signals: not async-signal-safe.
 * Since:   0.1
 */
TWAL_CHECK
int twal_2pc_commit_complete(twal_txn *txn,
                             uint64_t id,
                             uint32_t flags,
                             uint64_t *seq_out);

/**
 * Decides to abort.
 *
 * At any time before twal_2pc_commit_start().  Durable on return, in every
 * mode of the log: tell the participants then, not before.
 *
 *   txn      a manager
 *   id       the two-phase commit
 *   seq_out  receives the record's number; NULL if you do not need it.
 *            Untouched on failure.
 *
 * Returns what twal_2pc_add_participant() returns.
 *
 * Blocks:  on the device: it returns when this is durable.
 * Threads: any.
 * Signals: not async-signal-safe.
 * Since:   0.1
 */
TWAL_CHECK
int twal_2pc_abort_start(twal_txn *txn,
                         uint64_t id,
                         uint64_t *seq_out);

/**
 * Decides to abort the two-phase commit that has waited longest for its votes.
 *
 * The deadline of votes: of those whose votes were asked for wait_us or longer
 * ago, by the monotonic clock, and which do not have all of them, the oldest
 * one gets its abort_start, as by twal_2pc_abort_start().  Its coordinator, if
 * it still lives, learns so from its next call, which is refused, and
 * participants from twal_2pc_state_get().  One that all voted to commit is
 * never taken, nor what twal_txn_recover() found or twal_import() brought:
 * twal_txn_resume() aborts those that wait for votes, however short they have.
 * The time is not in the log.  Who takes one ends it, too, as after
 * twal_2pc_abort_start().
 *
 *   txn      a manager
 *   wait_us  microseconds since twal_2pc_prepare(); 0: any that waits
 *   id_out   receives its id; NULL if you do not need it.  Untouched on
 *            failure.
 *   seq_out  receives the record's number; NULL if you do not need it.
 *            Untouched on failure.
 *
 * Returns TWAL_OK, or
 *
 *   TWAL_E_INVAL     txn is NULL
 *   TWAL_E_NOTFOUND  none has waited so long
 *   TWAL_E_FORKED    this process is a fork()ed child
 *   TWAL_E_CLOSED    twal_close() or twal_txn_close() has begun
 *   TWAL_E_POISONED  an earlier write or flush failed
 *   TWAL_E_NOSPC, TWAL_E_TIMEOUT, TWAL_E_PERM, TWAL_E_NOMEM,
 *   TWAL_E_UNSUPPORTED
 *                    no room, or the next segment's file could not be made, as
 *                    for twal_append()
 *   TWAL_E_IO        a write or flush failed
 *   TWAL_E_PANIC     a bug in twal was caught
 *
 * All that are overdue, for a thread that looks every now and then:
 *
 *   uint64_t id;
 *   while (twal_2pc_expire(txn, 5000000, &id, NULL) == TWAL_OK) {
 *       tell_participants_to_abort(id);
 *       if (twal_2pc_abort_complete(txn, id, 0, NULL) != TWAL_OK)
 *           break;
 *   }
 *
 * After TWAL_E_IO, TWAL_E_POISONED, TWAL_E_PANIC, and TWAL_E_CLOSED of a log
 * that another thread closes, the next twal_txn_recover() knows whether one
 * was taken.  After any other error nothing was written.
 *
 * Blocks:  on the device: it returns when this is durable.
 * Threads: any.
 * Signals: not async-signal-safe.
 * Since:   0.1
 */
TWAL_CHECK
int twal_2pc_expire(twal_txn *txn,
                    uint64_t wait_us,
                    uint64_t *id_out,
                    uint64_t *seq_out);

/**
 * Ends a two-phase commit: nothing of it is there at any participant.
 *
 *   txn      a manager
 *   id       the two-phase commit
 *   flags    0: durable on return if the log's mode is TWAL_SYNC; or
 *            TWAL_APPEND_SYNC or TWAL_APPEND_NO_SYNC, which override it
 *   seq_out  receives the record's number; NULL if you do not need it.
 *            Untouched on failure.
 *
 * Returns what twal_2pc_add_participant() returns.
 *
 * Blocks:  on the device, where it waits for durability, and while the log has
 *          no room.
 * Threads: any.
 * Signals: not async-signal-safe.
 * Since:   0.1
 */
TWAL_CHECK
int twal_2pc_abort_complete(twal_txn *txn,
                            uint64_t id,
                            uint32_t flags,
                            uint64_t *seq_out);

/**
 * Decides to undo a commit.
 *
 * Of one that commits or has committed, and again of one that is being rolled
 * back, for who begins the rollback anew; three times of one, all together.
 * Durable on return, in every mode of the log: tell the participants then, not
 * before.
 *
 *   txn      a manager
 *   id       the two-phase commit
 *   seq_out  receives the record's number; NULL if you do not need it.
 *            Untouched on failure.
 *
 * Returns what twal_2pc_add_participant() returns, and TWAL_E_TOOBIG for the
 * fourth time: a limit, as that of participants; the rollback goes on.
 *
 * Blocks:  on the device: it returns when this is durable.
 * Threads: any.
 * Signals: not async-signal-safe.
 * Since:   0.1
 */
TWAL_CHECK
int twal_2pc_rollback_start(twal_txn *txn,
                            uint64_t id,
                            uint64_t *seq_out);

/**
 * Ends a two-phase commit: the commit is undone at every participant.
 *
 *   txn      a manager
 *   id       the two-phase commit
 *   flags    0: durable on return if the log's mode is TWAL_SYNC; or
 *            TWAL_APPEND_SYNC or TWAL_APPEND_NO_SYNC, which override it
 *   seq_out  receives the record's number; NULL if you do not need it.
 *            Untouched on failure.
 *
 * Returns what twal_2pc_add_participant() returns.
 *
 * Blocks:  on the device, where it waits for durability, and while the log has
 *          no room.
 * Threads: any.
 * Signals: not async-signal-safe.
 * Since:   0.1
 */
TWAL_CHECK
int twal_2pc_rollback_complete(twal_txn *txn,
                               uint64_t id,
                               uint32_t flags,
                               uint64_t *seq_out);

/**
 * Tells where a two-phase commit is: what a participant asks that does not
 * know its outcome.
 *
 * TWAL_2PC_COMMITTED and TWAL_2PC_FINISHED are durable when they are told,
 * whatever the flags were that its last event was told with.  TWAL_2PC_PREPARED
 * and TWAL_2PC_REFUSED tell votes, which may not be: neither is an outcome.
 *
 *   txn        a manager
 *   id         the two-phase commit; any number
 *   state_out  receives one of twal_2pc_state.  Untouched on failure.
 *
 * Returns TWAL_OK, or
 *
 *   TWAL_E_INVAL     txn or state_out is NULL
 *   TWAL_E_FORKED    this process is a fork()ed child
 *   TWAL_E_CLOSED    twal_close() or twal_txn_close() has begun
 *   TWAL_E_POISONED  an earlier write or flush failed: what is in the log is
 *                    known after the next recovery
 *   TWAL_E_IO        a write or flush failed
 *   TWAL_E_PANIC     a bug in twal was caught
 *
 * Blocks:  on the device, if a decision, or an end that is shown, is not durable.
 * Threads: any.
 * Signals: not async-signal-safe.
 * Since:   0.1
 */
TWAL_CHECK
int twal_2pc_state_get(const twal_txn *txn,
                       uint64_t id,
                       uint32_t *state_out);

/**
 * Tells all of a two-phase commit that is not finished, or of one of the last
 * 256 that committed.
 *
 *   txn               a manager
 *   id                the two-phase commit
 *   operation_out     receives it; its struct_size must be set, as
 *                     TWAL_TXN_OPERATION_INIT does.  parts says how many
 *                     participants there are, also if fewer were asked for.
 *                     Untouched on failure.
 *   participants_out  receives its first participants, in the order in which
 *                     they were added; NULL if capacity is 0.  Untouched on
 *                     failure.
 *   capacity          how many participants there is room for
 *
 * Returns TWAL_OK, or
 *
 *   TWAL_E_INVAL     txn or operation_out is NULL, struct_size is no size that
 *                    a release of twal ever had, or participants_out is NULL
 *                    or not aligned and capacity is not 0
 *   TWAL_E_FORKED    this process is a fork()ed child
 *   TWAL_E_CLOSED    twal_close() or twal_txn_close() has begun
 *   TWAL_E_POISONED  an earlier write or flush failed: what is in the log is
 *                    known after the next recovery
 *   TWAL_E_NOTFOUND  there is no such one, or nothing more is known of it
 *   TWAL_E_IO        a write or flush failed
 *   TWAL_E_PANIC     a bug in twal was caught
 *
 * Blocks:  on the device, if a decision, or an end that is shown, is not durable.
 * Threads: any.
 * Signals: not async-signal-safe.
 * Since:   0.1
 */
TWAL_CHECK
int twal_2pc_get(const twal_txn *txn,
                 uint64_t id,
                 twal_txn_operation *operation_out,
                 twal_2pc_participant *participants_out,
                 size_t capacity);

/**
 * Tells the name of one action of a two-phase commit.
 *
 * The same after every crash, on every attempt, in every epoch: a participant
 * that remembers the tokens it has seen does nothing twice.  Asks nobody
 * whether there is such a two-phase commit or shard.
 *
 *   txn        a manager
 *   id         the two-phase commit
 *   shard      32 bytes that name the shard
 *   direction  one of twal_direction, from TWAL_DIRECTION_PREPARE on
 *   token_out  receives 16 bytes.  Untouched on failure.
 *
 * Returns TWAL_OK, or
 *
 *   TWAL_E_INVAL   txn, shard or token_out is NULL, id is 0, or direction is
 *                  none of these
 *   TWAL_E_FORKED  this process is a fork()ed child
 *   TWAL_E_CLOSED  twal_txn_close() has begun
 *
 * Blocks:  no.
 * Threads: any.
 * Signals: not async-signal-safe.
 * Since:   0.1
 */
int twal_2pc_token(const twal_txn *txn,
                   uint64_t id,
                   const uint8_t *shard,
                   uint32_t direction,
                   uint8_t *token_out);

/**
 * Finishes every operation that twal_txn_recover() found unfinished, or
 * twal_import() brought, and that something is to be done about.
 *
 * Calls the program's functions, logs each outcome, and returns when nothing
 * is left to do; what it tells as finished is durable.  What was never begun
 * is left alone; so is an operation of which an action failed that cannot be
 * passed over, or has no outcome after so many tries: ask again later, which
 * does what was left and nothing else.
 *
 * What was created since twal_txn_recover() belongs to who created it, and is
 * never touched: others may go on meanwhile.  What recovery found and the
 * program goes on with by itself, it must not resume.
 *
 * It may be killed at any point: after the next twal_txn_recover() another
 * resume goes on, and asks again, with the same token, for what it cannot know
 * was done.
 *
 *   txn           a manager
 *   participants  who carries actions out
 *   options       how; NULL: all defaults
 *   resumed_out   receives the result; its struct_size must be set, as
 *                 TWAL_TXN_RESUMED_INIT does.  NULL if you do not need it.
 *                 Untouched on failure.
 *
 * Returns TWAL_OK, also if operations are left, or
 *
 *   TWAL_E_INVAL        txn or participants is NULL, a function is NULL, a
 *                       struct_size is none, or threads is above 256
 *   TWAL_E_UNSUPPORTED  participants or options say something that this
 *                       release does not know
 *   TWAL_E_FORKED       this process is a fork()ed child
 *   TWAL_E_CLOSED       twal_txn_close() or twal_close() has begun, also while
 *                       it ran
 *   TWAL_E_POISONED     an earlier write or flush failed
 *   TWAL_E_BUSY         another resume of this manager runs
 *   TWAL_E_IO           a write or flush failed
 *   TWAL_E_PANIC        a bug in twal was caught
 *
 * Blocks:  until everything is done or given up, on the program's functions,
 *          the device and between tries.
 * Threads: any; the functions are called on this one and on twal's, which
 *          block all signals.
 * Signals: not async-signal-safe.
 * Since:   0.1
 */
TWAL_CHECK
int twal_txn_resume(twal_txn *txn,
                    const twal_txn_participants *participants,
                    const twal_txn_resume_options *options,
                    twal_txn_resumed *resumed_out);

/**
 * Tells one operation that the last twal_txn_resume() left, and why.
 *
 *   txn            a manager
 *   at             which one, from 0
 *   operation_out  receives the operation as it was then; its struct_size must
 *                  be set, as TWAL_TXN_OPERATION_INIT does.  Untouched on
 *                  failure.
 *   error_out      receives why, as TWAL_ERROR_INIT lets it; code is TWAL_OK
 *                  if the operation was not begun, or was imported
 *                  meanwhile.  NULL if you do not need it.  Untouched on failure.
 *
 * Returns TWAL_OK, or
 *
 *   TWAL_E_INVAL     txn or operation_out is NULL, or a struct_size is no size
 *                    that a release of twal ever had
 *   TWAL_E_FORKED    this process is a fork()ed child
 *   TWAL_E_CLOSED    twal_txn_close() has begun
 *   TWAL_E_NOTFOUND  it did not leave so many, or there was none
 *
 * Blocks:  no.
 * Threads: any.
 * Signals: not async-signal-safe.
 * Since:   0.1
 */
int twal_txn_left_get(const twal_txn *txn,
                      uint64_t at,
                      twal_txn_operation *operation_out,
                      twal_error *error_out);

/**
 * Drops what the program has written to a stream.
 *
 * The program's records of the stream with a lower number than below_seq, and
 * lower than the tombstone's own, are left out by readers from
 * twal_txn_iter_open(), and taken away by the next compaction.  What is written
 * to the stream from now on is new.  The highest below_seq of a stream counts.
 *
 *   txn        a manager
 *   stream     the stream
 *   below_seq  the first number that stays; UINT64_MAX: all so far go
 *   name       what the program calls the stream, kept and not interpreted;
 *              may be NULL if name_len is 0
 *   name_len   its bytes, at most 255
 *   flags      0, TWAL_APPEND_SYNC or TWAL_APPEND_NO_SYNC
 *   seq_out    receives the tombstone's number; NULL if you do not need it.
 *              Untouched on failure.
 *
 * Returns TWAL_OK, or
 *
 *   TWAL_E_INVAL     txn is NULL, name is NULL and name_len is not 0, or flags
 *                    has unknown bits or both
 *   TWAL_E_TOOBIG    name_len is above 255; or what is said of streams has
 *                    half of the room for all state, and takes it: waiting
 *                    does not help
 *   TWAL_E_FORKED    this process is a fork()ed child
 *   TWAL_E_CLOSED    twal_close() or twal_txn_close() has begun
 *   TWAL_E_POISONED  an earlier write or flush failed
 *   TWAL_E_AGAIN     the state of all operations and streams takes all the
 *                    room that it may have, until an operation finishes
 *   TWAL_E_NOSPC, TWAL_E_TIMEOUT, TWAL_E_PERM, TWAL_E_NOMEM,
 *   TWAL_E_UNSUPPORTED
 *                    no room, or the next segment's file could not be made, as
 *                    for twal_append()
 *   TWAL_E_IO        a write or flush failed
 *   TWAL_E_PANIC     a bug in twal was caught
 *
 * Blocks:  on the device, if it is to be durable.
 * Threads: any.
 * Signals: not async-signal-safe.
 * Since:   0.1
 */
TWAL_CHECK
int twal_tombstone(twal_txn *txn,
                   uint64_t stream,
                   uint64_t below_seq,
                   const void *name,
                   size_t name_len,
                   uint32_t flags,
                   uint64_t *seq_out);

/**
 * Drops what the program has written to a stream with old timestamps.
 *
 * As twal_tombstone() of the records in front of this one whose timestamp is
 * below before.  Earlier purges of the stream stand, too; one whose before is
 * not above this one's is forgotten, because this one drops all that it drops.
 * At most 64 of a stream stand.
 *
 *   txn      a manager
 *   stream   the stream
 *   before   the first timestamp that stays
 *   tag      the program's, kept and not interpreted
 *   purged   how many records the program says it purged; not interpreted
 *   flags    0, TWAL_APPEND_SYNC or TWAL_APPEND_NO_SYNC
 *   seq_out  receives the purge's number; NULL if you do not need it.
 *            Untouched on failure.
 *
 * Returns what twal_tombstone() returns; TWAL_E_TOOBIG: 64 purges of the stream
 * have later times than this one.
 *
 * Blocks:  on the device, if it is to be durable.
 * Threads: any.
 * Signals: not async-signal-safe.
 * Since:   0.1
 */
TWAL_CHECK
int twal_purge(twal_txn *txn,
               uint64_t stream,
               int64_t before,
               uint8_t tag,
               uint64_t purged,
               uint32_t flags,
               uint64_t *seq_out);

/**
 * Says that something outside was applied up to a place.
 *
 * The last such marker of a stream is there after every recovery, without
 * reading the log: twal_applied_get().
 *
 *   txn       a manager
 *   stream    the stream
 *   epoch     the other side's epoch
 *   position  the place in it
 *   flags     0, TWAL_APPEND_SYNC or TWAL_APPEND_NO_SYNC
 *   seq_out   receives the marker's number; NULL if you do not need it.
 *             Untouched on failure.
 *
 * Returns what twal_tombstone() returns.
 *
 * Blocks:  on the device, if it is to be durable.
 * Threads: any.
 * Signals: not async-signal-safe.
 * Since:   0.1
 */
TWAL_CHECK
int twal_applied(twal_txn *txn,
                 uint64_t stream,
                 uint64_t epoch,
                 uint64_t position,
                 uint32_t flags,
                 uint64_t *seq_out);

/**
 * Tells the tombstones, one by one, by stream.
 *
 * One that was told and is not durable yet is there, too.
 *
 *   txn          a manager
 *   from_stream  where to look: 0 for the first one, then the last one's
 *                stream + 1; behind stream UINT64_MAX there is none
 *   info_out     receives the tombstone of the lowest stream from there on;
 *                its struct_size must be set, as TWAL_TOMBSTONE_INFO_INIT
 *                does.  Untouched on failure.
 *
 * Returns TWAL_OK, or
 *
 *   TWAL_E_INVAL     txn or info_out is NULL, or struct_size is no size that a
 *                    release of twal ever had
 *   TWAL_E_NOTFOUND  there is none from there on
 *   TWAL_E_FORKED    this process is a fork()ed child
 *   TWAL_E_CLOSED    twal_close() or twal_txn_close() has begun
 *   TWAL_E_POISONED  an earlier write or flush failed
 *   TWAL_E_IO        a decision could not be made durable
 *   TWAL_E_PANIC     a bug in twal was caught
 *
 * Example:
 *
 *   twal_tombstone_info one = TWAL_TOMBSTONE_INFO_INIT;
 *   int code = twal_tombstone_get(txn, 0, &one);
 *   while (code == TWAL_OK) {
 *       printf("%llu\n", (unsigned long long)one.stream);
 *       if (one.stream == UINT64_MAX)
 *           break;
 *       code = twal_tombstone_get(txn, one.stream + 1, &one);
 *   }
 *
 * Blocks:  while a decision of another thread is being made durable.
 * Threads: any.
 * Signals: not async-signal-safe.
 * Since:   0.1
 */
TWAL_CHECK
int twal_tombstone_get(const twal_txn *txn,
                       uint64_t from_stream,
                       twal_tombstone_info *info_out);

/**
 * Tells the purge of a stream: the last one, durable or not.
 *
 *   txn       a manager
 *   stream    the stream
 *   info_out  receives it; its struct_size must be set, as
 *             TWAL_PURGE_INFO_INIT does.  Untouched on failure.
 *
 * Returns what twal_tombstone_get() returns; TWAL_E_NOTFOUND: the stream has
 * none.
 *
 * Blocks:  while a decision of another thread is being made durable.
 * Threads: any.
 * Signals: not async-signal-safe.
 * Since:   0.1
 */
TWAL_CHECK
int twal_purge_get(const twal_txn *txn,
                   uint64_t stream,
                   twal_purge_info *info_out);

/**
 * Tells the last applied marker of a stream.
 *
 * Whoever lets the other side forget what was applied makes it durable before,
 * with twal_sync(): a crash can take back one that was told and did not wait.
 *
 *   txn       a manager
 *   stream    the stream
 *   info_out  receives it; its struct_size must be set, as
 *             TWAL_APPLIED_INFO_INIT does.  Untouched on failure.
 *
 * Returns what twal_tombstone_get() returns; TWAL_E_NOTFOUND: the stream has
 * none.
 *
 * Blocks:  while a decision of another thread is being made durable.
 * Threads: any.
 * Signals: not async-signal-safe.
 * Since:   0.1
 */
TWAL_CHECK
int twal_applied_get(const twal_txn *txn,
                     uint64_t stream,
                     twal_applied_info *info_out);

/**
 * Begins to read, without what tombstones and purges drop.
 *
 * As twal_iter_open() of the manager's log; what is told after this call is
 * not left out.  twal's own records are never left out.
 *
 *   txn       a manager
 *   options   how to read; NULL: all defaults
 *   iter_out  receives the reader; give it back with twal_iter_close().
 *             Untouched on failure.
 *
 * Returns what twal_iter_open() returns, and
 *
 *   TWAL_E_INVAL     also: txn is NULL
 *   TWAL_E_CLOSED    also: twal_txn_close() has begun
 *   TWAL_E_POISONED  an earlier write or flush failed: ask twal_iter_open()
 *
 * Blocks:  on the device.
 * Threads: any.
 * Signals: not async-signal-safe.
 * Since:   0.1
 */
TWAL_CHECK
int twal_txn_iter_open(twal_txn *txn,
                       const twal_iter_options *options,
                       twal_iter **iter_out);

/**
 * Takes away what nobody needs any more, now.
 *
 * Rewrites the sealed segments in front of the last checkpoint, oldest first,
 * without the records of finished operations, older checkpoints, and what
 * tombstones and purges drop of the program's records.  If anything has
 * happened since that checkpoint, or a sealed segment lies behind it, one is
 * written first, with all that twal_txn_checkpoint() does.  A segment of which
 * nothing goes stays, unless the log is larger than its log_size_max: then what
 * stays is packed, if that makes the file smaller.
 *
 * What is kept keeps its number and its place.  Appends and readers go on
 * meanwhile; a reader finds what goes until it is gone.  Whatever crash ends
 * it, recovery finds the same operations.  Waits for an automatic compaction
 * to end.
 *
 *   txn       a manager
 *   options   what to compact; NULL: all defaults
 *   done_out  receives what was done, its struct_size must be set, as
 *             TWAL_COMPACTION_INIT does; NULL if you do not need it.
 *             Untouched on failure.
 *
 * Returns TWAL_OK, or
 *
 *   TWAL_E_INVAL        txn is NULL, a struct_size is none, flags has unknown
 *                       bits, or reserved is not 0
 *   TWAL_E_UNSUPPORTED  options say something that this release does not know
 *   TWAL_E_BUSY         twal_import() runs
 *   TWAL_E_TOOBIG       no room for the checkpoint in a record of this log
 *   TWAL_E_FORKED       this process is a fork()ed child
 *   TWAL_E_CLOSED       twal_close() or twal_txn_close() has begun
 *   TWAL_E_POISONED     an earlier write or flush failed
 *   TWAL_E_CORRUPT      a segment is damaged; those in front of it are done. Or
 *                       the log's holds are damaged or lost: see
 *                       twal_hold_reset()
 *   TWAL_E_NOSPC, TWAL_E_TIMEOUT
 *                       no room for the checkpoint, or for one segment; to be
 *                       tried again
 *   TWAL_E_PERM         the operating system refuses access to a file
 *   TWAL_E_NOMEM        no memory or file descriptor left
 *   TWAL_E_IO           a read, write or flush failed; the segment stays
 *   TWAL_E_PANIC        a bug in twal was caught
 *
 * Blocks:  on the device, for as long as it reads and writes.
 * Threads: any.
 * Signals: not async-signal-safe.
 * Since:   0.1
 */
TWAL_CHECK
int twal_txn_compact(twal_txn *txn,
                     const twal_compact_options *options,
                     twal_compaction *done_out);

/**
 * Tells what files of the v2.6 layout hold, and changes nothing.
 *
 * Reads every wal_segment_NNN.wal of a directory and replays it.
 *
 *   dir         the directory
 *   options     how to read; NULL: all defaults
 *   report_out  receives what was found; its struct_size must be set, as
 *               TWAL_V26_REPORT_INIT does.  Untouched on failure.
 *
 * Returns TWAL_OK, or
 *
 *   TWAL_E_INVAL        dir or report_out is NULL, dir is empty, a struct_size
 *                       is none, flags has bits that are not for reading, or
 *                       reserved is not 0
 *   TWAL_E_UNSUPPORTED  options say something that this release does not know
 *   TWAL_E_NOTFOUND     there is no such directory, or no such file in it
 *   TWAL_E_CORRUPT, TWAL_E_VERSION
 *                       a file is damaged, or of another layout;
 *                       twal_last_error() has its number as segment, the
 *                       offset, and the record's number
 *   TWAL_E_TOOBIG       more is unfinished, or contradicts itself, than is
 *                       kept in memory
 *   TWAL_E_PERM, TWAL_E_NOMEM, TWAL_E_IO
 *                       the files cannot be read
 *   TWAL_E_PANIC        a bug in twal was caught
 *
 * Blocks:  on the device, for as long as it reads.
 * Threads: any.
 * Signals: not async-signal-safe.
 * Since:   0.1
 */
TWAL_CHECK
int twal_v26_replay(const char *dir,
                    const twal_v26_options *options,
                    twal_v26_report *report_out);

/**
 * Imports files of the v2.6 layout into a manager's log.
 *
 * The files are read to their end first: if they are refused, the log is as
 * it was.  Then their events are written, in batches, with their timestamps,
 * new numbers, and the ids that they have.  Isolated operations are left out
 * and counted; their ids are used all the same, so that nothing else gets
 * them.
 *
 * All of it becomes the log's when the import ends, and is durable on return;
 * or nothing does: after a failure or a crash midway the log has the operations
 * that it had, and the same files can be imported again.  Until it ends, no
 * call shows what is imported, and twal_txn_resume() does not act on it.  What
 * is not finished is active from then on, and twal_txn_resume() finishes it.
 *
 * Meanwhile the operations that are there go on; beginning one is
 * TWAL_E_BUSY, twal_txn_checkpoint() and twal_txn_compact() are, too, and no
 * automatic checkpoint is written.
 *
 *   txn         a manager
 *   dir         the directory
 *   options     how to read; NULL: all defaults
 *   told        is called for each record that was written, with its number
 *               in the files and in the log; NULL if you do not need it.
 *               What it was told holds if the import succeeds.  It must not
 *               call twal_txn_close() of this manager, throw, longjmp() or end
 *               its thread.
 *   arg         is passed to told; twal does not look at it
 *   report_out  receives what was done, its struct_size must be set, as
 *               TWAL_V26_REPORT_INIT does; NULL if you do not need it.
 *               Untouched on failure.
 *
 * Returns what twal_v26_replay() returns, and
 *
 *   TWAL_E_INVAL     also: txn is NULL
 *   TWAL_E_EXISTS    an id in the files is not above every id of the log
 *   TWAL_E_TOOBIG    also: more is unfinished than the manager has room for
 *   TWAL_E_FORKED    this process is a fork()ed child
 *   TWAL_E_CLOSED    twal_close() or twal_txn_close() has begun
 *   TWAL_E_POISONED  an earlier write or flush failed
 *   TWAL_E_BUSY      another import of this manager runs
 *   TWAL_E_STATE     somebody has changed the files meanwhile
 *   TWAL_E_AGAIN     what was there before has grown meanwhile, and not all has
 *                    room
 *   TWAL_E_NOSPC, TWAL_E_TIMEOUT
 *                    no room.  If there is none either to note that nothing
 *                    was imported, beginning an operation, and
 *                    twal_txn_recover(), are refused for the same reason until
 *                    there is
 *
 * Blocks:  on the device, for as long as it reads and writes.
 * Threads: any.
 * Signals: not async-signal-safe.
 * Since:   0.1
 */
TWAL_CHECK
int twal_import(twal_txn *txn,
                const char *dir,
                const twal_v26_options *options,
                twal_v26_told told,
                void *arg,
                twal_v26_report *report_out);

/**
 * Exports a log's transactions as files of the v2.6 layout.
 *
 * Records keep their numbers and timestamps.  What is durable when it begins
 * is written, without imports that have not ended.  If the log is compacted
 * meanwhile, by another process too, the export starts over: what it writes was
 * there at one time.  The first file, wal_segment_001.wal, gets its name when all of
 * them are whole and durable, and without it the others are refused as damaged:
 * after a crash all can be read, or none.  A crash may leave others without the
 * first; they are the program's to remove, and until then the next export there
 * is TWAL_E_EXISTS.  What the layout cannot hold (the program's own
 * records, streams, what steps depend on, operations without their beginning
 * or with an id above 2^63) is refused, or with TWAL_V26_LEAVE_OUT left out and
 * counted.
 *
 *   log       an open log, also a read-only one
 *   dir       the directory, which is made if it is missing, and must hold no
 *             such files
 *   options   what to write and how; NULL: all defaults
 *   done_out  receives what was written, its struct_size must be set, as
 *             TWAL_V26_EXPORTED_INIT does; NULL if you do not need it.
 *             Untouched on failure.
 *
 * Returns TWAL_OK, or
 *
 *   TWAL_E_INVAL        log or dir is NULL, dir is empty, a struct_size is
 *                       none, flags has bits that are not for writing, or
 *                       reserved is not 0
 *   TWAL_E_UNSUPPORTED  the layout cannot hold a record: twal_last_error() has
 *                       its number; or options say something that this
 *                       release does not know
 *   TWAL_E_EXISTS       there are such files already
 *   TWAL_E_LOCKED       a log is open in that directory, or another export
 *                       writes there
 *   TWAL_E_FORKED       this process is a fork()ed child
 *   TWAL_E_CLOSED       twal_close() has begun
 *   TWAL_E_TRIMMED      from_seq is below twal_first_seq(), or what comes
 *                       behind it was released meanwhile; never if it is 0
 *   TWAL_E_NOTFOUND     from_seq is above twal_last_seq() + 1, or there is no
 *                       parent directory
 *   TWAL_E_BUSY         the log was compacted all the time, for two seconds at
 *                       least: it can be tried again
 *   TWAL_E_CORRUPT      the log is damaged
 *   TWAL_E_NOSPC, TWAL_E_PERM, TWAL_E_NOMEM, TWAL_E_IO
 *                       the files cannot be written, or the log not be read
 *   TWAL_E_PANIC        a bug in twal was caught
 *
 * Blocks:  on the device, for as long as it reads and writes.
 * Threads: any.
 * Signals: not async-signal-safe.
 * Since:   0.1
 */
TWAL_CHECK
int twal_export(twal_log *log,
                const char *dir,
                const twal_v26_options *options,
                twal_v26_exported *done_out);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* TWAL_H */

#ifndef TWAL_LAYOUT_CHECKED_
#define TWAL_LAYOUT_CHECKED_
/* What every program was compiled against.  (C99 cannot say it without names.) */
#if defined(__cplusplus)
#define TWAL_ASSERT_(name, condition) static_assert(condition, #name)
#elif defined(__STDC_VERSION__) && __STDC_VERSION__ >= 201112L
#define TWAL_ASSERT_(name, condition) _Static_assert(condition, #name)
#else
#define TWAL_ASSERT_(name, condition) \
    typedef char twal_assert_##name[(condition) ? 1 : -1]
#endif
#define TWAL_OFFSET_(type, field, offset) \
    TWAL_ASSERT_(type##_##field, offsetof(type, field) == (offset))
#define TWAL_SIZE_(type, size) \
    TWAL_ASSERT_(size_of_##type, sizeof(type) == (size))

TWAL_SIZE_(twal_entry, 56);
TWAL_OFFSET_(twal_entry, data, 0);
TWAL_OFFSET_(twal_entry, len, 8);
TWAL_OFFSET_(twal_entry, stream, 16);
TWAL_OFFSET_(twal_entry, timestamp, 24);
TWAL_OFFSET_(twal_entry, type, 32);
TWAL_OFFSET_(twal_entry, flags, 36);
TWAL_OFFSET_(twal_entry, reserved, 40);

TWAL_SIZE_(twal_part, 16);
TWAL_OFFSET_(twal_part, data, 0);
TWAL_OFFSET_(twal_part, len, 8);

TWAL_SIZE_(twal_reservation, 64);
TWAL_OFFSET_(twal_reservation, data, 0);
TWAL_OFFSET_(twal_reservation, len, 8);
TWAL_OFFSET_(twal_reservation, internal, 16);

TWAL_SIZE_(twal_record, 64);
TWAL_OFFSET_(twal_record, seq, 0);
TWAL_OFFSET_(twal_record, stream, 8);
TWAL_OFFSET_(twal_record, timestamp, 16);
TWAL_OFFSET_(twal_record, type, 24);
TWAL_OFFSET_(twal_record, flags, 28);
TWAL_OFFSET_(twal_record, data, 32);
TWAL_OFFSET_(twal_record, len, 40);
TWAL_OFFSET_(twal_record, reserved, 48);

TWAL_SIZE_(twal_options, 152);
TWAL_OFFSET_(twal_options, flags, 8);
TWAL_OFFSET_(twal_options, block_size, 20);
TWAL_OFFSET_(twal_options, segment_size, 24);
TWAL_OFFSET_(twal_options, spares, 104);
TWAL_OFFSET_(twal_options, log_size_policy, 120);
TWAL_OFFSET_(twal_options, message_level, 144);

TWAL_SIZE_(twal_message, 48);
TWAL_OFFSET_(twal_message, name, 16);
TWAL_OFFSET_(twal_message, field_count, 40);

TWAL_SIZE_(twal_message_field, 24);
TWAL_OFFSET_(twal_message_field, number, 16);

TWAL_SIZE_(twal_error, 296);
TWAL_OFFSET_(twal_error, code, 8);
TWAL_OFFSET_(twal_error, os_errno, 12);
TWAL_OFFSET_(twal_error, segment, 16);
TWAL_OFFSET_(twal_error, text, 40);

TWAL_SIZE_(twal_stats, 704);
TWAL_OFFSET_(twal_stats, poisoned, 192);
TWAL_OFFSET_(twal_stats, record_size_max, 224);
TWAL_OFFSET_(twal_stats, engine, 232);
TWAL_OFFSET_(twal_stats, engine_reason, 248);
TWAL_OFFSET_(twal_stats, file_system, 504);
TWAL_OFFSET_(twal_stats, compactions, 536);
TWAL_OFFSET_(twal_stats, compaction_bytes_saved, 560);
TWAL_OFFSET_(twal_stats, elapsed_ns, 600);
TWAL_OFFSET_(twal_stats, checkpoints_failed, 680);

TWAL_SIZE_(twal_histogram, 2048);
TWAL_OFFSET_(twal_histogram, buckets, 32);

TWAL_SIZE_(twal_recovery, 144);
TWAL_OFFSET_(twal_recovery, duration_us, 80);
TWAL_OFFSET_(twal_recovery, created, 88);
TWAL_OFFSET_(twal_recovery, tail, 92);
TWAL_OFFSET_(twal_recovery, repaired_bytes, 120);
TWAL_OFFSET_(twal_recovery, holds_damaged, 136);

TWAL_SIZE_(twal_hold, 56);
TWAL_OFFSET_(twal_hold, name, 16);

TWAL_SIZE_(twal_ship_position, 112);
TWAL_OFFSET_(twal_ship_position, log_id, 64);

TWAL_SIZE_(twal_ship_piece, 136);
TWAL_OFFSET_(twal_ship_piece, data, 72);
TWAL_OFFSET_(twal_ship_piece, log_id, 88);

TWAL_SIZE_(twal_sink_options, 24);
TWAL_OFFSET_(twal_sink_options, max_retained_segments, 16);

TWAL_SIZE_(twal_segment, 176);
TWAL_OFFSET_(twal_segment, state, 64);
TWAL_OFFSET_(twal_segment, hold, 72);
TWAL_OFFSET_(twal_segment, file, 112);

TWAL_SIZE_(twal_stream_count, 48);
TWAL_OFFSET_(twal_stream_count, last_seq, 40);

TWAL_SIZE_(twal_iter_options, 96);
TWAL_OFFSET_(twal_iter_options, flags, 16);
TWAL_OFFSET_(twal_iter_options, until_seq, 24);
TWAL_OFFSET_(twal_iter_options, streams, 48);
TWAL_OFFSET_(twal_iter_options, known_type_count, 88);

TWAL_SIZE_(twal_skipped, 56);
TWAL_OFFSET_(twal_skipped, last_seq, 48);

TWAL_SIZE_(twal_finding, 96);
TWAL_OFFSET_(twal_finding, kind, 64);
TWAL_OFFSET_(twal_finding, file, 80);

TWAL_SIZE_(twal_repair_step, 304);
TWAL_OFFSET_(twal_repair_step, kind, 40);
TWAL_OFFSET_(twal_repair_step, file, 48);

TWAL_SIZE_(twal_verify_report, 80);
TWAL_OFFSET_(twal_verify_report, last_seq, 72);

TWAL_SIZE_(twal_txn_options, 40);
TWAL_OFFSET_(twal_txn_options, flags, 24);

TWAL_SIZE_(twal_txn_operation, 88);
TWAL_OFFSET_(twal_txn_operation, coordinator, 40);
TWAL_OFFSET_(twal_txn_operation, kind, 72);

TWAL_SIZE_(twal_txn_report, 48);
TWAL_OFFSET_(twal_txn_report, unfinished, 40);

TWAL_SIZE_(twal_txn_stats, 104);
TWAL_OFFSET_(twal_txn_stats, state_bytes, 64);
TWAL_OFFSET_(twal_txn_stats, compactions, 80);

TWAL_SIZE_(twal_compact_options, 24);
TWAL_OFFSET_(twal_compact_options, flags, 16);

TWAL_SIZE_(twal_compaction, 104);
TWAL_OFFSET_(twal_compaction, bytes_saved, 96);

TWAL_SIZE_(twal_tombstone_info, 288);
TWAL_OFFSET_(twal_tombstone_info, name, 32);

TWAL_SIZE_(twal_purge_info, 32);
TWAL_OFFSET_(twal_purge_info, tag, 24);

TWAL_SIZE_(twal_applied_info, 24);
TWAL_OFFSET_(twal_applied_info, position, 16);

TWAL_SIZE_(twal_v26_options, 40);
TWAL_OFFSET_(twal_v26_options, flags, 32);

TWAL_SIZE_(twal_v26_report, 160);
TWAL_OFFSET_(twal_v26_report, log_last_seq, 128);

TWAL_SIZE_(twal_v26_exported, 96);
TWAL_OFFSET_(twal_v26_exported, headless_operations, 72);
TWAL_OFFSET_(twal_v26_exported, high_operations, 88);

TWAL_SIZE_(twal_saga_step, 56);
TWAL_OFFSET_(twal_saga_step, depends_on, 0);
TWAL_OFFSET_(twal_saga_step, depends_on_count, 8);
TWAL_OFFSET_(twal_saga_step, payload, 16);
TWAL_OFFSET_(twal_saga_step, payload_len, 24);
TWAL_OFFSET_(twal_saga_step, index, 32);
TWAL_OFFSET_(twal_saga_step, action, 36);
TWAL_OFFSET_(twal_saga_step, reserved, 40);

TWAL_SIZE_(twal_saga_spec, 72);
TWAL_OFFSET_(twal_saga_spec, coordinator, 32);
TWAL_OFFSET_(twal_saga_spec, flags, 64);

TWAL_SIZE_(twal_saga_step_info, 40);
TWAL_OFFSET_(twal_saga_step_info, index, 0);
TWAL_OFFSET_(twal_saga_step_info, action, 4);
TWAL_OFFSET_(twal_saga_step_info, level, 8);
TWAL_OFFSET_(twal_saga_step_info, state, 12);
TWAL_OFFSET_(twal_saga_step_info, number, 16);
TWAL_OFFSET_(twal_saga_step_info, payload_len, 20);
TWAL_OFFSET_(twal_saga_step_info, reserved, 24);

TWAL_SIZE_(twal_2pc_participant, 80);
TWAL_OFFSET_(twal_2pc_participant, shard, 0);
TWAL_OFFSET_(twal_2pc_participant, node, 32);
TWAL_OFFSET_(twal_2pc_participant, vote, 64);
TWAL_OFFSET_(twal_2pc_participant, reserved, 68);

TWAL_SIZE_(twal_2pc_spec, 64);
TWAL_OFFSET_(twal_2pc_spec, coordinator, 32);

TWAL_SIZE_(twal_txn_action, 160);
TWAL_OFFSET_(twal_txn_action, token, 16);
TWAL_OFFSET_(twal_txn_action, coordinator, 32);
TWAL_OFFSET_(twal_txn_action, kind, 64);
TWAL_OFFSET_(twal_txn_action, payload, 88);
TWAL_OFFSET_(twal_txn_action, shard, 96);
TWAL_OFFSET_(twal_txn_action, node, 128);

TWAL_SIZE_(twal_txn_participants, 56);
TWAL_OFFSET_(twal_txn_participants, arg, 8);
TWAL_OFFSET_(twal_txn_participants, execute, 16);
TWAL_OFFSET_(twal_txn_participants, rollback, 48);

TWAL_SIZE_(twal_txn_resume_options, 32);
TWAL_OFFSET_(twal_txn_resume_options, attempts_max, 24);

TWAL_SIZE_(twal_txn_resumed, 40);
TWAL_OFFSET_(twal_txn_resumed, left, 32);

#undef TWAL_SIZE_
#undef TWAL_OFFSET_
#undef TWAL_ASSERT_
#endif /* TWAL_LAYOUT_CHECKED_ */
