//! Poison: after the first failed write or flush nobody is told OK, nothing later runs, and everybody is answered.

use loom::sync::atomic::{AtomicU64, Ordering};
use loom::sync::{Arc, Mutex};
use loom::thread;

use super::latch::Latch;
use super::mem::Gate;
use super::model;
use crate::base::{Code, Error, Result};

/// The commit path as far as a failure concerns it (`commit/mod.rs`): two frames, acknowledged in order.
#[derive(Default)]
struct Log {
    latch: Latch,
    /// Which frames are durable.
    queue: Mutex<[bool; 2]>,
    durable: AtomicU64,
    advanced: Gate,
}

impl Log {
    /// `write_frame`: the frame with record `seq` goes out, or fails.
    fn write(&self, seq: usize, fails: bool) -> Result<()> {
        let written = self.latch.run(|| {
            if fails {
                return Err(Error::new(Code::NoSpc, "the device failed"));
            }
            Ok(())
        });
        if written.is_ok() {
            self.complete(seq);
        } else {
            self.advanced.open();
        }
        written
    }

    /// `complete`, `settle`, `retire`: the mark rises over the frames that are durable without a gap.
    fn complete(&self, seq: usize) {
        let mut queue = self.queue.lock().unwrap();
        queue[seq - 1] = true;
        let durable = queue.iter().take_while(|durable| **durable).count() as u64;
        self.durable.store(durable, Ordering::Release);
        drop(queue);
        self.advanced.open();
    }

    /// `wait_durable`.
    fn wait(&self, seq: u64) -> Result<()> {
        loop {
            let ticket = self.advanced.ticket();
            if self.durable.load(Ordering::Acquire) >= seq {
                return Ok(());
            }
            if let Some(first) = self.latch.first() {
                return Err(first.about_seq(seq));
            }
            self.advanced.wait(ticket, None);
        }
    }
}

fn is_the_failure(answer: &Result<()>) {
    let error = answer.as_ref().expect_err("the frame was lost, and who waited for it is told that it is durable");
    assert!(matches!(error.code, Code::Io | Code::Poisoned), "{error:?}");
    assert!(error.text.ends_with("the device failed"), "{error:?}");
}

/// Of two frames in flight the first fails: its waiter, the second one's leader and who waits for that are told so,
/// whichever comes back first.
#[test]
fn a_failed_frame_answers_everybody() {
    model(|| {
        let log = Arc::new(Log::default());
        let spawn = |act: fn(&Log) -> Result<()>| {
            let log = Arc::clone(&log);
            thread::spawn(move || act(&log))
        };
        let waiters = [
            spawn(|log| log.wait(1)),
            // Its own write may have passed before the other failed: it is not durable for that.
            spawn(|log| log.write(2, false).and_then(|()| log.wait(2))),
        ];
        is_the_failure(&log.write(1, true));
        for waiter in waiters {
            is_the_failure(&waiter.join().unwrap());
        }
        assert_eq!(log.durable.load(Ordering::Acquire), 0);
    });
}

/// What is tried after somebody was told of a failure does not reach the device, whoever tries it.
#[test]
fn nothing_runs_after_a_failure_that_was_told() {
    model(|| {
        let log = Arc::new(Log::default());
        let told = {
            let log = Arc::clone(&log);
            thread::spawn(move || {
                // Told by an answer, not by the latch's own thread.
                is_the_failure(&log.wait(1));
                assert!(log.latch.is_tripped());
                log.latch.run(|| -> Result<()> { panic!("a flush after the failure says that all is well") })
            })
        };
        is_the_failure(&log.write(1, true));
        let later = log.latch.run(|| -> Result<()> { panic!("a write after the failure") });
        assert_eq!(later.unwrap_err().code, Code::Poisoned);
        assert_eq!(told.join().unwrap().unwrap_err().code, Code::Poisoned);
    });
}

/// Two fail side by side, and a third thread of the log's panics: each has an answer, and one failure stays.
#[test]
fn of_several_failures_one_stays() {
    model(|| {
        let log = Arc::new(Log::default());
        let failing: Vec<_> = (1..=2)
            .map(|seq| {
                let log = Arc::clone(&log);
                thread::spawn(move || log.write(seq, true))
            })
            .collect();
        let answer = log.wait(2);
        let first = log.latch.first().expect("it was told");
        is_the_failure(&answer);
        for thread in failing {
            is_the_failure(&thread.join().unwrap());
        }
        assert_eq!(log.latch.first(), Some(first));
    });
}
