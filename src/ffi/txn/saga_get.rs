//! Sagas: what is asked of them.

use std::ffi::{c_int, c_void};
use std::mem::offset_of;

use super::manager::{call, check_room, inval, twal_txn};
use super::operation::{direction_of, operation_of, saga_state_number, twal_txn_operation};
use crate::base::bytes::len_u64;
use crate::base::{Code, Error, Result};
use crate::ffi::guard::{guard_uncancelled, must_have};
use crate::ffi::sized;
use crate::txn::saga::SagaStep;
use crate::txn::{Direction, Saga, StepStatus, Unfinished};

/// Where a step is.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum twal_step_state {
    /// No outcome yet.
    TWAL_STEP_PENDING = 1,
    /// Done.
    TWAL_STEP_SUCCEEDED = 2,
    /// Not done; number is the program's error number.
    TWAL_STEP_FAILED = 3,
    /// Done, and undoing it failed number times.
    TWAL_STEP_COMPENSATION_FAILED = 4,
    /// Done and undone.
    TWAL_STEP_COMPENSATED = 5,
}

/// A step, as it is.  It never changes.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct twal_saga_step_info {
    /// As it was added.
    pub index: u32,
    /// As it was added.
    pub action: u32,
    /// See twal_saga_step.depends_on_count.
    pub level: u32,
    /// One of twal_step_state.
    pub state: u32,
    /// See twal_step_state; else 0.
    pub number: u32,
    /// Bytes of its payload: twal_saga_payload_get() has them.
    pub payload_len: u32,
    /// 0.
    pub reserved: [u64; 2],
}

const _: () = assert!(size_of::<twal_saga_step_info>() == 40 && offset_of!(twal_saga_step_info, reserved) == 24);

/// Tells where a saga is.
///
/// TWAL_SAGA_FINISHED is durable when it is told, whatever the flags were that
/// its last event was told with.  TWAL_SAGA_FAILED may not be.
///
///   txn        a manager
///   id         the saga; any number
///   state_out  receives one of twal_saga_state.  Untouched on failure.
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
pub unsafe extern "C" fn twal_saga_state_get(txn: *const twal_txn, id: u64, state_out: *mut u32) -> c_int {
    guard_uncancelled(|| {
        // SAFETY: NULL or room for a number (C contract).
        let valid = || unsafe { must_have(state_out) };
        // SAFETY: NULL or a manager (C contract).
        let status = unsafe { call(txn, valid, |handle, _| handle.manager.saga_status(id))? };
        // SAFETY: must_have has seen it.
        unsafe { state_out.write(saga_state_number(status)) };
        Ok(())
    })
}

/// Tells all of a saga that is not finished.
///
///   txn            a manager
///   id             the saga
///   operation_out  receives it; its struct_size must be set, as
///                  TWAL_TXN_OPERATION_INIT does.  parts says how many steps
///                  there are, also if fewer were asked for.  Untouched on
///                  failure.
///   steps_out      receives its first steps, in the order in which they were
///                  added; NULL if capacity is 0.  Untouched on failure.
///   capacity       how many steps there is room for
///
/// Returns TWAL_OK, or
///
///   TWAL_E_INVAL     txn or operation_out is NULL, struct_size is no size that
///                    a release of twal ever had, or steps_out is NULL or not
///                    aligned and capacity is not 0
///   TWAL_E_FORKED    this process is a fork()ed child
///   TWAL_E_CLOSED    twal_close() or twal_txn_close() has begun
///   TWAL_E_POISONED  an earlier write or flush failed: what is in the log is
///                    known after the next recovery
///   TWAL_E_NOTFOUND  there is no such saga, or it is finished
///   TWAL_E_IO        a write or flush failed
///   TWAL_E_PANIC     a bug in twal was caught
///
/// Blocks:  on the device, if a decision, or an end that is shown, is not durable.
/// Threads: any.
/// Signals: not async-signal-safe.
/// Since:   0.1
#[must_use]
#[no_mangle]
pub unsafe extern "C" fn twal_saga_get(
    txn: *const twal_txn,
    id: u64,
    operation_out: *mut twal_txn_operation,
    steps_out: *mut twal_saga_step_info,
    capacity: usize,
) -> c_int {
    guard_uncancelled(|| {
        let valid = || {
            // SAFETY: NULL or an operation as long as it says (C contract).
            unsafe { sized::check(operation_out)? };
            check_room(steps_out, capacity)
        };
        // SAFETY: NULL or a manager (C contract).
        let saga = unsafe { call(txn, valid, |handle, ()| saga_of(handle, id))? };
        // SAFETY: as for the check above.
        unsafe { sized::give(operation_out, &operation_of(&Unfinished::of_saga(id, &saga)))? };
        for (at, step) in saga.steps().iter().take(capacity).enumerate() {
            // SAFETY: aligned, and room for `capacity` steps (C contract).
            unsafe { steps_out.add(at).write(info_of(step)) };
        }
        Ok(())
    })
}

fn saga_of(handle: &twal_txn, id: u64) -> Result<Saga> {
    handle.manager.saga(id)?.ok_or_else(|| Error::new(Code::NotFound, format!("no saga {id} is active")))
}

