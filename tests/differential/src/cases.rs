//! What the engines are compared on besides the official suite and random modules: every float operation with every
//! kind of NaN, this repository's kernels, recursion down to the bound, memory up to the limit.

use anyhow::{Context, Result, anyhow};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use p2pnet_shared::{
    engine::{Common, Input, Limits},
    id::Hash,
    job::{
        Done,
        kinds::{self, command},
    },
    kernel::{self, PAGE_BYTES},
    units::{Gas, Span},
};
use p2pnet_test_kernels::programs::{Program, programs};
use wasmparser::ValType;

use crate::{
    compare::Pair,
    features::features,
    floats,
    machine::{Machine, Value},
};

/// Operations that give a float, by their number of operands.
const BINARY: [&str; 7] = ["add", "sub", "mul", "div", "min", "max", "copysign"];
const UNARY: [&str; 7] = ["sqrt", "ceil", "floor", "trunc", "nearest", "neg", "abs"];
const VECTOR_BINARY: [&str; 8] = ["add", "sub", "mul", "div", "min", "max", "pmin", "pmax"];

const NANS_32: [u32; 12] = [
    0x7fc0_0000,
    0xffc0_0000,
    0x7f80_0001,
    0xff80_0001,
    0x7fa0_0000,
    0xffff_ffff,
    0x7f80_0000,
    0xff80_0000,
    0,
    0x8000_0000,
    0x3f80_0000,
    0xc000_0000,
];
const NANS_64: [u64; 12] = [
    0x7ff8 << 48,
    0xfff8 << 48,
    (0x7ff0 << 48) | 1,
    (0xfff0 << 48) | 1,
    0x7ff4 << 48,
    u64::MAX,
    0x7ff0 << 48,
    0xfff0 << 48,
    0,
    0x8000 << 48,
    0x3ff0 << 48,
    0xc000 << 48,
];

/// Calls that [`nans`] makes.
pub const NAN_CALLS: usize = 60 * 144;

/// Every float operation, scalar and vector, with every pair of operands. An error is a difference.
pub fn nans(machines: [&dyn Machine; 2]) -> Result<()> {
    let mut functions = String::new();
    for (float, int) in [("f32", "i32"), ("f64", "i64")] {
        for operation in BINARY {
            functions += &format!(
                "(func (export \"{float}.{operation}\") (param {int} {int}) (result {int})
                    ({int}.reinterpret_{float} ({float}.{operation} ({float}.reinterpret_{int} (local.get 0)) ({float}.reinterpret_{int} (local.get 1)))))"
            );
        }
        for operation in UNARY {
            functions += &format!(
                "(func (export \"{float}.{operation}\") (param {int} {int}) (result {int})
                    ({int}.reinterpret_{float} ({float}.{operation} ({float}.reinterpret_{int} (local.get 0)))))"
            );
        }
    }
    functions += "(func (export \"f32.demote\") (param i64 i64) (result i32) (i32.reinterpret_f32 (f32.demote_f64 (f64.reinterpret_i64 (local.get 0)))))";
    functions += "(func (export \"f64.promote\") (param i32 i32) (result i64) (i64.reinterpret_f64 (f64.promote_f32 (f32.reinterpret_i32 (local.get 0)))))";
    for (float, int) in [("f32x4", "i32x4"), ("f64x2", "i64x2")] {
        let scalar = &int[..3];
        for operation in VECTOR_BINARY {
            functions += &format!(
                "(func (export \"{float}.{operation}\") (param {scalar} {scalar}) (result v128)
                    ({float}.{operation} ({int}.splat (local.get 0)) ({int}.replace_lane 1 ({int}.splat (local.get 1)) ({scalar}.const 7))))"
            );
        }
        for operation in UNARY {
            functions += &format!(
                "(func (export \"{float}.{operation}\") (param {scalar} {scalar}) (result v128)
                    ({float}.{operation} ({int}.replace_lane 1 ({int}.splat (local.get 0)) (local.get 1))))"
            );
        }
    }
    let rewritten = rewrite(&format!("(module {functions})"))?;
    let mut pair = Pair::start(machines, &rewritten, i64::MAX, 0)?;
    for (name, parameters) in pair.exports().functions.clone() {
        for first in 0..NANS_32.len() {
            for second in 0..NANS_32.len() {
                let value = |place: usize, ty: &ValType| {
                    if *ty == ValType::I32 {
                        Value::I32(NANS_32[place].cast_signed())
                    } else {
                        Value::I64(NANS_64[place].cast_signed())
                    }
                };
                let arguments = [value(first, &parameters[0]), value(second, &parameters[1])];
                pair.call(&name, &arguments)?.map_err(|ended| anyhow!("{name} ended: {ended:?}"))?;
            }
        }
    }
    Ok(())
}

