//! The first damage of a log, and what can be made whole again in front of it.

use super::super::beginning::{self, Beginning};
use super::super::examine::{self, Examined};
use super::super::fill::Fill;
use super::super::restore::{self, Restored};
use crate::base::{Code, Error, Result};
use crate::disk::Access;
use crate::format::{Chain, Id};
use crate::read::sealed::{self, SealedEnd, Stopped};
use crate::read::segment::{self, OpenSegment};
use crate::read::short;
use crate::read::skip::is_damage;
use crate::segment::{retain, Directory, SegmentName, State};

const OTHERS_HEADER: &str =
    "the segment holds frames that another header was written with: its first 512 bytes are to \
                             blame, and no repair knows what they were: put them back from a backup";

/// The first damage, and what is in front of it.
pub struct Found {
    /// What it is.
    pub error: Error,
    /// Position among the names of the segment that is damaged, or before which one is missing.
    pub at: usize,
    /// The last segment in front, if there is one, and the one that the damage is in.
    pub before: Option<OpenSegment>,
    /// See `before`.
    pub here: Option<OpenSegment>,
    /// How the frames in front of it end.
    pub chain: Chain,
    /// Where in `here`.
    pub offset: u64,
}

impl Found {
    /// Damage of a segment as a whole.
    fn whole(error: Error, at: usize, before: Option<OpenSegment>, chain: Chain) -> Found {
        Found { error, at, before, here: None, chain, offset: 0 }
    }
}

/// What a look at the whole log came to.
pub struct Looked {
    /// The newest archived segment, where it is damaged.
    pub restored: Option<Restored>,
    /// Segments in front of the first damage of which nothing that was written is missing.
    pub fills: Vec<Fill>,
    /// The first damage.
    pub found: Option<Found>,
}

/// Walks the log until something is not as it should be; the newest archived segment is passed over if it can be
/// restored, and so is any that lacks nothing but the bytes behind its end.
pub fn look(directory: &Directory, names: &[SegmentName], log_id: Option<Id>) -> Result<Looked> {
    let live = retain::first_live(names);
    let mut wrong = retain::complaints(names);
    if names.last().is_some_and(examine::is_lost_newer) {
        // The worst, and the first; it leaves every file in its place.
        wrong.remove(0);
    }
    // The newest archived one says how the first live one begins.
    let from = live.saturating_sub(1);
    let elder = |bad: &SegmentName| names[..from].contains(bad);
    if let Some((name, text)) = wrong.iter().find(|(bad, _)| elder(bad)) {
        return Err(beyond_repair(&Error::new(Code::Corrupt, text.clone()).in_segment(name.index)));
    }
    let mut search = Search { directory, names, log_id, live, from, wrong, restored: None, fills: Vec::new() };
    let found = search.first_damage()?;
    let Search { restored, fills, .. } = search;
    // What goes as a whole is not made whole before.
    let stays = |at: usize| found.as_ref().is_none_or(|found| at < found.at);
    let fills = fills.into_iter().filter(|(at, _)| stays(*at)).map(|(_, fill)| fill).collect();
    Ok(Looked { restored, fills, found })
}

struct Search<'a> {
    directory: &'a Directory,
    names: &'a [SegmentName],
    log_id: Option<Id>,
    /// Positions of the first segment that can be read, and of the first that is looked at.
    live: usize,
    from: usize,
    /// What is wrong with names.
    wrong: Vec<(SegmentName, String)>,
    restored: Option<Restored>,
    /// With their positions.
    fills: Vec<(usize, Fill)>,
}

