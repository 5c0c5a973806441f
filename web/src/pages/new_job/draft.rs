//! What is typed into New job, and the JSON that it makes. The rules of jobs are not known here: `shared` reads the JSON
//! and says what is wrong.

use std::rc::Rc;

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::data::{self, DataError};

/// The tabs of the form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tab {
    Range,
    Map,
    MapReduce,
    Matrix,
    Kernel,
    Command,
    Json,
}

impl Tab {
    pub const ALL: [Tab; 7] = [Tab::Range, Tab::Map, Tab::MapReduce, Tab::Matrix, Tab::Kernel, Tab::Command, Tab::Json];

    /// The job kind, as in JSON; `json` for the tab that takes any.
    pub fn kind(self) -> &'static str {
        match self {
            Tab::Range => "range_reduce",
            Tab::Map => "map",
            Tab::MapReduce => "map_reduce",
            Tab::Matrix => "matrix",
            Tab::Kernel => "kernel",
            Tab::Command => "command",
            Tab::Json => "json",
        }
    }
}

/// Something typed, or the content of a file, which may be too large for a text field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    Typed(String),
    File { name: Rc<str>, bytes: Rc<[u8]> },
}

impl Content {
    /// What stands in the field.
    pub fn typed(&self) -> &str {
        match self {
            Content::Typed(text) => text,
            Content::File { .. } => "",
        }
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Content::Typed(text) => text.as_bytes(),
            Content::File { bytes, .. } => bytes,
        }
    }

    fn list(&self) -> Result<String, DataError> {
        match self {
            Content::Typed(text) => data::list(text),
            Content::File { bytes, .. } => Ok(data::list_of_file(&String::from_utf8_lossy(bytes))),
        }
    }

    fn matrix(&self) -> Result<String, DataError> {
        match self {
            Content::Typed(text) => data::matrix(text),
            Content::File { bytes, .. } => data::matrix(&String::from_utf8_lossy(bytes)),
        }
    }

    /// A module: base64 or a hash as typed, or the file's bytes.
    fn module(&self) -> String {
        match self {
            Content::Typed(text) => text.split_whitespace().collect(),
            Content::File { bytes, .. } => STANDARD.encode(bytes),
        }
    }
}

/// Fields of the three kinds made of formulas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Formulas {
    pub start: String,
    pub end: String,
    pub data: Content,
    pub map: String,
    pub filter: String,
    pub reduce: String,
}

/// Fields of a matrix job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Matrix {
    pub op: String,
    pub a: Content,
    pub b: Content,
}

/// Fields of a kernel or a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    pub module: Content,
    pub args: String,
    pub input: Content,
    pub split: String,
    pub block: String,
    pub merge: String,
    /// Of a command: exit codes that are no failure; empty for the default.
    pub ok_exit_codes: String,
}

/// Requirements and policy; an empty field is left to the default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Advanced {
    pub cpu_percent: String,
    pub ram_gb: String,
    pub timeout_seconds: String,
    pub priority: String,
    pub retries: String,
}

/// By what its owner finds the job again; may all stay empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Naming {
    pub name: String,
    /// A label a line: key, `=`, value.
    pub labels: String,
}

/// Everything typed, each tab with its own fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    pub tab: Tab,
    pub range: Formulas,
    pub map: Formulas,
    pub map_reduce: Formulas,
    pub matrix: Matrix,
    pub kernel: Program,
    pub command: Program,
    pub json: String,
    pub naming: Naming,
    pub advanced: Advanced,
}

/// What keeps a draft from being JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// Which field.
    pub field: &'static str,
    pub error: DataError,
}

impl Draft {
    /// The formulas of the open tab, if it has any.
    pub fn formulas(&self) -> Option<&Formulas> {
        match self.tab {
            Tab::Range => Some(&self.range),
            Tab::Map => Some(&self.map),
            Tab::MapReduce => Some(&self.map_reduce),
            Tab::Matrix | Tab::Kernel | Tab::Command | Tab::Json => None,
        }
    }

