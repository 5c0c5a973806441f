//! What the page says, in every language it speaks.
//!
//! A text is a constant with its English and its Russian beside each other, so the compiler sees to it that every
//! text used exists and has both; the tests below see to what it cannot: places to fill in, plurals, forgotten Russian.

use p2pnet_shared::{
    api::IdleReason,
    job::{AttemptState, JobState, WaitReason},
    refusal::Code,
};

/// Declares texts, one a line: name, English, Russian.
macro_rules! texts {
    ($($name:ident: $english:literal, $russian:literal;)*) => {
        $(pub const $name: crate::text::Text = crate::text::Text { english: $english, russian: $russian };)*
        #[cfg(test)]
        pub const TEXTS: &[(&str, crate::text::Text)] = &[$((stringify!($name), $name)),*];
    };
}

/// Declares counted texts: name, English one and other, Russian one, few and many.
macro_rules! plurals {
    ($($name:ident: [$one:literal, $other:literal], [$r_one:literal, $r_few:literal, $r_many:literal];)*) => {
        $(pub const $name: crate::text::Plural =
            crate::text::Plural { english: [$one, $other], russian: [$r_one, $r_few, $r_many] };)*
        #[cfg(test)]
        pub const PLURALS: &[(&str, crate::text::Plural)] = &[$((stringify!($name), $name)),*];
    };
}

pub mod about;
pub mod codes;
pub mod donate;
pub mod job;
pub mod jobs;
pub mod network;
pub mod new_job;
pub mod shell;

/// A sentence in every language. `{name}` marks what [`Words::fill`] puts in.
pub use p2pnet_shared::job::kinds::schema::Text;

/// A sentence about a number of things; `{n}` marks the number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plural {
    /// One, other.
    english: [&'static str; 2],
    /// One (1, 21), few (2, 24), many (5, 11).
    russian: [&'static str; 3],
}

/// The languages of the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    English,
    Russian,
}

impl Language {
    pub const ALL: [Language; 2] = [Language::English, Language::Russian];

    /// The language tag, as in `lang` and for number formats.
    pub fn tag(self) -> &'static str {
        match self {
            Language::English => "en",
            Language::Russian => "ru",
        }
    }

    /// How its speakers call it.
    pub fn own_name(self) -> &'static str {
        match self {
            Language::English => "English",
            Language::Russian => "Русский",
        }
    }

    /// From a language tag such as `ru-RU`; `None` for a language the page does not speak.
    pub fn from_tag(tag: &str) -> Option<Self> {
        let primary = tag.split(['-', '_']).next()?.to_ascii_lowercase();
        Self::ALL.into_iter().find(|language| language.tag() == primary)
    }
}

/// The texts in one language. Cheap to copy, handed to every component through the context.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Words {
    pub language: Language,
}

impl Words {
    /// A text that needs nothing filled in.
    pub fn say(self, text: Text) -> &'static str {
        match self.language {
            Language::English => text.english,
            Language::Russian => text.russian,
        }
    }

    /// A text with its places filled in.
    pub fn fill(self, text: Text, values: &[(&str, &str)]) -> String {
        fill(self.say(text), values)
    }

    /// The form that fits `n`, with `shown` (the number as people of this language write it) put in.
    pub fn plural(self, plural: Plural, n: u64, shown: &str) -> String {
        let form = match self.language {
            Language::English => plural.english[usize::from(n != 1)],
            Language::Russian => plural.russian[russian_form(n)],
        };
        fill(form, &[("n", shown)])
    }
}

/// Which of one, few, many: 1 задача, 2 задачи, 5 задач, 11 задач, 21 задача (CLDR plural rules, `ru`, integers).
fn russian_form(n: u64) -> usize {
    match (n % 10, n % 100) {
        (1, tens) if tens != 11 => 0,
        (2..=4, tens) if !(12..=14).contains(&tens) => 1,
        (_, _) => 2,
    }
}

fn fill(text: &str, values: &[(&str, &str)]) -> String {
    let mut filled = String::with_capacity(text.len() + 16);
    let mut rest = text;
    while let Some(open) = rest.find('{') {
        let Some(close) = rest[open..].find('}') else { break };
        filled.push_str(&rest[..open]);
        let name = &rest[open + 1..open + close];
        let value = values.iter().find(|(known, _)| *known == name).map_or("", |(_, value)| *value);
        filled.push_str(value);
        rest = &rest[open + close + 1..];
    }
    filled.push_str(rest);
    filled
}

/// A job's state as one word.
pub fn job_state(state: JobState) -> Text {
    match state {
        JobState::Queued => job::QUEUED,
        JobState::Running => job::RUNNING,
        JobState::Verifying => job::VERIFYING,
        JobState::Completed => job::COMPLETED,
        JobState::Failed => job::FAILED,
        JobState::Cancelled => job::CANCELLED,
        JobState::Expired => job::EXPIRED,
    }
}

/// An attempt's state as one word.
pub fn attempt_state(state: AttemptState) -> Text {
    match state {
        AttemptState::Assigned => job::ATTEMPT_ASSIGNED,
        AttemptState::Fetching => job::ATTEMPT_FETCHING,
        AttemptState::Running => job::ATTEMPT_RUNNING,
        AttemptState::Delivered => job::ATTEMPT_DELIVERED,
        AttemptState::Accepted => job::ATTEMPT_ACCEPTED,
        AttemptState::Rejected => job::ATTEMPT_REJECTED,
        AttemptState::Lost => job::ATTEMPT_LOST,
        AttemptState::Resting => job::ATTEMPT_RESTING,
    }
}

