//! Cuts a program into parts that share its memory, its globals and its table of functions.
//!
//! The first part is the program as its JavaScript knows it; the others are put beside it when they have come. Whoever calls
//! a function of another part calls a stub in the first one:
//!
//! ```text
//! (func $stub (param i32 i64) (result i32)
//!   local.get 0  local.get 1
//!   i32.const 17  call $here      ;; gives 17 back, once there is something in place 17
//!   call_indirect $places (param i32 i64) (result i32))
//! ```
//!
//! A part fills its places in the table `$places` when it is put there. If a place is empty, `$here` asks JavaScript for the
//! part (`glue.js`). So any function may be in any part: that only decides when its code is fetched.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

use anyhow::{Context, Result, anyhow, bail};
use wasm_encoder::{
    CodeSection, ConstExpr, DataSection, ElementSection, Elements, EntityType, ExportKind, ExportSection, Function,
    FunctionSection, GlobalSection, ImportSection, MemorySection, Module, RefType, TableSection, TableType,
    TypeSection, ValType,
    reencode::{self, Reencode},
};
use wasmparser::{CompositeInnerType, Data, DataKind, Operator};

use super::program::{Program, count};

/// As parts call what the first one exports for them.
const FIRST: &str = "first";
/// As the first part calls what JavaScript does for it.
const PARTS: &str = "parts";

/// Runs of data that are no further from each other are one.
const NEAR: u32 = 12;

/// What is to be in which part.
pub(super) struct Wish<'w> {
    /// How many parts there are.
    pub parts: u32,
    /// The part of a function that is not imported.
    pub part_of: &'w dyn Fn(u32) -> u32,
    /// The parts, as bits, that can come to have the address of a function.
    pub addressed: &'w dyn Fn(u32) -> u32,
    /// Data that is in another part than the first: where in memory, and which part. In order.
    pub data: &'w [(Range<u32>, u32)],
}

/// The first part, and then the others in their order.
pub(super) fn cut(program: &Program, wish: &Wish) -> Result<Vec<Vec<u8>>> {
    let layout = Layout::of(program, wish)?;
    (0..wish.parts).map(|part| if part == 0 { layout.first() } else { layout.other(part) }).collect()
}

/// What is where.
struct Layout<'p, 'a> {
    program: &'p Program<'a>,
    /// The functions of each part, in order.
    functions: Vec<Vec<u32>>,
    part_of: Vec<u32>,
    /// What is called across, from a part other than the first or into one: functions of the first part are exported by
    /// their short name, others have a place and a stub.
    exported: BTreeMap<u32, String>,
    places: BTreeMap<u32, u32>,
    /// Of each part, which places are its own.
    ranges: Vec<Range<u32>>,
    /// What each part calls that is not in it.
    foreign: Vec<BTreeSet<u32>>,
    /// What memory holds at the beginning, by where it begins.
    data: Vec<(u32, &'a [u8])>,
    /// What of it is not in the first part.
    moved: &'p [(Range<u32>, u32)],
}

impl<'p, 'a> Layout<'p, 'a> {
    fn of(program: &'p Program<'a>, wish: &Wish<'p>) -> Result<Self> {
        let imported = program.imported();
        let part_of = |function| if function < imported { 0 } else { (wish.part_of)(function) };
        let part_of: Vec<u32> = (0..program.functions()).map(part_of).collect();
        let mut functions = vec![Vec::new(); wish.parts as usize];
        let mut foreign = vec![BTreeSet::new(); wish.parts as usize];
        for function in imported..program.functions() {
            let part = part_of[function as usize];
            functions.get_mut(part as usize).context("there is no such part")?.push(function);
            for called in program.calls(function)? {
                if called < imported || part_of[called as usize] != part {
                    foreign[part as usize].insert(called);
                }
            }
        }
        let in_table = program.entries.iter().flat_map(|entries| entries.functions.iter().copied());
        // A part fills the table's entries that nobody else can call.
        let alone = |function: u32| (wish.addressed)(function) & !(1 << part_of[function as usize]) == 0;
        let in_table = in_table.filter(|function| *function < imported || !alone(*function));
        let named = program.exports.iter().filter(|export| export.kind == wasmparser::ExternalKind::Func);
        for function in in_table.chain(named.map(|export| export.index)) {
            if function < imported || part_of[function as usize] != 0 {
                foreign[0].insert(function);
            }
        }
        let data = segments(program)?;
        let mut layout = Self {
            program,
            functions,
            part_of,
            exported: BTreeMap::new(),
            places: BTreeMap::new(),
            ranges: Vec::new(),
            foreign,
            data,
            moved: wish.data,
        };
        layout.name();
        Ok(layout)
    }

