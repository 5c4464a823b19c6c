//! Goal: what a directory knows of its names is what the names are, also while
//! they change: in the same process, and elsewhere.
//!
//! Method: a directory whose listings are tampered with.  One pauses after it was
//! read, and a rollover changes two names in that pause.  Others leave a name out
//! that changes meanwhile, which readdir(3) may do; or are of a log that has gone on since.
#![forbid(unsafe_code)]

use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{mpsc, Arc, Mutex};
use std::time::Duration;

use twal::base::clock::Clock;
use twal::commit::Threads;
use twal::disk::real::RealDisk;
use twal::disk::sim::{CallKind, SimDisk};
use twal::disk::{Access, Dir, Disk, Facts, File, LockKind};
use twal::format::Holds;
use twal::segment::{Directory, SegmentName, State};
use twal::{Code, Entry, How, IoEngine, Log, Options, SizePolicy, Tail};

/// What becomes of a listing before it is handed on.
type Tamper = Arc<dyn Fn(Vec<String>) -> Vec<String> + Send + Sync>;

/// What happens right behind the opening of a file.
type Opened = Arc<dyn Fn(&str) + Send + Sync>;

struct TamperedDisk {
    disk: Arc<dyn Disk>,
    tamper: Tamper,
    opened: Opened,
}

impl TamperedDisk {
    fn listing(disk: Arc<dyn Disk>, tamper: Tamper) -> TamperedDisk {
        TamperedDisk { disk, tamper, opened: Arc::new(|_| ()) }
    }
}

struct TamperedDir {
    dir: Arc<dyn Dir>,
    tamper: Tamper,
    opened: Opened,
}

impl Disk for TamperedDisk {
    fn open_dir(&self, path: &Path, create: bool) -> io::Result<Arc<dyn Dir>> {
        let dir = self.disk.open_dir(path, create)?;
        Ok(Arc::new(TamperedDir { dir, tamper: Arc::clone(&self.tamper), opened: Arc::clone(&self.opened) }))
    }
}

