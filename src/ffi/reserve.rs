//! A record that is written where it will lie.
//!
//! The caller's struct holds nothing that is believed: a ticket, which no other
//! reservation of this process has, and the handle's address, which is only
//! compared.  What a reservation is stands in its handle, behind a lock.

use std::ffi::{c_int, c_void};
use std::mem::{offset_of, size_of};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::entry::{self, twal_entry};
use super::guard::{self, always, call_handle, call_reservation, guard, Purpose};
use super::log::{check_size, entries_of, twal_log};
use crate::base::{Code, Error, Result};
use crate::log::Reservation;

/// Room for one record, from twal_reserve() to twal_commit() or twal_cancel().
/// It may be moved; of two copies only one can be used.  It never changes.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct twal_reservation {
    /// Where the payload goes: 8-byte aligned, not NULL.  What is there at
    /// first is not specified.  NULL when the reservation is gone.
    pub data: *mut c_void,
    /// Bytes of payload there is room for.
    pub len: usize,
    /// twal's; leave them as they are.
    pub internal: [u64; 6],
}

const _: () = assert!(size_of::<twal_reservation>() == 64 && offset_of!(twal_reservation, len) == 8);
const _: () = assert!(offset_of!(twal_reservation, internal) == 16);

/// What a reservation that is gone looks like, and TWAL_RESERVATION_INIT.
const GONE: twal_reservation = twal_reservation { data: std::ptr::null_mut(), len: 0, internal: [0; 6] };

/// In `twal_reservation.internal`: the handle's address, the ticket, the length.
const LOG: usize = 0;
const TICKET: usize = 1;
const LEN: usize = 2;

/// The next ticket.  Relaxed: the numbers publish nothing.
static NEXT_TICKET: AtomicU64 = AtomicU64::new(1);

/// The reservations of one handle.
#[derive(Default)]
pub(super) struct Held(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    places: Vec<Place>,
    /// twal_close() has run: whoever ends the last reservation frees the handle.
    closed: bool,
}

struct Place {
    ticket: u64,
    /// None while a call is at it.
    reservation: Option<Reservation>,
}

impl Held {
    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Room for what `reserve` gives, and what it gave; its ticket and where its payload goes.
    fn begin(&self, reserve: impl FnOnce() -> Result<Reservation>) -> Result<(u64, *mut u8)> {
        let no_memory = |_| Error::new(Code::NoMem, "no memory for one more reservation");
        self.lock().places.try_reserve(1).map_err(no_memory)?;
        let mut reservation = reserve()?;
        let data = reservation.data().as_mut_ptr();
        let ticket = NEXT_TICKET.fetch_add(1, Ordering::Relaxed);
        let mut kept = self.lock();
        // Another thread may have taken the place; then dropping the reservation cancels it.
        kept.places.try_reserve(1).map_err(no_memory)?;
        kept.places.push(Place { ticket, reservation: Some(reservation) });
        Ok((ticket, data))
    }

    /// Runs `body` on a reservation, and ends it unless the failure is one after
    /// which it can be tried again.  Also says whether the handle is to be freed.
    pub fn end<T>(&self, ticket: u64, body: impl FnOnce(&mut Reservation) -> Result<T>) -> (Result<T>, bool) {
        let taken = {
            let mut kept = self.lock();
            kept.places.iter_mut().find(|place| place.ticket == ticket).and_then(|place| place.reservation.take())
        };
        let Some(mut reservation) = taken else {
            return (Err(Error::new(Code::State, "the reservation was committed or cancelled already")), false);
        };
        // From here on the place is this call's: nobody else finds a reservation in it.
        let result = body(&mut reservation);
        let again = result.as_ref().is_err_and(|error| !ends(error.code)) && !reservation.is_spent();
        let back = if again {
            Some(reservation)
        } else {
            drop(reservation);
            None
        };
        let mut kept = self.lock();
        if let Some(at) = kept.places.iter().position(|place| place.ticket == ticket) {
            if back.is_some() {
                kept.places[at].reservation = back;
            } else {
                kept.places.swap_remove(at);
            }
        }
        (result, !again && kept.closed && kept.places.is_empty())
    }

    /// No more reservations are made.  True: none is left.
    pub fn close(&self) -> bool {
        let mut kept = self.lock();
        kept.closed = true;
        kept.places.is_empty()
    }
}

/// Whether a reservation is gone after a commit that failed so.
fn ends(code: Code) -> bool {
    !matches!(code, Code::Inval | Code::Forked | Code::Again | Code::Timeout | Code::NoSpc | Code::NoMem | Code::Perm)
}

