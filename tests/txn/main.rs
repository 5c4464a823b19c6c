//! Goal: the pure floor of the transaction layer: events, machines, table, plan.
//! Method: what is legal is written here from the requirements, pair by pair, and
//! held against the machines; random histories are cut, checkpointed and planned.

mod events;
mod histories;
mod machines;
mod plans;
mod words;

use words::{name, saga, saga_event, transaction, transaction_event};
