//! What the rewrite writes in older terms, so that every engine of ours understands it: extended constant expressions become
//! the constants that they come to, `externref` becomes `funcref` ([`super::features::encoded`] says why that is the same).

use std::borrow::Cow;

use wasm_encoder::{ConstExpr, DataSection, ElementSection, Elements, Encode, HeapType, RefType};
use wasmparser::{
    BinaryReaderError, BlockType, Data, DataKind, DataSectionReader, Element, ElementItems, ElementKind,
    ElementSectionReader, FromReader, Operator, SectionLimited, ValType,
};

/// `funcref`, and the heap type of its null, in binary.
const FUNCREF: u8 = 0x70;

/// A number that a constant expression comes to.
#[derive(Clone, Copy)]
enum Number {
    I32(i32),
    I64(i64),
}

/// The initial value of a global, if it must be written anew.
pub(super) fn initial(expression: &wasmparser::ConstExpr<'_>) -> Option<ConstExpr> {
    if is_null_extern(expression) {
        return Some(null());
    }
    match is_extended(expression).then(|| number(expression)).flatten()? {
        Number::I32(value) => Some(ConstExpr::i32_const(value)),
        Number::I64(value) => Some(ConstExpr::i64_const(value)),
    }
}

/// The offset of an active segment: without imports it can only be a number.
pub(super) fn offset(expression: &wasmparser::ConstExpr<'_>) -> Option<u64> {
    match number(expression)? {
        Number::I32(value) => Some(u64::from(value.cast_unsigned())),
        Number::I64(_) => None,
    }
}

/// The data section, if it must be written anew.
pub(super) fn data(section: &DataSectionReader<'_>) -> Result<Option<Vec<u8>>, BinaryReaderError> {
    let is_extended = |segment: &Data<'_>| match &segment.kind {
        DataKind::Passive => false,
        DataKind::Active { offset_expr, .. } => is_extended(offset_expr),
    };
    if !any(section, is_extended)? {
        return Ok(None);
    }
    let mut written = DataSection::new();
    for segment in section.clone() {
        let segment = segment?;
        match &segment.kind {
            DataKind::Passive => written.passive(segment.data.iter().copied()),
            DataKind::Active { memory_index, offset_expr } => {
                written.active(*memory_index, &constant(offset_expr), segment.data.iter().copied())
            }
        };
    }
    Ok(Some(content(&written)))
}

/// The element section, if it must be written anew.
pub(super) fn elements(section: &ElementSectionReader<'_>) -> Result<Option<Vec<u8>>, BinaryReaderError> {
    let is_new = |segment: &Element<'_>| {
        let has_extern = match &segment.items {
            ElementItems::Functions(_) => false,
            ElementItems::Expressions(ty, _) => *ty == wasmparser::RefType::EXTERNREF,
        };
        has_extern || matches!(&segment.kind, ElementKind::Active { offset_expr, .. } if is_extended(offset_expr))
    };
    if !any(section, is_new)? {
        return Ok(None);
    }
    let mut written = ElementSection::new();
    for segment in section.clone() {
        let segment = segment?;
        let elements = match &segment.items {
            ElementItems::Functions(functions) => {
                let functions: Result<Vec<u32>, _> = functions.clone().into_iter().collect();
                Elements::Functions(Cow::Owned(functions?))
            }
            ElementItems::Expressions(_, expressions) => {
                let items: Result<Vec<ConstExpr>, _> =
                    expressions.clone().into_iter().map(|item| item.map(|item| reference(&item))).collect();
                Elements::Expressions(RefType::FUNCREF, Cow::Owned(items?))
            }
        };
        match &segment.kind {
            ElementKind::Passive => written.passive(elements),
            ElementKind::Declared => written.declared(elements),
            ElementKind::Active { table_index, offset_expr } => {
                written.active(*table_index, &constant(offset_expr), elements)
            }
        };
    }
    Ok(Some(content(&written)))
}