/// Takes room for one record in the log's memory, for its payload to be written
/// there in place: read from a socket, for instance, and copied nowhere.
///
/// No number is given, and nothing is written: twal_commit() does that, and
/// twal_cancel() gives the room back.  Made for records of a few KiB and more:
/// each one begins a frame, so single small ones are better appended.
///
/// A reservation takes up its room in the ring (options.ring_size) until it is
/// committed or cancelled.  Where reservations leave too little, appends and
/// further reservations wait as they do for a slow device, for ever if nobody
/// else commits: a thread that holds some and waits for more should say
/// TWAL_APPEND_NO_WAIT.  There are at most 512 in a log, less the frames that
/// are being written.  One that is larger than the ring has a buffer of its
/// own, one at a time.
///
///   log              an open log
///   entry            the record; start from TWAL_ENTRY_INIT.  Its data is
///                    NULL, its len the room wanted.  Its flags hold for this
///                    call and for twal_commit().
///   reservation_out  receives the reservation.  Untouched on failure.
///
/// Returns TWAL_OK, or
///
///   TWAL_E_INVAL      log, entry or reservation_out is NULL; entry.data is not
///                     NULL; or what twal_append_entry() refuses in an entry
///   TWAL_E_TOOBIG     entry.len is above options.record_size_max
///   TWAL_E_FORKED     this process is a fork()ed child
///   TWAL_E_CLOSED     twal_close() has begun
///   TWAL_E_READ_ONLY  the log is open for reading only
///   TWAL_E_POISONED   an earlier write or flush failed
///   TWAL_E_AGAIN      no room now, and TWAL_APPEND_NO_WAIT is set
///   TWAL_E_TIMEOUT    no room within options.append_timeout_us
///   TWAL_E_NOMEM      no memory left
///   TWAL_E_PANIC      a bug in twal was caught
///
/// Blocks:  while there is no room; with TWAL_APPEND_NO_WAIT never.
/// Threads: any.  Another one may write the payload and commit it.
/// Signals: not async-signal-safe.
/// Since:   0.1
#[must_use]
#[no_mangle]
pub unsafe extern "C" fn twal_reserve(
    log: *mut twal_log,
    entry: *const twal_entry,
    reservation_out: *mut twal_reservation,
) -> c_int {
    guard(|| {
        let check = |max| {
            // SAFETY: NULL or an entry that is there during the call (C contract).
            let entry = &unsafe { entries_of(entry, 1)? }[0];
            // SAFETY: NULL or room for a reservation (C contract).
            let reservation_out = unsafe { guard::must_have(reservation_out)? };
            entry::check_head(entry)?;
            if !entry.data.is_null() {
                return Err(Error::new(Code::Inval, "the payload comes later: entry.data must be NULL"));
            }
            check_size(entry.len, max)?;
            Ok((entry, reservation_out))
        };
        // SAFETY: NULL or an open log (C contract).
        let (entry, reservation_out) = unsafe { guard::checked(log, check)? };
        let len = entry.len;
        let (head, how) = (entry::head_of(entry), entry::how(entry.flags));
        let reserve = |handle: &twal_log| handle.held.begin(|| handle.log.reserve(&head, len, how));
        // SAFETY: an open log (C contract).
        let (ticket, data) = unsafe { call_handle(log, Purpose::Change, always, reserve)? };
        let mut reservation = twal_reservation { data: data.cast(), len, ..GONE };
        reservation.internal[LOG] = address(log);
        reservation.internal[TICKET] = ticket;
        reservation.internal[LEN] = crate::base::bytes::len_u64(len);
        // SAFETY: must_have has seen it.
        unsafe { reservation_out.write(reservation) };
        Ok(())
    })
}

/// Makes what was written into a reservation a record, and gives it its number.
///
/// As twal_append_entry() with the entry given to twal_reserve() and the first
/// len bytes of the reservation's data, which are copied nowhere.  Numbers
/// follow the order of commits, not of reservations.  Nobody may write to the
/// data any more once this was called, or readers will find the record damaged.
///
///   log          the log it was reserved in
///   reservation  the reservation
///   len          bytes of payload, at most reservation.len; the rest is given
///                up
///   seq_out      receives the record's number; NULL if you do not need it.
///                Untouched on failure.
///
/// Returns TWAL_OK; or, and the reservation is as it was, to be committed again
/// or cancelled,
///
///   TWAL_E_INVAL     log or reservation is NULL; len is above
///                    reservation.len; or it is of another log
///   TWAL_E_FORKED    this process is a fork()ed child
///   TWAL_E_AGAIN     no room on the device now, and TWAL_APPEND_NO_WAIT is set
///   TWAL_E_TIMEOUT   no room within options.append_timeout_us
///   TWAL_E_NOSPC     the device is full
///   TWAL_E_PERM, TWAL_E_NOMEM, TWAL_E_UNSUPPORTED
///                    the next segment's file could not be made
///
/// or, and the reservation is gone,
///
///   TWAL_E_STATE     it was committed or cancelled before
///   TWAL_E_CLOSED    twal_close() has begun, or has returned
///   TWAL_E_POISONED  an earlier write or flush failed
///   TWAL_E_IO        this record's write or flush failed
///   TWAL_E_PANIC     a bug in twal was caught
///
/// After TWAL_E_IO, TWAL_E_POISONED and TWAL_E_PANIC the record's fate is
/// unknown until the next open.  After any other error nothing was written and
/// no number was used.  When the reservation is gone its data is NULL, and the
/// memory is not yours any more.
///
/// Unlike other calls this one may begin after twal_close(), for a reservation
/// that was left then.
///
/// Blocks:  as twal_append_entry().
/// Threads: any; one at a time for each reservation.
/// Signals: not async-signal-safe.
/// Since:   0.1
#[must_use]
#[no_mangle]
pub unsafe extern "C" fn twal_commit(
    log: *mut twal_log,
    reservation: *mut twal_reservation,
    len: usize,
    seq_out: *mut u64,
) -> c_int {
    guard(|| {
        // SAFETY: NULL or a struct that nobody else uses during the call (C contract).
        let seq = unsafe { end(log, reservation, len, |reservation| reservation.commit(len))? };
        // SAFETY: NULL or room for a number (C contract).
        unsafe { guard::put_seq(seq_out, seq) };
        Ok(())
    })
}

