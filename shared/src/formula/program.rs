//! Formulas as whole kernels: the loop over a range or over items, the filter, and what becomes of each value.

use wasm_encoder::{BlockType, Function, Instruction as I, ValType};

use super::{
    Formula, Subject,
    bounds::Whole,
    emit::{Body, Place, memory_at},
    invalid,
    template::{Guest, Helper},
    typing::{Node, Outcome, Shape, Typed, Typing, as_condition, type_of},
};
use crate::{
    exchange::{Failure, partial::Reduce},
    refusal::Refusal,
};

/// What becomes of the values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// They are the output, in order.
    Values,
    /// They become one.
    Reduce(Reduce),
}

/// What a job computes of each `x`.
#[derive(Clone, Debug)]
pub struct Work {
    /// The value of each item.
    pub map: Formula,
    /// Which items are taken; all, without it.
    pub filter: Option<Formula>,
    /// What becomes of the values.
    pub target: Target,
}

/// The kernel that reduces the integers `first..=last`, in parts. Its input: the part's first and last number, as
/// little-endian 64-bit words.
pub fn range_kernel(work: &Work, reduce: Reduce, first: i64, last: i64) -> Result<Vec<u8>, Refusal> {
    let bounds = round_out(i128::from(first), i128::from(last));
    let subject = Subject::Integer { least: bounds.least, most: bounds.most };
    let (filter, map) = typed(work, subject)?;
    let most_items = (bounds.most - bounds.least).unsigned_abs() + 1;
    let mut guest = Guest::open(filter.as_ref().is_some_and(|filter| filter.has_text) || map.has_text)?;
    let run = range_run(&mut guest, filter.as_ref(), &map, reduce, most_items);
    guest.finish(&run)
}

/// The kernel over items of these subjects (at most one of each type). Its input: the items' values.
pub fn items_kernel(work: &Work, subjects: &[Subject]) -> Result<Vec<u8>, Refusal> {
    let typings = subjects
        .iter()
        .map(|subject| Ok((widened(*subject), typed(work, widened(*subject))?)))
        .collect::<Result<Vec<_>, Refusal>>()?;
    let texts =
        typings.iter().any(|(_, (filter, map))| filter.as_ref().is_some_and(|filter| filter.has_text) || map.has_text);
    let mut guest = Guest::open(texts)?;
    let run = items_run(&mut guest, &typings, work.target);
    guest.finish(&run)
}

fn widened(subject: Subject) -> Subject {
    match subject {
        Subject::Integer { least, most } => {
            let bounds = round_out(least, most);
            Subject::Integer { least: bounds.least, most: bounds.most }
        }
        Subject::Float | Subject::Text => subject,
    }
}

/// Bounds of the form 0 or ±2^n, so that jobs of similar size share a kernel.
fn round_out(least: i128, most: i128) -> Whole {
    let above = |value: i128| match 128 - value.leading_zeros() {
        bits @ 0..=126 => (1 << bits) - 1,
        127.. => i128::MAX,
    };
    // Never one value only: an `x` that is a constant would be typed as one.
    let below = |value: i128| -above((!value).max(1)) - 1;
    let most = if most >= 0 { above(most.max(1)) } else { -1 };
    Whole::new(if least >= 0 { 0 } else { below(least) }, most)
}

type Pair = (Option<Typing>, Typing);

fn typed(work: &Work, subject: Subject) -> Result<Pair, Refusal> {
    let filter = work.filter.as_ref().map(|filter| {
        let typing = type_of(&filter.root, subject)?;
        as_condition(&typing).map(|_| ())?;
        Ok(typing)
    });
    let filter = filter.transpose().map_err(|refusal| within("where", refusal))?;
    let mut map = type_of(&work.map.root, subject).map_err(|refusal| within("map", refusal))?;
    if let Target::Reduce(reduce) = work.target {
        map.root = match map.root {
            Outcome::Value(value) => match value.shape {
                Shape::Integer(_) | Shape::Float(_) => Outcome::Value(value),
                Shape::Bool => Outcome::Value(as_number(value)),
                Shape::Text => Outcome::Value(counted(reduce, value.at).map(|()| value)?),
            },
            other @ (Outcome::Let { .. } | Outcome::Choice { .. }) => counted(reduce, other.at()).map(|()| other)?,
        }
    }
    Ok((filter, map))
}

/// Texts, and what may be one, can be counted and nothing else.
fn counted(reduce: Reduce, at: usize) -> Result<(), Refusal> {
    if reduce == Reduce::Count {
        return Ok(());
    }
    let hint = "reduce numbers, for example `len(x)`, or use \"reduce\": \"count\"";
    Err(within("map", invalid(at, "texts can only be counted", hint)))
}

