//! What is left of a segment, and the frames that it goes into.  Pure.

use crate::base::bytes::{len_u64, usize_of};
use crate::base::limits::FRAME_SIZE_CAP;
use crate::format::frame::FLAG_DATA;
use crate::format::record::{record_len, BadRecord, FLAG_BATCH_CONTINUES};
use crate::format::segment_header::COMPACTED_BLOCKS_MIN;
use crate::format::{Chain, FrameHeader, Id, RecordHeader, FRAME_HEADER_LEN, RECORD_HEADER_LEN};

/// A frame of the smaller segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlannedFrame {
    /// The epoch in which its records were written.
    pub epoch: u64,
    /// Id of that epoch.
    pub epoch_id: Id,
    /// First and last number that it stands for.
    pub first_seq: u64,
    /// See `first_seq`.
    pub last_seq: u64,
    /// Records in it.
    pub records: u32,
    /// Their bytes.
    pub body_len: u64,
}

impl PlannedFrame {
    /// Bytes of the frame on disk.
    pub fn frame_len(&self, block_size: u64) -> u64 {
        (len_u64(FRAME_HEADER_LEN) + self.body_len).next_multiple_of(block_size)
    }
}

/// A segment without what is dropped.
pub struct Plan {
    /// Its frames, the seal not among them.
    pub frames: Vec<PlannedFrame>,
    /// Records that stay.
    pub kept: u64,
    /// Records that go.
    pub dropped: u64,
    /// One for each record of the segment as it is, in order: whether it stays.
    choices: Bits,
    block_size: u64,
}

impl Plan {
    /// Nothing was looked at yet.
    pub fn new(block_size: u32) -> Plan {
        Plan { frames: Vec::new(), kept: 0, dropped: 0, choices: Bits::default(), block_size: u64::from(block_size) }
    }

    /// Whether the segment's record number `at`, counted from 0, stays.
    pub fn keeps(&self, at: u64) -> bool {
        self.choices.get(at)
    }

    /// Bytes of the file: header, frames, seal, and the block behind it.
    pub fn size(&self) -> u64 {
        let frames: u64 = self.frames.iter().map(|frame| frame.frame_len(self.block_size)).sum();
        (frames + 3 * self.block_size).max(COMPACTED_BLOCKS_MIN * self.block_size)
    }

    /// Takes up the next frame of the segment, whose records were verified; `keep` chooses.
    pub fn take(
        &mut self,
        frame: &FrameHeader,
        body: &[u8],
        keep: &mut dyn FnMut(&RecordHeader, &[u8]) -> bool,
    ) -> Result<(), BadRecord> {
        let mut batch = Batch::default();
        for record in records(frame, body) {
            let Piece { header, bytes, ends_batch } = record?;
            let payload = &bytes[RECORD_HEADER_LEN..][..usize_of(u64::from(header.len))];
            if keep(&header, payload) {
                batch.len += len_u64(bytes.len());
                batch.records += 1;
                batch.last_seq = header.seq;
                self.choices.push(true);
                self.kept += 1;
            } else {
                self.choices.push(false);
                self.dropped += 1;
            }
            if ends_batch {
                self.place(frame, &std::mem::take(&mut batch));
            }
        }
        Ok(())
    }

    /// A batch goes into one frame, with others of its epoch as far as a frame usually goes.
    fn place(&mut self, from: &FrameHeader, batch: &Batch) {
        if batch.records == 0 {
            return;
        }
        let block = self.block_size;
        let fits = |frame: &&mut PlannedFrame| {
            let grown = PlannedFrame { body_len: frame.body_len + batch.len, ..**frame };
            (frame.epoch, frame.epoch_id) == (from.epoch, from.epoch_id) && grown.frame_len(block) <= FRAME_SIZE_CAP
        };
        if let Some(frame) = self.frames.last_mut().filter(fits) {
            frame.last_seq = batch.last_seq;
            frame.records += batch.records;
            frame.body_len += batch.len;
            return;
        }
        self.frames.push(PlannedFrame {
            epoch: from.epoch,
            epoch_id: from.epoch_id,
            first_seq: 0,
            last_seq: batch.last_seq,
            records: batch.records,
            body_len: batch.len,
        });
    }

    /// Every frame was taken up, and they end like this: gives each planned one the numbers that it stands for.
    pub fn finish(&mut self, first_seq: u64, end: &Chain) {
        if self.frames.is_empty() && end.last_seq >= first_seq {
            // Numbers have to lie in some frame, or the next segment would not continue this one.
            let (epoch, epoch_id) = (end.epoch, end.epoch_id);
            self.frames.push(PlannedFrame { epoch, epoch_id, first_seq, last_seq: 0, records: 0, body_len: 0 });
        }
        let mut next_seq = first_seq;
        for frame in &mut self.frames {
            frame.first_seq = next_seq;
            next_seq = frame.last_seq + 1;
        }
        if let Some(last) = self.frames.last_mut() {
            last.last_seq = end.last_seq;
        }
    }
}

/// What is kept of a batch.
#[derive(Default)]
struct Batch {
    len: u64,
    records: u32,
    last_seq: u64,
}

/// One record of a frame's body.
pub struct Piece<'a> {
    /// Its header.
    pub header: RecordHeader,
    /// All its bytes, padding too.
    pub bytes: &'a [u8],
    /// It is the last of its batch.
    pub ends_batch: bool,
}

/// The records of a frame whose body is whole.
pub fn records<'a>(frame: &FrameHeader, body: &'a [u8]) -> impl Iterator<Item = Result<Piece<'a>, BadRecord>> {
    let mut rest = if frame.has(FLAG_DATA) { body } else { &[] };
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let header = match RecordHeader::decode_header(rest) {
            Ok(header) => header,
            Err(bad) => return Some(Err(bad)),
        };
        let (bytes, behind) = rest.split_at(record_len(usize_of(u64::from(header.len))));
        rest = behind;
        // No batch goes beyond its frame.
        let ends_batch = header.flags & FLAG_BATCH_CONTINUES == 0 || rest.is_empty();
        Some(Ok(Piece { header, bytes, ends_batch }))
    })
}

/// A row of choices.
#[derive(Default)]
struct Bits {
    words: Vec<u64>,
    len: u64,
}

impl Bits {
    fn push(&mut self, bit: bool) {
        if self.len.is_multiple_of(64) {
            self.words.push(0);
        }
        if let Some(word) = self.words.last_mut().filter(|_| bit) {
            *word |= 1 << (self.len % 64);
        }
        self.len += 1;
    }

    fn get(&self, at: u64) -> bool {
        self.words.get(usize_of(at / 64)).is_some_and(|word| word >> (at % 64) & 1 == 1)
    }
}
