//! What a caller asks for, and what that comes to: raw options → checked config.
//!
//! A wrong value is an error, never a silent correction.  What depends on the
//! log that is already there (its block size) is settled by [`Config::for_log`].

use std::sync::Arc;

use super::limits::*;
use super::messages::{Listener, Messages};
use super::{Code, Error, Result};

/// When an append returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// When the record is durable.
    Sync,
    /// When it is accepted; flushes are shared by count and time.
    Group,
    /// When it is accepted; written in the background, flushed by interval.
    Async,
}

/// Which engine moves the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IoEngine {
    /// What suits the device best.
    Auto,
    /// io_uring.
    Uring,
    /// pwritev2 and fdatasync on the calling thread.
    Blocking,
}

/// What happens when a log would grow beyond its limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SizePolicy {
    /// Appends that need one more file are refused.
    Refuse,
    /// Whoever asked for hints is told, and the log grows.
    Hint,
}

/// How a log is opened.  In every field 0 (or false) means the default.
///
/// The meaning of each field is that of `twal_options` in the C header.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Take no writer's lock, create nothing.
    pub read_only: bool,
    /// Fail with NotFound rather than create a log.
    pub no_create: bool,
    /// Accept file systems that cannot keep the promise.
    pub allow_any_fs: bool,
    /// Accept a file system without O_DIRECT.
    pub allow_buffered: bool,
    /// Validate every byte at open.
    pub verify: bool,
    /// None: [`Durability::Sync`].
    pub durability: Option<Durability>,
    /// None: [`IoEngine::Auto`].
    pub io_engine: Option<IoEngine>,
    /// Power of two, 512…65536 bytes.  0: the log's own, 4096 for a new one.
    pub block_size: u32,
    /// Bytes, ≥ 64 KiB, a multiple of the block size.  0: 64 MiB.
    pub segment_size: u64,
    /// Records after which a segment is full.  0: no limit by count.
    pub segment_records_max: u64,
    /// Bytes of accepted, not yet written records.  0: 32 MiB.
    pub ring_size: u64,
    /// Largest payload of a record, and of a batch in sum.
    pub record_size_max: u64,
    /// GROUP: records that make a flush due.  0: 64.
    pub batch_records: u64,
    /// GROUP: microseconds that make a flush due.  0: 1000.
    pub batch_delay_us: u64,
    /// Milliseconds until what nobody waited for is durable.  0: 1000.
    pub flush_interval_ms: u64,
    /// Archived segments kept.  0: 64.
    pub max_retained_segments: u64,
    /// Microseconds without a frame until a mark.  0: 10000.
    pub idle_mark_us: u64,
    /// Microseconds to wait for room.  0: without limit.
    pub append_timeout_us: u64,
    /// Spares prepared ahead.  0: 1.
    pub spares: u64,
    /// Bytes that the log's files may take.  0: without limit.
    pub log_size_max: u64,
    /// None: [`SizePolicy::Refuse`].
    pub log_size_policy: Option<SizePolicy>,
    /// Who is told what happens, from the begin of the open on; None: nobody, until `Log::listen`.
    pub listener: Option<Listener>,
}

/// Checked options, defaults filled in.
#[derive(Debug, Clone)]
pub struct Config {
    /// See [`Options::read_only`].
    pub read_only: bool,
    /// See [`Options::no_create`]; read-only implies it.
    pub no_create: bool,
    /// See [`Options::allow_any_fs`].
    pub allow_any_fs: bool,
    /// See [`Options::allow_buffered`].
    pub allow_buffered: bool,
    /// See [`Options::verify`].
    pub verify: bool,
    /// When an append returns.
    pub durability: Durability,
    /// Which engine was asked for.
    pub io_engine: IoEngine,
    /// What was asked for; 0 = whatever the log has.
    pub block_size_asked: u32,
    /// The log's block size, bytes (the default until [`Config::for_log`]).
    pub block_size: u32,
    /// Size of new segments, bytes.
    pub segment_size: u64,
    /// Records in a segment; `u64::MAX` = no limit.
    pub segment_records_max: u64,
    /// Ring, bytes.
    pub ring_size: u64,
    /// What was asked for; 0 = the default.
    record_size_max_asked: u64,
    /// Largest payload, bytes.
    pub record_size_max: u64,
    /// GROUP: records that make a flush due.
    pub batch_records: u64,
    /// GROUP: nanoseconds that make a flush due.
    pub batch_delay_ns: u64,
    /// Nanoseconds until what nobody waited for is durable.
    pub flush_interval_ns: u64,
    /// Archived segments kept.
    pub max_retained_segments: u64,
    /// Nanoseconds without a frame until a mark.
    pub idle_mark_ns: u64,
    /// Nanoseconds to wait for room; None = without limit.
    pub append_timeout_ns: Option<u64>,
    /// Spares prepared ahead.
    pub spares: u64,
    /// Bytes that the log's files may take; None = without limit.
    pub log_size_max: Option<u64>,
    /// What happens beyond that.
    pub log_size_policy: SizePolicy,
    /// What is told of this log, or of what is done to it.
    pub messages: Arc<Messages>,
}

