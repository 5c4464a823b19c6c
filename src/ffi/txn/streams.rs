//! Tombstones, purges and applied markers, for C.

use std::ffi::{c_int, c_void};
use std::sync::Arc;

use super::manager::{append, call, inval, sync_of, twal_txn};
use super::operation::give;
use crate::base::{Code, Error, Result};
use crate::ffi::guard::{self, guard_uncancelled};
use crate::ffi::iter::{self, twal_iter};
use crate::ffi::iter_options::{iter_options_of, twal_iter_options};
use crate::ffi::sized::Grows;
use crate::log::IterOptions;
use crate::txn::limits::STREAM_NAME_MAX;
use crate::txn::{Applied, Manager, Purge, Tombstone};

/// Tells the manager what happens to a stream, and the caller its number.
///
/// # Safety
///
/// As for [`append`].
unsafe fn tell<A>(
    txn: *mut twal_txn,
    flags: u32,
    valid: impl FnOnce() -> Result<A>,
    event: impl FnOnce(&Manager, A, Option<bool>) -> Result<u64>,
    seq_out: *mut u64,
) -> c_int {
    let valid = || Ok((valid()?, sync_of(flags)?));
    // SAFETY: the contract.
    unsafe { append(txn, valid, |manager, (arguments, sync)| event(manager, arguments, sync), seq_out) }
}

/// Drops what the program has written to a stream.
///
/// The program's records of the stream with a lower number than below_seq, and
/// lower than the tombstone's own, are left out by readers from
/// twal_txn_iter_open(), and taken away by the next compaction.  What is written
/// to the stream from now on is new.  The highest below_seq of a stream counts.
///
///   txn        a manager
///   stream     the stream
///   below_seq  the first number that stays; UINT64_MAX: all so far go
///   name       what the program calls the stream, kept and not interpreted;
///              may be NULL if name_len is 0
///   name_len   its bytes, at most 255
///   flags      0, TWAL_APPEND_SYNC or TWAL_APPEND_NO_SYNC
///   seq_out    receives the tombstone's number; NULL if you do not need it.
///              Untouched on failure.
///
/// Returns TWAL_OK, or
///
///   TWAL_E_INVAL     txn is NULL, name is NULL and name_len is not 0, or flags
///                    has unknown bits or both
///   TWAL_E_TOOBIG    name_len is above 255; or what is said of streams has
///                    half of the room for all state, and takes it: waiting
///                    does not help
///   TWAL_E_FORKED    this process is a fork()ed child
///   TWAL_E_CLOSED    twal_close() or twal_txn_close() has begun
///   TWAL_E_POISONED  an earlier write or flush failed
///   TWAL_E_AGAIN     the state of all operations and streams takes all the
///                    room that it may have, until an operation finishes
///   TWAL_E_NOSPC, TWAL_E_TIMEOUT, TWAL_E_PERM, TWAL_E_NOMEM,
///   TWAL_E_UNSUPPORTED
///                    no room, or the next segment's file could not be made, as
///                    for twal_append()
///   TWAL_E_IO        a write or flush failed
///   TWAL_E_PANIC     a bug in twal was caught
///
/// Blocks:  on the device, if it is to be durable.
/// Threads: any.
/// Signals: not async-signal-safe.
/// Since:   0.1
#[must_use]
#[no_mangle]
pub unsafe extern "C" fn twal_tombstone(
    txn: *mut twal_txn,
    stream: u64,
    below_seq: u64,
    name: *const c_void,
    name_len: usize,
    flags: u32,
    seq_out: *mut u64,
) -> c_int {
    let valid = || match (name.is_null(), name_len) {
        (_, 0) => Ok(Vec::new()),
        (true, _) => inval("the name is NULL, and its length is not 0"),
        (false, 1..=STREAM_NAME_MAX) => {
            // SAFETY: name_len bytes that nobody changes during the call (C contract).
            Ok(unsafe { std::slice::from_raw_parts(name.cast::<u8>(), name_len) }.to_vec())
        }
        (false, _) => Err(Error::new(Code::TooBig, format!("a name of {name_len} bytes"))),
    };
    let event = |manager: &Manager, name: Vec<u8>, sync| manager.tombstone(stream, below_seq, &name, sync);
    // SAFETY: the same contract.
    unsafe { tell(txn, flags, valid, event, seq_out) }
}

