//! Jobs through the real rewrite and the real interpreter, against values computed here.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use proptest::prelude::*;

use super::read;
use crate::{
    engine::WasmiEngine,
    job::{
        Done, Feed, Job,
        local::{run_locally, run_spans},
    },
    refusal::{Code, Refusal},
    units::Span,
};

pub(super) fn job(source: &str) -> Result<Job, Refusal> {
    read(source, &|_| None)
}

pub(super) fn result(source: &str) -> Result<String, Refusal> {
    run_locally(&job(source)?, &mut WasmiEngine::new(), u64::MAX).map(|run| run.result)
}

/// The result with the job cut into spans of these lengths (repeated), last span first.
pub(super) fn result_cut(source: &str, lengths: &[u64]) -> Result<String, Refusal> {
    let job = job(source)?;
    let mut spans = Vec::new();
    let mut start = 0;
    for length in lengths.iter().cycle() {
        let end = job.stages.units().min(start + length.min(&job.plan.most_units_a_batch(start)));
        spans.push(Span { start, end });
        start = end;
        if start == job.stages.units() {
            break;
        }
    }
    run_spans(&job, &mut WasmiEngine::new(), spans.into_iter().rev()).map(|run| run.result)
}

fn refusal(source: &str) -> Refusal {
    match result(source) {
        Ok(result) => panic!("{source} gave {result}"),
        Err(refusal) => refusal,
    }
}

