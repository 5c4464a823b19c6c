//! Goal: whoever listens is told what happens in a log, once, in order, and of nothing after the end.
//! Method: logs on the simulated disk, which fails what it is told to.
#![forbid(unsafe_code)]

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier, Mutex};

use twal::base::clock::Clock;
use twal::commit::Threads;
use twal::disk::sim::{CallKind, SimDisk};
use twal::{
    Code, CompactOptions, Entry, How, Iter, Listener, Log, Message, MessageLevel, MessageValue, Options, Repair,
};

/// What was told.
#[derive(Clone, Default)]
struct Heard(Arc<Mutex<Vec<Message>>>);

impl Heard {
    fn listener(&self, level: MessageLevel) -> Listener {
        let heard = Arc::clone(&self.0);
        Listener::new(level, move |message| heard.lock().unwrap().push(message.clone()))
    }

    fn take(&self) -> Vec<Message> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }

    fn names(&self) -> Vec<&'static str> {
        self.take().iter().map(|message| message.name).collect()
    }
}

fn number(message: &Message, key: &str) -> u64 {
    match message.fields.iter().find(|(name, _)| *name == key) {
        Some((_, MessageValue::Number(number))) => *number,
        other => panic!("{key} of {message:?}: {other:?}"),
    }
}

fn text<'a>(message: &'a Message, key: &str) -> &'a str {
    match message.fields.iter().find(|(name, _)| *name == key) {
        Some((_, MessageValue::Text(text))) => text,
        other => panic!("{key} of {message:?}: {other:?}"),
    }
}

fn open(disk: &SimDisk, heard: &Heard, options: &Options) -> Result<Log, twal::Error> {
    let options =
        Options { segment_size: 64 << 10, listener: Some(heard.listener(MessageLevel::Info)), ..options.clone() };
    Log::open_on(disk, Path::new("/log"), &options, Clock::simulated(), Threads::None)
}

fn append(log: &Log) -> Result<u64, twal::Error> {
    let entry = Entry { data: &[7; 10_000], stream: 0, timestamp: None, kind: 0x0100, required: false };
    log.append(&entry, How::default())
}

#[test]
fn a_life_is_told_from_open_to_close() {
    let (disk, heard) = (SimDisk::new(1), Heard::default());
    let log = open(&disk, &heard, &Options { max_retained_segments: 1, ..Options::default() }).unwrap();
    let told = heard.take();
    assert_eq!((told.len(), told[0].name, told[0].level), (1, "open", MessageLevel::Info));
    assert_eq!((number(&told[0], "created"), number(&told[0], "last_seq"), text(&told[0], "dir")), (1, 0, "/log"));
    assert_eq!(text(&told[0], "engine"), log.stats().engine);
    for _ in 0..20 {
        append(&log).unwrap();
    }
    log.tick();
    let rolled: Vec<_> = heard.take().iter().map(|told| (told.name, number(told, "segment"))).collect();
    let segments = log.stats().segments_sealed;
    assert!(segments >= 3);
    assert_eq!(rolled, (2..segments + 2).map(|segment| ("rollover", segment)).collect::<Vec<_>>());
    log.compact(&CompactOptions { below_seq: 5, saving_min: 0 }, &mut |_| false).unwrap();
    log.tick();
    let told = heard.take();
    assert_eq!((told[0].name, number(&told[0], "records_purged") > 0), ("compaction", true));
    log.trim(20).unwrap();
    log.tick();
    let told = heard.take();
    assert_eq!((told[0].name, number(&told[0], "archived")), ("release", log.stats().segments_archived));
    log.listen(Some(heard.listener(MessageLevel::Warning))).unwrap();
    log.roll().unwrap();
    log.tick();
    assert!(heard.take().is_empty(), "only warnings are wanted");
    log.listen(Some(heard.listener(MessageLevel::Info))).unwrap();
    log.close().unwrap();
    assert_eq!(heard.names(), ["close"]);
    assert_eq!(log.listen(Some(heard.listener(MessageLevel::Info))).unwrap_err().code, Code::Closed);
    assert!(append(&log).is_err());
    log.tick();
    log.close().unwrap();
    assert!(heard.take().is_empty(), "nothing after the end");
}

#[test]
fn poison_is_told_once() {
    let (disk, heard) = (SimDisk::new(1), Heard::default());
    let log = open(&disk, &heard, &Options::default()).unwrap();
    disk.fail_from(Some(CallKind::Write), 0, libc::EIO);
    assert_eq!(append(&log).unwrap_err().code, Code::Io);
    for _ in 0..3 {
        assert_eq!(append(&log).unwrap_err().code, Code::Poisoned);
        log.tick();
    }
    let told = heard.take();
    assert_eq!(
        (told.len(), told[1].name, told[1].level, told[1].code),
        (2, "poison", MessageLevel::Error, Some(Code::Io))
    );
    assert_eq!((number(&told[1], "errno"), number(&told[1], "segment"), number(&told[1], "seq")), (5, 1, 1));
    log.close().unwrap_err();
    assert_eq!(heard.names(), ["close"]);
}

/// What is tried again and again is told once, until it has worked.
#[test]
fn a_spare_that_fails_is_told_once() {
    let (disk, heard) = (SimDisk::new(1), Heard::default());
    let log = open(&disk, &heard, &Options { max_retained_segments: 1, ..Options::default() }).unwrap();
    for round in 1..=2 {
        disk.set_capacity(Some(disk.room_taken()));
        while append(&log).is_ok() {}
        for _ in 0..3 {
            assert_eq!(append(&log).unwrap_err().code, Code::NoSpc);
        }
        assert!(log.stats().spare_failures >= 3);
        let told: Vec<_> = heard.take().into_iter().filter(|told| told.level <= MessageLevel::Warning).collect();
        assert_eq!((told.len(), told[0].name, told[0].code), (1, "spare_failed", Some(Code::NoSpc)), "round {round}");
        disk.set_capacity(None);
        log.trim(log.last_seq()).unwrap();
        append(&log).unwrap();
        heard.take();
    }
    log.close().unwrap();
}

