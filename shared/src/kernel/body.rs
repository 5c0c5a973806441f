//! Rewrites one function body: gas, stack, memory growth, NaNs.
//!
//! A first pass validates the body and measures it ([`super::measure`]); the second, here, copies its instructions, byte for byte, and
//! puts ours between them. A body that counts gas in a local looks like this afterwards:
//!
//! ```text
//! gas := global gas - entry run; below 0: refill
//! stack := global stack - frame; below 0: trap           (only in a function that calls)
//! block
//!   ... at a run's start: gas := gas - run               (at a loop's head also: below 0: refill)
//!   ... around a call: global gas := gas; call; gas := global gas
//!   ... `return` becomes a branch to the block's end
//!   ... in front of a tail call: what stands behind the block's end
//! end
//! global gas := gas; global stack := stack + frame
//! ```
//!
//! A loop in which nothing is called gets another around it, so that it stays so: a call, even one that never comes, makes
//! compilers keep what the loop works on in memory. For the same reason the locals of such a loop go round the call in
//! globals of their own ([`Shelf`]).
//!
//! ```text
//! loop
//!   gas := gas - run; below 0: globals := locals; refill; locals := globals
//!   gas := gas + run
//!   loop
//!     gas below run: on with the outer loop; gas := gas - run
//! ```

use std::collections::BTreeMap;

use wasm_encoder::{BlockType, Function, InstructionSink, ValType as Encoded};
use wasmparser::{FuncValidator, FunctionBody, Operator, ValType, ValidatorResources};

use super::{
    TrapReason, detour,
    features::{encoded, invalid_body},
    flow::{RunStart, Walker},
    lower,
    measure::{MOST_SHELVED, Nans, Shape, Through, dynamic, measure},
    nan::{self, Float},
    shelf::Shelf,
};
use crate::refusal::Refusal;

/// Where the module's appended items are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Appended {
    /// Global: gas left.
    pub gas: u32,
    /// Global: reason of a trap.
    pub trap: u32,
    /// Global: bytes of stack left.
    pub stack: u32,
    /// Global: gas not handed out yet.
    pub reserve: u32,
    /// Global: gas handed out at a time, or zero for all.
    pub slice: u32,
    /// Global: gas left when the kernel first asked for the gas used, if it can ask.
    pub first: u32,
    /// First of the globals in which locals go round a call.
    pub shelf: u32,
    /// Table: the host's hook.
    pub hook: u32,
    /// Type of the host's hook.
    pub hook_type: u32,
    /// Function: called with gas below zero, answers with gas to go on with or traps.
    pub refill: u32,
    /// Function: `memory.grow` of the first memory within the limit; that of the second follows it.
    pub grow: u32,
}

/// Rewrites the bodies of one module.
pub(super) struct BodyRewriter<'a> {
    /// The module's bytes, in which bodies' positions count.
    pub original: &'a [u8],
    /// What was appended.
    pub appended: Appended,
    /// When NaNs are made canonical.
    pub nans: Nans,
    /// Globals for locals.
    pub shelf: &'a mut Shelf,
}

/// A body written anew.
pub(super) struct Written {
    /// The body.
    pub function: Function,
    /// Where in it are branches that real work never takes, in bytes from its start.
    pub unlikely: Vec<u32>,
}

/// The results of a body's function, as the type of the block that wraps it.
pub(super) type WrapperType = BlockType;

