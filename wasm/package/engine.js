// The engine's module in this worker: one of the builds.

import * as simd from './simd/edgellm.js';
import * as relaxed from './relaxed/edgellm.js';
import * as threads from './threads/edgellm.js';
import { EdgeLlmError } from './errors.js';

const BUILDS = {
  simd: { glue: simd, url: new URL('./simd/edgellm_bg.wasm', import.meta.url) },
  relaxed: { glue: relaxed, url: new URL('./relaxed/edgellm_bg.wasm', import.meta.url) },
  threads: { glue: threads, url: new URL('./threads/edgellm_bg.wasm', import.meta.url) },
};

/** Stack of a thread of the pool: kernels use little of it. */
const THREAD_STACK = 1 << 20;

/** The glue of the build that was started. */
export let glue;

/** Starts a build. `lend` is called with what threads need to join. */
export async function start(variant, wantedThreads = 1, lend = () => {}) {
  const build = BUILDS[variant];
  const module = await compiled(build.url);
  if (variant !== 'threads') {
    build.glue.initSync({ module });
    glue = build.glue;
    return;
  }
  const { memory } = startShared(build.glue, module);
  glue = build.glue;
  if (wantedThreads > 1) {
    lend({ module, memory });
    // Without all of them the engine runs just as well, only slower; `info.threads` tells how many came.
    const end = performance.now() + 10_000;
    while (glue.threads() < wantedThreads && performance.now() < end) {
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
  }
}

/** Starts the build with threads, on as much memory as the browser sets aside. */
function startShared(glue, module) {
  const options = { module, thread_stack_size: THREAD_STACK };
  try {
    return glue.initSync(options);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
  }
  // Some devices refuse the 4 GiB of addresses that the glue asks for.
  try {
    const memory = new WebAssembly.Memory({ initial: 64, maximum: 16384, shared: true });
    return glue.initSync({ ...options, memory });
  } catch (error) {
    throw new EdgeLlmError('out_of_memory', `the browser gives no shared memory: ${error.message}`);
  }
}

/** Lends this worker to an engine in another one, for good. */
export function work({ module, memory }) {
  threads.initSync({ module, memory, thread_stack_size: THREAD_STACK });
  threads.work();
}

async function compiled(url) {
  let response;
  try {
    response = await fetch(url);
  } catch (error) {
    throw new EdgeLlmError('engine', `the engine could not be loaded from ${url}: ${error.message}`);
  }
  if (!response.ok) {
    throw new EdgeLlmError('engine', `the engine could not be loaded from ${url}: HTTP status ${response.status}`);
  }
  try {
    // Servers that send another type than application/wasm are common; bytes compile whatever they are called.
    if (response.headers.get('content-type') !== 'application/wasm') {
      return await WebAssembly.compile(await response.arrayBuffer());
    }
    return await WebAssembly.compileStreaming(response);
  } catch (error) {
    throw new EdgeLlmError('engine', `the engine's module at ${url} does not compile: ${error.message}`);
  }
}

/** What to say of an exception that the engine did not foresee; after it the module is of no use. */
export function fatal(error) {
  const panic = glue?.panicMessage();
  if (error instanceof WebAssembly.RuntimeError && !panic) {
    const message = 'the engine stopped: most likely the memory is exhausted. Load the model again, or a smaller one';
    return { code: 'out_of_memory', message, fatal: true };
  }
  return { code: 'crashed', message: `the engine failed: ${panic || error.message}`, fatal: true };
}
