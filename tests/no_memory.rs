//! Goal: a reader for which there was no memory goes on where it was when there is some again.
//!
//! Method: an allocator that refuses this thread's buffers for reading while it is told to.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::path::Path;

use twal::base::clock::Clock;
use twal::commit::Threads;
use twal::disk::sim::SimDisk;
use twal::{Code, Entry, How, IterOptions, Log, Options};

thread_local! {
    static REFUSES: Cell<bool> = const { Cell::new(false) };
}

struct Refusing;

// SAFETY: everything is the system allocator's, or nothing.
unsafe impl GlobalAlloc for Refusing {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as the caller promised.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // Pages are what files are read into.
        if layout.align() == 4096 && layout.size() > 64 << 10 && REFUSES.get() {
            return std::ptr::null_mut();
        }
        // SAFETY: as the caller promised.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, old: *mut u8, layout: Layout) {
        // SAFETY: as the caller promised.
        unsafe { System.dealloc(old, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Refusing = Refusing;

#[test]
fn at_the_next_segment_it_is_tried_again() {
    let (disk, clock) = (SimDisk::new(1), Clock::simulated());
    let options = Options { block_size: 4096, segment_size: 64 << 10, ..Options::default() };
    let log = Log::open_on(disk.as_ref(), Path::new("log"), &options, clock, Threads::None).unwrap();
    for _ in 0..3 {
        let entry = Entry { data: b"x", stream: 0, timestamp: None, kind: 0x0100, required: false };
        log.append(&entry, How { sync: Some(true), no_wait: false }).unwrap();
        log.roll().unwrap();
    }
    for snapshot in [false, true] {
        let mut iter = log.iter_with(IterOptions { snapshot, ..IterOptions::default() }).unwrap();
        for seq in 1..=3 {
            REFUSES.set(seq > 1);
            if seq > 1 {
                for _ in 0..2 {
                    assert_eq!(iter.next_record().err().map(|error| error.code), Some(Code::NoMem));
                }
            }
            REFUSES.set(false);
            assert_eq!(iter.next_record().unwrap().map(|record| record.seq), Some(seq));
        }
    }
}
