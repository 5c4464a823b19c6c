//! twal's own files where threads meet without a lock, compiled with loom's
//! atomics in the place of the machine's: each test below runs in every order of
//! memory accesses that the language allows, and fails on a lost wake-up (loom
//! sees a deadlock), on bytes read before they were published (loom's cells
//! complain) and on a wrong answer.
//!
//! The kernel's part, futex(2), is written here as it is documented: compare and
//! sleep as one step.
#![cfg(test)]
// Of the library's files, what is modelled does not use all.
#![allow(dead_code)]

mod base;
#[path = "../../src/ffi/callers.rs"]
mod callers;
#[path = "../../src/disk/latch.rs"]
mod latch;
mod mem;
mod poison;

use loom::cell::UnsafeCell;
use loom::sync::atomic::{AtomicU64, Ordering};
use loom::sync::{Arc, Mutex};
use loom::thread;

use callers::{Callers, Inside};
use mem::ring::{Claim, ClosedFrame, Ring, Space};
use mem::slot::Slot;
use mem::waiting::Waiting;
use mem::Gate;

/// Every order with at most three switches that no thread asked for: more finds hardly more, and takes hours.
fn model(run: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(run);
}

/// The durable mark and who waits for it: the mark is raised, then the gate is
/// opened; a waiter takes a ticket, then looks, then sleeps.
struct Watermark {
    durable: AtomicU64,
    advanced: Gate,
    /// What became durable: read by whoever sees the mark.
    bytes: UnsafeCell<u64>,
}

// SAFETY: `bytes` is written before the mark is raised and read after it was seen; loom checks just that.
unsafe impl Sync for Watermark {}

impl Watermark {
    fn raise(&self, seq: u64) {
        // SAFETY: nobody reads before the mark is raised; loom complains otherwise.
        self.bytes.with_mut(|bytes| unsafe { *bytes = seq });
        self.durable.store(seq, Ordering::Release);
        self.advanced.open();
    }

    fn wait(&self, seq: u64) {
        loop {
            let ticket = self.advanced.ticket();
            if self.durable.load(Ordering::Acquire) >= seq {
                // SAFETY: the mark was seen; loom complains otherwise.
                self.bytes.with(|bytes| assert_eq!(unsafe { *bytes }, seq));
                return;
            }
            self.advanced.wait(ticket, None);
        }
    }
}

#[test]
fn nobody_sleeps_through_a_risen_mark() {
    model(|| {
        let mark =
            Arc::new(Watermark { durable: AtomicU64::new(0), advanced: Gate::default(), bytes: UnsafeCell::new(0) });
        let waiters: Vec<_> = (0..2)
            .map(|_| {
                let mark = Arc::clone(&mark);
                thread::spawn(move || mark.wait(1))
            })
            .collect();
        mark.raise(1);
        for waiter in waiters {
            waiter.join().unwrap();
        }
    });
}

/// A failure that nobody's wait misses: the latch is set, then every gate is opened.
#[test]
fn a_failure_reaches_who_waits_for_something_else() {
    model(|| {
        let mark =
            Arc::new(Watermark { durable: AtomicU64::new(0), advanced: Gate::default(), bytes: UnsafeCell::new(0) });
        let failed = Arc::new(AtomicU64::new(0));
        let waiter = {
            let (mark, failed) = (Arc::clone(&mark), Arc::clone(&failed));
            thread::spawn(move || loop {
                let ticket = mark.advanced.ticket();
                if mark.durable.load(Ordering::Acquire) >= 2 {
                    return false;
                }
                if failed.load(Ordering::Acquire) == 1 {
                    return true;
                }
                mark.advanced.wait(ticket, None);
            })
        };
        mark.raise(1);
        failed.store(1, Ordering::Release);
        mark.advanced.open();
        assert!(waiter.join().unwrap(), "the failure was not seen");
    });
}

struct Frame {
    slot: Slot,
    bytes: [UnsafeCell<u32>; 2],
}

// SAFETY: each cell is written by one filler before it publishes, and read after all have; loom checks just that.
unsafe impl Sync for Frame {}

