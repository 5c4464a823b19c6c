//! CRC-32C (Castagnoli), hardware where the CPU has it, through crate `crc32c`; and the CRC-32 of
//! the v2.6 layout, through crate `crc32fast`.
//!
//! A seed ties a checksum to the place it was computed for: see
//! docs/FORMAT.md, "Checksums".

/// CRC-32C of `bytes`.
pub fn crc32c(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes)
}

/// CRC-32C of what `seed` was computed over, followed by `bytes`.
pub fn crc32c_append(seed: u32, bytes: &[u8]) -> u32 {
    crc32c::crc32c_append(seed, bytes)
}

/// CRC-32 of `bytes` (IEEE 802.3: polynomial 0xEDB88320, initial value and final XOR 0xFFFFFFFF).
pub fn crc32(bytes: &[u8]) -> u32 {
    crc32fast::hash(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The check value of RFC 3720, appendix B.4.
    #[test]
    fn agrees_with_rfc_3720() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c_append(crc32c(b"1234"), b"56789"), 0xe306_9283);
    }

    /// The check value of ISO 3309, and that of no bytes.
    #[test]
    fn agrees_with_iso_3309() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        assert_eq!(crc32(b""), 0);
    }
}
