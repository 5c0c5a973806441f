"""Runs programs on wasmtime's own WASI, as the referee asks over standard input: nothing of ours takes part, so that a
fault of ours cannot hide. It needs PyPI's `wasmtime`, which brings wasmtime built.

It is asked `["module", bytes]`, then any number of `["run", input, argument, ...]`, and answers each with one list: `[]`
for a module, `[how, exit code, standard output, standard error, reason]` for a run, `[reason]` for a refusal. A list is
its length and its byte strings, each with its length in front, in 32 bits (`src/frames.rs`).
"""

import pathlib
import sys
import tempfile
import threading
import time

import wasmtime

# Programs that recurse ten thousand deep are within their rights; this build of wasmtime takes less than 2 MiB.
STACK = 3 << 19
# After so many seconds a program is ended.
PATIENCE = 120


def take():
    """The next list; None where the other side has ended."""
    read = sys.stdin.buffer.read
    count = read(4)
    if len(count) < 4:
        return None
    return [read(int.from_bytes(read(4), "little")) for _ in range(int.from_bytes(count, "little"))]


def send(parts):
    """Sends a list."""
    write = sys.stdout.buffer.write
    write(len(parts).to_bytes(4, "little"))
    for part in parts:
        write(len(part).to_bytes(4, "little"))
        write(part)
    sys.stdout.buffer.flush()


def run(engine, module, streams, given):
    """Runs the program with standard streams in files of the folder `streams`."""
    linker = wasmtime.Linker(engine)
    linker.define_wasi()
    for wanted in module.imports:
        # Emscripten's programs say that their memory grew; nothing needs to know.
        if wanted.module == "env" and wanted.name == "emscripten_notify_memory_growth":
            linker.define_func(wanted.module, wanted.name, wanted.type, lambda _index: None)
    paths = {name: streams / name for name in ("input", "output", "errors")}
    paths["input"].write_bytes(given[0])
    wasi = wasmtime.WasiConfig()
    wasi.argv = [argument.decode() for argument in given[1:]]
    wasi.stdin_file, wasi.stdout_file, wasi.stderr_file = (str(path) for path in paths.values())
    store = wasmtime.Store(engine)
    store.set_wasi(wasi)
    store.set_epoch_deadline(PATIENCE)
    how, code, reason = b"exit", 0, ""
    try:
        linker.instantiate(store, module).exports(store)["_start"](store)
    except wasmtime.ExitTrap as end:
        code = end.code
    except (wasmtime.Trap, wasmtime.WasmtimeError) as end:
        # A call of WASI that was handed something impossible also traps, by an error of the host's.
        reason = str(end)
        interrupted = isinstance(end, wasmtime.Trap) and end.trap_code == wasmtime.TrapCode.INTERRUPT
        how = b"patience" if interrupted else b"trap"
    store.close()
    outputs = [paths[name].read_bytes() for name in ("output", "errors")]
    return [how, code.to_bytes(4, "little"), *outputs, reason.encode()]


def answer(engine):
    """Answers until nothing more is asked."""
    module = None
    with tempfile.TemporaryDirectory() as folder:
        while (asked := take()) is not None:
            if asked[0] == b"module":
                try:
                    module = wasmtime.Module(engine, asked[1])
                    send([])
                except wasmtime.WasmtimeError as error:
                    send([str(error).encode()])
            else:
                send(run(engine, module, pathlib.Path(folder), asked[1:]))


def main():
    """Sets the engine up."""
    config = wasmtime.Config()
    config.max_wasm_stack = STACK
    config.epoch_interruption = True
    engine = wasmtime.Engine(config)

    def tick():
        while True:
            time.sleep(1)
            engine.increment_epoch()

    threading.Thread(target=tick, daemon=True).start()
    # The main thread's stack is too small for what programs may use.
    threading.stack_size(16 * STACK)
    work = threading.Thread(target=answer, args=(engine,))
    work.start()
    work.join()


main()
