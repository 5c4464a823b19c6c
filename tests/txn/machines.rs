//! Goal: each state takes the events that the requirements allow, and no other.
//! Method: a history, the state it leads to, and every event that is legal then
//! with the state behind it; all other events of the probes must be refused and
//! change nothing.  Each state meets each of the events.

use std::collections::BTreeSet;

use twal::txn::limits::{PARTICIPANTS_MAX, STEPS_MAX};
use twal::txn::{Event, Reason, Rules, Saga, SagaEvent, Step, StepStatus, Transaction, TransactionEvent};

use super::{name, saga_event, transaction_event};

/// Steps 1 and 2 have level 0, step 3 has level 1.
const STEPS: &str = "+1 +2 +3:1,2";
const SAGA_PROBES: &str = "N +4 +4:1,3 +1 +4:9 +4:1,1 E s1 s2 s3 s9 f1 f2 f3 f9 C u1 u2 u3 u9 x1 x2 x3 x9 D U A";
const SAGA_ROWS: [(&str, &str, &str); 24] = [
    ("", "created", "+4>created +4:1,3>created E>executing A>aborted"),
    ("E", "executing", "s1>executing s2>executing f1>failed f2>failed C>compensating A>aborted"),
    ("E s1", "executing", "s2>executing f2>failed C>compensating"),
    ("E s2 s1", "executing", "s3>executing f3>failed C>compensating"),
    ("E s1 s2 s3", "executing", "C>compensating D>completed"),
    ("E f1", "failed", "s2>failed f2>failed C>compensating A>aborted"),
    ("E s1 f2", "failed", "C>compensating"),
    ("E f1 s2", "failed", "C>compensating"),
    ("E s1 s2 f3", "failed", "C>compensating"),
    ("E f1 f2", "failed", "C>compensating A>aborted"),
    ("E C", "compensating", "s1>compensating s2>compensating f1>compensating f2>compensating U>compensated A>aborted"),
    ("E s1 C", "compensating", "s2>compensating f2>compensating u1>compensating x1>compensating"),
    // As if s2 had come before C: then s3 may be in flight.
    (
        "E s1 C s2",
        "compensating",
        "s3>compensating f3>compensating u1>compensating u2>compensating x1>compensating x2>compensating",
    ),
    ("E f1 C s2", "compensating", "u2>compensating x2>compensating"),
    ("E s1 s2 s3 C", "compensating", "u3>compensating x3>compensating"),
    ("E s1 s2 s3 C x3", "compensating", "u3>compensating x3>compensating A>aborted"),
    ("E s1 s2 s3 C x3 u3", "compensating", "u1>compensating u2>compensating x1>compensating x2>compensating"),
    ("E s1 s2 f3 C u1", "compensating", "u2>compensating x2>compensating"),
    ("E s1 s2 f3 C u1 x2", "compensating", "u2>compensating x2>compensating A>aborted"),
    ("E s1 s2 f3 C u1 u2", "compensating", "U>compensated A>aborted"),
    ("E s1 s2 s3 D", "completed", ""),
    ("E s1 f2 C u1 U", "compensated", ""),
    ("A", "aborted", ""),
    ("E f1 A", "aborted", ""),
];
/// What import takes besides.
const SAGA_SHORT: [(&str, &str); 3] =
    [("E s1 f2", "u1>compensating"), ("E f1 s2", "u2>compensating"), ("E s1 s2 f3", "u1>compensating u2>compensating")];

const TRANSACTION_PROBES: &str = "N +1 +3 P v1 v2 v9 n1 n2 n9 C D A B R S";
const TRANSACTION_ROWS: [(&str, &str, &str); 18] = [
    ("", "created", "+1>created +3>created A>aborting"),
    ("+1 +2", "created", "+3>created P>preparing A>aborting"),
    ("+1 +2 P", "preparing", "v1>preparing v2>preparing n1>refused n2>refused A>aborting"),
    ("+1 +2 P v1", "preparing", "v2>prepared n2>refused A>aborting"),
    ("+1 +2 P v2", "preparing", "v1>prepared n1>refused A>aborting"),
    ("+1 +2 P v1 v2", "prepared", "C>committing A>aborting"),
    ("+1 +2 P n1", "refused", "v2>refused n2>refused A>aborting"),
    ("+1 +2 P v1 n2", "refused", "A>aborting"),
    ("+1 +2 P n1 v2", "refused", "A>aborting"),
    ("+1 +2 P v1 v2 C", "committing", "D>committed R>rolling back"),
    ("+1 +2 P v1 v2 C D", "committed", "R>rolling back"),
    ("+1 +2 P v1 v2 C R", "rolling back", "R>rolling back S>rolled back"),
    ("+1 +2 P v1 v2 C D R R", "rolling back", "R>rolling back S>rolled back"),
    ("+1 +2 P v1 v2 C D R R R", "rolling back", "S>rolled back"),
    ("+1 +2 P v1 v2 C D R S", "rolled back", ""),
    ("A", "aborting", "B>aborted"),
    ("+1 +2 P v1 v2 A", "aborting", "B>aborted"),
    ("+1 +2 P v1 A B", "aborted", ""),
];
const TRANSACTION_SHORT: [(&str, &str); 7] = [
    ("+1 +2 P", "B>aborted"),
    ("+1 +2 P v1", "B>aborted"),
    ("+1 +2 P v2", "B>aborted"),
    ("+1 +2 P v1 v2", "B>aborted"),
    ("+1 +2 P n1", "B>aborted"),
    ("+1 +2 P v1 n2", "B>aborted"),
    ("+1 +2 P n1 v2", "B>aborted"),
];