impl Dir for TamperedDir {
    fn list(&self) -> io::Result<Vec<String>> {
        self.dir.list().map(|names| (self.tamper)(names))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn File>> {
        self.dir.create(name)
    }

    fn open(&self, name: &str, access: Access) -> io::Result<Arc<dyn File>> {
        self.dir.open(name, access).inspect(|_| (self.opened)(name))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.dir.rename(from, to)
    }

    fn replace(&self, from: &str, over: &str) -> io::Result<()> {
        self.dir.replace(from, over)
    }

    fn exchange(&self, one: &str, other: &str) -> io::Result<()> {
        self.dir.exchange(one, other)
    }

    fn move_to(&self, name: &str, to: &dyn Dir, new: &str) -> io::Result<()> {
        self.dir.move_to(name, to, new)
    }

    fn is_around(&self, path: &Path) -> bool {
        self.dir.is_around(path)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.dir.remove(name)
    }

    fn sync(&self) -> io::Result<()> {
        self.dir.sync()
    }

    fn try_lock(&self, kind: LockKind) -> io::Result<bool> {
        self.dir.try_lock(kind)
    }

    fn unlock(&self) -> io::Result<()> {
        self.dir.unlock()
    }

    fn facts(&self) -> &Facts {
        self.dir.facts()
    }

    fn keep_room(&self) -> bool {
        self.dir.keep_room()
    }

    fn give_room(&self) -> bool {
        self.dir.give_room()
    }

    fn abandon(&self) {
        self.dir.abandon();
    }
}

fn name(index: u64, first_seq: u64, state: State) -> SegmentName {
    SegmentName { index, first_seq, state }
}

#[test]
fn a_look_at_the_names_does_not_undo_a_rollover() {
    let (listed, when_listed) = mpsc::channel();
    let (changed, go_on) = mpsc::channel::<()>();
    let go_on = Mutex::new(go_on);
    let tamper = Arc::new(move |names| {
        listed.send(()).unwrap();
        // Until the names were changed; or not, if they are kept as they are meanwhile.
        let _ = go_on.lock().unwrap().recv_timeout(Duration::from_millis(200));
        names
    });
    let disk = TamperedDisk::listing(SimDisk::new(1), tamper);
    let directory = Directory::open(&disk, Path::new("/log"), true).unwrap();
    directory.publish(&directory.create_spare().unwrap(), name(1, 1, State::Active)).unwrap();

    std::thread::scope(|scope| {
        let reader = scope.spawn(|| directory.scan().map(drop));
        when_listed.recv().unwrap();
        let spare = directory.create_spare().unwrap();
        directory.publish(&spare, name(2, 10, State::Active)).unwrap();
        directory.seal(1).unwrap();
        let _ = changed.send(());
        reader.join().unwrap().unwrap();
    });

    assert_eq!(directory.segments(), [name(1, 1, State::Sealed), name(2, 10, State::Active)]);
}

/// A log of three segments; and as a reader elsewhere knows it, some of whose listings leave out what is segment 2's.
/// Listing 0 is the reader's own look at a log at rest.
fn reader_that_overlooks(left_out: Range<u32>) -> (Directory, Directory) {
    let disk = SimDisk::new(1);
    let writer = Directory::open(disk.as_ref(), Path::new("/log"), true).unwrap();
    for n in 1..=3 {
        writer.publish(&writer.create_spare().unwrap(), name(n, 10 * n - 9, State::Active)).unwrap();
        if n > 1 {
            writer.seal(n - 1).unwrap();
        }
    }
    let listings = AtomicU32::new(0);
    let tamper = Arc::new(move |mut names: Vec<String>| {
        if left_out.contains(&listings.fetch_add(1, Ordering::Relaxed)) {
            names.retain(|name| !name.starts_with("twal-0000000000000002-"));
        }
        names
    });
    let reader = Directory::open(&TamperedDisk::listing(disk, tamper), Path::new("/log"), false).unwrap();
    reader.scan().unwrap();
    writer.hold_still(&Clock::simulated()).unwrap().archive(21).unwrap();
    (writer, reader)
}

#[test]
fn a_name_that_a_listing_left_out_is_looked_for_again() {
    let (_writer, reader) = reader_that_overlooks(1..4);
    let (found, _) = reader.open_segment(2, Access::Read).unwrap();
    assert_eq!(found, name(2, 11, State::Archived));
}

/// Beside a compaction a reader's very first listing lacked a segment, and the reader said that it was gone.
#[test]
fn a_name_that_the_first_listing_left_out_is_looked_for() {
    let (_writer, reader) = reader_that_overlooks(0..3);
    assert_eq!(reader.segment(2), None);
    let (found, _) = reader.open_segment(2, Access::Read).unwrap();
    assert_eq!(found, name(2, 11, State::Archived));
    // What is older than the oldest is gone, and the first look says so.
    assert_eq!(reader.open_segment(0, Access::Read).map(drop).unwrap_err().code, Code::NotFound);
}

#[test]
fn a_segment_that_is_missing_is_not_looked_for_for_ever() {
    let (_writer, reader) = reader_that_overlooks(1..1001);
    let error = reader.open_segment(2, Access::Read).map(drop).unwrap_err();
    assert_eq!(error.code, Code::NotFound);
}

/// Segments of one record.
fn append_and_roll(log: &Log, segments: u32) {
    for _ in 0..segments {
        let entry = Entry { data: b"one", stream: 0, timestamp: None, kind: 0x0100, required: false };
        log.append(&entry, How::default()).unwrap();
        log.roll().unwrap();
    }
}

/// A reader decides by a segment's neighbours: one that a listing left out would be given away with the one before it.
#[test]
fn a_reader_moves_no_hold_past_a_name_that_was_left_out() {
    let disk = SimDisk::new(1);
    let options = Options { segment_size: 64 << 10, ..Options::default() };
    let open = |disk: &dyn Disk, read_only| {
        let options = Options { read_only, ..options.clone() };
        Log::open_on(disk, Path::new("/log"), &options, Clock::simulated(), Threads::None).unwrap()
    };
    let writer = open(disk.as_ref(), false);
    writer.hold_set("archive", 0).unwrap();
    append_and_roll(&writer, 4);
    let overlooked = Arc::new(AtomicU32::new(0));
    let left = Arc::clone(&overlooked);
    let tamper = Arc::new(move |mut names: Vec<String>| {
        let some = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok();
        names.retain(|name| !some || !name.starts_with("twal-0000000000000003-"));
        names
    });
    let reader = open(&TamperedDisk::listing(disk, tamper), true);

    overlooked.store(3, Ordering::Relaxed);
    assert_eq!(reader.archive_next(1).unwrap().map(|next| (next.index, next.last_seq)), Some((2, 1)));
    overlooked.store(3, Ordering::Relaxed);
    let second = reader.segments().unwrap()[1].clone();
    assert_eq!((second.index, second.first_seq, second.last_seq), (2, 1, 1));
    overlooked.store(3, Ordering::Relaxed);
    reader.archive_done(2).unwrap();
    assert_eq!(reader.archive_next(0).unwrap().map(|next| next.index), Some(3));
    overlooked.store(u32::MAX, Ordering::Relaxed);
    assert_eq!(reader.archive_done(4).unwrap_err().code, Code::Busy);
    assert_eq!(reader.segments().unwrap().len(), 5, "of the six");
}

/// A trim that another thread is in the middle of: when close returns the directory may be another writer's.
#[test]
fn no_name_changes_after_close() {
    let disk = SimDisk::new(1);
    let (listed, when_listed) = mpsc::channel();
    let (changed, go_on) = mpsc::channel::<()>();
    let go_on = Mutex::new(go_on);
    let trimming = Arc::new(AtomicU32::new(0));
    let paused = Arc::clone(&trimming);
    let tamper = Arc::new(move |names| {
        if paused.swap(0, Ordering::Relaxed) == 1 {
            listed.send(()).unwrap();
            // Until the log is closed; or not, if that waits for the trim.
            let _ = go_on.lock().unwrap().recv_timeout(Duration::from_millis(200));
        }
        names
    });
    let tampered = TamperedDisk::listing(Arc::<SimDisk>::clone(&disk), tamper);
    let options = Options {
        segment_size: 64 << 10,
        log_size_max: 3 * (64 << 10),
        log_size_policy: Some(SizePolicy::Hint),
        ..Options::default()
    };
    let log = Log::open_on(&tampered, Path::new("/log"), &options, Clock::simulated(), Threads::None).unwrap();
    append_and_roll(&log, 5);
    trimming.store(1, Ordering::Relaxed);

    std::thread::scope(|scope| {
        let trim = scope.spawn(|| log.trim(6));
        when_listed.recv().unwrap();
        log.close().unwrap();
        let names = disk.names();
        let _ = changed.send(());
        trim.join().unwrap().unwrap();
        assert_eq!(disk.names(), names);
        assert!(names.iter().filter(|name| name.ends_with("archived")).count() < 5, "{names:?}");
    });
}

/// A backup of hard links gives the file of holds that was replaced a name: who waited for its lock believed it.
#[test]
fn holds_that_were_replaced_meanwhile_are_read_anew() {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("directory-holds");
    let _ = std::fs::remove_dir_all(&path);
    let (clock, disk) = (Clock::real(), Arc::new(RealDisk::new(IoEngine::Blocking, true, true)));
    let other = Directory::open(disk.as_ref(), &path, true).unwrap();
    other.belongs_to([1; 16], false, false);
    let turns = Arc::new(AtomicU32::new(0));
    let left = Arc::clone(&turns);
    let (clock_there, linked) = (clock.clone(), path.join("backup"));
    let replace = Arc::new(move |name: &str| {
        if name == "twal-holds" && left.swap(0, Ordering::Relaxed) == 1 {
            assert!(linked.exists());
            other.hold_still(&clock_there).unwrap().rewrite(Holds { number: 2, all: Vec::new() }).unwrap();
        }
    });
    let tampered = TamperedDisk { disk, tamper: Arc::new(|names| names), opened: replace };
    let writer = Directory::open(&tampered, &path, false).unwrap();
    writer.belongs_to([1; 16], true, false);
    writer.hold_still(&clock).unwrap().rewrite(Holds { number: 1, all: Vec::new() }).unwrap();
    std::fs::hard_link(path.join("twal-holds"), path.join("backup")).unwrap();

    turns.store(1, Ordering::Relaxed);
    assert_eq!(writer.hold_still(&clock).unwrap().holds().number, 2);
    drop(writer);
    std::fs::remove_dir_all(&path).unwrap();
}

/// A log whose writer rolls and releases behind each of a reader's next looks at its names, so that none of these
/// is the log's any more when the files are opened.
struct FastRoller {
    disk: Arc<SimDisk>,
    clock: Clock,
    writer: Log,
    looks_left: Arc<AtomicU32>,
}

impl FastRoller {
    fn new() -> FastRoller {
        let (disk, clock) = (SimDisk::new(1), Clock::simulated());
        let options = Options { segment_size: 64 << 10, max_retained_segments: 1, ..Options::default() };
        let writer = Log::open_on(disk.as_ref(), Path::new("/log"), &options, clock.clone(), Threads::None).unwrap();
        append_and_roll(&writer, 3);
        FastRoller { disk, clock, writer, looks_left: Arc::default() }
    }

