/**
 * EdgeLLM in the browser: a language model that runs inside the page, in a Web Worker.
 *
 * The same `.tmac2.bin` file gives bitwise the same output as the native program, in every build and with any number of
 * threads.
 */

/**
 * The builds of the engine. Their results are bitwise the same; their speed differs.
 * - `simd`: WebAssembly SIMD, every browser since 2023.
 * - `relaxed`: with relaxed SIMD.
 * - `threads`: as `relaxed`, on several threads; needs a cross-origin isolated page.
 */
export type Variant = 'simd' | 'relaxed' | 'threads';

/** What this browser and page support, and which build is chosen. */
export interface Features {
  /** WebAssembly SIMD, which every build needs. */
  simd: boolean;
  /** Relaxed SIMD, with the results that the engine relies on. */
  relaxed: boolean;
  /** WebAssembly threads: shared memory and atomic instructions. */
  threads: boolean;
  /** Whether the page may use shared memory: its server sends the COOP and COEP headers. */
  crossOriginIsolated: boolean;
  /** Logical processors. */
  hardwareConcurrency: number;
  /** The best build that runs here; null if none does. */
  chosen: Variant | null;
  /** Why this build was chosen, in a sentence for people. */
  reason: string;
}

/** Finds out what this browser and page support. Loads nothing. */
export function detect(): Promise<Features>;

/** Progress of a load. */
export interface LoadProgress {
  /** Bytes read so far. */
  loaded: number;
  /** Bytes in all. */
  total: number;
}

export interface LoadOptions {
  /** Called while the model is read, at most 20 times a second, and at the end. */
  onProgress?: (progress: LoadProgress) => void;
  /** Ends the load, which then rejects with the signal's reason, as `fetch` does. */
  signal?: AbortSignal;
  /** The build to use instead of the best one; rejects with the code `unsupported` if it cannot run here. */
  variant?: Variant;
  /** Threads of the `threads` build; default half the logical processors, at least 2, at most 8. */
  threads?: number;
  /** Limit on the engine's memory in bytes, model included; by default what the browser allows, at most 4 GiB. */
  memoryLimit?: number;
  /** For `fromUrl`: options for `fetch`, such as headers. */
  request?: RequestInit;
}

/** What rounding cost, measured on a text when the model was converted. */
export interface Quality {
  /** Name of the text. */
  text: string;
  /** Tokens scored. */
  tokens: number;
  /** Perplexity of the source. */
  sourcePerplexity: number;
  /** Perplexity of the model. */
  perplexity: number;
  /** Mean Kullback-Leibler divergence of the model's distributions from the source's, in nats. */
  klDivergence: number;
  /** Share of positions with the source's most likely token. */
  sameTopToken: number;
  /** What the weights were rounded by: the method, `gptq`, `weights`, `imatrix` or `none`, and its data. */
  calibration: { method: string; data: string | null; sha256: string | null; tokens: number | null };
}

/** What the model file says about itself, and how it runs. */
export interface ModelInfo {
  /** Display name of the model. */
  name: string;
  /** Family: `llama`, `qwen3`, ... */
  architecture: string;
  /** Number of weights. */
  parameters: number;
  /** Size of the file in bytes. */
  fileBytes: number;
  /** How the weights were quantized. */
  quantization: {
    /** Format of the layers: a `Format`. */
    format: string;
    /** Size of a quantization group; 0 for one group per row. */
    groupSize: number;
    /** Format of embedding and LM head. */
    head: string;
    /** How the codes were chosen: `lossless`, `rtn`, ... */
    method: string;
    /** Source of the weights. */
    source: string;
    /** Program that wrote the file, with its version. */
    tool: string;
    /** What rounding cost; `null` if nothing was rounded, or nothing measured. */
    quality: Quality | null;
  };
  hiddenSize: number;
  layers: number;
  vocabSize: number;
  /** Longest context the model was trained for, in tokens. */
  contextLength: number;
  /** Bytes of KV cache, and of snapshots of recurrent layers' states, per token, in each format of the cache. */
  cacheBytesPerToken: { f16: number; int8: number };
  /** Bytes that each session takes besides, for the states of recurrent layers; 0 for models without them. */
  stateBytes: number;
  /** Whether `generate` accepts messages. */
  hasChatTemplate: boolean;
  /** The build that runs. */
  variant: Variant;
  /** Why this build, in a sentence for people. */
  reason: string;
  /** Number of threads, the worker's own included. */
  threads: number;
  /** Name of the kernels: `simd128` or `simd128-relaxed`. */
  kernel: string;
}

/** Memory of the engine, in bytes. */
export interface Memory {
  /** Linear memory, model included. It never shrinks, so this is also the peak. */
  linearBytes: number;
  /** Of this, the model file. */
  modelBytes: number;
  /** Of this, the KV caches of open sessions. */
  cacheBytes: number;
}

/** A loaded model, in a Web Worker of its own. */
export class Model {
  private constructor();

  /**
   * Downloads a `.tmac2.bin` file into the engine's memory. Nothing is cached: to keep the file, store it yourself
   * (OPFS, Cache API) and use `fromFile`.
   */
  static fromUrl(url: string | URL, options?: LoadOptions): Promise<Model>;

