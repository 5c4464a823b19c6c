//! What seeds once found, told by hand: each of these failed.

use twal::disk::sim::{CallKind, Keep, Stop};
use twal::{Code, Durability, Entry, How, Options};

use super::faults::machine;
use super::model::{read_next, require, Verdict};
use super::world::{verified, Machine, Story};

const SYNC: How = How { sync: Some(true), no_wait: false };
const NO_SYNC: How = How { sync: Some(false), no_wait: false };

fn entry(data: &[u8]) -> Entry<'_> {
    Entry { data, stream: 0, timestamp: None, kind: 0x0100, required: false }
}

/// An append takes a spare, closes the old segment to data, and then finds the
/// ring full: AGAIN.  A roll has to begin that segment; it waited for ever.
/// Where in the segment that happens differs, so every place is tried.
pub fn roll_after_a_refused_append(seed: u64, story: &mut Story) -> Verdict {
    let small = machine(seed);
    let options = Options { segment_records_max: 0, ring_size: 8 << 10, ..small.options.clone() };
    let machine = Machine { options, ..small };
    let log = machine.open().map_err(|error| error.to_string())?;
    for _ in 0..seed {
        log.append(&entry(&[1; 900]), SYNC).map_err(|error| error.to_string())?;
    }
    log.tick();
    let no_wait = How { sync: Some(false), no_wait: true };
    while log.append(&entry(&[2; 3000]), no_wait).is_ok() {}
    story.say(format!("roll at {}", log.last_seq()));
    log.roll().map_err(|error| format!("roll: {error}"))?;
    let last = log.last_seq();
    require!(log.durable_seq() == last, "rolled, and {} of {last} is durable", log.durable_seq());
    log.close().map_err(|error| format!("close: {error}"))
}

/// A reader follows the newest segment; rolls and a trim later its file would
/// be a new segment, and the reader said "nothing yet" for ever.
pub fn a_reader_is_told_that_its_segment_went(seed: u64, story: &mut Story) -> Verdict {
    let machine = machine(seed);
    let failed = |error: twal::Error| error.to_string();
    let log = machine.open().map_err(failed)?;
    log.append(&entry(b"one"), SYNC).map_err(failed)?;
    log.roll().map_err(failed)?;
    log.append(&entry(b"two"), SYNC).map_err(failed)?;
    log.append(&entry(b"three"), SYNC).map_err(failed)?;
    let reader = machine.open_to_read().map_err(failed)?;
    let mut iter = reader.iter(0).map_err(failed)?;
    let mut last_read = 0;
    while let Some(read) = read_next(&mut iter).map_err(failed)? {
        last_read = read.seq;
    }
    story.say(format!("read up to {last_read}"));
    require!(last_read >= 2, "witnessed was 2, read {last_read}");
    for round in 0..8u64 {
        for _ in 0..10 {
            log.append(&entry(&round.to_le_bytes()), SYNC).map_err(failed)?;
        }
        log.roll().map_err(failed)?;
        log.tick();
        log.trim(log.last_seq()).map_err(failed)?;
    }
    loop {
        match read_next(&mut iter) {
            Ok(Some(read)) => {
                require!(read.seq == last_read + 1, "{} follows {last_read}", read.seq);
                last_read = read.seq;
            }
            Ok(None) => return Err(format!("a reader at {last_read} of {} waits for ever", log.last_seq())),
            Err(error) => {
                require!(error.code == Code::Trimmed, "{:?} {error}", error.code);
                return log.close().map_err(failed);
            }
        }
    }
}

