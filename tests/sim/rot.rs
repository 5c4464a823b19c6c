//! Damage after acknowledgement: whatever bit flips, a log is refused or holds
//! everything; it is never shortened in silence.

use twal::disk::sim::{Keep, Stop};
use twal::{Code, How, Options};

use super::model::{require, Model, Read, Seen, Verdict};
use super::run::{Plan, Run, PLAN};
use super::world::{Machine, Story};

/// Offsets worth flipping: a few in every block that holds anything.
fn spots(run: &mut Run<'_>, content: &[u8]) -> Vec<u64> {
    let mut spots = Vec::new();
    for (block, bytes) in (0u64..).zip(content.chunks(512)) {
        if bytes.iter().all(|byte| *byte == 0) {
            continue;
        }
        spots.push(block * 512 + run.rng.below(128));
        if run.rng.percent(50) {
            spots.push(block * 512 + run.rng.below(512));
        }
    }
    // Everything would take minutes.
    while spots.len() > 40 {
        let out = run.rng.below(spots.len() as u64) as usize;
        spots.swap_remove(out);
    }
    spots
}

/// What a damaged log shows: everything witnessed, or damage.
fn judge(model: &Model, seen: &Seen, story: &mut Story) -> Verdict {
    let records: &[Read] = &seen.records;
    model.check_records(seen.first_seq, records)?;
    if let Some(error) = &seen.error {
        require!(matches!(error.code, Code::Corrupt | Code::Io), "damage is called {:?}: {error}", error.code);
        story.count("rot: found by reading");
        return Ok(());
    }
    require!(seen.first_seq <= model.released.max(1), "the log begins at {}", seen.first_seq);
    let last = seen.last_seq();
    require!(last >= model.witnessed, "shortened in silence to {last}, witnessed was {}", model.witnessed);
    story.count(if last < model.acked { "rot: last frame without a witness" } else { "rot: harmless" });
    Ok(())
}

fn open_damaged(machine: &Machine, model: &Model, story: &mut Story) -> Verdict<bool> {
    let reader = machine.open_to_read().map_err(|error| format!("read-only open of a damaged log: {error}"))?;
    judge(model, &Seen::of(&reader), story).map_err(|text| format!("read-only: {text}"))?;
    drop(reader);
    match machine.open() {
        Ok(log) => {
            judge(model, &Seen::of(&log), story)?;
            Ok(true)
        }
        Err(error) => {
            require!(matches!(error.code, Code::Corrupt | Code::Io), "damage is called {:?}: {error}", error.code);
            story.count("rot: refused");
            Ok(false)
        }
    }
}

/// A log with a past, as it stands at some moment without a crash in progress.
fn with_a_past(run: &mut Run<'_>) -> Verdict {
    for _ in 0..run.rng.within(1, 2) {
        run.machine.options = Options {
            segment_size: run.rng.pick(&[64 << 10, 128 << 10]),
            max_retained_segments: 1,
            ..run.machine.options.clone()
        };
        let log = run.machine.reopen()?;
        run.model.reported(&Seen::of(&log));
        for _ in 0..run.rng.within(3, 25) {
            let given = run.record(1200);
            run.append_all(&log, vec![given], How { sync: Some(true), no_wait: false })?;
            if run.rng.percent(8) {
                log.roll().map_err(|error| format!("roll: {error}"))?;
                run.model.witness(run.model.last_seq());
            }
            if run.rng.percent(3) {
                let below = run.rng.below(run.model.last_seq() + 1);
                run.model.released = run.model.released.max(below);
                log.trim(below).map_err(|error| format!("trim: {error}"))?;
            }
        }
        match run.rng.below(3) {
            0 => {
                // The idle mark.
                run.machine.pass_us(run.machine.options.idle_mark_us.max(10_000));
                log.tick();
                run.model.witness(run.model.last_seq());
                run.machine.disk.power_cut();
            }
            1 => {
                log.close().map_err(|error| format!("close: {error}"))?;
                run.model.witness(run.model.last_seq());
            }
            _ => run.machine.disk.power_cut(),
        }
        drop(log);
    }
    Ok(())
}

/// Header and seal of a segment of the log: open for writing reads them all.
/// The last block that holds anything is the seal, but in a file that was recycled.
fn must_refuse(model: &Model, name: &str, content: &[u8], offset: u64) -> bool {
    let last = content.chunks(512).rposition(|block| block.iter().any(|byte| *byte != 0)).unwrap_or(0) as u64;
    name.ends_with(".sealed") && model.released == 0 && (offset < 512 || (offset / 512 == last && offset % 512 < 152))
}

