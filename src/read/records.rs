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

/// Every record of a whole frame is whole, and they are the ones that its header says.
pub fn check_records(frame: &FrameHeader, body: &[u8]) -> Result<()> {
    if !frame.has(FLAG_DATA) {
        return Ok(());
    }
    let (mut at, mut count, mut seq) = (0, 0, frame.first_seq - 1);
    while at < body.len() {
        let (record, payload) = RecordHeader::decode(&body[at..]).map_err(bad_record)?;
        if record.seq <= seq || record.seq > frame.last_seq() {
            return Err(Error::new(Code::Corrupt, "a record's number is not one of its frame's").about_seq(record.seq));
        }
        seq = record.seq;
        count += 1;
        at += record_len(payload.len());
    }
    if count != frame.record_count {
        return Err(Error::new(Code::Corrupt, "a frame holds another number of records than its header says"));
    }
    Ok(())
}
