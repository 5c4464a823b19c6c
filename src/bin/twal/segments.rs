//! `twal segments`: each file of records, and what holds it back.

use std::io::Write;

use twal::{HeldBy, Log, Segment};

use crate::cli::SegmentsArgs;
use crate::exit::{Exit, Failure};
use crate::open;
use crate::output::{held_by_name, range, size, state_name, utc, Json, Out};

pub fn run(args: &SegmentsArgs, out: &mut Out) -> Result<Exit, Failure> {
    let log = open::to_read(&args.log.log)?;
    let segments = log.segments()?;
    if args.json {
        for segment in &segments {
            let json = Json::new()
                .put("index", segment.index)
                .text("state", state_name(segment.state))
                .put("first_seq", segment.first_seq)
                .put("last_seq", segment.last_seq)
                .put("size", segment.size)
                .put("room", segment.room)
                .put("created_ns", segment.created_ns)
                .put("generation", segment.generation)
                .text("held_by", held_by_name(&segment.held_by))
                .text("file", &segment.file);
            writeln!(out, "{}", json.end())?;
        }
        return whole(&log, &segments);
    }
    let (index, numbers) = ("index", "numbers");
    writeln!(
        out,
        "{index:>8}  {:8}  {numbers:>24}  {:>10}  {:20}  {:16}  file",
        "state", "size", "created", "held by"
    )?;
    for segment in &segments {
        let numbers = range(segment.first_seq, segment.last_seq);
        let compacted =
            if segment.generation > 0 { format!("  (compacted {} times)", segment.generation) } else { String::new() };
        writeln!(
            out,
            "{:>8}  {:8}  {numbers:>24}  {:>10}  {:20}  {:16}  {}{compacted}",
            segment.index,
            state_name(segment.state),
            size(segment.size),
            utc(segment.created_ns),
            held_by_name(&segment.held_by),
            segment.file,
        )?;
    }
    whole(&log, &segments)
}

/// That there is no more to a log that opening found damaged is not said.
fn whole(log: &Log, segments: &[Segment]) -> Result<Exit, Failure> {
    match open::damage_of(log)? {
        None if segments.iter().any(|segment| segment.held_by == HeldBy::Unreadable) => Ok(Exit::Found),
        None => Ok(Exit::Clean),
        Some(damage) => Err(damage.into()),
    }
}
