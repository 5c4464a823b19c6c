//! `twal stats`: what a log's records are, counted.
//!
//! Counts headers, so it costs the reading of the headers and nothing of the writer.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::io::Write;

use twal::txn::event::name_of;
use twal::{IterOptions, Log};

use crate::cli::StatsArgs;
use crate::exit::{Exit, Failure};
use crate::open;
use crate::output::{list, range, size, Json, Out};
use crate::reading::Reading;

/// Of all records, or of some.
#[derive(Default, Clone, Copy)]
struct Count {
    records: u64,
    bytes: u64,
    first_seq: u64,
    last_seq: u64,
}

impl Count {
    fn add(&mut self, seq: u64, len: u32) {
        if self.records == 0 {
            self.first_seq = seq;
        }
        self.records += 1;
        self.bytes += u64::from(len);
        self.last_seq = seq;
    }
}

#[derive(Default)]
struct Counts {
    all: Count,
    batches: u64,
    largest: u32,
    kinds: BTreeMap<u16, Count>,
    streams: BTreeMap<u64, Count>,
}

pub fn run(args: &StatsArgs, out: &mut Out) -> Result<Exit, Failure> {
    let log = open::to_read(&args.log.log)?;
    let mut counts = Counts::default();
    let begin = |_: &Log| IterOptions { headers_only: true, ..IterOptions::default() };
    let mut reading = Reading::wherever(&log, Box::new(begin))?;
    let last_seq = open::last_seq_of(&log);
    // What lies in front of a failure is worth being told.
    let ended = reading.each(&mut |record| {
        if record.seq > last_seq {
            return Ok(false);
        }
        counts.all.add(record.seq, record.len);
        counts.kinds.entry(record.kind).or_default().add(record.seq, record.len);
        counts.streams.entry(record.stream).or_default().add(record.seq, record.len);
        counts.batches += u64::from(!record.batch_continues);
        counts.largest = counts.largest.max(record.len);
        Ok(true)
    });
    let disk: u64 = log.segments()?.iter().map(|segment| segment.size).sum();
    let mut streams: Vec<_> = counts.streams.iter().collect();
    streams.sort_unstable_by_key(|(stream, count)| (Reverse(count.records), **stream));
    streams.truncate(args.streams);
    match args.json {
        true => json(out, &counts, &streams, disk)?,
        false => text(out, &counts, &streams, disk)?,
    }
    ended.map(|()| Exit::Clean)
}

fn json(out: &mut Out, counts: &Counts, streams: &[(&u64, &Count)], disk: u64) -> Result<(), Failure> {
    let fields = |json: Json, count: &Count| {
        let json = json.put("records", count.records).put("bytes", count.bytes);
        json.put("first_seq", count.first_seq).put("last_seq", count.last_seq)
    };
    let kinds = counts.kinds.iter().map(|(kind, count)| fields(Json::new().put("type", kind), count).end());
    let shown = streams.iter().map(|(stream, count)| fields(Json::new().put("stream", stream), count).end());
    let json = fields(Json::new(), &counts.all)
        .put("batches", counts.batches)
        .put("largest", counts.largest)
        .put("segment_bytes", disk)
        .put("types", list(kinds))
        .put("stream_count", counts.streams.len())
        .put("streams", list(shown));
    Ok(writeln!(out, "{}", json.end())?)
}

fn text(out: &mut Out, counts: &Counts, streams: &[(&u64, &Count)], disk: u64) -> Result<(), Failure> {
    let all = &counts.all;
    let numbers = if all.records == 0 { "none".into() } else { range(all.first_seq, all.last_seq) };
    out.fact("records", format_args!("{}, numbers {numbers}", all.records))?;
    out.fact("batches", counts.batches)?;
    out.fact("payloads", format_args!("{}, the largest {}", size(all.bytes), size(counts.largest.into())))?;
    out.fact("segments", size(disk))?;
    writeln!(out)?;
    writeln!(out, "{:>24}  {:>12}  {:>12}", "type", "records", "bytes")?;
    for (kind, count) in &counts.kinds {
        let name = match *kind {
            0x0100.. => format!("{kind:#06x}"),
            own => format!("{} {own:#06x}", name_of(own)),
        };
        writeln!(out, "{name:>24}  {:>12}  {:>12}", count.records, count.bytes)?;
    }
    writeln!(out)?;
    writeln!(out, "{:>24}  {:>12}  {:>12}  numbers", "stream", "records", "bytes")?;
    for (stream, count) in streams {
        let numbers = range(count.first_seq, count.last_seq);
        writeln!(out, "{stream:>24}  {:>12}  {:>12}  {numbers}", count.records, count.bytes)?;
    }
    let others = counts.streams.len() - streams.len();
    if others > 0 {
        writeln!(out, "and {others} streams more")?;
    }
    Ok(())
}
