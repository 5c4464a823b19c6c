//! Layer 8: the C ABI.  One C object a file; a function here is check, call,
//! answer, and a second decision belongs below.
//!
//! The doc comments of what is exported are the C header's text: `make header`
//! generates `include/twal.h` from this folder, in the order of the list below.
//! What a C program may rely on is written there and nowhere else; the
//! `unsafe` of an exported function stands for exactly that contract.
//!
//! `guard.rs` is the only place that catches panics and the only one that turns
//! a C pointer into a handle.
#![allow(non_camel_case_types)] // a name is spelled alike in C and in Rust
#![allow(clippy::missing_safety_doc)] // the contract is the C comment

pub mod version;

pub mod code;

pub mod last_error;

pub mod options;

pub mod entry;

pub mod log;

pub mod gather;

pub mod reserve;

pub mod notify;

pub mod messages;

pub mod iter;

pub mod iter_options;

pub mod read;

pub mod keep;

pub mod segments;

pub mod streams;

pub mod stats;

pub mod histogram;

pub mod metrics;

pub mod recovery;

pub mod verify;

pub mod repair;

pub mod ship;

pub mod source;

pub mod sink;

pub mod txn;

mod callers;
mod guard;
mod single;
mod sized;
