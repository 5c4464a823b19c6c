//! The library's `mem/` as far as it is modelled, and what stands in for the machine.

pub use aligned::AlignedBuf;
pub use gate::Gate;

pub mod atomic {
    pub use loom::sync::atomic::{AtomicU32, AtomicU64, Ordering};
    pub use loom::sync::{Mutex, MutexGuard};

    pub use super::once::OnceLock;
}

pub mod futex {
    use std::time::Instant;

    use loom::sync::atomic::{AtomicU32, Ordering};
    use loom::sync::{Condvar, Mutex};

    loom::lazy_static! {
        /// All sleepers of a run: a wake-up that is another word's is an early return, which callers expect.
        static ref SLEEPERS: (Mutex<()>, Condvar) = (Mutex::new(()), Condvar::new());
    }

    pub fn wait(word: &AtomicU32, expected: u32, deadline: Option<Instant>) -> bool {
        assert!(deadline.is_none(), "time is not modelled");
        let sleepers = SLEEPERS.0.lock().unwrap();
        if word.load(Ordering::SeqCst) == expected {
            drop(SLEEPERS.1.wait(sleepers).unwrap());
        }
        true
    }

    pub fn wake_all(_word: &AtomicU32) {
        let _sleepers = SLEEPERS.0.lock().unwrap();
        SLEEPERS.1.notify_all();
    }
}

mod once;

#[path = "../../../src/mem/aligned.rs"]
pub mod aligned;
#[path = "../../../src/mem/gate.rs"]
pub mod gate;
#[path = "../../../src/mem/ring.rs"]
pub mod ring;
#[path = "../../../src/mem/slot.rs"]
pub mod slot;
#[path = "../../../src/mem/waiting.rs"]
pub mod waiting;
