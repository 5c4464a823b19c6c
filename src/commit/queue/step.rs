//! What the writer does next: one function decides it.

use super::{Closed, Open, Progress, Queue};
use crate::base::options::{Config, Durability};

/// Unflushed bytes after which a flush that somebody waits for is no longer put off for more frames.
const FLUSH_BYTES_MAX: u64 = 16 << 20;

/// Records that nobody waits for are gathered up to so many bytes before they are written,
const WRITE_BEHIND_BYTES: usize = 512 << 10;
/// or for so long: whoever wants them durable meanwhile has them written with one durable write.
const WRITE_BEHIND_NS: u64 = 1_000_000;

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

impl Open {
    /// Whether a record that was just taken changes nothing for the writer, if nobody waits for it: what it knows
    /// of the frame, or will see before it sleeps, is still so.
    pub fn is_calm(&self) -> bool {
        self.frame.len() < self.calm_len
    }
}

impl Queue {
    /// Notes up to which length the open frame goes out no sooner than it would now; see [`Queue::due`].
    pub fn look_how_calm(&mut self, config: &Config) {
        let half = self.space.size() / 2;
        let used = self.space.used();
        if let Some(open) = self.open.as_mut().filter(|_| config.durability != Durability::Group) {
            open.calm_len = WRITE_BEHIND_BYTES.min(half.saturating_sub(used));
        }
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
