//! Sagas: what is told of them.

use std::ffi::{c_int, c_void};
use std::mem::offset_of;

use super::manager::{array_of, choose, inval, sync_of, tell, twal_txn};
use crate::base::{Code, Error, Result};
use crate::ffi::entry::{check_payload, payload};
use crate::ffi::sized::{self, Grows};
use crate::txn::limits::{DEPENDENCIES_MAX, STEPS_MAX, STEP_PAYLOAD_MAX};
use crate::txn::{SagaSpec, Step};

/// A step of a saga, as it is added.  It never changes.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct twal_saga_step {
    /// Indices of the steps that must have succeeded before this one, each
    /// added before it and named once; NULL if depends_on_count is 0.
    pub depends_on: *const u32,
    /// How many.  Steps that depend on none have level 0, others one more than
    /// the highest that they depend on; the steps of a level run at once.
    pub depends_on_count: usize,
    /// What the program needs to undo it; not interpreted.  NULL if payload_len
    /// is 0.
    pub payload: *const c_void,
    /// Bytes of it, at most 65536.
    pub payload_len: usize,
    /// The program's number of the step, unique in its saga.
    pub index: u32,
    /// What is to be done, in the program's code: 0 to 255.
    pub action: u32,
    /// Must be 0.
    pub reserved: [u64; 2],
}

const _: () = assert!(size_of::<twal_saga_step>() == 56 && offset_of!(twal_saga_step, index) == 32);

/// twal_saga_spec.flags: bits.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum twal_saga_flags {
    /// Its steps run from now on: no step can be added.
    TWAL_SAGA_START = 1,
}

/// A saga, told as a whole.  Start from TWAL_SAGA_SPEC_INIT.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct twal_saga_spec {
    /// sizeof(twal_saga_spec).
    pub struct_size: u64,
    /// 0: the next one.  Else above every earlier saga's, and at most 2^63.
    pub id: u64,
    /// Its steps; one that depends on others comes after them.  NULL if
    /// step_count is 0.
    pub steps: *const twal_saga_step,
    /// How many, at most 1024.
    pub step_count: usize,
    /// Who runs it: the program's bytes.
    pub coordinator: [u8; 32],
    /// Bits of twal_saga_flags.
    pub flags: u32,
    /// Must be 0.
    pub reserved: u32,
}

// SAFETY: repr(C) without holes (72 = 4 * 8 + 32 + 2 * 4), struct_size first; a pointer of zeros is NULL.
unsafe impl Grows for twal_saga_spec {
    const NAME: &'static str = "twal_saga_spec";
    const FIRST_SIZE: usize = 72;
}

const _: () = assert!(size_of::<twal_saga_spec>() == 72);

const START: u32 = twal_saga_flags::TWAL_SAGA_START as u32;

/// The step as Rust has it.
///
/// # Safety
///
/// What `step` points to is there and unchanged during the call.
unsafe fn step_of(step: &twal_saga_step) -> Result<Step> {
    let Ok(action) = u8::try_from(step.action) else { return inval("step.action is above 255") };
    if step.reserved != [0, 0] {
        return inval("step.reserved is not 0");
    }
    check_payload(step.payload, step.payload_len)?;
    // SAFETY: the contract.
    let depends_on = unsafe { array_of(step.depends_on, step.depends_on_count, DEPENDENCIES_MAX)? };
    if step.payload_len > STEP_PAYLOAD_MAX {
        let text = format!("a payload of {} bytes; a step has at most {STEP_PAYLOAD_MAX}", step.payload_len);
        return Err(Error::new(Code::TooBig, text));
    }
    // SAFETY: checked by check_payload, short; there and unchanged (contract).
    let payload = unsafe { payload(step.payload, step.payload_len) };
    Ok(Step { index: step.index, action, depends_on: depends_on.to_vec(), payload: payload.to_vec() })
}

