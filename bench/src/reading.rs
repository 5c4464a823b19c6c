//! The workloads about a log that is already there: `replay` and `open`.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::Stdio;

use crate::cell::{self, Cell};
use crate::contest::{turns, Contender, Contest, Scratch};
use crate::driver::need_room;
use crate::json::Json;
use crate::limit;
use crate::logs::WRITER_LIVES;
use crate::report::{fixed, grouped, micros, named, print_table, progress};
use crate::scene::{self, Failure};

use twal::base::options::IoEngine;

/// Rounds of a peer's replay: more would take longer than all the rest, and say no more.
pub const PEER_REPLAYS: f64 = 3.0;
/// The largest records of which a replay's memory is promised; peers do not take part.
const LARGE: u64 = 64 << 10;

/// Files of a closed log and how far each is written.
pub fn log_files(dir: &std::path::Path, log_bytes: u64) -> Result<Vec<(PathBuf, u64)>, Failure> {
    let mut left = log_bytes;
    let mut files = Vec::new();
    for (_, path, size) in scene::segments(dir)? {
        if left > 0 {
            files.push((path, size.min(left)));
            left = left.saturating_sub(size);
        }
    }
    Ok(files)
}

pub fn replay(contest: &mut Contest<'_>) -> Result<(), Failure> {
    let args = contest.args;
    let payload: u64 = if args.quick { 128 << 20 } else { 1 << 30 };
    println!(
        "Replay: {} MiB of records, written by batches of 1,000, read back in order, every one compared; opening included.\n\
         Beside a bare sequential read of the same files: O_DIRECT, 1 MiB, the better of depth 1 and 4. {} rounds, of peers\n\
         at most {PEER_REPLAYS}; theirs are written anew for each and dropped from the page cache.\n",
        payload >> 20,
        args.rounds
    );
    let mut rows = Vec::new();
    // The largest for the memory that it takes.
    for bytes in [128u64, 4096, LARGE] {
        let count = payload / bytes;
        need_room(args, payload + count * 48)?;
        let log = Scratch::new(args, "replay");
        let words = ["--bytes", &bytes.to_string(), "--count", &count.to_string()].map(str::to_owned);
        progress(&format!("replay: writing {} MiB", payload >> 20));
        contest.twal("fill", &log.0, &words)?;
        let mut cells = vec![Cell::new(Contender::Limit), Cell::new(Contender::Twal(IoEngine::Auto))];
        cells.extend(contest.peers.iter().filter(|_| bytes != LARGE).cloned().map(Cell::new));
        // How many bytes of the files are log, only a reader knows.
        let mut log_bytes = contest.twal("replay", &log.0, &words)?.number("log_bytes") as u64;
        for round in 1..=args.rounds {
            for at in turns(cells.len(), round) {
                let cell = &mut cells[at];
                let name = cell.contender.name();
                progress(&format!("replay of {bytes} B: round {round} of {}, {name}", args.rounds));
                match cell.contender.clone() {
                    Contender::Limit => {
                        let files = log_files(&log.0, log_bytes)?;
                        let rate = |depth| -> Result<f64, Failure> {
                            let (read, took) = limit::read_files(&files, depth)?;
                            Ok(read as f64 / took.as_secs_f64())
                        };
                        let (one, four) = (rate(1)?, rate(4)?);
                        let fields = [("depth_1", one), ("depth_4", four), ("log_bytes_per_second", one.max(four))];
                        cell.add(&Json::Map(fields.map(|(name, value)| (name.to_owned(), value.into())).to_vec()));
                    }
                    Contender::Twal(_) => {
                        let line = contest.twal("replay", &log.0, &words)?;
                        log_bytes = line.number("log_bytes") as u64;
                        cell.add(&line);
                    }
                    Contender::Peer { name, .. } if round as f64 <= PEER_REPLAYS => {
                        match contest.peer(&name, "replay", &words) {
                            Ok(line) => cell.add(&line),
                            Err(error) => {
                                println!("{name}, replay of {bytes} B: {error}");
                                cell.skip();
                            }
                        }
                    }
                    Contender::Peer { .. } | Contender::Bare | Contender::Batched(_) | Contender::Appends(_) => (),
                }
                contest.settle.settle()?;
            }
        }
        progress("");
        cell::relate_ratio(&mut cells, 0, "rate_to_limit", ("log_bytes_per_second", "log_bytes_per_second"));
        cell::compare_with_peers(&mut cells);
        for cell in &cells {
            let value = |name: &str| cell.value(name);
            rows.push(vec![
                bytes.to_string(),
                cell.contender.name(),
                grouped(value("per_second")),
                grouped(value("bytes_per_second") / 1e6),
                grouped(value("log_bytes_per_second") / 1e6),
                fixed(value("rate_to_limit"), 2),
                fixed(value("rate_to_best_peer"), 2),
                fixed(value("cpu_us_per_record"), 3),
                grouped(value("page_cache_pages")),
                fixed(value("peak_rss_kib") / 1024.0, 1),
            ]);
            let rounds = cell.all("log_bytes_per_second").len().max(cell.all("per_second").len());
            let mut fields = named([("threads", 1usize.into()), ("bytes", bytes.into())]);
            fields.extend(named([("payload_bytes", payload.into()), ("rounds", rounds.into())]));
            fields.extend(cell.fields());
            contest.results.put("replay", fields)?;
        }
    }
    let heads = [
        "bytes",
        "who",
        "records/s",
        "payload MB/s",
        "log MB/s",
        "× bare read",
        "× best peer",
        "CPU µs/rec",
        "cached pages",
        "peak MiB",
    ];
    print_table(&heads, 2, &rows);
    Ok(())
}

