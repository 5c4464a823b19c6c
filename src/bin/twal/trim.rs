//! `twal trim`: whole segments below a number are given back.
//!
//! A transaction manager holds what its operations need only while it runs; here
//! there is none, so what one would need is found out first.

use std::io::Write;

use twal::txn::manager::inspect;
use twal::{HeldBy, Log, Options, Segment, SegmentState};

use crate::cli::TrimArgs;
use crate::exit::{Exit, Failure};
use crate::open;
use crate::output::{held_by_name, range, size, Out};

pub fn run(args: &TrimArgs, out: &mut Out) -> Result<Exit, Failure> {
    let dir = &args.log.log;
    let options = open::writing(dir, &args.file_system)?;
    let options = Options { max_retained_segments: args.retain.unwrap_or(u64::MAX), ..options };
    let log = open::to_write(dir, &options)?;
    let needed_seq = inspect(&log)?.needed_seq.unwrap_or(u64::MAX);
    let before = log.segments()?;
    log.trim(args.below.min(needed_seq.max(log.first_seq())))?;
    let kept = tell(out, &log, &before, (args.below, needed_seq))?;
    log.close()?;
    match kept.is_empty() {
        true => Ok(Exit::Clean),
        false => Err(Failure::decision(format!("not all of it was released: held by {}", kept.join(", ")))),
    }
}

/// Says what became of each segment; returns who holds what was asked for.
fn tell(out: &mut Out, log: &Log, before: &[Segment], (below, needed_seq): (u64, u64)) -> Result<Vec<String>, Failure> {
    let after = log.segments()?;
    let mut kept = Vec::new();
    for segment in before.iter().filter(|segment| segment.state != SegmentState::Active) {
        let numbers = range(segment.first_seq, segment.last_seq);
        let now = after.iter().find(|now| now.index == segment.index);
        match now.map(|now| now.state) {
            None => writeln!(out, "removed   segment {}, records {numbers}, {}", segment.index, size(segment.size))?,
            Some(SegmentState::Archived) if segment.state == SegmentState::Sealed => {
                writeln!(out, "released  segment {}, records {numbers}", segment.index)?;
            }
            Some(SegmentState::Sealed) if segment.first_seq < below && segment.last_seq < below => {
                let by = match now.map(|now| now.held_by) {
                    Some(held_by @ (HeldBy::Hold(_) | HeldBy::Unreadable)) => held_by_name(&held_by),
                    _ => format!("transactions that are not finished, from record {needed_seq} on"),
                };
                writeln!(out, "kept      segment {}, records {numbers}, held by {by}", segment.index)?;
                if !kept.contains(&by) {
                    kept.push(by);
                }
            }
            Some(_) => {}
        }
    }
    writeln!(out, "the oldest record is {}", log.first_seq())?;
    Ok(kept)
}
