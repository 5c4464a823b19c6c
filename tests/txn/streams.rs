//! Goal: what tombstones and purges drop is hidden from a reader that asks, and nothing else is ever.
//! Method: each pair of events on one stream against a rule written here; random histories, also from a
//! checkpoint in the middle, against a model that keeps every record; a log on the simulated disk, read
//! with and without the filter.

use std::path::Path;
use std::sync::Arc;

use twal::base::clock::Clock;
use twal::commit::Threads;
use twal::disk::sim::SimDisk;
use twal::format::RecordHeader;
use twal::txn::limits::STATE_BYTES_DEFAULT;
use twal::txn::snapshot::HEADER_LEN;
use twal::txn::{Event, Reason, Rebuild, Rules, StreamEvent, Table};
use twal::{Entry, Hidden, How, IterOptions, Log, Options};

use super::histories::{record, seeded};
use super::{applied, purge, saga, tombstone};

/// A table of these events, with the numbers from `from` on.
fn table(from: u64, events: &[Event]) -> Table {
    let mut table = Table::new();
    for (seq, event) in (from..).zip(events) {
        table.check(std::slice::from_ref(event), Rules::Strict, STATE_BYTES_DEFAULT).unwrap();
        table.apply(seq, event, Rules::Strict).unwrap();
        assert_eq!(table.checkpoint().state.len(), table.state_len());
    }
    table
}

#[test]
fn the_highest_tombstone_of_a_stream_stands() {
    for (first, second) in [(5, 9), (9, 5), (7, 7), (0, 3), (3, 0)] {
        let events = [tombstone(1, first, b"old"), tombstone(1, second, b"newer"), tombstone(2, 1, b"")];
        let table = table(20, &events);
        let stands = table.streams().tombstone(1).unwrap();
        assert_eq!(stands.below_seq, first.max(second));
        let expected: &[u8] = if second >= first { b"newer" } else { b"old" };
        assert_eq!(stands.name, expected, "{first}, then {second}");
        let all: Vec<_> = table.streams().tombstones().map(|(stream, one)| (stream, one.below_seq)).collect();
        assert_eq!(all, [(1, first.max(second)), (2, 1)]);
        assert_eq!(table.streams().tombstone(3), None);
    }
}

/// A purge says nothing any more when one behind it names a time as late as its own; else both stand.
#[test]
fn purges_of_a_stream_stand_until_a_later_one_says_all_that_they_say() {
    let standing = |times: &[i64]| {
        let events: Vec<_> = (0..).zip(times).map(|(tag, before)| purge(1, *before, tag, 10)).collect();
        let table = table(20, &events);
        let last = table.streams().purge(1).unwrap();
        assert_eq!((last.before, usize::from(last.tag)), (times[times.len() - 1], times.len() - 1), "the last one");
        table.streams().purges().map(|(stream, seq, one)| (stream, seq, one.before)).collect::<Vec<_>>()
    };
    assert_eq!(standing(&[-5, 9]), [(1, 21, 9)]);
    assert_eq!(standing(&[7, 7]), [(1, 21, 7)]);
    assert_eq!(standing(&[9, -5]), [(1, 20, 9), (1, 21, -5)]);
    assert_eq!(standing(&[i64::MAX, i64::MIN]), [(1, 20, i64::MAX), (1, 21, i64::MIN)]);
    assert_eq!(standing(&[9, 5, 3, 5]), [(1, 20, 9), (1, 23, 5)]);
    assert_eq!(standing(&[9, 5, 3, 4]), [(1, 20, 9), (1, 21, 5), (1, 23, 4)]);
    assert_eq!(standing(&[9, 5, 3, 9]), [(1, 23, 9)]);
}

#[test]
fn the_purges_of_a_stream_are_bounded() {
    let falling: Vec<_> = (0..64).map(|at| purge(1, -at, 0, 0)).collect();
    let mut table = table(1, &falling);
    let refused = table.check(&[purge(1, -64, 0, 0)], Rules::Strict, STATE_BYTES_DEFAULT).unwrap_err();
    assert_eq!(refused.reason, Reason::Purges);
    assert_eq!(twal::Error::from(refused).code, twal::Code::TooBig);
    let both = [purge(2, 0, 0, 0), purge(1, -64, 0, 0)];
    let refused = table.check(&both, Rules::Strict, STATE_BYTES_DEFAULT).unwrap_err();
    assert_eq!(refused.reason, Reason::Purges, "behind another, too");
    table.apply(65, &purge(1, -63, 0, 0), Rules::Strict).unwrap();
    table.apply(66, &purge(2, -64, 0, 0), Rules::Strict).unwrap();
    assert_eq!(Table::restore(&table.checkpoint()).as_ref(), Ok(&table));
    table.apply(67, &purge(1, 1, 0, 0), Rules::Strict).unwrap();
    assert_eq!(table.streams().purges().map(|(stream, seq, _)| (stream, seq)).collect::<Vec<_>>(), [(1, 67), (2, 66)]);
}

