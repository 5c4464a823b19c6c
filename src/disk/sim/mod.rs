//! A disk in memory that fails the way disks and machines fail.
//!
//! [`SimDisk`] keeps the promises of [`Disk`], [`Dir`] and [`File`], and not one
//! more: whatever they leave open, a seed decides, in the way that hurts.  The
//! same seed and the same calls from one thread give the same disk.
//!
//! # What may go wrong
//!
//! | when | what | how |
//! |---|---|---|
//! | power cut | each tear unit (512 or 4096 bytes) of a file becomes any version it had since it was flushed, or the flushed one | [`SimDisk::power_cut`], [`SimDisk::set_tear_unit`], [`SimDisk::set_keep`] |
//! | power cut | a file's size and room are the flushed ones or any since | |
//! | power cut | each create, rename, remove since [`Dir::sync`] stays or is lost | rule below |
//! | kill | what was written stays, unflushed; what was in flight lands later | [`SimDisk::kill`], [`SimDisk::set_late_within`] |
//! | either | strikes in the middle of call n: a write lands in part, another call does or does not happen | [`SimDisk::stop_at`], [`SimDisk::restart`] |
//! | always | a DSYNC write flushes its own sectors, and the size up to its end; nothing else, no name | |
//! | planned | call k fails; a failed write leaves any part of itself, while others may pass it | [`SimDisk::fail_call`], [`SimDisk::fail_kind`], [`SimDisk::shorten_write`] |
//! | planned | a failed flush drops what it covered: no later flush makes it durable, whether reads see it or the bytes before it | [`SimDisk::fail_kind`] |
//! | planned | the disk is full | [`SimDisk::set_capacity`] |
//! | planned | flushes lie; a write is lost or lands elsewhere; reads fail, then succeed; bytes rot; files vanish, double, swap, shrink | [`SimDisk::lie_about_flushes`], [`SimDisk::lose_next_write`], … |
//! | planned | a reader sees a write in part; the second of two writes lands first | [`SimDisk::between_units`], [`SimDisk::behind_next_flush`], [`SimDisk::set_concurrency`] |
//!
//! **Names after a power cut.**  The changes since the last [`Dir::sync`] are
//! tried in order on the names that are durable.  Each stays or is lost; one
//! that stays but finds the names not as it needs them (its file not under the
//! old name, the new name taken) is lost too.  So a lost rename leaves the old
//! name, a lost creation takes the later rename of that file with it, a lost
//! removal brings the file back, a lost replacement or exchange leaves both names as they were, and no file has two
//! names, but for one that moves to another directory, between the flushes of the two.  Content belongs to the file, not
//! to the name.  [`File::sync`] flushes no name.
//!
//! **Lives.**  Everything opened belongs to the life of one process.  When that
//! ends, its handles answer EIO for ever, and its locks are gone, but for those
//! of a descriptor with a write still in flight: they go when it has landed.  A
//! late write lands on the file it was issued for, whatever its name is by then.
//!
//! Left to others: directories are durable once made and cannot be removed; a
//! failed [`Dir::sync`] leaves its changes pending; mapped memory, links, times
//! and modes do not exist.
#![forbid(unsafe_code)]

mod handle;
mod inode;
mod rng;
mod world;

use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use self::inode::Inode;
use self::rng::Rng;
use self::world::calls::Fault;
use self::world::names::Names;
use self::world::World;
use super::Disk;
#[cfg(doc)]
use super::{Dir, File};
use crate::base::clock::Clock;

/// How a life ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// The machine loses power: what is not flushed is at risk.
    PowerCut,
    /// The process is killed: what it wrote stays, what was in flight lands later.
    Kill,
}

/// What a power cut leaves of what is not flushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// Any subset, as the seed decides: each for itself, or everything up to
    /// some moment; all and nothing are drawn as well.
    Random,
    /// All of it.
    Everything,
    /// None of it.
    Nothing,
}

