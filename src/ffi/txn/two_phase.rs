//! Two-phase commits: what is told of them.

use std::ffi::c_int;
use std::mem::offset_of;

use super::manager::{array_of, choose, inval, name_of, sync_of, tell, twal_txn};
use crate::base::Result;
use crate::ffi::sized::{self, Grows};
use crate::txn::event::Name;
use crate::txn::limits::PARTICIPANTS_MAX;
use crate::txn::Manager;

/// What a participant voted.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum twal_vote {
    /// It has not voted.
    TWAL_VOTE_NONE = 0,
    /// It promises to commit if it is told to.
    TWAL_VOTE_COMMIT = 1,
    /// It will not commit.
    TWAL_VOTE_ABORT = 2,
}

/// One shard's part in a two-phase commit.  It never changes.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct twal_2pc_participant {
    /// Which shard: the program's bytes, unique in its two-phase commit.
    pub shard: [u8; 32],
    /// Which node has it: the program's bytes.
    pub node: [u8; 32],
    /// One of twal_vote; must be 0 where it is added.
    pub vote: u32,
    /// Must be 0.
    pub reserved: [u32; 3],
}

const _: () = assert!(size_of::<twal_2pc_participant>() == 80 && offset_of!(twal_2pc_participant, vote) == 64);

/// A two-phase commit, told as a whole.  Start from TWAL_2PC_SPEC_INIT.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct twal_2pc_spec {
    /// sizeof(twal_2pc_spec).
    pub struct_size: u64,
    /// 0: the next one.  Else above every earlier two-phase commit's, and at
    /// most 2^63.
    pub id: u64,
    /// Its participants; NULL if participant_count is 0.
    pub participants: *const twal_2pc_participant,
    /// How many, at most 64.
    pub participant_count: usize,
    /// Who runs it: the program's bytes.
    pub coordinator: [u8; 32],
}

// SAFETY: repr(C) without holes (64 = 4 * 8 + 32), struct_size first; a pointer of zeros is NULL.
unsafe impl Grows for twal_2pc_spec {
    const NAME: &'static str = "twal_2pc_spec";
    const FIRST_SIZE: usize = 64;
}

const _: () = assert!(size_of::<twal_2pc_spec>() == 64);

/// A two-phase commit as Rust has it.
#[derive(Default)]
struct Spec {
    id: Option<u64>,
    coordinator: Name,
    /// Shard and node of each.
    participants: Vec<(Name, Name)>,
}

/// What C says.
///
/// # Safety
///
/// `spec` is NULL or a twal_2pc_spec as long as it says, and what it points to is there and unchanged during the call.
unsafe fn spec_of(spec: *const twal_2pc_spec) -> Result<Spec> {
    if spec.is_null() {
        return Ok(Spec::default());
    }
    // SAFETY: the contract.
    let spec = unsafe { sized::take(spec)? }.known()?;
    // SAFETY: the contract.
    let participants = unsafe { array_of(spec.participants, spec.participant_count, PARTICIPANTS_MAX)? };
    if participants.iter().any(|one| one.vote != 0 || one.reserved != [0, 0, 0]) {
        return inval("a participant's vote or reserved is not 0");
    }
    let participants = participants.iter().map(|one| (one.shard, one.node)).collect();
    Ok(Spec { id: (spec.id != 0).then_some(spec.id), coordinator: spec.coordinator, participants })
}

/// Begins a two-phase commit, with its participants if they are known.
///
/// All of it is one batch: after any crash it is there as a whole or not at
/// all.  It is durable on return, in every mode of the log.
///
///   txn      a manager
///   spec     the two-phase commit; NULL: the next id, no participants yet, no
///            coordinator
///   id_out   receives its id; NULL if you do not need it.  Untouched on
///            failure.
///   seq_out  receives its first record's number; NULL if you do not need it.
///            Untouched on failure.
///
/// Returns TWAL_OK, or
///
///   TWAL_E_INVAL        txn is NULL; spec.struct_size is none, participants is
///                       NULL and its count is not 0, a participant's vote or
///                       reserved is not 0, or spec.id is above 2^63
///   TWAL_E_UNSUPPORTED  spec says something that this release does not know
///   TWAL_E_TOOBIG       more than 64 participants, or more than the log takes
///                       in one batch
///   TWAL_E_STATE        spec.id is not above every earlier one, or a shard is
///                       there twice
///   TWAL_E_BUSY         twal_import() runs
///   and what twal_2pc_add_participant() returns
///
/// Blocks:  on the device: it returns when this is durable.
/// Threads: any.
/// Signals: not async-signal-safe.
/// Since:   0.1
#[must_use]
#[no_mangle]
pub unsafe extern "C" fn twal_2pc_create(
    txn: *mut twal_txn,
    spec: *const twal_2pc_spec,
    id_out: *mut u64,
    seq_out: *mut u64,
) -> c_int {
    // SAFETY: NULL or a spec with what it points to (C contract).
    let valid = || unsafe { spec_of(spec) };
    let create =
        |manager: &Manager, spec: Spec| manager.transaction_create(spec.id, spec.coordinator, &spec.participants);
    // SAFETY: NULL or a manager, each NULL or room for a number (C contract).
    unsafe { choose(txn, valid, create, id_out, seq_out) }
}

