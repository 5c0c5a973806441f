//! The live map of a job: its units cut into a bounded number of cells, each with a state and the node behind it.

use p2pnet_shared::{
    api::{AttemptView, JobStatus},
    id::NodeId,
    job::{AttemptState, JobState},
    units::Span,
};

/// However many units a job has, the map has at most so many cells.
pub const MOST_CELLS: u64 = 1_200;

/// What a cell shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CellState {
    /// Nobody has it.
    Waiting,
    /// Sent, not yet started.
    Sent,
    /// At work.
    Running,
    /// Taken into the result.
    Done,
    /// Failed or lost; it will be tried again.
    Again,
}

/// One square of the map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cell {
    pub state: CellState,
    /// Who has it or did it; unknown for what was done before this page looked.
    pub node: Option<NodeId>,
}

const EMPTY: Cell = Cell { state: CellState::Waiting, node: None };

/// The whole map. A job's status names its newest attempts only, so the map remembers what it has seen done.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskMap {
    units: u64,
    done: Vec<Option<Cell>>,
    cells: Vec<Cell>,
}

impl TaskMap {
    /// A map of a job with so many units.
    pub fn new(units: u64) -> Self {
        let units = units.max(1);
        let count = usize::try_from(units.min(MOST_CELLS)).unwrap_or(1);
        Self { units, done: vec![None; count], cells: vec![EMPTY; count] }
    }

    /// The squares, in the order of the units.
    pub fn cells(&self) -> &[Cell] {
        &self.cells
    }

    /// The same map with what a newer status says.
    #[must_use]
    pub fn updated(mut self, status: &JobStatus) -> Self {
        if self.units != status.summary.progress.units_total.max(1) {
            self = Self::new(status.summary.progress.units_total);
        }
        self.remember_done(status);
        self.cells = self.done.iter().map(|done| done.unwrap_or(EMPTY)).collect();
        let over = status.summary.state.is_final();
        for attempt in &status.attempts {
            self.draw(attempt, over);
        }
        if status.summary.state == JobState::Completed {
            for cell in &mut self.cells {
                cell.state = CellState::Done;
            }
        }
        self
    }

    /// How many percent are done, running or sent, to be tried again, waiting.
    pub fn shares(&self) -> [u32; 4] {
        let mut counts = [0u32; 4];
        for cell in &self.cells {
            let index = match cell.state {
                CellState::Done => 0,
                CellState::Sent | CellState::Running => 1,
                CellState::Again => 2,
                CellState::Waiting => 3,
            };
            counts[index] += 1;
        }
        let all = u32::try_from(self.cells.len()).unwrap_or(u32::MAX).max(1);
        counts.map(|count| (count * 100 + all / 2) / all)
    }

    fn remember_done(&mut self, status: &JobStatus) {
        let forgotten = status.attempts_total > u64::try_from(status.attempts.len()).unwrap_or(u64::MAX);
        if let (true, Some(first)) = (forgotten, status.attempts.iter().map(|attempt| attempt.span.start).min()) {
            // Spans go out in order, so what lies before the oldest attempt still listed is done.
            for index in self.covered(Span { start: 0, end: first }) {
                self.done[index].get_or_insert(Cell { state: CellState::Done, node: None });
            }
        }
        for attempt in status.attempts.iter().filter(|attempt| attempt.state == AttemptState::Accepted) {
            for index in self.covered(attempt.span) {
                self.done[index] = Some(Cell { state: CellState::Done, node: Some(attempt.node) });
            }
        }
    }

    fn draw(&mut self, attempt: &AttemptView, over: bool) {
        let state = match attempt.state {
            AttemptState::Assigned | AttemptState::Fetching => CellState::Sent,
            AttemptState::Running | AttemptState::Resting | AttemptState::Delivered => CellState::Running,
            AttemptState::Rejected | AttemptState::Lost => CellState::Again,
            AttemptState::Accepted => return,
        };
        for index in self.covered(attempt.span) {
            let cell = &mut self.cells[index];
            let shown = match (cell.state, state) {
                // A lost copy of work that is done or under way elsewhere is no news; nor is work that was stopped.
                (CellState::Done | CellState::Running | CellState::Sent, CellState::Again) => continue,
                (CellState::Done, CellState::Sent | CellState::Running) if over => continue,
                (CellState::Waiting, CellState::Sent | CellState::Running) if over => CellState::Again,
                (
                    CellState::Waiting | CellState::Sent | CellState::Running | CellState::Done | CellState::Again,
                    new,
                ) => new,
            };
            *cell = Cell { state: shown, node: Some(attempt.node) };
        }
    }

    /// The cells whose middle lies in the span, and at least one.
    fn covered(&self, span: Span) -> core::ops::Range<usize> {
        let cells = u128::try_from(self.cells.len()).unwrap_or(1);
        let units = u128::from(self.units);
        let scaled = |unit: u64| usize::try_from((u128::from(unit) * cells + units / 2) / units).unwrap_or(usize::MAX);
        if span.is_empty() {
            return 0..0;
        }
        let start = scaled(span.start).min(self.cells.len().saturating_sub(1));
        let end = scaled(span.end).clamp(start + 1, self.cells.len());
        start..end
    }
}

