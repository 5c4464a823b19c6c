//! What a damaged log may show, told from the list of what was acknowledged.

use std::ops::Range;

use twal::{Code, Error, Iter, IterOptions, Log};

use super::past::{Given, Past};
use super::rng::Rng;

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
                let there = !past.holes.contains(&record.seq);
                require!(there, "record {} was let go, and is there again", record.seq);
                let read = Given {
                    data: record.data.to_vec(),
                    stream: record.stream,
                    batch_continues: record.batch_continues,
                };
                let given = usize::try_from(record.seq - 1).ok().and_then(|at| past.given.get(at));
                let continues = past.batch_continues(record.seq);
                let given = given.map(|given| Given { batch_continues: continues, ..given.clone() });
                require!(given.as_ref() == Some(&read), "record {} is not what was acknowledged", record.seq);
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
    for (at, seq) in (first_seq..).filter(|at| !past.holes.contains(at)).zip(&seqs) {
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
    let last = past.last_there(past.first_seq, past.acked());
    require!(may_shorten || seen.last() == last, "ends in silence at {} of {last}", seen.last());
    Ok(())
}

/// From any number on by the headers alone, and some records by their numbers: nothing is missing in silence there.
pub fn reads_otherwise(past: &Past, log: &Log, seed: u64, may_shorten: bool) -> Verdict {
    let (first, last) = (past.first_seq, past.last_there(past.first_seq, past.acked()));
    if log.first_seq() != first || last < first {
        // Who reads all of it is told.
        return Ok(());
    }
    let told = |error: &Error| if may_shorten && error.code == Code::NotFound { Ok(()) } else { is_damage(error) };
    let right = |seq: u64, data: &[u8]| {
        let given = &past.given[usize::try_from(seq - 1).expect("a number of the past")];
        require!(given.data == data, "record {seq} is not what was acknowledged");
        Ok(())
    };
    let mut rng = Rng::new(seed);
    for _ in 0..4 {
        let seq = rng.within(first, last);
        match log.read(seq, |record| (record.seq, record.data.to_vec())) {
            Ok((read, data)) => {
                require!(read == seq, "record {read} is given for {seq}");
                right(seq, &data)?;
            }
            Err(error) if past.holes.contains(&seq) && error.code == Code::NotFound => {}
            Err(error) => told(&error).map_err(|text| format!("record {seq} by its number: {text}"))?,
        }
    }
    let from_seq = rng.within(first, last);
    let mut iter = match log.iter_with(IterOptions { from_seq, headers_only: true, ..IterOptions::default() }) {
        Ok(iter) => iter,
        Err(error) => return told(&error).map_err(|text| format!("headers from {from_seq} on: {text}")),
    };
    let mut there = (from_seq..=last).filter(|seq| !past.holes.contains(seq));
    loop {
        match iter.next_record().map(|record| record.map(|record| record.seq)) {
            Ok(Some(seq)) => {
                let next = there.next();
                require!(next == Some(seq), "headers: {seq} is where {next:?} belongs");
                match iter.payload() {
                    Ok(data) => right(seq, data)?,
                    Err(error) => is_damage(&error)?,
                }
            }
            Ok(None) => {
                let next = there.next();
                require!(may_shorten || next.is_none(), "headers: ends in silence before {next:?} of {last}");
                return Ok(());
            }
            Err(error) => return is_damage(&error),
        }
    }
}

/// What a reader delivers that passes over damage: whole batches, in order, and every gap is counted.
/// `untouched` are numbers in files that nobody touched.
/// With `may_shorten` (promise 4's exception) the end may be missing in silence.
pub fn skips_and_counts(
    past: &Past,
    log: &Log,
    (least, may_shorten): (u64, bool),
    untouched: &[Range<u64>],
) -> Verdict<u64> {
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
    for seq in (first_seq..=past.acked()).filter(|seq| !past.holes.contains(seq) && past.batch_continues(*seq)) {
        let next = (seq + 1..).find(|next| !past.holes.contains(next)).expect("the batch continues");
        require!(there(seq) == there(next), "a batch in part: {seq} and {next}");
    }
    for seq in untouched.iter().flat_map(Clone::clone).filter(|seq| !past.holes.contains(seq)) {
        require!(there(seq), "record {seq} is in a file that nobody touched, and was not delivered");
    }
    let skipped = iter.skipped();
    let (delivered, last) = (seqs.len() as u64, seqs.last().copied().unwrap_or(first_seq - 1));
    // Of the holes, those in a frame that is damaged are counted as missing, the others are not.
    let (end, holes) = (first_seq - 1 + delivered + skipped.records, past.holes_between(first_seq, past.acked()));
    require!(
        end + past.holes_between(first_seq, last) >= last,
        "{delivered} from {first_seq} to {last}, and {skipped:?}"
    );
    require!(
        end + holes >= least && end <= past.acked(),
        "ends at {end}, witnessed is {least} of {}: {skipped:?}",
        past.acked()
    );
    require!(skipped.records == 0 || skipped.spots > 0, "{skipped:?}");
    let all = end + holes >= past.acked();
    require!(all || may_shorten || skipped.spots > 0, "ends in silence at {end} of {}: {skipped:?}", past.acked());
    Ok(skipped.spots)
}
