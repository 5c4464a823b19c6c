//! `twal import`, `twal export`: files of the v2.6 layout.

use twal::interchange::{ReadOptions, Reader, WriteOptions, Writer};
use twal::txn::interchange::{export_log, replay, Exported, Import};
use twal::txn::limits::STATE_BYTES_DEFAULT;
use twal::txn::{Manager, ManagerOptions};
use twal::{Code, Options};

use crate::cli::{ExportArgs, ImportArgs};
use crate::exit::{Exit, Failure};
use crate::open;
use crate::output::{range, size, Out};

pub fn import(args: &ImportArgs, out: &mut Out) -> Result<Exit, Failure> {
    let read = ReadOptions { ignore_checksums: args.ignore_checksums, skip_damaged: args.skip_damaged };
    // Before the log is made, or written by anybody: files that are refused leave nothing behind.
    let mut reader = Reader::open(&args.files, read).map_err(|error| Failure::opening(&error))?;
    replay(&mut reader, STATE_BYTES_DEFAULT)?;
    let dir = &args.log.log;
    let options = match open::writing(dir, &args.file_system) {
        Err(failure) if !args.create => return Err(failure),
        Err(_) => Options {
            allow_any_fs: args.file_system.allow_any_fs,
            allow_buffered: args.file_system.allow_buffered,
            max_retained_segments: u64::MAX,
            ..Options::default()
        },
        Ok(options) => options,
    };
    let log = open::to_write(dir, &options)?;
    // What the log's program releases is its own business.
    let keeping = ManagerOptions { stream: args.stream, keep_records: true, ..ManagerOptions::default() };
    let (manager, _) = Manager::recover(&log, &keeping)?;
    let done = manager.import(&|| Reader::open(&args.files, read), &mut |_, _| {})?;
    drop(manager);
    log.close()?;
    imported(&done, out)
}

fn imported(done: &Import, out: &mut Out) -> Result<Exit, Failure> {
    let summary = &done.replayed.summary;
    let numbers = if done.last_seq == 0 { "none".into() } else { range(done.first_seq, done.last_seq) };
    out.fact("read", format_args!("{} files, {} records", summary.files, summary.records))?;
    out.fact("imported", format_args!("{} events, and {} that the original left out", done.imported, done.added))?;
    out.fact("numbers", numbers)?;
    out.fact("unfinished", done.replayed.plan.len())?;
    if summary.torn_bytes > 0 {
        out.fact("torn", format_args!("{} at the end of the last file", size(summary.torn_bytes)))?;
    }
    if done.left_out == 0 && summary.damaged == 0 {
        return Ok(Exit::Clean);
    }
    out.fact("left out", format_args!("{} records, {} operations", done.left_out, done.replayed.isolated.len()))?;
    out.fact("damaged", format_args!("{} spots", summary.damaged))?;
    Ok(Exit::Found)
}

pub fn export(args: &ExportArgs, out: &mut Out) -> Result<Exit, Failure> {
    let log = open::to_read(&args.log.log)?;
    let from_seq = args.from.unwrap_or(0);
    let until_seq = open::last_seq_of(&log);
    if open::holds_log(&args.files)? {
        let text = format!("{} holds a log: name a directory for the files alone", args.files.display());
        return Err(Failure::usage(text));
    }
    let parent = args.files.parent().filter(|parent| !parent.as_os_str().is_empty());
    if parent.is_some_and(|parent| !parent.exists()) {
        return Err(Failure::unopened(format!("cannot make {}: its parent is missing", args.files.display())));
    }
    let writer = || Writer::create(&args.files, WriteOptions::default());
    let done = export_log(&log, (from_seq, until_seq), &writer, args.leave_out).map_err(|error| match error.code {
        Code::Unsupported => Failure::decision(format!("{error}: --leave-out leaves out what it cannot")),
        _ => error.into(),
    })?;
    exported(&done, out)
}

fn exported(done: &Exported, out: &mut Out) -> Result<Exit, Failure> {
    let Exported { written, left_out } = done;
    out.fact("written", format_args!("{} files, {} records, {}", written.files, written.records, size(written.bytes)))?;
    let all = [
        (left_out.program, "records of the program's own types"),
        (left_out.streams, "records of what is said of streams"),
        (left_out.steps, "steps' dependencies and payloads"),
        (left_out.tags, "tags of streams"),
        (left_out.headless, "records of operations whose beginning is not there"),
        (left_out.high, "records of operations with an id above 2^63"),
    ];
    for (count, what) in all.into_iter().filter(|(count, _)| *count > 0) {
        out.fact("left out", format_args!("{count} {what}"))?;
    }
    Ok(Exit::Clean)
}
