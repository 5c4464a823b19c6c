//! A zeroed buffer at an address that O_DIRECT accepts.

use std::alloc::{alloc_zeroed, dealloc, Layout};
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

use crate::base::{Code, Error, Result};

/// Alignment of every buffer: no device asks for more than a page.
pub const ALIGN: usize = 4096;

/// Owned bytes, zero at first, aligned to [`ALIGN`].
pub struct AlignedBuf {
    start: NonNull<u8>,
    layout: Layout,
}

impl AlignedBuf {
    /// `len` zero bytes, at least 1; NoMem if there is no memory.
    pub fn zeroed(len: usize) -> Result<Self> {
        let no_memory = || Error {
            os_errno: libc::ENOMEM,
            ..Error::new(Code::NoMem, format!("no memory for a buffer of {len} bytes"))
        };
        let layout = Layout::from_size_align(len.max(1), ALIGN).map_err(|_| no_memory())?;
        // SAFETY: `layout` has a size above 0 (the line before keeps that).
        let start = NonNull::new(unsafe { alloc_zeroed(layout) }).ok_or_else(no_memory)?;
        Ok(AlignedBuf { start, layout })
    }

    /// Where the bytes begin.
    pub(super) fn as_ptr(&self) -> NonNull<u8> {
        self.start
    }
}

impl Deref for AlignedBuf {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        // SAFETY: `start` is an allocation of exactly this layout, initialised by alloc_zeroed, owned by self.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.layout.size()) }
    }
}

impl DerefMut for AlignedBuf {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in deref; `&mut self` makes the access exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.layout.size()) }
    }
}

impl Drop for AlignedBuf {
    fn drop(&mut self) {
        // SAFETY: allocated with this very layout in `zeroed`, freed only here.
        unsafe { dealloc(self.start.as_ptr(), self.layout) }
    }
}

// SAFETY: the buffer owns its bytes as a Vec<u8> would; nothing in it is tied to a thread.
unsafe impl Send for AlignedBuf {}
// SAFETY: shared access only reads.
unsafe impl Sync for AlignedBuf {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_zero_and_aligned() {
        let mut buf = AlignedBuf::zeroed(10_000).unwrap();
        assert_eq!(buf.as_ptr().as_ptr().addr() % ALIGN, 0);
        assert!(buf.iter().all(|&byte| byte == 0));
        buf[9_999] = 7;
        assert_eq!(buf.len(), 10_000);
    }

    #[test]
    fn an_absurd_size_is_an_error() {
        assert_eq!(AlignedBuf::zeroed(usize::MAX).err().map(|error| error.code), Some(Code::NoMem));
    }
}
