//! Goal: what a crash interrupted is finished, all or nothing, each effect once, wherever it is interrupted again.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};

use twal::disk::sim::{Keep, Stop};
use twal::txn::{
    Action, Direction, Manager, Outcome, Participants, ResumeOptions, SagaState, ShardAction, Status, StepAction,
    TransactionState,
};
use twal::{Code, Durability, Log};

use super::live::{spec, step};
use super::machine::Machine;
use super::shards::{Effect, Shards};
use super::{name, saga, transaction};

const ONE_THREAD: ResumeOptions =
    ResumeOptions { threads: 1, attempts_max: 3, retry_delay_us: 1000, retry_delay_max_us: 4000 };

/// 1 completes, 2 fails in its first level beside a step that succeeds, 3 in its second, 4 is half undone, 5 was not begun.
const SAGAS: [(u64, &str); 5] = [
    (1, "N +1 +2 +3:1,2 E s1"),
    (2, "N +1 +2 +3:1 E"),
    (3, "N +1 +2 +3:1,2 +4:3 E s1 s2"),
    (4, "N +1 +2:1 E s1 s2 C u2"),
    (5, "N +1"),
];
/// Committed, committed, aborted (no votes), aborted (refused), aborted, rolled back.
const TRANSACTIONS: [(u64, &str, Direction); 6] = [
    (11, "N +1 +2 +3 P v1 v2 v3", Direction::Commit),
    (12, "N +1 +2 P v1 v2 C", Direction::Commit),
    (13, "N +1 +2 P v1", Direction::Abort),
    (14, "N +1 +2 P v1 n2", Direction::Abort),
    (15, "N +1 +2 A", Direction::Abort),
    (16, "N +1 +2 P v1 v2 C D R", Direction::Rollback),
];

fn answer(effect: Effect) -> Outcome {
    match effect {
        (2, 1, Direction::Execute) => Outcome::Failed(21),
        (3, 3, Direction::Execute) => Outcome::Failed(33),
        _ => Outcome::Done,
    }
}

fn prepare(manager: &Manager) {
    for (id, words) in SAGAS {
        manager.append(&saga(id, words), Some(true)).unwrap();
    }
    for (id, words, _) in TRANSACTIONS {
        manager.append(&transaction(id, words), Some(true)).unwrap();
    }
}

/// Another manager of the same open log, which finds what this one leaves.
fn next_manager(machine: &Machine, log: &Log, manager: Manager) -> Manager {
    drop(manager);
    Manager::recover(log, &machine.managed).unwrap().0
}

/// Everything is finished but what was not begun; each effect happened once, and none that should not have.
fn check_end(manager: &Manager, shards: &Shards<'_>) {
    let active: Vec<_> = manager.active().unwrap().iter().map(|one| (one.id, one.action)).collect();
    assert_eq!(active, [(5, Action::None)]);
    let done = |id, direction| shards.parts(id, direction);
    let sorted = |mut parts: Vec<u32>| {
        parts.sort_unstable();
        parts
    };
    assert_eq!(done(1, Direction::Execute), [2, 3], "1 was done before, 3 depends on it");
    assert_eq!(done(1, Direction::Compensate), []);
    assert_eq!(done(2, Direction::Execute), [2], "1 fails, 3 is never begun");
    assert_eq!(done(2, Direction::Compensate), [2]);
    assert_eq!(done(3, Direction::Execute), []);
    assert_eq!(sorted(done(3, Direction::Compensate)), [1, 2]);
    assert_eq!(done(4, Direction::Compensate), [1], "2 was undone before");
    for (id, words, direction) in TRANSACTIONS {
        let everyone: Vec<u32> = (1..=words.matches('+').count()).map(|n| u32::try_from(n).unwrap()).collect();
        for other in [Direction::Commit, Direction::Abort, Direction::Rollback] {
            let expected = if other == direction { everyone.as_slice() } else { &[] };
            assert_eq!(sorted(done(id, other)), expected, "{words}");
        }
    }
}

