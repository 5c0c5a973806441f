//! Sleeps, and looks at clocks. It says only what must hold on every clock.

use std::{
    thread::sleep,
    time::{Duration, Instant, SystemTime},
};

fn main() {
    let began = Instant::now();
    sleep(Duration::from_millis(3));
    println!("long enough: {}", began.elapsed() >= Duration::from_millis(3));
    sleep(Duration::ZERO);
    let again = Instant::now();
    let mut turns = 0_u64;
    while again.elapsed() < Duration::from_millis(2) {
        turns += 1;
    }
    println!("some turns: {}", turns > 0);
    let mut last = Instant::now();
    let forwards = (0..1000).all(|_| {
        let now = Instant::now();
        let forwards = now >= last;
        last = now;
        forwards
    });
    println!("forwards: {forwards}");
    let year =
        SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map(|since| since.as_secs() / 31_556_952 + 1970);
    println!("this century: {}", year.is_ok_and(|year| year >= 2000));
}
