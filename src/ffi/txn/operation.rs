//! What a manager tells of its operations and of itself.

use std::ffi::c_int;

use super::manager::{call, inval, twal_txn};
use crate::base::bytes::len_u64;
use crate::base::{Code, Error, Result};
use crate::ffi::guard::guard_uncancelled;
use crate::ffi::sized::{self, Grows};
use crate::txn::{Action, Counts, Direction, Family, Recovery, SagaState, State, Status, TransactionState, Unfinished};

/// The two kinds of operations.  Their ids are apart.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum twal_txn_kind {
    /// Steps that are undone by compensation.
    TWAL_TXN_SAGA = 1,
    /// Two-phase commit.
    TWAL_TXN_2PC = 2,
}

/// twal_txn_operation.action: what is to be done about an operation.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum twal_resume {
    /// Nothing: it was never begun, or is finished.
    TWAL_RESUME_NONE = 0,
    /// saga_resume_execute: run the steps that have no outcome.
    TWAL_RESUME_SAGA_EXECUTE = 1,
    /// saga_resume_compensate: undo the steps that succeeded.
    TWAL_RESUME_SAGA_COMPENSATE = 2,
    /// tx_resume_commit: commit at every participant.
    TWAL_RESUME_TX_COMMIT = 3,
    /// tx_resume_abort: abort at every participant.
    TWAL_RESUME_TX_ABORT = 4,
    /// tx_resume_rollback: undo the commit at every participant.
    TWAL_RESUME_TX_ROLLBACK = 5,
}

/// Where a saga is.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum twal_saga_state {
    /// No saga had this id yet.
    TWAL_SAGA_UNKNOWN = 0,
    /// Steps are added.
    TWAL_SAGA_CREATED = 1,
    /// Steps run.
    TWAL_SAGA_EXECUTING = 2,
    /// A step failed; compensation is decided, not begun.
    TWAL_SAGA_FAILED = 3,
    /// Steps are undone.
    TWAL_SAGA_COMPENSATING = 4,
    /// Completed, compensated or aborted: nothing is kept that could say which.
    TWAL_SAGA_FINISHED = 5,
}

/// Where a two-phase commit is.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum twal_2pc_state {
    /// No two-phase commit had this id yet.
    TWAL_2PC_UNKNOWN = 0,
    /// Participants are added.
    TWAL_2PC_CREATED = 1,
    /// Votes are asked for.
    TWAL_2PC_PREPARING = 2,
    /// Every participant voted commit; nothing is decided.
    TWAL_2PC_PREPARED = 3,
    /// A participant voted abort; the abort is not begun.
    TWAL_2PC_REFUSED = 4,
    /// Commit is decided.
    TWAL_2PC_COMMITTING = 5,
    /// Finished: every participant has committed; it can be rolled back.  Of
    /// the last 256 that committed, or fewer where other operations need the
    /// room; older ones are TWAL_2PC_FINISHED.
    TWAL_2PC_COMMITTED = 6,
    /// Abort is decided.
    TWAL_2PC_ABORTING = 7,
    /// A commit is being undone.
    TWAL_2PC_ROLLING_BACK = 8,
    /// Aborted, rolled back, or committed long ago: nothing is kept that could
    /// say which.  A participant that asks is never answered so while it is in
    /// doubt, if all were told before the end was.
    TWAL_2PC_FINISHED = 9,
}

/// What is done to a saga's step or a two-phase commit's participant.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum twal_direction {
    /// Do a step.
    TWAL_DIRECTION_EXECUTE = 1,
    /// Undo a step.
    TWAL_DIRECTION_COMPENSATE = 2,
    /// Ask a shard for its vote.
    TWAL_DIRECTION_PREPARE = 3,
    /// Make a shard's part final.
    TWAL_DIRECTION_COMMIT = 4,
    /// Drop a shard's part.
    TWAL_DIRECTION_ABORT = 5,
    /// Undo a shard's part that was final.
    TWAL_DIRECTION_ROLLBACK = 6,
}

