//! Matrix jobs through the real rewrite and the real interpreter, against definitions computed here.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::tests::{job, result, result_cut};
use crate::refusal::Code;

type Whole = Vec<Vec<i128>>;
type Real = Vec<Vec<f64>>;

fn of(op: &str, a: &Value, b: Option<&Value>) -> String {
    let mut job = json!({"kind": "matrix", "op": op, "a": a});
    if let Some(b) = b {
        job["b"] = b.clone();
    }
    job.to_string()
}

fn value(source: &str) -> Value {
    serde_json::from_str(&result(source).unwrap()).unwrap()
}

fn integer(value: &Value) -> i128 {
    value.as_str().map_or_else(|| i128::from(value.as_i64().unwrap()), |text| text.parse().unwrap())
}

fn integers(value: &Value) -> Whole {
    let rows = value.as_array().unwrap();
    rows.iter().map(|row| row.as_array().unwrap().iter().map(integer).collect()).collect()
}

fn reals(value: &Value) -> Real {
    let rows = value.as_array().unwrap();
    rows.iter().map(|row| row.as_array().unwrap().iter().map(|cell| cell.as_f64().unwrap()).collect()).collect()
}

fn product(a: &Whole, b: &Whole) -> Option<Whole> {
    let cell = |row: &Vec<i128>, column: usize| {
        row.iter().zip(b).try_fold(0i128, |sum, (x, other)| sum.checked_add(x.checked_mul(other[column])?))
    };
    a.iter().map(|row| (0..b[0].len()).map(|column| cell(row, column)).collect()).collect()
}

fn real_product(a: &Real, b: &Real) -> Real {
    let cell = |row: &Vec<f64>, column: usize| row.iter().zip(b).map(|(x, other)| x * other[column]).sum();
    a.iter().map(|row| (0..b[0].len()).map(|column| cell(row, column)).collect()).collect()
}

fn near(a: &Real, b: &Real) -> bool {
    a.len() == b.len()
        && a.iter().flatten().zip(b.iter().flatten()).all(|(a, b)| (a - b).abs() < 1e-9 * (1.0 + b.abs()))
}

/// By cofactors along the first row.
fn determinant(a: &Whole) -> i128 {
    if a.len() == 1 {
        return a[0][0];
    }
    (0..a.len())
        .map(|column| {
            let rest =
                |row: &Vec<i128>| row.iter().enumerate().filter(|(i, _)| *i != column).map(|(_, x)| *x).collect();
            let minor: Whole = a[1..].iter().map(rest).collect();
            let sign = if column % 2 == 0 { 1 } else { -1 };
            sign * a[0][column] * determinant(&minor)
        })
        .sum()
}

fn shown(a: &Whole) -> Value {
    serde_json::from_str(&format!("{a:?}")).unwrap()
}

/// Numbers that look like chance, the same every time.
fn pattern(rows: usize, columns: usize, seed: i128, most: i128) -> Whole {
    let number = |i: usize| (i as i128 * 7_919 + seed * 104_729).pow(3).rem_euclid(2 * most + 1) - most;
    (0..rows).map(|row| (0..columns).map(|column| number(row * columns + column + 1)).collect()).collect()
}

#[test]
fn integer_products_are_exact_at_every_width() {
    for (m, k, n, most) in [(3, 4, 5, 9), (17, 300, 6, 1_000), (9, 13, 11, 1 << 40), (5, 7, 4, 1 << 60), (1, 1, 1, 3)] {
        let (a, b) = (pattern(m, k, 1, most), pattern(k, n, 2, most));
        let source = of("multiply", &shown(&a), Some(&shown(&b)));
        assert_eq!(Some(integers(&value(&source))), product(&a, &b), "{m} {k} {n} {most}");
    }
    let large = json!([[serde_json::from_str::<Value>("170141183460469231731687303715884105727").unwrap()]]);
    assert_eq!(result(&of("multiply", &large, Some(&json!([[2]])))).unwrap_err().code, Code::IntegerOverflow);
    let refusal = result(&of("add", &json!([[1], [2]]), Some(&json!([[0], [large[0][0].clone()]])))).unwrap_err();
    assert!(refusal.message.starts_with("row 1, column 0"), "{refusal}");
}

