//! A reader as a C handle.

use std::ffi::c_int;

use super::entry::{record_of, twal_record};
use super::guard::{self, always, answer, call, guard, Purpose};
use super::log::twal_log;
use super::sized::{self, Grows};
use crate::base::{Code, Error, Result};
use crate::disk::cancel::Uncancelled;
use crate::log::{Iter, IterOptions, Skipped};
use crate::mem::fork::ForkGuard;

/// A reader of one log.
///
/// From twal_recover_iter() to twal_iter_close(), which may come before or
/// after twal_close().  One thread at a time; any number of readers at once,
/// none of them stops a writer.
pub struct twal_iter {
    iter: Iter,
    fork: ForkGuard,
    /// A call panicked inside: nobody knows where the reader stands.
    broken: bool,
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
///   TWAL_E_TRIMMED   from_seq is below twal_first_seq()
///   TWAL_E_NOTFOUND  from_seq is above twal_last_seq() + 1
///   TWAL_E_IO        a file could not be opened or read
///   TWAL_E_NOMEM     no memory or file descriptor left
///   TWAL_E_CORRUPT   the log is damaged at that place
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

/// twal_iter_options.flags: bits.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum twal_iter_flags {
    /// Pass over what is damaged and go on behind it, instead of ending with
    /// TWAL_E_CORRUPT or TWAL_E_IO; twal_iter_skipped() tells what was.
    TWAL_ITER_SKIP_DAMAGED = 1,
}

/// How a log is read.  A field that is 0 has its default, so start from
/// TWAL_ITER_OPTIONS_INIT and set what you need.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct twal_iter_options {
    /// sizeof(twal_iter_options).
    pub struct_size: u64,
    /// The first number wanted; 0: the oldest.
    pub from_seq: u64,
    /// Bits of twal_iter_flags.
    pub flags: u32,
    /// Must be 0.
    pub reserved: u32,
}

// SAFETY: repr(C) without holes (24 = 2 * 8 + 2 * 4), struct_size first, plain numbers.
unsafe impl Grows for twal_iter_options {
    const NAME: &'static str = "twal_iter_options";
    const FIRST_SIZE: usize = 24;
}

const _: () = assert!(size_of::<twal_iter_options>() == 24);

const SKIP_DAMAGED: u32 = twal_iter_flags::TWAL_ITER_SKIP_DAMAGED as u32;

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
///                       bits, or reserved is not 0
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

/// What C asks for.
///
/// # Safety
///
/// `options` is NULL or a twal_iter_options as long as it says.
pub(super) unsafe fn iter_options_of(options: *const twal_iter_options) -> Result<IterOptions> {
    if options.is_null() {
        return Ok(IterOptions::default());
    }
    // SAFETY: the contract.
    let taken = unsafe { sized::take(options)? };
    if taken.value.flags & !SKIP_DAMAGED != 0 || taken.value.reserved != 0 {
        return Err(Error::new(Code::Inval, "iter_options has unknown flags, or reserved is not 0"));
    }
    let options = taken.known()?;
    let skip_damaged = options.flags & SKIP_DAMAGED != 0;
    Ok(IterOptions { from_seq: options.from_seq, skip_damaged, hidden: None })
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
    let handle = twal_iter { iter, fork: ForkGuard::new(), broken: false };
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
    /// Last number missing there; below first_seq: none is.
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
        if handle.fork.forked() {
            return Err(guard::forked());
        }
        // SAFETY: as for the check above.
        unsafe { sized::give(skipped_out, &skipped_of(handle.iter.skipped())) }
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
///   TWAL_E_TRIMMED  what comes next was released and is gone
///   TWAL_E_IO       bytes could not be read; they may be readable later
///   TWAL_E_CORRUPT  the log is damaged here; twal_last_error() says where
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
    let next = || {
        // SAFETY: NULL or a reader that no other thread uses now (C contract).
        let handle = unsafe { iter.as_mut() }.ok_or_else(|| Error::new(Code::Inval, "the iterator is NULL"))?;
        // SAFETY: NULL or room for a record (C contract).
        let record_out = unsafe { guard::must_have(record_out)? };
        if handle.fork.forked() {
            return Err(guard::forked());
        }
        if handle.broken {
            return Err(Error::new(Code::Panic, "an earlier call panicked in this iterator"));
        }
        handle.broken = true; // until the call has come back
        let found = handle.iter.next_record();
        let found = found.map(|record| record.map(|record| record_of(&record)));
        handle.broken = false;
        let Some(record) = found? else { return Ok(0) };
        // SAFETY: must_have has seen it.
        unsafe { record_out.write(record) };
        Ok(1)
    };
    answer(next, |code| code)
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
    fn options_are_checked() {
        let of = |flags, reserved, struct_size| {
            let options = twal_iter_options { struct_size, from_seq: 7, flags, reserved };
            // SAFETY: a twal_iter_options, or refused by its size.
            unsafe { iter_options_of(&raw const options) }.map_err(|error| error.code)
        };
        assert_eq!(of(1, 0, 24), Ok(IterOptions { from_seq: 7, skip_damaged: true, hidden: None }));
        assert_eq!(of(0, 0, 24), Ok(IterOptions { from_seq: 7, ..IterOptions::default() }));
        assert_eq!([of(2, 0, 24), of(0, 1, 24), of(0, 0, 16)], [const { Err(Code::Inval) }; 3]);
    }

    #[test]
    fn null_is_refused_by_all_but_close() {
        // SAFETY: NULL is allowed in a call's own words.
        unsafe {
            assert_eq!(twal_recover_iter(null_mut(), 0, null_mut()), -101);
            assert_eq!(twal_iter_next(null_mut(), null_mut()), -101);
            assert_eq!(twal_iter_open(null_mut(), std::ptr::null(), null_mut()), -101);
            assert_eq!(twal_iter_skipped(null_mut(), null_mut()), -101);
            twal_iter_close(null_mut());
        }
    }
}
