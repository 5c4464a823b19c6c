//! Goal: every line of the table "unfinished operation → action", the report's fields, the tokens.

use twal::txn::limits::{COMMITTED_KEPT, STATE_BYTES_DEFAULT};
use twal::txn::plan::{next_after, plan, Rejected, REJECTED_KEPT};
use twal::txn::snapshot::HEADER_LEN;
use twal::txn::token::{of_shard, of_step};
use twal::txn::{Action, BadEvent, Direction, Event, Family, Reason, Rebuild, Rules, Status, Table, Unfinished};

use super::words::{SAGAS_FINISHED, SAGA_ACTIONS, TRANSACTIONS_FINISHED, TRANSACTION_ACTIONS};
use super::{name, saga, transaction};

fn table_of(events: &[Event]) -> Table {
    let mut table = Table::new();
    for (seq, event) in (1..).zip(events) {
        table.apply(seq, event, Rules::Strict).unwrap_or_else(|refusal| panic!("{refusal:?}"));
    }
    table
}

#[test]
fn every_unfinished_saga_has_its_action() {
    for (words, action, parts, done) in SAGA_ACTIONS {
        let events = saga(3, words);
        let found = plan(&table_of(&events));
        let last_seq = u64::try_from(events.len()).unwrap();
        let [one] = found.as_slice() else { panic!("{words}: {found:?}") };
        let (family, coordinator) = (Family::Saga, name(7));
        assert_eq!(
            *one,
            Unfinished { family, id: 3, state: one.state, action: one.action, last_seq, coordinator, parts, done },
            "{words}"
        );
        assert_eq!((one.action.name(), one.action.exported().name()), (action, action), "{words}");
    }
    for words in SAGAS_FINISHED {
        assert!(plan(&table_of(&saga(3, words))).is_empty(), "{words}: finished");
    }
}

#[test]
fn every_unfinished_transaction_has_its_action() {
    for (words, action, parts, done) in TRANSACTION_ACTIONS {
        let events = transaction(3, words);
        let found = plan(&table_of(&events));
        let last_seq = u64::try_from(events.len()).unwrap();
        let [one] = found.as_slice() else { panic!("{words}: {found:?}") };
        let (family, coordinator) = (Family::Transaction, name(7));
        assert_eq!(
            *one,
            Unfinished { family, id: 3, state: one.state, action: one.action, last_seq, coordinator, parts, done },
            "{words}"
        );
        assert_eq!(one.action.name(), action, "{words}");
        let exported = if action == "tx_resume_rollback" { "tx_resume_abort" } else { action };
        assert_eq!(one.action.exported().name(), exported, "{words}");
    }
    for words in TRANSACTIONS_FINISHED {
        assert!(plan(&table_of(&transaction(3, words))).is_empty(), "{words}: finished");
    }
}

/// One by one, whatever the one before was: the same as all at once.
#[test]
fn what_comes_after_each_is_what_the_plan_says() {
    let events = [saga(2, "N"), saga(5, "N +1 E"), transaction(1, "N"), transaction(7, "N +1 P")].concat();
    let table = table_of(&events);
    let (mut walked, mut at) = (Vec::new(), (Family::Saga, 0));
    while let Some(one) = next_after(&table, at) {
        at = (one.family, one.id);
        walked.push(one);
    }
    assert_eq!(walked, plan(&table));
    let after = |family, id| next_after(&table, (family, id)).map(|one| (one.family, one.id));
    assert_eq!(after(Family::Saga, 3), Some((Family::Saga, 5)), "one that is gone");
    assert_eq!(after(Family::Saga, u64::MAX), Some((Family::Transaction, 1)));
    assert_eq!(after(Family::Transaction, u64::MAX), None);
}

