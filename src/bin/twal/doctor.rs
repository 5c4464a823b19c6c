//! `twal doctor`: what this machine can do for a log, and what to do about it.
//!
//! Asks the library's own door to files, so that it says what an open would find.  Writes nothing, so where no file of a
//! log is there to be asked, the block size is what is usual.

use std::io;
use std::path::{Path, PathBuf};

use nix::unistd::AccessFlags;
use twal::disk::real::RealDisk;
use twal::disk::{Cache, Disk, Facts};
use twal::segment::name::Named;
use twal::{Error, IoEngine};

use crate::cli::DoctorArgs;
use crate::exit::{Exit, Failure};
use crate::output::{shown, Out};
use crate::{locks, open};

/// What was found out.
struct Found {
    facts: Facts,
    has_log: bool,
    /// Why a log should not be here.
    objection: Option<String>,
    /// Why io_uring is not to be had.
    refusal: Option<String>,
    /// Why nothing can be written there by this process.
    unwritable: Option<String>,
}

pub fn run(args: &DoctorArgs, out: &mut Out) -> Result<Exit, Failure> {
    let (dir, is_there) = existing(&args.dir);
    let found = look(&dir)?;
    let here = match (is_there, found.has_log) {
        (true, true) => "holds a log",
        (true, false) => "holds no log",
        (false, _) => "is there; what was asked about is not yet",
    };
    out.fact("directory", format_args!("{} {here}", shown(dir.display())))?;
    out.fact("kernel", first_line("/proc/sys/kernel/osrelease").unwrap_or_else(|| "unknown".into()))?;
    let facts = &found.facts;
    out.fact("file system", &facts.file_system)?;
    out.fact("direct I/O", direct_text(facts, found.has_log))?;
    out.fact("cache", facts.cache.text())?;
    out.fact("io_uring", found.refusal.as_deref().unwrap_or("available"))?;
    let sysctl = first_line("/proc/sys/kernel/io_uring_disabled");
    out.fact(
        "  sysctl",
        sysctl.map_or("this kernel has none".into(), |value| format!("kernel.io_uring_disabled = {value}")),
    )?;
    out.fact("  seccomp", seccomp_text())?;
    out.fact("  memlock", memlock_text())?;
    out.fact("engine", &facts.reason)?;
    if found.has_log {
        out.fact("writer", locks::writer_text(open::has_writer(&dir)?.then(|| locks::writer_of(&dir))))?;
    }
    let advice = advice(&found);
    if advice.is_empty() {
        out.fact("advice", "none is needed")?;
    }
    for line in advice {
        out.fact("advice", line)?;
    }
    let is_bad = found.objection.is_some() || found.unwritable.is_some() || !facts.direct;
    Ok(if is_bad { Exit::Found } else { Exit::Clean })
}

/// The directory, or the one in which it would be made.
fn existing(dir: &Path) -> (PathBuf, bool) {
    match dir.parent() {
        Some(parent) if !dir.exists() && parent.as_os_str().is_empty() => (PathBuf::from("."), false),
        Some(parent) if !dir.exists() => (parent.to_owned(), false),
        _ => (dir.to_owned(), true),
    }
}

fn look(dir: &Path) -> Result<Found, Failure> {
    let opened = |engine, any| RealDisk::new(engine, any, true).open_dir(dir, false);
    let failed = |error| Failure::opening(&Error::os(format_args!("cannot open {}", dir.display()), &error));
    let here = opened(IoEngine::Auto, true).map_err(failed)?;
    let has_log = here.list().map_err(failed)?.iter().any(|name| matches!(Named::parse(name), Named::Segment(_)));
    // What was open a moment ago is refused for its file system alone.
    let objection = opened(IoEngine::Blocking, false).err().map(|error| error.to_string());
    let refusal = opened(IoEngine::Uring, true).err().map(|error| error.to_string());
    let writes = nix::unistd::access(dir, AccessFlags::W_OK | AccessFlags::X_OK);
    let unwritable = writes.err().map(|errno| io::Error::from(errno).to_string());
    Ok(Found { facts: here.facts().clone(), has_log, objection, refusal, unwritable })
}