/// Adds a participant to a two-phase commit that is not being prepared.
///
///   txn      a manager
///   id       the two-phase commit
///   shard    32 bytes that name the shard
///   node     32 bytes that name the node that has it
///   flags    0: durable on return if the log's mode is TWAL_SYNC; or
///            TWAL_APPEND_SYNC or TWAL_APPEND_NO_SYNC, which override it
///   seq_out  receives the record's number; NULL if you do not need it.
///            Untouched on failure.
///
/// Returns TWAL_OK, or
///
///   TWAL_E_INVAL     txn is NULL, id is 0, shard or node is NULL; or
///                    flags has unknown bits, or both
///   TWAL_E_TOOBIG    more than 64 participants
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
pub unsafe extern "C" fn twal_2pc_add_participant(
    txn: *mut twal_txn,
    id: u64,
    shard: *const u8,
    node: *const u8,
    flags: u32,
    seq_out: *mut u64,
) -> c_int {
    let valid = || {
        let sync = sync_of(flags)?;
        // SAFETY: each NULL or 32 bytes (C contract).
        Ok((unsafe { (name_of(shard)?, name_of(node)?) }, sync))
    };
    // SAFETY: NULL or a manager, NULL or room for a number (C contract).
    unsafe {
        tell(
            txn,
            id,
            valid,
            |manager, ((shard, node), sync)| manager.transaction_add_participant(id, shard, node, sync),
            seq_out,
        )
    }
}

/// Lets votes be asked for from now on.
///
/// No participant can be added.  A recovery that does not find every vote
/// aborts (presumed abort).  Durable on return, in every mode of the log.
///
///   txn      a manager
///   id       the two-phase commit
///   seq_out  receives the record's number; NULL if you do not need it.
///            Untouched on failure.
///
/// Returns what twal_2pc_add_participant() returns; TWAL_E_STATE also where there
/// is no participant.
///
/// Blocks:  on the device: it returns when this is durable.
/// Threads: any.
/// Signals: not async-signal-safe.
/// Since:   0.1
#[must_use]
#[no_mangle]
pub unsafe extern "C" fn twal_2pc_prepare(txn: *mut twal_txn, id: u64, seq_out: *mut u64) -> c_int {
    // SAFETY: NULL or a manager, NULL or room for a number (C contract).
    unsafe { tell(txn, id, || Ok(()), |manager, ()| manager.transaction_prepare(id), seq_out) }
}

const COMMIT: u32 = twal_vote::TWAL_VOTE_COMMIT as u32;
const ABORT: u32 = twal_vote::TWAL_VOTE_ABORT as u32;

/// Tells a participant's vote.
///
/// With every participant's TWAL_VOTE_COMMIT in the log a recovery commits: to
/// abort then, tell no participant so before twal_2pc_abort_start() has
/// returned.
///
///   txn      a manager
///   id       the two-phase commit
///   shard    32 bytes that name the shard
///   vote     TWAL_VOTE_COMMIT or TWAL_VOTE_ABORT
///   flags    0: durable on return if the log's mode is TWAL_SYNC; or
///            TWAL_APPEND_SYNC or TWAL_APPEND_NO_SYNC, which override it
///   seq_out  receives the record's number; NULL if you do not need it.
///            Untouched on failure.
///
/// Returns what twal_2pc_add_participant() returns, TWAL_E_INVAL also for a
/// vote that is neither.
///
/// Blocks:  on the device, where it waits for durability, and while the log has
///          no room.
/// Threads: any.
/// Signals: not async-signal-safe.
/// Since:   0.1
#[must_use]
#[no_mangle]
pub unsafe extern "C" fn twal_2pc_vote(
    txn: *mut twal_txn,
    id: u64,
    shard: *const u8,
    vote: u32,
    flags: u32,
    seq_out: *mut u64,
) -> c_int {
    let valid = || {
        let sync = sync_of(flags)?;
        let commit = match vote {
            COMMIT => true,
            ABORT => false,
            _ => return inval("vote is neither TWAL_VOTE_COMMIT nor TWAL_VOTE_ABORT"),
        };
        // SAFETY: NULL or 32 bytes (C contract).
        Ok(((unsafe { name_of(shard)? }, commit), sync))
    };
    // SAFETY: NULL or a manager, NULL or room for a number (C contract).
    unsafe {
        tell(
            txn,
            id,
            valid,
            |manager, ((shard, commit), sync)| manager.transaction_vote(id, shard, commit, sync),
            seq_out,
        )
    }
}

