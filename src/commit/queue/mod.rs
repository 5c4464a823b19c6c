//! What is accepted, what is closed, what is on its way: the bookkeeping of the
//! commit path, under one lock.
//!
//! Does no I/O and waits for nothing.  A frame goes open → closed → in flight →
//! written → durable, and frames keep that order among themselves: `open` is
//! behind every `closed`, those are behind every `flying`.  How a record finds its
//! place is in `place.rs`; what the writer does next is decided in `step.rs`.

mod place;
mod step;

use std::collections::VecDeque;
use std::sync::Arc;

use super::gather::Gather;
use crate::base::bytes::{len_u64, usize_of};
use crate::base::options::Config;
use crate::base::{room, Error, Result};
use crate::disk::File;
use crate::mem::ring::{ClosedFrame, OpenFrame, Space, FRAMES_MAX};
use crate::read::Reach;
use crate::segment::Spare;

pub use place::Place;
pub use step::Step;

/// Gates that waiters of frames share; two frames with the same gate only cost a needless look.
pub const GATES: usize = 64;

/// Where the next closed frame goes.
pub struct Tail {
    /// Index of the segment; the writer may still be one behind.
    pub segment: u64,
    /// Offset in it.
    pub offset: u64,
    /// Bytes of the file.
    pub size: u64,
    /// Everything before this offset was written with zeros or more: a frame there grows nothing.
    pub ready_end: u64,
    /// Number of its first record, there already or to come.
    pub first_seq: u64,
}

/// The frame that accepts records: those from `first_seq` on, up to the last number given.
#[repr(C)]
pub struct Open {
    pub frame: OpenFrame,
    /// Up to this length it is known to fit, ring and disk; 0: not looked at since that changed.
    fits_len: usize,
    /// Up to this length a record that nobody waits for changes nothing for the writer; 0: not looked at yet.
    calm_len: usize,
    pub gate: usize,
    pub first_seq: u64,
    pub waiters: u32,
    pub opened_ns: u64,
}

/// A frame with its final content and place, not yet taken by anybody.
pub struct Closed {
    pub frame: ClosedFrame,
    pub order: u64,
    pub segment: u64,
    pub offset: u64,
    pub gate: usize,
    pub first_seq: u64,
    pub last_seq: u64,
    pub records: u32,
    pub waiters: u32,
    pub opened_ns: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    InFlight,
    Written,
    Durable,
}

/// A frame that was taken.
pub struct Flying {
    pub order: u64,
    pub segment: u64,
    pub end_offset: u64,
    pub first_seq: u64,
    pub last_seq: u64,
    pub gate: usize,
    pub waiters: u32,
    pub bytes: u64,
    /// What its header says was durable.
    pub says_durable: u64,
    pub opened_ns: u64,
    pub progress: Progress,
    /// Given back by the thread that wrote it; goes back to the ring in order.
    pub frame: Option<ClosedFrame>,
}