/// Why a node that could lend does nothing, as a sentence.
pub fn idle_reason(reason: IdleReason) -> Text {
    match reason {
        IdleReason::SwitchedOff => donate::IDLE_SWITCHED_OFF,
        IdleReason::OnBattery => donate::IDLE_ON_BATTERY,
        IdleReason::NotConnected => donate::IDLE_NOT_CONNECTED,
        IdleReason::NoWork => donate::IDLE_NO_WORK,
    }
}

/// Why a job waits, as a sentence. `shown` writes a number; `ago` writes how far a moment lies ahead.
pub fn wait_reason(
    words: Words,
    reason: &WaitReason,
    shown: impl Fn(u64) -> String,
    until: impl Fn(p2pnet_shared::units::Moment) -> String,
) -> String {
    match reason {
        WaitReason::NotConnected => words.say(job::WAIT_NOT_CONNECTED).to_owned(),
        WaitReason::NoProviders => words.say(job::WAIT_NO_PROVIDERS).to_owned(),
        WaitReason::NoneMeetsRequirements => words.say(job::WAIT_NONE_MEETS).to_owned(),
        WaitReason::OtherVersions { nodes } => {
            words.plural(job::WAIT_OTHER_VERSIONS, u64::from(*nodes), &shown(u64::from(*nodes)))
        }
        WaitReason::AllBusy => words.say(job::WAIT_ALL_BUSY).to_owned(),
        WaitReason::Connecting { nodes } => {
            words.plural(job::WAIT_CONNECTING, u64::from(*nodes), &shown(u64::from(*nodes)))
        }
        WaitReason::TasksRunning { batches } => {
            words.plural(job::WAIT_TASKS_RUNNING, u64::from(*batches), &shown(u64::from(*batches)))
        }
        WaitReason::Retrying { at } => words.fill(job::WAIT_RETRYING, &[("when", &until(*at))]),
    }
}

/// What a refusal is about, as a short sentence in the reader's language; its own message follows as the detail.
pub fn code(code: Code) -> Text {
    codes::of(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn every_text() -> Vec<(&'static str, Text)> {
        [
            about::TEXTS,
            codes::TEXTS,
            donate::TEXTS,
            job::TEXTS,
            jobs::TEXTS,
            network::TEXTS,
            new_job::TEXTS,
            shell::TEXTS,
        ]
        .concat()
    }

    fn every_plural() -> Vec<(&'static str, Plural)> {
        [donate::PLURALS, job::PLURALS, network::PLURALS, new_job::PLURALS].concat()
    }

    /// The names in braces, sorted.
    fn places(text: &str) -> Vec<&str> {
        let mut names: Vec<&str> =
            text.split('{').skip(1).map(|part| part.split('}').next().unwrap_or_default()).collect();
        names.sort_unstable();
        names
    }

    fn has_cyrillic(text: &str) -> bool {
        text.chars().any(|letter| ('а'..='я').contains(&letter.to_ascii_lowercase()) || ('А'..='Я').contains(&letter))
    }

    #[test]
    fn both_languages_fill_in_the_same_places() {
        for (name, text) in every_text() {
            assert_eq!(places(text.english), places(text.russian), "{name}");
            assert!(!text.english.trim().is_empty() && !text.russian.trim().is_empty(), "{name} is empty");
        }
        for (name, plural) in every_plural() {
            for form in plural.english.iter().chain(&plural.russian) {
                assert_eq!(places(form), ["n"], "{name}: {form}");
            }
        }
    }

    #[test]
    fn russian_is_russian_and_english_is_not() {
        for (name, text) in every_text() {
            let is_name = text.russian == text.english && !text.russian.chars().any(char::is_lowercase);
            assert!(has_cyrillic(text.russian) || is_name, "{name} was not translated: {}", text.russian);
            assert!(!has_cyrillic(text.english), "{name}: {}", text.english);
        }
        for (name, plural) in every_plural() {
            assert!(plural.russian.iter().all(|form| has_cyrillic(form)), "{name}");
            assert!(!plural.english.iter().any(|form| has_cyrillic(form)), "{name}");
        }
    }

    #[test]
    fn russian_counts_as_russians_do() {
        let words = Words { language: Language::Russian };
        let say = |n: u64| words.plural(donate::TASKS, n, &n.to_string());
        assert_eq!(say(1), "1 задача");
        assert_eq!(say(2), "2 задачи");
        assert_eq!(say(5), "5 задач");
        assert_eq!(say(11), "11 задач");
        assert_eq!(say(14), "14 задач");
        assert_eq!(say(21), "21 задача");
        assert_eq!(say(112), "112 задач");
        assert_eq!(say(0), "0 задач");
    }

    #[test]
    fn english_counts_as_english_does() {
        let words = Words { language: Language::English };
        assert_eq!(words.plural(donate::TASKS, 1, "1"), "1 task");
        assert_eq!(words.plural(donate::TASKS, 0, "0"), "0 tasks");
        assert_eq!(words.plural(donate::TASKS, 2_000, "2,000"), "2,000 tasks");
    }

    #[test]
    fn places_are_filled_once_and_unknown_ones_vanish() {
        assert_eq!(fill("{a} and {b}", &[("a", "{b}"), ("b", "2")]), "{b} and 2");
        assert_eq!(fill("{missing}!", &[]), "!");
        assert_eq!(fill("open { brace", &[]), "open { brace");
    }

    #[test]
    fn a_language_is_found_by_its_tag() {
        assert_eq!(Language::from_tag("ru-RU"), Some(Language::Russian));
        assert_eq!(Language::from_tag("EN"), Some(Language::English));
        assert_eq!(Language::from_tag("de"), None);
    }
}
