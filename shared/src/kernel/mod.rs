//! Kernels: the contract that a guest keeps, and the one rewrite after which every engine does the same.
//!
//! A kernel is a WebAssembly module ([`features`] says of which parts) that imports nothing and exports `memory`,
//! `alloc(len: i32) -> ptr: i32` and `run(ptr: i32, len: i32) -> i64` (`ptr << 32 | len` of the output). A host makes a
//! fresh instance, calls `alloc` with the input's length, writes the input there, calls `run`, and copies the output.
//! If the kernel exports `_initialize()`, that is called first. One that exports `init(ptr: i32, len: i32)` is prepared with the
//! bytes that all of a job's calls share, once for many calls.
//!
//! [`prepare`] checks the module against bounds ([`bounds`]) and the contract ([`check`]), then rewrites every body
//! ([`body`]), so that output, gas and trap are the same on every engine:
//!
//! - **gas** is counted by the table in [`cost`], in a local, and checked wherever a body could go on for long;
//! - **the stack** is bounded by the weight of frames, far below what any engine offers;
//! - **memory**, which may be two memories, grows only up to the limit of the call, and growth beyond it is a trap with that name;
//! - **NaNs** have one bit pattern before their bits can be seen.
//!
//! The host and the rewritten module share the exported globals and the table named in [`exports`]. Nothing is re-indexed: types,
//! functions and globals are only appended, so a kernel's own indices stay true.

mod appended;
mod body;
mod bounds;
mod check;
mod cost;
mod detour;
mod features;
mod flow;
mod imports;
mod lazy;
mod lower;
mod measure;
mod nan;
mod outline;
mod rewindable;
mod rewrite;
mod segments;
mod shape;
mod shelf;

pub use bounds::{MOST_IMPORTS, MOST_MEMORIES, MOST_MODULE_BYTES, MOST_TABLE_ELEMENTS, MOST_TABLES, STACK_BYTES};
pub(crate) use features::unreadable_program;
pub(crate) use imports::{Importer, refusal as refused_import};
pub use measure::Nans;
pub use outline::Outline;
pub use rewindable::{MOST_REWINDABLE_PAGES, may_rewind, memories, rewindable};
pub use rewrite::{rewrite, rewrite_with, within_bounds};
pub use shape::check as is_module;

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::{id::Hash, refusal::Refusal};

/// Version of the rewrite. It changes whenever the same kernel could be rewritten to other bytes, and with it the
/// [protocol's version](crate::wire::PROTOCOL_VERSION): nodes that work together count alike.
pub const REWRITE_VERSION: u16 = 8;

/// Bytes in a page of linear memory.
pub const PAGE_BYTES: u64 = 65_536;

/// Names that the rewrite exports for the host.
pub mod exports {
    /// Gas left of what was handed out, a mutable `i64`. The host sets it before the first call. Gas left in all is
    /// this and [`RESERVE`]; below zero means that none is left.
    pub const GAS: &str = "p2pnet.gas";
    /// Why the kernel was trapped by the rewrite, a mutable `i32`: see [`super::TrapReason`].
    pub const TRAP: &str = "p2pnet.trap";
    /// Pages that all memories together may have, a mutable `i32`. The host sets it before the first call.
    pub const PAGES: &str = "p2pnet.pages";
    /// Gas not handed out yet, a mutable `i64`.
    pub const RESERVE: &str = "p2pnet.reserve";
    /// Gas to hand out at a time, a mutable `i64`; zero for all at once and no hook.
    pub const SLICE: &str = "p2pnet.slice";
    /// A table of one function `() -> ()` of the host's, called before each further slice. It may sleep, or end the
    /// call by a trap of its own.
    pub const HOOK: &str = "p2pnet.hook";
    /// The module's start function, if it had one: the host calls it first, since gas must be set before it runs.
    pub const START: &str = "p2pnet.start";
    /// The function of [`crate::engine::drive::RECOVERS`], if the kernel has one of that type.
    pub const RECOVER: &str = "p2pnet.recover";
    /// Of [`super::rewindable`] kernels, `() -> i32`: keeps memories and globals as they are; zero if it cannot.
    pub const SAVE: &str = "p2pnet.save";
    /// Of [`super::rewindable`] kernels, `() -> i32`: puts back what was kept; zero if it cannot.
    pub const REWIND: &str = "p2pnet.rewind";
    /// Prefix that a kernel's own exports must not use.
    pub const RESERVED: &str = "p2pnet.";
}

