//! okaywal.
//!
//! - An entry is one or more chunks, and `commit` makes it durable: a record that
//!   is waited for is an entry of one chunk, a batch an entry of many, which its
//!   readme calls atomic.  It has no append without a flush; `async` makes entries
//!   of many chunks.
//! - Its threads share an fdatasync by themselves; there is nothing to set.
//! - preallocate_bytes 64 MiB, as twal's segments, where its default is 1 MiB: "this
//!   number should be large enough to allow batching multiple entries into one
//!   checkpointing operation".  checkpoint_after_bytes is the same share of it as by
//!   default, three quarters.
//! - buffer_bytes 256 KiB, where its default is 16 KiB: a batch is then one write.
//! - It fills a new file with zeros on the thread that commits, but takes a used one
//!   where there is one.  Files are made ahead, so that it has used ones, as it would
//!   have after a while.
//! - The storage that it is in front of has nothing to do at a checkpoint here, so
//!   that files are given back at once.

use std::fmt;
use std::io::{self, Read};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use okaywal::{Configuration, Entry, EntryWriter, LogManager, ReadChunkResult, SegmentReader, WriteAheadLog};

use crate::args::{Spec, Workload};
use crate::workload::{Checker, Failure, Log, Producer};

const FILE_BYTES: u32 = 64 << 20;
const BUFFER_BYTES: usize = 256 << 10;
/// Used files that wait beside the one that is written.
const SPARE_FILES: usize = 4;

fn configuration(dir: &Path) -> Configuration {
    Configuration::default_for(dir)
        .preallocate_bytes(FILE_BYTES)
        .checkpoint_after_bytes(u64::from(FILE_BYTES) / 4 * 3)
        .buffer_bytes(BUFFER_BYTES)
}

pub struct OkayWal(WriteAheadLog);

impl Log for OkayWal {
    const CONFIGURATION: &'static str =
        "preallocate_bytes 64 MiB, checkpoint_after_bytes 48 MiB, buffer_bytes 256 KiB, \
         4 used files ahead; a batch is an entry of many chunks; checkpoints do nothing";

    type Producer<'a> = Chunks<'a>;

    fn open(dir: &Path, spec: &Spec) -> Result<Self, Failure> {
        let gate = Arc::new(Gate::default());
        let log = configuration(dir).open(Storage {
            gate: gate.clone(),
            recovered: Recovered::default(),
            record: Vec::new(),
        })?;
        if spec.workload == Workload::Fill {
            return Ok(OkayWal(log)); // the gate stays closed: nothing is checkpointed, all is there to be replayed
        }
        // No file becomes free while the gate is closed, so each of these makes a new one.
        for _ in 0..SPARE_FILES {
            let mut entry = log.begin_entry()?;
            entry.write_chunk(b"preparation")?;
            entry.commit()?;
            log.checkpoint_active()?;
        }
        gate.open();
        let start = Instant::now();
        while checkpointed_files(dir)? < SPARE_FILES {
            if start.elapsed() > Duration::from_secs(60) {
                return Err("the files made ahead do not become free".into());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(OkayWal(log))
    }

    fn producer(&self, _number: u64) -> Result<Chunks<'_>, Failure> {
        Ok(Chunks { log: &self.0, entry: None })
    }

    fn close(self) -> Result<(), Failure> {
        Ok(()) // shutdown() would wait for checkpoints; what is committed is durable without it
    }

    fn replay(dir: &Path, spec: &Spec, checker: Checker) -> Result<Checker, Failure> {
        let gate = Arc::new(Gate::default());
        gate.open();
        let recovered: Recovered = Arc::new(Mutex::new(Some(checker)));
        let storage = Storage { gate, recovered: recovered.clone(), record: vec![0; spec.bytes] };
        drop(configuration(dir).open(storage)?); // opening shows every entry
        let checker = recovered.lock().expect("no thread panics").take();
        Ok(checker.expect("nobody else takes it"))
    }
}

fn checkpointed_files(dir: &Path) -> io::Result<usize> {
    let names = std::fs::read_dir(dir)?.map(|entry| Ok(entry?.file_name().to_string_lossy().ends_with("-cp")));
    names.filter(|name: &io::Result<bool>| !matches!(name, Ok(false))).try_fold(0, |n, name| name.map(|_| n + 1))
}

/// What checkpoints wait for.
#[derive(Default)]
struct Gate {
    is_open: Mutex<bool>,
    opened: Condvar,
}

impl Gate {
    fn open(&self) {
        *self.is_open.lock().expect("no thread panics") = true;
        self.opened.notify_all();
    }

    fn pass(&self) {
        let is_open = self.is_open.lock().expect("no thread panics");
        drop(self.opened.wait_while(is_open, |is_open| !*is_open).expect("no thread panics"));
    }
}

/// Where recovered records go, if anywhere.  The log keeps its manager, so this is
/// how the checker comes back.
type Recovered = Arc<Mutex<Option<Checker>>>;

/// The storage that the log is in front of: there is none.
struct Storage {
    gate: Arc<Gate>,
    recovered: Recovered,
    /// Where a record is read to.
    record: Vec<u8>,
}

impl fmt::Debug for Storage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Storage") // LogManager wants it
    }
}

impl LogManager for Storage {
    fn recover(&mut self, entry: &mut Entry<'_>) -> io::Result<()> {
        let mut checker = self.recovered.lock().expect("no thread panics");
        let Some(checker) = checker.as_mut() else { return Ok(()) };
        let record = &mut self.record;
        while let ReadChunkResult::Chunk(mut chunk) = entry.read_chunk()? {
            record.resize(chunk.bytes_remaining() as usize, 0);
            chunk.read_exact(record)?;
            if !chunk.check_crc()? {
                return Err(io::Error::other("a chunk's checksum does not match"));
            }
            checker.check(record).map_err(io::Error::other)?;
        }
        Ok(())
    }

    fn checkpoint_to(
        &mut self,
        _last: okaywal::EntryId,
        _entries: &mut SegmentReader,
        _log: &WriteAheadLog,
    ) -> io::Result<()> {
        self.gate.pass();
        Ok(())
    }
}

pub struct Chunks<'a> {
    log: &'a WriteAheadLog,
    entry: Option<EntryWriter<'a>>,
}

impl Producer for Chunks<'_> {
    fn append(&mut self, record: &[u8]) -> Result<(), Failure> {
        self.write(record)?;
        self.flush()
    }

    fn write(&mut self, record: &[u8]) -> Result<(), Failure> {
        let entry = match &mut self.entry {
            Some(entry) => entry,
            none => none.insert(self.log.begin_entry()?),
        };
        entry.write_chunk(record)?;
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Failure> {
        if let Some(entry) = self.entry.take() {
            entry.commit()?;
        }
        Ok(())
    }
}
