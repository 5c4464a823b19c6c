//! The writer: gathers what is there into the next frame, flushes, marks, rolls.
//!
//! [`Queue::next_step`](super::queue::Queue::next_step) decides, this file does.

use std::sync::{Arc, PoisonError};

use super::queue::{Progress, Step};
use super::Commit;
use crate::base::messages::{Level, Message};
use crate::base::options::Durability;
use crate::base::{panics, Code, Error, Result};
use crate::disk::{self, LockByte};
use crate::format::SegmentHeader;
use crate::segment::{SegmentName, State};

impl Commit {
    /// The writer thread.
    pub(super) fn run_writer(&self) {
        let _unwound = Unwound(self);
        loop {
            let ticket = self.work.ticket();
            let wakes_ns = self.pump();
            if self.lock().stopped || self.latch.first().is_some() {
                self.wake_all();
                return;
            }
            self.work.wait(ticket, self.deadline(wakes_ns));
        }
    }

    /// Does all there is to do now; says when to look again.
    pub(super) fn pump(&self) -> Option<u64> {
        loop {
            let mut queue = self.lock();
            queue.kicked = false;
            if self.latch.first().is_some() || queue.stopped {
                queue.writer_busy = false;
                return None;
            }
            let step = queue.next_step(&self.config, self.clock.now_ns());
            queue.writer_busy = !matches!(step, Step::Wait(_) | Step::Stop);
            let done = match step {
                Step::Write(closed, durable) => {
                    // A frame that goes out durably because a mark is wanted is itself the mark.
                    let acknowledges = durable && !queue.mark_wanted;
                    queue.mark_wanted &= !durable;
                    let waiters = closed.waiters;
                    drop(queue);
                    self.counters.frames_by_writer.one();
                    let durable = if durable { disk::Durable::Yes } else { disk::Durable::No };
                    let began_ns = self.clock.now_ns();
                    let written = self.write_frame(closed, durable, false);
                    if let Ok(accepted) = written {
                        self.let_in(waiters, accepted, began_ns);
                    }
                    let mut queue = self.lock();
                    queue.judge_charge(waiters);
                    // In GROUP a closed frame goes out durably too, and says the same.
                    queue.mark_wanted |= acknowledges && self.marks_follow_flushes() && queue.closed.is_empty();
                    written.map(drop)
                }
                Step::Flush => {
                    drop(queue);
                    self.flush()
                }
                Step::Mark => {
                    queue.mark_wanted = false;
                    let (order, offset) = queue.take_off_mark();
                    drop(queue);
                    self.write_mark(order, offset)
                }
                Step::Roll => {
                    drop(queue);
                    self.roll_over()
                }
                Step::Wait(wakes_ns) => {
                    queue.wakes_ns = wakes_ns;
                    self.kick_keeper(&mut queue);
                    return wakes_ns;
                }
                Step::Stop => {
                    queue.stopped = true;
                    drop(queue);
                    self.wake_all();
                    return None;
                }
            };
            if done.is_err() {
                // The latch has it; every waiter has to see that.
                self.lock().writer_busy = false;
                self.wake_all();
                return None;
            }
        }
    }

    /// Gives the `waiters` of the frame that was begun at `began_ns`, and who were just woken, a moment to append:
    /// until the accepted number has risen by as many since it was `accepted`.
    fn let_in(&self, waiters: u32, accepted: u64, began_ns: u64) {
        if self.threads == super::Threads::None {
            return;
        }
        let start_ns = self.clock.now_ns();
        let moment_ns = {
            let mut queue = self.lock();
            let queued = queue.open.as_ref().map_or(0, |open| open.waiters);
            queue.gather.moment_ns(waiters, queued, start_ns - began_ns, start_ns)
        };
        if moment_ns == 0 {
            return;
        }
        let (mut now_ns, mut away_ns) = (start_ns, 0);
        let came = loop {
            let came = self.last_seq() - accepted;
            if came >= u64::from(waiters) || now_ns - start_ns >= moment_ns {
                break came;
            }
            let left_ns = now_ns;
            std::thread::yield_now();
            now_ns = self.clock.now_ns();
            away_ns = away_ns.max(now_ns - left_ns);
        };
        self.lock().gather.learn(came, waiters, away_ns, now_ns);
    }