#[test]
fn sums_differences_and_transposes_are_exact() {
    let (a, b) = (pattern(6, 4, 3, 1 << 62), pattern(6, 4, 4, 1 << 62));
    let by = |f: fn(i128, i128) -> i128| -> Whole {
        a.iter().zip(&b).map(|(x, y)| x.iter().zip(y).map(|(x, y)| f(*x, *y)).collect()).collect()
    };
    assert_eq!(integers(&value(&of("add", &shown(&a), Some(&shown(&b))))), by(|x, y| x + y));
    assert_eq!(integers(&value(&of("subtract", &shown(&a), Some(&shown(&b))))), by(|x, y| x - y));
    let turned: Whole = (0..4).map(|column| a.iter().map(|row| row[column]).collect()).collect();
    assert_eq!(integers(&value(&of("transpose", &shown(&a), None))), turned);
    assert_eq!(result(&of("add", &json!([[1, 0.5]]), Some(&json!([[1, 1]])))).unwrap(), "[[2,1.5]]");
}

#[test]
fn every_number_keeps_its_type_where_it_meets_no_other() {
    let a = json!([[9_007_199_254_740_993_i64, 0.5], [-1, 2]]);
    assert_eq!(result(&of("transpose", &a, None)).unwrap(), "[[\"9007199254740993\",-1],[0.5,2]]");
    let b = json!([[1, 1], [0.5, 9_007_199_254_740_993_i64]]);
    assert_eq!(result(&of("add", &a, Some(&b))).unwrap(), "[[\"9007199254740994\",1.5],[-0.5,\"9007199254740995\"]]");
    assert_eq!(result(&of("subtract", &b, Some(&a))).unwrap(), "[[-9007199254740992,0.5],[1.5,9007199254740991]]");
    let floats = json!([[0.5, 0.5], [0.5, 0.5]]);
    assert_eq!(result(&of("subtract", &a, Some(&floats))).unwrap(), "[[9007199254740992.0,0.0],[-1.5,1.5]]");
    let most: Value = serde_json::from_str("[[170141183460469231731687303715884105727, 0.5]]").unwrap();
    assert_eq!(result(&of("add", &most, Some(&json!([[1, 1]])))).unwrap_err().code, Code::IntegerOverflow);
}

