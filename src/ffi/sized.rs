//! Structs that begin with `struct_size`: the rules by which a program and a
//! library of different releases understand each other.
//!
//! The caller says how many bytes its struct has.  0, fewer than the first
//! release knew, no multiple of 8, or more than 4096: Inval, because no header
//! of ours ever gave such a number.  Beyond that:
//!
//! | the caller's struct | coming in | going out |
//! |---|---|---|
//! | is shorter than ours | what is missing is 0 | what does not fit is left out |
//! | is longer than ours | must be 0 there, else Unsupported | becomes 0 there |

use std::mem::size_of;

use super::guard::{self, always, call, Purpose};
use super::log::twal_log;
use crate::base::{Code, Error, Result};
use crate::log::Log;

/// More than any release will ever need: a larger number is garbage.
const SIZE_MAX: u64 = 4096;

/// A C struct that may grow.
///
/// # Safety
///
/// The type is `repr(C)`, has no padding, begins with `struct_size: u64`, and
/// all zeros are a value of it.
pub(super) unsafe trait Grows: Copy {
    /// What C calls it.
    const NAME: &'static str;
    /// Its size in the first release that had it, bytes.
    const FIRST_SIZE: usize;
}

/// A struct that came in, and whether it says more than this release knows.
pub(super) struct Taken<T> {
    pub value: T,
    pub tail_is_zero: bool,
}

impl<T: Grows> Taken<T> {
    /// The struct, if this release knows all that it says.
    pub fn known(self) -> Result<T> {
        if self.tail_is_zero {
            return Ok(self.value);
        }
        Err(Error::new(Code::Unsupported, format!("{} sets a field that this release does not know", T::NAME)))
    }
}

/// Checks `ptr` and the size it states; the size, in bytes.
///
/// # Safety
///
/// `ptr` is NULL or points to a `T` that states its true size.
unsafe fn stated_size<T: Grows>(ptr: *const T) -> Result<usize> {
    if ptr.is_null() {
        return Err(Error::new(Code::Inval, format!("the {} is NULL", T::NAME)));
    }
    if !ptr.is_aligned() {
        return Err(Error::new(Code::Inval, format!("the {} is not aligned", T::NAME)));
    }
    // SAFETY: not NULL and aligned, seen above; every Grows begins with this
    // u64 (trait), and the caller vouches that it is there.
    let stated = unsafe { ptr.cast::<u64>().read() };
    match usize::try_from(stated) {
        Ok(size) if size >= T::FIRST_SIZE && size % 8 == 0 && stated <= SIZE_MAX => Ok(size),
        _ => Err(Error::new(Code::Inval, format!("{}.struct_size is {stated}: set it to sizeof({0})", T::NAME))),
    }
}

/// Reads a struct by the rules above.
///
/// # Safety
///
/// `ptr` is NULL or points to a `T` of any release, as long as it says, that
/// nobody changes during the call.
pub(super) unsafe fn take<T: Grows>(ptr: *const T) -> Result<Taken<T>> {
    // SAFETY: the same contract.
    let size = unsafe { stated_size(ptr)? };
    // SAFETY: all zeros are a T (trait).
    let mut value: T = unsafe { std::mem::zeroed() };
    // SAFETY: the source has `size` bytes (caller), the destination
    // size_of::<T>(); any bytes are a T without padding; ours is a local.
    unsafe {
        std::ptr::copy_nonoverlapping(ptr.cast::<u8>(), (&raw mut value).cast::<u8>(), size.min(size_of::<T>()));
    }
    let tail = size.saturating_sub(size_of::<T>());
    // SAFETY: where the tail is not empty the caller's struct goes on behind
    // our T for `tail` bytes; where it is, one past its end is not read.
    let tail = unsafe { std::slice::from_raw_parts(ptr.cast::<u8>().add(size - tail), tail) };
    Ok(Taken { value, tail_is_zero: tail.iter().all(|byte| *byte == 0) })
}

/// Whether [`give`] would accept `ptr`: to be asked before the work is done.
///
/// # Safety
///
/// As for [`give`].
pub(super) unsafe fn check<T: Grows>(ptr: *const T) -> Result<()> {
    // SAFETY: the same contract.
    unsafe { stated_size(ptr) }.map(|_| ())
}

