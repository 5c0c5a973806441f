//! Whether what a node delivered is right: first by what the job's kind can check alone, then by what other nodes say.

use super::{batch::Failure, running::Running};
use crate::{
    engine::{BatchReport, Trap},
    id::NodeId,
    job::{Agreement, CallShape, Outputs},
    refusal::{Code, Refusal},
    units::{Gas, Span},
    wire::MOST_OUTPUT,
};

/// What a report holds, by itself.
pub(super) enum Checked {
    /// An output of each call, none of which is wrong for all that the kind can see.
    Whole(Outputs),
    /// The first calls are right, then one failed.
    Broken(Broken),
}

/// A report whose calls failed from one on.
pub(super) struct Broken {
    /// Outputs before the failure.
    pub(super) before: Outputs,
    /// What failed.
    pub(super) failure: Failure,
    /// It ran out of something that a shorter batch may not run out of.
    pub(super) too_much: bool,
}

/// What a node says came of a batch.
pub(super) struct Claim {
    /// Who says so.
    pub(super) node: NodeId,
    /// What each call put out.
    pub(super) outputs: Outputs,
    /// What it took.
    pub(super) gas: Gas,
}

/// What is done with a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// It is taken into the result.
    Accept,
    /// It is kept until others that have the batch have said what came of it.
    Wait,
    /// It is kept, and one more node is to compute the batch.
    Replicate,
    /// This node says otherwise than an earlier one did: both claims are kept, and one more node is to compute the batch.
    Dispute(NodeId),
}

/// How many nodes must say the same of a batch before that is believed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Verification {
    pub(super) agreeing: usize,
}

impl Default for Verification {
    /// One is believed: what comes of a batch is checked by its kind alone.
    fn default() -> Self {
        Self { agreeing: 1 }
    }
}

impl Verification {
    /// Whether what one node says is enough.
    pub(super) fn is_alone_believed(self) -> bool {
        self.agreeing <= 1
    }

    /// What is done with a claim, after others of the same batch. `out`: how many more nodes have the batch now.
    pub(super) fn decide(self, agreement: Agreement, others: &[Claim], claim: &Claim, out: usize) -> Decision {
        let agrees = |other: &&Claim| agree(agreement, &other.outputs, &claim.outputs);
        let agreeing = 1 + others.iter().filter(agrees).count();
        if agreeing >= self.agreeing {
            return Decision::Accept;
        }
        if let Some(other) = others.iter().find(|other| !agrees(other)) {
            return Decision::Dispute(other.node);
        }
        if agreeing + out >= self.agreeing { Decision::Wait } else { Decision::Replicate }
    }
}

/// What is told of an attempt whose outputs are others than those of another node.
pub(super) fn contradiction(other: NodeId) -> Refusal {
    Refusal::new(Code::MergeFailed, format!("its outputs differ from those of node {other}"), "")
}

/// Whether two nodes put out the same for the same batch.
pub(super) fn agree(agreement: Agreement, one: &[Vec<u8>], other: &[Vec<u8>]) -> bool {
    one.len() == other.len() && one.iter().zip(other).all(|(one, other)| agreement.holds(one, other))
}

impl Running {
    /// What is told of a report that came after another node's was taken, if it says otherwise.
    pub(super) fn contradicts(&self, span: Span, report: &BatchReport) -> Option<Refusal> {
        let taken = self.gathered.outputs().get(&span)?;
        let agreement = self.stages.of(span.start)?.stage().agreement;
        let outputs: Option<Vec<&Vec<u8>>> =
            report.outcomes.iter().map(|outcome| outcome.output.as_ref().ok()).collect();
        let outputs = outputs?;
        let is_same =
            outputs.len() == taken.len() && outputs.iter().zip(taken).all(|(one, other)| agreement.holds(one, other));
        let message = "its outputs differ from those of the node whose were taken";
        (!is_same).then(|| Refusal::new(Code::MergeFailed, message, ""))
    }

    /// Checks what a node delivered for a span of `calls` calls.
    pub(super) fn check(&self, node: NodeId, span: Span, calls: u64, report: BatchReport) -> Checked {
        let mut before: Outputs = Vec::with_capacity(report.outcomes.len());
        let shape = self.shape_of(span);
        for (call, outcome) in (0..calls).zip(report.outcomes) {
            let covers = call_span(shape, span, call);
            let (failure, too_much) = match outcome.output {
                Ok(output) => match self.plan.check(covers, &output) {
                    Ok(()) => {
                        before.push(output);
                        continue;
                    }
                    // A kernel's own failure comes with its place; an output of no kernel has none.
                    Err(refusal) => {
                        let placed = refusal.code != Code::MergeFailed;
                        (Failure { placed, ..Failure::of_batch(node, refusal) }, false)
                    }
                },
                Err(trap) => {
                    let (refusal, deterministic) = (explain_trap(trap, covers), trap.is_deterministic());
                    let placed = covers.len() == 1;
                    let failure = Failure { deterministic, placed, ..Failure::of_node(node, refusal) };
                    (failure, is_too_much(trap, shape, span, !before.is_empty()))
                }
            };
            return Checked::Broken(Broken { before, failure, too_much });
        }
        if (before.len() as u64) < calls {
            let refusal = Refusal::new(Code::Internal, "the node delivered less than it was asked", "");
            return Checked::Broken(Broken { before, failure: Failure::of_node(node, refusal), too_much: false });
        }
        Checked::Whole(before)
    }
}

