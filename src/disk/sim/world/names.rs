//! Directories: what names there are, and which changes of them are not flushed yet.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use super::{errno, World};
use crate::disk::sim::inode::Inode;
use crate::disk::sim::CallKind;
use crate::disk::Access;

/// A change of a directory.  Each carries its file, so that one that is lost
/// cannot lose the content with it.
#[derive(Debug, Clone)]
pub(super) enum NameOp {
    Create {
        name: String,
        ino: u64,
    },
    Rename {
        from: String,
        to: String,
        ino: u64,
    },
    Replace {
        from: String,
        over: String,
        ino: u64,
        was: u64,
    },
    Remove {
        name: String,
        ino: u64,
    },
    Exchange {
        one: String,
        other: String,
        inos: [u64; 2],
    },
    /// The two halves of a move to another directory, with one stamp: both stay or both are lost.
    MoveIn {
        name: String,
        ino: u64,
    },
    MoveOut {
        name: String,
        ino: u64,
    },
}

impl NameOp {
    pub(super) fn ino(&self) -> u64 {
        match self {
            NameOp::Create { ino, .. }
            | NameOp::Rename { ino, .. }
            | NameOp::Replace { ino, .. }
            | NameOp::Remove { ino, .. }
            | NameOp::Exchange { inos: [ino, _], .. }
            | NameOp::MoveIn { ino, .. }
            | NameOp::MoveOut { ino, .. } => *ino,
        }
    }

    pub(super) fn is_move(&self) -> bool {
        matches!(self, NameOp::MoveIn { .. } | NameOp::MoveOut { .. })
    }

    /// Applies the change if the names still are as it needs them.
    pub(super) fn apply(&self, names: &mut BTreeMap<String, u64>) {
        match self {
            NameOp::Create { name, ino } | NameOp::MoveIn { name, ino } => {
                names.entry(name.clone()).or_insert(*ino);
            }
            NameOp::Rename { from, to, ino } => {
                if names.get(from) == Some(ino) && !names.contains_key(to) {
                    names.remove(from);
                    names.insert(to.clone(), *ino);
                }
            }
            NameOp::Replace { from, over, ino, was } => {
                if names.get(from) == Some(ino) && names.get(over) == Some(was) {
                    names.remove(from);
                    names.insert(over.clone(), *ino);
                }
            }
            NameOp::Remove { name, ino } | NameOp::MoveOut { name, ino } => {
                if names.get(name) == Some(ino) {
                    names.remove(name);
                }
            }
            NameOp::Exchange { one, other, inos } => {
                if names.get(one) == Some(&inos[0]) && names.get(other) == Some(&inos[1]) {
                    names.insert(one.clone(), inos[1]);
                    names.insert(other.clone(), inos[0]);
                }
            }
        }
    }
}

#[derive(Debug, Clone, Default)]
pub(in crate::disk::sim) struct Names {
    pub(in crate::disk::sim) visible: BTreeMap<String, u64>,
    pub(in crate::disk::sim) durable: BTreeMap<String, u64>,
    /// What led from `durable` to `visible`, with the stamp of each, in order.
    pub(super) journal: Vec<(u64, NameOp)>,
}

impl Names {
    pub(in crate::disk::sim) fn sync(&mut self) {
        self.durable = self.visible.clone();
        self.journal.clear();
    }
}

impl World {
    pub(in crate::disk::sim) fn open_dir(&mut self, path: &Path, create: bool) -> io::Result<u64> {
        let missing = !self.dirs.contains_key(path);
        let kind = if missing && create { CallKind::MakeDir } else { CallKind::OpenDir };
        self.call(kind, true, &path.to_string_lossy(), |world| {
            if missing {
                world.may_make_dir(path, create)?;
                world.dirs.insert(path.to_owned(), Names::default());
                world.home.get_or_insert_with(|| path.to_owned());
            }
            let id = world.fresh();
            world.open_dirs.insert(id, path.to_owned());
            Ok(id)
        })
    }

    pub(super) fn may_make_dir(&self, path: &Path, create: bool) -> io::Result<()> {
        let parent = path.parent().unwrap_or(Path::new(""));
        let name = path.file_name().map_or(String::new(), |name| name.to_string_lossy().into_owned());
        if self.dirs.get(parent).is_some_and(|names| names.visible.contains_key(&name)) {
            return errno(libc::ENOTDIR);
        }
        // The root and the working directory are always there.
        let known = parent.parent().is_none() || self.dirs.contains_key(parent);
        if !create || !known || name.is_empty() {
            return errno(libc::ENOENT);
        }
        Ok(())
    }

    /// Whether `path` is that of the open directory, or below it.
    pub(in crate::disk::sim) fn is_within(&self, path: &Path, dir: u64) -> bool {
        path.starts_with(&self.open_dirs[&dir])
    }

    pub(super) fn names(&mut self, dir: u64) -> &mut Names {
        let path = &self.open_dirs[&dir];
        self.dirs.get_mut(path).expect("an open directory exists")
    }

    pub(super) fn in_dir<T>(
        &mut self,
        dir: u64,
        kind: CallKind,
        name: &str,
        work: impl FnOnce(&mut World) -> io::Result<T>,
    ) -> io::Result<T> {
        self.call(kind, self.open_dirs.contains_key(&dir), name, work)
    }

