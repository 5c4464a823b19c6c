//! The appender's side: steps 1 to 4 of the way of one append.

use std::sync::MutexGuard;

use super::composer::Durable;
use super::device::Span;
use super::queue::{Closed, Place, Queue};
use super::writer::Unwound;
use super::{Commit, Threads};
use crate::base::bytes::{len_u64, usize_of};
use crate::base::options::Durability;
use crate::base::{Code, Error, Result};
use crate::disk;
use crate::format::record::{record_len, FLAG_BATCH_CONTINUES, FLAG_REQUIRED};
use crate::format::{RecordHeader, FRAME_HEADER_LEN};
use crate::mem::ring::Claim;

/// What a caller hands in: one record.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    /// The payload; twal never looks into it.
    pub data: &'a [u8],
    /// A tag: shard, tenant, region.
    pub stream: u64,
    /// None: the logical clock.
    pub timestamp: Option<i64>,
    /// The caller's own types start at 0x0100.
    pub kind: u16,
    /// A reader that does not know the type must stop.
    pub required: bool,
}

impl Entry<'_> {
    /// The header of this record, with a payload of `len` bytes, under number `seq`.
    pub(super) fn header(&self, len: usize, seq: u64, batch_continues: bool) -> RecordHeader {
        RecordHeader {
            payload_crc: 0,
            kind: self.kind,
            flags: (if self.required { FLAG_REQUIRED } else { 0 })
                | (if batch_continues { FLAG_BATCH_CONTINUES } else { 0 }),
            len: u32::try_from(len).expect("check_size keeps a payload below 4 GiB"),
            seq,
            // The logical clock is the sequence number: it never goes back, also not over restarts.
            timestamp: self.timestamp.unwrap_or_else(|| i64::try_from(seq).unwrap_or(i64::MAX)),
            stream: self.stream,
        }
    }
}

/// How one append departs from the log's mode.
#[derive(Debug, Clone, Copy, Default)]
pub struct How {
    /// Return when durable.  None: as the log's mode says.
    pub sync: Option<bool>,
    /// Never wait for room: [`Code::Again`] instead.
    pub no_wait: bool,
}

/// What an append may take of the one segment that a log at the limit on its size may have beyond it, for what helps
/// to give space back: see `limit.rs`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beyond {
    /// Nothing.
    No,
    /// What leaves room there for one record with so many bytes of payload.
    AllBut(usize),
    /// All of it.
    All,
}

/// One caller's wait for room, over all its attempts.
pub struct Turn {
    /// When it gives up.
    until_ns: Option<u64>,
    /// Failed attempts to prepare a spare when the wait began.
    failures: Option<u64>,
    /// Of those who wait for the file beyond the limit on the log's size, the how manieth this is.
    reserve: Option<u64>,
    counted: bool,
    /// How often others took the room in the ring that this one waited for.
    losses: u32,
    /// Its number among those who had precedence, if it has it; else 0.
    precedence: u64,
}

/// So often others may take the room that somebody waits for.
const LOSSES_MAX: u32 = 8;

impl Turn {
    /// Whoever waits for the file beyond the limit is refused by an attempt to make that one, not by others'.
    fn ask_for_reserve(&mut self, queue: &mut Queue) {
        let asked = *self.reserve.get_or_insert_with(|| {
            queue.keeper.reserve_asked += 1;
            queue.keeper.reserve_asked
        });
        if asked > queue.keeper.reserve_tried {
            self.failures = None;
        }
    }

    pub(super) fn new(until_ns: Option<u64>) -> Turn {
        Turn { until_ns, failures: None, reserve: None, counted: false, losses: 0, precedence: 0 }
    }

    /// Somebody else comes first.
    fn yields(turn: Option<&Turn>, queue: &Queue) -> bool {
        queue.precedence != turn.map_or(0, |turn| turn.precedence)
    }

