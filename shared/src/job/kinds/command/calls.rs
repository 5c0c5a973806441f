//! The functions of WASI, as a command finds them: standard streams that are pipes, arguments, chance from a seed, a
//! clock that moves by gas; no files, no sockets, no environment.
//!
//! A function answers what wasmtime's own WASI answers to a program without directories, in the same order: first a
//! parameter that is no value of its type (`inval`), then a list or text that cannot be read (`fault`, `ilseq`), then the
//! descriptor, then places to write to (`fault`), all before anything is changed. It differs where wasmtime has reasons of
//! its own; docs/kernels.md lists where.

use wasm_encoder::{BlockType, Function, InstructionSink, ValType};
use wasmparser::ValType as Kind;

use super::{
    frame::{Cell, Frame, PROGRAM, Stream, program},
    poll, streams, text,
};

/// Error numbers of WASI.
pub(super) mod errno {
    pub(crate) const SUCCESS: i32 = 0;
    pub(crate) const BAD_DESCRIPTOR: i32 = 8;
    pub(crate) const FAULT: i32 = 21;
    pub(crate) const ILLEGAL_BYTES: i32 = 25;
    pub(crate) const INVALID: i32 = 28;
    pub(crate) const NO_SYSTEM_CALL: i32 = 52;
    pub(crate) const NOT_A_DIRECTORY: i32 = 54;
    pub(crate) const NOT_A_SOCKET: i32 = 57;
    pub(crate) const NO_SEEK: i32 = 70;
}

/// Which list of functions an import is from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Edition {
    /// `wasi_snapshot_preview1`.
    Preview1,
    /// `wasi_unstable`, its forerunner: other layouts of some records.
    Unstable,
    /// What Emscripten adds.
    Emscripten,
}

impl Edition {
    /// The module that it is imported from.
    pub(super) fn module(self) -> &'static str {
        match self {
            Edition::Preview1 => "wasi_snapshot_preview1",
            Edition::Unstable => "wasi_unstable",
            Edition::Emscripten => "env",
        }
    }
}

/// A parameter's or result's type.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Word {
    /// 32 bits.
    I,
    /// 64 bits.
    L,
}

impl Word {
    /// As a module writes it.
    pub(super) fn kind(self) -> Kind {
        match self {
            Word::I => Kind::I32,
            Word::L => Kind::I64,
        }
    }
}

/// Whether a function tells the time, or waits.
pub(super) fn needs_clock(name: &str) -> bool {
    matches!(name, "clock_time_get" | "poll_oneoff")
}

/// Parameters and results of a function; `None` if there is none of that name.
pub(super) fn signature(edition: Edition, name: &str) -> Option<(&'static [Word], &'static [Word])> {
    use Word::{I, L};
    let parameters: &[Word] = match name {
        _ if edition == Edition::Emscripten => return Some((&[I], &[])),
        "proc_exit" => return Some((&[I], &[])),
        "sock_accept" if edition == Edition::Unstable => return None,
        "sched_yield" => &[],
        "fd_close" | "fd_datasync" | "fd_sync" | "proc_raise" => &[I],
        "args_get"
        | "args_sizes_get"
        | "clock_res_get"
        | "environ_get"
        | "environ_sizes_get"
        | "fd_fdstat_get"
        | "fd_fdstat_set_flags"
        | "fd_filestat_get"
        | "fd_prestat_get"
        | "fd_renumber"
        | "fd_tell"
        | "random_get"
        | "sock_shutdown" => &[I, I],
        "fd_filestat_set_size" => &[I, L],
        "fd_prestat_dir_name"
        | "path_create_directory"
        | "path_remove_directory"
        | "path_unlink_file"
        | "sock_accept" => &[I, I, I],
        "clock_time_get" => &[I, L, I],
        "fd_allocate" | "fd_fdstat_set_rights" => &[I, L, L],
        "fd_read" | "fd_write" | "poll_oneoff" => &[I, I, I, I],
        "fd_seek" => &[I, L, I, I],
        "fd_advise" | "fd_filestat_set_times" => &[I, L, L, I],
        "path_filestat_get" | "path_symlink" | "sock_send" => &[I, I, I, I, I],
        "fd_pread" | "fd_pwrite" | "fd_readdir" => &[I, I, I, L, I],
        "path_readlink" | "path_rename" | "sock_recv" => &[I, I, I, I, I, I],
        "path_filestat_set_times" => &[I, I, I, I, L, L, I],
        "path_link" => &[I, I, I, I, I, I, I],
        "path_open" => &[I, I, I, I, I, L, L, I, I],
        _ => return None,
    };
    Some((parameters, &[I]))
}

