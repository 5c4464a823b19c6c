//! Little-endian integers at fixed places of a buffer.
//!
//! Only these functions turn numbers into disk bytes, and they take no
//! machine-sized integer, so a `usize` cannot reach the format.

/// Writes `value` at `at`.
pub fn put_u16(buf: &mut [u8], at: usize, value: u16) {
    buf[at..at + 2].copy_from_slice(&value.to_le_bytes());
}

/// Writes `value` at `at`.
pub fn put_u32(buf: &mut [u8], at: usize, value: u32) {
    buf[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

/// Writes `value` at `at`.
pub fn put_u64(buf: &mut [u8], at: usize, value: u64) {
    buf[at..at + 8].copy_from_slice(&value.to_le_bytes());
}

/// Writes `value` at `at`.
pub fn put_i64(buf: &mut [u8], at: usize, value: i64) {
    buf[at..at + 8].copy_from_slice(&value.to_le_bytes());
}

/// Writes the bytes of an identity at `at`.
pub fn put_id(buf: &mut [u8], at: usize, value: &[u8; 16]) {
    buf[at..at + 16].copy_from_slice(value);
}

fn array<const N: usize>(buf: &[u8], at: usize) -> [u8; N] {
    let mut bytes = [0; N];
    bytes.copy_from_slice(&buf[at..at + N]);
    bytes
}

/// Reads a number at `at`.
pub fn get_u16(buf: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(array(buf, at))
}

/// Reads a number at `at`.
pub fn get_u32(buf: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(array(buf, at))
}

/// Reads a number at `at`.
pub fn get_u64(buf: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(array(buf, at))
}

/// Reads a number at `at`.
pub fn get_i64(buf: &[u8], at: usize) -> i64 {
    i64::from_le_bytes(array(buf, at))
}

/// Reads the bytes of an identity at `at`.
pub fn get_id(buf: &[u8], at: usize) -> [u8; 16] {
    array(buf, at)
}

/// A length as the format's number.  Lengths in memory always fit.
pub fn len_u64(len: usize) -> u64 {
    u64::try_from(len).expect("a length fits 64 bits")
}

/// A format's number as a length in memory: 64-bit Linux only, so it fits.
pub fn usize_of(value: u64) -> usize {
    usize::try_from(value).expect("64-bit only")
}
