//! Where `p2pnet job run` takes a job from: a file, standard input, JSON, or flags that become the same JSON.

use std::{
    io,
    path::{Path, PathBuf},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use clap::Args;
use p2pnet_shared::job::kinds::{
    limits::{MAX_INPUT_BYTES, MAX_KERNEL_BYTES, MAX_SOURCE_BYTES},
    text_of,
};
use serde_json::{Map, Value};

use super::{
    AskArgs,
    failure::Failure,
    json_text::{checked, object, with_fields, without_mark},
    text::split_label,
};
use crate::files;

/// The longest text of a job: the longest that a relay reads, and beside it a module in base64, which is sent on its own.
const MOST_JOB_BYTES: usize = MAX_SOURCE_BYTES + MAX_KERNEL_BYTES.div_ceil(3) * 4;

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
    /// matrix: add, subtract, multiply, transpose, determinant, inverse, lu, qr, eigenvalues.
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
    #[arg(long)]
    pub cpu_percent: Option<u32>,
    /// Memory that a task may use.
    #[arg(long, value_parser = finite)]
    pub ram_gb: Option<f64>,
    /// Time after which an attempt is stopped.
    #[arg(long)]
    pub timeout_seconds: Option<u32>,
    /// low, normal, high or critical.
    #[arg(long)]
    pub priority: Option<String>,
    /// How often a failed task is tried again.
    #[arg(long)]
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
    #[arg(long, value_name = "FILE|-", requires = "wait", conflicts_with_all = ["json", "dry_run"])]
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
            (Some(source), _) => {
                // clap lifts `requires` from a flag beside what excludes the required one.
                if let Some(flag) = self.flags_of_the_kind().first() {
                    return Err(Failure::usage(
                        format!("{flag} makes a job together with --kind; here the job comes from JSON or a file"),
                        "write it into the JSON, or give the whole job by --kind and flags",
                    ));
                }
                let mut fields = self.metadata()?;
                fields.extend(self.terms());
                Ok(with_fields(read_source(source)?, &fields))
            }
            (None, Some(kind)) => self.flags_as_json(kind),
            (None, None) => Err(Failure::usage("no job was given", "see `p2pnet job run --help`")),
        }
    }

    /// The flags given that are fields of a kind. All fields are named here, so that a new one cannot be forgotten.
    fn flags_of_the_kind(&self) -> Vec<&'static str> {
        let RunArgs {
            source: _,
            kind: _,
            start,
            end,
            data,
            map,
            where_,
            reduce,
            op,
            a,
            b,
            kernel,
            module,
            args,
            ok_exit_codes,
            input,
            split,
            merge,
            set,
            cpu_percent: _,
            ram_gb: _,
            timeout_seconds: _,
            priority: _,
            retries: _,
            name: _,
            labels: _,
            wait: _,
            output: _,
            dry_run: _,
            idempotency_key: _,
            ask: _,
        } = self;
        let given = [
            ("--start", start.is_some()),
            ("--end", end.is_some()),
            ("--data", data.is_some()),
            ("--map", map.is_some()),
            ("--where", where_.is_some()),
            ("--reduce", reduce.is_some()),
            ("--op", op.is_some()),
            ("--a", a.is_some()),
            ("--b", b.is_some()),
            ("--kernel", kernel.is_some()),
            ("--module", module.is_some()),
            ("--arg", !args.is_empty()),
            ("--ok-exit-code", !ok_exit_codes.is_empty()),
            ("--input", input.is_some()),
            ("--split", split.is_some()),
            ("--merge", merge.is_some()),
            ("--set", !set.is_empty()),
        ];
        given.into_iter().filter(|(_, given)| *given).map(|(flag, _)| flag).collect()
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
            if labels.insert(key.to_owned(), value.into()).is_some() {
                return Err(Failure::usage(
                    format!("the label {key:?} is given twice"),
                    "a job has one value under a label's key",
                ));
            }
        }
        if !labels.is_empty() {
            fields.insert("labels".to_owned(), Value::Object(labels));
        }
        Ok(fields)
    }

    /// What a job of any kind may ask for: requirements and policy.
    fn terms(&self) -> Map<String, Value> {
        let requirements = [
            ("cpu_percent", self.cpu_percent.map(Value::from)),
            ("ram_gb", self.ram_gb.map(Value::from)),
            ("timeout_seconds", self.timeout_seconds.map(Value::from)),
        ];
        let policy = [("priority", self.priority.clone().map(Value::from)), ("retries", self.retries.map(Value::from))];
        let mut fields = Map::new();
        for (name, members) in [("requirements", &requirements[..]), ("policy", &policy[..])] {
            let given = members.iter().filter_map(|(name, value)| Some(((*name).to_owned(), value.clone()?)));
            let given: Map<String, Value> = given.collect();
            if !given.is_empty() {
                fields.insert(name.to_owned(), Value::Object(given));
            }
        }
        fields
    }

    fn flags_as_json(&self, kind: &str) -> Result<String, Failure> {
        let from_standard_input = [&self.kernel, &self.module, &self.input];
        if from_standard_input.into_iter().flatten().filter(|path| *path == "-").count() > 1 {
            return Err(Failure::usage("standard input can be read once only", "give a file for the other flag"));
        }
        let fields = self.metadata()?.into_iter().chain(self.terms());
        // Values as they are written: what stands twice within one is for the relay to refuse.
        let mut job: Vec<(String, String)> = fields.map(|(name, value)| (name, value.to_string())).collect();
        let mut put = |name: &str, json: Option<String>| {
            let Some(json) = json else { return Ok(()) };
            if job.iter().any(|(given, _)| given == name) {
                return Err(Failure::usage(
                    format!("the field `{name}` is given twice"),
                    "leave out --set, or the other flag that gives it",
                ));
            }
            job.push((name.to_owned(), json));
            Ok(())
        };
        let text = |text: &str| Value::from(text).to_string();
        put("kind", Some(text(kind)))?;
        put("start", self.start.as_deref().map(number_or_text))?;
        put("end", self.end.as_deref().map(number_or_text))?;
        for (name, list) in [("data", &self.data), ("a", &self.a), ("b", &self.b)] {
            put(name, list.as_deref().map(|text| json_or_file(name, text)).transpose()?)?;
        }
        for (name, formula) in [("map", &self.map), ("where", &self.where_)] {
            put(name, formula.as_deref().map(without_mark).map(text))?;
        }
        for (name, word) in [("reduce", &self.reduce), ("op", &self.op), ("split", &self.split), ("merge", &self.merge)]
        {
            put(name, word.as_deref().map(text))?;
        }
        for (name, module) in [("kernel", &self.kernel), ("module", &self.module)] {
            put(name, module.as_deref().map(hash_or_file).transpose()?)?;
        }
        put("args", Some(Value::from(self.args.clone()).to_string()).filter(|_| !self.args.is_empty()))?;
        let ok = (!self.ok_exit_codes.is_empty()).then(|| Value::from(self.ok_exit_codes.clone()).to_string());
        put("ok_exit_codes", ok)?;
        let hint = "give --input a file, or - for standard input";
        let input = self.input.as_deref().map(|path| read_bytes(path, MAX_INPUT_BYTES, hint)).transpose()?;
        put("input", input.map(base64))?;
        for field in &self.set {
            let (name, json) = field
                .split_once('=')
                .ok_or_else(|| Failure::usage(format!("--set {field:?} has no ="), "write --set name=JSON"))?;
            let value = checked(json).map_err(|error| {
                Failure::usage(
                    format!("--set {name}: {json:?} is no JSON: {error}"),
                    "quote texts: --set name='\"text\"'",
                )
            })?;
            put(name, Some(value.to_owned()))?;
        }
        Ok(object(&job))
    }
}

