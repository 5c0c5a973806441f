//! The longest Collatz chain that starts below a number: 64-bit integers and branches nobody can foresee.

pub fn run(size: u32, rounds: u32) -> Vec<u8> {
    let mut best = (0, 0);
    for _ in 0..rounds {
        best = (0, 0);
        for start in 1..std::hint::black_box(size) {
            let steps = steps(u64::from(start));
            if steps > best.1 {
                best = (start, steps);
            }
        }
    }
    [best.0.to_le_bytes(), best.1.to_le_bytes()].concat()
}

fn steps(mut number: u64) -> u32 {
    let mut steps = 0;
    while number != 1 {
        number = if number % 2 == 0 { number / 2 } else { 3 * number + 1 };
        steps += 1;
    }
    steps
}
