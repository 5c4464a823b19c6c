//! A follower's segments, as its position sees them: pure functions over names.

use super::{retain, SegmentName, State};
use crate::format::SinkSlot;

/// What a directory's segments are to a follower whose position is there.
#[derive(Debug, Default)]
pub struct Followed {
    /// What the position vouches for, as it is named when all is right: the newest one, which it is in, is active.
    pub names: Vec<SegmentName>,
    /// The newest one as it is named.
    pub own: Option<SegmentName>,
    /// Behind the position: it was begun, and by the position it is not there.
    pub above: Option<SegmentName>,
    /// Index of the one before the position's, if that is still named active.
    pub unfinished: Option<u64>,
    /// What is wrong with the names, and with which; None: one is missing.
    pub wrong: Vec<(Option<SegmentName>, String)>,
}

impl Followed {
    /// `segments` is in order of index.
    pub fn of(segments: &[SegmentName], slot: &SinkSlot) -> Followed {
        let behind = segments.partition_point(|name| name.index <= slot.index);
        let (mut names, above) = (segments[..behind].to_vec(), &segments[behind..]);
        let mut followed = Followed { above: above.last().copied(), ..Followed::default() };
        if slot.index == 0 {
            let wrong =
                above.iter().rev().skip(1).map(|name| {
                    (Some(*name), format!("the follower has nothing by its position, but {name} is there"))
                });
            followed.wrong = wrong.collect();
            return followed;
        }
        if let Some(name) = above.iter().find(|name| name.index != slot.index + 1) {
            let text = format!("segment {} is missing, and a newer one is there", slot.index + 1);
            followed.wrong.push((Some(*name), text));
        }
        if let Some(doubled) = above.get(1).filter(|name| name.index == slot.index + 1) {
            followed.wrong.push((Some(*doubled), format!("two files claim segment {}", doubled.index)));
        }
        followed.own = names.pop_if(|newest| newest.index == slot.index);
        followed.unfinished = names.last().filter(|before| before.state == State::Active).map(|before| before.index);
        let alone = names.len() == 1;
        if let Some(before) = names.last_mut().filter(|before| before.state == State::Active) {
            // As it will be named.
            before.state = if alone && before.index != 1 { State::Archived } else { State::Sealed };
        }
        let Some(own) = followed.own else {
            let text = format!("segment {}, in which the follower's position is, is missing", slot.index);
            followed.wrong.push((None, text));
            followed.names = names;
            return followed;
        };
        names.push(own.with(State::Active));
        // A copy that has just begun in the middle of a log has no elders yet that tell.  Any other one has lost them.
        let begun = names.len() == 1 && own.index == slot.first_index;
        if !begun {
            followed.wrong.extend(retain::complaints(&names).into_iter().map(|(name, text)| (Some(name), text)));
        }
        followed.names = names;
        followed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(index: u64, state: State) -> SegmentName {
        SegmentName { index, first_seq: (index - 1) * 10 + 1, state }
    }

    fn slot(index: u64, first_index: u64) -> SinkSlot {
        SinkSlot { index, first_index, ..SinkSlot::default() }
    }

    use State::{Active, Archived, Sealed};

    #[test]
    fn what_a_sink_or_a_promotion_leaves_is_right() {
        for (states, index, first_index) in [
            // Segments from 3 on; by the position it is in `index`.
            (vec![Active], 3, 3),
            (vec![Active, Active], 4, 3),
            (vec![Active, Active], 3, 3),
            (vec![Archived, Sealed, Active], 5, 1),
            (vec![Archived, Sealed, Sealed], 5, 1),
            (vec![Archived, Sealed, Sealed, Active], 5, 1),
            (vec![Archived, Active, Active], 5, 1),
        ] {
            let names: Vec<_> = (3..).zip(states).map(|(index, state)| name(index, state)).collect();
            let followed = Followed::of(&names, &slot(index, first_index));
            assert_eq!(followed.wrong, [], "{names:?}");
            assert_eq!(followed.names.last(), Some(&name(index, Active)), "{names:?}");
            assert_eq!(retain::check(&followed.names).is_ok(), index != first_index, "{names:?}");
            assert_eq!(followed.above.is_some(), names.last().unwrap().index > index);
        }
        assert_eq!(Followed::of(&[], &slot(0, 0)).wrong, []);
        assert_eq!(Followed::of(&[name(7, Active)], &slot(0, 0)).above, Some(name(7, Active)));
    }

    #[test]
    fn what_is_missing_or_doubled_is_wrong() {
        let whole = [name(1, Sealed), name(2, Sealed), name(3, Sealed), name(4, Active)];
        assert_eq!(Followed::of(&whole, &slot(4, 1)).wrong, []);
        for gone in 0..whole.len() {
            let mut names = whole.to_vec();
            names.remove(gone);
            assert_eq!(Followed::of(&names, &slot(4, 1)).wrong.len(), 1, "{names:?}");
            let mut names = whole.to_vec();
            names.insert(gone, whole[gone].with(Archived));
            assert!(!Followed::of(&names, &slot(4, 1)).wrong.is_empty(), "{names:?}");
        }
        for (names, slot) in [
            (vec![name(1, Sealed), name(2, Active)], slot(0, 0)),
            (vec![name(1, Active), name(3, Active)], slot(1, 1)),
            (vec![name(1, Active), name(2, Sealed), name(2, Active)], slot(1, 1)),
            (vec![name(1, Sealed), name(2, Sealed), name(3, Active)], slot(1, 1)),
            (vec![name(3, Active)], slot(3, 1)),
        ] {
            assert!(!Followed::of(&names, &slot).wrong.is_empty(), "{names:?}");
        }
    }
}
