//! Pieces that are not the next one, or not whole, or another's: refused, and nothing is changed.

use super::machine::*;
use twal::base::crc::crc32c;
use twal::disk::sim::{CallKind, Keep, Stop};
use twal::format::frame::{FirstSeal, Seal, FLAG_SEAL};
use twal::format::{FrameHeader, SegmentHeader, FRAME_HEADER_LEN};
use twal::{Code, Options, Position, Sink, Source};

/// A copy half-way, and what comes next, behind and in front of it.
fn half_way() -> (Machine, Machine, Sink, Vec<Kept>, usize) {
    let (source, copy) = (Machine::new(1), Machine::new(2));
    let log = varied(&source);
    let all = pieces(&log, None);
    let mut sink = copy.sink().unwrap();
    let at = all.len() / 2;
    all[..at].iter().for_each(|piece| sink.write(&piece.piece()).unwrap());
    (source, copy, sink, all, at)
}

fn content(machine: &Machine) -> Vec<(String, Option<Vec<u8>>)> {
    machine.disk.names().into_iter().map(|name| (name.clone(), machine.disk.content(&name))).collect()
}

/// The checksum of the piece as it is, so that something else has to see what is wrong with it.
fn made_right(mut kept: Kept) -> Kept {
    kept.head.crc = kept.piece().checksum();
    kept
}

/// Which of them are bytes behind a seal: those have no checksums but the pieces'.
fn behind_seals(all: &[Kept]) -> Vec<bool> {
    let mut sealed = false;
    let mut behind = Vec::new();
    for kept in all {
        sealed &= kept.head.offset != 0;
        behind.push(sealed);
        let last = kept.data.len().saturating_sub(BLOCK as usize);
        let is_seal = kept.data[last..].starts_with(b"TWAF") && kept.data[last + 36] == 4;
        sealed |= kept.head.offset != 0 && is_seal;
    }
    behind
}

#[test]
fn only_the_next_piece_is_taken() {
    let (_source, copy, mut sink, all, at) = half_way();
    let before = content(&copy);
    for (number, piece) in all.iter().enumerate().filter(|(number, _)| *number != at) {
        let expected = if number < at { Code::Exists } else { Code::NotFound };
        let error = sink.write(&piece.piece()).unwrap_err();
        assert_eq!(error.code, expected, "{number} of {at}: {error}");
        assert_eq!((error.segment, error.offset), (piece.head.index, piece.head.offset));
    }
    assert!(content(&copy) == before, "something was written");
    all[at..].iter().for_each(|piece| sink.write(&piece.piece()).unwrap());
}

#[test]
fn every_wrong_field_is_refused() {
    type Change = fn(&mut Kept);
    let changes: [(&str, Change, Code); 13] = [
        ("log", |kept| kept.head.log_id[3] ^= 1, Code::State),
        ("history", |kept| kept.head.history_id[3] ^= 1, Code::State),
        ("salt", |kept| kept.head.salt[3] ^= 1, Code::State),
        ("generation", |kept| kept.head.generation += 1, Code::State),
        ("index", |kept| kept.head.index += 1, Code::NotFound),
        ("index", |kept| kept.head.index -= 1, Code::Exists),
        ("offset", |kept| kept.head.offset += u64::from(BLOCK), Code::NotFound),
        ("offset", |kept| kept.head.offset = kept.head.offset.saturating_sub(1), Code::Exists),
        ("zeros", |kept| kept.head.zeros += u64::from(BLOCK), Code::Corrupt),
        ("first_seq", |kept| kept.head.first_seq += 1, Code::Corrupt),
        ("last_seq", |kept| kept.head.last_seq += 1, Code::Corrupt),
        ("crc", |kept| kept.head.crc ^= 1, Code::Corrupt),
        ("data", |kept| kept.data.clear(), Code::Corrupt),
    ];
    let (_source, copy, mut sink, all, start) = half_way();
    let behind = behind_seals(&all);
    let mut kinds = [0; 3];
    for (kept, behind) in all.iter().zip(behind).skip(start) {
        let first = kept.head.offset == 0;
        kinds[if first { 0 } else { 1 + usize::from(behind) }] += 1;
        let before = content(&copy);
        for (what, change, code) in &changes {
            let mut wrong = kept.clone();
            change(&mut wrong);
            if *what != "crc" {
                wrong = made_right(wrong);
            }
            let expected = match *what {
                // There is no lower one.
                "offset" if first && *code == Code::Exists => continue,
                // More zeros, or fewer bytes, are as good behind a seal.
                "zeros" | "data" if behind => continue,
                // Of a segment that is only beginning there is no other file.
                "salt" | "generation" if first => Code::Corrupt,
                _ => *code,
            };
            let error = sink.write(&wrong.piece()).unwrap_err();
            assert_eq!(error.code, expected, "{what} at {}/{}: {error}", kept.head.index, kept.head.offset);
        }
        assert!(content(&copy) == before, "something was written");
        sink.write(&kept.piece()).unwrap();
    }
    assert!(kinds.iter().all(|count| *count > 0), "{kinds:?}");
}

