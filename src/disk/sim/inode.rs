//! One simulated file: what the device keeps of it for certain, and every
//! version that was written since, sector by sector.
//!
//! A sector that is not in the map is zeros, durably, so a file of zeros or
//! holes costs nothing but its extents.
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::rng::Rng;
use crate::base::bytes::{len_u64, usize_of};

/// What a device writes as a whole, bytes.
pub(super) const SECTOR: u64 = 512;
const SECTOR_LEN: usize = 512;
/// What the simulated file system hands out room in, bytes.
const ROOM_UNIT: u64 = 4096;

/// A sector's bytes; None: zeros.
pub(super) type Data = Option<Arc<[u8; SECTOR_LEN]>>;

/// The sectors of `bytes`, the last one padded with zeros.
pub(super) fn sectors_of(bytes: &[u8]) -> impl Iterator<Item = Data> + '_ {
    bytes.chunks(SECTOR_LEN).map(|chunk| {
        if chunk.iter().all(|byte| *byte == 0) {
            return None;
        }
        let mut sector = [0; SECTOR_LEN];
        sector[..chunk.len()].copy_from_slice(chunk);
        Some(Arc::new(sector))
    })
}

/// What a power cut does to things that are not flushed.
#[derive(Debug, Clone, Copy)]
pub(super) enum Fate {
    Everything,
    Nothing,
    /// In order: what was written up to this stamp stays, nothing after.
    UpTo(u64),
    /// Each for itself: the newest with so many eighths, else any older one.
    Each(u64),
}

impl Fate {
    /// Which of the versions with these rising `stamps` stays; 0: the durable one.
    pub(super) fn choose(self, stamps: &[u64], rng: &mut Rng) -> u64 {
        let newest = stamps.last().copied().unwrap_or(0);
        match self {
            Fate::Everything => newest,
            Fate::Nothing => 0,
            Fate::UpTo(end) => stamps.iter().rev().copied().find(|stamp| *stamp <= end).unwrap_or(0),
            Fate::Each(eighths) if rng.chance(eighths) => newest,
            Fate::Each(_) => match usize_of(rng.below(len_u64(stamps.len()))) {
                0 => 0,
                older => stamps[older - 1],
            },
        }
    }
}

#[derive(Debug, Clone, Default)]
struct Sector {
    durable: Data,
    /// Written since it was last flushed, oldest first, with the stamp of each.
    pending: Vec<(u64, Data)>,
    /// What reads see although a failed flush dropped it: a cache that was
    /// marked clean.  No flush writes it any more, a new write replaces it.
    cached: Option<Data>,
}

