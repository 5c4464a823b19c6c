//! Records on their way in and out.  Both structs are frozen: what changes
//! their size breaks every program that was ever compiled.

use std::ffi::c_void;
use std::mem::{offset_of, size_of};

use crate::base::{Code, Error, Result};
use crate::log::{Entry, How, Record};

/// twal_entry.flags: bits.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum twal_append_flags {
    /// Return when durable, whatever the log's durability is.
    TWAL_APPEND_SYNC = 1,
    /// Return when accepted, whatever the log's durability is.
    TWAL_APPEND_NO_SYNC = 2,
    /// Never wait for room: TWAL_E_AGAIN instead.  Durability is still waited
    /// for.
    TWAL_APPEND_NO_WAIT = 4,
    /// A reader that does not know this record's type must stop.
    TWAL_APPEND_REQUIRED = 8,
}

/// twal_record.flags: bits.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum twal_record_flags {
    /// Stop if you do not know this record's type.
    TWAL_RECORD_REQUIRED = 1,
    /// The next record belongs to the same batch.
    TWAL_RECORD_BATCH_CONTINUES = 2,
}

/// A record to be appended.  Start from TWAL_ENTRY_INIT.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct twal_entry {
    /// The payload, which twal never looks into.  NULL only if len is 0.
    pub data: *const c_void,
    /// Bytes of payload; 0 is an empty record, which is allowed.
    pub len: usize,
    /// A tag of yours, such as TWAL_STREAM(tenant, shard).
    pub stream: u64,
    /// Kept as given, in any order; or TWAL_TIMESTAMP_LOGICAL for a logical
    /// clock, which never goes back, also over restarts.
    pub timestamp: i64,
    /// A type of yours, from 0x0100 to 0xFFFF.  0: 0x0100.
    pub r#type: u32,
    /// Bits of twal_append_flags.
    pub flags: u32,
    /// Must be 0.
    pub reserved: [u64; 2],
}

/// A record read back.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct twal_record {
    /// Its number.
    pub seq: u64,
    /// Its tag.
    pub stream: u64,
    /// The writer's timestamp, or the logical clock's.
    pub timestamp: i64,
    /// Its type.
    pub r#type: u32,
    /// Bits of twal_record_flags; ignore those you do not know.
    pub flags: u32,
    /// The payload: 8-byte aligned, valid until the next call on the same
    /// iterator.  NULL only from a reader with TWAL_ITER_HEADERS_ONLY.
    pub data: *const c_void,
    /// Bytes of payload.
    pub len: usize,
    /// 0.
    pub reserved: [u64; 2],
}