/// A sink that follows nothing yet has only the piece's word for whose it is: a flipped bit there is damage, and no
/// other log or history to follow for ever.
#[test]
fn the_first_piece_says_whose_it_is_under_its_checksum() {
    let (source, copy) = (Machine::new(1), Machine::new(2));
    let first = &pieces(&varied(&source), None)[0];
    let mut sink = copy.sink().unwrap();
    for byte in 0..16 {
        for id in 0..3 {
            let mut wrong = first.clone();
            [&mut wrong.head.log_id, &mut wrong.head.history_id, &mut wrong.head.salt][id][byte] ^= 4;
            assert_eq!(code(sink.write(&wrong.piece())), Some(Code::Corrupt), "id {id}, byte {byte}");
        }
    }
    assert_eq!(sink.position(), Position::default());
    sink.write(&first.piece()).unwrap();
}

/// With a checksum of the piece that was made right: frames and headers have their own.
#[test]
fn a_flipped_bit_anywhere_is_refused() {
    let (_source, copy, mut sink, all, at) = half_way();
    let behind = behind_seals(&all);
    for (kept, behind) in all.iter().zip(behind).skip(at) {
        let before = content(&copy);
        // Padding has no checksum but the piece's; the first bytes of a block are no padding.
        for byte in (0..kept.data.len()).filter(|byte| byte % 512 < 8) {
            let mut wrong = kept.clone();
            wrong.data[byte] ^= 1 << (byte % 7);
            assert_eq!(code(sink.write(&wrong.piece())), Some(Code::Corrupt), "byte {byte}");
            if !behind {
                let refused = code(sink.write(&made_right(wrong).piece()));
                assert!(matches!(refused, Some(Code::Corrupt | Code::Version)), "byte {byte}: {refused:?}");
            }
        }
        for len in (0..kept.data.len()).filter(|len| len % 512 == 0 || len % 97 == 0) {
            let mut wrong = kept.clone();
            wrong.data.truncate(len);
            if !behind && (len == 0 || len % 512 != 0 || kept.head.offset == 0) {
                assert_eq!(code(sink.write(&made_right(wrong).piece())), Some(Code::Corrupt), "{len} bytes");
            } else {
                assert_eq!(code(sink.write(&wrong.piece())), Some(Code::Corrupt), "{len} bytes");
            }
        }
        assert!(content(&copy) == before, "something was written");
        sink.write(&kept.piece()).unwrap();
    }
}

#[test]
fn two_frames_in_the_wrong_order_are_refused() {
    let (source, copy) = (Machine::new(1), Machine::new(2));
    let log = source.open().unwrap();
    append_many(&log, 2);
    let mut all = pieces(&log, None);
    let frames = all.pop().unwrap();
    let mut sink = copy.sink().unwrap();
    all.iter().for_each(|piece| sink.write(&piece.piece()).unwrap());
    let block = BLOCK as usize;
    // The mark of the opening and the first frame.
    let mut wrong = frames.clone();
    wrong.data[..2 * block].rotate_left(block);
    assert_eq!(code(sink.write(&made_right(wrong).piece())), Some(Code::Corrupt));
    sink.write(&frames.piece()).unwrap();
}

