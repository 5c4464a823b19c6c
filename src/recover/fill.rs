//! A segment that lacks bytes at its end, and nothing that was written to it: they are taken again, as zeros.
//!
//! Behind a segment's seal, and behind the log's end, nobody reads what is there; but a file as long as its header says
//! is one that lost nothing.

use super::finding::Acknowledged;
use super::plan::{Step, StepKind};
use crate::base::{Error, Result};
use crate::disk::File;
use crate::read::segment::OpenSegment;
use crate::read::short;
use crate::segment::SegmentName;

/// What is made as long again as it was.
pub struct Fill {
    /// Which segment.
    pub name: SegmentName,
    /// What is wrong with it.
    pub error: Error,
    /// Bytes that are there, and that there are to be.
    pub from: u64,
    /// See `from`.
    pub to: u64,
}

impl Fill {
    /// What it takes to make this one as long as its header says; None: it is.
    pub fn of(opened: &OpenSegment) -> Result<Option<Fill>> {
        let (from, to) = (short::bytes_there(opened)?, opened.header.segment_size);
        Ok(short::missing(opened.header.index, from, to).map(|error| Fill { name: opened.name, error, from, to }))
    }

    /// For people and programs.
    pub fn step(&self) -> Step {
        Step {
            kind: StepKind::Fill,
            file: self.name.to_string(),
            segment: self.name.index,
            offset: self.from,
            first_seq: self.name.first_seq,
            last_seq: self.name.first_seq - 1,
            acknowledged: Acknowledged::No,
        }
    }
}

/// Makes a segment's file as long as its header says, durably: what is new reads as zeros.
pub fn lengthen(file: &dyn File, index: u64, segment_size: u64) -> Result<()> {
    let failed = |error| Error::os("cannot make the segment's file as long as it was", &error).in_segment(index);
    if file.size().map_err(failed)? >= segment_size {
        return Ok(());
    }
    file.allocate(segment_size).map_err(failed)?;
    file.sync().map_err(failed)
}
