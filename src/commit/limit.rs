//! The limit on the log's size: looked at where a new file would be made, by
//! the keeper, and nowhere on the way of an append.
//!
//! A spare that would take the log beyond the limit is not made.  For appends
//! that is a full disk: whoever needs the spare is refused before a number is
//! given, what is there already has room for its marks and seals, and a trim or a
//! compaction that gives files back ends it.  A file that is used again adds
//! nothing and is never refused.  Before anything is refused, what a hold
//! has let go meanwhile is released, and released segments that are only kept by
//! retention go.  Under the other policy the spare is made, and
//! whoever asked for hints is told.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::notify::Done;
use super::Commit;
use crate::base::bytes::len_u64;
use crate::base::messages::{Level, Message};
use crate::base::options::SizePolicy;
use crate::base::{Code, Error, Result};
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
