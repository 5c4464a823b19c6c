//! `std::sync::OnceLock` as it is documented, of loom's parts: the value's bytes are published by whoever sets it first.

use std::fmt;

use loom::cell::UnsafeCell;
use loom::sync::atomic::{AtomicU32, Ordering};

const EMPTY: u32 = 0;
const WRITING: u32 = 1;
const SET: u32 = 2;

pub struct OnceLock<T> {
    state: AtomicU32,
    value: UnsafeCell<Option<T>>,
}

// SAFETY: the value is written by who changed the state from EMPTY, and read after SET was seen; loom checks just that.
unsafe impl<T: Send + Sync> Sync for OnceLock<T> {}

impl<T> Default for OnceLock<T> {
    fn default() -> OnceLock<T> {
        OnceLock { state: AtomicU32::new(EMPTY), value: UnsafeCell::new(None) }
    }
}

impl<T> OnceLock<T> {
    pub fn get(&self) -> Option<&T> {
        if self.state.load(Ordering::Acquire) != SET {
            return None;
        }
        // SAFETY: it is set, and never changes again; loom complains otherwise.
        self.value.with(|value| unsafe { (*value).as_ref() })
    }

    /// Waits for who is setting it now, as the original does.
    pub fn set(&self, value: T) -> Result<(), T> {
        if self.state.compare_exchange(EMPTY, WRITING, Ordering::Acquire, Ordering::Acquire).is_err() {
            while self.state.load(Ordering::Acquire) != SET {
                loom::thread::yield_now();
            }
            return Err(value);
        }
        // SAFETY: nobody else gets past EMPTY, nobody reads before SET; loom complains otherwise.
        self.value.with_mut(|inside| unsafe { *inside = Some(value) });
        self.state.store(SET, Ordering::Release);
        Ok(())
    }
}

impl<T> fmt::Debug for OnceLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OnceLock")
    }
}
