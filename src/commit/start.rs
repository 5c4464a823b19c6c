//! From what recovery opened to a running commit path.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};

use super::composer::Composer;
use super::device::Busy;
use super::limit::Hints;
use super::notify::Notify;
use super::queue::{Queue, Tail, GATES};
use super::{Commit, Line, Threads};
use crate::base::bytes::{len_u64, usize_of};
use crate::base::clock::Clock;
use crate::base::counters::Counters;
use crate::base::options::{Config, SizePolicy};
use crate::base::{thread, Code, Error, Result};
use crate::disk::latch::Latch;
use crate::disk::File;
use crate::format::{Chain, Id, SegmentHeader};
use crate::mem::ring::Ring;
use crate::mem::{AlignedBuf, Gate};
use crate::read::Published;
use crate::segment::{spare, Directory, Spare};

/// Where to continue.
pub struct Continue {
    /// The active segment, writer's lock held through this descriptor.
    pub file: Arc<dyn File>,
    /// Its header.
    pub header: SegmentHeader,
    /// How the frames end, and where.
    pub end: Chain,
    /// Offset behind the last frame.
    pub end_offset: u64,
    /// The last frame is a seal.
    pub sealed: bool,
    /// Records and frames in the active segment.
    pub records: u64,
    /// Frames in it.
    pub frames: u64,
    /// This opening's number and id.
    pub epoch: u64,
    /// This opening's id.
    pub epoch_id: Id,
    /// An older segment still named active.
    pub to_seal: Option<u64>,
    /// Spares that were found.
    pub spares: Vec<u64>,
}

impl Commit {
    /// Writes the mark that ends an open, then takes appends.
    pub fn start(
        directory: Arc<Directory>,
        config: Config,
        clock: Clock,
        counters: Arc<Counters>,
        threads: Threads,
        from: Continue,
    ) -> Result<Arc<Commit>> {
        let block = u64::from(config.block_size);
        let ring_size = usize_of(config.ring_size);
        let (ring, space) = Ring::new(ring_size, usize_of(block))?;
        let size = from.header.segment_size;
        let ready_end = from
            .file
            .written_until(from.end_offset)
            .map_err(|error| Error::os("cannot look at the segment's extents", &error).in_segment(from.header.index))?;
        let tail = Tail {
            segment: from.header.index,
            offset: if from.sealed { size } else { from.end_offset },
            size,
            ready_end: ready_end / block * block,
            first_seq: from.end.last_seq + 1 - from.records,
        };
        let mut queue = Queue::new(space, block, from.end.last_seq + 1, tail, &config)?;
        queue.durable_end = from.end_offset;
        queue.keeper.to_seal = from.to_seal;
        queue.keeper.zeroing = (ready_end < size && !from.sealed).then(|| Arc::clone(&from.file));
        queue.ready.extend(adopt(&directory, &from.spares, &config, &clock)?);
        if is_beyond(&directory, &config)? {
            // As an earlier opening left it: prepared, or begun.
            queue.keeper.reserve = queue.ready.pop_back();
            queue.beyond = queue.keeper.reserve.is_none();
        }
        let reach = Arc::new(Published::new(queue.reach()));
        let composer = Composer {
            reach: Arc::clone(&reach),
            file: from.file,
            header: from.header,
            offset: from.end_offset,
            chain: from.end,
            records: from.records,
            frames: from.frames,
            epoch: from.epoch,
            epoch_id: from.epoch_id,
            frame_number: 0,
            next_order: 0,
            sealed: from.sealed,
        };
        let commit = Arc::new(Commit {
            durable: AtomicU64::new(from.end.last_seq),
            reach,
            writer_block: Mutex::new(AlignedBuf::zeroed(usize_of(block))?),
            config,
            clock,
            directory,
            counters,
            threads,
            ring,
            running: Mutex::new(Vec::with_capacity(2)),
            line: Line { accepted: AtomicU64::new(from.end.last_seq), queue: Mutex::new(queue) },
            composer: Mutex::new(composer),
            latch: Latch::new(),
            busy: Busy::default(),
            gates: (0..GATES).map(|_| Gate::default()).collect(),
            room: Gate::default(),
            advanced: Gate::default(),
            resting: Gate::default(),
            turn: Gate::default(),
            work: Gate::default(),
            chores: Gate::default(),
            notify: Notify::default(),
            hints: Hints::default(),
            asked: Arc::default(),
        });
        commit.write_first_frame()?;
        if threads == Threads::Own {
            commit.start_threads()?;
        }
        Ok(commit)
    }

    fn start_threads(self: &Arc<Self>) -> Result<()> {
        // EAGAIN: the process or the user may have no more.
        let failed = |error| Error { code: Code::NoMem, ..Error::os("cannot start a thread", &error) };
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let writer = Arc::clone(self);
        running.push(thread::spawn("twal-writer", move || writer.run_writer()).map_err(failed)?);
        let keeper = Arc::clone(self);
        match thread::spawn("twal-keeper", move || keeper.run_keeper()) {
            Ok(handle) => running.push(handle),
            Err(error) => {
                drop(running);
                // Lets the writer go; the error to report is the thread's.
                let _ = self.close();
                return Err(failed(error));
            }
        }
        Ok(())
    }
}

/// Whether there is one file beyond the limit on the log's size.  One that is still larger had another limit.
fn is_beyond(directory: &Directory, config: &Config) -> Result<bool> {
    let Some(size_max) = config.log_size_max.filter(|_| config.log_size_policy == SizePolicy::Refuse) else {
        return Ok(false);
    };
    let taken = directory.size()?;
    Ok(taken > size_max && taken <= size_max.saturating_add(config.segment_size))
}

/// Takes over spares of earlier openings, up to as many as are wanted; removes the others.  Keeps room for names.
fn adopt(directory: &Directory, found: &[u64], config: &Config, clock: &Clock) -> Result<Vec<Spare>> {
    let mut ready = Vec::new();
    for &n in found {
        // On a full device the first ones are the room for the others' names.
        let has_names = directory.keep_room();
        if has_names && len_u64(ready.len()) < config.spares {
            ready.extend(spare::adopt(directory, n, config.segment_size, clock)?);
        } else if let Some(spare) = directory.open_spare(n)? {
            directory.remove_spare(spare)?;
        }
    }
    directory.keep_room();
    Ok(ready)
}
