//! How lives end and what outlives them: locks, stops, late writes.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

use super::files::OpenFile;
use super::writes::Flight;
use super::{errno, World};
use crate::base::bytes::len_u64;
use crate::base::clock::Clock;
use crate::disk::sim::inode::Fate;
use crate::disk::sim::rng::Rng;
use crate::disk::sim::{CallKind, Keep, Stop};
use crate::disk::{Access, LockByte, LockKind};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    Dir(PathBuf),
    File(u64, LockByte),
}

#[derive(Debug, Clone)]
pub(super) struct Lock {
    pub(super) place: Place,
    pub(super) holder: u64,
    pub(super) kind: LockKind,
}

impl World {
    // ---- Locks ----

    pub(in crate::disk::sim) fn lock_dir(&mut self, dir: u64, kind: LockKind) -> io::Result<bool> {
        self.in_dir(dir, CallKind::Lock, "", |world| {
            let place = Place::Dir(world.open_dirs[&dir].clone());
            // flock(2) gives the old lock up before it asks for the new one, so
            // a conversion that is refused leaves none.
            world.unlock(&place, dir);
            Ok(world.lock(place, dir, kind))
        })
    }

    pub(in crate::disk::sim) fn unlock_dir(&mut self, dir: u64) -> io::Result<()> {
        self.in_dir(dir, CallKind::Lock, "", |world| {
            let place = Place::Dir(world.open_dirs[&dir].clone());
            world.unlock(&place, dir);
            Ok(())
        })
    }

    pub(in crate::disk::sim) fn lock_file(&mut self, file: u64, byte: LockByte, kind: LockKind) -> io::Result<bool> {
        let name = self.label(file);
        self.call(CallKind::Lock, self.files.contains_key(&file), &name, |world| {
            let OpenFile { ino, access } = world.files[&file].clone();
            if kind == LockKind::Exclusive && access != Access::Write {
                return errno(libc::EBADF);
            }
            Ok(world.lock(Place::File(ino, byte), file, kind))
        })
    }

    pub(in crate::disk::sim) fn unlock_file(&mut self, file: u64, byte: LockByte) -> io::Result<()> {
        let name = self.label(file);
        self.call(CallKind::Lock, self.files.contains_key(&file), &name, |world| {
            let place = Place::File(world.files[&file].ino, byte);
            world.unlock(&place, file);
            Ok(())
        })
    }

    pub(in crate::disk::sim) fn is_locked(&mut self, file: u64, byte: LockByte) -> io::Result<bool> {
        let name = self.label(file);
        self.call(CallKind::Lock, self.files.contains_key(&file), &name, |world| {
            let place = Place::File(world.files[&file].ino, byte);
            Ok(world.locks.iter().any(|lock| lock.place == place && lock.holder != file))
        })
    }

    fn lock(&mut self, place: Place, holder: u64, kind: LockKind) -> bool {
        let against = |lock: &Lock| {
            lock.place == place
                && lock.holder != holder
                && (kind == LockKind::Exclusive || lock.kind == LockKind::Exclusive)
        };
        if self.locks.iter().any(against) {
            return false;
        }
        self.unlock(&place, holder);
        self.locks.push(Lock { place, holder, kind });
        true
    }

    fn unlock(&mut self, place: &Place, holder: u64) {
        self.locks.retain(|lock| lock.place != *place || lock.holder != holder);
    }

    pub(super) fn drop_locks_of_the_dead(&mut self) {
        let flying = |id| self.flights.values().any(|flight| flight.holder == id);
        let lives = |id| self.files.contains_key(&id) || self.open_dirs.contains_key(&id);
        self.locks.retain(|lock| lives(lock.holder) || flying(lock.holder));
    }

    // ---- Lives ----

    pub(super) fn stop_in_write(&mut self, mut flight: Flight, stop: Stop) {
        if stop == Stop::PowerCut && self.keep == Keep::Everything {
            return self.land_rest(&flight, false);
        }
        self.land_some(&mut flight);
        if stop == Stop::Kill && !flight.units.is_empty() {
            let id = self.fresh();
            self.flights.insert(id, flight);
        }
    }

