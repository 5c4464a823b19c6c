//! Goal: damage in one place hides none in another: each reader is told, a number that was lost is not said to have
//! been released, and a repair gives up nothing for a file that is not the log's.
//!
//! Method: a log of seven segments with three records each, on the simulated disk, of which files are damaged, removed,
//! renamed and doubled by twos.
#![forbid(unsafe_code)]

use std::path::Path;
use std::sync::Arc;

use twal::base::clock::Clock;
use twal::commit::Threads;
use twal::disk::sim::SimDisk;
use twal::disk::Disk;
use twal::{Code, Entry, How, Iter, IterOptions, Log, Options, Repair, StepKind};

const SEGMENTS: u64 = 7;
const RECORDS: u64 = 3;
const LAST: u64 = SEGMENTS * RECORDS;

struct Machine {
    disk: Arc<SimDisk>,
    clock: Clock,
}

impl Machine {
    /// The segments in front of record `below` are released.
    fn with_log(below: u64) -> Machine {
        let clock = Clock::simulated();
        let machine = Machine { disk: SimDisk::new(1).with_clock(clock.clone()), clock };
        let log = machine.open(false).unwrap();
        for seq in 1..=LAST {
            let entry = Entry { data: &[7; 64], stream: 0, timestamp: None, kind: 0x0100, required: false };
            assert_eq!(log.append(&entry, How { sync: Some(true), no_wait: false }), Ok(seq));
            if seq % RECORDS == 0 && seq < LAST {
                log.roll().unwrap();
            }
        }
        log.trim(below).unwrap();
        log.close().unwrap();
        machine
    }

    fn options(read_only: bool) -> Options {
        Options {
            block_size: 4096,
            segment_size: 64 << 10,
            max_retained_segments: 100,
            read_only,
            ..Options::default()
        }
    }

    fn open(&self, read_only: bool) -> Result<Log, twal::Error> {
        let options = Machine::options(read_only);
        Log::open_on(self.disk.as_ref(), Path::new("log"), &options, self.clock.clone(), Threads::None)
    }

    fn name(&self, index: u64) -> String {
        let start = format!("twal-{index:016}-");
        self.disk.names().into_iter().find(|name| name.starts_with(&start)).unwrap()
    }

    fn remove(&self, index: u64) {
        self.disk.remove_file(&self.name(index));
    }

    fn spoil_header(&self, index: u64) {
        self.disk.overwrite(&self.name(index), 0, &[0; 512]);
    }

    fn plan(&self) -> Repair {
        let disk = Box::new((*self.disk).clone());
        Repair::plan_on(disk, Path::new("log"), &Machine::options(false), self.clock.clone()).unwrap()
    }
}

/// What is delivered, and how it ends.
fn read(iter: &mut Iter) -> (Vec<u64>, Option<Code>) {
    let mut seqs = Vec::new();
    loop {
        match iter.next_record() {
            Ok(Some(record)) => seqs.push(record.seq),
            Ok(None) => return (seqs, None),
            Err(error) => return (seqs, Some(error.code)),
        }
    }
}