/// What one call of a batch covers.
pub(super) fn call_span(shape: CallShape, span: Span, call: u64) -> Span {
    match shape {
        CallShape::WholeSpan => span,
        CallShape::EachUnit => Span { start: span.start + call, end: span.start + call + 1 },
    }
}

/// Whether a shorter batch may not run out of what this one ran out of. `behind`: calls before that one ended well.
fn is_too_much(trap: Trap, shape: CallShape, span: Span, behind: bool) -> bool {
    match trap {
        Trap::OutOfGas | Trap::OutOfMemory => shape == CallShape::WholeSpan && span.len() > 1,
        Trap::TimedOut => span.len() > 1,
        // It may be that the outputs together were too much to deliver.
        Trap::HostFailed => behind,
        Trap::Trapped | Trap::StackOverflow | Trap::BrokenContract | Trap::OutputTooLarge | Trap::Cancelled => false,
    }
}

fn explain_trap(trap: Trap, span: Span) -> Refusal {
    let place = if span.len() == 1 { format!(" at unit {}", span.start) } else { String::new() };
    let (what, hint) = match trap {
        Trap::Trapped => ("the kernel trapped", "check the kernel for unreachable code and out-of-bounds access"),
        Trap::OutOfGas => ("the kernel ran out of gas", "look for a loop that does not end"),
        Trap::OutOfMemory => ("the kernel asked for more memory than a task may use", "raise requirements.ram_gb"),
        Trap::StackOverflow => ("the kernel recursed too deep", "use a loop, or recurse less deep"),
        Trap::BrokenContract => (
            "the kernel broke the contract of alloc and run",
            "`alloc` must give room for the input, and `run` an output that lies in memory: see docs/kernels.md",
        ),
        Trap::OutputTooLarge => {
            let message = format!("a call put out more than {} MiB{place}", MOST_OUTPUT >> 20);
            return Refusal::new(trap.code(), message, "put less out, or cut the input into smaller parts");
        }
        Trap::TimedOut => ("the kernel ran over its time", "raise requirements.timeout_seconds, or make tasks smaller"),
        Trap::Cancelled => ("the node stopped the task", ""),
        Trap::HostFailed => (
            "the node could not run the task",
            "the log of the node that it ran on says why; submit the job again, and report it if that ends in the same way",
        ),
    };
    Refusal::new(trap.code(), format!("{what}{place}"), hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(node: u8, output: &[u8]) -> Claim {
        Claim { node: NodeId([node; 32]), outputs: vec![output.to_vec()], gas: Gas(1) }
    }

    #[test]
    fn one_claim_is_enough_where_one_is_asked_for() {
        let one = Verification::default();
        assert_eq!(one.decide(Agreement::Exact, &[], &claim(1, b"a"), 0), Decision::Accept);
        assert_eq!(one.decide(Agreement::Exact, &[claim(2, b"b")], &claim(1, b"a"), 3), Decision::Accept);
    }

    #[test]
    fn a_claim_waits_for_others_that_are_out_asks_for_more_and_is_taken_when_enough_agree() {
        let two = Verification { agreeing: 2 };
        let decide =
            |others: &[Claim], output: &[u8], out| two.decide(Agreement::Exact, others, &claim(9, output), out);
        assert_eq!(decide(&[], b"a", 1), Decision::Wait);
        assert_eq!(decide(&[], b"a", 0), Decision::Replicate);
        assert_eq!(decide(&[claim(1, b"a")], b"a", 0), Decision::Accept);
        assert_eq!(decide(&[claim(1, b"b")], b"a", 1), Decision::Dispute(NodeId([1; 32])));
        assert_eq!(decide(&[claim(1, b"b"), claim(2, b"a")], b"a", 0), Decision::Accept, "two against one");
        let three = Verification { agreeing: 3 };
        assert_eq!(three.decide(Agreement::Exact, &[claim(1, b"a")], &claim(2, b"a"), 0), Decision::Replicate);
    }
}
