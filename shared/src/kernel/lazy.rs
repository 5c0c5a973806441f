//! Decides where a body's NaNs are made canonical: as late as may be, and only where somebody looks at their bits.
//!
//! What arithmetic gives is *loose*: a NaN of it may have other bits on another engine. That does not matter as long as
//! only arithmetic, comparisons and conversions take it, which see no more than that it is a NaN. Before anything else
//! takes it (a store, a call, a reinterpretation, a bitwise operation, the end of a block), it is made canonical, and then
//! it is as if arithmetic had given it so. Locals carry loose values, so an accumulator stays loose through its loop.
//!
//! The walk follows control with one state a local ([`Bits`]). Where paths meet with a loose value on one and a value
//! on the other whose NaNs must be kept as they are (it was loaded, say), only those may take it who do not look; if
//! somebody looks after all, the place is noted ([`Walk::settled`]) and the local is made canonical on its ways there. Walks are
//! repeated until nothing new is noted. A body that would take too long has its NaNs made canonical at once.

use std::collections::{BTreeMap, BTreeSet};

use wasmparser::{FunctionBody, ModuleArity, Operator, ValType};

use super::{
    flow::Walker,
    nan::{self, Float},
};

/// Walks over one body, at most.
const MOST_WALKS: usize = 24;
/// Steps of all walks over a body, for each of its instructions.
const STEPS_AN_INSTRUCTION: usize = 96;
/// Steps that even the shortest body may take, and that even the longest may not: they bound the memory as well.
const STEPS: (usize, usize) = (10_000, 4_000_000);

/// Where the NaNs of a body are made canonical. Instructions are counted from 0, dead ones as well.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    /// In front of an instruction: a local, as a float type. Sorted by the instruction.
    before: Vec<(u32, u32, Float)>,
    /// Behind an instruction: what it gives, as a float type. Sorted by the instruction.
    after: Vec<(u32, Float)>,
}

impl Plan {
    /// Locals that are made canonical in front of instruction `index`.
    pub(super) fn before(&self, index: u32) -> impl Iterator<Item = (u32, Float)> {
        let from = self.before.partition_point(|(at, ..)| *at < index);
        self.before[from..].iter().take_while(move |(at, ..)| *at == index).map(|(_, local, float)| (*local, *float))
    }

    /// As what the result of instruction `index` is made canonical, if it is.
    pub(super) fn after(&self, index: u32) -> Option<Float> {
        let place = self.after.binary_search_by_key(&index, |(at, _)| *at).ok()?;
        self.after.get(place).map(|(_, float)| *float)
    }

    /// Of which types results on the operand stack are made canonical.
    pub(super) fn floats(&self) -> [bool; 4] {
        let mut floats = [false; 4];
        for (_, float) in &self.after {
            floats[*float as usize] = true;
        }
        floats
    }

    /// Every result of arithmetic at once, unless the very next instruction does not look.
    pub(super) fn eager(body: &FunctionBody<'_>) -> Self {
        let mut plan = Self::default();
        let mut last = None;
        let operators = body.get_operators_reader().into_iter().flatten().map_while(Result::ok);
        for (index, operator) in (0u32..).zip(operators) {
            if let Some((at, float)) = last.take()
                && nan::ignores_bits(&operator) != Some(float)
            {
                plan.after.push((at, float));
            }
            last = nan::arithmetic(&operator).map(|float| (index, float));
        }
        plan
    }

    /// As late as may be. `types` are those of parameters and locals; the first `parameters` come from outside.
    /// `heights` are those of the operand stack behind each instruction.
    pub(super) fn late(
        body: &FunctionBody<'_>,
        module: &impl ModuleArity,
        types: &[ValType],
        parameters: u32,
        heights: &[u32],
    ) -> Self {
        let budget = heights.len().saturating_mul(STEPS_AN_INSTRUCTION).clamp(STEPS.0, STEPS.1);
        let mut walk = Walk::new(types, parameters, budget);
        for _ in 0..MOST_WALKS {
            match walk.over(body, module, heights) {
                Some(Outcome::Final) => {
                    let mut plan = std::mem::take(&mut walk.plan);
                    plan.before.sort_unstable();
                    plan.before.dedup();
                    plan.after.sort_unstable();
                    plan.after.dedup();
                    return plan;
                }
                Some(Outcome::Again) => {}
                None => break,
            }
        }
        Self::eager(body)
    }
}

