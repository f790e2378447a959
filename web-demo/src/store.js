// The models that the page stores in the origin private file system (OPFS).
//
// A worker (keep.worker.js) writes a file as `NAME.part` and renames it when it is complete, so a file with a model's name is
// a whole model. `NAME.part.json` describes the download that a partial file belongs to.

import {Problem} from "./problem.js";

const FOLDER = "models";
const PART = ".part";
const ORIGIN = ".part.json";

/** Whether the browser stores files for this page: not if the page came over plain HTTP from another machine. */
export const canKeep = () => Boolean(globalThis.isSecureContext && navigator.storage?.getDirectory);

const folder = async () => (await navigator.storage.getDirectory()).getDirectoryHandle(FOLDER, {create: true});

/**
 * The stored files, by name: `{name, bytes, part, origin}`. `part` is true for a partial file; its `origin` is
 * `{url, total, sha256}`, the download to resume.
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

/** The stored file of this name. */
export async function open(name) {
  return (await (await folder()).getFileHandle(name)).getFile();
}

/** Deletes a file, complete or partial. */
export async function remove(name) {
  const from = await folder();
  for (const file of [name, name + PART, name + ORIGIN]) {
    await from.removeEntry(file).catch((error) => {
      if (error.name === "NoModificationAllowedError") throw new Problem(`${name} is in use, perhaps in another tab.`);
      if (error.name !== "NotFoundError") throw error;
    });
  }
}

/** Bytes used, the quota in bytes, and whether the browser has promised not to evict the files. */
export async function quota() {
  if (!canKeep()) return null;
  const {usage = 0, quota: most = 0} = await navigator.storage.estimate();
  return {usage, quota: most, persisted: await navigator.storage.persisted()};
}

/** Asks the browser not to evict the files when the disk is full. */
export const persist = () => navigator.storage.persist?.().catch(() => false);

/** A valid name to store a file under: letters, digits and `. _ -`. */
export function fileName(name) {
  const clean = name.replace(/[^\w.-]+/g, "-").replace(/^[.-]+/, "");
  return clean.slice(-120) || "model";
}

/**
 * Stores a file: `source.blob`, or a download from `source.url` that resumes where an earlier attempt ended.
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
    // The worker closes the file before it answers, so that the next attempt can open it.
    const abort = () => worker.postMessage("abort");
    signal?.addEventListener("abort", abort);
    worker.onmessage = ({data}) => {
      if (data.progress) onProgress?.(data.progress);
      else if (data.done) open(name).then((file) => end(resolve, file), (error) => end(reject, error));
      else if (data.aborted) end(reject, signal.reason);
      else end(reject, restored(data.error));
    };
    worker.onerror = (event) => end(reject, new Error(event.message ?? "the worker that stores files did not start"));
    const url = source.url && new URL(source.url, document.baseURI).href;
    worker.postMessage({...source, url, name, folder: FOLDER});
  });
}

function restored({message, name, forPeople}) {
  return forPeople ? new Problem(message) : Object.assign(new Error(message), {name});
}
