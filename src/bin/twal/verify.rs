//! `twal verify`: every byte, and every spot that is damaged.

use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use nix::errno::Errno;
use twal::{Acknowledged, Effort, Finding, FindingKind, Verified};

use crate::cli::VerifyArgs;
use crate::exit::{Exit, Failure};
use crate::output::{range, shown, size, Json, Out};
use crate::{open, progress};

/// Threads, unless told: more help no device that is known.
const THREADS_MAX: usize = 4;

pub fn run(args: &VerifyArgs, out: &mut Out) -> Result<Exit, Failure> {
    let dir = &args.log.log;
    let threads = match args.threads {
        Some(threads) => usize::from(threads),
        None => std::thread::available_parallelism().map_or(1, usize::from).min(THREADS_MAX),
    };
    let done = AtomicU64::new(0);
    let all = bytes_of(dir);
    let mut failed = None;
    let mut unread = 0;
    let mut tell = |finding: &Finding| {
        unread += u64::from(is_unread(finding));
        let told = print(out, finding, args.json);
        failed = told.err();
        failed.is_none()
    };
    let effort = Effort { threads, done: Some(&done) };
    let look = || (done.load(Ordering::Relaxed), all);
    let verified = progress::showing(&look, || twal::verify_with(dir, &open::reading(), effort, &mut tell));
    if let Some(failed) = failed {
        return Err(failed.into());
    }
    let verified = verified.map_err(|error| Failure::opening(&error))?;
    sum_up(out, &verified, unread, args.json)?;
    match (verified.damaged, unread) {
        (0, _) => Ok(Exit::Clean),
        (damaged, unread) if damaged > unread => Ok(Exit::Found),
        _ => Err(Failure::unopened(format!("{unread} files cannot be opened: nothing is known of what they hold"))),
    }
}

/// The file may be as whole as ever: it is this process that must not, or cannot, open it now.
fn is_unread(finding: &Finding) -> bool {
    let is_process = [Errno::EACCES, Errno::EPERM, Errno::EMFILE, Errno::ENFILE, Errno::ENOMEM];
    finding.kind == FindingKind::Unreadable && is_process.contains(&Errno::from_raw(finding.os_errno))
}

/// What there is to be read, for who waits: what cannot be found out is not counted.
fn bytes_of(dir: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(dir) else { return 0 };
    let is_segment = |name: &str| ["active", "sealed", "archived"].iter().any(|state| name.ends_with(state));
    let files = entries.filter_map(Result::ok).filter(|entry| is_segment(&entry.file_name().to_string_lossy()));
    files.filter_map(|entry| Some(entry.metadata().ok()?.len())).sum()
}

fn print(out: &mut Out, finding: &Finding, json: bool) -> std::io::Result<()> {
    let Finding { file, offset, seq, last_seq, stream, expected, found, .. } = finding;
    if json {
        let mut json = Json::new()
            .text("kind", kind_name(finding.kind))
            .text("acknowledged", acknowledged_name(finding.acknowledged))
            .text("file", file)
            .put("segment", finding.segment)
            .put("offset", offset)
            .put("seq", seq)
            .put("last_seq", last_seq);
        if let Some(stream) = stream {
            json = json.put("stream", stream);
        }
        json = json.text("expected", format_args!("{expected:#x}")).text("found", format_args!("{found:#x}"));
        return writeln!(out, "{}", json.put("os_errno", finding.os_errno).text("text", &finding.text).end());
    }
    let word = match finding.is_damage() {
        true if is_unread(finding) => "unread".to_owned(),
        true => out.bad("damaged"),
        false => "torn".to_owned(),
    };
    write!(out, "{word}  {}  offset {offset}", shown(file))?;
    match finding.is_damage() {
        true => write!(out, "  {}", numbers(*seq, *last_seq))?,
        false => write!(out, "  behind seq {last_seq}")?,
    }
    if let Some(stream) = stream {
        write!(out, "  stream {stream}")?;
    }
    writeln!(out, "  {}", acknowledged_text(finding.acknowledged))?;
    write!(out, "    {}: {}", kind_name(finding.kind), shown(&finding.text))?;
    if (*expected, *found) != (0, 0) {
        write!(out, "; expected {expected:#x}, found {found:#x}")?;
    }
    writeln!(out)
}

/// Which numbers it concerns, as far as anybody knows.
fn numbers(seq: u64, last_seq: u64) -> String {
    match (seq, last_seq) {
        (0, _) => "no seq".into(),
        _ if last_seq < seq => format!("from seq {seq} on"),
        _ => format!("seq {}", range(seq, last_seq)),
    }
}

fn sum_up(out: &mut Out, verified: &Verified, unread: u64, json: bool) -> std::io::Result<()> {
    let Verified { segments, frames, records, bytes, findings, damaged, .. } = verified;
    let Verified { first_seq, last_good_seq, last_seq, .. } = verified;
    if json {
        let json = Json::new()
            .put("segments", segments)
            .put("frames", frames)
            .put("records", records)
            .put("bytes", bytes)
            .put("findings", findings)
            .put("damaged", damaged)
            .put("unread", unread)
            .put("first_seq", first_seq)
            .put("last_good_seq", last_good_seq)
            .put("last_seq", last_seq);
        return writeln!(out, "{}", json.end());
    }
    writeln!(out, "read {segments} segments, {frames} frames, {records} records, {}", size(*bytes))?;
    let whole = range(*first_seq, *last_good_seq);
    if unread > 0 {
        writeln!(out, "{unread} files were not read")?;
    }
    match damaged - unread {
        0 if unread > 0 => writeln!(out, "no damage in the others; whole in front of the first of them: {whole}"),
        0 => writeln!(out, "no damage; whole: {whole}"),
        found => {
            let verdict = out.bad(&format!("{found} damaged"));
            writeln!(out, "{verdict}; whole in front of the first spot: {whole}; the last seen: {last_seq}")
        }
    }
}

fn kind_name(kind: FindingKind) -> &'static str {
    match kind {
        FindingKind::Name => "name",
        FindingKind::Header => "header",
        FindingKind::Frame => "frame",
        FindingKind::Body => "body",
        FindingKind::Record => "record",
        FindingKind::Chain => "chain",
        FindingKind::Seal => "seal",
        FindingKind::Unreadable => "unreadable",
        FindingKind::Version => "version",
        FindingKind::Torn => "torn",
        FindingKind::Holds => "holds",
        FindingKind::Position => "position",
    }
}

pub fn acknowledged_name(acknowledged: Acknowledged) -> &'static str {
    match acknowledged {
        Acknowledged::Yes => "yes",
        Acknowledged::No => "no",
        Acknowledged::Unknown => "unknown",
    }
}

pub fn acknowledged_text(acknowledged: Acknowledged) -> &'static str {
    match acknowledged {
        Acknowledged::Yes => "acknowledged",
        Acknowledged::No => "not acknowledged",
        Acknowledged::Unknown => "perhaps acknowledged",
    }
}
