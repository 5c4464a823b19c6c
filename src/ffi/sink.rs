//! The sink of shipping as a C handle.

use std::ffi::{c_char, c_int};

use super::guard::{self, guard_uncancelled};
use super::log::path_of;
use super::options::{options_of, twal_open_flags, twal_options};
use super::ship::{c_position_of, piece_of, twal_ship_piece, twal_ship_position};
use super::single::Single;
use super::sized::{self, Grows};
use crate::base::{Code, Error, Result};
use crate::ship::{Sink, SinkOptions};

/// A follower's copy of a log, open for what its source ships.
///
/// From twal_sink_open() to twal_sink_close().  One thread at a time.
pub struct twal_sink {
    sink: Single<Sink>,
}

/// How a follower's directory is opened.  A field that is 0 has its default.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct twal_sink_options {
    /// sizeof(twal_sink_options).
    pub struct_size: u64,
    /// Of twal_open_flags, TWAL_OPEN_ALLOW_ANY_FS and
    /// TWAL_OPEN_ALLOW_BUFFERED.
    pub flags: u32,
    /// One of twal_io_engine.
    pub io_engine: u32,
    /// Segments that the source has released are archived here, too, and so many
    /// of them kept.  0: 64; UINT64_MAX: never remove one.
    pub max_retained_segments: u64,
}

// SAFETY: repr(C) without holes (24 = 2 * 8 + 2 * 4), struct_size first, plain numbers.
unsafe impl Grows for twal_sink_options {
    const NAME: &'static str = "twal_sink_options";
    const FIRST_SIZE: usize = 24;
}

const _: () = assert!(size_of::<twal_sink_options>() == 24);

fn sink_options_of(c: &twal_sink_options) -> Result<SinkOptions> {
    let known = twal_open_flags::TWAL_OPEN_ALLOW_ANY_FS as u32 | twal_open_flags::TWAL_OPEN_ALLOW_BUFFERED as u32;
    if c.flags & !known != 0 {
        return Err(Error::new(
            Code::Inval,
            format!("options.flags {:#x} has bits that a sink does not know", c.flags),
        ));
    }
    // SAFETY: all zeros are a twal_options (Grows).
    let zero: twal_options = unsafe { std::mem::zeroed() };
    let options = options_of(&twal_options { flags: c.flags, io_engine: c.io_engine, ..zero })?;
    Ok(SinkOptions {
        allow_any_fs: options.allow_any_fs,
        allow_buffered: options.allow_buffered,
        io_engine: options.io_engine,
        max_retained_segments: c.max_retained_segments,
    })
}

/// Runs `body` in a sink, unless that refuses.
///
/// # Safety
///
/// `sink` is NULL or a sink that no other thread uses now.
unsafe fn run<T>(sink: *mut twal_sink, body: impl FnOnce(&mut Sink) -> Result<T>) -> Result<T> {
    // SAFETY: the contract.
    let handle = unsafe { sink.as_mut() }.ok_or_else(|| Error::new(Code::Inval, "the sink is NULL"))?;
    handle.sink.run(body)
}