/// A durable record that nothing witnesses, behind it a frame that no flush
/// covered: the mark is written, and the writer sleeps until there is more to do.
pub fn an_idle_log_is_witnessed_and_sleeps(seed: u64, _story: &mut Story) -> Verdict {
    let small = machine(seed);
    let options = Options {
        durability: Some(Durability::Sync),
        idle_mark_us: 100,
        flush_interval_ms: 1000,
        ..small.options.clone()
    };
    let machine = Machine { options, ..small };
    let failed = |error: twal::Error| error.to_string();
    let log = machine.open().map_err(failed)?;
    log.append(&entry(b"one"), SYNC).map_err(failed)?;
    log.append(&entry(b"two"), How { sync: Some(false), no_wait: false }).map_err(failed)?;
    log.tick();
    let marks = log.stats().marks;
    for _ in 0..50 {
        machine.pass_us(200);
        log.tick();
    }
    let more = log.stats().marks - marks;
    require!(more == 1, "{more} marks for one record");
    // Without the fix this spins: no time passes.
    log.wait(0, None).map_err(failed)?;
    log.close().map_err(failed)
}

/// A reader saw frames that nothing witnessed.  A failed flush took them back and
/// the next writer put others in their place: the reader called those damaged, or
/// delivered from what it had read ahead.
pub fn a_reader_forgets_what_was_taken_back(seed: u64, story: &mut Story) -> Verdict {
    let machine = machine(seed);
    let failed = |error: twal::Error| error.to_string();
    let no_sync = How { sync: Some(false), no_wait: false };
    let log = machine.open().map_err(failed)?;
    log.append(&entry(b"kept"), SYNC).map_err(failed)?;
    log.append(&entry(b"kept too"), SYNC).map_err(failed)?;
    let reader = machine.open_to_read().map_err(failed)?;
    let mut iter = reader.iter(0).map_err(failed)?;
    require!(read_next(&mut iter).map_err(failed)?.is_some_and(|read| read.seq == 1), "1 is witnessed");
    for _ in 0..3 {
        log.append(&entry(&[b'x'; 3000]), no_sync).map_err(failed)?;
        machine.pass_us(1000);
        log.tick();
    }
    // Looks as far as it can: the frames are there, nothing says that they are durable.
    while read_next(&mut iter).map_err(failed)?.is_some() {}
    // Reads them ahead of what it delivers.
    let mut ahead = reader.iter(0).map_err(failed)?;
    while read_next(&mut ahead).map_err(failed)?.is_some() {}
    machine.disk.set_keep(Keep::Nothing);
    machine.disk.fail_kind(CallKind::Sync, 0, libc::EIO);
    require!(log.sync(0).is_err_and(|error| error.code == Code::Io), "a flush that failed is told");
    require!(log.close().is_err(), "a poisoned log says so at its close");
    machine.disk.clear_faults();
    let log = machine.open().map_err(failed)?;
    story.say(format!("opened again at {}", log.last_seq()));
    story.count(if log.last_seq() < 5 { "taken back" } else { "not taken back" });
    let mut expected: Vec<Vec<u8>> = Vec::new();
    let mut all = log.iter(0).map_err(failed)?;
    while let Some(record) = all.next_record().map_err(failed)? {
        expected.push(record.data.to_vec());
    }
    for round in 0..6u8 {
        log.append(&entry(&[round; 700]), SYNC).map_err(failed)?;
        expected.push(vec![round; 700]);
    }
    log.roll().map_err(failed)?;
    let mut readers = [(iter, 2), (ahead, 2)];
    for _ in 0..3 {
        // Long enough for the reader to look for a witness behind where it stands.
        machine.pass_us(1_100_000);
        log.tick();
        for (iter, next) in &mut readers {
            while let Some(record) = iter.next_record().map_err(failed)? {
                let right = record.seq as usize == *next + 1 && record.data == expected[*next];
                require!(right, "record {} is not the one that was acknowledged", record.seq);
                *next += 1;
            }
        }
    }
    for (_, next) in &readers {
        require!(*next == expected.len(), "a reader ends at {next} of {}", expected.len());
    }
    log.close().map_err(failed)
}

