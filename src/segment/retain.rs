//! Which segments may go: pure functions over names.
//!
//! A segment's records end where the next one's begin, so names are enough.

use super::{SegmentName, State};
use crate::format::{Hold, HoldName};

/// Sealed segments wholly below `below_seq` that none of `holds` keeps, oldest first.  `segments` is in order of index.
///
/// One in front of an archived segment is released already: power failed while
/// several were renamed, and the younger one's new name alone was durable.  It
/// becomes archived before anything is removed; else removing its archived elders
/// would leave an oldest file that is neither the first ever nor archived.
pub fn releasable(segments: &[SegmentName], below_seq: u64, holds: &[Hold]) -> Vec<SegmentName> {
    let first_live = first_live(segments);
    segments
        .windows(2)
        .enumerate()
        .filter(|(at, pair)| {
            let end_seq = pair[1].first_seq;
            let kept = || end_seq > below_seq || holds.iter().any(|hold| keeps(hold, &pair[0], end_seq));
            pair[0].state == State::Sealed && (*at < first_live || !kept())
        })
        .map(|(_, pair)| pair[0])
        .collect()
}

/// Whether `hold` keeps the segment whose records end before `end_seq`.  Then it keeps every younger one too.
///
/// A segment without records is kept where its first number would be: whoever takes segments away one by one
/// needs all of them.
pub fn keeps(hold: &Hold, name: &SegmentName, end_seq: u64) -> bool {
    match hold.index {
        0 => end_seq > hold.seq || name.first_seq >= hold.seq,
        first => name.index >= first,
    }
}

/// Why a segment is not on its way out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeldBy {
    /// Nothing holds it: the next release that reaches so far takes it.
    Nobody,
    /// It is being written.
    Writer,
    /// A hold, the one that is furthest behind.
    Hold(HoldName),
    /// A transaction manager: operations that are not finished, or its checkpoint.
    Transactions,
    /// A reader has it open: its file lives on until that is done.
    Reader,
    /// It is one of the archived segments that are kept.
    Retention,
    /// The holds cannot be read: whatever is sealed is kept.
    Unreadable,
}

/// What holds the segment at position `at`.  From `transactions_seq` on a transaction manager needs everything;
/// `retained` archived segments are kept.  (Readers are not in names.)
pub fn held_by(segments: &[SegmentName], at: usize, retained: u64, transactions_seq: u64, holds: &[Hold]) -> HeldBy {
    let name = &segments[at];
    let end_seq = segments.get(at + 1).map_or(u64::MAX, |next| next.first_seq);
    let keeping = holds.iter().filter(|hold| keeps(hold, name, end_seq)).min_by_key(|hold| (hold.seq, hold.index));
    match name.state {
        State::Active => HeldBy::Writer,
        State::Archived if removable(segments, retained).contains(name) => HeldBy::Nobody,
        State::Archived => HeldBy::Retention,
        // Released already, see `releasable`.
        State::Sealed if at < first_live(segments) => HeldBy::Nobody,
        State::Sealed => match keeping {
            Some(hold) => HeldBy::Hold(hold.name),
            None if end_seq > transactions_seq => HeldBy::Transactions,
            None => HeldBy::Nobody,
        },
    }
}

/// Archived segments beyond the `retained` newest, oldest first.  The newest archived one always stays:
/// it tells a log whose beginning was given back from one that lost it.
pub fn removable(segments: &[SegmentName], retained: u64) -> Vec<SegmentName> {
    let archived: Vec<_> = segments.iter().filter(|segment| segment.state == State::Archived).copied().collect();
    let retained = usize::try_from(retained.max(1)).unwrap_or(usize::MAX);
    archived[..archived.len().saturating_sub(retained)].to_vec()
}

/// Index of the first segment whose records can be read: the one behind the newest archived.  The newest of
/// all is never released: if it is archived nevertheless, its successor was lost and it can be read up to there.
pub fn first_live(segments: &[SegmentName]) -> usize {
    let elders = &segments[..segments.len().saturating_sub(1)];
    elders.iter().rposition(|segment| segment.state == State::Archived).map_or(0, |at| at + 1)
}