fn read_source(source: &str) -> Result<String, Failure> {
    let job = without_mark(source);
    if job.trim_start().starts_with('{') {
        return Ok(job.to_owned());
    }
    read_text(source, MOST_JOB_BYTES, "give a file, - for standard input, or the JSON itself in quotes")
}

fn read_text(path: &str, most: usize, hint: &str) -> Result<String, Failure> {
    let bytes = read_bytes(path, most, hint)?;
    let text =
        text_of(&bytes).map_err(|refusal| Failure::usage(format!("{path}: {}", refusal.message), refusal.hint))?;
    // What is put in looks for the beginning of the object. Two marks are left for whoever reads the job to refuse.
    let without_one = text.strip_prefix('\u{feff}').filter(|rest| !rest.starts_with('\u{feff}'));
    Ok(without_one.unwrap_or(text).to_owned())
}

fn read_bytes(path: &str, most: usize, hint: &str) -> Result<Vec<u8>, Failure> {
    if path == "-" {
        return files::whole(io::stdin().lock(), most).map_err(|error| Failure::unread("standard input", &error, hint));
    }
    files::read(Path::new(path), most).map_err(|error| Failure::unread(path, &error, hint))
}

/// As a JSON text: nothing in it needs an escape.
fn base64(bytes: Vec<u8>) -> String {
    format!("\"{}\"", BASE64_STANDARD.encode(bytes))
}

