//! A job in one line, from the JSON that was submitted: what a person would write on the lid.

use serde_json::{Map, Value};

use super::named;

/// Characters of the line.
const MOST: usize = 160;
/// Items of a list that are in it.
const ITEMS: usize = 6;

/// The line; `None` if the JSON cannot be read (a long one is cut) or says nothing short.
pub fn of(source: &str) -> Option<String> {
    let job: Map<String, Value> = serde_json::from_str(source).ok()?;
    let kind = named(job.get("kind")?.as_str()?)?;
    let parts: Vec<String> = (kind.summary)(&Brief(&job)).into_iter().flatten().collect();
    let line = parts.join(" · ");
    let short: String = line.chars().take(MOST).collect();
    let cut = if short.len() < line.len() { "…" } else { "" };
    (!line.is_empty()).then(|| short + cut)
}

/// A job of which a line is made.
pub struct Brief<'a>(&'a Map<String, Value>);

impl Brief<'_> {
    /// A text.
    pub fn text(&self, field: &str) -> Option<String> {
        self.0.get(field)?.as_str().map(str::to_owned)
    }

    /// Whatever stands there, without quotes.
    pub fn plain(&self, field: &str) -> Option<String> {
        self.0.get(field).map(plain)
    }

    /// The first items of a list.
    pub fn items(&self, field: &str) -> Option<String> {
        let data = self.0.get(field)?.as_array()?;
        let first: Vec<String> = data.iter().take(ITEMS).map(plain).collect();
        let more = if data.len() > first.len() { ", …" } else { "" };
        Some(format!("x = {}{more}", first.join(", ")))
    }

    /// Rows and columns of a matrix.
    pub fn size(&self, field: &str) -> Option<String> {
        let rows = self.0.get(field)?.as_array()?;
        Some(format!("{} × {}", rows.len(), rows.first()?.as_array()?.len()))
    }

    /// The formula of every item.
    pub fn mapped(&self) -> String {
        self.text("map").unwrap_or_else(|| "x".into())
    }

    /// What it is reduced to.
    pub fn reduced(&self) -> Option<String> {
        Some(format!("{}({})", self.text("reduce")?, self.mapped()))
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::of;

    #[test]
    fn a_line_says_what_a_job_computes() {
        let lines = [
            (
                r#"{"kind":"range_reduce","start":1,"end":9,"where":"is_prime(x)","reduce":"count"}"#,
                "count(x) · x = 1…9 · is_prime(x)",
            ),
            (r#"{"kind":"map","data":[1,2,3,4,5,6,7],"map":"x*x"}"#, "x*x · x = 1, 2, 3, 4, 5, 6, …"),
            (r#"{"kind":"map_reduce","data":[3],"map":"x+1","reduce":"max"}"#, "max(x+1) · x = 3"),
            (r#"{"kind":"matrix","op":"multiply","a":[[1,2]],"b":[[1],[2]]}"#, "multiply · 1 × 2 · 2 × 1"),
            (r#"{"kind":"kernel","kernel":"AA==","split":"lines","merge":"concat"}"#, "lines · concat"),
        ];
        for (job, line) in lines {
            assert_eq!(of(job).as_deref(), Some(line), "{job}");
        }
    }

    #[test]
    fn nonsense_has_none_and_long_ones_are_cut() {
        assert_eq!(of(""), None);
        assert_eq!(of("[1]"), None);
        assert_eq!(of(r#"{"kind":"range_reduce"}"#), None);
        assert_eq!(of(r#"{"kind":"matrix","op":"add","a":7}"#).as_deref(), Some("add"));
        let long = format!(r#"{{"kind":"map","data":["{}"],"map":"x"}}"#, "я".repeat(500));
        assert_eq!(of(&long).map(|line| line.chars().count()), Some(161));
    }
}
