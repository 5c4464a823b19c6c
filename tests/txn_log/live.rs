//! Goal: each live call does what it says, and only decisions, or what was asked for, are durable on return.

use twal::disk::sim::Keep;
use twal::txn::{
    Action, Direction, Event, Family, Manager, ManagerOptions, SagaSpec, SagaState, Status, Step, TransactionState,
};
use twal::{Code, Durability, Entry, How};

use super::machine::Machine;
use super::{name, saga, transaction};

pub fn step(index: u32, depends_on: &[u32]) -> Step {
    Step { index, action: 7, depends_on: depends_on.to_vec(), payload: vec![1, 2, 3] }
}

pub fn spec(steps: Vec<Step>) -> SagaSpec {
    SagaSpec { id: None, coordinator: name(9), steps, start: true }
}

/// GROUP with a delay of 60 s: a machine that loses power the moment after a decision returned.
#[test]
fn decisions_are_durable_when_they_return() {
    let machine = Machine::new(1, Durability::Group);
    machine.disk.set_keep(Keep::Nothing);
    let (_log, manager, _) = machine.recover();
    let one = manager.transaction_create(None, name(9), &[(name(1), name(2)), (name(3), name(4))]).unwrap();
    let (_log, manager, found) = machine.power_cut();
    assert_eq!((found.unfinished[0].id, found.unfinished[0].action), (one.id, Action::None), "created");
    manager.transaction_prepare(one.id).unwrap();
    let (_log, manager, found) = machine.power_cut();
    assert_eq!(found.unfinished[0].action, Action::TxResumeAbort, "prepare_start");
    let vote = manager.transaction_vote(one.id, name(1), true, None).unwrap();
    manager.transaction_vote(one.id, name(3), true, Some(false)).unwrap();
    assert!(manager.log().durable_seq() < vote, "GROUP: a vote waits for its batch");
    manager.transaction_commit_start(one.id).unwrap();
    let (_log, manager, found) = machine.power_cut();
    assert_eq!((found.unfinished[0].action, found.unfinished[0].done), (Action::TxResumeCommit, 2), "commit_start");
    manager.transaction_rollback_start(one.id).unwrap();
    let (_log, manager, found) = machine.power_cut();
    assert_eq!(found.unfinished[0].action, Action::TxResumeRollback, "rollback_start");
    manager.transaction_rollback_complete(one.id, Some(true)).unwrap();
    let two = manager.transaction_create(None, name(9), &[]).unwrap();
    manager.append(&transaction(two.id, "A"), Some(false)).unwrap();
    let (_log, manager, found) = machine.power_cut();
    let [unfinished] = found.unfinished.as_slice() else { panic!("{found:?}") };
    assert_eq!(
        (unfinished.id, unfinished.action),
        (two.id, Action::TxResumeAbort),
        "abort_start, whatever the call wishes"
    );

    let saga = manager.saga_create(&SagaSpec { start: false, ..spec(vec![step(1, &[]), step(2, &[1])]) }).unwrap();
    let (_log, manager, found) = machine.power_cut();
    assert_eq!((found.unfinished[0].parts, found.unfinished[0].action), (2, Action::None), "created, in one batch");
    manager.saga_start(saga.id).unwrap();
    let (_log, manager, found) = machine.power_cut();
    assert_eq!(found.unfinished[0].action, Action::SagaResumeExecute, "execute_start");
    manager.saga_step_succeeded(saga.id, 1, Some(true)).unwrap();
    manager.saga_step_succeeded(saga.id, 2, Some(false)).unwrap();
    let (_log, manager, found) = machine.power_cut();
    assert_eq!(found.unfinished[0].done, 1, "with SYNC it is there, without it was lost");
    manager.saga_compensation_start(saga.id).unwrap();
    let (_log, manager, found) = machine.power_cut();
    assert_eq!(found.unfinished[0].action, Action::SagaResumeCompensate, "compensation_start");
    assert_eq!(manager.saga_create(&spec(vec![])).unwrap().id, saga.id + 1, "no id is given twice");
}