    /// Makes every written frame durable.
    fn flush(&self) -> Result<()> {
        let (file, index) = {
            let composer = self.composer.lock().unwrap_or_else(PoisonError::into_inner);
            (Arc::clone(&composer.file), composer.header.index)
        };
        // What is written after this line is not claimed to be covered.
        let covered: Option<u64> = {
            let queue = self.lock();
            queue.flying.iter().rfind(|frame| frame.progress == Progress::Written).map(|frame| frame.order)
        };
        self.on_device(true, || {
            file.sync().map_err(|error| Error::os("cannot flush the active segment", &error).in_segment(index))
        })?;
        let mut queue = self.lock();
        for flying in queue.flying.iter_mut().filter(|flying| flying.progress == Progress::Written) {
            if covered.is_some_and(|covered| flying.order <= covered) {
                flying.progress = Progress::Durable;
            }
        }
        queue.mark_wanted |= self.marks_follow_flushes();
        self.settle(queue, false);
        Ok(())
    }

    /// In GROUP and ASYNC a flush acknowledges many frames, and nothing on the device says so until a mark does.
    pub(super) fn marks_follow_flushes(&self) -> bool {
        self.config.durability != Durability::Sync
    }

    fn write_mark(&self, order: u64, offset: u64) -> Result<()> {
        let mut block = self.writer_block.lock().unwrap_or_else(PoisonError::into_inner);
        let (file, index, says) = {
            let mut composer = self.composer_at(order)?;
            debug_assert_eq!(composer.offset, offset);
            let says = self.durable_now();
            composer.mark(&mut block, says);
            composer.next_order += 1;
            (Arc::clone(&composer.file), composer.header.index, says)
        };
        self.turn.open();
        let span = self.on_device(true, || {
            file.write_at(&block, offset, disk::Durable::Yes)
                .map_err(|error| Error::os("cannot write a mark", &error).at(index, offset))
        })?;
        self.counters.marks.one();
        self.counters.device_bytes.add(crate::base::bytes::len_u64(block.len()));
        self.complete(order, says.seq, true, None, false, span.ended_ns);
        Ok(())
    }

