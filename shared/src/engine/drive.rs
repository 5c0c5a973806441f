//! The one sequence of steps by which every engine carries out a call, so that outcomes cannot differ by engine.
//!
//! An engine only says how to do each step ([`Guest`]); order, checks and what a failure is called are decided here.

use super::{CallOutcome, Input, Limits, Prepared, Trap};
use crate::{
    kernel::{Facts, PAGE_BYTES, TrapReason, exports},
    units::Gas,
};

/// A kernel that exports a function of this name may trap to end early: `run` is then called once more with the same
/// parameters, and its answer is the output.
pub const ENDS_EARLY: &str = "ends_early";

/// A kernel that may end early and exports a function `() -> ()` of this name gets another body for it: one that takes from
/// the stack what a trap left there. It is called before `run` is called once more, and that is then also done where memory
/// or stack ended the call, which else is the end.
pub const RECOVERS: &str = "recovers";

/// A kernel that exports a function `() -> i32` of this name gets another body for it: one that answers why the rewrite
/// trapped, as [`TrapReason::code`] says it.
pub const TRAP_REASON: &str = "trap_reason";

/// A kernel that exports a function `() -> i64` of this name gets another body for it: one that answers with the gas used
/// since it was first called, the same on every engine.
pub const GAS_USED: &str = "gas_used";

/// A kernel may export a function `(pointer: i32, length: i32) -> ()` of this name. It is called once in an instance, before
/// any other call but those of `start`, with the bytes that all calls share (as `alloc` placed them); the calls then get
/// their own bytes alone. What it leaves in memory and globals is there for each call as if nothing had been called between.
pub const INIT: &str = "init";

/// A function of the kernel did not return.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// An ordinary trap: the reason is in the exported global.
    Trap,
    /// The host ended it: out of time, cancelled, or by something that is no trap of WebAssembly (the engine's stack,
    /// its memory, a bug), which is [`Trap::HostFailed`].
    Host(Trap),
}

/// What the exported globals are set to before the first call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Gas handed out at first.
    pub gas: i64,
    /// Gas kept back.
    pub reserve: i64,
    /// Gas handed out at a time; zero for no slices.
    pub slice: i64,
    /// Pages that all memories together may have.
    pub pages: i32,
}

impl Settings {
    /// Those of a call within limits, with so many pages; gas is handed out in slices, if there is somebody to look.
    pub(super) fn of(limits: &Limits, slice: Option<i64>, pages: u64) -> Self {
        let gas = i64::try_from(limits.gas.0).unwrap_or(i64::MAX);
        let first = slice.unwrap_or(gas).clamp(0, gas);
        let pages = i32::try_from(pages).unwrap_or(i32::MAX);
        Self { gas: first, reserve: gas - first, slice: slice.unwrap_or(0), pages }
    }

    /// What was used where so much is left.
    fn used(self, left: i64) -> Gas {
        Gas(self.gas.saturating_add(self.reserve).saturating_sub(left.max(0)).unsigned_abs())
    }
}

/// A fresh instance of a rewritten kernel.
pub trait Guest {
    /// Sets the exported globals.
    fn set(&mut self, settings: Settings) -> Result<(), Stop>;
    /// Reads the exported gas globals: what is left of the slice, and what was kept back.
    fn gas_left(&mut self) -> (i64, i64);
    /// Reads the exported trap global.
    fn trap_reason(&mut self) -> TrapReason;
    /// Calls an exported function without parameters and results.
    fn start(&mut self, name: &str) -> Result<(), Stop>;
    /// Calls `alloc`.
    fn alloc(&mut self, length: u32) -> Result<u32, Stop>;
    /// Calls `run`.
    fn run(&mut self, pointer: u32, length: u32) -> Result<u64, Stop>;
    /// Calls `init`.
    fn init(&mut self, pointer: u32, length: u32) -> Result<(), Stop>;
    /// Writes to memory; `false` if it would lie outside.
    fn write(&mut self, pointer: u32, bytes: &[u8]) -> bool;
    /// Copies out of memory; `None` if it lies outside.
    fn read(&mut self, pointer: u32, length: u32) -> Option<Vec<u8>>;
}

