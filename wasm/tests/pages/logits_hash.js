/** FNV-1a over the bits of logits, as `edgellm::testing::logits_hash`; the 64 bits are kept in two halves. */
export class LogitsHash {
  #low = 0x84222325;
  #high = 0xcbf29ce4;

  add(logits) {
    const bytes = new Uint8Array(logits.buffer, logits.byteOffset, logits.byteLength);
    let [low, high] = [this.#low, this.#high];
    for (const byte of bytes) {
      low = (low ^ byte) >>> 0;
      // Times 2^40 + 0x1b3.
      const product = low * 0x1b3;
      high = (Math.imul(high, 0x1b3) + Math.floor(product / 2 ** 32) + (low << 8)) >>> 0;
      low = product >>> 0;
    }
    [this.#low, this.#high] = [low, high];
  }

  toString() {
    const hex = (value) => value.toString(16).padStart(8, '0');
    return hex(this.#high) + hex(this.#low);
  }
}

/** The likeliest token, the last of equals. */
export function likeliest(logits) {
  let best = 0;
  for (let id = 1; id < logits.length; id++) if (logits[id] >= logits[best]) best = id;
  return best;
}
