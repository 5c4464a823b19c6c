//! What is accepted, what is closed, what is on its way: the bookkeeping of the
//! commit path, under one lock.
//!
//! Does no I/O and waits for nothing.  A frame goes open → closed → in flight →
//! written → durable, and frames keep that order among themselves: `open` is
//! behind every `closed`, those are behind every `flying`.

use std::collections::VecDeque;
use std::sync::Arc;

use super::gather::Gather;
use crate::base::bytes::{len_u64, usize_of};
use crate::base::clock::Clock;
use crate::base::limits::FRAME_SIZE_CAP;
use crate::base::options::{Config, Durability};
use crate::base::{room, Error, Result};
use crate::disk::File;
use crate::format::FRAME_HEADER_LEN;
use crate::mem::ring::{ClosedFrame, OpenFrame, Space, FRAMES_MAX};
use crate::segment::Spare;

/// Gates that waiters of frames share; two frames with the same gate only cost a needless look.
pub const GATES: usize = 64;
/// Unflushed bytes after which a flush that somebody waits for is no longer put off for more frames.
const FLUSH_BYTES_MAX: u64 = 16 << 20;

/// Records that nobody waits for are gathered up to so many bytes before they are written,
const WRITE_BEHIND_BYTES: usize = 256 << 10;
/// or for so long: whoever wants them durable meanwhile has them written with one durable write.
pub const WRITE_BEHIND_NS: u64 = 1_000_000;

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
    /// Records in the segment so far, those in the open frame included.
    pub records: u64,
}

/// The frame that accepts records.
pub struct Open {
    pub frame: OpenFrame,
    pub gate: usize,
    pub first_seq: u64,
    pub last_seq: u64,
    pub records: u32,
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

/// What an append found when it looked for a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The open frame takes it.
    Here,
    /// The ring is full.
    RingFull,
    /// The segment is full and no spare is ready.
    NoSpare,
    /// The segment's next bytes are not zeroed yet.
    NotZeroed,
}

/// What the writer has to do next.
pub enum Step {
    /// Compose and write the frame; durable if so.
    Write(Closed, bool),
    /// Flush what is written.
    Flush,
    /// Write a mark.
    Mark,
    /// Seal the active segment and begin the next.
    Roll,
    /// Nothing until this time (None: until woken).
    Wait(Option<u64>),
    /// Closing, and nothing is left.
    Stop,
}

/// When frames that are not written yet go out.
enum Due {
    Now,
    At(u64),
}

/// See the module.
pub struct Queue {
    pub space: Space,
    pub block: u64,
    pub next_seq: u64,
    pub tail: Tail,
    pub open: Option<Open>,
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
    pub closing: bool,
    pub stopped: bool,
    pub keeper: Chores,
    pub counted: Counted,
    pub gather: Gather,
}

/// What was accepted since open.  Plain numbers: whoever adds holds the lock anyway.
#[derive(Debug, Clone, Copy, Default)]
#[allow(missing_docs)] // each is documented where C sees it: twal_stats
pub struct Counted {
    pub records: u64,
    pub record_bytes: u64,
    pub batches: u64,
}

impl Counted {
    pub(super) fn count(&mut self, records: u64, payload: u64) {
        self.records += records;
        self.record_bytes += payload;
        self.batches += u64::from(records > 1);
    }
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
    /// Segments begun since the last trim: what the next one recycles will be used as fast.
    pub rolls_since_trim: u64,
    pub stop: bool,
}

impl Queue {
    pub fn new(space: Space, block: u64, next_seq: u64, tail: Tail, config: &Config) -> Result<Queue> {
        let (active_segment, spares) = (tail.segment, usize_of(config.spares));
        Ok(Queue {
            space,
            block,
            next_seq,
            tail,
            open: None,
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
            closing: false,
            stopped: false,
            keeper: Chores::default(),
            counted: Counted::default(),
            gather: Gather::default(),
        })
    }

    fn pad(&self, len: usize) -> u64 {
        len_u64(len).next_multiple_of(self.block)
    }

    /// Behind this offset of the tail's segment no data frame reaches: a mark and the seal have room of their own.
    fn data_end(&self) -> u64 {
        self.tail.size.saturating_sub(2 * self.block)
    }

    /// What may follow a data frame before the next one: a mark behind what is not flushed yet, one behind the
    /// flush, and the seal.
    fn follow_up(&self) -> u64 {
        3 * self.block
    }

    /// Whether the next `len` bytes of the tail's segment, and what may follow them, are zeroed: what lies
    /// further on the keeper may be overwriting with zeros at this moment.
    fn is_ready(&self, len: u64) -> bool {
        (self.tail.offset + len + self.follow_up()).min(self.tail.size) <= self.tail.ready_end
    }

