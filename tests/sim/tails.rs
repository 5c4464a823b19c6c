//! Tails that are cut again and again.

use twal::disk::sim::Stop;
use twal::{Durability, How, Options};

use super::model::{Given, Verdict};
use super::run::{Run, PLAN};
use super::world::Story;

/// Many short lives of small frames of few sizes, written and seldom flushed:
/// tails are cut again and again, and what was cut lies exactly where the next
/// life's frames end.  None of it may come back.
pub fn cut_tails(seed: u64, story: &mut Story) -> Verdict {
    let mut run = Run::new(seed, PLAN, story);
    run.machine.options = Options {
        block_size: 512,
        segment_size: 64 << 10,
        durability: Some(Durability::Async),
        flush_interval_ms: 1_000_000,
        idle_mark_us: 1_000_000,
        ..Options::default()
    };
    run.machine.disk.set_align(512, 512);
    run.machine.disk.set_tear_unit(512);
    for _ in 0..12 {
        let log = run.machine.reopen()?;
        run.check_opened(&log)?;
        if log.report().tail == twal::Tail::Torn {
            run.story.count("opened torn");
        }
        for _ in 0..run.rng.within(1, 6) {
            let len = run.rng.pick(&[100, 100, 700]);
            let given = run.record(len);
            let given = Given { len: len as usize, ..given };
            run.append_all(&log, vec![given], How { sync: Some(false), no_wait: false })?;
            run.machine.pass_us(1000);
            log.tick();
            if run.rng.percent(5) {
                run.sync(&log)?;
            }
        }
        if run.rng.percent(30) {
            // In the middle of a frame, with others before it unflushed.
            run.machine.disk.stop_at(run.machine.disk.steps(), Stop::PowerCut);
            let given = run.record(700);
            run.append_all(&log, vec![given], How { sync: Some(false), no_wait: false })?;
            run.machine.pass_us(1000);
            log.tick();
            run.machine.disk.restart();
        } else {
            run.machine.disk.power_cut();
        }
        run.story.count("power cuts");
    }
    let log = run.machine.reopen()?;
    run.check_opened(&log)
}
