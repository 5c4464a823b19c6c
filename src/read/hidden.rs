//! Which records of the program a reader leaves out: what tombstones and purges dropped.
//!
//! A pure filter, made by whoever knows what was dropped.  It never hides twal's
//! own records, and nothing that was written behind the record that drops: what is
//! appended to a dropped stream is new.

use std::collections::BTreeMap;

use crate::format::record::FIRST_CALLER_KIND;
use crate::format::RecordHeader;

/// What is dropped, stream by stream.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hidden {
    streams: BTreeMap<u64, Dropped>,
}

/// What is dropped of one stream: each rule alone is enough.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Dropped {
    /// Records with a lower number.
    below_seq: u64,
    /// Records with a lower timestamp, of those with a number below the second.
    before: Vec<(i64, u64)>,
}

impl Hidden {
    /// A filter that hides nothing.
    pub fn new() -> Hidden {
        Hidden::default()
    }

    /// Hides the records of `stream` with a number below `below_seq`.
    pub fn hide_below(&mut self, stream: u64, below_seq: u64) {
        let dropped = self.streams.entry(stream).or_default();
        dropped.below_seq = below_seq.max(dropped.below_seq);
    }

    /// Hides the records of `stream` with a timestamp below `before`, of those with a number below
    /// `below_seq`.  Each such rule of a stream costs the reader of its records a comparison.
    pub fn hide_before(&mut self, stream: u64, before: i64, below_seq: u64) {
        self.streams.entry(stream).or_default().before.push((before, below_seq));
    }

    /// Whether nothing is hidden.
    pub fn is_empty(&self) -> bool {
        self.streams.is_empty()
    }

    /// Whether this record is hidden.
    pub fn hides(&self, record: &RecordHeader) -> bool {
        if record.kind < FIRST_CALLER_KIND {
            return false;
        }
        self.streams.get(&record.stream).is_some_and(|dropped| {
            let old = |&(before, below_seq): &(i64, u64)| record.timestamp < before && record.seq < below_seq;
            record.seq < dropped.below_seq || dropped.before.iter().any(old)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every combination of number and timestamp around both rules, on the stream, beside it, and of twal's own.
    #[test]
    fn hides_what_either_rule_drops_and_nothing_else() {
        let mut hidden = Hidden::new();
        assert!(hidden.is_empty());
        hidden.hide_below(7, 3);
        hidden.hide_below(7, 5);
        hidden.hide_below(7, 4); // the highest stays
        hidden.hide_before(7, 100, 8);
        hidden.hide_before(7, 0, 10); // both stand
        hidden.hide_before(9, i64::MIN, u64::MAX);
        for kind in [0x02, 0x20, 0x00ff, 0x0100, 0xffff] {
            for stream in [0, 7, 8, 9] {
                for seq in 1..12 {
                    for timestamp in [i64::MIN, -1, 99, 100, i64::MAX] {
                        let record = RecordHeader { kind, stream, seq, timestamp, ..RecordHeader::default() };
                        let dropped = seq < 5 || seq < 8 && timestamp < 100 || seq < 10 && timestamp < 0;
                        let expected = kind >= 0x0100 && stream == 7 && dropped;
                        assert_eq!(hidden.hides(&record), expected, "{record:?}");
                    }
                }
            }
        }
    }
}
