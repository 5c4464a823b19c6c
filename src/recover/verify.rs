//! Reads all of a log and tells every spot that is damaged.  Changes nothing.
//!
//! Goes on behind a spot: with the next verified header that was composed after
//! what was read so far, and with the next segment.  Holds one buffer of a fixed
//! size for each thread, whatever the files say.
//!
//! Each segment is read by itself (`verify/segment.rs`); here is what is said of
//! names and holds, and whether each segment continues the one before.  Findings
//! are told in the order of the segments, on the caller's thread, however many
//! threads read.
//!
//! Beside a writer, in this process or another, the end moves and names change:
//! a bad spot of the newest segment is told only if something behind it says
//! that it was durable, and it is still bad when everything that nothing
//! witnesses was read again after that was seen (`read/scout.rs` has the
//! stories).  What the writer releases meanwhile is passed over.
//!
//! Of a follower's copy everything in front of its position is read like a
//! sealed segment: all of it was acknowledged (`verify/follower.rs`).

mod follower;
mod segment;
mod spot;
mod walk;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{sync_channel, Receiver};

use super::examine::{unknown_name, LOST_LOG};
use super::finding::{Acknowledged, Finding, Kind};
use super::isolate;
use crate::base::{thread, Code, Error, Result};
use crate::disk::{Access, LockKind};
use crate::format::{Chain, Id, SegmentHeader};
use crate::read::segment::open_short;
use crate::segment::directory::{not_a_file, Listing};
use crate::segment::name::{spare_name, HOLDS, HOLDS_NEW, SINK};
use crate::segment::{retain, Directory, SegmentName, State};
use follower::Copy;
use segment::{Counted, Enough, Reading, Said};

/// Findings of a segment that wait until those before it are told, at most.
const AHEAD: usize = 64;

/// With how much effort a log is read.
#[derive(Debug, Clone, Copy, Default)]
pub struct Effort<'a> {
    /// Segments read at the same time; 0: one.
    pub threads: usize,
    /// Counts the bytes of the files that are through.
    pub done: Option<&'a AtomicU64>,
}

/// What was read, and how much of it is damaged.
#[derive(Debug, Clone, Default)]
pub struct Verified {
    /// Segment files that were read, archived ones too.
    pub segments: u64,
    /// Whole frames.
    pub frames: u64,
    /// Whole records.
    pub records: u64,
    /// Bytes that were read.
    pub bytes: u64,
    /// What was told, a torn end too.
    pub findings: u64,
    /// Those of them that are damage.
    pub damaged: u64,
    /// Of these, how many only a newer release can judge.
    pub unknown_version: u64,
    /// And how many are files that this process must not read.
    pub forbidden: u64,
    /// First number that is not released.
    pub first_seq: u64,
    /// Everything from `first_seq` up to here is whole.
    pub last_good_seq: u64,
    /// The last number that a whole frame shows, a mark too, damage in front of it or not.
    pub last_seq: u64,
    /// Whoever was told had enough.
    pub stopped: bool,
}

/// What is called with each finding; false: enough.
pub type Found<'f> = &'f mut dyn FnMut(&Finding) -> bool;

