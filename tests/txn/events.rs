//! Goal: the bytes of events and checkpoints stay what docs/FORMAT.md says; hostile bytes are refused.

use std::collections::BTreeMap;

use twal::txn::event::{operation_of, CHECKPOINT, IMPORT_EVENTS, SAGA_EVENTS, TRANSACTION_EVENTS};
use twal::txn::snapshot::{BadSnapshot, HEADER_LEN};
use twal::txn::streams::STREAM_EVENTS;
use twal::txn::{BadEvent, Checkpoint, Event, Rules, SagaEvent, Step, Table};

use super::{applied, name, purge, saga, tombstone, transaction};

const SAGA_WORDS: &str = "N +3:1,2 E s1 f1 C u1 x1 D U A";
const TRANSACTION_WORDS: &str = "N +1 P v1 C D A B R S";

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// One of each type, with distinct numbers.
fn one_of_each() -> Vec<Event> {
    let id = 0x0102_0304_0506_0708;
    let mut events = [saga(id, SAGA_WORDS), transaction(id, TRANSACTION_WORDS)].concat();
    events.extend([tombstone(id, 0x1122, b"users"), purge(id, -2, 9, 0x3344), applied(id, 0x55, 0x66)]);
    events.extend([Event::ImportStarted { saga_highest: id, transaction_highest: 0x77 }, Event::ImportEnded]);
    events.push(Event::ImportAbandoned { saga_highest: id, transaction_highest: 0x88 });
    events.push(Event::Checkpoint(table().checkpoint()));
    events
}

/// One operation in every state that is kept, and of each event of streams.
fn table() -> Table {
    let sagas = ["N +1 +2:1", "N +1 +2:1 E s1", "N +1 +2 +3 E s1 f3", "N +1 +2 +3 +4:1 E s1 f2 s3 C u1 x3"];
    let votes = "N +1 +2 P v1 v2";
    let transactions = ["N +1", "N +1 +2 P v2", votes, "N +1 +2 P n1", &format!("{votes} C"), &format!("{votes} C D")];
    let others = ["N +1 A", &format!("{votes} C D R R")];
    let sagas = (1..).zip(sagas).flat_map(|(id, words)| saga(id, words));
    let transactions = (1..).zip(transactions.into_iter().chain(others));
    let mut table = Table::new();
    let streams =
        [tombstone(1, 5, b"users"), tombstone(9, 6, b""), purge(5, -3, 4, 77), applied(3, 1, 2), applied(4, 3, 4)];
    let operations = sagas.chain(transactions.flat_map(|(id, words)| transaction(id, words)));
    for (seq, event) in (1..).zip(operations.chain(streams)) {
        table.apply(seq, &event, Rules::Strict).unwrap();
    }
    table
}

/// The rows of FORMAT.md's table of types: type, name, fields, bytes.
fn documented() -> Vec<Vec<String>> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/FORMAT.md");
    let text = std::fs::read_to_string(path).unwrap();
    let (_, rows) = text.split_once("\n| type | event | fields behind the id | bytes |\n").expect("the table of types");
    let rows = rows.lines().skip(1).take_while(|line| line.starts_with('|'));
    rows.map(|line| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()).collect()
}

#[test]
fn types_names_and_lengths_are_as_documented() {
    let events: BTreeMap<u16, Event> = one_of_each().into_iter().map(|event| (event.kind(), event)).collect();
    let rows = documented();
    let codes: Vec<_> = rows.iter().map(|row| u16::from_str_radix(&row[0][2..], 16).unwrap()).collect();
    let coded = SAGA_EVENTS.iter().chain(&TRANSACTION_EVENTS).chain(&STREAM_EVENTS).chain(&IMPORT_EVENTS);
    let coded = coded.map(|(code, _)| *code).chain([CHECKPOINT]);
    assert_eq!(codes, coded.collect::<Vec<_>>());
    assert_eq!(codes, events.keys().copied().collect::<Vec<_>>(), "this test has one of each");
    // What a reader goes on over although it is marked required.
    let known = (0..0x0100).filter(|kind| twal::format::record::is_known_kind(*kind));
    assert_eq!(known.collect::<Vec<_>>(), codes);
    let mut payload = Vec::new();
    for (code, row) in codes.iter().zip(&rows) {
        assert_eq!(events[code].name(), row[1]);
        assert_eq!(events[code].encode(&mut payload), *code);
        match row[3].strip_suffix(" and more") {
            None => assert_eq!(payload.len().to_string(), row[3], "{}", row[1]),
            Some(least) => assert!(payload.len() > least.parse().unwrap(), "{}", row[1]),
        }
        let width = |field: &str| match field.rsplit(' ').next() {
            Some("name") => 32,
            Some("u32") => 4,
            Some("u64" | "i64") => 8,
            Some("u8") => 1,
            _ => panic!("{field}"),
        };
        if !row[2].starts_with("see") {
            let fields: usize = row[2].split_terminator(", ").map(width).sum();
            assert_eq!(payload.len(), 8 + fields, "{}", row[1]);
        }
    }
}

