//! Layer 1: memory.