fn any<'a, T: FromReader<'a>>(
    section: &SectionLimited<'a, T>,
    is_new: impl Fn(&T) -> bool,
) -> Result<bool, BinaryReaderError> {
    for item in section.clone() {
        if is_new(&item?) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// An instruction that names `externref`, as engines get it.
#[expect(clippy::wildcard_enum_match_arm, reason = "WebAssembly has hundreds of instructions")]
pub(super) fn instruction(operator: &Operator<'_>) -> Option<&'static [u8]> {
    let is_extern = |ty: &ValType| *ty == ValType::EXTERNREF;
    match operator {
        Operator::RefNull { hty } if *hty == wasmparser::HeapType::EXTERN => Some(&[0xd0, FUNCREF]),
        Operator::TypedSelect { ty } if is_extern(ty) => Some(&[0x1c, 1, FUNCREF]),
        Operator::Block { blockty: BlockType::Type(ty) } if is_extern(ty) => Some(&[0x02, FUNCREF]),
        Operator::Loop { blockty: BlockType::Type(ty) } if is_extern(ty) => Some(&[0x03, FUNCREF]),
        Operator::If { blockty: BlockType::Type(ty) } if is_extern(ty) => Some(&[0x04, FUNCREF]),
        _ => None,
    }
}

fn null() -> ConstExpr {
    ConstExpr::ref_null(HeapType::FUNC)
}

fn constant(offset_expression: &wasmparser::ConstExpr<'_>) -> ConstExpr {
    // Offsets have been looked at before: each is a number.
    let offset = offset(offset_expression).and_then(|offset| u32::try_from(offset).ok()).unwrap_or(u32::MAX);
    ConstExpr::i32_const(offset.cast_signed())
}

fn reference(expression: &wasmparser::ConstExpr<'_>) -> ConstExpr {
    match expression.get_operators_reader().read() {
        Ok(Operator::RefFunc { function_index }) => ConstExpr::ref_func(function_index),
        _ => null(),
    }
}

fn is_null_extern(expression: &wasmparser::ConstExpr<'_>) -> bool {
    let first = expression.get_operators_reader().read();
    matches!(first, Ok(Operator::RefNull { hty }) if hty == wasmparser::HeapType::EXTERN)
}

/// Whether it is more than one constant.
fn is_extended(expression: &wasmparser::ConstExpr<'_>) -> bool {
    let mut operators = expression.get_operators_reader();
    let _ = operators.read();
    !matches!(operators.read(), Ok(Operator::End))
}

/// What an expression of integers comes to. It has been validated; without imports it holds no names of globals.
#[expect(clippy::wildcard_enum_match_arm, reason = "WebAssembly has hundreds of instructions")]
fn number(expression: &wasmparser::ConstExpr<'_>) -> Option<Number> {
    use Operator as O;
    let mut stack = Vec::new();
    for operator in expression.get_operators_reader() {
        let operator = operator.ok()?;
        match operator {
            O::I32Const { value } => stack.push(Number::I32(value)),
            O::I64Const { value } => stack.push(Number::I64(value)),
            O::End => break,
            _ => {
                let (right, left) = (stack.pop()?, stack.pop()?);
                stack.push(match (operator, left, right) {
                    (O::I32Add, Number::I32(left), Number::I32(right)) => Number::I32(left.wrapping_add(right)),
                    (O::I32Sub, Number::I32(left), Number::I32(right)) => Number::I32(left.wrapping_sub(right)),
                    (O::I32Mul, Number::I32(left), Number::I32(right)) => Number::I32(left.wrapping_mul(right)),
                    (O::I64Add, Number::I64(left), Number::I64(right)) => Number::I64(left.wrapping_add(right)),
                    (O::I64Sub, Number::I64(left), Number::I64(right)) => Number::I64(left.wrapping_sub(right)),
                    (O::I64Mul, Number::I64(left), Number::I64(right)) => Number::I64(left.wrapping_mul(right)),
                    _ => return None,
                });
            }
        }
    }
    stack.pop()
}

/// A section's content: what stands behind its length.
fn content(section: &impl Encode) -> Vec<u8> {
    let mut bytes = Vec::new();
    section.encode(&mut bytes);
    let mut reader = wasmparser::BinaryReader::new(&bytes, 0);
    let _ = reader.read_var_u32();
    let start = usize::try_from(reader.original_position()).unwrap_or(0);
    bytes.split_off(start.min(bytes.len()))
}
