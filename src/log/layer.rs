//! What the transaction layer needs of a log, and nobody else: records of twal's own types, appended under a lock of
//! that layer; a hold that no trim passes; places to begin reading at; and that there is one manager at a time.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::{Log, Side};
use crate::base::clock::Clock;
use crate::base::counters::{Counter, Counters};
use crate::base::{Code, Error, Result};
use crate::commit::{Asked, Beyond, Entry, Turn};
use crate::read::segment::open_to_read;
use crate::read::Files;
use crate::segment::{retain, SegmentName};

/// Called once by who closes the log, with no lock held.
pub(crate) type Closing = Arc<dyn Fn() + Send + Sync>;

/// What the layer above has asked of this log.
#[derive(Default)]
pub(super) struct Kept {
    /// A manager is there.
    managed: AtomicBool,
    /// What it wants done when the log is closed.
    closing: Mutex<Option<Closing>>,
    recoveries: Counter,
    /// What is to be released, and what not; a writer's keeper knows it too.
    pub(super) asked: Arc<Asked>,
}

impl Kept {
    pub(super) fn of_writer(asked: Arc<Asked>) -> Kept {
        Kept { asked, ..Kept::default() }
    }

    /// The log is closed for whoever asks, and nothing else of that is done.
    pub(super) fn close(&self) {
        let closing = self.closing().take();
        if let Some(closing) = closing {
            closing();
        }
    }

    fn closing(&self) -> MutexGuard<'_, Option<Closing>> {
        // Nothing that could panic runs under it.
        self.closing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Log {
    /// The id of this log, random, the same for all its life.
    pub fn log_id(&self) -> [u8; 16] {
        self.inner.log_id
    }

    /// From now on this log has a manager; Busy: it has one.
    pub(crate) fn claim(&self) -> Result<()> {
        self.writer()?;
        // Acquire: what the manager before did is seen.
        match self.inner.kept.managed.swap(true, Ordering::AcqRel) {
            false => Ok(()),
            true => Err(Error::new(Code::Busy, "the log has a transaction manager already")),
        }
    }

    /// Its manager has `closing` called when the log is closed; Closed: that has begun.
    pub(crate) fn when_closing(&self, closing: Closing) -> Result<()> {
        *self.inner.kept.closing() = Some(closing);
        // Behind that: a close sets this first, and calls after.
        self.writer().map(drop)
    }

    /// Its manager knows what was in it.
    pub(crate) fn recovered(&self) {
        self.inner.kept.recoveries.one();
    }

    /// How often that was so since it was opened.
    pub(crate) fn recoveries(&self) -> u64 {
        self.inner.kept.recoveries.get()
    }

    /// Where the layer counts what it does, so that the log's statistics have it.
    pub(crate) fn counters(&self) -> &Counters {
        &self.inner.counters
    }

    /// It has none any more.  What was held stays held.
    pub(crate) fn unclaim(&self) {
        // Held by who closes, who takes it out; or, in a forked child, for ever.
        if let Ok(mut closing) = self.inner.kept.closing.try_lock() {
            *closing = None;
        }
        self.inner.kept.managed.store(false, Ordering::Release);
    }

    /// From here on nothing is released; `u64::MAX`: nobody has asked for that.
    pub(crate) fn hold_seq(&self) -> u64 {
        self.inner.kept.asked.hold_seq()
    }

    /// Nothing from `seq` on is released from now on.
    pub(crate) fn hold(&self, seq: u64) {
        self.inner.kept.asked.hold(seq);
    }

    /// As `Commit::append_or_wait`, for records of twal's own types.
    pub(crate) fn append_or_wait<'a, I>(
        &self,
        entries: I,
        beyond: Beyond,
        turn: &mut Option<Turn>,
        give_way: impl FnOnce(),
    ) -> Result<Option<u64>>
    where
        I: ExactSizeIterator<Item = Entry<'a>> + Clone,
    {
        self.writer()?.append_or_wait(entries, beyond, turn, give_way)
    }

    /// It is larger than it may be, by the segment that is kept for what gives space back.
    pub(crate) fn is_beyond_limit(&self) -> bool {
        self.writer().is_ok_and(|commit| commit.is_beyond_limit())
    }

