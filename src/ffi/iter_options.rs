//! How a log is read, as C says it.

use super::sized::{self, Grows};
use crate::base::{Code, Error, Result};
use crate::format::record::FIRST_CALLER_KIND;
use crate::log::IterOptions;

/// twal_iter_options.flags: bits.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum twal_iter_flags {
    /// Pass over what is damaged and go on behind it, instead of ending with
    /// TWAL_E_CORRUPT or TWAL_E_IO; twal_iter_skipped() tells what was.
    TWAL_ITER_SKIP_DAMAGED = 1,
    /// Read and check headers alone: record.len is right, record.data is NULL
    /// (unless the record is empty), and twal_iter_payload() reads a payload
    /// when asked.  Blocks that hold nothing but payload are not read, unless a
    /// compaction took records out between them.
    TWAL_ITER_HEADERS_ONLY = 2,
    /// Read what is durable now, up to until_seq, and no more; and keep it:
    /// every segment of that is opened now, one file descriptor each, so that
    /// it stays for this reader whatever is trimmed or compacted meanwhile, and
    /// no record of it ever gives TWAL_E_TRIMMED.  Its room on the device comes
    /// back with twal_iter_close().
    TWAL_ITER_SNAPSHOT = 4,
    /// Map segments that are complete instead of reading them with O_DIRECT:
    /// they go through the page cache, which is asked to forget what was
    /// passed.  Bytes that the device does not give are TWAL_E_IO, as ever; but
    /// if somebody shortens a segment's file at that very moment, or a page
    /// that was read is given up by the kernel and cannot be read again, the
    /// process gets SIGBUS.  Without effect before Linux 5.14.
    TWAL_ITER_MAP_SEALED = 8,
}

/// How a log is read.  A field that is 0 has its default, so start from
/// TWAL_ITER_OPTIONS_INIT and set what you need.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct twal_iter_options {
    /// sizeof(twal_iter_options).
    pub struct_size: u64,
    /// The first number wanted; 0: the oldest.
    pub from_seq: u64,
    /// Bits of twal_iter_flags.
    pub flags: u32,
    /// Must be 0.
    pub reserved: u32,
    /// The last number wanted, that one included; 0: there is none.  A batch
    /// that goes on behind it is cut: its last record that is delivered has
    /// TWAL_RECORD_BATCH_CONTINUES as if more followed.
    pub until_seq: u64,
    /// Index of the segment to begin with, instead of from_seq.
    pub from_segment: u64,
    /// Most records wanted; 0: all.  See twal_iter_next_seq().  It may cut a
    /// batch, as until_seq does.
    pub limit: u64,
    /// The streams wanted; NULL: all.  Of a batch, the last record that is
    /// delivered ends it.
    pub streams: *const u64,
    /// How many they are.
    pub stream_count: u64,
    /// The types wanted, twal's own (below 0x0100) too; NULL: all.
    pub types: *const u32,
    /// How many they are.
    pub type_count: u64,
    /// Types of yours that you know, from 0x0100; NULL: all.  A record of
    /// another one is left out; but if it has TWAL_RECORD_REQUIRED, it stops
    /// the reader with TWAL_E_TYPE, also if streams or types would leave it
    /// out.
    pub known_types: *const u32,
    /// How many they are.
    pub known_type_count: u64,
}

// SAFETY: repr(C) without holes (96 = 11 * 8 + 2 * 4), struct_size first, plain numbers and pointers.
unsafe impl Grows for twal_iter_options {
    const NAME: &'static str = "twal_iter_options";
    const FIRST_SIZE: usize = 24;
}

const _: () = assert!(size_of::<twal_iter_options>() == 96);

const SKIP_DAMAGED: u32 = twal_iter_flags::TWAL_ITER_SKIP_DAMAGED as u32;
const HEADERS_ONLY: u32 = twal_iter_flags::TWAL_ITER_HEADERS_ONLY as u32;
const SNAPSHOT: u32 = twal_iter_flags::TWAL_ITER_SNAPSHOT as u32;
const MAP_SEALED: u32 = twal_iter_flags::TWAL_ITER_MAP_SEALED as u32;

/// What C asks for.
///
/// # Safety
///
/// `options` is NULL or a twal_iter_options as long as it says, with lists as long as they say.
pub(super) unsafe fn iter_options_of(options: *const twal_iter_options) -> Result<IterOptions> {
    if options.is_null() {
        return Ok(IterOptions::default());
    }
    // SAFETY: the contract.
    let taken = unsafe { sized::take(options)? };
    if taken.value.flags & !(SKIP_DAMAGED | HEADERS_ONLY | SNAPSHOT | MAP_SEALED) != 0 || taken.value.reserved != 0 {
        return Err(Error::new(Code::Inval, "iter_options has unknown flags, or reserved is not 0"));
    }
    let options = taken.known()?;
    let has = |flag| options.flags & flag != 0;
    // SAFETY: the contract.
    let (streams, kinds, known) = unsafe {
        (
            list(options.streams, options.stream_count)?,
            list(options.types, options.type_count)?,
            list(options.known_types, options.known_type_count)?,
        )
    };
    Ok(IterOptions {
        from_seq: options.from_seq,
        from_segment: options.from_segment,
        until_seq: options.until_seq,
        limit: options.limit,
        skip_damaged: has(SKIP_DAMAGED),
        headers_only: has(HEADERS_ONLY),
        snapshot: has(SNAPSHOT),
        map_sealed: has(MAP_SEALED),
        streams,
        kinds: kinds_of(kinds, 1)?,
        known_kinds: kinds_of(known, FIRST_CALLER_KIND)?,
        hidden: None,
    })
}