/// See the module.
#[repr(C)] // what every append changes is in front, and so on few cache lines: see `Line` in commit/mod.rs
pub struct Queue {
    pub next_seq: u64,
    /// Bytes of payload and batches accepted since open; plain numbers: whoever adds holds the lock anyway.
    pub record_bytes: u64,
    pub batches: u64,
    pub closing: bool,
    /// The tail's segment is the one beyond the limit on the log's size: full, but for what helps to give space back.
    pub beyond: bool,
    /// Somebody has waited for room in the ring for too long, and comes first now: `precedence` is not 0.  Here, because
    /// every append looks.
    pub is_preceded: bool,
    pub open: Option<Open>,
    pub tail: Tail,
    pub block: u64,
    pub space: Space,
    pub closed: VecDeque<Closed>,
    pub flying: VecDeque<Flying>,
    pub next_order: u64,
    next_gate: usize,
    /// Spares ready for use, and those that `tail` has moved on to but the writer not yet.
    pub ready: VecDeque<Spare>,
    pub planned: VecDeque<Spare>,
    /// The segment that the writer writes.
    pub active_segment: u64,
    /// Roll at least up to this segment.
    pub roll_target: u64,
    /// Everything up to here is wanted durable.
    pub demand_seq: u64,
    /// Highest durable number, as the last durable frame's header says it.
    pub witnessed_seq: u64,
    pub durable_seq: u64,
    /// In the active segment, everything before this offset is durable.
    pub durable_end: u64,
    /// A flush acknowledged records that no frame witnesses yet: the next thing on the device is durable.
    pub mark_wanted: bool,
    pub last_frame_ns: u64,
    /// The writer is at work, or in charge: appenders do not write themselves.
    pub writer_busy: bool,
    pub in_charge: bool,
    small_frames: u32,
    /// Appenders that are writing their own frame.
    pub leaders: u32,
    /// The writer was told to look and has not looked yet.
    pub kicked: bool,
    /// When the writer looks by itself; None: only when kicked.
    pub wakes_ns: Option<u64>,
    pub stopped: bool,
    pub keeper: Chores,
    pub gather: Gather,
    /// Who that is, and how many it were so far; 0: nobody.
    pub precedence: u64,
    /// See `precedence`.
    pub precedences: u64,
    /// The first number of this opening.
    begin_seq: u64,
}

/// What was accepted since open.
#[derive(Debug, Clone, Copy, Default)]
#[allow(missing_docs)] // each is documented where C sees it: twal_stats
pub struct Counted {
    pub records: u64,
    pub record_bytes: u64,
    pub batches: u64,
}

/// What is accepted and not durable yet.
#[derive(Debug, Clone, Copy, Default)]
pub struct Depth {
    /// Bytes of the ring in use.
    pub ring_bytes: u64,
    /// Records.
    pub records: u64,
    /// Bytes that they take, or will take, on the device.
    pub bytes: u64,
    /// Frames that are being written at this moment.
    pub frames_in_flight: u64,
}

/// What the keeper is asked for and what came of it.
#[derive(Default)]
pub struct Chores {
    /// An append waits for a spare.
    pub spare_wanted: bool,
    /// Attempts to prepare a spare that failed, and the last failure.
    pub spare_failures: u64,
    pub spare_failed: Option<Error>,
    /// A spare is being prepared.
    pub preparing: bool,
    /// A sealed segment still named active.
    pub to_seal: Option<u64>,
    /// The tail's file while part of it is not zeroed.
    pub zeroing: Option<Arc<dyn File>>,
    /// An append waits until the tail's file is zeroed up to here.
    pub zero_wanted: u64,
    /// The file that may be made beyond the limit on the log's size, ready for use.
    pub reserve: Option<Spare>,
    /// How often somebody began to wait for it, and how many of them the keeper has tried to make one for.
    pub reserve_asked: u64,
    pub reserve_tried: u64,
    /// While a place is looked for that may be beyond the limit: bytes that are to stay free there.
    leave: Option<u64>,
    /// Segments begun since the last trim: what the next one recycles will be used as fast.
    pub rolls_since_trim: u64,
    pub stop: bool,
}

impl Queue {
    pub fn new(space: Space, block: u64, next_seq: u64, tail: Tail, config: &Config) -> Result<Queue> {
        let (active_segment, spares) = (tail.segment, usize_of(config.spares));
        Ok(Queue {
            next_seq,
            record_bytes: 0,
            batches: 0,
            closing: false,
            beyond: false,
            is_preceded: false,
            open: None,
            tail,
            block,
            space,
            closed: room::deque(FRAMES_MAX)?,
            flying: room::deque(4 * FRAMES_MAX)?,
            next_order: 0,
            next_gate: 0,
            ready: room::deque(spares + 1)?,
            // A planned segment has a frame, and no more than these are closed or open.
            planned: room::deque(FRAMES_MAX + 1)?,
            active_segment,
            roll_target: active_segment,
            demand_seq: 0,
            witnessed_seq: next_seq - 1,
            durable_seq: next_seq - 1,
            durable_end: 0,
            mark_wanted: false,
            last_frame_ns: 0,
            writer_busy: false,
            in_charge: false,
            small_frames: 0,
            leaders: 0,
            kicked: false,
            wakes_ns: None,
            stopped: false,
            keeper: Chores::default(),
            gather: Gather::default(),
            precedence: 0,
            precedences: 0,
            begin_seq: next_seq,
        })
    }

