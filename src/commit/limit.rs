//! The limit on the log's size: looked at where a new file would be made, by
//! the keeper, and nowhere on the way of an append.
//!
//! A spare that would take the log beyond the limit is not made.  For appends
//! that is a full disk: whoever needs the spare is refused before a number is
//! given, what is there already has room for its marks and seals, and a trim or a
//! compaction that gives files back ends it.  A file that is used again adds
//! nothing and is never refused.
//!
//! One segment beyond the limit is kept for what helps to give space back (`Beyond`): a transaction manager's checkpoint, and
//! events that bring an operation towards its end.  Its file is made when one of these asks for it, at most one at a
//! time, and nobody else is let into it, until the log is within its limit again: what only needs space would take it.
//!
//! Before anything is refused, what a hold
//! has let go meanwhile is released, and released segments that are only kept by
//! retention go.  Under the other policy the spare is made, and
//! whoever asked for hints is told.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::notify::Done;
use super::{Beyond, Commit};
use crate::base::bytes::len_u64;
use crate::base::limits::SEGMENT_OVERHEAD_BLOCKS;
use crate::base::messages::{Level, Message};
use crate::base::options::SizePolicy;
use crate::base::{Code, Error, Result};
use crate::format::record::record_len;
use crate::format::FRAME_HEADER_LEN;
use crate::segment::{HeldDirectory, State};

/// What is told: the bytes that the log's files take with the next one, and the limit.
pub type Hint = Arc<dyn Fn(u64, u64) + Send + Sync>;

/// Who is told.
#[derive(Default)]
pub(super) struct Hints {
    told: Arc<Mutex<Option<Hint>>>,
    /// One is on its way.
    waiting: Arc<AtomicBool>,
}

impl Commit {
    /// `hint` is called, on the thread that calls what was registered, when the log would grow beyond its limit; None:
    /// nobody is.
    pub fn set_hint(self: &Arc<Self>, hint: Option<Hint>) -> Result<()> {
        if hint.is_some() {
            self.need_caller()?;
        }
        *self.hints.told.lock().unwrap_or_else(PoisonError::into_inner) = hint;
        Ok(())
    }

    /// Whether one more file may be made; if not, why.
    pub(super) fn check_limit(&self) -> Result<()> {
        if self.beyond_limit()?.is_none() {
            return Ok(());
        }
        let fits = self.directory.hold_still(&self.clock).and_then(|held| {
            // A hold that another process has moved on since lets go what was asked for then.
            let below_seq = self.asked.asked_seq().min(self.asked.hold_seq());
            let archived = if below_seq > 0 { held.archive(below_seq) } else { Ok(0) };
            let fits = archived.and_then(|archived| {
                self.counters.segments_archived.add(archived);
                self.say_release(archived, 0);
                self.make_fit(&held)
            });
            fits.inspect_err(|error| self.poison_if_names_are_lost(error))
        });
        // Why nothing could be given back is told by the next trim.
        drop(fits);
        let Some((taken, size_max)) = self.beyond_limit()? else { return Ok(()) };
        self.tell_hint(taken.saturating_add(self.config.segment_size), size_max);
        match self.config.log_size_policy {
            SizePolicy::Hint => Ok(()),
            SizePolicy::Refuse => {
                let text = format!("the log takes {taken} bytes and may take {size_max}: release what is not needed");
                Err(Error::new(Code::NoSpc, text))
            }
        }
    }

    /// Bytes that an append of `need` leaves free in the segment beyond the limit; None: it may not be there, or never is.
    pub(super) fn leave(&self, need: usize, beyond: Beyond) -> Option<u64> {
        if self.config.log_size_max.is_none() || self.config.log_size_policy != SizePolicy::Refuse {
            return None;
        }
        let block = u64::from(self.config.block_size);
        let frame = |len: usize| len_u64(FRAME_HEADER_LEN.saturating_add(len)).next_multiple_of(block);
        let leave = match beyond {
            Beyond::No => return None,
            // In front of that record there may be marks.
            Beyond::AllBut(payload) => frame(record_len(payload)) + 2 * block,
            Beyond::All => 0,
        };
        // Together they may be more than a segment holds.
        (frame(need) + leave + SEGMENT_OVERHEAD_BLOCKS * block <= self.config.segment_size).then_some(leave)
    }

