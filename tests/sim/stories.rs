//! What seeds once found, told by hand: each of these failed.

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
