//! A part of a segment file in memory, which moves on with who reads it.
//!
//! One read serves many pieces, and what one read has left over of a frame stays for the next.  Where much more of the
//! file is wanted, that is read on a thread meanwhile: the device works while the bytes before it are checked and sent.

use std::ops::Range;
use std::sync::Arc;

use crate::base::bytes::{len_u64, usize_of};
use crate::base::{Code, Error, Result};
use crate::disk::File;
use crate::mem::aligned::ALIGN;
use crate::mem::AlignedBuf;
use crate::read::ahead::{Piece, ReadAhead};

/// Most bytes read at once, but for one frame that is longer.
pub const READ_MAX: u64 = 2 << 20;
/// Room in front of what is read ahead: for what is left over of the read before.
const ROOM: usize = 2 << 20;

/// What was read of one file.
pub struct Window {
    file: Option<Arc<dyn File>>,
    buf: AlignedBuf,
    /// The bytes in the buffer, and the file offset of the first.
    view: Range<usize>,
    start: u64,
    ahead: Ahead,
}

/// Whether the next read is done on a thread.
enum Ahead {
    /// There was no need for it yet.
    Not,
    /// There can be no more threads.
    Never,
    /// The thread, and the buffer that it does not have.
    Now(ReadAhead, Option<AlignedBuf>),
}

impl Window {
    pub fn new() -> Result<Window> {
        Ok(Window { file: None, buf: AlignedBuf::zeroed(1)?, view: 0..0, start: 0, ahead: Ahead::Not })
    }

    /// The device is asked again for what is wanted next.
    pub fn forget(&mut self) {
        self.view = 0..0;
        if let Ahead::Now(ahead, spare) = &mut self.ahead {
            if let Some((piece, _)) = ahead.take() {
                *spare = Some(piece.buf);
            }
        }
    }

    /// Where in [`Window::bytes`] the bytes at `offset` of segment `index` are: at least `least` of them, more where
    /// they are there already, and none behind `end`.
    pub fn load(
        &mut self,
        file: &Arc<dyn File>,
        index: u64,
        offset: u64,
        least: u64,
        end: u64,
    ) -> Result<Range<usize>> {
        if !self.file.as_ref().is_some_and(|before| Arc::ptr_eq(before, file)) {
            self.forget();
            self.file = Some(Arc::clone(file));
        }
        if end.saturating_sub(offset) < least {
            let text = format!("{least} bytes are wanted, and what may be read ends at {end}");
            return Err(Error::new(Code::Corrupt, text).at(index, offset));
        }
        if self.here(offset) < least {
            self.read_on(file, index, offset, least, end)?;
        }
        let from = self.view.start + usize_of(offset - self.start);
        Ok(from..from + usize_of(self.here(offset).min(end - offset)))
    }

    /// What [`Window::load`] tells places of.
    pub fn bytes(&self) -> &[u8] {
        &self.buf
    }

    /// How many bytes are here from `offset` on.
    fn here(&self, offset: u64) -> u64 {
        match offset >= self.start {
            true => (self.start + len_u64(self.view.len())).saturating_sub(offset),
            false => 0,
        }
    }

    fn read_on(&mut self, file: &Arc<dyn File>, index: u64, offset: u64, least: u64, end: u64) -> Result<()> {
        let left_over = usize_of(self.here(offset));
        let old = self.view.end - left_over..self.view.end;
        let next = offset + len_u64(left_over);
        if !self.take_ahead(next, &old) {
            let len = usize_of(READ_MAX.max(least - len_u64(left_over)).min(end - next));
            let room = left_over.next_multiple_of(ALIGN);
            if self.buf.len() < room + len {
                let mut larger = AlignedBuf::zeroed(room + len)?;
                larger[room - left_over..room].copy_from_slice(&self.buf[old]);
                self.buf = larger;
            } else {
                self.buf.copy_within(old, room - left_over);
            }
            // Nothing is here while a read may fail.
            self.view = 0..0;
            let read = file.read_at(&mut self.buf[room..room + len], next);
            check_read(read, index, next, len)?;
            self.view = room - left_over..room + len;
        }
        self.start = offset;
        self.ask_ahead(file, end);
        if self.here(offset) < least {
            // What was read ahead ended where less was durable then, or is less than this frame.
            return self.read_on(file, index, offset, least, end);
        }
        Ok(())
    }

