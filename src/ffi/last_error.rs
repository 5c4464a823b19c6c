//! What this thread's last failure was, in detail: kept per thread, so that
//! another thread's failure on the same handle cannot replace it.
//!
//! The place to keep it is a fixed buffer with nothing to free: no allocation
//! can fail here, and it works while a thread ends.

use std::cell::Cell;
use std::ffi::{c_char, c_int};

use super::code::number;
use super::guard::guard;
use super::sized::{self, put_text, Grows};
use crate::base::Error;

/// The detail of a failure.  A number that is not known is 0.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct twal_error {
    /// sizeof(twal_error), set by the caller.
    pub struct_size: u64,
    /// What the call returned: one of twal_code.
    pub code: i32,
    /// The operating system's errno, 0 if none was involved.
    pub os_errno: i32,
    /// Index of the segment concerned.
    pub segment: u64,
    /// Offset in that segment's file, bytes.
    pub offset: u64,
    /// Sequence number concerned.
    pub seq: u64,
    /// What happened, in English, for people; ends with a NUL.  Its wording
    /// may change in any release.
    pub text: [c_char; 256],
}

// SAFETY: repr(C) without holes (296 = 8 + 4 + 4 + 3 * 8 + 256), struct_size
// first, plain numbers.
unsafe impl Grows for twal_error {
    const NAME: &'static str = "twal_error";
    const FIRST_SIZE: usize = 296;
}

const _: () = assert!(size_of::<twal_error>() == 296 && std::mem::offset_of!(twal_error, text) == 40);

const NONE: twal_error =
    twal_error { struct_size: 0, code: 0, os_errno: 0, segment: 0, offset: 0, seq: 0, text: [0; 256] };

thread_local! {
    static LAST: Cell<twal_error> = const { Cell::new(NONE) };
}

/// A failure as C sees it.
pub(super) fn detail_of(error: Option<&Error>) -> twal_error {
    let Some(error) = error else { return NONE };
    let mut detail = twal_error {
        code: number(error.code),
        os_errno: error.os_errno,
        segment: error.segment,
        offset: error.offset,
        seq: error.seq,
        ..NONE
    };
    put_text(&mut detail.text, &error.text);
    detail
}

/// Notes `error` as this thread's last; its number for C.
pub(super) fn set(error: &Error) -> c_int {
    let detail = detail_of(Some(error));
    LAST.set(detail);
    detail.code
}

/// Tells what the last failed twal call of this thread failed of.
///
/// Every failure of every function is noted here, a success changes nothing:
/// ask only after a failure, on the same thread, before the next call fails.
/// What failed on one of twal's own threads is noted for each thread that
/// waited for it.  If nothing has failed on this thread yet, code is TWAL_OK
/// and the text is empty.
///
///   error_out  receives the detail; its struct_size must be set, as
///              TWAL_ERROR_INIT does.  Untouched on failure.
///
/// Returns TWAL_OK, or
///
///   TWAL_E_INVAL  error_out is NULL, or its struct_size is no size that a
///                 release of twal ever had; this is then the last failure
///
/// Blocks:  no.
/// Threads: any; each sees its own failures only.
/// Signals: not async-signal-safe.
/// Since:   0.1
#[no_mangle]
pub unsafe extern "C" fn twal_last_error(error_out: *mut twal_error) -> c_int {
    // SAFETY: error_out is NULL or a twal_error as long as it says (C contract).
    guard(|| unsafe { sized::give(error_out, &LAST.get()) })
}

#[cfg(test)]
pub(super) fn last() -> (c_int, String) {
    let error = LAST.get();
    let text = error.text.iter().take_while(|char| **char != 0).map(|char| char.to_ne_bytes()[0]).collect();
    (error.code, String::from_utf8(text).unwrap())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Code;

    #[test]
    fn the_place_comes_out_as_numbers() {
        let mut out = twal_error { struct_size: 296, ..NONE };
        // SAFETY: a twal_error of the size it states.
        assert_eq!(unsafe { twal_last_error(&raw mut out) }, 0);
        assert_eq!((out.code, out.text[0]), (0, 0), "nothing has failed yet");

        let long = "é".repeat(200);
        let error = Error { os_errno: 5, ..Error::new(Code::Io, long).at(3, 4096).about_seq(9) };
        assert_eq!(set(&error), -302);
        // SAFETY: as above.
        assert_eq!(unsafe { twal_last_error(&raw mut out) }, 0);
        assert_eq!((out.code, out.os_errno, out.segment, out.offset, out.seq), (-302, 5, 3, 4096, 9));
        assert_eq!(out.text[255], 0);
        assert_eq!(out.text.iter().position(|char| *char == 0), Some(254), "cut between two characters");
    }

    #[test]
    fn a_wrong_size_is_itself_a_failure() {
        let mut out = twal_error { struct_size: 288, seq: 7, ..NONE };
        // SAFETY: refused by its size.
        assert_eq!(unsafe { twal_last_error(&raw mut out) }, -101);
        assert_eq!(out.seq, 7, "untouched");
        // SAFETY: NULL is refused.
        assert_eq!(unsafe { twal_last_error(std::ptr::null_mut()) }, -101);
        assert_eq!(last().0, -101);
    }

    #[test]
    fn another_threads_failure_is_not_seen() {
        set(&Error::new(Code::NoSpc, "mine"));
        std::thread::spawn(|| set(&Error::new(Code::Io, "theirs"))).join().unwrap();
        assert_eq!(last(), (-303, "mine".into()));
    }
}
