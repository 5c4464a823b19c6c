//! Writing a directory of v2.6 files: all of them, or none after any crash.
//!
//! The order, and the crash behind each step:
//!   1. Every file is written under a name that no reader looks at, and flushed.
//!   2. All but the first get their names, and the directory is flushed.  What is
//!      there now begins with a file that names one before it: a reader refuses it.
//!   3. The first gets its name, and the directory is flushed: now it is whole.
//!
//! Left to the caller: removing what a crash behind step 2 left.  What is left of
//! one before it is removed by the next writer.

use std::path::Path;
use std::sync::Arc;

use super::name::{file_name, unfinished_name, Named};
use super::real_disk;
use crate::base::bytes::{len_u64, usize_of};
use crate::base::clock::Clock;
use crate::base::{Code, Error, Result};
use crate::disk::{Dir, Disk, Durable, File, LockKind};
use crate::format::v26::{FileHeader, RecordHeader, FILE_HEADER_LEN, PAYLOAD_MAX};
use crate::mem::AlignedBuf;

/// Bytes written at once: a multiple of every block.
const PIECE: usize = 1 << 20;
/// Number of the first file: of its followers, 0 as the one before is none.
const FIRST: u64 = 1;
const _: () = assert!(PIECE.is_multiple_of(crate::base::limits::BLOCK_SIZE_MAX as usize));

/// When the next file is begun, whichever is first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WriteOptions {
    /// Bytes that a file has at most; one record it always takes.
    pub file_size_max: u64,
    /// Records that a file has at most, at least 1.
    pub file_records_max: u64,
}

impl Default for WriteOptions {
    fn default() -> WriteOptions {
        WriteOptions { file_size_max: 64 << 20, file_records_max: 100_000 }
    }
}

/// What was written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Written {
    /// Files.
    pub files: u64,
    /// Records in them.
    pub records: u64,
    /// Bytes in them.
    pub bytes: u64,
}

/// Writes the files of one directory; dropped before [`Writer::finish`] it removes what it wrote.
pub struct Writer {
    dir: Arc<dyn Dir>,
    options: WriteOptions,
    clock: Clock,
    current: Option<Current>,
    written: Written,
    /// What stopped the writer; it stays.
    failed: Option<Error>,
    /// Files with the name of an unfinished one.
    unfinished: Vec<u64>,
}

/// The file being written.
struct Current {
    file: Arc<dyn File>,
    header: FileHeader,
    /// The bytes from offset `at` on that are not written yet.
    piece: AlignedBuf,
    filled: usize,
    at: u64,
    /// The first block, which is written last: it has the count.
    head: AlignedBuf,
    align: usize,
}

impl Writer {
    /// A writer of files in `dir`, which is made if it is missing.
    ///
    /// # Errors
    /// Exists: there are such files already.  Locked: a log is open there, or another writer is.
    pub fn create(dir: &Path, options: WriteOptions) -> Result<Writer> {
        Self::create_on(&real_disk(), dir, options, Clock::real())
    }

    /// The same on any disk, with any clock.
    ///
    /// # Errors
    /// As [`Writer::create`].
    pub fn create_on(disk: &dyn Disk, path: &Path, options: WriteOptions, clock: Clock) -> Result<Writer> {
        if options.file_records_max == 0 {
            return Err(Error::new(Code::Inval, "a file takes at least one record"));
        }
        let failed = |error| Error::os(format_args!("cannot open {}", path.display()), &error);
        let dir = disk.open_dir(path, true).map_err(failed)?;
        if !dir.try_lock(LockKind::Exclusive).map_err(failed)? {
            return Err(Error::new(Code::Locked, format!("{} is in use", path.display())));
        }
        let names = dir.list().map_err(failed)?;
        let taken = names.iter().find(|name| matches!(Named::parse(name), Named::File(_) | Named::Odd));
        if let Some(name) = taken {
            let is_begun = |name: &String| matches!(Named::parse(name), Named::File(number) if number <= FIRST);
            let why = match names.iter().any(is_begun) {
                true => "",
                // They may be somebody's whose first file was lost: not the writer's to remove.
                false => ", and no first file: an export that a crash ended leaves that, to be removed",
            };
            return Err(Error::new(Code::Exists, format!("{} holds {name} already{why}", path.display())));
        }
        for name in names.iter().filter(|name| Named::parse(name) == Named::Unfinished) {
            dir.remove(name).map_err(|error| Error::os(format_args!("cannot remove {name}"), &error))?;
        }
        let mut writer = Writer {
            dir,
            options,
            clock,
            current: None,
            written: Written::default(),
            failed: None,
            unfinished: Vec::new(),
        };
        writer.begin_file()?;
        Ok(writer)
    }

