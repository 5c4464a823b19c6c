//! Records of a frame whose body is not read: header by header.
//!
//! A record's header has its own checksum, but nothing in it ties it to this
//! frame, as the body's checksum would.  So its number has to be the one that
//! the frame says: where no record was taken out, exactly the next; and the
//! headers have to end where the body ends, as many as the frame says.

use super::cursor::Present;
use super::records::{bad_record, check_number};
use super::Walker;
use crate::base::bytes::{len_u64, usize_of};
use crate::base::{Code, Error, Result};
use crate::format::record::record_len;
use crate::format::{RecordHeader, FRAME_HEADER_LEN, RECORD_HEADER_LEN};

/// Where the record at `at` of the body lies in the file.
fn offset(walker: &Walker, at: usize) -> u64 {
    walker.offset() + len_u64(FRAME_HEADER_LEN) + len_u64(at)
}

/// The header at `at` of the body.
pub fn at(walker: &mut Walker, frame: &Present, at: usize) -> Result<RecordHeader> {
    let span = walker.span(offset(walker, at), RECORD_HEADER_LEN.min(frame.records_end - at))?;
    RecordHeader::decode_header_with(&walker.bytes()[span], len_u64(frame.records_end - at))
        .map_err(|bad| bad_record(bad).at(walker.index(), walker.offset()))
}

/// The header of the frame's next record.
pub fn next(walker: &mut Walker, frame: &mut Present) -> Result<RecordHeader> {
    match the_next(walker, frame) {
        // Read once more before it is called damage.
        Err(error) if error.code == Code::Corrupt => {
            walker.forget();
            the_next(walker, frame)
        }
        read => read,
    }
}

/// What lies where the next record is, if it is that.
fn the_next(walker: &mut Walker, frame: &Present) -> Result<RecordHeader> {
    let record = at(walker, frame, frame.next)?;
    let is_last = frame.next + record_len(usize_of(u64::from(record.len))) == frame.records_end;
    check_number(&frame.header, (frame.count, frame.record.seq), record.seq, is_last)
        .map_err(|error| error.at(walker.index(), walker.offset()))?;
    Ok(record)
}

/// The payload of the present record.
pub fn payload<'a>(walker: &'a mut Walker, frame: &Present) -> Result<&'a [u8]> {
    let len = RECORD_HEADER_LEN + usize_of(u64::from(frame.record.len));
    let from = offset(walker, frame.payload - RECORD_HEADER_LEN);
    let is_right = |bytes: &[u8]| {
        let room = len_u64(record_len(len - RECORD_HEADER_LEN));
        let head = RecordHeader::decode_header_with(bytes, room);
        head == Ok(frame.record) && frame.record.is_payload(&bytes[RECORD_HEADER_LEN..])
    };
    let read = |walker: &mut Walker| -> Result<bool> {
        // Only its header was read: that alone takes no memory.
        if !walker.may_take(len_u64(len)) {
            let payload = from + len_u64(RECORD_HEADER_LEN);
            let crc = walker.sum(payload, from + len_u64(len), &mut |_, _| ())?;
            if crc != frame.record.payload_crc {
                return Ok(false);
            }
        }
        let span = walker.span(from, len)?;
        Ok(is_right(&walker.bytes()[span]))
    };
    if !read(walker)? {
        walker.forget();
        if !read(walker)? {
            let text = "a record's payload is damaged";
            return Err(Error::new(Code::Corrupt, text).at(walker.index(), from).about_seq(frame.record.seq));
        }
    }
    let span = walker.span(from, len)?;
    Ok(&walker.bytes()[span][RECORD_HEADER_LEN..])
}
