//! Training steps of a small network (two dense layers, ReLU, softmax, cross entropy, plain gradient descent) on one
//! batch of made-up data: 32-bit float vectors, and an exponential now and then.

use crate::{Chance, digest};

const INPUTS: usize = 64;
const CLASSES: usize = 8;
const BATCH: usize = 32;
const RATE: f32 = 0.5;

/// `size` is the width of the hidden layer, `rounds` the number of steps.
pub fn run(size: u32, rounds: u32) -> Vec<u8> {
    let mut net = Net::new(size as usize);
    let mut loss = 0.0;
    for _ in 0..rounds {
        loss = net.step();
    }
    [loss.to_bits().to_le_bytes().to_vec(), digest(&net.second)].concat()
}

struct Net {
    hidden: usize,
    /// `INPUTS` rows of `hidden`.
    first: Vec<f32>,
    /// `hidden` rows of `CLASSES`.
    second: Vec<f32>,
    examples: Vec<f32>,
    labels: Vec<usize>,
    active: Vec<f32>,
    blame: Vec<f32>,
    first_slope: Vec<f32>,
    second_slope: Vec<f32>,
}

impl Net {
    fn new(hidden: usize) -> Self {
        let mut chance = Chance(2);
        let mut numbers =
            |count: usize, scale: f32| -> Vec<f32> { (0..count).map(|_| chance.signed() * scale).collect() };
        let (first, second) = (numbers(INPUTS * hidden, 0.2), numbers(hidden * CLASSES, 0.2));
        let examples = numbers(BATCH * INPUTS, 1.0);
        Self {
            hidden,
            labels: (0..BATCH).map(|index| index * 5 % CLASSES).collect(),
            active: vec![0.0; hidden],
            blame: vec![0.0; hidden],
            first_slope: vec![0.0; first.len()],
            second_slope: vec![0.0; second.len()],
            first,
            second,
            examples,
        }
    }

    /// One step of gradient descent over the batch; the mean loss before it.
    fn step(&mut self) -> f32 {
        self.first_slope.fill(0.0);
        self.second_slope.fill(0.0);
        let mut loss = 0.0;
        for (example, label) in self.examples.chunks_exact(INPUTS).zip(&self.labels) {
            self.active.fill(0.0);
            for (x, weights) in example.iter().zip(self.first.chunks_exact(self.hidden)) {
                add_scaled(&mut self.active, *x, weights);
            }
            for x in &mut self.active {
                *x = if *x > 0.0 { *x } else { 0.0 };
            }
            let mut chosen = [0.0; CLASSES];
            for (x, weights) in self.active.iter().zip(self.second.chunks_exact(CLASSES)) {
                add_scaled(&mut chosen, *x, weights);
            }
            let most = chosen.iter().fold(f32::MIN, |most, x| most.max(*x));
            let likely = chosen.map(|x| libm::expf(x - most));
            let sum: f32 = likely.iter().sum();
            loss -= libm::logf(likely[*label] / sum);
            let mut error = likely.map(|x| x / sum);
            error[*label] -= 1.0;
            for (((x, weights), slopes), blame) in self
                .active
                .iter()
                .zip(self.second.chunks_exact(CLASSES))
                .zip(self.second_slope.chunks_exact_mut(CLASSES))
                .zip(&mut self.blame)
            {
                add_scaled(slopes, *x, &error);
                let back = dot(weights, &error);
                *blame = if *x > 0.0 { back } else { 0.0 };
            }
            for (x, slopes) in example.iter().zip(self.first_slope.chunks_exact_mut(self.hidden)) {
                add_scaled(slopes, *x, &self.blame);
            }
        }
        add_scaled(&mut self.first, -RATE / BATCH as f32, &self.first_slope);
        add_scaled(&mut self.second, -RATE / BATCH as f32, &self.second_slope);
        loss / BATCH as f32
    }
}

fn add_scaled(into: &mut [f32], factor: f32, numbers: &[f32]) {
    for (sum, x) in into.iter_mut().zip(numbers) {
        *sum += factor * x;
    }
}

/// In four sums, as vectors do.
fn dot(one: &[f32], other: &[f32]) -> f32 {
    let mut sums = [0.0; 4];
    for (x, y) in one.chunks_exact(4).zip(other.chunks_exact(4)) {
        for (sum, (x, y)) in sums.iter_mut().zip(x.iter().zip(y)) {
            *sum += x * y;
        }
    }
    (sums[0] + sums[1]) + (sums[2] + sums[3])
}
