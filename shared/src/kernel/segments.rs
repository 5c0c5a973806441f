//! Merges data segments where a module has more of them than engines take. Go's linker cuts the memory at its start into tens
//! of thousands, one for each run without zeros; V8 takes 100,000.

use std::{borrow::Cow, collections::BTreeMap, ops::Range};

use wasm_encoder::{ConstExpr, DataCountSection, DataSection, Module, RawSection};
use wasmparser::{Data, DataKind, DataSectionReader, Encoding, FunctionBody, Operator, Parser, Payload};

use super::{bounds, lower};
use crate::refusal::{Code, Refusal};

/// Zeros that may be put between segments to make one of several, in all.
const MOST_FILLED_BYTES: u64 = 16 << 20;

/// The module with fewer data segments, if it has more than [`bounds::MOST_SEGMENTS_UNMERGED`] and can be read. What memory
/// holds at the start is the same. Segments that an instruction names come first, in their order; the others are merged.
/// Fails where more are left than engines take.
pub(super) fn merged(original: &[u8]) -> Result<Cow<'_, [u8]>, Refusal> {
    match few(original) {
        Some((_, count)) if count > bounds::MOST_SEGMENTS_WRITTEN => Err(Refusal::new(
            Code::TooLarge,
            format!(
                "The kernel's data segments can be merged into {count} only, of which engines take {}: some are named by \
                 instructions, or lie far apart.",
                bounds::MOST_SEGMENTS_WRITTEN
            ),
            "Let the linker merge data segments (for wasm-ld: without `--no-merge-data-segments`).",
        )),
        Some((module, _)) => Ok(Cow::Owned(module)),
        None => Ok(Cow::Borrowed(original)),
    }
}

/// Bytes at a place of a memory's start.
struct Extent {
    memory: u32,
    start: u64,
    bytes: Vec<u8>,
}

/// The module anew, and how many segments it has then.
#[expect(clippy::wildcard_enum_match_arm, reason = "wasmparser has a section for every proposal")]
fn few(original: &[u8]) -> Option<(Vec<u8>, u32)> {
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
    // Which segments are named by instructions.
    let mut named = vec![false; usize::try_from(count).ok()?];
    let mut data = None;
    let mut later = Vec::new();
    for payload in Parser::new(0).parse_all(original) {
        let payload = payload.ok()?;
        match &payload {
            Payload::CodeSectionEntry(body) => {
                each_name(body, |_, index| named.get_mut(index).map(|named| *named = true))?;
            }
            Payload::DataSection(section) => data = Some(section.clone()),
            _ => {}
        }
        if let Some((id, range)) = payload.as_section() {
            later.push((id, range));
        }
    }
    let section = written(data?, &named)?;
    for (id, range) in later {
        let range = usize::try_from(range.start).ok()?..usize::try_from(range.end).ok()?;
        match id {
            id if id == wasm_encoder::SectionId::DataCount as u8 => {
                module.section(&DataCountSection { count: section.len() });
            }
            id if id == wasm_encoder::SectionId::Data as u8 => {
                module.section(&section);
            }
            id if id == wasm_encoder::SectionId::Code as u8 => {
                let code = renumbered(original, range, &named)?;
                module.section(&RawSection { id, data: &code });
            }
            id => {
                module.section(&RawSection { id, data: original.get(range)? });
            }
        }
    }
    let count = section.len();
    Some((module.finish(), count))
}

/// Has `see` told where each instruction stands that names a data segment, and which.
fn each_name(body: &FunctionBody<'_>, mut see: impl FnMut(usize, usize) -> Option<()>) -> Option<()> {
    let mut operators = body.get_operators_reader().ok()?;
    while !operators.eof() {
        let (operator, offset) = operators.read_with_offset().ok()?;
        if let Operator::MemoryInit { data_index: index, .. } | Operator::DataDrop { data_index: index } = operator {
            see(usize::try_from(offset).ok()?, usize::try_from(index).ok()?)?;
        }
    }
    Some(())
}

/// The code section with the numbers that the named segments get. No number becomes larger, so each has its place.
fn renumbered(original: &[u8], range: Range<usize>, named: &[bool]) -> Option<Vec<u8>> {
    let mut code = original.get(range.clone())?.to_vec();
    let mut next = 0u32;
    let mut numbers = Vec::with_capacity(named.len());
    for is_named in named {
        numbers.push(next);
        next += u32::from(*is_named);
    }
    for payload in Parser::new(0).parse_all(original) {
        if let Payload::CodeSectionEntry(body) = payload.ok()? {
            each_name(&body, |offset, index| {
                rename(code.get_mut(offset.checked_sub(range.start)?..)?, *numbers.get(index)?)
            })?;
        }
    }
    Some(code)
}

/// Writes another segment's number into an instruction, as long as it was: behind the prefix and what instruction it is.
fn rename(instruction: &mut [u8], number: u32) -> Option<()> {
    let length = |bytes: &[u8]| bytes.iter().position(|byte| byte & 0x80 == 0).map(|last| last + 1);
    let from = 1 + length(instruction.get(1..)?)?;
    let digits = length(instruction.get(from..)?)?;
    let mut left = number;
    for (place, digit) in instruction.get_mut(from..from + digits)?.iter_mut().enumerate() {
        let more = if place + 1 < digits { 0x80 } else { 0 };
        *digit = (left & 0x7f) as u8 | more;
        left >>= 7;
    }
    (left == 0).then_some(())
}

/// The section anew: the named segments, and what the others write as few.
fn written(section: DataSectionReader<'_>, named: &[bool]) -> Option<DataSection> {
    let mut written = DataSection::new();
    let mut writes = Vec::new();
    for (segment, is_named) in section.into_iter().zip(named) {
        let segment = segment.ok()?;
        match (place(&segment)?, is_named) {
            (Some((memory, start)), _) => {
                writes.push((memory, start, segment.data));
                if *is_named {
                    // Once its bytes are written, before anything runs, it is as good as empty.
                    written.passive([]);
                }
            }
            (None, true) => _ = written.passive(segment.data.iter().copied()),
            // Nobody names it, so nobody reads it.
            (None, false) => {}
        }
    }
    let room = bounds::MOST_SEGMENTS_WRITTEN.saturating_sub(written.len()).min(bounds::MOST_SEGMENTS_UNMERGED);
    for extent in joined(extents(&writes), room) {
        let offset = ConstExpr::i32_const(u32::try_from(extent.start).ok()?.cast_signed());
        written.active(extent.memory, &offset, extent.bytes);
    }
    Some(written)
}

/// Where an active segment writes; of a passive one nowhere.
// Outer: it can be read.
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

/// Joins those that lie closest until there is room for all, with zeros between.
fn joined(extents: Vec<Extent>, room: u32) -> Vec<Extent> {
    let gap = |one: &Extent, next: &Extent| {
        (one.memory == next.memory).then(|| next.start.saturating_sub(one.start + one.bytes.len() as u64))
    };
    let mut gaps: Vec<(u64, usize)> = extents
        .windows(2)
        .enumerate()
        .filter_map(|(index, pair)| Some((gap(pair.first()?, pair.last()?)?, index)))
        .collect();
    gaps.sort_unstable();
    let excess = extents.len().saturating_sub(room as usize);
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
