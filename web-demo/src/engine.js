// The model in this page: loads the engine and one model at a time, and answers conversations with it.

import {Problem} from "./problem.js";

/** The package `edgellm-web`; it brings its WebAssembly files along. */
const ENGINE = "../engine/index.js";

/** The model that runs in the page, if any. Says `change` when there is another one. */
export class Engine extends EventTarget {
  #loading = null;

  constructor({present}) {
    super();
    this.present = present;
    this.package = null;
    this.features = null;
    this.model = null;
  }

  /** Loads the engine's code and finds out what this browser can do. */
  async start() {
    if (!this.present) return;
    this.package = await import(ENGINE);
    this.features = await this.package.detect();
  }

  /** Why no model can run here, in a sentence; null if one can. */
  get obstacle() {
    if (!this.present) {
      return "The engine for the page is not part of this server: build it with scripts/build-web, then build the server anew.";
    }
    if (!this.features) return "The engine is being loaded.";
    return this.features.chosen === null ? this.features.reason : null;
  }

  /**
   * Loads a model from a file, or from an address without keeping it. The one before is given up first: two might not fit
   * into memory.
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

  /** Gives the model up, and its memory. */
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

  /** The next answer: its texts as they come, and in the end `{finishReason, timings}`. */
  async *reply(messages, settings, signal) {
    const {model} = this.engine;
    if (!model) throw new Problem("There is no model in this page yet: choose one first.");
    const session = await this.#sessionFor(model, settings);
    const {maxTokens, temperature, topK, topP, minP, seed} = settings;
    const generation = session.generate(messages, {maxTokens, temperature, topK, topP, minP, seed, signal});
    try {
      for await (const token of generation) yield token.text;
      const {finishReason, timings} = await generation.result;
      return {finishReason, timings};
    } catch (error) {
      // An engine that has crashed answers nothing any more.
      await model.memory().catch(() => this.engine.model === model && this.engine.close());
      throw error;
    }
  }

  /** The session of this conversation: what it has processed already is not processed again. */
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
