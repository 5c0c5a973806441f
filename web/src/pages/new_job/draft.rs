//! What is typed into New job, and the JSON that it makes. Which fields there are, and the rules of jobs, are not known here:
//! kinds say the first of themselves, and `shared` reads the JSON and says what is wrong.

use std::{collections::BTreeMap, rc::Rc};

use p2pnet_shared::job::kinds::{
    ALL,
    schema::{Example, Field, Kind, Sample, Type},
    typed::{self, Given, Unreadable},
};

/// What the tab for JSON holds when it is first opened.
const JSON_EXAMPLE: &str = "{\n  \"kind\": \"range_reduce\",\n  \"start\": 1,\n  \"end\": 1000000,\n  \"map\": \"x\",\n  \"where\": \"is_prime(x)\",\n  \"reduce\": \"count\"\n}";

/// The tabs of the form.
#[derive(Clone, Copy, Debug)]
pub enum Tab {
    /// A kind of job.
    Kind(&'static Kind),
    /// Any, as JSON.
    Json,
}

impl Tab {
    /// All of them, in their order.
    pub fn all() -> Vec<Tab> {
        ALL.iter().map(|kind| Tab::Kind(kind)).chain([Tab::Json]).collect()
    }

    /// The job kind, as in JSON; `json` for the tab that takes any.
    pub fn name(self) -> &'static str {
        match self {
            Tab::Kind(kind) => kind.name,
            Tab::Json => "json",
        }
    }

    /// The kind that it is for.
    pub fn kind(self) -> Option<&'static Kind> {
        match self {
            Tab::Kind(kind) => Some(kind),
            Tab::Json => None,
        }
    }
}

impl PartialEq for Tab {
    fn eq(&self, other: &Self) -> bool {
        self.name() == other.name()
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

    fn given(&self) -> Given<'_> {
        match self {
            Content::Typed(text) => Given::Typed(text),
            Content::File { bytes, .. } => Given::File(bytes),
        }
    }
}

/// Where something stands: a field of a kind, or of every kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    kind: Option<&'static str>,
    field: &'static str,
}

/// Everything typed, each tab with fields of its own.
#[derive(Clone, Debug, PartialEq)]
pub struct Draft {
    pub tab: Tab,
    pub json: String,
    contents: BTreeMap<Place, Content>,
}

impl Draft {
    /// What the form holds when it is first opened: the first example of every kind.
    pub fn first() -> Self {
        let tab = ALL.first().map_or(Tab::Json, |kind| Tab::Kind(kind));
        let mut draft = Self { tab, json: JSON_EXAMPLE.to_owned(), contents: BTreeMap::new() };
        for kind in ALL {
            if let Some(example) = kind.examples.first() {
                draft.fill(kind, example, None);
            }
        }
        draft
    }

    /// Puts an example into the fields of its kind; `module` is the program that it comes with.
    pub fn fill(&mut self, kind: &'static Kind, example: &Example, module: Option<&Content>) {
        self.contents.retain(|place, _| place.kind != Some(kind.name));
        for (field, sample) in example.values {
            let content = match sample {
                Sample::Typed(text) => Content::Typed((*text).to_owned()),
                Sample::Made(make) => Content::Typed(make()),
                Sample::Shipped(_) => module.cloned().unwrap_or(Content::Typed(String::new())),
            };
            self.contents.insert(Place { kind: Some(kind.name), field }, content);
        }
    }

    /// Where a field of the open tab stands.
    pub fn place(&self, field: &'static str) -> Place {
        let kind = self.tab.kind().filter(|kind| kind.field(field).is_some());
        Place { kind: kind.map(|kind| kind.name), field }
    }

    /// What stands in a field of the open tab.
    pub fn content(&self, field: &'static str) -> Option<&Content> {
        self.contents.get(&self.place(field))
    }

    /// What is typed into a field of the open tab.
    pub fn typed(&self, field: &'static str) -> &str {
        self.content(field).map_or("", Content::typed)
    }

    /// Puts something into a field.
    pub fn put(&mut self, place: Place, content: Content) {
        self.contents.insert(place, content);
    }

    fn given(&self, field: &'static str) -> Given<'_> {
        self.content(field).map_or(Given::Typed(""), Content::given)
    }

    /// The fields of the open tab's kind that have a meaning beside what stands in the others.
    pub fn fields(&self) -> Vec<&'static Field> {
        let Some(kind) = self.tab.kind() else { return Vec::new() };
        kind.fields.iter().filter(|field| typed::has_meaning(kind, field, &|name| self.given(name))).collect()
    }