/// The saga as Rust has it.
///
/// # Safety
///
/// `spec` is NULL or a twal_saga_spec as long as it says, and what it points to is there and unchanged during the call.
unsafe fn spec_of(spec: *const twal_saga_spec) -> Result<SagaSpec> {
    if spec.is_null() {
        return Ok(SagaSpec::default());
    }
    // SAFETY: the contract.
    let taken = unsafe { sized::take(spec)? };
    if taken.value.flags & !START != 0 || taken.value.reserved != 0 {
        return inval("saga_spec has unknown flags, or reserved is not 0");
    }
    let spec = taken.known()?;
    // SAFETY: the contract.
    let steps = unsafe { array_of(spec.steps, spec.step_count, STEPS_MAX)? };
    // SAFETY: the contract.
    let steps = steps.iter().map(|step| unsafe { step_of(step) }).collect::<Result<Vec<_>>>()?;
    let id = (spec.id != 0).then_some(spec.id);
    Ok(SagaSpec { id, coordinator: spec.coordinator, steps, start: spec.flags & START != 0 })
}

/// Begins a saga, with its steps if they are known.
///
/// The saga, its steps and, with TWAL_SAGA_START, its start are one batch:
/// after any crash all of it is there or nothing.  It is durable on return, in
/// every mode of the log.
///
///   txn      a manager
///   spec     the saga; NULL: the next id, no steps yet, no coordinator
///   id_out   receives its id; NULL if you do not need it.  Untouched on
///            failure.
///   seq_out  receives its first record's number; NULL if you do not need it.
///            Untouched on failure.
///
/// Returns TWAL_OK, or
///
///   TWAL_E_INVAL        txn is NULL; spec.struct_size is none, spec.flags has
///                       unknown bits, a reserved field is not 0, an array is
///                       NULL and its count is not 0, an action is above 255, or
///                       spec.id is above 2^63
///   TWAL_E_UNSUPPORTED  spec says something that this release does not know
///   TWAL_E_TOOBIG       more than 1024 steps, 65536 bytes of payload in one of
///                       them, 16384 dependencies, or more state than all
///                       operations together may have, or the log takes in one
///                       batch
///   TWAL_E_STATE        spec.id is not above every earlier saga's, an index is
///                       there twice, or a step depends on what was not added
///                       before it
///   TWAL_E_BUSY         twal_import() runs
///   and what twal_saga_add_step() returns
///
/// Blocks:  on the device: it returns when this is durable.
/// Threads: any.
/// Signals: not async-signal-safe.
/// Since:   0.1
#[must_use]
#[no_mangle]
pub unsafe extern "C" fn twal_saga_create(
    txn: *mut twal_txn,
    spec: *const twal_saga_spec,
    id_out: *mut u64,
    seq_out: *mut u64,
) -> c_int {
    // SAFETY: NULL or a spec with what it points to (C contract).
    let valid = || unsafe { spec_of(spec) };
    // SAFETY: NULL or a manager, each NULL or room for a number (C contract).
    unsafe { choose(txn, valid, |manager, spec| manager.saga_create(&spec), id_out, seq_out) }
}