/// Names the field that a formula stands in.
pub fn within(field: &str, mut refusal: Refusal) -> Refusal {
    refusal.message = format!("`{field}`: {}", refusal.message);
    refusal
}

fn as_number(condition: Typed) -> Typed {
    let (at, can_fail) = (condition.at, condition.can_fail);
    Typed { at, shape: Shape::Integer(Whole::new(0, 1)), can_fail, node: Node::BoolToInteger(Box::new(condition)) }
}

/// How a range's values are gathered without leaving the loop.
enum Gather {
    /// Counted only.
    Nothing,
    /// A sum that fits a word.
    Narrow(u32),
    /// A sum of words in two words.
    Wide(u32, u32),
    /// A sum of two words in two words.
    WideOfWide(u32, u32),
    /// The best word so far.
    Best(u32),
    /// By the guest, which takes two words.
    Integer(Helper),
    /// By the guest, which takes a float.
    Float(Helper),
}

fn integer_helper(reduce: Reduce) -> Helper {
    match reduce {
        Reduce::Sum => Helper::SumInteger,
        Reduce::Product => Helper::ProductInteger,
        Reduce::Min => Helper::MinInteger,
        Reduce::Max => Helper::MaxInteger,
        Reduce::Count => Helper::CountInteger,
        Reduce::Average => Helper::AverageInteger,
    }
}

fn float_helper(reduce: Reduce) -> Helper {
    match reduce {
        Reduce::Sum => Helper::SumFloat,
        Reduce::Product => Helper::ProductFloat,
        Reduce::Min => Helper::MinFloat,
        Reduce::Max => Helper::MaxFloat,
        Reduce::Count => Helper::CountFloat,
        Reduce::Average => Helper::AverageFloat,
    }
}

fn finish_helper(reduce: Reduce) -> Helper {
    match reduce {
        Reduce::Sum => Helper::SumFinish,
        Reduce::Product => Helper::ProductFinish,
        Reduce::Min => Helper::MinFinish,
        Reduce::Max => Helper::MaxFinish,
        Reduce::Count => Helper::CountFinish,
        Reduce::Average => Helper::AverageFinish,
    }
}

const INPUT: u32 = 0;

fn range_run(guest: &mut Guest, filter: Option<&Typing>, map: &Typing, reduce: Reduce, most_items: u128) -> Function {
    let mut body = Body::new(guest, &[ValType::I32, ValType::I32]);
    let (x, last, count) = (body.take(ValType::I64), body.take(ValType::I64), body.take(ValType::I64));
    body.set_x(Place::Narrow(x));
    let word = |offset| memory_at(offset, 0);
    body.extend([I::LocalGet(INPUT), I::I64Load(word(0)), I::LocalSet(x)]);
    body.extend([I::LocalGet(INPUT), I::I64Load(word(8)), I::LocalSet(last)]);
    let gather = start_gathering(&mut body, map, reduce, most_items);
    if filter.is_none() {
        body.extend([I::LocalGet(last), I::LocalGet(x), I::I64Sub, I::I64Const(1), I::I64Add, I::LocalSet(count)]);
    }

    body.open(I::Block(BlockType::Empty));
    let done = body.depth();
    body.open_fallible();
    body.open(I::Loop(BlockType::Empty));
    let again = body.depth();
    body.open(I::Block(BlockType::Empty));
    let next = body.depth();
    if let Some(filter) = filter {
        body.set_slots(&filter.slots);
        condition(&mut body, filter);
        let label = body.label(next);
        body.extend([I::I32Eqz, I::BrIf(label)]);
        body.extend([I::LocalGet(count), I::I64Const(1), I::I64Add, I::LocalSet(count)]);
    }
    body.set_slots(&map.slots);
    gather_value(&mut body, &gather, map, reduce);
    body.close();
    // The host sends no range that ends at the last word, so this cannot overflow.
    let (again, done) = (body.label(again), body.label(done));
    body.extend([I::LocalGet(x), I::LocalGet(last), I::I64LtS]);
    body.extend([I::LocalGet(x), I::I64Const(1), I::I64Add, I::LocalSet(x), I::BrIf(again), I::Br(done)]);
    body.close();
    body.close();
    let error = body.error_local();
    body.extend([I::LocalGet(error), I::LocalGet(x)]);
    body.helper(Helper::Fail);
    body.push(I::Return);
    body.close();

    finish_gathering(&mut body, &gather, reduce, count);
    body.push(I::LocalGet(count));
    body.helper(finish_helper(reduce));
    body.finish()
}

/// Leaves the truth of a filter, which was typed as a condition.
fn condition(body: &mut Body, filter: &Typing) {
    match filter.root.value() {
        Some(root) => body.value(root),
        None => body.push(I::I32Const(0)),
    }
}

