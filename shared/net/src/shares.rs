//! Who holds most of what is shared by address. One who wants more than others takes many of it at one address, or a few at
//! each of the many addresses that are cheap to get together; so what is held counts for the address, for the network around
//! it, and for the wide one around that. Each question is answered without looking at all holders: where many groups hold as much,
//! at some of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{BuildHasher as _, RandomState},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

/// Groups that are looked at where many are as heavy as each other: each question costs that, and others wait for its answer.
const LOOKED_AT: usize = 256;

/// How wide a group of addresses is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Width {
    /// An IPv4 /16 or an IPv6 /32: what a provider of addresses has.
    Wide,
    /// An IPv4 /24 or an IPv6 /48: what one who rents addresses gets cheaply.
    Network,
    /// An IPv4 address or an IPv6 /64: what a household or a machine gets.
    Address,
}

/// Addresses that count together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Group {
    width: Width,
    first: IpAddr,
}

impl Group {
    const FIRST: Self = Self { width: Width::Wide, first: IpAddr::V4(Ipv4Addr::UNSPECIFIED) };
    const LAST: Self = Self { width: Width::Address, first: IpAddr::V6(Ipv6Addr::from_bits(u128::MAX)) };

    /// The first of its addresses.
    pub fn first(self) -> IpAddr {
        self.first
    }

    /// How heavy it is when it holds so many. The wider, the more households are in it that have nothing to do with each
    /// other.
    fn weight(self, count: usize) -> usize {
        count.saturating_mul(match self.width {
            Width::Wide => 1,
            Width::Network => 4,
            Width::Address => 16,
        })
    }
}

/// The groups that a holder belongs to, the widest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Groups([Group; 3]);

impl Groups {
    /// Of a holder at `address`.
    pub fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(v4) => {
                let [a, b, c, _] = v4.octets();
                Self::nested(Ipv4Addr::new(a, b, 0, 0).into(), Ipv4Addr::new(a, b, c, 0).into(), v4.into())
            }
            IpAddr::V6(v6) => {
                let [a, b, c, d, ..] = v6.segments();
                let first = |c, d| Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into();
                Self::nested(first(0, 0), first(c, 0), first(c, d))
            }
        }
    }

    /// Of one whose address has nothing to do with its neighbours.
    pub fn alone(address: IpAddr) -> Self {
        Self::nested(address, address, address)
    }

    fn nested(wide: IpAddr, network: IpAddr, address: IpAddr) -> Self {
        let group = |width, first| Group { width, first };
        Self([group(Width::Wide, wide), group(Width::Network, network), group(Width::Address, address)])
    }

    /// The IPv4 address or IPv6 /64.
    pub fn address(self) -> Group {
        let [_, _, address] = self.0;
        address
    }

    /// The IPv4 /16 or IPv6 /32.
    pub fn wide(self) -> Group {
        let [wide, _, _] = self.0;
        wide
    }

    /// The IPv4 /24 or IPv6 /48.
    pub fn network(self) -> Group {
        let [_, network, _] = self.0;
        network
    }

    /// All of them.
    pub fn each(self) -> [Group; 3] {
        self.0
    }
}

/// How heavy one of a group is: the weight of its heaviest group, and how much the network and the address hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Heaviness([usize; 3]);

impl Heaviness {
    /// How heavy the heaviest of its groups is.
    pub fn weight(self) -> usize {
        let [weight, _, _] = self.0;
        weight
    }
}

/// How much each group holds.
#[derive(Default)]
pub struct Shares {
    /// Besides, its lot, and the groups of one that is in it.
    held: BTreeMap<Group, (usize, Lot, Groups)>,
    by_weight: BTreeSet<(usize, Lot, Group)>,
    /// The group around, how much the one in it holds.
    within: BTreeSet<(Group, usize, Lot, Group)>,
    lots: RandomState,
    /// Which lots come first where more are as heavy than are looked at: others after each change.
    first: Lot,
}

