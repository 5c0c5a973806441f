//! What people's programs send: fields twice, misspelt, misplaced, with marks of their editors, too deep, too many.

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::{
    tests::{job, result},
    text_of,
};
use crate::{
    blob::Blob,
    job::{Done, Job},
    refusal::{Code, Refusal},
};

fn refusal(source: &str) -> Refusal {
    job(source).map(|_| ()).unwrap_err()
}

#[test]
fn a_field_twice_is_refused_wherever_it_stands() {
    for (rest, path) in [
        (r#""map":"x","map":"x + 1""#, "`map`"),
        (r#""data":[2]"#, "`data`"),
        (r#""policy":{"retries":1,"retries":2}"#, "`policy.retries`"),
        (r#""requirements":{"ram_gb":1,"ram_gb":1}"#, "`requirements.ram_gb`"),
        (r#""labels":{"a":"1","b":"2","a":"3"}"#, "`labels.a`"),
        (r#""zzz":{"a":[{"b":1},{"b":{"c":1,"c":2}}]}"#, "`zzz.a.b.c`"),
    ] {
        let refusal = refusal(&format!(r#"{{"kind":"map","data":[1],{rest}}}"#));
        assert_eq!(refusal.message, format!("{path} stands there twice"), "{rest}");
        assert_eq!(refusal.code, Code::InvalidField);
    }
    assert!(job(r#"{"kind":"map","data":[1],"map":"x","labels":{"retries":"1"},"policy":{"retries":1}}"#).is_ok());
}

#[test]
fn a_misspelt_field_is_named_before_what_is_missing_and_says_what_may_be_meant() {
    for (source, parts) in [
        (r#"{"kind":"map","data":[1],"mpa":"x"}"#, &["`mpa`", "`map`?"][..]),
        (r#"{"kind":"map","dta":[1],"map":"x +"}"#, &["`dta`", "`data`?"]),
        (r#"{"kind":"map","Data":[1],"map":"x"}"#, &["`Data`", "`data`?"]),
        (r#"{"knid":"map","data":[1],"map":"x"}"#, &["`knid`", "`kind`?"]),
        (r#"{"kind":"map","data":[1],"map":"x","policy":{"retires":1}}"#, &["`policy.retires`", "`policy.retries`?"]),
        (r#"{"kind":"map","data":[1],"map":"x","requirements":{"timeout":1}}"#, &["`requirements.timeout_seconds`?"]),
        (r#"{"kind":"map","data":[1],"map":"x","retries":1}"#, &["`retries`", "`policy.retries`?"]),
        (r#"{"kind":"map","data":[1],"map":"x","ram":1}"#, &["`ram`", "`requirements.ram_gb`?"]),
        (r#"{"kind":"map","data":[1],"map":"x","label":{}}"#, &["`label`", "`labels`?"]),
        (r#"{"kind":"map","data":[1],"map":"x","start":1}"#, &["`start`", "a field of range_reduce"]),
        (r#"{"kind":"range_reduce","strat":1,"end":2,"reduce":"sum"}"#, &["`strat`", "`start`?"]),
        (r#"{"kind":"kernel","kernal":"AAAA"}"#, &["`kernal`", "`kernel`?"]),
    ] {
        let refusal = refusal(source);
        assert_eq!(refusal.code, Code::UnknownField, "{source}: {refusal}");
        for part in parts {
            assert!(refusal.message.contains(part), "{source}: {refusal}");
        }
        assert!(!refusal.hint.is_empty());
    }
    // Whatever else is wrong, before or behind it.
    for wrong in [
        r#""name":5"#,
        r#""labels":7"#,
        r#""requirements":{"ram_gb":-1}"#,
        r#""policy":{"priority":"urgent","retries":99,"retires":3}"#,
        r#""map":7"#,
        r#""where":"x +""#,
        r#""data":[null]"#,
        r#""kind":7"#,
        r#""kind":"mapp""#,
    ] {
        let slip = if wrong.contains("retires") { "" } else { r#","policy":{"retires":3}"# };
        let rest = [r#""kind":"map""#, r#""data":[1]"#, r#""map":"x""#]
            .into_iter()
            .filter(|field| field.split(':').next() != wrong.split(':').next())
            .map(|field| format!(",{field}"))
            .collect::<String>();
        let refusal = refusal(&format!("{{{wrong}{slip}{rest}}}"));
        assert!(refusal.code == Code::UnknownField, "{wrong}: {refusal}");
        assert!(refusal.message.ends_with("`policy.retires`; did you mean `policy.retries`?"), "{wrong}: {refusal}");
    }
    for (fields, message) in [
        (r#""requirements":{"retries":1}"#, "there is no `requirements.retries`; did you mean `policy.retries`?"),
        (r#""policy":{"ram_gb":1}"#, "there is no `policy.ram_gb`; did you mean `requirements.ram_gb`?"),
        (r#""policy":{"labels":1}"#, "there is no `policy.labels`; `labels` is a field of the job itself"),
        (r#""policy":{"colour":1}"#, "there is no `policy.colour`"),
        (r#""kind":"mapp","mpa":1"#, "there is no field `mpa`; did you mean `map`?"),
        (r#""colour":1,"knd":"map""#, "there is no field `knd`; did you mean `kind`?"),
    ] {
        assert_eq!(refusal(&format!("{{{fields}}}")).message, message);
    }
}

#[test]
fn a_misspelt_field_is_named_however_much_stands_in_it() {
    let (list, rows) = (vec!["1"; 100_002].join(","), vec![format!("[{}]", vec!["1"; 400].join(",")); 400].join(","));
    for (source, parts) in [
        (format!(r#"{{"kind":"map","map":"x","Data":[{list}]}}"#), &["`Data`", "`data`?"]),
        (format!(r#"{{"kind":"map","numbers":[{list}],"map":"x"}}"#), &["`numbers`", "no field"]),
        (format!(r#"{{"A":[{rows}],"kind":"matrix","operation":"transpose"}}"#), &["`A`", "`a`?"]),
    ] {
        let refusal = refusal(&source);
        assert!(
            refusal.code == Code::UnknownField && parts.iter().all(|part| refusal.message.contains(part)),
            "{refusal}"
        );
    }
    let colour = refusal(r#"{"kind":"map","data":[1],"map":"x","colour":"red"}"#);
    assert!(!colour.message.contains("did you mean"), "{colour}");
    let kind = refusal(r#"{"kind":"mapreduce"}"#);
    assert!(kind.code == Code::UnknownKind && kind.message.contains("`map_reduce`?"), "{kind}");
}

#[test]
fn a_byte_order_mark_is_no_part_of_a_job() {
    let plain = r#"{"kind":"map","data":[1],"map":"x"}"#;
    let marked = format!("\u{feff}{plain}");
    assert_eq!(&*job(&marked).unwrap().source, plain);
    assert_eq!(job(text_of(marked.as_bytes()).unwrap()).unwrap().source.to_string(), plain);
    let twice = format!("\u{feff}{marked}");
    assert_eq!(refusal(&twice).code, Code::InvalidJson, "one mark, not two");
    assert_eq!(refusal(text_of(twice.as_bytes()).unwrap()).code, Code::InvalidJson, "nor in bytes");
}

#[test]
fn what_is_no_job_is_refused_with_its_reason() {
    let deep = |inner: &str| format!(r#"{{"kind":"map","data":[1],"map":"x","zzz":{inner}}}"#);
    for (source, code, part) in [
        (r#"{"kind":"map","data":[NaN],"map":"x"}"#.to_owned(), Code::InvalidJson, "NaN"),
        (r#"{"kind":"map","data":[-Infinity],"map":"x"}"#.to_owned(), Code::InvalidJson, "Infinity"),
        (r#"{"kind":"map","data":["\ud800"],"map":"x"}"#.to_owned(), Code::InvalidJson, "surrogate"),
        (r#"{"kind":"map","data":[1],"map":"x"} {}"#.to_owned(), Code::InvalidJson, "trailing"),
        (deep(&format!("{}1{}", "[".repeat(50_000), "]".repeat(50_000))), Code::InvalidJson, "too deep"),
        (deep(&format!("{}1{}", r#"{"a":"#.repeat(50_000), "}".repeat(50_000))), Code::InvalidJson, "too deep"),
        (deep(&format!("[{}1]", "1,".repeat(200_000))), Code::UnknownField, "`zzz`"),
        (r#"{"kind":"map","data":[1e400],"map":"x"}"#.to_owned(), Code::InvalidNumber, "too large"),
        (r#"{"kind":"map","data":[01],"map":"x"}"#.to_owned(), Code::InvalidJson, "number"),
        (r#"{"kind":"map","data":[1],"map":"x","name":"a\nb"}"#.to_owned(), Code::InvalidField, "`name`"),
        (r#"{"kind":"map","data":[1],"map":"x","labels":{"a":1}}"#.to_owned(), Code::InvalidField, "`labels.a`"),
        (r#"{"kind":"map","data":[1],"map":"x","labels":["a"]}"#.to_owned(), Code::InvalidField, "`labels`"),
    ] {
        let refusal = refusal(&source);
        let shown: String = source.chars().take(60).collect();
        assert_eq!(refusal.code, code, "{shown}: {refusal}");
        assert!(refusal.message.contains(part), "{shown}: {refusal}");
    }
    assert_eq!(result(r#"{"kind":"map","data":[1e-400,-0,-0.0],"map":"x"}"#).unwrap(), "[0.0,0,-0.0]");
}

#[test]
fn a_lists_own_name_for_numbers_is_no_number() {
    // What serde_json calls a number inside is an object where a person writes it.
    for digits in ["5", "inf", ".5", "+7", "many"] {
        let odd = format!(r#"{{"$serde_json::private::Number":"{digits}"}}"#);
        for (job, message) in [
            (format!(r#"{{"kind":"map","data":[{odd}],"map":"x"}}"#), "`data` item 0 is an object"),
            (format!(r#"{{"kind":"map","data":{odd},"map":"x"}}"#), "`data` must be a list"),
            (format!(r#"{{"kind":"matrix","op":"transpose","a":[[{odd}]]}}"#), "`a` row 0, column 0 is an object"),
            (format!(r#"{{"kind":"matrix","op":"transpose","a":[{odd}]}}"#), "`a` row 0 is an object"),
            (
                format!(r#"{{"kind":"map","data":[1],"map":"x","policy":{{"retries":{odd}}}}}"#),
                "`policy.retries` cannot be an object",
            ),
            (
                format!(r#"{{"kind":"map","data":[1],"map":"x","requirements":{{"ram_gb":{odd}}}}}"#),
                "`requirements.ram_gb` cannot be an object",
            ),
            (
                format!(r#"{{"kind":"map","data":[1],"map":"x","policy":{odd}}}"#),
                "there is no `policy.$serde_json::private::Number`",
            ),
            (
                format!(r#"{{"kind":"map","data":[1],"map":"x","labels":{{"a":{odd}}}}}"#),
                "`labels.a` cannot be an object",
            ),
            (
                format!(r#"{{"kind":"range_reduce","start":{odd},"end":2,"reduce":"sum"}}"#),
                "`start` cannot be an object",
            ),
        ] {
            assert_eq!(refusal(&job).message, message, "{job}");
        }
    }
}

#[test]
fn a_job_without_input_reads_nothing() {
    let kernel = STANDARD.encode(p2pnet_test_kernels::echo());
    assert_eq!(result(&format!(r#"{{"kind":"kernel","kernel":"{kernel}"}}"#)).unwrap(), "\"\"");
    let lines = refusal(&format!(r#"{{"kind":"kernel","kernel":"{kernel}","split":"lines"}}"#));
    assert_eq!(lines.code, Code::EmptyInput);
}

#[test]
fn name_and_labels_are_read_and_reach_no_kernel() {
    let plain = job(r#"{"kind":"map","data":[1,2],"map":"x"}"#).unwrap();
    let source = r#"{"kind":"map","data":[1,2],"map":"x","name":"nightly","labels":{"team":"physics","run":"7"}}"#;
    let named = job(source).unwrap();
    assert_eq!(named.metadata.name.as_deref(), Some("nightly"));
    assert_eq!(named.metadata.labels.get("team").map(String::as_str), Some("physics"));
    let span = crate::units::Span { start: 0, end: 2 };
    let seen = |job: &Job| {
        let programs: Vec<_> = job.stages.iter().map(|placed| placed.stage.program.clone()).collect();
        (programs, job.plan.inputs(span, &Done::new()))
    };
    assert_eq!(seen(&plain), seen(&named));
}

#[test]
fn a_module_that_was_found_sound_is_not_looked_at_again_and_one_of_the_other_kind_is() {
    let hash = crate::id::Hash::of(b"rubbish");
    let read = |sound_as_kernel, sound_as_command| {
        let known = |_| Some(super::Known { blob: Blob::new(*b"rubbish"), sound_as_kernel, sound_as_command });
        super::read_known(&format!(r#"{{"kind":"kernel","kernel":"{hash}"}}"#), &known).map(|_| ())
    };
    assert_eq!(read(true, false), Ok(()));
    for (as_kernel, as_command) in [(false, false), (false, true)] {
        assert_eq!(read(as_kernel, as_command).unwrap_err().code, Code::InvalidKernel);
    }
}

#[test]
fn what_is_short_is_refused_before_what_is_long_is_read_wherever_it_stands() {
    let unknown = crate::id::Hash::of(b"unknown");
    for (source, code, part) in [
        (r#"{"kind":"map","data":[null],"map":"x +"}"#.to_owned(), Code::InvalidFormula, "`map`"),
        (r#"{"data":[null],"map":"x","policy":{"retries":99},"kind":"map"}"#.to_owned(), Code::InvalidField, "retries"),
        (r#"{"data":[null],"kind":"map_reduce","reduce":"sun"}"#.to_owned(), Code::InvalidField, "`reduce`"),
        (r#"{"kind":"matrix","a":[[]],"op":"turn"}"#.to_owned(), Code::InvalidField, "`op`"),
        (r#"{"kind":"matrix","a":[[]],"op":"add"}"#.to_owned(), Code::MissingField, "`b`"),
        (r#"{"kind":"matrix","a":[[]],"b":[[]],"op":"lu"}"#.to_owned(), Code::UnknownField, "`b`"),
        (format!(r#"{{"kind":"kernel","input":"?","kernel":"{unknown}"}}"#), Code::UnknownKernel, "no kernel"),
        (r#"{"kind":"kernel","input":"?","kernel":"?","split":"words"}"#.to_owned(), Code::InvalidField, "`split`"),
        (
            r#"{"kind":"command","input":"?","module":"?","ok_exit_codes":[]}"#.to_owned(),
            Code::InvalidField,
            "is empty",
        ),
    ] {
        let refusal = refusal(&source);
        assert!(refusal.code == code && refusal.message.contains(part), "{source}: {refusal:?}");
    }
    let codes = format!("[{}0]", "0,".repeat(256));
    let many = refusal(&format!(r#"{{"kind":"command","module":"?","ok_exit_codes":{codes}}}"#));
    assert_eq!(many.message, "`ok_exit_codes` has 257 numbers; at most 256 are taken");
}
