//! Which twal this is.  The numbers come from Cargo.toml; the header's macros
//! are tested against them.

use std::ffi::{c_char, CStr};

const fn number(text: &str) -> u32 {
    match u32::from_str_radix(text, 10) {
        Ok(number) => number,
        Err(_) => panic!("Cargo.toml's version has three numbers"),
    }
}

const MAJOR: u32 = number(env!("CARGO_PKG_VERSION_MAJOR"));
const MINOR: u32 = number(env!("CARGO_PKG_VERSION_MINOR"));
const PATCH: u32 = number(env!("CARGO_PKG_VERSION_PATCH"));
const _: () = assert!(MINOR < 1000 && PATCH < 1000, "the parts must not run into each other");

const STRING: &CStr = match CStr::from_bytes_with_nul(concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes()) {
    Ok(string) => string,
    Err(_) => panic!("a version has no NUL in it"),
};

/// The version of the library that is running: 1000000 * major + 1000 * minor
/// + patch, so that later releases compare greater.
///
/// TWAL_VERSION_NUMBER is the version of the header that was compiled against.
/// A library is good for a program if it has the same major number (below 1.0:
/// the same minor number too) and is not older.
///
/// Blocks:  no.
/// Threads: any.
/// Signals: async-signal-safe.
/// Since:   0.1
#[no_mangle]
pub extern "C" fn twal_version_number() -> u32 {
    MAJOR * 1_000_000 + MINOR * 1000 + PATCH
}

/// The same version as text, such as "0.1.0".
///
/// The text is constant; never NULL, never freed.
///
/// Blocks:  no.
/// Threads: any.
/// Signals: async-signal-safe.
/// Since:   0.1
#[no_mangle]
pub extern "C" fn twal_version_string() -> *const c_char {
    STRING.as_ptr()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The header's macros are written by hand in cbindgen.toml.
    #[test]
    fn the_header_says_the_same() {
        let header = include_str!("../../include/twal.h");
        for (name, value) in
            [("TWAL_VERSION_MAJOR", MAJOR), ("TWAL_VERSION_MINOR", MINOR), ("TWAL_VERSION_PATCH", PATCH)]
        {
            assert!(header.contains(&format!("#define {name} {value}\n")), "include/twal.h: {name} is not {value}");
        }
        let string = STRING.to_str().unwrap();
        assert!(header.contains(&format!("#define TWAL_VERSION_STRING \"{string}\"\n")));
        assert_eq!(string, format!("{MAJOR}.{MINOR}.{PATCH}"));
        assert_eq!(twal_version_number(), MAJOR * 1_000_000 + MINOR * 1000 + PATCH);
    }
}