/// What is refused writes nothing, and says which operation, state and event.
#[test]
fn illegal_calls_are_refused_and_write_nothing() {
    let machine = Machine::new(2, Durability::Sync);
    let (log, manager, _) = machine.recover();
    let saga = manager.saga_create(&spec(vec![step(1, &[])])).unwrap();
    let before = log.last_seq();
    let saga_2 = |words| super::saga(2, words);
    for (result, code) in [
        (manager.saga_step_succeeded(saga.id + 1, 1, None), Code::State),
        (manager.saga_step_succeeded(saga.id, 2, None), Code::State),
        (manager.saga_completed(saga.id, None), Code::State),
        (manager.saga_add_step(saga.id, step(2, &[]), None), Code::State),
        (manager.saga_create(&SagaSpec { id: Some(saga.id), ..spec(vec![]) }).map(|_| 0), Code::State),
        (manager.saga_create(&SagaSpec { id: Some(0), ..spec(vec![]) }).map(|_| 0), Code::Inval),
        (manager.saga_create(&spec(vec![step(1, &[]), step(1, &[])])).map(|_| 0), Code::State),
        (manager.transaction_commit_start(1), Code::State),
        (manager.append(&[], None), Code::Inval),
        (manager.append(&[saga_2("N"), transaction(1, "N")].concat(), None), Code::Inval),
        (manager.append(&[Event::Checkpoint(twal::txn::Table::new().checkpoint())], None), Code::Inval),
    ] {
        assert_eq!(result.map_err(|error| error.code), Err(code));
    }
    assert_eq!(log.last_seq(), before);
    assert_eq!(Manager::recover(&log, &machine.managed).err().map(|error| error.code), Some(Code::Busy));
    let brought = manager.saga_create(&SagaSpec { id: Some(50), ..spec(vec![]) }).unwrap();
    assert_eq!((brought.id, brought.seq), (50, before + 1));
    assert_eq!(manager.saga_create(&spec(vec![])).unwrap().id, 51);
}

#[test]
fn what_is_there_can_be_asked_for() {
    let machine = Machine::new(3, Durability::Sync);
    let (log, manager, _) = machine.recover();
    let saga = manager.saga_create(&spec(vec![step(1, &[]), step(2, &[1])])).unwrap();
    let one = manager.transaction_create(None, name(9), &[(name(1), name(2))]).unwrap();
    assert_eq!(manager.saga_status(saga.id), Ok(Status::Active(SagaState::Executing)));
    assert_eq!(manager.saga_status(saga.id + 1), Ok(Status::Unknown));
    assert_eq!(manager.transaction_status(one.id), Ok(Status::Active(TransactionState::Created)));
    assert_eq!(manager.saga(saga.id).unwrap().unwrap().to_execute(), [1]);
    assert_eq!(manager.transaction(one.id).unwrap().unwrap().participants()[0].node, name(2));
    let active: Vec<_> = manager.active().unwrap().iter().map(|one| (one.family, one.id, one.parts)).collect();
    assert_eq!(active, [(Family::Saga, saga.id, 2), (Family::Transaction, one.id, 1)]);
    let counts = manager.counts().unwrap();
    assert_eq!((counts.saga_events, counts.transaction_events, counts.checkpoints), (4, 2, 1));
    assert_eq!((counts.active_sagas, counts.active_transactions), (1, 1));
    assert_eq!(
        manager.token_of_step(saga.id, 2, Direction::Execute),
        twal::txn::token::of_step(&log.log_id(), saga.id, 2, Direction::Execute)
    );
    manager.saga_step_succeeded(saga.id, 1, None).unwrap();
    manager.saga_step_succeeded(saga.id, 2, None).unwrap();
    manager.saga_completed(saga.id, None).unwrap();
    assert_eq!(manager.saga_status(saga.id), Ok(Status::Finished));
}

