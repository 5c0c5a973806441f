//! Which characters of a text are seen by whoever reads it: others' names, labels and messages stand in lists and
//! terminals, where what is not seen misleads.

/// Whether a character shows nothing of itself, or changes how those beside it are shown: controls, line and paragraph
/// ends, marks of direction (Unicode's `Bidi_Control`), and what else is ignorable by default. Not those that
/// [`joins`]: many scripts need them.
pub fn is_hidden(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
                | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}'
                | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
                | '\u{e0000}'..='\u{e0fff}'
        )
}

/// Whether a character says how those beside it are joined or drawn: joiners and variation selectors.
pub fn joins(character: char) -> bool {
    matches!(character, '\u{200c}' | '\u{200d}' | '\u{fe00}'..='\u{fe0f}')
}

/// Whether two texts of this kind that look alike are alike, as far as hidden characters go: it has none, and joins only
/// where scripts and pictures do, behind a character beyond ASCII.
pub fn is_plain(text: &str) -> bool {
    let mut before = ' ';
    text.chars().all(|character| {
        let sound = !is_hidden(character) && (!joins(character) || !before.is_ascii());
        before = character;
        sound
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_all_scripts_are_plain_and_those_with_hidden_characters_are_not() {
        for text in ["a b", "ночной прогон", "می‌خواهم", "👩‍🔬 ❤️", "क्‍ष", "é", ""]
        {
            assert!(is_plain(text), "{text:?}");
        }
        for hidden in
            ["a\u{202e}b", "a\u{200b}b", "a\u{200d}b", "\u{200d}", "a\u{fe0f}", "\u{3164}", "a\u{ad}b", "\u{feff}a"]
        {
            assert!(!is_plain(hidden), "{hidden:?}");
        }
        for hidden in ["a\nb", "a\u{2028}b", "a\u{2066}b\u{2069}", "a\u{e0041}", "\u{61c}", "a\u{7f}"] {
            assert!(!is_plain(hidden), "{hidden:?}");
        }
    }
}
