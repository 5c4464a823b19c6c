//! A failing run, cut down to a short story.
//!
//! Any script is a legal one, so pieces are left out as long as the run still
//! fails: whole lives, then runs of pieces, half of them down to one by one,
//! then what surrounds them.  What is left is played once more for its story.

use twal::disk::sim::Keep;

use super::model::Verdict;
use super::run::{Plan, Run};
use super::script::{End, Life, Script};
use super::world::{caught, Story};

/// So often a failing script is played before what is left has to do.
const PLAYS_MAX: u32 = 1500;

/// Plays the script that `seed` draws; if that fails, says so with the shortest story found.
pub fn play(seed: u64, plan: Plan, story: &mut Story) -> Verdict {
    let script = Script::draw(seed, plan);
    let Err(text) = caught(|| Run::play(&script, story)) else { return Ok(()) };
    let short = shrink(&script);
    let mut told = Story::new(seed, false);
    let again = caught(|| Run::play(&short, &mut told)).err();
    Err(format!(
        "{text}\n\n---- cut down from {} lives and pieces to {}: tear unit {} ----\n{}\n>>> {}",
        script.size(),
        short.size(),
        short.ground.tear_unit,
        told.text(),
        again.as_deref().unwrap_or("does not fail a second time: not all of it is the seed's"),
    ))
}

fn fails(script: &Script) -> bool {
    caught(|| Run::play(script, &mut Story::new(0, false))).is_err()
}

/// The smallest script found that fails, of one that does.
pub fn shrink(script: &Script) -> Script {
    let mut best = script.clone();
    let mut plays = PLAYS_MAX;
    let mut try_it = |best: &mut Script, shorter: Script| {
        let better = plays > 0 && fails(&shorter);
        plays = plays.saturating_sub(1);
        if better {
            *best = shorter;
        }
        better
    };
    loop {
        let before = best.size();
        for life in (0..best.lives.len()).rev() {
            let mut shorter = best.clone();
            shorter.lives.remove(life);
            try_it(&mut best, shorter);
        }
        for life in (0..best.lives.len()).rev() {
            let mut len = best.lives[life].pieces.len().div_ceil(2);
            while len > 0 {
                let mut end = best.lives[life].pieces.len();
                while end > 0 {
                    let mut shorter = best.clone();
                    shorter.lives[life].pieces.drain(end.saturating_sub(len)..end);
                    try_it(&mut best, shorter);
                    end = end.saturating_sub(len);
                }
                len /= 2;
            }
        }
        if best.size() == before {
            break;
        }
    }
    type Change = fn(&mut Life);
    let plainer: [Change; 7] = [
        |life| life.stop = None,
        |life| life.full = false,
        |life| life.keep = Keep::Nothing,
        |life| life.end = End::Close,
        |life| life.options.segment_records_max = 0,
        |life| life.options.verify = false,
        |life| life.pieces.iter_mut().for_each(|piece| piece.within = false),
    ];
    for life in 0..best.lives.len() {
        for change in plainer {
            let mut other = best.clone();
            change(&mut other.lives[life]);
            try_it(&mut best, other);
        }
    }
    best
}
