//! The follower's side: a directory that becomes the same files as the source's.
//!
//! What is on disk, in order, and the crash behind each step:
//!   1. Bytes are written behind the durable position.  Lost, torn, or there: the
//!      position does not speak of them, reopening cuts them off.
//!   2. [`Sink::sync`]: the files are flushed, then the position (`twal-sink`) is
//!      written over the older one of its two slots, durably.  Torn: the other
//!      slot is the one that was acknowledged last.
//!   3. A segment that is complete is made durable as in 2 before the next one
//!      begins.  The next one's header is durable before its name is; the name
//!      before the position says that it is there.  A segment above the position
//!      is removed.
//!   4. Then the older segment gets the name of one that is sealed; or archived,
//!      where it is the oldest and not the first of all: nobody has its elders.
//!
//! A write or flush that fails ends the sink: [`Sink::position`] still says what
//! is durable, and a new one begins there.

use std::path::Path;
use std::sync::Arc;

use super::track::Track;
use super::{reopen, Piece, Position};
use crate::base::bytes::{len_u64, usize_of};
use crate::base::clock::Clock;
use crate::base::limits::INDEX_MAX;
use crate::base::options::{Config, Options};
use crate::base::{Code, Error, Result};
use crate::disk::latch::Latch;
use crate::disk::real::RealDisk;
use crate::disk::{Disk, Durable, File, LockKind};
use crate::format::sink::{SINK_COPIES, SINK_COPY_LEN, SINK_SLOTS};
use crate::format::{Chain, Id, SegmentHeader, SinkSlot};
use crate::mem::AlignedBuf;
use crate::segment::directory::FollowerPosition;
use crate::segment::{spare, Directory, SegmentName, Spare, State};

/// How a follower's directory is opened.  In every field 0 (or false) means the default.
#[derive(Debug, Clone, Default)]
pub struct SinkOptions {
    /// See [`Options::allow_any_fs`].
    pub allow_any_fs: bool,
    /// See [`Options::allow_buffered`].
    pub allow_buffered: bool,
    /// See [`Options::io_engine`].
    pub io_engine: Option<crate::IoEngine>,
    /// Archived segments kept.  0: 64.
    pub max_retained_segments: u64,
}

/// A follower's copy of a log, locked for writing.  One thread at a time.
pub struct Sink {
    pub(super) directory: Directory,
    pub(super) clock: Clock,
    pub(super) latch: Latch,
    retained: u64,
    pub(super) slots: SlotFile,
    /// What is durable.
    durable: SinkSlot,
    /// Of which segment that speaks.
    durable_track: Option<Track>,
    /// Which log is followed, and which history of it, from the first piece on.
    following: Option<(Id, Id)>,
    pub(super) segment: Option<Segment>,
    /// Index of the newest segment that the source has released, as far as its names say so here.
    archived: u64,
    /// For bytes that do not lie as the device wants them.
    buf: AlignedBuf,
    pub(super) ended: bool,
}

/// The segment that is being written.
pub(super) struct Segment {
    pub file: Arc<dyn File>,
    pub track: Track,
}

/// The file `twal-sink`.
pub(super) struct SlotFile {
    pub file: Arc<dyn File>,
    /// One slot.
    block: AlignedBuf,
}

impl SlotFile {
    /// Bytes of a copy on this device.
    pub fn copy_len(directory: &Directory) -> usize {
        SINK_COPY_LEN.max(usize_of(u64::from(directory.facts().block_align)))
    }

    /// The file as it is, and the newest slot in it.
    pub fn read(file: Arc<dyn File>) -> Result<(SlotFile, SinkSlot)> {
        let position = FollowerPosition::read(file.as_ref())?;
        Ok((SlotFile { file, block: AlignedBuf::zeroed(position.slot_len)? }, position.known()?))
    }

