//! A spot that does not read as the next frame: whether the log ends there, or what is damaged.

use super::super::finding::{Acknowledged, Finding, Kind};
use super::super::verdict::{verdict, Spot, Verdict};
use super::segment::{Enough, Reader, Reading};
use super::walk::{Behind, Walk};
use crate::disk::LockKind;
use crate::format::record::BadRecord;
use crate::format::{Chain, FrameHeader};
use crate::read::followers;
use crate::read::stream::{BadPlace, Glimpse};

impl Reader<'_, '_> {
    /// What is not the next frame: false, the segment is through.
    pub(super) fn bad_spot(&mut self, walk: &mut Walk, glimpse: &Glimpse) -> Result<bool, Enough> {
        let behind = walk.look_behind(glimpse);
        // A frame that is the next one is never half-written, whatever its records are.
        let is_next = matches!(glimpse, Glimpse::Whole(frame, ..) if walk.chain.continues_in(frame));
        let may_be_end =
            walk.newest && !is_next && !behind.says_durable && !self.has_successor(walk) && !walk.is_spoilt(glimpse);
        let unreadable = matches!(glimpse, Glimpse::Unreadable(_));
        if may_be_end && !unreadable && behind.unreadable.is_none() {
            let spot = spot_of(glimpse, &walk.chain);
            return self.end(walk, spot, behind.next.is_some()).map(|()| false);
        }
        // Read again after the witness was seen, from where nothing can have been taken back.
        if walk.doubted != Some((walk.offset, walk.chain)) {
            walk.doubted = Some((walk.offset, walk.chain));
            walk.go_back();
            return Ok(true);
        }
        self.counted.damaged = true;
        if let Some((offset, error)) = behind.unreadable.as_ref().filter(|_| may_be_end && !unreadable) {
            // Nobody knows whether the log ends here.
            if walk.missing.is_some() && *offset == walk.there {
                return self.tell_missing(walk).map(|()| false);
            }
            let found =
                Finding::of(Kind::Unreadable, walk.name.to_string(), &error.clone().at(walk.header.index, *offset));
            let seq = walk.chain.last_seq + 1;
            self.tell(&Finding { acknowledged: Acknowledged::Unknown, seq, ..found })?;
            return Ok(false);
        }
        let acknowledged = if may_be_end { Acknowledged::Unknown } else { Acknowledged::Yes };
        self.damage(walk, glimpse, &behind, acknowledged)?;
        walk.whole = None;
        // A frame whose header holds says where the next one begins.
        if let Glimpse::BadBody(frame, identity, _) | Glimpse::Whole(frame, identity, _) = glimpse {
            let end = walk.offset + frame.frame_len(u64::from(walk.header.block_size));
            if walk.chain.continues_in(frame) && end < walk.header.segment_size {
                walk.resume(end, Chain::after(frame, *identity));
                return Ok(true);
            }
        }
        let Some((offset, frame)) = behind.next else { return Ok(false) };
        walk.resume(offset, Chain::before(&frame));
        Ok(true)
    }

    /// A newer segment is there, though it was not when the names were read.
    fn has_successor(&self, walk: &Walk) -> bool {
        let Reading { directory, alone, .. } = self.reading;
        !alone && directory.scan().is_ok() && directory.segment(walk.header.index + 1).is_some()
    }

    /// Where the log ends, if nothing more is said about it.
    fn end(&mut self, walk: &Walk, spot: Spot, follower: bool) -> Result<(), Enough> {
        if walk.offset + u64::from(walk.header.block_size) > walk.header.segment_size {
            self.counted.damaged = true;
            let text = "the segment is full, and does not end in a seal";
            return self.tell(&Finding {
                segment: walk.header.index,
                offset: walk.offset,
                seq: walk.chain.last_seq + 1,
                last_seq: walk.chain.last_seq,
                ..Finding::new(Kind::Seal, walk.name.to_string(), text)
            });
        }
        // Beside a writer it is where it writes; and one may have come.
        if verdict(spot, follower, false) != Verdict::Torn || !self.reading.alone || !self.still_alone() {
            return Ok(());
        }
        let text = "a write that nobody was promised is half there; opening cuts it off";
        self.tell(&Finding {
            segment: walk.header.index,
            offset: walk.offset,
            seq: walk.chain.last_seq + 1,
            last_seq: walk.chain.last_seq,
            acknowledged: Acknowledged::No,
            ..Finding::new(Kind::Torn, walk.name.to_string(), text)
        })
    }

