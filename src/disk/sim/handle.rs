//! The three traits over the simulated world: open directories and files.
#![forbid(unsafe_code)]

use std::any::Any;
use std::io;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use super::{Disk, Shared, SimDisk};
use crate::disk::{Access, Cache, Dir, Durable, Facts, File, LockByte, LockKind};

/// How often a write that lets others pass looks for them before it goes on.
const YIELDS_MAX: u32 = 100;

impl Disk for SimDisk {
    fn open_dir(&self, path: &Path, create: bool) -> io::Result<Arc<dyn Dir>> {
        let mut world = self.shared.world();
        let id = world.open_dir(path, create)?;
        let facts = Facts {
            engine: "simulated",
            reason: "asked for by name".to_owned(),
            cache: Cache::Volatile,
            file_system: "simulated".to_owned(),
            block_align: world.block_align,
            mem_align: world.mem_align,
            direct: true,
            // Who calls when is the seed's to say.
            read_ahead: false,
        };
        drop(world);
        Ok(Arc::new(SimDir { shared: Arc::clone(&self.shared), id, facts }))
    }
}

struct SimDir {
    shared: Arc<Shared>,
    id: u64,
    facts: Facts,
}

impl SimDir {
    fn file(&self, id: u64) -> Arc<dyn File> {
        Arc::new(SimFile { shared: Arc::clone(&self.shared), id })
    }
}

impl Drop for SimDir {
    fn drop(&mut self) {
        self.shared.world().close(self.id);
    }
}

impl Dir for SimDir {
    fn list(&self) -> io::Result<Vec<String>> {
        self.shared.world().list(self.id)
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let id = self.shared.world().create(self.id, name)?;
        Ok(self.file(id))
    }

    fn open(&self, name: &str, access: Access) -> io::Result<Arc<dyn File>> {
        let id = self.shared.world().open(self.id, name, access)?;
        Shared::done(&self.shared.open_hook);
        Ok(self.file(id))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.shared.world().rename(self.id, from, to)
    }

    fn replace(&self, from: &str, over: &str) -> io::Result<()> {
        self.shared.world().replace(self.id, from, over)
    }

    fn exchange(&self, one: &str, other: &str) -> io::Result<()> {
        self.shared.world().exchange(self.id, one, other)
    }

    fn move_to(&self, name: &str, to: &dyn Dir, new: &str) -> io::Result<()> {
        match (to as &dyn Any).downcast_ref::<SimDir>().filter(|to| Arc::ptr_eq(&to.shared, &self.shared)) {
            Some(to) => self.shared.world().move_to(self.id, name, to.id, new),
            None => super::world::errno(libc::EXDEV),
        }
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.shared.world().remove(self.id, name)
    }

    fn sync(&self) -> io::Result<()> {
        self.shared.world().sync_dir(self.id)
    }

    fn try_lock(&self, kind: LockKind) -> io::Result<bool> {
        self.shared.world().lock_dir(self.id, kind)
    }

    fn unlock(&self) -> io::Result<()> {
        self.shared.world().unlock_dir(self.id)
    }

    fn is_around(&self, path: &Path) -> bool {
        self.shared.world().is_within(path, self.id)
    }

    fn facts(&self) -> &Facts {
        &self.facts
    }

    /// Names take no room here.
    fn keep_room(&self) -> bool {
        true
    }

    fn give_room(&self) -> bool {
        false
    }

    fn abandon(&self) {}
}

struct SimFile {
    shared: Arc<Shared>,
    id: u64,
}

impl Drop for SimFile {
    fn drop(&mut self) {
        self.shared.world().close(self.id);
    }
}

impl SimFile {
    /// Lets a seeded number of other writes come in first, or gives up soon.
    fn let_others_pass(&self) {
        // Relaxed throughout: the world's lock orders what the writes do.
        let arrived = self.shared.arrivals.fetch_add(1, Ordering::Relaxed) + 1;
        let awaited = arrived + self.shared.world().rng.below(3);
        for _ in 0..YIELDS_MAX {
            if self.shared.arrivals.load(Ordering::Relaxed) >= awaited {
                return;
            }
            std::thread::yield_now();
        }
    }

    /// Runs the hook, unless this is a write of the hook's own.
    fn call_hook(&self, name: &str, offset: u64) {
        let hook = || self.shared.hook.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(mut run) = hook().take() else { return };
        run(name, offset);
        // Without the lock while it runs; it may have been taken back meanwhile.
        if self.shared.hooked.load(Ordering::Relaxed) {
            hook().get_or_insert(run);
        }
    }
}

impl File for SimFile {
    fn size(&self) -> io::Result<u64> {
        self.shared.world().look(self.id, super::Inode::size)
    }

    fn room(&self) -> io::Result<u64> {
        self.shared.world().look(self.id, super::Inode::room)
    }

    fn names(&self) -> io::Result<u64> {
        self.shared.world().count_names(self.id)
    }

    fn identity(&self) -> io::Result<(u64, u64)> {
        self.shared.world().identity(self.id)
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.shared.world().read(self.id, buf, offset)
    }

    fn write_at(&self, buf: &[u8], offset: u64, durable: Durable) -> io::Result<()> {
        let concurrent = self.shared.concurrent.load(Ordering::Relaxed);
        let slow = concurrent || self.shared.hooked.load(Ordering::Relaxed);
        if concurrent {
            self.let_others_pass();
        }
        let mut world = self.shared.world();
        let Some(flight) = world.begin_write(self.id, buf, offset, durable, slow)? else { return Ok(()) };
        if !slow {
            world.land_whole(flight);
            return Ok(());
        }
        drop(world);
        loop {
            // A statement of its own: the lock is free while the others run.
            let landed = self.shared.world().land_unit(flight);
            let (name, offset, last) = landed?;
            if last {
                return Ok(());
            }
            self.call_hook(&name, offset);
            if concurrent {
                std::thread::yield_now();
            }
        }
    }

    fn sync(&self) -> io::Result<()> {
        let done = self.shared.world().sync(self.id);
        Shared::done(&self.shared.flush_hook);
        done
    }

    fn allocate(&self, size: u64) -> io::Result<()> {
        self.shared.world().allocate(self.id, size)
    }

    fn truncate(&self, size: u64) -> io::Result<()> {
        self.shared.world().truncate(self.id, size)
    }

    fn written_until(&self, offset: u64) -> io::Result<u64> {
        self.shared.world().look(self.id, |inode| inode.written_until(offset))
    }

    fn data_from(&self, offset: u64) -> io::Result<u64> {
        self.shared.world().look(self.id, |inode| inode.data_from(offset))
    }

    fn try_lock(&self, byte: LockByte, kind: LockKind) -> io::Result<bool> {
        self.shared.world().lock_file(self.id, byte, kind)
    }

    fn unlock(&self, byte: LockByte) -> io::Result<()> {
        self.shared.world().unlock_file(self.id, byte)
    }

    fn is_locked(&self, byte: LockByte) -> io::Result<bool> {
        self.shared.world().is_locked(self.id, byte)
    }
}
