//! A new segment, or a whole new log: header durable, then the name.

use std::sync::Arc;

use crate::base::clock::Clock;
use crate::base::options::Config;
use crate::base::{random, Result};
use crate::disk::Durable;
use crate::format::{Chain, SegmentHeader};
use crate::read::segment::OpenSegment;
use crate::segment::{spare, Directory, SegmentName, State};

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
        keeps_holds: false,
        generation: 0,
        before: Chain::default(),
        before_offset: 0,
    };
    let zeroed = crate::base::limits::ZERO_AT_OPEN;
    let spare = spare::prepare(directory, config.segment_size, zeroed, clock)?;
    let name = SegmentName { index: 1, first_seq: 1, state: State::Active };
    spare.write_header(&header, Durable::Yes)?;
    directory.publish(&spare, name)?;
    Ok(OpenSegment { name, file: Arc::clone(&spare.file), header })
}