    /// From the active segment to the next.  The order, and the crash behind each step:
    ///   1. Everything in the old segment is durable, then its seal.
    ///   2. The new header, which names the seal, is durable.
    ///   3. The new name is durable.  No record of the new segment was written before.
    ///   4. The keeper renames the old file; until then two files are named active,
    ///      which is legal because the younger names the older one's seal.
    fn roll_over(&self) -> Result<()> {
        if self.lock().is_dirty() {
            self.flush()?;
        }
        let spare = self.lock().planned.pop_front().expect("the tail moved on to a spare");
        // One thread does the writer's work and no appender may lead while a roll is planned: the composer is still.
        let mut block = self.writer_block.lock().unwrap_or_else(PoisonError::into_inner);
        let (old, sealed) = {
            let composer = self.composer.lock().unwrap_or_else(PoisonError::into_inner);
            (composer.header, composer.sealed)
        };
        if !sealed {
            self.write_seal(&mut block)?;
        }
        let (seal_offset, chain) = {
            let composer = self.composer.lock().unwrap_or_else(PoisonError::into_inner);
            (composer.offset - u64::from(old.block_size), composer.chain)
        };
        let name = SegmentName { index: old.index + 1, first_seq: chain.last_seq + 1, state: State::Active };
        let header = SegmentHeader {
            index: name.index,
            created_ns: self.clock.wall_ns(),
            segment_size: self.config.segment_size,
            first_seq: name.first_seq,
            salt: spare.salt,
            keeps_holds: old.keeps_holds || self.directory.keeps_holds(),
            generation: 0,
            before: chain,
            before_offset: seal_offset,
            ..old
        };
        block.fill(0);
        header.encode(&mut block);
        self.latch.run(|| {
            spare
                .file
                .write_at(&block, 0, disk::Durable::Yes)
                .map_err(|error| Error::os("cannot write the segment header", &error).in_segment(name.index))?;
            // At most two files are named active: the one before the old must be renamed by now.
            let unsealed = self.lock().keeper.to_seal.take();
            if let Some(index) = unsealed {
                self.directory.seal(index)?;
            }
            self.directory.publish(&spare, name)
        })?;
        // A recycled file was kept from readers until it was a segment again.
        self.latch.run(|| spare.file.unlock(LockByte::Reader).map_err(|error| Error::os("cannot unlock", &error)))?;
        self.counters.segments_created.one();
        self.counters.segments_sealed.one();
        {
            let mut composer = self.composer.lock().unwrap_or_else(PoisonError::into_inner);
            composer.file = spare.file;
            composer.header = header;
            composer.offset = u64::from(header.block_size);
            composer.records = 0;
            composer.frames = 0;
            composer.sealed = false;
        }
        // Made before the lock is taken, which appends wait for.
        let rolled = self.config.messages.is_listened().then(|| {
            Message::new(Level::Info, "rollover", "a segment is sealed, and the next one is written")
                .with("segment", name.index)
                .with("first_seq", name.first_seq)
        });
        let mut queue = self.lock();
        queue.active_segment = name.index;
        queue.durable_end = queue.block;
        self.reach.set(queue.reach());
        queue.witnessed_seq = queue.durable_seq;
        // The keeper renames it after the frame that waits for this roll: both want the device, and who waits comes first.
        queue.keeper.to_seal = Some(old.index);
        // Under the lock: a roll that sees the new segment returns when this is noted.
        if let Some(rolled) = rolled {
            self.say(Level::Info, || rolled);
        }
        drop(queue);
        self.advanced.open();
        Ok(())
    }

    fn write_seal(&self, block: &mut [u8]) -> Result<()> {
        let says = self.durable_now();
        let (file, index, offset) = {
            let mut composer = self.composer.lock().unwrap_or_else(PoisonError::into_inner);
            let offset = composer.offset;
            composer.seal(block, says);
            (Arc::clone(&composer.file), composer.header.index, offset)
        };
        self.on_device(true, || {
            file.write_at(block, offset, disk::Durable::Yes)
                .map_err(|error| Error::os("cannot write the seal", &error).at(index, offset))
        })?;
        self.counters.frames.one();
        self.counters.device_bytes.add(crate::base::bytes::len_u64(block.len()));
        Ok(())
    }

    /// The end of an open: a durable mark of the new epoch, or where only a seal
    /// fits, that.  It overwrites what was cut and witnesses what is reported.
    pub(super) fn write_first_frame(&self) -> Result<()> {
        let mut block = self.writer_block.lock().unwrap_or_else(PoisonError::into_inner);
        let (size, offset, sealed) = {
            let composer = self.composer.lock().unwrap_or_else(PoisonError::into_inner);
            (composer.header.segment_size, composer.offset, composer.sealed)
        };
        let block_len = crate::base::bytes::len_u64(block.len());
        if sealed || offset + block_len > size {
            return Ok(());
        }
        if offset + 2 * block_len > size {
            self.write_seal(&mut block)?;
            let mut queue = self.lock();
            queue.tail.offset = size;
            // Nothing is left to zero: a hole that a sparse copy made here is the seal now.
            queue.tail.ready_end = size;
            queue.keeper.zeroing = None;
            return Ok(());
        }
        let (order, offset) = self.lock().take_off_mark();
        drop(block);
        self.write_mark(order, offset)
    }
}

/// Poisons the log when a thread unwinds that others wait for, so that nobody waits for ever.
pub(super) struct Unwound<'commit>(pub(super) &'commit Commit);

impl Drop for Unwound<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let said = panics::noted().unwrap_or_else(|| "its last words are lost".to_owned());
            self.0.poison_by(Error::new(Code::Panic, format!("a thread of the log panicked: {said}")));
        }
    }
}
