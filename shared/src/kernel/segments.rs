//! Merges data segments where a module has more of them than engines take. Go's linker cuts the memory at its start into tens
//! of thousands, one for each run without zeros; V8 takes 100,000.

use std::{borrow::Cow, collections::BTreeMap};

use wasm_encoder::{ConstExpr, DataCountSection, DataSection, Module, RawSection};
use wasmparser::{Data, DataKind, DataSectionReader, Encoding, Operator, Parser, Payload};

use super::{bounds, lower};

/// Zeros that may be put between segments to make one of several, in all.
const MOST_FILLED_BYTES: u64 = 16 << 20;

/// The module with fewer data segments, if it has more than [`bounds::MOST_SEGMENTS_UNMERGED`] and they can be merged. What memory
/// holds at the start is the same. Segments that an instruction names stay what and where they are.
pub fn merged(original: &[u8]) -> Cow<'_, [u8]> {
    match few(original) {
        Some(module) => Cow::Owned(module),
        None => Cow::Borrowed(original),
    }
}

/// Bytes at a place of a memory's start.
struct Extent {
    memory: u32,
    start: u64,
    bytes: Vec<u8>,
}

fn few(original: &[u8]) -> Option<Vec<u8>> {
    let count = Parser::new(0).parse_all(original).find_map(|payload| match payload {
        Ok(Payload::DataSection(section)) => Some(Some(section.count())),
        Ok(Payload::Version { encoding: Encoding::Component, .. }) => Some(None),
        Ok(_) => None,
        Err(_) => Some(None),
    })??;
    if !(bounds::MOST_SEGMENTS_UNMERGED..=bounds::MOST_DATA_SEGMENTS).contains(&count) {
        return None;
    }
    let mut module = Module::new();
    // How many of the first segments are named by instructions, or lie before one that is.
    let mut named = 0;
    let mut data = None;
    let mut later = Vec::new();
    for payload in Parser::new(0).parse_all(original) {
        let payload = payload.ok()?;
        match &payload {
            Payload::CodeSectionEntry(body) => {
                for operator in body.get_operators_reader().ok()? {
                    if let Operator::MemoryInit { data_index: index, .. } | Operator::DataDrop { data_index: index } =
                        operator.ok()?
                    {
                        named = named.max(index.checked_add(1)?);
                    }
                }
            }
            Payload::DataSection(section) => data = Some(section.clone()),
            _ => {}
        }
        if let Some((id, range)) = payload.as_section() {
            later.push((id, range));
        }
    }
    let section = written(data?, named)?;
    for (id, range) in later {
        let range = usize::try_from(range.start).ok()?..usize::try_from(range.end).ok()?;
        match id {
            id if id == wasm_encoder::SectionId::DataCount as u8 => {
                module.section(&DataCountSection { count: section.len() });
            }
            id if id == wasm_encoder::SectionId::Data as u8 => {
                module.section(&section);
            }
            id => {
                module.section(&RawSection { id, data: original.get(range)? });
            }
        }
    }
    Some(module.finish())
}

/// The section anew: the first `named` segments as they are, and what the others write as few.
fn written(section: DataSectionReader<'_>, named: u32) -> Option<DataSection> {
    let mut written = DataSection::new();
    let mut free = Vec::new();
    let mut writes_before = false;
    for (index, segment) in (0u32..).zip(section) {
        let segment = segment.ok()?;
        match place(&segment)? {
            Some((memory, start)) if index < named => {
                writes_before = true;
                let offset = ConstExpr::i32_const(u32::try_from(start).ok()?.cast_signed());
                written.active(memory, &offset, segment.data.iter().copied());
            }
            None if index < named => {
                written.passive(segment.data.iter().copied());
            }
            Some((memory, start)) => free.push((memory, start, segment.data)),
            // Nobody names it, so nobody reads it.
            None => {}
        }
    }
    let mut extents = extents(&free);
    // Zeros between two would also be written over what the named ones have written.
    if !writes_before {
        extents = joined(extents);
    }
    for extent in extents {
        let offset = ConstExpr::i32_const(u32::try_from(extent.start).ok()?.cast_signed());
        written.active(extent.memory, &offset, extent.bytes);
    }
    Some(written)
}

/// Where an active segment writes; of a passive one nowhere.
#[allow(clippy::option_option)] // outer: it can be read
fn place(segment: &Data<'_>) -> Option<Option<(u32, u64)>> {
    match &segment.kind {
        DataKind::Passive => Some(None),
        DataKind::Active { memory_index, offset_expr } => Some(Some((*memory_index, lower::offset(offset_expr)?))),
    }
}

/// What the segments write, one after the other, as runs that neither touch nor overlap.
fn extents(segments: &[(u32, u64, &[u8])]) -> Vec<Extent> {
    let end = |(_, start, bytes): &(u32, u64, &[u8])| start.saturating_add(bytes.len() as u64);
    let mut sorted: Vec<&(u32, u64, &[u8])> = segments.iter().collect();
    sorted.sort_by_key(|(memory, start, _)| (*memory, *start));
    let mut runs: Vec<(u32, u64, u64)> = Vec::new();
    for segment in sorted {
        let (memory, start, _) = *segment;
        match runs.last_mut() {
            Some((of, _, until)) if *of == memory && start <= *until => *until = (*until).max(end(segment)),
            _ => runs.push((memory, start, end(segment))),
        }
    }
    let length = |start: u64, until: u64| usize::try_from(until.saturating_sub(start)).unwrap_or(0);
    let mut places: BTreeMap<(u32, u64), Vec<u8>> =
        runs.into_iter().map(|(memory, start, until)| ((memory, start), vec![0; length(start, until)])).collect();
    for (memory, start, bytes) in segments {
        let Some(((_, first), run)) = places.range_mut(..=(*memory, *start)).next_back() else { continue };
        let from = length(*first, *start);
        if let Some(place) = run.get_mut(from..from.saturating_add(bytes.len())) {
            place.copy_from_slice(bytes);
        }
    }
    places.into_iter().map(|((memory, start), bytes)| Extent { memory, start, bytes }).collect()
}

/// Joins those that lie closest until they are few, with zeros between.
fn joined(extents: Vec<Extent>) -> Vec<Extent> {
    let gap = |one: &Extent, next: &Extent| {
        (one.memory == next.memory).then(|| next.start.saturating_sub(one.start + one.bytes.len() as u64))
    };
    let mut gaps: Vec<(u64, usize)> = extents
        .windows(2)
        .enumerate()
        .filter_map(|(index, pair)| Some((gap(pair.first()?, pair.last()?)?, index)))
        .collect();
    gaps.sort_unstable();
    let excess = extents.len().saturating_sub(bounds::MOST_SEGMENTS_UNMERGED as usize);
    let mut filled = 0u64;
    let mut closes = vec![false; extents.len()];
    for (bytes, index) in gaps.into_iter().take(excess) {
        filled = filled.saturating_add(bytes);
        if filled > MOST_FILLED_BYTES {
            break;
        }
        if let Some(closes) = closes.get_mut(index) {
            *closes = true;
        }
    }
    let mut joined: Vec<Extent> = Vec::new();
    let mut joins = false;
    for (extent, closes) in extents.into_iter().zip(closes) {
        match joined.last_mut() {
            Some(last) if joins => {
                let from = usize::try_from(extent.start.saturating_sub(last.start)).unwrap_or(0);
                last.bytes.resize(from, 0);
                last.bytes.extend_from_slice(&extent.bytes);
            }
            _ => joined.push(extent),
        }
        joins = closes;
    }
    joined
}
