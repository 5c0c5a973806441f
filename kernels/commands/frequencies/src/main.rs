//! How often each word of standard input occurs, the most frequent first: `frequencies [--top N]`.
//!
//! An ordinary program of Rust's standard library: nothing in it knows of p2pnet.

use std::{
    collections::HashMap,
    io::{self, Read, Write},
    process::ExitCode,
};

fn main() -> ExitCode {
    match top(std::env::args().skip(1)).and_then(|top| print(top).map_err(|error| error.to_string())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("frequencies: {message}");
            ExitCode::from(2)
        }
    }
}

/// How many words to show.
fn top(mut words: impl Iterator<Item = String>) -> Result<usize, String> {
    let mut top = usize::MAX;
    while let Some(word) = words.next() {
        match word.as_str() {
            "--top" => {
                let number = words.next().ok_or("--top needs a number")?;
                top = number.parse().map_err(|_| format!("--top {number:?} is no number"))?;
            }
            unknown => return Err(format!("{unknown:?} is not understood; usage: frequencies [--top N]")),
        }
    }
    Ok(top)
}

fn print(top: usize) -> io::Result<()> {
    let mut text = String::new();
    io::stdin().read_to_string(&mut text)?;
    let mut output = io::BufWriter::new(io::stdout().lock());
    for (word, count) in frequencies(&text).into_iter().take(top) {
        writeln!(output, "{count}\t{word}")?;
    }
    output.flush()
}

/// The words in lower case with their counts; equally frequent ones in the alphabet's order.
fn frequencies(text: &str) -> Vec<(String, u64)> {
    let mut counts: HashMap<String, u64> = HashMap::new();
    for word in text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()) {
        *counts.entry(word.to_lowercase()).or_default() += 1;
    }
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_unstable_by(|(word, count), (other, times)| times.cmp(count).then_with(|| word.cmp(other)));
    counts
}

#[cfg(test)]
mod tests {
    use super::{frequencies, top};

    #[test]
    fn frequent_words_come_first_and_equal_ones_in_order() {
        let words = frequencies("Zu zweit, zu dritt: ZU viel");
        let words: Vec<(&str, u64)> = words.iter().map(|(word, count)| (word.as_str(), *count)).collect();
        assert_eq!(words, [("zu", 3), ("dritt", 1), ("viel", 1), ("zweit", 1)]);
    }

    #[test]
    fn arguments_are_read_or_refused() {
        let given = |words: &[&str]| top(words.iter().map(|word| (*word).to_owned()));
        assert_eq!(given(&["--top", "3"]), Ok(3));
        assert_eq!(given(&[]), Ok(usize::MAX));
        assert!(given(&["--top"]).is_err() && given(&["--top", "x"]).is_err() && given(&["-v"]).is_err());
    }
}
