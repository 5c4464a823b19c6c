//! Resume through the program's own functions.

use std::ffi::{c_int, c_void};
use std::mem::offset_of;
use std::ptr::null;
use std::sync::PoisonError;

use super::manager::{call, call_for, inval, twal_txn};
use super::operation::{direction_number, kind_number, operation_of, twal_txn_operation};
use crate::base::bytes::len_u64;
use crate::base::{Code, Error, Result};
use crate::ffi::guard::guard_uncancelled;
use crate::ffi::last_error::{detail_of, twal_error};
use crate::ffi::sized::{self, Grows};
use crate::txn::{Direction, Family, Left, Outcome, Participants, ResumeOptions, Resumed, ShardAction, StepAction};

/// What a function of twal_txn_participants answers.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum twal_outcome {
    /// It is done, now or by an earlier call with the same token.
    TWAL_DONE = 0,
    /// It is not done and will not be; *error_out is the program's error
    /// number, 0 if it is not set.
    TWAL_FAILED = 1,
    /// Nobody knows, or not yet: ask again.  So is every other answer taken.
    TWAL_RETRY = 2,
}

/// One action, as a function of twal_txn_participants is asked for it.
///
/// Valid during the call.  Later releases may put more behind it: struct_size
/// says how much there is.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct twal_txn_action {
    /// How long this is.
    pub struct_size: u64,
    /// The operation's id.
    pub id: u64,
    /// The action's name, the same after every crash.
    pub token: [u8; 16],
    /// Who ran the operation.
    pub coordinator: [u8; 32],
    /// One of twal_txn_kind.
    pub kind: u32,
    /// One of twal_direction.
    pub direction: u32,
    /// 1 the first time in this resume.
    pub attempt: u32,
    /// Sagas: index of the step.
    pub step: u32,
    /// Sagas: the step's action.
    pub action: u32,
    /// Sagas: bytes of payload.
    pub payload_len: u32,
    /// Sagas: what the step was given to be undone with; never NULL.
    pub payload: *const c_void,
    /// Two-phase commits: which shard.
    pub shard: [u8; 32],
    /// Two-phase commits: which node has it.
    pub node: [u8; 32],
}

const _: () = assert!(size_of::<twal_txn_action>() == 160 && offset_of!(twal_txn_action, payload) == 88);

/// A function of the program's that carries out an action.
pub type twal_txn_act =
    Option<unsafe extern "C" fn(arg: *mut c_void, action: *const twal_txn_action, error_out: *mut u32) -> c_int>;

/// Who carries actions out.  Start from TWAL_TXN_PARTICIPANTS_INIT; no function
/// may be NULL.
///
/// Each gets arg, the action, and where an error number goes, and answers with
/// one of twal_outcome.  Each is called by several threads at once, unless
/// twal_txn_resume_options.threads is 1.  It may call every function of twal
/// but twal_txn_resume() and twal_txn_close() of this manager.  It must not
/// throw, longjmp() or end its thread.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct twal_txn_participants {
    /// sizeof(twal_txn_participants).
    pub struct_size: u64,
    /// Is passed on; twal does not look at it.
    pub arg: *mut c_void,
    /// Does a step.  TWAL_FAILED: the saga is compensated.
    pub execute: twal_txn_act,
    /// Undoes a step.  TWAL_FAILED: the saga is left, compensating.
    pub compensate: twal_txn_act,
    /// Makes a shard's part final, as its vote has promised.  TWAL_FAILED: the
    /// two-phase commit is left, committing.
    pub commit: twal_txn_act,
    /// Drops a shard's part; also of one that has none.
    pub abort: twal_txn_act,
    /// Undoes a shard's part that may be final.
    pub rollback: twal_txn_act,
}

// SAFETY: repr(C) without holes (56 = 7 * 8), struct_size first; zeros are NULL, and functions may be NULL.
unsafe impl Grows for twal_txn_participants {
    const NAME: &'static str = "twal_txn_participants";
    const FIRST_SIZE: usize = 56;
}

const _: () = assert!(size_of::<twal_txn_participants>() == 56);

