//! One job of every kind and more, each beside a value computed here, by other means.

use anyhow::{Result, bail};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use p2pnet_e2e::kernels;
use serde_json::{Value, json};

/// Jobs and their results.
pub(crate) fn jobs() -> Vec<(Value, Value)> {
    let numbers: Vec<i64> = (0..2_000).map(|i| (i * 7_919) % 1_009 - 500).collect();
    let a: Vec<Vec<i64>> =
        (0..40).map(|row| (0..30).map(|column| (row * 31 + column * 17) % 23 - 11).collect()).collect();
    let b: Vec<Vec<i64>> =
        (0..30).map(|row| (0..50).map(|column| (row * 13 + column * 29) % 19 - 9).collect()).collect();
    let text = "one line\nanother line\nand a third";
    vec![
        (
            json!({"kind":"range_reduce","start":1,"end":1000,"map":"x","where":"x % 2 == 0","reduce":"sum"}),
            json!((1..=1000).filter(|x| x % 2 == 0).sum::<i64>()),
        ),
        (
            json!({"kind":"range_reduce","start":1,"end":200_000,"map":"x**4","reduce":"sum"}),
            // Beyond 2^53, hence a string.
            json!((1..=200_000_i128).map(|x| x.pow(4)).sum::<i128>().to_string()),
        ),
        (
            json!({"kind":"range_reduce","start":-50,"end":50,"map":"if(x < 0, 0 - x, gcd(x, 12))","reduce":"max"}),
            json!(50),
        ),
        (
            json!({"kind":"range_reduce","start":1,"end":100_000,"map":"x","where":"is_prime(x)","reduce":"count"}),
            json!(primes_up_to(100_000)),
        ),
        (
            json!({"kind":"map","data":numbers,"map":"x*x + 1"}),
            json!(numbers.iter().map(|x| x * x + 1).collect::<Vec<_>>()),
        ),
        (
            json!({"kind":"map_reduce","data":numbers,"map":"x*x","where":"x > 1","reduce":"average"}),
            json!(average(numbers.iter().filter(|x| **x > 1).map(|x| x * x))),
        ),
        (json!({"kind":"sort","data":numbers}), {
            let mut sorted = numbers.clone();
            sorted.sort_unstable();
            json!(sorted)
        }),
        (json!({"kind":"sort","data":["b","ab","я",""],"by":"text","order":"descending"}), json!(["я", "b", "ab", ""])),
        (json!({"kind":"matrix","op":"multiply","a":a,"b":b}), json!(product(&a, &b))),
        (
            json!({"kind":"matrix","op":"add","a":a,"b":a}),
            json!(a.iter().map(|row| row.iter().map(|x| 2 * x).collect::<Vec<_>>()).collect::<Vec<_>>()),
        ),
        (
            json!({"kind":"matrix","op":"subtract","a":a,"b":a}),
            json!(a.iter().map(|row| row.iter().map(|_| 0).collect::<Vec<i64>>()).collect::<Vec<_>>()),
        ),
        (
            json!({"kind":"matrix","op":"transpose","a":a}),
            json!((0..30).map(|column| a.iter().map(|row| row[column]).collect::<Vec<_>>()).collect::<Vec<_>>()),
        ),
        (json!({"kind":"matrix","op":"determinant","a":[[2,0,0],[1,3,0],[4,5,7]]}), json!(2 * 3 * 7)),
        (json!({"kind":"matrix","op":"inverse","a":[[2,0],[0,4]]}), json!([[0.5, 0.0], [0.0, 0.25]])),
        (
            json!({"kind":"kernel","kernel":kernels::upper_case(),"input":STANDARD.encode(text),"split":"lines","merge":"concat"}),
            json!(STANDARD.encode(text.to_uppercase())),
        ),
        (
            json!({"kind":"kernel","kernel":kernels::upper_case(),"input":STANDARD.encode(text),"split":"bytes:5","merge":"concat"}),
            json!(STANDARD.encode(text.to_uppercase())),
        ),
    ]
}

/// Whether a result is what was expected: numbers by value, so that 0.5 and 5e-1 agree, and fractions to twelve digits.
pub(crate) fn same(result: &Value, expected: &Value) -> Result<()> {
    let agree = match (result, expected) {
        (Value::Array(left), Value::Array(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(left, right)| same(left, right).is_ok())
        }
        (Value::Number(left), Value::Number(right)) => match (left.as_f64(), right.as_f64()) {
            (Some(left), Some(right)) => (left - right).abs() <= 1e-12 * right.abs().max(1.0),
            _ => false,
        },
        _ => result == expected,
    };
    if agree { Ok(()) } else { bail!("the result is {result} instead of {expected}") }
}

/// How many primes there are, by the sieve of Eratosthenes.
pub(crate) fn primes_up_to(end: u64) -> u64 {
    let end = usize::try_from(end).unwrap();
    let mut composite = vec![false; end + 1];
    let mut count = 0;
    for n in 2..=end {
        if !composite[n] {
            count += 1;
            (n * n..=end).step_by(n).for_each(|multiple| composite[multiple] = true);
        }
    }
    count
}

// The sums are far below 2^53.
fn average(numbers: impl Iterator<Item = i64>) -> f64 {
    let (sum, count) = numbers.fold((0, 0), |(sum, count), x| (sum + x, count + 1));
    sum as f64 / f64::from(count)
}

fn product(a: &[Vec<i64>], b: &[Vec<i64>]) -> Vec<Vec<i64>> {
    let cell = |row: &Vec<i64>, column: usize| row.iter().zip(b).map(|(x, other)| x * other[column]).sum();
    a.iter().map(|row| (0..b[0].len()).map(|column| cell(row, column)).collect()).collect()
}