/// Adds a step to a saga that is not started.
///
///   txn      a manager
///   id       the saga
///   step     the step, copied before the call returns
///   flags    0: durable on return if the log's mode is TWAL_SYNC; or
///            TWAL_APPEND_SYNC or TWAL_APPEND_NO_SYNC, which override it
///   seq_out  receives the record's number; NULL if you do not need it.
///            Untouched on failure.
///
/// Returns TWAL_OK, or
///
///   TWAL_E_INVAL     txn is NULL, id is 0, step is NULL or not
///                    aligned, its reserved is not 0, one of its arrays is NULL
///                    and the count is not 0, its action is above 255; or flags
///                    has unknown bits, or both
///   TWAL_E_TOOBIG    more than 1024 steps, 65536 bytes of payload, or 16384
///                    dependencies in the saga
///   TWAL_E_FORKED    this process is a fork()ed child
///   TWAL_E_CLOSED    twal_close() or twal_txn_close() has begun
///   TWAL_E_POISONED  an earlier write or flush failed
///   TWAL_E_STATE     not legal now: twal_last_error() tells the state and the
///                    rule; or there is no such operation, or it is finished
///   TWAL_E_AGAIN     all operations together have as much state as a
///                    checkpoint may hold: something must finish first
///   TWAL_E_NOSPC, TWAL_E_TIMEOUT, TWAL_E_PERM, TWAL_E_NOMEM,
///   TWAL_E_UNSUPPORTED
///                    no room, or the next segment's file could not be made, as
///                    for twal_append()
///   TWAL_E_IO        a write or flush failed
///   TWAL_E_PANIC     a bug in twal was caught
///
/// After TWAL_E_IO, TWAL_E_POISONED, TWAL_E_PANIC, and TWAL_E_CLOSED of a log
/// that another thread closes, the next twal_txn_recover() knows whether it is
/// in the log.  After any other error nothing was written.
///
/// Blocks:  on the device, where it waits for durability, and while the log has
///          no room.
/// Threads: any.
/// Signals: not async-signal-safe.
/// Since:   0.1
#[must_use]
#[no_mangle]
pub unsafe extern "C" fn twal_saga_add_step(
    txn: *mut twal_txn,
    id: u64,
    step: *const twal_saga_step,
    flags: u32,
    seq_out: *mut u64,
) -> c_int {
    let valid = || {
        let sync = sync_of(flags)?;
        // SAFETY: NULL or a step (C contract).
        let [step] = (unsafe { array_of(step, 1, 1)? }) else { return inval("the step is NULL") };
        // SAFETY: what it points to is there (C contract).
        Ok((unsafe { step_of(step)? }, sync))
    };
    // SAFETY: NULL or a manager, NULL or room for a number (C contract).
    unsafe { tell(txn, id, valid, |manager, (step, sync)| manager.saga_add_step(id, step, sync), seq_out) }
}

/// Lets the steps of a saga run.
///
/// From here on a recovery goes on with the saga; no step can be added.
/// Durable on return, in every mode of the log.
///
///   txn      a manager
///   id       the saga
///   seq_out  receives the record's number; NULL if you do not need it.
///            Untouched on failure.
///
/// Returns what twal_saga_add_step() returns.
///
/// Blocks:  on the device: it returns when this is durable.
/// Threads: any.
/// Signals: not async-signal-safe.
/// Since:   0.1
#[must_use]
#[no_mangle]
pub unsafe extern "C" fn twal_saga_start(txn: *mut twal_txn, id: u64, seq_out: *mut u64) -> c_int {
    // SAFETY: NULL or a manager, NULL or room for a number (C contract).
    unsafe { tell(txn, id, || Ok(()), |manager, ()| manager.saga_start(id), seq_out) }
}

/// Tells that a step is done.
///
/// Of the steps of the lowest level that is not done, in any order.
///
///   txn      a manager
///   id       the saga
///   step     index of the step
///   flags    0: durable on return if the log's mode is TWAL_SYNC; or
///            TWAL_APPEND_SYNC or TWAL_APPEND_NO_SYNC, which override it
///   seq_out  receives the record's number; NULL if you do not need it.
///            Untouched on failure.
///
/// Returns what twal_saga_add_step() returns.
///
/// Blocks:  on the device, where it waits for durability, and while the log has
///          no room.
/// Threads: any.
/// Signals: not async-signal-safe.
/// Since:   0.1
#[must_use]
#[no_mangle]
pub unsafe extern "C" fn twal_saga_step_succeeded(
    txn: *mut twal_txn,
    id: u64,
    step: u32,
    flags: u32,
    seq_out: *mut u64,
) -> c_int {
    // SAFETY: NULL or a manager, NULL or room for a number (C contract).
    unsafe { tell(txn, id, || sync_of(flags), |manager, sync| manager.saga_step_succeeded(id, step, sync), seq_out) }
}