/// Fills a struct by the rules above; `struct_size` stays as the caller set it.
///
/// # Safety
///
/// `ptr` is NULL or points to a writable `T` of any release, as long as it
/// says, that nobody else uses during the call.
pub(super) unsafe fn give<T: Grows>(ptr: *mut T, value: &T) -> Result<()> {
    // SAFETY: the same contract.
    let size = unsafe { stated_size(ptr)? };
    let fits = size.min(size_of::<T>());
    let skip = size_of::<u64>();
    // SAFETY: both structs have at least `fits` bytes, the caller's `size`, and
    // do not overlap, since `value` is ours.
    unsafe {
        let to = ptr.cast::<u8>();
        std::ptr::copy_nonoverlapping((&raw const *value).cast::<u8>().add(skip), to.add(skip), fits - skip);
        to.add(fits).write_bytes(0, size - fits);
    }
    Ok(())
}

/// As [`check`], of what the caller may do without.
///
/// # Safety
///
/// As for [`give`].
pub(super) unsafe fn check_wanted<T: Grows>(ptr: *const T) -> Result<()> {
    if ptr.is_null() {
        return Ok(());
    }
    // SAFETY: the same contract.
    unsafe { check(ptr) }
}

/// As [`give`], of what the caller may do without.
///
/// # Safety
///
/// As for [`give`].
pub(super) unsafe fn give_wanted<T: Grows>(ptr: *mut T, value: &T) -> Result<()> {
    if ptr.is_null() {
        return Ok(());
    }
    // SAFETY: the same contract.
    unsafe { give(ptr, value) }
}

/// Whether [`give_all`] would accept `ptr`: to be asked before the work is done.
///
/// # Safety
///
/// As for [`give_all`].
unsafe fn check_all<T: Grows>(ptr: *const T, capacity: usize) -> Result<()> {
    if capacity == 0 {
        return Ok(());
    }
    // SAFETY: the same contract, for the first of them.
    let size = unsafe { stated_size(ptr)? };
    if capacity > isize::MAX.unsigned_abs() / size {
        return Err(Error::new(Code::Inval, "capacity is more than memory can hold"));
    }
    Ok(())
}

/// Fills an array of structs by the rules above, as far as it goes; the first one's `struct_size` is each one's.
///
/// # Safety
///
/// `ptr` points to `capacity` writable `T` of any release, as long as the first one says, that nobody else uses during
/// the call; NULL only if `capacity` is 0.
unsafe fn give_all<T: Grows>(ptr: *mut T, capacity: usize, values: impl Iterator<Item = T>) -> Result<()> {
    if capacity == 0 {
        return Ok(());
    }
    // SAFETY: the same contract.
    let size = unsafe { stated_size(ptr)? };
    for (at, value) in values.take(capacity).enumerate() {
        // SAFETY: the array goes on for `capacity` structs of that size (contract), which is a multiple of 8.
        let element = unsafe { ptr.byte_add(at * size) };
        // SAFETY: every Grows begins with this number (trait).
        unsafe { element.cast::<u64>().write(size as u64) };
        // SAFETY: it states its size now.
        unsafe { give(element, &value)? };
    }
    Ok(())
}

/// What a call that tells of several things does: asks the log for all of them, fills the array and the count.
///
/// # Safety
///
/// `log` is NULL or an open log as [`call`] wants it; `out` and `capacity` are as for [`give_all`], or NULL and refused;
/// `count_out` is NULL or room for a number.
pub(super) unsafe fn tell_all<T: Grows, V>(
    log: *const twal_log,
    out: *mut T,
    capacity: usize,
    count_out: *mut usize,
    ask: impl FnOnce(&Log) -> Result<Vec<V>>,
    c_of: impl Fn(&V) -> T,
) -> Result<()> {
    if log.is_null() {
        return Err(Error::new(Code::Inval, "the log is NULL"));
    }
    // SAFETY: NULL or room for a number (contract).
    let count_out = unsafe { guard::must_have(count_out)? };
    // SAFETY: the contract.
    unsafe { check_all(out, capacity)? };
    // SAFETY: the contract.
    let all = unsafe { call(log, Purpose::Look, always, ask)? };
    // SAFETY: the contract.
    unsafe { give_all(out, capacity, all.iter().map(c_of))? };
    // SAFETY: must_have has seen it.
    unsafe { count_out.write(all.len()) };
    Ok(())
}

