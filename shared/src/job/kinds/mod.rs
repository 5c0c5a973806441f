//! The list of job kinds: one file each, one line here.

mod big;
pub mod command;
mod fields;
mod formulas;
mod json;
mod kernel;
pub mod limits;
mod map;
mod matrix;
mod outcome;
mod packed;
mod range_reduce;
mod suggest;

use self::fields::{Fields, cut, invalid, missing};
pub use self::json::text_of;
use crate::{
    blob::Blob,
    id::{Hash, Holder},
    job::{Job, Plan, metadata::Metadata},
    kernel::{Facts, PAGE_BYTES},
    refusal::{Code, Refusal},
};

/// A module that a host has.
pub struct Known {
    /// Its bytes.
    pub blob: Blob,
    /// Whether this very program found it sound as a `kernel` before; that takes seconds for a large one.
    pub sound_as_kernel: bool,
    /// The same, as the module of a `command`.
    pub sound_as_command: bool,
}

impl Known {
    /// A module of which nothing is known but its bytes.
    pub fn new(blob: Blob) -> Self {
        Self { blob, sound_as_kernel: false, sound_as_command: false }
    }
}

/// Finds kernels that are named by hash.
type Blobs<'a> = &'a dyn Fn(Hash) -> Option<Known>;

type Read = fn(&mut Fields, Blobs) -> Result<Box<dyn Plan>, Refusal>;

struct Kind {
    name: &'static str,
    fields: &'static [&'static str],
    read: Read,
}

const ALL: &[Kind] = &[
    Kind { name: range_reduce::NAME, fields: range_reduce::FIELDS, read: |fields, _| range_reduce::read(fields) },
    Kind { name: map::NAME, fields: map::FIELDS, read: |fields, _| map::read(fields) },
    Kind { name: map::REDUCE_NAME, fields: map::REDUCE_FIELDS, read: |fields, _| map::read_reducing(fields) },
    Kind { name: matrix::NAME, fields: matrix::FIELDS, read: |fields, _| matrix::read(fields) },
    Kind { name: kernel::NAME, fields: kernel::FIELDS, read: kernel::read },
    Kind { name: command::NAME, fields: command::FIELDS, read: command::read },
];

/// Names of all kinds, as they stand in `"kind"`.
pub const KINDS: &[&str] = &["range_reduce", "map", "map_reduce", "matrix", "kernel", "command"];

/// The fields that every kind of job has.
pub use self::fields::COMMON as COMMON_FIELDS;

/// The fields of a kind of job beside those that every kind has; none for an unknown kind.
pub fn fields_of(kind: &str) -> &'static [&'static str] {
    ALL.iter().find(|known| known.name == kind).map_or(&[], |known| known.fields)
}

/// Reads, checks and compiles a job from the JSON that a person sends.
///
/// `blob` finds the bytes of kernels that are named by hash.
pub fn read(source: &str, blob: &dyn Fn(Hash) -> Option<Blob>) -> Result<Job, Refusal> {
    read_known(source, &|hash| blob(hash).map(Known::new))
}

/// The same for a host that remembers which modules were found sound.
pub fn read_known(source: &str, blob: &dyn Fn(Hash) -> Option<Known>) -> Result<Job, Refusal> {
    let source = json::without_mark(source);
    let mut fields = Fields::read(source)?;
    // Names first: whoever misspells one is told of that, whatever else is wrong.
    let kind = kind_of(&mut fields);
    match &kind {
        Ok(kind) => fields.check_names(kind.name, kind.fields, &|field| {
            ALL.iter().filter(|other| other.fields.contains(&field)).map(|other| other.name).collect()
        })?,
        Err(_) => fields.check_names_of_any_kind()?,
    }
    fields.check_nested_names()?;
    let kind = kind?;
    let metadata = read_metadata(&mut fields)?;
    let (requirements, policy) = (fields.requirements()?, fields.policy()?);
    let plan = (kind.read)(&mut fields, blob)?;
    fields.end(kind.name)?;
    check_memory(kind.name, plan.kernel(), requirements.memory_mib)?;
    let (holder, source) = (Holder::LOCAL, source.into());
    Ok(Job { holder, kind: kind.name, metadata, source, requirements, policy, plan })
}

/// Refuses a job whose kernel has more memory from the start than a task may use: no call of it would begin.
fn check_memory(kind: &str, kernel: &[u8], most_mib: u32) -> Result<(), Refusal> {
    const MOST_MIB: u64 = 4 << 10;
    let pages = Facts::of(kernel).map_or(0, |facts| facts.initial_pages);
    let needed = pages.saturating_mul(PAGE_BYTES).div_ceil(1 << 20);
    if needed <= u64::from(most_mib) {
        return Ok(());
    }
    let (what, beside) =
        if kind == command::NAME { ("program", ", what holds its input and output included") } else { ("kernel", "") };
    let message = format!(
        "the {what} has {needed} MiB of memory before it does anything{beside}; a task of this job may use {most_mib} MiB"
    );
    let hint = if needed > MOST_MIB {
        format!("build it with less initial memory: a task may use at most {} GiB", MOST_MIB >> 10)
    } else {
        // In thousandths of a GiB, rounded up.
        let thousandths = (needed * 1000).div_ceil(1 << 10);
        format!(
            "raise requirements.ram_gb to {}.{:03}, or build it with less initial memory",
            thousandths / 1000,
            thousandths % 1000
        )
    };
    Err(Refusal::new(Code::OutOfMemory, message, hint))
}

/// The kind that a job says it is of.
fn kind_of(fields: &mut Fields) -> Result<&'static Kind, Refusal> {
    let hint = format!("kinds are {}", KINDS.join(", "));
    let name = fields.text("kind")?.ok_or_else(|| missing("kind", &hint))?;
    ALL.iter().find(|kind| kind.name == name).ok_or_else(|| {
        let advice = suggest::question(&name, KINDS.iter().copied());
        Refusal::new(Code::UnknownKind, format!("there is no kind {:?}{advice}", cut(&name)), hint)
    })
}

/// The fields of all kinds.
fn every_field() -> impl Iterator<Item = &'static str> {
    COMMON_FIELDS.into_iter().chain(ALL.iter().flat_map(|kind| kind.fields.iter().copied()))
}

/// `name` and `labels`.
fn read_metadata(fields: &mut Fields) -> Result<Metadata, Refusal> {
    let mut metadata = Metadata::default();
    if let Some(name) = fields.text("name")? {
        metadata.set_name(&name)?;
    }
    for (key, value) in fields.object("labels")? {
        let path = format!("labels.{key}");
        let text =
            value.as_str().ok_or_else(|| invalid(&path, &value, "labels are texts, as in {\"team\": \"physics\"}"))?;
        metadata.add_label(&key, text)?;
    }
    Ok(metadata)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests_command;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests_fields;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests_matrix;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests_numbers;
