// The bytes of `Model.fromBytes` on their way to the worker, chunk by chunk as it asks for them.

/** Bytes that are copied at once, where the page holds all. */
const CHUNK = 4 << 20;

/** A port that answers every message with the next chunk, with nothing at the end, or with a text that says what failed. */
export function portOf(bytes) {
  const chunks = bytes instanceof ReadableStream ? fromStream(bytes) : fromMemory(bytes);
  const { port1, port2 } = new MessageChannel();
  port1.onmessage = async () => {
    try {
      const { value } = await chunks.next();
      port1.postMessage(value, value ? [value.buffer] : []);
    } catch (error) {
      port1.postMessage(String(error?.message ?? error));
    }
  };
  const close = () => {
    port1.close();
    // Whoever sends the rest may stop.
    chunks.return().catch(() => {});
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
  for (let start = 0; start < all.length; start += CHUNK) yield all.slice(start, start + CHUNK);
}
