//! A reader as a C handle.

use std::ffi::{c_int, c_void};

use super::entry::{payload_at, record_of, twal_record};
use super::guard::{self, always, answer, call, guard, Purpose};
use super::iter_options::{iter_options_of, twal_iter_options};
use super::log::twal_log;
use super::single::Single;
use super::sized::{self, Grows};
use crate::base::{Code, Error, Result};
use crate::disk::cancel::Uncancelled;
use crate::log::{Iter, IterOptions, Record, Skipped};

/// A reader of one log.
///
/// From twal_recover_iter() to twal_iter_close(), which may come before or
/// after twal_close().  One thread at a time; any number of readers at once,
/// none of them stops a writer.
pub struct twal_iter {
    iter: Single<Iter>,
}

/// Begins to read at a number.
///
///   log       an open log, also a poisoned or a read-only one
///   from_seq  the first number wanted; 0: the oldest.  twal_last_seq() + 1 is
///             allowed: nothing yet.
///   iter_out  receives the reader; give it back with twal_iter_close().
///             Untouched on failure.
///
/// Returns TWAL_OK, or
///
///   TWAL_E_INVAL     log or iter_out is NULL
///   TWAL_E_FORKED    this process is a fork()ed child
///   TWAL_E_CLOSED    twal_close() has begun
///   TWAL_E_TRIMMED   from_seq is below twal_first_seq(), which is then the
///                    seq of twal_last_error()
///   TWAL_E_NOTFOUND  from_seq is above twal_last_seq() + 1
///   TWAL_E_IO        a file could not be opened or read
///   TWAL_E_PERM      the operating system refuses to open it
///   TWAL_E_NOMEM     no memory or file descriptor left
///   TWAL_E_CORRUPT, TWAL_E_VERSION
///                    the log is damaged at that place, or in front of it; or
///                    goes on in a format of a later release
///   TWAL_E_BUSY      a writer elsewhere is just beginning that segment; ask
///                    again
///   TWAL_E_PANIC     a bug in twal was caught
///
/// Blocks:  on the device.
/// Threads: any.
/// Signals: not async-signal-safe.
/// Since:   0.1
#[must_use]
#[no_mangle]
pub unsafe extern "C" fn twal_recover_iter(log: *mut twal_log, from_seq: u64, iter_out: *mut *mut twal_iter) -> c_int {
    // SAFETY: the same contract.
    guard(|| unsafe { open(log, || Ok(IterOptions { from_seq, ..IterOptions::default() }), iter_out) })
}

/// Begins to read as options say.
///
/// With TWAL_ITER_SKIP_DAMAGED damage does not end the reader: it goes on with
/// the next frame that can be trusted, and the next segment.  What it passes
/// over are whole frames, so no batch is ever delivered in part, and the
/// numbers of the records show every gap.  A log that is damaged and open for
/// reading only is read as far as something in it says that it was durable,
/// and no further than it was when the reader met the damage.
///
///   log       an open log, also a poisoned or a read-only one
///   options   how to read; NULL: all defaults, as twal_recover_iter(log, 0)
///   iter_out  receives the reader; give it back with twal_iter_close().
///             Untouched on failure.
///
/// Returns what twal_recover_iter() returns, and
///
///   TWAL_E_INVAL        also: options.struct_size is none, flags has unknown
///                       bits, reserved is not 0, a list is NULL and its count
///                       is not 0, a type is none, from_seq and from_segment
///                       are both set, or TWAL_ITER_SKIP_DAMAGED stands beside
///                       TWAL_ITER_HEADERS_ONLY or TWAL_ITER_SNAPSHOT
///   TWAL_E_TRIMMED      also: from_segment was released
///   TWAL_E_NOTFOUND     also: there is no segment from_segment
///   TWAL_E_UNSUPPORTED  options say something that this release does not know
///
/// Blocks:  on the device.
/// Threads: any.
/// Signals: not async-signal-safe.
/// Since:   0.1
#[must_use]
#[no_mangle]
pub unsafe extern "C" fn twal_iter_open(
    log: *mut twal_log,
    options: *const twal_iter_options,
    iter_out: *mut *mut twal_iter,
) -> c_int {
    // SAFETY: the same contract.
    guard(|| unsafe { open(log, || iter_options_of(options), iter_out) })
}

