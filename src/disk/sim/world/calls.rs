//! Every call comes through here: it is counted, told to fail or to stop the world, and remembered.
#![forbid(unsafe_code)]

use std::io;

use super::{errno, World};
use crate::disk::sim::{CallKind, Stop};

/// How many operations the trace remembers.
const TRACE_LEN: usize = 64;

#[derive(Debug, Clone)]
pub(in crate::disk::sim) struct Fault {
    pub(in crate::disk::sim) kind: Option<CallKind>,
    /// Calls that pass before it strikes.
    pub(in crate::disk::sim) left: u64,
    pub(in crate::disk::sim) errno: i32,
    /// A write leaves a prefix instead of any subset.
    pub(in crate::disk::sim) short: bool,
    pub(in crate::disk::sim) forever: bool,
}

#[derive(Debug, Clone)]
pub(super) struct TraceLine {
    step: u64,
    kind: CallKind,
    name: String,
    place: Option<(u64, u64)>,
    /// 0: done.
    errno: i32,
}

/// What becomes of a call.
pub(super) enum Verdict {
    Go,
    Fail {
        errno: i32,
        short: bool,
    },
    Stop(Stop),
    /// Its life is over.
    Dead,
}

impl World {
    pub(super) fn enter(&mut self, kind: CallKind, alive: bool) -> Verdict {
        if self.down || !alive {
            return Verdict::Dead;
        }
        self.calls += 1;
        assert!(self.calls <= self.calls_max, "more calls than were allowed: this goes on for ever\n{}", self.trace());
        self.land_what_is_due();
        self.counts.add(kind);
        let stop = kind.changes().then(|| {
            self.steps += 1;
            self.stop.take_if(|(step, _)| *step < self.steps)
        });
        let mut struck = None;
        self.faults.retain_mut(|fault| {
            if fault.kind.is_some_and(|only| only != kind) {
                return true;
            }
            if fault.left > 0 {
                fault.left -= 1;
                return true;
            }
            struck = Some((fault.errno, fault.short));
            fault.forever
        });
        match (stop.flatten(), struck) {
            (Some((_, stop)), _) => Verdict::Stop(stop),
            (None, Some((errno, short))) => Verdict::Fail { errno, short },
            (None, None) => Verdict::Go,
        }
    }

    pub(super) fn note<T>(&mut self, kind: CallKind, name: &str, place: Option<(u64, u64)>, result: &io::Result<T>) {
        let errno = result.as_ref().err().map_or(0, |error| error.raw_os_error().unwrap_or(-1));
        if self.trace.len() == TRACE_LEN {
            self.trace.pop_front();
        }
        self.trace.push_back(TraceLine { step: self.steps, kind, name: name.to_owned(), place, errno });
    }

    pub(in crate::disk::sim) fn trace(&self) -> String {
        let line = |line: &TraceLine| {
            let place = line.place.map_or(String::new(), |(offset, len)| format!(" {offset}+{len}"));
            let result = if line.errno == 0 { String::new() } else { format!(" = errno {}", line.errno) };
            format!("step {} {:?} {}{place}{result}\n", line.step, line.kind, line.name)
        };
        self.trace.iter().map(line).collect()
    }

    /// A call that happens whole or not at all.
    pub(super) fn call<T>(
        &mut self,
        kind: CallKind,
        alive: bool,
        name: &str,
        work: impl FnOnce(&mut World) -> io::Result<T>,
    ) -> io::Result<T> {
        self.call_or(kind, alive, name, work, |_| {})
    }

    /// A call that does something else when it is told to fail.
    pub(super) fn call_or<T>(
        &mut self,
        kind: CallKind,
        alive: bool,
        name: &str,
        work: impl FnOnce(&mut World) -> io::Result<T>,
        fail: impl FnOnce(&mut World),
    ) -> io::Result<T> {
        let result = match self.enter(kind, alive) {
            Verdict::Dead => return errno(libc::EIO),
            Verdict::Go => work(self),
            Verdict::Fail { errno: code, .. } => {
                fail(self);
                errno(code)
            }
            Verdict::Stop(stop) => {
                if self.rng.chance(4) {
                    // Done, and nobody hears of it.
                    let _unheard = work(self);
                }
                self.halt(stop);
                errno(libc::EIO)
            }
        };
        self.note(kind, name, None, &result);
        result
    }
}