    /// Writes a record behind the others.
    ///
    /// # Errors
    /// TooBig: no file holds such a payload.  What the disk refuses stays: nothing more is written.
    pub fn append(&mut self, kind: u8, seq: u64, timestamp: i64, payload: &[u8]) -> Result<()> {
        if payload.len() > usize_of(PAYLOAD_MAX.into()) {
            return Err(Error::new(Code::TooBig, format!("a payload of {} bytes", payload.len())).about_seq(seq));
        }
        let header = RecordHeader::of(kind, seq, timestamp, payload);
        self.guarded(|writer| {
            let current = writer.current.as_ref().expect("a writer that has not failed has a file");
            let records = current.header.record_count;
            let size = current.size() + len_u64(header.record_len());
            let full = records >= writer.options.file_records_max || size > writer.options.file_size_max;
            if full && records > 0 {
                writer.end_file()?;
                writer.begin_file()?;
            }
            let current = writer.current.as_mut().expect("it was just begun");
            current.header.record_count += 1;
            current.put(&header.encode())?;
            current.put(payload)
        })
    }

    /// Makes what was written the directory's files, durably.
    ///
    /// # Errors
    /// What the disk refuses.  Then the files are not there, unless the very last flush failed: then they
    /// may be, and are whole if they are.
    pub fn finish(mut self) -> Result<Written> {
        self.guarded(|writer| {
            writer.end_file()?;
            while let Some(number) = writer.unfinished.pop() {
                if number == FIRST {
                    // What is named so far is durable before the name that makes it a whole.
                    writer.sync_dir()?;
                }
                let (from, to) = (unfinished_name(number), file_name(number));
                let renamed = writer.dir.rename(&from, &to);
                renamed.map_err(|error| Error::os(format_args!("cannot rename {from}"), &error).in_segment(number))?;
            }
            writer.sync_dir()
        })?;
        Ok(self.written)
    }

    /// Runs a step, unless one failed before.
    fn guarded(&mut self, step: impl FnOnce(&mut Writer) -> Result<()>) -> Result<()> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        step(self).inspect_err(|error| self.failed = Some(error.clone()))
    }

    fn sync_dir(&self) -> Result<()> {
        self.dir.sync().map_err(|error| Error::os("cannot flush the directory", &error))
    }

    fn begin_file(&mut self) -> Result<()> {
        let number = FIRST + self.written.files;
        let name = unfinished_name(number);
        let created = self.dir.create(&name);
        let file = created.map_err(|error| Error::os(format_args!("cannot make {name}"), &error).in_segment(number))?;
        self.unfinished.push(number);
        let align = usize_of(u64::from(self.dir.facts().block_align.max(512)));
        let header =
            FileHeader { segment: number, created: self.clock.wall_ns(), record_count: 0, previous: number - FIRST };
        let (piece, head) = (AlignedBuf::zeroed(PIECE)?, AlignedBuf::zeroed(align)?);
        let current = Current { file, header, piece, filled: FILE_HEADER_LEN, at: 0, head, align };
        self.current = Some(current);
        Ok(())
    }

    /// The file is whole and durable, but for its name.
    fn end_file(&mut self) -> Result<()> {
        let mut current = self.current.take().expect("a file is begun whenever one ends");
        let size = current.size();
        current.end(size)?;
        self.written.files += 1;
        self.written.records += current.header.record_count;
        self.written.bytes += size;
        Ok(())
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.current = None;
        for number in self.unfinished.drain(..) {
            // What stays is removed by the next writer.
            let _ = self.dir.remove(&unfinished_name(number));
        }
        let _ = self.dir.unlock();
    }
}

impl Current {
    fn size(&self) -> u64 {
        self.at + len_u64(self.filled)
    }

    fn put(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            let len = bytes.len().min(PIECE - self.filled);
            let (front, rest) = bytes.split_at(len);
            self.piece[self.filled..self.filled + len].copy_from_slice(front);
            self.filled += len;
            bytes = rest;
            if self.filled == PIECE {
                self.write(PIECE)?;
            }
        }
        Ok(())
    }

    /// Writes the first `len` bytes of the piece, whole blocks, and begins the next.
    fn write(&mut self, len: usize) -> Result<()> {
        if self.at == 0 {
            self.head.copy_from_slice(&self.piece[..self.align]);
        }
        self.file.write_at(&self.piece[..len], self.at, Durable::No).map_err(|error| self.failed("write", &error))?;
        self.at += len_u64(len);
        self.filled = 0;
        Ok(())
    }

    /// The rest, then the header, then the length: the last block was filled up.
    fn end(&mut self, size: u64) -> Result<()> {
        if self.filled > 0 {
            let len = self.filled.next_multiple_of(self.align);
            self.piece[self.filled..len].fill(0);
            self.write(len)?;
        }
        self.header.encode(&mut self.head);
        self.file.write_at(&self.head, 0, Durable::No).map_err(|error| self.failed("write", &error))?;
        self.file.truncate(size).map_err(|error| self.failed("end", &error))?;
        self.file.sync().map_err(|error| self.failed("flush", &error))
    }

    fn failed(&self, doing: &str, error: &std::io::Error) -> Error {
        let number = self.header.segment;
        Error::os(format_args!("cannot {doing} {}", file_name(number)), error).at(number, self.at)
    }
}
