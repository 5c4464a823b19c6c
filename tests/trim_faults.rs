//! Goal: a flush of the directory that fails in a trim is a failed flush.
#![forbid(unsafe_code)]

use std::path::Path;

use twal::base::clock::Clock;
use twal::commit::Threads;
use twal::disk::sim::{CallKind, SimDisk};
use twal::{Code, Entry, How, Log, Options};

/// A flush that failed may have dropped the archived names; a later one that
/// succeeds says nothing of them, and the removals that rely on them must not follow.
#[test]
fn a_failed_flush_of_names_poisons() {
    let clock = Clock::simulated();
    let disk = SimDisk::new(1).with_clock(clock.clone());
    let options = Options { segment_size: 64 << 10, ..Options::default() };
    let log = Log::open_on(&*disk, Path::new("/log"), &options, clock, Threads::None).unwrap();
    let entry = Entry { data: b"data", stream: 0, timestamp: None, kind: 0x0100, required: false };
    for _ in 0..3 {
        log.append(&entry, How::default()).unwrap();
        log.roll().unwrap();
    }
    disk.fail_kind(CallKind::DirSync, 0, libc::EIO);
    assert_eq!(log.trim(3).map_err(|error| error.code), Err(Code::Io));
    disk.clear_faults();
    assert_eq!(log.append(&entry, How::default()).map_err(|error| error.code), Err(Code::Poisoned));
}
