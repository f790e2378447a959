// The page's side of the workers: calls with an answer, and events on the way to it.

import { EdgeLlmError, unpacked } from './errors.js';

export class Connection {
  /** The engine's worker, then those that lend it their thread. */
  #workers = [];
  #calls = new Map();
  #last = 0;
  #end;

  constructor() {
    this.#start().addEventListener('message', ({ data }) => this.#receive(data));
  }

  /**
   * Calls a function of the worker. `onEvent` hears of what it sends before its answer; the signal sends `abort`,
   * after which the call still has to answer.
   */
  call(name, argument, { onEvent, signal, transfer = [] } = {}) {
    if (this.#end) return Promise.reject(this.#end);
    const id = ++this.#last;
    const [worker] = this.#workers;
    return new Promise((resolve, reject) => {
      const abort = () => worker.postMessage({ abort: id });
      const done = () => signal?.removeEventListener('abort', abort);
      this.#calls.set(id, { resolve, reject, onEvent, done });
      worker.postMessage({ id, name, argument }, transfer);
      if (signal?.aborted) abort();
      else signal?.addEventListener('abort', abort);
    });
  }

  /** Starts workers that do nothing but compute for the engine. */
  lend(count, pool) {
    for (let i = 0; i < count; i++) this.#start().postMessage({ pool });
  }

  /** Ends the workers; whatever still runs is rejected with `error`. */
  close(error = new EdgeLlmError('closed', 'the model was closed')) {
    if (this.#end) return;
    this.#end = error;
    for (const worker of this.#workers) worker.terminate();
    for (const { reject, done } of this.#calls.values()) {
      done();
      reject(error);
    }
    this.#calls.clear();
  }

  #start() {
    const worker = new Worker(new URL('./worker.js', import.meta.url), { type: 'module', name: 'edgellm' });
    worker.addEventListener('error', (event) => {
      event.preventDefault();
      // Without a message, the script or what it imports could not be loaded.
      const [code, message] = event.message
        ? ['crashed', `the engine failed: ${event.message}`]
        : ['engine', 'the engine did not start: its worker.js could not be loaded'];
      this.close(new EdgeLlmError(code, message));
    });
    this.#workers.push(worker);
    return worker;
  }

  #receive({ id, event, result, error }) {
    const call = this.#calls.get(id);
    if (!call) return;
    if (event) {
      call.onEvent?.(event);
      return;
    }
    this.#calls.delete(id);
    call.done();
    if (!error) {
      call.resolve(result);
      return;
    }
    const reason = unpacked(error);
    call.reject(reason);
    if (error.fatal) this.close(reason);
  }
}
