//! The transaction manager of one open log: what happens is checked against the table, appended, and applied to it.
//!
//! The way of one call (`append.rs`), and what a failure leaves at each step:
//!
//! | step | where | what a crash or failure leaves |
//! |---|---|---|
//! | 1. the events are checked | under the lock | refused: nothing |
//! | 2. they are appended as one batch, without waiting | under the lock | no room: the lock is given up, then again from 1; any error: nothing |
//! | 3. they are applied to the table | under the lock | a crash: they are in the log or not, whole; nobody was told |
//! | 4. a decision, or what is to be durable by mode or override, is made durable | outside | an I/O failure: fate unknown until the next recovery, and the log takes nothing more |
//! | 5. the number is returned | | it is there after every crash, if step 4 waited for it |
//!
//! Order of the log = order in which the table took them, because steps 1 to 3 are one under the lock.
//!
//! Whoever is told something by the manager, a refusal included, is told nothing that a crash may take back and that
//! somebody may act on: a decision that another thread appended and that is not durable yet is waited for
//! (`query.rs`).  Else a participant could be told of an abort that recovery turns into a commit.  An end is no decision, and
//! nobody waits for it but who is shown it: a participant that hears of it forgets the operation's tokens, and must not
//! be asked for the same again.
//!
//! A checkpoint (`checkpoint.rs`):
//!
//! | step | what a crash leaves |
//! |---|---|
//! | 1. the table is appended as one record, under the lock | the checkpoint before counts, or the log's beginning |
//! | 2. that is made durable | from here on recovery begins at it |
//! | 3. the hold rises to the oldest record that is still needed | the same: holds are in memory |
//! | 4. what lies below is released, unless it is a recovery's | some segments are released, some not yet |
//!
//! Recovery (`recover.rs`) begins at the last checkpoint and never before it: of what lies in front of it, some may have
//! been released or dropped.

mod append;
mod calls;
mod checkpoint;
mod compact;
mod import;
mod inspect;
mod query;
mod recover;
mod streams;
mod waiting;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard};

use super::event::CHECKPOINT_SHORT;
use super::limits::STATE_BYTES_DEFAULT;
use super::plan::plan;
use super::resume::Resumes;
use super::{snapshot, Family, Table};
use crate::base::bytes::{len_u64, usize_of};
use crate::base::clock::Clock;
use crate::base::{Code, Error, Result};
use crate::log::Log;
use compact::Compactor;
use waiting::Waiting;

pub use calls::{Begun, SagaSpec};
pub use compact::{CompactionOptions, COMPACT_PERCENT_DEFAULT, COMPACT_RECORDS_DEFAULT};
pub use inspect::{inspect, Inspection};
pub use query::Counts;
pub use recover::Recovery;

/// Events from one automatic checkpoint to the next, unless told otherwise.
pub const CHECKPOINT_INTERVAL_DEFAULT: u64 = 1000;

/// How a manager works.  0 and false are the defaults.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ManagerOptions {
    /// Stream of the records that it writes.
    pub stream: u64,
    /// Events from one automatic checkpoint to the next; 0: [`CHECKPOINT_INTERVAL_DEFAULT`]; `u64::MAX`: none.
    pub checkpoint_interval: u64,
    /// Checkpoints release nothing: the history stays until the program trims.  For a log that also has records of
    /// the program's own: a release takes whole segments, whatever is in them.
    pub keep_records: bool,
    /// Sealed segments are compacted automatically, on a thread of the manager's: [`Manager::compact`], after a
    /// checkpoint, as soon as one of the next two says so.  Setting one of them asks for it, too.
    pub compact: bool,
    /// When so many percent of the log's records are needed no more; 0: [`COMPACT_PERCENT_DEFAULT`].  Of those that
    /// are needed no more only operations' are counted: how many a tombstone or purge drops is known when segments are read.
    pub compact_percent: u32,
    /// When so many records were sealed since the last compaction; 0: [`COMPACT_RECORDS_DEFAULT`].
    pub compact_records: u64,
}