fn inval(text: String) -> Error {
    Error::new(Code::Inval, text)
}

fn or_default(value: u64, default: u64) -> u64 {
    if value == 0 {
        default
    } else {
        value
    }
}

impl Config {
    /// Checks `options` as far as that can be done without looking at a disk.
    pub fn check(options: &Options) -> Result<Config> {
        if options.block_size != 0
            && !(options.block_size.is_power_of_two()
                && (BLOCK_SIZE_MIN..=BLOCK_SIZE_MAX).contains(&options.block_size))
        {
            return Err(inval(format!(
                "block_size {} is not a power of two from {BLOCK_SIZE_MIN} to {BLOCK_SIZE_MAX}",
                options.block_size
            )));
        }
        let ring_size = or_default(options.ring_size, RING_SIZE_DEFAULT);
        if ring_size > RING_SIZE_MAX {
            return Err(inval(format!("ring_size {ring_size} is above {RING_SIZE_MAX}")));
        }
        let spares = or_default(options.spares, SPARES_DEFAULT);
        if spares > SPARES_MAX {
            return Err(inval(format!("spares {spares} is above {SPARES_MAX}")));
        }
        let config = Config {
            read_only: options.read_only,
            no_create: options.no_create || options.read_only,
            allow_any_fs: options.allow_any_fs,
            allow_buffered: options.allow_buffered,
            verify: options.verify,
            durability: options.durability.unwrap_or(Durability::Sync),
            io_engine: options.io_engine.unwrap_or(IoEngine::Auto),
            block_size_asked: options.block_size,
            block_size: BLOCK_SIZE_DEFAULT,
            segment_size: or_default(options.segment_size, SEGMENT_SIZE_DEFAULT),
            segment_records_max: or_default(options.segment_records_max, u64::MAX),
            ring_size,
            record_size_max_asked: options.record_size_max,
            record_size_max: 0,
            batch_records: or_default(options.batch_records, BATCH_RECORDS_DEFAULT),
            batch_delay_ns: or_default(options.batch_delay_us, BATCH_DELAY_US_DEFAULT).saturating_mul(1000),
            flush_interval_ns: or_default(options.flush_interval_ms, FLUSH_INTERVAL_MS_DEFAULT)
                .saturating_mul(1_000_000),
            max_retained_segments: or_default(options.max_retained_segments, MAX_RETAINED_SEGMENTS_DEFAULT),
            idle_mark_ns: or_default(options.idle_mark_us, IDLE_MARK_US_DEFAULT).saturating_mul(1000),
            append_timeout_ns: (options.append_timeout_us != 0).then(|| options.append_timeout_us.saturating_mul(1000)),
            spares,
            log_size_max: (options.log_size_max != 0).then_some(options.log_size_max),
            log_size_policy: options.log_size_policy.unwrap_or(SizePolicy::Refuse),
            messages: Arc::new(Messages::new(options.listener.clone())),
        };
        let block_size = if options.block_size == 0 { BLOCK_SIZE_DEFAULT } else { options.block_size };
        config.for_log(block_size)
    }

