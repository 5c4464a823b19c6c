//! What a log tells whoever listens: see `base/messages.rs`.

use std::path::Path;

use super::{closed as closed_error, Inner, Log, RecoveryReport, Side, Tail};
use crate::base::messages::{Level, Listener, Message, Messages};
use crate::base::{Code, Error, Result};

impl Log {
    /// From now on `listener` is told what happens in this log; None: nobody is.  When this returns, no other thread is
    /// inside a call of the listener before, and it is called no more.
    ///
    /// A listener is called by one thread at a time, under no lock: by a thread of the log's own, and of a log that is
    /// open for reading only by whoever meets what it is told of.  It may use the log, but not close it.
    ///
    /// # Errors
    /// As `twal_message_callback`.
    pub fn listen(&self, listener: Option<Listener>) -> Result<()> {
        if self.inner.closed.load(std::sync::atomic::Ordering::Acquire) {
            return Err(closed_error());
        }
        let before = listener.is_some();
        self.inner.config.messages.listen(listener);
        match &self.inner.side {
            Side::Writer(commit) if before => {
                // Without a thread nobody would be told.
                commit.deliver_messages().inspect_err(|_| self.inner.config.messages.listen(None))
            }
            _ => Ok(()),
        }
    }

    /// As [`Inner::say`], for the layer above.
    pub(crate) fn say(&self, level: Level, message: impl FnOnce() -> Message) {
        self.inner.say(level, message);
    }
}

impl Inner {
    /// Tells what `message` makes.  A reader's own thread tells it itself: hold no lock.
    pub(super) fn say(&self, level: Level, message: impl FnOnce() -> Message) {
        match &self.side {
            Side::Writer(commit) => commit.say(level, message),
            Side::Reader(_) => {
                if self.config.messages.say(level, message) {
                    self.config.messages.deliver();
                }
            }
        }
    }

    /// Counts and tells of damage that a reader met; any other failure is none.
    pub(super) fn met_damage(&self, error: &Error) {
        if error.code == Code::Corrupt {
            self.counters.corrupted_records.one();
            self.say(Level::Error, || Message::of(Level::Error, "damage", error));
        }
    }
}

/// Tells what became of an open, and sees to it that the log tells on.
pub(super) fn opened(messages: &Messages, dir: &Path, opened: Result<Log>) -> Result<Log> {
    let failed = |error: &Error| {
        let about = || Message::of(Level::Error, "open_failed", error);
        messages.say(Level::Error, || about().with("dir", dir.display().to_string()));
        messages.end();
    };
    let log = opened.inspect_err(failed)?;
    if let Side::Writer(commit) = &log.inner.side {
        // Before anything is told: without that thread this open fails, and nobody is told that the log is open, nor,
        // when it is dropped behind this, that it is closed.
        commit.deliver_messages().inspect_err(failed)?;
    }
    say_opened(messages, dir, &log);
    messages.deliver_all();
    Ok(log)
}

fn say_opened(messages: &Messages, dir: &Path, log: &Log) {
    let (inner, report) = (&log.inner, &log.inner.report);
    messages.say(Level::Info, || {
        let facts = inner.directory.facts();
        Message::new(Level::Info, "open", if report.created { "a new log" } else { "the log is open" })
            .with("dir", dir.display().to_string())
            .with("created", report.created)
            .with("read_only", inner.config.read_only)
            .with("first_seq", report.first_seq)
            .with("last_seq", report.last_seq)
            .with("segments", report.segments)
            .with("frames_rewritten", report.frames_rewritten)
            .with("duration_us", report.duration_us)
            .with("engine", facts.engine)
            .with("engine_reason", facts.reason.clone())
            .with("file_system", facts.file_system.clone())
    });
    let end = |message: Message, report: &RecoveryReport| {
        message.with("segment", report.end_segment).with("offset", report.end_offset).with("last_seq", report.last_seq)
    };
    match report.tail {
        Tail::Clean => {}
        Tail::Torn => {
            let text = match inner.config.read_only {
                true => "behind the end is a frame that nothing acknowledged; it is not read",
                false => "behind the end was a frame that nothing acknowledged; it is cut off",
            };
            let torn = || end(Message::new(Level::Warning, "torn_tail", text), report);
            messages.say(Level::Warning, || torn().with("bytes", report.bytes_cut));
        }
        Tail::Damaged => {
            let text = "acknowledged data is damaged: what lies before it can be read";
            let damage = || end(Message::new(Level::Error, "damage", text), report);
            messages.say(Level::Error, || Message { code: Some(Code::Corrupt), ..damage() });
        }
    }
    if report.holds_damaged {
        let text = "the holds are damaged or were lost: nothing is released until they are set anew";
        messages.say(Level::Error, || Message::new(Level::Error, "holds_damaged", text));
    }
}

/// The last that is told.
pub(super) fn closed(messages: &Messages) {
    messages.say(Level::Info, || Message::new(Level::Info, "close", "the log is closed"));
    messages.end();
}
