//! Which records a reader delivers, and which ones it must not pass over.
//!
//! Pure.  What a reader does not know and what says that it must be known stops
//! it, whatever else the filter leaves out: that rule comes first.

use std::sync::Arc;

use super::Hidden;
use crate::format::record::{FIRST_CALLER_KIND, FLAG_REQUIRED};
use crate::format::RecordHeader;

/// See the module.  None, everywhere: no such rule.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    hidden: Option<Arc<Hidden>>,
    /// Rising, as the other two.
    streams: Option<Box<[u64]>>,
    kinds: Option<Box<[u16]>>,
    known: Option<Box<[u16]>>,
}

/// A record must not be passed over, and its type is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnknownKind;

impl Filter {
    /// Leaves out what is not of these streams and types, and what is hidden; of the program's types only those in
    /// `known` are known.
    pub fn new(
        streams: Option<Vec<u64>>,
        kinds: Option<Vec<u16>>,
        known: Option<Vec<u16>>,
        hidden: Option<Arc<Hidden>>,
    ) -> Filter {
        let hidden = hidden.filter(|hidden| !hidden.is_empty());
        Filter { hidden, streams: sorted(streams), kinds: sorted(kinds), known: sorted(known) }
    }

    /// Whether every record is delivered.
    pub fn is_empty(&self) -> bool {
        *self == Filter::default()
    }

    /// Whether this record is left out.
    pub fn leaves_out(&self, record: &RecordHeader) -> Result<bool, UnknownKind> {
        let is_own = record.kind < FIRST_CALLER_KIND;
        if !is_own && lacks(self.known.as_deref(), &record.kind) {
            return if record.flags & FLAG_REQUIRED != 0 { Err(UnknownKind) } else { Ok(true) };
        }
        Ok(lacks(self.streams.as_deref(), &record.stream)
            || lacks(self.kinds.as_deref(), &record.kind)
            || self.hidden.as_ref().is_some_and(|hidden| hidden.hides(record)))
    }
}

fn sorted<T: Ord>(list: Option<Vec<T>>) -> Option<Box<[T]>> {
    list.map(|mut list| {
        list.sort_unstable();
        list.into_boxed_slice()
    })
}

fn lacks<T: Ord>(list: Option<&[T]>, wanted: &T) -> bool {
    list.is_some_and(|list| list.binary_search(wanted).is_err())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(kind: u16, stream: u64, required: bool) -> RecordHeader {
        let flags = if required { FLAG_REQUIRED } else { 0 };
        RecordHeader { kind, stream, flags, seq: 5, ..RecordHeader::default() }
    }

    /// Every combination of the four rules, over records that each of them takes or leaves.
    #[test]
    fn a_record_is_delivered_if_every_rule_lets_it() {
        let mut hides = Hidden::new();
        hides.hide_below(7, 9);
        let hides = Arc::new(hides);
        for rules in 0..16_u32 {
            let on = |rule: u32| rules & 1 << rule != 0;
            let filter = Filter::new(
                on(0).then(|| vec![9, 7]),
                on(1).then(|| vec![0x0101, 0x10, 0x0100]),
                on(2).then(|| vec![0x0102, 0x0100]),
                on(3).then(|| Arc::clone(&hides)),
            );
            assert_eq!(filter.is_empty(), rules == 0);
            for kind in [0x10, 0x11, 0x0100, 0x0101, 0x0102] {
                for stream in [7, 8, 9] {
                    for required in [false, true] {
                        let unknown = on(2) && kind == 0x0101;
                        let out = on(0) && stream == 8
                            || on(1) && !matches!(kind, 0x10 | 0x0100 | 0x0101)
                            || on(3) && stream == 7 && kind >= 0x0100;
                        let expected = match (unknown, required) {
                            (true, true) => Err(UnknownKind),
                            (true, false) => Ok(true),
                            _ => Ok(out),
                        };
                        assert_eq!(filter.leaves_out(&record(kind, stream, required)), expected, "{rules} {kind:#x}");
                    }
                }
            }
        }
        // A list of nothing is a list.
        assert_eq!(Filter::new(Some(vec![]), None, None, None).leaves_out(&record(0x0100, 1, true)), Ok(true));
        assert!(Filter::new(None, None, None, Some(Arc::new(Hidden::new()))).is_empty());
    }
}
