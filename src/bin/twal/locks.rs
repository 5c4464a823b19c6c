//! Who has a log open for writing: the kernel's list of locks, /proc/locks.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// The process that holds the writer's lock of the log in `dir`; None: nobody does, or it is none of this process'
/// namespace.
pub fn writer_of(dir: &Path) -> Option<u32> {
    let inode = std::fs::metadata(dir).ok()?.ino();
    holder_of(&std::fs::read_to_string("/proc/locks").ok()?, inode)
}

/// None: there is no writer.
pub fn writer_text(writer: Option<Option<u32>>) -> String {
    match writer {
        None => "none".into(),
        Some(None) => "there is one; its process is not to be seen from here".into(),
        Some(Some(pid)) => match program_of(pid) {
            Some(program) => format!("process {pid} ({program})"),
            None => format!("process {pid}"),
        },
    }
}

/// The name of a process' program.
fn program_of(pid: u32) -> Option<String> {
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    Some(name.trim_end().to_owned())
}

/// Who has locked the directory with this inode alone.  The device is not compared: a file system with volumes (btrfs)
/// has another number there than stat(2) gives, and nothing but logs is locked in this way where it matters.
fn holder_of(locks: &str, inode: u64) -> Option<u32> {
    locks.lines().find_map(|line| {
        let mut words = line.split_ascii_whitespace().skip(1);
        let kind = [words.next()?, words.next()?, words.next()?];
        let (pid, file) = (words.next()?, words.next()?);
        let same = kind == ["FLOCK", "ADVISORY", "WRITE"] && file.rsplit(':').next()?.parse() == Ok(inode);
        // What belongs to another namespace has no number here.
        pid.parse().ok().filter(|pid| same && *pid > 0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_writer_is_who_locks_the_directory_alone() {
        let locks = "1: OFDLCK ADVISORY  WRITE -1 08:01:77 0 0\n\
                     2: FLOCK  ADVISORY  READ  11 08:01:77 0 EOF\n\
                     3: POSIX  ADVISORY  WRITE 12 08:01:77 0 EOF\n\
                     3: -> FLOCK ADVISORY WRITE 13 08:01:77 0 EOF\n\
                     4: FLOCK  ADVISORY  WRITE 14 08:01:177 0 EOF\n\
                     5: FLOCK  ADVISORY  WRITE 15 08:01:77 0 EOF\n\
                     6: FLOCK  ADVISORY  WRITE 0 08:01:99 0 EOF\n";
        assert_eq!(holder_of(locks, 77), Some(15));
        assert_eq!(holder_of(locks, 177), Some(14));
        assert_eq!(holder_of(locks, 99), None, "of another namespace");
        assert_eq!(holder_of(locks, 7), None);
    }
}