impl Sector {
    fn visible(&self) -> &Data {
        self.cached.as_ref().or(self.pending.last().map(|(_, data)| data)).unwrap_or(&self.durable)
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Size {
    bytes: u64,
    /// Room taken, bytes.
    room: u64,
}

/// Disjoint ranges, merged where they touch: start → end.
#[derive(Debug, Clone, Default)]
struct Ranges(BTreeMap<u64, u64>);

impl Ranges {
    fn insert(&mut self, mut start: u64, mut end: u64) {
        while let Some((&old_start, &old_end)) = self.0.range(..=end).next_back().filter(|(_, old)| **old >= start) {
            self.0.remove(&old_start);
            start = start.min(old_start);
            end = end.max(old_end);
        }
        self.0.insert(start, end);
    }

    fn first_gap(&self, from: u64) -> u64 {
        self.0.range(..=from).next_back().map_or(from, |(_, end)| from.max(*end))
    }

    fn first_from(&self, from: u64) -> Option<u64> {
        if self.first_gap(from) > from {
            return Some(from);
        }
        self.0.range(from..).next().map(|(start, _)| *start)
    }

    fn cut_at(&mut self, size: u64) {
        self.0.retain(|start, _| *start < size);
        for end in self.0.values_mut() {
            *end = size.min(*end);
        }
    }
}

#[derive(Debug, Clone, Default)]
pub(super) struct Inode {
    /// The last name it had, for the trace.
    pub(super) label: String,
    /// A directory, a link, a FIFO: it has a name, and opening it fails.
    pub(super) is_no_file: bool,
    sectors: BTreeMap<u64, Sector>,
    /// Sectors with something pending or cached.
    dirty: BTreeSet<u64>,
    size: Size,
    size_durable: Size,
    /// Sizes since the last flush, with the stamp of each; they grow, and the last may be a truncated one.
    size_pending: Vec<(u64, Size)>,
    /// Extents that were written, bytes; the rest of the room reads as zeros.
    written: Ranges,
    written_durable: Ranges,
}

impl Inode {
    pub(super) fn named(label: &str) -> Self {
        Inode { label: label.to_owned(), ..Inode::default() }
    }

    pub(super) fn no_file() -> Self {
        Inode { is_no_file: true, ..Inode::default() }
    }

    pub(super) fn size(&self) -> u64 {
        self.size.bytes
    }

    pub(super) fn room(&self) -> u64 {
        self.size.room
    }

    /// The room it would take with `bytes`.
    pub(super) fn room_for(&self, bytes: u64) -> u64 {
        self.size.room.max(bytes.next_multiple_of(ROOM_UNIT))
    }

    pub(super) fn grow(&mut self, bytes: u64, stamp: u64) {
        let grown = Size { bytes: self.size.bytes.max(bytes), room: self.room_for(bytes) };
        if grown != self.size {
            self.size = grown;
            self.size_pending.push((stamp, grown));
        }
    }

    /// Ends the file at `bytes`.  What lies behind stays in the sectors, where no read sees it.
    pub(super) fn shrink(&mut self, bytes: u64, stamp: u64) {
        if bytes < self.size.bytes {
            self.size = Size { bytes, room: bytes.next_multiple_of(ROOM_UNIT) };
            self.size_pending.push((stamp, self.size));
        }
    }

    /// Takes up the sectors in `unit`, which became the device's at `stamp`.
    /// With `durable` they are flushed, and the size that is needed to read them.
    pub(super) fn land(&mut self, unit: &[(u64, Data)], stamp: u64, durable: bool) {
        for (index, data) in unit {
            let (start, end) = (index * SECTOR, (index + 1) * SECTOR);
            self.written.insert(start, end);
            if durable {
                self.written_durable.insert(start, end);
            }
            if data.is_none() && !self.sectors.contains_key(index) {
                continue; // zeros over zeros
            }
            let sector = self.sectors.entry(*index).or_default();
            sector.cached = None;
            if durable {
                sector.pending.clear();
                sector.durable = data.clone();
                self.dirty.remove(index);
                self.forget_zeros(*index);
            } else {
                sector.pending.push((stamp, data.clone()));
                self.dirty.insert(*index);
            }
        }
    }

    /// Makes the file durably at least `bytes` long, as a DSYNC write does.
    pub(super) fn size_durable_at_least(&mut self, bytes: u64) {
        if bytes > self.size_durable.bytes {
            self.size_durable = Size { bytes, room: self.size_durable.room.max(bytes.next_multiple_of(ROOM_UNIT)) };
            self.size_pending.retain(|(_, size)| size.bytes >= bytes);
        }
    }

    fn forget_zeros(&mut self, index: u64) {
        let zeros = |sector: &Sector| sector.durable.is_none() && sector.pending.is_empty() && sector.cached.is_none();
        if self.sectors.get(&index).is_some_and(zeros) {
            self.sectors.remove(&index);
        }
    }

    /// Makes durable what is pending.
    pub(super) fn sync(&mut self) {
        for index in std::mem::take(&mut self.dirty) {
            let sector = self.sectors.entry(index).or_default();
            if let Some((_, data)) = sector.pending.pop() {
                sector.durable = data;
                sector.pending.clear();
            }
            if sector.cached.is_some() {
                self.dirty.insert(index);
            }
            self.forget_zeros(index);
        }
        self.size_durable = self.size;
        self.size_pending.clear();
        self.written_durable = self.written.clone();
    }

    /// Makes durable what reads see, even what a failed flush dropped.
    pub(super) fn settle(&mut self) {
        self.sync();
        for index in std::mem::take(&mut self.dirty) {
            let sector = self.sectors.entry(index).or_default();
            if let Some(data) = sector.cached.take() {
                sector.durable = data;
            }
            self.forget_zeros(index);
        }
    }

    /// A flush that failed: each sector that it covered is flushed, dropped
    /// while reads still see it, dropped so that reads see the old bytes, or
    /// waits for the next flush.
    pub(super) fn fail_sync(&mut self, rng: &mut Rng) {
        // Each for itself, or one lot for all, which a big flush would never draw.
        let lot = rng.below(8);
        for index in std::mem::take(&mut self.dirty) {
            let sector = self.sectors.entry(index).or_default();
            let lot = if lot < 4 { lot } else { rng.below(4) };
            if let Some((_, newest)) = sector.pending.last().cloned() {
                match lot {
                    0 => sector.durable = newest,
                    1 => sector.cached = Some(newest),
                    2 => sector.cached = None,
                    _ => {
                        self.dirty.insert(index);
                        continue;
                    }
                }
                sector.pending.clear();
            }
            if sector.cached.is_some() {
                self.dirty.insert(index);
            }
            self.forget_zeros(index);
        }
    }

    /// The power goes: every unit of `unit_sectors` becomes one of the versions
    /// that it had since it was flushed, the size one of its sizes.
    pub(super) fn cut(&mut self, fate: Fate, unit_sectors: u64, rng: &mut Rng) {
        let mut extents = std::mem::take(&mut self.written_durable);
        for (start, end) in &self.written.0 {
            if fate.choose(&[1], rng) != 0 {
                extents.insert(*start, *end);
            }
        }
        let dirty: Vec<u64> = std::mem::take(&mut self.dirty).into_iter().collect();
        for unit in dirty.chunk_by(|one, next| one / unit_sectors == next / unit_sectors) {
            let pending = |index: &u64| self.sectors[index].pending.iter().map(|(stamp, _)| *stamp).collect::<Vec<_>>();
            let mut stamps: Vec<u64> = unit.iter().flat_map(pending).collect();
            stamps.sort_unstable();
            stamps.dedup();
            let upto = fate.choose(&stamps, rng);
            for index in unit {
                let sector = self.sectors.entry(*index).or_default();
                sector.cached = None;
                let kept = std::mem::take(&mut sector.pending).into_iter().rev().find(|(stamp, _)| *stamp <= upto);
                if let Some((_, data)) = kept {
                    sector.durable = data;
                    extents.insert(index * SECTOR, (index + 1) * SECTOR);
                }
                self.forget_zeros(*index);
            }
        }
        let sizes = std::mem::take(&mut self.size_pending);
        let stamps: Vec<u64> = sizes.iter().map(|(stamp, _)| *stamp).collect();
        let upto = fate.choose(&stamps, rng);
        let kept = sizes.into_iter().rev().find(|(stamp, _)| *stamp <= upto);
        self.set_size(kept.map_or(self.size_durable, |(_, size)| size));
        extents.cut_at(self.size.bytes);
        self.written = extents.clone();
        self.written_durable = extents;
    }

    fn set_size(&mut self, size: Size) {
        self.size = size;
        self.size_durable = size;
        self.size_pending.clear();
        let end = size.bytes.div_ceil(SECTOR);
        drop(self.sectors.split_off(&end));
        drop(self.dirty.split_off(&end));
    }

    /// Cuts or lengthens the file behind everybody's back, durably; what is longer is a hole.
    pub(super) fn force_size(&mut self, bytes: u64) {
        self.set_size(Size { bytes, room: bytes.next_multiple_of(ROOM_UNIT).min(self.size.room) });
        if !bytes.is_multiple_of(SECTOR) {
            self.edit(bytes, &vec![0; usize_of(SECTOR - bytes % SECTOR)], |_, zero| zero);
        }
        self.written.cut_at(bytes);
        self.written_durable.cut_at(bytes);
    }

    /// Changes bytes behind everybody's back, in every version of them there
    /// is: `change(old, from bytes)`.
    pub(super) fn edit(&mut self, offset: u64, bytes: &[u8], change: impl Fn(u8, u8) -> u8) {
        for (at, byte) in (offset..).zip(bytes) {
            let sector = self.sectors.entry(at / SECTOR).or_default();
            let versions = sector.pending.iter_mut().map(|(_, data)| data).chain(&mut sector.cached);
            for data in versions.chain([&mut sector.durable]) {
                let place =
                    &mut Arc::make_mut(data.get_or_insert_with(|| Arc::new([0; SECTOR_LEN])))[usize_of(at % SECTOR)];
                *place = change(*place, *byte);
            }
        }
        let end = offset + len_u64(bytes.len());
        self.written.insert(offset, end);
        self.written_durable.insert(offset, end);
    }

    pub(super) fn read(&self, buf: &mut [u8], offset: u64) -> usize {
        let len = self.size.bytes.saturating_sub(offset).min(len_u64(buf.len()));
        self.copy_out(&mut buf[..usize_of(len)], offset, Sector::visible);
        usize_of(len)
    }

    fn copy_out(&self, buf: &mut [u8], offset: u64, version: impl Fn(&Sector) -> &Data) {
        buf.fill(0);
        let end = offset + len_u64(buf.len());
        for (index, sector) in self.sectors.range(offset / SECTOR..end.div_ceil(SECTOR)) {
            let Some(data) = version(sector) else { continue };
            let start = index * SECTOR;
            let (from, to) = (start.max(offset), (start + SECTOR).min(end));
            if from < to {
                buf[usize_of(from - offset)..usize_of(to - offset)]
                    .copy_from_slice(&data[usize_of(from - start)..usize_of(to - start)]);
            }
        }
    }

    /// What reads see.
    pub(super) fn content(&self) -> Vec<u8> {
        let mut bytes = vec![0; usize_of(self.size.bytes)];
        self.copy_out(&mut bytes, 0, Sector::visible);
        bytes
    }

    /// What is there for certain after a power cut.
    pub(super) fn durable_content(&self) -> Vec<u8> {
        let mut bytes = vec![0; usize_of(self.size_durable.bytes)];
        self.copy_out(&mut bytes, 0, |sector| &sector.durable);
        bytes
    }

    /// First byte from `offset` on that was never written, or the size.
    pub(super) fn written_until(&self, offset: u64) -> u64 {
        self.written.first_gap(offset).min(self.size.bytes)
    }

    /// First byte from `offset` on that was ever written, or the size.
    pub(super) fn data_from(&self, offset: u64) -> u64 {
        // What a flush that failed made durable is in no extent.
        let mut sectors = self.sectors.range(offset / SECTOR..);
        let sector = sectors.find(|(_, sector)| sector.visible().is_some());
        let data = sector.map_or(self.size.bytes, |(index, _)| (index * SECTOR).max(offset));
        self.written.first_from(offset).unwrap_or(data).min(data).min(self.size.bytes)
    }

    /// What reads see of the sector at `offset`.
    pub(super) fn sector(&self, offset: u64) -> Data {
        self.sectors.get(&(offset / SECTOR)).and_then(|sector| sector.visible().clone())
    }

    /// Offsets of the sectors whose last write no flush covered yet.
    pub(super) fn unflushed(&self) -> Vec<u64> {
        let pending = self.dirty.iter().filter(|index| !self.sectors[index].pending.is_empty());
        pending.map(|index| index * SECTOR).collect()
    }

    /// Whether sector `index` lies in the file.
    pub(super) fn holds(&self, index: u64) -> bool {
        index * SECTOR < self.size.bytes
    }
}