    /// Opens it as a reader elsewhere, which looks so often in vain.
    fn open_behind(&self, looks: u32) -> Result<Log, twal::Error> {
        self.looks_left.store(looks, Ordering::Relaxed);
        let (left, writer) = (Arc::clone(&self.looks_left), self.writer.clone());
        let tamper = Arc::new(move |names| {
            let some = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok();
            if some {
                append_and_roll(&writer, 3);
                writer.trim(writer.durable_seq()).unwrap();
            }
            names
        });
        let disk = TamperedDisk::listing(Arc::<SimDisk>::clone(&self.disk), tamper);
        let options = Options { read_only: true, ..Options::default() };
        Log::open_on(&disk, Path::new("/log"), &options, self.clock.clone(), Threads::None)
    }
}

/// A reader looked twenty times at a log that was another one each time, and then called it damaged.
#[test]
fn a_log_that_changes_at_every_look_is_no_damaged_one() {
    let roller = FastRoller::new();
    for looks in [1, 7, 30, 300] {
        let reader = roller.open_behind(looks).unwrap();
        assert_eq!(reader.report().tail, Tail::Clean, "after {looks} looks");
        assert_eq!(reader.last_seq(), roller.writer.durable_seq());
    }
    let begun_ns = roller.clock.now_ns();
    let error = roller.open_behind(u32::MAX).map(drop).unwrap_err();
    assert_eq!(error.code, Code::Busy, "{error}");
    assert!(roller.clock.now_ns() - begun_ns >= 2_000_000_000, "given up too soon");
}

/// What stays is damage, however fast the other segments change.
#[test]
fn damage_is_found_beside_a_writer() {
    let roller = FastRoller::new();
    roller.writer.trim(2).unwrap();
    let header = roller.disk.names().into_iter().find(|name| name.ends_with(".sealed")).unwrap();
    roller.disk.flip_bit(&header, 100, 1);
    let rolling = roller.writer.clone();
    let tamper = Arc::new(move |names| {
        append_and_roll(&rolling, 1);
        names
    });
    let disk = TamperedDisk::listing(Arc::<SimDisk>::clone(&roller.disk), tamper);
    let options = Options { read_only: true, ..Options::default() };
    let reader = Log::open_on(&disk, Path::new("/log"), &options, roller.clock.clone(), Threads::None).unwrap();
    assert_eq!(reader.report().tail, Tail::Damaged);
    let told = reader.iter(reader.last_seq() + 1).unwrap().next_record().map(drop).unwrap_err();
    assert_eq!((told.code, told.segment), (Code::Corrupt, 2), "{told}");
}

/// A reader that got no descriptor called the log damaged.
#[test]
fn what_the_machine_lacks_is_no_damage() {
    let roller = FastRoller::new();
    let error = {
        roller.disk.fail_from(Some(CallKind::Open), 2, libc::EMFILE);
        let opened = roller.open_behind(0).map(drop);
        roller.disk.clear_faults();
        opened.unwrap_err()
    };
    assert_eq!((error.code, error.os_errno), (Code::NoMem, libc::EMFILE), "{error}");
    assert_eq!(roller.open_behind(0).unwrap().report().tail, Tail::Clean);
}