/// Where a group stands among its equals.
type Lot = u64;

impl Shares {
    /// One of `groups` holds one more.
    pub fn add(&mut self, groups: Groups) {
        self.add_many(groups, 1);
    }

    /// One of `groups` holds so much more.
    pub fn add_many(&mut self, groups: Groups, many: usize) {
        if many == 0 {
            return;
        }
        self.count(groups, |count| count.saturating_add(many));
    }

    /// One of `groups` holds one less.
    pub fn remove(&mut self, groups: Groups) {
        self.remove_many(groups, 1);
    }

    /// One of `groups` holds so much less.
    pub fn remove_many(&mut self, groups: Groups, many: usize) {
        if many == 0 {
            return;
        }
        self.count(groups, |count| count.saturating_sub(many));
    }

    fn count(&mut self, groups: Groups, change: impl Fn(usize) -> usize) {
        // Knuth's linear congruential generator: its high bits, which decide, are even enough for this.
        self.first = self.first.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let mut around = None;
        for group in groups.0 {
            let (before, lot) = match self.held.get(&group) {
                Some((count, lot, _)) => (*count, *lot),
                None => (0, self.lots.hash_one(group)),
            };
            let after = change(before);
            self.by_weight.remove(&(group.weight(before), lot, group));
            if let Some(around) = around {
                self.within.remove(&(around, before, lot, group));
            }
            if after == 0 {
                self.held.remove(&group);
            } else {
                self.held.insert(group, (after, lot, groups));
                self.by_weight.insert((group.weight(after), lot, group));
                if let Some(around) = around {
                    self.within.insert((around, after, lot, group));
                }
            }
            around = Some(group);
        }
    }

    /// How much a group holds.
    pub fn of(&self, group: Group) -> usize {
        self.held.get(&group).map_or(0, |(count, _, _)| *count)
    }

    /// Whether nobody holds anything.
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// The group that is heaviest: an address, or where many addresses hold a little each, the group of them. `None` where
    /// several are as heavy, or nobody holds anything.
    pub fn heaviest(&self) -> Option<Group> {
        let mut heaviest = self.by_weight.iter().rev();
        let (most, _, group) = heaviest.next()?;
        heaviest.next().is_none_or(|(next, _, _)| next < most).then_some(*group)
    }

    /// Those who hold most within the heaviest group, or groups: nobody's [`Heaviness`] is higher, and theirs is the same.
    /// Where more than [`LOOKED_AT`] groups are as heavy, about so many are looked at, others each time.
    pub fn hold_most(&self) -> Vec<Groups> {
        let Some((weight, _, _)) = self.by_weight.last() else { return Vec::new() };
        let at = |lot, group| (*weight, lot, group);
        let heaviest = self.by_weight.range(at(self.first, Group::FIRST)..=at(Lot::MAX, Group::LAST));
        let heaviest = heaviest.chain(self.by_weight.range(at(Lot::MIN, Group::FIRST)..at(self.first, Group::FIRST)));
        let heaviest: Vec<Group> = heaviest.map(|(_, _, group)| *group).take(LOOKED_AT).collect();
        let mut most = Vec::new();
        for group in &heaviest {
            // Enough for one at least: the wide one, the network, the address.
            let mut left = (LOOKED_AT / heaviest.len()).max(3);
            self.fullest_within(*group, &mut left, &mut most);
        }
        let highest = most.iter().map(|groups| self.heaviness(*groups)).max();
        most.retain(|groups| Some(self.heaviness(*groups)) == highest);
        most.sort_unstable();
        most.dedup();
        most
    }

    /// One of those who hold most.
    pub fn holds_most(&self) -> Option<Groups> {
        self.hold_most().pop()
    }

    /// How heavy a holder is. The heaviest are those of [`Self::holds_most`], and those that hold as much: whoever lets one of
    /// them go chooses among these by something else than their addresses, which would always be the same one's loss.
    pub fn heaviness(&self, groups: Groups) -> Heaviness {
        let weights = groups.0.map(|group| group.weight(self.of(group)));
        let heaviest = weights.into_iter().max().unwrap_or(0);
        Heaviness([heaviest, self.of(groups.network()), self.of(groups.address())])
    }

