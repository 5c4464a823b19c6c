//! How the program ends.  The numbers are in the manual page and never change.

use std::fmt::Display;
use std::io;

use twal::{Code, Error};

/// What a command came to, if nothing failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// What was asked for is done, and nothing is wrong.
    Clean,
    /// Damage, or what a check looks for.
    Found,
}

impl Exit {
    pub fn number(self) -> u8 {
        match self {
            Exit::Clean => 0,
            Exit::Found => FOUND,
        }
    }
}

const FOUND: u8 = 1;
const USAGE: u8 = 2;
const CANNOT_OPEN: u8 = 3;
const IO: u8 = 4;
const DECISION: u8 = 5;
/// What a shell says of a program that SIGPIPE ended.  Not 0: a verify that was cut short did not find the log clean.
const PIPE: u8 = 128 + 13;

/// Why a command ended early.
#[derive(Debug)]
pub struct Failure {
    pub exit: u8,
    /// For standard error; empty: nothing is to be said.
    pub text: String,
}

impl Failure {
    /// An argument that this log does not take.
    pub fn usage(text: impl Display) -> Failure {
        Failure { exit: USAGE, text: text.to_string() }
    }

    /// What the operating system refused, beside the log.
    pub fn io(doing: impl Display, error: &io::Error) -> Failure {
        Failure { exit: IO, text: format!("{doing}: {error}") }
    }

    /// A log, or a part of it, that this process cannot open.
    pub fn unopened(text: impl Display) -> Failure {
        Failure { exit: CANNOT_OPEN, text: text.to_string() }
    }

    /// A log that does not open.
    pub fn opening(error: &Error) -> Failure {
        let exit = match error.code {
            Code::Corrupt => FOUND,
            Code::Io | Code::NoSpc | Code::NoMem => IO,
            _ => CANNOT_OPEN,
        };
        Failure { exit, text: error.to_string() }
    }

    /// The log gave back what nobody asked for by its number, and what was on its way to be read.
    pub fn released(text: impl Display) -> Failure {
        Failure { exit: FOUND, text: text.to_string() }
    }

    /// Something would be lost, or is held, and nobody has said that it may go.
    pub fn decision(text: impl Display) -> Failure {
        Failure { exit: DECISION, text: text.to_string() }
    }
}

/// A call on an open log.
impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        let exit = match error.code {
            Code::Corrupt | Code::Version | Code::Type | Code::Key => FOUND,
            Code::Inval | Code::TooBig | Code::NotFound | Code::Trimmed | Code::Exists => USAGE,
            Code::Io | Code::NoSpc | Code::NoMem | Code::Poisoned | Code::Timeout | Code::Panic => IO,
            _ => CANNOT_OPEN,
        };
        Failure { exit, text: error.to_string() }
    }
}

/// Printing: the only thing here that fails with this type.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Failure { exit: PIPE, text: String::new() },
            _ => Failure { exit: IO, text: format!("cannot write the output: {error}") },
        }
    }
}