/// A trim renames two segments and fails at the third, for want of room: the two new names are not flushed.  The
/// next trim releases nothing and removes the first; if that were durable and the second's new name lost, the
/// oldest file would be one that is neither the first nor archived.  The power goes at every step of that.
pub fn elders_go_after_the_names_that_say_so(seed: u64, story: &mut Story) -> Verdict {
    let failed = |error: twal::Error| error.to_string();
    for step in 0.. {
        let machine = machine(seed);
        let log = machine.open().map_err(failed)?;
        for _ in 0..5 {
            log.append(&entry(b"kept"), SYNC).map_err(failed)?;
            log.roll().map_err(failed)?;
        }
        machine.disk.fail_kind(CallKind::Rename, 2, libc::ENOSPC);
        let refused = log.trim(5).map_err(|error| error.code);
        require!(refused == Err(Code::NoSpc) && !log.stats().poisoned, "a name had no room: {refused:?}");
        machine.disk.stop_at(machine.disk.steps() + step, Stop::PowerCut);
        story.say(format!("power cut at step {step} of the next trim"));
        let trimmed = log.trim(0);
        drop(log);
        if !machine.disk.restart() {
            return trimmed.map_err(failed);
        }
        story.count("power cuts");
        let log = machine.reopen()?;
        require!(log.last_seq() == 5, "ends at {}", log.last_seq());
    }
    Ok(())
}

/// A released file becomes a spare, and then a segment.  Wherever the power goes: no file has its old name and its new
/// content.  Nobody reads it, but whoever verifies the log would be told of damage.
pub fn a_recycled_file_lost_its_old_name_first(seed: u64, story: &mut Story) -> Verdict {
    let failed = |error: twal::Error| error.to_string();
    for step in 0.. {
        let machine = machine(seed);
        machine.disk.set_keep(if seed.is_multiple_of(2) { Keep::Nothing } else { Keep::Random });
        let log = machine.open().map_err(failed)?;
        // The keeper has no time to prepare a spare: the next segment is a recycled one.
        let roll = || log.append(&entry(b"kept"), SYNC).and_then(|_| log.roll());
        for _ in 0..5 {
            roll().map_err(failed)?;
        }
        machine.disk.stop_at(machine.disk.steps() + step, Stop::PowerCut);
        story.say(format!("power cut at step {step} of a trim and what is made of it"));
        let done = log.trim(5).and_then(|()| (0..4).try_for_each(|_| roll()));
        let recycled = log.stats().segments_recycled;
        drop(log);
        if !machine.disk.restart() {
            require!(recycled > 0, "nothing was recycled");
            return done.map_err(failed);
        }
        story.count("power cuts");
        require!(verified(&machine, seed)?.is_some_and(|last| last >= 5), "not all is there");
    }
    Ok(())
}

/// Only who was there when it failed is told of the failure itself; who comes later, of the state.
pub fn later_callers_are_told_of_the_state(seed: u64, _story: &mut Story) -> Verdict {
    let machine = machine(seed);
    let failed = |error: twal::Error| error.to_string();
    let log = machine.open().map_err(failed)?;
    log.append(&entry(b"durable"), SYNC).map_err(failed)?;
    log.append(&entry(b"not yet"), How { sync: Some(false), no_wait: false }).map_err(failed)?;
    machine.disk.fail_kind(CallKind::Write, 0, libc::EIO);
    let first = log.sync(0).map_err(|error| error.code);
    require!(first == Err(Code::Io), "who meets the failure: {first:?}");
    let code = |result: Result<(), twal::Error>| result.map_err(|error| (error.code, error.os_errno));
    let poisoned = Err((Code::Poisoned, libc::EIO));
    require!(code(log.sync(0)) == poisoned && code(log.sync(1)) == poisoned, "sync after it");
    require!(code(log.wait(2, None)) == poisoned && code(log.wait(2, Some(0))) == poisoned, "wait after it");
    require!(code(log.wait(1, None)) == Ok(()), "what was durable before is");
    require!(code(log.append(&entry(b"later"), SYNC).map(drop)) == poisoned, "append after it");
    require!(code(log.roll()) == poisoned && code(log.trim(1)) == poisoned, "roll and trim after it");
    require!(code(log.close()) == poisoned, "close after it");
    Ok(())
}

