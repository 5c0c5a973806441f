//! Instances that stand ready for tiny calls.
//!
//! Making an instance takes longer than most tiny calls do. Where the same kernel gets input of the same length again and
//! again, an instance of its [rewindable form](crate::kernel::rewindable) is brought to where its input goes, its state is
//! saved there, and after each call it is set back to that. What it gives and the gas it takes are those of a fresh
//! instance; whatever ends in another way than with an output is made again in a fresh one, which then decides.
//!
//! A kernel that is [prepared](drive::INIT) with what its calls share stands ready behind that from its first call on, for
//! input of any length: what a model or a table takes is then paid once a thread. One such stands at a time.

use super::{
    CallOutcome, Input, Limits, Prepared,
    drive::{self, Guest, Settings},
};
use crate::{
    id::Hash,
    kernel::{Facts, PAGE_BYTES},
    units::Gas,
};

/// Calls alike before an instance is kept for them: making that takes as long as some fresh ones.
const WORTHWHILE_CALLS: u32 = 16;
/// Kinds of calls that are counted at once.
const MOST_COUNTED: usize = 32;
/// An instance that was used within so many calls is not given up for another.
const IN_USE_CALLS: u64 = 256;
/// Calls after which a kind that could not stand is tried again.
const REST_CALLS: u64 = 16_384;

/// A guest in the [rewindable form](crate::kernel::rewindable).
pub trait Rewind: Guest {
    /// Memories that it has, where there is room for few.
    fn memories(&self) -> usize {
        0
    }
    /// Keeps its state; `false` if it cannot.
    fn save(&mut self) -> bool;
    /// Sets it back to what was kept; `false` if it cannot, and then it is of no use.
    fn rewind(&mut self) -> bool;
}

/// How many memories the guests may have that stand ready in one of `threads` threads, where there is room for `all` memories
/// in all threads together and each thread needs so many otherwise. None, where that leaves none.
pub fn memories_for_each(all: usize, threads: usize, needed: usize) -> usize {
    (all / threads.max(1)).saturating_sub(needed)
}

/// Guests that stand ready, of all kernels of one thread.
pub struct Standing<G> {
    /// How many at once.
    most: usize,
    /// How many memories they have together.
    most_memories: usize,
    most_gas: Gas,
    guests: Vec<Ready<G>>,
    counted: Vec<Counted>,
    /// Calls so far.
    now: u64,
    /// Of those, made in what stood ready.
    calls: u64,
    prepared: Prepared,
}

/// Calls that begin alike: what they do until their input is written is the same.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Kind {
    module: u64,
    begins: Begins,
    /// What the kernel can count with: gas at the start, and pages.
    gas: Gas,
    pages: u64,
}

/// How calls begin.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Begins {
    /// With room for so many bytes.
    At { length: u64 },
    /// In an instance that was prepared with these bytes.
    Prepared { common: Option<Hash> },
}

struct Ready<G> {
    kind: Kind,
    guest: G,
    stands: Stands,
    used_at: u64,
}

/// Where an instance stands from which its calls go on.
enum Stands {
    /// Its input goes there, and so much gas was used to get here.
    Input { pointer: u32, used: i64 },
    /// It is prepared, and a call has all before it.
    Prepared,
}

struct Counted {
    kind: Kind,
    calls: u32,
    /// Not to be tried before.
    rests_until: u64,
    seen_at: u64,
}

impl<G: Rewind> Standing<G> {
    /// None yet; so many at most, for calls of at most so much gas.
    pub fn new(most: usize, most_gas: Gas) -> Self {
        let (guests, counted, prepared) = (Vec::new(), Vec::new(), Prepared::default());
        Self { most, most_memories: usize::MAX, most_gas, guests, counted, now: 0, calls: 0, prepared }
    }

    /// The same, with so many memories together at most.
    #[must_use]
    pub fn with_memories(self, most_memories: usize) -> Self {
        Self { most_memories, ..self }
    }

    /// Calls that were made in what stands ready.
    pub fn calls(&self) -> u64 {
        self.calls
    }

    /// What preparing instances took since this was last asked.
    pub fn take_prepared(&mut self) -> Prepared {
        std::mem::take(&mut self.prepared)
    }