/// Makes a directory a follower's, or goes on with one.
///
/// The directory holds a copy of a log, byte for byte, and the file twal-sink,
/// which says how far the copy is durable.  While that file is there, twal_open()
/// refuses to write the directory: it is a follower's.  What lies in front of its
/// position can be read (TWAL_OPEN_READ_ONLY), by any number of processes beside
/// the sink; for what lies behind it nobody vouches.
///
/// Checked here is that no segment in front of the position is missing; the header
/// and the seal of each from the newest archived one on; and every byte of the
/// newest.  twal_verify() reads every byte of all of them, also beside the sink: let
/// it, before twal_sink_promote() at the latest.  What is behind the position is cut
/// off, and has to be shipped again.
///
/// Only the last component of dir is created (mode 0700; files 0600; less the
/// umask).
///
///   dir       path of the directory; new, empty, or a follower's
///   options   how to open; NULL: all defaults
///   sink_out  receives the sink; give it back with twal_sink_close().
///             Untouched on failure.
///
/// Returns TWAL_OK, or
///
///   TWAL_E_INVAL        dir or sink_out is NULL, dir is empty or not a
///                       directory, or an option is out of its range or an
///                       unknown flag
///   TWAL_E_LOCKED       another sink or log has the directory open, or a killed
///                       process' last write was still in flight after 2 seconds
///   TWAL_E_STATE        the directory holds a log that is no follower's, or a
///                       file of holds (twal-holds)
///   TWAL_E_NOTFOUND     the parent directory is missing
///   TWAL_E_CORRUPT      what the position says is durable is damaged or not
///                       there, as far as it was looked at, with the place; or
///                       the position itself is damaged.  Ship everything anew,
///                       to an empty directory
///   TWAL_E_VERSION      written by a later release
///   TWAL_E_UNSUPPORTED  as for twal_open()
///   TWAL_E_PERM, TWAL_E_NOSPC, TWAL_E_NOMEM, TWAL_E_IO
///                       as for twal_open()
///   TWAL_E_PANIC        a bug in twal was caught
///
/// Blocks:  on the device; reads the newest segment; up to 2 seconds for a lock.
/// Threads: any.
/// Signals: not async-signal-safe.
/// Since:   0.1
#[must_use]
#[no_mangle]
pub unsafe extern "C" fn twal_sink_open(
    dir: *const c_char,
    options: *const twal_sink_options,
    sink_out: *mut *mut twal_sink,
) -> c_int {
    guard_uncancelled(|| {
        // SAFETY: NULL or room for a pointer (C contract).
        let sink_out = unsafe { guard::must_have(sink_out)? };
        // SAFETY: NULL or a C string, unchanged during the call (C contract).
        let dir = unsafe { path_of(dir)? };
        let options = match options.is_null() {
            true => SinkOptions::default(),
            false => {
                // SAFETY: a twal_sink_options as long as it says (C contract).
                let taken = unsafe { sized::take(options)? };
                let options = sink_options_of(&taken.value)?;
                taken.known()?;
                options
            }
        };
        let handle = twal_sink { sink: Single::new(Sink::open(dir, &options)?) };
        // SAFETY: must_have has seen it.
        unsafe { sink_out.write(Box::into_raw(Box::new(handle))) };
        Ok(())
    })
}

/// Writes a piece, if it is whole and the very next one.
///
/// Checked before a byte is written: whose it is, that it begins where the last
/// one ended, its checksum, the header of a new segment and that it continues the
/// one before, each frame and that it continues the one before.  What is written
/// is not durable yet: twal_sink_sync() says when.
///
///   sink   a sink
///   piece  as twal_source_next() gave it, data where its bytes are now: at any
///          address; no copy is made of bytes at a multiple of 4096
///
/// Returns TWAL_OK, or
///
///   TWAL_E_INVAL        sink or piece is NULL, struct_size is none, or data is
///                       NULL and len is not 0
///   TWAL_E_FORKED       this process is a fork()ed child
///   TWAL_E_STATE        a piece of another log or history (the text names
///                       both), of another file than the segment was begun
///                       with, or the follower was promoted
///   TWAL_E_EXISTS       the follower has these bytes already
///   TWAL_E_NOTFOUND     bytes in front of them are missing, also where the
///                       follower has nothing yet: the detail's segment and
///                       offset are the piece's, its text says where the follower
///                       is
///   TWAL_E_CORRUPT      the bytes are not what a log has there
///   TWAL_E_VERSION      they are a later release's
///   TWAL_E_NOSPC        no space for the next segment; write it again later
///   TWAL_E_PERM, TWAL_E_NOMEM
///                       the next segment's file could not be made; likewise
///   TWAL_E_UNSUPPORTED  the device wants larger blocks than the log's; or piece
///                       says something that this release does not know
///   TWAL_E_IO           a write or flush failed
///   TWAL_E_POISONED     the same, and it had failed before
///   TWAL_E_PANIC        a bug in twal was caught, now or in an earlier call
///
/// After TWAL_E_IO, TWAL_E_POISONED and TWAL_E_PANIC close the sink and open it
/// again: its position says what is there.  After any other error nothing has
/// changed, and the right piece can be written.
///
/// Blocks:  on the device.
/// Threads: any, one at a time.
/// Signals: not async-signal-safe.
/// Since:   0.1
#[must_use]
#[no_mangle]
pub unsafe extern "C" fn twal_sink_write(sink: *mut twal_sink, piece: *const twal_ship_piece) -> c_int {
    guard_uncancelled(|| {
        if sink.is_null() {
            return Err(Error::new(Code::Inval, "the sink is NULL"));
        }
        // SAFETY: NULL or a twal_ship_piece as long as it says (C contract).
        let taken = unsafe { sized::take(piece)? };
        let value = taken.value;
        // SAFETY: its bytes stay as they are during the call (C contract).
        let piece = unsafe { piece_of(&value)? };
        taken.known()?;
        // SAFETY: a sink that no other thread uses now (C contract).
        unsafe { run(sink, |sink| sink.write(&piece)) }
    })
}