/// What the rewrite writes to [`exports::TRAP`] before it traps on its own account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrapReason {
    /// The kernel's own trap, or none.
    Own,
    /// No gas left.
    OutOfGas,
    /// Memory would have grown beyond the limit.
    OutOfMemory,
    /// The stack would have grown beyond [`STACK_BYTES`].
    StackOverflow,
    /// The engine could not give memory that the limit allows.
    HostFailed,
}

impl TrapReason {
    /// The value of the global.
    pub const fn code(self) -> i32 {
        match self {
            TrapReason::Own => 0,
            TrapReason::OutOfGas => 1,
            TrapReason::OutOfMemory => 2,
            TrapReason::StackOverflow => 3,
            TrapReason::HostFailed => 4,
        }
    }

    /// Reads the value of the global; the rewrite writes no other.
    pub const fn from_code(code: i32) -> Self {
        match code {
            1 => TrapReason::OutOfGas,
            2 => TrapReason::OutOfMemory,
            3 => TrapReason::StackOverflow,
            4 => TrapReason::HostFailed,
            _ => TrapReason::Own,
        }
    }
}

/// A kernel that has been checked and rewritten.
#[derive(Clone, Debug)]
pub struct Rewritten {
    /// Name of the original bytes.
    pub hash: Hash,
    /// What engines load.
    pub rewritten: Vec<u8>,
}

/// What [`prepare`] does, for whoever takes a kernel from its author: nodes take a little more of everything, for the kernels
/// that are made of programs.
pub fn prepare_kernel(original: &[u8]) -> Result<Rewritten, Refusal> {
    check::size(original)?;
    prepare(original)
}

/// Checks a kernel against the contract and rewrites it. Pure: the same bytes give the same bytes everywhere, and
/// hostile bytes are refused in time and memory proportional to their length.
pub fn prepare(original: &[u8]) -> Result<Rewritten, Refusal> {
    check::contract(original)?;
    Ok(Rewritten { hash: Hash::of(original), rewritten: rewrite(original)? })
}

/// The same of the kernel that [`crate::job::kinds::command::adapt`] made of a program: what is refused is told of the
/// program.
pub fn prepare_program(adapted: &[u8]) -> Result<Rewritten, Refusal> {
    prepare(adapted).map_err(of_a_program)
}

/// What somebody gave that became a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GivenAs {
    /// The kernel itself.
    Kernel,
    /// A program, of which [`crate::job::kinds::command::adapt`] made the kernel.
    Program,
}

/// Whether nodes can run a kernel, for whoever takes it from its author and does not run it.
pub fn check_given(kernel: &[u8], given: GivenAs) -> Result<(), Refusal> {
    match given {
        GivenAs::Kernel => prepare_kernel(kernel),
        GivenAs::Program => prepare_program(kernel),
    }
    .map(drop)
}

/// A refusal of a kernel in the words for whoever gave a program: both sentence forms, "The kernel has …" and "… of the
/// kernel has …", and what no kernel may.
pub(crate) fn of_a_program(refusal: Refusal) -> Refusal {
    const AGAIN: &str =
        "Build it for wasm32-wasip1 with an ordinary toolchain; `p2pnet kernel check FILE` says whether it is taken.";
    let hint = if refusal.hint.contains("`p2pnet kernel") {
        AGAIN.to_owned()
    } else {
        refusal.hint.replace("kernel", "program")
    };
    Refusal { message: refusal.message.replace("kernel", "program"), hint, ..refusal }
}

/// What an engine must know of a rewritten module before it makes an instance.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// Pages of all memories together at the start.
    pub initial_pages: u64,
    /// Functions without parameters and results to call before `alloc`, by export name, in order.
    pub start: Vec<Cow<'static, str>>,
    /// Whether it may end early: see [`crate::engine::drive::ENDS_EARLY`].
    pub ends_early: bool,
    /// Whether it goes on behind every trap of its own: see [`crate::engine::drive::RECOVERS`].
    pub recovers: bool,
    /// Whether it is prepared once for many calls: see [`crate::engine::drive::INIT`].
    pub init: bool,
}

impl Facts {
    /// Reads them from rewritten bytes; `None` if these are no module.
    pub fn of(rewritten: &[u8]) -> Option<Self> {
        check::facts(rewritten)
    }
}

#[cfg(test)]
mod tests;