  /** Reads a file: from `<input type="file">`, a drop, OPFS (`handle.getFile()`), the Cache API (`response.blob()`). */
  static fromFile(file: Blob, options?: LoadOptions): Promise<Model>;

  /** Loads from memory or from a stream. Bytes in memory are copied chunk by chunk and remain yours. */
  static fromBytes(
    bytes: ArrayBuffer | ArrayBufferView | ReadableStream<Uint8Array>,
    options?: LoadOptions,
  ): Promise<Model>;

  readonly info: ModelInfo;

  /** Opens an empty session. A model may have several; they share the weights. */
  session(options?: SessionOptions): Promise<Session>;

  /** Tokenizes a text. Special tokens written in it, such as `<|im_end|>`, are recognized. */
  tokenize(text: string, options?: { addSpecial?: boolean }): Promise<Uint32Array>;

  /** Detokenizes, special tokens included. */
  detokenize(tokens: ArrayLike<number>): Promise<string>;

  /**
   * Renders messages with the chat template: a text to look at, since `tokenize` would take special tokens that are
   * written in messages for tokens. Rejects with the code `chat_template` if the model has none.
   */
  applyChatTemplate(messages: ChatMessage[]): Promise<string>;

  /** The tokens that `generate` makes of messages. */
  tokenizeChat(messages: ChatMessage[], options?: { parseSpecialInContent?: boolean }): Promise<Uint32Array>;

  memory(): Promise<Memory>;

  /** Ends the worker and frees all memory. Pending calls reject with the code `closed`. */
  close(): void;
}

export interface SessionOptions {
  /** Maximum tokens of prompt and answer; default the model's `contextLength`. Memory is allocated as needed. */
  contextLength?: number;
  /** How finely activations are rounded: `fast`, `standard` (default) or `high`. */
  precision?: 'fast' | 'standard' | 'high';
  /** Format of the KV cache: `f16` (default), or `int8`, about half the memory. */
  kvCache?: 'f16' | 'int8';
}

/** The model's chat template sees these and all other fields, such as `name`, `tool_calls` or `reasoning_content`. */
export interface ChatMessage {
  /** `system`, `user`, `assistant`, or another role that the model's chat template knows. */
  role: string;
  content: string;
  [field: string]: unknown;
}

export interface GenerateOptions {
  /** Maximum tokens of the answer; default, or with -1, until the context is full. */
  maxTokens?: number;
  /** Stop strings: the answer ends before any of them. */
  stop?: string | string[];
  /** Sampling temperature; 0 is greedy. Default 0.8. */
  temperature?: number;
  /** Sample from the K most likely tokens; 0 or -1 disables it. Default 40. */
  topK?: number;
  /** Sample from the most likely tokens whose probabilities add up to this. Default 0.95. */
  topP?: number;
  /** Drop tokens whose probability is below this fraction of the most likely token's. Default 0.05. */
  minP?: number;
  /** Penalty on recent tokens that scales their logits; 1 disables it. Default 1. */
  repetitionPenalty?: number;
  /** Subtracted from the logits of recent tokens. Default 0. */
  presencePenalty?: number;
  /** Subtracted from the logits of recent tokens, once for each occurrence. Default 0. */
  frequencyPenalty?: number;
  /** How many tokens count as recent. Default 64. */
  repeatLastN?: number;
  /** Added to the logits of tokens, by token id; -Infinity bans a token. */
  logitBias?: Record<number, number>;
  /**
   * Seed of the sampler, an integer from 0 to 2^53 - 1; default 0. The same seed gives the same text on every machine;
   * use another one to get another answer.
   */
  seed?: number;
  /**
   * Take special tokens that are written in messages, such as `<|im_end|>`, for tokens instead of text. Whoever writes a
   * message can then end it and begin another.
   */
  parseSpecialInContent?: boolean;
  /** Continue after end tokens. */
  ignoreEos?: boolean;
  /** Report the `logprob` of every token. */
  logprobs?: boolean;
  /** Ends the generation with the finish reason `aborted`. */
  signal?: AbortSignal;
  /** Called with the progress of the prefill, in tokens. */
  onPrefill?: (progress: { done: number; total: number }) => void;
}

export interface Token {
  id: number;
  /** Text that this token completes; empty while a character is incomplete or a stop string may follow. */
  text: string;
  /** Natural logarithm of its probability, with `logprobs`. */
  logprob?: number;
}

/** Why a generation ended. */
export type FinishReason =
  /** An end token or a stop string. */
  | 'stop'
  /** `maxTokens` was reached. */
  | 'length'
  /** The session's context is full. */
  | 'context_full'
  /** The signal was aborted, or the loop over the tokens was left. */
  | 'aborted';

export interface Timings {
  /** Time to first token in milliseconds, measured in the worker; null if there was no token. */
  ttftMs: number | null;
  /** Tokens of the prompt. */
  promptTokens: number;
  /** Of these, tokens that the session had already prefilled. */
  cachedTokens: number;
  /** Null if the prefill did not finish. */
  prefillTokensPerSecond: number | null;
  /** Tokens of the answer. */
  generatedTokens: number;
  /** Without the first token; null if there are no others. */
  decodeTokensPerSecond: number | null;
}

