//! What else befalls a log: time, rolls, trims, readers, a full disk, misuse.

use std::io::IoSlice;

use twal::disk::sim::{Keep, Stop};
use twal::{Code, Entry, Error, How, Log};

use super::model::{read_next, require, Verdict};
use super::run::{Flow, Run};
use super::world::check_crashed;

impl Run<'_> {
    pub fn tick(&mut self, log: &Log) -> Verdict<Flow> {
        let options = &self.machine.options;
        let us = match self.rng.below(6) {
            0 => 0,
            // What nobody waits for is written by then.
            1 | 2 => 1000,
            3 => options.batch_delay_us,
            4 => options.idle_mark_us,
            _ => options.flush_interval_ms * 1000,
        };
        self.story.say(format!("tick after {us} us"));
        let idle = us >= options.idle_mark_us;
        let durable = log.durable_seq();
        self.machine.pass_us(us);
        log.tick();
        self.notices.check_due_told(log)?;
        if log.stats().poisoned {
            self.notices.check_none_waits(log)?;
        }
        if idle && self.may_expect(log) {
            self.model.witness(durable);
        }
        Ok(Flow::On)
    }

    /// Time alone makes everything durable, and then witnessed.
    pub fn settle(&mut self, log: &Log) -> Verdict<Flow> {
        self.story.say("settle".into());
        let options = self.machine.options.clone();
        log.tick();
        self.machine.pass_us(options.flush_interval_ms * 1000 + options.batch_delay_us);
        log.tick();
        if self.may_expect(log) {
            let (durable, last) = (log.durable_seq(), log.last_seq());
            require!(durable == last, "flush_interval has passed, durable is {durable} of {last}");
        }
        let durable = log.durable_seq();
        self.machine.pass_us(options.idle_mark_us);
        log.tick();
        if self.may_expect(log) {
            self.model.ack(durable);
            self.model.witness(durable);
        }
        Ok(Flow::On)
    }

    /// The log works: what time has to bring, it brings.
    pub fn may_expect(&mut self, log: &Log) -> bool {
        if log.stats().poisoned && self.faults_planned && !self.poisoned && !self.machine.disk.is_down() {
            self.story.count("poisoned in tick");
            self.poisoned = true;
        }
        !self.poisoned && !self.machine.disk.is_down()
    }

    pub fn roll(&mut self, log: &Log) -> Verdict<Flow> {
        self.story.say("roll".into());
        let last = self.model.last_seq();
        match log.roll() {
            Ok(()) => {
                self.model.ack(last);
                self.model.witness(last);
                Ok(Flow::On)
            }
            Err(error) => self.unexpected("roll", &error),
        }
    }

    pub fn trim(&mut self, log: &Log) -> Verdict<Flow> {
        let below = self.rng.below(self.model.last_seq() + 2);
        self.story.say(format!("trim {below}"));
        self.model.released = self.model.released.max(below);
        match log.trim(below) {
            Ok(()) => {
                let first = log.first_seq();
                require!(first <= self.model.released.max(1), "trim below {below} released up to {first}");
                self.model.first_seq = self.model.first_seq.max(first);
                self.story.count("trims");
                Ok(Flow::On)
            }
            // A flush of names or of a recycled file failed: what had to be durable for it was not touched.
            Err(error) if error.code == Code::Io && self.faults_planned && !log.stats().poisoned => {
                self.story.count("trims failed alone");
                Ok(Flow::On)
            }
            Err(error) => self.unexpected("trim", &error),
        }
    }

    pub fn iterate(&mut self, log: &Log) -> Verdict<Flow> {
        let (first, last, durable) = (log.first_seq(), log.last_seq(), log.durable_seq());
        let from = if self.rng.percent(40) { 0 } else { self.rng.within(first.saturating_sub(3), last + 3) };
        self.story.say(format!("iterate from {from}"));
        let mut iter = match log.iter(from) {
            Ok(iter) => iter,
            Err(error) if self.machine.disk.is_down() => {
                let _ = error;
                return Ok(Flow::Down);
            }
            Err(error) => {
                let right = (error.code == Code::Trimmed && from < first)
                    || (error.code == Code::NotFound && from > last.max(first - 1) + 1);
                require!(right, "iter({from}) of {first}..={last}: {:?} {error}", error.code);
                return Ok(Flow::On);
            }
        };
        let from = if from == 0 { first } else { from };
        require!(from >= first && from <= last.max(first - 1) + 1, "iter({from}) of {first}..={last} is given");
        let mut reads = Vec::new();
        loop {
            match read_next(&mut iter) {
                Ok(Some(read)) => reads.push(read),
                Ok(None) => break,
                Err(_) if self.machine.disk.is_down() => return Ok(Flow::Down),
                Err(error) => return Err(format!("iterating from {from} fails: {error}")),
            }
        }
        require!(
            reads.len() as u64 == (durable + 1).saturating_sub(from),
            "from {from} to {durable} there are {} records",
            reads.len()
        );
        self.model.check_records(from, &reads)?;
        Ok(Flow::On)
    }

    /// A reader as of another process, which stays over calls, trims and even a close.
    pub fn poll_tail(&mut self, writer: Option<&Log>) -> Verdict {
        if self.machine.disk.is_down() {
            return Ok(());
        }
        if self.tail.is_none() && writer.is_some() {
            let log = match self.machine.open_to_read() {
                Err(_) if self.machine.disk.is_down() => return Ok(()),
                log => log.map_err(|error| format!("a reader cannot open: {error}"))?,
            };
            let next = log.first_seq();
            let iter = log.iter(0).map_err(|error| format!("a reader cannot begin: {error}"))?;
            self.story.say(format!("a reader begins at {next}"));
            self.tail = Some((log, iter, next));
        }
        let Some((reader, mut iter, mut next)) = self.tail.take() else { return Ok(()) };
        loop {
            match read_next(&mut iter) {
                Ok(Some(read)) => {
                    self.model
                        .check_records(next, std::slice::from_ref(&read))
                        .map_err(|text| format!("reader: {text}"))?;
                    next += 1;
                }
                Ok(None) => break,
                // A reader flushes: the stop may strike there.
                Err(_) if self.machine.disk.is_down() => return Ok(()),
                Err(error) => {
                    let released = next < self.model.released && error.code == Code::Trimmed;
                    require!(released, "a reader fails at {next}: {:?} {error}", error.code);
                    self.story.count("readers trimmed away");
                    return Ok(());
                }
            }
        }
        self.story.say(format!("a reader is at {next}"));
        self.story.count("reader polls");
        if let Some(writer) = writer {
            require!(next - 1 <= writer.durable_seq(), "a reader delivers {}, which is not durable", next - 1);
        } else if !self.poisoned {
            require!(next - 1 == self.model.last_seq(), "a reader of a closed log ends at {}", next - 1);
        }
        // Behind a flush that failed there may be a hole in front of the witness.
        require!(
            next > self.model.witnessed || self.poisoned,
            "a reader ends before {next}, witnessed is {}\n{}",
            self.model.witnessed,
            self.machine.disk.trace()
        );
        self.tail = Some((reader, iter, next));
        Ok(())
    }

    /// The disk is full: an error that goes away, and nothing is lost by it.
    pub fn fill_disk(&mut self, log: &Log) -> Verdict<Flow> {
        if self.poisoned || self.faults_planned {
            return Ok(Flow::On);
        }
        let disk = self.machine.disk.clone();
        let room = self.rng.pick(&[0, 4096, 40 << 10]);
        self.story.say(format!("the disk has {room} bytes left"));
        disk.set_capacity(Some(disk.room_taken() + room));
        (self.full, self.was_full, self.refused) = (true, true, false);
        for _ in 0..60 {
            let given = self.record(4000);
            let how = self.how();
            if self.append_all(log, vec![given], how)? == Flow::Down {
                return Ok(Flow::Down);
            }
            if self.refused {
                break;
            }
        }
        self.look(log)?;
        if self.refused {
            self.story.count("disk full");
            if self.rng.percent(50) {
                let crash = self.machine.crashed(self.rng.next(), Stop::PowerCut, Keep::Random);
                self.story.say("  fork: power cut on a full disk".into());
                check_crashed(&crash, &self.model, &mut self.rng, self.story)?;
            }
            if self.rng.percent(50) && self.trim(log)? == Flow::Down {
                return Ok(Flow::Down);
            }
        }
        disk.set_capacity(None);
        self.full = false;
        self.story.say("the disk has room again".into());
        let given = self.record(100);
        self.append_all(log, vec![given], How { sync: Some(true), no_wait: false })
    }

    /// More than the ring holds, without waiting for durability.
    pub fn overload(&mut self, log: &Log) -> Verdict<Flow> {
        for _ in 0..self.rng.within(5, 40) {
            let given = self.record(1000);
            if self.append_all(log, vec![given], How { sync: Some(false), no_wait: false })? == Flow::Down {
                return Ok(Flow::Down);
            }
            if self.poisoned {
                break;
            }
        }
        Ok(Flow::On)
    }

    /// Refused, with the right code, without taking a number.
    pub fn misuse(&mut self, log: &Log) -> Verdict<Flow> {
        let len = self.record_size_max() as usize + 1;
        let data = vec![0; len];
        let entry = Entry { data: &data, stream: 0, timestamp: None, kind: 0x0100, required: false };
        let code = |result: Result<u64, Error>| result.err().map(|error| error.code);
        let big = code(log.append(&entry, How::default()));
        require!(big == Some(Code::TooBig), "a record of {len} bytes: {big:?}");
        let nothing = Entry { data: &[], ..entry };
        let reserved = log.reserve(&nothing, len, How::default()).err().map(|error| error.code);
        require!(reserved == Some(Code::TooBig), "room for a record of {len} bytes: {reserved:?}");
        let gathered = code(log.append_gather(&nothing, &[&data[..1], &data[1..]].map(IoSlice::new), How::default()));
        require!(gathered == Some(Code::TooBig), "{len} bytes in parts: {gathered:?}");
        let none = code(log.append_batch(std::iter::empty(), How::default()));
        require!(none == Some(Code::Inval), "an empty batch: {none:?}");
        let beyond = code(log.sync(log.last_seq() + 1).map(|()| 0));
        require!(beyond == Some(Code::Inval), "sync beyond the last: {beyond:?}");
        if !self.machine.disk.is_down() {
            let second = code(self.machine.open().map(|_| 0));
            require!(second == Some(Code::Locked), "a second writer: {second:?}");
        }
        Ok(Flow::On)
    }
}
