//! Examples that work as they stand, so that nobody faces an empty form.

use super::draft::{Advanced, Content, Draft, Formulas, Matrix, Naming, Program, Tab};
use crate::text::{Text, new_job as say};

/// A program of 264 bytes for `wasm32-wasip1`: until `fd_read` from standard input gives nothing, it swaps the case of
/// the ASCII letters read and hands them to `fd_write` on standard output.
const SWAP_CASE: &str = "AGFzbQEAAAABDAJgBH9/f38Bf2AAAAJEAhZ3YXNpX3NuYXBzaG90X3ByZXZpZXcxB2ZkX3JlYWQAABZ3YXNpX3NuYXBzaG90X3ByZXZpZXcxCGZkX3dyaXRlAAADAgEBBQMBAAIHEwIGbWVtb3J5AgAGX3N0YXJ0AAIKiwEBiAEBA38CQANAQQBBwAA2AgBBBEGAgAQ2AgBBAEEAQQFBCBAADQFBCCgCAEUNAUHAACEAQcAAQQgoAgBqIQEDQCAALQAAIQIgAkEgckHhAGtBGkkEQCAAIAJBIHM6AAALIABBAWohACAAIAFJDQALQQRBCCgCADYCAEEBQQBBAUEMEAENAQwACwsL";

/// A kernel of 191 bytes that makes ASCII letters upper case; its source:
///
/// ```wat
/// (module
///   (memory (export "memory") 1)
///   (global $free (mut i32) (i32.const 1024))
///   (func (export "alloc") (param $len i32) (result i32) …)       ;; bumps $free, grows memory
///   (func (export "run") (param $at i32) (param $len i32) (result i64)
///     …                                                           ;; a - z become A - Z in place
///     (i64.or (i64.shl (i64.extend_i32_u (local.get $at)) (i64.const 32)) (i64.extend_i32_u (local.get $len)))))
/// ```
const UPPER_CASE: &str = "AGFzbQEAAAABDAJgAX8Bf2ACf38BfgMDAgABBQMBAAEGBwF/AUGACAsHGAMGbWVtb3J5AgAFYWxsb2MAAANydW4AAQp6AjABAX8jACEBIAEgA\
                          GokAAJAIwA/AEEQdE0NAEF/QQEgAEEQdmpAAEcNAEEADwsgAQtHAQJ/AkADQCACIAFPDQEgACACai0AACEDIANB4QBrQRpJBEAgACACaiA\
                          DQSBrOgAACyACQQFqIQIMAAsLIACtQiCGIAGthAs=";

/// What the form holds when it is first opened.
pub fn first() -> Draft {
    Draft {
        tab: Tab::Range,
        range: formulas("1", "10000000", "", "x", "", "sum"),
        map: formulas("", "", "1, 2, 3, 4, 5, 6, 7, 8, 9, 10", "x*x + 1", "", ""),
        map_reduce: formulas("", "", "3, 1, 2, 8, 5, 13", "x*x", "x > 1", "average"),
        matrix: Matrix { op: "multiply".into(), a: typed("1 2\n3 4"), b: typed("5 6\n7 8") },
        kernel: Program {
            module: typed(UPPER_CASE),
            args: String::new(),
            input: typed("all who are willing\nlend each other\na little of their power"),
            split: "lines".into(),
            block: "65536".into(),
            merge: "concat".into(),
            ok_exit_codes: String::new(),
        },
        command: Program {
            module: typed(SWAP_CASE),
            args: String::new(),
            input: typed("One\nTWO\nthree"),
            split: "lines".into(),
            block: "65536".into(),
            merge: "concat".into(),
            ok_exit_codes: String::new(),
        },
        json: "{\n  \"kind\": \"range_reduce\",\n  \"start\": 1,\n  \"end\": 1000000,\n  \"map\": \"x\",\n  \"where\": \"is_prime(x)\",\n  \"reduce\": \"count\"\n}"
            .into(),
        naming: Naming::default(),
        advanced: Advanced::default(),
    }
}

/// An example: its name and what it puts into the form.
pub type Example = (Text, Fill);

/// What an example puts into the form.
#[derive(Clone, Copy)]
pub enum Fill {
    /// What is written here.
    Here(fn(&mut Draft)),
    /// A program of `kernels/commands`, which the relay has beside the page.
    Shipped { program: &'static str, args: &'static str, input: &'static str, split: &'static str },
}

/// The examples of a tab.
pub fn of(tab: Tab) -> &'static [Example] {
    match tab {
        Tab::Range => RANGE,
        Tab::Map => MAP,
        Tab::MapReduce => MAP_REDUCE,
        Tab::Matrix => MATRIX,
        Tab::Kernel => KERNEL,
        Tab::Command => COMMAND,
        Tab::Json => &[],
    }
}

