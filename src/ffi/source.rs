//! The source of shipping as a C handle.

use std::ffi::c_int;

use super::guard::{self, always, answer, call, guard_uncancelled, Purpose};
use super::log::twal_log;
use super::ship::{c_piece_of, position_of, twal_ship_piece, twal_ship_position};
use super::single::Single;
use super::sized;
use crate::base::{Code, Error, Result};
use crate::disk::cancel::Uncancelled;
use crate::ship::Source;

/// Yields a log's durable bytes, for a follower.
///
/// From twal_source_open() to twal_source_close(), which may come before or
/// after twal_close().  One thread at a time; any number of sources at once, none
/// of them stops a writer.
pub struct twal_source {
    source: Single<Source>,
}

/// Begins to ship a log's bytes, exactly as they are on disk.
///
/// Works on the writer's handle, and on one that is open for reading only, in
/// another process too.  What it yields is durable at the source, whole frames,
/// and never changes any more; what a record means plays no part.  On a handle
/// that is open for reading only, what nothing testifies for yet, a killed
/// writer's last records and its newest segment's name, is flushed first.  If a
/// write or flush of that writer had failed, open the log for writing before it
/// is shipped: no flush brings back what a failed one has dropped.  A follower's
/// copy that is open for reading only ships what is durable there; when it is
/// promoted, the source is at its end (TWAL_E_STATE): another history begins.
///
/// Without a position it begins with the newest segment that was released, or
/// the oldest there is: then a copy is a log without a gap in its names.  With
/// one it goes on there, after it has checked that the follower has what this
/// log has: the identity of the last frame stands for everything before it.
///
/// What a follower still needs, its host has to hold: set a hold at
/// position.hold_seq (twal_hold_set()) before this call, and move it on now and
/// then to what the follower's position says.  Else a trim may take segments
/// away before they are shipped, or a compaction change one in the middle:
/// TWAL_E_TRIMMED, and the follower has to begin anew in an empty directory.
/// While the position is still in the released segment that a copy begins with,
/// hold_seq may be below a hold that was set at 0, the oldest number not
/// released: TWAL_E_STATE there, and the hold keeps all that comes behind.
/// A compaction between two segments nobody notices: without a hold the copy may
/// hold one from before it and the next from behind it, a state that the source
/// never was in.  So where the source is compacted the hold is part of what makes
/// the copy right.  A segment that is compacted after it was shipped stays as it
/// was at the follower.
///
///   log         an open log
///   from        where to go on: the sink's twal_sink_position(); NULL, or one
///               whose index is 0: the beginning
///   source_out  receives the source; give it back with twal_source_close().
///               Untouched on failure.
///
/// Returns TWAL_OK, or
///
///   TWAL_E_INVAL        log or source_out is NULL, from->struct_size is none,
///                       or complete is neither 0 nor 1
///   TWAL_E_FORKED       this process is a fork()ed child
///   TWAL_E_CLOSED       twal_close() has begun
///   TWAL_E_TRIMMED      what comes next was released and is gone, or its
///                       segment was compacted since; the detail's seq is the
///                       oldest number there is
///   TWAL_E_STATE        the position is another log's or another history's
///                       (the text names both), or the follower has more than
///                       this log, or something else: a repair may have cut it;
///                       or the log is a follower's copy, and another one is in
///                       its place
///   TWAL_E_BUSY         a writer elsewhere is just beginning that segment, or
///                       its segments change too fast to be listed; ask again
///   TWAL_E_CORRUPT      the log is damaged at that place
///   TWAL_E_IO           a file could not be opened or read
///   TWAL_E_PERM         the operating system refuses access to a file
///   TWAL_E_NOMEM        no memory or file descriptor left
///   TWAL_E_UNSUPPORTED  from says something that this release does not know
///   TWAL_E_PANIC        a bug in twal was caught
///
/// Blocks:  on the device; reads the segment up to the position.
/// Threads: any.
/// Signals: not async-signal-safe.
/// Since:   0.1
#[must_use]
#[no_mangle]
pub unsafe extern "C" fn twal_source_open(
    log: *mut twal_log,
    from: *const twal_ship_position,
    source_out: *mut *mut twal_source,
) -> c_int {
    guard_uncancelled(|| {
        if log.is_null() {
            return Err(Error::new(Code::Inval, "the log is NULL"));
        }
        // SAFETY: NULL or room for a pointer (C contract).
        let source_out = unsafe { guard::must_have(source_out)? };
        let from = match from.is_null() {
            true => None,
            false => {
                // SAFETY: a twal_ship_position as long as it says (C contract).
                let taken = unsafe { sized::take(from)? };
                let position = position_of(&taken.value)?;
                taken.known()?;
                Some(position)
            }
        };
        // SAFETY: an open log (C contract).
        let source = unsafe { call(log, Purpose::Look, always, |log| Source::open(log, from.as_ref()))? };
        let handle = twal_source { source: Single::new(source) };
        // SAFETY: must_have has seen it.
        unsafe { source_out.write(Box::into_raw(Box::new(handle))) };
        Ok(())
    })
}

