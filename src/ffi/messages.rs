//! Messages of a log, for a C function.

use std::ffi::{c_char, c_int, c_void};
use std::ptr::{null, with_exposed_provenance_mut};

use super::guard::{always, call, guard_uncancelled, Purpose};
use super::log::twal_log;
use super::sized::put_text;
use crate::base::messages::{Level, Listener, Message, Value};
use crate::base::{Code, Error, Result};

/// twal_message.level: how much a message matters.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum twal_message_level {
    /// Something promised cannot be kept, or was lost: poison, damage, an open
    /// that failed.
    TWAL_MESSAGE_ERROR = 1,
    /// Somebody should look at it: a torn tail was cut, a segment's file could
    /// not be prepared, a repair.
    TWAL_MESSAGE_WARNING = 2,
    /// What a log does in the course of its life: open, rollover, release,
    /// compaction, close.
    TWAL_MESSAGE_INFO = 3,
    /// What only twal's developers want.
    TWAL_MESSAGE_DEBUG = 4,
}

/// A number or a text that belongs to a message.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct twal_message_field {
    /// What it is, such as "segment"; ends with a NUL.
    pub key: *const c_char,
    /// The text, ended by a NUL; NULL: it is a number.
    pub text: *const c_char,
    /// The number; 0 if it is a text.
    pub number: u64,
}

/// What happened in a log; it and all that it points to is there during the
/// call.  Names and keys are whole; texts that are together longer than 1500
/// bytes are cut, the longest first.  Later releases may have more at its end, and further names and fields.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct twal_message {
    /// sizeof(twal_message) of the library.
    pub struct_size: u64,
    /// One of twal_message_level.
    pub level: u32,
    /// One of twal_code, if it is about a failure; else TWAL_OK.
    pub code: i32,
    /// What kind of message it is, for programs: "open", "open_failed",
    /// "torn_tail", "holds_damaged", "rollover", "release", "size_limit",
    /// "compaction", "compaction_failed", "checkpoint_failed", "spare_failed",
    /// "damage", "damage_skipped", "poison", "repair_plan", "repair",
    /// "repair_failed", "messages_lost", "close".
    pub name: *const c_char,
    /// The same for people; in English, without a line's end.
    pub text: *const c_char,
    /// What else there is to say; keys do not come twice.
    pub fields: *const twal_message_field,
    /// How many fields.
    pub field_count: u64,
}

const _: () = assert!(size_of::<twal_message>() == 48 && size_of::<twal_message_field>() == 24);

type Function = unsafe extern "C" fn(arg: *mut c_void, message: *const twal_message);

/// Says what is called with messages of a log: what happens there beside what
/// calls return.
///
/// The log's opening has messages, too: options.message of twal_open() is
/// called from its begin on, as if this function had been called before.  It is
/// also called by twal_repair_plan() and twal_repair_apply(), of the options
/// that the plan was made with; twal_verify() has no messages.
///
/// message is called by one thread at a time, in the order in which things
/// happened, under no lock: by the thread of twal's that makes the calls of
/// twal_sync_async(), inside twal_open() and twal_close(), inside a repair, and
/// of a log that is open for reading only inside the reader's call that met
/// what it is about.  So no append waits for it; messages that come faster than
/// it takes them are left out after the first 256, and it is told how many.
///
/// It may call every function of twal, this one too, and wait in it, but it
/// cannot close this log (TWAL_E_STATE), nor use an iterator in whose call it
/// is.  While twal_close() runs, functions answer TWAL_E_CLOSED.  What they
/// cause is told when it has returned, never inside it.  It must not throw,
/// longjmp() or end its thread.
///
/// The thread that calls it is also the one that calls the done of
/// twal_sync_async(): a message that takes long delays those, and those delay
/// messages.  So it must not wait for what that thread has to do: for such a
/// done of this log to be called, or for another message; nor for the thread
/// that is inside twal_open(), twal_close() or the reader's call that told it.
///
/// When this function has returned, no call of what was set before is on its
/// way, and none comes: arg may be freed.  So hold no lock that message takes.
/// (Called by message itself, that holds as soon as that has returned.)  After
/// twal_close(), and after a twal_open() that failed, none comes either.
///
///   log      an open log
///   level    the highest twal_message_level that is wanted; 0:
///            TWAL_MESSAGE_INFO
///   message  what is called; NULL: nothing any more
///   arg      is passed on to message; twal does not look at it
///
/// Returns TWAL_OK, or
///
///   TWAL_E_INVAL   log is NULL, or level is none of twal_message_level
///   TWAL_E_FORKED  this process is a fork()ed child
///   TWAL_E_CLOSED  twal_close() has begun
///   TWAL_E_NOMEM   no memory or thread left; nothing is called then
///   TWAL_E_PANIC   a bug in twal was caught
///
/// Blocks:  while another thread is inside the message that was set before.
/// Threads: any; message is called on one of twal's, which blocks all signals,
///          or where it is said above.
/// Signals: not async-signal-safe.
/// Since:   0.1
#[must_use]
#[no_mangle]
pub unsafe extern "C" fn twal_message_callback(
    log: *mut twal_log,
    level: u32,
    message: Option<unsafe extern "C" fn(arg: *mut c_void, message: *const twal_message)>,
    arg: *mut c_void,
) -> c_int {
    guard_uncancelled(|| {
        if log.is_null() {
            return Err(Error::new(Code::Inval, "the log is NULL"));
        }
        let listener = listener_of(message, arg, level.into())?;
        // SAFETY: an open log (C contract).
        unsafe { call(log, Purpose::Look, always, |log| log.listen(listener)) }
    })
}

