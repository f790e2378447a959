// The settings, stored for the next visit.

import {byId, element} from "./element.js";

const KEY = "edgellm-settings";

/** The fields of the form: label, hint and valid values. A `null` value is an empty field. */
const FIELDS = [
  {id: "system", label: "System prompt", type: "textarea", value: "", hint: "How the model should answer; it is sent before every conversation."},
  {id: "temperature", label: "Temperature", min: 0, max: 2, step: 0.01, value: 0.3, hint: "0 is greedy: always the most likely token."},
  {id: "topP", label: "Top-p", min: 0.01, max: 1, step: 0.01, value: 0.9, hint: "Sample from the most likely tokens whose probabilities add up to this."},
  {id: "topK", label: "Top-k", min: 0, max: 1000, step: 1, value: 40, hint: "Sample from the K most likely tokens; 0 for all."},
  {id: "minP", label: "Min-p", min: 0, max: 1, step: 0.01, value: 0.05, hint: "Drop tokens below this fraction of the most likely one."},
  {id: "seed", label: "Seed", min: 0, max: Number.MAX_SAFE_INTEGER, step: 1, value: null, hint: "The same seed gives the same answer; empty for a new seed each time."},
  {id: "maxTokens", label: "Maximum answer length", min: 1, max: 32768, step: 1, value: 512, hint: "In tokens."},
  {id: "contextLength", label: "Context length", min: 64, max: 131072, step: 1, value: 2048, hint: "Maximum tokens of a conversation; more take more memory."},
  {id: "kvCache", label: "KV cache", options: {f16: "16 bits", int8: "8 bits"}, value: "f16", hint: "8 bits halve the memory of the context."},
  {id: "threads", label: "Threads", min: 1, max: 32, step: 1, value: null, hint: "Used from the next load; empty for half the processors."},
  {id: "memory", label: "Memory limit (MB)", min: 16, max: 4096, step: 1, value: null, hint: "Used from the next load; empty for the browser's limit."},
];

/** The settings and their form. */
export class Settings {
  constructor() {
    this.values = {...defaults(), ...read()};
    this.form = byId("settings-form");
    this.#show();
  }

  /** The settings of one answer, with a random seed if none is set. */
  get forAnswer() {
    const {seed} = this.values;
    return {...this.values, seed: seed ?? Math.floor(Math.random() * 2 ** 32)};
  }

  /** The settings for loading a model. */
  get forLoad() {
    const {threads, memory} = this.values;
    return {threads: threads ?? undefined, memoryLimit: memory === null ? undefined : memory * 1e6};
  }

  #show() {
    this.form.replaceChildren(...FIELDS.map((field) => row(field, this.values[field.id])), this.#reset());
    this.form.onsubmit = (event) => event.preventDefault();
    this.form.onchange = ({target}) => this.#take(target);
  }

  #reset() {
    const reset = () => {
      this.values = defaults();
      this.#write();
      this.#show();
    };
    return element("button", {type: "button", textContent: "Reset to defaults", onclick: reset});
  }

  #take(input) {
    const field = FIELDS.find(({id}) => input.id === `set-${id}`);
    if (!input.reportValidity()) return;
    const text = input.value;
    if (field.step === undefined) this.values[field.id] = text;
    else if (text !== "") this.values[field.id] = Number(text);
    else if (field.value === null) this.values[field.id] = null;
    else input.value = this.values[field.id];
    this.#write();
  }

  #write() {
    localStorage.setItem(KEY, JSON.stringify(this.values));
  }
}

const defaults = () => Object.fromEntries(FIELDS.map(({id, value}) => [id, value]));

/** The stored settings that are still valid. */
function read() {
  try {
    const kept = JSON.parse(localStorage.getItem(KEY) ?? "{}");
    const known = FIELDS.filter(({id, ...field}) => id in kept && sound(field, kept[id]));
    return Object.fromEntries(known.map(({id}) => [id, kept[id]]));
  } catch {
    return {};
  }
}

function sound({type, options, min, max, value: standard}, value) {
  if (type === "textarea") return typeof value === "string";
  if (options) return Object.hasOwn(options, value);
  return value === null ? standard === null : typeof value === "number" && value >= min && value <= max;
}

function row(field, value) {
  const {id, label, hint, type, options, min, max, step} = field;
  const shared = {id: `set-${id}`, "aria-describedby": `hint-${id}`};
  let input;
  if (options) {
    const choices = Object.entries(options).map(([key, text]) => element("option", {value: key, textContent: text}));
    input = element("select", shared, ...choices);
  } else if (type === "textarea") input = element("textarea", {...shared, rows: 3});
  else input = element("input", {...shared, type: "number", min, max, step, inputMode: "decimal"});
  input.value = value ?? "";
  const text = element("label", {htmlFor: shared.id, textContent: label});
  return element("div", {className: type ?? "field"}, text, input, element("small", {id: `hint-${id}`, textContent: hint}));
}
