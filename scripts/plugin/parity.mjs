// parity.mjs MODEL FOLDER...: prints the same as host/plugin/examples/parity.rs, from a Node host.
import { open } from "../../examples/embedding/node/host.mjs";

const PROMPT = "The capital of France is";
const TOKENS = 64;

function logitsHash(hash, logits) {
  // 64-bit values are pairs of 32-bit halves: with BigInt, 13 million bytes would take half a minute.
  let low = Number(hash & 0xffffffffn);
  let high = Number(hash >> 32n);
  const bytes = new Uint8Array(logits.buffer, logits.byteOffset, logits.byteLength);
  for (const byte of bytes) {
    low = (low ^ byte) >>> 0;
    // (high, low) * 2^40 + (high, low) * 0x1b3, modulo 2^64.
    const product = low * 0x1b3;
    high = (Math.imul(high, 0x1b3) + Math.floor(product / 0x100000000) + (low << 8)) >>> 0;
    low = product >>> 0;
  }
  return (BigInt(high) << 32n) | BigInt(low);
}

function greedy(logits) {
  let best = 0;
  for (let index = 1; index < logits.length; index++) if (logits[index] > logits[best]) best = index;
  return best;
}

const [path, ...folders] = process.argv.slice(2);
for (const folder of folders) {
  const { Session, model } = await open(folder, path);
  const session = Session.create(model, {});
  let logits = session.prefill(model.tokenize(PROMPT, true));
  let hash = logitsHash(0xcbf29ce484222325n, logits);
  const tokens = [];
  for (let count = 0; count < TOKENS; count++) {
    tokens.push(greedy(logits));
    logits = session.decode(tokens.at(-1));
    hash = logitsHash(hash, logits);
  }
  const kernels = model.info().kernels;
  console.log(JSON.stringify({ host: "node", kernels, tokens, hash: hash.toString(16).padStart(16, "0") }));
}
