//! Integers that become floats, and integers beside floats: what must not be rounded before it is computed with.

use wasm_encoder::{Instruction as I, ValType};

use super::Body;
use crate::{
    exchange::Failure,
    formula::{
        bounds::Whole,
        parser::Comparison,
        template::Helper,
        typing::{Shape, Typed},
    },
};

impl Body<'_> {
    /// The float nearest to the quotient of two integers.
    pub(super) fn quotient(&mut self, a: &Typed, b: &Typed) {
        self.wide(a);
        self.wide_divisor(b);
        self.helper(Helper::IntQuotient);
    }

    /// The integer as two words; fails if it is 0 and its bounds do not exclude that.
    fn wide_divisor(&mut self, divisor: &Typed) {
        self.wide(divisor);
        if divisor.whole().contains(0) {
            let (low, high) = (self.take(ValType::I64), self.take(ValType::I64));
            self.extend([I::LocalSet(high), I::LocalTee(low), I::LocalGet(high)]);
            self.extend([I::LocalGet(low), I::LocalGet(high), I::I64Or, I::I64Eqz]);
            self.fail_if(Failure::DivisionByZero);
            self.release(ValType::I64, low);
            self.release(ValType::I64, high);
        }
    }

    /// The exact quotient of two numbers, a float among them, rounded down.
    pub(super) fn floor_quotient(&mut self, a: &Typed, b: &Typed, bounds: Whole) {
        self.number(a);
        self.number(b);
        self.helper(match (a.shape, b.shape) {
            (Shape::Integer(_), _) => Helper::IntFloatFloorDivide,
            (_, Shape::Integer(_)) => Helper::FloatIntFloorDivide,
            (_, _) => Helper::FloatFloorDivide,
        });
        self.check();
        self.result_integer(bounds);
    }

    /// An integer as two words, a float as it is.
    fn number(&mut self, value: &Typed) {
        match value.shape {
            Shape::Integer(_) => self.wide(value),
            Shape::Float(_) | Shape::Bool | Shape::Text => self.value(value),
        }
    }

    /// The exact remainder of an integer and a float, as a float.
    pub(super) fn mixed_remainder(&mut self, a: &Typed, b: &Typed) {
        self.number(a);
        match b.shape {
            Shape::Integer(_) => {
                self.wide_divisor(b);
                self.helper(Helper::FloatIntRemainder);
            }
            Shape::Float(_) | Shape::Bool | Shape::Text => {
                self.value(b);
                self.check_divisor(b);
                self.helper(Helper::IntFloatRemainder);
            }
        }
    }

    /// The float nearest to the power of an integer that is no float, to a written negative exponent.
    pub(super) fn fraction_power(&mut self, base: &Typed, exponent: &Typed) {
        self.wide_divisor(base);
        self.value(exponent);
        self.helper(Helper::IntFloatPower);
    }

    /// How an integer lies to a float, exactly.
    pub(super) fn mixed_compare(&mut self, comparison: Comparison, integer: &Typed, float: &Typed) {
        self.wide(integer);
        self.value(float);
        // -1, 0 or 1; 2 beside not-a-number, which is unequal to everything and neither less nor more.
        self.helper(Helper::IntFloatCompare);
        self.extend(match comparison {
            Comparison::Equal => [I::I32Const(0), I::I32Eq],
            Comparison::Unequal => [I::I32Const(0), I::I32Ne],
            Comparison::Less => [I::I32Const(0), I::I32LtS],
            Comparison::LessOrEqual => [I::I32Const(0), I::I32LeS],
            Comparison::More => [I::I32Const(1), I::I32Eq],
            Comparison::MoreOrEqual => [I::I32Const(2), I::I32LtU],
        });
    }
}
