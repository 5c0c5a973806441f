//! A job's JSON as fields that a kind takes one by one; what nobody takes is an unknown field.

use std::{collections::BTreeMap, fmt};

use serde::de::{DeserializeSeed, Deserializer, MapAccess, Visitor};
use serde_json::Value as Json;

use super::{
    json::{Length, Notes, Strict, explain},
    limits::{MAX_MEMORY_MIB, MAX_RETRIES, MAX_SOURCE_BYTES, MAX_TIMEOUT_SECONDS},
    packed::{self, Items, Number, Packer, Rows, read_number},
    suggest::question,
};
use crate::{
    job::{Policy, Priority, Requirements},
    refusal::{Code, Refusal},
};

/// The fields that every kind has.
pub const COMMON: [&str; 5] = ["kind", "name", "labels", "requirements", "policy"];
/// Fields of `requirements`.
const REQUIREMENTS: [&str; 3] = ["cpu_percent", "ram_gb", "timeout_seconds"];
/// Fields of `policy`.
const POLICY: [&str; 2] = ["priority", "retries"];
/// The fields of a job that are objects with fields of their own.
const NESTED: [(&str, &[&str]); 2] = [("requirements", &REQUIREMENTS), ("policy", &POLICY)];
/// Different fields of a job that are looked at; more are too many whatever they are.
const MOST_FIELDS: usize = 64;

enum Field {
    Plain(Json),
    /// A long list, not looked into yet.
    List,
}

/// The fields of a job that are left. Long lists stay where they are until they are asked for, so that all else of a job
/// is checked before they are read, wherever they stand in it.
pub struct Fields<'a> {
    source: &'a str,
    fields: BTreeMap<String, Field>,
}

impl<'a> Fields<'a> {
    /// Reads the JSON of a job.
    pub fn read(source: &'a str) -> Result<Self, Refusal> {
        if source.len() > MAX_SOURCE_BYTES {
            let message = format!("the job has {} bytes; at most {MAX_SOURCE_BYTES} are taken", source.len());
            return Err(Refusal::new(Code::TooLarge, message, "send less data, or split the job"));
        }
        let mut notes = Notes::new();
        let mut json = serde_json::Deserializer::from_str(source);
        let read = Collector(&mut notes).deserialize(&mut json).and_then(|fields| json.end().map(|()| fields));
        // What is noted ended the reading there and then.
        match notes.refusal() {
            Some(refusal) => Err(refusal),
            None => Ok(Self { source, fields: read.map_err(|error| explain(source, &error))? }),
        }
    }

    /// Refuses fields that no kind has, where the kind is not known.
    pub fn check_names_of_any_kind(&self) -> Result<(), Refusal> {
        let is_known = |name: &String| super::every_field().any(|known| known == name);
        let unknown = || self.fields.keys().filter(|name| !is_known(name));
        // What may be meant for the kind says most.
        let Some(name) = unknown().find(|name| !question(name, ["kind"]).is_empty()).or_else(|| unknown().next())
        else {
            return Ok(());
        };
        let message = format!("there is no field `{}`{}", cut(name), question(name, super::every_field()));
        Err(Refusal::new(Code::UnknownField, message, "remove it, or write it as it is called"))
    }

    /// Refuses fields of `requirements` and `policy` that these do not have, whatever else is wrong.
    pub fn check_nested_names(&self) -> Result<(), Refusal> {
        for (object, known) in NESTED {
            let Some(Field::Plain(Json::Object(fields))) = self.fields.get(object) else { continue };
            if let Some(name) = fields.keys().find(|name| !known.contains(&name.as_str())) {
                return Err(unknown(object, name, known));
            }
        }
        Ok(())
    }

