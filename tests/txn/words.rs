//! Events in words of a letter, and which action is due when a history ends there.

use twal::txn::event::Name;
use twal::txn::{Event, SagaEvent, Step, TransactionEvent};

/// A shard, node or coordinator.
pub fn name(number: u32) -> Name {
    [u8::try_from(number).unwrap(); 32]
}

/// The events of saga `id` that the words stand for:
/// N created · +n or +n:a,b step n added, depending on a and b · E execute_start · s succeeded · f failed ·
/// C compensation_start · u undone · x undoing failed · D completed · U compensated · A aborted
pub fn saga(id: u64, words: &str) -> Vec<Event> {
    words.split_whitespace().map(|word| Event::Saga(id, saga_event(word))).collect()
}

pub fn saga_event(word: &str) -> SagaEvent {
    let (index, depends_on) = word[1..].split_once(':').unwrap_or((&word[1..], ""));
    let depends_on: Vec<u32> = depends_on.split_terminator(',').map(|index| index.parse().unwrap()).collect();
    let step = || index.parse().unwrap();
    match &word[..1] {
        "N" => SagaEvent::Created { coordinator: name(7) },
        "+" => SagaEvent::StepAdded(Step { index: step(), action: 5, depends_on, payload: b"undo".to_vec() }),
        "E" => SagaEvent::ExecuteStart,
        "s" => SagaEvent::StepSucceeded { step: step() },
        "f" => SagaEvent::StepFailed { step: step(), error: 99 },
        "C" => SagaEvent::CompensationStart,
        "u" => SagaEvent::CompensationSucceeded { step: step() },
        "x" => SagaEvent::CompensationFailed { step: step(), retries: 2 },
        "D" => SagaEvent::Completed,
        "U" => SagaEvent::Compensated,
        "A" => SagaEvent::Aborted,
        other => panic!("{other}"),
    }
}

/// The events of transaction `id` that the words stand for:
/// N created · +n shard n added · P prepare_start · v vote commit · n vote abort · C commit_start · D commit_complete ·
/// A abort_start · B abort_complete · R rollback_start · S rollback_complete
pub fn transaction(id: u64, words: &str) -> Vec<Event> {
    words.split_whitespace().map(|word| Event::Transaction(id, transaction_event(word))).collect()
}

pub fn transaction_event(word: &str) -> TransactionEvent {
    let shard = || name(word[1..].parse().unwrap());
    match &word[..1] {
        "N" => TransactionEvent::Created { coordinator: name(7) },
        "+" => TransactionEvent::ParticipantAdded { shard: shard(), node: name(8) },
        "P" => TransactionEvent::PrepareStart,
        "v" => TransactionEvent::VoteReceived { shard: shard(), commit: true },
        "n" => TransactionEvent::VoteReceived { shard: shard(), commit: false },
        "C" => TransactionEvent::CommitStart,
        "D" => TransactionEvent::CommitComplete,
        "A" => TransactionEvent::AbortStart,
        "B" => TransactionEvent::AbortComplete,
        "R" => TransactionEvent::RollbackStart,
        "S" => TransactionEvent::RollbackComplete,
        other => panic!("{other}"),
    }
}

/// A history, the action that is due behind it, its steps or participants, and how many are done.
pub type Row = (&'static str, &'static str, usize, usize);

pub const SAGA_ACTIONS: [Row; 10] = [
    ("N", "none", 0, 0),
    ("N +1 +2", "none", 2, 0),
    ("N +1 +2 E", "saga_resume_execute", 2, 0),
    ("N +1 +2 E s1", "saga_resume_execute", 2, 1),
    ("N +1 +2 E s1 s2", "saga_resume_execute", 2, 2),
    ("N +1 +2 E s1 f2", "saga_resume_compensate", 2, 0),
    ("N +1 +2 E s1 C", "saga_resume_compensate", 2, 0),
    ("N +1 +2 E s1 s2 C x2", "saga_resume_compensate", 2, 0),
    ("N +1 +2 E s1 s2 C u2", "saga_resume_compensate", 2, 1),
    ("N +1 +2 E s1 f2 C u1", "saga_resume_compensate", 2, 1),
];
pub const SAGAS_FINISHED: [&str; 3] = ["N +1 E s1 D", "N +1 +2 E s1 f2 C u1 U", "N A"];

pub const TRANSACTION_ACTIONS: [Row; 12] = [
    ("N", "none", 0, 0),
    ("N +1 +2", "none", 2, 0),
    ("N +1 +2 P", "tx_resume_abort", 2, 0),
    ("N +1 +2 P v1", "tx_resume_abort", 2, 1),
    ("N +1 +2 P n1", "tx_resume_abort", 2, 1),
    ("N +1 +2 P v1 n2", "tx_resume_abort", 2, 2),
    ("N +1 +2 A", "tx_resume_abort", 2, 0),
    ("N +1 +2 P v1 v2 A", "tx_resume_abort", 2, 2),
    ("N +1 +2 P v1 v2", "tx_resume_commit", 2, 2),
    ("N +1 +2 P v1 v2 C", "tx_resume_commit", 2, 2),
    ("N +1 +2 P v1 v2 C R", "tx_resume_rollback", 2, 2),
    ("N +1 +2 P v1 v2 C D R", "tx_resume_rollback", 2, 2),
];
pub const TRANSACTIONS_FINISHED: [&str; 3] = ["N +1 P v1 C D", "N +1 P n1 A B", "N +1 P v1 C D R S"];
