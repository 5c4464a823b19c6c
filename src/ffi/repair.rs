//! Repair as a C handle: a plan, and its application.

use std::ffi::{c_char, c_int};

use super::guard::{self, answer, guard_uncancelled};
use super::log::{path_of, taken_options};
use super::options::twal_options;
use super::sized::{self, put_text, Grows};
use super::verify::acknowledged_of;
use crate::base::{Code, Error, Result};
use crate::disk::cancel::Uncancelled;
use crate::log::{Repair, Step, StepKind};
use crate::mem::fork::ForkGuard;

/// A plan to make a damaged log one that opens.
///
/// From twal_repair_plan() to twal_repair_close().  One thread at a time.
pub struct twal_repair {
    repair: Repair,
    fork: ForkGuard,
}

/// twal_repair_step.kind: what is done to a file.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum twal_repair_kind {
    /// The segment ends at the offset; what is behind it goes.
    TWAL_REPAIR_CUT = 1,
    /// The segment goes.
    TWAL_REPAIR_DROP = 2,
    /// What is named as if it were twal's goes: no file of a log, or a segment of
    /// this one under another name, and then segment and numbers are what its
    /// header and frames say.  Or what is no file has the name of one.
    TWAL_REPAIR_ISOLATE = 3,
    /// A new, empty segment is begun.
    TWAL_REPAIR_BEGIN = 4,
    /// Header and seal of a released segment are written again, as they were;
    /// no record goes.
    TWAL_REPAIR_RESTORE = 5,
    /// The file of a segment that lacks bytes at its end, but nothing that was
    /// written to it, is made as long as it was; no record goes.
    TWAL_REPAIR_FILL = 6,
}

/// twal_repair_apply(): bits of flags.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum twal_repair_flags {
    /// Let records go that were acknowledged as durable, or may have been.
    TWAL_REPAIR_DROP_ACKNOWLEDGED = 1,
}

/// One step of a plan.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct twal_repair_step {
    /// sizeof(twal_repair_step), set by the caller.
    pub struct_size: u64,
    /// Index of the segment; 0 if the file is none, as far as can be known.
    pub segment: u64,
    /// Where it is cut, or first written again, or ends now, bytes.
    pub offset: u64,
    /// First number that goes, or that the new segment begins with.
    pub first_seq: u64,
    /// Last number that goes, as far as can be known; below first_seq: none.
    pub last_seq: u64,
    /// One of twal_repair_kind.
    pub kind: u32,
    /// One of twal_acknowledged: whether some of what goes was acknowledged.
    pub acknowledged: u32,
    /// Name of the file, without the directory.
    pub file: [c_char; 256],
}

// SAFETY: repr(C) without holes (304 = 5 * 8 + 2 * 4 + 256), struct_size first, plain numbers.
unsafe impl Grows for twal_repair_step {
    const NAME: &'static str = "twal_repair_step";
    const FIRST_SIZE: usize = 304;
}

const _: () = assert!(size_of::<twal_repair_step>() == 304 && std::mem::offset_of!(twal_repair_step, file) == 48);

