//! What an open log counts and measures, as text.

use std::ffi::{c_char, c_int};
use std::fmt;

use super::guard::{always, call, guard, must_have, Purpose};
use super::log::twal_log;
use crate::base::{Code, Error};

/// The caller's buffer: takes what fits, counts the rest.
struct Text {
    to: *mut u8,
    room: usize,
    len: usize,
}

impl fmt::Write for Text {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let fits = text.len().min(self.room.saturating_sub(self.len));
        if fits > 0 {
            // SAFETY: the buffer has `room` bytes that nobody else uses during the call (C contract of
            // twal_metrics), `len + fits` is no more than that, and `text` is ours.
            unsafe { std::ptr::copy_nonoverlapping(text.as_ptr(), self.to.add(self.len), fits) };
        }
        self.len += text.len();
        Ok(())
    }
}

/// Writes all that the log counts and measures as text for Prometheus.
///
/// The text is of the exposition format 0.0.4, to be served as
/// "text/plain; version=0.0.4".  It has what twal_stats_get() and
/// twal_histogram_get() tell, in seconds and bytes, counters with names that
/// end in _total; and those of the log's transaction managers.  All names begin
/// with twal_.  It is one log's: a program that has several serves each by
/// itself.
///
/// No buffer at all (NULL, 0) asks how much room is needed.  Numbers grow:
/// take some bytes more than that, or ask again.  24 KiB are enough for this
/// release.
///
///   log      an open log
///   buffer   receives the text, ended by a NUL; NULL only if size is 0.  After
///            a failure its bytes are not specified
///   size     bytes of buffer
///   len_out  receives the bytes of the text without the NUL; also with
///            TWAL_E_TOOBIG, after which a buffer needs one more than that
///
/// Returns TWAL_OK, or
///
///   TWAL_E_INVAL   log or len_out is NULL, or buffer is NULL and size is not 0
///   TWAL_E_TOOBIG  the text and its NUL do not fit in size bytes
///   TWAL_E_FORKED  this process is a fork()ed child
///   TWAL_E_CLOSED  twal_close() has begun
///   TWAL_E_PANIC   a bug in twal was caught
///
/// Blocks:  no.
/// Threads: any.
/// Signals: not async-signal-safe.
/// Since:   0.1
#[must_use]
#[no_mangle]
pub unsafe extern "C" fn twal_metrics(
    log: *const twal_log,
    buffer: *mut c_char,
    size: usize,
    len_out: *mut usize,
) -> c_int {
    guard(|| {
        if log.is_null() || (buffer.is_null() && size > 0) {
            return Err(Error::new(Code::Inval, "the log is NULL, or the buffer is and size is not 0"));
        }
        // SAFETY: NULL or room for a number (C contract).
        let len_out = unsafe { must_have(len_out)? };
        let mut text = Text { to: buffer.cast(), room: size, len: 0 };
        let write = |log: &crate::log::Log| {
            log.metrics(&mut text).expect("the buffer counts what it cannot take");
            Ok(())
        };
        // SAFETY: an open log (C contract).
        unsafe { call(log, Purpose::Look, always, write)? };
        // SAFETY: must_have has seen it.
        unsafe { len_out.write(text.len) };
        if text.len >= size {
            let needed = format!("the text has {} bytes and a NUL, the buffer {size}", text.len);
            return Err(Error::new(Code::TooBig, needed));
        }
        // SAFETY: the buffer has `size` bytes (C contract), and the text is shorter.
        unsafe { buffer.add(text.len).write(0) };
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt::Write;
    use std::ptr::{null, null_mut};

    #[test]
    fn what_does_not_fit_is_counted_and_written_nowhere() {
        for room in 0..8 {
            let mut buffer = [b'-'; 8];
            let mut text = Text { to: buffer.as_mut_ptr(), room, len: 0 };
            for part in ["ab", "", "cde"] {
                text.write_str(part).unwrap();
            }
            assert_eq!(text.len, 5);
            let fits = room.min(5);
            assert_eq!((&buffer[..fits], &buffer[fits..]), (&b"abcde"[..fits], &b"--------"[fits..]));
        }
    }

    #[test]
    fn null_is_refused() {
        let mut len = 7;
        // SAFETY: NULL is allowed in a call's own words.
        unsafe {
            assert_eq!(twal_metrics(null(), null_mut(), 0, &raw mut len), -101);
            assert_eq!(twal_metrics(null(), null_mut(), 0, null_mut()), -101);
        }
        assert_eq!(len, 7, "untouched on failure");
    }
}
