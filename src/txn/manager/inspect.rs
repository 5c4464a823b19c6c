//! What a manager's recovery would find, for who has no manager: of a log that is open for reading only, too, beside a
//! manager that compacts and releases.
//!
//! A compaction goes by the newest checkpoint, a reading by the newest that it knew of when it began.  What went in
//! between is missing to that reading, and nothing is damaged.  So what is wrong counts only if a reading found it of
//! a log that was the same from its begin to its end:
//!
//! | step | what is certain then |
//! |---|---|
//! | 1. note which files there are | of what is missing in one of these, a durable checkpoint behind it says all |
//! | 2. go on to the last whole frame that can be seen now | that checkpoint can be read |
//! | 3. read | |
//! | 4. note the files: nothing went from those of step 1, and none that came was compacted | it was there while it was looked for |
//!
//! Step 2 may have to wait: what is durable can be read from another process when a later frame, or a mark, says so.

use std::time::Duration;

use super::recover::{read, Rebuilt};
use crate::base::limits::OPEN_CHANGING_MS;
use crate::base::{Code, Error, Result};
use crate::log::Log;
use crate::txn::Table;

/// Readings of a log that changes all the time that are made however long they take.
const READINGS_MIN: u32 = 20;

/// What the records of a log say, for who has no manager: nothing is claimed, written or held for it.
#[derive(Debug)]
pub struct Inspection {
    /// The operations that are not finished.
    pub table: Table,
    /// Nothing from here on may be released, or the next recovery fails; None: the log has no transactions.
    pub needed_seq: Option<u64>,
}

impl Inspection {
    fn of(rebuilt: Rebuilt) -> Inspection {
        let Rebuilt { from_seq, checkpointed, rebuild } = rebuilt;
        let has_events = checkpointed || rebuild.replayed > 0;
        let table = rebuild.into_table();
        let oldest_seq = table.oldest_seq().map_or(from_seq, |seq| seq.min(from_seq));
        Inspection { table, needed_seq: has_events.then_some(oldest_seq) }
    }
}

/// Reads what [`Manager::recover`](super::Manager::recover) would read, also of a log that is open for reading only, beside its writer.
///
/// # Errors
/// Corrupt, Version: as [`Manager::recover`](super::Manager::recover).  Trimmed: the writer releases all the time what this is reading.
/// Busy: it compacts all the time what this is reading, or what it compacted by is not known to be durable.
pub fn inspect(log: &Log) -> Result<Inspection> {
    match read(log) {
        Err(error) if may_be_in_between(&error) => read_until_settled(log).map(Inspection::of),
        rebuilt => rebuilt.map(Inspection::of),
    }
}

/// Somebody else's compaction or release may be all that is wrong.
fn may_be_in_between(error: &Error) -> bool {
    matches!(error.code, Code::Corrupt | Code::Trimmed | Code::NotFound | Code::Busy)
}

fn read_until_settled(log: &Log) -> Result<Rebuilt> {
    let clock = log.clock();
    let until_ns = clock.now_ns().saturating_add(OPEN_CHANGING_MS * 1_000_000);
    let mut readings = 0;
    loop {
        readings += 1;
        let before = log.files()?;
        let knows_all = log.look_to_end(until_ns)?;
        let found = match read(log) {
            Err(error) if may_be_in_between(&error) => error,
            rebuilt => return rebuilt,
        };
        if found.code == Code::Corrupt && knows_all {
            if let (Some(before), Some(now)) = (before, log.files()?) {
                if now.continue_from(&before) {
                    return Err(found);
                }
            }
        }
        if readings >= READINGS_MIN && clock.now_ns() >= until_ns {
            return Err(match found.code {
                Code::Corrupt => {
                    let text = format!("the log changes too fast to be read; the last reading found: {found}");
                    Error::new(Code::Busy, text)
                }
                _ => found,
            });
        }
        clock.pass(Duration::from_millis(1));
    }
}