/// An operation.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct twal_txn_operation {
    /// sizeof(twal_txn_operation), set by the caller.
    pub struct_size: u64,
    /// Its id, among those of its kind.
    pub id: u64,
    /// Number of its last record.
    pub last_seq: u64,
    /// Steps or participants.
    pub parts: u64,
    /// How many of them are done: steps that succeeded (in compensation: that
    /// are undone), votes that came.
    pub done: u64,
    /// Who runs it: the program's bytes.
    pub coordinator: [u8; 32],
    /// One of twal_txn_kind.
    pub kind: u32,
    /// One of twal_resume.
    pub action: u32,
    /// One of twal_saga_state or twal_2pc_state.
    pub state: u32,
    /// 0.
    pub reserved: u32,
}

// SAFETY: repr(C) without holes (88 = 5 * 8 + 32 + 4 * 4), struct_size first, plain numbers.
unsafe impl Grows for twal_txn_operation {
    const NAME: &'static str = "twal_txn_operation";
    const FIRST_SIZE: usize = 88;
}

const _: () = assert!(size_of::<twal_txn_operation>() == 88);

/// What a recovery of transactions found.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct twal_txn_report {
    /// sizeof(twal_txn_report), set by the caller.
    pub struct_size: u64,
    /// Number of the record it began with: the last checkpoint, or the log's
    /// first record.
    pub from_seq: u64,
    /// Events replayed, checkpoints too.
    pub records_replayed: u64,
    /// Damaged records: always 0, for damage is an error.
    pub records_corrupted: u64,
    /// Checkpoints among the records replayed: at most one.
    pub checkpoints: u64,
    /// Operations that are not finished: twal_txn_unfinished_get() tells each.
    pub unfinished: u64,
}

// SAFETY: repr(C), u64 only, struct_size first.
unsafe impl Grows for twal_txn_report {
    const NAME: &'static str = "twal_txn_report";
    const FIRST_SIZE: usize = 48;
}

const _: () = assert!(size_of::<twal_txn_report>() == 48);

/// What a manager has counted since twal_txn_recover(), and what it has now.
///
/// Events count as soon as they have a number, durable or not, and operations are
/// as these leave them: a crash can take that back.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct twal_txn_stats {
    /// sizeof(twal_txn_stats), set by the caller.
    pub struct_size: u64,
    /// Events of sagas written.
    pub saga_events: u64,
    /// Events of two-phase commits written.
    pub tx_events: u64,
    /// Checkpoints that are durable.
    pub checkpoints: u64,
    /// Automatic checkpoints that failed; each is tried again later.
    pub checkpoints_failed: u64,
    /// Number of the last durable checkpoint, found or written.
    pub checkpoint_seq: u64,
    /// Sagas that are not finished.
    pub active_sagas: u64,
    /// Two-phase commits that are not finished.
    pub active_txs: u64,
    /// Bytes that the state of all operations takes in a checkpoint.
    pub state_bytes: u64,
    /// Tombstones, purges and applied markers written.
    pub stream_events: u64,
    /// Compactions that came to their end.
    pub compactions: u64,
    /// Automatic compactions that failed; each is tried again later.
    pub compactions_failed: u64,
    /// How often twal_txn_recover() has succeeded since the log was opened.
    pub recoveries: u64,
}

// SAFETY: repr(C), u64 only, struct_size first.
unsafe impl Grows for twal_txn_stats {
    const NAME: &'static str = "twal_txn_stats";
    const FIRST_SIZE: usize = 104;
}

const _: () = assert!(size_of::<twal_txn_stats>() == 104);

pub(super) fn kind_number(family: Family) -> u32 {
    let kind = match family {
        Family::Saga => twal_txn_kind::TWAL_TXN_SAGA,
        Family::Transaction => twal_txn_kind::TWAL_TXN_2PC,
    };
    kind as u32
}

