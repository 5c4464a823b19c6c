//! What one operation, and all of them together, may take.
//!
//! Together they bound memory: each byte of a table's checkpoint stands for at most
//! [`MEMORY_PER_STATE_BYTE`] in memory, and `state_max` of [`super::Table::check`]
//! bounds the checkpoint.

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
/// The highest id that is brought: told by the program, or in a file of the v2.6 layout.  Those above it are the table's own
/// next ones: one that leaps there would leave no room for those that come after it.
pub const ID_LEAP_MAX: u64 = 1 << 63;
/// Bytes of a tombstone's name.
pub const STREAM_NAME_MAX: usize = 255;
/// Purges of a stream that stand at once: each names an earlier time than the one before it.
pub const PURGES_MAX: usize = 64;
/// Committed transactions that are remembered, so that they can be rolled back; the oldest goes first.
pub const COMMITTED_KEPT: usize = 256;
/// Bytes of a table's state beyond which nothing new is begun.  A checkpoint is one
/// record: of a log whose records are smaller, the bound is what a record may hold, less
/// the 16 bytes in front of the state.
pub const STATE_BYTES_DEFAULT: usize = 8 << 20;
/// Memory for each byte of a table's state, at most: a step of 20 bytes there is one of 72 here, in a vector
/// that may have twice the room, with two small allocations.
pub const MEMORY_PER_STATE_BYTE: usize = 10;

const _: () = assert!(STATE_BYTES_DEFAULT as u64 <= crate::base::limits::RECORD_SIZE_MAX_DEFAULT / 2);
const _: () = assert!(STEPS_MAX <= u16::MAX as usize);