    /// The same config for a log whose blocks have `block_size` bytes.
    pub fn for_log(mut self, block_size: u32) -> Result<Config> {
        if self.block_size_asked != 0 && self.block_size_asked != block_size {
            return Err(inval(format!("block_size {} was asked for, the log has {block_size}", self.block_size_asked)));
        }
        let block = u64::from(block_size);
        let size = self.segment_size;
        if !(SEGMENT_SIZE_MIN..=SEGMENT_SIZE_MAX).contains(&size) || !size.is_multiple_of(block) {
            return Err(inval(format!(
                "segment_size {size} is not a multiple of {block} from {SEGMENT_SIZE_MIN} to {SEGMENT_SIZE_MAX}"
            )));
        }
        // The newest released segment, the active one, and the one that follows it.
        if let Some(max) = self.log_size_max.filter(|max| *max < 3 * size) {
            return Err(inval(format!("log_size_max {max} is less than three segments of {size} bytes")));
        }
        let holds = record_room(size, block).ok_or_else(|| {
            inval(format!(
                "segment_size {size} has no room for a record beside its header, mark and seal of {block} bytes each"
            ))
        })?;
        if self.record_size_max_asked > holds {
            return Err(inval(format!(
                "record_size_max {} is more than the {holds} bytes that an empty segment holds",
                self.record_size_max_asked
            )));
        }
        self.record_size_max = match self.record_size_max_asked {
            0 => RECORD_SIZE_MAX_DEFAULT.min(holds),
            asked => asked,
        };
        self.ring_size = self.ring_size.next_multiple_of(block);
        self.block_size = block_size;
        Ok(self)
    }
}

/// Bytes in front of a frame's records.  The format's own constant is tested against it.
pub const FRAME_HEADER_LEN: u64 = 128;
/// Bytes in front of a record's payload.  The format's own constant is tested against it.
pub const RECORD_HEADER_LEN: u64 = 40;

/// Largest payload that an empty segment holds in one record.
fn record_room(segment_size: u64, block: u64) -> Option<u64> {
    let blocks = (segment_size / block).checked_sub(SEGMENT_OVERHEAD_BLOCKS)?;
    (blocks * block).checked_sub(FRAME_HEADER_LEN + RECORD_HEADER_LEN).map(|room| room.min(RECORD_SIZE_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(options: Options) -> Option<Code> {
        Config::check(&options).err().map(|error| error.code)
    }

    #[test]
    fn zero_means_the_default() {
        let config = Config::check(&Options::default()).unwrap();
        assert_eq!(config.durability, Durability::Sync);
        assert_eq!((config.block_size, config.segment_size), (4096, 64 << 20));
        assert_eq!(config.record_size_max, 16 << 20);
        assert_eq!(config.idle_mark_ns, 10_000_000);
        assert_eq!(config.append_timeout_ns, None);
    }

    #[test]
    fn wrong_values_are_refused() {
        for block_size in [1, 256, 513, 5000, 131_072] {
            assert_eq!(code(Options { block_size, ..Options::default() }), Some(Code::Inval), "{block_size}");
        }
        for segment_size in [1, 4096, 65_535, (64 << 10) + 1, (1 << 40) + 4096, u64::MAX] {
            assert_eq!(code(Options { segment_size, ..Options::default() }), Some(Code::Inval), "{segment_size}");
        }
        assert_eq!(code(Options { block_size: 65536, segment_size: 65536, ..Options::default() }), Some(Code::Inval));
        assert_eq!(code(Options { ring_size: u64::MAX, ..Options::default() }), Some(Code::Inval));
        assert_eq!(code(Options { record_size_max: 64 << 20, ..Options::default() }), Some(Code::Inval));
        assert_eq!(code(Options { log_size_max: (192 << 20) - 1, ..Options::default() }), Some(Code::Inval));
        assert_eq!(code(Options { log_size_max: 192 << 20, ..Options::default() }), None);
    }

    #[test]
    fn the_largest_record_is_what_an_empty_segment_holds() {
        let small = Options { segment_size: 64 << 10, ..Options::default() };
        let holds = 13 * 4096 - 128 - 40;
        assert_eq!(Config::check(&small).unwrap().record_size_max, holds);
        assert!(Config::check(&Options { record_size_max: holds, ..small.clone() }).is_ok());
        assert_eq!(code(Options { record_size_max: holds + 1, ..small }), Some(Code::Inval));
    }
}