/// `12` is a number; what is none goes as text, and the relay says what it expected.
fn number_or_text(text: &str) -> String {
    let text = without_mark(text);
    // An object may look like a number to serde_json.
    let number = serde_json::from_str(text).ok().filter(|value: &Value| value.is_number() && !text.contains('{'));
    number.unwrap_or_else(|| text.into()).to_string()
}

fn json_or_file(name: &str, text: &str) -> Result<String, Failure> {
    let hint = "give a JSON list, or a file that holds one";
    let is_json = without_mark(text).trim_start().starts_with(['[', '{', '"']);
    if !is_json && Path::new(text).exists() {
        let json = read_text(text, MAX_SOURCE_BYTES, hint)?;
        let broken = |error| Failure::usage(format!("the file {text} of --{name} is no JSON: {error}"), hint);
        return checked(&json).map(str::to_owned).map_err(broken);
    }
    checked(text).map(str::to_owned).map_err(|error| {
        let shown: String = text.chars().take(60).collect();
        let what = if is_json {
            format!("--{name} is no JSON: {error}")
        } else {
            format!("--{name} {shown:?} is neither JSON nor a file that is here")
        };
        Failure::usage(what, hint)
    })
}

fn hash_or_file(text: &str) -> Result<String, Failure> {
    if text.parse::<p2pnet_shared::id::Hash>().is_ok() {
        return Ok(Value::from(text).to_string());
    }
    read_bytes(text, MAX_KERNEL_BYTES, "give a WebAssembly file, or the hash of one that the relay has").map(base64)
}

