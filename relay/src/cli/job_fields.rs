//! The flags of `p2pnet job run` that are fields of a job, made from what the kinds of jobs say of their fields.

use std::{io, path::Path, sync::LazyLock};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches, value_parser};
use p2pnet_shared::{
    id::Hash,
    job::kinds::{
        common, kinds_with,
        limits::{MOST_INPUT_BYTES, MOST_KERNEL_BYTES, MOST_SOURCE_BYTES},
        own_fields,
        schema::{Field, Type},
        text_of,
    },
};
use serde_json::{Map, Value};

use super::{
    failure::Failure,
    json_text::{checked, without_mark},
};
use crate::files;

/// A field, and how the command line calls it.
struct Flag {
    field: &'static Field,
    /// The object that it stands in, if it is no field of the job itself.
    object: Option<&'static str>,
    long: String,
    help: String,
}

/// Fields of kinds.
static OWN: LazyLock<Vec<Flag>> = LazyLock::new(|| {
    let flag = |field: &'static Field| {
        let (kinds, default) = (kinds_with(field.name).join(", "), default_of(field));
        let help = format!("{kinds}: {}{}{default}", field.help.english, repeated(field));
        Flag { field, object: None, long: long_of(field), help }
    };
    own_fields().into_iter().map(flag).collect()
});

/// Fields of the objects that every kind has.
static TERMS: LazyLock<Vec<Flag>> = LazyLock::new(|| {
    let inner = |object: &'static Field| match object.ty {
        Type::Object(fields) => fields.iter().map(|field| (object.name, field)).collect(),
        Type::Formula
        | Type::Integer { .. }
        | Type::Fraction { .. }
        | Type::Choice(_)
        | Type::Line { .. }
        | Type::Labels { .. }
        | Type::Items
        | Type::Matrix
        | Type::Module
        | Type::Bytes
        | Type::Texts { .. }
        | Type::Integers { .. } => Vec::new(),
    };
    let flag = |(object, field): (&'static str, &'static Field)| {
        let help = format!("{}{}", field.help.english, default_of(field));
        Flag { field, object: Some(object), long: long_of(field), help }
    };
    common::FIELDS.iter().flat_map(inner).map(flag).collect()
});

/// The flag of a field: a list's is given once for each of its values.
fn long_of(field: &Field) -> String {
    let name = if is_repeated(field) { field.name.trim_end_matches('s') } else { field.name };
    name.replace('_', "-")
}

fn is_repeated(field: &Field) -> bool {
    matches!(field.ty, Type::Texts { .. } | Type::Integers { .. })
}

fn repeated(field: &Field) -> &'static str {
    if is_repeated(field) { " May be given several times." } else { "" }
}

fn default_of(field: &Field) -> String {
    field.default().map_or_else(String::new, |default| format!(" [default: {default}]"))
}

/// What stands for the value in the help.
fn value_name(field: &Field) -> &'static str {
    match field.ty {
        Type::Formula => "FORMULA",
        Type::Integer { .. } | Type::Integers { .. } => "INTEGER",
        Type::Fraction { .. } => "NUMBER",
        Type::Choice(_) => "WORD",
        Type::Line { .. } | Type::Texts { .. } => "TEXT",
        Type::Items | Type::Matrix => "JSON|FILE",
        Type::Module => "FILE|HASH",
        Type::Bytes => "FILE|-",
        Type::Labels { .. } | Type::Object(_) => "JSON",
    }
}