/// Only a segment that was compacted ends in a seal that stands for another one.
#[test]
fn a_seal_that_stands_for_another_one_is_refused() {
    let (source, copy) = (Machine::new(1), Machine::new(2));
    let all = pieces(&varied(&source), None);
    let mut sink = copy.sink().unwrap();
    let first_seal =
        Some(FirstSeal { identity: 9, offset: u64::from(BLOCK), epoch: 1, epoch_id: [7; 16], frame_number: 9 });
    let (mut header, mut forged) = (None, 0);
    for kept in &all {
        if kept.head.offset == 0 {
            header = Some(SegmentHeader::decode(&kept.data, false).unwrap());
        }
        let header = header.expect("a segment begins with its header");
        let at = kept.data.len().saturating_sub(BLOCK as usize);
        let offset = kept.head.offset + at as u64;
        let frame =
            FrameHeader::decode(header.place(), offset, &kept.data[at..]).filter(|(frame, _)| frame.has(FLAG_SEAL));
        if let Some((frame, _)) = frame.filter(|_| !header.is_compacted()) {
            let body = &kept.data[at + FRAME_HEADER_LEN..][..frame.body_len as usize];
            let seal = Seal { first_seal, ..Seal::decode(body).unwrap() };
            let mut body = vec![0; seal.body_len()];
            seal.encode(&mut body);
            let frame = FrameHeader { body_len: body.len() as u32, body_crc: crc32c(&body), ..frame };
            let mut wrong = kept.clone();
            frame.encode(header.place(), offset, &mut wrong.data[at..]);
            wrong.data[at + FRAME_HEADER_LEN..][..body.len()].copy_from_slice(&body);
            assert_eq!(code(sink.write(&made_right(wrong).piece())), Some(Code::Corrupt));
            forged += 1;
        }
        sink.write(&kept.piece()).unwrap();
    }
    assert!(forged > 0);
}

/// Two logs, two directories, and every mix-up of them.
#[test]
fn foreign_logs_and_directories_are_refused() {
    let (one, other, copy) = (Machine::new(1), Machine::new(2), Machine::new(3));
    let (log, foreign) = (one.open().unwrap(), other.open().unwrap());
    append_many(&log, 5);
    append_many(&foreign, 5);
    let mut sink = copy.sink().unwrap();
    assert_eq!(code(copy.sink()), Some(Code::Locked));
    let first = pieces(&log, None);
    assert_eq!(code(sink.write(&first[1].piece())), Some(Code::NotFound), "it begins with a header");
    ship(&log, &mut sink);
    let here = sink.position();
    let wrong = pieces(&foreign, None);
    for piece in &wrong {
        let error = sink.write(&piece.piece()).unwrap_err();
        assert_eq!(error.code, Code::State);
        let [ours, theirs] = [log.log_id(), foreign.log_id()].map(|id| format!("{:02x}{:02x}", id[0], id[1]));
        assert!(error.text.contains(&ours) && error.text.contains(&theirs), "{error}");
    }
    assert_eq!(code(Source::open(&foreign, Some(&here))), Some(Code::State));
    sink.close().unwrap();
    // A follower's directory is no log to be written, and a log's no follower's.
    assert_eq!(code(copy.open()), Some(Code::State));
    assert_eq!(copy.open_to_read().unwrap().last_seq(), here.last_seq);
    assert_eq!(copy.verify(), [], "but it can be read to its end");
    let plan = twal::Repair::plan_on(
        Box::new((*copy.disk).clone()),
        std::path::Path::new(LOG),
        &copy.options,
        copy.clock.clone(),
    );
    assert_eq!(code(plan), Some(Code::State));
    // Nor has a follower holds: those of a copied file would be the promoted log's for ever.
    copy.disk.put_file("twal-holds", b"whoever's");
    assert_eq!(code(copy.sink()), Some(Code::State));
    assert_eq!(copy.verify(), [twal::FindingKind::Name]);
    assert!(copy.disk.names().contains(&"twal-sink".to_owned()));
    copy.disk.remove_file("twal-holds");
    assert_eq!(copy.sink().unwrap().position(), here);
    log.close().unwrap();
    assert_eq!(code(one.sink()), Some(Code::State));
    assert_eq!(copy.sink().unwrap().position(), here);
}

