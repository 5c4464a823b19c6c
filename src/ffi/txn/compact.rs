//! Compaction by a manager, for C.

use std::ffi::c_int;

use super::manager::{call, inval, twal_txn};
use crate::base::Result;
use crate::ffi::guard::guard_uncancelled;
use crate::ffi::sized::{self, Grows};
use crate::txn::{Compaction, CompactionOptions};

/// twal_compact_options.flags: bits.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum twal_compact_flags {
    /// Seal the active segment first, as twal_roll() does; where
    /// options.log_size_max leaves no room for another, what is sealed already
    /// is compacted.
    TWAL_COMPACT_SEAL = 1,
}

/// What is compacted.  A field that is 0 has its default, so start from
/// TWAL_COMPACT_OPTIONS_INIT and set what you need.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct twal_compact_options {
    /// sizeof(twal_compact_options).
    pub struct_size: u64,
    /// Only segments whose files become smaller by so many bytes; 0: by any.
    pub saving_min: u64,
    /// Bits of twal_compact_flags.
    pub flags: u32,
    /// Must be 0.
    pub reserved: u32,
}

// SAFETY: repr(C) without holes (24 = 2 * 8 + 2 * 4), struct_size first, plain numbers.
unsafe impl Grows for twal_compact_options {
    const NAME: &'static str = "twal_compact_options";
    const FIRST_SIZE: usize = 24;
}

const _: () = assert!(size_of::<twal_compact_options>() == 24);

const SEAL: u32 = twal_compact_flags::TWAL_COMPACT_SEAL as u32;

/// What a compaction did.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct twal_compaction {
    /// sizeof(twal_compaction), set by the caller.
    pub struct_size: u64,
    /// Number of the checkpoint that it went by.
    pub checkpoint_seq: u64,
    /// Segments that were read; the others have not changed since they were.
    pub segments_read: u64,
    /// Segments that became smaller.
    pub segments_compacted: u64,
    /// Records that went: the sum of the next four.
    pub records_purged: u64,
    /// Of finished operations.
    pub events_purged: u64,
    /// Older checkpoints.
    pub checkpoints_purged: u64,
    /// Tombstones, purges and applied markers that later ones replace.
    pub stream_events_purged: u64,
    /// The program's, which a tombstone or purge drops.
    pub dropped_purged: u64,
    /// Records of operations that are kept in the segments looked at.
    pub events_kept: u64,
    /// All records that are kept in them.
    pub records_kept: u64,
    /// Bytes that their files took.
    pub bytes_before: u64,
    /// Bytes that they take less.
    pub bytes_saved: u64,
}

// SAFETY: repr(C), u64 only, struct_size first.
unsafe impl Grows for twal_compaction {
    const NAME: &'static str = "twal_compaction";
    const FIRST_SIZE: usize = 104;
}

const _: () = assert!(size_of::<twal_compaction>() == 104);

/// What C asks for.
///
/// # Safety
///
/// `options` is NULL or a twal_compact_options as long as it says.
unsafe fn options_of(options: *const twal_compact_options) -> Result<CompactionOptions> {
    if options.is_null() {
        return Ok(CompactionOptions::default());
    }
    // SAFETY: the contract.
    let taken = unsafe { sized::take(options)? };
    if taken.value.flags & !SEAL != 0 || taken.value.reserved != 0 {
        return inval("compact_options has unknown flags, or reserved is not 0");
    }
    let options = taken.known()?;
    Ok(CompactionOptions { seal: options.flags & SEAL != 0, saving_min: options.saving_min })
}

fn compaction_of(done: &Compaction) -> twal_compaction {
    twal_compaction {
        struct_size: 0,
        checkpoint_seq: done.checkpoint_seq,
        segments_read: done.segments_read,
        segments_compacted: done.segments_compacted,
        records_purged: done.records_purged(),
        events_purged: done.events_purged,
        checkpoints_purged: done.checkpoints_purged,
        stream_events_purged: done.stream_events_purged,
        dropped_purged: done.dropped_purged,
        events_kept: done.events_kept,
        records_kept: done.records_kept,
        bytes_before: done.bytes_before,
        bytes_saved: done.bytes_saved,
    }
}

/// Takes away what nobody needs any more, now.
///
/// Rewrites the sealed segments in front of the last checkpoint, oldest first,
/// without the records of finished operations, older checkpoints, and what
/// tombstones and purges drop of the program's records.  If anything has
/// happened since that checkpoint, or a sealed segment lies behind it, one is
/// written first, with all that twal_txn_checkpoint() does.  A segment of which
/// nothing goes stays, unless the log is larger than its log_size_max: then what
/// stays is packed, if that makes the file smaller.
///
/// What is kept keeps its number and its place.  Appends and readers go on
/// meanwhile; a reader finds what goes until it is gone.  Whatever crash ends
/// it, recovery finds the same operations.  Waits for an automatic compaction
/// to end.
///
///   txn       a manager
///   options   what to compact; NULL: all defaults
///   done_out  receives what was done, its struct_size must be set, as
///             TWAL_COMPACTION_INIT does; NULL if you do not need it.
///             Untouched on failure.
///
/// Returns TWAL_OK, or
///
///   TWAL_E_INVAL        txn is NULL, a struct_size is none, flags has unknown
///                       bits, or reserved is not 0
///   TWAL_E_UNSUPPORTED  options say something that this release does not know
///   TWAL_E_BUSY         twal_import() runs
///   TWAL_E_TOOBIG       no room for the checkpoint in a record of this log
///   TWAL_E_FORKED       this process is a fork()ed child
///   TWAL_E_CLOSED       twal_close() or twal_txn_close() has begun
///   TWAL_E_POISONED     an earlier write or flush failed
///   TWAL_E_CORRUPT      a segment is damaged; those in front of it are done. Or
///                       the log's holds are damaged or lost: see
///                       twal_hold_reset()
///   TWAL_E_NOSPC, TWAL_E_TIMEOUT
///                       no room for the checkpoint, or for one segment; to be
///                       tried again
///   TWAL_E_PERM         the operating system refuses access to a file
///   TWAL_E_NOMEM        no memory or file descriptor left
///   TWAL_E_IO           a read, write or flush failed; the segment stays
///   TWAL_E_PANIC        a bug in twal was caught
///
/// Blocks:  on the device, for as long as it reads and writes.
/// Threads: any.
/// Signals: not async-signal-safe.
/// Since:   0.1
#[must_use]
#[no_mangle]
pub unsafe extern "C" fn twal_txn_compact(
    txn: *mut twal_txn,
    options: *const twal_compact_options,
    done_out: *mut twal_compaction,
) -> c_int {
    guard_uncancelled(|| {
        let valid = || {
            // SAFETY: NULL or a twal_compaction as long as it says (C contract).
            unsafe { sized::check_wanted(done_out)? };
            // SAFETY: NULL or a twal_compact_options as long as it says (C contract).
            unsafe { options_of(options) }
        };
        // SAFETY: NULL or a manager (C contract).
        let done = unsafe { call(txn, valid, |handle, options| handle.manager.compact(&options))? };
        // SAFETY: as for the check above.
        unsafe { sized::give_wanted(done_out, &compaction_of(&done)) }
    })
}
