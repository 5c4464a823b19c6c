//! One error type for the whole library: what went wrong, and where.
//!
//! The place (errno, segment, offset, sequence number) is carried as numbers
//! from the spot that knew it up to `twal_last_error()`; nothing ever parses it
//! back out of the text.  An error is a value that can be cloned, because one
//! failed write answers every thread that waited for it.

use std::borrow::Cow;
use std::fmt;

/// What a caller can do about an error: the number is the C ABI's, grouped by
/// who must act (−1xx the caller, −2xx state, −3xx the machine, −4xx the data).
/// Never renumbered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(i32)]
pub enum Code {
    /// An argument that no call accepts.
    Inval = -101,
    /// The payload exceeds `record_size_max`.
    TooBig = -102,
    /// The process forked; the child must not use the parent's log.
    Forked = -103,
    /// The log is closed or closing.
    Closed = -104,
    /// No room now and the caller asked not to wait.
    Again = -201,
    /// The time given for waiting is over.
    Timeout = -202,
    /// Another writer holds the log.
    Locked = -203,
    /// The log was opened for reading only.
    ReadOnly = -204,
    /// An earlier write or flush failed; only a new open clears it.
    Poisoned = -205,
    /// The record asked for was released by a trim.
    Trimmed = -206,
    /// There is no such log or record.
    NotFound = -207,
    /// It exists already.
    Exists = -208,
    /// Not allowed in the present state.
    State = -209,
    /// Held by somebody else.
    Busy = -210,
    /// The machine has no memory, thread or descriptor left.
    NoMem = -301,
    /// The device failed.
    Io = -302,
    /// The device is full.
    NoSpc = -303,
    /// This kernel, file system or device cannot do it.
    Unsupported = -304,
    /// The operating system refuses it to this process.
    Perm = -305,
    /// The log is damaged.
    Corrupt = -401,
    /// The log was written by a version that this one cannot read.
    Version = -402,
    /// A key is missing or wrong.
    Key = -403,
    /// A record of a type that this reader does not know and must not pass over.
    Type = -404,
    /// A bug in twal: a panic was caught.
    Panic = -501,
}

/// An error with its place.  A number that is not known is 0.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Error {
    /// What the caller can do about it.
    pub code: Code,
    /// The operating system's error number, 0 if none was involved.
    pub os_errno: i32,
    /// Index of the segment concerned.
    pub segment: u64,
    /// Byte offset in that segment's file.
    pub offset: u64,
    /// Sequence number concerned.
    pub seq: u64,
    /// What happened, for people.
    pub text: Cow<'static, str>,
}

/// The result of everything that can fail for a reason outside the program.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error with a text and no place yet.
    pub fn new(code: Code, text: impl Into<Cow<'static, str>>) -> Self {
        Error { code, os_errno: 0, segment: 0, offset: 0, seq: 0, text: text.into() }
    }

    /// A failed system call.  `doing` says what for, in words that fit before
    /// a colon: "cannot rename twal-spare-1".
    pub fn os(doing: impl fmt::Display, error: &std::io::Error) -> Self {
        let os_errno = error.raw_os_error().unwrap_or(0);
        let code = match error.kind() {
            // What the disk layer refuses by itself has a text, but no number.
            std::io::ErrorKind::Unsupported => Code::Unsupported,
            _ => code_of_errno(os_errno),
        };
        Error { os_errno, ..Error::new(code, format!("{doing}: {error}")) }
    }

    /// A flush that failed: whatever the system calls it, what it was to cover may be lost.
    pub fn flush(doing: impl fmt::Display, error: &std::io::Error) -> Self {
        Error { code: Code::Io, ..Self::os(doing, error) }
    }

    /// The same error, at a segment.
    pub fn in_segment(mut self, segment: u64) -> Self {
        self.segment = segment;
        self
    }

    /// The same error, at an offset of a segment.
    pub fn at(mut self, segment: u64, offset: u64) -> Self {
        self.segment = segment;
        self.offset = offset;
        self
    }

    /// The same error, about a sequence number.
    pub fn about_seq(mut self, seq: u64) -> Self {
        self.seq = seq;
        self
    }

    /// What callers get after `first` poisoned the log: the code says that the
    /// state is to blame, everything else still names the first failure.
    pub fn poisoned_by(first: &Error) -> Self {
        Error {
            code: Code::Poisoned,
            text: format!("the log is poisoned by an earlier failure; close and open it again: {}", first.text).into(),
            ..first.clone()
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)?;
        if self.segment != 0 {
            write!(f, " (segment {}, offset {}", self.segment, self.offset)?;
            if self.seq != 0 {
                write!(f, ", seq {}", self.seq)?;
            }
            f.write_str(")")?;
        } else if self.seq != 0 {
            write!(f, " (seq {})", self.seq)?;
        }
        Ok(())
    }
}

/// The class of an operating system error.  What is not named here is the
/// device's failure: callers must treat an unknown error as the worst.
fn code_of_errno(errno: i32) -> Code {
    match errno {
        libc::ENOENT | libc::ENOTDIR => Code::NotFound,
        libc::EACCES | libc::EPERM | libc::EROFS => Code::Perm,
        libc::ENOSPC | libc::EDQUOT | libc::EFBIG => Code::NoSpc,
        libc::ENOMEM | libc::EMFILE | libc::ENFILE => Code::NoMem,
        libc::EOPNOTSUPP | libc::ENOSYS => Code::Unsupported,
        libc::EEXIST => Code::Exists,
        _ => Code::Io,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_is_part_of_the_text() {
        let error = Error::new(Code::Corrupt, "bad header").at(3, 8192).about_seq(77);
        assert_eq!(error.to_string(), "bad header (segment 3, offset 8192, seq 77)");
        assert_eq!(Error::new(Code::Inval, "x").about_seq(5).to_string(), "x (seq 5)");
    }

    #[test]
    fn what_the_disk_layer_refuses_is_unsupported() {
        let refused = std::io::Error::new(std::io::ErrorKind::Unsupported, "tmpfs");
        assert_eq!(Error::os("cannot open x", &refused).code, Code::Unsupported);
    }

    #[test]
    fn a_full_disk_is_not_a_failed_disk() {
        let full = Error::os("cannot write", &std::io::Error::from_raw_os_error(libc::ENOSPC));
        let failed = Error::os("cannot write", &std::io::Error::from_raw_os_error(libc::EIO));
        assert_eq!((full.code, full.os_errno), (Code::NoSpc, libc::ENOSPC));
        assert_eq!((failed.code, failed.os_errno), (Code::Io, libc::EIO));
        assert_eq!(Error::poisoned_by(&failed).code, Code::Poisoned);
        assert_eq!(Error::poisoned_by(&failed).os_errno, libc::EIO);
    }
}
