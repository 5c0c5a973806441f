//! What compiled formulas call: 128-bit integers, functions of floats and texts, items in, values and sums out.
//!
//! This is no kernel by itself. `shared::formula` takes the compiled module, appends the code of one formula with its
//! loop and its `run`, and cuts away what that formula does not call. Results of more than one word come back in
//! [`RESULT`]; a function that can fail answers with a [`Failure`] code, 0 if all is well.
#![no_std]

extern crate alloc;

#[allow(dead_code)] // the host reads what a guest writes
#[path = "../../../shared/src/exchange/mod.rs"]
mod exchange;

mod angle;
mod heap;
mod integer;
mod items;
mod power;
mod real;
mod reduction;
#[cfg(feature = "text")]
mod text;

use core::cell::UnsafeCell;

#[global_allocator]
static HEAP: heap::Heap = heap::Heap;

/// The kernel contract's `alloc`.
#[unsafe(no_mangle)]
extern "C" fn alloc(len: usize) -> *mut u8 {
    heap::room(len)
}

/// Two words that a function hands back: an integer's low and high half, or a text's address and length.
#[repr(transparent)]
pub struct Cell<T>(UnsafeCell<T>);

// A guest has one thread.
unsafe impl<T> Sync for Cell<T> {}

impl<T> Cell<T> {
    const fn new(value: T) -> Self {
        Self(UnsafeCell::new(value))
    }

    /// # Safety
    /// Only one reference at a time: every exported function takes its own and drops it before it returns.
    #[allow(clippy::mut_from_ref)]
    unsafe fn get(&self) -> &mut T {
        unsafe { &mut *self.0.get() }
    }
}

/// See the module's text.
#[unsafe(no_mangle)]
pub static RESULT: Cell<[u64; 2]> = Cell::new([0; 2]);

/// Where the texts of the formula are put by the host.
#[unsafe(no_mangle)]
pub static FORMULA_TEXTS: Cell<[u8; exchange::FORMULA_TEXT_BYTES]> = Cell::new([0; exchange::FORMULA_TEXT_BYTES]);

fn give(value: i128) -> i32 {
    unsafe { *RESULT.get() = [value as u64, (value >> 64) as u64] };
    0
}

fn give_or(value: Option<i128>, failure: exchange::Failure) -> i32 {
    match value {
        Some(value) => give(value),
        None => failure as i32,
    }
}

fn wide(low: u64, high: u64) -> i128 {
    (u128::from(high) << 64 | u128::from(low)) as i128
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    core::arch::wasm32::unreachable()
}
