//! Layer 5: group commit.  The way of one append:
//!
//!   1. `append.rs`: arguments are checked.
//!   2. Under the queue's lock, for a few dozen instructions: a place in the ring
//!      and on disk, then the number.  No place: wait, refuse or time out.
//!   3. Outside any lock: header, payload and checksums are copied into the ring;
//!      dropping the claim publishes them.
//!   4. The appender is alone and wants durability: it takes its frame and writes
//!      it itself, one system call.  Two may do so at once.  Otherwise the writer
//!      thread (`writer.rs`) gathers what is there while a frame is in flight; the
//!      device sets the pace.
//!   5. `composer.rs` gives the frame its header, in order.
//!   6. The frame is written, durable by itself if nothing before it is
//!      unflushed, else a flush follows.
//!   7. `complete`: the durable mark rises over the frames that are durable
//!      without a gap, their waiters wake.
//!   8. Rollover is the writer's; zeroing, spares and renames are the keeper's
//!      (`keeper.rs`), beside this path.
//!
//! A failed write or flush trips the latch: nothing is written after it, every
//! waiter gets the error, the durable mark stays where it is.
//!
//! With [`Threads::None`] no thread is started: whoever waits does the writer's
//! and keeper's work meanwhile.  A simulation is deterministic that way.
#![forbid(unsafe_code)]

mod append;
mod asked;
mod composer;
mod device;
mod gather;
mod keeper;
mod limit;
mod notify;
mod queue;
mod reserve;
mod start;
mod writer;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use crate::base::clock::Clock;
use crate::base::counters::Counters;
use crate::base::options::Config;
use crate::base::{Code, Error, Result};
use crate::disk::latch::Latch;
use crate::mem::ring::{ClosedFrame, Ring};
use crate::mem::{AlignedBuf, Gate};
use crate::read::{Published, Reach};
use crate::segment::Directory;

pub use append::{Beyond, Entry, How, Turn};
pub use asked::Asked;
use composer::Composer;
use device::Busy;
pub use limit::Hint;
use limit::Hints;
use notify::Notify;
pub use notify::{Done, EVENTFDS_MAX};
pub use queue::{Counted, Depth};
use queue::{Flying, Progress, Queue, GATES};
pub use reserve::Reservation;
pub use start::Continue;

/// Who does the writer's and the keeper's work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Threads {
    /// A thread each.
    Own,
    /// Whoever waits; and `Commit::tick`.
    None,
}

/// The commit path of one open log.
pub struct Commit {
    config: Config,
    clock: Clock,
    directory: Arc<Directory>,
    counters: Arc<Counters>,
    threads: Threads,
    ring: Arc<Ring>,
    running: Mutex<Vec<JoinHandle<()>>>,
    line: Line,
    composer: Mutex<Composer>,
    /// One block, for marks and seals; held by whoever does the writer's work.
    writer_block: Mutex<AlignedBuf>,
    /// Trips on the first failed write or flush.
    latch: Latch,
    /// For how long the device was.
    busy: Busy,
    /// Highest durable number: the release publishes the frames' bytes on disk to
    /// readers in this process, who load it with acquire.  Written under the queue's lock.
    durable: AtomicU64,
    /// The same as a place in the files, never behind that number.  Written under the queue's lock.
    reach: Arc<Published>,
    /// Waiters of frames, by the frame's gate.
    gates: Box<[Gate]>,
    /// Opened when ring, segment or spare may have room.
    room: Gate,
    /// Opened when the durable mark rises or the active segment changes.
    advanced: Gate,
    /// Opened at the end only, for whoever lets some time pass.
    resting: Gate,
    /// Opened when a frame was composed: the next in order may be.
    turn: Gate,
    /// Opened to wake the writer and the keeper.
    work: Gate,
    chores: Gate,
    /// Whoever is told without waiting.
    notify: Notify,
    /// Whoever is told that the log grows too large.
    hints: Hints,
    asked: Arc<Asked>,
}

/// What every append changes, from the start of a cache line on: two producers hand these from one CPU to the other.
#[repr(C, align(64))]
struct Line {
    /// Highest accepted number.  Written under the queue's lock.
    accepted: AtomicU64,
    queue: Mutex<Queue>,
}

impl Commit {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        // A panic under this lock trips nothing by itself, but the C door turns it into TWAL_E_PANIC and the
        // queue's invariants are checked where they matter (Space asserts them).
        self.line.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The directory of the log.
    pub fn directory(&self) -> &Arc<Directory> {
        &self.directory
    }

    /// What is to be released.
    pub fn asked(&self) -> &Arc<Asked> {
        &self.asked
    }

    /// Config with the log's own values.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The clock that everything here is timed by.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Highest number whose record, and every one before it, is durable.
    pub fn durable_seq(&self) -> u64 {
        self.durable.load(Ordering::Acquire)
    }

