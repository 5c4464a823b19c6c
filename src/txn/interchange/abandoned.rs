//! Which records of a log are of imports that never ended, for who reads them one by one.
//!
//! Whether an import ends is said behind its records, and they may be more than memory holds: so the log is read twice.

use crate::base::{Code, Error, Result};
use crate::log::{Iter, Record};

use super::super::Event;
use super::replay::at;

/// The imports of a log that never ended.
pub(super) struct Abandoned {
    parts: Vec<Part>,
    /// The last record that was looked at.
    pub(super) last_seq: u64,
}

/// Records from one number up to below another, of operations above the highest that there were.
struct Part {
    from_seq: u64,
    below_seq: u64,
    highest: [u64; 2],
}

impl Abandoned {
    /// Those among what `iter` still delivers, up to `end_seq` at least.
    pub(super) fn find(mut iter: Iter, end_seq: u64) -> Result<Abandoned> {
        let mut found = Finding { parts: Vec::new(), open: None };
        let mut last_seq = 0;
        while let Some(record) = iter.next_record()? {
            last_seq = record.seq;
            found.take(&record);
        }
        check_end(&iter, end_seq)?;
        found.close(u64::MAX);
        Ok(Abandoned { parts: found.parts, last_seq })
    }

    /// Whether the event with this number never was.
    pub(super) fn contains(&self, seq: u64, event: &Event) -> bool {
        let Some((family, id)) = event.operation() else { return false };
        let behind = self.parts.partition_point(|part| part.from_seq <= seq);
        let part = behind.checked_sub(1).map(|last| &self.parts[last]);
        part.is_some_and(|part| seq < part.below_seq && id > part.highest[at(family)])
    }
}

/// Refuses what ended in front of `end_seq`.
///
/// # Errors
/// Again: the next segment cannot be opened at this moment.
pub(super) fn check_end(iter: &Iter, end_seq: u64) -> Result<()> {
    if iter.is_ended() || iter.next_seq() > end_seq {
        return Ok(());
    }
    let text = "a segment is about to be there, and what is in it was not read";
    Err(Error::new(Code::Again, text).about_seq(iter.next_seq()))
}

struct Finding {
    parts: Vec<Part>,
    /// An import that has not ended yet: its number, and the highest ids before it.
    open: Option<(u64, [u64; 2])>,
}

impl Finding {
    fn take(&mut self, record: &Record<'_>) {
        match Event::decode(record.kind, record.data) {
            Ok(Event::ImportStarted { saga_highest, transaction_highest }) => {
                self.close(record.seq);
                self.open = Some((record.seq, [saga_highest, transaction_highest]));
            }
            Ok(Event::ImportEnded) => self.open = None,
            Ok(Event::ImportAbandoned { saga_highest, transaction_highest }) => {
                // Its beginning may have been released, or lies in front of where the reading began.
                self.open.get_or_insert((0, [saga_highest, transaction_highest]));
                self.close(record.seq);
            }
            Ok(Event::Checkpoint(_)) => self.close(record.seq),
            _ => {}
        }
    }

    fn close(&mut self, below_seq: u64) {
        if let Some((from_seq, highest)) = self.open.take() {
            self.parts.push(Part { from_seq, below_seq, highest });
        }
    }
}
