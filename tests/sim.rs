//! The whole log on the simulated disk: whatever a crash leaves, what was
//! acknowledged is there.
//!
//! Method: random callers' lives from a seed (`sim/script.rs`), judged by a model
//! that knows only what was handed in and what was promised (`sim/model.rs`).
//! Every crash is followed by more than one recovery, and a run that fails is cut
//! down to a short story (`sim/shrink.rs`).  `TWAL_SEED=n` plays one seed and tells
//! its story, `TWAL_SIM_SEEDS=n` sets how many the main test plays.
#![forbid(unsafe_code)]
#![allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_possible_wrap)]

#[path = "sim/acts.rs"]
mod acts;
#[path = "sim/between.rs"]
mod between;
#[path = "sim/compaction.rs"]
mod compaction;
#[path = "sim/compaction_stories.rs"]
mod compaction_stories;
#[path = "sim/faults.rs"]
mod faults;
#[path = "sim/holds.rs"]
mod holds;
#[path = "sim/kept.rs"]
mod kept;
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
#[path = "sim/script.rs"]
mod script;
#[path = "sim/shrink.rs"]
mod shrink;
#[path = "sim/soak.rs"]
mod soak;
#[path = "sim/stories.rs"]
mod stories;
#[path = "sim/tails.rs"]
mod tails;
#[path = "sim/threads.rs"]
mod threads;
#[path = "sim/upkeep.rs"]
mod upkeep;
#[path = "sim/world.rs"]
mod world;

use model::Verdict;
use run::{Plan, PLAN};
use script::Broken;
use world::{play, play_many, play_one, DEFAULT_SEEDS};

/// What `random_lives_lose_nothing` tries at least, so that it cannot shrink in silence.
const CRASH_STATES_MIN: u64 = 20_000;

/// Rows B and C of the table of `recover/verdict.rs` are not for a crash to reach: those are in the rot tests.
#[test]
fn random_lives_lose_nothing() {
    play_many(
        "random_lives_lose_nothing",
        DEFAULT_SEEDS,
        CRASH_STATES_MIN,
        &[
            "batches larger than the ring",
            "crash states verified",
            "crash states with late writes",
            "crash states within a call",
            "disk full",
            "files torn",
            "frames that overtook another",
            "holds dropped",
            "holds set",
            "holds set by readers",
            "marks",
            "names lost",
            "old file sizes",
            "opened on a full disk",
            "opened torn",
            "opened with frames rewritten",
            "poisoned",
            "reader polls",
            "readers trimmed away",
            "rollovers",
            "segments acknowledged as archived",
            "segments recycled",
            "row A: taken",
            "row D: torn, our header and a follower",
            "row D: torn, no header and a follower",
            "row E: torn, our header",
            "row F: end",
        ],
        |seed, story| shrink::play(seed, PLAN, story),
    );
}

#[test]
fn cut_tails_never_come_back() {
    play("cut_tails_never_come_back", 1000, &["opened torn"], tails::cut_tails);
}

#[test]
fn rot_is_refused_and_never_shortens() {
    play(
        "rot_is_refused_and_never_shortens",
        200,
        &[
            "rot: refused",
            "rot: found by reading",
            "rot: last frame without a witness",
            "row C: rot, our header",
            "row C: rot, no header",
        ],
        rot::rot,
    );
}

#[test]
fn misplaced_files_are_refused() {
    play("misplaced_files_are_refused", 300, &["rot: refused"], rot::misplaced);
}

#[test]
fn a_spot_that_does_not_read_is_not_the_end() {
    let met = ["bad reads: refused", "row B: unreadable"];
    play("a_spot_that_does_not_read_is_not_the_end", 150, &met, rot::bad_reads);
}

#[test]
fn every_call_may_fail() {
    let met = ["appends refused", "opens refused", "frames that overtook another"];
    play("every_call_may_fail", faults::case_count(), &met, faults::every_call_fails);
}

