//! Golden names of what the rewrite makes of fixed modules. Nodes of one [`REWRITE_VERSION`] must write the same bytes, or they
//! would count otherwise: whoever changes the rewrite raises the version, and with it these names.

use super::*;

/// A module for each part of the rewrite: by name, text, name of what comes of it.
const GOLDEN: &[(&str, &str, &str)] = &[
    (
        "gas in loops and around calls",
        "(func $leaf (param i32) (result i32) (i32.mul (local.get 0) (i32.const 3)))
         (func (export \"f\") (param i32) (result i32) (local i32 i64)
           (loop $outer
             (loop $inner (br_if $inner (i32.lt_u (local.tee 1 (i32.add (local.get 1) (i32.const 1))) (local.get 0))))
             (local.set 1 (call $leaf (local.get 1)))
             (br_if $outer (i32.lt_u (local.get 1) (i32.const 1000))))
           (if (i32.eqz (local.get 0)) (then (return (i32.const 7))) (else (unreachable)))
           (local.get 1))",
        "d56e2b29efad428678fbacf2ae4fa323ba00b007985988eb49af50a66e9f157d",
    ),
    (
        "NaNs, scalar and vector",
        "(memory 1)
         (func (export \"f\") (param f32 f64 i32) (result f64) (local f64 v128)
           (loop $l (local.set 3 (f64.add (local.get 3) (f64.mul (local.get 1) (f64.const 2))))
             (br_if $l (local.tee 2 (i32.sub (local.get 2) (i32.const 1)))))
           (f32.store (i32.const 0) (f32.sqrt (local.get 0)))
           (local.set 4 (f32x4.div (local.get 4) (v128.load (i32.const 16))))
           (v128.store (i32.const 32) (f64x2.neg (f64x2.promote_low_f32x4 (local.get 4))))
           (f64.copysign (f64.sub (local.get 3) (f64.const 1)) (local.get 1)))",
        "4cff84abcfd56d50cf6eeae3ccb94f9dbfe7cd489b4fa6526562312e2e59fb2d",
    ),
    (
        "lengths, growth, tables and branch tables",
        "(memory 1 9) (table $t 4 funcref) (elem (i32.const 1) $g) (data $d \"passive\") (data (i32.const 8) \"active\")
         (func $g (param i32) (result i64 i32)
           (block $a (result i64 i32) (block $b (result i64 i32)
             (i64.const 1) (i32.const 2) (br_table $a $b $a (local.get 0))) (drop) (i32.const 3)))
         (func (export \"f\") (param i32)
           (memory.fill (i32.const 0) (i32.const 1) (local.get 0)) (memory.copy (i32.const 0) (i32.const 9) (local.get 0))
           (memory.init $d (i32.const 0) (i32.const 0) (i32.const 3)) (data.drop $d)
           (drop (memory.grow (local.get 0))) (drop (table.grow $t (ref.null func) (local.get 0)))
           (i32.const 1) (call_indirect $t (param i32) (result i64 i32) (i32.const 1)) (drop) (drop)
           (v128.store8_lane 3 (i32.const 0) (v128.const i64x2 1 2))
           (drop (select (local.get 0) (i32.const 1) (i32.eqz (local.get 0))))
           (drop (f64.convert_i64_u (i64.extend_i32_u (local.get 0)))))
         (func $start) (start $start)",
        "b37574c2125950e8f1ff0fb77501807b1b4ad0bfda34e64ad6ae69e0afcbf682",
    ),
    (
        "tail calls",
        "(func $f (param i32) (result i32) (if (local.get 0) (then (return_call $g (local.get 0)))) (i32.const 1))
         (func $g (param i32) (result i32) (return_call_indirect (param i32) (result i32) (local.get 0) (i32.const 0)))
         (table 1 funcref) (elem (i32.const 0) $f) (export \"f\" (func $f))",
        "bf4c50bb6d8afe04cdb3f6e81be36567e64db57acb8547b570be761eba23b1bb",
    ),
    (
        "two memories and the gas used",
        "(memory $own 1 3) (memory $host (export \"memory\") 2) (func $u (export \"gas_used\") (result i64) (i64.const 1))
         (data (memory $host) (i32.const 5) \"host\")
         (func (export \"f\") (param i32)
           (memory.copy $own $host (i32.const 0) (i32.const 5) (local.get 0)) (drop (memory.grow $own (i32.const 1)))
           (drop (memory.grow $host (local.get 0))) (v128.store16_lane $host 1 (i32.const 0) (v128.const i64x2 1 2))
           (i64.store $own (i32.const 8) (call $u)))",
        "079127311f5fceddce0b688613d0a995b14aaf075f97800bf535e150a2e515a1",
    ),
    (
        "what is written in older terms",
        "(table $t 2 10 externref) (global $g (mut externref) (ref.null extern)) (elem $e externref (ref.null extern))
         (global i64 (i64.add (i64.const 1) (i64.mul (i64.const 2) (i64.const 3)))) (memory 1) (tag (export \"t\") (param i32))
         (data (offset (i32.add (i32.const 1) (i32.const 2))) \"computed\")
         (func (export \"f\") (param externref) (result externref) (local externref)
           (table.init $t $e (i32.const 0) (i32.const 0) (i32.const 1))
           (block (result externref) (select (result externref) (local.get 0) (ref.null extern) (ref.is_null (global.get $g)))))",
        "c338b8a2d7b58e9915c4ede9a3ad40f00222c259d9d8854debecaa06192310b4",
    ),
];

#[test]
fn the_same_modules_become_the_same_bytes_until_the_version_changes() {
    assert_eq!(REWRITE_VERSION, 8, "a new version: write the new names down");
    let found: Vec<(&str, String)> = GOLDEN
        .iter()
        .map(|(name, text, _)| {
            let module = wat::parse_str(format!("(module {text})")).unwrap();
            (*name, Hash::of(&rewrite(&module).unwrap()).to_string())
        })
        .collect();
    let golden: Vec<(&str, String)> = GOLDEN.iter().map(|(name, _, golden)| (*name, (*golden).to_owned())).collect();
    assert_eq!(found, golden, "the rewrite has changed: raise REWRITE_VERSION, then write the new names down");
}

#[test]
fn many_segments_become_the_same_bytes_until_the_version_changes() {
    let data: String =
        (0..50_100u32).map(|number| format!("(data (i32.const {}) \"ab\")", number * 40 % 130_001)).collect();
    let module = wat::parse_str(format!("(module (memory 3) {data})")).unwrap();
    assert_eq!(
        Hash::of(&rewrite(&module).unwrap()).to_string(),
        "d5b9d164274d629333404e5eca220f1eec81a52374088bbfcb16c35c93dd666c"
    );
}
