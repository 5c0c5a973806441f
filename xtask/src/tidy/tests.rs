//! Each check is shown a bad example, and must say so; and this repository, and must say nothing.

use super::{
    File, commits, crates, files, rust, source,
    versions::{self, Held, Test, Version},
};

fn file(path: &str, text: impl Into<Vec<u8>>) -> File {
    File { path: path.to_owned(), bytes: text.into() }
}

/// What is said of one file, but for exceptions that it does not need.
fn said_of(path: &str, text: impl Into<Vec<u8>>) -> Vec<String> {
    let files = [file(path, text)];
    let mut said = files::check(&files);
    said.extend(rust::check(&files));
    said.retain(|complaint| !complaint.contains("lists.rs") || complaint.contains("add it"));
    said
}

fn one(path: &str, text: impl Into<Vec<u8>>) -> String {
    let said = said_of(path, text);
    assert_eq!(said.len(), 1, "{said:?}");
    said.into_iter().next().unwrap()
}

#[test]
fn the_repository_keeps_the_habits() {
    let files = super::repository().unwrap();
    assert!(files.len() > 500);
    let said: Vec<String> =
        [files::check(&files), rust::check(&files), versions::check(&files), crates::check(&files)].concat();
    assert_eq!(said, [""; 0]);
}

#[test]
fn a_file_that_does_not_say_why_it_exists_is_named() {
    assert_eq!(one("a/b.rs", "use std::fmt;\n"), "a/b.rs:1: does not open with `//!` and why it exists");
    assert_eq!(said_of("a/b.rs", "//! Why.\n\nuse std::fmt;\n"), [""; 0]);
}

#[test]
fn a_function_of_more_than_seventy_lines_is_named_whatever_stands_in_its_texts() {
    let function =
        |lines: usize| format!("//! Why.\n\nfn long(\n    a: [u8; 2],\n) {{\n{}}}\n", "    \"}\";\n".repeat(lines - 4));
    assert_eq!(one("a.rs", function(71)), "a.rs:3: fn long takes 71 lines, and 70 are the most: split it");
    assert_eq!(said_of("a.rs", function(70)), [""; 0]);
    let inner = "//! Why.\n\nimpl A {\n    fn short() {\n".to_owned() + &"        // }\n".repeat(80) + "    }\n}\n";
    assert!(one("a.rs", inner).contains("fn short takes 82 lines"));
}

#[test]
fn a_long_file_is_named_and_the_tests_inside_it_do_not_count() {
    let code = "//! Why.\n".to_owned() + &"const A: u8 = 1;\n".repeat(700);
    assert!(one("a.rs", code.clone()).contains("has 701 lines"));
    assert_eq!(said_of("tests/a.rs", code), [""; 0]);
    let tests = "#[cfg(test)]\nmod tests {\n".to_owned() + &"const A: u8 = 1;\n".repeat(900) + "}\n";
    assert_eq!(said_of("a.rs", "//! Why.\n".to_owned() + &tests), [""; 0]);
    assert!(one("tests/a.rs", "//! Why.\n".to_owned() + &"const A: u8 = 1;\n".repeat(800)).contains("has 801 lines"));
}

#[test]
fn what_nobody_wrote_here_is_named() {
    let wheel = b"PK\x03\x04\x00\xff".to_vec();
    assert!(
        one("chromium-1.0-py3-none-any.whl", wheel.clone()).contains("of a kind that this repository does not have")
    );
    assert!(one("tools/compiler", wheel.clone()).contains("of a kind that this repository does not have"));
    assert!(one("docs/notes.md", wheel.clone()).contains("is no text"));
    assert!(one("kernels/echo.wasm", wheel).contains("of a kind"));
    assert!(one("web/vendor/left_pad.js", "let a;\n").contains("a folder for what others wrote"));
    assert!(one("web/assets/graph.js", "x;".repeat(3_000)).contains("no person wrote it"));
    assert!(one("docs/list.txt", "line\n".repeat(40_000)).contains("are the most for a text"));
    assert!(one("web/assets/other.LICENSE.txt.gz", "x").contains("of a kind"));
    assert_eq!(said_of("kernels/commands/built/one.wasm", b"\0asm".to_vec()), [""; 0]);
}

#[test]
fn what_is_still_to_be_done_is_named_and_a_word_that_holds_the_mark_is_not() {
    let mark = ["TO", "DO"].concat();
    assert_eq!(one("a.md", format!("one\n\n- {mark}: two\n")), format!("a.md:3: {mark}: do it, or leave it out"));
    assert!(one("a.rs", format!("//! Why.\n\nfn a() {{\n    to{}!()\n}}\n", "do")).contains("a.rs:4"));
    assert_eq!(said_of("a.md", format!("MAS{mark}N, mktemp /tmp/{}\n", "X".repeat(6))), [""; 0]);
}

#[test]
fn a_limit_has_one_name_and_a_time_has_a_type() {
    let said = one("a.rs", "//! Why.\n\npub const MAX_ITEMS: usize = 1;\n");
    assert_eq!(said, "a.rs:3: MAX_ITEMS is called MOST_… in this house");
    assert!(one("a.rs", "//! Why.\n\nconst WAIT_MILLIS: u64 = 1;\n").contains("WAIT_MILLIS is a length of time"));
    let fine = "//! Why.\n\nconst MOST_ITEMS: usize = u8::MAX as usize;\nconst WAIT: Millis = Millis(1);\nconst TICK_MILLIS: f64 = 1.0;\n";
    assert_eq!(said_of("a.rs", fine), [""; 0]);
}

