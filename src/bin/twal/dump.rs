//! `twal dump`: records, as they are.

use std::io::Write;

use twal::{IterOptions, Skipped};

use crate::cli::DumpArgs;
use crate::exit::{Exit, Failure};
use crate::output::{range, Out};
use crate::{open, record};

pub fn run(args: &DumpArgs, out: &mut Out) -> Result<Exit, Failure> {
    let wanted = record::filtered(&args.filter, &args.format)?;
    let log = open::to_read(&args.log.log)?;
    let mut iter = log.iter_with(IterOptions {
        from_seq: args.from.unwrap_or(0),
        from_segment: args.segment.unwrap_or(0),
        until_seq: args.to.unwrap_or(u64::MAX),
        limit: args.limit.unwrap_or(0),
        skip_damaged: args.skip_damaged,
        ..wanted
    })?;
    let last_seq = open::last_seq_of(&log);
    while let Some(record) = iter.next_record()? {
        if record.seq > last_seq {
            break;
        }
        record::print(out, &record, &args.format)?;
    }
    let skipped = iter.skipped();
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
