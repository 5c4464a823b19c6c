//! Goal: whoever appends never prepares a file: over many rollovers its own thread writes its frames and nothing else.
//!
//! Method: a disk that notes on which thread each call that changes it is made.
#![forbid(unsafe_code)]

use std::io::Result;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread::{self, ThreadId};

use twal::base::clock::Clock;
use twal::commit::Threads;
use twal::disk::sim::SimDisk;
use twal::disk::{Access, Dir, Disk, Durable, Facts, File, LockByte, LockKind};
use twal::{Entry, How, Log, Options};

const SEGMENT: u64 = 64 << 10;
const RECORD: usize = 3000;

#[derive(Debug, Clone, PartialEq, Eq)]
enum Call {
    Write(usize),
    Other(&'static str),
}

#[derive(Clone, Default)]
struct Notes(Arc<Mutex<Vec<(ThreadId, Call)>>>);

impl Notes {
    fn note(&self, call: Call) {
        self.0.lock().unwrap().push((thread::current().id(), call));
    }
}

struct NotingDisk(Arc<SimDisk>, Notes);
struct NotingDir(Arc<dyn Dir>, Notes);
struct NotingFile(Arc<dyn File>, Notes);

impl Disk for NotingDisk {
    fn open_dir(&self, path: &Path, create: bool) -> Result<Arc<dyn Dir>> {
        Ok(Arc::new(NotingDir(self.0.open_dir(path, create)?, self.1.clone())))
    }
}

impl NotingDir {
    fn noting(&self, file: Arc<dyn File>) -> Arc<dyn File> {
        Arc::new(NotingFile(file, self.1.clone()))
    }
}

impl Dir for NotingDir {
    fn list(&self) -> Result<Vec<String>> {
        self.0.list()
    }
    fn create(&self, name: &str) -> Result<Arc<dyn File>> {
        self.1.note(Call::Other("create"));
        self.0.create(name).map(|file| self.noting(file))
    }
    fn open(&self, name: &str, access: Access) -> Result<Arc<dyn File>> {
        self.0.open(name, access).map(|file| self.noting(file))
    }
    fn replace(&self, from: &str, to: &str) -> Result<()> {
        self.1.note(Call::Other("replace"));
        self.0.replace(from, to)
    }
    fn rename(&self, from: &str, to: &str) -> Result<()> {
        self.1.note(Call::Other("rename"));
        self.0.rename(from, to)
    }
    fn keep_room(&self) -> bool {
        self.1.note(Call::Other("keep_room"));
        self.0.keep_room()
    }
    fn give_room(&self) -> bool {
        self.0.give_room()
    }
    fn remove(&self, name: &str) -> Result<()> {
        self.1.note(Call::Other("remove"));
        self.0.remove(name)
    }
    fn sync(&self) -> Result<()> {
        self.1.note(Call::Other("flush of the directory"));
        self.0.sync()
    }
    fn try_lock(&self, kind: LockKind) -> Result<bool> {
        self.0.try_lock(kind)
    }
    fn unlock(&self) -> Result<()> {
        self.0.unlock()
    }
    fn facts(&self) -> &Facts {
        self.0.facts()
    }
    fn abandon(&self) {
        self.0.abandon();
    }
}

impl File for NotingFile {
    fn size(&self) -> Result<u64> {
        self.0.size()
    }
    fn names(&self) -> Result<u64> {
        self.0.names()
    }
    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize> {
        self.0.read_at(buf, offset)
    }
    fn write_at(&self, buf: &[u8], offset: u64, durable: Durable) -> Result<()> {
        self.1.note(Call::Write(buf.len()));
        self.0.write_at(buf, offset, durable)
    }
    fn sync(&self) -> Result<()> {
        self.1.note(Call::Other("flush"));
        self.0.sync()
    }
    fn allocate(&self, size: u64) -> Result<()> {
        self.1.note(Call::Other("allocate"));
        self.0.allocate(size)
    }
    fn truncate(&self, size: u64) -> Result<()> {
        self.1.note(Call::Other("truncate"));
        self.0.truncate(size)
    }
    fn room(&self) -> Result<u64> {
        self.0.room()
    }
    fn written_until(&self, offset: u64) -> Result<u64> {
        self.0.written_until(offset)
    }
    fn try_lock(&self, byte: LockByte, kind: LockKind) -> Result<bool> {
        self.0.try_lock(byte, kind)
    }
    fn unlock(&self, byte: LockByte) -> Result<()> {
        self.0.unlock(byte)
    }
    fn is_locked(&self, byte: LockByte) -> Result<bool> {
        self.0.is_locked(byte)
    }
}

#[test]
fn who_appends_prepares_no_file() {
    let (disk, notes) = (SimDisk::new(1), Notes::default());
    let noting = NotingDisk(disk, notes.clone());
    let options = Options { segment_size: SEGMENT, ..Options::default() };
    let log = Log::open_on(&noting, Path::new("log"), &options, Clock::real(), Threads::Own).unwrap();
    notes.0.lock().unwrap().clear();
    for seq in 1..=200 {
        let entry = Entry { data: &[7; RECORD], stream: 0, timestamp: None, kind: 0x0100, required: false };
        assert_eq!(log.append(&entry, How { sync: Some(true), no_wait: false }), Ok(seq));
    }
    let calls = std::mem::take(&mut *notes.0.lock().unwrap());
    assert!(log.stats().segments_created > 8, "only {} segments", log.stats().segments_created);
    log.close().unwrap();
    let (mine, theirs): (Vec<_>, Vec<_>) = calls.into_iter().partition(|(id, _)| *id == thread::current().id());
    let frames = mine.iter().filter(|(_, call)| *call == Call::Write(4096)).count();
    assert!(frames == mine.len() && frames > 0, "{frames} frames among {mine:?}");
    // It was done: elsewhere.
    for what in [Call::Other("create"), Call::Other("allocate"), Call::Other("rename")] {
        assert!(theirs.iter().any(|(_, call)| *call == what), "no {what:?}");
    }
    assert!(theirs.iter().any(|(_, call)| matches!(call, Call::Write(len) if *len > 8192)), "no zeros");
}
