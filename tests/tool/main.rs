//! The program `twal`, run as it was built: what it prints, how it ends, and
//! that what only reads changes nothing.
//!
//! Method: over committed logs (`tests/golden/`) and over logs that a test makes,
//! outputs are compared with `tests/tool/expected/`; `TWAL_WRITE_TOOL=1` writes
//! those, the manual page and the completions (that is "make tool-text").
#![forbid(unsafe_code)]

#[allow(dead_code)] // it serves others too
#[path = "../golden/common.rs"]
mod common;

mod beside;
mod damage;
mod exits;
mod harness;
mod made;
mod reading;
mod shipping;
mod transactions;
mod writing;