    /// The formulas of the open tab.
    pub fn formulas(&self) -> Vec<&'static str> {
        let is_formula = |field: &&Field| matches!(field.ty, Type::Formula);
        self.fields().into_iter().filter(is_formula).map(|field| field.name).collect()
    }

    /// The job of the open tab as JSON text.
    pub fn json(&self) -> Result<String, Unreadable> {
        match self.tab {
            Tab::Json => Ok(self.json.clone()),
            Tab::Kind(kind) => typed::job(kind, |name| self.given(name)),
        }
    }

    /// The same job with nothing in one field, to find out whether a refusal is about that.
    pub fn json_without(&self, field: &'static str) -> Option<String> {
        let kind = self.tab.kind()?;
        typed::job(kind, |name| if name == field { Given::Typed("") } else { self.given(name) }).ok()
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used)]
mod tests {
    use p2pnet_shared::job::kinds::{named, read};

    use super::*;

    fn of(kind: &str) -> Draft {
        Draft { tab: Tab::Kind(named(kind).unwrap()), ..Draft::first() }
    }

    fn with(mut draft: Draft, fields: &[(&'static str, &str)]) -> Draft {
        for (field, text) in fields {
            draft.put(draft.place(field), Content::Typed((*text).to_owned()));
        }
        draft
    }

    #[test]
    fn the_example_of_a_range_is_the_job_that_it_says() {
        assert_eq!(
            Draft::first().json().unwrap(),
            r#"{"kind":"range_reduce","start":1,"end":10000000,"map":"x","reduce":"sum"}"#
        );
    }

    #[test]
    fn every_kind_has_a_tab_whose_example_is_read() {
        assert_eq!(Tab::all().len(), ALL.len() + 1);
        for tab in Tab::all() {
            let json = Draft { tab, ..Draft::first() }.json().unwrap();
            let job = read(&json, &|_| None);
            assert_eq!(job.as_ref().err(), None, "{json}");
            assert!(tab == Tab::Json || job.is_ok_and(|job| job.kind == tab.name()));
        }
    }

    #[test]
    fn what_is_set_under_advanced_travels_along() {
        let draft = with(Draft::first(), &[("ram_gb", "0.5"), ("priority", "high"), ("chunk_size", "7")]);
        let value: serde_json::Value = serde_json::from_str(&draft.json().unwrap()).unwrap();
        assert_eq!(value["requirements"], serde_json::json!({"ram_gb": 0.5}));
        assert_eq!(value["policy"], serde_json::json!({"priority": "high"}));
        assert_eq!(value["chunk_size"], 7);
    }

    #[test]
    fn name_and_labels_are_those_of_the_job() {
        for kind in ALL {
            let labels = "team = physics\n\nequation=a=b\nurgent\n";
            let draft = with(of(kind.name), &[("name", " nightly run "), ("labels", labels)]);
            let job = read(&draft.json().unwrap(), &|_| None).unwrap();
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
            let draft = with(Draft::first(), &[("labels", labels)]);
            let refusal = read(&draft.json().unwrap(), &|_| None).err().unwrap();
            assert!(refusal.message.contains(named), "{refusal}");
        }
    }

    #[test]
    fn exit_codes_that_are_no_failure_travel_with_a_command() {
        let json = with(of("command"), &[("ok_exit_codes", "0, 1 42")]).json().unwrap();
        let value: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(value["ok_exit_codes"], serde_json::json!([0, 1, 42]));
        assert_eq!(read(&json, &|_| None).err(), None, "{json}");
    }

    #[test]
    fn a_second_matrix_goes_with_operations_on_two_only() {
        let b = |op| {
            let json = with(of("matrix"), &[("op", op)]).json().unwrap();
            serde_json::from_str::<serde_json::Value>(&json).unwrap().get("b").is_some()
        };
        assert!(b("add") && b("multiply") && !b("transpose"));
    }

    #[test]
    fn nothing_typed_can_break_out_of_the_json() {
        let draft = with(
            Draft::first(),
            &[
                ("name", r#"x","kind":"map"#),
                ("labels", r#"a":"b","c=d"},"start":{"e":"f"#),
                ("map", r#"x","reduce":"count"#),
                ("start", r#"1,"end":2"#),
            ],
        );
        let value: serde_json::Value = serde_json::from_str(&draft.json().unwrap()).unwrap();
        assert_eq!(value["map"], r#"x","reduce":"count"#);
        assert_eq!(value["start"], r#"1,"end":2"#);
        assert_eq!(value["kind"], "range_reduce");
        assert_eq!(value["labels"].as_object().map(serde_json::Map::len), Some(1));
    }

    #[test]
    fn unreadable_data_names_its_field() {
        assert_eq!(with(of("matrix"), &[("b", "1 2\n3 four")]).json().unwrap_err().field, "b");
    }

    #[test]
    fn tabs_keep_what_was_typed_apart() {
        let mut draft = with(of("map"), &[("map", "x + 1"), ("name", "both")]);
        draft.tab = Tab::Kind(named("map_reduce").unwrap());
        assert_eq!((draft.typed("map"), draft.typed("name")), ("x*x", "both"));
        draft.tab = Tab::Kind(named("map").unwrap());
        assert_eq!(draft.typed("map"), "x + 1");
    }
}
