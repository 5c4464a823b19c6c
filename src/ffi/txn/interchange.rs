//! Files of the v2.6 layout, for C.

use std::ffi::{c_char, c_int, c_void};
use std::path::Path;

use super::manager::{self, twal_txn};
use crate::base::bytes::len_u64;
use crate::base::{Code, Error, Result};
use crate::ffi::guard::{always, call, guard_uncancelled, Purpose};
use crate::ffi::log::{path_of, twal_log};
use crate::ffi::sized::{self, Grows};
use crate::interchange::{ReadOptions, Reader, WriteOptions, Writer};
use crate::txn::interchange::{export_log, replay, Exported, Import, Replayed};
use crate::txn::limits::STATE_BYTES_DEFAULT;

/// twal_v26_options.flags: bits.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum twal_v26_flags {
    /// Reading: payload checksums are not looked at; an original could switch
    /// them off, and wrote 0.
    TWAL_V26_IGNORE_CHECKSUMS = 1,
    /// Reading: damage is passed over and counted, instead of refused.  If
    /// there is some, operations that are not finished count as isolated, and
    /// are not imported: what decided them may have been there.
    TWAL_V26_SKIP_DAMAGED = 2,
    /// Writing: what the layout cannot hold is left out and counted, instead of
    /// refused.
    TWAL_V26_LEAVE_OUT = 4,
}

/// How files of the v2.6 layout are read and written.  A field that is 0 has
/// its default, so start from TWAL_V26_OPTIONS_INIT and set what you need.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct twal_v26_options {
    /// sizeof(twal_v26_options).
    pub struct_size: u64,
    /// Writing: the first number wanted; 0: the oldest.  If that is released
    /// while it is written, the oldest that there is then.
    pub from_seq: u64,
    /// Writing: bytes that a file has at most: 64 MiB.  One record it always
    /// has, if that alone is longer, too.
    pub file_size_max: u64,
    /// Writing: records that a file has at most: 100000.
    pub file_records_max: u64,
    /// Bits of twal_v26_flags.
    pub flags: u32,
    /// Must be 0.
    pub reserved: u32,
}

// SAFETY: repr(C) without holes (40 = 4 * 8 + 2 * 4), struct_size first, plain numbers.
unsafe impl Grows for twal_v26_options {
    const NAME: &'static str = "twal_v26_options";
    const FIRST_SIZE: usize = 40;
}

/// What files of the v2.6 layout hold, and what of it was imported.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct twal_v26_report {
    /// sizeof(twal_v26_report), set by the caller.
    pub struct_size: u64,
    /// Files read.
    pub files: u64,
    /// Records in them.
    pub records: u64,
    /// Number of the first, in the files.
    pub first_seq: u64,
    /// Number of the last, in the files.
    pub last_seq: u64,
    /// Damaged places that were passed over.
    pub damaged: u64,
    /// Bytes at the end of the last file that an interrupted write left.
    pub torn_bytes: u64,
    /// Events that are legal.
    pub replayed: u64,
    /// Checkpoints.
    pub checkpoints: u64,
    /// Records that are no event of the layout, or not legal.
    pub wrong: u64,
    /// Operations that contradict themselves; behind damage that was passed
    /// over, also those that are not finished.
    pub isolated: u64,
    /// Operations that are not finished.
    pub unfinished: u64,
    /// Import: events written that the files hold.
    pub imported: u64,
    /// Import: events written that the original left out.
    pub added: u64,
    /// Import: records left out, of isolated operations.
    pub left_out: u64,
    /// Import: number of the first event in the log; 0: none.
    pub log_first_seq: u64,
    /// Import: number of the last event in the log.
    pub log_last_seq: u64,
    /// The first record that is wrong: number of its file.
    pub wrong_file: u64,
    /// Its offset there.
    pub wrong_offset: u64,
    /// Its number, in the files; all three are 0 if none is wrong.
    pub wrong_seq: u64,
}

