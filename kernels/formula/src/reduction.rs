//! The running reduction, one function per way to reduce and type, so that a formula pulls in only its own.

use alloc::vec::Vec;

use crate::{
    Cell,
    exchange::{
        STATUS_DONE,
        partial::{Partial, Reduce},
    },
    items::give_output,
    wide,
};

static PARTIAL: Cell<Partial> = Cell::new(Partial::new());

macro_rules! reductions {
    ($($reduce:ident $integer:ident $float:ident $finish:ident;)*) => {$(
        #[unsafe(no_mangle)]
        extern "C" fn $integer(low: u64, high: u64) {
            unsafe { PARTIAL.get() }.take_integer(Reduce::$reduce, wide(low, high));
        }

        #[unsafe(no_mangle)]
        extern "C" fn $float(value: f64) {
            unsafe { PARTIAL.get() }.take_float(Reduce::$reduce, value);
        }

        #[unsafe(no_mangle)]
        extern "C" fn $finish(count: u64) -> u64 {
            let partial = unsafe { PARTIAL.get() };
            partial.count = count;
            let mut out = Vec::with_capacity(1024);
            out.push(STATUS_DONE);
            partial.encode(Reduce::$reduce, &mut out);
            give_output(out)
        }
    )*};
}

reductions! {
    Sum sum_integer sum_float sum_finish;
    Product product_integer product_float product_finish;
    Min min_integer min_float min_finish;
    Max max_integer max_float max_finish;
    Count count_integer count_float count_finish;
    Average average_integer average_float average_finish;
}
