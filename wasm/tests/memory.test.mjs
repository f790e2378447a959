// Linear memory: the model is in it once, and running it takes little more.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { launch, model, openPage, servePackage } from './fixture.mjs';

const MB = 1e6;

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

for (const variant of ['simd', 'relaxed', 'threads']) {
  test(`${variant}: at most the file and 80 MB after generating`, async () => {
    const { page, close } = await openPage(browser, server.url);
    const { linearBytes, modelBytes, cacheBytes, tokens } = await page.evaluate(async (variant) => {
      const model = await edgellm.Model.fromUrl('/model.tmac2.bin', { variant });
      const session = await model.session();
      // A prompt of several pieces, and 100 tokens after it.
      const options = { maxTokens: 100, ignoreEos: true };
      const { timings } = await session.generate('The quick brown fox. '.repeat(60), options).result;
      return { ...(await model.memory()), tokens: timings.promptTokens + timings.generatedTokens };
    }, variant);
    assert.ok(tokens > 350, `${tokens} tokens`);
    assert.ok(cacheBytes > 0 && modelBytes > 80 * MB);
    const more = (linearBytes - modelBytes) / MB;
    console.log(`${variant}: ${more.toFixed(1)} MB more than the file, ${(cacheBytes / MB).toFixed(1)} of them the cache`);
    assert.ok(more < 80, `${more} MB more than the file`);
    await close();
  });
}

test('sources of every kind arrive without a second copy', async () => {
  const { page, close } = await openPage(browser, server.url);
  const found = await page.evaluate(async () => {
    const blob = await (await fetch('/model.tmac2.bin')).blob();
    const bytes = new Uint8Array(await blob.arrayBuffer());
    const oneChunk = new ReadableStream({
      start(controller) {
        controller.enqueue(bytes);
        controller.close();
      },
    });
    const results = {};
    for (const [name, load] of Object.entries({
      blob: () => edgellm.Model.fromFile(blob),
      bytes: () => edgellm.Model.fromBytes(bytes),
      buffer: () => edgellm.Model.fromBytes(bytes.buffer),
      stream: () => edgellm.Model.fromBytes(blob.stream()),
      'one chunk': () => edgellm.Model.fromBytes(oneChunk),
    })) {
      const model = await load();
      const { linearBytes } = await model.memory();
      const session = await model.session();
      const { text } = await session.generate('The sea is', { maxTokens: 5, temperature: 0 }).result;
      results[name] = { more: linearBytes - blob.size, text };
      model.close();
    }
    // What was given is still the page's.
    results.kept = bytes.length === blob.size;
    return results;
  });
  const { kept, ...loads } = found;
  assert.equal(kept, true);
  for (const [name, { more, text }] of Object.entries(loads)) {
    assert.ok(more < 80 * MB, `${name}: ${more / MB} MB more than the file`);
    assert.equal(text, loads.blob.text, name);
  }
  await close();
});

test('a model that does not fit is told, and the page loads another way', async () => {
  const { page, close } = await openPage(browser, server.url);
  const found = await page.evaluate(async () => {
    const code = ({ code, message }) => ({ code, message });
    const load = await edgellm.Model.fromUrl('/model.tmac2.bin', { memoryLimit: 50e6 }).catch(code);
    // Room for the model, and for few tokens.
    const model = await edgellm.Model.fromUrl('/model.tmac2.bin', { memoryLimit: 150e6 });
    const session = await model.session();
    const long = await session.generate('word '.repeat(4000)).result.catch(code);
    const short = await session.generate('The sea is', { maxTokens: 5 }).result.catch(code);
    return { load, long, short: short.text ?? short };
  });
  assert.equal(found.load.code, 'out_of_memory');
  assert.match(found.load.message, /not enough memory for the model: it needs \d+ MB more/);
  assert.equal(found.long.code, 'out_of_memory');
  assert.equal(typeof found.short, 'string');
  await close();
});

test('a browser that gives little memory', async () => {
  // 1,200 pages are 75 MiB: less than the model.
  const small = await launch('--js-flags=--wasm-max-mem-pages=1200');
  const { page } = await openPage(small, server.url);
  for (const variant of ['simd', 'relaxed', 'threads']) {
    const error = await page.evaluate(
      (variant) => edgellm.Model.fromUrl('/model.tmac2.bin', { variant }).catch(({ code, message }) => ({ code, message })),
      variant,
    );
    assert.equal(error.code, 'out_of_memory', `${variant}: ${error.message}`);
  }
  await small.close();
});
