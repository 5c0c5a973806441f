//! An answer, before anybody knows whether it is a relay's: proxies and networks that want a login answer for others.

use reqwest::StatusCode;

use p2pnet_shared::visible::is_hidden;

/// Of an answer that is no relay's, so many bytes are looked at.
const MOST_LOOKED_AT: usize = 64 << 10;
/// Characters, and words, of a stranger's text that are told.
const MOST_TOLD: usize = 80;

/// An answer as it came.
pub(crate) struct Came {
    /// Its status.
    pub status: StatusCode,
    /// Its content type, in small letters and without parameters.
    pub kind: Option<String>,
    /// All of it.
    pub body: Vec<u8>,
}

impl Came {
    /// Whether it calls itself JSON, or nothing.
    pub(crate) fn may_be_json(&self) -> bool {
        self.kind.as_deref().is_none_or(|kind| kind == "application/json" || kind.ends_with("+json"))
    }

    /// What it is, for a person who expected a relay's answer.
    pub(crate) fn told(&self) -> String {
        let (status, text) = (self.status, self.beginning());
        if self.is_page() {
            return format!("a web page ({status}{})", title_of(&text));
        }
        let kind = self.kind.as_deref().map_or_else(String::new, |kind| format!(", {}", shown(kind)));
        match shown(&text) {
            text if text.is_empty() => format!("something else ({status}{kind}, empty)"),
            text => format!("something else ({status}{kind}: {text:?})"),
        }
    }

    /// Whether it is a web page, by what it calls itself or by how it begins.
    fn is_page(&self) -> bool {
        let begins = self.beginning().trim_start().to_ascii_lowercase();
        let is_marked = self.kind.as_deref().is_some_and(|kind| kind.contains("html"));
        is_marked || ["<!doctype", "<html", "<head", "<title", "<body", "<h1"].iter().any(|tag| begins.starts_with(tag))
    }

    fn beginning(&self) -> String {
        let text = String::from_utf8_lossy(self.body.get(..self.body.len().min(MOST_LOOKED_AT)).unwrap_or_default());
        text.strip_prefix('\u{feff}').unwrap_or(&text).to_owned()
    }
}

/// The first characters of a stranger's text, without those that nobody sees.
fn shown(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().take(MOST_TOLD).collect();
    words.join(" ").chars().filter(|one| !is_hidden(*one)).take(MOST_TOLD).collect()
}

/// `: "title"` of a web page, if it has one.
fn title_of(page: &str) -> String {
    // As long in bytes as in the page, whatever its letters.
    let start = page.to_ascii_lowercase().find("<title>").map(|at| at + "<title>".len());
    let title = start.and_then(|start| page.get(start..)?.split('<').next()).map(shown).unwrap_or_default();
    if title.is_empty() { title } else { format!(", {title:?}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_told_by_its_title() {
        assert_eq!(title_of("<html><title> 502 Bad\n Gateway</title>"), ", \"502 Bad Gateway\"");
        assert_eq!(title_of("<html>"), "");
    }
}
