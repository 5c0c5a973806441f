//! What goes wrong when a test wants it to: workers that hang, connections that break or die.

use p2pnet_shared::units::Millis;

use super::{Event, Hung, World, pair};

impl World {
    /// Lets the workers of a machine hang from now on: its node stays connected, offers, begins all that it is given, and
    /// computes nothing.
    pub fn hang(&mut self, machine: usize, how: Hung) {
        self.machines[machine].hung = Some(how);
        let Self { machines, events, .. } = self;
        for key in machines[machine].running.values_mut().filter_map(Option::take) {
            events.remove(&key);
        }
    }

    /// Breaks every connection of a machine; both ends learn of it.
    pub fn cut_off(&mut self, machine: usize) {
        let links: Vec<(usize, usize)> =
            self.links.keys().filter(|(a, b)| *a == machine || *b == machine).copied().collect();
        for (a, b) in links {
            self.unlink(a, b);
        }
    }

    /// Lets nothing arrive any more over the connection of two machines; both ends learn of it so much later.
    pub fn goes_dead(&mut self, a: usize, b: usize, noticed: Millis) {
        let (a, b) = pair(a, b);
        let link = self.links.get_mut(&(a, b)).expect("the machines are connected");
        link.dead = true;
        let (at, epoch) = (self.now + noticed, link.epoch);
        self.schedule(at, Event::Break { a, b, epoch });
    }
}
