//! What system calls an append makes on the thread that appends, as strace sees them.

use std::process::Command;

use twal::base::options::IoEngine;

use crate::args::engine_name;
use crate::cell::Cell;
use crate::contest::{Contender, Contest};
use crate::json::Json;
use crate::report::{fixed, grouped, median, named, print_table};
use crate::scene::{Failure, Scene, SYNC};
use crate::slice::{append, Payload, Spec};
use crate::sys;

const WARM_UP: u64 = 50;
const APPENDS: u64 = 500;

/// The process's first thread appends, alone, and waits for each; a call between two of them parts them.
pub fn slice(spec: &Spec) -> Result<Json, Failure> {
    let scene = Scene::in_use(&spec.dir, "calls", &spec.options(1))?;
    let mut payload = Payload::new(spec.bytes);
    for n in 0..WARM_UP + APPENDS {
        append(&scene.log, payload.numbered(n), 0, SYNC)?;
        if n + 1 >= WARM_UP {
            sys::mark_trace();
        }
    }
    Ok(Json::Map(named([("records", APPENDS.into())])))
}

/// How many calls stand between one mark and the next.
fn between_marks(trace: &str) -> Vec<f64> {
    let mut counts = Vec::new();
    let mut since = None;
    for line in trace.lines() {
        if line.starts_with("getpriority(") {
            counts.extend(since.replace(0.0));
        } else if !line.starts_with("---") && !line.starts_with("+++") {
            since = since.map(|count| count + 1.0);
        }
    }
    counts
}

pub fn calls(contest: &mut Contest<'_>) -> Result<(), Failure> {
    let args = contest.args;
    println!(
        "Calls: system calls that the appending thread makes for an append of 128 B that it waits for, alone; strace counts, of\n\
         that thread only. {APPENDS} appends.\n"
    );
    // Below strace /proc/self/exe would be strace.
    let myself = format!("/proc/{}/exe", std::process::id());
    let trace = args.dir.join("twal-bench-trace");
    let mut rows = Vec::new();
    for engine in [IoEngine::Blocking, IoEngine::Uring] {
        let mut command = Command::new("strace");
        command.arg("-qq").arg("-o").arg(&trace).arg(&myself);
        command.args(["slice", "calls", "--engine", engine_name(engine), "--dir"]).arg(&args.dir);
        command.args(args.allow_any_fs.then_some("--allow-any-fs"));
        let output = match command.output() {
            Ok(output) => output,
            Err(error) => {
                println!("skipped: strace: {error}");
                return Ok(());
            }
        };
        if !output.status.success() {
            let why = String::from_utf8_lossy(&output.stderr);
            println!(
                "{}: left out: {}",
                engine_name(engine),
                why.trim().lines().next_back().unwrap_or("no reason given")
            );
            continue;
        }
        let counts = between_marks(&std::fs::read_to_string(&trace)?);
        let mean = counts.iter().sum::<f64>() / counts.len() as f64;
        let figures = [("calls_median", median(&counts)), ("calls_mean", mean), ("records", counts.len() as f64)];
        let mut cell = Cell::new(Contender::Twal(engine));
        cell.add(&Json::Map(named(figures.map(|(name, value)| (name, value.into())))));
        rows.push(vec![cell.contender.name(), grouped(figures[2].1), fixed(figures[0].1, 0), fixed(mean, 2)]);
        contest.results.put("calls", cell.fields())?;
    }
    let _ = std::fs::remove_file(&trace); // the next run writes over it
    print_table(&["who", "appends", "calls, median", "mean"], 1, &rows);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_between_two_marks_counts() {
        let trace = "write(1) = 1\ngetpriority(0) = 20\npwritev2(3) = 4096\ngetpriority(0) = 20\n--- SIGCHLD ---\n\
                     pwritev2(3) = 4096\nfutex(1) = 0\ngetpriority(0) = 20\nexit_group(0) = ?\n";
        assert_eq!(between_marks(trace), [1.0, 2.0]);
        assert!(between_marks("").is_empty());
    }
}