/// Golden bytes: written down from FORMAT.md, not from the code.
#[test]
fn the_bytes_are_these() {
    let id = "0807060504030201";
    let [coordinator, node, shard] = [7, 8, 1].map(|number| hex(&name(number)));
    let expected = [
        format!("{id}{coordinator}"),
        format!("{id}0300000005020000000100000002000000756e646f"),
        id.to_owned(),
        format!("{id}01000000"),
        format!("{id}0100000063000000"),
        id.to_owned(),
        format!("{id}01000000"),
        format!("{id}0100000002000000"),
        id.to_owned(),
        id.to_owned(),
        id.to_owned(),
        format!("{id}{coordinator}"),
        format!("{id}{shard}{node}"),
        id.to_owned(),
        format!("{id}{shard}01"),
        id.to_owned(),
        id.to_owned(),
        id.to_owned(),
        id.to_owned(),
        id.to_owned(),
        id.to_owned(),
        format!("{id}22110000000000007573657273"),
        format!("{id}feffffffffffffff094433000000000000"),
        format!("{id}55000000000000006600000000000000"),
        format!("{id}7700000000000000"),
        String::new(),
        format!("{id}8800000000000000"),
    ];
    let mut payload = Vec::new();
    for (event, expected) in one_of_each().iter().zip(expected) {
        event.encode(&mut payload);
        assert_eq!(hex(&payload), expected, "{}", event.name());
    }
    let mut table = Table::new();
    let streams = vec![tombstone(7, 99, b"abc"), purge(6, -2, 3, 5), applied(8, 1, 2)];
    for (seq, event) in (1..).zip([saga(2, "N +1 +3:1 E f1"), transaction(4, "N +1 P n1"), streams].concat()) {
        table.apply(seq, &event, Rules::Strict).unwrap();
    }
    Event::Checkpoint(table.checkpoint()).encode(&mut payload);
    let expected = [
        "0100000000000000 0100000000000000 01000000 00000000 0200000000000000 0400000000000000 0c00000000000000",
        "01000000 01000000 01000000 00000000",
        &format!("0200000000000000 0100000000000000 0500000000000000 {coordinator} 02 000000 02000000"),
        "01000000 05 02 0000 63000000 04000000 00000000 756e646f",
        "03000000 05 00 0100 00000000 04000000 00000000 01000000 756e646f",
        &format!("0400000000000000 0600000000000000 0900000000000000 {coordinator} 03 00 0000 01000000"),
        &format!("{shard} {node} 02"),
        "0700000000000000 0a00000000000000 03 00000000000000 616263",
        "0600000000000000 0b00000000000000 feffffffffffffff 0500000000000000 03 00000000000000",
        "0800000000000000 0c00000000000000 0100000000000000 0200000000000000",
    ];
    assert_eq!(hex(&payload), expected.concat().replace(' ', ""));
}

#[test]
fn what_is_encoded_decodes_and_nothing_shorter_or_longer() {
    let mut payload = Vec::new();
    for event in one_of_each() {
        let kind = event.encode(&mut payload);
        assert_eq!(Event::decode(kind, &payload), Ok(event.clone()));
        assert_eq!(operation_of(kind, &payload), event.operation());
        assert_eq!(operation_of(kind, &payload[..payload.len().min(7)]), None);
        for len in 0..payload.len() {
            let decoded = Event::decode(kind, &payload[..len]);
            let short_form = matches!((kind, len), (0x02, 13) | (CHECKPOINT, 16));
            match decoded {
                Ok(other) => assert!(
                    short_form || matches!(kind, 0x02 | 0x20 | CHECKPOINT) && other != event,
                    "{} of {len} bytes",
                    event.name()
                ),
                Err(bad) => assert!(matches!(bad, BadEvent::Length { .. }), "{} of {len}: {bad:?}", event.name()),
            }
        }
        if !matches!(kind, 0x02 | 0x20 | CHECKPOINT) {
            payload.push(0);
            let (len, expected) = (payload.len(), payload.len() - 1);
            assert_eq!(Event::decode(kind, &payload), Err(BadEvent::Length { kind, len, expected }));
        }
    }
}

