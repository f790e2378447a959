// The type of a file, by its first bytes.

/** Bytes that `modelKind` needs. */
export const KIND_BYTES = 8;

/** The type of the file that begins with `bytes`: `tmac2`, `gguf`, or null for anything else. */
export function modelKind(bytes) {
  const begins = (text) => [...text].every((letter, index) => bytes[index] === letter.charCodeAt(0));
  if (begins("TMAC2BIN")) return "tmac2";
  return begins("GGUF") ? "gguf" : null;
}

/** What a file that is not a model seems to be, for a message. */
export function looksLike(bytes) {
  if (bytes.length === 0) return "an empty file";
  const text = new TextDecoder().decode(bytes.subarray(0, KIND_BYTES)).trimStart();
  if (text.startsWith("<")) return "a web page";
  if (text.startsWith("{") || text.startsWith("[")) return "JSON text";
  if (text.startsWith("PK")) return "a zip archive";
  if (text.startsWith("%PDF")) return "a PDF document";
  if (/^.PNG|^GIF8|^RIFF|^\xff\xd8/.test(String.fromCharCode(...bytes.subarray(0, 4)))) return "a picture";
  if (bytes.every((byte) => byte === 0)) return "zeros, perhaps an unfinished download";
  return "a file of another kind";
}