/// A log of small records: more commits than its table can remember, and it goes on; what it remembers is the newest.
/// The kill test in C met it: remembered commits alone kept a table of a 64 KiB segment full, for ever.
#[test]
fn remembered_commits_give_way() {
    let mut machine = Machine::new(5, Durability::Sync);
    machine.options.record_size_max = 4000;
    let (_log, manager, _) = machine.recover();
    let saga = manager.saga_create(&spec(vec![step(1, &[])])).unwrap();
    let state = |manager: &Manager, id| manager.transaction(id).unwrap().map(|one| one.state());
    let mut last = 0;
    for _ in 0..100 {
        last = manager.transaction_create(None, name(9), &[(name(1), name(2))]).unwrap().id;
        manager.transaction_prepare(last).unwrap();
        manager.transaction_vote(last, name(1), true, None).unwrap();
        manager.transaction_commit_start(last).unwrap();
        manager.transaction_commit_complete(last, None).unwrap();
    }
    assert_eq!(state(&manager, last), Some(TransactionState::Committed));
    assert_eq!(state(&manager, 1), None, "the oldest gave way");
    assert!(manager.counts().unwrap().state_bytes <= 4000);
    // Rebuilt without a checkpoint in between, it remembers more than has room, until it makes room.
    let (_log, manager, found) = machine.power_cut();
    assert_eq!((found.unfinished.len(), found.unfinished[0].id), (1, saga.id));
    assert_eq!(state(&manager, last), Some(TransactionState::Committed));
    manager.checkpoint().unwrap();
    manager.transaction_rollback_start(last).unwrap();
    let (_log, manager, found) = machine.power_cut();
    assert_eq!((found.records_replayed, found.unfinished.len()), (2, 2));
    // What is not finished does not give way.
    let full = loop {
        if let Err(error) = manager.saga_create(&spec(vec![])) {
            break error;
        }
    };
    assert_eq!((full.code, state(&manager, last)), (Code::Again, Some(TransactionState::RollingBack)));
    assert_eq!(manager.saga_status(saga.id), Ok(Status::Active(SagaState::Executing)));
}

/// The caller's own records, and what the manager writes: types, flags, stream, batches.
#[test]
fn records_are_twals_own_and_required() {
    let mut machine = Machine::new(4, Durability::Sync);
    machine.managed.stream = 77;
    let (log, manager, _) = machine.recover();
    let entry = Entry { data: b"own", stream: 3, timestamp: None, kind: 0x0100, required: false };
    log.append(&entry, How::default()).unwrap();
    manager.saga_create(&spec(vec![step(1, &[])])).unwrap();
    let mut records = Vec::new();
    let mut iter = log.iter(0).unwrap();
    while let Some(record) = iter.next_record().unwrap() {
        records.push((record.kind, record.stream, record.required, record.batch_continues));
    }
    assert_eq!(
        records,
        [
            (0xF0, 77, true, false),
            (0x0100, 3, false, false),
            (0x01, 77, true, true),
            (0x02, 77, true, true),
            (0x03, 77, true, false)
        ]
    );
    manager.saga_step_succeeded(1, 1, Some(false)).unwrap();
    assert!(log.durable_seq() < log.last_seq());
    // The next manager of the same handle takes what this one has left behind, durable or not.
    drop((manager, iter));
    let (manager, found) = Manager::recover(&log, &machine.managed).unwrap();
    assert_eq!((found.from_seq, found.checkpoints, found.records_replayed), (1, 1, 5));
    assert_eq!((found.unfinished[0].done, manager.counts().unwrap().checkpoint_seq), (1, 1));
}

