//! What files of the v2.6 layout say: B5's report, and what in them is not legal.
//!
//! Under [`Rules::Import`]: the original's short forms are legal.  What is not
//! isolates its operation and is reported with its place.  So does damage that
//! was passed over, every operation that is not finished.  Memory is bounded by
//! `state_max`, whatever the files hold.

use crate::base::{Code, Error, Result};
use crate::interchange::{Reader, Record, Spot, Summary};

use super::super::event::operation_of;
use super::super::plan::{Action, Rejected, REJECTED_KEPT};
use super::super::{Family, Rebuild, Rules, Unfinished};

/// Operations that contradict themselves, at most: files of which more are wrong are none of ours.
pub const ISOLATED_MAX: usize = 64 << 10;

/// What files hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Replayed {
    /// Files, records, what was damaged, how they end.
    pub summary: Summary,
    /// Events taken.
    pub replayed: u64,
    /// Checkpoints met.
    pub checkpoints: u64,
    /// Records that are no event of the layout or not legal: the first [`REJECTED_KEPT`].
    pub wrong: Vec<Wrong>,
    /// How many there are in all.
    pub wrong_count: u64,
    /// Operations of which one is wrong, and, where damage was passed over, all that are not finished; by family and id.
    /// Nothing is done about them.
    pub isolated: Vec<(Family, u64)>,
    /// What is to be done about each unfinished operation.
    pub plan: Vec<Unfinished>,
    /// The lowest id of a saga and of a transaction that is created.
    pub lowest: [Option<u64>; 2],
}

/// A record that was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wrong {
    /// Where it is.
    pub spot: Spot,
    /// Its number.
    pub seq: u64,
    /// Why.
    pub why: Rejected,
}

/// Replays what `reader` reads.
///
/// # Errors
/// What stops the reader.  TooBig: a state of more than `state_max` bytes, or too many operations that contradict themselves.
pub fn replay(reader: &mut Reader, state_max: usize) -> Result<Replayed> {
    replay_noting(reader, state_max, &mut [None; 2])
}

/// The same; `lowest` has what there was of [`Replayed::lowest`] also where it fails.
pub(super) fn replay_noting(reader: &mut Reader, state_max: usize, lowest: &mut [Option<u64>; 2]) -> Result<Replayed> {
    let mut rebuild = Rebuild::new(Rules::Import);
    let mut found = Replayed::default();
    while let Some(record) = reader.next_record()? {
        match rebuild.record_short(record.seq, record.kind, record.payload) {
            Ok(()) => note_lowest(lowest, &record),
            Err(why) => {
                if found.wrong.len() < REJECTED_KEPT {
                    found.wrong.push(Wrong { spot: record.spot, seq: record.seq, why });
                }
                if rebuild.isolated().len() > ISOLATED_MAX {
                    return Err(too_big(&record, "too many operations contradict themselves"));
                }
            }
        }
        // As the log's table will, this one forgets remembered commits for what is unfinished.
        if rebuild.table().state_len() > state_max && !rebuild.make_room(state_max) {
            return Err(too_big(&record, "more is unfinished than the table may hold"));
        }
    }
    (found.summary, found.lowest) = (reader.summary().clone(), *lowest);
    (found.replayed, found.checkpoints, found.wrong_count) =
        (rebuild.replayed, rebuild.checkpoints, rebuild.rejected_count);
    found.isolated = rebuild.isolated().map(|(operation, _)| operation).collect();
    found.plan = rebuild.plan();
    if found.summary.damaged > 0 {
        isolate_unfinished(&mut found);
    }
    Ok(found)
}

/// What was passed over may have been a decision, and what seems to be missing may have happened: an abort that was decided
/// would be presumed to be a commit.  So nothing is presumed of what has not come to its end.
fn isolate_unfinished(found: &mut Replayed) {
    for unfinished in &mut found.plan {
        unfinished.action = Action::None;
        let operation = (unfinished.family, unfinished.id);
        if let Err(at) = found.isolated.binary_search(&operation) {
            found.isolated.insert(at, operation);
        }
    }
}

/// Notes the first `created` that was taken of each kind: ids rise, so it has the lowest.
fn note_lowest(lowest: &mut [Option<u64>; 2], record: &Record<'_>) {
    if let (0x01 | 0x10, Some((family, id))) = (record.kind, operation_of(record.kind.into(), record.payload)) {
        lowest[at(family)].get_or_insert(id);
    }
}

/// A family's place in an array of both.
pub(super) fn at(family: Family) -> usize {
    match family {
        Family::Saga => 0,
        Family::Transaction => 1,
    }
}

fn too_big(record: &Record<'_>, text: &'static str) -> Error {
    Error::new(Code::TooBig, text).at(record.spot.file, record.spot.offset).about_seq(record.seq)
}