/// Puts `text` into a C array: cut at a character, always ended by NUL.
pub(super) fn put_text(to: &mut [std::ffi::c_char], text: &str) {
    let room = to.len() - 1;
    let mut len = text.len().min(room);
    while !text.is_char_boundary(len) {
        len -= 1;
    }
    to.fill(0);
    for (to, byte) in to.iter_mut().zip(text[..len].bytes()) {
        // A NUL inside would end the text early.
        *to = std::ffi::c_char::from_ne_bytes([if byte == 0 { b'?' } else { byte }]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[repr(C)]
    #[derive(Debug, Clone, Copy, PartialEq)]
    struct Now {
        struct_size: u64,
        a: u64,
        b: u64,
    }

    // SAFETY: repr(C), u64 only, struct_size first.
    unsafe impl Grows for Now {
        const NAME: &'static str = "now";
        const FIRST_SIZE: usize = 16;
    }

    /// A buffer that starts with `size`, then 1, 2, 3 …
    fn stated(size: u64) -> [u64; 600] {
        let mut words: [u64; 600] = std::array::from_fn(|at| at as u64);
        words[0] = size;
        words
    }

    fn taken(words: &[u64; 600]) -> Result<Now> {
        // SAFETY: 4800 bytes are more than any accepted size.
        unsafe { take(words.as_ptr().cast::<Now>()) }.and_then(Taken::known)
    }

    #[test]
    fn sizes_no_header_ever_gave_are_refused() {
        for size in [0, 1, 8, 15, 17, 20, 23, 25, 4097, 4104, u64::MAX] {
            assert_eq!(taken(&stated(size)).unwrap_err().code, Code::Inval, "{size}");
        }
        // SAFETY: NULL is allowed.
        assert_eq!(unsafe { check(std::ptr::null::<Now>()) }.unwrap_err().code, Code::Inval);
    }

    #[test]
    fn a_shorter_struct_is_0_where_it_ends() {
        assert_eq!(taken(&stated(16)).unwrap(), Now { struct_size: 16, a: 1, b: 0 });
        assert_eq!(taken(&stated(24)).unwrap(), Now { struct_size: 24, a: 1, b: 2 });
    }

    #[test]
    fn a_longer_struct_must_be_0_behind_ours() {
        assert_eq!(taken(&stated(32)).unwrap_err().code, Code::Unsupported);
        let mut words = stated(4096);
        words[3..].fill(0);
        assert_eq!(taken(&words).unwrap(), Now { struct_size: 4096, a: 1, b: 2 });
        words[511] = 1 << 56; // the very last byte
        assert_eq!(taken(&words).unwrap_err().code, Code::Unsupported);
    }

    #[test]
    fn what_fits_is_given_and_no_byte_more() {
        let value = Now { struct_size: 0, a: 71, b: 72 };
        for (size, wanted) in [(16, [16, 71, 2, 3, 4]), (24, [24, 71, 72, 3, 4]), (32, [32, 71, 72, 0, 4])] {
            let mut words = stated(size);
            // SAFETY: 4800 bytes are more than any accepted size.
            unsafe { give(words.as_mut_ptr().cast::<Now>(), &value) }.unwrap();
            assert_eq!(words[..5], wanted);
        }
        let mut words = stated(8);
        // SAFETY: as above; refused anyway.
        assert!(unsafe { give(words.as_mut_ptr().cast::<Now>(), &value) }.is_err());
        assert_eq!(words, stated(8));
    }

    #[test]
    fn an_array_is_filled_as_far_as_it_goes() {
        let values = || (1..=3).map(|n| Now { struct_size: 0, a: 10 * n, b: 11 * n });
        for (size, capacity, wanted) in [
            (16, 2, vec![16, 10, 16, 20, 4]),
            (24, 2, vec![24, 10, 11, 24, 20, 22, 6]),
            (32, 1, vec![32, 10, 11, 0, 4]),
            (16, 9, vec![16, 10, 16, 20, 16, 30, 6]),
        ] {
            let mut words = stated(size);
            // SAFETY: 4800 bytes are more than any of these arrays.
            unsafe { give_all(words.as_mut_ptr().cast::<Now>(), capacity, values()) }.unwrap();
            assert_eq!(words[..wanted.len()], wanted);
        }
        // SAFETY: refused by their numbers, or nothing is there to be filled.
        unsafe {
            assert!(check_all(stated(16).as_ptr().cast::<Now>(), usize::MAX / 8).is_err());
            assert!(check_all(std::ptr::null::<Now>(), 1).is_err());
            assert!(check_all(std::ptr::null::<Now>(), 0).is_ok());
        }
    }

    #[test]
    fn text_is_cut_at_a_character() {
        let mut to = [1; 6];
        let bytes = |to: [std::ffi::c_char; 6]| to.map(|char| char.to_ne_bytes()[0]);
        put_text(&mut to, "abcdé");
        assert_eq!(bytes(to), *b"abcd\0\0");
        put_text(&mut to, "a\0b");
        assert_eq!(bytes(to), *b"a?b\0\0\0");
    }
}