/// The fields that were given by flags.
#[derive(Debug, Clone, Default)]
pub struct FieldFlags {
    own: Vec<(&'static Field, Vec<String>)>,
    /// Object, name, value.
    terms: Vec<(&'static str, &'static str, Value)>,
}

impl Args for FieldFlags {
    fn augment_args(mut command: Command) -> Command {
        for flag in OWN.iter() {
            let arg = Arg::new(flag.field.name).long(flag.long.as_str()).help(flag.help.as_str());
            let may_begin_with_hyphen =
                matches!(flag.field.ty, Type::Formula | Type::Integer { .. } | Type::Texts { .. });
            let action = if is_repeated(flag.field) { ArgAction::Append } else { ArgAction::Set };
            command = command.arg(
                arg.value_name(value_name(flag.field))
                    .allow_hyphen_values(may_begin_with_hyphen)
                    .action(action)
                    .help_heading("Fields of kinds (with KIND or --kind)"),
            );
        }
        for flag in TERMS.iter() {
            let arg = Arg::new(flag.field.name).long(flag.long.as_str()).help(flag.help.as_str());
            let arg = arg.value_name(value_name(flag.field)).help_heading("Terms of the job");
            command = command.arg(match flag.field.ty {
                Type::Integer { .. } => arg.value_parser(value_parser!(u64)),
                Type::Fraction { .. } => arg.value_parser(finite),
                Type::Formula
                | Type::Choice(_)
                | Type::Line { .. }
                | Type::Labels { .. }
                | Type::Items
                | Type::Matrix
                | Type::Module
                | Type::Bytes
                | Type::Texts { .. }
                | Type::Integers { .. }
                | Type::Object(_) => arg,
            });
        }
        command
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for FieldFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let own = OWN.iter().filter_map(|flag| {
            let values = matches.get_many::<String>(flag.field.name)?;
            Some((flag.field, values.cloned().collect()))
        });
        let terms = TERMS.iter().filter_map(|flag| {
            let name = flag.field.name;
            let value = match flag.field.ty {
                Type::Integer { .. } => Value::from(*matches.get_one::<u64>(name)?),
                Type::Fraction { .. } => Value::from(*matches.get_one::<f64>(name)?),
                Type::Formula
                | Type::Choice(_)
                | Type::Line { .. }
                | Type::Labels { .. }
                | Type::Items
                | Type::Matrix
                | Type::Module
                | Type::Bytes
                | Type::Texts { .. }
                | Type::Integers { .. }
                | Type::Object(_) => Value::from(matches.get_one::<String>(name)?.as_str()),
            };
            Some((flag.object?, name, value))
        });
        Ok(Self { own: own.collect(), terms: terms.collect() })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl FieldFlags {
    /// The first flag given that is a field of a kind.
    pub fn first_of_a_kind(&self) -> Option<String> {
        self.own.first().map(|(field, _)| format!("--{}", long_of(field)))
    }

    /// The fields of kinds that were given, each with its JSON text. Only what the relay cannot know is checked here
    /// (files); the rest is its word.
    pub fn own_as_json(&self) -> Result<Vec<(&'static str, String)>, Failure> {
        let reads_standard_input = |(field, values): &&(&'static Field, Vec<String>)| {
            matches!(field.ty, Type::Module | Type::Bytes) && values.iter().any(|value| value == "-")
        };
        if self.own.iter().filter(reads_standard_input).count() > 1 {
            return Err(Failure::usage("standard input can be read once only", "give a file for the other flag"));
        }
        let json = |(field, values): &(&'static Field, Vec<String>)| Ok((field.name, json_of(field, values)?));
        self.own.iter().map(json).collect()
    }

    /// What a job of any kind may ask for, object by object.
    pub fn terms(&self) -> Map<String, Value> {
        let mut objects: Map<String, Value> = Map::new();
        for (object, name, value) in &self.terms {
            let members = objects.entry(*object).or_insert_with(|| Value::Object(Map::new()));
            if let Value::Object(members) = members {
                members.insert((*name).to_owned(), value.clone());
            }
        }
        objects
    }
}

fn json_of(field: &Field, values: &[String]) -> Result<String, Failure> {
    let one = values.last().map(String::as_str).unwrap_or_default();
    let text = |text: &str| Value::from(text).to_string();
    Ok(match field.ty {
        Type::Formula => text(without_mark(one)),
        Type::Choice(_) | Type::Line { .. } => text(one),
        Type::Integer { .. } | Type::Fraction { .. } => number_or_text(one),
        Type::Items | Type::Matrix | Type::Labels { .. } | Type::Object(_) => json_or_file(&long_of(field), one)?,
        Type::Module => hash_or_file(one)?,
        Type::Bytes => {
            let hint = format!("give --{} a file, or - for standard input", long_of(field));
            base64(read_bytes(one, MOST_INPUT_BYTES, &hint)?)
        }
        Type::Texts { .. } => Value::from(values).to_string(),
        Type::Integers { .. } => {
            format!("[{}]", values.iter().map(|value| number_or_text(value)).collect::<Vec<_>>().join(","))
        }
    })
}

/// A text in a file, or on standard input.
pub fn read_text(path: &str, most: usize, hint: &str) -> Result<String, Failure> {
    let bytes = read_bytes(path, most, hint)?;
    let text =
        text_of(&bytes).map_err(|refusal| Failure::usage(format!("{path}: {}", refusal.message), refusal.hint))?;
    // What is put in looks for the beginning of the object. Two marks are left for whoever reads the job to refuse.
    let without_one = text.strip_prefix('\u{feff}').filter(|rest| !rest.starts_with('\u{feff}'));
    Ok(without_one.unwrap_or(text).to_owned())
}

fn read_bytes(path: &str, most: usize, hint: &str) -> Result<Vec<u8>, Failure> {
    if path == "-" {
        return files::whole(io::stdin().lock(), most).map_err(|error| Failure::unread("standard input", &error, hint));
    }
    files::read(Path::new(path), most).map_err(|error| Failure::unread(path, &error, hint))
}

/// As a JSON text: nothing in it needs an escape.
fn base64(bytes: Vec<u8>) -> String {
    format!("\"{}\"", BASE64_STANDARD.encode(bytes))
}

/// `12` is a number; what is none goes as text, and the relay says what it expected.
fn number_or_text(text: &str) -> String {
    let text = without_mark(text);
    // An object may look like a number to serde_json.
    let number = serde_json::from_str(text).ok().filter(|value: &Value| value.is_number() && !text.contains('{'));
    number.unwrap_or_else(|| text.into()).to_string()
}

fn json_or_file(name: &str, text: &str) -> Result<String, Failure> {
    let hint = "give a JSON list, or a file that holds one";
    let is_json = without_mark(text).trim_start().starts_with(['[', '{', '"']);
    if !is_json && Path::new(text).exists() {
        let json = read_text(text, MOST_SOURCE_BYTES, hint)?;
        let broken = |error| Failure::usage(format!("the file {text} of --{name} is no JSON: {error}"), hint);
        return checked(&json).map(str::to_owned).map_err(broken);
    }
    checked(text).map(str::to_owned).map_err(|error| {
        let shown: String = text.chars().take(60).collect();
        let what = if is_json {
            format!("--{name} is no JSON: {error}")
        } else {
            format!("--{name} {shown:?} is neither JSON nor a file that is here")
        };
        Failure::usage(what, hint)
    })
}

fn hash_or_file(text: &str) -> Result<String, Failure> {
    if text.parse::<Hash>().is_ok() {
        return Ok(Value::from(text).to_string());
    }
    read_bytes(text, MOST_KERNEL_BYTES, "give a WebAssembly file, or the hash of one that the relay has").map(base64)
}

/// JSON has no word for the others.
fn finite(text: &str) -> Result<f64, String> {
    text.parse().ok().filter(|number: &f64| number.is_finite()).ok_or_else(|| "not a number".to_owned())
}