#[test]
fn ids_rise_and_the_finished_are_known_without_being_kept() {
    let mut table = table_of(&[saga(4, "N +1 E s1 D"), saga(9, "N +1"), transaction(2, "N +1 P v1 A B")].concat());
    assert_eq!((table.next_id(Family::Saga), table.next_id(Family::Transaction)), (Some(10), Some(3)));
    assert_eq!(table.saga_status(4), Status::Finished);
    assert_eq!(table.saga_status(3), Status::Finished, "never there, and never to come");
    assert_eq!(table.saga_status(10), Status::Unknown);
    assert_eq!(table.transaction_status(2), Status::Finished);
    assert!(matches!(table.saga_status(9), Status::Active(_)));
    let before = table.clone();
    for (events, reason) in [
        (saga(4, "N"), Reason::NotAbove),
        (saga(9, "N"), Reason::NotAbove),
        (saga(8, "N"), Reason::NotAbove),
        (saga(4, "s1"), Reason::Finished),
        (saga(10, "+1"), Reason::Unknown),
        (transaction(2, "v1"), Reason::Finished),
        (transaction(3, "C"), Reason::Unknown),
    ] {
        let refusal = table.apply(50, &events[0], Rules::Strict).unwrap_err();
        assert_eq!(refusal.reason, reason, "{refusal:?}");
        assert_eq!(twal::Error::from(refusal).code, twal::Code::State, "{refusal:?}");
        assert_eq!(table, before);
    }
    let refusal =
        table.apply(50, &saga(9, "E")[0], Rules::Strict).and(table.apply(51, &saga(9, "D")[0], Rules::Strict));
    let text = twal::Error::from(refusal.unwrap_err()).text;
    assert!(text.contains("saga 9 is executing, completed is refused"), "{text}");
}

#[test]
fn a_batch_is_checked_as_a_whole() {
    let mut table = Table::new();
    let whole = saga(1, "N +1 +2:1 E");
    assert_eq!(table.check(&whole, Rules::Strict, STATE_BYTES_DEFAULT), Ok(()));
    assert_eq!(table, Table::new(), "checking changes nothing");
    let refusal = table.check(&saga(1, "N +1 E +2"), Rules::Strict, STATE_BYTES_DEFAULT).unwrap_err();
    assert_eq!((refusal.state, refusal.event), ("executing", "step_added"));
    for (seq, event) in (1..).zip(&whole) {
        table.apply(seq, event, Rules::Strict).unwrap();
    }
    assert_eq!(table.check(&saga(1, "s1 s2 D"), Rules::Strict, STATE_BYTES_DEFAULT), Ok(()));
    assert!(table.check(&saga(1, "s2 s1"), Rules::Strict, STATE_BYTES_DEFAULT).is_err());
    let both = [saga(1, "s1"), transaction(1, "N +1 P v1 C D R")].concat();
    assert_eq!(table.check(&both, Rules::Strict, STATE_BYTES_DEFAULT), Ok(()));
}

#[test]
fn a_full_table_begins_nothing_and_finishes_everything() {
    let mut table = Table::new();
    let step = |index: u32| {
        let step = twal::txn::Step { index, action: 0, depends_on: Vec::new(), payload: vec![1; 60 << 10] };
        Event::Saga(1, twal::txn::SagaEvent::StepAdded(step))
    };
    table.apply(1, &saga(1, "N")[0], Rules::Strict).unwrap();
    let full = (0..).find(|index| {
        let event = step(*index);
        let room = table.check(std::slice::from_ref(&event), Rules::Strict, STATE_BYTES_DEFAULT);
        room.is_err() || table.apply(2, &event, Rules::Strict).is_err()
    });
    assert_eq!(full, Some(136), "8 MiB of 60 KiB steps");
    let exact = table.state_len() + 20 + (60 << 10);
    assert_eq!(table.check(&[step(999)], Rules::Strict, exact), Ok(()));
    assert!(table.check(&[step(999)], Rules::Strict, exact - 1).is_err());
    let refusal = table.check(&[step(999)], Rules::Strict, STATE_BYTES_DEFAULT).unwrap_err();
    assert_eq!((refusal.reason, twal::Error::from(refusal).code), (Reason::Full, twal::Code::Again));
    assert_eq!(table.check(&saga(1, "E"), Rules::Strict, STATE_BYTES_DEFAULT), Ok(()), "what adds nothing goes on");
    table.apply(3, &saga(1, "A")[0], Rules::Strict).unwrap();
    assert_eq!(
        table.check(&[saga(2, "N"), transaction(1, "N +1")].concat(), Rules::Strict, STATE_BYTES_DEFAULT),
        Ok(())
    );
}

