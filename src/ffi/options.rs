//! What open takes: C's options to ours.

use std::ffi::c_void;

use super::messages::{listener_of, twal_message};
use super::sized::Grows;
use crate::base::options::{Durability, IoEngine, Options, SizePolicy};
use crate::base::{Code, Error, Result};

/// twal_options.durability: when an append returns.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum twal_durability {
    /// When its record is durable.  The default.
    TWAL_SYNC = 1,
    /// When it is accepted; nothing goes to the device until batch_records or
    /// batch_delay_us are reached, and then all of it with one flush.
    TWAL_GROUP = 2,
    /// When it is accepted; written in the background, flushed after
    /// flush_interval_ms.  A killed process may lose what was not yet written.
    TWAL_ASYNC = 3,
}

/// twal_options.io_engine: how bytes go to the device.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum twal_io_engine {
    /// What suits the device and is allowed here; twal_stats tells which.
    TWAL_IO_AUTO = 0,
    /// io_uring; TWAL_E_UNSUPPORTED where the kernel or a policy forbids it.
    TWAL_IO_URING = 1,
    /// pwritev2() and fdatasync() on the thread that writes.
    TWAL_IO_BLOCKING = 2,
}

/// twal_options.log_size_policy: what happens when the log would grow beyond
/// log_size_max.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum twal_size_policy {
    /// Appends that need one more segment file are refused with TWAL_E_NOSPC,
    /// and nothing else is: it goes away when space is given back.  What helps
    /// to give it back, a checkpoint of transactions and events that bring an
    /// operation towards its end, may take one segment more than the limit,
    /// which nothing else gets into until the log is within it again.  The
    /// default.
    TWAL_SIZE_REFUSE = 0,
    /// The log grows on; whoever twal_size_hint() named is told.
    TWAL_SIZE_HINT = 1,
}

/// twal_options.flags: bits.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum twal_open_flags {
    /// Read only: takes no writer's lock, changes nothing; implies NO_CREATE.
    TWAL_OPEN_READ_ONLY = 1,
    /// TWAL_E_NOTFOUND where there is no log, instead of making one.
    TWAL_OPEN_NO_CREATE = 2,
    /// Accept a file system that cannot keep the promise: network, 9p, FUSE,
    /// tmpfs, ramfs, a volatile overlay.  Else they are TWAL_E_UNSUPPORTED.
    TWAL_OPEN_ALLOW_ANY_FS = 4,
    /// Accept a file system without O_DIRECT.  Else TWAL_E_UNSUPPORTED.
    TWAL_OPEN_ALLOW_BUFFERED = 8,
    /// Validate every byte of what can be read, in parallel, not only the
    /// headers, the seals and the last segment.  Of released segments the
    /// newest one's header and seal alone, as without it: what else is damaged
    /// there takes nothing from the log.  twal_verify() reads and tells it.
    TWAL_OPEN_VERIFY = 16,
}

