//! The border: the only place that catches panics, the only one that turns a C
//! pointer into a handle, and the order in which a handle refuses.
//!
//! No panic leaves the library: it becomes TWAL_E_PANIC, and the handle it
//! happened in takes no more changes, because nobody knows what it left half
//! done.  In the C libraries nothing is printed of it either; in a program of
//! Rust the panic hook is the program's, and says what it says
//! (`base/panics.rs`).

use std::any::Any;
use std::ffi::c_int;
use std::panic::{catch_unwind, AssertUnwindSafe};

use super::callers::Inside;
use super::last_error;
use super::log::twal_log;
use crate::base::{panics, Code, Error, Result};
use crate::disk::cancel::Uncancelled;
use crate::log::{Log, Reservation};

/// Runs `body`; its answer, or what `failed` makes of the failure's number.
/// Every failure is noted for twal_last_error().
pub(super) fn answer<T>(body: impl FnOnce() -> Result<T>, failed: impl FnOnce(c_int) -> T) -> T {
    // AssertUnwindSafe: what a panic may have left half done sits behind a
    // handle, and the handle is marked as broken (`call`, twal_iter_next).
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(value)) => value,
        Ok(Err(error)) => failed(last_error::set(&error)),
        Err(payload) => failed(last_error::set(&panicked(payload.as_ref()))),
    }
}

/// The same for a call that may wait for a lock, a thread or memory of the system's: the thread is not cancelled
/// meanwhile.  (Appends need it only around the disk, which sees to it itself.)
pub(super) fn guard_uncancelled(body: impl FnOnce() -> Result<()>) -> c_int {
    let _uncancelled = Uncancelled::begin();
    // Every handle comes from such a call: before it nothing of the log's can panic.
    #[cfg(twal_c_library)]
    panics::keep_quiet();
    guard(body)
}

/// Runs `body`; TWAL_OK or the number of its failure.
pub(super) fn guard(body: impl FnOnce() -> Result<()>) -> c_int {
    answer(|| body().map(|()| 0), |code| code)
}

fn panicked(payload: &(dyn Any + Send)) -> Error {
    let text = panics::noted().unwrap_or_else(|| panics::text_of(payload));
    Error::new(Code::Panic, format!("a bug in twal: {text}"))
}

pub(super) fn forked() -> Error {
    Error::new(Code::Forked, "this process was forked; the log is its parent's")
}

fn inval(text: &'static str) -> Error {
    Error::new(Code::Inval, text)
}

/// An out parameter that must be there.
///
/// # Safety
///
/// `out` is NULL or points to room for a `T` that nobody else uses during the call.
pub(super) unsafe fn must_have<T>(out: *mut T) -> Result<*mut T> {
    if out.is_null() || !out.is_aligned() {
        return Err(inval("the out parameter is NULL or not aligned"));
    }
    Ok(out)
}

/// Writes a number that the caller may not want.
///
/// # Safety
///
/// `out` is NULL or points to room for a number that nobody else uses during the call.
pub(super) unsafe fn put_seq(out: *mut u64, seq: u64) {
    if !out.is_null() {
        // SAFETY: not NULL; the rest is the contract.
        unsafe { out.write(seq) };
    }
}

/// What a call does to the log.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Nothing; allowed also when the log is poisoned.
    Look,
    /// Something.
    Change,
}

/// Runs `body` inside handle `log`, unless the handle refuses: NULL, what
/// `valid` finds, forked, closed, broken, in this order.
///
/// # Safety
///
/// `log` is NULL, or came from twal_open() and twal_close() has not returned
/// for it, nor begun before this call did.
pub(super) unsafe fn call<T>(
    log: *const twal_log,
    purpose: Purpose,
    valid: impl FnOnce(&Log) -> Result<()>,
    body: impl FnOnce(&Log) -> Result<T>,
) -> Result<T> {
    // SAFETY: the same contract.
    unsafe { call_handle(log, purpose, valid, |handle| body(&handle.log)) }
}

/// The same for a body that needs more of the handle than the log.
///
/// # Safety
///
/// As for [`call`].
pub(super) unsafe fn call_handle<T>(
    log: *const twal_log,
    purpose: Purpose,
    valid: impl FnOnce(&Log) -> Result<()>,
    body: impl FnOnce(&twal_log) -> Result<T>,
) -> Result<T> {
    if log.is_null() {
        return Err(inval("the log is NULL"));
    }
    // SAFETY: alive when the call began (contract), and twal_close frees it
    // only when nobody is inside.  No reference to the handle is held when
    // `inside` goes: the handle may be freed right then.
    let inside = unsafe { Inside::enter(&raw const (*log).callers) };
    let result = {
        // SAFETY: alive as long as we are inside; shared by all callers, and
        // nothing changes it but through its atomics and `Log`.
        let handle = unsafe { &*log };
        valid(&handle.log).and_then(|()| {
            if handle.fork.forked() {
                return Err(forked());
            }
            if inside.is_closing() {
                return Err(Error::new(Code::Closed, "the log is being closed"));
            }
            if inside.is_broken() && purpose == Purpose::Change {
                return Err(broken());
            }
            let unwinds = Unwinds(&handle.log);
            let result = body(handle);
            std::mem::forget(unwinds);
            result
        })
    };
    inside.finish();
    result
}

/// Poisons the log when it goes: a panic is on its way out of it, and nobody may wait for what that left half done.
struct Unwinds<'log>(&'log Log);

impl Drop for Unwinds<'_> {
    fn drop(&mut self) {
        self.0.poison_by_panic();
    }
}

fn broken() -> Error {
    Error::new(Code::Poisoned, "a call panicked in this log; close and open it again")
}

