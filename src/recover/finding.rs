//! What is wrong with a log, as values: one for each spot.

use std::borrow::Cow;

use crate::base::Error;

/// What kind of damage, or of oddity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A file is missing, doubled, or named as nothing of a log's is.
    Name,
    /// A segment's header, or the file as a whole: another segment's, too short.
    Header,
    /// Where a frame should be there is none.
    Frame,
    /// A frame's body is not the one that was written.
    Body,
    /// One record of such a frame.
    Record,
    /// A whole frame, but not the one that belongs there.
    Chain,
    /// A segment does not end in its seal, or the seal contradicts what it ends.
    Seal,
    /// The device does not give the bytes, or too many forged frames claim them.
    Unreadable,
    /// What only a later release can read; or go on writing.
    Version,
    /// A half-written end that nobody was promised.  No damage.
    Torn,
    /// The holds: what they keep is not known, so nothing is released.
    Holds,
    /// A follower's position: a copy of it is damaged, or what is there is not what it speaks of.
    Position,
}

/// Whether what is damaged was acknowledged as durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acknowledged {
    /// Nothing that is left says so, and nothing says the contrary.
    Unknown,
    /// Something later says that it was durable.
    Yes,
    /// It never was.
    No,
}

/// One spot.  A number that is not known is 0.
#[derive(Debug, Clone)]
pub struct Finding {
    /// What kind.
    pub kind: Kind,
    /// Whether it was acknowledged.
    pub acknowledged: Acknowledged,
    /// Name of the file.
    pub file: String,
    /// Index of the segment.
    pub segment: u64,
    /// Where in the file.
    pub offset: u64,
    /// First and last number concerned; last below first: none is.
    pub seq: u64,
    /// See `seq`.
    pub last_seq: u64,
    /// The record's tag, of a single record whose header can be trusted.
    pub stream: Option<u64>,
    /// What should be there: a checksum, an identity, a count; as `text` says.
    pub expected: u64,
    /// What is there.
    pub found: u64,
    /// The operating system's error number.
    pub os_errno: i32,
    /// What it is, for people.
    pub text: Cow<'static, str>,
}

impl Finding {
    /// A finding without numbers yet.
    pub fn new(kind: Kind, file: impl Into<String>, text: impl Into<Cow<'static, str>>) -> Finding {
        Finding {
            kind,
            acknowledged: Acknowledged::Yes,
            file: file.into(),
            segment: 0,
            offset: 0,
            seq: 0,
            last_seq: 0,
            stream: None,
            expected: 0,
            found: 0,
            os_errno: 0,
            text: text.into(),
        }
    }

    /// The same, with the place and the errno of `error`.
    pub fn of(kind: Kind, file: impl Into<String>, error: &Error) -> Finding {
        Finding {
            segment: error.segment,
            offset: error.offset,
            seq: error.seq,
            os_errno: error.os_errno,
            ..Finding::new(kind, file, error.text.clone())
        }
    }

    /// Whether a log that is whole has none of these.
    pub fn is_damage(&self) -> bool {
        self.kind != Kind::Torn
    }
}