// SAFETY: repr(C), u64 only, struct_size first.
unsafe impl Grows for twal_v26_report {
    const NAME: &'static str = "twal_v26_report";
    const FIRST_SIZE: usize = 136;
}

/// What an export wrote, and what it left out because the layout cannot hold it.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct twal_v26_exported {
    /// sizeof(twal_v26_exported), set by the caller.
    pub struct_size: u64,
    /// Files.
    pub files: u64,
    /// Records in them.
    pub records: u64,
    /// Bytes in them.
    pub bytes: u64,
    /// Left out: records of the program's own.
    pub program: u64,
    /// Left out: tombstones, purges and applied markers.
    pub streams: u64,
    /// Written without dependencies and compensation payload: steps.
    pub steps: u64,
    /// Written without the tag of their stream: records.
    pub tags: u64,
    /// Left out: records of operations whose beginning is not in what is
    /// exported: it was released, or compacted, which takes finished operations
    /// away from the front.
    pub headless: u64,
    /// Those operations.
    pub headless_operations: u64,
    /// Left out: records of operations with an id above 2^63, which no file of
    /// the layout may have.
    pub high: u64,
    /// Those operations.
    pub high_operations: u64,
}

// SAFETY: repr(C), u64 only, struct_size first.
unsafe impl Grows for twal_v26_exported {
    const NAME: &'static str = "twal_v26_exported";
    const FIRST_SIZE: usize = 80;
}

const _: () = assert!(
    size_of::<twal_v26_options>() == 40 && size_of::<twal_v26_report>() == 160 && size_of::<twal_v26_exported>() == 96
);

/// Is told each record's number in the files and in the log, in order.
pub type twal_v26_told = Option<unsafe extern "C" fn(arg: *mut c_void, old_seq: u64, new_seq: u64)>;

const READ_FLAGS: u32 = twal_v26_flags::TWAL_V26_IGNORE_CHECKSUMS as u32 | twal_v26_flags::TWAL_V26_SKIP_DAMAGED as u32;
const WRITE_FLAGS: u32 = twal_v26_flags::TWAL_V26_LEAVE_OUT as u32;

/// What C asks for, and which of `flags` are set; others are refused.
///
/// # Safety
///
/// `options` is NULL or a twal_v26_options as long as it says.
unsafe fn options_of(options: *const twal_v26_options, flags: u32) -> Result<twal_v26_options> {
    if options.is_null() {
        return Ok(twal_v26_options {
            struct_size: 0,
            from_seq: 0,
            file_size_max: 0,
            file_records_max: 0,
            flags: 0,
            reserved: 0,
        });
    }
    // SAFETY: the contract.
    let taken = unsafe { sized::take(options)? };
    if taken.value.flags & !flags != 0 || taken.value.reserved != 0 {
        return Err(Error::new(Code::Inval, "v26_options has flags that are not for this, or reserved is not 0"));
    }
    taken.known()
}

/// As [`options_of`].
///
/// # Safety
///
/// As [`options_of`].
unsafe fn read_options_of(options: *const twal_v26_options) -> Result<ReadOptions> {
    // SAFETY: the contract.
    let flags = unsafe { options_of(options, READ_FLAGS)? }.flags;
    Ok(ReadOptions {
        ignore_checksums: flags & twal_v26_flags::TWAL_V26_IGNORE_CHECKSUMS as u32 != 0,
        skip_damaged: flags & twal_v26_flags::TWAL_V26_SKIP_DAMAGED as u32 != 0,
    })
}