    /// Up to where the files are durable: at least all of [`Commit::durable_seq`], if that was asked before.
    pub fn reach(&self) -> &Arc<Published> {
        &self.reach
    }

    /// Highest number given.
    pub fn last_seq(&self) -> u64 {
        self.line.accepted.load(Ordering::Acquire)
    }

    /// What poisoned the log.
    pub fn poison(&self) -> Option<Error> {
        self.latch.first()
    }

    /// Poisons the log for a failure found elsewhere (a caught panic), and answers every waiter.
    pub fn poison_by(&self, error: Error) {
        self.latch.trip(error);
        self.wake_all();
    }

    /// What was accepted since open, and what of it is on its way.
    pub fn counted(&self) -> (Counted, Depth) {
        let queue = self.lock();
        (queue.counted(), queue.depth())
    }

    /// For how long the device was busy with records, nanoseconds.
    pub fn busy_ns(&self) -> u64 {
        self.busy.total_ns(|| self.clock.now_ns())
    }

    fn wake_all(&self) {
        for gate in &self.gates {
            gate.open();
        }
        for gate in [&self.room, &self.advanced, &self.resting, &self.turn, &self.work, &self.chores] {
            gate.open();
        }
        if self.latch.first().is_some() {
            self.tell_poison();
        }
    }

    /// A frame's write came back: `durable` by itself, or only written.
    fn complete(
        &self,
        order: u64,
        says_durable: u64,
        durable: bool,
        frame: Option<ClosedFrame>,
        leader: bool,
        now_ns: u64,
    ) {
        let mut queue = self.lock();
        let front = queue.flying.front().map_or(0, |front| front.order);
        let at = crate::base::bytes::usize_of(order - front);
        let flying = &mut queue.flying[at];
        debug_assert_eq!(flying.order, order);
        flying.progress = if durable { Progress::Durable } else { Progress::Written };
        flying.says_durable = says_durable;
        flying.frame = frame;
        // A leader whose elder is still in flight waits for it: it is this frame's waiter from here on.
        flying.waiters += u32::from(leader && at > 0);
        if durable {
            // A witness by itself, whatever becomes of the frames before it.
            queue.witnessed_seq = queue.witnessed_seq.max(says_durable);
        }
        queue.last_frame_ns = now_ns;
        if leader {
            queue.leaders -= 1;
            queue.mark_wanted |= self.marks_follow_flushes();
            // Who leads is in a hurry until here; with nobody but leaders at work nobody else tells the keeper.
            self.kick_keeper(&mut queue);
        }
        self.settle(queue, leader);
    }

    /// Gives written frames back to the ring, raises the durable mark, wakes who waited.
    fn settle(&self, mut guard: MutexGuard<'_, Queue>, leader: bool) {
        let queue = &mut *guard;
        let mut freed = false;
        for flying in queue.flying.iter_mut().take_while(|flying| flying.progress != Progress::InFlight) {
            if let Some(frame) = flying.frame.take() {
                queue.space.free(frame);
                freed = true;
            }
        }
        let durable_before = queue.durable_seq;
        let mut woken: [bool; GATES] = [false; GATES];
        let mut advanced = false;
        while queue.flying.front().is_some_and(|front| front.progress == Progress::Durable) {
            let Some(front) = queue.flying.pop_front() else { break };
            self.retire(queue, &front);
            woken[front.gate] |= front.waiters > 0;
            advanced = true;
        }
        let risen = queue.durable_seq > durable_before;
        let kick = leader && queue.wants_writer(&self.config);
        if kick {
            queue.kicked = true;
        }
        drop(guard);
        for (gate, woken) in self.gates.iter().zip(woken) {
            if woken {
                gate.open();
            }
        }
        if freed {
            self.room.open();
        }
        if advanced {
            self.advanced.open();
        }
        if kick {
            self.work.open();
        }
        if risen {
            self.notify.risen(self.durable_seq());
        }
    }

    /// The oldest frame is durable: so is everything up to it.
    fn retire(&self, queue: &mut Queue, frame: &Flying) {
        queue.durable_seq = queue.durable_seq.max(frame.last_seq);
        if frame.segment == queue.active_segment {
            queue.durable_end = frame.end_offset;
            self.reach.set(queue.reach());
        }
        queue.witnessed_seq = queue.witnessed_seq.max(frame.says_durable);
        self.durable.store(queue.durable_seq, Ordering::Release);
    }

