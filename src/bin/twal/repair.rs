//! `twal repair`: what it takes to make a log whole; done only if told so.

use std::io::Write;

use twal::{Acknowledged, Options, Repair, Step, StepKind};

use crate::cli::RepairArgs;
use crate::exit::{Exit, Failure};
use crate::output::{range, shown, size, Out};
use crate::verify::acknowledged_text;

pub fn run(args: &RepairArgs, out: &mut Out) -> Result<Exit, Failure> {
    let options = Options {
        no_create: true,
        // A plan is only looked at.
        allow_any_fs: args.file_system.allow_any_fs || !args.apply,
        allow_buffered: args.file_system.allow_buffered || !args.apply,
        ..Options::default()
    };
    let mut repair = Repair::plan(&args.log.log, &options).map_err(|error| Failure::opening(&error))?;
    // Of the log as it was found: a repair has nothing to do with them.
    let lost_holds = repair.holds_damage();
    let done = if lost_holds.is_some() { Exit::Found } else { Exit::Clean };
    if let Some(lost) = &lost_holds {
        let way_on = "no repair brings them back, and nothing is released until `twal hold reset`";
        writeln!(out, "holds: {}; {way_on}", shown(lost))?;
    }
    if repair.steps().is_empty() && repair.damage().is_none() {
        match repair.released_damage()? {
            None if lost_holds.is_some() => writeln!(out, "nothing else is damaged: there is nothing to repair")?,
            None => writeln!(out, "nothing is damaged: there is nothing to repair")?,
            Some(damage) => {
                writeln!(out, "only released segments are damaged, which nobody reads: there is nothing to repair")?;
                writeln!(out, "damage: {}", shown(&damage))?;
            }
        }
        return Ok(done);
    }
    if let Some(damage) = repair.damage() {
        writeln!(out, "damage: {}", shown(damage))?;
    }
    if repair.steps().is_empty() {
        writeln!(out, "nothing else is damaged: that repair is only to be ended")?;
    }
    for (number, step) in (1..).zip(repair.steps()) {
        writeln!(out, "{number:>4}. {}", shown(step_text(step)))?;
    }
    let drops = repair.steps().iter().any(|step| step.acknowledged != Acknowledged::No);
    if drops && !args.drop_acknowledged {
        let text = "this drops records that were acknowledged, or may have been: --drop-acknowledged says that it may";
        return Err(Failure::decision(text));
    }
    let Some(backup) = args.backup.as_ref().filter(|_| args.apply) else {
        writeln!(out, "nothing was changed: --apply --backup DIR carries this out")?;
        return Ok(Exit::Found);
    };
    let copied = repair.apply(backup, args.drop_acknowledged)?;
    writeln!(
        out,
        "repaired; copies of {} files, {}, are in {}",
        copied.files,
        size(copied.bytes),
        shown(backup.display())
    )?;
    if copied.unreadable > 0 {
        writeln!(out, "{} could not be read and are zeros in the copies", size(copied.unreadable))?;
    }
    Ok(done)
}

fn step_text(step: &Step) -> String {
    let Step { file, offset, first_seq, last_seq, .. } = step;
    let what = match step.kind {
        StepKind::Cut => format!("cut {file} at offset {offset}"),
        StepKind::Drop => format!("drop {file}"),
        StepKind::Isolate => format!("move {file} out of the log"),
        StepKind::Begin => format!("begin {file}"),
        StepKind::Restore => format!("write header and seal of {file} again, from offset {offset}; nothing goes"),
        StepKind::Fill => format!("make {file} as long as it was, from offset {offset} on; nothing goes"),
    };
    let acknowledged = acknowledged_text(step.acknowledged);
    match step.kind {
        StepKind::Restore | StepKind::Fill => what,
        _ if *first_seq == 0 => format!("{what}: whatever it holds goes, {acknowledged}"),
        _ if last_seq < first_seq => format!("{what}: records from {first_seq} on go if there are any, {acknowledged}"),
        _ => format!("{what}: records {} go, {acknowledged}", range(*first_seq, *last_seq)),
    }
}
