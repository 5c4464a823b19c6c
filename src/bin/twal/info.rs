//! `twal info`: one log at a glance.

use std::io::Write;

use twal::{SegmentState, Tail};

use crate::cli::InfoArgs;
use crate::exit::{Exit, Failure};
use crate::output::{hex, range, shown, size, utc, Json, Out};
use crate::{locks, open};

pub fn run(args: &InfoArgs, out: &mut Out) -> Result<Exit, Failure> {
    let dir = &args.log.log;
    let log = open::to_read(dir)?;
    let writer = match open::has_writer(dir)? {
        false => None,
        true => Some(locks::writer_of(dir)),
    };
    let (report, segments) = (log.report(), log.segments()?);
    let damage = open::damage_of(&log)?.map(shown);
    let of_state = |state| segments.iter().filter(|segment| segment.state == state).count();
    let states = [SegmentState::Active, SegmentState::Sealed, SegmentState::Archived].map(of_state);
    let bytes = segments.iter().map(|segment| segment.size).sum();
    let newest = segments.iter().rfind(|segment| segment.state == SegmentState::Active);
    let segment_size = newest.map_or(0, |segment| segment.size);
    let created_ns = segments.first().map_or(0, |segment| segment.created_ns);
    let block_size = log.stats().block_size;
    let bad = damage.is_some() || report.holds_damaged;
    let exit = if bad { Exit::Found } else { Exit::Clean };
    if args.json {
        let mut json = Json::new()
            .text("log_id", hex(&log.log_id()))
            .text("state", state_of(damage.as_deref(), report.tail))
            .put("first_seq", report.first_seq)
            .put("last_seq", report.last_seq)
            .put("records", report.records)
            .put("witnessed_seq", report.witnessed_seq)
            .put("segments", segments.len())
            .put("active", states[0])
            .put("sealed", states[1])
            .put("archived", states[2])
            .put("bytes", bytes)
            .put("segment_size", segment_size)
            .put("block_size", block_size)
            .put("end_segment", report.end_segment)
            .put("end_offset", report.end_offset)
            .put("holds", report.holds)
            .put("holds_damaged", report.holds_damaged)
            .put("repaired_seq", report.repaired_seq)
            .put("has_writer", writer.is_some());
        if let Some(Some(pid)) = writer {
            json = json.put("writer_pid", pid);
        }
        if log.is_follower() {
            json = json.put("follower", true);
        }
        if let Some(damage) = &damage {
            json = json.text("damage", damage);
        }
        writeln!(out, "{}", json.end())?;
        return Ok(exit);
    }
    out.fact("log", hex(&log.log_id()))?;
    out.fact("writer", locks::writer_text(writer))?;
    if log.is_follower() {
        out.fact("follower", "a copy that is not promoted; what is durable of it is read")?;
    }
    let state = state_of(damage.as_deref(), report.tail);
    match &damage {
        Some(damage) => out.fact("state", format_args!("{}: {damage}", out.bad(state)))?,
        None if report.bytes_cut > 0 => {
            out.fact(
                "state",
                format_args!("{state}: {} behind the end were promised to nobody", size(report.bytes_cut)),
            )?;
        }
        None => out.fact("state", state)?,
    }
    out.fact("records", format_args!("{}, numbers {}", report.records, range(report.first_seq, report.last_seq)))?;
    out.fact("witnessed", format_args!("up to {}", report.witnessed_seq))?;
    out.fact("end", format_args!("segment {}, offset {}", report.end_segment, report.end_offset))?;
    let [active, sealed, archived] = states;
    let count = segments.len();
    out.fact(
        "segments",
        format_args!("{count}: {active} active, {sealed} sealed, {archived} archived; {}", size(bytes)),
    )?;
    out.fact("segment size", segment_size)?;
    out.fact("block size", block_size)?;
    if segments.iter().any(|segment| segment.generation > 0) {
        let compacted = segments.iter().filter(|segment| segment.generation > 0).count();
        out.fact("compacted", format_args!("{compacted} segments"))?;
    }
    out.fact("oldest file", utc(created_ns))?;
    match report.holds_damaged {
        true => out.fact("holds", out.bad("damaged or lost: nothing is released until `twal hold reset`"))?,
        false => out.fact("holds", report.holds)?,
    }
    if report.repaired_seq > 0 {
        let lost = range(report.repaired_seq, report.repaired_last_seq);
        out.fact("repaired", format_args!("cut at {}, which took {lost}", report.repaired_seq))?;
    }
    Ok(exit)
}

fn state_of(damage: Option<&str>, tail: Tail) -> &'static str {
    match (damage, tail) {
        (Some(_), _) | (None, Tail::Damaged) => "damaged",
        (None, Tail::Torn) => "opens, with a torn end",
        (None, Tail::Clean) => "opens",
    }
}