/// Reads the whole log in `directory`.
pub fn verify(directory: &Directory, effort: Effort<'_>, found: Found<'_>) -> Result<Verified> {
    // Given back at once: while a reader holds it no writer can open the log.
    let alone = directory.try_lock(LockKind::Shared)?;
    if alone {
        directory.unlock()?;
    }
    let (listing, copy) = settled(directory, alone)?;
    let all = copy.as_ref().map_or(&listing.segments, |copy| &copy.names.names);
    // A second file of a segment is told of by its name; whatever it holds is not what readers are given.
    let names: Vec<_> = all.iter().filter(|name| retain::of_index(all, name.index) == Some(**name)).copied().collect();
    let names = names.as_slice();
    if copy.is_none() && names.is_empty() && listing.unknown.is_empty() && !listing.holds {
        return Err(Error::new(Code::NotFound, "there is no log in the directory"));
    }
    let first_live = retain::first_live(names);
    // A follower has no holds.
    let newest = if copy.is_none() { isolate::newest_header(directory, names) } else { None };
    let position = copy.as_ref().and_then(|copy| copy.slot);
    let log_id = position.map(|slot| slot.log_id).or_else(|| log_of(directory, names));
    let first_seq = names.get(first_live).map_or(1, |name| name.first_seq);
    let mut verifier = Verifier {
        directory,
        found,
        has_header: newest.is_some(),
        said: Verified { first_seq, last_good_seq: first_seq - 1, last_seq: first_seq - 1, ..Verified::default() },
        good: true,
        bad_from: u64::MAX,
        chain: None,
        before: None,
        good_before: true,
    };
    if let Some(header) = newest {
        directory.belongs_to(header.log_id, false, header.keeps_holds);
    }
    let reading = Reading { directory, alone, log_id, position, done: effort.done, enough: AtomicBool::new(false) };
    // Enough is no failure: what was said so far stands.
    let _ = verifier
        .names(&listing)
        .and_then(|()| match &copy {
            Some(copy) => verifier.follower(copy),
            None => verifier.complaints(&listing.segments).and_then(|()| verifier.holds()),
        })
        .and_then(|()| verifier.segments(names, &reading, effort.threads));
    Ok(verifier.said)
}

/// Which log this is, as far as can be read.
fn log_of(directory: &Directory, names: &[SegmentName]) -> Option<Id> {
    let header = |name: &SegmentName| open_short(directory, name.index, Access::Read).ok().map(|opened| opened.header);
    isolate::log_of(names, |name| Ok(header(name))).ok().flatten()
}

/// The names, when they no longer change in ways that look like damage; and what they are to a follower, if the directory
/// is one's.
fn settled(directory: &Directory, alone: bool) -> Result<(Listing, Option<Copy>)> {
    let mut tries = if alone { 2 } else { 20 };
    loop {
        tries -= 1;
        let mut listing = directory.scan()?;
        let mut copy = None;
        if listing.sink {
            let position = follower::position(directory, alone);
            listing = directory.scan()?;
            // It may have been promoted meanwhile.
            let position = position.filter(|_| listing.sink);
            copy = position.map(|position| Copy::of(directory, &listing, position, alone));
        }
        let whole = match &copy {
            Some(copy) => copy.is_settled(),
            None => !listing.segments.is_empty() && retain::check(&listing.segments).is_ok(),
        };
        if tries == 0 || whole {
            if alone {
                flush(directory, &listing)?;
            }
            return Ok((listing, copy));
        }
    }
}

/// What a killed process left in the kernel must not be told as whole and then be lost.
fn flush(directory: &Directory, listing: &Listing) -> Result<()> {
    for name in listing.segments.iter().filter(|name| name.state == State::Active) {
        // What cannot be opened is told when it is to be read.
        let Ok((_, file)) = directory.open_segment(name.index, Access::Read) else { continue };
        file.sync()
            .map_err(|error| Error::flush(format_args!("cannot flush {name}"), &error).in_segment(name.index))?;
    }
    directory.sync()
}

fn of_name(name: &SegmentName, text: String) -> Finding {
    let seq = name.first_seq;
    Finding { segment: name.index, seq, last_seq: seq - 1, ..Finding::new(Kind::Name, name.to_string(), text) }
}

struct Verifier<'a, 'f> {
    directory: &'a Directory,
    found: Found<'f>,
    /// Some segment says which log this is.
    has_header: bool,
    said: Verified,
    /// No damage so far in what is not released.
    good: bool,
    /// From this segment on the names are wrong.
    bad_from: u64,
    /// How the segment before ended, and where its seal is; None: it is not known, or there was none.
    chain: Option<(Chain, u64)>,
    /// Index of the segment before.
    before: Option<u64>,
    /// `good` as it was before the present segment.
    good_before: bool,
}

