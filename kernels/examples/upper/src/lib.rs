//! A text in capitals, by Unicode's rules; what is no UTF-8 is replaced.

/// The text in capitals.
pub fn answer(input: &[u8]) -> Vec<u8> {
    String::from_utf8_lossy(input).to_uppercase().into_bytes()
}

guest::kernel!(answer);

#[cfg(test)]
mod tests {
    #[test]
    fn letters_become_capitals() {
        assert_eq!(super::answer("straße\n".as_bytes()), "STRASSE\n".as_bytes());
    }
}
