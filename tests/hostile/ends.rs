//! Goal: a log that opens for writing opens again, also behind its next segment: no forged end is written on that a later
//! open refuses.
//!
//! Method: the end of the newest segment is forged with checksums made right, in ways that no writer leaves; what an open
//! refuses, verify tells and a repair makes whole, and all that was in front of it stays.

use std::path::Path;

use twal::base::clock::Clock;
use twal::base::crc::crc32c;
use twal::commit::Threads;
use twal::disk::sim::SimDisk;
use twal::format::frame::{FirstSeal, Seal, FLAG_DATA, FLAG_MARK, FLAG_SEAL};
use twal::format::{FrameHeader, FRAME_HEADER_LEN};
use twal::{Code, Error, Log, Repair};

use crate::forged::{options, simulated, written, File, BLOCK, DIR, EACH};

/// The file's last frame, with its offset and identity.
fn last(file: &File) -> (u64, FrameHeader, u64) {
    let (at, _) = *file.frames().last().unwrap();
    let (frame, identity) = FrameHeader::decode(file.header().place(), at, &file.bytes[at as usize..]).unwrap();
    (at, frame, identity)
}

/// Puts a frame without records, and with this body, behind the last one.
fn push(file: &mut File, flags: u32, body: &[u8]) {
    let (at, before, identity) = last(file);
    let next = at + before.frame_len(BLOCK);
    let frame = FrameHeader {
        flags,
        body_len: body.len().try_into().unwrap(),
        body_crc: crc32c(body),
        first_seq: before.first_seq + before.seq_span,
        seq_span: 0,
        record_count: 0,
        durable_seq: before.first_seq + before.seq_span - 1,
        durable_end: next,
        frame_number: before.frame_number + 1,
        chain: identity,
        ..before
    };
    let place = file.header().place();
    let out = &mut file.bytes[next as usize..(next + BLOCK) as usize];
    out.fill(0);
    frame.encode(place, next, out);
    out[FRAME_HEADER_LEN..FRAME_HEADER_LEN + body.len()].copy_from_slice(body);
}

/// Marks up to `left` blocks in front of the segment's end.
fn fill_up(file: &mut File, left: u64) {
    let end = file.header().segment_size - left * BLOCK;
    while last(file).0 + BLOCK < end {
        push(file, FLAG_MARK, &[]);
    }
}

fn seal(file: &mut File, stands: bool, record_count: u64) {
    let frame_count = file.frames().len() as u64;
    let first_seal =
        stands.then_some(FirstSeal { identity: 9, offset: 9 * BLOCK, epoch: 1, epoch_id: [7; 16], frame_number: 9 });
    let seal = Seal { record_count, first_seq: file.header().first_seq, frame_count, first_seal };
    let mut body = vec![0; seal.body_len()];
    seal.encode(&mut body);
    push(file, FLAG_SEAL, &body);
}

/// The last record's frame stands for two numbers.
fn widen(file: &mut File) {
    let (at, _) = *file.frames().iter().rfind(|(_, frame)| frame.has(FLAG_DATA)).unwrap();
    file.bytes[(at + BLOCK) as usize..].fill(0);
    file.forge_frame(at, |frame| frame.seq_span += 1);
}

fn open(disk: &SimDisk) -> Result<Log, Error> {
    Log::open_on(disk, Path::new(DIR), &options(), Clock::simulated(), Threads::None)
}

/// Writes on, behind the next segment's begin; opens again.
fn go_on(disk: &SimDisk) -> Result<u64, Error> {
    let log = open(disk)?;
    log.roll()?;
    log.close()?;
    let log = open(disk).unwrap_or_else(|error| panic!("it was written on, and does not open any more: {error}"));
    Ok(crate::entries::read_all(&log, false))
}

#[test]
fn what_opens_once_opens_again() {
    type Forge = fn(&mut File);
    // How, what it is, how many records a repair leaves; None: it opens.
    let forges: [(&str, Forge, Option<u64>); 9] = [
        ("as it is", |_| (), None),
        ("marks up to where a mark and a seal fit", |file| fill_up(file, 2), None),
        ("marks up to where a seal fits", |file| fill_up(file, 1), None),
        ("marks to the end", |file| fill_up(file, 0), Some(3 * EACH)),
        ("a seal", |file| seal(file, false, EACH), None),
        ("a seal that stands for another one", |file| seal(file, true, EACH), Some(3 * EACH)),
        ("a seal that counts too many", |file| seal(file, false, EACH + 1), Some(3 * EACH)),
        ("a seal without a body", |file| push(file, FLAG_SEAL, &[]), Some(3 * EACH)),
        ("a number without a record", widen, Some(3 * EACH - 1)),
    ];
    for (name, forge, left) in forges {
        let mut files = written();
        forge(&mut files[2]);
        let disk = simulated(&files);
        let mut told = Vec::new();
        twal::verify_on(disk.as_ref(), Path::new(DIR), &mut |finding| {
            told.push(finding.segment);
            true
        })
        .unwrap();
        match (go_on(&disk.fork(1)), left) {
            (Ok(read), None) => assert_eq!((read, told), (3 * EACH, vec![]), "{name}"),
            (Err(error), Some(left)) => {
                assert_eq!((error.code, error.segment), (Code::Corrupt, 3), "{name}: {error}");
                assert!(!told.is_empty() && told.iter().all(|segment| *segment == 3), "{name}: {told:?}");
                let plan = Repair::plan_on(Box::new((*disk).clone()), Path::new(DIR), &options(), Clock::simulated());
                plan.unwrap().apply(Path::new("backup"), true).unwrap();
                assert_eq!(go_on(&disk).unwrap(), left, "{name}");
            }
            (went, _) => panic!("{name}: {went:?}"),
        }
    }
}
