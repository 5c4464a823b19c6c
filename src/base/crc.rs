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

/// The seed from which `bytes` have the checksum `crc`: [`crc32c_append`] backwards.
pub fn crc32c_seed(crc: u32, bytes: &[u8]) -> u32 {
    const POLYNOMIAL: u32 = 0x82f6_3b78;
    let mut state = !crc;
    for byte in bytes.iter().rev() {
        for _ in 0..8 {
            // The polynomial's highest bit is set: so is the state's where a one fell out at the other end.
            state = if state >> 31 == 1 { (state ^ POLYNOMIAL) << 1 | 1 } else { state << 1 };
        }
        state ^= u32::from(*byte);
    }
    !state
}

/// The four bytes that lead from the checksum `seed` to the checksum `crc`.
pub fn crc32c_bridge(seed: u32, crc: u32) -> [u8; 4] {
    (seed ^ crc32c_seed(crc, &[0; 4])).to_le_bytes()
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

    #[test]
    fn goes_backwards() {
        for seed in [0, 1, 0x8000_0000, 0xdead_beef, u32::MAX] {
            let crc = crc32c_append(seed, b"any bytes at all");
            assert_eq!(crc32c_seed(crc, b"any bytes at all"), seed);
            assert_eq!(crc32c_append(seed, &crc32c_bridge(seed, 0x1234_5678)), 0x1234_5678);
        }
    }

    /// The check value of ISO 3309, and that of no bytes.
    #[test]
    fn agrees_with_iso_3309() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        assert_eq!(crc32(b""), 0);
    }
}
