//! The append ring: where records wait for their frame to be written.
//!
//! The ring is one reserved region, used as a sequence of frames.  A frame lies
//! in one piece, begins at a block and grows at its end while it is open; its
//! bytes are written to the device from where they lie.  The life of a frame:
//!
//!   1. [`Space::open`] gives a contiguous piece of the ring, or None: full.
//!   2. [`OpenFrame::claim`] gives an appender the next `n` bytes of it.  Claims
//!      of one frame are filled by many threads at the same time.
//!   3. Dropping a [`Claim`] publishes it.
//!   4. [`Space::close`] ends the growth and zeroes the rest of the block.
//!   5. [`ClosedFrame::wait_filled`] waits for the last claim;
//!      then [`ClosedFrame::bytes_mut`] is everything.
//!   6. [`Space::free`] takes the piece back, oldest first.
//!
//! Steps 1, 2, 4 and 6 are called by one thread at a time: they need `&mut`,
//! which the owner of [`Space`] guards by its lock.  Steps 3 and 5 meet in the
//! frame's slot.
//!
//! A frame larger than the ring has a buffer of its own, one at a time.

use std::collections::VecDeque;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::Arc;

use nix::sys::mman::{mmap_anonymous, munmap, MapFlags, ProtFlags};

use super::{AlignedBuf, Gate};
use crate::base::{Code, Error, Result};

/// Most frames that can be in the ring at once.
pub const FRAMES_MAX: usize = 512;

/// What the threads share: the memory, and each frame's count of published claims.
pub struct Ring {
    memory: NonNull<u8>,
    size: usize,
    slots: Box<[Slot]>,
}

#[derive(Default)]
#[repr(align(64))]
struct Slot {
    /// Claims published, and in the highest bit whether somebody waits for the
    /// last.  The release of the increment in [`Claim::drop`] publishes the
    /// claim's bytes; the acquire in [`ClosedFrame::is_filled`] reads them.
    published: AtomicU32,
    /// Opened when a claim was published while somebody waits.
    filled: Gate,
}

/// Somebody waits for the frame's last claim.
const AWAITED: u32 = 1 << 31;

// SAFETY: the memory is reached only through claims (disjoint pieces, given out once by `OpenFrame::claim`)
// and through `ClosedFrame::bytes_mut` after the last claim is gone; `Space` gives no piece out twice.
unsafe impl Send for Ring {}
// SAFETY: as above.
unsafe impl Sync for Ring {}

impl Ring {
    /// Reserves `size` bytes (a multiple of `block`), touched only as used.
    pub fn new(size: usize, block: usize) -> Result<(Arc<Ring>, Space)> {
        let no_memory =
            |errno: nix::Error| Error::os(format_args!("cannot reserve a ring of {size} bytes"), &errno.into());
        let length = std::num::NonZeroUsize::new(size)
            .ok_or_else(|| Error::new(Code::Inval, "a ring needs at least one block"))?;
        // SAFETY: a new private mapping at an address of the kernel's choice touches no existing memory.
        let memory = unsafe {
            mmap_anonymous(
                None,
                length,
                ProtFlags::PROT_READ | ProtFlags::PROT_WRITE,
                MapFlags::MAP_PRIVATE | MapFlags::MAP_NORESERVE,
            )
        }
        .map_err(no_memory)?;
        let slots = (0..FRAMES_MAX).map(|_| Slot::default()).collect();
        let ring = Arc::new(Ring { memory: memory.cast(), size, slots });
        let space = Space {
            ring: Arc::clone(&ring),
            block,
            head: 0,
            live: VecDeque::with_capacity(FRAMES_MAX),
            next_slot: 0,
            big: None,
            used: 0,
        };
        Ok((ring, space))
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // SAFETY: mapped in `new` with this size; every user holds the ring alive.
        // A failing munmap could only leak.
        let _ = unsafe { munmap(self.memory.cast(), self.size) };
    }
}