#[test]
fn the_last_committed_can_be_rolled_back_and_no_others() {
    let mut table = Table::new();
    let mut seq = 0;
    let mut take = |table: &mut Table, events: Vec<Event>| {
        events.iter().try_for_each(|event| {
            seq += 1;
            table.apply(seq, event, Rules::Strict)
        })
    };
    let kept = u64::try_from(COMMITTED_KEPT).unwrap();
    for id in 1..=kept + 1 {
        take(&mut table, transaction(id, "N +1 +2 P v1 v2 C D")).unwrap();
    }
    assert_eq!(table.transactions().len(), 0, "none is active");
    assert_eq!(table.transaction_status(2), Status::Finished);
    assert_eq!(table.state_len(), HEADER_LEN + COMMITTED_KEPT * (64 + 2 * 65), "bounded");
    assert_eq!(Table::restore(&table.checkpoint()).as_ref(), Ok(&table));
    let refusal = take(&mut table, transaction(1, "R")).unwrap_err();
    assert_eq!((refusal.state, refusal.reason), ("finished", Reason::Finished));
    take(&mut table, transaction(2, "R")).unwrap();
    assert_eq!(plan(&table)[0].action, Action::TxResumeRollback);
    assert_eq!(table.transaction(2).unwrap().participants().len(), 2, "whom to tell");
    take(&mut table, transaction(2, "S")).unwrap();
    assert_eq!(table.state_len(), HEADER_LEN + (COMMITTED_KEPT - 1) * (64 + 2 * 65));
    assert!(take(&mut table, transaction(2, "R")).is_err(), "once");
}

fn rebuild(rules: Rules, events: &[Event]) -> Rebuild {
    let mut rebuild = Rebuild::new(rules);
    let mut payload = Vec::new();
    for (seq, event) in (1..).zip(events) {
        let kind = event.encode(&mut payload);
        let _ = rebuild.record(seq, kind, &payload);
    }
    rebuild
}

#[test]
fn an_operation_that_contradicts_itself_is_isolated_alone() {
    let found = rebuild(Rules::Strict, &[saga(1, "N +1 E"), saga(2, "N +1 E D s1"), saga(5, "s1 D")].concat());
    assert_eq!(found.isolated().collect::<Vec<_>>(), [((Family::Saga, 2), 7), ((Family::Saga, 5), 9)]);
    assert_eq!((found.replayed, found.rejected_count, found.rejected.len()), (6, 2, 2));
    let actions: Vec<_> = found.plan().iter().map(|unfinished| (unfinished.id, unfinished.action)).collect();
    assert_eq!(actions, [(1, Action::SagaResumeExecute), (2, Action::None)]);
    assert_eq!(found.table().next_id(Family::Saga), Some(6), "an id that was seen is not handed out again");
    let mut found = Rebuild::new(Rules::Strict);
    for seq in 1..=2 * u64::try_from(REJECTED_KEPT).unwrap() {
        assert_eq!(found.record(seq, 0x55, b""), Err(Rejected::Event(BadEvent::Kind(0x55))));
    }
    assert_eq!((found.rejected_count, found.rejected.len()), (128, REJECTED_KEPT));
}

