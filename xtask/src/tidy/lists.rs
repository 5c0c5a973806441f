//! What the checks let pass, each with its reason.

use super::versions::{Held, Test, Version};

/// Folders that are built or downloaded, for where git does not say so.
pub(super) const BUILT: &[&str] = &["target", "dist", ".git", ".whl", ".gl"];

/// Folders in which others' files lie elsewhere.
pub(super) const OF_OTHERS: &[&str] = &["vendor", "vendored", "third_party", "third-party", "external", "node_modules"];

/// Endings of texts that are written here, and whole names without one.
pub(super) const ENDINGS: &[&str] = &[
    "rs",
    "toml",
    "md",
    "html",
    "css",
    "js",
    "mjs",
    "ts",
    "c",
    "go",
    "zig",
    "py",
    "sql",
    "json",
    "txt",
    "hex",
    "pem",
    "yml",
    "in",
    "out",
    "err",
    "exit",
    "args",
    "gitignore",
    "run",
    "LICENSE",
    "MADE_FROM",
];

/// Files that are no texts, or not ours, and why they are here. `*` stands for a part of a name.
pub(super) const OTHERS: &[(&str, &str)] = &[
    ("Cargo.lock", "cargo writes it"),
    ("kernels/Cargo.lock", "cargo writes it"),
    ("docs/images/*.png", "what the README shows"),
    (
        "kernels/commands/built/*.wasm",
        "example commands whose compilers not everybody has; `cargo xtask commands` builds them",
    ),
    ("tests/referee/built/*.wasm", "programs whose compilers not everybody has; `cargo xtask programs` builds them"),
    ("kernels/examples/echo/cases/bytes.*", "bytes that are no text, for the kernel that gives back what it gets"),
    ("web/later.txt", "by what of the page is fetched later: `cargo xtask page profile` writes it"),
    ("web/assets/pico.min.css", "the page's style sheet is Pico's, under its licence beside it"),
    ("web/assets/pico.LICENSE", "Pico's licence"),
];

/// Words that mark what is still to be done, put together here so that they do not mark this file.
pub(super) fn undone() -> [String; 5] {
    [["TO", "DO"], ["FIX", "ME"], ["X", "XX"], ["todo", "!"], ["unimplemented", "!"]].map(|parts| parts.concat())
}

type Functions = &'static [(&'static str, &'static str)];

/// Functions that are longer than the rule says, by reason.
pub(super) const LONG_FUNCTIONS: &[(&str, Functions)] = &[
    (
        "an arm or a line for each of many alike, which reads no better in two halves",
        &[
            ("relay/src/cli/job.rs", "describe"),
            ("shared/src/formula/emit.rs", "value"),
            ("shared/src/job/kinds/command/adapt.rs", "take"),
            ("shared/src/kernel/check.rs", "contract"),
            ("shared/src/kernel/rewrite.rs", "section"),
            ("tests/differential/src/cases.rs", "recursions"),
            ("tests/differential/src/features.rs", "features"),
            ("tests/differential/src/floats.rs", "value"),
            ("tests/e2e/src/bin/screenshots.rs", "main"),
            ("tests/kernels/src/programs.rs", "clocks"),
            ("shared/net/src/links/paths/tests/two_ends.rs", "take"),
            ("web/src/pages/job/mod.rs", "Heading"),
        ],
    ),
    (
        "code that writes WebAssembly in the order in which it runs",
        &[
            ("shared/src/formula/template.rs", "of"),
            ("shared/src/job/kinds/command/adapt.rs", "kernel"),
            ("shared/src/job/kinds/command/calls.rs", "body"),
            ("shared/src/job/kinds/command/poll.rs", "poll"),
            ("shared/src/kernel/body.rs", "write"),
            ("shared/src/kernel/rewrite.rs", "finish"),
        ],
    ),
    (
        "one pass over much shared state, which parts would have to hand around",
        &[
            ("browser-node/src/runtime.rs", "start"),
            ("relay/src/http/listener.rs", "connection"),
            ("shared/net/src/frames.rs", "read"),
            ("shared/src/kernel/measure.rs", "measure"),
            ("shared/src/job/kinds/sort/kernel.rs", "run"),
        ],
    ),
];

