//! What is done to the files of a log: places from the format's description, and chance.

use std::ops::Range;

use super::past::{Machine, Past};
use super::rng::Rng;

/// One thing that is done to one file, or to two.
#[derive(Debug, Clone)]
pub enum Damage {
    Flip {
        file: usize,
        offset: u64,
        bit: u8,
    },
    Write {
        file: usize,
        offset: u64,
        bytes: Vec<u8>,
    },
    SwapBlocks {
        file: usize,
        one: u64,
        other: u64,
    },
    RepeatBlock {
        file: usize,
        from: u64,
        to: u64,
    },
    Truncate {
        file: usize,
        size: u64,
    },
    OlderBlocks {
        file: usize,
        older: usize,
        from: u64,
        to: u64,
    },
    OlderFile {
        file: usize,
        older: usize,
    },
    SwapFiles {
        one: usize,
        other: usize,
    },
    CopyFile {
        from: usize,
        to: usize,
    },
    Remove {
        file: usize,
    },
    /// The device gives back an error in the place of the bytes.
    Unreadable {
        file: usize,
        offset: u64,
        len: u64,
    },
}

/// A frame of a file, as docs/FORMAT.md has it.
#[derive(Debug, Clone, Copy)]
pub struct Frame {
    pub offset: u64,
    pub len: u64,
    /// Where its body ends, and the number that it ends with.
    pub body_end: u64,
    pub last_seq: u64,
    pub durable_end: u64,
    pub durable_seq: u64,
    pub epoch: u64,
}

fn number(bytes: &[u8], at: usize, len: usize) -> u64 {
    (0..len).rev().fold(0, |number, byte| number << 8 | u64::from(bytes[at + byte]))
}

/// How often a file's segment was compacted.
fn generation(content: &[u8]) -> u64 {
    number(content, 136, 8)
}

/// The frames of a file from its first to the last one that continues; what lies behind was cut.
pub fn frames(content: &[u8], block: u64) -> Vec<Frame> {
    let mut frames: Vec<Frame> = Vec::new();
    let mut at = block;
    while at + block <= content.len() as u64 && content[at as usize..].starts_with(b"TWAF") {
        let head = &content[at as usize..];
        let (epoch, frame_number) = (number(head, 56, 8), number(head, 80, 8));
        if frames.last().is_some_and(|last| epoch < last.epoch || (epoch > last.epoch && frame_number != 1)) {
            break;
        }
        let len = (128 + number(head, 8, 4)).next_multiple_of(block);
        frames.push(Frame {
            offset: at,
            len,
            body_end: at + 128 + number(head, 8, 4),
            last_seq: number(head, 16, 8) + number(head, 24, 8) - 1,
            durable_seq: number(head, 40, 8),
            durable_end: number(head, 48, 8),
            epoch,
        });
        at += len;
    }
    frames
}

/// Offsets in a file at which something begins, or ends, or is decided.
fn places(content: &[u8], block: u64) -> Vec<u64> {
    let mut places: Vec<u64> = [0, 7, 8, 12, 20, 28, 36, 44, 48, 52, 56, 60, 64, 72, 80, 96, 112, 128, 132, 136]
        .into_iter()
        .chain([144, 152, 160, 168, 176, 192, 200, 511])
        .collect();
    for frame in frames(content, block) {
        let in_header = [0, 4, 8, 12, 16, 24, 32, 36, 40, 48, 56, 64, 80, 88, 96];
        places.extend(in_header.map(|at| frame.offset + at));
        let mut record = frame.offset + 128;
        let body_end = record + number(&content[frame.offset as usize..], 8, 4);
        while record + 40 <= body_end {
            places.extend([0, 4, 8, 10, 11, 12, 16, 24, 32, 39].map(|at| record + at));
            let len = number(&content[record as usize..], 12, 4);
            places.extend([40, 40 + len / 2, 39 + len].map(|at| record + at));
            record += (40 + len).next_multiple_of(8);
        }
        places.extend([body_end - 1, body_end, frame.offset + frame.len - 1]);
    }
    places.retain(|place| *place < content.len() as u64);
    places
}

