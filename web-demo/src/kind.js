// What a file is, by its first bytes.

/** Bytes that `modelKind` wants to see. */
export const KIND_BYTES = 8;

/** `tmac2` or `gguf`, or null for anything else, of the file that begins with `bytes`. */
export function modelKind(bytes) {
  const begins = (text) => [...text].every((letter, index) => bytes[index] === letter.charCodeAt(0));
  if (begins("TMAC2BIN")) return "tmac2";
  return begins("GGUF") ? "gguf" : null;
}

/** What a file that is no model seems to be, for a message. */
export function looksLike(bytes) {
  if (bytes.length === 0) return "nothing: it is empty";
  const text = new TextDecoder().decode(bytes.subarray(0, KIND_BYTES)).trimStart();
  if (text.startsWith("<")) return "a web page";
  if (text.startsWith("{") || text.startsWith("[")) return "JSON text";
  if (text.startsWith("PK")) return "a zip archive";
  if (text.startsWith("%PDF")) return "a PDF document";
  if (/^.PNG|^GIF8|^RIFF|^\xff\xd8/.test(String.fromCharCode(...bytes.subarray(0, 4)))) return "a picture";
  if (bytes.every((byte) => byte === 0)) return "zeros: perhaps a download that was never finished";
  return "a file of another kind";
}