fn action_number(action: Action) -> u32 {
    let action = match action {
        Action::None => twal_resume::TWAL_RESUME_NONE,
        Action::SagaResumeExecute => twal_resume::TWAL_RESUME_SAGA_EXECUTE,
        Action::SagaResumeCompensate => twal_resume::TWAL_RESUME_SAGA_COMPENSATE,
        Action::TxResumeCommit => twal_resume::TWAL_RESUME_TX_COMMIT,
        Action::TxResumeAbort => twal_resume::TWAL_RESUME_TX_ABORT,
        Action::TxResumeRollback => twal_resume::TWAL_RESUME_TX_ROLLBACK,
    };
    action as u32
}

/// C's number of where a saga is.
pub(super) fn saga_state_number(status: Status<SagaState>) -> u32 {
    let state = match status {
        Status::Unknown => twal_saga_state::TWAL_SAGA_UNKNOWN,
        Status::Active(SagaState::Created) => twal_saga_state::TWAL_SAGA_CREATED,
        Status::Active(SagaState::Executing) => twal_saga_state::TWAL_SAGA_EXECUTING,
        Status::Active(SagaState::Failed) => twal_saga_state::TWAL_SAGA_FAILED,
        Status::Active(SagaState::Compensating) => twal_saga_state::TWAL_SAGA_COMPENSATING,
        Status::Active(SagaState::Completed | SagaState::Compensated | SagaState::Aborted) | Status::Finished => {
            twal_saga_state::TWAL_SAGA_FINISHED
        }
    };
    state as u32
}

/// C's number of where a two-phase commit is.
pub(super) fn tx_state_number(status: Status<TransactionState>) -> u32 {
    let state = match status {
        Status::Unknown => twal_2pc_state::TWAL_2PC_UNKNOWN,
        Status::Active(TransactionState::Created) => twal_2pc_state::TWAL_2PC_CREATED,
        Status::Active(TransactionState::Preparing) => twal_2pc_state::TWAL_2PC_PREPARING,
        Status::Active(TransactionState::Prepared) => twal_2pc_state::TWAL_2PC_PREPARED,
        Status::Active(TransactionState::Refused) => twal_2pc_state::TWAL_2PC_REFUSED,
        Status::Active(TransactionState::Committing) => twal_2pc_state::TWAL_2PC_COMMITTING,
        Status::Active(TransactionState::Committed) => twal_2pc_state::TWAL_2PC_COMMITTED,
        Status::Active(TransactionState::Aborting) => twal_2pc_state::TWAL_2PC_ABORTING,
        Status::Active(TransactionState::RollingBack) => twal_2pc_state::TWAL_2PC_ROLLING_BACK,
        Status::Active(TransactionState::Aborted | TransactionState::RolledBack) | Status::Finished => {
            twal_2pc_state::TWAL_2PC_FINISHED
        }
    };
    state as u32
}

/// What C's number names; None if nothing.
pub(super) fn direction_of(number: u32) -> Option<Direction> {
    use Direction::*;
    [Execute, Compensate, Prepare, Commit, Abort, Rollback].into_iter().find(|one| direction_number(*one) == number)
}

/// C's number of it.
pub(super) fn direction_number(direction: Direction) -> u32 {
    let direction = match direction {
        Direction::Execute => twal_direction::TWAL_DIRECTION_EXECUTE,
        Direction::Compensate => twal_direction::TWAL_DIRECTION_COMPENSATE,
        Direction::Prepare => twal_direction::TWAL_DIRECTION_PREPARE,
        Direction::Commit => twal_direction::TWAL_DIRECTION_COMMIT,
        Direction::Abort => twal_direction::TWAL_DIRECTION_ABORT,
        Direction::Rollback => twal_direction::TWAL_DIRECTION_ROLLBACK,
    };
    direction as u32
}

/// An operation as C sees it.
pub(super) fn operation_of(one: &Unfinished) -> twal_txn_operation {
    twal_txn_operation {
        struct_size: 0,
        id: one.id,
        last_seq: one.last_seq,
        parts: len_u64(one.parts),
        done: len_u64(one.done),
        coordinator: one.coordinator,
        kind: kind_number(one.family),
        action: action_number(one.action),
        state: match one.state {
            State::Saga(state) => saga_state_number(Status::Active(state)),
            State::Transaction(state) => tx_state_number(Status::Active(state)),
        },
        reserved: 0,
    }
}