fn range(start: i64, end: i64, map: &str, reduce: &str) -> String {
    format!(r#"{{"kind":"range_reduce","start":{start},"end":{end},"map":"{map}","reduce":"{reduce}"}}"#)
}

fn map(data: &str, map: &str) -> String {
    format!(r#"{{"kind":"map","data":{data},"map":{map:?}}}"#)
}

#[test]
fn the_examples_of_the_documents_give_what_they_say() {
    let even = r#"{"kind":"range_reduce","start":1,"end":1000,"map":"x","where":"x % 2 == 0","reduce":"sum"}"#;
    assert_eq!(result(even).unwrap(), (1..=1000).filter(|x| x % 2 == 0).sum::<i64>().to_string());
    assert_eq!(result(&range(1, 1000, "x", "sum")).unwrap(), "500500");
    assert_eq!(result(r#"{"kind":"map","data":[1,2,3],"map":"x*x + 1"}"#).unwrap(), "[2,5,10]");
    let average = r#"{"kind":"map_reduce","data":[3,1,2],"map":"x*x","where":"x > 1","reduce":"average"}"#;
    assert_eq!(result(average).unwrap(), "6.5");
}

#[test]
fn ranges_reduce_exactly_at_every_width() {
    let sum = |f: fn(i128) -> i128, range: core::ops::RangeInclusive<i128>| range.map(f).sum::<i128>();
    assert_eq!(result(&range(-5, 5, "x", "sum")).unwrap(), "0");
    assert_eq!(result(&range(1, 2000, "x*x*x", "sum")).unwrap(), sum(|x| x * x * x, 1..=2000).to_string());
    let large = 3_000_000_000_000_000_000;
    let expected = sum(|x| x, large as i128..=large as i128 + 9).to_string();
    assert_eq!(result(&range(large, large + 9, "x", "sum")).unwrap(), format!("\"{expected}\""));
    let expected = sum(|x| x * x, -(large as i128)..=-(large as i128) + 2).to_string();
    assert_eq!(result(&range(-large, -large + 2, "x*x", "sum")).unwrap(), format!("\"{expected}\""));
    assert_eq!(result(&range(1, 10, "x", "product")).unwrap(), (1..=10).product::<i64>().to_string());
    assert_eq!(result(&range(1, 33, "x", "product")).unwrap(), format!("\"{}\"", (1..=33).product::<i128>()));
    assert_eq!(refusal(&range(1, 35, "x", "product")).code, Code::IntegerOverflow);
    assert_eq!(result(&range(0, 100, "x", "product")).unwrap(), "0");
    assert_eq!(result(&range(-7, 9, "x*x - 4*x", "min")).unwrap(), "-4");
    assert_eq!(result(&range(-7, 9, "x*x - 4*x", "max")).unwrap(), "77");
    assert_eq!(result(&range(-7, 9, "x**30", "max")).unwrap(), format!("\"{}\"", 9i128.pow(30)));
    assert_eq!(result(&range(1, 4, "x", "average")).unwrap(), "2.5");
    assert_eq!(result(&range(1, 100, "is_prime(x)", "sum")).unwrap(), "25");
    let primes = r#"{"kind":"range_reduce","start":1,"end":10000,"where":"is_prime(x)","reduce":"count"}"#;
    assert_eq!(result(primes).unwrap(), "1229");
    assert_eq!(result(&range(1, 3, "1 / x", "sum")).unwrap(), format!("{:?}", 1.0 + 1.0 / 2.0 + 1.0 / 3.0));
}

#[test]
fn averages_are_rounded_once() {
    let average = |data: &str| result(&format!(r#"{{"kind":"map_reduce","data":{data},"reduce":"average"}}"#)).unwrap();
    for (data, expected) in [
        ("[1, 2, 2]", "1.6666666666666667"),
        ("[-1, -2, -2]", "-1.6666666666666667"),
        ("[5, 3, 1, 6, 6, 6, 3, 7, 7, 8, 9]", "5.545454545454546"),
        ("[1e308, 1e308]", "1e+308"),
        ("[-1e308, -1e308, 1]", "-6.666666666666666e+307"),
        // A tie at the lowest bit of all goes to the even neighbour.
        ("[5e-324, 0]", "0.0"),
        ("[1.5e-323, 0]", "1e-323"),
        ("[5e-324, 0, 5e-324]", "5e-324"),
        // Nearer to the upper neighbour only by the bits below the quotient's 53.
        ("[9007199254740993, 9007199254740992, 9007199254740993]", "9007199254740992.0"),
        ("[9007199254740993, 9007199254740994, 9007199254740993]", "9007199254740994.0"),
        (
            "[170141183460469231731687303715884105727, 170141183460469231731687303715884105727]",
            "1.7014118346046923e+38",
        ),
    ] {
        assert_eq!(average(data), expected, "{data}");
    }
}

#[test]
fn an_overflow_in_the_merge_names_the_numbers() {
    let overflow = refusal(&range(1, 34, "x", "product"));
    assert_eq!(overflow.code, Code::IntegerOverflow);
    assert!(overflow.message.contains("(merging numbers 1 to 34)"), "{overflow}");
}

#[test]
fn refusals_cut_what_they_repeat() {
    let long = "y".repeat(1000);
    for source in [
        format!(r#"{{"kind":"{long}"}}"#),
        format!(r#"{{"kind":"matrix","op":"{long}"}}"#),
        format!(r#"{{"kind":"kernel","kernel":"","input":"","merge":"{long}"}}"#),
        format!(r#"{{"kind":"kernel","kernel":"","input":"aGE=","split":"{long}"}}"#),
        format!(r#"{{"kind":"map_reduce","data":[1],"reduce":"{long}"}}"#),
        format!(r#"{{"kind":"map","data":[1],"policy":{{"priority":"{long}"}}}}"#),
        format!(r#"{{"kind":"map","data":[1],"map":"{long} + 1"}}"#),
        format!(r#"{{"kind":"map","data":[1],"map":"x {long}"}}"#),
        format!(r#"{{"kind":"map","data":[1],"map":"let x = 1; {long}"}}"#),
        format!(r#"{{"kind":"map","data":["{long}"],"map":"sqrt(x)"}}"#),
        format!(r#"{{"kind":"map","data":[1],"{long}":1}}"#),
    ] {
        let message = job(&source).map(|_| ()).unwrap_err().message;
        assert!(message.len() < 300, "{message}");
    }
}

#[test]
fn a_raised_two_is_explained() {
    for map in ["x²", "2²", "²"] {
        let refusal = refusal(&format!(r#"{{"kind":"map","data":[1],"map":"{map}"}}"#));
        assert!(refusal.hint.contains("x ** 2"), "{map}: {refusal}");
    }
}

#[test]
fn zero_to_a_negative_power_divides_by_zero() {
    for (data, map) in [("[1, 0]", "x ** -1"), ("[0]", "x ** -2"), ("[0.0]", "x ** -1"), ("[0]", "1 / x")] {
        let refusal = refusal(&format!(r#"{{"kind":"map","data":{data},"map":"{map}"}}"#));
        assert_eq!(refusal.code, Code::DivisionByZero, "{map} of {data}: {refusal}");
    }
    assert_eq!(
        result(r#"{"kind":"map","data":[2, -3, 10],"map":"x ** -3"}"#).unwrap(),
        format!("[0.125,{:?},0.001]", -1.0 / 27.0)
    );
    assert_eq!(result(r#"{"kind":"map","data":[1e-200],"map":"x ** -2"}"#).unwrap(), "[\"Infinity\"]");
}

#[test]
fn nothing_taken_has_a_documented_result() {
    for (reduce, expected) in
        [("sum", "0"), ("product", "1"), ("count", "0"), ("min", "null"), ("max", "null"), ("average", "null")]
    {
        let source = format!(r#"{{"kind":"range_reduce","start":1,"end":9,"where":"x > 9","reduce":"{reduce}"}}"#);
        assert_eq!(result(&source).unwrap(), expected, "{reduce}");
    }
}

#[test]
fn operators_mean_what_they_mean_in_mathematics() {
    let cases: &[(&str, &str, &str)] = &[
        ("[7, -7]", "x % 3", "[1,2]"),
        ("[7, -7]", "x % -3", "[-2,-1]"),
        ("[7, -7]", "x // 2", "[3,-4]"),
        ("[7, -7]", "floor(x / 2)", "[3,-4]"),
        ("[-7.5, 7.5]", "x % 2", "[0.5,1.5]"),
        ("[2]", "-x ** 2", "[-4]"),
        ("[2]", "2 ** 3 ** x", "[512]"),
        ("[2]", "x ** -1", "[0.5]"),
        ("[10]", "x - 2 - 3", "[5]"),
        ("[10]", "2 + 3 * x", "[32]"),
        ("[10]", "(2 + 3) * x", "[50]"),
        ("[3, 4]", "x > 3 and x < 9 or not x == 3", "[false,true]"),
        ("[-3, 4]", "abs(x)", "[3,4]"),
        ("[-3, 4]", "min(x, 0, 2)", "[-3,0]"),
        ("[-3, 4]", "max(x, 0.5)", "[0.5,4.0]"),
        ("[2.5, -2.5, 2.4]", "round(x)", "[3,-3,2]"),
        ("[2.5, -2.5]", "floor(x)", "[2,-3]"),
        ("[2.5, -2.5]", "ceil(x)", "[3,-2]"),
        ("[16, 2]", "sqrt(x)", "[4.0,1.4142135623730951]"),
        ("[-1]", "sqrt(x)", "[\"NaN\"]"),
        ("[1e308]", "x * 10", "[\"Infinity\"]"),
        ("[12, -18]", "gcd(x, 30)", "[6,6]"),
        ("[1, 2, 97, 91, -7]", "is_prime(x)", "[false,true,true,false,false]"),
        ("[1, 5]", "if(x > 3, x * 10, -x)", "[-1,50]"),
        ("[1, 5]", "if(x > 3, x / 2, x)", "[1.0,2.5]"),
        ("[3]", "let y = x*x; let z = y + 1; y * z", "[90]"),
        ("[1, 2.5]", "x + 1", "[2,3.5]"),
        ("[1]", "1 / 4", "[0.25]"),
        ("[0.1]", "x + 0.2", "[0.30000000000000004]"),
        ("[true_]", "x", "[]"),
        ("[9007199254740992, 9007199254740993]", "x", "[9007199254740992,\"9007199254740993\"]"),
        ("[170141183460469231731687303715884105727]", "x", "[\"170141183460469231731687303715884105727\"]"),
        ("[-170141183460469231731687303715884105728]", "x // 2", "[\"-85070591730234615865843651857942052864\"]"),
        ("[0]", "sin(x) + cos(x) + exp(x)", "[2.0]"),
        // Angles that only a reduction with hundreds of bits of π gets right; 5.3e255 is the float nearest to a zero.
        ("[1e22, 1647100.5, -1e300]", "sin(x)", "[-0.8522008497671888,0.9210759421939447,0.8178819121159085]"),
        ("[5.319372648326541e255, -1e22]", "cos(x)", "[-4.687165924254628e-19,0.523214785395139]"),
        ("[1e22, -3e10]", "tan(x)", "[-1.6287782256068988,23.185812431486237]"),
        ("[100]", "log10(x) + ln(1)", "[2.0]"),
        ("[2]", "pow(x, 10) + pow(x, 0.5) * 0", "[1024.0]"),
        ("[5]", "(x > 3) * 10", "[10]"),
    ];
    for (data, formula, expected) in cases.iter().filter(|(data, _, _)| !data.contains("true_")) {
        assert_eq!(&result(&map(data, formula)).unwrap(), expected, "{formula} of {data}");
    }
}

#[test]
fn text_formulas_work_on_characters() {
    let cases: &[(&str, &str, &str)] = &[
        (r#"["straße", "Ünï"]"#, "upper(x)", r#"["STRASSE","ÜNÏ"]"#),
        (r#"["ÀB"]"#, "lower(x)", r#"["àb"]"#),
        (r#"["Привет", ""]"#, "len(x)", "[6,0]"),
        (r#"["  a b "]"#, "trim(x) + '!'", r#"["a b!"]"#),
        (r#"["banana"]"#, "replace(x, 'an', '-')", r#"["b--a"]"#),
        (r#"["ab", ""]"#, "replace(x, '', '-')", r#"["ab",""]"#),
        (r#"["ab", ""]"#, "contains(x, '')", "[true,true]"),
        (r#"["banana", "kiwi"]"#, "contains(x, 'nan')", "[true,false]"),
        (r#"["b", "a"]"#, "x > 'a'", "[true,false]"),
        (r#"["b\"c"]"#, "if(len(x) > 2, x + x, 'no')", r#"["b\"cb\"c"]"#),
    ];
    for (data, formula, expected) in cases {
        assert_eq!(&result(&map(data, formula)).unwrap(), expected, "{formula} of {data}");
    }
}

#[test]
fn failures_name_the_number() {
    let overflow = refusal(&range(1, 100, "x ** 30", "sum"));
    assert_eq!(overflow.code, Code::IntegerOverflow);
    let first = (1i128..).find(|x| x.checked_pow(30).is_none()).unwrap();
    assert_eq!(overflow.message, format!("x = {first}: an integer result does not fit 128 bits"));
    let zero = refusal(&range(-3, 3, "10 // x", "sum"));
    assert_eq!((zero.code, zero.message.contains("x = 0:")), (Code::DivisionByZero, true));
    let zero = refusal(&map("[5, 4, 3]", "1 / (x - 4)"));
    assert_eq!((zero.code, zero.message.starts_with("item 1, x = 4:")), (Code::DivisionByZero, true));
    assert_eq!(refusal(&map("[2]", "x ** (x - 9)")).code, Code::InvalidNumber);
    for formula in ["floor(x)", "ceil(x)", "round(x)", "x // 1", "floor(x / 1)", "floor(x / 0.5)", "0 - floor(x)"] {
        assert_eq!(refusal(&map("[1e300]", formula)).code, Code::IntegerOverflow, "{formula}");
        let endless = formula.replace('x', "(x * x)");
        assert_eq!(refusal(&map("[1e300]", &endless)).code, Code::InvalidNumber, "{endless}");
    }
}

#[test]
fn formula_errors_point_at_the_character() {
    for (formula, at, part) in [
        ("x +", 3, "the end"),
        ("x + foo", 4, "foo"),
        ("(x", 2, "\")\""),
        ("x = 3", 2, "=="),
        ("x ^ 2", 2, "**"),
        ("x && 1", 2, "and"),
        ("2x", 1, "number"),
        ("1 < x < 3", 6, "chained"),
        ("gcd(x)", 0, "2 value"),
        ("", 0, "empty"),
        ("x $ 2", 2, "part of"),
        ("abs x", 4, "\"(\""),
        ("'abc", 0, "quote"),
        ("é + x", 0, "not known"),
        ("x > 1 and x", 10, "condition"),
        ("is_prime(x / 2)", 11, "integer"),
        ("if(x, 1, 2)", 3, "condition"),
        ("let x = 2; x", 4, "meaning"),
        ("x)", 1, "not expected"),
    ] {
        let refusal = job(&map("[1]", formula)).map(|_| ()).unwrap_err();
        assert_eq!((refusal.code, refusal.at), (Code::InvalidFormula, Some(at)), "{formula}: {}", refusal.message);
        let whole = format!("{} {}", refusal.message, refusal.hint);
        assert!(whole.contains(part), "{formula}: {whole}");
        assert!(refusal.message.starts_with("`map`: "));
    }
    let huge = job(&map("[1]", "1000000000000000000000000000000000000000 + x")).map(|_| ()).unwrap_err();
    assert_eq!((huge.code, huge.at), (Code::InvalidNumber, Some(0)));
    let deep = format!("{}x{}", "(".repeat(1000), ")".repeat(1000));
    assert_eq!(job(&map("[1]", &deep)).map(|_| ()).unwrap_err().code, Code::InvalidFormula);
    let long = format!("x{}", "+1".repeat(4000));
    assert_eq!(job(&map("[1]", &long)).map(|_| ()).unwrap_err().code, Code::InvalidFormula);
    let chain = format!("x{}", "+1".repeat(1000));
    assert_eq!(job(&map("[1]", &chain)).map(|_| ()).unwrap_err().code, Code::InvalidFormula);
    let allowed = format!("x{}", "+1".repeat(150));
    assert_eq!(result(&map("[1]", &allowed)).unwrap(), "[151]");
}

#[test]
fn bad_jobs_are_refused_with_their_code() {
    for (source, code) in [
        ("", Code::InvalidJson),
        ("[1]", Code::InvalidJson),
        (r#"{"kind":"map""#, Code::InvalidJson),
        ("{}", Code::MissingField),
        (r#"{"kind":"mop"}"#, Code::UnknownKind),
        (r#"{"kind":5}"#, Code::InvalidField),
        (r#"{"kind":"map","kind":"map","data":[1],"map":"x"}"#, Code::InvalidField),
        (r#"{"kind":"map","data":[1],"map":"x","mup":"x"}"#, Code::UnknownField),
        (r#"{"kind":"map","data":[1],"map":"x","reduce":"sum"}"#, Code::UnknownField),
        (r#"{"kind":"map","data":[1]}"#, Code::MissingField),
        (r#"{"kind":"map","map":"x"}"#, Code::MissingField),
        (r#"{"kind":"map","data":[],"map":"x"}"#, Code::EmptyInput),
        (r#"{"kind":"map","data":5,"map":"x"}"#, Code::InvalidField),
        (r#"{"kind":"map","data":{"a":1},"map":"x"}"#, Code::InvalidField),
        (r#"{"kind":"map","data":"abc","map":"x"}"#, Code::InvalidField),
        (r#"{"kind":"map","data":[1,null],"map":"x"}"#, Code::InvalidField),
        (r#"{"kind":"map","data":[1,[2]],"map":"x"}"#, Code::InvalidField),
        (r#"{"kind":"map","data":[340282366920938463463374607431768211456],"map":"x"}"#, Code::InvalidNumber),
        (r#"{"kind":"map","data":[1e999],"map":"x"}"#, Code::InvalidNumber),
        (r#"{"kind":"map","data":[1],"map":5}"#, Code::InvalidField),
        (r#"{"kind":"map","data":["a"],"map":"x + 1"}"#, Code::InvalidFormula),
        (r#"{"kind":"map","data":[1,2.5],"map":"gcd(x, 2)"}"#, Code::InvalidFormula),
        (r#"{"kind":"map","data":[1],"where":"x"}"#, Code::InvalidFormula),
        (r#"{"kind":"map_reduce","data":[1],"map":"x"}"#, Code::MissingField),
        (r#"{"kind":"map_reduce","data":["a"],"reduce":"sum"}"#, Code::InvalidFormula),
        (r#"{"kind":"range_reduce","start":1,"end":10,"reduce":"mode"}"#, Code::InvalidField),
        (r#"{"kind":"range_reduce","end":10,"reduce":"sum"}"#, Code::MissingField),
        (r#"{"kind":"range_reduce","start":11,"end":10,"reduce":"sum"}"#, Code::EmptyInput),
        (r#"{"kind":"range_reduce","start":1.5,"end":10,"reduce":"sum"}"#, Code::InvalidNumber),
        (r#"{"kind":"range_reduce","start":"1","end":10,"reduce":"sum"}"#, Code::InvalidField),
        (r#"{"kind":"range_reduce","start":1,"end":9223372036854775807,"reduce":"sum"}"#, Code::InvalidField),
        (r#"{"kind":"range_reduce","start":1,"end":10,"reduce":"sum","chunk_size":0}"#, Code::InvalidField),
        (r#"{"kind":"map","data":[1],"map":"x","requirements":{"cpu_percent":0}}"#, Code::InvalidField),
        (r#"{"kind":"map","data":[1],"map":"x","requirements":{"ram_gb":9}}"#, Code::InvalidField),
        (r#"{"kind":"map","data":[1],"map":"x","requirements":{"timeout_seconds":3601}}"#, Code::InvalidField),
        (r#"{"kind":"map","data":[1],"map":"x","requirements":{"gpu":1}}"#, Code::UnknownField),
        (r#"{"kind":"map","data":[1],"map":"x","requirements":[]}"#, Code::InvalidField),
        (r#"{"kind":"map","data":[1],"map":"x","policy":{"priority":"urgent"}}"#, Code::InvalidField),
        (r#"{"kind":"map","data":[1],"map":"x","policy":{"retries":21}}"#, Code::InvalidField),
        (r#"{"kind":"map","data":[1],"map":"x","policy":{"price":1}}"#, Code::UnknownField),
    ] {
        let refusal = job(source).map(|_| ()).unwrap_err();
        assert_eq!(refusal.code, code, "{source}: {}", refusal.message);
        assert!(!refusal.message.is_empty() && !refusal.hint.is_empty(), "{source}");
    }
}

#[test]
fn requirements_and_policy_are_read() {
    let source = r#"{"kind":"map","data":[1],"map":"x",
        "requirements":{"cpu_percent":50,"ram_gb":0.5,"timeout_seconds":7},"policy":{"priority":"high","retries":0}}"#;
    let job = job(source).unwrap();
    let requirements = job.requirements;
    assert_eq!((requirements.cpu_percent, requirements.memory_mib, requirements.timeout_seconds), (50, 512, 7));
    assert_eq!((job.policy.priority, job.policy.retries), (crate::job::Priority::High, 0));
    assert_eq!(&*job.source, source);
}

#[test]
fn an_output_that_the_kernel_cannot_have_made_is_refused() {
    for source in [range(1, 100, "x", "sum"), range(1, 100, "1/x", "sum"), map("[1, 2, 3]", "x"), map("[\"a\"]", "x")] {
        let job = job(&source).unwrap();
        let span = Span { start: 0, end: job.stages.units() };
        for output in
            [&[][..], &[9], &[0], &[1], &[1, 200, 0, 0, 0, 0, 0, 0, 0, 0], &[0; 7], &[0xff; 64], &[0, 4, 1, 0xff]]
        {
            assert!(job.plan.check(span, output).is_err(), "{source} {output:?}");
        }
    }
}

#[test]
fn a_million_items_are_read_cut_and_merged() {
    let data: Vec<String> = (0..1_000_000i64).map(|i| (i * 37 - 5_000_000).to_string()).collect();
    let source = format!(r#"{{"kind":"map_reduce","data":[{}],"map":"x*x","reduce":"sum"}}"#, data.join(","));
    let expected: i128 = (0..1_000_000i128).map(|i| (i * 37 - 5_000_000).pow(2)).sum();
    assert_eq!(result(&source).unwrap(), format!("\"{expected}\""));
    let job = job(&source).unwrap();
    assert!(job.plan.most_units_a_batch(0) < 1_000_000, "a batch stays below its bound in bytes");
}

fn echo() -> String {
    STANDARD.encode(p2pnet_test_kernels::echo())
}

fn kernel_job(input: &[u8], split: &str, merge: &str) -> String {
    let (kernel, input) = (echo(), STANDARD.encode(input));
    format!(r#"{{"kind":"kernel","kernel":"{kernel}","input":"{input}","split":"{split}","merge":"{merge}"}}"#)
}

#[test]
fn every_split_cuts_as_documented_and_loses_nothing() {
    type Case = (&'static str, &'static [u8], &'static [&'static [u8]]);
    let cases: &[Case] = &[
        ("none", b"", &[b""]),
        ("none", b"a\nb", &[b"a\nb"]),
        ("lines", b"a\n\nb\r\nc", &[b"a\n", b"\n", b"b\r\n", b"c"]),
        ("lines", b"a\n", &[b"a\n"]),
        ("bytes:2", b"abcde", &[b"ab", b"cd", b"e"]),
        ("bytes:9", b"abcde", &[b"abcde"]),
        (
            "json_items",
            br#" [1, {"a": [2, "],\\\""]} ,"x,y" , []] "#,
            &[b"1", br#"{"a": [2, "],\\\""]}"#, br#""x,y""#, b"[]"],
        ),
    ];
    for (split, input, parts) in cases {
        let source = kernel_job(input, split, "concat");
        let job = job(&source).unwrap();
        assert_eq!(job.stages.units(), parts.len() as u64, "{split}");
        let inputs = job.plan.inputs(Span { start: 0, end: job.stages.units() }, &Done::new());
        assert_eq!(&inputs.iter().map(Vec::as_slice).collect::<Vec<_>>(), parts, "{split}");
        assert_eq!(result(&source).unwrap(), format!("\"{}\"", STANDARD.encode(parts.concat())), "{split}");
        assert_eq!(result(&kernel_job(input, split, "kernel")).unwrap(), result(&source).unwrap(), "{split}");
    }
    let tiny = job(&kernel_job("a\n".repeat(1_000_000).as_bytes(), "lines", "concat")).unwrap();
    assert_eq!((tiny.stages.units(), tiny.plan.most_units_a_batch(0)), (1_000_000, 1 << 16));
    let large = job(&kernel_job(&vec![7; 3 << 20], "bytes:100000", "concat")).unwrap();
    assert_eq!((large.plan.most_units_a_batch(0), large.plan.most_units_a_batch(31)), (10, 1));
}

#[test]
fn a_merge_by_the_kernel_is_a_stage_that_sees_all_outputs_in_order() {
    let job = job(&kernel_job(b"a\nb\nc\n", "lines", "kernel")).unwrap();
    let stages = &job.stages;
    let spans: Vec<(u64, u64)> = stages.iter().map(|placed| (placed.span.start, placed.span.end)).collect();
    assert_eq!(spans, [(0, 3), (3, 4)]);
    let fed: Vec<Vec<Feed>> = stages.iter().map(|placed| placed.needs.clone()).collect();
    assert_eq!(fed, [vec![], vec![Feed::All(stages.of_unit(0).unwrap().0)]]);
    assert_eq!((job.stages.units(), job.plan.most_units_a_batch(0), job.plan.most_units_a_batch(3)), (4, 3, 1));
    let done = [
        (Span { start: 0, end: 2 }, vec![b"1".to_vec(), b"2".to_vec()]),
        (Span { start: 2, end: 3 }, vec![b"3".to_vec()]),
    ];
    assert_eq!(job.plan.inputs(Span { start: 3, end: 4 }, &done.into()), [b"123"]);
}

/// `kernels/examples/word_count`, compiled.
static WORD_COUNT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/word-count.wasm"));

#[test]
fn the_word_count_example_merges_its_own_outputs() {
    let text = "Tell me a tale\nof a thousand and one\nA tale, a TALE\n";
    let (kernel, input) = (STANDARD.encode(WORD_COUNT), STANDARD.encode(text));
    let source =
        format!(r#"{{"kind":"kernel","kernel":"{kernel}","input":"{input}","split":"lines","merge":"kernel"}}"#);
    let expected = "a\t4\nand\t1\nme\t1\nof\t1\none\t1\ntale\t3\ntell\t1\nthousand\t1\n";
    assert_eq!(result(&source).unwrap(), format!("\"{}\"", STANDARD.encode(expected)));
}

#[test]
fn an_input_of_json_items_is_text_in_utf_8_and_a_mark_in_front_is_no_part_of_it() {
    let kernel = STANDARD.encode(p2pnet_test_kernels::echo());
    let with = |input: &[u8]| {
        let input = STANDARD.encode(input);
        format!(r#"{{"kind":"kernel","kernel":"{kernel}","input":"{input}","split":"json_items"}}"#)
    };
    for (input, expected) in [
        ("\u{feff}[1, \"a,b\"]", "1\"a,b\""),
        ("[\"\\ud83d\\ude00\\\\ud800\", \"é\"]", "\"\\ud83d\\ude00\\\\ud800\"\"é\""),
        ("[{\"\\u00e9\":1e400}]", "{\"\\u00e9\":1e400}"),
    ] {
        let expected = format!("\"{}\"", STANDARD.encode(expected));
        assert_eq!(result(&with(input.as_bytes())).unwrap(), expected, "{input}");
    }
    // Depth is bounded where a program reads an item, not where it is cut out.
    let deep = format!("[{}{}]", "[".repeat(200), "]".repeat(200));
    assert!(result(&with(deep.as_bytes())).is_ok());
    for (input, part) in [
        (&b"[\"\xff\"]"[..], "not UTF-8 text at line 1 column 3"),
        (b"\xef\xbb\xbf[1,\n \"a\xc3\"]", "not UTF-8 text at line 2 column 4"),
        (b"[1,\n\"\\ud800\"]", "the text at line 2 column 1 holds half of a character"),
        (b"[{\"\\udc00\":1}]", "the text at line 1 column 3 holds half of a character"),
        (b"[\"\\ud800\\u0041\"]", "the text at line 1 column 2 holds half of a character"),
        (b"[\0\"\0a\0\"\0]\0", "in UTF-16"),
        (b"\xff\xfe[\0]\0", "in UTF-16"),
        (b"[\"\\x\"]", "is no JSON list"),
        (b"\xef\xbb\xbf{}", "is no JSON list"),
    ] {
        let refused = refusal(&with(input));
        assert_eq!(refused.code, Code::InvalidField, "{input:?}");
        assert!(refused.message.contains(part), "{input:?}: {}", refused.message);
    }
}

#[test]
fn bad_kernel_jobs_are_refused_with_their_code() {
    let imports = STANDARD.encode({
        let mut module = wasm_encoder::Module::new();
        let mut types = wasm_encoder::TypeSection::new();
        types.ty().function([], []);
        let mut imports = wasm_encoder::ImportSection::new();
        imports.import("env", "now", wasm_encoder::EntityType::Function(0));
        module.section(&types).section(&imports);
        module.finish()
    });
    let with = |kernel: &str, rest: &str| format!(r#"{{"kind":"kernel","kernel":"{kernel}"{rest}}}"#);
    for (source, code) in [
        (with(&echo(), r#","input":"?""#), Code::InvalidField),
        (with(&echo(), r#","input":"","split":"words""#), Code::InvalidField),
        (with(&echo(), r#","input":"","split":"bytes:0""#), Code::InvalidField),
        (with(&echo(), r#","input":"","split":"lines""#), Code::EmptyInput),
        (with(&echo(), r#","input":"W10=","split":"json_items""#), Code::EmptyInput),
        (with(&echo(), r#","input":"e30=","split":"json_items""#), Code::InvalidField),
        (with(&echo(), r#","input":"","merge":"sum""#), Code::InvalidField),
        (with("AAAA", r#","input":"""#), Code::InvalidKernel),
        (with(&"ab".repeat(32), r#","input":"""#), Code::UnknownKernel),
        (with(&imports, r#","input":"""#), Code::KernelImports),
    ] {
        assert_eq!(job(&source).map(|_| ()).unwrap_err().code, code, "{source}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn cutting_a_range_any_way_gives_the_same_result(
        start in -500i64..500,
        count in 1i64..400,
        lengths in proptest::collection::vec(1u64..90, 1..6),
        which in 0usize..8,
        reduce in 0usize..6,
    ) {
        let formula =
            ["x", "x*x*x - 7*x", "x / 7", "sqrt(abs(x)) * 1e10 + 0.1", "x ** 9", "x > 3", "exp(x / 9)", "x % 5 - 2.5"][which];
        let reduce = ["sum", "product", "min", "max", "count", "average"][reduce];
        let source = range(start, start + count - 1, formula, reduce);
        let whole = result(&source).map_err(|refusal| refusal.code);
        let cut = result_cut(&source, &lengths).map_err(|refusal| refusal.code);
        prop_assert_eq!(whole, cut);
    }

    #[test]
    fn cutting_data_any_way_gives_the_same_result(
        data in proptest::collection::vec(prop_oneof![any::<i64>().prop_map(|i| i.to_string()), any::<f64>()
            .prop_filter("JSON has no such number", |float| float.is_finite()).prop_map(|f| format!("{f:?}"))], 1..200),
        lengths in proptest::collection::vec(1u64..50, 1..5),
        reduce in 0usize..7,
    ) {
        let data = data.join(",");
        let source = match ["", "sum", "product", "min", "max", "count", "average"][reduce] {
            "" => format!(r#"{{"kind":"map","data":[{data}],"map":"x + 1","where":"x > -1000"}}"#),
            reduce => format!(r#"{{"kind":"map_reduce","data":[{data}],"map":"x","reduce":"{reduce}"}}"#),
        };
        let whole = result(&source).map_err(|refusal| refusal.code);
        let cut = result_cut(&source, &lengths).map_err(|refusal| refusal.code);
        prop_assert_eq!(whole, cut);
    }

    #[test]
    fn integers_are_exact_or_refused(a in any::<i128>(), b in any::<i128>(), shift in 0u32..127, operator in 0usize..6) {
        let (a, b) = (a >> shift, b >> (126 - shift));
        let floor = |a: i128, b: i128| a.checked_div(b)
            .map(|quotient| if quotient * b != a && (a < 0) != (b < 0) { quotient - 1 } else { quotient });
        let (sign, expected) = match operator {
            0 => ("+", a.checked_add(b)),
            1 => ("-", a.checked_sub(b)),
            2 => ("*", a.checked_mul(b)),
            3 => ("//", floor(a, b)),
            4 => ("%", (b != 0).then(|| a.checked_rem(b).map_or(0, |r| if r != 0 && (r < 0) != (b < 0) { r + b } else { r }))),
            _ => ("**", u32::try_from(b.rem_euclid(9)).ok().and_then(|e| a.checked_pow(e))),
        };
        // The literal -2^127 has no positive counterpart to negate.
        prop_assume!(b != i128::MIN);
        let b = if sign == "**" { b.rem_euclid(9) } else { b };
        let got = result(&map(&format!("[{a}]"), &format!("x {sign} ({b})")));
        match expected {
            Some(value) if value.unsigned_abs() <= 1 << 53 => prop_assert_eq!(got.unwrap(), format!("[{value}]")),
            Some(value) => prop_assert_eq!(got.unwrap(), format!("[\"{value}\"]")),
            None => prop_assert!(matches!(got.unwrap_err().code, Code::IntegerOverflow | Code::DivisionByZero)),
        }
    }

    #[test]
    fn no_text_panics_the_reader(formula in "[x0-9a-z+*/%()<>=!,.'\" -]{0,40}") {
        let source = serde_json::json!({"kind": "map", "data": [1, 2.5], "map": formula}).to_string();
        let _ = job(&source);
    }
}
