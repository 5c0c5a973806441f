//! The guest that formulas are appended to: its helpers by name, and the finished kernel without what is not called.
//!
//! Nothing is numbered anew: types and functions are appended, and the body of a helper that nothing reaches becomes
//! `unreachable`, so that a small formula is a small kernel.

use std::collections::BTreeMap;

use wasm_encoder::{
    CodeSection, ConstExpr, DataSection, ExportKind, ExportSection, Function, FunctionSection, Instruction, Module,
    RawSection, TypeSection, ValType,
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
        pub enum Helper { $($variant),* }

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

/// The guest, taken apart.
pub struct Guest<'a> {
    types: wasmparser::TypeSectionReader<'a>,
    /// Type of each function.
    functions: Vec<u32>,
    exports: BTreeMap<&'a str, (ExternalKind, u32)>,
    bodies: Vec<wasmparser::FunctionBody<'a>>,
    /// Sections that stay as they are: id and bytes.
    tables: Option<(u8, &'a [u8])>,
    memories: Option<wasmparser::MemorySectionReader<'a>>,
    globals: Option<(u8, &'a [u8])>,
    elements: Option<(u8, &'a [u8])>,
    data: Option<wasmparser::DataSectionReader<'a>>,
    /// Functions that a table holds.
    in_tables: Vec<u32>,
    result_address: u32,
    /// Texts of the formula, where they lie.
    texts: Vec<(u32, String)>,
    text_top: u32,
}

/// The guest is ours and is checked by tests, so a fault in it is ours, too.
fn broken(what: impl core::fmt::Display) -> Refusal {
    Refusal::new(Code::Internal, format!("the formula guest is broken: {what}"), "")
}

impl Guest<'static> {
    /// The guest for formulas of numbers, or the one that can do texts too.
    pub fn open(texts: bool) -> Result<Self, Refusal> {
        let guest = if texts { TEXTS } else { NUMBERS };
        let mut types = None;
        let mut guest_functions = Vec::new();
        let mut exports = BTreeMap::new();
        let mut bodies = Vec::new();
        let (mut tables, mut memories, mut globals, mut elements, mut data) = (None, None, None, None, None);
        let mut in_tables = Vec::new();
        let mut constants = Vec::new();
        for payload in Parser::new(0).parse_all(guest) {
            match payload.map_err(broken)? {
                Payload::TypeSection(section) => types = Some(section),
                Payload::FunctionSection(section) => {
                    guest_functions = section.into_iter().collect::<Result<_, _>>().map_err(broken)?;
                }
                Payload::TableSection(section) => tables = Some((4, raw(guest, section.range())?)),
                Payload::MemorySection(section) => memories = Some(section),
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
                            in_tables.extend(items.into_iter().collect::<Result<Vec<_>, _>>().map_err(broken)?);
                        }
                    }
                }
                Payload::CodeSectionEntry(body) => bodies.push(body),
                Payload::DataSection(section) => data = Some(section),
                Payload::ImportSection(_) => return Err(broken("it imports something")),
                _ => {}
            }
        }
        let result_address = match exports.get("RESULT") {
            Some((ExternalKind::Global, index)) => constants.get(*index as usize).copied().flatten(),
            Some(_) | None => None,
        };
        let heap_base = match exports.get("FORMULA_TEXTS") {
            Some((ExternalKind::Global, index)) => constants.get(*index as usize).copied().flatten(),
            Some(_) | None => None,
        };
        Ok(Self {
            types: types.ok_or_else(|| broken("no types"))?,
            functions: guest_functions,
            exports,
            bodies,
            tables,
            memories,
            globals,
            elements,
            data,
            in_tables,
            result_address: result_address.ok_or_else(|| broken("no RESULT"))?,
            texts: Vec::new(),
            text_top: heap_base.ok_or_else(|| broken("no FORMULA_TEXTS"))?,
        })
    }
}

