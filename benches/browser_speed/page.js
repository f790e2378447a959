// Runs in the page: loads engines, and measures one of them at a time.

import { Model } from '/edgellm-web/index.js';
import { Wllama } from '/wllama/index.js';

/** Loaded engines by the name of their row. */
const engines = new Map();

/** A text of about 16 tokens a sentence, for prefill. */
const long = (sentences) => 'The quick brown fox jumps over the lazy dog, and then it rests. '.repeat(sentences);
/** A question that any correct engine answers alike. */
const QUESTION = 'The capital of France is';

export async function load({ name, engine, url, threads, variant }) {
  engines.set(name, engine === 'wllama' ? await loadWllama(url, threads) : await loadEdgeLlm(url, threads, variant));
}

/** Tokens per second, and the answer to `QUESTION`. */
export const measure = (name, tokens, sentences) => engines.get(name)(tokens, sentences);

async function loadEdgeLlm(url, threads, variant) {
  const model = await Model.fromUrl(url, { variant, threads });
  const session = await model.session({ contextLength: 1024 });
  return async (count, sentences) => {
    const run = async (input, maxTokens) => {
      await session.reset();
      return session.generate(input, { temperature: 0, ignoreEos: true, maxTokens }).result;
    };
    const prefill = (await run(long(sentences), 1)).timings;
    const decode = await run(Uint32Array.of(1), count);
    const answer = await run(QUESTION, 4);
    return {
      prefill: prefill.prefillTokensPerSecond,
      promptTokens: prefill.promptTokens,
      decode: decode.timings.decodeTokensPerSecond,
      tokens: decode.timings.generatedTokens,
      tokenIds: [...decode.tokenIds],
      answer: answer.text,
    };
  };
}

async function loadWllama(url, threads) {
  const wllama = new Wllama({ default: '/wllama/wasm/wllama.wasm' }, { suppressNativeLog: true });
  const blob = await (await fetch(url)).blob();
  await wllama.loadModel([blob], { n_threads: threads, n_ctx: 1024, n_gpu_layers: 0, n_parallel: 1 });
  return async (count, sentences) => {
    const run = async (prompt, max_tokens) => {
      // Its end tokens are forbidden, so that it generates as many tokens as we do; cached tokens are not counted.
      const options = { prompt, max_tokens, temperature: 0, logit_bias: { 0: -1e9, 2: -1e9 } };
      const { choices, timings } = await wllama.createCompletion(options);
      return { text: choices[0].text, timings };
    };
    await run('Something else, so that nothing of the next text is cached.', 1);
    const prefill = (await run(long(sentences), 1)).timings;
    const decode = (await run('.', count)).timings;
    const answer = await run(QUESTION, 4);
    return {
      prefill: prefill.prompt_per_second,
      promptTokens: prefill.prompt_n,
      decode: decode.predicted_per_second,
      tokens: decode.predicted_n,
      answer: answer.text,
    };
  };
}
