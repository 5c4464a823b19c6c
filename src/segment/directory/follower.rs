//! The names of a follower's directory: the file that makes it one, and what a
//! crash of its sink or of a promotion left to be set right.

use std::sync::Arc;

use super::{cannot_open, lock, Directory};
use crate::base::{Code, Error, Result};
use crate::disk::{Access, Durable, File};
use crate::segment::name::{SINK, SINK_NEW};
use crate::segment::{SegmentName, State};

impl Directory {
    /// From now on the directory is a follower's: `bytes` is its first position.  Durable when this returns; after a
    /// crash before that, there is no such file.
    pub fn begin_following(&self, bytes: &[u8]) -> Result<Arc<dyn File>> {
        let _names = lock(&self.names);
        let failed = |error| Error::os(format_args!("cannot write {SINK_NEW}"), &error);
        // What a crash has left: its writer may still be about to write, so it is not used again.
        self.remove_if_there(SINK_NEW)?;
        let file = self.dir.create(SINK_NEW).map_err(failed)?;
        file.write_at(bytes, 0, Durable::No).map_err(failed)?;
        file.sync().map_err(|error| Error { code: Code::Io, ..failed(error) })?;
        self.rename(SINK_NEW, SINK)?;
        self.sync()?;
        Ok(file)
    }

    /// The follower's position.
    pub fn follower_position(&self) -> Result<Arc<dyn File>> {
        self.dir.open(SINK, Access::Write).map_err(|error| cannot_open(&SINK, &error))
    }

    /// The directory is a log's from now on.  Durable when this returns.
    pub fn end_following(&self) -> Result<()> {
        let _names = lock(&self.names);
        self.remove_if_there(SINK)?;
        self.sync()
    }

    /// Gives a segment the name of another state, whatever it was.  Durable with the next sync.
    pub fn set_state(&self, name: SegmentName, state: State) -> Result<()> {
        let _names = lock(&self.names);
        if name.state == state {
            return Ok(());
        }
        self.rename_segment(name, state)
    }
}
