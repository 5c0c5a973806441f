//! The guest that formulas are appended to: its helpers by name, and the finished kernel without what is not called.
//!
//! Nothing is numbered anew: types and functions are appended, and the body of a helper that nothing reaches becomes
//! `unreachable`, so that a small formula is a small kernel.

use std::{collections::BTreeMap, sync::LazyLock};

use wasm_encoder::{
    CodeSection, ConstExpr, DataSection, ExportKind, ExportSection, Function, FunctionSection, Module, RawSection,
    Section, TypeSection, ValType,
    reencode::{Reencode, RoundtripReencoder},
};
use wasmparser::{ExternalKind, Operator, Parser, Payload};

use super::emit;
use crate::refusal::{Code, Refusal};

/// `kernels/formula`, compiled.
static NUMBERS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/formula.wasm"));
/// `kernels/formula_text`, compiled: the same and functions of texts.
static TEXTS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/formula_text.wasm"));

macro_rules! helpers {
    ($($variant:ident $name:literal;)*) => {
        /// A function of the guest.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Helper { $($variant),* }

        impl Helper {
            fn name(self) -> &'static str {
                match self { $(Helper::$variant => $name),* }
            }

            #[cfg(test)]
            const ALL: &[Helper] = &[$(Helper::$variant),*];
        }
    };
}

helpers! {
    IntAdd "int_add";
    IntSubtract "int_subtract";
    IntMultiply "int_multiply";
    IntFloorDivide "int_floor_divide";
    IntRemainder "int_remainder";
    IntPower "int_power";
    IntGcd "int_gcd";
    IntAbsolute "int_absolute";
    IntCompare "int_compare";
    IntToFloat "int_to_float";
    IntQuotient "int_quotient";
    IntFloatCompare "int_float_compare";
    FloatFloorDivide "float_floor_divide";
    IntFloatFloorDivide "int_float_floor_divide";
    FloatIntFloorDivide "float_int_floor_divide";
    IntFloatRemainder "int_float_remainder";
    FloatIntRemainder "float_int_remainder";
    IntFloatPower "int_float_power";
    FloatToInt "float_to_int";
    IntIsPrime "int_is_prime";
    IsPrime "is_prime";
    FloatRemainder "float_remainder";
    FloatRound "float_round";
    FloatPower "float_power";
    FloatSin "float_sin";
    FloatCos "float_cos";
    FloatTan "float_tan";
    FloatExp "float_exp";
    FloatLn "float_ln";
    FloatLog10 "float_log10";
    TextLength "text_length";
    TextUpper "text_upper";
    TextLower "text_lower";
    TextTrim "text_trim";
    TextContains "text_contains";
    TextReplace "text_replace";
    TextConcatenate "text_concatenate";
    TextCompare "text_compare";
    SumInteger "sum_integer";
    SumFloat "sum_float";
    SumFinish "sum_finish";
    ProductInteger "product_integer";
    ProductFloat "product_float";
    ProductFinish "product_finish";
    MinInteger "min_integer";
    MinFloat "min_float";
    MinFinish "min_finish";
    MaxInteger "max_integer";
    MaxFloat "max_float";
    MaxFinish "max_finish";
    CountInteger "count_integer";
    CountFloat "count_float";
    CountFinish "count_finish";
    AverageInteger "average_integer";
    AverageFloat "average_float";
    AverageFinish "average_finish";
    ItemsBegin "items_begin";
    ItemsNext "items_next";
    ItemsFloat "items_float";
    ItemsPosition "items_position";
    ItemsFinish "items_finish";
    PushInteger "push_integer";
    PushFloat "push_float";
    PushBool "push_bool";
    PushText "push_text";
    Fail "fail";
}

/// The guest, taken apart once: a formula adds its own function and texts, and all else stands here ready to be written.
struct Template {
    /// The module from its first byte to the code, the function that a formula adds counted in.
    before_code: Vec<u8>,
    exports: BTreeMap<&'static str, (ExternalKind, u32)>,
    functions: Vec<HelperBody>,
    /// Functions that `alloc` or a table leads to.
    always: Vec<u32>,
    data: Vec<Segment>,
    result_address: u32,
    /// Where the texts of a formula begin.
    text_base: u32,
}

/// A function of the guest.
struct HelperBody {
    bytes: &'static [u8],
    /// Functions that it names.
    calls: Vec<u32>,
}

/// What lies in the guest's memory from the start.
struct Segment {
    address: i32,
    bytes: &'static [u8],
}

static OF_NUMBERS: LazyLock<Result<Template, Refusal>> = LazyLock::new(|| Template::of(NUMBERS));
static OF_TEXTS: LazyLock<Result<Template, Refusal>> = LazyLock::new(|| Template::of(TEXTS));

/// The guest and what a formula adds to it.
pub(super) struct Guest {
    template: &'static Template,
    /// Texts of the formula, where they lie.
    texts: Vec<(u32, String)>,
    text_top: u32,
}

/// The guest is ours and is checked by tests, so a fault in it is ours, too.
fn broken(what: impl core::fmt::Display) -> Refusal {
    Refusal::new(Code::Internal, format!("the formula guest is broken: {what}"), "")
}