    /// Takes what was read ahead, if that begins at `next`; `old` is what goes in front of it.
    fn take_ahead(&mut self, next: u64, old: &Range<usize>) -> bool {
        let Ahead::Now(ahead, spare) = &mut self.ahead else { return false };
        let wanted = ahead.next() == Some(next) && old.len() <= ROOM;
        let Some((mut piece, read)) = ahead.take() else { return false };
        // What failed is read again, by who asks for it and is told.
        if !wanted || !read.is_ok_and(|read| read == piece.len) {
            *spare = Some(piece.buf);
            return false;
        }
        piece.buf[ROOM - old.len()..ROOM].copy_from_slice(&self.buf[old.clone()]);
        self.view = ROOM - old.len()..ROOM + piece.len;
        *spare = Some(std::mem::replace(&mut self.buf, piece.buf));
        true
    }

    /// Has the next bytes read, where as much was read as there can be at once.
    fn ask_ahead(&mut self, file: &Arc<dyn File>, end: u64) {
        let next = self.start + len_u64(self.view.len());
        let len = usize_of(READ_MAX.min(end.saturating_sub(next)));
        if len_u64(self.view.len()) < READ_MAX || len == 0 {
            return;
        }
        if matches!(self.ahead, Ahead::Not) {
            self.ahead = ReadAhead::start().map_or(Ahead::Never, |ahead| Ahead::Now(ahead, None));
        }
        let Ahead::Now(ahead, spare) = &mut self.ahead else { return };
        let buf = match spare.take().filter(|buf| buf.len() >= ROOM + len) {
            Some(buf) => Ok(buf),
            None => AlignedBuf::zeroed(ROOM + usize_of(READ_MAX)),
        };
        // Without memory it goes on as before.
        if let Ok(buf) = buf {
            // A source asks for nothing that is not durable.
            ahead.ask(Piece { file: Arc::clone(file), offset: next, buf, start: ROOM, len, durable: 0 });
        }
    }
}

/// Reads `len` bytes at `offset` into the front of `buf`, or fails.
pub fn read_exactly(file: &dyn File, buf: &mut AlignedBuf, index: u64, offset: u64, len: u64) -> Result<()> {
    let len = usize_of(len);
    if buf.len() < len {
        *buf = AlignedBuf::zeroed(len)?;
    }
    check_read(file.read_at(&mut buf[..len], offset), index, offset, len)
}

