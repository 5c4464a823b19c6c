//! A transaction manager as a C handle.

use std::cell::Cell;
use std::ffi::c_int;
use std::ptr::null;
use std::sync::Mutex;

use crate::base::{Code, Error, Result};
use crate::ffi::callers::{Callers, Inside};
use crate::ffi::entry::{how, NO_SYNC, SYNC};
use crate::ffi::guard::{self, always, guard_uncancelled, put_seq, Purpose};
use crate::ffi::log::twal_log;
use crate::ffi::sized::{self, Grows};
use crate::mem::fork::ForkGuard;
use crate::txn::event::Name;
use crate::txn::{Begun, Left, Manager, ManagerOptions, Recovery};

/// Sagas and two-phase commits over an open log.
///
/// From twal_txn_recover() to twal_txn_close(), which may come before or after
/// twal_close().  Any thread may use it at any time, together with others.
///
/// What is told is in the log before anything is done about it; a decision
/// (created, started, prepared, commit, abort, compensation and rollback begun)
/// is durable when the call returns, in every mode of the log.  What is asked
/// shows no decision, and no end, that a crash could take back.  All else that it
/// shows (what was added, outcomes of steps, votes, what is said of streams) may
/// not be durable yet, where it was told in TWAL_GROUP or TWAL_ASYNC, with
/// TWAL_APPEND_NO_SYNC, or by a thread that still waits: a crash can take that
/// back, and twal_sync() makes it durable.
///
/// Its checkpoints release what they make needless, WITH THE PROGRAM'S OWN
/// RECORDS in the same segments, unless TWAL_TXN_KEEP_RECORDS says not to.
pub struct twal_txn {
    /// Who is inside; closing waits for them.
    callers: Callers,
    pub(super) manager: Manager,
    pub(super) found: Recovery,
    /// What the last resume left; written by it, read by twal_txn_left_get().
    pub(super) left: Mutex<Vec<Left>>,
    fork: ForkGuard,
}

/// twal_txn_options.flags: bits.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum twal_txn_flags {
    /// Checkpoints release nothing.  For a log that also has records of the
    /// program's own: a release takes whole segments, whatever is in them.
    /// The program trims; twal_trim() never releases what the manager needs.
    TWAL_TXN_KEEP_RECORDS = 1,
    /// Sealed segments are compacted as twal_txn_compact() does, on a thread of
    /// the manager's, behind a checkpoint, as soon as compact_percent or
    /// compact_records says so.  Setting one of those asks for it, too.
    TWAL_TXN_COMPACT = 2,
}

/// How a manager works.  A field that is 0 has its default, so start from
/// TWAL_TXN_OPTIONS_INIT and set what you need.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct twal_txn_options {
    /// sizeof(twal_txn_options).
    pub struct_size: u64,
    /// Stream of the records that it writes.
    pub stream: u64,
    /// Events from one automatic checkpoint to the next: 1000; UINT64_MAX:
    /// none.
    pub checkpoint_interval: u64,
    /// Bits of twal_txn_flags.
    pub flags: u32,
    /// An automatic compaction begins when about so many percent of the log's
    /// records are needed no more: 50; at most 100.  Only those of operations
    /// are counted: how much a tombstone or purge drops is known when segments
    /// are read, so after one call twal_txn_compact(), or set compact_records.
    pub compact_percent: u32,
    /// Or when so many records were sealed since the last one: 10000;
    /// UINT64_MAX: however many.
    pub compact_records: u64,
}

// SAFETY: repr(C) without holes (40 = 4 * 8 + 2 * 4), struct_size first, plain numbers.
unsafe impl Grows for twal_txn_options {
    const NAME: &'static str = "twal_txn_options";
    const FIRST_SIZE: usize = 40;
}

const _: () = assert!(size_of::<twal_txn_options>() == 40);

const KEEP_RECORDS: u32 = twal_txn_flags::TWAL_TXN_KEEP_RECORDS as u32;
const COMPACT: u32 = twal_txn_flags::TWAL_TXN_COMPACT as u32;

/// What C asks for.
///
/// # Safety
///
/// `options` is NULL or a twal_txn_options as long as it says.
unsafe fn options_of(options: *const twal_txn_options) -> Result<ManagerOptions> {
    if options.is_null() {
        return Ok(ManagerOptions::default());
    }
    // SAFETY: the contract.
    let taken = unsafe { sized::take(options)? };
    if taken.value.flags & !(KEEP_RECORDS | COMPACT) != 0 || taken.value.compact_percent > 100 {
        return inval("txn_options has unknown flags, or compact_percent is above 100");
    }
    let options = taken.known()?;
    Ok(ManagerOptions {
        stream: options.stream,
        checkpoint_interval: options.checkpoint_interval,
        keep_records: options.flags & KEEP_RECORDS != 0,
        compact: options.flags & COMPACT != 0,
        compact_percent: options.compact_percent,
        compact_records: options.compact_records,
    })
}