/// Drops what the program has written to a stream with old timestamps.
///
/// As twal_tombstone() of the records in front of this one whose timestamp is
/// below before.  Earlier purges of the stream stand, too; one whose before is
/// not above this one's is forgotten, because this one drops all that it drops.
/// At most 64 of a stream stand.
///
///   txn      a manager
///   stream   the stream
///   before   the first timestamp that stays
///   tag      the program's, kept and not interpreted
///   purged   how many records the program says it purged; not interpreted
///   flags    0, TWAL_APPEND_SYNC or TWAL_APPEND_NO_SYNC
///   seq_out  receives the purge's number; NULL if you do not need it.
///            Untouched on failure.
///
/// Returns what twal_tombstone() returns; TWAL_E_TOOBIG: 64 purges of the stream
/// have later times than this one.
///
/// Blocks:  on the device, if it is to be durable.
/// Threads: any.
/// Signals: not async-signal-safe.
/// Since:   0.1
#[must_use]
#[no_mangle]
pub unsafe extern "C" fn twal_purge(
    txn: *mut twal_txn,
    stream: u64,
    before: i64,
    tag: u8,
    purged: u64,
    flags: u32,
    seq_out: *mut u64,
) -> c_int {
    let purge = Purge { before, tag, purged };
    // SAFETY: the same contract.
    unsafe { tell(txn, flags, || Ok(()), |manager, (), sync| manager.purge(stream, purge, sync), seq_out) }
}

/// Says that something outside was applied up to a place.
///
/// The last such marker of a stream is there after every recovery, without
/// reading the log: twal_applied_get().
///
///   txn       a manager
///   stream    the stream
///   epoch     the other side's epoch
///   position  the place in it
///   flags     0, TWAL_APPEND_SYNC or TWAL_APPEND_NO_SYNC
///   seq_out   receives the marker's number; NULL if you do not need it.
///             Untouched on failure.
///
/// Returns what twal_tombstone() returns.
///
/// Blocks:  on the device, if it is to be durable.
/// Threads: any.
/// Signals: not async-signal-safe.
/// Since:   0.1
#[must_use]
#[no_mangle]
pub unsafe extern "C" fn twal_applied(
    txn: *mut twal_txn,
    stream: u64,
    epoch: u64,
    position: u64,
    flags: u32,
    seq_out: *mut u64,
) -> c_int {
    let applied = Applied { epoch, position };
    // SAFETY: the same contract.
    unsafe { tell(txn, flags, || Ok(()), |manager, (), sync| manager.applied(stream, applied, sync), seq_out) }
}

/// The tombstone of a stream.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct twal_tombstone_info {
    /// sizeof(twal_tombstone_info), set by the caller.
    pub struct_size: u64,
    /// The stream.
    pub stream: u64,
    /// The first number that stays, at most the tombstone's own.
    pub below_seq: u64,
    /// Bytes of name.
    pub name_len: u64,
    /// What the program calls the stream; zeros behind it.
    pub name: [u8; 256],
}

// SAFETY: repr(C) without holes (288 = 4 * 8 + 256), struct_size first, plain numbers.
unsafe impl Grows for twal_tombstone_info {
    const NAME: &'static str = "twal_tombstone_info";
    const FIRST_SIZE: usize = 288;
}

/// The last purge of a stream.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct twal_purge_info {
    /// sizeof(twal_purge_info), set by the caller.
    pub struct_size: u64,
    /// The first timestamp that stays.
    pub before: i64,
    /// How many records the program said it purged.
    pub purged: u64,
    /// The program's tag.
    pub tag: u64,
}