/// Looks at a log and plans what it takes to make it one that opens; changes
/// nothing.
///
/// The plan keeps everything in front of the first damage, and lets go of all
/// that is behind it, so that the log holds a prefix without a gap.  To save
/// records behind the damage, read them with TWAL_ITER_SKIP_DAMAGED first and
/// append them again afterwards.  Nothing is planned where nothing is damaged:
/// a torn end is cut off by twal_open() itself.
///
/// A plan with no steps is also what it takes to end a repair that was
/// interrupted before its very last step: then twal_open() refuses the log
/// until that plan was applied, which drops nothing.  So apply a plan without
/// steps, too: where nothing was to be done it changes nothing.
///
/// The newest released segment is no such damage: nobody reads it, but a log
/// needs its header and its seal to open.  They are made again, if the next
/// segment's header confirms what is made, and nothing goes.
///
/// A segment whose file lacks its end is kept up to there, and cut; if nothing
/// that was written to it is missing, nothing goes, and nothing behind it.
///
/// The log is locked for writing until twal_repair_close(), so that what is
/// applied is what was planned.
///
///   dir         path of the log's directory
///   options     as for twal_open(); only io_engine, and the flags that accept
///               file systems, matter here.  NULL: all defaults
///   repair_out  receives the plan; give it back with twal_repair_close().
///               Untouched on failure.
///
/// Returns TWAL_OK, also if nothing is damaged, or
///
///   TWAL_E_INVAL        dir or repair_out is NULL, dir is empty or not a
///                       directory, or an option is out of its range
///   TWAL_E_LOCKED       the log is open for writing
///   TWAL_E_STATE        the directory is a follower's: twal_sink_open()
///                       checks it
///   TWAL_E_NOTFOUND     there is no log
///   TWAL_E_UNSUPPORTED  cutting would not help: nothing that can be read is
///                       damaged, but the newest archived segment is, and what
///                       is left does not say what its header and seal were; or
///                       the names of archived ones are wrong; read the log
///                       with TWAL_ITER_SKIP_DAMAGED and write it anew.  Or the
///                       first segment, or its header, is not this log's: put
///                       its own back.  Or as for twal_open()
///   TWAL_E_VERSION      written by a release that this one cannot read
///   TWAL_E_PERM         the operating system refuses access
///   TWAL_E_IO           the directory could not be read, a file not be opened
///                       or measured, or an active one not be flushed
///   TWAL_E_NOMEM        no memory or file descriptor left
///   TWAL_E_PANIC        a bug in twal was caught
///
/// Blocks:  on the device, for as long as it takes to read the log.
/// Threads: any.
/// Signals: not async-signal-safe.
/// Since:   0.1
#[must_use]
#[no_mangle]
pub unsafe extern "C" fn twal_repair_plan(
    dir: *const c_char,
    options: *const twal_options,
    repair_out: *mut *mut twal_repair,
) -> c_int {
    guard_uncancelled(|| {
        // SAFETY: repair_out is NULL or room for a pointer (C contract).
        let repair_out = unsafe { guard::must_have(repair_out)? };
        // SAFETY: dir is NULL or a C string, unchanged during the call (C contract).
        let dir = unsafe { path_of(dir)? };
        // SAFETY: options is NULL or a twal_options as long as it says (C contract).
        let (options, known) = unsafe { taken_options(options)? };
        known?;
        let repair = twal_repair { repair: Repair::plan(dir, &options)?, fork: ForkGuard::new() };
        // SAFETY: must_have has seen it.
        unsafe { repair_out.write(Box::into_raw(Box::new(repair))) };
        Ok(())
    })
}

/// Tells one step of a plan.
///
///   repair    a plan
///   at        which step, from 0
///   step_out  receives the step; its struct_size must be set, as
///             TWAL_REPAIR_STEP_INIT does.  Untouched on failure.
///
/// Returns TWAL_OK, or
///
///   TWAL_E_INVAL     repair or step_out is NULL, or struct_size is no size
///                    that a release of twal ever had
///   TWAL_E_FORKED    this process is a fork()ed child
///   TWAL_E_NOTFOUND  the plan has no more steps; none at all: nothing is
///                    damaged, or an interrupted repair is only to be ended
///
/// Blocks:  no.
/// Threads: one at a time for each plan.
/// Signals: not async-signal-safe.
/// Since:   0.1
#[no_mangle]
pub unsafe extern "C" fn twal_repair_step_get(
    repair: *const twal_repair,
    at: u64,
    step_out: *mut twal_repair_step,
) -> c_int {
    guard_uncancelled(|| {
        // SAFETY: NULL or a plan that no other thread uses now (C contract).
        let handle = unsafe { repair.as_ref() }.ok_or_else(no_plan)?;
        // SAFETY: NULL or a twal_repair_step as long as it says (C contract).
        unsafe { sized::check(step_out)? };
        check_fork(handle)?;
        let step = usize::try_from(at).ok().and_then(|at| handle.repair.steps().get(at));
        let step = step.ok_or_else(|| Error::new(Code::NotFound, "the plan has no more steps"))?;
        // SAFETY: as for the check above.
        unsafe { sized::give(step_out, &step_of(step)) }
    })
}

