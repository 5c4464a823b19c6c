//! What a panic said, for whoever makes an error of it; and a hook that notes that, and prints nothing.
//!
//! A panic hook is one for all of a program's Rust.  In the C libraries that is twal alone: the standard library in
//! them is their own, and nobody else sees it (twal.map).  There `ffi/guard.rs` sets the hook.  In a program of Rust it is
//! the program's, and stays what it is.

use std::any::Any;
use std::cell::RefCell;
use std::panic::PanicHookInfo;
use std::sync::Once;

thread_local! {
    /// What this thread's last panic said, and where it was; None also without the hook.
    static NOTED: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Panics are noted from now on, and not printed.
pub fn keep_quiet() {
    static SET: Once = Once::new();
    SET.call_once(|| std::panic::set_hook(Box::new(note)));
}

fn note(info: &PanicHookInfo<'_>) {
    let mut said = text_of(info.payload());
    if let Some(place) = info.location() {
        // In front: the end of a long text is cut off.
        said = format!("{place}: {said}");
    }
    // A thread that has no locals any more has nobody to tell it to.
    let _ = NOTED.try_with(|noted| noted.replace(Some(said)));
}

/// Where this thread's last panic was, and what it said, if it was noted.
pub fn noted() -> Option<String> {
    NOTED.take()
}

/// What a panic with this payload says.
pub fn text_of(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("it panicked").to_owned()
}