/// Files that are longer than the rule says.
pub(super) const LONG_FILES: &[(&str, &str)] = &[
    ("relay/src/http/intake/table.rs", "the table of who may send how much, whose numbers belong together"),
    ("relay/src/store/tests.rs", "what becomes of a store, in every way in which one can be left"),
    ("relay/src/store/writer.rs", "one thread and its queue"),
];

/// Files that may allow instead of expect.
pub(super) const PERMISSIONS: &[(&str, &str)] =
    &[("relay/tests/support/mod.rs", "each test program uses a part of it, and none all")];

/// Crates that are depended on without being named: by folder and name.
pub(super) const UNNAMED: &[(&str, &str, &str)] = &[
    ("browser-node/", "log", "only to leave its words out of the page"),
    ("browser-node/", "tracing", "only to leave its words out of the page"),
    ("kernels/formula_text/", "libm", "for the sources of `kernels/formula`, which it is made of too"),
    ("tests/differential/", "postcard", "for the words of a tab's workers, whose source is browser-node's"),
    ("relay/", "sqlx-sqlite", "only for migrations, which sqlx itself has for all databases or none"),
];

/// Libraries that are not called what their packages are.
pub(super) const LIBRARIES: &[(&str, &str)] = &[("p2pnet", "p2pnet_native")];

/// Every number of a version, and what holds it.
pub(super) const VERSIONS: &[Version] = &[
    Version {
        file: "shared/src/kernel/mod.rs",
        name: "REWRITE_VERSION",
        held: Held::Bytes {
            file: "shared/tests/rewrite/v{}.txt",
            test: Test {
                file: "shared/src/kernel/tests/golden.rs",
                name: "the_same_modules_become_the_same_bytes_until_the_version_changes",
            },
        },
    },
    Version { file: "shared/src/node/requester/store.rs", name: "JOB_VERSION", held: record("job") },
    Version { file: "shared/src/node/requester/store.rs", name: "OVER_VERSION", held: record("over") },
    Version { file: "shared/src/node/requester/store.rs", name: "SPAN_VERSION", held: record("span") },
    Version { file: "shared/src/node/requester/finished.rs", name: "VERSION", held: record("finished") },
    Version {
        file: "shared/src/node/requester/store/before.rs",
        name: "VERSION",
        held: Held::Here(Test {
            file: "shared/src/node/requester/store/tests.rs",
            name: "records_of_before_there_were_envelopes_are_taken_over",
        }),
    },
    Version {
        file: "relay/src/store/database.rs",
        name: "SCHEMA_VERSION",
        held: Held::Here(Test {
            file: "relay/src/store/tests.rs",
            name: "databases_of_every_earlier_version_are_brought_up_to_date_however_large",
        }),
    },
    Version {
        file: "relay/src/engine/compiled.rs",
        name: "VERSION",
        // Names a folder of compiled code, which is made anew where it is not found.
        held: Held::Nothing,
    },
    Version {
        file: "relay/src/store/log.rs",
        name: "VERSION",
        // SQLite's own, of its write-ahead log: tests read what SQLite writes.
        held: Held::Nothing,
    },
    Version {
        file: "browser-node/src/store.rs",
        name: "VERSION",
        // Of a database with one table of names and bytes; the records in it have versions of their own.
        held: Held::Nothing,
    },
];

/// A record of the store: its bytes lie in a file for each version.
const fn record(noun: &'static str) -> Held {
    let file = match noun.as_bytes() {
        b"job" => "shared/tests/records/job.v{}.hex",
        b"over" => "shared/tests/records/over.v{}.hex",
        b"span" => "shared/tests/records/span.v{}.hex",
        _ => "shared/tests/records/finished.v{}.hex",
    };
    let test = Test {
        file: "shared/src/node/requester/store/tests/golden.rs",
        name: "what_every_version_wrote_is_read_and_this_one_writes_the_same",
    };
    Held::Bytes { file, test }
}