impl Verifier<'_, '_> {
    fn tell(&mut self, finding: &Finding) -> Result<(), Enough> {
        self.said.findings += 1;
        if finding.is_damage() {
            self.said.damaged += 1;
            self.said.unknown_version += u64::from(finding.kind == Kind::Version);
            let is_forbidden = matches!(finding.os_errno, libc::EACCES | libc::EPERM);
            self.said.forbidden += u64::from(finding.kind == Kind::Unreadable && is_forbidden);
        }
        if (self.found)(finding) {
            return Ok(());
        }
        self.said.stopped = true;
        Err(Enough)
    }

    fn names(&mut self, listing: &Listing) -> Result<(), Enough> {
        for unknown in &listing.unknown {
            let text = unknown_name(unknown);
            self.tell(&Finding { acknowledged: Acknowledged::Unknown, ..Finding::new(Kind::Name, unknown, text) })?;
            self.good = false;
        }
        if listing.segments.is_empty() && listing.holds {
            self.tell(&Finding::new(Kind::Name, HOLDS, LOST_LOG))?;
            self.good = false;
        }
        // Opening takes spares over, and new holds are written where the last ones were.  What goes meanwhile is none.
        let no_files = listing
            .spares
            .iter()
            .map(|n| spare_name(*n))
            .chain([HOLDS_NEW.to_owned()])
            .filter(|spare| matches!(self.directory.is_file(spare), Ok(false)));
        for spare in no_files.collect::<Vec<_>>() {
            let text = not_a_file(&spare);
            self.tell(&Finding { acknowledged: Acknowledged::Unknown, ..Finding::new(Kind::Name, spare, text) })?;
        }
        Ok(())
    }

    /// What is wrong with the names of a follower's segments, and with its position.
    fn follower(&mut self, copy: &Copy) -> Result<(), Enough> {
        for finding in &copy.findings {
            self.tell(finding)?;
        }
        for (name, text) in &copy.names.wrong {
            match name {
                Some(name) => self.wrong_name(name, text.clone())?,
                None => {
                    let segment = copy.slot.map_or(0, |slot| slot.index);
                    self.tell(&Finding { segment, ..Finding::new(Kind::Name, SINK, text.clone()) })?;
                }
            }
        }
        Ok(())
    }

    fn complaints(&mut self, segments: &[SegmentName]) -> Result<(), Enough> {
        let newest = segments.last();
        for (name, text) in retain::complaints(segments) {
            // The one fault that leaves every file in its place is that a newer one is missing.
            if newest != Some(&name) || name.state == State::Active {
                self.wrong_name(&name, text)?;
            } else {
                self.tell(&of_name(&name, text))?;
            }
        }
        Ok(())
    }

    /// From this segment on nothing is in its place.
    fn wrong_name(&mut self, name: &SegmentName, text: String) -> Result<(), Enough> {
        self.bad_from = self.bad_from.min(name.index);
        self.tell(&of_name(name, text))
    }

    /// Nothing that can be read is worse for it: what is damaged is why nothing is released.
    fn holds(&mut self) -> Result<(), Enough> {
        // With no header that can be read nobody knows whose they would have to be.
        let Some(error) = self.has_header.then(|| self.directory.holds().err()).flatten() else { return Ok(()) };
        let kind = match error.code {
            Code::Version => Kind::Version,
            Code::Corrupt => Kind::Holds,
            _ => Kind::Unreadable,
        };
        self.tell(&Finding::of(kind, HOLDS, &error))
    }

    fn segments(&mut self, names: &[SegmentName], reading: &Reading<'_>, threads: usize) -> Result<(), Enough> {
        match threads.min(names.len()) {
            0 | 1 => self.segments_here(names, reading),
            threads => self.segments_of_threads(names, reading, threads),
        }
    }

    fn segments_here(&mut self, names: &[SegmentName], reading: &Reading<'_>) -> Result<(), Enough> {
        let newest = names.len().wrapping_sub(1);
        for at in 0..names.len() {
            self.begin(names, at);
            let (counted, read) = reading.read(&names[at], at == newest, &mut |said| self.take(names, at, said));
            self.take(names, at, Said::Ended(counted))?;
            read?;
        }
        Ok(())
    }

