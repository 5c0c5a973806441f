//! What is said in extensions, by their keys.
//!
//! A key is given out in `docs/protocol.md`, and never a second time. Later versions may say more behind a value: what is left
//! over there is ignored, as is a value that cannot be read.

use super::{Extension, Extensions};
use crate::{engine::Prepared, units::Gas};

/// Of a Deliver: what preparing instances took ([`Prepared`]), as two varints: how many, and gas.
const PREPARED: u16 = 1;

impl Extensions {
    /// What a Deliver says of what preparing instances took: nothing, where nothing was prepared.
    pub fn of_prepared(prepared: Prepared) -> Self {
        let Prepared { instances, gas: Gas(gas) } = prepared;
        let value = postcard::to_allocvec(&(instances, gas)).ok().filter(|_| !prepared.is_nothing());
        let said = value.map(|value| Extension { key: PREPARED, value });
        Self::new(said.into_iter().collect()).unwrap_or_default()
    }

    /// What a Deliver said of that.
    pub fn prepared(&self) -> Prepared {
        let read = |value| postcard::take_from_bytes::<(u64, u64)>(value).ok();
        let said = self.get(PREPARED).and_then(read);
        said.map_or_else(Prepared::default, |((instances, gas), _)| Prepared { instances, gas: Gas(gas) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_preparing_took_is_read_as_it_was_said_and_nothing_is_said_of_nothing() {
        for prepared in [Prepared { instances: 3, gas: Gas(1 << 40) }, Prepared { instances: 1, gas: Gas(0) }] {
            assert_eq!(Extensions::of_prepared(prepared).prepared(), prepared);
        }
        assert!(Extensions::of_prepared(Prepared::default()).is_empty());
        assert_eq!(Extensions::default().prepared(), Prepared::default());
    }

    #[test]
    fn what_a_later_version_says_behind_it_is_passed_over_and_what_is_cut_off_is_nothing() {
        let said = |value: &[u8]| {
            Extensions::new(vec![Extension { key: PREPARED, value: value.to_vec() }]).unwrap_or_default().prepared()
        };
        assert_eq!(said(&[2, 9, 77]), Prepared { instances: 2, gas: Gas(9) });
        for cut_off in [&[][..], &[2], &[2, 0x80]] {
            assert_eq!(said(cut_off), Prepared::default());
        }
    }
}
