//! Two-phase commits: what is asked of them.

use std::ffi::c_int;

use super::manager::{call, check_room, inval, name_of, twal_txn};
use super::operation::{direction_of, operation_of, twal_txn_operation, tx_state_number};
use super::two_phase::{twal_2pc_participant, twal_vote};
use crate::base::{Code, Error, Result};
use crate::ffi::guard::{guard_uncancelled, must_have};
use crate::ffi::sized;
use crate::txn::{Direction, Manager, Participant, Status, Transaction, TransactionState, Unfinished};

/// Tells where a two-phase commit is: what a participant asks that does not
/// know its outcome.
///
/// TWAL_2PC_COMMITTED and TWAL_2PC_FINISHED are durable when they are told,
/// whatever the flags were that its last event was told with.  TWAL_2PC_PREPARED
/// and TWAL_2PC_REFUSED tell votes, which may not be: neither is an outcome.
///
///   txn        a manager
///   id         the two-phase commit; any number
///   state_out  receives one of twal_2pc_state.  Untouched on failure.
///
/// Returns TWAL_OK, or
///
///   TWAL_E_INVAL     txn or state_out is NULL
///   TWAL_E_FORKED    this process is a fork()ed child
///   TWAL_E_CLOSED    twal_close() or twal_txn_close() has begun
///   TWAL_E_POISONED  an earlier write or flush failed: what is in the log is
///                    known after the next recovery
///   TWAL_E_IO        a write or flush failed
///   TWAL_E_PANIC     a bug in twal was caught
///
/// Blocks:  on the device, if a decision, or an end that is shown, is not durable.
/// Threads: any.
/// Signals: not async-signal-safe.
/// Since:   0.1
#[must_use]
#[no_mangle]
pub unsafe extern "C" fn twal_2pc_state_get(txn: *const twal_txn, id: u64, state_out: *mut u32) -> c_int {
    guard_uncancelled(|| {
        // SAFETY: NULL or room for a number (C contract).
        let valid = || unsafe { must_have(state_out) };
        // SAFETY: NULL or a manager (C contract).
        let status = unsafe { call(txn, valid, |handle, _| status_of(&handle.manager, id))? };
        // SAFETY: must_have has seen it.
        unsafe { state_out.write(tx_state_number(status)) };
        Ok(())
    })
}

/// Committed as such, as long as it is remembered.
fn status_of(manager: &Manager, id: u64) -> Result<Status<TransactionState>> {
    let status = manager.transaction_status(id)?;
    if status != Status::Finished {
        return Ok(status);
    }
    Ok(manager.transaction(id)?.map_or(status, |transaction| Status::Active(transaction.state())))
}

/// Tells all of a two-phase commit that is not finished, or of one of the last
/// 256 that committed.
///
///   txn               a manager
///   id                the two-phase commit
///   operation_out     receives it; its struct_size must be set, as
///                     TWAL_TXN_OPERATION_INIT does.  parts says how many
///                     participants there are, also if fewer were asked for.
///                     Untouched on failure.
///   participants_out  receives its first participants, in the order in which
///                     they were added; NULL if capacity is 0.  Untouched on
///                     failure.
///   capacity          how many participants there is room for
///
/// Returns TWAL_OK, or
///
///   TWAL_E_INVAL     txn or operation_out is NULL, struct_size is no size that
///                    a release of twal ever had, or participants_out is NULL
///                    or not aligned and capacity is not 0
///   TWAL_E_FORKED    this process is a fork()ed child
///   TWAL_E_CLOSED    twal_close() or twal_txn_close() has begun
///   TWAL_E_POISONED  an earlier write or flush failed: what is in the log is
///                    known after the next recovery
///   TWAL_E_NOTFOUND  there is no such one, or nothing more is known of it
///   TWAL_E_IO        a write or flush failed
///   TWAL_E_PANIC     a bug in twal was caught
///
/// Blocks:  on the device, if a decision, or an end that is shown, is not durable.
/// Threads: any.
/// Signals: not async-signal-safe.
/// Since:   0.1
#[must_use]
#[no_mangle]
pub unsafe extern "C" fn twal_2pc_get(
    txn: *const twal_txn,
    id: u64,
    operation_out: *mut twal_txn_operation,
    participants_out: *mut twal_2pc_participant,
    capacity: usize,
) -> c_int {
    guard_uncancelled(|| {
        let valid = || {
            // SAFETY: NULL or an operation as long as it says (C contract).
            unsafe { sized::check(operation_out)? };
            check_room(participants_out, capacity)
        };
        // SAFETY: NULL or a manager (C contract).
        let transaction = unsafe { call(txn, valid, |handle, ()| transaction_of(handle, id))? };
        // SAFETY: as for the check above.
        unsafe { sized::give(operation_out, &operation_of(&Unfinished::of_transaction(id, &transaction)))? };
        for (at, one) in transaction.participants().iter().take(capacity).enumerate() {
            // SAFETY: aligned, and room for `capacity` participants (C contract).
            unsafe { participants_out.add(at).write(participant_of(one)) };
        }
        Ok(())
    })
}

