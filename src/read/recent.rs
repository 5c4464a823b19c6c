//! The newest frames of the segment that is being written, in memory: what
//! readers in the writer's process that have come to the log's end read next.
//!
//! Without it each of them would have the device read what it was just given to
//! write, beside the next write.
//!
//! Frames come before they are durable, in the order of their headers; a reader
//! asks for what is in front of its [`Reach`](super::Reach), and so gets what is
//! durable and does not change any more.  Neither side ever waits for the other:
//! who finds the lock taken does without, the writer by leaving a frame out, the
//! reader by asking the device.

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, TryLockError};

use super::Published;
use crate::base::bytes::{len_u64, usize_of};
use crate::mem::AlignedBuf;

/// So much is kept: what comes in some milliseconds, where one reader can follow at all.
const KEPT: usize = 256 << 10;

/// Frames that are longer are not kept.  Where they come in a row the device reads as fast as it writes, and a copy of
/// everything would cost the writer more than it saves the reader.
const FRAME_MAX: usize = 64 << 10;

/// What is kept, and whether anybody wants it.
#[derive(Default)]
pub struct Recent {
    /// Readers that have come to the log's end.  Who just sees one or just does not keeps a frame for nothing, or lets
    /// one go to the device.
    followers: AtomicUsize,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    /// Index of the segment.
    segment: u64,
    /// What is here of its file.
    here: Range<u64>,
    /// The byte at an offset is at that modulo the length.  None: nobody has wanted it.
    bytes: Option<AlignedBuf>,
}

impl Recent {
    fn lock(&self) -> Option<MutexGuard<'_, Kept>> {
        match self.kept.try_lock() {
            Ok(kept) => Some(kept),
            // Nothing panics while it is held.
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// A frame at `offset` of segment `segment`, which is not written yet.  They come in the order of their offsets.
    pub fn keep(&self, segment: u64, offset: u64, frame: &[u8]) {
        if self.followers.load(Ordering::Relaxed) == 0 {
            return;
        }
        // One that is left out is missed by the next, which does not begin where the last one ended.
        if let Some(mut kept) = self.lock() {
            kept.put(segment, offset, frame);
        }
    }

    /// Fills `out` with the bytes at `offset` of segment `segment`, as far as they are here; says how far.
    pub fn read(&self, segment: u64, offset: u64, out: &mut [u8]) -> usize {
        self.lock().map_or(0, |kept| kept.get(segment, offset, out))
    }
}

impl Kept {
    fn put(&mut self, segment: u64, offset: u64, frame: &[u8]) {
        let Some(bytes) = &mut self.bytes else { return };
        if (self.segment, self.here.end) != (segment, offset) {
            (self.segment, self.here) = (segment, offset..offset);
        }
        let end = offset + len_u64(frame.len());
        if frame.len() > FRAME_MAX {
            self.here = end..end;
            return;
        }
        let (at, left) = place(offset, frame.len());
        let (front, back) = frame.split_at(left);
        bytes[at..at + left].copy_from_slice(front);
        bytes[..back.len()].copy_from_slice(back);
        self.here = self.here.start.max(end.saturating_sub(len_u64(KEPT)))..end;
    }