#[test]
fn the_last_applied_marker_of_a_stream_stands() {
    let table = table(3, &[applied(1, 5, 5), applied(2, 9, 9), applied(1, 4, 7)]);
    let marker = table.streams().applied_to(1).unwrap();
    assert_eq!((marker.epoch, marker.position), (4, 7), "the last, not the highest");
    assert_eq!(table.streams().applied().map(|(stream, seq, _)| (stream, seq)).collect::<Vec<_>>(), [(1, 5), (2, 4)]);
    assert_eq!(table.streams().applied_to(3), None);
    assert!(table.streams().hidden().is_empty(), "a marker drops nothing");
}

/// Streams have half of the state, at most; what only replaces is taken when that is full.
#[test]
fn the_state_is_bounded() {
    let mut table = table(1, &[tombstone(1, 1, b"name"), purge(1, 1, 0, 0), applied(1, 1, 1)]);
    let (half, full) = (table.state_len() - HEADER_LEN, table.state_len());
    let half_full = HEADER_LEN + 2 * half;
    let refused = |event: Event| table.check(&[event], Rules::Strict, half_full).map_err(|refusal| refusal.reason);
    for event in [tombstone(2, 1, b""), purge(2, 1, 0, 0), applied(2, 1, 1), tombstone(1, 2, b"names")] {
        assert_eq!(refused(event), Err(Reason::Streams));
    }
    assert_eq!(refused(purge(1, 0, 0, 0)), Err(Reason::Streams), "both would stand");
    let bigger = HEADER_LEN + 2 * (half + 32);
    assert_eq!(table.check(&[applied(2, 1, 1)], Rules::Strict, bigger), Ok(()));
    assert_eq!(table.check(&saga(1, "N"), Rules::Strict, half_full), Ok(()), "operations have the rest");
    let mut filled = table.clone();
    for id in 1..=8 {
        filled.apply(20 + id, &saga(id, "N")[0], Rules::Strict).unwrap();
    }
    let fills = filled.check(&[applied(2, 1, 1)], Rules::Strict, filled.state_len()).unwrap_err();
    assert_eq!(fills.reason, Reason::Full, "operations have more than their half");
    let replacing = [tombstone(1, 9, b"same"), tombstone(1, 9, b""), purge(1, 9, 9, 9), applied(1, 9, 9)];
    assert_eq!(replacing.iter().map(|event| refused(event.clone())).collect::<Vec<_>>(), [Ok(()); 4]);
    assert_eq!(table.check(&[replacing.as_slice(), &saga(1, "N")].concat(), Rules::Strict, half_full), Ok(()));
    let text = twal::Error::from(table.check(&[applied(2, 1, 1)], Rules::Strict, half_full).unwrap_err());
    assert_eq!(text.to_string(), "applied is refused: what is said of streams takes all of its half of the room");
    assert_eq!(text.code, twal::Code::TooBig, "it does not get better by itself");
    for (seq, event) in (10..).zip(&replacing) {
        table.apply(seq, event, Rules::Strict).unwrap();
        assert_eq!(table.checkpoint().state.len(), table.state_len());
    }
    assert_eq!(table.state_len(), full - 4, "the name went");
    let long = tombstone(1, 9, &[b'n'; 256]);
    assert_eq!(table.check(std::slice::from_ref(&long), Rules::Strict, full * 9).unwrap_err().reason, Reason::Limit);
    assert_eq!(table.apply(99, &long, Rules::Strict).unwrap_err().reason, Reason::Limit);
}

/// What a random history holds: a record of the program's, or an event.
enum Happened {
    Record(RecordHeader),
    Event(u64, Event),
}

/// Whether the events hide a record, read off all of them: no table, no filter.
fn is_hidden(history: &[Happened], record: &RecordHeader) -> bool {
    let of_stream = |happened: &Happened| match happened {
        Happened::Event(seq, Event::Stream(stream, event)) if *stream == record.stream => Some((*seq, event.clone())),
        _ => None,
    };
    let events: Vec<_> = history.iter().filter_map(of_stream).collect();
    events.iter().any(|(seq, event)| match event {
        StreamEvent::Tombstone(tombstone) => record.seq < tombstone.below_seq && record.seq < *seq,
        StreamEvent::Purge(purge) => record.timestamp < purge.before && record.seq < *seq,
        StreamEvent::Applied(_) => false,
    })
}

