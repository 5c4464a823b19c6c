//! What goes because of the first damage, and how the log will end in front of it.

use super::super::examine;
use super::super::finding::Acknowledged;
use super::super::isolate;
use super::damage::{is_others, Found};
use super::lost::Lost;
use super::{End, Newest, Plan, Step, StepKind};
use crate::base::bytes::len_u64;
use crate::base::limits::{BLOCK_SIZE_DEFAULT, INDEX_WRITTEN_MAX, NUMBER_MAX};
use crate::base::options::Config;
use crate::base::{Code, Error, Result};
use crate::disk::Access;
use crate::format::frame::{Cut, FLAG_SEAL};
use crate::format::{Chain, Id, SegmentHeader, FRAME_HEADER_LEN};
use crate::read::segment::{self, OpenSegment};
use crate::read::stream::{Body, Glimpse, Stream};
use crate::read::walk::READ_AHEAD;
use crate::read::{short, Look, Walker};
use crate::segment::{Directory, SegmentName, State};

/// What goes, and where the log will end.
pub fn plan(
    directory: &Directory,
    names: &[SegmentName],
    found: Found,
    (log_id, config): (Option<Id>, &Config),
    plan: &mut Plan,
) -> Result<()> {
    let Found { error, at, before, here, mut chain, mut offset } = found;
    if let Some(here) = &here {
        // Behind the cut's mark a seal has to fit.  No record reaches into the last two blocks: what is there is a mark.
        let last = here.header.segment_size - 2 * u64::from(here.header.block_size);
        if offset > last {
            (chain, offset) = (chain_before(here, last)?, last);
        }
    }
    let first_seq = chain.last_seq + 1;
    let is_short = match &here {
        Some(here) => short::bytes_there(here)? < here.header.segment_size,
        None => false,
    };
    let mut lost = Lost { epoch: chain.epoch, ..Lost::default() };
    let behind = if here.is_some() { at + 1 } else { at };
    if let Some(here) = &here {
        lost.bytes = lost.look(here, &chain, offset)?;
        if let Some(next) = names.get(behind).filter(|_| is_short) {
            // What is missing no header shows any more, but where the next one begins.
            lost.last_seq = lost.last_seq.max(next.first_seq - 1);
        }
        // Where the newest segment lacks its end, nobody knows whether it held anything there.
        let is_rot = error.code == Code::Corrupt && !is_short;
        let acknowledged = match behind < names.len() || lost.says_durable || is_rot {
            true => Acknowledged::Yes,
            false => Acknowledged::Unknown,
        };
        plan.steps.push(Step {
            kind: StepKind::Cut,
            file: here.name.to_string(),
            segment: here.name.index,
            offset,
            first_seq,
            last_seq: lost.last_seq.max(first_seq - 1),
            acknowledged,
        });
    }
    for (at, name) in names.iter().enumerate().skip(behind) {
        let next_first = names.get(at + 1).map_or(0, |next| next.first_seq);
        let before = lost.last_seq;
        if is_others(directory, name, log_id)? {
            // Its numbers are another log's.
            plan.steps.push(isolate::unknown(&name.to_string()));
            lost.last_seq = lost.last_seq.max(next_first.saturating_sub(1));
            continue;
        }
        // What is no segment says nothing.
        let opened = segment::open_at_rest(directory, name.index, Access::Read)?;
        if let Ok((opened, _)) = opened.and_then(|opened| examine::continue_in(opened, None)) {
            lost.look(&opened, &chain, u64::from(opened.header.block_size))?;
        }
        let last_seq = lost.last_seq.max(next_first.saturating_sub(1)).max(before);
        plan.steps.push(Step {
            kind: StepKind::Drop,
            file: name.to_string(),
            segment: name.index,
            offset: 0,
            first_seq: name.first_seq,
            last_seq: if last_seq >= name.first_seq { last_seq } else { name.first_seq - 1 },
            acknowledged: Acknowledged::Yes,
        });
        lost.last_seq = lost.last_seq.max(last_seq);
    }
    let newest = match here {
        Some(here) => Newest::Kept { name: here.name, header: here.header, offset },
        None => {
            let header = begun(directory, names, before.as_ref(), chain, (log_id, config))?;
            plan.steps.push(Step {
                kind: StepKind::Begin,
                file: SegmentName { index: header.index, first_seq, state: State::Active }.to_string(),
                segment: header.index,
                offset: 0,
                first_seq,
                last_seq: lost.last_seq.max(first_seq - 1),
                acknowledged: Acknowledged::Yes,
            });
            Newest::Begun(header)
        }
    };
    let index = match &newest {
        Newest::Kept { header, .. } | Newest::Begun(header) => header.index,
    };
    if lost.epoch.max(chain.last_seq) >= NUMBER_MAX || index >= INDEX_WRITTEN_MAX {
        let text =
            format!("{}; and what a repair could leave has a number at the end of what can be counted", error.text);
        return Err(Error { code: Code::Unsupported, text: text.into(), ..error });
    }
    plan.end = Some(End {
        newest,
        chain,
        epoch: lost.epoch + 1,
        cut: Cut {
            last_seq: lost.last_seq,
            segments: len_u64(names.len().saturating_sub(behind)),
            bytes: lost.bytes,
            cut_ns: 0,
        },
    });
    Ok(())
}