    /// The file beyond the limit on the log's size is there.
    pub fn is_beyond(&self) -> bool {
        self.beyond || self.keeper.reserve.is_some()
    }

    /// Up to where the files are durable.
    pub fn reach(&self) -> Reach {
        Reach { segment: self.active_segment, end: self.durable_end }
    }

    /// What was accepted since open.
    pub fn counted(&self) -> Counted {
        let records = self.next_seq - self.begin_seq;
        Counted { records, record_bytes: self.record_bytes, batches: self.batches }
    }

    /// What is accepted and not durable yet.
    pub fn depth(&self) -> Depth {
        let open_len = self.open.as_ref().map_or(0, |open| open.frame.len());
        let closed: u64 = self.closed.iter().map(|closed| len_u64(closed.frame.len())).sum();
        let flying = || self.flying.iter().filter(|flying| flying.first_seq != u64::MAX); // no marks
        Depth {
            ring_bytes: len_u64(self.space.used() + open_len),
            records: self.next_seq - 1 - self.durable_seq,
            bytes: len_u64(open_len) + closed + flying().map(|flying| flying.bytes).sum::<u64>(),
            frames_in_flight: len_u64(flying().filter(|flying| flying.progress == Progress::InFlight).count()),
        }
    }

    /// Records in the tail's segment so far, those in the open frame included.
    pub fn tail_records(&self) -> u64 {
        self.next_seq - self.tail.first_seq
    }

    /// The tail moves on to a spare; the writer follows when it has written what comes before.
    pub fn plan_roll(&mut self, spare: Spare, size: u64) {
        self.planned.push_back(spare);
        // A spare is written up to its end; only a log's very first segment is not.
        let (segment, first_seq) = (self.tail.segment + 1, self.next_seq);
        self.tail = Tail { segment, offset: self.block, size, ready_end: size, first_seq };
        self.beyond = false;
        self.keeper.zeroing = None;
        self.keeper.zero_wanted = 0;
        self.keeper.rolls_since_trim += 1;
    }

    /// Ends the growth of the open frame and gives it its place.
    pub fn close_open(&mut self) {
        let Some(open) = self.open.take() else { return };
        let frame = self.space.close(open.frame);
        let (order, offset) = (self.next_order, self.tail.offset);
        self.next_order += 1;
        self.tail.offset += len_u64(frame.len());
        assert!(self.tail.offset <= self.tail.ready_end, "no frame lies where the keeper may be writing zeros");
        self.closed.push_back(Closed {
            order,
            segment: self.tail.segment,
            offset,
            gate: open.gate,
            first_seq: open.first_seq,
            last_seq: self.next_seq - 1,
            // A record takes 40 bytes or more of a frame that is shorter than 4 GiB.
            records: u32::try_from(self.next_seq - open.first_seq).expect("a frame's records can be counted"),
            waiters: open.waiters,
            opened_ns: open.opened_ns,
            frame,
        });
    }

    /// Puts a taken frame among the flying ones.
    pub fn take_off(&mut self, closed: &Closed, says_durable: u64) {
        let bytes = len_u64(closed.frame.len());
        self.flying.push_back(Flying {
            order: closed.order,
            segment: closed.segment,
            end_offset: closed.offset + bytes,
            first_seq: closed.first_seq,
            last_seq: closed.last_seq,
            gate: closed.gate,
            waiters: closed.waiters,
            bytes,
            says_durable,
            opened_ns: closed.opened_ns,
            progress: Progress::InFlight,
            frame: None,
        });
    }

    /// The oldest frame that is written and not flushed.
    fn oldest_unflushed(&self) -> Option<&Flying> {
        self.flying.iter().find(|frame| frame.progress == Progress::Written)
    }

