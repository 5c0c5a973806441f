//! What runs a kernel: the [`Engine`] trait, the limits of a call, and what comes of it.
//!
//! Each engine lives in the crate whose platform it needs (`engine/<name>.rs`); the portable one, wasmi, lives here and
//! is the referee: where two engines differ, it is right.

pub mod batch;
pub mod drive;
pub mod pace;
pub mod standing;
mod wasmi;

use std::{ops::AddAssign, sync::Arc};

use serde::{Deserialize, Serialize};

pub use self::wasmi::{WasmiEngine, WasmiModule};

use crate::{blob::Blob, id::Hash, refusal::Code, units::Gas};

/// Which engine ran an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EngineName {
    /// The portable interpreter, everywhere.
    Wasmi,
    /// The browser's own compiler, in a Web Worker.
    Browser,
    /// The native compiler.
    Wasmtime,
}

/// What one call of a kernel may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Gas of one call.
    pub gas: Gas,
    /// Linear memory in bytes.
    pub memory_bytes: u64,
    /// Output in bytes.
    pub output_bytes: u64,
    /// Wall time of a whole batch in milliseconds. The host enforces it by stopping the worker; engines do not look.
    pub time_millis: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { gas: Gas(2_000_000_000_000), memory_bytes: 512 << 20, output_bytes: 64 << 20, time_millis: 30_000 }
    }
}

/// Why a call gave no output. The same on every engine, because the rewrite and the contract decide it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trap {
    /// `unreachable`, out-of-bounds access, bad indirect call, integer division by zero, …
    Trapped,
    /// The gas limit was reached.
    OutOfGas,
    /// Memory beyond the limit.
    OutOfMemory,
    /// Stack beyond the limit.
    StackOverflow,
    /// The kernel's exports break the contract at run time: a null `alloc`, an output outside memory.
    BrokenContract,
    /// Stopped by the host because the batch ran over its time. Not deterministic, so never compared.
    TimedOut,
    /// Stopped because the requester no longer wants it.
    Cancelled,
    /// The host could not run it (a worker died, an engine refused the module). Says nothing about the kernel.
    HostFailed,
    /// The output is longer than the limit.
    OutputTooLarge,
}

impl Trap {
    /// The code under which a person hears of it.
    pub fn code(self) -> Code {
        match self {
            Trap::Trapped | Trap::BrokenContract => Code::KernelTrapped,
            Trap::OutOfGas | Trap::TimedOut => Code::TimedOut,
            Trap::OutOfMemory => Code::OutOfMemory,
            Trap::StackOverflow => Code::StackOverflow,
            Trap::OutputTooLarge => Code::TooLarge,
            Trap::Cancelled | Trap::HostFailed => Code::Internal,
        }
    }

    /// Whether any honest node would come to the same end, so that trying again elsewhere is vain.
    pub fn is_deterministic(self) -> bool {
        match self {
            Trap::Trapped
            | Trap::OutOfGas
            | Trap::OutOfMemory
            | Trap::StackOverflow
            | Trap::BrokenContract
            | Trap::OutputTooLarge => true,
            Trap::TimedOut | Trap::Cancelled | Trap::HostFailed => false,
        }
    }
}

/// What came of one call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallOutcome {
    /// The kernel's output, or why there is none.
    #[serde(with = "crate::bytes::or")]
    pub output: Result<Vec<u8>, Trap>,
    /// Gas used, up to the end or the trap.
    pub gas: Gas,
}

/// Asked now and then while a kernel runs, on the thread that runs it: says why to stop, or nothing to go on. It may
/// sleep. What it does never changes a kernel's output or gas.
pub type Watch = Arc<dyn Fn() -> Option<Trap> + Send + Sync>;

/// A module that an engine has made ready. Kept per kernel hash by the host.
pub trait Engine {
    /// The compiled or translated form of a kernel.
    type Module;

    /// Which engine this is.
    fn name(&self) -> EngineName;

    /// Makes a kernel ready. `rewritten` has passed [`crate::kernel`]'s rewrite.
    fn load(&mut self, rewritten: &[u8]) -> Result<Self::Module, Trap>;

    /// One call, as in a fresh instance.
    fn call(&mut self, module: &Self::Module, input: Input<'_>, limits: &Limits) -> CallOutcome;

    /// What preparing instances took since this was last asked.
    fn take_prepared(&mut self) -> Prepared;
}

/// Instances that were prepared by the `init` of a kernel ([`drive::INIT`]), and the gas of that, which is none of any call's:
/// how many there are depends on who computes, and where a call is made on what stands ready.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prepared {
    /// How many.
    pub instances: u64,
    /// Gas of all of them.
    pub gas: Gas,
}

impl Prepared {
    /// Whether nothing was.
    pub fn is_nothing(&self) -> bool {
        self.instances == 0
    }

    /// One more instance.
    fn add(&mut self, gas: Gas) {
        *self += Prepared { instances: 1, gas };
    }
}

impl AddAssign for Prepared {
    fn add_assign(&mut self, more: Prepared) {
        self.instances = self.instances.saturating_add(more.instances);
        self.gas += more.gas;
    }
}

/// What a call gets.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// What all calls of the stage share, if there is any: before the call's own bytes, or for the `init` of a kernel that
    /// has one ([`drive`]).
    pub common: Option<Common<'a>>,
    /// The call's own bytes.
    pub own: &'a [u8],
}

/// Bytes that calls share, and their name, by which an engine knows whether an instance was prepared with them.
#[derive(Clone, Copy, Debug)]
pub struct Common<'a> {
    /// Their hash.
    pub name: Hash,
    /// The bytes.
    pub bytes: &'a [u8],
}

impl<'a> Input<'a> {
    /// That of a call that shares nothing.
    pub fn of(own: &'a [u8]) -> Self {
        Self { common: None, own }
    }

    /// That of a call of a batch.
    pub fn with(common: Option<&'a Blob>, own: &'a [u8]) -> Self {
        Self { common: common.map(Common::of), own }
    }

    /// The bytes that are shared, none if nothing is.
    pub fn shared(self) -> &'a [u8] {
        self.common.map_or(&[], |common| common.bytes)
    }

    /// How many bytes it has in all.
    pub fn length(self) -> u64 {
        (self.shared().len() as u64).saturating_add(self.own.len() as u64)
    }
}

impl<'a> Common<'a> {
    /// Those of a blob.
    pub fn of(blob: &'a Blob) -> Self {
        Self { name: blob.hash(), bytes: blob }
    }
}

/// A batch as the host's executor gets it: the same kernel over several inputs, one call each.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batch {
    /// Name of the kernel's original bytes.
    pub kernel: Hash,
    /// What all calls share, so that it travels once ([`Input::common`]).
    #[serde(with = "crate::blob::within_a_host")]
    pub common: Option<Blob>,
    /// One input a call.
    #[serde(with = "crate::bytes::each")]
    pub calls: Vec<Vec<u8>>,
    /// Bounds of each call, and of the batch in time.
    pub limits: Limits,
}

/// What an executor reports of a batch: one outcome a call, in order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchReport {
    /// Which engine ran it.
    pub engine: EngineName,
    /// One outcome a call. Shorter than the batch only if the last one is a trap that ended the batch.
    pub outcomes: Vec<CallOutcome>,
    /// Processor time used, in microseconds, as the host measured it. Informs sizing; never pays.
    pub busy_micros: u64,
    /// What preparing instances for it took beside its calls.
    pub prepared: Prepared,
}