#[test]
fn a_frame_is_whole_when_its_claims_are_published() {
    model(|| {
        let frame = Arc::new(Frame { slot: Slot::default(), bytes: [UnsafeCell::new(0), UnsafeCell::new(0)] });
        frame.slot.begin();
        let fillers: Vec<_> = (0..2)
            .map(|index| {
                let frame = Arc::clone(&frame);
                thread::spawn(move || {
                    // SAFETY: this filler's own; loom complains if it is read before it is published.
                    frame.bytes[index].with_mut(|byte| unsafe { *byte = 7 });
                    frame.slot.publish();
                })
            })
            .collect();
        frame.slot.wait_filled(2);
        for byte in &frame.bytes {
            // SAFETY: all claims are published; loom complains otherwise.
            byte.with(|byte| assert_eq!(unsafe { *byte }, 7));
        }
        for filler in fillers {
            filler.join().unwrap();
        }
    });
}

/// The slot of a frame that was freed serves the next one.
#[test]
fn a_slot_serves_one_frame_after_the_other() {
    model(|| {
        let frame = Arc::new(Frame { slot: Slot::default(), bytes: [UnsafeCell::new(0), UnsafeCell::new(0)] });
        for round in 1..=2 {
            frame.slot.begin();
            let filler = {
                let frame = Arc::clone(&frame);
                thread::spawn(move || {
                    // SAFETY: as above.
                    frame.bytes[0].with_mut(|byte| unsafe { *byte = round });
                    frame.slot.publish();
                })
            };
            frame.slot.wait_filled(1);
            // SAFETY: as above.
            frame.bytes[0].with(|byte| assert_eq!(unsafe { *byte }, round));
            filler.join().unwrap();
        }
    });
}

/// A log as far as registrations concern it: the mark is raised under the queue's lock.
struct Registered {
    queue: Mutex<()>,
    durable: AtomicU64,
    waiting: Waiting<()>,
}

impl Registered {
    fn raise(&self, seq: u64) {
        let queue = self.queue.lock().unwrap();
        self.durable.store(seq, Ordering::Release);
        drop(queue);
        self.waiting.raised(seq);
    }

    fn register(&self, seq: u64) {
        self.waiting.add(seq, ()).unwrap();
        // Without this line the model finds both looking too early.
        drop(self.queue.lock().unwrap());
        if self.durable.load(Ordering::Acquire) >= seq {
            self.waiting.wake();
        }
    }

    /// What `twal-notify` does, until `count` were answered.
    fn answer(&self, mut count: u32) {
        loop {
            let ticket = self.waiting.ticket();
            let durable = |seq| self.durable.load(Ordering::Acquire) >= seq;
            while self.waiting.take(|seq, _| durable(seq).then_some(())).is_some() {
                count -= 1;
            }
            if count == 0 {
                return;
            }
            self.waiting.sleep(ticket);
        }
    }
}

/// Who registers beside a rise is told: by the one that raises, or because he saw it himself.
#[test]
fn a_registration_beside_a_rise_is_answered() {
    model(|| {
        let log =
            Arc::new(Registered { queue: Mutex::new(()), durable: AtomicU64::new(0), waiting: Waiting::default() });
        let notify = {
            let log = Arc::clone(&log);
            thread::spawn(move || log.answer(1))
        };
        let raiser = {
            let log = Arc::clone(&log);
            thread::spawn(move || log.raise(1))
        };
        log.register(1);
        raiser.join().unwrap();
        notify.join().unwrap();
    });
}

loom::lazy_static! {
    /// `callers.rs`' gate for the whole process.
    static ref LEFT: Gate = Gate::default();
}

/// A handle: what callers use, and the closer frees.
#[derive(Default)]
struct Handle {
    callers: Callers,
    freed: UnsafeCell<bool>,
}

// SAFETY: `freed` is read inside and written when all are out; loom checks just that.
unsafe impl Sync for Handle {}

