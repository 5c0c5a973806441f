//! Tables and numbers as a person reads them in a terminal.

use std::collections::BTreeMap;

use p2pnet_shared::{job::WaitReason, units::Moment, visible::is_hidden};

/// Columns as wide as their widest cell, two spaces between; the last one is not padded.
pub fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = head.iter().map(|cell| cell.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let head: Vec<String> = head.iter().map(|cell| (*cell).to_owned()).collect();
    let mut text = String::new();
    for row in std::iter::once(&head).chain(rows) {
        let mut line = String::new();
        for (width, cell) in widths.iter().zip(row) {
            line.push_str(cell);
            line.push_str(&" ".repeat(width - cell.chars().count() + 2));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// A text of somebody else's, in which nothing can steer a terminal: a program may have written it.
pub fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\n' | '\t' => shown.push(character),
            other if is_hidden(other) => shown.extend(other.escape_unicode()),
            other => shown.push(other),
        }
    }
    shown
}

/// The text, if it has at most so many characters, or its beginning, and a sign that there is more.
pub fn cut(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most.saturating_sub(1)).chain(['…']).collect()
}

/// `12s ago`, `3h ago`.
pub fn ago(then: Moment, now: Moment) -> String {
    format!("{} ago", seconds((now - then).0 / 1000))
}

/// `59s`, `3m 5s`, `2h 1m`, `4d 3h`.
pub fn seconds(total: u64) -> String {
    match total {
        0..60 => format!("{total}s"),
        60..3600 => format!("{}m {}s", total / 60, total % 60),
        3600..86_400 => format!("{}h {}m", total / 3600, total % 3600 / 60),
        86_400.. => format!("{}d {}h", total / 86_400, total % 86_400 / 3600),
    }
}

/// `1234567` as `1 234 567`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

/// `run=7 team=physics`.
pub fn labels(labels: &BTreeMap<String, String>) -> String {
    labels.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(" ")
}

/// A label as people type it, `key=value` or `key:value`: the two parts, if there are two.
pub fn split_label(text: &str) -> (&str, Option<&str>) {
    match text.split_once(['=', ':']) {
        Some((key, value)) => (key, Some(value)),
        None => (text, None),
    }
}

/// The same as the API's query has it.
pub fn label_for_query(text: &str) -> String {
    match split_label(text) {
        (key, Some(value)) => format!("{key}:{value}"),
        (key, None) => key.to_owned(),
    }
}

/// Why a job waits, in a sentence.
pub fn waiting(reason: &WaitReason) -> String {
    match reason {
        WaitReason::NotConnected => "the relay is not connected to any seed".into(),
        WaitReason::NoProviders => {
            "no node lends its processor; open the relay's page and press Donate, or run `p2pnet node`".into()
        }
        WaitReason::OtherVersions { nodes } => {
            format!("{nodes} node(s) are there, but of another version of p2pnet, which runs kernels differently")
        }
        WaitReason::NoneMeetsRequirements => "nodes are there, but none meets the job's requirements".into(),
        WaitReason::AllBusy => "all nodes are busy with other work".into(),
        WaitReason::Connecting { nodes } => format!("connecting to {nodes} node(s)"),
        WaitReason::TasksRunning { batches } => format!("{batches} batch(es) still run"),
        WaitReason::Retrying { at: _ } => "a failed task waits before it is tried again".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_align_by_characters() {
        let rows = vec![vec!["яя".to_owned(), "1".to_owned()], vec!["b".to_owned(), "22".to_owned()]];
        assert_eq!(table(&["a", "n"], &rows), "a   n\nяя  1\nb   22\n");
    }

    #[test]
    fn nothing_that_a_program_wrote_steers_a_terminal() {
        assert_eq!(visible("a\tb\nя"), "a\tb\nя");
        assert_eq!(visible("a\u{202e}b\u{200b}c"), "a\\u{202e}b\\u{200b}c");
        assert_eq!(visible("👩‍🔬"), "👩‍🔬");
        assert_eq!(visible("\u{1b}[2J\u{7}\u{9b}x\r"), "\\u{1b}[2J\\u{7}\\u{9b}x\\u{d}");
    }

    #[test]
    fn numbers_read_well() {
        assert_eq!(grouped(1_234_567), "1 234 567");
        assert_eq!(grouped(12), "12");
        assert_eq!(seconds(3_700), "1h 1m");
        assert_eq!(ago(Moment(5_000), Moment(1_000)), "0s ago");
    }
}
