// Formats numbers for people.

/** `bytes` in MB or GB, as file managers count them. */
export function size(bytes) {
  if (bytes >= 1e9) return `${(bytes / 1e9).toFixed(bytes < 1e10 ? 2 : 1)} GB`;
  return bytes >= 1e6 ? `${Math.round(bytes / 1e6)} MB` : `${Math.ceil(bytes / 1e3)} kB`;
}

/** `ms` in milliseconds, or in seconds from one second. */
export function duration(ms) {
  return ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(ms < 10000 ? 1 : 0)} s`;
}

/** Tokens per second, rounded to integers from ten. */
export function speed(tokens, ms) {
  const rate = (tokens * 1000) / Math.max(ms, 1e-3);
  return `${rate.toFixed(rate < 10 ? 1 : 0)} tokens/s`;
}

/** `count` with `word` in the right number. */
export function plural(count, word) {
  return `${count} ${word}${count === 1 ? "" : "s"}`;
}

/** The median of `numbers`. */
export function median(numbers) {
  const sorted = [...numbers].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** A number with four significant digits. */
export function rounded(value) {
  return value < 1e5 ? String(Number(value.toPrecision(4))) : value.toExponential(1);
}