#[test]
fn short_forms_are_the_v26_layout() {
    let mut payload = Vec::new();
    for event in one_of_each() {
        let kind = event.encode_short(&mut payload);
        let decoded = Event::decode(kind, &payload).unwrap();
        match (&event, &decoded) {
            (Event::Saga(_, SagaEvent::StepAdded(whole)), Event::Saga(_, SagaEvent::StepAdded(short))) => {
                assert_eq!(payload.len(), 13);
                assert_eq!((short.index, short.action), (whole.index, whole.action));
                assert!(short.depends_on.is_empty() && short.payload.is_empty());
            }
            (Event::Checkpoint(whole), Event::Checkpoint(short)) => {
                assert_eq!(payload.len(), 16);
                assert_eq!(short.active_sagas, whole.active_sagas);
                assert!(short.state.is_empty());
            }
            _ => assert_eq!(decoded, event),
        }
    }
}

#[test]
fn hostile_events_are_refused_for_what_is_wrong() {
    let mut payload = vec![1; 41];
    payload[40] = 2;
    assert_eq!(Event::decode(0x13, &payload), Err(BadEvent::Vote(2)));
    for kind in (0..0x0200).filter(|kind| !one_of_each().iter().any(|event| event.kind() == *kind)) {
        assert_eq!(Event::decode(kind, &payload), Err(BadEvent::Kind(kind)));
    }
    for event in one_of_each().iter().filter(|event| event.operation().is_some()) {
        let kind = event.encode(&mut payload);
        payload[..8].fill(0);
        assert_eq!(Event::decode(kind, &payload), Err(BadEvent::ZeroId(kind)));
    }
    let named = |len: usize| Event::decode(0x20, &vec![1; 16 + len]);
    assert!(named(255).is_ok());
    assert_eq!(named(256), Err(BadEvent::Name(256)));
    let step = |count: u32, rest: usize| {
        let mut bytes = vec![1; 13];
        bytes.extend(count.to_le_bytes());
        bytes.resize(17 + rest, 0);
        Event::decode(0x02, &bytes)
    };
    assert_eq!(step(16385, 16385 * 4), Err(BadEvent::Dependencies(16385)));
    assert_eq!(step(u32::MAX, 0), Err(BadEvent::Dependencies(u32::MAX)));
    assert_eq!(step(2, 7), Err(BadEvent::Length { kind: 2, len: 24, expected: 25 }));
    assert_eq!(step(2, 8 + 65537), Err(BadEvent::Payload(65537)));
    assert!(step(2, 8 + 65536).is_ok());
    for len in 14..17 {
        assert_eq!(Event::decode(0x02, &vec![1; len]), Err(BadEvent::Length { kind: 2, len, expected: 17 }));
    }
    let whole = Step { index: 1, action: 1, depends_on: vec![0, 0], payload: vec![] };
    let Ok(Event::Saga(_, SagaEvent::StepAdded(decoded))) = step(2, 8) else { panic!() };
    assert_eq!(Step { index: 1, action: 1, ..decoded }, whole);
}

#[test]
fn a_checkpoint_restores_the_table() {
    let table = table();
    let checkpoint = table.checkpoint();
    assert_eq!((checkpoint.active_sagas, checkpoint.active_transactions), (4, 7));
    assert_eq!(checkpoint.state.len(), table.state_len());
    assert_eq!(Table::restore(&checkpoint).unwrap(), table);
    assert_eq!(Table::restore(&Table::new().checkpoint()).unwrap(), Table::new());
}

