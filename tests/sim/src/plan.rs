//! Jobs for the simulator: a real kernel, but one whose real cost has nothing to do with its virtual one.
//!
//! The kernel takes 16 bytes `start, end` and returns the sum of `start..end` in closed form; or 8 bytes `x` and returns
//! `x * x + 1`. A unit that is in the plan's list of bad ones makes it trap.

use std::sync::LazyLock;

use p2pnet_shared::{
    blob::Blob,
    id::{Hash, Holder},
    job::{CallShape, Done, Job, Plan, Policy, Requirements, Stage, Stages, kinds, metadata::Metadata},
    refusal::{Code, Refusal},
    units::Span,
};
use p2pnet_test_kernels::{
    self as kernels, at,
    wasm_encoder::{BlockType, ValType},
};

use crate::graph;

/// A unit that makes the kernel trap.
pub const BAD_UNIT: u64 = u64::MAX - 1;

/// Sums `0..units`, a range at a time.
pub fn sum(units: u64) -> Job {
    job(Numbers { units, shape: CallShape::WholeSpan, padding: 0, bad: None, weight: 1 })
}

/// Sums `0..units` in one call, which cannot be cut.
pub fn call(units: u64) -> Job {
    job(Numbers { units: 1, shape: CallShape::WholeSpan, padding: 0, bad: None, weight: units })
}

/// Squares `0..units`, each in a call of its own, and adds up the squares. Inputs carry `padding` bytes more each.
pub fn squares(units: u64, padding: usize) -> Job {
    job(Numbers { units, shape: CallShape::EachUnit, padding, bad: None, weight: 1 })
}

/// As [`squares`], but the kernel traps at unit `bad`.
pub fn trapping(units: u64, bad: u64) -> Job {
    job(Numbers { units, shape: CallShape::EachUnit, padding: 0, bad: Some(bad), weight: 1 })
}

/// What [`sum`] must come to.
pub fn expected_sum(units: u64) -> String {
    (u128::from(units) * (u128::from(units) - 1) / 2).to_string()
}

/// What [`squares`] must come to.
pub fn expected_squares(units: u64) -> String {
    (0..u128::from(units)).map(|x| x * x + 1).sum::<u128>().to_string()
}

fn job(plan: Numbers) -> Job {
    Job {
        holder: Holder::LOCAL,
        kind: "sim",
        metadata: Metadata::default(),
        source: format!(
            "{} {} {} {} {}",
            plan.units,
            plan.shape == CallShape::EachUnit,
            plan.padding,
            plan.bad.unwrap_or(0),
            plan.weight
        )
        .into(),
        requirements: Requirements::default(),
        policy: Policy::default(),
        stages: plan.stages(),
        plan: Box::new(plan),
    }
}

/// Reads [`Job::source`] as a restarted requester does: a job of this module, or JSON as a person sends it.
pub fn read(source: &str, blob: &dyn Fn(Hash) -> Option<Blob>) -> Result<Job, Refusal> {
    if source.starts_with('{') {
        return kinds::read(source, blob);
    }
    let broken = || Refusal::new(Code::InvalidJson, "not a job of the simulator", "");
    let fields: Vec<&str> = source.split(' ').collect();
    if let ["graph", units] = fields[..] {
        return Ok(graph::job(units.parse().map_err(|_| broken())?));
    }
    let [units, each, padding, bad, weight] = fields[..] else { return Err(broken()) };
    Ok(job(Numbers {
        units: units.parse().map_err(|_| broken())?,
        shape: if each == "true" { CallShape::EachUnit } else { CallShape::WholeSpan },
        padding: padding.parse().map_err(|_| broken())?,
        bad: bad.parse().ok().filter(|bad| *bad > 0),
        weight: weight.parse().map_err(|_| broken())?,
    }))
}

pub(crate) static KERNEL: LazyLock<Blob> = LazyLock::new(|| Blob::new(kernel()));

/// The name of this module's kernel.
pub(crate) fn kernel_hash() -> Hash {
    KERNEL.hash()
}

struct Numbers {
    units: u64,
    shape: CallShape,
    padding: usize,
    bad: Option<u64>,
    /// Numbers of a unit, where a span is one call.
    weight: u64,
}

impl Plan for Numbers {
    fn stages(&self) -> Stages {
        Stages::one(Stage::of(&KERNEL, self.units, self.shape))
    }

    fn most_units_a_batch(&self, _start: u64) -> u64 {
        match self.shape {
            CallShape::WholeSpan => u64::MAX,
            CallShape::EachUnit => 1 << 20,
        }
    }

    fn inputs(&self, span: Span, _: &Done) -> Vec<Vec<u8>> {
        match self.shape {
            CallShape::WholeSpan => {
                vec![[span.start, span.end].map(|unit| (unit * self.weight).to_le_bytes()).concat()]
            }
            CallShape::EachUnit => (span.start..span.end)
                .map(|unit| {
                    let x = if self.bad == Some(unit) { BAD_UNIT } else { unit };
                    let mut input = x.to_le_bytes().to_vec();
                    input.resize(8 + self.padding * 16, 0);
                    input
                })
                .collect(),
        }
    }

    fn check(&self, span: Span, output: &[u8]) -> Result<(), Refusal> {
        let wrong = || Refusal::new(Code::KernelError, format!("no number at {}", span.start), "");
        (output.len() == 8).then_some(()).ok_or_else(wrong)
    }

    fn merge(&self, done: &Done) -> Result<String, Refusal> {
        let numbers = done.values().flatten().map(|output| u64::from_le_bytes(output[..8].try_into().unwrap()));
        Ok(numbers.map(u128::from).sum::<u128>().to_string())
    }

    fn has_partial_result(&self) -> bool {
        true
    }
}

/// Writes its number before the input.
fn kernel() -> Vec<u8> {
    const OUTPUT: i32 = 64;
    const START: u32 = 2;
    const END: u32 = 3;
    kernels::kernel(&[ValType::I64, ValType::I64], |run| {
        run.local_get(0).i64_load(at(0)).local_tee(START).i64_const(BAD_UNIT as i64).i64_eq();
        run.if_(BlockType::Empty).unreachable().end();
        run.i32_const(OUTPUT).local_get(1).i32_const(16).i32_eq().if_(BlockType::Result(ValType::I64));
        // (end - start) * (start + end - 1) / 2
        run.local_get(0).i64_load(at(8)).local_tee(END).local_get(START).i64_sub();
        run.local_get(START).local_get(END).i64_add().i64_const(1).i64_sub().i64_mul().i64_const(1).i64_shr_u();
        run.else_().local_get(START).local_get(START).i64_mul().i64_const(1).i64_add().end();
        run.i64_store(at(0)).i64_const(((OUTPUT as i64) << 32) | 8);
    })
}