    fn still_alone(&self) -> bool {
        let directory = self.reading.directory;
        matches!(directory.try_lock(LockKind::Shared), Ok(true)) && directory.unlock().is_ok()
    }

    /// Tells what is wrong at the walk's place.
    fn damage(
        &mut self,
        walk: &Walk,
        glimpse: &Glimpse,
        behind: &Behind,
        acknowledged: Acknowledged,
    ) -> Result<(), Enough> {
        let seq = walk.chain.last_seq + 1;
        let header = match glimpse {
            Glimpse::Whole(frame, ..) | Glimpse::BadBody(frame, ..) => Some(frame),
            _ => None,
        };
        let until = match (header, behind.next, walk.next) {
            (Some(frame), ..) if walk.chain.continues_in(frame) => frame.last_seq(),
            (_, Some((_, next)), _) => next.first_seq - 1,
            (_, None, Some(next)) => next.before.last_seq,
            // All that a follower's position speaks of.
            (_, None, None) => walk.until.map_or(0, |slot| slot.chain.last_seq),
        };
        let base = |kind, text| Finding {
            segment: walk.header.index,
            offset: walk.offset,
            seq,
            last_seq: until,
            acknowledged,
            ..Finding::new(kind, walk.name.to_string(), text)
        };
        let is_seal = walk.seal_at == Some(walk.offset);
        match glimpse {
            Glimpse::Unreadable(error) => {
                self.tell(&Finding { os_errno: error.os_errno, ..base(Kind::Unreadable, error.text.clone()) })
            }
            Glimpse::NoHeader(there, right) => {
                let (kind, text) = match is_seal {
                    true => (Kind::Seal, "the segment does not end in its seal"),
                    false => (Kind::Frame, "a frame that was acknowledged is damaged: no header of this file"),
                };
                self.tell(&Finding { expected: u64::from(*right), found: u64::from(*there), ..base(kind, text.into()) })
            }
            Glimpse::Whole(frame, _, body) if body.bad.is_empty() => self.tell(&Finding {
                expected: walk.chain.identity,
                found: frame.chain,
                ..base(Kind::Chain, "a whole frame, but not the one that continues here".into())
            }),
            Glimpse::Whole(frame, _, body) | Glimpse::BadBody(frame, _, body) => {
                if body.bad.is_empty() || !walk.chain.continues_in(frame) {
                    return self.tell(&Finding {
                        expected: u64::from(frame.body_crc),
                        found: u64::from(body.crc),
                        ..base(Kind::Body, "a frame that was acknowledged is damaged in its body".into())
                    });
                }
                for bad in &body.bad {
                    self.tell(&of_record(bad, base(Kind::Record, "".into()), frame))?;
                }
                Ok(())
            }
        }
    }
}

fn of_record(bad: &BadPlace, base: Finding, frame: &FrameHeader) -> Finding {
    let one = Finding { offset: bad.offset, seq: bad.seq, last_seq: bad.seq, ..base };
    let stream = bad.header.map(|header| header.stream);
    match bad.why {
        BadRecord::Payload => Finding {
            stream,
            expected: bad.header.map_or(0, |header| u64::from(header.payload_crc)),
            found: u64::from(bad.payload_crc),
            text: "a record's payload is damaged".into(),
            ..one
        },
        BadRecord::Version(version) => Finding {
            kind: Kind::Version,
            found: u64::from(version),
            text: "a record of a version that this release does not know".into(),
            ..one
        },
        BadRecord::Header => Finding {
            stream,
            last_seq: frame.last_seq(),
            text: "a record's header is damaged, and so the rest of its frame".into(),
            ..one
        },
        BadRecord::Length => Finding {
            last_seq: frame.last_seq(),
            expected: u64::from(frame.record_count),
            text: "a frame's records do not end where it does".into(),
            ..one
        },
    }
}

fn spot_of(glimpse: &Glimpse, last: &Chain) -> Spot {
    match glimpse {
        Glimpse::Unreadable(_) => Spot::Unreadable,
        Glimpse::Whole(frame, ..) | Glimpse::BadBody(frame, ..) if followers::follows(last, frame) => Spot::OurHeader,
        Glimpse::Whole(..) | Glimpse::BadBody(..) | Glimpse::NoHeader(..) => Spot::NoHeader,
    }
}