/// Bits of the flags' types.
mod bits {
    pub(super) const DESCRIPTOR_FLAGS: i32 = 0x1f;
    pub(super) const LOOKUP: i32 = 1;
    pub(super) const OPEN: i32 = 0xf;
    pub(super) const TIMES: i32 = 0xf;
    pub(super) const SHUTDOWN: i32 = 3;
    pub(super) const RECEIVE: i32 = 3;
    pub(super) const SEND: i32 = 0xffff;
    pub(super) const RIGHTS: i64 = 0x3fff_ffff;
    pub(super) const OLD_RIGHTS: i64 = 0x1fff_ffff;
}

/// The body of a function that [`signature`] knows.
pub(super) fn body(edition: Edition, name: &str, frame: Frame) -> Function {
    let unstable = edition == Edition::Unstable;
    match name {
        "args_get" => return streams::arguments(frame),
        "fd_read" => return streams::read(frame),
        "fd_write" => return streams::write(frame),
        "random_get" => return streams::random(frame),
        "poll_oneoff" => return poll::poll(frame, if unstable { poll::UNSTABLE } else { poll::PREVIEW1 }),
        _ => {}
    }
    let locals = if name == "path_open" { text::LOCALS } else { 1 };
    let mut function = Function::new([(locals, ValType::I32)]);
    let mut sink = Guarded { sink: function.instructions(), frame };
    let rights = if unstable { bits::OLD_RIGHTS } else { bits::RIGHTS };
    match name {
        _ if edition == Edition::Emscripten => {}
        "proc_exit" => {
            sink.sink.local_get(0).global_set(frame.cell(Cell::ExitCode));
            sink.sink.i32_const(2).global_set(frame.cell(Cell::State)).unreachable();
        }
        "args_sizes_get" => {
            sink.writable(0, 4).writable(1, 4);
            // In this order, for a program that gives the same place for both.
            sink.sink.local_get(1).global_get(frame.cell(Cell::ArgumentBytes)).i32_store(program(0));
            sink.sink.local_get(0).global_get(frame.cell(Cell::ArgumentCount)).i32_store(program(0));
            sink.answer(errno::SUCCESS);
        }
        "environ_sizes_get" => {
            sink.writable(0, 4).writable(1, 4);
            sink.sink.local_get(0).i32_const(0).i32_store(program(0)).local_get(1).i32_const(0).i32_store(program(0));
            sink.answer(errno::SUCCESS);
        }
        "clock_time_get" => {
            sink.below(0, poll::CLOCKS).writable(2, 8);
            sink.sink.local_get(2);
            poll::time(&mut sink.sink, frame, |sink| {
                sink.local_get(0);
            });
            sink.sink.i64_store(program(0));
            sink.answer(errno::SUCCESS);
        }
        "clock_res_get" => {
            sink.below(0, poll::CLOCKS).writable(1, 8);
            sink.sink.local_get(1).i64_const(1).i64_store(program(0));
            sink.answer(errno::SUCCESS);
        }
        "environ_get" | "sched_yield" => sink.answer(errno::SUCCESS),
        "proc_raise" => {
            sink.below(0, 31);
            sink.answer(errno::NO_SYSTEM_CALL);
        }
        "fd_close" => {
            sink.open(0);
            close(&mut sink.sink, frame, 0);
            sink.answer(errno::SUCCESS);
        }
        "fd_renumber" => {
            sink.open(0).open(1);
            renumber(&mut sink.sink, frame);
            sink.answer(errno::SUCCESS);
        }
        "fd_fdstat_get" => {
            status(&mut sink);
            sink.answer(errno::SUCCESS);
        }
        "fd_filestat_get" => {
            // A pipe has none of it; the older record counts links in 32 bits. What lies between fields stays as it was.
            let (links, bytes) = if unstable { (20, 56) } else { (24, 64) };
            sink.open(0).writable(1, i64::from(bytes));
            sink.sink.local_get(1).i32_const(0).i32_const(17).memory_fill(PROGRAM);
            sink.sink
                .local_get(1)
                .i32_const(links)
                .i32_add()
                .i32_const(0)
                .i32_const(bytes - links)
                .memory_fill(PROGRAM);
            sink.answer(errno::SUCCESS);
        }
        "fd_seek" => {
            sink.below(2, 3).open(0);
            sink.answer(errno::NO_SEEK);
        }
        "fd_tell" => {
            sink.open(0);
            sink.answer(errno::NO_SEEK);
        }
        "fd_pread" => {
            sink.list(1, 2).stream(0, &[Stream::Input]);
            sink.answer(errno::NO_SEEK);
        }
        "fd_pwrite" => {
            sink.list(1, 2).stream(0, &[Stream::Output, Stream::Errors]);
            sink.answer(errno::NO_SEEK);
        }
        "fd_prestat_dir_name" => {
            sink.open(0);
            sink.answer(errno::NOT_A_DIRECTORY);
        }
        "fd_advise" => {
            sink.below(3, 6);
            sink.answer(errno::BAD_DESCRIPTOR);
        }
        "fd_fdstat_set_flags" => {
            sink.flags(1, bits::DESCRIPTOR_FLAGS);
            sink.answer(errno::BAD_DESCRIPTOR);
        }
        "fd_fdstat_set_rights" => {
            sink.rights(1, rights).rights(2, rights);
            sink.answer(errno::BAD_DESCRIPTOR);
        }
        "fd_filestat_set_times" => {
            sink.times(3);
            sink.answer(errno::BAD_DESCRIPTOR);
        }
        "path_filestat_get" | "path_link" => {
            sink.flags(1, bits::LOOKUP);
            sink.answer(errno::BAD_DESCRIPTOR);
        }
        "path_filestat_set_times" => {
            sink.flags(1, bits::LOOKUP).times(6);
            sink.answer(errno::BAD_DESCRIPTOR);
        }
        "path_open" => {
            sink.flags(1, bits::LOOKUP).flags(4, bits::OPEN).rights(5, rights).rights(6, rights);
            sink.flags(7, bits::DESCRIPTOR_FLAGS).text(2, 3, 9);
            sink.answer(errno::BAD_DESCRIPTOR);
        }
        "sock_accept" => {
            sink.flags(1, bits::DESCRIPTOR_FLAGS).open(0);
            sink.answer(errno::NOT_A_SOCKET);
        }
        "sock_recv" => {
            sink.flags(3, bits::RECEIVE).open(0);
            sink.answer(errno::NOT_A_SOCKET);
        }
        "sock_send" => {
            sink.flags(3, bits::SEND).open(0);
            sink.answer(errno::NOT_A_SOCKET);
        }
        "sock_shutdown" => {
            sink.flags(1, bits::SHUTDOWN).open(0);
            sink.answer(errno::NOT_A_SOCKET);
        }
        // What needs a file or a directory finds none.
        _ => sink.answer(errno::BAD_DESCRIPTOR),
    }
    sink.sink.end();
    function
}