/// Floats carried through locals, loops and branches by the functions of [`floats`], with NaNs among them. Gives the number
/// of calls. An error is a difference.
pub fn carried_nans(machines: [&dyn Machine; 2], modules: u64) -> Result<usize> {
    let mut calls = 0;
    for seed in 0..modules {
        let rewritten = rewrite(&floats::module(seed))?;
        calls += carried(machines, [&rewritten; 2]).with_context(|| format!("floats of seed {seed}"))?;
    }
    Ok(calls)
}

/// The input of a call of a [`Case`].
pub fn input<'a>(common: &'a [u8], own: &'a [u8]) -> Input<'a> {
    Input { common: Some(Common { name: Hash::of(common), bytes: common }), own }
}

/// Compares two forms of such a module.
pub fn carried(machines: [&dyn Machine; 2], forms: [&[u8]; 2]) -> Result<usize> {
    let mut calls = 0;
    for rounds in [0, 1, 3] {
        for nan in NANS_64 {
            let mut pair = Pair::start_each(machines, forms, i64::MAX, 1)?;
            let arguments =
                [Value::I64(nan.cast_signed()), Value::I64(nan.rotate_left(32).cast_signed()), Value::I32(rounds)];
            pair.call("run", &arguments)?.map_err(|ended| anyhow!("it ended: {ended:?}"))?;
            calls += 1;
        }
    }
    Ok(calls)
}

/// One job of each kernel of this repository, with input that reaches its loops, floats and failures.
const JOBS: &[&str] = &[
    r#"{"kind":"range_reduce","start":1,"end":20000,"map":"x","where":"x % 2 == 0","reduce":"sum"}"#,
    r#"{"kind":"range_reduce","start":1,"end":3000,"map":"sqrt(x) / 3","where":"is_prime(x)","reduce":"average"}"#,
    r#"{"kind":"range_reduce","start":1,"end":60,"map":"x ** 9","reduce":"product"}"#,
    r#"{"kind":"map","data":[1,2,3,-7,2.5],"map":"if(x > 2, x*x + 1, abs(x) / 0.3)"}"#,
    r#"{"kind":"map","data":[0,1],"map":"1 / x"}"#,
    r#"{"kind":"map_reduce","data":[3,1,2],"map":"x*x","where":"x > 1","reduce":"average"}"#,
    r#"{"kind":"matrix","op":"multiply","a":[[1,2],[3,4]],"b":[[5,6],[7,8]]}"#,
    r#"{"kind":"matrix","op":"multiply","a":[[1.5,2e300],[3,4]],"b":[[5,6e300],[7,8]]}"#,
    r#"{"kind":"matrix","op":"inverse","a":[[4,7,1],[2,6,0.5],[1,1,3]]}"#,
    r#"{"kind":"matrix","op":"determinant","a":[[4,7,1],[2,6,5],[1,1,3]]}"#,
    r#"{"kind":"matrix","op":"lu","a":[[4,7,1],[2,6,0.5],[1,1,3]]}"#,
    r#"{"kind":"matrix","op":"qr","a":[[4,7,1],[2,6,0.5],[1,1,3]]}"#,
    r#"{"kind":"matrix","op":"eigenvalues","a":[[4,1,0.5],[1,3,2],[0.5,2,1]]}"#,
    r#"{"kind":"map","data":[0.5,-3,1e22,1e300],"map":"sin(x) + cos(x) * tan(x) - exp(x) / ln(x) + log10(x) ** 0.5"}"#,
    r#"{"kind":"map","data":["straße","Привет",""],"map":"replace(upper(trim(x)), 'S', 'z')"}"#,
];

