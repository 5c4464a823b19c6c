//! The program `twal`: looks at logs, and keeps them in order.
//!
//! A file a subcommand; `cli.rs` says what can be asked, `exit.rs` how it ends.  A client of the library's Rust API
//! like any other.  Promises that what is not asked to write does not.
#![forbid(unsafe_code)]

mod bench;
mod cli;
mod doctor;
mod dump;
mod exit;
mod hold;
mod info;
mod locks;
mod open;
mod output;
mod progress;
mod reading;
mod record;
mod repair;
mod segments;
mod ship;
mod signals;
mod stats;
mod tail;
mod trim;
mod txn;
mod v26;
mod verify;

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use clap::{ColorChoice, CommandFactory, FromArgMatches};

use cli::{Cli, Command};
use exit::{Exit, Failure};
use output::{shown, Out};

fn main() -> ExitCode {
    let cli = match parsed() {
        Ok(cli) => cli,
        Err(error) => {
            // Help that nobody reads any more is no failure.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(u8::MAX));
        }
    };
    let mut out = Out::new();
    let ended = run(&cli.command, &mut out).and_then(|exit| {
        out.flush()?;
        Ok(exit)
    });
    match ended {
        Ok(exit) => ExitCode::from(exit.number()),
        Err(failure) => {
            // What was printed before it is worth having; if that fails too, the first failure counts.
            let _ = out.flush();
            if !failure.text.is_empty() {
                let _ = writeln!(std::io::stderr(), "twal: {}", shown(failure.text));
            }
            ExitCode::from(failure.exit)
        }
    }
}

/// The command line.  Whatever the environment says, nothing is coloured that does not go to a terminal.
fn parsed() -> Result<Cli, clap::Error> {
    let seen = std::io::stdout().is_terminal() && std::io::stderr().is_terminal();
    let colour = if seen { ColorChoice::Auto } else { ColorChoice::Never };
    Cli::from_arg_matches(&Cli::command().color(colour).try_get_matches()?)
}

fn run(command: &Command, out: &mut Out) -> Result<Exit, Failure> {
    match command {
        Command::Info(args) => info::run(args, out),
        Command::Segments(args) => segments::run(args, out),
        Command::Dump(args) => dump::run(args, out),
        Command::Tail(args) => tail::run(args, out),
        Command::Stats(args) => stats::run(args, out),
        Command::Verify(args) => verify::run(args, out),
        Command::Repair(args) => repair::run(args, out),
        Command::Trim(args) => trim::run(args, out),
        Command::Hold(command) => hold::run(command, out),
        Command::Copy(args) => ship::copy(args, out),
        Command::Ship(args) => ship::ship(args, out),
        Command::Receive(args) => ship::receive(args, out),
        Command::Txn(command) => txn::run(command, out),
        Command::Import(args) => v26::import(args, out),
        Command::Export(args) => v26::export(args, out),
        Command::Doctor(args) => doctor::run(args, out),
        Command::Bench(args) => bench::run(args, out),
    }
}
