//! A job's JSON as fields that a kind takes one by one; what nobody takes is an unknown field.

use std::{collections::BTreeMap, fmt};

use serde::de::{DeserializeSeed, Deserializer, MapAccess, Visitor};
use serde_json::Value as Json;

use super::{
    common::{FIELDS, KIND, POLICY, PRIORITIES, REQUIREMENTS},
    every_field,
    json::{Length, Notes, Strict, explain},
    kinds_with,
    limits::MOST_SOURCE_BYTES,
    long_list, long_lists,
    packed::{self, Items, Number, Packer, Rows, read_number},
    schema::{Choice, Field, Kind, Presence, Type, find},
    suggest::{nearest, question},
};
use crate::{
    job::{Policy, Requirements},
    refusal::{Code, Refusal},
};

/// Different fields of a job that are looked at; more are too many whatever they are.
const MOST_FIELDS: usize = 64;

enum Found {
    Plain(Json),
    /// A long list, not looked into yet.
    List,
}

/// The fields of a job that are left. Long lists stay where they are until they are asked for, so that all else of a job
/// is checked before they are read, wherever they stand in it.
pub(super) struct Fields<'a> {
    source: &'a str,
    fields: BTreeMap<String, Found>,
    /// What the job's kind says of its fields, as soon as it is known.
    own: &'static [Field],
}

impl<'a> Fields<'a> {
    /// Reads the JSON of a job.
    pub(super) fn read(source: &'a str) -> Result<Self, Refusal> {
        if source.len() > MOST_SOURCE_BYTES {
            let message = format!("the job has {} bytes; at most {MOST_SOURCE_BYTES} are taken", source.len());
            return Err(Refusal::new(Code::TooLarge, message, "send less data, or split the job"));
        }
        let mut notes = Notes::new();
        let mut json = serde_json::Deserializer::from_str(source);
        let read = Collector(&mut notes).deserialize(&mut json).and_then(|fields| json.end().map(|()| fields));
        // What is noted ended the reading there and then.
        match notes.refusal() {
            Some(refusal) => Err(refusal),
            None => Ok(Self { source, fields: read.map_err(|error| explain(source, &error))?, own: &[] }),
        }
    }

    /// From now on they are those of a job of this kind.
    pub(super) fn set_kind(&mut self, kind: &Kind) {
        self.own = kind.fields;
    }

    /// Refuses fields that no kind has, where the kind is not known.
    pub(super) fn check_names_of_any_kind(&self) -> Result<(), Refusal> {
        let is_known = |name: &String| every_field().any(|known| known == name);
        let unknown = || self.fields.keys().filter(|name| !is_known(name));
        // What may be meant for the kind says most.
        let Some(name) = unknown().find(|name| !question(name, [KIND]).is_empty()).or_else(|| unknown().next()) else {
            return Ok(());
        };
        let message = format!("there is no field `{}`{}", cut(name), question(name, every_field()));
        Err(Refusal::new(Code::UnknownField, message, "remove it, or write it as it is called"))
    }

    /// Refuses fields of `requirements` and `policy` that these do not have, whatever else is wrong.
    pub(super) fn check_nested_names(&self) -> Result<(), Refusal> {
        for (object, known) in objects() {
            let Some(Found::Plain(Json::Object(fields))) = self.fields.get(object) else { continue };
            if let Some(name) = fields.keys().find(|name| find(known, name).is_none()) {
                return Err(unknown(object, name, known));
            }
        }
        Ok(())
    }

