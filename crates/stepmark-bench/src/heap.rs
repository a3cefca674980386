//! How many allocations does a piece of work make?
//!
//! The program's allocator is the system's, with a counter per thread in front: two additions to memory of the thread's
//! own, so that the figures of timed work hardly move. Only the calling thread is counted.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    static COUNTS: Cell<Counts> = const { Cell::new(Counts { allocations: 0, live_bytes: 0 }) };
}

/// What a thread has done since it began.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Counts {
    /// Allocations and reallocations.
    pub(crate) allocations: u64,
    /// Bytes allocated less bytes freed.
    pub(crate) live_bytes: i64,
}

/// The counts of this thread.
pub(crate) fn counts() -> Counts {
    COUNTS.get()
}

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn note(allocations: u64, bytes: i64) {
    let counts = COUNTS.get();
    COUNTS.set(Counts { allocations: counts.allocations + allocations, live_bytes: counts.live_bytes + bytes });
}

#[expect(unsafe_code, reason = "the allocator interface is unsafe; each call is handed to the system's as it came")]
// SAFETY: every method forwards its arguments unchanged to `System`; counting touches a thread-local cell that needs no
// initialisation and no allocation.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(1, layout.size() as i64);
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        note(1, layout.size() as i64);
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        note(0, -(layout.size() as i64));
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        note(1, bytes as i64 - layout.size() as i64);
        unsafe { System.realloc(pointer, layout, bytes) }
    }
}
