//! WASI programs in text form that look at what they find and end with 0 if it is right; else their exit code says which
//! check failed. Every engine must run them to the same end with the same gas.

use std::fmt::Write as _;

/// A program and what must come of it.
pub struct Program {
    /// A sentence that says what it shows.
    pub name: &'static str,
    /// The module.
    pub module: Vec<u8>,
    /// What it reads.
    pub input: &'static [u8],
    /// How it must end.
    pub exit_code: u32,
    /// What it must put out.
    pub output: &'static [u8],
    /// What it must say on standard error.
    pub errors: &'static [u8],
}

/// Parameters of all functions of WASI, each with a result of 32 bits but `proc_exit`.
const FUNCTIONS: &[(&str, &str)] = &[
    ("args_get", "i32 i32"),
    ("args_sizes_get", "i32 i32"),
    ("environ_get", "i32 i32"),
    ("environ_sizes_get", "i32 i32"),
    ("clock_res_get", "i32 i32"),
    ("clock_time_get", "i32 i64 i32"),
    ("fd_advise", "i32 i64 i64 i32"),
    ("fd_allocate", "i32 i64 i64"),
    ("fd_close", "i32"),
    ("fd_datasync", "i32"),
    ("fd_fdstat_get", "i32 i32"),
    ("fd_fdstat_set_flags", "i32 i32"),
    ("fd_fdstat_set_rights", "i32 i64 i64"),
    ("fd_filestat_get", "i32 i32"),
    ("fd_filestat_set_size", "i32 i64"),
    ("fd_filestat_set_times", "i32 i64 i64 i32"),
    ("fd_pread", "i32 i32 i32 i64 i32"),
    ("fd_prestat_get", "i32 i32"),
    ("fd_prestat_dir_name", "i32 i32 i32"),
    ("fd_pwrite", "i32 i32 i32 i64 i32"),
    ("fd_read", "i32 i32 i32 i32"),
    ("fd_readdir", "i32 i32 i32 i64 i32"),
    ("fd_renumber", "i32 i32"),
    ("fd_seek", "i32 i64 i32 i32"),
    ("fd_sync", "i32"),
    ("fd_tell", "i32 i32"),
    ("fd_write", "i32 i32 i32 i32"),
    ("path_create_directory", "i32 i32 i32"),
    ("path_filestat_get", "i32 i32 i32 i32 i32"),
    ("path_filestat_set_times", "i32 i32 i32 i32 i64 i64 i32"),
    ("path_link", "i32 i32 i32 i32 i32 i32 i32"),
    ("path_open", "i32 i32 i32 i32 i32 i64 i64 i32 i32"),
    ("path_readlink", "i32 i32 i32 i32 i32 i32"),
    ("path_remove_directory", "i32 i32 i32"),
    ("path_rename", "i32 i32 i32 i32 i32 i32"),
    ("path_symlink", "i32 i32 i32 i32 i32"),
    ("path_unlink_file", "i32 i32 i32"),
    ("poll_oneoff", "i32 i32 i32 i32"),
    ("proc_raise", "i32"),
    ("random_get", "i32 i32"),
    ("sched_yield", ""),
    ("sock_accept", "i32 i32 i32"),
    ("sock_recv", "i32 i32 i32 i32 i32 i32"),
    ("sock_send", "i32 i32 i32 i32 i32"),
    ("sock_shutdown", "i32 i32"),
];

/// A call of a function: `write 1 0 1 8` is `(call $write (i32.const 1) …)`. A word that is no number is taken as it is,
/// so it may be an instruction without spaces, as a local's name is.
fn call(text: &str) -> String {
    let mut words = text.split_whitespace();
    let name = words.next().unwrap_or_default();
    let parameters = FUNCTIONS.iter().find(|(known, _)| *known == name).map_or("", |(_, parameters)| parameters);
    let mut call = format!("(call ${name}");
    for (word, kind) in words.zip(parameters.split_whitespace()) {
        let _ = write!(call, " ({kind}.const {word})");
    }
    call + ")"
}

/// Calls that must answer these error numbers, numbered from 1 for the exit code.
fn answers(expected: &[(&str, u32)]) -> String {
    let check = |(place, (text, errno)): (usize, &(&str, u32))| {
        format!("(call $same {} (i32.const {errno}) (i32.const {}))\n", call(text), place + 1)
    };
    expected.iter().enumerate().map(check).collect()
}