    /// Refuses fields that a kind does not have, whatever else is wrong.
    pub(super) fn check_names(&self, kind: &Kind) -> Result<(), Refusal> {
        let common = || [KIND].into_iter().chain(names(FIELDS));
        let is_known = |name: &str| kind.field(name).is_some() || common().any(|known| known == name);
        let Some(name) = self.fields.keys().find(|name| !is_known(name)) else { return Ok(()) };
        let others = kinds_with(name);
        let named = question(name, names(kind.fields).chain(common()));
        let nested = || objects().find_map(|(object, fields)| Some((object, nearest(name, names(fields))?)));
        let advice = if !others.is_empty() {
            format!("; it is a field of {}", others.join(" and "))
        } else if !named.is_empty() {
            named
        } else if let Some((object, field)) = nested() {
            format!("; did you mean `{object}.{field}`?")
        } else {
            String::new()
        };
        let known: Vec<&str> = names(kind.fields).chain(names(FIELDS)).collect();
        let hint = format!("`{}` has the fields {}", kind.name, listed(&known, "and"));
        let message = format!("`{}` has no field `{}`{advice}", kind.name, cut(name));
        Err(Refusal::new(Code::UnknownField, message, hint))
    }

    /// What is left must be nothing.
    pub(super) fn end(self, kind: &str) -> Result<(), Refusal> {
        match self.fields.keys().next() {
            None => Ok(()),
            Some(name) => {
                let message = format!("`{}` has no meaning in this `{kind}`", cut(name));
                Err(Refusal::new(Code::UnknownField, message, "remove it"))
            }
        }
    }

    /// Whether a field is there and not taken yet.
    pub(super) fn has(&self, name: &str) -> bool {
        self.fields.contains_key(name)
    }

    fn plain(&mut self, name: &str) -> Option<Json> {
        match self.fields.remove(name)? {
            Found::Plain(json) => Some(json),
            Found::List => None,
        }
    }