    /// Others took the room that this one waited for, once more.  What a record needs of the ring in one piece may never
    /// be free while others go on taking less: then they wait.
    fn lose(&mut self, queue: &mut Queue) {
        if queue.is_drained() {
            // What is left in the ring is reserved: who has that may have to append before he gives it back.
            return;
        }
        self.losses += 1;
        if self.losses >= LOSSES_MAX && queue.precedence == 0 {
            queue.precedences += 1;
            (queue.precedence, self.precedence) = (queue.precedences, queue.precedences);
            queue.is_preceded = true;
        }
    }
}

/// What step 2 is asked for.
#[derive(Clone, Copy)]
pub(super) struct Asked {
    /// Bytes in a frame's body.
    pub need: usize,
    pub records: u64,
    /// Bytes of payload.
    pub payload: u64,
    /// The caller waits until it is durable.
    pub wait: bool,
}

/// What step 2 gave; beside it the frame, if this appender writes it.
pub(super) struct Accepted<'ring> {
    pub first_seq: u64,
    pub last_seq: u64,
    pub claim: Claim<'ring>,
    pub gate: usize,
}

impl Commit {
    /// Appends the entries as one batch; returns the first one's number.
    pub fn append<'a, I>(&self, entries: I, how: How) -> Result<u64>
    where
        I: ExactSizeIterator<Item = Entry<'a>> + Clone,
    {
        if self.waits(how) {
            self.timed(|| self.append_as(entries, how, true))
        } else {
            self.append_as(entries, how, false)
        }
    }

    #[inline(always)] // once for each `wait`
    fn append_as<'a, I>(&self, entries: I, how: How, wait: bool) -> Result<u64>
    where
        I: ExactSizeIterator<Item = Entry<'a>> + Clone,
    {
        let asked = self.measure(entries.clone(), wait)?;
        let mut lead = None;
        let queue = self.accept(asked, how.no_wait)?;
        let Accepted { first_seq, last_seq, mut claim, gate } = self.give_number(queue, asked, &mut lead);
        fill(&mut claim, entries, first_seq);
        drop(claim);
        self.finish(last_seq, gate, lead, wait)?;
        Ok(first_seq)
    }

