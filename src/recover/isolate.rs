//! What lies in a log's directory and is nothing of the log's, and what of it may hold records all the same.
//!
//! ```text
//!    what                                    what is planned     acknowledged
//! A  a file that is named as nothing of      it goes             unknown; of a file whose header is this log's, yes, if
//!    a log's is                                                  a frame in it says that one of its records was durable
//! A' a file that claims a segment which     it goes             as A
//!    another one is: by its header, or a
//!    copy under a second name
//! B  what is no file (a directory, a link,   it is moved         unknown: nobody looks inside
//!    a FIFO) and is named so, or as a
//!    spare, as the holds, as a second file
//!    of a segment, as one that was released
//!    before the newest of these, or as an
//!    unfinished repair
//! ```
//!
//! What is no file and is named as a segment of which there is no other file is that segment, damaged as a whole.

use super::examine::unknown_name;
use super::finding::Acknowledged;
use super::plan::{Lost, Step, StepKind};
use crate::base::Result;
use crate::disk::Access;
use crate::format::{Id, SegmentHeader};
use crate::read::segment;
use crate::segment::directory::{not_a_file, Listing};
use crate::segment::name::{spare_name, HOLDS, HOLDS_NEW};
use crate::segment::{retain, Directory, SegmentName, State, UNFINISHED_REPAIR};

/// What is to go, and why: its name and what is wrong with it.
pub type Odd = (Step, String);

/// Everything of `listing` that is none of the log's.  What has a segment's name leaves the listing, and what
/// `directory` knows.
pub fn isolate(directory: &Directory, listing: &mut Listing) -> Result<Vec<Odd>> {
    let mut odd = Vec::new();
    for name in &listing.unknown {
        if !directory.is_file(name)? {
            odd.push((unknown(name), not_a_file(&name)));
        } else if name != UNFINISHED_REPAIR {
            let step = of_this_log(directory, name, &listing.segments)?.unwrap_or_else(|| unknown(name));
            odd.push((step, unknown_name(name)));
        }
    }
    let holds = [HOLDS, HOLDS_NEW].map(str::to_owned);
    for name in listing.spares.iter().map(|n| spare_name(*n)).chain(holds) {
        if !directory.is_file(&name)? {
            odd.push((unknown(&name), not_a_file(&name)));
        }
    }
    let names = listing.segments.clone();
    let elders = retain::first_live(&names).saturating_sub(1);
    for (at, name) in names.iter().enumerate() {
        let doubled = listing.segments.iter().filter(|other| other.index == name.index).count() > 1;
        let file = name.to_string();
        // Of the released ones only the newest counts.
        if (doubled || at < elders) && !directory.is_file(&file)? {
            odd.push((unknown(&file), not_a_file(&file)));
            listing.segments.retain(|other| other != name);
            directory.forget(name);
        }
    }
    for (name, text) in doubled(directory, &listing.segments)? {
        let file = name.to_string();
        let step = of_this_log(directory, &file, &listing.segments)?.unwrap_or_else(|| unknown(&file));
        odd.push((step, text));
        listing.segments.retain(|other| *other != name);
        directory.forget(&name);
    }
    Ok(odd)
}

/// Of the files that claim one index, all but the one that is it: the only one whose header is that segment's; or of copies
/// under several names the sealed one, which keeps the most, unless they are the newest segment's.
fn doubled(directory: &Directory, names: &[SegmentName]) -> Result<Vec<(SegmentName, String)>> {
    let mut others = Vec::new();
    let newest = names.last().map_or(0, |newest| newest.index);
    for claims in names.chunk_by(|one, other| one.index == other.index) {
        let index = claims[0].index;
        if claims.len() == 1 {
            continue;
        }
        let mut theirs = Vec::new();
        for name in claims {
            let opened = segment::open_by_name(directory, &name.to_string())?;
            let header = opened.ok().map(|opened| opened.header);
            if header.is_some_and(|header| (header.index, header.first_seq) == (name.index, name.first_seq)) {
                theirs.push(*name);
            }
        }
        // Of two whole ones nothing tells which is the newest segment.
        let sealed = theirs.iter().find(|name| name.state == State::Sealed && index != newest);
        let Some(kept) = sealed.or(if theirs.len() == 1 { theirs.first() } else { None }) else { continue };
        let text = format!("two files claim segment {index}, and this one is not it");
        others.extend(claims.iter().filter(|name| *name != kept).map(|name| (*name, text.clone())));
    }
    Ok(others)
}

/// It goes, whatever it is.
pub(super) fn unknown(name: &str) -> Step {
    Step {
        kind: StepKind::Isolate,
        file: name.to_owned(),
        segment: 0,
        offset: 0,
        first_seq: 0,
        last_seq: 0,
        acknowledged: Acknowledged::Unknown,
    }
}

/// The newest header that can be read: it says which log this is.
pub fn newest_header(directory: &Directory, names: &[SegmentName]) -> Option<SegmentHeader> {
    let header =
        |name: &SegmentName| segment::open_short(directory, name.index, Access::Read).map(|opened| opened.header);
    names.iter().rev().find_map(|name| header(name).ok())
}

/// The header of a segment, for a plan: None if it cannot be trusted.
pub(super) fn header_at_rest(directory: &Directory, name: &SegmentName) -> Result<Option<SegmentHeader>> {
    let opened = segment::open_at_rest(directory, name.index, Access::Read)?;
    Ok(opened.ok().map(|opened| opened.header))
}

/// Which log this is: what most headers say that `header` can read, and of as many what the newest one does.
pub fn log_of(
    names: &[SegmentName],
    header: impl Fn(&SegmentName) -> Result<Option<SegmentHeader>>,
) -> Result<Option<Id>> {
    let mut said: Vec<(Id, usize)> = Vec::new();
    for name in names.iter().rev() {
        let Some(header) = header(name)? else { continue };
        match said.iter_mut().find(|(log_id, _)| *log_id == header.log_id) {
            Some((_, count)) => *count += 1,
            None => said.push((header.log_id, 1)),
        }
    }
    let most = said.iter().map(|(_, count)| *count).max();
    Ok(said.into_iter().find(|(_, count)| Some(*count) == most).map(|(log_id, _)| log_id))
}

/// A segment of this log under another name, by its header; None: that cannot be told.
fn of_this_log(directory: &Directory, name: &str, names: &[SegmentName]) -> Result<Option<Step>> {
    let Ok(opened) = segment::open_by_name(directory, name)? else { return Ok(None) };
    let log_id = log_of(names, |name| header_at_rest(directory, name))?;
    if log_id != Some(opened.header.log_id) {
        return Ok(None);
    }
    let header = opened.header;
    let mut held = Lost::default();
    held.look(&opened, &header.before, u64::from(header.block_size))?;
    let last_seq = held.last_seq.max(header.first_seq - 1);
    let acknowledged = match held.says_durable && last_seq >= header.first_seq {
        true => Acknowledged::Yes,
        false => Acknowledged::Unknown,
    };
    Ok(Some(Step { segment: header.index, first_seq: header.first_seq, last_seq, acknowledged, ..unknown(name) }))
}
