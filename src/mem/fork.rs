//! Has this process forked since?  A load, not a system call.
//!
//! One page of the process is marked MADV_WIPEONFORK: a child finds zeros
//! there.  It holds the generation: a number that is never 0, and that no
//! ancestor of the process has used.  A guard remembers the generation it was
//! made in; in a child the page says 0, or, once the child has made a guard of
//! its own, another generation.  Installs no handler, and costs the process
//! one page, for ever.
//!
//! Where the kernel cannot wipe (before 4.14, or a sandbox), a guard remembers
//! the process id instead and every look is a system call.
//!
//! A vfork()ed child shares the parent's memory and passes for it; it may only
//! exec or exit anyway.

use std::ptr::null_mut;
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

/// The page; null until the first guard, `NO_PAGE` if there can be none.
///
/// Not a OnceLock: a fork in the middle of its initialisation, by another
/// thread, would leave it locked in the child for ever.
static PAGE: AtomicPtr<AtomicU64> = AtomicPtr::new(null_mut());

/// The last generation handed out.  Copied to children, so theirs are higher.
static GENERATION: AtomicU64 = AtomicU64::new(0);

/// Stands for "this kernel cannot wipe".
static NO_PAGE: AtomicU64 = AtomicU64::new(0);

/// Tells whether the process is a child of the one that made it.
#[derive(Debug, Clone)]
pub struct ForkGuard {
    page: Option<&'static AtomicU64>,
    /// The generation, or the process id where there is no page.
    origin: u64,
}

impl Default for ForkGuard {
    fn default() -> Self {
        ForkGuard::new()
    }
}

impl ForkGuard {
    /// A guard of this process.
    pub fn new() -> ForkGuard {
        match page() {
            Some(page) => ForkGuard { page: Some(page), origin: generation(page) },
            None => ForkGuard { page: None, origin: pid() },
        }
    }

    /// Whether this is a child, or a child's child, of the process that made the guard.
    #[inline]
    pub fn forked(&self) -> bool {
        match self.page {
            // Relaxed: in one process the value never changes under a guard,
            // and a child starts as one thread that sees the wiped page.
            Some(page) => page.load(Ordering::Relaxed) != self.origin,
            None => pid() != self.origin,
        }
    }
}

fn pid() -> u64 {
    u64::from(std::process::id())
}

/// This process' generation; begins one if the page is new or wiped.
fn generation(page: &AtomicU64) -> u64 {
    // Relaxed throughout: the numbers publish nothing.
    let now = page.load(Ordering::Relaxed);
    if now != 0 {
        return now;
    }
    let next = GENERATION.fetch_add(1, Ordering::Relaxed) + 1;
    match page.compare_exchange(0, next, Ordering::Relaxed, Ordering::Relaxed) {
        Ok(_) => next,
        Err(others) => others,
    }
}

/// The page, mapped at the first call; None if this kernel cannot wipe.
fn page() -> Option<&'static AtomicU64> {
    // Acquire: pairs with the exchange that published a mapped page.
    let mut found = PAGE.load(Ordering::Acquire);
    if found.is_null() {
        let made = map_page().unwrap_or((&raw const NO_PAGE).cast_mut());
        match PAGE.compare_exchange(null_mut(), made, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => found = made,
            Err(others) => {
                found = others;
                if !std::ptr::eq(made, &raw const NO_PAGE) {
                    // SAFETY: we mapped it a moment ago, nobody else has seen it.
                    unsafe { libc::munmap(made.cast(), page_size()) };
                }
            }
        }
    }
    if std::ptr::eq(found, &raw const NO_PAGE) {
        return None;
    }
    // SAFETY: a published page is mapped, page-aligned, and never unmapped;
    // any bytes are an AtomicU64, and everybody uses it as one.
    Some(unsafe { &*found })
}

fn page_size() -> usize {
    // SAFETY: sysconf only looks a number up.
    usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(4096)
}

/// A page of zeros that a child finds as zeros.
fn map_page() -> Option<*mut AtomicU64> {
    let size = page_size();
    // SAFETY: a new private mapping at an address of the kernel's choice.
    let page = unsafe {
        libc::mmap(null_mut(), size, libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0)
    };
    if page == libc::MAP_FAILED {
        return None;
    }
    // SAFETY: the mapping is ours and `size` long; wiping takes effect in children only.
    if unsafe { libc::madvise(page, size, libc::MADV_WIPEONFORK) } != 0 {
        // SAFETY: ours, and nobody else has seen it.
        unsafe { libc::munmap(page, size) };
        return None;
    }
    Some(page.cast())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs `test` in a forked child; whether it was true there.
    fn in_child(test: impl FnOnce() -> bool) -> bool {
        // SAFETY: the child only looks at atomics and exits without unwinding
        // or running anything of the parent's.
        let child = unsafe { libc::fork() };
        assert!(child >= 0, "fork failed");
        if child == 0 {
            let status = if test() { 0 } else { 1 };
            // SAFETY: ends the child at once.
            unsafe { libc::_exit(status) };
        }
        let mut status = -1;
        // SAFETY: waits for the child made above, and writes to a local.
        assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
        libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0
    }

    #[test]
    fn a_child_is_told_and_the_parent_is_not() {
        let guard = ForkGuard::new();
        assert!(!guard.forked());
        assert!(in_child(|| guard.forked()));
        assert!(!guard.forked());
        assert!(!in_child(|| !guard.forked()), "the harness can fail");
    }

    #[test]
    fn a_child_has_guards_of_its_own() {
        let old = ForkGuard::new();
        assert!(in_child(|| {
            let new = ForkGuard::new();
            let here = !new.forked() && old.forked() && !new.clone().forked();
            here && in_child(|| {
                let newest = ForkGuard::new();
                new.forked() && old.forked() && !newest.forked()
            })
        }));
    }

    #[test]
    fn without_the_page_the_process_id_tells() {
        let guard = ForkGuard { page: None, origin: pid() };
        assert!(!guard.forked());
        assert!(in_child(|| guard.forked()));
    }
}
