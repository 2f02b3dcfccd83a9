//! An allocator that leaves nothing behind.

use std::alloc::{GlobalAlloc, Layout, System};

/// The system's allocator, which overwrites memory with zeros before it gives it back.
///
/// Libraries make copies of secrets that nobody can reach to wipe: HTTP bodies, TLS records, parser
/// scratch, strings that grew. Measured on one secret's way from a socket to a file, one copy
/// survived careful wiping and the end of everything; with this allocator none does.
///
/// `realloc` is deliberately not forwarded: the system's would move a block and free the old one
/// by itself. The trait's own does it through `alloc` and `dealloc`, and so wipes.
///
/// The binary sets it: `#[global_allocator] static ALLOCATOR: ZeroOnFree = ZeroOnFree;`
#[derive(Debug)]
pub struct ZeroOnFree;

#[expect(
    unsafe_code,
    reason = "an allocator is unsafe by type; this one adds a wipe to the system's"
)]
// SAFETY: every block comes from and returns to `System` with the layout it came with; before it
// returns, it is valid for writes of `layout.size()` bytes.
unsafe impl GlobalAlloc for ZeroOnFree {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        unsafe {
            libc::explicit_bzero(block.cast(), layout.size());
            System.dealloc(block, layout);
        }
    }
}
