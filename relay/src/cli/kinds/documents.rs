//! docs/kinds.md and the README's table of kinds, made from what kinds say of themselves. Only the test that holds them
//! against that makes them: `cargo xtask docs` has it write what is stale.

use std::{fs, path::Path};

use p2pnet_shared::job::kinds::{
    ALL, common,
    schema::{Field, Presence, Type},
};

use super::{presence_of, short, value_of, word_of};

/// The README's table stands between these.
const BEGIN: &str = "<!-- kinds, written by cargo xtask docs -->\n";
const END: &str = "<!-- end of kinds -->\n";

/// Set by `cargo xtask docs`: what is stale is written anew.
const WRITE: &str = "P2PNET_WRITE_DOCS";

#[test]
fn the_documents_of_kinds_are_what_kinds_say() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let readme = fs::read_to_string(root.join("README.md")).unwrap();
    let (before, rest) = readme.split_once(BEGIN).unwrap();
    let (_, after) = rest.split_once(END).unwrap();
    let readme_now = format!("{before}{BEGIN}{}{END}{after}", overview());
    for (file, now) in [("docs/kinds.md", document()), ("README.md", readme_now)] {
        let path = root.join(file);
        if std::env::var_os(WRITE).is_some() {
            fs::write(&path, &now).unwrap();
        }
        let there = fs::read_to_string(&path).unwrap_or_default();
        assert!(there == now, "{file} is stale: run `cargo xtask docs`");
    }
}

/// The kinds as rows of a table in Markdown, as the README shows them.
fn overview() -> String {
    let rows = ALL.iter().map(|kind| format!("| [`{0}`](docs/kinds.md#{0}) | {1} |\n", kind.name, kind.about.english));
    format!("| kind | does |\n|---|---|\n{}", rows.collect::<String>())
}

/// The whole of docs/kinds.md.
fn document() -> String {
    let mut page = String::from(
        "# Kinds of jobs\n\n\
         Written by `cargo xtask docs` from what the kinds say of themselves; so are the form of New job, the flags of\n\
         `p2pnet job run`, and the schemas in `/api/v1/openapi.json`. Formulas: [formulas.md](formulas.md). Modules:\n\
         [kernels.md](kernels.md).\n",
    );
    for kind in ALL {
        page.push_str(&format!("\n## {}\n\n{}\n\n{}", kind.name, kind.about.english, rows_of("", kind.fields)));
        if let Some(job) = kind.examples.iter().find_map(|example| short(kind, example)) {
            page.push_str(&format!("\n```json\n{job}\n```\n"));
        }
    }
    page.push_str("\n## Fields of every kind\n\n");
    page.push_str(&rows_of("", common::FIELDS));
    for field in common::FIELDS {
        if let Type::Object(inner) = field.ty {
            page.push_str(&format!("\n### {}\n\n{}", field.name, rows_of(&format!("{}.", field.name), inner)));
        }
    }
    page
}

fn rows_of(path: &str, fields: &[Field]) -> String {
    // A bar would end a cell.
    let cell = |text: &str| text.replace('|', "\\|");
    let row = |field: &Field| {
        let presence = match field.presence {
            Presence::Default(default) => format!("`{default}`"),
            Presence::Required | Presence::Unless(_) | Presence::Optional => presence_of(field),
        };
        let value = match field.ty {
            Type::Choice(choices) => {
                choices.iter().map(|choice| format!("`{}`", word_of(choice))).collect::<Vec<_>>().join(", ")
            }
            Type::Formula
            | Type::Integer { .. }
            | Type::Fraction { .. }
            | Type::Line { .. }
            | Type::Labels { .. }
            | Type::Items
            | Type::Matrix
            | Type::Module
            | Type::Bytes
            | Type::Texts { .. }
            | Type::Integers { .. }
            | Type::Object(_) => value_of(field),
        };
        format!("| `{path}{}` | {} | {} | {} |\n", field.name, value, cell(&presence), cell(field.help.english))
    };
    let rows: String = fields.iter().map(row).collect();
    format!("| field | value | if left out | means |\n|---|---|---|---|\n{rows}")
}
