/**
 * EdgeLLM in the browser: a language model that runs inside the page, in a Web Worker.
 *
 * The same `.tmac2.bin` file gives the same bits of output as the native program, whatever the build and the number
 * of threads.
 */

/**
 * The builds of the engine. Results are the same, bit for bit; speed is not.
 * - `simd`: WebAssembly SIMD, every browser since 2023.
 * - `relaxed`: SIMD with the relaxed dot product.
 * - `threads`: as `relaxed`, on several threads; needs a page that is cross-origin isolated.
 */
export type Variant = 'simd' | 'relaxed' | 'threads';

/** What this browser and page can do, and which build is used therefore. */
export interface Features {
  /** WebAssembly SIMD; without it nothing runs. */
  simd: boolean;
  /** Relaxed SIMD, with the results that all engines agree on. */
  relaxed: boolean;
  /** WebAssembly threads: shared memory and atomic instructions. */
  threads: boolean;
  /** Whether the page may share memory: its server sends the COOP and COEP headers. */
  crossOriginIsolated: boolean;
  /** Logical processors. */
  hardwareConcurrency: number;
  /** The build that is used; null if none runs. */
  chosen: Variant | null;
  /** Why, in a sentence for people. */
  reason: string;
}

/** What this browser and page can do. Loads nothing. */
export function detect(): Promise<Features>;

/** How far a load is. */
export interface LoadProgress {
  /** Bytes of the model in memory. */
  loaded: number;
  /** Bytes of the model. */
  total: number;
}

export interface LoadOptions {
  /** Hears of the bytes as they come, at most some 20 times a second, and of the last one. */
  onProgress?: (progress: LoadProgress) => void;
  /** Ends the load; it then rejects with the signal's reason, as `fetch` does. */
  signal?: AbortSignal;
  /** A certain build instead of the best; rejects with the code `unsupported` where it cannot run. */
  variant?: Variant;
  /** Threads of the `threads` build: by default half of the logical processors, at least 2, at most 8. */
  threads?: number;
  /** Most bytes of memory the engine may take, model included; by default what the browser gives, at most 4 GiB. */
  memoryLimit?: number;
  /** For `fromUrl`: what `fetch` gets besides the URL, such as headers. */
  request?: RequestInit;
}

/** What a model file says about itself, and what runs it. */
export interface ModelInfo {
  /** Name of the model, for people. */
  name: string;
  /** Family: `llama` or `qwen2`. */
  architecture: string;
  /** Number of weights. */
  parameters: number;
  /** Bytes of the file. */
  fileBytes: number;
  /** How the weights were made. */
  quantization: {
    /** Format of the layers: `int8`, `int4`, `int3`, `int2` or `bitnet`. */
    format: string;
    /** Weights that share a scale; 0 for one scale a row. */
    groupSize: number;
    /** Format of embedding and LM head. */
    head: string;
    /** How codes were chosen: `lossless`, `rtn`, ... */
    method: string;
    /** Where the weights came from. */
    source: string;
    /** Program and version that wrote the file. */
    tool: string;
  };
  hiddenSize: number;
  layers: number;
  vocabSize: number;
  /** Longest context the model was made for, in tokens. */
  contextLength: number;
  /** Bytes of the key-value cache a position takes, with each format of it. */
  cacheBytesPerToken: { f16: number; int8: number };
  /** Whether `generate` takes messages. */
  hasChatTemplate: boolean;
  /** Build that runs. */
  variant: Variant;
  /** Why this build, in a sentence for people. */
  reason: string;
  /** Threads that compute. */
  threads: number;
  /** Name of the kernels, as in `edgellm` benchmarks: `simd128` or `simd128-relaxed`. */
  kernel: string;
}

/** Bytes of the engine's linear memory, the model included. */
export interface Memory {
  /** Now. WebAssembly memory never shrinks, so it is the peak as well. */
  linearBytes: number;
  /** Of these, the model file. */
  modelBytes: number;
  /** Of these, the key-value caches of open sessions. */
  cacheBytes: number;
}

/** A model, loaded in a Web Worker of its own. */
export class Model {
  private constructor();

  /**
   * Downloads a `.tmac2.bin` file; it goes into the engine's memory as it arrives. Nothing is cached here: keep the
   * file yourself (OPFS, Cache API) and use `fromFile`.
   */
  static fromUrl(url: string | URL, options?: LoadOptions): Promise<Model>;

