//! What a person calls a job: a name and labels, to find it again. Nothing of it reaches a kernel.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    refusal::{Code, Refusal},
    visible::is_plain,
};

/// Characters of a name.
pub const MOST_NAME: usize = 100;
/// Labels of one job.
pub const MOST_LABELS: usize = 32;
/// Characters of a label's key.
pub const MOST_KEY: usize = 63;
/// Characters of a label's value.
pub const MOST_VALUE: usize = 255;

const LEAVE_OUT: &str = "leave out its line breaks, its marks of direction and other characters without a shape";

/// A job's name and labels.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metadata {
    /// 1 to [`MOST_NAME`] characters; need not be the only one of its kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Up to [`MOST_LABELS`].
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

impl Metadata {
    /// Takes a name, if it may be one.
    pub fn set_name(&mut self, name: &str) -> Result<(), Refusal> {
        let refused = |message: String, hint| Err(Refusal::new(Code::InvalidField, message, hint));
        let trimmed = name.trim();
        match trimmed.chars().count() {
            0 if name.is_empty() => refused("`name` is empty".to_owned(), "write one, or leave it out"),
            0 => refused("`name` has only spaces".to_owned(), "write one, or leave it out"),
            1..=MOST_NAME if is_plain(trimmed) => {
                self.name = Some(trimmed.to_owned());
                Ok(())
            }
            1..=MOST_NAME => refused("`name` holds characters that nobody sees".to_owned(), LEAVE_OUT),
            len => refused(
                format!("`name` has {len} characters; it may have {MOST_NAME}"),
                "choose a shorter one, or leave it out",
            ),
        }
    }

    /// Takes a label, if it may be one.
    pub fn add_label(&mut self, key: &str, value: &str) -> Result<(), Refusal> {
        let shown: String = key.chars().take(40).collect();
        let sound = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | '/');
        if key.is_empty() || key.chars().count() > MOST_KEY || !key.chars().all(sound) || !is_plain(key) {
            let message = format!("`labels.{shown}` is no key of a label");
            let hint = format!("a key has 1 to {MOST_KEY} letters, digits, and - _ . / between them");
            return Err(Refusal::new(Code::InvalidField, message, hint));
        }
        let len = value.chars().count();
        if len > MOST_VALUE {
            let message = format!("`labels.{shown}` has {len} characters; it may have {MOST_VALUE}");
            return Err(Refusal::new(Code::InvalidField, message, "long texts belong into the job's input"));
        }
        if !is_plain(value) {
            let message = format!("`labels.{shown}` holds characters that nobody sees");
            return Err(Refusal::new(Code::InvalidField, message, LEAVE_OUT));
        }
        if self.labels.len() >= MOST_LABELS && !self.labels.contains_key(key) {
            let message = format!("a job may have {MOST_LABELS} labels");
            return Err(Refusal::new(Code::TooLarge, message, "leave some out"));
        }
        self.labels.insert(key.to_owned(), value.to_owned());
        Ok(())
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn names_and_labels_are_bounded() {
        let mut metadata = Metadata::default();
        metadata.set_name(" ночной прогон ").unwrap();
        assert_eq!(metadata.name.as_deref(), Some("ночной прогон"));
        for bad in ["", "  ", "\u{a0}\u{3000}", "a\nb", &"я".repeat(MOST_NAME + 1)] {
            assert_eq!(metadata.set_name(bad).unwrap_err().code, Code::InvalidField, "{bad:?}");
        }
        for (bad, word) in [("", "write"), ("a\nb", "line breaks"), (&"я".repeat(MOST_NAME + 1), "shorter")] {
            assert!(metadata.set_name(bad).unwrap_err().hint.contains(word), "{bad:?}");
        }
        assert!(metadata.set_name("  ").unwrap_err().message.contains("only spaces"));
        for hidden in ["report\u{202e}fdp.exe", "a\u{200b}b", "\u{3164}", "a\u{2066}b"] {
            assert!(metadata.set_name(hidden).unwrap_err().hint.contains("direction"), "{hidden:?}");
            assert!(metadata.add_label("a", hidden).unwrap_err().hint.contains("direction"), "{hidden:?}");
            assert_eq!(metadata.add_label(hidden, "a").unwrap_err().code, Code::InvalidField, "{hidden:?}");
        }
        metadata.set_name("👩‍🔬 می‌خواهم").unwrap();
        assert!(metadata.add_label("a", "x\ny").unwrap_err().hint.contains("line breaks"));
        metadata.add_label("team/a", "").unwrap();
        for (key, value) in [("", "x"), ("a:b", "x"), ("a b", "x"), ("a", "x\ny"), ("a", &"x".repeat(MOST_VALUE + 1))] {
            assert_eq!(metadata.add_label(key, value).unwrap_err().code, Code::InvalidField, "{key:?}");
        }
        for n in 1..MOST_LABELS {
            metadata.add_label(&n.to_string(), "x").unwrap();
        }
        assert_eq!(metadata.add_label("more", "x").unwrap_err().code, Code::TooLarge);
        metadata.add_label("team/a", "another").unwrap();
    }
}
