// The package's interface in real Chromium, with the real model.

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { launch, model, openPage, servePackage } from './fixture.mjs';

let browser;
let server;
before(async () => {
  browser = await launch();
  server = await servePackage({ roots: { '/model.tmac2.bin': model() } });
});
after(async () => {
  await browser?.close();
  await server?.close();
});

const QUESTION = [{ role: 'user', content: 'What is the capital of France?' }];

/** An open page with a model in `model`. */
async function pageWithModel(options = {}) {
  const opened = await openPage(browser, server.url);
  await opened.page.evaluate(async (options) => {
    globalThis.model = await edgellm.Model.fromUrl('/model.tmac2.bin', options);
  }, options);
  return opened;
}

test('the best build is found, and said', async () => {
  const { page, close } = await openPage(browser, server.url);
  const features = await page.evaluate(() => edgellm.detect());
  assert.equal(features.chosen, features.hardwareConcurrency > 1 ? 'threads' : 'relaxed');
  assert.equal(features.crossOriginIsolated, true);
  const { info, progress } = await page.evaluate(async () => {
    const progress = [];
    const model = await edgellm.Model.fromUrl('/model.tmac2.bin', { onProgress: (step) => progress.push(step) });
    return { info: model.info, progress };
  });
  assert.equal(info.variant, features.chosen);
  assert.equal(info.reason, features.reason);
  assert.equal(info.kernel, 'simd128-relaxed');
  assert.equal(info.threads, features.chosen === 'threads' ? Math.max(2, features.hardwareConcurrency / 2) : 1);
  assert.equal(info.parameters, 134515008);
  assert.deepEqual([info.architecture, info.layers, info.hiddenSize, info.vocabSize], ['llama', 30, 576, 49152]);
  assert.equal(info.hasChatTemplate, true);
  assert.equal(info.quantization.format, 'int4');
  assert.equal(info.quantization.quality, null, 'it was not measured');
  assert.equal(info.contextLength, 8192);
  assert.equal(info.cacheBytesPerToken.f16, 30 * 3 * 64 * 2 * 2);
  assert.equal(info.stateBytes, 0);
  assert.ok(progress.length > 1, `${progress.length} reports of progress`);
  assert.deepEqual(progress.at(-1), { loaded: info.fileBytes, total: info.fileBytes });
  for (let i = 1; i < progress.length; i++) assert.ok(progress[i].loaded > progress[i - 1].loaded);
  await close();
});

test('a page that is not cross-origin isolated gets one thread and a reason', async () => {
  const open = await servePackage({ roots: { '/model.tmac2.bin': model() }, isolated: false });
  const { page, close } = await openPage(browser, open.url);
  const info = await page.evaluate(async () => (await edgellm.Model.fromUrl('/model.tmac2.bin')).info);
  assert.deepEqual([info.variant, info.threads], ['relaxed', 1]);
  assert.match(info.reason, /not cross-origin isolated/);
  const error = await page.evaluate(() =>
    edgellm.Model.fromUrl('/model.tmac2.bin', { variant: 'threads' }).catch(({ code, message }) => ({ code, message })),
  );
  assert.equal(error.code, 'unsupported');
  assert.match(error.message, /COOP and COEP/);
  await close();
  await open.close();
});

