//! Open files: looks at them, reads, flushes and sizes.
#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::io;

use super::calls::Verdict;
use super::damage::BadPlace;
use super::{errno, World};
use crate::base::bytes::len_u64;
use crate::disk::sim::inode::Inode;
use crate::disk::sim::CallKind;
use crate::disk::Access;

#[derive(Debug, Clone)]
pub(super) struct OpenFile {
    pub(super) ino: u64,
    pub(super) access: Access,
}

impl World {
    pub(super) fn open_file(&mut self, ino: u64, access: Access) -> u64 {
        let id = self.fresh();
        self.files.insert(id, OpenFile { ino, access });
        id
    }

    pub(super) fn inode(&mut self, ino: u64) -> &mut Inode {
        self.inodes.get_mut(&ino).expect("what is open or has a name exists")
    }

    pub(super) fn label(&self, file: u64) -> String {
        let ino = self.files.get(&file).map(|file| file.ino);
        ino.and_then(|ino| self.inodes.get(&ino)).map_or(String::new(), |inode| inode.label.clone())
    }

    pub(in crate::disk::sim) fn look<T>(&mut self, file: u64, answer: impl FnOnce(&Inode) -> T) -> io::Result<T> {
        let name = self.label(file);
        self.call(CallKind::Stat, self.files.contains_key(&file), &name, |world| {
            let ino = world.files[&file].ino;
            Ok(answer(world.inode(ino)))
        })
    }

    pub(in crate::disk::sim) fn identity(&mut self, file: u64) -> io::Result<(u64, u64)> {
        let name = self.label(file);
        self.call(CallKind::Stat, self.files.contains_key(&file), &name, |world| Ok((1, world.files[&file].ino)))
    }

    pub(in crate::disk::sim) fn count_names(&mut self, file: u64) -> io::Result<u64> {
        let name = self.label(file);
        self.call(CallKind::Stat, self.files.contains_key(&file), &name, |world| {
            let ino = world.files[&file].ino;
            let names = world.dirs.values().flat_map(|names| names.visible.values());
            Ok(len_u64(names.filter(|&&named| named == ino).count()))
        })
    }

    pub(super) fn is_aligned(&self, address: usize, len: u64, offset: u64) -> bool {
        let block = u64::from(self.block_align);
        len_u64(address).is_multiple_of(u64::from(self.mem_align))
            && len.is_multiple_of(block)
            && offset.is_multiple_of(block)
            && offset.checked_add(len).is_some_and(|end| i64::try_from(end).is_ok())
    }

    pub(in crate::disk::sim) fn read(&mut self, file: u64, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let (name, len) = (self.label(file), len_u64(buf.len()));
        let result = match self.enter(CallKind::Read, self.files.contains_key(&file)) {
            Verdict::Dead => return errno(libc::EIO),
            Verdict::Fail { errno: code, .. } => errno(code),
            Verdict::Stop(_) => unreachable!("a read changes nothing"),
            Verdict::Go if !self.is_aligned(buf.as_ptr().addr(), len, offset) => errno(libc::EINVAL),
            Verdict::Go => {
                let ino = self.files[&file].ino;
                let hit = |bad: &&mut BadPlace| {
                    bad.ino == ino && bad.left > 0 && bad.range.start < offset + len && offset < bad.range.end
                };
                match self.bad_places.iter_mut().find(hit) {
                    Some(bad) => {
                        bad.left -= 1;
                        errno(bad.errno)
                    }
                    None => Ok(self.inode(ino).read(buf, offset)),
                }
            }
        };
        self.note(CallKind::Read, &name, Some((offset, len)), &result);
        result
    }

    pub(in crate::disk::sim) fn sync(&mut self, file: u64) -> io::Result<()> {
        let name = self.label(file);
        let work = |world: &mut World| {
            if !world.lies {
                world.inode(world.files[&file].ino).sync();
            }
            Ok(())
        };
        let fail = |world: &mut World| {
            let mut rng = world.rng.clone();
            world.inode(world.files[&file].ino).fail_sync(&mut rng);
            world.rng = rng;
        };
        self.call_or(CallKind::Sync, self.files.contains_key(&file), &name, work, fail)
    }

    pub(in crate::disk::sim) fn allocate(&mut self, file: u64, size: u64) -> io::Result<()> {
        self.resize(file, |world, ino, stamp| {
            world.take_room(ino, size)?;
            world.inode(ino).grow(size, stamp);
            Ok(())
        })
    }

    pub(in crate::disk::sim) fn truncate(&mut self, file: u64, size: u64) -> io::Result<()> {
        self.resize(file, |world, ino, stamp| {
            world.inode(ino).shrink(size, stamp);
            Ok(())
        })
    }

    pub(super) fn resize(
        &mut self,
        file: u64,
        change: impl FnOnce(&mut World, u64, u64) -> io::Result<()>,
    ) -> io::Result<()> {
        let name = self.label(file);
        self.call(CallKind::Allocate, self.files.contains_key(&file), &name, |world| {
            let OpenFile { ino, access } = world.files[&file].clone();
            if access != Access::Write {
                return errno(libc::EBADF);
            }
            let stamp = world.fresh();
            change(world, ino, stamp)
        })
    }

    pub(in crate::disk::sim) fn open_handles(&self) -> usize {
        self.files.len() + self.open_dirs.len()
    }

    /// Closes a descriptor.  The locks of one whose write is still in flight stay.
    pub(in crate::disk::sim) fn close(&mut self, id: u64) {
        self.open_dirs.remove(&id);
        if self.files.remove(&id).is_some() {
            self.forget_unreachable();
        }
        self.drop_locks_of_the_dead();
    }

    pub(super) fn forget_unreachable(&mut self) {
        let mut inos: BTreeSet<u64> = self.files.values().map(|file| file.ino).collect();
        inos.extend(self.flights.values().map(|flight| flight.ino));
        for names in self.dirs.values() {
            inos.extend(names.visible.values().chain(names.durable.values()));
            inos.extend(names.journal.iter().map(|(_, op)| op.ino()));
        }
        self.inodes.retain(|ino, _| inos.contains(ino));
    }
}