    /// Both copies of a slot.
    fn fill(block: &mut [u8], slot: &SinkSlot) {
        block.fill(0);
        let copy_len = block.len() / SINK_COPIES;
        for copy in block.chunks_mut(copy_len) {
            slot.encode(copy);
        }
    }

    /// The whole file as it is at first: this slot, and one that was never written.
    pub fn first(directory: &Directory, slot: &SinkSlot) -> Result<AlignedBuf> {
        let slot_len = SINK_COPIES * Self::copy_len(directory);
        let mut bytes = AlignedBuf::zeroed(SINK_SLOTS * slot_len)?;
        let at = usize_of(slot.number) % SINK_SLOTS * slot_len;
        Self::fill(&mut bytes[at..at + slot_len], slot);
        Ok(bytes)
    }

    fn write(&mut self, slot: &SinkSlot) -> Result<()> {
        self.write_parts(slot, 1)
    }

    /// Writes a slot that was read over itself: what its first write left may be in a cache only, where that failed.  One
    /// copy after the other, because it may as well be durable and told: whatever a crash does to one, the other is whole.
    pub fn write_again(&mut self, slot: &SinkSlot) -> Result<()> {
        self.write_parts(slot, SINK_COPIES)
    }

    fn write_parts(&mut self, slot: &SinkSlot, parts: usize) -> Result<()> {
        Self::fill(&mut self.block, slot);
        let len = self.block.len();
        let mut at = slot.number % len_u64(SINK_SLOTS) * len_u64(len);
        for part in self.block.chunks(len / parts) {
            self.file
                .write_at(part, at, Durable::Yes)
                .map_err(|error| Error::os("cannot write the follower's position", &error))?;
            at += len_u64(part.len());
        }
        Ok(())
    }
}

impl Sink {
    /// Makes directory `dir` a follower's, or goes on with one.
    ///
    /// # Errors
    /// As `twal_sink_open`.
    pub fn open(dir: &Path, options: &SinkOptions) -> Result<Sink> {
        let log_options = Options {
            allow_any_fs: options.allow_any_fs,
            allow_buffered: options.allow_buffered,
            io_engine: options.io_engine,
            ..Options::default()
        };
        let config = Config::check(&log_options)?;
        let disk = RealDisk::new(config.io_engine, config.allow_any_fs, config.allow_buffered);
        Self::open_on(&disk, dir, options, Clock::real())
    }

    /// The same on any disk.
    ///
    /// # Errors
    /// As [`Sink::open`].
    pub fn open_on(disk: &dyn Disk, dir: &Path, options: &SinkOptions, clock: Clock) -> Result<Sink> {
        if dir.as_os_str().is_empty() {
            return Err(Error::new(Code::Inval, "the directory's name is empty"));
        }
        let log_options = Options { max_retained_segments: options.max_retained_segments, ..Options::default() };
        let retained = Config::check(&log_options)?.max_retained_segments;
        let directory = Directory::open(disk, dir, true)?;
        directory.lock(LockKind::Exclusive, &clock)?;
        let found = reopen::reopen(&directory, &clock)?;
        let slot = found.slot;
        // The holds are the source's: what keeps segments there does not keep them here.
        directory.belongs_to(slot.log_id, true, false);
        Ok(Sink {
            slots: found.slots,
            directory,
            clock,
            latch: Latch::new(),
            retained,
            durable: slot,
            durable_track: found.segment.as_ref().map(|segment| segment.track),
            following: (slot.log_id != Id::default()).then_some((slot.log_id, slot.history_id)),
            segment: found.segment,
            archived: 0,
            buf: AlignedBuf::zeroed(1)?,
            ended: false,
        })
    }

    /// Where to go on: everything in front of it is durable here, also for [`Sink::promote`].
    pub fn position(&self) -> Position {
        Position::of_slot(&self.durable, self.durable_track.as_ref().map(|track| &track.header))
    }