/// How operations are resumed.  A field that is 0 has its default, so start
/// from TWAL_TXN_RESUME_OPTIONS_INIT and set what you need.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct twal_txn_resume_options {
    /// sizeof(twal_txn_resume_options).
    pub struct_size: u64,
    /// Before the second try of an action, microseconds: 100,000.  It doubles
    /// each time.
    pub retry_delay_us: u64,
    /// The longest such wait, microseconds: 10,000,000.
    pub retry_delay_max_us: u64,
    /// Times that one action is asked for: 10.
    pub attempts_max: u32,
    /// Threads that call at once, the caller among them: 4.  At most 256.
    pub threads: u32,
}

// SAFETY: repr(C) without holes (32 = 3 * 8 + 2 * 4), struct_size first, plain numbers.
unsafe impl Grows for twal_txn_resume_options {
    const NAME: &'static str = "twal_txn_resume_options";
    const FIRST_SIZE: usize = 32;
}

const _: () = assert!(size_of::<twal_txn_resume_options>() == 32);

const THREADS_MAX: u32 = 256;

/// What a resume came to.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct twal_txn_resumed {
    /// sizeof(twal_txn_resumed), set by the caller.
    pub struct_size: u64,
    /// Operations that it finished.
    pub finished: u64,
    /// Calls of the program's functions.
    pub calls: u64,
    /// Those among them that were not the first try.
    pub retries: u64,
    /// Operations that twal_txn_recover() found, or twal_import() brought, and
    /// that are not finished: twal_txn_left_get() tells each.
    pub left: u64,
}

// SAFETY: repr(C), u64 only, struct_size first.
unsafe impl Grows for twal_txn_resumed {
    const NAME: &'static str = "twal_txn_resumed";
    const FIRST_SIZE: usize = 40;
}

const _: () = assert!(size_of::<twal_txn_resumed>() == 40);

/// A function that is there.
type Act = unsafe extern "C" fn(*mut c_void, *const twal_txn_action, *mut u32) -> c_int;

/// The program's functions.
struct Program {
    txn: *const twal_txn,
    arg: *mut c_void,
    execute: Act,
    compensate: Act,
    commit: Act,
    abort: Act,
    rollback: Act,
}

// SAFETY: `txn` is only compared; `arg` is only passed on, to functions that may be called by several threads at once
// (C contract).
unsafe impl Sync for Program {}

const DONE: c_int = twal_outcome::TWAL_DONE as c_int;
const FAILED: c_int = twal_outcome::TWAL_FAILED as c_int;

impl Program {
    fn ask(&self, act: Act, action: &twal_txn_action) -> Outcome {
        let mut error = 0;
        // SAFETY: a function that may be called with this on any thread (C contract).
        let answer = call_for(self.txn, || unsafe { act(self.arg, &raw const *action, &raw mut error) });
        match answer {
            DONE => Outcome::Done,
            FAILED => Outcome::Failed(error),
            _ => Outcome::Retry,
        }
    }

    fn ask_step(&self, act: Act, direction: Direction, of: &StepAction<'_>) -> Outcome {
        let step = of.step;
        let action = twal_txn_action {
            id: of.saga,
            token: of.token,
            coordinator: *of.coordinator,
            kind: kind_number(Family::Saga),
            direction: direction_number(direction),
            attempt: of.attempt,
            step: step.index,
            action: step.action.into(),
            payload_len: u32::try_from(step.payload.len()).expect("at most STEP_PAYLOAD_MAX"),
            payload: step.payload.as_ptr().cast(),
            ..NO_ACTION
        };
        self.ask(act, &action)
    }

    fn ask_shard(&self, act: Act, direction: Direction, of: &ShardAction<'_>) -> Outcome {
        let action = twal_txn_action {
            id: of.transaction,
            token: of.token,
            coordinator: *of.coordinator,
            kind: kind_number(Family::Transaction),
            direction: direction_number(direction),
            attempt: of.attempt,
            shard: *of.shard,
            node: *of.node,
            ..NO_ACTION
        };
        self.ask(act, &action)
    }
}

