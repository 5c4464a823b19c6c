//! A record from several places of memory.

use std::ffi::{c_int, c_void};
use std::mem::{offset_of, size_of};

use super::entry::{self, twal_entry};
use super::guard::{self, always, call, guard, Purpose};
use super::log::{check_size, entries_of, twal_log};
use crate::base::{Code, Error, Result};

/// A part of a payload.  It is laid out like struct iovec, and never changes.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct twal_part {
    /// The bytes.  NULL only if len is 0.
    pub data: *const c_void,
    /// How many; may be 0.
    pub len: usize,
}

const _: () = assert!(size_of::<twal_part>() == 16 && offset_of!(twal_part, len) == 8);
const _: () = assert!(size_of::<twal_part>() == size_of::<libc::iovec>());
const _: () = assert!(offset_of!(libc::iovec, iov_base) == 0 && offset_of!(libc::iovec, iov_len) == 8);

/// Appends one record whose payload is several parts, one after the other.
///
/// As twal_append_entry() with a payload put together before, without putting
/// it together: each byte is copied once, to where the device takes it from.
///
///   log      an open log
///   entry    the record; start from TWAL_ENTRY_INIT.  Its data is NULL, its
///            len is 0.
///   parts    the parts, of which every one may be empty; NULL only if count
///            is 0
///   count    how many; 0 makes an empty record
///   seq_out  receives the record's number; NULL if you do not need it.
///            Untouched on failure.
///
/// Returns what twal_append_entry() returns, and
///
///   TWAL_E_INVAL   also: entry.data is not NULL or entry.len not 0; parts is
///                  NULL and count is not 0; a part's data is NULL and its len
///                  is not 0
///   TWAL_E_TOOBIG  the parts in sum are above options.record_size_max
///
/// Blocks:  as twal_append_entry().
/// Threads: any.
/// Signals: not async-signal-safe.
/// Since:   0.1
#[must_use]
#[no_mangle]
pub unsafe extern "C" fn twal_append_gather(
    log: *mut twal_log,
    entry: *const twal_entry,
    parts: *const twal_part,
    count: usize,
    seq_out: *mut u64,
) -> c_int {
    guard(|| {
        let check = |max| {
            // SAFETY: NULL or an entry that is there during the call (C contract).
            let entry = &unsafe { entries_of(entry, 1)? }[0];
            entry::check(entry)?;
            if !entry.data.is_null() || entry.len != 0 {
                let text = "the payload is in the parts: entry.data must be NULL, entry.len 0";
                return Err(Error::new(Code::Inval, text));
            }
            // SAFETY: NULL or parts that are there during the call (C contract).
            let parts = unsafe { parts_of(parts, count)? };
            parts.iter().try_for_each(|part| entry::check_payload(part.data, part.len))?;
            // Saturating: a sum that overflows is above any maximum.
            check_size(parts.iter().fold(0, |sum: usize, part| sum.saturating_add(part.len)), max)?;
            Ok((entry, parts))
        };
        // SAFETY: NULL or an open log (C contract).
        let (entry, parts) = unsafe { guard::checked(log, check)? };
        let how = entry::how(entry.flags);
        let entry = entry::head_of(entry);
        // SAFETY: each one was checked; the bytes are there during the call (C contract).
        let parts = parts.iter().map(|part| unsafe { entry::payload(part.data, part.len) });
        // SAFETY: an open log (C contract).
        let seq = unsafe { call(log, Purpose::Change, always, |log| log.append_parts(&entry, parts, how))? };
        // SAFETY: NULL or room for a number (C contract).
        unsafe { guard::put_seq(seq_out, seq) };
        Ok(())
    })
}

/// The parts at `parts`.
///
/// # Safety
///
/// `parts` is NULL or points to `count` parts that nobody changes during `'a`.
unsafe fn parts_of<'a>(parts: *const twal_part, count: usize) -> Result<&'a [twal_part]> {
    if count == 0 {
        return Ok(&[]);
    }
    if parts.is_null() || !parts.is_aligned() {
        return Err(Error::new(Code::Inval, "the parts are NULL or not aligned"));
    }
    if count > isize::MAX.unsigned_abs() / size_of::<twal_part>() {
        return Err(Error::new(Code::TooBig, "count is more parts than memory can hold"));
    }
    // SAFETY: not NULL, aligned, not above isize::MAX bytes; the rest is the contract.
    Ok(unsafe { std::slice::from_raw_parts(parts, count) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ptr::{null, null_mut};

    #[test]
    fn what_is_no_list_of_parts_is_refused_before_it_is_read() {
        let part = twal_part { data: null(), len: 0 };
        // SAFETY: refused by pointer or number before one is read, but for the one that is there.
        let code = |parts, count| unsafe { parts_of(parts, count) }.map(<[_]>::len).map_err(|error| error.code);
        assert_eq!(code(null(), 0), Ok(0));
        assert_eq!(code(&raw const part, 1), Ok(1));
        assert_eq!(code(null(), 1), Err(Code::Inval));
        assert_eq!(code(&raw const part, usize::MAX), Err(Code::TooBig));
        // SAFETY: NULL is allowed in a call's own words.
        assert_eq!(unsafe { twal_append_gather(null_mut(), null(), null(), 0, null_mut()) }, -101);
    }
}
