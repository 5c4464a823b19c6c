//! A segment file that lacks its end: what lies in front of that is read, kept by a repair, and nothing else goes.

use std::path::Path;

use twal::{Acknowledged, Code, StepKind};

use super::damage::{frames, Damage, Frame};
use super::judge::{read_log, require, Verdict};
use super::past::Past;
use super::repairs;
use super::rng::Rng;

/// A file that is cut, and what is to be left of the log.
struct Cut<'p> {
    past: &'p Past,
    file: usize,
    size: u64,
    frames: Vec<Frame>,
}

/// What a repair is to do.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Clone, Copy)]
enum Expected {
    /// Nothing that was written is missing.
    Filled,
    /// Frames are.
    Cut,
    /// Frames of a released segment are: its seal is what every open needs.
    SealLost,
}

impl Cut<'_> {
    fn name(&self) -> &str {
        &self.past.files[self.file].0
    }

    fn index(&self) -> u64 {
        self.name()[5..21].parse().expect("a segment's name")
    }

    fn is(&self, state: &str) -> bool {
        self.name().ends_with(state)
    }

    fn is_newest(&self) -> bool {
        self.file + 1 == self.past.files.len()
    }

    fn expected(&self) -> Expected {
        let (len, block) = (self.past.files[self.file].1.len() as u64, u64::from(self.past.machine.options.block_size));
        // A header is what tells a frame that was durable, and so the end from what is missing.
        let all_heads = self.size >= len - block + 128;
        let all_frames = self.frames.iter().all(|frame| frame.body_end <= self.size);
        match all_frames && (!self.is_newest() || all_heads) {
            true => Expected::Filled,
            false if self.is(".archived") => Expected::SealLost,
            false => Expected::Cut,
        }
    }

    /// The last number in front of the missing end.
    fn last(&self) -> u64 {
        if self.is(".archived") {
            return self.past.last_there(self.past.first_seq, self.past.acked());
        }
        let first_seq: u64 = self.name()[22..42].parse().expect("a segment's name");
        let whole = self.frames.iter().take_while(|frame| frame.body_end <= self.size);
        let last = whole.map(|frame| frame.last_seq).max().unwrap_or(first_seq - 1);
        self.past.last_there(self.past.first_seq, last.min(self.past.acked()))
    }

    fn judge(&self, seed: u64) -> Verdict<Expected> {
        let expected = self.expected();
        let machine = self.past.machine.fork(seed);
        machine.disk.set_size(self.name(), self.size);
        let refused = machine.fork(seed).open().map(drop).map_err(|error| (error.code, error.segment));
        require!(expected == Expected::SealLost || refused == Err((Code::Corrupt, self.index())), "{refused:?}");
        if expected != Expected::SealLost {
            let reader = machine.fork(seed).open_to_read().map_err(|error| error.to_string())?;
            let seen = read_log(self.past, &reader)?;
            let place = seen.error.as_ref().map(|error| (error.code, error.segment, error.offset));
            require!(place == Some((Code::Corrupt, self.index(), self.size)), "a reader ends with {:?}", seen.error);
            require!(seen.last() == self.last(), "read up to {} of {}", seen.last(), self.last());
            let verified = twal::verify_on(machine.fork(seed).disk.as_ref(), Path::new("log"), &mut |_| true);
            let verified = verified.map_err(|error| error.to_string())?;
            let good = self.past.last_there(verified.first_seq, verified.last_good_seq);
            require!(verified.damaged == 1 && good == self.last(), "{verified:?}, {} is the last", self.last());
        }
        let mut repair = match repairs::plan(&machine) {
            Err(error) if expected == Expected::SealLost && error.code == Code::Unsupported => return Ok(expected),
            plan => plan.map_err(|error| format!("no plan: {:?} {error}", error.code))?,
        };
        let steps = repair.steps().to_vec();
        let first = &steps[0];
        require!(first.file == self.name(), "{steps:?}");
        let goes = match expected {
            Expected::Filled => {
                let fills = first.kind == StepKind::Fill && first.offset == self.size;
                require!(fills && steps.len() == 1 && first.acknowledged == Acknowledged::No, "{steps:?}");
                false
            }
            Expected::SealLost => {
                require!(first.kind == StepKind::Restore && steps.len() == 1, "{steps:?}");
                false
            }
            Expected::Cut => {
                let known = if self.is_newest() { Acknowledged::Unknown } else { Acknowledged::Yes };
                require!(first.kind == StepKind::Cut && first.acknowledged == known, "{steps:?}");
                let dropped = steps[1..].iter().filter(|step| step.kind == StepKind::Drop).count();
                require!(dropped == steps.len() - 1 && dropped == self.past.files.len() - 1 - self.file, "{steps:?}");
                let refused = repair.apply(Path::new("backup"), false).map_err(|error| error.code);
                require!(refused.is_err_and(|code| code == Code::State), "it goes without a word");
                true
            }
        };
        repair.apply(Path::new("backup"), goes).map_err(|error| format!("{:?} {error}", error.code))?;
        drop(repair);
        let (now, before) = (machine.disk.content(self.name()).unwrap_or_default(), &self.past.files[self.file].1);
        if expected == Expected::Filled {
            let (there, new) = now.split_at(self.size as usize);
            let same = *there == before[..there.len()] && new.iter().all(|byte| *byte == 0);
            require!(same && now.len() == before.len(), "the file is not what it was");
        }
        let log = machine.open().map_err(|error| format!("after the repair: {:?} {error}", error.code))?;
        let seen = read_log(self.past, &log)?;
        let last = if goes { self.last() } else { self.past.last_there(self.past.first_seq, self.past.acked()) };
        require!(seen.error.is_none() && seen.last() == last, "left up to {} of {last}: {:?}", seen.last(), seen.error);
        require!((log.report().repaired_seq > 0) == goes, "the report says another thing than the plan");
        Ok(expected)
    }
}

