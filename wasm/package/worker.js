// The worker: receives calls, looks at its messages between the tokens of an answer, and computes.

import { packed } from './errors.js';
import { fatal, work } from './engine.js';
import * as calls from './calls.js';

/** Signals of the calls that run, by their number. */
const running = new Map();

self.onmessage = async ({ data }) => {
  if (data.pool) {
    work(data.pool);
    return;
  }
  if (data.abort) {
    running.get(data.abort)?.abort();
    return;
  }
  const { id, name, argument } = data;
  const controller = new AbortController();
  running.set(id, controller);
  const send = (event, transfer = []) => self.postMessage({ id, event }, transfer);
  try {
    const result = await calls[name](argument, { send, signal: controller.signal });
    self.postMessage({ id, result });
  } catch (error) {
    self.postMessage({ id, error: error.code ? packed(error) : fatal(error) });
  } finally {
    running.delete(id);
  }
};
