//! What is no file cannot be copied: it is moved to the copies, all of it or nothing.
//!
//! Two names must never be missing in between: the unfinished repair's, and that of a segment that is to be begun,
//! because the one in front of it would pass for the newest.  There a file is put in its place first, in one step, and
//! what is moved has a spare's name by then.

use crate::base::{Error, Result};
use crate::segment::{Directory, Spare, UNFINISHED_REPAIR};

/// One thing that was moved, or is on its way.
struct Moved {
    name: String,
    /// The file that takes its place, if one does: a spare's name, which it gets for it.
    stands_in: Option<String>,
    exchanged: bool,
    /// Its name among the copies.
    to: Option<String>,
}

impl Moved {
    /// The name that it has in the log.
    fn from(&self) -> &str {
        self.stands_in.as_deref().filter(|_| self.exchanged).unwrap_or(&self.name)
    }
}

/// Why not all was moved.
pub struct NotMoved {
    /// What failed.
    pub error: Error,
    /// All is where it was.  Else a log without one of its files, or with the segment to be begun in the place of one,
    /// could open; and a spare's name may be that of what was to be moved.
    pub put_back: bool,
}

/// What was moved so far.
pub struct Moves<'a> {
    directory: &'a Directory,
    backup: &'a Directory,
    done: Vec<Moved>,
}

impl<'a> Moves<'a> {
    /// Moves `names` to `backup`, durably.  The segment that is `begun` gets its name here, if one of them has it.
    /// On failure all is where it was, if [`NotMoved::put_back`] says so.
    pub fn make(
        directory: &'a Directory,
        names: &[String],
        begun: Option<(&Spare, &str)>,
        backup: &'a Directory,
    ) -> Result<(), NotMoved> {
        let mut moves = Moves { directory, backup, done: Vec::new() };
        // What failed first is the failure to report.
        moves.make_all(names, begun).map_err(|error| NotMoved { error, put_back: moves.put_back().is_ok() })
    }

    fn make_all(&mut self, names: &[String], begun: Option<(&Spare, &str)>) -> Result<()> {
        for name in names {
            let stands_in = match begun {
                Some((spare, file)) if file == name => Some(spare.name.clone()),
                _ if name == UNFINISHED_REPAIR => Some(self.directory.create_spare()?.name),
                _ => None,
            };
            self.done.push(Moved { name: name.clone(), stands_in, exchanged: false, to: None });
            let moved = self.done.last_mut().expect("just added");
            if let Some(spare) = &moved.stands_in {
                self.directory.exchange(spare, name)?;
                moved.exchanged = true;
            }
            moved.to = Some(self.directory.move_out(moved.from(), self.backup, name)?);
        }
        self.backup.sync()?;
        self.directory.sync()
    }

    fn put_back(&mut self) -> Result<()> {
        while let Some(moved) = self.done.pop() {
            if let Some(to) = &moved.to {
                self.backup.move_out(to, self.directory, moved.from())?;
            }
            let Some(spare) = &moved.stands_in else { continue };
            if moved.exchanged {
                self.directory.exchange(spare, &moved.name)?;
            }
            if moved.name == UNFINISHED_REPAIR {
                self.directory.drop_file(spare)?;
            }
        }
        self.directory.sync()
    }
}
