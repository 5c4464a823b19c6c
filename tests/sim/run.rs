//! One run: a log's lives, each a sequence of everything a caller may do
//! (`script.rs`), each ended by a close or a crash; and at every turn a few of
//! the ways a crash could have gone, on forks of the disk.

use twal::disk::sim::{Keep, Stop};
use twal::{Code, Durability, Error, Iter, Log};

use super::between::Within;
use super::model::{require, Model, Seen, Verdict};
use super::notices::Notices;
use super::rng::Rng;
use super::script::{Broken, End, Ground, Life, Piece, Script, What};
pub use super::script::{Plan, PLAN};
use super::world::{check_crashed, tell_what_cuts_did, Machine, Story};

/// Far more calls of the disk than any piece of a run needs.
const CALLS_MAX: u64 = 200_000;

/// A run in progress.
pub struct Run<'story> {
    pub rng: Rng,
    pub machine: Machine,
    pub model: Model,
    pub story: &'story mut Story,
    pub next_uid: u64,
    /// What the present life has seen go wrong.
    pub poisoned: bool,
    pub faults_planned: bool,
    /// The disk is full now; it was in this life; an append was refused for it.
    pub full: bool,
    pub was_full: bool,
    pub refused: bool,
    /// A reader of another process, and what it delivers next.
    pub tail: Option<(Log, Iter, u64)>,
    /// What is told without waiting.
    pub notices: Notices,
}

/// Whether a life goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    On,
    /// A stop has struck.
    Down,
}

impl<'story> Run<'story> {
    /// A run without a script, for those who play it by hand.
    pub fn new(seed: u64, plan: Plan, story: &'story mut Story) -> Self {
        let mut rng = Rng::new(seed);
        let ground = Ground::draw(&mut rng, plan);
        Self::on(&ground, rng, story)
    }

    pub fn on(ground: &Ground, rng: Rng, story: &'story mut Story) -> Self {
        let machine = Machine::new(ground.disk_seed, ground.options.clone());
        machine.disk.set_tear_unit(ground.tear_unit);
        machine.disk.set_late_within(ground.late_within, 1_000_000_000);
        machine.disk.lie_about_flushes(ground.broken == Some(Broken::FlushesLie));
        Run {
            rng,
            machine,
            model: Model::default(),
            story,
            next_uid: 1,
            poisoned: false,
            faults_planned: false,
            full: false,
            was_full: false,
            refused: false,
            tail: None,
            notices: Notices::default(),
        }
    }

    /// Plays a script to its end, or to the first violation.
    pub fn play(script: &Script, story: &'story mut Story) -> Verdict {
        let mut run = Self::on(&script.ground, Rng::new(script.ground.disk_seed), story);
        for (number, life) in script.lives.iter().enumerate() {
            run.draw_from(life.seed);
            let flow = run.live(number, life)?;
            run.draw_from(!life.seed);
            run.notices.check_all_told(run.faults_planned || flow == Flow::Down)?;
            run.end_life(flow);
            let crash = run.machine.crashed(run.rng.next(), Stop::PowerCut, Keep::Random);
            check_crashed(&crash, &run.model, &mut run.rng, run.story)?;
        }
        let log = run.machine.reopen()?;
        run.check_opened(&log)?;
        tell_what_cuts_did(&run.machine, run.story);
        log.close().map_err(|error| format!("the last close fails: {error}"))
    }

    /// Everything drawn from here on, by us and by the disk, is this seed's.
    fn draw_from(&mut self, seed: u64) {
        self.rng = Rng::new(seed);
        self.machine.disk.reseed(self.rng.next());
        self.machine.disk.limit_calls(CALLS_MAX);
    }

