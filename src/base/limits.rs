//! Every limit and default, and the relations between them.

/// Block size of a new log unless the device wants a larger one.
pub const BLOCK_SIZE_DEFAULT: u32 = 4096;
/// Smallest block size.
pub const BLOCK_SIZE_MIN: u32 = 512;
/// Largest block size.
pub const BLOCK_SIZE_MAX: u32 = 65536;

/// Size of a segment file.
pub const SEGMENT_SIZE_DEFAULT: u64 = 64 << 20;
/// Smallest segment file.
pub const SEGMENT_SIZE_MIN: u64 = 64 << 10;
/// Largest segment file: offsets stay far from overflow.
pub const SEGMENT_SIZE_MAX: u64 = 1 << 40;
/// Blocks of a segment that hold no records: header, last mark, seal.
pub const SEGMENT_OVERHEAD_BLOCKS: u64 = 3;

/// Epochs, numbers of records, and how often a file was written stay below: no writer comes so far, and whoever counts on
/// from what a file says never runs over.
pub const NUMBER_MAX: u64 = u64::MAX / 2;
/// Highest index of a segment: a name has 16 digits for it.
pub const INDEX_MAX: u64 = 9_999_999_999_999_999;
/// A log whose newest segment has a lower index can be written on.
pub const INDEX_WRITTEN_MAX: u64 = 5_000_000_000_000_000;
/// Numbers of spares that are given stay below: a name has 19 digits for it.
pub const SPARE_NUMBER_MAX: u64 = 1_000_000_000_000_000_000;

/// Bytes of accepted, not yet written records.
pub const RING_SIZE_DEFAULT: u64 = 32 << 20;
/// Largest ring.
pub const RING_SIZE_MAX: u64 = 1 << 36;

/// Usual largest frame: bigger ones no longer raise the bandwidth.
pub const FRAME_SIZE_CAP: u64 = 1 << 20;

/// Largest frame there can be: that of one batch.
pub const FRAME_SIZE_MAX: u64 = (u32::MAX / 2) as u64;

/// Largest payload by default.
pub const RECORD_SIZE_MAX_DEFAULT: u64 = 16 << 20;
/// Largest payload that can be asked for: a frame's body length is 32 bits wide.
pub const RECORD_SIZE_MAX: u64 = 1 << 30;

/// Records that make a flush due in mode GROUP.
pub const BATCH_RECORDS_DEFAULT: u64 = 64;
/// Microseconds after which a flush is due in mode GROUP.
pub const BATCH_DELAY_US_DEFAULT: u64 = 1000;
/// Milliseconds after which what was accepted without a wait is durable.
pub const FLUSH_INTERVAL_MS_DEFAULT: u64 = 1000;
/// Archived segments kept.
pub const MAX_RETAINED_SEGMENTS_DEFAULT: u64 = 64;
/// Microseconds without a frame after which a mark is written.
pub const IDLE_MARK_US_DEFAULT: u64 = 10_000;
/// Spares prepared ahead.
pub const SPARES_DEFAULT: u64 = 1;
/// Most spares that can be asked for.
pub const SPARES_MAX: u64 = 1024;

/// How much of a file is zeroed in one piece: small enough not to delay a frame for long.
pub const ZERO_PIECE: u64 = 256 << 10;
/// The same while an append waits for that file: it is the one that is delayed.  As long as a frame usually is at most.
pub const ZERO_PIECE_MAX: u64 = FRAME_SIZE_CAP;
/// How much of a new log's first segment is zeroed before open returns.
pub const ZERO_AT_OPEN: u64 = 1 << 20;

/// How long an open waits for a lock that a killed process may still hold.
pub const LOCK_WAIT_MS: u64 = 2000;

/// How long an open for reading looks at a log that is another one at every look.
pub const OPEN_CHANGING_MS: u64 = 2000;

const _: () = assert!(BLOCK_SIZE_MIN.is_power_of_two() && BLOCK_SIZE_MAX.is_power_of_two());
const _: () = assert!(SEGMENT_SIZE_DEFAULT.is_multiple_of(BLOCK_SIZE_MAX as u64));
const _: () = assert!(FRAME_SIZE_CAP.is_multiple_of(BLOCK_SIZE_MAX as u64));
const _: () = assert!(ZERO_PIECE.is_multiple_of(BLOCK_SIZE_MAX as u64));
const _: () = assert!(ZERO_PIECE <= ZERO_PIECE_MAX && ZERO_PIECE_MAX.is_multiple_of(BLOCK_SIZE_MAX as u64));
const _: () = assert!(INDEX_WRITTEN_MAX < INDEX_MAX);
const _: () = assert!(RECORD_SIZE_MAX < FRAME_SIZE_MAX);
const _: () = assert!(RECORD_SIZE_MAX_DEFAULT < SEGMENT_SIZE_DEFAULT);