/// The calls of the disk's three traits, as counts and planned faults know them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum CallKind {
    /// [`Disk::open_dir`] of one that exists, or must.
    OpenDir,
    /// [`Disk::open_dir`] that makes the directory.
    MakeDir,
    /// [`Dir::list`].
    List,
    /// [`Dir::create`].
    Create,
    /// [`Dir::open`].
    Open,
    /// [`Dir::rename`], [`Dir::replace`], [`Dir::exchange`] and [`Dir::move_to`].
    Rename,
    /// [`Dir::remove`].
    Remove,
    /// [`Dir::sync`].
    DirSync,
    /// [`File::read_at`].
    Read,
    /// [`File::write_at`], durable or not.
    Write,
    /// [`File::sync`].
    Sync,
    /// [`File::allocate`] and [`File::truncate`].
    Allocate,
    /// [`File::size`], [`File::room`], [`File::written_until`] and [`File::data_from`].
    Stat,
    /// Locking and unlocking, of files and directories.
    Lock,
}

impl CallKind {
    /// Whether such a call changes the disk: it is a step.
    pub fn changes(self) -> bool {
        use CallKind::{Allocate, Create, DirSync, MakeDir, Remove, Rename, Sync, Write};
        matches!(self, MakeDir | Create | Rename | Remove | DirSync | Write | Sync | Allocate)
    }
}

/// Calls since the disk was made, failed ones too, those of dead lives not; and what power cuts did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    by_kind: [u64; 14],
    /// Creations, renames and removals that power cuts took back.
    pub names_lost: u64,
    /// Power cuts that left a file at a size older than its last.
    pub sizes_lost: u64,
    /// Power cuts that left a part of what a file had unflushed or in flight.
    pub files_torn: u64,
    /// Writes that asked to be durable; they count as writes too.
    pub durable_writes: u64,
    /// Bytes in all writes.
    pub bytes_written: u64,
}

impl Counts {
    /// Calls of one kind.
    pub fn of(&self, kind: CallKind) -> u64 {
        self.by_kind[kind as usize]
    }

    fn add(&mut self, kind: CallKind) {
        self.by_kind[kind as usize] += 1;
    }

    fn wrote(&mut self, bytes: u64, durable: bool) {
        self.bytes_written += bytes;
        self.durable_writes += u64::from(durable);
    }
}

/// Runs between two landings of a write, with the file's name and the offset of what landed.
pub type Hook = Box<dyn FnMut(&str, u64) + Send>;

/// Runs when a call was done and who called does not know yet.
pub type DoneHook = Box<dyn FnOnce() + Send>;

struct Shared {
    world: Mutex<World>,
    hook: Mutex<Option<Hook>>,
    flush_hook: Mutex<Option<DoneHook>>,
    open_hook: Mutex<Option<DoneHook>>,
    /// Whether a hook is set, even while it runs; writes of its own do not call it.
    hooked: AtomicBool,
    concurrent: AtomicBool,
    /// Writes that came in; a write that lets others pass waits for it to rise.
    arrivals: AtomicU64,
}

impl Shared {
    fn world(&self) -> MutexGuard<'_, World> {
        // A test that panics must not hide its reason behind a second panic.
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Calls what was to be called once, if anything was.
    fn done(hook: &Mutex<Option<DoneHook>>) {
        // A statement of its own: the hook may come here, too.
        let hook = hook.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(hook) = hook {
            hook();
        }
    }
}

/// The simulated disk.  Clones are the same disk; any thread may use it.
#[derive(Clone)]
pub struct SimDisk {
    shared: Arc<Shared>,
}

impl std::fmt::Debug for SimDisk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SimDisk at step {}", self.steps())
    }
}

impl SimDisk {
    /// An empty disk without limits and faults, on which `seed` decides what is left open.
    pub fn new(seed: u64) -> Arc<Self> {
        Self::around(World::new(seed))
    }