    /// Writes a piece, if it is the next one and whole.  After an error other than Io and Poisoned nothing has changed.
    ///
    /// # Errors
    /// As `twal_sink_write`.
    pub fn write(&mut self, piece: &Piece<'_>) -> Result<()> {
        self.check_usable()?;
        self.check_identity(piece)?;
        if piece.checksum() != piece.crc {
            let text = "the piece was damaged on its way: its checksum does not fit";
            return Err(Error::new(Code::Corrupt, text).at(piece.index, piece.offset));
        }
        let written = match &self.segment {
            Some(segment) if piece.offset != 0 => {
                let track = take(&segment.track, piece)?;
                self.write_on(piece, track)
            }
            _ => self.begin_segment(piece),
        };
        written?;
        self.following = Some((piece.log_id, piece.history_id));
        self.follow_releases(piece.archived)
    }

    fn check_usable(&self) -> Result<()> {
        if self.ended {
            return Err(Error::new(Code::State, "the follower was promoted: its directory is a log's"));
        }
        self.latch.first().map_or(Ok(()), |first| Err(Error::poisoned_by(&first)))
    }

    /// Whose piece it is, and whether it is the next one.
    fn check_identity(&self, piece: &Piece<'_>) -> Result<()> {
        let at = |code, text: String| Err(Error::new(code, text).at(piece.index, piece.offset));
        if let Some((log_id, history_id)) = self.following {
            if piece.log_id != log_id {
                return at(Code::State, foreign("log", &piece.log_id, &log_id));
            }
            if piece.history_id != history_id {
                return at(Code::State, foreign("history", &piece.history_id, &history_id));
            }
        }
        let Some(Segment { track, .. }) = &self.segment else {
            return match piece.offset {
                0 => Ok(()),
                _ => {
                    at(Code::NotFound, "the follower has nothing yet: the first piece is a segment's first".to_owned())
                }
            };
        };
        let header = &track.header;
        let here = (header.index, track.offset);
        let next = if track.is_complete() { (header.index + 1, 0) } else { here };
        match (piece.index, piece.offset) {
            place if place == next => {}
            place if place < next => {
                let text = format!("the follower has this already: it is at segment {}, offset {}", next.0, next.1);
                return at(Code::Exists, text);
            }
            _ => {
                let text = format!("pieces are missing: the follower is at segment {}, offset {}", next.0, next.1);
                return at(Code::NotFound, text);
            }
        }
        if next == here && (piece.salt, piece.generation) != (header.salt, header.generation) {
            return at(
                Code::State,
                "the piece is of another file of this segment than the follower has begun".to_owned(),
            );
        }
        Ok(())
    }

    /// The segment goes on.
    fn write_on(&mut self, piece: &Piece<'_>, track: Track) -> Result<()> {
        let data = aligned(&self.directory, &mut self.buf, piece.data)?;
        let segment = self.segment.as_mut().expect("it was checked against the piece");
        if !data.is_empty() {
            let offset = piece.offset + piece.zeros;
            self.latch.run(|| {
                segment
                    .file
                    .write_at(data, offset, Durable::No)
                    .map_err(|error| Error::os("cannot write the segment", &error).at(piece.index, offset))
            })?;
        }
        segment.track = track;
        Ok(())
    }

    /// A new segment, whose header block the piece is.
    fn begin_segment(&mut self, piece: &Piece<'_>) -> Result<()> {
        let header = self.header_in(piece)?;
        let before = match &self.segment {
            Some(segment) if !segment.track.continues_in(&header) => {
                let text = "the segment does not continue the one before it";
                return Err(Error::new(Code::Corrupt, text).in_segment(header.index));
            }
            Some(segment) => Some(segment.track.header.index),
            None => None,
        };
        // The older one, complete, and the position that says so.
        self.sync()?;
        let name = SegmentName { index: header.index, first_seq: header.first_seq, state: State::Active };
        // Until it has its name, what goes wrong with a new file is none of the copy's; memory first, so that none is left.
        let block = aligned(&self.directory, &mut self.buf, piece.data)?;
        let spare = new_file(&self.directory, &self.clock, &self.latch, header.segment_size)?;
        let directory = &self.directory;
        self.latch.run(|| {
            spare
                .file
                .write_at(block, 0, Durable::Yes)
                .map_err(|error| Error::os("cannot write the segment header", &error).in_segment(header.index))?;
            directory.publish(&spare, name)
        })?;
        self.segment = Some(Segment { file: spare.file, track: Track::begin(header) });
        self.following = Some((piece.log_id, piece.history_id));
        self.write_position()?;
        self.latch.run(|| before.map_or(Ok(()), |index| finish(&self.directory, index)))
    }