    pub(super) fn halt(&mut self, stop: Stop) {
        match stop {
            Stop::PowerCut => self.power_cut(),
            Stop::Kill => self.kill(),
        }
        self.down = true;
    }

    fn end_life(&mut self) {
        self.files.clear();
        self.open_dirs.clear();
        self.drop_locks_of_the_dead();
        self.forget_unreachable();
        self.stop = None;
        self.down = false;
        self.life += 1;
    }

    /// Begins the next life, if need be by ending this one.
    pub(in crate::disk::sim) fn restart(&mut self) {
        if !self.down {
            self.kill();
        }
        self.down = false;
        self.stop = None;
    }

    pub(in crate::disk::sim) fn is_down(&self) -> bool {
        self.down
    }

    pub(in crate::disk::sim) fn kill(&mut self) {
        let now = self.clock.as_ref().map(Clock::now_ns);
        for flight in self.flights.values_mut().filter(|flight| flight.late.is_none()) {
            let (calls, ns) = self.late_within;
            let call = self.calls.saturating_add(1).saturating_add(self.rng.below(calls));
            let time = now.map_or(u64::MAX, |now| now.saturating_add(1).saturating_add(self.rng.below(ns)));
            flight.late = Some((call, time));
        }
        self.end_life();
    }

    pub(in crate::disk::sim) fn power_cut(&mut self) {
        let mut rng = self.rng.clone();
        self.counts.files_torn += len_u64(self.flights.len());
        self.flights.clear();
        let in_order = rng.chance(2);
        let upto = rng.below(self.last_id + 1);
        let keep = self.keep;
        let fate = |rng: &mut Rng| match keep {
            Keep::Everything => Fate::Everything,
            Keep::Nothing => Fate::Nothing,
            Keep::Random if in_order => Fate::UpTo(upto),
            Keep::Random => Fate::Each(rng.bias()),
        };
        let mut moves = BTreeMap::new();
        for names in self.dirs.values_mut() {
            let fate = fate(&mut rng);
            for (stamp, op) in std::mem::take(&mut names.journal) {
                let mut stays = fate.choose(&[stamp], &mut rng) != 0;
                if op.is_move() {
                    // Of its other half too, unless that is durable already.
                    stays = *moves.entry(stamp).or_insert(stays);
                }
                if stays {
                    op.apply(&mut names.durable);
                } else {
                    self.counts.names_lost += 1;
                }
            }
            names.visible = names.durable.clone();
        }
        for inode in self.inodes.values_mut() {
            let (size, unflushed) = (inode.size(), inode.unflushed());
            let before: Vec<_> = unflushed.iter().map(|offset| inode.sector(*offset)).collect();
            inode.cut(fate(&mut rng), self.tear_sectors, &mut rng);
            self.counts.sizes_lost += u64::from(inode.size() < size);
            let kept = unflushed.iter().zip(&before).filter(|(offset, data)| inode.sector(**offset) == **data).count();
            self.counts.files_torn += u64::from(kept > 0 && kept < unflushed.len());
        }
        self.rng = rng;
        self.end_life();
    }

    pub(super) fn land_what_is_due(&mut self) {
        if self.flights.values().all(|flight| flight.late.is_none()) {
            return;
        }
        let now = self.clock.as_ref().map_or(0, Clock::now_ns);
        let calls = self.calls;
        self.land_late(|(call, time)| call <= calls || time <= now);
    }

    /// Lands the late writes that `are_due`, the earliest first, and lets go of their locks.
    pub(in crate::disk::sim) fn land_late(&mut self, are_due: impl Fn((u64, u64)) -> bool) {
        let mut due: Vec<_> = self.flights.iter().filter_map(|(id, flight)| Some((flight.late?, *id))).collect();
        due.retain(|(late, _)| are_due(*late));
        due.sort_unstable();
        for (_, id) in due {
            let flight = self.flights.remove(&id).expect("just listed");
            // The flush that belongs to a dead durable write may or may not follow it.
            let durable = flight.durable && self.rng.chance(4);
            self.land_rest(&flight, durable);
        }
        self.drop_locks_of_the_dead();
        self.forget_unreachable();
    }

    pub(in crate::disk::sim) fn late_writes(&self) -> usize {
        self.flights.values().filter(|flight| flight.late.is_some()).count()
    }
}
