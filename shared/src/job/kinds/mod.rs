//! The list of job kinds: one file each, one line here.

mod big;
pub mod command;
pub mod common;
mod fields;
mod formulas;
mod json;
mod kernel;
pub mod limits;
mod map;
mod matrix;
mod outcome;
mod packed;
mod pipeline;
mod range_reduce;
pub mod schema;
mod sort;
mod suggest;
pub mod summary;
pub mod typed;

pub use self::json::{text_of, without_mark};
use self::{
    fields::{Fields, cut, invalid, listed, missing, names},
    schema::{Field, Kind, Long, Output},
};
use crate::{
    blob::Blob,
    id::{Hash, Holder},
    job::{Job, Plan, Program, metadata::Metadata},
    kernel::{Facts, GivenAs, PAGE_BYTES, check_given},
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

/// Says whether nodes can run a kernel that somebody gave.
pub type Check<'a> = dyn Fn(&[u8], GivenAs) -> Result<(), Refusal> + 'a;

/// What a host does for jobs that bring a module of their own, or name one.
pub struct Modules<'a> {
    /// Finds one that is named by its hash.
    pub find: &'a dyn Fn(Hash) -> Option<Known>,
    /// Says whether nodes can run the kernel that was given, or made of what was given: [`check_given`], or another program
    /// that has it.
    pub check: &'a Check<'a>,
}

/// Reads the fields of a job, checks them and makes its plan.
type Read = fn(&mut Fields<'_>, &Modules<'_>) -> Result<Box<dyn Plan>, Refusal>;

/// Declares the kinds. What reads them stands apart from what they say of themselves: a program that only shows jobs, as
/// the page does until somebody writes one, has no readers inside.
macro_rules! kinds {
    ($($kind:path => $read:path,)*) => {
        /// Every kind of job.
        pub static ALL: &[&Kind] = &[$(&$kind),*];

        /// What reads the fields of jobs of this kind.
        fn reader(kind: &Kind) -> Option<Read> {
            let readers: &[(&Kind, Read)] = &[$((&$kind, $read)),*];
            readers.iter().find_map(|(known, read)| (known.name == kind.name).then_some(*read))
        }
    };
}

kinds! {
    range_reduce::KIND => range_reduce::read,
    map::KIND => map::read,
    map::REDUCING_KIND => map::read_reducing,
    matrix::KIND => matrix::read,
    sort::KIND => sort::read,
    kernel::KIND => kernel::read,
    pipeline::KIND => pipeline::read,
    command::KIND => command::read,
}

/// The kind of that name.
pub fn named(name: &str) -> Option<&'static Kind> {
    ALL.iter().copied().find(|kind| kind.name == name)
}

/// What the result of a kind of that name is; a value, where it is not known.
pub fn output_of(name: &str) -> Output {
    named(name).map_or(Output::Value, |kind| kind.output)
}

/// Reads, checks and compiles a job from the JSON that a person sends.
///
/// `blob` finds the bytes of kernels that are named by hash.
pub fn read(source: &str, blob: &dyn Fn(Hash) -> Option<Blob>) -> Result<Job, Refusal> {
    read_known(source, &|hash| blob(hash).map(Known::new))
}

/// The same for a host that remembers which modules were found sound.
pub fn read_known(source: &str, find: &dyn Fn(Hash) -> Option<Known>) -> Result<Job, Refusal> {
    read_with(source, &Modules { find, check: &check_given })
}

/// The same for a host that leaves checking modules to somebody else, too.
pub fn read_with(source: &str, modules: &Modules<'_>) -> Result<Job, Refusal> {
    let source = json::without_mark(source);
    let mut fields = Fields::read(source)?;
    // Names first: whoever misspells one is told of that, whatever else is wrong.
    let kind = kind_of(&mut fields);
    match &kind {
        Ok(kind) => fields.check_names(kind)?,
        Err(_) => fields.check_names_of_any_kind()?,
    }
    fields.check_nested_names()?;
    let kind = kind?;
    fields.set_kind(kind);
    let metadata = read_metadata(&mut fields)?;
    let (requirements, policy) = (fields.requirements()?, fields.policy()?);
    let read = reader(kind).ok_or_else(|| Refusal::new(Code::Internal, "this kind of job has no reader", ""))?;
    let plan = read(&mut fields, modules)?;
    fields.end(kind.name)?;
    let stages = plan.stages();
    for placed in stages.iter() {
        match &placed.stage.program {
            Program::Wasm(kernel) => check_memory(kind.output, kernel, requirements.memory_mib)?,
        }
    }
    let (holder, source) = (Holder::LOCAL, source.into());
    Ok(Job { holder, kind: kind.name, metadata, source, requirements, policy, plan, stages })
}

/// Refuses a job whose kernel has more memory from the start than a task may use: no call of it would begin.
fn check_memory(output: Output, kernel: &[u8], most_mib: u32) -> Result<(), Refusal> {
    const MOST_MIB: u64 = 4 << 10;
    let pages = Facts::of(kernel).map_or(0, |facts| facts.initial_pages);
    let needed = pages.saturating_mul(PAGE_BYTES).div_ceil(1 << 20);
    if needed <= u64::from(most_mib) {
        return Ok(());
    }
    let (what, beside) = match output {
        Output::Program => ("program", ", what holds its input and output included"),
        Output::Value | Output::Bytes => ("kernel", ""),
    };
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
    let known: Vec<&str> = ALL.iter().map(|kind| kind.name).collect();
    let hint = format!("kinds are {}", known.join(", "));
    let name = fields.text(common::KIND)?.ok_or_else(|| missing(common::KIND, &hint))?;
    named(&name).ok_or_else(|| {
        let advice = suggest::question(&name, known.iter().copied());
        Refusal::new(Code::UnknownKind, format!("there is no kind {:?}{advice}", cut(&name)), hint)
    })
}

/// The names of the fields of all kinds.
fn every_field() -> impl Iterator<Item = &'static str> {
    [common::KIND].into_iter().chain(names(common::FIELDS)).chain(ALL.iter().flat_map(|kind| names(kind.fields)))
}

/// The fields of all kinds beside those that every kind has, each once: two kinds that have one agree on what it may be.
pub fn own_fields() -> Vec<&'static Field> {
    let mut fields: Vec<&Field> = Vec::new();
    for field in ALL.iter().flat_map(|kind| kind.fields) {
        if fields.iter().all(|known| known.name != field.name) {
            fields.push(field);
        }
    }
    fields
}

/// The kinds that have a field of their own of that name.
pub fn kinds_with(field: &str) -> Vec<&'static str> {
    ALL.iter().filter(|kind| kind.field(field).is_some()).map(|kind| kind.name).collect()
}

/// The long list that a field of that name is, in whichever kind.
fn long_list(field: &str) -> Option<Long> {
    ALL.iter().find_map(|kind| kind.field(field)?.ty.long())
}

/// The names of all fields that are long lists.
fn long_lists() -> String {
    let long = own_fields().into_iter().filter(|field| field.ty.long().is_some());
    let names: Vec<String> = long.map(|field| format!("`{}`", field.name)).collect();
    listed(&names.iter().map(String::as_str).collect::<Vec<_>>(), "and")
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
#[expect(clippy::unwrap_used, clippy::panic)]
mod tests;
#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::panic)]
mod tests_command;
#[cfg(test)]
#[expect(clippy::unwrap_used)]
mod tests_fields;
#[cfg(test)]
#[expect(clippy::unwrap_used)]
mod tests_matrix;
#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::panic)]
mod tests_numbers;