/// How the frames of `opened` in front of `offset` end, where one begins.
fn chain_before(opened: &OpenSegment, offset: u64) -> Result<Chain> {
    let mut chain = opened.header.before;
    let block = u64::from(opened.header.block_size);
    let mut walker = Walker::new(opened.file.clone(), &opened.header, block, READ_AHEAD)?;
    while walker.offset() < offset {
        let Look::Whole(frame, identity) = walker.look_over() else { break };
        chain = Chain::after(&frame, identity);
        walker.pass(&frame);
    }
    if walker.offset() != offset {
        let error = Error::new(Code::Corrupt, "no frame begins where the segment's last mark was");
        return Err(error.at(opened.header.index, offset));
    }
    Ok(chain)
}

/// The header of a segment behind `before`; without one, of the very first.
fn begun(
    directory: &Directory,
    names: &[SegmentName],
    before: Option<&OpenSegment>,
    chain: Chain,
    (log_id, config): (Option<Id>, &Config),
) -> Result<SegmentHeader> {
    let salt = crate::base::random::id()?;
    let mut known = Vec::new();
    for name in names {
        let header = segment::peek_at_rest(directory, name.index)?.ok();
        known.extend(header.filter(|header| log_id.is_none_or(|log_id| log_id == header.log_id)));
    }
    // Also of those that go: the holds may be lost, and nobody would miss them.  A header that nobody can read said it
    // perhaps, and the holds were lost with it: the file itself is left.
    let keeps_holds = known.iter().any(|header| header.keeps_holds);
    if let Some(before) = before {
        let index = before.header.index + 1;
        let before_offset = seal_offset(before, &chain)?;
        return Ok(SegmentHeader {
            index,
            salt,
            first_seq: chain.last_seq + 1,
            before: chain,
            before_offset,
            generation: 0,
            segment_size: size_of_new(&before.header, config)?,
            keeps_holds: keeps_holds || before.header.keeps_holds,
            ..before.header
        });
    }
    // The same log, if any header still says which.
    let fresh = crate::base::random::id()?;
    let (log_id, history_id, block_size, segment_size) = match known.first() {
        Some(header) => (header.log_id, header.history_id, header.block_size, size_of_new(header, config)?),
        None => {
            let block = match config.block_size_asked {
                0 => BLOCK_SIZE_DEFAULT.max(directory.facts().block_align),
                asked => asked,
            };
            (fresh, fresh, block, config.clone().for_log(block)?.segment_size)
        }
    };
    Ok(SegmentHeader {
        index: 1,
        created_ns: 0,
        block_size,
        segment_size,
        first_seq: 1,
        log_id,
        history_id,
        salt,
        keeps_holds,
        generation: 0,
        before: Chain::default(),
        before_offset: 0,
    })
}

/// As large as this one, unless compaction made it smaller.
fn size_of_new(header: &SegmentHeader, config: &Config) -> Result<u64> {
    if header.is_compacted() {
        return Ok(config.clone().for_log(header.block_size)?.segment_size);
    }
    Ok(header.segment_size)
}

/// What a new segment's header says of the place of the seal of `before`, behind which `chain` begins.
fn seal_offset(before: &OpenSegment, chain: &Chain) -> Result<u64> {
    let block = u64::from(before.header.block_size);
    let mut stream = Stream::new(before.file.clone(), &before.header)?;
    let there = short::bytes_there(before)?;
    let mut at = block;
    while at + len_u64(FRAME_HEADER_LEN) <= there {
        if matches!(stream.header_at(at), Ok(Some(frame)) if frame.has(FLAG_SEAL)) {
            if let Glimpse::Whole(frame, identity, Body { seal: Some(seal), .. }) = stream.look(at) {
                let (end, offset) = seal.end(Chain::after(&frame, identity), at);
                if end == *chain {
                    return Ok(offset);
                }
            }
        }
        at = stream.next_block(at);
    }
    Err(Error::new(Code::Corrupt, "the segment's seal has gone since it was read").in_segment(before.name.index))
}
