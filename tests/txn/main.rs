//! Goal: the pure floor of the transaction layer: events, machines, table, plan.
//! Method: what is legal is written here from the requirements, pair by pair, and
//! held against the machines; random histories are cut, checkpointed and planned.

mod events;
mod histories;
mod machines;
mod plans;
mod streams;
mod words;

use twal::txn::{Applied, Event, Purge, StreamEvent, Tombstone};
use words::{name, saga, saga_event, transaction, transaction_event};

fn tombstone(stream: u64, below_seq: u64, name: &[u8]) -> Event {
    Event::Stream(stream, StreamEvent::Tombstone(Tombstone { below_seq, name: name.to_vec() }))
}

fn purge(stream: u64, before: i64, tag: u8, purged: u64) -> Event {
    Event::Stream(stream, StreamEvent::Purge(Purge { before, tag, purged }))
}

fn applied(stream: u64, epoch: u64, position: u64) -> Event {
    Event::Stream(stream, StreamEvent::Applied(Applied { epoch, position }))
}