/// Instructions that answer an error as soon as something about a parameter is wrong.
pub(super) struct Guarded<'a> {
    pub sink: InstructionSink<'a>,
    pub frame: Frame,
}

impl Guarded<'_> {
    fn answer(&mut self, errno: i32) {
        self.sink.i32_const(errno);
    }

    /// With a condition on the stack: if it holds, the function answers this.
    pub(super) fn refuse_if(&mut self, errno: i32) -> &mut Self {
        self.sink.if_(BlockType::Empty).i32_const(errno).return_().end();
        self
    }

    /// A parameter that is one of so many cases.
    fn below(&mut self, parameter: u32, cases: i32) -> &mut Self {
        self.sink.local_get(parameter).i32_const(cases).i32_ge_u();
        self.refuse_if(errno::INVALID)
    }

    /// A parameter without other bits than these.
    fn flags(&mut self, parameter: u32, bits: i32) -> &mut Self {
        self.sink.local_get(parameter).i32_const(!bits).i32_and();
        self.refuse_if(errno::INVALID)
    }

    fn rights(&mut self, parameter: u32, bits: i64) -> &mut Self {
        self.sink.local_get(parameter).i64_const(!bits).i64_and().i64_const(0).i64_ne();
        self.refuse_if(errno::INVALID)
    }

    /// Flags that set a time, either to a value or to now.
    fn times(&mut self, parameter: u32) -> &mut Self {
        self.flags(parameter, bits::TIMES);
        self.sink.local_get(parameter).local_get(parameter).i32_const(1).i32_shr_u().i32_and();
        self.sink.i32_const(0b101).i32_and();
        self.refuse_if(errno::INVALID)
    }

    /// A parameter that is an open descriptor.
    fn open(&mut self, parameter: u32) -> &mut Self {
        self.sink.local_get(parameter).call(self.frame.stream()).i32_eqz();
        self.refuse_if(errno::BAD_DESCRIPTOR)
    }

    /// A parameter that is a descriptor of one of these.
    pub(super) fn stream(&mut self, parameter: u32, streams: &[Stream]) -> &mut Self {
        self.sink.i32_const(1);
        for stream in streams {
            self.sink.local_get(parameter).call(self.frame.stream()).i32_const(*stream as i32).i32_ne().i32_and();
        }
        self.refuse_if(errno::BAD_DESCRIPTOR)
    }

    /// A parameter that is the address of so many bytes.
    pub(super) fn writable(&mut self, parameter: u32, bytes: i64) -> &mut Self {
        self.sink.local_get(parameter).i64_const(bytes).call(self.frame.fits()).i32_eqz();
        self.refuse_if(errno::FAULT)
    }

    /// Two parameters that are the address and length of a text; `locals` is the first of [`text::LOCALS`] to use.
    fn text(&mut self, address: u32, length: u32, locals: u32) -> &mut Self {
        self.sink.local_get(address).local_get(length).i64_extend_i32_u().call(self.frame.fits()).i32_eqz();
        self.refuse_if(errno::FAULT);
        text::is_broken(&mut self.sink, address, length, locals);
        self.refuse_if(errno::ILLEGAL_BYTES)
    }

    /// Two parameters that are the address and length of a list of buffers. It is copied to the scratch pages, and the
    /// length becomes what is taken of it.
    pub(super) fn list(&mut self, address: u32, count: u32) -> &mut Self {
        self.sink.local_get(address).local_get(count).call(self.frame.vectors()).local_tee(count);
        self.sink.i32_const(-1).i32_eq();
        self.refuse_if(errno::FAULT)
    }
}

