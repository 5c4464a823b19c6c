//! Messages: what happens in a log beside what its calls return, for whoever runs the program.
//!
//! What happens is noted where it happens, under any lock; whoever listens is called later, from places that hold none
//! ([`Messages::deliver`]): by the thread that calls what was registered, or by a caller of the log's on its way out.
//! One call at a time, in the order in which it was noted, whatever thread makes them: whoever comes while another
//! thread is calling leaves what there is to that one.
//!
//! Nobody is called any more when [`Messages::listen`] has returned that put another listener in its place, or none;
//! only one who does that inside a call is still in it.  Where nobody listens, a message costs one load.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::ThreadId;

use super::{Code, Error};

/// Messages that wait for a listener who is slow; what comes on top is counted, not kept.
const WAITING_MAX: usize = 256;

/// How much a message matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Something promised cannot be kept, or was lost.
    Error = 1,
    /// Somebody should look at it.
    Warning = 2,
    /// What a log does in the course of its life.
    Info = 3,
    /// What only its developers want.
    Debug = 4,
}

/// A number or a text that belongs to a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// A number.
    Number(u64),
    /// A text.
    Text(Cow<'static, str>),
}

impl From<u64> for Value {
    fn from(number: u64) -> Value {
        Value::Number(number)
    }
}

impl From<bool> for Value {
    fn from(yes: bool) -> Value {
        Value::Number(u64::from(yes))
    }
}