/// Who listens for C.  Whoever gives the function vouches that it may be called with `arg`, on any thread, as long as
/// the C contract says.
pub(super) fn listener_of(message: Option<Function>, arg: *mut c_void, level: u64) -> Result<Option<Listener>> {
    let level = match level {
        0 | 3 => Level::Info,
        1 => Level::Error,
        2 => Level::Warning,
        4 => Level::Debug,
        other => return Err(Error::new(Code::Inval, format!("{other} is none of twal_message_level"))),
    };
    // A word instead of a pointer: the closure goes to another thread.
    let word = arg.expose_provenance();
    Ok(message.map(|function| {
        Listener::new(level, move |message| {
            let mut room = Room::new();
            room.with(message, |c| {
                // SAFETY: a function that may be called with this (C contract).
                unsafe { function(with_exposed_provenance_mut(word), c) };
            });
        })
    }))
}

/// Most fields of a message, and bytes of all its texts.
const FIELDS_MAX: usize = 16;
const BYTES_MAX: usize = 2048;

/// Where a message lies while C looks at it.  Nothing is allocated; what is too long is cut.
struct Room {
    bytes: [c_char; BYTES_MAX],
    used: usize,
}

impl Room {
    fn new() -> Room {
        Room { bytes: [0; BYTES_MAX], used: 0 }
    }

    /// Where `text` begins; it ends with a NUL, whatever is left.
    fn put(&mut self, text: &str) -> usize {
        self.put_within(text, BYTES_MAX)
    }

    /// The same, in no more than `share` bytes.
    fn put_within(&mut self, text: &str, share: usize) -> usize {
        let at = self.used.min(BYTES_MAX - 1);
        let end = (at + (text.len() + 1).min(share.max(1))).min(BYTES_MAX);
        put_text(&mut self.bytes[at..end], text);
        self.used = end;
        at
    }

    /// Puts texts and says where each begins: the shortest first, so that one that is too long takes no room of others'.
    fn put_all(&mut self, texts: &mut [(&str, usize); FIELDS_MAX + 1]) {
        let mut order: [usize; FIELDS_MAX + 1] = std::array::from_fn(|at| at);
        order.sort_unstable_by_key(|at| texts[*at].0.len());
        for (done, at) in order.into_iter().enumerate() {
            let (text, place) = &mut texts[at];
            let share = (BYTES_MAX - self.used) / (order.len() - done);
            *place = self.put_within(text, share);
        }
    }