    /// What the kind says of a field. A kind that asks for what it does not say of itself is wrong, not the job.
    fn said(&self, name: &str) -> Result<&'static Field, Refusal> {
        let unsaid =
            || Refusal::new(Code::Internal, format!("the kind says nothing of its field `{name}`"), "report this");
        find(self.own, name).ok_or_else(unsaid)
    }

    /// The refusal of a job without a field that it needs.
    pub(super) fn missing(&self, name: &str) -> Refusal {
        missing(name, find(self.own, name).map_or("", |field| field.help.english))
    }

    /// A text, if it is there.
    pub(super) fn text(&mut self, name: &str) -> Result<Option<String>, Refusal> {
        match self.plain(name) {
            None => Ok(None),
            Some(Json::String(text)) => Ok(Some(text)),
            Some(other) => Err(invalid(name, &other, "it is a text in quotes")),
        }
    }

    /// A text that must be there.
    pub(super) fn needed_text(&mut self, name: &str) -> Result<String, Refusal> {
        self.text(name)?.ok_or_else(|| self.missing(name))
    }

    /// One of the words of a table; where it is not there, the default that the kind says.
    pub(super) fn choice<T: Copy>(&mut self, name: &str, table: &[(Choice, T)]) -> Result<T, Refusal> {
        self.numbered_choice(name, table).map(|(meant, _)| meant)
    }

    /// The same, with the number that follows a word which takes one, 1 or more.
    pub(super) fn numbered_choice<T: Copy>(
        &mut self,
        name: &str,
        table: &[(Choice, T)],
    ) -> Result<(T, usize), Refusal> {
        let field = self.said(name)?;
        let word = match (self.text(name)?, field.presence) {
            (Some(word), _) => word,
            (None, Presence::Default(default)) => default.to_owned(),
            (None, Presence::Required | Presence::Unless(_) | Presence::Optional) => {
                return Err(missing(name, &words_of(table)));
            }
        };
        chosen(&word, table).ok_or_else(|| {
            let message = format!("`{name}` cannot be {:?}", cut(&word));
            Refusal::new(Code::InvalidField, message, words_of(table))
        })
    }

    /// A list of texts; empty if it is not there.
    pub(super) fn texts(&mut self, name: &str) -> Result<Vec<String>, Refusal> {
        let hint = "it is a list of texts, as in [\"-v\"]";
        match self.plain(name) {
            None => Ok(Vec::new()),
            Some(Json::Array(items)) => items
                .into_iter()
                .map(|item| match item {
                    Json::String(text) => Ok(text),
                    Json::Null | Json::Bool(_) | Json::Number(_) | Json::Array(_) | Json::Object(_) => {
                        Err(invalid(name, &item, hint))
                    }
                })
                .collect(),
            Some(other) => Err(invalid(name, &other, hint)),
        }
    }

    /// An integer within the range that the kind says, if it is there.
    pub(super) fn integer(&mut self, name: &str) -> Result<Option<i64>, Refusal> {
        let field = self.said(name)?;
        self.plain(name).map(|json| integer_of(field, name, &json)).transpose()
    }

    /// An integer that must be there.
    pub(super) fn needed_integer(&mut self, name: &str) -> Result<i64, Refusal> {
        self.integer(name)?.ok_or_else(|| self.missing(name))
    }

    /// A list of integers within the bounds that the kind says, if it is there.
    pub(super) fn integers(&mut self, name: &str) -> Result<Option<Vec<i64>>, Refusal> {
        let Type::Integers { least, most, longest } = self.said(name)?.ty else { return Err(misused(name)) };
        let hint = format!("it is a list of at most {longest} integers, as in [0, 1]");
        match self.plain(name) {
            None => Ok(None),
            Some(Json::Array(items)) if items.len() > longest => {
                let message = format!("`{name}` has {} numbers; at most {longest} are taken", items.len());
                Err(Refusal::new(Code::InvalidField, message, "leave some out"))
            }
            Some(Json::Array(items)) => {
                items.iter().map(|item| read_integer(name, item, least, most)).collect::<Result<_, _>>().map(Some)
            }
            Some(other) => Err(invalid(name, &other, &hint)),
        }
    }

    /// A long list of numbers and texts, which must be there.
    pub(super) fn items(&mut self, name: &str) -> Result<Items, Refusal> {
        let items: Items = self.list(name)?.ok_or_else(|| self.missing(name))?;
        if items.count == 0 {
            return Err(Refusal::new(Code::EmptyInput, format!("`{name}` has no item"), "give at least one"));
        }
        Ok(items)
    }

    /// A matrix, if it is there.
    pub(super) fn rows(&mut self, name: &str) -> Result<Option<Rows>, Refusal> {
        let rows: Option<Rows> = self.list(name)?;
        if rows.as_ref().is_some_and(|rows| rows.rows == 0) {
            return Err(Refusal::new(Code::EmptyInput, format!("`{name}` has no row"), "give at least one"));
        }
        Ok(rows)
    }

    fn list<P: Packer>(&mut self, name: &str) -> Result<Option<P>, Refusal> {
        match self.fields.remove(name) {
            Some(Found::List) => packed::list(self.source, name).map(Some),
            Some(Found::Plain(_)) | None => Ok(None),
        }
    }

    /// `requirements`, with defaults for what is not said.
    pub(super) fn requirements(&mut self) -> Result<Requirements, Refusal> {
        let mut requirements = Requirements::default();
        for (name, json) in self.object("requirements")? {
            let (path, field) = within("requirements", &name, REQUIREMENTS)?;
            match field.name {
                "cpu_percent" => requirements.cpu_percent = natural_of(field, &path, &json)?,
                "ram_gb" => requirements.memory_mib = mebibytes_of(field, &path, &json)?,
                "timeout_seconds" => requirements.timeout_seconds = natural_of(field, &path, &json)?,
                _ => return Err(misused(&path)),
            }
        }
        Ok(requirements)
    }

    /// `policy`, with defaults for what is not said.
    pub(super) fn policy(&mut self) -> Result<Policy, Refusal> {
        let mut policy = Policy::default();
        for (name, json) in self.object("policy")? {
            let (path, field) = within("policy", &name, POLICY)?;
            match field.name {
                "priority" => {
                    let word = json.as_str().and_then(|word| chosen(word, &PRIORITIES));
                    policy.priority = word.ok_or_else(|| invalid(&path, &json, &words_of(&PRIORITIES)))?.0;
                }
                "retries" => policy.retries = natural_of(field, &path, &json)?,
                _ => return Err(misused(&path)),
            }
        }
        Ok(policy)
    }

    /// An object, empty if it is not there.
    pub(super) fn object(&mut self, name: &str) -> Result<serde_json::Map<String, Json>, Refusal> {
        match self.plain(name) {
            None => Ok(serde_json::Map::new()),
            Some(Json::Object(object)) => Ok(object),
            Some(other) => Err(invalid(name, &other, "it is an object in {}")),
        }
    }
}