    /// Looks for a place for `need` bytes of `records` records that belong together.
    /// After [`Place::Here`] there is an open frame with room, and the room is taken on disk.
    pub fn place(&mut self, need: usize, records: u64, config: &Config, clock: &Clock) -> Result<Place> {
        if let Some(open) = &self.open {
            let len = self.pad(open.frame.len() + need);
            let fits = open.frame.room() >= need
                && len <= FRAME_SIZE_CAP
                && self.tail.offset + len <= self.data_end()
                && self.tail.records.saturating_add(records) <= config.segment_records_max
                && open.records.checked_add(u32::try_from(records).unwrap_or(u32::MAX)).is_some();
            if fits {
                if !self.is_ready(len) {
                    self.keeper.zero_wanted = self.tail.offset + len + self.follow_up();
                    return Ok(Place::NotZeroed);
                }
                return Ok(Place::Here);
            }
            self.close_open();
        }
        let least = FRAME_HEADER_LEN + need;
        match self.place_on_disk(least, records, config) {
            Place::Here => {}
            full => return Ok(full),
        }
        let Some(mut frame) = self.space.open(least, least.max(usize_of(FRAME_SIZE_CAP)))? else {
            self.demand_for_room(config);
            return Ok(Place::RingFull);
        };
        frame.skip(FRAME_HEADER_LEN);
        self.begin(frame, clock);
        Ok(Place::Here)
    }

    /// Room in the ring for a frame with `need` bytes of one record, without a place on disk.
    pub fn reserve(&mut self, need: usize, config: &Config) -> Result<Option<OpenFrame>> {
        let growing = self.open.as_mut().map(|open| &mut open.frame);
        let Some(mut frame) = self.space.reserve(growing, FRAME_HEADER_LEN + need)? else {
            // What is open goes out, to make room.
            self.close_open();
            self.demand_for_room(config);
            return Ok(None);
        };
        frame.skip(FRAME_HEADER_LEN);
        Ok(Some(frame))
    }

    /// Looks for a place on disk for a reserved frame with `need` bytes of one record.  After
    /// [`Place::Here`] it is the open frame; before that it stays where it is.
    pub fn place_reserved(
        &mut self,
        reserved: &mut Option<OpenFrame>,
        need: usize,
        config: &Config,
        clock: &Clock,
    ) -> Place {
        self.close_open();
        let place = self.place_on_disk(FRAME_HEADER_LEN + need, 1, config);
        if place == Place::Here {
            let frame = reserved.take().expect("who commits a reservation has one");
            self.begin(frame, clock);
        }
        place
    }

    /// Whether a new frame of `least` bytes with `records` records has a place; takes it, if that is in the next segment.
    fn place_on_disk(&mut self, least: usize, records: u64, config: &Config) -> Place {
        let len = self.pad(least);
        let by_count = self.tail.records > 0 && self.tail.records.saturating_add(records) > config.segment_records_max;
        if by_count || self.tail.offset + len > self.data_end() {
            match self.ready.pop_front() {
                None => {
                    self.demand_for_room(config);
                    return Place::NoSpare;
                }
                Some(spare) => self.plan_roll(spare, config.segment_size),
            }
        }
        if !self.is_ready(len) {
            self.keeper.zero_wanted = self.tail.offset + len + self.follow_up();
            return Place::NotZeroed;
        }
        if self.flying.len() == self.flying.capacity() || self.closed.len() == self.closed.capacity() {
            self.demand_for_room(config);
            return Place::RingFull;
        }
        Place::Here
    }

    fn begin(&mut self, frame: OpenFrame, clock: &Clock) {
        self.next_gate = (self.next_gate + 1) % GATES;
        self.open = Some(Open {
            frame,
            gate: self.next_gate,
            first_seq: self.next_seq,
            last_seq: self.next_seq - 1,
            records: 0,
            waiters: 0,
            opened_ns: clock.now_ns(),
        });
    }

    /// In GROUP a batch does not wait for more records while these wait for room.
    fn demand_for_room(&mut self, config: &Config) {
        if config.durability == Durability::Group {
            self.demand_seq = self.demand_seq.max(self.next_seq - 1);
        }
    }