    fn with(&mut self, message: &Message, call: impl FnOnce(&twal_message)) {
        let name = self.put(message.name);
        let mut places = [(0, None, 0); FIELDS_MAX];
        let count = message.fields.len().min(FIELDS_MAX);
        // What programs look for is there whatever else there is.  The texts share what that leaves.
        let mut texts = [("", 0); FIELDS_MAX + 1];
        texts[FIELDS_MAX].0 = &message.text;
        for (at, (place, (key, value))) in places.iter_mut().zip(&message.fields).enumerate() {
            let key = self.put(key);
            *place = match value {
                Value::Number(number) => (key, None, *number),
                Value::Text(text) => {
                    texts[at].0 = text;
                    (key, Some(at), 0)
                }
            };
        }
        self.put_all(&mut texts);
        let text = texts[FIELDS_MAX].1;
        let places = places.map(|(key, at, number)| (key, at.map(|at| texts[at].1), number));
        let at = |place: usize| (&raw const self.bytes[place]);
        let fields = places.map(|(key, text, number)| twal_message_field {
            key: at(key),
            text: text.map_or(null(), at),
            number,
        });
        call(&twal_message {
            struct_size: size_of::<twal_message>() as u64,
            level: message.level as u32,
            code: message.code.map_or(0, |code| code as i32),
            name: at(name),
            text: at(text),
            fields: fields.as_ptr(),
            field_count: count as u64,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::CStr;
    use std::ptr::null_mut;

    /// Every text that C sees of a message, a number as its digits.
    fn seen(message: &Message) -> Vec<String> {
        // SAFETY: texts of twal_message end with a NUL.
        let text = |at: *const c_char| unsafe { CStr::from_ptr(at) }.to_str().unwrap().to_owned();
        let mut all = Vec::new();
        Room::new().with(message, |c| {
            assert_eq!(c.struct_size, 48);
            all.extend([c.level.to_string(), c.code.to_string(), text(c.name), text(c.text)]);
            let count = usize::try_from(c.field_count).unwrap();
            // SAFETY: as many as it says.
            for field in unsafe { std::slice::from_raw_parts(c.fields, count) } {
                let value = if field.text.is_null() { field.number.to_string() } else { text(field.text) };
                all.push(format!("{}={value}", text(field.key)));
            }
        });
        all
    }

    #[test]
    fn every_part_arrives() {
        let error = Error::new(Code::Corrupt, "a\0b").at(3, 4096);
        let message = Message::of(Level::Warning, "damage", &error).with("dir", "/x").with("yes", true);
        assert_eq!(seen(&message), ["2", "-401", "damage", "a?b", "segment=3", "offset=4096", "dir=/x", "yes=1"]);
        assert_eq!(seen(&Message::new(Level::Info, "open", "")), ["3", "0", "open", ""]);
    }

    /// A path may be longer than all the room: what comes behind it is there, and whole.
    #[test]
    fn a_long_text_takes_no_room_of_others() {
        for len in (BYTES_MAX - 400..BYTES_MAX + 40).step_by(7).chain([4096, 100_000]) {
            let message = Message::new(Level::Info, "open", "the log is open")
                .with("dir", "\u{e4}".repeat(len / 2))
                .with("last_seq", 7)
                .with("engine", "io_uring")
                .with("file_system", "ext4");
            let seen = seen(&message);
            let (dir, others) = (&seen[4], [&seen[..4], &seen[5..]].concat());
            let wanted = ["3", "0", "open", "the log is open", "last_seq=7", "engine=io_uring", "file_system=ext4"];
            assert_eq!(others, wanted, "{len}");
            let dir = dir.strip_prefix("dir=").unwrap();
            assert!(
                dir.len() >= (BYTES_MAX - 120).min(len / 2 * 2) && dir.chars().all(|char| char == '\u{e4}'),
                "{len}"
            );
        }
    }

    #[test]
    fn what_is_too_long_is_cut_and_too_many_are_left_out() {
        for len in (BYTES_MAX - 40..BYTES_MAX + 40).chain([3 * BYTES_MAX]) {
            let mut message = Message::new(Level::Error, "poison", "\u{e4}".repeat(len / 2));
            for n in 0..30 {
                message = message.with("key", n).with("name", "x".repeat(len));
            }
            let seen = seen(&message);
            assert_eq!((seen.len(), seen[2].as_str()), (4 + FIELDS_MAX, "poison"));
            assert!(seen[3].len() > BYTES_MAX / 16 && seen[3].chars().all(|char| char == '\u{e4}'), "{len}");
            for (at, field) in seen[4..].iter().enumerate() {
                let (key, value) = field.split_once('=').unwrap();
                let whole = if at % 2 == 0 { value == (at / 2).to_string() } else { value.len() > BYTES_MAX / 16 };
                assert!(whole && key == ["key", "name"][at % 2], "{len}: {field}");
            }
        }
    }

    #[test]
    fn null_and_levels_that_there_are_not_are_refused() {
        // SAFETY: NULL is allowed in a call's own words.
        assert_eq!(unsafe { twal_message_callback(null_mut(), 0, None, null_mut()) }, -101);
        let level = |number| listener_of(None, null_mut(), number).map(|listener| listener.is_none());
        assert_eq!([0, 1, 2, 3, 4].map(&level), [Ok(true), Ok(true), Ok(true), Ok(true), Ok(true)]);
        assert_eq!([5, 1 << 32].map(|number| level(number).unwrap_err().code), [Code::Inval; 2]);
    }
}
