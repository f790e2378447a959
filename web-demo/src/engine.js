// The model in this page: loads the engine and one model at a time, and answers conversations.

import {Problem} from "./problem.js";

/** The package `edgellm-web`, with its WebAssembly files. */
const ENGINE = "../engine/index.js";

/** The model that runs in the page, if any. Dispatches `change` when it changes. */
export class Engine extends EventTarget {
  #loading = null;

  constructor({present}) {
    super();
    this.present = present;
    this.package = null;
    this.features = null;
    this.model = null;
  }

  /** Loads the engine's code and detects what this browser supports. */
  async start() {
    if (!this.present) return;
    this.package = await import(ENGINE);
    this.features = await this.package.detect();
  }

  /** Why no model can run here, in a sentence; null if models can run. */
  get obstacle() {
    if (!this.present) {
      return "This server was built without the browser build of the engine: run scripts/build-web, then rebuild the server.";
    }
    if (!this.features) return "The engine is loading.";
    return this.features.chosen === null ? this.features.reason : null;
  }

  /**
   * Loads a model from a file, or from a URL without storing it. The previous model is closed first: two might not fit into
   * memory.
   */
  async load(source, {onProgress, signal, threads, memoryLimit, request}) {
    if (this.obstacle) throw new Problem(this.obstacle);
    this.#loading?.abort(new DOMException("another model was chosen", "AbortError"));
    const mine = new AbortController();
    this.#loading = mine;
    this.close();
    const {Model} = this.package;
    const signals = signal ? [mine.signal, signal] : [mine.signal];
    const options = {onProgress, signal: AbortSignal.any(signals), threads, memoryLimit, request};
    const model = await (source instanceof Blob ? Model.fromFile(source, options) : Model.fromUrl(source.url, options));
    if (mine.signal.aborted) {
      model.close();
      throw mine.signal.reason;
    }
    this.model = model;
    this.dispatchEvent(new Event("change"));
    return model;
  }

  /** Converts a GGUF file. */
  quantize(file, options) {
    if (this.obstacle) throw new Problem(this.obstacle);
    return this.package.quantize(file, options);
  }

  /** Closes the model and frees its memory. */
  close() {
    if (!this.model) return;
    this.model.close();
    this.model = null;
    this.dispatchEvent(new Event("change"));
  }
}

/** A conversation with the model in the page. */
export class PageBackend {
  #session = null;
  #made = "";

  constructor(engine) {
    this.engine = engine;
  }

  get name() {
    return this.engine.model?.info.name ?? "this page";
  }

  /** The next answer: yields its text as it is generated, and returns `{finishReason, timings}`. */
  async *reply(messages, settings, signal) {
    const {model} = this.engine;
    if (!model) throw new Problem("No model is loaded in this page: choose one first.");
    const session = await this.#sessionFor(model, settings);
    const {maxTokens, temperature, topK, topP, minP, seed} = settings;
    const generation = session.generate(messages, {maxTokens, temperature, topK, topP, minP, seed, signal});
    try {
      for await (const token of generation) yield token.text;
      const {finishReason, timings} = await generation.result;
      return {finishReason, timings};
    } catch (error) {
      // A crashed engine does not answer any more.
      await model.memory().catch(() => this.engine.model === model && this.engine.close());
      throw error;
    }
  }

  /** The session of this conversation, which prefills only what is new in each turn. */
  async #sessionFor(model, {contextLength, kvCache}) {
    const options = {contextLength: Math.min(contextLength, model.info.contextLength), kvCache};
    const made = JSON.stringify(options);
    if (this.#session?.model !== model || this.#made !== made) {
      this.#session?.close();
      this.#session = null;
      this.#session = await model.session(options);
      this.#made = made;
    }
    return this.#session;
  }
}
