//! What source and sink say to each other: positions and pieces, as C structs.

use std::ffi::c_void;

use super::entry::{check_payload, payload};
use super::sized::Grows;
use crate::base::bytes::len_u64;
use crate::base::{Code, Error, Result};
use crate::ship::{Piece, Position};

/// A place in a log's bytes, from which shipping goes on: what twal_sink_position()
/// tells and twal_source_open() takes.
///
/// Plain numbers: it may be sent to another process or machine of the same byte
/// order as it is.  All zeros behind struct_size: the very beginning.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct twal_ship_position {
    /// sizeof(twal_ship_position), set by the caller.
    pub struct_size: u64,
    /// Index of the segment; 0: nothing yet.
    pub index: u64,
    /// How often the segment had been compacted.
    pub generation: u64,
    /// Offset in its file, bytes.
    pub offset: u64,
    /// Identity of the last frame in front of it: it stands for all before.
    pub identity: u64,
    /// Every record up to this number is in front of it.  Of a sink's position:
    /// what can be acknowledged.
    pub last_seq: u64,
    /// A hold at this number keeps at the source whatever is needed from here
    /// on: what to give twal_hold_set().  0: everything there is.
    pub hold_seq: u64,
    /// 1: the segment is complete, the next byte is the next one's first.
    pub complete: u64,
    /// Which log.
    pub log_id: [u8; 16],
    /// Which history of it; a promotion begins a new one.
    pub history_id: [u8; 16],
    /// Salt of the segment's file.
    pub salt: [u8; 16],
}

// SAFETY: repr(C) without holes (112 = 8 * 8 + 3 * 16), struct_size first, plain numbers.
unsafe impl Grows for twal_ship_position {
    const NAME: &'static str = "twal_ship_position";
    const FIRST_SIZE: usize = 112;
}

const _: () = assert!(size_of::<twal_ship_position>() == 112);

/// Some bytes of one segment, as they are on disk: whole frames, or the header,
/// or what lies behind the seal.
///
/// To send one, send the struct with data set to NULL, then the len bytes; who
/// receives them sets data to where they are.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct twal_ship_piece {
    /// sizeof(twal_ship_piece), set by the caller.
    pub struct_size: u64,
    /// Index of the segment.
    pub index: u64,
    /// How often it was compacted.
    pub generation: u64,
    /// Where in the segment's file the piece begins; 0: it is the header.
    pub offset: u64,
    /// So many bytes of it are zeros, which come first and are not in data.
    pub zeros: u64,
    /// Number of the segment's first record.
    pub first_seq: u64,
    /// With this piece a follower has every record up to this number.
    pub last_seq: u64,
    /// Index of the newest segment that the source has released; 0: none. It is
    /// told with the records that were durable by then, a checkpoint that the
    /// release goes by among them.
    pub archived: u64,
    /// Checksum of the numbers above, the ids and the bytes: damage on the way
    /// shows.
    pub crc: u64,
    /// The bytes; valid until the next call on the source.
    pub data: *const c_void,
    /// How many there are; may be 0 where there are zeros.
    pub len: u64,
    /// Which log.
    pub log_id: [u8; 16],
    /// Which history the log is in.
    pub history_id: [u8; 16],
    /// Salt of the segment's file.
    pub salt: [u8; 16],
}

// SAFETY: repr(C) without holes (136 = 11 * 8 + 3 * 16), struct_size first, numbers and a pointer.
unsafe impl Grows for twal_ship_piece {
    const NAME: &'static str = "twal_ship_piece";
    const FIRST_SIZE: usize = 136;
}

const _: () = assert!(size_of::<twal_ship_piece>() == 136);

pub(super) fn position_of(c: &twal_ship_position) -> Result<Position> {
    if c.complete > 1 {
        return Err(Error::new(Code::Inval, format!("position.complete is {}, neither 0 nor 1", c.complete)));
    }
    Ok(Position {
        log_id: c.log_id,
        history_id: c.history_id,
        salt: c.salt,
        index: c.index,
        generation: c.generation,
        offset: c.offset,
        identity: c.identity,
        last_seq: c.last_seq,
        hold_seq: c.hold_seq,
        complete: c.complete == 1,
    })
}

