//! The name of one action, by which a participant recognises a repeat.
//!
//! It is made of what never changes: the log, the operation, the step or shard,
//! what is to be done.  Not of the attempt, the epoch or the place in the log:
//! a restarted coordinator asks for the same action under the same name.

use sha2::{Digest, Sha256};

use super::event::Name;
use super::Family;

/// 16 bytes that name an action.
pub type Token = [u8; 16];

/// What is to be done to a step or a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Direction {
    /// Do a step.
    Execute = 1,
    /// Undo a step.
    Compensate = 2,
    /// Ask a shard for its vote.
    Prepare = 3,
    /// Make a shard's part final.
    Commit = 4,
    /// Drop a shard's part.
    Abort = 5,
    /// Undo a shard's part that was final.
    Rollback = 6,
}

/// The token of a saga's step.
pub fn of_step(log_id: &[u8; 16], saga: u64, step: u32, direction: Direction) -> Token {
    token(log_id, Family::Saga, saga, direction, &step.to_le_bytes())
}

/// The token of a transaction's participant.
pub fn of_shard(log_id: &[u8; 16], transaction: u64, shard: &Name, direction: Direction) -> Token {
    token(log_id, Family::Transaction, transaction, direction, shard)
}

/// Every part but the last has a fixed width, and the kind fixes the last one's: no two actions give the same bytes.
fn token(log_id: &[u8; 16], family: Family, id: u64, direction: Direction, part: &[u8]) -> Token {
    let mut hash = Sha256::new();
    hash.update(log_id);
    hash.update([family as u8]);
    hash.update(id.to_le_bytes());
    hash.update([direction as u8]);
    hash.update(part);
    let mut token = [0; 16];
    token.copy_from_slice(&hash.finalize()[..16]);
    token
}
