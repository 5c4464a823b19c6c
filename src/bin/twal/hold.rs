//! `twal hold`: names and numbers from which on nothing is given back.

use std::io::Write;
use std::path::Path;

use twal::{Code, Log};

use crate::cli::{FileSystemArgs, HoldCommand};
use crate::exit::{Exit, Failure};
use crate::open;
use crate::output::{Json, Out};

pub fn run(command: &HoldCommand, out: &mut Out) -> Result<Exit, Failure> {
    match command {
        HoldCommand::List { log, json } => list(&open::to_read(&log.log)?, *json, out),
        HoldCommand::Set { log, name, seq, file_system } => {
            set(&log.log, name, *seq, file_system)?;
            Ok(Exit::Clean)
        }
        HoldCommand::Drop { log, name } => {
            let log = open::to_read(&log.log)?;
            log.hold_drop(name).map_err(|error| match error.code {
                // A log that never had one.
                Code::State if log.holds().is_ok_and(|holds| holds.is_empty()) => {
                    Failure::usage(format!("there is no hold {name}"))
                }
                _ => error.into(),
            })?;
            Ok(Exit::Clean)
        }
        HoldCommand::Reset { log, file_system } => {
            let log = open::to_write(&log.log, &open::writing(&log.log, file_system)?)?;
            log.hold_reset()?;
            log.close()?;
            Ok(Exit::Clean)
        }
    }
}

fn list(log: &Log, json: bool, out: &mut Out) -> Result<Exit, Failure> {
    for hold in log.holds()? {
        match json {
            true => writeln!(out, "{}", Json::new().text("name", hold.name).put("seq", hold.seq).end())?,
            false => writeln!(out, "{:>20}  {}", hold.seq, hold.name)?,
        }
    }
    Ok(Exit::Clean)
}

/// As a reader, so that it works beside a writer; the first hold of a log is its writer's to set, so then as that.
fn set(dir: &Path, name: &str, seq: u64, args: &FileSystemArgs) -> Result<(), Failure> {
    let reader = open::to_read(dir)?;
    match reader.hold_set(name, seq) {
        // It is further already.
        Err(error) if error.code == Code::State && !reader.holds()?.is_empty() => return Err(Failure::usage(error)),
        Err(error) if error.code == Code::State => {}
        set => return Ok(set?),
    }
    reader.close()?;
    let options = open::writing(dir, args)?;
    let log = Log::open(dir, &options).map_err(|error| match error.code {
        Code::Locked => {
            let text = "the first hold of a log is its writer's to set, and another process has it open for writing";
            Failure { text: text.into(), ..Failure::opening(&error) }
        }
        _ => Failure::opening(&error),
    })?;
    log.hold_set(name, seq)?;
    Ok(log.close()?)
}