#[test]
fn a_crash_at_every_step() {
    play(
        "a_crash_at_every_step",
        8,
        &[
            "crash states with late writes",
            "frames that overtook another",
            "opened torn",
            "opened with frames rewritten",
        ],
        faults::every_step_stops,
    );
}

#[test]
fn compactions_beside_writers_and_readers() {
    play(
        "compactions_beside_writers_and_readers",
        60,
        &["segments compacted", "records purged", "readers beside a compaction", "names lost"],
        compaction::beside_writers_and_readers,
    );
}

#[test]
fn a_compaction_may_be_stopped_at_any_step() {
    play(
        "a_compaction_may_be_stopped_at_any_step",
        8,
        &["segments compacted", "stops", "names lost", "old file sizes"],
        compaction::every_step_stops,
    );
}

#[test]
fn every_call_of_a_compaction_may_fail() {
    play(
        "every_call_of_a_compaction_may_fail",
        compaction::case_count(),
        &["segments compacted", "failed calls"],
        compaction::every_call_fails,
    );
}

#[test]
fn what_a_compaction_wrote_is_read_back() {
    play("what_a_compaction_wrote_is_read_back", 24, &[], compaction_stories::lost_writes);
}

#[test]
fn a_reader_comes_back_to_a_compacted_log() {
    play("a_reader_comes_back_to_a_compacted_log", 2, &[], compaction_stories::a_reader_comes_back_late);
}

#[test]
fn a_compaction_ends_at_damage() {
    play("a_compaction_ends_at_damage", 40, &["damage met"], compaction_stories::damage);
}

#[test]
fn a_reader_finds_its_place_in_a_compacted_segment() {
    let story = compaction_stories::a_reader_finds_its_place_in_the_new_file;
    play("a_reader_finds_its_place_in_a_compacted_segment", 4, &["readers that changed files"], story);
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
    let elders = stories::elders_go_after_the_names_that_say_so;
    play("elders_go_after_the_names_that_say_so", 40, &["power cuts"], elders);
    let recycled = stories::a_recycled_file_lost_its_old_name_first;
    play("a_recycled_file_lost_its_old_name_first", 8, &["power cuts"], recycled);
    play("an_idle_log_is_witnessed_and_sleeps", 1, &[], stories::an_idle_log_is_witnessed_and_sleeps);
    play("later_callers_are_told_of_the_state", 1, &[], stories::later_callers_are_told_of_the_state);
    play("a_flush_claims_only_what_came_before_it", 4, &[], stories::a_flush_claims_only_what_came_before_it);
    play("a_reader_flushes_when_its_writer_died", 4, &[], stories::a_reader_flushes_when_its_writer_died);
}

/// Not in `make check`: SOAK_SECONDS, SOAK_JOBS and SOAK_SEED say how long, on how many threads, from where.
#[test]
#[ignore = "runs as long as it is told: make soak"]
fn soak_as_long_as_told() {
    soak::soak();
}

/// The alarm rings, and says why in a few steps: no log can survive such disks.
#[test]
fn canaries_are_caught_and_cut_down() {
    for (broken, least) in [(Broken::FlushesLie, 20), (Broken::LosesWrites, 60)] {
        let plan = Plan { broken: Some(broken), ..PLAN };
        let run = |seed, story: &mut world::Story| shrink::play(seed, plan, story);
        let caught = (0..least).find_map(|seed| play_one("canary", seed, false, run).err());
        let text = caught.unwrap_or_else(|| panic!("a disk that is broken passes for a good one: {broken:?}"));
        let (_, short) = text.split_once("---- cut down").expect("it is cut down");
        println!("{broken:?} is caught:{short}");
        let steps =
            short.split_once("\n").expect("a story").1.lines().take_while(|line| !line.starts_with(">>>")).count();
        assert!(steps <= 12, "{steps} steps are no short story:\n{short}");
        assert!(!short.contains("does not fail a second time"), "what was cut down does not fail:\n{short}");
    }
}