/// A module that imports all of WASI from `wasi`. `parts` are its own fields; it should export `_start`.
fn module(wasi: &str, memory: &str, parts: &str) -> Vec<u8> {
    let mut text = String::from("(module\n");
    for (name, parameters) in FUNCTIONS.iter().filter(|(name, _)| wasi != "wasi_unstable" || *name != "sock_accept") {
        let _ = writeln!(text, "(import {wasi:?} {name:?} (func ${name} (param {parameters}) (result i32)))");
    }
    let _ = writeln!(text, "(import {wasi:?} \"proc_exit\" (func $exit (param i32)))");
    let _ = writeln!(
        text,
        "(memory (export \"memory\") {memory})
         (func $same (param $got i32) (param $wanted i32) (param $place i32)
           (if (i32.ne (local.get $got) (local.get $wanted)) (then (call $exit (local.get $place)))))
         (func $same64 (param $got i64) (param $wanted i64) (param $place i32)
           (if (i64.ne (local.get $got) (local.get $wanted)) (then (call $exit (local.get $place)))))
         ;; Puts out what a list of one buffer at 0 names, and forgets the list.
         (func $say (param $stream i32) (param $at i32) (param $length i32)
           (i32.store (i32.const 0) (local.get $at)) (i32.store (i32.const 4) (local.get $length))
           (drop (call $fd_write (local.get $stream) (i32.const 0) (i32.const 1) (i32.const 8))))
         {parts})"
    );
    assemble(&text)
}

#[expect(clippy::panic, reason = "for tests only, which should say what is wrong with a text")]
pub(crate) fn assemble(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap_or_else(|error| panic!("{error}"))
}

fn program(name: &'static str, memory: &str, parts: &str) -> Program {
    let module = module("wasi_snapshot_preview1", memory, parts);
    Program { name, module, input: b"", exit_code: 0, output: b"", errors: b"" }
}

fn start(body: &str) -> String {
    format!("(func (export \"_start\") {body})")
}

/// All programs.
pub fn programs() -> Vec<Program> {
    let mut all = heaps();
    all.extend(ends());
    all.push(program("every function answers the error that wasmtime's does", "1", &start(&answers(ERRORS))));
    all.push(faults());
    all.push(paths());
    all.push(descriptors());
    all.extend(lists());
    all.extend(clocks());
    all.push(unstable());
    all.push(records());
    all
}

/// Programs that take all memory that they see for their own.
fn heaps() -> Vec<Program> {
    // Fills memory from 32768 on and checks it, reads, fills again, puts out what it read, and its first argument.
    const FILL: &str = "
        (func $fill (param $byte i32)
          (memory.fill (i32.const 32768) (local.get $byte)
            (i32.sub (i32.shl (memory.size) (i32.const 16)) (i32.const 32768))))
        (func $check (param $byte i32) (local $at i32)
          (local.set $at (i32.const 32768))
          (loop $next
            (call $same (i32.load8_u (local.get $at)) (local.get $byte) (i32.const 1))
            (local.set $at (i32.add (local.get $at) (i32.const 1)))
            (br_if $next (i32.lt_u (local.get $at) (i32.shl (memory.size) (i32.const 16))))))
        (func $echo
          (call $fill (i32.const 0x2e))
          (i32.store (i32.const 0) (i32.const 1024)) (i32.store (i32.const 4) (i32.const 100))
          (call $same (call $fd_read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 16)) (i32.const 0) (i32.const 2))
          (call $check (i32.const 0x2e))
          (call $say (i32.const 1) (i32.const 1024) (i32.load (i32.const 16)))
          (call $fill (i32.const 0x2f))
          (call $say (i32.const 1) (i32.const 1024) (i32.load (i32.const 16)))
          (call $say (i32.const 2) (i32.const 1024) (i32.load (i32.const 16)))
          (call $check (i32.const 0x2f))
          (call $same (call $args_get (i32.const 2000) (i32.const 2100)) (i32.const 0) (i32.const 3))
          (call $say (i32.const 1) (i32.load (i32.const 2000)) (i32.const 7)))";
    let whole = |name, memory: &str, more: &str| Program {
        input: b"ABCDE",
        output: b"ABCDEABCDEcommand",
        errors: b"ABCDE",
        ..program(name, memory, &(FILL.to_owned() + &start(&format!("(call $echo) {more}"))))
    };
    vec![
        whole("a heap that takes everything up to the end of memory meets nothing of ours", "1", ""),
        whole(
            "memory that may not grow is left as it is",
            "1 1",
            "(call $same (memory.size) (i32.const 1) (i32.const 4))
             (call $same (memory.grow (i32.const 1)) (i32.const -1) (i32.const 5))",
        ),
        whole(
            "nobody but the program grows its memory",
            "1 300",
            "(call $same (memory.grow (i32.const 3)) (i32.const 1) (i32.const 4))
             (call $fill (i32.const 0x30))
             (call $same (memory.grow (i32.const 296)) (i32.const 4) (i32.const 5))
             (call $same (memory.size) (i32.const 300) (i32.const 6))
             (call $same (memory.grow (i32.const 1)) (i32.const -1) (i32.const 7))",
        ),
    ]
}

