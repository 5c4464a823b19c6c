//! Which files a log has at one time: a compaction puts another one in the place of a segment's.

use crate::format::{Id, SegmentHeader};

/// The files of the segments that could be read at one time, oldest first.
#[derive(Debug)]
pub struct Files(Vec<(u64, Id, u64)>);

impl Files {
    /// Those with these headers, oldest first.
    pub fn of(headers: impl Iterator<Item = SegmentHeader>) -> Files {
        Files(headers.map(|header| told_apart(&header)).collect())
    }

    /// Whether all that were there `before` are, and none that came since was compacted: no record went in between.
    pub fn continue_from(&self, before: &Files) -> bool {
        let came = self.0.strip_prefix(before.0.as_slice());
        came.is_some_and(|came| came.iter().all(|(_, _, generation)| *generation == 0))
    }

    /// Whether the file with this header is one of them, or came later and has all of its records.
    pub fn admit(&self, header: &SegmentHeader) -> bool {
        let came = self.0.last().is_none_or(|(newest, _, _)| header.index > *newest);
        self.0.contains(&told_apart(header)) || (came && header.generation == 0)
    }
}

fn told_apart(header: &SegmentHeader) -> (u64, Id, u64) {
    (header.index, header.salt, header.generation)
}