fn transaction_of(handle: &twal_txn, id: u64) -> Result<Transaction> {
    let missing = || Error::new(Code::NotFound, format!("of a two-phase commit {id} nothing is known"));
    handle.manager.transaction(id)?.ok_or_else(missing)
}

fn participant_of(one: &Participant) -> twal_2pc_participant {
    let vote = match one.vote {
        None => twal_vote::TWAL_VOTE_NONE,
        Some(true) => twal_vote::TWAL_VOTE_COMMIT,
        Some(false) => twal_vote::TWAL_VOTE_ABORT,
    };
    twal_2pc_participant { shard: one.shard, node: one.node, vote: vote as u32, reserved: [0, 0, 0] }
}

/// Tells the name of one action of a two-phase commit.
///
/// The same after every crash, on every attempt, in every epoch: a participant
/// that remembers the tokens it has seen does nothing twice.  Asks nobody
/// whether there is such a two-phase commit or shard.
///
///   txn        a manager
///   id         the two-phase commit
///   shard      32 bytes that name the shard
///   direction  one of twal_direction, from TWAL_DIRECTION_PREPARE on
///   token_out  receives 16 bytes.  Untouched on failure.
///
/// Returns TWAL_OK, or
///
///   TWAL_E_INVAL   txn, shard or token_out is NULL, id is 0, or direction is
///                  none of these
///   TWAL_E_FORKED  this process is a fork()ed child
///   TWAL_E_CLOSED  twal_txn_close() has begun
///
/// Blocks:  no.
/// Threads: any.
/// Signals: not async-signal-safe.
/// Since:   0.1
#[no_mangle]
pub unsafe extern "C" fn twal_2pc_token(
    txn: *const twal_txn,
    id: u64,
    shard: *const u8,
    direction: u32,
    token_out: *mut u8,
) -> c_int {
    guard_uncancelled(|| {
        let valid = || match direction_of(direction) {
            None | Some(Direction::Execute | Direction::Compensate) => {
                inval("direction is none of a two-phase commit's")
            }
            Some(_) if id == 0 => inval("no operation has the id 0"),
            Some(direction) => {
                // SAFETY: NULL or room for a token (C contract).
                unsafe { must_have(token_out)? };
                // SAFETY: NULL or 32 bytes (C contract).
                Ok((unsafe { name_of(shard)? }, direction))
            }
        };
        // SAFETY: NULL or a manager (C contract).
        let token = unsafe {
            call(txn, valid, |handle, (shard, direction)| Ok(handle.manager.token_of_shard(id, &shard, direction)))?
        };
        // SAFETY: room for a token (C contract), seen by must_have; bytes need no alignment.
        unsafe { token_out.cast::<[u8; 16]>().write(token) };
        Ok(())
    })
}