/// A copy of a list of C's; None: NULL.
///
/// # Safety
///
/// `first` is NULL or has `count` numbers.
unsafe fn list<T: Copy>(first: *const T, count: u64) -> Result<Option<Vec<T>>> {
    if first.is_null() {
        return match count {
            0 => Ok(None),
            _ => Err(Error::new(Code::Inval, "a list of iter_options is NULL, and its count is not 0")),
        };
    }
    let count = usize::try_from(count).ok().filter(|count| *count <= isize::MAX.unsigned_abs() / size_of::<T>());
    let count = count.filter(|_| first.is_aligned());
    let count = count.ok_or_else(|| Error::new(Code::Inval, "a list of iter_options cannot be that long"))?;
    let mut copy = Vec::new();
    copy.try_reserve_exact(count).map_err(|_| Error::new(Code::NoMem, "no memory for a list of iter_options"))?;
    // SAFETY: not NULL, aligned, not above isize::MAX bytes; the rest is the contract.
    copy.extend_from_slice(unsafe { std::slice::from_raw_parts(first, count) });
    Ok(Some(copy))
}

/// The record types that C's numbers stand for, each at least `lowest`.
fn kinds_of(list: Option<Vec<u32>>, lowest: u16) -> Result<Option<Vec<u16>>> {
    let kind = |number: u32| u16::try_from(number).ok().filter(|kind| *kind >= lowest);
    list.map(|list| list.into_iter().map(kind).collect::<Option<Vec<u16>>>())
        .map(|kinds| kinds.ok_or_else(|| Error::new(Code::Inval, "a type in iter_options is none")))
        .transpose()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ptr::null;

    const NONE: twal_iter_options = twal_iter_options {
        struct_size: 96,
        from_seq: 0,
        flags: 0,
        reserved: 0,
        until_seq: 0,
        from_segment: 0,
        limit: 0,
        streams: null(),
        stream_count: 0,
        types: null(),
        type_count: 0,
        known_types: null(),
        known_type_count: 0,
    };

    fn of(options: twal_iter_options) -> Result<IterOptions, Code> {
        // SAFETY: a twal_iter_options, or refused by its size; its lists live.
        unsafe { iter_options_of(&raw const options) }.map_err(|error| error.code)
    }

    #[test]
    fn every_field_arrives() {
        assert_eq!(of(NONE), Ok(IterOptions::default()));
        let (streams, types, known) = ([7, 1 << 40], [1, 0x0100, 0xffff], [0x0100]);
        let all = twal_iter_options {
            from_seq: 3,
            flags: 14,
            until_seq: 9,
            from_segment: 2,
            limit: 5,
            streams: streams.as_ptr(),
            stream_count: 2,
            types: types.as_ptr(),
            type_count: 3,
            known_types: known.as_ptr(),
            known_type_count: 1,
            ..NONE
        };
        let expected = IterOptions {
            from_seq: 3,
            from_segment: 2,
            until_seq: 9,
            limit: 5,
            skip_damaged: false,
            headers_only: true,
            snapshot: true,
            map_sealed: true,
            streams: Some(streams.to_vec()),
            kinds: Some(vec![1, 0x0100, 0xffff]),
            known_kinds: Some(vec![0x0100]),
            hidden: None,
        };
        assert_eq!(of(all), Ok(expected));
        for (flag, flags) in [(1, [1, 0, 0, 0]), (2, [0, 1, 0, 0]), (4, [0, 0, 1, 0]), (8, [0, 0, 0, 1])] {
            let got = of(twal_iter_options { flags: flag, ..NONE }).unwrap();
            assert_eq!([got.skip_damaged, got.headers_only, got.snapshot, got.map_sealed].map(u32::from), flags);
        }
        // The first release's struct ends in front of all that.
        let first = twal_iter_options { struct_size: 24, until_seq: 9, from_seq: 7, ..NONE };
        assert_eq!(of(first), Ok(IterOptions { from_seq: 7, ..IterOptions::default() }));
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let (streams, types) = ([7_u64], [0x0100_u32, 0x00ff, 0, 0x1_0000]);
        let lists = |at: usize| twal_iter_options { types: types[at..].as_ptr(), type_count: 1, ..NONE };
        let known = |at: usize| twal_iter_options { known_types: types[at..].as_ptr(), known_type_count: 1, ..NONE };
        assert!(of(lists(0)).is_ok() && of(lists(1)).is_ok() && of(known(0)).is_ok());
        for refused in [
            twal_iter_options { flags: 16, ..NONE },
            twal_iter_options { reserved: 1, ..NONE },
            twal_iter_options { struct_size: 16, ..NONE },
            twal_iter_options { stream_count: 1, ..NONE },
            twal_iter_options { type_count: 1, ..NONE },
            twal_iter_options { known_type_count: 1, ..NONE },
            twal_iter_options { streams: streams.as_ptr(), stream_count: u64::MAX, ..NONE },
            lists(2),
            lists(3),
            known(1),
            known(3),
        ] {
            assert_eq!(of(refused), Err(Code::Inval), "{refused:?}");
        }
        let empty = of(twal_iter_options { streams: streams.as_ptr(), ..NONE }).unwrap();
        assert_eq!(empty.streams, Some(vec![]), "a list of nothing is a list");
    }
}
