//! Reading all of a log: findings as C sees them.

use std::ffi::{c_char, c_int, c_void, CString};

use super::guard::guard_uncancelled;
use super::log::{path_of, taken_options};
use super::options::twal_options;
use super::sized::{self, Grows};
use crate::base::{Code, Error};
use crate::log::{verify, Acknowledged, Finding, FindingKind, Verified};

/// twal_finding.kind: what is wrong.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum twal_finding_kind {
    /// A file is missing, doubled, or named as nothing of a log's is.
    TWAL_FINDING_NAME = 1,
    /// A segment's header, or the file as a whole: another segment's, too
    /// short.
    TWAL_FINDING_HEADER = 2,
    /// Where a frame should be there is none.
    TWAL_FINDING_FRAME = 3,
    /// A frame's body is not the one that was written.
    TWAL_FINDING_BODY = 4,
    /// One record of a frame; the others may be whole.
    TWAL_FINDING_RECORD = 5,
    /// A whole frame or segment, but not the one that belongs there.
    TWAL_FINDING_CHAIN = 6,
    /// A segment does not end in its seal, or the seal contradicts it.
    TWAL_FINDING_SEAL = 7,
    /// The device does not give the bytes, or too many forged frames claim them.
    TWAL_FINDING_UNREADABLE = 8,
    /// What only a later release can read; or go on writing.
    TWAL_FINDING_VERSION = 9,
    /// A half-written end that nobody was promised: no damage, opening cuts it
    /// off.
    TWAL_FINDING_TORN = 10,
    /// The file of holds is damaged or missing: every record is there, and
    /// nothing is released until twal_hold_reset().
    TWAL_FINDING_HOLDS = 11,
    /// A follower's position (twal-sink) is damaged, or one copy of it; or what
    /// is there is not what it speaks of.
    TWAL_FINDING_POSITION = 12,
}

/// twal_finding.acknowledged and twal_repair_action.acknowledged: whether it
/// was acknowledged as durable.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum twal_acknowledged {
    /// Nothing that is left says so, and nothing says the contrary.
    TWAL_ACKNOWLEDGED_UNKNOWN = 0,
    /// Something later on the device says that it was.
    TWAL_ACKNOWLEDGED_YES = 1,
    /// It never was.
    TWAL_ACKNOWLEDGED_NO = 2,
}

/// One damaged spot.  A number that is not known is 0.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct twal_finding {
    /// Bytes of this struct, set by twal; do not read beyond it.
    pub struct_size: u64,
    /// Index of the segment.
    pub segment: u64,
    /// Where in the file, bytes.
    pub offset: u64,
    /// First number concerned; of what holds no record, the next one.
    pub seq: u64,
    /// Last number concerned, as far as can be known; below seq: none.
    pub last_seq: u64,
    /// The record's tag, if has_stream is 1.
    pub stream: u64,
    /// What should be there: a checksum, a frame's identity, a count.
    pub expected: u64,
    /// What is there.
    pub found: u64,
    /// One of twal_finding_kind; treat one that you do not know as damage.
    pub kind: u32,
    /// One of twal_acknowledged.
    pub acknowledged: u32,
    /// 1 if stream is known: a single record, whose header holds.
    pub has_stream: u32,
    /// The operating system's error number, 0 if none was involved.
    pub os_errno: i32,
    /// Name of the file, without the directory; valid during the call.
    pub file: *const c_char,
    /// What it is, for people; valid during the call.
    pub text: *const c_char,
}

const _: () = assert!(size_of::<twal_finding>() == 96 && std::mem::offset_of!(twal_finding, file) == 80);