/// The example programs, with arguments and input: one that ends by itself, one that ends by an exit code from deep inside,
/// and one that asks for clock, chance, files and network.
const COMMANDS: &[(&str, &[u8], &str, &str)] = &[
    (
        "frequencies",
        include_bytes!("../../../kernels/commands/built/frequencies.wasm"),
        r#"["--top","2"]"#,
        "b a b c b a",
    ),
    ("statistics", include_bytes!("../../../kernels/commands/built/statistics.wasm"), "[]", "1 2.5 -3"),
    ("statistics", include_bytes!("../../../kernels/commands/built/statistics.wasm"), "[]", ""),
    ("darts", include_bytes!("../../../kernels/commands/built/darts.wasm"), "[]", "1000"),
    ("surroundings", include_bytes!("../../../kernels/commands/built/surroundings.wasm"), r#"["a"]"#, "x"),
];

/// A kernel and what it is called with.
pub struct Case {
    /// For messages.
    pub name: String,
    /// The kernel, as it was before the rewrite.
    pub kernel: Vec<u8>,
    /// Parts of the input of each call.
    pub inputs: Vec<[Vec<u8>; 2]>,
    /// Limits of each call.
    pub limits: Limits,
}

/// A kernel that is prepared with a table: it adds up its bytes, in as many rounds as there are, and each call gives that sum,
/// how often it was asked in this instance, and its own first byte.
const PREPARED: &str = r#"(module
    (memory (export "memory") 3)
    (global $free (mut i32) (i32.const 1024))
    (global $sum (mut i32) (i32.const 0))
    (func (export "alloc") (param i32) (result i32)
        (global.get $free) (global.set $free (i32.add (global.get $free) (local.get 0))))
    (func (export "init") (param $at i32) (param $len i32)
        (local $end i32)
        (local.set $end (i32.add (local.get $at) (local.get $len)))
        (block $done (loop $next
            (br_if $done (i32.ge_u (local.get $at) (local.get $end)))
            (global.set $sum (i32.add (global.get $sum) (i32.load8_u (local.get $at))))
            (local.set $at (i32.add (local.get $at) (i32.const 1)))
            (br $next)))
        (i32.store (i32.const 150000) (global.get $sum)))
    (func (export "run") (param $at i32) (param $len i32) (result i64)
        (i32.store (i32.const 150004) (i32.add (i32.load (i32.const 150004)) (i32.const 1)))
        (i32.store8 (i32.const 150008) (i32.load8_u (local.get $at)))
        (global.set $sum (i32.const 0))
        (i64.or (i64.shl (i64.const 150000) (i64.const 32)) (i64.const 9))))"#;

/// Jobs on all kernels of this repository. Each call gives an output.
pub fn repository() -> Result<Vec<Case>> {
    let commands = COMMANDS.iter().map(|(_, module, arguments, input)| {
        format!(
            r#"{{"kind":"command","module":"{}","args":{arguments},"input":"{}","split":"none"}}"#,
            STANDARD.encode(module),
            STANDARD.encode(input)
        )
    });
    let prepared = format!(
        r#"{{"kind":"kernel","kernel":"{}","common":"{}","input":"{}","split":"bytes:16"}}"#,
        STANDARD.encode(wat::parse_str(PREPARED)?),
        STANDARD.encode("a table that is read once"),
        STANDARD.encode("what is looked up in it, some of it ")
    );
    let jobs = JOBS.iter().map(|source| (*source).to_owned()).chain(commands).chain([prepared]);
    jobs.map(|source| {
        let job = kinds::read(&source, &|_| None).map_err(|refusal| anyhow!("{source:.120}: {refusal}"))?;
        let stage = job.stages.iter().next().context("a job without stages")?.stage.clone();
        let common = stage.common.map_or_else(Vec::new, |common| common.to_vec());
        let inputs = job.plan.inputs(Span { start: 0, end: stage.units }, &Done::new());
        Ok(Case {
            name: source.chars().take(120).collect(),
            kernel: stage.program.blob().to_vec(),
            inputs: inputs.into_iter().map(|input| [common.clone(), input]).collect(),
            limits: Limits::default(),
        })
    })
    .collect()
}

