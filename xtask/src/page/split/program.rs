//! A program of the page as it lies before the splitter: what it imports, its functions and who calls whom.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use wasmparser::{
    Data, ElementItems, ElementKind, Export, FunctionBody, Global, KnownCustom, MemoryType, Name, Operator, Parser,
    Payload, RecGroup, TableType, TypeRef,
};

/// A function that JavaScript gives.
pub(super) struct Imported<'a> {
    /// The object that it is in.
    pub module: &'a str,
    /// Its name there.
    pub name: &'a str,
}

/// A run of entries of the function table.
pub(super) struct Entries {
    /// Where it begins.
    pub start: u32,
    /// The functions in it.
    pub functions: Vec<u32>,
}

/// A program. Functions go by their index, those that are imported first.
#[derive(Default)]
pub(super) struct Program<'a> {
    /// The types of functions.
    pub types: Vec<RecGroup>,
    /// The functions that it imports; nothing else is imported.
    pub imports: Vec<Imported<'a>>,
    /// The index of the type of each function, imported ones too.
    pub type_of: Vec<u32>,
    /// The functions of its own.
    pub bodies: Vec<FunctionBody<'a>>,
    /// Its tables.
    pub tables: Vec<TableType>,
    /// Its memories.
    pub memories: Vec<MemoryType>,
    /// Its globals.
    pub globals: Vec<Global<'a>>,
    /// What it exports.
    pub exports: Vec<Export<'a>>,
    /// What its first table holds.
    pub entries: Vec<Entries>,
    /// What its memory holds.
    pub data: Vec<Data<'a>>,
    /// The names of functions, as the compiler mangled them.
    pub names: BTreeMap<u32, &'a str>,
}

impl<'a> Program<'a> {
    /// Reads a program; what the splitter does not know is an error.
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self> {
        let mut program = Self::default();
        for payload in Parser::new(0).parse_all(bytes) {
            program.take(payload.context("the page's program is no WebAssembly")?)?;
        }
        Ok(program)
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "wasmparser may add sections")]
    fn take(&mut self, payload: Payload<'a>) -> Result<()> {
        match payload {
            Payload::TypeSection(types) => self.types = types.into_iter().collect::<Result<_, _>>()?,
            Payload::ImportSection(imports) => {
                for import in imports.into_imports() {
                    let import = import?;
                    let TypeRef::Func(kind) = import.ty else {
                        bail!("it imports {} which is no function", import.name)
                    };
                    self.imports.push(Imported { module: import.module, name: import.name });
                    self.type_of.push(kind);
                }
            }
            Payload::FunctionSection(functions) => {
                for kind in functions {
                    self.type_of.push(kind?);
                }
            }
            Payload::TableSection(tables) => {
                for table in tables {
                    self.tables.push(table?.ty);
                }
            }
            Payload::MemorySection(memories) => self.memories = memories.into_iter().collect::<Result<_, _>>()?,
            Payload::GlobalSection(globals) => self.globals = globals.into_iter().collect::<Result<_, _>>()?,
            Payload::ExportSection(exports) => self.exports = exports.into_iter().collect::<Result<_, _>>()?,
            Payload::ElementSection(elements) => {
                for element in elements {
                    let element = element?;
                    self.entries.push(entries(element.kind, element.items)?);
                }
            }
            Payload::CodeSectionEntry(body) => self.bodies.push(body),
            Payload::DataSection(data) => self.data = data.into_iter().collect::<Result<_, _>>()?,
            Payload::CustomSection(section) => {
                if let KnownCustom::Name(names) = section.as_known() {
                    for name in names {
                        if let Name::Function(names) = name? {
                            for naming in names {
                                let naming = naming?;
                                self.names.insert(naming.index, naming.name);
                            }
                        }
                    }
                }
            }
            Payload::Version { .. } | Payload::CodeSectionStart { .. } | Payload::End(_) => {}
            Payload::DataCountSection { .. } => {}
            other => bail!("the splitter does not know what to do with {other:?}"),
        }
        Ok(())
    }

    /// How many functions are imported.
    pub(super) fn imported(&self) -> u32 {
        count(self.imports.len())
    }

    /// How many functions there are in all.
    pub(super) fn functions(&self) -> u32 {
        count(self.type_of.len())
    }

    /// The body of a function, unless it is imported.
    pub(super) fn body(&self, function: u32) -> Option<&FunctionBody<'a>> {
        self.bodies.get(function.checked_sub(self.imported())? as usize)
    }

    /// The functions that one calls by their names, each as often as it does.
    pub(super) fn calls(&self, function: u32) -> Result<Vec<u32>> {
        let Some(body) = self.body(function) else { return Ok(Vec::new()) };
        let mut called = Vec::new();
        for operator in body.get_operators_reader()? {
            let operator = operator?;
            if let Operator::ReturnCall { .. } = operator {
                bail!("the splitter does not know tail calls");
            }
            if let Operator::Call { function_index } | Operator::RefFunc { function_index } = operator {
                called.push(function_index);
            }
        }
        Ok(called)
    }
}

fn entries(kind: ElementKind, items: ElementItems) -> Result<Entries> {
    let ElementKind::Active { table_index: None | Some(0), offset_expr } = kind else {
        bail!("a segment of functions is not for the first table")
    };
    let ElementItems::Functions(functions) = items else { bail!("a table holds something else than functions") };
    let Operator::I32Const { value } = offset_expr.get_operators_reader().read()? else {
        bail!("a table's entries begin where no number says")
    };
    let start = u32::try_from(value)?;
    Ok(Entries { start, functions: functions.into_iter().collect::<Result<_, _>>()? })
}

/// A number of things in a program, none of which has four thousand million.
pub(super) fn count(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}
