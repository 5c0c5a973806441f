//! What was measured, as a table for people (`docs/benchmarks.md`) and as JSON for programs (`target/bench/`).

use std::fs;

use anyhow::{Context, Result};
use serde_json::json;

use crate::process::given;

/// One figure.
pub struct Row {
    /// What was measured.
    pub name: String,
    /// Where or how.
    pub variant: String,
    /// The figure.
    pub value: f64,
    /// Its unit.
    pub unit: &'static str,
    /// The figure over that of what it is compared with, measured in the same run.
    pub ratio: Option<f64>,
    /// What it is compared with, or what else helps to read it.
    pub beside: String,
}

impl Row {
    /// A figure that stands alone.
    pub fn new(name: &str, variant: &str, value: f64, unit: &'static str) -> Self {
        Self { name: name.to_owned(), variant: variant.to_owned(), value, unit, ratio: None, beside: String::new() }
    }

    /// The same, as a multiple of `reference`.
    #[must_use]
    pub fn over(mut self, reference: f64, what: &str) -> Self {
        self.ratio = Some(self.value / reference);
        self.beside = what.to_owned();
        self
    }

    /// The same, with a remark.
    #[must_use]
    pub fn beside(mut self, remark: &str) -> Self {
        self.beside = remark.to_owned();
        self
    }
}

/// Writes `target/bench/<bench>.json` and replaces this bench's table in `docs/benchmarks.md`.
pub fn write(bench: &str, rows: &[Row]) -> Result<()> {
    write_as(bench, rows, &table(rows))
}

/// The same with a table of one's own.
pub fn write_as(bench: &str, rows: &[Row], table: &str) -> Result<()> {
    let folder = given("P2PNET_OUT")?.join("bench");
    fs::create_dir_all(&folder)?;
    let list: Vec<_> = rows
        .iter()
        .map(|row| json!({"name": row.name, "variant": row.variant, "value": row.value, "unit": row.unit, "ratio": row.ratio}))
        .collect();
    fs::write(folder.join(format!("{bench}.json")), serde_json::to_vec_pretty(&json!({ "rows": list }))?)?;
    println!("{table}");
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/benchmarks.md");
    let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    fs::write(&file, replace_section(&text, bench, table)).with_context(|| format!("cannot write {}", file.display()))
}

fn table(rows: &[Row]) -> String {
    let mut text = String::from("| what | where | measured | ratio | beside |\n|---|---|--:|--:|---|\n");
    for row in rows {
        let ratio = row.ratio.map(number).unwrap_or_default();
        let value = number(row.value);
        text += &format!("| {} | {} | {value} {} | {ratio} | {} |\n", row.name, row.variant, row.unit, row.beside);
    }
    text
}

/// Three digits that matter, thousands apart.
pub fn number(value: f64) -> String {
    if value.abs() < 100.0 {
        return format!("{value:.2}");
    }
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// What stands between `<!-- bench NAME -->` and the next `<!-- end -->`; added at the end if there is no such place.
fn replace_section(text: &str, bench: &str, table: &str) -> String {
    let (begin, end) = (format!("<!-- bench {bench} -->\n"), "<!-- end -->");
    match text.split_once(&begin).and_then(|(before, rest)| Some((before, rest.split_once(end)?.1))) {
        Some((before, after)) => format!("{before}{begin}{table}{end}{after}"),
        None => format!("{text}\n{begin}{table}{end}\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_takes_the_place_of_the_last_one() {
        let text = "# Title\n<!-- bench a -->\nold\n<!-- end -->\ntail";
        assert_eq!(replace_section(text, "a", "new\n"), "# Title\n<!-- bench a -->\nnew\n<!-- end -->\ntail");
        assert!(replace_section(text, "b", "new\n").ends_with("tail\n<!-- bench b -->\nnew\n<!-- end -->\n"));
    }

    #[test]
    fn numbers_are_easy_to_read() {
        assert_eq!([number(1_234_567.0), number(999.6), number(0.126)], ["1,234,567", "1,000", "0.13"]);
    }
}