fn report_of(found: &Replayed) -> twal_v26_report {
    let Replayed { summary, .. } = found;
    let wrong = found.wrong.first().map_or((0, 0, 0), |wrong| (wrong.spot.file, wrong.spot.offset, wrong.seq));
    twal_v26_report {
        struct_size: 0,
        files: summary.files,
        records: summary.records,
        first_seq: summary.first_seq,
        last_seq: summary.last_seq,
        damaged: summary.damaged,
        torn_bytes: summary.torn_bytes,
        replayed: found.replayed,
        checkpoints: found.checkpoints,
        wrong: found.wrong_count,
        isolated: len_u64(found.isolated.len()),
        unfinished: len_u64(found.plan.len()),
        imported: 0,
        added: 0,
        left_out: 0,
        log_first_seq: 0,
        log_last_seq: 0,
        wrong_file: wrong.0,
        wrong_offset: wrong.1,
        wrong_seq: wrong.2,
    }
}

fn import_report_of(done: &Import) -> twal_v26_report {
    twal_v26_report {
        imported: done.imported,
        added: done.added,
        left_out: done.left_out,
        log_first_seq: done.first_seq,
        log_last_seq: done.last_seq,
        ..report_of(&done.replayed)
    }
}

fn exported_of(done: &Exported) -> twal_v26_exported {
    let Exported { written, left_out } = done;
    twal_v26_exported {
        struct_size: 0,
        files: written.files,
        records: written.records,
        bytes: written.bytes,
        program: left_out.program,
        streams: left_out.streams,
        steps: left_out.steps,
        tags: left_out.tags,
        headless: left_out.headless,
        headless_operations: left_out.headless_operations,
        high: left_out.high,
        high_operations: left_out.high_operations,
    }
}

/// Tells what files of the v2.6 layout hold, and changes nothing.
///
/// Reads every wal_segment_NNN.wal of a directory and replays it.
///
///   dir         the directory
///   options     how to read; NULL: all defaults
///   report_out  receives what was found; its struct_size must be set, as
///               TWAL_V26_REPORT_INIT does.  Untouched on failure.
///
/// Returns TWAL_OK, or
///
///   TWAL_E_INVAL        dir or report_out is NULL, dir is empty, a struct_size
///                       is none, flags has bits that are not for reading, or
///                       reserved is not 0
///   TWAL_E_UNSUPPORTED  options say something that this release does not know
///   TWAL_E_NOTFOUND     there is no such directory, or no such file in it
///   TWAL_E_CORRUPT, TWAL_E_VERSION
///                       a file is damaged, or of another layout;
///                       twal_last_error() has its number as segment, the
///                       offset, and the record's number
///   TWAL_E_TOOBIG       more is unfinished, or contradicts itself, than is
///                       kept in memory
///   TWAL_E_PERM, TWAL_E_NOMEM, TWAL_E_IO
///                       the files cannot be read
///   TWAL_E_PANIC        a bug in twal was caught
///
/// Blocks:  on the device, for as long as it reads.
/// Threads: any.
/// Signals: not async-signal-safe.
/// Since:   0.1
#[must_use]
#[no_mangle]
pub unsafe extern "C" fn twal_v26_replay(
    dir: *const c_char,
    options: *const twal_v26_options,
    report_out: *mut twal_v26_report,
) -> c_int {
    guard_uncancelled(|| {
        // SAFETY: NULL or a string (C contract).
        let dir = unsafe { path_of(dir)? };
        // SAFETY: NULL or a twal_v26_report as long as it says (C contract).
        unsafe { sized::check(report_out)? };
        // SAFETY: NULL or a twal_v26_options as long as it says (C contract).
        let options = unsafe { read_options_of(options)? };
        let found = replay(&mut Reader::open(dir, options)?, STATE_BYTES_DEFAULT)?;
        // SAFETY: as for the check above.
        unsafe { sized::give(report_out, &report_of(&found)) }
    })
}

