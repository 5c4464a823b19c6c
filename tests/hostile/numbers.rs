//! Goal: numbers at the end of their range, with checksums made right, are refused by name where somebody would count on
//! from them, and read where nobody does; nothing overflows.
//!
//! Method: one number of a log on the simulated disk is forged, in each place where it stands.

use std::path::Path;

use twal::base::clock::Clock;
use twal::commit::Threads;
use twal::disk::sim::SimDisk;
use twal::disk::Disk;
use twal::format::frame::{FLAG_DATA, FLAG_MARK};
use twal::format::sink::{SINK_COPIES, SINK_COPY_LEN, SINK_SLOTS};
use twal::format::{Holds, SinkSlot};
use twal::segment::name::Named;
use twal::segment::Directory;
use twal::{Code, CompactOptions, Error, HoldName, Log, Options, Position, Sink, SinkOptions, Source};

use crate::forged::{do_all, options, simulated, written, Came, File, BLOCK, DIR, EACH};

const MAX: u64 = u64::MAX;

fn clone(disk: &SimDisk) -> Box<dyn Disk> {
    Box::new(disk.clone())
}

fn came_of(files: &[File]) -> Came {
    let disk = simulated(files);
    do_all(&|| clone(&disk), Path::new(DIR), &Clock::simulated())
}

fn open(disk: &SimDisk, read_only: bool) -> Result<Log, Error> {
    let options = Options { read_only, ..options() };
    Log::open_on(disk, Path::new(DIR), &options, Clock::simulated(), Threads::None)
}

/// Corrupt, and says that nobody can count on.
fn is_refused(error: Option<&Error>) -> bool {
    error.is_some_and(|error| error.code == Code::Corrupt && error.text.contains("counted"))
}

/// The highest epoch, in the last mark, and in a frame that an earlier life has left behind the end.
#[test]
fn there_is_no_epoch_above_the_highest() {
    for left_behind in [false, true] {
        for epoch in [MAX, MAX - 1, MAX / 2] {
            let mut files = written();
            let file = files.last_mut().unwrap();
            let (last, frame) = *file.frames().last().unwrap();
            assert!(frame.has(FLAG_MARK));
            let end = last + BLOCK;
            if left_behind {
                // Whatever composed it: it continues nothing.
                let block = file.bytes[last as usize..end as usize].to_vec();
                let at = end + 2 * BLOCK;
                file.bytes[at as usize..(at + BLOCK) as usize].copy_from_slice(&block);
                let mut forged = frame;
                (forged.epoch, forged.first_seq, forged.durable_seq) = (epoch, 1, 0);
                let place = file.header().place();
                forged.encode(place, at, &mut file.bytes[at as usize..]);
            } else {
                file.forge_frame(last, |frame| (frame.epoch, frame.frame_number) = (epoch, 1));
            }
            let came = came_of(&files);
            assert!(is_refused(came.written.as_ref()), "{epoch}: {came:?}");
            let place = came.written.map(|error| (error.segment, error.offset));
            assert_eq!(place, Some((3, end)), "where the log ends");
            assert_eq!((came.read, came.iterated), (None, (None, 3 * EACH)), "it can be read");
        }
    }
}

/// A repair writes a mark of a higher epoch than any.
#[test]
fn nor_is_there_one_for_a_repair() {
    let mut files = written();
    let file = files.last_mut().unwrap();
    let (last, _) = *file.frames().last().unwrap();
    file.forge_frame(last, |frame| (frame.epoch, frame.frame_number) = (MAX, 1));
    // Damage in front of it.
    let data = file.first(FLAG_DATA) as usize;
    file.bytes[data + 130] ^= 1;
    let came = came_of(&files);
    let planned = came.planned.expect("no plan");
    assert!(planned.code == Code::Unsupported && planned.text.contains("counted"), "{planned}");
    assert_eq!((planned.segment, planned.offset), (3, data as u64));
}

