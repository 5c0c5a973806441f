//! Where `p2pnet job run` takes a job from: a file, standard input, JSON, or flags that become the same JSON.

use std::{
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use clap::Args;
use p2pnet_shared::job::kinds::text_of;
use serde_json::{Map, Value};

use super::{AskArgs, failure::Failure, text::split_label};

/// `p2pnet job run`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  p2pnet job run --wait '{\"kind\":\"range_reduce\",\"start\":1,\"end\":1000,\"map\":\"x\",\"reduce\":\"sum\"}'
  p2pnet job run --wait --kind map --data '[1,2,3]' --map 'x*x + 1'
  p2pnet job run --kind kernel --kernel count.wasm --input words.txt --split lines --merge concat
  p2pnet job run job.json")]
pub struct RunArgs {
    /// A file with the job's JSON, `-` for standard input, or the JSON itself.
    #[arg(required_unless_present = "kind", conflicts_with = "kind", value_name = "FILE|-|JSON")]
    pub source: Option<String>,
    /// Make the job from flags: range_reduce, map, map_reduce, matrix, kernel, command.
    #[arg(long)]
    pub kind: Option<String>,
    /// range_reduce: first number.
    #[arg(long, requires = "kind", allow_hyphen_values = true)]
    pub start: Option<String>,
    /// range_reduce: last number, inclusive.
    #[arg(long, requires = "kind", allow_hyphen_values = true)]
    pub end: Option<String>,
    /// map, map_reduce: a JSON list, or a file with one.
    #[arg(long, requires = "kind", value_name = "JSON|FILE")]
    pub data: Option<String>,
    /// The formula in x.
    #[arg(long, requires = "kind", allow_hyphen_values = true, value_name = "FORMULA")]
    pub map: Option<String>,
    /// Only items for which this formula in x holds.
    #[arg(long = "where", requires = "kind", value_name = "FORMULA", allow_hyphen_values = true)]
    pub where_: Option<String>,
    /// sum, product, min, max, count or average.
    #[arg(long, requires = "kind")]
    pub reduce: Option<String>,
    /// matrix: add, subtract, multiply, transpose, determinant, inverse.
    #[arg(long, requires = "kind")]
    pub op: Option<String>,
    /// matrix: a JSON list of rows, or a file with one.
    #[arg(long, requires = "kind", value_name = "JSON|FILE")]
    pub a: Option<String>,
    /// matrix: the second one.
    #[arg(long, requires = "kind", value_name = "JSON|FILE")]
    pub b: Option<String>,
    /// kernel: a WebAssembly file, or the hash of a kernel that the relay has.
    #[arg(long, requires = "kind", value_name = "FILE|HASH")]
    pub kernel: Option<String>,
    /// command: a WebAssembly (WASI) file.
    #[arg(long, requires = "kind", value_name = "FILE|HASH")]
    pub module: Option<String>,
    /// command: an argument; may be given several times.
    #[arg(long = "arg", requires = "kind", allow_hyphen_values = true)]
    pub args: Vec<String>,
    /// command: an exit code that is no failure, 0 unless said; may be given several times.
    #[arg(long = "ok-exit-code", requires = "kind", value_name = "CODE")]
    pub ok_exit_codes: Vec<u32>,
    /// kernel, command: a file with the input, `-` for standard input.
    #[arg(long, requires = "kind", value_name = "FILE|-")]
    pub input: Option<String>,
    /// kernel, command: lines, bytes:65536, json_items or none.
    #[arg(long, requires = "kind")]
    pub split: Option<String>,
    /// kernel: concat or kernel.
    #[arg(long, requires = "kind")]
    pub merge: Option<String>,
    /// Any other field of the kind, as JSON; may be given several times.
    #[arg(long, requires = "kind", value_name = "NAME=JSON")]
    pub set: Vec<String>,
    /// Share of a core that a node must lend, 1 to 100.
    #[arg(long, requires = "kind")]
    pub cpu_percent: Option<u32>,
    /// Memory that a task may use.
    #[arg(long, requires = "kind", value_parser = finite)]
    pub ram_gb: Option<f64>,
    /// Time after which an attempt is stopped.
    #[arg(long, requires = "kind")]
    pub timeout_seconds: Option<u32>,
    /// low, normal, high or critical.
    #[arg(long, requires = "kind")]
    pub priority: Option<String>,
    /// How often a failed task is tried again.
    #[arg(long, requires = "kind")]
    pub retries: Option<u32>,
    /// A name to find the job again by; need not be the only one.
    #[arg(long)]
    pub name: Option<String>,
    /// A label to find the job again by; may be given several times.
    #[arg(long = "label", value_name = "KEY=VALUE")]
    pub labels: Vec<String>,
    /// Wait for the job to end and print its result.
    #[arg(long)]
    pub wait: bool,
    /// With --wait: write the result to a file, `-` for standard output: of a kernel or program its bytes, else its JSON.
    #[arg(long, value_name = "FILE|-", requires = "wait", conflicts_with = "json")]
    pub output: Option<PathBuf>,
    /// Send nothing: check the job and run its beginning on this machine.
    #[arg(long, conflicts_with = "wait")]
    pub dry_run: bool,
    /// A name of your choice: sending the same job again under it makes no second job.
    #[arg(long, value_name = "KEY")]
    pub idempotency_key: Option<String>,
    /// Where to send it.
    #[command(flatten)]
    pub ask: AskArgs,
}

impl RunArgs {
    /// The JSON text to send. Only what the relay cannot know is checked here (files); the rest is its word.
    pub fn job_json(&self) -> Result<String, Failure> {
        match (&self.source, &self.kind) {
            (Some(source), _) => Ok(with_fields(read_source(source)?, &self.metadata()?)),
            (None, Some(kind)) => Ok(Value::Object(self.flags_as_json(kind)?).to_string()),
            (None, None) => Err(Failure::usage("no job was given", "see `p2pnet job run --help`")),
        }
    }

    /// `--name` and `--label`.
    fn metadata(&self) -> Result<Map<String, Value>, Failure> {
        let mut fields = Map::new();
        self.name.clone().map(|name| fields.insert("name".to_owned(), name.into()));
        let mut labels = Map::new();
        for label in &self.labels {
            let (key, Some(value)) = split_label(label) else {
                return Err(Failure::usage(format!("--label {label:?} has no ="), "write --label key=value"));
            };
            labels.insert(key.to_owned(), value.into());
        }
        if !labels.is_empty() {
            fields.insert("labels".to_owned(), Value::Object(labels));
        }
        Ok(fields)
    }

    fn flags_as_json(&self, kind: &str) -> Result<Map<String, Value>, Failure> {
        let mut job = self.metadata()?;
        let mut put = |name: &str, value: Option<Value>| {
            if let Some(value) = value {
                job.insert(name.to_owned(), value);
            }
        };
        put("kind", Some(kind.into()));
        put("start", self.start.as_deref().map(number_or_text));
        put("end", self.end.as_deref().map(number_or_text));
        for (name, list) in [("data", &self.data), ("a", &self.a), ("b", &self.b)] {
            put(name, list.as_deref().map(|text| json_or_file(name, text)).transpose()?);
        }
        for (name, text) in [
            ("map", &self.map),
            ("where", &self.where_),
            ("reduce", &self.reduce),
            ("op", &self.op),
            ("split", &self.split),
            ("merge", &self.merge),
        ] {
            put(name, text.clone().map(Value::String));
        }
        for (name, module) in [("kernel", &self.kernel), ("module", &self.module)] {
            put(name, module.as_deref().map(hash_or_file).transpose()?);
        }
        put("args", Some(Value::from(self.args.clone())).filter(|_| !self.args.is_empty()));
        let ok = (!self.ok_exit_codes.is_empty()).then(|| Value::from(self.ok_exit_codes.clone()));
        put("ok_exit_codes", ok);
        put("input", self.input.as_deref().map(|path| read_bytes(path).map(base64)).transpose()?);
        for field in &self.set {
            let (name, json) = field
                .split_once('=')
                .ok_or_else(|| Failure::usage(format!("--set {field:?} has no ="), "write --set name=JSON"))?;
            let value = serde_json::from_str(json).map_err(|error| {
                Failure::usage(
                    format!("--set {name}: {json:?} is no JSON: {error}"),
                    "quote texts: --set name='\"text\"'",
                )
            })?;
            put(name, Some(value));
        }
        let mut requirements = Map::new();
        for (name, value) in [
            ("cpu_percent", self.cpu_percent.map(Value::from)),
            ("ram_gb", self.ram_gb.map(Value::from)),
            ("timeout_seconds", self.timeout_seconds.map(Value::from)),
        ] {
            value.map(|value| requirements.insert(name.to_owned(), value));
        }
        let mut policy = Map::new();
        for (name, value) in
            [("priority", self.priority.clone().map(Value::from)), ("retries", self.retries.map(Value::from))]
        {
            value.map(|value| policy.insert(name.to_owned(), value));
        }
        put("requirements", Some(Value::Object(requirements.clone())).filter(|_| !requirements.is_empty()));
        put("policy", Some(Value::Object(policy.clone())).filter(|_| !policy.is_empty()));
        Ok(job)
    }
}

/// A job's text with more fields, put in front of the others: what it says itself stays as it is written, and a field
/// that it has already is there twice, which the relay refuses.
fn with_fields(job: String, fields: &Map<String, Value>) -> String {
    let Some(open) = job.find('{').filter(|_| !fields.is_empty()) else { return job };
    let added: Vec<String> =
        fields.iter().map(|(name, value)| format!("{}:{value}", Value::from(name.as_str()))).collect();
    let (before, after) = job.split_at(open + 1);
    let comma = if after.trim_start().starts_with('}') { "" } else { "," };
    format!("{before}{}{comma}{after}", added.join(","))
}

fn read_source(source: &str) -> Result<String, Failure> {
    if source.trim_start().starts_with('{') {
        return Ok(source.to_owned());
    }
    let bytes = read_bytes(source)?;
    let text =
        text_of(&bytes).map_err(|refusal| Failure::usage(format!("{source}: {}", refusal.message), refusal.hint))?;
    Ok(text.to_owned())
}

fn read_bytes(path: &str) -> Result<Vec<u8>, Failure> {
    if path == "-" {
        let mut bytes = Vec::new();
        io::stdin()
            .read_to_end(&mut bytes)
            .map_err(|error| Failure::here(format!("standard input cannot be read: {error}"), ""))?;
        return Ok(bytes);
    }
    fs::read(path).map_err(|error| {
        Failure::usage(
            format!("{path} cannot be read: {error}"),
            "give a file, - for standard input, or the JSON itself in quotes",
        )
    })
}

fn base64(bytes: Vec<u8>) -> Value {
    Value::String(BASE64_STANDARD.encode(bytes))
}

/// `12` is a number; what is none goes as text, and the relay says what it expected.
fn number_or_text(text: &str) -> Value {
    serde_json::from_str(text).ok().filter(Value::is_number).unwrap_or_else(|| text.into())
}

fn json_or_file(name: &str, text: &str) -> Result<Value, Failure> {
    let owned;
    let json = if text.trim_start().starts_with('[') || !Path::new(text).exists() {
        text
    } else {
        owned = read_source(text)?;
        &owned
    };
    serde_json::from_str(json).map_err(|error| {
        Failure::usage(format!("--{name} is no JSON: {error}"), "give a JSON list, or a file that holds one")
    })
}

fn hash_or_file(text: &str) -> Result<Value, Failure> {
    if text.parse::<p2pnet_shared::id::Hash>().is_ok() { Ok(text.into()) } else { read_bytes(text).map(base64) }
}

/// JSON has no word for the others.
fn finite(text: &str) -> Result<f64, String> {
    text.parse().ok().filter(|number: &f64| number.is_finite()).ok_or_else(|| "not a number".to_owned())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        run: RunArgs,
    }

    fn json(line: &[&str]) -> Value {
        let line = Line::parse_from(std::iter::once(&"run").chain(line));
        read(&line.run.job_json().unwrap())
    }

    fn read(json: &str) -> Value {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn flags_become_the_json_of_the_api() {
        assert_eq!(
            json(&[
                "--kind",
                "range_reduce",
                "--start",
                "-5",
                "--end",
                "99999999999999999999",
                "--map",
                "x",
                "--where",
                "x % 2 == 0",
                "--reduce",
                "sum",
                "--priority",
                "high",
                "--timeout-seconds",
                "9"
            ]),
            read(
                r#"{"end":99999999999999999999,"kind":"range_reduce","map":"x","policy":{"priority":"high"},"reduce":"sum","requirements":{"timeout_seconds":9},"start":-5,"where":"x % 2 == 0"}"#
            )
        );
        assert_eq!(
            json(&["--kind", "command", "--arg", "-v", "--arg", "b", "--set", "extra=[1]", "--ok-exit-code", "1"]),
            read(r#"{"args":["-v","b"],"extra":[1],"kind":"command","ok_exit_codes":[1]}"#)
        );
    }

    #[test]
    fn a_name_and_labels_go_with_flags_and_with_json() {
        let named = ["--name", "nightly", "--label", "team=physics", "--label", "run:7"];
        let expected = read(r#"{"name":"nightly","labels":{"team":"physics","run":"7"},"kind":"map","map":"x"}"#);
        assert_eq!(json(&[&["--kind", "map", "--map", "x"][..], &named].concat()), expected);
        assert_eq!(json(&[&[r#" {"kind":"map","map":"x"}"#][..], &named].concat()), expected);
        assert_eq!(json(&["{}", "--name", "a"]), read(r#"{"name":"a"}"#));
        let without = Line::parse_from(["run", "{}", "--label", "team"]).run.job_json().unwrap_err();
        assert!(without.to_string().contains("key=value"), "{without}");
    }

    #[test]
    fn files_and_json_are_told_apart() {
        let path = std::env::temp_dir().join(format!("p2pnet-source-{}.json", std::process::id()));
        fs::write(&path, "[1,2]").unwrap();
        let path_text = path.to_str().unwrap();
        assert_eq!(
            json(&["--kind", "map", "--data", path_text])["data"],
            json(&["--kind", "map", "--data", "[1,2]"])["data"]
        );
        let as_input = json(&["--kind", "kernel", "--input", path_text]);
        assert_eq!(as_input["input"], "WzEsMl0=");
        fs::remove_file(&path).unwrap();
        let gone = Line::parse_from(["run", path_text]).run.job_json().unwrap_err();
        assert!(gone.to_string().contains("cannot be read"), "{gone}");
    }
}