/// Float types, as a set.
type Types = u8;
const ALL: Types = 0b1111;
const NONE: Types = 0;

fn only(float: Float) -> Types {
    1 << float as u8
}

/// What is known of the bits of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bits {
    /// The same on every engine. As the types of the set, it holds no NaN that is not canonical.
    Exact(Types),
    /// NaNs of this type may differ; made canonical, they are what they should be.
    Loose(Float),
    /// NaNs of this type may differ, but others must be kept as they are: `local` came loose to `label` on some ways.
    Mixed { float: Float, label: u32, local: u32 },
}

/// A value on the operand stack.
#[derive(Clone, Copy)]
struct Operand {
    bits: Bits,
    /// The instruction that gave it.
    from: u32,
    /// The local that it was read from, and how often that had been written then.
    local: Option<(usize, u32)>,
}

struct Frame {
    /// Names its label: the index of the instruction that opens it.
    label: u32,
    kind: Kind,
    /// Locals as they come to the label, so far.
    arriving: Option<Vec<Bits>>,
    /// Of an `if`: locals at its start.
    other: Option<Vec<Bits>>,
    /// Of a loop: locals that are written in it.
    written: BTreeSet<u32>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Function,
    Block,
    Loop,
    If,
}

enum Outcome {
    /// What was assumed of loops has proved true.
    Final,
    /// It has not, or more was noted.
    Again,
}

/// What one walk learns of a loop for the next.
#[derive(Default, PartialEq, Eq)]
struct Around {
    /// Locals as they come back to the head.
    back: Option<Vec<Bits>>,
    /// Locals that are written on the way.
    written: BTreeSet<u32>,
}

struct Walk {
    /// Locals that can hold floats, in order.
    tracked: Vec<u32>,
    /// Bits of them at the start.
    start: Vec<Bits>,
    /// Ways to a label on which a local is made canonical.
    settled: BTreeSet<(u32, u32)>,
    loops: BTreeMap<u32, Around>,
    budget: usize,
    /// This walk cannot be the last.
    changed: bool,
    more_settled: bool,

    plan: Plan,
    locals: Vec<Bits>,
    writes: Vec<u32>,
    stack: Vec<Operand>,
    frames: Vec<Frame>,
    /// Places of loops in `frames`.
    open_loops: Vec<usize>,
}

impl Walk {
    fn new(types: &[ValType], parameters: u32, budget: usize) -> Self {
        let is_tracked = |ty: &ValType| matches!(ty, ValType::F32 | ValType::F64 | ValType::V128);
        let tracked: Vec<u32> = (0u32..).zip(types).filter(|(_, ty)| is_tracked(ty)).map(|(local, _)| local).collect();
        let start = tracked.iter().map(|local| Bits::Exact(if *local < parameters { NONE } else { ALL })).collect();
        Self {
            tracked,
            start,
            settled: BTreeSet::new(),
            loops: BTreeMap::new(),
            budget,
            changed: false,
            more_settled: false,
            plan: Plan::default(),
            locals: Vec::new(),
            writes: Vec::new(),
            stack: Vec::new(),
            frames: Vec::new(),
            open_loops: Vec::new(),
        }
    }

    /// One walk; `None` if it takes too long.
    fn over(&mut self, body: &FunctionBody<'_>, module: &impl ModuleArity, heights: &[u32]) -> Option<Outcome> {
        self.plan = Plan::default();
        self.changed = false;
        self.more_settled = false;
        self.locals.clone_from(&self.start);
        self.writes = vec![0; self.tracked.len()];
        self.stack.clear();
        self.frames.clear();
        self.open_loops.clear();
        self.frames.push(Frame::new(u32::MAX, Kind::Function));
        let mut walker = Walker::new();
        let mut live = true;
        let operators = body.get_operators_reader().ok()?;
        for ((index, operator), height) in (0u32..).zip(operators).zip(heights) {
            let operator = operator.ok()?;
            let step = walker.step(&operator).ok()?;
            if step.dead {
                continue;
            }
            self.spend(1)?;
            if is_control(&operator) {
                live = self.control(index, &operator, live)?;
                let bits = Bits::Exact(NONE);
                self.stack.clear();
                self.stack.resize(*height as usize, Operand { bits, from: index, local: None });
            } else {
                self.plain(index, &operator, module)?;
                if self.stack.len() != *height as usize {
                    return None;
                }
            }
        }
        if self.more_settled {
            // What was seen of loops may no longer be so: it is looked for anew.
            self.loops.values_mut().for_each(|around| around.back = None);
        }
        Some(if self.changed { Outcome::Again } else { Outcome::Final })
    }

