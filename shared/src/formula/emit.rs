//! A typed expression as WebAssembly instructions.
//!
//! On the stack an integer is one `i64` where its bounds fit ("narrow"), else two (low, high); a float is an `f64`, a
//! condition an `i32`, a text two `i32` (address, length). A failure sets the error local and leaves the item's block.

mod integers;
mod mixed;

use wasm_encoder::{BlockType, Instruction as I, MemArg, MemArgTarget, ValType};

use super::{
    bounds::Whole,
    parser::{Arithmetic, Comparison},
    template::Helper,
    typing::{Change, Curve, Node, Rounding, Shape, Typed},
};
use crate::exchange::Failure;

/// What finds helper functions and constant texts in the template.
pub(super) trait Template {
    /// Index of a helper function.
    fn helper(&mut self, helper: Helper) -> u32;
    /// Where the two result words lie.
    fn result_address(&self) -> u32;
    /// Puts a text into memory; gives its address.
    fn text(&mut self, text: &str) -> u32;
}

/// Where a value is kept between uses.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place {
    Narrow(u32),
    Wide(u32, u32),
    Float(u32),
    Bool(u32),
    Text(u32, u32),
}

/// An access to the one memory; `align` is the exponent of a power of two.
pub(super) fn memory_at(offset: u64, align: u32) -> MemArg {
    MemArg { offset, align, target: MemArgTarget::default(), ordering: None }
}

/// One function's body in the making.
pub(super) struct Body<'t> {
    template: &'t mut dyn Template,
    code: Vec<I<'static>>,
    parameters: u32,
    locals: Vec<ValType>,
    /// Locals that nobody uses just now.
    free: Vec<(ValType, u32)>,
    /// Blocks open in `code`.
    depth: u32,
    /// Depth of the block that a failure leaves.
    fail_depth: u32,
    /// Local that holds the failure's code.
    error: u32,
    x: Option<Place>,
    slots: Vec<Place>,
}

impl<'t> Body<'t> {
    /// An empty body of a function with parameters of these types.
    pub(super) fn new(template: &'t mut dyn Template, parameters: &[ValType]) -> Self {
        let mut body = Self {
            template,
            code: Vec::new(),
            parameters: parameters.len() as u32,
            locals: Vec::new(),
            free: Vec::new(),
            depth: 0,
            fail_depth: 0,
            error: 0,
            x: None,
            slots: Vec::new(),
        };
        body.error = body.take(ValType::I32);
        body
    }

    /// The finished function.
    pub(super) fn finish(self) -> wasm_encoder::Function {
        let mut function = wasm_encoder::Function::new_with_locals_types(self.locals);
        for instruction in &self.code {
            function.instruction(instruction);
        }
        function.instruction(&I::End);
        function
    }

    pub(super) fn push(&mut self, instruction: I<'static>) {
        self.code.push(instruction);
    }

    pub(super) fn extend(&mut self, instructions: impl IntoIterator<Item = I<'static>>) {
        self.code.extend(instructions);
    }

    pub(super) fn helper(&mut self, helper: Helper) {
        let index = self.template.helper(helper);
        self.push(I::Call(index));
    }

    /// A local of that type, until it is released.
    pub(super) fn take(&mut self, kind: ValType) -> u32 {
        if let Some(i) = self.free.iter().position(|(free, _)| *free == kind) {
            return self.free.swap_remove(i).1;
        }
        self.locals.push(kind);
        self.parameters + self.locals.len() as u32 - 1
    }

    fn release(&mut self, kind: ValType, local: u32) {
        self.free.push((kind, local));
    }

    pub(super) fn open(&mut self, instruction: I<'static>) {
        self.push(instruction);
        self.depth += 1;
    }

    pub(super) fn close(&mut self) {
        self.push(I::End);
        self.depth -= 1;
    }

    /// Opens the block that failures leave; its end is where they arrive.
    pub(super) fn open_fallible(&mut self) {
        self.open(I::Block(BlockType::Empty));
        self.fail_depth = self.depth;
    }

    /// The label of the block opened when the depth became `depth`.
    pub(super) fn label(&self, depth: u32) -> u32 {
        self.depth - depth
    }

    pub(super) fn depth(&self) -> u32 {
        self.depth
    }

    pub(super) fn error_local(&self) -> u32 {
        self.error
    }

    pub(super) fn set_x(&mut self, place: Place) {
        self.x = Some(place);
    }

    /// Makes places for `let` values.
    pub(super) fn set_slots(&mut self, shapes: &[Shape]) {
        self.slots = shapes.iter().map(|shape| self.place(*shape)).collect();
    }