    /// Finds the addresses that hold most in those groups within one that hold most, looking at so many at most.
    fn fullest_within(&self, around: Group, left: &mut usize, into: &mut Vec<Groups>) {
        *left = left.saturating_sub(1);
        if around.width == Width::Address {
            into.extend(self.held.get(&around).map(|(_, _, groups)| *groups));
            return;
        }
        let all = (around, 0, Lot::MIN, Group::FIRST)..=(around, usize::MAX, Lot::MAX, Group::LAST);
        let Some((_, most, _, _)) = self.within.range(all).next_back() else { return };
        let at = |lot, group| (around, *most, lot, group);
        let fullest = self.within.range(at(self.first, Group::FIRST)..=at(Lot::MAX, Group::LAST));
        let fullest = fullest.chain(self.within.range(at(Lot::MIN, Group::FIRST)..at(self.first, Group::FIRST)));
        for (_, _, _, group) in fullest {
            self.fullest_within(*group, left, into);
            if *left == 0 {
                break;
            }
        }
    }

    /// Who holds most, if that is more than the newcomer would hold with one more. What both belong to does not matter between
    /// them; a newcomer without groups holds nothing else.
    pub fn gives_way_to(&self, newcomer: Option<Groups>) -> Option<Groups> {
        self.gives_way_for(newcomer, 1)
    }

    /// As [`Self::gives_way_to`], to a newcomer that would hold so much more.
    pub fn gives_way_for(&self, newcomer: Option<Groups>, many: usize) -> Option<Groups> {
        self.hold_most().into_iter().rev().find(|most| self.is_more_than(*most, newcomer, many))
    }

    /// Who holds most within a group that a newcomer is in, if that is more than the newcomer would hold with one more.
    pub fn gives_way_within(&self, around: Group, newcomer: Groups) -> Option<Groups> {
        let (mut left, mut most) = (LOOKED_AT, Vec::new());
        self.fullest_within(around, &mut left, &mut most);
        most.into_iter().find(|most| self.is_more_than(*most, Some(newcomer), 1))
    }