/// Gives a reservation back: nothing happened, no number was used.
///
///   log          the log it was reserved in
///   reservation  the reservation; its data is NULL afterwards
///
/// Returns TWAL_OK, or
///
///   TWAL_E_INVAL     log or reservation is NULL, or it is of another log
///   TWAL_E_FORKED    this process is a fork()ed child
///   TWAL_E_CLOSED    twal_close() has begun, or has returned; the reservation
///                    is gone all the same
///   TWAL_E_POISONED  a bug in twal was caught before; the reservation is gone
///                    all the same
///   TWAL_E_STATE     it was committed or cancelled before
///   TWAL_E_PANIC     a bug in twal was caught
///
/// Works on a poisoned log, and may begin after twal_close(), for a
/// reservation that was left then.
///
/// Blocks:  no.
/// Threads: any; one at a time for each reservation.
/// Signals: not async-signal-safe.
/// Since:   0.1
#[no_mangle]
pub unsafe extern "C" fn twal_cancel(log: *mut twal_log, reservation: *mut twal_reservation) -> c_int {
    guard(|| {
        // Ends by being refused: dropping it gives it back.
        // SAFETY: NULL or a struct that nobody else uses during the call (C contract).
        unsafe { end(log, reservation, 0, |_| Ok(())) }
    })
}

/// Ends the reservation in the caller's struct, which says so afterwards.
///
/// # Safety
///
/// `reservation` is NULL or points to a struct that nobody else uses now.  If it
/// holds a reservation of `log`, that is open, or was closed with this one left.
unsafe fn end<T>(
    log: *mut twal_log,
    reservation: *mut twal_reservation,
    len: usize,
    body: impl FnOnce(&mut Reservation) -> Result<T>,
) -> Result<T> {
    let inval = |text| Err(Error::new(Code::Inval, text));
    if log.is_null() {
        return inval("the log is NULL");
    }
    // SAFETY: NULL or the caller's struct (contract).
    let reservation = unsafe { guard::must_have(reservation)? };
    // SAFETY: must_have has seen it; any bits are numbers and addresses.
    let stated = unsafe { reservation.read() };
    if stated.internal[TICKET] == 0 {
        return Err(Error::new(Code::State, "the reservation was committed or cancelled, or never made"));
    }
    if stated.internal[LOG] != address(log) {
        return inval("the reservation is another log's");
    }
    if crate::base::bytes::len_u64(len) > stated.internal[LEN] {
        return inval("len is above what was reserved");
    }
    // SAFETY: a log that is open, or that has kept its handle for this reservation (contract).
    let result = unsafe { call_reservation(log, stated.internal[TICKET], body) };
    if result.as_ref().map_or_else(|error| ends(error.code), |_| true) {
        // SAFETY: as for the read above.
        unsafe { reservation.write(GONE) };
    }
    result
}

/// A handle's address, to be compared.
fn address(log: *mut twal_log) -> u64 {
    crate::base::bytes::len_u64(log.addr())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ptr::{null, null_mut};

    #[test]
    fn null_and_what_never_was_are_refused() {
        let mut none = GONE;
        let mut seq = 7;
        let log = std::ptr::without_provenance_mut::<twal_log>(64);
        // SAFETY: refused before the log is looked at.
        unsafe {
            assert_eq!(twal_reserve(null_mut(), null(), &raw mut none), -101);
            assert_eq!(twal_commit(null_mut(), &raw mut none, 0, &raw mut seq), -101);
            assert_eq!(twal_commit(log, null_mut(), 0, &raw mut seq), -101);
            assert_eq!(twal_commit(log, &raw mut none, 0, &raw mut seq), -209);
            assert_eq!(twal_cancel(null_mut(), &raw mut none), -101);
            assert_eq!(twal_cancel(log, null_mut()), -101);
            assert_eq!(twal_cancel(log, &raw mut none), -209);
            none.internal = [128, 1, 10, 0, 0, 0];
            assert_eq!(twal_commit(log, &raw mut none, 0, &raw mut seq), -101, "another log's");
            none.internal = [64, 1, 10, 0, 0, 0];
            assert_eq!(twal_commit(log, &raw mut none, 11, &raw mut seq), -101, "too long");
        }
        assert_eq!((seq, none.internal[1]), (7, 1), "untouched on failure");
    }
}
