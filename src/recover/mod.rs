//! Layer 5: from a directory to the state to continue from.
#![forbid(unsafe_code)]

pub mod beginning;
pub mod copy;
pub mod create;
pub mod examine;
pub mod fill;
pub mod finding;
pub mod isolate;
pub mod moves;
pub mod open;
pub mod plan;
pub mod repair;
pub mod restore;
pub mod verdict;
pub mod verify;