/// Reads a log's transactions from its last checkpoint on, and gives them a
/// manager.
///
/// Every operation that was not finished is there again, as it was, with what
/// is to be done about it: twal_txn_report_get(), twal_txn_unfinished_get() and
/// twal_txn_resume().  A log that has no checkpoint yet gets one.  That releases
/// nothing; every later checkpoint, also an automatic one, releases the segments
/// in front of it that nothing unfinished needs, WITH THE PROGRAM'S OWN RECORDS
/// in them, unless options say TWAL_TXN_KEEP_RECORDS.  From now on until
/// twal_close() no trim releases what the manager needs, also when the manager
/// is closed: a program that trims recovers first.  A call that fails changes
/// nothing of what a trim may release.
///
///   log      a log open for writing, also a new one
///   options  how to work; NULL: all defaults
///   txn_out  receives the manager; give it back with twal_txn_close().
///            Untouched on failure.
///
/// Returns TWAL_OK, or
///
///   TWAL_E_INVAL        log or txn_out is NULL, options.struct_size is none,
///                       flags has unknown bits, compact_percent is above
///                       100, or the log's record_size_max is too small for a
///                       checkpoint
///   TWAL_E_UNSUPPORTED  options say something that this release does not know
///   TWAL_E_FORKED       this process is a fork()ed child
///   TWAL_E_CLOSED       twal_close() has begun
///   TWAL_E_READ_ONLY    the log is open for reading only
///   TWAL_E_POISONED     an earlier write or flush failed
///   TWAL_E_BUSY         the log has a manager already
///   TWAL_E_CORRUPT      the log is damaged, has events that contradict each
///                       other, or lacks records that were compacted away
///                       behind what is left of its checkpoints: a repair has
///                       cut off the last one; twal_last_error() says where
///   TWAL_E_VERSION      a record that must not be ignored, of a later release
///   TWAL_E_NOSPC, TWAL_E_TIMEOUT
///                       no room for the first checkpoint
///   TWAL_E_PERM         the operating system refuses access to a file
///   TWAL_E_NOMEM        no memory or file descriptor left
///   TWAL_E_IO           a read, write or flush failed
///   TWAL_E_PANIC        a bug in twal was caught
///
/// Blocks:  on the device, for as long as it reads.
/// Threads: any.
/// Signals: not async-signal-safe.
/// Since:   0.1
#[must_use]
#[no_mangle]
pub unsafe extern "C" fn twal_txn_recover(
    log: *mut twal_log,
    options: *const twal_txn_options,
    txn_out: *mut *mut twal_txn,
) -> c_int {
    guard_uncancelled(|| {
        if log.is_null() {
            return inval("the log is NULL");
        }
        // SAFETY: NULL or room for a pointer (C contract).
        let txn_out = unsafe { guard::must_have(txn_out)? };
        // SAFETY: NULL or a twal_txn_options as long as it says (C contract).
        let options = unsafe { options_of(options)? };
        // SAFETY: an open log (C contract).
        let (manager, found) =
            unsafe { guard::call(log, Purpose::Change, always, |log| Manager::recover(log, &options))? };
        let (callers, left, fork) = (Callers::default(), Mutex::default(), ForkGuard::new());
        let handle = twal_txn { callers, manager, found, left, fork };
        // SAFETY: must_have has seen it.
        unsafe { txn_out.write(Box::into_raw(Box::new(handle))) };
        Ok(())
    })
}

/// Gives a manager back.
///
/// Waits until every call inside has come back, and an automatic compaction has
/// ended, which it does at its next frame; no new call may begin on it.  A
/// resume asks for nothing more, waits for no further try, and returns
/// TWAL_E_CLOSED as soon as the program's functions that it has called have come
/// back.  Changes nothing in the log: what is not finished is there for
/// the next twal_txn_recover(), on the same open log too.
///
/// Works before and after twal_close(); until then, a manager keeps the memory
/// of a log that was closed.  In a fork()ed child it frees, and touches
/// neither disk nor lock.
///
///   txn  a manager; NULL does nothing
///
/// Returns TWAL_OK, or
///
///   TWAL_E_CLOSED  another thread is inside twal_txn_close() for this manager
///   TWAL_E_STATE   called by what twal_txn_resume() calls: the one case in
///                  which the manager stays
///
/// Blocks:  until the calls inside have come back.
/// Threads: any; exactly one, once.
/// Signals: not async-signal-safe.
/// Since:   0.1
#[no_mangle]
pub unsafe extern "C" fn twal_txn_close(txn: *mut twal_txn) -> c_int {
    // SAFETY: NULL or from twal_txn_recover, and not used again (C contract).
    guard_uncancelled(|| unsafe { close(txn) })
}

