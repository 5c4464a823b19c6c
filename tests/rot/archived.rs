//! The newest archived segment, whose header and seal every opening needs and nobody reads behind.

use std::path::Path;

use twal::{Acknowledged, StepKind};

use super::damage::{frames, Damage};
use super::judge::{read_log, require, Verdict};
use super::past::Past;
use super::repairs;
use super::rng::Rng;

/// Position of the newest archived file, and where its seal is.  Not of one that was compacted: what that one
/// dropped is not known any more.
pub fn newest_archived(past: &Past) -> Option<(usize, u64)> {
    const GENERATION: std::ops::Range<usize> = 136..144;
    let file = past.files.iter().rposition(|(name, _)| name.ends_with(".archived"))?;
    if past.files[file].1[GENERATION] != [0; 8] {
        return None;
    }
    let block = u64::from(past.machine.options.block_size);
    Some((file, frames(&past.files[file].1, block).last()?.offset))
}

fn index(name: &str) -> u64 {
    name[5..21].parse().expect("a segment's name")
}

/// Something that takes the header, the seal, or both; or their neighbours too.
pub fn draw(file: usize, seal: u64, block: u64, rng: &mut Rng) -> Vec<Damage> {
    let one = |rng: &mut Rng, offset: u64, used: u64| match rng.below(4) {
        0 => Damage::Flip { file, offset: offset + rng.below(used), bit: rng.below(8) as u8 },
        1 => Damage::Write { file, offset, bytes: vec![0; block as usize] },
        2 => Damage::Write { file, offset, bytes: (0..block).map(|_| rng.next() as u8).collect() },
        _ => Damage::Unreadable { file, offset: offset + rng.below(block), len: 1 },
    };
    match rng.below(3) {
        0 => vec![one(rng, 0, 512)],
        1 => vec![one(rng, seal, 152)],
        _ => vec![one(rng, 0, 512), one(rng, seal, 152)],
    }
}

/// Restores the log in `past` that was damaged so, and judges: nothing goes, and the seal is what it was.
pub fn restore(past: &Past, damages: &[Damage], (file, seal): (usize, u64), seed: u64) -> Verdict {
    let (name, before) = &past.files[file];
    let machine = past.machine.fork(seed);
    damages.iter().for_each(|damage| damage.apply(past, &machine));
    require!(machine.fork(seed).open().is_err(), "a log without it opens");
    let mut repair = repairs::plan(&machine).map_err(|error| format!("no plan: {:?} {error}", error.code))?;
    let steps = repair.steps().to_vec();
    require!(steps.len() == 1 && steps[0].kind == StepKind::Restore && steps[0].file == *name, "{steps:?}");
    require!(steps[0].acknowledged == Acknowledged::No, "{steps:?}");
    repair.apply(Path::new("backup"), false).map_err(|error| format!("{:?} {error}", error.code))?;
    drop(repair);
    let now = machine.disk.content(name).ok_or("it is gone")?;
    let changed = |range: std::ops::Range<usize>| now[range.clone()] != before[range];
    require!(!changed(past.machine.options.block_size as usize..now.len()), "something but the header is another");
    require!(
        frames(&now, u64::from(past.machine.options.block_size)).last().is_some_and(|last| last.offset == seal),
        "no seal"
    );
    // Of the header the day, the checksum and the salt may be others, and how a segment ended that is gone.
    let elder =
        past.files[..file].last().is_some_and(|(elder, _)| elder[..21] == format!("twal-{:016}", index(name) - 1));
    for (from, to) in [(0, 20), (28, 44), (48, 112), (128, 160), (160, if elder { 512 } else { 160 })] {
        require!(!changed(from..to), "bytes {from} to {to} of the header are others");
    }
    let verified = twal::verify_on(machine.disk.as_ref(), Path::new("log"), &mut |_| true);
    let verified = verified.map_err(|error| format!("verify: {error}"))?;
    require!(verified.damaged == 0, "verify finds {verified:?}");
    let log = machine.open_with(&twal::Options { verify: true, ..machine.options.clone() });
    let seen = read_log(past, &log.map_err(|error| format!("after the repair: {:?} {error}", error.code))?)?;
    require!(
        seen.error.is_none() && seen.first_seq == past.first_seq && seen.last() == past.acked(),
        "{:?}",
        seen.error
    );
    Ok(())
}
