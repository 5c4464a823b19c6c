//! What one operation, and all of them together, may take.
//!
//! Together they bound memory: each byte of a table's checkpoint stands for a
//! few bytes in memory (at most [`MEMORY_PER_STATE_BYTE`]), and
//! [`STATE_BYTES_DEFAULT`] bounds the checkpoint.

/// Steps of a saga.
pub const STEPS_MAX: usize = 1024;
/// Steps that one step names as those it depends on, all steps of a saga together.
pub const DEPENDENCIES_MAX: usize = 16 * STEPS_MAX;
/// Bytes of a step's compensation payload.
pub const STEP_PAYLOAD_MAX: usize = 64 << 10;
/// Participants of a transaction.
pub const PARTICIPANTS_MAX: usize = 64;
/// Times that a rollback is begun.
pub const ROLLBACK_TRIES_MAX: u8 = 3;
/// Committed transactions that are remembered, so that they can be rolled back; the oldest goes first.
pub const COMMITTED_KEPT: usize = 256;
/// Bytes of a table's checkpoint beyond which nothing new is begun.  A checkpoint
/// is one record, so this stays below what a record may hold.
pub const STATE_BYTES_DEFAULT: usize = 8 << 20;
/// Memory for each byte of a table's checkpoint, at most: the bytes themselves, map nodes, rounded-up vectors.
pub const MEMORY_PER_STATE_BYTE: usize = 8;

const _: () = assert!(STATE_BYTES_DEFAULT as u64 <= crate::base::limits::RECORD_SIZE_MAX_DEFAULT / 2);
const _: () = assert!(STEPS_MAX <= u16::MAX as usize);
