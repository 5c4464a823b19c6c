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
//!   6. [`Space::free`] takes the piece back.
//!
//! A frame may also be reserved ([`Space::reserve`]): it has all its room from
//! the start, so others may be opened behind it while its owner fills it, and
//! it may be closed after them.  So pieces come back in any order.  The ring is
//! gone round piece by piece, past those that are still in use: whoever keeps
//! one for long costs the others its room, and no more.
//!
//! Steps 1, 2, 4 and 6 are called by one thread at a time: they need `&mut`,
//! which the owner of [`Space`] guards by its lock.  Steps 3 and 5 meet in the
//! frame's slot.
//!
//! A frame larger than the ring has a buffer of its own, one at a time.
//!
//! `models/` runs this file through every order of its memory accesses.

use std::ptr::NonNull;
use std::sync::Arc;

use nix::sys::mman::{mmap_anonymous, munmap, MapFlags, MmapAdvise, ProtFlags};

use super::slot::{Slot, CLAIMS_MAX};
use super::AlignedBuf;
use crate::base::{room, Code, Error, Result};

/// Most frames that can be in the ring at once.
pub const FRAMES_MAX: usize = 512;

/// What the threads share: the memory, and each frame's count of published claims.
pub struct Ring {
    memory: NonNull<u8>,
    size: usize,
    slots: Box<[Slot]>,
}

// SAFETY: the memory is reached only through claims (disjoint pieces, given out once by `OpenFrame::claim`)
// and through `ClosedFrame::bytes_mut` after the last claim is gone; `Space` gives no piece out twice.
unsafe impl Send for Ring {}
// SAFETY: as above.
unsafe impl Sync for Ring {}

impl Ring {
    /// Reserves `size` bytes (a multiple of `block`), touched only as used.
    pub fn new(size: usize, block: usize) -> Result<(Arc<Ring>, Space)> {
        let mut slots = room::vec(FRAMES_MAX)?;
        slots.extend((0..FRAMES_MAX).map(|_| Slot::default()));
        let (live, mut free_slots) = (room::vec(FRAMES_MAX)?, room::vec(FRAMES_MAX)?);
        free_slots.extend((0..FRAMES_MAX).rev());
        let memory = map(size)?;
        let ring = Arc::new(Ring { memory, size, slots: slots.into_boxed_slice() });
        let space = Space { ring: Arc::clone(&ring), block, head: 0, live, free_slots, big: None, used: 0 };
        Ok((ring, space))
    }
}

/// What the kernel gives in one piece where it can: 512 times fewer pages to pin for each write.
const HUGE_PAGE: usize = 2 << 20;

/// What a log with little traffic uses is in front of the first huge page, so that it does not take one.
const FRONT: usize = 256 << 10;

/// New memory of `size` bytes, zeroed and not touched yet.
fn map(size: usize) -> Result<NonNull<u8>> {
    let no_memory = |errno: nix::Error| Error::os(format_args!("cannot reserve a ring of {size} bytes"), &errno.into());
    let slack = if size >= FRONT + HUGE_PAGE { HUGE_PAGE } else { 0 };
    let length = std::num::NonZeroUsize::new(size.saturating_add(slack))
        .filter(|_| size > 0)
        .ok_or_else(|| Error::new(Code::Inval, "a ring needs at least one block"))?;
    let (prot, flags) = (ProtFlags::PROT_READ | ProtFlags::PROT_WRITE, MapFlags::MAP_PRIVATE | MapFlags::MAP_NORESERVE);
    // SAFETY: a new private mapping at an address of the kernel's choice touches no existing memory.
    let mapped = unsafe { mmap_anonymous(None, length, prot, flags) }.map_err(no_memory)?.cast::<u8>();
    if slack == 0 {
        return Ok(mapped);
    }
    let before = (mapped.as_ptr().addr() + FRONT).next_multiple_of(HUGE_PAGE) - FRONT - mapped.as_ptr().addr();
    // SAFETY: `before` is less than the slack, so all these lie in the mapping; nobody has seen it yet.
    let (memory, end, huge) = unsafe { (mapped.add(before), mapped.add(before + size), mapped.add(before + FRONT)) };
    for (start, len) in [(mapped, before), (end, slack - before)] {
        if len > 0 {
            // SAFETY: a part of the mapping made above that nothing refers to; both ends are page boundaries.
            // What cannot be given back costs addresses and no memory.
            let _ = unsafe { munmap(start.cast(), len) };
        }
    }
    // SAFETY: inside of what is left of the mapping.  Advice: where it is not taken, pages stay small.
    let _ = unsafe { nix::sys::mman::madvise(huge.cast(), size - FRONT, MmapAdvise::MADV_HUGEPAGE) };
    Ok(memory)
}

