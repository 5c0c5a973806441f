//! The list of job kinds: one file each, one line here.

use crate::{
    job::Job,
    refusal::{Code, Refusal},
};

/// Names of all kinds, as they stand in `"kind"`.
pub const KINDS: &[&str] = &["range_reduce", "map", "map_reduce", "matrix", "kernel"];

/// Reads, checks and compiles a job from the JSON that a person sends.
///
/// `blob` finds the bytes of kernels that are named by hash.
pub fn read(source: &str, blob: &dyn Fn(crate::id::Hash) -> Option<Vec<u8>>) -> Result<Job, Refusal> {
    let _ = (source, blob);
    Err(Refusal::new(Code::UnknownKind, "no kind is built yet", ""))
}
