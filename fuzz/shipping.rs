//! What a follower is sent, and the files that are lists of their own: holds, and a follower's position.

use std::path::Path;
use std::sync::OnceLock;

use twal::base::clock::Clock;
use twal::commit::Threads;
use twal::disk::sim::SimDisk;
use twal::format::holds::{HOLDS_FILE_LEN, HOLDS_HEADER_LEN, HOLD_LEN};
use twal::format::sink::{SINK_COPIES, SINK_COPY_LEN, SINK_LEN, SINK_SLOTS};
use twal::format::{Holds, Place, SinkSlot};
use twal::{Code, Log, Options, Piece, Sink, SinkOptions, Source};

use super::{from_text, make_frame_right, put_crc, read_all, WRITTEN};

const LOG_ID: [u8; 16] = [7; 16];

/// Holds that are believed are ones that could have been written.
pub fn holds(bytes: &[u8]) {
    let mut right = bytes.to_vec();
    right.resize(bytes.len().max(HOLDS_FILE_LEN), 0);
    right[..8].copy_from_slice(b"TWALhold");
    right[16..32].copy_from_slice(&LOG_ID);
    let count = u32::from_le_bytes(right[12..16].try_into().expect("4 bytes")) as usize;
    let end = HOLDS_HEADER_LEN.saturating_add(count.saturating_mul(HOLD_LEN)).min(right.len());
    put_crc(&mut right[..end], HOLDS_HEADER_LEN - 4, &[]);
    for bytes in [bytes, &right] {
        if let Ok(holds) = Holds::decode(bytes, &LOG_ID) {
            let mut again = vec![0; HOLDS_FILE_LEN];
            holds.encode(&LOG_ID, &mut again);
            assert_eq!(Holds::decode(&again, &LOG_ID).expect("it was written"), holds);
        }
    }
}