const NO_ACTION: twal_txn_action = twal_txn_action {
    struct_size: size_of::<twal_txn_action>() as u64,
    id: 0,
    token: [0; 16],
    coordinator: [0; 32],
    kind: 0,
    direction: 0,
    attempt: 0,
    step: 0,
    action: 0,
    payload_len: 0,
    payload: null(),
    shard: [0; 32],
    node: [0; 32],
};

impl Participants for Program {
    fn execute(&self, action: &StepAction<'_>) -> Outcome {
        self.ask_step(self.execute, Direction::Execute, action)
    }

    fn compensate(&self, action: &StepAction<'_>) -> Outcome {
        self.ask_step(self.compensate, Direction::Compensate, action)
    }

    fn commit(&self, action: &ShardAction<'_>) -> Outcome {
        self.ask_shard(self.commit, Direction::Commit, action)
    }

    fn abort(&self, action: &ShardAction<'_>) -> Outcome {
        self.ask_shard(self.abort, Direction::Abort, action)
    }

    fn rollback(&self, action: &ShardAction<'_>) -> Outcome {
        self.ask_shard(self.rollback, Direction::Rollback, action)
    }
}

/// The program's functions, all there.
///
/// # Safety
///
/// `participants` is NULL or a twal_txn_participants as long as it says.
unsafe fn program_of(txn: *const twal_txn, participants: *const twal_txn_participants) -> Result<Program> {
    // SAFETY: the contract.
    let taken = unsafe { sized::take(participants)? };
    let all = taken.value;
    let (Some(execute), Some(compensate), Some(commit), Some(abort), Some(rollback)) =
        (all.execute, all.compensate, all.commit, all.abort, all.rollback)
    else {
        return inval("a function of txn_participants is NULL");
    };
    let arg = taken.known()?.arg;
    Ok(Program { txn, arg, execute, compensate, commit, abort, rollback })
}

/// What C asks for.
///
/// # Safety
///
/// `options` is NULL or a twal_txn_resume_options as long as it says.
unsafe fn options_of(options: *const twal_txn_resume_options) -> Result<ResumeOptions> {
    if options.is_null() {
        return Ok(ResumeOptions::default());
    }
    // SAFETY: the contract.
    let taken = unsafe { sized::take(options)? };
    if taken.value.threads > THREADS_MAX {
        return inval("txn_resume_options.threads is above 256");
    }
    let options = taken.known()?;
    Ok(ResumeOptions {
        threads: options.threads,
        attempts_max: options.attempts_max,
        retry_delay_us: options.retry_delay_us,
        retry_delay_max_us: options.retry_delay_max_us,
    })
}

/// Finishes every operation that twal_txn_recover() found unfinished, or
/// twal_import() brought, and that something is to be done about.
///
/// Calls the program's functions, logs each outcome, and returns when nothing
/// is left to do; what it tells as finished is durable.  What was never begun
/// is left alone; so is an operation of which an action failed that cannot be
/// passed over, or has no outcome after so many tries: ask again later, which
/// does what was left and nothing else.
///
/// What was created since twal_txn_recover() belongs to who created it, and is
/// never touched: others may go on meanwhile.  What recovery found and the
/// program goes on with by itself, it must not resume.
///
/// It may be killed at any point: after the next twal_txn_recover() another
/// resume goes on, and asks again, with the same token, for what it cannot know
/// was done.
///
///   txn           a manager
///   participants  who carries actions out
///   options       how; NULL: all defaults
///   resumed_out   receives the result; its struct_size must be set, as
///                 TWAL_TXN_RESUMED_INIT does.  NULL if you do not need it.
///                 Untouched on failure.
///
/// Returns TWAL_OK, also if operations are left, or
///
///   TWAL_E_INVAL        txn or participants is NULL, a function is NULL, a
///                       struct_size is none, or threads is above 256
///   TWAL_E_UNSUPPORTED  participants or options say something that this
///                       release does not know
///   TWAL_E_FORKED       this process is a fork()ed child
///   TWAL_E_CLOSED       twal_txn_close() or twal_close() has begun, also while
///                       it ran
///   TWAL_E_POISONED     an earlier write or flush failed
///   TWAL_E_BUSY         another resume of this manager runs
///   TWAL_E_IO           a write or flush failed
///   TWAL_E_PANIC        a bug in twal was caught
///
/// Blocks:  until everything is done or given up, on the program's functions,
///          the device and between tries.
/// Threads: any; the functions are called on this one and on twal's, which
///          block all signals.
/// Signals: not async-signal-safe.
/// Since:   0.1
#[must_use]
#[no_mangle]
pub unsafe extern "C" fn twal_txn_resume(
    txn: *mut twal_txn,
    participants: *const twal_txn_participants,
    options: *const twal_txn_resume_options,
    resumed_out: *mut twal_txn_resumed,
) -> c_int {
    guard_uncancelled(|| {
        let valid = || {
            // SAFETY: NULL or a twal_txn_resumed as long as it says (C contract).
            unsafe { sized::check_wanted(resumed_out)? };
            // SAFETY: NULL or participants as long as they say (C contract).
            let program = unsafe { program_of(txn, participants)? };
            // SAFETY: NULL or options as long as they say (C contract).
            Ok((program, unsafe { options_of(options)? }))
        };
        let resume = |handle: &twal_txn, (program, options): (Program, ResumeOptions)| {
            let resumed = handle.manager.resume(&program, &options)?;
            let counts = resumed_of(&resumed);
            *handle.left.lock().unwrap_or_else(PoisonError::into_inner) = resumed.left;
            Ok(counts)
        };
        // SAFETY: NULL or a manager (C contract).
        let counts = unsafe { call(txn, valid, resume)? };
        // SAFETY: as for the check above.
        unsafe { sized::give_wanted(resumed_out, &counts) }
    })
}

