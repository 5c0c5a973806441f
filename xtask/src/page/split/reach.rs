//! What each part can reach besides the functions that it calls: data, and functions by their address.
//!
//! Only the linker knows, so it writes down what it put where (`--emit-relocs`). It speaks of the program before wasm-bindgen,
//! which leaves memory as it is but numbers functions anew: they are known by their names.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

use anyhow::{Context, Result, ensure};
use wasmparser::{
    DataKind, KnownCustom, Linking, LinkingSectionReader, Name, Operator, Parser, Payload, RelocSectionReader,
    RelocationEntry, RelocationType, SymbolInfo,
};

use super::{names::Names, program::Program};

/// As the linker calls the segment of what is never written.
const READ_ONLY: &str = ".rodata";

/// What each part reaches, as a set of bits, one a part.
pub(super) struct Reach {
    /// The functions by their names, and which parts can come to have their address.
    addressed: BTreeMap<String, u32>,
    /// Data that only one part other than the first uses: where, and which part.
    data: Vec<(Range<u32>, u32)>,
}

impl Reach {
    /// Of a program as the linker wrote it, by the parts that functions of a name are in.
    pub(super) fn of(linked: &[u8], part_of: &dyn Fn(&str) -> u32) -> Result<Self> {
        let program = Program::read(linked)?;
        let names = Names::of(&program);
        let map = Map::read(linked)?;
        let by_function = map.by_function(&program)?;
        ensure!(!by_function.is_empty(), "the linker did not write down what is used from where (web/build.rs)");
        let mut reached = Reached { map: &map, data: BTreeMap::new(), functions: BTreeMap::new(), queue: Vec::new() };
        for (function, entries) in &by_function {
            let name = names.of_function(*function);
            for entry in entries {
                reached.mark(entry, 1 << part_of(name));
            }
        }
        // What may be written lies with the first part, and with it what its beginnings point at.
        for (symbol, place) in &map.places {
            if Some(place.segment) != map.read_only {
                reached.reach(*symbol, 1);
            }
        }
        reached.spread();
        let defined = program.imported()..program.functions();
        let mut addressed: BTreeMap<String, u32> =
            defined.map(|function| (names.of_function(function).to_owned(), 0)).collect();
        for (function, parts) in &reached.functions {
            *addressed.entry(names.of_function(*function).to_owned()).or_default() |= parts;
        }
        let data = map.alone(&reached.data);
        Ok(Self { addressed, data })
    }

    /// The parts, as bits, that can come to have the address of a function of this name.
    pub(super) fn addressed(&self, name: &str) -> u32 {
        if name.is_empty() { u32::MAX } else { self.addressed.get(name).copied().unwrap_or(u32::MAX) }
    }

    /// Data that only one part other than the first uses: where, and which part. In order.
    pub(super) fn data(&self) -> &[(Range<u32>, u32)] {
        &self.data
    }
}

/// Where a thing lies in memory.
struct Place {
    segment: u32,
    address: Range<u32>,
}

/// What the linker wrote down.
#[derive(Default)]
struct Map {
    /// Functions, by the numbers of their symbols.
    functions: BTreeMap<u32, u32>,
    /// Data, by the numbers of their symbols.
    places: BTreeMap<u32, Place>,
    /// What is used from where in the code, by where that is in the section.
    in_code: Vec<RelocationEntry>,
    /// The same from data.
    in_data: BTreeMap<u32, Vec<RelocationEntry>>,
    code_start: u64,
    segments: Vec<Segment>,
    /// Which segment is never written.
    read_only: Option<u32>,
}

struct Segment {
    /// Where it begins in memory.
    address: u32,
    /// Where its bytes lie in the section.
    place: Range<u64>,
}

impl Map {
    #[expect(clippy::wildcard_enum_match_arm, reason = "wasmparser may add sections")]
    fn read(linked: &[u8]) -> Result<Self> {
        let mut map = Self::default();
        let (mut symbols, mut data_entries) = (Vec::new(), Vec::new());
        for payload in Parser::new(0).parse_all(linked) {
            match payload? {
                Payload::CodeSectionStart { unchecked_range, .. } => map.code_start = unchecked_range.start,
                Payload::DataSection(section) => {
                    let data_start = section.range().start;
                    for datum in section {
                        let datum = datum?;
                        let DataKind::Active { offset_expr, .. } = datum.kind else { continue };
                        let Operator::I32Const { value } = offset_expr.get_operators_reader().read()? else {
                            continue;
                        };
                        let end = datum.range.end - data_start;
                        let place = end - datum.data.len() as u64..end;
                        map.segments.push(Segment { address: u32::try_from(value)?, place });
                    }
                }
                Payload::CustomSection(section) => match (section.name(), section.as_known()) {
                    (_, KnownCustom::Linking(linking)) => symbols = read_symbols(linking)?,
                    ("reloc.CODE", KnownCustom::Reloc(entries)) => map.in_code = read_entries(&entries)?,
                    ("reloc.DATA", KnownCustom::Reloc(entries)) => data_entries = read_entries(&entries)?,
                    (_, KnownCustom::Name(names)) => {
                        for name in names {
                            let Name::Data(segments) = name? else { continue };
                            for segment in segments {
                                let segment = segment?;
                                if segment.name == READ_ONLY {
                                    map.read_only = Some(segment.index);
                                }
                            }
                        }
                    }
                    _ => {}
                },
                _ => {}
            }
        }
        map.place(&symbols);
        map.attribute(data_entries);
        Ok(map)
    }