#[test]
fn everything_unfinished_is_finished() {
    for durability in [Durability::Sync, Durability::Group] {
        let machine = Machine::new(21, durability);
        machine.disk.set_keep(Keep::Nothing);
        prepare(&machine.recover().1);
        let (_log, manager, found) = machine.power_cut();
        assert_eq!(found.unfinished.len(), 11);
        let shards = Shards::new(answer);
        let resumed = manager.resume(&shards, &ONE_THREAD).unwrap();
        assert_eq!((resumed.finished, resumed.retries, resumed.left.len()), (10, 0, 1));
        assert_eq!(usize::try_from(resumed.calls).unwrap(), shards.memory.lock().unwrap().calls);
        check_end(&manager, &shards);
        // What was reported as finished is durable.
        let (_log, manager, found) = machine.power_cut();
        assert_eq!(found.unfinished.len(), 1);
        assert_eq!(manager.resume(&shards, &ONE_THREAD).unwrap().calls, 0);
    }
}

/// Who is waiting for votes must not be told of an abort by a resume beside it; and a commit that a coordinator rolls back
/// is its own, though recovery had found it unfinished.
#[test]
fn what_was_begun_since_the_recovery_is_left_alone() {
    let machine = Machine::new(22, Durability::Group);
    let (log, manager, _) = machine.recover();
    prepare(&manager);
    manager.append(&transaction(17, "N +1"), None).unwrap();
    let manager = next_manager(&machine, &log, manager);
    manager.append(&transaction(18, "N +1 +2 P v1"), None).unwrap();
    manager.append(&saga(6, "N +1 E"), None).unwrap();
    manager.append(&transaction(17, "A"), None).unwrap();
    let begun = (manager.transaction(18), manager.saga(6));
    let shards = Shards::new(answer);
    for finished in [11, 0] {
        let resumed = manager.resume(&shards, &ONE_THREAD).unwrap();
        assert_eq!(resumed.finished, finished);
        assert_eq!(resumed.left.iter().map(|left| left.operation.id).collect::<Vec<_>>(), [5], "it was never begun");
        assert_eq!((manager.transaction(18), manager.saga(6)), begun);
        if finished > 0 {
            manager.transaction_rollback_start(11).unwrap();
        }
    }
    assert_eq!(manager.transaction_status(11), Ok(Status::Active(TransactionState::RollingBack)));
    assert_eq!(shards.parts(17, Direction::Abort), [1], "found, not begun then, and given up since");
    manager.append(&transaction(18, "v2 C"), None).unwrap();
    // The next recovery finds it with the others.
    let manager = next_manager(&machine, &log, manager);
    assert_eq!(manager.resume(&shards, &ONE_THREAD).unwrap().finished, 3);
    assert_eq!((shards.parts(18, Direction::Commit).len(), shards.parts(11, Direction::Rollback).len()), (2, 3));
}

/// Power is cut, or the process killed, in the middle of each call of the disk, then again a little later.
#[test]
fn a_crash_at_every_step_of_the_disk() {
    let mut crashes = 0;
    for stop in [Stop::PowerCut, Stop::Kill] {
        for durability in [Durability::Sync, Durability::Group] {
            crashes += (0..).take_while(|at| crash_at(*at, stop, durability)).count();
        }
    }
    assert!(crashes > 110, "{crashes}");
}

/// False: the resume had no such step.
fn crash_at(at: u64, stop: Stop, durability: Durability) -> bool {
    let machine = Machine::new(at, durability);
    prepare(&machine.recover().1);
    let (log, manager, _) = machine.recover_again();
    let shards = Shards::new(answer);
    machine.disk.stop_at(machine.disk.steps() + at, stop);
    let ended = manager.resume(&shards, &ONE_THREAD);
    drop((manager, log));
    let struck = machine.disk.restart();
    assert!(struck || ended.is_ok(), "{ended:?}");
    if struck {
        machine.disk.stop_at(machine.disk.steps() + 9 + at % 17, Stop::PowerCut);
        if let Ok((_log, manager, _)) = machine.try_recover() {
            // Whatever it comes to.
            let _ = manager.resume(&shards, &ONE_THREAD);
        }
        machine.disk.restart();
    }
    let (_log, manager, _) = machine.recover();
    manager.resume(&shards, &ONE_THREAD).unwrap();
    check_end(&manager, &shards);
    struck
}