impl Search<'_> {
    fn first_damage(&mut self) -> Result<Option<Found>> {
        let Search { directory, names, live, from, .. } = *self;
        let mut before: Option<OpenSegment> = None;
        let mut chain = Chain::default();
        // In front of `before`.
        let mut elder = (None, chain);
        let mut lost_newer = None;
        for (at, name) in names.iter().enumerate().skip(from) {
            let newest = at + 1 == names.len();
            let said = self.said(name);
            let opened = match &said {
                Some(text) => Err(Error::new(Code::Corrupt, text.clone()).in_segment(name.index)),
                None => self.open(name)?,
            };
            let opened = match opened {
                Ok(opened) => opened,
                Err(error) if !is_damage(&error) => return Err(error),
                Err(error) if at < live => {
                    chain = self.restore(&error)?;
                    continue;
                }
                // It was whole when it spoke for the one before.
                Err(error) if at == live && self.restored.is_some() => return Err(beyond_repair(&error)),
                Err(error) => {
                    if before.is_none() && said.is_none() && is_others(directory, name, self.log_id)? {
                        return Err(nothing_left(&error));
                    }
                    return Ok(Some(Found::whole(error, at, before, chain)));
                }
            };
            let header = opened.header;
            let follows = before.as_ref().is_none_or(|before| before.header.block_size == header.block_size);
            if before.is_some() && (!follows || header.before != chain) {
                if at > live && follows && !is_contradicted(directory, names.get(at + 1), &opened)? {
                    let error =
                        Error::new(Code::Corrupt, "the segment does not end in the seal that the next one names");
                    let error = error.in_segment(names[at - 1].index);
                    let (Some(before), chain) = elder else { return Err(nothing_left(&error)) };
                    return Ok(Some(Found::whole(error, at - 1, Some(before), chain)));
                }
                let error = Error::new(Code::Corrupt, "the segment does not continue the one before it");
                return Ok(Some(Found::whole(error.in_segment(name.index), at, before, chain)));
            }
            if let Some(Err(error)) = before.as_ref().map(|before| examine::check_seal(before, &header)) {
                return if is_damage(&error) { Ok(Some(Found::whole(error, at, before, chain))) } else { Err(error) };
            }
            let chain_before = chain;
            let walked = match newest && !examine::is_lost_newer(name) {
                true => examine::examine_tail(opened.clone()).and_then(|found| {
                    let (end, offset) = (found.end, found.end_offset);
                    let counts_on = examine::check_counts_on(&found);
                    counts_on.map_err(|error| Stopped { error, end, offset })?;
                    sealed::check_up_to(&found.newest, offset)?;
                    lost_newer = found.lost_newer.then(|| examine::lost_newer(name.index));
                    // A seal was looked at now, and where it is wrong, the cut is in front of it.
                    let checked = if found.sealed { Ok(()) } else { examine::check_end(&found) };
                    checked.map(|()| (end, offset)).map_err(|error| Stopped { error, end, offset })
                }),
                false if at < live => archived_end(directory, names, at, &opened)?,
                false => walk(&opened, newest),
            };
            match walked {
                Ok((end, _)) => {
                    chain = end;
                    self.fills.extend(Fill::of(&opened)?.map(|fill| (at, fill)));
                }
                Err(stopped) if !is_damage(&stopped.error) => return Err(stopped.error),
                Err(stopped) if at < live => {
                    chain = self.restore(&stopped.error)?;
                    continue;
                }
                Err(Stopped { error, end, offset }) => {
                    if names.len() == 1 && has_others_header(&opened, offset)? {
                        return Err(Error { code: Code::Unsupported, text: OTHERS_HEADER.into(), ..error });
                    }
                    return Ok(Some(Found { error, at, before, here: Some(opened), chain: end, offset }));
                }
            }
            elder = (before.replace(opened), chain_before);
        }
        Ok(match names.last() {
            // Only after a repair that was interrupted.
            None => {
                let error = Error::new(Code::Corrupt, "a repair removed every segment and was interrupted");
                Some(Found::whole(error, 0, None, chain))
            }
            Some(newest) if examine::is_lost_newer(newest) => {
                let error = Error::new(Code::Corrupt, retain::LOST_NEWER);
                Some(Found::whole(error.in_segment(newest.index), names.len(), before, chain))
            }
            Some(_) => lost_newer.map(|error| Found::whole(error, names.len(), before, chain)),
        })
    }

    /// What is wrong with this name.
    fn said(&self, name: &SegmentName) -> Option<String> {
        self.wrong.iter().find(|(bad, _)| bad == name).map(|(_, text)| text.clone())
    }

    fn open(&self, name: &SegmentName) -> Result<Result<OpenSegment>> {
        // What may only be read by this release is not repaired by it either.
        let opened = match segment::open_at_rest(self.directory, name.index, Access::Write)? {
            Ok(opened) => opened,
            wrong => return Ok(wrong),
        };
        if short::is_of_later_generation(&opened)? {
            return Ok(Err(Error::new(Code::Corrupt, short::OTHERS_END).in_segment(name.index)));
        }
        let is_ours = self.log_id.is_none_or(|log_id| log_id == opened.header.log_id);
        Ok(examine::continue_in(opened, None)
            .and_then(|(opened, _)| is_ours.then_some(opened).ok_or_else(|| examine::of_another_log(name.index))))
    }

    /// Makes the newest archived segment again, of which `error` says what is wrong; says how it ends.
    fn restore(&mut self, error: &Error) -> Result<Chain> {
        let next = self.names.get(self.live).filter(|next| self.said(next).is_none());
        let restored = match next {
            Some(next) => restore::restore(self.directory, self.names, &self.names[self.from], next, error)?,
            None => None,
        };
        let restored = restored.ok_or_else(|| beyond_repair(error))?;
        Ok(self.restored.insert(restored).chain)
    }
}

