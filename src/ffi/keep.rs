//! What is kept: holds, the archive's acknowledgements, the limit on the size.

use std::ffi::{c_char, c_int, c_void, CStr};
use std::ptr::with_exposed_provenance_mut;
use std::sync::Arc;

use super::guard::{always, call, guard_uncancelled, Purpose};
use super::log::twal_log;
use super::segments::{segment_of, twal_segment};
use super::sized::{self, put_text, Grows};
use crate::base::{Code, Error, Result};
use crate::format::HoldName;
use crate::log::{name_of, HoldInfo, Log};
use crate::Hint;

/// A hold, as twal_holds() tells of it.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct twal_hold {
    /// sizeof(twal_hold), set by the caller in the first of an array.
    pub struct_size: u64,
    /// Everything from this number on is kept.
    pub seq: u64,
    /// Its name; ends with a NUL.
    pub name: [c_char; 40],
}

// SAFETY: repr(C) without holes (56 = 2 * 8 + 40), struct_size first, plain numbers.
unsafe impl Grows for twal_hold {
    const NAME: &'static str = "twal_hold";
    const FIRST_SIZE: usize = 56;
}

const _: () = assert!(size_of::<twal_hold>() == 56);

/// The name at `name`.
///
/// # Safety
///
/// `name` is NULL or a C string that nobody changes meanwhile.
unsafe fn name_at(name: *const c_char) -> Result<HoldName> {
    if name.is_null() {
        return Err(Error::new(Code::Inval, "the name is NULL"));
    }
    // SAFETY: not NULL; the rest is the contract.
    let name = unsafe { CStr::from_ptr(name) };
    name_of(name.to_str().unwrap_or_default())
}

/// Keeps every record from a number on, until this hold has moved on or was
/// dropped, whatever is trimmed, checkpointed or compacted, also over restarts.
///
/// A hold has a name: who needs the records, or what for, such as "snapshot",
/// "follower/2", "archive".  It only moves forward.  Whole segments are
/// released, so a hold inside a segment keeps all of that segment.  What was
/// trimmed and a hold was in the way of is released without another trim: as
/// soon as the hold moves on, if that is done by the handle that is open for
/// writing; else by its next trim that reaches so far or move of a hold, or
/// before it refuses an append at log_size_max.  A writer that is opened anew has to trim again.  A
/// hold by itself releases nothing.
///
/// A hold is durable when this returns TWAL_OK.  The first one that a log ever
/// has, its writer sets (it begins a new segment for it, whose header says that
/// the log has holds); from then on any process that has the log open may, also
/// for reading only and beside the writer.  They are in the file twal-holds.
/// While that is damaged or missing, nothing at all is released: see
/// twal_hold_reset().
///
///   log   an open log
///   name  1 to 39 visible ASCII characters
///   seq   the oldest number that is needed; 0: the oldest there is; up to
///         twal_last_seq() + 1, as far as a handle that is open for reading
///         only can see it by now
///
/// Returns TWAL_OK, also if the hold was there already, or
///
///   TWAL_E_INVAL      log or name is NULL, name is no such name, or seq is
///                     above twal_last_seq() + 1
///   TWAL_E_FORKED     this process is a fork()ed child
///   TWAL_E_CLOSED     twal_close() has begun
///   TWAL_E_POISONED   an earlier write or flush failed
///   TWAL_E_TRIMMED    records from seq on are gone already; the detail's seq
///                     is the oldest that there is
///   TWAL_E_STATE      the hold is further already, the detail's seq tells
///                     where; or the log is open for reading only and has no
///                     holds yet, or is a follower's copy: what is needed is
///                     held at its source
///   TWAL_E_BUSY       there are 64 holds already; or the log is open for
///                     reading only, and its segments changed too fast to be
///                     listed or are damaged
///   TWAL_E_CORRUPT    twal-holds is damaged or was lost; or twal-holds-new is
///                     not a file: a repair moves it away
///   TWAL_E_VERSION    it is a later release's
///   TWAL_E_LOCKED     another process was changing it for 2 seconds
///   TWAL_E_NOSPC, TWAL_E_PERM, TWAL_E_NOMEM
///                     it could not be written, or (NOSPC: then it is not set)
///                     the first hold's segment not be made; or the hold is
///                     set, and a name of what it let go could not be changed.
///                     Call again
///   TWAL_E_IO         it could not be read; or a write or flush failed, which
///                     poisons a writer's log: the hold is set or not
///   TWAL_E_PANIC      a bug in twal was caught
///
/// Blocks:  on the device.
/// Threads: any.
/// Signals: not async-signal-safe.
/// Since:   0.1
#[must_use]
#[no_mangle]
pub unsafe extern "C" fn twal_hold_set(log: *mut twal_log, name: *const c_char, seq: u64) -> c_int {
    guard_uncancelled(|| {
        // SAFETY: NULL or a C string (C contract).  First, as every argument is.
        let name = unsafe { name_at(name)? };
        // SAFETY: NULL or an open log (C contract).
        unsafe { call(log, Purpose::Change, always, |log| log.hold_set(name.as_str(), seq)) }
    })
}