/// As twal_txn_close().
///
/// # Safety
///
/// `txn` is NULL or came from twal_txn_recover(), and no call begins on it after this one.
unsafe fn close(txn: *mut twal_txn) -> Result<()> {
    if txn.is_null() {
        return Ok(());
    }
    {
        // SAFETY: alive (contract); the borrow ends before the handle is freed.
        let handle = unsafe { &*txn };
        if handle.fork.forked() {
            // The parent's threads are not here: nobody is inside, whatever the copied count says.
            // SAFETY: it came out of Box::into_raw in twal_txn_recover, and the child is one thread here.
            let twal_txn { manager, left, .. } = *unsafe { Box::from_raw(txn) };
            // What a thread of the parent's was changing when the process was forked stays as it is.
            if left.try_lock().is_err() {
                std::mem::forget(left);
            }
            manager.abandon_in_child();
            return Ok(());
        }
        if CALLED_FOR.get() == txn.cast_const() {
            return Err(Error::new(Code::State, "twal_txn_close() was called by a function that its resume called"));
        }
        if !handle.callers.start_closing() {
            return Err(Error::new(Code::Closed, "another thread is closing this manager"));
        }
        handle.manager.end_resumes();
        handle.callers.wait_until_out();
    }
    // SAFETY: it came out of Box::into_raw, only one thread started closing, and everybody is out.
    drop(unsafe { Box::from_raw(txn) });
    Ok(())
}

thread_local! {
    /// The manager whose resume has called the program on this thread, and waits for it to come back.
    static CALLED_FOR: Cell<*const twal_txn> = const { Cell::new(null()) };
}

/// Runs `program`, a function of the program's, for the resume of this manager.
pub(super) fn call_for<T>(txn: *const twal_txn, program: impl FnOnce() -> T) -> T {
    let before = CALLED_FOR.replace(txn);
    let answer = program();
    CALLED_FOR.set(before);
    answer
}

/// A refusal of what the caller said.
pub(super) fn inval<T>(text: &'static str) -> Result<T> {
    Err(Error::new(Code::Inval, text))
}

/// Runs `body` inside a manager, unless it refuses: NULL, what `valid` finds, forked, closed, broken, in this order.
///
/// # Safety
///
/// `txn` is NULL, or came from twal_txn_recover() and twal_txn_close() has not begun for it before this call did.
pub(super) unsafe fn call<A, T>(
    txn: *const twal_txn,
    valid: impl FnOnce() -> Result<A>,
    body: impl FnOnce(&twal_txn, A) -> Result<T>,
) -> Result<T> {
    if txn.is_null() {
        return inval("the manager is NULL");
    }
    let arguments = valid()?;
    // SAFETY: alive when the call began (contract), and twal_txn_close frees it only when nobody is inside.
    let inside = unsafe { Inside::enter(&raw const (*txn).callers) };
    let result = {
        // SAFETY: alive as long as we are inside; shared by all callers, and changed only behind its locks.
        let handle = unsafe { &*txn };
        if handle.fork.forked() {
            Err(guard::forked())
        } else if inside.is_closing() {
            Err(Error::new(Code::Closed, "the manager is being closed"))
        } else if inside.is_broken() {
            Err(Error::new(
                Code::Poisoned,
                "a call panicked in this manager; close it and its log, and open them again",
            ))
        } else {
            body(handle, arguments)
        }
    };
    inside.finish();
    result
}

/// Has the manager append something, and tells the caller its number.
///
/// # Safety
///
/// As for [`call`]; `seq_out` is NULL or room for a number.
pub(super) unsafe fn append<A>(
    txn: *mut twal_txn,
    valid: impl FnOnce() -> Result<A>,
    append: impl FnOnce(&Manager, A) -> Result<u64>,
    seq_out: *mut u64,
) -> c_int {
    guard_uncancelled(|| {
        // SAFETY: the contract.
        let seq = unsafe { call(txn, valid, |handle, arguments| append(&handle.manager, arguments))? };
        // SAFETY: the contract.
        unsafe { put_seq(seq_out, seq) };
        Ok(())
    })
}

/// The same of one event of an operation.
///
/// # Safety
///
/// As for [`append`].
pub(super) unsafe fn tell<A>(
    txn: *mut twal_txn,
    id: u64,
    valid: impl FnOnce() -> Result<A>,
    event: impl FnOnce(&Manager, A) -> Result<u64>,
    seq_out: *mut u64,
) -> c_int {
    let valid = || if id == 0 { inval("no operation has the id 0") } else { valid() };
    // SAFETY: the contract.
    unsafe { append(txn, valid, event, seq_out) }
}

