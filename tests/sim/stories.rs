//! What seeds once found, told by hand: each of these failed.

use twal::disk::sim::{CallKind, Keep, Stop};
use twal::{Code, Durability, Entry, How, Options};

use super::faults::machine;
use super::model::{read_next, require, Verdict};
use super::world::{Machine, Story};

const SYNC: How = How { sync: Some(true), no_wait: false };

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
