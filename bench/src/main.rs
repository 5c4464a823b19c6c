//! twal-bench: what twal costs, beside what the bare device can do.
//!
//! Every figure stands next to the device's own limit, measured in the same
//! rounds; bench/README.md says what each workload is.

mod args;
mod bulk;
mod hist;
mod limit;
mod machine;
mod report;
mod scene;
mod sync;
mod sys;

use std::process::ExitCode;

use args::{Args, Workload};
use limit::Limit;
use report::{Report, Value};
use scene::Failure;

fn main() -> ExitCode {
    let args = match args::parse(std::env::args().skip(1)) {
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
    match run(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("\ntwal-bench: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn run(mut args: Args) -> Result<(), Failure> {
    std::fs::create_dir_all(&args.dir)?;
    args.dir = args.dir.canonicalize()?;
    let mut report = Report::create(args.json.as_deref())?;
    let facts = machine::facts(&args.dir);
    for (name, value) in &facts {
        println!("{name:12} {value}");
    }
    let facts: Vec<(&str, Value)> = facts.into_iter().map(|(name, value)| (name, value.into())).collect();
    report.line("machine", &facts)?;

    let mut limit = Limit::prepare(&args.dir)?;
    for workload in &args.workloads {
        println!();
        match workload {
            Workload::Sync => sync::run(&args, &mut limit, &mut report)?,
            Workload::Rollover => sync::rollover(&args, &mut limit, &mut report)?,
            Workload::Async => bulk::asynchronous(&args, &mut limit, &mut report)?,
            Workload::Batch => bulk::batches(&args, &mut limit, &mut report)?,
            Workload::Replay => bulk::replay(&args, &mut report)?,
            Workload::Open => bulk::open(&args, &mut report)?,
        }
    }
    Ok(())
}
