//! What must be true, kept as plain lists beside the log: what was handed in,
//! what was promised, what was given back.  Knows nothing of files and frames.

use twal::{Error, HoldInfo, Log, RecoveryReport};

use super::holds::Holds;

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

/// A record as it was handed in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Given {
    /// Its payload is made from this number, which no other record of the run has.
    pub uid: u64,
    pub len: usize,
    pub kind: u16,
    pub stream: u64,
    pub timestamp: Option<i64>,
    pub required: bool,
    pub batch_continues: bool,
}

/// The payload of record `uid`: no two have the same beyond a few bytes.
pub fn payload(uid: u64, len: usize) -> Vec<u8> {
    let mut state = uid.wrapping_mul(0x2545_f491_4f6c_dd1d) | 1;
    let mut bytes = Vec::with_capacity(len + 8);
    bytes.extend_from_slice(&uid.to_le_bytes());
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// A record as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    pub seq: u64,
    pub stream: u64,
    pub timestamp: i64,
    pub kind: u16,
    pub required: bool,
    pub batch_continues: bool,
    pub data: Vec<u8>,
}

impl Given {
    fn check(&self, read: &Read) -> Verdict {
        let same = read.kind == self.kind
            && read.stream == self.stream
            && read.required == self.required
            && read.batch_continues == self.batch_continues
            && self.timestamp.is_none_or(|timestamp| timestamp == read.timestamp)
            && read.data == payload(self.uid, self.len);
        require!(
            same,
            "record {}: given {self:?}, read type {} stream {} timestamp {} required {} continues {} and {} bytes of {:?}",
            read.seq,
            read.kind,
            read.stream,
            read.timestamp,
            read.required,
            read.batch_continues,
            read.data.len(),
            &read.data[..read.data.len().min(8)]
        );
        Ok(())
    }
}

/// All of a log, as one handle shows it.
#[derive(Debug, Clone)]
pub struct Seen {
    pub first_seq: u64,
    pub records: Vec<Read>,
    /// What ended the reading, if not the end.
    pub error: Option<twal::Error>,
    pub report: RecoveryReport,
    pub holds: Result<Vec<HoldInfo>, Error>,
}

impl Seen {
    pub fn last_seq(&self) -> u64 {
        self.first_seq - 1 + self.records.len() as u64
    }

    /// Reads everything from the oldest record on.
    pub fn of(log: &Log) -> Seen {
        let (records, error) = read_from(log, 0);
        Seen { first_seq: log.first_seq(), records, error, report: log.report(), holds: log.holds() }
    }

    /// The same log, byte for byte.
    pub fn check_same(&self, other: &Seen, what: &str) -> Verdict {
        require!(other.error.is_none(), "{what}: reading fails: {:?}", other.error);
        require!(
            self.first_seq == other.first_seq && self.records.len() == other.records.len(),
            "{what}: {}..={} became {}..={}",
            self.first_seq,
            self.last_seq(),
            other.first_seq,
            other.last_seq()
        );
        require!(self.records == other.records, "{what}: a record changed");
        Ok(())
    }
}

pub fn read_from(log: &Log, from_seq: u64) -> (Vec<Read>, Option<twal::Error>) {
    let mut records = Vec::new();
    let mut iter = match log.iter(from_seq) {
        Ok(iter) => iter,
        Err(error) => return (records, Some(error)),
    };
    loop {
        match read_next(&mut iter) {
            Ok(Some(read)) => records.push(read),
            Ok(None) => return (records, None),
            Err(error) => return (records, Some(error)),
        }
    }
}

pub fn read_next(iter: &mut twal::Iter) -> Result<Option<Read>, twal::Error> {
    Ok(iter.next_record()?.map(|record| Read {
        seq: record.seq,
        stream: record.stream,
        timestamp: record.timestamp,
        kind: record.kind,
        required: record.required,
        batch_continues: record.batch_continues,
        data: record.data.to_vec(),
    }))
}