    pub(super) fn place(&mut self, shape: Shape) -> Place {
        match shape {
            Shape::Integer(bounds) if bounds.is_narrow() => Place::Narrow(self.take(ValType::I64)),
            Shape::Integer(_) => Place::Wide(self.take(ValType::I64), self.take(ValType::I64)),
            Shape::Float(_) => Place::Float(self.take(ValType::F64)),
            Shape::Bool => Place::Bool(self.take(ValType::I32)),
            Shape::Text => Place::Text(self.take(ValType::I32), self.take(ValType::I32)),
        }
    }

    pub(super) fn store(&mut self, place: Place) {
        match place {
            Place::Narrow(a) | Place::Float(a) | Place::Bool(a) => self.push(I::LocalSet(a)),
            Place::Wide(a, b) | Place::Text(a, b) => self.extend([I::LocalSet(b), I::LocalSet(a)]),
        }
    }

    pub(super) fn load(&mut self, place: Place) {
        match place {
            Place::Narrow(a) | Place::Float(a) | Place::Bool(a) => self.push(I::LocalGet(a)),
            Place::Wide(a, b) | Place::Text(a, b) => self.extend([I::LocalGet(a), I::LocalGet(b)]),
        }
    }

    /// Loads the result words of a helper as an integer with these bounds.
    pub(super) fn result_integer(&mut self, bounds: Whole) {
        self.result_word(0);
        if !bounds.is_narrow() {
            self.result_word(8);
        }
    }

    /// Loads the result words of a helper as a text.
    pub(super) fn result_text(&mut self) {
        self.result_word(0);
        self.push(I::I32WrapI64);
        self.result_word(8);
        self.push(I::I32WrapI64);
    }

    fn result_word(&mut self, offset: u64) {
        let address = self.template.result_address();
        self.push(I::I32Const(address as i32));
        self.push(I::I64Load(memory_at(offset, 3)));
    }

    /// Fails if the code on the stack is not 0.
    pub(super) fn check(&mut self) {
        let (error, label) = (self.error, self.label(self.fail_depth));
        self.extend([I::LocalTee(error), I::BrIf(label)]);
    }

    /// Fails if the condition on the stack holds.
    fn fail_if(&mut self, failure: Failure) {
        self.open(I::If(BlockType::Empty));
        let (error, label) = (self.error, self.label(self.fail_depth));
        self.extend([I::I32Const(failure as i32), I::LocalSet(error), I::Br(label)]);
        self.close();
    }

    /// The value as two words.
    pub(super) fn wide(&mut self, value: &Typed) {
        self.value(value);
        if value.whole().is_narrow() {
            self.widen();
        }
    }

    /// One word on the stack becomes two.
    pub(super) fn widen(&mut self) {
        let word = self.take(ValType::I64);
        self.extend([I::LocalTee(word), I::LocalGet(word), I::I64Const(63), I::I64ShrS]);
        self.release(ValType::I64, word);
    }

    /// The value in the width of these bounds, which contain it.
    fn integer_as(&mut self, value: &Typed, bounds: Whole) {
        if bounds.is_narrow() { self.value(value) } else { self.wide(value) }
    }

    /// The value in the representation of `shape`.
    fn value_as(&mut self, value: &Typed, shape: Shape) {
        match shape {
            Shape::Integer(bounds) => self.integer_as(value, bounds),
            Shape::Float(_) | Shape::Bool | Shape::Text => self.value(value),
        }
    }

    fn block_of(shape: Shape) -> Option<ValType> {
        match shape {
            Shape::Integer(bounds) if bounds.is_narrow() => Some(ValType::I64),
            Shape::Float(_) => Some(ValType::F64),
            Shape::Bool => Some(ValType::I32),
            Shape::Integer(_) | Shape::Text => None,
        }
    }