/// Imports files of the v2.6 layout into a manager's log.
///
/// The files are read to their end first: if they are refused, the log is as
/// it was.  Then their events are written, in batches, with their timestamps,
/// new numbers, and the ids that they have.  Isolated operations are left out
/// and counted; their ids are used all the same, so that nothing else gets
/// them.
///
/// All of it becomes the log's when the import ends, and is durable on return;
/// or nothing does: after a failure or a crash midway the log has the operations
/// that it had, and the same files can be imported again.  Until it ends, no
/// call shows what is imported, and twal_txn_resume() does not act on it.  What
/// is not finished is active from then on, and twal_txn_resume() finishes it.
///
/// Meanwhile the operations that are there go on; beginning one is
/// TWAL_E_BUSY, twal_txn_checkpoint() and twal_txn_compact() are, too, and no
/// automatic checkpoint is written.
///
///   txn         a manager
///   dir         the directory
///   options     how to read; NULL: all defaults
///   told        is called for each record that was written, with its number
///               in the files and in the log; NULL if you do not need it.
///               What it was told holds if the import succeeds.  It must not
///               call twal_txn_close() of this manager, throw, longjmp() or end
///               its thread.
///   arg         is passed to told; twal does not look at it
///   report_out  receives what was done, its struct_size must be set, as
///               TWAL_V26_REPORT_INIT does; NULL if you do not need it.
///               Untouched on failure.
///
/// Returns what twal_v26_replay() returns, and
///
///   TWAL_E_INVAL     also: txn is NULL
///   TWAL_E_EXISTS    an id in the files is not above every id of the log
///   TWAL_E_TOOBIG    also: more is unfinished than the manager has room for
///   TWAL_E_FORKED    this process is a fork()ed child
///   TWAL_E_CLOSED    twal_close() or twal_txn_close() has begun
///   TWAL_E_POISONED  an earlier write or flush failed
///   TWAL_E_BUSY      another import of this manager runs
///   TWAL_E_STATE     somebody has changed the files meanwhile
///   TWAL_E_AGAIN     what was there before has grown meanwhile, and not all has
///                    room
///   TWAL_E_NOSPC, TWAL_E_TIMEOUT
///                    no room.  If there is none either to note that nothing
///                    was imported, beginning an operation, and
///                    twal_txn_recover(), are refused for the same reason until
///                    there is
///
/// Blocks:  on the device, for as long as it reads and writes.
/// Threads: any.
/// Signals: not async-signal-safe.
/// Since:   0.1
#[must_use]
#[no_mangle]
pub unsafe extern "C" fn twal_import(
    txn: *mut twal_txn,
    dir: *const c_char,
    options: *const twal_v26_options,
    told: twal_v26_told,
    arg: *mut c_void,
    report_out: *mut twal_v26_report,
) -> c_int {
    guard_uncancelled(|| {
        let valid = || {
            // SAFETY: NULL or a string (C contract).
            let dir = unsafe { path_of(dir)? };
            // SAFETY: NULL or a twal_v26_report as long as it says (C contract).
            unsafe { sized::check_wanted(report_out)? };
            // SAFETY: NULL or a twal_v26_options as long as it says (C contract).
            Ok((dir, unsafe { read_options_of(options)? }))
        };
        let import = |handle: &twal_txn, (dir, options): (&Path, ReadOptions)| {
            handle.manager.import(&|| Reader::open(dir, options), &mut |old_seq, new_seq| {
                if let Some(told) = told {
                    // SAFETY: a function of the program's that keeps to what twal_v26_told says (C contract).
                    manager::call_for(txn, || unsafe { told(arg, old_seq, new_seq) });
                }
            })
        };
        // SAFETY: NULL or a manager (C contract).
        let done = unsafe { manager::call(txn, valid, import)? };
        // SAFETY: as for the check above.
        unsafe { sized::give_wanted(report_out, &import_report_of(&done)) }
    })
}