/// Fills a sized struct with what `find` finds inside the manager; `valid` says what the caller said, or what is wrong
/// with it.
///
/// # Safety
///
/// As for [`call`]; `out` is NULL or a struct as long as it says.
pub(super) unsafe fn give<T: Grows, A>(
    txn: *const twal_txn,
    out: *mut T,
    valid: impl FnOnce() -> Result<A>,
    find: impl FnOnce(&twal_txn, A) -> Result<T>,
) -> c_int {
    guard_uncancelled(|| {
        // SAFETY: the contract.
        let valid = || unsafe { sized::check(out) }.and_then(|()| valid());
        // SAFETY: the contract.
        let value = unsafe { call(txn, valid, find)? };
        // SAFETY: the contract.
        unsafe { sized::give(out, &value) }
    })
}

fn no_more() -> Error {
    Error::new(Code::NotFound, "there are no more")
}

/// Tells what twal_txn_recover() found.
///
/// As it was then, whatever has happened since; also when the log is closed or
/// poisoned.
///
///   txn         a manager
///   report_out  receives the report; its struct_size must be set, as
///               TWAL_TXN_REPORT_INIT does.  Untouched on failure.
///
/// Returns TWAL_OK, or
///
///   TWAL_E_INVAL   txn or report_out is NULL, or struct_size is no size that a
///                  release of twal ever had
///   TWAL_E_FORKED  this process is a fork()ed child
///   TWAL_E_CLOSED  twal_txn_close() has begun
///
/// Blocks:  no.
/// Threads: any.
/// Signals: not async-signal-safe.
/// Since:   0.1
#[no_mangle]
pub unsafe extern "C" fn twal_txn_report_get(txn: *const twal_txn, report_out: *mut twal_txn_report) -> c_int {
    // SAFETY: NULL or a manager, NULL or a report as long as it says (C contract).
    unsafe { give(txn, report_out, || Ok(()), |handle, ()| Ok(report_of(&handle.found))) }
}

fn report_of(found: &Recovery) -> twal_txn_report {
    twal_txn_report {
        struct_size: 0,
        from_seq: found.from_seq,
        records_replayed: found.records_replayed,
        records_corrupted: found.records_corrupted,
        checkpoints: found.checkpoints,
        unfinished: len_u64(found.unfinished.len()),
    }
}

/// Tells one operation that was not finished when twal_txn_recover() found it.
///
/// As it was then: sagas first, then two-phase commits, by id.
///
///   txn            a manager
///   at             which one, from 0
///   operation_out  receives it; its struct_size must be set, as
///                  TWAL_TXN_OPERATION_INIT does.  Untouched on failure.
///
/// Returns TWAL_OK, or
///
///   TWAL_E_INVAL     txn or operation_out is NULL, or struct_size is no size
///                    that a release of twal ever had
///   TWAL_E_FORKED    this process is a fork()ed child
///   TWAL_E_CLOSED    twal_txn_close() has begun
///   TWAL_E_NOTFOUND  there were not so many
///
/// Blocks:  no.
/// Threads: any.
/// Signals: not async-signal-safe.
/// Since:   0.1
#[no_mangle]
pub unsafe extern "C" fn twal_txn_unfinished_get(
    txn: *const twal_txn,
    at: u64,
    operation_out: *mut twal_txn_operation,
) -> c_int {
    let find = |handle: &twal_txn, ()| {
        let found = usize::try_from(at).ok().and_then(|at| handle.found.unfinished.get(at));
        found.map(operation_of).ok_or_else(no_more)
    };
    // SAFETY: NULL or a manager, NULL or an operation as long as it says (C contract).
    unsafe { give(txn, operation_out, || Ok(()), find) }
}