/// Who may use which part of the ring: one owner, under one lock.
pub struct Space {
    ring: Arc<Ring>,
    block: usize,
    /// Where the next frame begins.
    head: usize,
    /// Frames opened and not yet freed, oldest first.
    live: VecDeque<Piece>,
    next_slot: usize,
    /// The buffer of a frame larger than the ring.
    big: Option<AlignedBuf>,
    /// Bytes of closed, not yet freed frames.
    used: usize,
}

#[derive(Clone, Copy)]
struct Piece {
    start: usize,
    len: usize,
    big: bool,
}

/// A frame that still grows.
pub struct OpenFrame {
    slot: usize,
    start: NonNull<u8>,
    len: usize,
    room: usize,
    claims: u32,
}

/// A frame that has its final length, a multiple of the block.
pub struct ClosedFrame {
    ring: Arc<Ring>,
    slot: usize,
    start: NonNull<u8>,
    len: usize,
    filled_len: usize,
    claims: u32,
}

/// The next bytes of an open frame, exclusively for one appender.
pub struct Claim<'ring> {
    slot: &'ring Slot,
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: an OpenFrame is the only right to claim from its piece, whichever thread holds it.
unsafe impl Send for OpenFrame {}
// SAFETY: a ClosedFrame is the only right to the whole piece, whichever thread holds it.
unsafe impl Send for ClosedFrame {}
// SAFETY: a Claim is the only right to its bytes, whichever thread holds it.
unsafe impl Send for Claim<'_> {}

impl Space {
    /// A new frame with room for at least `len_min` bytes and, where the ring
    /// has them in one piece, up to `len_max`.  None: no room now.
    /// One frame is open at a time.
    pub fn open(&mut self, len_min: usize, len_max: usize) -> Result<Option<OpenFrame>> {
        debug_assert!(len_min <= len_max);
        if self.live.len() == FRAMES_MAX {
            return Ok(None);
        }
        let len_min = len_min.next_multiple_of(self.block);
        if len_min > self.ring.size {
            return self.open_big(len_min);
        }
        let Some((start, available)) = self.find(len_min) else { return Ok(None) };
        self.head = start;
        let room = available.min(len_max.next_multiple_of(self.block).max(len_min));
        // SAFETY: `find` answers with start + available ≤ size.
        let memory = unsafe { self.ring.memory.add(start) };
        Ok(Some(self.begin(Piece { start, len: 0, big: false }, memory, room)))
    }

    /// A contiguous free piece of at least `len` bytes: (start, length).
    fn find(&mut self, len: usize) -> Option<(usize, usize)> {
        let size = self.ring.size;
        let Some(oldest) = self.live.front().map(|piece| piece.start) else {
            // Nothing lives: begin again at the front, so that a log with little
            // traffic touches little of the ring.
            return Some((0, size));
        };
        if self.live.iter().all(|piece| piece.big) {
            return Some((0, size));
        }
        // The oldest in the ring itself; big frames have no place there.
        let oldest = self.live.iter().find(|piece| !piece.big).map_or(oldest, |piece| piece.start);
        if self.head > oldest {
            if size - self.head >= len {
                return Some((self.head, size - self.head));
            }
            return (oldest >= len).then_some((0, oldest));
        }
        // Wrapped (or full, then head = oldest and this is 0).
        (oldest - self.head >= len).then_some((self.head, oldest - self.head))
    }

    fn open_big(&mut self, len: usize) -> Result<Option<OpenFrame>> {
        if self.big.is_some() {
            return Ok(None);
        }
        let memory = self.big.insert(AlignedBuf::zeroed(len)?).as_ptr();
        Ok(Some(self.begin(Piece { start: self.head, len: 0, big: true }, memory, len)))
    }

    fn begin(&mut self, piece: Piece, start: NonNull<u8>, room: usize) -> OpenFrame {
        self.live.push_back(piece);
        let slot = self.next_slot;
        self.next_slot = (slot + 1) % FRAMES_MAX;
        // Relaxed: the slot's last frame was freed, so nobody publishes into it, and claims are given under the lock.
        self.ring.slots[slot].published.store(0, Ordering::Relaxed);
        OpenFrame { slot, start, len: 0, room, claims: 0 }
    }

