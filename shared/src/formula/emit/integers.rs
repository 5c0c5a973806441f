//! Arithmetic of integers: one word where the bounds allow it, inline two words where nothing can overflow, else the
//! guest's checked functions.

use wasm_encoder::{Instruction as I, ValType};

use super::{Body, Place};
use crate::{
    exchange::Failure,
    formula::{
        bounds::Whole,
        parser::Arithmetic,
        template::Helper,
        typing::{Node, Typed},
    },
};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Division {
    Quotient,
    Remainder,
}

impl Body<'_> {
    pub(super) fn integer_arithmetic(&mut self, operator: Arithmetic, a: &Typed, b: &Typed, bounds: Whole) {
        let words = a.whole().is_narrow() && b.whole().is_narrow();
        let narrow = bounds.is_narrow() && words;
        match operator {
            Arithmetic::Add if narrow => self.words(a, b, I::I64Add),
            Arithmetic::Add if !bounds.is_narrow() && !a.whole().corners(b.whole(), i128::checked_add).1 => {
                let (first, second) = (self.wide_place(a), self.wide_place(b));
                self.add_wide(first, second);
                self.release_place(first);
                self.release_place(second);
            }
            Arithmetic::Add => self.checked(Helper::IntAdd, a, b, bounds),
            Arithmetic::Subtract if narrow => self.words(a, b, I::I64Sub),
            Arithmetic::Subtract => self.checked(Helper::IntSubtract, a, b, bounds),
            Arithmetic::Multiply if narrow => self.words(a, b, I::I64Mul),
            Arithmetic::Multiply if words => self.multiply_words(a, b),
            Arithmetic::Multiply => self.checked(Helper::IntMultiply, a, b, bounds),
            Arithmetic::FloorDivide if narrow => self.narrow_division(Division::Quotient, a, b),
            // A quotient that is no integer has a node of its own.
            Arithmetic::FloorDivide | Arithmetic::Divide => self.checked(Helper::IntFloorDivide, a, b, bounds),
            Arithmetic::Remainder if narrow => self.narrow_division(Division::Remainder, a, b),
            Arithmetic::Remainder => self.checked(Helper::IntRemainder, a, b, bounds),
            Arithmetic::Power if narrow && matches!(b.node, Node::Integer(1..=64)) => {
                self.value(a);
                self.small_power(b.whole().most as u64);
            }
            Arithmetic::Power => self.checked(Helper::IntPower, a, b, bounds),
        }
    }

    fn words(&mut self, a: &Typed, b: &Typed, instruction: I<'static>) {
        self.value(a);
        self.value(b);
        self.push(instruction);
    }

    /// By the guest, which fails where the result does not fit.
    fn checked(&mut self, helper: Helper, a: &Typed, b: &Typed, bounds: Whole) {
        self.wide(a);
        self.wide(b);
        self.helper(helper);
        self.check();
        self.result_integer(bounds);
    }

    fn wide_place(&mut self, value: &Typed) -> Place {
        let place = Place::Wide(self.take(ValType::I64), self.take(ValType::I64));
        self.wide(value);
        self.store(place);
        place
    }

    /// Leaves the sum of two integers of two words, which does not overflow.
    pub(crate) fn add_wide(&mut self, a: Place, b: Place) {
        let (Place::Wide(a, a_high), Place::Wide(b, b_high)) = (a, b) else { return };
        let low = self.take(ValType::I64);
        self.extend([I::LocalGet(a), I::LocalGet(b), I::I64Add, I::LocalTee(low)]);
        self.extend([I::LocalGet(a_high), I::LocalGet(b_high), I::I64Add]);
        // The carry: the low word became smaller than what was added.
        self.extend([I::LocalGet(low), I::LocalGet(b), I::I64LtU, I::I64ExtendI32U, I::I64Add]);
        self.release(ValType::I64, low);
    }

    /// The product of two words as two words (H. Warren, "Hacker's Delight", 8-2): halves of 32 bits, then the signs.
    fn multiply_words(&mut self, a: &Typed, b: &Typed) {
        const HALF: i64 = 0xffff_ffff;
        let words: Vec<u32> = (0..6).map(|_| self.take(ValType::I64)).collect();
        let [x, y, x_low, y_low, middle, first] = words[..] else { return };
        self.value(a);
        self.value(b);
        self.extend([I::LocalSet(y), I::LocalSet(x)]);
        // The low word is the wrapped product.
        self.extend([I::LocalGet(x), I::LocalGet(y), I::I64Mul]);
        self.extend([I::LocalGet(x), I::I64Const(HALF), I::I64And, I::LocalSet(x_low)]);
        self.extend([I::LocalGet(y), I::I64Const(HALF), I::I64And, I::LocalSet(y_low)]);
        let high_half = |word| [I::LocalGet(word), I::I64Const(32), I::I64ShrU];
        // middle = x_high * y_low + (x_low * y_low >> 32)
        self.extend(high_half(x));
        self.extend([I::LocalGet(y_low), I::I64Mul, I::LocalGet(x_low), I::LocalGet(y_low), I::I64Mul]);
        self.extend([I::I64Const(32), I::I64ShrU, I::I64Add, I::LocalSet(middle)]);
        // first = x_low * y_high + (middle & HALF)
        self.push(I::LocalGet(x_low));
        self.extend(high_half(y));
        self.extend([I::I64Mul, I::LocalGet(middle), I::I64Const(HALF), I::I64And, I::I64Add, I::LocalSet(first)]);
        // high = x_high * y_high + (middle >> 32) + (first >> 32)
        self.extend(high_half(x));
        self.extend(high_half(y));
        self.push(I::I64Mul);
        self.extend(high_half(middle));
        self.push(I::I64Add);
        self.extend(high_half(first));
        self.push(I::I64Add);
        for (word, other, bounds) in [(x, y, a.whole()), (y, x, b.whole())] {
            if bounds.least < 0 {
                self.extend([I::LocalGet(word), I::I64Const(63), I::I64ShrS, I::LocalGet(other), I::I64And, I::I64Sub]);
            }
        }
        for word in words {
            self.release(ValType::I64, word);
        }
    }

    /// Replaces the word on the stack by its power; the bounds say that no step overflows.
    fn small_power(&mut self, exponent: u64) {
        let (square, power) = (self.take(ValType::I64), self.take(ValType::I64));
        self.push(I::LocalSet(square));
        let mut left = exponent;
        let mut begun = false;
        while left > 0 {
            if left & 1 == 1 {
                self.push(I::LocalGet(square));
                if begun {
                    self.extend([I::LocalGet(power), I::I64Mul]);
                }
                self.push(I::LocalSet(power));
                begun = true;
            }
            left >>= 1;
            if left > 0 {
                self.extend([I::LocalGet(square), I::LocalGet(square), I::I64Mul, I::LocalSet(square)]);
            }
        }
        self.push(I::LocalGet(power));
        self.release(ValType::I64, square);
        self.release(ValType::I64, power);
    }

    /// Quotient rounded down or remainder with the divisor's sign, of words.
    fn narrow_division(&mut self, division: Division, a: &Typed, b: &Typed) {
        let (dividend, divisor) = (a.whole(), b.whole());
        let remainder = division == Division::Remainder;
        if let (Node::Integer(constant), true) = (&b.node, dividend.least >= 0 && divisor.least > 0) {
            // By a power of two, of what is never negative: bits.
            if constant.count_ones() == 1 {
                self.value(a);
                let bits = i64::from(constant.trailing_zeros());
                self.extend(match remainder {
                    true => [I::I64Const(*constant as i64 - 1), I::I64And],
                    false => [I::I64Const(bits), I::I64ShrU],
                });
                return;
            }
        }
        if dividend.is_short() && divisor.is_short() {
            self.value(a);
            self.push(I::I32WrapI64);
            self.value(b);
            self.push(I::I32WrapI64);
            if divisor.contains(0) {
                let word = self.take(ValType::I32);
                self.extend([I::LocalTee(word), I::LocalGet(word), I::I32Eqz]);
                self.fail_if(Failure::DivisionByZero);
                self.release(ValType::I32, word);
            }
            self.extend([if remainder { I::I32RemU } else { I::I32DivU }, I::I64ExtendI32U]);
            return;
        }
        self.value(a);
        self.value(b);
        if divisor.contains(0) {
            let word = self.take(ValType::I64);
            self.extend([I::LocalTee(word), I::LocalGet(word), I::I64Eqz]);
            self.fail_if(Failure::DivisionByZero);
            self.release(ValType::I64, word);
        }
        if dividend.least >= 0 && divisor.least >= 0 {
            self.push(if remainder { I::I64RemU } else { I::I64DivU });
            return;
        }
        let (left, right, result) = (self.take(ValType::I64), self.take(ValType::I64), self.take(ValType::I64));
        self.extend([I::LocalSet(right), I::LocalSet(left)]);
        // Rest of the truncating division; where its sign is not the divisor's, one step down.
        self.extend([I::LocalGet(left), I::LocalGet(right), I::I64RemS, I::LocalSet(result)]);
        let misplaced = [
            I::LocalGet(result),
            I::I64Const(0),
            I::I64Ne,
            I::LocalGet(result),
            I::LocalGet(right),
            I::I64Xor,
            I::I64Const(0),
            I::I64LtS,
            I::I32And,
        ];
        if remainder {
            self.extend([I::LocalGet(result), I::LocalGet(right), I::I64Add, I::LocalGet(result)]);
            self.extend(misplaced);
            self.push(I::Select);
        } else {
            // i64::MIN // -1 has bounds beyond a word, so it does not come here.
            self.extend([I::LocalGet(left), I::LocalGet(right), I::I64DivS]);
            self.extend(misplaced);
            self.extend([I::I64ExtendI32U, I::I64Sub]);
        }
        for word in [left, right, result] {
            self.release(ValType::I64, word);
        }
    }
}