impl BodyRewriter<'_> {
    /// Validates `body` and writes it anew. `wrapper` is the type of a block that gives the function's results.
    pub(super) fn rewrite(
        self,
        validator: &mut FuncValidator<ValidatorResources>,
        body: &FunctionBody<'_>,
        parameters: u32,
        wrapper: WrapperType,
        through: Through,
    ) -> Result<Written, Refusal> {
        let shape = measure(self.nans, validator, body, parameters, through)?;
        self.write(body, &shape, parameters, wrapper)
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "WebAssembly has hundreds of instructions")]
    fn write(
        self,
        body: &FunctionBody<'_>,
        shape: &Shape,
        parameters: u32,
        wrapper: WrapperType,
    ) -> Result<Written, Refusal> {
        let unread = |error: wasmparser::BinaryReaderError| invalid_body(0, &error);
        let mut writer = Writer::new(self.appended, shape, body, parameters, wrapper, self.shelf)?;
        let mut operators = body.get_operators_reader().map_err(unread)?;
        let mut walker = Walker::new();
        let mut compared = false;
        let mut tables = shape.tables.iter();
        let mut top = detour::TopBit::default();
        let mut index = 0;
        while !operators.eof() {
            let (operator, start) = operators.read_with_offset().map_err(unread)?;
            let at = index;
            index += 1;
            let label = walker.function_label();
            let Ok(step) = walker.step(&operator) else { break };
            if step.dead {
                continue;
            }
            if step.last {
                writer.leave();
                break;
            }
            for (local, float) in shape.plan.before(at) {
                writer.canonical_local(local, float);
            }
            let after = shape.plan.after(at);
            let bytes = usize::try_from(start)
                .ok()
                .zip(usize::try_from(operators.original_position()).ok())
                .and_then(|(start, end)| self.original.get(start..end))
                .unwrap_or_default();
            let lowered = lower::instruction(&operator);
            let bytes = lowered.unwrap_or(bytes);
            writer.before(&operator);
            detour::before_select(&operator, &mut compared, &mut writer.sink());
            detour::before_block(&operator, &mut writer.sink());
            let slow = detour::instead_of_unsigned(&operator, &mut top, &mut writer.sink());
            match &operator {
                Operator::Return if writer.wraps => writer.branch(label),
                Operator::Br { relative_depth } => writer.branch(*relative_depth),
                Operator::BrIf { relative_depth } => {
                    let depth = writer.depth(*relative_depth);
                    writer.sink().br_if(depth);
                }
                Operator::MemoryGrow { mem } => {
                    let grow = self.appended.grow.saturating_add(*mem);
                    writer.sink().call(grow);
                }
                // The local itself becomes canonical, so that it need not be done again.
                Operator::LocalGet { local_index } | Operator::LocalTee { local_index } if after.is_some() => {
                    if matches!(operator, Operator::LocalTee { .. }) {
                        writer.sink().local_set(*local_index);
                    }
                    if let Some(float) = after {
                        writer.canonical_local(*local_index, float);
                    }
                    writer.sink().local_get(*local_index);
                }
                Operator::BrTable { targets } if let Some(Some(block)) = tables.next() => {
                    let index = writer.length;
                    let labels = targets.targets().collect::<Result<Vec<u32>, _>>().map_err(unread)?;
                    let labels: Vec<u32> = labels.into_iter().map(|label| writer.depth(label)).collect();
                    let default = writer.depth(targets.default());
                    detour::branch_with_values(&labels, default, *block, index, &mut writer.sink());
                }
                Operator::BrTable { targets } => {
                    let all: Vec<u32> = targets.targets().flatten().map(|depth| writer.depth(depth)).collect();
                    let default = writer.depth(targets.default());
                    writer.sink().br_table(all, default);
                }
                _ if detour::instead(&operator, &mut writer.sink()) => {}
                _ if slow => {}
                _ => {
                    writer.function.raw(bytes.iter().copied());
                }
            }
            writer.nest(&operator, bytes);
            writer.after(&operator);
            let is_local = matches!(operator, Operator::LocalGet { .. } | Operator::LocalTee { .. });
            if let (Some(float), false) = (after, is_local) {
                writer.canonical(float);
            }
            if let Some(how) = step.starts {
                writer.charge(how);
            }
        }
        Ok(Written { function: writer.function, unlikely: writer.unlikely })
    }
}

