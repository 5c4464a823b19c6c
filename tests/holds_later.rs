//! Holds and the limit after something else went wrong: holds that were lost and set anew, a log that became shorter
//! than its holds say, names that a reader overlooks, a directory in the place of a file.
//!
//! Method: the whole log on the simulated disk; each test is one story.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use machine::*;
use twal::Code;

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
