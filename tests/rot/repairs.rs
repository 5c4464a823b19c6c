//! Repair of a damaged log: what is kept is a prefix, and a crash in the middle loses nothing more.

use std::path::Path;

use twal::disk::sim::{Keep, Stop};
use twal::{Acknowledged, Code, Error, Repair, StepKind};

use super::damage::Damage;
use super::judge::{is_damage, nothing_silent, read_log, require, Seen, Verdict};
use super::past::{Machine, Past};
use super::rng::Rng;

const BACKUP: &str = "backup";

pub fn plan(machine: &Machine) -> Result<Repair, Error> {
    Repair::plan_on(Box::new((*machine.disk).clone()), Path::new("log"), &machine.options, machine.clock.clone())
}

fn apply(machine: &Machine) -> Result<(), Error> {
    plan(machine)?.apply(Path::new(BACKUP), true).map(drop)
}

/// What a log shows that was repaired: a whole prefix that says what was cut.
fn repaired(past: &Past, machine: &Machine) -> Verdict<Seen> {
    let unverified = twal::Options { verify: false, ..machine.options.clone() };
    let log = machine.open_with(&unverified).map_err(|error| format!("after the repair: {:?} {error}", error.code))?;
    let seen = read_log(past, &log)?;
    require!(seen.error.is_none(), "after the repair reading fails: {:?}", seen.error);
    let there = seen.last() + 1 - seen.first_seq - past.holes_between(seen.first_seq, seen.last());
    require!(seen.seqs.len() as u64 == there, "a gap after the repair");
    require!(seen.last() == 0 || !past.batch_continues(seen.last()), "the repaired log ends inside a batch");
    Ok(seen)
}

/// The file, as it was, is in the backup; what the last block lacked is zeros there.
fn is_kept(machine: &Machine, file: &str, content: &[u8]) -> bool {
    machine.disk.names_in(Path::new(BACKUP)).iter().filter(|name| name.starts_with(file)).any(|name| {
        let copy = machine.disk.content(&format!("{BACKUP}/{name}")).unwrap_or_default();
        copy.starts_with(content) && copy[content.len()..].iter().all(|byte| *byte == 0)
    })
}

/// Repairs a copy of `machine` and judges it.  None: nothing was to be done, or it was beyond repair.
pub fn repair(
    past: &Past,
    damage: &Damage,
    machine: &Machine,
    (may_shorten, seed): (bool, u64),
) -> Verdict<Option<Seen>> {
    let before = machine.fork(seed).open_to_read().ok().map(|reader| read_log(past, &reader)).transpose()?;
    let fork = machine.fork(seed);
    let left = fork.disk.names().iter().any(|name| !name.contains("spare"));
    let mut repair = match plan(&fork) {
        Ok(repair) => repair,
        Err(error) if error.code == Code::Unsupported => return Ok(None),
        Err(error) => {
            require!(!left && error.code == Code::NotFound, "no plan: {:?} {error}", error.code);
            return Ok(None);
        }
    };
    if repair.steps().is_empty() {
        drop(repair);
        let log = fork.open().map_err(|error| format!("nothing to repair, but open says {:?} {error}", error.code))?;
        let seen = read_log(past, &log)?;
        require!(seen.error.is_none(), "nothing to repair, but reading says {:?}", seen.error);
        nothing_silent(past, &seen, may_shorten)?;
        return Ok(None);
    }
    let is_damaged = repair.damage().is_some_and(|error| is_damage(error).is_ok());
    require!(is_damaged, "a plan without damage");
    let steps = repair.steps().to_vec();
    let readable = |file: &str| fork.disk.content(file).map(|content| damage.readable(past, file, content));
    let contents: Vec<_> = steps.iter().map(|step| readable(&step.file)).collect();
    let drops = steps.iter().any(|step| step.acknowledged != Acknowledged::No);
    if drops {
        let names = fork.disk.names();
        let refused = repair.apply(Path::new(BACKUP), false).map_err(|error| error.code);
        require!(refused == Err(Code::State), "acknowledged records go without a word: {refused:?}");
        require!(fork.disk.names() == names, "a refused repair changed something");
    }
    repair.apply(Path::new(BACKUP), drops).map_err(|error| format!("repair fails: {:?} {error}", error.code))?;
    drop(repair);
    for (step, content) in steps.iter().zip(contents) {
        let Some(content) = content.filter(|_| step.kind != StepKind::Begin) else { continue };
        require!(is_kept(&fork, &step.file, &content), "no copy of {}", step.file);
    }
    for step in steps.iter().filter(|step| step.kind == StepKind::Begin) {
        let begun = fork.disk.content(&step.file).unwrap_or_default();
        let whole = begun.len() == 64 << 10 && begun[136..144] == [0; 8];
        require!(whole, "{} begins with {} bytes, and as if it had been compacted", step.file, begun.len());
    }
    goes_on(&fork.fork(seed))?;
    let verified = twal::verify_on(fork.disk.as_ref(), Path::new("log"), &mut |_| true);
    let verified = verified.map_err(|error| format!("verify after the repair: {error}"))?;
    let seen = repaired(past, &fork)?;
    let good = past.last_there(seen.first_seq, verified.last_good_seq);
    require!(good == seen.last(), "verify: {verified:?}, read up to {}", seen.last());
    if let Some(before) = before {
        require!(
            seen.last() >= before.last().min(seen.first_seq + before.last() - before.first_seq),
            "before the repair {} could be read, now {}",
            before.last(),
            seen.last()
        );
    }
    Ok(Some(seen))
}