const _: () = assert!(size_of::<twal_entry>() == 56 && size_of::<twal_record>() == 64);
const _: () = assert!(offset_of!(twal_entry, len) == 8 && offset_of!(twal_entry, stream) == 16);
const _: () = assert!(offset_of!(twal_entry, timestamp) == 24 && offset_of!(twal_entry, r#type) == 32);
const _: () = assert!(offset_of!(twal_entry, flags) == 36 && offset_of!(twal_entry, reserved) == 40);
const _: () = assert!(offset_of!(twal_record, stream) == 8 && offset_of!(twal_record, timestamp) == 16);
const _: () = assert!(offset_of!(twal_record, r#type) == 24 && offset_of!(twal_record, flags) == 28);
const _: () = assert!(offset_of!(twal_record, data) == 32 && offset_of!(twal_record, len) == 40);
const _: () = assert!(offset_of!(twal_record, reserved) == 48);

/// Type of a record whose caller named none: the first that is not twal's.
pub(super) const KIND_DEFAULT: u16 = 0x0100;

pub(super) const SYNC: u32 = twal_append_flags::TWAL_APPEND_SYNC as u32;
pub(super) const NO_SYNC: u32 = twal_append_flags::TWAL_APPEND_NO_SYNC as u32;
const NO_WAIT: u32 = twal_append_flags::TWAL_APPEND_NO_WAIT as u32;
const REQUIRED: u32 = twal_append_flags::TWAL_APPEND_REQUIRED as u32;

fn inval<T>(text: &'static str) -> Result<T> {
    Err(Error::new(Code::Inval, text))
}

/// The record type that C's number stands for; None if there is none.
fn kind_of(number: u32) -> Option<u16> {
    match u16::try_from(number) {
        Ok(0) => Some(KIND_DEFAULT),
        Ok(kind) if kind >= KIND_DEFAULT => Some(kind),
        _ => None,
    }
}

/// Whether there can be a payload at `data`: what every append asks first.
pub(super) fn check_payload(data: *const c_void, len: usize) -> Result<()> {
    if data.is_null() && len > 0 {
        return inval("data is NULL, len is not 0");
    }
    Ok(())
}

/// Checks everything about `entry` that needs no log.
pub(super) fn check(entry: &twal_entry) -> Result<()> {
    check_payload(entry.data, entry.len)?;
    check_head(entry)
}

/// Checks everything about `entry` but its payload.
pub(super) fn check_head(entry: &twal_entry) -> Result<()> {
    if kind_of(entry.r#type).is_none() {
        return inval("entry.type is not 0 and not from 0x0100 to 0xFFFF");
    }
    if entry.flags & !(SYNC | NO_SYNC | NO_WAIT | REQUIRED) != 0 {
        return inval("entry.flags has unknown bits");
    }
    if entry.flags & SYNC != 0 && entry.flags & NO_SYNC != 0 {
        return inval("entry.flags has both TWAL_APPEND_SYNC and TWAL_APPEND_NO_SYNC");
    }
    if entry.reserved != [0, 0] {
        return inval("entry.reserved is not 0");
    }
    Ok(())
}

/// Checks every entry of a batch, and that they agree on how to append.
pub(super) fn check_batch(entries: &[twal_entry]) -> Result<()> {
    entries.iter().try_for_each(check)?;
    if entries.iter().any(|entry| entry.flags != entries[0].flags) {
        return inval("entry.flags differ within a batch");
    }
    Ok(())
}

/// What the flags of a checked entry say about the call.
pub(super) fn how(flags: u32) -> How {
    let sync = match flags & (SYNC | NO_SYNC) {
        0 => None,
        bits => Some(bits == SYNC),
    };
    How { sync, no_wait: flags & NO_WAIT != 0 }
}

/// The payload as Rust sees it.
///
/// # Safety
///
/// `check_payload` accepted it, `len` is at most `isize::MAX`, and the bytes
/// are there and unchanged for `'a`.
pub(super) unsafe fn payload<'a>(data: *const c_void, len: usize) -> &'a [u8] {
    if len == 0 {
        return &[]; // data may be NULL, which no slice may be
    }
    // SAFETY: not NULL since len > 0 (check_payload); the rest is the contract.
    unsafe { std::slice::from_raw_parts(data.cast(), len) }
}

/// The entry as Rust sees it; copies no payload and allocates nothing.
///
/// # Safety
///
/// `check` accepted it, and its payload is as [`payload`] wants it.
pub(super) unsafe fn entry_of<'a>(entry: &twal_entry) -> Entry<'a> {
    // SAFETY: the same contract.
    Entry { data: unsafe { payload(entry.data, entry.len) }, ..head_of(entry) }
}

/// The same without the payload; `check_head` accepted it.
pub(super) fn head_of<'a>(entry: &twal_entry) -> Entry<'a> {
    Entry {
        data: &[],
        stream: entry.stream,
        timestamp: (entry.timestamp != i64::MIN).then_some(entry.timestamp),
        kind: kind_of(entry.r#type).expect("checked"),
        required: entry.flags & REQUIRED != 0,
    }
}

/// Where an empty payload is: somewhere, and aligned.
static EMPTY: u64 = 0;

/// The record as C sees it.
pub(super) fn record_of(record: &Record<'_>) -> twal_record {
    let required = if record.required { twal_record_flags::TWAL_RECORD_REQUIRED as u32 } else { 0 };
    let continues = if record.batch_continues { twal_record_flags::TWAL_RECORD_BATCH_CONTINUES as u32 } else { 0 };
    let len = record.len as usize;
    let data = match record.data.len() {
        0 if len > 0 => std::ptr::null(), // a reader of headers
        _ => payload_at(record.data),
    };
    debug_assert!(data.cast::<u64>().is_aligned(), "the cursor aligns payloads");
    twal_record {
        seq: record.seq,
        stream: record.stream,
        timestamp: record.timestamp,
        r#type: u32::from(record.kind),
        flags: required | continues,
        data: data.cast(),
        len,
        reserved: [0, 0],
    }
}

/// Where these bytes are; also if they are none.
pub(super) fn payload_at(data: &[u8]) -> *const u8 {
    if data.is_empty() {
        (&raw const EMPTY).cast()
    } else {
        data.as_ptr()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ptr::null;

    const GOOD: twal_entry =
        twal_entry { data: null(), len: 0, stream: 0, timestamp: i64::MIN, r#type: 0, flags: 0, reserved: [0, 0] };

    fn refused(entry: twal_entry) {
        assert_eq!(check(&entry).unwrap_err().code, Code::Inval, "{entry:?}");
    }

    #[test]
    fn what_cannot_be_appended_is_refused() {
        assert!(check(&GOOD).is_ok());
        refused(twal_entry { len: 1, ..GOOD });
        refused(twal_entry { len: usize::MAX, ..GOOD });
        for kind in [1, 0xFF, 0x1_0000, 0x1_0100, u32::MAX] {
            refused(twal_entry { r#type: kind, ..GOOD });
        }
        for flags in [3, 7, 11, 16, 1 << 30, 1 << 31, u32::MAX] {
            refused(twal_entry { flags, ..GOOD });
        }
        refused(twal_entry { reserved: [1, 0], ..GOOD });
        refused(twal_entry { reserved: [0, 1 << 63], ..GOOD });
    }

    #[test]
    fn types_from_0x0100_are_the_callers() {
        assert_eq!([0, 0x100, 0x101, 0xFFFF].map(kind_of), [Some(0x100), Some(0x100), Some(0x101), Some(0xFFFF)]);
    }

    #[test]
    fn a_batch_agrees_on_every_flag() {
        for flags in [1, 2, 4, 8] {
            let other = twal_entry { flags, ..GOOD };
            assert!(check_batch(&[other, other]).is_ok());
            assert_eq!(check_batch(&[GOOD, GOOD, other]).unwrap_err().code, Code::Inval, "{flags}");
        }
        assert!(check_batch(&[GOOD, twal_entry { r#type: 5, ..GOOD }]).is_err(), "the last entry counts too");
    }

    #[test]
    fn flags_say_how() {
        let of = |flags| (how(flags).sync, how(flags).no_wait);
        assert_eq!(of(0), (None, false));
        assert_eq!(of(SYNC), (Some(true), false));
        assert_eq!(of(NO_SYNC | NO_WAIT), (Some(false), true));
        assert_eq!(of(REQUIRED), (None, false));
    }

    #[test]
    fn an_entry_arrives_whole() {
        let data = *b"abc";
        let c = twal_entry {
            data: data.as_ptr().cast(),
            len: 3,
            stream: 7,
            timestamp: -1,
            r#type: 0x200,
            flags: REQUIRED,
            ..GOOD
        };
        // SAFETY: checked by hand, data lives.
        let entry = unsafe { entry_of(&c) };
        assert_eq!((entry.data, entry.stream, entry.timestamp), (&data[..], 7, Some(-1)));
        assert_eq!((entry.kind, entry.required), (0x200, true));
        // SAFETY: an empty record.
        let empty = unsafe { entry_of(&GOOD) };
        assert_eq!((empty.data, empty.timestamp, empty.kind), (&[][..], None, 0x100));
    }

    #[test]
    fn an_empty_payload_has_an_address() {
        let record = Record {
            seq: 1,
            stream: 2,
            timestamp: 3,
            kind: 4,
            required: true,
            batch_continues: true,
            len: 0,
            data: &[],
        };
        let c = record_of(&record);
        assert!(!c.data.is_null() && c.data.cast::<u64>().is_aligned());
        let unread = record_of(&Record { len: 9, ..record });
        assert!(unread.data.is_null() && unread.len == 9);
        assert_eq!((c.seq, c.stream, c.timestamp, c.r#type, c.flags, c.len), (1, 2, 3, 4, 3, 0));
    }
}
