//! Compares programs of kind `command` with wasmtime's own WASI, byte for byte. All engines here run the same adapted
//! program, so they agree on whatever the adapter does wrong; this referee shares nothing with it.
//!
//! Left out is exactly what a host may choose: what clocks say, random bytes, the name that a program was started by,
//! which of several streams `poll_oneoff` finds ready first, how much one `fd_read` or `fd_write` of several vectors
//! moves, whether reading no bytes is an error, whether an address outside of memory or a value that its type does not
//! have is answered by an error or by a trap (wasmtime 48 traps: its bindings hand such errors on as their own, and not
//! as the `inval` and `overflow` that its WASI would make of them), and exit codes from 126 on, which wasmtime refuses.

pub mod compare;
pub mod frames;
pub mod ours;
pub mod random;
pub mod runs;
pub mod wasi;

/// How a run of a program ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Its exit code, [`TRAPPED`] for a trap; `None` if the host refused the code, so that it says nothing.
    pub code: Option<u32>,
    /// Its standard output.
    pub output: Vec<u8>,
    /// Its standard error.
    pub errors: Vec<u8>,
    /// What the host says of the end, for people.
    pub reason: String,
}

/// The exit code of a program that trapped: a shell's for an abort.
pub const TRAPPED: u32 = 134;
