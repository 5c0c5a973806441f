//! Kernels that use what today's compilers write beyond WebAssembly 2.0, and what the rewrite adds for programs.

/// By name, text.
pub fn features() -> Vec<(&'static str, String)> {
    let kernel = |extra: &str, run: &str| {
        format!(
            r#"(module {extra} (func (export "alloc") (param i32) (result i32) (i32.const 1024))
              (func (export "run") (param $ptr i32) (param $len i32) (result i64) (local $i i32) (local $x i64) {run}))"#
        )
    };
    let one = |extra: &str, run: &str| kernel(&format!(r#"(memory (export "memory") 1) {extra}"#), run);
    let eight = "(i64.or (i64.const 8) (i64.shl (i64.const 8) (i64.const 32)))";
    vec![
        (
            "tail calls, a million of them",
            one(
                "(type $both (func (param i32 i64) (result i64))) (table 1 funcref) (elem (i32.const 0) $count)
                (func $count (param i32 i64) (result i64)
                  (if (i32.eqz (local.get 0)) (then (return (local.get 1))))
                  (return_call $again (i32.sub (local.get 0) (i32.const 1)) (i64.add (local.get 1) (i64.const 2))))
                (func $again (param i32 i64) (result i64) (local v128 f64)
                  (return_call_indirect (type $both) (local.get 0) (local.get 1) (i32.const 0)))",
                &format!("(i64.store (i32.const 8) (call $count (i32.const 1000000) (i64.const 0))) {eight}"),
            ),
        ),
        ("tail calls without end", one("(func $f (return_call $g)) (func $g (return_call $f))", "(call $f) (unreachable)")),
        (
            "a tail call with more parameters than its caller has",
            one(
                &format!(
                    "(func $wide (param {}) (result i64) (i64.add (local.get 0) (local.get 39)))
                    (func $narrow (param i64) (result i64) (return_call $wide {} (local.get 0)))",
                    "i64 ".repeat(40),
                    "(i64.const 3) ".repeat(39)
                ),
                &format!("(i64.store (i32.const 8) (call $narrow (i64.const 39))) {eight}"),
            ),
        ),
        (
            "two memories, copied between and grown by turns",
            kernel(
                r#"(memory $own 1) (memory $host (export "memory") 1) (data (memory $own) (i32.const 65532) "last")"#,
                "(memory.copy $host $own (i32.const 8) (i32.const 65532) (i32.const 4))
                (memory.fill $own (i32.const 0) (i32.const 7) (i32.const 1000))
                (memory.copy $host $own (i32.const 12) (i32.const 0) (i32.const 4))
                (loop $more (drop (memory.grow $own (i32.const 1))) (drop (memory.grow $host (i32.const 2)))
                  (i32.store $own (i32.sub (i32.mul (memory.size $own) (i32.const 65536)) (i32.const 4)) (i32.const 9))
                  (br_if $more (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 40))))
                (i64.or (i64.const 8) (i64.shl (i64.const 8) (i64.const 32)))",
            ),
        ),
        (
            "two memories beyond the limit of both",
            kernel(
                r#"(memory (export "memory") 1) (memory $other 1)"#,
                "(loop $more (drop (memory.grow $other (i32.const 64))) (drop (memory.grow 0 (i32.const 64))) (br $more))
                (unreachable)",
            ),
        ),
        (
            "the gas used, asked in a loop",
            one(
                r#"(func $used (export "gas_used") (result i64) (i64.const 0))"#,
                "(loop $more
                  (i64.store (i32.add (i32.const 8) (i32.shl (i32.rem_u (local.get $i) (i32.const 64)) (i32.const 3))) (call $used))
                  (br_if $more (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 300000))))
                (i64.or (i64.const 512) (i64.shl (i64.const 8) (i64.const 32)))",
            ),
        ),
        (
            "references to nothing of the host's",
            one(
                "(table $t 2 10 externref) (global $g (mut externref) (ref.null extern))
                (elem $e externref (ref.null extern) (ref.null extern))
                (func $through (param externref) (result externref)
                  (select (result externref) (local.get 0) (ref.null extern) (i32.const 1)))",
                &format!(
                    "(table.init $t $e (i32.const 0) (i32.const 0) (i32.const 2))
                    (global.set $g (call $through (table.get $t (i32.const 1))))
                    (i32.store (i32.const 8) (table.grow $t (global.get $g) (i32.const 5)))
                    (i32.store (i32.const 12) (i32.add (table.size $t) (ref.is_null (global.get $g)))) {eight}"
                ),
            ),
        ),
        (
            "a table of a million elements, filled and called",
            one(
                "(table $t 1000000 funcref) (elem (i32.const 999999) $f) (type $t (func (result i64)))
                (func $f (result i64) (i64.const 5))",
                &format!(
                    "(table.fill $t (i32.const 500000) (table.get $t (i32.const 999999)) (i32.const 1000))
                    (i64.store (i32.const 8) (call_indirect $t (type $t) (i32.const 500999))) {eight}"
                ),
            ),
        ),
        (
            "constants that are computed",
            one(
                r#"(global $g i32 (i32.mul (i32.add (i32.const 3) (i32.const 4)) (i32.const 6)))
                (data (offset (i32.sub (i32.const 20) (i32.const 8))) "four") (tag (export "unused") (param i32))"#,
                &format!("(i32.store (i32.const 8) (global.get $g)) {eight}"),
            ),
        ),
        (
            "ten thousand calls inside one another",
            one(
                &format!(
                    "(func $deep (param i32) (result i64) (local {}) {}
                      (if (result i64) (i32.eqz (local.get 0)) (then (i64.const 0))
                        (else (call $deep (i32.sub (local.get 0) (i32.const 1))))) {})",
                    "i64 ".repeat(180),
                    (1..=180)
                        .map(|n| format!("(local.set {n} (i64.load (i32.const {})))", 2048 + 8 * n))
                        .collect::<String>(),
                    (1..=180).map(|n| format!("(i64.add (i64.add (local.get {n}) (i64.const {n})))")).collect::<String>(),
                ),
                &format!("(i64.store (i32.const 8) (call $deep (i32.const 10000))) {eight}"),
            ),
        ),
    ]
}
