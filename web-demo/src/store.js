// The models that the browser keeps for this page, in its private file system (OPFS).
//
// A file is written as `NAME.part` by a worker (keep.worker.js) and renamed when it is whole, so what has a model's name is
// a model. `NAME.part.json` says where the rest comes from.

import {Problem} from "./problem.js";

const FOLDER = "models";
const PART = ".part";
const ORIGIN = ".part.json";

/** Whether this browser keeps files for this page: it does not where the page came over plain HTTP from elsewhere. */
export const canKeep = () => Boolean(globalThis.isSecureContext && navigator.storage?.getDirectory);

const folder = async () => (await navigator.storage.getDirectory()).getDirectoryHandle(FOLDER, {create: true});

/**
 * What is kept, by name: `{name, bytes, part, origin}`. `part` tells that only the beginning of the file is there, and
 * `origin` then is `{url, total, sha256}`, the download to go on with.
 */
export async function list() {
  if (!canKeep()) return [];
  const files = new Map();
  for await (const [name, handle] of (await folder()).entries()) files.set(name, handle);
  const rows = [];
  for (const [name, handle] of files) {
    if (name.endsWith(ORIGIN)) continue;
    const part = name.endsWith(PART);
    const file = await handle.getFile();
    const row = {name: part ? name.slice(0, -PART.length) : name, bytes: file.size, part, origin: null};
    if (part) row.origin = await readOrigin(files.get(row.name + ORIGIN));
    rows.push(row);
  }
  return rows.sort((a, b) => a.name.localeCompare(b.name));
}

async function readOrigin(handle) {
  try {
    return handle ? JSON.parse(await (await handle.getFile()).text()) : null;
  } catch {
    return null;
  }
}

/** The kept file of this name. */
export async function open(name) {
  return (await (await folder()).getFileHandle(name)).getFile();
}

/** Deletes a file, or what there is of it. */
export async function remove(name) {
  const from = await folder();
  for (const file of [name, name + PART, name + ORIGIN]) {
    await from.removeEntry(file).catch((error) => {
      if (error.name === "NoModificationAllowedError") throw new Problem(`${name} is in use, perhaps in another tab.`);
      if (error.name !== "NotFoundError") throw error;
    });
  }
}

/** Bytes in use and bytes that the browser gives this page, and whether it promised to keep them. */
export async function quota() {
  if (!canKeep()) return null;
  const {usage = 0, quota: most = 0} = await navigator.storage.estimate();
  return {usage, quota: most, persisted: await navigator.storage.persisted()};
}

/** Asks the browser not to clear the files away when its disk is full. */
export const persist = () => navigator.storage.persist?.().catch(() => false);

/** A name under which a file can be kept: letters, digits and `. _ -`. */
export function fileName(name) {
  const clean = name.replace(/[^\w.-]+/g, "-").replace(/^[.-]+/, "");
  return clean.slice(-120) || "model";
}

/**
 * Keeps a file: what is at `source.url`, from where an earlier attempt ended, or `source.blob`.
 * @param {{url?: string, blob?: Blob, headers?: object, bytes?: number, sha256?: string}} source
 * @param {string} name
 * @param {{onProgress?: (progress: {done: number, total: number | null, checking: boolean}) => void, signal?: AbortSignal}} how
 * @returns {Promise<File>}
 */
export function keep(source, name, {onProgress, signal} = {}) {
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted();
    const worker = new Worker(new URL("keep.worker.js", import.meta.url), {type: "module"});
    const end = (settle, value) => {
      worker.terminate();
      signal?.removeEventListener("abort", abort);
      settle(value);
    };
    // The worker closes the file before it answers, so that the next attempt finds it free.
    const abort = () => worker.postMessage("abort");
    signal?.addEventListener("abort", abort);
    worker.onmessage = ({data}) => {
      if (data.progress) onProgress?.(data.progress);
      else if (data.done) open(name).then((file) => end(resolve, file), (error) => end(reject, error));
      else if (data.aborted) end(reject, signal.reason);
      else end(reject, restored(data.error));
    };
    worker.onerror = (event) => end(reject, new Error(event.message ?? "the worker that keeps files did not start"));
    const url = source.url && new URL(source.url, document.baseURI).href;
    worker.postMessage({...source, url, name, folder: FOLDER});
  });
}

function restored({message, name, forPeople}) {
  return forPeople ? new Problem(message) : Object.assign(new Error(message), {name});
}
