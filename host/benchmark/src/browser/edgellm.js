// The package edgellm-web.
import { Model } from "/package/index.js";

export async function load({ threads, context }) {
  // On one thread the build without threads is faster.
  const variant = threads === 1 ? "relaxed" : "threads";
  const model = await Model.fromUrl("/model", { variant, threads });
  const session = await model.session({ contextLength: context });
  const { quantization, kernel, threads: used } = model.info;
  const head = quantization.head === "int8" ? "" : `, ${quantization.head} head`;

  async function timed({ prompt, generate }) {
    await session.reset();
    const generation = session.generate(Uint32Array.from(prompt), { temperature: 0, ignoreEos: true, maxTokens: generate });
    const inter_token_ms = [];
    let last;
    for await (const _ of generation) {
      const now = performance.now();
      if (last !== undefined) inter_token_ms.push(now - last);
      last = now;
    }
    const { tokenIds, timings } = await generation.result;
    const prefill_ms = (prompt.length * 1e3) / timings.prefillTokensPerSecond;
    return { token_ids: [...tokenIds], prefill_ms, ttft_ms: timings.ttftMs, inter_token_ms };
  }

  /** Decodes token by token, so that the logits can be posted. */
  async function hashed({ prompt, generate }) {
    await session.reset();
    const token_ids = [];
    let logits = await session.prefill(Uint32Array.from(prompt));
    for (;;) {
      await fetch("/logits", { method: "POST", body: logits.slice() });
      let best = 0;
      for (let index = 1; index < logits.length; index++) if (logits[index] > logits[best]) best = index;
      token_ids.push(best);
      if (token_ids.length === generate) break;
      logits = await session.decode(best);
    }
    return { token_ids, ttft_ms: 0, inter_token_ms: [] };
  }

  const ready = {
    engine: `EdgeLLM in ${navigator.userAgent.match(/Chrom\S*\/\d+/)?.[0] ?? "a browser"}`,
    variant: quantization.format + head,
    kernel: `${kernel} (${model.info.variant})`,
    threads: used,
  };
  return { ready, run: (request) => (request.hash ? hashed(request) : timed(request)) };
}
