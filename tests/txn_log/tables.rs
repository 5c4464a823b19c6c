//! Goal: every line of the table "unfinished operation → action", and the mixes of operations that users have, after a
//! crash and from the log's own records.

use std::collections::BTreeMap;

use twal::disk::sim::Keep;
use twal::txn::{Event, Manager, Recovery, Unfinished};
use twal::Durability;

use super::machine::Machine;
use super::words::{SAGAS_FINISHED, SAGA_ACTIONS, TRANSACTIONS_FINISHED, TRANSACTION_ACTIONS};
use super::{name, saga, transaction};

/// One event a call, as programs do; the last is durable, as power is cut next.
fn play(manager: &Manager, events: &[Event]) -> u64 {
    events.iter().fold(0, |_, event| manager.append(std::slice::from_ref(event), Some(true)).unwrap())
}

#[test]
fn every_unfinished_operation_has_its_action_after_a_crash() {
    for checkpoint in [false, true] {
        for row in SAGA_ACTIONS.iter().chain(&TRANSACTION_ACTIONS) {
            let is_saga = SAGA_ACTIONS.iter().any(|other| std::ptr::eq(other, row));
            let (words, action, parts, done) = *row;
            let machine = Machine::new(11, Durability::Group);
            machine.disk.set_keep(Keep::Nothing);
            let (_log, manager, _) = machine.recover();
            let events = if is_saga { saga(3, words) } else { transaction(3, words) };
            let last_seq = play(&manager, &events);
            if checkpoint {
                manager.checkpoint().unwrap();
            }
            let (_log, _manager, found) = machine.power_cut();
            let [one] = found.unfinished.as_slice() else { panic!("{words}: {found:?}") };
            let (family, coordinator) = (events[0].operation().unwrap().0, name(7));
            let expected =
                Unfinished { family, id: 3, state: one.state, action: one.action, last_seq, coordinator, parts, done };
            assert_eq!((*one, one.action.name()), (expected, action), "{words}");
            let replayed = if checkpoint { 1 } else { 1 + events.len() as u64 };
            assert_eq!((found.records_replayed, found.records_corrupted, found.checkpoints), (replayed, 0, 1));
        }
    }
    for words in SAGAS_FINISHED.iter().chain(&TRANSACTIONS_FINISHED) {
        let machine = Machine::new(12, Durability::Sync);
        let (_log, manager, _) = machine.recover();
        let is_saga = SAGAS_FINISHED.contains(words);
        play(&manager, &if is_saga { saga(3, words) } else { transaction(3, words) });
        let (_log, manager, found) = machine.power_cut();
        assert_eq!(found.unfinished, [], "{words}");
        let again = if is_saga { saga(3, "N") } else { transaction(3, "N") };
        assert!(manager.append(&again, None).is_err(), "{words}: its id is not used again");
    }
}

fn actions(found: &Recovery) -> BTreeMap<&'static str, usize> {
    let mut counted = BTreeMap::new();
    for one in &found.unfinished {
        *counted.entry(one.action.name()).or_default() += 1;
    }
    counted
}

/// The requirements' scenarios of a crashed coordinator, without their nodes.
#[test]
fn mixes_of_operations_come_back() {
    let finished = "N +1 +2:1 E s1 s2 D";
    let middle = "N +1 +2:1 E s1";
    let committed = "N +1 +2 +3 P v1 v2 v3 C D";
    let committing = "N +1 +2 +3 P v1 v2 v3 C";
    for (sagas, transactions, checkpointed, expected) in [
        ((15, 5), (0, 0), false, vec![("saga_resume_execute", 5)]),
        ((0, 0), (10, 5), false, vec![("tx_resume_commit", 5)]),
        ((8, 2), (7, 3), true, vec![("saga_resume_execute", 2), ("tx_resume_commit", 3)]),
    ] {
        let machine = Machine::new(13, Durability::Sync);
        let (_log, manager, _) = machine.recover();
        for id in 1..=sagas.0 {
            play(&manager, &saga(id, finished));
        }
        for id in 1..=transactions.0 {
            play(&manager, &transaction(id, committed));
        }
        if checkpointed {
            manager.checkpoint().unwrap();
        }
        for n in 1..=sagas.1 {
            play(&manager, &saga(sagas.0 + n, middle));
        }
        for n in 1..=transactions.1 {
            play(&manager, &transaction(transactions.0 + n, committing));
        }
        let (_log, _manager, found) = machine.power_cut();
        assert_eq!(actions(&found), expected.into_iter().collect());
        assert_eq!((found.checkpoints, found.records_corrupted), (1, 0));
        assert_eq!(found.from_seq > 1, checkpointed);
    }
    let machine = Machine::new(14, Durability::Sync);
    let (_log, manager, _) = machine.recover();
    for id in 1..=10 {
        play(&manager, &saga(id, finished));
    }
    for id in 11..=15 {
        play(&manager, &saga(id, "N +1 +2:1 E s1 f2 C u1 U"));
    }
    play(&manager, &transaction(1, "N +1 +2 +3 +4 +5 +6 +7 +8 P v1 v2 v3 v4 v5 v6 v7 v8 C D"));
    let (_log, _manager, found) = machine.power_cut();
    assert_eq!((found.unfinished.len(), found.records_corrupted), (0, 0));
}