/// Yields the next piece, and waits for it if there is none yet.
///
/// A piece is usually up to 1 MiB, more where one frame is longer.  Behind a
/// segment's seal the rest of its file follows, without its blocks of zeros, so
/// that the files are the same to cmp(1).  Marks may come with the record that
/// follows them.
///
/// In an event loop, ask twal_eventfd() of the log when there may be more, and
/// call this with timeout_ns 0 until it returns 0.  The eventfd tells of records
/// alone: what ends a segment in which nothing more is appended comes with the
/// next one.
///
///   source      a source
///   timeout_ns  nanoseconds; 0 looks and does not wait; below 0: for ever
///   piece_out   receives the piece; its struct_size must be set, as
///               TWAL_SHIP_PIECE_INIT does.  data is valid until the next call
///               on source.  Untouched if the answer is not 1.
///
/// Returns 1 with a piece, 0 if there is none within the time, or
///
///   TWAL_E_INVAL     source or piece_out is NULL, or struct_size is no size
///                    that a release of twal ever had
///   TWAL_E_FORKED    this process is a fork()ed child
///   TWAL_E_CLOSED    the log was closed
///   TWAL_E_POISONED  everything durable was yielded, and an earlier write or
///                    flush of the log failed
///   TWAL_E_TRIMMED   what comes next was released and is gone; the detail's
///                    seq is the oldest number there is
///   TWAL_E_CORRUPT   the log is damaged here; twal_last_error() says where
///   TWAL_E_IO        bytes could not be read; or a write or flush of the log
///                    failed while this waited
///   TWAL_E_PERM      the operating system refuses access to a file
///   TWAL_E_NOMEM     no memory or file descriptor left; call again
///   TWAL_E_PANIC     a bug in twal was caught, now or in an earlier call
///
/// Blocks:  for up to timeout_ns, and on the device; never for a writer.
///          twal_close() of the log ends the wait: TWAL_E_CLOSED.
/// Threads: any, one at a time.
/// Signals: not async-signal-safe.
/// Since:   0.1
#[must_use]
#[no_mangle]
pub unsafe extern "C" fn twal_source_next(
    source: *mut twal_source,
    timeout_ns: i64,
    piece_out: *mut twal_ship_piece,
) -> c_int {
    let _uncancelled = Uncancelled::begin();
    let next = || -> Result<c_int> {
        // SAFETY: NULL or a source that no other thread uses now (C contract).
        let handle = unsafe { source.as_mut() }.ok_or_else(|| Error::new(Code::Inval, "the source is NULL"))?;
        // SAFETY: NULL or a twal_ship_piece as long as it says (C contract).
        unsafe { sized::check(piece_out)? };
        let timeout_ns = u64::try_from(timeout_ns).ok();
        let found = handle.source.run(|source| Ok(source.next_piece(timeout_ns)?.map(|piece| c_piece_of(&piece))))?;
        let Some(piece) = found else { return Ok(0) };
        // SAFETY: as for the check above.
        unsafe { sized::give(piece_out, &piece)? };
        Ok(1)
    };
    answer(next, |code| code)
}

/// Ends a source; what its last piece's data pointed to is gone.
///
/// Works before and after twal_close(), and in a fork()ed child.
///
///   source  a source; NULL does nothing
///
/// Blocks:  until a read on the way has come back.
/// Threads: any; exactly one, once.
/// Signals: not async-signal-safe.
/// Since:   0.1
#[no_mangle]
pub unsafe extern "C" fn twal_source_close(source: *mut twal_source) {
    let _uncancelled = Uncancelled::begin();
    let close = || {
        if !source.is_null() {
            // As a reader's, in a forked child too: it holds copies of descriptors.
            // SAFETY: it came out of Box::into_raw in twal_source_open, and is not used again (C contract).
            drop(unsafe { Box::from_raw(source) });
        }
        Ok(())
    };
    answer(close, |_| ());
}