    fn spend(&mut self, steps: usize) -> Option<()> {
        self.budget = self.budget.checked_sub(steps)?;
        Some(())
    }

    /// An instruction that moves control. Whatever waits on the operand stack is looked at. Says whether control goes on
    /// behind it.
    #[expect(clippy::wildcard_enum_match_arm, reason = "WebAssembly has hundreds of instructions")]
    fn control(&mut self, index: u32, operator: &Operator<'_>, live: bool) -> Option<bool> {
        if live {
            for operand in std::mem::take(&mut self.stack) {
                self.look(operand);
            }
        }
        match operator {
            Operator::Block { .. } => self.frames.push(Frame::new(index, Kind::Block)),
            Operator::Loop { .. } => {
                let entering = self.arrive(index, index)?;
                let around = self.loops.get(&index).and_then(|around| around.back.clone());
                self.locals = match around {
                    Some(back) => self.merge(entering, &back, index)?,
                    None => entering,
                };
                self.open_loops.push(self.frames.len());
                self.frames.push(Frame::new(index, Kind::Loop));
            }
            Operator::If { .. } => {
                self.spend(self.tracked.len())?;
                let mut frame = Frame::new(index, Kind::If);
                frame.other = Some(self.locals.clone());
                self.frames.push(frame);
            }
            Operator::Else => {
                if live {
                    self.go(index, 0)?;
                }
                let frame = self.frames.last_mut()?;
                self.locals = frame.other.take()?;
            }
            Operator::End => return self.end(index, live),
            Operator::BrIf { relative_depth } => self.go(index, *relative_depth)?,
            Operator::Br { relative_depth } => {
                self.go(index, *relative_depth)?;
                return Some(false);
            }
            Operator::BrTable { targets } => {
                let mut depths: BTreeSet<u32> = targets.targets().flatten().collect();
                depths.insert(targets.default());
                for depth in depths {
                    self.go(index, depth)?;
                }
                return Some(false);
            }
            _ => return Some(false), // `return`, tail calls and `unreachable`: nobody reads locals any more
        }
        Some(true)
    }

    fn end(&mut self, index: u32, live: bool) -> Option<bool> {
        if self.frames.last().is_some_and(|frame| frame.kind == Kind::Block || frame.kind == Kind::If) {
            if live {
                self.go(index, 0)?;
            }
            // An `if` without `else` can be passed by.
            if let Some(other) = self.frames.last_mut().and_then(|frame| frame.other.take()) {
                let label = self.frames.last()?.label;
                self.locals = other;
                self.pass_by(label)?;
            }
        }
        let frame = self.frames.pop()?;
        match frame.kind {
            Kind::Function => {}
            Kind::Loop => {
                self.open_loops.pop();
                self.spend(frame.written.len())?;
                if let Some(outer) = self.open_loops.last().and_then(|place| self.frames.get_mut(*place)) {
                    outer.written.extend(&frame.written);
                }
                let around = Around { back: frame.arriving, written: frame.written };
                if self.loops.get(&frame.label) != Some(&around) {
                    self.loops.insert(frame.label, around);
                    self.changed = true;
                }
                if !live {
                    // Nothing comes here.
                    self.locals = vec![Bits::Exact(ALL); self.tracked.len()];
                }
            }
            Kind::Block | Kind::If => {
                self.locals = frame.arriving.unwrap_or_else(|| vec![Bits::Exact(ALL); self.tracked.len()]);
            }
        }
        Some(true)
    }

    /// Control may go from here, in front of instruction `index`, to a label.
    fn go(&mut self, index: u32, depth: u32) -> Option<()> {
        let place = self.frames.len().checked_sub(depth as usize + 1)?;
        let (label, kind) = self.frames.get(place).map(|frame| (frame.label, frame.kind))?;
        if kind == Kind::Function {
            return Some(());
        }
        let coming = self.arrive(index, label)?;
        self.join(place, coming, label)
    }

    /// The way of an `if` without `else` whose condition was false. It has no place for instructions of ours: what is
    /// settled at the end is made canonical in front of the `if`.
    fn pass_by(&mut self, label: u32) -> Option<()> {
        let place = self.frames.len().checked_sub(1)?;
        let coming = self.arrive(label, label)?;
        self.join(place, coming, label)
    }

