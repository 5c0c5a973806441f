//! Worlds that more than one test looks at.

use p2pnet_shared::{id::Hash, units::Millis};

use crate::{
    actor::Actor,
    plan,
    world::{Weather, World},
};

/// A small world with a bit of everything, to its end: its trace.
pub fn mixed(seed: u64) -> Hash {
    let mut world = World::new(seed);
    world.set_weather(Weather { link_life: Some(Millis(20_000)), failed_dials: 10, ..Weather::default() });
    let _ = world.add(Actor::Seed);
    let me = world.add(Actor::Requester);
    for cores in 1..4 {
        world.add(Actor::Donor { cores, units_per_second: 20_000 });
    }
    world.add(Actor::Fickle { cores: 2, units_per_second: 50_000, stays: Millis(3_000), away: Millis(2_000) });
    world.add(Actor::Broken { cores: 1 });
    world.add(Actor::Hostile);
    let first = world.submit(me, plan::sum(1_000_000));
    let second = world.submit(me, plan::squares(2_000, 1));
    let over = world.run_until(Millis(300_000), |world| world.is_over(me, first) && world.is_over(me, second));
    assert!(over, "both jobs end");
    assert_eq!(world.result(me, first), plan::expected_sum(1_000_000));
    assert_eq!(world.result(me, second), plan::expected_squares(2_000));
    world.trace()
}