    fn get(&self, segment: u64, offset: u64, out: &mut [u8]) -> usize {
        let Some(bytes) = self.bytes.as_ref().filter(|_| self.segment == segment && self.here.contains(&offset)) else {
            return 0;
        };
        let len = out.len().min(usize_of(self.here.end - offset));
        let (at, left) = place(offset, len);
        out[..left].copy_from_slice(&bytes[at..at + left]);
        out[left..len].copy_from_slice(&bytes[..len - left]);
        len
    }
}

/// Where the byte at `offset` is, and how many of `len` bytes from there on are in front of the buffer's end.
fn place(offset: u64, len: usize) -> (usize, usize) {
    let at = usize_of(offset % len_u64(KEPT));
    (at, len.min(KEPT - at))
}

/// A reader that has come to the log's end: as long as there is one, frames are kept.
pub struct Following(Arc<Published>);

impl Following {
    /// None: there is no memory for it, or somebody is at it just now.
    pub fn begin(reach: &Arc<Published>) -> Option<Following> {
        let recent = &reach.recent;
        let mut kept = recent.lock()?;
        if kept.bytes.is_none() {
            *kept = Kept { bytes: Some(AlignedBuf::zeroed(KEPT).ok()?), ..Kept::default() };
        }
        // Under the lock, as the last one looks.
        recent.followers.fetch_add(1, Ordering::Relaxed);
        Some(Following(Arc::clone(reach)))
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        let recent = &self.0.recent;
        let last = recent.followers.fetch_sub(1, Ordering::Relaxed) == 1;
        // Where somebody is at it, it is kept until the next one goes, or the log is closed.
        if let Some(mut kept) = recent.lock().filter(|_| last) {
            if recent.followers.load(Ordering::Relaxed) == 0 {
                *kept = Kept::default();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Reach;
    use super::*;

    const BLOCK: u64 = 4096;

    fn frame(n: u64, blocks: u64) -> Vec<u8> {
        (0..blocks * BLOCK).map(|at| (n * 31 + at * 7).to_le_bytes()[0]).collect()
    }

    fn followed() -> (Arc<Published>, Following) {
        let reach = Arc::new(Published::new(Reach { segment: 1, end: BLOCK }));
        let following = Following::begin(&reach).unwrap();
        (reach, following)
    }

    /// Every byte of the last ones, whatever their lengths, and none of those before.
    #[test]
    fn the_newest_frames_are_there() {
        let (reach, _following) = followed();
        let (mut file, mut offset) = (vec![0; usize_of(BLOCK)], BLOCK);
        for n in 0..500 {
            let frame = frame(n, n % 16 + 1);
            reach.recent.keep(3, offset, &frame);
            offset += len_u64(frame.len());
            file.extend(&frame);
            let oldest = offset.saturating_sub(len_u64(KEPT)).max(BLOCK);
            for from in [oldest, (oldest + offset) / 2 / BLOCK * BLOCK, offset - BLOCK] {
                let mut out = vec![0; KEPT + 1];
                let read = reach.recent.read(3, from, &mut out);
                assert!(out[..read] == file[usize_of(from)..usize_of(offset)], "{n}: {from} {offset}");
                assert_eq!(reach.recent.read(3, from, &mut out[..100]), 100);
            }
            let mut out = [0; 1];
            assert_eq!(reach.recent.read(3, offset, &mut out), 0, "behind the end");
            assert_eq!(reach.recent.read(3, oldest - 1, &mut out), 0, "in front of what is kept");
            assert_eq!(reach.recent.read(2, offset - 1, &mut out) + reach.recent.read(4, offset - 1, &mut out), 0);
        }
    }

    /// One that is too long, one that was left out, another segment: nothing in front of it is there any more.
    #[test]
    fn a_gap_is_no_content() {
        let (reach, _following) = followed();
        let recent = &reach.recent;
        let mut out = [0; 4096];
        let long = vec![1; FRAME_MAX + usize_of(BLOCK)];
        recent.keep(1, BLOCK, &frame(1, 1));
        recent.keep(1, 2 * BLOCK, &long);
        let behind = 2 * BLOCK + len_u64(long.len());
        assert_eq!(recent.read(1, BLOCK, &mut out) + recent.read(1, 2 * BLOCK, &mut out), 0);
        recent.keep(1, behind, &frame(2, 1));
        assert_eq!((recent.read(1, behind, &mut out), &out[..]), (4096, &frame(2, 1)[..]));
        recent.keep(1, behind + 2 * BLOCK, &frame(3, 1));
        assert_eq!(recent.read(1, behind, &mut out) + recent.read(1, behind + BLOCK, &mut out), 0);
        assert_eq!(recent.read(1, behind + 2 * BLOCK, &mut out), 4096);
        recent.keep(2, behind + 3 * BLOCK, &frame(4, 1));
        assert_eq!(recent.read(1, behind + 2 * BLOCK, &mut out), 0);
        assert_eq!(recent.read(2, behind + 3 * BLOCK, &mut out), 4096);
    }

    #[test]
    fn nothing_is_kept_for_nobody() {
        let (reach, following) = followed();
        let other = Following::begin(&reach).unwrap();
        let mut out = [0; 4096];
        drop(following);
        reach.recent.keep(1, BLOCK, &frame(1, 1));
        assert_eq!(reach.recent.read(1, BLOCK, &mut out), 4096);
        drop(other);
        assert!(reach.recent.lock().unwrap().bytes.is_none());
        reach.recent.keep(1, 2 * BLOCK, &frame(1, 1));
        assert_eq!(reach.recent.read(1, 2 * BLOCK, &mut out), 0);
    }

    #[test]
    fn nobody_waits_for_the_lock() {
        let (reach, following) = followed();
        let mut out = [0; 4096];
        reach.recent.keep(1, BLOCK, &frame(1, 1));
        let held = reach.recent.lock().unwrap();
        reach.recent.keep(1, 2 * BLOCK, &frame(2, 1));
        assert_eq!(reach.recent.read(1, BLOCK, &mut out), 0);
        assert!(Following::begin(&reach).is_none());
        drop(following);
        drop(held);
        assert!(reach.recent.lock().unwrap().bytes.is_some(), "for the next one to give back");
        drop(Following::begin(&reach).unwrap());
        assert!(reach.recent.lock().unwrap().bytes.is_none());
    }
}