/// Makes a reader as `options` say.
///
/// # Safety
///
/// `log` is NULL or an open log, `iter_out` NULL or room for a pointer.
unsafe fn open(
    log: *mut twal_log,
    options: impl FnOnce() -> Result<IterOptions>,
    iter_out: *mut *mut twal_iter,
) -> Result<()> {
    if log.is_null() {
        return Err(Error::new(Code::Inval, "the log is NULL"));
    }
    // SAFETY: NULL or room for a pointer (contract).
    let iter_out = unsafe { guard::must_have(iter_out)? };
    let options = options()?;
    // SAFETY: an open log (contract).
    let iter = unsafe { call(log, Purpose::Look, always, |log| log.iter_with(options))? };
    // SAFETY: must_have has seen it.
    unsafe { give(iter, iter_out) };
    Ok(())
}

/// Gives a reader to the caller.
///
/// # Safety
///
/// `iter_out` is room for a pointer.
pub(in crate::ffi) unsafe fn give(iter: Iter, iter_out: *mut *mut twal_iter) {
    let handle = twal_iter { iter: Single::new(iter) };
    // SAFETY: the contract.
    unsafe { iter_out.write(Box::into_raw(Box::new(handle))) };
}

/// What a reader with TWAL_ITER_SKIP_DAMAGED has passed over.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct twal_skipped {
    /// sizeof(twal_skipped), set by the caller.
    pub struct_size: u64,
    /// Damaged places, however long each is.
    pub spots: u64,
    /// Numbers that are missing because of them.
    pub records: u64,
    /// Index of the segment where the last place begins.
    pub segment: u64,
    /// Where in its file, bytes.
    pub offset: u64,
    /// First number missing at the last place.
    pub first_seq: u64,
    /// Last number missing there; below first_seq: none is, as far as is known.
    pub last_seq: u64,
}

// SAFETY: repr(C), u64 only, struct_size first.
unsafe impl Grows for twal_skipped {
    const NAME: &'static str = "twal_skipped";
    const FIRST_SIZE: usize = 56;
}

const _: () = assert!(size_of::<twal_skipped>() == 56);

/// Tells what a reader has passed over so far.
///
/// All 0 if nothing was, or without TWAL_ITER_SKIP_DAMAGED.
///
///   iter         a reader
///   skipped_out  receives the counts; its struct_size must be set, as
///                TWAL_SKIPPED_INIT does.  Untouched on failure.
///
/// Returns TWAL_OK, or
///
///   TWAL_E_INVAL   iter or skipped_out is NULL, or struct_size is no size
///                  that a release of twal ever had
///   TWAL_E_FORKED  this process is a fork()ed child
///
/// Blocks:  no.
/// Threads: one at a time for each reader.
/// Signals: not async-signal-safe.
/// Since:   0.1
#[no_mangle]
pub unsafe extern "C" fn twal_iter_skipped(iter: *const twal_iter, skipped_out: *mut twal_skipped) -> c_int {
    guard(|| {
        // SAFETY: NULL or a reader that no other thread uses now (C contract).
        let handle = unsafe { iter.as_ref() }.ok_or_else(|| Error::new(Code::Inval, "the iterator is NULL"))?;
        // SAFETY: NULL or a twal_skipped as long as it says (C contract).
        unsafe { sized::check(skipped_out)? };
        let skipped = handle.iter.look()?.skipped();
        // SAFETY: as for the check above.
        unsafe { sized::give(skipped_out, &skipped_of(skipped)) }
    })
}

fn skipped_of(skipped: Skipped) -> twal_skipped {
    twal_skipped {
        struct_size: 0,
        spots: skipped.spots,
        records: skipped.records,
        segment: skipped.segment,
        offset: skipped.offset,
        first_seq: skipped.first_seq,
        last_seq: skipped.last_seq,
    }
}

/// Reads the next record.
///
/// Delivers what is durable at the time of the call, every byte of it checked.
/// 0 is not final: call again when there is more.  An error is final for this
/// reader, except TWAL_E_INVAL and TWAL_E_NOMEM.
///
///   iter        a reader
///   record_out  receives the record; its data is valid until the next call
///               on iter.  Untouched if the answer is not 1.
///
/// Returns 1 with a record, 0 at the end of what is durable, or
///
///   TWAL_E_INVAL    iter or record_out is NULL
///   TWAL_E_FORKED   this process is a fork()ed child
///   TWAL_E_CLOSED   the log was closed
///   TWAL_E_TRIMMED  what comes next was released and is gone;
///                   twal_last_error().seq is the oldest number there is
///   TWAL_E_STATE    the log is a follower's copy, and another one is in its place
///   TWAL_E_IO       bytes could not be read; they may be readable later
///   TWAL_E_PERM     the operating system refuses to open the next segment
///   TWAL_E_CORRUPT  the log is damaged here; twal_last_error() says where
///   TWAL_E_TYPE     the next record has TWAL_RECORD_REQUIRED, and its type is
///                   not one of options.known_types; its number is the seq of
///                   twal_last_error()
///   TWAL_E_VERSION  the same of a type of twal's that this release does not
///                   know
///   TWAL_E_NOMEM    no memory or file descriptor left; call again when there is
///   TWAL_E_PANIC    a bug in twal was caught
///
/// Blocks:  on the device; never for a writer.
/// Threads: one at a time for each reader.
/// Signals: not async-signal-safe.
/// Since:   0.1
#[must_use]
#[no_mangle]
pub unsafe extern "C" fn twal_iter_next(iter: *mut twal_iter, record_out: *mut twal_record) -> c_int {
    // SAFETY: the same contract.
    unsafe { next(iter, record_out, Iter::next_record) }
}