/// No frame of the log's only segment was written with the header that it has now.
fn has_others_header(opened: &OpenSegment, offset: u64) -> Result<bool> {
    let header = &opened.header;
    let nothing_read = header.index == 1 && offset == u64::from(header.block_size);
    Ok(nothing_read && beginning::look(opened.file.as_ref(), header)? == Beginning::OfOther)
}

/// The first damage in an archived segment.
pub fn released_damage(directory: &Directory) -> Result<Option<Error>> {
    for name in directory.segments().iter().filter(|name| name.state == State::Archived) {
        let read = segment::open(directory, name.index, Access::Read)
            .and_then(|opened| walk_to_seal(&opened).map(drop).map_err(|stopped| stopped.error));
        match read {
            Err(error) if is_damage(&error) => return Ok(Some(error)),
            read => read?,
        }
    }
    Ok(None)
}

/// A newest segment that is not active may end without a seal: then it is cut there.
fn walk(opened: &OpenSegment, newest: bool) -> Result<(Chain, u64), Stopped> {
    if !newest {
        return walk_to_seal(opened);
    }
    let Examined { end, end_offset, sealed, .. } = examine::examine_tail(opened.clone())?;
    if sealed {
        return Ok((end, end_offset));
    }
    let error = Error::new(Code::Corrupt, "the newest segment is not active, and does not end in a seal");
    Err(Stopped { error: error.at(opened.name.index, end_offset), end, offset: end_offset })
}

/// Of the newest archived segment only the end matters.
fn archived_end(
    directory: &Directory,
    names: &[SegmentName],
    at: usize,
    opened: &OpenSegment,
) -> Result<Result<(Chain, u64), Stopped>> {
    let next = match names.get(at + 1) {
        Some(name) => segment::open_at_rest(directory, name.index, Access::Read)?.ok(),
        None => None,
    };
    let is_next =
        |next: &OpenSegment| next.header.log_id == opened.header.log_id && next.name.index == opened.name.index + 1;
    Ok(match next.filter(is_next) {
        Some(next) => {
            let seen = examine::check_seal(opened, &next.header);
            let offset = next.header.before_offset;
            let end = next.header.before;
            seen.map(|_| (end, offset)).map_err(|error| Stopped { error, end, offset })
        }
        // The next one cannot say it.
        None => walk_to_seal(opened),
    })
}

fn walk_to_seal(opened: &OpenSegment) -> Result<(Chain, u64), Stopped> {
    let SealedEnd { chain, offset, .. } = sealed::check(opened)?;
    Ok((chain, offset))
}

/// The segment behind `opened` says that this one ends otherwise than it does: what it says of the one in front of it
/// counts for nothing.
fn is_contradicted(directory: &Directory, next: Option<&SegmentName>, opened: &OpenSegment) -> Result<bool> {
    let Some(next) = next else { return Ok(false) };
    let next = segment::open_at_rest(directory, next.index, Access::Read)?.ok();
    Ok(next
        .filter(|next| next.header.log_id == opened.header.log_id)
        .is_some_and(|next| walk_to_seal(opened).is_ok_and(|(end, _)| end != next.header.before)))
}

/// The segment's header can be read, and says that it is another log's.
pub fn is_others(directory: &Directory, name: &SegmentName, log_id: Option<Id>) -> Result<bool> {
    let opened = segment::open_at_rest(directory, name.index, Access::Read)?;
    Ok(opened.is_ok_and(|opened| log_id.is_some_and(|log_id| log_id != opened.header.log_id)))
}

fn nothing_left(error: &Error) -> Error {
    let text = format!(
        "{}, and nothing is in front of it: a repair would leave nothing of the log; put the segment's own file back, or \
         read what is behind it and write it anew",
        error.text
    );
    Error { code: Code::Unsupported, text: text.into(), ..error.clone() }
}

fn beyond_repair(error: &Error) -> Error {
    let text = format!(
        "nothing that can be read is damaged, but the newest archived segment is, and without it the log does not open: \
         {}; and what is left does not say what its header and seal were: read the log and write it anew",
        error.text
    );
    Error { code: Code::Unsupported, ..Error::new(Code::Unsupported, text).at(error.segment, error.offset) }
}
