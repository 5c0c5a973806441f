//! Maps and strings that grow while lines are read and printed. A hash map's order is random, so it is sorted.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fmt::Write as _,
    io::{self, BufRead, Write},
};

fn main() -> io::Result<()> {
    let mut counts: HashMap<String, Vec<usize>> = HashMap::new();
    let mut lengths: BTreeMap<usize, HashSet<char>> = BTreeMap::new();
    let output = io::stdout();
    for (number, line) in io::stdin().lock().lines().enumerate() {
        let line = match line {
            Ok(line) => line,
            Err(error) => {
                eprintln!("line {number}: {:?}", error.kind());
                std::process::exit(2);
            }
        };
        for word in line.split_whitespace() {
            counts.entry(word.to_lowercase()).or_default().push(number);
            lengths.entry(word.chars().count()).or_default().extend(word.chars());
        }
        writeln!(output.lock(), "{number}: {}", line.chars().rev().collect::<String>())?;
    }
    let mut sorted: Vec<_> = counts.iter().collect();
    sorted.sort();
    let mut text = String::new();
    for (word, lines) in sorted {
        let _ = writeln!(text, "{word:>12} {:>5} {:?}", lines.len(), &lines[..lines.len().min(3)]);
    }
    print!("{text}");
    for (length, letters) in lengths {
        println!("{length}: {} letters, {:.3}", letters.len(), (length as f64).sqrt());
    }
    Ok(())
}