    fn around(world: World) -> Arc<Self> {
        Arc::new(SimDisk {
            shared: Arc::new(Shared {
                world: Mutex::new(world),
                hook: Mutex::new(None),
                flush_hook: Mutex::new(None),
                open_hook: Mutex::new(None),
                hooked: AtomicBool::new(false),
                concurrent: AtomicBool::new(false),
                arrivals: AtomicU64::new(0),
            }),
        })
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.shared.world()
    }

    /// A disk of its own, in the same state, where `seed` decides from here on.  What power cuts did is counted anew.
    /// Handles stay with the original: end the fork's life first.
    pub fn fork(&self, seed: u64) -> Arc<Self> {
        let mut world = self.world().clone();
        world.rng = Rng::new(seed);
        (world.counts.names_lost, world.counts.sizes_lost, world.counts.files_torn) = (0, 0, 0);
        Self::around(world)
    }

    /// `seed` decides from here on what is left open, whatever was drawn before.
    pub fn reseed(&self, seed: u64) {
        self.world().rng = Rng::new(seed);
    }

    // ---- What it is ----

    /// Attaches the simulated time at which late writes land.
    pub fn with_clock(self: Arc<Self>, clock: Clock) -> Arc<Self> {
        self.world().clock = Some(clock);
        self
    }

    /// What offsets and lengths (multiples of 512), and addresses must be
    /// multiples of; 512 and 1 at first.  Directories opened later say so.
    pub fn set_align(&self, block: u32, mem: u32) {
        assert!(block > 0 && block.is_multiple_of(512) && mem > 0, "sectors are 512 bytes");
        let mut world = self.world();
        (world.block_align, world.mem_align) = (block, mem);
    }

    /// What a power cut and a stop keep or lose as a whole, bytes: a multiple of 512, 512 at first.
    pub fn set_tear_unit(&self, bytes: u32) {
        assert!(bytes > 0 && bytes.is_multiple_of(512), "sectors are 512 bytes");
        self.world().tear_sectors = u64::from(bytes / 512);
    }

    /// What power cuts leave of what is not flushed.
    pub fn set_keep(&self, keep: Keep) {
        self.world().keep = keep;
    }

