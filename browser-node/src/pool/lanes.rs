//! Which runs workers have, for whom, and how many more there is room for.

/// For whom a batch runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// The node: as many at once as cores are lent.
    Node,
    /// The person at this page, who waits for a dry run: one more worker.
    Person,
}

struct Running {
    run: u64,
    lane: Lane,
    /// Whether it is set aside.
    rests: bool,
}

/// The runs that workers have.
pub(super) struct Lanes {
    cores: usize,
    running: Vec<Running>,
}

impl Lanes {
    /// None yet, and no core lent.
    pub(super) fn new() -> Self {
        Self { cores: 0, running: Vec::new() }
    }

    /// So many cores are lent from now on.
    pub(super) fn set_cores(&mut self, cores: usize) {
        self.cores = cores;
    }

    /// How many cores are lent.
    pub(super) fn cores(&self) -> usize {
        self.cores
    }

    /// A worker has got a run.
    pub(super) fn begin(&mut self, run: u64, lane: Lane) {
        self.running.push(Running { run, lane, rests: false });
    }

    /// A run ended.
    pub(super) fn end(&mut self, run: u64) {
        self.running.retain(|running| running.run != run);
    }

    /// A run is set aside (`rests`) or goes on.
    pub(super) fn rest(&mut self, run: u64, rests: bool) {
        self.running.iter_mut().filter(|running| running.run == run).for_each(|running| running.rests = rests);
    }

    /// Whether a worker has `run`.
    pub(super) fn has(&self, run: u64) -> bool {
        self.running.iter().any(|running| running.run == run)
    }

    /// Whether no worker has anything.
    pub(super) fn is_empty(&self) -> bool {
        self.running.is_empty()
    }

    /// How many runs are set aside, whose workers do nothing.
    pub(super) fn resting(&self) -> usize {
        self.running.iter().filter(|running| running.rests).count()
    }

    /// How many more runs may begin now. What is set aside takes no room.
    pub(super) fn room(&self, lane: Lane) -> usize {
        let most = match lane {
            Lane::Node => self.cores.max(1),
            Lane::Person => 1,
        };
        let at_work = self.running.iter().filter(|running| running.lane == lane && !running.rests).count();
        most.saturating_sub(at_work)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lanes(cores: usize, runs: impl IntoIterator<Item = u64>) -> Lanes {
        let mut lanes = Lanes::new();
        lanes.set_cores(cores);
        runs.into_iter().for_each(|run| lanes.begin(run, Lane::Node));
        lanes
    }

    #[test]
    fn the_node_has_as_many_runs_as_cores_and_the_person_one_more() {
        let mut lanes = lanes(2, [1, 2]);
        assert_eq!((lanes.room(Lane::Node), lanes.room(Lane::Person)), (0, 1));
        lanes.begin(3, Lane::Person);
        assert_eq!((lanes.room(Lane::Node), lanes.room(Lane::Person)), (0, 0));
        lanes.end(1);
        assert_eq!((lanes.room(Lane::Node), lanes.room(Lane::Person)), (1, 0));
        assert!(lanes.has(2) && !lanes.has(1));
    }

    #[test]
    fn what_is_set_aside_leaves_its_room_to_another_until_it_goes_on() {
        let mut lanes = lanes(1, [1]);
        lanes.rest(1, true);
        assert_eq!((lanes.room(Lane::Node), lanes.resting()), (1, 1));
        assert!(lanes.has(1) && !lanes.is_empty());
        lanes.begin(2, Lane::Node);
        assert_eq!(lanes.room(Lane::Node), 0);
        lanes.end(2);
        lanes.rest(1, false);
        assert_eq!((lanes.room(Lane::Node), lanes.resting()), (0, 0));
    }

    #[test]
    fn going_on_beside_another_leaves_no_room_and_the_end_of_both_leaves_no_more_than_there_was() {
        let mut lanes = lanes(1, [1]);
        lanes.rest(1, true);
        lanes.begin(2, Lane::Node);
        lanes.rest(1, false);
        assert_eq!(lanes.room(Lane::Node), 0);
        lanes.end(2);
        assert_eq!(lanes.room(Lane::Node), 0);
        lanes.end(1);
        assert_eq!(lanes.room(Lane::Node), 1);
    }

    #[test]
    fn being_told_twice_or_of_a_run_that_is_gone_changes_nothing() {
        let mut lanes = lanes(1, [1]);
        lanes.rest(1, true);
        lanes.rest(1, true);
        lanes.rest(7, true);
        assert_eq!((lanes.room(Lane::Node), lanes.resting()), (1, 1));
    }
}
