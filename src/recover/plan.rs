//! What it takes to make a damaged log one that opens: a plan that only describes.
//!
//! The rule is the simplest that keeps the second promise: the log keeps
//! everything in front of the first damage, and nothing behind it.
//!
//! ```text
//!    where the first damage is             what is planned
//! A  a frame of segment i                  cut i there; drop every later segment
//! B  segment i as a whole: its header,     drop i and every later segment; begin
//!    its place, or it is missing; it is    a new segment i behind the one before
//!    another log's (then it is isolated),
//!    or does not end as i + 1 says
//! C  nothing is damaged, but the newest    begin a new segment behind it
//!    segment is not active: a newer
//!    one was lost
//! D  something is named as if it were      isolate it (`isolate.rs`); nothing that the log can
//!    twal's, or is no file                  read is lost
//! E  the newest archived segment's header  make both again (`restore.rs`); if that
//!    or seal                               cannot be, none: nothing that can be
//!                                          read is damaged, and to cut would drop it
//! F  a segment lacks bytes at its file's   the file is made as long as it was (`fill.rs`)
//!    end, but nothing that was written
//! ```
//!
//! E and F come beside A to C, which are then meant of what is behind them.  A
//! segment that lacks more is A: it is cut where its file ends.
//!
//! A file that cannot be opened or measured now says nothing: then there is no
//! plan, but the machine's error.
//!
//! Another log's segment is never kept, nor one that does not end as the next
//! one says: that one's header was written when the end was durable.  If such a
//! segment is the first, there is no plan: nothing would be left of the log.
//!
//! A cut and a new segment both get a cut mark: a frame of a new epoch that says
//! what was cut.  It makes leftovers of everything behind it.

mod damage;
mod end;
mod lost;

use super::examine;
use super::fill::Fill;
use super::finding::Acknowledged;
use super::isolate;
use super::restore::Restored;
use crate::base::options::Config;
use crate::base::{Code, Error, Result};
use crate::format::frame::Cut;
use crate::format::{Chain, SegmentHeader};
use crate::segment::directory::Listing;
use crate::segment::{retain, Directory, SegmentName, State, UNFINISHED_REPAIR};
pub use damage::released_damage;
use damage::Looked;
pub(super) use lost::Lost;

/// What is done to one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StepKind {
    /// The segment ends at the offset; what is behind goes.
    Cut,
    /// The segment goes.
    Drop,
    /// What is no segment of this log's, or not under that name, goes.
    Isolate,
    /// A new, empty segment is begun.
    Begin,
    /// Header and seal are written again, as they were; nothing goes.
    Restore,
    /// The file is made as long as it was: behind all that was written bytes are missing; nothing goes.
    Fill,
}

/// One step of a plan.  Each file that is changed or goes is copied first; what is no file is moved.
#[derive(Debug, Clone)]
pub struct Step {
    /// What.
    pub kind: StepKind,
    /// To which file.
    pub file: String,
    /// Its segment's index, of a file that is isolated by its header; 0 if it is none.
    pub segment: u64,
    /// Of a cut, where; of a restoration, the first block that is written; of a file that is filled up, its end now.
    pub offset: u64,
    /// First and last number that goes, as far as can be known; last below first: none.
    pub first_seq: u64,
    /// See `first_seq`.
    pub last_seq: u64,
    /// Whether some of it was acknowledged.
    pub acknowledged: Acknowledged,
}

/// The segment that will be the newest.
pub enum Newest {
    /// It is there, and ends here.
    Kept {
        /// Its name.
        name: SegmentName,
        /// Its header.
        header: SegmentHeader,
        /// Where the cut mark goes.
        offset: u64,
    },
    /// It is to be made.
    Begun(SegmentHeader),
}

/// How the log will end.
pub struct End {
    /// The newest segment.
    pub newest: Newest,
    /// How the frames that are kept end.
    pub chain: Chain,
    /// The cut mark's epoch.
    pub epoch: u64,
    /// What the cut mark says.
    pub cut: Cut,
}

/// A plan.
pub struct Plan {
    /// For people and programs.  None, although something is wrong: an earlier repair is only to be ended.
    pub steps: Vec<Step>,
    /// What was wrong first.
    pub damage: Option<Error>,
    /// None: no records go.
    pub end: Option<End>,
    /// Blocks that are written again before anything else changes.
    pub restored: Option<Restored>,
    /// Files that are made as long as they were.
    pub fills: Vec<Fill>,
    /// An earlier repair was interrupted.
    pub unfinished: bool,
}

impl Plan {
    /// Nothing is damaged: there is nothing to do.
    pub fn changes_nothing(&self) -> bool {
        self.steps.is_empty() && !self.unfinished
    }

    /// What leaves the log's directory.
    pub fn going(&self) -> impl Iterator<Item = &Step> {
        self.steps.iter().filter(|step| matches!(step.kind, StepKind::Drop | StepKind::Isolate))
    }
}

/// Plans; `listing` was scanned under the writer's lock.  Where no header is left that says the sizes, `config` does.
pub fn plan(directory: &Directory, mut listing: Listing, config: &Config) -> Result<Plan> {
    let unfinished = listing.unknown.iter().any(|name| name == UNFINISHED_REPAIR);
    let mut plan = Plan { steps: Vec::new(), damage: None, end: None, restored: None, fills: Vec::new(), unfinished };
    for (step, text) in isolate::isolate(directory, &mut listing)? {
        plan.damage.get_or_insert(Error::new(Code::Corrupt, text));
        plan.steps.push(step);
    }
    let names = &listing.segments;
    if names.is_empty() && !unfinished {
        return Err(Error::new(Code::NotFound, "there is no log in the directory"));
    }
    let log_id = isolate::log_of(names, |name| isolate::header_at_rest(directory, name))?;
    let Looked { restored, fills, found } = damage::look(directory, names, log_id)?;
    let made_whole = restored.as_ref().map(|restored| &restored.error).or(fills.first().map(|fill| &fill.error));
    let error = made_whole.or(found.as_ref().map(|found| &found.error)).cloned();
    plan.steps.extend(restored.iter().map(Restored::step));
    plan.steps.extend(fills.iter().map(Fill::step));
    (plan.restored, plan.fills) = (restored, fills);
    if let Some(found) = found {
        end::plan(directory, names, found, (log_id, config), &mut plan)?;
    }
    plan.damage = error.or(plan.damage);
    if unfinished {
        plan.damage.get_or_insert(Error::new(Code::Corrupt, examine::unknown_name(UNFINISHED_REPAIR)));
    }
    // An archived segment that becomes the newest one no longer says that its elders were given back.
    if let Err((name, text)) = retain::check(&names_behind(names, &plan)) {
        let text = format!("what a repair could leave is no log, because {text}: read the log and write it anew");
        return Err(Error::new(Code::Unsupported, text).in_segment(name.index));
    }
    Ok(plan)
}

/// The names that the plan leaves.
fn names_behind(names: &[SegmentName], plan: &Plan) -> Vec<SegmentName> {
    let goes = |name: &SegmentName| {
        let file = name.to_string();
        plan.going().any(|step| step.file == file)
    };
    let mut left: Vec<SegmentName> = names.iter().filter(|name| !goes(name)).copied().collect();
    match plan.end.as_ref().map(|end| &end.newest) {
        Some(Newest::Kept { name, .. }) => {
            left.iter_mut().filter(|other| *other == name).for_each(|kept| kept.state = State::Active);
        }
        Some(Newest::Begun(header)) => {
            left.push(SegmentName { index: header.index, first_seq: header.first_seq, state: State::Active });
        }
        None => {}
    }
    left
}