    pub(in crate::disk::sim) fn list(&mut self, dir: u64) -> io::Result<Vec<String>> {
        self.in_dir(dir, CallKind::List, "", |world| {
            let mut names: Vec<String> = world.names(dir).visible.keys().cloned().collect();
            world.rng.shuffle(&mut names); // the trait promises no order
            Ok(names)
        })
    }

    pub(in crate::disk::sim) fn create(&mut self, dir: u64, name: &str) -> io::Result<u64> {
        self.in_dir(dir, CallKind::Create, name, |world| {
            if name.is_empty() || name.contains('/') {
                return errno(libc::EINVAL);
            }
            if world.names(dir).visible.contains_key(name) {
                return errno(libc::EEXIST);
            }
            let (ino, stamp) = (world.fresh(), world.fresh());
            world.inodes.insert(ino, Inode::named(name));
            world.change_names(dir, stamp, NameOp::Create { name: name.to_owned(), ino });
            Ok(world.open_file(ino, Access::Write))
        })
    }

    pub(in crate::disk::sim) fn open(&mut self, dir: u64, name: &str, access: Access) -> io::Result<u64> {
        self.in_dir(dir, CallKind::Open, name, |world| match world.names(dir).visible.get(name).copied() {
            Some(ino) if world.inode(ino).is_no_file => errno(libc::ELOOP),
            Some(ino) => Ok(world.open_file(ino, access)),
            None => errno(libc::ENOENT),
        })
    }

    pub(in crate::disk::sim) fn rename(&mut self, dir: u64, from: &str, to: &str) -> io::Result<()> {
        self.in_dir(dir, CallKind::Rename, &format!("{from} -> {to}"), |world| {
            let names = &world.names(dir).visible;
            let Some(ino) = names.get(from).copied() else { return errno(libc::ENOENT) };
            if to.is_empty() || to.contains('/') {
                return errno(libc::EINVAL);
            }
            if names.contains_key(to) {
                return errno(libc::EEXIST);
            }
            world.inode(ino).label = to.to_owned();
            let stamp = world.fresh();
            world.change_names(dir, stamp, NameOp::Rename { from: from.to_owned(), to: to.to_owned(), ino });
            Ok(())
        })
    }

    pub(in crate::disk::sim) fn replace(&mut self, dir: u64, from: &str, over: &str) -> io::Result<()> {
        self.in_dir(dir, CallKind::Rename, &format!("{from} -> {over}"), |world| {
            let names = &world.names(dir).visible;
            let found = names.get(from).copied().zip(names.get(over).copied());
            let Some((ino, was)) = found else { return errno(libc::ENOENT) };
            over.clone_into(&mut world.inode(ino).label);
            let stamp = world.fresh();
            let (from, over) = (from.to_owned(), over.to_owned());
            world.change_names(dir, stamp, NameOp::Replace { from, over, ino, was });
            Ok(())
        })
    }

    pub(in crate::disk::sim) fn exchange(&mut self, dir: u64, one: &str, other: &str) -> io::Result<()> {
        self.in_dir(dir, CallKind::Rename, &format!("{one} <-> {other}"), |world| {
            let names = &world.names(dir).visible;
            let found = names.get(one).copied().zip(names.get(other).copied());
            let Some(inos) = found.map(|(one, other)| [one, other]) else { return errno(libc::ENOENT) };
            for (name, ino) in [other, one].into_iter().zip(inos) {
                name.clone_into(&mut world.inode(ino).label);
            }
            let stamp = world.fresh();
            world.change_names(dir, stamp, NameOp::Exchange { one: one.to_owned(), other: other.to_owned(), inos });
            Ok(())
        })
    }

    pub(in crate::disk::sim) fn move_to(&mut self, dir: u64, name: &str, to: u64, new: &str) -> io::Result<()> {
        self.in_dir(dir, CallKind::Rename, &format!("{name} -> elsewhere"), |world| {
            let Some(ino) = world.names(dir).visible.get(name).copied() else { return errno(libc::ENOENT) };
            if world.names(to).visible.contains_key(new) {
                return errno(libc::EEXIST);
            }
            let stamp = world.fresh();
            world.change_names(to, stamp, NameOp::MoveIn { name: new.to_owned(), ino });
            world.change_names(dir, stamp, NameOp::MoveOut { name: name.to_owned(), ino });
            Ok(())
        })
    }

    pub(in crate::disk::sim) fn remove(&mut self, dir: u64, name: &str) -> io::Result<()> {
        self.in_dir(dir, CallKind::Remove, name, |world| {
            let Some(ino) = world.names(dir).visible.get(name).copied() else { return errno(libc::ENOENT) };
            if world.inode(ino).is_no_file {
                return errno(libc::EISDIR);
            }
            let stamp = world.fresh();
            world.change_names(dir, stamp, NameOp::Remove { name: name.to_owned(), ino });
            Ok(())
        })
    }

    pub(super) fn change_names(&mut self, dir: u64, stamp: u64, op: NameOp) {
        let names = self.names(dir);
        op.apply(&mut names.visible);
        names.journal.push((stamp, op));
    }

    pub(in crate::disk::sim) fn sync_dir(&mut self, dir: u64) -> io::Result<()> {
        self.in_dir(dir, CallKind::DirSync, "", |world| {
            if !world.lies {
                world.names(dir).sync();
                world.forget_unreachable();
            }
            Ok(())
        })
    }
}
