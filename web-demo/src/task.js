// Something that takes a while, shown with its progress and a way to stop it.

import {byId, element} from "./element.js";
import {size} from "./units.js";

/** Something under way. `signal` tells that somebody stopped it. */
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

  /** Ends it. */
  stop() {
    this.#abort.abort(new DOMException("stopped", "AbortError"));
  }

  /** Names the step that now begins. */
  step(label) {
    if (this.label.textContent === label) return;
    this.label.textContent = label;
    this.bar.setAttribute("aria-label", label);
    this.bar.removeAttribute("value");
    this.note.textContent = "";
    this.#samples = [];
  }

  /** How far the bytes are; `total` is null where nobody knows. */
  bytes(done, total) {
    this.part(done, total);
    const now = performance.now();
    this.#samples.push([now, done]);
    // The speed of the last seconds.
    while (now - this.#samples[0][0] > 4000) this.#samples.shift();
    const [[then, before]] = this.#samples;
    const rate = now - then > 300 ? ` · ${size(((done - before) * 1000) / (now - then))}/s` : "";
    this.note.textContent = (total ? `${size(done)} of ${size(total)}` : size(done)) + rate;
  }

  /** How far it is. */
  part(done, total) {
    if (!total) return;
    this.bar.max = total;
    this.bar.value = done;
    this.note.textContent = `${Math.floor((100 * done) / total)} %`;
  }

  /** It is over. */
  end() {
    this.element.remove();
  }
}