/// Exports a log's transactions as files of the v2.6 layout.
///
/// Records keep their numbers and timestamps.  What is durable when it begins
/// is written, without imports that have not ended.  If the log is compacted
/// meanwhile, by another process too, the export starts over: what it writes was
/// there at one time.  The first file, wal_segment_001.wal, gets its name when all of
/// them are whole and durable, and without it the others are refused as damaged:
/// after a crash all can be read, or none.  A crash may leave others without the
/// first; they are the program's to remove, and until then the next export there
/// is TWAL_E_EXISTS.  What the layout cannot hold (the program's own
/// records, streams, what steps depend on, operations without their beginning
/// or with an id above 2^63) is refused, or with TWAL_V26_LEAVE_OUT left out and
/// counted.
///
///   log       an open log, also a read-only one
///   dir       the directory, which is made if it is missing, and must hold no
///             such files
///   options   what to write and how; NULL: all defaults
///   done_out  receives what was written, its struct_size must be set, as
///             TWAL_V26_EXPORTED_INIT does; NULL if you do not need it.
///             Untouched on failure.
///
/// Returns TWAL_OK, or
///
///   TWAL_E_INVAL        log or dir is NULL, dir is empty, a struct_size is
///                       none, flags has bits that are not for writing, or
///                       reserved is not 0
///   TWAL_E_UNSUPPORTED  the layout cannot hold a record: twal_last_error() has
///                       its number; or options say something that this
///                       release does not know
///   TWAL_E_EXISTS       there are such files already
///   TWAL_E_LOCKED       a log is open in that directory, or another export
///                       writes there
///   TWAL_E_FORKED       this process is a fork()ed child
///   TWAL_E_CLOSED       twal_close() has begun
///   TWAL_E_TRIMMED      from_seq is below twal_first_seq(), or what comes
///                       behind it was released meanwhile; never if it is 0
///   TWAL_E_NOTFOUND     from_seq is above twal_last_seq() + 1, or there is no
///                       parent directory
///   TWAL_E_BUSY         the log was compacted all the time, for two seconds at
///                       least: it can be tried again
///   TWAL_E_CORRUPT      the log is damaged
///   TWAL_E_NOSPC, TWAL_E_PERM, TWAL_E_NOMEM, TWAL_E_IO
///                       the files cannot be written, or the log not be read
///   TWAL_E_PANIC        a bug in twal was caught
///
/// Blocks:  on the device, for as long as it reads and writes.
/// Threads: any.
/// Signals: not async-signal-safe.
/// Since:   0.1
#[must_use]
#[no_mangle]
pub unsafe extern "C" fn twal_export(
    log: *mut twal_log,
    dir: *const c_char,
    options: *const twal_v26_options,
    done_out: *mut twal_v26_exported,
) -> c_int {
    guard_uncancelled(|| {
        if log.is_null() {
            return Err(Error::new(Code::Inval, "the log is NULL"));
        }
        // SAFETY: NULL or a string (C contract).
        let dir = unsafe { path_of(dir)? };
        // SAFETY: NULL or a twal_v26_exported as long as it says (C contract).
        unsafe { sized::check_wanted(done_out)? };
        // SAFETY: NULL or a twal_v26_options as long as it says (C contract).
        let options = unsafe { options_of(options, WRITE_FLAGS)? };
        // SAFETY: an open log (C contract).
        let done = unsafe { call(log, Purpose::Look, always, |log| export_as(log, dir, &options))? };
        // SAFETY: as for the check above.
        unsafe { sized::give_wanted(done_out, &exported_of(&done)) }
    })
}

fn export_as(log: &crate::log::Log, dir: &Path, options: &twal_v26_options) -> Result<Exported> {
    let or = |number, default| if number == 0 { default } else { number };
    let default = WriteOptions::default();
    let files = WriteOptions {
        file_size_max: or(options.file_size_max, default.file_size_max),
        file_records_max: or(options.file_records_max, default.file_records_max),
    };
    // What a log that is open for reading only knows of its end may be old.
    log.look_to_end(0)?;
    let numbers = (options.from_seq, log.durable_seq().max(1));
    export_log(log, numbers, &|| Writer::create(dir, files), options.flags & WRITE_FLAGS != 0)
}