/// Whether what was in front of these names was lost: what is released becomes archived before anything goes.
pub fn has_lost_elders(segments: &[SegmentName]) -> bool {
    segments.first().is_none_or(|oldest| oldest.index != 1 && oldest.state != State::Archived)
}

/// The segment with this index.  Of several files, which no log has: the newest one is active, an older one is not.
pub fn of_index(segments: &[SegmentName], index: u64) -> Option<SegmentName> {
    let newest = segments.last().filter(|newest| newest.index == index);
    newest.or_else(|| segments.iter().find(|segment| segment.index == index)).copied()
}

/// Which of these holds record `seq`, if any does.  The names may be those of no whole log.
pub fn holding(segments: &[SegmentName], seq: u64) -> Option<SegmentName> {
    let first_seq = segments.iter().map(|segment| segment.first_seq).filter(|first| *first <= seq).max()?;
    // Several begin there only if all but the last of them are empty, and then they lie beside each other.
    let at = segments.iter().position(|segment| segment.first_seq == first_seq)?;
    segments[at..].iter().take_while(|segment| segment.first_seq == first_seq).last().copied()
}

/// Below this number everything was released for sure, whatever is missing now: it is in front of a segment that was.
pub fn released_below(segments: &[SegmentName]) -> u64 {
    let (released, live) = segments.split_at(first_live(segments));
    let is_whole = released.iter().all(|segment| segment.state == State::Archived)
        && released.last().zip(live.first()).is_some_and(|(released, live)| released.index != live.index);
    released.last().filter(|_| is_whole).map_or(0, |newest| newest.first_seq)
}

/// Whether what lies in front of the first segment that can be read is missing.
pub fn is_missing_in_front(segments: &[SegmentName]) -> bool {
    let at = first_live(segments);
    let Some(oldest) = segments.get(at) else { return false };
    let before = if at == 0 { 0 } else { segments[at - 1].index };
    before + 1 < oldest.index
}

/// Whether these names are those of a whole log, in order of index; else what is wrong, and with which.
///
/// Refused: a doubled or missing index, numbers that run backwards, a log whose
/// newest file is not active (it was lost), an active file in the middle, and an
/// oldest file that is neither the first ever nor archived (its elders were
/// lost).  In front of the newest archived file anything may be missing: those
/// were being removed.
pub fn check(segments: &[SegmentName]) -> Result<(), (SegmentName, String)> {
    complaints(segments).into_iter().next().map_or(Ok(()), Err)
}

/// What is said of a newest segment that is not active.
pub const LOST_NEWER: &str = "the newest segment is not active: a newer one was lost";