    /// The job of the open tab as JSON text.
    pub fn json(&self) -> Result<String, Unreadable> {
        let mut fields = Fields::default();
        match self.tab {
            Tab::Json => return Ok(self.json.clone()),
            Tab::Range => {
                fields.add("start", data::number_or_text(&self.range.start));
                fields.add("end", data::number_or_text(&self.range.end));
                fields.formulas(&self.range, true);
            }
            Tab::Map => {
                fields.add("data", readable("data", self.map.data.list())?);
                fields.formulas(&self.map, false);
            }
            Tab::MapReduce => {
                fields.add("data", readable("data", self.map_reduce.data.list())?);
                fields.formulas(&self.map_reduce, true);
            }
            Tab::Matrix => {
                fields.add("op", data::quoted(&self.matrix.op));
                fields.add("a", readable("a", self.matrix.a.matrix())?);
                if takes_two(&self.matrix.op) {
                    fields.add("b", readable("b", self.matrix.b.matrix())?);
                }
            }
            Tab::Kernel => {
                fields.add("kernel", data::quoted(&self.kernel.module.module()));
                fields.add("input", data::quoted(&STANDARD.encode(self.kernel.input.bytes())));
                fields.add("split", data::quoted(&self.kernel.split()));
                fields.add("merge", data::quoted(&self.kernel.merge));
            }
            Tab::Command => {
                let args: Vec<String> = self.command.args.lines().map(data::quoted).collect();
                fields.add("module", data::quoted(&self.command.module.module()));
                fields.add("args", format!("[{}]", args.join(",")));
                fields.add("input", data::quoted(&STANDARD.encode(self.command.input.bytes())));
                fields.add("split", data::quoted(&self.command.split()));
                let separators = |letter: char| letter.is_whitespace() || letter == ',';
                let codes = self.command.ok_exit_codes.split(separators).filter(|code| !code.is_empty());
                let codes: Vec<String> = codes.map(data::number_or_text).collect();
                if !codes.is_empty() {
                    fields.add("ok_exit_codes", format!("[{}]", codes.join(",")));
                }
            }
        }
        Ok(fields.close(self.tab, &self.naming, &self.advanced))
    }

    /// The same job without its filter, to find out which of the two formulas a refusal is about.
    pub fn json_without_filter(&self) -> Option<String> {
        let mut draft = self.clone();
        match self.tab {
            Tab::Range => draft.range.filter.clear(),
            Tab::Map => draft.map.filter.clear(),
            Tab::MapReduce => draft.map_reduce.filter.clear(),
            Tab::Matrix | Tab::Kernel | Tab::Command | Tab::Json => return None,
        }
        draft.json().ok()
    }
}

impl Program {
    fn split(&self) -> String {
        if self.split == "bytes" { format!("bytes:{}", self.block.trim()) } else { self.split.clone() }
    }
}

/// Whether a matrix operation has a second matrix.
pub fn takes_two(op: &str) -> bool {
    matches!(op, "add" | "subtract" | "multiply")
}

fn readable(field: &'static str, value: Result<String, DataError>) -> Result<String, Unreadable> {
    value.map_err(|error| Unreadable { field, error })
}

/// JSON fields in the order in which people think of them.
#[derive(Default)]
struct Fields(String);

impl Fields {
    fn add(&mut self, name: &str, json: String) {
        if !self.0.is_empty() {
            self.0.push(',');
        }
        self.0.push_str(&data::quoted(name));
        self.0.push(':');
        self.0.push_str(&json);
    }

    /// A formula that is empty is left out; an empty `map` is said, since it is needed.
    fn formulas(&mut self, formulas: &Formulas, reduces: bool) {
        self.add("map", data::quoted(formulas.map.trim()));
        if !formulas.filter.trim().is_empty() {
            self.add("where", data::quoted(formulas.filter.trim()));
        }
        if reduces {
            self.add("reduce", data::quoted(&formulas.reduce));
        }
    }

    fn close(mut self, tab: Tab, naming: &Naming, advanced: &Advanced) -> String {
        if !naming.name.trim().is_empty() {
            self.add("name", data::quoted(naming.name.trim()));
        }
        let mut labels = Fields::default();
        for line in naming.labels.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let (key, value) = line.split_once('=').unwrap_or((line, ""));
            labels.add(key.trim(), data::quoted(value.trim()));
        }
        let mut requirements = Fields::default();
        for (name, value) in [
            ("cpu_percent", &advanced.cpu_percent),
            ("ram_gb", &advanced.ram_gb),
            ("timeout_seconds", &advanced.timeout_seconds),
        ] {
            if !value.trim().is_empty() {
                requirements.add(name, data::number_or_text(value));
            }
        }
        let mut policy = Fields::default();
        if !advanced.priority.is_empty() {
            policy.add("priority", data::quoted(&advanced.priority));
        }
        if !advanced.retries.trim().is_empty() {
            policy.add("retries", data::number_or_text(&advanced.retries));
        }
        for (name, fields) in [("labels", labels), ("requirements", requirements), ("policy", policy)] {
            if !fields.0.is_empty() {
                self.add(name, format!("{{{}}}", fields.0));
            }
        }
        format!("{{\"kind\":{},{}}}", data::quoted(tab.kind()), self.0)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::pages::new_job::examples;