/// Carries out one call. `slice` is the gas after which the guest's hook is called, if it has one. `instantiate` is only asked
/// if the limits allow an instance at all. What preparing that takes is added to `prepared`.
pub fn call<G: Guest>(
    facts: &Facts,
    input: Input<'_>,
    limits: &Limits,
    slice: Option<i64>,
    prepared: &mut Prepared,
    instantiate: impl FnOnce() -> Result<G, Trap>,
) -> CallOutcome {
    let none = |trap| CallOutcome { output: Err(trap), gas: Gas(0) };
    let pages = limits.memory_bytes / PAGE_BYTES;
    if facts.initial_pages > pages {
        return none(Trap::OutOfMemory);
    }
    let mut guest = match instantiate() {
        Ok(guest) => guest,
        Err(trap) => return none(trap),
    };
    let settings = Settings::of(limits, slice, pages);
    if facts.init {
        match prepare(&mut guest, facts, input, settings) {
            Ok(gas) => prepared.add(gas),
            Err(trap) => return CallOutcome { output: Err(trap), gas: used(&mut guest, settings) },
        }
    }
    if guest.set(settings).is_err() {
        return none(Trap::HostFailed);
    }
    let output =
        if facts.init { own(&mut guest, facts, input, limits) } else { steps(&mut guest, facts, input, limits) };
    outcome(&mut guest, settings, output)
}

/// What a call came to, with the gas that it used since that was set.
pub(super) fn outcome<G: Guest>(guest: &mut G, settings: Settings, mut output: Result<Vec<u8>, Trap>) -> CallOutcome {
    let (left, reserve) = guest.gas_left();
    let left = left.saturating_add(reserve);
    // Gas went below zero where nobody looked; whoever gives the same call more gas must not hear of another end.
    if left < 0 {
        output = match output {
            Ok(_)
            | Err(
                Trap::Trapped
                | Trap::BrokenContract
                | Trap::OutputTooLarge
                | Trap::OutOfGas
                | Trap::OutOfMemory
                | Trap::StackOverflow,
            ) => Err(Trap::OutOfGas),
            Err(Trap::TimedOut | Trap::Cancelled | Trap::HostFailed) => output,
        };
    }
    CallOutcome { output, gas: settings.used(left) }
}

fn used<G: Guest>(guest: &mut G, settings: Settings) -> Gas {
    let (left, reserve) = guest.gas_left();
    settings.used(left.saturating_add(reserve))
}

/// Prepares a fresh instance of a kernel with an `init`, which gets what all calls share. What that takes is none of a call's:
/// it is the same for a call in an instance that was prepared before. Gives the gas of it.
pub(super) fn prepare<G: Guest>(
    guest: &mut G,
    facts: &Facts,
    input: Input<'_>,
    settings: Settings,
) -> Result<Gas, Trap> {
    guest.set(settings).map_err(|_| Trap::HostFailed)?;
    for name in &facts.start {
        guest.start(name).map_err(|stop| trap(guest, stop))?;
    }
    let shared = input.shared();
    let length = u32::try_from(shared.len()).map_err(|_| Trap::OutOfMemory)?;
    let pointer = guest.alloc(length).map_err(|stop| trap(guest, stop))?;
    if !guest.write(pointer, shared) || (pointer == 0 && length > 0) {
        return Err(Trap::BrokenContract);
    }
    guest.init(pointer, length).map_err(|stop| trap(guest, stop))?;
    let (left, reserve) = guest.gas_left();
    let left = left.saturating_add(reserve);
    if left < 0 { Err(Trap::OutOfGas) } else { Ok(settings.used(left)) }
}

/// A call in an instance that is prepared.
pub(super) fn own<G: Guest>(guest: &mut G, facts: &Facts, input: Input<'_>, limits: &Limits) -> Result<Vec<u8>, Trap> {
    called(guest, facts, Input::of(input.own), limits)
}

