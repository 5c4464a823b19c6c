//! Layer 1: bytes ↔ values.
#![forbid(unsafe_code)]