fn resumed_of(resumed: &Resumed) -> twal_txn_resumed {
    twal_txn_resumed {
        struct_size: 0,
        finished: resumed.finished,
        calls: resumed.calls,
        retries: resumed.retries,
        left: len_u64(resumed.left.len()),
    }
}

/// Tells one operation that the last twal_txn_resume() left, and why.
///
///   txn            a manager
///   at             which one, from 0
///   operation_out  receives the operation as it was then; its struct_size must
///                  be set, as TWAL_TXN_OPERATION_INIT does.  Untouched on
///                  failure.
///   error_out      receives why, as TWAL_ERROR_INIT lets it; code is TWAL_OK
///                  if the operation was not begun, or was imported
///                  meanwhile.  NULL if you do not need it.  Untouched on failure.
///
/// Returns TWAL_OK, or
///
///   TWAL_E_INVAL     txn or operation_out is NULL, or a struct_size is no size
///                    that a release of twal ever had
///   TWAL_E_FORKED    this process is a fork()ed child
///   TWAL_E_CLOSED    twal_txn_close() has begun
///   TWAL_E_NOTFOUND  it did not leave so many, or there was none
///
/// Blocks:  no.
/// Threads: any.
/// Signals: not async-signal-safe.
/// Since:   0.1
#[no_mangle]
pub unsafe extern "C" fn twal_txn_left_get(
    txn: *const twal_txn,
    at: u64,
    operation_out: *mut twal_txn_operation,
    error_out: *mut twal_error,
) -> c_int {
    guard_uncancelled(|| {
        let valid = || {
            // SAFETY: NULL or an error as long as it says (C contract).
            unsafe { sized::check_wanted(error_out)? };
            // SAFETY: NULL or an operation as long as it says (C contract).
            unsafe { sized::check(operation_out) }
        };
        // SAFETY: NULL or a manager (C contract).
        let left = unsafe { call(txn, valid, |handle, ()| left_at(handle, at))? };
        // SAFETY: as for the check above.
        unsafe { sized::give(operation_out, &operation_of(&left.operation))? };
        // SAFETY: as for the check above.
        unsafe { sized::give_wanted(error_out, &detail_of(left.error.as_ref())) }
    })
}

fn left_at(handle: &twal_txn, at: u64) -> Result<Left> {
    let all = handle.left.lock().unwrap_or_else(PoisonError::into_inner);
    let left = usize::try_from(at).ok().and_then(|at| all.get(at)).cloned();
    left.ok_or_else(|| Error::new(Code::NotFound, "the last resume did not leave so many"))
}
