//! Reading beside a writer that gives back what comes next.

use twal::{Code, Iter, IterOptions, Log, Record};

use crate::exit::Failure;
use crate::output::range;

/// How often a reading that was asked for no place begins again: each time the oldest segment went before it was open.
const BEGIN_AGAIN_MAX: u32 = 20;

/// Where and how to read a log as it is now.
pub type Begin<'a> = Box<dyn Fn(&Log) -> IterOptions + 'a>;

/// A reader that begins again at the oldest record there is, where nobody asked for a place and nothing was read yet.
pub struct Reading<'a> {
    log: &'a Log,
    /// None: a place was asked for, and what is not there is the answer.
    begin: Option<Begin<'a>>,
    pub iter: Iter,
    has_read: bool,
    begun: u32,
}

impl<'a> Reading<'a> {
    /// From the place that was asked for.
    pub fn from(log: &'a Log, options: IterOptions) -> Result<Reading<'a>, Failure> {
        Ok(Reading { log, begin: None, iter: log.iter_with(options)?, has_read: false, begun: 0 })
    }

    /// From wherever `begin` says that there is to be read.
    pub fn wherever(log: &'a Log, begin: Begin<'a>) -> Result<Reading<'a>, Failure> {
        let mut begun = 0;
        loop {
            begun += 1;
            match log.iter_with(begin(log)) {
                Err(error) if error.code == Code::Trimmed && begun < BEGIN_AGAIN_MAX => {}
                Err(error) if error.code == Code::Trimmed => return Err(Failure::released(error)),
                iter => return Ok(Reading { log, begin: Some(begin), iter: iter?, has_read: false, begun }),
            }
        }
    }

    /// Gives all that is there to `take`, until that says false.
    pub fn each(&mut self, take: &mut dyn FnMut(&Record<'_>) -> Result<bool, Failure>) -> Result<(), Failure> {
        loop {
            let error = match self.iter.next_record() {
                Ok(None) => return Ok(()),
                Ok(Some(record)) => {
                    self.has_read = true;
                    match take(&record)? {
                        true => continue,
                        false => return Ok(()),
                    }
                }
                Err(error) => error,
            };
            let Some(begin) = self.begin.as_ref().filter(|_| error.code == Code::Trimmed) else {
                return Err(error.into());
            };
            if self.has_read {
                let gone = range(self.iter.next_seq(), error.seq.saturating_sub(1));
                return Err(Failure::released(format!("records {gone} were released before they were read")));
            }
            if self.begun >= BEGIN_AGAIN_MAX {
                return Err(Failure::released(error));
            }
            self.begun += 1;
            match self.log.iter_with(begin(self.log)) {
                // The next turn is told so, too.
                Err(error) if error.code == Code::Trimmed => {}
                iter => self.iter = iter?,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use twal::base::clock::Clock;
    use twal::commit::Threads;
    use twal::disk::sim::SimDisk;
    use twal::{Entry, How, Options};

    /// A log of three segments, of which only the last has stream 2, and a reader's handle that was open before the
    /// first two were given back; what is read of the streams asked for, then.
    fn read_late(streams: Option<Vec<u64>>, asked: bool) -> (Vec<u64>, Result<(), Failure>) {
        let clock = Clock::simulated();
        let disk = SimDisk::new(1).with_clock(clock.clone());
        let options = Options { segment_size: 1 << 16, max_retained_segments: 1, ..Options::default() };
        let open =
            |options: &Options| Log::open_on(&*disk, Path::new("/log"), options, clock.clone(), Threads::None).unwrap();
        let log = open(&options);
        for stream in [1, 1, 1, 2] {
            for _ in 0..3 {
                let entry = Entry { data: b"record", stream, timestamp: None, kind: 0x0100, required: false };
                log.append(&entry, How::default()).unwrap();
            }
            log.roll().unwrap();
        }
        let reader = open(&Options { read_only: true, ..options });
        let wanted = IterOptions { streams, ..IterOptions::default() };
        let mut reading = match asked {
            true => Reading::from(&reader, wanted).unwrap(),
            false => Reading::wherever(&reader, Box::new(move |_| wanted.clone())).unwrap(),
        };
        log.trim(10).unwrap();
        let mut seqs = Vec::new();
        let read = reading.each(&mut |record| {
            seqs.push(record.seq);
            Ok(true)
        });
        (seqs, read)
    }

    #[test]
    fn nothing_was_read_yet_so_it_begins_again() {
        let (seqs, read) = read_late(Some(vec![2]), false);
        assert_eq!((seqs, read.map_err(|failure| failure.text)), (vec![10, 11, 12], Ok(())));
    }

    #[test]
    fn what_went_while_it_was_read_is_told() {
        let (seqs, read) = read_late(None, false);
        let failure = read.unwrap_err();
        assert_eq!((seqs, failure.exit), (vec![1, 2, 3], 1));
        assert_eq!(failure.text, "records 4..9 were released before they were read");
    }

    #[test]
    fn what_was_asked_for_and_is_gone_is_the_askers_to_know() {
        let (_, read) = read_late(Some(vec![2]), true);
        assert_eq!(read.unwrap_err().exit, 2);
    }
}
