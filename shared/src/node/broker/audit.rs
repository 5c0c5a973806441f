//! What always holds in a broker's books.

use std::collections::BTreeMap;

use super::{Broker, MOST_ASKS, MOST_OFFERS};
use crate::node::audit::holds;

impl Broker {
    /// Looks whether what is counted agrees with what is there.
    pub(in crate::node) fn audit(&self) -> Result<(), String> {
        let mut rewrites: BTreeMap<u16, u32> = BTreeMap::new();
        for known in self.offers.values() {
            *rewrites.entry(known.offer.rewrite).or_default() += 1;
        }
        holds(rewrites == self.rewrites, "offers of a rewrite are miscounted")?;
        let changes = self
            .changes
            .iter()
            .all(|(change, node)| self.offers.get(node).is_some_and(|known| known.change == *change));
        holds(changes && self.changes.len() == self.offers.len(), "offers and their changes disagree")?;
        holds(self.offers.len() <= MOST_OFFERS && self.asks.len() <= MOST_ASKS, "a broker knows too much")
    }
}