impl Template {
    #[expect(clippy::wildcard_enum_match_arm, reason = "wasmparser has a section for every proposal")]
    fn of(guest: &'static [u8]) -> Result<Self, Refusal> {
        let mut types = TypeSection::new();
        let (mut functions, mut bodies, mut data) = (Vec::new(), Vec::new(), Vec::new());
        let mut exports = BTreeMap::new();
        let (mut tables, mut memories, mut globals, mut elements) = (None, None, None, None);
        let (mut always, mut constants) = (Vec::new(), Vec::new());
        for payload in Parser::new(0).parse_all(guest) {
            match payload.map_err(broken)? {
                Payload::TypeSection(section) => {
                    RoundtripReencoder.parse_type_section(&mut types, section).map_err(broken)?;
                }
                Payload::FunctionSection(section) => {
                    functions = section.into_iter().collect::<Result<Vec<u32>, _>>().map_err(broken)?;
                }
                Payload::TableSection(section) => tables = Some((4, raw(guest, section.range())?)),
                Payload::MemorySection(section) => memories = Some((5, raw(guest, section.range())?)),
                Payload::GlobalSection(section) => {
                    globals = Some((6, raw(guest, section.range())?));
                    for global in section {
                        constants.push(constant_of(&global.map_err(broken)?.init_expr));
                    }
                }
                Payload::ExportSection(section) => {
                    for export in section {
                        let export = export.map_err(broken)?;
                        exports.insert(export.name, (export.kind, export.index));
                    }
                }
                Payload::ElementSection(section) => {
                    elements = Some((9, raw(guest, section.range())?));
                    for element in section {
                        if let wasmparser::ElementItems::Functions(items) = element.map_err(broken)?.items {
                            always.extend(items.into_iter().collect::<Result<Vec<_>, _>>().map_err(broken)?);
                        }
                    }
                }
                Payload::CodeSectionEntry(body) => {
                    let mut named = Vec::new();
                    calls(&body, &mut named)?;
                    bodies.push(HelperBody { bytes: body.as_bytes(), calls: named });
                }
                Payload::DataSection(section) => {
                    for segment in section {
                        data.push(segment_of(segment.map_err(broken)?)?);
                    }
                }
                Payload::ImportSection(_) => return Err(broken("it imports something")),
                _ => {}
            }
        }
        let address_in = |name: &str| match exports.get(name) {
            Some((ExternalKind::Global, index)) => constants.get(*index as usize).copied().flatten(),
            Some(_) | None => None,
        };
        let (result_address, text_base) = (address_in("RESULT"), address_in("FORMULA_TEXTS"));
        let Some((_, alloc)) = exports.get("alloc").copied() else { return Err(broken("no alloc")) };
        always.push(alloc);

        let run_type = types.len();
        types.ty().function([ValType::I32, ValType::I32], [ValType::I64]);
        let mut declared = FunctionSection::new();
        functions.iter().chain([&run_type]).for_each(|kind| {
            declared.function(*kind);
        });
        let mut exported = ExportSection::new();
        exported.export("memory", ExportKind::Memory, 0);
        exported.export("alloc", ExportKind::Func, alloc);
        exported.export("run", ExportKind::Func, functions.len() as u32);
        let mut module = Module::new();
        module.section(&types).section(&declared);
        let sections = [tables, memories, globals].into_iter().flatten();
        sections.for_each(|(id, data)| _ = module.section(&RawSection { id, data }));
        module.section(&exported);
        elements.into_iter().for_each(|(id, data)| _ = module.section(&RawSection { id, data }));
        Ok(Self {
            before_code: module.finish(),
            exports,
            functions: bodies,
            always,
            data,
            result_address: result_address.ok_or_else(|| broken("no RESULT"))?,
            text_base: text_base.ok_or_else(|| broken("no FORMULA_TEXTS"))?,
        })
    }

    /// Functions of the guest that this one, `alloc` or a table can lead to; by their numbers.
    fn reachable(&self, run: &Function) -> Result<Vec<bool>, Refusal> {
        let mut bytes = Vec::new();
        wasm_encoder::Encode::encode(run, &mut bytes);
        // Its length comes first.
        let mut reader = wasmparser::BinaryReader::new(&bytes, 0);
        let body = reader.read_reader().map_err(broken)?;
        let mut open = self.always.clone();
        calls(&wasmparser::FunctionBody::new(body), &mut open)?;
        let mut reached = vec![false; self.functions.len()];
        while let Some(index) = open.pop() {
            let Some(reached) = reached.get_mut(index as usize) else { continue };
            if !std::mem::replace(reached, true)
                && let Some(function) = self.functions.get(index as usize)
            {
                open.extend_from_slice(&function.calls);
            }
        }
        Ok(reached)
    }
}

impl Guest {
    /// The guest for formulas of numbers, or the one that can do texts too.
    pub(super) fn open(texts: bool) -> Result<Self, Refusal> {
        let template = if texts { &OF_TEXTS } else { &OF_NUMBERS };
        let template = template.as_ref().map_err(Clone::clone)?;
        Ok(Self { template, texts: Vec::new(), text_top: template.text_base })
    }