/// Carries a plan out.
///
/// First a copy of every file that is changed or goes is made in the backup
/// directory, and is durable with its name; bytes that cannot be read are zeros
/// there.  What is no file (a directory, a symbolic link, a FIFO) is moved there
/// instead.  Only then the first byte is changed.  If this is interrupted, by a
/// failure or a crash, the log does not open until it was planned and repaired
/// again; nothing is lost by that.
///
/// Afterwards the log opens, and holds exactly what was in front of the damage
/// (all that it held, if only a released segment was restored).
/// twal_recovery_get() tells what was cut, as long as the log ends in the same
/// segment.  The numbers that went are given again.  A hold that is behind the
/// new end is moved back to it by the next twal_open() for writing.
///
///   repair      a plan; it can be applied once
///   backup_dir  path of a directory for the copies, not the log's and not in
///               it; it is made if it is missing, and may hold other files,
///               which are left alone, but no log, and no copy of one that is
///               not a repair's: a file named copies-of-twal says that it is.
///               The same file systems are accepted as
///               for the log; it has to be on the log's own where something is
///               moved.
///   flags       bits of twal_repair_flags
///
/// Returns TWAL_OK, also if there was nothing to do: then nothing is changed,
/// and backup_dir is not made.  Or
///
///   TWAL_E_INVAL        repair or backup_dir is NULL, backup_dir is empty, not
///                       a directory, the log's own, in it, or holds a log,
///                       also a copy of this one, or flags has unknown bits
///   TWAL_E_FORKED       this process is a fork()ed child
///   TWAL_E_STATE        records would go that were acknowledged, or may have
///                       been, and TWAL_REPAIR_DROP_ACKNOWLEDGED is not set:
///                       nothing was changed; or the plan was applied already,
///                       with whatever result: make a new one
///   TWAL_E_NOTFOUND     backup_dir's parent is missing
///   TWAL_E_LOCKED       a killed process' last write is still in flight
///   TWAL_E_NOSPC        no space for the copies, for a new segment, or for what
///                       a file lacks
///   TWAL_E_IO           a read, write or flush failed
///   TWAL_E_UNSUPPORTED  something has to be moved that is no file, and
///                       backup_dir is on another file system, it is a mount
///                       point, or the log's file system cannot swap two
///                       names, as has to be done where it has a segment's:
///                       nothing was changed.  Or as for twal_open()
///   TWAL_E_PERM, TWAL_E_NOMEM, TWAL_E_CORRUPT
///                       a file could not be made, opened, copied or moved
///   TWAL_E_PANIC        a bug in twal was caught
///
/// Example:
///
///   twal_repair *repair;
///   twal_repair_step step = TWAL_REPAIR_STEP_INIT;
///   int rc = twal_repair_plan("log", NULL, &repair);
///   for (uint64_t i = 0; rc == TWAL_OK; i++) {
///       if (twal_repair_step_get(repair, i, &step))
///           break;
///       printf("%u: %s\n", step.kind, step.file);
///   }
///   if (rc == TWAL_OK) {
///       rc = twal_repair_apply(repair, "log.backup",
///                              TWAL_REPAIR_DROP_ACKNOWLEDGED);
///       twal_repair_close(repair);
///   }
///
/// Blocks:  on the device.
/// Threads: one at a time for each plan.
/// Signals: not async-signal-safe.
/// Since:   0.1
#[must_use]
#[no_mangle]
pub unsafe extern "C" fn twal_repair_apply(repair: *mut twal_repair, backup_dir: *const c_char, flags: u32) -> c_int {
    guard_uncancelled(|| {
        // SAFETY: NULL or a plan that no other thread uses now (C contract).
        let handle = unsafe { repair.as_mut() }.ok_or_else(no_plan)?;
        // SAFETY: backup_dir is NULL or a C string, unchanged during the call (C contract).
        let backup = unsafe { path_of(backup_dir)? };
        let drop_acknowledged = twal_repair_flags::TWAL_REPAIR_DROP_ACKNOWLEDGED as u32;
        if flags & !drop_acknowledged != 0 {
            return Err(Error::new(Code::Inval, "flags has unknown bits"));
        }
        check_fork(handle)?;
        handle.repair.apply(backup, flags & drop_acknowledged != 0).map(drop)
    })
}

