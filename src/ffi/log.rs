//! The log as a C handle.

use std::ffi::{c_char, c_int, c_void, CStr, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::callers::Callers;
use super::entry::{self, twal_entry};
use super::guard::{self, always, answer, call, guard, guard_uncancelled, Purpose};
use super::options::{options_of, twal_options};
use super::reserve::Held;
use super::sized;
use crate::base::options::{Config, Options};
use crate::base::{Code, Error, Result};
use crate::log::{Entry, How, Log};
use crate::mem::fork::ForkGuard;

/// An open log.
///
/// From twal_open() to twal_close().  Any thread may use it at any time,
/// together with others.
pub struct twal_log {
    /// Who is inside; closing waits for them.
    pub(super) callers: Callers,
    pub(super) log: Log,
    pub(super) fork: ForkGuard,
    /// Kept here because TOOBIG comes before FORKED and CLOSED.
    pub(super) record_size_max: u64,
    /// What twal_reserve() gave out.
    pub(super) held: Held,
}

/// Opens the log in a directory, or makes one.
///
/// When this returns TWAL_OK the log is recovered: every record that was ever
/// acknowledged as durable is there, nothing behind it, and what
/// twal_recovery_get() reports will not change any more, whatever happens.
/// Only the last component of dir is created (mode 0700; files 0600; less the
/// umask).  Files not named twal-* are left alone.
///
/// A follower's directory (twal_sink_open()) opens with TWAL_OPEN_READ_ONLY, also
/// beside its sink in another process: what is read is what its position says is
/// durable, everything up to there, and it grows with that.  When the follower is
/// promoted the handle goes on as a reader of the log that it has become.  Nothing
/// can be held there (twal_hold_set()).  Where another copy was put in its place,
/// readers get TWAL_E_STATE from then on.
///
///   dir      path of the directory
///   options  how to open; NULL: all defaults
///   log_out  receives the handle; give it back with twal_close().
///            Untouched on failure.
///
/// Returns TWAL_OK, or
///
///   TWAL_E_INVAL        dir or log_out is NULL, dir is empty or not a
///                       directory, an option is out of its range or an
///                       unknown flag, or block_size is not the log's
///   TWAL_E_LOCKED       another process, or another handle of this one, has
///                       the log open for writing; or a killed process' last
///                       write was still in flight after 2 seconds
///   TWAL_E_STATE        the directory is a follower's: it opens for reading only,
///                       until twal_sink_promote() makes it a log
///   TWAL_E_NOTFOUND     the parent directory is missing; or there is no log,
///                       and NO_CREATE or READ_ONLY was set; or READ_ONLY, and
///                       the follower there has nothing yet
///   TWAL_E_PERM         the operating system refuses access
///   TWAL_E_NOSPC        no space for a new log
///   TWAL_E_NOMEM        no memory, thread or file descriptor left
///   TWAL_E_IO           the device failed, or bytes could not be read
///   TWAL_E_BUSY         read-only: a writer changes the log too fast; try again
///   TWAL_E_UNSUPPORTED  the file system cannot keep the promise or has no
///                       O_DIRECT (see twal_open_flags); the engine asked for
///                       is not available; or options say something that this
///                       release does not know
///   TWAL_E_CORRUPT      acknowledged data is damaged; TWAL_OPEN_READ_ONLY
///                       opens it and yields everything before the damage
///   TWAL_E_VERSION      written by a release that this one cannot read
///   TWAL_E_KEY          it is encrypted, and the key is missing or wrong
///
/// After TWAL_E_INVAL nothing was created.
///
/// Blocks:  on the device, for as long as recovery reads; up to 2 seconds for
///          a lock, or with TWAL_OPEN_READ_ONLY for a log that changes at
///          every look.
/// Threads: any.
/// Signals: not async-signal-safe.
/// Since:   0.1
#[must_use]
#[no_mangle]
pub unsafe extern "C" fn twal_open(
    dir: *const c_char,
    options: *const twal_options,
    log_out: *mut *mut twal_log,
) -> c_int {
    guard_uncancelled(|| {
        // SAFETY: log_out is NULL or room for a pointer (C contract).
        let log_out = unsafe { guard::must_have(log_out)? };
        // SAFETY: dir is NULL or a C string, unchanged during the call (C contract).
        let dir = unsafe { path_of(dir)? };
        // SAFETY: options is NULL or a twal_options as long as it says (C contract).
        let (options, known) = unsafe { taken_options(options)? };
        if std::fs::metadata(dir).is_ok_and(|about| !about.is_dir()) {
            return Err(Error::new(Code::Inval, "dir is not a directory"));
        }
        known?;
        let log = Log::open(dir, &options)?;
        let record_size_max = match log.stats().record_size_max {
            0 => u64::MAX, // no limit known; the log has the last word anyway
            max => max,
        };
        let (callers, fork, held) = (Callers::default(), ForkGuard::new(), Held::default());
        let handle = twal_log { callers, log, fork, record_size_max, held };
        // SAFETY: must_have has seen it.
        unsafe { log_out.write(Box::into_raw(Box::new(handle))) };
        Ok(())
    })
}

/// Makes everything accepted durable, then closes the log and frees the handle.
///
/// Always frees, whatever it returns but TWAL_E_STATE: the handle must not be
/// used again.
/// Callers that wait inside other functions get TWAL_E_CLOSED and are let out
/// first; no new call may begin on the handle once this one has.  Returns only
/// when every write ever issued has completed and the lock is given back.
/// Iterators stay valid; they answer TWAL_E_CLOSED until they are closed.
/// Reservations that are left can never be committed any more; each keeps the
/// log's memory until twal_commit() or twal_cancel() was called for it.
///
///   log  the log; NULL does nothing
///
/// Returns TWAL_OK, or
///
///   TWAL_E_IO        a write or flush failed: the fate of what was not yet
///                    acknowledged as durable is unknown until the next open
///   TWAL_E_POISONED  the same, and it had failed before
///   TWAL_E_NOMEM, TWAL_E_NOSPC
///                    the system could not give a lock back; it goes with the
///                    descriptor, and everything is durable
///   TWAL_E_CLOSED    another thread is inside twal_close() for this handle
///   TWAL_E_STATE     called by what the log itself calls (see twal_sync_async(),
///                    twal_message_callback()): the one case in which the log
///                    stays open
///
/// In a fork()ed child it frees, touches neither disk nor lock, and returns
/// TWAL_OK.
///
/// Blocks:  on the device.
/// Threads: any; exactly one, once.
/// Signals: not async-signal-safe.
/// Since:   0.1
#[no_mangle]
pub unsafe extern "C" fn twal_close(log: *mut twal_log) -> c_int {
    // SAFETY: NULL or from twal_open, and not used again (C contract).
    guard_uncancelled(|| unsafe { guard::close(log) })
}

/// Appends one record of type 0x0100 and stream 0, stamped by the logical
/// clock, as the log's durability says.
///
/// With TWAL_SYNC the record is durable when this returns; with TWAL_GROUP and
/// TWAL_ASYNC it is accepted, and becomes durable by itself (batch_delay_us,
/// flush_interval_ms), by twal_sync(), or by what others append.  The payload
/// is copied: the buffer is yours again at once.  If one append returned
/// before another began, its number is smaller.  Numbers start at 1 and have
/// no gaps.
///
///   log      an open log
///   data     the payload; NULL only if len is 0
///   len      bytes of payload; 0 makes an empty record, which is allowed
///   seq_out  receives the record's number; NULL if you do not need it.
///            Untouched on failure.
///
/// Returns TWAL_OK, or
///
///   TWAL_E_INVAL      log is NULL, or data is NULL and len is not 0
///   TWAL_E_TOOBIG     len is above options.record_size_max
///   TWAL_E_FORKED     this process is a fork()ed child
///   TWAL_E_CLOSED     twal_close() has begun
///   TWAL_E_READ_ONLY  the log is open for reading only
///   TWAL_E_POISONED   an earlier write or flush failed
///   TWAL_E_IO         this record's write or flush failed
///   TWAL_E_NOSPC      the device is full, or the log is as large as
///                     options.log_size_max allows; append again when there is
///                     space
///   TWAL_E_PERM, TWAL_E_NOMEM, TWAL_E_UNSUPPORTED
///                     the next segment's file could not be made: no right, no
///                     memory or file descriptor left, a filter forbids the
///                     system call; append again later.  If it was made, and
///                     could only not be given its name, the log is poisoned
///                     as by TWAL_E_IO (twal_stats.poisoned)
///   TWAL_E_TIMEOUT    no room within options.append_timeout_us
///   TWAL_E_PANIC      a bug in twal was caught
///
/// After TWAL_E_IO, TWAL_E_POISONED and TWAL_E_PANIC, and whatever else the log
/// is poisoned by, the record's fate is unknown until the next open: it is there
/// or it is not.  After any other error nothing was written and no number was
/// used.
///
/// Blocks:  with TWAL_SYNC until the record is durable; else only while there
///          is no room for it.
/// Threads: any.
/// Signals: not async-signal-safe.
/// Since:   0.1
#[must_use]
#[no_mangle]
pub unsafe extern "C" fn twal_append(log: *mut twal_log, data: *const c_void, len: usize, seq_out: *mut u64) -> c_int {
    guard(|| {
        let check = |max| entry::check_payload(data, len).and_then(|()| check_size(len, max));
        // SAFETY: NULL or an open log (C contract).
        unsafe { guard::checked(log, check)? };
        // SAFETY: just checked; the bytes are there during the call (C contract).
        let data = unsafe { entry::payload(data, len) };
        let entry = Entry { data, stream: 0, timestamp: None, kind: entry::KIND_DEFAULT, required: false };
        // SAFETY: an open log (C contract).
        let seq = unsafe { call(log, Purpose::Change, always, |log| log.append(&entry, How::default()))? };
        // SAFETY: NULL or room for a number (C contract).
        unsafe { guard::put_seq(seq_out, seq) };
        Ok(())
    })
}

/// Appends one record that says its stream, timestamp, type and how to append.
///
/// As twal_append(); entry.flags overrides the log's durability for this call.
///
///   log      an open log
///   entry    the record; start from TWAL_ENTRY_INIT
///   seq_out  receives the record's number; NULL if you do not need it.
///            Untouched on failure.
///
/// Returns what twal_append() returns, and
///
///   TWAL_E_INVAL  also: entry is NULL; type is 1 to 0x00FF, which are twal's,
///                 or above 0xFFFF; flags has unknown bits, or both
///                 TWAL_APPEND_SYNC and TWAL_APPEND_NO_SYNC; reserved is not 0
///   TWAL_E_AGAIN  no room now, and TWAL_APPEND_NO_WAIT is set; nothing was
///                 written, no number was used
///
/// Blocks:  as twal_append(), with entry.flags: TWAL_APPEND_SYNC until the
///          record is durable; TWAL_APPEND_NO_WAIT never for room.
/// Threads: any.
/// Signals: not async-signal-safe.
/// Since:   0.1
#[must_use]
#[no_mangle]
pub unsafe extern "C" fn twal_append_entry(log: *mut twal_log, entry: *const twal_entry, seq_out: *mut u64) -> c_int {
    guard(|| {
        let check = |max| {
            // SAFETY: NULL or an entry that is there during the call (C contract).
            let entry = &unsafe { entries_of(entry, 1)? }[0];
            entry::check(entry)?;
            check_size(entry.len, max).map(|()| entry)
        };
        // SAFETY: NULL or an open log (C contract).
        let entry = unsafe { guard::checked(log, check)? };
        let how = entry::how(entry.flags);
        // SAFETY: just checked; the bytes are there during the call (C contract).
        let entry = unsafe { entry::entry_of(entry) };
        // SAFETY: an open log (C contract).
        let seq = unsafe { call(log, Purpose::Change, always, |log| log.append(&entry, how))? };
        // SAFETY: NULL or room for a number (C contract).
        unsafe { guard::put_seq(seq_out, seq) };
        Ok(())
    })
}

/// Appends several records as one: all of them or none, now and after any
/// crash, with numbers that follow each other.
///
/// As twal_append_entry().  No reader sees a part of a batch as the log's end.
///
///   log            an open log
///   entries        the records
///   count          how many, at least 1
///   first_seq_out  receives the first one's number, the last one's is
///                  count - 1 above; NULL if you do not need it.  Untouched on
///                  failure.
///
/// Returns what twal_append_entry() returns, and
///
///   TWAL_E_INVAL   also: entries is NULL, count is 0, or flags is not the
///                  same in all of them
///   TWAL_E_TOOBIG  the payloads in sum are above options.record_size_max, or
///                  do not fit an empty segment with the 40 bytes in front of
///                  each
///
/// Blocks:  as twal_append_entry().
/// Threads: any.
/// Signals: not async-signal-safe.
/// Since:   0.1
#[must_use]
#[no_mangle]
pub unsafe extern "C" fn twal_append_batch(
    log: *mut twal_log,
    entries: *const twal_entry,
    count: usize,
    first_seq_out: *mut u64,
) -> c_int {
    guard(|| {
        let check = |max| {
            // SAFETY: NULL or entries that are there during the call (C contract).
            let entries = unsafe { entries_of(entries, count)? };
            entry::check_batch(entries)?;
            // Saturating: a sum that overflows is above any maximum.
            check_size(entries.iter().fold(0, |sum: usize, entry| sum.saturating_add(entry.len)), max)?;
            Ok(entries)
        };
        // SAFETY: NULL or an open log (C contract).
        let entries = unsafe { guard::checked(log, check)? };
        let how = entry::how(entries[0].flags);
        // SAFETY: each one was checked; the bytes are there during the call (C contract).
        let records = entries.iter().map(|entry| unsafe { entry::entry_of(entry) });
        // SAFETY: an open log (C contract).
        let seq = unsafe { call(log, Purpose::Change, always, |log| log.append_batch(records, how))? };
        // SAFETY: NULL or room for a number (C contract).
        unsafe { guard::put_seq(first_seq_out, seq) };
        Ok(())
    })
}

/// Makes every record up to a number durable.
///
///   log  an open log
///   seq  the last number that must be durable when this returns; 0: all that
///        were accepted when the call began
///
/// Returns TWAL_OK, or
///
///   TWAL_E_INVAL      log is NULL, or seq is above twal_last_seq()
///   TWAL_E_FORKED     this process is a fork()ed child
///   TWAL_E_CLOSED     twal_close() has begun
///   TWAL_E_READ_ONLY  the log is open for reading only
///   TWAL_E_POISONED   an earlier write or flush failed
///   TWAL_E_IO         the write or flush failed
///   TWAL_E_PANIC      a bug in twal was caught
///
/// Blocks:  on the device, unless seq is durable already.
/// Threads: any.
/// Signals: not async-signal-safe.
/// Since:   0.1
#[must_use]
#[no_mangle]
pub unsafe extern "C" fn twal_sync(log: *mut twal_log, seq: u64) -> c_int {
    // SAFETY: NULL or an open log (C contract).
    guard(|| unsafe { call(log, Purpose::Change, accepted(seq), |log| log.sync(seq)) })
}

/// That `seq` was accepted, to be asked before the log's state is.
pub(super) fn accepted(seq: u64) -> impl FnOnce(&Log) -> Result<()> {
    move |log| {
        if seq > log.last_seq() {
            return Err(Error::new(Code::Inval, "seq was not accepted yet").about_seq(seq));
        }
        Ok(())
    }
}

/// Waits until every record up to a number is durable, without asking for it.
///
/// Starts no flush of its own: what makes the records durable is the log's
/// durability, other appends, or twal_sync().
///
///   log         an open log
///   seq         the number to wait for; 0: all that were accepted when the
///               call began
///   timeout_ns  nanoseconds; 0 looks and does not wait; below 0: for ever
///
/// Returns TWAL_OK, also on a poisoned log if seq was durable before, or
///
///   TWAL_E_INVAL     log is NULL
///   TWAL_E_FORKED    this process is a fork()ed child
///   TWAL_E_CLOSED    twal_close() has begun
///   TWAL_E_READ_ONLY the log is open for reading only
///   TWAL_E_POISONED  an earlier write or flush failed
///   TWAL_E_IO        the write or flush failed while this waited
///   TWAL_E_TIMEOUT   not durable yet
///   TWAL_E_PANIC     a bug in twal was caught
///
/// Blocks:  for up to timeout_ns.
/// Threads: any.
/// Signals: not async-signal-safe; a handled signal does not end the wait.
/// Since:   0.1
#[must_use]
#[no_mangle]
pub unsafe extern "C" fn twal_wait(log: *mut twal_log, seq: u64, timeout_ns: i64) -> c_int {
    let timeout_ns = u64::try_from(timeout_ns).ok(); // below 0: none
                                                     // SAFETY: NULL or an open log (C contract).
    guard(|| unsafe { call(log, Purpose::Look, always, |log| log.wait(seq, timeout_ns)) })
}

/// The oldest number that can be read; twal_last_seq() + 1 if there is none.
///
///   log  an open log
///
/// Returns the number; 0 if log is NULL, is being closed, or belongs to this
/// process' parent, as twal_last_error() then tells.
///
/// Blocks:  no.
/// Threads: any.
/// Signals: not async-signal-safe.
/// Since:   0.1
#[no_mangle]
pub unsafe extern "C" fn twal_first_seq(log: *const twal_log) -> u64 {
    // SAFETY: NULL or an open log (C contract).
    answer(|| unsafe { call(log, Purpose::Look, always, |log| Ok(log.first_seq())) }, |_| 0)
}

/// The newest number that was accepted; 0 if there is none yet.
///
/// Of a log that is open for reading only: the newest that can be read, which
/// rises when a twal_iter_next() comes to the end and looks further.
///
///   log  an open log
///
/// Returns the number; 0 also if log is NULL, is being closed, or belongs to
/// this process' parent, as twal_last_error() then tells.
///
/// Blocks:  no.
/// Threads: any.
/// Signals: not async-signal-safe.
/// Since:   0.1
#[no_mangle]
pub unsafe extern "C" fn twal_last_seq(log: *const twal_log) -> u64 {
    // SAFETY: NULL or an open log (C contract).
    answer(|| unsafe { call(log, Purpose::Look, always, |log| Ok(log.last_seq())) }, |_| 0)
}

/// The newest number that is durable, with all before it; 0 if there is none.
///
/// Never falls, and is always the end of a batch.  Cheap enough to be asked in
/// a loop: one load.  Of a log that is open for reading only it is
/// twal_last_seq().
///
///   log  an open log; unlike with other calls, twal_close() does not wait for
///        a thread that is in this one
///
/// Returns the number; 0 also if log is NULL or belongs to this process'
/// parent, as twal_last_error() then tells.
///
/// Blocks:  no.
/// Threads: any.
/// Signals: not async-signal-safe.
/// Since:   0.1
#[no_mangle]
pub unsafe extern "C" fn twal_durable_seq(log: *const twal_log) -> u64 {
    let look = || {
        // SAFETY: NULL or an open log that stays open during the call (C
        // contract): this one is not counted, so that it writes no memory.
        let handle = unsafe { log.as_ref() }.ok_or_else(|| Error::new(Code::Inval, "the log is NULL"))?;
        if handle.fork.forked() {
            return Err(guard::forked());
        }
        Ok(handle.log.durable_seq())
    };
    answer(look, |_| 0)
}

/// Releases the records below a number: they are not needed any more.
///
/// Whole segments only, and never past a hold: what is released is archived,
/// leaves reading, and is removed or used again once there are more than
/// options.max_retained_segments such segments.  twal_first_seq() tells how
/// far it went.  What a hold keeps is released when the hold has moved on: see
/// twal_hold_set().  Without a call like this nothing is ever removed.
///
/// A program with transactions calls twal_txn_recover() first, each time that
/// it has opened the log: only from then on no trim releases what the manager
/// needs.  A trim before that may release it, operations that are not finished
/// too; twal_txn_recover() then finds them gone, without an error where nothing
/// is left of them, and ids and tokens begin anew.
///
///   log        an open log
///   below_seq  the oldest number still needed; up to twal_last_seq() + 1
///
/// Returns TWAL_OK, also if nothing could be released, or
///
///   TWAL_E_INVAL      log is NULL, or below_seq is above twal_last_seq() + 1
///   TWAL_E_FORKED     this process is a fork()ed child
///   TWAL_E_CLOSED     twal_close() has begun
///   TWAL_E_READ_ONLY  the log is open for reading only
///   TWAL_E_POISONED   an earlier write or flush failed
///   TWAL_E_IO         the directory could not be read or flushed: the log is
///                     poisoned; or twal-holds could not be read: it is not
///   TWAL_E_CORRUPT    twal-holds is damaged or was lost: nothing is released,
///                     see twal_hold_reset(); or what was to be removed is no
///                     file: a repair takes it out
///   TWAL_E_VERSION    it is a later release's
///   TWAL_E_LOCKED     another process was changing it for 2 seconds
///   TWAL_E_PERM, TWAL_E_NOSPC, TWAL_E_NOMEM
///                     a name could not be changed; what was not released is
///                     still there, and the call can be made again
///   TWAL_E_PANIC      a bug in twal was caught
///
/// Works on a full device.
///
/// Blocks:  on the device.
/// Threads: any.
/// Signals: not async-signal-safe.
/// Since:   0.1
#[no_mangle]
pub unsafe extern "C" fn twal_trim(log: *mut twal_log, below_seq: u64) -> c_int {
    let accepted = |log: &Log| {
        if below_seq > log.last_seq().saturating_add(1) {
            return Err(Error::new(Code::Inval, "below_seq is above twal_last_seq() + 1").about_seq(below_seq));
        }
        Ok(())
    };
    // SAFETY: NULL or an open log (C contract).
    guard(|| unsafe { call(log, Purpose::Change, accepted, |log| log.trim(below_seq)) })
}

/// Seals the active segment now and begins the next one.
///
/// What was accepted before is durable and in sealed segments when this
/// returns, so that it can be archived, shipped or released.
///
///   log  an open log
///
/// Returns TWAL_OK, or
///
///   TWAL_E_INVAL      log is NULL
///   TWAL_E_FORKED     this process is a fork()ed child
///   TWAL_E_CLOSED     twal_close() has begun
///   TWAL_E_READ_ONLY  the log is open for reading only
///   TWAL_E_POISONED   an earlier write or flush failed
///   TWAL_E_IO         a write or flush failed
///   TWAL_E_NOSPC      no space for the next segment
///   TWAL_E_PERM, TWAL_E_NOMEM, TWAL_E_UNSUPPORTED
///                     its file could not be made; nothing was changed
///   TWAL_E_PANIC      a bug in twal was caught
///
/// Blocks:  on the device.
/// Threads: any.
/// Signals: not async-signal-safe.
/// Since:   0.1
#[no_mangle]
pub unsafe extern "C" fn twal_roll(log: *mut twal_log) -> c_int {
    // SAFETY: NULL or an open log (C contract).
    guard(|| unsafe { call(log, Purpose::Change, always, Log::roll) })
}

/// The path in `dir`.
///
/// # Safety
///
/// `dir` is NULL or a C string that nobody changes during `'a`.
pub(super) unsafe fn path_of<'a>(dir: *const c_char) -> Result<&'a Path> {
    if dir.is_null() {
        return Err(Error::new(Code::Inval, "dir is NULL"));
    }
    // SAFETY: not NULL; the rest is the contract.
    let bytes = unsafe { CStr::from_ptr(dir) }.to_bytes();
    if bytes.is_empty() {
        return Err(Error::new(Code::Inval, "dir is empty"));
    }
    Ok(Path::new(OsStr::from_bytes(bytes)))
}

/// The options in `options`, and whether this release knows all of them: that comes after what is INVAL.
///
/// # Safety
///
/// `options` is NULL or a twal_options as long as it says.
pub(super) unsafe fn taken_options(options: *const twal_options) -> Result<(Options, Result<()>)> {
    if options.is_null() {
        return Ok((Options::default(), Ok(())));
    }
    // SAFETY: the contract.
    let taken = unsafe { sized::take(options)? };
    let options = options_of(&taken.value)?;
    Config::check(&options)?;
    Ok((options, taken.known().map(drop)))
}

/// The entries at `entries`.
///
/// # Safety
///
/// `entries` is NULL or points to `count` entries that nobody changes during `'a`.
pub(super) unsafe fn entries_of<'a>(entries: *const twal_entry, count: usize) -> Result<&'a [twal_entry]> {
    if entries.is_null() || !entries.is_aligned() {
        return Err(Error::new(Code::Inval, "the entries are NULL or not aligned"));
    }
    if count == 0 {
        return Err(Error::new(Code::Inval, "count is 0"));
    }
    if count > isize::MAX.unsigned_abs() / size_of::<twal_entry>() {
        return Err(Error::new(Code::TooBig, "count is more entries than memory can hold"));
    }
    // SAFETY: not NULL, aligned, not above isize::MAX bytes; the rest is the contract.
    Ok(unsafe { std::slice::from_raw_parts(entries, count) })
}

/// Whether `len` bytes of payload are within `max`, and can be a slice at all.
pub(super) fn check_size(len: usize, max: u64) -> Result<()> {
    if len > isize::MAX.unsigned_abs() || u64::try_from(len).is_ok_and(|len| len > max) {
        return Err(Error::new(Code::TooBig, format!("a payload of {len} bytes is above the log's {max}")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ffi::last_error::last;
    use std::ptr::{null, null_mut};

    const INVAL: c_int = -101;

    /// twal_open with options that start with the bytes of `words`.
    fn open_with(words: &[u64]) -> c_int {
        let mut log = null_mut();
        // SAFETY: the options are as long as they say, or refused by their size.
        let code = unsafe { twal_open(c"/nonexistent/twal".as_ptr(), words.as_ptr().cast(), &raw mut log) };
        assert!(log.is_null(), "untouched on failure");
        code
    }

    #[test]
    fn a_null_handle_is_refused_by_all_but_close() {
        let mut seq = 7;
        // SAFETY: NULL is allowed everywhere in a call's own words.
        unsafe {
            assert_eq!(twal_close(null_mut()), 0);
            assert_eq!(twal_append(null_mut(), c"a".as_ptr().cast(), 1, &raw mut seq), INVAL);
            assert_eq!(twal_append_entry(null_mut(), null(), &raw mut seq), INVAL);
            assert_eq!(twal_append_batch(null_mut(), null(), 0, &raw mut seq), INVAL);
            assert_eq!(twal_sync(null_mut(), 0), INVAL);
            assert_eq!(twal_wait(null_mut(), 0, 0), INVAL);
            assert_eq!(twal_trim(null_mut(), 0), INVAL);
            assert_eq!(twal_roll(null_mut()), INVAL);
            assert_eq!((twal_first_seq(null()), twal_last_seq(null()), twal_durable_seq(null())), (0, 0, 0));
        }
        assert_eq!(last(), (INVAL, "the log is NULL".into()));
        assert_eq!(seq, 7, "untouched on failure");
    }

    #[test]
    fn open_refuses_before_it_looks_at_the_disk() {
        let mut log = null_mut();
        // SAFETY: NULL is allowed in a call's own words.
        unsafe {
            assert_eq!(twal_open(null(), null(), &raw mut log), INVAL);
            assert_eq!(twal_open(c"".as_ptr(), null(), &raw mut log), INVAL);
            assert_eq!(twal_open(c"/nonexistent/twal".as_ptr(), null(), null_mut()), INVAL);
        }
        assert_eq!(open_with(&[0; 14]), INVAL, "struct_size 0");
        assert_eq!(open_with(&[104; 14]), INVAL, "struct_size below the first release's");
        let mut words = [0; 14];
        words[0] = 112;
        words[1] = 32; // flags
        assert_eq!(open_with(&words), INVAL);
        words[1] = 4 << 32; // durability
        assert_eq!(open_with(&words), INVAL);
        words[1] = 0;
        words[2] = 3; // io_engine
        assert_eq!(open_with(&words), INVAL);
        words[2] = 5000 << 32; // block_size
        assert_eq!(open_with(&words), INVAL);
    }

    /// An option of a later release is refused only if this one finds nothing wrong.
    #[test]
    fn inval_comes_before_unsupported() {
        let mut words = [0; 20];
        words[0] = 160;
        words[19] = 1;
        assert_eq!(open_with(&words), -304);
        words[3] = 1; // segment_size
        assert_eq!(open_with(&words), INVAL);
    }

    #[test]
    fn what_no_memory_holds_is_too_big_before_it_is_a_slice() {
        let entry = twal_entry {
            data: c"a".as_ptr().cast(),
            len: 1,
            stream: 0,
            timestamp: 0,
            r#type: 0,
            flags: 0,
            reserved: [0, 0],
        };
        // SAFETY: refused by their number before one is read.
        let code = |count| unsafe { entries_of(&raw const entry, count) }.map(<[_]>::len).map_err(|error| error.code);
        assert_eq!(code(1), Ok(1));
        assert_eq!(code(0), Err(Code::Inval));
        assert_eq!(code(usize::MAX), Err(Code::TooBig));
        assert_eq!(code(isize::MAX.unsigned_abs() / 56 + 1), Err(Code::TooBig));
        assert!(check_size(5, 5).is_ok());
        assert_eq!(check_size(6, 5).unwrap_err().code, Code::TooBig);
        assert_eq!(check_size(usize::MAX, u64::MAX).unwrap_err().code, Code::TooBig);
        assert_eq!(check_size(1 << 63, u64::MAX).unwrap_err().code, Code::TooBig);
    }
}