fn direct_text(facts: &Facts, asked: bool) -> String {
    let Facts { block_align, mem_align, .. } = facts;
    match (facts.direct, asked) {
        (false, _) => "no".into(),
        (true, true) => {
            format!("yes, in blocks of {block_align} bytes, from addresses that are multiples of {mem_align}")
        }
        (true, false) => format!("not tried; blocks of {block_align} bytes are usual"),
    }
}

fn seccomp_text() -> String {
    match field("/proc/self/status", "Seccomp:").as_deref() {
        Some("0") => "no filter on this process".into(),
        Some("1" | "2") => "a filter is on this process".into(),
        _ => "unknown".into(),
    }
}

fn memlock_text() -> String {
    let limits = field("/proc/self/limits", "Max locked memory");
    match limits.as_deref().and_then(|limits| limits.split_ascii_whitespace().next()) {
        Some("unlimited") => "unlimited".into(),
        Some(bytes) => format!("{bytes} bytes"),
        None => "unknown".into(),
    }
}

/// The rest of the line that begins with `name`.
fn field(path: &str, name: &str) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    Some(text.lines().find_map(|line| line.strip_prefix(name))?.trim().to_owned())
}

fn first_line(path: &str) -> Option<String> {
    Some(std::fs::read_to_string(path).ok()?.lines().next()?.to_owned())
}

/// One line for each thing that could be better, the worst first.
fn advice(found: &Found) -> Vec<String> {
    let mut advice = Vec::new();
    if let Some(objection) = &found.objection {
        advice.push(format!("put the log on another file system: {objection}"));
    }
    if let Some(unwritable) = &found.unwritable {
        advice.push(format!("put the log where this user may write: {unwritable}"));
    }
    if !found.facts.direct {
        advice.push(
            "put the log on a file system with direct I/O: through the page cache it is slower, and takes memory"
                .into(),
        );
    }
    let is_forced = matches!(found.facts.cache, Cache::WriteThrough | Cache::VolatileFua);
    match &found.refusal {
        Some(refusal) if is_forced => advice.push(format!("io_uring would be the engine of choice here: {refusal}")),
        _ => {}
    }
    match found.facts.cache {
        Cache::Volatile => advice.push(
            "every durable write flushes the whole cache of this device: one with FUA, or with a cache that power loss \
             does not empty, is faster"
                .into(),
        ),
        Cache::Unknown => advice.push(
            "the kernel does not say what device this is (btrfs, an overlay, some containers): the safe engine is taken".into(),
        ),
        Cache::WriteThrough | Cache::VolatileFua => {}
    }
    advice
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(cache: Cache, objection: Option<&str>, refusal: Option<&str>) -> Found {
        let facts = Facts {
            engine: "blocking",
            reason: String::new(),
            cache,
            file_system: "ext4".into(),
            block_align: 512,
            mem_align: 4,
            direct: true,
            read_ahead: true,
        };
        Found {
            facts,
            has_log: true,
            objection: objection.map(str::to_owned),
            refusal: refusal.map(str::to_owned),
            unwritable: None,
        }
    }

    #[test]
    fn advice_is_for_what_could_be_better() {
        assert!(advice(&found(Cache::WriteThrough, None, None)).is_empty());
        assert!(advice(&found(Cache::VolatileFua, None, None)).is_empty());
        let forbidden = advice(&found(Cache::VolatileFua, None, Some("seccomp forbids it")));
        assert!(forbidden.len() == 1 && forbidden[0].contains("seccomp forbids it"), "{forbidden:?}");
        let slow = advice(&found(Cache::Volatile, None, Some("seccomp forbids it")));
        assert!(slow.len() == 1 && slow[0].contains("FUA"), "{slow:?}");
        let memory = advice(&found(Cache::Unknown, Some("it is kept in memory"), None));
        assert!(memory.len() == 2 && memory[0].contains("kept in memory"), "{memory:?}");
        let unwritable = Found { unwritable: Some("Read-only".into()), ..found(Cache::WriteThrough, None, None) };
        assert!(advice(&unwritable)[0].contains("may write: Read-only"));
        let mut buffered = found(Cache::WriteThrough, None, None);
        buffered.facts.direct = false;
        assert!(advice(&buffered)[0].contains("direct I/O"));
    }
}
