// From a file, a URL or a name to a running model: downloads, quantizes and stores as needed.

import {KIND_BYTES, looksLike, modelKind} from "./kind.js";
import {notify, report} from "./notices.js";
import {Problem, isAbort} from "./problem.js";
import * as store from "./store.js";
import {Task} from "./task.js";
import {size} from "./units.js";

const LAST = "edgellm-last";
const SUFFIX = ".tmac2.bin";

/** All the ways to load a model. Dispatches `change` when the stored models change. */
export class Models extends EventTarget {
  /** `askFormat(name, signal)` asks for the format to quantize to; null if cancelled. */
  constructor(engine, settings, askFormat) {
    super();
    this.engine = engine;
    this.settings = settings;
    this.askFormat = askFormat;
    /** Name of the stored file that runs. */
    this.current = null;
  }

  /** Runs `work(task)` and shows its progress and errors. `doing` completes "Could not ...": "load the model". */
  async #during(label, doing, work) {
    const task = new Task(label);
    try {
      return await work(task);
    } catch (error) {
      report(error, doing);
      return null;
    } finally {
      task.end();
      this.dispatchEvent(new Event("change"));
    }
  }

  /** A chosen or dropped file. It runs at once and is stored in the background. */
  async fromFile(file) {
    await this.#during(`Opening ${file.name}`, "open the file", async (task) => {
      const kind = await kindOf(file);
      if (kind === "gguf") return this.#quantize(task, file, file.name);
      const name = store.fileName(file.name);
      await this.#run(task, file, name);
      if (store.canKeep()) await this.#keep(task, file, name);
    });
  }

  /** A model of the catalogue. */
  fromCatalogue({name, url, bytes, sha256, headers}) {
    const ending = url.split(/[?#]/)[0].endsWith(".gguf") ? ".gguf" : SUFFIX;
    return this.fromUrl(url, {name: name + ending, bytes, sha256, headers});
  }

  /** The file at a URL: stored if the browser supports it, then run. */
  async fromUrl(url, {name = lastPart(url), bytes, sha256, headers} = {}) {
    const file = store.fileName(name);
    await this.#during(`Downloading ${file}`, "download the model", async (task) => {
      if (!store.canKeep()) return this.#runFrom(task, url, headers);
      await this.#checkRoom(file, bytes, url, headers);
      const onProgress = ({done, total, checking}) => {
        if (checking) task.step(`Verifying the stored part of ${file}`);
        else task.step(`Downloading ${file}`);
        task.bytes(done, total ?? bytes ?? null);
      };
      const kept = await store.keep({url, bytes, sha256, headers}, file, {onProgress, signal: task.signal}).catch((error) => {
        throw error.name === "QuotaExceededError" ? this.#noRoom(url, headers) : error;
      });
      store.persist();
      if ((await kindOf(kept)) === "gguf") await this.#quantize(task, kept, file);
      else await this.#run(task, kept, file);
    });
  }

  /** Refuses a download that would exceed the quota, before it starts. */
  async #checkRoom(name, bytes, url, headers) {
    const {usage, quota} = await store.quota();
    const there = (await store.list()).find((row) => row.name === name && row.part)?.bytes ?? 0;
    const free = Math.max(0, quota - usage + there);
    if (bytes && quota && bytes > free) throw this.#noRoom(url, headers, {bytes, free});
  }

  #noRoom(url, headers, sizes) {
    const why = sizes ? `it takes ${size(sizes.bytes)}, and the browser has ${size(sizes.free)} left for this page` : "the browser has no space left for this page";
    const action = () => this.#during("Loading without storing", "load the model", (task) => this.#runFrom(task, url, headers));
    return new Problem(`This model cannot be stored: ${why}. Delete a stored model, or run this one without storing it.`, {
      remedy: {label: "Run without storing", action},
    });
  }

  /** Resumes a download. */
  resume({name, origin}, headers) {
    return this.fromUrl(origin.url, {name, bytes: origin.total ?? undefined, sha256: origin.sha256 ?? undefined, headers});
  }

  /** Runs a stored model. */
  async fromKept(name) {
    await this.#during(`Loading ${name}`, "load the model", async (task) => {
      const file = await store.open(name);
      if ((await kindOf(file)) === "gguf") return this.#quantize(task, file, name);
      await this.#run(task, file, name);
    });
  }

  /** Runs the model that ran last, if it is stored. */
  async restore() {
    const last = localStorage.getItem(LAST);
    if (last && store.canKeep() && (await store.list()).some(({name, part}) => name === last && !part)) await this.fromKept(last);
  }

  /** Deletes a stored model; if it is running, it keeps running. */
  async remove(name) {
    try {
      await store.remove(name);
      if (this.current === name) this.current = null;
    } catch (error) {
      report(error, "delete the model");
    }
    this.dispatchEvent(new Event("change"));
  }

  async #run(task, file, name) {
    task.step(`Loading ${name}`);
    const onProgress = ({loaded, total}) => task.bytes(loaded, total);
    try {
      await this.engine.load(file, {onProgress, signal: task.signal, ...this.settings.forLoad});
    } catch (error) {
      throw await this.#loadProblem(error, name);
    }
    this.current = name;
    localStorage.setItem(LAST, name);
  }

  async #runFrom(task, url, headers) {
    const onProgress = ({loaded, total}) => task.bytes(loaded, total);
    await this.engine.load({url}, {onProgress, signal: task.signal, request: {headers}, ...this.settings.forLoad});
    this.current = null;
  }

  /** For a damaged file that is stored, offers to delete it. */
  async #loadProblem(error, name) {
    if (isAbort(error) || !["damaged", "not_a_model", "unsupported_model"].includes(error.code)) return error;
    const kept = (await store.list()).some((row) => row.name === name && !row.part);
    const remedy = kept ? {label: "Delete the file", action: () => this.remove(name)} : undefined;
    return new Problem(`${name}: ${error.message}.`, {cause: error, remedy});
  }

  /** Stores a file. Without space for it, the model runs all the same. */
  async #keep(task, file, name) {
    task.step(`Storing ${name} for the next visit`);
    const onProgress = ({done, total}) => task.bytes(done, total);
    try {
      await store.keep({blob: file}, name, {onProgress, signal: task.signal});
      store.persist();
    } catch (error) {
      if (isAbort(error)) return;
      if (error.name !== "QuotaExceededError") throw error;
      notify(`${name} runs, but is not stored for the next visit: the browser has no space left for this page.`);
    }
  }

  async #quantize(task, file, name) {
    const format = await this.askFormat(name, task.signal);
    if (!format) return;
    const output = `${name.replace(/\.gguf$/i, "")}-${format}${SUFFIX}`;
    const onProgress = ({stage, done, total}) => {
      task.step(stage === "read" ? `Reading ${name}` : `Quantizing ${name} to ${format}`);
      task.part(done, total);
    };
    // Frees the memory of the running model for the conversion.
    this.engine.close();
    const {memoryLimit} = this.settings.forLoad;
    const made = await this.engine.quantize(file, {name: name.replace(/\.gguf$/i, ""), format, onProgress, signal: task.signal, memoryLimit});
    for (const warning of made.warnings) notify(warning);
    if (store.canKeep()) await this.#keep(task, made.file, output);
    await this.#run(task, made.file, output);
    const bits = made.bitsPerWeight.toFixed(1);
    notify(`${name} is now ${output}: ${size(made.file.size)}, ${bits} bits per weight.`, {
      remedy: {label: "Save the file", action: () => save(made.file, output)},
    });
    // The GGUF file is no longer needed.
    if (store.canKeep() && (await store.list()).some((row) => row.name === name)) await store.remove(name);
  }
}

/** `tmac2` or `gguf`. */
async function kindOf(file) {
  const bytes = new Uint8Array(await file.slice(0, KIND_BYTES).arrayBuffer());
  const kind = modelKind(bytes);
  if (!kind) throw new Problem(`${file.name} is not a model file but ${looksLike(bytes)}. Choose a .tmac2.bin or a .gguf file.`);
  return kind;
}

/** The file name in a URL. */
function lastPart(url) {
  const part = new URL(url, document.baseURI).pathname.split("/").at(-1);
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

/** Saves a file through the browser's downloads. */
export function save(file, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(file);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
