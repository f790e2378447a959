// Stores one file in the origin private file system: see store.js. A worker, because only workers can write in place, and
// because hashing a large file would block the page.

import {sha256} from "../vendor/noble/sha2.js";
import {KIND_BYTES, looksLike, modelKind} from "./kind.js";
import {Problem} from "./problem.js";

/** Pauses before each retry when a connection breaks, in milliseconds. */
const PAUSES = [500, 2000];
const PROGRESS_INTERVAL = 100;
const CHUNK = 4 << 20;

const stopped = new AbortController();
const aborted = new DOMException("stopped", "AbortError");

self.onmessage = ({data}) => {
  if (data === "abort") stopped.abort(aborted);
  else run(data);
};

async function run(source) {
  try {
    const root = await navigator.storage.getDirectory();
    const folder = await root.getDirectoryHandle(source.folder, {create: true});
    await writeWhole(folder, source);
    self.postMessage({done: true});
  } catch (error) {
    if (stopped.signal.aborted) self.postMessage({aborted: true});
    else {
      const {message, name} = error;
      self.postMessage({error: {message, name, forPeople: error instanceof Problem}});
    }
  }
}

async function writeWhole(folder, source) {
  const handle = await folder.getFileHandle(`${source.name}.part`, {create: true});
  const part = new Part(await handle.createSyncAccessHandle().catch(inUse), source);
  let whole = false;
  try {
    if (source.blob) await part.copy(source.blob);
    else await download(part, folder, source);
    part.check();
    whole = true;
  } finally {
    part.close();
    // An incomplete download can be resumed, unless the file is wrong from the start.
    if (part.worthless || (!whole && source.blob)) await forget(folder, source.name);
  }
  await handle.move(source.name);
  await folder.removeEntry(`${source.name}.part.json`).catch(() => {});
}

function inUse(error) {
  if (error.name !== "NoModificationAllowedError") throw error;
  throw new Problem("This model is being downloaded already, perhaps in another tab.");
}

async function forget(folder, name) {
  for (const file of [`${name}.part`, `${name}.part.json`]) await folder.removeEntry(file).catch(() => {});
}

/** The file being written, and its checksum. */
class Part {
  constructor(file, {sha256: expected, bytes}) {
    this.file = file;
    this.expected = expected?.toLowerCase();
    this.total = bytes ?? null;
    this.worthless = false;
    this.reported = 0;
    this.begin();
  }

  begin() {
    this.position = 0;
    this.hash = this.expected ? sha256.create() : null;
  }

  /** Starts again with an empty file. */
  restart() {
    this.file.truncate(0);
    this.begin();
  }

  /** Resumes with the `length` bytes that an earlier attempt wrote. */
  resume(length) {
    const buffer = new Uint8Array(CHUNK);
    for (this.position = 0; this.position < length && this.hash; ) {
      const read = this.file.read(buffer, {at: this.position});
      if (read === 0) break;
      this.hash.update(buffer.subarray(0, read));
      this.position += read;
      this.progress(true);
    }
    this.position = length;
  }

  write(bytes) {
    stopped.signal.throwIfAborted();
    if (this.position === 0 && bytes.length >= KIND_BYTES && !modelKind(bytes)) {
      this.worthless = true;
      throw new Problem(`This is not a model file but ${looksLike(bytes)}. Choose a .tmac2.bin or a .gguf file.`);
    }
    for (let offset = 0; offset < bytes.length; ) {
      const rest = bytes.subarray(offset);
      const written = this.file.write(rest, {at: this.position});
      if (written === 0) throw new DOMException("no room", "QuotaExceededError");
      this.hash?.update(rest.subarray(0, written));
      this.position += written;
      offset += written;
    }
    this.progress(false);
  }

  async copy(blob) {
    this.restart();
    this.total = blob.size;
    for (let at = 0; at < blob.size; at += CHUNK) {
      this.write(new Uint8Array(await blob.slice(at, at + CHUNK).arrayBuffer()));
    }
  }

  progress(checking) {
    const now = performance.now();
    if (now - this.reported < PROGRESS_INTERVAL && this.position !== this.total) return;
    this.reported = now;
    self.postMessage({progress: {done: this.position, total: this.total, checking}});
  }

  /** Verifies the complete file. */
  check() {
    if (!this.hash) return;
    const digest = [...this.hash.digest()].map((byte) => byte.toString(16).padStart(2, "0")).join("");
    if (digest === this.expected) return;
    this.worthless = true;
    throw new Problem(
      `The downloaded file has the wrong checksum (SHA-256 ${digest.slice(0, 12)}… instead of ` +
        `${this.expected.slice(0, 12)}…): it was damaged in transit or replaced. Download it again.`,
    );
  }