    #[test]
    fn the_example_of_a_range_is_the_job_that_it_says() {
        let draft = examples::first();
        assert_eq!(
            draft.json().unwrap(),
            r#"{"kind":"range_reduce","start":1,"end":10000000,"map":"x","reduce":"sum"}"#
        );
    }

    #[test]
    fn every_example_is_valid_json_of_its_kind() {
        for tab in Tab::ALL {
            let json = Draft { tab, ..examples::first() }.json().unwrap();
            let value: serde_json::Value = serde_json::from_str(&json).unwrap();
            if tab != Tab::Json {
                assert_eq!(value["kind"], tab.kind());
            }
        }
    }

    #[test]
    fn every_kind_has_a_tab_whose_example_is_read() {
        let kinds: Vec<&str> = Tab::ALL.into_iter().filter(|tab| *tab != Tab::Json).map(Tab::kind).collect();
        assert_eq!(kinds, p2pnet_shared::job::kinds::KINDS);
        for tab in Tab::ALL {
            let json = Draft { tab, ..examples::first() }.json().unwrap();
            assert_eq!(p2pnet_shared::job::kinds::read(&json, &|_| None).err(), None, "{json}");
        }
    }

    #[test]
    fn what_is_set_under_advanced_travels_along() {
        let mut draft = examples::first();
        draft.advanced.ram_gb = "0.5".into();
        draft.advanced.priority = "high".into();
        let value: serde_json::Value = serde_json::from_str(&draft.json().unwrap()).unwrap();
        assert_eq!(value["requirements"], serde_json::json!({"ram_gb": 0.5}));
        assert_eq!(value["policy"], serde_json::json!({"priority": "high"}));
    }

    #[test]
    fn name_and_labels_are_those_of_the_job() {
        for tab in Tab::ALL.into_iter().filter(|tab| *tab != Tab::Json) {
            let mut draft = Draft { tab, ..examples::first() };
            draft.naming.name = " nightly run ".into();
            draft.naming.labels = "team = physics\n\nequation=a=b\nurgent\n".into();
            let job = p2pnet_shared::job::kinds::read(&draft.json().unwrap(), &|_| None).unwrap();
            assert_eq!(job.metadata.name.as_deref(), Some("nightly run"));
            let labels: Vec<_> =
                job.metadata.labels.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
            assert_eq!(labels, [("equation", "a=b"), ("team", "physics"), ("urgent", "")]);
        }
    }

    #[test]
    fn a_label_given_twice_or_with_a_key_that_is_none_is_refused_by_its_name() {
        for (labels, named) in
            [("team=a\nteam=b", "`labels.team`"), ("=a", "`labels.`"), ("two words=a", "`labels.two words`")]
        {
            let mut draft = examples::first();
            draft.naming.labels = labels.into();
            let refusal = p2pnet_shared::job::kinds::read(&draft.json().unwrap(), &|_| None).err().unwrap();
            assert!(refusal.message.contains(named), "{refusal}");
        }
    }

    #[test]
    fn exit_codes_that_are_no_failure_travel_with_a_command() {
        let mut draft = Draft { tab: Tab::Command, ..examples::first() };
        draft.command.ok_exit_codes = "0, 1 42".into();
        let json = draft.json().unwrap();
        let value: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(value["ok_exit_codes"], serde_json::json!([0, 1, 42]));
        assert_eq!(p2pnet_shared::job::kinds::read(&json, &|_| None).err(), None, "{json}");
    }

    #[test]
    fn nothing_typed_can_break_out_of_the_json() {
        let mut draft = examples::first();
        draft.naming.name = r#"x","kind":"map"#.into();
        draft.naming.labels = r#"a":"b","c=d"},"start":{"e":"f"#.into();
        draft.range.map = r#"x","reduce":"count"#.into();
        draft.range.start = r#"1,"end":2"#.into();
        let value: serde_json::Value = serde_json::from_str(&draft.json().unwrap()).unwrap();
        assert_eq!(value["map"], r#"x","reduce":"count"#);
        assert_eq!(value["start"], r#"1,"end":2"#);
        assert_eq!(value["kind"], "range_reduce");
        assert_eq!(value["labels"].as_object().map(serde_json::Map::len), Some(1));
    }

    #[test]
    fn unreadable_data_names_its_field() {
        let mut draft = Draft { tab: Tab::Matrix, ..examples::first() };
        draft.matrix.b = Content::Typed("1 2\n3 four".into());
        assert_eq!(draft.json().unwrap_err().field, "b");
    }
}
