// An answer in the making, as an async iterator.

/** Starts `run(signal, onToken)`, which gives the result, and hands out its tokens as they come. */
export class Generation {
  #controller = new AbortController();
  #tokens = [];
  #waiting = [];
  #ended = false;

  constructor(run, signal) {
    const abort = () => this.#controller.abort();
    if (signal?.aborted) abort();
    else signal?.addEventListener('abort', abort);
    this.result = run(this.#controller.signal, (token) => this.#push(token)).finally(() => {
      signal?.removeEventListener('abort', abort);
      this.#ended = true;
      for (const waiting of this.#waiting.splice(0)) waiting(this.#done());
    });
    // Whoever only loops hears of a failure there.
    this.result.catch(() => {});
  }

  #push(token) {
    const waiting = this.#waiting.shift();
    if (waiting) waiting({ done: false, value: token });
    else this.#tokens.push(token);
  }

  async #done() {
    return { done: true, value: await this.result };
  }

  async next() {
    if (this.#tokens.length > 0) return { done: false, value: this.#tokens.shift() };
    if (this.#ended) return this.#done();
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  /** Called when a loop is left early. */
  async return() {
    this.#controller.abort();
    return this.#done();
  }

  [Symbol.asyncIterator]() {
    return this;
  }
}
