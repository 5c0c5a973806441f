//! What a job may be, as OpenAPI says it: a schema for each kind, and examples that work as they stand.

use p2pnet_shared::job::kinds::{
    ALL,
    common::{FIELDS, KIND},
    limits::{MOST_CELLS, MOST_ITEMS},
    schema::{Choice, Field, Kind, Presence, Sample, Type},
    typed,
};
use serde_json::Value;

/// Characters of an example; what is longer says less.
const LONGEST_EXAMPLE: usize = 2_000;

/// The schemas of jobs, by their names: `Job`, that of each kind, and those of the objects in every job.
pub(super) fn schemas() -> Vec<(String, String)> {
    let choices: Vec<String> = ALL.iter().map(|kind| reference(&name_of(kind.name, "Job"))).collect();
    let mapping: Vec<(&str, String)> = ALL
        .iter()
        .map(|kind| (kind.name, quoted(&format!("#/components/schemas/{}", name_of(kind.name, "Job")))))
        .collect();
    let job = object(&[
        ("description", quoted("A job. Which fields it has depends on its kind; an unknown field is refused.")),
        ("oneOf", list(&choices)),
        ("discriminator", object(&[("propertyName", quoted(KIND)), ("mapping", object(&mapping))])),
    ]);
    let mut schemas = vec![("Job".to_owned(), job)];
    schemas.extend(ALL.iter().map(|kind| (name_of(kind.name, "Job"), kind_schema(kind))));
    for field in FIELDS {
        if let Type::Object(inner) = field.ty {
            let properties: Vec<(&str, String)> = inner.iter().map(|field| (field.name, property(field))).collect();
            let schema = object(&[
                ("type", quoted("object")),
                ("description", quoted(field.help.english)),
                ("required", list(&[])),
                ("properties", object(&properties)),
            ]);
            schemas.push((name_of(field.name, ""), schema));
        }
    }
    schemas
}

/// Examples of every kind, but for those that need a program beside them or are long.
pub(super) fn examples() -> String {
    let mut examples = Vec::new();
    for kind in ALL {
        for (place, example) in kind.examples.iter().enumerate() {
            // What is made is made to be long.
            if example.values.iter().any(|(_, sample)| !matches!(sample, Sample::Typed(_))) {
                continue;
            }
            let Some(job) = typed::example(kind, example, |_| None).filter(|job| job.len() <= LONGEST_EXAMPLE) else {
                continue;
            };
            let name = if place == 0 { kind.name.to_owned() } else { format!("{}_{}", kind.name, place + 1) };
            let summary = format!("{}: {}", kind.title.english, example.name.english);
            examples.push((name, object(&[("summary", quoted(&summary)), ("value", job)])));
        }
    }
    let examples: Vec<(&str, String)> =
        examples.iter().map(|(name, example)| (name.as_str(), example.clone())).collect();
    object(&examples)
}

fn kind_schema(kind: &Kind) -> String {
    let own = object(&[
        ("type", quoted("string")),
        ("description", quoted("What kind of job.")),
        ("const", quoted(kind.name)),
    ]);
    let fields = || kind.fields.iter().chain(FIELDS);
    let mut properties = vec![(KIND, own)];
    properties.extend(fields().map(|field| (field.name, property(field))));
    // What has a meaning beside some words only is asked for by the reader, in words.
    let needed = fields().filter(|field| field.presence == Presence::Required && field.only.is_none());
    let required: Vec<String> = [KIND].into_iter().chain(needed.map(|field| field.name)).map(quoted).collect();
    object(&[
        ("type", quoted("object")),
        ("description", quoted(kind.about.english)),
        ("required", list(&required)),
        ("properties", object(&properties)),
        ("additionalProperties", "false".to_owned()),
    ])
}

fn property(field: &Field) -> String {
    let ty = |name: &str| ("type", quoted(name));
    let mut members = match field.ty {
        Type::Formula | Type::Module | Type::Bytes => vec![ty("string")],
        Type::Integer { least, most } => {
            let mut members = vec![ty("integer"), ("minimum", least.to_string())];
            if most < i64::MAX {
                members.push(("maximum", most.to_string()));
            }
            members
        }
        Type::Fraction { most } => {
            vec![ty("number"), ("exclusiveMinimum", "0".to_owned()), ("maximum", most.to_string())]
        }
        Type::Choice(choices) => vec![ty("string"), words(choices)],
        Type::Line { most } => vec![ty("string"), ("minLength", "1".to_owned()), ("maxLength", most.to_string())],
        Type::Labels { most } => {
            vec![ty("object"), ("maxProperties", most.to_string()), ("additionalProperties", object(&[ty("string")]))]
        }
        Type::Items => vec![
            ty("array"),
            ("minItems", "1".to_owned()),
            ("maxItems", MOST_ITEMS.to_string()),
            ("items", object(&[("type", list(&[quoted("number"), quoted("string")]))])),
        ],
        Type::Matrix => {
            let row = object(&[
                ty("array"),
                ("description", quoted("A row.")),
                ("minItems", "1".to_owned()),
                ("items", object(&[ty("number")])),
            ]);
            vec![ty("array"), ("minItems", "1".to_owned()), ("maxItems", MOST_CELLS.to_string()), ("items", row)]
        }
        Type::Texts { most: _ } => vec![ty("array"), ("items", object(&[ty("string")]))],
        Type::Integers { least, most, longest } => {
            let item = object(&[ty("integer"), ("minimum", least.to_string()), ("maximum", most.to_string())]);
            vec![ty("array"), ("minItems", "1".to_owned()), ("maxItems", longest.to_string()), ("items", item)]
        }
        Type::Object(_) => return reference(&name_of(field.name, "")),
    };
    members.insert(1, ("description", quoted(&format!("{}. {}", field.label.english, field.help.english))));
    if let Some(default) = field.default() {
        members.push(("default", default_of(field, default)));
    }
    object(&members)
}

