//! What somebody may have meant who wrote a name that there is not.

/// The known name that is most like the written one, if one is like it at all: another case, a dash for a line, letters
/// swapped, missing or too many, or only its beginning.
pub(super) fn nearest<'a>(written: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let written = plain(written);
    let length = written.chars().count();
    known
        .into_iter()
        .filter_map(|name| {
            let candidate = plain(name);
            let longer = length.max(candidate.chars().count());
            let distance = strsim::osa_distance(&written, &candidate);
            let begins = length >= 3 && candidate.starts_with(&written);
            (begins || (distance <= (longer / 3).max(1) && distance < longer)).then_some((distance, name))
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// `; did you mean …?`, or nothing.
pub(super) fn question<'a>(written: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    nearest(written, known).map_or_else(String::new, |name| format!("; did you mean `{name}`?"))
}

/// Names are as long as people type them; what is longer is like none.
fn plain(name: &str) -> String {
    name.chars().take(64).filter(|c| !matches!(c, '_' | '-' | ' ')).flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: [&str; 5] = ["map", "data", "requirements", "timeout_seconds", "retries"];

    #[test]
    fn slips_find_their_name_and_other_words_none() {
        for (written, meant) in [
            ("mpa", "map"),
            ("Map", "map"),
            ("dat", "data"),
            ("requirement", "requirements"),
            ("timeoutSeconds", "timeout_seconds"),
            ("timeout", "timeout_seconds"),
            ("retires", "retries"),
        ] {
            assert_eq!(nearest(written, KNOWN), Some(meant), "{written}");
        }
        for written in ["colour", "x", "", "zzz"] {
            assert_eq!(nearest(written, KNOWN), None, "{written}");
        }
    }
}