/// Decides to commit; every participant has voted for it.
///
/// Durable on return, in every mode of the log: tell the participants then, not
/// before.
///
///   txn      a manager
///   id       the two-phase commit
///   seq_out  receives the record's number; NULL if you do not need it.
///            Untouched on failure.
///
/// Returns what twal_2pc_add_participant() returns.
///
/// Blocks:  on the device: it returns when this is durable.
/// Threads: any.
/// Signals: not async-signal-safe.
/// Since:   0.1
#[must_use]
#[no_mangle]
pub unsafe extern "C" fn twal_2pc_commit_start(txn: *mut twal_txn, id: u64, seq_out: *mut u64) -> c_int {
    // SAFETY: NULL or a manager, NULL or room for a number (C contract).
    unsafe { tell(txn, id, || Ok(()), |manager, ()| manager.transaction_commit_start(id), seq_out) }
}

/// Ends a two-phase commit: every participant has committed.
///
/// It can be rolled back as long as its state is TWAL_2PC_COMMITTED.
///
///   txn      a manager
///   id       the two-phase commit
///   flags    0: durable on return if the log's mode is TWAL_SYNC; or
///            TWAL_APPEND_SYNC or TWAL_APPEND_NO_SYNC, which override it
///   seq_out  receives the record's number; NULL if you do not need it.
///            Untouched on failure.
///
/// Returns what twal_2pc_add_participant() returns.
///
/// Blocks:  on the device, where it waits for durability, and while the log has
///          no room.
/// Threads: any.
/// Signals: not async-signal-safe.
/// Since:   0.1
#[must_use]
#[no_mangle]
pub unsafe extern "C" fn twal_2pc_commit_complete(txn: *mut twal_txn, id: u64, flags: u32, seq_out: *mut u64) -> c_int {
    // SAFETY: NULL or a manager, NULL or room for a number (C contract).
    unsafe { tell(txn, id, || sync_of(flags), |manager, sync| manager.transaction_commit_complete(id, sync), seq_out) }
}

/// Decides to abort.
///
/// At any time before twal_2pc_commit_start().  Durable on return, in every
/// mode of the log: tell the participants then, not before.
///
///   txn      a manager
///   id       the two-phase commit
///   seq_out  receives the record's number; NULL if you do not need it.
///            Untouched on failure.
///
/// Returns what twal_2pc_add_participant() returns.
///
/// Blocks:  on the device: it returns when this is durable.
/// Threads: any.
/// Signals: not async-signal-safe.
/// Since:   0.1
#[must_use]
#[no_mangle]
pub unsafe extern "C" fn twal_2pc_abort_start(txn: *mut twal_txn, id: u64, seq_out: *mut u64) -> c_int {
    // SAFETY: NULL or a manager, NULL or room for a number (C contract).
    unsafe { tell(txn, id, || Ok(()), |manager, ()| manager.transaction_abort_start(id), seq_out) }
}