fn saga_after(words: &str) -> Saga {
    let mut saga = Saga::new(name(7), 1);
    for (seq, word) in (2..).zip(STEPS.split(' ').chain(words.split_whitespace())) {
        saga.apply(seq, &saga_event(word), Rules::Strict)
            .unwrap_or_else(|reason| panic!("{words}: {word}: {reason:?}"));
    }
    saga
}

fn transaction_after(words: &str) -> Transaction {
    let mut transaction = Transaction::new(name(7), 1);
    for (seq, word) in (2..).zip(words.split_whitespace()) {
        let taken = transaction.apply(seq, &transaction_event(word), Rules::Strict);
        taken.unwrap_or_else(|reason| panic!("{words}: {word}: {reason:?}"));
    }
    transaction
}

/// The state behind an event, by these rows; None: refused.
fn expected<'a>(legal: &'a str, short: &'a str, probe: &str) -> Option<&'a str> {
    let rows = legal.split(' ').chain(short.split(' '));
    let state = rows.filter_map(|word| word.split_once('>')).find(|(event, _)| *event == probe)?.1;
    Some(match state {
        "rolling" => "rolling back", // the row's next word
        "rolled" => "rolled back",
        state => state,
    })
}

fn short_of<'a>(short: &[(&str, &'a str)], words: &str) -> &'a str {
    short.iter().find(|(row, _)| *row == words).map_or("", |(_, legal)| legal)
}

#[test]
fn a_saga_takes_what_its_state_allows() {
    let mut met = BTreeSet::new();
    for (words, state, legal) in SAGA_ROWS {
        let before = saga_after(words);
        assert_eq!(before.state().name(), state, "{words}");
        for (rules, short) in [(Rules::Strict, ""), (Rules::Import, short_of(&SAGA_SHORT, words))] {
            for probe in SAGA_PROBES.split(' ') {
                let event = saga_event(probe);
                let mut after = before.clone();
                let taken = after.apply(90, &event, rules);
                assert_eq!(taken, before.check(&event, rules), "{words}: {probe}: check and apply");
                let got = taken.is_ok().then(|| after.state().name());
                assert_eq!(got, expected(legal, short, probe), "{rules:?}: {words}: {probe}: {taken:?}");
                if taken.is_err() {
                    assert_eq!(after, before, "{words}: {probe} was refused");
                } else {
                    assert_eq!(after.last_seq, 90);
                }
                met.insert((state, event.kind()));
            }
        }
    }
    assert_eq!(met.len(), 7 * 11, "each state meets each event");
}

#[test]
fn a_transaction_takes_what_its_state_allows() {
    let mut met = BTreeSet::new();
    for (words, state, legal) in TRANSACTION_ROWS {
        let before = transaction_after(words);
        assert_eq!(before.state().name(), state, "{words}");
        for (rules, short) in [(Rules::Strict, ""), (Rules::Import, short_of(&TRANSACTION_SHORT, words))] {
            for probe in TRANSACTION_PROBES.split(' ') {
                let event = transaction_event(probe);
                let mut after = before.clone();
                let taken = after.apply(90, &event, rules);
                assert_eq!(taken, before.check(&event, rules), "{words}: {probe}: check and apply");
                let got = taken.is_ok().then(|| after.state().name());
                assert_eq!(got, expected(legal, short, probe), "{rules:?}: {words}: {probe}: {taken:?}");
                if taken.is_err() {
                    assert_eq!(after, before, "{words}: {probe} was refused");
                } else {
                    assert_eq!(after.last_seq, 90);
                }
                met.insert((state, event.kind()));
            }
        }
    }
    assert_eq!(met.len(), 10 * 10, "each state meets each event");
}

