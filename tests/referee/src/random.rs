//! Random programs for WASI: calls with random vectors, addresses and descriptors, memory that grows and is filled up to
//! its end between them, exits and traps anywhere.
//!
//! A program says the answer of every call on standard output, as the number of the step, a byte, and the answer, eight;
//! at its end, however it ends on purpose, it says a hash of all its memory. So outputs are equal only if everything is.

use std::fmt::Write as _;

use p2pnet_differential::smith::Chance;

/// The first address that steps use.
const FREE: u32 = 128;
/// Where the vector of one buffer to read into lies.
const READ_VECTOR: u32 = 104;
/// Where vectors of several buffers lie, which no buffer of the same call touches.
const VECTORS: u32 = 1024;
/// The error number of an address outside of memory.
const FAULT: u32 = 21;
/// The error number of a value that its type does not have.
const INVALID: u32 = 28;
/// Bytes in a page.
const PAGE: u32 = 65_536;

/// A program and what it is run with.
pub struct Random {
    /// As text.
    pub text: String,
    /// What it reads.
    pub input: Vec<u8>,
    /// Behind its name.
    pub arguments: Vec<String>,
}

/// Functions of WASI that programs call, with their types.
const IMPORTS: &[(&str, &str)] = &[
    ("fd_write", "(param i32 i32 i32 i32) (result i32)"),
    ("fd_read", "(param i32 i32 i32 i32) (result i32)"),
    ("proc_exit", "(param i32)"),
    ("random_get", "(param i32 i32) (result i32)"),
    ("poll_oneoff", "(param i32 i32 i32 i32) (result i32)"),
    ("clock_time_get", "(param i32 i64 i32) (result i32)"),
    ("clock_res_get", "(param i32 i32) (result i32)"),
    ("args_sizes_get", "(param i32 i32) (result i32)"),
    ("args_get", "(param i32 i32) (result i32)"),
    ("environ_sizes_get", "(param i32 i32) (result i32)"),
    ("environ_get", "(param i32 i32) (result i32)"),
    ("sched_yield", "(result i32)"),
    ("fd_advise", "(param i32 i64 i64 i32) (result i32)"),
    ("fd_allocate", "(param i32 i64 i64) (result i32)"),
    ("fd_close", "(param i32) (result i32)"),
    ("fd_datasync", "(param i32) (result i32)"),
    ("fd_fdstat_get", "(param i32 i32) (result i32)"),
    ("fd_fdstat_set_flags", "(param i32 i32) (result i32)"),
    ("fd_fdstat_set_rights", "(param i32 i64 i64) (result i32)"),
    ("fd_filestat_get", "(param i32 i32) (result i32)"),
    ("fd_filestat_set_size", "(param i32 i64) (result i32)"),
    ("fd_filestat_set_times", "(param i32 i64 i64 i32) (result i32)"),
    ("fd_pread", "(param i32 i32 i32 i64 i32) (result i32)"),
    ("fd_prestat_get", "(param i32 i32) (result i32)"),
    ("fd_prestat_dir_name", "(param i32 i32 i32) (result i32)"),
    ("fd_pwrite", "(param i32 i32 i32 i64 i32) (result i32)"),
    ("fd_readdir", "(param i32 i32 i32 i64 i32) (result i32)"),
    ("fd_renumber", "(param i32 i32) (result i32)"),
    ("fd_seek", "(param i32 i64 i32 i32) (result i32)"),
    ("fd_sync", "(param i32) (result i32)"),
    ("fd_tell", "(param i32 i32) (result i32)"),
    ("path_create_directory", "(param i32 i32 i32) (result i32)"),
    ("path_filestat_get", "(param i32 i32 i32 i32 i32) (result i32)"),
    ("path_filestat_set_times", "(param i32 i32 i32 i32 i64 i64 i32) (result i32)"),
    ("path_link", "(param i32 i32 i32 i32 i32 i32 i32) (result i32)"),
    ("path_open", "(param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)"),
    ("path_readlink", "(param i32 i32 i32 i32 i32 i32) (result i32)"),
    ("path_remove_directory", "(param i32 i32 i32) (result i32)"),
    ("path_rename", "(param i32 i32 i32 i32 i32 i32) (result i32)"),
    ("path_symlink", "(param i32 i32 i32 i32 i32) (result i32)"),
    ("path_unlink_file", "(param i32 i32 i32) (result i32)"),
    ("sock_accept", "(param i32 i32 i32) (result i32)"),
    ("sock_recv", "(param i32 i32 i32 i32 i32 i32) (result i32)"),
    ("sock_send", "(param i32 i32 i32 i32 i32) (result i32)"),
    ("sock_shutdown", "(param i32 i32) (result i32)"),
];