/// Runs `body` on the reservation that has this ticket, unless the handle
/// refuses, and ends the reservation where `body` or the refusal does.  Works
/// on a closed log that has kept its handle for its reservations, and frees
/// the handle with the last of them.
///
/// # Safety
///
/// As for [`call`]; or twal_close() has returned for `log`, and reservations of
/// it were left that nobody has ended.
pub(super) unsafe fn call_reservation<T>(
    log: *mut twal_log,
    ticket: u64,
    body: impl FnOnce(&mut Reservation) -> Result<T>,
) -> Result<T> {
    // SAFETY: alive when the call began (contract), and freed only when nobody is inside: see `free`.
    let inside = unsafe { Inside::enter(&raw const (*log).callers) };
    let (result, last) = {
        // SAFETY: alive as long as we are inside.
        let handle = unsafe { &*log };
        if handle.fork.forked() {
            // Nothing is touched: the lock may be held by a thread that is not here.
            (Err(forked()), false)
        } else {
            let refused = if inside.is_closing() {
                Some(Error::new(Code::Closed, "the log was closed; the reservation is gone"))
            } else {
                inside.is_broken().then(broken)
            };
            let unwinds = Unwinds(&handle.log);
            let ended = handle.held.end(ticket, |reservation| refused.map_or_else(|| body(reservation), Err));
            std::mem::forget(unwinds);
            ended
        }
    };
    inside.finish();
    if last {
        // SAFETY: the log is closed and this was the last reservation: nobody may begin a call.
        unsafe { free(log) };
    }
    result
}

/// Frees the handle when the last caller is out.
///
/// # Safety
///
/// It came from twal_open(), twal_close() has run for it, no reservation is
/// left, and nobody else does this.
unsafe fn free(log: *mut twal_log) {
    // Callers that are on their way out: the one that ended the last but one reservation, for instance.
    // SAFETY: alive until the next statement.
    unsafe { (*log).callers.wait_until_out() };
    // SAFETY: it came out of Box::into_raw in twal_open; nobody is inside, and nobody begins a call.
    drop(unsafe { Box::from_raw(log) });
}

/// Any log will do: what most calls pass as `valid`.
pub(super) fn always(_: &Log) -> Result<()> {
    Ok(())
}

/// Looks at the arguments of an append to `log` with `check`, which is told the largest payload in bytes; what it
/// refuses is counted.
///
/// # Safety
///
/// As for [`call`].
pub(super) unsafe fn checked<T>(log: *const twal_log, check: impl FnOnce(u64) -> Result<T>) -> Result<T> {
    // SAFETY: the same contract.
    let max = unsafe { record_size_max(log)? };
    // SAFETY: record_size_max has seen that it is not NULL; alive (contract).
    check(max).map_err(|error| unsafe { &*log }.log.refused(error))
}

/// Largest payload of `log` in bytes; None if `log` is NULL.
///
/// # Safety
///
/// As for [`call`].
pub(super) unsafe fn record_size_max(log: *const twal_log) -> Result<u64> {
    if log.is_null() {
        return Err(inval("the log is NULL"));
    }
    // SAFETY: alive (contract); never written after twal_open.
    Ok(unsafe { (*log).record_size_max })
}

/// Closes and frees handle `log`, after everybody inside is out.
///
/// # Safety
///
/// As for [`call`]; no call begins after this one.
pub(super) unsafe fn close(log: *mut twal_log) -> Result<()> {
    if log.is_null() {
        return Ok(());
    }
    // SAFETY: alive (contract); the borrow ends before the handle is freed.
    let (result, last) = {
        // SAFETY: alive (contract).
        let handle = unsafe { &*log };
        if handle.fork.forked() {
            // The parent's threads are not here: nobody is inside, whatever
            // the copied count says.
            handle.log.abandon_in_child();
            // SAFETY: it came out of Box::into_raw in twal_open, and the child is one thread here.
            let handle = unsafe { Box::from_raw(log) };
            // Giving them back would take locks that nobody may be there to let go.
            std::mem::forget(handle.held);
            return Ok(());
        } else if handle.log.is_calling() {
            return Err(Error::new(Code::State, "twal_close() was called by a function that the log called"));
        } else if handle.callers.start_closing() {
            // Lets out who waits inside.  If this panics, the handle is not
            // freed: somebody may be inside for ever.
            let result = handle.log.close();
            handle.callers.wait_until_out();
            // What is reserved keeps its memory, because somebody may be writing there, and so the handle.
            // SAFETY: alive, and as long as we are inside nobody frees it.
            let inside = unsafe { Inside::enter(&raw const (*log).callers) };
            let last = handle.held.close();
            inside.finish();
            (result, last)
        } else {
            return Err(Error::new(Code::Closed, "another thread is closing this log"));
        }
    };
    if last {
        // SAFETY: only one thread started closing, and no reservation is left that could free it.
        unsafe { free(log) };
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_a_number() {
        assert_eq!(guard(|| panic!("on purpose")), -501);
        assert_eq!(last_error::last(), (-501, "a bug in twal: on purpose".into()));
        assert_eq!(guard(|| panic!("{}", 7)), -501);
        assert_eq!(last_error::last().1, "a bug in twal: 7");
        assert_eq!(guard(|| std::panic::panic_any(7)), -501);
        assert_eq!(last_error::last().1, "a bug in twal: it panicked");
    }

    #[test]
    fn a_failure_is_noted_and_a_success_is_not() {
        assert_eq!(guard(|| Err(Error::new(Code::Busy, "so busy").about_seq(4))), -210);
        assert_eq!(guard(|| Ok(())), 0);
        assert_eq!(last_error::last(), (-210, "so busy".into()));
        assert_eq!(answer(|| Ok(5), |_| 0), 5);
    }
}
