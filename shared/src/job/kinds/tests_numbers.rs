//! Arithmetic of jobs against another arithmetic: `tests/numbers/reference.py` computed what is to come out.

use super::tests::{job, result};
use crate::refusal::Code;

/// One case a line: what is asked, the formula, the items, the results.
static CASES: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/numbers/vectors.txt"));

struct Case<'a> {
    what: &'a str,
    formula: &'a str,
    items: Vec<&'a str>,
    expected: Vec<&'a str>,
}

impl Case<'_> {
    fn source(&self) -> String {
        let (data, formula) = (self.items.join(","), self.formula);
        match self.what {
            "map" | "nearest" | "within" => format!(r#"{{"kind":"map","data":[{data}],"map":"{formula}"}}"#),
            reduce => format!(r#"{{"kind":"map_reduce","data":[{data}],"map":"{formula}","reduce":"{reduce}"}}"#),
        }
    }
}

fn cases() -> impl Iterator<Item = Case<'static>> {
    CASES.lines().map(|line| {
        let fields: Vec<&str> = line.split('\t').collect();
        let [what, formula, items, expected] = fields[..] else { panic!("{line} has no four fields") };
        Case { what, formula, items: items.split(' ').collect(), expected: expected.split(' ').collect() }
    })
}

/// A number of a result as the cases write it.
fn written(text: &str) -> String {
    let plain = text.trim_matches('"');
    match plain {
        "true" => "b1".to_owned(),
        "false" => "b0".to_owned(),
        "NaN" => format!("f{:016x}", crate::exchange::value::CANONICAL_NAN),
        "Infinity" | "-Infinity" => format!("f{:016x}", plain.parse::<f64>().unwrap().to_bits()),
        _ if plain.contains(['.', 'e']) => format!("f{:016x}", plain.parse::<f64>().unwrap().to_bits()),
        _ => format!("i{plain}"),
    }
}

/// Floats in the order of their values, one apart.
fn place(written: &str) -> i64 {
    let bits = u64::from_str_radix(&written[1..], 16).unwrap();
    let size = (bits & !(1 << 63)) as i64;
    if bits >> 63 == 1 { -size } else { size }
}

fn results(case: &Case) -> Vec<String> {
    let result = result(&case.source()).unwrap_or_else(|refusal| panic!("{}: {refusal}", case.source()));
    let found: Vec<String> = result.trim_matches(['[', ']']).split(',').map(written).collect();
    assert_eq!(found.len(), case.expected.len(), "{}", case.source());
    found
}

#[test]
fn arithmetic_gives_what_exact_arithmetic_rounds_to() {
    for case in cases().filter(|case| !matches!(case.what, "nearest" | "within")) {
        for ((found, expected), item) in results(&case).iter().zip(&case.expected).zip(&case.items) {
            assert_eq!(found, expected, "{} {} of {item}", case.what, case.formula);
        }
    }
}

#[test]
fn functions_stay_within_their_stated_error() {
    for case in cases().filter(|case| matches!(case.what, "nearest" | "within")) {
        // In thousandths of a unit in the last place; the cases are rounded to one of these.
        let most = if case.what == "nearest" { 501 } else { 1000 };
        for ((found, expected), item) in results(&case).iter().zip(&case.expected).zip(&case.items) {
            let (nearest, above) = expected.split_once(':').unwrap();
            let error = (place(found) - place(nearest)) * 1000 - above.parse::<i64>().unwrap();
            assert!(error.abs() <= most, "{} of {item} is {found}, not {expected}", case.formula);
        }
    }
}

