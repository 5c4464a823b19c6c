//! Opening for writing: locks, then reads, then makes sure that what it is
//! about to report stays true.
//!
//! The order, and the crash behind each step:
//!   1. Lock the directory: two writers would overwrite each other.
//!   2. Lock each file that an earlier writer may still be writing: a write in
//!      flight outlives a killed process, and would land on what we write next.
//!   3. Flush directory and unsealed files, then read: what a killed process left
//!      in the kernel reads well now and could be gone after a power cut.
//!   4. Examine.  Damage to what was acknowledged refuses.
//!   5. Write what nothing witnesses again, the same bytes, and flush: a flush that
//!      failed may have dropped them from the device though they still read well.
//!   6. A mark of a new epoch, durable, at the end: it overwrites what was cut
//!      and witnesses what is reported.
//!
//! Step 6 is the caller's (`commit/`): composing frames is its business.

use std::sync::Arc;

use super::create;
use super::examine::{self, Asked, Examined};
use crate::base::bytes::usize_of;
use crate::base::clock::Clock;
use crate::base::limits::{BLOCK_SIZE_DEFAULT, FRAME_SIZE_CAP};
use crate::base::options::Config;
use crate::base::{random, Code, Error, Result};
use crate::disk::{Access, Durable, File, LockKind};
use crate::format::Id;
use crate::mem::AlignedBuf;
use crate::read::{segment, Witnessed};
use crate::segment::directory::lock_for_writing;
use crate::segment::{retain, Directory, State};

/// A log that is ready to be written on.
pub struct Opened {
    /// What was found, or of a new log what was made.
    pub examined: Examined,
    /// Made by this call.
    pub created: bool,
    /// Frames with records that nothing witnessed, written again.
    pub frames_rewritten: u64,
    /// Config with the log's own block size.
    pub config: Config,
    /// This opening's number.
    pub epoch: u64,
    /// This opening's random id.
    pub epoch_id: Id,
    /// An older active segment, to be renamed.
    pub to_seal: Option<u64>,
    /// Numbers of spares that earlier openings left.
    pub spares: Vec<u64>,
    /// There is a file of holds, or there was one.
    pub keeps_holds: bool,
}

/// Opens the log in `directory`, which the caller has locked (step 1), or makes one.
pub fn open(directory: &Directory, config: &Config, clock: &Clock) -> Result<Opened> {
    let listing = directory.scan()?;
    listing.check_no_follower()?;
    if listing.segments.is_empty() {
        if listing.holds {
            return Err(Error::new(Code::Corrupt, examine::LOST_LOG));
        }
        if config.no_create {
            return Err(Error::new(Code::NotFound, "there is no log in the directory"));
        }
        if let Some(unknown) = listing.unknown.first() {
            let text = format!("there is no log, but {unknown}: {}", examine::unknown_name(unknown));
            return Err(Error::new(Code::Corrupt, text));
        }
        return create_log(directory, config, clock, listing.spares);
    }
    if let Err((name, text)) = retain::check(&listing.segments) {
        // Before any file is locked: of two files for one segment, the second lock would only wait for the first.
        return Err(Error::new(Code::Corrupt, text).in_segment(name.index));
    }
    let mut actives = Vec::new();
    for name in listing.segments.iter().filter(|name| name.state == State::Active) {
        let (_, file) = directory.open_segment(name.index, Access::Write)?;
        lock_for_writing(file.as_ref(), name, clock)?;
        file.sync().map_err(|error| Error::os(format_args!("cannot flush {name}"), &error).in_segment(name.index))?;
        actives.push((name.index, file));
    }
    directory.sync()?;
    let asked = Asked { access: Access::Write, verify: config.verify };
    let mut examined = examine::examine(directory, &listing, asked).map_err(|damage| damage.error)?;
    // From here on through the descriptor that holds the lock.
    let newest = examined.newest.name.index;
    let (to_seal, locked): (Vec<_>, Vec<_>) = actives.into_iter().partition(|(index, _)| *index != newest);
    for (_, file) in locked {
        examined.newest.file = file;
    }
    let config = config.clone().for_log(examined.newest.header.block_size)?;
    check_alignment(directory, config.block_size)?;
    examine::check_counts_on(&examined)?;
    examine::check_end(&examined)?;
    let frames_rewritten = rewrite(&examined)?;
    Ok(Opened {
        epoch: examined.epoch_max + 1,
        epoch_id: random::id()?,
        created: false,
        frames_rewritten,
        config,
        to_seal: to_seal.first().map(|(index, _)| *index),
        spares: listing.spares,
        keeps_holds: listing.holds || examined.newest.header.keeps_holds,
        examined,
    })
}