    /// The header that a piece is, verified.
    fn header_in(&self, piece: &Piece<'_>) -> Result<SegmentHeader> {
        let wrong = |text: &'static str| Err(Error::new(Code::Corrupt, text).in_segment(piece.index));
        let header = SegmentHeader::decode(piece.data, true).map_err(|error| error.in_segment(piece.index))?;
        let said = (piece.log_id, piece.salt, piece.index, piece.generation, piece.first_seq);
        if (header.log_id, header.salt, header.index, header.generation, header.first_seq) != said {
            return wrong("the segment header is not that of the segment that the piece names");
        }
        if piece.data.len() != usize_of(u64::from(header.block_size)) || piece.zeros != 0 {
            return wrong("a segment's first piece is its header's block");
        }
        // A promotion wants one more.
        if header.index >= INDEX_MAX {
            return wrong("the segment's index has no room in a name");
        }
        let first = self.segment.is_none();
        if first && header.index == 1 && header.before != Chain::default() {
            return wrong("the first segment names one before it");
        }
        if first && header.index != 1 && piece.archived < header.index {
            let text = "the follower has nothing yet: a copy begins with a log's first segment, or with one that was \
                        released";
            return Err(Error::new(Code::NotFound, text).in_segment(piece.index));
        }
        if piece.last_seq != header.before.last_seq {
            return wrong("the piece's last number is not its last record's");
        }
        let align = self.directory.facts().block_align;
        if !header.block_size.is_multiple_of(align) {
            let text = format!("blocks of {} bytes: this device wants multiples of {align}", header.block_size);
            return Err(Error::new(Code::Unsupported, text));
        }
        Ok(header)
    }

    /// Makes everything written durable, and says so in the follower's position.
    ///
    /// # Errors
    /// As `twal_sink_sync`.
    pub fn sync(&mut self) -> Result<()> {
        self.check_usable()?;
        let Some(segment) = &self.segment else { return Ok(()) };
        if self.durable_track == Some(segment.track) {
            return Ok(());
        }
        let index = segment.track.header.index;
        self.latch.run(|| {
            segment.file.sync().map_err(|error| Error::os("cannot flush the segment", &error).in_segment(index))
        })?;
        self.write_position()
    }

    /// What is written is flushed: the position says so.
    fn write_position(&mut self) -> Result<()> {
        let Some((Segment { track, .. }, (log_id, history_id))) = self.segment.as_ref().zip(self.following) else {
            return Ok(());
        };
        let slot = SinkSlot {
            number: self.durable.number + 1,
            log_id,
            history_id,
            salt: track.header.salt,
            index: track.header.index,
            generation: track.header.generation,
            offset: track.offset,
            chain: track.chain,
            first_index: match self.durable.first_index {
                0 => track.header.index,
                first => first,
            },
        };
        let slots = &mut self.slots;
        self.latch.run(|| slots.write(&slot))?;
        (self.durable, self.durable_track) = (slot, Some(*track));
        Ok(())
    }