fn start_gathering(body: &mut Body, map: &Typing, reduce: Reduce, most_items: u128) -> Gather {
    let bounds = match map.root.value().map(|root| root.shape) {
        _ if reduce == Reduce::Count => return Gather::Nothing,
        Some(Shape::Integer(bounds)) => bounds,
        Some(Shape::Float(_)) => return Gather::Float(float_helper(reduce)),
        Some(Shape::Bool | Shape::Text) | None => return Gather::Nothing,
    };
    let most = bounds.magnitude().checked_mul(most_items);
    let adds = matches!(reduce, Reduce::Sum | Reduce::Average);
    if !bounds.is_narrow() {
        return match most {
            Some(most) if adds && most <= i128::MAX as u128 => {
                Gather::WideOfWide(body.take(ValType::I64), body.take(ValType::I64))
            }
            Some(_) | None => Gather::Integer(integer_helper(reduce)),
        };
    }
    match reduce {
        Reduce::Sum | Reduce::Average => {
            if most.is_some_and(|most| most <= i64::MAX as u128) {
                return Gather::Narrow(body.take(ValType::I64));
            }
            Gather::Wide(body.take(ValType::I64), body.take(ValType::I64))
        }
        Reduce::Min | Reduce::Max => {
            let best = body.take(ValType::I64);
            body.extend([I::I64Const(if reduce == Reduce::Min { i64::MAX } else { i64::MIN }), I::LocalSet(best)]);
            Gather::Best(best)
        }
        Reduce::Product => Gather::Integer(integer_helper(reduce)),
        Reduce::Count => Gather::Nothing,
    }
}

fn gather_value(body: &mut Body, gather: &Gather, map: &Typing, reduce: Reduce) {
    if reduce == Reduce::Count {
        return take_outcome(body, &map.root, Target::Reduce(reduce));
    }
    let Some(root) = map.root.value() else { return };
    match *gather {
        Gather::Nothing => {}
        Gather::Narrow(sum) => {
            body.value(root);
            body.extend([I::LocalGet(sum), I::I64Add, I::LocalSet(sum)]);
        }
        Gather::Wide(low, high) => {
            let value = body.take(ValType::I64);
            body.value(root);
            body.extend([I::LocalTee(value), I::LocalGet(low), I::I64Add, I::LocalTee(low)]);
            // The carry: the low word became smaller than what was added.
            body.extend([I::LocalGet(value), I::I64LtU, I::I64ExtendI32U]);
            if root.whole().least < 0 {
                body.extend([I::LocalGet(value), I::I64Const(63), I::I64ShrS, I::I64Add]);
            }
            body.extend([I::LocalGet(high), I::I64Add, I::LocalSet(high)]);
        }
        Gather::WideOfWide(low, high) => {
            let (value, value_high) = (body.take(ValType::I64), body.take(ValType::I64));
            body.wide(root);
            body.extend([I::LocalSet(value_high), I::LocalSet(value)]);
            body.add_wide(Place::Wide(low, high), Place::Wide(value, value_high));
            body.store(Place::Wide(low, high));
        }
        Gather::Best(best) => {
            let value = body.take(ValType::I64);
            body.value(root);
            let better = if reduce == Reduce::Min { I::I64LtS } else { I::I64GtS };
            body.extend([I::LocalTee(value), I::LocalGet(best), I::LocalGet(value), I::LocalGet(best), better]);
            body.extend([I::Select, I::LocalSet(best)]);
        }
        Gather::Integer(helper) => {
            body.wide(root);
            body.helper(helper);
        }
        Gather::Float(helper) => {
            body.value(root);
            body.helper(helper);
        }
    }
}

fn finish_gathering(body: &mut Body, gather: &Gather, reduce: Reduce, count: u32) {
    match *gather {
        Gather::Nothing | Gather::Integer(_) | Gather::Float(_) => {}
        Gather::Narrow(sum) => {
            body.push(I::LocalGet(sum));
            body.widen();
            body.helper(integer_helper(reduce));
        }
        Gather::Wide(low, high) | Gather::WideOfWide(low, high) => {
            body.extend([I::LocalGet(low), I::LocalGet(high)]);
            body.helper(integer_helper(reduce));
        }
        Gather::Best(best) => {
            body.push(I::LocalGet(count));
            body.push(I::I64Eqz);
            body.open(I::If(BlockType::Empty));
            body.push(I::Else);
            body.push(I::LocalGet(best));
            body.widen();
            body.helper(integer_helper(reduce));
            body.close();
        }
    }
}