fn create_log(directory: &Directory, config: &Config, clock: &Clock, spares: Vec<u64>) -> Result<Opened> {
    let facts = directory.facts();
    let block_size = match config.block_size_asked {
        0 => BLOCK_SIZE_DEFAULT.max(facts.block_align),
        asked => asked,
    };
    let config = config.clone().for_log(block_size)?;
    check_alignment(directory, block_size)?;
    let newest = create::first_segment(directory, &config, clock)?;
    let block = u64::from(block_size);
    Ok(Opened {
        examined: Examined {
            log_id: newest.header.log_id,
            witnessed: Witnessed::by_header(&newest.header),
            newest,
            end: crate::format::Chain::default(),
            end_offset: block,
            sealed: false,
            lost_newer: false,
            records_in_newest: 0,
            frames_in_newest: 0,
            epoch_max: 0,
            torn: false,
            bytes_cut: 0,
            purged: 0,
            cut: None,
        },
        created: true,
        frames_rewritten: 0,
        config,
        epoch: 1,
        epoch_id: random::id()?,
        to_seal: None,
        spares,
        keeps_holds: false,
    })
}

fn check_alignment(directory: &Directory, block_size: u32) -> Result<()> {
    let align = directory.facts().block_align;
    if block_size < align || !block_size.is_multiple_of(align) {
        let text = format!("blocks of {block_size} bytes: this device wants multiples of {align}");
        return Err(Error::new(Code::Unsupported, text));
    }
    Ok(())
}

/// Step 5.  Returns how many frames that were.
fn rewrite(examined: &Examined) -> Result<u64> {
    let (from, to) = (examined.witnessed.end, examined.end_offset);
    if from >= to {
        return Ok(0);
    }
    let file: &Arc<dyn File> = &examined.newest.file;
    let index = examined.newest.name.index;
    let failed = |error| Error::os("cannot make the log's end durable again", &error).at(index, from);
    let mut piece = AlignedBuf::zeroed(usize_of(FRAME_SIZE_CAP.min(to - from)))?;
    let mut at = from;
    while at < to {
        let len = usize_of(FRAME_SIZE_CAP.min(to - at));
        let read = file.read_at(&mut piece[..len], at).map_err(failed)?;
        if read != len {
            return Err(Error::new(Code::Corrupt, "the segment file has become shorter").at(index, at));
        }
        file.write_at(&piece[..len], at, Durable::No).map_err(failed)?;
        at += FRAME_SIZE_CAP.min(to - at);
    }
    file.sync().map_err(failed)?;
    Ok(examined.witnessed.frames_behind())
}

/// Locks the directory for writing: step 1.  Before that, whether the options fit the log at all: a caller that is
/// wrong is told so although somebody else has the log open.
pub fn lock(directory: &Directory, config: &Config, clock: &Clock) -> Result<()> {
    if config.block_size_asked != 0 {
        let newest = directory.scan()?.segments.last().copied();
        // What cannot be read now is for whoever holds the lock to judge.
        let opened = newest.and_then(|name| segment::open(directory, name.index, Access::Read).ok());
        if let Some(opened) = opened {
            config.clone().for_log(opened.header.block_size)?;
        }
    }
    directory.lock(LockKind::Exclusive, clock)
}