/// Forgets what a descriptor is.
fn close(sink: &mut InstructionSink, frame: Frame, descriptor: u32) {
    let descriptors = frame.cell(Cell::Descriptors);
    sink.global_get(descriptors).i32_const(3).local_get(descriptor).i32_const(1).i32_shl().i32_shl();
    sink.i32_const(-1).i32_xor().i32_and().global_set(descriptors);
}

/// `(from, to)`, both open: `to` becomes what `from` is.
fn renumber(sink: &mut InstructionSink, frame: Frame) {
    const KIND: u32 = 2;
    let descriptors = frame.cell(Cell::Descriptors);
    sink.local_get(0).call(frame.stream()).local_set(KIND);
    close(sink, frame, 0);
    close(sink, frame, 1);
    sink.global_get(descriptors).local_get(KIND).local_get(1).i32_const(1).i32_shl().i32_shl().i32_or();
    sink.global_set(descriptors);
}

/// `(descriptor, status)`: no type, which is what a pipe has here, no flags, and the one right that a pipe gives. What
/// lies between the fields stays as it was.
fn status(sink: &mut Guarded<'_>) {
    const READ: i64 = 1 << 1;
    const WRITE: i64 = 1 << 6;
    let frame = sink.frame;
    sink.open(0).writable(1, 24);
    let sink = &mut sink.sink;
    sink.local_get(1).i32_const(0).i32_store8(program(0)).local_get(1).i32_const(0).i32_store16(program(2));
    for offset in [8, 16] {
        sink.local_get(1).i64_const(READ).i64_const(WRITE);
        sink.local_get(0).call(frame.stream()).i32_const(Stream::Input as i32).i32_eq().select();
        sink.i64_store(program(offset));
    }
}