    /// Waits until `seq` is durable.  Ok if it is, even when the log is poisoned.
    /// `gate` is the gate of its frame where the caller knows it.
    fn wait_durable(&self, seq: u64, gate: Option<usize>, until_ns: Option<u64>) -> Result<()> {
        let gate = gate.map_or(&self.advanced, |gate| &self.gates[gate]);
        self.wait_until(gate, until_ns, || {
            if self.durable_seq() >= seq {
                return Some(Ok(()));
            }
            self.latch.first().map(|first| Err(first.about_seq(seq)))
        })
    }

    /// Looks with `done` whenever `gate` opens.  Without threads the caller does the work meanwhile.
    fn wait_until<T>(
        &self,
        gate: &Gate,
        until_ns: Option<u64>,
        mut done: impl FnMut() -> Option<Result<T>>,
    ) -> Result<T> {
        loop {
            let ticket = gate.ticket();
            if let Some(result) = done() {
                return result;
            }
            if until_ns.is_some_and(|until_ns| self.clock.now_ns() >= until_ns) {
                return Err(Error::new(Code::Timeout, "the time given for waiting is over"));
            }
            if self.threads == Threads::None {
                self.work_while_waiting(until_ns)?;
            } else {
                gate.wait(ticket, until_ns.and_then(|until_ns| self.clock.instant(until_ns)));
            }
        }
    }

    /// Without threads: what writer and keeper would do now; if that is nothing, lets time pass.
    fn work_while_waiting(&self, until_ns: Option<u64>) -> Result<()> {
        let kept = self.keep_once();
        let wakes_ns = self.pump();
        self.answer_all();
        let next_ns = [wakes_ns, until_ns].into_iter().flatten().min();
        let now_ns = self.clock.now_ns();
        match next_ns {
            Some(next_ns) if next_ns > now_ns && !kept => {
                self.clock.pass(std::time::Duration::from_nanos(next_ns - now_ns));
            }
            _ => {}
        }
        Ok(())
    }

    fn deadline(&self, until_ns: Option<u64>) -> Option<Instant> {
        until_ns.and_then(|until_ns| self.clock.instant(until_ns))
    }

    /// Makes everything up to `seq` durable (0: all accepted by now).
    pub fn sync(&self, seq: u64) -> Result<()> {
        let seq = self.seq_to_sync(seq)?;
        if self.durable_seq() >= seq {
            return Ok(());
        }
        self.counters.durable_waits.one();
        if let Some(closed) = self.demand(seq) {
            self.lead(closed)?;
        }
        self.wait_durable(seq, None, None)
    }

    /// What is asked for by `seq`: itself, or for 0 all that is accepted.
    fn seq_to_sync(&self, seq: u64) -> Result<u64> {
        let last_seq = self.last_seq();
        if seq > last_seq {
            let text = format!("record {seq} was not accepted yet, the last is {last_seq}");
            return Err(Error::new(Code::Inval, text).about_seq(seq));
        }
        if let Some(first) = self.latch.first() {
            return Err(Error::poisoned_by(&first).about_seq(seq));
        }
        Ok(if seq == 0 { last_seq } else { seq })
    }

    /// Everything up to `seq` is to become durable as soon as can be: by the
    /// frame that is returned, which the caller has to lead, or by the writer.
    fn demand(&self, seq: u64) -> Option<queue::Closed> {
        let mut queue = self.lock();
        queue.demand_seq = queue.demand_seq.max(seq);
        if queue.may_lead() && queue.open.as_ref().is_some_and(|open| open.first_seq <= seq) {
            return Some(queue.lead());
        }
        self.kick(queue);
        None
    }

    /// Wakes the writer if it has something to do that it does not know of.
    fn kick(&self, mut queue: MutexGuard<'_, Queue>) {
        if queue.wants_writer(&self.config) && (queue.leaders == 0 || queue.in_charge) {
            queue.kicked = true;
            drop(queue);
            self.work.open();
        }
    }

    /// Waits until `seq` is durable without asking for a flush.  `timeout_ns` None: for ever.
    pub fn wait(&self, seq: u64, timeout_ns: Option<u64>) -> Result<()> {
        let seq = if seq == 0 { self.last_seq() } else { seq };
        self.wait_beyond(seq, None, timeout_ns)
    }

    /// The same, or until the files are durable beyond `reach`: by a new segment, too, which no number tells of.
    pub fn wait_beyond(&self, seq: u64, reach: Option<Reach>, timeout_ns: Option<u64>) -> Result<()> {
        let there = || self.durable_seq() >= seq || reach.is_some_and(|reach| self.reach.get() > reach);
        if there() {
            return Ok(());
        }
        if let Some(first) = self.latch.first() {
            return Err(Error::poisoned_by(&first).about_seq(seq));
        }
        let until_ns = timeout_ns.map(|timeout_ns| self.clock.now_ns().saturating_add(timeout_ns));
        self.wait_until(&self.advanced, until_ns, || {
            if there() {
                return Some(Ok(()));
            }
            if let Some(first) = self.latch.first() {
                return Some(Err(first.about_seq(seq)));
            }
            let gone = {
                let queue = self.lock();
                queue.stopped || (queue.closing && seq >= queue.next_seq)
            };
            gone.then(|| Err(Error::new(Code::Closed, "the log was closed")))
        })
    }

