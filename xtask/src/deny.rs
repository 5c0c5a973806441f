//! Every crate that p2pnet is made of, held against `deny.toml` as `cargo deny check` does where that is installed: licences,
//! duplicates, sources. What is only known with a database of the day (advisories, what was yanked) is left to it.

#![expect(clippy::unwrap_used)]

use std::collections::BTreeMap;

use toml::{Table, Value};

use crate::{
    shell::{answer, cargo},
    workspace,
};

/// A crate, as `cargo tree` shows it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Crate {
    name: String,
    version: String,
    license: String,
    /// Where it is from, unless that is the registry.
    from: Option<String>,
}

impl Crate {
    /// Reads `name v1.0.0 (where)|license`.
    fn read(line: &str) -> Option<Self> {
        let (package, license) = line.trim_end_matches(" (*)").split_once('|')?;
        let mut words = package.splitn(3, ' ');
        let (name, version) = (words.next()?, words.next()?.strip_prefix('v')?);
        let from = words.next().unwrap_or_default().replace("(proc-macro)", "");
        let from = from.trim().trim_start_matches('(').trim_end_matches(')');
        Some(Self {
            name: name.to_owned(),
            version: version.to_owned(),
            license: license.trim().trim_end_matches(" (*)").to_owned(),
            from: (!from.is_empty()).then(|| from.to_owned()),
        })
    }

    /// Whether `name@1.2` names it.
    fn is(&self, wanted: &str) -> bool {
        let (name, version) = wanted.split_once('@').unwrap_or((wanted, ""));
        let rest = self.version.strip_prefix(version);
        name == self.name
            && rest.is_some_and(|rest| version.is_empty() || rest.is_empty() || rest.starts_with(['.', '+']))
    }
}

/// All crates for all systems; where those of other systems cannot be fetched, those for this one.
fn crates() -> Vec<Crate> {
    let tree = |workspace: &str, more: &[&str]| {
        let mut tree = cargo();
        tree.args(["tree", "--workspace", "--locked", "--prefix", "none", "--format", "{p}|{l}"]);
        answer(tree.args(["--manifest-path", workspace]).args(more))
    };
    let listed = |workspace| tree(workspace, &["--target", "all"]).or_else(|| tree(workspace, &["--offline"])).unwrap();
    let listed = ["Cargo.toml", "kernels/Cargo.toml"].map(listed).join("\n");
    let mut crates: Vec<Crate> = listed.lines().filter_map(Crate::read).collect();
    crates.sort();
    crates.dedup();
    crates
}

/// What is wrong with these crates, each in a line.
fn check(crates: &[Crate], rules: &Table) -> Vec<String> {
    let mut complaints = Vec::new();
    let licenses = Licenses::read(rules);
    for each in crates {
        let Crate { name, version, license, from } = each;
        if !licenses.allow(each) {
            complaints.push(format!("{name} {version}: its licence {license:?} is not in deny.toml"));
        }
        if let Some(from) = from.as_ref().filter(|from| !from.starts_with(&*workspace::root().to_string_lossy())) {
            complaints.push(format!("{name} {version}: comes from {from}, not from the registry"));
        }
    }
    complaints.extend(duplicates(crates, rules));
    complaints
}

fn duplicates(crates: &[Crate], rules: &Table) -> Vec<String> {
    let skipped: Vec<&str> = entries(rules, "bans", "skip").filter_map(|entry| entry.get("crate")?.as_str()).collect();
    let mut complaints = Vec::new();
    let mut versions: BTreeMap<&str, Vec<&Crate>> = BTreeMap::new();
    for each in crates.iter().filter(|each| !skipped.iter().any(|skipped| each.is(skipped))) {
        versions.entry(&each.name).or_default().push(each);
    }
    for (name, several) in versions.iter().filter(|(_, several)| several.len() > 1) {
        let several: Vec<&str> = several.iter().map(|each| each.version.as_str()).collect();
        complaints.push(format!(
            "{name}: is here in versions {}: take one, or say in deny.toml who keeps the others",
            several.join(", ")
        ));
    }
    for skipped in skipped.iter().filter(|skipped| !crates.iter().any(|each| each.is(skipped))) {
        complaints.push(format!("{skipped}: is not here any more, so take it out of deny.toml"));
    }
    complaints
}

/// The tables of a list in a section.
fn entries<'a>(rules: &'a Table, section: &str, list: &str) -> impl Iterator<Item = &'a Table> {
    let list = rules.get(section).and_then(|section| section.get(list)).and_then(Value::as_array);
    list.into_iter().flatten().filter_map(Value::as_table)
}

struct Licenses<'a> {
    all: Vec<&'a str>,
    /// By crate.
    exceptions: BTreeMap<&'a str, Vec<&'a str>>,
}

