//! twal: a write-ahead log for Linux storage nodes.
//!
//! Records from many threads go to disk with `O_DIRECT` in group-committed
//! frames; after any crash the log gives back exactly what it acknowledged, or
//! says what it cannot.  C, C++ and Zig programs use it through `include/twal.h`
//! (folder `ffi/`); Rust programs use [`Log`].
//!
//! The modules from bottom to top; a module imports only from those above it in
//! this list (`tests/tidy.rs` enforces it, docs/ARCHITECTURE.md explains it):
//!
//! | folder | holds |
//! |---|---|
//! | `base` | errors, options, limits, checksums, clock, counters |
//! | `format`, `mem` | bytes ↔ values; aligned buffers, the append ring, futex gates |
//! | `disk` | the only door to files: two engines and a simulated disk |
//! | `segment` | file names and states, the directory, spares, retention |
//! | `read` | walking frames, the record cursor |
//! | `recover`, `commit`, `compact` | verdict and open; group commit; sealed segments without what is no longer needed |
//! | `log` | [`Log`]: open = recover + commit |
//! | `interchange` | files of the v2.6 layout, as records to read and to write |
//! | `ship` | a log's bytes from one directory to another |
//! | `txn` | sagas and two-phase commits: pure machines, their table, the recovery's plan |
//! | `ffi` | the C ABI: check, call, answer |
#![warn(rustdoc::all)]

pub mod base;
pub mod commit;
pub mod compact;
pub mod disk;
pub mod ffi;
pub mod format;
pub mod interchange;
pub mod log;
pub mod mem;
pub mod read;
pub mod recover;
pub mod segment;
pub mod ship;
pub mod txn;

pub use base::histogram::Distribution;
pub use base::messages::{Level as MessageLevel, Listener, Message, Value as MessageValue};
pub use base::options::{Durability, IoEngine, Options, SizePolicy};
pub use base::{Code, Error};
pub use commit::Hint;
pub use format::HoldName;
pub use log::{verify, verify_on, verify_on_with, verify_with, Effort, Verified};
pub use log::{Acknowledged, Backup, Finding, FindingKind, Repair, Step, StepKind};
pub use log::{Candidate, CompactOptions, Compacted};
pub use log::{
    Done, Entry, Hidden, How, Iter, IterOptions, Log, Measured, Record, RecoveryReport, Reservation, Skipped, Stats,
    Tail,
};
pub use log::{HeldBy, HoldInfo, Segment, SegmentState, StreamCount};
pub use ship::{Piece, Position, Sink, SinkOptions, Source};