/// Makes everything written durable, and notes it in twal-sink.
///
/// What twal_sink_position() says after this can be acknowledged to the source.
///
///   sink  a sink
///
/// Returns TWAL_OK, or
///
///   TWAL_E_INVAL     sink is NULL
///   TWAL_E_FORKED    this process is a fork()ed child
///   TWAL_E_STATE     the follower was promoted
///   TWAL_E_IO        a write or flush failed: close the sink and open it again
///   TWAL_E_POISONED  the same, and it had failed before
///   TWAL_E_PANIC     a bug in twal was caught, now or in an earlier call
///
/// Blocks:  on the device.
/// Threads: any, one at a time.
/// Signals: not async-signal-safe.
/// Since:   0.1
#[must_use]
#[no_mangle]
pub unsafe extern "C" fn twal_sink_sync(sink: *mut twal_sink) -> c_int {
    // SAFETY: NULL or a sink that no other thread uses now (C contract).
    guard_uncancelled(|| unsafe { run(sink, Sink::sync) })
}

/// Tells how far the copy is durable: where the source is to go on, and what can
/// be acknowledged.
///
///   sink          a sink, also one that failed
///   position_out  receives the position; its struct_size must be set, as
///                 TWAL_SHIP_POSITION_INIT does.  Untouched on failure.
///
/// Returns TWAL_OK, or
///
///   TWAL_E_INVAL   sink or position_out is NULL, or struct_size is no size that
///                  a release of twal ever had
///   TWAL_E_FORKED  this process is a fork()ed child
///   TWAL_E_PANIC   a bug in twal was caught, now or in an earlier call
///
/// Blocks:  no.
/// Threads: any, one at a time.
/// Signals: not async-signal-safe.
/// Since:   0.1
#[must_use]
#[no_mangle]
pub unsafe extern "C" fn twal_sink_position(sink: *mut twal_sink, position_out: *mut twal_ship_position) -> c_int {
    guard_uncancelled(|| {
        if sink.is_null() {
            return Err(Error::new(Code::Inval, "the sink is NULL"));
        }
        // SAFETY: NULL or a twal_ship_position as long as it says (C contract).
        unsafe { sized::check(position_out)? };
        // SAFETY: a sink that no other thread uses now (C contract).
        let position = unsafe { run(sink, |sink| Ok(sink.position()))? };
        // SAFETY: as for the check above.
        unsafe { sized::give(position_out, &c_position_of(&position)) }
    })
}