/// Decides to abort the two-phase commit that has waited longest for its votes.
///
/// The deadline of votes: of those whose votes were asked for wait_us or longer
/// ago, by the monotonic clock, and which do not have all of them, the oldest
/// one gets its abort_start, as by twal_2pc_abort_start().  Its coordinator, if
/// it still lives, learns so from its next call, which is refused, and
/// participants from twal_2pc_state_get().  One that all voted to commit is
/// never taken, nor what twal_txn_recover() found or twal_import() brought:
/// twal_txn_resume() aborts those that wait for votes, however short they have.
/// The time is not in the log.  Who takes one ends it, too, as after
/// twal_2pc_abort_start().
///
///   txn      a manager
///   wait_us  microseconds since twal_2pc_prepare(); 0: any that waits
///   id_out   receives its id; NULL if you do not need it.  Untouched on
///            failure.
///   seq_out  receives the record's number; NULL if you do not need it.
///            Untouched on failure.
///
/// Returns TWAL_OK, or
///
///   TWAL_E_INVAL     txn is NULL
///   TWAL_E_NOTFOUND  none has waited so long
///   TWAL_E_FORKED    this process is a fork()ed child
///   TWAL_E_CLOSED    twal_close() or twal_txn_close() has begun
///   TWAL_E_POISONED  an earlier write or flush failed
///   TWAL_E_NOSPC, TWAL_E_TIMEOUT, TWAL_E_PERM, TWAL_E_NOMEM,
///   TWAL_E_UNSUPPORTED
///                    no room, or the next segment's file could not be made, as
///                    for twal_append()
///   TWAL_E_IO        a write or flush failed
///   TWAL_E_PANIC     a bug in twal was caught
///
/// All that are overdue, for a thread that looks every now and then:
///
///   uint64_t id;
///   while (twal_2pc_expire(txn, 5000000, &id, NULL) == TWAL_OK) {
///       tell_participants_to_abort(id);
///       if (twal_2pc_abort_complete(txn, id, 0, NULL) != TWAL_OK)
///           break;
///   }
///
/// After TWAL_E_IO, TWAL_E_POISONED, TWAL_E_PANIC, and TWAL_E_CLOSED of a log
/// that another thread closes, the next twal_txn_recover() knows whether one
/// was taken.  After any other error nothing was written.
///
/// Blocks:  on the device: it returns when this is durable.
/// Threads: any.
/// Signals: not async-signal-safe.
/// Since:   0.1
#[must_use]
#[no_mangle]
pub unsafe extern "C" fn twal_2pc_expire(
    txn: *mut twal_txn,
    wait_us: u64,
    id_out: *mut u64,
    seq_out: *mut u64,
) -> c_int {
    let expire = |manager: &Manager, ()| manager.transaction_expire(wait_us.saturating_mul(1000));
    // SAFETY: NULL or a manager, each NULL or room for a number (C contract).
    unsafe { choose(txn, || Ok(()), expire, id_out, seq_out) }
}

/// Ends a two-phase commit: nothing of it is there at any participant.
///
///   txn      a manager
///   id       the two-phase commit
///   flags    0: durable on return if the log's mode is TWAL_SYNC; or
///            TWAL_APPEND_SYNC or TWAL_APPEND_NO_SYNC, which override it
///   seq_out  receives the record's number; NULL if you do not need it.
///            Untouched on failure.
///
/// Returns what twal_2pc_add_participant() returns.
///
/// Blocks:  on the device, where it waits for durability, and while the log has
///          no room.
/// Threads: any.
/// Signals: not async-signal-safe.
/// Since:   0.1
#[must_use]
#[no_mangle]
pub unsafe extern "C" fn twal_2pc_abort_complete(txn: *mut twal_txn, id: u64, flags: u32, seq_out: *mut u64) -> c_int {
    // SAFETY: NULL or a manager, NULL or room for a number (C contract).
    unsafe { tell(txn, id, || sync_of(flags), |manager, sync| manager.transaction_abort_complete(id, sync), seq_out) }
}

/// Decides to undo a commit.
///
/// Of one that commits or has committed, and again of one that is being rolled
/// back, for who begins the rollback anew; three times of one, all together.
/// Durable on return, in every mode of the log: tell the participants then, not
/// before.
///
///   txn      a manager
///   id       the two-phase commit
///   seq_out  receives the record's number; NULL if you do not need it.
///            Untouched on failure.
///
/// Returns what twal_2pc_add_participant() returns, and TWAL_E_TOOBIG for the
/// fourth time: a limit, as that of participants; the rollback goes on.
///
/// Blocks:  on the device: it returns when this is durable.
/// Threads: any.
/// Signals: not async-signal-safe.
/// Since:   0.1
#[must_use]
#[no_mangle]
pub unsafe extern "C" fn twal_2pc_rollback_start(txn: *mut twal_txn, id: u64, seq_out: *mut u64) -> c_int {
    // SAFETY: NULL or a manager, NULL or room for a number (C contract).
    unsafe { tell(txn, id, || Ok(()), |manager, ()| manager.transaction_rollback_start(id), seq_out) }
}

/// Ends a two-phase commit: the commit is undone at every participant.
///
///   txn      a manager
///   id       the two-phase commit
///   flags    0: durable on return if the log's mode is TWAL_SYNC; or
///            TWAL_APPEND_SYNC or TWAL_APPEND_NO_SYNC, which override it
///   seq_out  receives the record's number; NULL if you do not need it.
///            Untouched on failure.
///
/// Returns what twal_2pc_add_participant() returns.
///
/// Blocks:  on the device, where it waits for durability, and while the log has
///          no room.
/// Threads: any.
/// Signals: not async-signal-safe.
/// Since:   0.1
#[must_use]
#[no_mangle]
pub unsafe extern "C" fn twal_2pc_rollback_complete(
    txn: *mut twal_txn,
    id: u64,
    flags: u32,
    seq_out: *mut u64,
) -> c_int {
    // SAFETY: NULL or a manager, NULL or room for a number (C contract).
    unsafe {
        tell(txn, id, || sync_of(flags), |manager, sync| manager.transaction_rollback_complete(id, sync), seq_out)
    }
}