    /// Leaves the value on the stack.
    pub(super) fn value(&mut self, value: &Typed) {
        match &value.node {
            Node::Integer(constant) => {
                self.push(I::I64Const(*constant as i64));
                if !value.whole().is_narrow() {
                    self.push(I::I64Const((*constant >> 64) as i64));
                }
            }
            Node::Float(constant) => self.push(I::F64Const((*constant).into())),
            Node::Bool(constant) => self.push(I::I32Const(i32::from(*constant))),
            Node::Text(text) => {
                let address = self.template.text(text);
                self.extend([I::I32Const(address as i32), I::I32Const(text.len() as i32)]);
            }
            Node::X => {
                if let Some(place) = self.x {
                    self.load(place);
                }
            }
            Node::Local(slot) => {
                if let Some(place) = self.slots.get(*slot).copied() {
                    self.load(place);
                }
            }
            Node::Let { slot, value, body } => {
                self.bind(*slot, value);
                self.value(body);
            }
            Node::IntegerToFloat(inner) => {
                self.value(inner);
                if inner.whole().is_narrow() {
                    self.push(I::F64ConvertI64S);
                } else {
                    self.helper(Helper::IntToFloat);
                }
            }
            Node::BoolToInteger(inner) => {
                self.value(inner);
                self.push(I::I64ExtendI32U);
            }
            Node::Negate(inner) => self.negate(value, inner),
            Node::Not(inner) => {
                self.value(inner);
                self.push(I::I32Eqz);
            }
            Node::Arithmetic(operator, a, b) => match value.shape {
                Shape::Integer(bounds) => self.integer_arithmetic(*operator, a, b, bounds),
                Shape::Float(_) | Shape::Bool | Shape::Text => self.real_arithmetic(*operator, a, b),
            },
            Node::Quotient(a, b) => self.quotient(a, b),
            Node::FloorQuotient(a, b) => self.floor_quotient(a, b, value.whole()),
            Node::MixedRemainder(a, b) => self.mixed_remainder(a, b),
            Node::FractionPower(base, exponent) => self.fraction_power(base, exponent),
            Node::NonZero(inner) => {
                self.value(inner);
                self.fail_if_zero();
            }
            Node::Compare(comparison, a, b) => self.compare(*comparison, a, b),
            Node::MixedCompare(comparison, integer, float) => self.mixed_compare(*comparison, integer, float),
            Node::And(a, b) => self.branch(a, Shape::Bool, |body| body.value(b), |body| body.push(I::I32Const(0))),
            Node::Or(a, b) => self.branch(a, Shape::Bool, |body| body.push(I::I32Const(1)), |body| body.value(b)),
            Node::If(test, a, b) => {
                let shape = value.shape;
                self.branch(test, shape, |body| body.value_as(a, shape), |body| body.value_as(b, shape));
            }
            Node::Absolute(inner) => self.absolute(value, inner),
            Node::Least(a, b) => self.extreme(value.shape, true, a, b),
            Node::Most(a, b) => self.extreme(value.shape, false, a, b),
            Node::ToInteger(rounding, inner) => self.rounded(value, *rounding, inner),
            Node::SquareRoot(inner) => {
                self.value(inner);
                self.push(I::F64Sqrt);
            }
            Node::Curve(curve, inner) => {
                self.value(inner);
                self.helper(match curve {
                    Curve::Sin => Helper::FloatSin,
                    Curve::Cos => Helper::FloatCos,
                    Curve::Tan => Helper::FloatTan,
                    Curve::Exp => Helper::FloatExp,
                    Curve::Ln => Helper::FloatLn,
                    Curve::Log10 => Helper::FloatLog10,
                });
            }
            Node::Gcd(a, b) => {
                self.wide(a);
                self.wide(b);
                self.helper(Helper::IntGcd);
                self.check();
                self.result_integer(value.whole());
            }
            Node::IsPrime(inner) => self.is_prime(inner),
            Node::Length(inner) => {
                self.value(inner);
                self.helper(Helper::TextLength);
            }
            Node::Change(change, inner) => {
                self.value(inner);
                self.helper(match change {
                    Change::Upper => Helper::TextUpper,
                    Change::Lower => Helper::TextLower,
                    Change::Trim => Helper::TextTrim,
                });
                self.check();
                self.result_text();
            }
            Node::Contains(a, b) => {
                self.value(a);
                self.value(b);
                self.helper(Helper::TextContains);
            }
            Node::Replace(a, b, c) => {
                self.value(a);
                self.value(b);
                self.value(c);
                self.helper(Helper::TextReplace);
                self.check();
                self.result_text();
            }
            Node::Concatenate(a, b) => {
                self.value(a);
                self.value(b);
                self.helper(Helper::TextConcatenate);
                self.check();
                self.result_text();
            }
        }
    }

    /// `if test { a } else { b }`; values of two words pass through locals.
    fn branch(&mut self, test: &Typed, shape: Shape, a: impl FnOnce(&mut Self), b: impl FnOnce(&mut Self)) {
        self.value(test);
        if let Some(kind) = Self::block_of(shape) {
            self.open(I::If(BlockType::Result(kind)));
            a(self);
            self.push(I::Else);
            b(self);
            self.close();
            return;
        }
        let place = self.place(shape);
        self.open(I::If(BlockType::Empty));
        a(self);
        self.store(place);
        self.push(I::Else);
        b(self);
        self.store(place);
        self.close();
        self.load(place);
        self.release_place(place);
    }