/// Whatever is done to the bytes, what is restored is a table that writes the same bytes, or nothing is.
#[test]
fn hostile_checkpoints_are_refused() {
    let good = table().checkpoint();
    let with = |change: &dyn Fn(&mut Checkpoint)| {
        let mut bad = good.clone();
        change(&mut bad);
        Table::restore(&bad)
    };
    for len in 0..good.state.len() {
        assert_eq!(with(&|bad| bad.state.truncate(len)), Err(BadSnapshot::Length), "{len} bytes");
    }
    assert_eq!(with(&|bad| bad.state.push(0)), Err(BadSnapshot::Length));
    assert_eq!(with(&|bad| bad.state[0] = 2), Err(BadSnapshot::Version(2)));
    assert_eq!(with(&|bad| bad.state[5] = 2), Err(BadSnapshot::Count));
    assert_eq!(with(&|bad| bad.state[8] = 3), Err(BadSnapshot::Id(4)), "above the highest");
    let first = HEADER_LEN;
    assert_eq!(with(&|bad| bad.state[first..first + 8].fill(0)), Err(BadSnapshot::Id(0)));
    assert_eq!(with(&|bad| bad.state[first] = 9), Err(BadSnapshot::Id(9)));
    assert_eq!(with(&|bad| bad.state[24] = 3), Err(BadSnapshot::Saga(2)), "events behind the last one applied");
    assert_eq!(with(&|bad| bad.state[first + 56] = 4), Err(BadSnapshot::Number(4)), "no state");
    assert_eq!(with(&|bad| bad.state[first + 57] = 1), Err(BadSnapshot::Number(1)), "reserved");
    assert_eq!(with(&|bad| bad.state[first + 64 + 5] = 1), Err(BadSnapshot::Saga(1)), "created, and a step succeeded");
    // Where the streams' parts lie: two tombstones, a purge, two applied markers.
    let applied = good.state.len() - 2 * 32;
    let purge = applied - 40;
    let tombstones = purge - (24 + 5) - 24;
    assert_eq!(with(&|bad| bad.state[44] = 1), Err(BadSnapshot::Number(1)), "reserved");
    assert_eq!(with(&|bad| bad.state[tombstones + 29] = 1), Err(BadSnapshot::Stream(1)), "the stream is there twice");
    assert_eq!(with(&|bad| bad.state[tombstones + 15] = 1), Err(BadSnapshot::Stream(1)), "drops what comes later");
    assert_eq!(with(&|bad| bad.state[tombstones + 17] = 1), Err(BadSnapshot::Number(1)), "reserved");
    assert_eq!(with(&|bad| bad.state[purge + 15] = 1), Err(BadSnapshot::Stream(5)), "younger than the state");
    assert_eq!(with(&|bad| bad.state[purge + 33] = 1), Err(BadSnapshot::Number(1)), "reserved");
    // A second purge of the stream: its number rises, its time falls.
    let second = |seq: i8, before: i8| {
        with(&|bad| {
            let mut other = bad.state[purge..applied].to_vec();
            other[8] = other[8].wrapping_add_signed(seq);
            let time = i64::from_le_bytes(other[16..24].try_into().unwrap()) + i64::from(before);
            other[16..24].copy_from_slice(&time.to_le_bytes());
            bad.state.splice(applied..applied, other);
            bad.state[36] = 2;
            bad.state[24] += 1; // an event more
        })
    };
    assert!(second(1, -1).is_ok());
    for (seq, before) in [(0, -1), (-1, -1), (1, 0), (1, 1), (4, -1)] {
        assert_eq!(second(seq, before), Err(BadSnapshot::Stream(5)), "{seq} {before}");
    }
    assert_eq!(with(&|bad| bad.state[applied + 32] = 3), Err(BadSnapshot::Stream(3)), "the stream is there twice");
    assert_eq!(with(&|bad| bad.state[applied + 15] = 1), Err(BadSnapshot::Stream(3)), "younger than the state");
    for (count, there) in [(32, 2), (36, 1), (40, 2)] {
        for other in (0..=255).filter(|other| *other != there) {
            assert!(with(&|bad| bad.state[count] = other).is_err(), "{other} of {there} at {count}");
        }
        assert!(with(&|bad| bad.state[count..count + 4].fill(255)).is_err());
    }
    // Where the transactions' parts lie: the last one is committed, the second last rolls back.
    let last = tombstones - (64 + 2 * 65);
    assert_eq!(good.state[last..last + 8], 6u64.to_le_bytes());
    assert_eq!(
        with(&|bad| bad.state[last + 64 + 64] = 0),
        Err(BadSnapshot::Transaction(6)),
        "committed without a vote"
    );
    assert_eq!(
        with(&|bad| bad.state[last + 64 + 64] = 2),
        Err(BadSnapshot::Transaction(6)),
        "committed against a vote"
    );
    assert_eq!(with(&|bad| bad.state[last] = 8), Err(BadSnapshot::Transaction(8)), "there twice");
    assert_eq!(with(&|bad| bad.state[last + 56] = 4), Err(BadSnapshot::Transaction(6)), "not committed");
    for count in [0, 5, u64::MAX] {
        assert!(with(&|bad| bad.active_sagas = count).is_err());
        assert!(with(&|bad| bad.active_transactions = count).is_err());
    }
    let (mut taken, mut refused) = (0, 0);
    for at in 0..good.state.len() {
        for flip in [1, 2, 4, 0x80, 0xff] {
            let mut bad = good.clone();
            bad.state[at] ^= flip;
            match Table::restore(&bad) {
                Ok(table) => {
                    taken += 1;
                    assert_eq!(table.checkpoint(), bad, "byte {at}");
                }
                Err(_) => refused += 1,
            }
        }
    }
    assert!(taken > 1000 && refused > 1000, "{taken} taken (names, payloads), {refused} refused");
}
