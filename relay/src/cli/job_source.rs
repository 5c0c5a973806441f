//! Where `p2pnet job run` takes a job from: a file, standard input, JSON, or flags that become the same JSON.

use std::path::PathBuf;

use clap::Args;
use p2pnet_shared::job::kinds::{
    self,
    limits::{MOST_KERNEL_BYTES, MOST_SOURCE_BYTES},
};
use serde_json::{Map, Value};

use super::{
    AskArgs,
    failure::Failure,
    job_fields::{FieldFlags, read_text},
    json_text::{checked, object, with_fields, without_mark},
    text::split_label,
};

/// The longest text of a job: the longest that a relay reads, and beside it a module in base64, which is sent on its own.
const MOST_JOB_BYTES: usize = MOST_SOURCE_BYTES + MOST_KERNEL_BYTES.div_ceil(3) * 4;

/// `p2pnet job run`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  p2pnet job run --wait '{\"kind\":\"range_reduce\",\"start\":1,\"end\":1000,\"map\":\"x\",\"reduce\":\"sum\"}'
  p2pnet job run --wait map --data '[1,2,3]' --map 'x*x + 1'
  p2pnet job run kernel --kernel count.wasm --input words.txt --split lines
  p2pnet job run job.json
`p2pnet job kinds` lists the kinds of jobs, `p2pnet job kinds KIND` the fields of one.")]
pub struct RunArgs {
    /// A kind of job, whose fields are given by flags; or a file with the job's JSON, `-` for standard input, or the JSON
    /// itself.
    #[arg(required_unless_present = "kind", conflicts_with = "kind", value_name = "KIND|FILE|-|JSON")]
    pub source: Option<String>,
    /// The kind of job, for one that is called as a file.
    #[arg(long)]
    pub kind: Option<String>,
    /// Fields of the job.
    #[command(flatten)]
    pub fields: FieldFlags,
    /// Any other field of the kind, as JSON; may be given several times.
    #[arg(long, value_name = "NAME=JSON")]
    pub set: Vec<String>,
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
        let named = self.source.as_deref().filter(|source| kinds::named(source).is_some());
        match (&self.source, self.kind.as_deref().or(named)) {
            (_, Some(kind)) => self.flags_as_json(kind),
            (Some(source), None) => {
                let of_a_kind = self.fields.first_of_a_kind();
                if let Some(flag) = of_a_kind.or_else(|| (!self.set.is_empty()).then(|| "--set".to_owned())) {
                    return Err(Failure::usage(
                        format!("{flag} makes a job together with --kind; here the job comes from JSON or a file"),
                        "write it into the JSON, or give the whole job by its kind and flags",
                    ));
                }
                let mut fields = self.metadata()?;
                fields.extend(self.fields.terms());
                Ok(with_fields(read_source(source)?, &fields))
            }
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

    fn flags_as_json(&self, kind: &str) -> Result<String, Failure> {
        let fields = self.metadata()?.into_iter().chain(self.fields.terms());
        // Values as they are written: what stands twice within one is for the relay to refuse.
        let mut job: Vec<(String, String)> = fields.map(|(name, value)| (name, value.to_string())).collect();
        let mut put = |name: &str, json: String| {
            if job.iter().any(|(given, _)| given == name) {
                return Err(Failure::usage(
                    format!("the field `{name}` is given twice"),
                    "leave out --set, or the other flag that gives it",
                ));
            }
            job.push((name.to_owned(), json));
            Ok(())
        };
        put("kind", Value::from(kind).to_string())?;
        for (name, json) in self.fields.own_as_json()? {
            put(name, json)?;
        }
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
            put(name, value.to_owned())?;
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

#[cfg(test)]
#[expect(clippy::unwrap_used)]
mod tests {
    use std::fs;

    use clap::{CommandFactory as _, Parser};
    use p2pnet_shared::job::kinds::{self, schema::Type};

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
    fn a_kind_is_named_with_or_without_its_flag() {
        let flags = ["--data", "[1]", "--map", "x"];
        assert_eq!(json(&[&["map"][..], &flags].concat()), json(&[&["--kind", "map"][..], &flags].concat()));
        // What is called as a kind is one, whatever lies here; a path says that it is none.
        assert!(failure(&["./map"]).contains("cannot be read"));
        assert!(failure(&["mapp", "--map", "x"]).contains("--map makes a job together with --kind"));
    }

    #[test]
    fn every_field_of_every_kind_has_its_flag() {
        let command = Line::command();
        let flags: Vec<&str> = command.get_arguments().filter_map(|flag| flag.get_long()).collect();
        for field in kinds::own_fields() {
            let name = field.name.replace('_', "-");
            assert!(flags.contains(&name.as_str()) || flags.contains(&name.trim_end_matches('s')), "{name}: {flags:?}");
        }
        for flag in ["arg", "ok-exit-code", "where", "chunk-size", "cpu-percent", "priority"] {
            let about = command.get_arguments().find(|known| known.get_long() == Some(flag)).unwrap();
            assert!(about.get_help().is_some_and(|help| help.to_string().len() > 10), "{flag}");
        }
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

    /// Whether a flag is for a field that is read from a file.
    fn is_file(flag: &str) -> bool {
        let of_flag = kinds::own_fields().into_iter().find(|field| field.name.replace('_', "-") == flag);
        of_flag.is_some_and(|field| matches!(field.ty, Type::Module | Type::Bytes))
    }

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
                name if is_file(name) => file,
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
