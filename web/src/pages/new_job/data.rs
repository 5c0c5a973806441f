//! What people type or drop as data, turned into the JSON of a job. Numbers are carried as they stand, digit by digit:
//! a number that fits no float must not become one on the way.

/// Why data cannot be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DataError {
    /// Neither a number nor a list.
    NotANumber(String),
    /// It begins like a JSON list and is none.
    NotAList,
}

/// A JSON list from a JSON list, or from numbers apart by spaces, commas, semicolons or lines.
pub fn list(text: &str) -> Result<String, DataError> {
    let text = text.trim();
    if text.starts_with('[') {
        return if is_json(text) { Ok(text.to_owned()) } else { Err(DataError::NotAList) };
    }
    numbers(text).map(|numbers| format!("[{}]", numbers.join(",")))
}

/// The content of a file as a JSON list: JSON stays, numbers (CSV too, a heading is skipped) become numbers, anything
/// else becomes a list of its lines.
pub fn list_of_file(text: &str) -> String {
    let text = text.trim_start_matches('\u{feff}').trim();
    if text.starts_with('[') && is_json(text) {
        return text.to_owned();
    }
    let without_heading = text.split_once('\n').map_or("", |(_, rest)| rest);
    match (numbers(text), numbers(without_heading)) {
        (Ok(numbers), _) => format!("[{}]", numbers.join(",")),
        (Err(_), Ok(numbers)) if !numbers.is_empty() => format!("[{}]", numbers.join(",")),
        (Err(_), Ok(_) | Err(_)) => {
            let lines: Vec<String> = text.lines().map(quoted).collect();
            format!("[{}]", lines.join(","))
        }
    }
}

/// A matrix from JSON, or from a row a line.
pub fn matrix(text: &str) -> Result<String, DataError> {
    let text = text.trim_start_matches('\u{feff}').trim();
    if text.starts_with('[') {
        return if is_json(text) { Ok(text.to_owned()) } else { Err(DataError::NotAList) };
    }
    let rows: Result<Vec<String>, DataError> = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .map(|line| numbers(line).map(|row| format!("[{}]", row.join(","))))
        .collect();
    Ok(format!("[{}]", rows?.join(",")))
}

/// A number as typed if JSON can carry it, else the text, so that the refusal names what was typed.
pub fn number_or_text(text: &str) -> String {
    let text = text.trim().replace(['_', '\u{a0}', '\u{202f}', ' '], "");
    if is_number(&text) { plain(&text) } else { quoted(&text) }
}

/// A JSON string.
pub fn quoted(text: &str) -> String {
    serde_json::to_string(text).unwrap_or_default()
}

/// How many items a JSON list has; `None` when it is none.
pub fn items(json: &str) -> Option<usize> {
    serde_json::from_str::<Vec<serde::de::IgnoredAny>>(json).ok().map(|items| items.len())
}

fn is_json(text: &str) -> bool {
    serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
}

fn numbers(text: &str) -> Result<Vec<String>, DataError> {
    text.split(|letter: char| letter.is_whitespace() || letter == ',' || letter == ';')
        .filter(|word| !word.is_empty())
        .map(|word| {
            if is_number(word) { Ok(plain(word)) } else { Err(DataError::NotANumber(word.chars().take(40).collect())) }
        })
        .collect()
}

/// JSON allows no leading plus.
fn plain(number: &str) -> String {
    number.strip_prefix('+').unwrap_or(number).to_owned()
}

fn is_number(word: &str) -> bool {
    let word = word.strip_prefix('+').unwrap_or(word);
    word.starts_with(|first: char| first.is_ascii_digit() || first == '-')
        && serde_json::from_str::<serde_json::Number>(word).is_ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_in_however_people_write_them() {
        assert_eq!(list("1, 2;3\n4").unwrap(), "[1,2,3,4]");
        assert_eq!(list(" [1, \"a\"] ").unwrap(), "[1, \"a\"]");
        assert_eq!(list("").unwrap(), "[]");
        assert_eq!(list("-1.5e3 +7").unwrap(), "[-1.5e3,7]");
    }

    #[test]
    fn a_large_integer_keeps_all_its_digits() {
        let large = "170141183460469231731687303715884105727";
        assert_eq!(list(large).unwrap(), format!("[{large}]"));
        assert_eq!(number_or_text(large), large);
    }

    #[test]
    fn what_is_no_number_is_named() {
        assert_eq!(list("1 two"), Err(DataError::NotANumber("two".into())));
        assert_eq!(list("[1, 2"), Err(DataError::NotAList));
        assert_eq!(number_or_text("ten \"x\""), "\"ten\\\"x\\\"\"");
        assert_eq!(list("0x10"), Err(DataError::NotANumber("0x10".into())));
    }

    #[test]
    fn files_of_all_sorts_become_lists() {
        assert_eq!(list_of_file("\u{feff}value\n1\n2\n"), "[1,2]");
        assert_eq!(list_of_file("1,2\n3,4"), "[1,2,3,4]");
        assert_eq!(list_of_file("[1,2]"), "[1,2]");
        assert_eq!(list_of_file("to be\nor \"not\""), r#"["to be","or \"not\""]"#);
        assert_eq!(list_of_file("heading"), r#"["heading"]"#);
    }

    #[test]
    fn a_matrix_is_a_row_a_line() {
        assert_eq!(matrix("1 2\n\n3 4\n").unwrap(), "[[1,2],[3,4]]");
        assert_eq!(matrix("[[1]]").unwrap(), "[[1]]");
        assert!(matrix("1 x").is_err());
    }

    #[test]
    fn grouped_digits_are_read_as_people_paste_them() {
        assert_eq!(number_or_text("10 000 000"), "10000000");
        assert_eq!(number_or_text("10_000"), "10000");
    }
}
