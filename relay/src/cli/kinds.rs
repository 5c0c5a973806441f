//! `p2pnet job kinds`: what kinds of jobs there are, and the fields of each; the same as tables for the documents.

use p2pnet_shared::job::kinds::{
    ALL,
    limits::{MOST_CELLS, MOST_INPUT_BYTES, MOST_ITEMS},
    named,
    schema::{Choice, Example, Field, Kind, Presence, Type},
    typed,
};
use serde_json::json;

use super::{failure::Failure, output::say, text};

/// Characters of an example that are shown whole.
const LONGEST_EXAMPLE: usize = 400;

/// Prints the kinds, or one of them.
pub fn show(kind: Option<&str>, as_json: bool) -> Result<(), Failure> {
    let unknown = |name: &str| {
        let known: Vec<&str> = ALL.iter().map(|kind| kind.name).collect();
        Failure::usage(format!("there is no kind {name:?}"), format!("kinds are {}", known.join(", ")))
    };
    let kinds = match kind {
        Some(name) => vec![named(name).ok_or_else(|| unknown(name))?],
        None => ALL.to_vec(),
    };
    match kind {
        _ if as_json => say(serde_json::Value::from(kinds.into_iter().map(as_value).collect::<Vec<_>>())),
        Some(_) => kinds.into_iter().try_for_each(|kind| say(described(kind).trim_end())),
        None => {
            let rows: Vec<Vec<String>> =
                kinds.into_iter().map(|kind| vec![kind.name.to_owned(), kind.about.english.to_owned()]).collect();
            say(text::table(&["KIND", "DOES"], &rows).trim_end())?;
            say("\n`p2pnet job kinds KIND` lists the fields of one.")
        }
    }
}

fn as_value(kind: &Kind) -> serde_json::Value {
    let fields: Vec<_> = kind.fields.iter().map(field_as_value).collect();
    json!({ "kind": kind.name, "title": kind.title.english, "about": kind.about.english, "fields": fields })
}

fn field_as_value(field: &Field) -> serde_json::Value {
    json!({
        "name": field.name, "value": value_of(field), "presence": presence_of(field), "help": field.help.english,
    })
}

fn described(kind: &'static Kind) -> String {
    let row =
        |field: &Field| vec![field.name.to_owned(), value_of(field), presence_of(field), field.help.english.to_owned()];
    let rows: Vec<Vec<String>> = kind.fields.iter().map(row).collect();
    let mut lines = format!("{}: {}\n\n", kind.name, kind.about.english);
    lines.push_str(&text::table(&["FIELD", "VALUE", "IF LEFT OUT", "MEANS"], &rows));
    for example in kind.examples {
        if let Some(job) = short(kind, example) {
            lines.push_str(&format!("\n{}:\n  {job}\n", example.name.english));
        }
    }
    lines
}

/// An example's JSON, if it is not long.
fn short(kind: &'static Kind, example: &Example) -> Option<String> {
    typed::example(kind, example, |_| None).filter(|job| job.len() <= LONGEST_EXAMPLE)
}

/// What may stand in a field, in words.
fn value_of(field: &Field) -> String {
    match field.ty {
        Type::Formula => "a formula in x".to_owned(),
        Type::Integer { least, most: i64::MAX } => format!("an integer from {least} on"),
        Type::Integer { least, most } => format!("an integer from {least} to {most}"),
        Type::Fraction { most } => format!("a number above 0, at most {most}"),
        Type::Choice(choices) => choices.iter().map(word_of).collect::<Vec<_>>().join(", "),
        Type::Line { most } => format!("a text of at most {most} characters"),
        Type::Labels { most } => format!("an object of at most {most} texts"),
        Type::Items => format!("a list of at most {} numbers and texts", text::grouped(MOST_ITEMS)),
        Type::Matrix => format!("a list of rows, at most {} numbers in all", text::grouped(MOST_CELLS as u64)),
        Type::Module => "a module in base64, or its hash".to_owned(),
        Type::Bytes => format!("at most {} MiB in base64", MOST_INPUT_BYTES >> 20),
        Type::Texts { most } => format!("a list of texts, at most {} KiB in all", most >> 10),
        Type::Integers { least, most, longest } => format!("1 to {longest} integers from {least} to {most}"),
        Type::Object(_) => "an object".to_owned(),
    }
}

fn word_of(choice: &Choice) -> String {
    match choice.number {
        Some(number) => format!("{}:{} (or another number)", choice.name, number.example),
        None => choice.name.to_owned(),
    }
}

/// What a field is where it is left out.
fn presence_of(field: &Field) -> String {
    match (field.presence, field.only) {
        (Presence::Default(default), _) => default.to_owned(),
        (Presence::Optional, _) => "nothing".to_owned(),
        (Presence::Unless(other), _) => format!("refused, unless `{other}` is there"),
        (Presence::Required, Some((other, among))) => format!("refused, where `{other}` is {}", among.join(", ")),
        (Presence::Required, None) => "refused".to_owned(),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used)]
mod documents;
#[cfg(test)]
#[expect(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_described_with_every_field_and_its_value() {
        for kind in ALL {
            let text = described(kind);
            for field in kind.fields {
                assert!(text.contains(field.name) && text.contains(&value_of(field)), "{} in {text}", field.name);
            }
            assert!(as_value(kind)["fields"].as_array().is_some_and(|fields| fields.len() == kind.fields.len()));
        }
        assert!(show(Some("mapp"), false).unwrap_err().to_string().contains("no kind"));
    }
}
