// A conversation with one backend, and its view. Side by side there are two.

import {element} from "./element.js";
import {render} from "./markdown.js";
import {explain, isAbort} from "./problem.js";
import {duration, plural} from "./units.js";

/** A conversation. `backend` answers; `onState` is called when an answer begins and ends. */
export class Lane {
  #messages = [];
  #abort = null;
  #onState;

  constructor(backend, label, onState) {
    this.backend = backend;
    this.#onState = onState;
    this.log = element("div", {className: "log", role: "log", "aria-live": "off", "aria-label": `Conversation with ${label}`, tabIndex: 0});
    this.heading = element("h2", {className: "lane-title", textContent: label});
    this.element = element("section", {className: "lane", "aria-label": label}, this.heading, this.log);
  }

  get busy() {
    return this.#abort !== null;
  }

  get empty() {
    return this.#messages.length === 0;
  }

  /** The last answer's text. */
  get lastText() {
    const last = this.#messages.at(-1);
    return last?.role === "assistant" ? last.content : "";
  }

  /** Sends a message and shows the answer. */
  async ask(text, settings) {
    this.#messages.push({role: "user", content: text});
    this.log.append(userMessage(text));
    await this.#answer(settings);
  }

  /** Generates a new answer to the last message. */
  async regenerate(settings) {
    if (this.busy || this.empty) return;
    if (this.#messages.at(-1).role === "assistant") {
      this.#messages.pop();
      this.log.lastElementChild.remove();
    }
    await this.#answer(settings);
  }

  /** Stops the answer. */
  stop() {
    this.#abort?.abort(new DOMException("stopped", "AbortError"));
  }

  /** Begins a new conversation. */
  clear() {
    this.stop();
    this.#messages = [];
    this.log.replaceChildren();
  }

  async #answer(settings) {
    const abort = new AbortController();
    this.#abort = abort;
    this.#onState();
    for (const old of this.log.querySelectorAll(".again")) old.remove();
    const view = new AnswerView(this.backend.name, this.log);
    const conversation = this.#messages;
    let finish = null;
    try {
      const prompt = settings.system ? [{role: "system", content: settings.system}, ...conversation] : [...conversation];
      finish = await view.follow(this.backend.reply(prompt, settings, abort.signal));
    } catch (error) {
      if (isAbort(error) || abort.signal.aborted) finish = {finishReason: "aborted"};
      else view.fail(explainAnswer(error));
    }
    view.end(finish, () => this.regenerate(settings.again()));
    // A message without an answer remains: Regenerate answers it.
    if (conversation === this.#messages && (finish || view.text)) {
      conversation.push({role: "assistant", content: view.text});
    }
    if (this.#abort === abort) this.#abort = null;
    this.#onState();
  }
}

function explainAnswer(error) {
  if (error.code === "context_full") {
    return "The conversation has become too long for its context. Start a new chat, or raise the context length in the settings.";
  }
  return explain(error, "answer");
}

function userMessage(text) {
  const who = element("h3", {className: "unseen", textContent: "You"});
  return element("article", {className: "message user"}, who, element("p", {textContent: text}));
}

/** The view of an answer, while it is generated and afterwards. */
class AnswerView {
  text = "";
  #started = performance.now();
  #first = null;
  #pieces = 0;
  #frame = 0;

  constructor(name, log) {
    this.log = log;
    this.body = element("div", {className: "body"});
    this.stats = element("span", {className: "stats", textContent: "Prefilling…"});
    this.footer = element("footer", {}, this.stats);
    const who = element("h3", {className: "who", textContent: name});
    this.element = element("article", {className: "message assistant writing", "aria-busy": "true"}, who, this.body, this.footer);
    log.append(this.element);
    this.#follow(true);
  }

  /** Shows the text of `reply` as it arrives; returns what `reply` returns. */
  async follow(reply) {
    for (;;) {
      const {done, value} = await reply.next();
      if (done) return value;
      this.#first ??= performance.now();
      this.#pieces++;
      this.text += value;
      // Several tokens may arrive between two frames.
      this.#frame ||= requestAnimationFrame(() => this.#draw());
    }
  }

  #draw() {
    this.#frame = 0;
    const near = this.log.scrollHeight - this.log.scrollTop - this.log.clientHeight < 80;
    render(this.text, this.body);
    if (this.#pieces > 1) {
      const rate = ((this.#pieces - 1) * 1000) / (performance.now() - this.#first);
      this.stats.textContent = `${plural(this.#pieces, "token")} · ${rate.toFixed(1)} tokens/s · first after ${duration(this.#first - this.#started)}`;
    }
    this.#follow(near);
  }

  /** Scrolls to the end, if it was in view. */
  #follow(near) {
    if (near) this.log.scrollTop = this.log.scrollHeight;
  }

  /** Shows why the answer failed. */
  fail(sentence) {
    this.footer.before(element("p", {className: "failure", role: "alert", textContent: sentence}));
  }

  /** Shows the final statistics and the buttons. */
  end(finish, again) {
    cancelAnimationFrame(this.#frame);
    if (this.text || finish) this.#draw();
    cancelAnimationFrame(this.#frame);
    this.element.classList.remove("writing");
    this.element.setAttribute("aria-busy", "false");
    this.stats.textContent = finish ? summary(finish, this.#pieces) : "";
    const copy = element("button", {type: "button", className: "quiet", textContent: "Copy"});
    copy.onclick = async () => {
      await navigator.clipboard.writeText(this.text);
      copy.textContent = "Copied";
    };
    const regenerate = element("button", {type: "button", className: "quiet again", textContent: "Regenerate", onclick: again});
    this.footer.append(...(this.text ? [copy] : []), regenerate);
    this.#follow(this.log.scrollHeight - this.log.scrollTop - this.log.clientHeight < 160);
  }
}

const ENDINGS = {
  length: "maximum length reached",
  context_full: "context full",
  aborted: "stopped",
};

function summary({finishReason, timings}, pieces) {
  const parts = [plural(timings?.generatedTokens ?? pieces, "token")];
  if (timings?.decodeTokensPerSecond) parts.push(`${timings.decodeTokensPerSecond.toFixed(1)} tokens/s`);
  if (typeof timings?.ttftMs === "number") parts.push(`first after ${duration(timings.ttftMs)}`);
  if (timings?.promptTokens) {
    const {promptTokens, cachedTokens} = timings;
    parts.push(`prompt of ${promptTokens}${cachedTokens ? `, ${cachedTokens} cached` : ""}`);
  }
  if (ENDINGS[finishReason]) parts.push(ENDINGS[finishReason]);
  return parts.join(" · ");
}