#[test]
fn import_takes_the_short_forms() {
    let events = [saga(1, "N +1 +2 E s1 f2 u1 U"), transaction(1, "N +1 P B"), transaction(2, "N +1 P n1 B")].concat();
    let import = rebuild(Rules::Import, &events);
    assert_eq!((import.rejected_count, import.plan().len()), (0, 0));
    assert_eq!(rebuild(Rules::Strict, &events).rejected_count, 3);
}

#[test]
fn a_checkpoint_stands_for_what_is_before_it() {
    let before = [saga(1, "N +1 E s1 D"), saga(2, "N +1 E"), transaction(1, "N +1 P v1")].concat();
    let mut table = table_of(&before);
    let checkpoint = Event::Checkpoint(table.checkpoint());
    let seq = u64::try_from(before.len()).unwrap() + 1;
    let whole = rebuild(Rules::Strict, &[before.clone(), vec![checkpoint.clone()]].concat());
    assert_eq!((whole.rejected_count, whole.checkpoints), (0, 1));
    let mut from_it = Rebuild::new(Rules::Strict);
    let mut payload = Vec::new();
    let kind = checkpoint.encode(&mut payload);
    from_it.record(seq, kind, &payload).unwrap();
    table.apply(seq, &checkpoint, Rules::Strict).unwrap();
    assert_eq!(from_it.table(), &table);
    assert_eq!(whole.table(), &table);
    // In the middle of a log whose older records are gone: what came before it is forgotten.
    let tail = [saga(1, "s1 D"), vec![checkpoint.clone()]].concat();
    let found = rebuild(Rules::Strict, &tail);
    assert_eq!((found.rejected_count, found.isolated().count()), (1, 0));
    assert_eq!(found.plan(), whole.plan());
    // One of a table that had to forget commits says no otherwise.
    let commits = [before, transaction(2, "N +1 P v1 C D"), transaction(3, "N +1 P v1 C D")].concat();
    let mut forgetful = table_of(&commits);
    assert!(forgetful.make_room(0, forgetful.state_len() - 1));
    assert_eq!((forgetful.remembered(), forgetful.transaction(2)), (1, None));
    let found = rebuild(Rules::Strict, &[commits, vec![Event::Checkpoint(forgetful.checkpoint())]].concat());
    assert_eq!((found.rejected_count, found.table().remembered()), (0, 1));
    // One that says otherwise than the records is reported, and believed.
    let differs = rebuild(Rules::Strict, &[saga(1, "N +1 E"), vec![checkpoint]].concat());
    assert_eq!(differs.rejected, [(4, Rejected::Differs)]);
    assert_eq!(differs.plan(), whole.plan());
}

/// An import between its markers: `events` of it and of others, and what ends it.
fn with_import(highest: u64, events: &[Event], end: &[Event]) -> Vec<Event> {
    let started = Event::ImportStarted { saga_highest: highest, transaction_highest: highest };
    [&[started], events, end].concat()
}

#[test]
fn what_is_imported_counts_from_its_end_on() {
    let before = [saga(1, "N +1 E"), transaction(1, "N +1 P v1")].concat();
    let between = [saga(7, "N +1 E"), transaction(1, "C"), saga(7, "s1"), saga(8, "N E"), saga(1, "s1 D")].concat();
    let ids = |rebuild: &Rebuild| -> Vec<u64> { rebuild.plan().iter().map(|one| one.id).collect() };
    let all = |end: &[Event]| rebuild(Rules::Strict, &[before.clone(), with_import(1, &between, end)].concat());
    let ended = all(&[Event::ImportEnded]);
    assert_eq!((ids(&ended), ended.rejected_count), (vec![7, 8, 1], 0));
    assert_eq!(ended.table().next_id(Family::Saga), Some(9));
    let checkpoint =
        Event::Checkpoint(table_of(&[before.clone(), saga(1, "s1 D"), transaction(1, "C")].concat()).checkpoint());
    let again = with_import(1, &saga(7, "N"), &[Event::ImportEnded]);
    let abandoned = Event::ImportAbandoned { saga_highest: 1, transaction_highest: 1 };
    let begun = [vec![abandoned.clone()], saga(2, "N")].concat();
    for (end, found_ids, next_id) in [
        (vec![], vec![1], 2),
        (begun, vec![2, 1], 3),
        (again, vec![7, 1], 8),
        (saga(2, "N"), vec![1], 2),
        (vec![checkpoint], vec![1], 2),
    ] {
        let found = all(&end);
        assert_eq!((ids(&found), found.table().next_id(Family::Saga)), (found_ids, Some(next_id)), "{end:?}");
    }
    // A marker that does not fit is damage, and changes nothing.
    for events in [with_import(2, &[], &[]), vec![Event::ImportEnded], vec![abandoned]] {
        let mut table = table_of(&before);
        let untouched = table.clone();
        assert_eq!(table.apply(99, &events[0], Rules::Strict).unwrap_err().reason, Reason::Import);
        assert_eq!(table, untouched);
    }
}

