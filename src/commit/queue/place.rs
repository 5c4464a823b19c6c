//! How a record finds its place: in the open frame, in the ring, in a segment.
//!
//! A place on disk is taken before a number is given, so that a full disk is
//! found out in time.

use super::{Open, Queue, GATES};
use crate::base::bytes::{len_u64, usize_of};
use crate::base::clock::Clock;
use crate::base::limits::FRAME_SIZE_CAP;
use crate::base::options::{Config, Durability};
use crate::base::Result;
use crate::format::FRAME_HEADER_LEN;
use crate::mem::ring::OpenFrame;

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

impl Queue {
    pub(super) fn pad(&self, len: usize) -> u64 {
        len_u64(len).next_multiple_of(self.block)
    }

    /// Behind this offset of the tail's segment no data frame reaches: a mark and the seal have room of their own.
    pub(super) fn data_end(&self) -> u64 {
        self.tail.size.saturating_sub(2 * self.block)
    }

    /// What may follow a data frame before the next one: a mark behind what is not flushed yet, one behind the
    /// flush, and the seal.
    fn follow_up(&self) -> u64 {
        3 * self.block
    }

    /// Whether the next `len` bytes of the tail's segment, and what may follow them, are zeroed: what lies
    /// further on the keeper may be overwriting with zeros at this moment.
    pub(super) fn is_ready(&self, len: u64) -> bool {
        (self.tail.offset + len + self.follow_up()).min(self.tail.size) <= self.tail.ready_end
    }

    /// Looks for a place for `need` bytes of `records` records that belong together.
    /// After [`Place::Here`] there is an open frame with room, and the room is taken on disk.
    #[inline]
    pub fn place(&mut self, need: usize, records: u64, config: &Config, clock: &Clock) -> Result<Place> {
        if let Some(open) = &self.open {
            let counted = self.tail_records().saturating_add(records) <= config.segment_records_max;
            if counted && open.frame.len() + need <= open.fits_len {
                return Ok(Place::Here);
            }
        }
        self.place_anew(need, records, config, clock)
    }

    /// The same for what helps to give space back: at the limit on the log's size it may lie in one segment beyond, as
    /// long as `leave` bytes stay free there.
    pub fn place_beyond(
        &mut self,
        need: usize,
        records: u64,
        leave: u64,
        config: &Config,
        clock: &Clock,
    ) -> Result<Place> {
        self.keeper.leave = Some(leave);
        let place = self.place_anew(need, records, config, clock);
        self.keeper.leave = None;
        place
    }

    /// Whether the tail's segment has room for `len` bytes, for whoever is asking.
    fn takes(&self, len: u64) -> bool {
        let end = self.tail.offset + len;
        if self.beyond {
            return self.keeper.leave.is_some_and(|leave| end + leave <= self.data_end());
        }
        end <= self.data_end()
    }

    /// The same when it is not plain that the open frame takes it.
    fn place_anew(&mut self, need: usize, records: u64, config: &Config, clock: &Clock) -> Result<Place> {
        if let Some(open) = &self.open {
            let len = self.pad(open.frame.len() + need);
            let fits = open.frame.room() >= need
                && len <= FRAME_SIZE_CAP
                && self.takes(len)
                && self.tail_records().saturating_add(records) <= config.segment_records_max;
            if fits {
                if !self.is_ready(len) {
                    self.keeper.zero_wanted = self.tail.offset + len + self.follow_up();
                    return Ok(Place::NotZeroed);
                }
                self.look_how_far();
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

    /// Notes how far the open frame may grow where it is: all these are blocks, so that padding needs no thought.
    fn look_how_far(&mut self) {
        let ready_end = if self.tail.ready_end < self.tail.size {
            self.tail.ready_end.saturating_sub(self.follow_up())
        } else {
            self.tail.size
        };
        // Beyond the limit it is asked each time who wants to be there.
        let data_end = if self.beyond { 0 } else { self.data_end() };
        let on_disk = data_end.min(ready_end).saturating_sub(self.tail.offset).min(FRAME_SIZE_CAP);
        if let Some(open) = &mut self.open {
            open.fits_len = usize_of(on_disk).min(open.frame.len() + open.frame.room());
        }
    }

    /// Room in the ring for a frame with `need` bytes of one record, without a place on disk.
    pub fn reserve(&mut self, need: usize, config: &Config) -> Result<Option<OpenFrame>> {
        let growing = self.open.as_mut().map(|open| {
            open.fits_len = 0;
            &mut open.frame
        });
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
        let in_tail = self.tail_records();
        let by_count = in_tail > 0 && in_tail.saturating_add(records) > config.segment_records_max;
        if by_count || !self.takes(len) {
            if let Some(spare) = self.ready.pop_front() {
                self.plan_roll(spare, config.segment_size);
            } else if let Some(spare) = self.keeper.leave.and_then(|_| self.keeper.reserve.take()) {
                self.plan_roll(spare, config.segment_size);
                self.beyond = true;
            } else {
                self.demand_for_room(config);
                return Place::NoSpare;
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
            fits_len: 0,
            calm_len: 0,
            gate: self.next_gate,
            first_seq: self.next_seq,
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
}

#[cfg(test)]
mod tests {
    use super::super::{Step, Tail};
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
            let tail = Tail { segment: 1, offset: block, size, ready_end, first_seq: 1 };
            let mut queue = Queue::new(space, block, 1, tail, &config).unwrap();
            while queue.place(need, 1, &config, &Clock::simulated()).unwrap() == Place::Here {
                let open = queue.open.as_mut().unwrap();
                drop(open.frame.claim(&ring, need));
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
