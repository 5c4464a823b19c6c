//! The names of a follower's directory: the file that makes it one, and what a
//! crash of its sink or of a promotion left to be set right.

use std::sync::atomic::Ordering;
use std::sync::Arc;

use super::{cannot_open, lock, Directory};
use crate::base::bytes::{len_u64, usize_of};
use crate::base::limits::BLOCK_SIZE_MAX;
use crate::base::{Code, Error, Result};
use crate::disk::{Access, Durable, File};
use crate::format::sink::{SINK_COPIES, SINK_COPY_LEN, SINK_SLOTS};
use crate::format::SinkSlot;
use crate::mem::AlignedBuf;
use crate::segment::name::{SINK, SINK_NEW};
use crate::segment::{SegmentName, State};

/// What the file `twal-sink` says.
pub struct FollowerPosition {
    /// The newest slot; None: no copy is whole.
    pub newest: Option<SinkSlot>,
    /// Offset of a copy of it that has rotted.
    pub rotten: Option<u64>,
    /// Bytes of a slot.
    pub slot_len: usize,
}

impl FollowerPosition {
    /// As it is in this file.
    pub fn read(file: &dyn File) -> Result<FollowerPosition> {
        let failed = |error| Error { code: Code::Io, ..Error::os("cannot read the follower's position", &error) };
        let len = usize_of(file.size().map_err(failed)?);
        let (copies, least) = (SINK_SLOTS * SINK_COPIES, SINK_COPY_LEN);
        let sound =
            len.is_multiple_of(copies * least) && (copies * least..=copies * BLOCK_SIZE_MAX as usize).contains(&len);
        if !sound {
            return Err(Error::new(Code::Corrupt, format!("the follower's position has {len} bytes")));
        }
        let mut bytes = AlignedBuf::zeroed(len)?;
        if file.read_at(&mut bytes, 0).map_err(failed)? != len {
            return Err(Error::new(Code::Corrupt, "the follower's position has become shorter"));
        }
        let newest = SinkSlot::newest(&bytes, len / copies)?;
        let rotten = newest.and_then(|slot| slot.rotten_copy(&bytes, len / copies)).map(len_u64);
        Ok(FollowerPosition { newest, rotten, slot_len: len / SINK_SLOTS })
    }

    /// What it speaks of, or the error for a file that says nothing any more.
    pub fn known(&self) -> Result<SinkSlot> {
        self.newest.ok_or_else(|| {
            Error::new(Code::Corrupt, format!("{SINK} is damaged: how far the copy is durable is not known"))
        })
    }
}

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

    /// The file of the follower's position.
    pub fn follower_position(&self, access: Access) -> Result<Arc<dyn File>> {
        self.dir.open(SINK, access).map_err(|error| cannot_open(&SINK, &error))
    }

    /// Who reads a follower's copy sees no segment above its position's, `last_index`: it was begun, may go, and may
    /// come again as another file.  u64::MAX: all are seen.
    pub fn end_at(&self, last_index: u64) {
        self.last_index.store(last_index, Ordering::Relaxed);
        lock(&self.segments).retain(|segment| segment.index <= last_index);
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