/// Both tables have the room of one, and the commits that both remember are the last of all.
#[test]
fn an_import_and_what_is_beside_it_have_one_room() {
    let commit = |id| transaction(id, "N +1 P v1 C D");
    let own: Vec<Event> = (1..=200).flat_map(|id| transaction(id, "N +1 P v1 C")).collect();
    let pairs = (1..=200).flat_map(|id| [commit(200 + id), transaction(id, "D")].concat());
    let started = Event::ImportStarted { saga_highest: 0, transaction_highest: 200 };
    let mut table = table_of(&[own, vec![started]].concat());
    let mut seq = 10_000;
    for event in pairs {
        seq += 1;
        table.apply(seq, &event, Rules::Strict).unwrap();
    }
    let mut tight = table.clone();
    for table in [&mut table, &mut tight] {
        let one = [Event::Transaction(401, twal::txn::TransactionEvent::Created { coordinator: [0; 32] })];
        let full = table.check(&one, Rules::Strict, table.state_len() + 100);
        assert_eq!(full.unwrap_err().reason, Reason::Full, "the other one's bytes count");
    }
    assert!(tight.make_room(0, 100 * (64 + 65) + 48), "so many commits have room");
    for table in [&mut table, &mut tight] {
        table.apply(seq + 1, &Event::ImportEnded, Rules::Strict).unwrap();
        let is_there = |id| table.transaction(id).is_some();
        let remembered = table.remembered() as u64;
        assert!((1..=400).all(|id| is_there(id) == ((id - 1) % 200 >= 200 - remembered / 2)), "{remembered}");
        assert_eq!(twal::txn::Table::restore(&table.checkpoint()).as_ref(), Ok(&*table));
    }
    assert_eq!((table.remembered(), tight.remembered()), (256, 100));
}

#[test]
fn tokens_name_one_action_each() {
    // hashlib.sha256(log id + kind + id + direction + step or shard).digest()[:16]
    let log_id = [0x41; 16];
    let hex = |token: [u8; 16]| token.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    assert_eq!(hex(of_step(&log_id, 7, 3, Direction::Compensate)), "ae9682f3090a53f9934a571190840aee");
    assert_eq!(hex(of_shard(&log_id, 7, &name(9), Direction::Commit)), "4137e447949d8d47d9fd57cfd30cdda4");
    let mut all = std::collections::BTreeSet::new();
    for id in 1..5 {
        for direction in [Direction::Execute, Direction::Compensate] {
            for step in 0..5 {
                all.insert(of_step(&log_id, id, step, direction));
                all.insert(of_step(&[0x42; 16], id, step, direction));
            }
        }
        for direction in [Direction::Prepare, Direction::Commit, Direction::Abort, Direction::Rollback] {
            for shard in 0..5 {
                all.insert(of_shard(&log_id, id, &name(shard), direction));
            }
        }
    }
    assert_eq!(all.len(), 4 * (2 * 5 * 2 + 4 * 5));
}
