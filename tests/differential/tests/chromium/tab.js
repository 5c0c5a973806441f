// In the page that a relay serves: one worker of the tab's own kind, driven as the page's pool drives it.
"use strict";

window.tab = {
  /** Starts a worker, in place of the one before; `ahead` is code that runs in it before its own. */
  async start(shim, ahead, done, failed) {
    const script = document.querySelector("link[rel=modulepreload]").href;
    const binary = document.querySelector("link[rel=preload][type='application/wasm']").href;
    const module = await WebAssembly.compileStreaming(fetch(binary));
    // Imports go first in a module, wherever they stand: what runs ahead is imported before.
    const url = (text) => URL.createObjectURL(new Blob([text], { type: "text/javascript" }));
    const source = `import ${JSON.stringify(url(ahead))};\n${shim.replace("OWN_SCRIPT", script)}`;
    this.reins = new Int32Array(new SharedArrayBuffer(8));
    this.worker?.terminate();
    this.worker = new Worker(url(source), { type: "module" });
    this.ends = [done, failed];
    const up = new Promise((resolve, reject) => {
      this.worker.onmessage = resolve;
      this.worker.onerror = (error) => reject(error.message);
    });
    this.worker.postMessage([module, this.reins.buffer]);
    await up;
    return true;
  },

  /** Hands over a batch, with the module that was last said if `withModule`; gives all that the worker said until it ended, and the milliseconds from `stop` to there. */
  async run(message, withModule, stop) {
    const said = [];
    let asked = 0;
    const bytes = Uint8Array.from(atob(message), (letter) => letter.charCodeAt(0));
    const ended = new Promise((resolve, reject) => {
      this.worker.onmessage = ({ data }) => {
        const [words, module] = Array.isArray(data) ? data : [data];
        said.push(btoa(Array.from(words, (byte) => String.fromCharCode(byte)).join("")));
        if (module !== undefined && !(module instanceof WebAssembly.Module)) reject("what came beside is no module");
        this.module = module ?? this.module;
        if (this.ends.includes(words[0])) resolve();
      };
      this.worker.onerror = (error) => reject(error.message);
    });
    this.worker.postMessage(withModule ? [bytes, this.module] : bytes, [bytes.buffer]);
    if (stop) {
      await new Promise((resolve) => setTimeout(resolve, stop.after));
      asked = performance.now();
      Atomics.store(this.reins, 1, 0);
      Atomics.store(this.reins, 0, stop.run);
      Atomics.notify(this.reins, 0);
    }
    await ended;
    return { said, millis: performance.now() - asked };
  },
};