/// JSON has no word for the others.
fn finite(text: &str) -> Result<f64, String> {
    text.parse().ok().filter(|number: &f64| number.is_finite()).ok_or_else(|| "not a number".to_owned())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;

    use clap::{CommandFactory as _, Parser};

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

    fn failure(line: &[&str]) -> String {
        Line::parse_from(std::iter::once(&"run").chain(line)).run.job_json().unwrap_err().to_string()
    }

    /// Flags that say nothing of the job itself.
    const BESIDE_THE_JOB: &[&str] = &["kind", "wait", "output", "dry-run", "idempotency-key", "url", "token", "json"];

    #[test]
    fn no_flag_is_dropped_beside_json_or_kind() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
        let mut seen = 0;
        for name in Line::command().get_arguments().filter_map(|flag| flag.get_long()) {
            if BESIDE_THE_JOB.contains(&name) {
                seen += 1;
                continue;
            }
            let value = match name {
                "label" => "key=value",
                "set" => "extra=1",
                "data" | "a" | "b" => "[1]",
                "kernel" | "module" | "input" => file,
                _ => "1",
            };
            let flag = format!("--{name}");
            let without = read(r#"{"kind":"map"}"#);
            assert_ne!(json(&["--kind", "map", &flag, value]), without, "{flag} is dropped beside --kind");
            match Line::parse_from(["run", r#"{"kind":"map"}"#, &flag, value]).run.job_json() {
                Ok(job) => assert_ne!(read(&job), without, "{flag} is dropped beside JSON"),
                Err(failure) => {
                    let text = failure.to_string();
                    assert!(text.contains(&format!("{flag} ")) && text.contains("--kind"), "{text}");
                }
            }
        }
        assert_eq!(seen, BESIDE_THE_JOB.len(), "one of them is gone");
    }

    #[test]
    fn requirements_and_policy_join_those_of_the_json() {
        let flags = ["--priority", "high", "--ram-gb", "3"];
        let bare = json(&[&[r#"{"kind":"map"}"#][..], &flags].concat());
        assert_eq!(bare, read(r#"{"kind":"map","policy":{"priority":"high"},"requirements":{"ram_gb":3.0}}"#));
        let has = r#"{"map":"\"policy\":{", "policy" : { "retries":2}, "data":[{"policy":{}}], "requirements":{}}"#;
        let joined = json(&[&[has][..], &flags].concat());
        assert_eq!(joined["policy"], read(r#"{"priority":"high","retries":2}"#));
        assert_eq!(joined["requirements"], read(r#"{"ram_gb":3.0}"#));
        assert_eq!(joined["data"], read(r#"[{"policy":{}}]"#));
        // What both give stands there twice, for the relay to refuse.
        let twice = Line::parse_from(["run", r#"{"policy":{"retries":2}}"#, "--retries", "20"]).run.job_json().unwrap();
        assert_eq!(twice, r#"{"policy":{"retries":20,"retries":2}}"#);
    }

    #[test]
    fn a_mark_at_the_beginning_of_a_file_is_in_the_way_of_nothing() {
        let file = std::env::temp_dir().join(format!("p2pnet-mark-{}.json", std::process::id()));
        let joined = |marks: usize| {
            let text = format!(r#"{}{{"kind":"map","policy":{{"retries":2}}}}"#, "\u{feff}".repeat(marks));
            std::fs::write(&file, text).unwrap();
            let job = Line::parse_from(["run", file.to_str().unwrap(), "--priority", "high"]).run.job_json().unwrap();
            serde_json::from_str::<serde_json::Value>(&job).map(|job| job["policy"].clone())
        };
        assert_eq!(joined(0).unwrap(), read(r#"{"priority":"high","retries":2}"#));
        assert_eq!(joined(1).unwrap(), joined(0).unwrap());
        assert!(joined(2).is_err(), "whoever reads the job refuses it");
        let _ = std::fs::remove_file(file);
    }

    #[test]
    fn what_is_given_twice_is_refused() {
        for (line, part) in [
            (&["{}", "--label", "a=b", "--label", "a=c"][..], "the label \"a\" is given twice"),
            (&["--kind", "map", "--map", "x", "--set", "map=\"y\""], "`map` is given twice"),
            (&["--kind", "map", "--retries", "1", "--set", "policy={}"], "`policy` is given twice"),
            (&["--kind", "kernel", "--kernel", "-", "--input", "-"], "standard input can be read once"),
        ] {
            let text = failure(line);
            assert!(text.contains(part), "{text}");
        }
        assert!(Line::try_parse_from(["run", "{}", "--dry-run", "--output", "file"]).is_err());
    }

    #[test]
    fn what_stands_twice_within_a_value_is_kept_for_the_relay_to_refuse() {
        let job = |line: &[&str]| Line::parse_from(std::iter::once(&"run").chain(line)).run.job_json().unwrap();
        let policy = r#"{"retries":1,"retries":2}"#;
        let path = std::env::temp_dir().join(format!("p2pnet-twice-{}.json", std::process::id()));
        fs::write(&path, r#"[{"a":1,"a":2}]"#).unwrap();
        for (line, part) in [
            (&["--kind", "map", "--set", &format!("policy={policy}")][..], &*format!("\"policy\":{policy}")),
            (&["--kind", "map", "--set", r#"labels={"a":"b","a":"c"}"#], r#""labels":{"a":"b","a":"c"}"#),
            (&["--kind", "map", "--data", r#"[{"a":1,"a":2}]"#], r#""data":[{"a":1,"a":2}]"#),
            (&["--kind", "map", "--data", path.to_str().unwrap()], r#""data":[{"a":1,"a":2}]"#),
            (&["--kind", "matrix", "--b", r#"{"c":1,"c":2}"#], r#""b":{"c":1,"c":2}"#),
            (&[r#"{"name":"one","name":"two"}"#, "--retries", "1"], r#""name":"one","name":"two""#),
            (&[r#"{"\u0070olicy":{"retries":2}}"#, "--retries", "1"], r#":{"retries":1,"retries":2}"#),
        ] {
            assert!(job(line).contains(part), "{}", job(line));
        }
        fs::remove_file(&path).unwrap();
    }

    #[test]
    fn a_byte_order_mark_before_an_argument_is_no_part_of_it() {
        let plain = read(r#"{"kind":"map","data":[1],"map":"x"}"#);
        assert_eq!(json(&["\u{feff}{\"kind\":\"map\",\"data\":[1],\"map\":\"x\"}"]), plain);
        assert_eq!(json(&["--kind", "map", "--data", "\u{feff}[1]", "--map", "\u{feff}x"]), plain);
        assert_eq!(json(&["--kind", "map", "--map", "x", "--set", "data=\u{feff}[1]"]), plain);
        let ranged = json(&["--kind", "range_reduce", "--start", "\u{feff}1", "--end", "\u{feff}2"]);
        assert_eq!(ranged, read(r#"{"kind":"range_reduce","start":1,"end":2}"#));
        let matrix = json(&["--kind", "matrix", "--a", "\u{feff}[[1]]", "--b", "\u{feff} [[2]]"]);
        assert_eq!(matrix, read(r#"{"kind":"matrix","a":[[1]],"b":[[2]]}"#));
    }

    #[test]
    fn an_object_stays_an_object_whatever_its_field_is_called() {
        let odd = r#"{"$serde_json::private::Number":"5"}"#;
        let list = format!("[{odd}]");
        let line = Line::parse_from(["run", "--kind", "map", "--data", &list, "--start", odd, "--set", "end=[5]"]);
        let job = line.run.job_json().unwrap();
        assert!(job.contains(&format!(r#""data":{list}"#)), "{job}");
        assert!(job.contains(r#""start":"{\"$serde_json"#) && job.contains(r#""end":[5]"#), "{job}");
    }

    #[test]
    fn what_is_no_file_is_named_with_what_it_may_be() {
        for (line, part, hint) in [
            (&["--kind", "map", "--data", "no-such-file"][..], "neither JSON nor a file", "a JSON list"),
            (&["--kind", "map", "--data", "[1,"], "--data is no JSON", "a JSON list"),
            (&["--kind", "kernel", "--kernel", "no-such-file"], "no-such-file cannot be read", "WebAssembly file"),
            (&["--kind", "kernel", "--input", "no-such-file"], "no-such-file cannot be read", "--input a file"),
            (&["no-such-file"], "no-such-file cannot be read", "JSON itself"),
        ] {
            let text = failure(line);
            assert!(text.contains(part) && text.contains(hint), "{text}");
        }
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