fn raw(guest: &'static [u8], range: core::ops::Range<u64>) -> Result<&'static [u8], Refusal> {
    let range = usize::try_from(range.start).map_err(broken)?..usize::try_from(range.end).map_err(broken)?;
    guest.get(range).ok_or_else(|| broken("a section ends outside"))
}

fn constant_of(expression: &wasmparser::ConstExpr) -> Option<u32> {
    match expression.get_operators_reader().read().ok()? {
        Operator::I32Const { value } => Some(value as u32),
        _ => None,
    }
}

impl emit::Template for Guest<'_> {
    fn helper(&mut self, helper: Helper) -> u32 {
        // Tests ask for every helper, so this finds each.
        self.exports.get(helper.name()).map_or(u32::MAX, |(_, index)| *index)
    }

    fn result_address(&self) -> u32 {
        self.result_address
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

impl Guest<'_> {
    /// The kernel whose `run` is this function.
    pub fn finish(self, run: &Function) -> Result<Vec<u8>, Refusal> {
        let run_index = self.functions.len() as u32;
        let run_bytes = {
            let mut section = CodeSection::new();
            section.function(run);
            section
        };
        let called = self.reachable(&run_bytes)?;

        let mut types = TypeSection::new();
        RoundtripReencoder.parse_type_section(&mut types, self.types.clone()).map_err(broken)?;
        let run_type = types.len();
        types.ty().function([ValType::I32, ValType::I32], [ValType::I64]);

        let mut functions = FunctionSection::new();
        self.functions.iter().chain([&run_type]).for_each(|kind| {
            functions.function(*kind);
        });

        let mut exports = ExportSection::new();
        exports.export("memory", ExportKind::Memory, 0);
        if let Some((_, index)) = self.exports.get("alloc") {
            exports.export("alloc", ExportKind::Func, *index);
        }
        exports.export("run", ExportKind::Func, run_index);

        let mut code = CodeSection::new();
        for (index, body) in self.bodies.iter().enumerate() {
            if called.contains(&(index as u32)) {
                code.raw(body.as_bytes());
            } else {
                code.function(Function::new([]).instruction(&Instruction::Unreachable).instruction(&Instruction::End));
            }
        }
        code.function(run);

        let mut module = Module::new();
        module.section(&types).section(&functions);
        if let Some((id, data)) = self.tables {
            module.section(&RawSection { id, data });
        }
        if let Some(section) = self.memories.clone() {
            let mut memories = wasm_encoder::MemorySection::new();
            RoundtripReencoder.parse_memory_section(&mut memories, section).map_err(broken)?;
            module.section(&memories);
        }
        if let Some((id, data)) = self.globals {
            module.section(&RawSection { id, data });
        }
        module.section(&exports);
        if let Some((id, data)) = self.elements {
            module.section(&RawSection { id, data });
        }
        module.section(&code);
        let mut data = DataSection::new();
        if let Some(section) = self.data.clone() {
            RoundtripReencoder.parse_data_section(&mut data, section).map_err(broken)?;
        }
        for (address, text) in &self.texts {
            data.active(0, &ConstExpr::i32_const(*address as i32), text.bytes());
        }
        if !data.is_empty() {
            module.section(&data);
        }
        Ok(module.finish())
    }

    /// Functions of the guest that `run`, `alloc` or a table can lead to.
    fn reachable(&self, run: &CodeSection) -> Result<std::collections::BTreeSet<u32>, Refusal> {
        let mut bytes = Vec::new();
        wasm_encoder::Encode::encode(run, &mut bytes);
        // Section size, then the count (1), then the body.
        let reader = wasmparser::BinaryReader::new(&bytes, 0);
        let mut skipped = reader;
        skipped.read_var_u32().map_err(broken)?;
        let section = wasmparser::CodeSectionReader::new(skipped).map_err(broken)?;
        let mut open = self.in_tables.clone();
        open.extend(self.exports.get("alloc").map(|(_, index)| *index));
        for body in section {
            calls(&body.map_err(broken)?, &mut open)?;
        }
        let mut reached = std::collections::BTreeSet::new();
        while let Some(index) = open.pop() {
            if reached.insert(index)
                && let Some(body) = self.bodies.get(index as usize)
            {
                calls(body, &mut open)?;
            }
        }
        Ok(reached)
    }
}

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
const _: () = assert!(2 * 4 * super::MAX_CHARACTERS <= crate::exchange::FORMULA_TEXT_BYTES);

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_guest_has_every_helper() {
        let guest = Guest::open(true).unwrap();
        for helper in Helper::ALL {
            assert!(guest.exports.contains_key(helper.name()), "{}", helper.name());
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
