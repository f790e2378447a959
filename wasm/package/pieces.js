// The bytes of `Model.fromBytes` on their way to the worker, piece by piece as it asks for them.

import { packed } from './errors.js';

/** Bytes that are copied at once, where the page holds all. */
const PIECE = 4 << 20;

/** A port that answers every message with the next piece, with nothing at the end, or with an error. */
export function portOf(bytes) {
  const pieces = bytes instanceof ReadableStream ? fromStream(bytes) : fromMemory(bytes);
  const { port1, port2 } = new MessageChannel();
  port1.onmessage = async () => {
    try {
      const { value } = await pieces.next();
      port1.postMessage({ value }, value ? [value.buffer] : []);
    } catch (error) {
      const message = `the stream of the model's bytes broke: ${error?.message ?? error}`;
      port1.postMessage({ error: packed({ code: 'download', message }) });
    }
  };
  const close = () => {
    port1.close();
    // Whoever sends the rest may stop.
    pieces.return().catch(() => {});
  };
  return { port: port2, close };
}

async function* fromStream(stream) {
  const reader = stream.getReader();
  try {
    for (let read = await reader.read(); !read.done; read = await reader.read()) yield read.value.slice();
  } finally {
    reader.cancel().catch(() => {});
  }
}

async function* fromMemory(bytes) {
  const all = ArrayBuffer.isView(bytes)
    ? new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    : new Uint8Array(bytes);
  for (let start = 0; start < all.length; start += PIECE) yield all.slice(start, start + PIECE);
}