    /// The kind of a call. `module` tells the modules of this thread apart.
    pub fn kind(&self, module: u64, facts: &Facts, input: Input<'_>, limits: &Limits) -> Kind {
        let pages = limits.memory_bytes / PAGE_BYTES;
        if facts.init {
            let begins = Begins::Prepared { common: input.common.map(|common| common.name) };
            // What is kept to be put back takes as much again.
            return Kind { module, begins, gas: limits.gas, pages: pages / 2 };
        }
        Kind { module, begins: Begins::At { length: input.length() }, gas: limits.gas.min(self.most_gas), pages }
    }

    /// Whether a guest stands ready for such calls, or there were enough of them to make one.
    pub fn is_worthwhile(&mut self, kind: Kind) -> bool {
        self.now += 1;
        let now = self.now;
        if self.guests.iter().any(|ready| ready.kind == kind) {
            return true;
        }
        let counted = self.counted.iter().find(|counted| counted.kind == kind);
        if kind.is_prepared() {
            return counted.is_none_or(|counted| counted.rests_until <= now);
        }
        counted.is_some_and(|counted| counted.calls >= WORTHWHILE_CALLS && counted.rests_until <= now)
            && (self.guests.len() < self.most || self.guests.iter().any(|ready| ready.is_idle(now)))
    }

    /// Whether a guest stands ready for such calls, or there is room for one with so many memories. What was not used lately is
    /// given up for it, before it is made.
    pub fn makes_room(&mut self, kind: Kind, memories: usize) -> bool {
        if self.guests.iter().any(|ready| ready.kind == kind) {
            return true;
        }
        // In vain, or for what may not be given up, nothing is.
        let (mut count, mut held) = (0, 0_usize);
        for ready in self.guests.iter().filter(|ready| !ready.is_idle(self.now)) {
            (count, held) = (count + 1, held.saturating_add(ready.guest.memories()));
        }
        if count >= self.most || held.saturating_add(memories) > self.most_memories {
            return false;
        }
        while self.guests.len() >= self.most || self.memories().saturating_add(memories) > self.most_memories {
            if !self.give_up_oldest() {
                return false;
            }
        }
        true
    }

    /// Memories of all that stands ready.
    fn memories(&self) -> usize {
        self.guests.iter().fold(0, |sum, ready| sum.saturating_add(ready.guest.memories()))
    }

    /// Counts a call that a fresh instance made.
    pub fn saw(&mut self, kind: Kind, outcome: &CallOutcome) {
        let (now, is_tiny) = (self.now, outcome.output.is_ok() && (kind.is_prepared() || outcome.gas <= self.most_gas));
        if let Some(counted) = self.counted.iter_mut().find(|counted| counted.kind == kind) {
            counted.calls = if is_tiny { counted.calls.saturating_add(1) } else { 0 };
            counted.seen_at = now;
            return;
        }
        if !is_tiny {
            return;
        }
        self.count(Counted { kind, calls: 1, rests_until: 0, seen_at: now });
    }

    /// A call of a kind that is worthwhile, in the guest that stands ready for it, which `instantiate` makes if there is
    /// none. `slice` is the gas after which a guest that is prepared has its hook called, if it has one. `None` if that did not
    /// end with an output: then a fresh instance is to make the call.
    pub fn call(
        &mut self,
        kind: Kind,
        facts: &Facts,
        input: Input<'_>,
        limits: &Limits,
        slice: Option<i64>,
        instantiate: impl FnOnce() -> Option<G>,
    ) -> Option<CallOutcome> {
        let place = self.guests.iter().position(|ready| ready.kind == kind);
        let ready = place.map(|place| self.guests.swap_remove(place));
        if ready.is_none() && kind.is_prepared() {
            self.guests.retain(|ready| !ready.kind.is_prepared());
        }
        let ready = ready.or_else(|| Ready::new(kind, facts, input, slice, &mut self.prepared, instantiate()?));
        let done = ready.and_then(|mut ready| {
            let outcome = ready.call(facts, input, limits, slice)?;
            Some((ready, outcome))
        });
        let Some((mut ready, outcome)) = done else {
            self.rest(kind);
            return None;
        };
        self.calls += 1;
        if ready.guest.rewind() {
            ready.used_at = self.now;
            self.keep(ready);
        } else {
            self.rest(kind);
        }
        Some(outcome)
    }