    /// Each thread reads every `threads`-th segment, and waits where it has told too much ahead of the others.
    fn segments_of_threads(
        &mut self,
        names: &[SegmentName],
        reading: &Reading<'_>,
        threads: usize,
    ) -> Result<(), Enough> {
        let newest = names.len() - 1;
        std::thread::scope(|scope| {
            let listen = |first| {
                let (begin, threads) = sync_channel(1);
                let (sender, receiver) = sync_channel(AHEAD);
                let run = move || {
                    let Ok(threads) = threads.recv() else { return };
                    for at in (first..names.len()).step_by(threads) {
                        let mut say = |said| sender.send(said).map_err(|_| Enough);
                        let (counted, read) = reading.read(&names[at], at == newest, &mut say);
                        if read.and_then(|()| say(Said::Ended(counted))).is_err() {
                            return;
                        }
                    }
                };
                thread::spawn_scoped(scope, "twal-verify", run).ok()?;
                Some((begin, receiver))
            };
            // As many as can be had: only then it is known which segments are whose.
            let (begins, receivers): (Vec<_>, Vec<Receiver<Said>>) = (0..threads).map_while(listen).unzip();
            let threads = receivers.len();
            if threads == 0 {
                return self.segments_here(names, reading);
            }
            for begin in begins {
                begin.send(threads).expect("verifying does not panic");
            }
            let heard = (0..names.len()).try_for_each(|at| {
                self.begin(names, at);
                loop {
                    let said = receivers[at % threads].recv().expect("verifying does not panic");
                    let ended = matches!(said, Said::Ended(_));
                    self.take(names, at, said)?;
                    if ended {
                        return Ok(());
                    }
                }
            });
            // Whoever waits to tell more, or reads on, is let out.
            reading.enough.store(true, Ordering::Relaxed);
            drop(receivers);
            heard
        })
    }

    /// Before anything is said of the segment at `at`.
    fn begin(&mut self, names: &[SegmentName], at: usize) {
        let name = &names[at];
        if self.before.is_some_and(|before| before + 1 != name.index) {
            // Allowed among the oldest; else the names were told.
            self.chain = None;
            self.good &= at <= retain::first_live(names);
        }
        self.good &= name.index < self.bad_from;
        self.good_before = self.good;
        self.before = Some(name.index);
    }

    /// What is said of the segment at `at`.
    fn take(&mut self, names: &[SegmentName], at: usize, said: Said) -> Result<(), Enough> {
        match said {
            Said::Opened(header) => {
                self.said.segments += 1;
                self.check_continues(&names[at], &header)
            }
            Said::Found(finding) => self.tell(&finding),
            Said::Ended(counted) => {
                self.count(&counted);
                if at < retain::first_live(names) {
                    // What is released takes nothing from what can be read.
                    self.good = self.good_before;
                }
                Ok(())
            }
        }
    }

    /// Whether the segment with this header continues the one before it.
    fn check_continues(&mut self, name: &SegmentName, header: &SegmentHeader) -> Result<(), Enough> {
        let chain = self.chain.take();
        let wrong_first = header.index == 1 && header.before != Chain::default();
        if !wrong_first && chain.is_none_or(|ended| ended == (header.before, header.before_offset)) {
            return Ok(());
        }
        self.good = false;
        let (expected, _) = chain.unwrap_or_default();
        self.tell(&Finding {
            segment: name.index,
            seq: expected.last_seq + 1,
            last_seq: header.first_seq - 1,
            expected: expected.identity,
            found: header.before.identity,
            ..Finding::new(Kind::Chain, name.to_string(), "the segment does not continue the one before it")
        })
    }

    fn count(&mut self, counted: &Counted) {
        let said = &mut self.said;
        said.frames += counted.frames;
        said.records += counted.records;
        said.bytes += counted.bytes;
        said.last_seq = said.last_seq.max(counted.last_seq);
        if self.good {
            said.last_good_seq = said.last_good_seq.max(counted.last_good_seq);
        }
        self.good &= !counted.damaged;
        self.chain = counted.chain;
    }
}
