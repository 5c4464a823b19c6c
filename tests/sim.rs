//! The whole log on the simulated disk: whatever a crash leaves, what was
//! acknowledged is there.
//!
//! Method: random callers' lives from a seed, judged by a model that knows only
//! what was handed in and what was promised (`sim/model.rs`).  Every crash is
//! followed by more than one recovery.  `TWAL_SEED=n` plays one seed and tells
//! its story, `TWAL_SIM_SEEDS=n` sets how many the main test plays.
#![forbid(unsafe_code)]
#![allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_possible_wrap)]

#[path = "sim/faults.rs"]
mod faults;
#[path = "sim/model.rs"]
mod model;
#[path = "sim/notices.rs"]
mod notices;
#[path = "sim/rng.rs"]
mod rng;
#[path = "sim/rot.rs"]
mod rot;
#[path = "sim/run.rs"]
mod run;
#[path = "sim/stories.rs"]
mod stories;
#[path = "sim/threads.rs"]
mod threads;
#[path = "sim/world.rs"]
mod world;

use run::{Plan, Run, PLAN};
use world::{play, play_one, DEFAULT_SEEDS};

#[test]
fn random_lives_lose_nothing() {
    play(
        "random_lives_lose_nothing",
        DEFAULT_SEEDS,
        &[
            "disk full",
            "opened torn",
            "opened with frames rewritten",
            "poisoned",
            "reader polls",
            "readers trimmed away",
        ],
        |seed, story| Run::new(seed, PLAN, story).play(),
    );
}

#[test]
fn cut_tails_never_come_back() {
    play("cut_tails_never_come_back", 1000, &["opened torn"], run::cut_tails);
}

#[test]
fn rot_is_refused_and_never_shortens() {
    play(
        "rot_is_refused_and_never_shortens",
        200,
        &["rot: refused", "rot: found by reading", "rot: last frame without a witness"],
        rot::rot,
    );
}

#[test]
fn misplaced_files_are_refused() {
    play("misplaced_files_are_refused", 300, &["rot: refused"], rot::misplaced);
}

#[test]
fn a_spot_that_does_not_read_is_not_the_end() {
    play("a_spot_that_does_not_read_is_not_the_end", 150, &["bad reads: refused"], rot::bad_reads);
}

#[test]
fn every_call_may_fail() {
    play("every_call_may_fail", 28, &["appends refused", "opens refused"], faults::every_call_fails);
}

#[test]
fn a_crash_at_every_step() {
    play(
        "a_crash_at_every_step",
        8,
        &["crash states with late writes", "opened torn", "opened with frames rewritten"],
        faults::every_step_stops,
    );
}

#[test]
fn many_threads_and_a_crash() {
    play("many_threads_and_a_crash", 60, &["kills", "power cuts"], threads::many_threads);
}

#[test]
fn stories() {
    play("roll_after_a_refused_append", 80, &[], stories::roll_after_a_refused_append);
    play("a_reader_is_told_that_its_segment_went", 1, &[], stories::a_reader_is_told_that_its_segment_went);
    play(
        "a_reader_forgets_what_was_taken_back",
        40,
        &["taken back", "not taken back"],
        stories::a_reader_forgets_what_was_taken_back,
    );
    play("an_idle_log_is_witnessed_and_sleeps", 1, &[], stories::an_idle_log_is_witnessed_and_sleeps);
    play("later_callers_are_told_of_the_state", 1, &[], stories::later_callers_are_told_of_the_state);
}

/// The alarm rings: no log can survive a disk that lies about its flushes.
#[test]
fn canary_lying_flushes_are_caught() {
    let plan = Plan { lies: true, ..PLAN };
    let caught = (0..20)
        .find(|&seed| play_one("canary", seed, false, |seed, story| Run::new(seed, plan, story).play()).is_err());
    println!("caught by seed {caught:?}");
    assert!(caught.is_some(), "a disk that never flushes passes for a good one");
}
