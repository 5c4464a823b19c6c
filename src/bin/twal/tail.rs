//! `twal tail`: the end of a log, and what comes.

use std::io::Write;
use std::os::fd::AsFd;

use twal::{IterOptions, Log};

use crate::cli::{FormatArgs, TailArgs};
use crate::exit::{Exit, Failure};
use crate::output::Out;
use crate::reading::Reading;
use crate::signals::Signals;
use crate::{open, record};

/// Records printed between two questions whether that is enough.
const ASK_EVERY: u64 = 256;

pub fn run(args: &TailArgs, out: &mut Out) -> Result<Exit, Failure> {
    let wanted = record::filtered(&args.filter, &args.format)?;
    let signals = args.follow.then(Signals::take).transpose()?;
    let log = open::to_read(&args.log.log)?;
    let until_seq = if args.follow { 0 } else { open::last_seq_of(&log) };
    if until_seq == 0 && !args.follow {
        return Ok(Exit::Clean);
    }
    let begin = |log: &Log| {
        let from_seq = (log.durable_seq() + 1).saturating_sub(args.lines).max(log.first_seq());
        // What was the last record when this began may be gone by now: then there is nothing to be printed.
        IterOptions { from_seq, until_seq: if until_seq == 0 { 0 } else { until_seq.max(from_seq) }, ..wanted.clone() }
    };
    let mut reading = Reading::wherever(&log, Box::new(begin))?;
    let Some(signals) = signals else {
        print(&mut reading, out, &args.format, &|| false)?;
        return Ok(Exit::Clean);
    };
    // Made before the reader comes to the end: what becomes durable in between is told of.
    let event = log.eventfd()?;
    loop {
        print(&mut reading, out, &args.format, &|| signals.came())?;
        out.flush()?;
        if !signals.wait(event.as_fd(), std::io::stdout().as_fd())? {
            return Ok(Exit::Clean);
        }
    }
}

/// Everything that is there, unless somebody has had `enough`: a writer may be faster than this prints.
fn print(
    reading: &mut Reading<'_>,
    out: &mut Out,
    format: &FormatArgs,
    enough: &dyn Fn() -> bool,
) -> Result<(), Failure> {
    let mut printed = 0_u64;
    reading.each(&mut |record| {
        record::print(out, record, format)?;
        printed += 1;
        Ok(!printed.is_multiple_of(ASK_EVERY) || !enough())
    })
}
