//! What the shipping layer needs of a log, and nobody else: to be told why its files are durable no further, and to be
//! woken when they are.

use std::sync::Arc;

use super::tail::Pause;
use super::{Log, Side};
use crate::base::{Error, Result};
use crate::read::Reach;
use crate::segment::Directory;

/// Waits for more of a log.
pub(crate) struct Waiting {
    until_ns: Option<u64>,
    pause: Pause,
}

impl Log {
    /// Looks how far the log is durable now, which [`Log::reach`] says then; and what stops there, if that is not just
    /// the end.
    pub(crate) fn look_further(&self) -> Result<Option<Error>> {
        self.check_not_closed()?;
        Ok(match &self.inner.side {
            Side::Writer(commit) => commit.poison().map(|first| Error::poisoned_by(&first)),
            Side::Reader(reader) => reader.look_on(&self.inner.clock).1,
        })
    }

    /// A number up to which at least all is there that was durable before this call: beside a writer up to where whole
    /// frames are, because what is durable of them another process is told only later.
    pub(crate) fn seen_seq(&self) -> Result<u64> {
        match &self.inner.side {
            Side::Writer(commit) => Ok(commit.durable_seq()),
            Side::Reader(reader) => {
                let (_, stopped) = reader.look_on(&self.inner.clock);
                stopped.map_or_else(|| Ok(reader.seen_seq()), Err)
            }
        }
    }

    /// Its directory.
    pub(crate) fn directory(&self) -> &Arc<Directory> {
        &self.inner.directory
    }

    /// Makes the names durable that are seen here.  A writer's are when it shows them to its own process, but for the file
    /// that a compaction is just giving an old name; what another one sees may be a killed writer's, that no flush has
    /// covered.
    pub(crate) fn secure_names(&self) -> Result<()> {
        match &self.inner.side {
            Side::Writer(_) => Ok(()),
            Side::Reader(reader) => reader.secure_names(&self.inner.directory),
        }
    }

    /// Begins to wait; `timeout_ns` None: for ever.
    pub(crate) fn begin_waiting(&self, timeout_ns: Option<u64>) -> Waiting {
        let (until_ns, pause) = self.inner.begin_wait(timeout_ns);
        Waiting { until_ns, pause }
    }

    /// Waits until more than `seen` may be durable: records, or bytes that are none, as a seal and the header behind it;
    /// Timeout when the time is over.
    pub(crate) fn wait_beyond(&self, (seq, reach): (u64, Reach), waiting: &mut Waiting) -> Result<()> {
        self.inner.wait_for_more(seq, Some(reach), waiting.until_ns, &mut waiting.pause)
    }
}
