//! Why an event is refused: which operation, its state, the event, the rule.

use super::Family;
use crate::base::{Code, Error};

/// The rule that an event broke.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// Never legal in this state.
    State,
    /// There is no such operation yet.
    Unknown,
    /// The operation is finished.
    Finished,
    /// `created` with an id that is not above every earlier one.
    NotAbove,
    /// `created` with an id so high that it leaves no room for others.
    Leap,
    /// The step or shard is there already.
    Doubled,
    /// The operation has no such step or shard.
    NoSuchPart,
    /// A step names one that was not added before it.
    Dependency,
    /// The step or shard has its outcome already.
    Decided,
    /// A step of a lower level is not done; in compensation, of a higher one.
    Level,
    /// Not every step, or vote, that this needs is there.
    Incomplete,
    /// One of the limits of an operation, or of a name.
    Limit,
    /// As many purges of the stream stand as may, each of an earlier time than the one before.
    Purges,
    /// What is said of streams takes the half of the table that is theirs.
    Streams,
    /// A marker of an import that does not fit the records before it.
    Import,
    /// The table is full: something must finish first.
    Full,
}

impl Reason {
    fn text(self) -> &'static str {
        match self {
            Reason::State => "not legal in this state",
            Reason::Unknown => "there is no such operation",
            Reason::Finished => "it is finished",
            Reason::NotAbove => "a new id is above every earlier one",
            Reason::Leap => "an id above 2^63 leaves no room for those that come after it",
            Reason::Doubled => "it is there already",
            Reason::NoSuchPart => "it has no such step or shard",
            Reason::Dependency => "a step depends on steps added before it, each named once",
            Reason::Decided => "the outcome is there already",
            Reason::Level => "another level is not done",
            Reason::Incomplete => "not everything that this needs is there",
            Reason::Limit => "a limit",
            Reason::Purges => "as many purges of the stream stand as may: one of a later time takes their place",
            Reason::Streams => "what is said of streams takes all of its half of the room",
            Reason::Import => "it does not fit the operations before it",
            Reason::Full => "the table of operations is full",
        }
    }
}

/// An event that was refused; nothing changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    /// Kind of the operation; None: the event is of none.
    pub family: Option<Family>,
    /// Which operation.
    pub id: u64,
    /// The name of the state that it is in.
    pub state: &'static str,
    /// The name of the event.
    pub event: &'static str,
    /// The rule.
    pub reason: Reason,
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Error {
        let code = match refusal.reason {
            Reason::Full => Code::Again,
            Reason::Leap => Code::Inval,
            Reason::Limit | Reason::Purges | Reason::Streams => Code::TooBig,
            _ => Code::State,
        };
        let Refusal { id, state, event, reason, .. } = refusal;
        let about = refusal.family.map(|family| format!("{} {id} is {state}, ", Family::name(family)));
        Error::new(code, format!("{}{event} is refused: {}", about.unwrap_or_default(), reason.text()))
    }
}
