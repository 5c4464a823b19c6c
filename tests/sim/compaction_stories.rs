//! Compactions that meet one thing each: a write that is lost, a reader whose
//! file rots.

use twal::disk::sim::{Keep, Stop};
use twal::{Code, CompactOptions, Entry, How};

use super::compaction::{check_crashed, machine, Life};
use super::kept::STEP;
use super::model::{read_from, read_next, require, Verdict};
use super::rng::Rng;
use super::world::Story;

/// A write of a compaction that was acknowledged and is not there, or elsewhere: the old file is still what counts.
pub fn lost_writes(seed: u64, story: &mut Story) -> Verdict {
    let mut rng = Rng::new(seed);
    let machine = machine(rng.next());
    let mut life = Life::new(machine.clone(), rng.next(), story);
    let log = machine.reopen()?;
    life.fill(&log, 30)?;
    let mut asked = 0;
    let result = log.compact(&CompactOptions { below_seq: u64::MAX, saving_min: 0 }, &mut |candidate| {
        asked += 1;
        if asked == 1 {
            if seed.is_multiple_of(2) {
                machine.disk.lose_next_write();
            } else {
                machine.disk.misdirect_next_write(512 * rng.pick(&[-1, 1, 2]));
            }
        }
        candidate.record.seq % 3 == 0
    });
    match result {
        Err(error) => require!(error.code == Code::Io, "{:?} {error}", error.code),
        Ok(done) => return Err(format!("a write was lost, and nobody noticed: {done:?}")),
    }
    require!(!log.stats().poisoned, "poisoned by a file that is none of the log's");
    life.known.borrow().check(&log)?;
    let crashed = machine.crashed(rng.next(), Stop::PowerCut, Keep::Random);
    check_crashed(&crashed, &life.known.into_inner(), seed, story)
}

/// A segment that rots is left as it is, byte for byte, with everything behind it; what is in front of it is done.
pub fn damage(seed: u64, story: &mut Story) -> Verdict {
    let mut rng = Rng::new(seed);
    let machine = machine(rng.next());
    let mut life = Life::new(machine.clone(), rng.next(), story);
    let log = machine.reopen()?;
    life.fill(&log, 40)?;
    let mut sealed = machine.disk.names();
    sealed.retain(|name| name.ends_with("sealed"));
    require!(sealed.len() >= 3, "only {sealed:?}");
    let bad = rng.below(sealed.len() as u64) as usize;
    // The header of the first frame.
    machine.disk.flip_bit(&sealed[bad], 512 + rng.below(128), rng.below(8) as u8);
    let before: Vec<_> = sealed.iter().map(|name| machine.disk.content(name)).collect();
    let all = CompactOptions { below_seq: u64::MAX, saving_min: 0 };
    let result = log.compact(&all, &mut |_| false);
    let error = result.err().ok_or("damage is not noticed")?;
    require!(error.code == Code::Corrupt && error.segment > 0, "{:?} {error}", error.code);
    for (at, name) in sealed.iter().enumerate() {
        let changed = machine.disk.content(name) != before[at];
        require!(changed == (at < bad), "{name}, the damaged one is {}: changed is {changed}", sealed[bad]);
    }
    require!(log.stats().segments_compacted == bad as u64 && !log.stats().poisoned, "{:?}", log.stats());
    let appended = Life::append(&life.known, &mut rng, &log)?;
    require!(appended, "no append after damage was met");
    story.count("damage met");
    Ok(())
}

