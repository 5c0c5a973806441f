//! The account of work that is done more than once. It is bounded for each owner, for each household, and for each
//! network, so that an owner whose jobs lie at nodes that deliver nothing uses up nobody's share but his own.

use std::collections::BTreeMap;

use crate::id::{Holder, OwnerId};

/// Extra work to begin with, in microseconds of one core, of an owner, of a household and of a network,
const FIRST_EXTRA: [u64; 3] = [20_000_000, 40_000_000, 80_000_000];
/// and what part of the accepted work it may be: one in so many.
const EXTRA_SHARE: u64 = 12;
/// Accounts that are kept; beyond that those are forgotten that have least beyond their part.
const MOST_ACCOUNTS: usize = 8192;

/// Whose an account is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Party {
    Owner(Holder),
    Household(OwnerId, OwnerId),
    Network(OwnerId),
}

#[derive(Default)]
struct Account {
    accepted: u64,
    spent: u64,
    /// What copies that are out have taken so far.
    out: u64,
}

impl Account {
    /// What was spent beyond the part of the accepted work that may be.
    fn beyond(&self) -> u64 {
        self.spent.saturating_add(self.out).saturating_sub(self.accepted / EXTRA_SHARE)
    }
}

/// The accounts of extra work, in microseconds of one core.
#[derive(Default)]
pub(super) struct Extra {
    accounts: BTreeMap<Party, Account>,
}

fn parties(holder: Holder) -> [Party; 3] {
    let Holder { region: _, network, household, owner: _ } = holder;
    [Party::Owner(holder), Party::Household(network, household), Party::Network(network)]
}

impl Extra {
    /// Work of an owner's job was accepted.
    pub(super) fn accepted(&mut self, holder: Holder, micros: u64) {
        self.change(holder, |account| account.accepted = account.accepted.saturating_add(micros));
    }

    /// Work of an owner's job was done in vain.
    pub(super) fn spent(&mut self, holder: Holder, micros: u64) {
        self.change(holder, |account| account.spent = account.spent.saturating_add(micros));
    }

    /// Counts anew what is out.
    pub(super) fn clear_out(&mut self) {
        self.accounts.values_mut().for_each(|account| account.out = 0);
    }

    /// A copy that is out has taken so much.
    pub(super) fn out(&mut self, holder: Holder, micros: u64) {
        self.change(holder, |account| account.out = account.out.saturating_add(micros));
    }

    /// Whether there may be more of it for an owner's jobs.
    pub(super) fn is_allowed(&self, holder: Holder) -> bool {
        let within = |(party, first): (Party, u64)| self.accounts.get(&party).is_none_or(|it| it.beyond() < first);
        parties(holder).into_iter().zip(FIRST_EXTRA).all(within)
    }

    fn change(&mut self, holder: Holder, change: impl Fn(&mut Account)) {
        for party in parties(holder) {
            change(self.accounts.entry(party).or_default());
        }
        if self.accounts.len() > MOST_ACCOUNTS {
            let mut beyond: Vec<u64> = self.accounts.values().map(Account::beyond).collect();
            beyond.sort_unstable();
            // At least half of them go.
            let least = beyond.get(MOST_ACCOUNTS / 2).copied().unwrap_or(0);
            self.accounts.retain(|_, account| account.beyond() > least);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holder(network: u32, household: u32, owner: u32) -> Holder {
        let [network, household, owner] = [network, household, owner].map(|name| OwnerId::of(&name.to_le_bytes()));
        Holder { region: network, network, household, owner }
    }

    #[test]
    fn whoever_has_spent_his_extra_work_leaves_that_of_others() {
        let mut extra = Extra::default();
        let (greedy, other) = (holder(1, 1, 1), holder(2, 2, 2));
        extra.spent(greedy, FIRST_EXTRA[0]);
        assert!(!extra.is_allowed(greedy) && extra.is_allowed(other));
        extra.accepted(greedy, EXTRA_SHARE * 1_000);
        assert!(extra.is_allowed(greedy), "a part of what was accepted");
        extra.out(greedy, 2_000);
        assert!(!extra.is_allowed(greedy));
        extra.clear_out();
        assert!(extra.is_allowed(greedy));
        // New tokens, and new households, make more of it, but not without end.
        for owner in 0..25 {
            extra.spent(holder(3, 3, owner), FIRST_EXTRA[0] / 10);
        }
        assert!(!extra.is_allowed(holder(3, 3, 1_000)) && extra.is_allowed(holder(3, 4, 1_000)));
        for household in 0..100 {
            extra.spent(holder(4, household, household), FIRST_EXTRA[0] / 10);
        }
        assert!(!extra.is_allowed(holder(4, 1_000, 1_000)) && extra.is_allowed(other));
    }

    #[test]
    fn the_accounts_are_bounded_and_who_has_spent_most_is_remembered() {
        let mut extra = Extra::default();
        extra.spent(holder(1, 1, 1), FIRST_EXTRA[0]);
        for number in 2..20_000 {
            extra.spent(holder(number, number, number), u64::from(number));
        }
        assert!(extra.accounts.len() <= MOST_ACCOUNTS && !extra.is_allowed(holder(1, 1, 1)));
    }
}