/// Drops a hold: nothing is kept for it any more.
///
///   log   an open log
///   name  the hold's
///
/// Returns what twal_hold_set() returns, and
///
///   TWAL_E_NOTFOUND  there is no such hold
///
/// Blocks:  on the device.
/// Threads: any.
/// Signals: not async-signal-safe.
/// Since:   0.1
#[must_use]
#[no_mangle]
pub unsafe extern "C" fn twal_hold_drop(log: *mut twal_log, name: *const c_char) -> c_int {
    guard_uncancelled(|| {
        // SAFETY: NULL or a C string (C contract).  First, as every argument is.
        let name = unsafe { name_at(name)? };
        // SAFETY: NULL or an open log (C contract).
        unsafe { call(log, Purpose::Change, always, |log| log.hold_drop(name.as_str())) }
    })
}

/// Drops every hold, whatever twal-holds says: the way on where it is damaged
/// or was lost.
///
/// Nothing is released by this.  Set anew what has to be held before the next
/// trim or checkpoint.
///
///   log  a log that is open for writing
///
/// Returns TWAL_OK, or
///
///   TWAL_E_INVAL      log is NULL
///   TWAL_E_FORKED     this process is a fork()ed child
///   TWAL_E_CLOSED     twal_close() has begun
///   TWAL_E_READ_ONLY  the log is open for reading only
///   TWAL_E_POISONED   an earlier write or flush failed
///   TWAL_E_CORRUPT    twal-holds, or twal-holds-new beside it, is not a file
///                     (but a directory, say): a repair moves it away
///   TWAL_E_LOCKED, TWAL_E_NOSPC, TWAL_E_PERM, TWAL_E_NOMEM, TWAL_E_IO,
///   TWAL_E_PANIC      as twal_hold_set()
///
/// Blocks:  on the device.
/// Threads: any.
/// Signals: not async-signal-safe.
/// Since:   0.1
#[must_use]
#[no_mangle]
pub unsafe extern "C" fn twal_hold_reset(log: *mut twal_log) -> c_int {
    // SAFETY: NULL or an open log (C contract).
    guard_uncancelled(|| unsafe { call(log, Purpose::Change, always, Log::hold_reset) })
}

/// Tells all holds, by name.
///
///   log        an open log
///   holds_out  an array for capacity of them, whose first one's struct_size is
///              set: that is the size of each; NULL only if capacity is 0.
///              Untouched on failure.
///   capacity   how many fit; further ones are left out
///   count_out  receives how many there are, at most 64
///
/// Returns TWAL_OK, or
///
///   TWAL_E_INVAL    log or count_out is NULL, holds_out is NULL and capacity
///                   is not 0, or struct_size is no size that a release of
///                   twal ever had
///   TWAL_E_FORKED   this process is a fork()ed child
///   TWAL_E_CLOSED   twal_close() has begun
///   TWAL_E_CORRUPT  twal-holds is damaged or was lost: nothing is released
///   TWAL_E_VERSION  it is a later release's
///   TWAL_E_IO, TWAL_E_PERM, TWAL_E_NOMEM
///                   it could not be read
///   TWAL_E_PANIC    a bug in twal was caught
///
/// Blocks:  on the device.
/// Threads: any.
/// Signals: not async-signal-safe.
/// Since:   0.1
#[must_use]
#[no_mangle]
pub unsafe extern "C" fn twal_holds(
    log: *const twal_log,
    holds_out: *mut twal_hold,
    capacity: usize,
    count_out: *mut usize,
) -> c_int {
    // SAFETY: the C contract is the one asked for.
    guard_uncancelled(|| unsafe { sized::tell_all(log, holds_out, capacity, count_out, Log::holds, hold_of) })
}

fn hold_of(hold: &HoldInfo) -> twal_hold {
    let mut c = twal_hold { struct_size: 0, seq: hold.seq, name: [0; 40] };
    put_text(&mut c.name, &hold.name);
    c
}