    /// Whether one that holds `most` gives way to a newcomer that would hold so much more, as in [`Self::gives_way_for`].
    pub fn is_more_than(&self, most: Groups, newcomer: Option<Groups>, many: usize) -> bool {
        let apart = |group: &Group| !newcomer.is_some_and(|newcomer| newcomer.0.contains(group));
        let theirs = most.0.into_iter().filter(apart).map(|group| group.weight(self.of(group))).max();
        let own = newcomer.map_or(Some(most.address().weight(many)), |newcomer| {
            let apart = newcomer.0.into_iter().filter(|group| !most.0.contains(group));
            apart.map(|group| group.weight(self.of(group).saturating_add(many))).max()
        });
        own.zip(theirs).is_some_and(|(own, theirs)| own < theirs)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn groups(text: &str) -> Groups {
        Groups::of(text.parse().unwrap())
    }

    /// The address, or first address of the /64, of whoever gives way to one at `text`.
    fn gives_way_to(shares: &Shares, text: &str) -> Option<String> {
        shares.gives_way_to(Some(groups(text))).map(|groups| groups.address().first.to_string())
    }

    fn holding(many: &[(&str, usize)]) -> Shares {
        let mut shares = Shares::default();
        for (text, count) in many {
            (0..*count).for_each(|_| shares.add(groups(text)));
        }
        shares
    }

    #[test]
    fn whoever_holds_most_gives_way_to_who_holds_less_and_to_nobody_else() {
        let shares = holding(&[("1.1.1.1", 5), ("2.2.2.2", 3), ("3.3.3.3", 4)]);
        for less in ["4.4.4.4", "2.2.2.2"] {
            assert_eq!(gives_way_to(&shares, less).unwrap(), "1.1.1.1");
        }
        assert_eq!(gives_way_to(&shares, "3.3.3.3"), None, "with one more it would hold as much");
        assert_eq!(gives_way_to(&shares, "1.1.1.1"), None);
        assert_eq!(shares.gives_way_to(None), Some(groups("1.1.1.1")), "to one who holds nothing");
        assert_eq!((gives_way_to(&Shares::default(), "1.1.1.1"), Shares::default().gives_way_to(None)), (None, None));
        assert_eq!(holding(&[("1.1.1.1", 1), ("3.1.1.1", 1)]).gives_way_to(None), None);
        assert_eq!(gives_way_to(&holding(&[("1.1.1.1", 1)]), "2.2.2.2"), None, "one is nobody's too many");
    }

    #[test]
    fn whoever_holds_most_around_a_newcomer_gives_way_to_it() {
        let shares = holding(&[("1.1.1.1", 5), ("1.1.1.2", 3), ("1.1.2.1", 4), ("9.9.9.9", 90)]);
        let within = |group: fn(Groups) -> Group, text: &str| {
            let found = shares.gives_way_within(group(groups(text)), groups(text));
            found.map(|groups| groups.address().first.to_string())
        };
        assert_eq!(within(Groups::network, "1.1.1.3").unwrap(), "1.1.1.1");
        assert_eq!(within(Groups::network, "1.1.1.1"), None, "not to itself");
        assert_eq!(within(Groups::wide, "1.1.2.2").unwrap(), "1.1.1.1");
        assert_eq!(within(Groups::network, "1.1.2.2").unwrap(), "1.1.2.1");
        assert_eq!(within(Groups::network, "2.2.2.2"), None);
    }

    #[test]
    fn many_addresses_of_a_network_and_many_networks_of_a_wide_one_count_together() {
        let mut shares = holding(&[("2001:db8:ffff::1", 9), ("9.9.9.9", 9)]);
        (0..50).for_each(|n| shares.add(groups(&format!("2001:db9:1:{n}::1"))));
        shares.add(groups("2001:db9:1:7::2"));
        assert_eq!(gives_way_to(&shares, "8.8.8.8").unwrap(), "2001:db9:1:7::", "the one in it that holds most");
        assert_eq!(gives_way_to(&shares, "2001:db9:1:100::1").unwrap(), "2001:db9:1:7::", "to its neighbour as well");
        let mut spread = holding(&[("2001:db8:ffff::1", 9), ("9.9.9.9", 9)]);
        (0..200).for_each(|n| spread.add(groups(&format!("2001:db9:{n}::1"))));
        assert!(gives_way_to(&spread, "2001:db8:ffff::1").unwrap().starts_with("2001:db9:"));
        assert_eq!(gives_way_to(&spread, "2001:db9:999::1"), None, "its own networks hold as much as each other");
    }

    #[test]
    fn households_of_one_provider_do_not_pay_for_each_other_while_one_holds_more() {
        let mut shares = holding(&[("1.1.1.1", 100)]);
        (0..300).for_each(|n| shares.add(groups(&format!("2001:db9:{n}::1"))));
        assert_eq!(gives_way_to(&shares, "2001:db9:999::1").unwrap(), "1.1.1.1");
    }

    #[test]
    fn those_that_hold_as_much_are_as_heavy_wherever_they_are() {
        let shares = holding(&[("1.1.1.1", 3), ("1.1.2.1", 3), ("9.9.9.9", 3), ("60.0.0.1", 1)]);
        let heaviness = |text| shares.heaviness(groups(text));
        assert_eq!(heaviness("1.1.1.1"), heaviness("9.9.9.9"));
        assert_eq!(heaviness("1.1.1.1"), shares.heaviness(shares.holds_most().unwrap()));
        assert!(heaviness("9.9.9.9") > heaviness("60.0.0.1") && heaviness("60.0.0.1") > heaviness("60.0.0.2"));
        let mut spread = holding(&[("60.0.0.1", 1)]);
        (0..100).for_each(|n| spread.add(groups(&format!("20.0.{n}.1"))));
        spread.add(groups("20.0.7.2"));
        let most = spread.holds_most().unwrap();
        assert_eq!(most.network(), groups("20.0.7.1").network());
        assert!((0..100).all(|n| spread.heaviness(groups(&format!("20.0.{n}.1"))) <= spread.heaviness(most)));
        assert!(spread.heaviness(groups("60.0.0.1")) < spread.heaviness(groups("20.0.1.1")));
    }

    #[test]
    fn nobody_is_heavier_than_who_holds_most_also_where_several_groups_are_heaviest() {
        let mut tie = holding(&[("9.9.9.9", 6)]);
        (0..24).for_each(|n| tie.add(groups(&format!("1.1.1.{n}"))));
        assert_eq!(tie.holds_most().unwrap().network(), groups("1.1.1.1").network());
        let mut number: u32 = 1;
        let mut below = |end: u32| {
            number = number.wrapping_mul(1_103_515_245).wrapping_add(12_345);
            (number >> 16) % end
        };
        for _ in 0..500 {
            let mut shares = Shares::default();
            let holders: Vec<Groups> =
                (0..40).map(|_| groups(&format!("{}.0.{}.{}", 1 + below(3), below(4), below(4)))).collect();
            holders.iter().for_each(|groups| shares.add(*groups));
            let most = holders.iter().map(|groups| shares.heaviness(*groups)).max();
            assert_eq!(shares.holds_most().map(|groups| shares.heaviness(groups)), most);
        }
    }

    #[test]
    fn a_group_of_many_hides_none_that_is_as_heavy_and_holds_more_in_fewer() {
        let mut shares = Shares::default();
        (0..300).for_each(|n| shares.add(groups(&format!("2001:db9:1:{n:x}::1"))));
        (0..100).for_each(|n| shares.add_many(groups(&format!("2001:dba:1:{n:x}::1")), 3));
        for _ in 0..20 {
            shares.add(groups("250.0.0.1"));
            shares.remove(groups("250.0.0.1"));
            assert_eq!(shares.of(shares.holds_most().unwrap().address()), 3);
        }
    }

    #[test]
    fn where_many_hold_as_much_some_are_looked_at_and_others_each_time() {
        let apart = |n: u32| format!("{}.{}.0.1", 1 + n % 200, n / 200);
        let of_one: fn(u32) -> String = |n| format!("2001:db9:{}:{}::1", n / 20, n % 20);
        let in_one: fn(u32) -> String = |n| format!("2001:db9:1:{n:x}::1");
        for address in [apart, of_one, in_one] {
            let mut shares = Shares::default();
            (0..600).for_each(|n| shares.add_many(groups(&address(n)), 3));
            let mut seen = BTreeSet::new();
            for _ in 0..100 {
                shares.add(groups("250.0.0.1"));
                let most = shares.hold_most();
                assert!(!most.is_empty() && most.len() <= LOOKED_AT, "{}", most.len());
                assert!(most.iter().all(|groups| shares.of(groups.address()) == 3));
                seen.extend(most);
                shares.remove(groups("250.0.0.1"));
            }
            assert_eq!(seen.len(), 600);
        }
    }

    #[test]
    fn what_is_given_back_is_forgotten_and_loners_have_no_neighbours() {
        let mut shares = holding(&[("127.0.0.1", 1)]);
        let alone = Groups::alone("127.0.0.2".parse().unwrap());
        shares.add(alone);
        shares.remove(groups("127.0.0.1"));
        assert_eq!((shares.of(alone.address()), shares.of(groups("127.0.0.1").network())), (1, 0));
        shares.remove(alone);
        shares.remove(alone);
        assert!(shares.is_empty() && shares.by_weight.is_empty() && shares.within.is_empty());
    }
}
