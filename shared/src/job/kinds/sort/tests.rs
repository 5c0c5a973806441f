//! Lists sorted by the real kernel on the real interpreter, cut anyhow, against what the standard library says.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::super::tests::{job, result, result_cut};
use crate::{
    exchange::value::Value,
    job::{Done, local::run_locally},
    refusal::{Code, Refusal},
    units::Span,
};

fn sort(data: &str, by: &str, order: &str) -> String {
    format!(r#"{{"kind":"sort","data":{data},"by":"{by}","order":"{order}"}}"#)
}

fn refusal(source: &str) -> Refusal {
    job(source).map(|_| ()).unwrap_err()
}

#[test]
fn numbers_come_in_the_order_of_what_they_are_and_equal_ones_in_their_own() {
    let large = "170141183460469231731687303715884105727";
    let list =
        format!("[3,-1,2.5,0,-0.0,1e300,{large},-{large},1.0,1,5e-324,-5e-324,9007199254740993,9007199254740992.0]");
    let ascending = result(&sort(&list, "number", "ascending")).unwrap();
    assert_eq!(
        ascending,
        format!(
            r#"["-{large}",-1,-5e-324,0,-0.0,5e-324,1.0,1,2.5,3,9007199254740992.0,"9007199254740993","{large}",1e+300]"#
        )
    );
    let descending = result(&sort(&list, "number", "descending")).unwrap();
    // Not just turned around: what is equal stays in its order.
    assert!(descending.ends_with(&format!(r#"3,2.5,1.0,1,5e-324,0,-0.0,-5e-324,-1,"-{large}"]"#)), "{descending}");
    assert_eq!(result(r#"{"kind":"sort","data":[2,1]}"#).unwrap(), "[1,2]");
    assert_eq!(result(&sort("[7]", "number", "descending")).unwrap(), "[7]");
}

#[test]
fn texts_come_by_their_characters() {
    let list = r#"["b","","я","ab","a","Z","a","🙂","\u0000"]"#;
    assert_eq!(result(&sort(list, "text", "ascending")).unwrap(), r#"["","\u0000","Z","a","a","ab","b","я","🙂"]"#);
    assert_eq!(result(&sort(list, "text", "descending")).unwrap(), r#"["🙂","я","b","ab","a","a","Z","\u0000",""]"#);
}

#[test]
fn an_item_of_another_kind_is_named() {
    for (data, by, part) in [
        (r#"[1,2.5,"x",3]"#, "number", "`data` item 2 is \"x\", which is no number"),
        (r#"["x","y",7]"#, "text", "`data` item 2 is 7, which is no text"),
        (r#"["x",1.5]"#, "text", "`data` item 1 is 1.5, which is no text"),
        ("[1]", "text", "`data` item 0 is 1, which is no text"),
    ] {
        let refusal = refusal(&sort(data, by, "ascending"));
        assert_eq!((refusal.code, refusal.message.as_str()), (Code::InvalidField, part));
        assert!(!refusal.hint.is_empty());
    }
    for (source, code) in [
        (sort("[]", "number", "ascending"), Code::EmptyInput),
        (sort("[null]", "number", "ascending"), Code::InvalidField),
        (sort("[1]", "size", "ascending"), Code::InvalidField),
        (sort("[1]", "number", "up"), Code::InvalidField),
        (r#"{"kind":"sort"}"#.to_owned(), Code::MissingField),
        (r#"{"kind":"sort","data":[1],"map":"x"}"#.to_owned(), Code::UnknownField),
    ] {
        assert_eq!(refusal(&source).code, code, "{source}");
    }
}

#[test]
fn an_output_that_is_no_stable_order_is_no_nodes_to_give() {
    let job = job(&sort("[30,10,20,10]", "number", "ascending")).unwrap();
    let span = Span { start: 0, end: 4 };
    let output = |places: &[u32]| places.iter().flat_map(|place| place.to_le_bytes()).collect::<Vec<u8>>();
    assert_eq!(job.plan.check(span, &output(&[1, 3, 2, 0])), Ok(()));
    for wrong in [&[3, 1, 2, 0][..], &[1, 3, 0, 2], &[1, 3, 2], &[1, 1, 2, 0], &[1, 3, 2, 4], &[1, 3, 2, 0, 0], &[]] {
        assert_eq!(job.plan.check(span, &output(wrong)).unwrap_err().code, Code::MergeFailed, "{wrong:?}");
    }
    let mut cut = output(&[1, 3, 2, 0]);
    cut.pop();
    assert_eq!(job.plan.check(span, &cut).unwrap_err().code, Code::MergeFailed);
}

#[test]
fn a_batch_stays_within_its_bound_and_a_long_list_is_cut() {
    let numbers: Vec<String> = (0..100_000_i64).map(|n| ((n * 7_919) % 100_003 - 50_000).to_string()).collect();
    let job = job(&sort(&format!("[{}]", numbers.join(",")), "number", "ascending")).unwrap();
    let (mut start, mut batches) = (0, 0);
    while start < job.stages.units() {
        let end = (start + job.plan.most_units_a_batch(start)).min(job.stages.units());
        let input = job.plan.inputs(Span { start, end }, &Done::new());
        assert!(input[0].len() <= super::BATCH_BYTES + 16, "{} bytes", input[0].len());
        (start, batches) = (end, batches + 1);
    }
    assert!(batches > 1);
    let run = run_locally(&job, &mut crate::engine::WasmiEngine::new(), u64::MAX).unwrap();
    let sorted: Vec<i64> = serde_json::from_str(&run.result).unwrap();
    let mut expected: Vec<i64> = numbers.iter().map(|n| n.parse().unwrap()).collect();
    expected.sort_unstable();
    assert_eq!(sorted, expected);
}

/// A number as people write them, in every size.
fn number() -> impl Strategy<Value = String> {
    prop_oneof![
        (-4_i64..4).prop_map(|n| n.to_string()),
        (-4_i64..4).prop_map(|n| format!("{n}.0")),
        any::<i128>().prop_map(|n| n.to_string()),
        any::<f64>().prop_filter("JSON has no other", |n| n.is_finite()).prop_map(|n| format!("{n:e}")),
        (-1000.0..1000.0).prop_map(|n: f64| format!("{n:?}")),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn keys_stand_to_each_other_as_their_numbers_do(left in number(), right in number()) {
        let list = sort(&format!("[{left},{right}]"), "number", "ascending");
        let job = job(&list).unwrap();
        let input = job.plan.inputs(Span { start: 0, end: 2 }, &Done::new()).remove(0);
        let word = |at: usize| u32::from_le_bytes(input[at..at + 4].try_into().unwrap()) as usize;
        let keys = &input[17..];
        let (first, second) = (&keys[..word(9)], &keys[word(9)..word(13)]);
        let exact = |text: &str| {
            let integer = text.parse::<i128>().map(Value::Integer);
            integer.unwrap_or_else(|_| Value::Float(text.parse().unwrap()))
        };
        let compared = match (exact(&left), exact(&right)) {
            (Value::Integer(left), Value::Integer(right)) => left.cmp(&right),
            (Value::Integer(left), Value::Float(right)) => super::compare(left, right).unwrap(),
            (Value::Float(left), Value::Integer(right)) => super::compare(right, left).unwrap().reverse(),
            (Value::Float(left), Value::Float(right)) => left.partial_cmp(&right).unwrap(),
            (_, _) => unreachable!(),
        };
        prop_assert_eq!(first.cmp(second), compared, "{} beside {}", left, right);
    }

    #[test]
    fn however_a_list_is_cut_its_order_is_the_same(
        texts in prop::collection::vec("[ab]{0,3}", 1..200),
        lengths in prop::collection::vec(1_u64..40, 1..5),
        descending in any::<bool>(),
    ) {
        let order = if descending { "descending" } else { "ascending" };
        let list = sort(&json!(texts).to_string(), "text", order);
        let mut expected = texts.clone();
        expected.sort();
        if descending {
            expected.reverse();
        }
        let sorted: Json = serde_json::from_str(&result_cut(&list, &lengths).unwrap()).unwrap();
        prop_assert_eq!(sorted, json!(expected));
    }

    #[test]
    fn what_is_equal_stays_in_its_order(
        numbers in prop::collection::vec((0_i64..3, any::<bool>()), 1..100),
        lengths in prop::collection::vec(1_u64..20, 1..4),
    ) {
        // 1 and 1.0 are equal, and told apart by how they are written.
        let written: Vec<String> =
            numbers.iter().map(|(n, float)| if *float { format!("{n}.0") } else { n.to_string() }).collect();
        let sorted = result_cut(&sort(&format!("[{}]", written.join(",")), "number", "descending"), &lengths).unwrap();
        let mut kept: BTreeMap<i64, Vec<String>> = BTreeMap::new();
        numbers.iter().zip(&written).for_each(|((n, _), text)| kept.entry(-n).or_default().push(text.clone()));
        let expected = kept.into_values().flatten().collect::<Vec<_>>().join(",");
        prop_assert_eq!(sorted, format!("[{expected}]"));
    }
}