/// How a log is opened.  A field that is 0 has its default, so start from
/// TWAL_OPTIONS_INIT and set what you need.
///
/// Sizes and times may differ from one open to the next; new segments follow
/// the new ones.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct twal_options {
    /// sizeof(twal_options).
    pub struct_size: u64,
    /// Bits of twal_open_flags.
    pub flags: u32,
    /// One of twal_durability.  0: TWAL_SYNC.
    pub durability: u32,
    /// One of twal_io_engine.
    pub io_engine: u32,
    /// Bytes of a block, the unit of all writes: a power of two from 512 to
    /// 65536 that the device accepts.  Fixed when a log is made; another one
    /// than the log's is TWAL_E_INVAL.  0: the log's own; for a new log 4096.
    pub block_size: u32,
    /// Bytes of a segment file, from 64 KiB to 1 TiB, a multiple of block_size
    /// and at least four blocks.  0: 64 MiB.
    pub segment_size: u64,
    /// Records after which a segment is full.  A batch of more has a segment of
    /// its own.  0: no limit by count.
    pub segment_records_max: u64,
    /// Bytes of records accepted and not yet written; address space, touched
    /// only as used.  Rounded up to whole blocks, so at least one.  At most
    /// 64 GiB.  0: 32 MiB.
    pub ring_size: u64,
    /// Bytes of payload of the largest record, and of the largest batch in
    /// sum, at most 1 GiB.  0: 16 MiB, or what an empty segment holds if that
    /// is less; more than a segment holds is TWAL_E_INVAL.
    pub record_size_max: u64,
    /// TWAL_GROUP: records that make a flush due.  0: 64.
    pub batch_records: u64,
    /// TWAL_GROUP: microseconds that make a flush due.  0: 1000.
    pub batch_delay_us: u64,
    /// Milliseconds after which what was accepted without a wait is durable,
    /// without any call.  0: 1000.
    pub flush_interval_ms: u64,
    /// Archived segments kept.  0: 64; UINT64_MAX: never remove one.
    pub max_retained_segments: u64,
    /// Microseconds without a write after which the end of the log is marked
    /// on the device, so that damage to the last record can be told from a
    /// torn write.  0: 10000.
    pub idle_mark_us: u64,
    /// Microseconds that an append waits for room before TWAL_E_TIMEOUT.
    /// 0: without limit.
    pub append_timeout_us: u64,
    /// Segment files prepared ahead of need, at most 1024.  0: 1.  A trim
    /// keeps more of the files that it takes out, to be used again: twice as
    /// many, or as many segments as were begun since the last trim, up to 8.
    pub spares: u64,
    /// Bytes that the log's files may take, segments (archived ones too) and
    /// prepared files together; at least three segments.  Looked at where a file
    /// would be made, never by an append.  At the limit fewer archived segments
    /// are kept than max_retained_segments, down to one.  Transactions may take
    /// one segment more to give space back (see twal_size_policy), and a
    /// compaction one more while it works.  0: without limit.
    pub log_size_max: u64,
    /// One of twal_size_policy.
    pub log_size_policy: u64,
    /// What is called with messages from the begin of the open on, as
    /// twal_message_callback() says.  NULL: nothing.
    pub message: Option<unsafe extern "C" fn(arg: *mut c_void, message: *const twal_message)>,
    /// Is passed on to message.
    pub message_arg: *mut c_void,
    /// The highest twal_message_level that it wants.  0: TWAL_MESSAGE_INFO.
    pub message_level: u64,
}

// SAFETY: repr(C) without holes (152 = 8 + 4 * 4 + 16 * 8), struct_size first,
// plain numbers and pointers that may be NULL.
unsafe impl Grows for twal_options {
    const NAME: &'static str = "twal_options";
    const FIRST_SIZE: usize = 112;
}

const _: () = assert!(size_of::<twal_options>() == 152 && std::mem::offset_of!(twal_options, spares) == 104);

/// Whether `flags` has `bit`.
const fn has(flags: u32, bit: twal_open_flags) -> bool {
    flags & bit as u32 != 0
}

/// The bits that mean something.
const FLAGS_KNOWN: u32 = {
    use twal_open_flags::*;
    TWAL_OPEN_READ_ONLY as u32
        | TWAL_OPEN_NO_CREATE as u32
        | TWAL_OPEN_ALLOW_ANY_FS as u32
        | TWAL_OPEN_ALLOW_BUFFERED as u32
        | TWAL_OPEN_VERIFY as u32
};