/// What every program has: it says a number, moves whole lists of vectors however little a host moves at once, and hashes
/// its memory.
const COMMON: &str = r#"
  (func $say (param $step i32) (param $value i64)
    (i32.store8 (i32.const 64) (local.get $step))
    (i64.store align=1 (i32.const 65) (local.get $value))
    (i32.store (i32.const 80) (i32.const 64))
    (i32.store (i32.const 84) (i32.const 9))
    (drop (call $fd_write (i32.const 1) (i32.const 80) (i32.const 1) (i32.const 88))))
  (func $hash (result i64) (local $at i32) (local $left i32) (local $mixed i64)
    (local.set $left (i32.mul (memory.size) (i32.const 8192)))
    (if (i32.eqz (local.get $left)) (then (return (i64.const 0))))
    (loop $on
      (local.set $mixed (i64.mul (i64.xor (i64.rotl (local.get $mixed) (i64.const 23)) (i64.load (local.get $at)))
        (i64.const 0x100000001b3)))
      (local.set $at (i32.add (local.get $at) (i32.const 8)))
      (br_if $on (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))
    (local.get $mixed))
  (func $end
    (call $say (i32.const 254) (i64.extend_i32_u (memory.size)))
    (call $say (i32.const 255) (call $hash)))
  (func $all (param $read i32) (param $stream i32) (param $vectors i32) (param $count i32) (result i32)
    (local $moved i32) (local $answer i32)
    (loop $on
      (if (i32.eqz (local.get $count)) (then (return (i32.const 0))))
      (if (i32.eqz (i32.load offset=4 align=1 (local.get $vectors)))
        (then
          (local.set $vectors (i32.add (local.get $vectors) (i32.const 8)))
          (local.set $count (i32.sub (local.get $count) (i32.const 1)))
          (br $on)))
      (local.set $answer
        (if (result i32) (local.get $read)
          (then (call $fd_read (local.get $stream) (local.get $vectors) (local.get $count) (i32.const 96)))
          (else (call $fd_write (local.get $stream) (local.get $vectors) (local.get $count) (i32.const 96)))))
      (if (local.get $answer) (then (return (local.get $answer))))
      (local.set $moved (i32.load (i32.const 96)))
      (i32.store (i32.const 96) (i32.const 0))
      (if (i32.eqz (local.get $moved)) (then (return (i32.const -1))))
      (loop $past
        (if (i32.and (i32.ne (local.get $count) (i32.const 0))
              (i32.ge_u (local.get $moved) (i32.load offset=4 align=1 (local.get $vectors))))
          (then
            (local.set $moved (i32.sub (local.get $moved) (i32.load offset=4 align=1 (local.get $vectors))))
            (local.set $vectors (i32.add (local.get $vectors) (i32.const 8)))
            (local.set $count (i32.sub (local.get $count) (i32.const 1)))
            (br $past))))
      (if (local.get $moved)
        (then
          (i32.store align=1 (local.get $vectors)
            (i32.add (i32.load align=1 (local.get $vectors)) (local.get $moved)))
          (i32.store offset=4 align=1 (local.get $vectors)
            (i32.sub (i32.load offset=4 align=1 (local.get $vectors)) (local.get $moved)))))
      (br $on))
    (i32.const 0))
"#;

/// The program of a seed.
pub fn of(seed: u64) -> Random {
    let mut chance = Chance(seed ^ 0x7761_7369);
    let pages = 1 + chance.below(3) as u32;
    let mut maker = Maker {
        chance: Chance(chance.number()),
        pages,
        step: 0,
        body: String::new(),
        errors_closed: false,
        data: String::new(),
    };
    let steps = 1 + chance.below(30);
    let starts = chance.below(6) == 0;
    let first = if starts { maker.steps(1 + steps / 4) } else { String::new() };
    let main = maker.steps(steps);
    let mut text = String::from("(module\n");
    for (name, ty) in IMPORTS {
        let _ = writeln!(text, "  (import \"wasi_snapshot_preview1\" \"{name}\" (func ${name} {ty}))");
    }
    let most = if chance.below(3) == 0 { (pages + chance.below(4) as u32).to_string() } else { String::new() };
    let _ = writeln!(text, "  (memory (export \"memory\") {pages} {most})");
    for _ in 0..chance.below(4) {
        let at = FREE + chance.below((pages * PAGE - FREE - 64) as usize) as u32;
        let _ = writeln!(text, "  (data (i32.const {at}) \"some text at {at}\")");
    }
    text.push_str(&maker.data);
    text.push_str(COMMON);
    if starts {
        let _ = writeln!(text, "  (func $first (local $a i32) (local $e i32)\n{first})\n  (start $first)");
    }
    let _ = writeln!(text, "  (func (export \"_start\") (local $a i32) (local $e i32)\n{main}    (call $end)))");
    let length = [0, 1, 100, 5_000, 90_000][chance.below(5)];
    let input = std::iter::repeat_with(|| chance.number() as u8).take(length).collect();
    let arguments = (0..chance.below(4)).map(|at| "argument".repeat(chance.below(4)) + &at.to_string()).collect();
    Random { text, input, arguments }
}

struct Maker {
    chance: Chance,
    /// Pages at the start. What growing gave is only known when the program runs.
    pages: u32,
    step: u32,
    body: String,
    /// Whether standard error is closed by now.
    errors_closed: bool,
    /// What steps take out of the module, as fields of its own.
    data: String,
}

impl Maker {
    fn steps(&mut self, count: usize) -> String {
        for _ in 0..count {
            self.step += 1;
            self.one();
        }
        std::mem::take(&mut self.body)
    }

    fn one(&mut self) {
        match self.chance.below(40) {
            0..8 => self.one_vector(false),
            8..13 => self.one_vector(true),
            13..16 => self.vectors(false),
            16..18 => self.vectors(true),
            18..21 => self.grow(),
            21..25 => self.change(),
            25 | 26 => self.random(),
            27 | 28 => self.clock(),
            29 | 30 => self.poll(),
            31 => self.told(),
            32..36 => self.descriptor(),
            36 | 37 => self.odd(),
            38 => self.end(),
            _ => self.say_size(),
        }
    }

    fn line(&mut self, text: &str) {
        let _ = writeln!(self.body, "    {text}");
    }

    /// Says an expression of type `i32`.
    fn say(&mut self, expression: &str) {
        let step = self.step;
        self.line(&format!("(call $say (i32.const {step}) (i64.extend_i32_u {expression}))"));
    }

    /// Says what a call of WASI answers. An address outside of memory is answered by an error or by a trap, as the host
    /// likes: here by a trap on both sides.
    fn say_call(&mut self, call: &str) {
        self.line(&format!("(local.set $e {call})"));
        self.line(&format!("(if (i32.eq (local.get $e) (i32.const {FAULT})) (then (unreachable)))"));
        self.say("(local.get $e)");
    }

    /// The same of a call with odd parameters: a value that its type does not have is an error or a trap, too.
    fn say_odd_call(&mut self, call: &str) {
        self.line(&format!("(local.set $e {call})"));
        self.line(&format!("(if (i32.eq (local.get $e) (i32.const {INVALID})) (then (unreachable)))"));
        self.say_call("(local.get $e)");
    }

    /// An address with so many bytes behind it: anywhere in the first pages, or up to where memory ends.
    fn inside(&mut self, bytes: u32) -> String {
        if self.chance.below(3) == 0 {
            return format!("(i32.sub (i32.shl (memory.size) (i32.const 16)) (i32.const {bytes}))");
        }
        let room = (self.pages * PAGE).saturating_sub(FREE + bytes + 1).max(1);
        format!("(i32.const {})", FREE + self.chance.below(room as usize) as u32)
    }

    /// A whole multiple of `align`, inside.
    fn aligned(&mut self, bytes: u32, align: u32) -> String {
        let address = self.inside(bytes.next_multiple_of(align));
        format!("(i32.and {address} (i32.const -{align}))")
    }

    fn length(&mut self) -> u32 {
        let most = self.pages * PAGE - FREE - 1;
        let length =
            [1, 2 + self.chance.below(60) as u32, 4_096, 4_097, 60_000 + self.chance.below(9_000) as u32, most];
        length[self.chance.below(length.len())].min(most)
    }

    fn descriptor_number(&mut self) -> i32 {
        [0, 1, 2, 1, 2, 3, 4, 7, 100, -1][self.chance.below(10)]
    }

    /// A call with one vector, which may lie anywhere, its buffer too, also outside.
    fn one_vector(&mut self, read: bool) {
        let stream = match self.chance.below(8) {
            0 => self.descriptor_number(),
            _ if read => 0,
            _ => 1 + self.chance.below(2) as i32,
        };
        let (buffer, length) = match self.chance.below(24) {
            // One byte beyond the end, far beyond it, and around. At the end of the input nothing is read into a buffer,
            // so hosts need not look where it is.
            0 if !read => {
                let length = self.length();
                (format!("(i32.sub (i32.shl (memory.size) (i32.const 16)) (i32.const {}))", length - 1), length)
            }
            1 if !read => ("(i32.const -9)".to_owned(), 1 + self.chance.below(30) as u32),
            2 if !read => ("(i32.const 4096)".to_owned(), 100_000_000 + self.chance.below(5_000) as u32),
            // No bytes, so it may be anywhere. Reading none is an error to one host and none to another.
            3 if !read => (format!("(i32.const {})", self.chance.number() as i32), 0),
            _ => {
                let length = self.length();
                (self.inside(length), length)
            }
        };
        // Reading may take several calls, as the host likes, so what is read must not lie on what says where to.
        let vector = if read { format!("(i32.const {READ_VECTOR})") } else { self.aligned(8, 4) };
        let moved = self.aligned(4, 4);
        self.line(&format!("(local.set $a {vector})"));
        self.line(&format!("(i32.store align=1 (local.get $a) {buffer})"));
        self.line(&format!("(i32.store offset=4 align=1 (local.get $a) (i32.const {length}))"));
        // How much is read at once is the host's choice, so reading goes on until the buffer is full or nothing is left.
        self.say_call(&if read {
            format!("(call $all (i32.const 1) (i32.const {stream}) (local.get $a) (i32.const 1))")
        } else {
            format!("(call $fd_write (i32.const {stream}) (local.get $a) (i32.const 1) {moved})")
        });
        if read {
            // It tells how the last part was read.
            self.line("(i64.store (local.get $a) (i64.const 0))");
        }
    }

    /// A list of vectors, some of them empty, whose buffers may overlap.
    fn vectors(&mut self, read: bool) {
        let count = self.chance.below(6) as u32;
        for at in 0..count {
            let length = if self.chance.below(4) == 0 { 0 } else { 1 + self.chance.below(3_000) as u32 };
            let room = self.pages * PAGE - 2 * VECTORS - length;
            let buffer = 2 * VECTORS + self.chance.below(room as usize) as u32;
            let place = VECTORS + 8 * at;
            self.line(&format!("(i32.store (i32.const {place}) (i32.const {buffer}))"));
            self.line(&format!("(i32.store offset=4 (i32.const {place}) (i32.const {length}))"));
        }
        let stream = if self.chance.below(8) == 0 {
            self.descriptor_number()
        } else if read {
            0
        } else {
            1 + self.chance.below(2) as i32
        };
        let read = i32::from(read);
        self.say(&format!(
            "(call $all (i32.const {read}) (i32.const {stream}) (i32.const {VECTORS}) (i32.const {count}))"
        ));
        self.line(&format!("(memory.fill (i32.const {VECTORS}) (i32.const 0) (i32.const {}))", 8 * count));
    }

    fn grow(&mut self) {
        // Much is only asked for where the program itself declares that it never gets it: see `say_size`.
        let pages = self.chance.below(4);
        self.say(&format!("(memory.grow (i32.const {pages}))"));
        if self.chance.below(2) == 0 {
            // Up to the last byte.
            self.line("(local.set $a (i32.sub (i32.shl (memory.size) (i32.const 16)) (i32.const 40000)))");
            let value = self.chance.below(256);
            self.line(&format!("(memory.fill (local.get $a) (i32.const {value}) (i32.const 40000))"));
        }
    }

    fn change(&mut self) {
        let length = self.length();
        match self.chance.below(20) {
            0 => {
                let beyond = self.chance.below(2);
                self.line(&format!(
                    "(memory.fill (i32.shl (memory.size) (i32.const 16)) (i32.const 1) (i32.const {beyond}))"
                ));
            }
            1..8 => {
                let (to, from) = (self.inside(length), self.inside(length));
                self.line(&format!("(memory.copy {to} {from} (i32.const {length}))"));
            }
            8..14 => {
                let (to, value) = (self.inside(length), self.chance.below(256));
                self.line(&format!("(memory.fill {to} (i32.const {value}) (i32.const {length}))"));
            }
            _ => {
                let (to, value) = (self.inside(8), self.chance.number().cast_signed());
                self.line(&format!("(i64.store align=1 {to} (i64.const {value}))"));
            }
        }
    }

    /// Random bytes differ, so they are wiped out.
    fn random(&mut self) {
        let length = [0, 1, 8, 33, 5_000][self.chance.below(5)];
        if self.chance.below(12) == 0 && length > 0 {
            self.say_call(&format!("(call $random_get (i32.sub (i32.shl (memory.size) (i32.const 16)) (i32.const {})) (i32.const {length}))", length - 1));
            return;
        }
        let to = self.inside(length);
        self.line(&format!("(local.set $a {to})"));
        self.say_call(&format!("(call $random_get (local.get $a) (i32.const {length}))"));
        self.line(&format!("(memory.fill (local.get $a) (i32.const 0) (i32.const {length}))"));
    }

    /// What clocks say differs, so it is wiped out. The processor's own are not everywhere.
    fn clock(&mut self) {
        let clock = [0, 1, 0, 1, 0, 1, 4, 255, i32::MAX, -1][self.chance.below(10)];
        let to = self.aligned(8, 8);
        self.line(&format!("(local.set $a {to})"));
        if self.chance.below(2) == 0 {
            self.say_odd_call(&format!("(call $clock_res_get (i32.const {clock}) (local.get $a))"));
        } else {
            self.say_odd_call(&format!("(call $clock_time_get (i32.const {clock}) (i64.const 1) (local.get $a))"));
        }
        self.line("(i64.store (local.get $a) (i64.const 0))");
    }

    /// A stream is ready at once, and a clock that rings in an hour is not; alone, one that rings soon is waited for.
    /// Input is asked for by itself, for wasmtime looks for it in the background and tells only what it has found by then.
    fn poll(&mut self) {
        let (subscriptions, events, count_at) = (VECTORS, 2 * VECTORS, 3 * VECTORS);
        let count = self.chance.below(4) as u32;
        let alone = count == 1 && self.chance.below(2) == 0;
        let input = self.chance.below(2) == 0;
        for at in 0..count {
            let place = subscriptions + 48 * at;
            let user = self.chance.number().cast_signed();
            let clock = alone || (at > 0 && (input || self.chance.below(4) == 0));
            self.line(&format!("(memory.fill (i32.const {place}) (i32.const 0) (i32.const 48))"));
            self.line(&format!("(i64.store (i32.const {place}) (i64.const {user}))"));
            if clock {
                let wait = if alone { self.chance.below(2_000_000) as u64 } else { 3_600_000_000_000 };
                let id = self.chance.below(2);
                self.line(&format!("(i32.store offset=16 (i32.const {place}) (i32.const {id}))"));
                self.line(&format!("(i64.store offset=24 (i32.const {place}) (i64.const {wait}))"));
            } else {
                // A descriptor that is none fails a whole call of one host, and is an event of the other.
                let outputs = if self.errors_closed { 1 } else { 2 };
                let (kind, stream) = if input { (1, 0) } else { (2, 1 + self.chance.below(outputs)) };
                self.line(&format!("(i32.store8 offset=8 (i32.const {place}) (i32.const {kind}))"));
                self.line(&format!("(i32.store offset=16 (i32.const {place}) (i32.const {stream}))"));
            }
        }
        self.line(&format!("(memory.fill (i32.const {events}) (i32.const 0x5a) (i32.const 256))"));
        self.line(&format!("(i32.store (i32.const {count_at}) (i32.const 0))"));
        self.say_call(&format!(
            "(call $poll_oneoff (i32.const {subscriptions}) (i32.const {events}) (i32.const {count}) (i32.const {count_at}))"
        ));
        self.say(&format!("(i32.load (i32.const {count_at}))"));
        for at in 0..count {
            let place = events + 32 * at;
            let step = self.step;
            self.line(&format!("(call $say (i32.const {step}) (i64.load (i32.const {place})))"));
            self.line(&format!("(call $say (i32.const {step}) (i64.load offset=8 (i32.const {place})))"));
            // Whether the input is at its end is told by some; what lies behind the flags is nobody's.
            self.line(&format!(
                "(call $say (i32.const {step}) (i64.shr_u (i64.load offset=24 (i32.const {place})) (i64.const 16)))"
            ));
        }
        // How many bytes are ready is a guess everywhere.
        self.line(&format!("(memory.fill (i32.const {events}) (i32.const 0) (i32.const 256))"));
    }

    /// Arguments and environment. The program's name is the same on both sides here.
    fn told(&mut self) {
        let kind = if self.chance.below(2) == 0 { "args" } else { "environ" };
        let (count, bytes) = (self.aligned(4, 4), self.aligned(4, 4));
        self.say_call(&format!("(call ${kind}_sizes_get {count} {bytes})"));
        let (list, text) = (2 * VECTORS + 4 * self.chance.below(50) as u32, 3 * VECTORS + self.chance.below(50) as u32);
        self.say_call(&format!("(call ${kind}_get (i32.const {list}) (i32.const {text}))"));
    }

    fn descriptor(&mut self) {
        let stream = self.descriptor_number();
        let other = self.descriptor_number();
        let to = self.aligned(64, 8);
        let small = self.chance.below(64);
        let call = match self.chance.below(23) {
            0 => format!("(call $fd_advise (i32.const {stream}) (i64.const 0) (i64.const {small}) (i32.const 0))"),
            1 => format!("(call $fd_allocate (i32.const {stream}) (i64.const 0) (i64.const {small}))"),
            2 => {
                self.errors_closed |= stream <= 2;
                format!("(call $fd_close (i32.const {}))", stream.max(2))
            }
            3 => format!("(call $fd_datasync (i32.const {stream}))"),
            4 | 5 => format!("(call $fd_fdstat_get (i32.const {stream}) {to})"),
            6 => format!("(call $fd_fdstat_set_flags (i32.const {stream}) (i32.const 0))"),
            7 => format!("(call $fd_fdstat_set_rights (i32.const {stream}) (i64.const 0) (i64.const 0))"),
            8 | 9 => format!("(call $fd_filestat_get (i32.const {stream}) {to})"),
            10 => format!("(call $fd_filestat_set_size (i32.const {stream}) (i64.const {small}))"),
            11 => {
                format!("(call $fd_filestat_set_times (i32.const {stream}) (i64.const 0) (i64.const 0) (i32.const 0))")
            }
            12 | 13 => {
                let call = if self.chance.below(2) == 0 { "fd_pread" } else { "fd_pwrite" };
                self.line(&format!("(i32.store (i32.const {VECTORS}) (i32.const {}))", 2 * VECTORS));
                self.line(&format!("(i32.store offset=4 (i32.const {VECTORS}) (i32.const {}))", 1 + small));
                format!(
                    "(call ${call} (i32.const {stream}) (i32.const {VECTORS}) (i32.const 1) (i64.const {small}) {to})"
                )
            }
            14 => format!("(call $fd_prestat_get (i32.const {stream}) {to})"),
            15 => format!("(call $fd_prestat_dir_name (i32.const {stream}) {to} (i32.const {small}))"),
            16 => format!("(call $fd_readdir (i32.const {stream}) {to} (i32.const 64) (i64.const 0) (i32.const 1024))"),
            17 => format!("(call $fd_renumber (i32.const {}) (i32.const {}))", stream.max(3), other.max(3)),
            18 => format!("(call $fd_seek (i32.const {stream}) (i64.const {small}) (i32.const {}) {to})", small % 3),
            19 => format!("(call $fd_sync (i32.const {stream}))"),
            20 => format!("(call $fd_tell (i32.const {stream}) {to})"),
            21 => format!("(call $path_unlink_file (i32.const {stream}) (i32.const {FREE}) (i32.const {small}))"),
            _ => format!("(call $sock_shutdown (i32.const {stream}) (i32.const 1))"),
        };
        self.say_call(&call);
    }

    /// A call with parameters that are often no values of their types, and names that are often no text.
    fn odd(&mut self) {
        const TEXTS: [(&str, usize); 8] = [
            ("a/b", 3),
            ("", 0),
            ("\\c2\\80\\ed\\9f\\bf\\f4\\8f\\bf\\bf", 9),
            ("\\ed\\a0\\80", 3),
            ("\\c0\\80", 2),
            ("x\\f0\\9f\\a6", 4),
            ("\\f4\\90\\80\\80", 4),
            ("\\e0\\80\\80", 3),
        ];
        let (text, length) = TEXTS[self.chance.below(TEXTS.len())];
        self.data.push_str(&format!("  (data $step{} \"{text}\")\n", self.step));
        let (step, to) = (self.step, self.aligned(64, 8));
        self.line(&format!(
            "(memory.init $step{step} (i32.const {VECTORS}) (i32.const 0) (i32.const {length}))
    (i64.store (i32.const {}) (i64.const {}))",
            VECTORS + 64,
            2 * VECTORS + 8
        ));
        let stream = format!("(i32.const {})", self.descriptor_number());
        let name = format!("(i32.const {VECTORS}) (i32.const {length})");
        let list = format!("(i32.const {}) (i32.const 1)", VECTORS + 64);
        let times = "(i64.const 0) (i64.const 0)";
        let (one, two, three) = (self.odd_word(), self.odd_word(), self.odd_word());
        let (long, longer) = (self.odd_long(), self.odd_long());
        let call = match self.chance.below(20) {
            0 => format!("(call $fd_advise {stream} {times} {one})"),
            1 => format!("(call $fd_fdstat_set_flags {stream} {one})"),
            2 => format!("(call $fd_fdstat_set_rights {stream} {long} {longer})"),
            3 => format!("(call $fd_filestat_set_times {stream} {times} {one})"),
            4 => format!("(call $fd_seek {stream} (i64.const 0) {one} {to})"),
            5 => format!("(call $path_filestat_get {stream} {one} {name} {to})"),
            6 => format!("(call $path_filestat_set_times {stream} {one} {name} {times} {two})"),
            7 => format!("(call $path_link {stream} {one} {name} {stream} {name})"),
            8 => format!("(call $sock_accept {stream} {one} {to})"),
            9 => format!("(call $sock_recv {stream} {list} {one} {to} {to})"),
            10 => format!("(call $sock_send {stream} {list} {one} {to})"),
            11 => format!("(call $sock_shutdown {stream} {one})"),
            12 => format!("(call $path_create_directory {stream} {name})"),
            13 => format!("(call $path_readlink {stream} {name} {to} (i32.const 1) {to})"),
            14 => format!("(call $path_remove_directory {stream} {name})"),
            15 => format!("(call $path_rename {stream} {name} {stream} {name})"),
            16 => format!("(call $path_symlink {name} {stream} {name})"),
            17 => format!("(call $path_open {stream} {one} {name} {two} {long} {longer} {three} {to})"),
            _ => {
                let name = format!("{stream} (i32.const 0) {name}");
                format!("(call $path_open {name} (i32.const 0) (i64.const 0) (i64.const 0) (i32.const 0) {to})")
            }
        };
        self.say_odd_call(&call);
    }

    /// 32 bits at the edge of some type.
    fn odd_word(&mut self) -> String {
        const WORDS: [i32; 17] = [0, 1, 2, 3, 5, 6, 7, 15, 16, 31, 32, 255, 256, 65_535, 65_536, i32::MAX, i32::MIN];
        let word = if self.chance.below(3) == 0 { 0 } else { WORDS[self.chance.below(WORDS.len())] };
        format!("(i32.const {word})")
    }

    /// 64 bits at the edge of the type of rights.
    fn odd_long(&mut self) -> String {
        const LONGS: [i64; 8] = [0, 1, 1 << 29, (1 << 30) - 1, 1 << 30, i64::MAX, i64::MIN, -1];
        let long = if self.chance.below(3) == 0 { 0 } else { LONGS[self.chance.below(LONGS.len())] };
        format!("(i64.const {long})")
    }

    /// Now and then the program ends where it is.
    fn end(&mut self) {
        match self.chance.below(6) {
            0..3 => {
                self.line("(call $end)");
                let code = self.chance.below(126);
                self.line(&format!("(call $proc_exit (i32.const {code}))"));
            }
            3 => self.line("(unreachable)"),
            4 => self.line("(drop (i32.div_u (i32.const 1) (i32.load8_u (i32.const 100))))"),
            _ => self.say("(call $sched_yield)"),
        }
    }

    fn say_size(&mut self) {
        self.say("(memory.size)");
        let step = self.step;
        self.line(&format!("(call $say (i32.const {step}) (call $hash))"));
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used)]

    use super::*;
    use crate::ours::Ours;

    #[test]
    fn random_programs_are_taken_and_both_engines_run_them_alike() {
        let mut ours = Ours::new().unwrap();
        let (mut exits, mut traps, mut bytes) = (0, 0, 0);
        for seed in 0..150 {
            let random = of(seed);
            let program = ours.load(&wat::parse_str(&random.text).unwrap()).unwrap();
            let ran = ours.run(&program, &random.input, &random.arguments).unwrap();
            assert!(ran.on_both, "seed {seed}");
            let ended = ran.ended.unwrap();
            bytes += ended.output.len();
            match ended.code {
                Some(crate::TRAPPED) => traps += 1,
                _ => exits += 1,
            }
        }
        assert!(exits > 50 && traps > 10 && bytes > 500_000, "{exits} exits, {traps} traps, {bytes} bytes");
    }
}