    /// Refuses fields that a kind does not have, whatever else is wrong. `elsewhere` says which kinds have a field.
    pub fn check_names(
        &self,
        kind: &str,
        known: &[&'static str],
        elsewhere: &dyn Fn(&str) -> Vec<&'static str>,
    ) -> Result<(), Refusal> {
        let is_known = |name: &str| known.contains(&name) || COMMON.contains(&name);
        let Some(name) = self.fields.keys().find(|name| !is_known(name)) else { return Ok(()) };
        let nested = || NESTED.into_iter().find(|(_, names)| !question(name, names.iter().copied()).is_empty());
        let others = elsewhere(name);
        let named = question(name, known.iter().copied().chain(COMMON));
        let advice = if !others.is_empty() {
            format!("; it is a field of {}", others.join(" and "))
        } else if !named.is_empty() {
            named
        } else if let Some((object, names)) = nested() {
            let field = super::suggest::nearest(name, names.iter().copied()).unwrap_or_default();
            format!("; did you mean `{object}.{field}`?")
        } else {
            String::new()
        };
        let hint = format!("`{kind}` has the fields {}, name, labels, requirements and policy", known.join(", "));
        let message = format!("`{kind}` has no field `{}`{advice}", cut(name));
        Err(Refusal::new(Code::UnknownField, message, hint))
    }

    /// What is left must be nothing.
    pub fn end(self, kind: &str) -> Result<(), Refusal> {
        match self.fields.keys().next() {
            None => Ok(()),
            Some(name) => {
                let message = format!("`{}` has no meaning in this `{kind}`", cut(name));
                Err(Refusal::new(Code::UnknownField, message, "remove it"))
            }
        }
    }

    /// Whether a field is there and not taken yet.
    pub fn has(&self, name: &str) -> bool {
        self.fields.contains_key(name)
    }

    fn plain(&mut self, name: &str) -> Option<Json> {
        match self.fields.remove(name)? {
            Field::Plain(json) => Some(json),
            Field::List => None,
        }
    }

    /// A text, if it is there.
    pub fn text(&mut self, name: &str) -> Result<Option<String>, Refusal> {
        match self.plain(name) {
            None => Ok(None),
            Some(Json::String(text)) => Ok(Some(text)),
            Some(other) => Err(invalid(name, &other, "it is a text in quotes")),
        }
    }

    /// A text that must be there.
    pub fn needed_text(&mut self, name: &str, hint: &str) -> Result<String, Refusal> {
        self.text(name)?.ok_or_else(|| missing(name, hint))
    }

    /// A list of texts; empty if it is not there.
    pub fn texts(&mut self, name: &str) -> Result<Vec<String>, Refusal> {
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

    /// An integer between two bounds, if it is there.
    pub fn integer(&mut self, name: &str, least: i64, most: i64) -> Result<Option<i64>, Refusal> {
        match self.plain(name) {
            None => Ok(None),
            Some(json) => read_integer(name, &json, least, most).map(Some),
        }
    }

    /// A list of at most so many integers, if it is there.
    pub fn integers(&mut self, name: &str, least: i64, most: i64, longest: usize) -> Result<Option<Vec<i64>>, Refusal> {
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

    /// `data`.
    pub fn items(&mut self, name: &str) -> Result<Items, Refusal> {
        let items = match self.fields.remove(name) {
            Some(Field::List) => packed::list::<Items>(self.source)?,
            Some(Field::Plain(_)) | None => return Err(missing(name, "a list, as in [1, 2, 3]")),
        };
        if items.count == 0 {
            return Err(Refusal::new(Code::EmptyInput, format!("`{name}` has no item"), "give at least one"));
        }
        Ok(items)
    }

    /// The matrix `P`, if it is there.
    pub fn rows<P: Packer + Into<Rows>>(&mut self) -> Result<Option<Rows>, Refusal> {
        let rows: Rows = match self.fields.remove(P::NAME) {
            Some(Field::List) => packed::list::<P>(self.source)?.into(),
            Some(Field::Plain(_)) | None => return Ok(None),
        };
        if rows.rows == 0 {
            return Err(Refusal::new(Code::EmptyInput, format!("`{}` has no row", P::NAME), "give at least one"));
        }
        Ok(Some(rows))
    }

    /// `requirements`, with defaults for what is not said.
    pub fn requirements(&mut self) -> Result<Requirements, Refusal> {
        let mut requirements = Requirements::default();
        for (name, json) in self.object("requirements")? {
            let path = format!("requirements.{name}");
            match name.as_str() {
                "cpu_percent" => requirements.cpu_percent = read_u32(&path, &json, 1, 100)?,
                "ram_gb" => requirements.memory_mib = read_gibibytes(&path, &json)?,
                "timeout_seconds" => requirements.timeout_seconds = read_u32(&path, &json, 1, MAX_TIMEOUT_SECONDS)?,
                _ => return Err(unknown("requirements", &name, &REQUIREMENTS)),
            }
        }
        Ok(requirements)
    }

    /// `policy`, with defaults for what is not said.
    pub fn policy(&mut self) -> Result<Policy, Refusal> {
        let mut policy = Policy::default();
        for (name, json) in self.object("policy")? {
            let path = format!("policy.{name}");
            match name.as_str() {
                "priority" => {
                    policy.priority = match json.as_str() {
                        Some("low") => Priority::Low,
                        Some("normal") => Priority::Normal,
                        Some("high") => Priority::High,
                        Some("critical") => Priority::Critical,
                        Some(_) | None => return Err(invalid(&path, &json, "it is low, normal, high or critical")),
                    }
                }
                "retries" => policy.retries = read_u32(&path, &json, 0, MAX_RETRIES)?,
                _ => return Err(unknown("policy", &name, &POLICY)),
            }
        }
        Ok(policy)
    }

    /// An object, empty if it is not there.
    pub fn object(&mut self, name: &str) -> Result<serde_json::Map<String, Json>, Refusal> {
        match self.plain(name) {
            None => Ok(serde_json::Map::new()),
            Some(Json::Object(object)) => Ok(object),
            Some(other) => Err(invalid(name, &other, "it is an object in {}")),
        }
    }
}

/// The beginning of what a person wrote, short enough for a message.
pub fn cut(text: &str) -> String {
    text.chars().take(40).collect()
}

/// A field that a kind needs and did not get.
pub fn missing(name: &str, hint: &str) -> Refusal {
    Refusal::new(Code::MissingField, format!("`{name}` is missing"), hint)
}

/// A field of an object that the object does not have.
fn unknown(object: &str, name: &str, known: &[&'static str]) -> Refusal {
    let near = |known: &[&'static str]| super::suggest::nearest(name, known.iter().copied());
    let elsewhere = || NESTED.into_iter().find_map(|(other, known)| Some((other, near(known)?)));
    let advice = if let Some(near) = near(known) {
        format!("; did you mean `{object}.{near}`?")
    } else if let Some((other, near)) = elsewhere() {
        format!("; did you mean `{other}.{near}`?")
    } else if super::every_field().any(|field| field == name) {
        format!("; `{name}` is a field of the job itself")
    } else {
        String::new()
    };
    let message = format!("there is no `{object}.{}`{advice}", cut(name));
    Refusal::new(Code::UnknownField, message, format!("`{object}` has {}", known.join(", ")))
}

/// A field whose value cannot be what it is.
pub fn invalid(name: &str, json: &Json, hint: &str) -> Refusal {
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

fn read_u32(name: &str, json: &Json, least: u32, most: u32) -> Result<u32, Refusal> {
    let integer = read_integer(name, json, i64::from(least), i64::from(most))?;
    Ok(u32::try_from(integer).unwrap_or(least))
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // checked to lie in 0..=4096
fn read_gibibytes(name: &str, json: &Json) -> Result<u32, Refusal> {
    let most = f64::from(MAX_MEMORY_MIB) / 1024.0;
    match json.as_f64() {
        Some(gibibytes) if gibibytes > 0.0 && gibibytes <= most => Ok(((gibibytes * 1024.0).round() as u32).max(1)),
        Some(_) | None => Err(invalid(name, json, &format!("it is a number above 0, at most {most}"))),
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
    type Value = BTreeMap<String, Field>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Collector<'_> {
    type Value = BTreeMap<String, Field>;

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
                return Err(self.0.note(Code::UnknownField, message, "long lists belong into `data`, `a` and `b`"));
            }
            let field = match name.as_str() {
                "data" | "a" | "b" => {
                    map.next_value_seed(Length { name: &name, notes: &mut *self.0 })?;
                    Field::List
                }
                _ => Field::Plain(self.0.within(&name, |notes| map.next_value_seed(Strict(notes)))?),
            };
            fields.insert(name, field);
        }
        Ok(fields)
    }
}
