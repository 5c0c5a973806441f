//! All chance that a node has: keyed BLAKE3 over a counter. The key is the seed that the host gives, so a run can be
//! repeated; whoever does not know the seed cannot guess what comes next.

/// A stream of numbers that the seed decides.
pub(super) struct Chance {
    seed: [u8; 32],
    drawn: u64,
}

impl Chance {
    pub(super) fn new(seed: [u8; 32]) -> Self {
        Self { seed, drawn: 0 }
    }

    /// The next 32 bytes.
    pub(super) fn bytes(&mut self) -> [u8; 32] {
        self.drawn = self.drawn.wrapping_add(1);
        *blake3::keyed_hash(&self.seed, &self.drawn.to_le_bytes()).as_bytes()
    }

    /// The next number.
    pub(super) fn number(&mut self) -> u64 {
        let bytes = self.bytes();
        let mut first = [0; 8];
        first.copy_from_slice(&bytes[..8]);
        u64::from_le_bytes(first)
    }

    /// A number below `bound`; 0 when the bound is 0. The bias of the remainder is below 2⁻³² for the bounds in use.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        if bound == 0 { 0 } else { self.number() % bound }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_numbers_and_another_seed_others() {
        let draw = |seed| {
            let mut chance = Chance::new([seed; 32]);
            (0..4).map(|_| chance.number()).collect::<Vec<_>>()
        };
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
        assert!((0..100).all(|_| Chance::new([3; 32]).below(7) < 7));
        assert_eq!(Chance::new([3; 32]).below(0), 0);
    }
}