/// What twal_verify() has read.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct twal_verify_report {
    /// sizeof(twal_verify_report), set by the caller.
    pub struct_size: u64,
    /// Segment files that were read, archived ones too.
    pub segments: u64,
    /// Frames that are whole.
    pub frames: u64,
    /// Records that are whole.
    pub records: u64,
    /// Bytes that were read.
    pub bytes: u64,
    /// How often found was called, or would have been.
    pub findings: u64,
    /// How many of these are damage; a torn end is none.
    pub damaged: u64,
    /// First number that is not released.
    pub first_seq: u64,
    /// Everything from first_seq up to here is whole; first_seq - 1 if nothing
    /// is.
    pub last_good_seq: u64,
    /// Last number that a whole frame shows, a mark too, damage in front of it
    /// or not.
    pub last_seq: u64,
}

// SAFETY: repr(C), u64 only, struct_size first.
unsafe impl Grows for twal_verify_report {
    const NAME: &'static str = "twal_verify_report";
    const FIRST_SIZE: usize = 80;
}

const _: () = assert!(size_of::<twal_verify_report>() == 80);

/// Reads every byte of a log and tells each spot that is damaged; changes
/// nothing.
///
/// Every segment file is read: active, sealed and archived; headers, frames,
/// records, seals, and that each continues the one before.  Goes on behind
/// damage, with the next frame that can be trusted and the next segment.  Takes
/// no writer's lock and may run beside a writer, here or elsewhere: what is
/// just being written is not told, and what is released meanwhile is passed
/// over.  Memory is the same few MiB, whatever the files hold.
///
/// Of a follower's directory (twal_sink_open()), also beside its sink, it reads
/// all that is in front of the position, which is what was acknowledged: every
/// segment before it, and its own up to there.  What is behind it is not the
/// follower's yet, and no finding whatever it is.  The position is the one that
/// it had when this began.
///
/// What only a later release can read is a finding too, TWAL_FINDING_VERSION: a
/// segment's header, or a record of a type of twal's own that has
/// TWAL_RECORD_REQUIRED; and so is a newest segment that this one may read but
/// not write.  The types that a program knows are options of its readers:
/// verify asks nothing of the program's own types.
///
/// Of one frame at most 64 damaged records are told and counted, and at most 64
/// that only a later release can read.
///
///   dir         path of the log's or the follower's directory
///   options     as for twal_open(); only io_engine, and the flags that accept
///               file systems, matter here.  NULL: all defaults
///   found       what is called with each finding, inside this call and on this
///               thread, in the order of the files; another answer than 0 ends
///               the reading.  It must not throw or longjmp().  NULL: none
///   context     is passed on to found; twal does not look at it
///   report_out  receives what was read, also with TWAL_E_CORRUPT, and with
///               TWAL_E_PERM where that is about files; its struct_size must be
///               set, as TWAL_VERIFY_REPORT_INIT does.  NULL if you do not need
///               it.  Untouched on any other failure.
///
/// Returns TWAL_OK if nothing of what was read is damaged, or
///
///   TWAL_E_CORRUPT      something is damaged
///   TWAL_E_VERSION      nothing is, but there is what no reader of this release
///                       delivers, because a later one wrote it; or what
///                       twal_open() must not write to
///   TWAL_E_INVAL        dir is NULL, empty or not a directory, an option is
///                       out of its range, or a struct_size is none
///   TWAL_E_NOTFOUND     there is no log
///   TWAL_E_PERM         the operating system refuses access: to the directory,
///                       or to files of which each is a finding, and nothing
///                       else is damaged
///   TWAL_E_IO           the directory could not be read, or an active file not
///                       be flushed (a file that cannot be read is a finding)
///   TWAL_E_NOMEM        no memory or file descriptor left
///   TWAL_E_UNSUPPORTED  as for twal_open()
///   TWAL_E_PANIC        a bug in twal was caught
///
/// Example:
///
///   static int tell(void *context, const twal_finding *finding)
///   {
///       (void)context;
///       printf("%s: offset %llu: %s\n", finding->file,
///              (unsigned long long)finding->offset, finding->text);
///       return 0;
///   }
///   ...
///   int rc = twal_verify("log", NULL, tell, NULL, NULL);
///
/// Blocks:  on the device, for as long as it takes to read the log.
/// Threads: any.
/// Signals: not async-signal-safe.
/// Since:   0.1
#[must_use]
#[no_mangle]
pub unsafe extern "C" fn twal_verify(
    dir: *const c_char,
    options: *const twal_options,
    found: Option<unsafe extern "C" fn(context: *mut c_void, finding: *const twal_finding) -> c_int>,
    context: *mut c_void,
    report_out: *mut twal_verify_report,
) -> c_int {
    guard_uncancelled(|| {
        // SAFETY: dir is NULL or a C string, unchanged during the call (C contract).
        let dir = unsafe { path_of(dir)? };
        // SAFETY: options is NULL or a twal_options as long as it says (C contract).
        let (options, known) = unsafe { taken_options(options)? };
        if !report_out.is_null() {
            // SAFETY: a twal_verify_report as long as it says (C contract).
            unsafe { sized::check(report_out)? };
        }
        known?;
        let mut tell = |finding: &Finding| match found {
            // SAFETY: a function that may be called with this (C contract).
            Some(found) => with_c(finding, |finding| unsafe { found(context, finding) } == 0),
            None => true,
        };
        let verified = verify(dir, &options, &mut tell)?;
        if !report_out.is_null() {
            // SAFETY: as for the check above.
            unsafe { sized::give(report_out, &report_of(&verified))? };
        }
        verdict_of(&verified)
    })
}