/// Places at which a file of these frames may end.
fn sizes(frames: &[Frame], len: u64, block: u64, rng: &mut Rng) -> Vec<u64> {
    let mut sizes = vec![len - 1, len - block, block, block + 1, rng.within(512, len - 1)];
    for _ in 0..3 {
        if frames.is_empty() {
            break;
        }
        let frame = frames[rng.below(frames.len() as u64) as usize];
        sizes.extend([frame.offset, frame.offset + 64, frame.offset + 128, frame.body_end - 1, frame.body_end]);
        // In its padding; and with the next one's.
        sizes.push(rng.within(frame.body_end, frame.offset + frame.len));
    }
    let last = frames.last().map_or(block, |frame| frame.offset + frame.len);
    sizes.extend([last, last - 1]);
    sizes.retain(|size| (512..len).contains(size));
    sizes
}

/// With every file of many logs: released, sealed, the newest; plain and compacted.
#[test]
fn what_lies_in_front_of_a_missing_end_is_read_and_kept() {
    let (from, to) = super::env("TWAL_SEED").map_or((0, 12), |seed| (seed, seed + 1));
    let mut met = std::collections::BTreeMap::new();
    let mut states = 0;
    for seed in from..to {
        let past = Past::live(seed);
        let block = u64::from(past.machine.options.block_size);
        let mut rng = Rng::new(!seed);
        let first = past.files.iter().rposition(|(name, _)| name.ends_with(".archived")).unwrap_or(0);
        for file in first..past.files.len() {
            let (name, content) = &past.files[file];
            let frames = frames(content, block);
            for size in sizes(&frames, content.len() as u64, block, &mut rng) {
                let cut = Cut { past: &past, file, size, frames: frames.clone() };
                let what = format!("TWAL_SEED={seed}: {name} of {} bytes cut at {size}", content.len());
                let judged = cut.judge(rng.next()).unwrap_or_else(|text| panic!("{what}: {text}"));
                let state = name.rsplit('.').next().expect("a state").to_owned();
                *met.entry((state, judged)).or_insert(0u64) += 1;
                if rng.percent(2) {
                    let damage = Damage::Truncate { file, size };
                    let machine = past.machine.fork(seed);
                    damage.apply(&past, &machine);
                    let crashed = repairs::crashes(&past, &damage, &machine, (false, rng.next()));
                    states += crashed.unwrap_or_else(|text| panic!("{what}: {text}"));
                }
            }
        }
    }
    println!("{met:?}, {states} crash states");
    assert!(to - from == 1 || (met.len() >= 6 && states > 100), "{met:?}, {states} crash states");
}