    /// The tail is in the segment beyond the limit.
    pub fn is_beyond_limit(&self) -> bool {
        self.lock().beyond
    }

    /// At the limit: whether one file more may be made now.
    pub(super) fn may_go_beyond(&self) -> bool {
        if self.lock().is_beyond() {
            return false;
        }
        // A compaction may be writing its file, too.  A log that was larger when it was opened gets nothing more.
        let segment = self.config.segment_size;
        let may = self
            .beyond_limit()
            .is_ok_and(|beyond| beyond.is_none_or(|(taken, size_max)| taken <= size_max.saturating_add(segment)));
        if may {
            self.say(Level::Warning, || {
                let text = "the log is as large as it may be: one segment more is made, for what gives space back";
                Message::new(Level::Warning, "size_limit", text)
            });
        }
        may
    }

    /// If the log is no larger than it may be, what was kept for a few is everybody's.
    pub(super) fn come_back_within_limit(&self) {
        if !self.lock().is_beyond() || !self.is_within_limit() {
            return;
        }
        let mut queue = self.lock();
        queue.beyond = false;
        if let Some(spare) = queue.keeper.reserve.take() {
            queue.ready.push_back(spare);
        }
    }

    /// What cannot be measured is taken for too large.
    fn is_within_limit(&self) -> bool {
        let Some(size_max) = self.config.log_size_max else { return true };
        self.directory.size().is_ok_and(|taken| taken <= size_max)
    }

    /// The bytes that the files take and the limit, if one more file would be beyond it.
    fn beyond_limit(&self) -> Result<Option<(u64, u64)>> {
        let Some(size_max) = self.config.log_size_max else { return Ok(None) };
        let taken = self.directory.size().map_err(|error| {
            // Nothing of the log was touched, and it may be asked again.
            Error::new(Code::NoSpc, format!("how large the log is cannot be told: {error}"))
        })?;
        Ok((taken.saturating_add(self.config.segment_size) > size_max).then_some((taken, size_max)))
    }

    /// Beyond the limit fewer released segments are kept than retention asks for: the oldest go, until one more file
    /// fits or one is left, which always stays.  How many went.
    pub(super) fn make_fit(&self, held: &HeldDirectory<'_>) -> Result<u64> {
        let mut removed = 0;
        while self.beyond_limit()?.is_some() {
            let segments = self.directory.segments();
            let archived = segments.iter().filter(|segment| segment.state == State::Archived).count();
            if archived < 2 {
                break;
            }
            let gone = held.take_out(len_u64(archived) - 1, 0)?;
            self.counters.segments_removed.add(gone.removed);
            if gone.removed > 0 {
                self.say(Level::Warning, || {
                    let text = "the log is as large as it may be: a segment that retention kept has left it";
                    Message::new(Level::Warning, "size_limit", text).with("removed", gone.removed)
                });
            }
            removed += gone.removed;
            if let Some(error) = gone.failed {
                return Err(error);
            }
        }
        Ok(removed)
    }

    fn tell_hint(&self, size: u64, size_max: u64) {
        if self.hints.told.lock().unwrap_or_else(PoisonError::into_inner).is_none() {
            return;
        }
        if self.hints.waiting.swap(true, Ordering::AcqRel) {
            return;
        }
        let (waiting, told) = (Arc::clone(&self.hints.waiting), Arc::clone(&self.hints.told));
        let call = Done::new(move |_, _| {
            // What comes up while it is called is told again.
            waiting.store(false, Ordering::Release);
            // As it is now: whoever took his hint back may have given up what it was to be called with.
            let hint = told.lock().unwrap_or_else(PoisonError::into_inner).clone();
            if let Some(hint) = hint {
                hint(size, size_max);
            }
        });
        if !self.call_soon(call) {
            self.hints.waiting.store(false, Ordering::Release);
        }
    }
}