/// Programs that look at what WASI promises. Each gives an output.
pub fn wasi() -> Result<Vec<Case>> {
    let case = |program: Program| {
        let refused = |refusal| anyhow!("{}: {refusal}", program.name);
        Ok(Case {
            name: program.name.to_owned(),
            kernel: command::adapt(&program.module).map_err(refused)?,
            inputs: vec![[command::arguments(&[]).map_err(refused)?, command::part_input(0, program.input)]],
            limits: Limits::default(),
        })
    };
    programs().into_iter().map(case).collect()
}

/// Functions `deep` that call themselves for ever, with frames of every shape that an engine may lay out larger than the
/// rewrite weighs it: by name, text of the module.
pub fn recursions() -> Vec<(String, String)> {
    // Every level counts itself in memory, so that it also shows how deep it went.
    const COUNT: &str = "(i32.store (i32.const 0) (i32.add (i32.load (i32.const 0)) (i32.const 1)))";
    let times = |count: usize, text: &str| text.repeat(count);
    let locals = |from: usize, count: usize, text: &dyn Fn(usize) -> String| -> String {
        (from..from + count).map(text).collect()
    };
    let mut shapes = Vec::new();
    let mut shape = |name: &str, body: String, start: String, more: String| {
        shapes.push((
            format!("recursion of {name}"),
            format!(
                "(module (memory (export \"memory\") 2) {more} (func $deep {body})
                   (func (export \"alloc\") (param i32) (result i32) (i32.const 1024))
                   (func (export \"run\") (param i32 i32) (result i64) {start} (i64.const 0)))"
            ),
        ));
    };
    let plain = "(call $deep)".to_owned();
    shape("an empty frame", format!("{COUNT} (call $deep)"), plain.clone(), String::new());
    shape(
        "an indirect call",
        format!("{COUNT} (call_indirect (i32.const 0))"),
        plain.clone(),
        "(table 1 funcref) (elem (i32.const 0) $deep)".into(),
    );
    for ty in ["i32", "i64", "f64", "v128"] {
        let constant = if ty == "v128" { "(v128.const i64x2 1 2)".into() } else { format!("({ty}.const 1)") };
        shape(
            &format!("64 parameters of {ty}"),
            format!(
                "(param {}) {COUNT} (call $deep {})",
                times(64, &format!("{ty} ")),
                locals(0, 64, &|n| format!("(local.get {})", 63 - n))
            ),
            format!("(call $deep {})", times(64, &constant)),
            String::new(),
        );
        shape(
            &format!("16 results of {ty}"),
            format!("(result {}) {COUNT} (call $deep)", times(16, &format!("{ty} "))),
            format!("(call $deep) {}", times(16, "drop ")),
            String::new(),
        );
        let many = if ty == "v128" { 3_000 } else { 6_000 };
        // Set before the call and used behind it: none of them can be forgotten in between.
        let opaque =
            if ty == "v128" { "(v128.load (i32.const 16))".to_owned() } else { format!("({ty}.load (i32.const 16))") };
        shape(
            &format!("{many} locals of {ty}"),
            format!(
                "(local {}) {COUNT} {} (call $deep) {}",
                times(many, &format!("{ty} ")),
                locals(0, many, &|n| format!("(local.set {n} {opaque})")),
                locals(0, many, &|n| format!("({ty}.store (i32.const 16) (local.get {n}))"))
            ),
            plain.clone(),
            String::new(),
        );
        shape(
            &format!("{many} operands of {ty}"),
            format!(
                "(local $kept {ty}) {COUNT} {} (call $deep) {}",
                times(many, &opaque),
                times(many, &format!("local.set $kept ({ty}.store (i32.const 16) (local.get $kept)) "))
            ),
            plain.clone(),
            String::new(),
        );
    }
    // Vectors that no local, load or constant shows.
    shape(
        "3000 vectors among operands only",
        format!(
            "{COUNT} {} (call $deep) {}",
            times(3_000, "(i32x4.splat (i32.load (i32.const 16)))"),
            times(3_000, "i32x4.extract_lane 0 global.set $kept ")
        ),
        plain.clone(),
        "(global $kept (mut i32) (i32.const 0))".into(),
    );
    shape(
        "what the rewrite needs most locals for",
        format!(
            "(result f32) (local i32) {COUNT} (local.set 0 (i32.load (i32.const 16)))
             (loop (memory.fill (i32.const 64) (i32.const 1) (local.get 0)) (br_if 0 (local.get 0)))
             (f32.store (i32.const 20) (f32.add (call $deep) (f32.const 1)))
             (f64.store (i32.const 24) (f64.add (f64.load (i32.const 24)) (f64.const 1)))
             (v128.store (i32.const 32) (f32x4.add (v128.load (i32.const 32)) (v128.load (i32.const 32))))
             (v128.store (i32.const 48) (f64x2.add (v128.load (i32.const 48)) (v128.load (i32.const 48))))
             (f32.load (i32.const 20))"
        ),
        "(drop (call $deep))".into(),
        String::new(),
    );
    // It outlasts many slices of gas, so that the host's own code runs on top of the deepest levels as well.
    shape(
        "a leaf that works for some time",
        format!("{COUNT} (call $leaf) (call $deep)"),
        plain.clone(),
        "(func $leaf (local i32) (loop (br_if 0 (i32.lt_u
            (local.tee 0 (i32.add (local.get 0) (i32.const 1))) (i32.const 300)))))"
            .into(),
    );
    // Functions that call no other weigh nothing: each level also calls the largest of them.
    shape(
        "a large leaf",
        format!("{COUNT} (call $leaf) (call $deep)"),
        plain,
        format!(
            "(func $leaf (local {}) {} {})",
            times(3_900, "v128 "),
            locals(0, 3_900, &|n| format!("(local.set {n} (v128.load (i32.const 16)))")),
            locals(0, 3_900, &|n| format!("(v128.store (i32.const 16) (local.get {n}))"))
        ),
    );
    shapes
}