    /// How much room the files may take, bytes; None: any.  Taken in units of
    /// 4096 by allocation, or by a write beyond what is allocated, and given
    /// back when a file has neither name nor opener.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.world().capacity = bytes;
    }

    /// Room that the files take, bytes.
    pub fn room_taken(&self) -> u64 {
        self.world().room_taken()
    }

    /// Within how many calls (any) or simulated nanoseconds a late write lands,
    /// whichever is first; 32 calls or 1 s at first, and no time without a clock.
    pub fn set_late_within(&self, calls: u64, ns: u64) {
        self.world().late_within = (calls, ns);
    }

    // ---- Lives ----

    /// Cuts the power and begins the next life.
    pub fn power_cut(&self) {
        self.world().power_cut();
    }

    /// Kills the process and begins the next life.  Only writes that other
    /// threads are in, or that a stop cut, are in flight.
    pub fn kill(&self) {
        self.world().kill();
    }

    /// Ends the life in the middle of the call that begins when
    /// [`SimDisk::steps`] is `step`.  It and all later calls answer EIO until
    /// [`SimDisk::restart`].
    pub fn stop_at(&self, step: u64, stop: Stop) {
        self.world().stop = Some((step, stop));
    }

    /// Begins the next life; a life that was not stopped yet is killed.  True:
    /// a stop had struck.
    pub fn restart(&self) -> bool {
        let mut world = self.world();
        let stopped = world.is_down();
        world.restart();
        stopped
    }

    /// Whether a stop has struck and nobody restarted since.
    pub fn is_down(&self) -> bool {
        self.world().is_down()
    }

    /// How many calls that change the disk were made, in all lives.
    pub fn steps(&self) -> u64 {
        self.world().steps
    }

    /// Writes of dead lives that have yet to land.
    pub fn late_writes(&self) -> usize {
        self.world().late_writes()
    }

    /// Lands them now.
    pub fn land_late_writes(&self) {
        self.world().land_late(|_| true);
    }

    /// Panics at the call after the next `calls`: whoever comes so far would go on for ever.
    pub fn limit_calls(&self, calls: u64) {
        let mut world = self.world();
        world.calls_max = world.calls.saturating_add(calls);
    }

    /// Files and directories that are open now.
    pub fn open_handles(&self) -> usize {
        self.world().open_handles()
    }

    // ---- Planned faults ----

    fn plan(&self, kind: Option<CallKind>, k: u64, errno: i32, short: bool, forever: bool) {
        self.world().faults.push(Fault { kind, left: k, errno, short, forever });
    }

    /// The call after the next `k` calls of any kind fails with `errno`; 0: the next.
    pub fn fail_call(&self, k: u64, errno: i32) {
        self.plan(None, k, errno, false, false);
    }

    /// The call after the next `k` calls of that kind fails with `errno`; 0: the next.
    pub fn fail_kind(&self, kind: CallKind, k: u64, errno: i32) {
        self.plan(Some(kind), k, errno, false, false);
    }

    /// Every call of that kind (None: of any) after the next `k` fails with
    /// `errno`, until [`SimDisk::clear_faults`].
    pub fn fail_from(&self, kind: Option<CallKind>, k: u64, errno: i32) {
        self.plan(kind, k, errno, false, true);
    }

    /// The write after the next `k` writes lands a prefix only, and fails with `errno`.
    pub fn shorten_write(&self, k: u64, errno: i32) {
        self.plan(Some(CallKind::Write), k, errno, true, false);
    }

    /// The next `times` reads of any byte in `range` fail; one that is written again is whole.  Panics without such a
    /// file.
    pub fn fail_reads(&self, name: &str, range: Range<u64>, times: u64, errno: i32) {
        self.world().spoil_reads(name, range, times, errno);
    }

    /// The next write is acknowledged and never lands.
    pub fn lose_next_write(&self) {
        self.world().lose_writes += 1;
    }

    /// The next write lands `by` bytes off (in whole sectors, and in the file) and is acknowledged.
    pub fn misdirect_next_write(&self, by: i64) {
        self.world().misdirect.push_back(by);
    }

    /// Acknowledges flushes of files and directories, and durable writes,
    /// without making anything durable: what no log can survive.
    pub fn lie_about_flushes(&self, lies: bool) {
        self.world().lies = lies;
    }

    /// Forgets every planned failure of calls, reads and writes.
    pub fn clear_faults(&self) {
        self.world().forget_faults();
    }

    // ---- Damage behind everybody's back, durable at once ----
    // A bare name is in the directory that was opened first, others are paths.
    // A missing file is a mistake in the test: these panic.

    /// Flips a bit (0 to 7), in every version of it that there is.
    pub fn flip_bit(&self, name: &str, offset: u64, bit: u8) {
        self.world().find_mut(name).edit(offset, &[1 << bit], |old, flip| old ^ flip);
    }

    /// Replaces bytes, in every version of them that there is.
    pub fn overwrite(&self, name: &str, offset: u64, bytes: &[u8]) {
        self.world().find_mut(name).edit(offset, bytes, |_, new| new);
    }

    /// Makes a file shorter or longer.
    pub fn set_size(&self, name: &str, bytes: u64) {
        self.world().find_mut(name).force_size(bytes);
    }

    /// Puts a file there, in place of what may be; the names that are pending become durable.
    pub fn put_file(&self, name: &str, bytes: &[u8]) {
        let mut inode = Inode::default();
        inode.grow(crate::base::bytes::len_u64(bytes.len()), 0);
        inode.land(&(0..).zip(inode::sectors_of(bytes)).collect::<Vec<_>>(), 0, false);
        self.world().put(name, inode);
    }

    /// Puts something there that is no file, in place of what may be; the names that are pending become durable.
    pub fn put_what_is_no_file(&self, name: &str) {
        self.world().put(name, Inode::no_file());
    }

    /// Copies what reads see of a file; the names that are pending become durable.
    pub fn copy_file(&self, from: &str, to: &str) {
        let mut world = self.world();
        let inode = world.find_mut(from).clone();
        world.put(to, inode);
    }

    /// Removes a file; the names that are pending become durable.
    pub fn remove_file(&self, name: &str) {
        self.world().remove_file(name);
    }

    /// Swaps the names of two files; the names that are pending become durable.
    pub fn swap_files(&self, one: &str, other: &str) {
        self.world().swap_files(one, other);
    }

    // ---- Several threads ----

    /// Lets a write wait for a few others to come, as the seed decides and for
    /// a bounded time, and land unit by unit in any order, so that the second
    /// may land first.  What happens then is up to the threads as well.
    pub fn set_concurrency(&self, on: bool) {
        // Relaxed: no memory is published by it.
        self.shared.concurrent.store(on, std::sync::atomic::Ordering::Relaxed);
    }

    /// Calls `hook` whenever one tear unit of a write landed and others have
    /// yet to, with the file's name and the offset of the unit; it may use the
    /// disk, end the life too.  Units land in any order then.
    pub fn between_units(&self, hook: Option<Hook>) {
        self.shared.hooked.store(hook.is_some(), std::sync::atomic::Ordering::Relaxed);
        *self.shared.hook.lock().unwrap_or_else(PoisonError::into_inner) = hook;
    }

    /// Calls `hook` behind the next flush of a file, before that returns: what is written there is not covered by it.
    pub fn behind_next_flush(&self, hook: DoneHook) {
        *self.shared.flush_hook.lock().unwrap_or_else(PoisonError::into_inner) = Some(hook);
    }

    /// Calls `hook` behind the next open of a file, before that returns: the name may be another file's then.
    pub fn behind_next_open(&self, hook: DoneHook) {
        *self.shared.open_hook.lock().unwrap_or_else(PoisonError::into_inner) = Some(hook);
    }

    // ---- Looking ----

    fn names_of(&self, dir: Option<&Path>, names: impl Fn(&Names) -> Vec<String>) -> Vec<String> {
        self.world().dir_names(dir).map_or(Vec::new(), names)
    }

    /// The names in the directory that was opened first, sorted.
    pub fn names(&self) -> Vec<String> {
        self.names_of(None, |names| names.visible.keys().cloned().collect())
    }

    /// The names in `dir`, sorted.
    pub fn names_in(&self, dir: &Path) -> Vec<String> {
        self.names_of(Some(dir), |names| names.visible.keys().cloned().collect())
    }

    /// The names that are durable in the directory that was opened first, sorted.
    pub fn durable_names(&self) -> Vec<String> {
        self.names_of(None, |names| names.durable.keys().cloned().collect())
    }

    /// How many things in `dir` are no files.
    pub fn count_what_is_no_file(&self, dir: &Path) -> usize {
        let world = self.world();
        let is_no_file = |name: &&String| {
            world.find(&format!("{}/{name}", dir.display()), false).is_some_and(|inode| inode.is_no_file)
        };
        world.dir_names(Some(dir)).map_or(0, |names| names.visible.keys().filter(is_no_file).count())
    }

    /// What reads see of a file; None: there is none.
    pub fn content(&self, name: &str) -> Option<Vec<u8>> {
        self.world().find(name, false).map(Inode::content)
    }

    /// What is left of a file for certain, whatever happens; None: its name is not durable.
    pub fn durable_content(&self, name: &str) -> Option<Vec<u8>> {
        self.world().find(name, true).map(Inode::durable_content)
    }

    /// Offsets of the sectors of a file that a power cut may take back; empty without such a file.
    pub fn unflushed_sectors(&self, name: &str) -> Vec<u64> {
        self.world().find(name, false).map_or(Vec::new(), Inode::unflushed)
    }

    /// How many calls of each kind there were.
    pub fn counts(&self) -> Counts {
        self.world().counts.clone()
    }

    /// The last calls, one a line, for a seed that failed.
    pub fn trace(&self) -> String {
        self.world().trace()
    }
}