#[test]
fn the_exponential_of_every_integer_is_the_nearest_float() {
    let text = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/numbers/exponentials.txt"));
    let expected: Vec<&str> = text.lines().collect();
    let items: Vec<String> = (-745..=709).map(|integer| integer.to_string()).collect();
    let source = format!(r#"{{"kind":"map","data":[{}],"map":"exp(x)"}}"#, items.join(","));
    let result = result(&source).unwrap();
    let found: Vec<String> =
        result.trim_matches(['[', ']']).split(',').map(|text| written(text)[1..].to_owned()).collect();
    assert_eq!(found.len(), expected.len());
    for ((found, expected), item) in found.iter().zip(&expected).zip(&items) {
        assert_eq!(found, expected, "exp({item})");
    }
}

fn map(data: &str, formula: &str) -> String {
    format!(r#"{{"kind":"map","data":{data},"map":{formula:?}}}"#)
}

#[test]
fn corners_of_arithmetic() {
    let cases: &[(&str, &str, &str)] = &[
        ("[1.0, -49.7, 0.3]", "x // 0.1", "[9,-498,2]"),
        ("[1, 7]", "x // 0.1", "[9,69]"),
        ("[-6.0, 6.0]", "x % 3", "[0.0,0.0]"),
        ("[-6.0, 6.0]", "x % -3.0", "[-0.0,-0.0]"),
        ("[1.0, -1.0, 0.0, -0.0]", "x // (1e308 * 10.0)", "[0,-1,0,0]"),
        ("[1000000000000000000000000000000]", "x / 3", "[3.333333333333333e+29]"),
        // The sign of a quotient that is zero, whatever the divisor's width.
        ("[-5, 5, -9007199254740993, -170141183460469231731687303715884105728]", "0 / x", "[-0.0,0.0,-0.0,-0.0]"),
        ("[0]", "x / -9007199254740993", "[-0.0]"),
        ("[0]", "x / -5", "[-0.0]"),
        ("[1]", "0 / -9007199254740993 + x * 0.0 * -1", "[-0.0]"),
        ("[9007199254740993]", "x == 9007199254740992.0", "[false]"),
        ("[9007199254740993]", "9007199254740992.0 < x", "[true]"),
        ("[9007199254740993]", "x <= 9007199254740992.0", "[false]"),
        ("[9007199254740993]", "x > 1e308 * 10.0", "[false]"),
        ("[9007199254740993]", "x < 1e308 * 10.0", "[true]"),
        ("[9007199254740993]", "x >= sqrt(-1) or x < sqrt(-1) or x == sqrt(-1)", "[false]"),
        ("[9007199254740993]", "x != sqrt(-1)", "[true]"),
        ("[0]", "-170141183460469231731687303715884105728 + x", "[\"-170141183460469231731687303715884105728\"]"),
        ("[-1]", "x - -170141183460469231731687303715884105728", "[\"170141183460469231731687303715884105727\"]"),
        ("[-170141183460469231731687303715884105728]", "x", "[\"-170141183460469231731687303715884105728\"]"),
        ("[-170141183460469231731687303715884105728]", "x == -170141183460469231731687303715884105728", "[true]"),
        ("[7]", "x - 170141183460469231731687303715884105728", "[\"-170141183460469231731687303715884105721\"]"),
        (
            "[0, 0.0]",
            "x - 170141183460469231731687303715884105728 + 1",
            "[\"-170141183460469231731687303715884105727\",-1.7014118346046923e+38]",
        ),
        ("[7]", "x % -170141183460469231731687303715884105728", "[\"-170141183460469231731687303715884105721\"]"),
        ("[-2]", "x ** 127", "[\"-170141183460469231731687303715884105728\"]"),
        ("[1.0]", "exp(x)", "[2.718281828459045]"),
        ("[1000, 0.001]", "log10(x)", "[3.0,-3.0]"),
        ("[3]", "x ** -2", "[0.1111111111111111]"),
        ("[0.0, -0.0]", "x ** -3", "[\"Infinity\",\"-Infinity\"]"),
        ("[-8.0, -0.5]", "x ** -3", "[-0.001953125,-8.0]"),
        ("[-1.0]", "x ** (1e308 * 10.0)", "[1.0]"),
        ("[-2.0]", "x ** 0.5", "[\"NaN\"]"),
        ("[0.0]", "x ** 0", "[1.0]"),
    ];
    for (data, formula, expected) in cases {
        assert_eq!(&result(&map(data, formula)).unwrap(), expected, "{formula} of {data}");
    }
    let least = "170141183460469231731687303715884105728";
    for (data, formula, code) in [
        (format!("[-{least}]"), "abs(x)".to_owned(), Code::IntegerOverflow),
        (format!("[-{least}]"), "-x".to_owned(), Code::IntegerOverflow),
        ("[0]".to_owned(), format!("x + -(-{least})"), Code::IntegerOverflow),
        ("[0]".to_owned(), format!("abs(-{least}) + x"), Code::IntegerOverflow),
        ("[0]".to_owned(), format!("x + {least}"), Code::InvalidNumber),
        ("[0]".to_owned(), format!("x - {least} ** 1"), Code::InvalidNumber),
        ("[0]".to_owned(), format!("x - -{least} ** 1"), Code::InvalidNumber),
        (format!("[{least}]"), "x".to_owned(), Code::InvalidNumber),
        ("[1e300]".to_owned(), "x // 1".to_owned(), Code::IntegerOverflow),
        ("[1.0]".to_owned(), "x * 1e308 * 10.0 // 2".to_owned(), Code::InvalidNumber),
        ("[-1.0]".to_owned(), "sqrt(x) // 2".to_owned(), Code::InvalidNumber),
        ("[0.0, -0.0]".to_owned(), "1 // x".to_owned(), Code::DivisionByZero),
        ("[0]".to_owned(), "10000000000000000000 / x".to_owned(), Code::DivisionByZero),
        ("[0]".to_owned(), "2.5 % x".to_owned(), Code::DivisionByZero),
        ("[0.0]".to_owned(), "10000000000000000000 % x".to_owned(), Code::DivisionByZero),
    ] {
        let refusal = result(&map(&data, &formula)).map(|_| ()).unwrap_err();
        assert_eq!(refusal.code, code, "{formula} of {data}: {refusal}");
    }
}

#[test]
fn mixed_numbers_meet_exactly_in_filters_and_reductions() {
    let reduce = |data: &str, filter: &str, reduce: &str| {
        result(&format!(r#"{{"kind":"map_reduce","data":{data},"where":"{filter}","reduce":"{reduce}"}}"#)).unwrap()
    };
    let data = "[9007199254740993, 9007199254740992.0, 9007199254740991]";
    assert_eq!(reduce(data, "x > 9007199254740992.0", "count"), "1");
    assert_eq!(reduce(data, "x >= 9007199254740992.0", "count"), "2");
    assert_eq!(reduce(data, "true", "max"), "\"9007199254740993\"");
    assert_eq!(reduce(data, "true", "min"), "9007199254740991");
    assert_eq!(reduce("[1.5, 9007199254740993, 9007199254740992]", "true", "sum"), "1.8014398509481988e+16");
    let range = r#"{"kind":"range_reduce","start":9007199254740990,"end":9007199254740996,"where":"x > 9007199254740992.0","reduce":"count"}"#;
    assert_eq!(result(range).unwrap(), "4");
}

#[test]
fn what_cannot_be_computed_fails_where_only_the_count_is_asked_for_too() {
    let range = |formula: &str| {
        result(&format!(r#"{{"kind":"range_reduce","start":-1,"end":1,"map":"{formula}","reduce":"count"}}"#))
    };
    for (formula, code) in [
        ("1 // x", Code::DivisionByZero),
        ("(1 // x) * 1.5", Code::DivisionByZero),
        ("if(x == 1, 'one', 1 // x)", Code::DivisionByZero),
        ("1 // x > 0", Code::DivisionByZero),
        ("if(1 // x > 0, 'a', 'b')", Code::DivisionByZero),
        ("10 ** 38 * (x + 2)", Code::IntegerOverflow),
    ] {
        assert_eq!(range(formula).unwrap_err().code, code, "{formula}");
    }
    for formula in ["x", "if(x == 0, 0, 1 // x)", "x / 2", "x > 0", "'a'", "if(x == 0, 'none', 1 // x)"] {
        assert_eq!(range(formula).unwrap(), "3", "{formula}");
    }
}

#[test]
fn an_integer_beyond_the_floats_is_not_rounded_before_it_becomes_a_fraction() {
    let data = "[9007199254740993, 9007199254740995, -9007199254740997, 170141183460469231731687303715884105727]";
    assert_eq!(result(&map(data, "x ** -2 == 1 / x ** 2")).map_err(|refusal| refusal.code), Err(Code::IntegerOverflow));
    let data = "[9007199254740993, 9007199254740995, -9007199254740997, 9007199254741001]";
    assert_eq!(result(&map(data, "x ** -2 == 1 / x ** 2")).unwrap(), "[true,true,true,true]");
    assert_eq!(result(&map(data, "pow(x, -2) == 1 / x ** 2")).unwrap(), "[true,true,true,true]");
    let data = "[0, 9007199254740993]";
    assert_eq!(result(&map(data, "x ** -2")).unwrap_err().code, Code::DivisionByZero);
    for (exponent, one, two) in [("9007199254740992", "1.0", "0.0"), ("9007199254740993", "-1.0", "-0.0")] {
        let powers = result(&map("[-1, -2, 1]", &format!("x ** -{exponent}"))).unwrap();
        assert_eq!(powers, format!("[{one},{two},1.0]"), "{exponent}");
    }
    let ends = "[1, -1, 170141183460469231731687303715884105727, -170141183460469231731687303715884105728]";
    assert_eq!(result(&map(ends, "x ** -3")).unwrap(), "[1.0,-1.0,2.0303534698525194e-115,-2.0303534698525194e-115]");
}

#[test]
fn an_if_may_choose_between_texts_and_numbers_where_it_is_the_whole_formula() {
    let cases: &[(&str, &str, &str)] = &[
        ("[1, 2]", "if(x > 1, 'big', x)", r#"[1,"big"]"#),
        ("[1, 2.5, 'a']", "if(true, x, 'none')", r#"[1,2.5,"a"]"#),
        ("[1, 2, 3]", "if(x == 1, 'one', if(x == 2, 2.5, x > 2))", r#"["one",2.5,1.0]"#),
        ("[1, 2, 3]", "if(x == 1, if(x > 0, 'one', 0), if(x == 2, x, 'many'))", r#"["one",2,"many"]"#),
        ("[3, 4]", "let square = x * x; if(square > 9, let t = '!'; t + t, square)", r#"[9,"!!"]"#),
        ("[3]", "(if(x > 9, 'large', 100000000000000000000 * x))", r#"["300000000000000000000"]"#),
    ];
    for (data, formula, expected) in cases {
        let data = data.replace('\'', "\"");
        assert_eq!(&result(&map(&data, formula)).unwrap(), expected, "{formula} of {data}");
    }
    let count = r#"{"kind":"map_reduce","data":[1,2,3],"map":"if(x > 1, 'big', x)","reduce":"count"}"#;
    assert_eq!(result(count).unwrap(), "3");
    for formula in ["if(x > 1, 'big', x) + 1", "len(if(x > 1, 'big', x))", "let y = if(x > 1, 'big', x); y"] {
        let refusal = job(&map("[1]", formula)).map(|_| ()).unwrap_err();
        assert_eq!(refusal.code, Code::InvalidFormula, "{formula}");
        assert!(refusal.message.contains("a text in one case and a number in the other"), "{formula}: {refusal}");
    }
    for source in [
        r#"{"kind":"map_reduce","data":[1],"map":"if(x > 1, 'big', x)","reduce":"sum"}"#,
        r#"{"kind":"map","data":[1],"map":"x","where":"if(x > 1, 'big', x)"}"#,
        r#"{"kind":"range_reduce","start":1,"end":3,"map":"if(x > 1, 'big', x)","reduce":"max"}"#,
    ] {
        assert_eq!(job(source).map(|_| ()).unwrap_err().code, Code::InvalidFormula, "{source}");
    }
}

#[test]
fn brackets_stand_64_deep() {
    let deep = |brackets: usize, inside: &str| {
        result(&map("[5]", &format!("{}{inside}{}", "(".repeat(brackets), ")".repeat(brackets))))
    };
    assert_eq!(deep(64, "x").unwrap(), "[5]");
    assert_eq!(deep(64, "1 - x * -x ** 2").unwrap(), "[126]");
    assert!(deep(65, "x").unwrap_err().message.contains("more than 64 brackets"));
    let calls = |deep: usize| result(&map("[-5]", &format!("{}x{}", "abs(".repeat(deep), ")".repeat(deep))));
    assert_eq!(calls(64).unwrap(), "[5]");
    assert!(calls(65).unwrap_err().message.contains("more than 64 brackets"));
    // What binds without brackets is bounded by its operators.
    assert_eq!(result(&map("[5]", &format!("{}x", "- ".repeat(150)))).unwrap(), "[5]");
    for endless in ["- ".repeat(1000) + "x", "x ** ".repeat(500) + "x", "not ".repeat(900) + "true"] {
        assert!(result(&map("[5]", &endless)).unwrap_err().message.contains("more than 200 operators"));
    }
}

#[test]
fn numbers_that_cannot_be_are_told_what_they_may_be() {
    for (formula, message, hint) in [
        ("1e309 + x", "too large for a float", "1.797"),
        (".5e400", "too large for a float", "1.797"),
        ("x + 170141183460469231731687303715884105728", "is too large", "2^127"),
        ("x - 170141183460469231731687303715884105728 * 2", "is too large", "2^127"),
        (".e5 + x", "'.' is not part of a formula", "0.5e3"),
        ("x.upper()", "'.' is not part of a formula", "upper(x)"),
    ] {
        let refusal = result(&map("[1]", formula)).unwrap_err();
        assert!(refusal.message.contains(message) && refusal.hint.contains(hint), "{formula}: {refusal:?}");
    }
}

#[test]
fn a_quotient_is_rounded_to_the_same_integer_wherever_it_stands() {
    let numbers = "7,-7,0,1,9007199254740991,-9007199254740991,9007199254740992,9007199254740993,-9007199254740993,\
        18014398509481983,1000000000000000000000000000000,-999999999999999999999999999999,\
        170141183460469231731687303715884105727,6.5,-1e22,1e30";
    for divisor in ["2", "3", "-3", "7", "1.0", "0.1", "2.0", "9007199254740991", "9007199254740993", "1e15", "(x - 2)"]
    {
        for function in ["floor", "ceil", "round"] {
            // All at once, whose bounds are wide, and each alone, whose bounds are narrow.
            for data in std::iter::once(numbers).chain(numbers.split(',')) {
                let ask = |formula: &str| result(&format!(r#"{{"kind":"map","data":[{data}],"map":"{formula}"}}"#));
                let at_once = ask(&format!("{function}(x / {divisor})"));
                let named = ask(&format!("let q = x / {divisor}; {function}(q)"));
                assert_eq!(at_once, named, "{function}(x / {divisor}) of {data}");
            }
        }
    }
    let floor = |number: &str, formula: &str| {
        result(&format!(r#"{{"kind":"map","data":[{number}],"map":"{formula}"}}"#)).unwrap()
    };
    let large = "1000000000000000000000000000000";
    assert_eq!(floor(large, "floor(x / 3)"), r#"["333333333333333316505293553664"]"#);
    assert_eq!(floor(large, "x // 3"), r#"["333333333333333333333333333333"]"#);
    assert_eq!(floor("9007199254740993", "floor(x / 1.0)"), "[9007199254740992]");
    assert_eq!(floor("9007199254740993", "x // 1.0"), r#"["9007199254740993"]"#);
}
