// Which builds run here, found out with modules of a few bytes.

const V128 = 0x7b;
const I32 = 0x7f;

const section = (id, bytes) => [id, bytes.length, ...bytes];

/** A module of one function without parameters, exported as `f`. All lengths are below 128, one byte each. */
function moduleOf(result, instructions, memory = []) {
  const body = [0, ...instructions, 0x0b];
  return new Uint8Array([
    ...[0, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
    ...section(1, [1, 0x60, 0, 1, result]),
    ...section(3, [1, 0]),
    ...memory,
    ...section(7, [1, 1, 0x66, 0, 0]),
    ...section(10, [1, body.length, ...body]),
  ]);
}

const splat8 = [0xfd, 0x0f]; // i8x16.splat
const splat16 = [0xfd, 0x10]; // i16x8.splat
const equal16 = [0xfd, 0x2d]; // i16x8.eq
const all16 = [0xfd, 0x83, 0x01]; // i16x8.all_true

const SIMD = moduleOf(V128, [0x41, 0, ...splat8]);

/** Largest products that the kernels form: 2 x -128 x 127 in each 16-bit lane, by i16x8.relaxed_dot_i8x16_i7x16_s. */
const RELAXED_DOT = moduleOf(I32, [
  ...[0x41, 0x80, 0x7f, ...splat8], // -128
  ...[0x41, 0xff, 0x00, ...splat8], // 127
  ...[0xfd, 0x92, 0x02],
  ...[0x41, 0x80, 0x82, 0x7e, ...splat16], // -32512
  ...equal16,
  ...all16,
]);

/** The last of 16 bytes, by i8x16.relaxed_swizzle; the others are 0. */
const RELAXED_SWIZZLE = moduleOf(I32, [
  ...[0xfd, 0x0c, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x2a],
  ...[0x41, 15, ...splat8],
  ...[0xfd, 0x80, 0x02],
  ...[0x41, 0x2a, ...splat8],
  ...equal16,
  ...all16,
]);

/** An atomic load from shared memory. */
const THREADS = moduleOf(I32, [0x41, 0, 0xfe, 0x10, 2, 0], section(5, [1, 3, 1, 1]));

function runs(bytes) {
  return WebAssembly.validate(bytes) && new WebAssembly.Instance(new WebAssembly.Module(bytes)).exports.f() === 1;
}

/** What this browser and page can do, and the best build for it. */
export async function detect() {
  const present = typeof WebAssembly === 'object';
  const simd = present && WebAssembly.validate(SIMD);
  const relaxed = simd && runs(RELAXED_DOT) && runs(RELAXED_SWIZZLE);
  // The module waits for promises with Atomics.waitAsync: every browser with relaxed SIMD has it.
  const shared = typeof SharedArrayBuffer === 'function' && typeof Atomics.waitAsync === 'function';
  const threads = present && shared && WebAssembly.validate(THREADS);
  const features = {
    simd,
    relaxed,
    threads,
    crossOriginIsolated: globalThis.crossOriginIsolated === true,
    hardwareConcurrency: globalThis.navigator?.hardwareConcurrency ?? 1,
  };
  return { ...features, ...choose(features) };
}

function choose({ simd, relaxed, threads, crossOriginIsolated, hardwareConcurrency }) {
  if (!simd) {
    const reason =
      'This browser has no WebAssembly SIMD, which the engine needs. Every current browser has it: please update.';
    return { chosen: null, reason };
  }
  if (!relaxed) {
    return { chosen: 'simd', reason: 'SIMD on one thread: this browser has no relaxed SIMD.' };
  }
  if (hardwareConcurrency < 2) {
    return { chosen: 'relaxed', reason: 'Relaxed SIMD on one thread: there is one processor.' };
  }
  if (!crossOriginIsolated) {
    const reason = 'Relaxed SIMD on one thread: the page is not cross-origin isolated, which several threads need.';
    return { chosen: 'relaxed', reason };
  }
  if (!threads) {
    return { chosen: 'relaxed', reason: 'Relaxed SIMD on one thread: this browser has no WebAssembly threads.' };
  }
  return { chosen: 'threads', reason: 'Relaxed SIMD on several threads.' };
}

/** Why a build cannot run here; undefined if it can. */
export function obstacle(variant, features) {
  if (!['simd', 'relaxed', 'threads'].includes(variant)) {
    return `there is no build ${variant}: there are simd, relaxed and threads`;
  }
  if (!features.simd) return features.reason;
  if (variant !== 'simd' && !features.relaxed) return 'this browser has no relaxed SIMD';
  if (variant === 'threads' && !(features.threads && features.crossOriginIsolated)) {
    return 'several threads need a page that is cross-origin isolated (the COOP and COEP headers)';
  }
  return undefined;
}

/** Threads where nobody says how many: about one a core, since two that share a core do not help each other. */
export const usualThreads = ({ hardwareConcurrency }) =>
  Math.min(8, Math.max(2, Math.floor(hardwareConcurrency / 2)));