/// Everything that is wrong with these names, the worst first; see [`check`].
pub fn complaints(segments: &[SegmentName]) -> Vec<(SegmentName, String)> {
    let mut wrong = Vec::new();
    let Some((newest, oldest)) = segments.last().zip(segments.first()) else { return wrong };
    if newest.state != State::Active {
        wrong.push((*newest, LOST_NEWER.to_owned()));
    }
    for pair in segments.windows(2) {
        if pair[0].index == pair[1].index {
            wrong.push((pair[1], format!("two files claim segment {}", pair[1].index)));
        } else if pair[0].first_seq > pair[1].first_seq {
            wrong.push((pair[1], format!("{} begins below the segment before it", pair[1])));
        }
    }
    if has_lost_elders(segments) {
        wrong.push((*oldest, format!("the segments before {oldest} are missing")));
    }
    if oldest.index == 1 && oldest.first_seq != 1 {
        wrong.push((*oldest, "the first segment does not begin with record 1".to_owned()));
    }
    let from = segments.iter().rposition(|segment| segment.state == State::Archived).unwrap_or(0);
    for (at, pair) in segments.windows(2).enumerate().skip(from) {
        if pair[0].index + 1 < pair[1].index {
            wrong.push((pair[1], format!("segment {} is missing", pair[0].index + 1)));
        }
        if pair[0].state == State::Active && at + 2 != segments.len() {
            wrong.push((pair[0], format!("{} is active, but not at the end", pair[0])));
        }
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(states: &str) -> Vec<SegmentName> {
        names_from(1, states)
    }

    fn names_from(first: u64, states: &str) -> Vec<SegmentName> {
        let state = |letter| match letter {
            'r' => State::Archived,
            's' => State::Sealed,
            _ => State::Active,
        };
        (first..)
            .zip(states.chars())
            .map(|(index, letter)| SegmentName { index, first_seq: (index - 1) * 10 + 1, state: state(letter) })
            .collect()
    }

    #[test]
    fn whole_logs_pass() {
        for states in ["", "a", "sa", "aa", "ssaa", "rsa", "rrra", "sra", "rsrsa"] {
            assert_eq!(check(&names(states)), Ok(()), "{states}");
        }
        assert_eq!(check(&names_from(5, "rsa")), Ok(()));
        let mut gap_among_archived = names_from(3, "rrrsa");
        gap_among_archived.remove(1);
        assert_eq!(check(&gap_among_archived), Ok(()));
    }

    #[test]
    fn broken_ones_do_not() {
        for states in ["s", "r", "as", "ras", "aaa", "asa", "ssar"] {
            assert!(check(&names(states)).is_err(), "{states}");
        }
        assert!(check(&names_from(2, "sa")).is_err());
        assert!(check(&names_from(2, "a")).is_err());
        let mut gap = names("rsssa");
        gap.remove(2);
        assert!(check(&gap).is_err());
        let mut gap = names("rsssa");
        gap.remove(1);
        assert!(check(&gap).is_err());
        let mut doubled = names("ssa");
        doubled[1].index = 1;
        assert!(check(&doubled).is_err());
        let mut backwards = names("ssa");
        backwards[2].first_seq = 5;
        assert!(check(&backwards).is_err());
    }

    #[test]
    fn only_whole_sealed_segments_are_released() {
        let segments = names("sssa");
        assert!(releasable(&segments, 10, &[]).is_empty());
        assert_eq!(releasable(&segments, 11, &[]).len(), 1);
        assert_eq!(releasable(&segments, 30, &[]).len(), 2);
        assert_eq!(releasable(&segments, u64::MAX, &[]).len(), 3);
        assert!(releasable(&names("aa"), u64::MAX, &[]).is_empty());
    }

    /// A crash among the renames of one trim, then a trim for less, then the removal.
    #[test]
    fn what_lies_in_front_of_an_archived_segment_is_released() {
        let mut segments = names("rsrsa");
        let releasable = releasable(&segments, 0, &[]);
        assert_eq!(releasable, segments[1..2]);
        segments[1].state = State::Archived;
        for gone in 0..=removable(&segments, 1).len() {
            assert_eq!(check(&segments[gone..]), Ok(()));
        }
    }

    #[test]
    fn the_newest_archived_stays() {
        let segments = names("rrrsa");
        assert_eq!(removable(&segments, 64).len(), 0);
        assert_eq!(removable(&segments, 2).len(), 1);
        assert_eq!(removable(&segments, 1).len(), 2);
        assert_eq!(removable(&segments, 0).len(), 2);
        assert_eq!(first_live(&segments), 3);
        assert_eq!(first_live(&names("sa")), 0);
        assert_eq!(first_live(&names("rrr")), 2);
        assert_eq!(first_live(&[]), 0);
    }

    fn hold(seq: u64, index: u64) -> Hold {
        Hold { name: HoldName::new("h").unwrap(), seq, index }
    }

    /// Every whole log of up to five segments, with and without records in each.
    fn every_log() -> Vec<Vec<SegmentName>> {
        let mut logs = Vec::new();
        for len in 1..=5_u32 {
            for states in 0..2_u32.pow(len - 1) {
                for filled in 0..2_u32.pow(len) {
                    for first in [1, 3] {
                        let mut seq = if first == 1 { 1 } else { 5 };
                        let log: Vec<_> = (0..len)
                            .map(|at| {
                                let first_seq = seq;
                                seq += if filled >> at & 1 == 1 { 2 } else { 0 };
                                let state = match states >> at & 1 {
                                    _ if at + 1 == len => State::Active,
                                    1 => State::Archived,
                                    _ => State::Sealed,
                                };
                                SegmentName { index: first + u64::from(at), first_seq, state }
                            })
                            .collect();
                        if check(&log).is_ok() {
                            logs.push(log);
                        }
                    }
                }
            }
        }
        logs
    }

    /// What is live and begins at or behind a hold, or has a number that it keeps, is never released; what is
    /// released leaves a whole log, however far its removal comes; and `held_by` says the same as `releasable` does.
    #[test]
    fn no_release_goes_past_a_hold() {
        let logs = every_log();
        assert!(logs.len() > 500, "{}", logs.len());
        for log in &logs {
            let live = first_live(log);
            for below in 0..=14 {
                for seq in log[live].first_seq..=14 {
                    let by_seq = vec![hold(seq, 0)];
                    let by_index = log[live..].iter().map(|name| vec![hold(name.first_seq, name.index)]);
                    for holds in by_index.chain([by_seq, Vec::new()]) {
                        let released = releasable(log, below, &holds);
                        let kept = |at: usize, end_seq: u64| {
                            holds.iter().any(|hold| match hold.index {
                                0 => {
                                    (log[at].first_seq..end_seq).any(|n| n >= hold.seq) || log[at].first_seq >= hold.seq
                                }
                                index => log[at].index >= index,
                            })
                        };
                        for (at, name) in log.iter().enumerate() {
                            let end_seq = log.get(at + 1).map_or(u64::MAX, |next| next.first_seq);
                            let wanted =
                                name.state == State::Sealed && (at < live || (end_seq <= below && !kept(at, end_seq)));
                            assert_eq!(released.contains(name), wanted, "{name} of {log:?}, {below}, {holds:?}");
                        }
                        let mut after = log.clone();
                        for name in after.iter_mut().filter(|name| released.contains(name)) {
                            name.state = State::Archived;
                        }
                        for gone in 0..=removable(&after, 1).len() {
                            assert_eq!(check(&after[gone..]), Ok(()), "{log:?}, {below}, {holds:?}");
                        }
                        let all = releasable(log, u64::MAX, &holds);
                        for (at, name) in log.iter().enumerate() {
                            let free = held_by(log, at, 1, u64::MAX, &holds) == HeldBy::Nobody;
                            let goes = all.contains(name) || removable(log, 1).contains(name);
                            assert_eq!(free, goes, "{name} of {log:?}, {holds:?}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn who_holds_a_segment_is_named() {
        let two = [
            Hold { name: HoldName::new("far").unwrap(), seq: 15, index: 0 },
            Hold { name: HoldName::new("near").unwrap(), seq: 25, index: 0 },
        ];
        let segments = names("rrsssa");
        let by = |retained, transactions, holds: &[Hold]| -> Vec<HeldBy> {
            (0..segments.len()).map(|at| held_by(&segments, at, retained, transactions, holds)).collect()
        };
        use HeldBy::{Nobody, Retention, Transactions, Writer};
        let far = HeldBy::Hold(two[0].name);
        assert_eq!(by(64, u64::MAX, &[]), [Retention, Retention, Nobody, Nobody, Nobody, Writer]);
        assert_eq!(by(1, 41, &[]), [Nobody, Retention, Nobody, Nobody, Transactions, Writer]);
        assert_eq!(by(1, 1, &two), [Nobody, Retention, far, far, far, Writer]);
        let near = [Hold { seq: 35, ..two[1] }];
        let held = HeldBy::Hold(near[0].name);
        assert_eq!(by(1, 31, &near), [Nobody, Retention, Nobody, held, held, Writer]);
    }
}