/// The header of the generation before, and perhaps frames behind it, over the smaller file that a compaction made: by
/// its header that file has lost its end, and what continues the header is what was let go.
#[test]
fn an_older_header_over_a_compacted_file_revives_nothing() {
    let mut tried = 0;
    for seed in 0..80 {
        let past = Past::live(seed);
        let block = u64::from(past.machine.options.block_size);
        for (file, (name, content)) in past.files.iter().enumerate().filter(|(_, (name, _))| name.ends_with(".sealed"))
        {
            let larger = |(other, old): &&(String, Vec<u8>)| other[..42] == name[..42] && old.len() > content.len();
            let Some((_, old)) = past.older.iter().find(larger) else { continue };
            // As long as its seal is left the file is known.
            for to in (block..=content.len() as u64 - 2 * block).step_by(block as usize) {
                let machine = past.machine.fork(seed);
                machine.disk.overwrite(name, 0, &old[..to as usize]);
                let what = format!("seed {seed}, {name} up to {to}");
                // The judge wants nothing that was let go.
                let reader = machine.open_to_read().unwrap();
                let seen = read_log(&past, &reader).unwrap_or_else(|text| panic!("{what}: {text}"));
                let first: u64 = name[22..42].parse().unwrap();
                assert_eq!(seen.error.map(|error| error.code), Some(Code::Corrupt), "{what}");
                assert!(seen.seqs.last().is_none_or(|last| *last < first), "{what}");
                if let Ok(repair) = repairs::plan(&machine) {
                    let step = &repair.steps()[0];
                    assert_eq!((step.kind, step.segment), (StepKind::Drop, file_index(&past, file)), "{what}");
                }
                tried += 1;
            }
        }
    }
    println!("{tried} tried");
    assert!(tried > 50, "only {tried}");
}

fn file_index(past: &Past, file: usize) -> u64 {
    past.files[file].0[5..21].parse().expect("a segment's name")
}

/// A file that cannot be opened or measured for once says nothing: no plan is made of that, but the plan without it.
#[test]
fn nothing_is_planned_of_what_could_not_be_opened() {
    use twal::disk::sim::CallKind;
    let (mut failed, mut same) = (0, 0);
    for seed in 0..6 {
        let past = Past::live(seed);
        let mut rng = Rng::new(!seed);
        let (name, content) = &past.files[rng.below(past.files.len() as u64) as usize];
        for damage in 0..4 {
            let machine = past.machine.fork(seed);
            match damage {
                0 => {}
                1 => machine.disk.flip_bit(name, 8, 1),
                2 => machine.disk.set_size(name, rng.within(512, content.len() as u64 - 1)),
                _ => machine.disk.flip_bit(name, rng.below(content.len() as u64), 1),
            }
            let told = |machine: &super::Machine| {
                let plan = repairs::plan(machine).map_err(|error| error.code);
                plan.map(|repair| format!("{:?}", repair.steps()))
            };
            let whole = told(&machine.fork(seed));
            for kind in [CallKind::Open, CallKind::Stat] {
                for k in 0.. {
                    let fork = machine.fork(seed);
                    let before = fork.disk.counts().of(kind);
                    fork.disk.fail_kind(kind, k, libc::EIO);
                    let now = told(&fork);
                    if fork.disk.counts().of(kind) - before <= k {
                        break;
                    }
                    match now {
                        Err(Code::Io) => failed += 1,
                        now => {
                            assert_eq!(now, whole, "seed {seed}, {damage}, {kind:?} {k} fails");
                            same += 1;
                        }
                    }
                }
            }
        }
    }
    println!("{failed} failed, {same} came to the same");
    assert!(failed > 100, "{failed} failed, {same} came to the same");
}