export interface GenerationResult {
  text: string;
  tokenIds: Uint32Array;
  finishReason: FinishReason;
  timings: Timings;
}

/**
 * A running generation, started by `Session.generate`. `for await (const token of generation)` yields tokens as they
 * are generated; leaving the loop early ends it.
 */
export interface Generation extends AsyncIterableIterator<Token, GenerationResult> {
  /** Resolves to the whole answer when it ends, with or without a loop. Rejects when the loop throws. */
  readonly result: Promise<GenerationResult>;
}

/** A sequence of tokens with its KV cache. Calls on a session run one after the other. */
export class Session {
  private constructor();

  readonly model: Model;

  /**
   * Answers messages (with the model's chat template), or continues a text or tokens. The input is always the whole
   * conversation; the session prefills only what it has not processed before, so the next turn of a chat costs only its
   * new tokens.
   */
  generate(input: string | ChatMessage[] | Uint32Array, options?: GenerateOptions): Generation;

  /** Appends tokens and returns the logits of the next position, (vocabSize). */
  prefill(tokens: ArrayLike<number>): Promise<Float32Array>;

  /** Appends one token and returns the logits of the next position, (vocabSize). */
  decode(token: number): Promise<Float32Array>;

  /** Removes all tokens. */
  reset(): Promise<void>;

  /** Frees the session's memory for other sessions of the model. */
  close(): void;
}

export type Format = 'auto' | 'int8' | 'int6' | 'int5' | 'int4' | 'int3' | 'int2' | 'bitnet' | 'binary';

export interface QuantizeOptions {
  /** Name of the model, for display; by default the one in the GGUF file, which often says little. */
  name?: string;
  /** Format of the layers; default `auto`, which keeps the codes of quantized sources and rounds floats to 4 bits. */
  format?: Format;
  /** Format of embedding and LM head; default `auto`: with format `auto` as in the source, else `int8`. */
  head?: Format;
  /** Size of a quantization group: a multiple of 32, or 0 for one group per row; the default depends on the format. */
  groupSize?: number;
  /** Scales of what is rounded in the layers: 16 bits each, or six under a 16-bit scale and minimum of the row, which `int4`, `int3` and
   * `int2` can have; default `six` for `int3` and `int2`, else `halves`. */
  scales?: 'halves' | 'six';
  /** Order of the codes in files of type I2_S, which do not say it, and are refused without it. */
  i2sOrder?: 'x86' | 'arm';
  /** Called with the bytes read (stage `read`), then with the weights converted (stage `convert`). */
  onProgress?: (progress: { stage: 'read' | 'convert'; done: number; total: number }) => void;
  /** Ends the conversion, which then rejects with the signal's reason. */
  signal?: AbortSignal;
  /** Limit on the engine's memory in bytes, as for `Model`. */
  memoryLimit?: number;
}

export interface Quantized {
  /** The `.tmac2.bin` file, byte for byte as `edgellm quantize --calibration none --skip-quality` writes it. */
  file: Blob;
  /** Name of the model. */
  name: string;
  /** Number of weights. */
  parameters: number;
  bitsPerWeight: number;
  /** Root mean square error of the weights, relative to their root mean square. */
  relativeError: number;
  /** What a user should know before using the file, in sentences. */
  warnings: string[];
}

/** Converts a GGUF file to `.tmac2.bin` in a worker. The GGUF file has to fit into the engine's memory. */
export function quantize(gguf: Blob, options?: QuantizeOptions): Promise<Quantized>;

/** What went wrong, for programs. */
export type ErrorCode =
  /** The browser lacks what the engine, or the requested variant, needs. */
  | 'unsupported'
  /** The engine's own files could not be loaded. */
  | 'engine'
  /** The model could not be read: not found, connection broken, ... `status` is the HTTP status, if there is one. */
  | 'download'
  /** Not a `.tmac2.bin` file (for `quantize`: not a GGUF file). */
  | 'not_a_model'
  /** A GGUF file: `quantize` it first. */
  | 'gguf'
  /** A model file that is truncated, damaged or of an unknown format version. */
  | 'damaged'
  /** An unsupported model, tokenizer or tensor type. */
  | 'unsupported_model'
  /** The model, a session or a conversion does not fit into memory. A loaded model remains usable. */
  | 'out_of_memory'
  /** The prompt does not fit into the session's context. */
  | 'context_full'
  /** An option or argument is invalid. */
  | 'invalid'
  /** The model has no chat template, or the template rejects the messages. */
  | 'chat_template'
  /** The model or session was closed. */
  | 'closed'
  /** The engine crashed and the model is closed. The page can load it again. */
  | 'crashed';

export class EdgeLlmError extends Error {
  readonly name: 'EdgeLlmError';
  readonly code: ErrorCode;
  /** HTTP status, for `download`. */
  readonly status?: number;
}
