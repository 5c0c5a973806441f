//! The kernel contract around a function from bytes to bytes, for the kernels of this repository.

/// Exports `alloc` and `run` for a function `fn(&[u8]) -> Vec<u8>`.
#[macro_export]
macro_rules! kernel {
    ($answer:path) => {
        /// Room for the input.
        #[unsafe(no_mangle)]
        pub extern "C" fn alloc(len: usize) -> *mut u8 {
            Vec::leak(Vec::from_iter(std::iter::repeat_n(0u8, len))).as_mut_ptr()
        }

        /// Address and length of the output.
        ///
        /// # Safety
        /// The input comes from [`alloc`].
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn run(input: *const u8, len: usize) -> u64 {
            let output = $answer(unsafe { std::slice::from_raw_parts(input, len) }).leak();
            (output.as_ptr() as u64) << 32 | output.len() as u64
        }
    };
}
