// The worker of the engines' measurement: the kernel in every variant, one call at a time.
import init, { Guests } from "/engines.js";

try {
  await init();
  const guests = new Guests(new Uint8Array(await (await fetch("/kernels.wasm")).arrayBuffer()));
  self.onmessage = ({ data: [compiled, rewritten, input] }) => {
    try {
      self.postMessage({ value: guests.call(compiled, rewritten, new Uint8Array(input)) });
    } catch (error) {
      self.postMessage({ error: `${error}` });
    }
  };
  self.postMessage({ value: null });
} catch (error) {
  self.postMessage({ error: `${error}` });
}