#[test]
fn the_reason_is_named() {
    let of_saga = |words: &str, probe: &str| saga_after(words).check(&saga_event(probe), Rules::Strict).unwrap_err();
    for (words, probe, reason) in [
        ("", "+1", Reason::Doubled),
        ("", "+4:9", Reason::Dependency),
        ("", "+4:1,1", Reason::Dependency),
        ("", "s1", Reason::State),
        ("E", "s9", Reason::NoSuchPart),
        ("E", "s3", Reason::Level),
        ("E s1", "s1", Reason::Decided),
        ("E s1", "D", Reason::Incomplete),
        ("E s1", "A", Reason::Incomplete),
        ("E s1 s2 s3 C", "u1", Reason::Level),
        ("E s1 C", "u2", Reason::Incomplete),
        ("E s1 C", "U", Reason::Incomplete),
        ("E s1 f2 C u1", "u1", Reason::Decided),
    ] {
        assert_eq!(of_saga(words, probe), reason, "{words}: {probe}");
    }
    let of_transaction = |words: &str, probe: &str| {
        transaction_after(words).check(&transaction_event(probe), Rules::Strict).unwrap_err()
    };
    for (words, probe, reason) in [
        ("", "P", Reason::Incomplete),
        ("+1", "+1", Reason::Doubled),
        ("+1 P", "v9", Reason::NoSuchPart),
        ("+1 +2 P v1", "v1", Reason::Decided),
        ("+1 +2 P v1", "C", Reason::Incomplete),
        ("+1 P n1", "C", Reason::State),
        ("+1 P v1 C", "v1", Reason::State),
        ("+1 P v1 C R R R", "R", Reason::Limit),
    ] {
        assert_eq!(of_transaction(words, probe), reason, "{words}: {probe}");
    }
}

#[test]
fn levels_follow_and_are_undone_from_the_top() {
    // 1 and 2 · 3 on 1 · 4 on 3 and 2 · 5 on none
    let mut saga = Saga::new(name(7), 1);
    let take = |saga: &mut Saga, words: &str| {
        for word in words.split_whitespace() {
            saga.apply(2, &saga_event(word), Rules::Strict).unwrap_or_else(|reason| panic!("{word}: {reason:?}"));
        }
    };
    take(&mut saga, "+1 +2 +3:1 +4:3,2 +5");
    assert_eq!(saga.steps().iter().map(|step| step.level).collect::<Vec<_>>(), [0, 0, 1, 2, 0]);
    assert!(saga.to_execute().is_empty(), "not started");
    take(&mut saga, "E");
    assert_eq!(saga.to_execute(), [1, 2, 5], "all of a level at once");
    take(&mut saga, "s2");
    assert_eq!(saga.to_execute(), [1, 5]);
    take(&mut saga, "s5 s1");
    assert_eq!(saga.to_execute(), [3]);
    take(&mut saga, "s3 f4");
    assert_eq!((saga.to_execute(), saga.undecided()), (vec![], vec![]));
    assert_eq!(saga.to_compensate(), [3], "the highest level that stands");
    take(&mut saga, "C x3");
    assert_eq!(saga.to_compensate(), [3], "again");
    assert_eq!(saga.steps()[2].status, StepStatus::CompensationFailed(2));
    take(&mut saga, "u3");
    assert_eq!(saga.to_compensate(), [1, 2, 5]);
    take(&mut saga, "u2 u5 u1");
    assert!(saga.to_compensate().is_empty());
    take(&mut saga, "U");
}

#[test]
fn an_operation_has_limits() {
    let mut saga = Saga::new(name(7), 1);
    let add = |index: usize, payload: usize| {
        let index = u32::try_from(index).unwrap();
        SagaEvent::StepAdded(Step { index, action: 0, depends_on: Vec::new(), payload: vec![0; payload] })
    };
    assert_eq!(saga.check(&add(0, (64 << 10) + 1), Rules::Strict), Err(Reason::Limit));
    for index in 0..STEPS_MAX {
        saga.apply(2, &add(index, if index == 0 { 64 << 10 } else { 0 }), Rules::Strict).unwrap();
    }
    assert_eq!(saga.check(&add(STEPS_MAX, 0), Rules::Strict), Err(Reason::Limit));
    let mut transaction = Transaction::new(name(7), 1);
    for shard in 0..=PARTICIPANTS_MAX {
        let added = TransactionEvent::ParticipantAdded { shard: name(u32::try_from(shard).unwrap()), node: name(1) };
        let taken = transaction.apply(2, &added, Rules::Strict);
        assert_eq!(taken.is_ok(), shard < PARTICIPANTS_MAX, "{taken:?}");
    }
}

#[test]
fn decisions_are_what_must_be_durable() {
    let saga = "N +1 E s1 f1 C u1 x1 D U A".split(' ').map(|word| (word, Event::Saga(1, saga_event(word))));
    let durable: Vec<_> = saga.filter(|(_, event)| event.must_be_durable()).map(|(word, _)| word).collect();
    assert_eq!(durable, ["N", "E", "C"]);
    let events = "N +1 P v1 n1 C D A B R S".split(' ');
    let events = events.map(|word| (word, Event::Transaction(1, transaction_event(word))));
    let durable: Vec<_> = events.filter(|(_, event)| event.must_be_durable()).map(|(word, _)| word).collect();
    assert_eq!(durable, ["N", "P", "C", "A", "R"]);
}