#[test]
fn an_open_that_fails_and_a_tail_that_is_cut_are_told() {
    let (disk, heard) = (SimDisk::new(1), Heard::default());
    let missing = open(&disk, &heard, &Options { no_create: true, ..Options::default() });
    assert_eq!(missing.err().map(|error| error.code), Some(Code::NotFound));
    let told = heard.take();
    assert_eq!((told.len(), told[0].name, told[0].code), (1, "open_failed", Some(Code::NotFound)));
    let log = open(&disk, &heard, &Options::default()).unwrap();
    append(&log).unwrap();
    append(&log).unwrap();
    disk.kill();
    drop(log);
    disk.restart();
    heard.take();
    // The last frame's payload is not what it was: nothing behind it says that it was durable.
    let name = disk.names().into_iter().find(|name| name.ends_with(".active")).unwrap();
    let at = disk.content(&name).unwrap().iter().rposition(|byte| *byte == 7).unwrap();
    disk.overwrite(&name, at as u64, &[0]);
    let log = open(&disk, &heard, &Options::default()).unwrap();
    let told = heard.take();
    assert_eq!((told[0].name, told[1].name, told[1].level), ("open", "torn_tail", MessageLevel::Warning));
    assert_eq!((number(&told[1], "bytes") > 0, number(&told[1], "last_seq")), (true, 1));
    log.close().unwrap();
}

/// Closing waits for a call that another thread is inside, and that is the last one.
#[test]
fn nobody_is_called_when_close_has_returned() {
    let (disk, heard) = (SimDisk::new(1), Heard::default());
    let log = open(&disk, &heard, &Options::default()).unwrap();
    damage_first_segment(&disk, &log);
    log.close().unwrap();
    for _ in 0..20 {
        let (inside, done) = (Arc::new(Barrier::new(2)), Arc::new(AtomicBool::new(false)));
        let (there, out) = (Arc::clone(&inside), Arc::clone(&done));
        let log = open(&disk, &heard, &Options { read_only: true, ..Options::default() }).unwrap();
        let listener = Listener::new(MessageLevel::Error, move |_| {
            there.wait();
            for _ in 0..100 {
                std::thread::yield_now();
            }
            out.store(true, Ordering::SeqCst);
        });
        log.listen(Some(listener)).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| read_to_damage(&mut log.iter(0).unwrap()));
            inside.wait();
            log.close().unwrap();
            assert!(done.load(Ordering::SeqCst));
        });
    }
}

/// The error that a reader of the log ends with.
fn read_to_damage(iter: &mut Iter) -> twal::Error {
    loop {
        match iter.next_record() {
            Ok(record) => assert!(record.is_some(), "the damage comes first"),
            Err(error) => return error,
        }
    }
}

/// Reads to the damage, where the failure stays, and is the same damage.
fn read_and_again(log: &Log) {
    let mut iter = log.iter(0).unwrap();
    assert_eq!(read_to_damage(&mut iter).code, Code::Corrupt);
    assert_eq!(iter.next_record().unwrap_err().code, Code::Corrupt);
    assert_eq!(iter.wait_record(Some(0)).unwrap_err().code, Code::Corrupt);
}

/// Fills a few segments, and changes a byte of the first record.
fn damage_first_segment(disk: &SimDisk, log: &Log) {
    for _ in 0..12 {
        append(log).unwrap();
    }
    let sealed = disk.names().into_iter().find(|name| name.ends_with(".sealed")).unwrap();
    let at = disk.content(&sealed).unwrap().iter().position(|byte| *byte == 7).unwrap();
    disk.overwrite(&sealed, at as u64, &[8]);
}

/// A reader's own thread tells of damage, of a log that is open for reading only too; and a repair of what it does.
#[test]
fn damage_and_repair_are_told() {
    let (disk, heard) = (SimDisk::new(1), Heard::default());
    let log = open(&disk, &heard, &Options::default()).unwrap();
    damage_first_segment(&disk, &log);
    heard.take();
    read_and_again(&log);
    log.tick();
    let told = heard.take();
    assert_eq!((told[0].name, told[0].code, number(&told[0], "segment")), ("damage", Some(Code::Corrupt), 1));
    assert_eq!((told.len(), log.stats().corrupted_records), (1, 1));
    // Who reads it by its number is told, too.
    assert_eq!(log.read(1, |_| ()).unwrap_err().code, Code::Corrupt);
    log.tick();
    assert_eq!((heard.names(), log.stats().corrupted_records), (vec!["damage"], 2));
    assert_eq!(log.read(100, |_| ()).unwrap_err().code, Code::NotFound);
    log.tick();
    assert_eq!((heard.names(), log.stats().corrupted_records), (vec![], 2), "what is not there is no damage");
    log.close().unwrap();
    heard.take();
    let log = open(&disk, &heard, &Options { read_only: true, ..Options::default() }).unwrap();
    heard.take();
    read_and_again(&log);
    assert_eq!(heard.names(), ["damage"]);
    log.close().unwrap();
    heard.take();
    let options = Options { listener: Some(heard.listener(MessageLevel::Info)), ..Options::default() };
    let mut repair =
        Repair::plan_on(Box::new((*disk).clone()), Path::new("/log"), &options, Clock::simulated()).unwrap();
    assert_eq!(heard.names(), ["repair_plan"]);
    repair.apply(Path::new("/backup"), true).unwrap();
    assert_eq!(heard.names(), ["repair"]);
}