/// The log is written on, over the end of the segment that was cut or begun, and read.
fn goes_on(machine: &Machine) -> Verdict {
    let options = twal::Options { verify: false, ..machine.options.clone() };
    let failed = |what: &str, error: Error| format!("{what} after the repair: {:?} {error}", error.code);
    let log = machine.open_with(&options).map_err(|error| failed("open", error))?;
    let entry = twal::Entry { data: &[1; 700], stream: 0, timestamp: None, kind: 0x0100, required: false };
    for _ in 0..2 {
        log.append(&entry, twal::How::default()).map_err(|error| failed("append", error))?;
        log.roll().map_err(|error| failed("roll", error))?;
    }
    let last = log.append(&entry, twal::How::default()).map_err(|error| failed("append", error))?;
    log.close().map_err(|error| failed("close", error))?;
    let log = machine.open_with(&options).map_err(|error| failed("open", error))?;
    let (mut iter, mut read) = (log.iter(0).map_err(|error| failed("reading", error))?, 0);
    while let Some(record) = iter.next_record().map_err(|error| failed("reading", error))? {
        read = record.seq;
    }
    require!(read == last, "after the repair {last} was appended, {read} is the last");
    Ok(())
}

/// Stops a repair at every step, in every way, and looks; then repairs again.
pub fn crashes(past: &Past, damage: &Damage, machine: &Machine, (may_shorten, seed): (bool, u64)) -> Verdict<u64> {
    let dry = machine.fork(seed);
    if !plan(&dry).is_ok_and(|repair| !repair.steps().is_empty()) {
        return Ok(0);
    }
    let from = dry.disk.steps();
    apply(&dry).map_err(|error| format!("repair fails: {:?} {error}", error.code))?;
    let last = repaired(past, &dry.fork(seed))?.last();
    let says_cut = says_cut(&dry.fork(seed));
    let steps = dry.disk.steps() - from;
    // What it said is done stays done.
    let cut = dry.fork(seed);
    cut.disk.set_keep(Keep::Nothing);
    cut.disk.power_cut();
    let there = repaired(past, &cut).map_err(|text| format!("power cut behind the repair: {text}"))?.last();
    require!(there == last, "the repaired log ends at {last}, after a power cut at {there}");
    // What is no file has no content, and perhaps another name meanwhile.
    let content = |name: &str| machine.disk.content(name).filter(|content| !content.is_empty());
    let there = |(name, _): &'_ (String, Vec<u8>)| Some((name.clone(), content(name)?));
    let no_files = machine.disk.count_what_is_no_file(Path::new("log"));
    let files: Vec<(String, Vec<u8>)> = past.files.iter().filter_map(there).collect();
    let (mut states, mut rng) = (0, Rng::new(seed));
    for at in 0..steps {
        // Each of them in its turn; many seeds make all of them.
        let (stop, keep) = rng.pick(&[
            (Stop::Kill, Keep::Everything),
            (Stop::PowerCut, Keep::Nothing),
            (Stop::PowerCut, Keep::Everything),
            (Stop::PowerCut, Keep::Random),
        ]);
        let fork = machine.fork(rng.next());
        fork.disk.set_keep(keep);
        fork.disk.stop_at(fork.disk.steps() + at, stop);
        let interrupted = apply(&fork);
        if !fork.disk.restart() {
            continue;
        }
        require!(interrupted.is_err(), "a repair that was stopped says that it is done");
        fork.disk.land_late_writes();
        states += 1;
        let what = format!("stopped at {at} of {steps} by {stop:?}, {keep:?}");
        nothing_is_gone(past, damage, &files, &fork).map_err(|text| format!("{what}: {text}"))?;
        let left = ["log", BACKUP].map(|dir| fork.disk.count_what_is_no_file(Path::new(dir))).iter().sum::<usize>();
        require!(left >= no_files, "{what}: of {no_files} things that are no files {left} are left");
        after_a_crash(past, damage, &fork, (may_shorten, last, says_cut)).map_err(|text| format!("{what}: {text}"))?;
    }
    Ok(states)
}

