//! Layer 1: memory.

pub mod fork;