    fn join(&mut self, place: usize, coming: Vec<Bits>, label: u32) -> Option<()> {
        let arriving = self.frames.get_mut(place)?.arriving.take();
        let joined = match arriving {
            Some(before) => self.merge(before, &coming, label)?,
            None => coming,
        };
        self.frames.get_mut(place)?.arriving = Some(joined);
        Some(())
    }

    /// Locals as they come to `label`: those settled there are made canonical in front of instruction `index`.
    fn arrive(&mut self, index: u32, label: u32) -> Option<Vec<Bits>> {
        self.spend(self.tracked.len())?;
        let settled: Vec<u32> = self.settled.range((label, 0)..=(label, u32::MAX)).map(|(_, local)| *local).collect();
        for local in settled {
            let slot = self.slot(local)?;
            match self.locals.get(slot).copied()? {
                Bits::Exact(_) => {}
                Bits::Loose(float) => {
                    self.plan.before.push((index, local, float));
                    self.settle_outside(local);
                    self.locals[slot] = Bits::Exact(only(float));
                }
                Bits::Mixed { label, local, .. } => self.settle(label, local),
            }
        }
        Some(self.locals.clone())
    }

    fn merge(&mut self, mut one: Vec<Bits>, other: &[Bits], label: u32) -> Option<Vec<Bits>> {
        self.spend(one.len())?;
        for (slot, (one, other)) in one.iter_mut().zip(other).enumerate() {
            if one == other {
                continue;
            }
            let local = *self.tracked.get(slot)?;
            *one = match (*one, *other) {
                (Bits::Exact(one), Bits::Exact(other)) => Bits::Exact(one & other),
                (Bits::Loose(float), Bits::Exact(types)) | (Bits::Exact(types), Bits::Loose(float)) => {
                    if types & only(float) != 0 { Bits::Loose(float) } else { Bits::Mixed { float, label, local } }
                }
                (mixed @ Bits::Mixed { .. }, Bits::Exact(_)) | (Bits::Exact(_), mixed @ Bits::Mixed { .. }) => mixed,
                (mixed @ Bits::Mixed { float, .. }, Bits::Loose(other) | Bits::Mixed { float: other, .. })
                | (Bits::Loose(other), mixed @ Bits::Mixed { float, .. })
                    if float == other =>
                {
                    mixed
                }
                (one, other) => {
                    // Loose as two types at once: canonical on all ways here.
                    for bits in [one, other] {
                        if let Bits::Mixed { label, local, .. } = bits {
                            self.settle(label, local);
                        }
                    }
                    self.settle(label, local);
                    Bits::Exact(NONE)
                }
            };
        }
        Some(one)
    }

    /// A local that is settled already, and yet mixed, comes from what was assumed of a loop: the walk is not the last.
    fn settle(&mut self, label: u32, local: u32) {
        self.more_settled |= self.settled.insert((label, local));
        self.changed = true;
    }

    /// A local that is looked at in a loop which never writes it is made canonical once, in front of the loop.
    fn settle_outside(&mut self, local: u32) {
        let Some(inside) = self.open_loops.last().and_then(|place| self.frames.get(*place)) else { return };
        let label = inside.label;
        if inside.written.contains(&local) {
            return;
        }
        let is_written = self.loops.get(&label).is_none_or(|around| around.written.contains(&local));
        if !is_written && !self.settled.contains(&(label, local)) {
            self.settle(label, local);
        }
    }

    fn slot(&self, local: u32) -> Option<usize> {
        self.tracked.binary_search(&local).ok()
    }

    /// An instruction that does not move control.
    #[expect(clippy::wildcard_enum_match_arm, reason = "WebAssembly has hundreds of instructions")]
    fn plain(&mut self, index: u32, operator: &Operator<'_>, module: &impl ModuleArity) -> Option<()> {
        match operator {
            Operator::LocalGet { local_index } => {
                let slot = self.slot(*local_index);
                let bits = slot.and_then(|slot| self.locals.get(slot)).copied().unwrap_or(Bits::Exact(NONE));
                let local = slot.map(|slot| (slot, self.writes[slot]));
                self.stack.push(Operand { bits, from: index, local });
                return Some(());
            }
            Operator::LocalSet { local_index } | Operator::LocalTee { local_index } => {
                let operand = self.stack.pop()?;
                let local = self.write(*local_index, operand.bits)?;
                if matches!(operator, Operator::LocalTee { .. }) {
                    self.stack.push(Operand { bits: operand.bits, from: index, local });
                }
                return Some(());
            }
            Operator::Drop => {
                self.stack.pop()?;
                return Some(());
            }
            _ => {}
        }
        let (taken, given) = operator.operator_arity(module)?;
        self.spend(taken as usize + given as usize)?;
        let operands = self.stack.split_off(self.stack.len().checked_sub(taken as usize)?);
        let bits = match passes(operator) {
            Some(passing) => self.passed(&operands, passing),
            None => {
                let ignored = nan::ignores_bits(operator);
                for operand in operands {
                    let is_looked_at = match operand.bits {
                        Bits::Exact(_) => false,
                        Bits::Loose(float) | Bits::Mixed { float, .. } => ignored != Some(float),
                    };
                    if is_looked_at {
                        self.look(operand);
                    }
                }
                given_by(operator)
            }
        };
        for _ in 0..given {
            self.stack.push(Operand { bits, from: index, local: None });
        }
        Some(())
    }

