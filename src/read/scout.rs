//! How far another process' log can be read: the frames' own testimony.
//!
//! Beside a writer, a record is delivered when a verified header says that it was
//! durable.  With no writer everything whole is delivered, after a flush: what a
//! killed process left in the kernel must not be reported and then lost.
//!
//! A spot that does not read as the next frame is the end for now.  It is called
//! damage only if something behind it says that it was durable and it still
//! reads badly after that was seen.

use std::sync::Arc;

use super::followers;
use super::segment::{open_to_read, OpenSegment};
use super::walk::READ_AHEAD;
use super::{Look, Reach, Walker, Witnessed};
use crate::base::clock::Clock;
use crate::base::{Code, Error, Result};
use crate::disk::{File, LockKind};
use crate::format::frame::FLAG_SEAL;
use crate::format::{Chain, Id, SegmentHeader};
use crate::segment::{retain, Directory};

/// How often blocks behind an end that stays are looked through, nanoseconds: rot there is rare.
const LOOK_BEHIND_NS: u64 = 1_000_000_000;

/// How many bytes of them at least.  The second look goes twice as far, the fourth four times, the eighth eight times:
/// nearly always the follower is near, and all of a segment is read about once in as many seconds as it has of these.
const LOOK_BEHIND_MIN: u64 = 1 << 20;

/// Most bytes that the first read of a look is to find: after a burst nothing is there.
const EXPECTED_MAX: u64 = 32 << 10;

/// Most bytes read at once.
const PIECE: usize = 256 << 10;

/// The reader's knowledge of where the log ends.
pub struct Scout {
    directory: Arc<Directory>,
    clock: Clock,
    log_id: Id,
    file: Arc<dyn File>,
    header: SegmentHeader,
    walker: Walker,
    chain: Chain,
    /// As far as this reader itself flushed.
    flushed: Chain,
    /// The last frame was its segment's seal.
    sealed: bool,
    witnessed: Witnessed,
    stay: Stay,
    /// Bytes of frames that the last walk found.
    came: u64,
    /// As the last look found it.
    reach: Reach,
    /// Bytes read by walkers that are gone.
    bytes_walked: u64,
}

/// An end that stayed where it was.
struct Stay {
    chain: Chain,
    /// When blocks behind it are looked through.
    due_ns: u64,
    /// How often that was done.
    looks: u32,
}

impl Stay {
    fn begin(chain: Chain, now_ns: u64) -> Stay {
        Stay { chain, due_ns: now_ns.saturating_add(LOOK_BEHIND_NS), looks: 0 }
    }
}

impl Scout {
    /// A scout in this segment, of which so much is witnessed.
    pub fn new(
        directory: Arc<Directory>,
        clock: Clock,
        (file, header): (Arc<dyn File>, SegmentHeader),
        mut witnessed: Witnessed,
    ) -> Result<Scout> {
        witnessed.forget_behind();
        Ok(Scout {
            walker: walker(&file, &header, witnessed.end)?,
            stay: Stay::begin(witnessed.chain, clock.now_ns()),
            reach: Reach { segment: header.index, end: witnessed.end },
            came: 0,
            bytes_walked: 0,
            log_id: header.log_id,
            directory,
            clock,
            file,
            header,
            chain: witnessed.chain,
            flushed: Chain::default(),
            sealed: false,
            witnessed,
        })
    }

    /// The highest number that can be delivered now, and what stops there if it is not the end for now.
    pub fn look_on(&mut self) -> Result<(u64, Option<Error>)> {
        // Given back at once: while a reader holds it no writer can open the log.
        let alone = self.directory.try_lock(LockKind::Shared)?;
        if alone {
            self.directory.unlock()?;
            // Everything whole counts now, so it has to be there now.
            self.go_back();
        }
        let mut stopped = self.walk().err();
        if stopped.as_ref().is_some_and(|error| error.code == Code::Trimmed) {
            // No damage: nobody looked for so long that what comes next is gone.  If it goes again, so does the next look.
            stopped = self.begin_anew().and_then(|()| self.walk()).err().filter(|error| error.code != Code::Trimmed);
        }
        if !alone {
            self.reach = Reach { segment: self.header.index, end: self.witnessed.end };
            return Ok((self.witnessed.seq, stopped));
        }
        if self.flushed != self.chain {
            // After the walk: a writer may have come meanwhile, and what was walked is durable all the same.
            self.file.sync().map_err(|error| Error::flush("cannot flush the active segment", &error))?;
            self.directory.sync()?;
            self.flushed = self.chain;
        }
        self.reach = Reach { segment: self.header.index, end: self.walker.offset() };
        Ok((self.chain.last_seq, stopped))
    }

    /// Goes to the oldest segment that there is.
    fn begin_anew(&mut self) -> Result<()> {
        let segments = self.directory.scan()?.segments;
        let Some(oldest) = segments.get(retain::first_live(&segments)) else { return Ok(()) };
        let opened = match open_to_read(&self.directory, oldest.index, &self.log_id) {
            // It is being begun: the next look finds it.
            Err(error) if error.code == Code::Busy => return Ok(()),
            opened => opened?,
        };
        self.go_into(opened)
    }

    /// Back to what is witnessed.  What was seen behind it may have been taken
    /// back by a flush that failed, and the next writer puts other frames there.
    fn go_back(&mut self) {
        self.walker.go_to(self.witnessed.end);
        self.chain = self.witnessed.chain;
        self.sealed = false;
        self.witnessed.forget_behind();
    }

