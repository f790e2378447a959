// The package's interface; index.d.ts documents it. Everything here runs in the page and only passes messages.

import { portOf } from './chunks.js';
import { Connection } from './connection.js';
import { EdgeLlmError } from './errors.js';
import { detect, obstacle, usualThreads } from './features.js';
import { Generation } from './generation.js';
import { generateJson, json } from './options.js';

export { detect, EdgeLlmError };

const MAX_THREADS = 64;

export class Model {
  #connection;

  /** @internal */
  constructor(connection, info) {
    this.#connection = connection;
    this.info = Object.freeze(info);
  }

  static async fromUrl(url, options = {}) {
    const { headers, signal: _, ...request } = options.request ?? {};
    // A Headers object cannot be sent to another thread.
    if (headers) request.headers = [...new Headers(headers)];
    return load({ url: new URL(url, globalThis.document?.baseURI ?? location.href).href, request }, options);
  }

  static async fromFile(file, options = {}) {
    return load(file, options);
  }

  static async fromBytes(bytes, options = {}) {
    const { port, close } = portOf(bytes);
    return load(port, options, [port]).finally(close);
  }

  async session(options = {}) {
    const id = await this.#connection.call('session', { options: json(options) });
    return new Session(this, this.#connection, id);
  }

  tokenize(text, { addSpecial = false } = {}) {
    return this.#connection.call('tokenize', { text: String(text), addSpecial });
  }

  detokenize(tokens) {
    return this.#connection.call('detokenize', { tokens: Uint32Array.from(tokens) });
  }

  applyChatTemplate(messages) {
    return this.#connection.call('applyChatTemplate', { messages: json(messages) });
  }

  tokenizeChat(messages, { parseSpecialInContent = false } = {}) {
    const argument = { messages: json(messages), parseSpecial: Boolean(parseSpecialInContent) };
    return this.#connection.call('tokenizeChat', argument);
  }

  memory() {
    return this.#connection.call('memory');
  }

  close() {
    this.#connection.close();
  }
}

export class Session {
  #connection;
  #id;

  /** @internal */
  constructor(model, connection, id) {
    this.model = model;
    this.#connection = connection;
    this.#id = id;
  }

  generate(input, options = {}) {
    return new Generation(async (signal, onToken) => {
      const { parseSpecialInContent = false, ...rest } = options;
      const parseSpecial = Boolean(parseSpecialInContent);
      const argument = { session: this.#id, input: inputOf(input), parseSpecial, options: generateJson(rest) };
      const onEvent = ({ token, prefill }) => (token ? onToken(token) : options.onPrefill?.(prefill));
      return this.#connection.call('generate', argument, { onEvent, signal });
    }, options.signal);
  }

  prefill(tokens) {
    return this.#connection.call('prefill', { session: this.#id, tokens: Uint32Array.from(tokens) });
  }

  decode(token) {
    return this.prefill([token]);
  }

  reset() {
    return this.#connection.call('reset', { session: this.#id });
  }

  close() {
    // Where the model is closed there is nothing left to free.
    this.#connection.call('closeSession', { session: this.#id }).catch(() => {});
  }
}

/** A prompt as the worker takes it. */
function inputOf(input) {
  if (typeof input === 'string') return { text: input };
  if (input instanceof Uint32Array) return { tokens: input };
  if (Array.isArray(input)) return { messages: json(input) };
  throw new EdgeLlmError('invalid', 'the input must be a text, an array of messages or a Uint32Array of tokens');
}

async function load(source, options, transfer = []) {
  const { signal, onProgress, memoryLimit = Infinity } = options;
  signal?.throwIfAborted();
  const features = await detect();
  const variant = options.variant ?? features.chosen;
  const problem = variant ? obstacle(variant, features) : features.reason;
  if (problem) throw new EdgeLlmError('unsupported', problem);
  const threads = variant === 'threads' ? (options.threads ?? usualThreads(features)) : 1;
  if (!Number.isInteger(threads) || threads < 1 || threads > MAX_THREADS) {
    throw new EdgeLlmError('invalid', `threads is ${threads}: give a whole number from 1 to ${MAX_THREADS}`);
  }
  const connection = new Connection();
  const abort = () => connection.close(signal.reason);
  signal?.addEventListener('abort', abort);
  try {
    const onEvent = ({ progress, pool }) => (pool ? connection.lend(threads - 1, pool) : onProgress?.(progress));
    const argument = { source, variant, threads, memoryLimit };
    const info = await connection.call('load', argument, { onEvent, transfer });
    const reason = options.variant ? 'This build was asked for.' : features.reason;
    return new Model(connection, { ...info, variant, reason });
  } catch (error) {
    connection.close(error);
    throw error;
  } finally {
    signal?.removeEventListener('abort', abort);
  }
}

/** Converts a GGUF file in a worker of its own, which ends with it. */
export async function quantize(gguf, options = {}) {
  const { signal, onProgress, memoryLimit = Infinity, ...rest } = options;
  signal?.throwIfAborted();
  const features = await detect();
  if (!features.chosen) throw new EdgeLlmError('unsupported', features.reason);
  // One thread does it all, so there is no use in shared memory.
  const variant = features.relaxed ? 'relaxed' : 'simd';
  const connection = new Connection();
  const abort = () => connection.close(signal.reason);
  signal?.addEventListener('abort', abort);
  try {
    const argument = { file: gguf, variant, memoryLimit, options: json(rest) };
    return await connection.call('quantize', argument, { onEvent: ({ progress }) => onProgress?.(progress) });
  } finally {
    connection.close();
    signal?.removeEventListener('abort', abort);
  }
}