/// Many threads on one manager, checkpoints by themselves between them: each id is given once, and what recovery finds is
/// what the threads left.
#[test]
fn many_threads_and_one_table() {
    let mut machine = Machine::with_threads(5);
    machine.managed.checkpoint_interval = 20;
    machine.options.max_retained_segments = 1;
    let (log, manager, _) = machine.recover();
    let one_life = |manager: &Manager, n: u32| {
        let saga = manager.saga_create(&spec(vec![step(1, &[])])).unwrap();
        let one = manager.transaction_create(None, name(9), &[(name(1), name(2))]).unwrap();
        manager.transaction_prepare(one.id).unwrap();
        manager.saga_step_succeeded(saga.id, 1, Some(false)).unwrap();
        manager.transaction_vote(one.id, name(1), true, None).unwrap();
        if n % 20 == 19 {
            return vec![(Family::Saga, saga.id, true), (Family::Transaction, one.id, true)];
        }
        manager.transaction_commit_start(one.id).unwrap();
        manager.transaction_commit_complete(one.id, Some(false)).unwrap();
        manager.saga_completed(saga.id, Some(true)).unwrap();
        vec![(Family::Saga, saga.id, false), (Family::Transaction, one.id, false)]
    };
    // While one thread is at a checkpoint the others make none: how far they all come by then is not said.
    let enough = || manager.counts().unwrap().checkpoints > 50 && log.first_seq() > 1;
    let mut lives: Vec<(Family, u64, bool)> = std::thread::scope(|scope| {
        let live =
            || (0..).take_while(|n| *n < 50 || !enough()).flat_map(|n| one_life(&manager, n)).collect::<Vec<_>>();
        let threads: Vec<_> = (0..6).map(|_| scope.spawn(live)).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    lives.sort_unstable();
    let each = lives.len() as u64 / 2;
    assert!(each >= 300);
    assert_eq!(
        lives.iter().map(|life| life.1).collect::<Vec<_>>(),
        [1..=each, 1..=each].into_iter().flatten().collect::<Vec<_>>()
    );
    let counts = manager.counts().unwrap();
    assert!(counts.checkpoints > 50 && counts.checkpoints_failed == 0, "{counts:?}");
    log.sync(0).unwrap();
    machine.disk.kill();
    drop((manager, log));
    let (log, _manager, found) = machine.recover();
    let left: Vec<_> = found.unfinished.iter().map(|one| (one.family, one.id, true)).collect();
    lives.retain(|life| life.2);
    assert_eq!(left, lives);
    log.close().unwrap();
}

/// Who is told of an end forgets the operation's tokens: no crash takes that back, though nobody waited for the event.
#[test]
fn an_end_that_is_shown_is_durable() {
    const SAGA_ENDS: [(&str, &str); 3] = [("N +1 E s1", "D"), ("N +1 E s1 C u1", "U"), ("N +1 E", "A")];
    const TRANSACTION_ENDS: [(&str, &str); 3] = [("N +1 P v1 C", "D"), ("N +1 P n1 A", "B"), ("N +1 P v1 C D R", "S")];
    type Question = fn(&Manager, Family) -> bool;
    const QUESTIONS: [Question; 5] = [
        |manager, family| match family {
            Family::Saga => manager.saga_status(1).unwrap() == Status::Finished,
            Family::Transaction => manager.transaction_status(1).unwrap() == Status::Finished,
        },
        |manager, family| match family {
            Family::Saga => manager.saga(1).unwrap().is_none(),
            Family::Transaction => manager.transaction(1).unwrap().is_none_or(|found| found.state().is_finished()),
        },
        |manager, _| manager.active().unwrap().is_empty(),
        |manager, _| manager.active_after((Family::Saga, 0)).unwrap().is_none(),
        |manager, family| match family {
            Family::Saga => manager.append(&saga(1, "s1"), Some(false)).unwrap_err().code == Code::State,
            Family::Transaction => manager.append(&transaction(1, "P"), Some(false)).unwrap_err().code == Code::State,
        },
    ];
    let sagas = SAGA_ENDS.map(|(before, end)| (Family::Saga, saga(1, before), saga(1, end)));
    let transactions =
        TRANSACTION_ENDS.map(|(before, end)| (Family::Transaction, transaction(1, before), transaction(1, end)));
    for (family, before, end) in sagas.into_iter().chain(transactions) {
        for (at, question) in QUESTIONS.iter().enumerate() {
            let machine = Machine::new(9, Durability::Group);
            let (log, manager, _) = machine.recover();
            manager.append(&before, Some(true)).unwrap();
            let seq = manager.append(&end, None).unwrap();
            assert!(log.durable_seq() < seq, "nobody waited for it");
            assert_eq!(machine.fork_after_cut().recover().2.unfinished.len(), 1, "so it can be taken back");
            assert!(question(&manager, family), "question {at}: {end:?}");
            let (_log, after, found) = machine.fork_after_cut().recover();
            assert_eq!(found.unfinished, [], "question {at}: {end:?}");
            assert!(question(&after, family));
        }
    }
}

/// What is going on is told without a flush, whatever else has ended.
#[test]
fn an_end_that_is_not_shown_is_not_waited_for() {
    let machine = Machine::new(10, Durability::Group);
    let (log, manager, _) = machine.recover();
    manager.append(&saga(1, "N +1 E"), None).unwrap();
    manager.append(&saga(2, "N +1 E"), None).unwrap();
    let seq = manager.append(&saga(1, "s1 D"), None).unwrap();
    assert_eq!(manager.saga_status(2).unwrap(), Status::Active(SagaState::Executing));
    assert!(manager.saga(2).unwrap().is_some() && log.durable_seq() < seq);
}

/// Votes have a deadline: what has waited for them so long is aborted, the oldest first, and stays so after a crash.
#[test]
fn who_waits_too_long_for_votes_is_aborted() {
    const SECOND_NS: u64 = 1_000_000_000;
    let machine = Machine::new(11, Durability::Group);
    let (log, manager, _) = machine.recover();
    let pass = || machine.clock.pass(std::time::Duration::from_secs(1));
    let overdue =
        |seconds: u64| manager.transaction_expire(seconds * SECOND_NS).map(|one| one.id).map_err(|error| error.code);
    let begin = |id, words| manager.append(&transaction(id, words), Some(true)).unwrap();
    for (id, words) in [(1, "N +1 +2"), (2, "N +1 +2 P v1"), (3, "N +1 P v1"), (4, "N +1 P v1 C"), (5, "N +1 +2 P n2")]
    {
        begin(id, words);
    }
    begin(6, "N +1");
    pass();
    begin(1, "P");
    begin(2, "v2");
    begin(7, "N +1 +2 P v2");
    pass();
    let last_seq = log.last_seq();
    assert_eq!(overdue(3), Err(Code::NotFound));
    assert_eq!((overdue(u64::MAX / SECOND_NS), log.last_seq()), (Err(Code::NotFound), last_seq));
    // Of those that began to wait 2 s ago, 2 and 3 have all votes, 4 is decided, and 6 was never asked; 1 and 7 began later.
    assert_eq!((overdue(1), overdue(2)), (Ok(5), Err(Code::NotFound)));
    begin(7, "n1");
    assert_eq!(overdue(1), Ok(1));
    assert_eq!(manager.append(&transaction(1, "v1"), None).unwrap_err().code, Code::State);
    begin(8, "N +1 +2 P");
    let fork = machine.fork_after_cut();
    assert_eq!((overdue(0), overdue(0), overdue(0)), (Ok(7), Ok(8), Err(Code::NotFound)));
    let (_log, manager, found) = fork.recover();
    use Action::{TxResumeAbort, TxResumeCommit};
    let actions: Vec<_> = found.unfinished.iter().map(|one| (one.id, one.action)).collect();
    let commits = [(2, TxResumeCommit), (3, TxResumeCommit), (4, TxResumeCommit)];
    assert_eq!(actions[1..4], commits);
    assert_eq!(
        [actions[0], actions[4], actions[5], actions[6]],
        [(1, TxResumeAbort), (5, TxResumeAbort), (6, Action::None), (7, TxResumeAbort)]
    );
    // Durable, though the log is in GROUP.
    assert_eq!(manager.transaction_status(1), Ok(Status::Active(TransactionState::Aborting)));
    assert_eq!(manager.transaction_status(7), Ok(Status::Active(TransactionState::Refused)));
    // What a recovery found is for its resume, whatever is told of it since.
    manager.append(&transaction(8, "v1"), None).unwrap();
    assert_eq!(manager.transaction_expire(0).unwrap_err().code, Code::NotFound);
    manager.append(&transaction(9, "N +1 P"), None).unwrap();
    assert_eq!(manager.transaction_expire(0).unwrap().id, 9);
}

/// Unless told otherwise, every thousand events.
#[test]
fn a_checkpoint_comes_with_the_thousandth_event() {
    let mut machine = Machine::new(12, Durability::Group);
    machine.managed = ManagerOptions::default();
    let (_log, manager, _) = machine.recover();
    let checkpoints = || manager.counts().unwrap().checkpoints;
    for id in 1..=333 {
        manager.append(&saga(id, "N E D"), None).unwrap();
    }
    assert_eq!(checkpoints(), 1, "recovery's");
    manager.append(&saga(334, "N"), None).unwrap();
    assert_eq!(checkpoints(), 2);
    let (_log, _manager, found) = machine.power_cut();
    assert_eq!((found.records_replayed, found.unfinished.len()), (1, 1));
}