    /// As far as frames can be read; an error if damage ends them.
    fn walk(&mut self) -> Result<()> {
        self.walk_frames()?;
        let now_ns = self.clock.now_ns();
        if self.sealed || self.chain != self.stay.chain {
            // While frames come there is nothing to look for.
            self.stay = Stay::begin(self.chain, now_ns);
            return Ok(());
        }
        if now_ns < self.stay.due_ns {
            return Ok(());
        }
        self.stay.due_ns = now_ns.saturating_add(LOOK_BEHIND_NS);
        self.stay.looks = self.stay.looks.wrapping_add(1);
        self.go_back();
        self.walk_frames()?;
        let end = (self.header.index, self.walker.offset(), self.chain);
        if self.sealed || !self.is_witnessed_behind()? {
            return Ok(());
        }
        // Read again after the witness was seen: a frame that was only half there before is whole by then.
        self.go_back();
        self.walk_frames()?;
        if (self.header.index, self.walker.offset(), self.chain) != end {
            return Ok(());
        }
        let (index, offset, last) = end;
        Err(Error::new(Code::Corrupt, "a frame that was acknowledged is damaged")
            .at(index, offset)
            .about_seq(last.last_seq + 1))
    }

    /// Up to where the last look saw whole frames.
    pub fn seen_seq(&self) -> u64 {
        self.chain.last_seq
    }

    /// Up to where the files are durable, as the last look found.
    pub fn reach(&self) -> Reach {
        self.reach
    }

    /// Bytes that looks have read so far on their way to the end.  What is read behind it once in a while is no part of
    /// that: a second lies between two such reads, whatever they take.
    pub fn bytes_walked(&self) -> u64 {
        self.bytes_walked + self.walker.bytes_read()
    }

    fn walk_frames(&mut self) -> Result<()> {
        let from = self.walker.offset();
        self.walker.forget();
        // As much as came the last time, and a block to see that no more does: one read, where frames come steadily.
        self.walker.expect(self.came.min(EXPECTED_MAX) + u64::from(self.header.block_size));
        let walked = self.walk_on();
        self.came = self.walker.offset().saturating_sub(from);
        walked
    }

    fn walk_on(&mut self) -> Result<()> {
        loop {
            if self.sealed && !self.next_segment()? {
                // Sealed, and its successor has no name yet.
                return Ok(());
            }
            match self.walker.look_over() {
                Look::Whole(frame, identity) if self.chain.continues_in(&frame) => {
                    let offset = self.walker.offset();
                    self.chain = Chain::behind(&frame, identity, self.walker.words(&frame));
                    self.walker.pass(&frame);
                    self.witnessed.pass(&frame, offset, self.walker.offset(), self.chain);
                    self.sealed = frame.has(FLAG_SEAL);
                }
                Look::Unreadable(error) => return Err(error),
                _ => return Ok(()),
            }
        }
    }

    /// Goes to the next segment if it is there.
    fn next_segment(&mut self) -> Result<bool> {
        let index = self.header.index + 1;
        if self.directory.segment(index).is_none() {
            self.directory.scan()?;
        }
        // A newer one without it is no end: it was released before we came, and opening it says so.
        if self.directory.segments().last().is_none_or(|newest| newest.index < index) {
            return Ok(false);
        }
        let opened = match open_to_read(&self.directory, index, &self.log_id) {
            // Its name is there a moment before it can be read.
            Err(error) if error.code == Code::Busy => return Ok(false),
            opened => opened?,
        };
        if opened.header.before != self.chain {
            let text = "the segment does not continue the one before it";
            return Err(Error::new(Code::Corrupt, text).in_segment(index).about_seq(self.chain.last_seq + 1));
        }
        self.go_into(opened)?;
        Ok(true)
    }

    /// Goes in front of a segment's first frame.
    fn go_into(&mut self, opened: OpenSegment) -> Result<()> {
        let walker = walker(&opened.file, &opened.header, u64::from(opened.header.block_size))?;
        self.bytes_walked += std::mem::replace(&mut self.walker, walker).bytes_read();
        self.witnessed = Witnessed::by_header(&opened.header);
        self.chain = opened.header.before;
        self.file = opened.file;
        self.header = opened.header;
        self.sealed = false;
        Ok(())
    }

    /// Whether something behind the end says that what should be there was durable.
    fn is_witnessed_behind(&mut self) -> Result<bool> {
        let spot = self.walker.offset();
        let block = u64::from(self.header.block_size);
        let mut behind = Walker::new(Arc::clone(&self.file), &self.header, spot + block, READ_AHEAD)?;
        let reach = LOOK_BEHIND_MIN << self.stay.looks.trailing_zeros().min(32);
        let end = self.header.segment_size.min(spot.saturating_add(reach));
        let found = followers::find(&mut behind, &self.chain, spot, block, end)?;
        Ok(found.says_durable || self.directory.segment(self.header.index + 1).is_some())
    }
}

/// Most looks find nothing new: they are to cost one block.
fn walker(file: &Arc<dyn File>, header: &SegmentHeader, offset: u64) -> Result<Walker> {
    let mut walker = Walker::new(Arc::clone(file), header, offset, PIECE)?;
    walker.read_sparsely();
    Ok(walker)
}