/// See the module.
#[derive(Debug, Clone, Default)]
pub struct Model {
    /// What was accepted: record `seq` is at `seq - 1`.
    pub given: Vec<Given>,
    /// An append whose fate nobody knows: if it is there, then right behind.
    pub maybe: Vec<Given>,
    /// Promised durable up to here.
    pub acked: u64,
    /// Up to here something later on the device says so: damage must show.
    pub witnessed: u64,
    /// Highest number that trim was told.
    pub released: u64,
    /// The log said that it begins here, or later.
    pub first_seq: u64,
    /// A log was there once.
    pub born: bool,
    /// A flush failed: what reads see may be on no device, whoever flushes it again.
    pub flush_failed: bool,
    /// What is not to be given back.
    pub holds: Holds,
}

impl Model {
    pub fn last_seq(&self) -> u64 {
        self.given.len() as u64
    }

    pub fn ack(&mut self, seq: u64) {
        self.acked = self.acked.max(seq);
    }

    pub fn witness(&mut self, seq: u64) {
        self.witnessed = self.witnessed.max(seq);
    }

    /// Whether a log may end behind record `seq`.
    pub fn is_batch_end(&self, seq: u64) -> bool {
        seq == 0 || !self.given(seq).is_some_and(|given| given.batch_continues)
    }

    fn given(&self, seq: u64) -> Option<&Given> {
        let at = usize::try_from(seq - 1).ok()?;
        self.given.get(at).or_else(|| self.maybe.get(at.checked_sub(self.given.len())?))
    }

    /// Each is what was accepted under its number, from `from` on without a gap.
    pub fn check_records(&self, from: u64, records: &[Read]) -> Verdict {
        let mut logical = i64::MIN;
        for (read, seq) in records.iter().zip(from..) {
            require!(read.seq == seq, "record {} is where {seq} belongs", read.seq);
            let Some(given) = self.given(seq) else {
                return Err(format!("record {seq} was invented: {:?}", &read.data[..read.data.len().min(8)]));
            };
            given.check(read)?;
            if given.timestamp.is_none() {
                require!(read.timestamp >= logical, "the logical clock went back at {seq}");
                logical = read.timestamp;
            }
        }
        Ok(())
    }

    /// The log holds everything up to `least`, and nothing that was not handed in.
    pub fn check(&self, seen: &Seen, least: u64) -> Verdict {
        require!(seen.error.is_none(), "reading fails: {:?}", seen.error);
        let (first, last) = (seen.first_seq, seen.last_seq());
        require!(first >= self.first_seq, "the log begins at {first}, it had begun at {}", self.first_seq);
        require!(first <= self.released.max(1), "the log begins at {first}, released was below {}", self.released);
        require!(last >= least, "the log ends at {last}, acknowledged was {least}");
        self.holds.check_kept(first)?;
        self.holds.check(&seen.holds, first)?;
        self.check_records(first, &seen.records)?;
        require!(
            last <= self.last_seq() + self.maybe.len() as u64,
            "the log ends at {last}, accepted was {}",
            self.last_seq()
        );
        require!(last == 0 || self.is_batch_end(last), "the log ends at {last}, inside a batch");
        let report = &seen.report;
        require!(!(report.created && self.born), "a log that was there was made anew");
        Ok(())
    }

    /// What the handle reports agrees with what it delivers.
    pub fn check_report(seen: &Seen) -> Verdict {
        let report = &seen.report;
        require!(
            report.first_seq == seen.first_seq
                && report.last_seq == seen.last_seq()
                && report.records == seen.records.len() as u64
                && report.witnessed_seq <= report.last_seq
                && report.segments >= 1,
            "{report:?}, but {}..={} was read",
            seen.first_seq,
            seen.last_seq()
        );
        Ok(())
    }

    /// An open for writing reported this: it stays.
    pub fn reported(&mut self, seen: &Seen) {
        let last = seen.last_seq() as usize;
        let given = std::mem::take(&mut self.given);
        self.given = given.into_iter().chain(self.maybe.drain(..)).take(last).collect();
        self.acked = seen.last_seq();
        self.witnessed = seen.last_seq();
        self.first_seq = seen.first_seq;
        self.holds.reported(&seen.holds);
        self.born = true;
    }
}
