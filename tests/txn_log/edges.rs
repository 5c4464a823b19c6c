//! Goal: operations at their limits, the smallest and the largest, and many at once, come back from a crash as they were,
//! and come to their end.
//! Method: each is left by a crash, with and without a checkpoint behind it; one more of everything is refused.

use twal::disk::sim::Keep;
use twal::txn::limits::{DEPENDENCIES_MAX, PARTICIPANTS_MAX, STEPS_MAX, STEP_PAYLOAD_MAX, STREAM_NAME_MAX};
use twal::txn::{Event, Family, Manager, Outcome, ResumeOptions, SagaSpec, State, Status, Step, Unfinished};
use twal::{Code, Durability};

use super::machine::Machine;
use super::shards::Shards;
use super::words::{SAGAS_FINISHED, SAGA_ACTIONS, TRANSACTIONS_FINISHED, TRANSACTION_ACTIONS};
use super::{name, saga, transaction};

/// Sagas without steps and transactions without participants: nobody is asked for anything.
#[test]
fn operations_without_parts_come_to_their_end() {
    let machine = Machine::new(1, Durability::Group);
    machine.disk.set_keep(Keep::Nothing);
    let (_log, manager, _) = machine.recover();
    manager.append(&saga(1, "N E D"), Some(true)).unwrap();
    for (id, words) in [(2, "N"), (3, "N E"), (4, "N E C"), (5, "N C")] {
        let done = manager.append(&saga(id, words), None);
        assert_eq!(done.map(drop).map_err(|error| error.code), if id < 5 { Ok(()) } else { Err(Code::State) });
    }
    manager.append(&transaction(1, "N"), None).unwrap();
    manager.append(&transaction(2, "N A"), None).unwrap();
    for words in ["P", "C", "v1", "D", "R"] {
        let refused = manager.append(&transaction(1, words), None).unwrap_err();
        assert_eq!(refused.code, Code::State, "no vote would be a decision: {words}");
    }
    let (_log, manager, found) = machine.power_cut();
    let left: Vec<_> = found.unfinished.iter().map(|one| (one.id, one.action.name(), one.parts, one.done)).collect();
    let (none, execute, compensate) = ("none", "saga_resume_execute", "saga_resume_compensate");
    assert_eq!(
        left,
        [(2, none, 0, 0), (3, execute, 0, 0), (4, compensate, 0, 0), (1, none, 0, 0), (2, "tx_resume_abort", 0, 0)]
    );
    let shards = Shards::new(|_| Outcome::Done);
    let resumed = manager.resume(&shards, &ResumeOptions::default()).unwrap();
    assert_eq!((resumed.finished, resumed.calls), (3, 0));
    assert_eq!(resumed.left.iter().map(|left| left.operation.id).collect::<Vec<_>>(), [2, 1], "they were not begun");
    assert_eq!(manager.append(&saga(2, "E D"), Some(true)).map(drop), Ok(()));
    assert_eq!(manager.append(&transaction(1, "A B"), Some(true)).map(drop), Ok(()));
    assert_eq!(machine.power_cut().2.unfinished, []);
}

fn step(index: usize, depends_on: Vec<u32>, payload: usize) -> Step {
    Step { index: u32::try_from(index).unwrap(), action: 255, depends_on, payload: vec![3; payload] }
}

fn code_of<T>(done: Result<T, twal::Error>) -> Option<Code> {
    done.err().map(|error| error.code)
}

