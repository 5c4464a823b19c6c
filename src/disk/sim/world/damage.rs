//! What tests do behind everybody's back: look at files, damage and move them.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::names::Names;
use super::World;
use crate::disk::sim::inode::Inode;

#[derive(Debug, Clone)]
pub(super) struct BadPlace {
    pub(super) ino: u64,
    pub(super) range: Range<u64>,
    pub(super) left: u64,
    pub(super) errno: i32,
}

impl World {
    /// The directory and the name that a test means by `path`: a bare name is
    /// in the directory that was opened first.
    fn locate<'a>(&self, path: &'a str) -> Option<(PathBuf, &'a str)> {
        match path.rsplit_once('/') {
            Some((dir, name)) => Some((PathBuf::from(dir), name)),
            None => Some((self.home.clone()?, path)),
        }
    }

    pub(in crate::disk::sim) fn dir_names(&self, dir: Option<&Path>) -> Option<&Names> {
        self.dirs.get(dir.or(self.home.as_deref())?)
    }

    /// The file of that name, as it is or as it is durably.
    pub(in crate::disk::sim) fn find(&self, path: &str, durable: bool) -> Option<&Inode> {
        let (dir, name) = self.locate(path)?;
        let names = self.dirs.get(&dir)?;
        self.inodes.get(if durable { &names.durable } else { &names.visible }.get(name)?)
    }

    fn ino(&self, path: &str) -> u64 {
        let found = self.locate(path).and_then(|(dir, name)| self.dirs.get(&dir)?.visible.get(name).copied());
        found.unwrap_or_else(|| panic!("no file {path} on the simulated disk"))
    }

    pub(in crate::disk::sim) fn find_mut(&mut self, path: &str) -> &mut Inode {
        self.inode(self.ino(path))
    }

    pub(in crate::disk::sim) fn spoil_reads(&mut self, path: &str, range: Range<u64>, times: u64, errno: i32) {
        let ino = self.ino(path);
        self.bad_places.push(BadPlace { ino, range, left: times, errno });
    }

    /// A sector that is written again can be read again: drives put another in its place.
    pub(super) fn heal(&mut self, ino: u64, written: &Range<u64>) {
        if self.bad_places.is_empty() {
            return;
        }
        for bad in std::mem::take(&mut self.bad_places) {
            let Range { start, end } = bad.range;
            let in_front = start..end.min(written.start);
            let behind = start.max(written.end)..end;
            if bad.ino != ino || (in_front.end == end || behind.start == start) {
                self.bad_places.push(bad);
                continue;
            }
            let parts = [in_front, behind].into_iter().filter(|range| !range.is_empty());
            self.bad_places.extend(parts.map(|range| BadPlace { range, ..bad.clone() }));
        }
    }

    pub(in crate::disk::sim) fn forget_faults(&mut self) {
        self.faults.clear();
        self.bad_places.clear();
        self.misdirect.clear();
        self.lose_writes = 0;
    }

    /// Changes the names of `path`'s directory behind everybody's back,
    /// durably, with everything in it that was pending.
    fn force_names(&mut self, path: &str, change: impl FnOnce(&mut BTreeMap<String, u64>, &str)) {
        let (dir, name) = self.locate(path).expect("a directory was opened");
        let names = self.dirs.get_mut(&dir).expect("the directory exists");
        change(&mut names.visible, name);
        names.sync();
    }

    /// Puts a durable file at `path`, in place of what may be there.
    pub(in crate::disk::sim) fn put(&mut self, path: &str, mut inode: Inode) {
        path.rsplit('/').next().unwrap_or(path).clone_into(&mut inode.label);
        inode.settle();
        let ino = self.fresh();
        self.inodes.insert(ino, inode);
        self.force_names(path, |names, name| {
            names.insert(name.to_owned(), ino);
        });
        self.forget_unreachable();
    }

    pub(in crate::disk::sim) fn remove_file(&mut self, path: &str) {
        self.ino(path);
        self.force_names(path, |names, name| {
            names.remove(name);
        });
        self.forget_unreachable();
    }

    pub(in crate::disk::sim) fn swap_files(&mut self, one: &str, other: &str) {
        let (one_ino, other_ino) = (self.ino(one), self.ino(other));
        for (path, ino) in [(one, other_ino), (other, one_ino)] {
            self.force_names(path, |names, name| {
                names.insert(name.to_owned(), ino);
            });
            let label = path.rsplit('/').next().unwrap_or(path);
            label.clone_into(&mut self.inode(ino).label);
        }
    }
}