    /// Gives up the guests of a module.
    pub fn forget(&mut self, module: u64) {
        self.guests.retain(|ready| ready.kind.module != module);
        self.counted.retain(|counted| counted.kind.module != module);
    }

    fn keep(&mut self, ready: Ready<G>) {
        if self.guests.len() >= self.most {
            self.give_up_oldest();
        }
        self.guests.push(ready);
    }

    /// Gives up the guest that was not used for longest; `false` if there is none.
    fn give_up_oldest(&mut self) -> bool {
        let oldest = (0..self.guests.len()).min_by_key(|place| self.guests[*place].used_at);
        oldest.map(|oldest| self.guests.swap_remove(oldest)).is_some()
    }

    /// Gives up all guests, for want of room; `true` if there were any.
    pub fn clear(&mut self) -> bool {
        let had_some = !self.guests.is_empty();
        self.guests.clear();
        had_some
    }

    /// Such calls are left to fresh instances for a while.
    pub fn rest(&mut self, kind: Kind) {
        let (now, rests_until) = (self.now, self.now + REST_CALLS);
        match self.counted.iter_mut().find(|counted| counted.kind == kind) {
            Some(counted) => counted.rests_until = rests_until,
            None => self.count(Counted { kind, calls: 0, rests_until, seen_at: now }),
        }
    }

    fn count(&mut self, counted: Counted) {
        if self.counted.len() >= MOST_COUNTED
            && let Some(oldest) = (0..self.counted.len()).min_by_key(|place| self.counted[*place].seen_at)
        {
            self.counted.swap_remove(oldest);
        }
        self.counted.push(counted);
    }
}

impl Kind {
    /// Whether its instances are prepared with what calls share.
    pub fn is_prepared(self) -> bool {
        match self.begins {
            Begins::Prepared { .. } => true,
            Begins::At { .. } => false,
        }
    }
}

impl<G: Rewind> Ready<G> {
    /// Brings a fresh guest to where its calls begin to differ.
    fn new(
        kind: Kind,
        facts: &Facts,
        input: Input<'_>,
        slice: Option<i64>,
        prepared: &mut Prepared,
        mut guest: G,
    ) -> Option<Self> {
        let gas = i64::try_from(kind.gas.0).ok()?;
        if facts.initial_pages > kind.pages {
            return None;
        }
        let stands = match kind.begins {
            Begins::At { length } => {
                guest.set(settings(kind, gas)).ok()?;
                for name in &facts.start {
                    guest.start(name).ok()?;
                }
                let pointer = guest.alloc(u32::try_from(length).ok()?).ok()?;
                let (left, reserve) = guest.gas_left();
                Stands::Input { pointer, used: gas.checked_sub(left.checked_add(reserve)?)? }
            }
            Begins::Prepared { .. } => {
                prepared.add(drive::prepare(&mut guest, facts, input, sliced(kind, slice)).ok()?);
                Stands::Prepared
            }
        };
        guest.save().then_some(Self { kind, guest, stands, used_at: 0 })
    }

    fn call(&mut self, facts: &Facts, input: Input<'_>, limits: &Limits, slice: Option<i64>) -> Option<CallOutcome> {
        let gas = i64::try_from(self.kind.gas.0).ok()?;
        let (pointer, used) = match self.stands {
            Stands::Input { pointer, used } => (pointer, used),
            Stands::Prepared => {
                let settings = sliced(self.kind, slice);
                self.guest.set(settings).ok()?;
                let output = drive::own(&mut self.guest, facts, input, limits);
                let outcome = drive::outcome(&mut self.guest, settings, output);
                return outcome.output.is_ok().then_some(outcome);
            }
        };
        self.guest.set(settings(self.kind, gas.checked_sub(used)?)).ok()?;
        let output = drive::go(&mut self.guest, facts, pointer, input, limits).ok()?;
        let (left, reserve) = self.guest.gas_left();
        let left = left.checked_add(reserve)?;
        let used = u64::try_from(gas.checked_sub(left)?).ok()?;
        (left >= 0).then_some(CallOutcome { output: Ok(output), gas: Gas(used) })
    }

    fn is_idle(&self, now: u64) -> bool {
        now.saturating_sub(self.used_at) > IN_USE_CALLS
    }
}

/// Gas in slices, since a call of what is prepared may be long.
fn sliced(kind: Kind, slice: Option<i64>) -> Settings {
    let limits = Limits { gas: kind.gas, ..Limits::default() };
    Settings::of(&limits, slice, kind.pages)
}