    /// What the source has released goes here, too, as far as it is complete; of that, what retention does not keep.
    fn follow_releases(&mut self, archived: u64) -> Result<()> {
        let names = self.directory.segments();
        let Some(newest) = names.last() else { return Ok(()) };
        let first_kept = archived.saturating_add(1).min(newest.index);
        let Some(next) = names.iter().find(|name| name.index == first_kept) else { return Ok(()) };
        if first_kept - 1 <= self.archived {
            return Ok(());
        }
        let (directory, clock, retained) = (&self.directory, &self.clock, self.retained);
        self.latch.run(|| {
            let held = directory.hold_still(clock)?;
            held.archive(next.first_seq)?;
            held.take_out(retained, 0)?.failed.map_or(Ok(()), Err)
        })?;
        self.archived = first_kept - 1;
        Ok(())
    }

    /// Everything written is durable; the directory may be opened by another sink.
    ///
    /// # Errors
    /// As `twal_sink_close`.
    pub fn close(mut self) -> Result<()> {
        let synced = if self.ended { Ok(()) } else { self.sync() };
        self.segment = None;
        synced.and(self.directory.unlock())
    }

    /// In a forked child, instead of close: touches neither disk nor locks.
    pub fn abandon_in_child(&self) {
        self.directory.abandon();
    }
}

/// What is to become a segment.  Where it is the device that fails, that ends the sink as any other failure does.
pub(super) fn new_file(directory: &Directory, clock: &Clock, latch: &Latch, size: u64) -> Result<Spare> {
    spare::prepare(directory, size, 0, clock).inspect_err(|error| {
        if error.code == Code::Io {
            latch.trip(error.clone());
        }
    })
}

/// The segment is complete and its successor has a name: it is sealed; or released, if it is the oldest of a log that
/// has begun before it.
pub(super) fn finish(directory: &Directory, index: u64) -> Result<()> {
    let names = directory.segments();
    let Some(name) = names.iter().find(|name| name.index == index) else { return Ok(()) };
    let oldest = names.first().is_some_and(|oldest| oldest.index == index);
    directory.set_state(*name, if oldest && index != 1 { State::Archived } else { State::Sealed })?;
    directory.sync()
}

/// Where `track` comes to with a piece of its segment.
fn take(track: &Track, piece: &Piece<'_>) -> Result<Track> {
    let wrong = |text: &'static str| Err(track.damaged(text));
    let mut taken = *track;
    let (block, len) = (u64::from(track.header.block_size), len_u64(piece.data.len()));
    if piece.first_seq != track.header.first_seq {
        return wrong("the piece is of a segment that begins with another record");
    }
    if track.is_sealed() {
        let left = track.header.segment_size - track.offset;
        let fits = piece.zeros.checked_add(len).is_some_and(|all| (1..=left).contains(&all));
        if !fits || !piece.zeros.is_multiple_of(block) || !len.is_multiple_of(block) {
            return wrong("a piece that does not fit behind its segment's seal");
        }
        taken.offset += piece.zeros + len;
    } else {
        let (passed, stopped) = taken.pass(piece.data);
        if let Some(error) = stopped {
            return Err(error);
        }
        if piece.zeros != 0 || passed == 0 || passed != piece.data.len() {
            return wrong("a piece that is not whole frames");
        }
    }
    if piece.last_seq != taken.chain.last_seq {
        return wrong("the piece's last number is not its last record's");
    }
    Ok(taken)
}

fn foreign(what: &str, theirs: &Id, ours: &Id) -> String {
    format!("a piece of {what} {}, the follower's is {}", hex(theirs), hex(ours))
}

/// An id, for people.
pub(super) fn hex(id: &Id) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The bytes as the device wants them in memory.
fn aligned<'a>(directory: &Directory, buf: &'a mut AlignedBuf, data: &'a [u8]) -> Result<&'a [u8]> {
    let align = usize_of(u64::from(directory.facts().mem_align.max(1)));
    if data.as_ptr().addr().is_multiple_of(align) {
        return Ok(data);
    }
    if buf.len() < data.len() {
        *buf = AlignedBuf::zeroed(data.len())?;
    }
    buf[..data.len()].copy_from_slice(data);
    Ok(&buf[..data.len()])
}