impl From<&'static str> for Value {
    fn from(text: &'static str) -> Value {
        Value::Text(text.into())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Value {
        Value::Text(text.into())
    }
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// How much it matters.
    pub level: Level,
    /// What kind of message it is: one word, for programs.
    pub name: &'static str,
    /// The same for people.
    pub text: Cow<'static, str>,
    /// The failure that it is about, if it is about one.
    pub code: Option<Code>,
    /// What else there is to say.
    pub fields: Vec<(&'static str, Value)>,
}

impl Message {
    /// A message without fields.
    pub fn new(level: Level, name: &'static str, text: impl Into<Cow<'static, str>>) -> Message {
        Message { level, name, text: text.into(), code: None, fields: Vec::new() }
    }

    /// About a failure; its place comes as fields.
    pub fn of(level: Level, name: &'static str, error: &Error) -> Message {
        let place = [("segment", error.segment), ("offset", error.offset), ("seq", error.seq)];
        let os_errno = u64::try_from(error.os_errno).unwrap_or(0);
        let mut message = Message { code: Some(error.code), ..Message::new(level, name, error.text.clone()) };
        for (key, number) in [("errno", os_errno)].into_iter().chain(place).filter(|(_, number)| *number != 0) {
            message = message.with(key, number);
        }
        message
    }

    /// The same with one more field.
    pub fn with(mut self, key: &'static str, value: impl Into<Value>) -> Message {
        self.fields.push((key, value.into()));
        self
    }
}

/// Who is told, and what of.
#[derive(Clone)]
pub struct Listener {
    /// The highest level that it wants.
    pub level: Level,
    /// What is called.
    pub call: Arc<dyn Fn(&Message) + Send + Sync>,
}

impl Listener {
    /// One that wants messages up to `level`.
    pub fn new(level: Level, call: impl Fn(&Message) + Send + Sync + 'static) -> Listener {
        Listener { level, call: Arc::new(call) }
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener").field("level", &self.level).finish_non_exhaustive()
    }
}

/// See the module.
#[derive(Debug, Default)]
pub struct Messages {
    /// The listener's level; 0: nobody listens.  Written under the lock, looked at without it: a hint.
    level: AtomicU32,
    state: Mutex<State>,
    /// Signalled when a call has returned.
    returned: Condvar,
}

#[derive(Debug, Default)]
struct State {
    listener: Option<Listener>,
    waiting: VecDeque<Message>,
    /// Messages for which there was no room.
    lost: u64,
    /// The gravest of them.
    lost_level: Option<Level>,
    /// The thread that calls, while it does.
    calling: Option<ThreadId>,
    /// Calls begun so far.
    calls: u64,
    /// Nobody is called any more, whoever asks for it.
    ended: bool,
}

impl Messages {
    /// With this listener, if there is one.
    pub fn new(listener: Option<Listener>) -> Messages {
        let messages = Messages::default();
        drop(messages.put(&mut messages.lock(), listener));
        messages
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing of others' runs under this lock, so nothing panics under it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The listener before: what it holds is the program's, and goes when no lock is held.
    #[must_use]
    fn put(&self, state: &mut State, listener: Option<Listener>) -> Option<Listener> {
        let listener = listener.filter(|_| !state.ended);
        self.level.store(listener.as_ref().map_or(0, |listener| listener.level as u32), Ordering::Relaxed);
        if listener.is_none() {
            // What was noted for the one before is for nobody else.
            state.waiting.clear();
            (state.lost, state.lost_level) = (0, None);
        }
        std::mem::replace(&mut state.listener, listener)
    }

    /// Whether anybody listens.
    pub fn is_listened(&self) -> bool {
        self.level.load(Ordering::Relaxed) > 0
    }

    /// Notes what `message` makes, if somebody wants that level; true: it is to be delivered.
    pub fn say(&self, level: Level, message: impl FnOnce() -> Message) -> bool {
        if level as u32 > self.level.load(Ordering::Relaxed) {
            return false;
        }
        let message = message();
        let mut state = self.lock();
        if state.listener.is_none() {
            return false;
        }
        if state.waiting.len() >= WAITING_MAX {
            state.lost += 1;
            state.lost_level = state.lost_level.min(Some(level)).or(Some(level));
        } else {
            state.waiting.push_back(message);
        }
        true
    }

    /// Calls the listener with what was noted, unless another thread is at it, or this one.  Hold no lock.
    pub fn deliver(&self) {
        if !self.is_listened() {
            return;
        }
        loop {
            let (listener, message) = {
                let mut state = self.lock();
                if state.calling.is_some() {
                    return;
                }
                let Some((listener, message)) = next(&mut state) else { return };
                state.calling = Some(std::thread::current().id());
                state.calls += 1;
                (listener, message)
            };
            let _calling = Calling(self);
            (listener.call)(&message);
        }
    }

    /// From now on `listener` is told.  Returns when no other thread is inside a call of the one before.
    pub fn listen(&self, listener: Option<Listener>) {
        let mut state = self.lock();
        let before = self.put(&mut state, listener);
        let (calls, me) = (state.calls, std::thread::current().id());
        while state.calls == calls && state.calling.is_some_and(|calling| calling != me) {
            state = self.returned.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        drop(state);
        drop(before);
    }

    /// Delivers what is left, or sees to it that another thread has; inside a call that is left to whoever calls.
    pub fn deliver_all(&self) {
        let me = std::thread::current().id();
        loop {
            self.deliver();
            let state = self.lock();
            if state.calling.is_some_and(|calling| calling != me) {
                // Another thread is at it.
                drop(self.returned.wait(state).unwrap_or_else(PoisonError::into_inner));
            } else if state.waiting.is_empty() || state.calling.is_some() {
                return;
            }
        }
    }

    /// Delivers what is left, and nothing after it: nobody is called when this has returned.
    pub fn end(&self) {
        self.deliver_all();
        self.lock().ended = true;
        self.listen(None);
    }

    /// This thread is inside a call.
    pub fn is_calling_here(&self) -> bool {
        self.lock().calling == Some(std::thread::current().id())
    }
}

/// Who is told what next.
fn next(state: &mut State) -> Option<(Listener, Message)> {
    let listener = state.listener.clone()?;
    while let Some(message) = state.waiting.pop_front() {
        // The listener may have changed since it was noted.
        if message.level <= listener.level {
            return Some((listener, message));
        }
    }
    let lost = std::mem::take(&mut state.lost);
    // As grave as what was lost: who wants nothing else is told of lost errors alone.
    let level = state.lost_level.take()?.min(Level::Warning);
    let text = "messages came faster than they were taken, and some are left out";
    (level <= listener.level).then(|| (listener, Message::new(level, "messages_lost", text).with("messages", lost)))
}

/// A call that is over when this goes.
struct Calling<'messages>(&'messages Messages);

impl Drop for Calling<'_> {
    fn drop(&mut self) {
        self.0.lock().calling = None;
        self.0.returned.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, AtomicUsize};
    use std::sync::Barrier;

    type Heard = Arc<Mutex<Vec<String>>>;

    fn listener(level: Level) -> (Listener, Heard) {
        let heard = Heard::default();
        let to = Arc::clone(&heard);
        (Listener::new(level, move |message| to.lock().unwrap().push(message.text.to_string())), heard)
    }

    fn note(messages: &Messages, level: Level, text: &str) -> bool {
        messages.say(level, || Message::new(level, "test", text.to_owned()))
    }

    #[test]
    fn what_is_wanted_is_delivered_in_order() {
        let (listener, heard) = listener(Level::Warning);
        let messages = Messages::new(Some(listener));
        assert!(note(&messages, Level::Error, "a") && note(&messages, Level::Warning, "b"));
        assert!(!messages.say(Level::Info, || panic!("it is not even made")));
        assert!(heard.lock().unwrap().is_empty(), "not before it is delivered");
        messages.deliver();
        assert_eq!(*heard.lock().unwrap(), ["a", "b"]);
        messages.listen(None);
        assert!(!note(&messages, Level::Error, "c"));
        messages.deliver();
        assert_eq!(heard.lock().unwrap().len(), 2);
    }

    #[test]
    fn nobody_is_called_after_unset() {
        let (listener, heard) = listener(Level::Debug);
        let messages = Messages::new(Some(listener));
        note(&messages, Level::Error, "noted before, delivered after");
        messages.listen(None);
        messages.deliver();
        messages.listen(Some(Listener::new(Level::Debug, |_| panic!("that was for another"))));
        messages.deliver();
        assert!(heard.lock().unwrap().is_empty());
    }

    /// Unset returns only when the call on the other thread has.
    #[test]
    fn unset_waits_for_the_call() {
        for ends in [false, true] {
            let (inside, out) = (Arc::new(Barrier::new(2)), Arc::new(AtomicBool::new(false)));
            let (there, done) = (Arc::clone(&inside), Arc::clone(&out));
            let messages = Messages::new(Some(Listener::new(Level::Info, move |_| {
                there.wait();
                there.wait();
                for _ in 0..100 {
                    std::thread::yield_now();
                }
                done.store(true, Ordering::SeqCst);
            })));
            note(&messages, Level::Info, "one");
            std::thread::scope(|scope| {
                scope.spawn(|| messages.deliver());
                inside.wait();
                // Another thread does not call beside it.
                messages.deliver();
                inside.wait();
                if ends {
                    messages.end();
                } else {
                    messages.listen(None);
                }
                assert!(out.load(Ordering::SeqCst));
                messages.listen(Some(Listener::new(Level::Info, |_| ())));
                assert_eq!(messages.is_listened(), !ends, "after the end nobody listens");
            });
        }
    }

    /// The end comes after what was noted before it, also where another thread is at it.
    #[test]
    fn the_end_loses_nothing() {
        let (inside, heard) = (Arc::new(Barrier::new(2)), Arc::new(AtomicUsize::new(0)));
        let (there, counted) = (Arc::clone(&inside), Arc::clone(&heard));
        let messages = Messages::new(Some(Listener::new(Level::Info, move |_| {
            if counted.fetch_add(1, Ordering::SeqCst) == 0 {
                there.wait();
                there.wait();
            }
        })));
        (0..3).for_each(|_| assert!(note(&messages, Level::Info, "one of three")));
        std::thread::scope(|scope| {
            scope.spawn(|| messages.deliver());
            inside.wait();
            scope.spawn(|| {
                for _ in 0..100 {
                    std::thread::yield_now();
                }
                inside.wait();
            });
            messages.end();
            assert_eq!(heard.load(Ordering::SeqCst), 3);
        });
    }

    /// What a call notes is delivered behind it, not inside it; and it may unset.
    #[test]
    fn a_call_may_do_what_it_likes() {
        let messages = Arc::new(Messages::default());
        let (inner, depth, calls) = (Arc::clone(&messages), AtomicUsize::new(0), Arc::new(AtomicUsize::new(0)));
        let counted = Arc::clone(&calls);
        messages.listen(Some(Listener::new(Level::Info, move |_| {
            assert_eq!(depth.fetch_add(1, Ordering::SeqCst), 0);
            assert!(inner.is_calling_here());
            if counted.fetch_add(1, Ordering::SeqCst) < 2 {
                note(&inner, Level::Info, "again");
                inner.deliver();
            } else {
                inner.listen(None);
                note(&inner, Level::Info, "no more");
            }
            depth.fetch_sub(1, Ordering::SeqCst);
        })));
        note(&messages, Level::Info, "first");
        messages.deliver();
        assert_eq!(calls.load(Ordering::SeqCst), 3);
        assert!(!messages.is_calling_here() && !messages.is_listened());
    }

    #[test]
    fn what_has_no_room_is_counted() {
        let (listener, heard) = listener(Level::Info);
        let messages = Messages::new(Some(listener));
        for n in 0..WAITING_MAX + 3 {
            note(&messages, Level::Info, &n.to_string());
        }
        messages.deliver();
        let heard = heard.lock().unwrap();
        assert_eq!((heard.len(), heard[WAITING_MAX - 1].as_str()), (WAITING_MAX + 1, "255"));
        assert!(heard[WAITING_MAX].contains("left out"));
    }

    /// What a listener holds may use its log when it goes.
    #[test]
    fn a_listener_goes_under_no_lock() {
        struct Goes(Arc<Messages>, Arc<AtomicUsize>);
        impl Drop for Goes {
            fn drop(&mut self) {
                assert!(self.0.state.try_lock().is_ok());
                self.1.fetch_add(1, Ordering::SeqCst);
            }
        }
        let (messages, gone) = (Arc::new(Messages::default()), Arc::new(AtomicUsize::new(0)));
        for wanted in [0, 1] {
            let goes = Goes(Arc::clone(&messages), Arc::clone(&gone));
            messages.listen(Some(Listener::new(Level::Info, move |_| assert!(goes.1.load(Ordering::SeqCst) < 9))));
            assert_eq!(gone.load(Ordering::SeqCst), wanted);
        }
        messages.end();
        assert_eq!(gone.load(Ordering::SeqCst), 2);
    }

    /// It is a message like others, as grave as what was lost: not for who wants only what is graver.
    #[test]
    fn what_is_lost_is_as_grave_as_the_gravest_of_it() {
        for (lost, wanted, told) in [
            (Level::Error, Level::Error, Some(Level::Error)),
            (Level::Info, Level::Info, Some(Level::Warning)),
            (Level::Info, Level::Error, None),
        ] {
            let heard = Arc::new(Mutex::new(Vec::new()));
            let messages = Messages::new(Some(listener(Level::Info).0));
            for _ in 0..WAITING_MAX {
                note(&messages, Level::Error, "kept");
            }
            note(&messages, Level::Info, "lost");
            note(&messages, lost, "lost");
            let to = Arc::clone(&heard);
            let only_lost = move |message: &Message| {
                if message.name == "messages_lost" {
                    to.lock().unwrap().push((message.level, message.fields.clone()));
                }
            };
            messages.listen(Some(Listener::new(wanted, only_lost)));
            messages.deliver();
            let fields = vec![("messages", Value::from(2))];
            let told: Vec<_> = told.map(|level| (level, fields)).into_iter().collect();
            assert_eq!(*heard.lock().unwrap(), told, "{lost:?} for {wanted:?}");
        }
    }

    #[test]
    fn a_failure_says_where() {
        let error = Error::os("cannot write", &std::io::Error::from_raw_os_error(5)).at(3, 4096).about_seq(7);
        let message = Message::of(Level::Error, "poison", &error);
        assert_eq!((message.code, message.text.contains("cannot write")), (Some(Code::Io), true));
        let fields = [("errno", 5.into()), ("segment", 3.into()), ("offset", 4096.into()), ("seq", 7.into())];
        assert_eq!(message.fields, fields);
    }
}