fn steps<G: Guest>(guest: &mut G, facts: &Facts, input: Input<'_>, limits: &Limits) -> Result<Vec<u8>, Trap> {
    for name in &facts.start {
        guest.start(name).map_err(|stop| trap(guest, stop))?;
    }
    called(guest, facts, input, limits)
}

fn called<G: Guest>(guest: &mut G, facts: &Facts, input: Input<'_>, limits: &Limits) -> Result<Vec<u8>, Trap> {
    let length = u32::try_from(input.length()).map_err(|_| Trap::OutOfMemory)?;
    let pointer = match guest.alloc(length) {
        // Input for which there is no room ends this call like any want of memory.
        Err(Stop::Trap) if goes_on(guest, facts) => return again(guest, facts, (0, 0), limits),
        answer => answer.map_err(|stop| trap(guest, stop))?,
    };
    go(guest, facts, pointer, input, limits)
}

/// The second half of a call, once `alloc` has said where the input goes.
pub(super) fn go<G: Guest>(
    guest: &mut G,
    facts: &Facts,
    pointer: u32,
    input: Input<'_>,
    limits: &Limits,
) -> Result<Vec<u8>, Trap> {
    let mut at = pointer;
    for part in [input.shared(), input.own] {
        if !guest.write(at, part) {
            return Err(Trap::BrokenContract);
        }
        let step = u32::try_from(part.len()).map_err(|_| Trap::BrokenContract)?;
        at = at.wrapping_add(step);
    }
    let length = at.wrapping_sub(pointer);
    if pointer == 0 && length > 0 {
        return Err(Trap::BrokenContract);
    }
    match guest.run(pointer, length) {
        Err(Stop::Trap) if goes_on(guest, facts) => again(guest, facts, (pointer, length), limits),
        answer => output(guest, answer, limits),
    }
}

/// Whether `run` is to be called once more behind a trap.
fn goes_on<G: Guest>(guest: &mut G, facts: &Facts) -> bool {
    match guest.trap_reason() {
        TrapReason::Own => facts.ends_early,
        TrapReason::OutOfMemory | TrapReason::StackOverflow => facts.ends_early && facts.recovers,
        TrapReason::OutOfGas | TrapReason::HostFailed => false,
    }
}

fn again<G: Guest>(guest: &mut G, facts: &Facts, input: (u32, u32), limits: &Limits) -> Result<Vec<u8>, Trap> {
    if facts.recovers {
        guest.start(exports::RECOVER).map_err(|stop| trap(guest, stop))?;
    }
    let answer = guest.run(input.0, input.1);
    output(guest, answer, limits)
}

/// What `run` gave.
fn output<G: Guest>(guest: &mut G, answer: Result<u64, Stop>, limits: &Limits) -> Result<Vec<u8>, Trap> {
    let packed = answer.map_err(|stop| trap(guest, stop))?;
    let (pointer, length) = ((packed >> 32) as u32, (packed & u64::from(u32::MAX)) as u32);
    if u64::from(length) > limits.output_bytes {
        // Where there is no such memory, it is no output at all.
        let last = u64::from(pointer) + u64::from(length) - 1;
        let is_there = u32::try_from(last).is_ok_and(|last| guest.read(last, 1).is_some());
        return Err(if is_there { Trap::OutputTooLarge } else { Trap::BrokenContract });
    }
    guest.read(pointer, length).ok_or(Trap::BrokenContract)
}

fn trap<G: Guest>(guest: &mut G, stop: Stop) -> Trap {
    match stop {
        Stop::Host(trap) => return trap,
        Stop::Trap => {}
    }
    match guest.trap_reason() {
        TrapReason::Own => Trap::Trapped,
        TrapReason::OutOfGas => Trap::OutOfGas,
        TrapReason::OutOfMemory => Trap::OutOfMemory,
        TrapReason::StackOverflow => Trap::StackOverflow,
        TrapReason::HostFailed => Trap::HostFailed,
    }
}
