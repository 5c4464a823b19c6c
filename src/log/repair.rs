//! Making a damaged log one that opens: the Rust side of `twal_repair_*`.

use std::path::Path;
use std::sync::Arc;

use super::verify::open_existing;
use crate::base::bytes::len_u64;
use crate::base::clock::Clock;
use crate::base::messages::{Level, Message, Messages};
use crate::base::options::{Config, Options};
use crate::base::{Code, Error, Result};
use crate::disk::real::RealDisk;
use crate::disk::{Access, Disk, File, LockKind};
use crate::format::Id;
use crate::read::segment::peek;
use crate::recover::finding::Acknowledged;
use crate::recover::isolate;
use crate::recover::plan::{self, Plan, Step};
use crate::recover::repair::{self, Backup};
use crate::segment::directory::lock_for_writing;
use crate::segment::{Directory, State};

/// A plan for one log, which nobody else can write meanwhile.
pub struct Repair {
    disk: Box<dyn Disk>,
    clock: Clock,
    directory: Directory,
    /// Their locks keep late writes of a killed process away.
    actives: Vec<Arc<dyn File>>,
    plan: Plan,
    applied: bool,
    messages: Arc<Messages>,
}

/// The logs that segments in the directory are of; of those that cannot be read nobody knows.
fn logs_in(directory: &Directory) -> Result<Vec<Id>> {
    let mut log_ids = Vec::new();
    for name in directory.segments() {
        match peek(directory, name.index) {
            Ok(header) => log_ids.push(header.log_id),
            Err(error) if matches!(error.code, Code::Corrupt | Code::Io | Code::NotFound) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(log_ids)
}

impl Repair {
    /// Looks at the log in `dir` and says what it takes to make it whole.  Changes nothing.
    ///
    /// # Errors
    /// As `twal_repair_plan`.
    pub fn plan(dir: &Path, options: &Options) -> Result<Repair> {
        let config = Config::check(options)?;
        let disk = RealDisk::new(config.io_engine, config.allow_any_fs, config.allow_buffered);
        Self::plan_on(Box::new(disk), dir, options, Clock::real())
    }

    /// The same on any disk.
    ///
    /// # Errors
    /// As [`Repair::plan`].
    pub fn plan_on(disk: Box<dyn Disk>, dir: &Path, options: &Options, clock: Clock) -> Result<Repair> {
        let config = Config::check(options)?;
        let directory = open_existing(disk.as_ref(), dir)?;
        directory.lock(LockKind::Exclusive, &clock)?;
        let listing = directory.scan()?;
        listing.check_no_follower()?;
        let mut actives = Vec::new();
        for name in listing.segments.iter().filter(|name| name.state == State::Active) {
            if !directory.is_file(&name.to_string())? {
                continue;
            }
            let file = directory.open_file(&name.to_string(), Access::Write)?;
            lock_for_writing(file.as_ref(), name, &clock)?;
            // A flush that fails is the device's word on what is not there; reading tells the rest.
            file.sync().map_err(|error| Error::flush(format_args!("cannot flush {name}"), &error))?;
            actives.push(file);
        }
        directory.sync()?;
        let plan = plan::plan(&directory, listing, &config)?;
        let messages = Arc::clone(&config.messages);
        if let Some(damage) = &plan.damage {
            let steps = len_u64(plan.steps.len());
            messages.say(Level::Warning, || Message::of(Level::Warning, "repair_plan", damage).with("steps", steps));
            messages.deliver();
        }
        Ok(Repair { disk, clock, directory, actives, plan, applied: false, messages })
    }

    /// Copies would lie among the segments of a log that is there, and it would be refused for them: also of one that is a
    /// copy of this log.  Only where an earlier repair of this log made copies more may be made.
    fn check_no_other_log(&self, backup: &Directory) -> Result<()> {
        let is_sink = backup.scan()?.sink;
        let (theirs, ours) = (logs_in(backup)?, logs_in(&self.directory)?);
        // No header here can be read, as one can of a copy, where the last block is filled up; or a repair that was
        // interrupted has begun the log anew.
        let may_be_ours = ours.is_empty()
            || self.directory.has_unfinished_repair()?
            || theirs.iter().any(|log_id| ours.contains(log_id));
        let are_copies = theirs.is_empty() || (backup.holds_copies()? && may_be_ours);
        if is_sink || !are_copies {
            return Err(Error::new(Code::Inval, "the backup directory holds a log: name one for copies alone"));
        }
        Ok(())
    }

    /// What would be done, in order; nothing, if nothing is damaged, or if an earlier repair was interrupted before its
    /// last step: then there is damage, and applying the plan ends that repair.
    pub fn steps(&self) -> &[Step] {
        &self.plan.steps
    }

    /// What is damaged first.
    pub fn damage(&self) -> Option<&Error> {
        self.plan.damage.as_ref()
    }

    /// What is damaged in released segments, which nobody reads and no plan changes.  Reads all of them.
    ///
    /// # Errors
    /// What keeps it from reading them, and is no damage.
    pub fn released_damage(&self) -> Result<Option<Error>> {
        plan::released_damage(&self.directory)
    }

    /// Why the holds cannot be read, if they cannot: no repair brings them back, and until they are set anew
    /// ([`Log::hold_reset`](super::Log::hold_reset)) nothing is released.
    pub fn holds_damage(&self) -> Option<Error> {
        let newest = isolate::newest_header(&self.directory, &self.directory.segments())?;
        self.directory.belongs_to(newest.log_id, false, newest.keeps_holds);
        self.directory.holds().err()
    }

    /// Carries the plan out, after a copy of every file that is changed or goes was made durable in `backup`.
    ///
    /// # Errors
    /// As `twal_repair_apply`.
    pub fn apply(&mut self, backup: &Path, drop_acknowledged: bool) -> Result<Backup> {
        if self.applied {
            return Err(Error::new(Code::State, "the plan was applied already, or tried: make a new one"));
        }
        if backup.as_os_str().is_empty() {
            return Err(Error::new(Code::Inval, "the backup directory's name is empty"));
        }
        // A name of twal's in there would be damage, and whoever removes the log would remove its copies.
        if self.directory.is_around(backup) {
            return Err(Error::new(Code::Inval, "the backup directory is the log's own, or lies in it"));
        }
        let dropped = self.plan.steps.iter().find(|step| step.acknowledged != Acknowledged::No);
        if let Some(step) = dropped.filter(|_| !drop_acknowledged) {
            let text = format!("{} holds records that were acknowledged, or may have been", step.file);
            return Err(Error::new(Code::State, text).at(step.segment, step.offset).about_seq(step.first_seq));
        }
        if self.plan.changes_nothing() {
            self.applied = true;
            return Ok(Backup::default());
        }
        let backup = Directory::open(self.disk.as_ref(), backup, true)?;
        if !backup.try_lock(LockKind::Exclusive)? {
            return Err(Error::new(Code::Inval, "the backup directory is a log that is open"));
        }
        self.check_no_other_log(&backup)?;
        backup.begin_copies()?;
        // A step that fails half-way leaves a log that has to be planned anew.
        self.applied = true;
        // The segment that is cut is locked once more, through the descriptor that writes it.
        self.actives.clear();
        let done = repair::apply(&self.directory, &self.plan, &backup, &self.clock);
        match &done {
            Ok(copied) => self.messages.say(Level::Warning, || {
                Message::new(Level::Warning, "repair", "the log was repaired; what went is in the backup")
                    .with("steps", len_u64(self.plan.steps.len()))
                    .with("files", copied.files)
                    .with("bytes", copied.bytes)
            }),
            Err(error) => self.messages.say(Level::Error, || Message::of(Level::Error, "repair_failed", error)),
        };
        self.messages.deliver();
        done
    }
}