    fn place(&mut self, symbols: &[SymbolInfo]) {
        for (number, symbol) in (0..).zip(symbols) {
            match symbol {
                SymbolInfo::Func { index, .. } => drop(self.functions.insert(number, *index)),
                SymbolInfo::Data { symbol: Some(defined), .. } => {
                    let Some(segment) = self.segments.get(defined.index as usize) else { continue };
                    let start = segment.address + defined.offset;
                    let address = start..start + defined.size;
                    self.places.insert(number, Place { segment: defined.index, address });
                }
                SymbolInfo::Data { symbol: None, .. }
                | SymbolInfo::Global { .. }
                | SymbolInfo::Section { .. }
                | SymbolInfo::Event { .. }
                | SymbolInfo::Table { .. } => {}
            }
        }
    }

    /// Says of each entry in data in which thing it is.
    fn attribute(&mut self, entries: Vec<RelocationEntry>) {
        let mut by_start: Vec<(u32, u32, u32)> =
            self.places.iter().map(|(symbol, place)| (place.address.start, place.address.end, *symbol)).collect();
        by_start.sort_unstable();
        for entry in entries {
            let Some(address) = self.address_of(u64::from(entry.offset)) else { continue };
            // Several may begin at one place.
            let after = by_start.partition_point(|(start, ..)| *start <= address);
            for (_, _, symbol) in by_start[..after].iter().rev().take(8).filter(|(_, end, _)| *end > address) {
                self.in_data.entry(*symbol).or_default().push(entry);
            }
        }
    }

    fn address_of(&self, place: u64) -> Option<u32> {
        let segment = self.segments.iter().find(|segment| segment.place.contains(&place))?;
        Some(segment.address + u32::try_from(place - segment.place.start).ok()?)
    }

    /// The entries in each function's code.
    fn by_function(&self, program: &Program) -> Result<BTreeMap<u32, Vec<RelocationEntry>>> {
        let ranges: Vec<Range<u64>> = program.bodies.iter().map(|body| body.range()).collect();
        let mut found: BTreeMap<u32, Vec<RelocationEntry>> = BTreeMap::new();
        for entry in &self.in_code {
            let place = self.code_start + u64::from(entry.offset);
            let after = ranges.partition_point(|range| range.start <= place);
            let body = after.checked_sub(1).filter(|body| ranges[*body].contains(&place));
            let body = body.context("what the linker wrote down does not fit its program")?;
            found.entry(program.imported() + u32::try_from(body)?).or_default().push(*entry);
        }
        Ok(found)
    }

    /// Read-only data that one part other than the first uses alone, in order and without what lies over something else.
    fn alone(&self, reached: &BTreeMap<u32, u32>) -> Vec<(Range<u32>, u32)> {
        let mut uses: BTreeSet<(u32, u32, u32)> = BTreeSet::new();
        for (symbol, place) in &self.places {
            // What nobody uses was kept for some reason.
            let parts =
                if Some(place.segment) == self.read_only { reached.get(symbol).copied().unwrap_or(1) } else { 1 };
            uses.insert((place.address.start, place.address.end, parts));
        }
        let shared: Vec<Range<u32>> = uses
            .iter()
            .filter(|(_, _, parts)| parts & 1 == 1 || !parts.is_power_of_two())
            .map(|(start, end, _)| *start..*end)
            .collect();
        let mut alone: Vec<(Range<u32>, u32)> = Vec::new();
        for (start, end, parts) in uses {
            let is_shared = shared.iter().any(|other| other.start < end && start < other.end);
            if start == end || is_shared || parts & 1 == 1 || !parts.is_power_of_two() {
                continue;
            }
            let part = parts.trailing_zeros();
            match alone.last_mut() {
                Some((last, of)) if last.end > start => {
                    if *of == part {
                        last.end = last.end.max(end);
                    }
                }
                Some((last, of)) if last.end == start && *of == part => last.end = end,
                Some(_) | None => alone.push((start..end, part)),
            }
        }
        alone
    }
}

fn read_symbols(linking: LinkingSectionReader<'_>) -> Result<Vec<SymbolInfo<'_>>> {
    let mut symbols = Vec::new();
    for subsection in linking.subsections() {
        if let Linking::SymbolTable(table) = subsection? {
            symbols = table.into_iter().collect::<Result<_, _>>()?;
        }
    }
    Ok(symbols)
}

fn read_entries(section: &RelocSectionReader) -> Result<Vec<RelocationEntry>> {
    Ok(section.entries().into_iter().collect::<Result<_, _>>()?)
}

/// How far each part has come.
struct Reached<'m> {
    map: &'m Map,
    /// By which parts data is used, by symbol.
    data: BTreeMap<u32, u32>,
    /// By which parts functions are addressed.
    functions: BTreeMap<u32, u32>,
    queue: Vec<u32>,
}

impl Reached<'_> {
    fn mark(&mut self, entry: &RelocationEntry, parts: u32) {
        // Calls are read from the code; and types are no symbols.
        let is_call = matches!(entry.ty, RelocationType::FunctionIndexLeb | RelocationType::FunctionIndexI32);
        if is_call || entry.ty == RelocationType::TypeIndexLeb {
            return;
        }
        match self.map.functions.get(&entry.index) {
            Some(function) => *self.functions.entry(*function).or_default() |= parts,
            None => self.reach(entry.index, parts),
        }
    }

    fn reach(&mut self, symbol: u32, parts: u32) {
        if !self.map.places.contains_key(&symbol) {
            return;
        }
        let known = self.data.entry(symbol).or_default();
        if *known | parts != *known {
            *known |= parts;
            self.queue.push(symbol);
        }
    }

    /// What is reached reaches further.
    fn spread(&mut self) {
        let map = self.map;
        while let Some(symbol) = self.queue.pop() {
            let parts = self.data.get(&symbol).copied().unwrap_or(0);
            for entry in map.in_data.get(&symbol).into_iter().flatten() {
                self.mark(entry, parts);
            }
        }
    }
}
