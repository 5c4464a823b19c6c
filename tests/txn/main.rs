//! Goal: the pure floor of the transaction layer: events, machines, table, plan.
//! Method: what is legal is written here from the requirements, pair by pair, and
//! held against the machines; random histories are cut, checkpointed and planned.

mod events;
mod histories;
mod machines;
mod plans;
mod streams;

use twal::txn::event::Name;
use twal::txn::{Applied, Event, Purge, SagaEvent, Step, StreamEvent, Tombstone, TransactionEvent};

/// A shard, node or coordinator.
fn name(number: u32) -> Name {
    [u8::try_from(number).unwrap(); 32]
}

/// The events of saga `id` that the words stand for:
/// N created · +n or +n:a,b step n added, depending on a and b · E execute_start · s succeeded · f failed ·
/// C compensation_start · u undone · x undoing failed · D completed · U compensated · A aborted
fn saga(id: u64, words: &str) -> Vec<Event> {
    words.split_whitespace().map(|word| Event::Saga(id, saga_event(word))).collect()
}

fn saga_event(word: &str) -> SagaEvent {
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
fn transaction(id: u64, words: &str) -> Vec<Event> {
    words.split_whitespace().map(|word| Event::Transaction(id, transaction_event(word))).collect()
}

fn tombstone(stream: u64, below_seq: u64, name: &[u8]) -> Event {
    Event::Stream(stream, StreamEvent::Tombstone(Tombstone { below_seq, name: name.to_vec() }))
}

fn purge(stream: u64, before: i64, tag: u8, purged: u64) -> Event {
    Event::Stream(stream, StreamEvent::Purge(Purge { before, tag, purged }))
}

fn applied(stream: u64, epoch: u64, position: u64) -> Event {
    Event::Stream(stream, StreamEvent::Applied(Applied { epoch, position }))
}

fn transaction_event(word: &str) -> TransactionEvent {
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