  /** Reads a file: from `<input type="file">`, a drop, OPFS (`handle.getFile()`), the Cache API (`response.blob()`). */
  static fromFile(file: Blob, options?: LoadOptions): Promise<Model>;

  /** Takes bytes from memory or from a stream of them. Bytes are copied piece by piece; yours stay as they are. */
  static fromBytes(
    bytes: ArrayBuffer | ArrayBufferView | ReadableStream<Uint8Array>,
    options?: LoadOptions,
  ): Promise<Model>;

  readonly info: ModelInfo;

  /** An empty conversation. A model may have several; they share the weights. */
  session(options?: SessionOptions): Promise<Session>;

  /** Tokens of a text. Special tokens written in it, such as `<|im_end|>`, become those tokens. */
  tokenize(text: string, options?: { addSpecial?: boolean }): Promise<Uint32Array>;

  /** Text of tokens, special tokens included. */
  detokenize(tokens: ArrayLike<number>): Promise<string>;

  /** The prompt that `generate` makes of messages. Rejects with the code `chat_template` where there is none. */
  applyChatTemplate(messages: ChatMessage[]): Promise<string>;

  memory(): Promise<Memory>;

  /** Ends the worker and frees all memory. Whatever still runs rejects with the code `closed`. */
  close(): void;
}

export interface SessionOptions {
  /** Most tokens of prompt and answer together; by default all the model was made for. Memory is taken as needed. */
  contextLength?: number;
  /** How finely activations are rounded: `standard` (default), `fast`, `high`. */
  precision?: 'fast' | 'standard' | 'high';
  /** What keys and values are kept in: `f16` (default), or `int8`, about half the memory. */
  kvCache?: 'f16' | 'int8';
}

export interface ChatMessage {
  /** `system`, `user`, `assistant`, or what else the model's template knows. */
  role: string;
  content: string;
}

export interface GenerateOptions {
  /** Most tokens of the answer; by default until the context is full. */
  maxTokens?: number;
  /** Ends before any of these texts. */
  stop?: string | string[];
  /** 0 always takes the likeliest token; default 0.8. */
  temperature?: number;
  /** Keeps the likeliest so many tokens, 0 keeps all; default 40. */
  topK?: number;
  /** Keeps the likeliest tokens whose probabilities add up to this; default 0.95. */
  topP?: number;
  /** Keeps tokens at least this many times as likely as the likeliest; default 0.05. */
  minP?: number;
  /** Divides the logits of recent tokens; default 1, which changes nothing. */
  repetitionPenalty?: number;
  /** Subtracted from the logits of recent tokens; default 0. */
  presencePenalty?: number;
  /** Subtracted from the logits of recent tokens, once for each time they occur; default 0. */
  frequencyPenalty?: number;
  /** How many tokens are recent; default 64. */
  repeatLastN?: number;
  /** Added to the logits of tokens, by id; -Infinity forbids one. */
  logitBias?: Record<number, number>;
  /**
   * Where the random numbers begin, an integer from 0 to 2^53 - 1; default 0. The same seed gives the same text, on
   * every machine; give another one to get another answer.
   */
  seed?: number;
  /** Goes on after the model's end tokens. */
  ignoreEos?: boolean;
  /** Gives every token's `logprob`. */
  logprobs?: boolean;
  /** Ends the generation, which is then over with the finish reason `aborted`. */
  signal?: AbortSignal;
  /** Hears of a long prompt's progress. */
  onPrefill?: (progress: { done: number; total: number }) => void;
}

export interface Token {
  id: number;
  /** Text that became certain with it; empty while a character is incomplete or a stop text may be coming. */
  text: string;
  /** Natural logarithm of the model's probability for it, if asked for. */
  logprob?: number;
}

/** Why a generation ended. */
export type FinishReason =
  /** The model ended its answer, or a stop text came. */
  | 'stop'
  /** `maxTokens`. */
  | 'length'
  /** The session can hold no more tokens. */
  | 'context_full'
  /** The signal, or the loop over the tokens was left. */
  | 'aborted';

export interface Timings {
  /** From the call of `generate` in the worker to the first token, in milliseconds; null if none came. */
  ttftMs: number | null;
  /** Tokens of the prompt. */
  promptTokens: number;
  /** Of these, tokens that the session had already processed. */
  cachedTokens: number;
  /** Null if the prompt was not processed to its end. */
  prefillTokensPerSecond: number | null;
  /** Tokens of the answer. */
  generatedTokens: number;
  /** Of the tokens after the first; null if there are none. */
  decodeTokensPerSecond: number | null;
}