/// A reader that skips damage holds the old file, which rots after its content was copied; the new one is whole.
/// It goes on in that, where what it has not read yet begins.
pub fn a_reader_finds_its_place_in_the_new_file(seed: u64, story: &mut Story) -> Verdict {
    let mut machine = machine(seed);
    machine.options.segment_size = 512 << 10;
    machine.options.segment_records_max = 0;
    let data = vec![7; 3000];
    let entry = Entry { data: &data, stream: 1, timestamp: None, kind: STEP, required: false };
    // Two epochs in one segment: records of both never share a frame.
    for _ in 0..2 {
        let log = machine.reopen()?;
        for _ in 0..60 {
            log.append(&entry, How::default()).map_err(|error| format!("append: {error}"))?;
        }
        log.close().map_err(|error| format!("close: {error}"))?;
    }
    let log = machine.reopen()?;
    log.roll().map_err(|error| format!("roll: {error}"))?;
    let options = twal::IterOptions { skip_damaged: true, ..twal::IterOptions::default() };
    let mut iter = log.iter_with(options).map_err(|error| format!("a reader: {error}"))?;
    let mut seqs = vec![read_next(&mut iter).map_err(|error| format!("{error}"))?.map_or(0, |read| read.seq)];
    let disk = machine.disk.clone();
    let mut left = true;
    machine.disk.between_units(Some(Box::new(move |name, _| {
        // By then all of the segment was read for the second time.
        if name.contains("spare") && std::mem::take(&mut left) {
            let sealed = disk.names().into_iter().find(|name| name.ends_with("sealed")).expect("it was rolled");
            for at in 30..35 {
                disk.overwrite(&sealed, at * 3584 + 512, &[0; 512]);
            }
        }
    })));
    let done = log.compact(&CompactOptions { below_seq: u64::MAX, saving_min: 0 }, &mut |candidate| {
        // So few of the first epoch that the second begins in front of where the old file is damaged.
        let seq = candidate.record.seq;
        if seq <= 60 {
            seq % 3 == 1
        } else {
            seq % 5 != 0
        }
    });
    machine.disk.between_units(None);
    let done = done.map_err(|error| format!("compact: {error}"))?;
    require!(done.segments == 1 && done.records_purged == 40 + 12, "{done:?}");
    while let Some(read) = read_next(&mut iter).map_err(|error| format!("the reader stops: {error}"))? {
        seqs.push(read.seq);
    }
    // What it had read ahead of the first epoch, and from the new file all that is kept of the second.
    let second: Vec<u64> = (61..=120).filter(|seq| seq % 5 != 0).collect();
    let of_second: Vec<u64> = seqs.iter().copied().filter(|seq| *seq > 60).collect();
    require!(of_second == second, "{seqs:?}");
    let skipped = iter.skipped();
    // Numbers 59 and 60 were let go: they belong to the first frame of the second epoch.
    require!(skipped.spots == 1 && skipped.last_seq == 58, "{skipped:?}");
    story.count("readers that changed files");
    Ok(())
}

/// A reader of another process that looked last when the log was short: how far it can read now, it learns by
/// walking through segments that were compacted since.
pub fn a_reader_comes_back_late(seed: u64, _story: &mut Story) -> Verdict {
    let machine = machine(seed);
    let log = machine.reopen()?;
    let entry = Entry { data: &[7; 900], stream: 1, timestamp: None, kind: STEP, required: false };
    let append = || log.append(&entry, How::default()).map(drop).map_err(|error| format!("append: {error}"));
    append()?;
    let reader = machine.open_to_read().map_err(|error| format!("a reader: {error}"))?;
    for _ in 0..3 {
        (0..10).try_for_each(|_| append())?;
        log.roll().map_err(|error| format!("roll: {error}"))?;
    }
    let done = log.compact(&CompactOptions { below_seq: u64::MAX, saving_min: 0 }, &mut |candidate| {
        candidate.record.seq % 7 == 0
    });
    require!(done.as_ref().is_ok_and(|done| done.segments >= 3), "{done:?}");
    append()?;
    append()?;
    let (records, error) = read_from(&reader, 0);
    require!(error.is_none(), "the reader stops: {error:?}");
    let seqs: Vec<u64> = records.iter().map(|read| read.seq).collect();
    // The very last record has no witness yet.
    require!(seqs == [7, 14, 21, 28, 32], "{seqs:?}");
    Ok(())
}
