//! Records that are written where they will lie: room in the ring first, the
//! payload by its owner whenever he likes, the number last.
//!
//! A reservation is a frame of its own in the ring, with room for its header and
//! one record.  When it is committed, the open frame before it is closed and it
//! becomes the open one; from there on it is a frame like any other, and small
//! records that come next may use what room it has left.  Because its number is
//! given then, and its place on disk is taken then, numbers have no gaps and a
//! reservation that is cancelled has left no trace.

use std::sync::Arc;

use super::append::{Accepted, Asked};
use super::queue::Place;
use super::{Commit, Entry, How};
use crate::base::bytes::len_u64;
use crate::base::{Code, Error, Result};
use crate::format::record::{record_len, RECORD_HEADER_LEN};
use crate::mem::ring::OpenFrame;

/// Room for one record's payload in the log's memory.  Dropping it cancels it.
pub struct Reservation {
    commit: Arc<Commit>,
    /// None: it is committed.
    frame: Option<OpenFrame>,
    /// What the record says beside its payload.
    entry: Entry<'static>,
    how: How,
    /// Bytes of payload there is room for.
    len: usize,
}

impl Commit {
    /// Room for a record with up to `len` bytes of payload.  The data of `entry` does not count.
    pub fn reserve(self: &Arc<Self>, entry: &Entry<'_>, len: usize, how: How) -> Result<Reservation> {
        let need = record_len(len.min(usize::MAX / 2));
        self.check_size(len_u64(len), need)?;
        let mut frame = None;
        drop(self.find_room(how.no_wait, |queue| {
            frame = queue.reserve(need, &self.config)?;
            Ok(if frame.is_some() { Place::Here } else { Place::RingFull })
        })?);
        let &Entry { stream, timestamp, kind, required, .. } = entry;
        let entry = Entry { data: &[], stream, timestamp, kind, required };
        Ok(Reservation { commit: Arc::clone(self), frame, entry, how, len })
    }
}

impl Reservation {
    /// The payload: as many bytes as were asked for, and what they hold is not
    /// specified at first.  None are left when it is committed.
    pub fn data(&mut self) -> &mut [u8] {
        match &mut self.frame {
            Some(frame) => &mut frame.unclaimed()[RECORD_HEADER_LEN..][..self.len],
            None => &mut [],
        }
    }

    /// It was committed: there is nothing left to be committed or cancelled.
    pub fn is_spent(&self) -> bool {
        self.frame.is_none()
    }

    /// Makes the first `len` bytes of its data a record, and returns the
    /// record's number; waits for durability as an append does.  Where that
    /// fails before a number was given ([`Reservation::is_spent`] says no), the
    /// reservation is as it was.
    ///
    /// # Errors
    /// As `twal_commit`.
    pub fn commit(&mut self, len: usize) -> Result<u64> {
        if self.is_spent() {
            return Err(Error::new(Code::State, "the reservation was committed already"));
        }
        if len > self.len {
            let text = format!("{len} bytes are committed, {} were reserved", self.len);
            return Err(self.commit.refused(Error::new(Code::Inval, text)));
        }
        let Reservation { commit, frame, entry, how, .. } = self;
        let wait = commit.waits(*how);
        let mut append = || {
            let asked = Asked { need: record_len(len), records: 1, payload: len_u64(len), wait };
            let queue = commit.find_place(how.no_wait, |queue| {
                Ok(queue.place_reserved(frame, asked.need, &commit.config, &commit.clock))
            })?;
            let mut lead = None;
            let Accepted { first_seq, last_seq, mut claim, gate } = commit.give_number(queue, asked, &mut lead);
            entry.header(len, first_seq, false).encode_around(claim.bytes());
            drop(claim);
            commit.finish(last_seq, gate, lead, wait)?;
            Ok(first_seq)
        };
        if wait {
            commit.timed(append)
        } else {
            append()
        }
    }
}

impl Reservation {
    /// Gives it back: nothing happened.  Dropping it does the same.
    pub fn cancel(self) {}
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if let Some(frame) = self.frame.take() {
            self.commit.lock().space.cancel(frame);
            self.commit.room.open();
        }
    }
}
