//! Writes on their way: each lands unit by unit, all of it or as much as it is told to.
#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::io;

use super::calls::Verdict;
use super::files::OpenFile;
use super::{errno, World};
use crate::base::bytes::len_u64;
use crate::disk::sim::inode::{sectors_of, Data, SECTOR};
use crate::disk::sim::CallKind;
use crate::disk::{Access, Durable};

/// A write that was issued and has not landed whole.
#[derive(Debug, Clone)]
pub(super) struct Flight {
    pub(super) ino: u64,
    /// The descriptor it was issued through, whose locks it keeps.
    pub(super) holder: u64,
    /// Units of sectors, landed from the end.
    pub(super) units: Vec<Vec<(u64, Data)>>,
    /// Where the write ends, bytes; 0: it does not lengthen the file.
    pub(super) end: u64,
    pub(super) durable: bool,
    /// What the write answers when its last unit has landed; 0: done.
    pub(super) errno: i32,
    /// Set when its life was killed: it lands by itself, at this call or this
    /// time, whichever comes first.
    pub(super) late: Option<(u64, u64)>,
}

impl World {
    /// Begins a write; [`World::land_unit`] lands it.  None: there is nothing to land.
    pub(in crate::disk::sim) fn begin_write(
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

    pub(super) fn take_off(&mut self, flight: Flight) -> u64 {
        let id = self.fresh();
        self.flights.insert(id, flight);
        id
    }

    /// Checks a write and cuts it into units, with what is planned to go wrong with its way.
    pub(super) fn issue(&mut self, file: u64, buf: &[u8], offset: u64, durable: bool) -> io::Result<Flight> {
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
    pub(super) fn take_room(&self, ino: u64, bytes: u64) -> io::Result<()> {
        let inode = &self.inodes[&ino];
        let more = inode.room_for(bytes) - inode.room();
        match self.capacity {
            Some(capacity) if more > 0 && self.room_taken() + more > capacity => errno(libc::ENOSPC),
            _ => Ok(()),
        }
    }

    /// Room of every file that has a name or is open.
    pub(in crate::disk::sim) fn room_taken(&self) -> u64 {
        let mut inos: BTreeSet<u64> = self.dirs.values().flat_map(|names| names.visible.values().copied()).collect();
        inos.extend(self.files.values().map(|file| file.ino));
        inos.extend(self.flights.values().map(|flight| flight.ino));
        inos.iter().map(|ino| self.inodes[ino].room()).sum()
    }

    pub(super) fn land(&mut self, ino: u64, end: u64, durable: bool, unit: &[(u64, Data)]) {
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
    pub(super) fn draw_landing(&mut self, flight: &mut Flight, prefix: bool) -> Vec<Vec<(u64, Data)>> {
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
    pub(super) fn land_some(&mut self, flight: &mut Flight) {
        let landing = self.draw_landing(flight, false);
        // Not durable, even of a durable write: nobody was told so.
        self.land(flight.ino, flight.end, false, &landing.concat());
    }

    /// Lands all of a write at once.
    pub(in crate::disk::sim) fn land_whole(&mut self, id: u64) {
        if let Some(flight) = self.flights.remove(&id) {
            self.land_rest(&flight, flight.durable);
        }
    }

    pub(super) fn land_rest(&mut self, flight: &Flight, durable: bool) {
        let sectors: Vec<_> = flight.units.iter().rev().flatten().cloned().collect();
        self.land(flight.ino, flight.end, durable, &sectors);
    }

    /// Lands one unit of a write.  The file's name and the offset of what
    /// landed, and whether that was the last; EIO if the life ended meanwhile.
    pub(in crate::disk::sim) fn land_unit(&mut self, id: u64) -> io::Result<(String, u64, bool)> {
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
}