/// How programs begin and end.
fn ends() -> Vec<Program> {
    let text =
        "(data (i32.const 1024) \"hello\\n\") (func $hello (call $say (i32.const 1) (i32.const 1024) (i32.const 6)))";
    let with = |name, more: &str| Program { output: b"hello\n", ..program(name, "1", &format!("{text} {more}")) };
    vec![
        Program {
            exit_code: 7,
            ..with(
                "a start function may put out and exit",
                "(func $begin (call $hello) (call $exit (i32.const 7))) (start $begin)
                 (func (export \"_start\") unreachable)",
            )
        },
        Program {
            output: b"hello\nhello\n",
            ..with("a start function comes before `_start`", "(start $hello) (export \"_start\" (func $hello))")
        },
        Program {
            exit_code: u32::MAX,
            ..with("an exit code has 32 bits", &start("(call $hello) (call $exit (i32.const -1)) (call $hello)"))
        },
        Program { exit_code: 134, ..with("a trap keeps what was put out", &start("(call $hello) unreachable")) },
        Program {
            exit_code: 137,
            errors: b"hello\n",
            ..with(
                "want of memory keeps what was put out on both streams",
                &start(
                    "(call $hello) (call $say (i32.const 2) (i32.const 1024) (i32.const 6))
                     (drop (memory.grow (i32.const 65534)))",
                ),
            )
        },
        Program {
            exit_code: 139,
            errors: b"hello\n",
            ..with(
                "recursion without an end keeps what was put out on both streams",
                &format!(
                    "(func $deep (param i32) (result i32) (i32.add (i32.const 1) (call $deep (local.get 0)))) {}",
                    start(
                        "(call $hello) (call $say (i32.const 2) (i32.const 1024) (i32.const 6))
                         (drop (call $deep (i32.const 0)))"
                    )
                ),
            )
        },
        with(
            "a function that is exported may be named by `ref.func`, whatever it is called",
            "(table $t 1 funcref) (type $none (func)) (export \"run\" (func $hello)) (export \"gas_used\" (func $hello))
             (func (export \"_start\") (table.set $t (i32.const 0) (ref.func $hello))
               (call_indirect $t (type $none) (i32.const 0)))",
        ),
        Program {
            module: assemble(
                "(module (import \"env\" \"emscripten_notify_memory_growth\" (func $grew (param i32)))
                   (memory (export \"memory\") 1) (func (export \"_start\") (call $grew (i32.const 0))))",
            ),
            ..program("programs of Emscripten may say that their memory grew", "1", &start(""))
        },
    ]
}

/// What functions answer to descriptors that are none, to streams, and to values that their types do not have.
const ERRORS: &[(&str, u32)] = &[
    ("fd_advise 0 0 0 6", 28),
    ("fd_advise 0 0 0 5", 8),
    ("fd_advise 3 0 0 0", 8),
    ("fd_allocate 1 0 0", 8),
    ("fd_datasync 1", 8),
    ("fd_sync 1", 8),
    ("fd_fdstat_set_flags 0 0", 8),
    ("fd_fdstat_set_flags 0 32", 28),
    ("fd_fdstat_set_rights 0 0 0", 8),
    ("fd_fdstat_set_rights 0 0 0x40000000", 28),
    ("fd_fdstat_get 3 64", 8),
    ("fd_filestat_get 3 64", 8),
    ("fd_filestat_set_size 1 0", 8),
    ("fd_filestat_set_times 1 0 0 0", 8),
    ("fd_filestat_set_times 1 0 0 3", 28),
    ("fd_filestat_set_times 1 0 0 12", 28),
    ("fd_filestat_set_times 1 0 0 16", 28),
    ("fd_pread 0 0 0 0 64", 70),
    ("fd_pread 1 0 0 0 64", 8),
    ("fd_pwrite 1 0 0 0 64", 70),
    ("fd_pwrite 2 0 0 0 64", 70),
    ("fd_pwrite 0 0 0 0 64", 8),
    ("fd_prestat_get 0 64", 8),
    ("fd_prestat_get 3 64", 8),
    ("fd_prestat_dir_name 0 64 9", 54),
    ("fd_prestat_dir_name 3 64 9", 8),
    ("fd_read 1 0 0 64", 8),
    ("fd_read 2 0 0 64", 8),
    ("fd_read 3 0 0 64", 8),
    ("fd_write 0 0 0 64", 8),
    ("fd_write 3 0 0 64", 8),
    ("fd_write -1 0 0 64", 8),
    ("fd_readdir 0 64 9 0 128", 8),
    ("fd_renumber 0 3", 8),
    ("fd_renumber 3 0", 8),
    ("fd_renumber 1 1", 0),
    ("fd_seek 0 0 0 64", 70),
    ("fd_seek 1 0 2 64", 70),
    ("fd_seek 1 0 3 64", 28),
    ("fd_seek 3 0 0 64", 8),
    ("fd_tell 2 64", 70),
    ("fd_tell 3 64", 8),
    ("fd_close 3", 8),
    ("path_create_directory 3 0 1", 8),
    ("path_filestat_get 3 0 0 1 64", 8),
    ("path_filestat_get 3 2 0 1 64", 28),
    ("path_filestat_set_times 3 0 0 1 0 0 0", 8),
    ("path_filestat_set_times 3 0 0 1 0 0 3", 28),
    ("path_link 3 0 0 1 3 0 1", 8),
    ("path_open 3 0 0 1 0 0 0 0 64", 8),
    ("path_open 3 0 0 1 16 0 0 0 64", 28),
    ("path_open 3 0 65536 1 0 0 0 0 64", 21),
    ("path_readlink 3 0 1 64 9 128", 8),
    ("path_remove_directory 3 0 1", 8),
    ("path_rename 3 0 1 3 0 1", 8),
    ("path_symlink 0 1 3 0 1", 8),
    ("path_unlink_file 3 0 1", 8),
    ("proc_raise 6", 52),
    ("proc_raise 31", 28),
    ("sched_yield", 0),
    ("sock_accept 0 0 64", 57),
    ("sock_accept 3 0 64", 8),
    ("sock_recv 0 0 0 0 64 68", 57),
    ("sock_recv 0 0 0 4 64 68", 28),
    ("sock_send 1 0 0 0 64", 57),
    ("sock_send 3 0 0 0 64", 8),
    ("sock_shutdown 2 3", 57),
    ("sock_shutdown 2 4", 28),
    ("clock_res_get 4 64", 28),
    ("clock_time_get 4 0 64", 28),
    ("clock_time_get -1 0 64", 28),
    ("poll_oneoff 64 256 0 8", 28),
    ("random_get 0 0", 0),
    ("environ_get 0 0", 0),
];

/// Places outside of memory are an error, and nothing is changed before it.
fn faults() -> Program {
    // At 0 a list: a good buffer, then one that reaches over the end. At 64 a subscription to a clock.
    let calls = answers(&[
        ("fd_write 1 0 2 16", 21),
        ("fd_write 1 0 1 65533", 21),
        ("fd_write 1 65532 1 16", 21),
        ("fd_write 1 -8 2 16", 21),
        ("fd_write 1 0 -1 16", 21),
        ("fd_read 0 0 2 16", 21),
        ("fd_read 0 0 1 -1", 21),
        ("fd_read 0 65529 1 16", 21),
        ("fd_pread 0 65529 1 0 16", 21),
        ("fd_pwrite 1 65529 1 0 16", 21),
        ("args_sizes_get 128 65533", 21),
        ("args_sizes_get 65533 128", 21),
        ("args_get 65533 128", 21),
        ("args_get 128 65530", 21),
        ("environ_sizes_get 128 65533", 21),
        ("clock_time_get 0 0 65529", 21),
        ("clock_res_get 0 65529", 21),
        ("random_get 65530 7", 21),
        ("random_get 128 -1", 21),
        ("fd_fdstat_get 0 65513", 21),
        ("fd_filestat_get 0 65473", 21),
        ("poll_oneoff 65489 256 1 8", 21),
        ("poll_oneoff 64 65505 1 8", 21),
        ("poll_oneoff 64 256 1 65533", 21),
        ("fd_fdstat_get 0 65512", 0),
        ("fd_filestat_get 0 65472", 0),
        ("clock_time_get 0 0 65528", 0),
        ("random_get 65529 7", 0),
    ]);
    let body = format!(
        "(i32.store (i32.const 0) (i32.const 1024)) (i32.store (i32.const 4) (i32.const 3))
         (i32.store (i32.const 8) (i32.const 65530)) (i32.store (i32.const 12) (i32.const 7))
         (i32.store (i32.const 80) (i32.const 1))
         {calls}
         (call $same64 (i64.load (i32.const 128)) (i64.const 0) (i32.const 100))
         (call $same (i32.load (i32.const 1024)) (i32.const 0) (i32.const 101))
         ;; The input is still there.
         (call $same (call $fd_read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 16)) (i32.const 0) (i32.const 102))
         (call $say (i32.const 1) (i32.const 1024) (i32.load (i32.const 16)))"
    );
    Program {
        input: b"abc",
        output: b"abc",
        ..program("a place outside of memory is an error and changes nothing", "1", &start(&body))
    }
}

/// The name of what is opened is read before anything else of it is looked at.
fn paths() -> Program {
    const GOOD: &[&str] = &[
        "",
        "a/b",
        "\u{7f}\u{80}\u{7ff}\u{800}\u{d7ff}\u{e000}\u{ffff}\u{10000}\u{3ffff}\u{100000}\u{10ffff}",
        "дом 漢字 🦀",
    ];
    const BAD: &[&[u8]] = &[
        b"\x80",
        b"\xbf!",
        b"\xc1\xbf",
        b"\xc2",
        b"\xc2!",
        b"\xc2\xc0",
        b"\xe0\x9f\xbf",
        b"\xe1\x80",
        b"\xe1\x80!",
        b"\xed\xa0\x80",
        b"\xed\xbf\xbf",
        b"\xf0\x8f\xbf\xbf",
        b"\xf1\x80\x80",
        b"\xf1\x80\x80!",
        b"\xf4\x90\x80\x80",
        b"\xf5\x80\x80\x80",
        b"\xff",
        b"good and then \xe2\x82",
    ];
    let texts = GOOD.iter().map(|text| (text.as_bytes(), 8)).chain(BAD.iter().map(|text| (*text, 25)));
    let (mut data, mut calls, mut at) = (String::new(), String::new(), 1024);
    for (place, (text, errno)) in texts.enumerate() {
        let bytes: String = text.iter().map(|byte| format!("\\{byte:02x}")).collect();
        let _ = writeln!(data, "(data (i32.const {at}) \"{bytes}\")");
        let call = call(&format!("path_open 3 0 {at} {} 0 0 0 0 64", text.len()));
        let _ = writeln!(calls, "(call $same {call} (i32.const {errno}) (i32.const {}))", place + 1);
        at += text.len();
    }
    program("a name that is no text in UTF-8 is told", "1", &(data + &start(&calls)))
}

/// Descriptors that are closed and renumbered.
fn descriptors() -> Program {
    let calls = answers(&[
        ("fd_close 0", 0),
        ("fd_close 0", 8),
        ("fd_read 0 0 1 16", 8),
        ("fd_tell 0 16", 8),
        ("fd_renumber 0 1", 8),
        ("fd_renumber 2 0", 8),
        ("fd_renumber 1 2", 0),
        ("fd_write 1 0 1 16", 8),
        ("fd_write 2 0 1 16", 0),
        ("fd_close 2", 0),
        ("fd_write 2 0 1 16", 8),
    ]);
    let body = format!("(i32.store (i32.const 0) (i32.const 1024)) (i32.store (i32.const 4) (i32.const 3)) {calls}");
    Program {
        output: b"abc",
        ..program(
            "a closed descriptor is none, and a renumbered one is what the other was",
            "1",
            &format!("(data (i32.const 1024) \"abc\") {}", start(&body)),
        )
    }
}

/// Lists of buffers.
fn lists() -> Vec<Program> {
    // Three buffers at odd places: three bytes, none, three bytes.
    let list = "
        (i32.store (i32.const 33) (i32.const 1025)) (i32.store (i32.const 37) (i32.const 3))
        (i32.store (i32.const 41) (i32.const -1)) (i32.store (i32.const 45) (i32.const 0))
        (i32.store (i32.const 49) (i32.const 1029)) (i32.store (i32.const 53) (i32.const 3))";
    let read = "(call $same (call $fd_read (i32.const 0) (i32.const 33) (i32.const 3) (i32.const 61)) (i32.const 0)";
    vec![
        Program {
            input: b"abcde",
            output: b"abcde\0",
            ..program(
                "buffers are filled and put out in their order, and reading at the end gives nothing",
                "1",
                &start(&format!(
                    "{list} {read} (i32.const 1))
                     (call $same (i32.load (i32.const 61)) (i32.const 5) (i32.const 2))
                     {read} (i32.const 3))
                     (call $same (i32.load (i32.const 61)) (i32.const 0) (i32.const 4))
                     (call $same (call $fd_write (i32.const 1) (i32.const 33) (i32.const 3) (i32.const 61))
                       (i32.const 0) (i32.const 5))
                     (call $same (i32.load (i32.const 61)) (i32.const 6) (i32.const 6))"
                )),
            )
        },
        Program {
            input: b"abcdefghijklmnop0123",
            output: b"abcdefghijklmnop0123",
            ..program(
                "a list is read before its buffers are filled, though they lie over it",
                "1",
                &start(
                    "(i32.store (i32.const 0) (i32.const 0)) (i32.store (i32.const 4) (i32.const 16))
                     (i32.store (i32.const 8) (i32.const 16)) (i32.store (i32.const 12) (i32.const 4))
                     (call $same (call $fd_read (i32.const 0) (i32.const 0) (i32.const 2) (i32.const 64))
                       (i32.const 0) (i32.const 1))
                     (call $same (i32.load (i32.const 64)) (i32.const 20) (i32.const 2))
                     (memory.copy (i32.const 1024) (i32.const 0) (i32.const 20))
                     (call $say (i32.const 1) (i32.const 1024) (i32.const 20))",
                ),
            )
        },
    ]
}

/// Time and waiting.
fn clocks() -> Vec<Program> {
    let functions = "
        (func $time (param $clock i32) (result i64)
          (call $same (call $clock_time_get (local.get $clock) (i64.const 0) (i32.const 8)) (i32.const 0) (i32.const 99))
          (i64.load (i32.const 8)))
        ;; A subscription at 64 + 48 × place.
        (func $subscribe (param $place i32) (param $name i64) (param $kind i32) (param $which i32) (param $timeout i64)
          (param $flags i32)
          (local.set $place (i32.add (i32.const 64) (i32.mul (local.get $place) (i32.const 48))))
          (i64.store (local.get $place) (local.get $name))
          (i64.store offset=8 (local.get $place) (i64.extend_i32_u (local.get $kind)))
          (i32.store offset=16 (local.get $place) (local.get $which))
          (i64.store offset=24 (local.get $place) (local.get $timeout))
          (i64.store offset=32 (local.get $place) (i64.const 0))
          (i64.store offset=40 (local.get $place) (i64.extend_i32_u (local.get $flags))))
        ;; Waits for so many; answers how many happened. Events are at 1024.
        (func $wait (param $count i32) (result i32)
          (memory.fill (i32.const 1024) (i32.const 0xff) (i32.const 256))
          (call $same (call $poll_oneoff (i32.const 64) (i32.const 1024) (local.get $count) (i32.const 16)) (i32.const 0)
            (i32.const 98))
          (i32.load (i32.const 16)))
        (func $event (param $place i32) (param $name i64) (param $error i32) (param $kind i32) (param $bytes i64)
          (param $flags i32) (param $exit i32)
          (local.set $place (i32.add (i32.const 1024) (i32.mul (local.get $place) (i32.const 32))))
          (call $same64 (i64.load (local.get $place)) (local.get $name) (local.get $exit))
          (call $same (i32.load16_u offset=8 (local.get $place)) (local.get $error) (local.get $exit))
          (call $same (i32.load8_u offset=10 (local.get $place)) (local.get $kind) (local.get $exit))
          (call $same64 (i64.load offset=16 (local.get $place)) (local.get $bytes) (local.get $exit))
          (call $same (i32.load16_u offset=24 (local.get $place)) (local.get $flags) (local.get $exit)))";
    let with = |name, body: &str| program(name, "1", &format!("{functions} {}", start(body)));
    vec![
        with(
            "every clock moves, from 2020 on or from nothing, and never goes back",
            "(local $clock i32) (local $now i64)
             (loop $next
               (local.set $now (call $time (local.get $clock)))
               (call $same (i64.gt_u (call $time (local.get $clock)) (local.get $now)) (i32.const 1) (i32.const 1))
               (call $same
                 (i64.lt_u (i64.sub (local.get $now) (select (i64.const 0) (i64.const 1577836800000000000)
                   (local.get $clock))) (i64.const 1000000))
                 (i32.const 1) (i32.const 2))
               (local.set $clock (i32.add (local.get $clock) (i32.const 1)))
               (br_if $next (i32.lt_u (local.get $clock) (i32.const 4))))
             ;; Waits until its clock has moved by a thousandth of a second.
             (local.set $now (call $time (i32.const 1)))
             (loop $spin
               (br_if $spin (i64.lt_u (i64.sub (call $time (i32.const 1)) (local.get $now)) (i64.const 1000000))))",
        ),
        with(
            "waiting moves every clock to where the wait ends, and the event says which",
            "(local $now i64)
             (local.set $now (call $time (i32.const 0)))
             (call $subscribe (i32.const 0) (i64.const 77) (i32.const 0) (i32.const 1) (i64.const 3600000000000) (i32.const 0))
             (call $subscribe (i32.const 1) (i64.const 78) (i32.const 0) (i32.const 0) (i64.const 7200000000000) (i32.const 0))
             (call $same (call $wait (i32.const 2)) (i32.const 1) (i32.const 1))
             (call $event (i32.const 0) (i64.const 77) (i32.const 0) (i32.const 0) (i64.const 0) (i32.const 0) (i32.const 2))
             (call $same (i64.gt_u (i64.sub (call $time (i32.const 0)) (local.get $now)) (i64.const 3600000000000))
               (i32.const 1) (i32.const 3))
             (call $same (i64.lt_u (i64.sub (call $time (i32.const 0)) (local.get $now)) (i64.const 3600001000000))
               (i32.const 1) (i32.const 4))
             ;; An absolute time of each kind of clock, the later one in the past of no other.
             (call $subscribe (i32.const 0) (i64.const 1) (i32.const 0) (i32.const 0)
               (i64.add (local.get $now) (i64.const 9000000000000)) (i32.const 1))
             (call $subscribe (i32.const 1) (i64.const 2) (i32.const 0) (i32.const 1) (i64.const 9000000000001) (i32.const 1))
             (call $same (call $wait (i32.const 1)) (i32.const 1) (i32.const 5))
             (call $same (i64.ge_u (call $time (i32.const 1)) (i64.const 8999999000000)) (i32.const 1) (i32.const 6))
             (call $same (call $wait (i32.const 2)) (i32.const 2) (i32.const 7))
             (call $event (i32.const 0) (i64.const 1) (i32.const 0) (i32.const 0) (i64.const 0) (i32.const 0) (i32.const 8))
             (call $event (i32.const 1) (i64.const 2) (i32.const 0) (i32.const 0) (i64.const 0) (i32.const 0) (i32.const 9))
             ;; For ever is long, but ends, and clocks do not overflow.
             (call $subscribe (i32.const 0) (i64.const 3) (i32.const 0) (i32.const 1) (i64.const -1) (i32.const 0))
             (call $same (call $wait (i32.const 1)) (i32.const 1) (i32.const 10))
             (call $same (call $wait (i32.const 1)) (i32.const 1) (i32.const 11))
             (call $same (i64.gt_s (call $time (i32.const 0)) (local.get $now)) (i32.const 1) (i32.const 12))",
        ),
        Program {
            input: b"abc",
            ..with(
                "descriptors that are ready are told at once, wrong ones as an event with an error",
                "(local $now i64)
                 (local.set $now (call $time (i32.const 1)))
                 (call $subscribe (i32.const 0) (i64.const 1) (i32.const 0) (i32.const 1) (i64.const 1000000000) (i32.const 0))
                 (call $subscribe (i32.const 1) (i64.const 2) (i32.const 1) (i32.const 0) (i64.const 0) (i32.const 0))
                 (call $subscribe (i32.const 2) (i64.const 3) (i32.const 2) (i32.const 1) (i64.const 0) (i32.const 0))
                 (call $subscribe (i32.const 3) (i64.const 4) (i32.const 2) (i32.const 0) (i64.const 0) (i32.const 0))
                 (call $subscribe (i32.const 4) (i64.const 5) (i32.const 1) (i32.const 9) (i64.const 0) (i32.const 0))
                 (call $subscribe (i32.const 5) (i64.const 6) (i32.const 0) (i32.const 0) (i64.const 5) (i32.const 1))
                 (call $same (call $wait (i32.const 6)) (i32.const 5) (i32.const 1))
                 (call $event (i32.const 0) (i64.const 2) (i32.const 0) (i32.const 1) (i64.const 3) (i32.const 0) (i32.const 2))
                 (call $event (i32.const 1) (i64.const 3) (i32.const 0) (i32.const 2) (i64.const 1) (i32.const 0) (i32.const 3))
                 (call $event (i32.const 2) (i64.const 4) (i32.const 8) (i32.const 2) (i64.const 0) (i32.const 0) (i32.const 4))
                 (call $event (i32.const 3) (i64.const 5) (i32.const 8) (i32.const 1) (i64.const 0) (i32.const 0) (i32.const 5))
                 (call $event (i32.const 4) (i64.const 6) (i32.const 0) (i32.const 0) (i64.const 0) (i32.const 0) (i32.const 6))
                 (call $same (i64.lt_u (i64.sub (call $time (i32.const 1)) (local.get $now)) (i64.const 100000000))
                   (i32.const 1) (i32.const 7))
                 ;; Nothing left to read is the end.
                 (i32.store (i32.const 0) (i32.const 4096)) (i32.store (i32.const 4) (i32.const 9))
                 (call $same (call $fd_read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 16)) (i32.const 0) (i32.const 8))
                 (call $subscribe (i32.const 0) (i64.const 7) (i32.const 1) (i32.const 0) (i64.const 0) (i32.const 0))
                 (call $same (call $wait (i32.const 1)) (i32.const 1) (i32.const 9))
                 (call $event (i32.const 0) (i64.const 7) (i32.const 0) (i32.const 1) (i64.const 0) (i32.const 1) (i32.const 10))
                 ;; No such kind, clock or flag.
                 (call $subscribe (i32.const 0) (i64.const 7) (i32.const 3) (i32.const 0) (i64.const 0) (i32.const 0))
                 (call $same (call $poll_oneoff (i32.const 64) (i32.const 1024) (i32.const 1) (i32.const 16)) (i32.const 28)
                   (i32.const 11))
                 (call $subscribe (i32.const 0) (i64.const 7) (i32.const 0) (i32.const 4) (i64.const 0) (i32.const 0))
                 (call $same (call $poll_oneoff (i32.const 64) (i32.const 1024) (i32.const 1) (i32.const 16)) (i32.const 28)
                   (i32.const 12))
                 (call $subscribe (i32.const 0) (i64.const 7) (i32.const 0) (i32.const 0) (i64.const 0) (i32.const 2))
                 (call $same (call $poll_oneoff (i32.const 64) (i32.const 1024) (i32.const 1) (i32.const 16)) (i32.const 28)
                   (i32.const 13))",
            )
        },
    ]
}

/// The forerunner of preview 1, where it differs.
fn unstable() -> Program {
    let body = "
        (memory.fill (i32.const 1024) (i32.const 0xff) (i32.const 128))
        (call $same (call $fd_filestat_get (i32.const 1) (i32.const 1024)) (i32.const 0) (i32.const 1))
        (call $same64 (i64.load (i32.const 1072)) (i64.const 0) (i32.const 2))
        (call $same64 (i64.load (i32.const 1080)) (i64.const -1) (i32.const 3))
        (call $same64 (i64.load (i32.const 1040)) (i64.const 0xffffff00) (i32.const 9))
        (i64.store (i32.const 64) (i64.const 77)) (i64.store (i32.const 80) (i64.const 99))
        (i32.store (i32.const 88) (i32.const 1)) (i64.store (i32.const 96) (i64.const 1000000))
        (call $same (call $poll_oneoff (i32.const 64) (i32.const 1024) (i32.const 1) (i32.const 8)) (i32.const 0) (i32.const 4))
        (call $same (i32.load (i32.const 8)) (i32.const 1) (i32.const 5))
        (call $same64 (i64.load (i32.const 1024)) (i64.const 77) (i32.const 6))
        (call $same (call $clock_time_get (i32.const 1) (i64.const 0) (i32.const 8)) (i32.const 0) (i32.const 7))
        (call $same (i64.ge_u (i64.load (i32.const 8)) (i64.const 1000000)) (i32.const 1) (i32.const 8))";
    Program {
        module: module("wasi_unstable", "1", &start(body)),
        ..program("programs for `wasi_unstable` find its records", "1", &start(""))
    }
}

/// What is said of a stream.
fn records() -> Program {
    let body = "
        (memory.fill (i32.const 1024) (i32.const 0xff) (i32.const 128))
        (call $same (call $fd_fdstat_get (i32.const 0) (i32.const 1024)) (i32.const 0) (i32.const 1))
        (call $same64 (i64.load (i32.const 1024)) (i64.const 0xffffffff0000ff00) (i32.const 2))
        (call $same64 (i64.load (i32.const 1032)) (i64.const 2) (i32.const 3))
        (call $same64 (i64.load (i32.const 1040)) (i64.const 2) (i32.const 4))
        (call $same64 (i64.load (i32.const 1048)) (i64.const -1) (i32.const 5))
        (call $same (call $fd_fdstat_get (i32.const 2) (i32.const 1024)) (i32.const 0) (i32.const 6))
        (call $same64 (i64.load (i32.const 1032)) (i64.const 64) (i32.const 7))
        (call $same (call $fd_filestat_get (i32.const 2) (i32.const 1024)) (i32.const 0) (i32.const 8))
        (call $same64 (i64.load (i32.const 1080)) (i64.const 0) (i32.const 9))
        (call $same64 (i64.load (i32.const 1088)) (i64.const -1) (i32.const 10))
        (call $same64 (i64.load (i32.const 1024)) (i64.const 0) (i32.const 18))
        (memory.fill (i32.const 1024) (i32.const 0xff) (i32.const 128))
        (call $same (call $fd_filestat_get (i32.const 2) (i32.const 1024)) (i32.const 0) (i32.const 19))
        (call $same64 (i64.load (i32.const 1040)) (i64.const -256) (i32.const 20))
        (call $same64 (i64.load (i32.const 1048)) (i64.const 0) (i32.const 21))
        ;; A subscription to standard output.
        (i64.store (i32.const 512) (i64.const 7)) (i32.store8 (i32.const 520) (i32.const 2)) (i32.store (i32.const 528) (i32.const 1))
        (memory.fill (i32.const 1024) (i32.const 0xff) (i32.const 128))
        (call $same (call $poll_oneoff (i32.const 512) (i32.const 1024) (i32.const 1) (i32.const 16)) (i32.const 0) (i32.const 22))
        (call $same64 (i64.load (i32.const 1024)) (i64.const 7) (i32.const 23))
        (call $same64 (i64.load (i32.const 1032)) (i64.const 0xffffffffff020000) (i32.const 24))
        (call $same64 (i64.load (i32.const 1040)) (i64.const 1) (i32.const 25))
        (call $same64 (i64.load (i32.const 1048)) (i64.const 0xffffffffffff0000) (i32.const 26))
        (call $same (call $clock_res_get (i32.const 1) (i32.const 1024)) (i32.const 0) (i32.const 11))
        (call $same64 (i64.load (i32.const 1024)) (i64.const 1) (i32.const 12))
        (call $same (call $args_sizes_get (i32.const 1024) (i32.const 1028)) (i32.const 0) (i32.const 13))
        (call $same (i32.load (i32.const 1024)) (i32.const 1) (i32.const 14))
        (call $same (i32.load (i32.const 1028)) (i32.const 8) (i32.const 15))
        (call $same (call $args_sizes_get (i32.const 1032) (i32.const 1032)) (i32.const 0) (i32.const 27))
        (call $same (i32.load (i32.const 1032)) (i32.const 1) (i32.const 28))
        (call $same (call $environ_sizes_get (i32.const 1024) (i32.const 1028)) (i32.const 0) (i32.const 16))
        (call $same64 (i64.load (i32.const 1024)) (i64.const 0) (i32.const 17))";
    program("a stream has no type, no flags and one right, and what lies between fields stays", "1", &start(body))
}

const ENDS_AS_TOLD: &str = r#"(module
    (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 2)
    (func $deep (param i32) (result i32) (i32.add (i32.const 1) (call $deep (local.get 0))))
    (func (export "_start") (local $told i32)
        (i32.store (i32.const 0) (i32.const 1024)) (i32.store (i32.const 4) (i32.const 1000))
        (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
        (i32.store (i32.const 4) (i32.load (i32.const 8)))
        (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 12)))
        (drop (call $write (i32.const 2) (i32.const 0) (i32.const 1) (i32.const 12)))
        (local.set $told (i32.load8_u (i32.const 1024)))
        (if (i32.eq (local.get $told) (i32.const 0x6d)) (then (drop (memory.grow (i32.const 65000)))))
        (if (i32.eq (local.get $told) (i32.const 0x73)) (then (drop (call $deep (i32.const 0)))))
        (if (i32.eq (local.get $told) (i32.const 0x66)) (then
            (i32.store (i32.const 4) (i32.const 100000))
            (loop $on (drop (call $write (i32.const 2) (i32.const 0) (i32.const 1) (i32.const 12))) (br $on))))))"#;

/// A program that puts its input out on both streams, then wants all memory (`m`), recurses without an end (`s`), goes on
/// putting out until there is no room (`f`), or ends.
pub fn ends_as_told() -> Vec<u8> {
    assemble(ENDS_AS_TOLD)
}