/// How many columns, and how wide each cell is, for so many cells in a box.
pub fn grid(cells: usize, width: f64, height: f64) -> (usize, f64) {
    let count = crate::format::to_float(u64::try_from(cells.max(1)).unwrap_or(u64::MAX));
    let size = (width * height / count).sqrt().floor().clamp(6.0, 30.0);
    // A positive number of columns.
    let columns = (width / size).floor().max(1.0) as usize;
    (columns, size)
}

#[cfg(test)]
#[expect(clippy::unwrap_used)]
mod tests {
    use p2pnet_shared::{
        api::{JobSummary, Progress},
        engine::Prepared,
        id::{AttemptId, JobId},
        job::{Elapsed, Policy, Requirements},
        units::{Gas, Moment},
    };

    use super::*;

    fn attempt(id: u64, start: u64, end: u64, state: AttemptState, node: u8) -> AttemptView {
        AttemptView {
            id: AttemptId(id),
            span: Span { start, end },
            tasks: 1,
            node: NodeId([node; 32]),
            state,
            engine: None,
            gas: Gas(0),
            prepared: Prepared::default(),
            assigned_at: Moment(0),
            ended_at: None,
            error: None,
        }
    }

    fn status(units: u64, state: JobState, attempts: Vec<AttemptView>) -> JobStatus {
        JobStatus {
            summary: JobSummary {
                id: JobId([0; 16]),
                holder: p2pnet_shared::id::Holder::LOCAL,
                name: None,
                labels: std::collections::BTreeMap::new(),
                kind: "map".into(),
                computes: None,
                state,
                waiting: None,
                error: None,
                failed_parts: 0,
                progress: Progress { units_total: units, ..Progress::default() },
                created_at: Moment(0),
                finished_at: None,
            },
            requirements: Requirements::default(),
            policy: Policy::default(),
            elapsed: Elapsed::default(),
            source: String::new(),
            attempts_total: u64::try_from(attempts.len()).unwrap(),
            attempts,
            nodes: Vec::new(),
            partial: None,
        }
    }

    fn states(map: &TaskMap) -> Vec<CellState> {
        map.cells().iter().map(|cell| cell.state).collect()
    }

    #[test]
    fn few_units_have_a_cell_each_and_many_share() {
        assert_eq!(TaskMap::new(3).cells().len(), 3);
        assert_eq!(TaskMap::new(0).cells().len(), 1);
        assert_eq!(TaskMap::new(u64::MAX).cells().len(), 1200);
    }

    #[test]
    fn an_attempt_colours_its_units_and_nothing_else() {
        let seen = status(
            4,
            JobState::Running,
            vec![
                attempt(1, 0, 1, AttemptState::Accepted, 1),
                attempt(2, 1, 2, AttemptState::Running, 2),
                attempt(3, 2, 3, AttemptState::Lost, 3),
            ],
        );
        let map = TaskMap::new(4).updated(&seen);
        assert_eq!(states(&map), [CellState::Done, CellState::Running, CellState::Again, CellState::Waiting]);
        assert_eq!(map.cells()[1].node, Some(NodeId([2; 32])));
        assert_eq!(map.shares(), [25, 25, 25, 25]);
    }

    #[test]
    fn what_was_done_stays_done_when_its_attempt_is_no_longer_listed() {
        let first = status(4, JobState::Running, vec![attempt(1, 2, 3, AttemptState::Accepted, 1)]);
        let mut later = status(4, JobState::Running, vec![attempt(9, 3, 4, AttemptState::Running, 1)]);
        later.attempts_total = 1;
        let map = TaskMap::new(4).updated(&first).updated(&later);
        assert_eq!(map.cells()[2].state, CellState::Done);
    }

    #[test]
    fn a_lost_copy_does_not_undo_finished_work() {
        let seen = status(
            1,
            JobState::Running,
            vec![attempt(1, 0, 1, AttemptState::Accepted, 1), attempt(2, 0, 1, AttemptState::Lost, 2)],
        );
        let map = TaskMap::new(1).updated(&seen);
        assert_eq!(map.cells()[0], Cell { state: CellState::Done, node: Some(NodeId([1; 32])) });
    }

    #[test]
    fn what_lies_before_the_oldest_listed_attempt_is_done() {
        let mut seen = status(4, JobState::Running, vec![attempt(900, 2, 3, AttemptState::Running, 1)]);
        seen.attempts_total = 901;
        let map = TaskMap::new(4).updated(&seen);
        assert_eq!(states(&map)[..2], [CellState::Done, CellState::Done]);
    }

    #[test]
    fn a_span_of_the_largest_job_stays_inside_the_map() {
        let seen =
            status(u64::MAX, JobState::Running, vec![attempt(1, u64::MAX - 1, u64::MAX, AttemptState::Running, 1)]);
        let map = TaskMap::new(u64::MAX).updated(&seen);
        assert_eq!(map.cells()[1199].state, CellState::Running);
    }

    #[test]
    fn a_completed_job_is_done_everywhere() {
        let map = TaskMap::new(5).updated(&status(5, JobState::Completed, Vec::new()));
        assert_eq!(map.shares(), [100, 0, 0, 0]);
    }

    #[test]
    fn the_grid_fills_the_width() {
        let (columns, size) = grid(1200, 700.0, 240.0);
        assert!(size >= 6.0 && crate::format::to_float(u64::try_from(columns).unwrap()) * size <= 700.0);
        assert_eq!(grid(1, 10.0, 240.0), (1, 30.0));
    }
}