describe('with a model', () => {
  let page;
  let errors;
  let close;
  before(async () => ({ page, errors, close } = await pageWithModel()));
  after(async () => {
    assert.deepEqual(errors, []);
    await close();
  });

  test('an answer comes token by token, and its result tells how', async () => {
    const { tokens, result } = await page.evaluate(async (messages) => {
      const session = await model.session();
      const generation = session.generate(messages, { maxTokens: 30, temperature: 0 });
      const tokens = [];
      for await (const token of generation) tokens.push(token);
      const result = await generation.result;
      session.close();
      return { tokens, result: { ...result, tokenIds: [...result.tokenIds] } };
    }, QUESTION);
    assert.match(result.text, /Paris/);
    assert.equal(tokens.map(({ text }) => text).join(''), result.text);
    assert.deepEqual(
      tokens.map(({ id }) => id),
      result.tokenIds,
    );
    assert.equal(result.finishReason, 'stop');
    const { timings } = result;
    assert.equal(timings.generatedTokens, tokens.length);
    assert.equal(timings.cachedTokens, 0);
    assert.ok(timings.promptTokens > 10 && timings.ttftMs > 0);
    assert.ok(timings.prefillTokensPerSecond > 0 && timings.decodeTokensPerSecond > 0);
  });

  test('the page goes on while the model computes', async () => {
    const { longest, whole, ticks, steps } = await page.evaluate(async () => {
      const session = await model.session();
      const begin = performance.now();
      let [last, longest, ticks, steps, running] = [begin, 0, 0, 0, true];
      const tick = () => {
        if (!running) return;
        longest = Math.max(longest, performance.now() - last);
        last = performance.now();
        ticks++;
        setTimeout(tick, 0);
      };
      tick();
      const generation = session.generate('word '.repeat(300), { maxTokens: 5, onPrefill: () => steps++ });
      for await (const _ of generation) steps++;
      running = false;
      session.close();
      return { longest, whole: performance.now() - begin, ticks, steps };
    });
    // Slow or fast: a page that computes itself, or waits for it, gets at most one turn between two steps.
    assert.ok(ticks > 1.5 * steps, `the page had ${ticks} turns in ${steps} steps`);
    assert.ok(longest < whole / 2, `the page stood still for ${longest} of ${whole} ms`);
  });

  test("a chat's next turn costs its new tokens, and answers as if it cost all", async () => {
    const { first, second, fresh } = await page.evaluate(async (messages) => {
      const options = { maxTokens: 20, temperature: 0 };
      const session = await model.session();
      const first = await session.generate(messages, options).result;
      const next = [
        ...messages,
        { role: 'assistant', content: first.text },
        { role: 'user', content: 'And of Italy?' },
      ];
      const second = await session.generate(next, options).result;
      await session.reset();
      const fresh = await session.generate(next, options).result;
      session.close();
      return { first, second, fresh };
    }, QUESTION);
    assert.equal(second.timings.cachedTokens, first.timings.promptTokens + first.timings.generatedTokens - 1);
    assert.equal(fresh.timings.cachedTokens, 0);
    assert.equal(second.text, fresh.text);
    assert.match(second.text, /Rome/);
  });

  test('an answer is stopped by a signal, by leaving the loop, by a text and by a number', async () => {
    const results = await page.evaluate(async (messages) => {
      const session = await model.session();
      const options = { temperature: 0, ignoreEos: true, maxTokens: 400 };
      const controller = new AbortController();
      const stopped = session.generate(messages, { ...options, signal: controller.signal });
      let count = 0;
      for await (const _ of stopped) if (++count === 5) controller.abort();
      const left = session.generate(messages, options);
      for await (const _ of left) break;
      const before = session.generate(messages, { ...options, signal: AbortSignal.abort() });
      const text = session.generate(messages, { ...options, stop: ' is' });
      const all = [await stopped.result, await left.result, await before.result, await text.result];
      all.push(await session.generate(messages, { ...options, maxTokens: 3 }).result);
      all.push(await session.generate(messages, { ...options, maxTokens: 0 }).result);
      session.close();
      return all.map(({ finishReason, text, timings }) => ({ finishReason, text, ...timings }));
    }, QUESTION);
    const [stopped, left, before, text, three, none] = results;
    assert.deepEqual(
      results.map(({ finishReason }) => finishReason),
      ['aborted', 'aborted', 'aborted', 'stop', 'length', 'length'],
    );
    assert.ok(stopped.generatedTokens >= 5 && stopped.generatedTokens < 50, `${stopped.generatedTokens} tokens`);
    assert.ok(left.generatedTokens < 50);
    assert.equal(before.ttftMs, null);
    assert.equal(text.text.includes(' is'), false);
    assert.equal(three.generatedTokens, 3);
    assert.equal(none.generatedTokens, 0);
  });

  test('a prompt is stopped long before it is processed', async () => {
    const result = await page.evaluate(async () => {
      const session = await model.session();
      const controller = new AbortController();
      const onPrefill = ({ done }) => done >= 128 && controller.abort();
      const { finishReason, timings } = await session.generate('word '.repeat(3000), {
        onPrefill,
        signal: controller.signal,
      }).result;
      session.close();
      return { finishReason, ttftMs: timings.ttftMs };
    });
    assert.deepEqual(result, { finishReason: 'aborted', ttftMs: null });
  });

  test('the same seed gives the same text, another one another', async () => {
    const [one, same, other] = await page.evaluate(async (messages) => {
      const session = await model.session({ contextLength: null });
      const texts = [];
      // -1 is none, and null is as good as nothing.
      for (const [seed, none] of [[1, 0], [1, -1], [2, 0]]) {
        const nothing = none ? { stop: null, logitBias: null, topP: null, tempo: null } : {};
        const options = { seed, temperature: 1.5, topK: none, maxTokens: 12, ignoreEos: true, ...nothing };
        texts.push((await session.generate(messages, options).result).text);
      }
      session.close();
      return texts;
    }, QUESTION);
    assert.equal(one, same);
    assert.notEqual(one, other);
  });

  test('what is asked of a session at once is done one after the other', async () => {
    const texts = await page.evaluate(async (messages) => {
      const session = await model.session();
      const options = { temperature: 0, maxTokens: 8 };
      const all = [session.generate(messages, options), session.generate('Once upon', options)];
      all.push(session.generate(messages, options));
      const texts = await Promise.all(all.map(async ({ result }) => (await result).text));
      session.close();
      return texts;
    }, QUESTION);
    assert.equal(texts[0], texts[2]);
    assert.notEqual(texts[0], texts[1]);
  });

  test('two sessions answer at the same time and do not disturb each other', async () => {
    const { alone, together } = await page.evaluate(async (messages) => {
      const options = { temperature: 0, maxTokens: 16, ignoreEos: true };
      const text = async (session, input) => (await session.generate(input, options).result).text;
      const [a, b] = [await model.session(), await model.session({ kvCache: 'int8' })];
      const alone = [await text(a, messages), await text(b, 'Once upon a time')];
      await a.reset();
      await b.reset();
      const together = await Promise.all([text(a, messages), text(b, 'Once upon a time')]);
      a.close();
      b.close();
      return { alone, together };
    }, QUESTION);
    assert.deepEqual(together, alone);
  });

  test('tokens, text and templates', async () => {
    const { ids, text, prompt, logits, bias } = await page.evaluate(async (messages) => {
      const ids = await model.tokenize('Hello, wörld<|im_end|>');
      const session = await model.session();
      const logits = (await session.prefill(ids)).length;
      const forced = { logitBias: { [ids[0]]: 1000 }, temperature: 0, maxTokens: 2, logprobs: true };
      const bias = [];
      for await (const token of session.generate(ids, forced)) bias.push(token);
      session.close();
      return {
        ids: [...ids],
        text: await model.detokenize(ids),
        prompt: await model.applyChatTemplate(messages),
        logits,
        bias,
      };
    }, QUESTION);
    assert.equal(text, 'Hello, wörld<|im_end|>');
    assert.match(prompt, /<\|im_start\|>user\nWhat is the capital of France\?<\|im_end\|>\n<\|im_start\|>assistant\n$/);
    assert.equal(logits, 49152);
    assert.deepEqual(
      bias.map(({ id }) => id),
      [ids[0], ids[0]],
    );
    assert.ok(bias.every(({ logprob }) => logprob < 0));
  });

  test('special tokens in messages are text', async () => {
    const counts = await page.evaluate(async () => {
      const [end] = await model.tokenize('<|im_end|>');
      const messages = [{ role: 'user', content: 'Hi<|im_end|>' }];
      const count = async (options) =>
        (await model.tokenizeChat(messages, options)).filter((token) => token === end).length;
      const session = await model.session();
      const used = async (options) => {
        const { result } = session.generate(messages, { maxTokens: 1, ...options });
        return (await result).timings.promptTokens;
      };
      const found = [await count(), await count({ parseSpecialInContent: true })];
      const tokens = [await used(), await used({ parseSpecialInContent: true })];
      session.close();
      return { found, fewer: tokens[0] - tokens[1] };
    });
    // The template's system message and the user's end with it.
    assert.deepEqual(counts.found, [2, 3]);
    assert.ok(counts.fewer > 1);
  });

  test('wrong options and wrong moments are told', async () => {
    const found = await page.evaluate(async (messages) => {
      const session = await model.session({ contextLength: 64 });
      const codes = {};
      const note = async (name, action) => {
        codes[name] = await Promise.resolve()
          .then(action)
          .then(
            () => 'no error',
            (error) => `${error instanceof edgellm.EdgeLlmError && error.code}: ${error.message}`,
          );
      };
      await note('temperature', () => session.generate('a', { temperature: -1 }).result);
      await note('not a number', () => session.generate('a', { topP: NaN }).result);
      await note('unknown', () => session.generate('a', { tempo: 1 }).result);
      await note('empty stop', () => session.generate('a', { stop: '' }).result);
      await note('empty', () => session.generate('').result);
      await note('too long', () => session.generate('word '.repeat(100)).result);
      await note('no message', () => session.generate([{ role: 'user' }]).result);
      await note('no input', () => session.generate(17).result);
      await note('context', () => model.session({ contextLength: 100000 }));
      await note('token', () => session.decode(50000));
      const running = session.generate(messages, { maxTokens: 10 });
      session.close();
      await note('closed', () => session.generate(messages).result);
      await running.result;
      return codes;
    }, QUESTION);
    const expected = {
      temperature: /^invalid: .*temperature is -1/,
      'not a number': /^invalid: .*topP/,
      unknown: /^invalid: .*tempo/,
      'empty stop': /^invalid: .*stop/,
      empty: /^invalid: .*empty/,
      'too long': /^context_full: .*64/,
      'no message': /^invalid: .*content/,
      'no input': /^invalid: /,
      context: /^invalid: .*8192/,
      token: /^invalid: .*49152/,
      closed: /^closed: /,
    };
    for (const [name, pattern] of Object.entries(expected)) assert.match(found[name], pattern);
  });

  test('a closed model rejects what it was asked', async () => {
    const codes = await page.evaluate(async (messages) => {
      const session = await model.session();
      const running = session.generate(messages, { ignoreEos: true });
      await running.next();
      model.close();
      const code = ({ code }) => code;
      return [await running.result.catch(code), await model.memory().catch(code), await model.session().catch(code)];
    }, QUESTION);
    assert.deepEqual(codes, ['closed', 'closed', 'closed']);
  });
});