    /// The kernel whose `run` is this function.
    pub(super) fn finish(self, run: &Function) -> Result<Vec<u8>, Refusal> {
        let Self { template, texts, .. } = self;
        let reached = template.reachable(run)?;
        let mut code = CodeSection::new();
        for (function, called) in template.functions.iter().zip(reached) {
            if called {
                code.raw(function.bytes);
            } else {
                code.raw(UNREACHABLE);
            }
        }
        code.function(run);
        let mut data = DataSection::new();
        for Segment { address, bytes } in &template.data {
            data.active(0, &ConstExpr::i32_const(*address), bytes.iter().copied());
        }
        for (address, text) in &texts {
            data.active(0, &ConstExpr::i32_const(*address as i32), text.bytes());
        }
        let mut kernel = template.before_code.clone();
        code.append_to(&mut kernel);
        if !data.is_empty() {
            data.append_to(&mut kernel);
        }
        Ok(kernel)
    }
}

/// The body of a function that nothing calls: no locals, `unreachable`, `end`.
const UNREACHABLE: &[u8] = &[0x00, 0x00, 0x0b];

fn raw(guest: &'static [u8], range: core::ops::Range<u64>) -> Result<&'static [u8], Refusal> {
    let range = usize::try_from(range.start).map_err(broken)?..usize::try_from(range.end).map_err(broken)?;
    guest.get(range).ok_or_else(|| broken("a section ends outside"))
}

fn segment_of(segment: wasmparser::Data<'static>) -> Result<Segment, Refusal> {
    let address = match segment.kind {
        wasmparser::DataKind::Active { memory_index: 0, offset_expr } => constant_of(&offset_expr),
        wasmparser::DataKind::Active { .. } | wasmparser::DataKind::Passive => None,
    };
    let address = address.ok_or_else(|| broken("a segment has no place"))?;
    Ok(Segment { address: address as i32, bytes: segment.data })
}

#[expect(clippy::wildcard_enum_match_arm, reason = "WebAssembly has hundreds of instructions")]
fn constant_of(expression: &wasmparser::ConstExpr) -> Option<u32> {
    match expression.get_operators_reader().read().ok()? {
        Operator::I32Const { value } => Some(value as u32),
        _ => None,
    }
}

impl emit::Template for Guest {
    fn helper(&mut self, helper: Helper) -> u32 {
        // Tests ask for every helper, so this finds each.
        self.template.exports.get(helper.name()).map_or(u32::MAX, |(_, index)| *index)
    }

    fn result_address(&self) -> u32 {
        self.template.result_address
    }

    fn text(&mut self, text: &str) -> u32 {
        if let Some((address, _)) = self.texts.iter().find(|(_, known)| known == text) {
            return *address;
        }
        let address = self.text_top;
        self.text_top += text.len() as u32;
        self.texts.push((address, text.to_owned()));
        address
    }
}

/// Functions that a body names.
#[expect(clippy::wildcard_enum_match_arm, reason = "WebAssembly has hundreds of instructions")]
fn calls(body: &wasmparser::FunctionBody, found: &mut Vec<u32>) -> Result<(), Refusal> {
    for operator in body.get_operators_reader().map_err(broken)? {
        match operator.map_err(broken)? {
            Operator::Call { function_index }
            | Operator::ReturnCall { function_index }
            | Operator::RefFunc { function_index } => found.push(function_index),
            _ => {}
        }
    }
    Ok(())
}

// Two formulas without a repeated text fit, whatever their characters.
const _: () = assert!(2 * 4 * super::MOST_CHARACTERS <= crate::exchange::FORMULA_TEXT_BYTES);

#[cfg(test)]
#[expect(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::{
        exchange::partial::Reduce,
        formula::{
            Formula,
            program::{Target, Work, range_kernel},
        },
    };

    #[test]
    fn the_guest_has_every_helper() {
        let guest = Guest::open(true).unwrap();
        for helper in Helper::ALL {
            assert!(guest.template.exports.contains_key(helper.name()), "{}", helper.name());
        }
    }

    #[test]
    fn a_kernel_holds_what_its_formula_calls_and_nothing_else() {
        let kernel = |text: &str| {
            let work = Work { map: Formula::parse(text).unwrap(), filter: None, target: Target::Reduce(Reduce::Sum) };
            range_kernel(&work, Reduce::Sum, 1, 1000).unwrap()
        };
        let (plain, sine) = (kernel("x"), kernel("sin(x)"));
        assert_eq!(kernel("x"), plain);
        assert!(plain.len() < sine.len() && sine.len() < NUMBERS.len());
        for kernel in [plain, sine] {
            assert!(crate::kernel::prepare(&kernel).is_ok());
        }
    }

    #[test]
    fn the_guest_names_no_path_of_the_machine_that_built_it() {
        let home = concat!(env!("CARGO_MANIFEST_DIR"), "/");
        for path in [home, "/home/", "/root/", "/Users/"] {
            assert!(!TEXTS.windows(path.len()).any(|window| window == path.as_bytes()), "{path}");
        }
    }
}
