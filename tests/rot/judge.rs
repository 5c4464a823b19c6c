//! What a damaged log may show, told from the list of what was acknowledged.

use std::ops::Range;

use twal::{Code, Error, Iter, IterOptions, Log};

use super::past::{Given, Past};

/// A violation, for people.
pub type Verdict<T = ()> = Result<T, String>;

macro_rules! require {
    ($holds:expr, $($text:tt)*) => {
        if !$holds {
            return Err(format!($($text)*));
        }
    };
}
pub(crate) use require;

/// What one handle delivered.
pub struct Seen {
    pub seqs: Vec<u64>,
    pub error: Option<Error>,
    pub first_seq: u64,
}

impl Seen {
    pub fn last(&self) -> u64 {
        self.seqs.last().copied().unwrap_or(self.first_seq - 1)
    }
}

/// Reads on to the end or an error; every record must be the one that was acknowledged.
pub fn read_all(past: &Past, iter: &mut Iter) -> Verdict<(Vec<u64>, Option<Error>)> {
    let mut seqs = Vec::new();
    loop {
        match iter.next_record() {
            Ok(None) => return Ok((seqs, None)),
            Err(error) => return Ok((seqs, Some(error))),
            Ok(Some(record)) => {
                let read = Given {
                    data: record.data.to_vec(),
                    stream: record.stream,
                    batch_continues: record.batch_continues,
                };
                let given = usize::try_from(record.seq - 1).ok().and_then(|at| past.given.get(at));
                require!(given == Some(&read), "record {} is not what was acknowledged", record.seq);
                require!(seqs.last().is_none_or(|last| *last < record.seq), "record {} comes again", record.seq);
                seqs.push(record.seq);
            }
        }
    }
}

/// Reads the whole log; what comes has no gap.
pub fn read_log(past: &Past, log: &Log) -> Verdict<Seen> {
    let first_seq = log.first_seq();
    let (seqs, error) = match log.iter(0) {
        Ok(mut iter) => read_all(past, &mut iter)?,
        Err(error) => (Vec::new(), Some(error)),
    };
    for (at, seq) in (first_seq..).zip(&seqs) {
        require!(at == *seq, "record {seq} is where {at} belongs");
    }
    Ok(Seen { seqs, error, first_seq })
}

/// Damage is reported as damage.
pub fn is_damage(error: &Error) -> Verdict {
    let right = matches!(error.code, Code::Corrupt | Code::Io | Code::Version);
    require!(right, "damage is called {:?}: {error}", error.code);
    Ok(())
}

/// Everything that was acknowledged, or a word about it; `may_shorten`: promise 4's exception.
pub fn nothing_silent(past: &Past, seen: &Seen, may_shorten: bool) -> Verdict {
    if let Some(error) = &seen.error {
        return is_damage(error);
    }
    require!(seen.first_seq == past.first_seq, "begins at {}, not at {}", seen.first_seq, past.first_seq);
    require!(may_shorten || seen.last() == past.acked(), "ends in silence at {} of {}", seen.last(), past.acked());
    Ok(())
}

/// What a reader delivers that passes over damage: whole batches, in order, and every gap is counted.
/// `untouched` are numbers in files that nobody touched.
pub fn skips_and_counts(past: &Past, log: &Log, least: u64, untouched: &[Range<u64>]) -> Verdict<u64> {
    let first_seq = log.first_seq();
    let mut iter = match log.iter_with(IterOptions { skip_damaged: true, ..IterOptions::default() }) {
        Ok(iter) => iter,
        Err(error) => return is_damage(&error).map(|()| 0),
    };
    let (seqs, error) = read_all(past, &mut iter)?;
    if let Some(error) = error {
        is_damage(&error)?;
        return Ok(iter.skipped().spots);
    }
    let there = |seq: u64| seqs.binary_search(&seq).is_ok();
    for (given, seq) in past.given.iter().zip(1u64..).filter(|(given, seq)| given.batch_continues && *seq >= first_seq)
    {
        require!(there(seq) == there(seq + 1), "a batch in part: {seq} and {} ({})", seq + 1, given.data.len());
    }
    for seq in untouched.iter().flat_map(Clone::clone) {
        require!(there(seq), "record {seq} is in a file that nobody touched, and was not delivered");
    }
    let skipped = iter.skipped();
    let (delivered, last) = (seqs.len() as u64, seqs.last().copied().unwrap_or(first_seq - 1));
    let end = first_seq - 1 + delivered + skipped.records;
    require!(end >= last, "{delivered} from {first_seq} to {last}, and {skipped:?}");
    require!(
        end >= least && end <= past.acked(),
        "ends at {end}, witnessed is {least} of {}: {skipped:?}",
        past.acked()
    );
    require!(skipped.records == 0 || skipped.spots > 0, "{skipped:?}");
    Ok(skipped.spots)
}
