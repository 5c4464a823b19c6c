//! `twal tail`: the end of a log, and what comes.

use std::io::Write;
use std::os::fd::AsFd;

use twal::{Iter, IterOptions};

use crate::cli::{FormatArgs, TailArgs};
use crate::exit::{Exit, Failure};
use crate::output::Out;
use crate::signals::Signals;
use crate::{open, record};

/// Records printed between two questions whether that is enough.
const ASK_EVERY: u64 = 256;

pub fn run(args: &TailArgs, out: &mut Out) -> Result<Exit, Failure> {
    let wanted = record::filtered(&args.filter, &args.format)?;
    let signals = args.follow.then(Signals::take).transpose()?;
    let log = open::to_read(&args.log.log)?;
    let last_seq = log.durable_seq();
    let from_seq = (last_seq + 1).saturating_sub(args.lines).max(log.first_seq());
    let until_seq = if args.follow { 0 } else { open::last_seq_of(&log) };
    if until_seq == 0 && !args.follow {
        return Ok(Exit::Clean);
    }
    let mut iter = log.iter_with(IterOptions { from_seq, until_seq, ..wanted })?;
    let Some(signals) = signals else {
        print(&mut iter, out, &args.format, &|| false)?;
        return Ok(Exit::Clean);
    };
    // Made before the reader comes to the end: what becomes durable in between is told of.
    let event = log.eventfd()?;
    loop {
        print(&mut iter, out, &args.format, &|| signals.came())?;
        out.flush()?;
        if !signals.wait(event.as_fd(), std::io::stdout().as_fd())? {
            return Ok(Exit::Clean);
        }
    }
}

/// Everything that is there, unless somebody has had `enough`: a writer may be faster than this prints.
fn print(iter: &mut Iter, out: &mut Out, format: &FormatArgs, enough: &dyn Fn() -> bool) -> Result<(), Failure> {
    let mut printed = 0_u64;
    while let Some(record) = iter.next_record()? {
        record::print(out, &record, format)?;
        printed += 1;
        if printed.is_multiple_of(ASK_EVERY) && enough() {
            break;
        }
    }
    Ok(())
}