    /// Lets time pass until `wake_ns`, or until there is nothing to wait for any more.
    pub fn rest(&self, wake_ns: u64) {
        // Without threads nothing happens while nobody works.
        if let Some(deadline) = self.clock.instant(wake_ns).filter(|_| self.threads == Threads::Own) {
            self.resting.wait(self.resting.ticket(), Some(deadline));
        }
    }

    /// Begins no new segment unless the active one has records.  Returns when the old one is sealed.
    pub fn roll(&self) -> Result<()> {
        self.roll_if(|queue| queue.tail_records() > 0)
    }

    /// Begins a new segment, for what its header says.
    fn roll_anyway(&self) -> Result<()> {
        self.roll_if(|_| true)
    }

    fn roll_if(&self, wanted: impl Fn(&Queue) -> bool) -> Result<()> {
        let mut turn = append::Turn::new(None);
        let target = loop {
            let mut queue = self.lock();
            self.check_open(&queue)?;
            if !wanted(&queue) {
                // An append that then found no room may have moved the tail on, and nobody else rolls for it.
                let target = queue.tail.segment;
                queue.roll_target = queue.roll_target.max(target);
                self.kick(queue);
                break target;
            }
            queue.close_open();
            match queue.ready.pop_front() {
                Some(spare) => {
                    queue.plan_roll(spare, self.config.segment_size);
                    queue.roll_target = queue.tail.segment;
                    let target = queue.tail.segment;
                    self.kick(queue);
                    break target;
                }
                None => self.wait_for_room(queue, queue::Place::NoSpare, &mut turn)?,
            }
        };
        self.wait_until(&self.advanced, None, || {
            if self.lock().active_segment >= target {
                return Some(Ok(()));
            }
            self.latch.first().map(Err)
        })?;
        // The keeper would do it soon; whoever asked for the roll sees it done.
        self.latch.run(|| self.directory.seal(target - 1)).inspect_err(|_| self.wake_all())
    }

    #[inline]
    fn check_open(&self, queue: &Queue) -> Result<()> {
        if queue.closing || self.latch.is_tripped() {
            return Err(self.refusal(queue));
        }
        Ok(())
    }

    #[cold]
    fn refusal(&self, queue: &Queue) -> Error {
        match self.latch.first() {
            Some(first) if !queue.closing => Error::poisoned_by(&first),
            _ => Error::new(Code::Closed, "the log is closed or closing"),
        }
    }

    /// Without threads: does what is due at this time.
    pub fn tick(&self) {
        while self.keep_once() {}
        self.pump();
        self.answer_all();
    }

    /// Everything durable, a mark at the end, writer and keeper done.  Waiters
    /// for room are refused with Closed.  Returns the failure that poisoned the
    /// log, if one did.
    pub fn close(&self) -> Result<()> {
        {
            let mut queue = self.lock();
            queue.closing = true;
            queue.keeper.stop = true;
            queue.demand_seq = queue.next_seq - 1;
            queue.kicked = true;
        }
        self.room.open();
        self.work.open();
        self.chores.open();
        let result = self.wait_until(&self.advanced, None, || {
            if self.lock().stopped {
                return Some(Ok(()));
            }
            self.latch.first().map(|first| Err(Error::poisoned_by(&first)))
        });
        self.wake_all();
        let running = std::mem::take(&mut *self.running.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in running {
            // A thread that panicked has poisoned the log by `Unwound`; there is nothing to add.
            let _ = thread.join();
        }
        if self.threads == Threads::None {
            while self.keep_once() {}
        }
        self.end_notify();
        let released = self.release();
        self.notify.signal();
        result.and(released)
    }

    /// In a forked child: the ring's pages are copies that nobody needs.
    pub fn abandon_in_child(&self) {
        self.ring.abandon();
    }

    /// Gives every file and lock back.  Nothing is written any more.
    fn release(&self) -> Result<()> {
        // First: a trim that is still waiting for the holds must not change names that are another writer's.
        self.directory.end_changes();
        let mut queue = self.lock();
        queue.ready.clear();
        queue.planned.clear();
        queue.keeper.reserve = None;
        queue.keeper.zeroing = None;
        drop(queue);
        let composer = self.composer.lock().unwrap_or_else(PoisonError::into_inner);
        let unlocked = composer
            .file
            .unlock(crate::disk::LockByte::Writer)
            .map_err(|error| Error::os("cannot unlock the active segment", &error));
        self.directory.unlock().and(unlocked)
    }
}
