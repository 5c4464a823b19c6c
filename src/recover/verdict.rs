//! What does one spot of the newest segment mean?
//!
//! A crash leaves a half-written frame at the end: expected, and nobody was
//! promised that data.  A failing disk leaves a damaged frame anywhere: that
//! data was promised, and to stop quietly there would lose it in silence.  The
//! two look alike at the spot itself.  What tells them apart is what lies behind
//! it: every frame says what was durable when it was composed, so a later frame
//! testifies for an earlier one (`read/followers.rs`).
//!
//! ```text
//!      the spot                      a follower   it says this spot   verdict
//!                                                 was durable
//!   A  whole, ours, chained          any          any                 take
//!   B  unreadable (EIO)              any          any                 refuse
//!   C  anything else                 yes          yes                 rot
//!   D  anything else                 yes          no                  torn
//!   E  our header: bad body,         no           -                   torn
//!      or not chained
//!   F  no header of ours             no           -                   end
//!   G  no header of ours where the   any          any                 rot
//!      log's first frame belongs,
//!      and the file not all zeros
//! ```
//!
//! "Ours" means that the header's checksum holds, which is seeded with log, salt
//! and offset, and that its epoch is not below the last taken frame's: recycled
//! files are full of whole frames that are not ours, and a tail that was cut
//! leaves frames of an older epoch.  That is why F is not damage.
//! The first segment's file never is a recycled one, and its first frame is
//! durable before anything else is written: that is why G is (`beginning.rs`).
//!
//!   take    deliver it and go on
//!   refuse  nobody knows what is there; only repair may cut
//!   rot     acknowledged data is damaged: refuse to open for writing
//!   torn    the log ends before the spot; what is there was never acknowledged
//!   end     the log ends before the spot
//!
//! How D comes about: frames 7 and 8 are in flight together.
//!
//!   1. The device finishes 8 first.
//!   2. Frame 8 was composed when only 6 was durable, so it says 6.
//!   3. (fatal) Power fails: half of 7 is on the device, all of 8.
//!
//! Nobody was told that 7 or 8 is safe, so both may go.
//!
//! What this cannot see: rot in the very last frame, before a mark follows it,
//! reads as E or F.  Nothing later exists to testify for it.  docs/FORMAT.md,
//! "Limits".
//!
//! In any segment but the newest, everything but A and B is rot.

use std::cell::Cell;

/// What the spot itself shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spot {
    /// Whole, ours, chained.
    Next,
    /// The device does not give the bytes.
    Unreadable,
    /// Our header, but the body is bad or it does not continue the chain.
    OurHeader,
    /// No header of ours.
    NoHeader,
    /// The same, where the log's first frame belongs; and something was written to the file.
    NoFirst,
}

/// What it means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Deliver it and go on.
    Take,
    /// Nobody knows; only repair may cut.
    Refuse,
    /// Acknowledged data is damaged.
    Rot,
    /// The log ends before the spot; a frame that nobody was promised is there.
    Torn,
    /// The log ends before the spot.
    End,
}

thread_local! {
    static REACHED: Cell<[u64; TABLE.len()]> = const { Cell::new([0; TABLE.len()]) };
}

/// How often each row has decided on this thread, by the row's letter.  For whoever explores crashes: a row
/// that no exploration reaches is one that nobody has tried.
pub fn reached() -> impl Iterator<Item = (&'static str, u64)> {
    const NAMES: [&str; TABLE.len()] = [
        "row A: taken",
        "row B: unreadable",
        "row C: rot, our header",
        "row C: rot, no header",
        "row D: torn, our header and a follower",
        "row D: torn, no header and a follower",
        "row E: torn, our header",
        "row F: end",
        "row G: rot, no first frame",
    ];
    NAMES.into_iter().zip(REACHED.get())
}

/// The spot, whether there is a follower, whether one says durable (None: any), and what that means.
type Row = (Option<Spot>, Option<bool>, Option<bool>, Verdict);

/// The rows A–G; C, D and E–F stand once for each of their spots.
const TABLE: [Row; 9] = [
    (Some(Spot::Next), None, None, Verdict::Take),
    (Some(Spot::Unreadable), None, None, Verdict::Refuse),
    (Some(Spot::OurHeader), Some(true), Some(true), Verdict::Rot),
    (Some(Spot::NoHeader), Some(true), Some(true), Verdict::Rot),
    (Some(Spot::OurHeader), Some(true), Some(false), Verdict::Torn),
    (Some(Spot::NoHeader), Some(true), Some(false), Verdict::Torn),
    (Some(Spot::OurHeader), Some(false), None, Verdict::Torn),
    (Some(Spot::NoHeader), Some(false), None, Verdict::End),
    (Some(Spot::NoFirst), None, None, Verdict::Rot),
];

/// The verdict on a spot of the newest segment.
pub fn verdict(spot: Spot, follower: bool, says_durable: bool) -> Verdict {
    let fits = |row: &&Row| {
        row.0.is_none_or(|wanted| wanted == spot)
            && row.1.is_none_or(|wanted| wanted == follower)
            && row.2.is_none_or(|wanted| wanted == says_durable)
    };
    let row = TABLE.iter().position(|row| fits(&row)).expect("the test below runs every combination");
    let mut reached = REACHED.get();
    reached[row] += 1;
    REACHED.set(reached);
    TABLE[row].3
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPOTS: [Spot; 5] = [Spot::Next, Spot::Unreadable, Spot::OurHeader, Spot::NoHeader, Spot::NoFirst];

    #[test]
    fn every_combination_meets_exactly_one_row() {
        for spot in SPOTS {
            for follower in [false, true] {
                for says_durable in [false, true] {
                    let rows = TABLE
                        .iter()
                        .filter(|row| row.0.is_none_or(|s| s == spot))
                        .filter(|row| row.1.is_none_or(|f| f == follower))
                        .filter(|row| row.2.is_none_or(|d| d == says_durable))
                        .count();
                    assert_eq!(rows, 1, "{spot:?} {follower} {says_durable}");
                }
            }
        }
    }

    /// The same table again, as DESIGN has it, written as rules.
    #[test]
    fn agrees_with_the_rules() {
        for spot in SPOTS {
            for follower in [false, true] {
                for says_durable in [false, true] {
                    let expected = match spot {
                        Spot::Next => Verdict::Take,
                        Spot::Unreadable => Verdict::Refuse,
                        Spot::NoFirst => Verdict::Rot,
                        _ if follower && says_durable => Verdict::Rot,
                        _ if follower => Verdict::Torn,
                        Spot::OurHeader => Verdict::Torn,
                        Spot::NoHeader => Verdict::End,
                    };
                    assert_eq!(verdict(spot, follower, says_durable), expected);
                }
            }
        }
    }
}
