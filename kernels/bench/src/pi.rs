//! Points of a square that fall into a circle: 64-bit integers and floats by turns.

use crate::Chance;

pub fn run(size: u32, rounds: u32) -> Vec<u8> {
    let mut inside = 0u32;
    for round in 0..rounds {
        let mut chance = Chance(u64::from(round));
        inside = 0;
        for _ in 0..size {
            let (x, y) = (unit(&mut chance), unit(&mut chance));
            inside += u32::from(x * x + y * y < 1.0);
        }
    }
    inside.to_le_bytes().to_vec()
}

fn unit(chance: &mut Chance) -> f64 {
    f64::from(chance.next()) / f64::from(u32::MAX)
}
