//! What happens between the landings of one call's writes: crashes there, and a
//! second frame that is on the device before the first.

use std::sync::{Arc, Mutex, PoisonError};

use twal::disk::sim::{Keep, Stop};
use twal::{Code, How, Log};

use super::acts::entry_of;
use super::model::{payload, require, Given, Model, Verdict};
use super::rng::Rng;
use super::run::{Flow, Run};
use super::world::{check_crashed, Machine};

/// Crashes tried in one call at most.
const FORKS_MAX: usize = 2;

/// A machine as a crash left it, and what was durable right before.
type Crashed = (Machine, u64);

fn any_stop(rng: &mut Rng) -> Stop {
    rng.pick(&[Stop::PowerCut, Stop::PowerCut, Stop::Kill])
}

/// Crashes on forks while a call's writes land, checked when it has returned.
pub struct Within {
    forks: Arc<Mutex<Vec<Crashed>>>,
    before: Model,
}

impl Within {
    pub fn begin(run: &mut Run<'_>, log: &Log) -> Within {
        let forks = Arc::new(Mutex::new(Vec::new()));
        let (taken, machine, log) = (Arc::clone(&forks), run.machine.clone(), log.clone());
        let mut rng = Rng::new(run.rng.next());
        run.machine.disk.between_units(Some(Box::new(move |_, _| {
            let mut taken = taken.lock().unwrap_or_else(PoisonError::into_inner);
            if taken.len() < FORKS_MAX && rng.percent(30) && !machine.disk.is_down() {
                let stop = any_stop(&mut rng);
                taken.push((machine.crashed(rng.next(), stop, Keep::Random), log.durable_seq()));
            }
        })));
        Within { forks, before: run.model.clone() }
    }

    pub fn check(self, run: &mut Run<'_>) -> Verdict {
        run.machine.disk.between_units(None);
        let forks = std::mem::take(&mut *self.forks.lock().unwrap_or_else(PoisonError::into_inner));
        // What the call handed in may be there, what it promised only at its end need not.
        let after = &run.model;
        let (given, maybe, released) = (after.given.clone(), after.maybe.clone(), after.released);
        let flush_failed = after.flush_failed;
        let holds = self.before.holds.or(&after.holds);
        let mut model = Model { given, maybe, released, flush_failed, holds, ..self.before };
        for (crash, durable) in forks {
            run.story.say("  crash while it wrote".into());
            run.story.count("crash states within a call");
            model.ack(durable);
            check_crashed(&crash, &model, &mut run.rng, run.story)?;
        }
        Ok(())
    }
}

/// What the second frame's caller saw, in the middle of the first one's write.
#[derive(Default)]
pub struct Inside {
    been: bool,
    pub accepted: Vec<Given>,
    pub refused: Option<twal::Error>,
    /// The second frame landed whole.
    pub overtook: bool,
    crash: Option<Crashed>,
}

/// Calls `append`, which is to write a frame by itself; in the middle of that others append `second`, and the
/// writer sends their frame out.
pub fn beside_a_leaders_write<T>(
    machine: &Machine,
    log: &Log,
    mut second: Vec<Given>,
    append: impl FnOnce() -> T,
) -> (T, Inside) {
    let told = Arc::new(Mutex::new(Inside::default()));
    let (frames, steps) = (log.stats().frames_by_appender, machine.disk.steps());
    let (inside, fork_of, writer) = (Arc::clone(&told), machine.clone(), log.clone());
    machine.disk.between_units(Some(Box::new(move |_, _| {
        let mut inside = inside.lock().unwrap_or_else(PoisonError::into_inner);
        // In the writer's own writes it must not be called again.
        let first = writer.stats().frames_by_appender == frames + 1 && fork_of.disk.steps() == steps + 1;
        if std::mem::replace(&mut inside.been, true) || !first {
            return;
        }
        for given in second.drain(..) {
            let data = payload(given.uid, given.len);
            match writer.append(&entry_of(&given, &data), How { sync: Some(false), no_wait: true }) {
                Ok(_) => inside.accepted.push(given),
                Err(error) => {
                    inside.refused = Some(error);
                    break;
                }
            }
        }
        // Somebody wants them durable: out they go, beside the first.
        let _ = writer.sync_async(0, None);
        writer.tick();
        let stopped = fork_of.disk.is_down();
        inside.overtook = !inside.accepted.is_empty() && fork_of.disk.steps() > steps + 1 && !stopped;
        if !stopped {
            let seed = fork_of.disk.steps();
            let stop = any_stop(&mut Rng::new(seed));
            inside.crash = Some((fork_of.crashed(seed, stop, Keep::Random), writer.durable_seq()));
        }
    })));
    let result = append();
    machine.disk.between_units(None);
    let inside = std::mem::take(&mut *told.lock().unwrap_or_else(PoisonError::into_inner));
    (result, inside)
}

impl Run<'_> {
    /// Two frames in flight, and the device finishes the second first.  The first is an appender's own; in the
    /// middle of its write others come, and the writer sends their frame out.
    pub fn overlap(&mut self, log: &Log) -> Verdict<Flow> {
        // Nothing unwritten before it, so that the appender writes by itself.
        if let Err(error) = log.sync(0) {
            return self.unexpected("sync", &error);
        }
        self.model.ack(self.model.last_seq());
        log.tick();
        let outer = Given { len: self.rng.within(4500, 9000) as usize, ..self.record(100) };
        let second: Vec<Given> = (0..self.rng.within(1, 3)).map(|_| self.record(3000)).collect();
        self.story.say(format!("append {} bytes, and {} records in the middle of it", outer.len, second.len()));
        let before = (self.model.last_seq(), log.durable_seq());
        let at_first = self.model.clone();
        let data = payload(outer.uid, outer.len);
        let how = How { sync: Some(true), no_wait: true };
        let append = || log.append(&entry_of(&outer, &data), how);
        let (result, inside) = beside_a_leaders_write(&self.machine, log, second, append);
        if let Some(error) = inside.refused {
            let known = matches!(error.code, Code::Again | Code::NoSpc | Code::NoMem | Code::Io | Code::Poisoned);
            require!(known, "an append beside another fails: {:?} {error}", error.code);
        }
        if inside.overtook {
            self.story.count("frames that overtook another");
        }
        let mut flow = if result.is_ok() {
            let flow = self.appended(log, vec![outer.clone()], how, before, result)?;
            self.model.given.extend(inside.accepted.clone());
            flow
        } else {
            let all = [std::slice::from_ref(&outer), inside.accepted.as_slice()].concat();
            self.appended(log, all, how, before, result)?
        };
        if log.stats().poisoned && self.faults_planned {
            self.poisoned = true;
        }
        if let Some((crash, durable)) = inside.crash {
            let mut model = at_first;
            model.ack(durable);
            if model.maybe.is_empty() {
                model.maybe = [&[outer], inside.accepted.as_slice()].concat();
            }
            self.story.say("  crash in the middle of it".into());
            let fork = crash.crashed(self.rng.next(), Stop::Kill, Keep::Random);
            check_crashed(&fork, &model, &mut self.rng, self.story)?;
            if self.rng.percent(20) && !self.poisoned && !self.faults_planned {
                // That is how it really went.
                self.story.say("  and that is how it went".into());
                (self.machine, self.model) = (crash, model);
                flow = Flow::Down;
            }
        }
        Ok(flow)
    }
}
