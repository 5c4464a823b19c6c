//! The records of a frame whose body is here: what is wrong with them, in words.

use crate::base::{Code, Error, Result};
use crate::format::frame::FLAG_DATA;
use crate::format::record::{record_len, BadRecord};
use crate::format::{FrameHeader, RecordHeader};

/// The error for a record that is not one.
pub fn bad_record(bad: BadRecord) -> Error {
    match bad {
        BadRecord::Version(version) => {
            Error::new(Code::Version, format!("a record of version {version}, which this library does not know"))
        }
        BadRecord::Header => Error::new(Code::Corrupt, "a record's header is damaged inside a whole frame"),
        BadRecord::Length => Error::new(Code::Corrupt, "a record is longer than its frame"),
        BadRecord::Payload => Error::new(Code::Corrupt, "a record's payload is damaged inside a whole frame"),
    }
}

/// What a frame's header says of its records agrees with itself: numbers go missing where segments are compacted, nowhere
/// else, and a body holds records if and only if there are any.
pub fn check_counts(frame: &FrameHeader, is_compacted: bool) -> Result<()> {
    let is_whole = u64::from(frame.record_count) == frame.seq_span;
    if frame.has(FLAG_DATA) && ((frame.record_count == 0) != (frame.body_len == 0) || !(is_whole || is_compacted)) {
        return Err(Error::new(Code::Corrupt, "a frame's header contradicts itself about its records")
            .about_seq(frame.first_seq));
    }
    Ok(())
}

/// Record `seq` may be the one behind `count` records of the frame, the last of which was `before`; `is_last`: the
/// body ends with it.
pub fn check_number(frame: &FrameHeader, (count, before): (u32, u64), seq: u64, is_last: bool) -> Result<()> {
    let is_whole = u64::from(frame.record_count) == frame.seq_span;
    let fits = match is_whole {
        true => seq == frame.first_seq.saturating_add(u64::from(count)),
        false => seq >= frame.first_seq && seq > before,
    };
    if !fits || seq > frame.last_seq() || is_last != (count.saturating_add(1) == frame.record_count) {
        let text = "a record's number is not the one that its frame has there";
        return Err(Error::new(Code::Corrupt, text).about_seq(frame.first_seq.max(before.saturating_add(1))));
    }
    Ok(())
}

/// Every record of a whole frame is whole, and they are the ones that its header says.
pub fn check_records(frame: &FrameHeader, is_compacted: bool, body: &[u8]) -> Result<()> {
    if !frame.has(FLAG_DATA) {
        return Ok(());
    }
    check_counts(frame, is_compacted)?;
    let (mut at, mut count, mut seq) = (0, 0, frame.first_seq - 1);
    while at < body.len() {
        let (record, payload) =
            RecordHeader::decode(&body[at..]).map_err(|bad| bad_record(bad).about_seq(seq.saturating_add(1)))?;
        at += record_len(payload.len());
        check_number(frame, (count, seq), record.seq, at >= body.len())?;
        seq = record.seq;
        count += 1;
    }
    Ok(())
}
