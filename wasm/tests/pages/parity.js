// Runs in a browser: what a build of the engine makes of a prompt, to be compared with the native program.

import { Model } from '/edgellm-web/index.js';
import { likeliest, LogitsHash } from './logits_hash.js';

/** Greedy tokens after `prompt` by single steps, the hash of all logits, and the same tokens by `generate`. */
export async function greedy(url, options, prompt, count) {
  const model = await Model.fromUrl(url, options);
  const session = await model.session();
  const hash = new LogitsHash();
  const tokens = [];
  let logits = await session.prefill(prompt);
  hash.add(logits);
  for (let i = 0; i < count; i++) {
    const token = likeliest(logits);
    tokens.push(token);
    logits = await session.decode(token);
    hash.add(logits);
  }
  await session.reset();
  const generation = session.generate(Uint32Array.from(prompt), { temperature: 0, maxTokens: count, ignoreEos: true });
  const generated = [...(await generation.result).tokenIds];
  const { variant, threads, kernel } = model.info;
  model.close();
  return { tokens, logitsHash: String(hash), generated, variant, threads, kernel };
}

/** Every build, one after the other. */
export async function allBuilds(url, prompt, count) {
  const results = [];
  for (const options of [
    { variant: 'simd' },
    { variant: 'relaxed' },
    { variant: 'threads', threads: 1 },
    { variant: 'threads', threads: 2 },
    { variant: 'threads', threads: 3 },
  ]) {
    results.push(await greedy(url, options, prompt, count));
  }
  return results;
}