type Damage = (&'static str, u64, fn(&Machine));
type Beside<'d> = (&'static str, &'d dyn Fn(&Machine));
/// With the name that the copy gets.
type Copy<'n> = (&'static str, &'n dyn Fn(&Machine) -> String);

/// Each with a newest segment that cannot be read or is not there, behind another place that a reader passes over, or
/// that nobody reads.
const BESIDE_THE_NEWEST: [Damage; 8] = [
    ("header in the middle, newest header", 1, |machine| {
        machine.spoil_header(3);
        machine.spoil_header(SEGMENTS);
    }),
    ("header in the middle, newest gone", 1, |machine| {
        machine.spoil_header(3);
        machine.remove(SEGMENTS);
    }),
    ("one in the middle gone, newest gone", 1, |machine| {
        machine.remove(3);
        machine.remove(SEGMENTS);
    }),
    ("elders gone, newest gone", 1, |machine| {
        machine.remove(1);
        machine.remove(SEGMENTS);
    }),
    ("first header, newest header", 1, |machine| {
        machine.spoil_header(1);
        machine.spoil_header(SEGMENTS);
    }),
    ("newest archived gone, newest gone", 10, |machine| {
        machine.remove(3);
        machine.remove(SEGMENTS);
    }),
    ("newest archived without a seal, newest header", 10, |machine| {
        let name = machine.name(3);
        for block in 4..16 {
            machine.disk.overwrite(&name, block * 4096, &[0; 4096]);
        }
        machine.spoil_header(SEGMENTS);
    }),
    ("first one that can be read gone, newest gone", 10, |machine| {
        machine.remove(4);
        machine.remove(SEGMENTS);
    }),
];

#[test]
fn a_reader_that_skips_counts_the_newest_segment_too() {
    for (what, below, damage) in BESIDE_THE_NEWEST {
        let machine = Machine::with_log(below);
        damage(&machine);
        let log = machine.open(true).unwrap();
        let mut iter = log.iter_with(IterOptions { skip_damaged: true, ..IterOptions::default() }).unwrap();
        let (seqs, error) = read(&mut iter);
        assert_eq!((seqs.last(), error), (Some(&(LAST - RECORDS)), None), "{what}");
        let skipped = iter.skipped();
        let newest = SEGMENTS
            - u64::from(machine.disk.names().iter().all(|name| !name.starts_with(&format!("twal-{SEGMENTS:016}"))));
        assert_eq!((skipped.segment, skipped.first_seq), (newest, LAST - RECORDS + 1), "{what}: {skipped:?}");
        let spots = skipped.spots;
        assert!(spots >= 1, "{what}");
        // Each place once, however often it comes to the end.
        assert_eq!((read(&mut iter), iter.skipped().spots), ((Vec::new(), None), spots), "{what}");
    }
}

/// With names that are none of the log's, or of segments in front that are gone: which records can be read, and how many
/// places there are.
const NAMES: [(Damage, &[std::ops::RangeInclusive<u64>], u64); 11] = [
    (("a second file of the first", 1, |machine| copy(machine, 2, 1, 4, "sealed")), &[1..=LAST], 1),
    (("a copy in the middle", 1, |machine| copy(machine, 1, 3, 1, "active")), &[1..=LAST], 1),
    (("a copy beside the newest", 1, |machine| copy(machine, 2, SEGMENTS, 4, "sealed")), &[1..=LAST], 1),
    (("a copy behind the newest", 1, |machine| copy(machine, 1, SEGMENTS + 1, 1, "active")), &[1..=LAST], 1),
    (("the first named as the second", 1, |machine| rename(machine, 1, 4)), &[4..=LAST], 1),
    (("the first named beyond all", 1, |machine| rename(machine, 1, 100)), &[4..=LAST], 1),
    (("the oldest named as the next", 10, |machine| rename(machine, 4, 13)), &[13..=LAST], 1),
    (("the oldest named beyond all", 10, |machine| rename(machine, 4, 100)), &[13..=LAST], 1),
    (("the oldest gone", 10, |machine| machine.remove(4)), &[13..=LAST], 1),
    (
        ("the oldest gone, and another header", 10, |machine| {
            machine.remove(4);
            machine.spoil_header(6);
        }),
        &[13..=15, 19..=LAST],
        2,
    ),
    (
        ("elders gone, and another header", 1, |machine| {
            machine.remove(1);
            machine.spoil_header(4);
        }),
        &[4..=9, 13..=LAST],
        2,
    ),
];

fn copy(machine: &Machine, from: u64, index: u64, first_seq: u64, state: &str) {
    machine.disk.copy_file(&machine.name(from), &format!("twal-{index:016}-{first_seq:020}.{state}"));
}

fn rename(machine: &Machine, index: u64, first_seq: u64) {
    let name = machine.name(index);
    copy(machine, index, index, first_seq, "sealed");
    machine.disk.remove_file(&name);
}

#[test]
fn a_reader_that_skips_reads_what_can_be_read_and_counts_each_place() {
    for ((what, below, damage), readable, spots) in NAMES {
        let machine = Machine::with_log(below);
        damage(&machine);
        assert_eq!(machine.open(false).map(drop).map_err(|error| error.code), Err(Code::Corrupt), "{what}");
        let log = machine.open(true).unwrap();
        let mut iter = log.iter_with(IterOptions { skip_damaged: true, ..IterOptions::default() }).unwrap();
        let wanted: Vec<u64> = readable.iter().cloned().flatten().collect();
        assert_eq!(read(&mut iter), (wanted, None), "{what}");
        assert_eq!(iter.skipped().spots, spots, "{what}: {:?}", iter.skipped());
        assert_eq!((read(&mut iter), iter.skipped().spots), ((Vec::new(), None), spots), "{what}");
        assert_eq!(read(&mut log.iter(0).unwrap()).1, Some(Code::Corrupt), "{what}");
        // From a number on that is missing there: it is counted, and those behind it.
        let begin = *readable[0].start();
        if begin > 3 {
            let asked = IterOptions { from_seq: begin - 2, skip_damaged: true, ..IterOptions::default() };
            let mut iter = log.iter_with(asked.clone()).unwrap();
            assert_eq!(read(&mut iter).0.first(), Some(&begin), "{what}");
            assert_eq!(
                (iter.skipped().spots, iter.skipped().records >= 2),
                (spots, true),
                "{what}: {:?}",
                iter.skipped()
            );
            let mut iter = log.iter_with(IterOptions { until_seq: begin - 2, ..asked }).unwrap();
            assert_eq!((read(&mut iter), iter.skipped().records), ((Vec::new(), None), 1), "{what}");
        }
    }
}

#[test]
fn no_reader_begins_behind_elders_that_were_lost() {
    let double_newest = |machine: &Machine| {
        let newest = machine.name(SEGMENTS);
        machine.disk.copy_file(&newest, &newest.replace(".active", ".sealed"));
    };
    let lose_newest = |machine: &Machine| machine.remove(SEGMENTS);
    let nothing = |_: &Machine| ();
    let others: [Beside<'_>; 3] =
        [("nothing else", &nothing), ("newest doubled", &double_newest), ("newest lost", &lose_newest)];
    for (what, other) in others {
        let machine = Machine::with_log(1);
        machine.remove(1);
        other(&machine);
        let log = machine.open(true).unwrap();
        for until_seq in [0, 12] {
            let mut iter = log.iter_with(IterOptions { until_seq, ..IterOptions::default() }).unwrap();
            assert_eq!(read(&mut iter), (Vec::new(), Some(Code::Corrupt)), "{what}, until {until_seq}");
        }
        for seq in 1..=LAST {
            let read = log.read(seq, |_| ()).map_err(|error| error.code);
            assert_eq!(read, Err(Code::Corrupt), "{what}: record {seq}");
        }
    }
}

#[test]
fn a_number_that_was_lost_with_its_name_was_not_released() {
    let machine = Machine::with_log(1);
    let third = machine.name(3);
    machine.disk.copy_file(&third, &third.replace(".sealed", ".archived"));
    let log = machine.open(true).unwrap();
    for seq in 1..=RECORDS * 3 {
        assert_eq!(log.read(seq, |_| ()).map_err(|error| error.code), Err(Code::Corrupt), "record {seq}");
    }
    // Those were, whatever is damaged behind them.
    let elsewhere: [Beside<'_>; 4] = [
        ("the newest one's header", &|machine| machine.spoil_header(SEGMENTS)),
        ("the newest one", &|machine| machine.remove(SEGMENTS)),
        ("a file that is nothing of a log's", &|machine| machine.disk.put_file("twal-what", &[])),
        ("one in the middle", &|machine| machine.remove(5)),
    ];
    for (what, damage) in elsewhere {
        let machine = Machine::with_log(7);
        damage(&machine);
        let log = machine.open(true).unwrap();
        for seq in 1..=6 {
            let certain = seq <= 3 || what != "one in the middle";
            let read = log.read(seq, |_| ()).map_err(|error| error.code);
            assert!(read == Err(Code::Trimmed) || (!certain && read == Err(Code::Corrupt)), "{what}: {seq}: {read:?}");
        }
        let asked = IterOptions { from_seq: 1, skip_damaged: true, ..IterOptions::default() };
        assert_eq!(log.iter_with(asked).map(drop).map_err(|error| error.code), Err(Code::Trimmed), "{what}");
    }
}

/// Each file that is none of the log's goes, and nothing else.
#[test]
fn a_repair_gives_up_nothing_for_a_second_file_of_a_segment() {
    let copies: [Copy<'_>; 9] = [
        ("an empty file", &|_| "twal-0000000000000003-00000000000000000999.sealed".to_owned()),
        ("a copy named active", &|machine| machine.name(3).replace(".sealed", ".active")),
        ("a copy named archived", &|machine| machine.name(3).replace(".sealed", ".archived")),
        ("another segment's copy", &|_| "twal-0000000000000002-00000000000000000013.sealed".to_owned()),
        ("another segment's copy, named active", &|_| "twal-0000000000000002-00000000000000000013.active".to_owned()),
        ("another one's copy, named as the newest", &|machine| machine.name(SEGMENTS).replace(".active", ".sealed")),
        ("another one's copy, named as if released", &|machine| machine.name(SEGMENTS).replace(".active", ".archived")),
        ("another one's copy, of its number", &|_| "twal-0000000000000007-00000000000000000013.sealed".to_owned()),
        ("another one's copy, of a later number", &|_| "twal-0000000000000007-00000000000000000025.sealed".to_owned()),
    ];
    for (what, name) in copies {
        let machine = Machine::with_log(1);
        let name = name(&machine);
        match what {
            "an empty file" => machine.disk.put_file(&name, &[]),
            _ if what.starts_with("another") => machine.disk.copy_file(&machine.name(5), &name),
            _ => machine.disk.copy_file(&machine.name(3), &name),
        }
        assert_eq!(machine.open(false).map(drop).map_err(|error| error.code), Err(Code::Corrupt), "{what}");
        let mut repair = machine.plan();
        let steps: Vec<_> = repair.steps().iter().map(|step| (step.kind, step.file.clone())).collect();
        assert_eq!(steps, [(StepKind::Isolate, name.clone())], "{what}");
        let untold = repair.apply(Path::new("backup"), false).map(drop).map_err(|error| error.code);
        assert_eq!(untold, Err(Code::State), "{what}");
        drop(repair);
        machine.plan().apply(Path::new("backup"), true).unwrap();
        assert!(machine.disk.names_in(Path::new("backup")).contains(&name), "{what}");
        let log = machine.open(false).unwrap();
        assert_eq!(read(&mut log.iter(0).unwrap()), ((1..=LAST).collect(), None), "{what}");
        log.close().unwrap();
        let verified = twal::verify_on(machine.disk.as_ref(), Path::new("log"), &mut |_| true).unwrap();
        assert_eq!(verified.damaged, 0, "{what}");
    }
}

/// What an interrupted repair of a log without a readable header has copied is no other log: the next one goes on there.
#[test]
fn a_repair_goes_on_beside_its_own_copies_whatever_is_left_of_the_log() {
    let machine = Machine::with_log(SEGMENTS * RECORDS - 1);
    for index in 1..SEGMENTS {
        machine.remove(index);
    }
    let name = machine.name(SEGMENTS);
    let start = machine.disk.content(&name).unwrap()[..224].to_vec();
    machine.disk.remove_file(&name);
    let first = "twal-0000000000000001-00000000000000000001.active";
    machine.disk.put_file(first, &start);
    let again = || machine.plan().apply(Path::new("backup"), true).map(drop).map_err(|error| error.to_string());
    assert_eq!(again(), Ok(()));
    // Killed behind its first copy; and in front of its end.
    machine.disk.names().iter().for_each(|name| machine.disk.remove_file(name));
    machine.disk.put_file(first, &start);
    assert_eq!(again(), Ok(()));
    machine.disk.put_file("twal-repair-unfinished", &[]);
    assert_eq!(again(), Ok(()));
    machine.open(false).unwrap().close().unwrap();
}

/// A standby is a log of its own, though it has this log's id: copies among its segments would be its damage.
#[test]
fn a_repair_puts_its_copies_into_no_log() {
    let machine = Machine::with_log(1);
    machine.disk.open_dir(Path::new("standby"), true).unwrap();
    for name in machine.disk.names() {
        machine.disk.copy_file(&name, &format!("standby/{name}"));
    }
    let standby = machine.disk.names_in(Path::new("standby"));
    for index in [5, 3] {
        machine.spoil_header(index);
        let refused = machine.plan().apply(Path::new("standby"), true).map(drop).map_err(|error| error.code);
        assert_eq!(refused, Err(Code::Inval));
        assert_eq!(machine.disk.names_in(Path::new("standby")), standby);
        // The second time there are copies of the first one.
        machine.plan().apply(Path::new("backup"), true).unwrap();
        machine.open(false).unwrap().close().unwrap();
    }
}
