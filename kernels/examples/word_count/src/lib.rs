//! How often each word occurs: a line `word<TAB>count` for each, in the words' order.
//!
//! It reads such lines, too, and adds them up, so it can merge its own outputs: `"split":"lines","merge":"kernel"`.

use std::collections::BTreeMap;

/// The counts of a text, of counts, or of both mixed.
pub fn answer(input: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(input);
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    for line in text.lines() {
        if let Some((word, count)) = line.split_once('\t')
            && let Ok(count) = count.parse::<u64>()
        {
            *counts.entry(word.to_owned()).or_default() += count;
            continue;
        }
        for word in line.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()) {
            *counts.entry(word.to_lowercase()).or_default() += 1;
        }
    }
    counts.iter().map(|(word, count)| format!("{word}\t{count}\n")).collect::<String>().into_bytes()
}

guest::kernel!(answer);

#[cfg(test)]
mod tests {
    use super::answer;

    #[test]
    fn counting_parts_and_merging_is_counting_the_whole() {
        let text = "Über den Wolken\nmuss die Freiheit\nüber die Wolken";
        let parts: Vec<u8> = text.split_inclusive('\n').flat_map(|line| answer(line.as_bytes())).collect();
        assert_eq!(answer(&parts), answer(text.as_bytes()));
        assert!(String::from_utf8(answer(text.as_bytes())).unwrap().contains("über\t2\n"));
    }
}
