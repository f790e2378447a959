// The conversation: who answers, the message box, stop.

import {PageBackend} from "./engine.js";
import {byId, element} from "./element.js";
import {Lane} from "./lane.js";
import {ServerBackend} from "./server.js";

const SIDE = "edgellm-side";
const EXAMPLES = [
  "Why is the sky blue?",
  "Write a short poem about the sea.",
  "List three uses of a paper clip.",
  "Explain in two sentences what a prime number is.",
];

/** The conversation part of the page. */
export class Chat {
  constructor(engine, server, settings) {
    this.engine = engine;
    this.server = server;
    this.settings = settings;
    const changed = () => this.#show();
    this.lanes = {page: new Lane(new PageBackend(engine), "This page", changed)};
    if (server) this.lanes.server = new Lane(new ServerBackend(server), "Server", changed);
    this.#sides();
    this.#composer();
    engine.addEventListener("change", changed);
    server?.addEventListener("change", changed);
    byId("new-chat").onclick = () => {
      for (const lane of Object.values(this.lanes)) lane.clear();
      this.#show();
      byId("prompt").focus();
    };
    this.#show();
  }

  /** The element to show while no model is ready and the conversation is empty. */
  set welcome(welcome) {
    this.#welcome = welcome;
    this.#show();
  }
  #welcome = null;

  /** The lanes that answer the next message. */
  get active() {
    const names = this.side === "both" ? ["page", "server"] : [this.side];
    return names.map((name) => this.lanes[name]);
  }

  #ready(lane) {
    return lane === this.lanes.page ? this.engine.model !== null : this.server.chosen !== null;
  }

  #sides() {
    const sides = byId("sides");
    sides.hidden = !this.server;
    const kept = localStorage.getItem(SIDE);
    this.side = this.server ? (["page", "server", "both"].includes(kept) ? kept : "server") : "page";
    for (const input of sides.querySelectorAll("input")) {
      input.checked = input.value === this.side;
      input.onchange = () => {
        this.side = input.value;
        localStorage.setItem(SIDE, this.side);
        this.#show();
      };
    }
  }

  #composer() {
    const prompt = byId("prompt");
    prompt.oninput = () => {
      grow(prompt);
      this.#show();
    };
    prompt.onkeydown = (event) => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      byId("composer").requestSubmit();
    };
    byId("composer").onsubmit = (event) => {
      event.preventDefault();
      const text = prompt.value.trim();
      if (text && !this.busy && this.active.every((lane) => this.#ready(lane))) this.ask(text);
    };
    byId("stop").onclick = () => this.stop();
    document.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && this.busy) this.stop();
    });
  }

  get busy() {
    return Object.values(this.lanes).some((lane) => lane.busy);
  }

  /** Sends `text` to all active lanes. */
  async ask(text) {
    const prompt = byId("prompt");
    prompt.value = "";
    grow(prompt);
    const settings = this.answerSettings();
    byId("said").textContent = "Writing…";
    await Promise.all(this.active.map((lane) => lane.ask(text, settings)));
    byId("said").textContent = this.active.map((lane) => lane.lastText).join("\n\n");
  }

  /** The settings of an answer; both lanes get the same seed. `again` returns settings for a regenerated answer. */
  answerSettings() {
    return {...this.settings.forAnswer, again: () => this.answerSettings()};
  }

  /** Stops all answers. */
  stop() {
    for (const lane of Object.values(this.lanes)) lane.stop();
    byId("prompt").focus();
  }

  #show() {
    const {active, busy} = this;
    const ready = active.every((lane) => this.#ready(lane));
    const prompt = byId("prompt");
    const focused = document.activeElement === byId("stop");
    prompt.disabled = !ready;
    prompt.placeholder = ready ? "Ask something…" : "Choose a model first";
    byId("stop").hidden = !busy;
    byId("send").hidden = busy;
    byId("send").disabled = !ready || prompt.value.trim() === "";
    if (focused && !busy) prompt.focus();
    byId("new-chat").disabled = Object.values(this.lanes).every((lane) => lane.empty);
    byId("title").textContent = active.map((lane) => (this.#ready(lane) ? lane.backend.name : "No model yet")).join(" | ");
    const empty = active.every((lane) => lane.empty);
    const shown = empty ? [this.#greeting(ready)] : active.map((lane) => lane.element);
    const lanes = byId("lanes");
    lanes.classList.toggle("two", !empty && active.length > 1);
    if (shown.length !== lanes.children.length || shown.some((child, index) => lanes.children[index] !== child)) {
      lanes.replaceChildren(...shown);
      // Moving elements resets their scroll positions.
      for (const lane of active) lane.log.scrollTop = lane.log.scrollHeight;
    }
  }

  #greeting(ready) {
    if (!ready && this.#welcome) return this.#welcome;
    if (this.greeting) return this.greeting;
    const examples = EXAMPLES.map((text) => element("button", {type: "button", textContent: text, onclick: () => this.ask(text)}));
    const title = element("h2", {textContent: "What would you like to know?"});
    const note = element("p", {className: "faint", textContent: "Small models are often wrong, and rarely say so."});
    this.greeting = element("section", {className: "greeting", "aria-label": "Examples"}, title, element("div", {className: "examples"}, ...examples), note);
    return this.greeting;
  }
}

/** Makes the text area as tall as its text, up to a third of the window. */
function grow(area) {
  area.style.height = "auto";
  area.style.height = `${Math.min(area.scrollHeight, innerHeight / 3)}px`;
}