/// Reads the next record, and waits for it if there is none yet.
///
/// As twal_iter_next(), but where that says that there is no more yet, this
/// waits until there is.  In the writer's process who waits is woken when a
/// record has become durable; but one that had read everything and waits again
/// reads no sooner than 0.25 ms after it last did, so that it takes many
/// records at once: of a steady stream each is seen up to 0.25 ms late.  In
/// another process nothing tells: the reader
/// looks again after 0.7 ms, and ever less often while nothing comes, at last
/// every quarter of options.idle_mark_us (of this opening).  (Beside what a
/// crash left that nothing testifies to, which each look reads again: 4 ns for
/// each of its bytes, if that is more.)  A record is seen
/// there when the log testifies that it is durable: with the frame that
/// follows, or, when the writer is idle, with the mark that it writes after
/// idle_mark_us.
///
///   iter        a reader
///   timeout_ns  nanoseconds; 0 looks and does not wait; below 0: for ever
///   record_out  receives the record, as of twal_iter_next()
///
/// Returns 1 with a record; 0 if none will come: options.until_seq or
/// options.limit was reached, or a snapshot's end; what twal_iter_next() returns; or
///
///   TWAL_E_TIMEOUT   there is none yet; call again
///   TWAL_E_POISONED  an earlier write or flush of this log failed, and nothing
///                    more becomes durable
///   TWAL_E_IO        also: a write or flush failed while this waited
///
/// Blocks:  for up to timeout_ns, and on the device; never for a writer.
///          twal_close() of the log ends the wait: TWAL_E_CLOSED.
/// Threads: one at a time for each reader.
/// Signals: not async-signal-safe; a handled signal does not end the wait.
/// Since:   0.1
#[must_use]
#[no_mangle]
pub unsafe extern "C" fn twal_iter_wait(iter: *mut twal_iter, timeout_ns: i64, record_out: *mut twal_record) -> c_int {
    let _uncancelled = Uncancelled::begin();
    // SAFETY: the same contract.
    unsafe { next(iter, record_out, |iter| iter.wait_record(u64::try_from(timeout_ns).ok())) }
}

/// Gives C the record that `find` finds.
///
/// # Safety
///
/// `iter` is NULL or a reader that no other thread uses now, `record_out` NULL or room for a record.
unsafe fn next(
    iter: *mut twal_iter,
    record_out: *mut twal_record,
    find: impl FnOnce(&mut Iter) -> Result<Option<Record<'_>>>,
) -> c_int {
    let next = || {
        // SAFETY: NULL or room for a record, and NULL or a reader that no other thread uses now (contract).
        let (record_out, handle) = unsafe { (guard::must_have(record_out)?, the_reader(iter)?) };
        let found = handle.iter.run(|iter| Ok(find(iter)?.map(|record| record_of(&record))))?;
        let Some(record) = found else { return Ok(0) };
        // SAFETY: must_have has seen it.
        unsafe { record_out.write(record) };
        Ok(1)
    };
    answer(next, |code| code)
}

/// The reader, unless it is NULL.
///
/// # Safety
///
/// `iter` is NULL or a reader that no other thread uses now.
unsafe fn the_reader<'a>(iter: *mut twal_iter) -> Result<&'a mut twal_iter> {
    // SAFETY: the contract.
    unsafe { iter.as_mut() }.ok_or_else(|| Error::new(Code::Inval, "the iterator is NULL"))
}

