// In the page that a relay serves: one worker of the tab's own kind, driven as the page's pool drives it.
"use strict";

window.tab = {
  /** Starts a worker, in place of the one before; `ahead` is code that runs in it before its own. */
  async start(shim, ahead, done, failed, resting) {
    const [script, interpreter] = ["worker", "interpreter"].map((piece) => {
      const named = document.querySelector(`meta[name=p2pnet-${piece}]`);
      return new URL(named.content, location.origin).href;
    });
    const module = await WebAssembly.compileStreaming(fetch(script.replace(/\.js$/, "_bg.wasm")));
    // Imports go first in a module, wherever they stand: what runs ahead is imported before.
    const url = (text) => URL.createObjectURL(new Blob([text], { type: "text/javascript" }));
    const source = `import ${JSON.stringify(url(ahead))};\n${shim.replace("OWN_SCRIPT", script)}`;
    this.reins = new Int32Array(new SharedArrayBuffer(16));
    this.worker?.terminate();
    this.worker = new Worker(url(source), { type: "module" });
    this.ends = [done, failed];
    this.resting = resting;
    const up = new Promise((resolve, reject) => {
      this.worker.onmessage = resolve;
      this.worker.onerror = (error) => reject(error.message);
    });
    this.worker.postMessage([module, this.reins.buffer, interpreter]);
    await up;
    return true;
  },

  /** Orders something about a run, as the page does it by the reins. */
  order(what, run) {
    if (what === "stop") {
      Atomics.store(this.reins, 1, 0);
      Atomics.store(this.reins, 0, run);
    } else {
      Atomics.store(this.reins, 2, what === "set_aside" ? run : 0);
    }
    Atomics.add(this.reins, 3, 1);
    Atomics.notify(this.reins, 3);
  },

  /**
   * Hands over a batch, with the module that was last said if `withModule`, and gives the `orders`, each `after` so many
   * milliseconds, the next rest that is said, or a second in which nothing is; what the worker ended before is not waited for.
   * Gives all that the worker said until it ended, how much of that before the last order, and the milliseconds from there.
   */
  async run(message, withModule, run, orders) {
    const said = [];
    let [asked, before, heard, rested, isOver] = [0, 0, performance.now(), false, false];
    const until = async (is) => {
      while (!isOver && !is()) await new Promise((resolve) => setTimeout(resolve, 10));
    };
    const bytes = Uint8Array.from(atob(message), (letter) => letter.charCodeAt(0));
    const ended = new Promise((resolve, reject) => {
      this.worker.onmessage = ({ data }) => {
        const [words, module] = Array.isArray(data) ? data : [data];
        heard = performance.now();
        rested ||= words[0] === this.resting;
        said.push(btoa(Array.from(words, (byte) => String.fromCharCode(byte)).join("")));
        if (module !== undefined && !(module instanceof WebAssembly.Module)) reject("what came beside is no module");
        this.module = module ?? this.module;
        isOver = this.ends.includes(words[0]);
        if (isOver) resolve();
      };
      this.worker.onerror = (error) => reject(error.message);
    });
    this.worker.postMessage(withModule ? [bytes, this.module] : bytes, [bytes.buffer]);
    for (const { after, what } of orders) {
      if (after === "rest") await until(() => rested);
      else if (after === "quiet") await until(() => performance.now() - heard > 1000);
      else await new Promise((resolve) => setTimeout(resolve, after.millis));
      [asked, before, heard, rested] = [performance.now(), said.length, performance.now(), false];
      this.order(what, run);
    }
    await ended;
    return { said, before, millis: performance.now() - asked };
  },
};