    /// Says which local it was, if it is one that can hold floats.
    // Outer: nothing is wrong.
    fn write(&mut self, local: u32, bits: Bits) -> Option<Option<(usize, u32)>> {
        let Some(slot) = self.slot(local) else { return Some(None) };
        *self.locals.get_mut(slot)? = bits;
        let writes = self.writes.get_mut(slot)?;
        *writes += 1;
        if let Some(inside) = self.open_loops.last().and_then(|place| self.frames.get_mut(*place)) {
            inside.written.insert(local);
        }
        Some(Some((slot, *writes)))
    }

    /// Somebody looks at the bits of `operand`.
    fn look(&mut self, operand: Operand) {
        match operand.bits {
            Bits::Exact(_) => {}
            Bits::Mixed { label, local, .. } => self.settle(label, local),
            Bits::Loose(float) => {
                self.plan.after.push((operand.from, float));
                let Some((slot, writes)) = operand.local else { return };
                if let Some(local) = self.tracked.get(slot).copied() {
                    self.settle_outside(local);
                }
                // The local itself was made canonical.
                if self.writes.get(slot) == Some(&writes)
                    && let Some(bits) = self.locals.get_mut(slot)
                {
                    *bits = Bits::Exact(only(float));
                }
            }
        }
    }

    /// What an instruction gives that only moves floats about.
    fn passed(&mut self, operands: &[Operand], passing: Passing) -> Bits {
        let (types, given) = match passing {
            Passing::Typed(one, other, given) => ([one, other], given),
            Passing::AsItComes => {
                let loose = operands.iter().find_map(|operand| operand.bits.float());
                let Some(float) = loose else {
                    let common = |types: Types, operand: &Operand| types & operand.bits.types();
                    return Bits::Exact(operands.iter().take(2).fold(ALL, common));
                };
                ([float; 2], float)
            }
        };
        let mut found = Bits::Exact(only(given));
        let mut is_apart = false;
        for (operand, of) in operands.iter().zip(types) {
            match operand.bits {
                Bits::Loose(float) if float == of => {
                    if let Bits::Exact(_) = found {
                        found = Bits::Loose(given);
                    }
                }
                Bits::Mixed { float, label, local } if float == of => {
                    found = Bits::Mixed { float: given, label, local }
                }
                Bits::Exact(types) if types & only(of) != 0 => {}
                Bits::Exact(_) | Bits::Loose(_) | Bits::Mixed { .. } => is_apart = true,
            }
        }
        if !is_apart {
            return found;
        }
        for operand in operands {
            self.look(*operand);
        }
        Bits::Exact(NONE)
    }
}

impl Bits {
    /// The type of NaNs that may differ.
    fn float(self) -> Option<Float> {
        match self {
            Bits::Exact(_) => None,
            Bits::Loose(float) | Bits::Mixed { float, .. } => Some(float),
        }
    }

    /// The types as which it surely holds none but canonical NaNs.
    fn types(self) -> Types {
        match self {
            Bits::Exact(types) => types,
            Bits::Loose(_) | Bits::Mixed { .. } => NONE,
        }
    }
}

impl Frame {
    fn new(label: u32, kind: Kind) -> Self {
        Self { label, kind, arriving: None, other: None, written: BTreeSet::new() }
    }
}

fn is_control(operator: &Operator<'_>) -> bool {
    use Operator as O;
    matches!(
        operator,
        O::Block { .. }
            | O::Loop { .. }
            | O::If { .. }
            | O::Else
            | O::End
            | O::Br { .. }
            | O::BrIf { .. }
            | O::BrTable { .. }
            | O::Return
            | O::ReturnCall { .. }
            | O::ReturnCallIndirect { .. }
            | O::Unreachable
    )
}

