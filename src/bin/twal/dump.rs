//! `twal dump`: records, as they are.

use std::io::Write;

use twal::{IterOptions, Skipped};

use crate::cli::DumpArgs;
use crate::exit::{Exit, Failure};
use crate::output::{range, Out};
use crate::reading::Reading;
use crate::{open, record};

pub fn run(args: &DumpArgs, out: &mut Out) -> Result<Exit, Failure> {
    let wanted = record::filtered(&args.filter, &args.format)?;
    let log = open::to_read(&args.log.log)?;
    let options = IterOptions {
        from_seq: args.from.unwrap_or(0),
        from_segment: args.segment.unwrap_or(0),
        until_seq: args.to.unwrap_or(u64::MAX),
        limit: args.limit.unwrap_or(0),
        skip_damaged: args.skip_damaged,
        ..wanted
    };
    let mut reading = match args.from.is_some() || args.segment.is_some() {
        true => Reading::from(&log, options)?,
        false => Reading::wherever(&log, Box::new(move |_| options.clone()))?,
    };
    let last_seq = open::last_seq_of(&log);
    reading.each(&mut |record| {
        let is_wanted = record.seq <= last_seq;
        if is_wanted {
            record::print(out, record, &args.format)?;
        }
        Ok(is_wanted)
    })?;
    let skipped = reading.iter.skipped();
    if skipped.spots == 0 {
        return Ok(Exit::Clean);
    }
    out.flush()?;
    let Skipped { spots, records, segment, offset, first_seq, last_seq } = skipped;
    let last = range(first_seq, last_seq);
    // Beside the records, not among them: whoever reads those may be a program.
    let text = format!(
        "passed over {spots} damaged spots, {records} numbers are missing; the last spot is in segment {segment} at \
         offset {offset}, missing {last}"
    );
    let _ = writeln!(std::io::stderr(), "twal: {text}");
    Ok(Exit::Found)
}