/// The words of a choice; a pattern, where a number follows one of them.
fn words(choices: &[Choice]) -> (&'static str, String) {
    if choices.iter().all(|choice| choice.number.is_none()) {
        return ("enum", list(&choices.iter().map(|choice| quoted(choice.name)).collect::<Vec<_>>()));
    }
    let pattern = |choice: &Choice| match choice.number {
        Some(_) => format!("{}:[0-9]+", choice.name),
        None => choice.name.to_owned(),
    };
    ("pattern", quoted(&format!("^({})$", choices.iter().map(pattern).collect::<Vec<_>>().join("|"))))
}

fn default_of(field: &Field, default: &str) -> String {
    match field.ty {
        Type::Integer { .. } | Type::Fraction { .. } => default.to_owned(),
        Type::Integers { .. } => format!("[{default}]"),
        Type::Formula
        | Type::Choice(_)
        | Type::Line { .. }
        | Type::Labels { .. }
        | Type::Items
        | Type::Matrix
        | Type::Module
        | Type::Bytes
        | Type::Texts { .. }
        | Type::Object(_) => quoted(default),
    }
}

/// `range_reduce` and `Job` as `RangeReduceJob`.
fn name_of(name: &str, end: &str) -> String {
    let capital = |word: &str| {
        let mut letters = word.chars();
        letters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(letters).collect::<String>()
    };
    name.split('_').map(capital).chain([end.to_owned()]).collect()
}

fn reference(name: &str) -> String {
    object(&[("$ref", quoted(&format!("#/components/schemas/{name}")))])
}

/// An object in this order, which is that in which people think of its members.
fn object(members: &[(&str, String)]) -> String {
    let members: Vec<String> = members.iter().map(|(name, json)| format!("{}: {json}", quoted(name))).collect();
    format!("{{{}}}", members.join(", "))
}

fn list(values: &[String]) -> String {
    format!("[{}]", values.join(", "))
}

fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

#[cfg(test)]
#[expect(clippy::unwrap_used)]
mod tests {
    use p2pnet_shared::job::kinds::read;

    use super::*;

    fn schema(name: &str) -> Value {
        let (_, schema) = schemas().into_iter().find(|(known, _)| known == name).unwrap();
        serde_json::from_str(&schema).unwrap()
    }

    #[test]
    fn every_field_of_every_kind_has_its_type_its_range_and_its_default() {
        for kind in ALL {
            let schema = schema(&name_of(kind.name, "Job"));
            assert_eq!(schema["properties"]["kind"]["const"], kind.name);
            assert_eq!(schema["properties"].as_object().unwrap().len(), kind.fields.len() + FIELDS.len() + 1);
            for field in kind.fields {
                let property = &schema["properties"][field.name];
                assert!(property["description"].as_str().unwrap().contains(field.help.english), "{}", field.name);
                let needed = schema["required"].as_array().unwrap().iter().any(|name| name == field.name);
                assert_eq!(needed, field.presence == Presence::Required && field.only.is_none(), "{}", field.name);
                assert_eq!(property.get("default").is_some(), field.default().is_some(), "{}", field.name);
            }
        }
        let range = schema("RangeReduceJob");
        assert_eq!(range["properties"]["start"]["minimum"], -(1_i64 << 62));
        assert_eq!(range["properties"]["reduce"]["enum"][3], "max");
        assert_eq!(schema("Requirements")["properties"]["timeout_seconds"]["maximum"], 3600);
        assert_eq!(schema("KernelJob")["properties"]["split"]["pattern"], "^(lines|bytes:[0-9]+|json_items|none)$");
        let job = schema("Job");
        assert_eq!(job["discriminator"]["mapping"].as_object().unwrap().len(), ALL.len());
        assert_eq!(job["oneOf"].as_array().unwrap().len(), ALL.len());
    }

    #[test]
    fn every_kind_has_an_example_that_is_read() {
        let examples: Value = serde_json::from_str(&examples()).unwrap();
        for kind in ALL {
            assert!(examples.get(kind.name).is_some(), "{}", kind.name);
        }
        for (name, example) in examples.as_object().unwrap() {
            let job = read(&example["value"].to_string(), &|_| None);
            assert!(job.is_ok_and(|job| name.starts_with(job.kind)), "{name}");
        }
    }
}