pub fn rot(seed: u64, story: &mut Story) -> Verdict {
    let mut run = Run::new(seed, Plan { ..PLAN }, story);
    with_a_past(&mut run)?;
    let verify = run.rng.percent(30);
    run.machine.options.verify = verify;
    for name in run.machine.disk.names() {
        let content = run.machine.disk.content(&name).expect("it was listed");
        for offset in spots(&mut run, &content) {
            let bit = run.rng.below(8) as u8;
            let damaged = run.machine.crashed(run.rng.next(), Stop::Kill, Keep::Random);
            damaged.disk.flip_bit(&name, offset, bit);
            let opened = open_damaged(&damaged, &run.model, run.story)
                .map_err(|text| format!("bit {bit} at {offset} of {name}: {text}"))?;
            if opened {
                require!(
                    !must_refuse(&run.model, &name, &content, offset),
                    "bit {bit} at {offset} of {name} is accepted"
                );
                continue;
            }
            // A refusal changes nothing: undone damage leaves nothing behind.
            damaged.disk.flip_bit(&name, offset, bit);
            let healed = Seen::of(&damaged.reopen()?);
            run.model
                .check(&healed, run.model.acked)
                .map_err(|text| format!("bit {bit} at {offset} of {name} and back: {text}"))?;
        }
    }
    Ok(())
}

/// A spot that does not read is not the end of the log; when it reads again, all is there.
pub fn bad_reads(seed: u64, story: &mut Story) -> Verdict {
    let mut run = Run::new(seed, PLAN, story);
    with_a_past(&mut run)?;
    for name in run.machine.disk.names().into_iter().filter(|name| !name.contains("spare")) {
        let content = run.machine.disk.content(&name).expect("it was listed");
        for offset in spots(&mut run, &content).into_iter().take(12) {
            let bad = run.machine.crashed(run.rng.next(), Stop::Kill, Keep::Random);
            let times = run.rng.pick(&[1, 2, 1000]);
            bad.disk.fail_reads(&name, offset..offset + 1, times, libc::EIO);
            let what = format!("reads of {offset} of {name} fail {times} times");
            let opened = match bad.open() {
                Ok(log) => {
                    let seen = Seen::of(&log);
                    run.model.check_records(seen.first_seq, &seen.records)?;
                    match &seen.error {
                        None => require!(seen.last_seq() >= run.model.acked, "{what}: ends at {}", seen.last_seq()),
                        Some(error) => require!(error.code == Code::Io, "{what}: {:?} {error}", error.code),
                    }
                    run.story.count("bad reads: opened");
                    Some(log)
                }
                Err(error) => {
                    require!(error.code == Code::Io, "{what}: open says {:?} {error}", error.code);
                    run.story.count("bad reads: refused");
                    None
                }
            };
            bad.disk.clear_faults();
            drop(opened);
            let seen = Seen::of(&bad.reopen().map_err(|text| format!("{what}, then well: {text}"))?);
            run.model.check(&seen, run.model.acked).map_err(|text| format!("{what}, then well: {text}"))?;
        }
    }
    Ok(())
}

/// What is done to a machine's files, and its name.
type Misplaced = (String, Box<dyn Fn(&Machine)>);

/// Files that vanish, change places, double or shrink: refused, or harmless; never fewer records in silence.
pub fn misplaced(seed: u64, story: &mut Story) -> Verdict {
    let mut run = Run::new(seed, PLAN, story);
    with_a_past(&mut run)?;
    let names: Vec<String> = run.machine.disk.names().into_iter().filter(|name| !name.contains("spare")).collect();
    let mut cases: Vec<Misplaced> = Vec::new();
    for (at, name) in names.iter().enumerate() {
        let one = name.clone();
        // Between the new name and the old one's renaming both are active: without the younger this
        // is the state right before it got its name, and nothing tells the two apart.
        let twin = at > 0 && at + 1 == names.len() && names[at - 1].ends_with(".active");
        if twin {
            continue;
        }
        cases.push((format!("{name} vanishes"), Box::new(move |machine| machine.disk.remove_file(&one))));
        let one = name.clone();
        let size = run.machine.disk.content(name).map_or(0, |content| content.len() as u64);
        let shorter = run.rng.below(size);
        cases.push((
            format!("{name} shrinks to {shorter}"),
            Box::new(move |machine| machine.disk.set_size(&one, shorter)),
        ));
        for other in &names[at + 1..] {
            let (one, two) = (name.clone(), other.clone());
            cases.push((
                format!("{name} and {other} change places"),
                Box::new(move |machine| machine.disk.swap_files(&one, &two)),
            ));
            let (one, two) = (name.clone(), other.clone());
            cases.push((
                format!("{name} is copied over {other}"),
                Box::new(move |machine| machine.disk.copy_file(&one, &two)),
            ));
        }
    }
    while cases.len() > 25 {
        let out = run.rng.below(cases.len() as u64) as usize;
        drop(cases.swap_remove(out));
    }
    for (what, change) in cases {
        let damaged = run.machine.crashed(run.rng.next(), Stop::Kill, Keep::Random);
        change(&damaged);
        if damaged.disk.names().iter().all(|name| name.contains("spare") || name.ends_with(".archived")) {
            continue; // Nothing that can be read is left: what a reader is told of it is another matter.
        }
        run.story.count("files misplaced");
        open_damaged(&damaged, &run.model, run.story).map_err(|text| format!("{what}: {text}"))?;
    }
    Ok(())
}