/// Lets a writer write on in the log and kills it.
fn kill_a_writer(contest: &Contest<'_>, dir: &std::path::Path) -> Result<(), Failure> {
    let words = ["--bytes", "1024"].map(str::to_owned);
    let mut writer = contest.twal_command("writer", dir, &words)?.stdout(Stdio::piped()).spawn()?;
    let mut line = String::new();
    let read = writer.stdout.take().map(|out| BufReader::new(out).read_line(&mut line));
    std::thread::sleep(WRITER_LIVES);
    let alive = writer.try_wait()?.is_none();
    writer.kill()?;
    writer.wait()?;
    read.transpose()?;
    if line.trim() != "writing" || !alive {
        return Err("the writer that was to be killed ended by itself".into());
    }
    Ok(())
}

pub fn open(contest: &mut Contest<'_>) -> Result<(), Failure> {
    let args = contest.args;
    let payload: u64 = if args.quick { 256 << 20 } else { 4 << 30 };
    println!(
        "Open: a log of {} MiB in records of 1 KiB: after a kill -9 of its writer, then cleanly closed; a new log. Beside a bare\n\
         direct read of the whole active segment (1 MiB, depth 1). {} rounds.\n",
        payload >> 20,
        args.rounds
    );
    need_room(args, payload + payload / 1024 * 48)?;
    let (log, new) = (Scratch::new(args, "open"), Scratch::new(args, "open-new"));
    progress(&format!("open: writing {} MiB", payload >> 20));
    let words = ["--bytes", "1024", "--count", &(payload / 1024).to_string()].map(str::to_owned);
    contest.twal("fill", &log.0, &words)?;
    const HOWS: [(&str, &str); 6] = [
        ("killed", "after kill -9"),
        ("clean", "cleanly closed"),
        ("new", "a new log"),
        ("read", "read-only"),
        ("verify", "read-only, verify all"),
        ("segment", "bare read of the active segment"),
    ];
    let mut cells: Vec<Cell> = HOWS.iter().map(|_| Cell::new(Contender::Twal(IoEngine::Auto))).collect();
    cells[5].contender = Contender::Limit;
    for round in 1..=args.rounds {
        for ((how, name), cell) in HOWS.iter().zip(&mut cells) {
            progress(&format!("open: round {round} of {}, {name}", args.rounds));
            let words = ["--how".to_owned(), (*how).to_owned()];
            match *how {
                "segment" => {
                    let (_, path, size) = scene::segments(&log.0)?.pop().ok_or("no segment")?;
                    let (_, took) = limit::read_files(&[(path, size)], 1)?;
                    cell.add(&Json::Map(vec![("open_us".into(), (took.as_secs_f64() * 1e6).into())]));
                }
                "verify" if round > 3 => cell.skip(),
                _ => {
                    if *how == "killed" {
                        kill_a_writer(contest, &log.0)?;
                    }
                    let line = contest.twal("open", if *how == "new" { &new.0 } else { &log.0 }, &words)?;
                    if *how == "clean" && line.number("records") < (payload / 1024) as f64 {
                        return Err(format!("{} records written, open reports {line}", payload / 1024).into());
                    }
                    cell.add(&line);
                }
            }
        }
    }
    progress("");
    let segment = HOWS.len() - 1;
    cell::relate(&mut cells, segment, "us_to_segment_read", ("open_us", "open_us"), |own, read| own - read);
    let mut rows = Vec::new();
    for ((how, name), cell) in HOWS.iter().zip(&cells) {
        let all = cell.all("open_us");
        let max = all.iter().copied().fold(f64::NAN, f64::max);
        rows.push(vec![
            (*name).to_owned(),
            micros(cell.value("open_us")),
            micros(max),
            micros(cell.value("us_to_segment_read")),
            grouped(cell.value("segments")),
            grouped(cell.value("records")),
            grouped(cell.value("page_cache_pages")),
            fixed(cell.value("peak_rss_kib") / 1024.0, 1),
        ]);
        let mut fields =
            named([("how", (*how).into()), ("payload_bytes", payload.into()), ("open_worst_us", max.into())]);
        fields.push(("rounds".to_owned(), all.len().into()));
        fields.extend(cell.fields());
        contest.results.put("open", fields)?;
    }
    let heads = ["opened", "median µs", "max", "beyond the read", "segments", "records", "cached pages", "peak MiB"];
    print_table(&heads, 1, &rows);
    Ok(())
}