impl Ring {
    /// Gives the memory's pages back.  What was in them is gone: for a forked child, which appends no more.
    pub fn abandon(&self) {
        // SAFETY: the mapping is this ring's own and stays; its bytes become zeros, as they were at first.
        // Advice: if it fails, the pages stay.
        let _ = unsafe { nix::sys::mman::madvise(self.memory.cast(), self.size, MmapAdvise::MADV_DONTNEED) };
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
    /// Where the newest frame in the ring ends: the search for the next one's place begins here.
    head: usize,
    /// The pieces in use, in the order of their places.
    live: Vec<Piece>,
    free_slots: Vec<usize>,
    /// The buffer of a frame larger than the ring.
    big: Option<AlignedBuf>,
    /// Bytes of closed, not yet freed frames.
    used: usize,
}

#[derive(Clone, Copy)]
struct Piece {
    start: usize,
    end: usize,
}

/// A frame that still grows.
pub struct OpenFrame {
    slot: usize,
    place: Place,
    start: NonNull<u8>,
    len: usize,
    room: usize,
    /// It is the newest in the ring and ends at the head; what room it does not use is the next one's.
    grows: bool,
    claims: u32,
}

/// Where a frame lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// In the ring, from this offset on.
    Ring(usize),
    /// In the buffer of its own.
    Big,
}

/// A frame that has its final length, a multiple of the block.
pub struct ClosedFrame {
    ring: Arc<Ring>,
    slot: usize,
    place: Place,
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
    /// One such frame is open at a time, and closed before the next.
    pub fn open(&mut self, len_min: usize, len_max: usize) -> Result<Option<OpenFrame>> {
        debug_assert!(len_min <= len_max);
        if self.free_slots.is_empty() {
            return Ok(None);
        }
        let len_min = len_min.next_multiple_of(self.block);
        if len_min > self.ring.size {
            return self.open_big(len_min);
        }
        let len_max = len_max.next_multiple_of(self.block).max(len_min);
        // From the front if that has all the room, so that as little of the ring as will do is used, which stays in the caches.
        let found = self.find(len_max, 0).or_else(|| self.find(len_min, self.head));
        let Some((start, available)) = found else { return Ok(None) };
        let room = available.min(len_max);
        Ok(Some(self.begin(start, room, true)))
    }

    /// A frame with room for `len` bytes that is its owner's for as long as he
    /// likes, beside others.  `growing` is the frame that is open, if one is: it
    /// grows no further than its last block.  None: no room now.
    pub fn reserve(&mut self, growing: Option<&mut OpenFrame>, len: usize) -> Result<Option<OpenFrame>> {
        if self.free_slots.is_empty() {
            return Ok(None);
        }
        let len = len.next_multiple_of(self.block);
        if len > self.ring.size {
            return self.open_big(len);
        }
        let growing = growing.filter(|growing| growing.grows);
        let unused = growing.as_ref().map_or(0, |growing| growing.room - growing.len.next_multiple_of(self.block));
        let Some((start, _)) = self.find(len, self.head - unused) else { return Ok(None) };
        if let Some(growing) = growing {
            debug_assert!(growing.len > 0, "else two pieces would begin at one place");
            growing.room -= unused;
            growing.grows = false;
            self.resize(growing.place, growing.room);
        }
        Ok(Some(self.begin(start, len, false)))
    }

    /// A free piece of at least `len` bytes, the first from `head` on, once round: (start, length).
    fn find(&self, len: usize, head: usize) -> Option<(usize, usize)> {
        let size = self.ring.size;
        if self.live.is_empty() {
            // Begin again at the front, so that a log with little traffic touches little of the ring.
            return Some((0, size));
        }
        let behind = self.live.partition_point(|piece| piece.start < head);
        let fits = |start: usize, end: usize| (end - start >= len).then_some((start, end - start));
        let mut start = head;
        for piece in &self.live[behind..] {
            if let Some(found) = fits(start, piece.start) {
                return Some(found);
            }
            start = piece.end;
        }
        if let Some(found) = fits(start, size) {
            return Some(found);
        }
        start = 0;
        for piece in &self.live[..behind] {
            if let Some(found) = fits(start, piece.start) {
                return Some(found);
            }
            start = piece.end;
        }
        // The one that the head lies in, all of it.
        fits(start, self.live.get(behind).map_or(size, |piece| piece.start))
    }

