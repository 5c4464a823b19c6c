//! What waits for a rising number without a thread that sleeps: a list, and a
//! word that says whether looking at it is worth while.
//!
//! Why no rise is missed.  Whoever adds something does so, then takes the lock
//! under which the number is raised, then looks at the number, and wakes if it
//! is there.  Whoever raises the number does so under that lock, gives it back,
//! and calls [`Waiting::raised`].  Of the two, whoever has the lock second sees
//! what the other did.  Without the lock both might look too early.
//!
//! `models/` runs this file through every order of its memory accesses.

use std::collections::VecDeque;
use std::sync::PoisonError;

use super::atomic::{AtomicU64, Mutex, MutexGuard, Ordering};
use super::Gate;

/// Entries there is room for from the first one on.
const ROOM_AT_FIRST: usize = 1024;

/// See the module.
pub struct Waiting<T> {
    /// Lowest number that is waited for, `u64::MAX` if none is.  Written under the list's lock.
    lowest: AtomicU64,
    list: Mutex<List<T>>,
    /// Opened when something may have to be taken.
    due: Gate,
}

struct List<T> {
    /// By number, those of one number in the order they came in.
    entries: VecDeque<(u64, T)>,
    ended: bool,
}

/// Why nothing was added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// It is over.
    Ended,
    /// There is no memory for it.
    NoMemory,
}

impl<T> Default for Waiting<T> {
    fn default() -> Waiting<T> {
        let list = List { entries: VecDeque::new(), ended: false };
        Waiting { lowest: AtomicU64::new(u64::MAX), list: Mutex::new(list), due: Gate::default() }
    }
}

impl<T> Waiting<T> {
    fn list(&self) -> MutexGuard<'_, List<T>> {
        // Nothing of the caller's that could panic runs under this lock but `take`'s question.
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note_lowest(&self, list: &List<T>) {
        let lowest = list.entries.front().map_or(u64::MAX, |&(seq, _)| seq);
        // Relaxed: the lock that the module speaks of orders it for who raises the number.
        self.lowest.store(lowest, Ordering::Relaxed);
    }

    /// `what` waits for `seq`.
    pub fn add(&self, seq: u64, what: T) -> Result<(), Refused> {
        let mut list = self.list();
        if list.ended {
            return Err(Refused::Ended);
        }
        let room = if list.entries.capacity() == 0 { ROOM_AT_FIRST } else { 1 };
        list.entries.try_reserve(room).map_err(|_| Refused::NoMemory)?;
        let place = list.entries.partition_point(|&(before, _)| before <= seq);
        list.entries.insert(place, (seq, what));
        self.note_lowest(&list);
        Ok(())
    }

    /// The number was raised to `seq`: wakes, if that is waited for.
    pub fn raised(&self, seq: u64) {
        if seq >= self.lowest.load(Ordering::Relaxed) {
            self.due.open();
        }
    }

    /// Whoever takes looks again.
    pub fn wake(&self) {
        self.due.open();
    }

    /// Nothing can be added any more.
    pub fn end(&self) {
        self.list().ended = true;
        self.due.open();
    }

    /// Nothing is left, and nothing comes.
    pub fn is_over(&self) -> bool {
        let list = self.list();
        list.ended && list.entries.is_empty()
    }

    /// Takes what waits for the lowest number, if `answer` has an answer for it;
    /// it is also told whether nothing can be added any more.
    pub fn take<R>(&self, answer: impl FnOnce(u64, bool) -> Option<R>) -> Option<(u64, T, R)> {
        let mut list = self.list();
        let answer = answer(list.entries.front()?.0, list.ended)?;
        let (seq, what) = list.entries.pop_front()?;
        self.note_lowest(&list);
        Some((seq, what, answer))
    }

    /// The state to [`Waiting::sleep`] from, to be taken before the last look.
    pub fn ticket(&self) -> u32 {
        self.due.ticket()
    }

    /// Sleeps until woken since `ticket`.
    pub fn sleep(&self, ticket: u32) {
        self.due.wait(ticket, None);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn lower_numbers_come_first_and_equal_ones_as_they_came() {
        let waiting = Waiting::default();
        for (seq, what) in [(3, 'e'), (1, 'a'), (2, 'c'), (1, 'b'), (2, 'd'), (3, 'f')] {
            assert_eq!(waiting.add(seq, what), Ok(()));
        }
        let mut taken = String::new();
        for durable in 0..=2 {
            while let Some((seq, what, answer)) = waiting.take(|seq, _| (seq <= durable).then_some(seq)) {
                assert_eq!(seq, answer);
                taken.push(what);
            }
        }
        assert_eq!(taken, "abcd");
        assert!(!waiting.is_over());
        waiting.end();
        assert_eq!(waiting.add(1, 'x'), Err(Refused::Ended));
        while let Some((_, what, ())) = waiting.take(|_, ended| ended.then_some(())) {
            taken.push(what);
        }
        assert_eq!(taken, "abcdef");
        assert!(waiting.is_over());
    }
}
