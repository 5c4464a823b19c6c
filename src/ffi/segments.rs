//! The segments of a log, and who holds each back.

use std::ffi::{c_char, c_int};

use super::guard::guard_uncancelled;
use super::log::twal_log;
use super::sized::{self, put_text, Grows};
use crate::log::{HeldBy, Log, Segment, SegmentState};

/// twal_segment.state: where a segment is in its life.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum twal_segment_state {
    /// It is being written.
    TWAL_SEGMENT_ACTIVE = 1,
    /// It is complete.
    TWAL_SEGMENT_SEALED = 2,
    /// It was released, and cannot be read any more.
    TWAL_SEGMENT_ARCHIVED = 3,
}

/// twal_segment.held_by: why a segment is not on its way out.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum twal_held_by {
    /// Nothing holds it: the next trim or checkpoint that reaches so far takes
    /// it.
    TWAL_HELD_BY_NOBODY = 0,
    /// It is being written.
    TWAL_HELD_BY_WRITER = 1,
    /// The hold whose name is in twal_segment.hold; of several the one that is
    /// furthest behind.
    TWAL_HELD_BY_HOLD = 2,
    /// A transaction manager: operations that are not finished, or its
    /// checkpoint.  Only the writer's own process knows of it.
    TWAL_HELD_BY_TRANSACTIONS = 3,
    /// Nothing of the above, but a reader has it open: it may leave the log, but
    /// its file lives on until the reader is done with it.
    TWAL_HELD_BY_READER = 4,
    /// It is one of options.max_retained_segments, or the newest archived one.
    TWAL_HELD_BY_RETENTION = 5,
    /// The holds cannot be read: nothing is released.
    TWAL_HELD_BY_UNREADABLE = 6,
}

/// A segment, as twal_segments() tells of it.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct twal_segment {
    /// sizeof(twal_segment), set by the caller, in the first of an array.
    pub struct_size: u64,
    /// Its index, from 1.
    pub index: u64,
    /// The first number that it can hold.
    pub first_seq: u64,
    /// The last one that it holds; below first_seq: none.
    pub last_seq: u64,
    /// Bytes of its file.
    pub size: u64,
    /// Bytes of the device that the file takes.
    pub room: u64,
    /// When it was begun: wall clock, nanoseconds since 1970; 0: its header
    /// cannot be read.
    pub created_ns: i64,
    /// How often it was compacted.
    pub generation: u64,
    /// One of twal_segment_state.
    pub state: u32,
    /// One of twal_held_by.
    pub held_by: u32,
    /// The hold that holds it, if one does; ends with a NUL.
    pub hold: [c_char; 40],
    /// Name of its file, without the directory; ends with a NUL.  It changes
    /// when the segment is sealed and when it is archived.
    pub file: [c_char; 64],
}

// SAFETY: repr(C) without holes (176 = 8 * 8 + 2 * 4 + 40 + 64), struct_size first, plain numbers.
unsafe impl Grows for twal_segment {
    const NAME: &'static str = "twal_segment";
    const FIRST_SIZE: usize = 176;
}

const _: () = assert!(size_of::<twal_segment>() == 176 && std::mem::offset_of!(twal_segment, file) == 112);

/// Tells every segment, oldest first, and what holds each of them back.
///
/// Beside a writer it is what was there at one moment, or nearly: segments that
/// go meanwhile are left out.
///
///   log           an open log
///   segments_out  an array for capacity of them, whose first one's
///                 struct_size is set: that is the size of each; NULL only if
///                 capacity is 0.  Untouched on failure.
///   capacity      how many fit; further ones are left out
///   count_out     receives how many there are
///
/// Returns TWAL_OK, or
///
///   TWAL_E_INVAL   log or count_out is NULL, segments_out is NULL and
///                  capacity is not 0, or struct_size is no size that a
///                  release of twal ever had
///   TWAL_E_FORKED  this process is a fork()ed child
///   TWAL_E_CLOSED  twal_close() has begun
///   TWAL_E_CORRUPT, TWAL_E_IO, TWAL_E_PERM, TWAL_E_NOMEM, TWAL_E_NOTFOUND
///                  the directory or a file could not be looked at, or is gone
///   TWAL_E_PANIC   a bug in twal was caught
///
/// Blocks:  on the device.
/// Threads: any.
/// Signals: not async-signal-safe.
/// Since:   0.1
#[must_use]
#[no_mangle]
pub unsafe extern "C" fn twal_segments(
    log: *const twal_log,
    segments_out: *mut twal_segment,
    capacity: usize,
    count_out: *mut usize,
) -> c_int {
    // SAFETY: the C contract is the one asked for.
    guard_uncancelled(|| unsafe { sized::tell_all(log, segments_out, capacity, count_out, Log::segments, segment_of) })
}