/// Writes instructions of ours between the body's.
struct Writer<'a> {
    function: Function,
    unlikely: Vec<u32>,
    appended: Appended,
    shelf: &'a mut Shelf,
    shape: &'a Shape,
    /// The body is inside a block, so that leaving it anywhere passes by its end.
    wraps: bool,
    /// Index of the next run.
    run: usize,
    /// Index of the next loop.
    next_loop: usize,
    /// For each open block, from the function on: how many loops around loops are open, with its own.
    doubled: Vec<u32>,
    gas: u32,
    stack: u32,
    length: u32,
    floats: [u32; 4],
}

impl<'a> Writer<'a> {
    fn new(
        appended: Appended,
        shape: &'a Shape,
        body: &FunctionBody<'_>,
        parameters: u32,
        wrapper: WrapperType,
        shelf: &'a mut Shelf,
    ) -> Result<Self, Refusal> {
        let mut locals: Vec<(u32, Encoded)> = Vec::new();
        let own = body.get_locals_reader().map_err(|error| invalid_body(0, &error))?;
        for group in own {
            let (count, ty) = group.map_err(|error| invalid_body(0, &error))?;
            locals.push((count, encoded(ty)?));
        }
        debug_assert!(parameters <= shape.locals);
        let mut next = shape.locals;
        let mut append = |wanted: bool, ty: Encoded| {
            if wanted {
                locals.push((1, ty));
                next += 1;
            }
            next.saturating_sub(1)
        };
        let gas = append(shape.counts, Encoded::I64);
        let stack = append(shape.calls, Encoded::I32);
        let length = append(shape.lengths, Encoded::I32);
        let types = [Encoded::F32, Encoded::F64, Encoded::V128, Encoded::V128];
        let mut floats = [0; 4];
        for ((local, wanted), ty) in floats.iter_mut().zip(shape.floats).zip(types) {
            *local = append(wanted, ty);
        }
        let mut writer = Self {
            function: Function::new(locals),
            unlikely: Vec::new(),
            appended,
            shelf,
            shape,
            wraps: shape.counts,
            run: 0,
            next_loop: 0,
            doubled: vec![0],
            gas,
            stack,
            length,
            floats,
        };
        writer.enter(wrapper);
        Ok(writer)
    }