/// Power is cut in each call of a participant, before and behind its effect.
#[test]
fn a_crash_in_every_call_of_a_participant() {
    let mut crashes = 0;
    for before in [true, false] {
        for at in 0.. {
            let machine = Machine::new(31, Durability::Group);
            machine.disk.set_keep(Keep::Nothing);
            prepare(&machine.recover().1);
            let (log, manager, _) = machine.recover_again();
            let mut shards = Shards::new(answer);
            shards.beside = Box::new(|call, is_before, _| {
                if call == at && is_before == before {
                    machine.disk.power_cut();
                }
            });
            let ended = manager.resume(&shards, &ONE_THREAD);
            drop((manager, log));
            let memory = std::mem::take(&mut *shards.memory.lock().unwrap());
            let struck = memory.calls > at;
            // The last thing may have been logged in full before it.
            assert_eq!(struck, ended.is_err(), "call {at}: {ended:?}");
            let shards = Shards { memory: Mutex::new(memory), ..Shards::new(answer) };
            let (_log, manager, _) = machine.recover_again();
            manager.resume(&shards, &ONE_THREAD).unwrap();
            check_end(&manager, &shards);
            if !struck {
                break;
            }
            crashes += 1;
        }
    }
    assert!(crashes > 30, "{crashes}");
}

/// At each call what it acts on is durable already: a machine that loses power then comes back with that decision.
#[test]
fn decisions_are_durable_before_they_are_acted_on() {
    let machine = Machine::new(41, Durability::Group);
    prepare(&machine.recover().1);
    let (_log, manager, _) = machine.recover_again();
    let seen = AtomicUsize::new(0);
    let mut shards = Shards::new(answer);
    shards.beside = Box::new(|_, is_before, (id, _, direction)| {
        if !is_before {
            return;
        }
        let (_log, after, _) = machine.fork_after_cut().recover();
        if id < 10 {
            let expected = match direction {
                Direction::Execute => SagaState::Executing,
                _ => SagaState::Compensating,
            };
            assert_eq!(after.saga_status(id), Ok(Status::Active(expected)));
        } else {
            let expected = match direction {
                Direction::Commit => TransactionState::Committing,
                Direction::Abort => TransactionState::Aborting,
                _ => TransactionState::RollingBack,
            };
            assert_eq!(after.transaction_status(id), Ok(Status::Active(expected)));
        }
        seen.fetch_add(1, Ordering::SeqCst);
    });
    manager.resume(&shards, &ONE_THREAD).unwrap();
    assert!(seen.load(Ordering::SeqCst) > 20);
}

/// A callback that panics stops the resume, on whichever thread it ran, and nothing else.
#[test]
fn a_callback_that_panics_stops_the_resume() {
    for threads in [1, 3] {
        let machine = Machine::with_threads(45);
        let (log, manager, _) = machine.recover();
        prepare(&manager);
        let manager = next_manager(&machine, &log, manager);
        let mut shards = Shards::new(answer);
        shards.beside = Box::new(|call, _, _| assert_ne!(call, 4, "as intended"));
        let options = ResumeOptions { threads, ..ONE_THREAD };
        let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| manager.resume(&shards, &options)));
        assert!(ended.is_err());
        let resumed = manager.resume(&shards, &options).unwrap();
        assert_eq!(resumed.left.len(), 1);
        check_end(&manager, &shards);
        log.close().unwrap();
    }
}

