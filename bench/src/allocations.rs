//! What appending allocates: an allocator that counts, and the slice that asks it.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::bulk::pour;
use crate::json::Json;
use crate::report::named;
use crate::scene::{Failure, Scene, SYNC};
use crate::slice::{append, Payload, Spec};

/// Counts while it is told to.  Relaxed: threads that are counted are started, or let go, after that.
struct Counting;

static COUNTS: AtomicBool = AtomicBool::new(false);
static COUNT: AtomicU64 = AtomicU64::new(0);

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn count() {
    if COUNTS.load(Ordering::Relaxed) {
        COUNT.fetch_add(1, Ordering::Relaxed);
    }
}

// SAFETY: passes everything on to the system's allocator; counting touches two atomics.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's contract is the system's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, old: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        count();
        // SAFETY: as above.
        unsafe { System.realloc(old, layout, new_size) }
    }

    unsafe fn dealloc(&self, old: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(old, layout) }
    }
}

/// Calls `work`; also how often the process allocated meanwhile.
pub fn counted<R>(work: impl FnOnce() -> R) -> (R, u64) {
    COUNT.store(0, Ordering::Relaxed);
    COUNTS.store(true, Ordering::Relaxed);
    let result = work();
    COUNTS.store(false, Ordering::Relaxed);
    (result, COUNT.load(Ordering::Relaxed))
}

/// Appends of each kind: waited for, not waited for.
const WARM_UP: u64 = 1_000;
const WAITED_FOR: u64 = 2_000;
const NOT_WAITED_FOR: u64 = 100_000;

/// One thread appends; counted is what all threads of the process allocate meanwhile, so twal's own, too.
/// Nothing rolls: what a new segment allocates is not an append's.
pub fn slice(spec: &Spec) -> Result<Json, Failure> {
    let scene = Scene::in_use(&spec.dir, "allocations", &spec.options(1))?;
    scene.log.roll()?;
    let mut payload = Payload::new(spec.bytes);
    let mut run = |waited: u64, others: u64| -> twal::base::Result<()> {
        for n in 0..waited {
            append(&scene.log, payload.numbered(n), 0, SYNC)?;
        }
        let last = pour(&scene.log, &mut payload, waited, others, 0)?;
        scene.log.sync(last)
    };
    run(WARM_UP, WARM_UP)?;
    scene.settle()?;
    let ((), bell) = counted(|| drop(std::hint::black_box(Box::new(0_u64))));
    let (result, allocations) = counted(|| run(WAITED_FOR, NOT_WAITED_FOR));
    result?;
    if bell == 0 {
        return Err("allocations are not counted: the allocator is another one".into());
    }
    Ok(Json::Map(named([("records", (WAITED_FOR + NOT_WAITED_FOR).into()), ("allocations", allocations.into())])))
}
