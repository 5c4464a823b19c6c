//! What a caller hands in and asks for: appends of every kind, reservations, syncs, waits.

use std::io::IoSlice;

use twal::disk::sim::{Keep, Stop};
use twal::{Code, Durability, Entry, Error, How, Log, Reservation};

use super::model::{payload, require, Given, Verdict};
use super::run::{Flow, Run};
use super::world::check_crashed;

impl Run<'_> {
    pub fn record(&mut self, len_max: u64) -> Given {
        let uid = self.next_uid;
        self.next_uid += 1;
        let len = match self.rng.below(12) {
            0 => 0,
            1..=5 => self.rng.below(100),
            6..=9 => self.rng.below(1500),
            10 => self.rng.below(6000),
            _ => len_max - self.rng.below(50).min(len_max),
        };
        Given {
            uid,
            len: len.min(len_max) as usize,
            kind: 0x0100 + self.rng.below(0xff00) as u16,
            // A few that come again, and any.
            stream: match self.rng.below(6) {
                0 => self.rng.next(),
                few => few << 32 | 7,
            },
            timestamp: self.rng.percent(50).then(|| self.rng.next().cast_signed()),
            required: self.rng.percent(20),
            batch_continues: false,
        }
    }

    pub fn how(&mut self) -> How {
        How { sync: self.rng.pick(&[None, None, None, Some(true), Some(false)]), no_wait: self.rng.percent(8) }
    }

    pub fn waits(&self, how: How) -> bool {
        how.sync.unwrap_or(self.machine.options.durability == Some(Durability::Sync))
    }

    /// What an empty segment holds, from the documentation: a segment less header, mark and seal,
    /// less the frame's header and the record's.
    pub fn record_size_max(&self) -> u64 {
        let (block, size) = (u64::from(self.machine.options.block_size), self.machine.options.segment_size);
        (size / block - 3) * block - 128 - 40
    }

    pub fn append(&mut self, log: &Log) -> Verdict<Flow> {
        let len_max = self.record_size_max();
        let given = self.record(len_max);
        let how = self.how();
        self.append_all(log, vec![given], how)
    }

    pub fn append_batch(&mut self, log: &Log) -> Verdict<Flow> {
        let count = self.rng.within(1, 20);
        let room = self.record_size_max().saturating_sub(count * 50);
        let mut left = room;
        let mut batch = Vec::new();
        for at in 1..=count {
            let most = if self.rng.percent(5) { left } else { left.min(2000) };
            let given = self.record(most);
            left -= given.len as u64;
            batch.push(Given { batch_continues: at < count, ..given });
        }
        if room - left > self.machine.options.ring_size {
            self.story.count("batches larger than the ring");
        }
        let how = self.how();
        self.append_all(log, batch, how)
    }

    pub fn append_all(&mut self, log: &Log, batch: Vec<Given>, how: How) -> Verdict<Flow> {
        let bytes: usize = batch.iter().map(|given| given.len).sum();
        let (before, durable_before) = (self.model.last_seq(), log.durable_seq());
        self.story.say(format!("append {} records {bytes} bytes {how:?} as {}", batch.len(), before + 1));
        let payloads: Vec<_> = batch.iter().map(|given| payload(given.uid, given.len)).collect();
        let result = match (batch.as_slice(), self.rng.percent(25)) {
            ([given], true) => {
                let cuts = [self.rng.below(given.len as u64 + 1), self.rng.below(given.len as u64 + 1)];
                append_cut(log, entry_of(given, &[]), &payloads[0], cuts.map(|cut| cut as usize), how)
            }
            ([given], false) => log.append(&entry_of(given, &payloads[0]), how),
            _ => {
                let entries: Vec<_> = batch.iter().zip(&payloads).map(|(given, data)| entry_of(given, data)).collect();
                log.append_batch(entries.into_iter(), how)
            }
        };
        self.appended(log, batch, how, (before, durable_before), result)
    }

    /// What an append of `batch` has answered, after `before` was the last number and `durable_before` durable.
    pub fn appended(
        &mut self,
        log: &Log,
        batch: Vec<Given>,
        how: How,
        (before, durable_before): (u64, u64),
        result: Result<u64, Error>,
    ) -> Verdict<Flow> {
        match result {
            Ok(first_seq) => {
                require!(first_seq == before + 1, "an append got {first_seq}, the last was {before}");
                require!(!self.poisoned, "a poisoned log accepts {first_seq}");
                self.model.given.extend(batch);
                if self.waits(how) {
                    let last_seq = self.model.last_seq();
                    require!(log.durable_seq() >= last_seq, "append returned before {last_seq} was durable");
                    self.model.ack(last_seq);
                    // Its frame was composed after that was durable, and says so.
                    self.model.witness(durable_before);
                }
                Ok(Flow::On)
            }
            Err(error) if self.machine.disk.is_down() => {
                self.story.say(format!("  {:?}: {error}", error.code));
                self.unknown_fate(batch);
                Ok(Flow::Down)
            }
            Err(error) => match error.code {
                Code::Io | Code::Poisoned => {
                    require!(!self.poisoned || error.code == Code::Poisoned, "a poisoned log answers {error}");
                    self.unknown_fate(batch);
                    self.unexpected("append", &error)
                }
                Code::Again if how.no_wait => Ok(Flow::On),
                // A spare that could not be prepared.
                Code::NoSpc | Code::NoMem if self.faults_planned => Ok(Flow::On),
                // Who does not wait is told of the last attempt to get room, and causes the next.
                Code::NoSpc if self.full || (self.was_full && how.no_wait) => {
                    self.refused = true;
                    Ok(Flow::On)
                }
                Code::Timeout if self.machine.options.append_timeout_us > 0 => Ok(Flow::On),
                _ => Err(format!("append fails: {:?} {error}", error.code)),
            },
        }
    }

    /// Reservations lie about while others append, and are committed or given up in any order.
    pub fn reserve(&mut self, log: &Log) -> Verdict<Flow> {
        let mut held: Vec<(Reservation, Given, How)> = Vec::new();
        for _ in 0..self.rng.within(1, 5) {
            let len_max = self.record_size_max();
            let given = self.record(len_max);
            let room = self.rng.within(given.len as u64, (given.len as u64 + 3000).min(len_max));
            // Who waits while he holds some waits for ever.
            let how = How { no_wait: true, ..self.how() };
            self.story.say(format!("reserve {room} bytes {how:?}"));
            match log.reserve(&entry_of(&given, &[]), room as usize, how) {
                Ok(mut reservation) => {
                    let data = reservation.data();
                    require!(data.len() as u64 == room, "{room} bytes were reserved, {} are there", data.len());
                    data.fill(0xee);
                    data[..given.len].copy_from_slice(&payload(given.uid, given.len));
                    held.push((reservation, given, how));
                }
                Err(error) if error.code == Code::Again => self.story.count("reservations refused"),
                Err(error) => return self.unexpected("reserve", &error),
            }
        }
        while !held.is_empty() {
            let flow = match self.rng.below(10) {
                0..=3 => {
                    let at = self.rng.below(held.len() as u64) as usize;
                    let (mut reservation, given, how) = held.swap_remove(at);
                    self.story.say(format!("commit {} bytes {how:?}", given.len));
                    self.story.count("commits");
                    let before = (self.model.last_seq(), log.durable_seq());
                    let result = reservation.commit(given.len);
                    let again = result.as_ref().is_err_and(|error| error.code == Code::Again);
                    require!(reservation.is_spent() || result.is_err(), "a reservation is committed and still there");
                    require!(!(again && reservation.is_spent()), "a reservation that was refused is gone");
                    self.appended(log, vec![given], how, before, result)?
                }
                4 => {
                    let at = self.rng.below(held.len() as u64) as usize;
                    held.swap_remove(at).0.cancel();
                    self.story.say("cancel".into());
                    Flow::On
                }
                5..=6 => {
                    let given = self.record(1500);
                    let how = How { no_wait: true, ..self.how() };
                    self.append_all(log, vec![given], how)?
                }
                7 => self.tick(log)?,
                8 => self.sync(log)?,
                _ => self.roll(log)?,
            };
            if flow == Flow::Down || self.machine.disk.is_down() {
                return Ok(Flow::Down);
            }
            self.look(log)?;
            if self.rng.percent(3) {
                let crash = self.machine.crashed(self.rng.next(), Stop::PowerCut, Keep::Random);
                self.story.say("  fork with reservations".into());
                check_crashed(&crash, &self.model, &mut self.rng, self.story)?;
            }
        }
        Ok(Flow::On)
    }

    pub fn sync_async(&mut self, log: &Log) -> Verdict<Flow> {
        let last = self.model.last_seq();
        let seq = if self.rng.percent(60) { 0 } else { self.rng.below(last + 1) };
        self.story.say(format!("sync_async {seq}"));
        match self.notices.register(log, seq, last)? {
            Ok(()) => Ok(Flow::On),
            Err(error) => self.unexpected("sync_async", &error),
        }
    }

    /// The first append that fails for an I/O error may be there later; those behind it were not begun.
    pub fn unknown_fate(&mut self, batch: Vec<Given>) {
        if !self.poisoned && self.model.maybe.is_empty() {
            self.model.maybe = batch;
        }
    }

    pub fn sync(&mut self, log: &Log) -> Verdict<Flow> {
        let last = self.model.last_seq();
        let seq = if self.rng.percent(60) { 0 } else { self.rng.below(last + 1) };
        self.story.say(format!("sync {seq}"));
        match log.sync(seq) {
            Ok(()) => {
                self.model.ack(if seq == 0 { last } else { seq });
                Ok(Flow::On)
            }
            Err(error) => self.unexpected("sync", &error),
        }
    }

    pub fn wait(&mut self, log: &Log) -> Verdict<Flow> {
        let last = self.model.last_seq();
        let seq = if self.rng.percent(60) { 0 } else { self.rng.below(last + 1) };
        let timeout_ns = self.rng.pick(&[None, Some(0), Some(50_000), Some(50_000_000)]);
        self.story.say(format!("wait {seq} {timeout_ns:?}"));
        match log.wait(seq, timeout_ns) {
            Ok(()) => {
                self.model.ack(if seq == 0 { last } else { seq });
                Ok(Flow::On)
            }
            Err(error) if error.code == Code::Timeout && timeout_ns.is_some() => Ok(Flow::On),
            Err(error) => self.unexpected("wait", &error),
        }
    }
}

pub fn entry_of<'a>(given: &Given, data: &'a [u8]) -> Entry<'a> {
    let &Given { stream, timestamp, kind, required, .. } = given;
    Entry { data, stream, timestamp, kind, required }
}

/// Appends `data` in three parts.
fn append_cut(log: &Log, entry: Entry<'_>, data: &[u8], cuts: [usize; 2], how: How) -> Result<u64, Error> {
    let [from, to] = [cuts[0].min(cuts[1]), cuts[0].max(cuts[1])];
    log.append_gather(&entry, &[&data[..from], &data[from..to], &data[to..]].map(IoSlice::new), how)
}