/// Kernels that want memory: by name, text of the module, pages that they may have.
pub fn growths() -> Vec<(&'static str, &'static str, u64)> {
    vec![
        (
            "page by page beyond the limit",
            r#"(module (memory (export "memory") 1)
                (func (export "alloc") (param i32) (result i32) (i32.const 1024))
                (func (export "run") (param i32 i32) (result i64)
                  (loop (drop (memory.grow (i32.const 1)))
                    (i32.store8 (i32.sub (i32.mul (memory.size) (i32.const 65536)) (i32.const 1)) (memory.size))
                    (br 0)) (unreachable)))"#,
            700,
        ),
        (
            "page by page up to its own maximum, which answers -1",
            r#"(module (memory (export "memory") 1 40)
                (func (export "alloc") (param i32) (result i32) (i32.const 1024))
                (func (export "run") (param i32 i32) (result i64)
                  (loop (br_if 0 (i32.ne (memory.grow (i32.const 1)) (i32.const -1))))
                  (i32.store (i32.const 0) (memory.size)) (i64.const 4)))"#,
            700,
        ),
        (
            "all of the default limit in large steps, and one page more",
            r#"(module (memory (export "memory") 1)
                (func (export "alloc") (param i32) (result i32) (i32.const 1024))
                (func (export "run") (param i32 i32) (result i64)
                  (drop (memory.grow (i32.const 1023)))
                  (loop
                    (i32.store8 (i32.sub (i32.mul (memory.size) (i32.const 65536)) (i32.const 1)) (i32.const 7))
                    (if (i32.eq (memory.size) (i32.const 8192)) (then
                      (drop (memory.grow (local.get 1)))
                      (return (i64.or (i64.shl (i64.extend_i32_u
                        (i32.sub (i32.mul (memory.size) (i32.const 65536)) (i32.const 3))) (i64.const 32)) (i64.const 3)))))
                    (drop (memory.grow (i32.const 1024))) (br 0)) (unreachable)))"#,
            8_192,
        ),
        (
            "more at the start than the limit",
            r#"(module (memory (export "memory") 701)
                (func (export "alloc") (param i32) (result i32) (i32.const 1024))
                (func (export "run") (param i32 i32) (result i64) (i64.const 0)))"#,
            700,
        ),
        (
            "all that 32 bits address, and its last byte as the output",
            r#"(module (memory (export "memory") 1)
                (func (export "alloc") (param i32) (result i32) (i32.const 1024))
                (func (export "run") (param i32 i32) (result i64)
                  (drop (memory.grow (i32.const 65535)))
                  (i32.store8 (i32.const -1) (i32.const 42))
                  (i64.or (i64.shl (i64.const 0xffffffff) (i64.const 32)) (i64.const 1))))"#,
            65_536,
        ),
    ]
}