    /// Gives what is called across a place, a name or both.
    fn name(&mut self) {
        let imported = self.program.imported();
        let asked: BTreeSet<u32> =
            self.foreign.iter().flatten().copied().filter(|called| *called >= imported).collect();
        self.ranges = std::iter::once(0..0).collect();
        for part in 1..count(self.functions.len()) {
            let start = count(self.places.len());
            for function in asked.iter().filter(|function| self.part_of[**function as usize] == part) {
                self.places.insert(*function, count(self.places.len()));
            }
            self.ranges.push(start..count(self.places.len()));
        }
        let by_others: BTreeSet<u32> =
            self.foreign[1..].iter().flatten().copied().filter(|called| *called >= imported).collect();
        self.exported = by_others.into_iter().zip(short_names()).collect();
    }

    /// The first part: all that JavaScript knows, the functions that are needed first, stubs for others.
    fn first(&self) -> Result<Vec<u8>> {
        let program = self.program;
        let own = &self.functions[0];
        let js: Vec<u32> = self.foreign[0].iter().copied().filter(|called| *called < program.imported()).collect();
        let mut types = self.types()?;
        let (load_type, here_type) = (types.len(), types.len() + 1);
        types.ty().function([ValType::I32], []);
        types.ty().function([ValType::I32], [ValType::I32]);

        let mut imports = ImportSection::new();
        let mut to = Numbers::default();
        for function in &js {
            to.put(*function);
            self.import_js(&mut imports, *function);
        }
        imports.import(PARTS, "bring", EntityType::Function(load_type));
        let bring = to.skip();
        own.iter().for_each(|function| to.put(*function));
        let here: Vec<u32> = (0..self.functions.len()).map(|_| to.skip()).collect();
        self.places.keys().for_each(|function| to.put(*function));

        let mut functions = FunctionSection::new();
        for function in own {
            functions.function(self.type_of(*function));
        }
        for _ in &here {
            functions.function(here_type);
        }
        for function in self.places.keys() {
            functions.function(self.type_of(*function));
        }

        let mut code = CodeSection::new();
        for function in own {
            self.copy(&mut code, *function, &mut to)?;
        }
        let places_table = count(program.tables.len());
        for part in 0..count(here.len()) {
            code.function(&look(part, places_table, bring));
        }
        for (function, place) in &self.places {
            let here = here[self.part_of[*function as usize] as usize];
            code.function(&self.stub(*function, *place, here, places_table)?);
        }

        let mut module = Module::new();
        module.section(&types).section(&imports).section(&functions);
        self.shared(&mut module, &mut to)?;
        module.section(&self.exports(&mut to)?);
        let mut elements = ElementSection::new();
        for entries in &program.entries {
            let start = ConstExpr::i32_const(i32::try_from(entries.start)?);
            // What nobody here calls may be anything.
            let functions = entries.functions.iter().map(|function| to.function(*function).unwrap_or(here[0]));
            elements.active(None, &start, Elements::Functions(functions.collect()));
        }
        module.section(&elements).section(&code).section(&self.data(0)?);
        Ok(module.finish())
    }

    /// Another part: it has what the first one exports, and fills its places.
    fn other(&self, part: u32) -> Result<Vec<u8>> {
        let program = self.program;
        let (own, foreign) = (&self.functions[part as usize], &self.foreign[part as usize]);
        let mut imports = ImportSection::new();
        let mut to = Numbers::default();
        for function in foreign {
            to.put(*function);
            match self.exported.get(function) {
                Some(name) => {
                    imports.import(FIRST, name, EntityType::Function(self.type_of(*function)));
                }
                None => self.import_js(&mut imports, *function),
            }
        }
        own.iter().for_each(|function| to.put(*function));
        for (name, kind) in self.shared_kinds(&mut to)? {
            imports.import(FIRST, &name, kind);
        }

        let mut functions = FunctionSection::new();
        for function in own {
            functions.function(self.type_of(*function));
        }
        let mut code = CodeSection::new();
        for function in own {
            self.copy(&mut code, *function, &mut to)?;
        }
        let mut elements = ElementSection::new();
        let range = self.ranges[part as usize].clone();
        let filled: Vec<u32> =
            self.places.iter().filter(|(_, place)| range.contains(place)).map(|(function, _)| *function).collect();
        let start = ConstExpr::i32_const(i32::try_from(range.start)?);
        elements.active(Some(count(program.tables.len())), &start, Elements::Functions(to.all(&filled)?.into()));

        for (start, functions) in self.own_entries(part) {
            let start = ConstExpr::i32_const(i32::try_from(start)?);
            elements.active(None, &start, Elements::Functions(to.all(&functions)?.into()));
        }

        let mut module = Module::new();
        module.section(&self.types()?).section(&imports).section(&functions).section(&elements).section(&code);
        module.section(&self.data(part)?);
        Ok(module.finish())
    }