fn verdict_of(verified: &Verified) -> crate::base::Result<()> {
    let (damaged, unknown) = (verified.damaged - verified.forbidden, verified.unknown_version);
    match damaged {
        0 if verified.forbidden > 0 => {
            let text = format!("{} files may not be read, nothing else is damaged", verified.forbidden);
            Err(Error::new(Code::Perm, text).about_seq(verified.last_good_seq + 1))
        }
        0 => Ok(()),
        _ if damaged == unknown => Err(Error::new(Code::Version, "a part of the log is of a newer release")),
        _ => Err(Error::new(Code::Corrupt, format!("the log is damaged in {damaged} places"))
            .about_seq(verified.last_good_seq + 1)),
    }
}

fn report_of(verified: &Verified) -> twal_verify_report {
    twal_verify_report {
        struct_size: 0,
        segments: verified.segments,
        frames: verified.frames,
        records: verified.records,
        bytes: verified.bytes,
        findings: verified.findings,
        damaged: verified.damaged,
        first_seq: verified.first_seq,
        last_good_seq: verified.last_good_seq,
        last_seq: verified.last_seq,
    }
}

/// The number that C has for it.
pub(super) fn acknowledged_of(acknowledged: Acknowledged) -> u32 {
    let acknowledged = match acknowledged {
        Acknowledged::Unknown => twal_acknowledged::TWAL_ACKNOWLEDGED_UNKNOWN,
        Acknowledged::Yes => twal_acknowledged::TWAL_ACKNOWLEDGED_YES,
        Acknowledged::No => twal_acknowledged::TWAL_ACKNOWLEDGED_NO,
    };
    acknowledged as u32
}

fn kind_of(kind: FindingKind) -> u32 {
    use twal_finding_kind as c;
    let kind = match kind {
        FindingKind::Name => c::TWAL_FINDING_NAME,
        FindingKind::Header => c::TWAL_FINDING_HEADER,
        FindingKind::Frame => c::TWAL_FINDING_FRAME,
        FindingKind::Body => c::TWAL_FINDING_BODY,
        FindingKind::Record => c::TWAL_FINDING_RECORD,
        FindingKind::Chain => c::TWAL_FINDING_CHAIN,
        FindingKind::Seal => c::TWAL_FINDING_SEAL,
        FindingKind::Unreadable => c::TWAL_FINDING_UNREADABLE,
        FindingKind::Version => c::TWAL_FINDING_VERSION,
        FindingKind::Torn => c::TWAL_FINDING_TORN,
        FindingKind::Holds => c::TWAL_FINDING_HOLDS,
        FindingKind::Position => c::TWAL_FINDING_POSITION,
    };
    kind as u32
}

