//! What a kind of job says of itself: its fields with their types, ranges, defaults and texts, its examples, its summary.
//! Reading and checking, the page's form, the flags of the command line, OpenAPI and the documents are made from it, so a
//! kind is described in its own file and nowhere else.

use super::summary::Brief;

/// A sentence in every language of the page. `{name}` marks what is filled in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Text {
    /// In English; what command line, API and documents show.
    pub english: &'static str,
    /// In Russian.
    pub russian: &'static str,
}

/// A text from its English and its Russian.
pub const fn text(english: &'static str, russian: &'static str) -> Text {
    Text { english, russian }
}

/// A kind of job.
#[derive(Debug)]
pub struct Kind {
    /// As in `"kind"`.
    pub name: &'static str,
    /// What people call it, in a word or two.
    pub title: Text,
    /// What it does, in a sentence or two.
    pub about: Text,
    /// Its fields beside those that every kind has, in the order in which people think of them.
    pub fields: &'static [Field],
    /// Jobs that work as they stand, at least one; the first fills the form.
    pub examples: &'static [Example],
    /// What its result is.
    pub output: Output,
    /// The parts of its line in a list of jobs; what a job does not say is left out.
    pub(super) summary: fn(&Brief<'_>) -> Vec<Option<String>>,
}

impl Kind {
    /// Its own field of that name.
    pub fn field(&self, name: &str) -> Option<&'static Field> {
        find(self.fields, name)
    }
}

/// The field of that name.
pub fn find(fields: &'static [Field], name: &str) -> Option<&'static Field> {
    fields.iter().find(|field| field.name == name)
}

/// What the result of a kind is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// A JSON value.
    Value,
    /// Bytes, in base64.
    Bytes,
    /// What a program wrote to its streams, and how its parts ended.
    Program,
}

/// A field of a job.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// As in JSON.
    pub name: &'static str,
    /// What its value may be.
    pub ty: Type,
    /// Whether it must be there.
    pub presence: Presence,
    /// What people call it, in a few words.
    pub label: Text,
    /// What it means, in a sentence.
    pub help: Text,
    /// What may be typed into it, where nothing is.
    pub example: &'static str,
    /// It has a meaning only where another field of the kind is one of these.
    pub only: Option<(&'static str, &'static [&'static str])>,
    /// Whether the form shows it only to who asks for more.
    pub folded: bool,
}

impl Field {
    /// A field that must be there.
    pub const fn required(name: &'static str, ty: Type, label: Text, help: Text) -> Self {
        Self { name, ty, presence: Presence::Required, label, help, example: "", only: None, folded: false }
    }

    /// A field that may be left out.
    pub const fn optional(name: &'static str, ty: Type, label: Text, help: Text) -> Self {
        Self { presence: Presence::Optional, ..Self::required(name, ty, label, help) }
    }

    /// It need not be there: this is meant where it is not.
    #[must_use]
    pub const fn or(self, default: &'static str) -> Self {
        Self { presence: Presence::Default(default), ..self }
    }

    /// It must be there unless another field of the kind is.
    #[must_use]
    pub const fn unless(self, other: &'static str) -> Self {
        Self { presence: Presence::Unless(other), ..self }
    }

    /// With this where nothing is typed.
    #[must_use]
    pub const fn like(self, example: &'static str) -> Self {
        Self { example, ..self }
    }

    /// With a meaning only where another field of the kind is one of these.
    #[must_use]
    pub const fn only(self, other: &'static str, among: &'static [&'static str]) -> Self {
        Self { only: Some((other, among)), ..self }
    }

    /// Shown only to who asks for more.
    #[must_use]
    pub const fn folded(self) -> Self {
        Self { folded: true, ..self }
    }

    /// What is meant where it is not said, if something is.
    pub fn default(&self) -> Option<&'static str> {
        match self.presence {
            Presence::Default(default) => Some(default),
            Presence::Required | Presence::Unless(_) | Presence::Optional => None,
        }
    }
}

/// Whether a field must be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// Always.
    Required,
    /// Unless another field is there.
    Unless(&'static str),
    /// No: what is meant instead, as it is typed.
    Default(&'static str),
    /// No.
    Optional,
}

/// What the value of a field may be.
#[derive(Clone, Copy, Debug)]
pub enum Type {
    /// A formula in `x`.
    Formula,
    /// An integer from `least` to `most`.
    Integer {
        /// The smallest.
        least: i64,
        /// The largest.
        most: i64,
    },
    /// A number above 0, with a fraction or without one.
    Fraction {
        /// The largest.
        most: u32,
    },
    /// One of several words.
    Choice(&'static [Choice]),
    /// A text without line breaks.
    Line {
        /// Characters.
        most: usize,
    },
    /// Texts under keys.
    Labels {
        /// How many.
        most: usize,
    },
    /// A long list of numbers and texts.
    Items,
    /// A list of rows of numbers.
    Matrix,
    /// A module's bytes, or its hash.
    Module,
    /// Bytes.
    Bytes,
    /// A list of texts.
    Texts {
        /// Bytes of all of them together.
        most: usize,
    },
    /// A short list of integers, one at least.
    Integers {
        /// The smallest.
        least: i64,
        /// The largest.
        most: i64,
        /// How many.
        longest: usize,
    },
    /// An object with fields of its own.
    Object(&'static [Field]),
}

impl Type {
    /// The long list that it is, which is packed while it is read.
    pub(super) fn long(&self) -> Option<Long> {
        match self {
            Type::Items => Some(Long::Items),
            Type::Matrix => Some(Long::Matrix),
            Type::Formula
            | Type::Integer { .. }
            | Type::Fraction { .. }
            | Type::Choice(_)
            | Type::Line { .. }
            | Type::Labels { .. }
            | Type::Module
            | Type::Bytes
            | Type::Texts { .. }
            | Type::Integers { .. }
            | Type::Object(_) => None,
        }
    }
}

/// A list too long to stand in memory as JSON values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Long {
    /// [`Type::Items`]
    Items,
    /// [`Type::Matrix`]
    Matrix,
}

/// One of several words.
#[derive(Clone, Copy, Debug)]
pub struct Choice {
    /// As in JSON.
    pub name: &'static str,
    /// What people call it.
    pub label: Text,
    /// A number that follows it, as in `bytes:65536`.
    pub number: Option<Number>,
}

/// The number that follows a word, behind a colon; 1 or more.
#[derive(Clone, Copy, Debug)]
pub struct Number {
    /// What people call it.
    pub label: Text,
    /// What stands in the form until another is typed.
    pub example: &'static str,
}

/// A word from its name, its English and its Russian.
pub const fn choice(name: &'static str, english: &'static str, russian: &'static str) -> Choice {
    Choice { name, label: text(english, russian), number: None }
}

/// The words of a table that says what each of them means.
pub const fn choices<T: Copy, const N: usize>(table: &[(Choice, T); N]) -> [Choice; N] {
    let mut words = [table[0].0; N];
    let mut at = 1;
    while at < N {
        words[at] = table[at].0;
        at += 1;
    }
    words
}

/// A job that works as it stands.
#[derive(Debug)]
pub struct Example {
    /// What it shows, in a few words.
    pub name: Text,
    /// Its fields, each as it is typed.
    pub values: &'static [(&'static str, Sample)],
}

/// What an example puts into a field.
#[derive(Clone, Copy, Debug)]
pub enum Sample {
    /// This.
    Typed(&'static str),
    /// What this makes; always the same.
    Made(fn() -> String),
    /// The module of that name in `kernels/commands`, which a relay has beside its page.
    Shipped(&'static str),
}

#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::panic)]
mod tests;
