//! What the shipping layer needs of a log, and nobody else: how far its files are durable, byte by byte, and to be
//! woken when they are further.

use std::sync::atomic::Ordering;
use std::sync::Arc;

use super::tail::Pause;
use super::{closed, Log, Side};
use crate::base::{Error, Result};
use crate::segment::Directory;

/// Waits for more of a log.
pub(crate) struct Waiting {
    until_ns: Option<u64>,
    pause: Pause,
}

impl Log {
    /// Index of the segment that is written, and the end of what is durable in it; and what stops there, if that is
    /// not just the end.
    pub(crate) fn durable_bytes(&self) -> Result<((u64, u64), Option<Error>)> {
        if self.inner.closed.load(Ordering::Acquire) {
            return Err(closed());
        }
        Ok(match &self.inner.side {
            Side::Writer(commit) => (commit.durable_place(), commit.poison().map(|first| Error::poisoned_by(&first))),
            Side::Reader(reader) => reader.durable_bytes(),
        })
    }

    /// Its directory.
    pub(crate) fn directory(&self) -> &Arc<Directory> {
        &self.inner.directory
    }

    /// Begins to wait; `timeout_ns` None: for ever.
    pub(crate) fn begin_waiting(&self, timeout_ns: Option<u64>) -> Waiting {
        let now_ns = self.inner.clock.now_ns();
        let until_ns = timeout_ns.map(|timeout_ns| now_ns.saturating_add(timeout_ns));
        Waiting { until_ns, pause: self.inner.pause() }
    }

    /// Waits until more than `seen` may be durable; Timeout when the time is over.
    pub(crate) fn wait_beyond(&self, seen: u64, waiting: &mut Waiting) -> Result<()> {
        self.inner.wait_for_more(seen, waiting.until_ns, &mut waiting.pause)
    }
}
