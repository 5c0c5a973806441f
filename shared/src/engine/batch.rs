//! What becomes of a batch's calls, one after the other, the same in a tab, in a native process and in the simulator: a batch
//! ends at its first call without an output, and with more output than can be delivered.

use super::{CallOutcome, Trap};
use crate::wire::MOST_BLOB;

/// Says which call of a batch comes next, and takes the outcomes in as they come.
#[derive(Clone, Debug)]
pub struct Gathering {
    /// Calls without an outcome yet.
    left: usize,
    output_bytes: u64,
    has_failed: bool,
}

impl Gathering {
    /// Of a batch of so many calls.
    pub fn new(calls: usize) -> Self {
        Self { left: calls, output_bytes: 0, has_failed: false }
    }

    /// Which of the batch's calls comes next; `None` if no further one belongs to it.
    pub fn next_of<'c, C>(&self, calls: &'c [C]) -> Option<&'c C> {
        let place = calls.len().checked_sub(self.left).filter(|_| !self.is_over())?;
        calls.get(place)
    }

    /// Takes the next outcome; `None` if the batch was over before it. What makes the outputs together larger than
    /// [`MOST_BLOB`] could not be delivered: it counts as a failure of the host, and a smaller batch can do it.
    pub fn take(&mut self, mut outcome: CallOutcome) -> Option<CallOutcome> {
        if self.is_over() {
            return None;
        }
        self.left -= 1;
        let bytes = outcome.output.as_ref().map_or(0, |output| output.len() as u64);
        self.output_bytes = self.output_bytes.saturating_add(bytes);
        if self.output_bytes > MOST_BLOB {
            outcome.output = Err(Trap::HostFailed);
        }
        self.has_failed = outcome.output.is_err();
        Some(outcome)
    }

    /// Whether no further call belongs to the batch.
    pub fn is_over(&self) -> bool {
        self.has_failed || self.left == 0
    }

    /// Whether the batch ended with a call without an output, or with more than can be delivered.
    pub fn has_failed(&self) -> bool {
        self.has_failed
    }
}

/// Runs a batch's calls by `one` and gives their outcomes.
pub fn run(calls: &[Vec<u8>], mut one: impl FnMut(&[u8]) -> CallOutcome) -> Vec<CallOutcome> {
    let mut gathering = Gathering::new(calls.len());
    let mut outcomes = Vec::with_capacity(calls.len());
    while let Some(call) = gathering.next_of(calls) {
        outcomes.extend(gathering.take(one(call)));
    }
    outcomes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Gas;

    fn outcome(output: Result<Vec<u8>, Trap>) -> CallOutcome {
        CallOutcome { output, gas: Gas(1) }
    }

    #[test]
    fn a_batch_ends_at_its_first_trap() {
        let calls = vec![vec![1], vec![0], vec![2]];
        let mut begun = 0;
        let outcomes = run(&calls, |call| {
            begun += 1;
            outcome(if call == [0] { Err(Trap::Trapped) } else { Ok(call.to_vec()) })
        });
        assert_eq!(outcomes, [outcome(Ok(vec![1])), outcome(Err(Trap::Trapped))]);
        assert_eq!(begun, 2);
    }

    #[test]
    fn outputs_that_cannot_be_delivered_together_end_a_batch() {
        let half = usize::try_from(MOST_BLOB / 2).unwrap_or(usize::MAX);
        let calls = vec![vec![]; 4];
        let outcomes = run(&calls, |_| outcome(Ok(vec![0; half])));
        assert_eq!(outcomes.iter().map(|outcome| outcome.output.is_ok()).collect::<Vec<_>>(), [true, true, false]);
        assert_eq!(outcomes[2], outcome(Err(Trap::HostFailed)));
    }

    #[test]
    fn nothing_is_taken_beyond_the_calls() {
        let mut gathering = Gathering::new(1);
        assert_eq!(gathering.next_of(&[7]), Some(&7));
        assert!(gathering.take(outcome(Ok(vec![]))).is_some());
        assert_eq!((gathering.next_of(&[7]), gathering.has_failed()), (None, false));
        assert!(gathering.take(outcome(Ok(vec![]))).is_none());
        assert!(Gathering::new(0).is_over());
    }
}
