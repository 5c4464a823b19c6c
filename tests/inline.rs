//! Goal: whoever appends never prepares a file, over many rollovers its own thread writes its frames and nothing else;
//! nor does it wait for one that is prepared ahead.
//!
//! Method: a disk that notes on which thread each call that changes it is made, and can hold up the writing of a file.
#![forbid(unsafe_code)]

use std::io::Result;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, ThreadId};
use std::time::Duration;

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
struct Notes {
    calls: Arc<Mutex<Vec<(ThreadId, Call)>>>,
    gate: Arc<Gate>,
}

impl Notes {
    fn note(&self, call: Call) {
        self.calls.lock().unwrap().push((thread::current().id(), call));
    }
}

/// Through it goes each write to the second file that is made: a log's first spare.
#[derive(Default)]
struct Gate {
    state: Mutex<GateState>,
    changed: Condvar,
}

#[derive(Default)]
struct GateState {
    files: u64,
    come: u64,
    /// How many writes go through.  None: all.
    allowed: Option<u64>,
    held_for_ever: bool,
}

impl Gate {
    fn change(&self, change: impl FnOnce(&mut GateState)) {
        change(&mut self.state.lock().unwrap());
        self.changed.notify_all();
    }

    /// False: it is not so after a time that is as good as for ever.
    fn wait(&self, until: impl Fn(&GateState) -> bool) -> bool {
        let state = self.state.lock().unwrap();
        !self.changed.wait_timeout_while(state, Duration::from_secs(60), |state| !until(state)).unwrap().1.timed_out()
    }

    fn pass(&self) {
        self.change(|state| state.come += 1);
        if !self.wait(|state| state.allowed.is_none_or(|allowed| state.come <= allowed)) {
            self.change(|state| (state.held_for_ever, state.allowed) = (true, None));
        }
    }
}

struct NotingDisk(Arc<SimDisk>, Notes);
struct NotingDir(Arc<dyn Dir>, Notes);
struct NotingFile(Arc<dyn File>, Notes, u64);

impl Disk for NotingDisk {
    fn open_dir(&self, path: &Path, create: bool) -> Result<Arc<dyn Dir>> {
        Ok(Arc::new(NotingDir(self.0.open_dir(path, create)?, self.1.clone())))
    }
}

impl NotingDir {
    fn noting(&self, file: Arc<dyn File>) -> Arc<dyn File> {
        Arc::new(NotingFile(file, self.1.clone(), self.1.gate.state.lock().unwrap().files))
    }
}

impl Dir for NotingDir {
    fn list(&self) -> Result<Vec<String>> {
        self.0.list()
    }
    fn create(&self, name: &str) -> Result<Arc<dyn File>> {
        self.1.note(Call::Other("create"));
        self.1.gate.change(|gate| gate.files += 1);
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
    fn exchange(&self, one: &str, other: &str) -> Result<()> {
        self.1.note(Call::Other("exchange"));
        self.0.exchange(one, other)
    }
    fn move_to(&self, name: &str, to: &dyn Dir, new: &str) -> Result<()> {
        self.1.note(Call::Other("move_to"));
        self.0.move_to(name, to, new)
    }
    fn is_around(&self, path: &Path) -> bool {
        self.0.is_around(path)
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
    fn identity(&self) -> Result<(u64, u64)> {
        self.0.identity()
    }
    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize> {
        self.0.read_at(buf, offset)
    }
    fn write_at(&self, buf: &[u8], offset: u64, durable: Durable) -> Result<()> {
        self.1.note(Call::Write(buf.len()));
        if self.2 == 2 {
            self.1.gate.pass();
        }
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
    notes.calls.lock().unwrap().clear();
    for seq in 1..=200 {
        let entry = Entry { data: &[7; RECORD], stream: 0, timestamp: None, kind: 0x0100, required: false };
        assert_eq!(log.append(&entry, How { sync: Some(true), no_wait: false }), Ok(seq));
    }
    let calls = std::mem::take(&mut *notes.calls.lock().unwrap());
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

#[test]
fn zeros_that_an_append_needs_do_not_wait_for_a_spare() {
    let notes = Notes::default();
    let gate = Arc::clone(&notes.gate);
    let noting = NotingDisk(SimDisk::new(1), notes);
    let options = Options { segment_size: 16 << 20, ..Options::default() };
    let log = Log::open_on(&noting, Path::new("log"), &options, Clock::real(), Threads::Own).unwrap();
    gate.change(|gate| gate.allowed = Some(2));
    let data = vec![7; 60_000];
    let append = |no_wait| {
        let entry = Entry { data: &data, stream: 0, timestamp: None, kind: 0x0100, required: false };
        log.append(&entry, How { sync: Some(false), no_wait })
    };
    // A spare is begun when a quarter of the first segment is in use, and zeros are there for as much again or twice that.
    for _ in 0..72 {
        append(false).unwrap();
    }
    assert!(gate.wait(|gate| gate.come == 3), "no spare is begun");
    let more = std::iter::from_fn(|| append(true).ok()).count();
    assert!((60..200).contains(&more), "{more} more");
    gate.change(|gate| gate.allowed = Some(4));
    let result = append(false);
    let held = gate.state.lock().unwrap().held_for_ever;
    gate.change(|gate| gate.allowed = None);
    assert!(result.is_ok() && !held, "held up by a spare: {result:?}");
    log.close().unwrap();
}