    /// Appends may be refused because it is as large as it may be.
    pub(crate) fn has_limit(&self) -> bool {
        let config = &self.inner.config;
        config.log_size_max.is_some() && config.log_size_policy == crate::base::options::SizePolicy::Refuse
    }

    /// Why nothing can be appended any more, if that is so.
    pub(crate) fn trouble(&self) -> Option<Error> {
        let trouble = |commit: &crate::commit::Commit| commit.poison().map(|first| Error::poisoned_by(&first));
        self.writer().map_or_else(Some, |commit| trouble(commit))
    }

    /// The clock that the log goes by.
    pub(crate) fn clock(&self) -> &Clock {
        &self.inner.clock
    }

    /// The log waits for durability unless it is told otherwise.
    pub(crate) fn is_sync(&self) -> bool {
        self.inner.config.durability == crate::base::options::Durability::Sync
    }

    /// Largest payload of a record, and of a batch in sum.
    pub(crate) fn record_size_max(&self) -> u64 {
        self.inner.config.record_size_max
    }

    /// Index and first number of each segment that can be read, rising.
    pub(crate) fn segment_starts(&self) -> Vec<(u64, u64)> {
        let segments = self.inner.directory.segments();
        segments[retain::first_live(&segments)..].iter().map(|name| (name.index, name.first_seq)).collect()
    }

    /// The files that can be read; None: they change just now.
    pub(crate) fn files(&self) -> Result<Option<Files>> {
        let names = match self.segment_names() {
            Err(error) if is_change(&error) => return Ok(None),
            names => names?,
        };
        let (directory, log_id) = (&self.inner.directory, &self.inner.log_id);
        let live = names[retain::first_live(&names)..].iter();
        let file = |name: &SegmentName| Ok(open_to_read(directory, name.index, log_id)?.header);
        match live.map(file).collect::<Result<Vec<_>>>() {
            Err(error) if is_change(&error) => Ok(None),
            headers => Ok(Some(Files::of(headers?.into_iter()))),
        }
    }

    /// As [`Log::files`], of what holds records from `from_seq` to `until_seq`, 0: the oldest, and all.  What is
    /// damaged is left out: who reads comes there, or does not.
    pub(crate) fn files_with(&self, from_seq: u64, until_seq: u64) -> Result<Option<Files>> {
        let (directory, log_id) = (&self.inner.directory, &self.inner.log_id);
        let names = match self.segment_names() {
            // Of a damaged log, those that are there.  What is not seen just now is not read.
            Err(error) if matches!(error.code, Code::Busy | Code::Corrupt) => directory.segments(),
            names => names?,
        };
        let live = &names[retain::first_live(&names)..];
        let begin = live.partition_point(|name| name.first_seq <= from_seq).saturating_sub(1);
        let wanted = live[begin..].iter().take_while(|name| until_seq == 0 || name.first_seq <= until_seq);
        let mut headers = Vec::new();
        for name in wanted {
            match open_to_read(directory, name.index, log_id) {
                Err(error) if is_change(&error) => return Ok(None),
                Err(error) if error.code == Code::NoMem => return Err(error),
                opened => headers.extend(opened.ok().map(|opened| opened.header)),
            }
        }
        Ok(Some(Files::of(headers.into_iter())))
    }

    /// Goes on until everything can be read that is durable now; false: not before `until_ns` could that be told.
    ///
    /// In the writer's own process that is always so.  In others a record can be read when a later frame says that it is durable;
    /// but it is durable only if its frame is whole.
    pub(crate) fn look_to_end(&self, until_ns: u64) -> Result<bool> {
        let (Side::Reader(reader), clock) = (&self.inner.side, &self.inner.clock) else { return Ok(true) };
        let mut end_seq = None;
        loop {
            let (bound, stopped) = reader.look_on(clock);
            stopped.map_or(Ok(()), Err)?;
            if bound >= *end_seq.get_or_insert_with(|| reader.seen_seq()) {
                return Ok(true);
            }
            if clock.now_ns() >= until_ns {
                return Ok(false);
            }
            clock.pass(Duration::from_millis(1));
        }
    }
}

/// The files change just now.
fn is_change(error: &Error) -> bool {
    matches!(error.code, Code::Busy | Code::Trimmed)
}