/// Asked again a bounded number of times, later each time; what has no outcome then is left, and asked for by the next resume.
#[test]
fn tries_are_bounded_and_nothing_is_given_up() {
    let machine = Machine::new(51, Durability::Sync);
    let (log, manager, _) = machine.recover();
    manager.append(&saga(1, "N +1 +2 +3:1 E"), None).unwrap();
    manager.append(&saga(2, "N +1 E s1 C"), None).unwrap();
    manager.append(&transaction(3, "N +1 +2 P v1 v2 C"), None).unwrap();
    let manager = next_manager(&machine, &log, manager);
    struct Stubborn<'a>(&'a Machine, Mutex<Vec<(u64, u32, u64)>>, AtomicBool);
    impl Stubborn<'_> {
        fn answer(&self, id: u64, attempt: u32, stubborn: bool) -> Outcome {
            if !stubborn {
                return Outcome::Done;
            }
            self.1.lock().unwrap().push((id, attempt, self.0.clock.now_ns() / 1000));
            if self.2.load(Ordering::SeqCst) {
                Outcome::Done
            } else {
                Outcome::Retry
            }
        }
    }
    impl Participants for Stubborn<'_> {
        fn execute(&self, action: &StepAction<'_>) -> Outcome {
            self.answer(action.saga, action.attempt, action.step.index == 2)
        }
        fn compensate(&self, action: &StepAction<'_>) -> Outcome {
            self.answer(action.saga, action.attempt, true)
        }
        fn commit(&self, action: &ShardAction<'_>) -> Outcome {
            self.answer(action.transaction, action.attempt, *action.shard == name(1))
        }
        fn abort(&self, _: &ShardAction<'_>) -> Outcome {
            panic!("nothing is aborted")
        }
        fn rollback(&self, _: &ShardAction<'_>) -> Outcome {
            panic!("nothing is rolled back")
        }
    }
    let stubborn = Stubborn(&machine, Mutex::default(), AtomicBool::new(false));
    let options = ResumeOptions { attempts_max: 5, ..ONE_THREAD };
    let resumed = manager.resume(&stubborn, &options).unwrap();
    let left: Vec<_> = resumed.left.iter().map(|left| (left.operation.id, left.error.as_ref().unwrap().code)).collect();
    assert_eq!(left, [(1, Code::Timeout), (2, Code::Timeout), (3, Code::Timeout)]);
    assert_eq!((resumed.finished, resumed.calls, resumed.retries), (0, 17, 12));
    let calls = std::mem::take(&mut *stubborn.1.lock().unwrap());
    for id in 1..=3 {
        let of: Vec<_> = calls.iter().filter(|call| call.0 == id).collect();
        assert_eq!(of.iter().map(|call| call.1).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
        let waits: Vec<_> = of.windows(2).map(|pair| pair[1].2 - pair[0].2).collect();
        assert!(waits.iter().zip([1000, 2000, 4000, 4000]).all(|(waited, least)| *waited >= least), "{waits:?}");
    }
    let saga_1 = manager.saga(1).unwrap().unwrap();
    assert_eq!(
        (saga_1.state(), saga_1.to_execute()),
        (SagaState::Executing, vec![2]),
        "it may have been done: not failed"
    );
    let saga_2 = manager.saga(2).unwrap().unwrap();
    assert_eq!(saga_2.steps()[0].status, twal::txn::StepStatus::CompensationFailed(5));
    stubborn.2.store(true, Ordering::SeqCst);
    let resumed = manager.resume(&stubborn, &options).unwrap();
    assert_eq!((resumed.finished, resumed.left.len()), (3, 0));
}

/// Tries are an hour apart: whoever closes the manager does not wait for one.
#[test]
fn a_resume_that_waits_for_its_next_try_can_be_ended() {
    struct Never(Mutex<u32>, Condvar);
    impl Never {
        fn answer(&self) -> Outcome {
            *self.0.lock().unwrap() += 1;
            self.1.notify_all();
            Outcome::Retry
        }
    }
    impl Participants for Never {
        fn execute(&self, _: &StepAction<'_>) -> Outcome {
            self.answer()
        }
        fn compensate(&self, _: &StepAction<'_>) -> Outcome {
            self.answer()
        }
        fn commit(&self, _: &ShardAction<'_>) -> Outcome {
            self.answer()
        }
        fn abort(&self, _: &ShardAction<'_>) -> Outcome {
            self.answer()
        }
        fn rollback(&self, _: &ShardAction<'_>) -> Outcome {
            self.answer()
        }
    }
    const HOUR_US: u64 = 3_600_000_000;
    let patient =
        ResumeOptions { threads: 3, attempts_max: u32::MAX, retry_delay_us: HOUR_US, retry_delay_max_us: HOUR_US };
    let machine = Machine::with_threads(46);
    let (log, manager, _) = machine.recover();
    prepare(&manager);
    let manager = next_manager(&machine, &log, manager);
    let to_ask = u32::try_from(manager.active().unwrap().len()).unwrap();
    let never = Never(Mutex::new(0), Condvar::new());
    std::thread::scope(|scope| {
        let resuming = scope.spawn(|| manager.resume(&never, &patient));
        // Every operation but the one that was not begun is asked for at least once.
        drop(never.1.wait_while(never.0.lock().unwrap(), |asked| *asked < to_ask - 1).unwrap());
        manager.end_resumes();
        assert_eq!(resuming.join().unwrap().err().map(|error| error.code), Some(Code::Closed));
    });
    assert_eq!(manager.resume(&never, &patient).err().map(|error| error.code), Some(Code::Closed), "for good");
    // What it has not done is there for the next manager.
    let manager = next_manager(&machine, &log, manager);
    let shards = Shards::new(answer);
    manager.resume(&shards, &ONE_THREAD).unwrap();
    check_end(&manager, &shards);
    log.close().unwrap();
}

