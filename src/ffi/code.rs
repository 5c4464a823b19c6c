//! The numbers of failures, and a fixed text for each.

use std::ffi::{c_char, c_int, CStr};

use crate::base::Code;

/// What a function returns: TWAL_OK, or one of these.
///
/// The hundreds say who must act: -1xx the caller, -2xx nobody or later (the
/// state forbids it now), -3xx the machine's owner, -4xx whoever has a good
/// copy of the data, -5xx the makers of twal.  Numbers are never changed or
/// used again; treat one you do not know like the others of its hundred.
///
/// If several apply, the one returned is the first of INVAL, TOOBIG, FORKED,
/// CLOSED, READ_ONLY, POISONED, then any other.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum twal_code {
    /// Done.
    TWAL_OK = 0,
    /// An argument that this call never accepts.  Nothing was done.
    TWAL_E_INVAL = -101,
    /// The payload is larger than options.record_size_max.
    TWAL_E_TOOBIG = -102,
    /// This process is a fork()ed child; the log is its parent's.
    TWAL_E_FORKED = -103,
    /// The log is being closed, or was closed under this reader.
    TWAL_E_CLOSED = -104,
    /// No room now, and TWAL_APPEND_NO_WAIT was set.
    TWAL_E_AGAIN = -201,
    /// The time given for waiting is over.
    TWAL_E_TIMEOUT = -202,
    /// Another process, or another handle here, has the log open for writing.
    TWAL_E_LOCKED = -203,
    /// The log was opened with TWAL_OPEN_READ_ONLY.
    TWAL_E_READ_ONLY = -204,
    /// An earlier write or flush failed; only closing and opening clears it.
    TWAL_E_POISONED = -205,
    /// What was asked for was released by a trim, or removed.
    TWAL_E_TRIMMED = -206,
    /// There is no such log or record.
    TWAL_E_NOTFOUND = -207,
    /// It exists already.
    TWAL_E_EXISTS = -208,
    /// Not allowed in the present state.
    TWAL_E_STATE = -209,
    /// Held by somebody else.
    TWAL_E_BUSY = -210,
    /// No memory, thread or file descriptor left.
    TWAL_E_NOMEM = -301,
    /// The device or the file system failed.
    TWAL_E_IO = -302,
    /// The device is full.
    TWAL_E_NOSPC = -303,
    /// This kernel, file system, device or release of twal cannot do it.
    TWAL_E_UNSUPPORTED = -304,
    /// The operating system refuses it to this process.
    TWAL_E_PERM = -305,
    /// The log is damaged where it must not be.
    TWAL_E_CORRUPT = -401,
    /// The log was written by a release that this one cannot read.
    TWAL_E_VERSION = -402,
    /// A key is missing or wrong.
    TWAL_E_KEY = -403,
    /// A record must not be passed over by a reader that does not know its
    /// type, and this reader does not.
    TWAL_E_TYPE = -404,
    /// A bug in twal, caught.  The handle takes no more changes; close it.
    TWAL_E_PANIC = -501,
}

/// Every code with its text.
const TEXTS: [(twal_code, Option<Code>, &CStr); 25] = {
    use twal_code::*;
    [
        (TWAL_OK, None, c"success"),
        (TWAL_E_INVAL, Some(Code::Inval), c"invalid argument"),
        (TWAL_E_TOOBIG, Some(Code::TooBig), c"payload too big"),
        (TWAL_E_FORKED, Some(Code::Forked), c"log belongs to the parent process"),
        (TWAL_E_CLOSED, Some(Code::Closed), c"log is closed"),
        (TWAL_E_AGAIN, Some(Code::Again), c"no room now"),
        (TWAL_E_TIMEOUT, Some(Code::Timeout), c"timed out"),
        (TWAL_E_LOCKED, Some(Code::Locked), c"log is locked by another opener"),
        (TWAL_E_READ_ONLY, Some(Code::ReadOnly), c"log is open for reading only"),
        (TWAL_E_POISONED, Some(Code::Poisoned), c"log is poisoned by an earlier failure"),
        (TWAL_E_TRIMMED, Some(Code::Trimmed), c"record was trimmed"),
        (TWAL_E_NOTFOUND, Some(Code::NotFound), c"not found"),
        (TWAL_E_EXISTS, Some(Code::Exists), c"exists already"),
        (TWAL_E_STATE, Some(Code::State), c"not allowed in this state"),
        (TWAL_E_BUSY, Some(Code::Busy), c"held by somebody else"),
        (TWAL_E_NOMEM, Some(Code::NoMem), c"out of memory, threads or descriptors"),
        (TWAL_E_IO, Some(Code::Io), c"input/output error"),
        (TWAL_E_NOSPC, Some(Code::NoSpc), c"no space left"),
        (TWAL_E_UNSUPPORTED, Some(Code::Unsupported), c"not supported here"),
        (TWAL_E_PERM, Some(Code::Perm), c"permission denied"),
        (TWAL_E_CORRUPT, Some(Code::Corrupt), c"log is damaged"),
        (TWAL_E_VERSION, Some(Code::Version), c"log has an unknown version"),
        (TWAL_E_KEY, Some(Code::Key), c"key is missing or wrong"),
        (TWAL_E_TYPE, Some(Code::Type), c"record of an unknown type"),
        (TWAL_E_PANIC, Some(Code::Panic), c"internal error"),
    ]
};

/// The C number of `code`.
pub(super) fn number(code: Code) -> c_int {
    code as c_int
}

/// What a code means, in a few words of English.
///
/// The text is constant; never NULL, never freed; "unknown code" for a number
/// that is none of twal_code.  twal_last_error() tells more about a failure.
///
/// Blocks:  no.
/// Threads: any.
/// Signals: async-signal-safe.
/// Since:   0.1
#[no_mangle]
pub extern "C" fn twal_strerror(code: c_int) -> *const c_char {
    TEXTS
        .iter()
        .find(|(known, _, _)| *known as c_int == code)
        .map_or(c"unknown code".as_ptr(), |(_, _, text)| text.as_ptr())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The list is written three times: here, in `TEXTS` and in `base::Code`.
    #[test]
    fn the_numbers_are_those_of_base() {
        for (c, rust, text) in TEXTS {
            assert_eq!(rust.map_or(0, number), c as c_int, "{c:?}");
            // SAFETY: twal_strerror answers with a constant C string.
            assert_eq!(unsafe { CStr::from_ptr(twal_strerror(c as c_int)) }, text);
        }
    }

    #[test]
    fn an_unknown_code_has_a_text() {
        for code in [1, -1, -100, -105, c_int::MIN, c_int::MAX] {
            // SAFETY: twal_strerror answers with a constant C string.
            assert_eq!(unsafe { CStr::from_ptr(twal_strerror(code)) }, c"unknown code");
        }
    }
}
