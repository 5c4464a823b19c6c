//! The state behind the simulated disk's one lock: names, files, lives, locks,
//! writes in flight, planned faults.  [`super`] explains what each fault means.
#![forbid(unsafe_code)]

mod damage;
mod lives;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::inode::{sectors_of, Data, Inode, SECTOR};
use super::rng::Rng;
use super::{CallKind, Counts, Keep, Stop};
use crate::base::bytes::len_u64;
use crate::base::clock::Clock;
use crate::disk::{Access, Durable, LockByte, LockKind};

/// How many operations the trace remembers.
const TRACE_LEN: usize = 64;

pub(super) fn errno<T>(code: i32) -> io::Result<T> {
    Err(io::Error::from_raw_os_error(code))
}

/// A change of a directory.  Each carries its file, so that one that is lost
/// cannot lose the content with it.
#[derive(Debug, Clone)]
enum NameOp {
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
    fn ino(&self) -> u64 {
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

    fn is_move(&self) -> bool {
        matches!(self, NameOp::MoveIn { .. } | NameOp::MoveOut { .. })
    }

    /// Applies the change if the names still are as it needs them.
    fn apply(&self, names: &mut BTreeMap<String, u64>) {
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
pub(super) struct Names {
    pub(super) visible: BTreeMap<String, u64>,
    pub(super) durable: BTreeMap<String, u64>,
    /// What led from `durable` to `visible`, with the stamp of each, in order.
    journal: Vec<(u64, NameOp)>,
}

impl Names {
    pub(super) fn sync(&mut self) {
        self.durable = self.visible.clone();
        self.journal.clear();
    }
}

#[derive(Debug, Clone)]
struct OpenFile {
    ino: u64,
    access: Access,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    Dir(PathBuf),
    File(u64, LockByte),
}

#[derive(Debug, Clone)]
struct Lock {
    place: Place,
    holder: u64,
    kind: LockKind,
}

/// A write that was issued and has not landed whole.
#[derive(Debug, Clone)]
struct Flight {
    ino: u64,
    /// The descriptor it was issued through, whose locks it keeps.
    holder: u64,
    /// Units of sectors, landed from the end.
    units: Vec<Vec<(u64, Data)>>,
    /// Where the write ends, bytes; 0: it does not lengthen the file.
    end: u64,
    durable: bool,
    /// What the write answers when its last unit has landed; 0: done.
    errno: i32,
    /// Set when its life was killed: it lands by itself, at this call or this
    /// time, whichever comes first.
    late: Option<(u64, u64)>,
}

#[derive(Debug, Clone)]
pub(super) struct Fault {
    pub(super) kind: Option<CallKind>,
    /// Calls that pass before it strikes.
    pub(super) left: u64,
    pub(super) errno: i32,
    /// A write leaves a prefix instead of any subset.
    pub(super) short: bool,
    pub(super) forever: bool,
}

#[derive(Debug, Clone)]
struct BadPlace {
    ino: u64,
    range: Range<u64>,
    left: u64,
    errno: i32,
}

#[derive(Debug, Clone)]
struct TraceLine {
    step: u64,
    kind: CallKind,
    name: String,
    place: Option<(u64, u64)>,
    /// 0: done.
    errno: i32,
}

/// What becomes of a call.
enum Verdict {
    Go,
    Fail {
        errno: i32,
        short: bool,
    },
    Stop(Stop),
    /// Its life is over.
    Dead,
}

#[derive(Debug, Clone)]
pub(super) struct World {
    pub(super) rng: Rng,
    pub(super) keep: Keep,
    pub(super) tear_sectors: u64,
    pub(super) block_align: u32,
    pub(super) mem_align: u32,
    pub(super) capacity: Option<u64>,
    pub(super) lies: bool,
    pub(super) clock: Option<Clock>,
    /// Late writes land within so many calls and nanoseconds.
    pub(super) late_within: (u64, u64),
    pub(super) stop: Option<(u64, Stop)>,
    pub(super) faults: Vec<Fault>,
    pub(super) lose_writes: u64,
    pub(super) misdirect: VecDeque<i64>,
    pub(super) steps: u64,
    pub(super) counts: Counts,
    bad_places: Vec<BadPlace>,
    /// Between a stop and `restart`: no call has an effect.
    down: bool,
    pub(super) calls: u64,
    /// More than these are a call without end.
    pub(super) calls_max: u64,
    life: u64,
    last_id: u64,
    inodes: BTreeMap<u64, Inode>,
    dirs: BTreeMap<PathBuf, Names>,
    /// The directory that was opened first: where a test's bare names are.
    home: Option<PathBuf>,
    /// Descriptors of this life; one that is not here any more is dead.
    files: BTreeMap<u64, OpenFile>,
    open_dirs: BTreeMap<u64, PathBuf>,
    locks: Vec<Lock>,
    flights: BTreeMap<u64, Flight>,
    trace: VecDeque<TraceLine>,
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        World {
            rng: Rng::new(seed),
            keep: Keep::Random,
            tear_sectors: 1,
            block_align: 512,
            mem_align: 1,
            capacity: None,
            lies: false,
            clock: None,
            late_within: (32, 1_000_000_000),
            stop: None,
            faults: Vec::new(),
            lose_writes: 0,
            misdirect: VecDeque::new(),
            steps: 0,
            counts: Counts::default(),
            bad_places: Vec::new(),
            down: false,
            calls: 0,
            calls_max: u64::MAX,
            life: 1,
            last_id: 0,
            inodes: BTreeMap::new(),
            dirs: BTreeMap::new(),
            home: None,
            files: BTreeMap::new(),
            open_dirs: BTreeMap::new(),
            locks: Vec::new(),
            flights: BTreeMap::new(),
            trace: VecDeque::new(),
        }
    }

    /// A number that rises: identities and stamps.
    fn fresh(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    // ---- Every call comes through here ----

    fn enter(&mut self, kind: CallKind, alive: bool) -> Verdict {
        if self.down || !alive {
            return Verdict::Dead;
        }
        self.calls += 1;
        assert!(self.calls <= self.calls_max, "more calls than were allowed: this goes on for ever\n{}", self.trace());
        self.land_what_is_due();
        self.counts.add(kind);
        let stop = kind.changes().then(|| {
            self.steps += 1;
            self.stop.take_if(|(step, _)| *step < self.steps)
        });
        let mut struck = None;
        self.faults.retain_mut(|fault| {
            if fault.kind.is_some_and(|only| only != kind) {
                return true;
            }
            if fault.left > 0 {
                fault.left -= 1;
                return true;
            }
            struck = Some((fault.errno, fault.short));
            fault.forever
        });
        match (stop.flatten(), struck) {
            (Some((_, stop)), _) => Verdict::Stop(stop),
            (None, Some((errno, short))) => Verdict::Fail { errno, short },
            (None, None) => Verdict::Go,
        }
    }

    fn note<T>(&mut self, kind: CallKind, name: &str, place: Option<(u64, u64)>, result: &io::Result<T>) {
        let errno = result.as_ref().err().map_or(0, |error| error.raw_os_error().unwrap_or(-1));
        if self.trace.len() == TRACE_LEN {
            self.trace.pop_front();
        }
        self.trace.push_back(TraceLine { step: self.steps, kind, name: name.to_owned(), place, errno });
    }

    pub(super) fn trace(&self) -> String {
        let line = |line: &TraceLine| {
            let place = line.place.map_or(String::new(), |(offset, len)| format!(" {offset}+{len}"));
            let result = if line.errno == 0 { String::new() } else { format!(" = errno {}", line.errno) };
            format!("step {} {:?} {}{place}{result}\n", line.step, line.kind, line.name)
        };
        self.trace.iter().map(line).collect()
    }

    /// A call that happens whole or not at all.
    fn call<T>(
        &mut self,
        kind: CallKind,
        alive: bool,
        name: &str,
        work: impl FnOnce(&mut World) -> io::Result<T>,
    ) -> io::Result<T> {
        self.call_or(kind, alive, name, work, |_| {})
    }

    /// A call that does something else when it is told to fail.
    fn call_or<T>(
        &mut self,
        kind: CallKind,
        alive: bool,
        name: &str,
        work: impl FnOnce(&mut World) -> io::Result<T>,
        fail: impl FnOnce(&mut World),
    ) -> io::Result<T> {
        let result = match self.enter(kind, alive) {
            Verdict::Dead => return errno(libc::EIO),
            Verdict::Go => work(self),
            Verdict::Fail { errno: code, .. } => {
                fail(self);
                errno(code)
            }
            Verdict::Stop(stop) => {
                if self.rng.chance(4) {
                    // Done, and nobody hears of it.
                    let _unheard = work(self);
                }
                self.halt(stop);
                errno(libc::EIO)
            }
        };
        self.note(kind, name, None, &result);
        result
    }

    // ---- Directories ----

    pub(super) fn open_dir(&mut self, path: &Path, create: bool) -> io::Result<u64> {
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

    fn may_make_dir(&self, path: &Path, create: bool) -> io::Result<()> {
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
    pub(super) fn is_within(&self, path: &Path, dir: u64) -> bool {
        path.starts_with(&self.open_dirs[&dir])
    }

    fn names(&mut self, dir: u64) -> &mut Names {
        let path = &self.open_dirs[&dir];
        self.dirs.get_mut(path).expect("an open directory exists")
    }

    fn in_dir<T>(
        &mut self,
        dir: u64,
        kind: CallKind,
        name: &str,
        work: impl FnOnce(&mut World) -> io::Result<T>,
    ) -> io::Result<T> {
        self.call(kind, self.open_dirs.contains_key(&dir), name, work)
    }

    pub(super) fn list(&mut self, dir: u64) -> io::Result<Vec<String>> {
        self.in_dir(dir, CallKind::List, "", |world| {
            let mut names: Vec<String> = world.names(dir).visible.keys().cloned().collect();
            world.rng.shuffle(&mut names); // the trait promises no order
            Ok(names)
        })
    }

    pub(super) fn create(&mut self, dir: u64, name: &str) -> io::Result<u64> {
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

    pub(super) fn open(&mut self, dir: u64, name: &str, access: Access) -> io::Result<u64> {
        self.in_dir(dir, CallKind::Open, name, |world| match world.names(dir).visible.get(name).copied() {
            Some(ino) if world.inode(ino).is_no_file => errno(libc::ELOOP),
            Some(ino) => Ok(world.open_file(ino, access)),
            None => errno(libc::ENOENT),
        })
    }

    fn open_file(&mut self, ino: u64, access: Access) -> u64 {
        let id = self.fresh();
        self.files.insert(id, OpenFile { ino, access });
        id
    }

    pub(super) fn rename(&mut self, dir: u64, from: &str, to: &str) -> io::Result<()> {
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

    pub(super) fn replace(&mut self, dir: u64, from: &str, over: &str) -> io::Result<()> {
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

    pub(super) fn exchange(&mut self, dir: u64, one: &str, other: &str) -> io::Result<()> {
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

    pub(super) fn move_to(&mut self, dir: u64, name: &str, to: u64, new: &str) -> io::Result<()> {
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

    pub(super) fn remove(&mut self, dir: u64, name: &str) -> io::Result<()> {
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

    fn change_names(&mut self, dir: u64, stamp: u64, op: NameOp) {
        let names = self.names(dir);
        op.apply(&mut names.visible);
        names.journal.push((stamp, op));
    }

    pub(super) fn sync_dir(&mut self, dir: u64) -> io::Result<()> {
        self.in_dir(dir, CallKind::DirSync, "", |world| {
            if !world.lies {
                world.names(dir).sync();
                world.forget_unreachable();
            }
            Ok(())
        })
    }

    // ---- Files ----

    fn inode(&mut self, ino: u64) -> &mut Inode {
        self.inodes.get_mut(&ino).expect("what is open or has a name exists")
    }

    fn label(&self, file: u64) -> String {
        let ino = self.files.get(&file).map(|file| file.ino);
        ino.and_then(|ino| self.inodes.get(&ino)).map_or(String::new(), |inode| inode.label.clone())
    }

    pub(super) fn look<T>(&mut self, file: u64, answer: impl FnOnce(&Inode) -> T) -> io::Result<T> {
        let name = self.label(file);
        self.call(CallKind::Stat, self.files.contains_key(&file), &name, |world| {
            let ino = world.files[&file].ino;
            Ok(answer(world.inode(ino)))
        })
    }

    pub(super) fn identity(&mut self, file: u64) -> io::Result<(u64, u64)> {
        let name = self.label(file);
        self.call(CallKind::Stat, self.files.contains_key(&file), &name, |world| Ok((1, world.files[&file].ino)))
    }

    pub(super) fn count_names(&mut self, file: u64) -> io::Result<u64> {
        let name = self.label(file);
        self.call(CallKind::Stat, self.files.contains_key(&file), &name, |world| {
            let ino = world.files[&file].ino;
            let names = world.dirs.values().flat_map(|names| names.visible.values());
            Ok(len_u64(names.filter(|&&named| named == ino).count()))
        })
    }

    fn is_aligned(&self, address: usize, len: u64, offset: u64) -> bool {
        let block = u64::from(self.block_align);
        len_u64(address).is_multiple_of(u64::from(self.mem_align))
            && len.is_multiple_of(block)
            && offset.is_multiple_of(block)
            && offset.checked_add(len).is_some_and(|end| i64::try_from(end).is_ok())
    }

    pub(super) fn read(&mut self, file: u64, buf: &mut [u8], offset: u64) -> io::Result<usize> {
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

    /// Begins a write; [`World::land_unit`] lands it.  None: there is nothing to land.
    pub(super) fn begin_write(
        &mut self,
        file: u64,
        buf: &[u8],
        offset: u64,
        durable: Durable,
        shuffle: bool,
    ) -> io::Result<Option<u64>> {
        let name = self.label(file);
        let verdict = self.enter(CallKind::Write, self.files.contains_key(&file));
        if matches!(verdict, Verdict::Dead) {
            return errno(libc::EIO);
        }
        let durable = durable == Durable::Yes;
        let result = match (verdict, self.issue(file, buf, offset, durable)) {
            (Verdict::Stop(stop), flight) => {
                if let Ok(flight) = flight {
                    self.stop_in_write(flight, stop);
                }
                self.halt(stop);
                errno(libc::EIO)
            }
            (_, Err(error)) => Err(error),
            (Verdict::Fail { errno: code, short }, Ok(mut flight)) => {
                let mut landing = self.draw_landing(&mut flight, short);
                if shuffle && !landing.is_empty() {
                    // Others pass while it lands as far as it does.
                    landing.reverse();
                    Ok(Some(self.take_off(Flight { units: landing, durable: false, errno: code, ..flight })))
                } else {
                    self.land(flight.ino, flight.end, false, &landing.concat());
                    errno(code)
                }
            }
            (_, Ok(flight)) if flight.units.is_empty() => Ok(None),
            (_, Ok(mut flight)) => {
                if shuffle {
                    self.rng.shuffle(&mut flight.units);
                }
                Ok(Some(self.take_off(flight)))
            }
        };
        self.counts.wrote(len_u64(buf.len()), durable);
        self.note(CallKind::Write, &name, Some((offset, len_u64(buf.len()))), &result);
        result
    }

    fn take_off(&mut self, flight: Flight) -> u64 {
        let id = self.fresh();
        self.flights.insert(id, flight);
        id
    }

    /// Checks a write and cuts it into units, with what is planned to go wrong with its way.
    fn issue(&mut self, file: u64, buf: &[u8], offset: u64, durable: bool) -> io::Result<Flight> {
        let OpenFile { ino, access } = self.files[&file].clone();
        let len = len_u64(buf.len());
        if access != Access::Write {
            return errno(libc::EBADF);
        }
        if !self.is_aligned(buf.as_ptr().addr(), len, offset) {
            return errno(libc::EINVAL);
        }
        let mut end = offset + len;
        self.take_room(ino, end)?;
        let mut sectors: Vec<(u64, Data)> = (offset / SECTOR..).zip(sectors_of(buf)).collect();
        if self.lose_writes > 0 {
            self.lose_writes -= 1;
            sectors.clear();
        } else if let Some(by) = self.misdirect.pop_front() {
            let inode = &self.inodes[&ino];
            end = 0;
            for (index, _) in &mut sectors {
                *index = index.checked_add_signed(by / 512).unwrap_or(u64::MAX / SECTOR);
            }
            sectors.retain(|(index, _)| inode.holds(*index));
        }
        let tear = self.tear_sectors;
        let units =
            sectors.chunk_by(|(one, _), (next, _)| one / tear == next / tear).rev().map(<[_]>::to_vec).collect();
        Ok(Flight { ino, holder: file, units, end, durable: durable && !self.lies, errno: 0, late: None })
    }

    /// Refuses what the device has no room for.
    fn take_room(&self, ino: u64, bytes: u64) -> io::Result<()> {
        let inode = &self.inodes[&ino];
        let more = inode.room_for(bytes) - inode.room();
        match self.capacity {
            Some(capacity) if more > 0 && self.room_taken() + more > capacity => errno(libc::ENOSPC),
            _ => Ok(()),
        }
    }

    /// Room of every file that has a name or is open.
    pub(super) fn room_taken(&self) -> u64 {
        let mut inos: BTreeSet<u64> = self.dirs.values().flat_map(|names| names.visible.values().copied()).collect();
        inos.extend(self.files.values().map(|file| file.ino));
        inos.extend(self.flights.values().map(|flight| flight.ino));
        inos.iter().map(|ino| self.inodes[ino].room()).sum()
    }

    fn land(&mut self, ino: u64, end: u64, durable: bool, unit: &[(u64, Data)]) {
        let stamp = self.fresh();
        let inode = self.inode(ino);
        let unit_end = unit.iter().map(|(index, _)| (index + 1) * SECTOR).max().unwrap_or(0).min(end);
        inode.grow(unit_end, stamp);
        inode.land(unit, stamp, durable);
        if durable {
            inode.size_durable_at_least(unit_end);
        }
        for (index, _) in unit {
            self.heal(ino, &(index * SECTOR..(index + 1) * SECTOR));
        }
    }

    /// Takes a part of a write out of `flight` and leaves the rest there: any units, or
    /// with `prefix` the first ones, but never all.
    fn draw_landing(&mut self, flight: &mut Flight, prefix: bool) -> Vec<Vec<(u64, Data)>> {
        let eighths = self.rng.bias();
        let end = if prefix { self.rng.below(len_u64(flight.units.len())) } else { u64::MAX };
        let (mut landing, mut rest) = (Vec::new(), Vec::new());
        for (at, unit) in (0..).zip(std::mem::take(&mut flight.units).into_iter().rev()) {
            let lands = at < end && (prefix || self.rng.chance(eighths));
            if lands { &mut landing } else { &mut rest }.push(unit);
        }
        rest.reverse();
        flight.units = rest;
        landing
    }

    /// Lands a part of a write and leaves the rest in `flight`.
    fn land_some(&mut self, flight: &mut Flight) {
        let landing = self.draw_landing(flight, false);
        // Not durable, even of a durable write: nobody was told so.
        self.land(flight.ino, flight.end, false, &landing.concat());
    }

    /// Lands all of a write at once.
    pub(super) fn land_whole(&mut self, id: u64) {
        if let Some(flight) = self.flights.remove(&id) {
            self.land_rest(&flight, flight.durable);
        }
    }

    fn land_rest(&mut self, flight: &Flight, durable: bool) {
        let sectors: Vec<_> = flight.units.iter().rev().flatten().cloned().collect();
        self.land(flight.ino, flight.end, durable, &sectors);
    }

    /// Lands one unit of a write.  The file's name and the offset of what
    /// landed, and whether that was the last; EIO if the life ended meanwhile.
    pub(super) fn land_unit(&mut self, id: u64) -> io::Result<(String, u64, bool)> {
        if self.flights.get(&id).is_none_or(|flight| flight.late.is_some()) {
            return errno(libc::EIO);
        }
        let mut flight = self.flights.remove(&id).expect("just seen");
        let unit = flight.units.pop().expect("a flight without units is over");
        self.land(flight.ino, flight.end, flight.durable, &unit);
        let (name, offset, last) = (self.inode(flight.ino).label.clone(), unit[0].0 * SECTOR, flight.units.is_empty());
        let result = if last && flight.errno != 0 { errno(flight.errno) } else { Ok((name.clone(), offset, last)) };
        if !last {
            self.flights.insert(id, flight);
        } else if result.is_err() {
            self.note(CallKind::Write, &name, Some((offset, 0)), &result);
        }
        result
    }

    pub(super) fn sync(&mut self, file: u64) -> io::Result<()> {
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

    pub(super) fn allocate(&mut self, file: u64, size: u64) -> io::Result<()> {
        self.resize(file, |world, ino, stamp| {
            world.take_room(ino, size)?;
            world.inode(ino).grow(size, stamp);
            Ok(())
        })
    }

    pub(super) fn truncate(&mut self, file: u64, size: u64) -> io::Result<()> {
        self.resize(file, |world, ino, stamp| {
            world.inode(ino).shrink(size, stamp);
            Ok(())
        })
    }

    fn resize(&mut self, file: u64, change: impl FnOnce(&mut World, u64, u64) -> io::Result<()>) -> io::Result<()> {
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

    pub(super) fn open_handles(&self) -> usize {
        self.files.len() + self.open_dirs.len()
    }

    /// Closes a descriptor.  The locks of one whose write is still in flight stay.
    pub(super) fn close(&mut self, id: u64) {
        self.open_dirs.remove(&id);
        if self.files.remove(&id).is_some() {
            self.forget_unreachable();
        }
        self.drop_locks_of_the_dead();
    }

    fn forget_unreachable(&mut self) {
        let mut inos: BTreeSet<u64> = self.files.values().map(|file| file.ino).collect();
        inos.extend(self.flights.values().map(|flight| flight.ino));
        for names in self.dirs.values() {
            inos.extend(names.visible.values().chain(names.durable.values()));
            inos.extend(names.journal.iter().map(|(_, op)| op.ino()));
        }
        self.inodes.retain(|ino, _| inos.contains(ino));
    }
}
