//! Random functions that carry floats through locals, loops, branches and lanes, with NaNs of every kind among them: what the
//! rewrite must know of to make NaNs canonical late.

use std::fmt::Write as _;

use crate::smith::Chance;

/// Locals of each type.
const LOCALS: usize = 4;
/// Statements in a function, about.
const STATEMENTS: usize = 30;
/// Blocks inside one another.
const MOST_DEPTH: usize = 4;

const TYPES: [&str; 3] = ["f32", "f64", "v128"];

/// A module in text form: `run(a: i64, b: i64, rounds: i32)` computes and leaves all its locals in memory.
pub fn module(seed: u64) -> String {
    let mut function =
        Function { chance: Chance(seed), text: String::new(), labels: Vec::new(), left: STATEMENTS, loops: 0 };
    while function.left > 0 {
        function.statement();
    }
    let body = function.text;
    let mut locals = String::new();
    let mut leave = String::new();
    for (place, ty) in TYPES.iter().enumerate() {
        for local in 0..LOCALS {
            let _ = write!(locals, "(local ${ty}{local} {ty})");
            let at = (place * LOCALS + local) * 16;
            let _ = write!(leave, "({ty}.store (i32.const {at}) (local.get ${ty}{local}))");
        }
    }
    let counters: String = (0..function.loops).map(|number| format!("(local $n{number} i32)")).collect();
    format!(
        "(module (memory (export \"memory\") 1)
            (func $keep (param f32 f64 v128) (result f64)
                (f32.store (i32.const 512) (local.get 0)) (f64.store (i32.const 520) (local.get 1))
                (v128.store (i32.const 528) (local.get 2)) (local.get 1))
            (func (export \"run\") (param $a i64) (param $b i64) (param $rounds i32) {locals} {counters} {body} {leave}))"
    )
}

struct Function {
    chance: Chance,
    text: String,
    /// Open blocks; whether each is a loop.
    labels: Vec<bool>,
    left: usize,
    loops: usize,
}

impl Function {
    fn statement(&mut self) {
        self.left = self.left.saturating_sub(1);
        let may_nest = self.labels.len() < MOST_DEPTH;
        match self.chance.below(20) {
            0 | 1 if may_nest => self.repeat(),
            2 if may_nest => self.nest("(block "),
            3 if may_nest => {
                let condition = self.condition();
                let _ = write!(self.text, "(if {condition} (then ");
                self.inside(false);
                self.text += ")";
                if self.chance.below(2) == 0 {
                    self.text += "(else ";
                    self.inside(false);
                    self.text += ")";
                }
                self.text += ")";
            }
            4 | 5 if self.labels.contains(&false) => {
                // Forward only: loops end by their own counters.
                let outward: Vec<usize> =
                    (0..self.labels.len()).filter(|depth| !self.labels[self.labels.len() - 1 - depth]).collect();
                let depth = outward[self.chance.below(outward.len())];
                let condition = self.condition();
                if self.chance.below(4) == 0 {
                    let other = outward[self.chance.below(outward.len())];
                    let _ = write!(self.text, "(block (br_table 0 {} {} {condition}))", depth + 1, other + 1);
                } else {
                    let _ = write!(self.text, "(br_if {depth} {condition})");
                }
            }
            6 | 7 => {
                let ty = self.ty();
                let at = 256 + self.chance.below(14) * 16;
                let value = self.value(ty, 0);
                let _ = write!(self.text, "({ty}.store (i32.const {at}) {value})");
            }
            8 => {
                let values: Vec<String> = TYPES.iter().map(|ty| self.value(ty, 2)).collect();
                let local = self.local("f64");
                let _ = write!(self.text, "(local.set {local} (call $keep {}))", values.join(" "));
            }
            _ => {
                let ty = self.ty();
                let (local, value) = (self.local(ty), self.value(ty, 0));
                let _ = write!(self.text, "(local.set {local} {value})");
            }
        }
        self.text += "\n";
    }

    fn nest(&mut self, opener: &str) {
        self.text += opener;
        self.inside(false);
        self.text += ")";
    }

    fn inside(&mut self, is_loop: bool) {
        self.labels.push(is_loop);
        for _ in 0..1 + self.chance.below(5) {
            self.statement();
        }
        self.labels.pop();
    }

    /// A loop of `$rounds` rounds, sometimes none at all, tested in front or behind.
    fn repeat(&mut self) {
        let counter = format!("$n{}", self.loops);
        self.loops += 1;
        let _ = write!(self.text, "(local.set {counter} (local.get $rounds)) (block ");
        self.labels.push(false);
        if self.chance.below(2) == 0 {
            let _ = write!(self.text, "(br_if 0 (i32.eqz (local.get {counter})))");
        }
        self.text += "(loop ";
        self.inside(true);
        let _ = write!(
            self.text,
            "(local.set {counter} (i32.sub (local.get {counter}) (i32.const 1))) (br_if 0 (i32.gt_s (local.get {counter}) (i32.const 0)))))"
        );
        self.labels.pop();
    }

    fn ty(&mut self) -> &'static str {
        TYPES[self.chance.below(TYPES.len())]
    }

    fn local(&mut self, ty: &str) -> String {
        format!("${ty}{}", self.chance.below(LOCALS))
    }

    fn condition(&mut self) -> String {
        match self.chance.below(3) {
            0 => "(i32.and (local.get $rounds) (i32.const 1))".to_owned(),
            1 => format!("(f64.lt {} {})", self.value("f64", 3), self.value("f64", 3)),
            _ => "(i32.wrap_i64 (i64.and (local.get $a) (i64.const 3)))".to_owned(),
        }
    }

    /// An expression; `depth` is how deep it lies in another.
    fn value(&mut self, ty: &str, depth: usize) -> String {
        let is_leaf = depth > 3 || self.chance.below(3) == 0;
        if is_leaf {
            let at = 256 + self.chance.below(14) * 16;
            return match (self.chance.below(7), ty) {
                (0, "f32") => "(f32.reinterpret_i32 (i32.wrap_i64 (local.get $a)))".to_owned(),
                (0, "f64") => "(f64.reinterpret_i64 (local.get $b))".to_owned(),
                (0, _) => "(i64x2.replace_lane 1 (i64x2.splat (local.get $a)) (local.get $b))".to_owned(),
                (1, "v128") => "(v128.const f32x4 0 1.5 inf -0)".to_owned(),
                (1, _) => format!("({ty}.const 1.5)"),
                (2, _) => format!("({ty}.load (i32.const {at}))"),
                _ => format!("(local.get {})", self.local(ty)),
            };
        }
        let next = |function: &mut Self, ty: &str| function.value(ty, depth + 1);
        match ty {
            "v128" => {
                let float = ["f32x4", "f64x2"][self.chance.below(2)];
                let scalar = &float[..3];
                match self.chance.below(14) {
                    0 => {
                        let value = next(self, scalar);
                        format!("({float}.splat {value})")
                    }
                    1 | 2 => {
                        let (vector, value) = (next(self, ty), next(self, scalar));
                        format!("({float}.replace_lane {} {vector} {value})", self.chance.below(2))
                    }
                    3 => {
                        let lanes = [
                            "0 1 2 3 20 21 22 23 8 9 10 11 28 29 30 31",
                            "8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23",
                            "1 0 3 2 5 4 7 6 9 8 11 10 13 12 15 14",
                        ][self.chance.below(3)];
                        let (one, other) = (next(self, ty), next(self, ty));
                        format!("(i8x16.shuffle {lanes} {one} {other})")
                    }
                    4 => {
                        let (one, other, mask) = (next(self, ty), next(self, ty), next(self, ty));
                        format!("(v128.bitselect {one} {other} {mask})")
                    }
                    5 => {
                        let operation = ["neg", "abs", "sqrt", "ceil"][self.chance.below(4)];
                        let value = next(self, ty);
                        format!("({float}.{operation} {value})")
                    }
                    6 => {
                        let value = next(self, ty);
                        let operation = ["f32x4.demote_f64x2_zero", "f64x2.promote_low_f32x4"][self.chance.below(2)];
                        format!("({operation} {value})")
                    }
                    7 => self.tee_or_select(ty, depth),
                    _ => {
                        let operation = ["add", "sub", "mul", "div", "min", "max", "pmin", "pmax", "add", "mul"]
                            [self.chance.below(10)];
                        let (one, other) = (next(self, ty), next(self, ty));
                        format!("({float}.{operation} {one} {other})")
                    }
                }
            }
            _ => match self.chance.below(12) {
                0 => {
                    let vector = next(self, "v128");
                    let float = if ty == "f32" { "f32x4" } else { "f64x2" };
                    format!("({float}.extract_lane {} {vector})", self.chance.below(2))
                }
                1 => {
                    let operation = ["neg", "abs", "sqrt", "floor"][self.chance.below(4)];
                    let value = next(self, ty);
                    format!("({ty}.{operation} {value})")
                }
                2 if ty == "f32" => {
                    let value = next(self, "f64");
                    format!("(f32.demote_f64 {value})")
                }
                2 => {
                    let value = next(self, "f32");
                    format!("(f64.promote_f32 {value})")
                }
                3 if ty == "f64" => {
                    format!("(f64.convert_i64_u (i64.shr_u (local.get $b) (i64.const {})))", self.chance.below(66))
                }
                4 | 5 => self.tee_or_select(ty, depth),
                _ => {
                    let operation =
                        ["add", "sub", "mul", "div", "min", "max", "copysign", "add", "mul"][self.chance.below(9)];
                    let (one, other) = (next(self, ty), next(self, ty));
                    format!("({ty}.{operation} {one} {other})")
                }
            },
        }
    }

    fn tee_or_select(&mut self, ty: &str, depth: usize) -> String {
        let one = self.value(ty, depth + 1);
        if self.chance.below(2) == 0 {
            return format!("(local.tee {} {one})", self.local(ty));
        }
        let other = self.value(ty, depth + 1);
        let condition = self.condition();
        match self.chance.below(3) {
            0 => format!("(if (result {ty}) {condition} (then {one}) (else {other}))"),
            _ => format!("(select {one} {other} {condition})"),
        }
    }
}
