//! Memory: a heap that only grows (an instance lives for one call), with a mark to fall back to between items.

use core::alloc::{GlobalAlloc, Layout};
use core::arch::wasm32::{memory_grow, memory_size};

use crate::Cell;

const PAGE: usize = 64 << 10;

unsafe extern "C" {
    static __heap_base: u8;
}

static TOP: Cell<usize> = Cell::new(0);

struct Heap;

#[global_allocator]
static HEAP: Heap = Heap;

unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let top = unsafe { TOP.get() };
        if *top == 0 {
            *top = &raw const __heap_base as usize;
        }
        let start = (*top + layout.align() - 1) & !(layout.align() - 1);
        let Some(end) = start.checked_add(layout.size()) else { return core::ptr::null_mut() };
        let have = memory_size(0) * PAGE;
        if end > have && memory_grow(0, (end - have).div_ceil(PAGE)) == usize::MAX {
            return core::ptr::null_mut();
        }
        *top = end;
        start as *mut u8
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        let top = unsafe { TOP.get() };
        if block as usize + layout.size() == *top {
            *top = block as usize;
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        let top = unsafe { TOP.get() };
        if block as usize + layout.size() == *top {
            *top = block as usize;
            // The same start: nothing moves.
            let same = unsafe { self.alloc(Layout::from_size_align_unchecked(new_size, layout.align())) };
            if same.is_null() {
                *top = block as usize + layout.size();
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

/// The kernel contract's `alloc`: room for the input.
#[unsafe(no_mangle)]
pub extern "C" fn alloc(len: usize) -> *mut u8 {
    match Layout::from_size_align(len, 16) {
        Ok(layout) => unsafe { HEAP.alloc(layout) },
        Err(_) => core::ptr::null_mut(),
    }
}

/// Where the heap ends now.
pub fn mark() -> usize {
    unsafe { *TOP.get() }
}

/// Forgets everything above a mark.
///
/// # Safety
/// Nothing above it is used any more.
pub unsafe fn fall_back(mark: usize) {
    unsafe { *TOP.get() = mark };
}
