//! Primes below a number, by trial division: integer division and nothing else.

pub fn run(size: u32, rounds: u32) -> Vec<u8> {
    let mut count = 0u32;
    for _ in 0..rounds {
        count = (2..std::hint::black_box(size)).filter(|number| is_prime(*number)).count() as u32;
    }
    count.to_le_bytes().to_vec()
}

fn is_prime(number: u32) -> bool {
    if number % 2 == 0 {
        return number == 2;
    }
    let mut divisor = 3;
    while divisor * divisor <= number {
        if number % divisor == 0 {
            return false;
        }
        divisor += 2;
    }
    true
}