    /// Runs of the table's entries that are functions of a part.
    fn own_entries(&self, part: u32) -> Vec<(u32, Vec<u32>)> {
        let mut runs: Vec<(u32, Vec<u32>)> = Vec::new();
        for entries in &self.program.entries {
            for (place, function) in (entries.start..).zip(&entries.functions) {
                if *function < self.program.imported() || self.part_of[*function as usize] != part {
                    continue;
                }
                match runs.last_mut() {
                    Some((start, run)) if *start + count(run.len()) == place => run.push(*function),
                    Some(_) | None => runs.push((place, vec![*function])),
                }
            }
        }
        runs
    }

    /// What a part brings into memory.
    fn data(&self, part: u32) -> Result<DataSection> {
        let mut section = DataSection::new();
        for (start, bytes) in &self.data {
            let end = start + count(bytes.len());
            let moved = self.moved.iter().filter(|(range, _)| range.start >= *start && range.end <= end);
            let mut runs: Vec<Range<u32>> = Vec::new();
            // What stays is between what is moved; what lies between two runs is the same in both parts.
            let mut add = |run: Range<u32>| match runs.last_mut() {
                Some(last) if run.start <= last.end + NEAR => last.end = run.end,
                Some(_) | None => runs.push(run),
            };
            let mut stays = *start;
            for (range, of) in moved {
                if part == 0 && stays < range.start {
                    add(stays..range.start);
                } else if part != 0 && *of == part {
                    add(range.clone());
                }
                stays = range.end;
            }
            if part == 0 && stays < end {
                add(stays..end);
            }
            for run in runs {
                let bytes = &bytes[(run.start - start) as usize..(run.end - start) as usize];
                section.active(0, &ConstExpr::i32_const(run.start.cast_signed()), bytes.iter().copied());
            }
        }
        Ok(section)
    }

    /// Tables, memories and globals, which all parts share, in the part that has them.
    fn shared(&self, module: &mut Module, to: &mut Numbers) -> Result<()> {
        let mut tables = TableSection::new();
        for table in &self.program.tables {
            tables.table(to.table_type(*table).map_err(failed)?);
        }
        tables.table(self.places_kind());
        let mut memories = MemorySection::new();
        for memory in &self.program.memories {
            memories.memory(to.memory_type(*memory).map_err(failed)?);
        }
        let mut globals = GlobalSection::new();
        for global in &self.program.globals {
            to.parse_global(&mut globals, global.clone()).map_err(failed)?;
        }
        module.section(&tables).section(&memories).section(&globals);
        Ok(())
    }

    /// The same as other parts know them: by which names, and of what kinds.
    fn shared_kinds(&self, to: &mut Numbers) -> Result<Vec<(String, EntityType)>> {
        let mut kinds = Vec::new();
        for (number, table) in self.program.tables.iter().enumerate() {
            kinds.push((format!("t{number}"), EntityType::Table(to.table_type(*table).map_err(failed)?)));
        }
        kinds.push((format!("t{}", self.program.tables.len()), EntityType::Table(self.places_kind())));
        for (number, memory) in self.program.memories.iter().enumerate() {
            kinds.push((format!("m{number}"), EntityType::Memory(to.memory_type(*memory).map_err(failed)?)));
        }
        for (number, global) in self.program.globals.iter().enumerate() {
            kinds.push((format!("g{number}"), EntityType::Global(to.global_type(global.ty).map_err(failed)?)));
        }
        Ok(kinds)
    }

    fn places_kind(&self) -> TableType {
        let places = self.places.len() as u64;
        TableType {
            element_type: RefType::FUNCREF,
            table64: false,
            minimum: places,
            maximum: Some(places),
            shared: false,
        }
    }

    /// What the program exports, and what other parts need.
    fn exports(&self, to: &mut Numbers) -> Result<ExportSection> {
        let mut exports = ExportSection::new();
        let mut names = BTreeSet::new();
        for export in &self.program.exports {
            to.parse_export(&mut exports, *export).map_err(failed)?;
            names.insert(export.name.to_owned());
        }
        let mut add = |name: &str, kind, index| {
            exports.export(name, kind, index);
            if names.insert(name.to_owned()) { Ok(()) } else { Err(anyhow!("two exports are called {name}")) }
        };
        for (function, name) in &self.exported {
            add(name, ExportKind::Func, to.function(*function)?)?;
        }
        (0..=count(self.program.tables.len()))
            .try_for_each(|table| add(&format!("t{table}"), ExportKind::Table, table))?;
        (0..count(self.program.memories.len()))
            .try_for_each(|memory| add(&format!("m{memory}"), ExportKind::Memory, memory))?;
        (0..count(self.program.globals.len()))
            .try_for_each(|global| add(&format!("g{global}"), ExportKind::Global, global))?;
        Ok(exports)
    }