/// The same where the manager chooses the operation: the caller is told which.
///
/// # Safety
///
/// As for [`append`]; `id_out` is NULL or room for a number.
pub(super) unsafe fn choose<A>(
    txn: *mut twal_txn,
    valid: impl FnOnce() -> Result<A>,
    begin: impl FnOnce(&Manager, A) -> Result<Begun>,
    id_out: *mut u64,
    seq_out: *mut u64,
) -> c_int {
    guard_uncancelled(|| {
        // SAFETY: the contract.
        let begun = unsafe { call(txn, valid, |handle, arguments| begin(&handle.manager, arguments))? };
        // SAFETY: the contract.
        unsafe {
            put_seq(id_out, begun.id);
            put_seq(seq_out, begun.seq);
        }
        Ok(())
    })
}

/// The override that the flags of an event ask for.
pub(super) fn sync_of(flags: u32) -> Result<Option<bool>> {
    match flags {
        0 | SYNC | NO_SYNC => Ok(how(flags).sync),
        _ => inval("flags has unknown bits, or both TWAL_APPEND_SYNC and TWAL_APPEND_NO_SYNC"),
    }
}

/// The 32 bytes at `name`, which are copied.
///
/// # Safety
///
/// `name` is NULL or points to 32 bytes that nobody changes during the call.
pub(super) unsafe fn name_of(name: *const u8) -> Result<Name> {
    if name.is_null() {
        return inval("a shard or node is NULL");
    }
    // SAFETY: not NULL; the rest is the contract, and bytes need no alignment.
    Ok(unsafe { name.cast::<Name>().read() })
}

/// The array of `count` things at `things`.
///
/// # Safety
///
/// `things` is NULL or points to `count` things that nobody changes during `'a`.
pub(super) unsafe fn array_of<'a, T>(things: *const T, count: usize, max: usize) -> Result<&'a [T]> {
    if count == 0 {
        return Ok(&[]);
    }
    if things.is_null() || !things.is_aligned() {
        return inval("an array is NULL or not aligned, and its count is not 0");
    }
    if count > max {
        return Err(Error::new(Code::TooBig, format!("{count} in an array that has at most {max}")));
    }
    // SAFETY: not NULL, aligned, small; the rest is the contract.
    Ok(unsafe { std::slice::from_raw_parts(things, count) })
}

/// Whether there can be room for `capacity` things.
pub(super) fn check_room<T>(things_out: *mut T, capacity: usize) -> Result<()> {
    if capacity > 0 && (things_out.is_null() || !things_out.is_aligned()) {
        return inval("an array is NULL or not aligned, and its capacity is not 0");
    }
    Ok(())
}

/// Writes a checkpoint now.
///
/// Everything accepted is made durable, and with it the state of every
/// operation that is not finished: the next recovery begins here.  Then the
/// segments that only hold records older than this, and than the first record
/// of every operation that is not finished, are released, THE PROGRAM'S OWN
/// RECORDS IN THEM TOO, unless the manager was made with
/// TWAL_TXN_KEEP_RECORDS.
///
///   txn      a manager
///   seq_out  receives the checkpoint's number; NULL if you do not need it.
///            Untouched on failure.
///
/// Returns TWAL_OK, or
///
///   TWAL_E_INVAL     txn is NULL
///   TWAL_E_BUSY      twal_import() runs
///   TWAL_E_TOOBIG    the log was opened with a smaller record_size_max than
///                    the state of all operations needs
///   TWAL_E_FORKED    this process is a fork()ed child
///   TWAL_E_CLOSED    twal_close() or twal_txn_close() has begun
///   TWAL_E_POISONED  an earlier write or flush failed
///   TWAL_E_NOSPC, TWAL_E_TIMEOUT
///                    no room on the device; or at options.log_size_max, where
///                    one segment more is kept for it, that is full too:
///                    twal_txn_compact() needs no more of it, and a larger
///                    log_size_max at the next open helps
///   TWAL_E_PERM, TWAL_E_NOMEM, TWAL_E_UNSUPPORTED
///                    the next segment's file could not be made, as for
///                    twal_append()
///   TWAL_E_IO        a write or flush failed; or a file could not be released:
///                    the checkpoint is there if twal_last_error() has its
///                    number
///   TWAL_E_CORRUPT   the log's holds are damaged or lost, so nothing is
///                    released (twal_hold_reset() is the way on); the checkpoint
///                    is there
///   TWAL_E_PANIC     a bug in twal was caught
///
/// Blocks:  on the device.
/// Threads: any.
/// Signals: not async-signal-safe.
/// Since:   0.1
#[must_use]
#[no_mangle]
pub unsafe extern "C" fn twal_txn_checkpoint(txn: *mut twal_txn, seq_out: *mut u64) -> c_int {
    // SAFETY: NULL or a manager, NULL or room for a number (C contract).
    unsafe { append(txn, || Ok(()), |manager, ()| manager.checkpoint(), seq_out) }
}