fn items_run(guest: &mut Guest, typings: &[(Subject, Pair)], target: Target) -> Function {
    let mut body = Body::new(guest, &[ValType::I32, ValType::I32]);
    let (kind, count) = (body.take(ValType::I32), body.take(ValType::I64));
    body.extend([I::LocalGet(INPUT), I::LocalGet(INPUT + 1)]);
    body.helper(Helper::ItemsBegin);
    body.open(I::Block(BlockType::Empty));
    let done = body.depth();
    body.open_fallible();
    let failed = body.depth();
    body.open(I::Loop(BlockType::Empty));
    let again = body.depth();
    body.helper(Helper::ItemsNext);
    let label = body.label(done);
    body.extend([I::LocalTee(kind), I::I32Eqz, I::BrIf(label)]);
    for (subject, (filter, map)) in typings {
        let number = match subject {
            Subject::Integer { .. } => 1,
            Subject::Float => 2,
            Subject::Text => 3,
        };
        body.extend([I::LocalGet(kind), I::I32Const(number), I::I32Eq]);
        body.open(I::If(BlockType::Empty));
        load_item(&mut body, *subject);
        let again = body.label(again);
        if let Some(filter) = filter {
            body.set_slots(&filter.slots);
            condition(&mut body, filter);
            body.extend([I::I32Eqz, I::BrIf(again)]);
        }
        body.set_slots(&map.slots);
        body.extend([I::LocalGet(count), I::I64Const(1), I::I64Add, I::LocalSet(count)]);
        take_outcome(&mut body, &map.root, target);
        body.push(I::Br(again));
        body.close();
    }
    let (error, label) = (body.error_local(), body.label(failed));
    body.extend([I::I32Const(Failure::BadInput as i32), I::LocalSet(error), I::Br(label)]);
    body.close();
    body.close();
    body.push(I::LocalGet(error));
    body.helper(Helper::ItemsPosition);
    body.helper(Helper::Fail);
    body.push(I::Return);
    body.close();
    match target {
        Target::Values => body.helper(Helper::ItemsFinish),
        Target::Reduce(reduce) => {
            body.push(I::LocalGet(count));
            body.helper(finish_helper(reduce));
        }
    }
    body.finish()
}

fn load_item(body: &mut Body, subject: Subject) {
    let shape = match subject {
        Subject::Integer { least, most } => Shape::Integer(Whole::new(least, most)),
        Subject::Float => Shape::Float(super::bounds::UNKNOWN),
        Subject::Text => Shape::Text,
    };
    let place = body.place(shape);
    match shape {
        Shape::Integer(bounds) => body.result_integer(bounds),
        Shape::Float(_) => body.helper(Helper::ItemsFloat),
        Shape::Text | Shape::Bool => body.result_text(),
    }
    body.store(place);
    body.set_x(place);
}

fn take_outcome(body: &mut Body, outcome: &Outcome, target: Target) {
    match outcome {
        Outcome::Value(value) => take_value(body, value, target),
        Outcome::Let { slot, value, body: inner } => {
            body.bind(*slot, value);
            take_outcome(body, inner, target);
        }
        Outcome::Choice { test, value, other } => {
            body.either(test, |body| take_outcome(body, value, target), |body| take_outcome(body, other, target))
        }
    }
}

fn take_value(body: &mut Body, value: &Typed, target: Target) {
    match (target, value.shape) {
        // What cannot be computed fails here as anywhere, though nobody asks what comes out.
        (Target::Reduce(Reduce::Count), _) if !value.can_fail => {}
        (Target::Reduce(Reduce::Count), Shape::Integer(_)) => {
            body.wide(value);
            body.extend([I::Drop, I::Drop]);
        }
        (Target::Reduce(Reduce::Count), Shape::Text) => {
            body.value(value);
            body.extend([I::Drop, I::Drop]);
        }
        (Target::Reduce(Reduce::Count), Shape::Float(_) | Shape::Bool) => {
            body.value(value);
            body.push(I::Drop);
        }
        (Target::Reduce(reduce), Shape::Float(_)) => {
            body.value(value);
            body.helper(float_helper(reduce));
        }
        (Target::Reduce(reduce), Shape::Integer(_) | Shape::Bool | Shape::Text) => {
            body.wide(value);
            body.helper(integer_helper(reduce));
        }
        (Target::Values, Shape::Integer(_)) => {
            body.wide(value);
            body.helper(Helper::PushInteger);
        }
        (Target::Values, Shape::Float(_)) => {
            body.value(value);
            body.helper(Helper::PushFloat);
        }
        (Target::Values, Shape::Bool) => {
            body.value(value);
            body.helper(Helper::PushBool);
        }
        (Target::Values, Shape::Text) => {
            body.value(value);
            body.helper(Helper::PushText);
        }
    }
}