/// The next segment to be archived: the oldest sealed one above an index that
/// was not acknowledged yet.
///
/// For programs that keep every segment elsewhere.  Set a hold named "archive"
/// once, at 0.  Then, whenever it suits (after twal_roll(), by a timer), ask
/// for the next segment, copy its file, and when the copy is safe acknowledge
/// it with twal_archive_done().  Until then its file keeps its name and its
/// bytes, over restarts too.
///
///   log          an open log
///   after_index  only segments above this one; 0: the oldest that was not
///                acknowledged.  More than one can be copied at a time that
///                way
///   segment_out  receives the segment; its struct_size must be set.
///                Untouched on failure.
///
/// Returns TWAL_OK, or
///
///   TWAL_E_INVAL     log or segment_out is NULL, or struct_size is no size
///                    that a release of twal ever had
///   TWAL_E_FORKED    this process is a fork()ed child
///   TWAL_E_CLOSED    twal_close() has begun
///   TWAL_E_NOTFOUND  there is none now
///   TWAL_E_STATE     there is no hold "archive"
///   TWAL_E_BUSY      as twal_hold_set(), not for the number of holds
///   TWAL_E_CORRUPT, TWAL_E_VERSION, TWAL_E_IO, TWAL_E_PERM, TWAL_E_NOMEM
///                    as twal_holds()
///   TWAL_E_PANIC     a bug in twal was caught
///
/// Blocks:  on the device.
/// Threads: any.
/// Signals: not async-signal-safe.
/// Since:   0.1
#[must_use]
#[no_mangle]
pub unsafe extern "C" fn twal_archive_next(
    log: *const twal_log,
    after_index: u64,
    segment_out: *mut twal_segment,
) -> c_int {
    guard_uncancelled(|| {
        if log.is_null() {
            return Err(Error::new(Code::Inval, "the log is NULL"));
        }
        // SAFETY: NULL or a twal_segment as long as it says (C contract).
        unsafe { sized::check(segment_out)? };
        // SAFETY: an open log (C contract).
        let next = unsafe { call(log, Purpose::Look, always, |log| log.archive_next(after_index))? };
        let none = || Error::new(Code::NotFound, "every sealed segment is acknowledged");
        // SAFETY: as for the check above.
        unsafe { sized::give(segment_out, &segment_of(&next.ok_or_else(none)?)) }
    })
}

/// Acknowledges that a segment, and every one before it, is archived elsewhere:
/// the hold "archive" moves on behind it.
///
///   log    an open log
///   index  the segment's
///
/// Returns TWAL_OK, also if it was acknowledged before; or what
/// twal_hold_set() returns, and
///
///   TWAL_E_STATE     there is no hold "archive", or the segment is not sealed
///   TWAL_E_NOTFOUND  there is no such segment yet
///   TWAL_E_TRIMMED   it is gone already
///
/// Blocks:  on the device.
/// Threads: any.
/// Signals: not async-signal-safe.
/// Since:   0.1
#[must_use]
#[no_mangle]
pub unsafe extern "C" fn twal_archive_done(log: *mut twal_log, index: u64) -> c_int {
    // SAFETY: NULL or an open log (C contract).
    guard_uncancelled(|| unsafe { call(log, Purpose::Change, always, |log| log.archive_done(index)) })
}

/// Says who is told when the log would grow beyond options.log_size_max.
///
/// Each time that one more file would take the log beyond the limit, hint is
/// called, about when the file is made or, with TWAL_SIZE_REFUSE, refused: that
/// is the moment for a checkpoint and a trim.  It is called on the thread of
/// twal's that makes the calls of twal_sync_async(), one call at a time, under
/// no lock: it may call every function of twal, and wait in it, but not close
/// this log, and must not throw, longjmp() or end its thread.  While one call
/// is on its way, no other is put behind it.
///
///   log   an open log
///   hint  what is called, with the bytes that the log's files would take and
///         the limit; NULL: nobody is told any more, but a call that has
///         begun goes on
///   arg   is passed on to hint; twal does not look at it
///
/// Returns TWAL_OK, or
///
///   TWAL_E_INVAL      log is NULL
///   TWAL_E_FORKED     this process is a fork()ed child
///   TWAL_E_CLOSED     twal_close() has begun
///   TWAL_E_READ_ONLY  the log is open for reading only
///   TWAL_E_NOMEM      no memory or thread left
///   TWAL_E_PANIC      a bug in twal was caught
///
/// Blocks:  no.
/// Threads: any; hint is called on one of twal's, which blocks all signals.
/// Signals: not async-signal-safe.
/// Since:   0.1
#[must_use]
#[no_mangle]
pub unsafe extern "C" fn twal_size_hint(
    log: *mut twal_log,
    hint: Option<unsafe extern "C" fn(arg: *mut c_void, size: u64, size_max: u64)>,
    arg: *mut c_void,
) -> c_int {
    // A word instead of a pointer: the closure goes to another thread.
    let word = arg.expose_provenance();
    let hint = hint.map(|hint| -> Hint {
        Arc::new(move |size, size_max| {
            // SAFETY: a function that may be called with this, on any thread, until the log is closed (C contract).
            unsafe { hint(with_exposed_provenance_mut(word), size, size_max) };
        })
    });
    // SAFETY: NULL or an open log (C contract).
    guard_uncancelled(|| unsafe { call(log, Purpose::Change, always, |log| log.size_hint(hint)) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ptr::{null, null_mut};

    #[test]
    fn null_is_refused() {
        let mut count = 7;
        // SAFETY: NULL is allowed in a call's own words.
        unsafe {
            assert_eq!(twal_hold_set(null_mut(), c"a".as_ptr(), 1), -101);
            assert_eq!(twal_hold_drop(null_mut(), null()), -101);
            assert_eq!(twal_hold_reset(null_mut()), -101);
            assert_eq!(twal_holds(null(), null_mut(), 0, &raw mut count), -101);
            assert_eq!(twal_archive_next(null(), 0, null_mut()), -101);
            assert_eq!(twal_archive_done(null_mut(), 1), -101);
            assert_eq!(twal_size_hint(null_mut(), None, null_mut()), -101);
        }
        assert_eq!(count, 7, "untouched on failure");
    }
}
