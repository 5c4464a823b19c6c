//! The names in a directory, all of them or an error.
//!
//! Promises never to take a failed read for the directory's end: a log whose
//! segments were left out would be opened as a shorter one, or made anew on top
//! of it.  (The C library's readdir_r answers with the error's number and not
//! with -1, which is easily overlooked.)

use std::ffi::{CStr, CString};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{openat, OFlag};
use nix::sys::stat::Mode;

use super::blocking::uninterrupted;

/// Bytes asked for at once.
const PIECE: usize = 8 << 10;

/// Where a name begins in an entry, and where its length is: linux_dirent64 of
/// getdents64(2).
const NAME: usize = 19;
const LEN: usize = 16;

/// Every name in `dir` but "." and "..", in no order.
pub(super) fn names(dir: BorrowedFd<'_>) -> nix::Result<Vec<CString>> {
    // A descriptor of its own: reading a directory moves its position.
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let own = uninterrupted(|| openat(dir, ".", flags, Mode::empty()))?;
    let mut found = Vec::new();
    let mut piece = [0; PIECE];
    loop {
        let len = uninterrupted(|| getdents(&own, &mut piece))?;
        if len == 0 {
            return Ok(found);
        }
        let mut entries = piece.get(..len).ok_or(Errno::EIO)?;
        while !entries.is_empty() {
            let (name, rest) = entry(entries).ok_or(Errno::EIO)?;
            if name != c"." && name != c".." {
                found.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
                found.push(name.to_owned());
            }
            entries = rest;
        }
    }
}

/// The first entry's name, and what is behind it; None: these are no entries.
fn entry(entries: &[u8]) -> Option<(&CStr, &[u8])> {
    let len = entries.get(LEN..LEN + 2)?.try_into().ok()?;
    let (entry, rest) = entries.split_at_checked(u16::from_ne_bytes(len).into())?;
    Some((CStr::from_bytes_until_nul(entry.get(NAME..)?).ok()?, rest))
}

fn getdents(dir: &OwnedFd, piece: &mut [u8; PIECE]) -> nix::Result<usize> {
    // SAFETY: the descriptor is open and `piece` is writable for the whole call, as far as its length says.
    let len = unsafe { libc::syscall(libc::SYS_getdents64, dir.as_raw_fd(), piece.as_mut_ptr(), piece.len()) };
    usize::try_from(len).map_err(|_| Errno::last())
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    /// More than fit in one piece, of every length.
    #[test]
    fn all_names_are_found_once() {
        let path = std::env::temp_dir().join(format!("twal-names-{}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        let mut made: Vec<String> = (1..=250).map(|len| "n".repeat(len)).collect();
        made.sort();
        for name in &made {
            std::fs::write(path.join(name), "").unwrap();
        }
        let dir: OwnedFd = std::fs::File::open(&path).unwrap().into();
        for _ in 0..2 {
            let mut found: Vec<_> =
                names(dir.as_fd()).unwrap().into_iter().map(|name| name.into_string().unwrap()).collect();
            found.sort();
            assert_eq!(found, made);
        }
        std::fs::remove_dir_all(&path).unwrap();
        assert_eq!(names(dir.as_fd()), Err(Errno::ENOENT), "a removed directory is no empty one");
    }

    #[test]
    fn what_is_no_entry_is_not_read() {
        assert!(entry(&[0; 10]).is_none());
        let mut bytes = [b'x'; 40];
        bytes[LEN..LEN + 2].copy_from_slice(&41_u16.to_ne_bytes());
        assert!(entry(&bytes).is_none(), "longer than what is there");
        bytes[LEN..LEN + 2].copy_from_slice(&32_u16.to_ne_bytes());
        assert!(entry(&bytes).is_none(), "a name without an end");
        bytes[25] = 0;
        assert_eq!(entry(&bytes), Some((c"xxxxxx", &bytes[32..])));
    }
}
