// The engine as a WebAssembly module in V8, for wasm_speed.py: `node wasm_speed.mjs MODULE MODEL`, or imported by a page.
// Commands are "prefill N" and "decode N"; answers are seconds and, after decoding, the hash of the tokens.

/// Instantiates the module and loads the model into it.
export async function open(module, model) {
  const { instance } = await WebAssembly.instantiate(module, {});
  const { memory, parity_model, speed_open, speed_prefill, speed_decode } = instance.exports;
  const at = parity_model(model.length) >>> 0;
  new Uint8Array(memory.buffer, at, model.length).set(model);
  speed_open();
  return (command) => {
    const [what, tokens] = command.split(" ");
    const start = performance.now();
    const hash = (what === "prefill" ? speed_prefill : speed_decode)(Number(tokens));
    const seconds = (performance.now() - start) / 1e3;
    return hash === undefined ? `${seconds}` : `${seconds} ${BigInt.asUintN(64, hash).toString(16).padStart(16, "0")}`;
  };
}

/// Runs in the page: fetches commands from its server until there are no more.
export async function serve() {
  const bytes = async (path) => new Uint8Array(await (await fetch(path)).arrayBuffer());
  const answer = (text) => fetch("answer", { method: "POST", body: text });
  try {
    const run = await open(await bytes("module"), await bytes("model"));
    await answer("ready");
    for (;;) await answer(run(await (await fetch("command")).text()));
  } catch (error) {
    await answer(`${error}`);
  }
}

if (globalThis.process?.argv[2]) {
  const { readFileSync } = await import("node:fs");
  const { createInterface } = await import("node:readline");
  const run = await open(readFileSync(process.argv[2]), readFileSync(process.argv[3]));
  console.log("ready");
  for await (const line of createInterface({ input: process.stdin })) console.log(run(line));
}