    /// The tail moves on to a spare; the writer follows when it has written what comes before.
    pub fn plan_roll(&mut self, spare: Spare, size: u64) {
        self.planned.push_back(spare);
        // A spare is written up to its end; only a log's very first segment is not.
        self.tail = Tail { segment: self.tail.segment + 1, offset: self.block, size, ready_end: size, records: 0 };
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
            last_seq: open.last_seq,
            records: open.records,
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

    /// Whether what is closed or open is to go out now; else when.  In GROUP a
    /// batch may be several frames: none of them goes out before it is due.
    fn due(&self, config: &Config) -> Option<Due> {
        let (first_seq, opened_ns) = self.oldest_unwritten()?;
        let open_len = self.open.as_ref().map_or(0, |open| open.frame.len());
        let group = config.durability == Durability::Group;
        let now = self.demand_seq >= first_seq
            || self.closing
            || self.tail.segment != self.active_segment
            || self.space.used() + open_len >= self.space.size() / 2
            || (!group && (!self.closed.is_empty() || open_len >= WRITE_BEHIND_BYTES));
        let delay_ns = if group { config.batch_delay_ns } else { WRITE_BEHIND_NS.min(config.flush_interval_ns) };
        Some(if now { Due::Now } else { Due::At(opened_ns.saturating_add(delay_ns)) })
    }

    /// What the writer has to do now.  The one place that decides it.
    pub fn next_step(&mut self, config: &Config, now_ns: u64) -> Step {
        let dirty = self.is_dirty();
        if dirty && self.flush_due(config, now_ns) {
            return Step::Flush;
        }
        let next_is_elsewhere = self.closed.front().is_some_and(|closed| closed.segment != self.active_segment);
        let roll_now =
            self.roll_target > self.active_segment && self.tail.segment > self.active_segment && self.closed.is_empty();
        if next_is_elsewhere || roll_now {
            return if self.in_flight() { Step::Wait(None) } else { Step::Roll };
        }
        let mut batch_due_ns = None;
        match self.due(config) {
            Some(Due::At(due_ns)) if due_ns > now_ns => batch_due_ns = Some(due_ns),
            Some(_) => {
                if config.durability == Durability::Group
                    && self.next_unwritten().is_some_and(|first_seq| first_seq > self.demand_seq)
                {
                    // Not asked for by anybody: the batch, all of it, is old enough or takes too much room.
                    self.demand_seq = self.next_seq - 1;
                }
                if let Some(closed) = self.closed.pop_front() {
                    let durable = self.goes_out_durable(&closed, dirty, config);
                    self.take_off(&closed, 0);
                    return Step::Write(closed, durable);
                }
                // Becomes closed, in this segment: `place` opened it in the tail's, which is the active one
                // unless a roll is planned.
                self.close_open();
                return self.next_step(config, now_ns);
            }
            None => {}
        }
        if self.wants_mark(config, now_ns) {
            if self.mark_fits() {
                // Behind the last mark of a segment nothing but the seal fits: it has to witness all there is.
                let last = self.tail.offset + 3 * self.block > self.tail.size;
                return if last && dirty { Step::Flush } else { Step::Mark };
            }
            if self.open.is_some() || !self.closed.is_empty() {
                // No room for a mark in front of the next frame: that frame goes out durably in its stead.
                self.demand_seq = self.demand_seq.max(self.next_seq - 1);
                self.close_open();
                return self.next_step(config, now_ns);
            }
            if self.tail.segment != self.active_segment {
                // A roll is planned already: its seal is the witness.
                return Step::Roll;
            }
            // Only the seal still fits, and it waits for a spare; what is here was marked when it was written.
            self.mark_wanted = false;
            self.witnessed_seq = self.durable_seq;
        }
        if self.closing && !self.in_flight() {
            return Step::Stop;
        }
        let flush_ns = self.flush_due_ns(config);
        // Beside a frame in flight a time that has passed would not let the writer sleep; the frame's return wakes it.
        let mark_due = self.durable_seq > self.witnessed_seq;
        let mark_ns = mark_due
            .then(|| self.last_frame_ns.saturating_add(config.idle_mark_ns))
            .filter(|&mark_ns| mark_ns > now_ns || !self.in_flight());
        Step::Wait([batch_due_ns, flush_ns, mark_ns].into_iter().flatten().min())
    }

    fn flush_due(&self, config: &Config, now_ns: u64) -> bool {
        let first_dirty = self.oldest_unflushed().map_or(u64::MAX, |frame| frame.first_seq);
        let wanted = self.demand_seq >= first_dirty;
        let more_wanted = self.next_unwritten().is_some_and(|seq| seq <= self.demand_seq);
        let unflushed = || -> u64 {
            self.flying.iter().filter(|frame| frame.progress == Progress::Written).map(|frame| frame.bytes).sum()
        };
        let overdue = self.flush_due_ns(config).is_some_and(|due_ns| now_ns >= due_ns);
        let crowded = self.flying.len() * 2 >= self.flying.capacity();
        overdue
            || crowded
            || (wanted && (!more_wanted || unflushed() >= FLUSH_BYTES_MAX))
            || (self.closing && self.next_unwritten().is_none())
    }

    /// Whether this frame's own write makes it durable, or a flush after several.
    fn goes_out_durable(&self, closed: &Closed, dirty: bool, config: &Config) -> bool {
        if self.mark_wanted {
            return true;
        }
        let wanted = closed.first_seq <= self.demand_seq;
        let more_wanted = self.next_unwritten().is_some_and(|seq| seq <= self.demand_seq);
        // In GROUP every batch has a flush of its own.
        wanted && !dirty && (!more_wanted || config.durability == Durability::Group)
    }

    fn wants_mark(&self, config: &Config, now_ns: u64) -> bool {
        // Not beside a frame in flight; behind one that no flush covered yet it is as good a witness.
        if self.in_flight() {
            return false;
        }
        let unwitnessed = self.durable_seq > self.witnessed_seq;
        self.mark_wanted
            || (unwitnessed && (self.closing || now_ns >= self.last_frame_ns.saturating_add(config.idle_mark_ns)))
    }

    fn mark_fits(&self) -> bool {
        if self.tail.segment != self.active_segment || !self.closed.is_empty() {
            return false;
        }
        match &self.open {
            Some(open) => {
                let len = self.block + self.pad(open.frame.len());
                self.tail.offset + len <= self.data_end() && self.is_ready(len)
            }
            None => self.tail.offset + 2 * self.block <= self.tail.size,
        }
    }

    /// Gives a mark its place, in front of the open frame if there is one, and
    /// puts it among the flying: its order and offset.
    pub fn take_off_mark(&mut self) -> (u64, u64) {
        let (order, offset) = (self.next_order, self.tail.offset);
        self.next_order += 1;
        self.tail.offset += self.block;
        // At the end of an open this may be the first block that was never written: the keeper begins behind it.
        self.tail.ready_end = self.tail.ready_end.max(self.tail.offset);
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

    /// Whether the writer has anything to do, now or at a time that it does not know yet.
    pub fn wants_writer(&self, config: &Config) -> bool {
        if self.writer_busy || self.kicked {
            return false;
        }
        let sooner = |due_ns: u64| self.wakes_ns.is_none_or(|wakes_ns| due_ns < wakes_ns);
        self.mark_wanted
            || self.roll_target > self.active_segment
            || self.closing
            || match self.due(config) {
                None => false,
                Some(Due::Now) => true,
                Some(Due::At(due_ns)) => sooner(due_ns),
            }
            || (self.is_dirty()
                && (self.demand_seq > self.durable_seq || self.flush_due_ns(config).is_some_and(sooner)))
            || (self.durable_seq > self.witnessed_seq && self.wakes_ns.is_none())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::options::Options;
    use crate::mem::ring::Ring;

    /// The keeper zeroes from `ready_end` on while frames are written: nothing may lie there.
    #[test]
    fn a_mark_pushes_no_frame_into_what_is_being_zeroed() {
        let block = 4096;
        for (durability, need) in [(Durability::Async, 100), (Durability::Group, 100), (Durability::Async, 9000)] {
            let options = Options { durability: Some(durability), batch_records: 1 << 40, ..Options::default() };
            let config = Config::check(&options).unwrap();
            let (ring, space) = Ring::new(1 << 20, 4096).unwrap();
            let (size, ready_end) = (config.segment_size, 40 * block);
            let tail = Tail { segment: 1, offset: block, size, ready_end, records: 0 };
            let mut queue = Queue::new(space, block, 1, tail, &config).unwrap();
            while queue.place(need, 1, &config, &Clock::simulated()).unwrap() == Place::Here {
                let open = queue.open.as_mut().unwrap();
                drop(open.frame.claim(&ring, need));
                open.last_seq = queue.next_seq;
                open.records += 1;
                queue.next_seq += 1;
            }
            assert!(queue.keeper.zero_wanted > ready_end);
            for _ in 0..2 {
                queue.mark_wanted = true;
                if let Step::Mark = queue.next_step(&config, 0) {
                    queue.take_off_mark();
                    queue.flying.clear();
                }
                queue.close_open();
                queue.closed.clear();
                // The seal is the last that may come before the next data frame.
                assert!(queue.tail.offset + block <= ready_end, "{durability:?} {need}: {}", queue.tail.offset);
            }
        }
    }
}
