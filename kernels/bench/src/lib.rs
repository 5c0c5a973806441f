//! What `cargo xtask bench engines` measures: seven small programs of the kinds that people lend computers for. One source for both
//! sides of each ratio: linked into the benchmark as native Rust, and built for wasm32 as a kernel.
//!
//! Floats are summed in a fixed order and without fused operations, so every engine must give the very bytes of the
//! native run.

mod collatz;
mod matmul;
mod mlp;
mod n_body;
mod pi;
mod primes;
mod sha256;

/// One program.
pub struct Kernel {
    /// What it is called in tables.
    pub name: &'static str,
    /// Computes; the first parameter is the size of the problem, the second how often it is done.
    pub run: fn(u32, u32) -> Vec<u8>,
}

/// All of them, in the order of the tables.
pub const KERNELS: [Kernel; 7] = [
    Kernel { name: "primes", run: primes::run },
    Kernel { name: "Collatz", run: collatz::run },
    Kernel { name: "Monte Carlo pi", run: pi::run },
    Kernel { name: "n-body", run: n_body::run },
    Kernel { name: "matmul 256³ f32", run: matmul::run },
    Kernel { name: "SHA-256", run: sha256::run },
    Kernel { name: "MLP step", run: mlp::run },
];

/// The input that asks for the program at `index` of [`KERNELS`].
pub fn input(index: u32, size: u32, rounds: u32) -> [u8; 12] {
    let mut input = [0; 12];
    for (place, number) in input.chunks_exact_mut(4).zip([index, size, rounds]) {
        place.copy_from_slice(&number.to_le_bytes());
    }
    input
}

/// The kernel: does what [`input`] asked for. Nothing, if there is no such program.
pub fn answer(input: &[u8]) -> Vec<u8> {
    let mut numbers =
        input.chunks_exact(4).map(|four| four.iter().rev().fold(0, |sum, byte| sum << 8 | u32::from(*byte)));
    let mut number = || numbers.next().unwrap_or(0);
    let (index, size, rounds) = (number(), number(), number());
    KERNELS.get(index as usize).map_or_else(Vec::new, |kernel| (kernel.run)(size, rounds))
}

#[cfg(target_arch = "wasm32")]
guest::kernel!(answer);

/// Chance for the programs: the high bits of Knuth's 64-bit linear congruential generator (TAOCP, volume 2, 3.3.4).
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 32) as u32
    }

    /// At least -1, below 1.
    fn signed(&mut self) -> f32 {
        (self.next() >> 8) as f32 / (1 << 23) as f32 - 1.0
    }
}

/// Eight bytes that a single other bit anywhere would change.
fn digest(numbers: &[f32]) -> Vec<u8> {
    let mix = |sum: u64, number: &f32| (sum ^ u64::from(number.to_bits())).wrapping_mul(0x0000_0100_0000_01b3);
    numbers.iter().fold(0xcbf2_9ce4_8422_2325, mix).to_le_bytes().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(name: &str, size: u32, rounds: u32) -> Vec<u8> {
        let index = KERNELS.iter().position(|kernel| kernel.name == name).unwrap();
        answer(&input(index as u32, size, rounds))
    }

    #[test]
    fn there_are_168_primes_below_1000() {
        assert_eq!(asked("primes", 1_000, 1), 168u32.to_le_bytes());
    }

    #[test]
    fn the_longest_collatz_chain_below_a_million_starts_at_837799() {
        let answer = asked("Collatz", 1_000_000, 1);
        assert_eq!(answer, [837_799u32.to_le_bytes(), 524u32.to_le_bytes()].concat());
    }

    #[test]
    fn pi_is_about_right() {
        let inside = u32::from_le_bytes(asked("Monte Carlo pi", 1_000_000, 1).try_into().unwrap());
        assert!((f64::from(inside) * 4.0 / 1e6 - std::f64::consts::PI).abs() < 0.01);
    }

    #[test]
    fn five_bodies_keep_their_energy() {
        let energy = |steps| f64::from_le_bytes(asked("n-body", steps, 1)[..8].try_into().unwrap());
        // The figures of the Computer Language Benchmarks Game.
        assert_eq!(format!("{:.9} {:.9}", energy(0), energy(1_000)), "-0.169075164 -0.169087605");
    }

    #[test]
    fn a_product_is_the_sum_of_products() {
        let (a, b) = matmul::factors(8);
        let mut product = vec![0.0; 64];
        matmul::multiply(&a, &b, &mut product, 8);
        let sum = (0..8).fold(0.0, |sum, inner| sum + a[8 + inner] * b[inner * 8 + 3]);
        assert_eq!(product[8 + 3], sum);
        assert_eq!(asked("matmul 256³ f32", 8, 1), digest(&product));
    }

    #[test]
    fn the_hash_of_nothing_and_of_a_million_letters_are_the_standards() {
        let hex = |bytes: Vec<u8>| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        assert!(hex(sha256::hash(b"abc").to_vec()).starts_with("ba7816bf8f01cfea414140de5dae2223"));
        assert!(hex(sha256::hash(&[b'a'; 1_000_000]).to_vec()).starts_with("cdc76e5c9914fb9281a1c7e284d73e67"));
        assert_eq!(asked("SHA-256", 3, 1).len(), 32);
    }

    #[test]
    fn steps_lower_the_loss() {
        let loss = |steps| f32::from_le_bytes(asked("MLP step", 64, steps)[..4].try_into().unwrap());
        assert!(loss(50) < loss(1) / 2.0, "{} {}", loss(50), loss(1));
    }

    #[test]
    fn what_there_is_not_is_nothing() {
        assert!(answer(&input(7, 1, 1)).is_empty() && !answer(&[]).is_empty());
    }
}