    fn open_big(&mut self, len: usize) -> Result<Option<OpenFrame>> {
        if self.big.is_some() {
            return Ok(None);
        }
        let memory = self.big.insert(AlignedBuf::zeroed(len)?).as_ptr();
        Ok(Some(self.begin_at(Place::Big, memory, len, false)))
    }

    fn begin(&mut self, start: usize, room: usize, grows: bool) -> OpenFrame {
        let at = self.live.partition_point(|piece| piece.start < start);
        self.live.insert(at, Piece { start, end: start + room });
        self.head = start + room;
        // SAFETY: `find` gave the piece, which ends inside the ring.
        let memory = unsafe { self.ring.memory.add(start) };
        self.begin_at(Place::Ring(start), memory, room, grows)
    }

    fn begin_at(&mut self, place: Place, start: NonNull<u8>, room: usize, grows: bool) -> OpenFrame {
        let slot = self.free_slots.pop().expect("looked at before");
        // The slot's last frame was freed, which `free` does when all of it was published.
        self.ring.slots[slot].begin();
        OpenFrame { slot, place, start, len: 0, room, grows, claims: 0 }
    }

    /// Which of the pieces begins at `start`.
    fn at(&self, start: usize) -> usize {
        self.live.binary_search_by_key(&start, |piece| piece.start).expect("the frame's piece is in use")
    }

    /// Makes a frame's piece `len` bytes long; what is behind is free.
    fn resize(&mut self, place: Place, len: usize) {
        if let Place::Ring(start) = place {
            let at = self.at(start);
            self.live[at].end = start + len;
        }
    }

    /// Ends a frame's growth.
    pub fn close(&mut self, open: OpenFrame) -> ClosedFrame {
        let len = open.len.next_multiple_of(self.block);
        debug_assert!(len <= open.room);
        self.resize(open.place, len);
        if open.grows {
            self.head -= open.room - len;
        }
        self.used += len;
        ClosedFrame {
            ring: Arc::clone(&self.ring),
            slot: open.slot,
            place: open.place,
            start: open.start,
            len,
            filled_len: open.len,
            claims: open.claims,
        }
    }

    /// Takes a frame's piece back.
    pub fn free(&mut self, frame: ClosedFrame) {
        assert!(frame.is_filled(), "a frame is freed after it was written");
        self.used -= frame.len;
        self.take_back(frame.slot, frame.place);
    }

    /// Takes a reserved frame's piece back that nobody has claimed anything of.
    pub fn cancel(&mut self, reserved: OpenFrame) {
        assert!(!reserved.grows && reserved.claims == 0, "a reserved frame is cancelled before it is used");
        self.take_back(reserved.slot, reserved.place);
    }

