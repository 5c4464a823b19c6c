//! Holds and the limit after something else went wrong: holds that were lost and set anew, a log that became shorter
//! than its holds say, names that a reader overlooks, a directory in the place of a file.
//!
//! Method: the whole log on the simulated disk; each test is one story.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;

use machine::*;
use twal::{Code, Done, SizePolicy};

#[path = "holds/machine.rs"]
#[allow(dead_code, reason = "the other test of holds needs the rest")]
mod machine;

/// The trim that failed is not done by the first hold that is set anew.
#[test]
fn a_reset_forgets_what_was_asked_for() {
    for trimmed_before in [false, true] {
        let machine = Machine::new(1);
        let log = machine.open().unwrap();
        fill(&log, 6).unwrap();
        log.hold_set("archive", 0).unwrap();
        log.hold_set("follower", 13).unwrap();
        if trimmed_before {
            log.trim(19).unwrap();
        }
        machine.disk.flip_bit(HOLDS, 9, 3);
        assert_eq!(code(log.trim(19)), Some(Code::Corrupt));
        log.hold_reset().unwrap();
        log.hold_set("follower", 13).unwrap();
        assert_eq!(log.first_seq(), 1, "nothing goes before the next trim");
        log.hold_set("archive", 0).unwrap();
        log.trim(19).unwrap();
        assert_eq!(holds(&log), BTreeMap::from([("archive".to_owned(), 1), ("follower".to_owned(), 13)]));
        assert_eq!(log.first_seq(), 1);
    }
}

// ---- the limit

/// It is queued when the log grows, and what it was to be called with may be gone when its turn comes.
#[test]
fn a_hint_that_was_taken_back_is_not_called_late() {
    for taken_back in [false, true] {
        let mut machine = Machine::new(1);
        machine.options.log_size_max = 4 * (64 << 10);
        machine.options.log_size_policy = Some(SizePolicy::Hint);
        let log = machine.open().unwrap();
        let calls = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&calls);
        log.size_hint(Some(Arc::new(move |_, _| {
            counted.fetch_add(1, Ordering::Relaxed);
        })))
        .unwrap();
        let (inside, seen) = (log.clone(), Arc::clone(&calls));
        let done = Done::new(move |_, _| {
            // One call at a time: the hint waits for this one to end.
            fill(&inside, 6).unwrap();
            assert_eq!(seen.load(Ordering::Relaxed), 0);
            if taken_back {
                inside.size_hint(None).unwrap();
            }
        });
        log.sync_async(0, Some(done)).unwrap();
        log.tick();
        assert_eq!(log.last_seq(), 18);
        assert_eq!(calls.load(Ordering::Relaxed) == 0, taken_back);
        log.close().unwrap();
    }
}