/// Tells the next operation that is not finished, as it is now.
///
/// Goes through sagas first, then two-phase commits, by id, while others
/// change them: one that is there all the time is told exactly once.
///
///   txn            a manager
///   kind, after    one of twal_txn_kind, and an id of that kind: the first one
///                  behind it is told.  0 and 0, or TWAL_TXN_SAGA and 0: the
///                  very first.
///   operation_out  receives it; its struct_size must be set, as
///                  TWAL_TXN_OPERATION_INIT does.  Untouched on failure.
///
/// Returns TWAL_OK, or
///
///   TWAL_E_INVAL     txn or operation_out is NULL, struct_size is no size that
///                    a release of twal ever had, or kind is none
///   TWAL_E_FORKED    this process is a fork()ed child
///   TWAL_E_CLOSED    twal_close() or twal_txn_close() has begun
///   TWAL_E_POISONED  an earlier write or flush failed: what is in the log is
///                    known after the next recovery
///   TWAL_E_NOTFOUND  there is none behind it
///   TWAL_E_IO        a write or flush failed
///   TWAL_E_PANIC     a bug in twal was caught
///
/// Example:
///
///   twal_txn_operation one = TWAL_TXN_OPERATION_INIT;
///   while (twal_txn_next(txn, one.kind, one.id, &one) == TWAL_OK)
///       printf("%llu\n", (unsigned long long)one.id);
///
/// Blocks:  on the device, if a decision, or an end that is shown, is not durable.
/// Threads: any.
/// Signals: not async-signal-safe.
/// Since:   0.1
#[no_mangle]
pub unsafe extern "C" fn twal_txn_next(
    txn: *const twal_txn,
    kind: u32,
    after: u64,
    operation_out: *mut twal_txn_operation,
) -> c_int {
    let valid = || match kind {
        0 if after == 0 => Ok(Family::Saga),
        kind if kind == kind_number(Family::Saga) => Ok(Family::Saga),
        kind if kind == kind_number(Family::Transaction) => Ok(Family::Transaction),
        _ => inval("kind is none of twal_txn_kind"),
    };
    let find = |handle: &twal_txn, family| {
        let found = handle.manager.active_after((family, after))?;
        found.as_ref().map(operation_of).ok_or_else(no_more)
    };
    // SAFETY: NULL or a manager, NULL or an operation as long as it says (C contract).
    unsafe { give(txn, operation_out, valid, find) }
}

/// Tells what a manager has counted.
///
///   txn        a manager
///   stats_out  receives the numbers; its struct_size must be set, as
///              TWAL_TXN_STATS_INIT does.  Untouched on failure.
///
/// Returns TWAL_OK, or
///
///   TWAL_E_INVAL     txn or stats_out is NULL, or struct_size is no size that
///                    a release of twal ever had
///   TWAL_E_FORKED    this process is a fork()ed child
///   TWAL_E_CLOSED    twal_close() or twal_txn_close() has begun
///   TWAL_E_POISONED  an earlier write or flush failed
///   TWAL_E_PANIC     a bug in twal was caught
///
/// Blocks:  no.
/// Threads: any.
/// Signals: not async-signal-safe.
/// Since:   0.1
#[no_mangle]
pub unsafe extern "C" fn twal_txn_stats_get(txn: *const twal_txn, stats_out: *mut twal_txn_stats) -> c_int {
    // SAFETY: NULL or a manager, NULL or stats as long as they say (C contract).
    unsafe { give(txn, stats_out, || Ok(()), |handle, ()| handle.manager.counts().map(stats_of)) }
}

fn stats_of(counts: Counts) -> twal_txn_stats {
    twal_txn_stats {
        struct_size: 0,
        saga_events: counts.saga_events,
        tx_events: counts.transaction_events,
        checkpoints: counts.checkpoints,
        checkpoints_failed: counts.checkpoints_failed,
        checkpoint_seq: counts.checkpoint_seq,
        active_sagas: counts.active_sagas,
        active_txs: counts.active_transactions,
        state_bytes: counts.state_bytes,
        stream_events: counts.stream_events,
        compactions: counts.compactions,
        compactions_failed: counts.compactions_failed,
        recoveries: counts.recoveries,
    }
}
