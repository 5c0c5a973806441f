//! A job's JSON as it is written. Fields are put in and values replaced without reading it anew: what stands twice in it
//! stays there twice, for the relay to refuse, and numbers keep their digits.

use std::ops::Range;

use serde::de::IgnoredAny;
use serde_json::{Map, Value};

/// A field of an object's text.
pub struct Member {
    /// What it is called.
    pub name: String,
    /// Where its value stands.
    pub value: Range<usize>,
}

/// The fields of the object that a text is, in their order; of what is no JSON, those before the fault.
pub fn members(text: &str) -> Vec<Member> {
    let bytes = text.as_bytes();
    let mut members = Vec::new();
    let mut at = behind_space(bytes, 0);
    if bytes.get(at) != Some(&b'{') {
        return members;
    }
    at += 1;
    loop {
        at = behind_space(bytes, at);
        match bytes.get(at) {
            Some(b',') => at += 1,
            Some(b'"') => {
                let behind = behind_string(bytes, at);
                let name = text.get(at..behind).and_then(|name| serde_json::from_str(name).ok());
                let colon = behind_space(bytes, behind);
                let (Some(name), Some(b':')) = (name, bytes.get(colon)) else { return members };
                let start = behind_space(bytes, colon + 1);
                at = behind_value(bytes, start);
                members.push(Member { name, value: start..at });
            }
            Some(_) | None => return members,
        }
    }
}

/// A job's text with more fields; members join an object that it has already under that name.
pub fn with_fields(mut job: String, fields: &Map<String, Value>) -> String {
    let mut front = Map::new();
    for (name, value) in fields {
        let object = members(&job).into_iter().find(|member| member.name == *name).map(|member| member.value.start);
        match (value.as_object(), object.filter(|start| job.as_bytes().get(*start) == Some(&b'{'))) {
            (Some(members), Some(start)) => job = with_members(&job, start + 1, members),
            (Some(_) | None, _) => _ = front.insert(name.clone(), value.clone()),
        }
    }
    match job.find('{') {
        Some(open) => with_members(&job, open + 1, &front),
        None => job,
    }
}

/// The object with these fields, each value being JSON text.
pub fn object(fields: &[(String, String)]) -> String {
    let fields: Vec<String> =
        fields.iter().map(|(name, value)| format!("{}:{value}", Value::from(name.as_str()))).collect();
    format!("{{{}}}", fields.join(","))
}

/// A text that is one JSON value, without what surrounds it.
///
/// # Errors
/// It is none.
pub fn checked(text: &str) -> Result<&str, serde_json::Error> {
    let text = without_mark(text).trim();
    serde_json::from_str::<IgnoredAny>(text).map(|_| text)
}

/// A text without the byte order mark that some editors and shells put before it.
pub fn without_mark(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}

/// The text with these members put in front of the others of the object that opens just before `inside`.
fn with_members(job: &str, inside: usize, members: &Map<String, Value>) -> String {
    let added: Vec<String> =
        members.iter().map(|(name, value)| format!("{}:{value}", Value::from(name.as_str()))).collect();
    let (before, after) = job.split_at(inside);
    let comma = if added.is_empty() || after.trim_start().starts_with('}') { "" } else { "," };
    format!("{before}{}{comma}{after}", added.join(","))
}

fn behind_space(bytes: &[u8], at: usize) -> usize {
    at + bytes.get(at..).unwrap_or_default().iter().take_while(|byte| byte.is_ascii_whitespace()).count()
}

/// Behind the text that opens at `at`.
fn behind_string(bytes: &[u8], at: usize) -> usize {
    let mut at = at + 1;
    while let Some(byte) = bytes.get(at).filter(|byte| **byte != b'"') {
        at += if *byte == b'\\' { 2 } else { 1 };
    }
    (at + 1).min(bytes.len())
}

/// Behind the value that begins at `start`: before the comma or bracket that ends it, and the space before that.
fn behind_value(bytes: &[u8], start: usize) -> usize {
    let (mut at, mut end, mut depth) = (start, start, 0_usize);
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => {
                at = behind_string(bytes, at);
                end = at;
                continue;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' | b',' if depth == 0 => break,
            b'}' | b']' => depth -= 1,
            _ => {}
        }
        at += 1;
        if !byte.is_ascii_whitespace() {
            end = at;
        }
    }
    end
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(text: &str) -> Vec<(String, &str)> {
        members(text).into_iter().map(|member| (member.name, text.get(member.value).unwrap_or("none"))).collect()
    }

    #[test]
    fn fields_are_found_as_they_are_written_and_as_often() {
        let text = r#" { "a" : [1,{"b":2}] , "a":"},\"",
            "\u0061b":1e5	,"c":{"d":"]"},"é":null } "#;
        let expected =
            [("a", r#"[1,{"b":2}]"#), ("a", r#""},\"""#), ("ab", "1e5"), ("c", r#"{"d":"]"}"#), ("é", "null")];
        assert_eq!(values(text), expected.map(|(name, value)| (name.to_owned(), value)));
    }

    #[test]
    fn what_is_no_object_has_the_fields_before_its_fault() {
        for text in ["", "[{\"a\":1}]", "{", "{}", "x", "{\"a\"", "{\"a", "{\"a\" 1}", "{a:1}", "{\"\\"] {
            assert!(values(text).is_empty(), "{text}");
        }
        assert_eq!(values("{\"a\":[1,2"), [("a".to_owned(), "[1,2")]);
        assert_eq!(values("{\"a\":"), [("a".to_owned(), "")]);
        assert_eq!(values("{\"a\":\"é"), [("a".to_owned(), "\"é")]);
    }

    #[test]
    fn one_value_is_checked_and_kept_as_it_is() {
        let kept = " {\"a\":1.50,\"a\":1e400} ";
        assert_eq!(checked(kept).ok(), Some(kept.trim()));
        assert_eq!(checked("\u{feff}[1]\n").ok(), Some("[1]"));
        for text in ["", "1,\"b\":2", "{} {}", "[1", "NaN"] {
            assert!(checked(text).is_err(), "{text}");
        }
    }
}