// SAFETY: repr(C), 8 bytes each, struct_size first, plain numbers.
unsafe impl Grows for twal_purge_info {
    const NAME: &'static str = "twal_purge_info";
    const FIRST_SIZE: usize = 32;
}

/// The last applied marker of a stream.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct twal_applied_info {
    /// sizeof(twal_applied_info), set by the caller.
    pub struct_size: u64,
    /// The other side's epoch.
    pub epoch: u64,
    /// The place in it.
    pub position: u64,
}

// SAFETY: repr(C), u64 only, struct_size first.
unsafe impl Grows for twal_applied_info {
    const NAME: &'static str = "twal_applied_info";
    const FIRST_SIZE: usize = 24;
}

const _: () = assert!(
    size_of::<twal_tombstone_info>() == 288
        && size_of::<twal_purge_info>() == 32
        && size_of::<twal_applied_info>() == 24
);

fn none_of(stream: u64) -> Error {
    Error::new(Code::NotFound, format!("nothing of the kind was said of stream {stream}"))
}

/// Tells the tombstones, one by one, by stream.
///
/// One that was told and is not durable yet is there, too.
///
///   txn          a manager
///   from_stream  where to look: 0 for the first one, then the last one's
///                stream + 1; behind stream UINT64_MAX there is none
///   info_out     receives the tombstone of the lowest stream from there on;
///                its struct_size must be set, as TWAL_TOMBSTONE_INFO_INIT
///                does.  Untouched on failure.
///
/// Returns TWAL_OK, or
///
///   TWAL_E_INVAL     txn or info_out is NULL, or struct_size is no size that a
///                    release of twal ever had
///   TWAL_E_NOTFOUND  there is none from there on
///   TWAL_E_FORKED    this process is a fork()ed child
///   TWAL_E_CLOSED    twal_close() or twal_txn_close() has begun
///   TWAL_E_POISONED  an earlier write or flush failed
///   TWAL_E_IO        a decision could not be made durable
///   TWAL_E_PANIC     a bug in twal was caught
///
/// Example:
///
///   twal_tombstone_info one = TWAL_TOMBSTONE_INFO_INIT;
///   int code = twal_tombstone_get(txn, 0, &one);
///   while (code == TWAL_OK) {
///       printf("%llu\n", (unsigned long long)one.stream);
///       if (one.stream == UINT64_MAX)
///           break;
///       code = twal_tombstone_get(txn, one.stream + 1, &one);
///   }
///
/// Blocks:  while a decision of another thread is being made durable.
/// Threads: any.
/// Signals: not async-signal-safe.
/// Since:   0.1
#[must_use]
#[no_mangle]
pub unsafe extern "C" fn twal_tombstone_get(
    txn: *const twal_txn,
    from_stream: u64,
    info_out: *mut twal_tombstone_info,
) -> c_int {
    let find = |handle: &twal_txn, ()| match handle.manager.next_tombstone(from_stream)? {
        Some((stream, tombstone)) => Ok(tombstone_of(stream, &tombstone)),
        None => Err(none_of(from_stream)),
    };
    // SAFETY: the same contract.
    unsafe { give(txn, info_out, || Ok(()), find) }
}

fn tombstone_of(stream: u64, tombstone: &Tombstone) -> twal_tombstone_info {
    let mut name = [0; 256];
    name[..tombstone.name.len()].copy_from_slice(&tombstone.name);
    let name_len = crate::base::bytes::len_u64(tombstone.name.len());
    twal_tombstone_info { struct_size: 0, stream, below_seq: tombstone.below_seq, name_len, name }
}

