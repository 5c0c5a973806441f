//! Sun and four planets, step by step: scalar 64-bit floats, square roots and divisions. Bodies and units are those of the
//! Computer Language Benchmarks Game.

const SOLAR_MASS: f64 = 4.0 * std::f64::consts::PI * std::f64::consts::PI;
const DAYS: f64 = 365.24;
const STEP: f64 = 0.01;

#[derive(Clone, Copy)]
struct Body {
    place: [f64; 3],
    speed: [f64; 3],
    mass: f64,
}

const BODIES: [Body; 5] = [
    Body { place: [0.0; 3], speed: [0.0; 3], mass: SOLAR_MASS },
    body(
        [4.84143144246472090e+00, -1.16032004402742839e+00, -1.03622044471123109e-01],
        [1.66007664274403694e-03, 7.69901118419740425e-03, -6.90460016972063023e-05],
        9.54791938424326609e-04,
    ),
    body(
        [8.34336671824457987e+00, 4.12479856412430479e+00, -4.03523417114321381e-01],
        [-2.76742510726411899e-03, 4.99852801234917238e-03, 2.30417297573763929e-05],
        2.85885980666130812e-04,
    ),
    body(
        [1.28943695621391310e+01, -1.51111514016986312e+01, -2.23307578892655734e-01],
        [2.96460137564761618e-03, 2.37847173959480950e-03, -2.96589568540237556e-05],
        4.36624404335156298e-05,
    ),
    body(
        [1.53796971148509165e+01, -2.59193146099879641e+01, 1.79258772950371181e-01],
        [2.68067772490389322e-03, 1.62824170038242295e-03, -9.51592254519715870e-05],
        5.15138902046611451e-05,
    ),
];

const fn body(place: [f64; 3], speed: [f64; 3], mass: f64) -> Body {
    Body { place, speed: [speed[0] * DAYS, speed[1] * DAYS, speed[2] * DAYS], mass: mass * SOLAR_MASS }
}

pub fn run(size: u32, rounds: u32) -> Vec<u8> {
    let mut bodies = BODIES;
    for _ in 0..rounds {
        bodies = BODIES;
        rest(&mut bodies);
        for _ in 0..size {
            advance(&mut bodies);
        }
    }
    let mut output = energy(&bodies).to_le_bytes().to_vec();
    output.extend(bodies.iter().flat_map(|body| body.place).flat_map(f64::to_le_bytes));
    output
}

/// Gives the sun what makes the whole stand still.
fn rest(bodies: &mut [Body; 5]) {
    let mut moment = [0.0; 3];
    for body in bodies.iter() {
        for (sum, speed) in moment.iter_mut().zip(body.speed) {
            *sum += speed * body.mass;
        }
    }
    for (speed, moment) in bodies[0].speed.iter_mut().zip(moment) {
        *speed = -moment / SOLAR_MASS;
    }
}

fn advance(bodies: &mut [Body; 5]) {
    for first in 0..bodies.len() {
        let (head, tail) = bodies.split_at_mut(first + 1);
        let one = &mut head[first];
        for other in tail {
            let way: [f64; 3] = std::array::from_fn(|axis| one.place[axis] - other.place[axis]);
            let square = way[0] * way[0] + way[1] * way[1] + way[2] * way[2];
            let pull = STEP / (square * square.sqrt());
            for axis in 0..3 {
                one.speed[axis] -= way[axis] * other.mass * pull;
                other.speed[axis] += way[axis] * one.mass * pull;
            }
        }
    }
    for body in bodies {
        for (place, speed) in body.place.iter_mut().zip(body.speed) {
            *place += STEP * speed;
        }
    }
}

fn energy(bodies: &[Body; 5]) -> f64 {
    let mut sum = 0.0;
    for (index, body) in bodies.iter().enumerate() {
        let [x, y, z] = body.speed;
        sum += 0.5 * body.mass * (x * x + y * y + z * z);
        for other in &bodies[index + 1..] {
            let way: [f64; 3] = std::array::from_fn(|axis| body.place[axis] - other.place[axis]);
            sum -= body.mass * other.mass / (way[0] * way[0] + way[1] * way[1] + way[2] * way[2]).sqrt();
        }
    }
    sum
}