    /// Ends the growth of the newest frame.
    pub fn close(&mut self, open: OpenFrame) -> ClosedFrame {
        let len = open.len.next_multiple_of(self.block);
        debug_assert!(len <= open.room);
        let piece = self.live.back_mut().expect("the open frame lives");
        piece.len = len;
        if !piece.big {
            self.head = (piece.start + len) % self.ring.size;
        }
        self.used += len;
        ClosedFrame {
            ring: Arc::clone(&self.ring),
            slot: open.slot,
            start: open.start,
            len,
            filled_len: open.len,
            claims: open.claims,
        }
    }

    /// Takes the oldest frame's piece back.  Frames are freed in the order they were opened in.
    pub fn free(&mut self, frame: ClosedFrame) {
        assert!(frame.is_filled(), "a frame is freed after it was written");
        let piece = self.live.pop_front().expect("the frame lives");
        assert_eq!(piece.len, frame.len, "frames are freed oldest first");
        if piece.big {
            self.big = None;
        }
        self.used -= frame.len;
    }

    /// Bytes of closed, not yet freed frames.
    pub fn used(&self) -> usize {
        self.used
    }

    /// Bytes of the ring.
    pub fn size(&self) -> usize {
        self.ring.size
    }
}

impl OpenFrame {
    /// Bytes claimed so far.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Nothing claimed yet.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes that can still be claimed.
    pub fn room(&self) -> usize {
        self.room - self.len
    }

    /// Leaves the next `len` bytes to whoever closes the frame.
    pub fn skip(&mut self, len: usize) {
        assert!(len <= self.room(), "what is skipped fits the frame");
        self.len += len;
    }

    /// The next `len` bytes; at most [`OpenFrame::room`].
    pub fn claim<'ring>(&mut self, ring: &'ring Ring, len: usize) -> Claim<'ring> {
        assert!(len <= self.room(), "a claim fits the frame");
        assert!(self.claims < AWAITED - 1, "a frame's claims are counted in 31 bits");
        self.claims += 1;
        // SAFETY: the assertion keeps start + len inside the frame's piece.
        let start = unsafe { self.start.add(self.len) };
        self.len += len;
        Claim { slot: &ring.slots[self.slot], start, len }
    }
}

impl Claim<'_> {
    /// The claimed bytes; what they held before is not specified.
    pub fn bytes(&mut self) -> &mut [u8] {
        // SAFETY: this piece of initialised (mapped or zeroed) memory was given to this claim alone and
        // stays mapped while the ring lives; a frame's memory is freed only when no claim is unfilled.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        if self.slot.published.fetch_add(1, Ordering::Release) & AWAITED != 0 {
            self.slot.filled.open();
        }
    }
}

impl ClosedFrame {
    /// Bytes, a multiple of the block.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Never: a frame has at least its header.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes claimed; what follows is zero padding.
    pub fn filled_len(&self) -> usize {
        self.filled_len
    }

    /// Every claim is published.
    pub fn is_filled(&self) -> bool {
        self.ring.slots[self.slot].published.load(Ordering::Acquire) & !AWAITED == self.claims
    }

    /// Waits until every claim is published; the fillers only copy, so this is short.
    pub fn wait_filled(&self) {
        let slot = &self.ring.slots[self.slot];
        while !self.is_filled() {
            let ticket = slot.filled.ticket();
            // Who publishes after this opens the gate; who did so before is counted in what it returns.
            if slot.published.fetch_or(AWAITED, Ordering::Acquire) & !AWAITED == self.claims {
                return;
            }
            slot.filled.wait(ticket, None);
        }
    }