/// A text as C wants it: a NUL inside would end it early.
fn c_text(text: &str) -> CString {
    CString::new(text.replace('\0', "?")).expect("it holds no NUL")
}

/// Shows `finding` to `tell` as C sees it.
fn with_c<T>(finding: &Finding, tell: impl FnOnce(*const twal_finding) -> T) -> T {
    let (file, text) = (c_text(&finding.file), c_text(&finding.text));
    let c = twal_finding {
        struct_size: size_of::<twal_finding>() as u64,
        segment: finding.segment,
        offset: finding.offset,
        seq: finding.seq,
        last_seq: finding.last_seq,
        stream: finding.stream.unwrap_or(0),
        expected: finding.expected,
        found: finding.found,
        kind: kind_of(finding.kind),
        acknowledged: acknowledged_of(finding.acknowledged),
        has_stream: u32::from(finding.stream.is_some()),
        os_errno: finding.os_errno,
        file: file.as_ptr(),
        text: text.as_ptr(),
    };
    tell(&raw const c)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ptr::{null, null_mut};

    /// Each field gets a number of its own, so that two swapped ones show.
    #[test]
    fn every_field_arrives() {
        let finding = Finding {
            kind: FindingKind::Seal,
            acknowledged: Acknowledged::No,
            file: "a\0b".into(),
            segment: 1,
            offset: 2,
            seq: 3,
            last_seq: 4,
            stream: Some(5),
            expected: 6,
            found: 7,
            os_errno: 8,
            text: "text".into(),
        };
        with_c(&finding, |c| {
            // SAFETY: with_c made it.
            let c = unsafe { &*c };
            let numbers = [c.segment, c.offset, c.seq, c.last_seq, c.stream, c.expected, c.found];
            assert_eq!(numbers, [1, 2, 3, 4, 5, 6, 7]);
            assert_eq!((c.kind, c.acknowledged, c.has_stream, c.os_errno, c.struct_size), (7, 2, 1, 8, 96));
            // SAFETY: with_c made them.
            let (file, text) = unsafe { (std::ffi::CStr::from_ptr(c.file), std::ffi::CStr::from_ptr(c.text)) };
            assert_eq!((file.to_bytes(), text.to_bytes()), (&b"a?b"[..], &b"text"[..]));
        });
        let verified = Verified {
            segments: 1,
            frames: 2,
            records: 3,
            bytes: 4,
            findings: 5,
            damaged: 6,
            first_seq: 7,
            last_good_seq: 8,
            last_seq: 9,
            ..Verified::default()
        };
        let c = report_of(&verified);
        // SAFETY: a twal_verify_report is 10 u64, all written.
        let words = unsafe { std::slice::from_raw_parts((&raw const c).cast::<u64>(), 10) };
        assert_eq!(words, (0..10).collect::<Vec<u64>>());
    }

    #[test]
    fn damage_is_corrupt_a_newer_release_is_version_and_no_right_is_perm() {
        let of = |damaged, unknown_version, forbidden| {
            let verified = Verified { damaged, unknown_version, forbidden, ..Verified::default() };
            verdict_of(&verified).map_err(|error| error.code)
        };
        assert_eq!([of(0, 0, 0), of(2, 2, 0), of(2, 1, 0)], [Ok(()), Err(Code::Version), Err(Code::Corrupt)]);
        assert_eq!([of(2, 0, 2), of(2, 1, 1), of(2, 0, 1)], [Err(Code::Perm), Err(Code::Version), Err(Code::Corrupt)]);
    }

    #[test]
    fn null_is_refused() {
        // SAFETY: NULL is allowed in a call's own words.
        assert_eq!(unsafe { twal_verify(null(), null(), None, null_mut(), null_mut()) }, -101);
    }
}