pub(super) fn segment_of(segment: &Segment) -> twal_segment {
    let state = match segment.state {
        SegmentState::Active => twal_segment_state::TWAL_SEGMENT_ACTIVE,
        SegmentState::Sealed => twal_segment_state::TWAL_SEGMENT_SEALED,
        SegmentState::Archived => twal_segment_state::TWAL_SEGMENT_ARCHIVED,
    };
    let held_by = match segment.held_by {
        HeldBy::Nobody => twal_held_by::TWAL_HELD_BY_NOBODY,
        HeldBy::Writer => twal_held_by::TWAL_HELD_BY_WRITER,
        HeldBy::Hold(_) => twal_held_by::TWAL_HELD_BY_HOLD,
        HeldBy::Transactions => twal_held_by::TWAL_HELD_BY_TRANSACTIONS,
        HeldBy::Reader => twal_held_by::TWAL_HELD_BY_READER,
        HeldBy::Retention => twal_held_by::TWAL_HELD_BY_RETENTION,
        HeldBy::Unreadable => twal_held_by::TWAL_HELD_BY_UNREADABLE,
    };
    let mut c = twal_segment {
        struct_size: 0,
        index: segment.index,
        first_seq: segment.first_seq,
        last_seq: segment.last_seq,
        size: segment.size,
        room: segment.room,
        created_ns: segment.created_ns,
        generation: segment.generation,
        state: state as u32,
        held_by: held_by as u32,
        hold: [0; 40],
        file: [0; 64],
    };
    if let HeldBy::Hold(name) = &segment.held_by {
        put_text(&mut c.hold, name.as_str());
    }
    put_text(&mut c.file, &segment.file);
    c
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::HoldName;

    /// Each field gets a number of its own, so that two swapped ones show.
    #[test]
    fn every_field_arrives() {
        let segment = Segment {
            index: 1,
            state: SegmentState::Archived,
            first_seq: 2,
            last_seq: 3,
            size: 4,
            room: 5,
            created_ns: 6,
            generation: 7,
            held_by: HeldBy::Hold(HoldName::new("snapshot").unwrap()),
            file: "twal-x".into(),
        };
        let c = segment_of(&segment);
        // SAFETY: a twal_segment begins with 8 u64, all written.
        let words = unsafe { std::slice::from_raw_parts((&raw const c).cast::<u64>(), 8) };
        assert_eq!(words, (0..8).collect::<Vec<u64>>());
        assert_eq!((c.state, c.held_by), (3, 2));
        let text = |chars: &[c_char]| -> Vec<u8> {
            chars.iter().take_while(|char| **char != 0).map(|char| char.to_ne_bytes()[0]).collect()
        };
        assert_eq!((text(&c.hold), text(&c.file)), (b"snapshot".to_vec(), b"twal-x".to_vec()));
        let number = |held_by| segment_of(&Segment { held_by, ..segment.clone() }).held_by;
        let all = [
            HeldBy::Nobody,
            HeldBy::Writer,
            segment.held_by,
            HeldBy::Transactions,
            HeldBy::Reader,
            HeldBy::Retention,
            HeldBy::Unreadable,
        ];
        assert_eq!(all.map(number), [0, 1, 2, 3, 4, 5, 6]);
        let number = |state| segment_of(&Segment { state, ..segment.clone() }).state;
        assert_eq!([SegmentState::Active, SegmentState::Sealed, SegmentState::Archived].map(number), [1, 2, 3]);
    }

    #[test]
    fn null_is_refused() {
        let mut count = 7;
        // SAFETY: NULL is allowed in a call's own words.
        assert_eq!(unsafe { twal_segments(std::ptr::null(), std::ptr::null_mut(), 0, &raw mut count) }, -101);
        assert_eq!(count, 7, "untouched on failure");
    }
}