/// Tells that a step is not done and will not be.
///
/// From here on a recovery compensates the saga.  The log does not say which
/// steps were begun, so tell this when no other step of the saga is in flight:
/// an outcome that comes later is taken, and undone like the others; a step
/// whose outcome never comes is not undone, though it may have been done.
///
///   txn      a manager
///   id       the saga
///   step     index of the step
///   error    the program's error number
///   flags    0: durable on return if the log's mode is TWAL_SYNC; or
///            TWAL_APPEND_SYNC or TWAL_APPEND_NO_SYNC, which override it
///   seq_out  receives the record's number; NULL if you do not need it.
///            Untouched on failure.
///
/// Returns what twal_saga_add_step() returns.
///
/// Blocks:  on the device, where it waits for durability, and while the log has
///          no room.
/// Threads: any.
/// Signals: not async-signal-safe.
/// Since:   0.1
#[must_use]
#[no_mangle]
pub unsafe extern "C" fn twal_saga_step_failed(
    txn: *mut twal_txn,
    id: u64,
    step: u32,
    error: u32,
    flags: u32,
    seq_out: *mut u64,
) -> c_int {
    // SAFETY: NULL or a manager, NULL or room for a number (C contract).
    unsafe {
        tell(txn, id, || sync_of(flags), |manager, sync| manager.saga_step_failed(id, step, error, sync), seq_out)
    }
}

/// Lets what was done in a saga be undone from now on.
///
/// After a failed step, or instead of going on.  Durable on return, in every
/// mode of the log.
///
/// The log does not say which steps were begun, so call this when no step of the
/// saga is in flight, as for twal_saga_step_failed().  An outcome that comes
/// later is taken, and undone like the others, until twal_saga_compensated() has
/// ended the saga.  A step whose outcome never comes is not undone, though it
/// may have been done: neither by the program's own compensation, which asks for
/// what stands, nor by twal_txn_resume() after a crash.
///
///   txn      a manager
///   id       the saga
///   seq_out  receives the record's number; NULL if you do not need it.
///            Untouched on failure.
///
/// Returns what twal_saga_add_step() returns.
///
/// Blocks:  on the device: it returns when this is durable.
/// Threads: any.
/// Signals: not async-signal-safe.
/// Since:   0.1
#[must_use]
#[no_mangle]
pub unsafe extern "C" fn twal_saga_compensation_start(txn: *mut twal_txn, id: u64, seq_out: *mut u64) -> c_int {
    // SAFETY: NULL or a manager, NULL or room for a number (C contract).
    unsafe { tell(txn, id, || Ok(()), |manager, ()| manager.saga_compensation_start(id), seq_out) }
}

/// Tells that a step is undone.
///
/// Of the steps of the highest level that stand, in any order.
///
///   txn      a manager
///   id       the saga
///   step     index of the step
///   flags    0: durable on return if the log's mode is TWAL_SYNC; or
///            TWAL_APPEND_SYNC or TWAL_APPEND_NO_SYNC, which override it
///   seq_out  receives the record's number; NULL if you do not need it.
///            Untouched on failure.
///
/// Returns what twal_saga_add_step() returns.
///
/// Blocks:  on the device, where it waits for durability, and while the log has
///          no room.
/// Threads: any.
/// Signals: not async-signal-safe.
/// Since:   0.1
#[must_use]
#[no_mangle]
pub unsafe extern "C" fn twal_saga_compensation_succeeded(
    txn: *mut twal_txn,
    id: u64,
    step: u32,
    flags: u32,
    seq_out: *mut u64,
) -> c_int {
    // SAFETY: NULL or a manager, NULL or room for a number (C contract).
    unsafe {
        tell(txn, id, || sync_of(flags), |manager, sync| manager.saga_compensation_succeeded(id, step, sync), seq_out)
    }
}