#[test]
fn the_largest_operations_come_back() {
    for checkpoint in [false, true] {
        let mut machine = Machine::new(2, Durability::Sync);
        machine.options.segment_size = 2 << 20;
        let (log, manager, _) = machine.recover();
        // Each step depends on the 16 before it, the last one on as many as are left, and has all the payload.
        let mut steps: Vec<Step> = (0..STEPS_MAX)
            .map(|at| step(at, (at.saturating_sub(16)..at).map(|on| u32::try_from(on).unwrap()).collect(), 0))
            .collect();
        let others: usize = steps[..STEPS_MAX - 1].iter().map(|step| step.depends_on.len()).sum();
        let left = u32::try_from(DEPENDENCIES_MAX - others).unwrap();
        steps[STEPS_MAX - 1] = step(STEPS_MAX - 1, (0..left).collect(), STEP_PAYLOAD_MAX);
        let spec = SagaSpec { coordinator: name(7), steps, ..SagaSpec::default() };
        let with = |at: usize, other: Step| {
            let mut spec = spec.clone();
            spec.steps[at] = other;
            spec
        };
        let last_seq = log.last_seq();
        let last = &spec.steps[STEPS_MAX - 1];
        let one_dependency = Step { depends_on: (0..=left).collect(), ..last.clone() };
        let one_byte = Step { payload: vec![3; STEP_PAYLOAD_MAX + 1], ..last.clone() };
        assert_eq!(code_of(manager.saga_create(&with(STEPS_MAX - 1, one_dependency))), Some(Code::TooBig));
        assert_eq!(code_of(manager.saga_create(&with(STEPS_MAX - 1, one_byte))), Some(Code::TooBig));
        let participants: Vec<_> = (0..PARTICIPANTS_MAX as u32 + 1).map(|n| (name(n), name(100 + n))).collect();
        assert_eq!(code_of(manager.transaction_create(None, name(7), &participants)), Some(Code::TooBig));
        let long = [b'n'; STREAM_NAME_MAX + 1];
        assert_eq!(code_of(manager.tombstone(1, 1, &long, None)), Some(Code::TooBig));
        assert_eq!(log.last_seq(), last_seq, "nothing of these was written");

        let one = manager.saga_create(&spec).unwrap().id;
        let two = manager.transaction_create(None, name(7), &participants[1..]).unwrap().id;
        manager.tombstone(1, 1, &long[1..], None).unwrap();
        let (seq, extra) = (log.last_seq(), step(STEPS_MAX, Vec::new(), 0));
        assert_eq!(code_of(manager.saga_add_step(one, extra, None)), Some(Code::TooBig));
        assert_eq!(code_of(manager.transaction_add_participant(two, name(0), name(0), None)), Some(Code::TooBig));
        assert_eq!(log.last_seq(), seq);
        if checkpoint {
            manager.checkpoint().unwrap();
        }
        let there = (manager.saga(one).unwrap(), manager.transaction(two).unwrap());
        assert_eq!(there.0.as_ref().map(|saga| saga.steps().len()), Some(STEPS_MAX));
        let (_log, manager, found) = machine.power_cut();
        assert_eq!((manager.saga(one).unwrap(), manager.transaction(two).unwrap()), there);
        assert_eq!(manager.tombstones().unwrap()[0].1.name, long[1..]);
        assert_eq!(found.unfinished.iter().map(|one| one.parts).collect::<Vec<_>>(), [STEPS_MAX, PARTICIPANTS_MAX]);
        // And every part of them is carried out.
        manager.saga_start(one).unwrap();
        manager.transaction_abort_start(two).unwrap();
        let shards = Shards::new(|_| Outcome::Done);
        let resumed = manager.resume(&shards, &ResumeOptions { threads: 1, ..ResumeOptions::default() }).unwrap();
        assert_eq!((resumed.finished, resumed.calls), (2, (STEPS_MAX + PARTICIPANTS_MAX) as u64));
        assert_eq!(manager.saga_status(one).unwrap(), Status::Finished);
    }
}

/// Many at once, begun in turns and finished ones between them: each is reported with its own numbers.
#[test]
fn a_report_has_each_operation_as_it_is() {
    for checkpoint in [false, true] {
        let machine = Machine::new(3, Durability::Group);
        machine.disk.set_keep(Keep::Nothing);
        let (_log, manager, _) = machine.recover();
        let mut expected = Vec::new();
        let play = |manager: &Manager, events: &[Event]| {
            events.iter().fold(0, |_, event| manager.append(std::slice::from_ref(event), None).unwrap())
        };
        let mut events = 1;
        for (id, row) in (1..).zip(SAGA_ACTIONS) {
            let mut begun = saga(2 * id, row.0);
            let Event::Saga(_, twal::txn::SagaEvent::Created { coordinator }) = &mut begun[0] else { panic!() };
            *coordinator = name(10 + id as u32);
            let last_seq = play(&manager, &begun);
            expected.push((Family::Saga, 2 * id, name(10 + id as u32), row, last_seq));
            let ended = saga(2 * id + 1, SAGAS_FINISHED[id as usize % SAGAS_FINISHED.len()]);
            play(&manager, &ended);
            events += begun.len() + ended.len();
        }
        for (id, row) in (1..).zip(TRANSACTION_ACTIONS) {
            let begun = transaction(2 * id, row.0);
            let last_seq = play(&manager, &begun);
            expected.push((Family::Transaction, 2 * id, name(7), row, last_seq));
            let ended = transaction(2 * id + 1, TRANSACTIONS_FINISHED[id as usize % TRANSACTIONS_FINISHED.len()]);
            play(&manager, &ended);
            events += begun.len() + ended.len();
        }
        manager.log().sync(0).unwrap();
        if checkpoint {
            manager.checkpoint().unwrap();
        }
        let (_log, manager, found) = machine.power_cut();
        assert_eq!(found.unfinished.len(), expected.len());
        for (one, (family, id, coordinator, (words, action, parts, done), last_seq)) in
            found.unfinished.iter().zip(expected)
        {
            let state = one.state;
            assert_eq!(matches!(state, State::Saga(_)), family == Family::Saga);
            let whole = Unfinished { family, id, state, action: one.action, last_seq, coordinator, parts, done };
            assert_eq!((*one, one.action.name()), (whole, action), "{words}");
        }
        assert_eq!(found.records_replayed, if checkpoint { 1 } else { events as u64 });
        assert_eq!((found.checkpoints, found.records_corrupted), (1, 0));
        assert_eq!(manager.active().unwrap(), found.unfinished);
    }
}