    /// One attempt to append the entries as one batch, without waiting for durability.  Without room
    /// it calls `give_way`, waits until there may be some, and answers None: the caller looks whether it still
    /// wants what it wanted.  For callers who decide under a lock of their own that nobody may hold while waiting.
    /// Any error means that nothing was appended.
    pub fn append_or_wait<'a, I>(
        &self,
        entries: I,
        beyond: Beyond,
        turn: &mut Option<Turn>,
        give_way: impl FnOnce(),
    ) -> Result<Option<u64>>
    where
        I: ExactSizeIterator<Item = Entry<'a>> + Clone,
    {
        let asked = self.measure(entries.clone(), false)?;
        let leave = self.leave(asked.need, beyond);
        let mut queue = self.lock();
        self.check_open(&queue).map_err(|error| self.refused(error))?;
        let place = match leave {
            // The caller may give up without a word, so it takes no precedence itself.
            _ if Turn::yields(None, &queue) => Place::RingFull,
            None => queue.place(asked.need, asked.records, &self.config, &self.clock)?,
            Some(leave) => queue.place_beyond(asked.need, asked.records, leave, &self.config, &self.clock)?,
        };
        match place {
            Place::Here => {}
            full => {
                give_way();
                let turn = turn.get_or_insert_with(|| self.turn(self.config.append_timeout_ns));
                if leave.is_some() && full == Place::NoSpare {
                    turn.ask_for_reserve(&mut queue);
                }
                self.wait_for_room(queue, full, turn)?;
                return Ok(None);
            }
        }
        // Who does not wait is never asked to write the frame.
        let Accepted { first_seq, mut claim, .. } = self.give_number(queue, asked, &mut None);
        fill(&mut claim, entries, first_seq);
        Ok(Some(first_seq))
    }

    /// What a batch asks for, if the log can hold it at all.
    fn measure<'a>(&self, entries: impl ExactSizeIterator<Item = Entry<'a>>, wait: bool) -> Result<Asked> {
        let records = len_u64(entries.len());
        let (mut payload, mut need) = (0u64, 0usize);
        for entry in entries {
            payload = payload.saturating_add(len_u64(entry.data.len()));
            need = need.saturating_add(record_len(entry.data.len().min(usize::MAX / 2)));
        }
        self.check_size(payload, need)?;
        Ok(Asked { need, records, payload, wait })
    }

    /// A wait for room that begins now.
    fn turn(&self, timeout_ns: Option<u64>) -> Turn {
        Turn::new(timeout_ns.map(|timeout_ns| self.clock.now_ns().saturating_add(timeout_ns)))
    }

    /// Appends one record whose payload is `parts`, one after the other; that of `entry` is empty.
    pub fn append_gather<'a, I>(&self, entry: &Entry<'_>, parts: I, how: How) -> Result<u64>
    where
        I: Iterator<Item = &'a [u8]> + Clone,
    {
        if self.waits(how) {
            self.timed(|| self.append_gather_as(entry, parts, how, true))
        } else {
            self.append_gather_as(entry, parts, how, false)
        }
    }

    #[inline(always)] // once for each `wait`
    fn append_gather_as<'a, I>(&self, entry: &Entry<'_>, parts: I, how: How, wait: bool) -> Result<u64>
    where
        I: Iterator<Item = &'a [u8]> + Clone,
    {
        let len = parts.clone().fold(0usize, |sum, part| sum.saturating_add(part.len()));
        let (payload, need) = (len_u64(len), record_len(len.min(usize::MAX / 2)));
        self.check_size(payload, need)?;
        let asked = Asked { need, records: 1, payload, wait };
        let mut lead = None;
        let queue = self.accept(asked, how.no_wait)?;
        let Accepted { first_seq, last_seq, mut claim, gate } = self.give_number(queue, asked, &mut lead);
        // Outside the lock: reading the caller's memory may wait for a page of it.
        entry.header(len, first_seq, false).encode_parts(parts, claim.bytes());
        drop(claim);
        self.finish(last_seq, gate, lead, wait)?;
        Ok(first_seq)
    }

    /// Whether an append returns when it is durable.
    pub(super) fn waits(&self, how: How) -> bool {
        how.sync.unwrap_or(self.config.durability == Durability::Sync)
    }

    /// Measures an append that waits until it is durable.  Of one that does not, nothing is measured: two looks at the
    /// clock would cost as much as all the rest, and even the way round them some registers.
    #[inline(never)]
    pub(super) fn timed<T>(&self, append: impl FnOnce() -> Result<T>) -> Result<T> {
        let since_ns = self.clock.now_ns();
        let appended = append()?;
        self.counters.histograms.append_ns.add(self.clock.now_ns() - since_ns);
        Ok(appended)
    }

    /// Steps 4 to 7: writes the frame if it is this appender's, waits if the append does.
    pub(super) fn finish(&self, last_seq: u64, gate: usize, lead: Option<Closed>, wait: bool) -> Result<()> {
        if wait {
            self.counters.durable_waits.one();
        }
        match lead {
            Some(closed) => self.lead(closed)?,
            None if !wait => return Ok(()),
            None => {}
        }
        self.wait_durable(last_seq, Some(gate), None)
    }

    /// Step 1: what the log can hold at all.
    pub(super) fn check_size(&self, payload: u64, need: usize) -> Result<()> {
        let room =
            self.config.segment_size - crate::base::limits::SEGMENT_OVERHEAD_BLOCKS * u64::from(self.config.block_size);
        if payload > self.config.record_size_max {
            let text = format!("a payload of {payload} bytes; record_size_max is {}", self.config.record_size_max);
            return Err(self.refused(Error::new(Code::TooBig, text)));
        }
        if len_u64(FRAME_HEADER_LEN).saturating_add(len_u64(need)) > room.min(crate::base::limits::FRAME_SIZE_MAX) {
            let text = format!("the batch takes {need} bytes with its headers; an empty segment holds {room}");
            return Err(self.refused(Error::new(Code::TooBig, text)));
        }
        Ok(())
    }

    /// Step 2: place, then number.
    fn accept(&self, asked: Asked, no_wait: bool) -> Result<MutexGuard<'_, Queue>> {
        self.find_room(no_wait, |queue| queue.place(asked.need, asked.records, &self.config, &self.clock))
    }

    /// As `find_place` for what needs room in the ring: others who have waited for that for too long come first.
    #[inline]
    pub(super) fn find_room(
        &self,
        no_wait: bool,
        mut place: impl FnMut(&mut Queue) -> Result<Place>,
    ) -> Result<MutexGuard<'_, Queue>> {
        let mut queue = self.lock();
        self.check_open(&queue).map_err(|error| self.refused(error))?;
        if !queue.is_preceded && place(&mut queue)? == Place::Here {
            return Ok(queue);
        }
        drop(queue);
        self.wait_for_place(no_wait, place)
    }

    /// The same for who found no room at once: apart from what most appends do, which it would slow down.
    #[inline(never)]
    fn wait_for_place(
        &self,
        no_wait: bool,
        mut place: impl FnMut(&mut Queue) -> Result<Place>,
    ) -> Result<MutexGuard<'_, Queue>> {
        let mut turn = None;
        let found = self.find_in_turn(no_wait, &mut turn, |queue, turn| {
            if Turn::yields(turn.as_ref(), queue) {
                return Ok(Place::RingFull);
            }
            let place = place(queue)?;
            let Some(turn) = turn.as_mut() else { return Ok(place) };
            match place {
                Place::RingFull if turn.precedence == 0 => turn.lose(queue),
                // It has the ring for as long as that gets emptier.
                Place::RingFull if !queue.is_drained() => {}
                _ => self.end_precedence(turn, queue),
            }
            Ok(place)
        });
        if let (Err(_), Some(turn)) = (&found, &mut turn) {
            self.end_precedence(turn, &mut self.lock());
        }
        found
    }

    /// The others may go on.
    fn end_precedence(&self, turn: &mut Turn, queue: &mut Queue) {
        turn.losses = 0;
        if std::mem::take(&mut turn.precedence) != 0 {
            (queue.precedence, queue.is_preceded) = (0, false);
            self.room.open();
        }
    }

    /// Tries `place` until it has found one; the lock under which it did is still held.
    pub(super) fn find_place(
        &self,
        no_wait: bool,
        mut place: impl FnMut(&mut Queue) -> Result<Place>,
    ) -> Result<MutexGuard<'_, Queue>> {
        self.find_in_turn(no_wait, &mut None, |queue, _| place(queue))
    }

    fn find_in_turn(
        &self,
        no_wait: bool,
        turn: &mut Option<Turn>,
        mut place: impl FnMut(&mut Queue, &mut Option<Turn>) -> Result<Place>,
    ) -> Result<MutexGuard<'_, Queue>> {
        loop {
            let mut queue = self.lock();
            self.check_open(&queue).map_err(|error| self.refused(error))?;
            match place(&mut queue, turn)? {
                Place::Here => return Ok(queue),
                full => {
                    let timeout_ns = if no_wait { Some(0) } else { self.config.append_timeout_ns };
                    let turn = turn.get_or_insert_with(|| self.turn(timeout_ns));
                    if no_wait {
                        self.refuse_to_wait(queue, full)?;
                    } else {
                        self.wait_for_room(queue, full, turn)?;
                    }
                }
            }
        }
    }

    /// `lead` is set if this appender writes the frame: too many bytes to be handed on by every append.
    #[inline]
    pub(super) fn give_number(
        &self,
        mut queue: MutexGuard<'_, Queue>,
        asked: Asked,
        lead: &mut Option<Closed>,
    ) -> Accepted<'_> {
        let Asked { need, records, payload, wait } = asked;
        queue.record_bytes += payload;
        queue.batches += u64::from(records > 1);
        let first_seq = queue.next_seq;
        let last_seq = first_seq + records - 1;
        queue.next_seq = last_seq + 1;
        let open = queue.open.as_mut().expect("place left an open frame");
        let claim = open.frame.claim(&self.ring, need);
        let (begun, gate) = (open.first_seq == first_seq, open.gate);
        let calm = !wait && open.is_calm();
        if wait {
            queue.demand_seq = queue.demand_seq.max(last_seq);
        }
        // Under the lock, so that it never runs behind the durable mark.
        self.line.accepted.store(last_seq, std::sync::atomic::Ordering::Release);
        if calm {
            return Accepted { first_seq, last_seq, claim, gate };
        }
        if wait && queue.may_lead() {
            *lead = Some(queue.lead());
            return Accepted { first_seq, last_seq, claim, gate };
        }
        if wait {
            if let Some(open) = &mut queue.open {
                open.waiters += 1;
            }
        }
        if self.config.durability == Durability::Group && queue.batched() >= self.config.batch_records {
            queue.demand_seq = queue.demand_seq.max(last_seq);
            queue.close_open();
        }
        if begun {
            // What the keeper looks at changes only with the end of a frame.
            self.kick_keeper(&mut queue);
        }
        queue.look_how_calm(&self.config);
        self.kick(queue);
        Accepted { first_seq, last_seq, claim, gate }
    }

    fn refuse_to_wait(&self, mut queue: MutexGuard<'_, Queue>, full: Place) -> Result<()> {
        if full == Place::NoSpare {
            queue.keeper.spare_wanted = true;
            if let Some(error) = queue.keeper.spare_failed.clone() {
                self.ask_for_room(queue);
                return Err(self.refused(error));
            }
        }
        self.ask_for_room(queue);
        Err(self.refused(Error::new(Code::Again, "no room for the record now")))
    }

    /// Wakes who can make room.
    fn ask_for_room(&self, queue: MutexGuard<'_, Queue>) {
        self.kick(queue);
        self.chores.open();
    }

    /// Waits until there may be room; an error if there will be none.
    pub(super) fn wait_for_room(&self, mut queue: MutexGuard<'_, Queue>, full: Place, turn: &mut Turn) -> Result<()> {
        // Before the lock is given up: what makes room changes the queue first and opens the gate after.
        let ticket = self.room.ticket();
        if full == Place::NoSpare {
            let failures = queue.keeper.spare_failures;
            if failures > *turn.failures.get_or_insert(failures) {
                if let Some(error) = queue.keeper.spare_failed.clone() {
                    return Err(self.refused(error));
                }
                // A trim has made room since: try once more.
                turn.failures = Some(failures);
            }
            // Taken back by the keeper alone, when it has tried: another waiter may count on it.
            queue.keeper.spare_wanted = true;
        }
        if !turn.counted {
            turn.counted = true;
            let waits = if full == Place::RingFull { &self.counters.ring_waits } else { &self.counters.spare_waits };
            waits.one();
        }
        self.ask_for_room(queue);
        if turn.until_ns.is_some_and(|until_ns| self.clock.now_ns() >= until_ns) {
            return Err(self.refused(Error::new(Code::Timeout, "no room for the record within append_timeout_us")));
        }
        if self.threads == Threads::None {
            self.work_while_waiting(turn.until_ns)?;
        } else {
            self.room.wait(ticket, self.deadline(turn.until_ns));
        }
        Ok(())
    }

    /// Counts an append that is refused, by why.
    #[cold]
    pub(super) fn refused(&self, error: Error) -> Error {
        self.counters.refused(error.code);
        error
    }

    /// Step 4, alone: this thread composes and writes its own frame.
    pub(super) fn lead(&self, closed: Closed) -> Result<()> {
        self.counters.frames_by_appender.one();
        // Others wait for this frame, or for what comes behind it.
        let _unwound = Unwound(self);
        self.write_frame(closed, disk::Durable::Yes, true).map(drop)
    }

    /// Steps 5 to 7 for one frame, by an appender or the writer.  The newest number before its waiters were woken.
    pub(super) fn write_frame(&self, mut closed: Closed, durable: disk::Durable, leader: bool) -> Result<u64> {
        let written = self.compose_and_write(&mut closed, durable);
        match written {
            Ok((says_durable, span)) => {
                self.count_frame(&closed, span);
                let accepted = self.last_seq();
                let durable = durable == disk::Durable::Yes;
                self.complete(closed.order, says_durable, durable, Some(closed.frame), leader, span.ended_ns);
                Ok(accepted)
            }
            Err(error) => {
                // The ring keeps the frame: nothing is written any more.
                self.wake_all();
                Err(error)
            }
        }
    }

    fn count_frame(&self, closed: &Closed, span: Span) {
        let (counters, bytes) = (&self.counters, len_u64(closed.frame.len()));
        counters.frames.one();
        counters.device_bytes.add(bytes);
        counters.histograms.queue_wait_ns.add(span.began_ns.saturating_sub(closed.opened_ns));
        counters.histograms.write_ns.add(span.took_ns());
        counters.histograms.frame_records.add(u64::from(closed.records));
        counters.histograms.frame_bytes.add(bytes);
    }

    fn compose_and_write(&self, closed: &mut Closed, durable: disk::Durable) -> Result<(u64, Span)> {
        closed.frame.wait_filled();
        let (file, says) = {
            let mut composer = self.composer_at(closed.order)?;
            debug_assert_eq!(composer.offset, closed.offset);
            let says = self.durable_now();
            let filled_len = closed.frame.filled_len();
            composer.data(closed.frame.bytes_mut(), filled_len, closed.last_seq, closed.records, says);
            composer.next_order += 1;
            (std::sync::Arc::clone(&composer.file), says)
        };
        self.turn.open();
        let span = self.on_device(durable == disk::Durable::Yes, || {
            file.write_at(closed.frame.bytes(), closed.offset, durable).map_err(|error| {
                Error::os("cannot write a frame", &error).at(closed.segment, closed.offset).about_seq(closed.first_seq)
            })
        })?;
        Ok((says.seq, span))
    }

    /// The composer, when frame `order` is the next.  The one before is only being
    /// filled and composed, so this wait is short.
    pub(super) fn composer_at(&self, order: u64) -> Result<MutexGuard<'_, super::Composer>> {
        loop {
            let ticket = self.turn.ticket();
            let composer = self.composer.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            if composer.next_order == order {
                return Ok(composer);
            }
            drop(composer);
            if let Some(first) = self.latch.first() {
                return Err(Error::poisoned_by(&first));
            }
            self.turn.wait(ticket, None);
        }
    }

    /// What a frame composed now can testify.
    pub(super) fn durable_now(&self) -> Durable {
        let queue = self.lock();
        Durable { seq: queue.durable_seq, end: queue.durable_end }
    }
}

/// Step 3: copies the records into the ring.
fn fill<'a>(claim: &mut Claim<'_>, entries: impl ExactSizeIterator<Item = Entry<'a>>, first_seq: u64) {
    let mut out = claim.bytes();
    let mut left = entries.len();
    for (entry, seq) in entries.zip(first_seq..) {
        left -= 1;
        let header = entry.header(entry.data.len(), seq, left > 0);
        let len = usize_of(len_u64(record_len(entry.data.len())));
        let (record, rest) = out.split_at_mut(len);
        header.encode(entry.data, record);
        out = rest;
    }
}