/// All of the gas at once: there is so little that nobody need look meanwhile.
fn settings(kind: Kind, gas: i64) -> Settings {
    Settings { gas, reserve: 0, slice: 0, pages: i32::try_from(kind.pages).unwrap_or(i32::MAX) }
}

#[cfg(test)]
#[expect(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::{
        blob::Blob,
        engine::{Engine as _, Trap, WasmiEngine, WasmiModule},
        kernel,
    };

    /// Counts its calls in memory and in a global, and gives both behind its input. With a first byte of 0 it traps, with 1 it
    /// never ends, with 2 it grows.
    const COUNTS: &str = r#"(module
        (memory (export "memory") 1)
        (global $calls (mut i32) (i32.const 0))
        (func (export "alloc") (param i32) (result i32) (drop (memory.grow (i32.const 1))) (i32.const 64))
        (func (export "run") (param i32 i32) (result i64)
            (local $first i32)
            (local.set $first (i32.load8_u (local.get 0)))
            (if (i32.eqz (local.get $first)) (then (unreachable)))
            (if (i32.eq (local.get $first) (i32.const 1)) (then (loop $ever (br $ever))))
            (if (i32.eq (local.get $first) (i32.const 2)) (then (drop (memory.grow (i32.const 1)))))
            (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
            (i32.store (i32.const 131000) (i32.add (i32.load (i32.const 131000)) (i32.const 1)))
            (i32.store offset=16 (local.get 0) (global.get $calls))
            (i32.store offset=20 (local.get 0) (i32.load (i32.const 131000)))
            (i64.or (i64.shl (i64.extend_i32_u (local.get 0)) (i64.const 32)) (i64.const 24))))"#;

    struct Here {
        engine: WasmiEngine,
        fresh: WasmiModule,
        form: WasmiModule,
        facts: Facts,
        /// Of what is made to stand ready.
        memories: usize,
    }

    fn here(text: &str) -> Here {
        let prepared = kernel::prepare(&wat::parse_str(text).unwrap()).unwrap();
        let mut engine = WasmiEngine::new();
        let form = kernel::rewindable(&prepared.rewritten).unwrap();
        Here {
            fresh: engine.load(&prepared.rewritten).unwrap(),
            form: engine.load(&form).unwrap(),
            facts: Facts::of(&prepared.rewritten).unwrap(),
            engine,
            memories: 0,
        }
    }

    const TINY: Gas = Gas(100_000);
    const MOST_STANDING: usize = 8;

    impl Here {
        /// As an engine does it; and whether what stands ready made the call.
        fn call<G: Rewind>(
            &mut self,
            standing: &mut Standing<G>,
            input: &[u8],
            make: impl Fn(&Self) -> Option<G>,
        ) -> (CallOutcome, bool) {
            let limits = Limits { gas: Gas(10_000_000), ..Limits::default() };
            let kind = standing.kind(1, &self.facts, Input::of(input), &limits);
            if standing.is_worthwhile(kind)
                && standing.makes_room(kind, self.memories)
                && let Some(outcome) = standing.call(kind, &self.facts, Input::of(input), &limits, None, || make(self))
            {
                return (outcome, true);
            }
            let outcome = self.engine.call(&self.fresh, Input::of(input), &limits);
            standing.saw(kind, &outcome);
            (outcome, false)
        }
    }

    #[test]
    fn calls_after_some_alike_are_made_in_what_stands_ready_and_nobody_can_tell() {
        let (mut here, mut standing) = (here(COUNTS), Standing::new(MOST_STANDING, TINY));
        let make = |here: &Here| here.engine.guest(&here.form);
        let mut ready = 0;
        for round in 0..200_u8 {
            let input = [3 + round % 50; 16];
            let (outcome, stood) = here.call(&mut standing, &input, make);
            let fresh = here.engine.call(&here.fresh, Input::of(&input), &Limits::default());
            assert_eq!(outcome, fresh, "{round}");
            assert_eq!(outcome.output.unwrap()[16..], [1, 0, 0, 0, 1, 0, 0, 0]);
            ready += u32::from(stood);
        }
        assert_eq!(ready, 200 - WORTHWHILE_CALLS);
        assert_eq!(standing.calls(), 200 - u64::from(WORTHWHILE_CALLS));
    }

    #[test]
    fn what_does_not_end_with_an_output_is_made_again_and_that_kind_rests() {
        for (byte, end) in [(0, Some(Trap::Trapped)), (1, Some(Trap::OutOfGas)), (2, None)] {
            let (mut here, mut standing) = (here(COUNTS), Standing::new(MOST_STANDING, TINY));
            let make = |here: &Here| here.engine.guest(&here.form);
            for _ in 0..WORTHWHILE_CALLS {
                assert!(!here.call(&mut standing, &[9; 16], make).1);
            }
            assert!(here.call(&mut standing, &[9; 16], make).1);
            let (outcome, stood) = here.call(&mut standing, &[byte; 16], make);
            assert_eq!(outcome.output.err(), end);
            // What has grown gave an output, and is given up behind that.
            assert_eq!(stood, end.is_none());
            assert!(standing.guests.is_empty());
            assert!(!here.call(&mut standing, &[9; 16], make).1);
        }
    }

    #[test]
    fn only_so_many_stand_ready_and_those_in_use_are_not_given_up() {
        let (mut here, mut standing) = (here(COUNTS), Standing::new(MOST_STANDING, TINY));
        let make = |here: &Here| here.engine.guest(&here.form);
        let made = |here: &mut Here, standing: &mut Standing<_>, length: usize| {
            (0..=WORTHWHILE_CALLS).any(|_| here.call(standing, &vec![9; length], make).1)
        };
        for length in 1..=MOST_STANDING {
            assert!(made(&mut here, &mut standing, length));
        }
        assert!(!made(&mut here, &mut standing, 12));
        for _ in 0..IN_USE_CALLS {
            assert!(here.call(&mut standing, &[9; 5], make).1);
        }
        assert!(made(&mut here, &mut standing, 12));
        assert_eq!(standing.guests.len(), MOST_STANDING);
        assert!(standing.guests.iter().any(|ready| ready.kind.begins == Begins::At { length: 5 }));
        standing.forget(2);
        assert_eq!(standing.guests.len(), MOST_STANDING);
        standing.forget(1);
        assert!(standing.guests.is_empty() && !standing.clear());
    }

    #[test]
    fn memories_of_both_forms_are_counted() {
        for (text, count) in [("(module (memory 1))", 1), ("(module (memory 1) (memory 1))", 2)] {
            let rewritten = kernel::rewrite(&wat::parse_str(text).unwrap()).unwrap();
            assert_eq!(kernel::memories(&rewritten), count);
            assert_eq!(kernel::memories(&kernel::rewindable(&rewritten).unwrap()), 2 * count + 1);
        }
        assert_eq!(kernel::memories(b"no module"), 0);
    }

    #[test]
    fn what_stands_ready_in_all_threads_leaves_room_for_what_else_they_need() {
        let (all, needed) = (120, 3);
        for threads in 1..=1_024 {
            let each = memories_for_each(all, threads, needed);
            assert!(each == 0 || threads * (needed + each) <= all, "{each} in each of {threads}");
            // Nor is room left that would be enough for each.
            assert!(threads * (needed + each + 1) > all);
        }
        assert_eq!(memories_for_each(all, 0, 0), all);
    }

    /// A guest with so many memories.
    struct Heavy<G>(G, usize);

    impl<G: Guest> Guest for Heavy<G> {
        fn set(&mut self, settings: Settings) -> Result<(), drive::Stop> {
            self.0.set(settings)
        }
        fn gas_left(&mut self) -> (i64, i64) {
            self.0.gas_left()
        }
        fn trap_reason(&mut self) -> kernel::TrapReason {
            self.0.trap_reason()
        }
        fn start(&mut self, name: &str) -> Result<(), drive::Stop> {
            self.0.start(name)
        }
        fn alloc(&mut self, length: u32) -> Result<u32, drive::Stop> {
            self.0.alloc(length)
        }
        fn run(&mut self, pointer: u32, length: u32) -> Result<u64, drive::Stop> {
            self.0.run(pointer, length)
        }
        fn init(&mut self, pointer: u32, length: u32) -> Result<(), drive::Stop> {
            self.0.init(pointer, length)
        }
        fn write(&mut self, pointer: u32, bytes: &[u8]) -> bool {
            self.0.write(pointer, bytes)
        }
        fn read(&mut self, pointer: u32, length: u32) -> Option<Vec<u8>> {
            self.0.read(pointer, length)
        }
    }

    impl<G: Rewind> Rewind for Heavy<G> {
        fn memories(&self) -> usize {
            self.1
        }
        fn save(&mut self) -> bool {
            self.0.save()
        }
        fn rewind(&mut self) -> bool {
            self.0.rewind()
        }
    }

    #[test]
    fn what_stands_ready_has_only_so_many_memories_and_may_be_nothing() {
        let (mut here, mut standing) = (here(COUNTS), Standing::new(MOST_STANDING, TINY).with_memories(10));
        let make = |here: &Here| Some(Heavy(here.engine.guest(&here.form)?, here.memories));
        // Whether one with so many memories comes to stand ready for calls of so many bytes.
        let mut stands = |standing: &mut Standing<_>, length: usize, memories: usize| {
            here.memories = memories;
            (0..=WORTHWHILE_CALLS).any(|_| here.call(standing, &vec![9; length], make).1)
        };
        assert!(stands(&mut standing, 1, 5) && stands(&mut standing, 2, 3));
        assert!(!stands(&mut standing, 3, 5), "what is in use is not given up");
        assert!(stands(&mut standing, 3, 2) && standing.memories() == 10);
        standing.now += IN_USE_CALLS + 1;
        assert!(stands(&mut standing, 2, 3) && !stands(&mut standing, 4, 11));
        assert_eq!(standing.guests.len(), 3, "nothing is given up in vain");
        assert!(stands(&mut standing, 5, 6) && standing.memories() <= 10);
        assert!(standing.guests.iter().any(|ready| ready.kind.begins == Begins::At { length: 2 }));
        for (most, memories) in [(0, 10), (MOST_STANDING, 0)] {
            let mut none = Standing::new(most, TINY).with_memories(memories);
            assert!(!stands(&mut none, 1, 3) && none.guests.is_empty());
        }
    }

    /// Is prepared with the first word that calls share, counts how often in memory and in a global, and gives that, the
    /// word and its own first byte. With that byte 0 it traps, with 1 it never ends.
    const PREPARED: &str = r#"(module
        (memory (export "memory") 40)
        (global $free (mut i32) (i32.const 1024))
        (global $inits (mut i32) (i32.const 0))
        (func (export "alloc") (param i32) (result i32)
            (global.get $free) (global.set $free (i32.add (global.get $free) (local.get 0))))
        (func (export "init") (param i32 i32)
            (local $steps i32)
            (local.set $steps (i32.const 10000))
            (loop $spend (br_if $spend (local.tee $steps (i32.sub (local.get $steps) (i32.const 1)))))
            (global.set $inits (i32.add (global.get $inits) (i32.const 1)))
            (i32.store (i32.const 2600000) (i32.load (local.get 0))))
        (func (export "run") (param i32 i32) (result i64)
            (if (i32.eqz (i32.load8_u (local.get 0))) (then (unreachable)))
            (if (i32.eq (i32.load8_u (local.get 0)) (i32.const 1)) (then (loop $ever (br $ever))))
            (i32.store8 (i32.const 16) (i32.load8_u (local.get 0)))
            (i32.store (i32.const 17) (i32.load (i32.const 2600000)))
            (i32.store (i32.const 21) (i32.add (i32.load (i32.const 25)) (global.get $inits)))
            (i32.store (i32.const 2600000) (i32.const -1))
            (i32.store (i32.const 25) (i32.const 7))
            (i64.const 0x1000000009)))"#;

    #[test]
    fn what_a_kernel_is_prepared_with_is_there_for_each_call_and_paid_once() {
        let (mut here, mut standing) = (here(PREPARED), Standing::new(MOST_STANDING, TINY));
        let blobs = [Blob::new(b"abcd".to_vec()), Blob::new(b"wxyz and more".to_vec())];
        let limits = Limits { gas: Gas(10_000_000), ..Limits::default() };
        let mut made = 0;
        for (round, shared) in [0, 0, 0, 1, 1, 0].into_iter().enumerate() {
            let own = vec![9 + round as u8; 3 + 50 * round];
            let input = Input::with(Some(&blobs[shared]), &own);
            let kind = standing.kind(1, &here.facts, input, &limits);
            assert!(kind.is_prepared() && standing.is_worthwhile(kind) && standing.makes_room(kind, 0));
            let make = || {
                made += 1;
                here.engine.guest(&here.form)
            };
            let outcome = standing.call(kind, &here.facts, input, &limits, None, make).unwrap();
            let fresh = here.engine.call(&here.fresh, input, &limits);
            assert_eq!(outcome, fresh, "{round}");
            assert!(outcome.gas < Gas(5_000), "{} of it is not what preparing took", outcome.gas.0);
            let word: &[u8] = if shared == 0 { b"abcd" } else { b"wxyz" };
            assert_eq!(outcome.output.unwrap(), [&own[..1], word, &[1, 0, 0, 0]].concat());
        }
        assert_eq!(made, 3, "once for what they share, and one at a time");
        let (standing, fresh) = (standing.take_prepared(), here.engine.take_prepared());
        assert_eq!((standing.instances, fresh.instances), (3, 6), "a fresh instance is prepared for each call");
        assert!(standing.gas.0 > 30_000 && 2 * standing.gas.0 == fresh.gas.0, "{standing:?} and {fresh:?}");
        assert!(here.engine.take_prepared().is_nothing(), "it is said once");
    }

    #[test]
    fn a_call_that_fails_in_what_is_prepared_is_made_again_and_fails_the_same() {
        let mut here = here(PREPARED);
        let limits = Limits { gas: Gas(1_000_000), ..Limits::default() };
        let blob = Blob::new(b"abcd".to_vec());
        for byte in [0, 1] {
            let mut standing = Standing::new(MOST_STANDING, TINY);
            let own = [byte];
            let input = Input::with(Some(&blob), &own);
            let kind = standing.kind(1, &here.facts, input, &limits);
            let engine = &here.engine;
            let outcome = standing.call(kind, &here.facts, input, &limits, None, || engine.guest(&here.form));
            assert!(outcome.is_none() && standing.guests.is_empty() && !standing.is_worthwhile(kind));
            let fresh = here.engine.call(&here.fresh, input, &limits);
            assert_eq!(fresh.output.err(), Some(if byte == 0 { Trap::Trapped } else { Trap::OutOfGas }));
        }
        // What it is prepared with may be missing, or preparing take more than a call may.
        let input = Input::of(&[9]);
        assert_eq!(here.engine.call(&here.fresh, input, &limits).output.unwrap()[1..5], [0; 4]);
        let short = Limits { gas: Gas(5_000), ..limits };
        let outcome = here.engine.call(&here.fresh, input, &short);
        assert_eq!(outcome, CallOutcome { output: Err(Trap::OutOfGas), gas: short.gas });
        let prepared = here.engine.take_prepared().instances;
        assert_eq!(prepared, 3, "what ended in its midst is the call's own gas");
    }

    #[test]
    fn what_is_prepared_has_half_of_the_memory_since_it_is_kept_once_more() {
        let here = here(PREPARED);
        fn of<G: Rewind>(_: &Option<G>) -> Standing<G> {
            Standing::new(MOST_STANDING, TINY)
        }
        let standing = of(&here.engine.guest(&here.form));
        let limits = |pages: u64| Limits { memory_bytes: pages * PAGE_BYTES, ..Limits::default() };
        let kind = |pages| standing.kind(1, &here.facts, Input::of(&[]), &limits(pages));
        assert_eq!((kind(100).pages, kind(79).pages), (50, 39));
        assert!(kind(100) != kind(102) && kind(100) == kind(101));
    }

    #[test]
    fn what_cannot_be_set_back_has_no_such_form() {
        let form = |text: &str| kernel::rewindable(&kernel::rewrite(&wat::parse_str(text).unwrap()).unwrap());
        assert!(form(r#"(module (memory 2))"#).is_some());
        assert!(form(r#"(module (memory 33))"#).is_none());
        assert!(form(r#"(module)"#).is_none());
        assert!(form(r#"(module (memory 1) (data $d "x") (func (data.drop $d)))"#).is_none());
        let table = r#"(module (memory 1) (table $t 2 funcref) (func (table.set $t (i32.const 0) (ref.null func))))"#;
        assert!(form(table).is_none());
        assert!(form(r#"(module (memory 1) (global (mut funcref) (ref.null func)))"#).is_none());
    }
}
