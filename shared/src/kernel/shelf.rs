//! Globals in which the locals of a loop go round a call ([`super::body`] says why).

use std::collections::BTreeMap;

use wasm_encoder::ValType as Encoded;
use wasmparser::ValType;

/// Globals behind all others, for locals to go round a call in. Bodies share them.
#[derive(Debug, Default)]
pub(super) struct Shelf {
    /// Index of the first.
    first: u32,
    /// Their types, in order.
    pub types: Vec<Encoded>,
    /// The first, second, … of each type.
    places: BTreeMap<(ValType, u32), u32>,
}

impl Shelf {
    /// With globals from `first` on.
    pub(super) fn from(first: u32) -> Self {
        Self { first, ..Self::default() }
    }

    /// The global for the `nth` local of type `ty`; `None` for a reference.
    pub(super) fn place(&mut self, ty: ValType, nth: u32) -> Option<u32> {
        let encoded = match ty {
            ValType::Ref(_) => return None,
            ValType::I32 | ValType::I64 | ValType::F32 | ValType::F64 | ValType::V128 => Encoded::try_from(ty).ok()?,
        };
        let next = self.first.checked_add(u32::try_from(self.types.len()).ok()?)?;
        Some(*self.places.entry((ty, nth)).or_insert_with(|| {
            self.types.push(encoded);
            next
        }))
    }
}
