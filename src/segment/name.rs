//! File names: `twal-<index:016>-<first_seq:020>.<active|sealed|archived>`,
//! spares `twal-spare-<n>`, the holds `twal-holds`, a follower's position `twal-sink`.
//!
//! The state is read off the name and nowhere else.  A segment goes active →
//! sealed → archived and never back; a spare is not a segment and is never read.

use std::fmt;

/// Where a segment is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// Released by the caller; kept until retention removes it.
    Archived,
    /// Complete and immutable.
    Sealed,
    /// Being written.
    Active,
}

impl State {
    fn suffix(self) -> &'static str {
        match self {
            State::Archived => "archived",
            State::Sealed => "sealed",
            State::Active => "active",
        }
    }
}

/// What a segment's file name says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentName {
    /// Index, from 1.
    pub index: u64,
    /// Number of the first record that it can hold.
    pub first_seq: u64,
    /// Where it is in its life.
    pub state: State,
}

impl SegmentName {
    /// The same segment in another state.
    pub fn with(self, state: State) -> Self {
        SegmentName { state, ..self }
    }
}

impl fmt::Display for SegmentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "twal-{:016}-{:020}.{}", self.index, self.first_seq, self.state.suffix())
    }
}

/// Name of spare number `n`.
pub fn spare_name(n: u64) -> String {
    format!("twal-spare-{n}")
}

/// The file of holds.
pub const HOLDS: &str = "twal-holds";
/// What will take its place, or would have.
pub const HOLDS_NEW: &str = "twal-holds-new";

/// How far a follower's copy is durable: the directory is a follower's while it is there.
pub const SINK: &str = "twal-sink";
/// What was to become the first one.
pub const SINK_NEW: &str = "twal-sink-new";

/// What a file's name says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Named {
    /// A segment.
    Segment(SegmentName),
    /// A spare.
    Spare(u64),
    /// The holds.
    Holds,
    /// Holds that were being written; nobody reads them.
    HoldsNew,
    /// A follower's position.
    Sink,
    /// A position that was being made; nobody reads it.
    SinkNew,
    /// `twal-…`, but nothing that this library writes.
    Unknown,
    /// Not ours; left alone.
    Foreign,
}

impl Named {
    /// Reads a file name.
    pub fn parse(name: &str) -> Named {
        let Some(rest) = name.strip_prefix("twal-") else { return Named::Foreign };
        if let Some(n) = rest.strip_prefix("spare-") {
            return decimal(n, 1..=19).map_or(Named::Unknown, Named::Spare);
        }
        match name {
            HOLDS => return Named::Holds,
            HOLDS_NEW => return Named::HoldsNew,
            SINK => return Named::Sink,
            SINK_NEW => return Named::SinkNew,
            _ => {}
        }
        segment(rest).map_or(Named::Unknown, Named::Segment)
    }
}

fn segment(rest: &str) -> Option<SegmentName> {
    let (numbers, suffix) = rest.split_once('.')?;
    let (index, first_seq) = numbers.split_once('-')?;
    let state = [State::Archived, State::Sealed, State::Active].into_iter().find(|state| state.suffix() == suffix)?;
    let name = SegmentName { index: decimal(index, 16..=16)?, first_seq: decimal(first_seq, 20..=20)?, state };
    (name.index >= 1 && name.first_seq >= 1).then_some(name)
}

/// Digits only: `u64::from_str` would take a sign.
fn decimal(digits: &str, len: std::ops::RangeInclusive<usize>) -> Option<u64> {
    (len.contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit())).then(|| digits.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_reads_back() {
        for state in [State::Active, State::Sealed, State::Archived] {
            let name = SegmentName { index: 12, first_seq: 3456, state };
            assert_eq!(Named::parse(&name.to_string()), Named::Segment(name));
        }
        let name = SegmentName { index: 1, first_seq: 1, state: State::Active };
        assert_eq!(name.to_string(), "twal-0000000000000001-00000000000000000001.active");
        assert_eq!(Named::parse(&spare_name(17)), Named::Spare(17));
        assert_eq!((Named::parse(HOLDS), Named::parse(HOLDS_NEW)), (Named::Holds, Named::HoldsNew));
        assert_eq!((Named::parse(SINK), Named::parse(SINK_NEW)), (Named::Sink, Named::SinkNew));
    }

    #[test]
    fn nothing_else_passes_for_one() {
        for name in [
            "twal-",
            "twal-spare-",
            "twal-spare-x",
            "twal-holds-",
            "twal-holdsx",
            "twal-sink-",
            "twal-sinks",
            "twal-spare-+1",
            "twal-1-1.active",
            "twal-0000000000000000-00000000000000000001.active",
            "twal-0000000000000001-00000000000000000000.active",
            "twal-+000000000000001-00000000000000000001.active",
            "twal-0000000000000001-00000000000000000001.active.bak",
            "twal-0000000000000001-00000000000000000001",
            "twal-0000000000000001-99999999999999999999.active",
        ] {
            assert_eq!(Named::parse(name), Named::Unknown, "{name}");
        }
        for name in ["", "lost+found", "twa", "TWAL-spare-1"] {
            assert_eq!(Named::parse(name), Named::Foreign, "{name}");
        }
    }
}