    fn take_back(&mut self, slot: usize, place: Place) {
        match place {
            Place::Big => self.big = None,
            Place::Ring(start) => {
                let at = self.at(start);
                self.live.remove(at);
            }
        }
        self.free_slots.push(slot);
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

    /// The bytes that can still be claimed; what they hold is not specified at first.
    pub fn unclaimed(&mut self) -> &mut [u8] {
        // SAFETY: these bytes of initialised (mapped or zeroed) memory are this frame's and in no claim; who has
        // the frame has them alone.  They stay while the ring lives, or the big frame's buffer, which goes with the frame.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(self.len).as_ptr(), self.room - self.len) }
    }

    /// Leaves the next `len` bytes to whoever closes the frame.
    pub fn skip(&mut self, len: usize) {
        assert!(len <= self.room(), "what is skipped fits the frame");
        self.len += len;
    }

    /// The next `len` bytes; at most [`OpenFrame::room`].
    pub fn claim<'ring>(&mut self, ring: &'ring Ring, len: usize) -> Claim<'ring> {
        assert!(len <= self.room(), "a claim fits the frame");
        assert!(self.claims < CLAIMS_MAX, "a frame's claims can be counted");
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
        self.slot.publish();
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
        self.ring.slots[self.slot].is_filled(self.claims)
    }

    /// Waits until every claim is published; the fillers only copy, so this is short.
    pub fn wait_filled(&self) {
        self.ring.slots[self.slot].wait_filled(self.claims);
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

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::collections::VecDeque;

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

    /// With two frames on their way and one growing, the gaps before and between the two are less than a frame.
    #[test]
    fn a_busy_ring_stays_in_front() {
        const FRAME: usize = 16 * 512;
        let (ring, mut space) = Ring::new(64 * FRAME, 512).unwrap();
        let start = ring.memory.as_ptr().addr();
        let mut live = VecDeque::new();
        for n in 0..200 {
            let mut open = space.open(512, FRAME).unwrap().unwrap();
            drop(open.claim(&ring, 1 + n * 37 % FRAME));
            let closed = space.close(open);
            let end = closed.bytes().as_ptr().addr() + closed.len() - start;
            assert!(end <= 5 * FRAME, "frame {n} ends at {end}");
            live.push_back(closed);
            if live.len() > 2 {
                space.free(live.pop_front().unwrap());
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

    /// Frames that grow and reserved ones, in any order of closing and freeing: no two overlap, and all room comes back.
    #[test]
    fn reserved_frames_come_back_in_any_order() {
        const BLOCK: usize = 512;
        for seed in 1..300u64 {
            let mut state = seed;
            let mut below = |limit: usize| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                usize::try_from(state >> 33).unwrap() % limit
            };
            let blocks = 4 + below(30);
            let (ring, mut space) = Ring::new(blocks * BLOCK, BLOCK).unwrap();
            let mut byte = 0u8;
            let mut growing: Option<(OpenFrame, u8)> = None;
            let mut reserved: Vec<(OpenFrame, u8)> = Vec::new();
            let mut closed: Vec<(ClosedFrame, u8)> = Vec::new();
            for _ in 0..400 {
                byte = byte.wrapping_add(1);
                match below(7) {
                    0 if growing.is_none() => {
                        let least = 1 + below(3 * BLOCK);
                        growing = space.open(least, least.max(below(8 * BLOCK))).unwrap().map(|open| (open, byte));
                    }
                    0 | 1 => {
                        if let Some((open, byte)) = &mut growing {
                            let len = below(open.room().min(700) + 1);
                            open.claim(&ring, len).bytes().fill(*byte);
                        }
                    }
                    2 => {
                        if let Some((open, byte)) = growing.take_if(|(open, _)| !open.is_empty()) {
                            closed.push((space.close(open), byte));
                        }
                    }
                    // Of the log's frames none is empty: each begins with room for its header.
                    3 if growing.as_ref().is_none_or(|(open, _)| !open.is_empty()) => {
                        let growing = growing.as_mut().map(|(open, _)| open);
                        if let Some(mut open) = space.reserve(growing, 1 + below(5 * BLOCK)).unwrap() {
                            open.unclaimed().fill(byte);
                            reserved.push((open, byte));
                        }
                    }
                    4 if !reserved.is_empty() => {
                        let (mut open, byte) = reserved.swap_remove(below(reserved.len()));
                        let len = 1 + below(open.room());
                        assert!(open.unclaimed().iter().all(|&b| b == byte));
                        drop(open.claim(&ring, len));
                        closed.push((space.close(open), byte));
                    }
                    5 if !reserved.is_empty() => space.cancel(reserved.swap_remove(below(reserved.len())).0),
                    _ if !closed.is_empty() => {
                        let (mut frame, byte) = closed.swap_remove(below(closed.len()));
                        let filled = frame.filled_len();
                        assert!(frame.bytes_mut()[..filled].iter().all(|&b| b == byte), "seed {seed}");
                        space.free(frame);
                    }
                    _ => {}
                }
            }
            reserved.into_iter().for_each(|(open, _)| space.cancel(open));
            closed.into_iter().for_each(|(frame, _)| space.free(frame));
            if let Some((mut open, _)) = growing.take() {
                drop(open.claim(&ring, open.room().min(1)));
                let frame = space.close(open);
                space.free(frame);
            }
            assert_eq!(space.used(), 0);
            assert!(space.open(blocks * BLOCK, blocks * BLOCK).unwrap().is_some(), "all of it is free again");
        }
    }

    /// Whoever keeps a piece while others come and go does not stop them, however long it takes.
    #[test]
    fn a_reserved_frame_costs_its_own_room_and_no_more() {
        let (ring, mut space) = Ring::new(4 * 512, 512).unwrap();
        let held = [space.reserve(None, 512).unwrap().unwrap(), space.reserve(None, 512).unwrap().unwrap()];
        for byte in 0..200 {
            let one = frame(&ring, &mut space, 512, byte).unwrap();
            let two = frame(&ring, &mut space, 512, byte).unwrap();
            assert!(space.open(1, 1).unwrap().is_none());
            space.free(one);
            space.free(two);
        }
        let [first, second] = held;
        space.cancel(first);
        let three = [1, 2, 3].map(|byte| frame(&ring, &mut space, 512, byte).unwrap());
        assert!(space.reserve(None, 1).unwrap().is_none());
        three.into_iter().for_each(|frame| space.free(frame));
        space.cancel(second);
        assert!(frame(&ring, &mut space, 4 * 512, 3).is_some());
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
