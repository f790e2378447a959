// The server that the page came from, through its OpenAI API.

import {Problem} from "./problem.js";

const KEY = "edgellm-key";

/** `edgellm serve`: its API key and its models. Dispatches `change` when either changes. */
export class Server extends EventTarget {
  constructor({keys}) {
    super();
    this.wantsKey = keys;
    this.models = [];
    this.chosen = null;
  }

  /** The API key, kept until the tab is closed. */
  get key() {
    return sessionStorage.getItem(KEY) ?? "";
  }

  set key(key) {
    if (key) sessionStorage.setItem(KEY, key);
    else sessionStorage.removeItem(KEY);
  }

  /** Headers of every request. */
  get headers() {
    return this.key ? {authorization: `Bearer ${this.key}`} : {};
  }

  /** Fetches the list of models; without a required key it stays empty. */
  async refresh() {
    this.models = [];
    if (!this.wantsKey || this.key) {
      const response = await this.fetch("v1/models");
      this.models = (await response.json()).data;
    }
    if (!this.models.some(({id}) => id === this.chosen)) this.chosen = this.models[0]?.id ?? null;
    this.dispatchEvent(new Event("change"));
  }

  /** `fetch` with the API key; errors become sentences. */
  async fetch(path, options = {}) {
    let response;
    try {
      response = await fetch(path, {...options, headers: {...options.headers, ...this.headers}});
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new Problem("The server does not answer: it has stopped, or the network is down.", {cause: error});
    }
    if (response.ok) return response;
    if (response.status === 401) {
      this.key = "";
      this.wantsKey = true;
      this.dispatchEvent(new Event("change"));
      throw new Problem("The server requires another API key: enter it on the left.");
    }
    throw new Problem(`The server refused: ${await reason(response)}`);
  }
}

async function reason(response) {
  const text = await response.text();
  try {
    return JSON.parse(text).error.message;
  } catch {
    return `${response.status} ${response.statusText}`;
  }
}

/** A conversation with the server. */
export class ServerBackend {
  constructor(server) {
    this.server = server;
  }

  get name() {
    return this.server.chosen ?? "the server";
  }

  /** As `PageBackend.reply`; the timings are those that this page measures. */
  async *reply(messages, settings, signal) {
    const {maxTokens, temperature, topK, topP, minP, seed} = settings;
    const body = {
      model: this.server.chosen,
      messages,
      stream: true,
      stream_options: {include_usage: true},
      max_tokens: maxTokens,
      temperature,
      top_k: topK,
      top_p: topP,
      min_p: minP,
      seed,
    };
    const started = performance.now();
    const response = await this.server.fetch("v1/chat/completions", {
      method: "POST",
      headers: {"content-type": "application/json"},
      body: JSON.stringify(body),
      signal,
    });
    let [first, last, finishReason, usage] = [null, started, "stop", null];
    for await (const {choices, usage: counted, error} of events(response)) {
      if (error) throw new Problem(`The server failed: ${error.message}`);
      usage = counted ?? usage;
      const [choice] = choices ?? [];
      finishReason = choice?.finish_reason ?? finishReason;
      const text = choice?.delta?.content;
      if (!text) continue;
      last = performance.now();
      first ??= last;
      yield text;
    }
    return {finishReason, timings: timings(usage, started, first, last)};
  }
}

function timings(usage, started, first, last) {
  const generatedTokens = usage?.completion_tokens ?? 0;
  const decoding = first !== null && last > first && generatedTokens > 1;
  return {
    ttftMs: first === null ? null : first - started,
    promptTokens: usage?.prompt_tokens ?? 0,
    cachedTokens: usage?.prompt_tokens_details?.cached_tokens ?? 0,
    generatedTokens,
    decodeTokensPerSecond: decoding ? ((generatedTokens - 1) * 1000) / (last - first) : null,
  };
}

/** The objects of a stream of server-sent events, up to `[DONE]`. */
async function* events(response) {
  let text = "";
  for (const reader = response.body.pipeThrough(new TextDecoderStream()).getReader(); ; ) {
    const {done, value} = await reader.read();
    if (done) return;
    text += value;
    for (let end; (end = text.indexOf("\n\n")) >= 0; text = text.slice(end + 2)) {
      const line = text.slice(0, end);
      if (line === "data: [DONE]") return;
      if (line.startsWith("data: ")) yield JSON.parse(line.slice(6));
    }
  }
}
