//! Goal: every line of the table "unfinished operation → action", the report's fields, the tokens.

use twal::txn::limits::{COMMITTED_KEPT, STATE_BYTES_DEFAULT};
use twal::txn::plan::{plan, Rejected, REJECTED_KEPT};
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
