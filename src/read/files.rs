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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::Chain;

    fn header(index: u64, generation: u64) -> SegmentHeader {
        SegmentHeader {
            index,
            created_ns: 0,
            block_size: 4096,
            segment_size: 1 << 20,
            first_seq: index,
            log_id: [1; 16],
            history_id: [2; 16],
            salt: [7; 16],
            keeps_holds: false,
            generation,
            before: Chain::default(),
            before_offset: 0,
        }
    }

    #[test]
    fn files_that_came_are_admitted_if_they_are_whole() {
        let files = Files::of([header(3, 1), header(4, 0)].into_iter());
        assert!(files.admit(&header(3, 1)) && files.admit(&header(4, 0)) && files.admit(&header(5, 0)));
        assert!(!files.admit(&header(3, 2)) && !files.admit(&header(4, 1)) && !files.admit(&header(5, 1)));
        assert!(!files.admit(&header(2, 0)), "it went before");
        assert!(!files.admit(&SegmentHeader { salt: [8; 16], ..header(4, 0) }), "of another life");
    }
}
