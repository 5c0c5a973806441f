// In a Web Worker: does what a script of src/record.rs says and compares what comes of it, bit by bit.
"use strict";

const [MODULE, INSTANCE, SET, CALL] = [0, 1, 2, 3];
const SLOT = 16, RESULTS = 1024, GLOBALS = 2048, PIECE = 16 << 20, MOST_DIFFERENCES = 20;

// Natives of V8, there with --allow-natives-syntax: which of its compilers made a function.
const isBaseline = new Function("f", "return %IsLiftoffFunction(f)");
const isOptimised = new Function("f", "return %IsTurboFanFunction(f)");

class Reader {
  constructor(bytes) {
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.at = 0;
  }
  byte() { return this.bytes[this.at++]; }
  number() { this.at += 4; return this.view.getUint32(this.at - 4, true); }
  long() { this.at += 8; return this.view.getBigInt64(this.at - 8, true); }
  run(length) { this.at += length; return this.bytes.subarray(this.at - length, this.at); }
  text() { return new TextDecoder("utf-8", { ignoreBOM: true }).decode(this.run(this.number())); }
  values() { return this.run(SLOT * this.number()); }
}

const same = (one, other) => one.length === other.length && one.every((byte, place) => byte === other[place]);
const shown = (bytes) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("").replace(/(.{32})/g, "$1 ");

async function hash(buffer) {
  const sha = async (bytes) => new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  const pieces = [];
  for (let at = 0; at < buffer.byteLength; at += PIECE) {
    pieces.push(...(await sha(new Uint8Array(buffer, at, Math.min(PIECE, buffer.byteLength - at)))));
  }
  return sha(new Uint8Array(pieces));
}

async function replay(script) {
  const said = { modules: 0, calls: 0, traps: 0, beyond: 0, memories: 0, baseline: 0, optimised: 0, differences: [] };
  const reader = new Reader(new Uint8Array(script));
  let label, module, shim, functions, globals, exported, slots, moved;
  const differs = (text) => said.differences.length < MOST_DIFFERENCES && said.differences.push(`${label}: ${text}`);
  while (reader.at < reader.bytes.length && said.differences.length < MOST_DIFFERENCES) {
    switch (reader.byte()) {
      case MODULE: {
        label = reader.text();
        module = new WebAssembly.Module(reader.run(reader.number()));
        shim = new WebAssembly.Module(reader.run(reader.number()));
        const names = (kind) => WebAssembly.Module.exports(module).filter((it) => it.kind === kind).map((it) => it.name);
        functions = names("function");
        globals = names("global");
        said.modules += 1;
        break;
      }
      case INSTANCE: {
        exported = new WebAssembly.Instance(module).exports;
        const all = (names) => Object.fromEntries(names.map((name, number) => [number, exported[name]]));
        moved = new WebAssembly.Instance(shim, { f: all(functions), g: all(globals) }).exports;
        slots = new Uint8Array(moved.memory.buffer);
        break;
      }
      case SET: {
        const [name, isLong, value] = [reader.text(), reader.byte(), reader.long()];
        exported[name].value = isLong ? value : Number(value);
        break;
      }
      case CALL: {
        const number = reader.number();
        const [given, traps, results, after] = [reader.values(), reader.byte(), reader.values(), reader.values()];
        const what = `${functions[number]}(${shown(given)})`;
        slots.fill(0);
        slots.set(given);
        let ended = 0;
        let isBeyond = false;
        try {
          moved[number]();
        } catch (error) {
          ended = 1;
          // V8's own stack is smaller than a kernel's: in a tab the referee is asked then, so nothing is left to compare.
          isBeyond = error instanceof RangeError;
          // Its memory, a bug: no trap of a kernel.
          if (!isBeyond && !(error instanceof WebAssembly.RuntimeError)) differs(`${what}: ${error}`);
        }
        if (!isBeyond && ended !== traps) differs(`${what}: ${ended ? "trapped" : "returned"}, and wasmi did not`);
        const came = slots.subarray(RESULTS, RESULTS + results.length);
        if (!ended && !same(came, results)) differs(`${what}: ${shown(came)} instead of ${shown(results)}`);
        moved.globals();
        const now = slots.subarray(GLOBALS, GLOBALS + after.length);
        if (!isBeyond && !same(now, after)) differs(`${what}: globals ${globals} are ${shown(now)} instead of ${shown(after)}`);
        for (let left = reader.number(); left > 0; left -= 1) {
          const [name, length, expected] = [reader.text(), Number(reader.long()), reader.run(32)];
          const { buffer } = exported[name];
          said.memories += 1;
          if (isBeyond) continue;
          if (buffer.byteLength !== length || !same(await hash(buffer), expected)) differs(`${what}: memory differs`);
        }
        said.calls += 1;
        said.traps += ended;
        said.beyond += isBeyond ? 1 : 0;
        said.baseline += isBaseline(exported[functions[number]]) ? 1 : 0;
        said.optimised += isOptimised(exported[functions[number]]) ? 1 : 0;
        break;
      }
      default:
        throw new Error(`the script makes no sense before byte ${reader.at}`);
    }
  }
  return said;
}

self.onmessage = async () => {
  try {
    postMessage(await replay(await (await fetch("/script")).arrayBuffer()));
  } catch (error) {
    postMessage({ failed: `${error}\n${error.stack}` });
  }
};