/// Kernels that change all that they can, so that whatever a call leaves to the next one shows: by name, text.
pub fn leftovers() -> Vec<(String, String)> {
    const CHANGE: &str = r#"
        (global.set $i (i32.add (global.get $i) (i32.const 1))) (global.set $l (i64.add (global.get $l) (i64.const 1)))
        (global.set $f (f32.add (global.get $f) (f32.const 1))) (global.set $d (f64.add (global.get $d) (f64.const 1)))
        (global.set $v (i32x4.add (global.get $v) (v128.const i32x4 1 2 3 4)))
        (global.set $r (select (result funcref) (ref.null func) (ref.func $one) (ref.is_null (global.get $r))))
        (i32.store (i32.const 2048) (i32.add (i32.load (i32.const 2048)) (i32.const 1)))
        (i32.store (i32.const 65500) (i32.add (i32.load (i32.const 65500)) (i32.const 1)))"#;
    // Where all that can be seen of the state is written to, for an output of 64 bytes.
    const TELL: &str = r#"
        (i32.store (i32.const 0) (global.get $i)) (i64.store (i32.const 4) (global.get $l))
        (f32.store (i32.const 12) (global.get $f)) (f64.store (i32.const 16) (global.get $d))
        (v128.store (i32.const 24) (global.get $v)) (i32.store (i32.const 40) (ref.is_null (global.get $r)))
        (i32.store (i32.const 44) (i32.load (i32.const 2048))) (i32.store (i32.const 48) (i32.load (i32.const 65500)))
        (i32.store (i32.const 52) (memory.size)) (i32.store (i32.const 56) (call_indirect $t (result i32) (i32.const 0)))
        (i32.store (i32.const 60) (global.get $own))"#;
    [
        ("globals and memory", ""),
        ("a table", "(table.set $t (i32.const 0) (ref.func $two))"),
        ("a table, filled", "(table.fill $t (i32.const 0) (ref.func $two) (i32.const 1))"),
        (
            "a dropped segment",
            "(memory.init $passive (i32.const 2048) (i32.const 0) (i32.const 4)) (data.drop $passive)",
        ),
        (
            "a dropped segment of elements",
            "(table.init $t $spare (i32.const 0) (i32.const 0) (i32.const 1)) (elem.drop $spare)",
        ),
        ("a memory that has grown", "(drop (memory.grow (i32.const 1)))"),
        ("a memory that grows on longer inputs", "(drop (memory.grow (i32.gt_u (local.get 1) (i32.const 2))))"),
        ("a trap on longer inputs", "(if (i32.gt_u (local.get 1) (i32.const 2)) (then (unreachable)))"),
    ]
    .map(|(name, more)| {
        let text = format!(
            r#"(module (memory (export "memory") 1) (table $t 1 1 funcref) (elem (i32.const 0) $one)
              (elem $spare func $two) (data (i32.const 2048) "\02\00\00\00") (data $passive "\09\00\00\00")
              (global $i (mut i32) (i32.const -5)) (global $l (mut i64) (i64.const 6)) (global $own i32 (i32.const 7))
              (global $f (mut f32) (f32.const 0.5)) (global $d (mut f64) (f64.const -0.25))
              (global $v (mut v128) (v128.const i32x4 9 8 7 6)) (global $r (mut funcref) (ref.func $one))
              (func $one (result i32) (i32.const 1)) (func $two (result i32) (i32.const 2))
              (func $begin {CHANGE}) (start $begin) (func (export "_initialize") {CHANGE})
              (func (export "alloc") (param i32) (result i32) {CHANGE} (i32.const 1024))
              (func (export "run") (param i32 i32) (result i64) {CHANGE} {more} {TELL} (i64.const 64)))"#
        );
        (format!("what is left of {name}"), text)
    })
    .to_vec()
}