pub(super) fn c_position_of(position: &Position) -> twal_ship_position {
    twal_ship_position {
        struct_size: 0,
        index: position.index,
        generation: position.generation,
        offset: position.offset,
        identity: position.identity,
        last_seq: position.last_seq,
        hold_seq: position.hold_seq,
        complete: u64::from(position.complete),
        log_id: position.log_id,
        history_id: position.history_id,
        salt: position.salt,
    }
}

/// The piece that C's struct stands for.
///
/// # Safety
///
/// `c.data` is NULL or points to `c.len` bytes that nobody changes for as long as the piece is used.
pub(super) unsafe fn piece_of(c: &twal_ship_piece) -> Result<Piece<'_>> {
    let len = usize::try_from(c.len).unwrap_or(usize::MAX);
    check_payload(c.data, len)?;
    if len > isize::MAX.unsigned_abs() {
        return Err(Error::new(Code::Inval, "piece.len is more than memory can hold"));
    }
    // SAFETY: just checked; the bytes are there (contract).
    let data = unsafe { payload(c.data, len) };
    let wrong = || Error::new(Code::Corrupt, "piece.crc is no checksum").at(c.index, c.offset);
    Ok(Piece {
        log_id: c.log_id,
        history_id: c.history_id,
        salt: c.salt,
        index: c.index,
        generation: c.generation,
        offset: c.offset,
        zeros: c.zeros,
        first_seq: c.first_seq,
        last_seq: c.last_seq,
        archived: c.archived,
        crc: u32::try_from(c.crc).map_err(|_| wrong())?,
        data,
    })
}

pub(super) fn c_piece_of(piece: &Piece<'_>) -> twal_ship_piece {
    twal_ship_piece {
        struct_size: 0,
        index: piece.index,
        generation: piece.generation,
        offset: piece.offset,
        zeros: piece.zeros,
        first_seq: piece.first_seq,
        last_seq: piece.last_seq,
        archived: piece.archived,
        crc: u64::from(piece.crc),
        data: piece.data.as_ptr().cast(),
        len: len_u64(piece.data.len()),
        log_id: piece.log_id,
        history_id: piece.history_id,
        salt: piece.salt,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each field gets a number of its own, so that two swapped ones show.
    #[test]
    fn every_field_arrives_and_comes_back() {
        let position = Position {
            log_id: [1; 16],
            history_id: [2; 16],
            salt: [3; 16],
            index: 4,
            generation: 5,
            offset: 6,
            identity: 7,
            last_seq: 8,
            hold_seq: 9,
            complete: true,
        };
        let c = c_position_of(&position);
        assert_eq!([c.index, c.generation, c.offset, c.identity, c.last_seq, c.hold_seq], [4, 5, 6, 7, 8, 9]);
        assert_eq!([c.log_id[0], c.history_id[0], c.salt[0]], [1, 2, 3]);
        assert_eq!(position_of(&c), Ok(position));
        assert_eq!(position_of(&twal_ship_position { complete: 2, ..c }).map_err(|e| e.code), Err(Code::Inval));
        let piece = Piece {
            log_id: [1; 16],
            history_id: [2; 16],
            salt: [3; 16],
            index: 4,
            generation: 5,
            offset: 6,
            zeros: 7,
            first_seq: 8,
            last_seq: 9,
            archived: 10,
            crc: 11,
            data: b"bytes",
        };
        let c = c_piece_of(&piece);
        assert_eq!([c.index, c.generation, c.offset, c.zeros, c.first_seq], [4, 5, 6, 7, 8]);
        assert_eq!([c.last_seq, c.archived, c.crc, c.len], [9, 10, 11, 5]);
        assert_eq!([c.log_id[0], c.history_id[0], c.salt[0]], [1, 2, 3]);
        // SAFETY: its bytes are the ones above.
        let back = unsafe { piece_of(&c) }.unwrap();
        assert_eq!((back.checksum(), back.crc, back.data), (piece.checksum(), 11, &b"bytes"[..]));
        // SAFETY: refused before they are looked at.
        let refused = |c: &twal_ship_piece| unsafe { piece_of(c) }.err().map(|error| error.code);
        assert_eq!(refused(&twal_ship_piece { crc: 1 << 32, ..c }), Some(Code::Corrupt));
        assert_eq!(refused(&twal_ship_piece { len: u64::MAX, ..c }), Some(Code::Inval));
        assert_eq!(refused(&twal_ship_piece { data: std::ptr::null(), ..c }), Some(Code::Inval));
    }
}