#[test]
fn a_product_may_leave_128_bits_on_the_way_and_come_back() {
    let of = |a: &str, b: &str| result(&format!(r#"{{"kind":"matrix","op":"multiply","a":{a},"b":{b}}}"#));
    let (half, least) = (1_i128 << 126, i128::MIN);
    assert_eq!(of(&format!("[[{half},{half}]]"), "[[2],[-2]]").unwrap(), "[[0]]");
    assert_eq!(of(&format!("[[{half},{half},{half}]]"), "[[-1],[2],[-3]]").unwrap(), format!("[[\"{least}\"]]"));
    assert_eq!(of(&format!("[[{half},{half}]]"), "[[1],[1]]").unwrap_err().code, Code::IntegerOverflow);
    assert_eq!(of(&format!("[[{least}]]"), "[[-1]]").unwrap_err().code, Code::IntegerOverflow);
    // Far beyond 256 bits on the way.
    let (mut row, mut column) = (vec![least; 20], vec![least; 20]);
    row.extend([least + 1; 20]);
    column.extend([i128::MAX; 20]);
    row.push(i128::MAX);
    column.push(-20);
    // 20 * 2^254 - 20 * (2^127 - 1)^2 - 20 * (2^127 - 1) = 20 * 2^127
    let column: Vec<String> = column.iter().map(|number| format!("[{number}]")).collect();
    let refused = of(&format!("[{row:?}]"), &format!("[{}]", column.join(","))).unwrap_err();
    assert_eq!(refused.code, Code::IntegerOverflow);
    row.push(least);
    let column = format!("[{},[20]]", column.join(","));
    // From that 20 * 2^127 are taken.
    assert_eq!(of(&format!("[{row:?}]"), &column).unwrap(), "[[0]]");
}

#[test]
fn decompositions_neither_overflow_nor_vanish_on_the_way() {
    // A power of two changes no digit, up to the ends of the range.
    for power in [2_f64.powi(1023), f64::MIN_POSITIVE, f64::from_bits(1)] {
        let scaled = |rows: &[[f64; 2]]| json!(rows.iter().map(|row| row.map(|x| x * power)).collect::<Vec<_>>());
        let turn = [[1.0, 1.0], [1.0, -1.0]];
        let lu = value(&of("lu", &scaled(&turn), None));
        assert_eq!(reals(&lu["l"]), [[1.0, 0.0], [1.0, 1.0]], "{power}");
        let last = if power > 1.0 { json!("-Infinity") } else { json!(-2.0 * power) };
        assert_eq!((&lu["u"][0][1], &lu["u"][1][1]), (&json!(power), &last));
        assert_eq!(value(&of("eigenvalues", &scaled(&[[1.0, 0.0], [0.0, -1.0]]), None)), json!([-power, power]));
        let qr = value(&of("qr", &scaled(&[[0.0, 1.0], [1.0, 0.0]]), None));
        assert_eq!((&qr["q"], &qr["r"][0][0]), (&json!([[0.0, 1.0], [1.0, 0.0]]), &json!(power)));
    }
    let values = value(&of("eigenvalues", &json!([[1e308, 1e308], [1e308, 1e308]]), None));
    assert!(values[0].as_f64().unwrap().abs() < 1e293 && values[1] == json!("Infinity"), "{values}");
    let values = value(&of("eigenvalues", &json!([[8e307, 1e307], [1e307, 8e307]]), None));
    assert!((values[0].as_f64().unwrap() / 7e307 - 1.0).abs() < 1e-14, "{values}");
    assert!((values[1].as_f64().unwrap() / 9e307 - 1.0).abs() < 1e-14, "{values}");
    let qr = value(&of("qr", &json!([[8e307], [8e307]]), None));
    assert!((qr["r"][0][0].as_f64().unwrap() / 1.131_370_849_898_476e308 - 1.0).abs() < 1e-15, "{qr}");
    assert!(reals(&qr["q"]).iter().flatten().all(|x| (x - 0.5_f64.sqrt()).abs() < 1e-15), "{qr}");
    // Three subnormal numbers: 3, 4 and their length 5.
    let qr = value(&of("qr", &json!([[1.5e-323], [2e-323]]), None));
    assert!(qr["r"][0][0] == json!(2.5e-323) && (reals(&qr["q"])[0][0] - 0.6).abs() < 1e-15, "{qr}");
    // 2e616 * 1e-310
    let steep = json!([[1e308, 1e308, 0], [-1e308, 1e308, 0], [0, 0, 1e-310]]);
    let determinant = value(&of("determinant", &steep, None)).as_f64().unwrap();
    assert!((determinant / 2e306 - 1.0).abs() < 1e-12, "{determinant}");
    let small = value(&of("determinant", &json!([[5e-324, 0.0], [0.0, 1e308]]), None)).as_f64().unwrap();
    assert!((small / (5e-324 * 1e308) - 1.0).abs() < 1e-15, "{small}");
    let inverse = reals(&value(&of("inverse", &json!([[1e308, 1e308], [1e308, -1e308]]), None)));
    assert!(inverse.iter().flatten().all(|x| (x.abs() / 5e-309 - 1.0).abs() < 1e-12), "{inverse:?}");
}

#[test]
fn integer_determinants_are_exact_at_any_size() {
    for n in 1..=7 {
        let a = pattern(n, n, n as i128, 50_000);
        assert_eq!(integer(&value(&of("determinant", &shown(&a), None))), determinant(&a), "{n}");
    }
    assert_eq!(result(&of("determinant", &json!([[1, 2], [2, 4]]), None)).unwrap(), "0");
    assert_eq!(result(&of("determinant", &json!([[0, 0], [0, 0]]), None)).unwrap(), "0");
    assert_eq!(result(&of("determinant", &json!([[2, 0, 0], [1, 3, 0], [4, 5, 7]]), None)).unwrap(), "42");
    assert_eq!(result(&of("determinant", &json!([[0.5, 0], [0, 3]]), None)).unwrap(), "1.5");
    let tall = json!([[1e200, 0.5, 0], [0, 1e200, 0], [0, 0, 1e-200]]);
    assert_eq!(value(&of("determinant", &tall, None)), json!(1e200));
    let flat = json!([[1e-200, 0, 0], [0, 1e-200, 0.5], [0, 0, 3e250]]);
    assert_eq!(value(&of("determinant", &flat, None)), json!(2.9999999999999996e-150));
    assert_eq!(result(&of("determinant", &json!([[0, 0.5], [0, -1]]), None)).unwrap(), "0.0");
    // Far beyond 128 bits: a triangle's determinant is the product of its diagonal.
    let triangle: Whole =
        (0..20).map(|row| (0..20).map(|column| if column > row { 0 } else { 1_000_000_000 }).collect()).collect();
    let expected = format!("\"1{}\"", "0".repeat(180));
    assert_eq!(result(&of("determinant", &shown(&triangle), None)).unwrap(), expected);
}

#[test]
fn inverses_invert() {
    assert_eq!(result(&of("inverse", &json!([[2, 0], [0, 4]]), None)).unwrap(), "[[0.5,0.0],[0.0,0.25]]");
    let a = pattern(12, 12, 5, 100);
    let inverse = reals(&value(&of("inverse", &shown(&a), None)));
    let floats: Real = a.iter().map(|row| row.iter().map(|x| *x as f64).collect()).collect();
    let unit: Real = (0..12).map(|row| (0..12).map(|column| f64::from(u8::from(row == column))).collect()).collect();
    assert!(near(&real_product(&floats, &inverse), &unit));
    for singular in [json!([[1, 2, 3], [4, 5, 6], [7, 8, 9]]), json!([[1.0, 2, 3], [4, 5, 6], [7, 8, 9]]), json!([[0]])]
    {
        assert_eq!(result(&of("inverse", &singular, None)).unwrap_err().code, Code::SingularMatrix, "{singular}");
    }
    // Numbers of very different size are no reason to refuse.
    let (tiny, huge) = (2f64.powi(-100), 2f64.powi(100));
    let inverse = reals(&value(&of("inverse", &json!([[tiny, 0], [0, huge]]), None)));
    assert_eq!(inverse, vec![vec![huge, 0.0], vec![0.0, tiny]]);
}

#[test]
fn regular_integers_are_inverted_however_near_to_singular() {
    for (a, expected) in [
        (
            json!([[1_000_000_001, 1_000_000_000], [1_000_000_000, 999_999_999]]),
            json!([[-999_999_999.0, 1e9], [1e9, -1_000_000_001.0]]),
        ),
        (
            json!([
                [9_007_199_254_740_993_i64, 9_007_199_254_740_992_i64],
                [9_007_199_254_740_992_i64, 9_007_199_254_740_991_i64]
            ]),
            json!([
                [-9_007_199_254_740_991.0, 9_007_199_254_740_992.0],
                [9_007_199_254_740_992.0, -9_007_199_254_740_992.0]
            ]),
        ),
        (json!([[1, 2], [3, 4]]), json!([[-2.0, 1.0], [1.5, -0.5]])),
        (json!([[3]]), json!([[1.0 / 3.0]])),
        (json!([[0, -7], [1, 0]]), json!([[0.0, 1.0], [-1.0 / 7.0, 0.0]])),
    ] {
        assert_eq!(reals(&value(&of("inverse", &a, None))), reals(&expected), "{a}");
    }
    let huge = json!([[1e308, 1e308], [1e308, -1e308]]);
    assert_eq!(reals(&value(&of("inverse", &huge, None))), vec![vec![5e-309, 5e-309], vec![5e-309, -5e-309]]);
    // Too large to be exact at once: floats, except where they cannot vouch for a column. A companion of two neighbours
    // in a corner is near to singular, the rest is not.
    let n = 64;
    let mut a: Whole = (0..n).map(|row| (0..n).map(|column| i128::from(row == column) * 3).collect()).collect();
    (a[0][0], a[0][1], a[1][0], a[1][1]) = (1_000_000_001, 1_000_000_000, 1_000_000_000, 999_999_999);
    let source = of("inverse", &shown(&a), None);
    let inverse = reals(&value(&source));
    assert_eq!((inverse[0][0], inverse[0][1], inverse[1][1]), (-999_999_999.0, 1e9, -1_000_000_001.0));
    assert_eq!(inverse[63][63], 1.0 / 3.0);
    assert_eq!(result(&source).unwrap(), result_cut(&source, &[1, 7, 40]).unwrap());
}

#[test]
fn what_no_float_vouches_for_and_is_too_large_to_be_exact_is_refused() {
    let n = 100;
    let mut a: Whole = (0..n).map(|row| (0..n).map(|column| i128::from(row == column) << 120).collect()).collect();
    assert_eq!(reals(&value(&of("inverse", &shown(&a), None)))[99][99], 2f64.powi(-120));
    (a[0][0], a[0][1], a[1][0], a[1][1]) = ((1 << 120) + 1, 1 << 120, 1 << 120, (1 << 120) - 1);
    let refusal = result(&of("inverse", &shown(&a), None)).unwrap_err();
    assert_eq!(refusal.code, Code::InvalidNumber, "{refusal}");
    assert!(refusal.message.contains("too near to singular") && !refusal.hint.is_empty(), "{refusal}");
}

#[test]
fn decompositions_multiply_back() {
    let a: Real = pattern(7, 7, 6, 1000).iter().map(|row| row.iter().map(|x| *x as f64 / 8.0).collect()).collect();
    let lu = value(&of("lu", &json!(a), None));
    let order: Vec<usize> = lu["order"].as_array().unwrap().iter().map(|row| row.as_u64().unwrap() as usize).collect();
    let moved: Real = order.iter().map(|row| a[*row].clone()).collect();
    let (l, u) = (reals(&lu["l"]), reals(&lu["u"]));
    assert!(near(&real_product(&l, &u), &moved));
    for (row, column) in (0..7).flat_map(|row| (0..row).map(move |column| (row, column))) {
        assert_eq!((u[row][column], l[column][row], l[row][row]), (0.0, 0.0, 1.0));
    }

    for (rows, columns) in [(6, 4), (4, 6), (5, 5)] {
        let a: Real =
            pattern(rows, columns, 9, 100).iter().map(|row| row.iter().map(|x| *x as f64).collect()).collect();
        let qr = value(&of("qr", &json!(a), None));
        let (q, r) = (reals(&qr["q"]), reals(&qr["r"]));
        assert!(near(&real_product(&q, &r), &a), "{rows} {columns}");
        let inner = rows.min(columns);
        let turned: Real = (0..inner).map(|column| q.iter().map(|row| row[column]).collect()).collect();
        let unit: Real =
            (0..inner).map(|row| (0..inner).map(|column| f64::from(u8::from(row == column))).collect()).collect();
        assert!(near(&real_product(&turned, &q), &unit), "{rows} {columns}");
        assert!(r.iter().enumerate().all(|(row, numbers)| numbers[..row.min(columns)].iter().all(|x| *x == 0.0)));
    }
}

#[test]
fn eigenvalues_solve_the_characteristic_equation() {
    assert_eq!(result(&of("eigenvalues", &json!([[2, 0], [0, -3]]), None)).unwrap(), "[-3.0,2.0]");
    let near_list = |source: &str, expected: &[f64]| {
        let values: Vec<f64> = value(source).as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect();
        assert!(near(&vec![values.clone()], &vec![expected.to_vec()]), "{values:?}");
    };
    near_list(&of("eigenvalues", &json!([[2, 1], [1, 2]]), None), &[1.0, 3.0]);
    near_list(&of("eigenvalues", &json!([[5]]), None), &[5.0]);
    near_list(&of("eigenvalues", &json!([[1, 1, 1], [1, 1, 1], [1, 1, 1]]), None), &[0.0, 0.0, 3.0]);
    // The second difference of n points has the eigenvalues 2 - 2 cos(k pi / (n + 1)).
    let n = 30;
    let second: Vec<Vec<i32>> = (0..n)
        .map(|row: i32| {
            (0..n).map(|column| if row == column { 2 } else { -i32::from((row - column).abs() == 1) }).collect()
        })
        .collect();
    let expected: Vec<f64> =
        (1..=n).map(|k| 2.0 - 2.0 * (f64::from(k) * core::f64::consts::PI / f64::from(n + 1)).cos()).collect();
    near_list(&of("eigenvalues", &json!(second), None), &expected);
}

#[test]
fn bad_matrices_are_refused_with_their_code() {
    let one = json!([[1]]);
    for (source, code) in [
        (json!({"kind": "matrix", "a": one}), Code::MissingField),
        (json!({"kind": "matrix", "op": "divide", "a": one}), Code::InvalidField),
        (json!({"kind": "matrix", "op": "add", "a": one}), Code::MissingField),
        (json!({"kind": "matrix", "op": "add", "b": one}), Code::MissingField),
        (json!({"kind": "matrix", "op": "transpose", "a": one, "b": one}), Code::UnknownField),
        (json!({"kind": "matrix", "op": "transpose", "a": one, "c": one}), Code::UnknownField),
        (json!({"kind": "matrix", "op": "transpose", "a": [[1, 2], [3]]}), Code::RaggedMatrix),
        (json!({"kind": "matrix", "op": "transpose", "a": []}), Code::EmptyInput),
        (json!({"kind": "matrix", "op": "transpose", "a": [[]]}), Code::EmptyInput),
        (json!({"kind": "matrix", "op": "transpose", "a": [1, 2]}), Code::InvalidField),
        (json!({"kind": "matrix", "op": "transpose", "a": 7}), Code::InvalidField),
        (json!({"kind": "matrix", "op": "transpose", "a": [["x"]]}), Code::InvalidField),
        (json!({"kind": "matrix", "op": "add", "a": one, "b": [[1, 2]]}), Code::MismatchedMatrix),
        (json!({"kind": "matrix", "op": "multiply", "a": one, "b": [[1], [2]]}), Code::MismatchedMatrix),
        (json!({"kind": "matrix", "op": "determinant", "a": [[1, 2]]}), Code::MismatchedMatrix),
        (json!({"kind": "matrix", "op": "inverse", "a": [[1, 2]]}), Code::MismatchedMatrix),
        (json!({"kind": "matrix", "op": "eigenvalues", "a": [[1, 2], [3, 4]]}), Code::MismatchedMatrix),
    ] {
        let refusal = job(&source.to_string()).map(|_| ()).unwrap_err();
        assert_eq!(refusal.code, code, "{source}: {}", refusal.message);
        assert!(!refusal.hint.is_empty(), "{source}");
    }
    let job = job(&of("multiply", &json!([[1, 2]]), Some(&json!([[1], [2]])))).unwrap();
    for output in [&[][..], &[0], &[0, 0, 1, 0, 0, 0, 1, 0, 0, 0], &[0; 40], &[1, 8, 0, 0, 0, 0, 0, 0, 0]] {
        assert!(job.plan.check(crate::units::Span { start: 0, end: 1 }, output).is_err(), "{output:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn cutting_a_matrix_any_way_gives_the_same_result(
        m in 1usize..12, k in 1usize..12, n in 1usize..12,
        halves in any::<bool>(),
        lengths in proptest::collection::vec(1u64..5, 1..4),
        operation in 0usize..5,
    ) {
        let scale = |a: Whole| if halves {
            json!(a.iter().map(|row| row.iter().map(|x| *x as f64 / 7.0).collect()).collect::<Real>())
        } else {
            shown(&a)
        };
        let source = match ["multiply", "add", "transpose", "determinant", "inverse"][operation] {
            "multiply" => of("multiply", &scale(pattern(m, k, 1, 999)), Some(&scale(pattern(k, n, 2, 999)))),
            "add" => of("add", &scale(pattern(m, n, 1, 999)), Some(&scale(pattern(m, n, 2, 999)))),
            "transpose" => of("transpose", &scale(pattern(m, n, 1, 999)), None),
            other => of(other, &scale(pattern(m, m, 1, 1 << 30)), None),
        };
        let whole = result(&source).map_err(|refusal| refusal.code);
        prop_assert_eq!(whole, result_cut(&source, &lengths).map_err(|refusal| refusal.code));
    }
}