/// Pieces of a committed log.
fn pieces() -> &'static [(Piece<'static>, Vec<u8>)] {
    static PIECES: OnceLock<Vec<(Piece<'static>, Vec<u8>)>> = OnceLock::new();
    PIECES.get_or_init(|| {
        let (disk, dir) = (SimDisk::new(1), Path::new("log"));
        disk.set_align(512, 512);
        drop(twal::disk::Disk::open_dir(disk.as_ref(), dir, true));
        WRITTEN.iter().for_each(|(name, text)| disk.put_file(name, &from_text(text)));
        let options = Options { read_only: true, ..Options::default() };
        let log = Log::open_on(disk.as_ref(), dir, &options, Clock::simulated(), Threads::None).expect("a log");
        let mut source = Source::open(&log, None).expect("its source");
        let mut all = Vec::new();
        while let Some(piece) = source.next_piece(Some(0)).expect("a whole log") {
            all.push((Piece { data: &[], ..piece }, piece.data.to_vec()));
        }
        assert!(all.len() > 5);
        all
    })
}

/// A follower is sent the committed log, and between its pieces others, changed as the bytes say, also with all
/// checksums made right.  What it refuses changes nothing, and what it has said is durable is there when it comes back.
pub fn shipping(bytes: &[u8]) {
    let disk = SimDisk::new(2);
    disk.set_align(512, 512);
    let dir = Path::new("copy");
    let open = || Sink::open_on(disk.as_ref(), dir, &SinkOptions::default(), Clock::simulated());
    let mut sink = open().expect("an empty directory");
    let mut next = 0;
    for edit in bytes.chunks_exact(8).take(32) {
        for (head, data) in pieces().iter().skip(next).take(usize::from(edit[7] % 4)) {
            if sink.write(&Piece { data, ..*head }).is_ok() {
                next += 1;
            }
        }
        if edit[0] % 16 == 15 {
            sink.close().expect("a sound disk");
            let Some(mut slots) = disk.content("twal-sink") else { return };
            change_slots(&mut slots, edit);
            disk.put_file("twal-sink", &slots);
            sink = match open() {
                Ok(sink) => sink,
                Err(error) => return assert!(matches!(error.code, Code::Corrupt | Code::Version | Code::State)),
            };
            continue;
        }
        let before = sink.position();
        let Some((head, data)) = pieces().get((next + usize::from(edit[1] % 3)) % pieces().len()) else { return };
        let (head, data) = changed(*head, data.clone(), edit);
        if let Err(error) = sink.write(&Piece { data: &data, ..head }) {
            assert!(!matches!(error.code, Code::Io | Code::Poisoned | Code::Panic), "{error}");
            assert_eq!(sink.position(), before);
        }
    }
    if sink.sync().is_ok() {
        let said = sink.position();
        sink.close().expect("a sound disk");
        sink = open().expect("what it wrote itself");
        assert_eq!(sink.position(), said);
    }
    if sink.promote().is_ok() {
        sink.close().expect("a sound disk");
        let open = |read_only| {
            let options = Options { read_only, ..Options::default() };
            Log::open_on(disk.as_ref(), dir, &options, Clock::simulated(), Threads::None)
        };
        for log in [open(true), open(false)].into_iter().flatten() {
            let _ = (read_all(&log, false), read_all(&log, true));
        }
    }
}

/// One piece that is another.
fn changed(mut head: Piece<'static>, mut data: Vec<u8>, edit: &[u8]) -> (Piece<'static>, Vec<u8>) {
    let [op, _, at, field, value @ ..] = edit else { return (head, data) };
    let number = u64::from(u32::from_le_bytes([value[0], value[1], value[2], 0]));
    let base = usize::from(*at) * 512 % data.len().max(1) / 512 * 512;
    let place = Place::new(&head.log_id, &head.salt);
    match op % 16 {
        0 => {
            let fields = [
                &mut head.index,
                &mut head.generation,
                &mut head.offset,
                &mut head.zeros,
                &mut head.first_seq,
                &mut head.last_seq,
                &mut head.archived,
            ];
            let len = fields.len();
            *fields.into_iter().nth(usize::from(*field) % len).expect("there are so many") = number;
        }
        1 => [&mut head.log_id, &mut head.history_id, &mut head.salt][usize::from(*field) % 3][3] ^= value[0],
        2 => data.truncate(base + usize::from(value[0])),
        3 => data.extend_from_within(base..),
        4 => head.zeros = u64::MAX - number,
        // A field of the segment's header, or of a frame's, with its checksum made right; also the body's.
        5..=7 if head.offset == 0 && data.len() >= 512 => {
            let at = usize::from(*field) % 50 * 4;
            data[at..at + 4].copy_from_slice(&[value[0], value[1], value[2], 0]);
            put_crc(&mut data[..512], 44, &[]);
        }
        5..=10 if data.len() >= base + 128 => {
            let at = base + usize::from(*field) % 48 * 4;
            if let Some(four) = data.get_mut(at..at + 4) {
                four.copy_from_slice(&[value[0], value[1], value[2], 0]);
            }
            make_frame_right(place, head.offset + base as u64, &mut data[base..], op % 2 == 0);
        }
        _ => {
            if let Some(byte) = data.get_mut(base + usize::from(*field)) {
                *byte ^= value[0];
            }
        }
    }
    // Most lies come with a checksum that fits.
    if op & 0x80 == 0 {
        head.crc = Piece { data: &data, ..head }.checksum();
    }
    (head, data)
}

/// A follower's position: a field of one copy, or of all, with the checksum made right or not.
fn change_slots(slots: &mut [u8], edit: &[u8]) {
    let [_, which, at, all, value @ ..] = edit else { return };
    let copy_len = (slots.len() / (SINK_SLOTS * SINK_COPIES)).max(SINK_COPY_LEN);
    let which = usize::from(*which) % (SINK_SLOTS * SINK_COPIES);
    for (number, copy) in slots.chunks_exact_mut(copy_len).enumerate() {
        if number != which && all % 2 == 0 {
            continue;
        }
        let at = usize::from(*at) % (SINK_LEN / 4) * 4;
        copy[at..at + 4].copy_from_slice(&value[..4]);
        if all & 2 == 0 {
            put_crc(&mut copy[..SINK_LEN], 12, &[]);
        }
        if let Ok(Some(slot)) = SinkSlot::decode(copy) {
            let mut again = vec![0; SINK_COPY_LEN];
            slot.encode(&mut again);
            assert_eq!(SinkSlot::decode(&again).expect("this version").as_ref(), Some(&slot));
        }
    }
}
