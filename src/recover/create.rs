//! A new segment, or a whole new log: header durable, then the name.

use std::sync::Arc;

use crate::base::bytes::usize_of;
use crate::base::clock::Clock;
use crate::base::options::Config;
use crate::base::{random, Error, Result};
use crate::disk::Durable;
use crate::format::{Chain, SegmentHeader};
use crate::mem::AlignedBuf;
use crate::read::segment::OpenSegment;
use crate::segment::{spare, Directory, SegmentName, Spare, State};

/// The header's block, as it is written.
pub fn header_block(header: &SegmentHeader) -> Result<AlignedBuf> {
    let mut block = AlignedBuf::zeroed(usize_of(u64::from(header.block_size)))?;
    header.encode(&mut block);
    Ok(block)
}

/// Makes the first segment of a new log.  Until the last step there is no log,
/// only a spare; a crash before it leaves nothing that would be taken for one.
pub fn first_segment(directory: &Directory, config: &Config, clock: &Clock) -> Result<OpenSegment> {
    let log_id = random::id()?;
    let header = SegmentHeader {
        index: 1,
        created_ns: clock.wall_ns(),
        block_size: config.block_size,
        segment_size: config.segment_size,
        first_seq: 1,
        log_id,
        history_id: log_id,
        salt: random::id()?,
        generation: 0,
        before: Chain::default(),
        before_offset: 0,
    };
    let zeroed = crate::base::limits::ZERO_AT_OPEN;
    let spare = spare::prepare(directory, config.segment_size, zeroed, clock)?;
    let name = SegmentName { index: 1, first_seq: 1, state: State::Active };
    publish(directory, &spare, name, &header_block(&header)?)?;
    Ok(OpenSegment { name, file: Arc::clone(&spare.file), header })
}

/// Gives a spare its header and its name, both durable.
fn publish(directory: &Directory, spare: &Spare, name: SegmentName, header: &[u8]) -> Result<()> {
    spare
        .file
        .write_at(header, 0, Durable::Yes)
        .map_err(|error| Error::os("cannot write the segment header", &error).in_segment(name.index))?;
    directory.publish(spare, name)
}