const RANGE: &[Example] = &[
    (say::EXAMPLE_SUM, Fill::Here(|draft| draft.range = formulas("1", "10000000", "", "x", "", "sum"))),
    (say::EXAMPLE_PRIMES, Fill::Here(|draft| draft.range = formulas("1", "1000000", "", "x", "is_prime(x)", "count"))),
    (say::EXAMPLE_ROOTS, Fill::Here(|draft| draft.range = formulas("1", "1000000", "", "sqrt(x)", "", "average"))),
];

const MAP: &[Example] = &[
    (say::EXAMPLE_SQUARES, Fill::Here(|draft| draft.map = first().map)),
    (
        say::EXAMPLE_PARITY,
        Fill::Here(|draft| {
            draft.map = formulas("", "", "6, 7, 19, 27, 97, 871", "if(x % 2 == 0, x // 2, 3*x + 1)", "", "");
        }),
    ),
    (
        say::EXAMPLE_TEXTS,
        Fill::Here(|draft| {
            let words = r#"["many hands", "light work", "one by one"]"#;
            draft.map = formulas("", "", words, r#"upper(replace(x, " ", "-"))"#, "len(x) > 5", "");
        }),
    ),
];

const MAP_REDUCE: &[Example] = &[
    (say::EXAMPLE_SQUARES, Fill::Here(|draft| draft.map_reduce = first().map_reduce)),
    (
        say::EXAMPLE_LARGEST,
        Fill::Here(|draft| {
            draft.map_reduce = formulas("", "", "12, 35, 81, 1024, 4095, 65537", "x % 97", "", "max");
        }),
    ),
];

const MATRIX: &[Example] = &[
    (say::EXAMPLE_PRODUCT, Fill::Here(|draft| draft.matrix = first().matrix)),
    (
        say::EXAMPLE_RANDOM,
        Fill::Here(|draft| {
            draft.matrix = Matrix { op: "multiply".into(), a: typed(random(96)), b: typed(random(96)) };
        }),
    ),
    (
        say::EXAMPLE_INVERSE,
        Fill::Here(|draft| {
            draft.matrix = Matrix { op: "inverse".into(), a: typed("4 7 2\n3 6 1\n2 5 3"), b: typed("") };
        }),
    ),
];

const COMMAND: &[Example] = &[
    (say::EXAMPLE_SWAP, Fill::Here(|draft| draft.command = first().command)),
    (
        say::EXAMPLE_FREQUENCIES,
        Fill::Shipped {
            program: "frequencies",
            args: "--top\n5",
            input: "all who are willing\nlend each other\na little of their power\nand all who lend may borrow",
            split: "none",
        },
    ),
    (
        say::EXAMPLE_STATISTICS,
        Fill::Shipped {
            program: "statistics",
            args: "-d\n4",
            input: "3, 1, 4, 1, 5, 9, 2, 6\n2, 7, 1, 8, x",
            split: "lines",
        },
    ),
    (
        say::EXAMPLE_DARTS,
        Fill::Shipped {
            program: "darts",
            args: "",
            input: "1000000\n1000000\n1000000\n1000000\n1000000\n1000000\n1000000\n1000000",
            split: "lines",
        },
    ),
    (
        say::EXAMPLE_SURROUNDINGS,
        Fill::Shipped {
            program: "surroundings",
            args: "one\ntwo words",
            input: "first part\nsecond part",
            split: "lines",
        },
    ),
];

const KERNEL: &[Example] = &[(say::EXAMPLE_UPPER, Fill::Here(|draft| draft.kernel = first().kernel))];

impl Program {
    /// A shipped example in the form.
    pub fn shipped(module: Content, args: &str, input: &str, split: &str) -> Self {
        Self {
            module,
            args: args.into(),
            input: typed(input),
            split: split.into(),
            block: "65536".into(),
            merge: "concat".into(),
            ok_exit_codes: String::new(),
        }
    }
}

fn formulas(start: &str, end: &str, data: &str, map: &str, filter: &str, reduce: &str) -> Formulas {
    Formulas {
        start: start.into(),
        end: end.into(),
        data: typed(data),
        map: map.into(),
        filter: filter.into(),
        reduce: reduce.into(),
    }
}

fn typed(text: impl Into<String>) -> Content {
    Content::Typed(text.into())
}

/// A square matrix of digits.
fn random(side: usize) -> String {
    let digit = || {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // 0 to 9
        let digit = (js_sys::Math::random() * 10.0) as u8;
        digit.min(9).to_string()
    };
    let row = || (0..side).map(|_| digit()).collect::<Vec<_>>().join(" ");
    (0..side).map(|_| row()).collect::<Vec<_>>().join("\n")
}