impl Damage {
    /// Something to do to `past`.
    pub fn draw(past: &Past, rng: &mut Rng) -> Damage {
        // Half of it where the log ends, the rest anywhere.
        let count = past.files.len() as u64;
        let file = if rng.percent(40) { count - 1 } else { rng.below(count) } as usize;
        let content = &past.files[file].1;
        let block = u64::from(past.machine.options.block_size);
        let used = content.iter().rposition(|byte| *byte != 0).map_or(0, |at| at as u64 + 1).next_multiple_of(block);
        let anywhere = |rng: &mut Rng| rng.below(used.max(block));
        let in_block = |rng: &mut Rng| rng.below((used / block).max(1)) * block;
        match rng.below(23) {
            0..=5 => {
                let places = places(content, block);
                let offset = places[rng.below(places.len() as u64) as usize];
                Damage::Flip { file, offset, bit: rng.below(8) as u8 }
            }
            6..=7 => Damage::Flip { file, offset: anywhere(rng), bit: rng.below(8) as u8 },
            8..=11 => {
                let places = places(content, block);
                let offset = match rng.below(3) {
                    0 => in_block(rng),
                    1 => anywhere(rng),
                    _ => places[rng.below(places.len() as u64) as usize],
                };
                let len = match rng.below(5) {
                    0 => 1,
                    1 => 8,
                    2 => rng.within(1, 2 * block),
                    3 => block,
                    _ => content.len() as u64,
                };
                let len = len.min(content.len() as u64 - offset) as usize;
                let mut bytes = vec![0; len];
                if rng.percent(40) {
                    bytes.iter_mut().for_each(|byte| *byte = rng.next() as u8);
                }
                Damage::Write { file, offset, bytes }
            }
            12 => Damage::SwapBlocks { file, one: in_block(rng), other: in_block(rng) },
            13 => Damage::RepeatBlock { file, from: in_block(rng), to: in_block(rng) },
            14 => Damage::Truncate { file, size: rng.below(content.len() as u64) },
            15..=16 => match Self::older(past, file, rng) {
                Some(older) if rng.percent(80) => {
                    let from = in_block(rng);
                    let to = (from + block * rng.within(1, 8)).min(content.len() as u64);
                    // Of the file as it is not even the seal is left: nothing tells that it was another generation's.
                    let is_other = from == 0 && generation(&past.older[older].1) != generation(content);
                    if is_other && to + 2 * block > content.len() as u64 {
                        return Damage::Remove { file };
                    }
                    Damage::OlderBlocks { file, older, from, to }
                }
                // An earlier generation is whole, and nothing tells: docs/FORMAT.md, "Limits".
                Some(older) if generation(&past.older[older].1) == generation(content) => {
                    Damage::OlderFile { file, older }
                }
                Some(_) => Damage::Remove { file },
                None => Damage::Remove { file },
            },
            17 => Damage::SwapFiles { one: file, other: rng.below(count) as usize },
            18 => Damage::CopyFile { from: rng.below(count) as usize, to: file },
            19..=21 => {
                let places = places(content, block);
                let offset = match rng.below(4) {
                    0 => in_block(rng),
                    // Behind the end too: nobody knows what is there.
                    1 => rng.below(content.len() as u64),
                    _ => places[rng.below(places.len() as u64) as usize],
                };
                let len = rng.pick(&[1, 512, block, 3 * block, 20 * block]);
                Damage::Unreadable { file, offset, len: len.min(content.len() as u64 - offset) }
            }
            _ => Damage::Remove { file },
        }
    }

    /// Something that the same segment held before.
    fn older(past: &Past, file: usize, rng: &mut Rng) -> Option<usize> {
        let index = &past.files[file].0[..21];
        let same: Vec<usize> = (0..past.older.len()).filter(|at| past.older[*at].0.starts_with(index)).collect();
        (!same.is_empty()).then(|| same[rng.below(same.len() as u64) as usize])
    }

    pub fn apply(&self, past: &Past, machine: &Machine) {
        let name = |file: usize| past.files[file].0.as_str();
        let disk = &machine.disk;
        let block = u64::from(past.machine.options.block_size) as usize;
        let at = |file: usize, offset: u64| &past.files[file].1[offset as usize..][..block];
        match self {
            Damage::Flip { file, offset, bit } => disk.flip_bit(name(*file), *offset, *bit),
            Damage::Write { file, offset, bytes } => disk.overwrite(name(*file), *offset, bytes),
            Damage::SwapBlocks { file, one, other } => {
                disk.overwrite(name(*file), *one, at(*file, *other));
                disk.overwrite(name(*file), *other, at(*file, *one));
            }
            Damage::RepeatBlock { file, from, to } => disk.overwrite(name(*file), *to, at(*file, *from)),
            Damage::Truncate { file, size } => disk.set_size(name(*file), *size),
            Damage::OlderBlocks { file, older, from, to } => {
                let older = &past.older[*older].1;
                let to = (*to as usize).min(older.len());
                if (*from as usize) < to {
                    disk.overwrite(name(*file), *from, &older[*from as usize..to]);
                }
            }
            Damage::OlderFile { file, older } => disk.overwrite(name(*file), 0, &past.older[*older].1),
            Damage::SwapFiles { one, other } if one == other => {}
            Damage::SwapFiles { one, other } => disk.swap_files(name(*one), name(*other)),
            Damage::CopyFile { from, to } if from == to => {}
            Damage::CopyFile { from, to } => disk.copy_file(name(*from), name(*to)),
            Damage::Remove { file } => disk.remove_file(name(*file)),
            Damage::Unreadable { file, offset, len } => {
                disk.fail_reads(name(*file), *offset..*offset + *len, u64::MAX, libc::EIO);
            }
        }
    }

