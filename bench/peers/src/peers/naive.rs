//! The log that is written by hand first: a mutex, pwrite, fdatasync.
//!
//! It is the line below which a log is not worth its complexity, so it stays
//! plain: one growing file, one flush an append, the flush under the mutex.
//! Only what anybody would do is done: a batch is one write, and writes without
//! waiting go through a buffer.

use std::fs::File;
use std::io::{BufReader, ErrorKind, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Mutex;

use crate::args::Spec;
use crate::workload::{Checker, Failure, Log, Producer};

const NAME: &str = "naive.log";
/// Writes without waiting gather this much.
const BUFFER: usize = 256 << 10;
/// Before each record: its length and its CRC-32C.
const HEADER: usize = 8;

pub struct Naive {
    file: File,
    end: Mutex<u64>,
}

impl Naive {
    fn write(&self, bytes: &[u8], flush: bool) -> Result<(), Failure> {
        let mut end = self.end.lock().expect("no thread panics");
        self.file.write_all_at(bytes, *end)?;
        *end += bytes.len() as u64;
        if flush {
            self.file.sync_data()?;
        }
        Ok(())
    }
}

impl Log for Naive {
    const CONFIGURATION: &'static str = "a growing file; pwrite and fdatasync under one mutex; CRC-32C";

    type Producer<'a> = Buffer<'a>;

    fn open(dir: &Path, _spec: &Spec) -> Result<Self, Failure> {
        let file = File::create(dir.join(NAME))?;
        File::open(dir)?.sync_all()?;
        Ok(Naive { file, end: Mutex::new(0) })
    }

    fn producer(&self, _number: u64) -> Result<Buffer<'_>, Failure> {
        Ok(Buffer { log: self, bytes: Vec::with_capacity(2 * BUFFER) })
    }

    fn close(self) -> Result<(), Failure> {
        Ok(())
    }

    fn replay(dir: &Path, _spec: &Spec, mut checker: Checker) -> Result<Checker, Failure> {
        let mut file = BufReader::with_capacity(1 << 20, File::open(dir.join(NAME))?);
        let (mut header, mut record) = ([0; HEADER], Vec::new());
        loop {
            match file.read_exact(&mut header) {
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(checker),
                other => other?,
            }
            let word = |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
            record.resize(word(0) as usize, 0);
            file.read_exact(&mut record)?;
            if crc32c::crc32c(&record) != word(4) {
                return Err("a record's checksum does not match".into());
            }
            checker.check(&record)?;
        }
    }
}

pub struct Buffer<'a> {
    log: &'a Naive,
    bytes: Vec<u8>,
}

impl Buffer<'_> {
    fn push(&mut self, record: &[u8]) -> Result<(), Failure> {
        self.bytes.extend(u32::try_from(record.len())?.to_le_bytes());
        self.bytes.extend(crc32c::crc32c(record).to_le_bytes());
        self.bytes.extend(record);
        Ok(())
    }

    fn drain(&mut self, flush: bool) -> Result<(), Failure> {
        self.log.write(&self.bytes, flush)?;
        self.bytes.clear();
        Ok(())
    }
}

impl Producer for Buffer<'_> {
    fn append(&mut self, record: &[u8]) -> Result<(), Failure> {
        self.push(record)?;
        self.drain(true)
    }

    fn write(&mut self, record: &[u8]) -> Result<(), Failure> {
        self.push(record)?;
        if self.bytes.len() >= BUFFER {
            self.drain(false)?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Failure> {
        self.drain(true)
    }
}