    /// Something is written and not flushed.
    pub fn is_dirty(&self) -> bool {
        self.oldest_unflushed().is_some()
    }

    /// When that has to be flushed, even if nobody asks: counted from when its first record was accepted.
    fn flush_due_ns(&self, config: &Config) -> Option<u64> {
        self.oldest_unflushed().map(|frame| frame.opened_ns.saturating_add(config.flush_interval_ns))
    }

    /// Nothing that was accepted is in the ring.
    pub fn is_drained(&self) -> bool {
        self.open.is_none() && self.space.used() == 0
    }

    fn in_flight(&self) -> bool {
        self.flying.iter().any(|frame| frame.progress == Progress::InFlight)
    }

    /// Whether a thread that wants the open frame durable may write it itself: nobody else waits for it, and
    /// nothing comes before it but what two such threads write at most.
    pub fn may_lead(&self) -> bool {
        !self.writer_busy
            && !self.in_charge
            && !self.closing
            && self.leaders < 2
            && self.closed.is_empty()
            && self.open.as_ref().is_some_and(|open| open.waiters == 0)
            && self.tail.segment == self.active_segment
            && self.roll_target <= self.active_segment
            && !self.is_dirty()
    }

    /// Of the oldest frame still to be written, closed or open: its first number, and when it was opened.
    fn oldest_unwritten(&self) -> Option<(u64, u64)> {
        let closed = self.closed.front().map(|closed| (closed.first_seq, closed.opened_ns));
        closed.or(self.open.as_ref().map(|open| (open.first_seq, open.opened_ns)))
    }

    /// First number that a frame still to be written holds, if any is closed or open.
    fn next_unwritten(&self) -> Option<u64> {
        self.oldest_unwritten().map(|(first_seq, _)| first_seq)
    }

    /// Records that wait for their batch to become full or old enough: not yet taken, and nobody wants them now.
    pub fn batched(&self) -> u64 {
        let before = self.next_unwritten().map_or(u64::MAX, |first_seq| first_seq - 1);
        (self.next_seq - 1).saturating_sub(before.max(self.demand_seq))
    }

    /// Takes the open frame for a thread that writes it itself; after [`Queue::may_lead`].
    pub fn lead(&mut self) -> Closed {
        self.close_open();
        let closed = self.closed.pop_front().expect("just closed, and none was before it");
        self.take_off(&closed, 0);
        self.leaders += 1;
        closed
    }

    /// Gives a mark its place, in front of the open frame if there is one, and
    /// puts it among the flying: its order and offset.
    pub fn take_off_mark(&mut self) -> (u64, u64) {
        let (order, offset) = (self.next_order, self.tail.offset);
        self.next_order += 1;
        self.tail.offset += self.block;
        // At the end of an open this may be the first block that was never written: the keeper begins behind it.
        self.tail.ready_end = self.tail.ready_end.max(self.tail.offset);
        if let Some(open) = &mut self.open {
            open.fits_len = 0;
        }
        self.flying.push_back(Flying {
            order,
            segment: self.active_segment,
            end_offset: self.tail.offset,
            // It has no records: no demand is for it, and the durable mark does not rise by it.
            first_seq: u64::MAX,
            last_seq: self.durable_seq,
            gate: 0,
            waiters: 0,
            bytes: self.block,
            says_durable: 0,
            opened_ns: self.last_frame_ns,
            progress: Progress::InFlight,
            frame: None,
        });
        (order, offset)
    }

    /// After a frame was written: whether the writer stays in charge.  With three or
    /// more waiters a frame the hand-over to the writer pays; with fewer the
    /// appenders are faster by themselves.
    pub fn judge_charge(&mut self, waiters: u32) {
        if waiters >= 3 {
            self.in_charge = true;
            self.small_frames = 0;
        } else if self.in_charge {
            self.small_frames += 1;
            if self.small_frames >= 8 {
                self.in_charge = false;
                self.small_frames = 0;
            }
        }
    }
}