/// Numbers of records, of frames, offsets and counts: in the frames of the newest segment.
#[test]
fn a_frame_may_say_any_number() {
    type Forge = fn(&mut twal::format::FrameHeader);
    let forges: [(&str, Forge); 8] = [
        ("span", |frame| frame.seq_span = MAX - frame.first_seq),
        ("count and span", |frame| (frame.record_count, frame.seq_span) = (u32::MAX, MAX - frame.first_seq)),
        ("count", |frame| (frame.record_count, frame.seq_span) = (u32::MAX, u64::from(u32::MAX))),
        ("number", |frame| frame.frame_number = MAX),
        ("first", |frame| frame.first_seq = MAX - 1),
        ("durable end", |frame| frame.durable_end = MAX),
        ("durable", |frame| (frame.first_seq, frame.durable_seq) = (MAX - 1, MAX - 2)),
        ("chain", |frame| frame.chain = MAX),
    ];
    for (name, forge) in forges {
        for which in 0..3 {
            for last in [false, true] {
                let mut files = written();
                let frames = files[which].frames();
                let mut data = frames.iter().filter(|(_, frame)| frame.has(FLAG_DATA));
                let (at, _) = *if last { data.next_back() } else { data.next() }.unwrap();
                files[which].forge_frame(at, forge);
                let came = came_of(&files);
                assert!(came.iterated.1 <= 3 * EACH, "{name} in {which}: {came:?}");
                if which < 2 && !name.starts_with("durable") {
                    assert!(!came.damaged.is_empty(), "{name} in {which}: {came:?}");
                }
            }
        }
    }
}

/// The last number of the newest segment's last frame: behind it nothing can be numbered.
#[test]
fn no_record_comes_behind_the_last_number() {
    let mut files = written();
    let file = files.last_mut().unwrap();
    let frames = file.frames();
    let (at, _) = *frames.iter().rfind(|(_, frame)| frame.has(FLAG_DATA)).unwrap();
    file.forge_frame(at, |frame| frame.seq_span = MAX - frame.first_seq);
    file.bytes[(at + BLOCK) as usize..].fill(0);
    let came = came_of(&files);
    assert!(is_refused(came.written.as_ref()), "{came:?}");
}

/// Of the segment's header.
#[test]
fn a_segment_may_say_any_number() {
    // The place of the seal before: no segment is so long.
    let mut files = written();
    files[2].forge(|header| header.before_offset = MAX - (BLOCK - 1));
    let at_the_end = files[2].bytes[160..168].to_vec();
    assert_eq!(u64::from_le_bytes(at_the_end.try_into().unwrap()) % BLOCK, 0);
    let came = came_of(&files);
    assert!(came.damaged.iter().any(|(segment, _)| *segment == 3), "{came:?}");
    assert!(came.written.is_some_and(|error| error.code == Code::Corrupt && error.segment == 3));
    // Epoch and number of the frame before it.
    for number in [MAX, MAX - 1] {
        let mut files = written();
        files[2].forge(|header| (header.before.epoch, header.before.frame_number) = (number, number));
        let came = came_of(&files);
        assert!(came.written.is_some_and(|error| error.code == Code::Corrupt), "{number}");
        // Alone, it is the only one who could know.
        let only = files.split_off(2);
        assert!(came_of(&only).written.is_some_and(|error| error.code == Code::Corrupt), "{number}");
    }
}

/// A segment of the highest index: its successor would have a name that nobody reads.
#[test]
fn no_segment_comes_behind_the_last_name() {
    for index in [9_999_999_999_999_999, 5_000_000_000_000_000] {
        let mut files = written();
        for (file, back) in files.iter_mut().zip([2, 1, 0]) {
            let state = file.name.rsplit('.').next().unwrap().to_owned();
            let state = if back == 2 { "archived".to_owned() } else { state };
            file.forge(|header| header.index = index - back);
            file.name = format!("twal-{:016}-{:020}.{state}", index - back, file.header().first_seq);
        }
        let came = came_of(&files);
        assert!(is_refused(came.written.as_ref()), "{came:?}");
        assert_eq!((came.damaged, came.read, came.iterated), (Vec::new(), None, (None, 2 * EACH)), "it can be read");
    }
}

/// How often it was compacted.
#[test]
fn no_compaction_comes_behind_the_last() {
    let mut files = written();
    files[0].forge(|header| header.generation = MAX);
    let disk = simulated(&files);
    let log = open(&disk, false).unwrap();
    let how = CompactOptions { below_seq: MAX, saving_min: 0 };
    let refused = log.compact(&how, &mut |candidate| candidate.record.seq > 2).unwrap_err();
    assert_eq!((refused.code, refused.segment), (Code::Corrupt, 1), "{refused}");
    assert_eq!(crate::entries::read_all(&log, false), 3 * EACH);
}

/// A spare with the last name: the next one would be named as nothing of a log's is.
#[test]
fn a_spare_may_have_any_number() {
    let disk = simulated(&written());
    disk.put_file("twal-spare-9999999999999999999", &[0; 8192]);
    let directory = Directory::open(disk.as_ref(), Path::new(DIR), false).unwrap();
    directory.scan().unwrap();
    let spare = directory.create_spare().unwrap();
    assert!(matches!(Named::parse(&spare.name), Named::Spare(_)), "{}", spare.name);
    let log = open(&disk, false).unwrap();
    log.roll().unwrap();
    log.close().unwrap();
}