#[test]
fn a_rebuilt_filter_hides_what_the_events_say() {
    let mut rng = seeded();
    let (mut hidden_ones, mut shown) = (0, 0);
    for round in 0..200 {
        let mut history: Vec<Happened> = Vec::new();
        let (mut whole, mut cut) = (Rebuild::new(Rules::Strict), Rebuild::new(Rules::Strict));
        let middle = 1 + rng.below(60);
        for seq in 1..=60 {
            let (stream, number) = (rng.below(3), rng.below(80));
            let time = i64::try_from(number).unwrap() - 40;
            let event = match rng.below(8) {
                0 => tombstone(stream, number, b"gone"),
                1 => purge(stream, time, 0, 0),
                2 => applied(stream, number, seq),
                3 if seq == middle => Event::Checkpoint(whole.table().checkpoint()),
                _ => {
                    history.push(Happened::Record(RecordHeader {
                        kind: 0x0100,
                        stream,
                        seq,
                        timestamp: time,
                        ..RecordHeader::default()
                    }));
                    continue;
                }
            };
            record(&mut whole, seq, &event);
            if seq >= middle && matches!(event, Event::Checkpoint(_)) || cut.checkpoints > 0 {
                record(&mut cut, seq, &event);
                assert_eq!(cut.table(), whole.table(), "round {round}, seq {seq}");
            }
            assert_eq!(Table::restore(&whole.table().checkpoint()).as_ref(), Ok(whole.table()));
            history.push(Happened::Event(seq, event));
        }
        let hidden = whole.table().streams().hidden();
        for happened in &history {
            let Happened::Record(record) = happened else { continue };
            let expected = is_hidden(&history, record);
            assert_eq!(hidden.hides(record), expected, "round {round}, {record:?}");
            *if expected { &mut hidden_ones } else { &mut shown } += 1;
        }
    }
    assert!(hidden_ones > 500 && shown > 500, "{hidden_ones} hidden, {shown} shown");
}

// ---- a reader that hides

/// Number, and whether the batch goes on, of what a reader delivers.
fn read(log: &Log, options: IterOptions) -> Vec<(u64, bool)> {
    let mut iter = log.iter_with(options).unwrap();
    let mut found = Vec::new();
    while let Some(record) = iter.next_record().unwrap() {
        assert_eq!(record.data, record.seq.to_le_bytes(), "the record's own payload");
        found.push((record.seq, record.batch_continues));
    }
    found
}

#[test]
fn a_reader_hides_when_asked_and_batches_end_where_they_end() {
    let disk = SimDisk::new(1);
    let (path, options) = (Path::new("log"), Options { segment_size: 64 << 10, ..Options::default() });
    let log = Log::open_on(disk.as_ref(), path, &options, Clock::simulated(), Threads::None).unwrap();
    // Batches of three, of streams 1 2 1, 2 1 2, …; of each fifth number one of twal's own types; a roll between.
    let stream = |seq: u64| 1 + (seq - 1) % 2;
    let kind = |seq: u64| if seq.is_multiple_of(5) { 0x20 } else { 0x0100 };
    for first in (1..=30).step_by(3) {
        let data: Vec<_> = (first..first + 3).map(|seq: u64| (seq, seq.to_le_bytes())).collect();
        let entries = data.iter().map(|(seq, data)| Entry {
            data,
            stream: stream(*seq),
            timestamp: Some(-i64::try_from(*seq).unwrap()),
            kind: kind(*seq),
            required: false,
        });
        assert_eq!(log.append_batch(entries, How::default()).unwrap(), first);
        if first == 13 {
            log.roll().unwrap();
        }
    }
    let all: Vec<_> = (1..=30).map(|seq: u64| (seq, !seq.is_multiple_of(3))).collect();
    assert_eq!(read(&log, IterOptions::default()), all);
    let none = IterOptions { hidden: Some(Arc::new(Hidden::new())), ..IterOptions::default() };
    assert_eq!(read(&log, none), all);

    let mut hidden = Hidden::new();
    hidden.hide_below(1, 20);
    hidden.hide_before(2, -40, 40);
    hidden.hide_before(2, -24, 40); // older: of higher numbers here
    let hidden = Arc::new(hidden);
    let is_shown = |seq: u64| kind(seq) == 0x20 || if stream(seq) == 1 { seq >= 20 } else { seq <= 24 };
    let shown: Vec<u64> = (1..=30).filter(|seq| is_shown(*seq)).collect();
    let ends = |seq: u64| !(seq + 1..=seq.next_multiple_of(3)).any(is_shown);
    let expected: Vec<_> = shown.iter().map(|seq| (*seq, !ends(*seq))).collect();
    assert!(expected.iter().any(|(seq, goes_on)| !goes_on && !seq.is_multiple_of(3)), "a batch lost its end");
    for from_seq in 1..=30 {
        let options = IterOptions { from_seq, hidden: Some(Arc::clone(&hidden)), ..IterOptions::default() };
        let expected: Vec<_> = expected.iter().copied().filter(|(seq, _)| *seq >= from_seq).collect();
        assert_eq!(read(&log, options.clone()), expected, "from {from_seq}");
        assert_eq!(read(&log, IterOptions { skip_damaged: true, ..options }), expected);
    }
    // What is appended behind is new, whichever filter.
    let seq = log.append(
        &Entry { data: &31u64.to_le_bytes(), stream: 1, timestamp: None, kind: 0x0100, required: false },
        How::default(),
    );
    let options = IterOptions { from_seq: 31, hidden: Some(hidden), ..IterOptions::default() };
    assert_eq!((seq, read(&log, options)), (Ok(31), vec![(31, false)]));
    log.close().unwrap();
}