/// A log that was closed is noticed before the next try, whose outcome nobody could note down.
#[test]
fn nobody_is_asked_when_the_log_takes_nothing_more() {
    let machine = Machine::new(47, Durability::Sync);
    let (log, manager, _) = machine.recover();
    manager.append(&saga(1, "N +1 E"), None).unwrap();
    let manager = next_manager(&machine, &log, manager);
    let mut shards = Shards::new(|_| Outcome::Retry);
    shards.beside = Box::new(|_, is_before, _| {
        if is_before {
            log.close().unwrap()
        }
    });
    let ended = manager.resume(&shards, &ResumeOptions { attempts_max: 1000, ..ONE_THREAD });
    assert_eq!(ended.err().map(|error| error.code), Some(Code::Closed));
    assert_eq!(shards.memory.lock().unwrap().calls, 1);
}

/// Three threads: the three steps of a level meet in their callbacks; so do the three of the level before it, in compensation.
#[test]
fn the_steps_of_a_level_run_at_once_and_a_level_waits_for_the_one_before() {
    #[derive(Default)]
    struct Meeting {
        /// Those that have come: by twos of (direction, level).
        came: Mutex<Vec<(Direction, u32)>>,
        all: Condvar,
    }
    impl Meeting {
        fn meet(&self, direction: Direction, level: u32) -> Outcome {
            let mut came = self.came.lock().unwrap();
            came.push((direction, level));
            self.all.notify_all();
            let give_up = Instant::now() + Duration::from_secs(120);
            while came.iter().filter(|one| **one == (direction, level)).count() < 3 {
                assert!(Instant::now() < give_up, "the others of the level do not come");
                came = self.all.wait_timeout(came, Duration::from_secs(1)).unwrap().0;
            }
            if (direction, level) == (Direction::Execute, 2) {
                Outcome::Failed(1)
            } else {
                Outcome::Done
            }
        }
    }
    impl Participants for Meeting {
        fn execute(&self, action: &StepAction<'_>) -> Outcome {
            self.meet(Direction::Execute, action.step.index / 10)
        }
        fn compensate(&self, action: &StepAction<'_>) -> Outcome {
            self.meet(Direction::Compensate, action.step.index / 10)
        }
        fn commit(&self, _: &ShardAction<'_>) -> Outcome {
            Outcome::Done
        }
        fn abort(&self, _: &ShardAction<'_>) -> Outcome {
            Outcome::Done
        }
        fn rollback(&self, _: &ShardAction<'_>) -> Outcome {
            Outcome::Done
        }
    }
    let machine = Machine::with_threads(61);
    let (log, manager, _) = machine.recover();
    let steps = [(0, vec![]), (1, vec![0]), (2, vec![10, 11, 12])];
    let steps = steps.iter().flat_map(|(level, on)| (0..3).map(move |n| step(level * 10 + n, on))).collect();
    let one = manager.saga_create(&spec(steps)).unwrap();
    let manager = next_manager(&machine, &log, manager);
    let meeting = Meeting::default();
    let resumed = manager.resume(&meeting, &ResumeOptions { threads: 3, ..ONE_THREAD }).unwrap();
    assert_eq!((resumed.finished, resumed.calls), (1, 15));
    assert_eq!(manager.saga_status(one.id), Ok(Status::Finished));
    let came: Vec<_> = meeting.came.into_inner().unwrap();
    let order: Vec<_> = came.chunks(3).map(|level| level[0]).collect();
    assert!(came.chunks(3).all(|level| level.iter().all(|one| *one == level[0])), "{came:?}");
    let (execute, undo) = (Direction::Execute, Direction::Compensate);
    assert_eq!(order, [(execute, 0), (execute, 1), (execute, 2), (undo, 1), (undo, 0)]);
    log.close().unwrap();
}
