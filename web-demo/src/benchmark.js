// The standard benchmark: prompts of 128 and 512 tokens, and 128 tokens of greedy decoding, in several rounds. The hash shows
// that all machines generate the same answer, as they must; prompts and hash are those of `edgellm benchmark`.

import {byId, element} from "./element.js";
import {save} from "./models.js";
import {report} from "./notices.js";
import {isAbort} from "./problem.js";
import {LONG, MEDIUM} from "./prompts.js";
import {median} from "./units.js";

/** Texts by the number of tokens that they are truncated to. */
const TEXTS = {128: MEDIUM, 512: LONG};
const PROMPTS = Object.keys(TEXTS).map(Number);
const GENERATED = 128;
const ROUNDS = 3;

/** The benchmark section of the page. */
export class Benchmark {
  #abort = null;

  constructor(engine) {
    this.engine = engine;
    this.result = null;
    byId("benchmark-run").onclick = () => (this.#abort ? this.#abort.abort() : this.#run());
    byId("benchmark-export").onclick = () => {
      const text = JSON.stringify(this.result, null, 2);
      save(new Blob([text], {type: "application/json"}), `edgellm-benchmark-${this.result.model.name.replace(/\W+/g, "-")}.json`);
    };
    const show = () => {
      byId("benchmark-run").disabled = !engine.model;
    };
    engine.addEventListener("change", show);
    show();
  }

  async #run() {
    this.#abort = new AbortController();
    byId("benchmark-run").textContent = "Stop";
    byId("benchmark-export").hidden = true;
    byId("benchmark-table").replaceChildren();
    const state = (text) => {
      byId("benchmark-state").textContent = text;
    };
    try {
      this.result = await measure(this.engine.model, {signal: this.#abort.signal, state});
      state(`Answer ${this.result.answerHash}, the same in all rounds.`);
      byId("benchmark-table").replaceChildren(table(this.result));
      byId("benchmark-export").hidden = false;
    } catch (error) {
      state(isAbort(error) ? "Stopped." : "");
      report(error, "run the benchmark");
    } finally {
      this.#abort = null;
      byId("benchmark-run").textContent = "Run";
    }
  }
}

/** Runs the benchmark on `model`. */
export async function measure(model, {signal, state, rounds = ROUNDS}) {
  const session = await model.session({contextLength: Math.max(...PROMPTS) + GENERATED});
  const measured = [];
  try {
    // The first round warms up caches and does not count.
    for (let round = 0; round <= rounds; round++) {
      for (const length of PROMPTS) {
        signal?.throwIfAborted();
        state?.(round === 0 ? "Warming up…" : `Round ${round} of ${rounds}: a prompt of ${length} tokens…`);
        const prompt = await promptTokens(model, length);
        await session.reset();
        // Decoding is measured once per round, after the short prompt.
        const maxTokens = length === PROMPTS[0] ? GENERATED : 1;
        const {timings, tokenIds, finishReason} = await session.generate(prompt, {
          temperature: 0,
          maxTokens,
          ignoreEos: true,
          signal,
        }).result;
        signal?.throwIfAborted();
        if (finishReason !== "length") throw new Error(`the answer ended with ${finishReason}`);
        if (round > 0) measured.push({round, length, timings, hash: maxTokens === GENERATED ? hash(tokenIds) : null});
      }
    }
  } finally {
    session.close();
  }
  return summary(model, await model.memory(), measured);
}

/** The first tokens of the text, repeated if it is too short. */
async function promptTokens(model, count) {
  for (let text = TEXTS[count]; ; text += TEXTS[count]) {
    const tokens = await model.tokenize(text, {addSpecial: true});
    if (tokens.length >= count) return tokens.slice(0, count);
  }
}

/** 64-bit FNV-1a of the token ids as little-endian 32-bit integers. */
export function hash(tokens) {
  let value = 0xcbf29ce484222325n;
  for (const token of tokens) {
    for (let shift = 0; shift < 32; shift += 8) {
      value = BigInt.asUintN(64, (value ^ BigInt((token >>> shift) & 255)) * 0x100000001b3n);
    }
  }
  return value.toString(16).padStart(16, "0");
}

function summary(model, memory, measured) {
  const hashes = new Set(measured.map(({hash: one}) => one).filter(Boolean));
  if (hashes.size !== 1) throw new Error(`the rounds gave different answers: ${[...hashes].join(", ")}`);
  const spread = (numbers) => ({median: median(numbers), min: Math.min(...numbers), max: Math.max(...numbers), all: numbers});
  const of = (length, value) => spread(measured.filter((one) => one.length === length).map(({timings}) => timings[value]));
  return {
    benchmark: "edgellm standard",
    target: "browser",
    date: new Date().toISOString(),
    userAgent: navigator.userAgent,
    hardwareConcurrency: navigator.hardwareConcurrency,
    crossOriginIsolated,
    model: model.info,
    memory,
    generatedTokens: GENERATED,
    answerHash: [...hashes][0],
    prefillTokensPerSecond: Object.fromEntries(PROMPTS.map((length) => [length, of(length, "prefillTokensPerSecond")])),
    ttftMs: Object.fromEntries(PROMPTS.map((length) => [length, of(length, "ttftMs")])),
    decodeTokensPerSecond: of(PROMPTS[0], "decodeTokensPerSecond"),
  };
}

function table({prefillTokensPerSecond, decodeTokensPerSecond}) {
  const row = (what, {median: middle, min, max}) =>
    element("tr", {}, element("th", {scope: "row", textContent: what}), ...[middle, min, max].map((value) => element("td", {textContent: value.toFixed(1)})));
  const head = element("tr", {}, ...["Tokens/s", "median", "min", "max"].map((textContent) => element("th", {scope: "col", textContent})));
  const rows = PROMPTS.map((length) => row(`prefill ${length}`, prefillTokensPerSecond[length]));
  return element("table", {}, element("thead", {}, head), element("tbody", {}, ...rows, row(`decode ${GENERATED}`, decodeTokensPerSecond)));
}
