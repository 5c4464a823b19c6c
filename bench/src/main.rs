//! twal-bench: what twal costs, beside what the bare device can do and what other logs do.
//!
//! The driver (`driver`, `contest`) measures nothing of twal itself: each slice runs in a
//! process of its own (`slice`), twal's as the peers', one after the other in every round.
//! bench/README.md says what each workload is.

mod allocations;
mod args;
mod benchmarks;
mod bulk;
mod calls;
mod cell;
mod contest;
mod driver;
mod hist;
mod json;
mod limit;
mod logs;
mod machine;
mod reading;
mod report;
mod scene;
mod settle;
mod slice;
mod svg;
mod sync;
mod sys;
mod tail;
mod targets;
mod transacting;
mod txn;

use std::process::ExitCode;
use std::time::Instant;

use args::Args;
use contest::Contest;
use limit::Limit;
use report::{named, Results};
use scene::Failure;
use settle::Settle;

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1).peekable();
    if words.next_if_eq("slice").is_some() {
        return end(slice::main(words));
    }
    let args = match args::parse(words) {
        Ok(Some(args)) => args,
        Ok(None) => {
            print!("{}", args::USAGE);
            return ExitCode::SUCCESS;
        }
        Err(text) => {
            eprint!("twal-bench: {text}\n{}", args::USAGE);
            return ExitCode::from(2);
        }
    };
    end(run(args))
}

fn end(result: Result<(), Failure>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("twal-bench: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn run(mut args: Args) -> Result<(), Failure> {
    if let Some(dir) = &args.report {
        return benchmarks::write(report::read(&args.json)?, dir);
    }
    std::fs::create_dir_all(&args.dir)?;
    args.dir = args.dir.canonicalize()?;
    let began = machine::utc_now();
    let mut results = Results::open(&args.json, args.fresh, &began)?;
    let facts = machine::facts(&args.dir);
    for (name, value) in &facts {
        println!("{name:12} {value}");
    }
    let mut fields = named([("name", began.as_str().into()), ("arguments", args.said.as_str().into())]);
    // Where the logs were made says nothing to others.
    let said = facts.iter().filter(|(name, _)| *name != "directory");
    fields.extend(named(said.map(|(name, value)| (*name, value.as_str().into()))));
    results.put("machine", fields)?;

    let peers = contest::list_peers(&args)?;
    let seconds: f64 = args.workloads.iter().map(|workload| driver::estimate(&args, *workload, peers.len())).sum();
    let names: Vec<&str> = args.workloads.iter().map(|workload| workload.name()).collect();
    println!("\nmeasuring {}: about {} min", names.join(", "), (seconds / 60.0).ceil());
    let start = Instant::now();
    let mut contest =
        Contest { args: &args, limit: Limit::prepare(&args.dir)?, settle: Settle::new(&args.dir), peers, results };
    for workload in &args.workloads {
        println!();
        driver::run(&mut contest, *workload)?;
    }
    println!("\ntook {} min; results in {}", start.elapsed().as_secs().div_ceil(60), args.json.display());
    Ok(())
}