    /// `if test { a } else { b }` that leaves nothing on the stack.
    pub(super) fn either(&mut self, test: &Typed, a: impl FnOnce(&mut Self), b: impl FnOnce(&mut Self)) {
        self.value(test);
        self.open(I::If(BlockType::Empty));
        a(self);
        self.push(I::Else);
        b(self);
        self.close();
    }

    /// Computes what `let` binds.
    pub(super) fn bind(&mut self, slot: usize, value: &Typed) {
        self.value(value);
        if let Some(place) = self.slots.get(slot).copied() {
            self.store(place);
        }
    }

    fn release_place(&mut self, place: Place) {
        match place {
            Place::Narrow(a) => self.release(ValType::I64, a),
            Place::Float(a) => self.release(ValType::F64, a),
            Place::Bool(a) => self.release(ValType::I32, a),
            Place::Wide(a, b) => {
                self.release(ValType::I64, a);
                self.release(ValType::I64, b);
            }
            Place::Text(a, b) => {
                self.release(ValType::I32, a);
                self.release(ValType::I32, b);
            }
        }
    }

    fn negate(&mut self, value: &Typed, inner: &Typed) {
        match value.shape {
            Shape::Integer(bounds) if bounds.is_narrow() && inner.whole().is_narrow() => {
                self.push(I::I64Const(0));
                self.value(inner);
                self.push(I::I64Sub);
            }
            Shape::Integer(bounds) => {
                self.extend([I::I64Const(0), I::I64Const(0)]);
                self.wide(inner);
                self.helper(Helper::IntSubtract);
                self.check();
                self.result_integer(bounds);
            }
            Shape::Float(_) | Shape::Bool | Shape::Text => {
                self.value(inner);
                self.push(I::F64Neg);
            }
        }
    }

    fn real_arithmetic(&mut self, operator: Arithmetic, a: &Typed, b: &Typed) {
        self.value(a);
        self.value(b);
        match operator {
            Arithmetic::Add => self.push(I::F64Add),
            Arithmetic::Subtract => self.push(I::F64Sub),
            Arithmetic::Multiply => self.push(I::F64Mul),
            Arithmetic::Power => self.helper(Helper::FloatPower),
            Arithmetic::Divide => {
                self.check_divisor(b);
                self.push(I::F64Div);
            }
            // Rounded down, a quotient is an integer: another node.
            Arithmetic::Remainder | Arithmetic::FloorDivide => {
                self.check_divisor(b);
                self.helper(Helper::FloatRemainder);
            }
        }
    }

    /// Fails if the divisor on the stack is 0 and its bounds do not exclude that.
    fn check_divisor(&mut self, divisor: &Typed) {
        let may_be_zero = match divisor.shape {
            Shape::Float(bounds) => bounds.contains_zero(),
            Shape::Integer(_) | Shape::Bool | Shape::Text => true,
        };
        if may_be_zero {
            self.fail_if_zero();
        }
    }

    /// Fails if the float on the stack is 0.
    fn fail_if_zero(&mut self) {
        let word = self.take(ValType::F64);
        self.extend([I::LocalTee(word), I::LocalGet(word), I::F64Const(0.0.into()), I::F64Eq]);
        self.fail_if(Failure::DivisionByZero);
        self.release(ValType::F64, word);
    }

    fn compare(&mut self, comparison: Comparison, a: &Typed, b: &Typed) {
        match (a.shape, b.shape) {
            (Shape::Integer(left), Shape::Integer(right)) if left.is_narrow() && right.is_narrow() => {
                self.value(a);
                self.value(b);
                self.push(match comparison {
                    Comparison::Equal => I::I64Eq,
                    Comparison::Unequal => I::I64Ne,
                    Comparison::Less => I::I64LtS,
                    Comparison::LessOrEqual => I::I64LeS,
                    Comparison::More => I::I64GtS,
                    Comparison::MoreOrEqual => I::I64GeS,
                });
                return;
            }
            (Shape::Float(_), Shape::Float(_)) => {
                self.value(a);
                self.value(b);
                self.push(match comparison {
                    Comparison::Equal => I::F64Eq,
                    Comparison::Unequal => I::F64Ne,
                    Comparison::Less => I::F64Lt,
                    Comparison::LessOrEqual => I::F64Le,
                    Comparison::More => I::F64Gt,
                    Comparison::MoreOrEqual => I::F64Ge,
                });
                return;
            }
            (Shape::Text, Shape::Text) => {
                self.value(a);
                self.value(b);
                self.helper(Helper::TextCompare);
            }
            (_, _) => {
                self.wide(a);
                self.wide(b);
                self.helper(Helper::IntCompare);
            }
        }
        self.push(I::I32Const(0));
        self.push(match comparison {
            Comparison::Equal => I::I32Eq,
            Comparison::Unequal => I::I32Ne,
            Comparison::Less => I::I32LtS,
            Comparison::LessOrEqual => I::I32LeS,
            Comparison::More => I::I32GtS,
            Comparison::MoreOrEqual => I::I32GeS,
        });
    }