  close() {
    this.file.flush();
    this.file.close();
  }
}

async function download(part, folder, source) {
  const origin = await Origin.read(folder, source);
  const length = part.file.getSize();
  if (origin.etag !== undefined && length > 0) {
    part.total = origin.total;
    part.resume(length);
  } else part.restart();
  for (let attempt = 0; ; attempt++) {
    const before = part.position;
    try {
      return await receive(part, origin, source);
    } catch (error) {
      if (stopped.signal.aborted || !(error instanceof TypeError)) throw error;
      // There was progress, so the count of attempts starts again.
      if (part.position > before) attempt = 0;
      if (attempt >= PAUSES.length) throw broken(error, part);
      await new Promise((resolve) => setTimeout(resolve, PAUSES[attempt]));
      stopped.signal.throwIfAborted();
    }
  }
}

function broken(error, part) {
  if (part.position > 0) {
    return new Problem("The connection broke. The part already downloaded is stored: resume the download when you are back online.");
  }
  part.worthless = true;
  return new Problem(
    "The download failed: the URL is wrong, you are offline, or the site does not allow other pages to read its files " +
      `(CORS). (${error.message})`,
  );
}

/** Fetches and writes the missing part. A broken connection is a TypeError. */
async function receive(part, origin, {url, headers}) {
  const range = part.position > 0 ? {range: `bytes=${part.position}-`} : {};
  const response = await fetch(url, {headers: {...headers, ...range}, signal: stopped.signal, cache: "no-store"});
  const answer = described(response);
  const resumed = response.status === 206 && answer.start === part.position && origin.matches(answer);
  if (part.position > 0 && !resumed) {
    if (part.position === origin.total && response.status === 416) return;
    part.restart();
    // The server does not support ranges, or the file has changed.
    if (response.status !== 200) {
      await response.body?.cancel();
      if (response.status === 206 || response.status === 416) throw new TypeError("the file has changed");
    }
  }
  if (!response.ok) {
    part.worthless = part.position === 0;
    throw new Problem(refusal(response.status, url));
  }
  if (!resumed) await origin.write(answer);
  part.total = origin.total ?? part.total;
  const reader = response.body.getReader();
  for (let piece; !(piece = await reader.read()).done; ) part.write(piece.value);
  if (origin.total !== null && part.position < origin.total) throw new TypeError("the connection ended early");
  if (part.position < KIND_BYTES) {
    part.worthless = true;
    throw new Problem("This is not a model file: there are only a few bytes at this URL.");
  }
}

function refusal(status, url) {
  const host = new URL(url).host;
  if (status === 404 || status === 410) return `There is no file at this URL: ${host} answered with status ${status}.`;
  if (status === 401 || status === 403) return `${host} does not allow access to this file: it answered with status ${status}.`;
  return `${host} cannot provide this file: it answered with status ${status}. Try again later.`;
}

/** Where a response begins, the length of the whole file, and its version. */
function described(response) {
  const etag = response.headers.get("etag");
  const range = /^bytes (\d+)-\d+\/(\d+)$/.exec(response.headers.get("content-range") ?? "");
  if (range) return {start: Number(range[1]), total: Number(range[2]), etag};
  // The length of a compressed response is not that of the file.
  const length = response.headers.get("content-encoding") ? null : response.headers.get("content-length");
  return {start: 0, total: length === null ? null : Number(length), etag};
}

/** The download that a partial file belongs to. */
class Origin {
  static async read(folder, {name, url, sha256: expected}) {
    const origin = new Origin();
    Object.assign(origin, {folder, name, url, sha256: expected ?? null, total: null, etag: undefined});
    try {
      const handle = await folder.getFileHandle(`${name}.part.json`);
      const known = JSON.parse(await (await handle.getFile()).text());
      if (known.url === url && known.sha256 === origin.sha256) Object.assign(origin, known);
    } catch {
      // Missing or unreadable: the download starts again.
    }
    return origin;
  }

  /** Whether a response is a part of the same file. */
  matches({total, etag}) {
    return total === this.total && (etag === null || this.etag === null || etag === this.etag);
  }

  async write({total, etag}) {
    Object.assign(this, {total, etag});
    const handle = await this.folder.getFileHandle(`${this.name}.part.json`, {create: true});
    const file = await handle.createSyncAccessHandle();
    const {url, sha256: expected} = this;
    file.truncate(0);
    file.write(new TextEncoder().encode(JSON.stringify({url, total, etag, sha256: expected})));
    file.close();
  }
}