    /// One life, up to its end by close (On), cut, kill or stop (Down).
    fn live(&mut self, number: usize, life: &Life) -> Verdict<Flow> {
        self.machine.options = life.options.clone();
        let disk = self.machine.disk.clone();
        disk.set_keep(life.keep);
        self.story.say(format!("-- life {}: keep {:?}", number + 1, life.keep));
        if let Some((stop, after)) = life.stop {
            disk.stop_at(disk.steps() + after, stop);
            self.story.say(format!("{stop:?} in {after} steps"));
        }
        let full = life.full && self.model.born;
        if full {
            disk.set_capacity(Some(disk.room_taken()));
            self.story.say("the disk is full".into());
        }
        self.story.say(format!("open {}", told(&self.machine.options)));
        let log = loop {
            match self.machine.open() {
                Ok(log) => break log,
                Err(_) if disk.is_down() => {
                    self.story.say("stopped in open".into());
                    self.story.count("stopped in open");
                    return Ok(Flow::Down);
                }
                Err(error) if error.code == Code::Locked && disk.late_writes() > 0 => disk.land_late_writes(),
                Err(error) => return Err(format!("open fails: {:?} {error}\n{}", error.code, disk.trace())),
            }
        };
        if full {
            disk.set_capacity(None);
            self.was_full = true;
            self.story.count("opened on a full disk");
        }
        if disk.is_down() {
            // Open had returned from its last write when a chore behind it was stopped.
            return Ok(Flow::Down);
        }
        self.check_opened(&log)?;
        self.notices.begin(&log)?;
        // The open has written again what a failed flush might have dropped.
        self.model.flush_failed = false;
        for piece in &life.pieces {
            self.draw_from(piece.seed);
            if self.piece(&log, piece)? == Flow::Down {
                self.story.count("stopped in a call");
                return Ok(Flow::Down);
            }
            self.look(&log)?;
        }
        self.draw_from(life.seed);
        let stats = log.stats();
        self.story.add("rollovers", stats.segments_created);
        self.story.add("segments recycled", stats.segments_recycled);
        self.story.add("marks", stats.marks);
        self.last_words(log, life.end)
    }

    fn piece(&mut self, log: &Log, piece: &Piece) -> Verdict<Flow> {
        let disk = self.machine.disk.clone();
        match piece.what {
            What::Fork(stop) => {
                self.story.say(format!("  fork: {stop:?}"));
                let crash = self.machine.crashed(self.rng.next(), stop, Keep::Random);
                check_crashed(&crash, &self.model, &mut self.rng, self.story)?;
                return Ok(Flow::On);
            }
            What::Stop(stop, after) => {
                self.story.say(format!("{stop:?} in {after} steps"));
                disk.stop_at(disk.steps() + after, stop);
                return Ok(Flow::On);
            }
            What::Fail(kind, after, errno) => {
                self.story.say(format!("{kind:?} {after} from now fails with {errno}"));
                disk.fail_kind(kind, after, errno);
                self.faults_planned = true;
                self.model.flush_failed = true;
                return Ok(Flow::On);
            }
            What::LoseWrite => {
                self.story.say("the disk loses the next write".into());
                disk.lose_next_write();
                return Ok(Flow::On);
            }
            _ => {}
        }
        let within = piece.within.then(|| Within::begin(self, log));
        let flow = self.call(log, piece.what)?;
        if let Some(within) = within {
            within.check(self)?;
        }
        Ok(if self.machine.disk.is_down() { Flow::Down } else { flow })
    }

    fn call(&mut self, log: &Log, what: What) -> Verdict<Flow> {
        match what {
            What::Append => self.append(log),
            What::Reserve => self.reserve(log),
            What::SyncAsync => self.sync_async(log),
            What::Batch => self.append_batch(log),
            What::Sync => self.sync(log),
            What::Wait => self.wait(log),
            What::Tick => self.tick(log),
            What::Settle => self.settle(log),
            What::Roll => self.roll(log),
            What::Trim => self.trim(log),
            What::ChangeHold => self.change_hold(log),
            What::Iterate => self.iterate(log),
            What::PollTail => self.poll_tail(Some(log)).map(|()| Flow::On),
            What::FillDisk => self.fill_disk(log),
            What::Overload => self.overload(log),
            What::Overlap => self.overlap(log),
            What::Misuse => self.misuse(log),
            What::Fork(_) | What::Stop(..) | What::Fail(..) | What::LoseWrite => unreachable!("no calls"),
        }
    }

    fn last_words(&mut self, log: Log, end: End) -> Verdict<Flow> {
        match end {
            End::PowerCut => {
                self.story.say("power cut".into());
                self.machine.disk.power_cut();
                Ok(Flow::Down)
            }
            End::Kill => {
                self.story.say("kill".into());
                self.machine.disk.kill();
                Ok(Flow::Down)
            }
            End::Close => {
                self.story.say("close".into());
                match log.close() {
                    Ok(()) if self.machine.disk.is_down() => return Ok(Flow::Down),
                    Ok(()) => {
                        require!(!self.poisoned, "a poisoned log closes as if nothing were");
                        self.model.ack(self.model.last_seq());
                        self.model.witness(self.model.last_seq());
                        self.story.count("closed");
                    }
                    Err(_) if self.machine.disk.is_down() => return Ok(Flow::Down),
                    Err(error) => {
                        require!(self.faults_planned, "close fails: {error}");
                        require!(
                            matches!(error.code, Code::Io | Code::Poisoned),
                            "close fails with {:?}: {error}",
                            error.code
                        );
                        self.poisoned = true;
                    }
                }
                if !self.machine.disk.is_down() {
                    // What was planned for the writer must not strike the reader.
                    self.machine.disk.clear_faults();
                    self.poll_tail(None)?;
                }
                Ok(Flow::On)
            }
        }
    }