    /// The whole frame, padding zeroed.  Only when it is filled.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        assert!(self.is_filled(), "a frame is read after it was filled");
        // SAFETY: the piece is this frame's until `Space::free` consumes it; no claim is left (asserted with
        // acquire, so their writes are visible), and no new one can be: `close` consumed the OpenFrame.
        let bytes = unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) };
        bytes[self.filled_len..].fill(0);
        bytes
    }

    /// The whole frame as it was composed.
    pub fn bytes(&self) -> &[u8] {
        assert!(self.is_filled(), "a frame is read after it was filled");
        // SAFETY: as in `bytes_mut`; `&self` only reads.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(ring: &Ring, space: &mut Space, len: usize, byte: u8) -> Option<ClosedFrame> {
        let mut open = space.open(len, len).unwrap()?;
        open.claim(ring, len).bytes().fill(byte);
        Some(space.close(open))
    }

    #[test]
    fn frames_follow_each_other_and_wrap() {
        let (ring, mut space) = Ring::new(8 * 512, 512).unwrap();
        let mut live = VecDeque::new();
        for byte in 0..200u8 {
            let len = 1 + usize::from(byte) * 37 % 1500;
            loop {
                if let Some(frame) = frame(&ring, &mut space, len, byte) {
                    live.push_back((frame, byte, len));
                    break;
                }
                let (mut oldest, byte, len) = live.pop_front().expect("an empty ring has room");
                assert!(oldest.bytes_mut()[..len].iter().all(|&b| b == byte));
                assert!(oldest.bytes()[len..].iter().all(|&b| b == 0));
                space.free(oldest);
            }
            // No two live frames overlap: each still holds its own byte.
            for (frame, byte, len) in &mut live {
                assert!(frame.bytes()[..*len].iter().all(|b| b == byte));
            }
        }
    }

    #[test]
    fn a_full_ring_says_so_and_recovers() {
        let (ring, mut space) = Ring::new(4 * 512, 512).unwrap();
        let first = frame(&ring, &mut space, 3 * 512, 1).unwrap();
        assert!(frame(&ring, &mut space, 2 * 512, 2).is_none());
        let second = frame(&ring, &mut space, 512, 3).unwrap();
        assert!(frame(&ring, &mut space, 1, 4).is_none());
        space.free(first);
        let third = frame(&ring, &mut space, 3 * 512, 5).unwrap();
        assert!(frame(&ring, &mut space, 1, 6).is_none());
        space.free(second);
        space.free(third);
        assert_eq!(space.used(), 0);
    }

    #[test]
    fn a_frame_larger_than_the_ring_has_a_buffer_of_its_own() {
        let (ring, mut space) = Ring::new(2 * 512, 512).unwrap();
        let small = frame(&ring, &mut space, 512, 1).unwrap();
        let big = frame(&ring, &mut space, 5000, 2).unwrap();
        assert!(frame(&ring, &mut space, 5000, 3).is_none());
        let after = frame(&ring, &mut space, 512, 4).unwrap();
        assert!(big.bytes()[..5000].iter().all(|&byte| byte == 2));
        space.free(small);
        space.free(big);
        assert!(after.bytes().iter().all(|&byte| byte == 4));
        let big = frame(&ring, &mut space, 5000, 5).unwrap();
        space.free(after);
        space.free(big);
    }

    #[test]
    fn the_frame_waits_for_its_fillers() {
        let (ring, mut space) = Ring::new(64 * 512, 512).unwrap();
        for _ in 0..200 {
            let mut open = space.open(4 * 100, 4 * 100).unwrap().unwrap();
            let claims: Vec<_> = (0..4).map(|_| open.claim(&ring, 100)).collect();
            std::thread::scope(|scope| {
                for (index, mut claim) in claims.into_iter().enumerate() {
                    scope.spawn(move || claim.bytes().fill(u8::try_from(index).unwrap() + 1));
                }
                let mut closed = space.close(open);
                closed.wait_filled();
                let bytes = closed.bytes_mut();
                for index in 0..4 {
                    assert!(bytes[index * 100..][..100].iter().all(|&b| usize::from(b) == index + 1));
                }
                space.free(closed);
            });
        }
    }
}