/// Holds that were written as often as can be counted are damaged ones: they keep everything.
#[test]
fn holds_may_say_any_number() {
    let disk = simulated(&written());
    let log = open(&disk, false).unwrap();
    let name = HoldName::new("one").unwrap();
    log.hold_set("one", 3).unwrap();
    let log_id = log.log_id();
    log.close().unwrap();
    let mut holds = Holds::decode(&disk.content("twal-holds").unwrap(), &log_id).unwrap();
    for (number, seq, index) in [(MAX, 3, 0), (MAX / 2, 3, 0), (7, MAX, 0), (7, MAX, MAX), (7, 1, MAX)] {
        holds.number = number;
        holds.all[0] = twal::format::Hold { name, seq, index };
        let mut bytes = vec![0; BLOCK as usize];
        holds.encode(&log_id, &mut bytes);
        disk.put_file("twal-holds", &bytes);
        assert_eq!(Holds::decode(&bytes, &log_id).is_err(), number > 7, "{number}");
        let log = open(&disk, false).unwrap();
        let _ = (log.holds(), log.trim(2 * EACH), log.hold_set("two", 4), log.hold_set("one", 5), log.hold_drop("one"));
        log.close().unwrap();
    }
}

/// A follower's position.
#[test]
fn a_position_may_say_any_number() {
    let source_disk = simulated(&written());
    let log = open(&source_disk, true).unwrap();
    let disk = SimDisk::new(3);
    let dir = Path::new("copy");
    let sink = || Sink::open_on(disk.as_ref(), dir, &SinkOptions::default(), Clock::simulated());
    let mut first = sink().unwrap();
    let mut source = Source::open(&log, None).unwrap();
    while let Some(piece) = source.next_piece(Some(0)).unwrap() {
        first.write(&piece).unwrap();
    }
    first.close().unwrap();
    let whole = disk.content("twal-sink").unwrap();
    let slot = SinkSlot::newest(&whole, SINK_COPY_LEN).unwrap().unwrap();
    type Forge = fn(&mut SinkSlot);
    let forges: [(&str, Forge); 9] = [
        ("number", |slot| slot.number = MAX),
        ("half", |slot| slot.number = MAX / 2),
        ("index", |slot| slot.index = MAX),
        ("offset", |slot| slot.offset = MAX - 4095),
        ("last", |slot| slot.chain.last_seq = MAX),
        ("epoch", |slot| (slot.chain.epoch, slot.chain.frame_number) = (MAX, MAX)),
        ("first", |slot| slot.first_index = MAX),
        ("first behind the newest", |slot| slot.first_index = slot.index + 1),
        ("generation", |slot| slot.generation = MAX),
    ];
    for (name, forge) in forges {
        let mut forged = slot;
        forge(&mut forged);
        let mut bytes = vec![0; SINK_SLOTS * SINK_COPIES * SINK_COPY_LEN];
        bytes.chunks_mut(SINK_COPY_LEN).for_each(|copy| forged.encode(copy));
        disk.put_file("twal-sink", &bytes);
        let error = sink().err().unwrap_or_else(|| panic!("{name} is believed"));
        assert_eq!(error.code, Code::Corrupt, "{name}: {error}");
        let looked = Position::of_follower_on(disk.as_ref(), dir);
        if !matches!(name, "offset" | "epoch") {
            assert_eq!(looked.err().map(|error| error.code), Some(Code::Corrupt), "{name}");
        }
        let mut damaged = 0;
        let verified = twal::verify_on(disk.as_ref(), dir, &mut |_| {
            damaged += 1;
            true
        });
        assert!(verified.is_err() || damaged > 0, "{name}");
    }
    disk.put_file("twal-sink", &whole);
    sink().unwrap().close().unwrap();
}

/// What is promoted can be written on: not behind the last epoch.
#[test]
fn nobody_promotes_behind_the_last_epoch() {
    let mut files = written();
    let file = files.last_mut().unwrap();
    let (last, _) = *file.frames().last().unwrap();
    file.forge_frame(last, |frame| (frame.epoch, frame.frame_number) = (MAX, 1));
    let source_disk = simulated(&files);
    let log = open(&source_disk, true).unwrap();
    let disk = SimDisk::new(3);
    let mut sink =
        Sink::open_on(disk.as_ref(), Path::new("copy"), &SinkOptions::default(), Clock::simulated()).unwrap();
    let mut source = Source::open(&log, None).unwrap();
    while let Some(piece) = source.next_piece(Some(0)).unwrap() {
        sink.write(&piece).unwrap();
    }
    let refused = sink.promote().unwrap_err();
    assert_eq!((refused.code, refused.segment), (Code::Corrupt, 3), "{refused}");
    sink.close().unwrap();
}