/// Tells the purge of a stream: the last one, durable or not.
///
///   txn       a manager
///   stream    the stream
///   info_out  receives it; its struct_size must be set, as
///             TWAL_PURGE_INFO_INIT does.  Untouched on failure.
///
/// Returns what twal_tombstone_get() returns; TWAL_E_NOTFOUND: the stream has
/// none.
///
/// Blocks:  while a decision of another thread is being made durable.
/// Threads: any.
/// Signals: not async-signal-safe.
/// Since:   0.1
#[must_use]
#[no_mangle]
pub unsafe extern "C" fn twal_purge_get(txn: *const twal_txn, stream: u64, info_out: *mut twal_purge_info) -> c_int {
    let find = |handle: &twal_txn, ()| {
        let Purge { before, tag, purged } = handle.manager.purge_of(stream)?.ok_or_else(|| none_of(stream))?;
        Ok(twal_purge_info { struct_size: 0, before, purged, tag: tag.into() })
    };
    // SAFETY: the same contract.
    unsafe { give(txn, info_out, || Ok(()), find) }
}

/// Tells the last applied marker of a stream.
///
/// Whoever lets the other side forget what was applied makes it durable before,
/// with twal_sync(): a crash can take back one that was told and did not wait.
///
///   txn       a manager
///   stream    the stream
///   info_out  receives it; its struct_size must be set, as
///             TWAL_APPLIED_INFO_INIT does.  Untouched on failure.
///
/// Returns what twal_tombstone_get() returns; TWAL_E_NOTFOUND: the stream has
/// none.
///
/// Blocks:  while a decision of another thread is being made durable.
/// Threads: any.
/// Signals: not async-signal-safe.
/// Since:   0.1
#[must_use]
#[no_mangle]
pub unsafe extern "C" fn twal_applied_get(
    txn: *const twal_txn,
    stream: u64,
    info_out: *mut twal_applied_info,
) -> c_int {
    let find = |handle: &twal_txn, ()| {
        let Applied { epoch, position } = handle.manager.applied_to(stream)?.ok_or_else(|| none_of(stream))?;
        Ok(twal_applied_info { struct_size: 0, epoch, position })
    };
    // SAFETY: the same contract.
    unsafe { give(txn, info_out, || Ok(()), find) }
}

/// Begins to read, without what tombstones and purges drop.
///
/// As twal_iter_open() of the manager's log; what is told after this call is
/// not left out.  twal's own records are never left out.
///
///   txn       a manager
///   options   how to read; NULL: all defaults
///   iter_out  receives the reader; give it back with twal_iter_close().
///             Untouched on failure.
///
/// Returns what twal_iter_open() returns, and
///
///   TWAL_E_INVAL     also: txn is NULL
///   TWAL_E_CLOSED    also: twal_txn_close() has begun
///   TWAL_E_POISONED  an earlier write or flush failed: ask twal_iter_open()
///
/// Blocks:  on the device.
/// Threads: any.
/// Signals: not async-signal-safe.
/// Since:   0.1
#[must_use]
#[no_mangle]
pub unsafe extern "C" fn twal_txn_iter_open(
    txn: *mut twal_txn,
    options: *const twal_iter_options,
    iter_out: *mut *mut twal_iter,
) -> c_int {
    guard_uncancelled(|| {
        let valid = || {
            // SAFETY: NULL or room for a pointer (C contract).
            let iter_out = unsafe { guard::must_have(iter_out)? };
            // SAFETY: NULL or a twal_iter_options as long as it says (C contract).
            Ok((iter_out, unsafe { iter_options_of(options)? }))
        };
        let open = |handle: &twal_txn, (iter_out, options): (_, IterOptions)| {
            let hidden = Some(Arc::new(handle.manager.hidden()?));
            Ok((iter_out, handle.manager.log().iter_with(IterOptions { hidden, ..options })?))
        };
        // SAFETY: NULL or a manager (C contract).
        let (iter_out, iter) = unsafe { call(txn, valid, open)? };
        // SAFETY: must_have has seen it.
        unsafe { iter::give(iter, iter_out) };
        Ok(())
    })
}