/// Reads the payload of the record that the reader delivered last.
///
/// For a reader with TWAL_ITER_HEADERS_ONLY, which has read no payload: it is
/// read now, and checked.  Any other reader gives record.data once more.  A
/// payload that is damaged or cannot be read does not end a reader of headers.
///
///   iter      a reader whose last twal_iter_next() or twal_iter_wait()
///             returned 1
///   data_out  receives where the payload is: never NULL, 8-byte aligned, valid
///             until the next call on iter
///   len_out   receives its bytes.  Both are untouched on failure.
///
/// Returns TWAL_OK, or
///
///   TWAL_E_INVAL    iter, data_out or len_out is NULL
///   TWAL_E_FORKED   this process is a fork()ed child
///   TWAL_E_CLOSED   the log was closed
///   TWAL_E_STATE    the last call did not return 1
///   TWAL_E_IO       bytes could not be read
///   TWAL_E_CORRUPT  the payload is damaged
///   TWAL_E_NOMEM    no memory left
///   TWAL_E_PANIC    a bug in twal was caught
///
/// Blocks:  on the device; never for a writer.
/// Threads: one at a time for each reader.
/// Signals: not async-signal-safe.
/// Since:   0.1
#[must_use]
#[no_mangle]
pub unsafe extern "C" fn twal_iter_payload(
    iter: *mut twal_iter,
    data_out: *mut *const c_void,
    len_out: *mut usize,
) -> c_int {
    guard(|| {
        // SAFETY: NULL or a reader that no other thread uses now (C contract).
        let handle = unsafe { the_reader(iter)? };
        // SAFETY: NULL or room for a pointer and for a number (C contract).
        let (data_out, len_out) = unsafe { (guard::must_have(data_out)?, guard::must_have(len_out)?) };
        let (data, len) = handle.iter.run(|iter| iter.payload().map(|data| (payload_at(data), data.len())))?;
        // SAFETY: must_have has seen both.
        unsafe {
            data_out.write(data.cast());
            len_out.write(len);
        }
        Ok(())
    })
}

/// Tells with which number a reader goes on.
///
/// Everything below was delivered, left out, or is not there: who begins to
/// read from here, now or in another process, misses nothing and gets nothing
/// twice.  So a page is options.limit records, and the next one begins with
/// this number.
///
///   iter  a reader; NULL: the answer is 0
///
/// Returns the number, at least 1; 0 in a fork()ed child.
///
/// Blocks:  no.
/// Threads: one at a time for each reader.
/// Signals: not async-signal-safe.
/// Since:   0.1
#[no_mangle]
pub unsafe extern "C" fn twal_iter_next_seq(iter: *const twal_iter) -> u64 {
    let find = || {
        // SAFETY: NULL or a reader that no other thread uses now (C contract).
        let handle = unsafe { iter.as_ref() };
        Ok(handle.and_then(|handle| handle.iter.look().ok()).map_or(0, Iter::next_seq))
    };
    answer(find, |_| 0)
}

/// Ends a reader; what its last record's data pointed to is gone.
///
/// Works before and after twal_close(), and in a fork()ed child.
///
///   iter  a reader; NULL does nothing
///
/// Blocks:  until a read on the way has come back.
/// Threads: any; exactly one, once.
/// Signals: not async-signal-safe.
/// Since:   0.1
#[no_mangle]
pub unsafe extern "C" fn twal_iter_close(iter: *mut twal_iter) {
    let _uncancelled = Uncancelled::begin();
    let close = || {
        if iter.is_null() {
            return Ok(());
        }
        // In a forked child too: what a reader holds there are copies of
        // descriptors, and the disk gives a lock back only in the process that
        // took it.
        // SAFETY: it came out of Box::into_raw in twal_recover_iter, and is
        // not used again (C contract).
        drop(unsafe { Box::from_raw(iter) });
        Ok(())
    };
    answer(close, |_| ());
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ptr::null_mut;

    #[test]
    fn every_count_arrives() {
        let c = skipped_of(Skipped { spots: 1, records: 2, segment: 3, offset: 4, first_seq: 5, last_seq: 6 });
        assert_eq!([c.spots, c.records, c.segment, c.offset, c.first_seq, c.last_seq], [1, 2, 3, 4, 5, 6]);
    }

    #[test]
    fn null_is_refused_by_all_but_close() {
        // SAFETY: NULL is allowed in a call's own words.
        unsafe {
            assert_eq!(twal_recover_iter(null_mut(), 0, null_mut()), -101);
            assert_eq!(twal_iter_next(null_mut(), null_mut()), -101);
            assert_eq!(twal_iter_wait(null_mut(), 0, null_mut()), -101);
            assert_eq!(twal_iter_payload(null_mut(), null_mut(), null_mut()), -101);
            assert_eq!(twal_iter_next_seq(null_mut()), 0);
            assert_eq!(twal_iter_open(null_mut(), std::ptr::null(), null_mut()), -101);
            assert_eq!(twal_iter_skipped(null_mut(), null_mut()), -101);
            twal_iter_close(null_mut());
        }
    }
}