    fn types(&self) -> Result<TypeSection> {
        let mut types = TypeSection::new();
        for group in &self.program.types {
            reencode::RoundtripReencoder
                .parse_recursive_type_group(types.ty(), group.clone())
                .map_err(|error| anyhow!("a type cannot be copied: {error}"))?;
        }
        Ok(types)
    }

    fn type_of(&self, function: u32) -> u32 {
        self.program.type_of[function as usize]
    }

    fn import_js(&self, imports: &mut ImportSection, function: u32) {
        let imported = &self.program.imports[function as usize];
        imports.import(imported.module, imported.name, EntityType::Function(self.type_of(function)));
    }

    fn copy(&self, code: &mut CodeSection, function: u32, to: &mut Numbers) -> Result<()> {
        let body = self.program.body(function).context("an imported function has no code")?;
        to.parse_function_body(code, body.clone()).map_err(failed)
    }

    fn stub(&self, function: u32, place: u32, here: u32, places_table: u32) -> Result<Function> {
        let kind = self.type_of(function);
        let mut kinds = self.program.types.iter().flat_map(|group| group.types());
        let CompositeInnerType::Func(signature) =
            &kinds.nth(kind as usize).context("no such type")?.composite_type.inner
        else {
            bail!("a function's type is none")
        };
        let mut stub = Function::new([]);
        let mut code = stub.instructions();
        for parameter in 0..count(signature.params().len()) {
            code.local_get(parameter);
        }
        code.i32_const(i32::try_from(place)?).call(here).call_indirect(places_table, kind).end();
        Ok(stub)
    }
}

/// What memory holds at the beginning, by where it begins.
fn segments<'a>(program: &Program<'a>) -> Result<Vec<(u32, &'a [u8])>> {
    let segment = |datum: &Data<'a>| {
        let DataKind::Active { memory_index: 0, offset_expr } = &datum.kind else {
            bail!("data is not for memory as it begins")
        };
        let operator = offset_expr.get_operators_reader().read()?;
        let Operator::I32Const { value } = operator else { bail!("data begins at {operator:?}") };
        Ok((value.cast_unsigned(), datum.data))
    };
    program.data.iter().map(segment).collect()
}

/// Gives a place back, once there is something in it: has its part brought if there is not.
fn look(part: u32, places_table: u32, bring: u32) -> Function {
    let mut look = Function::new([]);
    let mut code = look.instructions();
    code.local_get(0).table_get(places_table).ref_is_null().if_(wasm_encoder::BlockType::Empty);
    code.i32_const(part.cast_signed()).call(bring).end().local_get(0).end();
    look
}

/// The numbers that functions have in a part, by those that they have in the program.
#[derive(Default)]
struct Numbers {
    numbers: BTreeMap<u32, u32>,
    next: u32,
}

impl Numbers {
    /// The next number is a function's.
    fn put(&mut self, function: u32) {
        self.numbers.insert(function, self.next);
        self.next += 1;
    }

    /// The next number, for what the program does not have.
    fn skip(&mut self) -> u32 {
        self.next += 1;
        self.next - 1
    }

    fn function(&self, function: u32) -> Result<u32> {
        self.numbers.get(&function).copied().with_context(|| format!("function {function} is not known in this part"))
    }

    fn all(&self, functions: &[u32]) -> Result<Vec<u32>> {
        functions.iter().map(|function| self.function(*function)).collect()
    }
}

impl Reencode for Numbers {
    type Error = anyhow::Error;

    fn function_index(&mut self, function: u32) -> Result<u32, reencode::Error<anyhow::Error>> {
        self.function(function).map_err(reencode::Error::UserError)
    }
}

fn failed(error: reencode::Error<anyhow::Error>) -> anyhow::Error {
    if let reencode::Error::UserError(error) = error {
        return error;
    }
    anyhow!("a program cannot be copied: {error}")
}

/// a, b, …, z, aa, ab, …
fn short_names() -> impl Iterator<Item = String> {
    (1..=4).flat_map(|length| {
        (0..26_u32.pow(length)).map(move |number| {
            let letter = |place: u32| char::from(b'a' + u8::try_from(number / 26_u32.pow(place) % 26).unwrap_or(0));
            (0..length).rev().map(letter).collect()
        })
    })
}