/// Ends a plan, applied or not, and unlocks the log.
///
///   repair  a plan; NULL does nothing
///
/// Blocks:  no.
/// Threads: any; exactly one, once.
/// Signals: not async-signal-safe.
/// Since:   0.1
#[no_mangle]
pub unsafe extern "C" fn twal_repair_close(repair: *mut twal_repair) {
    let _uncancelled = Uncancelled::begin();
    let close = || {
        if !repair.is_null() {
            // In a forked child these are copies of descriptors; the disk gives a
            // lock back only in the process that took it.
            // SAFETY: it came out of Box::into_raw in twal_repair_plan, and is not used again (C contract).
            drop(unsafe { Box::from_raw(repair) });
        }
        Ok(())
    };
    answer(close, |_| ());
}

fn no_plan() -> Error {
    Error::new(Code::Inval, "the plan is NULL")
}

fn check_fork(handle: &twal_repair) -> Result<()> {
    if handle.fork.forked() {
        return Err(guard::forked());
    }
    Ok(())
}

fn step_of(step: &Step) -> twal_repair_step {
    let kind = match step.kind {
        StepKind::Cut => twal_repair_kind::TWAL_REPAIR_CUT,
        StepKind::Drop => twal_repair_kind::TWAL_REPAIR_DROP,
        StepKind::Isolate => twal_repair_kind::TWAL_REPAIR_ISOLATE,
        StepKind::Begin => twal_repair_kind::TWAL_REPAIR_BEGIN,
        StepKind::Restore => twal_repair_kind::TWAL_REPAIR_RESTORE,
        StepKind::Fill => twal_repair_kind::TWAL_REPAIR_FILL,
    };
    let mut c = twal_repair_step {
        struct_size: 0,
        segment: step.segment,
        offset: step.offset,
        first_seq: step.first_seq,
        last_seq: step.last_seq,
        kind: kind as u32,
        acknowledged: acknowledged_of(step.acknowledged),
        file: [0; 256],
    };
    put_text(&mut c.file, &step.file);
    c
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::Acknowledged;
    use std::ptr::{null, null_mut};

    #[test]
    fn every_field_arrives() {
        let step = Step {
            kind: StepKind::Isolate,
            file: "ab".into(),
            segment: 1,
            offset: 2,
            first_seq: 3,
            last_seq: 4,
            acknowledged: Acknowledged::Yes,
        };
        let c = step_of(&step);
        assert_eq!([c.segment, c.offset, c.first_seq, c.last_seq], [1, 2, 3, 4]);
        assert_eq!((c.kind, c.acknowledged, c.file[0], c.file[2]), (3, 1, 97, 0));
        let kinds =
            [StepKind::Cut, StepKind::Drop, StepKind::Isolate, StepKind::Begin, StepKind::Restore, StepKind::Fill];
        for (kind, number) in kinds.into_iter().zip(1..) {
            assert_eq!(step_of(&Step { kind, ..step.clone() }).kind, number);
        }
    }

    #[test]
    fn null_is_refused_by_all_but_close() {
        // SAFETY: NULL is allowed in a call's own words.
        unsafe {
            assert_eq!(twal_repair_plan(null(), null(), null_mut()), -101);
            assert_eq!(twal_repair_step_get(null(), 0, null_mut()), -101);
            assert_eq!(twal_repair_apply(null_mut(), null(), 0), -101);
            twal_repair_close(null_mut());
        }
    }
}