impl<'a> Licenses<'a> {
    fn read(rules: &'a Table) -> Self {
        let texts = |list: Option<&'a Value>| -> Vec<&'a str> {
            list.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect()
        };
        let exception = |entry: &'a Table| Some((entry.get("crate")?.as_str()?, texts(entry.get("allow"))));
        Self {
            all: texts(rules.get("licenses").and_then(|licenses| licenses.get("allow"))),
            exceptions: entries(rules, "licenses", "exceptions").filter_map(exception).collect(),
        }
    }

    /// Whether one may choose among a crate's licences so that all that are chosen are allowed.
    fn allow(&self, each: &Crate) -> bool {
        let own = self.exceptions.get(each.name.as_str());
        let is_allowed = |license: &str| self.all.contains(&license) || own.is_some_and(|own| own.contains(&license));
        let spaced = each.license.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
        let words: Vec<&str> = spaced.split_whitespace().collect();
        let mut rest = words.as_slice();
        either(&mut rest, &is_allowed) && rest.is_empty()
    }
}

/// `a OR b`
fn either(words: &mut &[&str], is_allowed: &impl Fn(&str) -> bool) -> bool {
    let mut holds = both(words, is_allowed);
    while let ["OR", rest @ ..] = *words {
        *words = rest;
        holds |= both(words, is_allowed);
    }
    holds
}

/// `a AND b`, which binds tighter.
fn both(words: &mut &[&str], is_allowed: &impl Fn(&str) -> bool) -> bool {
    let mut holds = one(words, is_allowed);
    while let ["AND", rest @ ..] = *words {
        *words = rest;
        holds &= one(words, is_allowed);
    }
    holds
}

/// `a`, `a WITH b` or something in brackets. What cannot be read is not allowed.
fn one(words: &mut &[&str], is_allowed: &impl Fn(&str) -> bool) -> bool {
    match *words {
        ["(", rest @ ..] => {
            *words = rest;
            let holds = either(words, is_allowed);
            let [")", rest @ ..] = *words else { return false };
            *words = rest;
            holds
        }
        [license, "WITH", exception, rest @ ..] => {
            *words = rest;
            is_allowed(&format!("{license} WITH {exception}"))
        }
        [license, rest @ ..] => {
            *words = rest;
            is_allowed(license)
        }
        [] => false,
    }
}

fn rules() -> Table {
    std::fs::read_to_string(workspace::root().join("deny.toml")).unwrap().parse().unwrap()
}

#[test]
fn every_crate_may_be_used_comes_from_the_registry_and_is_here_once() {
    let crates = crates();
    assert!(crates.len() > 300, "{} crates", crates.len());
    assert_eq!(check(&crates, &rules()), [""; 0]);
}

#[test]
fn a_crate_that_may_not_be_used_is_named() {
    let rules: Table = r#"
        [licenses]
        allow = ["MIT", "Apache-2.0 WITH LLVM-exception", "BSD-3-Clause"]
        exceptions = [{ crate = "list", allow = ["CDLA-Permissive-2.0"] }]
        [bans]
        skip = [{ crate = "twice@1", reason = "old" }, { crate = "gone@2", reason = "old" }]
    "#
    .parse()
    .unwrap();
    let said = |lines: &str| check(&lines.lines().filter_map(Crate::read).collect::<Vec<_>>(), &rules);
    let gone = "gone@2: is not here any more, so take it out of deny.toml";
    let fine = "a v1.0.0|MIT OR GPL-3.0\nb v0.1.0 (proc-macro)|Apache-2.0 WITH LLVM-exception (*)\nc v1.0.0|GPL-3.0/MIT\n\
                list v1.0.0|CDLA-Permissive-2.0\nd v1.0.0|(GPL-3.0 OR MIT) AND BSD-3-Clause\ntwice v1.2.3|MIT\ntwice v2.0.0|MIT";
    assert_eq!(said(fine), [gone]);
    for license in ["GPL-3.0", "MIT AND GPL-3.0", "Apache-2.0", "CDLA-Permissive-2.0", "(MIT", "", "GPL-3.0 OR MPL-2.0"]
    {
        let complaint = format!("a 1.0.0: its licence {license:?} is not in deny.toml");
        assert_eq!(said(&format!("a v1.0.0|{license}\ntwice v1.0.0|MIT")), [&complaint, gone]);
    }
    let elsewhere = said("a v1.0.0 (https://example.org/a.git#123)|MIT\ntwice v1.0.0|MIT");
    assert_eq!(elsewhere, ["a 1.0.0: comes from https://example.org/a.git#123, not from the registry", gone]);
    let thrice = said("twice v1.0.0|MIT\ntwice v2.0.0|MIT\ntwice v3.0.0|MIT");
    assert_eq!(
        thrice,
        ["twice: is here in versions 2.0.0, 3.0.0: take one, or say in deny.toml who keeps the others", gone]
    );
}