    fn sink(&mut self) -> InstructionSink<'_> {
        self.function.instructions()
    }

    fn enter(&mut self, wrapper: WrapperType) {
        let charge = self.next_charge();
        let (gas, global) = (self.gas, self.appended.gas);
        self.sink().global_get(global).i64_const(-charge).i64_add();
        if !self.shape.counts {
            self.sink().global_set(global);
            if self.shape.looks {
                self.sink().global_get(global).i64_const(0).i64_lt_s();
                self.unlikely_if();
                let refill = self.appended.refill;
                self.sink().global_get(global).call(refill).global_set(global).end();
            }
            return;
        }
        if self.shape.calls {
            self.sink().local_tee(gas);
            self.refill_below_zero();
            let frame = i32::try_from(self.shape.frame).unwrap_or(i32::MAX);
            let (stack, global, trap) = (self.stack, self.appended.stack, self.appended.trap);
            self.sink()
                .global_get(global)
                .i32_const(frame)
                .i32_sub()
                .local_tee(stack)
                .global_set(global)
                .local_get(stack)
                .i32_const(0)
                .i32_lt_s();
            self.unlikely_if();
            self.flush();
            self.sink().i32_const(TrapReason::StackOverflow.code()).global_set(trap).unreachable().end();
        } else if self.shape.looks {
            self.sink().local_tee(gas);
            self.refill_below_zero();
        } else {
            self.sink().local_set(gas);
        }
        self.sink().block(wrapper);
    }

    fn leave(&mut self) {
        if self.wraps {
            self.sink().end();
            self.flush();
        }
        if self.shape.calls {
            self.give_back();
        }
        self.sink().end();
    }

    /// Gives the frame's weight back.
    fn give_back(&mut self) {
        let frame = i32::try_from(self.shape.frame).unwrap_or(i32::MAX);
        let (stack, global) = (self.stack, self.appended.stack);
        self.sink().local_get(stack).i32_const(frame).i32_add().global_set(global);
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "WebAssembly has hundreds of instructions")]
    fn before(&mut self, operator: &Operator<'_>) {
        match operator {
            Operator::Call { .. } | Operator::CallIndirect { .. } | Operator::MemoryGrow { .. } => self.flush(),
            Operator::ReturnCall { .. } | Operator::ReturnCallIndirect { .. } => {
                self.flush();
                self.give_back();
            }
            Operator::Unreachable if self.shape.counts => self.flush(),
            _ => {}
        }
        if let Some(shift) = dynamic(operator) {
            let (length, gas) = (self.length, self.gas);
            self.sink().local_tee(length).local_get(gas).local_get(length).i64_extend_i32_u();
            if shift > 0 {
                self.sink().i64_const(shift).i64_shr_u();
            }
            self.sink().i64_sub().local_tee(gas);
            self.refill_below_zero();
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "WebAssembly has hundreds of instructions")]
    fn after(&mut self, operator: &Operator<'_>) {
        match operator {
            Operator::Call { .. } | Operator::CallIndirect { .. } | Operator::MemoryGrow { .. } => {
                let (gas, global) = (self.gas, self.appended.gas);
                self.sink().global_get(global).local_set(gas);
            }
            _ => {}
        }
    }

    /// The depth of a label, with the loops around loops between.
    fn depth(&self, depth: u32) -> u32 {
        let place = self.doubled.len().checked_sub(depth as usize + 1);
        let (here, there) = (self.doubled.last(), place.and_then(|place| self.doubled.get(place)));
        depth + here.copied().unwrap_or_default() - there.copied().unwrap_or_default()
    }

    fn branch(&mut self, depth: u32) {
        let depth = self.depth(depth);
        self.sink().br(depth);
    }

    /// Keeps count of open blocks; `bytes` are those of the instruction that was just written.
    #[expect(clippy::wildcard_enum_match_arm, reason = "WebAssembly has hundreds of instructions")]
    fn nest(&mut self, operator: &Operator<'_>, bytes: &[u8]) {
        let open = self.doubled.last().copied().unwrap_or_default();
        match operator {
            Operator::Block { .. } | Operator::If { .. } => self.doubled.push(open),
            Operator::Loop { .. } => {
                let is_leaf = self.shape.leaves.get(self.next_loop).copied().unwrap_or_default();
                self.next_loop += 1;
                self.doubled.push(open + u32::from(is_leaf));
                if is_leaf {
                    self.refill_around(bytes);
                }
            }
            Operator::End => {
                self.doubled.pop();
                if self.doubled.last().is_some_and(|outer| *outer < open) {
                    self.sink().end();
                }
            }
            _ => {}
        }
    }

    /// Locals of the loop that was just opened, each with a global; none if they are too many.
    fn shelved(&mut self) -> Vec<(u32, u32)> {
        let named = self.next_loop.checked_sub(1).and_then(|index| self.shape.named.get(index));
        let carried = named.map(|named| &named.carried).filter(|carried| carried.len() <= MOST_SHELVED);
        let Some(carried) = carried else { return Vec::new() };
        let mut counts: BTreeMap<ValType, u32> = BTreeMap::new();
        let mut shelved = Vec::new();
        for local in carried {
            let Some(ty) = self.shape.types.get(*local as usize).copied() else { continue };
            let nth = counts.entry(ty).or_default();
            if let Some(global) = self.shelf.place(ty, *nth) {
                shelved.push((*local, global));
            }
            *nth += 1;
        }
        shelved
    }

    /// At the head of the outer of two loops: sees that there is gas for the run that follows, then opens the inner one.
    fn refill_around(&mut self, opener: &[u8]) {
        let (gas, charge) = (self.gas, self.charge_of(self.run));
        let shelved = self.shelved();
        self.sink().local_get(gas).i64_const(-charge).i64_add().local_tee(gas).i64_const(0).i64_lt_s();
        self.unlikely_if();
        for (local, global) in &shelved {
            self.sink().local_get(*local).global_set(*global);
        }
        let refill = self.appended.refill;
        self.sink().local_get(gas).call(refill).local_set(gas);
        for (local, global) in &shelved {
            self.sink().global_get(*global).local_set(*local);
        }
        self.sink().end().local_get(gas).i64_const(charge).i64_add().local_set(gas);
        self.function.raw(opener.iter().copied());
        self.sink().local_get(gas).i64_const(charge).i64_lt_s();
        self.unlikely_here();
        self.sink().br_if(1);
    }

    /// Makes the NaNs of the value on top of the stack canonical.
    fn canonical(&mut self, float: Float) {
        let kept = self.floats[float as usize];
        self.sink().local_set(kept);
        self.canonical_local(kept, float);
        self.sink().local_get(kept);
    }

    /// Makes the NaNs in a local canonical. The branch is never taken in real work, so it costs a comparison and no waiting
    /// for its result.
    fn canonical_local(&mut self, local: u32, float: Float) {
        let mut sink = self.sink();
        sink.local_get(local).local_get(local);
        match float {
            Float::F32 => sink.f32_ne(),
            Float::F64 => sink.f64_ne(),
            Float::F32x4 => sink.f32x4_ne().v128_any_true(),
            Float::F64x2 => sink.f64x2_ne().v128_any_true(),
        };
        self.unlikely_if();
        let mut sink = self.sink();
        match float {
            Float::F32 => sink.f32_const(f32::from_bits(nan::NAN_32).into()),
            Float::F64 => sink.f64_const(f64::from_bits(nan::NAN_64).into()),
            Float::F32x4 => sink
                .local_get(local)
                .v128_const(nan::NAN_32X4)
                .local_get(local)
                .local_get(local)
                .f32x4_eq()
                .v128_bitselect(),
            Float::F64x2 => sink
                .local_get(local)
                .v128_const(nan::NAN_64X2)
                .local_get(local)
                .local_get(local)
                .f64x2_eq()
                .v128_bitselect(),
        };
        sink.local_set(local).end();
    }

    fn charge(&mut self, how: RunStart) {
        let charge = self.next_charge();
        if charge == 0 {
            return;
        }
        let gas = self.gas;
        self.sink().local_get(gas).i64_const(-charge).i64_add();
        match how {
            RunStart::LoopHead if !self.is_in_leaf() => {
                self.sink().local_tee(gas);
                self.refill_below_zero();
            }
            RunStart::LoopHead | RunStart::Plain | RunStart::BehindBranch => {
                self.sink().local_set(gas);
            }
        }
    }

    /// Whether the innermost open block is a loop with another around it.
    fn is_in_leaf(&self) -> bool {
        match self.doubled.as_slice() {
            [.., outer, inner] => outer < inner,
            _ => false,
        }
    }

    /// With gas on the stack: calls for more if it is below zero.
    fn refill_below_zero(&mut self) {
        let (gas, refill) = (self.gas, self.appended.refill);
        self.sink().i64_const(0).i64_lt_s();
        self.unlikely_if();
        self.sink().local_get(gas).call(refill).local_set(gas).end();
    }

    /// An `if` that real work never enters; engines are told so.
    fn unlikely_if(&mut self) {
        self.unlikely_here();
        self.sink().if_(BlockType::Empty);
    }

    fn unlikely_here(&mut self) {
        self.unlikely.push(u32::try_from(self.function.byte_len()).unwrap_or(u32::MAX));
    }

    fn flush(&mut self) {
        let (gas, global) = (self.gas, self.appended.gas);
        self.sink().local_get(gas).global_set(global);
    }

    fn next_charge(&mut self) -> i64 {
        let charge = self.charge_of(self.run);
        self.run += 1;
        charge
    }

    /// Written as the addition of a negative number: compilers do that from one register to another, so that gas in a loop need not share
    /// the place, in memory, of gas around it.
    fn charge_of(&self, run: usize) -> i64 {
        self.shape.charges.get(run).copied().map_or(0, |charge| i64::try_from(charge).unwrap_or(i64::MAX))
    }
}
