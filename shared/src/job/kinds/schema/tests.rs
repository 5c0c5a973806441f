//! What every kind says of itself is true.

use std::{fs, path::Path};

use serde_json::Value as Json;

use super::{Field, Kind, Presence, Text, Type};
use crate::{
    engine::WasmiEngine,
    job::{
        Policy, Requirements,
        kinds::{ALL, common, read, typed},
        local::run_locally,
    },
    refusal::Code,
};

/// Units of an example that are run.
const MOST_UNITS: u64 = 20_000;

/// A kind's own fields, those of every kind, and those within them.
fn fields(kind: &'static Kind) -> Vec<&'static Field> {
    let mut fields: Vec<&Field> = kind.fields.iter().chain(common::FIELDS).collect();
    for field in common::FIELDS {
        if let Type::Object(inner) = field.ty {
            fields.extend(inner);
        }
    }
    fields
}

fn shipped(program: &str) -> Option<Vec<u8>> {
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("../kernels/commands/built");
    fs::read(built.join(format!("{program}.wasm"))).ok()
}

#[test]
fn every_example_of_every_kind_runs() {
    for kind in ALL {
        assert!(!kind.examples.is_empty(), "{} has no example", kind.name);
        for example in kind.examples {
            let json = typed::example(kind, example, shipped).unwrap();
            let about = format!("{} of {}: {json:.300}", example.name.english, kind.name);
            for (name, _) in example.values {
                assert!(kind.field(name).is_some(), "{name} is no field: {about}");
            }
            let job = read(&json, &|_| None).unwrap_or_else(|refusal| panic!("{about}: {refusal:?}"));
            assert_eq!(job.kind, kind.name);
            let run = run_locally(&job, &mut WasmiEngine::new(), MOST_UNITS);
            let result = run.unwrap_or_else(|refusal| panic!("{about}: {refusal:?}")).result;
            let _: Json = serde_json::from_str(&result).unwrap();
        }
    }
}

#[test]
fn a_field_is_what_it_says_whichever_kind_has_it() {
    for kind in ALL {
        let mut seen = Vec::new();
        for field in fields(kind) {
            assert!(!seen.contains(&field.name) && field.name != common::KIND, "{} twice", field.name);
            seen.push(field.name);
            for other in ALL.iter().flat_map(|kind| fields(kind)).filter(|other| other.name == field.name) {
                // The command line has one flag for both, and a long list is found before its kind is known.
                assert_eq!(format!("{:?}", other.ty), format!("{:?}", field.ty), "{} differs", field.name);
            }
            if let Presence::Unless(other) = field.presence {
                assert!(kind.field(other).is_some(), "{other} is no field of {}", kind.name);
            }
            if let Some((other, among)) = field.only {
                let Some(Type::Choice(choices)) = kind.field(other).map(|field| field.ty) else {
                    panic!("{other} is no choice of {}", kind.name)
                };
                assert!(among.iter().all(|word| choices.iter().any(|choice| choice.name == *word)));
            }
            if let (Type::Choice(choices), Some(default)) = (field.ty, field.default()) {
                assert!(choices.iter().any(|choice| choice.name == default), "{default} is no {}", field.name);
            }
        }
    }
}

#[test]
fn a_needed_field_is_asked_for_by_its_name_and_an_unknown_word_by_those_known() {
    for kind in ALL {
        let example = typed::example(kind, &kind.examples[0], shipped).unwrap();
        let whole: serde_json::Map<String, Json> = serde_json::from_str(&example).unwrap();
        for field in kind.fields {
            let mut without = whole.clone();
            without.remove(field.name);
            let read_without = read(&Json::Object(without).to_string(), &|_| None);
            match field.presence {
                Presence::Required | Presence::Unless(_) => {
                    let refusal = read_without.err().unwrap_or_else(|| panic!("{} without {}", kind.name, field.name));
                    assert_eq!(refusal.code, Code::MissingField, "{} without {}: {refusal:?}", kind.name, field.name);
                    assert!(refusal.message.contains(&format!("`{}`", field.name)) && !refusal.hint.is_empty());
                }
                Presence::Default(_) | Presence::Optional => {
                    assert!(
                        !read_without.is_err_and(|refusal| refusal.code == Code::MissingField),
                        "{} is not needed",
                        field.name
                    );
                }
            }
            let mut wrong = whole.clone();
            wrong.insert(field.name.to_owned(), Json::Bool(true));
            let refusal = read(&Json::Object(wrong).to_string(), &|_| None).err();
            let refusal = refusal.unwrap_or_else(|| panic!("{} of {} may be true", field.name, kind.name));
            assert_eq!(refusal.code, Code::InvalidField, "{} of {}: {refusal:?}", field.name, kind.name);
            let Type::Choice(choices) = field.ty else { continue };
            let mut odd = whole.clone();
            odd.insert(field.name.to_owned(), "zzz".into());
            let refusal = read(&Json::Object(odd).to_string(), &|_| None).err().unwrap();
            assert!(choices.iter().all(|choice| refusal.hint.contains(choice.name)), "{refusal:?}");
        }
    }
}

#[test]
fn defaults_are_those_of_a_job_that_says_nothing() {
    let bare = r#"{"kind":"map","data":[1],"map":"x"}"#;
    let defaults = |fields: &[Field]| {
        let members = fields.iter().filter_map(|field| {
            let default = field.default()?;
            let word = matches!(field.ty, Type::Choice(_));
            Some(if word {
                format!("\"{}\":\"{default}\"", field.name)
            } else {
                format!("\"{}\":{default}", field.name)
            })
        });
        members.collect::<Vec<_>>().join(",")
    };
    let (requirements, policy) = (defaults(common::REQUIREMENTS), defaults(common::POLICY));
    let said = bare.replace(
        "\"map\":\"x\"",
        &format!("\"map\":\"x\",\"requirements\":{{{requirements}}},\"policy\":{{{policy}}}"),
    );
    let job = read(&said, &|_| None).map_err(|refusal| format!("{said}: {refusal:?}")).unwrap();
    assert_eq!((job.requirements, job.policy), (Requirements::default(), Policy::default()));
    assert_eq!(common::REQUIREMENTS.iter().chain(common::POLICY).filter(|field| field.default().is_none()).count(), 0);
}

#[test]
fn integers_are_taken_up_to_their_bounds_and_no_further() {
    let bounded = |field: &Field| if let Type::Integer { least, most } = field.ty { Some((least, most)) } else { None };
    for (object, fields) in [("requirements", common::REQUIREMENTS), ("policy", common::POLICY)] {
        for (name, (least, most)) in fields.iter().filter_map(|field| Some((field.name, bounded(field)?))) {
            let taken = |value: i64| {
                let job = format!(r#"{{"kind":"map","data":[1],"map":"x","{object}":{{"{name}":{value}}}}}"#);
                read(&job, &|_| None).is_ok()
            };
            assert!(taken(least) && taken(most) && !taken(least - 1) && !taken(most + 1), "{object}.{name}");
        }
    }
}

fn has_cyrillic(text: &str) -> bool {
    text.chars().any(|letter| ('а'..='я').contains(&letter.to_lowercase().next().unwrap_or(letter)))
}

#[test]
fn every_text_is_there_in_both_languages() {
    let mut texts: Vec<Text> = Vec::new();
    for kind in ALL {
        texts.extend([kind.title, kind.about]);
        texts.extend(kind.examples.iter().map(|example| example.name));
        for field in fields(kind) {
            texts.extend([field.label, field.help]);
            if let Type::Choice(choices) = field.ty {
                texts.extend(choices.iter().map(|choice| choice.label));
                texts.extend(choices.iter().filter_map(|choice| choice.number).map(|number| number.label));
            }
        }
    }
    for text in texts {
        assert!(has_cyrillic(text.russian), "was not translated: {text:?}");
        assert!(!text.english.trim().is_empty() && !has_cyrillic(text.english), "{text:?}");
        assert!(!text.english.contains('{') && !text.russian.contains('{'), "{text:?}");
    }
}
