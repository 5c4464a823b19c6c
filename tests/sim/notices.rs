//! Who is told without waiting is told the truth, and once: the eventfd when the
//! durable mark has risen and not otherwise, each function exactly once.

use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};

use twal::{Code, Done, Error, Log};

use super::model::{require, Verdict};

/// What functions were told: which registration, and the number that is durable or the failure.
type Told = Arc<Mutex<Vec<(usize, Result<u64, Code>)>>>;

/// What one life's log was asked to tell, and what it told.
#[derive(Default)]
pub struct Notices {
    eventfd: Option<OwnedFd>,
    durable_seq: u64,
    /// The eventfd told of the failure, once.
    poisoned: bool,
    /// The number that each registration waits for; whether it was told.
    registered: Vec<(u64, bool)>,
    told: Told,
}

impl Notices {
    /// A new life.
    pub fn begin(&mut self, log: &Log) -> Verdict {
        *self = Notices { durable_seq: log.durable_seq(), poisoned: log.stats().poisoned, ..Notices::default() };
        // A chore behind the open may have failed by now.
        self.eventfd = log.eventfd().ok();
        require!(self.eventfd.is_some() || log.stats().poisoned, "no eventfd of a new log");
        Ok(())
    }

    /// Registers for `seq`, of `last` that are there; what the call answered.
    pub fn register(&mut self, log: &Log, seq: u64, last: u64) -> Verdict<Result<(), Error>> {
        self.hear(log, true)?;
        let (told, at) = (Arc::clone(&self.told), self.registered.len());
        let done = Done::new(move |seq, result| {
            let answer = (at, result.map(|()| seq).map_err(|error| error.code));
            told.lock().unwrap_or_else(PoisonError::into_inner).push(answer);
        });
        let answer = log.sync_async(seq, Some(done));
        require!(self.take().is_empty(), "a function is called inside the call");
        if answer.is_ok() {
            self.registered.push((if seq == 0 { last } else { seq }, false));
        }
        Ok(answer)
    }

    fn take(&self) -> Vec<(usize, Result<u64, Code>)> {
        std::mem::take(&mut *self.told.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// After every call: what was told is true.
    pub fn look(&mut self, log: &Log, may_fail: bool) -> Verdict {
        self.hear(log, may_fail)?;
        let risen = log.durable_seq() > self.durable_seq;
        self.durable_seq = log.durable_seq();
        let Some(eventfd) = &self.eventfd else { return Ok(()) };
        let readable = nix::unistd::read(eventfd, &mut [0; 8]).is_ok();
        let failed = log.stats().poisoned && !std::mem::replace(&mut self.poisoned, log.stats().poisoned);
        require!(readable || !failed, "the log is poisoned, the eventfd is silent");
        require!(readable || !risen, "the durable mark rose to {}, the eventfd is silent", self.durable_seq);
        require!(!readable || risen || log.stats().poisoned, "the eventfd tells of nothing");
        Ok(())
    }

    fn hear(&mut self, log: &Log, may_fail: bool) -> Verdict {
        for (at, answer) in self.take() {
            let Some((seq, told)) = self.registered.get_mut(at) else {
                return Err(format!("registration {at} was refused, and called"));
            };
            require!(!*told, "registration {at} is told twice");
            *told = true;
            match answer {
                Ok(durable) => {
                    require!(durable == *seq, "registration for {seq} is told of {durable}");
                    require!(log.durable_seq() >= durable, "{durable} is not durable, as was told");
                }
                Err(code) => require!(
                    may_fail && matches!(code, Code::Io | Code::Poisoned),
                    "registration for {seq} is told of {code:?}"
                ),
            }
        }
        Ok(())
    }

    /// After a tick nobody waits for what is durable.
    pub fn check_due_told(&mut self, log: &Log) -> Verdict {
        self.hear(log, true)?;
        let late = self.registered.iter().find(|(seq, told)| !told && *seq <= log.durable_seq());
        require!(late.is_none(), "{} is durable, who waits for {late:?} was not told", log.durable_seq());
        Ok(())
    }

    /// Once the log is poisoned nobody waits, whatever comes: the log may stay open for long.
    pub fn check_none_waits(&mut self, log: &Log) -> Verdict {
        self.hear(log, true)?;
        let silent = self.registered.iter().find(|(_, told)| !told);
        require!(silent.is_none(), "the log is poisoned, who waits for {silent:?} was not told");
        Ok(())
    }

    /// The life is over and its log gone: everybody was told.
    pub fn check_all_told(&mut self, may_fail: bool) -> Verdict {
        for (at, answer) in self.take() {
            let Some((seq, told)) = self.registered.get_mut(at) else {
                return Err(format!("registration {at} was refused, and called"));
            };
            require!(!*told, "registration {at} is told twice");
            *told = true;
            require!(may_fail || answer == Ok(*seq), "a close tells {answer:?} of {seq}");
        }
        let silent = self.registered.iter().find(|(_, told)| !told);
        require!(silent.is_none(), "the log is gone, who waits for {silent:?} was not told");
        Ok(())
    }
}