/// How an instruction moves floats about without touching their bits.
#[derive(Clone, Copy)]
enum Passing {
    /// Types of the first and the second operand that may hold floats, and of what it gives.
    Typed(Float, Float, Float),
    /// Of the first two operands, whatever they are.
    AsItComes,
}

/// For an instruction that moves floats about: how. `abs` counts, since it leaves a canonical NaN as it is.
#[expect(clippy::wildcard_enum_match_arm, reason = "WebAssembly has hundreds of instructions")]
fn passes(operator: &Operator<'_>) -> Option<Passing> {
    use Float::{F32, F32x4, F64, F64x2};
    use Operator as O;
    let typed = match operator {
        O::Select | O::TypedSelect { .. } => return Some(Passing::AsItComes),
        O::I8x16Shuffle { lanes } => {
            let moves_lanes_of = |bytes: usize| {
                lanes.chunks_exact(bytes).all(|lane| {
                    let first = usize::from(lane.first().copied().unwrap_or(0));
                    first.is_multiple_of(bytes) && (first..).zip(lane).all(|(at, byte)| at == usize::from(*byte))
                })
            };
            return match (moves_lanes_of(8), moves_lanes_of(4)) {
                (true, _) => Some(Passing::AsItComes),
                (false, true) => Some(Passing::Typed(F32x4, F32x4, F32x4)),
                (false, false) => None,
            };
        }
        O::F32x4ExtractLane { .. } => (F32x4, F32x4, F32),
        O::F64x2ExtractLane { .. } => (F64x2, F64x2, F64),
        O::F32x4Splat => (F32, F32, F32x4),
        O::F64x2Splat => (F64, F64, F64x2),
        O::F32x4ReplaceLane { .. } => (F32x4, F32, F32x4),
        O::F64x2ReplaceLane { .. } => (F64x2, F64, F64x2),
        O::F32Abs => (F32, F32, F32),
        O::F64Abs => (F64, F64, F64),
        O::F32x4Abs | O::F32x4PMin | O::F32x4PMax => (F32x4, F32x4, F32x4),
        O::F64x2Abs | O::F64x2PMin | O::F64x2PMax => (F64x2, F64x2, F64x2),
        _ => return None,
    };
    let (one, other, given) = typed;
    Some(Passing::Typed(one, other, given))
}

/// What is known of the bits that an instruction gives.
#[expect(clippy::wildcard_enum_match_arm, reason = "WebAssembly has hundreds of instructions")]
fn given_by(operator: &Operator<'_>) -> Bits {
    use Operator as O;
    if let Some(float) = nan::arithmetic(operator) {
        return Bits::Loose(float);
    }
    let types = match operator {
        O::F32Const { value } => is_canonical_32(value.bits()).then_some(only(Float::F32)),
        O::F64Const { value } => is_canonical_64(value.bits()).then_some(only(Float::F64)),
        O::V128Const { value } => {
            let bits = value.i128().cast_unsigned();
            let words = (0..4).all(|lane| is_canonical_32((bits >> (32 * lane)) as u32));
            let doubles = (0..2).all(|lane| is_canonical_64((bits >> (64 * lane)) as u64));
            let types = [(words, Float::F32x4), (doubles, Float::F64x2)];
            Some(types.into_iter().filter(|(is, _)| *is).fold(NONE, |types, (_, float)| types | only(float)))
        }
        O::F32ConvertI32S | O::F32ConvertI32U | O::F32ConvertI64S | O::F32ConvertI64U => Some(only(Float::F32)),
        O::F64ConvertI32S | O::F64ConvertI32U | O::F64ConvertI64S | O::F64ConvertI64U => Some(only(Float::F64)),
        O::F32x4ConvertI32x4S | O::F32x4ConvertI32x4U => Some(only(Float::F32x4)),
        O::F64x2ConvertLowI32x4S | O::F64x2ConvertLowI32x4U => Some(only(Float::F64x2)),
        _ => None,
    };
    Bits::Exact(types.unwrap_or(NONE))
}

fn is_canonical_32(bits: u32) -> bool {
    !f32::from_bits(bits).is_nan() || bits == nan::NAN_32
}

fn is_canonical_64(bits: u64) -> bool {
    !f64::from_bits(bits).is_nan() || bits == nan::NAN_64
}