    /// `content` of the file `name` as far as it can be read: in blocks, the others are zeros.
    pub fn readable(&self, past: &Past, name: &str, mut content: Vec<u8>) -> Vec<u8> {
        if let Some(range) = self.unreadable(past, name) {
            let end = (range.end as usize).min(content.len());
            content[(range.start as usize).min(end)..end].fill(0);
        }
        content
    }

    /// The blocks of the file `name` that cannot be read.
    fn unreadable(&self, past: &Past, name: &str) -> Option<Range<u64>> {
        let block = u64::from(past.machine.options.block_size);
        match self {
            Damage::Unreadable { file, offset, len } if past.files[*file].0 == name => {
                Some(offset / block * block..(offset + len).next_multiple_of(block))
            }
            _ => None,
        }
    }

    /// The numbers in sealed files that are as they were.
    pub fn untouched(&self, past: &Past, machine: &Machine) -> Vec<Range<u64>> {
        let first_seq = |name: &str| name[22..42].parse::<u64>().expect("a segment's name");
        let same = |pair: &&[(String, Vec<u8>)]| {
            pair[0].0.ends_with(".sealed")
                && machine.disk.content(&pair[0].0).as_ref() == Some(&pair[0].1)
                && self.unreadable(past, &pair[0].0).is_none()
        };
        past.files.windows(2).filter(same).map(|pair| first_seq(&pair[0].0)..first_seq(&pair[1].0)).collect()
    }

    /// Up to which number the headers that are still there say that all was durable.
    pub fn witnessed(&self, past: &Past, machine: &Machine) -> u64 {
        let block = u64::from(past.machine.options.block_size);
        let (newest, before) = past.files.last().expect("a log has files");
        let Some(now) = machine.disk.content(newest) else { return 0 };
        let bad = self.unreadable(past, newest).unwrap_or(0..0);
        let intact = |from: usize, len: usize| {
            now.len() >= from + len
                && now[from..from + len] == before[from..from + len]
                && !((from as u64) < bad.end && bad.start < (from + len) as u64)
        };
        let whole = now.len() == before.len() && intact(0, 512);
        let frames = frames(before, block).into_iter().filter(|frame| intact(frame.offset as usize, 128));
        if whole {
            frames.map(|frame| frame.durable_seq).max().unwrap_or(0)
        } else {
            0
        }
    }

    /// Whether promise 4 allows the log to end early: the damage took frames of the newest file together with
    /// every witness behind them, or left a state that once was whole.
    pub fn may_shorten(&self, past: &Past, machine: &Machine) -> bool {
        let newest = past.newest();
        let Some(now) = machine.disk.content(newest) else {
            // Between the new name and the old one's renaming the younger of two active files may vanish: then this
            // is the state right before it got its name.
            return past.files.len() > 1 && past.files[past.files.len() - 2].0.ends_with(".active");
        };
        let (_, before) = past.files.last().expect("a log has files");
        if matches!(self, Damage::OlderFile { file, .. } if *file + 1 == past.files.len()) {
            return true;
        }
        let block = u64::from(past.machine.options.block_size);
        let all = frames(before, block);
        let changed = |from: u64, len: u64| {
            let (from, to) = (from as usize, (from + len) as usize);
            now.len() < to || now[from..to] != before[from..to]
        };
        let Some(first) = all.iter().find(|frame| changed(frame.offset, frame.len)) else { return false };
        let intact = |frame: &&Frame| frame.offset > first.offset && !changed(frame.offset, 128);
        !all.iter().filter(intact).any(|frame| frame.durable_end > first.offset)
    }
}