/// Positions that no follower of this log can have.
#[test]
fn positions_that_do_not_fit_are_refused() {
    let source = Machine::new(1);
    let log = source.open().unwrap();
    append_many(&log, 100);
    let copy = Machine::new(2);
    let mut sink = copy.sink().unwrap();
    ship(&log, &mut sink);
    let here = sink.position();
    assert!(Source::open(&log, Some(&here)).is_ok());
    for wrong in [
        Position { identity: here.identity ^ 1, ..here },
        Position { salt: [9; 16], ..here },
        Position { offset: here.offset + u64::from(BLOCK), ..here },
        Position { offset: here.offset - u64::from(BLOCK), ..here },
        Position { offset: 0, ..here },
        Position { offset: u64::MAX, ..here },
        Position { index: here.index + 1, ..here },
        Position { index: u64::MAX, complete: true, ..here },
        Position { history_id: [9; 16], ..here },
        Position { log_id: [9; 16], ..here },
    ] {
        assert_eq!(code(Source::open(&log, Some(&wrong))), Some(Code::State), "{wrong:?}");
    }
    // A log that was put back to an earlier state has less than its follower.
    let old = source.crashed(1, Stop::Kill, Keep::Everything);
    append_many(&log, 10);
    ship(&log, &mut sink);
    let old = old.open().unwrap();
    assert_eq!(code(Source::open(&old, Some(&sink.position()))), Some(Code::State));
}

/// Two logs that were one: the same ids and files, other records from some frame on.  What a backup that was put back
/// and written on would ship.
#[test]
fn a_sibling_s_pieces_do_not_continue() {
    let one = Machine::new(1);
    append_many(&one.open().unwrap(), 20);
    let other = one.crashed(2, Stop::PowerCut, Keep::Everything);
    one.disk.power_cut();
    let [mine, theirs] = [&one, &other].map(|machine| {
        let log = machine.open().unwrap();
        let mut source = Source::open(&log, None).unwrap();
        let mut all = Vec::new();
        for _ in 0..20 {
            append_many(&log, 5);
            while let Some(piece) = source.next_piece(Some(0)).unwrap() {
                all.push(Kept::of(&piece));
            }
        }
        all
    });
    let copy = Machine::new(3);
    let mut sink = copy.sink().unwrap();
    let (mut frames, mut headers) = (0, 0);
    for (at, (mine, theirs)) in mine.iter().zip(&theirs).enumerate() {
        assert_eq!((mine.head.index, mine.head.offset), (theirs.head.index, theirs.head.offset));
        // What both have in common they may both ship; and behind a seal nobody knows whose bytes it are.
        let differs = at > 1 && mine.head.zeros == 0;
        if differs {
            let before = content(&copy);
            let expected =
                if mine.head.salt == theirs.head.salt || mine.head.offset == 0 { Code::Corrupt } else { Code::State };
            assert_eq!(code(sink.write(&theirs.piece())), Some(expected), "piece {at}");
            assert!(content(&copy) == before);
            (frames, headers) = match (mine.head.offset, expected) {
                (0, _) => (frames, headers + 1),
                (_, Code::Corrupt) => (frames + 1, headers),
                _ => (frames, headers),
            };
        }
        sink.write(&mine.piece()).unwrap();
    }
    assert!(frames > 5 && headers > 0, "{frames} and {headers}");
    sink.sync().unwrap();
    let there = other.open_to_read().unwrap();
    assert_eq!(code(Source::open(&there, Some(&sink.position()))), Some(Code::State));
}

/// Segments of a terabyte, of which a few blocks were written: a follower that comes back looks at no more than those.
#[test]
fn what_a_large_segment_never_had_is_not_read() {
    let (source, copy) = (Machine::new(1), Machine::new(2));
    let source = Machine { options: Options { segment_size: 1 << 40, ..source.options.clone() }, ..source };
    let log = source.open().unwrap();
    append_many(&log, 20);
    let mut sink = copy.sink().unwrap();
    ship(&log, &mut sink);
    let position = sink.position();
    sink.close().unwrap();
    let reads = || copy.disk.counts().of(CallKind::Read);
    let before = reads();
    let mut sink = copy.sink().unwrap();
    assert!(reads() - before < 100, "{} reads", reads() - before);
    assert_eq!(sink.position(), position);
    append_many(&log, 20);
    ship(&log, &mut sink);
    assert_eq!(sink.position().last_seq, log.durable_seq());
}