#[test]
fn what_is_allowed_for_ever_is_named() {
    let allowed = format!("//! Why.\n\n#[{}(dead_code)]\nfn a() {{}}\n", "allow");
    assert_eq!(one("a.rs", allowed.clone()), "a.rs:3: `allow` outlives what it is for: `expect`");
    assert_eq!(said_of("kernels/a.rs", allowed), [""; 0]);
    assert_eq!(said_of("a.rs", "//! Why.\n\n#[expect(dead_code)]\nfn allow() {}\n"), [""; 0]);
}

#[test]
fn a_long_subject_is_named() {
    let long = format!("abc123 {}", "é".repeat(73));
    let said = commits::check(&format!("def456 {}\n{long}\n", "é".repeat(72)));
    assert_eq!(said.len(), 1);
    assert!(said[0].starts_with("commit abc123: its subject has 73 characters"), "{said:?}");
}

#[test]
fn a_version_that_nothing_holds_is_named() {
    let source = |number: u8| file("a.rs", format!("//! Why.\n\npub(crate) const WIRE_FORMAT: u16 = {number};\n"));
    let said = |files: &[File], known: &[Version]| versions::check_against(files, known).join("\n");
    assert!(said(&[source(1)], &[]).contains("a.rs:3: nothing holds WIRE_FORMAT"));
    // Names of pauses and of texts are none.
    let others = "//! Why.\n\nconst OTHER_VERSION_PAUSE: u64 = 1;\nconst OTHER_VERSION: &str = \"x\";\nconst NEWEST_VERSION: Version = Version::V2;\n";
    assert_eq!(said(&[file("b.rs", others)], &[]), "");

    let test = || Test { file: "t.rs", name: "the_bytes_stay" };
    let known =
        [Version { file: "a.rs", name: "WIRE_FORMAT", held: Held::Bytes { file: "golden/v{}.hex", test: test() } }];
    let golden = || file("golden/v1.hex", "00\n");
    let tests = || file("t.rs", "//! Why.\n\n#[test]\nfn the_bytes_stay() {}\n");
    assert_eq!(said(&[source(1), golden(), tests()], &known), "");
    assert!(said(&[source(2), golden(), tests()], &known).contains("WIRE_FORMAT is 2, and golden/v2.hex"));
    assert!(said(&[source(1), golden()], &known).contains("the test the_bytes_stay in t.rs, which does not exist"));
    assert!(said(&[golden(), tests()], &known).contains("there is no WIRE_FORMAT any more"));
}

#[test]
fn a_crate_that_nothing_names_is_named() {
    let root =
        file("Cargo.toml", "[workspace.dependencies]\nserde = \"1\"\nweb-time = { version = \"1\" }\nlog = \"0.4\"\n");
    let member = file(
        "a/Cargo.toml",
        "[package]\nname = \"a\"\n\n[dependencies]\nserde.workspace = true\nlog = { workspace = true }\n",
    );
    let source = file("a/src/lib.rs", "//! Why.\n\nuse serde::Serialize;\n");
    let inner = file("a/inner/Cargo.toml", "[dev-dependencies]\nserde.workspace = true\n");
    let other = file("a/inner/src/lib.rs", "//! Why.\n\nuse log::info;\n");
    let said = crates::check(&[root, member, source, inner, other]);
    assert_eq!(
        said,
        [
            "Cargo.toml: no crate depends on web-time, so leave it out",
            "a/Cargo.toml: log is named nowhere in a/, so leave it out",
            "a/inner/Cargo.toml: serde is named nowhere in a/inner/, so leave it out",
        ]
    );
}

#[test]
fn code_is_told_from_comments_texts_and_characters() {
    let text = r##"let a = "fn \" {"; // fn {
/* { /* { */ } */ let b = r#"{ " {"#; let c = '{'; let d = '\''; let e: &'a str = b"{"; let f = '\u{7b}'; let r = 'ф';"##;
    let code = source::code(text);
    assert_eq!(code.len(), text.len());
    assert!(!code.contains(['{', '}', '"', '\\', 'ф']), "{code}");
    for kept in ["let a =", "let b =", "let c =", "let d =", "&'a str =", "let f =", "let r ="] {
        assert!(code.contains(kept), "{kept}: {code}");
    }
}

#[test]
fn functions_and_constants_are_found_where_they_stand() {
    let code = "trait A { fn none(&self); fn one(&self) -> [u8; 2] {\n [0; 2] } }\nconst fn two() {\n}\nstatic B_C: Mutex<u8> = x;\n\
                fn three<const N: usize>(f: fn(u8) -> u8) where A: B {\n const X: u64 = 1;\n}\n";
    let found: Vec<(String, usize, usize)> =
        source::functions(code).into_iter().map(|source::Function { name, line, lines }| (name, line, lines)).collect();
    assert_eq!(found, [("one".into(), 1, 2), ("two".into(), 3, 2), ("three".into(), 6, 3)]);
    let constants: Vec<(String, String)> = source::constants(code).into_iter().map(|c| (c.name, c.ty)).collect();
    let expected = [("N", "usize>(f"), ("X", "u64"), ("B_C", "Mutex<u8>")].map(|(a, b)| (a.to_owned(), b.to_owned()));
    assert_eq!(constants.len(), expected.len(), "{constants:?}");
}