fn check_read(read: std::io::Result<usize>, index: u64, offset: u64, len: usize) -> Result<()> {
    let read = read
        .map_err(|error| Error { code: Code::Io, ..Error::os("cannot read the segment", &error) }.at(index, offset))?;
    if read < len {
        let text = format!("the segment file ends at {}", offset + len_u64(read));
        return Err(Error::new(Code::Corrupt, text).at(index, offset + len_u64(read)));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::disk::sim::{CallKind, SimDisk};
    use crate::disk::{Access, Disk};

    const SIZE: u64 = 9 << 20;
    const STEP: u64 = 4096;

    fn content() -> Vec<u8> {
        (0..SIZE).map(|at: u64| (at ^ (at >> 8) ^ (at >> 16)).to_le_bytes()[0]).collect()
    }

    fn disk_with_file() -> (Arc<SimDisk>, Arc<dyn File>) {
        let disk = SimDisk::new(1);
        disk.set_align(512, 4096);
        let dir = disk.open_dir(Path::new("/log"), true).unwrap();
        disk.put_file("file", &content());
        let file = dir.open("file", Access::Read).unwrap();
        (disk, file)
    }

    /// In steps like frames', one of them longer than a read: what comes is the file, and every byte is read once.
    #[test]
    fn all_of_a_file_comes_and_is_read_once() {
        let (disk, file) = disk_with_file();
        let (mut window, content) = (Window::new().unwrap(), content());
        let (mut at, mut step) = (0, 0);
        while at < SIZE {
            step += 1;
            let least = if step == 9 { 3 << 20 } else { STEP * (1 + step * 37 % 300) }.min(SIZE - at);
            let here = window.load(&file, 1, at, least, SIZE).unwrap();
            assert!(len_u64(here.len()) >= least);
            let from = usize_of(at);
            assert!(window.bytes()[here.clone()] == content[from..from + here.len()], "at {at}");
            assert_eq!(window.bytes()[here].as_ptr().addr() % 512, 0);
            at += least;
        }
        let reads = disk.counts().of(CallKind::Read);
        assert!(reads <= SIZE / READ_MAX + 2, "{reads}");
    }

    #[test]
    fn more_than_may_be_read_is_refused() {
        let (_disk, file) = disk_with_file();
        let mut window = Window::new().unwrap();
        for (offset, least) in [(SIZE - 100, STEP), (SIZE, 1), (SIZE + 1, 1), (u64::MAX, 1), (0, SIZE + 1)] {
            let refused = window.load(&file, 1, offset, least, SIZE).unwrap_err();
            assert_eq!((refused.code, refused.offset), (Code::Corrupt, offset));
        }
        assert_eq!(window.load(&file, 1, SIZE - STEP, STEP, SIZE).unwrap().len(), usize_of(STEP));
    }

    /// A read that fails is told, ahead or not, and takes nothing with it.
    #[test]
    fn a_read_that_fails_is_told_and_the_next_one_goes_on() {
        let content = content();
        for call in 0..5 {
            let (disk, file) = disk_with_file();
            // The one that is read ahead, and the one that then asks again.
            disk.fail_kind(CallKind::Read, call, libc::EIO);
            disk.fail_kind(CallKind::Read, call + 1, libc::EIO);
            let (mut window, mut at, mut errors) = (Window::new().unwrap(), 0, 0);
            while at < SIZE {
                match window.load(&file, 7, at, STEP, SIZE) {
                    Ok(here) => {
                        let from = usize_of(at);
                        assert!(window.bytes()[here.clone()] == content[from..from + here.len()], "at {at}");
                        at += len_u64(here.len()) / 2 / STEP * STEP + STEP;
                    }
                    Err(error) => {
                        assert_eq!((error.code, error.segment), (Code::Io, 7), "{error}");
                        errors += 1;
                    }
                }
            }
            assert!(errors > 0, "call {call}");
        }
    }

    /// Nothing is read behind the end that was given: what is there may still change.
    #[test]
    fn what_lies_behind_the_end_is_read_when_it_is_in_front_of_it() {
        let (disk, file) = disk_with_file();
        let mut window = Window::new().unwrap();
        let (mut at, mut end) = (0, 5 << 20);
        for _ in 0..4 {
            while at < end {
                at += len_u64(window.load(&file, 1, at, STEP, end).unwrap().len());
            }
            assert_eq!(at, end);
            disk.overwrite("file", end, &[0xee; 4 * 4096]);
            end += 4 * STEP;
            let here = window.load(&file, 1, at, STEP, end).unwrap();
            assert!(window.bytes()[here].iter().all(|byte| *byte == 0xee));
        }
        // Nor is what is forgotten.
        let here = window.load(&file, 1, 0, STEP, SIZE).unwrap();
        assert!(window.bytes()[here].starts_with(&content()[..4096]));
        disk.overwrite("file", 0, &[0xdd; 4096]);
        window.forget();
        let here = window.load(&file, 1, 0, STEP, SIZE).unwrap();
        assert_eq!(window.bytes()[here][0], 0xdd);
    }
}
