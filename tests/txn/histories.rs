//! Goal: a crash anywhere in any legal history leaves a table and a plan that are right.
//! Method: random legal histories of several operations side by side.  Each is replayed
//! whole, and from a checkpoint in the middle; of every prefix the plan is held against
//! what this file reads from the events alone.  The same histories each time, of which is known what is in them, and
//! others from a seed.  TWAL_SEED replays a seed.

use std::collections::BTreeMap;

use twal::txn::limits::STATE_BYTES_DEFAULT;
use twal::txn::plan::plan;
use twal::txn::{Action, Event, Family, Rebuild, Rules, Table};

use super::{saga, transaction};

/// SplitMix64.
pub struct Rng(pub u64);

impl Rng {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[usize::try_from(self.below(from.len() as u64)).unwrap()]
    }
}

/// From TWAL_SEED, or from a seed that is printed.
pub fn seeded() -> Rng {
    let seed = match std::env::var("TWAL_SEED") {
        Ok(seed) => seed.parse().expect("TWAL_SEED is a number"),
        Err(_) => {
            u64::from(std::process::id()) << 20 | u64::from(std::time::UNIX_EPOCH.elapsed().unwrap().subsec_micros())
        }
    };
    println!("TWAL_SEED={seed}");
    Rng(seed)
}

const SAGA: [&str; 24] = [
    "N", "N", "+1", "+2", "+3:1", "+4:2,3", "E", "s1", "s2", "s3", "s4", "s1", "s2", "f1", "f3", "C", "u1", "u2", "u3",
    "x1", "x3", "D", "U", "A",
];
const TRANSACTION: [&str; 20] =
    ["N", "N", "+1", "+2", "+3", "P", "v1", "v2", "v3", "v1", "v2", "v3", "n2", "C", "D", "A", "B", "R", "S", "C"];

/// A legal history, and the words of its events.
fn history(rng: &mut Rng, len: usize) -> Vec<(Event, &'static str)> {
    let mut table = Table::new();
    let mut history = Vec::new();
    while history.len() < len {
        let (events, word) = if rng.below(2) == 0 {
            let word = rng.pick(&SAGA);
            (saga(1 + rng.below(6), word), word)
        } else {
            let word = rng.pick(&TRANSACTION);
            (transaction(1 + rng.below(6), word), word)
        };
        // Nothing more can happen when all ids are used up: begin higher ones.
        let event = match &events[0] {
            Event::Saga(_, happened) if word == "N" => {
                Event::Saga(table.next_id(Family::Saga).unwrap(), happened.clone())
            }
            Event::Transaction(_, happened) if word == "N" => {
                Event::Transaction(table.next_id(Family::Transaction).unwrap(), happened.clone())
            }
            Event::Saga(id, happened) => {
                Event::Saga((table.next_id(Family::Saga).unwrap()).saturating_sub(*id).max(1), happened.clone())
            }
            Event::Transaction(id, happened) => {
                let id = table.next_id(Family::Transaction).unwrap().saturating_sub(*id).max(1);
                Event::Transaction(id, happened.clone())
            }
            _ => unreachable!("words of operations"),
        };
        let before = table.clone();
        let checked = table.check(std::slice::from_ref(&event), Rules::Strict, STATE_BYTES_DEFAULT);
        let applied = table.apply(history.len() as u64 + 1, &event, Rules::Strict);
        assert_eq!(checked, applied);
        match applied {
            Ok(()) => history.push((event, word)),
            Err(_) => assert_eq!(table, before, "what is refused changes nothing"),
        }
    }
    history
}

/// What the events of one operation ask for, read off its words alone.
fn action_of(family: Family, words: &[&str]) -> Option<Action> {
    let has = |wanted: &str| words.contains(&wanted);
    let any = |first: char| words.iter().any(|word| word.starts_with(first));
    let count = |first: char| words.iter().filter(|word| word.starts_with(first)).count();
    match family {
        Family::Saga if has("D") || has("U") || has("A") => None,
        Family::Saga if has("C") || any('f') => Some(Action::SagaResumeCompensate),
        Family::Saga if has("E") => Some(Action::SagaResumeExecute),
        Family::Transaction if has("S") || has("B") => None,
        Family::Transaction if has("R") => Some(Action::TxResumeRollback),
        Family::Transaction if has("D") => None,
        Family::Transaction if has("C") => Some(Action::TxResumeCommit),
        Family::Transaction if has("A") || any('n') => Some(Action::TxResumeAbort),
        Family::Transaction if has("P") && count('v') == count('+') => Some(Action::TxResumeCommit),
        Family::Transaction if has("P") => Some(Action::TxResumeAbort),
        _ => Some(Action::None),
    }
}

pub fn record(rebuild: &mut Rebuild, seq: u64, event: &Event) {
    let mut payload = Vec::new();
    let kind = event.encode(&mut payload);
    rebuild.record(seq, kind, &payload).unwrap_or_else(|rejected| panic!("seq {seq}: {rejected:?}"));
}

#[test]
fn a_crash_anywhere_leaves_the_right_table_and_plan() {
    // Of histories from any seed nobody knows whether they have every action: some are rare.
    let seen = crash_anywhere(&mut Rng(1));
    println!("{seen:?}");
    assert_eq!(seen.len(), 6, "every action was met: {seen:?}");
    crash_anywhere(&mut seeded());
}

/// How often each action was to be done.
fn crash_anywhere(rng: &mut Rng) -> BTreeMap<&'static str, u64> {
    let mut seen = BTreeMap::new();
    for round in 0..60 {
        let history = history(rng, 150);
        let middle = usize::try_from(rng.below(history.len() as u64 + 1)).unwrap();
        let mut words: BTreeMap<(Family, u64), Vec<&str>> = BTreeMap::new();
        let mut whole = Rebuild::new(Rules::Strict);
        let mut cut = Rebuild::new(Rules::Strict);
        let mut seq = 0;
        for (at, (event, word)) in history.iter().enumerate() {
            if at == middle {
                seq += 1;
                let checkpoint = Event::Checkpoint(whole.table().checkpoint());
                record(&mut whole, seq, &checkpoint);
                record(&mut cut, seq, &checkpoint);
            }
            seq += 1;
            record(&mut whole, seq, event);
            if at >= middle {
                record(&mut cut, seq, event);
                assert_eq!(cut.table(), whole.table(), "round {round}, seq {seq}, checkpoint before event {middle}");
            }
            words.entry(event.operation().unwrap()).or_default().push(word);
            assert_eq!(whole.table().checkpoint().state.len(), whole.table().state_len());
            assert_eq!(Table::restore(&whole.table().checkpoint()).as_ref(), Ok(whole.table()), "seq {seq}");

            let expected: Vec<_> = words
                .iter()
                .filter_map(|((family, id), words)| Some((*family, *id, action_of(*family, words)?)))
                .collect();
            let planned = plan(whole.table());
            let found: Vec<_> = planned.iter().map(|one| (one.family, one.id, one.action)).collect();
            assert_eq!(found, expected, "round {round}, seq {seq}");
            for (_, _, action) in found {
                *seen.entry(action.name()).or_insert(0) += 1;
            }
        }
    }
    seen
}
