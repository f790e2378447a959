// llama.cpp in WebAssembly: the package @wllama/wllama.
import { Wllama } from "/package/esm/index.js";

export async function load({ threads, context }) {
  const wllama = new Wllama({ default: "/package/esm/wasm/wllama.wasm" }, { suppressNativeLog: true });
  const file = await (await fetch("/model")).blob();
  await wllama.loadModel([file], { n_threads: threads, n_ctx: context, n_gpu_layers: 0, n_parallel: 1 });

  async function run({ prompt, text: written, generate }) {
    // It accepts only text.
    const options = { prompt: written, max_tokens: generate, temperature: 0, ignore_eos: true, cache_prompt: false, stream: true };
    const start = performance.now();
    const inter_token_ms = [];
    let text = "";
    let ttft_ms;
    let last;
    let timings;
    for await (const chunk of await wllama.createCompletion(options)) {
      const now = performance.now();
      timings = chunk.timings ?? timings;
      const piece = chunk.choices?.[0];
      if (!piece || piece.finish_reason) continue;
      text += piece.text;
      if (last === undefined) ttft_ms = now - start;
      else inter_token_ms.push(now - last);
      last = now;
    }
    if (timings && timings.prompt_n < prompt.length - 1) {
      throw new Error(`only ${timings.prompt_n} of ${prompt.length} tokens of the prompt were processed`);
    }
    return { token_ids: [], text, prefill_ms: timings?.prompt_ms, ttft_ms, inter_token_ms };
  }

  const ready = {
    engine: "wllama (llama.cpp) in " + (navigator.userAgent.match(/Chrom\S*\/\d+/)?.[0] ?? "a browser"),
    variant: "GGUF as given",
    kernel: "simd128",
    threads,
  };
  return { ready, run };
}
