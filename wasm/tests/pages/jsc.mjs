// Runs in the `jsc` shell, which is JavaScriptCore, Safari's engine, without a browser around it:
//     jsc -m pages/jsc.mjs -- PACKAGE MODEL PROMPT COUNT
// Prints the greedy tokens after PROMPT (numbers with commas), and the hash of all logits, as JSON.

import { likeliest, LogitsHash } from './logits_hash.js';

// The glue wants four things of a browser. Texts here are ASCII, and no result depends on random numbers.
globalThis.TextDecoder = class {
  decode(bytes = new Uint8Array()) {
    return String.fromCharCode(...bytes);
  }
};
globalThis.TextEncoder = class {
  encodeInto(text, bytes) {
    for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
    return { read: text.length, written: text.length };
  }
};
globalThis.crypto = { getRandomValues: (bytes) => bytes.fill(7) };

const [folder, path, prompt, count] = arguments;
const glue = await import(`${folder}/simd/edgellm.js`);
glue.initSync({ module: new WebAssembly.Module(readFile(`${folder}/simd/edgellm_bg.wasm`, 'binary')) });

const incoming = glue.Incoming.model(Infinity);
incoming.write(readFile(path, 'binary'));
const model = glue.Model.open(incoming, 0);
const session = model.session('{}');
const hash = new LogitsHash();
const tokens = [];
let logits = session.prefill(Uint32Array.from(prompt.split(',')));
hash.add(logits);
for (let i = 0; i < Number(count); i++) {
  tokens.push(likeliest(logits));
  logits = session.prefill(Uint32Array.of(tokens.at(-1)));
  hash.add(logits);
}
print(JSON.stringify({ kernel: JSON.parse(model.info()).kernel, tokens, logitsHash: String(hash) }));