fn info_of(step: &SagaStep) -> twal_saga_step_info {
    use twal_step_state::*;
    let (state, number) = match step.status {
        StepStatus::Pending => (TWAL_STEP_PENDING, 0),
        StepStatus::Succeeded => (TWAL_STEP_SUCCEEDED, 0),
        StepStatus::Failed(error) => (TWAL_STEP_FAILED, error),
        StepStatus::CompensationFailed(retries) => (TWAL_STEP_COMPENSATION_FAILED, retries),
        StepStatus::Compensated => (TWAL_STEP_COMPENSATED, 0),
    };
    twal_saga_step_info {
        index: step.step.index,
        action: step.step.action.into(),
        level: step.level,
        state: state as u32,
        number,
        payload_len: u32::try_from(step.step.payload.len()).expect("at most STEP_PAYLOAD_MAX"),
        reserved: [0, 0],
    }
}

/// Copies what a step was given to be undone with.
///
///   txn       a manager
///   id        the saga, not finished
///   step      index of the step
///   data_out  receives the payload's first bytes, as many as there is room
///             for; NULL if capacity is 0.  Untouched on failure.
///   capacity  bytes that there is room for
///   len_out   receives how many bytes the payload has.  Untouched on failure.
///
/// Returns TWAL_OK, or
///
///   TWAL_E_INVAL     txn or len_out is NULL, or data_out is NULL and capacity
///                    is not 0
///   TWAL_E_FORKED    this process is a fork()ed child
///   TWAL_E_CLOSED    twal_close() or twal_txn_close() has begun
///   TWAL_E_POISONED  an earlier write or flush failed: what is in the log is
///                    known after the next recovery
///   TWAL_E_NOTFOUND  there is no such saga or step, or the saga is finished
///   TWAL_E_IO        a write or flush failed
///   TWAL_E_PANIC     a bug in twal was caught
///
/// Blocks:  on the device, if a decision, or an end that is shown, is not durable.
/// Threads: any.
/// Signals: not async-signal-safe.
/// Since:   0.1
#[must_use]
#[no_mangle]
pub unsafe extern "C" fn twal_saga_payload_get(
    txn: *const twal_txn,
    id: u64,
    step: u32,
    data_out: *mut c_void,
    capacity: usize,
    len_out: *mut u64,
) -> c_int {
    guard_uncancelled(|| {
        let data_out = data_out.cast::<u8>();
        // SAFETY: NULL or room for a number (C contract).
        let valid = || check_room(data_out, capacity).and_then(|()| unsafe { must_have(len_out) });
        // SAFETY: NULL or a manager (C contract).
        let saga = unsafe { call(txn, valid, |handle, _| saga_of(handle, id))? };
        let found = saga.steps().iter().find(|one| one.step.index == step);
        let missing = || Error::new(Code::NotFound, format!("saga {id} has no step {step}"));
        let payload = &found.ok_or_else(missing)?.step.payload;
        if capacity > 0 {
            // SAFETY: room for `capacity` bytes (C contract), and `payload` is ours.
            unsafe { std::ptr::copy_nonoverlapping(payload.as_ptr(), data_out, payload.len().min(capacity)) };
        }
        // SAFETY: must_have has seen it.
        unsafe { len_out.write(len_u64(payload.len())) };
        Ok(())
    })
}

/// Tells the name of one action of a saga.
///
/// The same after every crash, on every attempt, in every epoch: a participant
/// that remembers the tokens it has seen does nothing twice.  Asks nobody
/// whether there is such a saga or step.
///
///   txn        a manager
///   id         the saga
///   step       index of the step
///   direction  TWAL_DIRECTION_EXECUTE or TWAL_DIRECTION_COMPENSATE
///   token_out  receives 16 bytes.  Untouched on failure.
///
/// Returns TWAL_OK, or
///
///   TWAL_E_INVAL   txn or token_out is NULL, id is 0, or direction is none of
///                  these
///   TWAL_E_FORKED  this process is a fork()ed child
///   TWAL_E_CLOSED  twal_txn_close() has begun
///
/// Blocks:  no.
/// Threads: any.
/// Signals: not async-signal-safe.
/// Since:   0.1
#[no_mangle]
pub unsafe extern "C" fn twal_saga_token(
    txn: *const twal_txn,
    id: u64,
    step: u32,
    direction: u32,
    token_out: *mut u8,
) -> c_int {
    guard_uncancelled(|| {
        let valid = || match direction_of(direction) {
            Some(direction @ (Direction::Execute | Direction::Compensate)) if id > 0 => {
                // SAFETY: NULL or room for a token (C contract).
                unsafe { must_have(token_out) }.map(|_| direction)
            }
            _ => inval("id is 0, or direction is none of a saga's"),
        };
        // SAFETY: NULL or a manager (C contract).
        let token =
            unsafe { call(txn, valid, |handle, direction| Ok(handle.manager.token_of_step(id, step, direction)))? };
        // SAFETY: room for a token (C contract), seen by must_have; bytes need no alignment.
        unsafe { token_out.cast::<[u8; 16]>().write(token) };
        Ok(())
    })
}
