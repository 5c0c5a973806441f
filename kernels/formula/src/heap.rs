//! A heap that only grows: an instance lives for one call. Shared by our guests, by path.

use core::{
    alloc::{GlobalAlloc, Layout},
    arch::wasm32::{memory_grow, memory_size},
    sync::atomic::{AtomicUsize, Ordering},
};

const PAGE: usize = 64 << 10;

unsafe extern "C" {
    static __heap_base: u8;
}

/// Where the heap ends now; 0 before its first use. A guest has one thread.
static TOP: AtomicUsize = AtomicUsize::new(0);

/// The allocator.
pub struct Heap;

unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let top = mark();
        let start = (top + layout.align() - 1) & !(layout.align() - 1);
        let Some(end) = start.checked_add(layout.size()) else { return core::ptr::null_mut() };
        let have = memory_size(0) * PAGE;
        if end > have && memory_grow(0, (end - have).div_ceil(PAGE)) == usize::MAX {
            return core::ptr::null_mut();
        }
        set(end);
        start as *mut u8
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if block as usize + layout.size() == mark() {
            set(block as usize);
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        if block as usize + layout.size() == mark() {
            set(block as usize);
            // The same start: nothing moves.
            let same = unsafe { self.alloc(Layout::from_size_align_unchecked(new_size, layout.align())) };
            if same.is_null() {
                set(block as usize + layout.size());
            }
            return same;
        }
        let moved = unsafe { self.alloc(Layout::from_size_align_unchecked(new_size, layout.align())) };
        if !moved.is_null() {
            unsafe { core::ptr::copy_nonoverlapping(block, moved, layout.size().min(new_size)) };
        }
        moved
    }
}

/// Room for a kernel's input; null if there is none.
pub fn room(len: usize) -> *mut u8 {
    match Layout::from_size_align(len.max(1), 16) {
        Ok(layout) => unsafe { Heap.alloc(layout) },
        Err(_) => core::ptr::null_mut(),
    }
}

/// Where the heap ends now.
pub fn mark() -> usize {
    match TOP.load(Ordering::Relaxed) {
        0 => &raw const __heap_base as usize,
        top => top,
    }
}

fn set(top: usize) {
    TOP.store(top, Ordering::Relaxed);
}

/// Forgets everything above a mark.
///
/// # Safety
/// Nothing above it is used any more.
#[allow(dead_code)] // not every guest goes back
pub unsafe fn fall_back(mark: usize) {
    set(mark);
}