/// Tells that undoing a step failed.
///
/// It can be tried again; a saga of which a step cannot be undone ends with
/// twal_saga_aborted().
///
///   txn      a manager
///   id       the saga
///   step     index of the step
///   retries  how often it was tried
///   flags    0: durable on return if the log's mode is TWAL_SYNC; or
///            TWAL_APPEND_SYNC or TWAL_APPEND_NO_SYNC, which override it
///   seq_out  receives the record's number; NULL if you do not need it.
///            Untouched on failure.
///
/// Returns what twal_saga_add_step() returns.
///
/// Blocks:  on the device, where it waits for durability, and while the log has
///          no room.
/// Threads: any.
/// Signals: not async-signal-safe.
/// Since:   0.1
#[must_use]
#[no_mangle]
pub unsafe extern "C" fn twal_saga_compensation_failed(
    txn: *mut twal_txn,
    id: u64,
    step: u32,
    retries: u32,
    flags: u32,
    seq_out: *mut u64,
) -> c_int {
    // SAFETY: NULL or a manager, NULL or room for a number (C contract).
    unsafe {
        tell(
            txn,
            id,
            || sync_of(flags),
            |manager, sync| manager.saga_compensation_failed(id, step, retries, sync),
            seq_out,
        )
    }
}

/// Ends a saga: every step is done.
///
///   txn      a manager
///   id       the saga
///   flags    0: durable on return if the log's mode is TWAL_SYNC; or
///            TWAL_APPEND_SYNC or TWAL_APPEND_NO_SYNC, which override it
///   seq_out  receives the record's number; NULL if you do not need it.
///            Untouched on failure.
///
/// Returns what twal_saga_add_step() returns.
///
/// Blocks:  on the device, where it waits for durability, and while the log has
///          no room.
/// Threads: any.
/// Signals: not async-signal-safe.
/// Since:   0.1
#[must_use]
#[no_mangle]
pub unsafe extern "C" fn twal_saga_completed(txn: *mut twal_txn, id: u64, flags: u32, seq_out: *mut u64) -> c_int {
    // SAFETY: NULL or a manager, NULL or room for a number (C contract).
    unsafe { tell(txn, id, || sync_of(flags), |manager, sync| manager.saga_completed(id, sync), seq_out) }
}

/// Ends a saga: every step that was done is undone.
///
///   txn      a manager
///   id       the saga
///   flags    0: durable on return if the log's mode is TWAL_SYNC; or
///            TWAL_APPEND_SYNC or TWAL_APPEND_NO_SYNC, which override it
///   seq_out  receives the record's number; NULL if you do not need it.
///            Untouched on failure.
///
/// Returns what twal_saga_add_step() returns.
///
/// Blocks:  on the device, where it waits for durability, and while the log has
///          no room.
/// Threads: any.
/// Signals: not async-signal-safe.
/// Since:   0.1
#[must_use]
#[no_mangle]
pub unsafe extern "C" fn twal_saga_compensated(txn: *mut twal_txn, id: u64, flags: u32, seq_out: *mut u64) -> c_int {
    // SAFETY: NULL or a manager, NULL or room for a number (C contract).
    unsafe { tell(txn, id, || sync_of(flags), |manager, sync| manager.saga_compensated(id, sync), seq_out) }
}

/// Ends a saga: it is given up.
///
/// Legal when nothing that is known stands, or undoing a step has failed.
///
///   txn      a manager
///   id       the saga
///   flags    0: durable on return if the log's mode is TWAL_SYNC; or
///            TWAL_APPEND_SYNC or TWAL_APPEND_NO_SYNC, which override it
///   seq_out  receives the record's number; NULL if you do not need it.
///            Untouched on failure.
///
/// Returns what twal_saga_add_step() returns.
///
/// Blocks:  on the device, where it waits for durability, and while the log has
///          no room.
/// Threads: any.
/// Signals: not async-signal-safe.
/// Since:   0.1
#[must_use]
#[no_mangle]
pub unsafe extern "C" fn twal_saga_aborted(txn: *mut twal_txn, id: u64, flags: u32, seq_out: *mut u64) -> c_int {
    // SAFETY: NULL or a manager, NULL or room for a number (C contract).
    unsafe { tell(txn, id, || sync_of(flags), |manager, sync| manager.saga_aborted(id, sync), seq_out) }
}
