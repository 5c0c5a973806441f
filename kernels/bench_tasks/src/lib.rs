//! a-z in capitals: what the kernel by hand does in the measurement of tiny tasks, as a person writes it in Rust.

/// The input with its letters a-z in capitals.
pub fn answer(input: &[u8]) -> Vec<u8> {
    input.to_ascii_uppercase()
}

guest::kernel!(answer);

#[cfg(test)]
mod tests {
    #[test]
    fn only_letters_of_ascii_become_capitals() {
        assert_eq!(super::answer("aZ{`ß\n".as_bytes()), "AZ{`ß\n".as_bytes());
    }
}