/// Sagas and two-phase commits over an open log.  Any thread may call; a clone is another handle to the same one.
///
/// Its checkpoints release what they make needless, the program's own records in the same segments too, unless
/// [`ManagerOptions::keep_records`] says not to.
///
/// ```
/// use twal::txn::{Manager, ManagerOptions, SagaSpec, Step};
/// use twal::{Log, Options};
///
/// # fn main() -> Result<(), twal::Error> {
/// # let dir = std::env::temp_dir().join(format!("twal-doc-txn-{}", std::process::id()));
/// # let log = Log::open(&dir, &Options { allow_any_fs: true, ..Options::default() })?;
/// let (manager, found) = Manager::recover(&log, &ManagerOptions::default())?;
/// assert!(found.unfinished.is_empty());
/// let step = |index, depends_on| Step { index, action: 1, depends_on, payload: b"undo".to_vec() };
/// let steps = vec![step(1, vec![]), step(2, vec![1])];
/// let saga = manager.saga_create(&SagaSpec { steps, start: true, ..SagaSpec::default() })?;
/// // Step 1 is carried out here.
/// manager.saga_step_succeeded(saga.id, 1, None)?;
/// // A crash here: the next recovery says that step 2 is to be executed.
/// manager.saga_step_succeeded(saga.id, 2, None)?;
/// manager.saga_completed(saga.id, Some(true))?;
/// # log.close()?;
/// # std::fs::remove_dir_all(&dir).unwrap();
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Manager {
    pub(super) inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub(super) log: Log,
    pub(super) clock: Clock,
    options: ManagerOptions,
    /// Bytes that the table's state may take.
    state_max: usize,
    state: Mutex<State>,
    /// One checkpoint at a time: holds and trims of two would pass each other.
    checkpointing: Mutex<()>,
    /// What the log had counted when this manager was made.
    counted_before: Counts,
    pub(super) resumes: Arc<Resumes>,
    compactor: Arc<Compactor>,
    compacting: compact::Thread,
}

/// What changes, under one lock.
pub(super) struct State {
    pub(super) table: Table,
    /// Number of the last decision that was appended, or of the last checkpoint.
    decided_seq: u64,
    /// Number of the last event that was appended and ended an operation.
    ended_seq: u64,
    /// An import's markers are being written; else the table's is one that was abandoned.
    import_runs: bool,
    /// Operations that nobody runs: recovery found them unfinished, or an import brought them, and they are not ended.
    to_resume: BTreeSet<(Family, u64)>,
    /// Events since the last checkpoint.
    since_checkpoint: u64,
    /// Transactions that wait for votes.
    waiting: Waiting,
}

impl Drop for Inner {
    fn drop(&mut self) {
        compact::end(&self.compactor, &mut self.compacting);
        self.log.unclaim();
    }
}

impl Manager {
    /// A manager of a log that it has claimed; `table` is what its records say.
    fn new(log: &Log, clock: Clock, options: ManagerOptions, state_max: usize, table: Table) -> Manager {
        let to_resume = plan(&table).iter().map(|one| (one.family, one.id)).collect();
        let inner = Inner {
            log: log.clone(),
            clock,
            options,
            state_max,
            state: Mutex::new(State {
                table,
                decided_seq: 0,
                ended_seq: 0,
                import_runs: false,
                to_resume,
                since_checkpoint: 0,
                waiting: Waiting::default(),
            }),
            checkpointing: Mutex::new(()),
            counted_before: query::counted(log),
            resumes: Arc::default(),
            compactor: Arc::new(Compactor::new(log)),
            compacting: Mutex::default(),
        };
        Manager { inner: Arc::new(inner) }
    }

    /// The log that it writes.
    pub fn log(&self) -> &Log {
        &self.inner.log
    }

    /// In a forked child: frees what no thread of the parent may have left half changed; neither log nor disk notice.
    pub fn abandon_in_child(self) {
        // A lock that is held here is held for ever: its holder is in the parent, in the middle of a change.
        let thread = self.inner.compacting.try_lock().ok().map(|mut thread| thread.take());
        // The thread is in the parent, too: nobody waits for it here.
        let waits = thread.is_none();
        std::mem::forget(thread);
        if waits || self.inner.state.try_lock().is_err() {
            std::mem::forget(self);
        }
    }

    /// Refused when the log is poisoned or closed: whether the last events are in it is known after the next
    /// recovery, so nothing is said about them.
    fn lock(&self) -> Result<MutexGuard<'_, State>> {
        if let Some(trouble) = self.inner.log.trouble() {
            return Err(trouble);
        }
        self.inner.state.lock().map_err(|_| Error::new(Code::Panic, "a panic has left the transactions half changed"))
    }
}

/// Bytes that the table's state may take in this log: a checkpoint is one record.
fn state_max(log: &Log) -> Result<usize> {
    let largest = usize_of(log.record_size_max().min(len_u64(usize::MAX)));
    match largest.checked_sub(CHECKPOINT_SHORT) {
        Some(room) if room >= snapshot::HEADER_LEN => Ok(room.min(STATE_BYTES_DEFAULT)),
        _ => Err(Error::new(Code::Inval, format!("records of {largest} bytes cannot hold a checkpoint"))),
    }
}