/// Who is inside when a close begins is let out first; who comes later touches nothing.
#[test]
fn a_handle_is_freed_when_all_callers_are_out() {
    model(|| {
        let handle = Arc::new(Handle::default());
        let callers: Vec<_> = (0..2)
            .map(|_| {
                let handle = Arc::clone(&handle);
                thread::spawn(move || {
                    // SAFETY: the handle is alive as long as this thread.
                    let inside = unsafe { Inside::enter(&raw const handle.callers) };
                    if !inside.is_closing() {
                        // SAFETY: not closing when we came in; loom complains if it is freed all the same.
                        handle.freed.with(|freed| assert!(!unsafe { *freed }));
                    }
                    inside.finish();
                })
            })
            .collect();
        assert!(handle.callers.start_closing());
        handle.callers.wait_until_out();
        // SAFETY: all are out; loom complains otherwise.
        handle.freed.with_mut(|freed| unsafe { *freed = true });
        for caller in callers {
            caller.join().unwrap();
        }
    });
}

const BLOCK: usize = 512;
const CLAIM: usize = 8;

/// The ring as the commit path uses it: `Space` under a lock, claims filled and
/// frames read outside of it.  One block: each frame lies where the last one lay.
struct Shared {
    ring: std::sync::Arc<Ring>,
    space: Mutex<Space>,
    /// Stand for the claims' bytes, which loom does not see.
    claims: [UnsafeCell<u8>; 2],
    room: Gate,
}

// SAFETY: a cell is touched by whoever has the bytes that it stands for; loom checks just that.
unsafe impl Sync for Shared {}

impl Shared {
    fn new() -> Arc<Shared> {
        let (ring, space) = Ring::new(BLOCK, BLOCK).unwrap();
        let claims = [UnsafeCell::new(0), UnsafeCell::new(0)];
        Arc::new(Shared { ring, space: Mutex::new(space), claims, room: Gate::default() })
    }

    /// Waits for room, as an append does; the new frame, and its two claims.
    fn open(&self) -> (ClosedFrame, [Claim<'_>; 2]) {
        loop {
            let ticket = self.room.ticket();
            let mut space = self.space.lock().unwrap();
            if let Some(mut open) = space.open(BLOCK, BLOCK).unwrap() {
                let claims = [open.claim(&self.ring, CLAIM), open.claim(&self.ring, CLAIM)];
                return (space.close(open), claims);
            }
            drop(space);
            self.room.wait(ticket, None);
        }
    }

    fn fill(&self, index: usize, mut claim: Claim<'_>, byte: u8) {
        claim.bytes().fill(byte);
        // SAFETY: the claim is ours until it is dropped; loom complains otherwise.
        self.claims[index].with_mut(|seen| unsafe { *seen = byte });
    }

    /// Reads a frame when it is filled, and gives its place back.
    fn write(&self, mut frame: ClosedFrame, byte: u8) {
        frame.wait_filled();
        assert_eq!(frame.bytes_mut()[..2 * CLAIM], [byte; 2 * CLAIM]);
        for claim in &self.claims {
            // SAFETY: all claims are published; loom complains otherwise.
            claim.with(|seen| assert_eq!(unsafe { *seen }, byte));
        }
        self.space.lock().unwrap().free(frame);
        self.room.open();
    }
}

/// A frame of the ring is read when both that fill it are done.
#[test]
fn a_frame_of_the_ring_is_read_whole() {
    model(|| {
        let shared = Shared::new();
        let (frame, claims) = shared.open();
        let fillers: Vec<_> = claims
            .into_iter()
            .enumerate()
            .map(|(index, claim)| {
                // SAFETY: the claim borrows the ring, which `holder` keeps for as long.
                let claim: Claim<'static> = unsafe { std::mem::transmute(claim) };
                let holder = Arc::clone(&shared);
                thread::spawn(move || holder.fill(index, claim, 7))
            })
            .collect();
        shared.write(frame, 7);
        for filler in fillers {
            filler.join().unwrap();
        }
    });
}

/// Two frames at one place: who waits for room gets it when the first was read, and not before.
#[test]
fn a_place_in_the_ring_is_filled_again_when_it_was_read() {
    model(|| {
        let shared = Shared::new();
        let (frame, claims) = shared.open();
        for (index, claim) in claims.into_iter().enumerate() {
            shared.fill(index, claim, 1);
        }
        let writer = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || shared.write(frame, 1))
        };
        let (frame, claims) = shared.open();
        for (index, claim) in claims.into_iter().enumerate() {
            shared.fill(index, claim, 2);
        }
        shared.write(frame, 2);
        writer.join().unwrap();
    });
}
