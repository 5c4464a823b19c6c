//! A complete segment read by mapping it: piece by piece, in the page cache no
//! longer than it is looked at.

use std::ops::Deref;
use std::sync::Arc;

use crate::base::bytes::{len_u64, usize_of};
use crate::base::{Code, Error, Result};
use crate::disk::{File, Mapped};
use crate::mem::fork::ForkGuard;

/// Bytes that are made ready at once.
const PIECE: u64 = 1 << 20;

/// See the module.
pub struct Mapping {
    mapped: Mapped,
    file: Arc<dyn File>,
    index: u64,
    size: u64,
    fork: ForkGuard,
}

impl Mapping {
    /// The file of segment `index`, of `size` bytes, which nobody writes any more; None: this cannot be had here.
    pub fn of(file: &Arc<dyn File>, index: u64, size: u64) -> Option<Mapping> {
        if file.size().ok()? < size {
            // What is there of it is read in the other way.
            return None;
        }
        let mapped = file.map(size).ok()?;
        Some(Mapping { mapped, file: Arc::clone(file), index, size, fork: ForkGuard::new() })
    }

    /// Has `len` bytes at `offset` there, and some more, up to the offset that is returned; what lies in front goes.
    pub fn make_ready(&mut self, offset: u64, len: usize) -> Result<usize> {
        let failed = |error| {
            Error { code: Code::Io, ..Error::os("cannot read the mapped segment", &error) }.at(self.index, offset)
        };
        let size = self.file.size().map_err(failed)?;
        if size < self.size || offset + len_u64(len) > self.size {
            let text = format!("the segment file ends at {}", size.min(self.size));
            return Err(Error::new(Code::Corrupt, text).at(self.index, offset));
        }
        if let Some((from, to)) = self.mapped.drop_behind(offset) {
            self.file.uncache(from, to - from);
        }
        let end = (offset + len_u64(len).max(PIECE)).min(self.size);
        self.mapped.make_ready(offset, end).map_err(failed)?;
        Ok(usize_of(end))
    }

    /// What was there goes: the device is asked again.
    pub fn forget(&mut self) {
        self.mapped.drop_all();
        self.file.uncache(0, self.size);
    }
}

impl Deref for Mapping {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.mapped
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // In a forked child the page cache is not its to change.
        if !self.fork.forked() {
            self.forget();
        }
    }
}