/// All of [`recursions`], [`growths`], [`leftovers`] and [`features`] as kernels. Some end in a trap.
pub fn bounds() -> Result<Vec<Case>> {
    let deep = recursions().into_iter().map(|(name, text)| (name, text, 8_192, vec![vec![0]]));
    let wide = growths().into_iter().flat_map(|(name, text, pages)| {
        // An input of one byte asks the third of them for one page more than there may be.
        [vec![], vec![0]]
            .map(|input| (format!("memory, {name}, {} bytes", input.len()), text.to_owned(), pages, vec![input]))
    });
    // Inputs longer and shorter in turns, so that calls of both kinds follow each other.
    let calls: Vec<Vec<u8>> = [1, 1, 3, 1, 2, 4, 4, 0].map(|length| vec![7; length]).to_vec();
    let new = features().into_iter().map(|(name, text)| (name.to_owned(), text, 8_192, vec![Vec::new(), vec![7; 3]]));
    let left = leftovers().into_iter().map(|(name, text)| (name, text, 8_192, calls.clone()));
    deep.chain(wide)
        .chain(left)
        .chain(new)
        .map(|(name, text, pages, inputs)| {
            let kernel = wat::parse_str(&text).with_context(|| name.clone())?;
            // What has no end is to end soon.
            let gas = if name.ends_with("without end") { Gas(50_000_000) } else { Limits::default().gas };
            let limits = Limits { gas, memory_bytes: pages * PAGE_BYTES, ..Limits::default() };
            let inputs = inputs.into_iter().map(|input| [Vec::new(), input]).collect();
            Ok(Case { name, kernel, inputs, limits })
        })
        .collect()
}

/// Recursion and growth as plain calls, after which the whole memory is compared as well. An error is a difference.
pub fn bounds_in_memory(machines: [&dyn Machine; 2], label: &dyn Fn(&str)) -> Result<usize> {
    let mut calls = 0;
    let deep = recursions().into_iter().map(|(name, text)| (name, text, 8_192));
    // Without the last: 4 GiB would be compared byte by byte.
    let wide = growths().into_iter().filter(|(_, _, pages)| *pages < 65_536);
    let wide = wide.map(|(name, text, pages)| (name.to_owned(), text.to_owned(), pages));
    for (name, text, pages) in deep.chain(wide) {
        label(&name);
        let rewritten = rewrite(&text).with_context(|| name.clone())?;
        let mut pair = Pair::start(machines, &rewritten, i64::MAX, i32::try_from(pages)?)?;
        let _ = pair.call("run", &[Value::I32(0), Value::I32(0)]).with_context(|| name.clone())?;
        calls += 1;
    }
    Ok(calls)
}

/// A kernel of [`features`] as plain calls, after which its whole memory is compared as well. An error is a difference.
pub fn as_plain_calls(machines: [&dyn Machine; 2], text: &str) -> Result<()> {
    let mut pair = Pair::start(machines, &rewrite(text)?, 50_000_000, 1_024)?;
    let _ = pair.call("run", &[Value::I32(1_024), Value::I32(3)])?;
    Ok(())
}

fn rewrite(text: &str) -> Result<Vec<u8>> {
    kernel::rewrite(&wat::parse_str(text)?).map_err(|refusal| anyhow!("{refusal}"))
}