/// What was there is there still, or its copy is.
pub fn nothing_is_gone(past: &Past, damage: &Damage, files: &[(String, Vec<u8>)], crashed: &Machine) -> Verdict {
    for (name, content) in files {
        let stays = crashed.disk.content(name).is_some_and(|now| now == *content);
        // A segment that is cut may be under its new name.
        let copy = damage.readable(past, name, content.clone());
        require!(stays || is_kept(crashed, name, &copy), "{name} is neither in the log nor in the backup");
    }
    Ok(())
}

/// Whether the log says that something was cut.
fn says_cut(machine: &Machine) -> bool {
    machine.open().is_ok_and(|log| log.report().repaired_seq > 0)
}

fn after_a_crash(
    past: &Past,
    damage: &Damage,
    crashed: &Machine,
    (may_shorten, last, cut): (bool, u64, bool),
) -> Verdict {
    let fork = crashed.fork(last);
    match fork.open() {
        Err(error) => is_damage(&error)?,
        Ok(log) => {
            let seen = read_log(past, &log)?;
            let repaired_seq = log.report().repaired_seq;
            let ends = repaired_seq > 0 && past.last_there(seen.first_seq, repaired_seq - 1) == last;
            let done = seen.error.is_none() && seen.last() == last && ends;
            if !done {
                nothing_silent(past, &seen, may_shorten)?;
            }
        }
    }
    // What could not be read may be read once more: then nothing may be wrong any more, and nothing is cut.
    let as_it_was = past.files.iter().all(|(name, content)| crashed.disk.content(name).as_ref() == Some(content));
    let cut = cut && !(as_it_was && matches!(damage, Damage::Unreadable { .. }));
    apply(crashed).map_err(|error| format!("the second repair fails: {:?} {error}", error.code))?;
    let seen = repaired(past, crashed)?;
    // Then there may be more, too; and what a file lacked may have been zeros.
    let more = matches!(damage, Damage::Unreadable { .. } | Damage::Truncate { .. }) && seen.last() > last;
    require!(seen.last() == last || more, "the second repair ends at {}, the first at {last}", seen.last());
    require!(more || !cut || says_cut(&crashed.fork(last)), "the second repair does not say that something was cut");
    Ok(())
}