/// The beginning of what a person wrote, short enough for a message.
pub(super) fn cut(text: &str) -> String {
    text.chars().take(40).collect()
}

/// A field that a kind needs and did not get.
pub(super) fn missing(name: &str, hint: &str) -> Refusal {
    Refusal::new(Code::MissingField, format!("`{name}` is missing"), hint)
}

/// The names of these fields.
pub(super) fn names(fields: &'static [Field]) -> impl Iterator<Item = &'static str> {
    fields.iter().map(|field| field.name)
}

/// `a, b and c`.
pub(super) fn listed(names: &[&str], last: &str) -> String {
    match names {
        [] => String::new(),
        [only] => (*only).to_owned(),
        [front @ .., end] => format!("{} {last} {end}", front.join(", ")),
    }
}

/// The fields of a job that are objects, each with fields of its own.
fn objects() -> impl Iterator<Item = (&'static str, &'static [Field])> {
    FIELDS
        .iter()
        .filter_map(|field| if let Type::Object(fields) = field.ty { Some((field.name, fields)) } else { None })
}

/// The hint that names all words of a table.
fn words_of<T>(table: &[(Choice, T)]) -> String {
    let words: Vec<String> = table
        .iter()
        .map(|(choice, _)| match choice.number {
            Some(number) => format!("{}:{} (or another number)", choice.name, number.example),
            None => choice.name.to_owned(),
        })
        .collect();
    format!("it is {}", listed(&words.iter().map(String::as_str).collect::<Vec<_>>(), "or"))
}

/// What a word of a table means, and the number that follows it, 1 or more, if it takes one.
fn chosen<T: Copy>(word: &str, table: &[(Choice, T)]) -> Option<(T, usize)> {
    let (name, number) = word.split_once(':').map_or((word, None), |(name, number)| (name, Some(number)));
    let (choice, meant) = table.iter().find(|(choice, _)| choice.name == name)?;
    match (choice.number, number) {
        (None, None) => Some((*meant, 0)),
        (Some(_), Some(number)) => number.parse().ok().filter(|number| *number > 0).map(|number| (*meant, number)),
        (None, Some(_)) | (Some(_), None) => None,
    }
}

/// A kind or this file is wrong, not the job.
fn misused(name: &str) -> Refusal {
    Refusal::new(Code::Internal, format!("the field `{name}` is read as what it is not"), "report this")
}

/// The path of a field of an object, and what is said of it.
fn within(object: &str, name: &str, known: &'static [Field]) -> Result<(String, &'static Field), Refusal> {
    let field = find(known, name).ok_or_else(|| unknown(object, name, known))?;
    Ok((format!("{object}.{name}"), field))
}

/// A field of an object that the object does not have.
fn unknown(object: &str, name: &str, known: &'static [Field]) -> Refusal {
    let near = |known: &'static [Field]| nearest(name, names(known));
    let elsewhere = || objects().find_map(|(other, known)| Some((other, near(known)?)));
    let advice = if let Some(near) = near(known) {
        format!("; did you mean `{object}.{near}`?")
    } else if let Some((other, near)) = elsewhere() {
        format!("; did you mean `{other}.{near}`?")
    } else if every_field().any(|field| field == name) {
        format!("; `{name}` is a field of the job itself")
    } else {
        String::new()
    };
    let message = format!("there is no `{object}.{}`{advice}", cut(name));
    Refusal::new(Code::UnknownField, message, format!("`{object}` has {}", names(known).collect::<Vec<_>>().join(", ")))
}

/// A field whose value cannot be what it is.
pub(super) fn invalid(name: &str, json: &Json, hint: &str) -> Refusal {
    Refusal::new(Code::InvalidField, format!("`{name:.64}` cannot be {}", shown(json)), hint)
}

fn read_integer(name: &str, json: &Json, least: i64, most: i64) -> Result<i64, Refusal> {
    let range = format!("it is an integer from {least} to {most}");
    let Json::Number(number) = json else { return Err(invalid(name, json, &range)) };
    match read_number(number.as_str(), &format!("`{name}`"))? {
        Number::Float(float) => {
            let message = format!("`{name}` must be an integer, not {float:?}");
            Err(Refusal::new(Code::InvalidNumber, message, "write it without a point or an exponent"))
        }
        Number::Integer(integer) => i64::try_from(integer)
            .ok()
            .filter(|integer| (least..=most).contains(integer))
            .ok_or_else(|| invalid(name, json, &range)),
    }
}

/// What stands in a field that is said to be an integer.
fn integer_of(field: &Field, path: &str, json: &Json) -> Result<i64, Refusal> {
    let Type::Integer { least, most } = field.ty else { return Err(misused(path)) };
    read_integer(path, json, least, most)
}

fn natural_of(field: &Field, path: &str, json: &Json) -> Result<u32, Refusal> {
    u32::try_from(integer_of(field, path, json)?).map_err(|_| misused(path))
}

// Checked to lie in 0..=4096.
fn mebibytes_of(field: &Field, path: &str, json: &Json) -> Result<u32, Refusal> {
    let Type::Fraction { most } = field.ty else { return Err(misused(path)) };
    match json.as_f64() {
        Some(gibibytes) if gibibytes > 0.0 && gibibytes <= f64::from(most) => {
            Ok(((gibibytes * 1024.0).round() as u32).max(1))
        }
        Some(_) | None => Err(invalid(path, json, &format!("it is a number above 0, at most {most}"))),
    }
}

fn shown(json: &Json) -> String {
    match json {
        Json::Null => "null".to_owned(),
        Json::Bool(value) => value.to_string(),
        Json::Number(number) => format!("{:.60}", number.as_str()),
        Json::String(text) => format!("{:?}", cut(text)),
        Json::Array(_) => "a list".to_owned(),
        Json::Object(_) => "an object".to_owned(),
    }
}

/// Collects the whole object, while serde reads it.
struct Collector<'a>(&'a mut Notes);

impl<'de> DeserializeSeed<'de> for Collector<'_> {
    type Value = BTreeMap<String, Found>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Collector<'_> {
    type Value = BTreeMap<String, Found>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
        let mut fields = BTreeMap::new();
        while let Some(name) = map.next_key::<String>()? {
            if fields.contains_key(&name) {
                return Err(self.0.twice(&name));
            }
            if fields.len() == MOST_FIELDS {
                let message = format!("the job has more than {MOST_FIELDS} fields, which no kind has");
                let hint = format!("long lists belong into {}", long_lists());
                return Err(self.0.note(Code::UnknownField, message, &hint));
            }
            let field = match long_list(&name) {
                Some(list) => {
                    map.next_value_seed(Length { name: &name, list, notes: &mut *self.0 })?;
                    Found::List
                }
                None => Found::Plain(self.0.within(&name, |notes| map.next_value_seed(Strict(notes)))?),
            };
            fields.insert(name, field);
        }
        Ok(fields)
    }
}
