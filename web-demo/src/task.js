// A long-running task, shown with its progress and a stop button.

import {byId, element} from "./element.js";
import {size} from "./units.js";

/** A long-running task. `signal` is aborted when the user stops it. */
export class Task {
  #abort = new AbortController();
  #samples = [];

  /** Shows it under `label`. */
  constructor(label) {
    this.label = element("p", {className: "task-label", textContent: label});
    this.bar = element("progress", {"aria-label": label});
    this.note = element("span", {className: "faint"});
    const stop = element("button", {type: "button", textContent: "Stop", "aria-label": `Stop: ${label}`, onclick: () => this.stop()});
    this.element = element("div", {className: "task"}, this.label, this.bar, element("div", {className: "task-foot"}, this.note, stop));
    byId("downloads").append(this.element);
  }

  get signal() {
    return this.#abort.signal;
  }

  /** Stops the task. */
  stop() {
    this.#abort.abort(new DOMException("stopped", "AbortError"));
  }

  /** Shows the label of the current step. */
  step(label) {
    if (this.label.textContent === label) return;
    this.label.textContent = label;
    this.bar.setAttribute("aria-label", label);
    this.bar.removeAttribute("value");
    this.note.textContent = "";
    this.#samples = [];
  }

  /** Shows progress in bytes; `total` is null if it is unknown. */
  bytes(done, total) {
    this.part(done, total);
    const now = performance.now();
    this.#samples.push([now, done]);
    // The rate over the last four seconds.
    while (now - this.#samples[0][0] > 4000) this.#samples.shift();
    const [[then, before]] = this.#samples;
    const rate = now - then > 300 ? ` · ${size(((done - before) * 1000) / (now - then))}/s` : "";
    this.note.textContent = (total ? `${size(done)} of ${size(total)}` : size(done)) + rate;
  }

  /** Shows progress in percent. */
  part(done, total) {
    if (!total) return;
    this.bar.max = total;
    this.bar.value = done;
    this.note.textContent = `${Math.floor((100 * done) / total)} %`;
  }

  /** Removes the task from the page. */
  end() {
    this.element.remove();
  }
}