/// While a flush is on its way another frame is written, and the flush that is to cover that one fails.  The first
/// flush does not cover it, and must not say so.
pub fn a_flush_claims_only_what_came_before_it(seed: u64, _story: &mut Story) -> Verdict {
    let machine = quiet(machine(seed));
    let failed = |error: twal::Error| error.to_string();
    let log = machine.open().map_err(failed)?;
    log.append(&entry(b"before"), NO_SYNC).map_err(failed)?;
    machine.pass_us(2000);
    log.tick();
    require!(log.durable_seq() == 0, "flushed, and nobody asked for it");
    let (frames, syncs) = (log.stats().frames, machine.disk.counts().of(CallKind::Sync));
    let (beside, disk) = (log.clone(), machine.disk.clone());
    machine.disk.behind_next_flush(Box::new(move || {
        disk.fail_kind(CallKind::Sync, 0, libc::EIO);
        beside.append(&entry(b"beside it"), NO_SYNC).expect("appends");
        // Somebody wants it durable: it is written, and flushed.
        beside.sync_async(0, None).expect("is noted");
        beside.tick();
    }));
    log.sync(1).map_err(failed)?;
    let more = (log.stats().frames - frames, machine.disk.counts().of(CallKind::Sync) - syncs);
    require!(more == (1, 2), "one frame and a flush that failed beside a flush, not {more:?}");
    require!(log.durable_seq() == 1, "{} is called durable", log.durable_seq());
    let cut = machine.crashed(seed, Stop::PowerCut, Keep::Nothing);
    require!(cut.reopen()?.last_seq() >= 1, "1 was durable");
    Ok(())
}

/// A writer dies while a reader looks on: from then on the reader delivers all that is whole, and what it delivered
/// is there after a power cut.
pub fn a_reader_flushes_when_its_writer_died(seed: u64, story: &mut Story) -> Verdict {
    let machine = quiet(machine(seed));
    let failed = |error: twal::Error| error.to_string();
    let log = machine.open().map_err(failed)?;
    log.append(&entry(b"durable"), SYNC).map_err(failed)?;
    log.append(&entry(b"durable too"), SYNC).map_err(failed)?;
    let reader = machine.open_to_read().map_err(failed)?;
    let mut iter = reader.iter(0).map_err(failed)?;
    let mut delivered = 0;
    while let Some(read) = read_next(&mut iter).map_err(failed)? {
        delivered = read.seq;
    }
    require!(delivered <= 2, "{delivered} was delivered, 2 are durable");
    for _ in 0..3 {
        log.append(&entry(&[b'x'; 900]), NO_SYNC).map_err(failed)?;
        machine.pass_us(2000);
        log.tick();
    }
    let (durable, last) = (log.durable_seq(), log.last_seq());
    require!(durable < last && log.stats().ring_bytes == 0, "written and not flushed: {:?}", log.stats());
    // It dies of a write that fails: from then on it flushes nothing, and gives its locks back.
    machine.disk.fail_kind(CallKind::Write, 0, libc::EIO);
    let _ = log.append(&entry(b"fails"), SYNC);
    require!(log.close().is_err(), "a poisoned log says so at its close");
    machine.disk.clear_faults();
    while let Some(read) = read_next(&mut iter).map_err(failed)? {
        delivered = read.seq;
    }
    require!(delivered >= last, "with no writer there all that is whole is delivered, not only {delivered} of {last}");
    story.say(format!("delivered up to {delivered}"));
    let cut = machine.crashed(seed, Stop::PowerCut, Keep::Nothing);
    let there = cut.reopen()?.last_seq();
    require!(there >= delivered, "{delivered} was delivered, {there} is there");
    Ok(())
}

/// The same machine, on which nothing is flushed or marked by time.
fn quiet(machine: Machine) -> Machine {
    let options = Options {
        durability: Some(Durability::Async),
        flush_interval_ms: 1_000_000,
        idle_mark_us: 1_000_000_000,
        ..machine.options.clone()
    };
    Machine { options, ..machine }
}