export interface GenerationResult {
  text: string;
  tokenIds: Uint32Array;
  finishReason: FinishReason;
  timings: Timings;
}

/**
 * An answer in the making, started by `Session.generate`. `for await (const token of generation)` gives its tokens as
 * they come; leaving the loop early ends it.
 */
export interface Generation extends AsyncIterableIterator<Token, GenerationResult> {
  /** The whole answer, once it is over; also for those who do not loop. Rejects when the loop throws. */
  readonly result: Promise<GenerationResult>;
}

/** A sequence of tokens on a model, with its key-value cache. It does one thing after the other, as they are called. */
export class Session {
  private constructor();

  readonly model: Model;

  /**
   * Answers messages (by the model's chat template), or continues a text, or tokens. The input is always the whole
   * conversation; what the session has processed of it already is not processed again, so that a chat's next turn
   * only costs its new tokens.
   */
  generate(input: string | ChatMessage[] | Uint32Array, options?: GenerateOptions): Generation;

  /** Appends tokens to the sequence and gives the logits of what follows, (vocabSize). */
  prefill(tokens: ArrayLike<number>): Promise<Float32Array>;

  /** Appends one token and gives the logits of what follows, (vocabSize). */
  decode(token: number): Promise<Float32Array>;

  /** Forgets all tokens. */
  reset(): Promise<void>;

  /** Frees the session's memory for other sessions. */
  close(): void;
}

export type Format = 'int8' | 'int4' | 'int3' | 'int2' | 'bitnet';

export interface QuantizeOptions {
  /** Format of the layers; default `int4`, which takes Q4_0 and Q4_1 without loss. */
  format?: Format;
  /** Format of embedding and LM head; default `int8`. */
  head?: 'int8' | 'int4';
  /** Weights that share a scale: a multiple of 32, or 0 for one scale a row; by default the format's own. */
  groupSize?: number;
  /** Hears of the bytes read (`stage` is `read`), then of the weights converted (`convert`). */
  onProgress?: (progress: { stage: 'read' | 'convert'; done: number; total: number }) => void;
  /** Ends the conversion; it then rejects with the signal's reason. */
  signal?: AbortSignal;
  /** As for a model. */
  memoryLimit?: number;
}

export interface Quantized {
  /** The `.tmac2.bin` file, the same bytes that `edgellm quantize` writes. */
  file: Blob;
  /** Name of the model. */
  name: string;
  /** Number of weights. */
  parameters: number;
  bitsPerWeight: number;
  /** Root mean square distance of the weights from the source, relative to theirs. */
  relativeError: number;
  /** What a user should know before using the file, in plain words. */
  warnings: string[];
}

/** Converts a GGUF file to `.tmac2.bin`, in a worker. The GGUF file has to fit into the engine's memory. */
export function quantize(gguf: Blob, options?: QuantizeOptions): Promise<Quantized>;

/** What went wrong, for programs; the message is for people. */
export type ErrorCode =
  /** The browser lacks what the engine, or the wanted variant, needs. */
  | 'unsupported'
  /** The engine's own files did not load. */
  | 'engine'
  /** The model was not found, or the connection broke. `status` has the HTTP status where there is one. */
  | 'download'
  /** Not a `.tmac2.bin` (for `quantize`, GGUF) file at all. */
  | 'not_a_model'
  /** A GGUF file where a `.tmac2.bin` is needed: `quantize` it first. */
  | 'gguf'
  /** A model file that is truncated, damaged or of a version this package does not know. */
  | 'damaged'
  /** A model, tokenizer or tensor of a kind that is not supported. */
  | 'unsupported_model'
  /** The model, a session or a conversion does not fit into memory. The model goes on working. */
  | 'out_of_memory'
  /** The prompt does not fit the session's context. */
  | 'context_full'
  /** An option or argument is out of its range. */
  | 'invalid'
  /** The model has no chat template, or it refuses the messages. */
  | 'chat_template'
  /** The model or session was closed. */
  | 'closed'
  /** The engine crashed: the model is closed, the page is not harmed. */
  | 'crashed';

export class EdgeLlmError extends Error {
  readonly name: 'EdgeLlmError';
  readonly code: ErrorCode;
  /** HTTP status, for `download`. */
  readonly status?: number;
}
