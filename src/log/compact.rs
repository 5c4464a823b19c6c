//! [`Log::compact`]: sealed segments without the records that the caller lets go.

use std::sync::atomic::Ordering;
use std::sync::TryLockError;

use super::{closed, Log, Record};
use crate::base::messages::{Level, Message};
use crate::base::{Code, Error, Result};
use crate::compact::{self, compact, Chooser, Compacted, Work};

/// Which segments are compacted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompactOptions {
    /// Those wholly below this number, as far as they are sealed.
    pub below_seq: u64,
    /// Only those whose files become smaller by so many bytes; 0: by any.
    pub saving_min: u64,
}

/// A record that is asked about: is it kept?
#[derive(Debug, Clone, Copy)]
pub struct Candidate<'a> {
    /// The record.
    pub record: Record<'a>,
    /// Every record below this number that was not kept is gone for good: no crash brings it back.  A record that
    /// ends others may go if all of those lie below, or from `segment_first_seq` on.
    pub gone_below: u64,
    /// Number that its segment begins with: what goes from there on, goes together with this record.
    pub segment_first_seq: u64,
}

impl Log {
    /// Rewrites sealed segments, oldest first, without the records for which `keep` says false.
    ///
    /// Sequence numbers, and everything else of what is kept, stay; but a batch of which the last records went
    /// ends with the last one that is kept.  Appends and readers go on meanwhile: a reader finds every record that
    /// is kept, those that go until they are gone.  Nothing that was let go comes back after this returned.
    ///
    /// `keep` is asked about each record of the segments looked at, in order, once.  That it says no does not
    /// mean that the record goes: where too little would be saved, a segment stays whole; the next call asks again.
    /// What `keep` does may not close the log.  Nothing is compacted that a transaction manager of this log needs, or
    /// has needed since the log was opened; its own compaction goes further.  Nor anything that a hold keeps.
    ///
    /// A segment of which nothing goes stays, unless the log is larger than it may be: then it is rewritten, if that makes
    /// it smaller.
    ///
    /// Takes room for one segment while it works, and memory for a bit for each record of it.
    ///
    /// # Errors
    /// Corrupt, Io: a segment is damaged, or cannot be read; it stays as it is, those before it are done.  Io also:
    /// what was written did not reach the device; the segment stays as it was.  If a name could not be made
    /// durable, the log is poisoned.  NoSpc, NoMem: likewise, and it may be tried again.  Busy: another thread is
    /// compacting this log.  Corrupt, Io, Locked also: the holds cannot be read.  Closed, ReadOnly, Poisoned.
    pub fn compact(&self, options: &CompactOptions, keep: &mut dyn FnMut(&Candidate<'_>) -> bool) -> Result<Compacted> {
        // As a trim: what the layer above holds, it alone lets go.
        let below_seq = options.below_seq.min(self.inner.kept.asked.hold_seq());
        let mut chooser = |asked: &compact::Candidate<'_>| {
            keep(&Candidate {
                record: Record::of(asked.header, asked.payload),
                gone_below: asked.gone_below,
                segment_first_seq: asked.segment_first_seq,
            })
        };
        self.compact_with(&CompactOptions { below_seq, ..*options }, &mut chooser, &|| false)
    }

    /// The same for the layer that holds: `is_over` says that it is to end with Closed, as if the log were closed.
    pub(crate) fn compact_with(
        &self,
        options: &CompactOptions,
        chooser: &mut dyn Chooser,
        is_over: &dyn Fn() -> bool,
    ) -> Result<Compacted> {
        let commit = self.writer()?;
        let held_seq = self.held_seq()?;
        let go_on = || {
            if self.inner.closed.load(Ordering::Acquire) || is_over() {
                return Err(closed());
            }
            commit.poison().map_or(Ok(()), |first| Err(Error::poisoned_by(&first)))
        };
        let _alone = match self.inner.compacting.try_lock() {
            Ok(alone) => alone,
            // What panicked is the caller's function; nothing here was half done.
            Err(TryLockError::Poisoned(alone)) => alone.into_inner(),
            Err(TryLockError::WouldBlock) => {
                return Err(Error::new(Code::Busy, "another thread is compacting this log"));
            }
        };
        go_on()?;
        let work = Work {
            directory: &self.inner.directory,
            log_id: &self.inner.log_id,
            clock: &self.inner.clock,
            counters: &self.inner.counters,
            below_seq: options.below_seq.min(held_seq),
            saving_min: options.saving_min,
            packs: commit.is_beyond_limit(),
            go_on: &go_on,
            replace: &|smaller, name| {
                let replaced = commit.replace_sealed(smaller, name)?;
                commit.has_room_again();
                Ok(replaced)
            },
        };
        let done = compact(&work, chooser)?;
        self.inner.counters.compactions.one();
        self.inner.say(Level::Info, || {
            Message::new(Level::Info, "compaction", "sealed segments are compacted")
                .with("segments", done.segments)
                .with("records_purged", done.records_purged)
                .with("bytes_saved", done.bytes_saved)
        });
        Ok(done)
    }
}