    fn absolute(&mut self, value: &Typed, inner: &Typed) {
        match value.shape {
            Shape::Integer(bounds) if bounds.is_narrow() && inner.whole().is_narrow() => {
                let (word, mask) = (self.take(ValType::I64), self.take(ValType::I64));
                self.value(inner);
                self.extend([I::LocalTee(word), I::I64Const(63), I::I64ShrS, I::LocalTee(mask)]);
                self.extend([I::LocalGet(word), I::I64Xor, I::LocalGet(mask), I::I64Sub]);
                self.release(ValType::I64, word);
                self.release(ValType::I64, mask);
            }
            Shape::Integer(bounds) => {
                self.wide(inner);
                self.helper(Helper::IntAbsolute);
                self.check();
                self.result_integer(bounds);
            }
            Shape::Float(_) | Shape::Bool | Shape::Text => {
                self.value(inner);
                self.push(I::F64Abs);
            }
        }
    }

    fn extreme(&mut self, shape: Shape, least: bool, a: &Typed, b: &Typed) {
        let Shape::Integer(_) = shape else {
            self.value(a);
            self.value(b);
            self.push(if least { I::F64Min } else { I::F64Max });
            return;
        };
        let both = Shape::Integer(a.whole().join(b.whole()));
        let (first, second) = (self.place(both), self.place(both));
        self.value_as(a, both);
        self.store(first);
        self.value_as(b, both);
        self.store(second);
        match (first, second) {
            (Place::Narrow(a), Place::Narrow(b)) => {
                let test = if least { I::I64LtS } else { I::I64GtS };
                self.extend([I::LocalGet(a), I::LocalGet(b), I::LocalGet(a), I::LocalGet(b), test, I::Select]);
            }
            (Place::Wide(a, a_high), Place::Wide(b, b_high)) => {
                let test = self.take(ValType::I32);
                self.load(first);
                self.load(second);
                self.helper(Helper::IntCompare);
                self.extend([I::I32Const(0), if least { I::I32LtS } else { I::I32GtS }, I::LocalSet(test)]);
                self.extend([I::LocalGet(a), I::LocalGet(b), I::LocalGet(test), I::Select]);
                let narrow = matches!(shape, Shape::Integer(bounds) if bounds.is_narrow());
                if !narrow {
                    self.extend([I::LocalGet(a_high), I::LocalGet(b_high), I::LocalGet(test), I::Select]);
                }
                self.release(ValType::I32, test);
            }
            (_, _) => {}
        }
        self.release_place(first);
        self.release_place(second);
    }

    fn rounded(&mut self, value: &Typed, rounding: Rounding, inner: &Typed) {
        self.value(inner);
        match rounding {
            Rounding::Floor => self.push(I::F64Floor),
            Rounding::Ceil => self.push(I::F64Ceil),
            Rounding::Round => self.helper(Helper::FloatRound),
        }
        let (bounds, unsafe_bounds) = match inner.shape {
            Shape::Float(real) => real.rounded(),
            Shape::Integer(_) | Shape::Bool | Shape::Text => (value.whole(), true),
        };
        if !unsafe_bounds && bounds.is_narrow() {
            self.push(I::I64TruncSatF64S);
            return;
        }
        self.helper(Helper::FloatToInt);
        self.check();
        self.result_integer(value.whole());
    }

    fn is_prime(&mut self, inner: &Typed) {
        if inner.whole().is_narrow() {
            self.value(inner);
            if inner.whole().least < 0 {
                // Nothing below 2 is prime; the helper takes no sign.
                let word = self.take(ValType::I64);
                self.extend([
                    I::LocalTee(word),
                    I::I64Const(0),
                    I::LocalGet(word),
                    I::I64Const(0),
                    I::I64GtS,
                    I::Select,
                ]);
                self.release(ValType::I64, word);
            }
            self.helper(Helper::IsPrime);
            return;
        }
        self.wide(inner);
        self.helper(Helper::IntIsPrime);
        self.check();
        self.result_word(0);
        self.push(I::I32WrapI64);
    }
}