    fn end_life(&mut self, flow: Flow) {
        let disk = &self.machine.disk;
        if flow == Flow::Down {
            self.tail = None;
        }
        if disk.is_down() {
            disk.restart();
            self.tail = None;
        }
        // A stop that has not struck must not strike in the next life's open: that has one of its own.
        disk.stop_at(u64::MAX, Stop::Kill);
        disk.clear_faults();
        disk.set_capacity(None);
        (self.poisoned, self.faults_planned) = (false, false);
        (self.full, self.was_full) = (false, false);
    }

    pub fn check_opened(&mut self, log: &Log) -> Verdict {
        let seen = Seen::of(log);
        self.model.check(&seen, self.model.acked).map_err(|text| format!("{text}\n{}", self.machine.disk.trace()))?;
        Model::check_report(&seen)?;
        require!(
            log.last_seq() == seen.last_seq() && log.durable_seq() == seen.last_seq(),
            "last {} durable {} of {}",
            log.last_seq(),
            log.durable_seq(),
            seen.last_seq()
        );
        let report = log.report();
        let (given, last) = (self.model.last_seq(), seen.last_seq());
        self.story
            .say(format!("  opened {}..={last} of {given}, acked {}: {report:?}", seen.first_seq, self.model.acked));
        self.model.reported(&seen);
        Ok(())
    }

    /// After every call: marks only rise, and only to where they may.
    pub fn look(&mut self, log: &Log) -> Verdict {
        let (durable, last) = (log.durable_seq(), log.last_seq());
        let model = &mut self.model;
        require!(durable >= model.acked, "durable_seq {durable} is below {}, which was acknowledged", model.acked);
        require!(durable <= last, "durable_seq {durable} is above last_seq {last}");
        require!(model.is_batch_end(durable), "durable_seq {durable} is inside a batch");
        let given = model.last_seq();
        require!(
            last == given || (self.poisoned && last == given + model.maybe.len() as u64),
            "last_seq is {last}, accepted were {given}"
        );
        if durable <= given {
            model.ack(durable);
        }
        require!(log.first_seq() >= model.first_seq, "first_seq went back to {}", log.first_seq());
        model.holds.check_kept(log.first_seq())?;
        self.notices.look(log, self.faults_planned || self.machine.disk.is_down())
    }

    /// An error of a call that had no reason of its own to fail.
    pub fn unexpected(&mut self, what: &str, error: &Error) -> Verdict<Flow> {
        if self.machine.disk.is_down() {
            return Ok(Flow::Down);
        }
        if error.code == Code::NoSpc && (self.full || self.faults_planned) {
            return Ok(Flow::On);
        }
        if error.code == Code::NoMem && self.faults_planned {
            return Ok(Flow::On);
        }
        let io = matches!(error.code, Code::Io | Code::Poisoned);
        require!(
            io && (self.faults_planned || self.poisoned),
            "{what} fails: {:?} {error}\n{}",
            error.code,
            self.machine.disk.trace()
        );
        if !self.poisoned {
            self.story.say(format!("  poisoned in {what}: {error}"));
            self.story.count("poisoned");
            self.poisoned = true;
        }
        Ok(Flow::On)
    }
}

/// The options that a run draws, short.
fn told(options: &twal::Options) -> String {
    format!(
        "{:?} blocks {} segments {} of {} records, ring {}, batches {} in {} us, flush in {} ms, mark in {} us, \
         {} retained, {} spares, timeout {} us, verify {}",
        options.durability.unwrap_or(Durability::Sync),
        options.block_size,
        options.segment_size,
        options.segment_records_max,
        options.ring_size,
        options.batch_records,
        options.batch_delay_us,
        options.flush_interval_ms,
        options.idle_mark_us,
        options.max_retained_segments,
        options.spares,
        options.append_timeout_us,
        options.verify
    )
}
