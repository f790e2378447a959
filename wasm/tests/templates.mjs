// Runs the nested templates of wasm/parity in Node: `node templates.mjs MODULE` prints their line, or fails with the trap.

import { readFileSync } from 'node:fs';

export async function deepTemplates(module) {
  const { instance } = await WebAssembly.instantiate(readFileSync(module));
  const { memory, parity_deep_templates, parity_report, parity_report_len } = instance.exports;
  if (parity_deep_templates() !== 0) throw new Error('it failed');
  return new TextDecoder().decode(new Uint8Array(memory.buffer, parity_report(), parity_report_len())).trim();
}

if (import.meta.main ?? process.argv[1] === import.meta.filename) console.log(await deepTemplates(process.argv[2]));
