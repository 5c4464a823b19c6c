//! twal-peers: one slice of one workload on one other log, in a process of its own.
//!
//! The bench spawns it once a slice and interleaves the slices with twal's own,
//! so that all of them see the same minutes of the same device.  It prints one
//! JSON line.  bench/README.md says what the workloads are; each file in peers/
//! says how that log was set up, and why so.

mod args;
mod dynamic;
mod flushes;
#[path = "../../src/hist.rs"]
mod hist;
mod peers;
mod process;
mod report;
#[allow(dead_code)] // the bench itself uses the rest
#[path = "../../src/sys.rs"]
mod sys;
mod workload;

use std::process::ExitCode;

use args::{Asked, Spec};
use workload::Failure;

/// The peer cannot run here; `--list` gives the reason, too.
const UNAVAILABLE: u8 = 3;

fn main() -> ExitCode {
    let spec = match args::parse(std::env::args().skip(1)) {
        Ok(Asked::Help) => {
            print!("{}", args::USAGE);
            return ExitCode::SUCCESS;
        }
        Ok(Asked::List) => {
            list();
            return ExitCode::SUCCESS;
        }
        Ok(Asked::Run(spec)) => spec,
        Err(text) => {
            eprint!("twal-peers: {text}\n{}", args::USAGE);
            return ExitCode::from(2);
        }
    };
    let Some(peer) = peers::ALL.iter().find(|peer| peer.name == spec.peer) else {
        eprintln!("twal-peers: no peer {}; --list names them", spec.peer);
        return ExitCode::from(2);
    };
    if let Err(reason) = (peer.version)() {
        eprintln!("twal-peers: {} cannot run here: {reason}", peer.name);
        return ExitCode::from(UNAVAILABLE);
    }
    match run(peer, &spec) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("twal-peers: {}, {}: {failure}", peer.name, spec.workload.name());
            ExitCode::FAILURE
        }
    }
}

/// One peer a line: name, tab, version; or name, tab, a dash, tab, why it cannot run.
fn list() {
    for peer in peers::ALL {
        match (peer.version)() {
            Ok(version) => println!("{}\t{version}", peer.name),
            Err(reason) => println!("{}\t-\t{reason}", peer.name),
        }
    }
}

fn run(peer: &peers::Peer, spec: &Spec) -> Result<(), Failure> {
    if let Some(outcome) = (peer.run)(spec)? {
        println!("{}", report::line(peer, spec, &outcome)?);
    }
    Ok(())
}