/// Our options for C's.  What the numbers may be is `base::options`' to judge;
/// here only the bits and the enumerations are.
pub(super) fn options_of(c: &twal_options) -> Result<Options> {
    if c.flags & !FLAGS_KNOWN != 0 {
        return Err(Error::new(Code::Inval, format!("options.flags {:#x} has unknown bits", c.flags)));
    }
    let durability = match c.durability {
        0 => None,
        1 => Some(Durability::Sync),
        2 => Some(Durability::Group),
        3 => Some(Durability::Async),
        other => return Err(Error::new(Code::Inval, format!("options.durability {other} is none of twal_durability"))),
    };
    let io_engine = match c.io_engine {
        0 => None,
        1 => Some(IoEngine::Uring),
        2 => Some(IoEngine::Blocking),
        other => return Err(Error::new(Code::Inval, format!("options.io_engine {other} is none of twal_io_engine"))),
    };
    let log_size_policy = match c.log_size_policy {
        0 => SizePolicy::Refuse,
        1 => SizePolicy::Hint,
        other => {
            return Err(Error::new(Code::Inval, format!("options.log_size_policy {other} is none of twal_size_policy")))
        }
    };
    Ok(Options {
        read_only: has(c.flags, twal_open_flags::TWAL_OPEN_READ_ONLY),
        no_create: has(c.flags, twal_open_flags::TWAL_OPEN_NO_CREATE),
        allow_any_fs: has(c.flags, twal_open_flags::TWAL_OPEN_ALLOW_ANY_FS),
        allow_buffered: has(c.flags, twal_open_flags::TWAL_OPEN_ALLOW_BUFFERED),
        verify: has(c.flags, twal_open_flags::TWAL_OPEN_VERIFY),
        durability,
        io_engine,
        block_size: c.block_size,
        segment_size: c.segment_size,
        segment_records_max: c.segment_records_max,
        ring_size: c.ring_size,
        record_size_max: c.record_size_max,
        batch_records: c.batch_records,
        batch_delay_us: c.batch_delay_us,
        flush_interval_ms: c.flush_interval_ms,
        max_retained_segments: c.max_retained_segments,
        idle_mark_us: c.idle_mark_us,
        append_timeout_us: c.append_timeout_us,
        spares: c.spares,
        log_size_max: c.log_size_max,
        log_size_policy: Some(log_size_policy),
        listener: listener_of(c.message, c.message_arg, c.message_level)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MessageLevel;

    fn zero() -> twal_options {
        // SAFETY: all zeros are a twal_options (Grows).
        unsafe { std::mem::zeroed() }
    }

    #[test]
    fn unknown_bits_and_numbers_are_refused() {
        for flags in [32, 1 << 31, u32::MAX] {
            assert_eq!(options_of(&twal_options { flags, ..zero() }).unwrap_err().code, Code::Inval);
        }
        for number in [4, 5, u32::MAX] {
            assert_eq!(options_of(&twal_options { durability: number, ..zero() }).unwrap_err().code, Code::Inval);
            assert_eq!(options_of(&twal_options { io_engine: number - 1, ..zero() }).unwrap_err().code, Code::Inval);
            let level = u64::from(number) + 1;
            assert_eq!(options_of(&twal_options { message_level: level, ..zero() }).unwrap_err().code, Code::Inval);
            let policy = u64::from(number - 2);
            assert_eq!(options_of(&twal_options { log_size_policy: policy, ..zero() }).unwrap_err().code, Code::Inval);
        }
    }

    extern "C" fn nothing(_: *mut c_void, _: *const twal_message) {}

    /// Each field gets a number of its own, so that two swapped ones show.
    #[test]
    fn every_field_arrives() {
        let c = twal_options {
            struct_size: 152,
            flags: 31,
            durability: twal_durability::TWAL_ASYNC as u32,
            io_engine: twal_io_engine::TWAL_IO_BLOCKING as u32,
            block_size: 1,
            segment_size: 2,
            segment_records_max: 3,
            ring_size: 4,
            record_size_max: 5,
            batch_records: 6,
            batch_delay_us: 7,
            flush_interval_ms: 8,
            max_retained_segments: 9,
            idle_mark_us: 10,
            append_timeout_us: 11,
            spares: 12,
            log_size_max: 13,
            log_size_policy: twal_size_policy::TWAL_SIZE_HINT as u64,
            message: Some(nothing),
            message_arg: std::ptr::null_mut(),
            message_level: 2,
        };
        let ours = options_of(&c).unwrap();
        assert!(ours.read_only && ours.no_create && ours.allow_any_fs && ours.allow_buffered && ours.verify);
        assert_eq!((ours.durability, ours.io_engine), (Some(Durability::Async), Some(IoEngine::Blocking)));
        assert_eq!((ours.block_size, ours.segment_size, ours.segment_records_max), (1, 2, 3));
        assert_eq!((ours.ring_size, ours.record_size_max, ours.batch_records), (4, 5, 6));
        assert_eq!((ours.batch_delay_us, ours.flush_interval_ms, ours.max_retained_segments), (7, 8, 9));
        assert_eq!((ours.idle_mark_us, ours.append_timeout_us, ours.spares), (10, 11, 12));
        assert_eq!((ours.log_size_max, ours.log_size_policy), (13, Some(SizePolicy::Hint)));
        assert_eq!(ours.listener.map(|listener| listener.level), Some(MessageLevel::Warning));
    }

    #[test]
    fn each_flag_is_its_own_bit() {
        let flag = |flags| options_of(&twal_options { flags, ..zero() }).unwrap();
        assert!(flag(1).read_only && !flag(30).read_only);
        assert!(flag(2).no_create && !flag(29).no_create);
        assert!(flag(4).allow_any_fs && !flag(27).allow_any_fs);
        assert!(flag(8).allow_buffered && !flag(23).allow_buffered);
        assert!(flag(16).verify && !flag(15).verify);
    }
}
