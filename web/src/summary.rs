//! A job in one line, from the JSON that was submitted: what a person would write on the lid.

use serde_json::{Map, Value};

/// Characters of the line.
const MOST: usize = 160;

/// The line; `None` if the JSON cannot be read (a long one is cut) or says nothing short.
pub fn of(source: &str) -> Option<String> {
    let job: Map<String, Value> = serde_json::from_str(source).ok()?;
    let line = match job.get("kind")?.as_str()? {
        "range_reduce" => {
            let range = format!("x = {}…{}", plain(job.get("start")?), plain(job.get("end")?));
            joined([Some(reduced(&job)), Some(range), text(&job, "where")])
        }
        "map" => joined([Some(mapped(&job)), items(&job), text(&job, "where")]),
        "map_reduce" => joined([Some(reduced(&job)), items(&job), text(&job, "where")]),
        "matrix" => joined([text(&job, "op"), job.get("a").and_then(size), job.get("b").and_then(size)]),
        "kernel" | "command" => joined([text(&job, "split"), text(&job, "merge"), None]),
        _ => return None,
    };
    let short: String = line.chars().take(MOST).collect();
    let cut = if short.len() < line.len() { "…" } else { "" };
    (!line.is_empty()).then(|| short + cut)
}

fn reduced(job: &Map<String, Value>) -> String {
    format!("{}({})", text(job, "reduce").unwrap_or_default(), mapped(job))
}

fn mapped(job: &Map<String, Value>) -> String {
    text(job, "map").unwrap_or_else(|| "x".into())
}

/// The first items of the data.
fn items(job: &Map<String, Value>) -> Option<String> {
    let data = job.get("data")?.as_array()?;
    let first: Vec<String> = data.iter().take(6).map(plain).collect();
    let more = if data.len() > first.len() { ", …" } else { "" };
    Some(format!("x = {}{more}", first.join(", ")))
}

fn size(matrix: &Value) -> Option<String> {
    let rows = matrix.as_array()?;
    Some(format!("{} × {}", rows.len(), rows.first()?.as_array()?.len()))
}

fn text(job: &Map<String, Value>, field: &str) -> Option<String> {
    job.get(field)?.as_str().map(str::to_owned)
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn joined(parts: [Option<String>; 3]) -> String {
    parts.into_iter().flatten().collect::<Vec<_>>().join(" · ")
}

#[cfg(test)]
mod tests {
    use super::of;

    #[test]
    fn every_kind_has_its_line() {
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