/// Makes the copy a log that twal_open() opens for writing.
///
/// Everything written is made durable and kept.  The last segment is sealed where
/// it ends, and a new one begun, with a history id of its own: from then on
/// neither side takes the other's pieces, also if the source lives on.  A new
/// follower can follow the promoted log from its beginning.  The promotion is one
/// step: after a crash the directory is a follower's, as it was, or a log's.  It
/// reads no sealed segment: whether those are still whole twal_verify() says.
///
/// A copy of a source that had released or compacted segments has all that its
/// source went by only when its position is at the twal_durable_seq() that the
/// source had when the copy was begun. Promoted before, it is a whole log, but
/// twal_txn_recover() may not know what was released, or refuse it.
///
/// The sink stays locked and of no more use: close it, then open the log.
///
///   sink  a sink
///
/// Returns TWAL_OK, or
///
///   TWAL_E_INVAL     sink is NULL
///   TWAL_E_FORKED    this process is a fork()ed child
///   TWAL_E_STATE     the follower has nothing yet, or was promoted already
///   TWAL_E_NOSPC, TWAL_E_PERM, TWAL_E_NOMEM
///                    the new segment's file could not be made; the directory is
///                    a follower's as before
///   TWAL_E_IO        a write or flush failed: close the sink; the directory is
///                    still a follower's if twal_sink_open() opens it
///   TWAL_E_POISONED  the same, and it had failed before
///   TWAL_E_PANIC     a bug in twal was caught, now or in an earlier call
///
/// Blocks:  on the device.
/// Threads: any, one at a time.
/// Signals: not async-signal-safe.
/// Since:   0.1
#[must_use]
#[no_mangle]
pub unsafe extern "C" fn twal_sink_promote(sink: *mut twal_sink) -> c_int {
    // SAFETY: NULL or a sink that no other thread uses now (C contract).
    guard_uncancelled(|| unsafe { run(sink, Sink::promote) })
}

/// Makes everything written durable, as twal_sink_sync(), gives the directory
/// back, and frees the handle.
///
/// Always frees, whatever it returns.  In a fork()ed child it frees, touches
/// neither disk nor lock, and returns TWAL_OK.
///
///   sink  a sink; NULL does nothing
///
/// Returns TWAL_OK, or
///
///   TWAL_E_IO        a write or flush failed: what the position said before is
///                    there
///   TWAL_E_POISONED  the same, and it had failed before
///   TWAL_E_NOMEM     the directory's lock could not be given back; everything
///                    is durable, and exit gives it back
///   TWAL_E_PANIC     a bug in twal was caught, now or in an earlier call
///
/// Blocks:  on the device.
/// Threads: any; exactly one, once.
/// Signals: not async-signal-safe.
/// Since:   0.1
#[no_mangle]
pub unsafe extern "C" fn twal_sink_close(sink: *mut twal_sink) -> c_int {
    guard_uncancelled(|| {
        if sink.is_null() {
            return Ok(());
        }
        // SAFETY: it came out of Box::into_raw in twal_sink_open, and is not used again (C contract).
        let handle = unsafe { Box::from_raw(sink) };
        let forked = handle.sink.is_forked();
        let sink = handle.sink.into_inner();
        if forked {
            sink.abandon_in_child();
            return Ok(());
        }
        sink.close()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_option_arrives() {
        let c = twal_sink_options { struct_size: 24, flags: 4, io_engine: 2, max_retained_segments: 7 };
        let ours = sink_options_of(&c).unwrap();
        assert!(ours.allow_any_fs && !ours.allow_buffered);
        assert_eq!((ours.io_engine, ours.max_retained_segments), (Some(crate::IoEngine::Blocking), 7));
        let ours = sink_options_of(&twal_sink_options { flags: 8, ..c }).unwrap();
        assert!(!ours.allow_any_fs && ours.allow_buffered);
        for flags in [1, 2, 16, 32] {
            assert_eq!(sink_options_of(&twal_sink_options { flags, ..c }).err().map(|e| e.code), Some(Code::Inval));
        }
        let wrong = twal_sink_options { io_engine: 3, ..c };
        assert_eq!(sink_options_of(&wrong).err().map(|error| error.code), Some(Code::Inval));
    }
}
