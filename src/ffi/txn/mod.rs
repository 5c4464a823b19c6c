//! The transaction layer as C objects: a manager, and what is told to it and asked of it.
//!
//! `manager.rs` has the handle, with `call`, the only way in: NULL, forked, closed, broken, in this order.  What needs
//! no handle to be wrong is refused before it.

pub mod manager;

pub mod operation;

pub mod saga;

pub mod saga_get;

pub mod two_phase;

pub mod two_phase_get;

pub mod resume;

pub mod streams;

pub mod compact;

pub mod interchange;
