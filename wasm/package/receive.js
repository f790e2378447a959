// The bytes of a model on their way into the engine's memory.

import { EdgeLlmError, unpacked } from './errors.js';

/** Milliseconds between two reports of progress. */
const PACE = 50;

/** `report(done, total)`, but not more often than people can see; the end is always told. */
export function paced(report) {
  let next = 0;
  return (done, total) => {
    const now = performance.now();
    if (now < next && done !== total) return;
    next = now + PACE;
    report(done, total);
  };
}

/** Writes all of `source` into `incoming`, piece by piece. */
export async function receive(source, incoming, progress) {
  const report = paced(progress);
  for await (const piece of piecesOf(source, incoming)) {
    incoming.write(piece);
    if (incoming.total > 0) report(incoming.loaded, incoming.total);
  }
  return incoming;
}

function piecesOf(source, incoming) {
  if (source.port) return fromPort(source.port);
  if (source.file) return fromStream(source.file.stream(), unreadable(source.file));
  return download(source, incoming);
}

async function* download({ url, request }, incoming) {
  const broken = (error) => {
    const mb = (bytes) => Math.round(bytes / 1e6);
    const how = incoming.total > 0 ? ` after ${mb(incoming.loaded)} of ${mb(incoming.total)} MB` : '';
    const message = `the download of ${url} broke off${how}: check the connection and try again (${error.message})`;
    return new EdgeLlmError('download', message);
  };
  let response;
  try {
    response = await fetch(url, request);
  } catch (error) {
    const message = `the model could not be downloaded from ${url}: the server cannot be reached, or does not allow ` +
      `this page to read the file (${error.message})`;
    throw new EdgeLlmError('download', message);
  }
  if (!response.ok) {
    const message = `the model could not be downloaded from ${url}: the server answers with status ${response.status}`;
    throw new EdgeLlmError('download', message, response.status);
  }
  yield* fromStream(response.body, broken);
}

const unreadable = (file) => (error) => {
  const message = `the file ${file.name ?? ''} cannot be read: has it been changed or moved? (${error.message})`;
  return new EdgeLlmError('download', message);
};

async function* fromStream(stream, wrong) {
  const reader = stream.getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read().catch((error) => {
        throw wrong(error);
      });
      if (done) return;
      yield value;
    }
  } finally {
    // What is left unread is of no use: whoever sends it may stop.
    reader.cancel().catch(() => {});
  }
}

async function* fromPort(port) {
  for (;;) {
    const { value, error } = await new Promise((resolve) => {
      port.onmessage = ({ data }) => resolve(data);
      port.postMessage('next');
    });
    if (error) throw unpacked(error);
    if (!value) return;
    yield value;
  }
}
